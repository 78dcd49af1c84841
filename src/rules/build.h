/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the compiler: from trees of conditions to slots, atoms and nodes. build.c makes operands and keeps equal things once, atoms.c comparisons, conditions.c
 * what conditions say, compile.c whole engines; reduce.c makes code of them. What returns BH_NONE has told why. One thread.
 */
#pragma once
#include "rules/program.h"

struct bh_builder {
        BhRuleEngine *e;
        GHashTable *slots, *atoms, *nodes; /* GBytes of what it is -> index + 1 */
        GPtrArray *problems;               /* of BhEngineProblem; NULL: nobody asks */
        BhRuleRun *run;                    /* settles atoms by the call */
        guint rule;
        gboolean failed;                   /* this rule */
        GHashTable *told;                  /* fields that the rule was told of: each once */
};

/* build.c */
void bh_build_problem(struct bh_builder *b, gboolean error, struct bh_pos pos, const char *format, ...) G_GNUC_PRINTF(4, 5);
void bh_build_problem_free(gpointer data);
void bh_key_number(GByteArray *key, guint64 n);
void bh_key_text(GByteArray *key, const char *p, gsize len);
/* Takes the key. The index, or BH_NONE and the key is entered as `next`. */
guint32 bh_build_known(GHashTable *index, GByteArray *key, guint32 next);
guint32 bh_build_constant(struct bh_builder *b, gboolean truth);
guint32 bh_build_node_of(struct bh_builder *b, guint32 atom);
guint32 bh_build_not(struct bh_builder *b, guint32 node);
guint32 bh_build_both(struct bh_builder *b, enum bh_node_kind kind, guint32 x, guint32 y);
/* AND or OR of nodes, equal ones once. Sorts them. */
guint32 bh_build_join(struct bh_builder *b, enum bh_node_kind kind, GArray *nodes);
struct bh_str bh_build_keep(struct bh_builder *b, const char *p, gsize len);
guint32 bh_build_slot(struct bh_builder *b, const BhOperand *o);

/* atoms.c: a constant of the slot's type; FALSE: told. Nodes of comparisons with constants. */
const char *bh_slot_name(const struct bh_slot *s);
gboolean bh_build_number(struct bh_builder *b, const struct bh_slot *s, const BhOperand *o, gint64 *n);
gboolean bh_build_net(struct bh_builder *b, const BhOperand *o, struct bh_net *net);
guint32 bh_atom_add(struct bh_builder *b, GByteArray *key, struct bh_atom *a);
GByteArray *bh_atom_key(const struct bh_atom *a);
guint32 bh_atom_exists(struct bh_builder *b, guint32 slot);
guint32 bh_atom_text(struct bh_builder *b, enum bh_atom_how how, enum bh_op op, guint32 slot, GArray *texts);
guint32 bh_atom_number(struct bh_builder *b, enum bh_op op, guint32 slot, GArray *numbers);
guint32 bh_atom_net(struct bh_builder *b, enum bh_op op, guint32 slot, GArray *nets);
guint32 bh_atom_regex(struct bh_builder *b, guint32 slot, const BhOperand *o);
guint32 bh_atom_prefix(struct bh_builder *b, guint32 slot, GArray *texts);
/* The call alone says what the slot's value is. */
gboolean bh_slot_settled(const struct bh_slot *s);
/* Atoms that the call settles: all of evt.type and its like; those of evt.is_open_* for what is no open. After all rules. */
void bh_build_settle(struct bh_builder *b);

/* conditions.c: the node of a condition. */
guint32 bh_build_condition(struct bh_builder *b, const BhCond *c);
