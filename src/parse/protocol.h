/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection speaks, from the first bytes of it: what its client sent, what its server sent, or both. 512 bytes of each are enough for
 * everything but the fingerprint of a long TLS hello; up to BH_PROTOCOL_BYTES_MAX are looked at.
 *
 * Bytes prove a protocol, ports do not: nothing here knows a port. A name is given only where the bytes would hardly be so by chance or in
 * another protocol (tests measure it over random and foreign bytes): else the answer is UNKNOWN, and another look with more bytes may tell.
 * LIKELY: one direction's bytes fit and the other's are not there, or contradict a sign that is strong. CERTAIN: both fit, or a sign of
 * one that no other protocol has.
 *
 * With BH_PROTOCOL_MIDSTREAM the bytes may begin anywhere: protocols are also looked for by what they say later, where a message begins at the
 * bytes' begin and several facts of it agree. A connection seen from its begin is looked at in the same way, so the flag only adds.
 *
 * Pure, allocates only while it looks at DNS, no globals, any thread. Facts are plain data: texts are printable ASCII, anything else in them
 * became '?'; a text that is too long is cut. They may hold what the attacker wants (a user agent), never a secret: no credentials are taken out.
 */
#pragma once
#include <glib.h>

#define BH_PROTOCOL_BYTES_MAX 4096u /* of each direction; what is beyond is not looked at */
#define BH_PROTOCOL_TEXT_MAX 127u
#define BH_PROTOCOL_NAME_MAX 255u

typedef enum {
#define BH_PROTOCOL(ID, number, name) BH_PROTOCOL_##ID = number,
#include "parse/protocols.tbl.h"
#undef BH_PROTOCOL
} BhProtocol;
#define BH_PROTOCOLS 20u /* above the largest */

typedef enum {
        BH_PROTOCOL_NONE,
        BH_PROTOCOL_LIKELY,
        BH_PROTOCOL_CERTAIN,
        BH_PROTOCOL_CONFIDENCES,
} BhProtocolConfidence;

enum {
        BH_PROTOCOL_MIDSTREAM = 1, /* the bytes need not be the connection's first */
        BH_PROTOCOL_DATAGRAM = 2,  /* `client` and `server` are one datagram each */
};

typedef struct {
        const guint8 *client, *server; /* may be NULL with length 0 */
        gsize client_len, server_len;
        guint flags;
} BhProtocolInput;

/* Bits of BhProtocolFacts.signs. */
enum {
        BH_PROTOCOL_ENCRYPTED = 1, /* goes on, or asks to go on, in TLS (always with TLS and QUIC) */
        BH_PROTOCOL_PROXIED = 2,   /* a PROXY header (version 1 or 2) came before; what it claims is not taken */
        BH_PROTOCOL_SIGNS = 3,     /* all of them */
};

typedef struct {
        BhProtocol protocol;
        BhProtocolConfidence confidence;
        guint signs;
        char version[32];                            /* of the protocol: "1.1", "1.3", "3.0", "0-9-1"; "" where it does not tell */
        char server_name[BH_PROTOCOL_NAME_MAX + 1];  /* of TLS, or the Host of a request; lower case, without port */
        char alpn[64];                               /* offered, or chosen where it is seen */
        char client[BH_PROTOCOL_TEXT_MAX + 1];       /* what the client calls itself: User-Agent, banner, client id */
        char server[BH_PROTOCOL_TEXT_MAX + 1];       /* what the server calls itself: Server, banner, version of a database */
        char fingerprint[40];                        /* JA4, where the whole hello is there */
        char certificate[BH_PROTOCOL_NAME_MAX + 1];  /* subject of the server's certificate, else its DNS names, where it is in clear (TLS 1.2 and before); not verified */
} BhProtocolFacts;

/* FALSE and all zero: UNKNOWN. */
gboolean bh_protocol_recognise(const BhProtocolInput *in, BhProtocolFacts *out);
/* "redis"; "" for UNKNOWN and for what is no protocol. */
const char *bh_protocol_name(guint protocol);
