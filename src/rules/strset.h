/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All literals that a field's text is compared with, of all rules, in one: the text is looked at once and every comparison that is true is told, so that what
 * a text costs does not grow with the number of rules.
 *
 * Whole texts stand in a hash, beginnings and ends in radix trees, parts in an Aho–Corasick automaton (one more without regard to case). Built once,
 * then read-only and thread-safe.
 */
#pragma once
#include "event/event.h"

enum bh_strset_kind { BH_SS_WHOLE, BH_SS_BEGIN, BH_SS_END, BH_SS_PART, BH_SS_PART_FOLD, BH_SS_KINDS };

typedef struct BhStrSet BhStrSet;

BhStrSet *bh_strset_new(void);
void bh_strset_free(BhStrSet *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStrSet, bh_strset_free)

/* Before bh_strset_build(): `atom` is told for texts that literal matches. An empty beginning, end or part matches every text. */
void bh_strset_add(BhStrSet *s, enum bh_strset_kind kind, const char *literal, gsize len, guint32 atom);
void bh_strset_build(BhStrSet *s);

/* Bytes of memory. */
gsize bh_strset_size(const BhStrSet *s);

/* Told once for each literal that matches (an atom with several matching literals: several times), in no order. */
typedef void (*BhStrSetTell)(guint32 atom, gpointer data);
void bh_strset_match(const BhStrSet *s, const char *text, gsize len, BhStrSetTell tell, gpointer data);
