/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's integrity in the sensor as a whole: who looks, who wrote what moved, and how it is told (kind "integrity").
 *
 * A thread looks each LOOK_S seconds, or soon after a process that came from a container wrote outside of it. What it found is told in the drain thread, which knows processes: the writer, where a
 * container's process wrote that file, so that the finding joins its incident.
 */
#include <fcntl.h>
#include <string.h>
#include <xxhash.h>

#include "base/fdio.h"
#include "base/log.h"
#include "hidden_watch.h"
#include "integrity.h"
#include "sensor.h"

#define LOOK_S 15
#define SOON_US (G_USEC_PER_SEC / 2)
#define WRITERS 8192u
#define TOLD_MAX 64u /* findings of one look; more are one number */
#define TEXT_MAX (4u << 20)

typedef struct {
        guint32 pid;
        guint64 start_ns, cgroup, time_ns;
} Writer;

struct BhNodeWatch {
        BhSensor *sensor;
        BhIntegrity *files;
        BhNetAlerts *alerts; /* the drain thread's, as the writers */
        GHashTable *writers; /* guint64 * of (device, inode) → Writer */
        GHashTable *hidden;  /* the thread's: what was told already, "module NAME" */
        BhHiddenWatch *processes;
        GThread *thread;
        GMutex lock;
        GCond moved;
        gboolean stopping, soon;
        guint64 found, looks, left_out;
        guint in_look;
        guint64 number;
};

static guint64 key_of(guint64 dev, guint64 ino) {
        guint64 both[2] = { dev, ino };

        return XXH3_64bits(both, sizeof(both));
}

/* ---- the drain thread ---- */

static void look_soon(BhNodeWatch *w) {
        g_mutex_lock(&w->lock);
        w->soon = TRUE;
        g_cond_signal(&w->moved);
        g_mutex_unlock(&w->lock);
}

void bh_sensor_integrity_early(BhSensor *s, const struct bh_decoded *d, guint64 cgroup) {
        BhNodeWatch *w = s->integrity;
        const struct bh_event *e = &d->event;
        g_auto(BhContainerLookup) l = { 0 };
        gboolean written = e->type == BH_EV_CLOSE_WRITE && bh_event_has(e, BH_F_ino), mounted = e->type == BH_EV_MOUNT || e->type == BH_EV_MOVE_MOUNT;

        if (!w || !(written || mounted))
                return;
        bh_container_table_lookup(s->containers, cgroup, &l);
        if (!l.is_container && !d->origin)
                return;
        if (mounted) {
                if (bh_hidden_watch_early(w->processes, d, l.is_container ? cgroup : d->origin))
                        look_soon(w);
                return;
        }
        if (g_hash_table_size(w->writers) >= WRITERS)
                g_hash_table_remove_all(w->writers);
        Writer *one = g_new(Writer, 1);
        *one = (Writer){ .pid = e->pid, .start_ns = bh_event_has(e, BH_F_proc_start) ? e->proc_start : 0, .cgroup = l.is_container ? cgroup : d->origin, .time_ns = e->time };
        guint64 key = key_of(e->dev, e->ino);
        g_hash_table_replace(w->writers, g_memdup2(&key, sizeof(key)), one);
        if (l.is_container && !(bh_event_has(e, BH_F_path) && bh_evidence_in_host_mount(l.container, e->path)))
                return;
        look_soon(w);
}

typedef struct {
        BhNodeWatch *watch;
        const char *path, *what, *action;
        guint weight;
        guint64 dev, ino;
} Tale;

static void tell(gpointer data) {
        static const char *const weights[] = { "notice", "warning", "critical" };
        static const char *const tags[] = { "host", "integrity", "mitre_persistence", "T1547", NULL }, *const hiding[] = { "host", "integrity", "mitre_defense_evasion", "T1014", NULL };
        const Tale *t = data;
        BhNodeWatch *w = t->watch;
        BhSensor *s = w->sensor;
        guint64 key = key_of(t->dev, t->ino);
        const Writer *by = t->ino ? g_hash_table_lookup(w->writers, &key) : NULL;
        g_auto(BhContainerLookup) l = { 0 };
        gboolean hides = g_str_has_prefix(t->what, "hidden");

        if (by)
                bh_container_table_lookup(s->containers, by->cgroup, &l);
        g_autofree char *name = g_strdup_printf("integrity\n%s\n%s\n%s", t->what, t->path, t->action), *coarse = g_strdup_printf("integrity\n%s", t->what);
        g_autofree char *id = g_strdup_printf("%s-integrity-%" G_GINT64_MODIFIER "x-%" G_GUINT64_FORMAT, bh_report_node(s->report), (guint64) g_get_real_time(), ++w->number);
        g_autofree char *rule = hides ? g_strdup_printf("Host integrity: %s", t->what) : g_strdup_printf("Host integrity: %s %s", t->what, t->action);
        g_autofree char *output = hides ? g_strdup_printf("%s on the node: %s", t->what, t->path)
                                        : g_strdup_printf("%s %s on the node: %s%s%s", t->what, t->action, t->path, l.container ? ", written from container " : "", l.container ? l.container->name : "");
        BhNetAlert a = {
                .id = id,
                .key = name,
                .coarse = coarse,
                .kind = "integrity",
                .source = "integrity",
                .rule = rule,
                .priority = by ? weights[2] : weights[MIN(t->weight, 2)],
                .output = output,
                .description = hides ? "Something on this node is there for the kernel and not for those who list it. Rootkits hide so."
                                     : "A file by which something stays on a node, or a program of the system, is not what it was. Package managers and administrators change some of them; containers have no business there.",
                .advice = "Find out who changed it: the evidence has the file as it is now. If nobody did, take the node out of service before you trust it again.",
                .tags = hides ? hiding : tags,
                .time_ns = by ? (gint64) by->time_ns : g_get_real_time() * 1000,
                .pid = by ? by->pid : 0,
                .start = by ? by->start_ns : 0,
                .container = l.container,
        };
        bh_net_alert_text(&a, "fd.name", t->path);
        bh_net_alert_text(&a, "integrity.what", t->what);
        bh_net_alert_text(&a, "integrity.change", t->action);
        if (t->ino) {
                bh_net_alert_number(&a, "fd.dev", (gint64) t->dev);
                bh_net_alert_number(&a, "fd.ino", (gint64) t->ino);
        }
        bh_net_alerts_add(w->alerts, &a, bh_lineage_answers(s->lineage), g_get_monotonic_time());
        if (s->evidence && t->ino && *t->path == '/' && (by || t->weight))
                bh_evidence_host_file(s->evidence, id, output, t->path);
}

static void turn(gpointer data) {
        BhNodeWatch *w = data;

        bh_net_alerts_round(w->alerts, g_get_monotonic_time());
}

/* ---- the thread ---- */

static void found(BhNodeWatch *w, const Tale *t) {
        w->found++;
        if (w->in_look++ < TOLD_MAX)
                bh_pipeline_call(w->sensor->pipeline, tell, (gpointer) t);
        else
                w->left_out++;
}

static void on_change(const BhChange *c, gpointer data) {
        static const char *const actions[] = { "is new", "changed", "removed" };
        Tale t = { .watch = data, .path = c->path, .what = c->what, .action = actions[c->kind], .weight = c->weight, .dev = c->dev, .ino = c->ino };

        found(data, &t);
}

/* Once for each, as long as it is so. */
static void hidden(BhNodeWatch *w, const char *what, const char *name) {
        Tale t = { .watch = w, .path = name, .what = what, .action = "found", .weight = 2 };

        if (g_hash_table_size(w->hidden) > TOLD_MAX)
                g_hash_table_remove_all(w->hidden);
        if (g_hash_table_add(w->hidden, g_strdup_printf("%s %s", what, name)))
                found(w, &t);
}

static GPtrArray *modules_now(BhNodeWatch *w) {
        g_autofree char *path = g_build_filename(w->sensor->proc_path, "modules", NULL), *listed = bh_file_read(AT_FDCWD, path, TEXT_MAX, NULL, NULL, NULL);
        g_autofree char *sys = g_build_filename(w->sensor->options.host_root, "sys/module", NULL);
        const char *where = g_file_test(sys, G_FILE_TEST_IS_DIR) ? sys : "/sys/module";
        g_autoptr(GDir) d = g_dir_open(where, 0, NULL);
        g_autoptr(GString) there = g_string_new(NULL);

        if (!listed || !d)
                return g_ptr_array_new_with_free_func(g_free);
        for (const char *name; (name = g_dir_read_name(d));) {
                g_autofree char *state = g_build_filename(where, name, "initstate", NULL); /* what is built in has none */

                if (g_file_test(state, G_FILE_TEST_EXISTS))
                        g_string_append_printf(there, "%s\n", name);
        }
        return bh_integrity_modules(listed, there->str);
}

static void look_at_modules(BhNodeWatch *w) {
        g_autoptr(GPtrArray) once = modules_now(w);

        if (!once->len)
                return;
        g_usleep(100000); /* one that is being loaded or unloaded is in one view for a moment */
        g_autoptr(GPtrArray) twice = modules_now(w);
        for (guint i = 0; i < once->len; i++)
                if (g_ptr_array_find_with_equal_func(twice, once->pdata[i], g_str_equal, NULL))
                        hidden(w, "hidden kernel module", once->pdata[i]);
}

static gpointer watch(gpointer data) {
        BhNodeWatch *w = data;
        gint64 next_us = 0;

        for (;;) {
                g_mutex_lock(&w->lock);
                while (!w->stopping && !w->soon && g_get_monotonic_time() < next_us)
                        g_cond_wait_until(&w->moved, &w->lock, next_us);
                gboolean soon = w->soon;
                /* what is written now is written together; who goes on writing wakes this each time, and makes no more looks by it */
                for (gint64 until = g_get_monotonic_time() + SOON_US; soon && !w->stopping && g_get_monotonic_time() < until;)
                        g_cond_wait_until(&w->moved, &w->lock, until);
                gboolean stopping = w->stopping;
                w->soon = FALSE;
                g_mutex_unlock(&w->lock);
                if (stopping)
                        return NULL;
                w->in_look = 0;
                bh_integrity_look(w->files, on_change, w);
                look_at_modules(w);
                bh_hidden_watch_look(w->processes);
                bh_pipeline_call(w->sensor->pipeline, turn, w);
                w->looks++;
                next_us = g_get_monotonic_time() + LOOK_S * G_USEC_PER_SEC;
        }
}

/* ---- life ---- */

void bh_sensor_open_integrity(BhSensor *s) {
        g_autofree char *state = g_build_filename(s->options.data_dir, "integrity", NULL);

        if (!s->report || s->options.no_integrity)
                return;
        BhNodeWatch *w = g_new0(BhNodeWatch, 1);
        w->sensor = s;
        g_mutex_init(&w->lock);
        g_cond_init(&w->moved);
        w->files = bh_integrity_new(s->options.host_root, s->proc_path, state);
        w->alerts = bh_net_alerts_new(bh_report_node(s->report), bh_sensor_publish_finding, s);
        w->writers = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        w->hidden = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        w->processes = bh_hidden_watch_new(s, w->alerts);
        s->integrity = w;
}

void bh_sensor_start_integrity(BhSensor *s) {
        if (s->integrity)
                s->integrity->thread = g_thread_new("bh-integrity", watch, s->integrity);
}

void bh_sensor_settle_integrity(BhSensor *s) {
        BhNodeWatch *w = s->integrity;

        if (!w || !w->thread)
                return;
        g_mutex_lock(&w->lock);
        w->stopping = TRUE;
        g_cond_signal(&w->moved);
        g_mutex_unlock(&w->lock);
        g_thread_join(g_steal_pointer(&w->thread));
}

void bh_sensor_free_integrity(BhSensor *s) {
        BhNodeWatch *w = g_steal_pointer(&s->integrity);

        if (!w)
                return;
        bh_hidden_watch_free(w->processes);
        bh_net_alerts_free(w->alerts);
        bh_integrity_free(w->files);
        g_hash_table_unref(w->writers);
        g_hash_table_unref(w->hidden);
        g_mutex_clear(&w->lock);
        g_cond_clear(&w->moved);
        g_free(w);
}

json_t *bh_sensor_integrity_status(BhSensor *s) {
        const BhNodeWatch *w = s->integrity;

        if (!w)
                return json_pack("{s:s}", "state", "off");
        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "state", "on", "files", (json_int_t) bh_integrity_files(w->files), "files_refused", (json_int_t) bh_integrity_refused(w->files), "looks",
                         (json_int_t) w->looks, "found", (json_int_t) w->found, "not_told", (json_int_t) w->left_out, "processes", bh_hidden_watch_status(w->processes));
}
