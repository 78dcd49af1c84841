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

int bh_rules_set(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, dry = FALSE;
        GOptionEntry entries[] = {
                { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry, "check only", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(FILES);
        g_autoptr(GError) error = NULL;
        gboolean cut = FALSE;
        gsize len = 0;
        int code;

        g_autoptr(BhApi) api = begin(paths, &argc, &argv, entries, FALSE, "NAME FILE", 2, "Gives the central a rule file, for every node.",
                                     "It is checked together with the default rules and the other files first; nothing changes if there is an error.\n"
                                     "Example:\n  bulkhead rules set site.yaml ./our-rules.yaml\n", &code);
        if (!api)
                return code;
        g_autofree char *text = bh_file_read(AT_FDCWD, argv[2], FILE_MAX, &len, &cut, &error);
        if (!text)
                return bh_cli_fail(error);
        if (cut || strlen(text) != len || !g_utf8_validate(text, (gssize) len, NULL)) {
                fprintf(stderr, cut ? "bulkhead: %s has more than %u KiB, which is what the central takes: split it\n" : "bulkhead: %s is not UTF-8 text\n", argv[2], FILE_MAX >> 10);
                return BH_EXIT_FAILED;
        }

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
