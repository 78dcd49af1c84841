/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "event/select.h"
#include "parse/rootfile.h"

#define HOST_KEY 0u
#define EAGER_MAX 16u /* failed loads after which an exec does not hurry the next */
#define RANGES_MAX 16u
#define PARSE_WAIT_MS 1000
#define STUCK_WAIT_US (2 * G_USEC_PER_SEC) /* at the end, for threads that read */

/* uid_map or gid_map: `inside` + k is `outside` + k on the node. */
typedef struct {
        guint32 inside, outside, count;
} Range;

typedef struct {
        guint n;
        Range ranges[RANGES_MAX];
} IdMap;

typedef struct {
        BhRootfileInfo users, groups; /* all zero: there is none */
} Files;

typedef struct {
        guint64 key, container; /* container: its number, HOST_KEY for the host */
        BhPasswd *users, *groups;
        IdMap uids, gids;
        Files files;
        gsize bytes;
        gint64 look_us;    /* not to be looked at before */
        guint failures;    /* in a row */
        gboolean pending;  /* a load is under way */
        gboolean loaded;   /* at least one has ended */
        GList link;        /* in `used` */
} Table;

/* A container that has tables. */
typedef struct {
        guint64 container;
        guint tables;
        Table *newest; /* NULL: that one was evicted */
} Owner;

/* A load: to a thread with what to read, and back with what it found. */
typedef struct {
        guint64 key, container;
        guint32 mnt_ns, pids[2]; /* one of them has the root; 0: none */
        Files files;             /* as they were; loaded: reading is only needed if they differ */
        gboolean had, unchanged, gone;
        BhPasswd *users, *groups;
        IdMap uids, gids;
        gsize bytes;
} Load;

struct BhNames {
        BhInspectClient *client;
        char *proc, *host_root;
        GHashTable *tables;        /* key -> Table */
        GHashTable *owners;        /* container -> Owner */
        GHashTable *busy;          /* containers with a load under way */
        GQueue used;               /* Table, least recently used first */
        Table *last;
        BhContainer *seen;         /* a reference: the one of the last touch, as events of a container come in rows … */
        guint32 seen_ns;
        guint64 seen_container, seen_key; /* … and what was made of it and its mount namespace */
        GThreadPool *pool;
        struct stat host; /* its root directory */
        GAsyncQueue *loaded;
        gint stopping, active;
        GMutex lock; /* told */
        BhNamesStats stats, told;
};

/* ---- in the loading threads ---- */

static void load_free(gpointer p) {
        Load *l = p;

        bh_passwd_unref(l->users);
        bh_passwd_unref(l->groups);
        g_free(l);
}

static void read_map(const char *proc, guint32 pid, const char *name, IdMap *map) {
        g_autofree char *path = g_strdup_printf("%s/%u/%s", proc, pid, name), *text = bh_file_read(AT_FDCWD, path, 16384, NULL, NULL, NULL);
        g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);

        map->n = 0;
        for (guint i = 0; lines[i] && map->n < RANGES_MAX; i++) {
                Range r;

                if (sscanf(lines[i], "%u %u %u", &r.inside, &r.outside, &r.count) == 3)
                        map->ranges[map->n++] = r;
        }
}

/*
 * The root of a process that is in that mount namespace now; also its maps of ids. -1: neither process is any more, or has a root of its own yet: a runtime's
 * process is in the container's cgroup and namespace for a while before it changes its root, and until then has the host's.
 */
static int open_root(BhNames *n, Load *l) {
        if (l->container == HOST_KEY) {
                l->uids = l->gids = (IdMap){ .n = 1, .ranges = { { 0, 0, G_MAXUINT32 } } };
                return open(n->host_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        for (guint i = 0; i < G_N_ELEMENTS(l->pids); i++) {
                g_autofree char *path = g_strdup_printf("%s/%u/ns/mnt", n->proc, l->pids[i]);
                g_auto(BhFd) root = l->pids[i] ? bh_rootfile_root(n->proc, (pid_t) l->pids[i], NULL) : -1;
                struct stat ns, st;

                if (root < 0 || fstat(root, &st) || (st.st_dev == n->host.st_dev && st.st_ino == n->host.st_ino))
                        continue;
                read_map(n->proc, l->pids[i], "uid_map", &l->uids);
                read_map(n->proc, l->pids[i], "gid_map", &l->gids);
                /* after the root was opened: so it was that process's, or one of the same namespace */
                if (stat(path, &ns) == 0 && ns.st_ino == l->mnt_ns)
                        return bh_fd_steal(&root);
        }
        return -1;
}

static gboolean same_file(const BhRootfileInfo *a, const BhRootfileInfo *b) {
        return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static void look(int root, const char *path, BhRootfileInfo *info) {
        g_auto(BhFd) fd = bh_rootfile_open(root, path, BH_PASSWD_FILE_MAX, BH_ROOTFILE_ANY_MOUNT, info, NULL);

        if (fd < 0)
                *info = (BhRootfileInfo){ 0 };
}

/* NULL: no such file, or the inspector could not make anything of it. */
static BhPasswd *parse(BhNames *n, int root, const char *path, guint kind, BhRootfileInfo *info) {
        g_autoptr(GBytes) bytes = bh_rootfile_read(root, path, BH_PASSWD_FILE_MAX, BH_ROOTFILE_ANY_MOUNT, info, NULL);

        if (!bytes) {
                *info = (BhRootfileInfo){ 0 };
                return NULL;
        }
        /* another's request may have cost this one its inspector: once more */
        for (guint tries = 0; tries < 2 && !g_atomic_int_get(&n->stopping); tries++) {
                g_auto(BhInspectAnswer) answer = { 0 };

                if (bh_inspect_ask(n->client, kind, bytes, -1, PARSE_WAIT_MS, &answer, NULL))
                        return g_steal_pointer(&answer.names);
        }
        return NULL;
}

static gsize size_of(const BhPasswd *p) {
        guint count = 0;
        const BhPasswdEntry *entries = p ? bh_passwd_entries(p, &count) : NULL;
        gsize bytes = 0;

        for (guint i = 0; i < count; i++)
                bytes += 2 * sizeof(*entries) + strlen(entries[i].name) + 1;
        return bytes;
}

static void load(gpointer data, gpointer user) {
        Load *l = data;
        BhNames *n = user;
        g_auto(BhFd) root = open_root(n, l);
        Files now;

        if (root < 0) {
                l->gone = TRUE;
        } else {
                if (l->had) {
                        look(root, "etc/passwd", &now.users);
                        look(root, "etc/group", &now.groups);
                        l->unchanged = same_file(&now.users, &l->files.users) && same_file(&now.groups, &l->files.groups);
                }
                if (!l->unchanged) {
                        l->users = parse(n, root, "etc/passwd", BH_INSPECT_USERS, &l->files.users);
                        l->groups = parse(n, root, "etc/group", BH_INSPECT_GROUPS, &l->files.groups);
                        l->bytes = size_of(l->users) + size_of(l->groups);
                }
        }
        g_async_queue_push(n->loaded, l);
        g_atomic_int_add(&n->active, -1);
}

/* ---- the drain thread ---- */

static void table_free(gpointer p) {
        Table *t = p;

        bh_passwd_unref(t->users);
        bh_passwd_unref(t->groups);
        g_free(t);
}

BhNames *bh_names_new(BhInspectClient *client, const char *proc, const char *host_root) {
        BhNames *n = g_new0(BhNames, 1);

        n->client = client;
        n->proc = g_strdup(proc);
        n->host_root = g_strdup(host_root);
        if (stat(host_root, &n->host))
                n->host = (struct stat){ 0 };
        n->tables = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, table_free);
        n->owners = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        n->busy = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        n->loaded = g_async_queue_new_full(load_free);
        n->pool = g_thread_pool_new_full(load, n, load_free, BH_NAMES_THREADS, FALSE, NULL);
        g_queue_init(&n->used);
        g_mutex_init(&n->lock);
        return n;
}

gboolean bh_names_free(BhNames *n) {
        if (!n)
                return TRUE;

        gint64 until = g_get_monotonic_time() + STUCK_WAIT_US;
        g_atomic_int_set(&n->stopping, 1);
        while (g_atomic_int_get(&n->active) && g_get_monotonic_time() < until)
                g_usleep(1000);
        if (g_atomic_int_get(&n->active))
                return FALSE;
        g_thread_pool_free(n->pool, TRUE, TRUE);
        g_clear_pointer(&n->seen, bh_container_unref);
        g_async_queue_unref(n->loaded);
        g_hash_table_unref(n->owners);
        g_hash_table_unref(n->tables);
        g_hash_table_unref(n->busy);
        g_mutex_clear(&n->lock);
        g_free(n->proc);
        g_free(n->host_root);
        g_free(n);
        return TRUE;
}

static void drop(BhNames *n, Table *t) {
        Owner *o = g_hash_table_lookup(n->owners, &t->container);

        if (o->newest == t)
                o->newest = NULL;
        if (!--o->tables)
                g_hash_table_remove(n->owners, &t->container);
        if (n->last == t)
                n->last = NULL;
        g_queue_unlink(&n->used, &t->link);
        n->stats.bytes -= t->bytes;
        g_hash_table_remove(n->tables, &t->key);
}

static Table *find(BhNames *n, guint64 key) {
        if (n->last && n->last->key == key)
                return n->last;

        Table *t = g_hash_table_lookup(n->tables, &key);
        if (t)
                n->last = t;
        return t;
}

static void take(BhNames *n, Load *l, gint64 now_us) {
        Table *t = find(n, l->key);

        g_hash_table_remove(n->busy, &l->container);
        if (!t) /* evicted meanwhile */
                return;
        t->pending = FALSE;
        if (l->gone) {
                n->stats.failed++;
                t->failures++;
                t->look_us = now_us + BH_NAMES_AGAIN_US;
                return;
        }
        t->loaded = TRUE;
        t->failures = 0;
        t->look_us = now_us + BH_NAMES_CHECK_US;
        if (l->unchanged) {
                n->stats.unchanged++;
                return;
        }
        n->stats.loads++;
        n->stats.bytes -= t->bytes;
        g_clear_pointer(&t->users, bh_passwd_unref);
        g_clear_pointer(&t->groups, bh_passwd_unref);
        t->bytes = 0;
        if (n->stats.bytes + l->bytes > BH_NAMES_BYTES) {
                n->stats.refused++;
                return;
        }
        t->users = g_steal_pointer(&l->users);
        t->groups = g_steal_pointer(&l->groups);
        t->uids = l->uids;
        t->gids = l->gids;
        t->files = l->files;
        t->bytes = l->bytes;
        n->stats.bytes += t->bytes;
}

void bh_names_poll(BhNames *n) {
        for (Load *l; (l = g_async_queue_try_pop(n->loaded)); load_free(l))
                take(n, l, g_get_monotonic_time());
        g_mutex_lock(&n->lock);
        n->told = n->stats;
        n->told.tables = g_hash_table_size(n->tables);
        n->told.busy = g_hash_table_size(n->busy);
        g_mutex_unlock(&n->lock);
}

/* Files that are read for a table that has none are "changed" from nothing. */
static void ask(BhNames *n, Table *t, const BhContainer *c, guint32 mnt_ns, guint32 pid, gint64 now_us) {
        if (g_hash_table_contains(n->busy, &t->container))
                return; /* one of a container at a time; the next event asks again */
        if (g_hash_table_size(n->busy) >= BH_NAMES_WAITING) {
                n->stats.refused++;
                t->look_us = now_us + BH_NAMES_CHECK_US;
                return;
        }

        Load *l = g_new0(Load, 1);
        l->key = t->key;
        l->container = t->container;
        l->mnt_ns = mnt_ns;
        l->pids[0] = c && c->init_pid > 0 ? (guint32) c->init_pid : 0;
        l->pids[1] = pid;
        l->files = t->files;
        l->had = t->users || t->groups;
        t->pending = TRUE;
        g_hash_table_add(n->busy, g_memdup2(&t->container, sizeof(t->container)));
        g_atomic_int_inc(&n->active);
        g_thread_pool_push(n->pool, l, NULL);
}

static Table *add_table(BhNames *n, guint64 key, guint64 container) {
        Owner *o = g_hash_table_lookup(n->owners, &container);

        if (o && o->tables >= BH_NAMES_OF_CONTAINER) {
                n->stats.refused++;
                return NULL;
        }
        if (!o) {
                o = g_new0(Owner, 1);
                o->container = container;
                g_hash_table_insert(n->owners, &o->container, o);
        }

        Table *t = g_new0(Table, 1);
        t->key = key;
        t->container = container;
        t->link.data = t;
        o->tables++;
        o->newest = t;
        if (g_hash_table_size(n->tables) >= BH_NAMES_TABLES) {
                drop(n, n->used.head->data);
                n->stats.evicted++;
        }
        g_hash_table_insert(n->tables, &t->key, t);
        g_queue_push_tail_link(&n->used, &t->link);
        return t;
}

guint64 bh_names_touch(BhNames *n, const BhContainer *c, guint32 mnt_ns, guint32 pid, gboolean first, gint64 now_us) {
        if (c && (c != n->seen || mnt_ns != n->seen_ns)) {
                n->seen_container = bh_container_key(c->id, strlen(c->id));
                n->seen_key = n->seen_container ^ (mnt_ns * 0x9e3779b97f4a7c15ull);
                n->seen_ns = mnt_ns;
                if (c != n->seen) {
                        g_clear_pointer(&n->seen, bh_container_unref);
                        n->seen = bh_container_ref((BhContainer *) c);
                }
        }

        guint64 container = c ? n->seen_container : HOST_KEY, key = c ? n->seen_key : HOST_KEY;
        Table *t = find(n, key);

        if (!t && !(t = add_table(n, key, container)))
                return key;
        if (n->used.tail != &t->link) {
                g_queue_unlink(&n->used, &t->link);
                g_queue_push_tail_link(&n->used, &t->link);
        }
        if (!t->pending && (now_us >= t->look_us || (first && !t->loaded && t->failures < EAGER_MAX)))
                ask(n, t, c, mnt_ns, pid, now_us);
        return key;
}

gboolean bh_names_pending(BhNames *n, guint64 key) {
        const Table *t = find(n, key);

        return t && t->pending && !t->loaded;
}

static const char *name_of(const BhPasswd *names, const IdMap *map, guint32 id) {
        for (guint i = 0; names && i < map->n; i++) {
                const Range *r = &map->ranges[i];

                if (id >= r->outside && id - r->outside < r->count)
                        return bh_passwd_name(names, r->inside + (id - r->outside));
        }
        return NULL;
}

void bh_names_set(BhNames *n, guint64 key, struct bh_event *e) {
        const Table *t = find(n, key);

        if (!t || !t->bytes)
                return;
        if (bh_event_has(e, BH_F_uid))
                BH_SET_STR(e, proc_user, name_of(t->users, &t->uids, e->uid));
        if (bh_event_has(e, BH_F_gid))
                BH_SET_STR(e, proc_group, name_of(t->groups, &t->gids, e->gid));
}

void bh_names_of(BhNames *n, const char *container, guint32 uid, guint32 gid, const char **user, const char **group) {
        guint64 key = container ? bh_container_key(container, strlen(container)) : HOST_KEY;
        const Owner *o = g_hash_table_lookup(n->owners, &key);
        const Table *t = o ? o->newest : NULL;

        *user = t ? name_of(t->users, &t->uids, uid) : NULL;
        *group = t ? name_of(t->groups, &t->gids, gid) : NULL;
}

void bh_names_stats(BhNames *n, BhNamesStats *out) {
        g_mutex_lock(&n->lock);
        *out = n->told;
        g_mutex_unlock(&n->lock);
}
