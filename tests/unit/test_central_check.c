/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of request heads and targets: every smuggling form, with the bytes laid out as libmicrohttpd leaves them. */
#include <glib.h>
#include <string.h>

#include "central/http_check.h"

/* What libmicrohttpd 0.9.75 does to a head: cuts it in place, and hands out pointers. */
typedef struct {
        char *bytes;
        BhHttpField fields[80];
        BhHttpHead head;
} Parsed;

static gsize line_end(char *p, gsize *next) {
        gsize n = (gsize) ((char *) rawmemchr(p, '\n') - p);

        *next = n + 1;
        p[n] = '\0';
        if (n && p[n - 1] == '\r')
                p[--n] = '\0';
        return n;
}

static void parse(Parsed *p, const char *wire, gsize len) {
        gsize next, n;
        char *line, *space;

        p->bytes = g_memdup2(wire, len + 1);
        p->bytes[len] = '\0';
        p->head = (BhHttpHead){ .fields = p->fields };
        line = p->bytes;
        n = line_end(line, &next);
        space = strchr(line, ' ');
        g_assert_nonnull(space);
        *space = '\0';
        p->head.method = line;
        p->head.uri = space + 1;
        while (*p->head.uri == ' ')
                p->head.uri++;
        space = line + n - 1;
        while (*space == ' ')
                space--;
        while (*space != ' ')
                space--;
        *space = '\0';
        p->head.uri_len = strlen(p->head.uri);
        p->head.version = space + 1;
        for (;;) {
                BhHttpField *f = &p->fields[p->head.n_fields];
                char *colon;

                line += next;
                n = line_end(line, &next);
                if (!*line)
                        break;
                colon = strchr(line, ':');
                g_assert_nonnull(colon);
                *colon = '\0';
                f->name = line;
                f->name_len = strlen(line);
                for (colon++; *colon == ' ' || *colon == '\t'; colon++)
                        ;
                f->value = colon;
                f->value_len = strlen(colon);
                if (p->head.n_fields + 1 < G_N_ELEMENTS(p->fields))
                        p->head.n_fields++;
        }
        p->head.head_len = (gsize) (line + next - p->head.method);
}

static guint status_of(const char *wire, guint64 *body) {
        Parsed p;
        BhHttpRefusal r = { 0 };
        guint64 length = 0;
        gboolean ok;

        parse(&p, wire, strlen(wire));
        ok = bh_http_head_check(&p.head, &length, &r);
        g_free(p.bytes);
        if (body)
                *body = length;
        g_assert_true(ok || (r.code && r.why));
        return ok ? 200 : r.status;
}

static void well_formed_heads_pass(void) {
        guint64 body = 0;

        g_assert_cmpuint(status_of("GET /a?b=c HTTP/1.1\r\nHost: localhost:8443\r\nAccept: */*\r\n\r\n", NULL), ==, 200);
        g_assert_cmpuint(status_of("GET / HTTP/1.0\r\nHost: [::1]:8443\r\n\r\n", NULL), ==, 200);
        g_assert_cmpuint(status_of("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\nX-Empty:\r\nX-Tab:\t a b \r\n\r\n", &body), ==, 200);
        g_assert_cmpuint(body, ==, 17);
}

static void smuggling_forms_are_refused(void) {
        static const struct {
                const char *what, *wire;
                guint status;
        } cases[] = {
                { "both lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
                { "chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
                { "odd encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400 },
                { "two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", 400 },
                { "list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\n", 400 },
                { "signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n", 400 },
                { "hex length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\n", 400 },
                { "length with a blank behind", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4 \r\n\r\n", 400 },
                { "empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400 },
                { "huge length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n", 413 },
                { "no length", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", 411 },
                { "GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", 400 },
                { "bare LF in a header", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400 },
                { "bare LF at the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400 },
                { "bare LF at the last header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400 },
                { "bare LF at the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400 },
                { "bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ\r\n\r\n", 400 },
                { "blank before the colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 0\r\n\r\n", 400 },
                { "empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400 },
                { "two blanks before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
                { "two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
                { "no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400 },
                { "host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
                { "host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400 },
                { "two cookies headers", "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nCookie: a=c\r\n\r\n", 400 },
                { "two authorizations", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nauthorization: b\r\n\r\n", 400 },
                { "HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400 },
                { "TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
                { "CONNECT", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
                { "compressed body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n", 415 },
                { "strange expectation", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: miracles\r\n\r\n", 417 },
        };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                guint status = status_of(cases[i].wire, NULL);

                if (status != cases[i].status)
                        g_error("%s: expected %u, saw %u", cases[i].what, cases[i].status, status);
        }
}

static void nul_and_folded_lines_break_the_seam(void) {
        /* as libmicrohttpd sees them: the name ends at the NUL; a folded line is a field that does not lie where it should */
        static const char nul[] = "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n";
        Parsed p;
        BhHttpRefusal r = { 0 };
        guint64 length;

        parse(&p, nul, sizeof(nul) - 1);
        g_assert_false(bh_http_head_check(&p.head, &length, &r));
        g_assert_cmpuint(r.status, ==, 400);
        g_free(p.bytes);

        static const char whole[] = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
        parse(&p, whole, sizeof(whole) - 1);
        p.fields[1].value_len -= 1; /* somebody else's idea of where it ends */
        g_assert_false(bh_http_head_check(&p.head, &length, &r));
        g_free(p.bytes);
}

static void too_many_or_too_large_heads_are_431(void) {
        BhHttpField field = { 0 };
        BhHttpHead head = { .method = "GET", .uri = "/", .uri_len = 1, .version = "HTTP/1.1", .fields = &field, .too_many = TRUE };
        BhHttpRefusal r = { 0 };
        guint64 length;

        g_assert_false(bh_http_head_check(&head, &length, &r));
        g_assert_cmpuint(r.status, ==, 431);
        head.too_many = FALSE;
        head.head_len = BH_HTTP_HEAD_MAX + 1;
        g_assert_false(bh_http_head_check(&head, &length, &r));
        g_assert_cmpuint(r.status, ==, 431);
}

static void targets_have_one_spelling(void) {
        static const char *const bad[] = {
                "", "*", "a", "http://a/", "https://localhost/api", "//a", "/a//b", "/a/", "/./a", "/a/..", "/../etc/passwd", "/%2e%2e/etc/passwd", "/a/%2E", "/a%2fb", "/a%5cb",
                "/a\\b", "/a%00b", "/a%", "/a%4", "/a%zz", "/a%0d%0aX:y", "/a\x01", "/a b", "/a#b", "/\xc3\xa4", "/%ff", "/%c0%ae", "/a%7f", "/?a=%00", "/?a=1&a=2", "/?=1", "/?a=%zz", "/?&",
                "/a<b", "/a?b=<c>", "/%ed%a0%80",
        };
        BhHttpTarget t;
        BhHttpRefusal r;

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                r = (BhHttpRefusal){ 0 };
                if (bh_http_target_parse(bad[i], &t, &r))
                        g_error("\"%s\" was accepted", bad[i]);
                g_assert_cmpuint(r.status, ==, 400);
        }
}

static void targets_are_decoded_once(void) {
        g_auto(BhHttpTarget) t = { 0 };
        BhHttpRefusal r;

        g_assert_true(bh_http_target_parse("/api/v1/containers/a%20b%c3%a4?x=1+2%26&y&z=%252e", &t, &r));
        g_assert_cmpstr(t.path, ==, "/api/v1/containers/a bä");
        g_assert_cmpuint(g_strv_length(t.segments), ==, 4);
        g_assert_cmpstr(t.segments[3], ==, "a bä");
        g_assert_cmpstr(g_hash_table_lookup(t.params, "x"), ==, "1 2&");
        g_assert_cmpstr(g_hash_table_lookup(t.params, "y"), ==, "");
        g_assert_cmpstr(g_hash_table_lookup(t.params, "z"), ==, "%2e");

        bh_http_target_clear(&t);
        g_assert_true(bh_http_target_parse("/", &t, &r));
        g_assert_cmpuint(g_strv_length(t.segments), ==, 0);
        bh_http_target_clear(&t);
        g_assert_true(bh_http_target_parse("/?", &t, &r));
        bh_http_target_clear(&t);
        /* a segment that only looks like one going up */
        g_assert_true(bh_http_target_parse("/a/...", &t, &r));
}

static void targets_are_bounded(void) {
        g_autoptr(GString) long_one = g_string_new("/"), deep = g_string_new(NULL), many = g_string_new("/?");
        g_auto(BhHttpTarget) t = { 0 };
        BhHttpRefusal r;

        while (long_one->len <= BH_HTTP_URI_MAX)
                g_string_append_c(long_one, 'a');
        g_assert_false(bh_http_target_parse(long_one->str, &t, &r));
        g_assert_cmpuint(r.status, ==, 414);
        for (guint i = 0; i <= BH_HTTP_SEGMENTS_MAX; i++)
                g_string_append(deep, "/a");
        g_assert_false(bh_http_target_parse(deep->str, &t, &r));
        for (guint i = 0; i <= BH_HTTP_PARAMS_MAX; i++)
                g_string_append_printf(many, "&p%u=1" + (i == 0), i);
        g_assert_false(bh_http_target_parse(many->str, &t, &r));
}

static void a_cookie_that_is_there_twice_is_none(void) {
        g_autofree char *one = bh_http_cookie("a=1; __Host-bulkhead=xyz; b=2", "__Host-bulkhead"), *two = bh_http_cookie("__Host-bulkhead=x; __Host-bulkhead=y", "__Host-bulkhead");
        g_autofree char *like = bh_http_cookie("x__Host-bulkhead=x; __Host-bulkhead2=y", "__Host-bulkhead"), *none = bh_http_cookie(NULL, "a");

        g_assert_cmpstr(one, ==, "xyz");
        g_assert_null(two);
        g_assert_null(like);
        g_assert_null(none);
}

static void media_types_are_compared_without_parameters(void) {
        g_assert_true(bh_http_media_type_is("application/json", "application/json"));
        g_assert_true(bh_http_media_type_is("Application/JSON; charset=utf-8", "application/json"));
        g_assert_false(bh_http_media_type_is("application/jsonx", "application/json"));
        g_assert_false(bh_http_media_type_is("text/plain", "application/json"));
        g_assert_false(bh_http_media_type_is(NULL, "application/json"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/central/check/well_formed_heads_pass", well_formed_heads_pass);
        g_test_add_func("/central/check/smuggling_forms_are_refused", smuggling_forms_are_refused);
        g_test_add_func("/central/check/nul_and_folded_lines_break_the_seam", nul_and_folded_lines_break_the_seam);
        g_test_add_func("/central/check/too_many_or_too_large_heads_are_431", too_many_or_too_large_heads_are_431);
        g_test_add_func("/central/check/targets_have_one_spelling", targets_have_one_spelling);
        g_test_add_func("/central/check/targets_are_decoded_once", targets_are_decoded_once);
        g_test_add_func("/central/check/targets_are_bounded", targets_are_bounded);
        g_test_add_func("/central/check/a_cookie_that_is_there_twice_is_none", a_cookie_that_is_there_twice_is_none);
        g_test_add_func("/central/check/media_types_are_compared_without_parameters", media_types_are_compared_without_parameters);
        return g_test_run();
}
