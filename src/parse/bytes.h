/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading hostile bytes: a window that remembers that it was left. After the first read beyond the end `bad` stays set and every read
 * gives 0, so that a parser may check once, at the end. Nothing is copied or owned. Network byte order but for the _le functions.
 */
#pragma once
#include <glib.h>
#include <string.h>

typedef struct {
        const guint8 *at, *end;
        gboolean bad;
} BhBytes;

static inline BhBytes bh_bytes(const void *p, gsize n) {
        return (BhBytes) { .at = p, .end = n ? (const guint8 *) p + n : p };
}

static inline gsize bh_bytes_left(const BhBytes *b) {
        return b->bad || !b->at ? 0 : (gsize) (b->end - b->at);
}

/* NULL when there are not so many. */
static inline const guint8 *bh_bytes_take(BhBytes *b, gsize n) {
        if (b->bad || n > bh_bytes_left(b)) {
                b->bad = TRUE;
                return NULL;
        }
        b->at += n;
        return b->at - n;
}

static inline guint32 bh_bytes_number(BhBytes *b, guint n) {
        const guint8 *p = bh_bytes_take(b, n);
        guint32 v = 0;

        for (guint i = 0; p && i < n; i++)
                v = v << 8 | p[i];
        return v;
}

static inline guint32 bh_bytes_number_le(BhBytes *b, guint n) {
        const guint8 *p = bh_bytes_take(b, n);
        guint32 v = 0;

        for (guint i = n; p && i-- > 0;)
                v = v << 8 | p[i];
        return v;
}

static inline guint8 bh_bytes_u8(BhBytes *b) {
        return (guint8) bh_bytes_number(b, 1);
}

static inline guint16 bh_bytes_u16(BhBytes *b) {
        return (guint16) bh_bytes_number(b, 2);
}

static inline guint32 bh_bytes_u32(BhBytes *b) {
        return bh_bytes_number(b, 4);
}

/* The next n bytes as a window of their own; where there are fewer, those that there are, and `b` is bad from then on. */
static inline BhBytes bh_bytes_sub(BhBytes *b, gsize n) {
        BhBytes sub = bh_bytes(b->at, MIN(n, bh_bytes_left(b)));

        bh_bytes_take(b, n);
        return sub;
}

static inline gboolean bh_bytes_starts(const BhBytes *b, const char *with) {
        gsize n = strlen(with);

        return bh_bytes_left(b) >= n && memcmp(b->at, with, n) == 0;
}
