/* SPDX-License-Identifier: Apache-2.0 */
/* Frames are put together here, field blocks by libnghttp2's compressor: what comes out must not depend on how they are cut. */
#include <glib.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "parse/http2.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { DATA, HEADERS, RST_STREAM = 3, SETTINGS, PUSH_PROMISE, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 32 };

typedef struct {
        GPtrArray *exchanges;
        guint requests;
        nghttp2_hd_deflater *client, *server;
        GByteArray *out[2]; /* what the server, the client sends */
        BhHttp2 *p;
} Env;

static void on_request(const BhHttpMessage *m, gpointer data) {
        ((Env *) data)->requests++;
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        g_ptr_array_add(((Env *) data)->exchanges, bh_http_exchange_steal(x));
}

static Env *env_new(BhHttpMessage *upgraded) {
        Env *e = g_new0(Env, 1);
        BhHttpSink sink = { on_request, on_exchange, e };

        e->exchanges = g_ptr_array_new_with_free_func((GDestroyNotify) bh_http_exchange_free);
        nghttp2_hd_deflate_new(&e->client, 4096);
        nghttp2_hd_deflate_new(&e->server, 4096);
        e->out[0] = g_byte_array_new();
        e->out[1] = g_byte_array_new();
        e->p = bh_http2_new(0, &sink, upgraded);
        g_byte_array_append(e->out[1], (const guint8 *) PREFACE, sizeof(PREFACE) - 1);
        return e;
}

static void env_free(Env *e) {
        bh_http2_free(e->p);
        g_ptr_array_unref(e->exchanges);
        nghttp2_hd_deflate_del(e->client);
        nghttp2_hd_deflate_del(e->server);
        g_byte_array_unref(e->out[0]);
        g_byte_array_unref(e->out[1]);
        g_free(e);
}

static void frame(Env *e, gboolean client, guint8 type, guint8 flags, guint32 stream, const void *p, gsize n) {
        guint8 head[9] = { (guint8) (n >> 16), (guint8) (n >> 8), (guint8) n, type, flags, (guint8) (stream >> 24), (guint8) (stream >> 16), (guint8) (stream >> 8), (guint8) stream };

        g_byte_array_append(e->out[client], head, 9);
        g_byte_array_append(e->out[client], p, (guint) n);
}

/* "name value" each; ends with NULL. */
static GByteArray *block(Env *e, gboolean client, const char *const *fields) {
        g_autofree nghttp2_nv *nv = g_new0(nghttp2_nv, 64);
        GByteArray *out = g_byte_array_new();
        gsize n = 0;

        for (; fields[n]; n++) {
                const char *space = strchr(fields[n], ' ');

                nv[n] = (nghttp2_nv) { (guint8 *) fields[n], (guint8 *) space + 1, (size_t) (space - fields[n]), strlen(space + 1), 0 };
        }
        g_byte_array_set_size(out, 65536);
        long len = nghttp2_hd_deflate_hd(client ? e->client : e->server, out->data, out->len, nv, n);
        g_assert_cmpint(len, >, 0);
        g_byte_array_set_size(out, (guint) len);
        return out;
}
#define BLOCK(e, client, ...) block(e, client, (const char *const[]) { __VA_ARGS__, NULL })

static void headers(Env *e, gboolean client, guint8 flags, guint32 stream, GByteArray *b) {
        frame(e, client, HEADERS, flags, stream, b->data, b->len);
        g_byte_array_unref(b);
}

static gboolean play(Env *e, gsize step) {
        gboolean good = TRUE;

        for (int client = 1; client >= 0; client--) {
                for (gsize at = 0; at < e->out[client]->len;) {
                        gsize n = step ? MIN(step, e->out[client]->len - at) : e->out[client]->len;
                        g_autofree guint8 *exact = g_memdup2(e->out[client]->data + at, n);

                        good &= bh_http2_feed(e->p, client, exact, n, 7);
                        at += n;
                }
                g_byte_array_set_size(e->out[client], 0);
        }
        return good;
}

static const BhHttpExchange *at(const Env *e, guint i) {
        g_assert_cmpuint(i, <, e->exchanges->len);
        return e->exchanges->pdata[i];
}

#define REQUEST ":method GET", ":scheme https", ":authority shop.example", ":path /a?x=1"

static void streams_become_exchanges(void) {
        for (gsize step = 0; step < 4; step++) {
                Env *e = env_new(NULL);

                frame(e, TRUE, SETTINGS, 0, 0, "\0\3\0\0\0\x64", 6);
                headers(e, TRUE, END_HEADERS | END_STREAM, 1, BLOCK(e, TRUE, REQUEST, "user-agent x"));
                headers(e, TRUE, END_HEADERS, 3, BLOCK(e, TRUE, ":method POST", ":scheme https", ":authority shop.example", ":path /b", "content-length 5"));
                frame(e, TRUE, DATA, 0, 3, "he", 2);
                frame(e, TRUE, DATA, PADDED | END_STREAM, 3, "\4llo\0\0\0\0", 8);
                frame(e, FALSE, SETTINGS, 0, 0, "", 0);
                headers(e, FALSE, END_HEADERS, 3, BLOCK(e, FALSE, ":status 100"));
                headers(e, FALSE, END_HEADERS, 3, BLOCK(e, FALSE, ":status 201", "content-type text/plain"));
                headers(e, FALSE, END_HEADERS | END_STREAM, 1, BLOCK(e, FALSE, ":status 204"));
                frame(e, FALSE, DATA, 0, 3, "ok", 2);
                headers(e, FALSE, END_HEADERS | END_STREAM, 3, BLOCK(e, FALSE, "trailer x"));
                g_assert_true(play(e, step));
                g_assert_cmpuint(e->requests, ==, 2);
                g_assert_cmpuint(e->exchanges->len, ==, 2);
                g_assert_cmpstr(at(e, 0)->request->target, ==, "/a?x=1");
                g_assert_cmpstr(at(e, 0)->request->authority, ==, "shop.example");
                g_assert_cmpstr(bh_http_field(at(e, 0)->request, "User-Agent"), ==, "x");
                g_assert_cmpuint(at(e, 0)->response->status, ==, 204);
                g_assert_cmpuint(at(e, 1)->request->number, ==, 3);
                g_assert_cmpmem(at(e, 1)->request->body->data, at(e, 1)->request->body->len, "hello", 5);
                g_assert_cmpuint(at(e, 1)->response->status, ==, 201);
                g_assert_cmpmem(at(e, 1)->response->body->data, at(e, 1)->response->body->len, "ok", 2);
                for (guint i = 0; i < 2; i++)
                        g_assert_cmphex(at(e, i)->request->anomalies | at(e, i)->response->anomalies, ==, 0);
                env_free(e);
        }
}

static void blocks_in_several_frames_are_one(void) {
        for (gsize step = 0; step < 3; step++) {
                Env *e = env_new(NULL);
                g_autoptr(GByteArray) b = BLOCK(e, TRUE, REQUEST, "cookie a=b"), first = g_byte_array_new();

                g_byte_array_append(first, (const guint8 *) "\3\0\0\0\0\x10", 6);
                g_byte_array_append(first, b->data, 5);
                g_byte_array_append(first, (const guint8 *) "\0\0\0", 3);
                frame(e, TRUE, HEADERS, PADDED | PRIORITY | END_STREAM, 1, first->data, first->len);
                for (guint i = 5; i < b->len; i++)
                        frame(e, TRUE, CONTINUATION, i + 1 == b->len ? END_HEADERS : 0, 1, b->data + i, 1);
                g_assert_true(play(e, step));
                g_assert_cmpuint(e->requests, ==, 1);
                env_free(e);
        }
}

static void odd_messages_are_flagged(void) {
        Env *e = env_new(NULL);
        const guint32 asked[] = { BH_HTTP_LENGTHS, BH_HTTP_CODING_BAD, BH_HTTP_FRAMES_BAD, BH_HTTP_FRAMES_BAD, BH_HTTP_TARGET_BAD, BH_HTTP_FRAMES_BAD };

        headers(e, TRUE, END_HEADERS, 1, BLOCK(e, TRUE, REQUEST, "content-length 1"));
        frame(e, TRUE, DATA, END_STREAM, 1, "abcdef", 6);
        headers(e, TRUE, END_HEADERS | END_STREAM, 3, BLOCK(e, TRUE, REQUEST, "transfer-encoding chunked"));
        headers(e, TRUE, END_HEADERS | END_STREAM, 5, BLOCK(e, TRUE, REQUEST, "x a\r\nhost: b"));
        headers(e, TRUE, END_HEADERS | END_STREAM, 7, BLOCK(e, TRUE, "x y", REQUEST));
        headers(e, TRUE, END_HEADERS | END_STREAM, 9, BLOCK(e, TRUE, ":method GET", ":scheme http", ":path /a b"));
        headers(e, TRUE, END_HEADERS | END_STREAM, 11, BLOCK(e, TRUE, ":method GET", ":scheme http"));
        for (guint32 id = 1; id <= 11; id += 2)
                headers(e, FALSE, END_HEADERS | END_STREAM, id, BLOCK(e, FALSE, ":status 200"));
        g_assert_true(play(e, 1));
        g_assert_cmpuint(e->exchanges->len, ==, G_N_ELEMENTS(asked));
        for (guint i = 0; i < G_N_ELEMENTS(asked); i++)
                g_assert_cmphex(at(e, i)->request->anomalies, ==, asked[i]);
        env_free(e);
}

static void upgraded_request_meets_its_answer(void) {
        BhHttpMessage *m = bh_http_message_new();
        g_free(m->method);
        m->method = g_strdup("GET");
        Env *e = env_new(m);

        headers(e, FALSE, END_HEADERS | END_STREAM, 1, BLOCK(e, FALSE, ":status 200"));
        g_assert_true(play(e, 3));
        g_assert_cmpuint(e->requests, ==, 0);
        g_assert_true(at(e, 0)->request == m);
        g_assert_cmpuint(at(e, 0)->response->status, ==, 200);
        env_free(e);
}

static void ended_streams_are_told_as_cut(void) {
        Env *e = env_new(NULL);

        headers(e, TRUE, END_HEADERS, 1, BLOCK(e, TRUE, REQUEST));
        g_assert_true(play(e, 0));
        /* the other side ends a stream while its trailer comes */
        frame(e, TRUE, HEADERS, 0, 1, "", 0);
        frame(e, FALSE, RST_STREAM, 0, 1, "\0\0\0\0", 4);
        g_assert_true(play(e, 0));
        frame(e, TRUE, CONTINUATION, END_HEADERS, 1, "\x82", 1);
        headers(e, TRUE, END_HEADERS | END_STREAM, 3, BLOCK(e, TRUE, REQUEST));
        g_assert_true(play(e, 0));
        g_assert_cmpuint(e->exchanges->len, ==, 1);
        g_assert_true(at(e, 0)->request->anomalies & BH_HTTP_CUT);
        g_clear_pointer(&e->p, bh_http2_free);
        g_assert_cmpuint(e->exchanges->len, ==, 2);
        g_assert_null(at(e, 1)->response);
        env_free(e);
}

static void damage_ends_it(void) {
        static const struct {
                guint8 type, flags;
                const char *bytes;
                gsize len;
        } cases[] = {
                { HEADERS, END_HEADERS, "\xff\xff\xff\xff\xff\xff\xff\xff", 8 }, /* an index of nothing */
                { HEADERS, END_HEADERS | PADDED, "\x20", 1 },
                { CONTINUATION, END_HEADERS, "\x82", 1 },
                { PUSH_PROMISE, END_HEADERS, "\0\0\0\2\x82", 5 },
                { DATA, PADDED, "\x09" "ab", 3 },
                { DATA, PADDED, "", 0 },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                Env *e = env_new(NULL);

                frame(e, TRUE, cases[i].type, cases[i].flags, 1, cases[i].bytes, cases[i].len);
                if (play(e, 1))
                        g_error("case %zu is taken", i);
                env_free(e);
        }
        Env *e = env_new(NULL);
        g_assert_false(bh_http2_feed(e->p, TRUE, (const guint8 *) "GET / HTTP", 10, 0));
        env_free(e);
}

static void streams_and_fields_are_bounded(void) {
        Env *e = env_new(NULL);
        char *fields[63];
        const char *all[68] = { REQUEST };

        for (guint i = 0; i < 58; i++)
                all[4 + i] = fields[i] = g_strdup_printf("x-%u %0999d", i, i);
        headers(e, TRUE, END_HEADERS, 1, block(e, TRUE, all));
        for (guint32 i = 1; i < 100; i++)
                headers(e, TRUE, END_HEADERS, 2 * i + 1, BLOCK(e, TRUE, REQUEST));
        g_assert_true(play(e, 0));
        g_assert_cmpuint(bh_http2_dropped(e->p), ==, 100 - BH_HTTP2_STREAMS_MAX);
        g_clear_pointer(&e->p, bh_http2_free);
        g_assert_cmpuint(e->exchanges->len, ==, BH_HTTP2_STREAMS_MAX);
        g_assert_true(at(e, 0)->request->anomalies & BH_HTTP_HEAD_BOUND);
        for (guint i = 0; i < 58; i++)
                g_free(fields[i]);
        env_free(e);
}

static void gap_in_a_body_is_passed_over(void) {
        Env *e = env_new(NULL);

        headers(e, TRUE, END_HEADERS, 1, BLOCK(e, TRUE, REQUEST));
        frame(e, TRUE, DATA, END_STREAM, 1, "0123456789", 10);
        g_byte_array_set_size(e->out[1], e->out[1]->len - 6);
        g_assert_true(play(e, 0));
        g_assert_true(bh_http2_gap(e->p, TRUE, 6));
        g_assert_cmpuint(e->requests, ==, 1);
        g_assert_false(bh_http2_gap(e->p, TRUE, 1));
        g_clear_pointer(&e->p, bh_http2_free);
        g_assert_cmpuint(at(e, 0)->request->body_bytes, ==, 10);
        g_assert_cmpmem(at(e, 0)->request->body->data, at(e, 0)->request->body->len, "0123", 4);
        g_assert_true(at(e, 0)->request->anomalies & BH_HTTP_GAP);
        env_free(e);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/http2/streams-become-exchanges", streams_become_exchanges);
        g_test_add_func("/http2/blocks-in-several-frames-are-one", blocks_in_several_frames_are_one);
        g_test_add_func("/http2/odd-messages-are-flagged", odd_messages_are_flagged);
        g_test_add_func("/http2/upgraded-request-meets-its-answer", upgraded_request_meets_its_answer);
        g_test_add_func("/http2/ended-streams-are-told-as-cut", ended_streams_are_told_as_cut);
        g_test_add_func("/http2/damage-ends-it", damage_ends_it);
        g_test_add_func("/http2/streams-and-fields-are-bounded", streams_and_fields_are_bounded);
        g_test_add_func("/http2/gap-in-a-body-is-passed-over", gap_in_a_body_is_passed_over);
        return g_test_run();
}
