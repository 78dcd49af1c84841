/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled form of rules, shared by compiler and evaluator.
 *
 * Slots are operands: a field with its argument, a transformer of operands, a text. Atoms are comparisons of a slot with constants or another slot; equal
 * ones of all rules are one. Nodes join atoms; equal ones are one. For each call (calls.tbl.h) every rule is reduced by what the call settles (evt.type, fields
 * that it cannot have); what is left is a root, and rules that are false are not of that call. A root has an access set: atoms of which at least one must be
 * true for the rule to be. An event makes atoms true, those wake rules, and only what was woken is run.
 *
 * Code: an instruction tests an atom or calls the code of a node that several rules share, and goes on at one of two places. Truths of atoms and shared nodes are kept for
 * the event (memo, by generation).
 */
#pragma once
#include "rules/engine.h"
#include "rules/pattern.h"
#include "rules/strset.h"
#include "rules/value.h"

#define BH_NONE G_MAXUINT32
#define BH_CALL_WORDS ((BH_CALL_COUNT + 63) / 64)

enum bh_slot_kind { BH_SLOT_FIELD, BH_SLOT_TRANSFORM, BH_SLOT_TEXT };

/* What several values mean: one at most; any of them suffices (ancestors); client and server (!= must hold of both); a list. */
enum bh_slot_many { BH_MANY_ONE, BH_MANY_ANY, BH_MANY_EITHER, BH_MANY_LIST };

struct bh_slot {
        guint8 kind, many, type; /* type: enum bh_rule_type of its values */
        guint8 transformer;
        const BhRuleField *row;
        struct bh_field_ref field;
        struct bh_str text;
        guint32 args, n_args; /* of a transformer: slots, in slot_args */
        guint32 values;       /* where its several values are, index in units of BH_VALUES_MAX; BH_NONE: one at most */
        BhStrSet *set;        /* atoms that it settles at once; NULL: none */
        guint64 calls[BH_CALL_WORDS]; /* that can have it */
};

enum bh_atom_how {
        BH_HOW_SET,    /* told by the slot's set */
        BH_HOW_EXISTS,
        BH_HOW_CALL,   /* settled by the call: never evaluated */
        BH_HOW_NUMBER, /* with numbers */
        BH_HOW_TEXT,   /* with texts, one after the other */
        BH_HOW_IP,     /* with networks */
        BH_HOW_REGEX,
        BH_HOW_PREFIX, /* pmatch */
        BH_HOW_SUBSET, /* list `in` texts */
        BH_HOW_SLOT,   /* with another slot */
        BH_HOW_ONE,    /* exactly one of several atoms */
        BH_HOW_ANY,    /* a number or a text, as the value is */
};

struct bh_atom {
        guint8 how, op; /* op: enum bh_op */
        guint8 negated_many; /* != over client and server: of both */
        guint8 partly;       /* settled by the call but for opens: evt.is_open_* */
        guint32 slot, other;   /* other: slot on the right side */
        guint32 first, n;      /* constants in numbers, texts, nets, regexes, prefixes or atom lists, by how */
        guint64 calls[BH_CALL_WORDS]; /* CALL: calls that it is true of */
        gfloat p, cost;        /* guesses: how often it is true, ns */
        guint32 wakes, n_wakes;
};

struct bh_net {
        struct bh_ip ip;
        guint8 bits;
};

enum bh_node_kind { BH_NODE_FALSE, BH_NODE_TRUE, BH_NODE_ATOM, BH_NODE_NOT, BH_NODE_AND, BH_NODE_OR };

struct bh_node {
        guint8 kind;
        guint8 shared; /* has code of its own */
        guint32 first, n; /* ATOM: the atom; NOT: the kid; AND, OR: kids in node_kids */
        guint32 uses;
        guint32 entry; /* of its own code, BH_NONE: none */
        gfloat p, cost;
};

enum bh_ins_op { BH_INS_FALSE, BH_INS_TRUE, BH_INS_ATOM, BH_INS_NODE };

struct bh_ins {
        guint32 op, arg, on_true, on_false;
};

/* Atom `atom`, true in an event of `call`, wakes a rule (index in the call's roots). */
struct bh_wake {
        guint32 call, root;
};

struct bh_root {
        guint32 rule, entry;
};

struct bh_call_program {
        guint32 roots, n_roots;       /* in order of definition */
        guint32 slots, n_slots;       /* whose sets wake rules: in call_slots */
        guint32 atoms, n_atoms;       /* others that wake: in call_atoms, with their roots in wakes */
        guint32 always;               /* bit set of roots that are run for every event: in always, n_roots bits */
};

struct BhRuleEngine {
        gatomicrefcount refs;
        guint64 serial;
        BhRuleSet *set;
        GPtrArray *conditions;  /* of BhCond that the engine owns: filters */
        guint n_rules;
        gboolean all;
        guint64 needs[2];
        GArray *slots;      /* of bh_slot */
        GArray *slot_args;  /* of guint32 */
        GArray *atoms;      /* of bh_atom */
        GArray *atom_lists; /* of guint32 */
        GArray *numbers;    /* of gint64 */
        GArray *texts;      /* of bh_str, into arena */
        GArray *nets;       /* of bh_net */
        GPtrArray *regexes, *prefixes;
        GArray *nodes;      /* of bh_node */
        GArray *node_kids;  /* of guint32 */
        GArray *code;       /* of bh_ins */
        GArray *roots, *call_slots, *call_atoms, *wakes, *always;
        struct bh_call_program calls[BH_CALL_COUNT];
        GStringChunk *arena;
        guint32 multi;      /* slots with several values */
        guint32 stack;      /* deepest nesting of shared nodes */
        GPtrArray *outputs; /* by rule: GPtrArray of BhRuleFormat (output, extra fields), NULL: none (render.c) */
};

struct BhRuleRun {
        BhRuleScene scene;
        BhMatcher *matcher;
        guint64 serial; /* of the engine that the arrays are for */
        guint32 gen;
        guint32 *slot_gen;      /* when the slot's value was looked for */
        guint32 *slot_set;      /* when its set was asked */
        guint8 *slot_n;
        struct bh_value *slot_value;
        struct bh_value *values;
        guint32 *atom_memo, *node_memo; /* generation << 1 | truth */
        guint8 *limited;        /* by atom: its pattern hit a bound: 1 not told yet, 2 told */
        guint64 limits_told, cut_told;
        guint32 *stack;
        guint64 *woken;
        guint n_atoms, n_nodes, n_slots;
        GArray *matches; /* of guint32 */
        GString *scratch;
        BhRuleRunStats stats;
        const BhRuleEngine *telling; /* while a set tells */
        guint32 telling_call;
};

#define BH_AT(array, type, index) (((type *) (void *) (array)->data)[index])

/* Values of a slot for the event of the run: their number, 0 = missing. */
guint bh_run_slot(BhRuleRun *r, const BhRuleEngine *e, guint32 slot, const struct bh_value **values);
/* Compares values that are there; SET atoms too (slowly). Used to settle atoms by the call. */
gboolean bh_run_compare(BhRuleRun *r, const BhRuleEngine *e, const struct bh_atom *a, const struct bh_value *values, guint n);
/* Makes the run's arrays fit the engine. */
void bh_run_fit(BhRuleRun *r, const BhRuleEngine *e);
gboolean bh_run_atom(BhRuleRun *r, const BhRuleEngine *e, guint32 atom);
gboolean bh_text_compare(enum bh_op op, struct bh_str a, struct bh_str b, gboolean *limit);

/* transform.c: values of a transformer's slot. */
guint bh_run_transform(BhRuleRun *r, const BhRuleEngine *e, const struct bh_slot *s, struct bh_value *out);

/* render.c. `name`: of an extra field, NULL: the output. slot_of: gives the slot of an operand, BH_NONE: it has none. */
typedef struct BhRuleFormat BhRuleFormat;
typedef guint32 (*BhFormatSlot)(const BhOperand *o, gpointer data);
BhRuleFormat *bh_rule_format_new(const char *text, const char *name, gboolean raw, BhFormatSlot slot_of, gpointer data);
void bh_rule_format_free(BhRuleFormat *f);

/* reduce.c: nodes, reduced by calls, in order of cost; access sets and code. */
guint32 bh_node_add(BhRuleEngine *e, GHashTable *index, enum bh_node_kind kind, const guint32 *kids, guint n);
void bh_engine_reduce(BhRuleEngine *e, GHashTable *index, const guint32 *rule_nodes, const guint64 (*rule_calls)[BH_CALL_WORDS]);
