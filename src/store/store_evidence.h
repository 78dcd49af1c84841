/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items of nodes' chains of evidence (src/evidence) as the central keeps them: the signed lines themselves, and what they are found by. The bytes that they name are files beside the
 * store (central/evidence.h).
 *
 * What a node sent once is never replaced: another item with the same number is counted as a conflict of its chain, which a verification tells.
 *
 * Bounds: BH_STORE_EVIDENCE_MAX items; beyond, the oldest go, those that an open incident speaks of only when nothing else is left, and counted (BhStoreStats); the chain is known to begin later,
 * and where it goes on behind what went. The last item of a chain stays as long. BH_STORE_EVIDENCE_CHAINS chains of a node: items of further ones are refused, and counted. Threads and errors as
 * in store.h.
 */
#pragma once
#include "store/store.h"

#define BH_STORE_EVIDENCE_MAX 200000
#define BH_STORE_EVIDENCE_CHAINS 256

typedef struct {
        gint64 serial;
        char *chain, *node, *kind, *container_id, *finding, *sha256, *line; /* sha256 "": no bytes */
        char *hash, *next, *prev, *key; /* of the line; given only */
        guint64 seq, size;
        gint64 time_ns, received_ns, start_ns;
        guint32 pid;
} BhStoreEvidence;

void bh_store_evidence_free(BhStoreEvidence *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreEvidence, bh_store_evidence_free)

typedef struct {
        const char *node, *container, *finding, *kind; /* container: id, or name */
        guint64 incident; /* 0: any. Else what its findings name, and what is of its containers and processes from ten minutes before its first finding on */
        gint64 since_ns, until_ns;
} BhStoreEvidenceFilter;

/* The latest first. */
BhStorePage *bh_store_evidence(BhStore *s, const BhStoreEvidenceFilter *filter, const char *cursor, guint limit, GError **error);
gboolean bh_store_evidence_count(BhStore *s, const BhStoreEvidenceFilter *filter, guint64 *count, GError **error);
/* NOT_FOUND. */
BhStoreEvidence *bh_store_evidence_item(BhStore *s, gint64 serial, GError **error);

typedef struct {
        char *chain, *node, *hash, *next;
        guint64 first_seq, last_seq, conflicts; /* first_seq above last_seq: nothing of it is here any more */
        GArray *gaps; /* of guint64, rising: items with which it goes on behind others that went for the bound */
} BhStoreEvidenceChain;

void bh_store_evidence_chain_free(BhStoreEvidenceChain *c);
/* Of a node, or of all (NULL); the one that changed last at the end. NULL with an error. */
GPtrArray *bh_store_evidence_chains(BhStore *s, const char *node, GError **error);
/* Each line of the chain from that number on, in order; FALSE from `each` ends it. */
gboolean bh_store_evidence_lines(BhStore *s, const char *chain, guint64 from, gboolean (*each)(guint64 seq, const char *line, gsize len, gpointer data), gpointer data, GError **error);

/* ---- retention of the bytes */

/* Hashes of objects, the oldest first, those that an open incident speaks of last (`held` TRUE), at most `max`. Dropped ones are left out. */
gboolean bh_store_evidence_oldest(BhStore *s, guint max, void (*each)(const char *sha256, guint64 size, gboolean held, gpointer data), gpointer data, GError **error);
/* The hash of each object that an item names, once. */
gboolean bh_store_evidence_objects(BhStore *s, void (*each)(const char *sha256, gpointer data), gpointer data, GError **error);
/* Their bytes go: said once, before they do. */
gboolean bh_store_evidence_drop(BhStore *s, const char *const *sha256, guint n, const char *why, GError **error);
gboolean bh_store_evidence_is_dropped(BhStore *s, const char *sha256, char **why, GError **error);
