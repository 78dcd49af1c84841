/* SPDX-License-Identifier: Apache-2.0 */
/* endpoints: requests that workloads answer and make, with the parameters that came with them. */
#include <string.h>

#include "api.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

static char *statuses_of(const json_t *e) {
        static const char *const names[] = { "2xx", "3xx", "4xx", "5xx", "1xx", "none" };
        const json_t *statuses = json_object_get(e, "statuses");
        g_autoptr(GString) out = g_string_new(NULL);

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (bh_json_number(statuses, names[i]))
                        g_string_append_printf(out, "%s%s:%" G_GUINT64_FORMAT, out->len ? " " : "", names[i], bh_json_number(statuses, names[i]));
        return g_string_free(g_steal_pointer(&out), FALSE);
}

static char *parameters_of(const json_t *e) {
        g_autoptr(GString) out = g_string_new(NULL);
        const json_t *p;
        size_t i;

        json_array_foreach(json_object_get(e, "parameters"), i, p)
                g_string_append_printf(out, "%s%s (%s)", i ? "; " : "", bh_json_text(p, "name"), bh_json_text(p, "what"));
        return g_string_free(g_steal_pointer(&out), FALSE);
}

static void table(const json_t *list) {
        static const char *const headers[] = { "APPLICATION", "WORKLOAD", "SIDE", "METHOD", "PATH", ">COUNT", "STATUSES", ">MEAN us", ">MAX us", ">BYTES IN", ">BYTES OUT", "LAST SEEN", "PARAMETERS", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        const json_t *e;
        size_t i;

        json_array_foreach(list, i, e) {
                static const char *const texts[] = { "application", "workload", "side", "method", "path" };
                g_autofree char *seen = bh_json_when(e, "last"), *statuses = statuses_of(e), *parameters = parameters_of(e);
                guint64 timed = bh_json_number(e, "timed");

                for (guint k = 0; k < G_N_ELEMENTS(texts); k++)
                        bh_table_cell(t, bh_json_dash(e, texts[k]), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(e, "count"));
                bh_table_cell(t, statuses, BH_STYLE_NONE);
                bh_table_number(t, timed ? bh_json_number(e, "latency_us") / timed : 0);
                bh_table_number(t, bh_json_number(e, "latency_max_us"));
                bh_table_number(t, bh_json_number(e, "request_bytes"));
                bh_table_number(t, bh_json_number(e, "response_bytes"));
                bh_table_cell(t, seen, BH_STYLE_DIM);
                bh_table_cell(t, parameters, BH_STYLE_NONE);
        }
        bh_table_print(t);
}

int bh_cmd_endpoints(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        g_autofree char *application = NULL, *workload = NULL, *side = NULL, *search = NULL, *since = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application (\"\": of none)", "APP" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                { "side", 0, 0, G_OPTION_ARG_STRING, &side, "only what it answers (server) or asks (client)", "SIDE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in method and path", "TEXT" },
                { "since", 0, 0, G_OPTION_ARG_STRING, &since, "only what was seen within this time (90s, 10m, 2h, 1d)", "TIME" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/endpoints");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists requests that workloads answer and make: method, template of the path, answers, sizes, time, and parameters by name, type and length.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (side && strcmp(side, "server") && strcmp(side, "client"))
                return bh_cli_usage("--side is server or client, not \"%s\"", side);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "application", application);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "side", side);
        bh_api_param(target, "search", search);
        if (!bh_list_since(target, since))
                return BH_EXIT_USAGE;
        return bh_list_print(api, target->str, "endpoints", 0, json, table, "no requests were seen");
}
