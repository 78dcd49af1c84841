/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files: whatever the bytes, a set comes out whose parts hold together. A NUL-free 0xff splits the input into two files. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "rules/ruleset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_operand(const BhOperand *o) {
        assert(o->kind != BH_OPERAND_LITERAL || o->text[o->len] == '\0');
        assert(o->kind != BH_OPERAND_FIELD || o->field);
        assert(o->kind != BH_OPERAND_TRANSFORM || o->args->len > 0);
        for (guint i = 0; o->args && i < o->args->len; i++)
                check_operand(g_ptr_array_index(o->args, i));
}

static guint check_condition(const BhCond *c, guint depth) {
        guint nodes = 1;

        assert(depth <= BH_RULES_DEPTH_MAX && (guint) c->kind <= BH_COND_CHECK);
        if (c->kind == BH_COND_CHECK) {
                assert(c->op < BH_OP_COUNT && c->left && !c->kids && !c->values == (c->op == BH_OP_EXISTS));
                assert(c->op >= BH_OP_IN || c->modifier != BH_MOD_NONE || !c->values || c->values->len == 1);
                check_operand(c->left);
                for (guint i = 0; c->values && i < c->values->len; i++)
                        check_operand(g_ptr_array_index(c->values, i));
                return nodes;
        }
        assert(c->kids && (c->kind == BH_COND_NOT ? c->kids->len == 1 : c->kids->len >= 2));
        for (guint i = 0; i < c->kids->len; i++)
                nodes += check_condition(g_ptr_array_index(c->kids, i), depth + 1);
        return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *cut = size ? memchr(data, 0xff, size) : NULL;
        gsize first = cut ? (gsize) (cut - data) : size;
        BhRuleSource files[] = { { "a", (const char *) data, first }, { "b", (const char *) (cut ? cut + 1 : data), cut ? size - first - 1 : 0 } };
        BhRuleSet *s = bh_rule_set_load(files, cut ? 2 : 1, NULL);
        const GPtrArray *rules = bh_rule_set_rules(s), *problems = bh_rule_set_problems(s);
        guint64 errors = 0;

        for (guint i = 0; i < rules->len; i++) {
                const BhRule *r = g_ptr_array_index(rules, i);

                assert(r->name && *r->name && r->source && r->pos.line);
                assert(r->condition || r->skipped || bh_rule_set_errors(s));
                if (!r->condition)
                        continue;
                assert(check_condition(r->condition, 1) <= 2 * BH_RULES_NODES_MAX);
                if (i < 4) {
                        char *text = bh_cond_to_text(r->condition);

                        assert(*text);
                        g_free(text);
                }
        }
        for (guint i = 0; i < problems->len; i++) {
                const BhRuleProblem *p = g_ptr_array_index(problems, i);
                char *text = bh_rule_problem_text(s, p);

                errors += p->error != 0;
                /* nothing of the file reaches a terminal as it is */
                for (const char *c = text; *c; c++)
                        assert((guchar) *c >= 0x20 && *c != 0x7f);
                assert(p->pos.line && p->pos.column && g_utf8_validate(text, -1, NULL));
                g_free(text);
        }
        assert(errors <= bh_rule_set_errors(s) && (errors > 0) == (bh_rule_set_errors(s) > 0));
        bh_rule_set_unref(s);
        return 0;
}
