/* SPDX-License-Identifier: Apache-2.0 */
#include "container/table.h"

#include <string.h>

#include "container/cgroup.h"

typedef struct {
        BhContainerTable *table;
        BhContainer *c;
        guint64 version; /* of the table when `c` was published */
        GList change;    /* place in `changes` */
        guint cgroups;   /* bound to it, ended ones included */
        guint live;
        gboolean removed, expired; /* expired: removed, and the time to keep it is over; goes with its last cgroup */
        gboolean queued;           /* is in `removed` of the table */
        char *told_path;           /* of a cgroup that the runtime says is its; NULL: none. A key in `told` */
} Entry;

typedef struct {
        guint64 id; /* the hash table's key */
        char *path;
        Entry *entry; /* NULL: no container, or the table was full */
        gint64 bound_us, ended_us;
        gboolean is_container, undecided, ended;
} Cgroup;

typedef struct {
        char *id;
        gint64 at_us;
} Removed;

struct BhContainerTable {
        GMutex lock;
        char *host_root, **namespaces;
        BhCgroupLayout *layout; /* NULL: no hierarchy, so no runc container is proved */
        BhContainerTableConfig config;
        GHashTable *cgroups;    /* &Cgroup.id → Cgroup */
        GHashTable *paths;      /* Cgroup.path → the youngest Cgroup with it */
        GHashTable *containers; /* id → Entry */
        GHashTable *told;       /* Entry.told_path → Entry */
        GQueue ended;           /* Cgroup, in the order of their end */
        GQueue removed;         /* Removed, in order */
        GArray *undecided;      /* guint64 */
        GQueue changes;         /* Entry, in the order of its last change */
        guint64 version;
        BhContainerTableStats stats;
};

static void entry_free(gpointer p) {
        Entry *e = p;

        g_queue_unlink(&e->table->changes, &e->change);
        if (e->told_path && g_hash_table_lookup(e->table->told, e->told_path) == e)
                g_hash_table_remove(e->table->told, e->told_path);
        g_free(e->told_path);
        bh_container_unref(e->c);
        g_free(e);
}

static void cgroup_free(gpointer p) {
        Cgroup *g = p;

        g_free(g->path);
        g_free(g);
}

static void removed_free(gpointer p) {
        Removed *r = p;

        g_free(r->id);
        g_free(r);
}

BhContainerTable *bh_container_table_new(const BhContainerTableConfig *config) {
        BhContainerTable *t = g_new0(BhContainerTable, 1);

        t->config = *config;
        t->host_root = g_strdup(config->host_root ? config->host_root : "/");
        t->namespaces = g_strdupv((char **) config->containerd_namespaces);
        t->layout = config->layout ? bh_cgroup_layout_dup(config->layout) : bh_cgroup_detect(config->host_root, NULL);
        t->config.host_root = NULL;
        t->config.layout = NULL;
        t->config.containerd_namespaces = NULL;
        if (!t->config.keep_us)
                t->config.keep_us = BH_CONTAINER_TABLE_KEEP_US;
        if (!t->config.max_ended)
                t->config.max_ended = BH_CONTAINER_TABLE_MAX_ENDED;
        if (!t->config.max_cgroups)
                t->config.max_cgroups = BH_CONTAINER_TABLE_MAX_CGROUPS;
        if (!t->config.max_containers)
                t->config.max_containers = BH_CONTAINER_TABLE_MAX_CONTAINERS;
        g_mutex_init(&t->lock);
        t->cgroups = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, cgroup_free);
        t->paths = g_hash_table_new(g_str_hash, g_str_equal);
        t->containers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free);
        t->told = g_hash_table_new(g_str_hash, g_str_equal);
        t->undecided = g_array_new(FALSE, FALSE, sizeof(guint64));
        g_queue_init(&t->ended);
        g_queue_init(&t->removed);
        g_queue_init(&t->changes);
        return t;
}

void bh_container_table_free(BhContainerTable *t) {
        if (!t)
                return;
        g_queue_clear(&t->ended);
        g_queue_clear_full(&t->removed, removed_free);
        g_hash_table_unref(t->paths);
        g_hash_table_unref(t->cgroups);
        g_hash_table_unref(t->containers);
        g_hash_table_unref(t->told);
        g_array_unref(t->undecided);
        g_strfreev(t->namespaces);
        bh_cgroup_layout_free(t->layout);
        g_free(t->host_root);
        g_mutex_clear(&t->lock);
        g_free(t);
}

/* ---- under the lock ---- */

/* Its description was published. */
static void changed(BhContainerTable *t, Entry *e) {
        g_queue_unlink(&t->changes, &e->change);
        e->version = ++t->version;
        g_queue_push_tail_link(&t->changes, &e->change);
}

/* Nobody but its cgroup tells its end. */
static gboolean alone(const BhContainer *c) {
        return c->level == BH_CONTAINER_FROM_CGROUP || c->unattended;
}

static void drop_entry_if_done(BhContainerTable *t, Entry *e) {
        if (!e->cgroups && (e->expired || (alone(e->c) && !e->queued)))
                g_hash_table_remove(t->containers, e->c->id);
}

/* Takes the cgroup out of all indexes and frees it; the ended queue is the caller's. */
static void drop_cgroup(BhContainerTable *t, Cgroup *g) {
        Entry *e = g->entry;

        if (g_hash_table_lookup(t->paths, g->path) == g)
                g_hash_table_remove(t->paths, g->path);
        if (e) {
                e->cgroups--;
                e->live -= !g->ended;
        }
        g_hash_table_remove(t->cgroups, &g->id);
        if (e)
                drop_entry_if_done(t, e);
}

static void expire(BhContainerTable *t, gint64 now_us) {
        Cgroup *g;
        Removed *r;

        while ((g = g_queue_peek_head(&t->ended))) {
                gboolean over = g_queue_get_length(&t->ended) > t->config.max_ended;

                if (!over && g->ended_us + t->config.keep_us > now_us)
                        break;
                if (over)
                        t->stats.evicted++;
                else
                        t->stats.expired++;
                g_queue_pop_head(&t->ended);
                drop_cgroup(t, g);
        }
        while ((r = g_queue_peek_head(&t->removed))) {
                if (g_queue_get_length(&t->removed) <= t->config.max_ended && r->at_us + t->config.keep_us > now_us)
                        break;
                Entry *e = g_hash_table_lookup(t->containers, r->id);

                g_queue_pop_head(&t->removed);
                if (e) {
                        e->queued = FALSE;
                        e->expired = e->removed;
                        drop_entry_if_done(t, e);
                }
                removed_free(r);
        }
}

static void end_cgroup(BhContainerTable *t, Cgroup *g, gint64 now_us) {
        if (g->ended)
                return;
        g->ended = TRUE;
        g->undecided = FALSE;
        g->ended_us = now_us;
        g_queue_push_tail(&t->ended, g);
        if (g->entry && --g->entry->live == 0 && alone(g->entry->c)) {
                BhContainer *c = bh_container_dup(g->entry->c);

                c->state = BH_CONTAINER_EXITED;
                if (c->unattended) {
                        c->init_pid = 0;
                        c->finished_ns = g_get_real_time() * 1000;
                        c->exit_code = -1;
                        bh_container_add_run(c, c->started_ns, c->finished_ns, -1, c->oom_killed, NULL, TRUE);
                }
                bh_container_unref(g->entry->c);
                g->entry->c = c;
                changed(t, g->entry);
        }
}

static Entry *add_entry(BhContainerTable *t, BhContainer *c) {
        if (g_hash_table_size(t->containers) >= t->config.max_containers) {
                t->stats.containers_refused++;
                return NULL;
        }
        Entry *e = g_new0(Entry, 1);
        e->table = t;
        e->c = c;
        e->change.data = e;
        e->version = ++t->version;
        g_queue_push_tail_link(&t->changes, &e->change);
        g_hash_table_insert(t->containers, g_strdup(c->id), e);
        return e;
}

/* The cgroup of the nearest bound ancestor of `path` (its first `len` bytes) that is a container's. */
static Cgroup *container_above(BhContainerTable *t, const char *path, gsize len) {
        g_autofree char *up = g_strndup(path, len);
        char *slash;

        while ((slash = strrchr(up, '/')) && slash != up) {
                *slash = '\0';
                Cgroup *g = g_hash_table_lookup(t->paths, up);

                if (g && g->is_container && !g->ended)
                        return g;
        }
        return NULL;
}

/* A container's own cgroup's path, `own_len` bytes of path, is `shape`'s container. Binds g to it. */
static void join(BhContainerTable *t, Cgroup *g, const BhCgroupContainer *shape) {
        BhCgroupContainer s = *shape;
        Entry *e = g_hash_table_lookup(t->containers, s.id);

        if (s.depth && e && ((e->c->level > BH_CONTAINER_FROM_CGROUP && !*e->c->cgroup_parent) || (e->live && !e->c->depth))) {
                /* the host's own runtime runs that one, and elsewhere */
                t->stats.impostors++;
                g_strlcpy(s.id, s.outer_id, sizeof s.id);
                s.own_len = s.outer_len;
                s.depth = 0;
                e = g_hash_table_lookup(t->containers, s.id);
        }

        g_autofree char *own = g_strndup(g->path, s.own_len);
        g->is_container = TRUE;
        g->undecided = FALSE;
        if (!e) {
                g_autoptr(BhContainer) c = bh_container_new(s.id, s.runtime);

                c->depth = s.depth;
                c->state = BH_CONTAINER_RUNNING;
                if (s.depth)
                        bh_container_set(c, &c->outer_id, s.outer_id);
                bh_container_add_cgroup(c, own);
                e = add_entry(t, c);
                if (!e)
                        return;
                c = NULL;
        } else if (!g_strv_contains((const char *const *) e->c->cgroup_paths, own) || (alone(e->c) && !e->live)) {
                BhContainer *c = bh_container_dup(e->c);

                if (alone(c))
                        c->state = BH_CONTAINER_RUNNING;
                if (c->unattended && !e->live) {
                        /* it runs again: what the files say of its run now is to be read anew */
                        c->level = BH_CONTAINER_FROM_CGROUP;
                        c->unattended = FALSE;
                        c->started_ns = c->finished_ns = 0;
                        c->exit_code = 0;
                        c->net_ns = 0;
                        bh_container_set(c, &c->started_by, "");
                        bh_container_set(c, &c->ended_by, "");
                }
                bh_container_add_cgroup(c, own);
                if (s.depth && !*c->outer_id) {
                        bh_container_set(c, &c->outer_id, s.outer_id);
                        c->depth = s.depth;
                }
                bh_container_unref(e->c);
                e->c = c;
                changed(t, e);
        }
        g->entry = e;
        e->cgroups++;
        e->live++;
}

/* Joins by shape or by an ancestor; FALSE if neither says that it is a container. */
static gboolean resolve(BhContainerTable *t, Cgroup *g) {
        BhCgroupContainer shape;
        gboolean shaped = bh_cgroup_parse(g->path, &shape);
        Cgroup *above = container_above(t, g->path, shaped ? shape.own_len : strlen(g->path));

        if (shaped) {
                /* around the outermost that the path shows, there may be one that only its runtime's state gave away */
                Cgroup *around = container_above(t, g->path, shape.outer_len);

                if (around && around->entry && strcmp(around->entry->c->id, shape.outer_id)) {
                        g_strlcpy(shape.outer_id, around->entry->c->id, sizeof shape.outer_id);
                        shape.outer_len = strlen(around->path);
                        shape.depth++;
                }
                join(t, g, &shape);
                return TRUE;
        }
        const Entry *told = g_hash_table_lookup(t->told, g->path);
        if (told) {
                shape = (BhCgroupContainer) { .own_len = strlen(g->path), .outer_len = strlen(g->path) };
                g_strlcpy(shape.id, told->c->id, sizeof shape.id);
                g_strlcpy(shape.outer_id, told->c->id, sizeof shape.outer_id);
                g_strlcpy(shape.runtime, told->c->runtime, sizeof shape.runtime);
                join(t, g, &shape);
                return TRUE;
        }
        if (!above)
                return FALSE;
        g->is_container = TRUE;
        g->undecided = FALSE;
        g->entry = above->entry;
        if (g->entry) {
                g->entry->cgroups++;
                g->entry->live++;
        }
        return TRUE;
}

/* ---- the public side ---- */

/* Names of systemd's units are never a runtime's own names; runc's scopes are looked at by bh_cgroup_probe(). */
static gboolean may_be_named(const char *path) {
        static const char *const units[] = { ".slice", ".service", ".mount", ".socket", ".swap" };

        if (!path[0] || !strcmp(path, "/"))
                return FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(units); i++)
                if (g_str_has_suffix(path, units[i]))
                        return FALSE;
        return TRUE;
}

/* Files are read without the lock. TRUE if it became a container. */
static gboolean recheck_one(BhContainerTable *t, guint64 id, gint64 now_us) {
        g_autofree char *path = bh_container_table_path(t, id);
        BhCgroupContainer shape;
        g_mutex_lock(&t->lock);
        g_auto(GStrv) namespaces = g_strdupv(t->namespaces);
        g_mutex_unlock(&t->lock);
        gboolean found = path && bh_cgroup_probe(t->host_root, t->layout, (const char *const *) namespaces, path, &shape), became = FALSE;

        g_mutex_lock(&t->lock);
        Cgroup *g = g_hash_table_lookup(t->cgroups, &id);
        if (g && g->undecided && !strcmp(g->path, path)) {
                if (found)
                        join(t, g, &shape);
                became = found || resolve(t, g);
                if (became)
                        t->stats.generation++;
                else if (g->bound_us + BH_CONTAINER_TABLE_UNDECIDED_US <= now_us)
                        g->undecided = FALSE;
        }
        g_mutex_unlock(&t->lock);
        return became;
}

gboolean bh_container_table_recheck(BhContainerTable *t, gint64 now_us) {
        g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint64));
        gboolean any = FALSE;

        g_mutex_lock(&t->lock);
        g_array_append_vals(ids, t->undecided->data, t->undecided->len);
        g_mutex_unlock(&t->lock);

        /* in the order of their binding, so that what lies inside finds its container decided */
        for (guint i = 0; i < ids->len; i++)
                any |= recheck_one(t, g_array_index(ids, guint64, i), now_us);

        g_mutex_lock(&t->lock);
        guint kept = 0;
        for (guint i = 0; i < t->undecided->len; i++) {
                guint64 id = g_array_index(t->undecided, guint64, i);
                const Cgroup *g = g_hash_table_lookup(t->cgroups, &id);

                if (g && g->undecided)
                        g_array_index(t->undecided, guint64, kept++) = id;
        }
        g_array_set_size(t->undecided, kept);
        g_mutex_unlock(&t->lock);
        if (any && t->config.changed)
                t->config.changed(t->config.data);
        return any;
}

void bh_container_table_bind(BhContainerTable *t, guint64 cgroup_id, const char *path, gint64 now_us) {
        gboolean probe;

        g_mutex_lock(&t->lock);
        expire(t, now_us);
        Cgroup *g = g_hash_table_lookup(t->cgroups, &cgroup_id);
        if (g && !strcmp(g->path, path)) {
                g_mutex_unlock(&t->lock);
                return;
        }
        if (g) {
                g_queue_remove(&t->ended, g);
                drop_cgroup(t, g);
        }
        if (g_hash_table_size(t->cgroups) >= t->config.max_cgroups) {
                t->stats.cgroups_refused++;
                g_mutex_unlock(&t->lock);
                return;
        }
        g = g_new0(Cgroup, 1);
        g->id = cgroup_id;
        g->path = g_strdup(path);
        g->bound_us = now_us;
        g_hash_table_insert(t->cgroups, &g->id, g);
        /* replace, not insert: the key must be the path of the Cgroup that is the value */
        g_hash_table_replace(t->paths, g->path, g);
        probe = !resolve(t, g) && may_be_named(path);
        if (probe) {
                g->undecided = TRUE;
                g_array_append_val(t->undecided, cgroup_id);
        }
        g_mutex_unlock(&t->lock);
        if (probe && recheck_one(t, cgroup_id, now_us) && t->config.changed)
                t->config.changed(t->config.data);
}

void bh_container_table_unbind(BhContainerTable *t, guint64 cgroup_id, gint64 now_us) {
        g_mutex_lock(&t->lock);
        Cgroup *g = g_hash_table_lookup(t->cgroups, &cgroup_id);
        if (g)
                end_cgroup(t, g, now_us);
        expire(t, now_us);
        g_mutex_unlock(&t->lock);
}

guint bh_container_table_sync(BhContainerTable *t, const guint64 *ids, gsize n, gint64 bound_before_us, gint64 now_us) {
        g_autoptr(GHashTable) there = g_hash_table_new(g_int64_hash, g_int64_equal);
        GHashTableIter it;
        gpointer p;
        guint ended = 0;

        for (gsize i = 0; i < n; i++)
                g_hash_table_add(there, (gpointer) &ids[i]);
        g_mutex_lock(&t->lock);
        g_hash_table_iter_init(&it, t->cgroups);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Cgroup *g = p;

                if (!g->ended && g->bound_us < bound_before_us && !g_hash_table_contains(there, &g->id)) {
                        end_cgroup(t, g, now_us);
                        ended++;
                }
        }
        expire(t, now_us);
        g_mutex_unlock(&t->lock);
        return ended;
}

void bh_container_table_set_namespaces(BhContainerTable *t, const char *const *namespaces) {
        g_mutex_lock(&t->lock);
        g_strfreev(t->namespaces);
        t->namespaces = g_strdupv((char **) namespaces);
        g_mutex_unlock(&t->lock);
}

/* The runtime says which cgroup is the container's: what nobody's shape gave away. TRUE if one became it. */
static gboolean take_told_path(BhContainerTable *t, Entry *e, const BhContainer *c) {
        const char *path = c->cgroup_paths[0];

        if (!path || !*path || g_strcmp0(path, "/") == 0)
                return FALSE;
        if (g_strcmp0(e->told_path, path)) {
                if (e->told_path && g_hash_table_lookup(t->told, e->told_path) == e)
                        g_hash_table_remove(t->told, e->told_path);
                g_free(e->told_path);
                e->told_path = g_strdup(path);
                /* of two that are told to have one cgroup, the one told last */
                g_hash_table_replace(t->told, e->told_path, e);
        }
        Cgroup *g = g_hash_table_lookup(t->paths, path);
        return g && !g->ended && !g->is_container && resolve(t, g);
}

void bh_container_table_upsert(BhContainerTable *t, BhContainer *c, gint64 now_us) {
        g_autoptr(BhContainer) mine = bh_container_ref(c);
        gboolean news = FALSE;

        g_mutex_lock(&t->lock);
        Entry *e = g_hash_table_lookup(t->containers, c->id);
        if (!e) {
                e = add_entry(t, mine);
                if (e)
                        mine = NULL;
                news = e != NULL;
        } else {
                const BhContainer *old = e->c;

                if (old->level > c->level) {
                        /* a client that starts anew knows less at first, but the state is news */
                        bh_container_unref(mine);
                        mine = bh_container_dup(old);
                        mine->state = c->state;
                        if (c->state != BH_CONTAINER_RUNNING && c->state != BH_CONTAINER_PAUSED)
                                mine->init_pid = 0;
                } else if (old->cgroup_paths[0] || *old->outer_id || *old->created_by || *old->started_by || *old->ended_by) {
                        bh_container_unref(mine);
                        mine = bh_container_dup(c);
                        if (!*mine->created_by)
                                bh_container_set(mine, &mine->created_by, old->created_by);
                        if (!*mine->started_by)
                                bh_container_set(mine, &mine->started_by, old->started_by);
                        if (!*mine->ended_by)
                                bh_container_set(mine, &mine->ended_by, old->ended_by);
                        for (char **path = old->cgroup_paths; *path; path++)
                                bh_container_add_cgroup(mine, *path);
                        bh_container_set(mine, &mine->outer_id, old->outer_id);
                        mine->depth = old->depth;
                }
                news = mine->level > old->level;
                /* it ended while its state was read */
                if (mine->unattended && e->cgroups && !e->live) {
                        BhContainer *ended = bh_container_dup(mine);

                        ended->state = BH_CONTAINER_EXITED;
                        ended->init_pid = 0;
                        bh_container_unref(mine);
                        mine = ended;
                }
                bh_container_unref(e->c);
                e->c = g_steal_pointer(&mine);
                changed(t, e);
        }
        if (e && c->state != BH_CONTAINER_REMOVED)
                news |= take_told_path(t, e, c);
        if (e) {
                e->removed = e->c->state == BH_CONTAINER_REMOVED;
                e->expired &= e->removed;
                if (e->removed && !e->queued) {
                        Removed *r = g_new0(Removed, 1);

                        r->id = g_strdup(e->c->id);
                        r->at_us = now_us;
                        e->queued = TRUE;
                        g_queue_push_tail(&t->removed, r);
                }
        }
        if (news)
                t->stats.generation++;
        expire(t, now_us);
        g_mutex_unlock(&t->lock);
        if (news && t->config.changed)
                t->config.changed(t->config.data);
}

static gboolean is_news(const char *text, const char *known) {
        return text && strcmp(text, known) != 0;
}

void bh_container_table_asked(BhContainerTable *t, const char *id, const char *created_by, const char *started_by, const char *ended_by) {
        g_mutex_lock(&t->lock);
        Entry *e = g_hash_table_lookup(t->containers, id);
        if (e && (is_news(created_by, e->c->created_by) || is_news(started_by, e->c->started_by) || is_news(ended_by, e->c->ended_by))) {
                BhContainer *c = bh_container_dup(e->c);

                if (created_by)
                        bh_container_set(c, &c->created_by, created_by);
                if (started_by)
                        bh_container_set(c, &c->started_by, started_by);
                if (ended_by)
                        bh_container_set(c, &c->ended_by, ended_by);
                bh_container_unref(e->c);
                e->c = c;
                changed(t, e);
        }
        g_mutex_unlock(&t->lock);
}

void bh_container_table_lookup(BhContainerTable *t, guint64 cgroup_id, BhContainerLookup *out) {
        *out = (BhContainerLookup) { 0 };
        g_mutex_lock(&t->lock);
        const Cgroup *g = g_hash_table_lookup(t->cgroups, &cgroup_id);
        if (g) {
                out->known = TRUE;
                out->is_container = g->is_container;
                out->ended = g->ended;
                out->undecided = g->undecided;
                if (g->entry) {
                        out->container = bh_container_ref(g->entry->c);
                        out->described = out->container->level >= BH_CONTAINER_FROM_EVENT;
                        out->complete = out->container->level == BH_CONTAINER_FULL;
                }
        }
        g_mutex_unlock(&t->lock);
}

void bh_container_lookup_clear(BhContainerLookup *l) {
        g_clear_pointer(&l->container, bh_container_unref);
}

char *bh_container_table_path(BhContainerTable *t, guint64 cgroup_id) {
        g_mutex_lock(&t->lock);
        const Cgroup *g = g_hash_table_lookup(t->cgroups, &cgroup_id);
        char *path = g ? g_strdup(g->path) : NULL;
        g_mutex_unlock(&t->lock);
        return path;
}

BhContainer *bh_container_table_get(BhContainerTable *t, const char *id) {
        g_mutex_lock(&t->lock);
        const Entry *e = g_hash_table_lookup(t->containers, id);
        BhContainer *c = e ? bh_container_ref(e->c) : NULL;
        g_mutex_unlock(&t->lock);
        return c;
}

BhContainer *bh_container_table_find(BhContainerTable *t, const char *text) {
        BhContainer *named = NULL, *begun = NULL, *found = bh_container_table_get(t, text);
        guint beginnings = 0;
        GHashTableIter it;
        gpointer p;

        if (found || !*text)
                return found;
        g_mutex_lock(&t->lock);
        g_hash_table_iter_init(&it, t->containers);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const Entry *e = p;

                /* a name may have had another holder, removed meanwhile */
                if (!strcmp(e->c->name, text) && (!named || named->state == BH_CONTAINER_REMOVED))
                        named = e->c;
                if (g_str_has_prefix(e->c->id, text)) {
                        begun = e->c;
                        beginnings++;
                }
        }
        found = named ? named : beginnings == 1 ? begun : NULL;
        if (found)
                bh_container_ref(found);
        g_mutex_unlock(&t->lock);
        return found;
}

static gint by_age(gconstpointer pa, gconstpointer pb) {
        const BhContainer *a = *(BhContainer *const *) pa, *b = *(BhContainer *const *) pb;

        if (a->created_ns != b->created_ns)
                return a->created_ns < b->created_ns ? -1 : 1;
        return strcmp(a->id, b->id);
}

GPtrArray *bh_container_table_snapshot(BhContainerTable *t) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);
        GHashTableIter it;
        gpointer p;

        g_mutex_lock(&t->lock);
        g_hash_table_iter_init(&it, t->containers);
        while (g_hash_table_iter_next(&it, NULL, &p))
                g_ptr_array_add(out, bh_container_ref(((const Entry *) p)->c));
        g_mutex_unlock(&t->lock);
        g_ptr_array_sort(out, by_age);
        return out;
}

GPtrArray *bh_container_table_changes(BhContainerTable *t, guint64 since, guint max, guint64 *version) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);
        GList *first = NULL;

        g_mutex_lock(&t->lock);
        for (GList *l = t->changes.tail; l && ((const Entry *) l->data)->version > since; l = l->prev)
                first = l;
        *version = since;
        for (GList *l = first; l && out->len < max; l = l->next) {
                const Entry *e = l->data;

                g_ptr_array_add(out, bh_container_ref(e->c));
                *version = e->version;
        }
        g_mutex_unlock(&t->lock);
        return out;
}

void bh_container_table_expire(BhContainerTable *t, gint64 now_us) {
        g_mutex_lock(&t->lock);
        expire(t, now_us);
        g_mutex_unlock(&t->lock);
}

void bh_container_table_get_stats(BhContainerTable *t, BhContainerTableStats *out) {
        g_mutex_lock(&t->lock);
        *out = t->stats;
        out->cgroups = g_hash_table_size(t->cgroups);
        out->ended = g_queue_get_length(&t->ended);
        out->containers = g_hash_table_size(t->containers);
        out->undecided = t->undecided->len;
        g_mutex_unlock(&t->lock);
}
