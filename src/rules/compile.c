/* SPDX-License-Identifier: Apache-2.0 */
/* Engines: all rules of a set, or one condition, compiled. */
#include "rules/build.h"

/* ---- engines ---- */

static void slot_clear(gpointer data) {
        bh_strset_free(((struct bh_slot *) data)->set);
}

static void outputs_free(gpointer formats) {
        if (formats)
                g_ptr_array_unref(formats);
}

static BhRuleEngine *engine_alloc(void) {
        static guint64 serials;
        static GMutex lock;
        BhRuleEngine *e = g_new0(BhRuleEngine, 1);

        g_atomic_ref_count_init(&e->refs);
        g_mutex_lock(&lock);
        e->serial = ++serials;
        g_mutex_unlock(&lock);
        e->conditions = g_ptr_array_new_with_free_func((GDestroyNotify) bh_cond_free);
        e->slots = g_array_new(FALSE, FALSE, sizeof(struct bh_slot));
        g_array_set_clear_func(e->slots, slot_clear);
        e->slot_args = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->atoms = g_array_new(FALSE, FALSE, sizeof(struct bh_atom));
        e->atom_lists = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->numbers = g_array_new(FALSE, FALSE, sizeof(gint64));
        e->texts = g_array_new(FALSE, FALSE, sizeof(struct bh_str));
        e->nets = g_array_new(FALSE, FALSE, sizeof(struct bh_net));
        e->regexes = g_ptr_array_new_with_free_func((GDestroyNotify) bh_regex_free);
        e->prefixes = g_ptr_array_new_with_free_func((GDestroyNotify) bh_prefixes_free);
        e->nodes = g_array_new(FALSE, FALSE, sizeof(struct bh_node));
        e->node_kids = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->code = g_array_new(FALSE, FALSE, sizeof(struct bh_ins));
        e->roots = g_array_new(FALSE, FALSE, sizeof(struct bh_root));
        e->call_slots = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->call_atoms = g_array_new(FALSE, FALSE, sizeof(guint32));
        e->wakes = g_array_new(FALSE, FALSE, sizeof(struct bh_wake));
        e->always = g_array_new(FALSE, TRUE, sizeof(guint64));
        e->arena = g_string_chunk_new(16384);
        e->outputs = g_ptr_array_new_with_free_func(outputs_free);
        return e;
}

BhRuleEngine *bh_rule_engine_ref(BhRuleEngine *e) {
        g_atomic_ref_count_inc(&e->refs);
        return e;
}

void bh_rule_engine_unref(BhRuleEngine *e) {
        if (!e || !g_atomic_ref_count_dec(&e->refs))
                return;
        GArray *arrays[] = { e->slots, e->slot_args, e->atoms, e->atom_lists, e->numbers, e->texts, e->nets, e->nodes, e->node_kids, e->code, e->roots, e->call_slots, e->call_atoms, e->wakes, e->always };
        for (guint i = 0; i < G_N_ELEMENTS(arrays); i++)
                g_array_unref(arrays[i]);
        g_ptr_array_unref(e->regexes);
        g_ptr_array_unref(e->prefixes);
        g_ptr_array_unref(e->conditions);
        g_ptr_array_unref(e->outputs);
        g_string_chunk_free(e->arena);
        if (e->set)
                bh_rule_set_unref(e->set);
        g_free(e);
}

void bh_rule_engine_needs(const BhRuleEngine *e, guint64 needs[2]) {
        needs[0] = e->needs[0];
        needs[1] = e->needs[1];
}

static void add_literals(BhRuleEngine *e) {
        for (guint i = 0; i < e->atoms->len; i++) {
                const struct bh_atom *a = &BH_AT(e->atoms, struct bh_atom, i);
                struct bh_slot *s;
                enum bh_strset_kind kind;

                if (a->how != BH_HOW_SET)
                        continue;
                s = &BH_AT(e->slots, struct bh_slot, a->slot);
                if (!s->set)
                        s->set = bh_strset_new();
                switch (a->op) {
                case BH_OP_STARTSWITH: kind = BH_SS_BEGIN; break;
                case BH_OP_ENDSWITH: kind = BH_SS_END; break;
                case BH_OP_CONTAINS: kind = BH_SS_PART; break;
                case BH_OP_ICONTAINS: kind = BH_SS_PART_FOLD; break;
                default: kind = BH_SS_WHOLE; break;
                }
                for (guint k = 0; k < a->n; k++) {
                        const struct bh_str *t = &BH_AT(e->texts, struct bh_str, a->first + k);

                        bh_strset_add(s->set, kind, t->p, t->len, i);
                }
        }
        for (guint i = 0; i < e->slots->len; i++) {
                if (BH_AT(e->slots, struct bh_slot, i).set)
                        bh_strset_build(BH_AT(e->slots, struct bh_slot, i).set);
        }
}

static void builder_init(struct bh_builder *b, BhRuleEngine *e, GPtrArray *problems) {
        *b = (struct bh_builder){ .e = e, .problems = problems };
        b->slots = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        b->atoms = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        b->nodes = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        b->told = g_hash_table_new(NULL, NULL);
        b->run = bh_rule_run_new();
        bh_build_constant(b, FALSE);
        bh_build_constant(b, TRUE);
}

static void builder_clear(struct bh_builder *b) {
        g_hash_table_unref(b->slots);
        g_hash_table_unref(b->atoms);
        g_hash_table_unref(b->nodes);
        g_hash_table_unref(b->told);
        bh_rule_run_free(b->run);
}

/* Calls whose events a rule of that source sees. */
static void calls_of_source(const char *source, guint64 calls[BH_CALL_WORDS]) {
        memset(calls, 0, sizeof(guint64) * BH_CALL_WORDS);
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint kind = bh_rule_calls[c].kind;
                const char *of = kind == BH_EV_CONTAINER ? "container" : kind == BH_EV_SENSOR ? "sensor" : "syscall";

                if (!source || g_str_equal(source, of))
                        calls[c / 64] |= 1ull << (c % 64);
        }
}

/* Whether it compares container.id with "host", by that operator. */
static gboolean is_host_by(const BhCond *c, enum bh_op op) {
        const BhOperand *value = c->kind == BH_COND_CHECK && c->op == op && c->values && c->values->len == 1 ? g_ptr_array_index(c->values, 0) : NULL;

        return value && value->kind == BH_OPERAND_LITERAL && g_str_equal(value->text, "host") && c->left->kind == BH_OPERAND_FIELD && c->left->field->id == BH_FLD_CONTAINER_ID;
}

/* Whether it can be true of processes outside of containers alone, in the forms in which rules say that. */
static gboolean of_host(const BhCond *c) {
        switch (c->kind) {
        case BH_COND_CHECK: return is_host_by(c, BH_OP_EQ) || is_host_by(c, BH_OP_IN);
        case BH_COND_NOT: return is_host_by(g_ptr_array_index(c->kids, 0), BH_OP_NE);
        case BH_COND_AND:
                for (guint i = 0; i < c->kids->len; i++)
                        if (of_host(g_ptr_array_index(c->kids, i)))
                                return TRUE;
                return FALSE;
        case BH_COND_OR:
                for (guint i = 0; i < c->kids->len; i++)
                        if (!of_host(g_ptr_array_index(c->kids, i)))
                                return FALSE;
                return c->kids->len > 0;
        }
        return FALSE;
}

/* Those of the kinds that are not among the others, by name; empty: none. Free it. */
static char *kinds_without(const guint64 wanted[2], const guint64 there[2]) {
        GString *names = g_string_new(NULL);

        for (guint k = 0; k < 128; k++)
                if ((wanted[k / 64] & ~there[k / 64]) >> (k % 64) & 1)
                        g_string_append_printf(names, "%s%s", names->len ? ", " : "", bh_event_type_name(k) ? bh_event_type_name(k) : "?");
        return g_string_free(names, FALSE);
}

/* Says which of the kinds that the rule wants this node cannot see; all of them: that it cannot match. */
static void check_available(struct bh_builder *b, const BhRule *rule, const guint64 wanted[2], const BhEngineOptions *options) {
        g_autofree char *unseen = options && options->available ? kinds_without(wanted, options->available) : NULL;
        g_autofree char *untold = options && options->host && of_host(rule->condition) ? kinds_without(wanted, options->host) : NULL;

        if (!wanted[0] && !wanted[1] && g_str_equal(rule->source, "syscall"))
                bh_build_problem(b, FALSE, rule->condition_pos, "the rule can match no event: no kind of event can make its condition true");
        if (unseen && *unseen)
                bh_build_problem(b, FALSE, rule->condition_pos, "this node cannot see events that the rule asks for: %s", unseen);
        if (untold && *untold)
                bh_build_problem(b, FALSE, rule->condition_pos, "the rule is about processes outside of containers, of which this node is not told these events: %s; start it with --host-events", untold);
}

static void finish(struct bh_builder *b, const guint32 *nodes, const guint64 (*calls)[BH_CALL_WORDS]) {
        bh_build_settle(b);
        bh_engine_reduce(b->e, b->nodes, nodes, calls);
        add_literals(b->e);
}

static guint32 format_slot(const BhOperand *o, gpointer data) {
        return bh_build_slot(data, o);
}

/* The rule's output and its extra fields. */
static GPtrArray *formats_of(struct bh_builder *b, const BhRule *rule) {
        GPtrArray *formats = g_ptr_array_new_with_free_func((GDestroyNotify) bh_rule_format_free);

        if (rule->output)
                g_ptr_array_add(formats, bh_rule_format_new(rule->output, NULL, FALSE, format_slot, b));
        for (guint i = 0; rule->extra_fields && i < rule->extra_fields->len; i++) {
                const BhRuleExtra *extra = g_ptr_array_index(rule->extra_fields, i);

                g_ptr_array_add(formats, bh_rule_format_new(extra->format, extra->name, extra->raw, format_slot, b));
        }
        return formats;
}

BhRuleEngine *bh_rule_engine_new(BhRuleSet *set, const BhEngineOptions *options, GPtrArray *problems, GError **error) {
        const GPtrArray *rules = bh_rule_set_rules(set);
        g_autofree guint32 *nodes = NULL;
        g_autofree guint64(*calls)[BH_CALL_WORDS] = NULL;
        BhRuleEngine *e;
        struct bh_builder b;

        if (bh_rule_set_errors(set)) {
                g_set_error(error, BH_RULES_ERROR, 1, "the rules have %" G_GUINT64_FORMAT " errors and are not run", bh_rule_set_errors(set));
                return NULL;
        }
        if (problems)
                g_ptr_array_set_free_func(problems, bh_build_problem_free);
        e = engine_alloc();
        e->set = bh_rule_set_ref(set);
        e->n_rules = rules->len;
        e->all = bh_rule_set_matching_all(set) || (options && options->file);
        builder_init(&b, e, problems);
        nodes = g_new(guint32, rules->len + 1);
        calls = g_malloc0((rules->len + 1) * sizeof(*calls));
        for (guint i = 0; i < rules->len; i++) {
                const BhRule *rule = g_ptr_array_index(rules, i);

                b.rule = i;
                b.failed = FALSE;
                g_hash_table_remove_all(b.told);
                nodes[i] = rule->condition && !rule->skipped ? bh_build_condition(&b, rule->condition) : BH_NONE;
                if (b.failed || !rule->enabled || (options && options->file && !bh_rule_of_file(set, rule, options->file)))
                        nodes[i] = BH_NONE;
                calls_of_source(rule->source, calls[i]);
                g_ptr_array_add(e->outputs, nodes[i] == BH_NONE ? NULL : formats_of(&b, rule));
        }
        finish(&b, nodes, (const guint64(*)[BH_CALL_WORDS]) calls);

        /* per rule: kinds that are left */
        g_autofree guint64(*wanted)[2] = g_malloc0((rules->len + 1) * sizeof(*wanted));
        for (guint c = 0; c < BH_CALL_COUNT; c++) {
                guint kind = bh_rule_calls[c].kind;

                for (guint i = 0; i < e->calls[c].n_roots && kind < 128; i++)
                        wanted[BH_AT(e->roots, struct bh_root, e->calls[c].roots + i).rule][kind / 64] |= 1ull << (kind % 64);
        }
        for (guint i = 0; i < rules->len; i++) {
                b.rule = i;
                if (nodes[i] != BH_NONE)
                        check_available(&b, g_ptr_array_index(rules, i), wanted[i], options);
        }
        builder_clear(&b);
        return e;
}

BhRuleEngine *bh_rule_engine_new_filter(BhCond *condition, GError **error) {
        g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(bh_build_problem_free);
        BhRuleEngine *e = engine_alloc();
        guint64 calls[1][BH_CALL_WORDS];
        struct bh_builder b;
        guint32 node;

        g_ptr_array_add(e->conditions, condition);
        e->n_rules = 1;
        builder_init(&b, e, problems);
        node = bh_build_condition(&b, condition);
        for (guint i = 0; node == BH_NONE && i < problems->len; i++) {
                const BhEngineProblem *p = g_ptr_array_index(problems, i);

                if (p->error) {
                        g_set_error(error, BH_RULES_ERROR, 1, "%u:%u: %s", p->pos.line, p->pos.column, p->what);
                        break;
                }
        }
        if (node != BH_NONE) {
                calls_of_source(NULL, calls[0]);
                finish(&b, &node, (const guint64(*)[BH_CALL_WORDS]) calls);
                g_ptr_array_add(e->outputs, NULL);
        }
        builder_clear(&b);
        if (node == BH_NONE)
                g_clear_pointer(&e, bh_rule_engine_unref);
        return e;
}
