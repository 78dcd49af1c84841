/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of HTTP/1, whole and byte by byte: the same exchanges come out, however they are cut. */
#include <brotli/encode.h>
#include <glib.h>
#include <string.h>
#include <zlib.h>

#include "parse/http1.h"

typedef struct {
        GPtrArray *exchanges;
        guint requests;
} Got;

static void on_request(const BhHttpMessage *m, gpointer data) {
        ((Got *) data)->requests++;
        g_assert_nonnull(m);
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        g_ptr_array_add(((Got *) data)->exchanges, bh_http_exchange_steal(x));
}

typedef struct {
        gboolean client;
        const char *bytes;
        gsize len;
} Piece;
#define C(text) { TRUE, text, sizeof(text) - 1 }
#define S(text) { FALSE, text, sizeof(text) - 1 }

/* `step` bytes at a time; 0 = each piece as it is. */
static Got run(const Piece *pieces, gsize n, gsize step, BhHttp1State *state) {
        Got got = { .exchanges = g_ptr_array_new_with_free_func((GDestroyNotify) bh_http_exchange_free) };
        BhHttpSink sink = { on_request, on_exchange, &got };
        g_autoptr(BhHttp1) p = bh_http1_new(0, &sink);

        for (gsize i = 0; i < n; i++)
                for (gsize at = 0; at < pieces[i].len;) {
                        gsize want = step ? MIN(step, pieces[i].len - at) : pieces[i].len - at;
                        g_autofree guint8 *exact = g_memdup2(pieces[i].bytes + at, want);

                        if (bh_http1_feed(p, pieces[i].client, exact, want, (gint64) i) < want)
                                break;
                        at += want;
                }
        if (state)
                *state = bh_http1_state(p);
        g_clear_pointer(&p, bh_http1_free);
        return got;
}
#define RUN(step, state, ...) run((const Piece[]) { __VA_ARGS__ }, sizeof((const Piece[]) { __VA_ARGS__ }) / sizeof(Piece), step, state)

static const BhHttpExchange *at(const Got *got, guint i) {
        g_assert_cmpuint(i, <, got->exchanges->len);
        return got->exchanges->pdata[i];
}

static void assert_body(const BhHttpMessage *m, const char *text) {
        g_assert_cmpmem(m->body->data, m->body->len, text, strlen(text));
}

static void done(Got *got) {
        g_ptr_array_unref(got->exchanges);
}

static const gsize steps[] = { 0, 1, 2, 7 };
#define EACH_STEP(i) for (gsize i = 0; i < G_N_ELEMENTS(steps); i++)

static void pipelined_requests_meet_their_responses(void) {
        EACH_STEP(i) {
                Got got = RUN(steps[i], NULL, C("GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloHEAD /c HTTP/1.1\r\nHost: h\r\n\r\n"),
                              S("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"
                                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"));

                g_assert_cmpuint(got.requests, ==, 3);
                g_assert_cmpuint(got.exchanges->len, ==, 4);
                g_assert_cmpstr(at(&got, 0)->request->target, ==, "/a?x=1");
                g_assert_cmpstr(bh_http_query(at(&got, 0)->request), ==, "x=1");
                g_assert_cmpstr(at(&got, 0)->request->authority, ==, "h");
                g_assert_cmphex(at(&got, 0)->request->anomalies, ==, 0);
                assert_body(at(&got, 0)->response, "ok");
                g_assert_cmpstr(at(&got, 1)->request->method, ==, "POST");
                assert_body(at(&got, 1)->request, "hello");
                g_assert_cmpuint(at(&got, 1)->response->status, ==, 404);
                assert_body(at(&got, 1)->response, "abcde");
                g_assert_cmphex(at(&got, 1)->response->anomalies, ==, BH_HTTP_CHUNK_EXTENSION);
                g_assert_cmpuint(at(&got, 1)->response->body_bytes, ==, 5);
                g_assert_cmpstr(at(&got, 2)->request->method, ==, "HEAD");
                g_assert_cmpuint(at(&got, 2)->response->body_bytes, ==, 0);
                g_assert_null(at(&got, 3)->request);
                g_assert_cmpuint(at(&got, 3)->response->status, ==, 204);
                done(&got);
        }
}

static void body_until_close_is_whole(void) {
        EACH_STEP(i) {
                Got got = RUN(steps[i], NULL, C("GET / HTTP/1.0\r\n\r\n"), S("HTTP/1.0 200 OK\r\n\r\nall of it"));

                assert_body(at(&got, 0)->response, "all of it");
                g_assert_cmphex(at(&got, 0)->response->anomalies, ==, 0);
                done(&got);
        }
}

/* One row: a request, and what must be flagged of it. */
static void odd_requests_are_flagged(void) {
        static const struct {
                const char *bytes;
                guint32 anomalies;
                const char *body;
        } cases[] = {
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", BH_HTTP_LENGTHS, "abc" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 4\r\n\r\nabc", BH_HTTP_LENGTHS | BH_HTTP_LENGTH_BAD, "abc" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\n", BH_HTTP_LENGTH_BAD, "" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", BH_HTTP_LENGTH_AND_CHUNKED, "a" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n1\r\na\r\n0\r\n\r\n", BH_HTTP_CODING_BAD, "a" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n1\r\na\r\n0\r\n\r\n", BH_HTTP_CODING_BAD, "a" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", BH_HTTP_NAME_BAD, "a" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", BH_HTTP_FOLD, "a" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na\r\n0\r\n\r\n", BH_HTTP_CHUNK_BAD, "" },
                { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX\r\n0\r\n\r\n", BH_HTTP_CHUNK_BAD, "a" },
                { "GET / HTTP/1.1\nHost: h\n\n", BH_HTTP_BARE_LF, "" },
                { "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", BH_HTTP_BARE_CR, "" },
                { "GET / HTTP/1.1\r\n\r\n", BH_HTTP_HOST_MISSING, "" },
                { "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BH_HTTP_HOSTS, "" },
                { "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", BH_HTTP_HOSTS, "" },
                { "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", BH_HTTP_TARGET_BAD, "" },
                { "GET / HTTP/1.2\r\nHost: a\r\n\r\n", BH_HTTP_VERSION_BAD, "" },
                { "GET /\r\n\r\n", BH_HTTP_VERSION_BAD, "" },
                { "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", BH_HTTP_BODY_UNEXPECTED, "x" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc", BH_HTTP_CUT, "abc" },
                { "\x01\x02 binary\r\n\r\n", BH_HTTP_LINE_BAD, "" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", BH_HTTP_COMPRESSION_BAD, "" },
                { "POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip, br\r\nContent-Length: 3\r\n\r\nabc", BH_HTTP_COMPRESSION_UNKNOWN, "abc" },
        };

        for (gsize k = 0; k < G_N_ELEMENTS(cases); k++)
                EACH_STEP(i) {
                        Piece piece = { TRUE, cases[k].bytes, strlen(cases[k].bytes) };
                        Got got = run(&piece, 1, steps[i], NULL);
                        const BhHttpMessage *m = at(&got, 0)->request;

                        if (m->anomalies != cases[k].anomalies)
                                g_error("case %zu (step %zu): expected anomalies 0x%x, got 0x%x", k, steps[i], cases[k].anomalies, m->anomalies);
                        assert_body(m, cases[k].body);
                        done(&got);
                }
}

/* What two servers read differently: flagged, and the rest is what a server that believes in chunks sees. */
static void smuggled_request_is_seen(void) {
        Got got = RUN(1, NULL, C("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 51\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: inside\r\n\r\n"));

        g_assert_cmpuint(got.requests, ==, 2);
        g_assert_true(at(&got, 0)->request->anomalies & BH_HTTP_LENGTH_AND_CHUNKED);
        g_assert_cmpstr(at(&got, 1)->request->target, ==, "/admin");
        done(&got);
}

static void other_protocols_are_handed_over(void) {
        BhHttp1State state;
        Got got = RUN(1, &state, C("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
                      S("HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"), C("\x81\x82"));

        g_assert_cmpint(state, ==, BH_HTTP1_WEBSOCKET);
        g_assert_cmpuint(got.exchanges->len, ==, 1);
        g_assert_cmpuint(at(&got, 0)->response->status, ==, 101);
        done(&got);
        got = RUN(3, &state, C("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"), S("HTTP/1.1 200 Connection established\r\n\r\n\x16\x03"), C("\x16\x03"));
        g_assert_cmpint(state, ==, BH_HTTP1_TUNNEL);
        g_assert_cmpuint(got.exchanges->len, ==, 1);
        done(&got);
        got = RUN(1, &state, C("CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"), S("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), C("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        g_assert_cmpint(state, ==, BH_HTTP1_GOING);
        g_assert_cmpuint(got.exchanges->len, ==, 2);
        done(&got);
}

/* ---- compressed bodies */

static GByteArray *deflated(const guint8 *p, gsize n, int bits) {
        z_stream z = { 0 };
        GByteArray *out = g_byte_array_new();

        g_assert_cmpint(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
        g_byte_array_set_size(out, (guint) deflateBound(&z, n) + 64);
        z.next_in = (Bytef *) p;
        z.avail_in = (uInt) n;
        z.next_out = out->data;
        z.avail_out = out->len;
        g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
        g_byte_array_set_size(out, (guint) z.total_out);
        deflateEnd(&z);
        return out;
}

static GByteArray *brotli(const guint8 *p, gsize n) {
        GByteArray *out = g_byte_array_new();
        gsize len = BrotliEncoderMaxCompressedSize(n);

        g_byte_array_set_size(out, (guint) len);
        g_assert_true(BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, n, p, &len, out->data));
        g_byte_array_set_size(out, (guint) len);
        return out;
}

static Got request_with(const char *coding, const GByteArray *body, gsize step) {
        g_autofree char *head = g_strdup_printf("POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: %s\r\nContent-Length: %u\r\n\r\n", coding, body->len);
        g_autoptr(GByteArray) all = g_byte_array_new();

        g_byte_array_append(all, (const guint8 *) head, (guint) strlen(head));
        g_byte_array_append(all, body->data, body->len);
        Piece piece = { TRUE, (const char *) all->data, all->len };
        return run(&piece, 1, step, NULL);
}

static void compressed_bodies_are_read(void) {
        static const char text[] = "cmd=cat%20/etc/passwd&cmd=cat%20/etc/passwd";
        g_autoptr(GByteArray) gzip = deflated((const guint8 *) text, sizeof(text) - 1, 31), two = g_byte_array_new(), z = deflated((const guint8 *) text, sizeof(text) - 1, 15);
        g_autoptr(GByteArray) raw = deflated((const guint8 *) text, sizeof(text) - 1, -15), br = brotli((const guint8 *) text, sizeof(text) - 1);
        g_autofree char *twice = g_strconcat(text, text, NULL);

        g_byte_array_append(two, gzip->data, gzip->len);
        g_byte_array_append(two, gzip->data, gzip->len);
        EACH_STEP(i) {
                const struct {
                        const char *coding;
                        const GByteArray *body;
                        const char *text;
                } cases[] = { { "gzip", gzip, text }, { "x-gzip", two, twice }, { "deflate", z, text }, { "deflate", raw, text }, { "BR", br, text } };

                for (gsize k = 0; k < G_N_ELEMENTS(cases); k++) {
                        Got got = request_with(cases[k].coding, cases[k].body, steps[i]);

                        assert_body(at(&got, 0)->request, cases[k].text);
                        g_assert_cmphex(at(&got, 0)->request->anomalies, ==, 0);
                        g_assert_cmpuint(at(&got, 0)->request->body_bytes, ==, cases[k].body->len);
                        done(&got);
                }
        }
}

/* 64 MiB of zeros in some KiB: what is kept is bounded, and it is said. */
static void bombs_cost_what_is_kept(void) {
        gsize n = (gsize) 64 << 20;
        g_autofree guint8 *zeros = g_malloc0(n);
        g_autoptr(GByteArray) gzip = deflated(zeros, n, 31), br = brotli(zeros, n);

        for (guint k = 0; k < 2; k++) {
                Got got = request_with(k ? "br" : "gzip", k ? br : gzip, 4096);
                const BhHttpMessage *m = at(&got, 0)->request;

                g_assert_cmpuint(m->body->len, ==, BH_HTTP_BODY_KEEP);
                g_assert_cmphex(m->anomalies, ==, BH_HTTP_COMPRESSION_RATIO);
                done(&got);
        }
}

/* ---- bounds */

static void heads_are_bounded(void) {
        g_autoptr(GString) s = g_string_new("GET / HTTP/1.1\r\nHost: h\r\n");

        for (guint i = 0; i < 20000; i++)
                g_string_append_printf(s, "X-%u: y\r\n", i);
        g_string_append(s, "\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
        EACH_STEP(i) {
                Piece piece = { TRUE, s->str, s->len };
                Got got = run(&piece, 1, steps[i], NULL);

                g_assert_cmpuint(got.requests, ==, 2);
                g_assert_cmpuint(at(&got, 0)->request->n_fields, ==, BH_HTTP_FIELDS_MAX);
                g_assert_cmpuint(at(&got, 0)->request->fields_dropped, >, 1000);
                g_assert_true(at(&got, 0)->request->anomalies & BH_HTTP_HEAD_BOUND);
                g_assert_cmpstr(at(&got, 1)->request->target, ==, "/next");
                done(&got);
        }
}

static void requests_without_answer_are_bounded(void) {
        g_autoptr(GString) s = g_string_new(NULL);
        BhHttp1State state;

        for (guint i = 0; i < 100; i++)
                g_string_append_printf(s, "GET /%u HTTP/1.1\r\nHost: h\r\n\r\n", i);
        Piece piece = { TRUE, s->str, s->len };
        Got got = run(&piece, 1, 0, &state);
        g_assert_cmpuint(got.requests, ==, 100);
        g_assert_cmpuint(got.exchanges->len, ==, 100);
        g_assert_cmpstr(at(&got, 15)->request->target, ==, "/15");
        g_assert_cmpstr(at(&got, 16)->request->target, ==, "");
        g_assert_cmpint(state, ==, BH_HTTP1_GOING);
        done(&got);
}

static void gap_in_a_body_is_passed_over(void) {
        Got got = { .exchanges = g_ptr_array_new_with_free_func((GDestroyNotify) bh_http_exchange_free) };
        BhHttpSink sink = { NULL, on_exchange, &got };
        g_autoptr(BhHttp1) p = bh_http1_new(0, &sink);
        static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc", next[] = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";

        bh_http1_feed(p, TRUE, (const guint8 *) head, sizeof(head) - 1, 0);
        bh_http1_gap(p, TRUE, 997);
        bh_http1_feed(p, TRUE, (const guint8 *) next, sizeof(next) - 1, 0);
        bh_http1_gap(p, TRUE, 5);
        g_assert_cmpint(bh_http1_state(p), ==, BH_HTTP1_BROKEN);
        g_clear_pointer(&p, bh_http1_free);
        g_assert_cmphex(at(&got, 0)->request->anomalies, ==, BH_HTTP_GAP);
        g_assert_cmpuint(at(&got, 0)->request->body_bytes, ==, 1000);
        assert_body(at(&got, 0)->request, "abc");
        g_assert_cmpstr(at(&got, 1)->request->target, ==, "/next");
        done(&got);
}

static void paths_become_templates(void) {
        static const char *const cases[][2] = {
                { "/", "/" },
                { "/orders/1234/items/7", "/orders/{n}/items/{n}" },
                { "/u/123e4567-e89b-12d3-a456-426614174000", "/u/{uuid}" },
                { "/log/2026-11-26/x", "/log/{date}/x" },
                { "/static/app.js", "/static/app.js" },
                { "/blob/9f86d081884c7d659a2f", "/blob/{hex}" },
                { "/v1/deadbeef", "/v1/deadbeef" },
                { "/t/a1b2c3d4e5f6g7h8i9j0k1", "/t/{token}" },
        };
        g_autoptr(BhHttpMessage) m = bh_http_message_new();

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *t = bh_http_path_template(cases[i][0]);

                g_assert_cmpstr(t, ==, cases[i][1]);
        }
        g_free(m->target);
        m->target = g_strdup("http://a/b/c?d#e");
        g_autofree char *path = bh_http_path(m);
        g_assert_cmpstr(path, ==, "/b/c");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/http1/pipelined-requests-meet-their-responses", pipelined_requests_meet_their_responses);
        g_test_add_func("/http1/body-until-close-is-whole", body_until_close_is_whole);
        g_test_add_func("/http1/odd-requests-are-flagged", odd_requests_are_flagged);
        g_test_add_func("/http1/smuggled-request-is-seen", smuggled_request_is_seen);
        g_test_add_func("/http1/other-protocols-are-handed-over", other_protocols_are_handed_over);
        g_test_add_func("/http1/compressed-bodies-are-read", compressed_bodies_are_read);
        g_test_add_func("/http1/bombs-cost-what-is-kept", bombs_cost_what_is_kept);
        g_test_add_func("/http1/heads-are-bounded", heads_are_bounded);
        g_test_add_func("/http1/requests-without-answer-are-bounded", requests_without_answer_are_bounded);
        g_test_add_func("/http1/gap-in-a-body-is-passed-over", gap_in_a_body_is_passed_over);
        g_test_add_func("/http1/paths-become-templates", paths_become_templates);
        return g_test_run();
}
