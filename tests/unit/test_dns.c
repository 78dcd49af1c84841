/* SPDX-License-Identifier: Apache-2.0 */
/* Messages are built by hand, byte by byte: what a decoder of our own would build proves nothing. */
#include <glib.h>
#include <string.h>

#include "parse/dns.h"

#define PARSE(bytes) bh_dns_parse((const guint8 *) (bytes), sizeof(bytes) - 1, NULL)

/* An answer of a resolver: example.com CNAME www.example.net, A 93.184.216.34, AAAA 2606:2800::1, with EDNS. */
static const char answer[] =
        "\x12\x34\x81\xa0\x00\x01\x00\x03\x00\x00\x00\x01"
        "\x07" "Example\x03" "com\x00" "\x00\x01\x00\x01"                                     /* 12 */
        "\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x11\x03" "www\x07" "example\x03" "net\x00" /* 29; the name at 41 */
        "\xc0\x29\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x5d\xb8\xd8\x22"
        "\xc0\x29\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10\x26\x06\x28\x00\0\0\0\0\0\0\0\0\0\0\0\x01"
        "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

static void answer_of_a_resolver_is_read(void) {
        g_autoptr(BhDnsMessage) m = PARSE(answer);

        g_assert_nonnull(m);
        g_assert_cmpint(m->problem, ==, BH_DNS_WHOLE);
        g_assert_cmphex(m->id, ==, 0x1234);
        g_assert_cmphex(m->flags, ==, BH_DNS_QR | BH_DNS_RD | BH_DNS_RA | BH_DNS_AD);
        g_assert_cmpuint(m->opcode, ==, 0);
        g_assert_cmpuint(m->rcode, ==, 0);
        g_assert_cmpuint(m->n_questions, ==, 1);
        g_assert_cmpstr(m->questions[0].name, ==, "Example.com");
        g_assert_cmpuint(m->questions[0].type, ==, BH_DNS_A);
        g_assert_cmpuint(m->n_records, ==, 3);
        g_assert_cmpstr(m->records[0].name, ==, "Example.com");
        g_assert_cmpuint(m->records[0].type, ==, BH_DNS_CNAME);
        g_assert_cmpuint(m->records[0].ttl, ==, 300);
        g_assert_cmpstr(m->records[0].target, ==, "www.example.net");
        g_assert_cmpstr(m->records[1].name, ==, "www.example.net");
        g_assert_cmpmem(m->records[1].data, m->records[1].data_len, "\x5d\xb8\xd8\x22", 4);
        g_assert_cmpmem(m->records[2].data, m->records[2].data_len, "\x26\x06\x28\x00\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
        g_assert_cmpuint(m->records[2].section, ==, BH_DNS_ANSWER);
        g_assert_true(m->edns);
        g_assert_cmpuint(m->edns_bytes, ==, 1232);
        g_assert_cmpuint(m->counts[3], ==, 1);
        g_assert_cmpuint(m->trailing, ==, 0);
}

/* Each prefix of a message gives what is whole in it and says that it was cut; nothing is read beyond it. */
static void cut_message_keeps_what_is_whole(void) {
        for (gsize n = 0; n < sizeof(answer) - 1; n++) {
                g_autofree guint8 *exact = g_memdup2(answer, n ? n : 1);
                g_autoptr(GError) error = NULL;
                g_autoptr(BhDnsMessage) m = bh_dns_parse(exact, n, &error);

                if (n < 12) {
                        g_assert_null(m);
                        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
                        continue;
                }
                g_assert_cmpint(m->problem, ==, BH_DNS_CUT);
                g_assert_cmpuint(m->n_questions, ==, n >= 29 ? 1 : 0);
                g_assert_cmpuint(m->n_records, ==, n >= 102 ? 3 : n >= 74 ? 2 : n >= 58 ? 1 : 0);
        }
}

#define HEAD(questions, answers) "\0\1\x80\0\0" questions "\0" answers "\0\0\0\0"
/* A record of the root: type, length and data. */
#define RECORD(type, len, data) "\0\0" type "\0\1\0\0\0\x05\0" len data

static void records_of_each_type_are_read(void) {
        static const char text[] = HEAD("\0", "\x09")
                RECORD("\x0f", "\x08", "\0\x0a\x04" "mail\0")
                RECORD("\x10", "\x08", "\x03" "a=b\x00\x02" "\0\xff")
                RECORD("\x21", "\x0a", "\0\1\0\2\x01\xbb\x02" "ab\0")
                RECORD("\x02", "\x04", "\x02" "ns\0")
                RECORD("\x0c", "\x04", "\x02" "pt\0")
                RECORD("\x27", "\x04", "\x02" "dn\0")
                RECORD("\x06", "\x19", "\x02" "so\0\0abcdefghijklmnopqrst")
                RECORD("\x63", "\x03", "\x00\x01\x02")
                RECORD("\x01", "\x00", "");
        g_autoptr(BhDnsMessage) m = PARSE(text);

        g_assert_cmpint(m->problem, ==, BH_DNS_WHOLE);
        g_assert_cmpuint(m->n_records, ==, 9);
        const BhDnsRecord *r = m->records;
        g_assert_cmpstr(r[0].name, ==, ".");
        g_assert_cmpuint(r[0].priority, ==, 10);
        g_assert_cmpstr(r[0].target, ==, "mail");
        g_assert_cmpmem(r[1].data, r[1].data_len, "a=b\0\xff", 5);
        g_assert_cmpuint(r[2].priority, ==, 1);
        g_assert_cmpuint(r[2].weight, ==, 2);
        g_assert_cmpuint(r[2].port, ==, 443);
        g_assert_cmpstr(r[2].target, ==, "ab");
        g_assert_cmpstr(r[3].target, ==, "ns");
        g_assert_cmpstr(r[4].target, ==, "pt");
        g_assert_cmpstr(r[5].target, ==, "dn");
        g_assert_cmpstr(r[6].target, ==, "so");
        g_assert_cmpmem(r[7].data, r[7].data_len, "\0\1\2", 3);
        g_assert_cmpuint(r[8].data_len, ==, 0);
        g_assert_nonnull(r[8].data);
}

static void https_record_has_its_parameters(void) {
        /* priority 1, target ".", alpn h2, ipv4hint 192.0.2.1 */
        static const char text[] = HEAD("\0", "\1") RECORD("\x41", "\x12", "\0\1\0\0\1\0\3\2h2\0\4\0\4\xc0\0\2\1");
        static const char falling[] = HEAD("\0", "\1") RECORD("\x41", "\x0b", "\0\1\0\0\4\0\0\0\1\0\0");
        g_autoptr(BhDnsMessage) m = PARSE(text), bad = PARSE(falling);
        gsize len;

        g_assert_cmpint(m->problem, ==, BH_DNS_WHOLE);
        g_assert_cmpstr(m->records[0].target, ==, ".");
        const guint8 *v = bh_dns_svc_param(&m->records[0], 1, &len);
        g_assert_cmpmem(v, len, "\2h2", 3);
        v = bh_dns_svc_param(&m->records[0], 4, &len);
        g_assert_cmpmem(v, len, "\xc0\0\2\1", 4);
        g_assert_null(bh_dns_svc_param(&m->records[0], 6, &len));
        g_assert_cmpuint(len, ==, 0);
        g_assert_cmpint(bad->problem, ==, BH_DNS_MALFORMED);
        g_assert_cmpuint(bad->n_records, ==, 0);
}

static void names_show_any_byte(void) {
        static const char text[] = HEAD("\1", "\0") "\x06" "a.b\\ \xff" "\x01\0\0" "\0\1\0\1";
        g_autoptr(BhDnsMessage) m = PARSE(text);

        g_assert_cmpstr(m->questions[0].name, ==, "a\\.b\\\\\\032\\255.\\000");
}

static void longest_name_fits_and_a_longer_one_is_refused(void) {
        for (guint extra = 0; extra < 2; extra++) {
                g_autoptr(GByteArray) b = g_byte_array_new();
                guint8 label[64];

                g_byte_array_append(b, (const guint8 *) HEAD("\1", "\0"), 12);
                memset(label, 0x80, sizeof(label));
                for (int i = 0; i < 4; i++) {
                        label[0] = (guint8) (i < 3 ? 63 : 61 + extra); /* 3 * 64 + 62 + 1 = 255 */
                        g_byte_array_append(b, label, label[0] + 1u);
                }
                g_byte_array_append(b, (const guint8 *) "\0\0\1\0\1", 5);
                g_autoptr(BhDnsMessage) m = bh_dns_parse(b->data, b->len, NULL);
                g_assert_cmpint(m->problem, ==, extra ? BH_DNS_MALFORMED : BH_DNS_WHOLE);
                if (!extra)
                        g_assert_cmpuint(strlen(m->questions[0].name), ==, (63 * 3 + 61) * 4 + 3);
        }
}

static void hostile_names_end(void) {
        static const struct {
                const char *what;
                const char *name;
                gsize len;
                BhDnsProblem problem;
        } cases[] = {
                { "pointer to itself", "\xc0\x0c", 2, BH_DNS_MALFORMED },
                { "pointer forward", "\xc0\x0e\0", 3, BH_DNS_MALFORMED },
                { "pointer into the header", "\xc0\x00", 2, BH_DNS_MALFORMED },
                { "label then pointer to it", "\1a\xc0\x0c", 4, BH_DNS_MALFORMED },
                { "reserved label 0x40", "\x41" "a\0", 3, BH_DNS_MALFORMED },
                { "reserved label 0x80", "\x81" "a\0", 3, BH_DNS_MALFORMED },
                { "half a pointer", "\xc0", 1, BH_DNS_CUT },
                { "label beyond the end", "\x3f" "ab", 3, BH_DNS_CUT },
                { "pointer beyond the end", "\xff\xff", 2, BH_DNS_MALFORMED },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GByteArray) b = g_byte_array_new();

                g_byte_array_append(b, (const guint8 *) HEAD("\1", "\0"), 12);
                g_byte_array_append(b, (const guint8 *) cases[i].name, (guint) cases[i].len);
                g_autofree guint8 *exact = g_memdup2(b->data, b->len);
                g_autoptr(BhDnsMessage) m = bh_dns_parse(exact, b->len, NULL);
                if (m->problem != cases[i].problem)
                        g_error("%s: %s", cases[i].what, bh_dns_problem_name(m->problem));
                g_assert_cmpuint(m->n_questions, ==, 0);
        }
}

/* Two names that point at each other, from data: the second has no lower place to go to. */
static void chain_of_pointers_must_go_down(void) {
        static const char text[] = HEAD("\1", "\1")
                "\1a\0\0\1\0\1"                       /* 12 */
                RECORD("\x05", "\x02", "\xc0\x1e");   /* its data at 30 */
        static const char down[] = HEAD("\1", "\1") "\1a\0\0\1\0\1" RECORD("\x05", "\x04", "\1b\xc0\x0c");
        g_autoptr(BhDnsMessage) m = PARSE(text), good = PARSE(down);

        g_assert_cmpint(m->problem, ==, BH_DNS_MALFORMED);
        g_assert_cmpuint(m->n_questions, ==, 1);
        g_assert_cmpint(good->problem, ==, BH_DNS_WHOLE);
        g_assert_cmpstr(good->records[0].target, ==, "b.a");
}

static void data_that_does_not_fit_its_type_is_malformed(void) {
        static const struct {
                const char *what;
                const char *record;
                gsize len;
        } cases[] = {
#define CASE(what, text) { what, text, sizeof(text) - 1 }
                CASE("A of 5", RECORD("\x01", "\x05", "12345")),
                CASE("AAAA of 4", RECORD("\x1c", "\x04", "1234")),
                CASE("TXT beyond its end", RECORD("\x10", "\x02", "\x02x")),
                CASE("MX without a name", RECORD("\x0f", "\x02", "\0\1")),
                CASE("CNAME with bytes behind", RECORD("\x05", "\x04", "\1a\0x")),
                CASE("CNAME beyond its data", RECORD("\x05", "\x02", "\2ab")),
                CASE("SRV too short", RECORD("\x21", "\x06", "\0\0\0\0\0\0")),
                CASE("SOA without its numbers", RECORD("\x06", "\x02", "\0\0")),
                CASE("HTTPS parameter too long", RECORD("\x41", "\x07", "\0\1\0\0\1\0\1")),
                CASE("OPT with a name", "\1a\0\0\x29\0\0\0\0\0\0\0\0"),
#undef CASE
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GByteArray) b = g_byte_array_new();

                g_byte_array_append(b, (const guint8 *) HEAD("\0", "\2"), 12);
                g_byte_array_append(b, (const guint8 *) RECORD("\x01", "\x04", "good"), 15);
                g_byte_array_append(b, (const guint8 *) cases[i].record, (guint) cases[i].len);
                g_autofree guint8 *exact = g_memdup2(b->data, b->len);
                g_autoptr(BhDnsMessage) m = bh_dns_parse(exact, b->len, NULL);
                if (m->problem != BH_DNS_MALFORMED || m->n_records != 1)
                        g_error("%s: %s, %u records", cases[i].what, bh_dns_problem_name(m->problem), m->n_records);
        }
}

static void bounds_hold(void) {
        g_autoptr(GByteArray) many = g_byte_array_new(), questions = g_byte_array_new(), names = g_byte_array_new();

        g_byte_array_append(many, (const guint8 *) "\0\1\x80\0\0\0\xff\xff\0\0\0\0", 12);
        for (guint i = 0; i < 300; i++)
                g_byte_array_append(many, (const guint8 *) RECORD("\x01", "\x04", "abcd"), 15);
        g_autoptr(BhDnsMessage) m = bh_dns_parse(many->data, many->len, NULL);
        g_assert_cmpint(m->problem, ==, BH_DNS_BOUND);
        g_assert_cmpuint(m->n_records, ==, BH_DNS_RECORDS_MAX);
        g_assert_cmpuint(m->counts[1], ==, 65535);

        g_byte_array_append(questions, (const guint8 *) HEAD("\x09", "\0"), 12);
        for (guint i = 0; i < 9; i++)
                g_byte_array_append(questions, (const guint8 *) "\0\0\1\0\1", 5);
        g_autoptr(BhDnsMessage) q = bh_dns_parse(questions->data, questions->len, NULL);
        g_assert_cmpint(q->problem, ==, BH_DNS_BOUND);
        g_assert_cmpuint(q->n_questions, ==, BH_DNS_QUESTIONS_MAX);

        /* a small message whose names, repeated by pointers, would be large */
        guint8 label[64];
        memset(label, 1, sizeof(label));
        label[0] = 63;
        g_byte_array_append(names, (const guint8 *) HEAD("\1", "\x7f"), 12);
        for (int i = 0; i < 3; i++)
                g_byte_array_append(names, label, sizeof(label));
        g_byte_array_append(names, (const guint8 *) "\0\0\1\0\1", 5);
        for (int i = 0; i < 127; i++)
                g_byte_array_append(names, (const guint8 *) "\xc0\x0c\0\1\0\1\0\0\0\0\0\4abcd", 16);
        g_autoptr(BhDnsMessage) n = bh_dns_parse(names->data, names->len, NULL);
        g_assert_cmpint(n->problem, ==, BH_DNS_BOUND);
        g_assert_cmpuint(n->n_records, <=, BH_DNS_TEXT_MAX / (63 * 3 * 4));
        g_assert_cmpuint(n->n_records, >, 30);
}

static void bytes_behind_are_counted(void) {
        static const char text[] = HEAD("\1", "\0") "\0\0\1\0\1" "smuggled";
        g_autoptr(BhDnsMessage) m = PARSE(text);

        g_assert_cmpint(m->problem, ==, BH_DNS_WHOLE);
        g_assert_cmpuint(m->trailing, ==, 8);
}

static void extended_rcode_is_put_together(void) {
        static const char text[] = "\0\1\x80\x03\0\0\0\0\0\0\0\1" "\0\0\x29\x10\0\x01\0\0\0\0\x04" "abcd";
        g_autoptr(BhDnsMessage) m = PARSE(text);

        g_assert_cmpuint(m->rcode, ==, 0x13);
        g_assert_cmpuint(m->edns_data, ==, 4);
        g_assert_cmpuint(m->n_records, ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/dns/answer_of_a_resolver_is_read", answer_of_a_resolver_is_read);
        g_test_add_func("/dns/cut_message_keeps_what_is_whole", cut_message_keeps_what_is_whole);
        g_test_add_func("/dns/records_of_each_type_are_read", records_of_each_type_are_read);
        g_test_add_func("/dns/https_record_has_its_parameters", https_record_has_its_parameters);
        g_test_add_func("/dns/names_show_any_byte", names_show_any_byte);
        g_test_add_func("/dns/longest_name_fits_and_a_longer_one_is_refused", longest_name_fits_and_a_longer_one_is_refused);
        g_test_add_func("/dns/hostile_names_end", hostile_names_end);
        g_test_add_func("/dns/chain_of_pointers_must_go_down", chain_of_pointers_must_go_down);
        g_test_add_func("/dns/data_that_does_not_fit_its_type_is_malformed", data_that_does_not_fit_its_type_is_malformed);
        g_test_add_func("/dns/bounds_hold", bounds_hold);
        g_test_add_func("/dns/bytes_behind_are_counted", bytes_behind_are_counted);
        g_test_add_func("/dns/extended_rcode_is_put_together", extended_rcode_is_put_together);
        return g_test_run();
}
