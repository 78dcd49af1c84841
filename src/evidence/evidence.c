/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/evidence.h"

#include <sodium.h>
#include <string.h>

#define CONTEXT "bulkhead-evidence-1\n"
#define SIGNATURE_HEX (2 * crypto_sign_BYTES)
#define JSON_DEPTH_LIMITED JSON_REJECT_DUPLICATES

G_STATIC_ASSERT(BH_EVIDENCE_SEED == crypto_sign_SEEDBYTES);
G_STATIC_ASSERT(BH_EVIDENCE_HEX == 2 * crypto_sign_PUBLICKEYBYTES + 1);
G_STATIC_ASSERT(BH_EVIDENCE_HEX == 2 * crypto_hash_sha256_BYTES + 1);

G_DEFINE_QUARK(bh-evidence-error, bh_evidence_error)

gboolean bh_evidence_init(void) {
        return sodium_init() >= 0;
}

gboolean bh_evidence_is_hash(const char *text) {
        return text && strlen(text) == BH_EVIDENCE_HEX - 1 && strspn(text, "0123456789abcdef") == BH_EVIDENCE_HEX - 1;
}

void bh_evidence_hash(const void *data, gsize len, char out[BH_EVIDENCE_HEX]) {
        guint8 h[crypto_hash_sha256_BYTES];

        crypto_hash_sha256(h, data, len);
        sodium_bin2hex(out, BH_EVIDENCE_HEX, h, sizeof(h));
}

/* ---- keys ---- */

static void public_of(const guint8 seed[BH_EVIDENCE_SEED], char out[BH_EVIDENCE_HEX]) {
        guint8 pk[crypto_sign_PUBLICKEYBYTES], sk[crypto_sign_SECRETKEYBYTES];

        crypto_sign_seed_keypair(pk, sk, seed);
        sodium_memzero(sk, sizeof(sk));
        sodium_bin2hex(out, BH_EVIDENCE_HEX, pk, sizeof(pk));
}

/* One way: from a seed the later ones can be had, never an earlier one. */
static void evolve(const guint8 seed[BH_EVIDENCE_SEED], guint8 next[BH_EVIDENCE_SEED]) {
        static const char label[] = "bulkhead evidence: next key";

        crypto_generichash(next, BH_EVIDENCE_SEED, (const guint8 *) label, sizeof(label), seed, BH_EVIDENCE_SEED);
}

void bh_evidence_key_new(BhEvidenceKey *k) {
        *k = (BhEvidenceKey){ .seq = 1 };
        randombytes_buf(k->seed, sizeof(k->seed));
        public_of(k->seed, k->chain);
}

void bh_evidence_key_clear(BhEvidenceKey *k) {
        sodium_memzero(k, sizeof(*k));
}

void bh_evidence_key_public(const BhEvidenceKey *k, char out[BH_EVIDENCE_HEX]) {
        public_of(k->seed, out);
}

/* ---- writing ---- */

static void sign(const guint8 seed[BH_EVIDENCE_SEED], const char *json, char hex[SIGNATURE_HEX + 1]) {
        guint8 pk[crypto_sign_PUBLICKEYBYTES], sk[crypto_sign_SECRETKEYBYTES], signature[crypto_sign_BYTES];
        g_autofree char *message = g_strconcat(CONTEXT, json, NULL);

        crypto_sign_seed_keypair(pk, sk, seed);
        crypto_sign_detached(signature, NULL, (const guint8 *) message, strlen(message), sk);
        sodium_memzero(sk, sizeof(sk));
        sodium_bin2hex(hex, SIGNATURE_HEX + 1, signature, sizeof(signature));
}

char *bh_evidence_sign(BhEvidenceKey *k, const char *node, const char *kind, gint64 time_ns, json_t *facts) {
        char key[BH_EVIDENCE_HEX], next[BH_EVIDENCE_HEX], signature[SIGNATURE_HEX + 1];
        guint8 later[BH_EVIDENCE_SEED];
        json_auto_t *o = json_object();

        evolve(k->seed, later);
        public_of(k->seed, key);
        public_of(later, next);
        json_object_set_new(o, "v", json_integer(1));
        json_object_set_new(o, "chain", json_string(k->chain));
        json_object_set_new(o, "seq", json_integer((json_int_t) k->seq));
        json_object_set_new(o, "time_ns", json_integer(time_ns));
        json_object_set_new(o, "node", json_string(node));
        json_object_set_new(o, "prev", json_string(k->prev));
        json_object_set_new(o, "key", json_string(key));
        json_object_set_new(o, "next", json_string(next));
        json_object_set_new(o, "kind", json_string(kind));
        if (facts)
                json_object_update_missing(o, facts);

        char *json = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
        if (!json || strlen(json) + 1 + SIGNATURE_HEX > BH_EVIDENCE_LINE_MAX) {
                free(json);
                sodium_memzero(later, sizeof(later));
                return NULL;
        }
        sign(k->seed, json, signature);
        char *line = g_strconcat(json, " ", signature, NULL);
        free(json);
        bh_evidence_hash(line, strlen(line), k->prev);
        memcpy(k->seed, later, sizeof(later));
        sodium_memzero(later, sizeof(later));
        k->seq++;
        return line;
}

gboolean bh_evidence_catch_up(BhEvidenceKey *k, const BhEvidenceLine *line) {
        char key[BH_EVIDENCE_HEX];
        guint8 later[BH_EVIDENCE_SEED];

        public_of(k->seed, key);
        if (line->seq != k->seq || strcmp(line->key, key) || strcmp(line->chain, k->chain) || strcmp(line->prev, k->prev))
                return FALSE;
        evolve(k->seed, later);
        memcpy(k->seed, later, sizeof(later));
        sodium_memzero(later, sizeof(later));
        g_strlcpy(k->prev, line->hash, sizeof(k->prev));
        k->seq++;
        return TRUE;
}

/* ---- reading ---- */

static gboolean malformed(GError **error, const char *why) {
        g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_LINE, "this is no line of evidence: %s", why);
        return FALSE;
}

static gboolean take_hex(json_t *o, const char *name, gboolean may_be_empty, char out[BH_EVIDENCE_HEX]) {
        const char *text = json_string_value(json_object_get(o, name));

        if (!text || !(bh_evidence_is_hash(text) || (may_be_empty && !*text)))
                return FALSE;
        g_strlcpy(out, text, BH_EVIDENCE_HEX);
        return TRUE;
}

void bh_evidence_line_clear(BhEvidenceLine *line) {
        json_decref(line->facts);
        *line = (BhEvidenceLine){ 0 };
}

static gboolean read_facts(BhEvidenceLine *line, GError **error) {
        json_t *o = line->facts, *object;

        if (!json_is_object(o))
                return malformed(error, "it has no JSON object");
        if (json_integer_value(json_object_get(o, "v")) != 1)
                return malformed(error, "its version is not 1: a newer program wrote it");
        if (!take_hex(o, "chain", FALSE, line->chain) || !take_hex(o, "prev", TRUE, line->prev) || !take_hex(o, "key", FALSE, line->key) || !take_hex(o, "next", FALSE, line->next))
                return malformed(error, "a key or hash is missing");
        if (json_integer_value(json_object_get(o, "seq")) <= 0)
                return malformed(error, "its number is missing");
        line->seq = (guint64) json_integer_value(json_object_get(o, "seq"));
        line->time_ns = json_integer_value(json_object_get(o, "time_ns"));
        line->kind = json_string_value(json_object_get(o, "kind"));
        line->node = json_string_value(json_object_get(o, "node"));
        if (!line->kind || !line->node)
                return malformed(error, "its kind or node is missing");
        if ((object = json_object_get(o, "object"))) {
                line->object = json_string_value(json_object_get(object, "sha256"));
                line->size = (guint64) MAX(json_integer_value(json_object_get(object, "size")), 0);
                if (!bh_evidence_is_hash(line->object))
                        return malformed(error, "its object has no hash");
        }
        return TRUE;
}

gboolean bh_evidence_read(const char *text, gsize len, BhEvidenceLine *out, GError **error) {
        g_auto(BhEvidenceLine) line = { 0 };
        guint8 signature[crypto_sign_BYTES], pk[crypto_sign_PUBLICKEYBYTES];

        if (len > BH_EVIDENCE_LINE_MAX || len < SIGNATURE_HEX + 3 || text[len - SIGNATURE_HEX - 1] != ' ')
                return malformed(error, "it has no signature, or is too long");

        gsize json_len = len - SIGNATURE_HEX - 1;
        if (sodium_hex2bin(signature, sizeof(signature), text + json_len + 1, SIGNATURE_HEX, NULL, NULL, NULL))
                return malformed(error, "its signature is not in hexadecimal digits");
        if (!(line.facts = json_loadb(text, json_len, JSON_DEPTH_LIMITED, NULL)))
                return malformed(error, "it has no JSON object");
        if (!read_facts(&line, error))
                return FALSE;
        bh_evidence_hash(text, len, line.hash);

        g_autofree char *message = g_malloc(sizeof(CONTEXT) + json_len);
        memcpy(message, CONTEXT, sizeof(CONTEXT) - 1);
        memcpy(message + sizeof(CONTEXT) - 1, text, json_len);
        sodium_hex2bin(pk, sizeof(pk), line.key, strlen(line.key), NULL, NULL, NULL);
        if (crypto_sign_verify_detached(signature, (const guint8 *) message, sizeof(CONTEXT) - 1 + json_len, pk)) {
                g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_SIGNATURE, "item %" G_GUINT64_FORMAT " was changed: its signature is not of these bytes", line.seq);
                return FALSE;
        }
        *out = line;
        line.facts = NULL;
        return TRUE;
}
