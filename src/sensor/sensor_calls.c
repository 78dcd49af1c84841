/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls in the sensor as a whole: whose the windows of callers.h are, and what becomes of what callbook.h says about them.
 *
 * The kernel knows an executable by its inode. Its path stands in the exec event, so those of containers are remembered (PATHS_MAX; beyond that all are forgotten, and the process table is asked, as for what ran
 * before the sensor did).
 */
#include <string.h>

#include "base/log.h"
#include "callbook.h"
#include "model/never.h"
#include "sensor.h"

#define PATHS_MAX 8192u
#define MISS_US (30 * (gint64) G_USEC_PER_SEC) /* an executable that nobody knew is not asked for again for so long: each question stops the drain thread */
#define FIRST_SECONDS 60u     /* a program that was never run in that container before is looked at for so long */
#define INCIDENT_SECONDS 600u /* after a rule of high priority matched */

struct BhSensorCalls {
        BhCallers *callers;
        BhCallBook *book; /* the thread's of the callers, but for its numbers */

        GMutex lock;
        GHashTable *missed; /* keys like those of paths → when they are asked for again (gint64, monotonic); PATHS_MAX, beyond which all are forgotten */
        GHashTable *paths; /* "container\ndev\nino" → path; "" the runtime's own, which is nobody's behaviour */
        guint64 spared;    /* of `nameless`, those that nobody was asked about again */
        guint64 nameless;  /* windows of executables that nothing is known of */
        guint64 whole;     /* windows that were told */
        BhCallBookStats stats;
};

static char *path_key(const char *container, gsize len, guint64 dev, guint64 ino) {
        return g_strdup_printf("%.*s\n%" G_GUINT64_FORMAT "\n%" G_GUINT64_FORMAT, (int) len, container, dev, ino);
}

/* FALSE: it was known. */
static gboolean remember(BhSensorCalls *c, char *key, const char *path, gsize len) {
        gboolean fresh;

        g_mutex_lock(&c->lock);
        fresh = !g_hash_table_contains(c->paths, key);
        if (fresh && g_hash_table_size(c->paths) >= PATHS_MAX)
                g_hash_table_remove_all(c->paths);
        if (fresh)
                g_hash_table_insert(c->paths, key, g_strndup(path, len));
        g_mutex_unlock(&c->lock);
        if (!fresh)
                g_free(key);
        return fresh;
}

void bh_sensor_calls_event(BhSensor *s, const struct bh_event *e) {
        BhSensorCalls *c = s->calls;

        if (!c || !bh_event_has(e, BH_F_container_id) || !e->container_id.len)
                return;
        if (e->type == BH_EV_EXEC && bh_event_has(e, BH_F_exe_ino) && bh_event_has(e, BH_F_exe_dev) && bh_event_has(e, BH_F_exe)) {
                gboolean runtime = bh_never_runtime(e);

                if (remember(c, path_key(e->container_id.p, e->container_id.len, e->exe_dev, e->exe_ino), e->exe.p, runtime ? 0 : e->exe.len) && !runtime)
                        bh_callers_wake(c->callers, FIRST_SECONDS);
        }
        if (s->ruling && bh_ruling_suspects(s->ruling))
                bh_callers_wake(c->callers, INCIDENT_SECONDS);
}

typedef struct {
        BhProcessTable *processes;
        const BhCallerWindow *w;
        char *exe;
} Asking;

/* The drain thread. Another program may have taken the process over since: then the name tells. */
static void ask(gpointer data) {
        Asking *a = data;
        struct bh_process_view v;

        if (!bh_process_find(a->processes, a->w->tgid, a->w->start, &v) || !v.exe.len)
                return;
        g_autofree char *exe = g_strndup(v.exe.p, v.exe.len), *base = g_path_get_basename(exe);
        gsize n = MIN(strlen(a->w->name), BH_CALLERS_NAME - 1);
        if (strncmp(base, a->w->name, n) == 0)
                a->exe = g_steal_pointer(&exe);
}

static void miss(BhSensorCalls *c, char *key) {
        gint64 again_us = g_get_monotonic_time() + MISS_US;

        g_mutex_lock(&c->lock);
        if (g_hash_table_size(c->missed) >= PATHS_MAX)
                g_hash_table_remove_all(c->missed);
        g_hash_table_replace(c->missed, key, g_memdup2(&again_us, sizeof(again_us)));
        g_mutex_unlock(&c->lock);
}

static char *exe_of(BhSensor *s, const BhContainer *container, const BhCallerWindow *w) {
        BhSensorCalls *c = s->calls;
        g_autofree char *key = path_key(container->id, strlen(container->id), w->dev, w->ino);
        Asking asking = { s->processes, w, NULL };
        char *exe;

        g_mutex_lock(&c->lock);
        /* an exec event that came meanwhile has its path here, whatever was missed before */
        exe = g_strdup(g_hash_table_lookup(c->paths, key));
        const gint64 *again_us = exe ? NULL : g_hash_table_lookup(c->missed, key);
        gboolean wait = again_us && g_get_monotonic_time() < *again_us;
        c->spared += wait;
        g_mutex_unlock(&c->lock);
        if (exe || wait)
                return exe;
        bh_pipeline_call(s->pipeline, ask, &asking);
        if (asking.exe)
                remember(c, g_steal_pointer(&key), asking.exe, strlen(asking.exe));
        else
                miss(c, g_steal_pointer(&key));
        return asking.exe;
}

typedef struct {
        BhSensor *sensor;
        const BhContainer *container;
        const char *exe;
        const BhCallerWindow *w;
} Telling;

static void on_fact(const BhCallFact *f, gpointer data) {
        const Telling *t = data;
        const BhContainer *c = t->container;
        const BhObservation what = {
                .container_id = c->id,
                .workload = c->workload,
                .application = c->application,
                .image_digest = bh_container_digest(c),
                .kind = f->kind,
                .subject = { f->object, (guint32) strlen(f->object) },
                .parent = { t->exe, (guint32) strlen(t->exe) },
                .detail = { f->detail, (guint32) strlen(f->detail) },
                .example = { "", 0 },
                .count = f->count,
                .first_ns = t->w->time_ns - BH_CALLERS_WINDOW_US * 1000,
                .last_ns = t->w->time_ns,
        };

        bh_report_observe(t->sensor->report, &what);
}

static gboolean on_window(const BhCallerWindow *w, gpointer data) {
        BhSensor *s = data;
        BhSensorCalls *c = s->calls;
        g_auto(BhContainerLookup) found = { 0 };

        bh_container_table_lookup(s->containers, w->container, &found);
        g_autofree char *exe = found.container && found.described ? exe_of(s, found.container, w) : NULL;
        /* what nobody describes has no model */
        if (!exe) {
                g_mutex_lock(&c->lock);
                c->nameless++;
                g_mutex_unlock(&c->lock);
                return FALSE;
        }
        if (!*exe)
                return FALSE;

        Telling telling = { s, found.container, exe, w };
        const BhCallBookOf of = { found.container->application, found.container->workload, bh_container_digest(found.container), found.container->id, exe };
        gboolean more = bh_callbook_window(c->book, &of, w, on_fact, &telling);
        g_mutex_lock(&c->lock);
        c->whole++;
        bh_callbook_stats(c->book, &c->stats);
        g_mutex_unlock(&c->lock);
        return more;
}

void bh_sensor_open_calls(BhSensor *s) {
        if (!s->report || s->options.no_calls)
                return;
        s->calls = g_new0(BhSensorCalls, 1);
        g_mutex_init(&s->calls->lock);
        s->calls->book = bh_callbook_new();
        s->calls->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        s->calls->missed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        s->calls->callers = bh_callers_new(s->hooks);
}

void bh_sensor_start_calls(BhSensor *s) {
        if (s->calls)
                bh_callers_start(s->calls->callers, on_window, s);
}

void bh_sensor_settle_calls(BhSensor *s) {
        if (s->calls)
                bh_callers_stop(s->calls->callers);
}

void bh_sensor_free_calls(BhSensor *s) {
        BhSensorCalls *c = g_steal_pointer(&s->calls);

        if (!c)
                return;
        bh_callers_free(c->callers);
        bh_callbook_free(c->book);
        g_hash_table_unref(c->paths);
        g_hash_table_unref(c->missed);
        g_mutex_clear(&c->lock);
        g_free(c);
}

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

json_t *bh_sensor_calls_status(BhSensor *s) {
        BhSensorCalls *c = s->calls;
        json_t *o = json_object();
        BhCallersStats k;

        if (!c) {
                json_object_set_new(o, "state", json_string("off"));
                return o;
        }
        bh_callers_stats(c->callers, &k);
        g_autofree char *problem = g_utf8_make_valid(k.problem, -1);
        json_object_set_new(o, "state", json_string(*problem ? "failed" : k.attached ? "looks" : "waits"));
        json_object_set_new(o, "problem", json_string(problem));
        json_object_set_new(o, "attached_ms", number(k.attached_ms));
        json_object_set_new(o, "attached_times", number(k.attached_times));
        json_object_set_new(o, "throttled", number(k.throttled));
        json_object_set_new(o, "windows", number(k.windows));
        json_object_set_new(o, "late", number(k.late));
        json_object_set_new(o, "calls", number(k.seen));
        json_object_set_new(o, "counted", number(k.counted));
        json_object_set_new(o, "stray", number(k.stray));
        json_object_set_new(o, "lost", json_pack("{s:o, s:o}", "no_place", number(k.full), "contended", number(k.contended)));
        g_mutex_lock(&c->lock);
        json_object_set_new(o, "without_a_name", number(c->nameless));
        json_object_set_new(o, "not_asked_again", number(c->spared));
        json_object_set_new(o, "with_a_name", number(c->whole));
        json_object_set_new(o, "executables", number(c->stats.executables));
        json_object_set_new(o, "bytes", number(c->stats.bytes));
        json_object_set_new(o, "told", number(c->stats.told));
        json_object_set_new(o, "left", number(c->stats.left));
        json_object_set_new(o, "evicted", number(c->stats.evicted));
        json_object_set_new(o, "without_patterns", number(c->stats.refused));
        g_mutex_unlock(&c->lock);
        return o;
}
