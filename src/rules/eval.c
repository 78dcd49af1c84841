/* SPDX-License-Identifier: Apache-2.0 */
/* Running a compiled engine on events. */
#include "rules/program.h"

/* ---- life cycle ---- */

BhRuleRun *bh_rule_run_new(void) {
        BhRuleRun *r = g_new0(BhRuleRun, 1);

        bh_scene_init(&r->scene);
        r->matcher = bh_matcher_new();
        r->matches = g_array_new(FALSE, FALSE, sizeof(guint32));
        r->scratch = g_string_sized_new(256);
        return r;
}

static void drop_arrays(BhRuleRun *r) {
        g_free(r->slot_gen);
        g_free(r->slot_set);
        g_free(r->slot_n);
        g_free(r->slot_value);
        g_free(r->values);
        g_free(r->atom_memo);
        g_free(r->node_memo);
        g_free(r->limited);
        g_free(r->stack);
        g_free(r->woken);
}

void bh_rule_run_free(BhRuleRun *r) {
        if (!r)
                return;
        drop_arrays(r);
        bh_scene_clear(&r->scene);
        bh_matcher_free(r->matcher);
        g_array_unref(r->matches);
        g_string_free(r->scratch, TRUE);
        g_free(r);
}

void bh_run_fit(BhRuleRun *r, const BhRuleEngine *e) {
        if (r->serial == e->serial)
                return;
        drop_arrays(r);
        r->n_slots = e->slots->len;
        r->n_atoms = e->atoms->len;
        r->n_nodes = e->nodes->len;
        r->slot_gen = g_new0(guint32, r->n_slots + 1);
        r->slot_set = g_new0(guint32, r->n_slots + 1);
        r->slot_n = g_new0(guint8, r->n_slots + 1);
        r->slot_value = g_new0(struct bh_value, r->n_slots + 1);
        r->values = g_new(struct bh_value, (gsize) e->multi * BH_VALUES_MAX + 1);
        r->atom_memo = g_new0(guint32, r->n_atoms + 1);
        r->node_memo = g_new0(guint32, r->n_nodes + 1);
        r->limited = g_new0(guint8, r->n_atoms + 1);
        r->stack = g_new(guint32, e->stack + 1);
        r->woken = g_new0(guint64, e->n_rules / 64 + 1);
        r->serial = e->serial;
        r->gen = 0;
}

/* Truths of the last event are void. A generation has 31 bits beside the truth. */
static void next_generation(BhRuleRun *r) {
        if (++r->gen < G_MAXUINT32 / 2)
                return;
        r->gen = 1;
        memset(r->slot_gen, 0, r->n_slots * sizeof(guint32));
        memset(r->slot_set, 0, r->n_slots * sizeof(guint32));
        memset(r->atom_memo, 0, r->n_atoms * sizeof(guint32));
        memset(r->node_memo, 0, r->n_nodes * sizeof(guint32));
}

/* ---- slots ---- */

guint bh_run_slot(BhRuleRun *r, const BhRuleEngine *e, guint32 slot, const struct bh_value **values) {
        const struct bh_slot *s = &BH_AT(e->slots, struct bh_slot, slot);
        struct bh_value *out = s->values == BH_NONE ? &r->slot_value[slot] : &r->values[(gsize) s->values * BH_VALUES_MAX];

        *values = out;
        if (r->slot_gen[slot] == r->gen)
                return r->slot_n[slot];

        guint n = 0;
        switch ((enum bh_slot_kind) s->kind) {
        case BH_SLOT_FIELD:
                n = s->values == BH_NONE ? (guint) bh_scene_value(&r->scene, &s->field, out) : bh_scene_values(&r->scene, &s->field, out);
                break;
        case BH_SLOT_TRANSFORM:
                n = bh_run_transform(r, e, s, out);
                break;
        case BH_SLOT_TEXT:
                n = bh_value_str(out, s->text);
                break;
        }
        r->slot_n[slot] = (guint8) n;
        r->slot_gen[slot] = r->gen;
        return n;
}

static void tell(guint32 atom, gpointer data) {
        BhRuleRun *r = data;
        const struct bh_atom *a = &BH_AT(r->telling->atoms, struct bh_atom, atom);

        r->atom_memo[atom] = r->gen << 1 | 1;
        if (a->n_wakes) {
                const struct bh_wake *w = &BH_AT(r->telling->wakes, struct bh_wake, a->wakes), *end = w + a->n_wakes;

                for (; w < end; w++) {
                        if (w->call == r->telling_call)
                                r->woken[w->root / 64] |= 1ull << (w->root % 64);
                }
        }
}

/* Asks the slot's set, which settles all its atoms. */
static void ask_set(BhRuleRun *r, const BhRuleEngine *e, guint32 slot) {
        const struct bh_slot *s = &BH_AT(e->slots, struct bh_slot, slot);
        const struct bh_value *values;
        guint n = bh_run_slot(r, e, slot, &values);

        r->slot_set[slot] = r->gen;
        r->telling = e;
        for (guint i = 0; i < n; i++) {
                if (values[i].kind == BH_VALUE_STR)
                        bh_strset_match(s->set, values[i].s.p, values[i].s.len, tell, r);
        }
}

/* ---- comparing ---- */

static gboolean number_compare(enum bh_op op, gint64 a, gint64 b) {
        switch (op) {
        case BH_OP_EQ: return a == b;
        case BH_OP_NE: return a != b;
        case BH_OP_LT: return a < b;
        case BH_OP_LE: return a <= b;
        case BH_OP_GT: return a > b;
        case BH_OP_GE: return a >= b;
        default: return FALSE;
        }
}

/* Some number >= 0: only what is true of each of them. */
static gboolean some_compare(enum bh_op op, gint64 b) {
        return op == BH_OP_GE ? b <= 0 : op == BH_OP_GT || op == BH_OP_NE ? b < 0 : FALSE;
}

gboolean bh_text_compare(enum bh_op op, struct bh_str a, struct bh_str b, gboolean *limit) {
        int c;

        if (!a.p)
                a.p = "";
        switch (op) {
        case BH_OP_EQ:
        case BH_OP_IN:
        case BH_OP_INTERSECTS: return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
        case BH_OP_NE: return a.len != b.len || memcmp(a.p, b.p, a.len) != 0;
        case BH_OP_LT:
        case BH_OP_LE:
        case BH_OP_GT:
        case BH_OP_GE:
                c = memcmp(a.p, b.p, MIN(a.len, b.len));
                return number_compare(op, c ? c : (gint64) a.len - (gint64) b.len, 0);
        case BH_OP_STARTSWITH:
        case BH_OP_BSTARTSWITH: return a.len >= b.len && memcmp(a.p, b.p, b.len) == 0;
        case BH_OP_ENDSWITH: return a.len >= b.len && memcmp(a.p + a.len - b.len, b.p, b.len) == 0;
        case BH_OP_CONTAINS:
        case BH_OP_BCONTAINS: return !b.len || memmem(a.p, a.len, b.p, b.len) != NULL;
        case BH_OP_ICONTAINS:
                for (guint32 i = 0; i + b.len <= a.len; i++) {
                        if (g_ascii_strncasecmp(a.p + i, b.p, b.len) == 0)
                                return TRUE;
                }
                return FALSE;
        case BH_OP_GLOB: return bh_glob_steps(b.p, b.len, a.p, a.len, FALSE, limit);
        case BH_OP_IGLOB: return bh_glob_steps(b.p, b.len, a.p, a.len, TRUE, limit);
        default: return FALSE;
        }
}

static gboolean net_has(const struct bh_net *net, const struct bh_ip *ip) {
        guint whole = net->bits / 8, rest = net->bits % 8;

        if (net->ip.len != ip->len || memcmp(net->ip.b, ip->b, whole) != 0)
                return FALSE;
        return !rest || (net->ip.b[whole] ^ ip->b[whole]) >> (8 - rest) == 0;
}

static gboolean one_number(const BhRuleEngine *e, const struct bh_atom *a, const struct bh_value *v) {
        const gint64 *numbers = &BH_AT(e->numbers, gint64, a->first);

        if (v->kind == BH_VALUE_SOME)
                return a->n == 1 && some_compare(a->op, numbers[0]);
        if (v->kind != BH_VALUE_NUM)
                return FALSE;
        if (a->op != BH_OP_IN && a->op != BH_OP_INTERSECTS && a->op != BH_OP_EQ)
                return number_compare(a->op, v->n, numbers[0]);
        if (a->n <= 8) {
                for (guint i = 0; i < a->n; i++) {
                        if (numbers[i] == v->n)
                                return TRUE;
                }
                return FALSE;
        }
        /* sorted */
        for (guint low = 0, high = a->n; low < high;) {
                guint middle = (low + high) / 2;

                if (numbers[middle] == v->n)
                        return TRUE;
                if (numbers[middle] < v->n)
                        low = middle + 1;
                else
                        high = middle;
        }
        return FALSE;
}

/* A text as a number, where it is one. */
static gboolean parse_number(struct bh_str s, gint64 *n) {
        char text[32], *end;

        if (!s.len || s.len >= sizeof(text))
                return FALSE;
        memcpy(text, s.p, s.len);
        text[s.len] = 0;
        *n = g_ascii_strtoll(text, &end, 0);
        return !*end;
}

static gboolean values_compare(enum bh_op op, const struct bh_value *a, const struct bh_value *b, gboolean *limit) {
        gint64 n;

        if (op == BH_OP_IN || op == BH_OP_INTERSECTS)
                op = BH_OP_EQ;
        if (a->kind == BH_VALUE_STR && b->kind == BH_VALUE_STR)
                return bh_text_compare(op, a->s, b->s, limit);
        if (a->kind == BH_VALUE_IP && b->kind == BH_VALUE_IP) {
                gboolean same = a->ip.len == b->ip.len && memcmp(a->ip.b, b->ip.b, a->ip.len) == 0;

                return op == BH_OP_NE ? !same : op == BH_OP_EQ && same;
        }
        if (a->kind == BH_VALUE_NUM && b->kind == BH_VALUE_NUM)
                return number_compare(op, a->n, b->n);
        if (a->kind == BH_VALUE_NUM && b->kind == BH_VALUE_STR)
                return parse_number(b->s, &n) && number_compare(op, a->n, n);
        if (a->kind == BH_VALUE_STR && b->kind == BH_VALUE_NUM)
                return parse_number(a->s, &n) && number_compare(op, n, b->n);
        if (a->kind == BH_VALUE_SOME && b->kind == BH_VALUE_NUM)
                return some_compare(op, b->n);
        return FALSE;
}

static void limit_hit(BhRuleRun *r, const BhRuleEngine *e, const struct bh_atom *a) {
        gsize atom = (gsize) (a - &BH_AT(e->atoms, struct bh_atom, 0));

        r->stats.limits++;
        if (atom < r->n_atoms && !r->limited[atom])
                r->limited[atom] = 1;
}

static gboolean one_value(BhRuleRun *r, const BhRuleEngine *e, const struct bh_atom *a, const struct bh_value *v) {
        gboolean limit = FALSE, hit = FALSE;

        switch ((enum bh_atom_how) a->how) {
        case BH_HOW_NUMBER: return one_number(e, a, v);
        case BH_HOW_IP:
                if (v->kind != BH_VALUE_IP)
                        return FALSE;
                for (guint i = 0; i < a->n && !hit; i++)
                        hit = net_has(&BH_AT(e->nets, struct bh_net, a->first + i), &v->ip);
                return a->op == BH_OP_NE ? !hit : hit;
        case BH_HOW_TEXT:
        case BH_HOW_CALL:
        case BH_HOW_SET:
        case BH_HOW_SUBSET:
                if (v->kind != BH_VALUE_STR)
                        return FALSE;
                for (guint i = 0; i < a->n && !hit; i++)
                        hit = bh_text_compare(a->op, v->s, BH_AT(e->texts, struct bh_str, a->first + i), &limit);
                break;
        case BH_HOW_REGEX:
                if (v->kind != BH_VALUE_STR)
                        return FALSE;
                hit = bh_regex_match(g_ptr_array_index(e->regexes, a->first), r->matcher, v->s.p, v->s.len, &limit);
                break;
        case BH_HOW_PREFIX:
                if (v->kind != BH_VALUE_STR)
                        return FALSE;
                hit = bh_prefixes_match(g_ptr_array_index(e->prefixes, a->first), v->s.p, v->s.len, &limit);
                break;
        case BH_HOW_ANY:
                for (guint i = 0; i < a->n && !hit; i++) {
                        struct bh_value b;

                        bh_value_str(&b, BH_AT(e->texts, struct bh_str, a->first + i));
                        hit = values_compare(a->op, v, &b, &limit);
                }
                break;
        default: return FALSE;
        }
        if (limit)
                limit_hit(r, e, a);
        return hit;
}

gboolean bh_run_compare(BhRuleRun *r, const BhRuleEngine *e, const struct bh_atom *a, const struct bh_value *values, guint n) {
        if (a->how == BH_HOW_EXISTS)
                return n > 0;
        if (a->how == BH_HOW_SUBSET || a->negated_many) { /* of all of them */
                for (guint i = 0; i < n; i++) {
                        if (!one_value(r, e, a, &values[i]))
                                return FALSE;
                }
                return n > 0;
        }
        for (guint i = 0; i < n; i++) {
                if (one_value(r, e, a, &values[i]))
                        return TRUE;
        }
        return FALSE;
}

static gboolean compare_slots(BhRuleRun *r, const BhRuleEngine *e, const struct bh_atom *a) {
        const struct bh_value *left, *right;
        guint n = bh_run_slot(r, e, a->slot, &left), m = n ? bh_run_slot(r, e, a->other, &right) : 0;
        gboolean limit = FALSE, all = a->negated_many || (a->op == BH_OP_IN && BH_AT(e->slots, struct bh_slot, a->slot).many == BH_MANY_LIST), hit = FALSE;

        if (!n || !m)
                return FALSE;
        for (guint i = 0; i < n; i++) {
                hit = FALSE;
                for (guint k = 0; k < m && !hit; k++)
                        hit = values_compare(a->op, &left[i], &right[k], &limit);
                if (hit != all)
                        break;
        }
        if (limit)
                limit_hit(r, e, a);
        return hit;
}

gboolean bh_run_atom(BhRuleRun *r, const BhRuleEngine *e, guint32 atom) {
        const struct bh_atom *a;
        const struct bh_value *values;
        gboolean truth = FALSE;
        guint n;

        if (r->atom_memo[atom] >> 1 == r->gen)
                return r->atom_memo[atom] & 1;
        a = &BH_AT(e->atoms, struct bh_atom, atom);
        switch ((enum bh_atom_how) a->how) {
        case BH_HOW_SET:
                if (r->slot_set[a->slot] != r->gen) {
                        ask_set(r, e, a->slot);
                        return r->atom_memo[atom] == (r->gen << 1 | 1);
                }
                break;
        case BH_HOW_SLOT:
                truth = compare_slots(r, e, a);
                break;
        case BH_HOW_ONE:
                n = 0;
                for (guint i = 0; i < a->n && (n < 2 || a->negated_many); i++)
                        n += (guint) bh_run_atom(r, e, BH_AT(e->atom_lists, guint32, a->first + i));
                truth = n == (a->negated_many ? a->n - 1 : 1);
                break;
        default:
                n = bh_run_slot(r, e, a->slot, &values);
                truth = bh_run_compare(r, e, a, values, n);
                break;
        }
        r->atom_memo[atom] = r->gen << 1 | (guint32) truth;
        return truth;
}

/* ---- code ---- */

static gboolean run(BhRuleRun *r, const BhRuleEngine *e, guint32 pc) {
        const struct bh_ins *code = (const struct bh_ins *) (const void *) e->code->data;
        guint sp = 0;

        for (;;) {
                const struct bh_ins *ins = &code[pc];

                switch ((enum bh_ins_op) ins->op) {
                case BH_INS_ATOM:
                        pc = bh_run_atom(r, e, ins->arg) ? ins->on_true : ins->on_false;
                        break;
                case BH_INS_NODE: {
                        guint32 memo = r->node_memo[ins->arg];

                        if (memo >> 1 == r->gen) {
                                pc = memo & 1 ? ins->on_true : ins->on_false;
                        } else {
                                r->stack[sp++] = pc;
                                pc = BH_AT(e->nodes, struct bh_node, ins->arg).entry;
                        }
                        break;
                }
                case BH_INS_FALSE:
                case BH_INS_TRUE: {
                        gboolean truth = ins->op == BH_INS_TRUE;

                        if (!sp)
                                return truth;
                        ins = &code[r->stack[--sp]];
                        r->node_memo[ins->arg] = r->gen << 1 | (guint32) truth;
                        pc = truth ? ins->on_true : ins->on_false;
                        break;
                }
                }
        }
}

guint bh_rule_run_event(BhRuleRun *r, const BhRuleEngine *e, const struct bh_event *event, const struct bh_lineage *lineage, const guint32 **matches) {
        const struct bh_call_program *p;
        guint words;

        bh_run_fit(r, e);
        next_generation(r);
        r->scene.num++;
        if (!r->stats.events)
                r->scene.first_time = r->scene.last_time = event->time;
        r->stats.events++;
        bh_scene_reset(&r->scene, event, lineage);
        g_array_set_size(r->matches, 0);
        *matches = (const guint32 *) (const void *) r->matches->data;
        if (r->scene.call >= BH_CALL_COUNT || !e->calls[r->scene.call].n_roots) {
                r->scene.last_time = event->time;
                return 0;
        }

        p = &e->calls[r->scene.call];
        words = (p->n_roots + 63) / 64;
        memcpy(r->woken, &BH_AT(e->always, guint64, p->always), words * sizeof(guint64));
        r->telling_call = r->scene.call;
        for (guint i = 0; i < p->n_slots; i++)
                ask_set(r, e, BH_AT(e->call_slots, guint32, p->slots + i));
        r->telling = e;
        for (guint i = 0; i < p->n_atoms; i++) {
                guint32 atom = BH_AT(e->call_atoms, guint32, p->atoms + i);

                if (bh_run_atom(r, e, atom))
                        tell(atom, r);
        }
        for (guint w = 0; w < words; w++) {
                for (guint64 bits = r->woken[w]; bits; bits &= bits - 1) {
                        const struct bh_root *root = &BH_AT(e->roots, struct bh_root, p->roots + w * 64 + (guint) __builtin_ctzll(bits));

                        r->stats.evaluated++;
                        if (!run(r, e, root->entry))
                                continue;
                        g_array_append_val(r->matches, root->rule);
                        r->stats.matches++;
                        if (!e->all)
                                goto found;
                }
        }
found:
        r->scene.last_time = event->time;
        *matches = (const guint32 *) (const void *) r->matches->data;
        return r->matches->len;
}

void bh_rule_run_stats(const BhRuleRun *r, BhRuleRunStats *stats) {
        *stats = r->stats;
        stats->cut = r->scene.cut;
}

/* ---- bounds that were hit ---- */

static gboolean has_atom(const BhRuleEngine *e, guint32 has, guint32 atom) {
        const struct bh_atom *a = &BH_AT(e->atoms, struct bh_atom, has);

        for (guint i = 0; a->how == BH_HOW_ONE && i < a->n; i++) {
                if (has_atom(e, BH_AT(e->atom_lists, guint32, a->first + i), atom))
                        return TRUE;
        }
        return has == atom;
}

/* Whether the code from there comes by the atom. `seen`: instructions that were looked at, by anybody. */
static gboolean code_has(const BhRuleEngine *e, guint32 entry, guint32 atom, guint8 *seen) {
        g_autoptr(GArray) todo = g_array_new(FALSE, FALSE, sizeof(guint32));

        g_array_append_val(todo, entry);
        while (todo->len) {
                guint32 pc = BH_AT(todo, guint32, todo->len - 1);
                const struct bh_ins *ins = &BH_AT(e->code, struct bh_ins, pc);

                g_array_set_size(todo, todo->len - 1);
                if (seen[pc] || ins->op == BH_INS_FALSE || ins->op == BH_INS_TRUE)
                        continue;
                seen[pc] = 1;
                if (ins->op == BH_INS_ATOM && has_atom(e, ins->arg, atom))
                        return TRUE;
                if (ins->op == BH_INS_NODE)
                        g_array_append_val(todo, BH_AT(e->nodes, struct bh_node, ins->arg).entry);
                g_array_append_val(todo, ins->on_true);
                g_array_append_val(todo, ins->on_false);
        }
        return FALSE;
}

static const char *rule_with(const BhRuleEngine *e, guint32 atom) {
        g_autofree guint8 *seen = g_new0(guint8, e->code->len + 1);
        const GPtrArray *rules = e->set ? bh_rule_set_rules(e->set) : NULL;

        for (guint i = 0; rules && i < e->roots->len; i++) {
                const struct bh_root *root = &BH_AT(e->roots, struct bh_root, i);

                if (code_has(e, root->entry, atom, seen) && root->rule < rules->len)
                        return ((const BhRule *) g_ptr_array_index(rules, root->rule))->name;
        }
        return NULL;
}

static char *pattern_of(const BhRuleEngine *e, const struct bh_atom *a) {
        if (a->how == BH_HOW_REGEX)
                return g_strdup(bh_regex_text(g_ptr_array_index(e->regexes, a->first)));
        if ((a->how == BH_HOW_TEXT || a->how == BH_HOW_SET || a->how == BH_HOW_SUBSET || a->how == BH_HOW_ANY) && a->n) {
                struct bh_str s = BH_AT(e->texts, struct bh_str, a->first);

                return g_strndup(s.p, s.len);
        }
        return g_strdup(a->how == BH_HOW_PREFIX ? "pmatch" : "a pattern from another field");
}

gboolean bh_rule_run_hit(const BhRuleRun *r) {
        return r->stats.limits != r->limits_told || r->scene.cut != r->cut_told;
}

gboolean bh_rule_run_limited(BhRuleRun *r, const BhRuleEngine *e, BhRuleLimit tell_limit, gpointer data) {
        if (!bh_rule_run_hit(r))
                return FALSE;
        for (guint32 i = 0; r->stats.limits != r->limits_told && r->serial == e->serial && i < r->n_atoms; i++) {
                if (r->limited[i] != 1)
                        continue;

                g_autofree char *pattern = pattern_of(e, &BH_AT(e->atoms, struct bh_atom, i));
                r->limited[i] = 2;
                tell_limit(rule_with(e, i), pattern, data);
        }
        r->limits_told = r->stats.limits;
        r->cut_told = r->scene.cut;
        return TRUE;
}

gboolean bh_rule_run_field(BhRuleRun *r, const struct bh_event *event, const struct bh_lineage *lineage, const BhOperand *field, GString *out) {
        struct bh_value values[BH_VALUES_MAX];
        struct bh_field_ref ref;
        guint n;

        if (field->kind != BH_OPERAND_FIELD)
                return FALSE;
        ref = (struct bh_field_ref){ .id = field->field->id, .has_arg = field->arg != NULL, .has_index = field->has_index, .index = field->index };
        if (field->arg)
                ref.arg = (struct bh_str){ field->arg, (guint32) strlen(field->arg) };
        bh_scene_reset(&r->scene, event, lineage);
        if (r->serial)
                next_generation(r); /* what was kept of the event before is void */
        if (field->field->flags & BH_FF_LIST || (field->field->flags & BH_FF_ANCESTORS && field->field->type == BH_RT_STRING && !field->arg)) {
                n = bh_scene_values(&r->scene, &ref, values);
                for (guint i = 0; i < n; i++) {
                        if (i)
                                g_string_append_c(out, field->field->flags & BH_FF_LIST ? ',' : ' ');
                        bh_value_show(field->field, &values[i], out);
                }
                return n > 0;
        }
        if (!bh_scene_value(&r->scene, &ref, &values[0]))
                return FALSE;
        bh_value_show(field->field, &values[0], out);
        return TRUE;
}
