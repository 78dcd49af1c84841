/* SPDX-License-Identifier: Apache-2.0 */
#include "hidden_watch.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "base/log.h"
#include "hidden.h"
#include "tasks.h"

typedef struct {
        guint32 pid;
        guint64 start; /* as events tell it */
        guint64 container, time_ns;
} Mounter;

struct BhHiddenWatch {
        BhSensor *sensor;
        BhNetAlerts *alerts;
        GHashTable *mounters; /* the drain thread's: id of the process that was mounted over → Mounter */
        guint64 mnt_ns[2];    /* of the node's first process, and the sensor's own: whose /proc is looked at; 0: not known */
        /* the looking thread's */
        BhTasks *tasks;       /* NULL: not to be had */
        gboolean tried;
        GHashTable *told;     /* gint64 * of (id, start): processes that were told, as long as they live */
        GMutex lock;          /* of what follows */
        gboolean loaded;      /* the kernel's list is there */
        char *problem;        /* why it is not, or could not be read; NULL: it was */
        const char *fault;    /* why the last look found nothing out; NULL: it did */
        guint64 looks, living, hidden, found, waiting, refused, took_us;
};

typedef struct {
        BhHiddenWatch *watch;
        const BhHidden *hidden;
        const BhProcMount *mount; /* NULL: none */
} Tale;

static gint64 name_of(const struct bh_task_record *t) {
        return (gint64) (t->start * 0x9e3779b97f4a7c15ull ^ t->tgid);
}

/* ---- the drain thread ---- */

/* "/proc/123", also by way of another root ("/proc/1/root/proc/123"). 0: it is none. */
static guint32 over(struct bh_str path) {
        const char *last = NULL;
        guint64 pid = 0;
        gsize i;

        for (i = 0; i + 6 < path.len; i++)
                if (memcmp(path.p + i, "/proc/", 6) == 0 && g_ascii_isdigit(path.p[i + 6]))
                        last = path.p + i + 6;
        for (; last && last < path.p + path.len && g_ascii_isdigit(*last) && pid <= G_MAXINT32; last++)
                pid = pid * 10 + (guint64) (*last - '0');
        return last && (last == path.p + path.len || *last == '/') && pid <= G_MAXINT32 ? (guint32) pid : 0;
}

gboolean bh_hidden_watch_early(BhHiddenWatch *w, const struct bh_decoded *d, guint64 container) {
        const struct bh_event *e = &d->event;
        guint32 pid = e->type == BH_EV_MOUNT && bh_event_has(e, BH_F_path) ? over(e->path) : e->type == BH_EV_MOVE_MOUNT && bh_event_has(e, BH_F_path2) ? over(e->path2) : 0;

        /* a container's own /proc is nobody else's */
        if (!pid || (bh_event_has(e, BH_F_ret) && e->ret < 0) || (bh_event_has(e, BH_F_mnt_ns) && w->mnt_ns[0] && e->mnt_ns != w->mnt_ns[0] && e->mnt_ns != w->mnt_ns[1]))
                return FALSE;
        if (g_hash_table_size(w->mounters) >= BH_HIDDEN_MOUNTERS)
                g_hash_table_remove_all(w->mounters);
        Mounter *m = g_new(Mounter, 1);
        *m = (Mounter){ .pid = e->pid, .start = bh_event_has(e, BH_F_proc_start) ? e->proc_start : 0, .container = container, .time_ns = e->time };
        g_hash_table_replace(w->mounters, GUINT_TO_POINTER(pid), m);
        return TRUE;
}

static void quoted(GString *out, const char *before, struct bh_str s) {
        if (!s.len)
                return;
        g_string_append(out, before);
        bh_escape_append_quoted(out, s.p, (gssize) s.len);
}

static struct bh_str text_of(const char *s) {
        return (struct bh_str){ s, s ? (guint32) strlen(s) : 0 };
}

/* "“mount” (pid 7) of container NAME" */
static char *mounter_text(BhSensor *s, const Mounter *m) {
        const struct bh_lineage *known = bh_lineage_answers(s->lineage);
        g_auto(BhContainerLookup) l = { 0 };
        struct bh_lineage_process p;
        g_autoptr(GString) out = g_string_new(NULL);

        if (known->find(known->data, m->pid, m->start, &p))
                quoted(out, "", p.exe.len ? p.exe : p.comm);
        g_string_append_printf(out, "%s(pid %u)", out->len ? " " : "process ", m->pid);
        bh_container_table_lookup(s->containers, m->container, &l);
        if (l.container && l.container->name)
                quoted(out, " from container ", text_of(l.container->name));
        return g_strdup(out->str);
}

/* The container that it came from, else that it is in, else that of who hid it. */
static void container_of(BhSensor *s, const BhHidden *h, guint64 origin, const Mounter *m, BhContainerLookup *out) {
        guint64 tries[] = { origin, h->task.origin, h->task.cgroup, m ? m->container : 0 };

        for (guint i = 0; i < G_N_ELEMENTS(tries); i++) {
                if (!tries[i])
                        continue;
                bh_container_lookup_clear(out);
                bh_container_table_lookup(s->containers, tries[i], out);
                if (out->is_container && out->container)
                        return;
        }
        bh_container_lookup_clear(out);
        *out = (BhContainerLookup){ 0 };
}

static char *date_of(guint64 ns) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc((gint64) (ns / 1000000000u));

        return t ? g_date_time_format(t, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("");
}

static void tell(gpointer data) {
        static const char *const tags[][6] = {
                { "host", "integrity", "mitre_defense_evasion", "T1014", "T1564", NULL },
                { "host", "integrity", "mitre_defense_evasion", "T1564", "T1564.013", NULL },
        };
        const Tale *t = data;
        const BhHidden *h = t->hidden;
        BhHiddenWatch *w = t->watch;
        BhSensor *s = w->sensor;
        const Mounter *by = h->how & BH_HIDDEN_COVERED ? g_hash_table_lookup(w->mounters, GUINT_TO_POINTER(h->task.tgid)) : NULL;
        guint64 start = h->task.start ? bh_clock_start(&s->listing.clock, h->task.start) : 0;
        struct bh_process_view view = { 0 };
        g_auto(BhContainerLookup) l = { 0 };

        /* a number that changed hands: a mount over a process is not older than the process */
        if (by && start && by->time_ns < start)
                by = NULL;
        bh_process_find(s->processes, h->task.tgid, h->task.start, &view);
        container_of(s, h, view.origin, by, &l);
        g_autofree char *id = g_strdup_printf("%s-hidden-%u-%" G_GINT64_MODIFIER "x", bh_report_node(s->report), h->task.tgid, start ? start : (guint64) g_get_real_time());
        g_autofree char *key = g_strdup_printf("integrity\nhidden process\n%u\n%" G_GUINT64_FORMAT, h->task.tgid, start);
        g_autofree char *how = bh_hidden_text(h, t->mount), *hider = by ? mounter_text(s, by) : NULL, *since = start ? date_of(start) : NULL, *pid = g_strdup_printf("%u", h->task.tgid);
        g_autofree char *exe = view.exe.len ? g_strndup(view.exe.p, view.exe.len) : NULL;
        g_autoptr(GString) output = g_string_new(h->task.flags & BH_TASK_KERNEL ? "hidden kernel thread on the node:" : "hidden process on the node:");

        quoted(output, " ", text_of(*h->task.comm ? h->task.comm : view.comm));
        g_string_append_printf(output, " (pid %s%s%s", pid, since ? ", started " : "", since ? since : "");
        quoted(output, ", exe ", view.exe);
        g_string_append_c(output, ')');
        if (l.container && l.container->name)
                quoted(output, " of container ", text_of(l.container->name));
        g_string_append(output, ": ");
        /* texts of mounts are an attacker's */
        g_autofree char *shown = bh_escape_cell(how, -1);
        g_string_append(output, shown);
        if (hider)
                g_string_append_printf(output, ", mounted by %s", hider);
        BhNetAlert a = {
                .id = id,
                .key = key,
                .coarse = "integrity\nhidden process",
                .kind = "integrity",
                .source = "integrity",
                .rule = "Host integrity: hidden process",
                .priority = "critical",
                .output = output->str,
                .description = "The kernel runs this process, and /proc does not show it, so that ps, top and most agents do not either. Rootkits hide so, and miners that mount something over their directory in /proc.",
                .advice = "Where a mount lies over it, unmount that and look at what is below; else look at the process from outside, by what the flight recorder has of it, and take the node out of service before you trust it again.",
                .tags = tags[h->how & (BH_HIDDEN_UNLISTED | BH_HIDDEN_ABSENT) ? 0 : 1],
                .time_ns = by ? (gint64) by->time_ns : g_get_real_time() * 1000,
                .pid = h->task.tgid,
                .start = start,
                .container = l.container,
        };
        bh_net_alert_text(&a, "integrity.what", "hidden process");
        bh_net_alert_text(&a, "integrity.change", "found");
        bh_net_alert_text(&a, "integrity.how", how);
        bh_net_alert_number(&a, "proc.pid", h->task.tgid);
        if (start)
                bh_net_alert_number(&a, "proc.pid.ts", (gint64) start);
        bh_net_alert_text(&a, "proc.name", *h->task.comm ? h->task.comm : view.comm);
        if (exe)
                bh_net_alert_text(&a, "proc.exepath", exe);
        if (t->mount) {
                bh_net_alert_text(&a, "integrity.mount", t->mount->point);
                bh_net_alert_text(&a, "integrity.mount_of", t->mount->what);
        }
        if (hider)
                bh_net_alert_text(&a, "integrity.mounted_by", hider);
        bh_net_alerts_add(w->alerts, &a, bh_lineage_answers(s->lineage), g_get_monotonic_time());
}

/* ---- the kernel's list, or the process table's ---- */

static gboolean add_process(const struct bh_process_view *view, gpointer data) {
        struct bh_task_record r = { .start = view->start, .cgroup = view->cgroup, .origin = view->origin, .tgid = view->pid, .flags = BH_TASK_UNSURE };

        g_strlcpy(r.comm, view->comm ? view->comm : "", sizeof(r.comm));
        g_array_append_val((GArray *) data, r);
        return TRUE;
}

typedef struct {
        BhSensor *sensor;
        GArray *out;
} Living;

static void living(gpointer data) {
        Living *l = data;

        bh_process_each(l->sensor->processes, add_process, l->out);
}

static void set_problem(BhHiddenWatch *w, const char *problem) {
        g_mutex_lock(&w->lock);
        g_free(w->problem);
        w->problem = g_strdup(problem);
        g_mutex_unlock(&w->lock);
}

static gboolean list(GArray *out, gpointer data) {
        BhHiddenWatch *w = data;
        Living l = { w->sensor, out };
        g_autoptr(GError) error = NULL;

        if (!w->tasks) {
                bh_pipeline_call(w->sensor->pipeline, living, &l);
                return TRUE;
        }
        gboolean ok = bh_tasks_list(w->tasks, out, &error);
        set_problem(w, ok ? NULL : error->message);
        return ok;
}

/* A thread's id is no process, though /proc can be asked for it. */
static gboolean is_process(const char *proc, guint32 pid) {
        g_autofree char *path = g_strdup_printf("%s/%u/status", proc, pid), *text = bh_file_read(AT_FDCWD, path, 8192, NULL, NULL, NULL), *line = g_strdup_printf("\nTgid:\t%u\n", pid);

        return text && strstr(text, line) && !strstr(text, "\nState:\tZ") && !strstr(text, "\nState:\tX");
}

static void load(BhHiddenWatch *w) {
        g_autoptr(GError) error = NULL;

        w->tried = TRUE;
        if ((w->tasks = bh_tasks_new(w->sensor->hooks, &error))) {
                g_mutex_lock(&w->lock);
                w->loaded = TRUE;
                g_mutex_unlock(&w->lock);
                return;
        }
        bh_warn("the kernel's own list of processes cannot be had: hidden ones are found by mounts over /proc/PID and by what hooks told", "error", error->message);
        set_problem(w, error->message);
}

/* ---- a look ---- */

static void add_name(GHashTable *to, const struct bh_task_record *t) {
        gint64 name = name_of(t);

        g_hash_table_add(to, g_memdup2(&name, sizeof(name)));
}

/* Those that live stay: a process is told once. So does what is hidden and in no list of those that live. */
static void forget_ended(BhHiddenWatch *w, const GArray *now, const GArray *hidden) {
        g_autoptr(GHashTable) lives = NULL;
        GHashTableIter it;
        gpointer key;

        if (!g_hash_table_size(w->told))
                return;
        lives = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        for (guint i = 0; i < now->len; i++)
                add_name(lives, &g_array_index(now, struct bh_task_record, i));
        for (guint i = 0; i < hidden->len; i++)
                add_name(lives, &g_array_index(hidden, BhHidden, i).task);
        g_hash_table_iter_init(&it, w->told);
        while (g_hash_table_iter_next(&it, &key, NULL))
                if (!g_hash_table_contains(lives, key))
                        g_hash_table_iter_remove(&it);
}

/* Without the kernel's list one that no hook told of may lie below a mount. */
static void add_mounted(GArray *hidden, const GPtrArray *mounts) {
        for (guint i = 0; i < mounts->len; i++) {
                BhHidden h = { .task = { .tgid = ((const BhProcMount *) mounts->pdata[i])->pid, .flags = BH_TASK_UNSURE }, .how = BH_HIDDEN_COVERED };
                gboolean there = FALSE;

                for (guint k = 0; k < hidden->len && !there; k++)
                        there = g_array_index(hidden, BhHidden, k).task.tgid == h.task.tgid;
                if (!there)
                        g_array_append_val(hidden, h);
        }
}

void bh_hidden_watch_look(BhHiddenWatch *w) {
        gint64 began = g_get_monotonic_time();
        BhHiddenSource source = { .proc = w->sensor->proc_path, .list = list, .data = w };
        g_auto(BhHiddenFound) found = { 0 };
        guint64 told = 0, hidden = 0, waiting = 0, refused = 0;

        if (!w->tried)
                load(w);
        bh_hidden_find(&source, &found);
        if (!w->tasks)
                add_mounted(found.hidden, found.mounts);
        for (guint i = 0; i < found.hidden->len; i++) {
                const BhHidden *h = &g_array_index(found.hidden, BhHidden, i);
                Tale t = { .watch = w, .hidden = h, .mount = h->how & BH_HIDDEN_COVERED ? bh_hidden_mount_of(found.mounts, h->task.tgid) : NULL };
                gint64 name = name_of(&h->task);

                if (h->task.flags & BH_TASK_UNSURE && !(h->how & BH_HIDDEN_COVERED) && !is_process(source.proc, h->task.tgid))
                        continue;
                hidden++;
                if (g_hash_table_contains(w->told, &name))
                        continue;
                if (g_hash_table_size(w->told) >= BH_HIDDEN_TOLD) {
                        refused++;
                } else if (told >= BH_HIDDEN_LOOK) {
                        waiting++;
                } else {
                        told++;
                        g_hash_table_add(w->told, g_memdup2(&name, sizeof(name)));
                        bh_pipeline_call(w->sensor->pipeline, tell, &t);
                }
        }
        if (!found.problem)
                forget_ended(w, found.living, found.hidden);
        g_mutex_lock(&w->lock);
        w->looks++;
        w->fault = found.problem;
        w->living = found.living->len;
        w->hidden = hidden;
        w->found += told;
        w->waiting = waiting;
        w->refused = refused;
        w->took_us = (guint64) (g_get_monotonic_time() - began);
        g_mutex_unlock(&w->lock);
}

/* ---- life ---- */

BhHiddenWatch *bh_hidden_watch_new(BhSensor *s, BhNetAlerts *alerts) {
        BhHiddenWatch *w = g_new0(BhHiddenWatch, 1);
        g_autofree char *first = g_build_filename(s->proc_path, "1", "ns", "mnt", NULL), *own = g_build_filename(s->proc_path, "self", "ns", "mnt", NULL);
        struct stat st;

        w->sensor = s;
        w->alerts = alerts;
        w->mnt_ns[0] = stat(first, &st) == 0 ? st.st_ino : 0;
        w->mnt_ns[1] = stat(own, &st) == 0 ? st.st_ino : 0;
        w->mounters = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        w->told = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        g_mutex_init(&w->lock);
        return w;
}

void bh_hidden_watch_free(BhHiddenWatch *w) {
        if (!w)
                return;
        bh_tasks_free(w->tasks);
        g_hash_table_unref(w->mounters);
        g_hash_table_unref(w->told);
        g_mutex_clear(&w->lock);
        g_free(w->problem);
        g_free(w);
}

json_t *bh_hidden_watch_status(BhHiddenWatch *w) {
        g_mutex_lock(&w->lock);
        const char *problem = w->problem ? w->problem : w->fault ? w->fault : "";
        json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "list", !w->looks ? "none yet" : w->loaded ? "kernel" : "process table", "problem", problem, "looks", (json_int_t) w->looks,
                              "living", (json_int_t) w->living, "hidden", (json_int_t) w->hidden, "told", (json_int_t) w->found, "waiting", (json_int_t) w->waiting, "not_told", (json_int_t) w->refused,
                              "took_us", (json_int_t) w->took_us);

        g_mutex_unlock(&w->lock);
        return o;
}
