/* SPDX-License-Identifier: Apache-2.0 */
#include "decoy_records.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "container/container.h"

#define LINE_MAX_BYTES 4096u
#define HASH_CHARS 64u
#define PEER_MAX 64u
#define EARLY_NS (G_GINT64_CONSTANT(1000000000)) /* the clock may have been set meanwhile */

typedef struct {
        gint64 time_ns;
        guint64 all;
        char peer[PEER_MAX], sha256[HASH_CHARS + 1], end[32]; /* sha256 "": none that names a file */
} Line;

typedef struct {
        BhDecoyExpected e;
        gint64 until_us;
        Line line; /* of one that was found */
        GList *link;
} Waiting;

/* A line that nobody expected when it was read. */
typedef struct {
        Line line;
        gint64 until_us;
} Early;

struct BhDecoyRecords {
        char *dir;
        guint64 *held; /* atomic, reference counted: bytes that were given to the caller and are there still */

        GMutex lock;
        GQueue come;             /* Waiting: expected since the last turn */
        BhDecoyRecordsStats told; /* as of the last turn */
        guint64 dropped;         /* that had no room in `come` */

        /* the turn's */
        GHashTable *waiting; /* from → Waiting */
        GQueue order;        /* Waiting, the oldest first */
        GQueue found;        /* Waiting whose line was read, and whose bytes are to be */
        GQueue early;        /* Early, the oldest first */
        guint64 dev, ino, at; /* connections.jsonl, and how much of it was read */
        BhDecoyRecordsStats n;
};

static void waiting_free(gpointer data) {
        Waiting *w = data;

        g_free(w->e.from);
        g_free(w->e.asked);
        g_free(w->e.container);
        g_free(w->e.finding);
        g_free(w);
}

BhDecoyRecords *bh_decoy_records_new(const char *dir) {
        BhDecoyRecords *r = g_new0(BhDecoyRecords, 1);

        r->dir = g_strdup(dir);
        r->held = g_atomic_rc_box_new0(guint64);
        g_mutex_init(&r->lock);
        r->waiting = g_hash_table_new(g_str_hash, g_str_equal);
        return r;
}

void bh_decoy_records_free(BhDecoyRecords *r) {
        if (!r)
                return;
        g_queue_clear_full(&r->come, waiting_free);
        g_queue_clear_full(&r->order, waiting_free);
        g_queue_clear_full(&r->found, waiting_free);
        g_queue_clear_full(&r->early, g_free);
        g_hash_table_unref(r->waiting);
        g_mutex_clear(&r->lock);
        g_atomic_rc_box_release(r->held);
        g_free(r->dir);
        g_free(r);
}

void bh_decoy_records_stats(BhDecoyRecords *r, BhDecoyRecordsStats *out) {
        g_mutex_lock(&r->lock);
        *out = r->told;
        out->missing += r->dropped;
        out->waiting = MIN(out->waiting + r->come.length, BH_DECOY_EXPECTED);
        g_mutex_unlock(&r->lock);
}

void bh_decoy_records_expect(BhDecoyRecords *r, const BhDecoyExpected *e, gint64 now_us) {
        Waiting *w = g_new0(Waiting, 1), *old = NULL;

        w->e = *e;
        w->until_us = now_us + (gint64) BH_DECOY_WAIT_S * G_USEC_PER_SEC;
        g_mutex_lock(&r->lock);
        if (r->come.length >= BH_DECOY_EXPECTED)
                old = g_queue_pop_head(&r->come);
        r->dropped += old != NULL;
        g_queue_push_tail(&r->come, w);
        g_mutex_unlock(&r->lock);
        if (old)
                waiting_free(old);
}

/* ---- files */

static int open_regular(int dir, const char *name, struct stat *st) {
        g_auto(BhFd) fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

        return fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode) ? bh_fd_steal(&fd) : -1;
}

static gboolean is_same(const BhDecoyRecords *r, const struct stat *st) {
        return r->dev == (guint64) st->st_dev && r->ino == (guint64) st->st_ino && (guint64) st->st_size >= r->at;
}

static gboolean is_hash(const char *text) {
        return strlen(text) == HASH_CHARS && strspn(text, "0123456789abcdef") == HASH_CHARS;
}

/* Where lines are to be read; the decoy calls a file that is full connections.1.jsonl: what was not read of it comes first. -1: nowhere. */
static int open_lines(const BhDecoyRecords *r, int dir, struct stat *st, gboolean *is_old) {
        g_auto(BhFd) fd = open_regular(dir, "connections.jsonl", st);
        struct stat before;

        *is_old = FALSE;
        if (r->ino && (fd < 0 || !is_same(r, st))) {
                g_auto(BhFd) old = open_regular(dir, "connections.1.jsonl", &before);

                if (old >= 0 && is_same(r, &before) && (guint64) before.st_size > r->at) {
                        *st = before;
                        *is_old = TRUE;
                        return bh_fd_steal(&old);
                }
        }
        return bh_fd_steal(&fd);
}

/* ---- who gets which line */

static void forget(BhDecoyRecords *r, Waiting *w) {
        g_queue_delete_link(&r->order, w->link);
        g_hash_table_remove(r->waiting, w->e.from);
        waiting_free(w);
}

static gboolean is_of(const Line *l, const Waiting *w) {
        return l->time_ns >= w->e.time_ns - EARLY_NS && strcmp(l->peer, w->e.from) == 0;
}

static void find(BhDecoyRecords *r, Waiting *w, const Line *l) {
        w->line = *l;
        g_queue_push_tail(&r->found, w);
}

static const char *text_of(json_t *o, const char *name) {
        const char *text = json_string_value(json_object_get(o, name));

        return text ? text : "";
}

static void take_line(BhDecoyRecords *r, const char *line, gsize len, gint64 now_us) {
        json_auto_t *o = len <= LINE_MAX_BYTES ? json_loadb(line, len, 0, NULL) : NULL;
        const char *peer = text_of(o, "peer"), *sha256 = text_of(o, "sha256");
        Line l = { .time_ns = bh_time_parse(text_of(o, "time")), .all = (guint64) MAX(json_integer_value(json_object_get(o, "bytes")), 0) };
        Waiting *w = g_hash_table_lookup(r->waiting, peer);

        if (!*peer || strlen(peer) >= sizeof(l.peer))
                return;
        g_strlcpy(l.peer, peer, sizeof(l.peer));
        g_strlcpy(l.sha256, is_hash(sha256) ? sha256 : "", sizeof(l.sha256));
        g_autofree char *end = g_strndup(text_of(o, "end"), sizeof(l.end) - 1), *valid = g_utf8_make_valid(end, -1);
        g_strlcpy(l.end, valid, sizeof(l.end));
        if (w && is_of(&l, w)) {
                g_queue_delete_link(&r->order, w->link);
                g_hash_table_remove(r->waiting, w->e.from);
                find(r, w, &l);
                return;
        }
        Early *e = g_new0(Early, 1);
        e->line = l;
        e->until_us = now_us + (gint64) BH_DECOY_EARLY_S * G_USEC_PER_SEC;
        g_queue_push_tail(&r->early, e);
        if (r->early.length > BH_DECOY_EARLY)
                g_free(g_queue_pop_head(&r->early));
}

static void wait_for(BhDecoyRecords *r, Waiting *w) {
        Waiting *old = g_hash_table_lookup(r->waiting, w->e.from);

        if (!old && r->order.length + r->found.length >= BH_DECOY_EXPECTED)
                old = g_queue_peek_head(&r->order);
        if (old) {
                r->n.missing++;
                forget(r, old);
        } else if (r->found.length >= BH_DECOY_EXPECTED) {
                r->n.unread++;
                waiting_free(g_queue_pop_head(&r->found));
        }
        g_queue_push_tail(&r->order, w);
        w->link = g_queue_peek_tail_link(&r->order);
        g_hash_table_insert(r->waiting, w->e.from, w);
}

/* Of a connection that ended at once the line may have been read before: the first one of its end, as the next is of who had the port afterwards. */
static void take_come(BhDecoyRecords *r, GQueue *come) {
        for (Waiting *w; (w = g_queue_pop_head(come));) {
                GList *at = r->early.head;

                while (at && !is_of(&((Early *) at->data)->line, w))
                        at = at->next;
                if (!at) {
                        wait_for(r, w);
                        continue;
                }
                g_autofree Early *e = at->data;
                g_queue_delete_link(&r->early, at);
                find(r, w, &e->line);
        }
}

/* ---- a turn */

static void let_old_go(BhDecoyRecords *r, gint64 now_us) {
        for (Waiting *w; (w = g_queue_peek_head(&r->order)) && w->until_us <= now_us;) {
                r->n.missing++;
                forget(r, w);
        }
        for (Waiting *w; (w = g_queue_peek_head(&r->found)) && w->until_us <= now_us;) {
                r->n.unread++;
                waiting_free(g_queue_pop_head(&r->found));
        }
        for (Early *e; (e = g_queue_peek_head(&r->early)) && e->until_us <= now_us;)
                g_free(g_queue_pop_head(&r->early));
}

/* TRUE: that was the end of an old file, and there may be another one. */
static gboolean read_lines(BhDecoyRecords *r, int dir, gint64 now_us, gboolean first) {
        g_autofree char *text = g_malloc(BH_DECOY_LINES_MAX);
        gboolean is_old;
        struct stat st;
        g_auto(BhFd) fd = open_lines(r, dir, &st, &is_old);

        if (fd < 0)
                return FALSE;
        if (!is_same(r, &st)) {
                r->dev = (guint64) st.st_dev;
                r->ino = (guint64) st.st_ino;
                r->at = 0;
        }
        if (first) /* nobody was expected, and nothing was read: from not far behind its end */
                r->at = MAX(r->at, (guint64) MAX(st.st_size, (off_t) BH_DECOY_BEHIND) - BH_DECOY_BEHIND);
        gssize n = pread(fd, text, BH_DECOY_LINES_MAX, (off_t) r->at);
        gsize at = 0;
        for (const char *end; n > 0 && (end = memchr(text + at, '\n', (gsize) n - at)); at = (gsize) (end - text) + 1)
                take_line(r, text + at, (gsize) (end - text) - at, now_us);
        if (!at && n > 0 && (is_old || n == (gssize) BH_DECOY_LINES_MAX)) /* no line of ours is so long, or it never ends */
                at = (gsize) n;
        r->at += at;
        return is_old && r->at >= (guint64) st.st_size;
}

typedef struct {
        guint64 *held, len;
        char *bytes;
} Held;

static void held_free(gpointer data) {
        Held *h = data;

        __atomic_sub_fetch(h->held, h->len, __ATOMIC_RELAXED);
        g_atomic_rc_box_release(h->held);
        g_free(h->bytes);
        g_free(h);
}

/* Counted for as long as anybody has them. */
static GBytes *counted(BhDecoyRecords *r, char *bytes, gsize len) {
        Held *h = g_new0(Held, 1);

        *h = (Held){ .held = g_atomic_rc_box_acquire(r->held), .len = len, .bytes = bytes };
        __atomic_add_fetch(h->held, h->len, __ATOMIC_RELAXED);
        return g_bytes_new_with_free_func(bytes, len, held_free, h);
}

/* The bytes of one. FALSE: there is no room for them now. */
static gboolean seal(BhDecoyRecords *r, int dir, Waiting *w, guint64 *left, BhDecoyRecorded recorded, gpointer data) {
        const Line *l = &w->line;
        g_auto(BhFd) folder = l->all ? openat(dir, "bytes", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
        struct stat st;
        g_auto(BhFd) fd = folder >= 0 && *l->sha256 ? open_regular(folder, l->sha256, &st) : -1;
        gsize len = fd >= 0 ? (gsize) MIN((guint64) st.st_size, BH_DECOY_BYTES_MAX) : 0, got = 0;

        if (fd < 0) {
                r->n.empty += !l->all;
                r->n.unread += l->all != 0;
                return TRUE;
        }
        if (len > *left || len + __atomic_load_n(r->held, __ATOMIC_RELAXED) > BH_DECOY_HELD_MAX)
                return FALSE;
        *left -= len;
        g_autofree char *bytes = g_malloc(len + 1);
        for (gssize n = 1; got < len && n > 0; got += n > 0 ? (gsize) n : 0)
                n = pread(fd, bytes + got, len - got, (off_t) got);
        g_autoptr(GBytes) all = counted(r, g_steal_pointer(&bytes), got);
        r->n.sealed++;
        recorded(&w->e, all, MAX(l->all, got), l->end, data);
        return TRUE;
}

void bh_decoy_records_turn(BhDecoyRecords *r, gint64 now_us, BhDecoyRecorded recorded, gpointer data) {
        gboolean first = !r->order.length;
        guint64 left = BH_DECOY_TURN_MAX;
        GQueue come;

        g_mutex_lock(&r->lock);
        come = r->come;
        g_queue_init(&r->come);
        r->told.waiting = MIN(r->told.waiting + come.length, BH_DECOY_EXPECTED);
        g_mutex_unlock(&r->lock);
        let_old_go(r, now_us);
        g_auto(BhFd) dir = r->order.length || r->found.length || come.length ? open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (dir >= 0 && (r->order.length || come.length) && read_lines(r, dir, now_us, first))
                read_lines(r, dir, now_us, first);
        take_come(r, &come);
        for (Waiting *w; dir >= 0 && (w = g_queue_peek_head(&r->found)) && seal(r, dir, w, &left, recorded, data);)
                waiting_free(g_queue_pop_head(&r->found));
        g_mutex_lock(&r->lock);
        r->told = r->n;
        r->told.waiting = r->order.length + r->found.length;
        g_mutex_unlock(&r->lock);
}
