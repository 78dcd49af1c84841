/* SPDX-License-Identifier: Apache-2.0 */
/* The connection map: halves put together, what addresses mean, and what is told of them at each level. */
#include "graph_map.h"

/* ---- merging */

static void both_sides_are_one_edge_and_the_larger_number_counts(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n1", .id = "c1", .application = "shop", .workload = "web", .network = "net", .address = "10.0.1.2" });
        box(&m, (Given){ .node = "n2", .id = "c2", .application = "shop", .workload = "db", .network = "net", .address = "10.0.1.3" });
        add(&m, (BhHalf){ .node = "n1", .container_id = "c1", .exe = "/bin/web", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer = ip("10.0.1.3"), .network_id = "net",
                          .peer_name = "db", .counts = { .connections = 7, .bytes_out = 100, .bytes_in = 900, .refused = 1 }, .open = 2, .protocol = "postgresql" });
        add(&m, (BhHalf){ .node = "n2", .container_id = "c2", .exe = "/bin/db", .role = BH_HALF_SERVER, .proto = 6, .port = 5432, .peer = ip("10.0.1.2"), .network_id = "net",
                          .counts = { .connections = 6, .bytes_out = 1000, .bytes_in = 90 }, .open = 1 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/c1 > c:n2/c2 :5432\n");
        assert_drawn(&m, BH_GRAPH_WORKLOAD, "w:shop/web > w:shop/db :5432\n");
        assert_drawn(&m, BH_GRAPH_APPLICATION, "a:shop > a:shop :5432\n");

        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_WORKLOAD);
        const BhGraphEdge *e = only(v);
        g_assert_cmpuint(e->counts.connections, ==, 7);
        g_assert_cmpuint(e->counts.bytes_out, ==, 100);
        g_assert_cmpuint(e->counts.bytes_in, ==, 1000);
        g_assert_cmpuint(e->counts.refused, ==, 1);
        g_assert_cmpuint(e->open, ==, 2);
        g_assert_cmpuint(e->sides, ==, BH_GRAPH_CLIENT_SIDE | BH_GRAPH_SERVER_SIDE);
        g_assert_cmpstr(e->clients->pdata[0], ==, "/bin/web");
        g_assert_cmpstr(e->servers->pdata[0], ==, "/bin/db");
        g_assert_cmpstr(e->names->pdata[0], ==, "db");
        g_assert_cmpstr(e->protocol, ==, "postgresql");
}

static void replicas_add_up_and_scaling_down_keeps_what_was(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        const char *const ids[] = { "r1", "r2", "r3" };

        box(&m, (Given){ .node = "n1", .id = "db", .application = "shop", .workload = "db", .network = "net", .address = "10.0.1.3" });
        for (guint i = 0; i < 3; i++) {
                g_autofree char *address = g_strdup_printf("10.0.1.%u", 10 + i);

                box(&m, (Given){ .node = "n1", .id = ids[i], .application = "shop", .workload = "api", .network = "net", .address = address });
                add(&m, (BhHalf){ .node = "n1", .container_id = ids[i], .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer = ip("10.0.1.3"), .peer_container_id = "db", .counts.connections = 10 });
        }
        box(&m, (Given){ .node = "n1", .id = "r3", .application = "shop", .workload = "api", .network = "net", .address = "10.0.1.12", .ended_ns = T0 + S });
        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_WORKLOAD);
        g_assert_cmpuint(only(v)->counts.connections, ==, 30);
        const BhGraphNode *api = v->nodes->pdata[only(v)->from];
        g_assert_cmpuint(api->containers, ==, 3);
        g_assert_cmpuint(api->running, ==, 2);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/r1 > c:n1/db :5432\nc:n1/r2 > c:n1/db :5432\nc:n1/r3 > c:n1/db :5432\n");
}

static void sides_at_two_workloads_are_not_maximised_over_them(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        /* one pair told by its client alone, another by its server alone: both count */
        for (guint i = 1; i <= 2; i++) {
                g_autofree char *a = g_strdup_printf("a%u", i), *b = g_strdup_printf("b%u", i);

                box(&m, (Given){ .node = "n", .id = a, .workload = "a" });
                box(&m, (Given){ .node = "n", .id = b, .workload = "b" });
        }
        add(&m, (BhHalf){ .node = "n", .container_id = "a1", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer_container_id = "b1", .counts.connections = 5 });
        add(&m, (BhHalf){ .node = "n", .container_id = "b2", .role = BH_HALF_SERVER, .proto = 6, .port = 80, .peer_container_id = "a2", .counts.connections = 4 });
        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_WORKLOAD);
        g_assert_cmpuint(only(v)->counts.connections, ==, 9);
}

static void what_is_added_later_adds_and_what_is_removed_goes(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        BhGraphStats s;

        gint64 id = add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip("8.8.8.8"), .counts.connections = 5, .open = 1 });
        BhHalf again = filled((BhHalf){ .id = id, .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip("8.8.8.8"), .counts.connections = 3, .open = 4,
                                        .first_ns = T0 - S, .last_ns = T0 + S });
        g_assert_false(bh_graph_apply(m.g, &again));
        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_CONTAINER);
        g_assert_cmpuint(only(v)->counts.connections, ==, 8);
        g_assert_cmpuint(only(v)->open, ==, 4);
        g_assert_cmpint(only(v)->first_ns, ==, T0 - S);
        bh_graph_close(m.g, id);
        g_autoptr(BhGraphView) closed = view(&m, BH_GRAPH_CONTAINER);
        g_assert_cmpuint(only(closed)->open, ==, 0);
        bh_graph_remove(m.g, id);
        bh_graph_stats(m.g, &s);
        g_assert_cmpuint(s.halves + s.edges + s.ends + s.addresses, ==, 0);
}

/* ---- what addresses mean */

static void equal_subnets_of_two_nodes_are_told_apart(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        for (guint n = 1; n <= 2; n++) {
                g_autofree char *node = g_strdup_printf("n%u", n), *net = g_strdup_printf("bridge%u", n), *a = g_strdup_printf("a%u", n), *b = g_strdup_printf("b%u", n);

                box(&m, (Given){ .node = node, .id = a, .workload = "a", .network = net, .address = "172.17.0.2" });
                box(&m, (Given){ .node = node, .id = b, .workload = "b", .network = net, .address = "172.17.0.3" });
                /* once with the network that the node told, once without */
                add(&m, (BhHalf){ .node = node, .container_id = a, .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip("172.17.0.3"), .network_id = n == 1 ? net : "", .counts.connections = n });
        }
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a1 > c:n1/b1 :80\nc:n2/a2 > c:n2/b2 :80\n");
}

static void a_network_over_nodes_leads_to_the_other_node(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        /* the half comes before the inventory, and the overlay's address is also one of a bridge on its own node */
        add(&m, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip("10.0.1.7"), .network_id = "overlay", .counts.connections = 1 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > net:10.0.1.0/24 :80\n");
        box(&m, (Given){ .node = "n1", .id = "other", .network = "bridge", .address = "10.0.1.7" });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > c:n1/other :80\n");
        box(&m, (Given){ .node = "n2", .id = "b", .network = "overlay", .address = "10.0.1.7" });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > c:n2/b :80\n");
        bh_graph_remove_container(m.g, "n2", "b");
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > c:n1/other :80\n");
}

static void an_address_means_the_container_that_had_it_then(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n", .id = "old", .network = "net", .address = "10.0.1.7", .since_ns = T0 - 1000 * S, .ended_ns = T0 - 500 * S });
        box(&m, (Given){ .node = "n", .id = "new", .network = "net", .address = "10.0.1.7", .since_ns = T0 - 400 * S });
        add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 1, .peer = ip("10.0.1.7"), .network_id = "net", .first_ns = T0 - 900 * S, .last_ns = T0 - 600 * S });
        add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 2, .peer = ip("10.0.1.7"), .network_id = "net", .first_ns = T0, .last_ns = T0 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n/a > c:n/new :2\nc:n/a > c:n/old :1\n");
}

static void a_published_port_leads_to_its_container_and_masks_are_seen_through(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n1", .id = "client", .workload = "client", .network = "b1", .address = "172.17.0.2" });
        box(&m, (Given){ .node = "n2", .id = "server", .workload = "server", .network = "b2", .address = "172.17.0.2", .host_port = 8080, .container_port = 80 });
        /* nodes' own addresses are those of their processes */
        add(&m, (BhHalf){ .node = "n1", .container_id = "", .role = BH_HALF_CLIENT, .proto = 6, .port = 443, .local = ip("192.168.7.1"), .peer = ip("8.8.8.8") });
        add(&m, (BhHalf){ .node = "n2", .container_id = "", .role = BH_HALF_CLIENT, .proto = 6, .port = 443, .local = ip("192.168.7.2"), .peer = ip("8.8.8.8") });
        /* the server sees the client's node */
        add(&m, (BhHalf){ .node = "n2", .container_id = "server", .exe = "/srv", .role = BH_HALF_SERVER, .proto = 6, .port = 80, .peer = ip("192.168.7.1"), .counts.connections = 9 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "h:n1 > c:n2/server :80\nh:n1 > net:8.8.8.0/24 :443\nh:n2 > net:8.8.8.0/24 :443\n");
        gint64 half = add(&m, (BhHalf){ .node = "n1", .container_id = "client", .role = BH_HALF_CLIENT, .proto = 6, .port = 8080, .peer = ip("192.168.7.2"), .counts.connections = 8 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/client > c:n2/server :80\nh:n1 > net:8.8.8.0/24 :443\nh:n2 > net:8.8.8.0/24 :443\n");

        const BhGraphQuery q = { .level = BH_GRAPH_CONTAINER, .container = "client" };
        g_autoptr(BhGraphView) v = bh_graph_query(m.g, &q, NULL, 10);
        g_assert_cmpuint(only(v)->counts.connections, ==, 8);
        g_assert_cmpuint(only(v)->sides, ==, 3);
        g_assert_cmpstr(only(v)->servers->pdata[0], ==, "/srv");
        g_assert_cmpstr(only(v)->dialled->pdata[0], ==, "192.168.7.2:8080");
        /* when the client's half is forgotten, what the server saw is told again */
        bh_graph_remove(m.g, half);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "h:n1 > c:n2/server :80\nh:n1 > net:8.8.8.0/24 :443\nh:n2 > net:8.8.8.0/24 :443\n");
}

static void what_serves_at_the_nodes_address_is_found_there(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        add(&m, (BhHalf){ .node = "n2", .container_id = "", .role = BH_HALF_CLIENT, .proto = 6, .port = 443, .local = ip("192.168.7.2"), .peer = ip("8.8.8.8") });
        gint64 half = add(&m, (BhHalf){ .node = "n1", .container_id = "client", .role = BH_HALF_CLIENT, .proto = 6, .port = 9100, .peer = ip("192.168.7.2"), .counts.connections = 1 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/client > h:n2 :9100\nh:n2 > net:8.8.8.0/24 :443\n");
        box(&m, (Given){ .node = "n2", .id = "exporter", .host_network = TRUE });
        add(&m, (BhHalf){ .node = "n2", .container_id = "exporter", .role = BH_HALF_SERVER, .proto = 6, .port = 9100, .local = ip("192.168.7.2"), .peer = ip("192.168.7.1"), .counts.connections = 1 });
        /* whoever it saw is not known yet: its node has told nothing of itself */
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/client > c:n2/exporter :9100\nh:n2 > net:8.8.8.0/24 :443\nnet:192.168.7.0/24 > c:n2/exporter :9100\n");
        add(&m, (BhHalf){ .node = "n1", .container_id = "", .role = BH_HALF_CLIENT, .proto = 6, .port = 443, .local = ip("192.168.7.1"), .peer = ip("8.8.8.8") });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/client > c:n2/exporter :9100\nh:n1 > net:8.8.8.0/24 :443\nh:n2 > net:8.8.8.0/24 :443\n");
        bh_graph_remove(m.g, half);
        bh_graph_remove_container(m.g, "n2", "exporter");
}

static void gateways_are_the_node_and_services_their_workload(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        const BhGraphPlace places[] = {
                { .what = BH_GRAPH_PLACE_BRIDGE, .address = ip("172.18.0.1"), .node = "n1", .network = "b1" },
                { .what = BH_GRAPH_PLACE_BRIDGE, .address = ip("172.18.0.1"), .node = "n2", .network = "b2" },
                { .what = BH_GRAPH_PLACE_SERVICE, .address = ip("10.0.9.2"), .network = "overlay", .application = "shop", .workload = "db" },
        };

        bh_graph_set_places(m.g, places, G_N_ELEMENTS(places));
        box(&m, (Given){ .node = "n2", .id = "db1", .application = "shop", .workload = "db", .network = "overlay", .address = "10.0.9.7" });
        add(&m, (BhHalf){ .node = "n2", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 22, .peer = ip("172.18.0.1"), .network_id = "b2" });
        add(&m, (BhHalf){ .node = "n1", .container_id = "b", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer = ip("10.0.9.2"), .network_id = "overlay", .counts.connections = 3 });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/b > w:shop/db :5432\nc:n2/a > h:n2 :22\n");
        /* which of its containers it was says the container */
        add(&m, (BhHalf){ .node = "n2", .container_id = "db1", .role = BH_HALF_SERVER, .proto = 6, .port = 5432, .peer = ip("10.0.9.9"), .network_id = "overlay", .counts.connections = 3 });
        box(&m, (Given){ .node = "n1", .id = "b", .application = "shop", .workload = "web", .network = "overlay", .address = "10.0.9.9" });
        assert_drawn(&m, BH_GRAPH_WORKLOAD, "c:n2/a > h:n2 :22\nw:shop/web > w:shop/db :5432\n");
}

static void the_outside_is_a_name_a_named_network_or_a_block(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        g_autoptr(GArray) cidrs = NULL;
        g_autoptr(GError) error = NULL;
        struct {
                const char *peer, *name;
        } const peers[] = { { "203.0.113.9", "api.example.com" }, { "10.200.3.4", NULL }, { "10.200.9.9", NULL }, { "10.9.9.9", NULL }, { "2001:db8:1:2::3", NULL },
                            { "224.0.0.251", NULL }, { "169.254.169.254", NULL }, { "127.0.0.1", NULL }, { "::ffff:9.9.9.9", NULL } };

        g_assert_true(bh_graph_parse_networks("[{\"name\":\"office\",\"cidr\":\"10.200.0.0/16\"},{\"name\":\"lab\",\"cidr\":\"10.200.3.0/24\"}]", &cidrs, &error));
        g_assert_no_error(error);
        bh_graph_set_networks(m.g, cidrs);
        for (guint i = 0; i < G_N_ELEMENTS(peers); i++)
                add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = i + 1, .peer = ip(peers[i].peer), .peer_name = peers[i].name });
        add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 17, .port = 53, .peer = ip("127.0.0.11"), .peer_is_host = TRUE, .peer_name = "docker-dns" });
        assert_drawn(&m, BH_GRAPH_CONTAINER,
                     "c:n/a > c:n/a :8\nc:n/a > dns:api.example.com :1\nc:n/a > net:10.9.9.0/24 :4\nc:n/a > net:169.254.169.254 :7\nc:n/a > net:2001:db8:1::/48 :5\n"
                     "c:n/a > net:9.9.9.0/24 :9\nc:n/a > net:lab :2\nc:n/a > net:multicast :6\nc:n/a > net:office :3\n");
        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_CONTAINER);
        g_assert_cmpuint(v->n_hidden, ==, 1);
        const BhGraphQuery all = { .level = BH_GRAPH_CONTAINER, .hidden = TRUE, .search = "DOCKER-dns" };
        g_autoptr(BhGraphView) hidden = bh_graph_query(m.g, &all, NULL, 10);
        g_assert_true(only(hidden)->hidden);
        g_assert_cmpstr(id_of(hidden, only(hidden)->to), ==, "rt:docker-dns");
        /* they may be named otherwise later */
        bh_graph_set_networks(m.g, NULL);
        bh_graph_resolve_all(m.g);
        g_autofree char *now = drawn(&m, BH_GRAPH_CONTAINER);
        g_assert_nonnull(strstr(now, "net:10.200.3.0/24 :2\n"));
}

static void a_name_is_the_word_of_who_resolved_it(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n", .id = "good", .application = "shop", .workload = "web", .network = "net", .address = "10.0.1.2" });
        box(&m, (Given){ .node = "n", .id = "evil", .application = "shop", .workload = "web", .network = "net", .address = "10.0.1.3" });
        box(&m, (Given){ .node = "n", .id = "db", .application = "shop", .workload = "db", .network = "net", .address = "10.0.1.4" });
        add(&m, (BhHalf){ .node = "n", .container_id = "good", .role = BH_HALF_CLIENT, .proto = 6, .port = 443, .peer = ip("9.9.9.9"), .peer_name = "bank.example" });
        add(&m, (BhHalf){ .node = "n", .container_id = "evil", .role = BH_HALF_CLIENT, .proto = 6, .port = 443, .peer = ip("6.6.6.6"), .peer_name = "bank.example" });
        /* the same addresses of others, and what is known, have their own meaning */
        add(&m, (BhHalf){ .node = "n", .container_id = "good", .role = BH_HALF_CLIENT, .proto = 6, .port = 25, .peer = ip("6.6.6.6") });
        add(&m, (BhHalf){ .node = "n", .container_id = "evil", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer = ip("10.0.1.4"), .network_id = "net", .peer_name = "bank.example" });
        /* nor does a name that the runtime's resolver has hide what leads to the node */
        add(&m, (BhHalf){ .node = "n", .container_id = "evil", .role = BH_HALF_CLIENT, .proto = 6, .port = 22, .peer = ip("10.0.1.1"), .peer_is_host = TRUE, .peer_name = "docker-dns" });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n/evil > c:n/db :5432\nc:n/evil > dns:bank.example :443\nc:n/evil > h:n :22\nc:n/good > dns:bank.example :443\nc:n/good > net:6.6.6.0/24 :25\n");

        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_WORKLOAD);
        guint n = 0;
        for (guint i = 0; i < v->edges->len; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];

                if (e->port != 443) {
                        g_assert_null(e->resolved);
                        continue;
                }
                g_assert_cmpuint(e->resolved->len, ==, 2);
                for (guint k = 0; k < 2; k++) {
                        const BhGraphResolved *r = e->resolved->pdata[k];
                        gboolean evil = g_str_equal(r->by, "c:n/evil");

                        g_assert_cmpstr(r->by, ==, evil ? "c:n/evil" : "c:n/good");
                        g_assert_cmpstr(r->name, ==, evil ? "evil" : "good");
                        g_assert_cmpstr(r->address, ==, evil ? "6.6.6.6" : "9.9.9.9");
                        n += evil ? 1 : 10;
                }
        }
        g_assert_cmpuint(n, ==, 11);
}

static void a_peer_that_is_found_out_later_moves_its_edge(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        gint64 id = add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip("10.0.0.5"), .counts.connections = 1 });
        BhHalf h = filled((BhHalf){ .id = id, .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip("10.0.0.5"), .peer_container_id = "b", .counts.connections = 1 });
        bh_graph_apply(m.g, &h);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n/a > c:n/b :80\n");
        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_CONTAINER);
        g_assert_cmpuint(only(v)->counts.connections, ==, 2);
}

static void wrong_networks_are_refused_with_a_reason(void) {
        static const char *const wrong[] = { "{", "{}", "[1]", "[{\"name\":\"a\"}]", "[{\"name\":\"a\",\"cidr\":\"10.0.0.0/33\"}]", "[{\"name\":\"a\",\"cidr\":\"10.0.0.0/x\"}]",
                                             "[{\"name\":\"\",\"cidr\":\"10.0.0.0/8\"}]", "[{\"name\":\"a/b\",\"cidr\":\"10.0.0.0/8\"}]", "[{\"name\":\"a\",\"cidr\":\"10.0.0.0/8\",\"x\":1}]",
                                             "[{\"name\":\"a\",\"cidr\":\"10.0.0.0/8 \"}]", "[{\"name\":\"a\",\"cidr\":\"hello\"}]" };

        for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_autoptr(GArray) cidrs = NULL;
                g_autoptr(GError) error = NULL;

                if (bh_graph_parse_networks(wrong[i], &cidrs, &error))
                        g_error("taken: %s", wrong[i]);
                g_assert_nonnull(error);
        }
}

/* ---- questions */

static void windows_have_what_was_added_in_them(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        g_autoptr(BhGraphSums) sums = bh_graph_sums_new();
        const BhHalfCounts some = { .connections = 2, .bytes_in = 30 };

        gint64 a = add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 1, .peer = ip("8.8.8.8"), .counts.connections = 100 });
        add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 2, .peer = ip("8.8.8.8"), .counts.connections = 100 });
        add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 3, .peer = ip("8.8.8.8"), .open = 1 });
        bh_graph_sums_add(sums, a, &some);
        bh_graph_sums_add(sums, a, &some);
        BhGraphQuery q = { .level = BH_GRAPH_CONTAINER, .sums = sums, .since_ns = T0, .until_ns = T0 + 60 * S };
        g_autoptr(BhGraphView) v = bh_graph_query(m.g, &q, NULL, 10);
        g_assert_cmpuint(v->edges->len, ==, 2); /* what happened, and what was open */
        for (guint i = 0; i < 2; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];

                g_assert_cmpuint(e->port, !=, 2);
                g_assert_cmpuint(e->counts.connections, ==, e->port == 1 ? 4 : 0);
                g_assert_cmpuint(e->counts.bytes_in, ==, e->port == 1 ? 60 : 0);
                g_assert_true(e->fresh);
        }
        q.until_ns = T0;
        q.since_ns = T0 - 60 * S;
        g_autoptr(BhGraphView) before = bh_graph_query(m.g, &q, NULL, 10);
        g_assert_cmpuint(only(before)->port, ==, 1);
}

static void pages_have_each_edge_once(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autofree char *after = NULL;
        const BhGraphQuery q = { .level = BH_GRAPH_CONTAINER };
        gboolean more = TRUE;

        for (guint i = 1; i <= 100; i++)
                add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = i, .peer = ip("8.8.8.8") });
        for (guint pages = 0; more; pages++) {
                g_autoptr(BhGraphView) v = bh_graph_query(m.g, &q, after, 7);

                g_assert_cmpuint(pages, <, 20);
                g_assert_cmpuint(v->n_edges, ==, 100);
                for (guint i = 0; i < v->edges->len; i++)
                        g_assert_true(g_hash_table_add(seen, g_strdup(((const BhGraphEdge *) v->edges->pdata[i])->id)));
                more = v->more;
                g_free(after);
                after = g_strdup(((const BhGraphEdge *) v->edges->pdata[v->edges->len - 1])->id);
        }
        g_assert_cmpuint(g_hash_table_size(seen), ==, 100);
}

static void filters_are_of_one_end_and_parts_make_the_whole(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n", .id = "aaaa1", .application = "shop", .workload = "web" });
        box(&m, (Given){ .node = "n", .id = "aaaa2", .application = "shop", .workload = "web" });
        box(&m, (Given){ .node = "n", .id = "bbbb1", .application = "bank", .workload = "db" });
        box(&m, (Given){ .node = "n", .id = "lonely", .application = "bank", .workload = "idle" });
        add(&m, (BhHalf){ .node = "n", .container_id = "aaaa1", .exe = "/bin/Web", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer_container_id = "bbbb1", .counts.bytes_out = 1 });
        add(&m, (BhHalf){ .node = "n", .container_id = "aaaa2", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer_container_id = "bbbb1", .counts.bytes_out = 2 });
        const struct {
                BhGraphQuery q;
                guint edges, nodes;
        } cases[] = {
                { { .level = BH_GRAPH_WORKLOAD }, 1, 3 },
                { { .level = BH_GRAPH_CONTAINER }, 2, 4 },
                { { .level = BH_GRAPH_WORKLOAD, .application = "shop", .workload = "web" }, 1, 2 },
                { { .level = BH_GRAPH_WORKLOAD, .application = "shop", .workload = "db" }, 0, 0 }, /* of one end, not one of each */
                { { .level = BH_GRAPH_CONTAINER, .container = "aaaa2" }, 1, 2 },
                { { .level = BH_GRAPH_CONTAINER, .container = "aaaa" }, 2, 3 },
                { { .level = BH_GRAPH_CONTAINER, .container = "aaa" }, 0, 0 },
                { { .level = BH_GRAPH_CONTAINER, .search = "/bin/web" }, 1, 2 },
                { { .level = BH_GRAPH_CONTAINER, .search = "5432" }, 2, 3 },
                { { .level = BH_GRAPH_CONTAINER, .node = "other" }, 0, 0 },
                { { .level = BH_GRAPH_APPLICATION, .application = "bank" }, 1, 2 },
        };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhGraphView) v = bh_graph_query(m.g, &cases[i].q, NULL, 10);

                g_test_message("case %u", i);
                g_assert_cmpuint(v->edges->len, ==, cases[i].edges);
                g_assert_cmpuint(v->nodes->len, ==, cases[i].nodes);
        }
        g_autoptr(BhGraphView) whole = view(&m, BH_GRAPH_APPLICATION);
        BhGraphQuery parts = { .level = BH_GRAPH_CONTAINER, .within = only(whole)->id, .within_level = BH_GRAPH_APPLICATION };
        g_autoptr(BhGraphView) v = bh_graph_query(m.g, &parts, NULL, 10);
        g_assert_cmpuint(v->edges->len, ==, 2);
        g_assert_cmpuint(v->nodes->len, ==, 3);
        /* the same by halves, found once */
        const BhGraphQuery found = { .level = BH_GRAPH_APPLICATION, .within = only(whole)->id, .within_level = BH_GRAPH_APPLICATION, .both = TRUE };
        g_autoptr(GHashTable) halves = bh_graph_select(m.g, &found, NULL);
        const BhGraphQuery of_halves = { .level = BH_GRAPH_CONTAINER, .halves = halves };
        g_autoptr(BhGraphView) same = bh_graph_query(m.g, &of_halves, NULL, 10);
        g_assert_cmpuint(g_hash_table_size(halves), ==, 2);
        g_assert_cmpuint(same->edges->len, ==, 2);
        g_assert_cmpuint(same->nodes->len, ==, 3);
        for (guint i = 0; i < 2; i++)
                g_assert_cmpstr(((const BhGraphEdge *) same->edges->pdata[i])->id, ==, ((const BhGraphEdge *) v->edges->pdata[i])->id);
        const BhGraphQuery brief = { .level = BH_GRAPH_CONTAINER, .brief = TRUE };
        g_autoptr(BhGraphView) ids = bh_graph_query(m.g, &brief, NULL, 10);
        g_assert_cmpuint(ids->nodes->len, ==, 0);
        g_assert_cmpstr(((const BhGraphEdge *) ids->edges->pdata[1])->id, ==, ((const BhGraphEdge *) v->edges->pdata[1])->id);
        g_assert_cmpuint(((const BhGraphEdge *) ids->edges->pdata[0])->counts.bytes_out + ((const BhGraphEdge *) ids->edges->pdata[1])->counts.bytes_out, ==, 3);
        g_hash_table_remove_all(halves);
        g_autoptr(BhGraphView) nothing = bh_graph_query(m.g, &of_halves, NULL, 10);
        g_assert_cmpuint(nothing->edges->len, ==, 0);
        g_assert_cmpuint(nothing->nodes->len, ==, 0);
        parts.within = "0000000000000000";
        g_autoptr(BhGraphView) none = bh_graph_query(m.g, &parts, NULL, 10);
        g_assert_cmpuint(none->edges->len, ==, 0);
}

static void what_an_edge_is_made_of_has_both_sides_and_what_does_not_count(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        gint64 ids[3];

        box(&m, (Given){ .node = "n1", .id = "web", .application = "shop", .workload = "web" });
        box(&m, (Given){ .node = "n1", .id = "db", .application = "shop", .workload = "db" });
        ids[0] = add(&m, (BhHalf){ .node = "n1", .container_id = "web", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer_container_id = "db", .counts.bytes_out = 10 });
        ids[1] = add(&m, (BhHalf){ .node = "n1", .container_id = "db", .role = BH_HALF_SERVER, .proto = 6, .port = 5432, .peer_container_id = "web", .counts.bytes_in = 7 });
        ids[2] = add(&m, (BhHalf){ .node = "n1", .container_id = "web", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer_container_id = "db", .counts.bytes_out = 1 });
        g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_CONTAINER);
        g_assert_cmpuint(v->edges->len, ==, 2);
        for (guint i = 0; i < 2; i++) {
                const BhGraphEdge *e = v->edges->pdata[i];
                const BhGraphQuery counted = { .level = BH_GRAPH_CONTAINER, .within = e->id, .within_level = BH_GRAPH_CONTAINER };
                BhGraphQuery both = counted;

                both.both = TRUE;
                g_autoptr(GHashTable) one = bh_graph_select(m.g, &counted, NULL), all = bh_graph_select(m.g, &both, NULL);
                g_assert_cmpuint(g_hash_table_size(one), ==, 1);
                g_assert_cmpuint(g_hash_table_size(all), ==, e->port == 80 ? 1 : 2);
                for (guint k = 0; k < 3; k++)
                        g_assert_cmpint(g_hash_table_contains(all, (gpointer) (gsize) ids[k]), ==, (e->port == 80) == (k == 2));
        }
}

static void containers_that_are_not_told_anew_go(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        const Given web = { .node = "n", .id = "web", .application = "shop", .workload = "web", .network = "net", .address = "172.17.0.2" };
        const Given db = { .node = "n", .id = "db", .application = "shop", .workload = "db", .network = "net", .address = "172.17.0.3" };
        BhGraphStats stats;

        box(&m, web);
        box(&m, db);
        add(&m, (BhHalf){ .node = "n", .container_id = "web", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer = ip("172.17.0.3"), .counts.connections = 1 });
        assert_drawn(&m, BH_GRAPH_WORKLOAD, "w:shop/web > w:shop/db :5432\n");
        for (guint i = 0; i < 2; i++) {
                bh_graph_containers_begin(m.g);
                box(&m, web);
                if (!i)
                        box(&m, db);
                bh_graph_containers_end(m.g);
                bh_graph_stats(m.g, &stats);
                g_assert_cmpuint(stats.containers, ==, 2 - i);
        }
        /* nobody has the address any more; the edge stays while its half does */
        assert_drawn(&m, BH_GRAPH_WORKLOAD, "w:shop/web > net:172.17.0.0/24 :5432\n");
        box(&m, db);
        assert_drawn(&m, BH_GRAPH_WORKLOAD, "w:shop/web > w:shop/db :5432\n");
}

static void names_cannot_be_mistaken_for_each_other(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n", .id = "x", .application = "a/b", .workload = "c" });
        box(&m, (Given){ .node = "n", .id = "y", .application = "a", .workload = "b/c" });
        add(&m, (BhHalf){ .node = "n", .container_id = "x", .role = BH_HALF_CLIENT, .proto = 6, .port = 1, .peer_container_id = "y" });
        assert_drawn(&m, BH_GRAPH_WORKLOAD, "w:a%2Fb/c > w:a/b/c :1\n");
}

static void tiers_are_the_longest_paths_whatever_the_order(void) {
        /* 0 → 1 → 2 ⇄ 3 → 4, 0 → 4; 5 alone */
        const guint from[] = { 0, 1, 2, 3, 3, 0 }, to[] = { 1, 2, 3, 2, 4, 4 }, want[] = { 0, 1, 2, 2, 3, 1 };
        guint tiers[] = { 0, 1, 1, 1, 1, 1 }, again[] = { 0, 1, 1, 1, 1, 1 }, back_from[6], back_to[6];

        bh_tiers(6, from, to, 6, tiers);
        for (guint i = 0; i < 6; i++) {
                g_assert_cmpuint(tiers[i], ==, want[i]);
                back_from[i] = from[5 - i];
                back_to[i] = to[5 - i];
        }
        bh_tiers(6, back_from, back_to, 6, again);
        g_assert_cmpmem(tiers, sizeof(tiers), again, sizeof(again));
        bh_tiers(0, NULL, NULL, 0, NULL);
}

/* A chain of a million nodes needs no deep stack. */
static void long_chains_do_not_recurse(void) {
        const guint n = 1000000;
        g_autofree guint *from = g_new(guint, n), *to = g_new(guint, n), *tiers = g_new0(guint, n);

        for (guint i = 0; i + 1 < n; i++) {
                from[i] = i;
                to[i] = i + 1;
        }
        bh_tiers(n, from, to, n - 1, tiers);
        g_assert_cmpuint(tiers[n - 1], ==, n - 1);
}

/* Random changes: what is left at the end is what a map has that never saw the rest. */
static guint random_places(GRand *r, BhGraphPlace *places) {
        static const char *const nodes[] = { "n0", "n1" }, *const addresses[] = { "192.168.0.0", "192.168.0.1", "10.0.0.1", "10.0.0.11" }, *const networks[] = { "net", "other", "" };
        guint n = (guint) g_rand_int_range(r, 0, 9);

        for (guint i = 0; i < n; i++)
                places[i] = (BhGraphPlace){ .what = (BhGraphPlaceKind) g_rand_int_range(r, 0, 5), .address = ip(addresses[g_rand_int_range(r, 0, 4)]), .node = nodes[g_rand_int_range(r, 0, 2)],
                                            .network = networks[g_rand_int_range(r, 0, 3)], .application = "", .workload = nodes[g_rand_int_range(r, 0, 2)] };
        return n;
}

static void any_order_gives_the_same_map(void) {
        g_autoptr(GRand) r = g_rand_new_with_seed(7);
        g_auto(Map) m = { bh_graph_new(), 0 }, fresh = { bh_graph_new(), 0 };
        g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint64));
        g_autoptr(GArray) halves = g_array_new(FALSE, FALSE, sizeof(BhHalf));
        static const char *const names[] = { "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7" };
        static const char *const nodes[] = { "n0", "n1" };
        BhGraphPlace places[8];
        guint n_places = 0;

        /* who called an address his own first is the same for both */
        for (guint n = 0; n < 6; n++) {
                g_autofree char *own = g_strdup_printf("192.168.0.%u", n / 2);
                const BhHalfAddress a = ip(own);

                bh_graph_claim(m.g, nodes[n % 2], &a);
                bh_graph_claim(fresh.g, nodes[n % 2], &a);
        }
        for (guint i = 0; i < 6000; i++) {
                guint what = (guint) g_rand_int_range(r, 0, 11), k = (guint) g_rand_int_range(r, 0, 8);
                g_autofree char *address = g_strdup_printf("10.0.0.%d", g_rand_int_range(r, 0, 12)), *own = g_strdup_printf("192.168.0.%d", g_rand_int_range(r, 0, 3));

                if (what < 5) {
                        BhHalf h = filled((BhHalf){ .node = nodes[k % 2], .container_id = g_rand_boolean(r) ? names[k] : "", .role = g_rand_boolean(r) ? BH_HALF_CLIENT : BH_HALF_SERVER,
                                                    .proto = 6, .port = (guint32) g_rand_int_range(r, 80, 83), .peer = ip(g_rand_boolean(r) ? address : own), .local = ip(own), .counts.connections = 1 });

                        h.id = ++m.next;
                        bh_graph_apply(m.g, &h);
                        g_array_append_val(halves, h);
                } else if (what < 7) {
                        box(&m, (Given){ .node = nodes[k % 2], .id = names[k], .workload = names[k % 3], .network = "net", .address = address, .host_port = k < 4 ? 80 + k : 0, .container_port = 80, .host_network = k == 7,
                                          .since_ns = T0 + g_rand_int_range(r, -100, 100) * S });
                } else if (what < 8) {
                        bh_graph_remove_container(m.g, nodes[k % 2], names[k]);
                } else if (what == 10) {
                        n_places = random_places(r, places);
                        bh_graph_set_places(m.g, places, n_places);
                        if (i % 8 == 0)
                                nothing_changes_when_all_is_looked_up(&m);
                } else if (halves->len) {
                        guint at = (guint) g_rand_int_range(r, 0, (gint) halves->len);

                        bh_graph_remove(m.g, g_array_index(halves, BhHalf, at).id);
                        g_array_remove_index_fast(halves, at);
                }
        }
        for (guint k = 0; k < 8; k++) {
                g_autofree char *address = g_strdup_printf("10.0.0.%u", k);
                const Given last = { .node = nodes[k % 2], .id = names[k], .workload = names[k % 3], .network = "net", .address = address, .host_port = k < 4 ? 80 + k : 0, .container_port = 80 };

                box(&m, last);
                box(&fresh, last);
        }
        bh_graph_set_places(fresh.g, places, n_places);
        for (guint i = 0; i < halves->len; i++)
                bh_graph_apply(fresh.g, &g_array_index(halves, BhHalf, i));
        /* addresses that only halves that are gone had are still known: both are to know the same */
        for (guint n = 0; n < 2; n++)
                for (guint i = 0; i < 3; i++) {
                        g_autofree char *own = g_strdup_printf("192.168.0.%u", i);
                        BhHalf h = filled((BhHalf){ .id = 1000000 + n * 10 + i, .node = nodes[n], .role = BH_HALF_CLIENT, .proto = 6, .port = 9, .peer = ip("8.8.8.8"), .local = ip(own) });

                        bh_graph_apply(m.g, &h);
                        bh_graph_apply(fresh.g, &h);
                }
        nothing_changes_when_all_is_looked_up(&m);
        nothing_changes_when_all_is_looked_up(&fresh);
        g_autofree char *one = drawn(&m, BH_GRAPH_CONTAINER), *other = drawn(&fresh, BH_GRAPH_CONTAINER);
        g_assert_cmpstr(one, ==, other);
        for (guint i = 0; i < halves->len; i++)
                bh_graph_remove(m.g, g_array_index(halves, BhHalf, i).id);
        for (guint n = 0; n < 2; n++)
                for (guint i = 0; i < 3; i++)
                        bh_graph_remove(m.g, 1000000 + n * 10 + i);
        BhGraphStats s;
        bh_graph_stats(m.g, &s);
        g_assert_cmpuint(s.halves + s.edges + s.ends + s.addresses, ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/graph/" #name, name)
        TEST(both_sides_are_one_edge_and_the_larger_number_counts);
        TEST(replicas_add_up_and_scaling_down_keeps_what_was);
        TEST(sides_at_two_workloads_are_not_maximised_over_them);
        TEST(what_is_added_later_adds_and_what_is_removed_goes);
        TEST(equal_subnets_of_two_nodes_are_told_apart);
        TEST(a_network_over_nodes_leads_to_the_other_node);
        TEST(an_address_means_the_container_that_had_it_then);
        TEST(a_published_port_leads_to_its_container_and_masks_are_seen_through);
        TEST(what_serves_at_the_nodes_address_is_found_there);
        TEST(gateways_are_the_node_and_services_their_workload);
        TEST(the_outside_is_a_name_a_named_network_or_a_block);
        TEST(a_name_is_the_word_of_who_resolved_it);
        TEST(a_peer_that_is_found_out_later_moves_its_edge);
        TEST(wrong_networks_are_refused_with_a_reason);
        TEST(windows_have_what_was_added_in_them);
        TEST(pages_have_each_edge_once);
        TEST(filters_are_of_one_end_and_parts_make_the_whole);
        TEST(what_an_edge_is_made_of_has_both_sides_and_what_does_not_count);
        TEST(containers_that_are_not_told_anew_go);
        TEST(names_cannot_be_mistaken_for_each_other);
        TEST(tiers_are_the_longest_paths_whatever_the_order);
        TEST(long_chains_do_not_recurse);
        TEST(any_order_gives_the_same_map);
        return g_test_run();
}
