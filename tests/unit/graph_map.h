/* SPDX-License-Identifier: Apache-2.0 */
/* Maps that are made of halves, containers and places by hand, and what is drawn of them. */
#pragma once
#include <arpa/inet.h>
#include <glib.h>

#include "graph/query.h"
#include "graph/tiers.h"

#define S G_GINT64_CONSTANT(1000000000)
#define T0 (1800000000 * S)

typedef struct {
        BhGraph *g;
        gint64 next;
} Map;

static G_GNUC_UNUSED void map_clear(Map *m) {
        bh_graph_free(m->g);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Map, map_clear)

static G_GNUC_UNUSED BhHalfAddress ip(const char *text) {
        guint8 bytes[16];

        if (!text)
                return (BhHalfAddress){ 0 };
        if (inet_pton(AF_INET, text, bytes) == 1)
                return bh_half_address(bytes, 4);
        g_assert_cmpint(inet_pton(AF_INET6, text, bytes), ==, 1);
        return bh_half_address(bytes, 16);
}

/* Text fields that are not given are "". */
static G_GNUC_UNUSED BhHalf filled(BhHalf h) {
        const char **const texts[] = { &h.node, &h.container_id, &h.exe, &h.path, &h.peer_container_id, &h.peer_name, &h.peer_exe, &h.network_id, &h.protocol, &h.server_name };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                if (!*texts[i])
                        *texts[i] = "";
        if (!h.last_ns)
                h.first_ns = h.last_ns = T0;
        return h;
}

static G_GNUC_UNUSED gint64 add(Map *m, BhHalf h) {
        h = filled(h);
        h.id = ++m->next;
        bh_graph_apply(m->g, &h);
        return h.id;
}

typedef struct {
        const char *node, *id, *application, *workload, *network, *address;
        guint32 host_port, container_port;
        gint64 since_ns, ended_ns;
        gboolean host_network;
        const char *network_of;
} Given;

static G_GNUC_UNUSED void box(Map *m, Given b) {
        const BhGraphAddress a = { .network = b.network ? b.network : "", .ip = ip(b.address) };
        const BhGraphPort p = { .proto = 6, .host_port = b.host_port, .container_port = b.container_port };
        const BhGraphContainer c = { .node = b.node, .id = b.id, .name = b.id, .application = b.application ? b.application : "", .workload = b.workload ? b.workload : "",
                                     .image = "image", .state = b.ended_ns ? "exited" : "running", .running = !b.ended_ns, .since_ns = b.since_ns ? b.since_ns : T0 - 100 * S,
                                     .ended_ns = b.ended_ns, .host_network = b.host_network, .network_of = b.network_of, .addresses = &a, .n_addresses = b.address != NULL, .ports = &p, .n_ports = b.host_port != 0 };

        bh_graph_set_container(m->g, &c);
}

static G_GNUC_UNUSED BhGraphView *view(Map *m, BhGraphLevel level) {
        const BhGraphQuery q = { .level = level };

        return bh_graph_query(m->g, &q, NULL, 100000);
}

static G_GNUC_UNUSED const char *id_of(const BhGraphView *v, guint node) {
        return ((const BhGraphNode *) v->nodes->pdata[node])->id;
}

static G_GNUC_UNUSED gint by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* "from > to :port", sorted, with a line each. */
static G_GNUC_UNUSED char *drawn(Map *m, BhGraphLevel level) {
        g_autoptr(BhGraphView) v = view(m, level);
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < v->edges->len; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];

                g_ptr_array_add(lines, g_strdup_printf("%s > %s :%u%s\n", id_of(v, e->from), id_of(v, e->to), e->port, e->path));
        }
        g_ptr_array_sort(lines, by_text);
        for (guint i = 0; i < lines->len; i++)
                g_string_append(out, lines->pdata[i]);
        return g_string_free(out, FALSE);
}

#define assert_drawn(m, level, text) \
        do { \
                g_autofree char *drawn_ = drawn(m, level); \
                g_assert_cmpstr(drawn_, ==, text); \
        } while (0)

static G_GNUC_UNUSED const BhGraphEdge *only(const BhGraphView *v) {
        g_assert_cmpuint(v->edges->len, ==, 1);
        return v->edges->pdata[0];
}

static G_GNUC_UNUSED void nothing_changes_when_all_is_looked_up(Map *m) {
        g_autofree char *before = drawn(m, BH_GRAPH_CONTAINER);

        bh_graph_resolve_all(m->g);
        assert_drawn(m, BH_GRAPH_CONTAINER, before);
}
