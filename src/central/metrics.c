/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "graph.h"
#include "hub.h"
#include "outputs.h"
#include "store/store_inventory.h"

static void head(GString *out, const char *name, const char *type, const char *help) {
        g_string_append_printf(out, "# HELP bulkhead_%s %s\n# TYPE bulkhead_%s %s\n", name, help, name, type);
}

static void one(GString *out, const char *name, const char *type, const char *help, guint64 value) {
        head(out, name, type, help);
        g_string_append_printf(out, "bulkhead_%s %" G_GUINT64_FORMAT "\n", name, value);
}

/* Label values: backslash, quote and line feed are escaped. */
static void label(GString *out, const char *name, const char *value, gboolean first) {
        g_string_append_printf(out, "%s%s=\"", first ? "{" : ",", name);
        for (; *value; value++) {
                if (*value == '\\' || *value == '"')
                        g_string_append_c(out, '\\');
                if (*value == '\n')
                        g_string_append(out, "\\n");
                else
                        g_string_append_c(out, *value);
        }
        g_string_append_c(out, '"');
}

static guint64 resident(void) {
        g_autofree char *text = bh_file_read(AT_FDCWD, "/proc/self/statm", 256, NULL, NULL, NULL);
        unsigned long long size = 0, pages = 0;

        return text && sscanf(text, "%llu %llu", &size, &pages) == 2 ? pages * (guint64) sysconf(_SC_PAGESIZE) : 0;
}

void bh_metrics_append(BhCentral *c, GString *out) {
        static const char *const kinds[] = { "none", "inventory", "observation", "finding", "loss", "resources", "flows", "listeners", "evidence", "response" };
        BhHttpStats http;
        BhStoreStats store;
        BhBusListenerStats bus;
        BhStoreOverview o = { 0 };

        bh_http_stats(c->http, &http);
        bh_store_stats(c->store, &store);
        bh_bus_listener_stats(c->bus, &bus);
        gboolean have = bh_store_overview(c->store, &o, NULL);

        head(out, "build_info", "gauge", "version of the central");
        g_string_append(out, "bulkhead_build_info");
        label(out, "version", BH_VERSION, TRUE);
        g_string_append(out, "} 1\n");
        one(out, "resident_bytes", "gauge", "memory of the central", resident());
        one(out, "uptime_seconds", "gauge", "since the central's start", (guint64) (g_get_monotonic_time() - c->started_us) / G_USEC_PER_SEC);

        one(out, "http_connections", "gauge", "open connections", http.open);
        one(out, "http_connections_total", "counter", "connections", http.connections);
        one(out, "http_requests_total", "counter", "requests", http.requests);
        one(out, "http_refused_heads_total", "counter", "requests with a head that is refused", http.refused_heads);
        one(out, "http_refused_bodies_total", "counter", "requests with a body that is refused", http.refused_bodies);
        one(out, "http_refused_answers_total", "counter", "large answers that found no room", http.refused_answers);
        one(out, "http_refused_local_total", "counter", "connections on the local socket over the bounds of users other than root", http.refused_uid);
        one(out, "http_timeouts_total", "counter", "connections that were closed for being slow", http.timeouts);
        one(out, "http_denied_total", "counter", "calls without or beyond the caller's rights", (guint64) g_atomic_int_get(&c->denied));
        one(out, "http_crowded_total", "counter", "calls refused because their user, or all users, had too many under way", bh_crowd_refused(c->crowd));
        one(out, "audit_paced_total", "counter", "acts and rows of users who fill the audit log too fast, refused or left out", bh_pace_refused(c->pace));
        one(out, "streams", "gauge", "open event streams", bh_hub_count(c->hub));
        head(out, "logins_total", "counter", "logins by outcome");
        g_string_append_printf(out, "bulkhead_logins_total{outcome=\"ok\"} %d\n", g_atomic_int_get(&c->logins_ok));
        g_string_append_printf(out, "bulkhead_logins_total{outcome=\"failed\"} %d\n", g_atomic_int_get(&c->logins_failed));
        g_string_append_printf(out, "bulkhead_logins_total{outcome=\"limited\"} %d\n", g_atomic_int_get(&c->logins_limited));

        bh_outputs_append_metrics(c, out);
        one(out, "bus_nodes", "gauge", "nodes that are connected", bus.peers);
        one(out, "bus_messages_total", "counter", "messages from nodes", bus.messages);
        one(out, "bus_bytes_total", "counter", "bytes of them", bus.bytes);
        one(out, "bus_duplicates_total", "counter", "messages that came again and were passed over", bus.duplicates);
        one(out, "bus_undecodable_total", "counter", "messages that could not be read", (guint64) g_atomic_int_get(&c->undecodable));
        one(out, "bus_deliver_failures_total", "counter", "batches that the store did not take", bus.deliver_failures);
        one(out, "bus_protocol_errors_total", "counter", "nodes that were disconnected for what they sent", bus.protocol_errors);
        one(out, "bus_refused_total", "counter", "connections that were refused", bus.refused);
        one(out, "bus_timeouts_total", "counter", "nodes that fell silent", bus.timeouts);

        one(out, "store_bytes", "gauge", "in use in the database", store.bytes_used);
        one(out, "store_file_bytes", "gauge", "of the database's file", store.bytes_file);
        one(out, "store_commits_total", "counter", "transactions", store.commits);
        one(out, "store_failures_total", "counter", "transactions that failed", store.failed);
        one(out, "store_refused_rows_total", "counter", "rows without a key", store.refused);
        one(out, "store_cut_texts_total", "counter", "texts over their bound", store.cut_texts);
        one(out, "store_halves_folded_total", "counter", "halves of connections over their bounds, put together", store.halves_folded);
        one(out, "store_scopes_contested_total", "counter", "lists of a cluster's resources that were not believed: from nodes that are none of its known managers", store.scopes_contested);
        BhMapStats map;
        bh_map_stats(c->map, &map);
        one(out, "map_halves", "gauge", "halves of connections in the map", map.graph.halves);
        one(out, "map_edges", "gauge", "edges between containers in the map", map.graph.edges);
        one(out, "map_ends", "gauge", "ends of edges in the map", map.graph.ends);
        one(out, "map_addresses_contested", "gauge", "addresses that several nodes call their own; the first one's claim counts", map.graph.contested);
        one(out, "map_addresses_refused_total", "counter", "addresses that nodes call their own, beyond the bounds", map.graph.claims_refused);
        one(out, "map_batches_total", "counter", "batches of flows", map.batches);
        one(out, "map_batches_repeated_total", "counter", "batches that had been told before", map.duplicates);
        one(out, "map_waiting", "gauge", "batches that are stored and wait to be entered into the map", map.queue.waiting);
        one(out, "map_stalled_total", "counter", "batches that waited for room before that", map.queue.stalled);
        one(out, "map_flows_total", "counter", "flows in them", map.halves);
        guint64 rest_connections = 0, rest_bytes = 0;
        if (bh_store_flow_rest(c->store, &rest_connections, &rest_bytes, NULL)) {
                one(out, "map_rest_connections", "gauge", "connections that nodes could not tell apart", rest_connections);
                one(out, "map_rest_bytes", "gauge", "bytes of those", rest_bytes);
        }
        head(out, "store_ingested_total", "counter", "messages stored, by kind");
        for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
                g_string_append_printf(out, "bulkhead_store_ingested_total{kind=\"%s\"} %" G_GUINT64_FORMAT "\n", kinds[i], store.ingested[i]);

        if (!have)
                return;
        one(out, "nodes", "gauge", "known nodes", o.nodes);
        one(out, "containers_running", "gauge", "running containers", o.running);
        one(out, "containers", "gauge", "known containers", o.containers);
        one(out, "workloads", "gauge", "known workloads", o.workloads);
        one(out, "observations", "gauge", "kept observations", o.observations);
        one(out, "findings", "gauge", "kept findings", o.findings);
        one(out, "lost_messages", "gauge", "messages that nodes lost", o.lost);

        g_autoptr(GPtrArray) nodes = bh_store_nodes(c->store, NULL);
        head(out, "node_up", "gauge", "whether the node's sensor is connected");
        for (guint i = 0; nodes && i < nodes->len; i++) {
                const BhStoreNode *n = nodes->pdata[i];

                g_string_append(out, "bulkhead_node_up");
                label(out, "node", n->name, TRUE);
                g_string_append_printf(out, "} %d\n", n->up ? 1 : 0);
        }
}
