/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a TLS server says that it is: the subject of its certificate, out of the Certificate message, which is in clear up to TLS 1.2 (RFC 5246, 7.4.2). From 1.3 on it is encrypted, and a
 * resumed session has none. Nothing is verified: it is what was sent, and anybody may send it.
 *
 * The bytes are the server's from its first record on, cut anywhere; what is there is read (RFC 5280, DER). Nothing is allocated; any thread.
 */
#pragma once
#include "parse/tls.h"

#define BH_TLS_SUBJECT_MAX 255u

/* Texts are printable ASCII, another byte is '?', and `,` `=` and `\` in a value have a `\` before them. A text that is too long ends with its last part that fits. */
typedef struct {
        char subject[BH_TLS_SUBJECT_MAX + 1]; /* "CN=shop.example, O=Shop": CN, O, OU, C, L and ST in their order; "" = it has none of these */
        char issuer[BH_TLS_SUBJECT_MAX + 1];
        char names[BH_TLS_SUBJECT_MAX + 1];   /* DNS names of the certificate: "shop.example,*.shop.example" */
} BhTlsCertificate;

/* BH_TLS_NOT (and all zero): there is no certificate. BH_TLS_CUT: it goes on behind the bytes. */
BhTlsResult bh_tls_certificate(const guint8 *bytes, gsize len, BhTlsCertificate *out);
