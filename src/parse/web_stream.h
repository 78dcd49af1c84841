/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection that speaks HTTP in any of its forms: tells by its first bytes whether it is HTTP/1 or HTTP/2, reads it (http1.h, http2.h), and follows it where it goes on as
 * something else: HTTP/2 after an upgrade, WebSocket frames (counted), or a protocol that is not read. What a proxy says before it is passed over (proxy_header.h); TLS behind that is a protocol that is not read (the sensor reads its clear text: payload.h).
 *
 * The state says whether it pays to go on: from TUNNEL, OTHER and BROKEN on nothing comes any more, so its bytes need not be captured. Bounds are those of the parsers, and at most
 * BH_WEB_STREAM_HELD bytes, or BH_PROXY_HELD, that are held until it is known what they are. One thread at a time.
 */
#pragma once
#include "parse/http.h"
#include "parse/websocket.h"

#define BH_WEB_STREAM_HELD 24u /* HTTP/2's first bytes */

typedef enum {
        BH_WEB_BEGINS,  /* not known yet */
        BH_WEB_HTTP1,
        BH_WEB_HTTP2,
        BH_WEB_WEBSOCKET,
        BH_WEB_TUNNEL,  /* CONNECT */
        BH_WEB_OTHER,   /* another protocol after an upgrade, or behind what a proxy says */
        BH_WEB_BROKEN,
        BH_WEB_STATES,
} BhWebState;

typedef struct BhWebStream BhWebStream;

/* body_keep 0 = BH_HTTP_BODY_KEEP. */
BhWebStream *bh_web_stream_new(gsize body_keep, const BhHttpSink *sink);
/* Tells what is open as cut. NULL is allowed. */
void bh_web_stream_free(BhWebStream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebStream, bh_web_stream_free)
/* The state afterwards. */
BhWebState bh_web_stream_feed(BhWebStream *s, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns);
/* n bytes of this direction were not captured. */
BhWebState bh_web_stream_gap(BhWebStream *s, gboolean client, guint64 n);
/* With WEBSOCKET: its counts of one direction; good as long as the stream. */
const BhWebsocket *bh_web_stream_websocket(const BhWebStream *s, gboolean client);
/* Requests and streams of which only a part was kept, because too many were open. */
guint64 bh_web_stream_dropped(const BhWebStream *s);
/* "http/1", …; "?" for another number. */
const char *bh_web_state_name(BhWebState state);
