/* SPDX-License-Identifier: Apache-2.0 */
/* Protocols of binary messages. */
#include <string.h>

#include "parse/dns.h"
#include "parse/protocol_signs.h"
#include "parse/tls.h"
#include "parse/tls_certificate.h"

static gboolean visible(const guint8 *p, gsize n) {
        for (gsize i = 0; i < n; i++)
                if (p[i] < 0x20 || p[i] >= 0x7f)
                        return FALSE;
        return TRUE;
}

/* A NUL-terminated text that is printable and whole; "" as well. */
static gboolean take_cstring(BhBytes *b, BhBytes *text) {
        gsize n = bh_bytes_left(b);
        const guint8 *nul = n ? memchr(b->at, 0, n) : NULL;

        if (!nul)
                return FALSE;
        *text = bh_bytes_sub(b, (gsize) (nul - b->at));
        bh_bytes_take(b, 1);
        return visible(text->at, bh_bytes_left(text));
}

/* ---- TLS */

/* Records of data alone, later in a connection: the next record must be where the first one ends. */
static BhSign tls_data(BhBytes b) {
        guint records = 0;

        while (bh_bytes_left(&b) >= 5) {
                guint8 type = bh_bytes_u8(&b);
                guint16 version = bh_bytes_u16(&b), n = bh_bytes_u16(&b);

                if (type < 20 || type > 23 || version != 0x0303 || n == 0 || n > 16384 + 256)
                        return BH_SIGN_NO;
                records++;
                bh_bytes_take(&b, MIN(n, bh_bytes_left(&b)));
        }
        return records == 0 ? BH_SIGN_NO : records > 1 ? BH_SIGN_FAIR : BH_SIGN_WEAK;
}

static gboolean tls_alert(BhBytes b) {
        return bh_bytes_left(&b) == 7 && b.at[0] == 21 && b.at[1] == 3 && b.at[2] <= 4 && b.at[3] == 0 && b.at[4] == 2 && (b.at[5] == 1 || b.at[5] == 2);
}

BhSign bh_protocol_tls_client(BhBytes b, gboolean midstream, BhProtocolFacts *f) {
        BhTlsClientHello hello;

        if (bh_tls_client_hello(b.at, bh_bytes_left(&b), &hello) == BH_TLS_NOT)
                return midstream ? tls_data(b) : BH_SIGN_NO;
        g_strlcpy(f->server_name, hello.server_name, sizeof(f->server_name));
        g_strlcpy(f->alpn, hello.alpn, sizeof(f->alpn));
        g_strlcpy(f->fingerprint, hello.ja4, sizeof(f->fingerprint));
        g_strlcpy(f->version, bh_tls_version_name(hello.version), sizeof(f->version));
        f->signs |= BH_PROTOCOL_ENCRYPTED;
        return BH_SIGN_STRONG;
}

BhSign bh_protocol_tls_server(BhBytes b, gboolean midstream, BhProtocolFacts *f) {
        BhTlsServerHello hello;
        BhTlsCertificate certificate;

        if (bh_tls_server_hello(b.at, bh_bytes_left(&b), &hello) == BH_TLS_NOT)
                return tls_alert(b) ? BH_SIGN_WEAK : midstream ? tls_data(b) : BH_SIGN_NO;
        /* what was chosen, not what was offered */
        if (*bh_tls_version_name(hello.version))
                g_strlcpy(f->version, bh_tls_version_name(hello.version), sizeof(f->version));
        if (*hello.alpn)
                g_strlcpy(f->alpn, hello.alpn, sizeof(f->alpn));
        if (bh_tls_certificate(b.at, bh_bytes_left(&b), &certificate) != BH_TLS_NOT)
                g_strlcpy(f->certificate, *certificate.subject ? certificate.subject : certificate.names, sizeof(f->certificate));
        f->signs |= BH_PROTOCOL_ENCRYPTED;
        return BH_SIGN_STRONG;
}

void bh_try_tls(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        f->signs |= BH_PROTOCOL_ENCRYPTED;
        if (*client == BH_SIGN_NO)
                *client = bh_protocol_tls_client(l->client, l->midstream, f);
        if (*server == BH_SIGN_NO)
                *server = bh_protocol_tls_server(l->server, l->midstream, f);
}

/* ---- HTTP/2 */

/* Frames from the beginning of `b`: how many are good, and how many of those have a size that their type fixes. FALSE at the first that is not. */
static gboolean h2_frames(BhBytes b, guint *good, guint *fixed, gboolean *settings) {
        static const guint8 flags[10] = { 0x09, 0x2d, 0, 0, 0x01, 0x0c, 0x01, 0, 0, 0x04 };

        *good = *fixed = 0;
        *settings = FALSE;
        while (bh_bytes_left(&b) >= 9) {
                guint32 n = bh_bytes_number(&b, 3);
                guint8 type = bh_bytes_u8(&b), flag = bh_bytes_u8(&b);
                guint32 stream = bh_bytes_u32(&b);
                BhBytes body = bh_bytes(b.at, MIN(n, bh_bytes_left(&b)));
                gboolean exact = TRUE, whole = bh_bytes_left(&body) == n;

                if (type > 9 || flag & ~flags[type] || stream >> 31 || n > 1u << 20)
                        return FALSE;
                switch (type) {
                case 2:
                        exact = n == 5 && stream;
                        break;
                case 3:
                        exact = n == 4 && stream;
                        break;
                case 4:
                        exact = n % 6 == 0 && !stream && n <= 60 && !(flag && n);
                        while (exact && bh_bytes_left(&body) >= 6) {
                                guint16 id = bh_bytes_u16(&body);

                                bh_bytes_take(&body, 4);
                                exact = (id >= 1 && id <= 16) || (id & 0x0f0f) == 0x0a0a;
                        }
                        *settings |= exact && *good == 0 && n && whole;
                        /* of an empty one there is little to see: it proves nothing, and only the first of all may be one */
                        if (exact && !n && !flag) {
                                if (*good)
                                        return FALSE;
                                (*good)++;
                                continue;
                        }
                        break;
                case 6:
                        exact = n == 8 && !stream;
                        break;
                case 7:
                        exact = n >= 8 && !stream;
                        break;
                case 8:
                        exact = n == 4 && (bh_bytes_left(&body) < 4 || bh_bytes_u32(&body) - 1u < 0x7fffffffu);
                        break;
                default: /* DATA, HEADERS, PUSH_PROMISE, CONTINUATION */
                        if (!stream || (!n && !flag))
                                return FALSE;
                        exact = FALSE;
                }
                if (!exact && type != 0 && type != 1 && type != 5 && type != 9)
                        return FALSE;
                (*good)++;
                *fixed += exact;
                bh_bytes_take(&b, MIN(n, bh_bytes_left(&b)));
        }
        return TRUE;
}

void bh_try_http2(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        guint good, fixed;
        gboolean settings;

        g_strlcpy(f->version, "2", sizeof(f->version));
        if (*client == BH_SIGN_NO) {
                gsize n = MIN(bh_bytes_left(&l->client), sizeof(preface) - 1);

                if (n >= 14 && memcmp(l->client.at, preface, n) == 0)
                        *client = BH_SIGN_STRONG;
                else if (l->midstream && h2_frames(l->client, &good, &fixed, &settings) && good >= 2 && fixed)
                        *client = good >= 3 ? BH_SIGN_FAIR : BH_SIGN_WEAK;
        }
        if (*server == BH_SIGN_NO && h2_frames(l->server, &good, &fixed, &settings)) {
                if (settings || (good >= 2 && fixed == good - 1 && l->server.at[3] == 4))
                        *server = BH_SIGN_FAIR;
                else if (good >= 3 && fixed)
                        *server = l->midstream ? BH_SIGN_FAIR : BH_SIGN_WEAK;
                else if (good && l->server.at[3] == 4)
                        *server = BH_SIGN_WEAK;
        }
}

/* ---- DNS */

/* One message of at most `n` bytes; `cut`: they may end early. */
static BhSign dns_message(const guint8 *p, gsize n, gboolean answer, gboolean cut) {
        BhBytes h = bh_bytes(p, n);
        guint16 flags;

        bh_bytes_take(&h, 2);
        flags = bh_bytes_u16(&h);
        guint16 questions = bh_bytes_u16(&h), answers = bh_bytes_u16(&h), authorities = bh_bytes_u16(&h), more = bh_bytes_u16(&h);
        guint opcode = flags >> 11 & 15;

        if (h.bad || !(flags & BH_DNS_QR) != !answer || flags & 0x40 || (opcode > 2 && opcode != 4 && opcode != 5) || questions != 1 || more > 64)
                return BH_SIGN_NO;
        if (!answer && ((opcode == 0 && (answers || authorities)) || flags & 0x048f))
                return BH_SIGN_NO;
        if (answer && (answers > 512 || authorities > 64 || (flags & 15) > 11))
                return BH_SIGN_NO;
        g_autoptr(BhDnsMessage) m = bh_dns_parse(p, n, NULL);
        if (!m || m->n_questions != 1 || m->trailing)
                return BH_SIGN_NO;
        if (m->problem != BH_DNS_WHOLE && m->problem != BH_DNS_BOUND && !(cut && m->problem == BH_DNS_CUT))
                return BH_SIGN_NO;
        const BhDnsQuestion *q = &m->questions[0];
        if ((!bh_dns_type_name(q->type) && q->type > 260) || !q->type || (q->class != 1 && q->class != 3 && q->class != 255))
                return BH_SIGN_NO;
        return BH_SIGN_STRONG;
}

static BhSign dns_stream(BhBytes b, gboolean answer) {
        BhSign s = BH_SIGN_NO;

        while (bh_bytes_left(&b) >= 14) {
                guint16 n = bh_bytes_u16(&b);
                gsize have = MIN(n, bh_bytes_left(&b));

                if (n < 17 || (s = dns_message(b.at, have, answer, have < n)) == BH_SIGN_NO)
                        return BH_SIGN_NO;
                bh_bytes_take(&b, have);
        }
        return s;
}

void bh_try_dns(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*client == BH_SIGN_NO)
                *client = l->datagram ? dns_message(l->client.at, bh_bytes_left(&l->client), FALSE, bh_bytes_left(&l->client) >= 512) : dns_stream(l->client, FALSE);
        if (*server == BH_SIGN_NO)
                *server = l->datagram ? dns_message(l->server.at, bh_bytes_left(&l->server), TRUE, bh_bytes_left(&l->server) >= 512) : dns_stream(l->server, TRUE);
}

/* ---- MongoDB */

static gboolean bson_begins(BhBytes b, guint32 room) {
        guint32 n = bh_bytes_number_le(&b, 4);
        guint8 type = bh_bytes_u8(&b);

        if (b.bad || n < 5 || n > room)
                return FALSE;
        if (type == 0)
                return n == 5;
        if (type > 0x13 && type != 0xff && type != 0x7f)
                return FALSE;
        /* the first name, or as much of it as there is */
        guint length = 0;
        for (; bh_bytes_left(&b) && *b.at; b.at++)
                if (*b.at < 0x20 || *b.at >= 0x7f || ++length > 128)
                        return FALSE;
        return length > 0;
}

static BhSign mongo_message(BhBytes b, gboolean answer) {
        guint32 n = bh_bytes_number_le(&b, 4);
        bh_bytes_take(&b, 4);
        guint32 to = bh_bytes_number_le(&b, 4), op = bh_bytes_number_le(&b, 4);

        if (b.bad || n < 21 || n > 48000000u || bh_bytes_left(&b) < 9 || (!answer && to))
                return BH_SIGN_NO;
        switch (op) {
        case 2013: {
                guint32 flags = bh_bytes_number_le(&b, 4);
                guint8 kind = bh_bytes_u8(&b);

                if (flags & ~0x10003u || kind > 1)
                        return BH_SIGN_NO;
                if (kind == 1) { /* a sequence of documents: its size, its name */
                        guint32 size = bh_bytes_number_le(&b, 4);

                        return size > 9 && size <= n - 20 && bh_bytes_left(&b) >= 2 && g_ascii_isalpha(b.at[0]) && g_ascii_isalpha(b.at[1]) ? BH_SIGN_FAIR : BH_SIGN_NO;
                }
                return bson_begins(b, n - 21) ? BH_SIGN_STRONG : BH_SIGN_NO;
        }
        case 2012: {
                guint32 original = bh_bytes_number_le(&b, 4), size = bh_bytes_number_le(&b, 4);
                guint8 compressor = bh_bytes_u8(&b);

                return (original == 2013 || (original >= 1 && original <= 2011)) && size <= 48000000u && compressor <= 3 ? BH_SIGN_FAIR : BH_SIGN_NO;
        }
        case 2004: {
                guint32 flags = bh_bytes_number_le(&b, 4);
                BhBytes name;

                if (answer || flags > 0xff || !take_cstring(&b, &name) || !memchr(name.at, '.', bh_bytes_left(&name)))
                        return BH_SIGN_NO;
                return BH_SIGN_STRONG;
        }
        case 1: {
                guint32 flags = bh_bytes_number_le(&b, 4);

                bh_bytes_take(&b, 8 + 4);
                guint32 returned = bh_bytes_number_le(&b, 4);
                return answer && !b.bad && flags <= 15 && returned <= 1000000 && bson_begins(b, n) ? BH_SIGN_FAIR : BH_SIGN_NO;
        }
        default:
                return BH_SIGN_NO;
        }
}

void bh_try_mongodb(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*client == BH_SIGN_NO)
                *client = mongo_message(l->client, FALSE);
        if (*server == BH_SIGN_NO)
                *server = mongo_message(l->server, TRUE);
}

/* ---- Kafka */

void bh_try_kafka(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        guint32 correlation = 0;
        gboolean asked = FALSE;

        if (*client == BH_SIGN_NO) {
                BhBytes b = l->client;
                guint32 n = bh_bytes_u32(&b);
                gsize have = bh_bytes_left(&b);
                guint16 key = bh_bytes_u16(&b), version = bh_bytes_u16(&b);
                correlation = bh_bytes_u32(&b);
                guint16 id = bh_bytes_u16(&b);

                /* a request is sent whole before its answer comes: what follows a short one is another request */
                if (!b.bad && n >= 10 && n <= 100u << 20 && key <= 92 && version <= 20 && (n >= have || have - n >= 4)) {
                        asked = TRUE;
                        if (id == 0xffff)
                                *client = BH_SIGN_WEAK;
                        else if (id && id <= 249 && id + 10u <= n && id <= bh_bytes_left(&b) && visible(b.at, id)) {
                                bh_protocol_text(f->client, sizeof(f->client), b.at, id);
                                *client = id > 3 ? BH_SIGN_FAIR : BH_SIGN_WEAK;
                        }
                }
        }
        if (*server == BH_SIGN_NO && asked) {
                BhBytes b = l->server;
                guint32 n = bh_bytes_u32(&b), answers = bh_bytes_u32(&b);

                if (!b.bad && n >= 4 && n <= 100u << 20 && answers == correlation)
                        *server = BH_SIGN_WEAK;
        }
}

/* ---- AMQP */

static const char *amqp_header(const BhBytes *b) {
        if (bh_bytes_left(b) < 8 || memcmp(b->at, "AMQP", 4) != 0)
                return NULL;
        if (memcmp(b->at + 4, "\0\0\x09\x01", 4) == 0)
                return "0-9-1";
        if (memcmp(b->at + 5, "\x01\0\0", 3) == 0 && (b->at[4] == 0 || b->at[4] == 2 || b->at[4] == 3))
                return "1.0";
        if (memcmp(b->at + 4, "\x01\x01", 2) == 0)
                return "0-9";
        return NULL;
}

/* A frame of 0-9-1 that is there whole, with its end mark; or the connection's first method. */
static BhSign amqp_frame(BhBytes b) {
        static const char heartbeat[] = "\x08\0\0\0\0\0\0\xce";
        static const guint16 classes[] = { 10, 20, 40, 50, 60, 85, 90 };

        if (bh_bytes_left(&b) >= 8 && memcmp(b.at, heartbeat, 8) == 0)
                return BH_SIGN_FAIR;
        guint8 type = bh_bytes_u8(&b);
        bh_bytes_take(&b, 2);
        guint32 n = bh_bytes_u32(&b);
        guint16 class = bh_bytes_u16(&b), method = bh_bytes_u16(&b);

        if (b.bad || type != 1 || n < 4 || n > 1u << 20)
                return BH_SIGN_NO;
        if (class == 10 && method == 10 && n > 20)
                return BH_SIGN_FAIR;
        gboolean known = FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(classes); i++)
                known |= classes[i] == class;
        if (!known || method == 0 || method > 120 || n - 4 >= bh_bytes_left(&b) || b.at[n - 4] != 0xce)
                return BH_SIGN_NO;
        return BH_SIGN_FAIR;
}

void bh_try_amqp(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        const BhBytes *both[] = { &l->client, &l->server };
        BhSign *signs[] = { client, server };

        for (guint i = 0; i < 2; i++) {
                const char *version = amqp_header(both[i]);

                if (*signs[i] != BH_SIGN_NO)
                        continue;
                if (version)
                        g_strlcpy(f->version, version, sizeof(f->version));
                *signs[i] = version ? BH_SIGN_STRONG : amqp_frame(*both[i]);
        }
}

/* ---- MQTT */

void bh_try_mqtt(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        if (*client == BH_SIGN_NO) {
                BhBytes b = l->client;
                guint8 type = bh_bytes_u8(&b), c = 0x80;

                for (guint i = 0; i < 4 && c & 0x80; i++)
                        c = bh_bytes_u8(&b);
                gboolean four = bh_bytes_left(&b) >= 7 && memcmp(b.at, "\0\4MQTT", 6) == 0;

                if (type == 0x10 && !b.bad && four && (b.at[6] == 4 || b.at[6] == 5)) {
                        g_strlcpy(f->version, b.at[6] == 4 ? "3.1.1" : "5", sizeof(f->version));
                        *client = BH_SIGN_STRONG;
                } else if (type == 0x10 && bh_bytes_left(&b) >= 9 && memcmp(b.at, "\0\6MQIsdp\3", 9) == 0) {
                        g_strlcpy(f->version, "3.1", sizeof(f->version));
                        *client = BH_SIGN_STRONG;
                }
        }
        if (*server == BH_SIGN_NO && bh_bytes_left(&l->server) >= 4 && l->server.at[0] == 0x20 && l->server.at[2] <= 1)
                *server = BH_SIGN_WEAK;
}

/* ---- QUIC: a long header of version 1 or 2 (RFC 9000 §17.2, 9369) */

static BhSign quic_packet(BhBytes b, gboolean server, char *version) {
        guint8 first = bh_bytes_u8(&b);
        guint32 v = bh_bytes_u32(&b);
        guint8 to = bh_bytes_u8(&b);
        bh_bytes_take(&b, to);
        guint8 from = bh_bytes_u8(&b);

        if (b.bad || (first & 0xc0) != 0xc0 || (v != 1 && v != 0x6b3343cf) || to > 20 || from > 20)
                return BH_SIGN_NO;
        /* a client chooses at least 8 bytes for the server until it is told others; a server that has none is not seen here */
        if (server ? !from : to < 8)
                return BH_SIGN_NO;
        g_strlcpy(version, v == 1 ? "1" : "2", 32);
        return BH_SIGN_FAIR;
}

void bh_try_quic(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f) {
        f->signs |= BH_PROTOCOL_ENCRYPTED;
        if (*client == BH_SIGN_NO)
                *client = quic_packet(l->client, FALSE, f->version);
        if (*server == BH_SIGN_NO)
                *server = quic_packet(l->server, TRUE, f->version);
}
