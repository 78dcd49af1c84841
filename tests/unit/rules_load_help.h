/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the loader share: rules from text, and what is expected of them. */
#pragma once
#include <glib.h>
#include <string.h>

#include "rules/ruleset.h"

#define RULE(name, condition) "- rule: " name "\n  desc: d\n  condition: " condition "\n  output: o\n  priority: INFO\n"
#define SYS "evt.type=open and "

static inline BhRuleSet *load(const char *text) {
        BhRuleSource f = { "a.yaml", text, strlen(text) };

        return bh_rule_set_load(&f, 1, NULL);
}

static inline BhRuleSet *load2(const char *a, const char *b) {
        BhRuleSource f[] = { { "a.yaml", a, strlen(a) }, { "b.yaml", b, strlen(b) } };

        return bh_rule_set_load(f, 2, NULL);
}

static inline char *all_problems(const BhRuleSet *s) {
        const GPtrArray *p = bh_rule_set_problems(s);
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < p->len; i++) {
                g_autofree char *line = bh_rule_problem_text(s, g_ptr_array_index(p, i));

                g_string_append_printf(out, "%s\n", line);
        }
        return g_string_free(out, FALSE);
}

static inline const BhRule *rule(const BhRuleSet *s, const char *name) {
        const GPtrArray *rules = bh_rule_set_rules(s);

        for (guint i = 0; i < rules->len; i++)
                if (g_str_equal(((const BhRule *) g_ptr_array_index(rules, i))->name, name))
                        return g_ptr_array_index(rules, i);
        return NULL;
}

/* No error, and the rule's condition is this tree. */
static inline void condition_is(const BhRuleSet *s, const char *name, const char *tree) {
        g_autofree char *problems = all_problems(s), *got = NULL;
        const BhRule *r = rule(s, name);

        if (bh_rule_set_errors(s))
                g_error("errors:\n%s", problems);
        g_assert_nonnull(r);
        g_assert_nonnull(r->condition);
        got = bh_cond_to_text(r->condition);
        g_assert_cmpstr(got, ==, tree);
}

static inline void loads(const char *text, const char *tree) {
        g_autoptr(BhRuleSet) s = load(text);

        condition_is(s, "r", tree);
}

/* A problem with that severity, code and place, whose text holds `part`. */
static inline void has(const BhRuleSet *s, gboolean error, const char *code, const char *place, const char *part) {
        const GPtrArray *p = bh_rule_set_problems(s);
        g_autofree char *problems = all_problems(s);

        for (guint i = 0; i < p->len; i++) {
                const BhRuleProblem *x = g_ptr_array_index(p, i);
                g_autofree char *at = g_strdup_printf("%u:%u", x->pos.line, x->pos.column);

                if (x->error == error && g_str_equal(x->code, code) && (!place || g_str_equal(at, place)) && strstr(x->what, part))
                        return;
        }
        g_error("no %s %s at %s with \"%s\" in:\n%s", error ? "error" : "warning", code, place ? place : "any place", part, problems);
}

static inline void fails(const char *text, const char *code, const char *place, const char *part) {
        g_autoptr(BhRuleSet) s = load(text);

        has(s, TRUE, code, place, part);
}

static inline void warns(const char *text, const char *code, const char *place, const char *part) {
        g_autoptr(BhRuleSet) s = load(text);
        g_autofree char *problems = all_problems(s);

        if (bh_rule_set_errors(s))
                g_error("errors:\n%s", problems);
        has(s, FALSE, code, place, part);
}
