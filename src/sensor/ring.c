/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK (512u << 10) /* of the data that is mapped or not */

struct BhRing {
        int fd; /* our own descriptor of the map */
        guint64 size, mask, chunk;
        guint8 *mapped; /* a flag for each chunk */
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

/* Makes these bytes of the data readable. */
static gboolean map_range(BhRing *r, gsize from, gsize len) {
        for (gsize i = from / r->chunk; len && i <= (from + len - 1) / r->chunk; i++) {
                void *at = (void *) (r->data + i * r->chunk);

                if (r->mapped[i])
                        continue;
                if (mmap(at, r->chunk, PROT_READ, MAP_SHARED | MAP_FIXED, r->fd, (off_t) (2 * r->page + i * r->chunk)) == MAP_FAILED)
                        return FALSE;
                r->mapped[i] = 1;
        }
        return TRUE;
}

BhRing *bh_ring_open(int fd, const char *name, GError **error) {
        struct bpf_map_info info = {};
        __u32 len = sizeof(info);

        if (bpf_obj_get_info_by_fd(fd, &info, &len)) {
                fail(error, "look at", name);
                return NULL;
        }

        g_autoptr(BhRing) r = g_new0(BhRing, 1);
        r->fd = -1;
        r->page = (gsize) sysconf(_SC_PAGESIZE);
        r->size = info.max_entries;
        r->mask = r->size - 1;
        r->consumer = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (r->consumer == MAP_FAILED) {
                r->consumer = NULL;
                fail(error, "map", name);
                return NULL;
        }
        r->producer = mmap(NULL, r->page, PROT_READ, MAP_SHARED, fd, (off_t) r->page);
        if (r->producer == MAP_FAILED) {
                r->producer = NULL;
                fail(error, "map", name);
                return NULL;
        }
        /* The place for all of the data; what is read is mapped into it. (The kernel offers the data twice in a row, so that no record is torn; once is enough.) */
        r->chunk = MIN(r->size, CHUNK);
        r->mapped = g_malloc0(r->size / r->chunk);
        void *data = mmap(NULL, r->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        r->data = data == MAP_FAILED ? NULL : data;
        r->fd = r->data ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        if (r->fd < 0 || !map_range(r, 0, 8)) {
                fail(error, "map", name);
                return NULL;
        }
        r->read = bh_ring_released(r);
        return g_steal_pointer(&r);
}

/* Gives the chunks back in which nothing is that may still be used: from the released position on up to what is read. */
static void unmap_released(BhRing *r, guint64 before, guint64 released) {
        for (guint64 i = before / r->chunk; i < released / r->chunk; i++) {
                gsize n = (gsize) ((i * r->chunk & r->mask) / r->chunk);

                /* the reader may have come around to it */
                if (!r->mapped[n] || r->read >= (i + r->size / r->chunk) * r->chunk)
                        continue;
                if (mmap((void *) (r->data + n * r->chunk), r->chunk, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED)
                        r->mapped[n] = 0;
        }
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
                munmap(r->producer, r->page);
        if (r->data)
                munmap((void *) r->data, r->size);
        if (r->fd >= 0)
                close(r->fd);
        g_free(r->mapped);
        forget_torn(r, G_MAXUINT64);
        g_free(r);
}

const struct bh_rec *bh_ring_next(BhRing *r, guint64 *end, guint32 *len) {
        for (;;) {
                /* pairs with the kernel's store-release of the position after the header is written */
                if (r->read >= __atomic_load_n(r->producer, __ATOMIC_ACQUIRE))
                        return NULL;

                const guint8 *at = r->data + (r->read & r->mask);
                if (!map_range(r, r->read & r->mask, BPF_RINGBUF_HDR_SZ))
                        return NULL; /* without memory for page tables: later; what does not fit meanwhile is counted */
                guint32 header = __atomic_load_n((const guint32 *) at, __ATOMIC_ACQUIRE);
                if (header & BPF_RINGBUF_BUSY_BIT)
                        return NULL;

                guint32 size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
                gsize from = (gsize) (at - r->data) + BPF_RINGBUF_HDR_SZ; /* headers are 8-aligned and so never torn */
                if (!(header & BPF_RINGBUF_DISCARD_BIT) &&
                    (!map_range(r, MIN(from, r->size - 1), MIN(size, r->size - MIN(from, r->size - 1))) || (from + size > r->size && !map_range(r, 0, from + size - r->size))))
                        return NULL;
                r->read += (size + BPF_RINGBUF_HDR_SZ + 7) & ~7ull;
                if (header & BPF_RINGBUF_DISCARD_BIT)
                        continue;
                *end = r->read;
                *len = size;

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
        guint64 before = *r->consumer;

        if (position > before && position <= r->read) {
                __atomic_store_n(r->consumer, position, __ATOMIC_RELEASE);
                unmap_released(r, before, position);
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
