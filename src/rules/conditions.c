/* SPDX-License-Identifier: Apache-2.0 */
/* What conditions say, as nodes. */
#include "rules/build.h"

/* ---- checks ---- */

/* Says so if no event has a type that the rule asks for: a misspelling, or a call that is not watched. */
static void check_types(struct bh_builder *b, const struct bh_slot *s, enum bh_op op, const GPtrArray *constants) {
        if (s->kind != BH_SLOT_FIELD || (s->row->id != BH_FLD_EVT_TYPE && s->row->id != BH_FLD_SYSCALL_TYPE) || (op != BH_OP_EQ && op != BH_OP_IN && op != BH_OP_NE && op != BH_OP_INTERSECTS))
                return;
        for (guint i = 0; i < constants->len; i++) {
                const BhOperand *o = g_ptr_array_index(constants, i);

                if (!bh_rule_call_known(o->text, o->len))
                        bh_build_problem(b, FALSE, o->pos, "no event has the type \"%s\" here: what depends on it is never true", o->text);
        }
}


static gboolean op_fits(enum bh_rule_type type, gboolean list, enum bh_op op) {
        if (op == BH_OP_EXISTS)
                return TRUE;
        if (list)
                return op == BH_OP_IN || op == BH_OP_INTERSECTS;
        switch (type) {
        case BH_RT_STRING:
        case BH_RT_FLAGS: return op != BH_OP_BCONTAINS && op != BH_OP_BSTARTSWITH;
        case BH_RT_BYTES:
                return op == BH_OP_EQ || op == BH_OP_NE || op == BH_OP_CONTAINS || op == BH_OP_IN || op == BH_OP_STARTSWITH || op == BH_OP_ENDSWITH || op == BH_OP_INTERSECTS || op == BH_OP_BCONTAINS ||
                       op == BH_OP_BSTARTSWITH;
        case BH_RT_BOOL:
        case BH_RT_IP:
        case BH_RT_NET: return op == BH_OP_EQ || op == BH_OP_NE || op == BH_OP_IN || op == BH_OP_INTERSECTS;
        case BH_RT_NUMBER:
        case BH_RT_TIME:
        case BH_RT_DURATION:
        case BH_RT_PORT: return op == BH_OP_EQ || op == BH_OP_NE || op == BH_OP_IN || op == BH_OP_INTERSECTS || (op >= BH_OP_LT && op <= BH_OP_GE);
        case BH_RT_ANY: return TRUE;
        }
        return FALSE;
}

/* A pattern in which nothing is special is a text. */
static gboolean plain_glob(const BhOperand *o) {
        return strcspn(o->text, "*?[\\") == o->len;
}

/* "x*", "*x" and "*x*" are a beginning, an end and a part. Changes op and what is looked for. */
static gboolean simple_glob(struct bh_builder *b, const BhOperand *o, enum bh_op *op, struct bh_str *text) {
        gboolean front = o->len > 1 && o->text[0] == '*', back = o->len > 1 && o->text[o->len - 1] == '*';
        const char *p = o->text + front;
        gsize n = o->len - (gsize) front - (gsize) back;

        if ((!front && !back) || !n || strcspn(p, "*?[\\") < n)
                return FALSE;
        *op = front && back ? BH_OP_CONTAINS : front ? BH_OP_ENDSWITH : BH_OP_STARTSWITH;
        *text = bh_build_keep(b, p, n);
        return TRUE;
}

/* What a text must begin and end with to match the pattern: literals, which sets tell, stand in front of the pattern itself. */
static guint32 glob_with_ends(struct bh_builder *b, guint32 slot, const BhOperand *o, guint32 glob) {
        gsize head = strcspn(o->text, "*?[\\"), tail = 0;
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint32)), texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));

        g_array_append_val(nodes, glob);
        while (tail < o->len && !strchr("*?[]\\", o->text[o->len - 1 - tail]))
                tail++;
        if (head) {
                struct bh_str t = bh_build_keep(b, o->text, head);

                g_array_append_val(texts, t);
                glob = bh_atom_text(b, BH_HOW_SET, BH_OP_STARTSWITH, slot, texts);
                g_array_append_val(nodes, glob);
                g_array_set_size(texts, 0);
        }
        if (tail && !strpbrk(o->text, "[\\")) {
                struct bh_str t = bh_build_keep(b, o->text + o->len - tail, tail);

                g_array_append_val(texts, t);
                glob = bh_atom_text(b, BH_HOW_SET, BH_OP_ENDSWITH, slot, texts);
                g_array_append_val(nodes, glob);
        }
        return bh_build_join(b, BH_NODE_AND, nodes);
}

static guint32 compare_texts(struct bh_builder *b, guint32 slot, enum bh_op op, const GPtrArray *constants) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        g_autoptr(GArray) texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));
        gboolean settled = bh_slot_settled(s), list = s->many == BH_MANY_LIST;

        for (guint i = 0; i < constants->len; i++) {
                const BhOperand *o = g_ptr_array_index(constants, i);
                struct bh_str t = bh_build_keep(b, o->text, o->len);

                g_array_append_val(texts, t);
        }
        if (op == BH_OP_REGEX)
                return constants->len == 1 ? bh_atom_regex(b, slot, g_ptr_array_index(constants, 0)) : bh_build_constant(b, FALSE);
        if (op == BH_OP_PMATCH)
                return bh_atom_prefix(b, slot, texts);
        if (op == BH_OP_GLOB && constants->len == 1 && plain_glob(g_ptr_array_index(constants, 0)))
                op = BH_OP_EQ;
        if (op == BH_OP_GLOB && constants->len == 1)
                simple_glob(b, g_ptr_array_index(constants, 0), &op, &g_array_index(texts, struct bh_str, 0));
        if (list && op == BH_OP_IN)
                return bh_atom_text(b, BH_HOW_SUBSET, BH_OP_EQ, slot, texts);
        if (op == BH_OP_IN || op == BH_OP_INTERSECTS)
                op = BH_OP_EQ;
        if (op == BH_OP_BCONTAINS)
                op = BH_OP_CONTAINS;
        if (op == BH_OP_BSTARTSWITH)
                op = BH_OP_STARTSWITH;
        if (settled)
                return bh_atom_text(b, BH_HOW_TEXT, op, slot, texts);
        switch (op) {
        case BH_OP_EQ:
        case BH_OP_STARTSWITH:
        case BH_OP_ENDSWITH:
        case BH_OP_CONTAINS:
        case BH_OP_ICONTAINS: return bh_atom_text(b, BH_HOW_SET, op, slot, texts);
        case BH_OP_NE:
                if (s->many == BH_MANY_ONE) {
                        guint32 equal = bh_atom_text(b, BH_HOW_SET, BH_OP_EQ, slot, texts);

                        return bh_build_both(b, BH_NODE_AND, bh_atom_exists(b, slot), bh_build_not(b, equal));
                }
                break;
        case BH_OP_GLOB:
                if (s->many == BH_MANY_ONE && constants->len == 1)
                        return glob_with_ends(b, slot, g_ptr_array_index(constants, 0), bh_atom_text(b, BH_HOW_TEXT, op, slot, texts));
                break;
        default: break;
        }
        return bh_atom_text(b, BH_HOW_TEXT, op, slot, texts);
}

/* The slot against constants, as one comparison. */
static guint32 compare_constants(struct bh_builder *b, guint32 slot, enum bh_op op, const GPtrArray *constants) {
        const struct bh_slot *s = &BH_AT(b->e->slots, struct bh_slot, slot);
        g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(gint64)), nets = g_array_new(FALSE, FALSE, sizeof(struct bh_net)), texts = NULL;
        gboolean ok = TRUE;

        if (!constants->len)
                return bh_build_constant(b, FALSE);
        switch ((enum bh_rule_type) s->type) {
        case BH_RT_STRING:
        case BH_RT_FLAGS:
        case BH_RT_BYTES:
                check_types(b, s, op, constants);
                return compare_texts(b, slot, op, constants);
        case BH_RT_IP:
        case BH_RT_NET:
                for (guint i = 0; i < constants->len; i++) {
                        struct bh_net net;

                        if ((ok &= bh_build_net(b, g_ptr_array_index(constants, i), &net)))
                                g_array_append_val(nets, net);
                }
                return ok ? bh_atom_net(b, op == BH_OP_INTERSECTS ? BH_OP_IN : op, slot, nets) : BH_NONE;
        case BH_RT_ANY:
                if (op == BH_OP_REGEX || op == BH_OP_PMATCH)
                        return compare_texts(b, slot, op, constants);
                texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));
                for (guint i = 0; i < constants->len; i++) {
                        const BhOperand *o = g_ptr_array_index(constants, i);
                        struct bh_str t = bh_build_keep(b, o->text, o->len);

                        g_array_append_val(texts, t);
                }
                return bh_atom_text(b, BH_HOW_ANY, op, slot, texts);
        default:
                for (guint i = 0; i < constants->len; i++) {
                        gint64 n;

                        if ((ok &= bh_build_number(b, s, g_ptr_array_index(constants, i), &n)))
                                g_array_append_val(numbers, n);
                }
                return ok ? bh_atom_number(b, op == BH_OP_INTERSECTS || (op == BH_OP_EQ) ? BH_OP_IN : op, slot, numbers) : BH_NONE;
        }
}

static guint32 compare_slot(struct bh_builder *b, guint32 slot, enum bh_op op, const BhOperand *right) {
        struct bh_atom a = { .how = BH_HOW_SLOT, .op = (guint8) op, .slot = slot, .p = 0.1f };

        if (op == BH_OP_REGEX || op == BH_OP_PMATCH) {
                bh_build_problem(b, TRUE, right->pos, "%s needs patterns that are written down, not the value of a field", bh_op_text(op));
                return BH_NONE;
        }
        a.other = bh_build_slot(b, right);
        if (a.other == BH_NONE)
                return BH_NONE;
        a.negated_many = op == BH_OP_NE && BH_AT(b->e->slots, struct bh_slot, slot).many == BH_MANY_EITHER;
        return bh_build_node_of(b, bh_atom_add(b, bh_atom_key(&a), &a));
}

static guint32 compare_one(struct bh_builder *b, guint32 slot, enum bh_op op, const BhOperand *value) {
        g_autoptr(GPtrArray) single = NULL;

        if (value->kind != BH_OPERAND_LITERAL)
                return compare_slot(b, slot, op, value);
        single = g_ptr_array_new();
        g_ptr_array_add(single, (gpointer) value);
        return compare_constants(b, slot, op, single);
}

/* The nodes are comparisons by c->op; for != by =, of which all but one must be true. */
static guint32 exactly_one(struct bh_builder *b, const BhCond *c, guint32 slot, const GArray *nodes) {
        struct bh_atom a = { .how = BH_HOW_ONE, .op = (guint8) c->op, .negated_many = c->op == BH_OP_NE, .slot = slot, .other = BH_NONE, .first = b->e->atom_lists->len, .n = nodes->len,
                             .p = 0.1f };
        GByteArray *key = bh_atom_key(&a);

        for (guint i = 0; i < nodes->len; i++) {
                const struct bh_node *node = &BH_AT(b->e->nodes, struct bh_node, g_array_index(nodes, guint32, i));

                if (node->kind != BH_NODE_ATOM) {
                        g_byte_array_unref(key);
                        bh_build_problem(b, TRUE, c->pos, "%s oneof does not go with these values", bh_op_text(c->op));
                        return BH_NONE;
                }
                bh_key_number(key, node->first);
                g_array_append_val(b->e->atom_lists, node->first);
        }
        return bh_build_node_of(b, bh_atom_add(b, key, &a));
}

/* Over each value by itself: anyof, allof, oneof (exactly one). */
static guint32 over_values(struct bh_builder *b, const BhCond *c, guint32 slot) {
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint32));

        for (guint i = 0; c->values && i < c->values->len; i++) {
                enum bh_op op = c->modifier == BH_MOD_ONEOF && c->op == BH_OP_NE ? BH_OP_EQ : c->op;
                guint32 node = compare_one(b, slot, op, g_ptr_array_index(c->values, i));

                if (node == BH_NONE)
                        return BH_NONE;
                g_array_append_val(nodes, node);
        }
        if (!nodes->len)
                return bh_build_constant(b, FALSE);
        if (c->modifier == BH_MOD_ONEOF && c->op == BH_OP_NE) { /* what is missing differs from nothing */
                guint32 both[2] = { exactly_one(b, c, slot, nodes), bh_atom_exists(b, slot) };

                g_array_set_size(nodes, 0);
                g_array_append_vals(nodes, both, 2);
                return both[0] == BH_NONE ? BH_NONE : bh_build_join(b, BH_NODE_AND, nodes);
        }
        if (c->modifier == BH_MOD_ONEOF)
                return exactly_one(b, c, slot, nodes);
        return bh_build_join(b, c->modifier == BH_MOD_ALLOF ? BH_NODE_AND : BH_NODE_OR, nodes);
}

/* Of these any value is enough, so that all of them are one comparison. */
static gboolean any_is_one(const struct bh_slot *s, const BhCond *c) {
        if (c->modifier != BH_MOD_ANYOF || (s->type != BH_RT_STRING && s->type != BH_RT_FLAGS && s->type != BH_RT_BYTES) || c->op == BH_OP_REGEX || c->op == BH_OP_NE)
                return FALSE;
        for (guint i = 0; c->values && i < c->values->len; i++) {
                if (((const BhOperand *) g_ptr_array_index(c->values, i))->kind != BH_OPERAND_LITERAL)
                        return FALSE;
        }
        return TRUE;
}

static guint32 build_check(struct bh_builder *b, const BhCond *c) {
        guint32 slot = bh_build_slot(b, c->left);
        g_autoptr(GPtrArray) constants = g_ptr_array_new();
        g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint32));
        const struct bh_slot *s;

        if (slot == BH_NONE)
                return BH_NONE;
        s = &BH_AT(b->e->slots, struct bh_slot, slot);
        if (!op_fits((enum bh_rule_type) s->type, s->many == BH_MANY_LIST, c->op)) {
                bh_build_problem(b, TRUE, c->pos, "%s does not go with %s, which is %s %s", bh_op_text(c->op), bh_slot_name(s), s->many == BH_MANY_LIST ? "a list of" : "a", bh_rule_type_name(s->type));
                return BH_NONE;
        }
        if (s->kind == BH_SLOT_FIELD && s->row->why_not && g_hash_table_add(b->told, (gpointer) s->row))
                bh_build_problem(b, FALSE, c->left->pos, "%s is never there: %s", s->row->name, s->row->why_not);
        if (c->op == BH_OP_EXISTS)
                return bh_atom_exists(b, slot);
        if (c->modifier != BH_MOD_NONE && !any_is_one(s, c))
                return over_values(b, c, slot);
        for (guint i = 0; c->values && i < c->values->len; i++) {
                const BhOperand *o = g_ptr_array_index(c->values, i);
                guint32 node;

                if (o->kind == BH_OPERAND_LITERAL) {
                        g_ptr_array_add(constants, (gpointer) o);
                        continue;
                }
                node = compare_slot(b, slot, c->op, o);
                if (node == BH_NONE)
                        return BH_NONE;
                g_array_append_val(nodes, node);
        }
        if (constants->len || !nodes->len) {
                guint32 node = compare_constants(b, slot, c->op, constants);

                if (node == BH_NONE)
                        return BH_NONE;
                g_array_append_val(nodes, node);
        }
        return bh_build_join(b, BH_NODE_OR, nodes);
}

/* BH_NONE: the rule has an error, which was told; the rest is still looked at. */
guint32 bh_build_condition(struct bh_builder *b, const BhCond *c) {
        g_autoptr(GArray) kids = NULL;
        gboolean ok = TRUE;

        if (c->kind == BH_COND_CHECK)
                return build_check(b, c);
        kids = g_array_new(FALSE, FALSE, sizeof(guint32));
        for (guint i = 0; i < c->kids->len; i++) {
                guint32 kid = bh_build_condition(b, g_ptr_array_index(c->kids, i));

                ok &= kid != BH_NONE;
                g_array_append_val(kids, kid);
        }
        if (!ok)
                return BH_NONE;
        if (c->kind == BH_COND_NOT)
                return bh_build_not(b, g_array_index(kids, guint32, 0));
        return bh_build_join(b, c->kind == BH_COND_AND ? BH_NODE_AND : BH_NODE_OR, kids);
}
