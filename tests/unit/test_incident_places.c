/* SPDX-License-Identifier: Apache-2.0 */
/* Whose an address is: on one node, in a network of several nodes, and of connections that were told before it was anybody's. And a report of an incident that holds nothing of anybody's markup. */
#include "store_rows.h"

#include "central/evidence_report.h"
#include "central/incident_places.h"

typedef struct {
        guint n;
        gint64 serial;
        char *node, *container;
} Seen;

static void on_found(gint64 serial, const char *node, const char *container, gint64 time_ns, gpointer data) {
        Seen *s = data;

        s->n++;
        s->serial = serial;
        g_free(s->node);
        g_free(s->container);
        s->node = g_strdup(node);
        s->container = g_strdup(container);
}

static void learn(BhIncidentPlaces *p, const char *node, const char *id, const char *state, const char *network, const char *ip, Seen *seen) {
        g_autofree char *networks = g_strdup_printf("[{\"id\":\"%s\",\"ip\":\"%s\",\"ip6\":\"\"}]", network, ip);
        BhStoreContainer c = { .node = (char *) node, .id = (char *) id, .name = (char *) id, .state = (char *) state, .networks = networks };

        bh_incident_places_learn(p, &c, on_found, seen);
}

static void assert_peer(const BhIncidentPlaces *p, const char *node, const char *container, const char *address, const char *want_node, const char *want) {
        const char *peer_node = NULL, *peer = NULL;
        gboolean there = bh_incident_places_peer(p, node, container, address, &peer_node, &peer);

        g_assert_true(there == (want != NULL));
        if (there) {
                g_assert_cmpstr(peer_node, ==, want_node);
                g_assert_cmpstr(peer, ==, want);
        }
}

static void asset_is_what_the_label_says(void) {
        static const struct {
                const char *labels;
                BhAsset asset;
        } cases[] = {
                { "{}", BH_ASSET_NORMAL }, { "", BH_ASSET_NORMAL }, { "no JSON: bulkhead.asset", BH_ASSET_NORMAL }, { "[\"bulkhead.asset\"]", BH_ASSET_NORMAL },
                { "{\"bulkhead.asset\":\"high\"}", BH_ASSET_HIGH }, { "{\"a\":\"b\",\"bulkhead.asset\":\"critical\"}", BH_ASSET_CRITICAL },
                { "{\"bulkhead.asset\":\"\"}", BH_ASSET_NORMAL }, { "{\"bulkhead.asset\":\"Critical\"}", BH_ASSET_NORMAL }, { "{\"bulkhead.asset\":7}", BH_ASSET_NORMAL },
                { "{\"bulkhead.assets\":\"high\"}", BH_ASSET_NORMAL },
        };

        for (guint n = 0; n < G_N_ELEMENTS(cases); n++) {
                BhIncidentPlaces *p = bh_incident_places_new();
                BhStoreContainer c = { .node = (char *) "one", .id = (char *) "db", .name = (char *) "db", .state = (char *) "running", .networks = (char *) "", .labels = (char *) cases[n].labels };

                bh_incident_places_learn(p, &c, on_found, NULL);
                g_assert_cmpint(bh_incident_places_asset(p, "one", "db"), ==, cases[n].asset);
                g_assert_cmpint(bh_incident_places_asset(p, "two", "db"), ==, BH_ASSET_NORMAL);
                g_assert_cmpint(bh_incident_places_asset(p, "one", ""), ==, BH_ASSET_NORMAL);
                bh_incident_places_clear(p);
                g_assert_cmpint(bh_incident_places_asset(p, "one", "db"), ==, BH_ASSET_NORMAL);
                bh_incident_places_free(p);
        }
}

static void put_worth(BhStore *s, const char *id, const char *state, const char *worth) {
        g_autofree char *labels = g_strdup_printf("{\"bulkhead.asset\":\"%s\"}", worth);
        BhStoreContainer c = { .id = (char *) id, .name = (char *) id, .state = (char *) state, .labels = labels };

        must_put_containers(s, "one", FALSE, &c, 1);
}

static void assert_asks(BhIncidentPlaces *p, BhStore *s, const char *container, BhAsset want) {
        g_assert_cmpint(bh_incident_places_ask_asset(p, s, "one", container), ==, want);
}

/* At a start only those that live are learned, and a finding may be of another one. */
static void worth_of_what_was_removed_is_asked_for_once(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhIncidentPlaces *p = bh_incident_places_new();
        BhStoreContainer c = { .node = (char *) "one", .id = (char *) "later", .name = (char *) "later", .state = (char *) "running", .networks = (char *) "", .labels = (char *) "{\"bulkhead.asset\":\"high\"}" };

        put_worth(s, "db", "removed", "critical");
        put_worth(s, "plain", "removed", "");
        g_assert_cmpint(bh_incident_places_asset(p, "one", "db"), ==, BH_ASSET_NORMAL);
        assert_asks(p, s, "", BH_ASSET_NORMAL);
        assert_asks(p, s, "db", BH_ASSET_CRITICAL);
        g_assert_cmpint(bh_incident_places_asset(p, "one", "db"), ==, BH_ASSET_CRITICAL);
        assert_asks(p, s, "plain", BH_ASSET_NORMAL);
        assert_asks(p, s, "later", BH_ASSET_NORMAL);
        /* what changes afterwards is told, and not asked for */
        put_worth(s, "db", "removed", "high");
        put_worth(s, "plain", "removed", "high");
        put_worth(s, "later", "running", "high");
        assert_asks(p, s, "db", BH_ASSET_CRITICAL);
        assert_asks(p, s, "plain", BH_ASSET_NORMAL);
        assert_asks(p, s, "later", BH_ASSET_NORMAL);
        bh_incident_places_learn(p, &c, on_found, NULL);
        assert_asks(p, s, "later", BH_ASSET_HIGH);
        bh_incident_places_clear(p);
        assert_asks(p, s, "db", BH_ASSET_HIGH);
        bh_incident_places_free(p);
        bh_store_close(s);
}

static void address_is_looked_for_on_the_node_and_in_networks_of_ones_own(void) {
        BhIncidentPlaces *p = bh_incident_places_new();
        Seen seen = { 0 };

        learn(p, "one", "front", "running", "overlay", "10.0.0.2", &seen);
        learn(p, "two", "service", "running", "overlay", "10.0.0.3", &seen);
        learn(p, "two", "private", "running", "bridge-of-two", "172.17.0.2", &seen);
        learn(p, "one", "neighbour", "running", "bridge-of-one", "172.17.0.3", &seen);
        assert_peer(p, "one", "front", "10.0.0.3", "two", "service");
        assert_peer(p, "one", "front", "10.0.0.2", NULL, NULL); /* itself */
        assert_peer(p, "one", "front", "172.17.0.2", NULL, NULL); /* the other node's own */
        assert_peer(p, "one", "neighbour", "10.0.0.3", NULL, NULL); /* not in that network */
        assert_peer(p, "one", "front", "172.17.0.3", "one", "neighbour");
        assert_peer(p, "two", NULL, "172.17.0.2", "two", "private");
        g_assert_cmpstr(bh_incident_places_name(p, "two", "service"), ==, "service");
        g_assert_null(bh_incident_places_name(p, "one", "service"));
        bh_incident_places_clear(p);
        assert_peer(p, "one", "front", "10.0.0.3", NULL, NULL);
        bh_incident_places_free(p);
}

static void connection_waits_for_the_container_that_gets_its_address(void) {
        BhIncidentPlaces *p = bh_incident_places_new();
        Seen seen = { 0 };

        learn(p, "one", "front", "running", "net", "10.0.0.2", &seen);
        bh_incident_places_later(p, 7, "one", "front", "10.0.0.9", 1000);
        learn(p, "one", "other", "running", "net", "10.0.0.8", &seen);
        g_assert_cmpuint(seen.n, ==, 0);
        learn(p, "one", "db", "running", "net", "10.0.0.9", &seen);
        g_assert_cmpuint(seen.n, ==, 1);
        g_assert_cmpint(seen.serial, ==, 7);
        g_assert_cmpstr(seen.container, ==, "db");
        learn(p, "one", "db", "running", "net", "10.0.0.9", &seen);
        g_assert_cmpuint(seen.n, ==, 1);

        /* an address that a removed one had may be meant for the next: both are looked at */
        learn(p, "one", "db", "removed", "net", "10.0.0.9", &seen);
        g_assert_false(bh_incident_places_sure(p, "one", "db"));
        g_assert_true(bh_incident_places_sure(p, "one", "front"));
        g_assert_false(bh_incident_places_sure(p, "one", NULL));
        bh_incident_places_later(p, 8, "one", "front", "10.0.0.9", 2000);
        learn(p, "one", "db", "removed", "net", "10.0.0.9", &seen);
        g_assert_cmpuint(seen.n, ==, 1);
        learn(p, "one", "db2", "running", "net", "10.0.0.9", &seen);
        g_assert_cmpuint(seen.n, ==, 2);
        g_assert_cmpstr(seen.container, ==, "db2");

        /* what waited too long, or beyond the bound, is found no more */
        for (guint i = 0; i <= BH_INCIDENT_LATER; i++)
                bh_incident_places_later(p, 100 + i, "one", "front", i ? "10.0.0.77" : "10.0.0.66", 3000);
        learn(p, "one", "late", "running", "net", "10.0.0.66", &seen);
        g_assert_cmpuint(seen.n, ==, 2);
        learn(p, "one", "later", "running", "net", "10.0.0.77", &seen);
        g_assert_cmpuint(seen.n, ==, 2 + BH_INCIDENT_LATER);
        bh_incident_places_free(p);
        g_free(seen.node);
        g_free(seen.container);
}

static void report_has_no_markup_of_others(void) {
        static char bad[] = "<script>alert(1)</script>&\x1b[31m";
        static char lines[] = "[{\"time\":\"t\",\"rule\":\"<b>rule\",\"priority\":\"error\",\"container_name\":\"<i>box\",\"node\":\"n\",\"exe\":\"/bin/x\",\"output\":\"<img src=x>\",\"count\":3}, 7]";
        BhStoreIncident i = { .id = 12, .title = bad, .story = bad, .state = (char *) "closed", .verdict = (char *) "true_positive", .lines = lines };
        BhStoreEvidence e = { .serial = 34, .kind = (char *) "file", .node = bad, .sha256 = (char *) "abc", .line = (char *) "no JSON at all" };
        g_autoptr(GPtrArray) items = g_ptr_array_new();

        g_ptr_array_add(items, &e);
        GString *html = bh_evidence_report_html(&i, "Program <u>x still runs.", 1000 * G_GINT64_CONSTANT(1000000000), items);
        g_assert_nonnull(strstr(html->str, "&lt;script&gt;alert(1)"));
        g_assert_nonnull(strstr(html->str, "&lt;img src=x&gt;"));
        g_assert_nonnull(strstr(html->str, ">34<"));
        g_assert_nonnull(strstr(html->str, "As of 1970-01-01 00:16:40 UTC, when this report was made: Program &lt;u&gt;x still runs.</p>"));
        g_assert_null(strstr(html->str, "<script"));
        g_assert_null(strstr(html->str, "<img"));
        g_assert_null(strchr(html->str, 0x1b));
        g_assert_true(g_str_has_suffix(html->str, "</html>\n"));
        g_string_free(html, TRUE);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/incident_places/" #name, name)
        TEST(asset_is_what_the_label_says);
        TEST(worth_of_what_was_removed_is_asked_for_once);
        TEST(address_is_looked_for_on_the_node_and_in_networks_of_ones_own);
        TEST(connection_waits_for_the_container_that_gets_its_address);
        TEST(report_has_no_markup_of_others);
        return g_test_run();
}
