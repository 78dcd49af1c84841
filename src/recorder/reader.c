/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder/reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((gsize) 64 << 10)
#define WINDOW_MAX (BH_BLOCK_HEAD_MAX + BH_RECORDER_BLOCK_MAX + CHUNK)

void bh_reader_init(BhReader *r, int fd, gboolean seekable) {
        *r = (BhReader) { .fd = fd, .seekable = seekable, .filter = { .to_ns = G_MAXUINT64 }, .dctx = ZSTD_createDCtx() };
        g_assert(r->dctx);
}

void bh_reader_clear(BhReader *r) {
        ZSTD_freeDCtx(r->dctx);
        g_free(r->buf);
        g_free(r->raw);
        g_free(r->index);
        *r = (BhReader) { .fd = -1 };
}

/* ---- the window */

static gsize window_len(const BhReader *r) {
        return r->have - r->at;
}

static const guint8 *window(const BhReader *r) {
        return r->buf + r->at;
}

/* Tries to have `n` bytes in the window; TRUE if they are there. FALSE: end of file, or r->err. */
static gboolean window_need(BhReader *r, gsize n) {
        g_assert(n <= WINDOW_MAX);
        while (window_len(r) < n && !r->drained) {
                if (r->at) {
                        memmove(r->buf, r->buf + r->at, window_len(r));
                        r->have -= r->at;
                        r->at = 0;
                }
                if (r->have == r->room) {
                        /* Grown by doubling, as bytes arrive: a size that a file merely claims costs nothing. */
                        r->room = MIN(MAX(r->room * 2, CHUNK), WINDOW_MAX);
                        r->buf = g_realloc(r->buf, r->room);
                }
                gsize want = MIN(r->room - r->have, MAX(n - r->have, CHUNK));
                ssize_t got = r->seekable ? pread(r->fd, r->buf + r->have, want, (off_t) (r->pos + r->have))
                                          : read(r->fd, r->buf + r->have, want);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        r->err = errno;
                if (got <= 0) {
                        r->drained = TRUE;
                        break;
                }
                r->have += (gsize) got;
        }
        return window_len(r) >= n;
}

static void window_skip(BhReader *r, gsize n) {
        g_assert(n <= window_len(r));
        r->at += n;
        r->pos += n;
}

static void window_seek(BhReader *r, guint64 pos) {
        if (pos >= r->pos && pos - r->pos <= window_len(r)) {
                window_skip(r, (gsize) (pos - r->pos));
                return;
        }
        r->at = r->have = 0;
        r->pos = pos;
        r->drained = FALSE;
}

/* Goes `n` bytes on, also past what is in the window. FALSE if the file ends before. */
static gboolean pass(BhReader *r, gsize n) {
        if (n <= window_len(r)) {
                window_skip(r, n);
                return TRUE;
        }
        if (r->seekable) {
                struct stat st;

                if (fstat(r->fd, &st) < 0) {
                        r->err = errno;
                        return FALSE;
                }
                if (S_ISREG(st.st_mode) && (guint64) st.st_size < r->pos + n)
                        return FALSE;
                window_seek(r, r->pos + n);
                return TRUE;
        }
        if (!window_need(r, n))
                return FALSE;
        window_skip(r, n);
        return TRUE;
}

/* ---- opening */

static gboolean read_trailer(BhReader *r, BhTrailer *t) {
        struct stat st;

        if (!r->seekable || fstat(r->fd, &st) < 0 || st.st_size < (off_t) (sizeof(BhFileHeader) + sizeof(*t)))
                return FALSE;
        return pread(r->fd, t, sizeof(*t), st.st_size - (off_t) sizeof(*t)) == (ssize_t) sizeof(*t) && bh_trailer_check(t);
}

gboolean bh_reader_open(BhReader *r, const char *name, GError **error) {
        g_autoptr(GError) problem = NULL;
        BhTrailer t;

        if (!window_need(r, sizeof(r->head))) {
                if (r->err)
                        g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot read %s: %s", name, g_strerror(r->err));
                else if (memcmp(window_len(r) ? window(r) : (const guint8 *) "", BH_FILE_MAGIC, MIN(window_len(r), BH_MAGIC_LEN)) != 0 ||
                         !window_len(r))
                        g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_NOT_CAPTURE, "%s is not a Bulkhead capture%s", name,
                                    window_len(r) ? "" : ": it is empty");
                else
                        g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_TRUNCATED,
                                    "%s is truncated: it ends within its file header", name);
                return FALSE;
        }
        memcpy(&r->head, window(r), sizeof(r->head));
        if (bh_file_header_check(&r->head, name, &problem)) {
                r->salt = r->head.salt;
        } else if (read_trailer(r, &t)) {
                r->salt = t.salt;
                r->head_lost = TRUE;
        } else {
                g_propagate_error(error, g_steal_pointer(&problem));
                return FALSE;
        }
        window_skip(r, sizeof(r->head));
        r->good_end = r->pos;
        return TRUE;
}

void bh_reader_load_trailer(BhReader *r, gboolean with_index) {
        BhTrailer t;
        BhBlock b;
        gsize need = 0;

        if (!read_trailer(r, &t) || t.salt != r->salt)
                return;
        r->trailer = t;
        r->closed = TRUE;
        if (!with_index || t.index_offset < sizeof(BhFileHeader) || t.index_offset > (guint64) G_MAXINT64)
                return;

        guint64 back = r->pos;
        window_seek(r, t.index_offset);
        if (window_need(r, sizeof(BhBlockFixed)) &&
            bh_block_parse(window(r), window_len(r), r->salt, r->pos, &b, &need) == BH_PARSE_OK && b.f.kind == BH_BLOCK_INDEX) {
                gsize head_len = b.head_len;

                if (window_need(r, head_len + b.f.stored_bytes) &&
                    bh_block_parse(window(r), window_len(r), r->salt, r->pos, &b, &need) == BH_PARSE_OK &&
                    bh_block_payload_ok(&b, window(r) + head_len, r->salt)) {
                        gsize room = 0;

                        if (bh_block_unpack(&b, window(r) + head_len, r->dctx, &r->index, &room)) {
                                r->index_len = b.f.raw_bytes;
                        } else {
                                g_free(r->index);
                                r->index = NULL;
                        }
                }
        }
        window_seek(r, back);
}

/* ---- blocks */

/* At r->pos: a block's header, with all its bytes in the window? */
static BhParse parse_here(BhReader *r, BhBlock *out) {
        gsize need = 0;

        window_need(r, sizeof(BhBlockFixed));
        for (;;) {
                BhParse p = bh_block_parse(window(r), window_len(r), r->salt, r->pos, out, &need);

                if (p != BH_PARSE_SHORT || !window_need(r, need))
                        return p;
        }
}

static gboolean trailer_here(BhReader *r) {
        BhTrailer t;

        if (window_len(r) < BH_MAGIC_LEN || memcmp(window(r), BH_TRAILER_MAGIC, BH_MAGIC_LEN) != 0 || !window_need(r, sizeof(t)))
                return FALSE;
        memcpy(&t, window(r), sizeof(t));
        if (!bh_trailer_check(&t) || t.salt != r->salt)
                return FALSE;
        r->trailer = t;
        r->closed = TRUE;
        return TRUE;
}

/* From a place that holds no block to the next that does, or to the end. */
static BhRead resync(BhReader *r) {
        guint64 from = r->pos;
        BhBlock b;

        window_skip(r, 1);
        while (window_need(r, BH_MAGIC_LEN)) {
                const guint8 *w = window(r);
                gsize n = window_len(r) - BH_MAGIC_LEN + 1, i = 0;

                /* Both magics: a first byte of their own, the rest is checked by the parsers. */
                while (i < n && w[i] != (guint8) BH_BLOCK_MAGIC[0] && w[i] != (guint8) BH_TRAILER_MAGIC[0])
                        i++;
                window_skip(r, i);
                if (i == n)
                        continue;
                if (trailer_here(r) || parse_here(r, &b) == BH_PARSE_OK) {
                        r->damage_bytes = r->pos - from;
                        return BH_READ_DAMAGE;
                }
                window_skip(r, 1);
        }
        if (r->err)
                return BH_READ_FAILED;
        r->torn_bytes = r->pos + window_len(r) - from;
        window_skip(r, window_len(r));
        return BH_READ_TORN;
}

/* The block at r->pos, whose header is good, is wanted: its payload into the window, verified. */
static BhRead take_block(BhReader *r) {
        gsize total = r->block.head_len + r->block.f.stored_bytes, need;

        if (!window_need(r, total)) {
                if (r->err)
                        return BH_READ_FAILED;
                r->torn_bytes = window_len(r);
                window_skip(r, window_len(r));
                return BH_READ_TORN;
        }
        /* The window may have moved. */
        bh_block_parse(window(r), window_len(r), r->salt, r->pos, &r->block, &need);
        if (!bh_block_payload_ok(&r->block, window(r) + r->block.head_len, r->salt)) {
                r->damage_bytes = total;
                window_skip(r, total);
                return BH_READ_DAMAGE;
        }
        window_skip(r, total);
        r->good_end = r->pos;
        return BH_READ_OK;
}

static BhRead next_by_index(BhReader *r) {
        while (r->index_at < r->index_len) {
                BhBlock b;
                gsize need = 0;
                const guint8 *entry = r->index + r->index_at;

                if (bh_block_parse(entry, r->index_len - r->index_at, r->salt, G_MAXUINT64, &b, &need) != BH_PARSE_OK) {
                        /* Cannot come from a writer of ours: the index was whole. Say so rather than read on blindly. */
                        r->damage_bytes = r->index_len - r->index_at;
                        r->index_at = r->index_len;
                        return BH_READ_DAMAGE;
                }
                r->index_at += b.head_len;
                if (!bh_filter_block(&r->filter, &b)) {
                        r->blocks_skipped++;
                        continue;
                }
                if (b.f.offset > (guint64) G_MAXINT64 - WINDOW_MAX) {
                        r->damage_bytes = b.head_len;
                        return BH_READ_DAMAGE;
                }
                window_seek(r, b.f.offset);
                if (parse_here(r, &r->block) != BH_PARSE_OK || memcmp(window(r), entry, b.head_len) != 0) {
                        if (r->err)
                                return BH_READ_FAILED;
                        r->damage_bytes = b.head_len + b.f.stored_bytes;
                        return BH_READ_DAMAGE;
                }
                BhRead got = take_block(r);
                if (got == BH_READ_TORN) { /* a closed file that ends before its trailer: cut while we read */
                        r->damage_bytes = r->torn_bytes;
                        return BH_READ_DAMAGE;
                }
                return got;
        }
        return BH_READ_END;
}

BhRead bh_reader_block(BhReader *r) {
        if (r->head_lost) { /* opened by the trailer: said once, before the first block */
                r->head_lost = FALSE;
                r->damage_bytes = sizeof(r->head);
                return BH_READ_DAMAGE;
        }
        if (r->index)
                return next_by_index(r);
        for (;;) {
                if (!window_need(r, BH_MAGIC_LEN) && !window_len(r))
                        return r->err ? BH_READ_FAILED : BH_READ_OPEN;
                if (trailer_here(r))
                        return BH_READ_END;
                if (parse_here(r, &r->block) != BH_PARSE_OK)
                        return r->err ? BH_READ_FAILED : resync(r);
                /* Blocks without records carry a mark. */
                gboolean records = r->block.f.kind == BH_BLOCK_RECORDS;
                if (records && (!r->block.f.count || bh_filter_block(&r->filter, &r->block)))
                        return take_block(r);
                if (records)
                        r->blocks_skipped++;
                gsize here = window_len(r);
                if (!pass(r, r->block.head_len + r->block.f.stored_bytes)) {
                        if (r->err)
                                return BH_READ_FAILED;
                        r->torn_bytes = MAX(here, window_len(r));
                        window_skip(r, window_len(r));
                        return BH_READ_TORN;
                }
        }
}

BhRead bh_reader_record(BhReader *r, BhRecord *out) {
        for (;;) {
                while (r->rec < r->rec_end) {
                        BhRecord rec;

                        if (!bh_record_take(&r->rec, r->rec_end, &rec))
                                g_assert_not_reached(); /* bh_block_unpack() has walked it */
                        if (bh_filter_record(&r->filter, &rec)) {
                                *out = rec;
                                return BH_READ_OK;
                        }
                }
                BhRead got = bh_reader_block(r);
                if (got != BH_READ_OK)
                        return got;
                r->lost += r->block.f.lost_before;
                if (!r->block.f.count)
                        continue;
                const guint8 *payload = window(r) - r->block.f.stored_bytes;
                if (!bh_block_unpack(&r->block, payload, r->dctx, &r->raw, &r->raw_room)) {
                        r->damage_bytes = r->block.head_len + r->block.f.stored_bytes;
                        return BH_READ_DAMAGE;
                }
                r->blocks_read++;
                r->rec = r->raw;
                r->rec_end = r->raw + r->block.f.raw_bytes;
        }
}
