/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead rules` over the API: what the nodes run, and the rule files that the central manages. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/fdio.h"
#include "commands.h"
#include "lists.h"
#include "output.h"
#include "rules_managed.h"

#define RULES "/api/v1/rules"
#define FILES RULES "/files"
#define FILE_MAX (512u << 10) /* what the API takes */

/* Options, the central, and the number of arguments. NULL: *code is the exit status. */
static BhApi *begin(const BhCliPaths *paths, int *argc, char ***argv, GOptionEntry *entries, gboolean sensor_too, const char *arguments, int wanted, const char *summary, const char *more,
                    int *code) {
        g_autoptr(GError) error = NULL;
        BhApi *api = NULL;

        *code = BH_EXIT_USAGE;
        if (!bh_cli_parse_api(argc, argv, entries, sensor_too, arguments, summary, more))
                return NULL;
        if (*argc - 1 != wanted) {
                bh_cli_usage(wanted ? "it takes %s" : "it takes no arguments but options%s", wanted ? arguments : "");
                return NULL;
        }
        *code = BH_EXIT_FAILED;
        if (!(api = bh_api_new(paths, &error)))
                bh_cli_fail(error);
        return api;
}

/* ---- what runs ---- */

static BhStyle priority_style(const char *priority) {
        static const char *const bad[] = { "Emergency", "Alert", "Critical", "Error", NULL };

        return g_strv_contains(bad, priority) ? BH_STYLE_BAD : BH_STYLE_NONE;
}

static void rule_row(BhTable *t, const json_t *rule, gboolean nodes) {
        gboolean runs = json_is_true(json_object_get(rule, "runs"));
        const char *priority = bh_json_text(rule, "priority");
        g_autofree char *place = g_path_get_basename(bh_json_text(rule, "file"));
        g_autofree char *at = g_strdup_printf("%s:%" G_GUINT64_FORMAT, place, bh_json_number(rule, "line"));

        bh_table_cell(t, bh_json_text(rule, "name"), runs ? BH_STYLE_NONE : BH_STYLE_DIM);
        bh_table_cell(t, priority, runs ? priority_style(priority) : BH_STYLE_DIM);
        bh_table_cell(t, !runs ? "off" : *bh_json_text(rule, "problem") ? "cannot match" : "on", runs && *bh_json_text(rule, "problem") ? BH_STYLE_BAD : BH_STYLE_DIM);
        bh_table_number(t, bh_json_number(rule, "matches"));
        if (nodes)
                bh_table_cell(t, bh_json_text(rule, "node"), BH_STYLE_DIM);
        bh_table_cell(t, at, BH_STYLE_DIM);
}

int bh_rules_list(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "RULE", "PRIORITY", "STATE", ">MATCHES", "WHERE", NULL }, *const headers_nodes[] = { "RULE", "PRIORITY", "STATE", ">MATCHES", "NODE", "WHERE", NULL };
        gboolean json = FALSE, all = FALSE;
        g_autofree char *node = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "also those that are off", NULL },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node (default: of all)", "NODE" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(RULES);
        g_autoptr(GHashTable) nodes = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GError) error = NULL;
        guint off = 0;
        json_t *rule, *one;
        size_t i;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, NULL, 0, "Lists the rules that the nodes evaluate, with how often each matched since it was loaded.", NULL, &code);
        if (!api)
                return code;
        bh_api_param(target, "node", node);
        json_auto_t *answer = bh_api_get(api, target->str, &error);
        if (!answer)
                return bh_cli_fail(error);
        json_array_foreach(json_object_get(answer, "nodes"), i, one) {
                g_hash_table_add(nodes, (gpointer) bh_json_text(one, "node"));
                if (*bh_json_text(one, "error")) {
                        g_autofree char *name = bh_json_cell(one, "node"), *why = bh_json_cell(one, "error");

                        fprintf(stderr, "bulkhead: node %s: %s\n", name, why);
                }
        }

        gboolean several = g_hash_table_size(nodes) > 1;
        g_autoptr(BhTable) t = bh_table_new(several ? headers_nodes : headers);
        json_array_foreach(json_object_get(answer, "rules"), i, rule) {
                gboolean runs = json_is_true(json_object_get(rule, "runs"));

                off += !runs;
                if (!runs && !all)
                        continue;
                if (json)
                        bh_out_json(rule);
                else
                        rule_row(t, rule, several);
        }
        if (!json) {
                bh_table_print(t);
                if (off && !all)
                        printf("%u more are off; --all shows them\n", off);
        }
        return bh_out_finish();
}

/* ---- managed files ---- */

int bh_rules_files(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "FILE", ">BYTES", "CHANGED", "BY", NULL };
        gboolean json = FALSE;
        GOptionEntry entries[] = { { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL }, G_OPTION_ENTRY_NULL };
        g_autoptr(GError) error = NULL;
        json_t *one;
        size_t i;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, NULL, 0, "Lists the rule files that the central manages, and whether the nodes took them.", NULL, &code);
        if (!api)
                return code;
        json_auto_t *answer = bh_api_get(api, FILES, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json) {
                bh_out_json(answer);
                return bh_out_finish();
        }
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_array_foreach(json_object_get(answer, "files"), i, one) {
                g_autofree char *when = bh_json_when(one, "changed");

                bh_table_cell(t, bh_json_text(one, "name"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(one, "bytes"));
                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "changed_by"), BH_STYLE_DIM);
        }
        if (json_array_size(json_object_get(answer, "files")))
                bh_table_print(t);
        else
                puts("no rule files are managed here; \"bulkhead rules set NAME FILE\" adds one");
        bh_list_nodes(answer, TRUE);
        return bh_out_finish();
}

int bh_rules_show(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = { { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL }, G_OPTION_ENTRY_NULL };
        g_autoptr(GString) target = g_string_new(FILES);
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, "NAME", 1, "Prints a rule file that the central manages.", NULL, &code);
        if (!api)
                return code;
        bh_api_segment(target, argv[1]);
        json_auto_t *answer = bh_api_get(api, target->str, &error);
        if (!answer)
                return bh_cli_fail(error);
        return bh_list_text(answer, json);
}

static void print_problems(const json_t *answer) {
        json_t *p;
        size_t i;

        json_array_foreach(json_object_get(answer, "problems"), i, p) {
                g_autofree char *file = bh_json_cell(p, "file"), *severity = bh_json_cell(p, "severity"), *what = bh_json_cell(p, "what"), *object = bh_json_cell(p, "object");

                fprintf(stderr, "%s:%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ": %s: %s%s%s%s\n", *file ? file : "rules", bh_json_number(p, "line"), bh_json_number(p, "column"), severity, what,
                        *object ? " (" : "", object, *object ? ")" : "");
        }
}

/* The text of a rule file as the central takes it; NULL: why not was said. Caller frees. */
static char *read_file(const char *path) {
        g_autoptr(GError) error = NULL;
        gboolean cut = FALSE;
        gsize len = 0;
        g_autofree char *text = bh_file_read(AT_FDCWD, path, FILE_MAX, &len, &cut, &error);

        if (!text) {
                bh_cli_fail(error);
                return NULL;
        }
        if (cut || strlen(text) != len || !g_utf8_validate(text, (gssize) len, NULL)) {
                fprintf(stderr, cut ? "bulkhead: %s has more than %u KiB, which is what the central takes: split it\n" : "bulkhead: %s is not UTF-8 text\n", path, FILE_MAX >> 10);
                return NULL;
        }
        return g_steal_pointer(&text);
}

int bh_rules_set(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, dry = FALSE;
        GOptionEntry entries[] = {
                { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry, "check only", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(FILES);
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, "NAME FILE", 2, "Gives the central a rule file, for every node.",
                                     "It is checked together with the default rules and the other files first; nothing changes if there is an error.\n"
                                     "Example:\n  bulkhead rules set site.yaml ./our-rules.yaml\n", &code);
        if (!api)
                return code;
        g_autofree char *text = read_file(argv[2]);
        if (!text)
                return BH_EXIT_FAILED;

        json_auto_t *found = bh_api_send(api, "POST", RULES "/check", json_pack("{s:s, s:s}", "name", argv[1], "text", text), &error);
        if (!found)
                return bh_cli_fail(error);
        if (!json)
                print_problems(found);
        if (dry || bh_json_number(found, "errors")) {
                if (json)
                        bh_out_json(found);
                else if (bh_json_number(found, "errors"))
                        fprintf(stderr, "bulkhead: nothing was changed\n");
                return bh_json_number(found, "errors") ? BH_EXIT_FAILED : bh_out_finish();
        }
        bh_api_segment(target, argv[1]);
        json_auto_t *answer = bh_api_send(api, "PUT", target->str, json_pack("{s:s}", "text", text), &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(answer);
        else
                printf("%s is in force as soon as the nodes have it; \"bulkhead rules files\" says which have\n", argv[1]);
        return bh_out_finish();
}

static void print_would(const json_t *found) {
        static const char *const rules[] = { "RULE", "PRIORITY", ">LINE", ">MATCHES", NULL }, *const events[] = { "TIME", "CONTAINER", "WHAT WOULD HAVE BEEN TOLD", NULL };
        guint64 matched = bh_json_number(found, "matched"), left = bh_json_number(found, "not_looked_at"), missing = bh_json_number(found, "dropped") + bh_json_number(found, "undecodable");
        g_autofree char *oldest = bh_json_when(found, "oldest");
        g_autoptr(BhTable) t = bh_table_new(rules), told = bh_table_new(events);
        json_t *one;
        size_t i;

        printf("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " recorded events would have matched; the oldest that was looked at is of %s\n", matched, bh_json_number(found, "looked_at"), oldest);
        if (left)
                printf("%" G_GUINT64_FORMAT " events were not looked at: the rules are costly\n", left);
        if (missing)
                printf("%" G_GUINT64_FORMAT " events are missing in it\n", missing);
        json_array_foreach(json_object_get(found, "matches"), i, one) {
                gboolean runs = json_is_true(json_object_get(one, "runs"));

                bh_table_cell(t, bh_json_text(one, "rule"), runs ? BH_STYLE_NONE : BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "priority"), BH_STYLE_DIM);
                bh_table_number(t, bh_json_number(one, "line"));
                bh_table_number(t, bh_json_number(one, "matches"));
        }
        if (i)
                bh_table_print(t);
        json_array_foreach(json_object_get(found, "events"), i, one) {
                const json_t *event = json_object_get(one, "event");
                g_autofree char *when = bh_json_when(event, "time");

                bh_table_cell(told, when, BH_STYLE_DIM);
                bh_table_cell(told, *bh_json_text(event, "container.name") ? bh_json_text(event, "container.name") : bh_json_dash(event, "node"), BH_STYLE_NONE);
                bh_table_cell(told, bh_json_text(one, "output"), BH_STYLE_NONE);
        }
        if (i)
                bh_table_print(told);
        json_array_foreach(json_object_get(found, "nodes"), i, one) {
                g_autofree char *node = bh_json_cell(one, "node"), *why = bh_json_cell(one, "error");

                if (*why || json_is_true(json_object_get(one, "cut")))
                        fprintf(stderr, "bulkhead: node %s: %s\n", node, *why ? why : "its answer was cut");
        }
}

int bh_rules_preview(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *node = NULL, *since = NULL, *name = NULL;
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "name", 0, 0, G_OPTION_ARG_STRING, &name, "the managed file that it would be (default: the file's own name)", "NAME" },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "how far to look back (default 1d, at most 31d)", "TIME" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only what this node recorded (default: all)", "NODE" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(RULES "/preview");
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, "FILE", 1, "Says what the rules of a file would have matched among the events that the nodes recorded.",
                                     "Changes nothing. A node gives its last 10000 events of the kinds that the rules look at.\n", &code);
        if (!api)
                return code;
        guint64 ago = since ? bh_cli_duration(since) : 24 * 3600 * G_GUINT64_CONSTANT(1000000000);
        if (!ago)
                return bh_cli_usage("--since takes a number with s, m, h or d, like 12h, not \"%s\"", since);
        g_autofree char *text = read_file(argv[1]), *own = g_path_get_basename(argv[1]);
        if (!text)
                return BH_EXIT_FAILED;
        bh_api_param(target, "node", node);
        json_int_t hours = (json_int_t) ((ago + 3599999999999) / 3600000000000); /* the API's unit, rounded up */
        json_auto_t *found = bh_api_send(api, "POST", target->str, json_pack("{s:s, s:s, s:I}", "name", name ? name : own, "text", text, "hours", hours), &error);
        if (!found)
                return bh_cli_fail(error);
        guint64 errors = bh_json_number(found, "errors");
        if (json)
                bh_out_json(found);
        else
                print_problems(found);
        if (!json && !errors)
                print_would(found);
        code = bh_out_finish();
        return errors ? BH_EXIT_FAILED : code;
}

int bh_rules_remove(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = { { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL }, G_OPTION_ENTRY_NULL };
        g_autoptr(GString) target = g_string_new(FILES);
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, "NAME", 1, "Removes a rule file that the central manages, from every node.", NULL, &code);
        if (!api)
                return code;
        bh_api_segment(target, argv[1]);
        json_auto_t *answer = bh_api_send(api, "DELETE", target->str, NULL, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(answer);
        return bh_out_finish();
}

int bh_rules_reload(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *node = NULL;
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only this node (default: all)", "NODE" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(RULES "/reload");
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, NULL, 0, "Lets the nodes read the rule files that they were started with anew, as SIGHUP does.",
                                     "A node whose files have errors keeps the rules that ran.\n", &code);
        if (!api)
                return code;
        bh_api_param(target, "node", node);
        json_auto_t *answer = bh_api_send(api, "POST", target->str, NULL, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(answer);
        else
                puts("the rules were read again");
        return bh_out_finish();
}
