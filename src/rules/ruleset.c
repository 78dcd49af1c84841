/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/ruleset.h"

#include "base/escape.h"
#include "rules/load.h"

G_DEFINE_QUARK(bh-rules-error, bh_rules_error)

void bh_rule_extra_free(gpointer extra) {
        BhRuleExtra *e = extra;

        g_free(e->name);
        g_free(e->format);
        g_free(e);
}

void bh_rule_free(gpointer rule) {
        BhRule *r = rule;

        if (!r)
                return;
        g_free(r->name);
        g_free(r->desc);
        g_free(r->source);
        g_free(r->output);
        bh_cond_free(r->condition);
        g_ptr_array_unref(r->tags);
        g_ptr_array_unref(r->extra_fields);
        g_free(r);
}

BhRule *bh_rule_new(const char *name) {
        BhRule *r = g_new0(BhRule, 1);

        r->name = g_strdup(name);
        r->tags = g_ptr_array_new_with_free_func(g_free);
        r->extra_fields = g_ptr_array_new_with_free_func(bh_rule_extra_free);
        r->enabled = r->warn_evttypes = TRUE;
        return r;
}

static void problem_free(gpointer problem) {
        BhRuleProblem *p = problem;

        g_free(p->code);
        g_free(p->what);
        g_free(p->object);
        g_free(p);
}

BhRuleSet *bh_rule_set_new(void) {
        BhRuleSet *s = g_new0(BhRuleSet, 1);

        s->refs = 1;
        s->files = g_ptr_array_new_with_free_func(g_free);
        s->rules = g_ptr_array_new_with_free_func(bh_rule_free);
        s->problems = g_ptr_array_new_with_free_func(problem_free);
        return s;
}

BhRuleSet *bh_rule_set_ref(BhRuleSet *s) {
        g_atomic_int_inc(&s->refs);
        return s;
}

void bh_rule_set_unref(BhRuleSet *s) {
        if (!s || !g_atomic_int_dec_and_test(&s->refs))
                return;
        g_ptr_array_unref(s->files);
        g_ptr_array_unref(s->rules);
        g_ptr_array_unref(s->problems);
        g_free(s);
}

const GPtrArray *bh_rule_set_rules(const BhRuleSet *s) {
        return s->rules;
}

guint bh_rule_set_macros(const BhRuleSet *s) {
        return s->n_macros;
}

guint bh_rule_set_lists(const BhRuleSet *s) {
        return s->n_lists;
}

const char *bh_rule_set_file(const BhRuleSet *s, guint file) {
        return file < s->files->len ? g_ptr_array_index(s->files, file) : "?";
}

gboolean bh_rule_of_file(const BhRuleSet *s, const BhRule *rule, const char *file) {
        return g_str_equal(bh_rule_set_file(s, rule->pos.file), file) || g_str_equal(bh_rule_set_file(s, rule->condition_pos.file), file);
}

gboolean bh_rule_set_matching_all(const BhRuleSet *s) {
        return s->matching_all;
}

const GPtrArray *bh_rule_set_problems(const BhRuleSet *s) {
        return s->problems;
}

guint64 bh_rule_set_errors(const BhRuleSet *s) {
        return s->errors;
}

guint64 bh_rule_set_warnings(const BhRuleSet *s) {
        return s->warnings;
}

static gint by_place(gconstpointer a, gconstpointer b) {
        const BhRuleProblem *x = *(BhRuleProblem *const *) a, *y = *(BhRuleProblem *const *) b;

        if (x->pos.file != y->pos.file)
                return x->pos.file < y->pos.file ? -1 : 1;
        if (x->pos.line != y->pos.line)
                return x->pos.line < y->pos.line ? -1 : 1;
        if (x->pos.column != y->pos.column)
                return x->pos.column < y->pos.column ? -1 : 1;
        return x->error != y->error ? (x->error ? -1 : 1) : 0;
}

void bh_rule_set_sort(BhRuleSet *s) {
        g_ptr_array_sort(s->problems, by_place);
}

char *bh_rule_problem_text(const BhRuleSet *s, const BhRuleProblem *p) {
        GString *out = g_string_new(NULL);
        g_autofree char *file = bh_escape_cell(bh_rule_set_file(s, p->pos.file), -1);

        g_string_append(out, file);
        if (p->pos.line)
                g_string_append_printf(out, ":%u:%u", p->pos.line, p->pos.column);
        g_string_append_printf(out, ": %s: %s", p->error ? "error" : "warning", p->what);
        if (p->object)
                g_string_append_printf(out, " (%s)", p->object);
        g_string_append_printf(out, " [%s]", p->code);
        return g_string_free(out, FALSE);
}
