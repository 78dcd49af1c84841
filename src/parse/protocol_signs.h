/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What protocol.c and its two halves (text, binary) share. Private to src/parse.
 *
 * A sign is what one direction says about one protocol. It must be FAIR or STRONG only if fewer than one in 2^30 random inputs shows it.
 */
#pragma once
#include "parse/bytes.h"
#include "parse/protocol.h"

typedef enum {
        BH_SIGN_NO,     /* contradicts */
        BH_SIGN_EMPTY,  /* no bytes */
        BH_SIGN_WEAK,   /* fits; counts only with the other direction */
        BH_SIGN_FAIR,   /* enough alone, unless the other direction contradicts */
        BH_SIGN_STRONG, /* enough alone */
} BhSign;

typedef struct {
        BhBytes client, server;
        gboolean midstream, datagram;
} BhLook;

/* Looks for one protocol: its two signs, and what it tells of itself in *f, which is dropped unless this one is chosen. */
typedef void (*BhProtocolTry)(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);

/* Printable, cut; *out stays when there is something. */
void bh_protocol_text(char *out, gsize room, const guint8 *p, gsize n);
void bh_protocol_name_of(char *out, const guint8 *host, gsize n);
/* A TLS hello of the client, and of the server, into *f. */
BhSign bh_protocol_tls_client(BhBytes b, gboolean midstream, BhProtocolFacts *f);
BhSign bh_protocol_tls_server(BhBytes b, gboolean midstream, BhProtocolFacts *f);

void bh_try_http1(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_redis(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_ssh(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_memcached(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_nats(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_smtp(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_ftp(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_pop3(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_imap(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_http2(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_tls(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_dns(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_postgresql(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_mysql(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_mongodb(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_kafka(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_amqp(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_mqtt(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
void bh_try_quic(const BhLook *l, BhSign *client, BhSign *server, BhProtocolFacts *f);
