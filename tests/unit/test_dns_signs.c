/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "sensor/dns_signs.h"

#define SECOND G_GINT64_CONSTANT(1000000000)
#define ID "0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123"

typedef struct {
        BhDnsSigns *s;
        gint64 ns;
        guint signs;
        BhDnsSign last;
} Stream;

static void stream_init(Stream *s) {
        *s = (Stream){ .s = bh_dns_signs_new(), .ns = 1000 * SECOND };
}

static void stream_clear(Stream *s) {
        bh_dns_signs_free(s->s);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Stream, stream_clear)

static void message(Stream *s, const char *name, const char *type, const char *rcode) {
        struct bh_event e;

        memset(&e, 0, sizeof(e));
        BH_SET(&e, type, BH_EV_DNS);
        BH_SET(&e, boottime, (guint64) s->ns);
        BH_SET_STR(&e, container_id, ID);
        BH_SET_STR(&e, dns_question, name);
        BH_SET_STR(&e, dns_qtype, type);
        BH_SET_STR(&e, dns_type, rcode ? "response" : "query");
        BH_SET_STR(&e, dns_rcode, rcode);
        s->signs += bh_dns_signs_event(s->s, &e, &s->last);
}

/* A question and its answer, and then so many milliseconds. */
static void asks(Stream *s, const char *name, const char *type, const char *rcode, guint ms) {
        message(s, name, type, NULL);
        message(s, name, type, rcode);
        s->ns += (gint64) ms * 1000000;
}

static char *encode(GRand *r, const char *alphabet, guint n) {
        char *out = g_malloc0(n + 1);

        for (guint i = 0; i < n; i++)
                out[i] = alphabet[g_rand_int_range(r, 0, (gint32) strlen(alphabet))];
        return out;
}

static const char *const words[] = { "shop",  "news",   "cloud", "garden", "river", "market", "travel", "photo", "north", "silver", "green", "media", "books", "health", "music", "daily",
                                     "house", "studio", "smart", "global", "first", "world",  "forest", "stone", "sport", "coffee", "design", "family", "fresh", "golden", "studio", "center" };

static char *host_name(GRand *r) {
        static const char *const tops[] = { "com", "org", "net", "de", "io", "co.uk" };
        static const char *const hosts[] = { "www.", "", "mail.", "api.", "cdn.", "static.", "img2." };

        return g_strdup_printf("%s%s%s%d.%s", hosts[g_rand_int_range(r, 0, 7)], words[g_rand_int_range(r, 0, 32)], words[g_rand_int_range(r, 0, 32)], g_rand_int_range(r, 0, 40),
                               tops[g_rand_int_range(r, 0, 6)]);
}

static void domains_are_told_apart(void) {
        static const struct {
                const char *name, *zone;
        } cases[] = {
                { "www.Example.com", "example.com" }, { "a.b.example.co.uk", "example.co.uk" }, { "example.com.", "example.com" }, { "x.example.com.au", "example.com.au" },
                { "com", "" }, { "mysql", "" }, { "api.default.svc.cluster.local", "" }, { "1.0.0.127.in-addr.arpa", "" }, { "db.internal", "" }, { "co.uk", "" }, { "a\\.b.example.org", "example.org" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                char zone[BH_DOMAIN_MAX + 1];

                bh_domain_of(cases[i].name, strlen(cases[i].name), zone);
                g_test_message("%s", cases[i].name);
                g_assert_cmpstr(zone, ==, cases[i].zone);
        }
}

static void words_are_not_random(void) {
        static const char *const names[] = { "kubernetes", "googleusercontent", "authentication-service", "prometheus-node-exporter", "analytics", "safebrowsing", "stackoverflow", "newrelic",
                                             "connectivity-check", "elasticsearch-master-headless", "metadata", "fundacionromero", "wikipedia", "raspberrypi" };
        g_autoptr(GRand) r = g_rand_new_with_seed(7);
        guint random = 0;

        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
                g_test_message("%s", names[i]);
                g_assert_false(bh_dns_label_random(names[i], strlen(names[i])));
        }
        for (guint i = 0; i < 1000; i++) {
                g_autofree char *label = encode(r, i % 2 ? "abcdefghijklmnopqrstuvwxyz234567" : "0123456789abcdef", 32);

                random += bh_dns_label_random(label, 32);
        }
        g_assert_cmpuint(random, >, 980);
}

/* However the data is written and whatever is asked for, within 30 seconds from the first name. */
static void transfer_in_names_is_found(void) {
        static const struct {
                const char *what, *alphabet, *type, *rcode;
                guint label, labels, ms;
        } cases[] = {
                { "hex in TXT", "0123456789abcdef", "TXT", "NOERROR", 60, 1, 500 },
                { "base32 in NULL", "abcdefghijklmnopqrstuvwxyz234567", "NULL", "NOERROR", 60, 3, 200 },
                { "base64 in CNAME", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "CNAME", "NOERROR", 50, 2, 300 },
                { "names that do not exist", "abcdefghijklmnopqrstuvwxyz234567", "A", "NXDOMAIN", 48, 1, 400 },
                { "addresses that are always there", "0123456789abcdef", "A", "NOERROR", 63, 3, 100 },
                { "digits", "0123456789", "TXT", "NOERROR", 30, 1, 300 },
        };
        g_autoptr(GRand) r = g_rand_new_with_seed(1);

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_auto(Stream) s;
                stream_init(&s);
                gint64 begin = s.ns;

                while (!s.signs && s.ns - begin < 30 * SECOND) {
                        g_autoptr(GString) name = g_string_new(NULL);

                        for (guint k = 0; k < cases[i].labels; k++) {
                                g_autofree char *label = encode(r, cases[i].alphabet, cases[i].label);

                                g_string_append_printf(name, "%s.", label);
                        }
                        g_string_append(name, "t.evil.example");
                        asks(&s, name->str, cases[i].type, cases[i].rcode, cases[i].ms);
                }
                g_test_message("%s: %u names, %" G_GUINT64_FORMAT " bytes, %.1f bits, after %.1f s", cases[i].what, s.last.names, s.last.bytes, s.last.entropy, (double) (s.ns - begin) / 1e9);
                g_assert_cmpuint(s.signs, ==, 1);
                g_assert_cmpint(s.last.kind, ==, BH_DNS_SIGN_TUNNEL);
                g_assert_cmpstr(s.last.zone, ==, "evil.example");
                g_assert_cmpfloat(s.last.entropy, >, 3.0);
                /* told once, not with each name that follows */
                for (guint k = 0; k < 500; k++) {
                        g_autofree char *label = encode(r, cases[i].alphabet, 60), *name = g_strdup_printf("%s.evil.example", label);

                        asks(&s, name, cases[i].type, cases[i].rcode, 10);
                }
                g_assert_cmpuint(s.signs, ==, 1);
        }
}

/* A byte a second for an hour is data, too; it takes longer to tell. */
static void slow_transfer_is_found_within_an_hour(void) {
        g_auto(Stream) s;
        stream_init(&s);
        g_autoptr(GRand) r = g_rand_new_with_seed(2);
        gint64 begin = s.ns;

        while (!s.signs && s.ns - begin < 3600 * SECOND) {
                g_autofree char *label = encode(r, "0123456789abcdef", 40), *name = g_strdup_printf("%s.evil.example", label);

                asks(&s, name, "TXT", "NOERROR", 10000);
        }
        g_assert_cmpuint(s.signs, ==, 1);
}

/* 10,000 different hosts, hashes of a content network, look-ups of addresses, block lists, search domains, services: in five minutes. */
static void busy_client_is_not(void) {
        g_auto(Stream) s;
        stream_init(&s);
        g_autoptr(GRand) r = g_rand_new_with_seed(3);

        for (guint i = 0; i < 10000; i++) {
                g_autofree char *name = host_name(r), *in_cluster = g_strdup_printf("%s.default.svc.cluster.local", name), *searched = g_strdup_printf("%s.corp.example.com", name);
                g_autofree char *hash = encode(r, "0123456789abcdef", 32), *cdn = g_strdup_printf("d%.13s.cloudfront.net", hash), *framed = g_strdup_printf("%s.frame.cdn.example", hash);
                g_autofree char *back = g_strdup_printf("%d.%d.%d.%d.in-addr.arpa", g_rand_int_range(r, 0, 256), g_rand_int_range(r, 0, 256), g_rand_int_range(r, 0, 256), g_rand_int_range(r, 0, 256));
                g_autofree char *listed = g_strdup_printf("%d.%d.%d.%d.zen.blocklist.example", g_rand_int_range(r, 0, 256), g_rand_int_range(r, 0, 256), g_rand_int_range(r, 0, 256), g_rand_int_range(r, 0, 256));
                g_autofree char *key = g_strdup_printf("selector%d._domainkey.%s", i % 3, name);

                asks(&s, in_cluster, "A", "NXDOMAIN", 0);
                asks(&s, searched, "A", "NXDOMAIN", 0);
                asks(&s, searched, "AAAA", "NXDOMAIN", 0);
                asks(&s, name, "A", i % 20 ? "NOERROR" : "NXDOMAIN", 0);
                asks(&s, name, "AAAA", i % 20 ? "NOERROR" : "NXDOMAIN", 0);
                asks(&s, cdn, "A", "NOERROR", 0);
                if (i % 4 == 0)
                        asks(&s, framed, "A", "NOERROR", 0);
                asks(&s, back, "PTR", i % 2 ? "NXDOMAIN" : "NOERROR", 0);
                asks(&s, listed, "A", i % 10 ? "NXDOMAIN" : "NOERROR", 0);
                asks(&s, key, "TXT", "NOERROR", 0);
                asks(&s, "_http._tcp.registry.example.com", "SRV", "NOERROR", 0);
                s.ns += 30 * SECOND / 1000;
        }
        if (s.signs)
                g_error("%s %s: %u names, %" G_GUINT64_FORMAT " bytes, odd %u, missing %u of %u: %s", s.last.kind ? "generated" : "tunnel", s.last.zone, s.last.names, s.last.bytes, s.last.odd, s.last.missing,
                        s.last.questions, s.last.example);
}

static void generated_names_are_found(void) {
        g_autoptr(GRand) r = g_rand_new_with_seed(4);

        for (guint words_too = 0; words_too < 2; words_too++) {
                g_auto(Stream) s;
                stream_init(&s);
                gint64 begin = s.ns;

                while (!s.signs && s.ns - begin < 60 * SECOND) {
                        g_autofree char *label = encode(r, "abcdefghijklmnopqrstuvwxyz", 14), *random = g_strdup_printf("%s.%s", label, g_rand_boolean(r) ? "com" : "info");
                        g_autofree char *wordy = g_strdup_printf("%s%s%s.net", words[g_rand_int_range(r, 0, 32)], words[g_rand_int_range(r, 0, 32)], words[g_rand_int_range(r, 0, 32)]);

                        asks(&s, words_too ? wordy : random, "A", "NXDOMAIN", 200);
                        asks(&s, "api.partner.example", "A", "NOERROR", 0);
                }
                g_test_message("%u names in %.1f s", s.last.names, (double) (s.ns - begin) / 1e9);
                g_assert_cmpuint(s.signs, ==, 1);
                g_assert_cmpint(s.last.kind, ==, BH_DNS_SIGN_GENERATED);
        }
}

static void bounds_hold(void) {
        g_auto(Stream) s;
        stream_init(&s);
        BhDnsSignsStats stats;

        for (guint i = 0; i < BH_DNS_ZONES + 100; i++) {
                g_autofree char *name = g_strdup_printf("www.domain%u.org", i);

                asks(&s, name, "A", "NOERROR", 1);
        }
        bh_dns_signs_stats(s.s, &stats);
        g_assert_cmpuint(stats.zones, ==, BH_DNS_ZONES);
        g_assert_cmpuint(stats.forgotten, ==, 100);
        g_assert_cmpuint(stats.messages, ==, 2 * (BH_DNS_ZONES + 100));
        /* names that no host has */
        for (guint n = 0; n < 1024; n++) {
                g_autofree char *dots = g_strnfill(n, '.'), *slashes = g_strnfill(n, '\\');

                asks(&s, dots, "A", "NXDOMAIN", 1);
                asks(&s, slashes, "A", "NXDOMAIN", 1);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/dns_signs/domains-are-told-apart", domains_are_told_apart);
        g_test_add_func("/dns_signs/words-are-not-random", words_are_not_random);
        g_test_add_func("/dns_signs/transfer-in-names-is-found", transfer_in_names_is_found);
        g_test_add_func("/dns_signs/slow-transfer-is-found-within-an-hour", slow_transfer_is_found_within_an_hour);
        g_test_add_func("/dns_signs/busy-client-is-not", busy_client_is_not);
        g_test_add_func("/dns_signs/generated-names-are-found", generated_names_are_found);
        g_test_add_func("/dns_signs/bounds-hold", bounds_hold);
        return g_test_run();
}
