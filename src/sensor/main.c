/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/fdio.h"
#include "base/log.h"
#include "container/host.h"
#include "flow_mark.h"
#include "memory.h"
#include "privileges.h"
#include "sensor.h"
#include "uninstall.h"

#define FOLD_MS_DEFAULT 1000
#define BUDGET_DEFAULT 20000 /* described events a second, cgroup and class; more are counted */
#define HOOK_CHECK_MS 1000
#define FILES_MAX 65536u /* descriptors */
#define DOCKER_WAIT_US (2 * G_USEC_PER_SEC)

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        *error = g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap);
        va_end(ap);
        return FALSE;
}

static guint64 boottime(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

static guint64 realtime(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

/*
 * Start times name processes, so they are told with an offset that stays the same while the machine is up, whatever happens to the wall
 * clock: kept in the data directory with the boot's id.
 */
static guint64 start_offset(const char *data_dir) {
        g_autofree char *path = g_build_filename(data_dir, "clock", NULL), *boot = bh_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, NULL, NULL, NULL);
        g_autofree char *text = bh_file_read(AT_FDCWD, path, 256, NULL, NULL, NULL), *line = NULL;
        guint64 offset = realtime() - boottime();

        g_strchomp(boot ? boot : (boot = g_strdup("unknown")));
        if (text && g_str_has_prefix(text, boot) && text[strlen(boot)] == ' ')
                return g_ascii_strtoull(text + strlen(boot) + 1, NULL, 10);
        line = g_strdup_printf("%s %" G_GUINT64_FORMAT "\n", boot, offset);
        if (!g_file_set_contents_full(path, line, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL))
                bh_warn("cannot keep the clock's offset; process identities will change at the next start", "path", path);
        return offset;
}

/* ---- options ---- */

static gboolean parse(BhSensorOptions *o, int *argc, char ***argv, GError **error) {
        g_autofree char *backend = NULL, *rings = NULL, *events = NULL;
        GOptionEntry entries[] = {
                { "run-dir", 0, 0, G_OPTION_ARG_FILENAME, &o->run_dir, "socket and kernel objects (default /run/bulkhead)", "DIR" },
                { "data-dir", 0, 0, G_OPTION_ARG_FILENAME, &o->data_dir, "flight recorder (default /var/lib/bulkhead)", "DIR" },
                { "host-root", 0, 0, G_OPTION_ARG_FILENAME, &o->host_root, "where the host's / is, when this runs in a container (default /)", "DIR" },
                { "docker", 0, 0, G_OPTION_ARG_STRING, &o->docker, "Docker Engine's socket (default HOST-ROOT/run/docker.sock)", "SOCK" },
                { "rules", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->rules, "rule file, or directory of some, after the default rules; may be given several times", "F" },
                { "no-default-rules", 0, 0, G_OPTION_ARG_NONE, &o->no_default_rules, "leave out Bulkhead's own rules", NULL },
                { "bus", 0, 0, G_OPTION_ARG_STRING, &o->bus, "the central's socket (default unix:RUN-DIR/central/bus.sock)", "ADDRESS" },
                { "no-bus", 0, 0, G_OPTION_ARG_NONE, &o->no_bus, "tell no central anything; with --rules findings are printed", NULL },
                { "no-inspector", 0, 0, G_OPTION_ARG_NONE, &o->no_inspector, "read no payloads and no containers' lists of users", NULL },
                { "web", 0, 0, G_OPTION_ARG_FILENAME, &o->web_settings, "settings of the inspection of web traffic (docs/web.md)", "FILE" },
                { "no-calls", 0, 0, G_OPTION_ARG_NONE, &o->no_calls, "do not learn which system calls containers make", NULL },
                { "no-web", 0, 0, G_OPTION_ARG_NONE, &o->no_web, "look at no web traffic of containers", NULL },
                { "no-evidence", 0, 0, G_OPTION_ARG_NONE, &o->no_evidence, "keep no evidence", NULL },
                { "no-hold", 0, 0, G_OPTION_ARG_NONE, &o->no_hold, "do not stop what containers run from memory or wrote shortly before, until it is copied (docs/evidence.md)", NULL },
                { "no-integrity", 0, 0, G_OPTION_ARG_NONE, &o->no_integrity, "do not look after the node's own files, modules and processes", NULL },
                { "evidence-mib", 0, 0, G_OPTION_ARG_INT64, &o->evidence_mib, "bound of the evidence kept on this node (default 1024)", "N" },
                { "evidence-heads", 0, 0, G_OPTION_ARG_FILENAME, &o->evidence_heads, "file, off this node at best, that heads of the chain of evidence are appended to (docs/evidence.md)", "FILE" },
                { "containerd", 0, 0, G_OPTION_ARG_STRING, &o->containerd, "containerd's socket (default HOST-ROOT/run/containerd/containerd.sock)", "SOCK" },
                { "no-containerd", 0, 0, G_OPTION_ARG_NONE, &o->no_containerd, "do not ask containerd", NULL },
                { "no-docker", 0, 0, G_OPTION_ARG_NONE, &o->no_docker, "tell containers by their cgroups alone", NULL },
                { "backend", 0, 0, G_OPTION_ARG_STRING, &backend, "auto, preferred or fallback", "B" },
                { "events", 0, 0, G_OPTION_ARG_STRING, &events, "kinds of events to record: names with commas between, all, default, none; -NAME: without (default all)", "LIST" },
                { "host-events", 0, 0, G_OPTION_ARG_NONE, &o->host_events, "record file and datagram events of host processes too", NULL },
                { "spool-mib", 0, 0, G_OPTION_ARG_INT64, &o->spool_mib, "bound of what waits for a central that is away (default 256)", "N" },
                { "recorder-mib", 0, 0, G_OPTION_ARG_INT64, &o->max_mib, "bound of the flight recorder (default 4096)", "N" },
                { "fold-ms", 0, 0, G_OPTION_ARG_INT64, &o->fold_ms, "window in which equal acts are one event; 0: none (default 1000)", "N" },
                { "budget", 0, 0, G_OPTION_ARG_INT64, &o->budget, "described events a second and cgroup; 0: no limit (default 20000)", "N" },
                { "walk-ms", 0, 0, G_OPTION_ARG_INT64, &o->walk_ms, "how often all sockets are looked through for the map (default 5000)", "N" },
                { "ring-kib", 0, 0, G_OPTION_ARG_STRING, &rings, "sizes of the ring buffers, powers of two (default 16384,8192,16384)", "L,K,B" },
                { "uninstall", 0, 0, G_OPTION_ARG_NONE, &o->uninstall, "take away all that an earlier sensor has left on this machine; see bulkhead uninstall", NULL },
                { "keep-data", 0, 0, G_OPTION_ARG_NONE, &o->keep_data, "with --uninstall: but the data directory", NULL },
                { "debug", 0, 0, G_OPTION_ARG_NONE, &o->debug, "log more", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);

        o->max_mib = o->fold_ms = o->budget = o->spool_mib = o->walk_ms = o->evidence_mib = -1;
        g_option_context_set_summary(context, "Bulkhead's sensor: sees what processes in containers do. Started by \"bulkhead up\".");
        g_option_context_add_main_entries(context, entries, NULL);
        if (!g_option_context_parse(context, argc, argv, error))
                return FALSE;
        if (*argc > 1)
                return fail(error, "unexpected argument \"%s\"; see --help", (*argv)[1]);
        if (!bh_kinds_parse(events ? events : "default", &o->events, error)) {
                g_prefix_error(error, "--events: ");
                return FALSE;
        }
        if (!o->run_dir)
                o->run_dir = g_strdup("/run/bulkhead");
        if (!o->data_dir)
                o->data_dir = g_strdup("/var/lib/bulkhead");
        if (o->bus && o->no_bus)
                return fail(error, "--bus and --no-bus exclude each other");
        if (o->bus && !g_str_has_prefix(o->bus, "unix:/"))
                return fail(error, "--bus must be unix: and the absolute path of the central's socket, not \"%s\"", o->bus);
        if (o->walk_ms != -1 && (o->walk_ms < BH_FLOWS_WALK_MS_MIN || o->walk_ms > G_MAXINT))
                return fail(error, "--walk-ms must be %d or more milliseconds", BH_FLOWS_WALK_MS_MIN);
        if (!o->bus && !o->no_bus)
                o->bus = g_strdup_printf("unix:%s/central/bus.sock", o->run_dir);
        if (!o->no_default_rules)
                o->default_rules = bh_sensor_default_rules();
        if (!o->host_root)
                o->host_root = g_strdup("/");
        if (o->docker && g_str_has_prefix(o->docker, "unix://"))
                memmove(o->docker, o->docker + 7, strlen(o->docker + 7) + 1);
        if (!o->docker)
                o->docker = g_build_filename(o->host_root, "run/docker.sock", NULL);
        if (o->containerd && g_str_has_prefix(o->containerd, "unix://"))
                memmove(o->containerd, o->containerd + 7, strlen(o->containerd + 7) + 1);
        if (!o->containerd)
                o->containerd = g_build_filename(o->host_root, "run/containerd/containerd.sock", NULL);
        if (!backend || g_str_equal(backend, "auto"))
                o->backend = BH_BACKEND_NONE;
        else if (g_str_equal(backend, "preferred"))
                o->backend = BH_BACKEND_PREFERRED;
        else if (g_str_equal(backend, "fallback"))
                o->backend = BH_BACKEND_FALLBACK;
        else
                return fail(error, "--backend must be auto, preferred or fallback, not \"%s\"", backend);
        if (rings) {
                g_auto(GStrv) parts = g_strsplit(rings, ",", -1);

                for (guint i = 0; i < BH_RING_MAX; i++) {
                        gint64 n = i < g_strv_length(parts) ? g_ascii_strtoll(parts[i], NULL, 10) : 0;

                        if (n < 4 || n > 1 << 20 || (n & (n - 1)))
                                return fail(error, "--ring-kib must be three powers of two from 4 to 1048576, like 16384,8192,16384, not \"%s\"", rings);
                        o->ring_kib[i] = n;
                }
        }
        return TRUE;
}

/* ---- Docker ---- */

static BhResourceSet *on_host(gpointer data) {
        BhSensor *s = data;

        return bh_host_set(s->node, s->proc_path);
}

static void on_docker_state(const BhDockerState *state, gpointer data) {
        BhSensor *s = data;

        g_mutex_lock(&s->lock);
        gboolean changed = state->connected != s->docker_connected;
        s->docker_connected = state->connected;
        s->docker_listed = state->listed;
        g_free(s->docker_version);
        s->docker_version = g_strdup(state->engine_version);
        g_free(s->docker_error);
        s->docker_error = g_strdup(state->error);
        g_cond_broadcast(&s->changed);
        g_mutex_unlock(&s->lock);

        bh_pipeline_runtime_expected(s->pipeline, state->connected);
        if (changed)
                bh_pipeline_say(s->pipeline, state->connected ? "runtime_connected" : "runtime_lost",
                                state->connected ? "connected to the Docker Engine" : "lost the Docker Engine; containers are told by their cgroups until it is back", "socket",
                                state->socket_path, "version", state->engine_version, "error", state->error, NULL);
        if (*state->error)
                bh_warn("Docker", "error", state->error);
}

static void metadata_changed(gpointer data) {
        BhSensor *s = data;

        if (s->pipeline)
                bh_pipeline_wake(s->pipeline);
}

/* ---- cgroups that exist already ---- */

static gboolean bind_cgroup(guint64 id, const char *path, gpointer data) {
        BhSensor *s = data;

        bh_container_table_bind(s->containers, id, path, g_get_monotonic_time());
        bh_cgroups_found(s->kernel_cgroups, id);
        return TRUE;
}

static guint64 container_of(guint64 cgroup, const char *path, gpointer data) {
        BhSensor *s = data;
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(s->containers, cgroup, &l);
        return l.is_container ? cgroup : 0;
}

/* ---- hooks ---- */

static void hook_changed(guint32 type, const BhHookState *now, gpointer data) {
        BhSensor *s = data;
        g_autofree char *text = NULL;

        if (now->effective) {
                text = g_strdup_printf("hook %s sees the canary's acts again", bh_event_type_name(type));
                bh_pipeline_say(s->pipeline, "hook_back", text, "type", bh_event_type_name(type), "backend", bh_backend_name(now->backend), NULL);
                bh_info("hook is back", "type", bh_event_type_name(type));
        } else {
                text = g_strdup_printf("hook %s does not see the canary's acts any more: it was detached or its table was changed", bh_event_type_name(type));
                bh_pipeline_say(s->pipeline, "hook_lost", text, "type", bh_event_type_name(type), "backend", bh_backend_name(now->backend), NULL);
                bh_error("hook is lost", "type", bh_event_type_name(type));
        }
}

/* A canary that was killed or stopped is said and replaced. */
static void revive_canary(BhSensor *s, const char *why) {
        g_autoptr(GError) error = NULL;
        g_autofree char *pid = NULL;

        bh_error("cannot test the hooks", "error", why);
        bh_pipeline_say(s->pipeline, "canary_lost", why, NULL);
        bh_hooks_config(s->hooks)->canary_tgid = 0; /* its id may soon be another's */
        if (!bh_canary_revive(s->canary, &error) || !bh_hooks_check(s->hooks, hook_changed, s, &error)) {
                bh_error("cannot replace the canary", "error", error->message);
                return;
        }
        pid = g_strdup_printf("%d", (int) bh_canary_pid(s->canary));
        bh_pipeline_say(s->pipeline, "canary_back", "another canary tests the hooks", "pid", pid, NULL);
}

static void configure_kernel(BhSensor *s);

/* What the kernel programs are told and where they are pinned is put back if somebody changed it. */
static void guard(BhSensor *s) {
        volatile struct bh_config *c = bh_hooks_config(s->hooks);
        struct bh_config before = *c, after;
        guint pins = bh_hooks_guard(s->hooks) + bh_pause_guard(s->pause);

        configure_kernel(s);
        after = *c;
        before.heartbeat = after.heartbeat; /* another thread's */
        before.canary_tgid = after.canary_tgid;
        if (memcmp(&before, &after, sizeof(before)) != 0) {
                bh_error("the kernel programs' configuration was changed; put back");
                bh_pipeline_say(s->pipeline, "config_restored", "somebody changed the configuration of the kernel programs; it was put back", NULL);
        }
        if (pins) {
                g_autofree char *n = g_strdup_printf("%u", pins);

                bh_error("pins of the kernel programs were removed; made again", "count", n);
                bh_pipeline_say(s->pipeline, "pins_restored", "somebody removed pins of the kernel programs; they were made again", "count", n, NULL);
        }
}

/*
 * The canary acts in a thread of its own, because it may hang while the machine is starved.
 */
static gpointer watch(gpointer data) {
        BhSensor *s = data;

        while (!g_atomic_int_get(&s->stopping)) {
                g_autoptr(GError) error = NULL;

                guard(s);
                gboolean ok = bh_hooks_check(s->hooks, hook_changed, s, &error);

                g_mutex_lock(&s->lock);
                g_clear_pointer(&s->canary_error, g_free);
                if (!ok)
                        s->canary_error = g_strdup(error->message);
                g_mutex_unlock(&s->lock);
                if (!ok)
                        revive_canary(s, error->message);
                else
                        bh_hooks_repair(s->hooks);
                bh_memory_trim();
                for (int i = 0; i < HOOK_CHECK_MS / 50 && !g_atomic_int_get(&s->stopping); i++)
                        g_usleep(50000);
        }
        return NULL;
}

/* ---- life ---- */

static gboolean on_signal(gpointer data) {
        g_main_loop_quit(((BhSensor *) data)->loop);
        return G_SOURCE_CONTINUE;
}

static void on_stop(gpointer data) {
        g_main_loop_quit(((BhSensor *) data)->loop);
}

static void on_flush(gpointer data) {
        bh_pipeline_flush(((BhSensor *) data)->pipeline);
}

static void on_socket_replaced(gpointer data) {
        BhSensor *s = data;

        bh_pipeline_say(s->pipeline, "socket_restored", "somebody removed the sensor's control socket; it was made again", NULL);
}

/* Who listens for kinds that the recorder does not keep has them for as long. */
static void on_kinds(gpointer data) {
        BhSensor *s = data;
        g_autoptr(GError) error = NULL;

        g_mutex_lock(&s->kinds_lock);
        BhKinds kinds = bh_feed_kinds(s->feed);
        if (!bh_hooks_want(s->hooks, BH_CONSUMER_LIVE, &kinds, &error))
                bh_error("cannot attach the hooks that a listener asked for", "error", error->message);
        g_mutex_unlock(&s->kinds_lock);
}

/* ---- the central ---- */

static void on_seen(const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gpointer data) {
        BhSensor *s = data;

        bh_sensor_respond_event(s, e); /* first: addresses of names that are refused */
        bh_sensor_asked(s, e, lineage);
        if (s->evidence)
                bh_evidence_seen(s->evidence, e);
        bh_report_event(s->report, e, wire, wire_len, lineage);
        bh_sensor_calls_event(s, e);
        bh_flows_event(s->flows, e);
        bh_sensor_signs_event(s, e, lineage);
}

static GPtrArray *on_processes(const char *container, guint limit, gpointer data) {
        return bh_processes_list(&((BhSensor *) data)->listing, container, limit);
}

static void on_say(const char *action, const char *message, const char *key, const char *value, gpointer data) {
        BhSensor *s = data;

        if (g_atomic_int_get(&s->piped))
                bh_pipeline_say(s->pipeline, action, message, key, value, NULL);
}

static json_t *on_status(gpointer data) {
        return bh_sensor_status(data);
}

static json_t *on_rules(gpointer data) {
        return bh_sensor_rules(data);
}

static json_t *on_containers(gpointer data) {
        return bh_sensor_containers(data);
}

static gboolean make_dir(const char *path, GError **error) {
        if (g_mkdir_with_parents(path, 0700))
                return fail(error, "cannot make %s: %s", path, g_strerror(errno));
        return TRUE;
}

/* One sensor a run directory: the lock dies with the process. */
static gboolean lock_run_dir(const char *run_dir, GError **error) {
        g_autofree char *path = g_build_filename(run_dir, "sensor.pid", NULL), *who = NULL;
        g_autofree char *pid = g_strdup_printf("%d\n", getpid());
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0)
                return fail(error, "cannot open %s: %s", path, g_strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB)) {
                who = bh_file_read(AT_FDCWD, path, 32, NULL, NULL, NULL);
                close(fd);
                return fail(error, "another sensor (pid %s) uses %s: stop it first, or choose another --run-dir", g_strchomp(who ? who : (who = g_strdup("?"))), run_dir);
        }
        if (ftruncate(fd, 0) || write(fd, pid, strlen(pid)) < 0) {
                close(fd);
                return fail(error, "cannot write %s: %s", path, g_strerror(errno));
        }
        return TRUE; /* kept open, and locked, until the end */
}

static gboolean open_recorder(BhSensor *s, GError **error) {
        BhRecorderLimits limits;

        bh_recorder_limits_init(&limits);
        if (s->options.max_mib > 0)
                limits.max_bytes = (guint64) s->options.max_mib << 20;
        limits.node = s->node;
        s->recorder_dir = g_build_filename(s->options.data_dir, "recorder", NULL);
        s->recorder = bh_recorder_open(s->recorder_dir, &limits, &s->found, error);
        /* events that a full disk did not take had numbers, too, and the central may have been told of them */
        s->found.last_seq = MAX(s->found.last_seq, bh_flow_mark_through(s->options.data_dir));
        return s->recorder != NULL;
}

static void configure_kernel(BhSensor *s) {
        volatile struct bh_config *c = bh_hooks_config(s->hooks);
        guint64 budget = s->options.budget >= 0 ? (guint64) s->options.budget : BUDGET_DEFAULT;

        c->self_tgid = (__u32) getpid();
        c->canary_tgid = (__u32) bh_canary_pid(s->canary);
        c->host_bulk = s->options.host_events ? 1 : 0;
        c->fold_window = (s->options.fold_ms >= 0 ? (guint64) s->options.fold_ms : FOLD_MS_DEFAULT) * 1000000;
        for (guint i = 0; i < BH_RING_MAX; i++)
                c->budget[i] = budget;
        c->build_id = bh_hooks_build_id(s->hooks);
        bh_hooks_judge_anew(s->hooks);
}

static gboolean on_reload(GError **error, gpointer data) {
        return bh_sensor_reload_web(data, error);
}

/* A sensor without a report is worth more than none: what hinders it is said, and shown by the status. */
static void open_report(BhSensor *s) {
        g_autofree char *spool = g_build_filename(s->options.data_dir, "spool", "bus.db", NULL);
        BhReportConfig config = {
                .address = s->options.bus,
                .spool = spool,
                .node = s->node,
                .version = BH_VERSION,
                .spool_bytes = s->options.spool_mib > 0 ? (guint64) s->options.spool_mib << 20 : 0,
                .recorder_dir = s->recorder_dir,
                .containers = s->containers,
                .feed = s->feed,
                .ruling = s->ruling,
                .status = on_status,
                .host = on_host,
                .flush = on_flush,
                .processes = on_processes,
                .respond = s->respond ? bh_sensor_respond : NULL,
                .policies = s->respond ? bh_sensor_set_policies : NULL,
                .say = on_say,
                .ends_told = bh_sensor_on_ends_told,
                .evidence = bh_sensor_verify_evidence,
                .reload = on_reload,
                .data = s,
        };
        g_autoptr(GError) error = NULL;

        if (!s->options.bus)
                return;
        s->report = bh_report_new(&config, &error);
        if (!s->report) {
                s->report_error = g_strdup(error->message);
                bh_error("the central will hear nothing of this node", "error", error->message);
        }
}

/* The same holds for the inspector. */
static void open_inspector(BhSensor *s) {
        BhInspectorConfig config = { .proc = s->proc_path, .host_root = s->options.host_root, .say = on_say, .data = s };
        g_autoptr(GError) error = NULL;

        if (s->options.no_inspector)
                return;
        s->inspector = bh_inspector_new(&config, &error);
        if (!s->inspector) {
                s->inspector_error = g_strdup(error->message);
                bh_error("payloads and files of containers will not be read", "error", error->message);
        }
}

/* What the recorder needs beside the lifecycle of processes, which is seen already: meanwhile the rest of the start goes on. */
static gpointer load_rest(gpointer data) {
        BhSensor *s = data;

        if (bh_hooks_want(s->hooks, BH_CONSUMER_RECORDER, &s->options.events, &s->load_error) && !s->options.no_evidence) {
                BhKinds kinds = bh_evidence_kinds();

                bh_hooks_want(s->hooks, BH_CONSUMER_EVIDENCE, &kinds, &s->load_error);
        }
        malloc_trim(0); /* the kernel's type information, once for each job */
        return NULL;
}

static gboolean start(BhSensor *s, GError **error) {
        g_autofree char *socket = g_build_filename(s->options.run_dir, "sensor.sock", NULL);
        struct utsname un;

        uname(&un);
        s->kernel = g_strdup_printf("%s %s", un.sysname, un.release);
        s->node = g_strdup(un.nodename);
        s->pin_dir = g_build_filename(s->options.run_dir, "bpf", NULL);
        if (!make_dir(s->options.run_dir, error) || !make_dir(s->options.data_dir, error) || !lock_run_dir(s->options.run_dir, error))
                return FALSE;
        g_autofree char *host_proc = g_build_filename(s->options.host_root, "proc", NULL), *probe = g_build_filename(host_proc, "1", NULL);
        s->proc_path = g_strdup(access(probe, F_OK) == 0 ? host_proc : "/proc");
        if (!(s->canary = bh_canary_start(error)))
                return FALSE;
        bh_sensor_open_pause(s);

        s->started_us = g_get_monotonic_time();
        s->started_ns = (gint64) realtime();
        if (!open_recorder(s, error))
                return FALSE;
        if (!(s->cgroups = bh_cgroup_detect(s->options.host_root, error)))
                return FALSE;

        BhHooksOptions hooks = {
                .pin_dir = s->pin_dir,
                .force = s->options.backend,
                .cgroup_controller = s->cgroups->version == 1 ? s->cgroups->controller : NULL,
                .recorder = s->options.events,
        };
        for (guint i = 0; i < BH_RING_MAX; i++)
                hooks.ring_bytes[i] = (guint64) s->options.ring_kib[i] << 10;
        if (!(s->hooks = bh_hooks_open(&hooks, s->canary, error)))
                return FALSE;
        s->loading = g_thread_new("bh-load", load_rest, s);

        guint64 beat = bh_hooks_adopted(s->hooks) ? bh_hooks_config(s->hooks)->heartbeat : 0, since = boottime();
        bh_sensor_look_back(s, beat, since);
        configure_kernel(s);

        BhContainerTableConfig table = { .host_root = s->options.host_root, .changed = metadata_changed, .data = s };
        s->containers = bh_container_table_new(&table);
        s->kernel_cgroups = bh_cgroups_new(s->hooks, s->containers, s->cgroups);
        if (!bh_cgroup_walk(s->cgroups, bind_cgroup, s, NULL, error))
                return FALSE;
        bh_cgroups_adopt(s->kernel_cgroups);

        struct bh_clock clock = { .now = realtime() - boottime(), .start = start_offset(s->options.data_dir) };
        struct bh_process_config processes = {
                .proc_path = s->proc_path,
                .cgroup_root = s->cgroups->mount,
                .cgroup_controller = hooks.cgroup_controller,
                .clock = clock,
                .container_of = container_of,
                .data = s,
        };
        s->processes = bh_process_table_new(&processes);
        s->feed = bh_feed_new();
        if (!bh_sensor_open_rules(s, error))
                return FALSE;
        bh_feed_tell_kinds(s->feed, on_kinds, s);
        bh_sensor_open_respond(s);
        open_report(s);
        bh_sensor_open_evidence(s);
        bh_sensor_open_policies(s);
        bh_sensor_open_integrity(s);
        bh_sensor_open_decoy(s);
        bh_sensor_catch_up(s);
        open_inspector(s);

        bh_sensor_open_signs(s);
        bh_sensor_open_calls(s);
        if (!bh_sensor_open_web(s, clock.start, error))
                return FALSE;

        s->lineage = bh_lineage_new(s->processes, s->containers, s->inspector);

        BhPipelineConfig pipeline = {
                .hooks = s->hooks,
                .containers = s->containers,
                .cgroups = s->kernel_cgroups,
                .processes = s->processes,
                .recorder = s->recorder,
                .recorded = s->options.events,
                .feed = s->feed,
                .found = &s->found,
                .clock = clock,
                .node = s->node,
                .proc_path = s->proc_path,
                .inspector = s->inspector,
                .web = s->web,
                .suspects = s->suspects,
                .tls = s->tls,
                .cgroup_gone = s->payload ? bh_sensor_web_cgroup_gone : NULL,
                .lineage = bh_lineage_answers(s->lineage),
                .early = bh_sensor_early,
                .seen = s->report ? on_seen : s->ruling ? bh_sensor_seen_alone : NULL,
                .data = s,
        };
        s->listing = (BhProcessesConfig){ .processes = s->processes, .containers = s->containers, .clock = clock };
        if (!(s->pipeline = bh_pipeline_new(&pipeline, error)))
                return FALSE;

        s->listing.pipeline = s->pipeline;
        s->listing.inspector = s->inspector;
        g_atomic_int_set(&s->piped, 1);

        if (!s->options.no_docker) {
                BhDockerConfig docker = { .socket_path = s->options.docker, .on_container = bh_sensor_container, .on_event = bh_sensor_runtime_event, .on_state = on_docker_state,
                                          .on_resources = bh_sensor_resources, .data = s, .since_ns = bh_sensor_unseen_since(s) };
                gint64 until = g_get_monotonic_time() + DOCKER_WAIT_US;

                s->docker = bh_docker_new(&docker);
                if (!bh_docker_start(s->docker, error))
                        return FALSE;
                /* so that containers that run already have their names on the first events */
                g_mutex_lock(&s->lock);
                while (!s->docker_listed && !(s->docker_error && *s->docker_error) && g_cond_wait_until(&s->changed, &s->lock, until))
                        ;
                g_mutex_unlock(&s->lock);
        }
        bh_sensor_open_flows(s, clock);
        s->askers = bh_askers_new(bh_sensor_host_name(s, s->options.docker), bh_sensor_host_name(s, s->options.containerd));
        if (!s->options.no_containerd && !bh_sensor_start_containerd(s, error))
                return FALSE;
        if (!(s->oci = bh_oci_watch_start(s->containers, s->options.host_root, bh_sensor_container, s, error)))
                return FALSE;
        if (!bh_pipeline_start(s->pipeline, since, error))
                return FALSE;
        g_thread_join(g_steal_pointer(&s->loading));
        if (s->load_error) {
                g_propagate_error(error, g_steal_pointer(&s->load_error));
                return FALSE;
        }

        if (s->flows)
                bh_flows_start(s->flows);
        bh_sensor_start_web(s);
        bh_sensor_start_evidence(s);
        bh_sensor_start_calls(s);
        bh_sensor_start_respond(s);
        bh_sensor_start_integrity(s);

        BhControlOps ops = { .status = on_status, .containers = on_containers, .rules = on_rules, .flush = on_flush, .stop = on_stop, .replaced = on_socket_replaced, .feed = s->feed, .recorder_dir = s->recorder_dir, .data = s };
        if (!(s->control = bh_control_start(socket, &ops, error)))
                return FALSE;

        if (s->ruling && !s->report)
                g_timeout_add(BH_ALONE_MS, bh_sensor_on_alone, s);
        guint ends = bh_sensor_say_ends(s);
        bh_sensor_say_found_lost(s);
        bh_sensor_say_refused(s);
        if (s->report) {
                bh_report_start(s->report, ends);
        } else if (ends) { /* nobody to tell: what the recorder has is told */
                bh_pipeline_flush(s->pipeline);
                bh_sensor_on_ends_told(s);
        }
        return TRUE;
}

static void stop(BhSensor *s) {
        g_autofree char *pid = s->options.run_dir ? g_build_filename(s->options.run_dir, "sensor.pid", NULL) : NULL;
        gboolean ran = s->pipeline && s->control;

        if (s->loading)
                g_thread_join(g_steal_pointer(&s->loading));
        bh_sensor_await_web(s); /* while all else is still at work */
        g_clear_error(&s->load_error);
        /* a reload under way asks for hooks and says how it went: before the hooks come off and the pipeline ends */
        while (g_atomic_int_get(&s->reloading))
                g_usleep(1000);
        if (s->docker)
                bh_docker_stop(s->docker);
        if (s->containerd)
                bh_containerd_stop(s->containerd);
        bh_oci_watch_stop(s->oci);
        if (ran) /* who listens gets what happened until now */
                bh_pipeline_flush(s->pipeline);
        if (s->feed)
                bh_feed_close(s->feed);
        bh_control_free(s->control);
        bh_sensor_settle_integrity(s);
        bh_sensor_settle_decoy(s);
        gboolean copied = bh_pause_stop(s->pause); /* what it calls is the evidence's */
        if (s->evidence)
                bh_evidence_settle(s->evidence);
        if (s->report)
                bh_report_settle(s->report);
        if (s->flows)
                bh_flows_settle(s->flows);
        bh_sensor_settle_web(s);
        bh_sensor_settle_calls(s);
        bh_sensor_free_respond(s);
        /* hooks off first: what happens from here on is not the sensor's; then the rest of the rings is read */
        if (s->hooks)
                bh_hooks_detach(s->hooks);
        g_atomic_int_set(&s->piped, 0);
        if (s->pipeline)
                bh_pipeline_stop(s->pipeline);
        bh_inspector_free(s->inspector);
        bh_pipeline_free(s->pipeline);
        bh_sensor_free_web(s);
        bh_sensor_free_signs(s);
        bh_sensor_free_calls(s);
        bh_sensor_free_integrity(s);
        bh_sensor_free_decoy(s);
        if (s->ruling && !s->report)
                bh_sensor_print_findings(s, TRUE);
        bh_flows_free(s->flows);
        bh_node_policies_free(s->policies);
        bh_report_free(s->report);
        bh_ruling_free(s->ruling);
        if (copied)
                bh_evidence_free(s->evidence);
        bh_docker_free(s->docker);
        bh_askers_free(s->askers);
        g_queue_clear_full(&s->to_ask, g_free);
        bh_containerd_free(s->containerd);
        bh_oci_watch_free(s->oci);
        bh_recorder_free(s->recorder);
        bh_lineage_free(s->lineage);
        bh_process_table_free(s->processes);
        bh_cgroups_free(s->kernel_cgroups);
        bh_container_table_free(s->containers);
        bh_feed_free(s->feed);
        if (s->hooks) {
                bh_hooks_free(s->hooks);
                bh_hooks_remove(s->pin_dir);
        }
        bh_cgroup_layout_free(s->cgroups);
        bh_canary_free(s->canary);
        bh_pause_free(s->pause);
        if (s->ends)
                bh_ends_close(s->ends);
        g_clear_pointer(&s->ends, bh_ends_free);
        if (ran)
                unlink(pid);
}

/* The exit status. */
static int uninstall(BhSensor *s) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhCgroupLayout) layout = bh_cgroup_detect(s->options.host_root, NULL);
        const char *v2 = !layout ? NULL : layout->v2_mount ? layout->v2_mount : layout->version == 2 ? layout->mount : NULL;

        if ((g_file_test(s->options.run_dir, G_FILE_TEST_IS_DIR) && !lock_run_dir(s->options.run_dir, &error)) ||
            !bh_uninstall(s->options.run_dir, s->options.data_dir, v2, s->options.keep_data, &error)) {
                fprintf(stderr, "bulkhead-sensor: %s\n", error->message);
                return 1;
        }
        return 0;
}

/* Said together with why the start failed: what an older kernel lacks says little to people. */
static void name_old_kernel(GError **error) {
        guint major = 0, minor = 0;
        struct utsname un;

        if (uname(&un) == 0 && sscanf(un.release, "%u.%u", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 10)))
                g_prefix_error(error, "this kernel is Linux %s, and Bulkhead needs 5.10 or later: ", un.release);
}

int main(int argc, char **argv) {
        static BhSensor s;
        g_autoptr(GError) error = NULL;
        struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY }, files;

        bh_memory_init();
        g_mutex_init(&s.lock);
        g_mutex_init(&s.kinds_lock);
        g_cond_init(&s.changed);
        if (!parse(&s.options, &argc, &argv, &error)) {
                fprintf(stderr, "bulkhead-sensor: %s\n", error->message);
                return 2;
        }
        if (s.options.debug)
                bh_log_set_level(BH_LOG_DEBUG);
        if (geteuid() != 0) {
                fprintf(stderr, "bulkhead-sensor: must be root to load kernel programs; run it with sudo\n");
                return 1;
        }
        if (s.options.uninstall)
                return uninstall(&s);
        signal(SIGPIPE, SIG_IGN);
        umask(077);
        setrlimit(RLIMIT_MEMLOCK, &unlimited); /* before 5.11 BPF maps count as locked memory */
        /* links, maps, segments, connections: more than the usual 1,024 on the way through a start */
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_MAX) {
                struct rlimit more = { MAX(files.rlim_max, FILES_MAX), MAX(files.rlim_max, FILES_MAX) };

                files.rlim_cur = files.rlim_max;
                if (setrlimit(RLIMIT_NOFILE, &more))
                        setrlimit(RLIMIT_NOFILE, &files); /* what it may have without CAP_SYS_RESOURCE */
        }

        if (s.options.bus)
                bh_flows_open_conntrack(&s.conntrack);
        /* before there is a second thread, and before the canary, which is to be what it is after it was replaced */
        if (!bh_privileges_drop(&error)) {
                bh_error("cannot start", "error", error->message);
                return 1;
        }
        s.loop = g_main_loop_new(NULL, FALSE);
        /* before anything is attached: a signal during the start is acted on when the start is over, so nothing is left behind */
        g_unix_signal_add(SIGINT, on_signal, &s);
        g_unix_signal_add(SIGTERM, on_signal, &s);
        g_unix_signal_add(SIGHUP, bh_sensor_on_hangup, &s);
        if (!start(&s, &error)) {
                if (!s.hooks)
                        name_old_kernel(&error);
                bh_error("cannot start", "error", error->message);
                stop(&s);
                return 1;
        }
        bh_memory_trim();
        bh_info("sensor is ready", "kernel", s.kernel, "adopted", bh_hooks_adopted(s.hooks) ? "yes" : "no");

        GThread *watcher = g_thread_new("bh-watch", watch, &s);
        g_main_loop_run(s.loop);
        g_atomic_int_set(&s.stopping, 1);
        g_thread_join(watcher);
        bh_info("sensor stops");
        stop(&s);
        g_main_loop_unref(s.loop);
        return 0;
}
