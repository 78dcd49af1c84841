/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are kept open, or copied, because whoever has them may be gone before a worker comes to them. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "base/fdio.h"
#include "evidence_private.h"

static void drop(BhEvidence *v, BhHold *h) {
        close(h->fd);
        h->fd = -1;
        v->copied_now -= h->copied;
        h->copied = 0;
}

void bh_evidence_drop_holds(BhEvidence *v, gint64 now_us) {
        for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++)
                if (v->holds[i].fd >= 0 && v->holds[i].until_us <= now_us)
                        drop(v, &v->holds[i]);
}

/* Takes *h, whose `until_us` is set here; where there is no place the oldest makes room. FALSE: places get few. */
static gboolean put(BhEvidence *v, BhHold *h) {
        gint64 now_us = g_get_monotonic_time();
        BhHold *place = NULL, *oldest = NULL;
        guint used = 0;

        h->until_us = now_us + BH_EVIDENCE_HOLD_US;
        g_mutex_lock(&v->lock);
        for (guint i = 0; i < BH_EVIDENCE_HOLDS; i++) {
                BhHold *one = &v->holds[i];

                if (one->fd < 0 || one->until_us <= now_us) {
                        place = one;
                        continue;
                }
                used++;
                if (!oldest || one->until_us < oldest->until_us)
                        oldest = one;
        }
        if (!place) {
                place = oldest;
                v->hold_full++;
        }
        if (place->fd >= 0)
                drop(v, place);
        *place = *h;
        v->copied_now += h->copied;
        v->copied += h->pid && h->copied;
        v->not_copied += h->pid && !h->copied;
        g_mutex_unlock(&v->lock);
        return used < BH_EVIDENCE_HOLDS - BH_PAUSE_SLOTS;
}

void bh_evidence_hold(BhEvidence *v, const BhJob *j) {
        BhHold h = { .dev = j->dev, .ino = j->ino };

        h.fd = bh_evidence_open_file(v, j, &h.st);
        if (h.fd >= 0)
                put(v, &h);
}

int bh_evidence_take_hold(BhEvidence *v, const BhJob *j) {
        int fd = -1;

        g_mutex_lock(&v->lock);
        for (guint i = 0; fd < 0 && j->ino && i < BH_EVIDENCE_HOLDS; i++)
                if (v->holds[i].fd >= 0 && !v->holds[i].pid && v->holds[i].ino == j->ino && v->holds[i].dev == j->dev)
                        fd = fcntl(v->holds[i].fd, F_DUPFD_CLOEXEC, 3);
        g_mutex_unlock(&v->lock);
        return fd;
}

int bh_evidence_take_copy(BhEvidence *v, const BhJob *j, struct stat *st) {
        int fd = -1;

        g_mutex_lock(&v->lock);
        for (guint i = 0; fd < 0 && j->pid && i < BH_EVIDENCE_HOLDS; i++) {
                BhHold *h = &v->holds[i];

                if (h->fd < 0 || h->pid != j->pid || h->start != j->start || h->ino != j->ino)
                        continue;
                *st = h->st;
                v->copied_now -= h->copied;
                h->copied = 0;
                fd = h->fd;
                h->fd = -1;
        }
        g_mutex_unlock(&v->lock);
        return fd;
}

/* Nobody can change it there. -1: it cannot be had. */
static int copy_of(int from, gsize size) {
        g_auto(BhFd) fd = memfd_create("bulkhead-evidence", MFD_CLOEXEC);
        off_t at = 0;

        while (fd >= 0 && (gsize) at < size) {
                ssize_t n = sendfile(fd, from, &at, size - (gsize) at);

                if (n <= 0)
                        return -1;
        }
        return bh_fd_steal(&fd);
}

gboolean bh_evidence_stopped(BhEvidence *v, const struct bh_pause_record *r) {
        BhJob j = { .kind = BH_JOB_EXE, .pid = r->tgid, .start = r->start, .ino = r->ino };
        g_auto(BhFd) dir = bh_evidence_open_process(v, &j);
        BhHold h = { .ino = r->ino, .pid = r->tgid, .start = r->start };

        h.fd = dir >= 0 ? bh_evidence_open_exe(&j, dir) : -1;
        if (h.fd < 0 || fstat(h.fd, &h.st)) {
                if (h.fd >= 0)
                        close(h.fd);
                return TRUE; /* somebody continued or ended it */
        }
        h.dev = h.st.st_dev;
        gsize size = (gsize) h.st.st_size;
        g_mutex_lock(&v->lock);
        gboolean copy = size && size <= BH_EVIDENCE_COPY_MAX && v->copied_now + size <= BH_EVIDENCE_COPIES_MAX;
        gboolean behind = !v->pool || g_thread_pool_unprocessed(v->pool) > BH_EVIDENCE_QUEUE / 2;
        g_mutex_unlock(&v->lock);
        int copied = copy ? copy_of(h.fd, size) : -1;
        if (copied >= 0) {
                close(h.fd);
                h.fd = copied;
                h.copied = size;
        }
        return put(v, &h) && !behind;
}
