/* SPDX-License-Identifier: Apache-2.0 */
/* Whether protocols are told by their first bytes, and nothing by bytes that are of none. */
#include <glib.h>
#include <string.h>

#include "parse/inspect_wire.h"
#include "parse/protocol.h"
#include "parse/tls.h"
#include "protocol_samples.h"

static gboolean look(const char *c, gsize c_len, const char *s, gsize s_len, guint flags, BhProtocolFacts *f) {
        BhProtocolInput in = { .client = (const guint8 *) c, .client_len = c_len, .server = (const guint8 *) s, .server_len = s_len, .flags = flags };

        return bh_protocol_recognise(&in, f);
}
#define LOOK(c, s, flags, f) look(c, sizeof(c) - 1, s, sizeof(s) - 1, flags, f)

static void each_sample_is_recognised(void) {
        for (gsize i = 0; i < G_N_ELEMENTS(samples); i++) {
                BhProtocolFacts f;
                gboolean found = look(samples[i].client, samples[i].client_len, samples[i].server, samples[i].server_len, 0, &f);

                if (f.protocol != samples[i].protocol || f.confidence != samples[i].confidence)
                        g_error("sample %zu: expected \"%s\" with confidence %d, got \"%s\" with %d", i, bh_protocol_name(samples[i].protocol), samples[i].confidence,
                                bh_protocol_name(f.protocol), f.confidence);
                g_assert_true(found == (f.protocol != BH_PROTOCOL_UNKNOWN));
        }
}

/* Bytes that end early give the same protocol or none, never another one; nothing is read beyond them. */
static void no_prefix_is_another_protocol(void) {
        for (gsize i = 0; i < G_N_ELEMENTS(samples); i++)
                for (gsize n = 0; n < samples[i].client_len + samples[i].server_len; n++) {
                        gsize c = MIN(n, samples[i].client_len), s = n - c;
                        g_autofree char *client = g_memdup2(samples[i].client, c ? c : 1), *server = g_memdup2(samples[i].server, s ? s : 1);
                        BhProtocolFacts f;

                        look(c ? client : NULL, c, s ? server : NULL, s, BH_PROTOCOL_MIDSTREAM, &f);
                        if (f.protocol && samples[i].protocol && f.protocol != samples[i].protocol)
                                g_error("the first %zu bytes of sample %zu (\"%s\") are taken for \"%s\"", n, i, bh_protocol_name(samples[i].protocol), bh_protocol_name(f.protocol));
                }
}

static void facts_of_http_are_told(void) {
        BhProtocolFacts f;

        g_assert_true(LOOK("GET / HTTP/1.1\r\nHost: Shop.Example:8080\r\nUser-Agent: curl/7\x1b[0m\r\n\r\n", "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n", 0, &f));
        g_assert_cmpstr(f.server_name, ==, "shop.example");
        g_assert_cmpstr(f.client, ==, "curl/7?[0m");
        g_assert_cmpstr(f.server, ==, "nginx/1.22.1");
        g_assert_cmpstr(f.version, ==, "1.1");
        g_assert_true(LOOK("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "", 0, &f));
        g_assert_cmpstr(f.server_name, ==, "[::1]");
}

static void facts_of_databases_are_told(void) {
        BhProtocolFacts f;

        g_assert_true(LOOK("", MYSQL_GREETING, 0, &f));
        g_assert_cmpstr(f.server, ==, "8.0.36");
        g_assert_true(LOOK(PG_STARTUP, "", 0, &f));
        g_assert_cmpstr(f.client, ==, "psql");
        g_assert_cmpstr(f.version, ==, "3.0");
        g_assert_true(LOOK(KAFKA_API, "", 0, &f));
        g_assert_cmpstr(f.client, ==, "rdkafka");
        g_assert_true(LOOK("", "$32\r\n# Server\r\nredis_version:7.0.15\r\n\r\n", 0, &f));
        g_assert_cmpstr(f.server, ==, "7.0.15");
}

static void proxy_header_is_taken_off(void) {
        BhProtocolFacts f;

        g_assert_true(LOOK("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "", 0, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_HTTP1);
        g_assert_cmpuint(f.signs, ==, BH_PROTOCOL_PROXIED);
        g_assert_true(LOOK("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" "123456789012" "SSH-2.0-x\r\n", "", 0, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_SSH);
}

static void datagrams_are_told(void) {
        static const char query[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", answer[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\7example\3com\0\0\1\0\1"
                                                                                                      "\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4";
        BhProtocolFacts f;

        g_assert_true(LOOK(query, answer, BH_PROTOCOL_DATAGRAM, &f));
        g_assert_cmpstr(bh_protocol_name(f.protocol), ==, "dns");
        g_assert_false(LOOK(answer, "", BH_PROTOCOL_DATAGRAM, &f));
        g_assert_false(LOOK(query, answer, 0, &f)); /* without its length it is no stream */
        g_assert_true(LOOK("\xc3\0\0\0\1\x08" "12345678" "\0\0\x44\x9e", "", BH_PROTOCOL_DATAGRAM, &f));
        g_assert_cmpstr(bh_protocol_name(f.protocol), ==, "quic");
}

static void later_bytes_are_told_where_it_is_safe(void) {
        static const char tls[] = "\x17\3\3\0\4abcd\x17\3\3\1\0xyz", frames[] = "\0\0\4\x08\0\0\0\0\0\0\0\xff\xff\0\0\x08\6\0\0\0\0\0abcdefgh\0\0\5\0\1\0\0\0\7hello";
        BhProtocolFacts f;

        g_assert_true(LOOK(tls, "", BH_PROTOCOL_MIDSTREAM, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_TLS);
        g_assert_false(LOOK(tls, "", 0, &f));
        g_assert_false(LOOK("\x17\3\3\0\4ab", "", BH_PROTOCOL_MIDSTREAM, &f)); /* one record alone proves little */
        g_assert_true(LOOK(frames, "", BH_PROTOCOL_MIDSTREAM, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_HTTP2);
        g_assert_true(LOOK("\x0e\0\0\0\3SELECT 1 x y", "\1\0\0\1\1", BH_PROTOCOL_MIDSTREAM, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_MYSQL);
}

/* ---- TLS */

static void put16(GByteArray *b, guint v) {
        g_byte_array_append(b, (const guint8[]) { (guint8) (v >> 8), (guint8) v }, 2);
}

/* The example of JA4's description: ciphers, extensions and algorithms of one browser. */
static GByteArray *hello(void) {
        static const guint16 ciphers[] = { 0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035 };
        static const guint16 plain[] = { 0x0a0a, 0x001b, 0x0033, 0x4469, 0x0017, 0x002d, 0x0005, 0x0023, 0x0012, 0xff01, 0x000b, 0x000a, 0x0015 };
        static const guint16 algorithms[] = { 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601 };
        GByteArray *b = g_byte_array_new();
        guint8 random[33] = { 0 };

        g_byte_array_append(b, (const guint8 *) "\x16\3\1\0\0\1\0\0\0\3\3", 11);
        g_byte_array_append(b, random, 33);
        put16(b, sizeof(ciphers));
        for (gsize i = 0; i < G_N_ELEMENTS(ciphers); i++)
                put16(b, ciphers[i]);
        g_byte_array_append(b, (const guint8 *) "\1\0", 2);
        guint at = b->len;
        put16(b, 0);
        g_byte_array_append(b, (const guint8 *) "\0\0\0\x11\0\x0f\0\0\x0cShop.Example", 21);
        g_byte_array_append(b, (const guint8 *) "\0\x10\0\x0e\0\x0c\2h2\x08http/1.1", 18);
        g_byte_array_append(b, (const guint8 *) "\0\x2b\0\7\6\x3a\x3a\3\4\3\3", 11);
        put16(b, 13);
        put16(b, 2 + sizeof(algorithms));
        put16(b, sizeof(algorithms));
        for (gsize i = 0; i < G_N_ELEMENTS(algorithms); i++)
                put16(b, algorithms[i]);
        for (gsize i = 0; i < G_N_ELEMENTS(plain); i++) {
                put16(b, plain[i]);
                put16(b, 0);
        }
        guint all = b->len - at - 2, record = b->len - 5, message = b->len - 9;
        b->data[at] = (guint8) (all >> 8);
        b->data[at + 1] = (guint8) all;
        b->data[3] = (guint8) (record >> 8);
        b->data[4] = (guint8) record;
        b->data[7] = (guint8) (message >> 8);
        b->data[8] = (guint8) message;
        return b;
}

static void client_hello_is_read(void) {
        g_autoptr(GByteArray) b = hello();
        BhTlsClientHello h;
        BhProtocolFacts f;

        g_assert_cmpint(bh_tls_client_hello(b->data, b->len, &h), ==, BH_TLS_WHOLE);
        g_assert_cmpstr(h.server_name, ==, "shop.example");
        g_assert_cmpstr(h.alpn, ==, "h2,http/1.1");
        g_assert_cmphex(h.version, ==, 0x0304);
        g_assert_cmpstr(h.ja4, ==, "t13d1516h2_8daaf6152771_e5627efa2ab1");
        g_assert_true(look((const char *) b->data, b->len, "", 0, 0, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_TLS);
        g_assert_cmpstr(f.server_name, ==, "shop.example");
        g_assert_cmpstr(f.fingerprint, ==, h.ja4);
}

static void cut_hello_gives_what_is_there_and_no_fingerprint(void) {
        g_autoptr(GByteArray) b = hello();

        for (guint n = 0; n < b->len; n++) {
                g_autofree guint8 *exact = g_memdup2(b->data, n ? n : 1);
                BhTlsClientHello h;
                BhTlsResult r = bh_tls_client_hello(exact, n, &h);

                g_assert_cmpint(r, ==, n < 11 ? BH_TLS_NOT : BH_TLS_CUT);
                g_assert_cmpstr(h.ja4, ==, "");
                if (n >= 103)
                        g_assert_cmpstr(h.server_name, ==, "shop.example");
        }
}

/* The same hello in records of few bytes, as evasions send it. */
static void hello_in_many_records_is_one(void) {
        g_autoptr(GByteArray) b = hello(), split = g_byte_array_new();
        BhTlsClientHello h;

        for (guint at = 5; at < b->len; at += 7) {
                guint n = MIN(7, b->len - at);

                g_byte_array_append(split, (const guint8[]) { 22, 3, 1, 0, (guint8) n }, 5);
                g_byte_array_append(split, b->data + at, n);
        }
        g_assert_cmpint(bh_tls_client_hello(split->data, split->len, &h), ==, BH_TLS_WHOLE);
        g_assert_cmpstr(h.ja4, ==, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

static void postgresql_in_tls_has_its_server_name(void) {
        g_autoptr(GByteArray) b = g_byte_array_new(), h = hello();
        BhProtocolFacts f;

        g_byte_array_append(b, (const guint8 *) "\0\0\0\x08\4\xd2\x16\x2f", 8);
        g_byte_array_append(b, h->data, h->len);
        g_assert_true(look((const char *) b->data, b->len, "S", 1, 0, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_POSTGRESQL);
        g_assert_cmpuint(f.signs, ==, BH_PROTOCOL_ENCRYPTED);
        g_assert_cmpstr(f.server_name, ==, "shop.example");
}

static void server_hello_is_read(void) {
        static const char s[] = "\x16\3\3\0\x38\2\0\0\x34\3\3" "0123456789abcdef0123456789abcdef" "\0\x13\1\0\0\x0c\0\x2b\0\2\3\4\0\x33\0\2\0\0";
        BhTlsServerHello h;

        g_assert_cmpint(bh_tls_server_hello((const guint8 *) s, sizeof(s) - 1, &h), ==, BH_TLS_WHOLE);
        g_assert_cmphex(h.version, ==, 0x0304);
        g_assert_cmphex(h.cipher, ==, 0x1301);
}

/* ---- what is none */

static guint wrong; /* of the last count */

static void count(const guint8 *a, gsize a_len, const guint8 *b, gsize b_len, guint flags, const char *what) {
        BhProtocolInput in = { .client = a, .client_len = a_len, .server = b, .server_len = b_len, .flags = flags };
        BhProtocolFacts f;

        if (bh_protocol_recognise(&in, &f) && wrong++ < 10)
                g_test_message("%s taken for %s", what, bh_protocol_name(f.protocol));
}

/* xorshift: fast, and the same each run unless BH_SEED says otherwise. */
static guint64 seed;
static guint64 next_random(void) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        return seed ^= seed << 17;
}

static void fill(guint8 *p, gsize n) {
        for (gsize i = 0; i < n; i += 8) {
                guint64 v = next_random();

                memcpy(p + i, &v, 8);
        }
}

static void begin_random(void) {
        const char *given = g_getenv("BH_SEED");

        seed = given ? g_ascii_strtoull(given, NULL, 10) | 1 : G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
        wrong = 0;
}

static void random_bytes_are_no_protocol(void) {
        guint8 a[512], b[512];
        guint n = g_test_slow() ? 10000000 : 1000000;

        begin_random();
        for (guint i = 0; i < n; i++) {
                guint64 r = next_random();
                gsize c = r & 511, s = r >> 9 & 511;

                fill(a, c);
                fill(b, s);
                count(a, c, b, (r >> 20) & 1 ? s : 0, (guint) (r >> 24) & 3, "random bytes");
        }
        g_test_message("%u of %u inputs of random bytes were taken for a protocol", wrong, n);
        g_assert_cmpuint(wrong, ==, 0);
}

/* Of what other protocols and files have: lengths, tags, many zeros, few different bytes, text. */
static gsize structured(guint8 *p, gsize room, guint form) {
#define START(text) { text, sizeof(text) - 1 }
        static const struct {
                const char *text;
                gsize len;
        } starts[] = {
                START("SIP/2.0 200 OK\r\n"), START("RTSP/1.0 200 OK\r\n"), START("REGISTER sip:a SIP/2.0\r\n"), START("\x89PNG\r\n\x1a\n"), START("\x1f\x8b\x08"),
                START("PK\3\4"), START("\x7f" "ELF\2\1\1"), START("%PDF-1.4\n"), START("RFB 003.008\n"), START("\3\0\0\x13\x0e\xe0"),
                START("\x13" "BitTorrent protocol"), START("\xffSMB"), START("\xfeSMB@"), START("ICY 200 OK\r\n"), START("<?xml version='1.0'?>"), START("{\"a\":"),
                START("[[1,2],"), START("<34>1 2026-11-26T00:00:00Z h a - - -"), START("a.b.c:1|c\n"), START("NICK x\r\nUSER x 0 * :x\r\n"), START("\5\1\0"),
                START("\4\1\0\x50"), START("LIST\r\n"), START("HELP\r\n"), START("l\0\x0b\0\0\0\0\0"), START("\x82!\xab"),
                START("\0\0\0\x2c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30"), START("\x30\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0"), START("\x04\0\0\0\1\0\0\0\x16\0\1\0\x0b"),
        };
#undef START
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:-_/\r\n\"{}[]";
        gsize n = 16 + next_random() % (room - 16);
        guint few = 2 + (guint) (next_random() % 5);

        fill(p, n & ~(gsize) 7);
        switch (form) {
        case 0: /* a known beginning of something else, then whatever */
        case 1: {
                gsize k = next_random() % G_N_ELEMENTS(starts);

                memcpy(p, starts[k].text, MIN(starts[k].len, n));
                break;
        }
        case 2: /* a length of the rest, in 4 bytes, then a small number */
                p[0] = p[1] = 0;
                p[2] = (guint8) ((n - 4) >> 8);
                p[3] = (guint8) (n - 4);
                p[4] = p[5] = p[6] = 0;
                p[7] &= 3;
                break;
        case 3: /* the same the other way round */
                p[0] = (guint8) n;
                p[1] = (guint8) (n >> 8);
                p[2] = p[3] = p[5] = p[6] = p[7] = 0;
                p[4] &= 15;
                break;
        case 4: /* mostly zeros */
                for (gsize i = 0; i < n; i++)
                        p[i] = p[i] < 230 ? 0 : p[i] & 7;
                break;
        case 5: /* few different bytes */
                for (gsize i = 0; i < n; i++)
                        p[i] = (guint8) (p[i] % few * 3);
                break;
        case 6: /* text */
        case 7:
                for (gsize i = 0; i < n; i++)
                        p[i] = (guint8) letters[p[i] % (sizeof(letters) - 1)];
                break;
        case 8: /* tag, length, value */
                for (gsize i = 0; i + 2 < n; i += 2u + p[i + 1]) {
                        p[i] &= 0x3f;
                        p[i + 1] &= 15;
                }
                break;
        default: /* records of 16 bytes that count */
                for (gsize i = 0; i < n; i++)
                        p[i] = i % 16 ? (i % 16 < 4 ? (guint8) (i / 16) : 0) : 1;
        }
        return n;
}

static void foreign_bytes_are_no_protocol(void) {
        guint8 a[512], b[512];
        guint n = g_test_slow() ? 1000000 : 10000;

        begin_random();
        for (guint i = 0; i < n; i++) {
                guint form = i % 10;
                gsize c = structured(a, sizeof(a), form), s = structured(b, sizeof(b), form);
                g_autofree char *what = g_strdup_printf("form %u", form);

                count(a, c, b, i & 16 ? s : 0, (guint) (next_random() & 1), what);
                count(a, i & 32 ? 0 : c, b, s, (guint) (next_random() & 3), what);
        }
        g_test_message("%u of %u inputs of foreign bytes were taken for a protocol", wrong, n * 2);
        /* the long form looks for how rare it is: at most one in a million */
        g_assert_cmpuint(wrong, <=, n / 500000);
}

/* ---- the wire */

static void facts_come_back_as_they_were(void) {
        g_autoptr(GByteArray) body = g_byte_array_new(), out = g_byte_array_new(), again = g_byte_array_new();
        BhProtocolInput in = { .client = (const guint8 *) "SSH-2.0-x\r\n", .client_len = 11 };

        bh_inspect_pack_look(body, &in);
        g_assert_cmpint(bh_inspect_answer(BH_INSPECT_PROTOCOL, body->data, body->len, NULL, 0, out), ==, BH_INSPECT_OK);
        g_autofree BhProtocolFacts *f = bh_inspect_unpack_protocol(out->data, out->len);
        g_assert_nonnull(f);
        g_assert_cmpstr(bh_protocol_name(f->protocol), ==, "ssh");
        g_assert_cmpstr(f->client, ==, "x");
        bh_inspect_pack_protocol(again, f);
        g_assert_cmpmem(again->data, again->len, out->data, out->len);
        for (guint n = 0; n < out->len; n++)
                g_assert_null(bh_inspect_unpack_protocol(out->data, n));
        out->data[0] = BH_PROTOCOLS;
        g_assert_null(bh_inspect_unpack_protocol(out->data, out->len));
        g_byte_array_append(body, (const guint8 *) "x", 1);
        g_byte_array_set_size(out, 0);
        g_assert_cmpint(bh_inspect_answer(BH_INSPECT_PROTOCOL, body->data, body->len, NULL, 0, out), ==, BH_INSPECT_REFUSED);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/protocol/each-sample-is-recognised", each_sample_is_recognised);
        g_test_add_func("/protocol/no-prefix-is-another-protocol", no_prefix_is_another_protocol);
        g_test_add_func("/protocol/facts-of-http-are-told", facts_of_http_are_told);
        g_test_add_func("/protocol/facts-of-databases-are-told", facts_of_databases_are_told);
        g_test_add_func("/protocol/proxy-header-is-taken-off", proxy_header_is_taken_off);
        g_test_add_func("/protocol/datagrams-are-told", datagrams_are_told);
        g_test_add_func("/protocol/later-bytes-are-told-where-it-is-safe", later_bytes_are_told_where_it_is_safe);
        g_test_add_func("/protocol/client-hello-is-read", client_hello_is_read);
        g_test_add_func("/protocol/cut-hello-gives-what-is-there-and-no-fingerprint", cut_hello_gives_what_is_there_and_no_fingerprint);
        g_test_add_func("/protocol/hello-in-many-records-is-one", hello_in_many_records_is_one);
        g_test_add_func("/protocol/postgresql-in-tls-has-its-server-name", postgresql_in_tls_has_its_server_name);
        g_test_add_func("/protocol/server-hello-is-read", server_hello_is_read);
        g_test_add_func("/protocol/random-bytes-are-no-protocol", random_bytes_are_no_protocol);
        g_test_add_func("/protocol/foreign-bytes-are-no-protocol", foreign_bytes_are_no_protocol);
        g_test_add_func("/protocol/facts-come-back-as-they-were", facts_come_back_as_they_were);
        return g_test_run();
}
