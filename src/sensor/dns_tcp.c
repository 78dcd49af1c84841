/* SPDX-License-Identifier: Apache-2.0 */
#include "dns_tcp.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "describe.h"
#include "event/record_decode.h"
#include "parse/dns_stream.h"

#define PORT_DNS_TLS 853

typedef struct {
        guint64 connection;
        BhDnsStream dir[2]; /* [1]: sent */
        GList link;
} Conn;

struct BhDnsTcp {
        gboolean (*event)(const struct bh_event *e, guint64 start, gpointer data);
        gpointer data;
        GHashTable *conns;
        GQueue quiet; /* Conn, the longest quiet one first */
        GMutex lock;  /* of the stats */
        BhDnsTcpStats stats;
};

typedef struct {
        BhDnsTcp *t;
        const BhPayloadPiece *piece;
        struct bh_event *event;
} Telling;

static void conn_free(BhDnsTcp *t, Conn *c) {
        g_queue_unlink(&t->quiet, &c->link);
        g_hash_table_remove(t->conns, &c->connection);
        bh_dns_stream_clear(&c->dir[0]);
        bh_dns_stream_clear(&c->dir[1]);
        g_free(c);
}

static void count(BhDnsTcp *t, guint64 *which) {
        g_mutex_lock(&t->lock);
        ++*which;
        g_mutex_unlock(&t->lock);
}

static Conn *conn_of(BhDnsTcp *t, guint64 connection) {
        Conn *c = g_hash_table_lookup(t->conns, &connection);

        if (c) {
                g_queue_unlink(&t->quiet, &c->link);
        } else {
                if (g_hash_table_size(t->conns) >= BH_DNS_TCP_CONNECTIONS) {
                        conn_free(t, t->quiet.head->data);
                        count(t, &t->stats.evicted);
                }
                c = g_new0(Conn, 1);
                c->connection = connection;
                c->link.data = c;
                g_hash_table_insert(t->conns, &c->connection, c);
                count(t, &t->stats.connections);
        }
        g_queue_push_tail_link(&t->quiet, &c->link);
        return c;
}

static struct bh_ip ip_of(guint16 family, const guint8 *bytes) {
        struct bh_ip ip = { .len = family == AF_INET ? 4 : 16 };

        memcpy(ip.b, bytes, ip.len);
        return ip;
}

static void on_message(const guint8 *bytes, gsize len, guint32 total, gpointer data) {
        const Telling *to = data;
        const BhPayloadPiece *p = to->piece;
        struct bh_event *e = to->event;

        bh_describe_begin(e, BH_EV_DNS, BH_SOURCE_KERNEL, (guint64) p->time_ns, 0);
        BH_SET(e, pid, p->pid);
        BH_SET(e, tid, p->tid);
        BH_SET(e, cgroup, p->cgroup);
        BH_SET(e, family, p->family);
        BH_SET(e, sock_type, SOCK_STREAM);
        BH_SET(e, proto, IPPROTO_TCP);
        BH_SET(e, laddr, ip_of(p->family, p->laddr));
        BH_SET(e, raddr, ip_of(p->family, p->raddr));
        BH_SET(e, lport, p->lport);
        BH_SET(e, rport, p->rport);
        BH_SET(e, outgoing, p->sent != FALSE);
        BH_SET(e, bytes, total);
        BH_SET(e, ret, (gint64) total);
        BH_SET(e, payload, ((struct bh_str){ (const char *) bytes, (guint32) len }));
        if (len < total)
                BH_SET(e, flags, BH_RF_PAYLOAD_CUT);
        count(to->t, to->t->event(e, p->start, to->t->data) ? &to->t->stats.messages : &to->t->stats.refused);
}

static gboolean is_dns(const BhPayloadPiece *p) {
        return p->flags & BH_PAYLOAD_TLS ? p->rport == PORT_DNS_TLS || p->lport == PORT_DNS_TLS : p->protocol == BH_PAYLOAD_DNS;
}

gboolean bh_dns_tcp_piece(BhDnsTcp *t, const BhPayloadPiece *p) {
        if (p->flags & BH_PAYLOAD_CLOSE) {
                Conn *c = g_hash_table_lookup(t->conns, &p->connection);

                if (c)
                        conn_free(t, c);
                return c != NULL;
        }
        if (!is_dns(p) || !p->len)
                return FALSE;
        Conn *c = conn_of(t, p->connection);
        BhDnsStream *s = &c->dir[p->sent != FALSE];
        g_autofree struct bh_event *e = g_new0(struct bh_event, 1);
        Telling to = { t, p, e };
        gboolean before = s->lost;

        bh_dns_stream_feed(s, p->offset, p->bytes, p->len, on_message, &to);
        if (s->lost && !before)
                count(t, &t->stats.lost);
        return TRUE;
}

BhDnsTcp *bh_dns_tcp_new(gboolean (*event)(const struct bh_event *e, guint64 start, gpointer data), gpointer data) {
        BhDnsTcp *t = g_new0(BhDnsTcp, 1);

        t->event = event;
        t->data = data;
        t->conns = g_hash_table_new(g_int64_hash, g_int64_equal);
        g_mutex_init(&t->lock);
        return t;
}

void bh_dns_tcp_free(BhDnsTcp *t) {
        if (!t)
                return;
        while (t->quiet.length)
                conn_free(t, t->quiet.head->data);
        g_hash_table_unref(t->conns);
        g_mutex_clear(&t->lock);
        g_free(t);
}

void bh_dns_tcp_stats(BhDnsTcp *t, BhDnsTcpStats *out) {
        g_mutex_lock(&t->lock);
        *out = t->stats;
        g_mutex_unlock(&t->lock);
}
