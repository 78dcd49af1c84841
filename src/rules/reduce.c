/* SPDX-License-Identifier: Apache-2.0 */
/* Rules by call: reduced by what the call settles, woken by atoms that they need, and as code. */
#include <math.h>

#include "rules/program.h"

#define WAKERS_MAX 512u /* atoms that may wake one rule; with more it is run for every event of the call */
#define RUN_NS 120.0f   /* what running a rule costs, about */

struct reducer {
        BhRuleEngine *e;
        GHashTable *index;
        guint n_before;    /* nodes of the rules themselves */
        guint32 *reduced;  /* by node, of the call in work */
        /* by node, of all nodes: */
        gfloat *access;    /* price of the best access set, INFINITY: none */
        guint32 *choice;   /* AND: the kid that it is of */
};

static const struct bh_node *node_at(const BhRuleEngine *e, guint32 node) {
        return &BH_AT(e->nodes, struct bh_node, node);
}

static guint32 kid_at(const BhRuleEngine *e, const struct bh_node *n, guint i) {
        return n->kind == BH_NODE_NOT ? n->first : BH_AT(e->node_kids, guint32, n->first + i);
}

/* ---- reduction ---- */

static guint32 constant(struct reducer *x, gboolean truth) {
        return bh_node_add(x->e, x->index, truth ? BH_NODE_TRUE : BH_NODE_FALSE, NULL, 0);
}

static guint32 reduce_atom(struct reducer *x, guint32 node, guint call) {
        const struct bh_atom *a = &BH_AT(x->e->atoms, struct bh_atom, node_at(x->e, node)->first);
        gboolean can = BH_AT(x->e->slots, struct bh_slot, a->slot).calls[call / 64] >> (call % 64) & 1;

        if (!can)
                return constant(x, FALSE);
        if (a->how == BH_HOW_SLOT && !(BH_AT(x->e->slots, struct bh_slot, a->other).calls[call / 64] >> (call % 64) & 1))
                return constant(x, FALSE);
        if (a->how == BH_HOW_CALL || (a->partly && call != BH_CALL_OPEN))
                return constant(x, a->calls[call / 64] >> (call % 64) & 1);
        return node;
}

static int by_index(gconstpointer x, gconstpointer y) {
        guint32 a = *(const guint32 *) x, b = *(const guint32 *) y;

        return a < b ? -1 : a > b;
}

static guint32 reduce(struct reducer *x, guint32 node, guint call) {
        struct bh_node n = *node_at(x->e, node); /* nodes are added meanwhile */
        guint32 result;

        if (x->reduced[node] != BH_NONE)
                return x->reduced[node];
        switch ((enum bh_node_kind) n.kind) {
        case BH_NODE_FALSE:
        case BH_NODE_TRUE:
                result = node;
                break;
        case BH_NODE_ATOM:
                result = reduce_atom(x, node, call);
                break;
        case BH_NODE_NOT:
                result = reduce(x, n.first, call);
                switch (node_at(x->e, result)->kind) {
                case BH_NODE_FALSE: result = constant(x, TRUE); break;
                case BH_NODE_TRUE: result = constant(x, FALSE); break;
                case BH_NODE_NOT: result = node_at(x->e, result)->first; break;
                default: result = bh_node_add(x->e, x->index, BH_NODE_NOT, &result, 1); break;
                }
                break;
        default: {
                enum bh_node_kind decides = n.kind == BH_NODE_AND ? BH_NODE_FALSE : BH_NODE_TRUE, nothing = n.kind == BH_NODE_AND ? BH_NODE_TRUE : BH_NODE_FALSE;
                g_autoptr(GArray) kids = g_array_new(FALSE, FALSE, sizeof(guint32));
                guint kept = 0;

                result = BH_NONE;
                for (guint i = 0; i < n.n && result == BH_NONE; i++) {
                        guint32 kid = reduce(x, kid_at(x->e, &n, i), call);
                        struct bh_node k = *node_at(x->e, kid);

                        if (k.kind == decides)
                                result = kid;
                        else if (k.kind == n.kind) /* one in the other is one */
                                g_array_append_vals(kids, &BH_AT(x->e->node_kids, guint32, k.first), k.n);
                        else if (k.kind != nothing)
                                g_array_append_val(kids, kid);
                }
                if (result != BH_NONE)
                        break;
                g_array_sort(kids, by_index);
                for (guint i = 0; i < kids->len; i++) {
                        guint32 kid = g_array_index(kids, guint32, i);

                        if (!kept || g_array_index(kids, guint32, kept - 1) != kid)
                                g_array_index(kids, guint32, kept++) = kid;
                }
                if (!kept)
                        result = constant(x, nothing == BH_NODE_TRUE);
                else if (kept == 1)
                        result = g_array_index(kids, guint32, 0);
                else
                        result = bh_node_add(x->e, x->index, (enum bh_node_kind) n.kind, (const guint32 *) (const void *) kids->data, kept);
                break;
        }
        }
        x->reduced[node] = result;
        return result;
}

/* ---- guesses: how often a node is true and what it costs to know ---- */

static void guess(BhRuleEngine *e, guint32 node) {
        struct bh_node *n = &BH_AT(e->nodes, struct bh_node, node);
        gfloat p = 1, cost = 0;

        if (n->cost > 0)
                return;
        switch ((enum bh_node_kind) n->kind) {
        case BH_NODE_FALSE:
        case BH_NODE_TRUE:
                p = n->kind == BH_NODE_TRUE;
                cost = 1;
                break;
        case BH_NODE_ATOM:
                p = BH_AT(e->atoms, struct bh_atom, n->first).p;
                cost = BH_AT(e->atoms, struct bh_atom, n->first).cost;
                break;
        case BH_NODE_NOT:
                guess(e, n->first);
                p = 1 - node_at(e, n->first)->p;
                cost = node_at(e, n->first)->cost;
                break;
        default:
                for (guint i = 0; i < n->n; i++) {
                        guint32 kid = kid_at(e, n, i);

                        guess(e, kid);
                        cost += node_at(e, kid)->cost * (i < 2 ? 1 : 0.3f);
                        p *= n->kind == BH_NODE_AND ? node_at(e, kid)->p : 1 - node_at(e, kid)->p;
                }
                if (n->kind == BH_NODE_OR)
                        p = 1 - p;
                break;
        }
        n->p = CLAMP(p, 0.0005f, 0.9995f);
        n->cost = MAX(cost, 1);
}

/* ---- access sets ---- */

static gfloat atom_access(const BhRuleEngine *e, guint32 atom) {
        const struct bh_atom *a = &BH_AT(e->atoms, struct bh_atom, atom);

        /* a set is asked once for all its atoms; others one by one */
        return a->p * RUN_NS + (a->how == BH_HOW_SET ? 0.3f + a->cost / 40 : a->cost);
}

static gfloat access_of(struct reducer *x, guint32 node) {
        const struct bh_node *n = node_at(x->e, node);
        gfloat best = INFINITY;

        if (x->access[node] >= 0)
                return x->access[node];
        switch ((enum bh_node_kind) n->kind) {
        case BH_NODE_ATOM:
                best = atom_access(x->e, n->first);
                break;
        case BH_NODE_AND:
                for (guint i = 0; i < n->n; i++) {
                        gfloat kid = access_of(x, kid_at(x->e, n, i));

                        if (kid < best) {
                                best = kid;
                                x->choice[node] = kid_at(x->e, n, i);
                        }
                }
                break;
        case BH_NODE_OR:
                best = 0;
                for (guint i = 0; i < n->n; i++)
                        best += access_of(x, kid_at(x->e, n, i));
                break;
        default: break;
        }
        return x->access[node] = best;
}

static void wakers(struct reducer *x, guint32 node, GHashTable *atoms) {
        const struct bh_node *n = node_at(x->e, node);

        switch ((enum bh_node_kind) n->kind) {
        case BH_NODE_ATOM:
                g_hash_table_add(atoms, GUINT_TO_POINTER(n->first + 1));
                break;
        case BH_NODE_AND:
                wakers(x, x->choice[node], atoms);
                break;
        case BH_NODE_OR:
                for (guint i = 0; i < n->n; i++)
                        wakers(x, kid_at(x->e, n, i), atoms);
                break;
        default: break;
        }
}

/* ---- code ---- */

static guint32 emit(BhRuleEngine *e, enum bh_ins_op op, guint32 arg, guint32 on_true, guint32 on_false) {
        struct bh_ins ins = { op, arg, on_true, on_false };

        g_array_append_val(e->code, ins);
        return e->code->len - 1;
}

struct ordered {
        guint32 node;
        gfloat rank;
};

static int by_rank(gconstpointer x, gconstpointer y) {
        const struct ordered *a = x, *b = y;

        if (a->rank != b->rank)
                return a->rank < b->rank ? -1 : 1;
        return a->node < b->node ? -1 : a->node > b->node;
}

/* Kids in the order that is cheapest on average: those that decide most for their price first. */
static GArray *in_order(const BhRuleEngine *e, const struct bh_node *n) {
        GArray *order = g_array_sized_new(FALSE, FALSE, sizeof(struct ordered), n->n);

        for (guint i = 0; i < n->n; i++) {
                guint32 kid = kid_at(e, n, i);
                const struct bh_node *k = node_at(e, kid);
                struct ordered o = { kid, k->cost / (n->kind == BH_NODE_AND ? 1 - k->p : k->p) };

                g_array_append_val(order, o);
        }
        g_array_sort(order, by_rank);
        return order;
}

static guint32 generate(BhRuleEngine *e, guint32 node, guint32 on_true, guint32 on_false);

/* From the last kid to the first, so that each knows where to go on. */
static guint32 generate_kids(BhRuleEngine *e, guint32 node, guint32 on_true, guint32 on_false) {
        const struct bh_node n = *node_at(e, node);
        g_autoptr(GArray) order = in_order(e, &n);
        guint32 next = n.kind == BH_NODE_AND ? on_true : on_false;

        for (guint i = order->len; i-- > 0;) {
                guint32 kid = g_array_index(order, struct ordered, i).node;

                next = n.kind == BH_NODE_AND ? generate(e, kid, next, on_false) : generate(e, kid, on_true, next);
        }
        return next;
}

static guint32 generate(BhRuleEngine *e, guint32 node, guint32 on_true, guint32 on_false) {
        const struct bh_node *n = node_at(e, node);

        switch ((enum bh_node_kind) n->kind) {
        case BH_NODE_FALSE: return on_false;
        case BH_NODE_TRUE: return on_true;
        case BH_NODE_ATOM: return emit(e, BH_INS_ATOM, n->first, on_true, on_false);
        case BH_NODE_NOT: return generate(e, n->first, on_false, on_true);
        default: break;
        }
        if (n->shared)
                return emit(e, BH_INS_NODE, node, on_true, on_false);
        return generate_kids(e, node, on_true, on_false);
}

enum { RETURN_FALSE = 0, RETURN_TRUE = 1 };

static void count_uses(BhRuleEngine *e, guint32 node) {
        struct bh_node *n = &BH_AT(e->nodes, struct bh_node, node);

        if (n->uses++)
                return;
        for (guint i = 0; i < (n->kind == BH_NODE_NOT ? 1 : n->kind >= BH_NODE_AND ? n->n : 0); i++)
                count_uses(e, kid_at(e, n, i));
}

/* Nodes with code of their own: how deep their calls nest. */
static guint nesting(BhRuleEngine *e, guint32 node, guint32 *known) {
        const struct bh_node *n = node_at(e, node);
        guint deepest = 0;

        if (known[node] != BH_NONE)
                return known[node];
        for (guint i = 0; i < (n->kind == BH_NODE_NOT ? 1 : n->kind >= BH_NODE_AND ? n->n : 0); i++)
                deepest = MAX(deepest, nesting(e, kid_at(e, n, i), known));
        return known[node] = deepest + (n->shared != 0);
}

/* ---- all of it ---- */

struct waker {
        guint32 atom;
        struct bh_wake wake;
};

static int by_atom(gconstpointer x, gconstpointer y) {
        const struct waker *a = x, *b = y;

        if (a->atom != b->atom)
                return a->atom < b->atom ? -1 : 1;
        if (a->wake.call != b->wake.call)
                return a->wake.call < b->wake.call ? -1 : 1;
        return a->wake.root < b->wake.root ? -1 : a->wake.root > b->wake.root;
}

/* What wakes a root of the call: atoms, or it is always run. */
static void wake(struct reducer *x, guint call, guint32 root, guint32 node, GArray *all, GHashTable *slots, GHashTable *singles) {
        struct bh_call_program *p = &x->e->calls[call];
        g_autoptr(GHashTable) atoms = g_hash_table_new(NULL, NULL);
        GHashTableIter iter;
        gpointer key;

        if (access_of(x, node) < RUN_NS * 0.9f)
                wakers(x, node, atoms);
        if (!g_hash_table_size(atoms) || g_hash_table_size(atoms) > WAKERS_MAX) {
                BH_AT(x->e->always, guint64, p->always + root / 64) |= 1ull << (root % 64);
                return;
        }
        g_hash_table_iter_init(&iter, atoms);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                struct waker w = { GPOINTER_TO_UINT(key) - 1, { call, root } };
                const struct bh_atom *a = &BH_AT(x->e->atoms, struct bh_atom, w.atom);

                g_array_append_val(all, w);
                g_hash_table_add(a->how == BH_HOW_SET ? slots : singles, GUINT_TO_POINTER((a->how == BH_HOW_SET ? a->slot : w.atom) + 1));
        }
}

static guint append_keys(GArray *to, GHashTable *keys) {
        guint first = to->len;
        GHashTableIter iter;
        gpointer key;

        g_hash_table_iter_init(&iter, keys);
        while (g_hash_table_iter_next(&iter, &key, NULL)) {
                guint32 n = GPOINTER_TO_UINT(key) - 1;

                g_array_append_val(to, n);
        }
        if (to->len > first)
                qsort(to->data + first * sizeof(guint32), to->len - first, sizeof(guint32), by_index);
        return to->len - first;
}

void bh_engine_reduce(BhRuleEngine *e, GHashTable *index, const guint32 *rule_nodes, const guint64 (*rule_calls)[BH_CALL_WORDS]) {
        struct reducer x = { .e = e, .index = index, .n_before = e->nodes->len };
        g_autoptr(GArray) root_nodes = g_array_new(FALSE, FALSE, sizeof(guint32)), all = g_array_new(FALSE, FALSE, sizeof(struct waker));
        g_autofree guint32 *known = NULL;

        x.reduced = g_new(guint32, x.n_before);
        for (guint call = 0; call < BH_CALL_COUNT; call++) {
                struct bh_call_program *p = &e->calls[call];
                guint kind = bh_rule_calls[call].kind;

                memset(x.reduced, 0xff, x.n_before * sizeof(guint32));
                p->roots = e->roots->len;
                for (guint i = 0; i < e->n_rules; i++) {
                        struct bh_root root = { i, BH_NONE };
                        guint32 node;

                        if (rule_nodes[i] == BH_NONE || !(rule_calls[i][call / 64] >> (call % 64) & 1))
                                continue;
                        node = reduce(&x, rule_nodes[i], call);
                        if (node_at(e, node)->kind == BH_NODE_FALSE)
                                continue;
                        g_array_append_val(e->roots, root);
                        g_array_append_val(root_nodes, node);
                }
                p->n_roots = e->roots->len - p->roots;
                if (p->n_roots && kind < 128)
                        e->needs[kind / 64] |= 1ull << (kind % 64);
        }
        g_free(x.reduced);

        /* nodes stay as they are from here on */
        for (guint i = 0; i < root_nodes->len; i++) {
                guess(e, g_array_index(root_nodes, guint32, i));
                count_uses(e, g_array_index(root_nodes, guint32, i));
        }
        for (guint i = 0; i < e->nodes->len; i++) {
                struct bh_node *n = &BH_AT(e->nodes, struct bh_node, i);

                n->shared = n->uses > 1 && (n->kind == BH_NODE_AND || n->kind == BH_NODE_OR);
        }
        emit(e, BH_INS_FALSE, 0, 0, 0);
        emit(e, BH_INS_TRUE, 0, 0, 0);
        for (guint i = 0; i < e->nodes->len; i++) {
                if (BH_AT(e->nodes, struct bh_node, i).shared)
                        BH_AT(e->nodes, struct bh_node, i).entry = generate_kids(e, i, RETURN_TRUE, RETURN_FALSE);
        }
        for (guint i = 0; i < root_nodes->len; i++)
                BH_AT(e->roots, struct bh_root, i).entry = generate(e, g_array_index(root_nodes, guint32, i), RETURN_TRUE, RETURN_FALSE);
        known = g_new(guint32, e->nodes->len + 1);
        memset(known, 0xff, (e->nodes->len + 1) * sizeof(guint32));
        for (guint i = 0; i < root_nodes->len; i++)
                e->stack = MAX(e->stack, nesting(e, g_array_index(root_nodes, guint32, i), known));

        x.access = g_new(gfloat, e->nodes->len + 1);
        x.choice = g_new0(guint32, e->nodes->len + 1);
        for (guint i = 0; i < e->nodes->len; i++)
                x.access[i] = -1;
        for (guint call = 0; call < BH_CALL_COUNT; call++) {
                struct bh_call_program *p = &e->calls[call];
                g_autoptr(GHashTable) slots = g_hash_table_new(NULL, NULL), singles = g_hash_table_new(NULL, NULL);

                p->always = e->always->len;
                g_array_set_size(e->always, p->always + (p->n_roots + 63) / 64 + 1);
                for (guint i = 0; i < p->n_roots; i++)
                        wake(&x, call, i, g_array_index(root_nodes, guint32, p->roots + i), all, slots, singles);
                p->slots = e->call_slots->len;
                p->n_slots = append_keys(e->call_slots, slots);
                p->atoms = e->call_atoms->len;
                p->n_atoms = append_keys(e->call_atoms, singles);
        }
        g_free(x.access);
        g_free(x.choice);

        g_array_sort(all, by_atom);
        for (guint i = 0; i < all->len; i++) {
                const struct waker *w = &g_array_index(all, struct waker, i);
                struct bh_atom *a = &BH_AT(e->atoms, struct bh_atom, w->atom);

                if (!a->n_wakes)
                        a->wakes = e->wakes->len;
                a->n_wakes++;
                g_array_append_val(e->wakes, w->wake);
        }
}
