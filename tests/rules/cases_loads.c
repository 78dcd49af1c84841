/* SPDX-License-Identifier: Apache-2.0 */
/* Cases that load rule files: what is wrong with them, which rules come out, which of them fire, and what their alerts say. */
#include <string.h>

#include "cases.h"

/* What went wrong so far, one line each; empty: the case holds. */
typedef struct {
        GString *expected, *seen;
} Doubts;

G_GNUC_PRINTF(2, 3) static void doubt_expected(Doubts *d, const char *format, ...) {
        va_list args;

        va_start(args, format);
        g_string_append_vprintf(d->expected, format, args);
        g_string_append_c(d->expected, '\n');
        va_end(args);
}

G_GNUC_PRINTF(2, 3) static void doubt_seen(Doubts *d, const char *format, ...) {
        va_list args;

        va_start(args, format);
        g_string_append_vprintf(d->seen, format, args);
        g_string_append_c(d->seen, '\n');
        va_end(args);
}

static char *as_text(const json_t *v) {
        char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL, *copy = g_strdup(text ? text : "nothing");

        free(text);
        return copy;
}

/* One problem, of loading or of compiling. */
typedef struct {
        gboolean error;
        const char *code, *what, *object;
        struct bh_pos pos;
        gboolean taken;
} Problem;

typedef struct {
        BhRuleSet *set;
        BhRuleEngine *engine;
        GArray *problems; /* of Problem */
        GPtrArray *compiled;
} Loaded;

static void problem_free(gpointer data) {
        BhEngineProblem *p = data;

        g_free(p->what);
        g_free(p);
}

static void load(Loaded *l, const BhRuleSource *files, guint n, const BhRuleLoadOptions *options) {
        const GPtrArray *found;
        g_autoptr(GError) error = NULL;

        l->set = bh_rule_set_load(files, n, options);
        l->problems = g_array_new(FALSE, TRUE, sizeof(Problem));
        l->compiled = g_ptr_array_new_with_free_func(problem_free);
        found = bh_rule_set_problems(l->set);
        for (guint i = 0; i < found->len; i++) {
                const BhRuleProblem *p = g_ptr_array_index(found, i);
                Problem one = { p->error, p->code ? p->code : "", p->what ? p->what : "", p->object ? p->object : "", p->pos, FALSE };

                g_array_append_val(l->problems, one);
        }
        if (bh_rule_set_errors(l->set))
                return;
        l->engine = bh_rule_engine_new(l->set, NULL, l->compiled, &error);
        for (guint i = 0; i < l->compiled->len; i++) {
                const BhEngineProblem *p = g_ptr_array_index(l->compiled, i);
                Problem one = { p->error, p->error ? "LOAD_ERR_COMPILE_CONDITION" : "LOAD_COMPILE_CONDITION", p->what ? p->what : "", "", p->pos, FALSE };

                g_array_append_val(l->problems, one);
        }
}

static void unload(Loaded *l) {
        bh_rule_engine_unref(l->engine);
        bh_rule_set_unref(l->set);
        g_array_unref(l->problems);
        g_ptr_array_unref(l->compiled);
}

static gboolean problem_fits(const Problem *p, const json_t *want) {
        const char *code = json_string_value(json_object_get(want, "code")), *says = json_string_value(json_object_get(want, "says")), *object = json_string_value(json_object_get(want, "object"));
        const json_t *line = json_object_get(want, "line"), *column = json_object_get(want, "column"), *file = json_object_get(want, "file");

        return (!code || g_str_equal(code, p->code)) && (!says || strstr(p->what, says)) && (!object || strstr(p->object, object)) &&
               (!line || json_integer_value(line) == p->pos.line) && (!column || json_integer_value(column) == p->pos.column) &&
               (!file || json_integer_value(file) == p->pos.file);
}

/* Each wanted problem is there. Errors: no other is. Warnings: others may be, but where none is wanted there is none. */
static void check_problems(Doubts *d, const Loaded *l, const json_t *wanted, gboolean errors, const char *name) {
        static const char *const keys[] = { "code", "says", "object", "line", "column", "file", NULL };
        gboolean right = TRUE;
        guint n = 0;
        const json_t *want;
        size_t i;

        for (guint k = 0; k < l->problems->len; k++)
                n += g_array_index(l->problems, Problem, k).error == errors;
        json_array_foreach(wanted, i, want) {
                gboolean found = FALSE;

                bh_case_only(want, name, keys);
                if (!json_object_size(want))
                        bh_case_bail("%s: a problem without anything to know it by", name);
                for (guint k = 0; k < l->problems->len && !found; k++) {
                        Problem *p = &g_array_index(l->problems, Problem, k);

                        if (p->error == errors && !p->taken && problem_fits(p, want))
                                p->taken = found = TRUE;
                }
                right = right && found;
        }
        if (errors ? n != json_array_size(wanted) : wanted && !json_array_size(wanted) && n)
                right = FALSE;
        if (right)
                return;

        g_autofree char *text = as_text(wanted);
        doubt_expected(d, "%s: %s", errors ? "errors" : "warnings", wanted ? text : "none");
        for (guint k = 0; k < l->problems->len; k++) {
                const Problem *p = &g_array_index(l->problems, Problem, k);

                if (p->error == errors)
                        doubt_seen(d, "%s %u:%u:%u %s: %s (%s)", errors ? "error" : "warning", p->pos.file, p->pos.line, p->pos.column, p->code, p->what, p->object);
        }
        if (!n)
                doubt_seen(d, "no %s", errors ? "error" : "warning");
}

static const BhRule *rule_named(const Loaded *l, const char *name, guint *index) {
        const GPtrArray *rules = bh_rule_set_rules(l->set);

        for (guint i = 0; i < rules->len; i++) {
                const BhRule *r = g_ptr_array_index(rules, i);

                if (g_str_equal(r->name, name)) {
                        *index = i;
                        return r;
                }
        }
        return NULL;
}

static void check_text(Doubts *d, const char *rule, const char *what, const json_t *wanted, const char *seen) {
        if (wanted && g_strcmp0(json_string_value(wanted), seen)) {
                doubt_expected(d, "%s of %s: %s", what, rule, json_string_value(wanted));
                doubt_seen(d, "%s of %s: %s", what, rule, seen ? seen : "none");
        }
}

static void check_bool(Doubts *d, const char *rule, const char *what, const json_t *wanted, gboolean seen) {
        if (wanted && json_is_true(wanted) != !!seen) {
                doubt_expected(d, "%s of %s: %s", what, rule, json_is_true(wanted) ? "true" : "false");
                doubt_seen(d, "%s of %s: %s", what, rule, seen ? "true" : "false");
        }
}

/* A set: the order of tags is no one's promise. */
static void check_tags(Doubts *d, const BhRule *r, const json_t *wanted) {
        gboolean right = !wanted || json_array_size(wanted) == r->tags->len;
        const json_t *tag;
        size_t i;

        json_array_foreach(wanted, i, tag)
                right = right && g_ptr_array_find_with_equal_func(r->tags, json_string_value(tag), g_str_equal, NULL);
        if (right)
                return;

        g_autofree char *text = as_text(wanted);
        doubt_expected(d, "tags of %s: %s", r->name, text);
        doubt_seen(d, "tags of %s:", r->name);
        for (guint k = 0; k < r->tags->len; k++)
                doubt_seen(d, "  %s", (const char *) g_ptr_array_index(r->tags, k));
}

/* The rule's condition is the tree of that text; exceptions are in it. */
static void check_condition(Doubts *d, const BhRule *r, const json_t *wanted) {
        const char *text = json_string_value(wanted);
        g_autoptr(GError) error = NULL;
        g_autoptr(BhCond) tree = text ? bh_condition_parse(text, strlen(text), &error) : NULL;
        g_autofree char *want = tree ? bh_cond_to_text(tree) : NULL, *seen = r->condition ? bh_cond_to_text(r->condition) : NULL;

        if (!text || (want && g_strcmp0(want, seen) == 0))
                return;
        doubt_expected(d, "condition of %s: %s", r->name, want ? want : text);
        doubt_seen(d, "condition of %s: %s%s", r->name, seen ? seen : "none", error ? error->message : "");
}

static void check_rules(Doubts *d, const Loaded *l, const json_t *wanted, const char *of) {
        static const char *const keys[] = { "priority", "source", "desc", "output", "tags", "enabled", "skipped", "condition", NULL };
        const char *name;
        json_t *want;

        json_object_foreach((json_t *) wanted, name, want) {
                guint index;
                const BhRule *r = rule_named(l, name, &index);

                bh_case_only(want, of, keys);
                if (!json_object_size(want))
                        bh_case_bail("%s: nothing is expected of rule %s", of, name);
                if (!r) {
                        doubt_expected(d, "a rule %s", name);
                        doubt_seen(d, "no rule %s", name);
                        continue;
                }
                check_text(d, name, "priority", json_object_get(want, "priority"), bh_priority_name(r->priority));
                check_text(d, name, "source", json_object_get(want, "source"), r->source);
                check_text(d, name, "desc", json_object_get(want, "desc"), r->desc);
                check_text(d, name, "output", json_object_get(want, "output"), r->output);
                check_bool(d, name, "enabled", json_object_get(want, "enabled"), r->enabled);
                check_bool(d, name, "skipped", json_object_get(want, "skipped"), r->skipped);
                check_tags(d, r, json_object_get(want, "tags"));
                check_condition(d, r, json_object_get(want, "condition"));
        }
}

static void check_order(Doubts *d, const Loaded *l, const json_t *wanted) {
        const GPtrArray *rules = bh_rule_set_rules(l->set);
        gboolean right = json_array_size(wanted) == rules->len;

        for (guint i = 0; right && i < rules->len; i++)
                right = g_strcmp0(json_string_value(json_array_get(wanted, i)), ((const BhRule *) g_ptr_array_index(rules, i))->name) == 0;
        if (right)
                return;

        g_autofree char *text = as_text(wanted);
        doubt_expected(d, "rules: %s", text);
        doubt_seen(d, "rules:");
        for (guint i = 0; i < rules->len; i++)
                doubt_seen(d, "  %s", ((const BhRule *) g_ptr_array_index(rules, i))->name);
}

/* Which rules fire, in order. */
static void check_fires(Doubts *d, const Loaded *l, const BhCaseEvents *events, const json_t *wanted) {
        const GPtrArray *rules = bh_rule_set_rules(l->set);
        const char *name;
        json_t *want;

        json_object_foreach((json_t *) wanted, name, want) {
                const BhCaseEvent *event = bh_case_event(events, name);
                g_autoptr(BhRuleRun) run = bh_rule_run_new();
                json_t *seen = json_array();
                const guint32 *matches = NULL;
                guint n = l->engine ? bh_rule_run_event(run, l->engine, event->event, bh_case_lineage(event), &matches) : 0;

                for (guint i = 0; i < n; i++)
                        json_array_append_new(seen, json_string(((const BhRule *) g_ptr_array_index(rules, matches[i]))->name));
                if (!l->engine || !json_equal(seen, want)) {
                        g_autofree char *a = as_text(want), *b = as_text(seen);

                        doubt_expected(d, "event %s fires %s", name, a);
                        doubt_seen(d, "event %s fires %s", name, l->engine ? b : "nothing: there is no engine");
                }
                json_decref(seen);
        }
}

/* The alert of a rule for an event. `fields`: these members have these values. `absent`: these are no members. */
static void check_alert(Doubts *d, const Loaded *l, const BhCaseEvents *events, const json_t *want, const char *of) {
        const BhCaseEvent *event = bh_case_event(events, bh_case_text(want, "event", of));
        const char *rule = json_string_value(json_object_get(want, "rule")), *text = json_string_value(json_object_get(want, "text")), *key;
        g_autoptr(GString) output = g_string_new(NULL), fields = g_string_new(NULL);
        g_autoptr(BhRuleRun) run = bh_rule_run_new();
        const guint32 *matches;
        gboolean matched = FALSE;
        guint index = 0;
        json_t *value;
        size_t i;

        if (!text && !json_object_get(want, "fields") && !json_object_get(want, "absent"))
                bh_case_bail("%s: nothing is expected of the alert", of);
        if (!l->engine || !rule_named(l, rule ? rule : "r", &index)) {
                doubt_expected(d, "a rule that can be run");
                doubt_seen(d, "none");
                return;
        }

        guint n = bh_rule_run_event(run, l->engine, event->event, bh_case_lineage(event), &matches);
        for (guint k = 0; k < n; k++)
                matched = matched || matches[k] == index;
        if (!matched) {
                doubt_expected(d, "the rule matches");
                doubt_seen(d, "it does not");
                return;
        }
        bh_rule_run_output(run, l->engine, index, output, fields);
        if (text && !g_str_equal(text, output->str)) {
                doubt_expected(d, "text: %s", text);
                doubt_seen(d, "text: %s", output->str);
        }

        json_error_t why;
        json_t *seen = json_loadb(fields->str, fields->len, 0, &why);

        if (!json_is_object(seen)) {
                doubt_expected(d, "fields are a JSON object");
                doubt_seen(d, "%s: %s", fields->str, why.text);
        }
        json_object_foreach(json_object_get(want, "fields"), key, value) {
                json_t *got = json_object_get(seen, key);

                if (!got || !json_equal(got, value)) {
                        g_autofree char *a = as_text(value), *b = as_text(got);

                        doubt_expected(d, "field %s: %s", key, a);
                        doubt_seen(d, "field %s: %s", key, b);
                }
        }
        json_array_foreach(json_object_get(want, "absent"), i, value) {
                if (json_object_get(seen, json_string_value(value))) {
                        doubt_expected(d, "no field %s", json_string_value(value));
                        doubt_seen(d, "fields: %s", fields->str);
                }
        }
        json_decref(seen);
}

static void doubts_end(Doubts *d, const char *name, const json_t *spec) {
        bh_case_result(name, spec, !d->expected->len && !d->seen->len, d->expected->str, d->seen->str);
        g_string_free(d->expected, TRUE);
        g_string_free(d->seen, TRUE);
}

/* One output: a rule around it that matches each event of its source. */
void bh_case_run_formats(const json_t *file, const BhCaseEvents *events) {
        static const char *const keys[] = { "name", "event", "output", "text", "fields", "absent", "refused", "source", "deviation", NULL };
        json_t *spec;
        size_t i;

        json_array_foreach(json_object_get(file, "formats"), i, spec) {
                const char *name = bh_case_text(spec, "name", "a format"), *source = json_string_value(json_object_get(spec, "source"));
                Doubts d = { g_string_new(NULL), g_string_new(NULL) };
                g_autofree char *output = NULL, *rules = NULL;

                bh_case_only(spec, name, keys);
                bh_case_get(spec, "output", JSON_STRING, name);
                output = as_text(json_object_get(spec, "output"));
                rules = g_strdup_printf("- rule: r\n  desc: d\n  source: %s\n  condition: evt.type exists\n  priority: Notice\n  output: %s\n", source ? source : "syscall", output);

                BhRuleSource one = { name, rules, strlen(rules) };
                Loaded l = { 0 };

                load(&l, &one, 1, NULL);
                if (json_is_true(json_object_get(spec, "refused"))) {
                        gboolean refused = FALSE;

                        for (guint k = 0; k < l.problems->len; k++)
                                refused = refused || g_array_index(l.problems, Problem, k).error;
                        if (!refused) {
                                doubt_expected(&d, "%s is refused", output);
                                doubt_seen(&d, "accepted");
                        }
                } else {
                        check_problems(&d, &l, NULL, TRUE, name);
                        check_alert(&d, &l, events, spec, name);
                }
                unload(&l);
                doubts_end(&d, name, spec);
        }
}

/* rules: one text, or a list of texts, which are files 0, 1, … */
static BhRuleSource *sources_of(const json_t *spec, const char *name, guint *n) {
        const json_t *rules = json_object_get(spec, "rules");
        BhRuleSource *files;

        *n = json_is_array(rules) ? (guint) json_array_size(rules) : 1;
        files = g_new0(BhRuleSource, *n);
        for (guint i = 0; i < *n; i++) {
                const json_t *text = json_is_array(rules) ? json_array_get(rules, i) : rules;

                if (!json_is_string(text))
                        bh_case_bail("%s: rules must be text", name);
                files[i] = (BhRuleSource){ i ? "second.yaml" : "first.yaml", json_string_value(text), json_string_length(text) };
        }
        return files;
}

void bh_case_run_loads(const json_t *file, const BhCaseEvents *events) {
        static const char *const keys[] = { "name", "rules", "matching", "deviation", "errors", "warnings", "order", "rule", "fires", "alerts", "loads", NULL };
        json_t *spec, *alert;
        size_t i, k;

        json_array_foreach(json_object_get(file, "loads"), i, spec) {
                const char *name = bh_case_text(spec, "name", "a load");
                const json_t *order = json_object_get(spec, "order");
                g_autofree BhRuleSource *files = NULL;
                BhRuleLoadOptions options = { NULL, g_strcmp0(json_string_value(json_object_get(spec, "matching")), "all") == 0 };
                Doubts d = { g_string_new(NULL), g_string_new(NULL) };
                Loaded l = { 0 };
                guint n;

                bh_case_only(spec, name, keys);
                if (!json_array_size(json_object_get(spec, "errors")) && !json_object_get(spec, "warnings") && !order && !json_object_size(json_object_get(spec, "rule")) &&
                    !json_object_size(json_object_get(spec, "fires")) && !json_array_size(json_object_get(spec, "alerts")) && !json_is_true(json_object_get(spec, "loads")))
                        bh_case_bail("%s: it expects nothing", name);
                files = sources_of(spec, name, &n);
                load(&l, files, n, &options);
                check_problems(&d, &l, json_object_get(spec, "errors"), TRUE, name);
                if (json_object_get(spec, "warnings"))
                        check_problems(&d, &l, json_object_get(spec, "warnings"), FALSE, name);
                if (order)
                        check_order(&d, &l, order);
                check_rules(&d, &l, json_object_get(spec, "rule"), name);
                check_fires(&d, &l, events, json_object_get(spec, "fires"));
                json_array_foreach(json_object_get(spec, "alerts"), k, alert)
                        check_alert(&d, &l, events, alert, name);
                unload(&l);
                doubts_end(&d, name, spec);
        }
}
