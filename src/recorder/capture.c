/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "recorder/reader.h"

#define CAPTURE_BLOCK (256u << 10)

struct BhCaptureWriter {
        int fd;
        gboolean own_fd;
        char *name;
        BhFileHeader head;
        BhBlockEncoder enc;
        BhIndexBuilder index;
        GByteArray *raw;
        guint64 offset;
        gboolean broken;
};

static gboolean put(BhCaptureWriter *w, const void *data, gsize len, GError **error) {
        g_autoptr(GError) cause = NULL;

        if (!w->broken && bh_fd_write_all(w->fd, data, len, w->name, &cause)) {
                w->offset += len;
                return TRUE;
        }
        w->broken = TRUE;
        g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "%s", cause ? cause->message : "the capture has failed before");
        return FALSE;
}

BhCaptureWriter *bh_capture_writer_new_fd(int fd, const char *name, const char *node, guint32 schema, GError **error) {
        g_autoptr(BhCaptureWriter) w = g_new0(BhCaptureWriter, 1);

        w->fd = fd;
        w->name = g_strdup(name);
        w->raw = g_byte_array_sized_new(CAPTURE_BLOCK);
        bh_block_encoder_init(&w->enc, 3);
        bh_index_init(&w->index);
        bh_file_header_init(&w->head, node, schema, 0);
        return put(w, &w->head, sizeof(w->head), error) ? g_steal_pointer(&w) : NULL;
}

BhCaptureWriter *bh_capture_writer_new(const char *path, const char *node, guint32 schema, GError **error) {
        if (strcmp(path, "-") == 0)
                return bh_capture_writer_new_fd(STDOUT_FILENO, "standard output", node, schema, error);

        g_auto(BhFd) fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
        if (fd < 0) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot create %s: %s", path, g_strerror(errno));
                return NULL;
        }
        BhCaptureWriter *w = bh_capture_writer_new_fd(fd, path, node, schema, error);
        if (w) {
                bh_fd_steal(&fd);
                w->own_fd = TRUE;
        }
        return w;
}

gboolean bh_capture_writer_flush(BhCaptureWriter *w, GError **error) {
        if (w->raw->len == 0)
                return TRUE;
        bh_block_pack(&w->enc, BH_BLOCK_RECORDS, w->raw->data, w->raw->len, 0, NULL, 0, 0, 0);
        bh_block_seal(&w->enc, w->head.salt, w->offset, w->index.t.blocks);
        if (!put(w, w->enc.out, w->enc.out_len, error))
                return FALSE;
        bh_index_add(&w->index, w->enc.out, w->enc.head_len);
        g_byte_array_set_size(w->raw, 0);
        return TRUE;
}

gboolean bh_capture_writer_append(BhCaptureWriter *w, guint64 time_ns, guint64 container, guint64 seq, const void *data,
                                  guint32 len, GError **error) {
        BhRecordHead h = { .len = len, .time_ns = time_ns, .container = container, .seq = seq };

        if (len > BH_RECORDER_BLOCK_MAX - sizeof(h)) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "a record of %u bytes is too large for %s", len, w->name);
                return FALSE;
        }
        if (w->raw->len && w->raw->len + sizeof(h) + len > CAPTURE_BLOCK && !bh_capture_writer_flush(w, error))
                return FALSE;
        g_byte_array_append(w->raw, (const guint8 *) &h, sizeof(h));
        if (len)
                g_byte_array_append(w->raw, data, len);
        return TRUE;
}

gboolean bh_capture_writer_finish(BhCaptureWriter *w, GError **error) {
        if (!bh_capture_writer_flush(w, error))
                return FALSE;
        g_autoptr(GByteArray) tail = bh_index_finish(&w->index, &w->enc, w->head.salt, w->offset);
        return put(w, tail->data, tail->len, error);
}

void bh_capture_writer_free(BhCaptureWriter *w) {
        if (!w)
                return;
        if (w->own_fd)
                close(w->fd);
        bh_block_encoder_clear(&w->enc);
        bh_index_clear(&w->index);
        if (w->raw)
                g_byte_array_unref(w->raw);
        g_free(w->name);
        g_free(w);
}

/* ---- reading */

struct BhCaptureReader {
        BhReader reader;
        int fd;
        gboolean own_fd, ended;
        char *name;
};

static BhCaptureReader *reader_new(int fd, gboolean own_fd, const char *name, GError **error) {
        g_autoptr(BhCaptureReader) r = g_new0(BhCaptureReader, 1);

        r->fd = fd;
        r->own_fd = own_fd;
        r->name = g_strdup(name);
        bh_reader_init(&r->reader, fd, FALSE);
        return bh_reader_open(&r->reader, name, error) ? g_steal_pointer(&r) : NULL;
}

BhCaptureReader *bh_capture_reader_new_fd(int fd, const char *name, GError **error) {
        return reader_new(fd, FALSE, name, error);
}

BhCaptureReader *bh_capture_reader_new(const char *path, GError **error) {
        if (strcmp(path, "-") == 0)
                return reader_new(STDIN_FILENO, FALSE, "standard input", error);

        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot open %s: %s", path, g_strerror(errno));
                return NULL;
        }
        return reader_new(fd, TRUE, path, error);
}

const char *bh_capture_reader_node(const BhCaptureReader *r) {
        return r->reader.head.node;
}

guint32 bh_capture_reader_schema(const BhCaptureReader *r) {
        return r->reader.head.schema;
}

guint64 bh_capture_reader_lost(const BhCaptureReader *r) {
        return r->reader.lost;
}

gboolean bh_capture_reader_next(BhCaptureReader *r, BhRecord *out, GError **error) {
        if (r->ended)
                return FALSE;
        BhRead got = bh_reader_record(&r->reader, out);
        if (got == BH_READ_OK)
                return TRUE;
        r->ended = got != BH_READ_DAMAGE;
        switch (got) {
        case BH_READ_OK:
        case BH_READ_END:
                break;
        case BH_READ_OPEN:
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_TRUNCATED,
                            "%s is truncated: it has no end mark after byte %" G_GUINT64_FORMAT, r->name, r->reader.pos);
                break;
        case BH_READ_TORN:
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_TRUNCATED,
                            "%s is truncated: its last %" G_GUINT64_FORMAT " bytes are not a whole block", r->name,
                            r->reader.torn_bytes);
                break;
        case BH_READ_DAMAGE:
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_CORRUPT,
                            "%s is damaged: %" G_GUINT64_FORMAT " bytes before byte %" G_GUINT64_FORMAT " are unreadable", r->name,
                            r->reader.damage_bytes, r->reader.pos);
                break;
        case BH_READ_FAILED:
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot read %s: %s", r->name, g_strerror(r->reader.err));
                break;
        }
        return FALSE;
}

void bh_capture_reader_free(BhCaptureReader *r) {
        if (!r)
                return;
        bh_reader_clear(&r->reader);
        if (r->own_fd)
                close(r->fd);
        g_free(r->name);
        g_free(r);
}
