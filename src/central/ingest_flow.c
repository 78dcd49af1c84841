/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of flows and lists of listeners, from the bus's messages to the store's rows. */
#include <string.h>

#include "bus/bus.pb-c.h"
#include "ingest_private.h"

static BhHalfAddress address(ProtobufCBinaryData b) {
        return bh_half_address(b.data, b.len);
}

static void half(BhIngestArena *a, const Bulkhead__Bus__V1__Flow *f, BhHalf *out) {
        *out = (BhHalf){
                .container_id = bh_ingest_text(a, f->container_id),
                .exe = bh_ingest_text(a, f->exe),
                .role = f->role == BULKHEAD__BUS__V1__FLOW__ROLE__ROLE_SERVER ? BH_HALF_SERVER : BH_HALF_CLIENT,
                .proto = f->proto & 0xff,
                .port = f->port & 0xffff,
                .path = bh_ingest_text(a, f->path),
                .peer = address(f->peer_ip),
                .dialled = address(f->dialled_ip),
                .dialled_port = f->dialled_port & 0xffff,
                .peer_container_id = bh_ingest_text(a, f->peer_container_id),
                .peer_name = bh_ingest_text(a, f->peer_name),
                .peer_is_host = f->peer_is_host,
                .local = address(f->local_ip),
                .peer_exe = bh_ingest_text(a, f->peer_exe),
                .network_id = bh_ingest_text(a, f->network_id),
                .protocol = f->protocol,
                .server_name = bh_ingest_text(a, f->server_name),
                .fingerprint = bh_ingest_text(a, f->tls_fingerprint),
                .certificate = bh_ingest_text(a, f->tls_certificate),
                .ports = f->ports,
                .addresses = f->addresses,
                .first_ns = f->first_ns,
                .last_ns = f->last_ns,
                .open = f->open,
                .half_open = f->half_open,
                .open_bytes_out = f->open_bytes_out,
                .open_bytes_in = f->open_bytes_in,
                .open_packets_out = f->open_packets_out,
                .open_packets_in = f->open_packets_in,
#define BH_HALF_COUNT(member, other, meaning) .counts.member = f->member,
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
        };
        for (gsize i = 0; i < f->n_port_samples && out->n_port_samples < BH_HALF_SAMPLES; i++)
                out->port_samples[out->n_port_samples++] = f->port_samples[i] & 0xffff;
}

void bh_ingest_flows(BhIngestArena *a, const Bulkhead__Bus__V1__FlowBatch *m, BhStoreFlows *out) {
        *out = (BhStoreFlows){
                .boot_id = m->boot_id,
                .through = m->through_event,
                .full = m->full,
                .time_ns = m->time_ns,
                .halves = g_new(BhHalf, m->n_flows + 1),
                .n_halves = (guint) m->n_flows,
                .rest_connections = m->rest_connections,
                .rest_bytes = m->rest_bytes,
        };
        g_ptr_array_add(a->arrays, out->halves);
        for (gsize i = 0; i < m->n_flows; i++)
                half(a, m->flows[i], &out->halves[i]);
}

void bh_ingest_listeners(BhIngestArena *a, const Bulkhead__Bus__V1__ListenerList *m, BhStoreListeners *out) {
        *out = (BhStoreListeners){ .listeners = g_new0(BhStoreListener, m->n_listeners + 1), .n_listeners = (guint) m->n_listeners };
        g_ptr_array_add(a->arrays, out->listeners);
        for (gsize i = 0; i < m->n_listeners; i++) {
                const Bulkhead__Bus__V1__Listener *l = m->listeners[i];

                out->listeners[i] = (BhStoreListener){
                        .container_id = bh_ingest_text(a, l->container_id),
                        .exe = bh_ingest_text(a, l->exe),
                        .path = bh_ingest_text(a, l->path),
                        .pid = l->pid,
                        .proto = l->proto & 0xff,
                        .port = l->port & 0xffff,
                        .net_ns = l->net_ns,
                        .ip = address(l->ip),
                        .started_ns = l->started_ns,
                        .first_ns = l->first_ns,
                };
        }
}
