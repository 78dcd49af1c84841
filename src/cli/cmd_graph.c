/* SPDX-License-Identifier: Apache-2.0 */
/* graph, listeners: who talks to whom, and who waits to be talked to. */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "commands.h"
#include "lists.h"
#include "graph_dot.h"
#include "output.h"

#define PAGE "10000"

/* ---- the map */

typedef struct {
        json_t *map;       /* {"nodes","edges"} */
        GHashTable *names; /* id → shown name */
} Map;

static char *shown_name(const json_t *n) {
        const char *kind = bh_json_text(n, "kind"), *application = bh_json_text(n, "application"), *name = bh_json_text(n, "name");

        if (g_str_equal(kind, "workload") || g_str_equal(kind, "container"))
                return *application ? g_strdup_printf("%s/%s", application, name) : g_strdup(name);
        if (g_str_equal(kind, "host"))
                return *bh_json_text(n, "node") ? g_strdup_printf("host %s", name) : g_strdup(name);
        return g_strdup(name);
}

static void name_nodes(Map *m, const json_t *nodes) {
        json_t *n;
        size_t i;

        json_array_foreach(nodes, i, n)
                g_hash_table_replace(m->names, g_strdup(bh_json_text(n, "id")), shown_name(n));
}

static const char *name_of(const Map *m, const json_t *edge, const char *end) {
        const char *id = bh_json_text(edge, end), *name = g_hash_table_lookup(m->names, id);

        return name ? name : id;
}

static void map_clear(Map *m) {
        json_decref(m->map);
        g_hash_table_unref(m->names);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Map, map_clear)

/* All pages. Nodes come with the first; others may name new ones. */
static gboolean load(BhApi *api, const char *target, Map *m, GError **error) {
        g_autoptr(GHashTable) once = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        json_t *nodes = json_array(), *edges = json_array(), *n;
        g_autofree char *cursor = NULL;
        size_t i;

        m->map = json_pack("{s:o, s:o}", "nodes", nodes, "edges", edges);
        do {
                g_autoptr(GString) page = g_string_new(target);

                bh_api_param(page, "limit", PAGE);
                bh_api_param(page, "cursor", cursor);
                json_auto_t *answer = bh_api_get(api, page->str, error);
                if (!answer)
                        return FALSE;
                json_array_foreach(json_object_get(answer, "nodes"), i, n)
                        if (g_hash_table_add(once, g_strdup(bh_json_text(n, "id"))))
                                json_array_append(nodes, n);
                json_array_extend(edges, json_object_get(answer, "edges"));
                const char *next = json_string_value(json_object_get(answer, "next"));
                g_free(cursor);
                cursor = g_strdup(next);
        } while (cursor);
        name_nodes(m, nodes);
        return TRUE;
}

typedef struct {
        const json_t *edge;
        const char *from, *to, *change;
} Row;

static gint by_names(gconstpointer a, gconstpointer b) {
        const Row *x = a, *y = b;
        gint order = strcmp(x->from, y->from);

        if (!order)
                order = strcmp(x->to, y->to);
        return order ? order : bh_json_number(x->edge, "port") < bh_json_number(y->edge, "port") ? -1 : 1;
}

static void add_rows(GArray *rows, const Map *m, const json_t *edges, const char *change) {
        json_t *e;
        size_t i;

        json_array_foreach(edges, i, e) {
                const Row row = { e, name_of(m, e, "from"), name_of(m, e, "to"), change };

                g_array_append_val(rows, row);
        }
}

static char *where_of(const json_t *e) {
        guint64 ports = bh_json_number(e, "ports"), addresses = bh_json_number(e, "addresses");

        if (*bh_json_text(e, "path"))
                return g_strdup(bh_json_text(e, "path"));
        if (ports > 1)
                return g_strdup_printf("%s, %" G_GUINT64_FORMAT " ports", bh_json_text(e, "proto"), ports);
        if (addresses > 1)
                return g_strdup_printf("%s/%" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " addresses", bh_json_text(e, "proto"), bh_json_number(e, "port"), addresses);
        return g_strdup_printf("%s/%" G_GUINT64_FORMAT, bh_json_text(e, "proto"), bh_json_number(e, "port"));
}

/* "×3.2" of what has changed more. */
static char *times_of(const json_t *e) {
        double bytes = json_number_value(json_object_get(e, "bytes_ratio")), connections = json_number_value(json_object_get(e, "connections_ratio"));
        double most = connections > 0 && (bytes <= 0 || (connections > 1 ? connections : 1 / connections) > (bytes > 1 ? bytes : 1 / bytes)) ? connections : bytes;

        return g_strdup_printf("×%.2g", most);
}

/* "?": nobody counted them. */
static char *bytes_of(const json_t *e, const char *which) {
        return json_is_false(json_object_get(e, "bytes_known")) ? g_strdup("?") : bh_out_bytes(bh_json_number(e, which));
}

static void print_rows(GArray *rows, gboolean changes) {
        static const char *const headers[] = { "FROM", "TO", "WHERE", "PROTOCOL", ">CONNECTIONS", ">OPEN", ">FAILED", ">SENT", ">GOT", "LAST SEEN", NULL };
        static const char *const with_change[] = { "CHANGE", "FROM", "TO", "WHERE", "PROTOCOL", ">CONNECTIONS", ">OPEN", ">FAILED", ">SENT", ">GOT", "LAST SEEN", NULL };
        g_autoptr(BhTable) t = bh_table_new(changes ? with_change : headers);

        g_array_sort(rows, by_names);
        for (guint i = 0; i < rows->len; i++) {
                const Row *r = &g_array_index(rows, Row, i);
                const json_t *e = r->edge;
                g_autofree char *where = where_of(e), *seen = bh_json_when(e, "last_seen"), *sent = bytes_of(e, "bytes_out"), *got = bytes_of(e, "bytes_in");
                guint64 bad = bh_json_number(e, "refused") + bh_json_number(e, "timed_out") + bh_json_number(e, "unreachable") + bh_json_number(e, "failed") + bh_json_number(e, "reset");

                if (changes) {
                        g_autofree char *change = r->change ? g_strdup(r->change) : times_of(e);

                        bh_table_cell(t, change, r->change && g_str_equal(r->change, "new") ? BH_STYLE_BOLD : BH_STYLE_NONE);
                }
                bh_table_cell(t, r->from, BH_STYLE_NONE);
                bh_table_cell(t, r->to, BH_STYLE_NONE);
                bh_table_cell(t, where, BH_STYLE_NONE);
                bh_table_cell(t, bh_json_dash(e, "protocol"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(e, "connections"));
                bh_table_number(t, bh_json_number(e, "open"));
                bh_table_number(t, bad);
                bh_table_cell(t, sent, BH_STYLE_NONE);
                bh_table_cell(t, got, BH_STYLE_NONE);
                bh_table_cell(t, seen, BH_STYLE_DIM);
        }
        bh_table_print(t);
}

/* An edge, with what its ends are called, and what has become of it. */
static void print_json(const Map *m, const json_t *edges, const char *change) {
        json_t *e;
        size_t i;

        json_array_foreach(edges, i, e) {
                json_object_set_new(e, "from_name", json_string(name_of(m, e, "from")));
                json_object_set_new(e, "to_name", json_string(name_of(m, e, "to")));
                if (change)
                        json_object_set_new(e, "change", json_string(change));
                bh_out_json(e);
        }
}

static int show_map(BhApi *api, const char *target, gboolean json, gboolean dot) {
        g_auto(Map) m = { NULL, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) };
        g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(Row));
        g_autoptr(GError) error = NULL;

        if (!load(api, target, &m, &error))
                return bh_cli_fail(error);
        const json_t *edges = json_object_get(m.map, "edges");
        if (dot) {
                g_autofree char *text = bh_graph_dot(m.map);

                bh_out_write(text, strlen(text));
        } else if (json) {
                print_json(&m, edges, NULL);
        } else if (!json_array_size(edges)) {
                puts("no connections");
        } else {
                add_rows(rows, &m, edges, NULL);
                print_rows(rows, FALSE);
        }
        return bh_out_finish();
}

static int show_changes(BhApi *api, const char *target, gboolean json) {
        static const char *const kinds[] = { "new", "gone", "changed" };
        g_auto(Map) m = { NULL, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) };
        g_autoptr(GArray) rows = g_array_new(FALSE, FALSE, sizeof(Row));
        g_autoptr(GError) error = NULL;

        if (!(m.map = bh_api_get(api, target, &error)))
                return bh_cli_fail(error);
        name_nodes(&m, json_object_get(m.map, "nodes"));
        for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
                const json_t *edges = json_object_get(m.map, kinds[i]);

                if (json)
                        print_json(&m, edges, kinds[i]);
                else
                        add_rows(rows, &m, edges, i < 2 ? kinds[i] : NULL);
        }
        if (!json && !rows->len)
                puts("nothing has changed");
        else if (!json)
                print_rows(rows, TRUE);
        return bh_out_finish();
}

int bh_cmd_graph(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, dot = FALSE, hidden = FALSE;
        g_autofree char *level = NULL, *application = NULL, *workload = NULL, *container = NULL, *node = NULL, *search = NULL, *since = NULL, *until = NULL, *diff = NULL;
        GOptionEntry entries[] = {
                { "level", 0, 0, G_OPTION_ARG_STRING, &level, "application, workload (the default) or container", "LEVEL" },
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only what an end of this application does (\"\": of none)", "APP" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                { "container", 0, 0, G_OPTION_ARG_STRING, &container, "only of this container: id, beginning of the id, or name", "CONTAINER" },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only with an end on this node", "NODE" },
                { "search", 0, 0, G_OPTION_ARG_STRING, &search, "only with this text in names, programs, protocols or paths, or this port", "TEXT" },
                { "since", 0, 0, G_OPTION_ARG_STRING, &since, "only what happened since then: 1h, 7d, 2026-01-31T12:00:00Z", "TIME" },
                { "until", 0, 0, G_OPTION_ARG_STRING, &until, "only what happened before", "TIME" },
                { "diff", 0, 0, G_OPTION_ARG_STRING, &diff, "what changed: the last so much time against as much before it", "TIME" },
                { "hidden", 0, 0, G_OPTION_ARG_NONE, &hidden, "also what goes to the runtime itself, as its DNS", NULL },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line for each edge", NULL },
                { "dot", 0, 0, G_OPTION_ARG_NONE, &dot, "for Graphviz: bulkhead graph --dot | dot -Tsvg", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = NULL;

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Shows who talks to whom: connections between containers, the nodes, and the outside.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (level && !g_str_equal(level, "application") && !g_str_equal(level, "workload") && !g_str_equal(level, "container"))
                return bh_cli_usage("--level must be application, workload or container, not \"%s\"", level);
        if (json && dot)
                return bh_cli_usage("--json and --dot exclude each other");
        if (diff && (dot || since || until))
                return bh_cli_usage("--diff goes with none of --dot, --since and --until");
        if (diff && !bh_cli_duration(diff))
                return bh_cli_usage("--diff must be a time like 10m, 1h or 7d, not \"%s\"", diff);
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        target = g_string_new(diff ? "/api/v1/graph/diff" : "/api/v1/graph");
        bh_api_param(target, "level", level);
        bh_api_param(target, "application", application);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "container", container);
        bh_api_param(target, "node", node);
        bh_api_param(target, "search", search);
        bh_api_param(target, "since", diff ? diff : since);
        bh_api_param(target, "until", until);
        bh_api_param(target, "hidden", hidden ? "1" : NULL);
        if (diff)
                bh_api_param(target, "limit", PAGE);
        return diff ? show_changes(api, target->str, json) : show_map(api, target->str, json, dot);
}

/* ---- listeners */

static void print_listeners(const json_t *list) {
        static const char *const headers[] = { "CONTAINER", "APPLICATION", "WORKLOAD", "WHERE", "PROGRAM", ">PID", "NODE", "REACHED BY", NULL };
        g_autoptr(BhTable) t = bh_table_new(headers);
        json_t *l, *w;
        size_t i, k;

        json_array_foreach(list, i, l) {
                const char *path = bh_json_text(l, "path"), *address = bh_json_text(l, "address"), *container = bh_json_text(l, "container"), *name = bh_json_text(l, "container_name");
                g_autofree char *id = g_strndup(container, 12);
                g_autofree char *where = *path ? g_strdup(path) : g_strdup_printf(strchr(address, ':') ? "%s [%s]:%" G_GUINT64_FORMAT : "%s %s:%" G_GUINT64_FORMAT,
                                                                                   bh_json_text(l, "proto"), address, bh_json_number(l, "port"));
                g_autoptr(GString) ways = g_string_new(NULL);

                json_array_foreach(json_object_get(l, "reached_by"), k, w)
                        g_string_append_printf(ways, "%s%s", k ? ", " : "", json_string_value(w));
                bh_table_cell(t, !*container ? "(host)" : *name ? name : id, BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(l, "application"), BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(l, "workload"), BH_STYLE_NONE);
                bh_table_cell(t, where, BH_STYLE_NONE);
                bh_table_cell(t, bh_json_text(l, "exe"), BH_STYLE_NONE);
                bh_table_number(t, bh_json_number(l, "pid"));
                bh_table_cell(t, bh_json_text(l, "node"), BH_STYLE_DIM);
                bh_table_cell(t, ways->len ? ways->str : "-", BH_STYLE_NONE);
        }
        bh_table_print(t);
}

int bh_cmd_listeners(const BhCliPaths *paths, int argc, char **argv) {
        gboolean json = FALSE, host = FALSE;
        g_autofree char *application = NULL, *workload = NULL, *container = NULL, *node = NULL, *port = NULL;
        GOptionEntry entries[] = {
                { "application", 0, 0, G_OPTION_ARG_STRING, &application, "only of this application (\"\": of none)", "APP" },
                { "workload", 0, 0, G_OPTION_ARG_STRING, &workload, "only of this workload", "WORKLOAD" },
                { "container", 0, 0, G_OPTION_ARG_STRING, &container, "only of this container: id, beginning of the id, or name", "CONTAINER" },
                { "host", 0, 0, G_OPTION_ARG_NONE, &host, "only of the nodes' own processes", NULL },
                { "node", 0, 0, G_OPTION_ARG_STRING, &node, "only on this node", "NODE" },
                { "port", 0, 0, G_OPTION_ARG_STRING, &port, "only on this port", "PORT" },
                { "json", 0, 0, G_OPTION_ARG_NONE, &json, "one JSON object a line", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) target = g_string_new("/api/v1/listeners");

        if (!bh_cli_parse_api(&argc, &argv, entries, FALSE, NULL, "Lists where something listens, and how one gets there.", NULL))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (host && container)
                return bh_cli_usage("--host and --container exclude each other");
        g_autoptr(BhApi) api = bh_api_new(paths, &error);
        if (!api)
                return bh_cli_fail(error);
        bh_api_param(target, "container", host ? "" : container);
        bh_api_param(target, "application", application);
        bh_api_param(target, "workload", workload);
        bh_api_param(target, "node", node);
        bh_api_param(target, "port", port);
        return bh_list_print(api, target->str, "listeners", 0, json, print_listeners, "nothing listens");
}
