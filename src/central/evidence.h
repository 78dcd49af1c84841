/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence at the central: the bytes that nodes' items name, as files below <data>/central/evidence, and the items as rows of the store.
 *
 * Pieces come before the item that names them, each at its place in "objects/ab/HASH.part"; when all are there and the hash is right, the file gets its name. A piece may come twice. What does not
 * hash to its name is thrown away and counted. Bytes that were dropped for the bound do not come back.
 *
 * Bounds: an object BH_CENTRAL_OBJECT_MAX; all of them the setting evidence.mib: beyond, those that no item names go, then the oldest, those of open incidents
 * last, and the store says which and why. A part to which nothing was added for a day goes.
 *
 * The bus's delivery thread puts, upkeep drops, workers read. Errors are logged once in a while and counted; the item stays in any case.
 */
#pragma once
#include "bus/bus.pb-c.h"
#include "central.h"
#include "store/store_evidence.h"

#define BH_CENTRAL_OBJECT_MAX (64u << 20)
#define BH_CENTRAL_EVIDENCE_MIB 4096

typedef struct {
        guint64 bytes, objects;               /* kept now, as upkeep saw it last and what came since */
        guint64 pieces, refused, wrong, failed, dropped, dropped_open; /* since the start; dropped_open: of open incidents */
        guint64 items_told; /* of what the store dropped of open incidents, what was warned of */
} BhEvidenceStats;

/* A piece, or a line: then *out is its row, with texts of the arena's like all others. FALSE with *error: the body is none. */
gboolean bh_evidence_ingest(BhCentral *c, const char *node, const Bulkhead__Bus__V1__Evidence *m, BhStoreEvidence *out, GPtrArray *texts, GError **error);
/* The file of an object; -1 with errno. */
int bh_evidence_open(BhCentral *c, const char *sha256);
/* Upkeep: brings the bytes below the bound. */
void bh_evidence_expire(BhCentral *c, guint64 max_bytes);
void bh_evidence_stats(BhEvidenceStats *out);
void bh_evidence_append_json(BhCentral *c, GString *out);
