/* SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"

#define PEM_MAX (256 * 1024)
#define VALID_DAYS 820
#define RENEW_DAYS 60
#define DAY 86400
#define MADE_BY "Bulkhead, made at first start"
#define MADE_BY_ESCAPED "Bulkhead\\, made at first start" /* as RFC 4514 writes it, and GnuTLS gives it back */

static void crt_free(gnutls_x509_crt_t crt) {
        gnutls_x509_crt_deinit(crt);
}
static void key_free(gnutls_x509_privkey_t key) {
        gnutls_x509_privkey_deinit(key);
}
typedef struct gnutls_x509_crt_int Crt;
typedef struct gnutls_x509_privkey_int Key;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Crt, crt_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Key, key_free)

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap));
        va_end(ap);
        return FALSE;
}

static char *export_crt(Crt *crt) {
        gnutls_datum_t out = { 0 };

        if (gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out) < 0)
                return NULL;
        char *pem = g_strndup((const char *) out.data, out.size);
        gnutls_free(out.data);
        return pem;
}

static char *export_key(Key *key) {
        gnutls_datum_t out = { 0 };

        if (gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &out) < 0)
                return NULL;
        char *pem = g_strndup((const char *) out.data, out.size);
        sodium_memzero(out.data, out.size);
        gnutls_free(out.data);
        return pem;
}

static int describe(Crt *crt, Key *key) {
        guint8 serial[16], id[20], address4[4] = { 127, 0, 0, 1 }, address6[16] = { [15] = 1 };
        size_t id_len = sizeof(id);
        char host[256] = "";
        time_t now = time(NULL);
        int r = 0;

        randombytes_buf(serial, sizeof(serial));
        serial[0] = (serial[0] & 0x7f) | 0x40; /* a positive number of full length */
        if (gethostname(host, sizeof(host) - 1) || !*host)
                strcpy(host, "localhost");
        r |= gnutls_x509_crt_set_version(crt, 3);
        r |= gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
        /* a clock that is a little behind, here or in the browser, does not make it invalid */
        gnutls_x509_crt_set_activation_time(crt, now - DAY);
        gnutls_x509_crt_set_expiration_time(crt, now + (time_t) VALID_DAYS * DAY);
        r |= gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, MADE_BY, strlen(MADE_BY));
        r |= gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, host, (unsigned) MIN(strlen(host), 64));
        r |= gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET);
        r |= gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address4, sizeof(address4), GNUTLS_FSAN_APPEND);
        r |= gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address6, sizeof(address6), GNUTLS_FSAN_APPEND);
        if (strcmp(host, "localhost"))
                r |= gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, host, (unsigned) strlen(host), GNUTLS_FSAN_APPEND);
        r |= gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
        r |= gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
        r |= gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
        r |= gnutls_x509_crt_set_key(crt, key);
        r |= gnutls_x509_crt_get_key_id(crt, 0, id, &id_len);
        r |= gnutls_x509_crt_set_subject_key_id(crt, id, id_len);
        r |= gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
        return r;
}

static gboolean store(const char *path, const char *text, int mode, GError **error) {
        return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, mode, error);
}

static gboolean make(const char *cert_path, const char *key_path, BhTls *tls, GError **error) {
        gnutls_x509_privkey_t raw_key = NULL;
        gnutls_x509_crt_t raw_crt = NULL;

        if (gnutls_x509_privkey_init(&raw_key) < 0)
                return fail(error, "cannot make a key for TLS");
        g_autoptr(Key) key = raw_key;
        if (gnutls_x509_crt_init(&raw_crt) < 0)
                return fail(error, "cannot make a certificate for TLS");
        g_autoptr(Crt) crt = raw_crt;

        int r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
        if (r < 0)
                return fail(error, "cannot make a key for TLS: %s", gnutls_strerror(r));
        if (describe(crt, key))
                return fail(error, "cannot make a certificate for TLS");
        tls->cert_pem = export_crt(crt);
        tls->key_pem = export_key(key);
        if (!tls->cert_pem || !tls->key_pem)
                return fail(error, "cannot encode the certificate for TLS");
        tls->made = TRUE;
        /* the key first: a key without a certificate is made anew, a certificate without its key would be refused */
        if (unlink(cert_path) && errno != ENOENT)
                return fail(error, "cannot replace %s: %s", cert_path, g_strerror(errno));
        return store(key_path, tls->key_pem, 0600, error) && store(cert_path, tls->cert_pem, 0644, error);
}

/* Fills in what the certificate says, and checks that the key is its own. */
static gboolean check(const char *cert_path, const char *key_path, BhTls *tls, GError **error) {
        gnutls_datum_t cert_pem = { (unsigned char *) tls->cert_pem, (unsigned) strlen(tls->cert_pem) }, key_pem = { (unsigned char *) tls->key_pem, (unsigned) strlen(tls->key_pem) };
        gnutls_x509_privkey_t raw_key = NULL;
        gnutls_x509_crt_t *list = NULL;
        unsigned n = 0;
        guint8 of_crt[64], of_key[64], digest[32];
        size_t of_crt_len = sizeof(of_crt), of_key_len = sizeof(of_key), digest_len = sizeof(digest), name_len;
        char name[256] = "";

        int r = gnutls_x509_crt_list_import2(&list, &n, &cert_pem, GNUTLS_X509_FMT_PEM, 0);
        if (r < 0 || !n)
                return fail(error, "%s holds no PEM certificate (%s): put one there, or remove cert.pem and key.pem to have them made", cert_path, gnutls_strerror(r));
        g_autoptr(Crt) crt = list[0];
        for (unsigned i = 1; i < n; i++)
                gnutls_x509_crt_deinit(list[i]);
        gnutls_free(list);

        if (gnutls_x509_privkey_init(&raw_key) < 0)
                return fail(error, "cannot read %s: no memory", key_path);
        g_autoptr(Key) key = raw_key;
        if ((r = gnutls_x509_privkey_import2(key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0)
                return fail(error, "%s holds no unencrypted PEM key (%s)", key_path, gnutls_strerror(r));
        if (gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, of_crt, &of_crt_len) < 0 ||
            gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &of_key_len) < 0 || of_crt_len != of_key_len || memcmp(of_crt, of_key, of_crt_len))
                return fail(error, "%s is not the key of the certificate in %s", key_path, cert_path);

        tls->begins = (gint64) gnutls_x509_crt_get_activation_time(crt);
        tls->expires = (gint64) gnutls_x509_crt_get_expiration_time(crt);
        name_len = sizeof(name) - 1;
        tls->own = gnutls_x509_crt_get_issuer_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, 0, name, &name_len) >= 0 && (g_str_equal(name, MADE_BY_ESCAPED) || g_str_equal(name, MADE_BY));
        if (gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, digest, &digest_len) >= 0) {
                GString *text = g_string_new(NULL);

                for (gsize i = 0; i < digest_len; i++)
                        g_string_append_printf(text, "%s%02X", i ? ":" : "", digest[i]);
                g_free(tls->fingerprint);
                tls->fingerprint = g_string_free(text, FALSE);
        }
        return TRUE;
}

gboolean bh_tls_is_due(const BhTls *tls, gint64 now) {
        return tls->own && (tls->expires < now + RENEW_DAYS * DAY || tls->begins > now);
}

gboolean bh_tls_load(const char *dir, BhTls *tls, GError **error) {
        g_autofree char *cert_path = g_build_filename(dir, "cert.pem", NULL), *key_path = g_build_filename(dir, "key.pem", NULL);
        g_auto(BhTls) t = { 0 };

        if (g_mkdir_with_parents(dir, 0700))
                return fail(error, "cannot make %s: %s", dir, g_strerror(errno));
        if (access(cert_path, F_OK) == 0) {
                if (!(t.cert_pem = bh_file_read(AT_FDCWD, cert_path, PEM_MAX, NULL, NULL, error)) || !(t.key_pem = bh_file_read(AT_FDCWD, key_path, PEM_MAX, NULL, NULL, error)) ||
                    !check(cert_path, key_path, &t, error))
                        return FALSE;
                if (bh_tls_is_due(&t, (gint64) time(NULL)))
                        bh_tls_clear(&t);
        }
        if (!t.cert_pem && (!make(cert_path, key_path, &t, error) || !check(cert_path, key_path, &t, error)))
                return FALSE;
        *tls = t;
        t = (BhTls){ 0 };
        return TRUE;
}

void bh_tls_clear(BhTls *t) {
        if (t->key_pem)
                sodium_memzero(t->key_pem, strlen(t->key_pem));
        g_free(t->cert_pem);
        g_free(t->key_pem);
        g_free(t->fingerprint);
        *t = (BhTls){ 0 };
}
