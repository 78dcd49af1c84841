/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/ast.h"

#include "base/escape.h"
#include "rules/load.h"

BhOperand *bh_operand_new(enum bh_operand_kind kind, struct bh_pos pos) {
        BhOperand *o = g_new0(BhOperand, 1);

        o->refs = 1;
        o->kind = kind;
        o->pos = pos;
        return o;
}

BhOperand *bh_operand_ref(BhOperand *o) {
        g_atomic_int_inc(&o->refs);
        return o;
}

void bh_operand_free(BhOperand *o) {
        if (!o || !g_atomic_int_dec_and_test(&o->refs))
                return;
        g_free(o->text);
        g_free(o->arg);
        g_clear_pointer(&o->args, g_ptr_array_unref);
        g_free(o);
}

BhCond *bh_cond_new(enum bh_cond_kind kind, struct bh_pos pos) {
        BhCond *c = g_new0(BhCond, 1);

        c->kind = kind;
        c->pos = pos;
        if (kind != BH_COND_CHECK && kind != BH_COND_MACRO)
                c->kids = g_ptr_array_new_with_free_func((GDestroyNotify) bh_cond_free);
        return c;
}

void bh_cond_free(BhCond *c) {
        if (!c)
                return;
        g_clear_pointer(&c->kids, g_ptr_array_unref);
        g_clear_pointer(&c->values, g_ptr_array_unref);
        bh_operand_free(c->left);
        g_free(c);
}

BhCond *bh_cond_share(const BhCond *c) {
        BhCond *n = g_new0(BhCond, 1);

        *n = *c;
        if (n->kids)
                g_ptr_array_ref(n->kids);
        if (n->values)
                g_ptr_array_ref(n->values);
        if (n->left)
                bh_operand_ref(n->left);
        return n;
}

BhCond *bh_cond_copy(const BhCond *c) {
        return c ? bh_cond_share(c) : NULL;
}

void bh_cond_measure(const BhCond *c, guint32 *nodes, guint32 *depth) {
        guint32 deepest = 0;

        (*nodes)++;
        for (guint i = 0; c->kids && i < c->kids->len; i++) {
                guint32 d = 0;

                bh_cond_measure(g_ptr_array_index(c->kids, i), nodes, &d);
                deepest = MAX(deepest, d);
        }
        *depth = deepest + 1;
}

static void operand_text(const BhOperand *o, GString *out);

static void operands_text(const GPtrArray *a, GString *out) {
        for (guint i = 0; i < a->len; i++) {
                if (i)
                        g_string_append(out, ", ");
                operand_text(g_ptr_array_index(a, i), out);
        }
}

static void operand_text(const BhOperand *o, GString *out) {
        static const char *const transformers[] = {
#define X(id, text) text,
                BH_TRANSFORMERS(X)
#undef X
        };

        switch (o->kind) {
        case BH_OPERAND_LITERAL:
                bh_escape_append_quoted(out, o->text, (gssize) o->len);
                break;
        case BH_OPERAND_FIELD:
                g_string_append(out, o->field ? o->field->name : o->text);
                break;
        case BH_OPERAND_TRANSFORM:
                g_string_append(out, transformers[o->transformer]);
                g_string_append_c(out, '(');
                operands_text(o->args, out);
                g_string_append_c(out, ')');
                break;
        case BH_OPERAND_LIST:
                g_string_append_c(out, '(');
                operands_text(o->args, out);
                g_string_append_c(out, ')');
                break;
        }
        if (o->arg) {
                g_string_append_c(out, '[');
                g_autofree char *cell = bh_escape_cell(o->arg, -1);
                g_string_append(out, cell);
                g_string_append_c(out, ']');
        }
}

static void cond_text(const BhCond *c, GString *out) {
        static const char *const modifiers[] = { "", " oneof", " anyof", " allof" };

        switch ((int) c->kind) {
        case BH_COND_AND:
        case BH_COND_OR:
                g_string_append_c(out, '(');
                for (guint i = 0; i < c->kids->len; i++) {
                        if (i)
                                g_string_append(out, c->kind == BH_COND_AND ? " and " : " or ");
                        cond_text(g_ptr_array_index(c->kids, i), out);
                }
                g_string_append_c(out, ')');
                break;
        case BH_COND_NOT:
                g_string_append(out, "not ");
                cond_text(g_ptr_array_index(c->kids, 0), out);
                break;
        case BH_COND_CHECK:
                operand_text(c->left, out);
                g_string_append_printf(out, " %s%s", bh_op_text(c->op), modifiers[c->modifier]);
                if (!c->values)
                        break;
                g_string_append_c(out, ' ');
                if (c->modifier == BH_MOD_NONE && c->op < BH_OP_IN) {
                        operands_text(c->values, out);
                        break;
                }
                g_string_append_c(out, '(');
                operands_text(c->values, out);
                g_string_append_c(out, ')');
                break;
        default: g_string_append(out, c->left->text); break; /* a macro, while loading */
        }
}

char *bh_cond_to_text(const BhCond *c) {
        GString *out = g_string_new(NULL);

        cond_text(c, out);
        return g_string_free(out, FALSE);
}
