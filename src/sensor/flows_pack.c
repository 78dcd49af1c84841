/* SPDX-License-Identifier: Apache-2.0 */
/* Flows and listeners as the bus carries them. */
#include "flows_private.h"

#include <string.h>

#include "bus/body.h"
#include "bus/bus.h"
#include "bus/bus.pb-c.h"

static ProtobufCBinaryData address(const struct bh_ip *ip) {
        return (ProtobufCBinaryData){ .len = ip->len, .data = (uint8_t *) ip->b };
}

static void fill_flow(Bulkhead__Bus__V1__Flow *m, const BhFlow *f, guint32 *samples) {
        bulkhead__bus__v1__flow__init(m);
        m->container_id = bh_bus_text(f->container_id);
        m->exe = bh_bus_text(f->exe);
        m->role = f->role == BH_FLOW_CLIENT ? BULKHEAD__BUS__V1__FLOW__ROLE__ROLE_CLIENT : BULKHEAD__BUS__V1__FLOW__ROLE__ROLE_SERVER;
        m->proto = f->proto;
        m->local_ip = address(&f->local_ip);
        m->peer_ip = address(&f->peer_ip);
        m->port = f->port;
        m->path = bh_bus_text(f->path);
        m->path_dev = f->path_dev;
        m->path_ino = f->path_ino;
        m->dialled_ip = address(&f->dialled_ip);
        m->dialled_port = f->dialled_port;
        m->peer_container_id = bh_bus_text(f->peer_container_id);
        m->peer_is_host = f->peer_is_host;
        m->peer_exe = bh_bus_text(f->peer_exe);
        m->peer_name = bh_bus_text(f->peer_name);
        m->network_id = bh_bus_text(f->network_id);
        m->protocol = (char *) f->protocol;
        m->server_name = bh_bus_text(f->server_name);
        m->tls_fingerprint = bh_bus_text(f->fingerprint);
        m->tls_certificate = bh_bus_text(f->certificate);
        m->connections = f->added.connections;
        m->refused = f->added.refused;
        m->timed_out = f->added.timed_out;
        m->unreachable = f->added.unreachable;
        m->failed = f->added.failed;
        m->reset = f->added.reset;
        m->bytes_out = f->added.bytes_out;
        m->bytes_in = f->added.bytes_in;
        m->packets_out = f->added.packets_out;
        m->packets_in = f->added.packets_in;
        m->duration_ns = f->added.duration_ns;
        m->first_ns = f->added.first_ns;
        m->last_ns = f->added.last_ns;
        m->open = f->now.open;
        m->half_open = f->now.half_open;
        m->open_bytes_out = f->now.bytes_out;
        m->open_bytes_in = f->now.bytes_in;
        m->open_packets_out = f->now.packets_out;
        m->open_packets_in = f->now.packets_in;
        m->ports = f->ports;
        m->addresses = f->addresses;
        for (guint i = 0; i < f->n_samples; i++)
                samples[i] = f->samples[i];
        m->port_samples = samples;
        m->n_port_samples = f->n_samples;
}

GBytes *bh_flows_pack(const BhFlowsPacked *what, const BhFlowCut *cut, gint64 time_ns, guint64 *cut_off) {
        Bulkhead__Bus__V1__FlowBatch m;
        guint n = cut->flows->len;
        g_autofree Bulkhead__Bus__V1__Flow *flows = g_new(Bulkhead__Bus__V1__Flow, n + 1);
        g_autofree Bulkhead__Bus__V1__Flow **list = g_new(Bulkhead__Bus__V1__Flow *, n + 1);
        g_autofree guint32 *samples = g_new(guint32, (gsize) (n + 1) * BH_FLOW_SAMPLES);

        bulkhead__bus__v1__flow_batch__init(&m);
        m.node = (char *) what->node;
        m.boot_id = (char *) what->boot_id;
        m.after_event = cut->after;
        m.through_event = cut->through;
        m.full = what->full;
        m.time_ns = time_ns;
        m.rest_connections = cut->rest_connections;
        m.rest_bytes = cut->rest_bytes;
        for (guint i = 0; i < n; i++) {
                const BhFlow *f = &g_array_index(cut->flows, BhFlow, i);

                fill_flow(&flows[i], f, samples + (gsize) i * BH_FLOW_SAMPLES);
                if (!f->added.last_ns)
                        flows[i].last_ns = f->now.open ? time_ns : 0;
                list[i] = &flows[i];
        }
        m.flows = list;
        m.n_flows = n;
        /* a batch is one message: its bounds cannot be shared */
        while (m.n_flows && protobuf_c_message_get_packed_size(&m.base) > BH_BUS_MAX_BODY) {
                for (gsize drop = MAX(m.n_flows / 8, 1); drop; drop--) {
                        const Bulkhead__Bus__V1__Flow *f = list[--m.n_flows];

                        m.rest_connections += f->connections + f->refused + f->timed_out + f->unreachable + f->failed;
                        m.rest_bytes += f->bytes_out + f->bytes_in;
                        (*cut_off)++;
                }
        }
        return bh_bus_body_pack(&m.base);
}

GBytes *bh_flows_pack_listeners(const BhFlowsPacked *what, const GArray *listeners, guint64 refused, gint64 time_ns) {
        Bulkhead__Bus__V1__ListenerList m;
        g_autofree Bulkhead__Bus__V1__Listener *all = g_new(Bulkhead__Bus__V1__Listener, listeners->len + 1);
        g_autofree Bulkhead__Bus__V1__Listener **list = g_new(Bulkhead__Bus__V1__Listener *, listeners->len + 1);

        bulkhead__bus__v1__listener_list__init(&m);
        m.node = (char *) what->node;
        m.boot_id = (char *) what->boot_id;
        m.time_ns = time_ns;
        m.refused = (guint32) MIN(refused, G_MAXUINT32);
        for (guint i = 0; i < listeners->len; i++) {
                const BhFlowListener *l = &g_array_index(listeners, BhFlowListener, i);

                bulkhead__bus__v1__listener__init(&all[i]);
                all[i].container_id = bh_bus_text(l->container_id);
                all[i].exe = bh_bus_text(l->exe);
                all[i].pid = l->pid;
                all[i].proto = l->proto;
                all[i].ip = address(&l->ip);
                all[i].port = l->port;
                all[i].path = bh_bus_text(l->path);
                all[i].started_ns = l->started_ns;
                all[i].first_ns = l->first_ns;
                all[i].net_ns = l->net_ns;
                list[i] = &all[i];
        }
        m.listeners = list;
        m.n_listeners = listeners->len;
        while (m.n_listeners && protobuf_c_message_get_packed_size(&m.base) > BH_BUS_MAX_BODY) {
                gsize drop = MAX(m.n_listeners / 8, 1);

                m.refused += (guint32) drop;
                m.n_listeners -= drop;
        }
        return bh_bus_body_pack(&m.base);
}
