/* SPDX-License-Identifier: Apache-2.0 */
/* workloads, applications, findings: lists that the central has. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "commands.h"
#include "output.h"

#define FINDINGS_DEFAULT 100

/* The rows as JSON, or as `table` makes them; `nothing` where there are none. Takes `list`; the error is read here, because that argument sets it. */
static int show(json_t *list, gboolean json, void (*table)(const json_t *list), const char *nothing, GError *const *error) {
        json_auto_t *rows = list;
        json_t *row;
        size_t i;

        if (!rows)
                return bh_cli_fail(*error);
        if (json) {
                json_array_foreach(rows, i, row)
                        bh_out_json(row);
        } else if (!json_array_size(rows)) {
                puts(nothing);
        } else {
                table(rows);
        }
        return bh_out_finish();
}

static const char *or_dash(const json_t *o, const char *key) {
        return *bh_json_text(o, key) ? bh_json_text(o, key) : "-";
}

/* ---- workloads ---- */

static char *images_of(const json_t *w) {
        json_t *images = json_object_get(w, "images");
        const char *first = or_dash(json_array_get(images, 0), "image");

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

                bh_table_cell(t, or_dash(w, "application"), BH_STYLE_NONE);
                bh_table_cell(t, or_dash(w, "workload"), BH_STYLE_NONE);
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
        return show(bh_api_list(api, target->str, "workloads", 0, NULL, &error), json, workload_table, "no workloads", &error);
}

/* ---- applications ---- */

static void application_table(const json_t *list) {
        static const char *const headers[] = { "APPLICATION", ">WORKLOADS", ">RUNNING", ">CONTAINERS", ">NODES", ">FINDINGS", "FIRST SEEN", "LAST SEEN", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *a;
        size_t i;

        json_array_foreach(list, i, a) {
                g_autofree char *first = bh_json_when(a, "first_seen"), *last = bh_json_when(a, "last_seen");

                bh_table_cell(t, or_dash(a, "application"), BH_STYLE_NONE);
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
        return show(bh_api_list(api, "/api/v1/applications", "applications", 0, NULL, &error), json, application_table, "no applications", &error);
}

/* ---- findings ---- */

static BhStyle style_of(const json_t *finding) {
        static const char *const bad[] = { "emergency", "alert", "critical", "error", NULL };

        return g_strv_contains(bad, bh_json_text(finding, "priority")) ? BH_STYLE_BAD : BH_STYLE_NONE;
}

static void finding_table(const json_t *list) {
        static const char *const headers[] = { "TIME", "PRIORITY", "RULE", "NODE", "CONTAINER", "ID", "WHAT", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);

        for (size_t i = json_array_size(list); i-- > 0;) { /* the latest at the bottom, as events */
                json_t *f = json_array_get(list, i);
                g_autofree char *when = bh_json_when(f, "time"), *id = g_strndup(bh_json_text(f, "container_id"), 12);

                bh_table_cell(t, when, BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(f, "priority"), style_of(f));
                bh_table_cell(t, bh_json_text(f, "rule"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(f, "hostname"), BH_STYLE_NONE);
                bh_table_cell(t, *bh_json_text(f, "container_name") ? bh_json_text(f, "container_name") : *id ? id : "-", BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(f, "id"), BH_STYLE_DIM);
                bh_table_cell(t, bh_json_text(f, "output"), BH_STYLE_NONE);
        }
        bh_table_print(t);
}

/* One, with all that is known of it. */
static int one_finding(BhApi *api, const char *id, gboolean json, GError **error) {
        g_autoptr(GString) target = g_string_new("/api/v1/findings");
        const char *key;
        json_t *value;

        bh_api_segment(target, id);
        json_auto_t *f = bh_api_get(api, target->str, error);
        if (!f)
                return bh_cli_fail(*error);
        if (json) {
                bh_out_json(f);
                return bh_out_finish();
        }
        json_object_foreach(f, key, value) {
                char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
                g_autofree char *cell = bh_escape_cell(text ? text : json_string_value(value), -1);

                if (*cell && !g_str_equal(cell, "null") && !g_str_equal(cell, "[]") && !g_str_equal(cell, "{}"))
                        printf("%-15s %s\n", key, cell);
                free(text);
        }
        return bh_out_finish();
}

int bh_cmd_findings(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, more = FALSE;
        gint limit = FINDINGS_DEFAULT;
        g_autofree char *priority = NULL, *rule = NULL, *node = NULL, *container = NULL, *workload = NULL, *application = NULL, *search = NULL, *since = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line, the latest first", NULL },
                { "priority", 'p', 0, G_OPTION_ARG_STRING, &priority, "only of this priority or a more important one (warning, error, …)", "P" },
                { "rule", 0, 0, G_OPTION_ARG_STRING, &rule, "only of this rule", "RULE" },
                { "container", 'c', 0, G_OPTION_ARG_STRING, &container, "only of the container with this whole id", "ID" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application", "APP" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node", "NODE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in rule, output or the container's name", "TEXT" },
                { "since", 's', 0, G_OPTION_ARG_STRING, &since, "only of the last 90s, 10m, 2h, 1d", "TIME" },
                { "limit", 'n', 0, G_OPTION_ARG_INT, &limit, "the last N (default 100; 0: all)", "N" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/findings");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, "[ID]", "Lists findings: what rules matched, and what is wrong with sensors. With an ID: that one, with its event.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one ID at most, not \"%s\" as well", argv[2]);
        if (limit < 0)
                return bh_cli_usage("--limit must not be negative");

        g_autofree char *from = NULL;
        if (since) {
                guint64 ago = bh_cli_duration(since), now = (guint64) g_get_real_time() * 1000;

                if (!ago)
                        return bh_cli_usage("--since takes a number with s, m, h or d, like 10m, not \"%s\"", since);
                from = g_strdup_printf("%" G_GUINT64_FORMAT, now > ago ? now - ago : 1);
        }
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        if (argc > 1)
                return one_finding(api, argv[1], json, &error);
        bh_api_param(target, "priority", priority);
        bh_api_param(target, "rule", rule);
        bh_api_param(target, "container", container);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "application", application);
        bh_api_param(target, "node", node);
        bh_api_param(target, "search", search);
        bh_api_param(target, "since", from);

        json_t *list = bh_api_list(api, target->str, "findings", (guint) limit, &more, &error);
        int code = show(list, json, finding_table, "no findings", &error);
        if (more)
                fprintf(stderr, "bulkhead: these are the last %d; --limit gives more\n", limit);
        return code;
}
