/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct BhRing {
        guint64 size, mask;
        guint64 *consumer; /* ours to write */
        guint64 *producer;
        const guint8 *data;
        gsize page;
        guint64 read;
        GQueue torn; /* Torn: whole copies of records that lie across the end of the ring */
};

typedef struct {
        guint64 end;
        guint8 *copy;
} Torn;

static gboolean fail(GError **error, const char *what, const char *name) {
        int code = errno;

        g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(code), "cannot %s ring buffer %s: %s", what, name, g_strerror(code));
        return FALSE;
}

BhRing *bh_ring_open(int fd, const char *name, GError **error) {
        struct bpf_map_info info = {};
        __u32 len = sizeof(info);

        if (bpf_obj_get_info_by_fd(fd, &info, &len)) {
                fail(error, "look at", name);
                return NULL;
        }

        g_autoptr(BhRing) r = g_new0(BhRing, 1);
        r->page = (gsize) sysconf(_SC_PAGESIZE);
        r->size = info.max_entries;
        r->mask = r->size - 1;
        r->consumer = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (r->consumer == MAP_FAILED) {
                r->consumer = NULL;
                fail(error, "map", name);
                return NULL;
        }
        /* The kernel offers the data twice in a row, so that no record is torn; once is enough here, and half the resident memory. */
        r->producer = mmap(NULL, r->page + r->size, PROT_READ, MAP_SHARED, fd, (off_t) r->page);
        if (r->producer == MAP_FAILED) {
                r->producer = NULL;
                fail(error, "map", name);
                return NULL;
        }
        r->data = (const guint8 *) r->producer + r->page;
        r->read = bh_ring_released(r);
        return g_steal_pointer(&r);
}

static void forget_torn(BhRing *r, guint64 position) {
        for (Torn *t; (t = g_queue_peek_head(&r->torn)) && t->end <= position; g_free(t)) {
                g_queue_pop_head(&r->torn);
                g_free(t->copy);
        }
}

void bh_ring_free(BhRing *r) {
        if (!r)
                return;
        if (r->consumer)
                munmap(r->consumer, r->page);
        if (r->producer)
                munmap(r->producer, r->page + r->size);
        forget_torn(r, G_MAXUINT64);
        g_free(r);
}

const struct bh_rec *bh_ring_next(BhRing *r, guint64 *end, guint32 *len) {
        for (;;) {
                /* pairs with the kernel's store-release of the position after the header is written */
                if (r->read >= __atomic_load_n(r->producer, __ATOMIC_ACQUIRE))
                        return NULL;

                const guint8 *at = r->data + (r->read & r->mask);
                guint32 header = __atomic_load_n((const guint32 *) at, __ATOMIC_ACQUIRE);
                if (header & BPF_RINGBUF_BUSY_BIT)
                        return NULL;

                guint32 size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
                r->read += (size + BPF_RINGBUF_HDR_SZ + 7) & ~7ull;
                if (header & BPF_RINGBUF_DISCARD_BIT)
                        continue;
                *end = r->read;
                *len = size;

                gsize from = (gsize) (at - r->data) + BPF_RINGBUF_HDR_SZ; /* headers are 8-aligned and so never torn */
                if (from + size <= r->size)
                        return (const struct bh_rec *) (const void *) (r->data + from);
                if (from == r->size)
                        return (const struct bh_rec *) (const void *) r->data;

                Torn *t = g_new(Torn, 1);
                t->end = *end;
                t->copy = g_malloc(size);
                memcpy(t->copy, r->data + from, r->size - from);
                memcpy(t->copy + (r->size - from), r->data, size - (r->size - from));
                g_queue_push_tail(&r->torn, t);
                return (const struct bh_rec *) (void *) t->copy;
        }
}

void bh_ring_release(BhRing *r, guint64 position) {
        if (position > *r->consumer && position <= r->read) {
                __atomic_store_n(r->consumer, position, __ATOMIC_RELEASE);
                forget_torn(r, position);
        }
}

void bh_ring_seek(BhRing *r, guint64 position) {
        if (position >= bh_ring_released(r) && position <= __atomic_load_n(r->producer, __ATOMIC_ACQUIRE))
                r->read = position;
}

guint64 bh_ring_released(const BhRing *r) {
        return __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
}

guint64 bh_ring_read_position(const BhRing *r) {
        return r->read;
}

guint64 bh_ring_used(const BhRing *r) {
        return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - bh_ring_released(r);
}

guint64 bh_ring_size(const BhRing *r) {
        return r->size;
}
