/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/graph_private.h"

#define LOOKED_AT 4096 /* edges of one end, for those that a new one concerns */

/* ---- hashes: texts are interned, so pointers are what they say */

static guint mix(guint h, gconstpointer p) {
        guint64 v = (guint64) (gsize) p;

        return (h ^ (guint) (v >> 4) ^ (guint) (v >> 36)) * 0x9e3779b1u;
}

guint bh_graph_address_hash(gconstpointer p) {
        const BhHalfAddress *a = p;
        guint h = 2166136261u;

        for (guint i = 0; i < a->len; i++)
                h = (h ^ a->bytes[i]) * 16777619u;
        return h;
}

gboolean bh_graph_address_equal(gconstpointer a, gconstpointer b) {
        return bh_half_address_equal(a, b);
}

static guint end_hash(gconstpointer p) {
        const End *e = p;

        return mix(mix((guint) e->kind + 1, e->a), e->b);
}

static gboolean end_equal(gconstpointer p, gconstpointer q) {
        const End *x = p, *y = q;

        return x->kind == y->kind && x->a == y->a && x->b == y->b;
}

static guint edge_hash(gconstpointer p) {
        const Edge *e = p;

        return mix(mix(mix(e->proto * 65599u + e->port, e->from), e->to), e->path);
}

static gboolean edge_equal(gconstpointer p, gconstpointer q) {
        const Edge *x = p, *y = q;

        return x->from == y->from && x->to == y->to && x->proto == y->proto && x->port == y->port && x->path == y->path;
}

static guint box_hash(gconstpointer p) {
        return mix(mix(7, ((const Box *) p)->node), ((const Box *) p)->id);
}

static gboolean box_equal(gconstpointer p, gconstpointer q) {
        const Box *x = p, *y = q;

        return x->node == y->node && x->id == y->id;
}

/* ---- life */

static void release(char **text) {
        if (*text)
                g_ref_string_release(*text);
        *text = NULL;
}

static void half_free(gpointer p) {
        Half *h = p;
        char **const texts[] = { &h->node, &h->container_id, &h->exe, &h->path, &h->peer_container_id, &h->peer_name, &h->peer_exe, &h->network_id, &h->protocol, &h->server_name, &h->fingerprint, &h->certificate };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                release(texts[i]);
        g_free(h->samples);
        g_free(h);
}

static void box_clear(Box *b) {
        char **const texts[] = { &b->node, &b->id, &b->name, &b->application, &b->workload, &b->image, &b->state, &b->network_of };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                release(texts[i]);
        for (guint i = 0; i < b->n_addresses; i++)
                release(&b->addresses[i].network);
        g_clear_pointer(&b->addresses, g_free);
        g_clear_pointer(&b->ports, g_free);
        b->n_addresses = b->n_ports = 0;
}

static void box_free(gpointer p) {
        box_clear(p);
        g_free(p);
}

static void edge_free(gpointer p) {
        release(&((Edge *) p)->path);
        g_free(p);
}

static void end_free(gpointer p) {
        release(&((End *) p)->a);
        release(&((End *) p)->b);
        g_free(p);
}

BhGraph *bh_graph_new(void) {
        BhGraph *g = g_new0(BhGraph, 1);

        g->halves = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, half_free);
        g->edges = g_ptr_array_new_with_free_func(edge_free);
        g->ends = g_ptr_array_new_with_free_func(end_free);
        g->edge_of = g_hash_table_new(edge_hash, edge_equal);
        g->end_of = g_hash_table_new(end_hash, end_equal);
        g->same = g_hash_table_new(bh_graph_address_hash, bh_graph_address_equal);
        g->boxes = g_hash_table_new_full(box_hash, box_equal, NULL, box_free);
        g->box_of_id = g_hash_table_new(g_direct_hash, g_direct_equal);
        g->at_host = g_ptr_array_new();
        bh_graph_resolve_init(g);
        return g;
}

void bh_graph_free(BhGraph *g) {
        if (!g)
                return;
        bh_graph_resolve_clear(g);
        g_ptr_array_unref(g->at_host);
        g_hash_table_unref(g->box_of_id);
        g_hash_table_unref(g->same);
        g_hash_table_unref(g->edge_of);
        g_hash_table_unref(g->end_of);
        g_hash_table_unref(g->halves);
        g_hash_table_unref(g->boxes);
        g_ptr_array_unref(g->edges);
        g_ptr_array_unref(g->ends);
        g_free(g);
}

/* ---- ends and edges */

static Box *find_box(BhGraph *g, const char *node, const char *id) {
        const Box key = { .node = (char *) (gsize) node, .id = (char *) (gsize) id };

        return g_hash_table_lookup(g->boxes, &key);
}

const Box *bh_graph_local_box(const BhGraph *g, const Half *h) {
        const Box key = { .node = h->node, .id = h->container_id };

        return *h->container_id ? g_hash_table_lookup(g->boxes, &key) : NULL;
}

const End *bh_graph_find_local(const BhGraph *g, const Half *h) {
        End key = { .kind = *h->container_id ? END_CONTAINER : END_HOST, .a = h->node };

        key.b = *h->container_id ? g_ref_string_acquire(h->container_id) : bh_graph_text("");
        const End *e = g_hash_table_lookup(g->end_of, &key);
        release(&key.b);
        return e;
}

Edge *bh_graph_find_edge(const BhGraph *g, const End *from, const End *to, guint32 proto, guint32 port, const char *path) {
        const Edge key = { .from = (End *) (gsize) from, .to = (End *) (gsize) to, .proto = proto, .port = port, .path = (char *) (gsize) path };

        return g_hash_table_lookup(g->edge_of, &key);
}

/* Takes the references of `a` and `b`. */
static End *get_end(BhGraph *g, EndKind kind, char *a, char *b) {
        const End key = { .kind = kind, .a = a, .b = b };
        End *e = g_hash_table_lookup(g->end_of, &key);

        if (e) {
                release(&a);
                release(&b);
                return e;
        }
        e = g_new0(End, 1);
        e->kind = kind;
        e->a = a;
        e->b = b;
        e->slot = g->ends->len;
        g_ptr_array_add(g->ends, e);
        g_hash_table_add(g->end_of, e);
        if (kind == END_CONTAINER && (e->box = find_box(g, a, b)))
                e->box->end = e;
        return e;
}

static void drop_end(BhGraph *g, End *e) {
        if (e->edges)
                return;
        if (e->box)
                e->box->end = NULL;
        g_hash_table_remove(g->end_of, e);
        /* the last one takes its place */
        ((End *) g->ends->pdata[g->ends->len - 1])->slot = e->slot;
        g_ptr_array_remove_index_fast(g->ends, e->slot);
}

static Edge *get_edge(BhGraph *g, End *from, End *to, guint32 proto, guint32 port, const char *path) {
        const Edge key = { .from = from, .to = to, .proto = proto, .port = port, .path = (char *) (gsize) path };
        Edge *e = g_hash_table_lookup(g->edge_of, &key);

        if (e)
                return e;
        e = g_new0(Edge, 1);
        e->from = from;
        e->to = to;
        e->proto = proto;
        e->port = port;
        e->path = g_ref_string_acquire((char *) (gsize) path);
        e->slot = g->edges->len;
        g_ptr_array_add(g->edges, e);
        g_hash_table_add(g->edge_of, e);
        if ((e->next_in = to->in))
                to->in->prev_in = e;
        to->in = e;
        if ((e->next_out = from->out))
                from->out->prev_out = e;
        from->out = e;
        from->edges++;
        to->edges++;
        g->edges_made++;
        return e;
}

static void drop_edge(BhGraph *g, Edge *e) {
        End *from = e->from, *to = e->to;

        g_hash_table_remove(g->edge_of, e);
        *(e->prev_in ? &e->prev_in->next_in : &to->in) = e->next_in;
        if (e->next_in)
                e->next_in->prev_in = e->prev_in;
        *(e->prev_out ? &e->prev_out->next_out : &from->out) = e->next_out;
        if (e->next_out)
                e->next_out->prev_out = e->prev_out;
        from->edges--;
        to->edges--;
        ((Edge *) g->edges->pdata[g->edges->len - 1])->slot = e->slot;
        g_ptr_array_remove_index_fast(g->edges, e->slot);
        drop_end(g, from);
        if (to != from)
                drop_end(g, to);
}

/* ---- a half on its edge */

static void detach(BhGraph *g, Half *h) {
        Edge *e = h->edge;

        if (!e)
                return;
        *(h->prev ? &h->prev->next : &e->halves) = h->next;
        if (h->next)
                h->next->prev = h->prev;
        h->next = h->prev = NULL;
        h->edge = NULL;
        if (!h->absorbed)
                e->counted--;
        h->absorbed = FALSE;
        if (!e->halves) {
                drop_edge(g, e);
        } else if (!e->counted) {
                /* those that were absorbed say it themselves again; the last one takes the edge with it */
                g_autoptr(GPtrArray) rest = g_ptr_array_new();

                for (Half *r = e->halves; r; r = r->next) {
                        r->absorbed = FALSE;
                        e->counted++;
                        g_ptr_array_add(rest, r);
                }
                for (guint i = 0; i < rest->len; i++)
                        bh_graph_place(g, rest->pdata[i]);
        }
}

static void attach(Half *h, Edge *e, gboolean absorbed) {
        h->edge = e;
        h->absorbed = absorbed;
        e->counted += !absorbed;
        if ((h->next = e->halves))
                e->halves->prev = h;
        e->halves = h;
}

static End *local_end(BhGraph *g, const Half *h) {
        if (*h->container_id)
                return get_end(g, END_CONTAINER, g_ref_string_acquire(h->node), g_ref_string_acquire(h->container_id));
        return get_end(g, END_HOST, g_ref_string_acquire(h->node), bh_graph_text(""));
}

static void collect(GPtrArray *to, const Edge *e) {
        for (Half *h = e ? e->halves : NULL; h; h = h->next)
                if (h->imprecise && !h->absorbed)
                        g_ptr_array_add(to, h);
}

static void place_all(BhGraph *g, const GPtrArray *halves) {
        for (guint i = 0; i < halves->len; i++)
                bh_graph_place(g, halves->pdata[i]);
}

/* A new edge may say precisely what vague halves say: that some container of its node was in touch with its other end. */
static void explain_node(BhGraph *g, const Edge *e) {
        g_autoptr(GPtrArray) vague = g_ptr_array_new();
        End host = { .kind = END_HOST, .a = e->from->a };
        Edge key = { .to = e->to, .proto = e->proto, .port = e->port, .path = e->path };

        if (e->from->kind != END_CONTAINER)
                return;
        host.b = bh_graph_text("");
        key.from = g_hash_table_lookup(g->end_of, &host);
        release(&host.b);
        if (key.from)
                collect(vague, g_hash_table_lookup(g->edge_of, &key));
        place_all(g, vague);
}

/* The same: which of a service's containers it was. */
static void explain_service(BhGraph *g, const Edge *e) {
        g_autoptr(GPtrArray) vague = g_ptr_array_new();
        guint n = 0;

        if (e->to->kind != END_CONTAINER || !e->to->box || !g_hash_table_size(g->services))
                return;
        const End key = { .kind = END_WORKLOAD, .a = e->to->box->application, .b = e->to->box->workload };
        const End *service = g_hash_table_lookup(g->end_of, &key);
        for (const Edge *v = service ? service->in : NULL; v && n++ < LOOKED_AT; v = v->next_in)
                if (v->from == e->from && v->proto == e->proto)
                        collect(vague, v);
        place_all(g, vague);
}

void bh_graph_place(BhGraph *g, Half *h) {
        guint64 before = g->edges_made;
        Edge *e = NULL;
        Peer peer;

        bh_graph_peer(g, h, &peer);
        h->wait_ns = peer.wait_ns;
        h->imprecise = peer.imprecise;
        h->published = peer.published;
        h->shared = peer.shared;

        End *mine = local_end(g, h);
        mine->edges++; /* keeps it while the old edge goes */
        if (peer.imprecise)
                e = bh_graph_precise(g, h, mine, &peer);
        gboolean absorbed = e != NULL;
        if (!e) {
                End *other = get_end(g, peer.kind, g_ref_string_acquire(peer.a), g_ref_string_acquire(peer.b));

                e = h->role == BH_HALF_SERVER ? get_edge(g, other, mine, h->proto, peer.port, h->path) : get_edge(g, mine, other, h->proto, peer.port, h->path);
        }
        if (e != h->edge || absorbed != h->absorbed) {
                e->counted++; /* the same for the new edge */
                if (h->edge == e) {
                        /* only the kind of belonging changes */
                        e->counted += absorbed ? -1u : 1u;
                        h->absorbed = absorbed;
                } else {
                        detach(g, h);
                        attach(h, e, absorbed);
                }
                e->counted--;
        }
        mine->edges--;
        release(&peer.a);
        release(&peer.b);
        if (g->edges_made != before && !h->imprecise) {
                explain_node(g, h->edge);
                explain_service(g, h->edge);
                bh_graph_explain_sharing(g, h->edge);
        }
}

void bh_graph_place_same(BhGraph *g, const BhHalfAddress *peer) {
        for (Half *h = g_hash_table_lookup(g->same, peer), *next; h; h = next) {
                next = h->next_same;
                if (!*h->peer_container_id || g_hash_table_size(g->sharing))
                        bh_graph_place(g, h);
        }
}

/* ---- halves */

static gboolean differs(const char *now, const char *before) {
        return *now && strcmp(now, before) != 0;
}

/* `text` may be NULL: nothing is known of it. The store, for one, keeps no fingerprints. */
static void set_text(char **to, const char *text) {
        if (text && differs(text, *to)) {
                g_ref_string_release(*to);
                *to = bh_graph_text(text);
        }
}

static void set_samples(Half *h, const BhHalf *from) {
        if (!from->n_port_samples)
                return;
        h->samples = g_realloc_n(h->samples, from->n_port_samples + 1, sizeof(guint32));
        h->samples[0] = from->n_port_samples;
        memcpy(h->samples + 1, from->port_samples, from->n_port_samples * sizeof(guint32));
}

static void enter_same(BhGraph *g, Half *h) {
        if (!h->peer.len)
                return;
        Half *first = g_hash_table_lookup(g->same, &h->peer);

        if ((h->next_same = first))
                first->prev_same = h;
        g_hash_table_replace(g->same, &h->peer, h); /* the key is the first one's */
}

static void leave_same(BhGraph *g, Half *h) {
        if (!h->peer.len)
                return;
        if (h->next_same)
                h->next_same->prev_same = h->prev_same;
        if (h->prev_same)
                h->prev_same->next_same = h->next_same;
        else if (h->next_same)
                g_hash_table_replace(g->same, &h->next_same->peer, h->next_same);
        else
                g_hash_table_remove(g->same, &h->peer);
}

static Half *add_half(BhGraph *g, const BhHalf *from) {
        Half *h = g_new0(Half, 1);

        h->id = from->id;
        h->node = bh_graph_text(from->node);
        h->container_id = bh_graph_text(from->container_id);
        h->exe = bh_graph_text(from->exe);
        h->path = bh_graph_text(from->path);
        h->peer_container_id = bh_graph_text(from->peer_container_id);
        h->peer_name = bh_graph_text(from->peer_name);
        h->peer_exe = bh_graph_text("");
        h->network_id = bh_graph_text(from->network_id);
        h->protocol = bh_graph_text("");
        h->server_name = bh_graph_text("");
        h->fingerprint = bh_graph_text("");
        h->certificate = bh_graph_text("");
        h->local = from->local;
        h->peer = from->peer;
        h->dialled = from->dialled;
        h->role = (guint8) from->role;
        h->peer_is_host = from->peer_is_host != 0;
        h->proto = from->proto;
        h->port = from->port;
        h->dialled_port = from->dialled_port;
        g_hash_table_insert(g->halves, &h->id, h);
        enter_same(g, h);
        return h;
}

gboolean bh_graph_apply(BhGraph *g, const BhHalf *from) {
        Half *h = g_hash_table_lookup(g->halves, &from->id);
        guint64 before = g->edges_made;
        gboolean place = !h;

        if (!h)
                h = add_half(g, from);
        else
                place = differs(from->network_id, h->network_id) || differs(from->peer_name, h->peer_name) || differs(from->peer_container_id, h->peer_container_id) ||
                        (from->peer_is_host && !h->peer_is_host);
        h->peer_is_host |= from->peer_is_host != 0;
        set_text(&h->peer_container_id, from->peer_container_id);
        set_text(&h->peer_name, from->peer_name);
        set_text(&h->network_id, from->network_id);
        set_text(&h->peer_exe, from->peer_exe);
        set_text(&h->protocol, from->protocol);
        set_text(&h->server_name, from->server_name);
        set_text(&h->fingerprint, from->fingerprint);
        set_text(&h->certificate, from->certificate);
        if (from->local.len)
                h->local = from->local;
        h->ports = MAX(h->ports, from->ports);
        h->addresses = MAX(h->addresses, from->addresses);
        set_samples(h, from);
        h->first_ns = h->first_ns && from->first_ns ? MIN(h->first_ns, from->first_ns) : MAX(h->first_ns, from->first_ns);
        h->last_ns = MAX(h->last_ns, from->last_ns);
        h->open = from->open;
        h->half_open = from->half_open;
        bh_half_counts_add(&h->counts, &from->counts);
        place |= h->wait_ns && h->last_ns >= h->wait_ns;
        if (bh_graph_learn(g, h))
                bh_graph_place_same(g, &h->local);
        if (place)
                bh_graph_place(g, h);
        /* it serves at its node's addresses: who went there meant it */
        if (g->edges_made != before && h->role == BH_HALF_SERVER && h->edge->to->box && h->edge->to->box->host_network)
                bh_graph_place_node(g, h->node);
        return g->edges_made != before;
}

void bh_graph_close(BhGraph *g, gint64 half) {
        Half *h = g_hash_table_lookup(g->halves, &half);

        if (h)
                h->open = h->half_open = 0;
}

void bh_graph_remove(BhGraph *g, gint64 half) {
        Half *h = g_hash_table_lookup(g->halves, &half);

        if (!h)
                return;
        leave_same(g, h);
        detach(g, h);
        g_hash_table_remove(g->halves, &half);
}

void bh_graph_resolve_all(BhGraph *g) {
        GHashTableIter it;
        gpointer half;

        /* placing changes edges and ends, not the table of halves */
        g_hash_table_iter_init(&it, g->halves);
        while (g_hash_table_iter_next(&it, NULL, &half))
                bh_graph_place(g, half);
}

/* ---- the inventory */

static void collect_own(GPtrArray *to, const Edge *e, const Box *b) {
        for (Half *h = e->halves; h; h = h->next)
                if (h->node == b->node && h->container_id == b->id)
                        g_ptr_array_add(to, h);
}

/* Its own connections: in which networks it is decides what addresses mean to it. */
static void place_own(BhGraph *g, const Box *b, const End *end) {
        g_autoptr(GPtrArray) halves = g_ptr_array_new();

        for (const Edge *e = end ? end->in : NULL; e; e = e->next_in)
                collect_own(halves, e, b);
        for (const Edge *e = end ? end->out : NULL; e; e = e->next_out)
                if (e->to != end) /* or it was there before */
                        collect_own(halves, e, b);
        place_all(g, halves);
}

static void place_addresses(BhGraph *g, const Box *b) {
        for (guint i = 0; i < b->n_addresses; i++) {
                if (b->addresses[i].ip.len)
                        bh_graph_place_same(g, &b->addresses[i].ip);
                if (b->addresses[i].ip6.len)
                        bh_graph_place_same(g, &b->addresses[i].ip6);
        }
}

static void place_box(BhGraph *g, const Box *b) {
        const Box *owner = bh_graph_network_owner(g, b);

        place_addresses(g, b);
        if (owner)
                place_addresses(g, owner);
        if (!b->n_ports && !b->host_network)
                return;
        /* whoever went to one of its node's addresses may have meant one of its ports */
        bh_graph_place_node(g, b->node);
}

/* It is known now whose container this is. */
static void explain_end(BhGraph *g, End *end) {
        guint n = 0;

        /* the vague edges that may go lead to the service and not here */
        for (const Edge *e = g_hash_table_size(g->services) ? end->in : NULL; e && n++ < LOOKED_AT; e = e->next_in)
                explain_service(g, e);
}

static gboolean same_addresses(const Box *b, const BhGraphContainer *c) {
        if (b->n_addresses != c->n_addresses)
                return FALSE;
        for (guint i = 0; i < b->n_addresses; i++)
                if (strcmp(b->addresses[i].network, c->addresses[i].network) || !bh_half_address_equal(&b->addresses[i].ip, &c->addresses[i].ip) ||
                    !bh_half_address_equal(&b->addresses[i].ip6, &c->addresses[i].ip6))
                        return FALSE;
        return TRUE;
}

static gboolean same_places(const Box *b, const BhGraphContainer *c) {
        if (!same_addresses(b, c) || b->n_ports != c->n_ports || b->since_ns != c->since_ns || b->ended_ns != c->ended_ns || b->host_network != c->host_network ||
            strcmp(b->network_of, c->network_of ? c->network_of : ""))
                return FALSE;
        for (guint i = 0; i < b->n_ports; i++)
                if (!bh_half_address_equal(&b->ports[i].host_ip, &c->ports[i].host_ip) || b->ports[i].proto != c->ports[i].proto ||
                    b->ports[i].host_port != c->ports[i].host_port || b->ports[i].container_port != c->ports[i].container_port)
                        return FALSE;
        return TRUE;
}

static void replace(char **to, const char *text) {
        char *now = bh_graph_text(text);

        release(to);
        *to = now;
}

static void set_places(Box *b, const BhGraphContainer *c) {
        BoxAddress *addresses = g_new0(BoxAddress, MAX(c->n_addresses, 1));

        for (guint i = 0; i < c->n_addresses; i++)
                addresses[i] = (BoxAddress){ bh_graph_text(c->addresses[i].network), c->addresses[i].ip, c->addresses[i].ip6 };
        for (guint i = 0; i < b->n_addresses; i++)
                release(&b->addresses[i].network);
        g_free(b->addresses);
        g_free(b->ports);
        b->addresses = addresses;
        b->n_addresses = c->n_addresses;
        b->ports = g_memdup2(c->ports, c->n_ports * sizeof(*c->ports));
        b->n_ports = c->n_ports;
        b->since_ns = c->since_ns;
        b->ended_ns = c->ended_ns;
        b->host_network = c->host_network;
        replace(&b->network_of, c->network_of);
}

void bh_graph_set_container(BhGraph *g, const BhGraphContainer *c) {
        char *node = bh_graph_text(c->node), *id = bh_graph_text(c->id);
        Box *b = find_box(g, node, id);
        gboolean fresh = !b;

        if (fresh) {
                const End key = { .kind = END_CONTAINER, .a = node, .b = id };

                b = g_new0(Box, 1);
                b->node = node;
                b->id = id;
                b->network_of = bh_graph_text("");
                g_hash_table_add(g->boxes, b);
                if ((b->end = g_hash_table_lookup(g->end_of, &key)))
                        b->end->box = b;
        } else {
                release(&node);
                release(&id);
        }
        b->round = g->round;
        g_hash_table_replace(g->box_of_id, b->id, b);
        char *application = b->application ? g_ref_string_acquire(b->application) : NULL, *workload = b->workload ? g_ref_string_acquire(b->workload) : NULL;
        replace(&b->name, c->name);
        replace(&b->application, c->application);
        replace(&b->workload, c->workload);
        replace(&b->image, c->image);
        replace(&b->state, c->state);
        b->running = c->running;
        if (b->end && (b->application != application || b->workload != workload))
                explain_end(g, b->end);
        release(&application);
        release(&workload);
        if (!fresh && same_places(b, c))
                return;
        gboolean moved = fresh || !same_addresses(b, c);
        if (!fresh) {
                Box before = { .network_of = g_ref_string_acquire(b->network_of), .node = b->node, .host_network = b->host_network, .addresses = b->addresses, .n_addresses = b->n_addresses, .ports = b->ports, .n_ports = b->n_ports };

                bh_graph_index_box(g, b, FALSE);
                /* those that meant it by what it had are looked up once it has nothing */
                b->addresses = NULL;
                b->ports = NULL;
                b->n_addresses = b->n_ports = 0;
                set_places(b, c);
                bh_graph_index_box(g, b, TRUE);
                place_box(g, &before);
                for (guint i = 0; i < before.n_addresses; i++)
                        release(&before.addresses[i].network);
                release(&before.network_of);
                g_free(before.addresses);
                g_free(before.ports);
        } else {
                set_places(b, c);
                bh_graph_index_box(g, b, TRUE);
        }
        place_box(g, b);
        if (moved)
                place_own(g, b, b->end);
}

static void remove_box(BhGraph *g, Box *b) {
        bh_graph_index_box(g, b, FALSE);
        if (g_hash_table_lookup(g->box_of_id, b->id) == b)
                g_hash_table_remove(g->box_of_id, b->id);
        End *end = b->end;
        if (end)
                end->box = NULL;
        b->end = NULL;
        g_hash_table_steal(g->boxes, b);
        /* its own first: while it has some, the end stays */
        place_own(g, b, end);
        place_box(g, b);
        box_free(b);
}

void bh_graph_remove_container(BhGraph *g, const char *node, const char *id) {
        char *n = bh_graph_text(node), *i = bh_graph_text(id);
        Box *b = find_box(g, n, i);

        release(&n);
        release(&i);
        if (b)
                remove_box(g, b);
}

void bh_graph_containers_begin(BhGraph *g) {
        g->round++;
}

void bh_graph_containers_end(BhGraph *g) {
        g_autoptr(GPtrArray) gone = g_ptr_array_new();
        GHashTableIter it;
        gpointer b;

        g_hash_table_iter_init(&it, g->boxes);
        while (g_hash_table_iter_next(&it, &b, NULL))
                if (((const Box *) b)->round != g->round)
                        g_ptr_array_add(gone, b);
        for (guint i = 0; i < gone->len; i++)
                remove_box(g, gone->pdata[i]);
}

void bh_graph_stats(const BhGraph *g, BhGraphStats *out) {
        *out = (BhGraphStats){ .halves = g_hash_table_size(g->halves), .edges = g->edges->len, .ends = g->ends->len, .containers = g_hash_table_size(g->boxes),
                               .addresses = g_hash_table_size(g->same), .fresh_claims = g->fresh_claims->len, .contested = g_hash_table_size(g->contested), .claims_refused = g->claims_refused,
                               .resolved = g->resolved };
}
