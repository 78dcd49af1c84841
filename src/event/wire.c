/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf wire format, https://protobuf.dev/programming-guides/encoding/, without an object in between. */
#include "event/codec.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* Per kind. */
static const guint8 wire_of[] = {
        [BH_KIND_U64] = WIRE_VARINT,  [BH_KIND_I64] = WIRE_VARINT,   [BH_KIND_U32] = WIRE_VARINT, [BH_KIND_I32] = WIRE_VARINT, [BH_KIND_BOOL] = WIRE_VARINT,
        [BH_KIND_TIME] = WIRE_FIXED64, [BH_KIND_HEX] = WIRE_VARINT,   [BH_KIND_KEY] = WIRE_VARINT, [BH_KIND_STR] = WIRE_BYTES,   [BH_KIND_LIST] = WIRE_BYTES,
        [BH_KIND_PAIRS] = WIRE_BYTES, [BH_KIND_IP] = WIRE_BYTES,     [BH_KIND_BYTES] = WIRE_BYTES, [BH_KIND_ENUM] = WIRE_VARINT, [BH_KIND_FLAGS] = WIRE_VARINT,
};

/* Field index + 1 by field number. */
static const guint8 by_number[] = {
#define BH_FIELD(num, kind, member, name, doc) [num] = BH_F_##member + 1,
#include "event/fields.tbl.h"
};
_Static_assert(BH_F_COUNT < 255, "by_number holds an index in a byte");
#define BH_FIELD(num, kind, member, name, doc) _Static_assert(num > 0 && num < 2048, "a tag is at most two bytes");
#include "event/fields.tbl.h"

G_DEFINE_QUARK(bh-event-error-quark, bh_event_error)

static inline guint8 *put_varint(guint8 *p, guint64 v) {
        while (v >= 0x80) {
                *p++ = (guint8) (v | 0x80);
                v >>= 7;
        }
        *p++ = (guint8) v;
        return p;
}

static inline guint64 zigzag(gint64 v) {
        return (guint64) v << 1 ^ (guint64) (v >> 63);
}

static inline gint64 unzigzag(guint64 v) {
        return (gint64) (v >> 1 ^ (0 - (v & 1)));
}

void bh_event_encode(const struct bh_event *e, GByteArray *out) {
        gsize bound = 0;
        guint old = out->len;

        for (guint w = 0; w < G_N_ELEMENTS(e->has); w++) {
                for (guint64 bits = e->has[w]; bits; bits &= bits - 1) {
                        const struct bh_field_info *f = &bh_fields[w * 64 + (guint) __builtin_ctzll(bits)];

                        bound += 2 + 18;
                        if (wire_of[f->kind] == WIRE_BYTES && f->kind != BH_KIND_IP)
                                bound += ((const struct bh_str *) ((const char *) e + f->offset))->len;
                }
        }
        if (!bound)
                return; /* an empty array has no memory yet */
        g_byte_array_set_size(out, old + (guint) bound);

        guint8 *p = out->data + old;

        for (guint w = 0; w < G_N_ELEMENTS(e->has); w++) {
                for (guint64 bits = e->has[w]; bits; bits &= bits - 1) {
                        const struct bh_field_info *f = &bh_fields[w * 64 + (guint) __builtin_ctzll(bits)];
                        const void *v = (const char *) e + f->offset;

                        p = put_varint(p, f->number << 3 | wire_of[f->kind]);
                        switch ((enum bh_kind) f->kind) {
                        case BH_KIND_U64:
                        case BH_KIND_HEX:
                        case BH_KIND_KEY:
                        case BH_KIND_FLAGS:
                                p = put_varint(p, *(const guint64 *) v);
                                break;
                        case BH_KIND_I64:
                                p = put_varint(p, zigzag(*(const gint64 *) v));
                                break;
                        case BH_KIND_U32:
                        case BH_KIND_ENUM:
                                p = put_varint(p, *(const guint32 *) v);
                                break;
                        case BH_KIND_I32:
                                p = put_varint(p, zigzag(*(const gint32 *) v) & G_MAXUINT32);
                                break;
                        case BH_KIND_BOOL:
                                *p++ = *(const gboolean *) v != 0;
                                break;
                        case BH_KIND_TIME: {
                                guint64 le = GUINT64_TO_LE(*(const guint64 *) v);

                                memcpy(p, &le, 8);
                                p += 8;
                                break;
                        }
                        case BH_KIND_IP: {
                                const struct bh_ip *ip = v;

                                *p++ = ip->len == 4 ? 4 : 16;
                                memcpy(p, ip->b, p[-1]);
                                p += p[-1];
                                break;
                        }
                        case BH_KIND_STR:
                        case BH_KIND_LIST:
                        case BH_KIND_PAIRS:
                        case BH_KIND_BYTES: {
                                const struct bh_str *s = v;

                                p = put_varint(p, s->len);
                                if (s->len)
                                        memcpy(p, s->p, s->len);
                                p += s->len;
                                break;
                        }
                        }
                }
        }
        g_byte_array_set_size(out, (guint) (p - out->data));
}

/* FALSE: runs over the end or over 64 bits. */
static inline gboolean get_varint(const guint8 **p, const guint8 *end, guint64 *out) {
        guint64 v = 0;

        for (guint shift = 0; shift < 64 && *p < end; shift += 7) {
                guint8 byte = *(*p)++;

                if (shift == 63 && byte > 1)
                        return FALSE;
                v |= (guint64) (byte & 0x7f) << shift;
                if (!(byte & 0x80)) {
                        *out = v;
                        return TRUE;
                }
        }
        return FALSE;
}

static gboolean bad(GError **error, const guint8 *data, const guint8 *at, const char *what) {
        g_set_error(error, BH_EVENT_ERROR, 0, "event message is malformed at byte %zu: %s", (size_t) (at - data), what);
        return FALSE;
}

gboolean bh_event_decode(struct bh_event *e, const void *data, gsize len, GError **error) {
        const guint8 *start = data ? data : (const void *) "", *p = start, *end = p + len;

        memset(e, 0, sizeof(*e));
        while (p < end) {
                const guint8 *at = p;
                guint64 tag, n = 0;
                guint64 fixed = 0;

                if (!get_varint(&p, end, &tag))
                        return bad(error, start, at, "tag runs over the end");
                if (tag >> 3 == 0 || tag > G_MAXUINT32)
                        return bad(error, start, at, "no such field number");

                guint wire = tag & 7;
                switch (wire) {
                case WIRE_VARINT:
                        if (!get_varint(&p, end, &n))
                                return bad(error, start, at, "number runs over the end or over 64 bits");
                        break;
                case WIRE_FIXED64:
                        if (end - p < 8)
                                return bad(error, start, at, "number runs over the end");
                        memcpy(&fixed, p, 8);
                        fixed = GUINT64_FROM_LE(fixed);
                        p += 8;
                        break;
                case WIRE_FIXED32:
                        if (end - p < 4)
                                return bad(error, start, at, "number runs over the end");
                        p += 4;
                        break;
                case WIRE_BYTES:
                        if (!get_varint(&p, end, &n) || n > (guint64) (end - p) || n > G_MAXUINT32)
                                return bad(error, start, at, "bytes run over the end");
                        p += n;
                        break;
                default:
                        return bad(error, start, at, "no such wire type");
                }

                guint i = tag >> 3 < G_N_ELEMENTS(by_number) ? by_number[tag >> 3] : 0;
                if (!i--)
                        continue; /* from a newer version */

                const struct bh_field_info *f = &bh_fields[i];
                void *v = (char *) e + f->offset;

                if (wire != wire_of[f->kind])
                        return bad(error, start, at, "field has the wire type of another kind");
                switch ((enum bh_kind) f->kind) {
                case BH_KIND_U64:
                case BH_KIND_HEX:
                case BH_KIND_KEY:
                case BH_KIND_FLAGS:
                        *(guint64 *) v = n;
                        break;
                case BH_KIND_I64:
                        *(gint64 *) v = unzigzag(n);
                        break;
                case BH_KIND_U32:
                case BH_KIND_ENUM:
                        if (n > G_MAXUINT32)
                                return bad(error, start, at, "number runs over 32 bits");
                        *(guint32 *) v = (guint32) n;
                        break;
                case BH_KIND_I32:
                        if (n > G_MAXUINT32)
                                return bad(error, start, at, "number runs over 32 bits");
                        *(gint32 *) v = (gint32) unzigzag(n);
                        break;
                case BH_KIND_BOOL:
                        *(gboolean *) v = n != 0;
                        break;
                case BH_KIND_TIME:
                        *(guint64 *) v = fixed;
                        break;
                case BH_KIND_IP:
                        if (n != 4 && n != 16)
                                return bad(error, start, at, "address is neither 4 nor 16 bytes");
                        *(struct bh_ip *) v = (struct bh_ip){ .len = (guint8) n };
                        memcpy(((struct bh_ip *) v)->b, p - n, n);
                        break;
                case BH_KIND_STR:
                case BH_KIND_LIST:
                case BH_KIND_PAIRS:
                case BH_KIND_BYTES:
                        *(struct bh_str *) v = (struct bh_str){ (const char *) p - n, (guint32) n };
                        break;
                }
                bh_event_mark(e, i);
        }
        return TRUE;
}
