/* SPDX-License-Identifier: Apache-2.0 */
/* Connections fed to an inspector of the web, in this process and through the real one in its sandbox. */
#include <brotli/encode.h>
#include <glib.h>
#include <malloc.h>
#include <string.h>

#include "inspect_env.h"
#include "parse/web.h"
#include "parse/web_stream.h"

static BhWeb *web;

#define ATTACK "POST /login/17?next=/&password=hunter2 HTTP/1.1\r\nHost: shop\r\nUser-Agent: curl/8\r\nCookie: a=b\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 38\r\n\r\nq=1%27%20or%20%271%27=%271&card=411111"

static GByteArray *body_of(guint64 connection, guint flags, const char *bytes, gsize len, guint64 gap) {
        GByteArray *b = g_byte_array_new();
        BhWebInput in = { .connection = connection, .flags = flags, .gap = gap, .at_ns = 5, .client = "192.0.2.1", .server = "192.0.2.2", .port = 80, .bytes = (const guint8 *) bytes, .len = len };

        bh_inspect_pack_web_input(b, &in);
        return b;
}

static BhWebFacts *feed_bytes(guint64 connection, guint flags, const char *text, gsize len) {
        g_autoptr(GByteArray) b = body_of(connection, flags, text, len, 0), out = g_byte_array_new(), again = g_byte_array_new();

        g_assert_cmpint(bh_web_answer(web, b->data, b->len, out), ==, BH_INSPECT_OK);
        g_assert_cmpuint(out->len, <=, BH_INSPECT_ANSWER_MAX);
        BhWebFacts *f = bh_inspect_unpack_web(out->data, out->len);
        g_assert_nonnull(f);
        bh_inspect_pack_web(again, f);
        g_assert_cmpmem(again->data, again->len, out->data, out->len);
        return f;
}

static BhWebFacts *feed(guint64 connection, guint flags, const char *text) {
        return feed_bytes(connection, flags, text, strlen(text));
}

static void assert_attack(const BhWebFacts *f) {
        const BhWebRecord *r = &f->records[0];

        g_assert_cmpuint(f->n_records, ==, 1);
        g_assert_false(r->exchange);
        g_assert_cmpstr(r->method, ==, "POST");
        g_assert_cmpstr(r->target, ==, "/login/17?next=/&password=***");
        g_assert_cmpstr(r->path, ==, "/login/{n}");
        g_assert_cmpstr(r->authority, ==, "shop");
        g_assert_cmpstr(r->agent, ==, "curl/8");
        g_assert_cmpuint(r->n_matches, >, 2);
        g_assert_cmpuint(r->score, >=, 10);
        gboolean sqli = FALSE;
        for (guint i = 0; i < r->n_matches; i++) {
                sqli |= r->matches[i].rule == 942100;
                g_assert_cmpuint(r->matches[i].score, <=, i ? r->matches[i - 1].score : 5);
                g_assert_null(strstr(r->matches[i].matched, "hunter2"));
        }
        g_assert_true(sqli);
        g_assert_cmpstr(r->whole, ==, "POST /login/17?next=/&password=*** HTTP/1.1\nHost: shop\nUser-Agent: curl/8\nCookie: a=***\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 38\n\n"
                                      "q=1%27%20or%20%271%27=%271&card=***");
}

static void request_is_told_before_its_answer(void) {
        g_autoptr(BhWebFacts) nothing = feed(1, BH_WEB_OPEN | BH_WEB_CLIENT, "POST /login"), request = NULL, exchange = NULL, unknown = NULL;

        g_assert_cmpuint(nothing->n_records, ==, 0);
        g_assert_cmpuint(nothing->state, ==, BH_WEB_HTTP1);
        request = feed(1, BH_WEB_CLIENT, ATTACK + strlen("POST /login"));
        assert_attack(request);
        exchange = feed(1, BH_WEB_CLOSE, "HTTP/1.1 500 E\r\nContent-Length: 3\r\n\r\nabc");
        g_assert_cmpuint(exchange->n_records, ==, 1);
        g_assert_true(exchange->records[0].exchange);
        g_assert_cmpuint(exchange->records[0].status, ==, 500);
        g_assert_cmpuint(exchange->records[0].response_bytes, ==, 3);
        g_assert_cmpstr(exchange->records[0].target, ==, "/login/17?next=/&password=***");
        unknown = feed(1, BH_WEB_CLIENT, "GET / HTTP/1.1\r\n\r\n");
        g_assert_cmpuint(unknown->state, ==, BH_WEB_UNKNOWN);
        g_assert_cmpuint(bh_web_connections(web), ==, 0);
}

static void closed_connection_tells_what_is_open(void) {
        g_autoptr(BhWebFacts) f = feed(2, BH_WEB_OPEN | BH_WEB_CLIENT | BH_WEB_CLOSE, "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b");

        g_assert_cmpuint(f->n_records, ==, 4);
        g_assert_cmpstr(f->records[0].wanted, ==, "");
        g_assert_cmpuint(f->records[3].status, ==, 0);
}

static void answers_are_bounded(void) {
        g_autoptr(GString) s = g_string_new(NULL);
        g_autofree char *segment = g_strnfill(3000, 'a');

        for (guint i = 0; i < 200; i++)
                g_string_append_printf(s, "GET /%s?id=1'or'1'='1 HTTP/1.1\r\nHost: %s\r\nUser-Agent: sqlmap %s\r\n\r\n", segment, segment, segment);
        g_autoptr(BhWebFacts) f = feed(3, BH_WEB_OPEN | BH_WEB_CLIENT | BH_WEB_CLOSE, s->str);
        guint wholes = 0;

        g_assert_cmpuint(f->n_records, ==, BH_WEB_RECORDS_MAX);
        for (guint i = 0; i < f->n_records; i++) {
                wholes += *f->records[i].whole != 0;
                g_assert_cmpuint(strlen(f->records[i].whole), <=, BH_WEB_WHOLE_MAX);
        }
        g_assert_cmpuint(wholes, ==, BH_WEB_WHOLES_MAX);
        g_assert_cmpuint(f->dropped, ==, 400 - BH_WEB_RECORDS_MAX);
}

/* The beginning of a request that takes a window of brotli, megabytes for some hundred bytes. */
static GByteArray *bomb(void) {
        static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: br\r\nContent-Length: 9999999\r\n\r\n";
        gsize n = 1 << 20, packed = BrotliEncoderMaxCompressedSize(n);
        g_autofree guint8 *noise = g_malloc(n), *br = g_malloc(packed);
        GByteArray *piece = g_byte_array_new();

        for (gsize i = 0; i < n; i++)
                noise[i] = (guint8) g_random_int();
        g_assert_true(BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, n, noise, &packed, br));
        g_byte_array_append(piece, (const guint8 *) head, sizeof(head) - 1);
        g_byte_array_append(piece, br, 600);
        return piece;
}

/* Each connection takes a window: the quiet ones go, and memory stays. */
static void memory_is_bounded(void) {
        g_autoptr(GByteArray) piece = bomb();
        gsize most = 0;
        const guint rounds = 400;
        guint64 before = bh_web_given_up(web);

        for (guint i = 0; i < rounds; i++) {
                g_autoptr(GByteArray) b = body_of(1000 + i, BH_WEB_OPEN | BH_WEB_CLIENT, (const char *) piece->data, piece->len, 0), out = g_byte_array_new();
                struct mallinfo2 m;

                g_assert_cmpint(bh_web_answer(web, b->data, b->len, out), ==, BH_INSPECT_OK);
                m = mallinfo2();
                most = MAX(most, m.uordblks + m.hblkhd);
        }
        g_test_message("at most %zu MiB; %" G_GUINT64_FORMAT " of %u connections were given up", most >> 20, bh_web_given_up(web) - before, rounds);
        if (!SANITIZER) { /* whose memory mallinfo2() does not know */
                g_assert_cmpuint(bh_web_given_up(web), >, before);
                g_assert_cmpuint(most, <, (gsize) 400 << 20);
        }
        for (guint i = 0; i < rounds; i++) {
                g_autoptr(BhWebFacts) f = feed(1000 + i, BH_WEB_CLOSE, "");
        }
        g_assert_cmpuint(bh_web_connections(web), ==, 0);
}

/* So many connections and no more; the quiet ones go. */
static void connections_are_bounded(void) {
        for (guint i = 0; i < BH_WEB_CONNECTIONS_MAX + 10; i++) {
                g_autoptr(BhWebFacts) f = feed(10000 + i, BH_WEB_OPEN | BH_WEB_CLIENT, "GET /");
        }
        g_assert_cmpuint(bh_web_connections(web), ==, BH_WEB_CONNECTIONS_MAX);
        g_autoptr(BhWebFacts) gone = feed(10000, BH_WEB_CLIENT, "x"), there = feed(10100, BH_WEB_CLIENT, "x");
        g_assert_cmpuint(gone->state, ==, BH_WEB_UNKNOWN);
        g_assert_cmpuint(there->state, ==, BH_WEB_HTTP1);
        for (guint i = 0; i < BH_WEB_CONNECTIONS_MAX + 10; i++) {
                g_autoptr(BhWebFacts) f = feed(10000 + i, BH_WEB_CLOSE, "");
        }
}

static void changed_answers_are_survived(void) {
        g_autoptr(GByteArray) b = body_of(9, BH_WEB_OPEN | BH_WEB_CLIENT | BH_WEB_CLOSE, ATTACK, sizeof(ATTACK) - 1, 0), out = g_byte_array_new();

        g_assert_cmpint(bh_web_answer(web, b->data, b->len, out), ==, BH_INSPECT_OK);
        for (guint n = 0; n < out->len; n++) {
                g_autofree guint8 *exact = g_memdup2(out->data, n ? n : 1);

                g_assert_null(bh_inspect_unpack_web(exact, n));
        }
        for (guint at = 0; at < out->len; at++)
                for (guint bit = 0; bit < 8; bit++) {
                        g_autofree guint8 *exact = g_memdup2(out->data, out->len);

                        exact[at] ^= (guint8) (1u << bit);
                        g_autoptr(BhWebFacts) f = bh_inspect_unpack_web(exact, out->len);
                }
        g_byte_array_set_size(out, 0);
        g_assert_cmpint(bh_web_answer(web, b->data, 20, out), ==, BH_INSPECT_REFUSED);
}

static guint64 most_memory_of(guint pid) {
        g_autofree char *path = g_strdup_printf("/proc/%u/status", pid), *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        const char *line = strstr(text, "VmHWM:");
        g_assert_nonnull(line);
        return g_ascii_strtoull(line + strlen("VmHWM:"), NULL, 10) << 10;
}

/* The real one in its sandbox, between streams that are made to cost as much as they can: each attack of another connection gets its answer, nothing is lost, and its memory stays below the bound. */
static void adversarial_streams_stall_no_other(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_WEB_PROGRAM);
        g_autoptr(GByteArray) br = bomb();
        g_autoptr(GString) head = g_string_new("GET / HTTP/1.1\r\n"), many = g_string_new(NULL), open = g_string_new("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n");
        g_autoptr(GError) error = NULL;
        BhInspectStats stats;
        const guint rounds = 64;
        guint64 most;

        for (guint i = 0; head->len < 31000; i++)
                g_string_append_printf(head, "X-%u: %0100u\r\n", i, i);
        for (guint i = 0; i < 200; i++)
                g_string_append_printf(many, "GET /%u?a=1'or'1'='1&b=%%2e%%2e/etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", i);
        while (open->len < 60000)
                g_string_append(open, "[{\"a\":");
        const struct {
                const char *p;
                gsize n;
        } kinds[] = { { (const char *) br->data, br->len }, { head->str, head->len }, { many->str, 1200 }, { open->str, open->len } };
        for (guint i = 0; i < rounds; i++) {
                g_autoptr(GByteArray) hostile = body_of(5000 + i, BH_WEB_OPEN | BH_WEB_CLIENT, kinds[i % 4].p, kinds[i % 4].n, 0);
                g_autoptr(GBytes) body = g_bytes_new(hostile->data, hostile->len);
                g_auto(BhInspectAnswer) a = { 0 };

                g_assert_true(bh_inspect_ask(c, BH_INSPECT_WEB, body, -1, 60000, &a, &error));
                if (i % 8 == 7) {
                        g_autoptr(GByteArray) b = body_of(9000 + i, BH_WEB_OPEN | BH_WEB_CLIENT, ATTACK, sizeof(ATTACK) - 1, 0);
                        g_autoptr(GBytes) other = g_bytes_new(b->data, b->len);
                        g_auto(BhInspectAnswer) found = { 0 };

                        g_assert_true(bh_inspect_ask(c, BH_INSPECT_WEB, other, -1, 60000, &found, &error));
                        assert_attack(found.web);
                }
        }
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpuint(stats.starts, ==, 1);
        most = most_memory_of((guint) stats.pid);
        g_test_message("at most %" G_GUINT64_FORMAT " MiB", most >> 20);
        if (!SANITIZER)
                g_assert_cmpuint(most, <, (guint64) 400 << 20);
}

static void real_inspector_answers(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_WEB_PROGRAM), other = start_inspector(BH_INSPECT_PROGRAM);
        g_autoptr(GByteArray) b = body_of(1, BH_WEB_OPEN | BH_WEB_CLIENT, ATTACK, sizeof(ATTACK) - 1, 0);
        g_autoptr(GBytes) body = g_bytes_new(b->data, b->len), ssh = NULL;
        g_autoptr(GByteArray) look = g_byte_array_new();
        g_auto(BhInspectAnswer) a = { 0 }, p = { 0 }, none = { 0 };
        g_autoptr(GError) error = NULL;
        BhInspectStats stats;

        g_assert_true(bh_inspect_ask(c, BH_INSPECT_WEB, body, -1, 20000, &a, &error));
        assert_attack(a.web);
        bh_inspect_pack_look(look, &(BhProtocolInput) { .client = (const guint8 *) "SSH-2.0-x\r\n", .client_len = 11 });
        ssh = g_bytes_new(look->data, look->len);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_PROTOCOL, ssh, -1, 20000, &p, &error));
        g_assert_cmpint(p.protocol->protocol, ==, BH_PROTOCOL_SSH);
        bh_inspect_client_stats(c, &stats);
        g_assert_cmphex(stats.layers & (SANITIZER ? BH_INSPECT_NO_NEW_PRIVS : BH_INSPECT_SECCOMP), !=, 0);
        g_assert_cmpuint(stats.starts, ==, 1);
        /* the one without the engine says so */
        g_assert_false(bh_inspect_ask(other, BH_INSPECT_WEB, body, -1, 20000, &none, &error));
        g_assert_nonnull(strstr(error->message, "bulkhead-inspect-web"));
}

/* What is told of the parameters of one request, answered: "query id number, up to 4 bytes; …". */
static char *params_of(const char *request, const char *body) {
        static guint64 connection = 500;
        g_autofree char *whole = g_strdup_printf("%s\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", request, strlen(body), body);
        gsize len = strlen(whole);
        for (gsize i = 0; i < len; i++)
                if (whole[i] == '\x7f') /* stands for a zero */
                        whole[i] = 0;
        g_autoptr(BhWebFacts) asked = feed_bytes(++connection, BH_WEB_OPEN | BH_WEB_CLIENT, whole, len), f = feed(connection, BH_WEB_CLOSE, "HTTP/1.1 200 O\r\nContent-Length: 0\r\n\r\n");
        GString *out = g_string_new(NULL);

        g_assert_cmpuint(f->n_records, ==, 1);
        for (guint i = 0; i < f->records[0].n_params; i++) {
                const BhWebParam *p = &f->records[0].params[i];
                g_autofree char *what = bh_web_param_say(p->place, p->type, p->length);

                g_string_append_printf(out, "%s%s: %s", i ? "; " : "", p->name, what);
        }
        if (f->records[0].params_dropped)
                g_string_append_printf(out, " +%u", f->records[0].params_dropped);
        return g_string_free(out, FALSE);
}

static void parameters_are_told_and_never_what_they_hold(void) {
        static const struct {
                const char *request, *body, *told;
        } cases[] = {
                { "GET /a?id=17&q=it%27s+so&items[3]=x&items[44]=yy&items[x]=&on=TRUE&&lang=en-GB HTTP/1.1", "",
                  "id: query number, up to 4 bytes; q: query code, up to 16 bytes; items[{n}]: query word, up to 4 bytes; items[x]: query empty; on: query boolean, up to 4 bytes; lang: query word, up to 16 bytes" },
                { "GET /a?password=hunter2&pass%77ord=x&secret+word&eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl=1#x=y HTTP/1.1", "",
                  "password: query secret; {bare}: query text, up to 16 bytes; {long}: query number, up to 4 bytes" },
                { "POST /a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8", "name=Ann+Example&age=-3.5&id=7c9e6679-7425-40de-944b-e07fc1f90ae7&x=%00%01",
                  "name: form text, up to 16 bytes; age: form number, up to 4 bytes; id: form id, up to 64 bytes; x: form binary, up to 4 bytes" },
                { "POST /a?v=2 HTTP/1.1\r\nContent-Type: application/vnd.api+json", " { \"user\" : \"ann\", \"deep\":{\"in\":[1,\"}\"]}, \"list\":[ ], \"no\":null, \"n\":1e9, \"t\":true, \"token\":\"abc\" } ",
                  "v: query number, up to 4 bytes; user: json word, up to 4 bytes; deep: json object, up to 16 bytes; list: json array, up to 4 bytes; no: json empty; n: json number, up to 4 bytes; "
                  "t: json boolean, up to 4 bytes; token: json secret" },
                { "POST /a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", "{\"name\":\"John Doe\",\"x\":\"a=b\"}&%7Bann=1&a=2",
                  "{bare}: form code, up to 64 bytes; a: form number, up to 4 bytes" },
                { "POST /a HTTP/1.1\r\nContent-Type: application/json", "{\"a\":1,\"b\":", "a: json number, up to 4 bytes +1" },
                { "POST /a HTTP/1.1\r\nContent-Type: application/json", "{\"a\":[[[[", " +1" },
                { "POST /a HTTP/1.1\r\nContent-Type: application/json", "[1,2]", "" },
                { "POST /a HTTP/1.1\r\nContent-Type: text/plain", "a=b", "" },
                { "POST /a HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\"B-1\"",
                  "--B-1\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nhi\r\n--B-1\r\nContent-Disposition: form-data; name=doc; filename=\"../x\"\r\nContent-Type: a/b\r\n\r\n\1\2\3\r\n--B-1--\r\n",
                  "title: form word, up to 4 bytes; doc: form file, up to 4 bytes" },
                { "POST /a HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=x\r\n\r\nit goes on", " +1" },
                { "POST /a HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=B",
                  "\x7f\r\n--B\r\nContent-Disposition: form-data; name=x\r\n\r\n\x7f\r\n--B\r\nContent-Disposition: form-data; name=y\r\n\r\n1\r\n--B--",
                  "x: form binary, up to 4 bytes; y: form number, up to 4 bytes" },
        };
        g_autoptr(GString) many = g_string_new("GET /a?");

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *told = params_of(cases[i].request, cases[i].body);

                g_assert_cmpstr(told, ==, cases[i].told);
        }
        for (guint i = 0; i < 100; i++)
                g_string_append_printf(many, "p%c%c=1&", 'a' + i / 26, 'a' + i % 26);
        g_string_append(many, " HTTP/1.1");
        g_autofree char *told = params_of(many->str, "");
        g_assert_true(g_str_has_suffix(told, " +76"));
        g_string_assign(many, "a=1&password=2");
        for (guint i = 0; i < 500; i++)
                g_string_append(many, "&a=1");
        g_autofree char *same = params_of("POST /a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", many->str);
        g_assert_cmpstr(same, ==, "a: form number, up to 4 bytes; password: form secret +246");
}

int main(int argc, char **argv) {
        g_autoptr(GError) error = NULL;

        g_test_init(&argc, &argv, NULL);
        web = bh_web_new(NULL, &error);
        g_assert_no_error(error);
        g_test_add_func("/web/request-is-told-before-its-answer", request_is_told_before_its_answer);
        g_test_add_func("/web/closed-connection-tells-what-is-open", closed_connection_tells_what_is_open);
        g_test_add_func("/web/answers-are-bounded", answers_are_bounded);
        g_test_add_func("/web/memory-is-bounded", memory_is_bounded);
        g_test_add_func("/web/connections-are-bounded", connections_are_bounded);
        g_test_add_func("/web/changed-answers-are-survived", changed_answers_are_survived);
        g_test_add_func("/web/parameters-are-told-and-never-what-they-hold", parameters_are_told_and_never_what_they_hold);
        g_test_add_func("/web/real-inspector-answers", real_inspector_answers);
        g_test_add_func("/web/adversarial-streams-stall-no-other", adversarial_streams_stall_no_other);
        int result = g_test_run();
        bh_web_free(web);
        return result;
}
