/* SPDX-License-Identifier: Apache-2.0 */
#include "graph_json.h"

#include <netinet/in.h>

#include "json_out.h"

const char *bh_proto_name(guint32 proto, char buffer[16]) {
        switch (proto) {
        case 0:
                return "unix";
        case IPPROTO_TCP:
                return "tcp";
        case IPPROTO_UDP:
                return "udp";
        case IPPROTO_SCTP:
                return "sctp";
        case IPPROTO_ICMP:
                return "icmp";
        case IPPROTO_ICMPV6:
                return "icmp6";
        case IPPROTO_UDPLITE:
                return "udplite";
        case IPPROTO_DCCP:
                return "dccp";
        default:
                g_snprintf(buffer, 16, "ip-%u", proto);
                return buffer;
        }
}

void bh_graph_node_open(GString *out, const BhGraphNode *n, guint64 findings) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "id", n->id);
        bh_json_text(out, "kind", n->kind);
        bh_json_text(out, "name", n->name);
        bh_json_text(out, "application", n->application);
        bh_json_text(out, "workload", n->workload);
        bh_json_text(out, "container", n->container);
        bh_json_text(out, "node", n->node);
        bh_json_text(out, "image", n->image);
        bh_json_text(out, "state", n->state);
        bh_json_uint(out, "running", n->running);
        bh_json_uint(out, "containers", n->containers);
        bh_json_uint(out, "findings", findings);
        bh_json_uint(out, "level", n->tier);
}

/* What nodes tell adds up to more than readers of JSON take for a whole number. */
static void number(GString *out, const char *key, guint64 n) {
        bh_json_uint(out, key, MIN(n, (guint64) G_MAXINT64));
}

static void list(GString *out, const char *key, const GPtrArray *texts) {
        bh_json_open(out, key, '[');
        for (guint i = 0; i < texts->len; i++)
                bh_json_text(out, NULL, texts->pdata[i]);
        bh_json_close(out, ']');
}

/* Of a Unix socket over which no message was counted: nothing was sent, or the node's kernel cannot tell. */
static gboolean bytes_are_known(const BhGraphEdge *e) {
        const BhHalfCounts *c = &e->counts;

        return e->proto || c->bytes_out || c->bytes_in || c->packets_out || c->packets_in || !(c->connections || e->open);
}

void bh_graph_edge_open(GString *out, const char *key, const BhGraphView *v, const BhGraphEdge *e) {
        static const char *const sides[] = { "", "client", "server", "both" };
        const BhHalfCounts *c = &e->counts;
        char proto[16], duration[40];

        bh_json_open(out, key, '{');
        bh_json_text(out, "id", e->id);
        bh_json_text(out, "from", ((const BhGraphNode *) v->nodes->pdata[e->from])->id);
        bh_json_text(out, "to", ((const BhGraphNode *) v->nodes->pdata[e->to])->id);
        bh_json_text(out, "proto", bh_proto_name(e->proto, proto));
        bh_json_uint(out, "port", e->port);
        bh_json_text(out, "path", e->path);
        bh_json_text(out, "protocol", e->protocol);
        bh_json_text(out, "server_name", e->server_name);
        bh_json_text(out, "tls_fingerprint", e->fingerprint);
        bh_json_text(out, "tls_certificate", e->certificate);
        number(out, "connections", c->connections);
        number(out, "open", e->open);
        number(out, "half_open", e->half_open);
        number(out, "refused", c->refused);
        number(out, "timed_out", c->timed_out);
        number(out, "unreachable", c->unreachable);
        number(out, "failed", c->failed);
        number(out, "reset", c->reset);
        number(out, "bytes_out", c->bytes_out);
        number(out, "bytes_in", c->bytes_in);
        bh_json_bool(out, "bytes_known", bytes_are_known(e));
        number(out, "packets_out", c->packets_out);
        number(out, "packets_in", c->packets_in);
        g_ascii_formatd(duration, sizeof(duration), "%.9f", (double) c->duration_ns / 1e9);
        bh_json_raw(out, "duration", duration);
        bh_json_time(out, "first_seen", e->first_ns);
        bh_json_time(out, "last_seen", e->last_ns);
        bh_json_bool(out, "new", e->fresh);
        list(out, "clients", e->clients);
        list(out, "servers", e->servers);
        list(out, "names", e->names);
        if (e->resolved) {
                bh_json_open(out, "resolved", '[');
                for (guint i = 0; i < e->resolved->len; i++) {
                        const BhGraphResolved *r = e->resolved->pdata[i];

                        bh_json_open(out, NULL, '{');
                        bh_json_text(out, "by", r->by);
                        bh_json_text(out, "by_name", r->name);
                        bh_json_text(out, "address", r->address);
                        bh_json_close(out, '}');
                }
                bh_json_close(out, ']');
        }
        list(out, "dialled", e->dialled);
        list(out, "networks", e->networks);
        bh_json_uint(out, "ports", e->ports);
        bh_json_uint(out, "addresses", e->addresses);
        bh_json_open(out, "port_samples", '[');
        for (guint i = 0; i < e->n_samples; i++)
                bh_json_uint(out, NULL, e->samples[i]);
        bh_json_close(out, ']');
        bh_json_bool(out, "hidden", e->hidden);
        bh_json_text(out, "sides", sides[e->sides & 3]);
}
