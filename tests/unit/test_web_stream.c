/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "parse/web_stream.h"

typedef struct {
        guint requests, exchanges;
        char *target;
        guint status;
} Got;

static void on_request(const BhHttpMessage *m, gpointer data) {
        ((Got *) data)->requests++;
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        Got *g = data;

        g->exchanges++;
        g_free(g->target);
        g->target = g_strdup(x->request ? x->request->target : "-");
        g->status = x->response ? x->response->status : 0;
}

typedef struct {
        gboolean client;
        const char *bytes;
        gsize len;
} Piece;
#define C(text) { TRUE, text, sizeof(text) - 1 }
#define S(text) { FALSE, text, sizeof(text) - 1 }

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_GET "\0\0\6\1\5\0\0\0\1\x82\x87\x84\x41\1a"
#define H2_OK "\0\0\1\1\5\0\0\0\1\x88"

static const struct {
        const char *name;
        Piece pieces[5];
        BhWebState state;
        guint exchanges;
        const char *target;
        guint status;
} cases[] = {
        { "HTTP/1", { C("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 204 N\r\n\r\n") }, BH_WEB_HTTP1, 1, "/a", 204 },
        { "a method that begins like HTTP/2", { C("PROPFIND /p HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 207 M\r\nContent-Length: 0\r\n\r\n") }, BH_WEB_HTTP1, 1, "/p", 207 },
        { "HTTP/2", { C(PREFACE H2_GET), S("\0\0\0\4\0\0\0\0\0" H2_OK) }, BH_WEB_HTTP2, 1, "/", 200 },
        { "HTTP/2 whose server speaks first", { S("\0\0\0\4\0\0\0\0\0"), C(PREFACE H2_GET), S(H2_OK) }, BH_WEB_HTTP2, 1, "/", 200 },
        { "an upgrade to HTTP/2",
          { C("GET /up HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n"), S("HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n\0\0\0\4\0\0\0\0\0"), C(PREFACE "\0\0\0\4\0\0\0\0\0"), S(H2_OK) },
          BH_WEB_HTTP2, 1, "/up", 200 },
        { "a WebSocket",
          { C("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n"), S("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n\x81\2hi\x82\x7e\0\3abc"), C("\x81\x85" "mask12345\x88\x80mask") },
          BH_WEB_WEBSOCKET, 1, "/ws", 101 },
        { "a tunnel", { C("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), S("HTTP/1.1 200 S\r\n\r\nSSH-2.0"), C("SSH-2.0") }, BH_WEB_TUNNEL, 1, "a:1", 200 },
        { "a proxy's line", { C("PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 200 O\r\nContent-Length: 0\r\n\r\n") }, BH_WEB_HTTP1, 1, "/a", 200 },
        { "a proxy's line, read by itself", { C("PROXY UNKNOWN\r\n"), C("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 204 N\r\n\r\n") }, BH_WEB_HTTP1, 1, "/a", 204 },
        { "a proxy's line before HTTP/2", { C("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n" PREFACE H2_GET), S("\0\0\0\4\0\0\0\0\0" H2_OK) }, BH_WEB_HTTP2, 1, "/", 200 },
        { "a proxy's line that looks like a request", { C("PROXY UNKNOWN HTTP/1.1\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 204 N\r\n\r\n") }, BH_WEB_HTTP1, 1, "/a", 204 },
        { "a request whose method is called PROXY", { C("PROXY UNKNOWN HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 405 M\r\nContent-Length: 0\r\n\r\n") }, BH_WEB_HTTP1, 1, "UNKNOWN", 405 },
        { "a proxy's header", { C(V2 "\x21\x11\0\x0c\300\0\2\1\300\0\2\2\xdc\4\0\x50GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 204 N\r\n\r\n") }, BH_WEB_HTTP1, 1, "/a", 204 },
        { "a proxy's header without addresses", { C(V2 "\x20\0\0\0"), C("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), S("HTTP/1.1 204 N\r\n\r\n") }, BH_WEB_HTTP1, 1, "/a", 204 },
        { "a proxy's header before TLS", { C("PROXY UNKNOWN\r\n\x16\3\1\2\0\1\0\1\xfc\3\3\n\r\n\r\n") }, BH_WEB_OTHER, 0, NULL, 0 },
        { "something else", { C("\x16\3\1\2\0\1\0\1\xfc\3\3\n\r\n\r\n") }, BH_WEB_BROKEN, 1, "\x16\3\1\2?\1?\1\xfc\3\3", 0 },
};

/* At once, and byte by byte. */
static void each_form_is_followed(void) {
        for (gsize step = 0; step < 2; step++)
                for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                        Got got = { .target = NULL };
                        BhHttpSink sink = { on_request, on_exchange, &got };
                        g_autoptr(BhWebStream) s = bh_web_stream_new(0, &sink);
                        BhWebState state = BH_WEB_BEGINS;

                        if (step && cases[i].pieces[0].client == FALSE)
                                continue; /* a server that speaks first is told by its first piece */
                        for (gsize k = 0; k < G_N_ELEMENTS(cases[i].pieces); k++) {
                                const Piece *p = &cases[i].pieces[k];

                                for (gsize at = 0; at < p->len; at += step ? 1 : p->len) {
                                        g_autofree guint8 *exact = g_memdup2(p->bytes + at, step ? 1 : p->len);

                                        state = bh_web_stream_feed(s, p->client, exact, step ? 1 : p->len, 0);
                                }
                        }
                        if (state == BH_WEB_WEBSOCKET) {
                                const BhWebsocket *server = bh_web_stream_websocket(s, FALSE), *client = bh_web_stream_websocket(s, TRUE);

                                g_assert_cmpuint(server->frames, ==, 2);
                                g_assert_cmpuint(server->bytes, ==, 5);
                                g_assert_cmpuint(server->texts + server->binaries, ==, 2);
                                g_assert_false(server->masked);
                                g_assert_cmpuint(client->frames, ==, 2);
                                g_assert_true(client->masked && client->closed && !client->bad);
                        }
                        g_clear_pointer(&s, bh_web_stream_free);
                        if (state != cases[i].state || got.exchanges != cases[i].exchanges || g_strcmp0(got.target, cases[i].target) != 0 || got.status != cases[i].status)
                                g_error("%s (step %zu): %s, %u exchanges, target %s, status %u", cases[i].name, step, bh_web_state_name(state), got.exchanges, got.target, got.status);
                        g_free(got.target);
                }
}

static BhWebState say(BhWebStream *s, const char *bytes, gsize len) {
        return bh_web_stream_feed(s, TRUE, (const guint8 *) bytes, len, 0);
}

/* A proxy may say more than is captured of a request; what comes behind it is read all the same. */
static void what_a_proxy_says_may_be_missing(void) {
        Got got = { .target = NULL };
        BhHttpSink sink = { on_request, on_exchange, &got };

        for (guint64 gap = 90; gap <= 200; gap += 110) {
                g_autoptr(BhWebStream) s = bh_web_stream_new(0, &sink);

                g_assert_cmpint(say(s, V2 "\x21\x11\0\x64" "0123456789", 26), ==, BH_WEB_BEGINS);
                g_assert_cmpint(bh_web_stream_gap(s, TRUE, gap), ==, BH_WEB_BEGINS);
                g_assert_cmpint(say(s, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", 28), ==, BH_WEB_HTTP1);
        }
        g_assert_cmpuint(got.requests, ==, 2);
        g_assert_cmpstr(got.target, ==, "/b");
        g_clear_pointer(&got.target, g_free);
}

/* What is no whole header is what it would have been without looking for one. */
static void half_a_header_is_told(void) {
        static const char *const texts[] = { "PROXY UNKNOWN", "PROXY UNKNOWN HTTP/1.1\r\nHos", "PR" };

        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
                Got got = { .target = NULL };
                BhHttpSink sink = { on_request, on_exchange, &got };
                BhWebStream *s = bh_web_stream_new(0, &sink);

                g_assert_cmpint(say(s, texts[i], strlen(texts[i])), ==, BH_WEB_BEGINS);
                bh_web_stream_free(s);
                g_assert_cmpuint(got.exchanges, ==, 1);
                g_free(got.target);
        }
}

static void bad_frames_of_a_websocket_end_it(void) {
        static const char *const bad[] = { "\x83\1a", "\x8b\1a", "\x08\1a", "\x89\x7e\0\x7e" };

        for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
                BhWebsocket w = { .frames = 0 };

                bh_websocket_feed(&w, (const guint8 *) bad[i], i == 3 ? 4 : 3);
                g_assert_true(w.bad);
        }
        BhWebsocket w = { .frames = 0 };
        bh_websocket_feed(&w, (const guint8 *) "\x82\x7e\1\0a", 5);
        bh_websocket_gap(&w, 255);
        bh_websocket_feed(&w, (const guint8 *) "\x81\0", 2);
        g_assert_cmpuint(w.frames, ==, 2);
        bh_websocket_gap(&w, 1);
        g_assert_true(w.bad);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/web-stream/each-form-is-followed", each_form_is_followed);
        g_test_add_func("/web-stream/what-a-proxy-says-may-be-missing", what_a_proxy_says_may_be_missing);
        g_test_add_func("/web-stream/half-a-header-is-told", half_a_header_is_told);
        g_test_add_func("/web-stream/bad-frames-of-a-websocket-end-it", bad_frames_of_a_websocket_end_it);
        return g_test_run();
}
