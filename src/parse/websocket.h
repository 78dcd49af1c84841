/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a WebSocket connection (RFC 6455 §5.2), one direction: recognised and counted, not read. Bytes come in stream order in pieces of any size; nothing is kept of them.
 * After a frame that is none, `bad` stays set and nothing more is counted.
 */
#pragma once
#include <glib.h>

typedef struct {
        guint64 frames, bytes;                /* bytes: of payloads */
        guint64 texts, binaries, controls;    /* by kind; what goes on an earlier one is in `frames` alone */
        gboolean masked;                      /* the last one was: a client's must be */
        gboolean closed;                      /* a close frame came */
        gboolean bad;
        /* private: the head that it is in, and what is left of the payload */
        guint8 head[14];
        guint head_len;
        guint64 left;
} BhWebsocket;

/* *w begins as all zero. */
void bh_websocket_feed(BhWebsocket *w, const guint8 *bytes, gsize len);
/* n bytes were not captured: only inside a payload can it go on. */
void bh_websocket_gap(BhWebsocket *w, guint64 n);
