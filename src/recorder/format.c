/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder/format.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

GQuark bh_recorder_error_quark(void) {
        return g_quark_from_static_string("bh-recorder-error");
}

void bh_file_header_init(BhFileHeader *h, const char *node, guint32 schema, guint64 number) {
        *h = (BhFileHeader) {
                .version = BH_FORMAT_VERSION,
                .bytes = sizeof(*h),
                .created_ns = (guint64) g_get_real_time() * 1000,
                .number = number,
                .schema = schema,
        };
        memcpy(h->magic, BH_FILE_MAGIC, sizeof(h->magic));
        if (node)
                g_strlcpy(h->node, node, sizeof(h->node));
        if (getrandom(&h->salt, sizeof(h->salt), 0) != (ssize_t) sizeof(h->salt))
                h->salt = ((guint64) g_random_int() << 32) | g_random_int();
        h->hash = XXH64(h, G_STRUCT_OFFSET(BhFileHeader, hash), h->salt);
}

gboolean bh_file_header_check(BhFileHeader *h, const char *name, GError **error) {
        if (memcmp(h->magic, BH_FILE_MAGIC, sizeof(h->magic)) != 0) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_NOT_CAPTURE, "%s is not a Bulkhead capture", name);
                return FALSE;
        }
        if (h->version != BH_FORMAT_VERSION) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_VERSION,
                            "%s has capture format %u; this program reads format %u", name, h->version, BH_FORMAT_VERSION);
                return FALSE;
        }
        if (h->bytes != sizeof(*h) || h->hash != XXH64(h, G_STRUCT_OFFSET(BhFileHeader, hash), h->salt)) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_CORRUPT, "the file header of %s is damaged", name);
                return FALSE;
        }
        h->node[sizeof(h->node) - 1] = '\0';
        return TRUE;
}

void bh_trailer_seal(BhTrailer *t, guint64 salt) {
        memcpy(t->magic, BH_TRAILER_MAGIC, sizeof(t->magic));
        t->salt = salt;
        t->hash = XXH64(t, G_STRUCT_OFFSET(BhTrailer, hash), salt);
}

gboolean bh_trailer_check(const BhTrailer *t) {
        return memcmp(t->magic, BH_TRAILER_MAGIC, sizeof(t->magic)) == 0 &&
               t->hash == XXH64(t, G_STRUCT_OFFSET(BhTrailer, hash), t->salt);
}

/* ---- the container set: sorted hashes, or a Bloom filter when there are too many */

static int compare_u64(const void *a, const void *b) {
        guint64 x, y;

        memcpy(&x, a, sizeof(x));
        memcpy(&y, b, sizeof(y));
        return x < y ? -1 : x > y;
}

/* Four bit positions from one well-mixed word. */
static void bloom_bits(guint64 container, guint32 bits[4]) {
        guint64 h = XXH64(&container, sizeof(container), 0);

        for (int i = 0; i < 4; i++)
                bits[i] = (guint32) (h >> (16 * i)) % BH_BLOOM_BITS;
}

static gboolean set_has(const BhBlock *b, guint64 container) {
        if (b->f.flags & BH_BLOCK_BLOOM) {
                guint32 bits[4];

                bloom_bits(container, bits);
                for (int i = 0; i < 4; i++)
                        if (!(b->set[bits[i] / 8] & (1u << (bits[i] % 8))))
                                return FALSE;
                return TRUE;
        }
        return b->f.set_len && bsearch(&container, b->set, b->f.set_len, sizeof(container), compare_u64) != NULL;
}

/* Fills the parts of the header that come from walking the records, and `set`. */
static void describe_records(BhBlockFixed *f, const guint8 *raw, guint64 set[BH_SET_MAX]) {
        enum { SLOTS = 1024 };
        guint64 table[SLOTS];
        guint8 used[SLOTS] = { 0 };
        const guint8 *p = raw, *end = raw + f->raw_bytes;
        guint64 last = 0;
        guint32 distinct = 0;
        BhRecord rec;

        f->min_seq = f->min_time = G_MAXUINT64;
        while (p < end && bh_record_take(&p, end, &rec)) {
                f->min_seq = MIN(f->min_seq, rec.seq);
                f->max_seq = MAX(f->max_seq, rec.seq);
                f->min_time = MIN(f->min_time, rec.time_ns);
                f->max_time = MAX(f->max_time, rec.time_ns);
                if (distinct > BH_SET_MAX || (f->count && rec.container == last)) {
                        f->count++;
                        continue;
                }
                last = rec.container;
                f->count++;
                guint32 slot = (guint32) (XXH64(&last, sizeof(last), 0) % SLOTS);
                while (used[slot] && table[slot] != last)
                        slot = (slot + 1) % SLOTS;
                if (!used[slot]) {
                        used[slot] = 1;
                        table[slot] = last;
                        if (distinct < BH_SET_MAX)
                                set[distinct] = last;
                        distinct++;
                }
        }
        if (!f->count)
                f->min_seq = f->min_time = 0;
        if (distinct <= BH_SET_MAX) {
                qsort(set, distinct, sizeof(*set), compare_u64);
                f->set_len = distinct;
                return;
        }
        f->flags |= BH_BLOCK_BLOOM;
        f->set_len = BH_SET_MAX;
        memset(set, 0, BH_SET_MAX * sizeof(*set));
        for (p = raw; p < end && bh_record_take(&p, end, &rec);) {
                guint32 bits[4];

                bloom_bits(rec.container, bits);
                for (int i = 0; i < 4; i++)
                        ((guint8 *) set)[bits[i] / 8] |= (guint8) (1u << (bits[i] % 8));
        }
}

/* ---- writing */

void bh_block_encoder_init(BhBlockEncoder *e, int level) {
        *e = (BhBlockEncoder) { .ctx = ZSTD_createCCtx(), .level = CLAMP(level, 1, 3) };
        g_assert(e->ctx);
}

void bh_block_encoder_clear(BhBlockEncoder *e) {
        ZSTD_freeCCtx(e->ctx);
        g_free(e->out);
        *e = (BhBlockEncoder) { 0 };
}

void bh_block_pack(BhBlockEncoder *e, guint32 kind, const guint8 *raw, guint32 raw_bytes, guint32 count, const guint8 *mark,
                   guint32 mark_len, guint32 mark_count, guint64 lost_before) {
        BhBlockFixed f = {
                .kind = kind,
                .raw_bytes = raw_bytes,
                .mark_len = mark_len,
                .mark_count = mark_count,
                .lost_before = lost_before,
        };
        guint64 set[BH_SET_MAX];

        g_assert(raw_bytes <= BH_RECORDER_BLOCK_MAX && mark_len <= BH_RECORDER_MARK_MAX);
        memcpy(f.magic, BH_BLOCK_MAGIC, sizeof(f.magic));
        if (kind == BH_BLOCK_RECORDS)
                describe_records(&f, raw, set);
        else
                f.count = count;

        gsize mark_room = (mark_len + 7u) & ~7u;
        gsize need = BH_BLOCK_HEAD_MAX + MAX(ZSTD_compressBound(raw_bytes), raw_bytes);
        /* One large record must not keep its memory for ever. */
        if (e->out_room < need || (e->out_room > (4u << 20) && need < e->out_room / 4)) {
                g_free(e->out);
                e->out = g_malloc(need);
                e->out_room = need;
        }
        e->head_len = sizeof(f) + mark_room + 8u * f.set_len;

        guint8 *payload = e->out + e->head_len;
        gsize n = raw_bytes ? ZSTD_compressCCtx(e->ctx, payload, ZSTD_compressBound(raw_bytes), raw, raw_bytes, e->level) : 0;
        if (raw_bytes && !ZSTD_isError(n) && n < raw_bytes) {
                f.flags |= BH_BLOCK_ZSTD;
                f.stored_bytes = (guint32) n;
        } else {
                f.stored_bytes = raw_bytes;
                if (raw_bytes)
                        memcpy(payload, raw, raw_bytes);
        }
        memcpy(e->out, &f, sizeof(f));
        memset(e->out + sizeof(f), 0, mark_room);
        if (mark_len)
                memcpy(e->out + sizeof(f), mark, mark_len);
        if (f.set_len)
                memcpy(e->out + sizeof(f) + mark_room, set, 8u * f.set_len);
        e->out_len = e->head_len + f.stored_bytes;
}

static guint64 head_hash(const guint8 *head, gsize head_len, guint64 salt) {
        const gsize from = G_STRUCT_OFFSET(BhBlockFixed, payload_hash);

        return XXH64(head + from, head_len - from, salt);
}

void bh_block_seal(BhBlockEncoder *e, guint64 salt, guint64 offset, guint32 number) {
        BhBlockFixed f;

        memcpy(&f, e->out, sizeof(f));
        f.offset = offset;
        f.number = number;
        f.payload_hash = XXH64(e->out + e->head_len, f.stored_bytes, salt);
        memcpy(e->out, &f, sizeof(f));
        f.hash = head_hash(e->out, e->head_len, salt);
        memcpy(e->out, &f, sizeof(f));
}

void bh_index_init(BhIndexBuilder *b) {
        *b = (BhIndexBuilder) { .heads = g_byte_array_new() };
        b->t.min_seq = b->t.min_time = G_MAXUINT64;
}

void bh_index_clear(BhIndexBuilder *b) {
        if (b->heads)
                g_byte_array_unref(b->heads);
        *b = (BhIndexBuilder) { 0 };
}

void bh_index_add(BhIndexBuilder *b, const guint8 *head, gsize head_len) {
        BhBlockFixed f;

        memcpy(&f, head, sizeof(f));
        b->t.blocks++;
        if (f.count) {
                b->t.records += f.count;
                b->t.min_seq = MIN(b->t.min_seq, f.min_seq);
                b->t.max_seq = MAX(b->t.max_seq, f.max_seq);
                b->t.min_time = MIN(b->t.min_time, f.min_time);
                b->t.max_time = MAX(b->t.max_time, f.max_time);
        }
        if (b->heads->len <= BH_RECORDER_BLOCK_MAX)
                g_byte_array_append(b->heads, head, (guint) head_len);
}

GByteArray *bh_index_finish(BhIndexBuilder *b, BhBlockEncoder *e, guint64 salt, guint64 offset) {
        GByteArray *out = g_byte_array_new();

        b->t.index_offset = 0;
        if (b->heads->len <= BH_RECORDER_BLOCK_MAX) {
                bh_block_pack(e, BH_BLOCK_INDEX, b->heads->data, b->heads->len, b->t.blocks, NULL, 0, 0, 0);
                bh_block_seal(e, salt, offset, b->t.blocks);
                g_byte_array_append(out, e->out, (guint) e->out_len);
                b->t.index_offset = offset;
        }
        bh_trailer_seal(&b->t, salt);
        g_byte_array_append(out, (const guint8 *) &b->t, sizeof(b->t));
        return out;
}

/* ---- reading */

BhParse bh_block_parse(const guint8 *p, gsize have, guint64 salt, guint64 offset, BhBlock *out, gsize *need) {
        BhBlockFixed f;

        if (have < sizeof(f)) {
                *need = sizeof(f);
                return memcmp(p, BH_BLOCK_MAGIC, MIN(have, BH_MAGIC_LEN)) == 0 ? BH_PARSE_SHORT : BH_PARSE_BAD;
        }
        memcpy(&f, p, sizeof(f));
        if (memcmp(f.magic, BH_BLOCK_MAGIC, sizeof(f.magic)) != 0)
                return BH_PARSE_BAD;
        if ((offset != G_MAXUINT64 && f.offset != offset) || f.raw_bytes > BH_RECORDER_BLOCK_MAX || f.stored_bytes > f.raw_bytes ||
            f.set_len > BH_SET_MAX || f.mark_len > BH_RECORDER_MARK_MAX || f.mark_count > f.count ||
            (f.kind != BH_BLOCK_RECORDS && f.kind != BH_BLOCK_INDEX) || (f.flags & ~(guint32) (BH_BLOCK_ZSTD | BH_BLOCK_BLOOM)) ||
            (!(f.flags & BH_BLOCK_ZSTD) && f.stored_bytes != f.raw_bytes) || ((f.flags & BH_BLOCK_BLOOM) && f.set_len != BH_SET_MAX))
                return BH_PARSE_BAD;

        gsize mark_room = (f.mark_len + 7u) & ~7u;
        gsize head_len = sizeof(f) + mark_room + 8u * f.set_len;
        if (have < head_len) {
                *need = head_len;
                return BH_PARSE_SHORT;
        }
        if (f.hash != head_hash(p, head_len, salt))
                return BH_PARSE_BAD;
        *out = (BhBlock) { .f = f, .mark = p + sizeof(f), .set = p + sizeof(f) + mark_room, .head_len = head_len };
        return BH_PARSE_OK;
}

gboolean bh_block_payload_ok(const BhBlock *b, const guint8 *payload, guint64 salt) {
        return b->f.payload_hash == XXH64(payload, b->f.stored_bytes, salt);
}

gboolean bh_record_take(const guint8 **p, const guint8 *end, BhRecord *out) {
        BhRecordHead h;
        gsize have = (gsize) (end - *p);

        if (have < sizeof(h))
                return FALSE;
        memcpy(&h, *p, sizeof(h));
        if (h.len > have - sizeof(h))
                return FALSE;
        *out = (BhRecord) {
                .time_ns = h.time_ns,
                .container = h.container,
                .seq = h.seq,
                .data = *p + sizeof(h),
                .len = h.len,
        };
        *p += sizeof(h) + h.len;
        return TRUE;
}

gboolean bh_block_unpack(const BhBlock *b, const guint8 *payload, ZSTD_DCtx *ctx, guint8 **raw, gsize *room) {
        gsize raw_bytes = b->f.raw_bytes;

        if (*room < raw_bytes || !*raw) {
                g_free(*raw);
                *room = MAX(raw_bytes, 4096);
                *raw = g_malloc(*room);
        }
        if (b->f.flags & BH_BLOCK_ZSTD) {
                gsize n = ZSTD_decompressDCtx(ctx, *raw, raw_bytes, payload, b->f.stored_bytes);

                if (ZSTD_isError(n) || n != raw_bytes)
                        return FALSE;
        } else if (raw_bytes) {
                memcpy(*raw, payload, raw_bytes);
        }
        if (b->f.kind != BH_BLOCK_RECORDS)
                return TRUE;

        /* A good checksum says that the writer wrote this, not that the writer was one of ours. */
        const guint8 *p = *raw, *end = *raw + raw_bytes;
        BhRecord rec;
        guint32 count = 0;
        for (; p < end; count++)
                if (!bh_record_take(&p, end, &rec))
                        return FALSE;
        return count == b->f.count;
}

static gboolean ranges_overlap(const BhFilter *f, guint64 max_seq, guint64 min_time, guint64 max_time) {
        return max_seq >= f->from_seq && max_time >= f->from_ns && min_time <= f->to_ns;
}

/* The container as it is stored; FALSE = any will do. */
static gboolean wanted_container(const BhFilter *f, guint64 *container) {
        *container = f->container == G_MAXUINT64 ? 0 : f->container;
        return f->container != 0;
}

gboolean bh_filter_block(const BhFilter *f, const BhBlock *b) {
        guint64 container;

        return b->f.kind == BH_BLOCK_RECORDS && b->f.count && ranges_overlap(f, b->f.max_seq, b->f.min_time, b->f.max_time) &&
               (!wanted_container(f, &container) || set_has(b, container));
}

gboolean bh_filter_trailer(const BhFilter *f, const BhTrailer *t) {
        return t->records && ranges_overlap(f, t->max_seq, t->min_time, t->max_time);
}

gboolean bh_filter_record(const BhFilter *f, const BhRecord *r) {
        guint64 container;

        return r->seq >= f->from_seq && r->time_ns >= f->from_ns && r->time_ns <= f->to_ns &&
               (!wanted_container(f, &container) || r->container == container);
}
