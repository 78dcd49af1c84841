/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file format of segments and captures (version 1), and its codec. Private to src/recorder and its tests.
 *
 *     file    = BhFileHeader  block*  [index block  BhTrailer]
 *     block   = BhBlockFixed  mark (padded to 8)  container set (u64 each)  payload
 *     payload = record*, as it is or one zstd frame;  record = BhRecordHead  data
 *     index   = a block of kind INDEX whose records' place is taken by the headers (all before the payload) of all blocks
 *
 * All integers are little-endian. Checksums are XXH64 with the file's random salt as seed, and each block states its own offset:
 * a reader that looks for the next block behind a damaged place cannot be led astray by bytes inside a payload, which attackers
 * choose (they never see the salt of a file they may not read). The trailer repeats the salt, so that a closed segment
 * survives the loss of its file header.
 */
#pragma once
#include <zstd.h>

#include "recorder/recorder.h"

_Static_assert(G_BYTE_ORDER == G_LITTLE_ENDIAN, "the format is written as it lies in memory");

#define BH_FORMAT_VERSION 1u
#define BH_FILE_MAGIC "\x89" "BHREC\r\n"
#define BH_BLOCK_MAGIC "\xb1" "BHblk\r\n"
#define BH_TRAILER_MAGIC "\xe5" "BHend\r\n"
#define BH_MAGIC_LEN 8u

#define BH_SET_MAX 256u
#define BH_BLOOM_BITS (BH_SET_MAX * 64u)

typedef struct {
        char magic[8];
        guint32 version;
        guint32 bytes; /* of this header */
        guint64 salt;
        guint64 created_ns;
        guint64 number; /* of the segment; 0 for a capture */
        guint32 schema;
        guint32 reserved;
        char node[128];
        guint64 hash; /* of all before, seeded with the salt */
} BhFileHeader;
_Static_assert(sizeof(BhFileHeader) == 184, "on-disk size");

enum { BH_BLOCK_RECORDS = 1, BH_BLOCK_INDEX = 2 };
enum {
        BH_BLOCK_ZSTD = 1,  /* payload is compressed */
        BH_BLOCK_BLOOM = 2, /* the set is a Bloom filter of BH_BLOOM_BITS: more than BH_SET_MAX containers */
};

typedef struct {
        char magic[8];
        guint64 hash;         /* of the header from the next field to the payload */
        guint64 payload_hash; /* of the payload as stored */
        guint64 offset;       /* of this block in the file */
        guint32 number;       /* of this block in the file, from 0 */
        guint32 kind;
        guint32 raw_bytes;
        guint32 stored_bytes; /* <= raw_bytes */
        guint32 count;
        guint32 flags;
        guint32 set_len; /* u64 words */
        guint32 mark_len;
        guint32 mark_count; /* so many of the records are covered by the mark */
        guint32 reserved;
        guint64 lost_before; /* records lost between the block before and this one */
        guint64 min_seq, max_seq;
        guint64 min_time, max_time;
} BhBlockFixed;
_Static_assert(sizeof(BhBlockFixed) == 112, "on-disk size");

#define BH_BLOCK_HEAD_MAX (sizeof(BhBlockFixed) + BH_RECORDER_MARK_MAX + 8u * BH_SET_MAX)

typedef struct {
        char magic[8];
        guint64 salt;
        guint64 index_offset; /* 0 = no index (it would have been too large) */
        guint64 records;
        guint64 min_seq, max_seq;
        guint64 min_time, max_time;
        guint32 blocks;
        guint32 reserved;
        guint64 hash; /* of all before */
} BhTrailer;
_Static_assert(sizeof(BhTrailer) == 80, "on-disk size");

typedef struct {
        guint32 len;
        guint32 reserved;
        guint64 time_ns, container, seq;
} BhRecordHead;
_Static_assert(sizeof(BhRecordHead) == 32, "on-disk size");

typedef struct {
        guint64 from_ns, to_ns, container, from_seq;
} BhFilter;

/* ---- file header and trailer */

void bh_file_header_init(BhFileHeader *h, const char *node, guint32 schema, guint64 number);
/* FALSE with BH_RECORDER_ERROR_NOT_CAPTURE, _VERSION or _CORRUPT. Terminates h->node. */
gboolean bh_file_header_check(BhFileHeader *h, const char *name, GError **error);
void bh_trailer_seal(BhTrailer *t, guint64 salt);
gboolean bh_trailer_check(const BhTrailer *t);

/* ---- writing blocks */

typedef struct {
        ZSTD_CCtx *ctx;
        int level;
        guint8 *out; /* the block: header and payload */
        gsize out_len, out_room;
        gsize head_len;
} BhBlockEncoder;

void bh_block_encoder_init(BhBlockEncoder *e, int level);
void bh_block_encoder_clear(BhBlockEncoder *e);
/* Packs well-formed records (or index entries, for which `count` is the caller's) into e->out; then bh_block_seal() for its place. */
void bh_block_pack(BhBlockEncoder *e, guint32 kind, const guint8 *raw, guint32 raw_bytes, guint32 count, const guint8 *mark,
                   guint32 mark_len, guint32 mark_count, guint64 lost_before);
void bh_block_seal(BhBlockEncoder *e, guint64 salt, guint64 offset, guint32 number);
static inline const BhBlockFixed *bh_block_encoder_head(const BhBlockEncoder *e) {
        return (const BhBlockFixed *) (const void *) e->out;
}

/* What a file's trailer and index are made from. */
typedef struct {
        BhTrailer t;
        GByteArray *heads;
} BhIndexBuilder;

void bh_index_init(BhIndexBuilder *b);
void bh_index_clear(BhIndexBuilder *b);
void bh_index_add(BhIndexBuilder *b, const guint8 *head, gsize head_len);
/* Makes the bytes that close a file whose blocks end at `offset`. Caller frees. */
GByteArray *bh_index_finish(BhIndexBuilder *b, BhBlockEncoder *e, guint64 salt, guint64 offset);

/* ---- reading blocks */

typedef struct {
        BhBlockFixed f;
        const guint8 *mark, *set; /* into the bytes parsed */
        gsize head_len;
} BhBlock;

typedef enum { BH_PARSE_OK, BH_PARSE_SHORT, BH_PARSE_BAD } BhParse;

/* Parses a block header of which `have` bytes are there. SHORT: *need bytes are wanted. `offset` G_MAXUINT64 = not checked. */
BhParse bh_block_parse(const guint8 *p, gsize have, guint64 salt, guint64 offset, BhBlock *out, gsize *need);
gboolean bh_block_payload_ok(const BhBlock *b, const guint8 *payload, guint64 salt);
/* Unpacks a payload whose checksum was good into *raw (grown to fit, at most BH_RECORDER_BLOCK_MAX), and checks the records. */
gboolean bh_block_unpack(const BhBlock *b, const guint8 *payload, ZSTD_DCtx *ctx, guint8 **raw, gsize *room);

/* Takes one record off [*p, end). FALSE if it does not fit. */
gboolean bh_record_take(const guint8 **p, const guint8 *end, BhRecord *out);

gboolean bh_filter_block(const BhFilter *f, const BhBlock *b);
gboolean bh_filter_trailer(const BhFilter *f, const BhTrailer *t);
gboolean bh_filter_record(const BhFilter *f, const BhRecord *r);
