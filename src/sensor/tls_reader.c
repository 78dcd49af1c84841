/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_reader.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fdio.h"

/* Shared with the threads; the last of all frees it. */
struct BhTlsReader {
        BhTlsReaderCalls calls;
        GMutex lock;
        GCond answered;
        guint refs, stuck;
        guint64 last, left[BH_TLS_READER_STUCK]; /* questions; those that are stuck */
};

typedef struct {
        BhTlsReader *r;
        char *path; /* NULL: a copy of `place` is wanted */
        int place;  /* the job's own */
        guint64 max;
        /* with the lock held */
        gboolean done;
        guint64 left; /* nobody waits for it: the question's number. 0: somebody does */
        int fd;
        BhRootfileInfo info;
        GError *error;
} Job;

GQuark bh_tls_reader_error_quark(void) {
        return g_quark_from_static_string("bh-tls-reader-error");
}

/* With the lock held, which it gives back. */
static void unref_locked(BhTlsReader *r) {
        gboolean last = --r->refs == 0;

        g_mutex_unlock(&r->lock);
        if (!last)
                return;
        g_mutex_clear(&r->lock);
        g_cond_clear(&r->answered);
        g_free(r);
}

static void job_free(Job *j) {
        bh_fd_clear(&j->place);
        bh_fd_clear(&j->fd);
        g_clear_error(&j->error);
        g_free(j->path);
        g_free(j);
}

static gpointer work(gpointer data) {
        Job *j = data;
        BhTlsReader *r = j->r;
        g_autoptr(GError) error = NULL;
        BhRootfileInfo info = { 0 };
        int fd = j->path ? r->calls.mapped(j->path, &info, &error) : r->calls.copy(j->place, j->max, &error);

        g_mutex_lock(&r->lock);
        j->fd = fd;
        j->info = info;
        j->error = g_steal_pointer(&error);
        j->done = TRUE;
        if (j->left) {
                for (guint i = 0; i < r->stuck; i++)
                        if (r->left[i] == j->left)
                                r->left[i] = r->left[r->stuck - 1];
                r->stuck--;
                job_free(j);
        }
        g_cond_broadcast(&r->answered);
        unref_locked(r);
        return NULL;
}

/* The file descriptor. Takes the job. */
static int ask(Job *j, BhRootfileInfo *info, GError **error) {
        gint64 until = g_get_monotonic_time() + BH_TLS_READER_MS * 1000;
        BhTlsReader *r = j->r;
        GThread *thread = NULL;
        int fd = -1;

        g_mutex_lock(&r->lock);
        if (r->stuck < BH_TLS_READER_STUCK && (thread = g_thread_try_new("bh-tls-file", work, j, NULL)))
                r->refs++;
        if (!thread) {
                g_set_error(error, BH_TLS_READER_ERROR, BH_TLS_READER_ERROR_FULL, "%u file systems of containers do not answer: files are looked into again when one does", r->stuck);
                g_mutex_unlock(&r->lock);
                job_free(j);
                return -1;
        }
        g_thread_unref(thread);
        while (!j->done && g_cond_wait_until(&r->answered, &r->lock, until))
                ;
        if (j->done) {
                fd = j->fd;
                j->fd = -1;
                if (fd >= 0 && info)
                        *info = j->info;
                if (j->error)
                        g_propagate_error(error, g_steal_pointer(&j->error));
                job_free(j);
        } else {
                j->left = r->left[r->stuck++] = ++r->last;
                g_set_error(error, BH_TLS_READER_ERROR, BH_TLS_READER_ERROR_STUCK, "a container's file system has not answered for %u ms", BH_TLS_READER_MS);
        }
        g_mutex_unlock(&r->lock);
        return fd;
}

BhTlsReader *bh_tls_reader_new(const BhTlsReaderCalls *calls) {
        BhTlsReader *r = g_new0(BhTlsReader, 1);

        r->calls = calls ? *calls : (BhTlsReaderCalls){ bh_rootfile_mapped, bh_rootfile_mapped_memfd };
        g_mutex_init(&r->lock);
        g_cond_init(&r->answered);
        r->refs = 1;
        return r;
}

void bh_tls_reader_free(BhTlsReader *r) {
        if (!r)
                return;
        g_mutex_lock(&r->lock);
        unref_locked(r);
}

int bh_tls_reader_mapped(BhTlsReader *r, const char *path, BhRootfileInfo *info, GError **error) {
        Job *j = g_new0(Job, 1);

        *j = (Job){ .r = r, .path = g_strdup(path), .place = -1, .fd = -1 };
        return ask(j, info, error);
}

int bh_tls_reader_copy(BhTlsReader *r, int place, guint64 max, GError **error) {
        Job *j = g_new0(Job, 1);

        /* its own: the caller closes the other one while the thread may still be at it */
        *j = (Job){ .r = r, .place = fcntl(place, F_DUPFD_CLOEXEC, 0), .fd = -1, .max = max };
        if (j->place < 0) {
                g_set_error(error, BH_ROOTFILE_ERROR, BH_ROOTFILE_ERROR_IO, "cannot read what a process maps: %s", g_strerror(errno));
                job_free(j);
                return -1;
        }
        return ask(j, NULL, error);
}

guint64 bh_tls_reader_last_left(BhTlsReader *r) {
        g_mutex_lock(&r->lock);
        guint64 last = r->last;
        g_mutex_unlock(&r->lock);
        return last;
}

gboolean bh_tls_reader_is_left(BhTlsReader *r, guint64 question) {
        gboolean is = FALSE;

        g_mutex_lock(&r->lock);
        for (guint i = 0; i < r->stuck; i++)
                is |= r->left[i] == question;
        g_mutex_unlock(&r->lock);
        return is;
}

guint bh_tls_reader_stuck(BhTlsReader *r) {
        g_mutex_lock(&r->lock);
        guint n = r->stuck;
        g_mutex_unlock(&r->lock);
        return n;
}
