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
#define EARLY_NS (G_GINT64_CONSTANT(1000000000)) /* the clock may have been set meanwhile */

typedef struct {
        BhDecoyExpected e;
        gint64 until_us;
        GList *link;
} Waiting;

struct BhDecoyRecords {
        char *dir;
        GHashTable *waiting; /* from → Waiting */
        GQueue order;        /* Waiting, the oldest first */
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
        r->waiting = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, waiting_free);
        g_queue_init(&r->order);
        return r;
}

void bh_decoy_records_free(BhDecoyRecords *r) {
        if (!r)
                return;
        g_queue_clear(&r->order);
        g_hash_table_unref(r->waiting);
        g_free(r->dir);
        g_free(r);
}

void bh_decoy_records_stats(const BhDecoyRecords *r, BhDecoyRecordsStats *out) {
        *out = r->n;
        out->waiting = r->order.length;
}

static int open_regular(int dir, const char *name, struct stat *st) {
        g_auto(BhFd) fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

        return fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode) ? bh_fd_steal(&fd) : -1;
}

static void forget(BhDecoyRecords *r, Waiting *w) {
        g_queue_delete_link(&r->order, w->link);
        g_hash_table_remove(r->waiting, w->e.from);
}

static gboolean is_same(const BhDecoyRecords *r, const struct stat *st) {
        return r->dev == (guint64) st->st_dev && r->ino == (guint64) st->st_ino && (guint64) st->st_size >= r->at;
}

/* What was not read while nobody was expected is read from not far behind its end. */
static void begin(BhDecoyRecords *r) {
        g_auto(BhFd) dir = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        g_auto(BhFd) fd = dir >= 0 ? open_regular(dir, "connections.jsonl", &st) : -1;
        guint64 behind;

        if (fd < 0)
                return;
        if (!is_same(r, &st)) {
                r->dev = (guint64) st.st_dev;
                r->ino = (guint64) st.st_ino;
                r->at = 0;
        }
        behind = (guint64) MAX(st.st_size, (off_t) BH_DECOY_BEHIND) - BH_DECOY_BEHIND;
        r->at = MAX(r->at, behind);
}

void bh_decoy_records_expect(BhDecoyRecords *r, const BhDecoyExpected *e, gint64 now_us) {
        Waiting *w = g_new0(Waiting, 1), *old = g_hash_table_lookup(r->waiting, e->from);

        if (!r->order.length)
                begin(r);
        if (!old && r->order.length >= BH_DECOY_EXPECTED)
                old = g_queue_peek_head(&r->order);
        if (old) {
                r->n.missing++;
                forget(r, old);
        }
        w->e = *e;
        w->until_us = now_us + (gint64) BH_DECOY_WAIT_S * G_USEC_PER_SEC;
        g_queue_push_tail(&r->order, w);
        w->link = g_queue_peek_tail_link(&r->order);
        g_hash_table_insert(r->waiting, w->e.from, w);
}

static gboolean is_hash(const char *text) {
        return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static GBytes *read_bytes(int dir, const char *sha256) {
        g_auto(BhFd) folder = openat(dir, "bytes", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        g_auto(BhFd) fd = folder >= 0 && is_hash(sha256) ? open_regular(folder, sha256, &st) : -1;

        if (fd < 0)
                return NULL;
        gsize len = (gsize) MIN((guint64) st.st_size, BH_DECOY_BYTES_MAX), got = 0;
        g_autofree char *bytes = g_malloc(len + 1);
        for (gssize n = 1; got < len && n > 0; got += n > 0 ? (gsize) n : 0)
                n = pread(fd, bytes + got, len - got, (off_t) got);
        return g_bytes_new_take(g_steal_pointer(&bytes), got);
}

static const char *text_of(json_t *o, const char *name) {
        const char *text = json_string_value(json_object_get(o, name));

        return text ? text : "";
}

static void take_line(BhDecoyRecords *r, int dir, const char *line, gsize len, BhDecoyRecorded recorded, gpointer data) {
        json_auto_t *o = len <= LINE_MAX_BYTES ? json_loadb(line, len, 0, NULL) : NULL;
        Waiting *w = g_hash_table_lookup(r->waiting, text_of(o, "peer"));
        g_autofree char *end = g_strndup(text_of(o, "end"), 32);
        guint64 all = (guint64) MAX(json_integer_value(json_object_get(o, "bytes")), 0);

        if (!w || bh_time_parse(text_of(o, "time")) < w->e.time_ns - EARLY_NS)
                return;
        if (!all) {
                r->n.empty++;
        } else {
                g_autoptr(GBytes) bytes = read_bytes(dir, text_of(o, "sha256"));

                if (bytes) {
                        r->n.sealed++;
                        recorded(&w->e, bytes, MAX(all, g_bytes_get_size(bytes)), end, data);
                } else {
                        r->n.unread++;
                }
        }
        forget(r, w);
}

void bh_decoy_records_turn(BhDecoyRecords *r, gint64 now_us, BhDecoyRecorded recorded, gpointer data) {
        g_autofree char *text = NULL;
        struct stat st;

        for (Waiting *w; (w = g_queue_peek_head(&r->order)) && w->until_us <= now_us;) {
                r->n.missing++;
                forget(r, w);
        }
        if (!r->order.length)
                return;
        g_auto(BhFd) dir = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_auto(BhFd) fd = dir >= 0 ? open_regular(dir, "connections.jsonl", &st) : -1;
        if (fd < 0)
                return;
        if (!is_same(r, &st)) {
                r->dev = (guint64) st.st_dev;
                r->ino = (guint64) st.st_ino;
                r->at = 0;
        }
        text = g_malloc(BH_DECOY_LINES_MAX);
        gssize n = pread(fd, text, BH_DECOY_LINES_MAX, (off_t) r->at);
        gsize at = 0;
        for (const char *end; n > 0 && (end = memchr(text + at, '\n', (gsize) n - at)); at = (gsize) (end - text) + 1)
                take_line(r, dir, text + at, (gsize) (end - text) - at, recorded, data);
        if (!at && n == (gssize) BH_DECOY_LINES_MAX) /* no line of ours is so long */
                at = (gsize) n;
        r->at += at;
}
