/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence: items in a chain that nobody can change behind our back, and the bytes that they speak of (objects, named by their SHA-256).
 *
 * An item is one line: a JSON object, a blank, and an Ed25519 signature in hexadecimal digits. The object begins with
 *
 *     "v": 1, "chain": the first key of the chain, "seq": 1, 2, 3 …, "time_ns", "node", "prev": SHA-256 of the line before ("" for the first),
 *     "key": the key that this line is signed with, "next": the key that the next one will be signed with, "kind", …
 *
 * The signature is over "bulkhead-evidence-1\n" and the object's bytes. Each item has a key of its own, made from the one before by a one-way function; the old one is erased before the
 * item counts as kept. So whoever takes a node over at item n can sign what follows, and nothing of what was. Every line names the next key, so a line that was made again with another
 * key does not fit the one before it. What is left to him is a chain that is cut short or a whole new one: heads (number and hash of a line) that are kept elsewhere show both.
 * docs/evidence.md has a verification in twenty lines of a script.
 *
 * Pure functions; any thread. Lines are foreign bytes: the parser has a fuzz target. bh_evidence_init() comes first, once.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#define BH_EVIDENCE_LINE_MAX 32768u
#define BH_EVIDENCE_SEED 32u
#define BH_EVIDENCE_HEX 65u /* 32 bytes and a NUL */
#define BH_EVIDENCE_PROBLEMS 64u /* told of one verification; more are counted */

typedef struct {
        char chain[BH_EVIDENCE_HEX], prev[BH_EVIDENCE_HEX]; /* prev: of the line made last, "" for none */
        guint64 seq; /* of the line that comes next */
        guint8 seed[BH_EVIDENCE_SEED];
} BhEvidenceKey;

/* A line that was read. */
typedef struct {
        json_t *facts; /* the whole object */
        char chain[BH_EVIDENCE_HEX], prev[BH_EVIDENCE_HEX], key[BH_EVIDENCE_HEX], next[BH_EVIDENCE_HEX], hash[BH_EVIDENCE_HEX];
        guint64 seq;
        gint64 time_ns;
        const char *kind, *node, *object; /* in `facts`; object: SHA-256, NULL: none */
        guint64 size;                     /* of the object */
} BhEvidenceLine;

#define BH_EVIDENCE_ERROR (bh_evidence_error_quark())
GQuark bh_evidence_error_quark(void);
typedef enum { BH_EVIDENCE_ERROR_LINE, BH_EVIDENCE_ERROR_SIGNATURE, BH_EVIDENCE_ERROR_IO, BH_EVIDENCE_ERROR_CHAIN } BhEvidenceError;

/* FALSE: the library of cryptography refuses to start. */
gboolean bh_evidence_init(void);

/* A new chain. */
void bh_evidence_key_new(BhEvidenceKey *k);
/* Erases it from memory. */
void bh_evidence_key_clear(BhEvidenceKey *k);
/* The next line, without its line end, and the key moves on. `facts` are added to what each line has, which they cannot replace. NULL: over BH_EVIDENCE_LINE_MAX; the key is as it was. */
char *bh_evidence_sign(BhEvidenceKey *k, const char *node, const char *kind, gint64 time_ns, json_t *facts);
/* TRUE and the key moves on, if the key would have signed this line: it was kept and the key's new state was not. */
gboolean bh_evidence_catch_up(BhEvidenceKey *k, const BhEvidenceLine *line);
/* That the line which comes next will be signed with this one. */
void bh_evidence_key_public(const BhEvidenceKey *k, char out[BH_EVIDENCE_HEX]);

/* Reads a line and checks its signature. FALSE with BH_EVIDENCE_ERROR_LINE or _SIGNATURE. */
gboolean bh_evidence_read(const char *text, gsize len, BhEvidenceLine *out, GError **error);
void bh_evidence_line_clear(BhEvidenceLine *line);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhEvidenceLine, bh_evidence_line_clear)

gboolean bh_evidence_is_hash(const char *text);
void bh_evidence_hash(const void *data, gsize len, char out[BH_EVIDENCE_HEX]);

/* ---- verification (verify.c) */

/* What happened to the evidence, as a word for programs and a sentence for people. */
typedef struct {
        const char *what; /* "changed", "removed", "order", "truncated", "rewritten", "begun_anew", "object_changed", "object_missing", "unreadable" */
        guint64 seq;      /* 0: of no line */
        char *text;
} BhEvidenceProblem;

typedef struct {
        guint64 items, objects, bytes, chains; /* looked at */
        guint64 first_seq, last_seq; /* of the last chain */
        char chain[BH_EVIDENCE_HEX], hash[BH_EVIDENCE_HEX], next[BH_EVIDENCE_HEX]; /* its head */
        guint64 problems;       /* all */
        GPtrArray *told;        /* BhEvidenceProblem */
        guint64 anchors;        /* heads kept elsewhere that were compared */
        guint64 gaps;           /* places within chains where items are missing that the caller knows of: what is behind one is tied to what is before it by nothing */
        guint64 absent;         /* objects that are not part of what is looked at (an export of some) */
} BhEvidenceReport;

typedef struct BhEvidenceVerifier BhEvidenceVerifier;

BhEvidenceVerifier *bh_evidence_verifier_new(void);
void bh_evidence_verifier_free(BhEvidenceVerifier *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhEvidenceVerifier, bh_evidence_verifier_free)
/* A head that was kept elsewhere: line `seq` of that chain had this hash. Before the lines. */
void bh_evidence_verifier_head(BhEvidenceVerifier *v, const char *chain, guint64 seq, const char *hash);
/* The same as JSON, one head a line, as they are exported. FALSE with an error. */
gboolean bh_evidence_verifier_heads(BhEvidenceVerifier *v, const char *text, gsize len, GError **error);
/* What was before that item of the chain was let go in order, as the caller knows (the chain itself says it in an item of kind "rotated"). */
void bh_evidence_verifier_begins(BhEvidenceVerifier *v, const char *chain, guint64 seq);
/* What was directly before that item of the chain was let go or left out, while older ones are here, as the caller knows: no item of a chain can say so of itself. */
void bh_evidence_verifier_gap(BhEvidenceVerifier *v, const char *chain, guint64 seq);
/* Both for each head of JSON lines: "first" above 1, and the list "gaps". Lines that are none are passed over. */
void bh_evidence_verifier_firsts(BhEvidenceVerifier *v, const char *text, gsize len);
/* The lines in their order; several chains one after the other. */
void bh_evidence_verifier_line(BhEvidenceVerifier *v, const char *text, gsize len);
/* A problem that the caller found. Takes `text`. */
void bh_evidence_verifier_problem(BhEvidenceVerifier *v, const char *what, guint64 seq, char *text);
/* The end of the lines. Each object that is to be there is asked for: `fd` gives a descriptor, which is closed, -1: it is missing, or -2: it is not part of this. NULL: objects are not looked at. */
const BhEvidenceReport *bh_evidence_verifier_end(BhEvidenceVerifier *v, int (*fd)(const char *sha256, gpointer data), gpointer data);
/* New reference. */
json_t *bh_evidence_report_json(const BhEvidenceReport *r);

/* A directory as a vault or an export has it: log.old, log, objects/. FALSE with an error: there is none. */
gboolean bh_evidence_verify_dir(BhEvidenceVerifier *v, const char *dir, const BhEvidenceReport **report, GError **error);

/* ---- archives (tar.c): POSIX ustar */

/* Appends a header, the bytes and their padding; the end of the archive with name NULL. */
void bh_tar_add(GByteArray *out, const char *name, const void *data, gsize len, gint64 mtime_s);
/* Name of the next member, and its bytes, from *at on, which moves on. FALSE: the end, or what is no archive. Hostile bytes. */
gboolean bh_tar_next(const guint8 *tar, gsize len, gsize *at, char name[256], const guint8 **data, gsize *size);
