/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two messages of a TLS handshake that are in clear (RFC 8446, 5246, 6066, 7301): what a client offers, what a server chose.
 *
 * Both functions take the bytes of one direction from its first record on, which may be cut anywhere, and take a message that lies in several
 * records. They return BH_TLS_NOT when this is no such message; `out` is then all zero. With BH_TLS_CUT the message goes on behind the bytes: what is
 * filled was read, the fingerprint is empty, since it needs the whole. Nothing is allocated; any thread.
 *
 * The fingerprint of a client has the published form of JA4 (transport, version, whether there is a server name, numbers of ciphers and
 * extensions, first protocol; then the truncated SHA-256 of the sorted ciphers, and of the sorted extensions with the signature algorithms).
 */
#pragma once
#include <glib.h>

#define BH_TLS_HELLO_MAX 16384u /* bytes of a handshake message that are looked at; a longer one is BH_TLS_CUT */
#define BH_TLS_NAME_MAX 255u
#define BH_TLS_LIST_MAX 128u    /* ciphers, extensions, signature algorithms that the fingerprint takes; more: none is made */

typedef enum {
        BH_TLS_NOT,
        BH_TLS_CUT,
        BH_TLS_WHOLE,
} BhTlsResult;

/* Texts are ASCII without control characters; another byte is '?'. */
typedef struct {
        guint16 version;                       /* the highest offered, 0x0304 = 1.3 */
        gboolean has_server_name;
        char server_name[BH_TLS_NAME_MAX + 1]; /* in lower case; "" = none */
        char alpn[64];                         /* offered, "h2,http/1.1"; as many as fit */
        char ja4[40];
} BhTlsClientHello;

typedef struct {
        guint16 version; /* chosen */
        guint16 cipher;
        char alpn[64];   /* up to 1.2; later it is encrypted */
} BhTlsServerHello;

BhTlsResult bh_tls_client_hello(const guint8 *bytes, gsize len, BhTlsClientHello *out);
BhTlsResult bh_tls_server_hello(const guint8 *bytes, gsize len, BhTlsServerHello *out);
/* "1.3", …; "" when it is none. */
const char *bh_tls_version_name(guint16 version);
