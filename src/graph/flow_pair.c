/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server sees its client as an address. Where that names one container, or is somebody's far away, it says enough. Loopback, the node's own addresses and those of
 * docker-proxy are shared by many: there the client is who had the other end of this very connection, which another event tells, a little earlier or later.
 */
#include <string.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define CLIENTS_MAX 32768u
#define CLIENT_KEEP_NS (60 * G_GINT64_CONSTANT(1000000000))
#define ACCEPTED_MAX 4096u
#define ACCEPTED_KEEP_NS (10 * G_GINT64_CONSTANT(1000000000))
#define HINTS_MAX 4096u
#define PROXIES_MAX 4096u
#define PROXY_KEEP_NS (60 * G_GINT64_CONSTANT(1000000000))

/* A connection by its real ends. Hashed as bytes. */
struct real {
        guint8 client[16], server[16];
        guint16 client_port, server_port;
        guint32 scope; /* network namespace, of loopback */
        guint8 proto, len, pad[2];
};
_Static_assert(sizeof(struct real) == 44, "no hidden padding");

/* Who connected. */
typedef struct {
        struct real real;
        End *end;
        guint32 pid;
        gint64 ns;
        GList age;
} Client;

/* What docker-proxy's two connections have in common: the server that is meant, and how much went which way. Hashed as bytes. */
struct carried {
        guint8 ip[16];
        guint64 in, out;
        guint16 port;
        guint8 len, proto, pad[4];
};
_Static_assert(sizeof(struct carried) == 40, "no hidden padding");

/* A connection that docker-proxy accepted, ended, and whose server's side has not been heard of. */
typedef struct Accepted {
        struct carried carried;
        struct bh_ip client, dialled;
        guint16 dialled_port;
        End *end; /* the client's, where it is one of this node; NULL: by its address */
        gint64 ns;
        GList order;
        struct Accepted *same;
} Accepted;

/* A server's connection that has ended and waits for its other end. */
typedef struct Waiting {
        struct real real;
        struct carried carried;
        struct side s;
        BhFlowCounts c;
        struct bh_ip client, dialled;
        guint16 dialled_port;
        gboolean through_proxy; /* waits in `carried`, else in `waiting` */
        GList order;
        struct Waiting *same;
} Waiting;

/* Who was at the other end the last time: hashed as bytes. */
struct hint_key {
        End *end;
        guint8 client[16];
        guint16 port;
        guint8 len, pad[5];
};
_Static_assert(sizeof(struct hint_key) == 32, "no hidden padding");

typedef struct {
        struct hint_key key;
        End *end; /* NULL: by the address */
        struct bh_ip client, dialled;
        guint16 dialled_port;
} Hint;

struct pairs {
        GHashTable *clients, *waiting, *carried, *accepted, *hints;
        GQueue client_ages, waiting_order, accepted_order;
        gint64 unsettled_us; /* since when something waits, as far as somebody looked; 0: not */
};

#define HASH(name, type) \
        static guint name##_hash(gconstpointer p) { \
                return (guint) XXH3_64bits(p, sizeof(type)); \
        } \
        static gboolean name##_equal(gconstpointer a, gconstpointer b) { \
                return memcmp(a, b, sizeof(type)) == 0; \
        }
HASH(real, struct real)
HASH(carried, struct carried)
HASH(hint, struct hint_key)

struct pairs *bh_flow_pairs_new(void) {
        struct pairs *p = g_new0(struct pairs, 1);

        p->clients = g_hash_table_new(real_hash, real_equal);
        p->waiting = g_hash_table_new(real_hash, real_equal);
        p->carried = g_hash_table_new(carried_hash, carried_equal);
        p->accepted = g_hash_table_new(carried_hash, carried_equal);
        p->hints = g_hash_table_new(hint_hash, hint_equal);
        g_queue_init(&p->client_ages);
        g_queue_init(&p->waiting_order);
        g_queue_init(&p->accepted_order);
        return p;
}

static void set_real(struct real *r, guint8 proto, const struct bh_ip *client, guint16 client_port, const struct bh_ip *server, guint16 server_port, guint32 net_ns) {
        memset(r, 0, sizeof(*r));
        memcpy(r->client, client->b, client->len);
        memcpy(r->server, server->b, server->len);
        r->client_port = client_port;
        r->server_port = server_port;
        r->scope = bh_flow_ip_is_loopback(server) ? net_ns : 0;
        r->proto = proto;
        r->len = client->len;
}

/* ---- docker-proxy ---- */

static gboolean is_proxy_exe(const char *exe, gsize len) {
        static const char name[] = "/docker-proxy";

        return len >= sizeof(name) - 1 && memcmp(exe + len - (sizeof(name) - 1), name, sizeof(name) - 1) == 0;
}

const struct proxy *bh_flow_proxy_of(BhFlowTable *t, const End *end, guint32 pid) {
        if (end->box != t->host || !is_proxy_exe(end->exe, end->exe_len))
                return NULL;
        for (guint i = 0; i < t->proxies->len; i++) {
                const struct proxy *p = &g_array_index(t->proxies, struct proxy, i);

                if (p->pid == pid)
                        return p;
        }
        return NULL;
}

gboolean bh_flow_proxy_leg(BhFlowTable *t, const struct side *s, BhFlowRole role) {
        if (s->end->box != t->host || !is_proxy_exe(s->end->exe, s->end->exe_len))
                return FALSE;
        for (guint i = 0; i < t->proxies->len; i++) {
                const struct proxy *p = &g_array_index(t->proxies, struct proxy, i);

                if (p->proto != s->proto || (s->pid && p->pid != s->pid))
                        continue;
                /* a datagram socket on the published port answers from there, too */
                if (s->lport == p->host_port && (role == BH_FLOW_SERVER || s->proto == BH_PROTO_UDP))
                        return TRUE;
                /* its container is near, or known: a program that only calls itself docker-proxy does not hide where it goes in the world */
                if (role == BH_FLOW_CLIENT && s->rport == p->port && bh_flow_ip_equal(&s->raddr, &p->ip) && (bh_flow_ip_is_near(&p->ip) || bh_flow_at(t, NULL, &p->ip, NULL)))
                        return TRUE;
        }
        return FALSE;
}

/* How well it fits; 0: not at all. */
static guint fits(const struct proxy *p, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port) {
        gboolean exact = bh_flow_ip_equal(&p->host_ip, ip), known = net_ns && p->net_ns;

        if (p->proto != proto || p->host_port != port || p->ended_ns || (!exact && (!bh_flow_ip_is_any(&p->host_ip) || p->host_ip.len != ip->len)))
                return 0;
        /* one namespace's loopback is not another's */
        if (known && p->net_ns != net_ns && bh_flow_ip_is_loopback(ip))
                return 0;
        return 1 + exact + (known && p->net_ns == net_ns ? 2 : 0);
}

const struct proxy *bh_flow_proxy_at(BhFlowTable *t, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port) {
        const struct proxy *best = NULL;
        guint most = 0;

        for (guint i = 0; i < t->proxies->len; i++) {
                const struct proxy *p = &g_array_index(t->proxies, struct proxy, i);
                guint n = fits(p, net_ns, proto, ip, port);

                if (n > most || (n && n == most)) { /* of equals the youngest */
                        best = p;
                        most = n;
                }
        }
        return best;
}

static gboolean parse_port(const char *text, guint16 *port) {
        guint64 n = g_ascii_strtoull(text, NULL, 10);

        *port = (guint16) n;
        return n && n <= G_MAXUINT16;
}

static gboolean parse_proxy(struct bh_str args, struct proxy *p) {
        const char *at = args.p, *end = at + args.len, *option = "";
        guint found = 0;

        p->proto = BH_PROTO_TCP;
        for (const char *nul; at < end && (nul = memchr(at, '\0', (gsize) (end - at))); at = nul + 1) {
                const char *name = *option == '-' && option[1] == '-' ? option + 1 : option;

                if (g_str_equal(name, "-proto"))
                        p->proto = g_str_equal(at, "udp") ? BH_PROTO_UDP : g_str_equal(at, "sctp") ? 132 : BH_PROTO_TCP;
                else if (g_str_equal(name, "-host-ip"))
                        found |= bh_flow_ip_parse(at, &p->host_ip) ? 1u : 0;
                else if (g_str_equal(name, "-host-port"))
                        found |= parse_port(at, &p->host_port) ? 2u : 0;
                else if (g_str_equal(name, "-container-ip"))
                        found |= bh_flow_ip_parse(at, &p->ip) ? 4u : 0;
                else if (g_str_equal(name, "-container-port"))
                        found |= parse_port(at, &p->port) ? 8u : 0;
                option = at;
        }
        return found == 15;
}

void bh_flow_proxy_event(BhFlowTable *t, const struct bh_event *e) {
        struct proxy p = { .pid = e->pid };

        if (e->type == BH_EV_EXIT) {
                for (guint i = 0; i < t->proxies->len; i++) {
                        struct proxy *old = &g_array_index(t->proxies, struct proxy, i);

                        if (old->pid == e->pid && !old->ended_ns)
                                old->ended_ns = (gint64) e->time;
                }
                return;
        }
        /* an engine's own is no container's, and came from none */
        if (bh_event_has(e, BH_F_container_id) || (bh_event_has(e, BH_F_flags) && e->flags & BH_RF_GRAFTED) || !bh_event_has(e, BH_F_exe) || !is_proxy_exe(e->exe.p, e->exe.len) || !bh_event_has(e, BH_F_args) || !parse_proxy(e->args, &p))
                return;
        for (guint i = t->proxies->len; i-- > 0; ) {
                const struct proxy *old = &g_array_index(t->proxies, struct proxy, i);

                /* its last connections may still be told */
                if (old->pid == p.pid || (old->ended_ns && (gint64) e->time - old->ended_ns > PROXY_KEEP_NS))
                        g_array_remove_index_fast(t->proxies, i);
        }
        if (t->proxies->len < PROXIES_MAX)
                g_array_append_val(t->proxies, p);
        t->proxies_seen++;
}

void bh_flow_table_proxy_namespace(BhFlowTable *t, guint32 pid, guint32 net_ns) {
        for (guint i = 0; i < t->proxies->len; i++) {
                struct proxy *p = &g_array_index(t->proxies, struct proxy, i);

                if (p->pid == pid && !p->ended_ns)
                        p->net_ns = net_ns;
        }
}

guint bh_flow_table_proxies(BhFlowTable *t, guint32 *pids, guint max, guint64 *changed) {
        guint n = 0;

        for (guint i = 0; i < t->proxies->len && n < max; i++) {
                const struct proxy *p = &g_array_index(t->proxies, struct proxy, i);

                if (!p->ended_ns)
                        pids[n++] = p->pid;
        }
        if (changed)
                *changed = t->proxies_seen;
        return n;
}

/* ---- clients ---- */

static void client_forget(BhFlowTable *t, Client *c) {
        g_hash_table_remove(t->pairs->clients, &c->real);
        g_queue_unlink(&t->pairs->client_ages, &c->age);
        bh_flow_end_unref(t, c->end);
        g_free(c);
}

static const Client *client_find(BhFlowTable *t, const struct real *real) {
        return g_hash_table_lookup(t->pairs->clients, real);
}

/* ---- hints ---- */

static void set_hint_key(struct hint_key *k, const struct side *s) {
        memset(k, 0, sizeof(*k));
        k->end = s->end;
        memcpy(k->client, s->raddr.b, s->raddr.len);
        k->len = s->raddr.len;
        k->port = s->lport;
}

static void hint_free(BhFlowTable *t, Hint *h) {
        bh_flow_end_unref(t, h->key.end);
        bh_flow_end_unref(t, h->end);
        g_free(h);
}

static void hints_clear(BhFlowTable *t) {
        g_autoptr(GPtrArray) all = bh_flow_all(t->pairs->hints);

        g_hash_table_remove_all(t->pairs->hints);
        for (guint i = 0; i < all->len; i++)
                hint_free(t, g_ptr_array_index(all, i));
}

static const Hint *hint_of(BhFlowTable *t, const struct side *s) {
        struct hint_key k;

        set_hint_key(&k, s);
        return g_hash_table_lookup(t->pairs->hints, &k);
}

static void remember(BhFlowTable *t, const struct side *s, End *end, const struct bh_ip *client, const struct bh_ip *dialled, guint16 dialled_port) {
        struct hint_key k;

        set_hint_key(&k, s);
        Hint *h = g_hash_table_lookup(t->pairs->hints, &k);
        if (!h) {
                if (g_hash_table_size(t->pairs->hints) >= HINTS_MAX)
                        hints_clear(t);
                h = g_new0(Hint, 1);
                h->key = k;
                bh_flow_end_ref(k.end);
                g_hash_table_insert(t->pairs->hints, &h->key, h);
        }
        if (h->end != end) {
                bh_flow_end_unref(t, h->end);
                h->end = end ? bh_flow_end_ref(end) : NULL;
        }
        h->client = *client;
        h->dialled = *dialled;
        h->dialled_port = dialled_port;
}

/* ---- settling ---- */

static Flow *flow_for(BhFlowTable *t, const struct side *s, End *peer, const struct bh_ip *client, const struct bh_ip *dialled, guint16 dialled_port) {
        struct key key;
        /* an address of its own names a container better than the pairing does: all its connections are then one flow */
        Box *by_pair = peer && (bh_flow_ip_is_loopback(client) || !bh_flow_at(t, s->end->box, client, NULL)) ? peer->box : NULL;

        /* who got here by docker-proxy from a loopback address is of the node, if nobody knows more */
        if (!peer && dialled && dialled->len && bh_flow_ip_is_loopback(client))
                by_pair = t->host;
        bh_flow_server_key(s, by_pair, client, dialled, dialled_port, &key);
        Flow *f = bh_flow_of(t, s, &key);
        if (f)
                bh_flow_peer_end(t, f, peer);
        return f;
}

static void settle(BhFlowTable *t, const struct side *s, const BhFlowCounts *c, End *peer, const struct bh_ip *client, const struct bh_ip *dialled, guint16 dialled_port) {
        BhFlowCounts more = *c;

        bh_flow_not_again(&more, s->told);
        bh_flow_count(t, flow_for(t, s, peer, client, dialled, dialled_port), &more);
}

static void set_carried(struct carried *k, const struct bh_ip *server, guint16 port, guint8 proto, guint64 in, guint64 out) {
        memset(k, 0, sizeof(*k));
        memcpy(k->ip, server->b, server->len);
        k->len = server->len;
        k->port = port;
        k->proto = proto;
        k->in = in;
        k->out = out;
}

/* The first of those with equal keys is in the table, the others hang on it. */
static void chain_add(GHashTable *h, gpointer key, gpointer item, gpointer *same) {
        gpointer first = g_hash_table_lookup(h, key);

        *same = first;
        g_hash_table_replace(h, key, item);
}

#define CHAIN_REMOVE(type, h, member, item) \
        do { \
                type *first_ = g_hash_table_lookup(h, &(item)->member); \
                if (first_ == (item)) { \
                        g_hash_table_remove(h, &(item)->member); \
                        if ((item)->same) \
                                g_hash_table_replace(h, &(item)->same->member, (item)->same); \
                } else { \
                        while (first_ && first_->same != (item)) \
                                first_ = first_->same; \
                        if (first_) \
                                first_->same = (item)->same; \
                } \
        } while (0)

static void waiting_remove(BhFlowTable *t, Waiting *w) {
        struct pairs *p = t->pairs;

        if (w->through_proxy)
                CHAIN_REMOVE(Waiting, p->carried, carried, w);
        else
                CHAIN_REMOVE(Waiting, p->waiting, real, w);
        g_queue_unlink(&p->waiting_order, &w->order);
}

static void waiting_free(BhFlowTable *t, Waiting *w) {
        bh_flow_end_unref(t, w->s.end);
        g_free(w);
}

/* With what is known, which is not who was at the other end. */
static void give_up(BhFlowTable *t, Waiting *w) {
        const Hint *h = hint_of(t, &w->s);
        gboolean shared = bh_flow_ip_is_loopback(&w->client) || bh_flow_is_host_address(t, &w->client) || w->through_proxy;

        waiting_remove(t, w);
        if (h)
                settle(t, &w->s, &w->c, h->end, &h->client, &h->dialled, h->dialled_port);
        else
                settle(t, &w->s, &w->c, NULL, &w->client, &w->dialled, w->dialled_port);
        t->stats.unpaired += shared;
        waiting_free(t, w);
}

void bh_flow_pair_force(BhFlowTable *t) {
        while (t->pairs->waiting_order.head)
                give_up(t, t->pairs->waiting_order.head->data);
        t->pairs->unsettled_us = 0;
}

static void wait_for(BhFlowTable *t, const struct real *real, const struct carried *carried, const struct side *s, const BhFlowCounts *c, const struct bh_ip *client,
                     const struct bh_ip *dialled, guint16 dialled_port) {
        struct pairs *p = t->pairs;

        if (p->waiting_order.length >= t->c.max_waiting)
                give_up(t, p->waiting_order.head->data);

        Waiting *w = g_new0(Waiting, 1);
        w->s = *s;
        bh_flow_end_ref(w->s.end);
        w->c = *c;
        w->client = *client;
        w->dialled = *dialled;
        w->dialled_port = dialled_port;
        w->order.data = w;
        g_queue_push_tail_link(&p->waiting_order, &w->order);
        w->real = *real;
        if (carried) {
                w->carried = *carried;
                w->through_proxy = TRUE;
                chain_add(p->carried, &w->carried, w, (gpointer *) &w->same);
        } else {
                chain_add(p->waiting, &w->real, w, (gpointer *) &w->same);
        }
}

static void accepted_remove(BhFlowTable *t, Accepted *a) {
        CHAIN_REMOVE(Accepted, t->pairs->accepted, carried, a);
        g_queue_unlink(&t->pairs->accepted_order, &a->order);
}

static void accepted_free(BhFlowTable *t, Accepted *a) {
        bh_flow_end_unref(t, a->end);
        g_free(a);
}

/* The connection came through docker-proxy: its client is that of the connection which carried the same. */
static void through_proxy(BhFlowTable *t, const struct real *real, const struct side *s, const BhFlowCounts *c, const struct bh_ip *client) {
        struct carried carried;

        set_carried(&carried, &s->laddr, s->lport, s->proto, c->bytes_in, c->bytes_out);
        Accepted *a = g_hash_table_lookup(t->pairs->accepted, &carried);
        if (!a) {
                wait_for(t, real, &carried, s, c, client, &(struct bh_ip){ .len = 0 }, 0);
                return;
        }
        accepted_remove(t, a);
        remember(t, s, a->end, &a->client, &a->dialled, a->dialled_port);
        settle(t, s, c, a->end, &a->client, &a->dialled, a->dialled_port);
        accepted_free(t, a);
}

void bh_flow_pair_proxy(BhFlowTable *t, const struct side *s, const BhFlowCounts *c) {
        const struct proxy *proxy = bh_flow_proxy_of(t, s->end, s->pid);
        struct pairs *p = t->pairs;
        BhConntrackEnds ends;
        struct real real;

        if (!proxy)
                return;
        bh_conntrack_undo_server(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);
        set_real(&real, s->proto, &ends.client, ends.client_port, &s->laddr, s->lport, s->net_ns);

        const Client *client = client_find(t, &real);
        Accepted *a = g_new0(Accepted, 1);
        set_carried(&a->carried, &proxy->ip, proxy->port, proxy->proto, c->bytes_in, c->bytes_out);
        a->client = ends.client;
        a->dialled = s->laddr;
        a->dialled_port = s->lport;
        if (client)
                a->end = bh_flow_end_ref(client->end);
        else if (bh_flow_ip_is_loopback(&ends.client) || bh_flow_is_host_address(t, &ends.client)) /* of the node, where docker-proxy is, not of the container */
                a->end = bh_flow_end(t, t->host, (struct bh_str){ "", 0 });
        a->ns = t->now_ns;

        Waiting *w = g_hash_table_lookup(p->carried, &a->carried);
        if (w) {
                waiting_remove(t, w);
                remember(t, &w->s, a->end, &a->client, &a->dialled, a->dialled_port);
                settle(t, &w->s, &w->c, a->end, &a->client, &a->dialled, a->dialled_port);
                waiting_free(t, w);
                accepted_free(t, a);
                return;
        }
        while (p->accepted_order.head && (p->accepted_order.length >= ACCEPTED_MAX || t->now_ns - ((Accepted *) p->accepted_order.head->data)->ns > ACCEPTED_KEEP_NS)) {
                Accepted *old = p->accepted_order.head->data;

                accepted_remove(t, old);
                accepted_free(t, old);
        }
        a->order.data = a;
        g_queue_push_tail_link(&p->accepted_order, &a->order);
        chain_add(p->accepted, &a->carried, a, (gpointer *) &a->same);
}

/* TRUE: the address alone says who the client is, or that it is nobody here. */
static gboolean says_enough(BhFlowTable *t, const struct side *s, const struct bh_ip *client) {
        if (bh_flow_ip_is_loopback(client))
                return FALSE;
        if (bh_flow_at(t, s->end->box, client, NULL))
                return TRUE;
        return !bh_flow_ip_is_near(client) && !bh_flow_is_host_address(t, client);
}

void bh_flow_pair_server(BhFlowTable *t, const struct side *s, const BhFlowCounts *c) {
        BhConntrackEnds ends;
        struct real real;

        gboolean translated = bh_conntrack_undo_server(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);
        if (!translated)
                ends.dialled.len = 0;
        if (says_enough(t, s, &ends.client)) {
                settle(t, s, c, NULL, &ends.client, &ends.dialled, ends.dialled_port);
                return;
        }
        set_real(&real, s->proto, &ends.client, ends.client_port, &s->laddr, s->lport, s->net_ns);

        const Client *client = client_find(t, &real);
        if (!client) {
                wait_for(t, &real, NULL, s, c, &ends.client, &ends.dialled, ends.dialled_port);
        } else if (bh_flow_proxy_of(t, client->end, client->pid)) {
                through_proxy(t, &real, s, c, &ends.client);
        } else {
                remember(t, s, client->end, &ends.client, &ends.dialled, ends.dialled_port);
                settle(t, s, c, client->end, &ends.client, &ends.dialled, ends.dialled_port);
        }
}

void bh_flow_pair_client(BhFlowTable *t, const struct side *s) {
        struct pairs *p = t->pairs;
        BhConntrackEnds ends;
        struct real real;

        bh_conntrack_undo_client(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);
        /* nobody will ask who it was */
        if (!s->lport || (!bh_flow_ip_is_near(&ends.server) && !bh_flow_is_host_address(t, &ends.server) && !bh_flow_at(t, NULL, &ends.server, NULL)))
                return;
        if (!bh_flow_ip_is_loopback(&ends.client) && bh_flow_at(t, NULL, &ends.client, NULL))
                return;
        if (bh_flow_ip_is_loopback(&ends.server) && !s->net_ns)
                return;
        set_real(&real, s->proto, &ends.client, ends.client_port, &ends.server, ends.server_port, s->net_ns);

        Client *c = g_hash_table_lookup(p->clients, &real);
        if (c) {
                g_queue_unlink(&p->client_ages, &c->age);
                bh_flow_end_ref(s->end);
                bh_flow_end_unref(t, c->end);
        } else {
                while (p->client_ages.head && (p->client_ages.length >= CLIENTS_MAX || t->now_ns - ((Client *) p->client_ages.head->data)->ns > CLIENT_KEEP_NS))
                        client_forget(t, p->client_ages.head->data);
                c = g_new0(Client, 1);
                c->real = real;
                c->age.data = c;
                bh_flow_end_ref(s->end);
                g_hash_table_insert(p->clients, &c->real, c);
        }
        c->end = s->end;
        c->pid = s->pid;
        c->ns = t->now_ns;
        g_queue_push_tail_link(&p->client_ages, &c->age);

        for (Waiting *w; (w = g_hash_table_lookup(p->waiting, &real)); ) {
                waiting_remove(t, w);
                if (bh_flow_proxy_of(t, c->end, c->pid)) {
                        through_proxy(t, &real, &w->s, &w->c, &w->client);
                } else {
                        remember(t, &w->s, c->end, &w->client, &w->dialled, w->dialled_port);
                        settle(t, &w->s, &w->c, c->end, &w->client, &w->dialled, w->dialled_port);
                }
                waiting_free(t, w);
        }
}

Flow *bh_flow_pair_open(BhFlowTable *t, const struct side *s, gboolean last, gboolean *hidden) {
        BhConntrackEnds ends;
        struct real real;

        *hidden = FALSE;
        gboolean translated = bh_conntrack_undo_server(t->conntrack, s->proto, &s->laddr, s->lport, &s->raddr, s->rport, &ends);
        if (!translated)
                ends.dialled.len = 0;
        if (says_enough(t, s, &ends.client))
                return flow_for(t, s, NULL, &ends.client, &ends.dialled, ends.dialled_port);
        set_real(&real, s->proto, &ends.client, ends.client_port, &s->laddr, s->lport, s->net_ns);

        const Client *client = client_find(t, &real);
        if (client && !bh_flow_proxy_of(t, client->end, client->pid))
                return flow_for(t, s, client->end, &ends.client, &ends.dialled, ends.dialled_port);
        if (!last)
                return NULL;

        const Hint *h = hint_of(t, s);
        return h ? flow_for(t, s, h->end, &h->client, &h->dialled, h->dialled_port) : flow_for(t, s, NULL, &ends.client, &ends.dialled, ends.dialled_port);
}

gboolean bh_flow_table_unsettled(BhFlowTable *t, gint64 now_us, gint64 wait_us) {
        struct pairs *p = t->pairs;

        if (!p->waiting_order.length)
                return FALSE;
        if (!p->unsettled_us)
                p->unsettled_us = now_us;
        return now_us - p->unsettled_us < wait_us;
}

void bh_flow_pairs_free(BhFlowTable *t) {
        struct pairs *p = t->pairs;

        bh_flow_pair_force(t);
        while (p->client_ages.head)
                client_forget(t, p->client_ages.head->data);
        while (p->accepted_order.head) {
                Accepted *a = p->accepted_order.head->data;

                accepted_remove(t, a);
                accepted_free(t, a);
        }
        hints_clear(t);
        g_hash_table_unref(p->clients);
        g_hash_table_unref(p->waiting);
        g_hash_table_unref(p->carried);
        g_hash_table_unref(p->accepted);
        g_hash_table_unref(p->hints);
        g_free(p);
}
