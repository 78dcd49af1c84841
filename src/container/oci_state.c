/* SPDX-License-Identifier: Apache-2.0 */
#include "container/oci_state.h"

#include <dirent.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "container/docker_json.h"
#include "container/oci.h"
#include "container/oci_storage.h"

#define TICK_US (G_USEC_PER_SEC / 4)
#define TRIES 20u        /* five seconds */
#define OTHERS_FIRST 12u /* of these for what a client may still describe */
#define WAITING_MAX 4096u
#define CHANGES_MAX 256u

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

static gint32 pid_of(const json_t *o, const char *key) {
        const json_t *v = json_object_get(o, key);
        json_int_t n = json_is_integer(v) ? json_integer_value(v) : 0;

        return n > 0 && n <= G_MAXINT32 ? (gint32) n : 0;
}

/* When a process was created that is told in clock ticks since the boot, as /proc/PID/stat has it; 0: not told. */
static gint64 started(const json_t *ticks) {
        json_int_t n = json_is_integer(ticks) ? json_integer_value(ticks) : 0;
        struct timespec wall, boot;
        long hz = sysconf(_SC_CLK_TCK);

        if (n <= 0 || hz <= 0 || n > G_MAXINT64 / 1000000000 || clock_gettime(CLOCK_REALTIME, &wall) < 0 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
                return 0;
        return (wall.tv_sec - boot.tv_sec) * 1000000000 + (wall.tv_nsec - boot.tv_nsec) + n * (1000000000 / hz);
}

/* runc keeps its states by namespace where containerd calls it. NULL: nowhere. */
static json_t *runc_state(const char *prefix, const char *id) {
        static const char *const roots[] = { "run/runc", "run/docker/runtime-runc/moby", "run/docker/runtime-runc/plugins.moby" };
        g_autofree char *spaces = g_strdup_printf("%s/run/containerd/runc", prefix);
        json_t *doc = NULL;

        for (gsize i = 0; i < G_N_ELEMENTS(roots) && !doc; i++) {
                g_autofree char *path = g_strdup_printf("%s/%s/%s/state.json", prefix, roots[i], id);

                doc = bh_oci_read_json(path, BH_OCI_STATE_MAX);
        }
        GDir *dir = doc ? NULL : g_dir_open(spaces, 0, NULL);
        for (const char *name; dir && !doc && (name = g_dir_read_name(dir));) {
                g_autofree char *path = g_strdup_printf("%s/%s/%s/state.json", spaces, name, id);

                doc = bh_oci_read_json(path, BH_OCI_STATE_MAX);
        }
        if (dir)
                g_dir_close(dir);
        return doc;
}

static json_t *bundle_config(const char *prefix, const char *bundle) {
        g_autofree char *path = *bundle == '/' ? g_strdup_printf("%s%s/config.json", prefix, bundle) : NULL;

        return path ? bh_oci_read_json(path, BH_OCI_MAX_TEXT) : NULL;
}

/* "bundle=/path" among runc's labels; "" if there is none. */
static const char *runc_bundle(const json_t *state) {
        size_t i;
        json_t *l;

        json_array_foreach(json_object_get(json_object_get(state, "config"), "labels"), i, l)
                if (json_is_string(l) && g_str_has_prefix(json_string_value(l), "bundle="))
                        return json_string_value(l) + strlen("bundle=");
        return "";
}

/* CRI-O writes down what it was asked for. */
static void take_crio(BhContainer *c, const json_t *spec) {
        const char *name = bh_oci_annotation(spec, "io.kubernetes.cri-o.ContainerName"), *image = bh_oci_annotation(spec, "io.kubernetes.cri-o.ImageName");
        const char *labels = bh_oci_annotation(spec, "io.kubernetes.cri-o.Labels");
        g_autofree char *copy = g_strdup(labels ? labels : "");
        json_t *doc = bh_docker_json_load(copy, strlen(copy), NULL), *value;
        const char *key;

        if (name && !*c->name)
                bh_container_set(c, &c->name, name);
        if (image && !*c->image)
                bh_container_set(c, &c->image, image);
        json_object_foreach(doc, key, value)
                if (json_is_string(value))
                        bh_container_add_label(c, key, json_string_value(value));
        json_decref(doc);
}

gboolean bh_oci_state_describe(const char *host_root, BhContainer *c) {
        const char *prefix = !host_root || !strcmp(host_root, "/") ? "" : host_root;
        json_t *runc, *crun = NULL, *spec = NULL;

        if (!bh_docker_id_is_safe(c->id))
                return FALSE;
        runc = runc_state(prefix, c->id);
        if (!runc) {
                g_autofree char *path = g_strdup_printf("%s/run/crun/%s/status", prefix, c->id);

                crun = bh_oci_read_json(path, BH_OCI_STATE_MAX);
        }
        /* containers/storage first: its copy is there as long as the container, a bundle may change or go */
        const char *bundle = runc ? runc_bundle(runc) : text_of(crun, "bundle");
        spec = bh_oci_storage_spec(prefix, bundle, c->id);
        if (!spec)
                spec = bundle_config(prefix, bundle);
        if (spec) {
                const char *created = runc ? text_of(runc, "created") : text_of(crun, "created");

                c->level = BH_CONTAINER_FULL;
                c->unattended = TRUE;
                bh_oci_storage_describe(prefix, bundle, c);
                take_crio(c, spec);
                if (!strcmp(c->runtime, "unknown"))
                        bh_container_set(c, &c->runtime, runc ? "runc" : crun ? "crun" : c->runtime);
                if (!*c->name && strlen(c->id) != 64)
                        bh_container_set(c, &c->name, c->id);
                if (!c->created_ns)
                        c->created_ns = bh_time_parse(created);
                c->init_pid = runc ? pid_of(runc, "init_process_pid") : pid_of(crun, "pid");
                c->started_ns = started(runc ? json_object_get(runc, "init_process_start") : json_object_get(crun, "process-start-time"));

                g_auto(GStrv) cgroups = g_steal_pointer(&c->cgroup_paths);
                c->cgroup_paths = g_new0(char *, 1);
                bh_oci_apply(c, spec);
                /* where it really is has been seen */
                g_strfreev(c->cgroup_paths);
                c->cgroup_paths = g_steal_pointer(&cgroups);
                bh_container_finish(c);
        }
        json_decref(runc);
        json_decref(crun);
        gboolean found = spec != NULL;
        json_decref(spec);
        return found;
}

/* ---- the thread ---- */

struct BhOciWatch {
        BhContainerTable *table;
        char *host_root;
        void (*on_container)(BhContainer *c, gpointer data);
        gpointer data;
        GThread *thread;
        GMutex lock;
        GCond woken;
        gboolean stopping;
        BhOciWatchStats stats;

        /* the thread's */
        guint64 version;
        GHashTable *waiting; /* id → tries so far */
};

static void count(BhOciWatch *w, gboolean described) {
        g_mutex_lock(&w->lock);
        if (described)
                w->stats.described++;
        else
                w->stats.missed++;
        g_mutex_unlock(&w->lock);
}

/* TRUE when there is no more to do for it. */
static gboolean try_one(BhOciWatch *w, const char *id, guint tries) {
        g_autoptr(BhContainer) now = bh_container_table_get(w->table, id);
        gboolean others = now && (!strcmp(now->runtime, "docker") || !strcmp(now->runtime, "containerd") || !strcmp(now->runtime, "unknown"));

        if (!now || now->level > BH_CONTAINER_FROM_CGROUP)
                return TRUE;
        if (others && tries < OTHERS_FIRST && strlen(id) == 64)
                return FALSE;

        g_autoptr(BhContainer) c = bh_container_dup(now);
        /* a storage has its specification before the runtime has written whose process it is */
        if (bh_oci_state_describe(w->host_root, c) && (c->init_pid || tries >= TRIES || now->state != BH_CONTAINER_RUNNING)) {
                w->on_container(c, w->data);
                count(w, TRUE);
                return TRUE;
        }
        if (tries >= TRIES || now->state != BH_CONTAINER_RUNNING) {
                count(w, FALSE);
                return TRUE;
        }
        return FALSE;
}

static void look(BhOciWatch *w) {
        GHashTableIter it;
        gpointer id, tries;
        guint n;

        do {
                g_autoptr(GPtrArray) changes = bh_container_table_changes(w->table, w->version, CHANGES_MAX, &w->version);

                n = changes->len;
                for (guint i = 0; i < n; i++) {
                        const BhContainer *c = changes->pdata[i];

                        if (c->level > BH_CONTAINER_FROM_CGROUP || c->state != BH_CONTAINER_RUNNING || g_hash_table_contains(w->waiting, c->id))
                                continue;
                        if (g_hash_table_size(w->waiting) >= WAITING_MAX)
                                count(w, FALSE);
                        else
                                g_hash_table_insert(w->waiting, g_strdup(c->id), GUINT_TO_POINTER(0));
                }
        } while (n == CHANGES_MAX);
        g_hash_table_iter_init(&it, w->waiting);
        while (g_hash_table_iter_next(&it, &id, &tries)) {
                if (try_one(w, id, GPOINTER_TO_UINT(tries)))
                        g_hash_table_iter_remove(&it);
                else
                        g_hash_table_iter_replace(&it, GUINT_TO_POINTER(GPOINTER_TO_UINT(tries) + 1));
        }
}

static gpointer work(gpointer data) {
        BhOciWatch *w = data;
        gboolean stopping = FALSE;

        while (!stopping) {
                gint64 until = g_get_monotonic_time() + TICK_US;

                look(w);
                g_mutex_lock(&w->lock);
                while (!w->stopping && g_cond_wait_until(&w->woken, &w->lock, until))
                        ;
                stopping = w->stopping;
                g_mutex_unlock(&w->lock);
        }
        return NULL;
}

BhOciWatch *bh_oci_watch_start(BhContainerTable *table, const char *host_root, void (*on_container)(BhContainer *c, gpointer data), gpointer data, GError **error) {
        BhOciWatch *w = g_new0(BhOciWatch, 1);

        w->table = table;
        w->host_root = g_strdup(host_root);
        w->on_container = on_container;
        w->data = data;
        w->waiting = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_mutex_init(&w->lock);
        g_cond_init(&w->woken);
        w->thread = g_thread_try_new("bh-oci", work, w, error);
        if (!w->thread)
                g_clear_pointer(&w, bh_oci_watch_free);
        return w;
}

void bh_oci_watch_stop(BhOciWatch *w) {
        if (!w || !w->thread)
                return;
        g_mutex_lock(&w->lock);
        w->stopping = TRUE;
        g_cond_signal(&w->woken);
        g_mutex_unlock(&w->lock);
        g_thread_join(g_steal_pointer(&w->thread));
}

void bh_oci_watch_free(BhOciWatch *w) {
        if (!w)
                return;
        bh_oci_watch_stop(w);
        g_hash_table_unref(w->waiting);
        g_cond_clear(&w->woken);
        g_mutex_clear(&w->lock);
        g_free(w->host_root);
        g_free(w);
}

void bh_oci_watch_stats(BhOciWatch *w, BhOciWatchStats *out) {
        g_mutex_lock(&w->lock);
        *out = w->stats;
        g_mutex_unlock(&w->lock);
}
