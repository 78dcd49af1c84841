/* SPDX-License-Identifier: Apache-2.0 */
/* Whose an address is, when nodes contradict each other, and who is meant where several containers share one. */
#include "graph_map.h"

static guint contested(Map *m) {
        BhGraphStats s;

        bh_graph_stats(m->g, &s);
        return s.contested;
}

static void an_address_stays_with_the_node_that_called_it_its_own_first(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        const BhGraphPlace real[] = { { .what = BH_GRAPH_PLACE_NODE, .address = ip("192.168.7.2"), .node = "n2" } };
        const BhGraphPlace both[] = { { .what = BH_GRAPH_PLACE_NODE, .address = ip("192.168.7.2"), .node = "evil" }, real[0] };
        BhGraphContest c[4];

        bh_graph_set_places(m.g, real, 1);
        add(&m, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 22, .peer = ip("192.168.7.2") });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > h:n2 :22\n");
        g_assert_cmpuint(contested(&m), ==, 0);
        bh_graph_set_places(m.g, both, 2);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > h:n2 :22\n");
        /* the same by what a process of it is said to have */
        add(&m, (BhHalf){ .node = "evil2", .container_id = "", .role = BH_HALF_CLIENT, .proto = 6, .port = 1, .local = ip("192.168.7.2"), .peer = ip("8.8.8.8") });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > h:n2 :22\nh:evil2 > net:8.8.8.0/24 :1\n");
        g_assert_cmpuint(contested(&m), ==, 1);
        g_assert_cmpuint(bh_graph_contests(m.g, c, 4), ==, 1);
        g_assert_cmpstr(c[0].address, ==, "192.168.7.2");
        g_assert_cmpstr(c[0].node, ==, "n2");
        g_assert_cmpstr(c[0].rival, ==, "evil");
        g_assert_cmpuint(c[0].rivals, ==, 2);
        /* who has another address now gives it up to whoever says that it is his */
        bh_graph_set_places(m.g, both, 1);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > h:evil :22\nh:evil2 > net:8.8.8.0/24 :1\n");
}

static void take(const char *node, const BhHalfAddress *address, gpointer data) {
        bh_graph_claim(data, node, address);
}

static void who_was_first_outlasts_a_restart(void) {
        g_auto(Map) m = { bh_graph_new(), 0 }, again = { bh_graph_new(), 0 };
        const BhGraphPlace places[] = { { .what = BH_GRAPH_PLACE_NODE, .address = ip("192.168.7.2"), .node = "n2" }, { .what = BH_GRAPH_PLACE_NODE, .address = ip("192.168.7.2"), .node = "evil" } };
        const BhGraphPlace turned[] = { places[1], places[0] };

        bh_graph_set_places(m.g, places, 2);
        bh_graph_news(m.g, take, again.g);
        bh_graph_set_places(again.g, turned, 2);
        add(&again, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 22, .peer = ip("192.168.7.2") });
        assert_drawn(&again, BH_GRAPH_CONTAINER, "c:n1/a > h:n2 :22\n");
        BhGraphStats s;
        bh_graph_stats(again.g, &s);
        g_assert_cmpuint(s.fresh_claims, ==, 0);
}

static void gateways_that_many_nodes_have_are_no_contest_and_lead_to_none_of_them(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        const BhGraphPlace places[] = {
                { .what = BH_GRAPH_PLACE_BRIDGE, .address = ip("172.17.0.1"), .node = "n1", .network = "b1" },
                { .what = BH_GRAPH_PLACE_NODE, .address = ip("172.17.0.1"), .node = "n1" },
                { .what = BH_GRAPH_PLACE_BRIDGE, .address = ip("172.17.0.1"), .node = "n2", .network = "b2" },
                { .what = BH_GRAPH_PLACE_NODE, .address = ip("172.17.0.1"), .node = "n2" },
        };

        bh_graph_set_places(m.g, places, 4);
        for (guint n = 1; n <= 3; n++) {
                g_autofree char *node = g_strdup_printf("n%u", n);

                add(&m, (BhHalf){ .node = node, .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 22, .peer = ip("172.17.0.1") });
        }
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > h:n1 :22\nc:n2/a > h:n2 :22\nc:n3/a > net:172.17.0.0/24 :22\n");
        g_assert_cmpuint(contested(&m), ==, 0);
}

static void what_a_node_says_of_a_network_that_is_anothers_alone_does_not_count(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        const BhGraphPlace places[] = {
                { .what = BH_GRAPH_PLACE_BRIDGE, .address = ip("172.18.0.1"), .node = "n1", .network = "b1" },
                { .what = BH_GRAPH_PLACE_BRIDGE, .address = ip("172.18.0.1"), .node = "evil", .network = "b1" },
                { .what = BH_GRAPH_PLACE_SANDBOX, .address = ip("172.18.0.9"), .node = "evil", .network = "b1" },
        };

        box(&m, (Given){ .node = "n1", .id = "a", .network = "b1", .address = "172.18.0.2" });
        box(&m, (Given){ .node = "n1", .id = "db", .network = "b1", .address = "172.18.0.3" });
        add(&m, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 5432, .peer = ip("172.18.0.3"), .network_id = "b1" });
        add(&m, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 5433, .peer = ip("172.18.0.3") });
        add(&m, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 22, .peer = ip("172.18.0.1"), .network_id = "b1" });
        add(&m, (BhHalf){ .node = "n1", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 9, .peer = ip("172.18.0.9"), .network_id = "b1" });
        /* a younger container with the same address, said to be in that network; whichever comes first */
        box(&m, (Given){ .node = "evil", .id = "db", .network = "b1", .address = "172.18.0.3", .since_ns = T0 - S });
        bh_graph_set_places(m.g, places, 3);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > c:n1/db :5432\nc:n1/a > c:n1/db :5433\nc:n1/a > h:n1 :22\nc:n1/a > net:172.18.0.0/24 :9\n");
        /* of a network over several nodes it does */
        bh_graph_set_places(m.g, places + 2, 1);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n1/a > c:evil/db :5432\nc:n1/a > c:evil/db :5433\nc:n1/a > h:evil :9\nc:n1/a > net:172.18.0.0/24 :22\n");
}

static void a_node_claims_no_more_than_its_share(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        BhGraphStats s;

        for (guint i = 0; i < 5000; i++) {
                g_autofree char *a = g_strdup_printf("192.168.%u.%u", i >> 8, i & 255);

                add(&m, (BhHalf){ .node = "evil", .container_id = "", .role = BH_HALF_CLIENT, .proto = 6, .port = 1, .local = ip(a), .peer = ip("8.8.8.8") });
        }
        bh_graph_stats(m.g, &s);
        g_assert_cmpuint(s.fresh_claims, ==, 4096);
        g_assert_cmpuint(s.claims_refused, ==, 5000 - 4096);
}

static void a_container_that_took_an_address_over_is_meant_from_then_on(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };
        BhHalf h = filled((BhHalf){ .id = 1, .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 1, .peer = ip("10.0.1.7"), .network_id = "net", .first_ns = T0, .last_ns = T0 });

        box(&m, (Given){ .node = "n", .id = "old", .network = "net", .address = "10.0.1.7", .ended_ns = T0 + 5 * S });
        bh_graph_apply(m.g, &h);
        box(&m, (Given){ .node = "n", .id = "new", .network = "net", .address = "10.0.1.7", .since_ns = T0 + 100 * S });
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n/a > c:n/old :1\n");
        /* the same half goes on: it is the other container's */
        h.last_ns = T0 + 200 * S;
        bh_graph_apply(m.g, &h);
        assert_drawn(&m, BH_GRAPH_CONTAINER, "c:n/a > c:n/new :1\n");
}

static void those_that_share_an_address_are_told_apart_by_their_own_word_in_any_order(void) {
        static const Given boxes[] = {
                { .node = "n1", .id = "pod1", .network = "net", .address = "10.0.9.2" },
                { .node = "n1", .id = "x1", .network_of = "pod1" },
                { .node = "n1", .id = "x2", .network_of = "pod1" },
                { .node = "n2", .id = "pod2", .network = "net", .address = "10.0.9.3" },
                { .node = "n2", .id = "y1", .network_of = "pod2" },
                { .node = "n2", .id = "y2", .network_of = "pod2" },
        };
        const BhHalf halves[] = {
                { .node = "n1", .container_id = "x1", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .local = ip("10.0.9.2"), .peer = ip("10.0.9.3"), .network_id = "net", .counts.connections = 3 },
                { .node = "n1", .container_id = "x2", .role = BH_HALF_CLIENT, .proto = 6, .port = 81, .local = ip("10.0.9.2"), .peer = ip("10.0.9.3"), .network_id = "net", .counts.connections = 4 },
                { .node = "n2", .container_id = "y1", .role = BH_HALF_SERVER, .proto = 6, .port = 80, .local = ip("10.0.9.3"), .peer = ip("10.0.9.2"), .network_id = "net", .counts.connections = 3 },
                { .node = "n2", .container_id = "y2", .role = BH_HALF_SERVER, .proto = 6, .port = 81, .local = ip("10.0.9.3"), .peer = ip("10.0.9.2"), .network_id = "net", .counts.connections = 4 },
                /* and another one of the first pod goes to the same place: what that sees is of both */
                { .node = "n1", .container_id = "x2", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .local = ip("10.0.9.2"), .peer = ip("10.0.9.3"), .network_id = "net", .counts.connections = 5 },
        };
        g_autoptr(GRand) r = g_rand_new_with_seed(3);

        for (guint round = 0; round < 400; round++) {
                const guint n = G_N_ELEMENTS(boxes) + (round % 2 ? 5 : 4);
                g_auto(Map) m = { bh_graph_new(), 0 };
                guint order[16];

                for (guint i = 0; i < n; i++) {
                        guint k = (guint) g_rand_int_range(r, 0, (gint) i + 1);

                        order[i] = order[k];
                        order[k] = i;
                }
                for (guint i = 0; i < n; i++)
                        if (order[i] < G_N_ELEMENTS(boxes))
                                box(&m, boxes[order[i]]);
                        else
                                add(&m, halves[order[i] - G_N_ELEMENTS(boxes)]);
                assert_drawn(&m, BH_GRAPH_CONTAINER, round % 2 ? "c:n1/x1 > c:n2/y1 :80\nc:n1/x2 > c:n2/y1 :80\nc:n1/x2 > c:n2/y2 :81\n" : "c:n1/x1 > c:n2/y1 :80\nc:n1/x2 > c:n2/y2 :81\n");
                g_autoptr(BhGraphView) v = view(&m, BH_GRAPH_CONTAINER);
                guint64 connections = 0;
                for (guint i = 0; i < v->edges->len; i++)
                        connections += ((const BhGraphEdge *) v->edges->pdata[i])->counts.connections;
                g_assert_cmpuint(connections, ==, round % 2 ? 12 : 7);
                nothing_changes_when_all_is_looked_up(&m);
        }
}

static void containers_in_each_others_network_do_not_go_round(void) {
        g_auto(Map) m = { bh_graph_new(), 0 };

        box(&m, (Given){ .node = "n", .id = "a", .network = "net", .address = "10.0.9.2", .network_of = "b" });
        box(&m, (Given){ .node = "n", .id = "b", .network = "net", .address = "10.0.9.3", .network_of = "a" });
        box(&m, (Given){ .node = "n", .id = "self", .network = "net", .address = "10.0.9.4", .network_of = "self" });
        for (guint i = 0; i < 3; i++) {
                g_autofree char *a = g_strdup_printf("10.0.9.%u", i + 2);

                add(&m, (BhHalf){ .node = "n", .container_id = "a", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .peer = ip(a), .network_id = "net" });
                add(&m, (BhHalf){ .node = "n", .container_id = "b", .role = BH_HALF_SERVER, .proto = 6, .port = 80, .peer = ip(a), .network_id = "net" });
        }
        bh_graph_resolve_all(m.g);
        bh_graph_remove_container(m.g, "n", "a");
        box(&m, (Given){ .node = "n", .id = "b", .network = "net", .address = "10.0.9.3" });
        bh_graph_remove_container(m.g, "n", "self");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/graph/places/" #name, name)
        TEST(an_address_stays_with_the_node_that_called_it_its_own_first);
        TEST(who_was_first_outlasts_a_restart);
        TEST(gateways_that_many_nodes_have_are_no_contest_and_lead_to_none_of_them);
        TEST(what_a_node_says_of_a_network_that_is_anothers_alone_does_not_count);
        TEST(a_node_claims_no_more_than_its_share);
        TEST(a_container_that_took_an_address_over_is_meant_from_then_on);
        TEST(those_that_share_an_address_are_told_apart_by_their_own_word_in_any_order);
        TEST(containers_in_each_others_network_do_not_go_round);
        return g_test_run();
}
