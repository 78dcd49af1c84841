/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/escape.h"
#include "commands.h"
#include "lists.h"
#include "output.h"

static gboolean print_line(const char *line, gsize len, gpointer data) {
        return bh_out_write(line, len) && bh_out_write("\n", 1);
}

static void mark(GString *marks, const char *word) {
        g_string_append_printf(marks, "%s%s", marks->len ? ", " : "", word);
}

/* What gives the container a way to the host: short words, the worst first. */
static char *marks_of(const json_t *c) {
        static const struct {
                const char *key, *word;
        } flags[] = { { "privileged", "PRIVILEGED" }, { "host_pid", "host pid" }, { "host_network", "host network" }, { "host_ipc", "host ipc" } };
        GString *marks = g_string_new(NULL);
        json_t *m;
        size_t i;

        for (guint k = 0; k < G_N_ELEMENTS(flags); k++)
                if (json_is_true(json_object_get(c, flags[k].key)))
                        mark(marks, flags[k].word);
        json_array_foreach(json_object_get(c, "cap_add"), i, m) {
                g_autofree char *cap = bh_escape_cell(json_string_value(m) ? json_string_value(m) : "", -1), *word = g_strdup_printf("+%s", cap);

                mark(marks, word);
        }
        json_array_foreach(json_object_get(c, "mounts"), i, m)
                if (json_is_true(json_object_get(m, "sensitive"))) {
                        g_autofree char *word = g_strdup_printf("mount %s%s", bh_json_text(m, "source"), json_is_true(json_object_get(m, "rw")) ? "" : " (ro)");

                        mark(marks, word);
                }
        return g_string_free(marks, FALSE);
}

static void print_table(const json_t *list) {
        static const char *const headers[] = { "NAME", "ID", "IMAGE", "STATE", "WORKLOAD", "APPLICATION", ">PID", "WAYS TO THE HOST", NULL };
        static const char *const with_node[] = { "NODE", "NAME", "ID", "IMAGE", "STATE", "WORKLOAD", "APPLICATION", ">PID", "WAYS TO THE HOST", NULL };
        gboolean nodes = FALSE;
        json_t *c;
        size_t i;

        json_array_foreach(list, i, c)
                nodes |= !g_str_equal(bh_json_text(c, "node"), bh_json_text(json_array_get(list, 0), "node"));

        g_autoptr(BhTable) table = bh_table_new(nodes ? with_node : headers);
        json_array_foreach(list, i, c) {
                g_autofree char *id = g_strndup(bh_json_text(c, "id"), 12), *ways = marks_of(c);
                const char *state = bh_json_text(c, "state"), *health = bh_json_text(c, "health");
                g_autofree char *full = *health && !g_str_equal(health, "none") ? g_strdup_printf("%s (%s)", state, health) : g_strdup(state);
                guint64 pid = bh_json_number(c, "init_pid");
                g_autofree char *pid_text = pid ? g_strdup_printf("%" G_GUINT64_FORMAT, pid) : g_strdup("-");

                if (nodes)
                        bh_table_cell(table, bh_json_text(c, "node"), BH_STYLE_NONE);
                bh_table_cell(table, bh_json_text(c, "name"), BH_STYLE_NONE);
                bh_table_cell(table, id, BH_STYLE_DIM);
                bh_table_cell(table, bh_json_dash(c, "image"), BH_STYLE_NONE);
                bh_table_cell(table, full, BH_STYLE_NONE);
                bh_table_cell(table, bh_json_text(c, "workload"), BH_STYLE_NONE);
                bh_table_cell(table, bh_json_text(c, "application"), BH_STYLE_NONE);
                bh_table_cell(table, pid_text, BH_STYLE_NONE);
                bh_table_cell(table, ways, strstr(ways, "PRIVILEGED") ? BH_STYLE_BAD : BH_STYLE_NONE);
        }
        bh_table_print(table);
}

static int show_one(const BhCliPaths *paths, BhApi *api, const char *what, const char *node, gboolean json) {
        g_autoptr(GString) target = g_string_new("/api/v1/containers");
        g_autoptr(GError) error = NULL;
        json_auto_t *c = NULL;

        if (api) {
                bh_api_segment(target, what);
                bh_api_param(target, "node", node);
                c = bh_api_get(api, target->str, &error);
        } else {
                json_auto_t *list = bh_client_containers(paths, 15, &error);
                json_t *e, *found = NULL;
                guint beginnings = 0;
                size_t i;

                json_array_foreach(list, i, e) {
                        if (g_str_equal(bh_json_text(e, "id"), what) || g_str_equal(bh_json_text(e, "name"), what)) {
                                found = e;
                                beginnings = 1;
                                break;
                        }
                        if (g_str_has_prefix(bh_json_text(e, "id"), what)) {
                                found = e;
                                beginnings++;
                        }
                }
                if (list && beginnings != 1)
                        g_set_error(&error, BH_API_ERROR, BH_API_ERROR_NOT_FOUND, beginnings ? "more than one container's id begins with \"%s\": give more of it"
                                                                                          : "there is no container \"%s\"; \"bulkhead containers\" lists them", what);
                else if (list)
                        c = json_incref(found);
        }
        if (!c)
                return bh_cli_fail(error);
        if (json)
                bh_out_json(c);
        else
                bh_container_print(c);
        return bh_out_finish();
}

int bh_cmd_containers(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, all = FALSE;
        g_autofree char *node = NULL, *application = NULL, *workload = NULL;
        GOptionEntry entries[] = {
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "everything known, one JSON object a line", NULL },
                { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "also those that have ended, as long as the central keeps them", NULL },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only of this node", "NODE" },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application (\"\": of none)", "APP" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(BhApi) api = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, TRUE, "[CONTAINER]", "Lists every container that was found, also those that a runtime does not know.",
                              "With a container's name, id, or the beginning of its id: everything that is known of it.\n"
                              "PRIVILEGED, host namespaces, added capabilities and mounts of sensitive host paths stand under WAYS TO THE HOST.\n"))
                return BH_EXIT_USAGE;
        if (argc > 2)
                return bh_cli_usage("it takes one container at most, not \"%s\" as well", argv[2]);
        if (argc > 1 && (all || application || workload))
                return bh_cli_usage("--all, --application and --workload are for the list, and here one container is named");
        if (!bh_api_choose(paths, &api, &error))
                return bh_cli_fail(error);
        if (!api && (all || node || application || workload)) {
                fprintf(stderr, "bulkhead: --all, --node, --application and --workload are the central's to answer, and here is a sensor alone\n");
                return BH_EXIT_FAILED;
        }
        if (argc > 1)
                return show_one(paths, api, argv[1], node, json);
        if (!api && json) {
                g_auto(BhFd) fd = bh_client_request(paths, json_pack("{s:s}", "cmd", "containers"), &error);

                if (fd < 0 || !bh_client_lines(fd, print_line, NULL, &error))
                        return bh_cli_fail(error);
                return bh_out_finish();
        }

        g_autoptr(GString) target = g_string_new("/api/v1/containers");
        bh_api_param(target, "living", all ? NULL : "true");
        bh_api_param(target, "node", node);
        bh_api_param(target, "application", application);
        bh_api_param(target, "workload", workload);
        json_auto_t *list = api ? bh_api_list(api, target->str, "containers", 0, NULL, &error) : bh_client_containers(paths, 15, &error);
        if (!list)
                return bh_cli_fail(error);
        bh_list_show(list, json, print_table, "no containers");
        return bh_out_finish();
}
