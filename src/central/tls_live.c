/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_live.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"

#define CHAIN_MAX 16
#define WARN_DAYS 14
#define DAY 86400

/* What is handed to handshakes. */
typedef struct {
        gnutls_pcert_st chain[CHAIN_MAX];
        unsigned n;
        gnutls_privkey_t key;
} Pair;

/* How the two files looked: who replaces them changes at least one of these. */
typedef struct {
        struct {
                dev_t dev;
                ino_t ino;
                off_t size;
                struct timespec changed;
        } cert, key;
} Look;

static struct {
        GMutex lock; /* of current, pairs and tls */
        char *dir;
        BhTls tls;
        GPtrArray *pairs; /* the last one is served */
        Look seen;
        char *said; /* the problem that was logged last */
        gint64 warned; /* seconds since the epoch */
} live;

static void pair_free(gpointer data) {
        Pair *p = data;

        for (unsigned i = 0; i < p->n; i++)
                gnutls_pcert_deinit(&p->chain[i]);
        if (p->key)
                gnutls_privkey_deinit(p->key);
        g_free(p);
}

static Pair *pair_new(const BhTls *tls, GError **error) {
        gnutls_datum_t cert = { (unsigned char *) tls->cert_pem, (unsigned) strlen(tls->cert_pem) }, key = { (unsigned char *) tls->key_pem, (unsigned) strlen(tls->key_pem) };
        Pair *p = g_new0(Pair, 1);
        unsigned n = CHAIN_MAX;
        int r = gnutls_pcert_list_import_x509_raw(p->chain, &n, &cert, GNUTLS_X509_FMT_PEM, 0);

        if (r >= 0) {
                p->n = n;
                r = gnutls_privkey_init(&p->key);
        }
        if (r >= 0)
                r = gnutls_privkey_import_x509_raw(p->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
        if (r >= 0)
                return p;
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the certificate cannot be served: %s (its chain may have %d certificates)", gnutls_strerror(r), CHAIN_MAX);
        pair_free(p);
        return NULL;
}

static Look look(void) {
        g_autofree char *cert = g_build_filename(live.dir, "cert.pem", NULL), *key = g_build_filename(live.dir, "key.pem", NULL);
        struct stat st;
        Look l;

        memset(&l, 0, sizeof(l)); /* it is compared whole */
        if (stat(cert, &st) == 0) {
                l.cert.dev = st.st_dev;
                l.cert.ino = st.st_ino;
                l.cert.size = st.st_size;
                l.cert.changed = st.st_ctim;
        }
        if (stat(key, &st) == 0) {
                l.key.dev = st.st_dev;
                l.key.ino = st.st_ino;
                l.key.size = st.st_size;
                l.key.changed = st.st_ctim;
        }
        return l;
}

/* `l`: how the files looked before, so that what changes meanwhile is another change. */
static gboolean load(const Look *l, GError **error) {
        g_auto(BhTls) tls = { 0 };
        Pair *pair;

        if (!bh_tls_load(live.dir, &tls, error) || !(pair = pair_new(&tls, error)))
                return FALSE;
        g_mutex_lock(&live.lock);
        BhTls before = live.tls;
        live.tls = tls;
        tls = before; /* wiped at the end */
        g_ptr_array_add(live.pairs, pair);
        if (live.pairs->len > BH_TLS_LIVE_KEPT)
                g_ptr_array_remove_index(live.pairs, 0);
        g_mutex_unlock(&live.lock);
        live.seen = *l;
        return TRUE;
}

gboolean bh_tls_live_start(const char *dir, GError **error) {
        live.dir = g_strdup(dir);
        live.pairs = g_ptr_array_new_with_free_func(pair_free);

        Look l = look();
        return load(&l, error);
}

void bh_tls_live_stop(void) {
        if (!live.dir)
                return;
        g_clear_pointer(&live.pairs, g_ptr_array_unref);
        g_clear_pointer(&live.dir, g_free);
        g_clear_pointer(&live.said, g_free);
        bh_tls_clear(&live.tls);
}

static void say(const char *problem) {
        if (problem && g_strcmp0(problem, live.said) != 0)
                bh_error("the certificate is not replaced; the one before goes on being served", "error", problem);
        g_free(live.said);
        live.said = g_strdup(problem);
}

static void warn_of_end(gint64 now) {
        g_autofree char *days = NULL;

        if (live.tls.own || live.tls.expires > now + (gint64) WARN_DAYS * DAY || now - live.warned < DAY)
                return;
        live.warned = now;
        days = g_strdup_printf("%" G_GINT64_FORMAT, MAX(live.tls.expires - now, 0) / DAY);
        bh_warn("the certificate ends soon: put another one in its place, it is taken over without a restart", "dir", live.dir, "days_left", days);
}

gboolean bh_tls_live_check(void) {
        gint64 now = (gint64) time(NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *before = NULL;
        Look l = look();

        warn_of_end(now);
        gboolean due = bh_tls_is_due(&live.tls, now), other = memcmp(&l, &live.seen, sizeof(l)) != 0;
        if (!due && !other)
                return FALSE;
        /* half of a pair that is being replaced: its other half is another change */
        if (!due && (!l.cert.ino || !l.key.ino))
                return FALSE;
        bh_tls_live_describe(&before, NULL);
        if (!load(&l, &error)) {
                say(error->message);
                return FALSE;
        }
        say(NULL);
        if (g_strcmp0(before, live.tls.fingerprint) == 0)
                return FALSE;
        bh_info(live.tls.made ? "another certificate was made and is served, for the one before was near its end or not valid yet" : "another certificate is served", "certificate", live.tls.fingerprint);
        return TRUE;
}

void bh_tls_live_describe(char **fingerprint, gint64 *expires) {
        g_mutex_lock(&live.lock);
        if (fingerprint)
                *fingerprint = g_strdup(live.tls.fingerprint);
        if (expires)
                *expires = live.tls.expires;
        g_mutex_unlock(&live.lock);
}

int bh_tls_live_retrieve(gnutls_session_t session, const gnutls_datum_t *ca, int n_ca, const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **certificates,
                         unsigned *n_certificates, gnutls_privkey_t *key) {
        g_mutex_lock(&live.lock);
        Pair *p = live.pairs && live.pairs->len ? live.pairs->pdata[live.pairs->len - 1] : NULL;
        g_mutex_unlock(&live.lock);
        if (!p)
                return -1;
        *certificates = p->chain;
        *n_certificates = p->n;
        *key = p->key;
        return 0;
}
