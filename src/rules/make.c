/* SPDX-License-Identifier: Apache-2.0 */
/* From what was read to rules: conditions parsed, macros and exceptions put in, everything checked. */
#include <string.h>

#include "rules/load.h"

static guint source_bit(const char *source) {
        return g_str_equal(source, "syscall") ? BH_RS_SYSCALL : g_str_equal(source, "container") ? BH_RS_RUNTIME : g_str_equal(source, "sensor") ? BH_RS_SENSOR : BH_RS_ALL;
}

/* Fields that no event of the rule's source has. */
static const BhOperand *foreign(const BhOperand *o, guint source) {
        if (o->kind == BH_OPERAND_FIELD)
                return o->field && !(o->field->sources & source) ? o : NULL;
        for (guint i = 0; o->args && i < o->args->len; i++) {
                const BhOperand *f = foreign(g_ptr_array_index(o->args, i), source);

                if (f)
                        return f;
        }
        return NULL;
}

static void warn_foreign(BhLoader *l, const BhCond *c, const BhRule *r, const char *object) {
        const BhOperand *f;

        for (guint i = 0; c->kids && i < c->kids->len; i++)
                warn_foreign(l, g_ptr_array_index(c->kids, i), r, object);
        if (c->kind == BH_COND_CHECK && (f = foreign(c->left, source_bit(r->source))))
                bh_load_problem(l, BH_WARN, "LOAD_COMPILE_CONDITION", f->pos, object, "the field %s is missing in all events of the source \"%s\": the check is never true", f->field->name,
                                r->source);
}

/* TRUE: nothing stands in the rule's way. *skip: what does is excused. */
static gboolean tell_faults(BhLoader *l, const BhRule *r, const char *object, GPtrArray *faults, gboolean *skip) {
        gboolean good = TRUE, only_unknown = TRUE;

        for (guint i = 0; i < faults->len; i++) {
                const BhFault *f = g_ptr_array_index(faults, i);

                only_unknown = only_unknown && (!f->error || f->unknown);
        }
        for (guint i = 0; i < faults->len; i++) {
                const BhFault *f = g_ptr_array_index(faults, i);
                gboolean excused = f->error && only_unknown && r->skip_if_unknown_filter;
                g_autofree char *where = NULL;

                *skip = *skip || excused;
                good = good && !f->error;
                if (f->macro && !excused) {
                        g_autofree char *key = g_strdup_printf("%u:%u:%u:%s", f->pos.file, f->pos.line, f->pos.column, f->what);

                        /* told once, with the first rule that uses the macro */
                        if (!g_hash_table_add(l->macros_told, g_steal_pointer(&key)))
                                continue;
                }
                if (f->macro) {
                        g_autofree char *m = bh_load_quote(f->macro, strlen(f->macro));

                        where = g_strdup_printf("; it stands in the macro %s, which the rule uses at %s:%u:%u", m, bh_rule_set_file(l->set, f->put_in.file), f->put_in.line, f->put_in.column);
                }
                g_autofree char *what = bh_fault_say(l, f);
                bh_load_problem(l, f->error && !excused, excused ? "LOAD_UNKNOWN_FILTER" : f->code, f->pos, object, "%s%s%s", what, where ? where : "",
                                excused ? ": the rule is skipped, as it says itself" : "");
        }
        return good;
}

static char *without_info(const char *format) {
        g_autoptr(GString) s = g_string_new(format);

        g_string_replace(s, "%container.info", "", 0);
        g_strstrip(s->str);
        return g_strdup(s->str);
}

static void make_rule(BhLoader *l, BhRuleDef *d) {
        g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(bh_fault_free);
        BhRule *r = d->rule;
        g_autofree char *q = bh_load_quote(r->name, strlen(r->name)), *object = g_strdup_printf("rule %s", q);
        g_auto(BhParser) p = { 0 };
        gboolean skip = FALSE, good;
        BhCond *c;

        if (r->skipped) {
                r->output = d->output->s->len > BH_RULES_OUTPUT_MAX ? g_strdup("") : without_info(d->output->s->str);
                return;
        }
        l->object = object;
        bh_load_appends(l, d, faults);
        if (d->output->s->len > BH_RULES_OUTPUT_MAX)
                bh_fault(faults, BH_ERROR, FALSE, "LOAD_ERR_COMPILE_OUTPUT", r->output_pos, "an output of more than 8,192 bytes is refused: shorten it");
        else
                bh_output_check(l, d->output, faults);
        r->output = d->output->s->len > BH_RULES_OUTPUT_MAX ? g_strdup("") : without_info(d->output->s->str);
        bh_parser_init(&p, l, d->condition, BH_RULES_DEPTH_MAX);
        c = bh_parse_condition(&p);
        if (!c)
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_COMPILE_CONDITION", bh_parser_pos(&p, p.bad), object, "%s", p.what);
        else
                c = bh_exceptions_apply(l, d, c);
        if (c)
                c = bh_macros_put_in(l, c, object, faults);
        good = tell_faults(l, r, object, faults, &skip) && c;
        if (skip && c)
                r->skipped = TRUE;
        if (!good) {
                bh_cond_free(c);
                l->object = NULL;
                return;
        }
        r->condition = c;
        if (g_str_equal(r->source, "syscall")) {
                if (r->warn_evttypes && !bh_cond_narrow(c))
                        bh_load_problem(l, BH_WARN, "LOAD_NO_EVTTYPE", r->condition_pos, object,
                                        "the condition leaves no kind of event out, so that it is run on all of them: add a check of evt.type, or say \"warn_evttypes: false\"");
        }
        warn_foreign(l, c, r, object);
        l->object = NULL;
}

/* Not errors: files for other sources have macros with fields that do not exist here. */
static void warn_unchecked(BhLoader *l) {
        for (guint i = 0; i < l->macros->len; i++) {
                const BhMacroDef *m = g_ptr_array_index(l->macros, i);

                for (guint k = 0; k < m->faults->len; k++) {
                        const BhFault *f = g_ptr_array_index(m->faults, k);
                        g_autofree char *key = g_strdup_printf("%u:%u:%u:%s", f->pos.file, f->pos.line, f->pos.column, f->what);

                        if (f->error && g_hash_table_add(l->macros_told, g_steal_pointer(&key))) {
                                g_autofree char *q = bh_load_quote(m->name, strlen(m->name)), *object = g_strdup_printf("macro %s", q);

                                g_autofree char *what = bh_fault_say(l, f);
                                bh_load_problem(l, BH_WARN, "LOAD_COMPILE_CONDITION", f->pos, object, "%s; no rule that loads uses it", what);
                        }
                }
        }
}

static void warn_unused(BhLoader *l) {
        /* a rule that could not be read may be the user */
        if (l->set->errors)
                return;
        for (guint i = 0; i < l->macros->len; i++) {
                const BhMacroDef *m = g_ptr_array_index(l->macros, i);

                if (!m->used) {
                        g_autofree char *q = bh_load_quote(m->name, strlen(m->name)), *object = g_strdup_printf("macro %s", q);

                        bh_load_problem(l, BH_WARN, "LOAD_UNUSED_MACRO", m->pos, object, "no rule and no macro uses this macro");
                }
        }
        for (guint i = 0; i < l->lists->len; i++) {
                const BhListDef *d = g_ptr_array_index(l->lists, i);

                if (!d->used && !d->used_in_list) {
                        g_autofree char *q = bh_load_quote(d->name, strlen(d->name)), *object = g_strdup_printf("list %s", q);

                        bh_load_problem(l, BH_WARN, "LOAD_UNUSED_LIST", d->pos, object, "no condition and no list uses this list");
                }
        }
}

void bh_rules_make(BhLoader *l) {
        /* lists that nobody uses are read, too: their errors are errors */
        for (guint i = 0; i < l->lists->len; i++)
                bh_list_values(l, g_ptr_array_index(l->lists, i));
        bh_macros_resolve(l);
        for (guint i = 0; i < l->rules->len; i++) {
                BhRuleDef *d = g_ptr_array_index(l->rules, i);

                make_rule(l, d);
                /* what was appended to each of many rules is not kept twice */
                g_clear_pointer(&d->output, bh_text_free);
                g_clear_pointer(&d->condition, bh_text_free);
                g_ptr_array_add(l->set->rules, g_steal_pointer(&d->rule));
        }
        warn_unchecked(l);
        warn_unused(l);
}

BhCond *bh_condition_parse(const char *text, gsize len, GError **error) {
        g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(bh_fault_free);
        g_autoptr(BhLoader) l = bh_loader_new(NULL);
        g_autoptr(BhText) t = NULL;
        g_auto(BhParser) p = { 0 };
        const BhFault *first = NULL;

        if (len > BH_RULES_FILTER_MAX) {
                g_set_error(error, BH_RULES_ERROR, 0, "the condition has more than %u bytes", BH_RULES_FILTER_MAX);
                return NULL;
        }
        t = bh_loader_text(l, text, len);
        bh_parser_init(&p, l, t, 100);
        BhCond *c = bh_parse_condition(&p);
        if (!c) {
                struct bh_pos pos = bh_parser_pos(&p, p.bad);

                g_set_error(error, BH_RULES_ERROR, 0, "%u:%u: %s", pos.line, pos.column, p.what);
                return NULL;
        }
        c = bh_macros_put_in(l, c, NULL, faults);
        for (guint i = 0; i < l->set->problems->len; i++) {
                const BhRuleProblem *problem = g_ptr_array_index(l->set->problems, i);

                g_set_error(error, BH_RULES_ERROR, 0, "%u:%u: %s", problem->pos.line, problem->pos.column, problem->what);
                bh_cond_free(c);
                return NULL;
        }
        for (guint i = 0; i < faults->len && !first; i++)
                if (((const BhFault *) g_ptr_array_index(faults, i))->error)
                        first = g_ptr_array_index(faults, i);
        if (!first)
                return c;
        g_autofree char *what = bh_fault_say(l, first);
        g_set_error(error, BH_RULES_ERROR, 0, "%u:%u: %s", first->pos.line, first->pos.column, what);
        bh_cond_free(c);
        return NULL;
}

BhOperand *bh_operand_parse(const char *text, gsize len, gsize *used, GError **error) {
        g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(bh_fault_free);
        g_autoptr(BhLoader) l = bh_loader_new(NULL);
        g_autoptr(BhText) t = NULL;
        g_auto(BhParser) p = { 0 };
        g_autoptr(BhOperand) o = NULL;
        BhValueType type;

        if (len > BH_RULES_FILTER_MAX)
                len = BH_RULES_FILTER_MAX;
        t = bh_loader_text(l, text, len);
        bh_parser_init(&p, l, t, 100);
        o = bh_parse_output_operand(&p);
        if (o && bh_check_operand(o, TRUE, &type, faults)) {
                *used = p.at;
                return g_steal_pointer(&o);
        }
        g_set_error(error, BH_RULES_ERROR, 0, "%s", p.what ? p.what : faults->len ? ((BhFault *) g_ptr_array_index(faults, 0))->what : "there is no field here");
        return NULL;
}
