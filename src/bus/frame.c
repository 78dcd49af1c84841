/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/frame.h"

#include <string.h>

#include "bus/bus.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { KIND = 1, STREAM, SEQ, SUBJECT, BODY, ERROR_TEXT, DROPPED, CREDIT };

static guint varint_size(guint64 v) {
        guint n = 1;

        for (; v >= 0x80; v >>= 7)
                n++;
        return n;
}

static guint8 *put_varint(guint8 *p, guint64 v) {
        for (; v >= 0x80; v >>= 7)
                *p++ = (guint8) (v | 0x80);
        *p++ = (guint8) v;
        return p;
}

/* A field that is 0 or empty is not written, as proto3 has it. All our field numbers fit in one byte of tag. */
static gsize number_size(guint64 v) {
        return v ? 1u + varint_size(v) : 0;
}

static gsize bytes_size(BhBusSpan s) {
        return s.len ? 1u + varint_size(s.len) + s.len : 0;
}

static guint8 *put_number(guint8 *p, guint field, guint64 v) {
        if (!v)
                return p;
        *p++ = (guint8) (field << 3 | WIRE_VARINT);
        return put_varint(p, v);
}

static guint8 *put_bytes(guint8 *p, guint field, BhBusSpan s) {
        if (!s.len)
                return p;
        *p++ = (guint8) (field << 3 | WIRE_BYTES);
        p = put_varint(p, s.len);
        memcpy(p, s.data, s.len);
        return p + s.len;
}

void bh_bus_frame_append(GByteArray *out, const BhBusFrame *f) {
        gsize len = number_size(f->kind) + number_size(f->stream) + number_size(f->seq) + bytes_size(f->subject) + bytes_size(f->body) +
                    bytes_size(f->error) + number_size(f->dropped) + number_size(f->credit);
        guint at = out->len;

        g_assert(len <= BH_BUS_MAX_FRAME);
        g_byte_array_set_size(out, at + 4 + (guint) len);

        guint8 *p = out->data + at;
        guint32 le = GUINT32_TO_LE((guint32) len);
        memcpy(p, &le, 4);
        p = put_number(p + 4, KIND, f->kind);
        p = put_number(p, STREAM, f->stream);
        p = put_number(p, SEQ, f->seq);
        p = put_bytes(p, SUBJECT, f->subject);
        p = put_bytes(p, BODY, f->body);
        p = put_bytes(p, ERROR_TEXT, f->error);
        p = put_number(p, DROPPED, f->dropped);
        p = put_number(p, CREDIT, f->credit);
        g_assert(p == out->data + out->len);
}

static gboolean get_varint(const guint8 **p, const guint8 *end, guint64 *out) {
        guint64 v = 0;

        for (guint shift = 0; shift < 64 && *p < end; shift += 7) {
                guint8 b = *(*p)++;

                if (shift == 63 && b > 1)
                        return FALSE;
                v |= (guint64) (b & 0x7f) << shift;
                if (!(b & 0x80)) {
                        *out = v;
                        return TRUE;
                }
        }
        return FALSE;
}

gboolean bh_bus_frame_decode(const guint8 *data, gsize len, BhBusFrame *f) {
        const guint8 *p = data, *end = data + len;

        memset(f, 0, sizeof(*f));
        while (p < end) {
                guint64 tag, v = 0;
                guint wire;

                if (!get_varint(&p, end, &tag) || tag >> 3 == 0 || tag > G_MAXUINT32)
                        return FALSE;
                wire = (guint) (tag & 7);
                BhBusSpan span = { 0 };
                if (wire == WIRE_VARINT) {
                        if (!get_varint(&p, end, &v))
                                return FALSE;
                } else {
                        if (wire == WIRE_64)
                                v = 8;
                        else if (wire == WIRE_32)
                                v = 4;
                        else if (wire != WIRE_BYTES || !get_varint(&p, end, &v))
                                return FALSE;
                        if (v > (guint64) (end - p))
                                return FALSE;
                        span = (BhBusSpan) { p, (gsize) v };
                        p += v;
                }

                guint64 *number = NULL;
                BhBusSpan *bytes = NULL;
                switch (tag >> 3) {
                case KIND: number = &f->kind; break;
                case STREAM: number = &f->stream; break;
                case SEQ: number = &f->seq; break;
                case SUBJECT: bytes = &f->subject; break;
                case BODY: bytes = &f->body; break;
                case ERROR_TEXT: bytes = &f->error; break;
                case DROPPED: number = &f->dropped; break;
                case CREDIT: number = &f->credit; break;
                default: continue;
                }
                if (number ? wire != WIRE_VARINT : wire != WIRE_BYTES)
                        return FALSE;
                if (number)
                        *number = v;
                else
                        *bytes = span;
        }
        return TRUE;
}
