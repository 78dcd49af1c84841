/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/build.h"

void bh_build_problem_free(gpointer data) {
        BhEngineProblem *p = data;

        g_free(p->what);
        g_free(p);
}

void bh_build_problem(struct bh_builder *b, gboolean error, struct bh_pos pos, const char *format, ...) {
        BhEngineProblem *p = g_new0(BhEngineProblem, 1);
        va_list ap;

        p->rule = b->rule;
        p->error = error;
        p->pos = pos;
        va_start(ap, format);
        p->what = g_strdup_vprintf(format, ap);
        va_end(ap);
        b->failed |= error;
        if (b->problems && b->problems->len < BH_RULES_PROBLEMS_MAX)
                g_ptr_array_add(b->problems, p);
        else
                bh_build_problem_free(p);
}

/* ---- equal things once ---- */

void bh_key_number(GByteArray *key, guint64 n) {
        g_byte_array_append(key, (const guint8 *) &n, sizeof(n));
}

void bh_key_text(GByteArray *key, const char *p, gsize len) {
        bh_key_number(key, len);
        g_byte_array_append(key, (const guint8 *) (p ? p : ""), (guint) len);
}

/* Takes the key. The index, or BH_NONE and the key is entered as `next`. */
guint32 bh_build_known(GHashTable *index, GByteArray *key, guint32 next) {
        GBytes *bytes = g_byte_array_free_to_bytes(key);
        gpointer at = g_hash_table_lookup(index, bytes);

        if (at) {
                g_bytes_unref(bytes);
                return GPOINTER_TO_UINT(at) - 1;
        }
        g_hash_table_insert(index, bytes, GUINT_TO_POINTER(next + 1));
        return BH_NONE;
}

guint32 bh_node_add(BhRuleEngine *e, GHashTable *index, enum bh_node_kind kind, const guint32 *kids, guint n) {
        GByteArray *key = g_byte_array_new();
        struct bh_node node = { .kind = (guint8) kind, .n = n, .entry = BH_NONE };
        guint32 at;

        bh_key_number(key, kind);
        g_byte_array_append(key, (const guint8 *) kids, n * (guint) sizeof(guint32));
        at = bh_build_known(index, key, e->nodes->len);
        if (at != BH_NONE)
                return at;
        if (kind == BH_NODE_AND || kind == BH_NODE_OR) {
                node.first = e->node_kids->len;
                g_array_append_vals(e->node_kids, kids, n);
        } else {
                node.first = n ? kids[0] : 0;
        }
        g_array_append_val(e->nodes, node);
        return e->nodes->len - 1;
}

guint32 bh_build_constant(struct bh_builder *b, gboolean truth) {
        return bh_node_add(b->e, b->nodes, truth ? BH_NODE_TRUE : BH_NODE_FALSE, NULL, 0);
}

guint32 bh_build_node_of(struct bh_builder *b, guint32 atom) {
        return bh_node_add(b->e, b->nodes, BH_NODE_ATOM, &atom, 1);
}

guint32 bh_build_not(struct bh_builder *b, guint32 node) {
        return bh_node_add(b->e, b->nodes, BH_NODE_NOT, &node, 1);
}

guint32 bh_build_both(struct bh_builder *b, enum bh_node_kind kind, guint32 x, guint32 y) {
        guint32 kids[2] = { MIN(x, y), MAX(x, y) };

        return x == y ? x : bh_node_add(b->e, b->nodes, kind, kids, 2);
}

struct bh_str bh_build_keep(struct bh_builder *b, const char *p, gsize len) {
        return (struct bh_str){ g_string_chunk_insert_len(b->e->arena, p ? p : "", (gssize) len), (guint32) len };
}

static int by_index(gconstpointer x, gconstpointer y) {
        guint32 a = *(const guint32 *) x, b = *(const guint32 *) y;

        return a < b ? -1 : a > b;
}

/* AND or OR of nodes, equal ones once. */
guint32 bh_build_join(struct bh_builder *b, enum bh_node_kind kind, GArray *nodes) {
        guint n = 0;

        g_array_sort(nodes, by_index);
        for (guint i = 0; i < nodes->len; i++) {
                guint32 node = g_array_index(nodes, guint32, i);

                if (!n || g_array_index(nodes, guint32, n - 1) != node)
                        g_array_index(nodes, guint32, n++) = node;
        }
        if (n == 1)
                return g_array_index(nodes, guint32, 0);
        return n ? bh_node_add(b->e, b->nodes, kind, (const guint32 *) (const void *) nodes->data, n) : bh_build_constant(b, kind == BH_NODE_AND);
}

/* ---- operands ---- */

static void calls_of_kinds(enum bh_rule_when when, guint64 calls[BH_CALL_WORDS]) {
        guint64 kinds[BH_KIND_WORDS];

        bh_rule_when_kinds(when, kinds);
        memset(calls, 0, sizeof(guint64) * BH_CALL_WORDS);
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint kind = bh_rule_calls[c].kind;

                if (kinds[kind / 64] >> (kind % 64) & 1)
                        calls[c / 64] |= 1ull << (c % 64);
        }
}

static guint32 slot_add(struct bh_builder *b, GByteArray *key, const struct bh_slot *slot) {
        guint32 at = bh_build_known(b->slots, key, b->e->slots->len);

        if (at != BH_NONE)
                return at;
        g_array_append_vals(b->e->slots, slot, 1);
        return b->e->slots->len - 1;
}

static guint32 field_slot(struct bh_builder *b, const BhOperand *o) {
        const BhRuleField *f = o->field;
        GByteArray *key = g_byte_array_new();
        struct bh_slot s = { .kind = BH_SLOT_FIELD, .type = (guint8) f->type, .row = f, .values = BH_NONE };

        bh_key_number(key, BH_SLOT_FIELD);
        bh_key_number(key, f->id);
        bh_key_number(key, o->arg != NULL);
        bh_key_text(key, o->arg, o->arg ? strlen(o->arg) : 0);
        s.field = (struct bh_field_ref){ .id = f->id, .has_arg = o->arg != NULL, .has_index = o->has_index, .index = o->index };
        if (o->arg)
                s.field.arg = bh_build_keep(b, o->arg, strlen(o->arg));
        if (f->id == BH_FLD_EVT_ARG || f->id == BH_FLD_EVT_RAWARG)
                bh_rule_arg_calls(&s.field, s.calls);
        else
                calls_of_kinds(f->when, s.calls);
        s.many = f->flags & BH_FF_EITHER ? BH_MANY_EITHER : f->flags & BH_FF_LIST ? BH_MANY_LIST : (f->flags & BH_FF_ANCESTORS) && !o->arg ? BH_MANY_ANY : BH_MANY_ONE;
        if (s.many != BH_MANY_ONE)
                s.values = b->e->multi++;
        return slot_add(b, key, &s);
}

static guint32 transform_slot(struct bh_builder *b, const BhOperand *o) {
        g_autoptr(GArray) args = g_array_new(FALSE, FALSE, sizeof(guint32));
        struct bh_slot s = { .kind = BH_SLOT_TRANSFORM, .transformer = (guint8) o->transformer, .type = o->transformer == BH_TR_LEN ? BH_RT_NUMBER : BH_RT_STRING, .values = BH_NONE };
        GByteArray *key;

        memset(s.calls, 0xff, sizeof(s.calls));
        for (guint i = 0; o->args && i < o->args->len; i++) {
                const BhOperand *arg = g_ptr_array_index(o->args, i);

                for (guint k = 0, n = arg->kind == BH_OPERAND_LIST ? (arg->args ? arg->args->len : 0) : 1; k < n; k++) {
                        guint32 slot = bh_build_slot(b, arg->kind == BH_OPERAND_LIST ? g_ptr_array_index(arg->args, k) : arg);

                        if (slot == BH_NONE)
                                return BH_NONE;
                        g_array_append_val(args, slot);
                        for (guint w = 0; w < BH_CALL_WORDS; w++)
                                s.calls[w] &= BH_AT(b->e->slots, struct bh_slot, slot).calls[w];
                }
        }
        if (!args->len) {
                bh_build_problem(b, TRUE, o->pos, "a transformer needs something to transform");
                return BH_NONE;
        }

        const struct bh_slot *first = &BH_AT(b->e->slots, struct bh_slot, g_array_index(args, guint32, 0));
        switch (o->transformer) {
        case BH_TR_GETOPT:
                s.many = o->arg ? BH_MANY_ONE : BH_MANY_LIST;
                s.values = 0;
                break;
        case BH_TR_LEN:
        case BH_TR_JOIN:
        case BH_TR_CONCAT:
                s.many = BH_MANY_ONE;
                break;
        default:
                s.many = first->many;
                s.values = first->values == BH_NONE ? BH_NONE : 0;
                break;
        }
        key = g_byte_array_new();
        bh_key_number(key, BH_SLOT_TRANSFORM);
        bh_key_number(key, o->transformer);
        bh_key_text(key, o->arg, o->arg ? strlen(o->arg) : 0);
        g_byte_array_append(key, (const guint8 *) args->data, args->len * (guint) sizeof(guint32));
        if (o->arg)
                s.text = bh_build_keep(b, o->arg, strlen(o->arg));
        s.args = b->e->slot_args->len;
        s.n_args = args->len;
        g_array_append_vals(b->e->slot_args, args->data, args->len);
        if (s.values != BH_NONE)
                s.values = b->e->multi++;
        return slot_add(b, key, &s);
}

guint32 bh_build_slot(struct bh_builder *b, const BhOperand *o) {
        struct bh_slot s = { .kind = BH_SLOT_TEXT, .type = BH_RT_STRING, .values = BH_NONE };
        GByteArray *key;

        switch (o->kind) {
        case BH_OPERAND_FIELD: return field_slot(b, o);
        case BH_OPERAND_TRANSFORM:
                if (o->transformer == BH_TR_VAL && o->args && o->args->len == 1)
                        return bh_build_slot(b, g_ptr_array_index(o->args, 0));
                return transform_slot(b, o);
        case BH_OPERAND_LITERAL: break;
        case BH_OPERAND_LIST:
                bh_build_problem(b, TRUE, o->pos, "a list cannot stand here");
                return BH_NONE;
        }
        key = g_byte_array_new();
        bh_key_number(key, BH_SLOT_TEXT);
        bh_key_text(key, o->text, o->len);
        s.text = bh_build_keep(b, o->text, o->len);
        memset(s.calls, 0xff, sizeof(s.calls));
        return slot_add(b, key, &s);
}
