/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions of rules as trees: what the parser makes and the compiler reads. Macros and lists are already put in, so that a tree
 * stands alone. Trees share what is equal (the values of a list, a macro's insides) by reference: a finished tree is never changed. It may be read by any
 * number of threads, and is freed with bh_cond_free() alone.
 *
 * Grammar and meaning: the Falco rule language (engine 0.63). Precedence, loosest first: or, and, not, check.
 */
#pragma once
#include <glib.h>

#include "rules/field.h"

/* Where something stands. file: index in the rule set's files; line and column from 1, column in bytes; line 0: nowhere. */
struct bh_pos {
        guint32 file, line, column;
};

enum bh_cond_kind { BH_COND_AND, BH_COND_OR, BH_COND_NOT, BH_COND_CHECK };

/* Every operator: BH_OP(ID, "text", takes). takes: NONE nothing, ONE a value, LIST a list in parentheses or a list's name. */
#define BH_OPS(X) \
        X(EXISTS, "exists", NONE) X(EQ, "=", ONE) X(NE, "!=", ONE) X(LT, "<", ONE) X(LE, "<=", ONE) X(GT, ">", ONE) X(GE, ">=", ONE) \
        X(CONTAINS, "contains", ONE) X(ICONTAINS, "icontains", ONE) X(BCONTAINS, "bcontains", ONE) X(STARTSWITH, "startswith", ONE) \
        X(BSTARTSWITH, "bstartswith", ONE) X(ENDSWITH, "endswith", ONE) X(GLOB, "glob", ONE) X(IGLOB, "iglob", ONE) X(REGEX, "regex", ONE) \
        X(IN, "in", LIST) X(INTERSECTS, "intersects", LIST) X(PMATCH, "pmatch", LIST)

enum bh_op {
#define X(id, text, takes) BH_OP_##id,
        BH_OPS(X)
#undef X
        BH_OP_COUNT
};

/* `field startswith oneof (a, b)`: how a string operator goes over a list of values. oneof and anyof: one of them is enough. */
enum bh_op_modifier { BH_MOD_NONE, BH_MOD_ONEOF, BH_MOD_ANYOF, BH_MOD_ALLOF };

/* Every transformer. */
#define BH_TRANSFORMERS(X) \
        X(TOLOWER, "tolower") X(TOUPPER, "toupper") X(B64, "b64") X(BASENAME, "basename") X(LEN, "len") X(JOIN, "join") X(CONCAT, "concat") X(GETOPT, "getopt") X(VAL, "val")

enum bh_transformer {
#define X(id, text) BH_TR_##id,
        BH_TRANSFORMERS(X)
#undef X
        BH_TR_COUNT
};

enum bh_operand_kind { BH_OPERAND_LITERAL, BH_OPERAND_FIELD, BH_OPERAND_TRANSFORM, BH_OPERAND_LIST };

typedef struct BhOperand BhOperand;
struct BhOperand {
        gint refs; /* the module's own: copies of trees share operands */
        enum bh_operand_kind kind;
        struct bh_pos pos;
        /*
         * LITERAL: unquoted bytes, escapes resolved; bcontains, bstartswith: the bytes that the hexadecimal text says. Checked against what it is compared with: a number is
         * decimal or 0x…, in 64 bits; a port a number or a service's name that this machine knows; an address, or an address/bits.
         */
        char *text;
        gsize len;
        gboolean quoted;
        /* FIELD. `text` is the name as it was written */
        const BhRuleField *field;
        char *arg;         /* what stands in the brackets, NULL: no brackets; also of the transformer getopt(…)[c] */
        gboolean has_index; /* arg is a number */
        guint32 index;
        /* TRANSFORM: arguments; LIST: items (of join) */
        enum bh_transformer transformer;
        GPtrArray *args; /* of BhOperand, owned; NULL: none */
};

typedef struct BhCond BhCond;
struct BhCond {
        enum bh_cond_kind kind;
        struct bh_pos pos;
        GPtrArray *kids; /* AND, OR: two or more; NOT: one. Of BhCond; may be shared with other trees */
        /* CHECK */
        enum bh_op op;
        enum bh_op_modifier modifier;
        BhOperand *left;
        GPtrArray *values; /* of BhOperand; may be shared with other trees. ONE without a modifier: exactly one; exists: NULL; a list may be empty */
};

void bh_operand_free(BhOperand *o);
void bh_cond_free(BhCond *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhOperand, bh_operand_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCond, bh_cond_free)

/* A tree of its own that shares all that is below the first node. */
BhCond *bh_cond_copy(const BhCond *c);

const char *bh_op_text(enum bh_op op);

/* The tree as text of the language, with all parentheses: for tests and messages. */
char *bh_cond_to_text(const BhCond *c);
