/* SPDX-License-Identifier: Apache-2.0 */
/* The map under any sequence of changes: nothing is left of what was taken away, each edge is told once, and pages add up. And the setting with names of networks. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "graph/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = { "", "a", "b", "c", "docker-dns", "net", "n1", "n2" };

typedef struct {
        const uint8_t *p, *end;
} Bytes;

static uint8_t next(Bytes *b) {
        return b->p < b->end ? *b->p++ : 0;
}

static const char *name(Bytes *b) {
        return names[next(b) % G_N_ELEMENTS(names)];
}

static BhHalfAddress address(Bytes *b) {
        static const uint8_t some[][4] = { { 10, 0, 0, 1 }, { 10, 0, 0, 2 }, { 127, 0, 0, 1 }, { 192, 168, 0, 1 }, { 8, 8, 8, 8 }, { 224, 0, 0, 1 }, { 169, 254, 169, 254 } };
        uint8_t which = next(b) % 9;

        if (which >= G_N_ELEMENTS(some))
                return (BhHalfAddress){ 0 };
        return bh_half_address(some[which], 4);
}

static void apply(BhGraph *g, Bytes *b, gint64 id) {
        const BhHalf h = { .id = id, .node = name(b), .container_id = name(b), .exe = name(b), .role = next(b) % 2 ? BH_HALF_SERVER : BH_HALF_CLIENT, .proto = next(b) % 3 ? 6 : 0,
                           .port = next(b) % 4, .path = name(b), .peer = address(b), .dialled = address(b), .peer_container_id = name(b), .peer_name = name(b), .peer_is_host = next(b) % 4 == 0,
                           .local = address(b), .peer_exe = name(b), .network_id = name(b), .protocol = name(b), .server_name = name(b), .first_ns = next(b), .last_ns = next(b),
                           .counts.connections = next(b), .open = next(b) % 2 };

        bh_graph_apply(g, &h);
}

static void box(BhGraph *g, Bytes *b) {
        const BhGraphAddress a = { .network = name(b), .ip = address(b), .ip6 = address(b) };
        const BhGraphPort p = { .proto = 6, .host_port = next(b) % 4, .container_port = next(b) % 4, .host_ip = address(b) };
        uint8_t flags = next(b);
        const BhGraphContainer c = { .node = name(b), .id = name(b), .name = name(b), .application = name(b), .workload = name(b), .image = "", .state = "", .since_ns = next(b), .ended_ns = next(b),
                                     .running = flags & 1, .host_network = (flags & 2) != 0, .addresses = &a, .n_addresses = (flags & 4) != 0, .ports = &p, .n_ports = (flags & 8) != 0 };

        bh_graph_set_container(g, &c);
}

static void ask(BhGraph *g, BhGraphLevel level) {
        const BhGraphQuery q = { .level = level, .hidden = TRUE };
        BhGraphView *all = bh_graph_query(g, &q, NULL, G_MAXUINT);
        char after[17] = "";
        guint told = 0;

        assert(all->edges->len == all->n_edges && !all->more && all->nodes->len == all->n_nodes);
        for (guint i = 0; i < all->edges->len; i++) {
                const BhGraphEdge *e = all->edges->pdata[i];

                assert(strcmp(e->id, after) > 0 && e->from < all->nodes->len && e->to < all->nodes->len);
                memcpy(after, e->id, sizeof(after));
                assert(e->sides);
        }
        *after = '\0';
        for (gboolean more = all->n_edges > 0; more;) {
                BhGraphView *page = bh_graph_query(g, &q, *after ? after : NULL, 3);

                told += page->edges->len;
                memcpy(after, ((const BhGraphEdge *) page->edges->pdata[page->edges->len - 1])->id, sizeof(after));
                more = page->more;
                bh_graph_view_free(page);
        }
        assert(told == all->n_edges);
        bh_graph_view_free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Bytes b = { data, data + size };

        if (next(&b) % 8 == 0) {
                char *text = g_strndup((const char *) data + 1, size ? size - 1 : 0);
                GArray *cidrs = NULL;
                GError *error = NULL;

                assert(bh_graph_parse_networks(text, &cidrs, &error) == !error && !cidrs == !!error);
                if (cidrs)
                        g_array_unref(cidrs);
                g_clear_error(&error);
                g_free(text);
                return 0;
        }
        BhGraph *g = bh_graph_new();
        BhGraphStats s;

        while (b.p < b.end) {
                switch (next(&b) % 8) {
                case 0:
                case 1:
                case 2:
                        apply(g, &b, 1 + next(&b) % 32);
                        break;
                case 3:
                case 4:
                        box(g, &b);
                        break;
                case 5: {
                        const char *node = name(&b);

                        bh_graph_remove_container(g, node, name(&b));
                        break;
                }
                case 6:
                        bh_graph_remove(g, 1 + next(&b) % 32);
                        break;
                default: {
                        const BhGraphPlace place = { .what = (BhGraphPlaceKind) (next(&b) % 5), .address = address(&b), .node = name(&b), .network = name(&b), .application = name(&b), .workload = name(&b) };

                        bh_graph_set_places(g, &place, 1);
                }
                }
        }
        for (guint level = 0; level < 3; level++)
                ask(g, (BhGraphLevel) level);
        for (gint64 id = 1; id <= 32; id++)
                bh_graph_remove(g, id);
        bh_graph_stats(g, &s);
        assert(s.halves + s.edges + s.ends + s.addresses == 0);
        bh_graph_free(g);
        return 0;
}
