/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113) of one connection from its first byte on, both directions, as http.h says: by prior knowledge, inside TLS, or after an upgrade from HTTP/1.1.
 * Field blocks are decompressed by libnghttp2 (RFC 7541); frames are read here, since a session of that library plays one of the two ends and refuses what
 * it did not ask for, while this only listens.
 *
 * Field compression has a state: after a gap in a field block, or after a damaged one, nothing more can be read (BROKEN). A gap in a body is passed over.
 *
 * Bounds beside those of http.h: BH_HTTP2_STREAMS_MAX streams (instead of BH_HTTP_OPEN_MAX; what is beyond is decompressed, dropped and counted), a frame of fields
 * BH_HTTP2_FRAME_MAX, a block in all its frames BH_HTTP2_BLOCK_MAX, a table of fields BH_HTTP2_TABLE_MAX of each direction. One thread at a time.
 */
#pragma once
#include "parse/http.h"

#define BH_HTTP2_STREAMS_MAX 64u
#define BH_HTTP2_DECODERS_MAX 8u /* bodies that are decoded at a time; others are kept as they were sent, and flagged "compression-unknown" */
#define BH_HTTP2_FRAME_MAX (64u << 10)
#define BH_HTTP2_BLOCK_MAX (256u << 10)
#define BH_HTTP2_TABLE_MAX (64u << 10)

typedef struct BhHttp2 BhHttp2;

/* body_keep 0 = BH_HTTP_BODY_KEEP. upgraded: the request that stream 1 answers, which is taken over and is not told again; or NULL. */
BhHttp2 *bh_http2_new(gsize body_keep, const BhHttpSink *sink, BhHttpMessage *upgraded);
/* Tells what is open as cut. NULL is allowed. */
void bh_http2_free(BhHttp2 *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhHttp2, bh_http2_free)
/* FALSE: it is broken, and was before or became it; bytes are then passed over. */
gboolean bh_http2_feed(BhHttp2 *p, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns);
/* n bytes of this direction were not captured. */
gboolean bh_http2_gap(BhHttp2 *p, gboolean client, guint64 n);
/* Streams that were not kept. */
guint64 bh_http2_dropped(const BhHttp2 *p);
