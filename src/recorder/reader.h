/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the blocks and records of one file or stream. Private to src/recorder; query.h and capture.h are built on it.
 *
 * Sequential (a pipe, or a file without an index) or by index. After damage it looks for the next block whose magic, own offset
 * and checksum are right. Memory: the window grows with the bytes that really arrive, up to one block's header and
 * BH_RECORDER_BLOCK_MAX stored bytes; plus one unpacked block.
 */
#pragma once
#include "recorder/format.h"

typedef enum {
        BH_READ_OK,      /* a record, or a block */
        BH_READ_END,     /* the end, after a good trailer */
        BH_READ_OPEN,    /* the end, on a block's border, without a trailer */
        BH_READ_TORN,    /* the end, within a block: `torn_bytes` */
        BH_READ_DAMAGE,  /* `damage_bytes` unreadable bytes were skipped; go on */
        BH_READ_FAILED,  /* the system refused: `err` */
} BhRead;

typedef struct {
        int fd;            /* borrowed */
        gboolean seekable; /* read with pread(2) from 0 */
        gboolean drained;  /* no more bytes behind the window */
        int err;
        guint8 *buf; /* the window: buf[at, have) */
        gsize at, have, room;
        guint64 pos; /* offset in the file of buf[at] */

        BhFileHeader head;
        guint64 salt;
        BhTrailer trailer; /* valid when `closed` */
        gboolean closed;
        gboolean head_lost; /* the file header was unreadable, and this has not been said yet */

        BhFilter filter;
        ZSTD_DCtx *dctx;
        guint8 *raw;
        gsize raw_room;
        const guint8 *rec, *rec_end;

        guint8 *index;
        gsize index_len, index_at;

        BhBlock block; /* of the last OK of bh_reader_block(), valid until the next call */
        guint64 damage_bytes, torn_bytes;
        guint64 good_end; /* where the last good block ended */
        guint64 blocks_read, blocks_skipped, lost;
} BhReader;

/* Takes no ownership of `fd`. The filter lets everything through. */
void bh_reader_init(BhReader *r, int fd, gboolean seekable);
void bh_reader_clear(BhReader *r);

/* Reads the file header. A seekable file with a damaged one is opened by its trailer, if that is whole. */
gboolean bh_reader_open(BhReader *r, const char *name, GError **error);
/* Seekable only: reads the trailer (sets `closed`) and, when `with_index`, the index, by which records are then found. */
void bh_reader_load_trailer(BhReader *r, gboolean with_index);

/* The next block of any kind that the filter lets through, checksum verified but not unpacked. */
BhRead bh_reader_block(BhReader *r);
/* The next record that the filter lets through. */
BhRead bh_reader_record(BhReader *r, BhRecord *out);
