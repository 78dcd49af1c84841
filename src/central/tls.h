/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate of the HTTPS port: <data>/central/tls/cert.pem and key.pem.
 *
 * Where there is none, one is made: self-signed, ECDSA P-256, for localhost, 127.0.0.1, ::1 and the host's name, valid for 820 days (the
 * longest that every browser takes) and made anew within its last 60 days. Users may put their own files there (PEM; the
 * certificate followed by its chain): those are checked, never replaced.
 *
 * From one thread at a time. A failure leaves the files as they were, or, where there was no room for new ones, none, which the next call makes good.
 * tls_live.h calls it and serves what it gives.
 */
#pragma once
#include <glib.h>

typedef struct {
        char *cert_pem, *key_pem; /* key_pem is wiped by bh_tls_clear() */
        char *fingerprint;        /* SHA-256 of the first certificate, "AB:CD:…", for people to compare */
        gint64 begins, expires;   /* seconds since the epoch */
        gboolean made;            /* by this call */
        gboolean own;             /* self-signed by Bulkhead, not the user's */
} BhTls;

/* It is our own, and would be made anew by a call now: it is near its end, or was made while the clock ran ahead and is not valid yet. */
gboolean bh_tls_is_due(const BhTls *tls, gint64 now_s);
gboolean bh_tls_load(const char *dir, BhTls *tls, GError **error);
void bh_tls_clear(BhTls *tls);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhTls, bh_tls_clear)
