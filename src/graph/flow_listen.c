/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at an address and port: listeners, as events and walks tell them, and sockets at addresses that another container owns. */
#include <string.h>
#include <xxhash.h>

#include "graph/flow_private.h"

/* ---- sockets at another's address ---- */

/* Hashed as bytes. */
struct served_key {
        guint8 ip[16];
        guint32 net_ns; /* of loopback */
        guint16 port;
        guint8 proto, len;
};
_Static_assert(sizeof(struct served_key) == 24, "no hidden padding");

typedef struct {
        struct served_key key;
        End *end;
} Served;

static guint served_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(struct served_key));
}

static gboolean served_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct served_key)) == 0;
}

static void set_served(struct served_key *k, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port) {
        memset(k, 0, sizeof(*k));
        memcpy(k->ip, ip->b, ip->len);
        k->len = ip->len;
        k->net_ns = bh_flow_ip_is_loopback(ip) ? net_ns : 0;
        k->port = port;
        k->proto = proto;
}

static void serves_no_more(BhFlowTable *t, Served *v) {
        g_hash_table_remove(t->served, &v->key);
        bh_flow_end_unref(t, v->end);
        g_free(v);
}

void bh_flow_serves(BhFlowTable *t, const struct side *s) {
        gboolean loopback = bh_flow_ip_is_loopback(&s->laddr);
        struct served_key k;

        if (!s->laddr.len || !s->lport || (loopback && !s->net_ns))
                return;
        set_served(&k, s->net_ns, s->proto, &s->laddr, s->lport);
        Served *v = g_hash_table_lookup(t->served, &k);
        if (v && v->end == s->end)
                return;
        if (v)
                serves_no_more(t, v);

        const Box *owner = loopback ? NULL : bh_flow_at(t, NULL, &s->laddr, NULL);
        if (s->end->box == t->host || (!loopback && (!owner || owner == s->end->box)))
                return;
        if (g_hash_table_size(t->served) >= BH_FLOW_MAX_SERVED) { /* any: the next connection tells it anew */
                GHashTableIter it;
                gpointer any;

                g_hash_table_iter_init(&it, t->served);
                if (g_hash_table_iter_next(&it, &any, NULL))
                        serves_no_more(t, any);
        }
        v = g_new0(Served, 1);
        v->key = k;
        v->end = bh_flow_end_ref(s->end);
        g_hash_table_add(t->served, v);
}

End *bh_flow_server_at(BhFlowTable *t, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port) {
        struct served_key k;

        if (!g_hash_table_size(t->served))
                return NULL;
        set_served(&k, net_ns, proto, ip, port);
        const Served *v = g_hash_table_lookup(t->served, &k);
        return v ? v->end : NULL;
}

/* ---- listeners ---- */

/* Where somebody listens: by network namespace, or by container. Hashed as bytes. */
struct port_key {
        guint64 where;
        guint16 port;
        guint8 proto, pad[5];
};
_Static_assert(sizeof(struct port_key) == 16, "no hidden padding");

typedef struct {
        struct port_key key;
        Listener *listener;
} Port;

static guint port_hash(gconstpointer p) {
        return (guint) XXH3_64bits(p, sizeof(struct port_key));
}

static gboolean port_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct port_key)) == 0;
}

static guint listener_hash(gconstpointer p) {
        const Listener *l = p;
        guint64 h = XXH3_64bits_withSeed(l->told.ip.b, l->told.ip.len, (XXH64_hash_t) (uintptr_t) l->end + l->told.port);

        return (guint) XXH3_64bits_withSeed(l->path, strlen(l->path), h + l->told.net_ns + ((guint64) l->told.proto << 32));
}

static gboolean listener_equal(gconstpointer pa, gconstpointer pb) {
        const Listener *a = pa, *b = pb;

        return a->end == b->end && a->told.net_ns == b->told.net_ns && a->told.proto == b->told.proto && a->told.port == b->told.port && bh_flow_ip_equal(&a->told.ip, &b->told.ip) &&
               strcmp(a->path, b->path) == 0;
}

void bh_flow_listen_init(BhFlowTable *t) {
        t->served = g_hash_table_new(served_hash, served_equal);
        t->listeners = g_hash_table_new(listener_hash, listener_equal);
        t->by_port = g_hash_table_new_full(port_hash, port_equal, NULL, g_free);
        t->listing = g_array_new(FALSE, FALSE, sizeof(BhFlowListener));
}

static void set_port(struct port_key *k, guint64 where, guint8 proto, guint16 port) {
        memset(k, 0, sizeof(*k));
        k->where = where;
        k->proto = proto;
        k->port = port;
}

static Listener *port_find(BhFlowTable *t, guint64 where, guint8 proto, guint16 port) {
        struct port_key k;

        set_port(&k, where, proto, port);
        Port *p = g_hash_table_lookup(t->by_port, &k);
        return p ? p->listener : NULL;
}

End *bh_flow_listener(BhFlowTable *t, guint32 net_ns, Box *box, guint8 proto, guint16 port) {
        Listener *l = net_ns ? port_find(t, net_ns, proto, port) : NULL;

        if (!l && box)
                l = port_find(t, (guint64) (uintptr_t) box, proto, port);
        return l ? l->end : NULL;
}

const char *bh_flow_listener_protocol(BhFlowTable *t, guint32 net_ns, Box *box, guint8 proto, guint16 port) {
        Listener *l = net_ns ? port_find(t, net_ns, proto, port) : NULL;

        if (!l && box)
                l = port_find(t, (guint64) (uintptr_t) box, proto, port);
        return l ? l->protocol : NULL;
}

void bh_flow_listener_speaks(BhFlowTable *t, guint32 net_ns, Box *box, guint8 proto, guint16 port, const char *protocol) {
        Listener *l = net_ns ? port_find(t, net_ns, proto, port) : NULL;

        if (!l && box)
                l = port_find(t, (guint64) (uintptr_t) box, proto, port);
        if (l)
                bh_flow_text(t, &l->protocol, protocol);
}

static void port_set(BhFlowTable *t, guint64 where, guint8 proto, guint16 port, Listener *l) {
        Port *p = g_new0(Port, 1);

        set_port(&p->key, where, proto, port);
        p->listener = l;
        g_hash_table_replace(t->by_port, &p->key, p);
}

static void index_listener(BhFlowTable *t, Listener *l) {
        if (!l->told.proto)
                return;
        port_set(t, (guint64) (uintptr_t) l->end->box, l->told.proto, l->told.port, l);
        if (l->told.net_ns)
                port_set(t, l->told.net_ns, l->told.proto, l->told.port, l);
}

Listener *bh_flow_listen_get(BhFlowTable *t, const Listener *wanted, gint64 now_ns) {
        Listener *l = g_hash_table_lookup(t->listeners, wanted);

        if (!l) {
                if (g_hash_table_size(t->listeners) >= BH_FLOW_MAX_LISTENERS) {
                        t->stats.listeners_refused++;
                        return NULL;
                }
                l = g_new0(Listener, 1);
                *l = *wanted;
                l->path = g_strdup(wanted->path);
                bh_flow_end_ref(l->end);
                l->told.container_id = l->end->box->id;
                l->told.exe = l->end->exe;
                l->told.path = l->path;
                l->told.first_ns = now_ns;
                g_hash_table_add(t->listeners, l);
                index_listener(t, l);
        }
        l->walk = t->walk;
        return l;
}

static void listener_free(BhFlowTable *t, Listener *l) {
        g_ptr_array_add(t->grave, l->path);
        if (l->protocol)
                g_ptr_array_add(t->grave, l->protocol);
        bh_flow_end_unref(t, l->end);
        g_free(l);
}

void bh_flow_listens(BhFlowTable *t, End *end, guint32 net_ns, guint8 proto, const struct bh_ip *ip, guint16 port) {
        Listener wanted = { .end = end, .path = (char *) "", .told = { .net_ns = net_ns, .proto = proto, .ip = *ip, .port = port } };

        bh_flow_listen_get(t, &wanted, t->now_ns);
}

static int by_place(gconstpointer pa, gconstpointer pb) {
        const BhFlowListener *a = pa, *b = pb;
        int d = strcmp(a->container_id, b->container_id);

        if (!d)
                d = (int) a->proto - (int) b->proto;
        if (!d)
                d = (int) a->port - (int) b->port;
        if (!d)
                d = strcmp(a->path, b->path);
        if (!d)
                d = memcmp(&a->ip, &b->ip, sizeof(a->ip));
        if (!d)
                d = strcmp(a->exe, b->exe);
        return d ? d : (a->net_ns > b->net_ns) - (a->net_ns < b->net_ns);
}

void bh_flow_listen_list(BhFlowTable *t) {
        GHashTableIter it;
        guint64 hash = 0;
        gpointer p;

        g_array_set_size(t->listing, 0);
        g_hash_table_iter_init(&it, t->listeners);
        while (g_hash_table_iter_next(&it, &p, NULL)) {
                const Listener *l = p;

                if (l->told.pid) /* seen by a walk */
                        g_array_append_val(t->listing, l->told);
        }
        g_array_sort(t->listing, by_place);
        for (guint i = 0; i < t->listing->len; i++) {
                const BhFlowListener *l = &g_array_index(t->listing, BhFlowListener, i);
                guint64 words[] = { l->pid, l->net_ns, l->proto, l->port, (guint64) l->started_ns };

                hash = XXH3_64bits_withSeed(words, sizeof(words), hash);
                hash = XXH3_64bits_withSeed(l->ip.b, l->ip.len, hash);
                hash = XXH3_64bits_withSeed(l->path, strlen(l->path), hash);
                hash = XXH3_64bits_withSeed(l->exe, strlen(l->exe), hash);
                hash = XXH3_64bits_withSeed(l->container_id, strlen(l->container_id), hash);
        }
        t->listing_changed |= hash != t->listing_hash || t->walk == 1;
        t->listing_hash = hash;
}

const GArray *bh_flow_table_listeners(BhFlowTable *t, gboolean *changed) {
        if (changed) {
                *changed = t->listing_changed;
                t->listing_changed = FALSE;
        }
        return t->listing;
}

void bh_flow_listen_close(BhFlowTable *t) {
        g_autoptr(GPtrArray) closed = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, t->listeners);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (((Listener *) p)->walk != t->walk)
                        g_ptr_array_add(closed, p);
        if (closed->len)
                g_hash_table_remove_all(t->by_port);
        for (guint i = 0; i < closed->len; i++) {
                g_hash_table_remove(t->listeners, g_ptr_array_index(closed, i));
                listener_free(t, g_ptr_array_index(closed, i));
        }
        g_hash_table_iter_init(&it, t->listeners);
        while (closed->len && g_hash_table_iter_next(&it, &p, NULL))
                index_listener(t, p);
}

void bh_flow_listen_free(BhFlowTable *t) {
        g_autoptr(GPtrArray) listeners = bh_flow_all(t->listeners), served = bh_flow_all(t->served);

        for (guint i = 0; i < served->len; i++)
                serves_no_more(t, g_ptr_array_index(served, i));
        for (guint i = 0; i < listeners->len; i++)
                listener_free(t, g_ptr_array_index(listeners, i));
        g_hash_table_unref(t->served);
        g_hash_table_unref(t->listeners);
        g_hash_table_unref(t->by_port);
        g_array_unref(t->listing);
}
