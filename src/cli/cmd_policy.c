/* SPDX-License-Identifier: Apache-2.0 */
/* `bulkhead policy`: what responds by itself */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "base/fdio.h"
#include "commands.h"
#include "lists.h"
#include "output.h"
#include "policy/policy.h"

#define POLICIES "/api/v1/policies"

static char *read_text(const char *path, GError **error) {
        gboolean cut = FALSE;
        gsize len = 0;
        g_autofree char *text = bh_file_read(AT_FDCWD, path, BH_POLICY_TEXT_MAX, &len, &cut, error);

        if (text && (cut || strlen(text) != len)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, cut ? "%s has more than %u KiB, which a policy may have" : "%s is no text: it holds NUL bytes", path, BH_POLICY_TEXT_MAX >> 10);
                return NULL;
        }
        return g_steal_pointer(&text);
}

/* FILE:LINE:COLUMN: what; NULL when there are errors. */
static BhPolicy *parse_file(const char *path, const char *text, json_t *told) {
        g_autoptr(GPtrArray) problems = NULL;
        BhPolicy *p = bh_policy_parse(text, strlen(text), &problems);

        for (guint i = 0; i < problems->len; i++) {
                const BhPolicyProblem *x = problems->pdata[i];
                g_autofree char *what = bh_escape_cell(x->what, -1), *valid = g_utf8_make_valid(x->what, -1), *file = g_utf8_make_valid(path, -1);

                if (told)
                        json_array_append_new(told, json_pack("{s:s,s:i,s:i,s:s}", "file", file, "line", (int) x->line, "column", (int) x->column, "what", valid));
                else
                        fprintf(stderr, "%s:%u:%u: error: %s\n", path, x->line, x->column, what);
        }
        return p;
}

static int policy_list(const BhCliPaths *paths, int argc, char **argv) {
        static const char *const headers[] = { "POLICY", "STATE", "WHEN", "SCOPE", "ACTION", ">DONE", ">OPEN", ">DRY", NULL };
        gboolean json = FALSE;
        GOptionEntry entries[] = { { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL }, G_OPTION_ENTRY_NULL };
        g_autoptr(GError) error = NULL;
        json_t *one;
        size_t i;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists the policies, what they did, and whether the nodes have them.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        json_auto_t *answer = api ? bh_api_get(api, POLICIES, &error) : NULL;
        if (!answer)
                return bh_cli_fail(error);
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_array_foreach(json_object_get(answer, "policies"), i, one) {
                json_t *n = json_object_get(one, "responses");
                gboolean enabled = json_is_true(json_object_get(one, "enabled")), dry = json_is_true(json_object_get(one, "dry_run"));

                if (json) {
                        bh_out_json(one);
                        continue;
                }
                bh_table_cell(t, bh_json_text(one, "name"), enabled ? BH_STYLE_BOLD : BH_STYLE_DIM);
                bh_table_cell(t, !enabled ? "off" : dry ? "dry run" : "acts", enabled && !dry ? BH_STYLE_BAD : BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "when"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "scope"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "action"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(n, "total") - bh_json_number(n, "dry_run"));
                bh_table_number(t, bh_json_number(n, "open"));
                bh_table_number(t, bh_json_number(n, "dry_run"));
        }
        if (json)
                return bh_out_finish();
        if (json_array_size(json_object_get(answer, "policies")))
                bh_table_print(t);
        else
                puts("there are no policies; \"bulkhead policy set FILE\" adds one");
        bh_list_nodes(answer, FALSE);
        return bh_out_finish();
}

/* One name. NULL: *code. */
static BhApi *with_name(const BhCliPaths *paths, int *argc, char ***argv, GOptionEntry *entries, const char *summary, GString *target, int *code) {
        g_autoptr(GError) error = NULL;

        *code = BH_EXIT_USAGE;
        if (!bh_cli_parse_api(argc, argv, entries, FALSE, "NAME", summary, NULL))
                return NULL;
        if (*argc != 2) {
                bh_cli_usage("it takes the name of a policy: \"bulkhead policy list\" has them");
                return NULL;
        }
        bh_api_segment(target, (*argv)[1]);
        BhApi *api = bh_api_new(paths, &error);
        if (!api)
                *code = bh_cli_fail(error);
        return api;
}

static int policy_show(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = { { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL }, G_OPTION_ENTRY_NULL };
        g_autoptr(GString) target = g_string_new(POLICIES);
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = with_name(paths, &argc, &argv, entries, "Prints a policy's text.", target, &code);
        if (!api)
                return code;
        json_auto_t *answer = bh_api_get(api, target->str, &error);
        if (!answer)
                return bh_cli_fail(error);
        return bh_list_text(answer, json);
}

static int policy_remove(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = { { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL }, G_OPTION_ENTRY_NULL };
        g_autoptr(GString) target = g_string_new(POLICIES);
        g_autoptr(GError) error = NULL;
        int code;

        g_autoptr(BhApi) api = with_name(paths, &argc, &argv, entries, "Removes a policy. What it did goes on until it ends or is released.", target, &code);
        if (!api)
                return code;
        json_auto_t *answer = bh_api_send(api, "DELETE", target->str, NULL, &error);
        if (!answer)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(answer);
        return bh_out_finish();
}

static int policy_set(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *confirm = NULL;
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "confirm", 0, 0, G_OPTION_ARG_STRING, &confirm, "the policy's name once more: needed for one that acts (dry_run: false)", "NAME" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "a JSON object", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GString) target = g_string_new(POLICIES);
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "FILE", "Makes or changes a policy, for every node.",
                              "The file has one policy (docs/response.md), and its name. \"bulkhead policy check FILE\" says what it would have done.\n"))
                return BH_EXIT_USAGE;
        if (argc != 2)
                return bh_cli_usage("it takes the file of one policy");
        g_autofree char *text = read_text(argv[1], &error);
        if (!text)
                return bh_cli_fail(error);
        g_autoptr(BhPolicy) p = parse_file(argv[1], text, NULL);
        if (!p) {
                fprintf(stderr, "bulkhead: nothing was changed\n");
                return BH_EXIT_FAILED;
        }
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        bh_api_segment(target, p->name);
        json_auto_t *answer = api ? bh_api_send(api, "PUT", target->str, json_pack("{s:s, s:s*}", "text", text, "confirm", confirm), &error) : NULL;
        if (!answer)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(answer);
        else
                printf("policy %s: %s; the nodes have it within seconds\n", p->name, !p->enabled ? "it is off" : p->dry_run ? "a dry run: \"bulkhead responses\" lists what it would have done" : "it acts from now on");
        return bh_out_finish();
}

/* What it would have done. FALSE: failed; told. */
static gboolean try_it(BhApi *api, const char *text, gint64 since_s, gboolean json) {
        static const char *const headers[] = { "TIME", "DECISION", "CONTAINER", "WORKLOAD", "NODE", "RULE", "WHY", NULL };
        g_autoptr(GError) error = NULL;
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_auto_t *found = bh_api_send(api, "POST", POLICIES "/check", json_pack("{s:s, s:I}", "text", text, "since", (json_int_t) since_s), &error);
        json_t *one;
        size_t i;

        if (!found) {
                bh_cli_fail(error);
                return FALSE;
        }
        if (json) {
                bh_out_json(found);
                return TRUE;
        }
        json_array_foreach(json_object_get(found, "would"), i, one) {
                g_autofree char *when = bh_json_when(one, "time");

                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "decision"), g_str_equal(bh_json_text(one, "decision"), "act") ? BH_STYLE_BOLD : BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "container_name"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "workload"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "node"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(one, "rule"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(one, "why"), BH_STYLE_DIM);
        }
        if (i)
                bh_table_print(t);
        printf("policy %s: %" G_GUINT64_FORMAT " looked at, %" G_GUINT64_FORMAT " matched%s\n", bh_json_text(found, "name"), bh_json_number(found, "looked_at"), bh_json_number(found, "matched"),
               json_is_true(json_object_get(found, "more")) ? "; there were more, only the latest are looked at" : "");
        return TRUE;
}

static int policy_check(const BhCliPaths *paths, int argc, char **argv) {
        g_autofree char *since = NULL;
        gboolean json = FALSE, text_only = FALSE;
        GOptionEntry entries[] = {
                { "since", 0, 0, G_OPTION_ARG_STRING, &since, "how far to look back (default 1d, at most 7d)", "TIME" },
                { "text-only", 0, 0, G_OPTION_ARG_NONE, &text_only, "ask no central what it would have done", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        gboolean ok = TRUE;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "FILE...", "Says what is wrong with policies, and what they would have done about the last day's findings.", "Changes nothing.\n"))
                return BH_EXIT_USAGE;
        if (argc < 2)
                return bh_cli_usage("it takes files, each with one policy");
        guint64 back = since ? bh_cli_duration(since) / 1000000000 : 86400;
        if (!back || back > 7 * 86400)
                return bh_cli_usage("--since takes a number with s, m, h or d, like 12h, at most 7d, not \"%s\"", since);
        g_autoptr(BhApi) api = text_only ? NULL : bh_api_new(paths, &error);
        if (!api && !text_only && !g_error_matches(error, BH_API_ERROR, BH_API_ERROR_NOBODY))
                return bh_cli_fail(error);
        for (int i = 1; i < argc; i++) {
                g_autoptr(GError) unread = NULL;
                g_autofree char *text = read_text(argv[i], &unread);
                json_auto_t *problems = json ? json_array() : NULL;
                g_autoptr(BhPolicy) p = text ? parse_file(argv[i], text, problems) : NULL;

                if (!text)
                        bh_cli_fail(unread);
                ok &= p != NULL;
                if (p && api) {
                        ok &= try_it(api, text, (gint64) back, json);
                } else if (json) {
                        json_auto_t *out = json_pack("{s:i, s:O}", "errors", (int) json_array_size(problems), "problems", problems);

                        bh_out_json(out);
                } else if (p) {
                        printf("%s: no errors%s\n", argv[i], text_only ? "" : "; no central is here that could tell what it would have done");
                }
        }
        int status = bh_out_finish();
        return ok ? status : BH_EXIT_FAILED;
}

int bh_cmd_policy(const BhCliPaths *paths, int argc, char **argv) {
        static const BhCliSub subs[] = {
                { "list", "", "the policies, and what they did", policy_list },
                { "show", "NAME", "print one of them", policy_show },
                { "set", "FILE", "make or change one", policy_set },
                { "remove", "NAME", "take one away", policy_remove },
                { "check", "FILE...", "what is wrong with it, and what it would have done", policy_check },
        };

        return bh_cli_sub(subs, G_N_ELEMENTS(subs), "Policies: what is done by itself when a rule matches, a model is surprised, or an incident grows.", paths, argc, argv);
}
