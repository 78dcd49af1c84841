/* SPDX-License-Identifier: Apache-2.0 */
#include "graph_dot.h"

#include "base/escape.h"
#include "output.h"

/* In a quoted string of the DOT language only a quote ends it, and a backslash may begin what the renderer understands (\n, \G …). */
static void quoted(GString *out, const char *text) {
        g_autofree char *printable = bh_escape_cell(text, -1);

        g_string_append_c(out, '"');
        for (const char *p = printable; *p; p++) {
                if (*p == '"' || *p == '\\')
                        g_string_append_c(out, '\\');
                g_string_append_c(out, *p);
        }
        g_string_append_c(out, '"');
}

static void attribute(GString *out, const char *name, const char *text) {
        g_string_append_printf(out, "%s=", name);
        quoted(out, text);
}

static void node(GString *out, const json_t *n, const char *indent) {
        const char *kind = bh_json_text(n, "kind");
        gboolean outside = g_str_equal(kind, "name") || g_str_equal(kind, "network");

        g_string_append(out, indent);
        quoted(out, bh_json_text(n, "id"));
        g_string_append(out, " [");
        attribute(out, "label", bh_json_text(n, "name"));
        g_string_append_printf(out, ", shape=%s];\n", outside ? "ellipse" : g_str_equal(kind, "host") || g_str_equal(kind, "runtime") ? "box3d" : "box");
}

static gboolean is_of_application(const json_t *n) {
        return !g_str_equal(bh_json_text(n, "kind"), "application") && *bh_json_text(n, "application");
}

char *bh_graph_dot(const json_t *map) {
        g_autoptr(GHashTable) drawn = g_hash_table_new(g_str_hash, g_str_equal);
        const json_t *nodes = json_object_get(map, "nodes"), *edges = json_object_get(map, "edges");
        GString *out = g_string_new("digraph bulkhead {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n");
        json_t *n, *e;
        size_t i, k;
        guint clusters = 0;

        json_array_foreach(nodes, i, n) {
                const char *application = bh_json_text(n, "application");
                json_t *other;

                if (!is_of_application(n)) {
                        node(out, n, "  ");
                        continue;
                }
                if (!g_hash_table_add(drawn, (gpointer) (gsize) application))
                        continue;
                g_string_append_printf(out, "  subgraph cluster_%u {\n    ", clusters++);
                attribute(out, "label", application);
                g_string_append(out, ";\n");
                json_array_foreach(nodes, k, other)
                        if (is_of_application(other) && g_str_equal(bh_json_text(other, "application"), application))
                                node(out, other, "    ");
                g_string_append(out, "  }\n");
        }
        json_array_foreach(edges, i, e) {
                const char *protocol = bh_json_text(e, "protocol");
                guint64 bad = bh_json_number(e, "refused") + bh_json_number(e, "timed_out") + bh_json_number(e, "unreachable") + bh_json_number(e, "failed");
                g_autofree char *where = *bh_json_text(e, "path") ? g_strdup(bh_json_text(e, "path")) : g_strdup_printf("%s/%" G_GUINT64_FORMAT, bh_json_text(e, "proto"), bh_json_number(e, "port"));
                g_autofree char *label = *protocol ? g_strdup_printf("%s %s", protocol, where) : g_strdup(where);

                g_string_append(out, "  ");
                quoted(out, bh_json_text(e, "from"));
                g_string_append(out, " -> ");
                quoted(out, bh_json_text(e, "to"));
                g_string_append(out, " [");
                attribute(out, "label", label);
                g_string_append(out, bad && bad >= bh_json_number(e, "connections") ? ", style=dashed];\n" : "];\n");
        }
        g_string_append(out, "}\n");
        return g_string_free(out, FALSE);
}
