/* SPDX-License-Identifier: Apache-2.0 */
/* Whether protocols are told by their first bytes, and nothing by bytes that are of none. */
#include <glib.h>
#include <string.h>

#include "parse/inspect_wire.h"
#include "parse/protocol.h"
#include "parse/tls_certificate.h"
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

static void put8(GByteArray *b, guint v) {
        g_byte_array_append(b, (const guint8[]) { (guint8) v }, 1);
}

static void put24(GByteArray *b, guint v) {
        g_byte_array_append(b, (const guint8[]) { (guint8) (v >> 16), (guint8) (v >> 8), (guint8) v }, 3);
}

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
        /* the same behind what a proxy says, of both versions */
        static const char *const headers[] = { "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" "123456789012" };
        for (guint i = 0; i < G_N_ELEMENTS(headers); i++) {
                g_autoptr(GByteArray) behind = g_byte_array_new();

                g_byte_array_append(behind, (const guint8 *) headers[i], i ? 28 : (guint) strlen(headers[i]));
                g_byte_array_append(behind, b->data, b->len);
                g_assert_true(look((const char *) behind->data, behind->len, "", 0, 0, &f));
                g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_TLS);
                g_assert_cmphex(f.signs & BH_PROTOCOL_PROXIED, !=, 0);
                g_assert_cmpstr(f.server_name, ==, "shop.example");
                g_assert_cmpstr(f.fingerprint, ==, h.ja4);
        }
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

/* A certificate of its own: C=CH, O="Shop, Ltd", CN=shop.example; DNS names shop.example and *.shop.example, and an address. */
static const char certificate[] =
        "\x30\x82\x01\xf8\x30\x82\x01\x9e\xa0\x03\x02\x01\x02\x02\x14\x75\x54\x23\xd0\x7b\x76\x73\x55\xca\xf3\x3c\x81\x58\x64\xb1\x81\xc6\x96\x3e\xd6\x30\x0a\x06\x08\x2a"
        "\x86\x48\xce\x3d\x04\x03\x02\x30\x38\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02\x43\x48\x31\x12\x30\x10\x06\x03\x55\x04\x0a\x0c\x09\x53\x68\x6f\x70\x2c\x20\x4c"
        "\x74\x64\x31\x15\x30\x13\x06\x03\x55\x04\x03\x0c\x0c\x73\x68\x6f\x70\x2e\x65\x78\x61\x6d\x70\x6c\x65\x30\x20\x17\x0d\x32\x36\x31\x31\x32\x37\x31\x32\x31\x34\x31"
        "\x31\x5a\x18\x0f\x32\x31\x32\x36\x31\x31\x30\x33\x31\x32\x31\x34\x31\x31\x5a\x30\x38\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02\x43\x48\x31\x12\x30\x10\x06\x03"
        "\x55\x04\x0a\x0c\x09\x53\x68\x6f\x70\x2c\x20\x4c\x74\x64\x31\x15\x30\x13\x06\x03\x55\x04\x03\x0c\x0c\x73\x68\x6f\x70\x2e\x65\x78\x61\x6d\x70\x6c\x65\x30\x59\x30"
        "\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04\x6b\xed\x73\xf8\x38\x1d\x70\x7f\xeb\x67\x29\xd2\x97\x98\x8d\x4f"
        "\xd0\x3f\x24\x9b\x07\x48\x7d\xfd\x50\x0a\xc3\xd0\x9e\x57\x72\xd4\x87\x50\x85\xa9\xc1\x62\x3a\xa2\x37\xeb\x83\x40\x92\xc4\x1f\x0d\xea\xcd\xfb\xa6\xea\x5a\xe4\x19"
        "\x3a\xe4\xb3\xc1\x2e\xa7\x96\x5c\xa3\x81\x83\x30\x81\x80\x30\x1d\x06\x03\x55\x1d\x0e\x04\x16\x04\x14\x52\x1d\x7e\x88\x8b\x0c\x60\xe1\x36\x06\xf0\x55\x0f\xb9\x69"
        "\x1e\x70\xb8\x15\xaa\x30\x1f\x06\x03\x55\x1d\x23\x04\x18\x30\x16\x80\x14\x52\x1d\x7e\x88\x8b\x0c\x60\xe1\x36\x06\xf0\x55\x0f\xb9\x69\x1e\x70\xb8\x15\xaa\x30\x0f"
        "\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x05\x30\x03\x01\x01\xff\x30\x2d\x06\x03\x55\x1d\x11\x04\x26\x30\x24\x82\x0c\x73\x68\x6f\x70\x2e\x65\x78\x61\x6d\x70\x6c\x65"
        "\x82\x0e\x2a\x2e\x73\x68\x6f\x70\x2e\x65\x78\x61\x6d\x70\x6c\x65\x87\x04\xc0\x00\x02\x01\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x03\x48\x00\x30\x45\x02"
        "\x20\x30\xb4\x1f\xd0\x63\x46\x1e\x8f\x42\xa6\x04\x6f\x54\xff\xf2\xa3\xd5\xc0\x74\x19\xe2\x2d\xf7\xe2\xa8\x16\xbe\x26\x6d\xa8\x1c\x45\x02\x21\x00\xb4\x28\xdf\x46"
        "\x5e\xcd\x03\xfe\x53\xe5\x17\xd9\x92\x56\x78\x59\xff\x7e\xc6\x75\xd2\x1a\xf6\x05\x56\x26\xf2\x70\x24\x1e\xa7\x10";

/* A server's first flight up to TLS 1.2: hello, certificate; in records of `size` bytes. */
static GByteArray *server_flight(gsize size) {
        static const char hello[] = "\x02\x00\x00\x26\x03\x03" "0123456789abcdef0123456789abcdef" "\x00\xc0\x2f\x00";
        g_autoptr(GByteArray) messages = g_byte_array_new();
        GByteArray *out = g_byte_array_new();
        guint n = sizeof(certificate) - 1;

        g_byte_array_append(messages, (const guint8 *) hello, sizeof(hello) - 1);
        put8(messages, 11);
        put24(messages, n + 6);
        put24(messages, n + 3);
        put24(messages, n);
        g_byte_array_append(messages, (const guint8 *) certificate, n);
        for (gsize at = 0; at < messages->len; at += size) {
                gsize part = MIN(size, messages->len - at);

                put8(out, 22);
                put16(out, 0x0303);
                put16(out, (guint) part);
                g_byte_array_append(out, messages->data + at, (guint) part);
        }
        return out;
}

static void certificate_of_a_server_is_read(void) {
        static const char subject[] = "C=CH, O=Shop\\, Ltd, CN=shop.example";

        for (gsize size = 1; size < 2000; size += 333) {
                g_autoptr(GByteArray) flight = server_flight(size);
                BhTlsCertificate c;

                g_assert_cmpint(bh_tls_certificate(flight->data, flight->len, &c), ==, BH_TLS_WHOLE);
                g_assert_cmpstr(c.subject, ==, subject);
                g_assert_cmpstr(c.issuer, ==, subject);
                g_assert_cmpstr(c.names, ==, "shop.example,*.shop.example");
        }

        g_autoptr(GByteArray) flight = server_flight(16384);
        BhProtocolInput in = { .server = flight->data, .server_len = flight->len };
        BhProtocolFacts f;

        g_assert_true(bh_protocol_recognise(&in, &f));
        g_assert_cmpint(f.protocol, ==, BH_PROTOCOL_TLS);
        g_assert_cmpstr(f.certificate, ==, subject);
        /* cut anywhere: never another's name, and what is there of it at last */
        for (gsize n = 0; n < flight->len; n++) {
                g_autofree guint8 *exact = g_memdup2(flight->data, n); /* so that a read beyond the end is seen */
                BhTlsCertificate c;

                g_assert_cmpint(bh_tls_certificate(exact, n, &c), !=, BH_TLS_WHOLE);
                g_assert_cmpmem(c.subject, strlen(c.subject), subject, strlen(c.subject));
        }
        /* in TLS 1.3 it is encrypted: the hello, and then records of data */
        memset(flight->data + 5 + 42, 0, 5);
        flight->data[4] = 42;
        flight->data[3] = 0;
        flight->data[5 + 42] = 23;
        BhTlsCertificate c;
        g_assert_cmpint(bh_tls_certificate(flight->data, flight->len, &c), ==, BH_TLS_NOT);
        g_assert_cmpstr(c.subject, ==, "");
}

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
        g_test_add_func("/protocol/certificate-of-a-server-is-read", certificate_of_a_server_is_read);
        g_test_add_func("/protocol/random-bytes-are-no-protocol", random_bytes_are_no_protocol);
        g_test_add_func("/protocol/foreign-bytes-are-no-protocol", foreign_bytes_are_no_protocol);
        g_test_add_func("/protocol/facts-come-back-as-they-were", facts_come_back_as_they_were);
        return g_test_run();
}
