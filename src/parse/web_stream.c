/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/web_stream.h"

#include <string.h>

#include "parse/http1.h"
#include "parse/http2.h"
#include "parse/proxy_header.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define TLS_HANDSHAKE 22
G_STATIC_ASSERT(sizeof(preface) - 1 == BH_WEB_STREAM_HELD);

struct BhWebStream {
        gsize keep;
        BhHttpSink sink;
        BhWebState state;
        BhHttp1 *http1;
        BhHttp2 *http2;
        BhWebsocket frames[2]; /* server's, client's */
        BhProxyHeader proxy;   /* of the client, until … */
        gboolean opened;       /* … it is over, or known to be none */
        guint8 held[BH_WEB_STREAM_HELD]; /* of the client, while it begins */
        guint held_len;
};

BhWebStream *bh_web_stream_new(gsize body_keep, const BhHttpSink *sink) {
        BhWebStream *s = g_new0(BhWebStream, 1);

        s->keep = body_keep;
        s->sink = *sink;
        return s;
}

/* What is left of a piece after HTTP/1 ended in it. */
static void go_on(BhWebStream *s, gboolean client, const guint8 *rest, gsize len, gint64 at_ns) {
        switch (bh_http1_state(s->http1)) {
        case BH_HTTP1_GOING:
                return;
        case BH_HTTP1_BROKEN:
                s->state = BH_WEB_BROKEN;
                return;
        case BH_HTTP1_TUNNEL:
                s->state = BH_WEB_TUNNEL;
                return;
        case BH_HTTP1_OTHER:
                s->state = BH_WEB_OTHER;
                return;
        case BH_HTTP1_WEBSOCKET:
                s->state = BH_WEB_WEBSOCKET;
                bh_websocket_feed(&s->frames[client ? 1 : 0], rest, len);
                return;
        case BH_HTTP1_H2C:
                s->state = BH_WEB_HTTP2;
                s->http2 = bh_http2_new(s->keep, &s->sink, bh_http1_steal_upgraded(s->http1));
                if (!bh_http2_feed(s->http2, client, rest, len, at_ns))
                        s->state = BH_WEB_BROKEN;
        }
}

static void feed_http1(BhWebStream *s, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns) {
        gsize n = bh_http1_feed(s->http1, client, bytes, len, at_ns);

        go_on(s, client, bytes + n, len - n, at_ns);
}

static void feed(BhWebStream *s, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns) {
        switch (s->state) {
        case BH_WEB_HTTP1:
                feed_http1(s, client, bytes, len, at_ns);
                break;
        case BH_WEB_HTTP2:
                if (!bh_http2_feed(s->http2, client, bytes, len, at_ns))
                        s->state = BH_WEB_BROKEN;
                break;
        case BH_WEB_WEBSOCKET:
                bh_websocket_feed(&s->frames[client ? 1 : 0], bytes, len);
                break;
        default:
                break;
        }
}

/* It is known now: what was held goes first. */
static void begin(BhWebStream *s, gboolean http2, gint64 at_ns) {
        s->state = http2 ? BH_WEB_HTTP2 : BH_WEB_HTTP1;
        if (http2)
                s->http2 = bh_http2_new(s->keep, &s->sink, NULL);
        else
                s->http1 = bh_http1_new(s->keep, &s->sink);
        feed(s, TRUE, s->held, s->held_len, at_ns);
        s->held_len = 0;
}

/* A byte of the client, in BEGINS. */
static void look_at(BhWebStream *s, guint8 byte, gint64 at_ns) {
        if (s->proxy.found && !s->held_len && byte == TLS_HANDSHAKE) {
                s->state = BH_WEB_OTHER;
                return;
        }
        gboolean same = byte == (guint8) preface[s->held_len];

        s->held[s->held_len++] = byte;
        if (!same || s->held_len == BH_WEB_STREAM_HELD)
                begin(s, same, at_ns);
}

/* What a proxy says is over, or there is none: what was held goes on. */
static void open_up(BhWebStream *s, gint64 at_ns) {
        guint at = 0;

        s->opened = TRUE;
        while (s->state == BH_WEB_BEGINS && at < s->proxy.len)
                look_at(s, s->proxy.held[at++], at_ns);
        feed(s, TRUE, s->proxy.held + at, s->proxy.len - at, at_ns);
}

void bh_web_stream_free(BhWebStream *s) {
        if (!s)
                return;
        /* what was held was the begin of a first line */
        if (!s->opened)
                open_up(s, 0);
        if (s->state == BH_WEB_BEGINS && s->held_len)
                begin(s, FALSE, 0);
        bh_http1_free(s->http1);
        bh_http2_free(s->http2);
        g_free(s);
}

BhWebState bh_web_stream_feed(BhWebStream *s, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns) {
        gsize at = 0;

        if (s->state == BH_WEB_BEGINS && len && !client) {
                if (!s->opened)
                        open_up(s, at_ns);
                /* a server that speaks first: HTTP/2's begins with a SETTINGS frame */
                if (s->state == BH_WEB_BEGINS)
                        begin(s, s->held_len == 0 && len >= 9 && bytes[3] == 4 && memcmp(bytes + 5, "\0\0\0\0", 4) == 0, at_ns);
        }
        while (s->state == BH_WEB_BEGINS && at < len) {
                guint8 byte = bytes[at++];

                if (s->opened)
                        look_at(s, byte, at_ns);
                else if (bh_proxy_header_feed(&s->proxy, byte) == BH_PROXY_DONE)
                        open_up(s, at_ns);
        }
        feed(s, client, bytes + at, len - at, at_ns);
        return s->state;
}

BhWebState bh_web_stream_gap(BhWebStream *s, gboolean client, guint64 n) {
        if (!n)
                return s->state;
        switch (s->state) {
        case BH_WEB_BEGINS:
                if (client && !s->opened && bh_proxy_header_gap(&s->proxy, n)) {
                        s->opened = !s->proxy.passing;
                        break;
                }
                if (!s->opened)
                        open_up(s, 0);
                if (s->state == BH_WEB_BEGINS)
                        begin(s, FALSE, 0);
                if (s->state != BH_WEB_HTTP1)
                        break;
                /* fall through */
        case BH_WEB_HTTP1:
                bh_http1_gap(s->http1, client, n);
                go_on(s, client, NULL, 0, 0);
                break;
        case BH_WEB_HTTP2:
                if (!bh_http2_gap(s->http2, client, n))
                        s->state = BH_WEB_BROKEN;
                break;
        case BH_WEB_WEBSOCKET:
                bh_websocket_gap(&s->frames[client ? 1 : 0], n);
                break;
        default:
                break;
        }
        return s->state;
}

const BhWebsocket *bh_web_stream_websocket(const BhWebStream *s, gboolean client) {
        return &s->frames[client ? 1 : 0];
}

guint64 bh_web_stream_dropped(const BhWebStream *s) {
        return (s->http1 ? bh_http1_dropped(s->http1) : 0) + (s->http2 ? bh_http2_dropped(s->http2) : 0);
}

const char *bh_web_state_name(BhWebState state) {
        static const char *const names[BH_WEB_STATES] = { "begins", "http/1", "http/2", "websocket", "tunnel", "other", "broken" };

        return (guint) state < BH_WEB_STATES ? names[state] : "?";
}
