/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "central.h"
#include "cli_admin.h"
#include "enforced.h"
#include "graph.h"
#include "hub.h"
#include "incidents.h"
#include "ingest.h"
#include "responses.h"
#include "rules.h"
#include "policies.h"
#include "json_out.h"
#include "keeper.h"
#include "live.h"
#include "models.h"
#include "notifier.h"
#include "notify/format.h"
#include "notify_feed.h"
#include "password.h"
#include "place.h"
#include "routes.h"
#include "sandbox.h"
#include "store/store_inventory.h"
#include "tls_live.h"
#include "upkeep.h"

#define DESCRIPTORS 1024

typedef struct {
        BhCentral central;
        char *set_password;
        gboolean debug, version, stored, served, notifier;
        int alert_summary, keeper;
        uid_t uid;
        gid_t gid;
        char *restore, *started_in;
        BhFd tcp, local, bus;
        GMainLoop *loop;
} Program;

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap));
        va_end(ap);
        return FALSE;
}

/* ---- options ---- */

/* In a build tree beside it; else where it is installed. */
static char *default_dir(const char *name) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
        g_autofree char *beside = dir ? g_build_filename(dir, "..", "..", name, NULL) : NULL;

        if (beside && g_str_has_suffix(dir, "/src/central") && g_file_test(beside, G_FILE_TEST_IS_DIR))
                return g_steal_pointer(&beside);
        return g_build_filename("/usr/share/bulkhead", name, NULL);
}

static gboolean parse(Program *p, int *argc, char ***argv, GError **error) {
        BhCentral *c = &p->central;
        GOptionEntry entries[] = {
                { "run-dir", 0, 0, G_OPTION_ARG_FILENAME, &c->run_dir, "sockets, in DIR/central (default /run/bulkhead)", "DIR" },
                { "data-dir", 0, 0, G_OPTION_ARG_FILENAME, &c->data_dir, "database, backups, certificate, in DIR/central (default /var/lib/bulkhead)", "DIR" },
                { "listen", 0, 0, G_OPTION_ARG_STRING, &c->listen, "where HTTPS is served (default 127.0.0.1:8443)", "ADDR:PORT" },
                { "user", 0, 0, G_OPTION_ARG_STRING, &c->user, "whom to run as (default: bulkhead, where that user exists, else 64055)", "UID|NAME" },
                { "default-rules", 0, 0, G_OPTION_ARG_FILENAME, &c->rules_dir, "Bulkhead's own rules, for checks (default /usr/share/bulkhead/rules)", "DIR" },
                { "ui", 0, 0, G_OPTION_ARG_FILENAME, &c->ui_dir, "the web interface's files (default /usr/share/bulkhead/ui)", "DIR" },
                { "set-password", 0, 0, G_OPTION_ARG_STRING, &p->set_password, "give USER a new random password, print it, and end; a running central may go on", "USER" },
                { "alerts", 0, 0, G_OPTION_ARG_STRING, &c->alerts, "print alerts to the standard output, behind the line that says that it is ready: text, falco (JSON as Falco's) or bulkhead (JSON with everything)", "FORMAT" },
                { "alert-dir", 0, 0, G_OPTION_ARG_FILENAME, &c->alert_dir, "where outputs of the type file write (default DATA-DIR/central/alerts)", "DIR" },
                { "alert-summary", 0, 0, G_OPTION_ARG_INT, &p->alert_summary, "equal findings are told at once and then together, once in S seconds (default 60)", "S" },
                { "notifier", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &p->notifier, NULL, NULL },
                { "debug", 0, 0, G_OPTION_ARG_NONE, &p->debug, "log more", NULL },
                { "version", 0, 0, G_OPTION_ARG_NONE, &p->version, "print the version", NULL },
                { "restore", 0, 0, G_OPTION_ARG_FILENAME, &p->restore, "put that backup (DATA-DIR/central/backup/...) in the database's place, and end; no central may run", "FILE" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);

        g_option_context_set_summary(context, "Bulkhead's central: keeps what nodes tell, and serves API and web interface. Started by \"bulkhead up\".\n"
                                              "Started as root it takes its port and directories and goes on as another user.");
        g_option_context_add_main_entries(context, entries, NULL);
        if (!g_option_context_parse(context, argc, argv, error))
                return FALSE;
        if (*argc > 1)
                return fail(error, "unexpected argument \"%s\"; see --help", (*argv)[1]);
        if (!c->run_dir)
                c->run_dir = g_strdup("/run/bulkhead");
        if (!c->data_dir)
                c->data_dir = g_strdup("/var/lib/bulkhead");
        if (!c->listen)
                c->listen = g_strdup("127.0.0.1:8443");
        if (!c->ui_dir)
                c->ui_dir = default_dir("ui");
        if (!c->rules_dir)
                c->rules_dir = default_dir("rules");
        BhFormat format;
        if (c->alerts && !bh_format_parse(c->alerts, &format))
                return fail(error, "--alerts must be text, falco or bulkhead, not \"%s\"", c->alerts);
        if (p->alert_summary < 1 || p->alert_summary > 3600)
                return fail(error, "--alert-summary must be from 1 to 3600 seconds");
        if (!c->alert_dir)
                c->alert_dir = g_build_filename(c->data_dir, "central", "alerts", NULL);
        /* it goes on in /, and Landlock and the store want whole paths */
        char **const dirs[] = { &c->run_dir, &c->data_dir, &c->alert_dir };
        for (guint i = 0; i < G_N_ELEMENTS(dirs); i++) {
                char **dir = dirs[i], *whole = g_canonicalize_filename(*dir, NULL);

                g_free(*dir);
                *dir = whole;
        }
        c->dir = g_build_filename(c->data_dir, "central", NULL);
        c->db_path = g_build_filename(c->dir, "bulkhead.db", NULL);
        return TRUE;
}

/* ---- start ---- */

static gboolean choose_user(Program *p, GError **error) {
        if (geteuid() != 0 && !p->central.user) {
                p->uid = geteuid();
                p->gid = getegid();
                return TRUE;
        }
        if (!bh_sandbox_user(p->central.user, &p->uid, &p->gid, error))
                return FALSE;
        if (geteuid() != 0 && geteuid() != p->uid)
                return fail(error, "only root can become uid %u: start it with sudo, or as that user", p->uid);
        return TRUE;
}

static gboolean check_reach(const char *path, int mode, uid_t uid, GError **error) {
        if (access(path, mode) == 0)
                return TRUE;
        return fail(error, "uid %u, as which the central runs, cannot use %s: %s; a directory above it may be closed to others", uid, path, g_strerror(errno));
}

static gboolean open_store(Program *p, GError **error) {
        BhCentral *c = &p->central;
        g_autofree char *uri = g_strconcat("sqlite:", c->db_path, NULL);

        /* nowhere else may anything be written */
        g_setenv("SQLITE_TMPDIR", c->dir, TRUE);
        if (!(c->store = bh_store_open(uri, &c->opened, error)))
                return FALSE;
        if (c->opened.restored_from) {
                g_autofree char *age = g_strdup_printf("%" G_GINT64_FORMAT " s", c->opened.age_ns / 1000000000);

                bh_error("the database was damaged and has been restored from a backup: what was stored since then is gone", "backup", c->opened.restored_from, "backup_age", age,
                         "damaged_kept_as", c->opened.damaged_kept_as, "damage", c->opened.damage);
        }
        if (c->opened.migrated_from) {
                g_autofree char *from = g_strdup_printf("%u", c->opened.migrated_from), *to = g_strdup_printf("%u", c->opened.schema);

                bh_info("the database was migrated", "from", from, "to", to);
        }
        return TRUE;
}

static void on_change(guint64 last, gpointer data) {
        bh_hub_wake(((BhCentral *) data)->hub);
        bh_notify_feed_wake(((BhCentral *) data)->notify);
        bh_correlator_wake(((BhCentral *) data)->correlator);
        bh_map_wake(((BhCentral *) data)->map);
        bh_policies_wake(((BhCentral *) data)->policies);
        bh_enforced_wake(((BhCentral *) data)->enforced);
}

/* Before the sandbox closes, and before there is a key in memory. Without a notifier the central goes on: alerts are in the store. */
static void start_keeper(Program *p) {
        BhCentral *c = &p->central;
        g_autofree char *summary = g_strdup_printf("%d", p->alert_summary);
        char *argv[] = { (char *) "bulkhead-central", (char *) "--notifier", (char *) "--data-dir", c->data_dir, (char *) "--alert-dir", c->alert_dir,
                         (char *) "--alert-summary", summary, p->debug ? (char *) "--debug" : NULL, NULL };
        g_autoptr(GError) error = NULL;

        if ((p->keeper = bh_keeper_start(argv, &error)) < 0)
                bh_error("alerts are not delivered", "error", error->message);
}

static void announce(Program *p, const char *password) {
        g_autoptr(GString) out = g_string_new(NULL);
        g_autofree char *fingerprint = NULL;

        bh_tls_live_describe(&fingerprint, NULL);
        bh_json_open(out, NULL, '{');
        bh_json_bool(out, "ready", TRUE);
        bh_json_text(out, "url", p->central.url);
        bh_json_text(out, "certificate", fingerprint);
        if (password) {
                bh_json_text(out, "user", "admin");
                bh_json_text(out, "password", password);
        }
        bh_json_close(out, '}');
        bh_json_end(out);
        printf("%s\n", out->str);
        fflush(stdout);
        if (password)
                memset(out->str, 0, out->len);
}

static gboolean enclose(Program *p, GError **error) {
        BhCentral *c = &p->central;
        g_autofree char *run = g_build_filename(c->run_dir, "central", NULL);
        const BhSandboxPath paths[] = {
                { c->dir, TRUE }, { run, TRUE }, { "/proc/self", FALSE }, { "/dev/urandom", FALSE }, { "/etc/localtime", FALSE }, { NULL, FALSE },
        };

        return bh_sandbox_enclose(paths, &c->landlock, error);
}

static gboolean become(Program *p, GError **error) {
        return choose_user(p, error) && bh_place_prepare(p->central.run_dir, p->central.data_dir, p->uid, p->gid, error) &&
               bh_place_prepare_alerts(p->central.alert_dir, p->uid, p->gid, error);
}

static gboolean start(Program *p, GError **error) {
        BhCentral *c = &p->central;
        g_autofree char *api = g_build_filename(c->run_dir, "central", "api.sock", NULL), *bus = g_build_filename(c->run_dir, "central", "bus.sock", NULL);
        g_autofree char *bus_address = g_strconcat("unix:", bus, NULL), *tls = g_build_filename(c->dir, "tls", NULL), *run = g_path_get_dirname(api);
        char *password = NULL;

        /* as root, if it is: what only root can */
        if (!become(p, error) || (p->tcp = bh_place_listen(c->listen, &c->url, error)) < 0)
                return FALSE;
        c->ui = bh_ui_load(c->ui_dir);
        c->rules = bh_rules_new(c->rules_dir);
        if (!bh_sandbox_drop(p->uid, p->gid, error))
                return FALSE;

        start_keeper(p);

        /* as itself; threads begin behind enclose() */
        if (!check_reach(run, W_OK | X_OK, p->uid, error) || !check_reach(c->dir, W_OK | X_OK, p->uid, error) || !bh_place_lock(c->run_dir, error) ||
            !bh_password_init(error) || !bh_tls_live_start(tls, error))
                return FALSE;
        if (!enclose(p, error) || !open_store(p, error) || !bh_store_nodes_set_down(c->store, error))
                return FALSE;
        p->stored = TRUE;

        bh_central_read_settings(c);
        c->limit = bh_limit_new();
        c->devices = bh_devices_load(c->dir);
        c->pace = bh_pace_new();
        c->crowd = bh_crowd_new();
        c->hub = bh_hub_new(c);
        if (!(c->map = bh_map_new(c, error)))
                return FALSE;
        if (!(c->correlator = bh_correlator_new(c, error)))
                return FALSE;
        if (!(c->models = bh_models_new(c, error)))
                return FALSE;
        c->responses = bh_responses_new(c);
        c->policies = bh_policies_new(c);
        c->enforced = bh_enforced_new(c);
        c->upkeep = bh_upkeep_start(c);
        c->notify = bh_notify_feed_new(c, p->keeper, c->alerts);
        p->keeper = -1;
        bh_store_set_change_func(c->store, on_change, c);

        if ((p->local = bh_place_listen_local(api, error)) < 0 || (p->bus = bh_bus_bind(bus_address, error)) < 0)
                return FALSE;
        bh_ingest_start(c);
        BhBusCallbacks callbacks = bh_ingest_callbacks(c);
        BhBusListenOptions options;
        bh_bus_listen_options_init(&options);
        options.version = BH_VERSION;
        if (!(c->bus = bh_bus_listen(bh_fd_steal(&p->bus), &callbacks, &options, error)))
                return FALSE;
        bh_rules_start(c->rules, c);
        bh_policies_start(c->policies);
        bh_enforced_start(c->enforced);

        BhHttpConfig http = {
                .tcp_fd = bh_fd_steal(&p->tcp),
                .unix_fd = bh_fd_steal(&p->local),
                .certificate = bh_tls_live_retrieve,
                .ops = { .begin = bh_router_begin, .handle = bh_router_handle },
                .data = c,
        };
        c->http = bh_http_new(&http);
        bh_responses_start(c->responses);
        if (!bh_http_start(c->http, &http, error))
                return FALSE;
        p->served = TRUE;
        /* last: a start that fails behind it would have made a user whose password nobody was told */
        if (!bh_admin_first(c->store, &password, error))
                return FALSE;
        g_atomic_int_set(&c->ready, 1);
        announce(p, password);
        bh_secret_free(password);
        bh_notify_feed_start(c->notify);
        return TRUE;
}

static void stop(Program *p) {
        BhCentral *c = &p->central;
        g_autofree char *api = g_build_filename(c->run_dir, "central", "api.sock", NULL);

        g_atomic_int_set(&c->ready, 0);
        bh_responses_stop(c->responses); /* workers wait for it no more */
        if (p->served) {
                bh_http_stop(c->http);
                bh_live_stop(c);
                unlink(api);
        }
        if (c->store)
                bh_store_set_change_func(c->store, NULL, NULL);
        bh_models_stop(c->models);
        bh_map_stop(c->map);
        bh_correlator_free(c->correlator);
        bh_hub_free(c->hub);
        bh_rules_stop(c->rules);
        bh_policies_stop(c->policies);
        bh_enforced_stop(c->enforced);
        bh_notify_feed_free(c->notify);
        bh_bus_listener_free(c->bus);
        bh_ingest_stop();
        bh_http_free(c->http);
        bh_policies_free(c->policies);
        bh_enforced_free(c->enforced);
        bh_responses_free(c->responses);
        bh_upkeep_free(c->upkeep, p->served);
        bh_models_free(c->models);
        bh_map_free(c->map);
        if (p->stored)
                bh_store_nodes_set_down(c->store, NULL);
        bh_store_close(c->store);
        bh_limit_free(c->limit);
        bh_devices_free(c->devices);
        bh_pace_free(c->pace);
        bh_crowd_free(c->crowd);
        bh_ui_free(c->ui);
        bh_rules_free(c->rules);
        bh_tls_live_stop();
        bh_store_opened_clear(&c->opened);
        bh_fd_clear(&p->tcp);
        bh_fd_clear(&p->local);
        bh_fd_clear(&p->bus);
        bh_fd_clear(&p->keeper);
}

static int set_password(Program *p, GError **error) {
        BhCentral *c = &p->central;

        if (!become(p, error) || !bh_sandbox_drop(p->uid, p->gid, error) || !check_reach(c->dir, W_OK | X_OK, p->uid, error) || !bh_password_init(error) ||
            !open_store(p, error))
                return 1;
        gboolean ok = bh_admin_set_password(c->store, p->set_password, error);
        bh_store_close(c->store);
        return ok ? 0 : 1;
}

static int restore(Program *p, GError **error) {
        BhCentral *c = &p->central;
        g_autofree char *uri = g_strconcat("sqlite:", c->db_path, NULL), *backup = g_canonicalize_filename(p->restore, p->started_in);
        g_auto(BhStoreOpened) found = { 0 };

        if (!become(p, error) || !bh_sandbox_drop(p->uid, p->gid, error) || !check_reach(c->dir, W_OK | X_OK, p->uid, error) || !check_reach(backup, R_OK, p->uid, error))
                return 1;
        g_setenv("SQLITE_TMPDIR", c->dir, TRUE);
        if (!bh_store_restore(uri, backup, &found, error))
                return 1;

        g_autoptr(GString) out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "restored_from", found.restored_from);
        bh_json_text(out, "kept_as", found.damaged_kept_as);
        bh_json_int(out, "age_s", found.age_ns / 1000000000);
        bh_json_close(out, '}');
        bh_json_end(out);
        printf("%s\n", out->str);
        return 0;
}

static gboolean on_signal(gpointer data) {
        g_main_loop_quit(data);
        return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv) {
        static Program p = { .tcp = -1, .local = -1, .bus = -1, .keeper = -1, .alert_summary = 60 };
        g_autoptr(GError) error = NULL;
        struct rlimit files = { DESCRIPTORS, DESCRIPTORS }, core = { 0, 0 };
        sigset_t signals;

        if (!parse(&p, &argc, &argv, &error)) {
                fprintf(stderr, "bulkhead-central: %s\n", error->message);
                return 2;
        }
        if (p.version) {
                printf("bulkhead-central %s\n", BH_VERSION);
                return 0;
        }
        if (p.debug)
                bh_log_set_level(BH_LOG_DEBUG);
        signal(SIGPIPE, SIG_IGN);
        umask(077);
        setrlimit(RLIMIT_NOFILE, &files);
        setrlimit(RLIMIT_CORE, &core);
        p.started_in = g_get_current_dir();
        if (chdir("/"))
                bh_warn("cannot go to /", "error", g_strerror(errno));
        if (p.notifier) {
                const BhNotifierConfig config = { .dir = p.central.dir, .alert_dir = p.central.alert_dir, .summary_s = (guint) p.alert_summary };

                return bh_notifier_main(&config);
        }

        if (p.set_password || p.restore) {
                int status = p.restore ? restore(&p, &error) : set_password(&p, &error);

                if (error)
                        fprintf(stderr, "bulkhead-central: %s\n", error->message);
                return status;
        }

        /* a signal during the start waits until the start is over, so nothing is left half-way */
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGHUP);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        p.central.started_us = g_get_monotonic_time();
        p.central.started_ns = g_get_real_time() * 1000;
        if (!start(&p, &error)) {
                bh_error("cannot start", "error", error->message);
                stop(&p);
                return 1;
        }

        g_autofree char *uid = g_strdup_printf("%u", getuid()), *landlock = g_strdup_printf("%u", p.central.landlock), *fingerprint = NULL;

        bh_tls_live_describe(&fingerprint, NULL);
        bh_info("central is ready", "url", p.central.url, "uid", uid, "landlock", landlock, "certificate", fingerprint);
        if (!p.central.landlock)
                bh_warn("this kernel has no Landlock: the central is held by its own uid, file modes and the system call filter alone");
        p.loop = g_main_loop_new(NULL, FALSE);
        g_unix_signal_add(SIGINT, on_signal, p.loop);
        g_unix_signal_add(SIGTERM, on_signal, p.loop);
        g_unix_signal_add(SIGHUP, on_signal, p.loop);
        sigprocmask(SIG_UNBLOCK, &signals, NULL);
        g_main_loop_run(p.loop);
        bh_info("central stops");
        stop(&p);
        g_main_loop_unref(p.loop);
        return 0;
}
