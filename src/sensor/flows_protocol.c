/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flows speak: first bytes of their connections (firstbytes.h), read by the inspector. Bytes are asked for while there are connections of flows whose protocol is
 * not known, for LOOK_SECONDS at a time; in the first minute without a pause, later at most each LOOK_EACH_US, so that a node which sees ever new
 * clients does not pay for it all the time.
 */
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "flows_private.h"

#define LOOK_SECONDS 2u
#define LOOK_EACH_US (10 * G_USEC_PER_SEC)
#define LOOK_FREELY_US (60 * G_USEC_PER_SEC)
#define SOCKETS_AT_ONCE 512u
#define ASKED_MAX 256 /* at the inspector */

typedef struct {
        BhFlows *flows;
        BhFlowEnds ends;
        char container[129];
} Asked;

static void on_protocol(const BhProtocolFacts *facts, const char *problem, gpointer data) {
        Asked *a = data;
        BhFlows *f = a->flows;

        g_mutex_lock(&f->lock);
        if (facts && facts->protocol != BH_PROTOCOL_UNKNOWN) {
                a->ends.container_id = (struct bh_str){ a->container, (guint32) strlen(a->container) };
                f->recognised++;
                BhFlowTls tls = { .fingerprint = facts->fingerprint, .certificate = facts->certificate };
                bh_flow_table_set_protocol(f->table, &a->ends, bh_protocol_name(facts->protocol), facts->server_name, facts->protocol == BH_PROTOCOL_TLS ? &tls : NULL);
        }
        g_mutex_unlock(&f->lock);
        g_atomic_int_add(&f->asked, -1);
        g_free(a);
}

static void fill_ip(struct bh_ip *ip, const guint8 bytes[16], guint16 family) {
        ip->len = family == AF_INET6 ? 16 : 4;
        memcpy(ip->b, bytes, ip->len);
}

static void on_piece(const BhFirstBytesPiece *p, gpointer data) {
        g_auto(BhContainerLookup) l = { 0 };
        BhFlows *f = data;
        gboolean of_client = p->side == BH_FIRST_BYTES_OF_CLIENT;

        if (p->side == BH_FIRST_BYTES_OF_ANY || (p->family != AF_INET && p->family != AF_INET6) || g_atomic_int_get(&f->asked) >= ASKED_MAX)
                return;
        Asked *a = g_new0(Asked, 1);
        a->flows = f;
        a->ends = (BhFlowEnds){ .outgoing = !of_client, .anybody = !p->cgroup && of_client, .proto = IPPROTO_TCP, .net_ns = p->net_ns, .lport = p->lport, .rport = p->rport };
        fill_ip(&a->ends.laddr, p->laddr, p->family);
        fill_ip(&a->ends.raddr, p->raddr, p->family);
        if (p->cgroup) {
                bh_container_table_lookup(f->c.containers, p->cgroup, &l);
                g_strlcpy(a->container, l.container ? l.container->id : "", sizeof(a->container));
        }

        BhProtocolInput in = { .flags = p->offset ? BH_PROTOCOL_MIDSTREAM : 0 };
        if (of_client) {
                in.client = p->bytes;
                in.client_len = p->len;
        } else {
                in.server = p->bytes;
                in.server_len = p->len;
        }
        g_atomic_int_inc(&f->asked);
        if (!bh_inspector_protocol(f->c.inspector, &in, on_protocol, a)) {
                g_atomic_int_add(&f->asked, -1);
                g_free(a);
        }
}

void bh_flows_handshake(BhFlows *f, const BhTlsHandshake *h) {
        const BhPayloadPiece *p = h->piece;
        g_auto(BhContainerLookup) l = { 0 };
        BhProtocolInput in = { .client = h->client, .client_len = h->client_len, .server = h->server, .server_len = h->server_len };

        if (!f->c.inspector || (p->family != AF_INET && p->family != AF_INET6) || g_atomic_int_get(&f->asked) >= ASKED_MAX)
                return;
        bh_container_table_lookup(f->c.containers, p->container, &l);
        if (!l.container)
                return;
        Asked *a = g_new0(Asked, 1);
        a->flows = f;
        a->ends = (BhFlowEnds){ .outgoing = p->side == BH_PAYLOAD_CLIENT, .proto = IPPROTO_TCP, .net_ns = p->net_ns, .lport = p->lport, .rport = p->rport };
        fill_ip(&a->ends.laddr, p->laddr, p->family);
        fill_ip(&a->ends.raddr, p->raddr, p->family);
        g_strlcpy(a->container, l.container->id, sizeof(a->container));
        g_mutex_lock(&f->lock);
        /* under the lock: after the settling the inspector may be gone */
        gboolean asked = !f->stopping && bh_inspector_protocol(f->c.inspector, &in, on_protocol, a);
        if (asked)
                g_atomic_int_inc(&f->asked);
        g_mutex_unlock(&f->lock);
        if (!asked)
                g_free(a);
}

void bh_flows_open_protocols(BhFlows *f) {
        g_autoptr(GError) error = NULL;

        if (!f->c.inspector || !f->c.hooks)
                return;
        f->first_bytes = bh_first_bytes_new(f->c.hooks, on_piece, f, &error);
        if (!f->first_bytes) {
                bh_warn("what connections speak cannot be seen", "error", error->message);
                f->protocol_problem = g_strdup(error->message);
        }
        f->looking_since_us = g_get_monotonic_time();
}

static void failed(BhFlows *f, const GError *error) {
        g_mutex_lock(&f->lock);
        g_free(f->protocol_problem);
        f->protocol_problem = g_strdup(error->message);
        g_mutex_unlock(&f->lock);
}

void bh_flows_look(BhFlows *f, gboolean walked) {
        gint64 now_us = g_get_monotonic_time();
        g_autoptr(GError) error = NULL;
        guint64 sks[SOCKETS_AT_ONCE];
        guint n = 0;

        if (!f->first_bytes)
                return;
        if (walked) {
                g_mutex_lock(&f->lock);
                n = bh_flow_table_unspoken_sockets(f->table, sks, SOCKETS_AT_ONCE);
                g_mutex_unlock(&f->lock);
                if (n && !bh_first_bytes_want(f->first_bytes, sks, n, LOOK_SECONDS, &error))
                        failed(f, error);
                return;
        }
        g_mutex_lock(&f->lock);
        gboolean awaited = bh_flow_table_awaited(f->table);
        g_mutex_unlock(&f->lock);
        if (!awaited)
                bh_first_bytes_enough(f->first_bytes); /* each segment of the machine pays while it is looked at */
        gint64 pause_us = now_us - f->looking_since_us < LOOK_FREELY_US ? (gint64) LOOK_SECONDS * G_USEC_PER_SEC / 2 : LOOK_EACH_US;
        if (f->looked_us && now_us - f->looked_us < pause_us)
                return;
        g_mutex_lock(&f->lock);
        gboolean wanted = bh_flow_table_unspoken(f->table);
        g_mutex_unlock(&f->lock);
        if (!wanted)
                return;
        f->looked_us = now_us;
        if (!bh_first_bytes_want_new(f->first_bytes, LOOK_SECONDS, &error))
                failed(f, error);
}
