/* SPDX-License-Identifier: Apache-2.0 */
/* workloads, applications: lists that the central has. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

/* ---- workloads ---- */

static char *images_of(const json_t *w) {
        json_t *images = json_object_get(w, "images");
        const char *first = bh_json_dash(json_array_get(images, 0), "image");

        if (json_array_size(images) > 1)
                return g_strdup_printf("%s (and %zu more)", first, json_array_size(images) - 1);
        return g_strdup(first);
}

static void workload_table(const json_t *list) {
        static const char *const headers[] = { "APPLICATION", "WORKLOAD", ">RUNNING", ">CONTAINERS", ">NODES", ">EXECUTABLES", ">FINDINGS", "LAST SEEN", "IMAGE", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *w;
        size_t i;

        json_array_foreach(list, i, w) {
                g_autofree char *seen = bh_json_when(w, "last_seen"), *images = images_of(w);

                bh_table_cell(t, bh_json_dash(w, "application"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(w, "workload"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(w, "running"));
                bh_table_number(t, bh_json_number(w, "containers"));
                bh_table_number(t, bh_json_number(w, "nodes"));
                bh_table_number(t, bh_json_number(w, "executables"));
                bh_table_number(t, bh_json_number(w, "findings"));
                bh_table_cell(t, seen, BH_STYLE_DIM);
                bh_table_cell(t, images, BH_STYLE_NONE);
        }
        bh_table_print(t);
}

int bh_cmd_workloads(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, running = FALSE;
        g_autofree char *application = NULL, *node = NULL, *search = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application (\"\": of none)", "APP" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only what was on this node", "NODE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in application or workload", "TEXT" },
                { "living", 0, 0, G_OPTION_ARG_NONE, &running, "only those that have containers now", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/workloads");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists workloads: what containers are replicas of, by application.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "application", application);
        bh_api_param(target, "node", node);
        bh_api_param(target, "search", search);
        bh_api_param(target, "living", running ? "true" : NULL);
        return bh_list_print(api, target->str, "workloads", 0, json, workload_table, "no workloads");
}

/* ---- applications ---- */

static void application_table(const json_t *list) {
        static const char *const headers[] = { "APPLICATION", ">WORKLOADS", ">RUNNING", ">CONTAINERS", ">NODES", ">FINDINGS", "FIRST SEEN", "LAST SEEN", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *a;
        size_t i;

        json_array_foreach(list, i, a) {
                g_autofree char *first = bh_json_when(a, "first_seen"), *last = bh_json_when(a, "last_seen");

                bh_table_cell(t, bh_json_dash(a, "application"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(a, "workloads"));
                bh_table_number(t, bh_json_number(a, "running"));
                bh_table_number(t, bh_json_number(a, "containers"));
                bh_table_number(t, bh_json_number(a, "nodes"));
                bh_table_number(t, bh_json_number(a, "findings"));
                bh_table_cell(t, first, BH_STYLE_DIM);
                bh_table_cell(t, last, BH_STYLE_DIM);
        }
        bh_table_print(t);
}

int bh_cmd_applications(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists applications: what groups workloads, like a Compose project or a namespace.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        return bh_list_print(api, "/api/v1/applications", "applications", 0, json, application_table, "no applications");
}
