/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.0 and 1.1 (RFC 9112) of one connection, both directions, as http.h says: pipelined, chunked, compressed, and written by somebody who wants two
 * programs to read it differently. What is ambiguous is flagged, and read as most servers do: Transfer-Encoding before Content-Length, the first of
 * several Content-Length.
 *
 * After "101 Switching Protocols" and after an accepted CONNECT the bytes are of another protocol: bh_http1_feed() then takes no more and the state says
 * which. What a client sends behind a CONNECT before it is answered is not looked at. BROKEN: a first line that is none, or a gap in a head; there is
 * no way to find the next message for certain.
 *
 * One thread at a time.
 */
#pragma once
#include "parse/http.h"

typedef enum {
        BH_HTTP1_GOING,
        BH_HTTP1_BROKEN,
        BH_HTTP1_TUNNEL,    /* CONNECT */
        BH_HTTP1_WEBSOCKET,
        BH_HTTP1_H2C,       /* HTTP/2; its stream 1 is the answer to the request that asked for it */
        BH_HTTP1_OTHER,     /* another protocol */
} BhHttp1State;

typedef struct BhHttp1 BhHttp1;

/* body_keep 0 = BH_HTTP_BODY_KEEP. */
BhHttp1 *bh_http1_new(gsize body_keep, const BhHttpSink *sink);
/* Tells what is open as cut. NULL is allowed. */
void bh_http1_free(BhHttp1 *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhHttp1, bh_http1_free)

/* How many bytes it took: all of them but for what belongs to the next protocol, or comes after a break. at_ns: the feeder's clock. */
gsize bh_http1_feed(BhHttp1 *p, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns);
/* n bytes of this direction were not captured. */
void bh_http1_gap(BhHttp1 *p, gboolean client, guint64 n);
BhHttp1State bh_http1_state(const BhHttp1 *p);
/* With H2C: the request that asked. NULL when it was taken before or never seen. Caller frees. */
BhHttpMessage *bh_http1_steal_upgraded(BhHttp1 *p);
/*
 * Requests of which only the method was kept until their answer, because BH_HTTP_OPEN_MAX waited: their exchange has an empty target and is
 * flagged. More than 1,024 that wait are BROKEN.
 */
guint64 bh_http1_dropped(const BhHttp1 *p);
