/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <xxhash.h>

#include "graph/flow_private.h"

#define FRESH_TRY_US (300 * 1000)             /* a flow that only tries may still become one, or a part of a scan */
#define FRESH_SUSPECT_US BH_FLOW_SCAN_US      /* the same, of who tries many */

/* Who has an address. */
typedef struct {
        Box *box;
        const char *network; /* the net's in the box */
} Place;

typedef struct {
        guint32 key; /* protocol and port */
        guint16 port;
        Box *box;
} Published;

static guint ip_hash(gconstpointer p) {
        const struct bh_ip *ip = p;

        return (guint) XXH3_64bits(ip->b, ip->len);
}

static gboolean ip_equal(gconstpointer a, gconstpointer b) {
        return bh_flow_ip_equal(a, b);
}

/* ---- containers and their addresses ---- */

static void add_net(Box *b, const char *id, const char *text) {
        struct net n;

        if (!text || !*text || !bh_flow_ip_parse(text, &n.ip))
                return;
        n.id = g_strdup(id);
        g_array_append_val(b->nets, n);
}

static gboolean is_alive(const BhContainer *c) {
        return c->state == BH_CONTAINER_RUNNING || c->state == BH_CONTAINER_PAUSED || c->state == BH_CONTAINER_RESTARTING || c->state == BH_CONTAINER_STATE_UNKNOWN;
}

static void take_networks(BhFlowTable *t, Box *b, const BhContainer *c) {
        gboolean any = FALSE;

        for (guint i = 0; i < c->networks->len; i++) {
                const BhContainerNetwork *n = &g_array_index(c->networks, BhContainerNetwork, i);

                any |= (n->ip && *n->ip) || (n->ip6 && *n->ip6);
        }
        if (!any) /* an ended one has none any more: what it had stays, as events of its last moments may come */
                return;
        g_array_set_size(b->nets, 0);
        for (guint i = 0; i < c->networks->len; i++) {
                const BhContainerNetwork *n = &g_array_index(c->networks, BhContainerNetwork, i);

                add_net(b, n->id ? n->id : "", n->ip);
                add_net(b, n->id ? n->id : "", n->ip6);
        }
}

static void add_places(BhFlowTable *t, Box *b) {
        for (guint i = 0; i < b->nets->len; i++) {
                struct net *n = &g_array_index(b->nets, struct net, i);
                GArray *places = g_hash_table_lookup(t->addresses, &n->ip);
                Place place = { b, n->id };

                if (!places) {
                        places = g_array_new(FALSE, FALSE, sizeof(Place));
                        g_hash_table_insert(t->addresses, g_memdup2(&n->ip, sizeof(n->ip)), places);
                } else if (!b->alive && g_array_index(places, Place, 0).box->alive) {
                        continue; /* somebody else has it now */
                }
                g_array_append_val(places, place);
        }
}

static guint32 published_key(guint8 proto, guint16 port) {
        return (guint32) proto << 16 | port;
}

static void add_published(BhFlowTable *t, Box *b, const BhContainer *c) {
        for (guint i = 0; i < c->ports->len; i++) {
                const BhPort *p = &g_array_index(c->ports, BhPort, i);
                guint8 proto = g_str_equal(p->protocol, "udp") ? BH_PROTO_UDP : g_str_equal(p->protocol, "sctp") ? 132 : BH_PROTO_TCP;

                if (!p->host_port)
                        continue;
                Published *made = g_new0(Published, 1);
                made->key = published_key(proto, p->host_port);
                made->port = p->container_port;
                made->box = b;
                g_hash_table_replace(t->published, &made->key, made);
        }
}

static gboolean learned_is_gone(gpointer key, gpointer value, gpointer data) {
        Box *b = value;

        if (b->listed)
                return FALSE;
        bh_flow_box_unref(data, b);
        return TRUE;
}

void bh_flow_table_containers(BhFlowTable *t, const GPtrArray *containers) {
        g_autoptr(GPtrArray) boxes = bh_flow_all(t->boxes), gone = g_ptr_array_new();

        for (guint i = 0; i < boxes->len; i++)
                if (g_ptr_array_index(boxes, i) != t->host)
                        ((Box *) g_ptr_array_index(boxes, i))->alive = FALSE;
        if (!t->addresses) {
                t->addresses = g_hash_table_new_full(ip_hash, ip_equal, g_free, (GDestroyNotify) g_array_unref);
                t->published = g_hash_table_new_full(g_int_hash, g_int_equal, NULL, g_free);
        }
        g_hash_table_remove_all(t->addresses);
        g_hash_table_remove_all(t->published);

        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        for (guint i = 0; containers && i < containers->len; i++) {
                const BhContainer *c = g_ptr_array_index(containers, i);
                Box *b = bh_flow_box(t, (struct bh_str){ c->id, (guint32) strlen(c->id) });

                if (!b->listed) {
                        b->listed = TRUE;
                        b->refs++;
                }
                g_hash_table_add(seen, b);
                b->alive = is_alive(c);
                b->host_network = c->host_network;
                if (c->net_ns)
                        b->net_ns = c->net_ns;
                take_networks(t, b, c);
                if (b->alive) {
                        add_places(t, b);
                        add_published(t, b, c);
                }
        }

        g_autoptr(GPtrArray) all = bh_flow_all(t->boxes);
        for (guint i = 0; i < all->len; i++) {
                Box *b = g_ptr_array_index(all, i);

                if (b == t->host)
                        continue;
                if (!b->alive)
                        add_places(t, b);
                if (b->listed && !g_hash_table_contains(seen, b)) {
                        b->listed = FALSE;
                        g_ptr_array_add(gone, b);
                }
        }
        if (t->learned)
                g_hash_table_foreach_remove(t->learned, learned_is_gone, t);
        for (guint i = 0; i < gone->len; i++) {
                Box *b = g_ptr_array_index(gone, i);

                bh_flow_box_unref(t, b);
        }
}

void bh_flow_leave_places(BhFlowTable *t, const Box *b) {
        for (guint k = 0; t->addresses && k < b->nets->len; k++) {
                const struct bh_ip *ip = &g_array_index(b->nets, struct net, k).ip;
                GArray *places = g_hash_table_lookup(t->addresses, ip);

                for (guint n = places ? places->len : 0; n-- > 0; )
                        if (g_array_index(places, Place, n).box == b)
                                g_array_remove_index(places, n);
                if (places && !places->len)
                        g_hash_table_remove(t->addresses, ip);
        }
}

void bh_flow_table_host_addresses(BhFlowTable *t, const struct bh_ip *addresses, gsize n) {
        if (!t->host_addresses)
                t->host_addresses = g_hash_table_new_full(ip_hash, ip_equal, g_free, NULL);
        g_hash_table_remove_all(t->host_addresses);
        for (gsize i = 0; i < n; i++)
                g_hash_table_add(t->host_addresses, g_memdup2(&addresses[i], sizeof(addresses[i])));
}

gboolean bh_flow_is_host_address(BhFlowTable *t, const struct bh_ip *ip) {
        return t->host_addresses && ip->len && g_hash_table_contains(t->host_addresses, ip);
}

gboolean bh_flow_published(BhFlowTable *t, guint8 proto, guint16 port, guint8 ip_len, struct bh_ip *ip, guint16 *to) {
        guint32 key = published_key(proto, port);
        const Published *p = t->published ? g_hash_table_lookup(t->published, &key) : NULL;

        for (guint i = 0; p && i < p->box->nets->len; i++) {
                const struct net *n = &g_array_index(p->box->nets, struct net, i);

                if (n->ip.len == ip_len) {
                        *ip = n->ip;
                        *to = p->port;
                        return TRUE;
                }
        }
        return FALSE;
}

static gboolean has_network(const Box *b, const char *id) {
        for (guint i = 0; i < b->nets->len; i++)
                if (strcmp(g_array_index(b->nets, struct net, i).id, id) == 0)
                        return TRUE;
        return FALSE;
}

Box *bh_flow_at(BhFlowTable *t, const Box *local, const struct bh_ip *ip, const char **network) {
        GArray *places = t->addresses && ip->len ? g_hash_table_lookup(t->addresses, ip) : NULL;
        const Place *found = NULL;

        for (guint i = 0; places && i < places->len; i++) {
                const Place *p = &g_array_index(places, Place, i);

                /* two networks may use the same addresses: the one that both are in is meant */
                if (!found || (local && has_network(local, p->network) && !has_network(local, found->network)))
                        found = p;
        }
        Box *learned = t->learned && ip->len && (!found || !found->box->alive) ? g_hash_table_lookup(t->learned, ip) : NULL;
        /* one that has just begun, of which its engine has not told the networks yet, has the address of one that has ended */
        if (learned && (!found || learned->alive))
                return learned;
        if (found && network)
                *network = found->network;
        return found ? found->box : NULL;
}

void bh_flow_learn(BhFlowTable *t, Box *box, const struct bh_ip *laddr, guint32 net_ns) {
        if (box == t->host || box->host_network)
                return;
        if (net_ns && net_ns != t->c.host_net_ns)
                box->net_ns = net_ns;
        /* whoever has a namespace of his own gives himself any address: one of the world's stays the world's */
        if (box->nets->len || !bh_flow_ip_is_near(laddr) || bh_flow_ip_is_loopback(laddr) || bh_flow_is_host_address(t, laddr))
                return;
        if (!t->learned)
                t->learned = g_hash_table_new_full(ip_hash, ip_equal, g_free, NULL);

        Box *old = g_hash_table_lookup(t->learned, laddr);
        if (old == box || (!old && g_hash_table_size(t->learned) >= BH_FLOW_MAX_LEARNED))
                return;
        box->refs++;
        g_hash_table_replace(t->learned, g_memdup2(laddr, sizeof(*laddr)), box);
        if (old)
                bh_flow_box_unref(t, old);
}

void bh_flow_tell_free(BhFlowTable *t) {
        GHashTableIter it;
        gpointer p;

        g_clear_pointer(&t->addresses, g_hash_table_unref);
        g_clear_pointer(&t->learned, g_hash_table_unref); /* its references go with the boxes, below */
        g_clear_pointer(&t->published, g_hash_table_unref);
        g_clear_pointer(&t->host_addresses, g_hash_table_unref);
        g_array_set_size(t->told, 0);
        g_hash_table_iter_init(&it, t->boxes);
        while (g_hash_table_iter_next(&it, &p, NULL)) /* what is left is listed */
                ((Box *) p)->refs = 1;
}

/* ---- a flow as it is told ---- */

static const char *network_of(const Box *b, const struct bh_ip *ip) {
        for (guint i = 0; ip->len && i < b->nets->len; i++) {
                const struct net *n = &g_array_index(b->nets, struct net, i);

                if (bh_flow_ip_equal(&n->ip, ip))
                        return n->id;
        }
        return NULL;
}

static gboolean is_resolver(const struct key *k) {
        static const guint8 address[4] = { 127, 0, 0, 11 };

        return k->peer_len == 4 && memcmp(k->peer_ip, address, 4) == 0 && k->port == BH_PORT_DNS && k->role == BH_FLOW_CLIENT;
}

/* Who is at the other end, as far as is known now. *listener: the program that listens there. NULL: nobody of this node. */
static Box *peer_of(BhFlowTable *t, const Flow *f, const char **network, End **listener) {
        const struct key *k = &f->key;
        struct bh_ip ip = { .len = k->peer_len };
        Box *local = k->end->box, *peer = k->peer;

        *listener = NULL;
        memcpy(ip.b, k->peer_ip, k->peer_len);
        if (k->scan >= 2)
                return k->peer;
        if (peer || !k->proto)
                return peer;
        if (is_resolver(k))
                return t->host;
        if (bh_flow_ip_is_loopback(&ip)) {
                if (k->role == BH_FLOW_CLIENT && !(*listener = bh_flow_server_at(t, f->net_ns, k->proto, &ip, k->port)))
                        *listener = bh_flow_listener(t, f->net_ns, local, k->proto, k->port);
                return *listener ? (*listener)->box : local;
        }
        if ((peer = bh_flow_at(t, local, &ip, network))) {
                if (k->role != BH_FLOW_CLIENT)
                        return peer;
                /* containers may share a network namespace, and so its addresses: who listens is meant */
                *listener = bh_flow_server_at(t, 0, k->proto, &ip, k->port);
                if (!*listener)
                        *listener = bh_flow_listener(t, 0, peer, k->proto, k->port);
                if (!*listener)
                        *listener = bh_flow_listener(t, peer->net_ns, NULL, k->proto, k->port);
                return *listener && (*listener)->box != t->host ? (*listener)->box : peer;
        }
        if (!bh_flow_is_host_address(t, &ip))
                return NULL;
        if (k->role == BH_FLOW_CLIENT)
                *listener = bh_flow_listener(t, t->c.host_net_ns, t->host, k->proto, k->port);
        return *listener ? (*listener)->box : t->host;
}

static const char *or_empty(const char *s) {
        return s ? s : "";
}

/* FALSE: it is the host with itself. *who: whom it is told as the peer of; NULL: by its address. */
static gboolean describe(BhFlowTable *t, Flow *f, BhFlow *out, Box **who) {
        const struct key *k = &f->key;
        const char *network = NULL;
        End *listener;
        Box *peer = peer_of(t, f, &network, &listener);

        *who = peer;
        if (peer == t->host && k->end->box == t->host)
                return FALSE;
        *out = (BhFlow){
                .container_id = k->end->box->id,
                .exe = k->end->exe,
                .role = k->role,
                .proto = k->proto,
                .local_ip = f->local_ip,
                .peer_ip = { .len = k->peer_len },
                .dialled_ip = { .len = k->dialled_len },
                .port = k->port,
                .dialled_port = k->dialled_port,
                .path = f->path,
                .path_dev = f->path_dev,
                .path_ino = f->path_ino,
                .peer_container_id = peer ? peer->id : "",
                .peer_is_host = peer == t->host,
                .peer_exe = f->peer_end && (!peer || f->peer_end->box == peer) ? f->peer_end->exe : listener ? listener->exe : "",
                .added = f->added,
                .now = f->now,
        };
        memcpy(out->peer_ip.b, k->peer_ip, k->peer_len);
        memcpy(out->dialled_ip.b, k->dialled_ip, k->dialled_len);

        const char *own = network_of(k->end->box, &f->local_ip);
        if (!f->protocol && listener)
                bh_flow_speaks(t, f, bh_flow_listener_protocol(t, 0, listener->box, k->proto, k->port));
        bh_flow_text(t, &f->network, own ? own : network && has_network(k->end->box, network) ? network : NULL);
        if (is_resolver(k))
                bh_flow_text(t, &f->name, BH_FLOW_DOCKER_DNS);
        else if (k->role == BH_FLOW_CLIENT && k->proto)
                bh_flow_text(t, &f->name, bh_flow_names_find(t->names, k->end->box->id, k->dialled_len ? &out->dialled_ip : &out->peer_ip));
        out->peer_name = or_empty(f->name);
        out->network_id = or_empty(f->network);
        out->protocol = or_empty(f->protocol);
        out->server_name = or_empty(f->server_name);
        out->fingerprint = or_empty(f->fingerprint);
        out->certificate = or_empty(f->certificate);
        if (f->crowd)
                out->addresses = bh_flow_crowd_size(f);
        if (f->scan) {
                out->ports = k->scan == 1 ? f->scan->different : 0;
                out->addresses = k->scan == 2 ? f->scan->different : 0;
                out->n_samples = f->scan->n_samples;
                memcpy(out->samples, f->scan->samples, sizeof(out->samples));
        }
        return TRUE;
}

gboolean bh_flow_table_unspoken(BhFlowTable *t) {
        gboolean is = t->unspoken;

        if (is) {
                t->unspoken = FALSE;
                t->look++;
                t->awaited[1] = t->awaited[0];
                t->awaited[0] = 0;
        }
        return is;
}

gboolean bh_flow_table_awaited(const BhFlowTable *t) {
        return t->awaited[0] || t->awaited[1];
}

static void speaks(BhFlowTable *t, Flow *f, const char *protocol, const char *server_name, const BhFlowTls *tls) {
        char *before = f->protocol, *name = f->server_name, *fingerprint = f->fingerprint, *certificate = f->certificate;

        bh_flow_speaks(t, f, protocol);
        bh_flow_text(t, &f->server_name, server_name);
        if (f->key.role == BH_FLOW_CLIENT && tls)
                bh_flow_text(t, &f->fingerprint, tls->fingerprint);
        if (tls)
                bh_flow_text(t, &f->certificate, tls->certificate);
        if (f->protocol != before || f->server_name != name || f->fingerprint != fingerprint || f->certificate != certificate)
                bh_flow_touch(t, f);
}

static gboolean is_at(const guint8 ip[16], guint8 len, guint16 port, const struct side *s) {
        return port == s->rport && len == s->raddr.len && memcmp(ip, s->raddr.b, len) == 0;
}

static gboolean is_same(const Flow *f, const struct side *s, gboolean any_exe) {
        const struct key *k = &f->key;

        if (k->role != s->role || k->proto != s->proto || k->scan || (!any_exe && k->end != s->end))
                return FALSE;
        if (k->role == BH_FLOW_SERVER)
                return k->port == s->lport;
        return is_at(k->peer_ip, k->peer_len, k->port, s) || is_at(k->dialled_ip, k->dialled_len, k->dialled_port, s);
}

gboolean bh_flow_table_set_protocol(BhFlowTable *t, const BhFlowEnds *ends, const char *protocol, const char *server_name, const BhFlowTls *tls) {
        End *listener = ends->anybody ? bh_flow_listener(t, ends->net_ns, NULL, ends->proto, ends->lport) : NULL;
        gboolean found = FALSE;

        if (ends->anybody && !listener)
                return FALSE;
        Box *box = listener ? listener->box : bh_flow_box(t, ends->container_id);

        box->refs++;
        End *end = bh_flow_end(t, box, ends->exe);
        struct side s = {
                .end = end,
                .role = ends->outgoing ? BH_FLOW_CLIENT : BH_FLOW_SERVER,
                .proto = ends->proto,
                .net_ns = ends->net_ns,
                .laddr = bh_flow_ip(&ends->laddr),
                .raddr = bh_flow_ip(&ends->raddr),
                .lport = ends->lport,
                .rport = ends->rport,
        };
        Conn *c = bh_flow_conn_find(t, &s);

        if (c && c->flow) {
                speaks(t, c->flow, protocol, server_name, tls);
                found = TRUE;
        }
        /* a server speaks the same with all; whose name was asked for is this client's */
        /* what is touched goes to the end of the list, where nothing is left to do for it */
        for (GList *l = box->flows.head, *next; l; l = next) {
                Flow *f = l->data;

                next = l->next;
                if (!is_same(f, &s, !ends->exe.len || s.role == BH_FLOW_SERVER))
                        continue;
                if (!f->protocol || s.role == BH_FLOW_CLIENT || tls)
                        speaks(t, f, protocol, s.role == BH_FLOW_CLIENT ? server_name : NULL, tls);
                found = TRUE;
        }
        if (s.role == BH_FLOW_SERVER)
                bh_flow_listener_speaks(t, s.net_ns, box, s.proto, s.lport, protocol);
        bh_flow_end_unref(t, end);
        bh_flow_box_unref(t, box);
        return found;
}

/* ---- cuts ---- */

void bh_flow_table_begin(BhFlowTable *t, guint64 after, guint64 failed_after, guint64 failed_until) {
        t->last_id = t->after = after;
        t->failed_after = failed_after;
        t->failed_until = MAX(failed_until, failed_after);
        t->hold_mark = t->failed_until;
}

void bh_flow_table_advance(BhFlowTable *t, guint64 id) {
        t->last_id = MAX(t->last_id, id);
}

/* Failures of the while before the last become what was added. */
static void release_held(BhFlowTable *t, gboolean all) {
        for (GList *l = t->ages.head; l; l = l->next) {
                Flow *f = l->data;

                if (!f->held)
                        continue;
                BhFlowCounts ripe = f->held->slot[1];
                if (all)
                        bh_flow_add(&ripe, &f->held->slot[0]);
                if (ripe.last_ns)
                        bh_flow_add(&f->added, &ripe);
                f->held->slot[1] = all ? (BhFlowCounts){ 0 } : f->held->slot[0];
                f->held->slot[0] = (BhFlowCounts){ 0 };
                if (!f->held->slot[1].last_ns)
                        g_clear_pointer(&f->held, g_free);
        }
        /* touching moves flows in the list that is gone through above */
        for (GList *l = t->ages.head, *next; l; l = next) {
                Flow *f = l->data;

                next = l->next;
                if (f->added.last_ns && !f->dirty)
                        bh_flow_touch(t, f);
        }
}

static void shift_held(BhFlowTable *t, gboolean all, gint64 now_us) {
        if (!t->held_us)
                t->held_us = now_us;
        /* without another event the batch would have the same bounds as the one before, and would be taken for it */
        if (!all && (now_us - t->held_us < BH_FLOW_HOLD_US || t->last_id <= t->after))
                return;
        t->held_us = now_us;
        release_held(t, all);
        t->ripe_id = all ? t->last_id : t->hold_mark;
        t->hold_mark = t->last_id;
}

/* Only tries, and nobody has been told yet: perhaps it becomes a connection, or turns out to be a part of a scan. */
static gboolean too_early(BhFlowTable *t, Flow *f, gint64 now_us) {
        if (f->told || f->added.last_ns || f->now.open != f->now.half_open || f->scan)
                return FALSE;
        if (!f->fresh_us)
                f->fresh_us = now_us;
        return now_us - f->fresh_us < (bh_flow_scan_suspects(t, &f->key) ? FRESH_SUSPECT_US : FRESH_TRY_US);
}

static void forget_quiet(BhFlowTable *t, gint64 now_us) {
        for (GList *l = t->ages.head, *next; l; l = next) {
                Flow *f = l->data;

                next = l->next;
                if (!f->quiet_us)
                        f->quiet_us = now_us;
                if (now_us - f->quiet_us < BH_FLOW_QUIET_US)
                        break; /* in the order of their last change, nearly */
                if (f->dirty || f->conns || f->held)
                        continue;
                t->stats.forgotten++;
                bh_flow_drop(t, f);
        }
}

gboolean bh_flow_table_pending(BhFlowTable *t, gint64 now_us) {
        return t->dirty.length || t->rest_connections || t->rest_bytes || (t->last_id > t->after && now_us - t->held_us >= BH_FLOW_HOLD_US);
}

void bh_flow_table_cut(BhFlowTable *t, gboolean all, gint64 now_us, BhFlowCut *out) {
        GList *next;

        g_ptr_array_set_size(t->grave, 0);
        g_array_set_size(t->told, 0);
        bh_flow_pair_force(t);
        shift_held(t, all, now_us);
        if (all) {
                for (GList *l = t->ages.head; l; l = next) {
                        next = l->next;
                        if (((Flow *) l->data)->now.open)
                                bh_flow_touch(t, l->data);
                }
        }
        for (GList *l = t->dirty.head; l; l = next) {
                Flow *f = l->data;
                Box *peer;
                BhFlow told;

                next = l->next;
                /* its connections turned out to be a scan's */
                if (f->crowd && !f->told && !f->conns && !f->held && !f->added.last_ns) {
                        bh_flow_drop(t, f);
                        continue;
                }
                /* what a walk ended needs the number of an event, as a batch without a new one adds nothing */
                if (!all && t->last_id <= t->after && f->added.last_ns && !f->added.connections)
                        continue;
                if (!all && too_early(t, f, now_us))
                        continue;
                gboolean is = describe(t, f, &told, &peer);
                if (is && !all && t->last_id <= t->after && peer != f->told_peer && bh_flow_is_ahead(f)) /* the same */
                        continue;
                if (is) {
                        BhFlow before = told;

                        if (bh_flow_peer_changes(t, f, peer, &before))
                                g_array_append_val(t->told, before);
                        bh_flow_tells(f, &told);
                        /* nothing of it was ever told, and nothing is there any more: it was a try whose failure is told otherwise */
                        if (f->told || told.added.last_ns || told.now.open)
                                g_array_append_val(t->told, told);
                        f->told = TRUE;
                }
                f->added = (BhFlowCounts){ 0 };
                f->dirty = FALSE;
                f->fresh_us = 0;
                f->quiet_us = now_us;
                g_queue_unlink(&t->dirty, &f->in_dirty);
        }
        *out = (BhFlowCut){
                .after = t->after,
                .through = t->last_id,
                .failed_after = t->failed_after,
                .failed_through = MAX(MAX(t->ripe_id, t->failed_until), t->failed_after),
                .flows = t->told,
                .rest_connections = t->rest_connections,
                .rest_bytes = t->rest_bytes,
        };
        t->failed_until = 0;
        /* a cut with nothing in it is not told: the next one goes on where the last that was told ended */
        if (all || t->told->len || t->rest_connections || t->rest_bytes) {
                t->after = out->through;
                t->failed_after = out->failed_through;
        }
        t->rest_connections = t->rest_bytes = 0;
        t->soon = FALSE;
        forget_quiet(t, now_us);
}
