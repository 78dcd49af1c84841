/* SPDX-License-Identifier: Apache-2.0 */
#include "password.h"

#include <sodium.h>
#include <string.h>

static GMutex lock;
static GCond turn;
static guint waiters;
static gboolean computing;
/* of a password that nobody knows, made at the start, so that unknown users cost the same as known ones */
static char nobody[crypto_pwhash_STRBYTES];

gboolean bh_password_init(GError **error) {
        g_autofree char *random = NULL;

        if (sodium_init() < 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "libsodium does not start: no source of random numbers");
                return FALSE;
        }
        if (*nobody)
                return TRUE;
        random = bh_secret_new("");
        if (crypto_pwhash_str(nobody, random, strlen(random), crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "cannot hash a password: there are no %d MiB of memory", (int) (crypto_pwhash_MEMLIMIT_INTERACTIVE >> 20));
                return FALSE;
        }
        return TRUE;
}

const char *bh_password_objection(const char *user, const char *password) {
        gsize len = strlen(password);

        if (len > BH_PASSWORD_MAX)
                return "a password has at most 256 bytes";
        if (!g_utf8_validate(password, (gssize) len, NULL))
                return "a password must be valid UTF-8";
        if (g_utf8_strlen(password, (gssize) len) < BH_PASSWORD_MIN)
                return "a password has at least 12 characters";
        if (g_ascii_strcasecmp(user, password) == 0)
                return "the password must differ from the user's name";

        gsize same = 0;
        for (gsize i = 1; i < len; i++)
                same += password[i] == password[0];
        return same + 1 == len ? "a password is more than one character repeated" : NULL;
}

static gboolean enter(void) {
        gboolean ok;

        g_mutex_lock(&lock);
        if ((ok = waiters < BH_PASSWORD_WAITERS)) {
                waiters++;
                while (computing)
                        g_cond_wait(&turn, &lock);
                waiters--;
                computing = TRUE;
        }
        g_mutex_unlock(&lock);
        return ok;
}

static void leave(void) {
        g_mutex_lock(&lock);
        computing = FALSE;
        g_cond_signal(&turn);
        g_mutex_unlock(&lock);
}

BhPasswordResult bh_password_verify(const char *hash, const char *password) {
        if (!enter())
                return BH_PASSWORD_BUSY;
        gboolean right = crypto_pwhash_str_verify(hash ? hash : nobody, password, strlen(password)) == 0;
        leave();
        return right && hash ? BH_PASSWORD_RIGHT : BH_PASSWORD_WRONG;
}

char *bh_password_hash(const char *password) {
        char out[crypto_pwhash_STRBYTES];

        if (!enter())
                return NULL;
        int r = crypto_pwhash_str(out, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
        leave();
        return r ? NULL : g_strdup(out);
}

char *bh_secret_new(const char *prefix) {
        guint8 bytes[32];
        char text[BH_SECRET_LEN + 1];

        randombytes_buf(bytes, sizeof(bytes));
        sodium_bin2base64(text, sizeof(text), bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        sodium_memzero(bytes, sizeof(bytes));
        return g_strconcat(prefix, text, NULL);
}

char *bh_password_random(void) {
        static const char letters[] = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < 24; i++) {
                if (i && i % 6 == 0)
                        g_string_append_c(out, '-');
                g_string_append_c(out, letters[randombytes_uniform(sizeof(letters) - 1)]);
        }
        return g_string_free(out, FALSE);
}

char *bh_secret_hash(const char *secret, const char *key) {
        guint8 digest[32];
        char *out = g_malloc(BH_HASH_LEN + 1);
        gsize key_len = key ? MIN(strlen(key), (gsize) crypto_generichash_KEYBYTES_MAX) : 0;

        crypto_generichash(digest, sizeof(digest), (const guint8 *) secret, strlen(secret), (const guint8 *) key, key_len);
        return sodium_bin2hex(out, BH_HASH_LEN + 1, digest, sizeof(digest));
}

gboolean bh_secret_equal(const char *a, const char *b) {
        gsize n = strlen(a);

        return n == strlen(b) && sodium_memcmp(a, b, n) == 0;
}

void bh_secret_free(char *secret) {
        if (secret)
                sodium_memzero(secret, strlen(secret));
        g_free(secret);
}
