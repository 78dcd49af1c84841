/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords and random secrets (libsodium). bh_password_init() first; afterwards every function may be called from any thread.
 *
 * Argon2id takes 64 MiB for about a tenth of a second: one is computed at a time and at most BH_PASSWORD_WAITERS wait, so that guessing
 * costs neither the machine's memory nor all workers. Secrets (sessions, tokens) are 256 random bits; only their BLAKE2b hash is kept.
 */
#pragma once
#include <glib.h>

#define BH_PASSWORD_MIN 12 /* characters */
#define BH_PASSWORD_MAX 256 /* bytes */
#define BH_PASSWORD_WAITERS 4
#define BH_SECRET_LEN 43 /* 256 bits as URL-safe base64 */
#define BH_HASH_LEN 64   /* BLAKE2b-256 in hex */

gboolean bh_password_init(GError **error);

/* Whether it may become the password of `user`: a sentence why not, or NULL. */
const char *bh_password_objection(const char *user, const char *password);

typedef enum {
        BH_PASSWORD_WRONG,
        BH_PASSWORD_RIGHT,
        BH_PASSWORD_BUSY, /* too many wait already */
} BhPasswordResult;

/* hash NULL (there is no such user): takes as long as any and is wrong. */
BhPasswordResult bh_password_verify(const char *hash, const char *password);
/* Text for the store; NULL when busy or out of memory. Caller frees. */
char *bh_password_hash(const char *password);

/* `prefix` and 256 random bits. Caller frees. */
char *bh_secret_new(const char *prefix);
/* A random password for people: 24 characters that are not mistaken for others, in groups. Caller frees. */
char *bh_password_random(void);
/* BLAKE2b-256 in hex of a secret, for a purpose; with `key` (NULL: none) keyed by it. Caller frees. */
char *bh_secret_hash(const char *secret, const char *key);
/* Equality in constant time. */
gboolean bh_secret_equal(const char *a, const char *b);
/* Overwrites and frees. */
void bh_secret_free(char *secret);
