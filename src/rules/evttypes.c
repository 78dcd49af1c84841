/* SPDX-License-Identifier: Apache-2.0 */
/* Does a condition leave most kinds of events out? A rule that does not is run on all of them. */
#include <string.h>

#include "rules/load.h"

/* What a condition may be true of. Not exact: NONE and FEW are proven, ALL is the rest. */
enum reach { NONE, FEW, ALL };

static gboolean names_types(const BhCond *c) {
        const char *name = c->left->kind == BH_OPERAND_FIELD && c->left->field ? c->left->field->name : "";

        return g_str_equal(name, "evt.type") || g_str_equal(name, "syscall.type") || g_str_has_prefix(name, "evt.type.is") || g_str_equal(name, "evt.category") ||
               g_str_has_prefix(name, "evt.is_open_") || g_str_equal(name, "evt.asynctype");
}

/* evt.num is 1 or more. */
static enum reach of_number(const BhCond *c) {
        guint64 n;

        if (!c->values || !c->values->len)
                return c->op == BH_OP_IN ? NONE : ALL;
        for (guint i = 0; i < c->values->len; i++) {
                const BhOperand *o = g_ptr_array_index(c->values, i);

                if (o->kind != BH_OPERAND_LITERAL || !g_ascii_string_to_unsigned(o->text, 10, 0, G_MAXUINT64, &n, NULL))
                        return ALL;
                if (n > (c->op == BH_OP_LT ? 1u : 0u))
                        return ALL;
        }
        return c->op == BH_OP_EQ || c->op == BH_OP_IN || c->op == BH_OP_LE || c->op == BH_OP_LT ? NONE : ALL;
}

static enum reach of_check(const BhCond *c, gboolean negated) {
        if (c->left->kind == BH_OPERAND_FIELD && c->left->field && g_str_equal(c->left->field->name, "evt.num") && !negated)
                return of_number(c);
        if (!names_types(c))
                return ALL;
        switch (c->op) {
        case BH_OP_EQ:
        case BH_OP_IN:
        case BH_OP_STARTSWITH:
        case BH_OP_ENDSWITH:
        case BH_OP_GLOB:
        case BH_OP_CONTAINS:
        case BH_OP_REGEX: return negated ? ALL : FEW;
        case BH_OP_NE: return negated ? FEW : ALL;
        default: return ALL;
        }
}

static enum reach of(const BhCond *c, gboolean negated) {
        gboolean any = (c->kind == BH_COND_OR) != negated;
        enum reach r = any ? NONE : ALL;

        if (c->kind == BH_COND_CHECK)
                return of_check(c, negated);
        if (c->kind == BH_COND_NOT)
                return of(g_ptr_array_index(c->kids, 0), !negated);
        for (guint i = 0; i < c->kids->len; i++) {
                enum reach k = of(g_ptr_array_index(c->kids, i), negated);

                r = any ? MAX(r, k) : MIN(r, k);
        }
        return r;
}

gboolean bh_cond_narrow(const BhCond *c) {
        return of(c, FALSE) != ALL;
}
