/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chains of an archive of evidence: a part of each that has the wanted items, and that is verified without what is before it.
 *
 * A part goes from the chain's first wanted item to its end, so that heads that were kept elsewhere tell whether it was cut short. Where that is more than there is room for, it is the wanted
 * items and the last one alone: what is between them was left out, and heads.jsonl says so.
 */
#pragma once
#include "store/store_evidence.h"

/* One JSON object a line: the last item of the chain. `gaps`: and where it goes on behind missing items. */
void bh_evidence_append_head(GString *out, const BhStoreEvidenceChain *chain, gboolean gaps);

/*
 * Appends the lines of the chains that `rows` (of BhStoreEvidence) are in, and a head of each. At most `whole_max` bytes are of chains that go on to their end; others have the lines of `rows` and
 * their last one. *parted: how many those are. Blocks; any thread.
 */
gboolean bh_evidence_archive_chains(BhStore *s, const GPtrArray *rows, gsize whole_max, GString *log, GString *heads, guint *parted, GError **error);
