/* SPDX-License-Identifier: Apache-2.0 */
/* is it alive, is it ready, how is it, what changed */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth.h"
#include "graph.h"
#include "hub.h"
#include "evidence.h"
#include "incidents.h"
#include "json_out.h"
#include "metrics.h"
#include "outputs.h"
#include "routes.h"
#include "tls_live.h"
#include "upkeep.h"
#include "views.h"

static void answer_text(BhCall *call, guint status, const char *text) {
        bh_http_answer(call->http, status, "text/plain; charset=utf-8", g_bytes_new_static(text, strlen(text)));
}

void bh_api_healthz(BhCall *call) {
        answer_text(call, 200, "ok\n");
}

void bh_api_readyz(BhCall *call) {
        gboolean ready = g_atomic_int_get(&call->central->ready) && !bh_http_stopping(call->central->http);

        answer_text(call, ready ? 200 : 503, ready ? "ready\n" : "not ready\n");
}

static void append_central(BhCentral *c, GString *out) {
        BhHttpStats http;
        BhStoreStats store;
        g_autofree char *fingerprint = NULL;
        gint64 expires;

        bh_tls_live_describe(&fingerprint, &expires);
        bh_http_stats(c->http, &http);
        bh_store_stats(c->store, &store);
        bh_json_open(out, "central", '{');
        bh_json_text(out, "version", BH_VERSION);
        bh_json_time(out, "started", c->started_ns);
        bh_json_int(out, "uptime_s", (g_get_monotonic_time() - c->started_us) / G_USEC_PER_SEC);
        bh_json_uint(out, "landlock", c->landlock);
        bh_json_text(out, "certificate", fingerprint);
        bh_json_time(out, "certificate_expires", expires * 1000000000);
        bh_json_uint(out, "connections", http.open);
        bh_json_uint(out, "streams", http.streams);
        bh_json_open(out, "store", '{');
        bh_json_uint(out, "schema", store.schema);
        bh_json_uint(out, "bytes_used", store.bytes_used);
        bh_json_uint(out, "bytes_file", store.bytes_file);
        bh_json_uint(out, "failed", store.failed);
        bh_json_time(out, "last_backup", bh_store_backup_time(c->store));
        bh_json_text(out, "restored_from", c->opened.restored_from);
        bh_json_text(out, "damaged_kept_as", c->opened.damaged_kept_as);
        bh_json_close(out, '}');
        bh_upkeep_append_json(c->upkeep, out);
        bh_correlator_append_json(c->correlator, out);
        bh_evidence_append_json(c, out);
        BhMapStats map;
        bh_map_stats(c->map, &map);
        bh_json_open(out, "map", '{');
        bh_json_uint(out, "generation", map.generation);
        bh_json_uint(out, "halves", map.graph.halves);
        bh_json_uint(out, "edges", map.graph.edges);
        bh_json_uint(out, "containers", map.graph.containers);
        bh_json_uint(out, "batches", map.batches);
        bh_json_uint(out, "folded", store.halves_folded);
        bh_json_uint(out, "swarm_conflicts", store.scopes_contested);
        bh_json_uint(out, "contested", map.graph.contested);
        bh_json_open(out, "contested_addresses", '[');
        for (guint i = 0; i < map.n_contests; i++) {
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "address", map.contests[i].address);
                bh_json_text(out, "node", map.contests[i].node);
                bh_json_text(out, "rival", map.contests[i].rival);
                bh_json_uint(out, "rivals", map.contests[i].rivals);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_outputs_append_json(c, out);
        bh_json_close(out, '}');
}

void bh_api_status(BhCall *call) {
        static const char *const ranks[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug" };
        BhCentral *c = call->central;
        GError *error = NULL;
        BhStoreOverview o = { 0 };
        GString *out;

        g_autoptr(GPtrArray) nodes = bh_store_nodes(c->store, &error);
        if (!nodes || !bh_store_overview(c->store, &o, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_sized_new(8192);
        bh_json_open(out, NULL, '{');
        bh_json_time(out, "time", g_get_real_time() * 1000);
        append_central(c, out);
        bh_json_open(out, "overview", '{');
        bh_json_uint(out, "nodes", o.nodes);
        bh_json_uint(out, "nodes_up", o.nodes_up);
        bh_json_uint(out, "containers", o.containers);
        bh_json_uint(out, "running", o.running);
        bh_json_uint(out, "workloads", o.workloads);
        bh_json_uint(out, "applications", o.applications);
        bh_json_uint(out, "observations", o.observations);
        bh_json_uint(out, "findings", o.findings);
        bh_json_uint(out, "lost", o.lost);
        bh_json_open(out, "findings_by_priority", '{');
        for (guint i = 0; i < G_N_ELEMENTS(ranks); i++)
                bh_json_uint(out, ranks[i], o.findings_by_rank[i]);
        bh_json_close(out, '}');
        bh_json_close(out, '}');
        bh_json_open(out, "nodes", '[');
        for (guint i = 0; i < nodes->len; i++)
                bh_view_node(out, NULL, nodes->pdata[i], TRUE);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

void bh_api_metrics(BhCall *call) {
        GString *out = g_string_sized_new(8192);

        bh_metrics_append(call->central, out);
        bh_http_answer(call->http, 200, "text/plain; version=0.0.4; charset=utf-8", g_string_free_to_bytes(out));
}

void bh_api_stream(BhCall *call) {
        const char *last = bh_http_header(call->http, "Last-Event-ID"), *param = bh_call_param(call, "after"), *text = last ? last : param;
        g_autoptr(BhHttpStream) stream = NULL;
        g_autoptr(GString) hello = g_string_new("retry: 1000\n\n");
        g_autofree char *data = NULL;
        GError *error = NULL;
        guint64 after = 0;

        if (text && !bh_sse_parse_id(text, &after)) {
                bh_call_error(call, 400, "bad_id", "Last-Event-ID (or \"after\") must be the id of an event of this stream");
                return;
        }
        if (!text && !bh_store_changes_last(call->central->store, &after, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        stream = bh_http_stream_new(BH_HUB_BUFFER);
        /* its id makes the client resume from here, also when nothing changed before it lost the connection */
        data = g_strdup_printf("{\"after\":%" G_GUINT64_FORMAT "}", after);
        bh_sse_append(hello, after, "hello", data);
        bh_http_stream_put(stream, hello->str, hello->len);
        if (!bh_hub_add(call->central->hub, stream, &call->who, &after)) {
                bh_call_error(call, 429, "busy", "too many streams are open: %d of one user, %d in all", BH_STREAMS_PER_USER, BH_STREAMS_MAX);
                return;
        }
        bh_http_answer_stream(call->http, "text/event-stream", stream);
}
