/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/protocol.h"

#include <string.h>

#include "parse/protocol_signs.h"

/* In an order that matters only between answers of equal confidence. */
static const struct {
        BhProtocol protocol;
        BhProtocolTry look;
        gboolean stream, datagram;
} tries[] = {
        { BH_PROTOCOL_TLS, bh_try_tls, TRUE, FALSE },
        { BH_PROTOCOL_HTTP1, bh_try_http1, TRUE, FALSE },
        { BH_PROTOCOL_HTTP2, bh_try_http2, TRUE, FALSE },
        { BH_PROTOCOL_SSH, bh_try_ssh, TRUE, FALSE },
        { BH_PROTOCOL_POSTGRESQL, bh_try_postgresql, TRUE, FALSE },
        { BH_PROTOCOL_MYSQL, bh_try_mysql, TRUE, FALSE },
        { BH_PROTOCOL_AMQP, bh_try_amqp, TRUE, FALSE },
        { BH_PROTOCOL_MONGODB, bh_try_mongodb, TRUE, FALSE },
        { BH_PROTOCOL_NATS, bh_try_nats, TRUE, FALSE },
        { BH_PROTOCOL_REDIS, bh_try_redis, TRUE, FALSE },
        { BH_PROTOCOL_MEMCACHED, bh_try_memcached, TRUE, FALSE },
        { BH_PROTOCOL_SMTP, bh_try_smtp, TRUE, FALSE },
        { BH_PROTOCOL_FTP, bh_try_ftp, TRUE, FALSE },
        { BH_PROTOCOL_POP3, bh_try_pop3, TRUE, FALSE },
        { BH_PROTOCOL_IMAP, bh_try_imap, TRUE, FALSE },
        { BH_PROTOCOL_MQTT, bh_try_mqtt, TRUE, FALSE },
        { BH_PROTOCOL_DNS, bh_try_dns, TRUE, TRUE },
        { BH_PROTOCOL_QUIC, bh_try_quic, FALSE, TRUE },
        { BH_PROTOCOL_KAFKA, bh_try_kafka, TRUE, FALSE },
};

static const char *const names[BH_PROTOCOLS] = {
#define BH_PROTOCOL(ID, number, name) [number] = name,
#include "parse/protocols.tbl.h"
#undef BH_PROTOCOL
};

const char *bh_protocol_name(guint protocol) {
        return protocol < BH_PROTOCOLS && names[protocol] ? names[protocol] : "";
}

void bh_protocol_text(char *out, gsize room, const guint8 *p, gsize n) {
        if (*out)
                return;
        while (n && (*p == ' ' || *p == '\t')) {
                p++;
                n--;
        }
        gsize keep = MIN(n, room - 1);
        while (keep && (p[keep - 1] == ' ' || p[keep - 1] == '\r'))
                keep--;
        for (gsize i = 0; i < keep; i++)
                out[i] = p[i] >= 0x20 && p[i] < 0x7f ? (char) p[i] : '?';
        out[keep] = 0;
}

/* Without its port: "[::1]:80" and "name:80" lose it. */
void bh_protocol_name_of(char *out, const guint8 *host, gsize n) {
        if (*out)
                return;
        bh_protocol_text(out, BH_PROTOCOL_NAME_MAX + 1, host, n);
        char *colon = strrchr(out, ':'), *bracket = strchr(out, ']');

        if (colon && (bracket ? colon > bracket : strchr(out, ':') == colon))
                *colon = 0;
        for (char *c = out; *c; c++)
                *c = g_ascii_tolower(*c);
}

static BhProtocolConfidence join(BhSign a, BhSign b) {
        BhSign most = MAX(a, b), least = MIN(a, b);

        if (least >= BH_SIGN_WEAK)
                return BH_PROTOCOL_CERTAIN;
        if (most == BH_SIGN_STRONG)
                return least == BH_SIGN_EMPTY ? BH_PROTOCOL_CERTAIN : BH_PROTOCOL_LIKELY;
        return most == BH_SIGN_FAIR && least == BH_SIGN_EMPTY ? BH_PROTOCOL_LIKELY : BH_PROTOCOL_NONE;
}

/* What a balancer puts in front of a client's bytes (the PROXY protocol). TRUE when it is there whole and taken off. */
static gboolean skip_proxy(BhBytes *b) {
        static const char two[] = "\r\n\r\n\0\r\nQUIT\n";

        if (bh_bytes_starts(b, "PROXY ")) {
                gsize n = MIN(bh_bytes_left(b), 107u);
                const guint8 *end = memchr(b->at, '\n', n);

                if (!end || end[-1] != '\r' || !(bh_bytes_starts(b, "PROXY TCP") || bh_bytes_starts(b, "PROXY UNKNOWN")))
                        return FALSE;
                bh_bytes_take(b, (gsize) (end + 1 - b->at));
                return TRUE;
        }
        if (bh_bytes_left(b) >= 16 && memcmp(b->at, two, 12) == 0 && b->at[12] >> 4 == 2) {
                gsize n = 16u + ((gsize) b->at[14] << 8 | b->at[15]);

                if (n > bh_bytes_left(b))
                        return FALSE;
                bh_bytes_take(b, n);
                return TRUE;
        }
        return FALSE;
}

gboolean bh_protocol_recognise(const BhProtocolInput *in, BhProtocolFacts *out) {
        BhLook l = {
                .client = bh_bytes(in->client, MIN(in->client_len, BH_PROTOCOL_BYTES_MAX)),
                .server = bh_bytes(in->server, MIN(in->server_len, BH_PROTOCOL_BYTES_MAX)),
                .midstream = (in->flags & BH_PROTOCOL_MIDSTREAM) != 0,
                .datagram = (in->flags & BH_PROTOCOL_DATAGRAM) != 0,
        };
        BhProtocolConfidence best = BH_PROTOCOL_NONE;
        gboolean proxied = !l.datagram && skip_proxy(&l.client);

        memset(out, 0, sizeof(*out));
        for (gsize i = 0; i < G_N_ELEMENTS(tries) && best < BH_PROTOCOL_CERTAIN; i++) {
                BhSign client = bh_bytes_left(&l.client) ? BH_SIGN_NO : BH_SIGN_EMPTY, server = bh_bytes_left(&l.server) ? BH_SIGN_NO : BH_SIGN_EMPTY;
                BhProtocolFacts f = { .protocol = tries[i].protocol };

                if (!(l.datagram ? tries[i].datagram : tries[i].stream))
                        continue;
                tries[i].look(&l, &client, &server, &f);
                f.confidence = join(client, server);
                if (f.confidence > best) {
                        best = f.confidence;
                        *out = f;
                }
        }
        if (best && proxied)
                out->signs |= BH_PROTOCOL_PROXIED;
        return best != BH_PROTOCOL_NONE;
}
