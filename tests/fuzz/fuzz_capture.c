/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as a capture, read as a stream and as a segment with an index. With the first byte odd, the checksums and
 * offsets of all that looks like a block are made right first: what lies behind them must hold against a hostile writer too.
 */
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/fdio.h"
#include "recorder/capture.h"
#include "recorder/format.h"
#include "recorder/query.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static void make_block_right(guint8 *p, gsize have, guint64 salt, guint64 offset) {
        BhBlockFixed f;

        if (have < sizeof(f))
                return;
        memcpy(&f, p, sizeof(f));
        f.offset = offset;
        f.mark_len %= BH_RECORDER_MARK_MAX + 1;
        f.set_len %= BH_SET_MAX + 1;
        gsize head_len = sizeof(f) + ((f.mark_len + 7u) & ~7u) + 8u * f.set_len;
        if (head_len > have)
                return;
        f.stored_bytes = (guint32) MIN(f.stored_bytes, have - head_len);
        f.payload_hash = XXH64(p + head_len, f.stored_bytes, salt);
        memcpy(p, &f, sizeof(f));
        f.hash = XXH64(p + G_STRUCT_OFFSET(BhBlockFixed, payload_hash), head_len - G_STRUCT_OFFSET(BhBlockFixed, payload_hash), salt);
        memcpy(p, &f, sizeof(f));
}

static void make_right(guint8 *p, gsize len) {
        BhFileHeader h;
        BhTrailer t;

        if (len < sizeof(h))
                return;
        memcpy(&h, p, sizeof(h));
        memcpy(h.magic, BH_FILE_MAGIC, sizeof(h.magic));
        h.version = BH_FORMAT_VERSION;
        h.bytes = sizeof(h);
        h.hash = XXH64(&h, G_STRUCT_OFFSET(BhFileHeader, hash), h.salt);
        memcpy(p, &h, sizeof(h));
        if (len >= sizeof(h) + sizeof(t)) {
                memcpy(&t, p + len - sizeof(t), sizeof(t));
                if (memcmp(t.magic, BH_TRAILER_MAGIC, sizeof(t.magic)) == 0) {
                        bh_trailer_seal(&t, h.salt);
                        memcpy(p + len - sizeof(t), &t, sizeof(t));
                }
        }
        /* Backwards: a payload may itself contain headers (an index does). */
        for (gsize at = len; at-- > sizeof(h);)
                if (len - at >= BH_MAGIC_LEN && memcmp(p + at, BH_BLOCK_MAGIC, BH_MAGIC_LEN) == 0)
                        make_block_right(p + at, len - at, h.salt, at);
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size) {
        if (size < 1)
                return 0;
        g_autofree guint8 *copy = g_memdup2(data + 1, size - 1);
        gsize len = size - 1;
        g_auto(BhFd) fd = memfd_create("capture", MFD_CLOEXEC);
        BhRecord rec;
        volatile guint8 sum = 0;

        if (data[0] & 1)
                make_right(copy, len);
        if (fd < 0 || !bh_fd_write_all(fd, copy, len, "memfd", NULL) || lseek(fd, 0, SEEK_SET) != 0)
                abort();

        g_autoptr(BhCaptureReader) c = bh_capture_reader_new_fd(fd, "fuzz", NULL);
        for (gsize calls = 0; c; calls++) {
                g_autoptr(GError) error = NULL;

                if (bh_capture_reader_next(c, &rec, &error)) {
                        for (guint32 i = 0; i < rec.len; i++) /* every byte must be there */
                                sum ^= rec.data[i];
                } else if (!error) {
                        break;
                }
                if (!error)
                        continue;
                /* Each error has used up at least a byte, or it is the last. */
                if (calls > (gsize) 64 << 20)
                        abort();
        }

        static const struct {
                guint64 from, to, container, seq;
        } filters[] = { { 0, 0, 0, 0 }, { 0, 0, 1, 0 }, { 0, 0, BH_RECORDER_HOST, 0 }, { 1, 5000, 0, 2 } };
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        for (gsize i = 0; i < G_N_ELEMENTS(filters); i++) {
                g_autoptr(BhRecorderQuery) q =
                        bh_recorder_query(path, filters[i].from, filters[i].to, filters[i].container, filters[i].seq, NULL);

                while (q && bh_recorder_query_next(q, &rec))
                        for (guint32 b = 0; b < rec.len; b++)
                                sum ^= rec.data[b];
        }
        (void) sum;
        return 0;
}
