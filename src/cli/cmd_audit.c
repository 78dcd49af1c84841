/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

#define ROWS_DEFAULT 100

static void print_table(const json_t *list) {
        static const char *const headers[] = { "TIME", "ACTOR", "ROLE", "FROM", "ACTION", "OBJECT", "OUTCOME", "DETAIL", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t i = json_array_size(list); i-- > 0;) { /* the latest at the bottom, as events */
                json_t *r = json_array_get(list, i);
                g_autofree char *when = bh_json_when(r, "time");

                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(r, "actor"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "role"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(r, "address"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(r, "action"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "object"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(r, "outcome"), g_str_equal(bh_json_text(r, "outcome"), "ok") ? BH_STYLE_NONE : BH_STYLE_BAD);
                bh_table_cell(t, bh_json_text(r, "detail"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

static int verify(BhApi *api, gboolean json, GError **error) {
        json_auto_t *answer = bh_api_get(api, "/api/v1/audit/verify", error);
        gboolean intact = json_is_true(json_object_get(answer, "intact"));

        if (!answer)
                return bh_cli_fail(*error);
        if (json)
                bh_out_json(answer);
        else if (intact)
                printf("intact: %" G_GUINT64_FORMAT " rows, each as it was written\n", bh_json_number(answer, "rows"));
        else
                printf("NOT INTACT: row %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " does not fit the one before: somebody changed the database\n", bh_json_number(answer, "first_broken"),
                       bh_json_number(answer, "rows"));
        return bh_out_finish() || !intact ? BH_EXIT_FAILED : BH_EXIT_OK;
}

int bh_cmd_audit(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, check = FALSE;
        gint limit = ROWS_DEFAULT;
        g_autofree char *since = NULL, *actor = NULL, *action = NULL, *object = NULL, *outcome = NULL, *search = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line, the latest first", NULL },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "only of the last 90s, 10m, 2h, 1d", "TIME" },
                { "actor", 0, 0, G_OPTION_ARG_STRING, &actor, "only by this user", "USER" },
                { "action", 0, 0, G_OPTION_ARG_STRING, &action, "only this, like user.create or user.*", "ACTION" },
                { "object", 0, 0, G_OPTION_ARG_STRING, &object, "only done to this", "OBJECT" },
                { "outcome", 0, 0, G_OPTION_ARG_STRING, &outcome, "only ok, denied or failed", "OUTCOME" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in actor, object or detail", "TEXT" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N (default 100; 0: all)", "N" },
                { "verify", 0, 0, G_OPTION_ARG_NONE, &check, "reckon the chain of hashes: is every row as it was written?", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/audit");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Shows who did what: logins, users, tokens, settings, and what was refused. For administrators.",
                              "With --verify it exits with 1 where a row was changed.\n"))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (limit < 0)
                return bh_cli_usage("--limit must not be negative");
        if (!bh_list_since(target, since))
                return BH_EXIT_USAGE;
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        if (check)
                return verify(api, json, &error);
        bh_api_param(target, "actor", actor);
        bh_api_param(target, "action", action);
        bh_api_param(target, "object", object);
        bh_api_param(target, "outcome", outcome);
        bh_api_param(target, "search", search);
        return bh_list_print(api, target->str, "audit", (guint) limit, json, print_table, "nothing was done");
}
