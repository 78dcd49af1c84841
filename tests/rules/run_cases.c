/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the conformance cases of the rule language: data files beside this one (README.md has their form), each expectation derived from what the
 * language says. TAP on standard output; a failure prints the case, what was expected and what was seen. A file whose form is wrong, or with a case that expects nothing, ends
 * the run: such a case could not fail.
 *
 *     run-cases [--at-least N] FILE...
 */
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "cases_yaml.h"

static guint number, failed;
static const char *file_name;

void bh_case_bail(const char *format, ...) {
        g_autofree char *what = NULL;
        va_list args;

        va_start(args, format);
        what = g_strdup_vprintf(format, args);
        va_end(args);
        printf("Bail out! %s: %s\n", file_name ? file_name : "cases", what);
        fflush(stdout);
        _Exit(2);
}

static void print_lines(const char *head, const char *text) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (guint i = 0; lines[i]; i++)
                printf("#   %-9s %s\n", i ? "" : head, lines[i]);
}

void bh_case_result(const char *name, const json_t *spec, gboolean ok, const char *expected, const char *seen) {
        const char *deviation = json_is_object(spec) ? json_string_value(json_object_get(spec, "deviation")) : NULL;
        g_autofree char *label = g_strdup_printf("%s: %s%s%s%s", file_name, name, deviation ? " (differs from the public engine: " : "", deviation ? deviation : "", deviation ? ")" : "");

        g_strdelimit(label, "#\n", ' ');
        printf("%sok %u - %s\n", ok ? "" : "not ", ++number, label);
        if (!ok) {
                failed++;
                print_lines("expected:", expected);
                print_lines("seen:", seen);
        }
}

const json_t *bh_case_get(const json_t *object, const char *key, json_type type, const char *of) {
        const json_t *v = json_object_get(object, key);

        if (!v)
                bh_case_bail("%s: \"%s\" is missing", of, key);
        if (json_typeof(v) != type)
                bh_case_bail("%s: \"%s\" is of the wrong type", of, key);
        return v;
}

const char *bh_case_text(const json_t *object, const char *key, const char *of) {
        return json_string_value(bh_case_get(object, key, JSON_STRING, of));
}

void bh_case_only(const json_t *object, const char *of, const char *const *allowed) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) object, key, value) {
                if (!g_strv_contains(allowed, key))
                        bh_case_bail("%s: nobody looks at \"%s\"", of, key);
        }
}

/* A case that is only a condition: text, or a mapping with more to say about it. `open` and `close` stand `times` times around it. Free it. */
static char *condition_of(const json_t *spec, const char *name) {
        static const char *const keys[] = { "condition", "says", "at", "deviation", "open", "times", "close", NULL };
        GString *whole = g_string_new(NULL);
        json_int_t times;

        if (json_is_string(spec))
                return g_string_free(g_string_append(whole, json_string_value(spec)), FALSE);
        if (!json_is_object(spec))
                bh_case_bail("%s: it is neither a condition nor a mapping", name);
        bh_case_only(spec, name, keys);
        times = json_integer_value(json_object_get(spec, "times"));
        for (json_int_t i = 0; i < times; i++)
                g_string_append(whole, bh_case_text(spec, "open", name));
        g_string_append(whole, bh_case_text(spec, "condition", name));
        for (json_int_t i = 0; i < times; i++)
                g_string_append(whole, bh_case_text(spec, "close", name));
        return g_string_free(whole, FALSE);
}

static void run_truth(const json_t *group, const char *about, const BhCaseEvent *event, gboolean expected) {
        const char *name;
        json_t *spec;

        json_object_foreach(json_object_get(group, expected ? "true" : "false"), name, spec) {
                g_autofree char *condition = condition_of(spec, name);
                g_autoptr(GError) error = NULL;
                BhCond *tree = bh_condition_parse(condition, strlen(condition), &error);
                g_autoptr(BhRuleEngine) engine = tree ? bh_rule_engine_new_filter(tree, &error) : NULL;
                g_autofree char *want = g_strdup_printf("%s is %s (%s)", condition, expected ? "true" : "false", about);
                g_autofree char *seen = NULL;
                gboolean matched = FALSE;

                if (engine) {
                        g_autoptr(BhRuleRun) run = bh_rule_run_new();
                        const guint32 *matches;

                        matched = bh_rule_run_event(run, engine, event->event, bh_case_lineage(event), &matches) > 0;
                        seen = g_strdup(matched ? "true" : "false");
                } else {
                        seen = g_strdup_printf("refused: %s", error ? error->message : "(without a reason)");
                }
                bh_case_result(name, spec, engine && matched == expected, want, seen);
        }
}

static void run_groups(const json_t *file, const BhCaseEvents *events) {
        static const char *const keys[] = { "about", "event", "true", "false", NULL };
        const json_t *group;
        size_t i;

        json_array_foreach(json_object_get(file, "groups"), i, group) {
                const char *about = bh_case_text(group, "about", "a group");
                const BhCaseEvent *event = bh_case_event(events, bh_case_text(group, "event", about));

                bh_case_only(group, about, keys);
                if (!json_object_size(json_object_get(group, "true")) && !json_object_size(json_object_get(group, "false")))
                        bh_case_bail("%s: it expects nothing", about);
                run_truth(group, about, event, TRUE);
                run_truth(group, about, event, FALSE);
        }
}

/* Conditions that must be refused: when parsed or when compiled. `at` is line:column, `says` a part of the message. */
static void run_refused(const json_t *file) {
        const char *name;
        json_t *spec;

        json_object_foreach(json_object_get(file, "refused"), name, spec) {
                g_autofree char *condition = condition_of(spec, name);
                const char *says = json_string_value(json_object_get(spec, "says")), *at = json_string_value(json_object_get(spec, "at"));
                g_autoptr(GError) error = NULL;
                BhCond *tree = bh_condition_parse(condition, strlen(condition), &error);
                g_autoptr(BhRuleEngine) engine = tree ? bh_rule_engine_new_filter(tree, &error) : NULL;
                g_autofree char *want = g_strdup_printf("%.200s is refused%s%s%s%s", condition, says ? " and the message speaks of " : "", says ? says : "", at ? " at " : "", at ? at : "");
                const char *message = error ? error->message : "";
                gboolean ok = !engine && *message && (!says || strstr(message, says)) && (!at || strstr(message, at));

                bh_case_result(name, spec, ok, want, engine ? "accepted" : *message ? message : "refused without a reason");
        }
}

static void run_accepted(const json_t *file) {
        const char *name;
        json_t *spec;

        json_object_foreach(json_object_get(file, "accepted"), name, spec) {
                g_autofree char *condition = condition_of(spec, name);
                g_autoptr(GError) error = NULL;
                BhCond *tree = bh_condition_parse(condition, strlen(condition), &error);
                g_autoptr(BhRuleEngine) engine = tree ? bh_rule_engine_new_filter(tree, &error) : NULL;
                g_autofree char *want = g_strdup_printf("%.200s is accepted", condition);

                bh_case_result(name, spec, engine != NULL, want, engine ? "accepted" : error ? error->message : "refused without a reason");
        }
}

/* Pairs of conditions whose trees are, or are not, the same. */
static void run_trees(const json_t *file, const char *key, gboolean same) {
        const char *name;
        json_t *pair;

        json_object_foreach(json_object_get(file, key), name, pair) {
                const char *conditions[2] = { json_string_value(json_array_get(pair, 0)), json_string_value(json_array_get(pair, 1)) };
                char *text[2] = { NULL, NULL };
                g_autofree char *want = NULL, *seen = NULL;
                g_autoptr(GError) error = NULL;

                if (json_array_size(pair) != 2 || !conditions[0] || !conditions[1])
                        bh_case_bail("%s: it is no pair of conditions", name);
                for (guint i = 0; i < 2 && !error; i++) {
                        g_autoptr(BhCond) tree = bh_condition_parse(conditions[i], strlen(conditions[i]), &error);

                        text[i] = tree ? bh_cond_to_text(tree) : NULL;
                }
                want = g_strdup_printf("%s trees: %s | %s", same ? "the same" : "different", conditions[0], conditions[1]);
                seen = text[0] && text[1] ? g_strdup_printf("%s | %s", text[0], text[1]) : g_strdup_printf("refused: %s", error ? error->message : "(without a reason)");
                bh_case_result(name, NULL, text[0] && text[1] && g_str_equal(text[0], text[1]) == same, want, seen);
                g_free(text[0]);
                g_free(text[1]);
        }
}

/* What a field is shown as: null is missing. */
static void run_shown(const json_t *file, const BhCaseEvents *events) {
        static const char *const keys[] = { "event", "is", NULL };
        const json_t *group;
        json_t *pair;
        const char *name;
        size_t i;

        json_array_foreach(json_object_get(file, "shown"), i, group) {
                const BhCaseEvent *event = bh_case_event(events, bh_case_text(group, "event", "shown"));

                bh_case_only(group, "shown", keys);
                json_object_foreach((json_t *) bh_case_get(group, "is", JSON_OBJECT, "shown"), name, pair) {
                        const char *field = json_string_value(json_array_get(pair, 0)), *value = json_string_value(json_array_get(pair, 1));
                        g_autofree char *condition = g_strdup_printf("%s exists", field ? field : ""), *want = NULL, *seen = NULL;
                        g_autoptr(BhRuleRun) run = bh_rule_run_new();
                        g_autoptr(GString) out = g_string_new(NULL);
                        g_autoptr(GError) error = NULL;

                        if (json_array_size(pair) != 2 || !field || (!value && !json_is_null(json_array_get(pair, 1))))
                                bh_case_bail("%s: it is not [field, text or null]", name);

                        g_autoptr(BhCond) tree = bh_condition_parse(condition, strlen(condition), &error);
                        gboolean there = tree && tree->left && bh_rule_run_field(run, event->event, bh_case_lineage(event), tree->left, out);

                        want = g_strdup_printf("%s is %s", field, value ? value : "missing");
                        seen = tree ? g_strdup(there ? out->str : "missing") : g_strdup_printf("refused: %s", error ? error->message : "");
                        bh_case_result(name, NULL, tree && (value ? there && g_str_equal(out->str, value) : !there), want, seen);
                }
        }
}

static void run_file(const char *path) {
        static const char *const keys[] = { "about", "base", "events", "groups", "refused", "accepted", "same", "different", "shown", "formats", "loads", NULL };
        g_autofree char *base = g_path_get_basename(path);
        g_autoptr(GError) error = NULL;
        guint before = number;

        file_name = base;
        json_t *file = bh_cases_read(path, &error);

        if (!file)
                bh_case_bail("%s", error->message);
        bh_case_only(file, "the file", keys);

        BhCaseEvents *events = bh_case_events_new(file);

        run_groups(file, events);
        run_refused(file);
        run_accepted(file);
        run_trees(file, "same", TRUE);
        run_trees(file, "different", FALSE);
        run_shown(file, events);
        bh_case_run_formats(file, events);
        bh_case_run_loads(file, events);
        if (number == before)
                bh_case_bail("there is no case in it");
        bh_case_events_free(events);
        json_decref(file);
}

int main(int argc, char **argv) {
        guint at_least = 0;
        int i = 1;

        setvbuf(stdout, NULL, _IOLBF, 0);
        if (argc > 2 && g_str_equal(argv[1], "--at-least")) {
                at_least = (guint) g_ascii_strtoull(argv[2], NULL, 10);
                i = 3;
        }
        if (i >= argc) {
                fprintf(stderr, "usage: run-cases [--at-least N] FILE...\n");
                return 2;
        }
        for (; i < argc; i++)
                run_file(argv[i]);
        file_name = NULL;
        if (number < at_least)
                bh_case_bail("%u cases were run, %u are promised", number, at_least);
        printf("1..%u\n", number);
        return failed ? 1 : 0;
}
