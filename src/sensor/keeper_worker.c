/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"
#include "keeper_hash.h"
#include "keeper_target.h"
#include "keeper_walk.h"

#define BEAT_MS 500
#define LOOK_MS 1000
#define EVENTS_BYTES 4096
#define EARLY_MAX 64u
#define EARLY_US (2 * G_USEC_PER_SEC)
#define EARLY_POLL_MS 1
#define SHARE 16u                     /* programs of a container that are read, or wait to be; others are refused meanwhile */
#define READ_US (10 * G_USEC_PER_SEC) /* for a program; then it is refused */

typedef struct {
        int socket, wake;
        BhKeeperShared *shared;
        const char *proc;
        GMutex lock;      /* of `table`, the pointer */
        GPtrArray *table; /* BhKeeperHeld: never changed, replaced */
        GHashTable *held; /* by container; of the looking thread */
        GArray *early;    /* Question; of the answering thread */
        BhKeeperHasher *hasher;
        GPtrArray *waiting; /* Reading; of the answering thread */
        _Atomic guint reading[BH_KEEPER_CONTAINERS]; /* by slot: that the hasher has */
} Worker;

/* ---- the answering thread: no disk, no network ---- */

/* A small text of /proc, into `room`. Its length; 0: there is none. */
static gsize read_proc(const char *proc, pid_t pid, const char *name, char *room, gsize size) {
        char path[256];
        gssize n;

        g_snprintf(path, sizeof(path), "%s/%d/%s", proc, pid, name);
        g_auto(BhFd) fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (n = read(fd, room, size - 1)) <= 0)
                return 0;
        room[n] = '\0';
        return (gsize) n;
}

/* Whether it is the container's: by its cgroup, or by its mount namespace. Who cannot be told is. */
static gboolean is_inside(const Worker *w, const BhKeeperHeld *h, pid_t pid) {
        char text[8192], path[256], *line;
        struct stat ns;

        if (pid <= 0 || !read_proc(w->proc, pid, "cgroup", text, sizeof(text)))
                return TRUE;
        line = strstr(text, "0::/");
        if (line) {
                line += strlen("0::");
                line[strcspn(line, "\n")] = '\0';
                if (bh_file_below(line, h->cgroup))
                        return TRUE;
        }
        g_snprintf(path, sizeof(path), "%s/%d/ns/mnt", w->proc, pid);
        return stat(path, &ns) || ns.st_ino == h->mount_ns;
}

static guint of_flags(unsigned long flags) {
        guint mode = (flags & O_ACCMODE) == O_RDONLY ? BH_DENY_READ : (flags & O_ACCMODE) == O_WRONLY ? BH_DENY_WRITE : BH_KEEPER_OPS;

        return mode | (flags & O_TRUNC ? BH_DENY_WRITE : 0);
}

/*
 * How a thread that waits in a call means to open, by the call's registers, which it cannot change while it waits. BH_KEEPER_OPS: it cannot be told (openat2 has its flags in memory, which others may change; io_uring;
 * a call unknown here). 0: it does not wait yet, but is about to: the kernel asks before it lets the thread sleep. Numbers of 32-bit calls are those of calls that open nothing in the other table, so both are known at once.
 */
static guint mode_of(const Worker *w, pid_t tid) {
        char text[512], *at = text;
        unsigned long a[4] = { 0 };
        long number;

        if (!read_proc(w->proc, tid, "syscall", text, sizeof(text)))
                return BH_KEEPER_OPS;
        if (g_str_has_prefix(text, "running"))
                return 0;
        if (!g_ascii_isdigit(*text))
                return BH_KEEPER_OPS;
        number = strtol(text, &at, 10);
        for (guint i = 0; i < G_N_ELEMENTS(a); i++)
                a[i] = strtoul(at, &at, 16);
        switch (number) {
        case SYS_openat:
        case SYS_open_by_handle_at:
                return of_flags(a[2]);
        case SYS_execve:
        case SYS_execveat:
                return BH_DENY_READ;
#ifdef __x86_64__
        case SYS_open:
        case 5: /* open, 32-bit */
                return of_flags(a[1]);
        case 295: /* openat */
        case 342: /* open_by_handle_at */
                return of_flags(a[2]);
        case SYS_creat:
        case 8: /* creat */
                return BH_DENY_WRITE;
        case 11:  /* execve */
        case 358: /* execveat */
                return BH_DENY_READ;
#endif
        default:
                return BH_KEEPER_OPS;
        }
}

/* The container's mounts as they are at this moment: read again only when the kernel says that they changed. */
static const GArray *mounts_now(const Worker *w, BhKeeperHeld *h) {
        struct pollfd p = { .fd = h->table, .events = POLLPRI };

        if (!h->mounts || (poll(&p, 1, 0) > 0 && p.revents & (POLLPRI | POLLERR))) {
                g_clear_pointer(&h->mounts, g_array_unref);
                h->mounts = bh_keeper_mounts(w->proc, h->pid);
        }
        return h->mounts;
}

typedef struct {
        char *path, *inside; /* inside: NULL: its mount is not known */
        guint64 dev;         /* of the mount */
} Place;

static void place_clear(Place *p) {
        g_free(p->path);
        g_free(p->inside);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

/* Where the kernel says that a descriptor is now. `pid`: in whose mount namespace to look where the container's does not have the mount; 0: nowhere else. FALSE: not even a path. */
static gboolean place_of(const Worker *w, BhKeeperHeld *h, int fd, guint mount, pid_t pid, Place *place) {
        const GArray *mounts = mounts_now(w, h);
        const BhFileMount *m = mounts ? bh_file_mounts_find(mounts, mount) : NULL;
        g_autoptr(GArray) others = !m && pid > 0 && is_inside(w, h, pid) ? bh_keeper_mounts(w->proc, pid) : NULL;
        char name[64], path[4096];
        gssize n;

        g_snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        if ((n = readlink(name, path, sizeof(path) - 1)) <= 0 || *path != '/')
                return FALSE;
        place->path = g_strndup(path, (gsize) n);
        if (!m && others)
                m = bh_file_mounts_find(others, mount);
        if (m) {
                place->inside = bh_file_inside(m, place->path);
                place->dev = m->dev;
        }
        return TRUE;
}

static gboolean where(int fd, struct statx *s) {
        return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, s) == 0;
}

/* What is denied of it, whoever opens it. *unsure: it could not be told, and counts as denied. */
static guint denied_of(const Worker *w, BhKeeperHeld *h, int fd, pid_t pid, gboolean *unsure) {
        guint denied = 0, trees = 0;
        g_auto(Place) file = { 0 };
        struct statx s;

        *unsure = FALSE;
        if (!where(fd, &s)) {
                *unsure = TRUE;
                return BH_KEEPER_OPS;
        }
        for (guint i = 0; i < h->targets->len; i++) {
                const BhKeeperTarget *t = h->targets->pdata[i];

                if (t->tree)
                        trees |= t->ops;
                else if (t->ino == s.stx_ino && t->dev == ((guint64) s.stx_dev_major << 32 | s.stx_dev_minor))
                        denied |= t->ops;
        }
        if (!denied && h->narrow && !h->wide) {
                for (guint i = 0; i < h->rules->len; i++)
                        denied |= ((const BhDeny *) h->rules->pdata[i])->ops & BH_KEEPER_OPS;
                *unsure = TRUE;
                return denied;
        }
        if (!(trees & ~denied))
                return denied;
        if (!place_of(w, h, fd, (guint) s.stx_mnt_id, pid, &file)) {
                *unsure = TRUE;
                return BH_KEEPER_OPS;
        }
        for (guint i = 0; i < h->targets->len; i++) {
                const BhKeeperTarget *t = h->targets->pdata[i];
                g_auto(Place) tree = { 0 };
                struct statx at;

                if (!t->tree || !(t->ops & ~denied))
                        continue;
                if (!where(t->fd, &at) || !place_of(w, h, t->fd, (guint) at.stx_mnt_id, 0, &tree) || !tree.inside || !file.inside) {
                        *unsure = !bh_file_below(file.path, tree.path ? tree.path : "/");
                        denied |= t->ops;
                } else if (bh_file_below(file.path, tree.path) || (file.dev == tree.dev && bh_file_below(file.inside, tree.inside))) {
                        denied |= t->ops;
                }
        }
        return denied;
}

static void beat(const Worker *w) {
        atomic_store_explicit(&w->shared->beat_us, g_get_monotonic_time(), memory_order_relaxed);
}

static void count(const Worker *w, const BhKeeperHeld *h, gboolean denied, gboolean unsure) {
        atomic_fetch_add_explicit(&w->shared->slots[h->slot].opens, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->shared->slots[h->slot].denied, denied, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->shared->slots[h->slot].unsure, denied && unsure, memory_order_relaxed);
}

/* An open that was asked about, and is not answered yet. */
typedef struct {
        BhKeeperHeld *held;
        int fd;
        pid_t tid;
        gint64 until_us;
} Question;

static void reply(const BhKeeperHeld *h, int fd, gboolean denied) {
        struct fanotify_response r = { .fd = fd, .response = denied ? FAN_DENY : FAN_ALLOW };

        (void) !write(h->group, &r, sizeof(r));
        close(fd);
}

/* ---- programs, by their content ---- */

/* A program that the hasher reads: of the answering thread, and of the one that reads. The first of them answers, once. */
typedef struct {
        BhKeeperHeld *held;
        int fd;
        gint64 until_us;
        _Atomic gboolean answered;
} Reading;

static void reading_clear(gpointer data) {
        bh_keeper_held_unref(((Reading *) data)->held);
}

static void reading_unref(gpointer r) {
        g_atomic_rc_box_release_full(r, reading_clear);
}

/* `hash` NULL: it cannot be told, and is refused. */
static void judge(const Worker *w, BhKeeperHeld *h, int fd, const guint8 *hash) {
        const gboolean denied = !hash || bh_keeper_refuses(h, hash);

        reply(h, fd, denied);
        count(w, h, denied, !hash);
        if (denied)
                atomic_fetch_add_explicit(hash ? &w->shared->slots[h->slot].programs : &w->shared->slots[h->slot].untold, 1, memory_order_relaxed);
}

static void judge_once(const Worker *w, Reading *r, const guint8 *hash) {
        if (!atomic_exchange(&r->answered, TRUE))
                judge(w, r->held, r->fd, hash);
}

/* A thread of the hasher. What comes too late may be known the next time. */
static void on_hashed(gpointer question, const guint8 *hash, gpointer data) {
        Reading *r = question;
        Worker *w = data;

        judge_once(w, r, hash);
        atomic_fetch_sub(&w->reading[r->held->slot], 1);
        reading_unref(r);
}

static void answer_program(Worker *w, const Question *asked) {
        BhKeeperHeld *h = asked->held;
        guint8 hash[BH_KEEPER_HASH];
        guint turn;

        if (!h->hashes->len || !is_inside(w, h, asked->tid)) {
                reply(h, asked->fd, FALSE);
        } else if (bh_keeper_hash_known(w->hasher, asked->fd, hash)) {
                judge(w, h, asked->fd, hash);
        } else if ((turn = atomic_fetch_add(&w->reading[h->slot], 1)) >= SHARE) {
                atomic_fetch_sub(&w->reading[h->slot], 1);
                judge(w, h, asked->fd, NULL);
        } else {
                Reading *r = g_atomic_rc_box_new0(Reading);

                r->held = bh_keeper_held_ref(h);
                r->fd = asked->fd;
                r->until_us = g_get_monotonic_time() + READ_US;
                g_ptr_array_add(w->waiting, r);
                if (!bh_keeper_hash_read(w->hasher, r->fd, turn, g_atomic_rc_box_acquire(r)))
                        on_hashed(r, NULL, w);
        }
        beat(w);
}

/* Programs that were read, or whose time is over. */
static void answer_late(Worker *w) {
        for (guint i = w->waiting->len; i-- > 0;) {
                Reading *r = w->waiting->pdata[i];

                if (!atomic_load(&r->answered) && g_get_monotonic_time() < r->until_us)
                        continue;
                judge_once(w, r, NULL);
                g_ptr_array_remove_index_fast(w->waiting, i);
        }
}

/* FALSE: it is too early to tell. */
static gboolean answer_one(const Worker *w, const Question *q, gboolean last) {
        gboolean unsure;
        guint denied = denied_of(w, q->held, q->fd, q->tid, &unsure), mode = BH_KEEPER_OPS;

        if (denied && !is_inside(w, q->held, q->tid))
                denied = 0;
        if (denied && denied != BH_KEEPER_OPS && !(mode = mode_of(w, q->tid))) {
                if (!last)
                        return FALSE;
                mode = BH_KEEPER_OPS;
                unsure = TRUE;
        }
        denied &= mode;
        reply(q->held, q->fd, denied != 0);
        count(w, q->held, denied != 0, unsure);
        beat(w);
        return TRUE;
}

static void answer_some(Worker *w, BhKeeperHeld *h) {
        _Alignas(struct fanotify_event_metadata) char bytes[EVENTS_BYTES];
        gssize n = read(h->group, bytes, sizeof(bytes));

        for (const struct fanotify_event_metadata *e = (const void *) bytes; n > 0 && FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
                Question q = { .held = h, .fd = e->fd, .tid = e->pid, .until_us = g_get_monotonic_time() + EARLY_US };

                if (e->fd >= 0 && e->mask & FAN_OPEN_EXEC_PERM) {
                        answer_program(w, &q);
                        continue;
                }
                if (e->fd < 0 || answer_one(w, &q, w->early->len >= EARLY_MAX))
                        continue;
                bh_keeper_held_ref(h);
                g_array_append_val(w->early, q);
        }
}

/* Those that were too early. */
static void answer_early(Worker *w) {
        for (guint i = w->early->len; i-- > 0;) {
                Question *q = &g_array_index(w->early, Question, i);

                if (!answer_one(w, q, g_get_monotonic_time() >= q->until_us))
                        continue;
                bh_keeper_held_unref(q->held);
                g_array_remove_index_fast(w->early, i);
        }
}

static gpointer answer(gpointer data) {
        Worker *w = data;
        struct pollfd p[BH_KEEPER_CONTAINERS + 1];

        for (;;) {
                g_mutex_lock(&w->lock);
                g_autoptr(GPtrArray) table = g_ptr_array_ref(w->table);
                g_mutex_unlock(&w->lock);
                guint n = MIN(table->len, BH_KEEPER_CONTAINERS);
                guint64 ignored;

                p[n] = (struct pollfd){ .fd = w->wake, .events = POLLIN };
                for (guint i = 0; i < n; i++)
                        p[i] = (struct pollfd){ .fd = ((BhKeeperHeld *) table->pdata[i])->group, .events = POLLIN };
                for (beat(w); !p[n].revents; beat(w)) {
                        int ready = poll(p, n + 1, w->early->len ? EARLY_POLL_MS : BEAT_MS);

                        answer_early(w);
                        answer_late(w);
                        for (guint i = 0; ready > 0 && i < n; i++)
                                if (p[i].revents)
                                        answer_some(w, table->pdata[i]);
                }
                (void) !read(w->wake, &ignored, sizeof(ignored));
        }
        return NULL;
}

/* ---- the looking thread ---- */

static void publish(Worker *w) {
        GPtrArray *table = g_ptr_array_new_with_free_func((GDestroyNotify) bh_keeper_held_unref), *before;
        GHashTableIter it;
        BhKeeperHeld *h;

        g_hash_table_iter_init(&it, w->held);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &h))
                g_ptr_array_add(table, bh_keeper_held_ref(h));
        g_mutex_lock(&w->lock);
        before = w->table;
        w->table = table;
        g_mutex_unlock(&w->lock);
        if (before)
                g_ptr_array_unref(before);
        (void) !eventfd_write(w->wake, 1);
}

static void put(Worker *w, BhKeeperHeld *h) {
        g_hash_table_replace(w->held, h->container, h);
        publish(w);
}

/* Opens that a worker before this one took and did not answer: the kernel knows them by the numbers of its descriptors. */
static void deny_left(int group) {
        for (guint fd = 0; fd < BH_KEEPER_FDS; fd++) {
                struct fanotify_response r = { .fd = (gint) fd, .response = FAN_DENY };

                (void) !write(group, &r, sizeof(r));
        }
}

static json_t *set(Worker *w, json_t *m, int group) {
        g_autoptr(GError) error = NULL;
        BhKeeperHeld *before = NULL;
        json_t *open = json_array();

        if (group >= 0 && json_is_true(json_object_get(m, "revived")))
                deny_left(group);
        g_autoptr(BhKeeperHeld) h = bh_keeper_held_new(m, group, w->proc, &error);
        if (h)
                before = g_hash_table_lookup(w->held, h->container);
        if (!h || !bh_keeper_look(h, before, !json_is_true(json_object_get(m, "revived")), open, &error)) {
                json_decref(open);
                return json_pack("{s:s}", "error", error->message);
        }
        json_t *told = json_pack("{s:i,s:b,s:o}", "marks", (int) h->marks, "wide", (int) h->wide, "open", open);
        put(w, g_steal_pointer(&h));
        return told;
}

static void carry_out(Worker *w, json_t *m, int group) {
        const char *op = json_string_value(json_object_get(m, "op")), *container = json_string_value(json_object_get(m, "container"));
        json_auto_t *told = NULL;

        if (g_strcmp0(op, "set") == 0) {
                told = set(w, m, group);
        } else {
                bh_fd_clear(&group);
                if (container && g_hash_table_remove(w->held, container))
                        publish(w);
                told = json_object();
        }
        if (container)
                json_object_set_new(told, "container", json_string(container));
        json_object_set_new(told, "revived", json_boolean(json_is_true(json_object_get(m, "revived"))));
        if (!bh_keeper_send_json(w->socket, told, -1) && errno == EMSGSIZE) { /* it is in force all the same: as an error, guard and worker would hold different things */
                json_object_set_new(told, "open", json_pack("[s]", "more ways stay open than can be said"));
                bh_keeper_send_json(w->socket, told, -1);
        }
}

static void look_again(Worker *w) {
        g_autoptr(GPtrArray) all = g_ptr_array_ref(w->table); /* which this thread alone replaces */

        for (guint i = 0; i < all->len; i++) {
                const BhKeeperHeld *before = all->pdata[i];
                BhKeeperHeld *now = bh_keeper_look_again(all->pdata[i]);

                if (!now)
                        continue;
                if (now->wide && !before->wide) {
                        json_auto_t *said = json_pack("{s:s}", "wide", now->container);

                        bh_keeper_send_json(w->socket, said, -1);
                }
                put(w, now);
        }
}

static void forget(Worker *w, const char *container) {
        json_auto_t *said = json_pack("{s:s}", "gone", container);

        bh_keeper_send_json(w->socket, said, -1);
        g_hash_table_remove(w->held, container);
        publish(w);
}

static int look_after(Worker *w) {
        struct pollfd p[2 * BH_KEEPER_CONTAINERS + 1];
        gint64 next = 0;

        for (;;) {
                g_autoptr(GPtrArray) all = g_ptr_array_ref(w->table); /* which this thread alone replaces */
                guint n = 0;
                gboolean moved = FALSE;

                p[n++] = (struct pollfd){ .fd = w->socket, .events = POLLIN };
                for (guint i = 0; i < MIN(all->len, BH_KEEPER_CONTAINERS); i++) {
                        const BhKeeperHeld *h = all->pdata[i];

                        p[n++] = (struct pollfd){ .fd = h->pidfd, .events = POLLIN };
                        p[n++] = (struct pollfd){ .fd = h->watch, .events = POLLPRI };
                }
                if (poll(p, n, all->len ? LOOK_MS : -1) < 0)
                        continue;
                for (guint i = n; i-- > 1;) {
                        if (!p[i].revents)
                                continue;
                        moved = TRUE;
                        if (i % 2 == 1)
                                forget(w, ((BhKeeperHeld *) all->pdata[(i - 1) / 2])->container);
                }
                if (p[0].revents) {
                        int group;
                        json_auto_t *m = bh_keeper_receive_json(w->socket, &group);

                        if (!m)
                                return 0;
                        carry_out(w, m, group);
                } else if (moved || g_get_monotonic_time() >= next) {
                        look_again(w);
                        next = g_get_monotonic_time() + LOOK_MS * 1000;
                }
        }
}

int bh_keeper_work(int socket, BhKeeperShared *shared, const char *proc) {
        static Worker w;
        g_autoptr(GError) error = NULL;
        struct rlimit files = { .rlim_cur = BH_KEEPER_FDS, .rlim_max = BH_KEEPER_FDS };

        setrlimit(RLIMIT_NOFILE, &files);
        w.socket = socket;
        w.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        w.shared = shared;
        w.proc = proc;
        w.waiting = g_ptr_array_new_with_free_func(reading_unref);
        if (!(w.hasher = bh_keeper_hasher_new(on_hashed, &w, &error))) {
                json_auto_t *said = json_pack("{s:s}", "failed", error->message);

                bh_keeper_send_json(socket, said, -1);
                return 1;
        }
        g_mutex_init(&w.lock);
        w.held = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) bh_keeper_held_unref);
        w.early = g_array_new(FALSE, FALSE, sizeof(Question));
        publish(&w);
        g_thread_new("bh-answer", answer, &w);
        mlockall(MCL_CURRENT | MCL_ONFAULT); /* where RLIMIT_MEMLOCK allows it: an answer should not wait for the page that it is on */
        return look_after(&w);
}
