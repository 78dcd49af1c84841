/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the Unix socket: `Frame` of api/bus.proto behind a 32-bit little-endian length. Written by hand because a body then is
 * copied once and a decoder allocates nothing; the tests hold it against protobuf-c. Pure functions.
 */
#pragma once
#include <glib.h>

typedef enum {
        BH_BUS_HELLO = 1,
        BH_BUS_WELCOME,
        BH_BUS_MESSAGE,
        BH_BUS_ACK,
        BH_BUS_REQUEST,
        BH_BUS_CHUNK,
        BH_BUS_CREDIT,
        BH_BUS_END,
        BH_BUS_PING,
        BH_BUS_PONG,
} BhBusFrameKind;

typedef struct {
        const guint8 *data;
        gsize len;
} BhBusSpan;

/* The spans point into the bytes that were decoded. */
typedef struct {
        guint64 kind; /* a BhBusFrameKind, or one that we do not know */
        guint64 stream, seq, dropped, credit;
        BhBusSpan subject, body, error;
} BhBusFrame;

#define BH_BUS_SPAN_TEXT(text) ((BhBusSpan) { (const guint8 *) (text), strlen(text) })

/* Appends length and frame. The whole must be within BH_BUS_MAX_FRAME, which the bounds of its parts see to. */
void bh_bus_frame_append(GByteArray *out, const BhBusFrame *f);

/* One frame without its length. Fields that are not known are skipped. FALSE if the bytes are no Frame; *f is then undefined. */
gboolean bh_bus_frame_decode(const guint8 *data, gsize len, BhBusFrame *f);
