/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "commands.h"
#include "output.h"
#include "rules_managed.h"
#include "rules/ruleset.h"
#include "rules/engine.h"

/* JSON strings are UTF-8: what is not is escaped. */
static json_t *text(const char *s) {
        if (g_utf8_validate(s, -1, NULL))
                return json_string(s);
        g_autofree char *cell = bh_escape_cell(s, -1);
        return json_string(cell);
}

/* What loading and compiling said, in one list. */
typedef struct {
        const BhRuleSet *set;
        GPtrArray *compiled; /* of BhEngineProblem */
        guint rules, enabled, skipped;
        guint64 errors, warnings;
} Checked;

static json_t *problem_json(const Checked *c, const BhRuleProblem *p) {
        json_t *o = json_object();

        json_object_set_new(o, "severity", json_string(p->error ? "error" : "warning"));
        json_object_set_new(o, "file", text(bh_rule_set_file(c->set, p->pos.file)));
        json_object_set_new(o, "line", json_integer(p->pos.line));
        json_object_set_new(o, "column", json_integer(p->pos.column));
        json_object_set_new(o, "code", json_string(p->code));
        json_object_set_new(o, "message", text(p->what));
        json_object_set_new(o, "object", p->object ? text(p->object) : json_null());
        return o;
}

static void each_problem(const Checked *c, void (*one)(const Checked *c, const BhRuleProblem *p, gpointer user), gpointer user) {
        const GPtrArray *problems = bh_rule_set_problems(c->set), *rules = bh_rule_set_rules(c->set);

        for (guint i = 0; i < problems->len; i++)
                one(c, g_ptr_array_index(problems, i), user);
        for (guint i = 0; i < c->compiled->len; i++) {
                const BhEngineProblem *e = g_ptr_array_index(c->compiled, i);
                g_autoptr(GString) object = g_string_new("rule ");
                BhRuleProblem p = { .error = e->error, .pos = e->pos, .code = (char *) (e->error ? "LOAD_ERR_COMPILE_CONDITION" : "LOAD_COMPILE_CONDITION"), .what = e->what };

                if (e->rule < rules->len) {
                        bh_escape_append_quoted(object, ((const BhRule *) g_ptr_array_index(rules, e->rule))->name, -1);
                        p.object = object->str;
                }
                one(c, &p, user);
        }
}

static void add_json(const Checked *c, const BhRuleProblem *p, gpointer list) {
        json_array_append_new(list, problem_json(c, p));
}

static void print_json(const Checked *c) {
        json_auto_t *o = json_object();
        json_t *list = json_array();

        each_problem(c, add_json, list);
        json_object_set_new(o, "ok", json_boolean(!c->errors));
        json_object_set_new(o, "rules", json_integer(c->rules));
        json_object_set_new(o, "enabled", json_integer(c->enabled));
        json_object_set_new(o, "skipped", json_integer(c->skipped));
        json_object_set_new(o, "macros", json_integer(bh_rule_set_macros(c->set)));
        json_object_set_new(o, "lists", json_integer(bh_rule_set_lists(c->set)));
        json_object_set_new(o, "errors", json_integer((json_int_t) c->errors));
        json_object_set_new(o, "warnings", json_integer((json_int_t) c->warnings));
        json_object_set_new(o, "problems", list);
        bh_out_json(o);
}

static const char *plural(guint64 n) {
        return n == 1 ? "" : "s";
}

static void print_line(const Checked *c, const BhRuleProblem *p, gpointer user) {
        g_autofree char *line = bh_rule_problem_text(c->set, p);

        printf("%s%s%s\n", bh_out_style(p->error ? BH_STYLE_BAD : BH_STYLE_DIM), line, bh_out_style(BH_STYLE_NONE));
}

static void print_text(const Checked *c) {
        guint shown = bh_rule_set_problems(c->set)->len + c->compiled->len, macros = bh_rule_set_macros(c->set), lists = bh_rule_set_lists(c->set);

        each_problem(c, print_line, NULL);
        if (c->errors + c->warnings > shown)
                printf("… and %" G_GUINT64_FORMAT " more\n", c->errors + c->warnings - shown);
        printf("%u rule%s (%u enabled", c->rules, plural(c->rules), c->enabled);
        if (c->skipped)
                printf(", %u skipped", c->skipped);
        printf("), %u macro%s, %u list%s: %" G_GUINT64_FORMAT " error%s, %" G_GUINT64_FORMAT " warning%s\n", macros, plural(macros), lists, plural(lists), c->errors, plural(c->errors),
               c->warnings, plural(c->warnings));
}

static int check(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object with all problems", NULL },
                G_OPTION_ENTRY_NULL,
        };

        if (!bh_cli_parse(&argc, &argv, entries, "FILE...", "Checks rule files, in the order in which they would be loaded, and says everything that is wrong with them.",
                          "Later files can change what earlier ones define. A file that is a map with append_output or rule_matching\n"
                          "holds settings. Exit status: 0 no error (warnings there may be), 1 an error, 2 wrong usage.\n"))
                return BH_EXIT_USAGE;
        if (argc < 2)
                return bh_cli_usage("it takes the rule files to check");
        g_autofree BhRuleSource *files = g_new0(BhRuleSource, (gsize) argc - 1);
        for (int i = 1; i < argc; i++)
                files[i - 1].name = argv[i];
        g_autoptr(BhRuleSet) set = bh_rule_set_load(files, (guint) argc - 1, NULL);
        g_autoptr(GPtrArray) compiled = g_ptr_array_new();
        Checked c = { .set = set, .compiled = compiled, .errors = bh_rule_set_errors(set), .warnings = bh_rule_set_warnings(set) };
        const GPtrArray *rules = bh_rule_set_rules(set);
        c.rules = rules->len;
        for (guint i = 0; i < rules->len; i++) {
                const BhRule *r = g_ptr_array_index(rules, i);

                c.enabled += r->enabled && r->condition && !r->skipped;
                c.skipped += r->skipped != 0;
        }
        /* patterns, and fields that no event has, are the compiler's to say */
        g_autoptr(BhRuleEngine) engine = c.errors ? NULL : bh_rule_engine_new(set, NULL, compiled, NULL);
        for (guint i = 0; i < compiled->len; i++) {
                if (((const BhEngineProblem *) g_ptr_array_index(compiled, i))->error)
                        c.errors++;
                else
                        c.warnings++;
        }
        if (json)
                print_json(&c);
        else
                print_text(&c);
        int status = bh_out_finish();
        return c.errors ? BH_EXIT_FAILED : status;
}

static json_t *sources_json(guint sources) {
        json_t *a = json_array();

        if (sources & BH_RS_SYSCALL)
                json_array_append_new(a, json_string("syscall"));
        if (sources & BH_RS_RUNTIME)
                json_array_append_new(a, json_string("container"));
        if (sources & BH_RS_SENSOR)
                json_array_append_new(a, json_string("sensor"));
        return a;
}

static int fields(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "FIELD", "TYPE", "MEANING", NULL };
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        guint n;

        if (!bh_cli_parse(&argc, &argv, entries, "[PREFIX]", "Lists the fields that rules can use, with type and meaning.", "PREFIX: only fields whose names begin with it, as in \"fd.\".\n"))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one prefix at most");
        const BhRuleField *rows = bh_rule_fields(&n);
        g_autoptr(BhTable) t = bh_table_new(headers);
        for (guint i = 0; i < n; i++) {
                const BhRuleField *f = &rows[i];

                if (argc > 1 && !g_str_has_prefix(f->name, argv[1]))
                        continue;
                g_autofree char *type = g_strdup_printf("%s%s", f->list ? "list of " : "", bh_rule_type_name(f->type));
                if (json) {
                        json_auto_t *o = json_pack("{s:s, s:s, s:b, s:s, s:s?}", "name", f->name, "type", bh_rule_type_name(f->type), "list", f->list, "meaning", f->doc, "why_not", f->why_not);

                        json_object_set_new(o, "argument", json_string(f->arg == BH_RA_NONE ? "none" : f->arg == BH_RA_INDEX ? "number" : f->arg == BH_RA_INDEX_OPT ? "number, optional"
                                                                              : f->arg == BH_RA_NAME                                                                ? "name"
                                                                                                                                                                    : "name, optional"));
                        json_object_set_new(o, "sources", sources_json(f->sources));
                        json_object_set_new(o, "deprecated", json_boolean(f->flags & BH_FF_DEPRECATED));
                        bh_out_json(o);
                        continue;
                }
                g_autofree char *name = g_strdup_printf("%s%s", f->name, bh_rule_arg_form(f->arg));
                g_autofree char *doc = f->why_not ? g_strdup_printf("%s Never has a value: %s.", f->doc, f->why_not) : g_strdup(f->doc);
                bh_table_cell(t, name, f->why_not ? BH_STYLE_DIM : BH_STYLE_NONE);
                bh_table_cell(t, type, BH_STYLE_DIM);
                bh_table_cell(t, doc, f->why_not ? BH_STYLE_DIM : BH_STYLE_NONE);
        }
        if (!json)
                bh_table_print(t);
        return bh_out_finish();
}

int bh_cmd_rules(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "check", "FILE...", "say what is wrong with rule files", check },
                { "fields", "[PREFIX]", "the fields that rules can use", fields },
                { "list", "", "the rules that the nodes evaluate", bh_rules_list },
                { "files", "", "the rule files that the central manages", bh_rules_files },
                { "show", "NAME", "print one of them", bh_rules_show },
                { "set", "NAME FILE", "give the central a rule file, for every node", bh_rules_set },
                { "preview", "FILE", "what its rules would have matched", bh_rules_preview },
                { "remove", "NAME", "take one away", bh_rules_remove },
                { "reload", "", "let the nodes read their rule files anew", bh_rules_reload },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Rules, in the Falco rule language.", paths, argc, argv);
}
