/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_hash.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#define THREADS 2
#define READS 3u
#define PIECE (64u << 10)

/* What changes when the content does. */
typedef struct {
        guint64 dev, ino, size;
        gint64 changed_s, modified_s;
        guint32 changed_ns, modified_ns;
} Identity;

typedef struct {
        Identity of;
        guint8 hash[BH_KEEPER_HASH];
} Known;

typedef struct {
        int fd; /* its own: who asked may answer, and close, before it is read */
        guint turn;
        gint number; /* in the order of their coming */
        gpointer question;
} Job;

struct BhKeeperHasher {
        BhKeeperHashed done;
        gpointer data;
        GThreadPool *pool;
        GMutex lock;
        GHashTable *known; /* a set */
        gint asked; /* atomic */
};

static guint known_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(Identity));
}

static gboolean known_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(Identity)) == 0;
}

/* FALSE: no regular file, or it cannot be told. *fresh: its times may be those of its next content as well. */
static gboolean identify(int fd, Identity *id, gboolean *fresh) {
        struct statx s;
        gint64 now = g_get_real_time() / G_USEC_PER_SEC;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &s) || !S_ISREG(s.stx_mode))
                return FALSE;
        memset(id, 0, sizeof(*id));
        id->dev = (guint64) s.stx_dev_major << 32 | s.stx_dev_minor;
        id->ino = s.stx_ino;
        id->size = s.stx_size;
        id->changed_s = s.stx_ctime.tv_sec;
        id->changed_ns = s.stx_ctime.tv_nsec;
        id->modified_s = s.stx_mtime.tv_sec;
        id->modified_ns = s.stx_mtime.tv_nsec;
        *fresh = now - id->changed_s < BH_KEEPER_FRESH_S;
        return TRUE;
}

gboolean bh_keeper_hash_known(BhKeeperHasher *h, int fd, guint8 out[BH_KEEPER_HASH]) {
        gboolean fresh;
        Known wanted, *k;

        if (!identify(fd, &wanted.of, &fresh) || fresh)
                return FALSE;
        g_mutex_lock(&h->lock);
        k = g_hash_table_lookup(h->known, &wanted);
        if (k)
                memcpy(out, k->hash, BH_KEEPER_HASH);
        g_mutex_unlock(&h->lock);
        return k != NULL;
}

static gboolean read_all(int fd, guint64 size, guint8 out[BH_KEEPER_HASH]) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        g_autofree guint8 *piece = g_malloc(PIECE);
        gsize len = BH_KEEPER_HASH;
        guint64 at = 0;
        gssize n;

        while (at <= BH_KEEPER_PROGRAM_MAX && (n = pread(fd, piece, PIECE, (off_t) at)) > 0) {
                g_checksum_update(sum, piece, n);
                at += (guint64) n;
        }
        g_checksum_get_digest(sum, out, &len);
        return n == 0 && at == size;
}

/* What is behind it from one look at it to the next. FALSE: it is none, too long, or changes all the while. */
static gboolean read_same(int fd, Known *k, gboolean *fresh) {
        gboolean later;
        Identity after;

        for (guint i = 0; i < READS; i++) {
                if (!identify(fd, &k->of, fresh) || k->of.size > BH_KEEPER_PROGRAM_MAX)
                        return FALSE;
                gboolean ok = read_all(fd, k->of.size, k->hash);
                if (!identify(fd, &after, &later))
                        return FALSE;
                if (!memcmp(&after, &k->of, sizeof(after)))
                        return ok;
        }
        return FALSE;
}

/* Whether its times tell each change, once they are old: pages of these are never written back, so that those that are mapped are written without a word. */
static gboolean tells_changes(int fd) {
        struct statfs s;

        return fstatfs(fd, &s) == 0 && s.f_type != TMPFS_MAGIC && s.f_type != RAMFS_MAGIC;
}

static void work(gpointer data, gpointer user) {
        BhKeeperHasher *h = user;
        Job *job = data;
        gboolean fresh = FALSE, ok;
        Known k;

        ok = read_same(job->fd, &k, &fresh);
        if (ok && !fresh && tells_changes(job->fd)) {
                g_mutex_lock(&h->lock);
                if (g_hash_table_size(h->known) >= BH_KEEPER_KNOWN)
                        g_hash_table_remove_all(h->known);
                g_hash_table_add(h->known, g_memdup2(&k, sizeof(k)));
                g_mutex_unlock(&h->lock);
        }
        close(job->fd);
        h->done(job->question, ok ? k.hash : NULL, h->data);
        g_free(job);
}

/* A container's first goes before the second of another. */
static int by_turn(gconstpointer a, gconstpointer b, gpointer unused) {
        const Job *x = a, *y = b;

        return x->turn != y->turn ? (x->turn > y->turn) - (x->turn < y->turn) : (x->number > y->number) - (x->number < y->number);
}

BhKeeperHasher *bh_keeper_hasher_new(BhKeeperHashed done, gpointer data, GError **error) {
        BhKeeperHasher *h = g_new0(BhKeeperHasher, 1);
        g_autoptr(GError) why = NULL;

        h->done = done;
        h->data = data;
        g_mutex_init(&h->lock);
        h->known = g_hash_table_new_full(known_hash, known_equal, g_free, NULL);
        h->pool = g_thread_pool_new(work, h, THREADS, TRUE, &why); /* its own threads, from now on: who is asked later waits for none */
        if (!why) {
                g_thread_pool_set_sort_function(h->pool, by_turn, NULL);
                return h;
        }
        g_set_error(error, why->domain, why->code, "there are no threads to read programs: %s", why->message);
        g_thread_pool_free(h->pool, TRUE, TRUE);
        g_hash_table_unref(h->known);
        g_mutex_clear(&h->lock);
        g_free(h);
        return NULL;
}

gboolean bh_keeper_hash_read(BhKeeperHasher *h, int fd, guint turn, gpointer question) {
        int own = g_thread_pool_unprocessed(h->pool) < BH_KEEPER_READING ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        Job *job;

        if (own < 0)
                return FALSE;
        job = g_new(Job, 1);
        *job = (Job){ .fd = own, .turn = turn, .number = g_atomic_int_add(&h->asked, 1), .question = question };
        g_thread_pool_push(h->pool, job, NULL); /* an exclusive pool starts no thread for it, so nothing fails */
        return TRUE;
}
