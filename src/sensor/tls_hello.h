/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes of TLS as the payload tells them, put together until they can be read: what the client offers (server name, JA4) and, up to TLS 1.2, whom the server says that it is.
 *
 * What a proxy says before it (PROXY protocol) stands before the client's bytes, as it came. A handshake is given once a connection, when it is over: encrypted bytes or clear text come, it ends, or both directions have BH_TLS_HELLO_BYTES. Bytes are hostile: for the inspector alone.
 * Bounds: BH_TLS_HELLO_OPEN connections at a time, of more the oldest is given as it is; of each direction the first BH_TLS_HELLO_BYTES, up to the first gap; BH_TLS_HELLO_SECOND handshakes of a container in a
 * second, as they are much the same and each costs the inspector work: more are passed over and counted.
 *
 * One thread, the payload's; the status from any.
 */
#pragma once
#include "payload.h"

#define BH_TLS_HELLO_OPEN 1024u
#define BH_TLS_HELLO_SECOND 16u
#define BH_TLS_HELLO_BYTES 4096u /* what is read of a direction: BH_PROTOCOL_BYTES_MAX */

typedef struct {
        const BhPayloadPiece *piece; /* the connection's first: addresses, side, container; without its bytes */
        const guint8 *client, *server;
        gsize client_len, server_len;
} BhTlsHandshake;

typedef struct BhTlsHellos BhTlsHellos;

BhTlsHellos *bh_tls_hellos_new(void (*seen)(const BhTlsHandshake *handshake, gpointer data), gpointer data);
/* NULL is allowed. What is open is not given. */
void bh_tls_hellos_free(BhTlsHellos *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhTlsHellos, bh_tls_hellos_free)

/* Each piece. */
void bh_tls_hellos_piece(BhTlsHellos *h, const BhPayloadPiece *piece);
guint bh_tls_hellos_open(const BhTlsHellos *h);

typedef struct {
        guint64 given, passed_over;
} BhTlsHellosStats;
/* Any thread. */
void bh_tls_hellos_stats(const BhTlsHellos *h, BhTlsHellosStats *out);
