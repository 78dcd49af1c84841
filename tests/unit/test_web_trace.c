/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "parse/web_trace.h"

static gboolean suspected(const char *text) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhWafWords) words = bh_waf_words_new(NULL, &error);

        g_assert_no_error(error);
        g_assert_true(bh_web_trace_suspected(NULL, (const guint8 *) text, strlen(text)));
        return bh_web_trace_suspected(words, (const guint8 *) text, strlen(text));
}

static void plain_requests_may_be_skipped(void) {
        g_assert_false(suspected("GET /index.html?page=2 HTTP/1.1\r\nHost: h:80\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\nAccept: */*\r\n\r\n"));
        g_assert_false(suspected("GET /shop/cart?sort=price HTTP/1.1\r\nHost: h\r\nReferer: https://shop.example/a/b?c=d\r\nCookie: a=1; b=xyz\r\nAccept-Language: en,de;q=0.5\r\n\r\n"));
        g_assert_false(suspected("HEAD / HTTP/1.0\r\nHost: h\r\n\r\n"));
}

static void others_may_not(void) {
        static const char *const texts[] = {
                "GET /a?x=1%27 HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET /../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET /show?file=/etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET /.env HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET //etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET /wp-config HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET /shell.php HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET /a?c=whoami HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: sqlmap\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
                "GET / HTTP/1.1\r\nAccept: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nA: union select\r\n\r\n",
                "GET /a;b HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nX: ${jndi:ldap://h/}\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: () { :; }; id\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: <script>\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\n",
                "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: chunked\r\n\r\n",
                "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                "",
        };

        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_test_message("%s", texts[i]);
                g_assert_true(suspected(texts[i]));
        }
}

static GByteArray *keep(const char *text) {
        return bh_web_trace_keep((const guint8 *) text, strlen(text));
}

static gsize common(const char *request, const char *text) {
        g_autoptr(GByteArray) kept = keep(request);

        return bh_web_trace_common(kept, text, strlen(text));
}

static void parts_of_a_request_are_found(void) {
        const char *request = "GET /ping?host=127.0.0.1%3Bcat+/etc/passwd HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nUser-Agent: curl\r\n\r\n";

        g_assert_cmpuint(common(request, "ping -c1 127.0.0.1;cat /etc/passwd"), ==, strlen("127.0.0.1;cat /etc/passwd"));
        g_assert_cmpuint(common(request, "/etc/passwd"), ==, 11);
        g_assert_cmpuint(common(request, "10.1.2.3:8080"), ==, 0); /* the server's own name */
        g_assert_cmpuint(common(request, "id"), ==, 0);
        g_assert_cmpuint(common(request, "/usr/sbin/ping6"), ==, 0);
        g_assert_cmpuint(common("POST / HTTP/1.1\r\nHost: h\r\n\r\nurl=http%3a%2f%2f169.254.169.254%2flatest", "169.254.169.254"), ==, 15);
        /* a field's name in a body is no field */
        g_assert_cmpuint(common("POST / HTTP/1.1\r\n\r\nx\r\nhost: secret-name\r\n", "secret-name"), ==, 11);
}

/* Against the plain way to do it. */
static void common_is_the_longest(void) {
        for (guint round = 0; round < 300; round++) {
                guint n = (guint) g_test_rand_int_range(0, 200), m = (guint) g_test_rand_int_range(0, 80);
                g_autoptr(GByteArray) a = g_byte_array_new();
                g_autoptr(GString) b = g_string_new(NULL);
                gsize best = 0;

                for (guint i = 0; i < n; i++)
                        g_byte_array_append(a, (const guint8 *) &"abcd"[g_test_rand_int_range(0, 4)], 1);
                for (guint i = 0; i < m; i++)
                        g_string_append_c(b, "abcd"[g_test_rand_int_range(0, 4)]);
                /* a part of the one in the other */
                if (a->len > 40 && b->len > 40)
                        memcpy(b->str + g_test_rand_int_range(0, 20), a->data + g_test_rand_int_range(0, 20), (gsize) g_test_rand_int_range(1, 20));
                for (guint i = 0; i < a->len; i++)
                        for (guint k = 0; k < b->len; k++) {
                                gsize l = 0;

                                while (i + l < a->len && k + l < b->len && a->data[i + l] == (guint8) b->str[k + l])
                                        l++;
                                best = MAX(best, l);
                        }
                g_assert_cmpuint(bh_web_trace_common(a, b->str, b->len), ==, best < BH_WEB_TRACE_LEAST ? 0 : best);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/web_trace/plain-requests-may-be-skipped", plain_requests_may_be_skipped);
        g_test_add_func("/web_trace/others-may-not", others_may_not);
        g_test_add_func("/web_trace/parts-of-a-request-are-found", parts_of_a_request_are_found);
        g_test_add_func("/web_trace/common-is-the-longest", common_is_the_longest);
        return g_test_run();
}
