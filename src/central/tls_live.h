/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate that is served now. It changes while the central runs: our own is made anew in its last 60 days (and when the clock is set to before it begins), and files that a user (or a tool
 * that renews them) replaced are taken over once they are a pair; until then, and when they are not one, the old certificate goes on. Connections that are open
 * stay as they are; the next handshake has the new one.
 *
 * There is one in a process, because the server's callback is told nothing but the TLS session. Replaced pairs are kept until the
 * BH_TLS_LIVE_KEPT-th after them, as a handshake may still use one. bh_tls_live_check() belongs to one thread at a time; the rest is for any thread.
 */
#pragma once
#include <gnutls/abstract.h>

#include "tls.h"

#define BH_TLS_LIVE_CHECK_SECONDS 10
#define BH_TLS_LIVE_KEPT 16

gboolean bh_tls_live_start(const char *dir, GError **error);
/* Once the server is stopped. */
void bh_tls_live_stop(void);

/* Looks whether there is another certificate to serve, or one to make. TRUE: it changed. What stands in the way is logged once. */
gboolean bh_tls_live_check(void);

/* Caller frees the text. Any pointer may be NULL. */
void bh_tls_live_describe(char **fingerprint, gint64 *expires);

/* A gnutls_certificate_retrieve_function2. */
int bh_tls_live_retrieve(gnutls_session_t session, const gnutls_datum_t *ca, int n_ca, const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **certificates,
                         unsigned *n_certificates, gnutls_privkey_t *key);
