/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Macros put into conditions. A macro's tree is made and checked once; each use is one node that shares the tree's insides, so that macros in macros cost
 * what their text costs, however often they are used. What a condition comes to with all put in is counted and bounded all the same: the engine reads it.
 */
#include <string.h>

#include "rules/load.h"

static void resolve(BhLoader *l, BhMacroDef *m, guint depth);

typedef struct {
        BhLoader *l;
        guint32 visibility; /* macros defined from here on are not seen; MAXUINT32: all are */
        BhMacroDef *self;   /* NULL: a rule */
        const char *object;
        GPtrArray *faults;
        guint32 nodes, depth;
        gboolean broken;
        guint nesting;
} Use;

static void unknown_macro(Use *u, const BhCond *c, const BhMacroDef *later) {
        const char *name = c->left->text;
        g_autofree char *q = bh_load_quote(name, c->left->len);
        g_autofree char *like = later ? NULL : bh_load_like(u->l, u->l->macros_by, name, c->left->len);

        u->broken = TRUE;
        if (later)
                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", c->pos, u->object, "the macro %s is defined at line %u only, after the macro that uses it: move it before", q, later->pos.line);
        else if (g_hash_table_contains(u->l->lists_by, name))
                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", c->pos, u->object, "%s is a list, and a condition is expected here: write a check, as in \"proc.name in (%s)\"", q, name);
        else
                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", c->pos, u->object, "there is no macro %s%s", q, like);
}

/* The node that stands for the macro; takes c. */
static BhCond *use_macro(Use *u, BhCond *c, guint32 at_depth) {
        g_autoptr(BhCond) owned = c;
        BhMacroDef *m = g_hash_table_lookup(u->l->macros_by, c->left->text);

        if (!m || m->index >= u->visibility) {
                unknown_macro(u, c, m);
                return g_steal_pointer(&owned);
        }
        m->used = TRUE;
        if (m->state == 1) {
                g_autofree char *q = bh_load_quote(m->name, strlen(m->name));

                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", c->pos, u->object, "the macro %s uses itself, by this or by others: take one of the uses away", q);
                u->broken = TRUE;
                return g_steal_pointer(&owned);
        }
        resolve(u->l, m, u->nesting + 1);
        if (m->broken || !m->tree) {
                u->broken = TRUE;
                return g_steal_pointer(&owned);
        }
        u->nodes += MIN(m->nodes, G_MAXUINT32 - u->nodes);
        u->depth = MAX(u->depth, at_depth + m->depth);
        for (guint i = 0; i < m->faults->len; i++) {
                const BhFault *f = g_ptr_array_index(m->faults, i);
                guint before = u->faults->len;

                bh_fault(u->faults, f->error, f->unknown, f->code, f->pos, "%s", f->what);
                if (u->faults->len > before) {
                        BhFault *own = g_ptr_array_index(u->faults, before);

                        own->macro = f->macro ? f->macro : m->name;
                        own->put_in = c->pos;
                        own->field = g_strdup(f->field);
                        own->evt_type = f->evt_type;
                }
        }
        return bh_cond_share(m->tree);
}

static BhCond *put_in(Use *u, BhCond *c, guint32 depth) {
        u->nodes++;
        u->depth = MAX(u->depth, depth);
        if (c->kind == BH_COND_MACRO)
                return use_macro(u, c, depth);
        for (guint i = 0; c->kids && i < c->kids->len; i++)
                c->kids->pdata[i] = put_in(u, c->kids->pdata[i], depth + 1);
        return c;
}

/* The bounds hold for what a condition comes to. FALSE: told. */
static gboolean bounded(Use *u, struct bh_pos pos) {
        u->l->nodes += u->nodes;
        if (u->nodes > BH_RULES_NODES_MAX) {
                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", pos, u->object, "with its macros put in the condition has %u parts, and 200,000 are the limit: use fewer macros in macros", u->nodes);
                return FALSE;
        }
        if (u->depth >= BH_RULES_DEPTH_MAX) {
                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", pos, u->object, "with its macros put in the condition is nested deeper than 1,000: use fewer macros in macros");
                return FALSE;
        }
        if (u->l->nodes <= BH_RULES_ALL_NODES_MAX)
                return TRUE;
        if (!u->l->nodes_told)
                bh_load_problem(u->l, BH_ERROR, "LOAD_ERR_VALIDATE", pos, u->object, "with macros put in all conditions have more than 4,000,000 parts: the rules from here on are not read");
        u->l->nodes_told = TRUE;
        return FALSE;
}

/* Own faults: the tree's checks before macros are put in. */
static void check_own(BhLoader *l, BhCond *c, GPtrArray *faults) {
        bh_check_tree(l, c, faults);
}

static void resolve(BhLoader *l, BhMacroDef *m, guint depth) {
        g_autofree char *q = NULL, *object = NULL;
        g_auto(BhParser) p = { 0 };
        g_autoptr(BhCond) c = NULL;

        if (m->state)
                return;
        m->state = 1;
        q = bh_load_quote(m->name, strlen(m->name));
        object = g_strdup_printf("macro %s", q);
        if (depth > BH_RULES_LIST_DEPTH_MAX) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", m->pos, object, "macros in macros in macros, deeper than 200: write some of them out");
                m->broken = TRUE;
        } else {
                bh_parser_init(&p, l, m->condition, BH_RULES_DEPTH_MAX);
                if (!(c = bh_parse_condition(&p))) {
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_COMPILE_CONDITION", bh_parser_pos(&p, p.bad), object, "%s", p.what);
                        m->broken = TRUE;
                }
        }
        if (c) {
                Use u = { .l = l, .visibility = m->visibility, .self = m, .object = object, .faults = m->faults, .nesting = depth };

                check_own(l, c, m->faults);
                BhCond *tree = put_in(&u, g_steal_pointer(&c), 1);
                m->nodes = u.nodes;
                m->depth = u.depth;
                if (u.broken || !bounded(&u, m->pos)) {
                        m->broken = TRUE;
                        bh_cond_free(tree);
                } else {
                        m->tree = tree;
                }
        }
        m->state = 2;
}

void bh_macros_resolve(BhLoader *l) {
        for (guint i = 0; i < l->macros->len; i++)
                resolve(l, g_ptr_array_index(l->macros, i), 0);
}

BhCond *bh_macros_put_in(BhLoader *l, BhCond *c, const char *object, GPtrArray *faults) {
        Use u = { .l = l, .visibility = G_MAXUINT32, .object = object, .faults = faults };
        struct bh_pos pos = c->pos;

        check_own(l, c, faults);
        c = put_in(&u, c, 1);
        if (!u.broken && bounded(&u, pos))
                return c;
        bh_cond_free(c);
        return NULL;
}
