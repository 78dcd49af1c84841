/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose an address is that no container has: nodes' own addresses, gateways, services; and where containers are (addresses, published ports).
 *
 * All of it is what nodes say, and a node may have been taken over. So what one says counts for itself alone where that is enough (gateways and networks that are its
 * own), and of an address that two nodes call theirs the one stays the owner that said so first. Claims that came later are known and counted, and lead to nobody.
 */
#include <arpa/inet.h>

#include "graph/graph_private.h"

#define CLAIMS_MAX 65536
#define CLAIMS_PER_NODE 4096

/* A node calls an address its own. */
typedef struct {
        BhHalfAddress address;
        char *node;
        guint64 order;    /* rising: who was first */
        guint8 told;      /* by what the node says of itself now */
        guint8 learned;   /* a process of the node's own had it */
        guint8 bridge;    /* a gateway of a network that is the node's alone: nobody else gets to the node by it */
        guint8 before;    /* `told` and `bridge` as they were */
        gboolean stored;  /* given out by bh_graph_news(), or from there */
} Claim;

/* All claims of an address. */
typedef struct {
        BhHalfAddress address;
        GPtrArray *claims; /* borrowed */
        Claim *owner;      /* NULL: nobody's, as others see it */
        guint rivals;      /* others who call it theirs */
} Claims;

static guint place_hash(gconstpointer p) {
        const Place *k = p;
        guint h = k->address.len ? bh_graph_address_hash(&k->address) : 0;

        return h ^ (guint) ((gsize) k->node >> 4) * 0x9e3779b1u ^ (guint) ((gsize) k->network >> 4) * 0x85ebca6bu ^ (k->proto << 16 | k->port) * 65599u;
}

static gboolean place_equal(gconstpointer p, gconstpointer q) {
        const Place *x = p, *y = q;

        return x->node == y->node && x->network == y->network && x->proto == y->proto && x->port == y->port && bh_half_address_equal(&x->address, &y->address);
}

static void release_text(gpointer text) {
        g_ref_string_release(text);
}

static void place_free(gpointer p) {
        g_clear_pointer(&((Place *) p)->node, g_ref_string_release);
        g_clear_pointer(&((Place *) p)->network, g_ref_string_release);
        g_free(p);
}

static void service_free(gpointer p) {
        g_ref_string_release(((End *) p)->a);
        g_ref_string_release(((End *) p)->b);
        g_free(p);
}

static void boxes_free(gpointer p) {
        g_ptr_array_unref(p);
}

static void claim_free(gpointer p) {
        g_ref_string_release(((Claim *) p)->node);
        g_free(p);
}

static void claims_free(gpointer p) {
        g_ptr_array_unref(((Claims *) p)->claims);
        g_free(p);
}

static GHashTable *place_table(GDestroyNotify free_value) {
        return g_hash_table_new_full(place_hash, place_equal, place_free, free_value);
}

void bh_graph_places_init(BhGraph *g) {
        g->at = g_hash_table_new_full(bh_graph_address_hash, bh_graph_address_equal, g_free, boxes_free);
        g->published = place_table(boxes_free);
        g->own = g_hash_table_new_full(g_direct_hash, g_direct_equal, release_text, (GDestroyNotify) g_hash_table_unref);
        g->claims = g_hash_table_new_full(bh_graph_address_hash, bh_graph_address_equal, NULL, claims_free);
        g->contested = g_hash_table_new(g_direct_hash, g_direct_equal);
        g->fresh_claims = g_ptr_array_new();
        g->gateways = place_table(NULL);
        g->sandboxes = place_table(release_text);
        g->services = place_table(service_free);
        g->bridges = place_table(NULL);
        g->sharing = place_table(boxes_free);
        g->to_explain = g_ptr_array_new();
        g->explained = g_hash_table_new(g_direct_hash, g_direct_equal);
}

void bh_graph_places_clear(BhGraph *g) {
        g_hash_table_unref(g->at);
        g_hash_table_unref(g->published);
        g_ptr_array_unref(g->fresh_claims);
        g_hash_table_unref(g->contested);
        g_hash_table_unref(g->claims);
        g_hash_table_unref(g->own);
        g_hash_table_unref(g->gateways);
        g_hash_table_unref(g->sandboxes);
        g_hash_table_unref(g->services);
        g_hash_table_unref(g->bridges);
        g_hash_table_unref(g->sharing);
        g_ptr_array_unref(g->to_explain);
        g_hash_table_unref(g->explained);
}

/* ---- containers */

static void forget(GHashTable *table, gconstpointer key, Box *box) {
        GPtrArray *boxes = g_hash_table_lookup(table, key);

        if (!boxes)
                return;
        g_ptr_array_remove_fast(boxes, box);
        if (!boxes->len)
                g_hash_table_remove(table, key);
}

static void index_address(BhGraph *g, Box *box, const BhHalfAddress *a, gboolean enter) {
        GPtrArray *boxes;

        if (!a->len)
                return;
        if (!enter) {
                forget(g->at, a, box);
                return;
        }
        if (!(boxes = g_hash_table_lookup(g->at, a))) {
                boxes = g_ptr_array_new();
                g_hash_table_insert(g->at, g_memdup2(a, sizeof(*a)), boxes);
        }
        g_ptr_array_add(boxes, box);
}

void bh_graph_index_box(BhGraph *g, Box *box, gboolean enter) {
        bh_graph_index_sharing(g, box, enter);
        if (box->host_network && enter)
                g_ptr_array_add(g->at_host, box);
        else if (!enter)
                g_ptr_array_remove_fast(g->at_host, box);
        for (guint i = 0; i < box->n_addresses; i++) {
                index_address(g, box, &box->addresses[i].ip, enter);
                index_address(g, box, &box->addresses[i].ip6, enter);
        }
        for (guint i = 0; i < box->n_ports; i++) {
                const Place key = { .node = box->node, .proto = box->ports[i].proto, .port = box->ports[i].host_port };
                GPtrArray *boxes = g_hash_table_lookup(g->published, &key);

                if (!enter) {
                        forget(g->published, &key, box);
                        continue;
                }
                if (!boxes) {
                        Place *owned = g_memdup2(&key, sizeof(key));

                        g_ref_string_acquire(owned->node);
                        boxes = g_ptr_array_new();
                        g_hash_table_insert(g->published, owned, boxes);
                }
                g_ptr_array_add(boxes, box);
        }
}

/* ---- nodes' own addresses */

static Claim *find_claim(BhGraph *g, const char *node, const BhHalfAddress *a) {
        GHashTable *of = g_hash_table_lookup(g->own, node);

        return of ? g_hash_table_lookup(of, a) : NULL;
}

static gboolean is_active(const Claim *c) {
        return c->told || c->learned || c->bridge;
}

/* What a node says of itself now goes before what it once had; then who was first. */
static gboolean goes_before(const Claim *a, const Claim *b) {
        return !b || a->told > b->told || (a->told == b->told && a->order < b->order);
}

static void settle(BhGraph *g, Claims *all) {
        guint n = 0;

        all->owner = NULL;
        for (guint i = 0; i < all->claims->len; i++) {
                Claim *c = all->claims->pdata[i];

                if (!is_active(c) || c->bridge)
                        continue;
                n++;
                if (goes_before(c, all->owner))
                        all->owner = c;
        }
        all->rivals = n ? n - 1 : 0;
        if (all->rivals)
                g_hash_table_add(g->contested, all);
        else
                g_hash_table_remove(g->contested, all);
}

/* NULL: beyond the bounds, counted. */
static Claim *get_claim(BhGraph *g, char *node, const BhHalfAddress *a) {
        GHashTable *of = g_hash_table_lookup(g->own, node);
        Claim *c = of ? g_hash_table_lookup(of, a) : NULL;
        Claims *all;

        if (c)
                return c;
        if (g->n_claims >= CLAIMS_MAX || (of && g_hash_table_size(of) >= CLAIMS_PER_NODE)) {
                g->claims_refused++;
                return NULL;
        }
        if (!of) {
                of = g_hash_table_new_full(bh_graph_address_hash, bh_graph_address_equal, NULL, claim_free);
                g_hash_table_insert(g->own, g_ref_string_acquire(node), of);
        }
        c = g_new0(Claim, 1);
        c->address = *a;
        c->node = g_ref_string_acquire(node);
        c->order = ++g->n_claims;
        g_hash_table_insert(of, &c->address, c);
        if (!(all = g_hash_table_lookup(g->claims, a))) {
                all = g_new0(Claims, 1);
                all->address = *a;
                all->claims = g_ptr_array_new();
                g_hash_table_insert(g->claims, &all->address, all);
        }
        g_ptr_array_add(all->claims, c);
        return c;
}

/* Its order matters to others, and has to last. */
static void is_news(BhGraph *g, Claim *c) {
        if (!c->stored && !c->bridge)
                g_ptr_array_add(g->fresh_claims, c);
        c->stored |= !c->bridge;
}

void bh_graph_claim(BhGraph *g, const char *node, const BhHalfAddress *address) {
        char *n = bh_graph_text(node);
        Claim *c = address->len ? get_claim(g, n, address) : NULL;

        if (c)
                c->stored = TRUE;
        g_ref_string_release(n);
}

static gint by_order(gconstpointer a, gconstpointer b) {
        const Claim *x = *(const Claim *const *) a, *y = *(const Claim *const *) b;

        return x->order < y->order ? -1 : x->order > y->order;
}

void bh_graph_news(BhGraph *g, BhGraphClaimFunc func, gpointer data) {
        g_ptr_array_sort(g->fresh_claims, by_order);
        for (guint i = 0; i < g->fresh_claims->len; i++) {
                const Claim *c = g->fresh_claims->pdata[i];

                func(c->node, &c->address, data);
        }
        g_ptr_array_set_size(g->fresh_claims, 0);
}

gboolean bh_graph_learn(BhGraph *g, const Half *h) {
        Claim *c;
        Sort sort;

        if (*h->container_id || !h->local.len || ((c = find_claim(g, h->node, &h->local)) && c->learned))
                return FALSE;
        sort = bh_graph_sort_of(&h->local);
        if ((sort != PLAIN && sort != PRIVATE) || (!c && !(c = get_claim(g, h->node, &h->local))))
                return FALSE;
        c->learned = TRUE;
        is_news(g, c);
        settle(g, g_hash_table_lookup(g->claims, &h->local));
        return TRUE;
}

const char *bh_graph_node_at(BhGraph *g, const char *from, const BhHalfAddress *a) {
        const Claim *c = from ? find_claim(g, from, a) : NULL;
        const Claims *all;

        if (c && is_active(c))
                return from;
        all = g_hash_table_lookup(g->claims, a);
        return all && all->owner ? all->owner->node : NULL;
}

void bh_graph_place_node(BhGraph *g, const char *node) {
        GHashTable *of = g_hash_table_lookup(g->own, node);
        GHashTableIter it;
        gpointer address;

        if (!of)
                return;
        g_hash_table_iter_init(&it, of);
        while (g_hash_table_iter_next(&it, &address, NULL))
                bh_graph_place_same(g, address);
}

static void write_address(char *out, gsize size, const BhHalfAddress *a) {
        if (!inet_ntop(a->len == 4 ? AF_INET : AF_INET6, a->bytes, out, (socklen_t) size))
                *out = '\0';
}

guint bh_graph_contests(const BhGraph *g, BhGraphContest *out, guint max) {
        GHashTableIter it;
        gpointer p;
        guint n = 0;

        g_hash_table_iter_init(&it, g->contested);
        while (n < max && g_hash_table_iter_next(&it, &p, NULL)) {
                const Claims *all = p;
                const Claim *first = NULL;

                for (guint i = 0; i < all->claims->len; i++) {
                        const Claim *c = all->claims->pdata[i];

                        if (c != all->owner && is_active(c) && !c->bridge && goes_before(c, first))
                                first = c;
                }
                write_address(out[n].address, sizeof(out[n].address), &all->address);
                g_strlcpy(out[n].node, all->owner->node, sizeof(out[n].node));
                g_strlcpy(out[n].rival, first ? first->node : "", sizeof(out[n].rival));
                out[n++].rivals = all->rivals;
        }
        return n;
}

/* ---- what is told of places */

static gboolean enter_place(GHashTable *table, const char *node, const char *network, const BhHalfAddress *a, gpointer value) {
        Place *key = g_new0(Place, 1);

        key->node = node ? bh_graph_text(node) : NULL;
        key->network = network ? bh_graph_text(network) : NULL;
        if (a)
                key->address = *a;
        if (g_hash_table_contains(table, key)) {
                place_free(key); /* who was told first stays */
                return FALSE;
        }
        g_hash_table_insert(table, key, value);
        return TRUE;
}

static void enter_claim(BhGraph *g, const BhGraphPlace *p, gboolean bridge) {
        char *node = bh_graph_text(p->node);
        Claim *c = get_claim(g, node, &p->address);

        if (c && bridge)
                c->bridge = TRUE;
        else if (c)
                c->told = TRUE;
        g_ref_string_release(node);
}

static void enter(BhGraph *g, const BhGraphPlace *p) {
        const char *network = p->network ? p->network : "";
        gpointer value;

        switch (p->what) {
        case BH_GRAPH_PLACE_BRIDGE:
                enter_place(g->bridges, p->node, network, NULL, NULL);
                if (!p->address.len)
                        return;
                enter_place(g->gateways, p->node, network, &p->address, NULL);
                enter_claim(g, p, TRUE);
                return;
        case BH_GRAPH_PLACE_GATEWAY:
                if (!p->address.len)
                        return;
                enter_place(g->gateways, p->node, network, &p->address, NULL);
                enter_claim(g, p, TRUE);
                return;
        case BH_GRAPH_PLACE_SANDBOX:
                value = p->address.len ? bh_graph_text(p->node) : NULL;
                if (value && !enter_place(g->sandboxes, NULL, network, &p->address, value))
                        release_text(value);
                return;
        case BH_GRAPH_PLACE_SERVICE: {
                if (!p->address.len)
                        return;
                End *service = g_new0(End, 1);

                service->kind = END_WORKLOAD;
                service->a = bh_graph_text(p->application);
                service->b = bh_graph_text(p->workload);
                if (!enter_place(g->services, NULL, network, &p->address, service))
                        service_free(service);
                return;
        }
        case BH_GRAPH_PLACE_NODE:
        default:
                if (p->address.len)
                        enter_claim(g, p, FALSE);
        }
}

static gboolean same_text(gconstpointer a, gconstpointer b) {
        return a == b;
}

static gboolean same_service(gconstpointer a, gconstpointer b) {
        const End *x = a, *y = b;

        return x->a == y->a && x->b == y->b;
}

/* What is in one and not, or otherwise, in the other. */
static void differences(GHashTable *before, GHashTable *now, gboolean (*same)(gconstpointer, gconstpointer), GHashTable *addresses) {
        GHashTable *const tables[] = { before, now };

        for (guint i = 0; i < 2; i++) {
                GHashTableIter it;
                gpointer key, value, other;

                g_hash_table_iter_init(&it, tables[i]);
                while (g_hash_table_iter_next(&it, &key, &value))
                        if (!g_hash_table_lookup_extended(tables[!i], key, NULL, &other) || !same(value, other))
                                g_hash_table_add(addresses, g_memdup2(&((const Place *) key)->address, sizeof(BhHalfAddress)));
        }
}

/* Networks that became, or are no longer, a node's alone: whoever is in one of them is looked up anew. */
static void place_bridges(BhGraph *g, GHashTable *before) {
        g_autoptr(GHashTable) moved = g_hash_table_new(place_hash, place_equal);
        GHashTable *const tables[] = { before, g->bridges };
        GHashTableIter it;
        gpointer p;

        for (guint i = 0; i < 2; i++) {
                g_hash_table_iter_init(&it, tables[i]);
                while (g_hash_table_iter_next(&it, &p, NULL))
                        if (!g_hash_table_contains(tables[!i], p))
                                g_hash_table_add(moved, p);
        }
        if (!g_hash_table_size(moved))
                return;
        g_hash_table_iter_init(&it, g->halves);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                const Half *h = p;
                const Box *local = bh_graph_local_box(g, h);
                gboolean touched = *h->network_id && g_hash_table_contains(moved, &(const Place){ .node = h->node, .network = h->network_id });

                for (guint i = 0; local && !touched && i < local->n_addresses; i++)
                        touched = g_hash_table_contains(moved, &(const Place){ .node = h->node, .network = local->addresses[i].network });
                if (touched)
                        bh_graph_place(g, p);
        }
}

void bh_graph_set_places(BhGraph *g, const BhGraphPlace *places, guint n) {
        g_autoptr(GHashTable) addresses = g_hash_table_new_full(bh_graph_address_hash, bh_graph_address_equal, g_free, NULL);
        g_autoptr(GHashTable) gateways = g_steal_pointer(&g->gateways), sandboxes = g_steal_pointer(&g->sandboxes), services = g_steal_pointer(&g->services),
                              bridges = g_steal_pointer(&g->bridges);
        GHashTableIter it, inner;
        gpointer of, p;

        g->gateways = place_table(NULL);
        g->sandboxes = place_table(release_text);
        g->services = place_table(service_free);
        g->bridges = place_table(NULL);
        g_hash_table_iter_init(&it, g->own);
        while (g_hash_table_iter_next(&it, NULL, &of)) {
                g_hash_table_iter_init(&inner, of);
                while (g_hash_table_iter_next(&inner, NULL, &p)) {
                        Claim *c = p;

                        c->before = (guint8) (c->told | c->bridge << 1);
                        c->told = c->bridge = FALSE;
                }
        }
        for (guint i = 0; i < n; i++)
                enter(g, &places[i]);
        g_hash_table_iter_init(&it, g->own);
        while (g_hash_table_iter_next(&it, NULL, &of)) {
                g_hash_table_iter_init(&inner, of);
                while (g_hash_table_iter_next(&inner, NULL, &p)) {
                        Claim *c = p;

                        if (c->before == (c->told | c->bridge << 1))
                                continue;
                        is_news(g, c);
                        settle(g, g_hash_table_lookup(g->claims, &c->address));
                        g_hash_table_add(addresses, g_memdup2(&c->address, sizeof(c->address)));
                }
        }
        differences(gateways, g->gateways, same_text, addresses);
        differences(sandboxes, g->sandboxes, same_text, addresses);
        differences(services, g->services, same_service, addresses);
        g_hash_table_iter_init(&it, addresses);
        while (g_hash_table_iter_next(&it, &p, NULL))
                bh_graph_place_same(g, p);
        place_bridges(g, bridges);
}

/* ---- look-ups */

const End *bh_graph_service_at(BhGraph *g, const Half *h) {
        Place key = { .network = h->network_id, .address = h->peer };
        const End *s = h->role == BH_HALF_CLIENT ? g_hash_table_lookup(g->services, &key) : NULL;

        if (!s && h->role == BH_HALF_CLIENT) {
                key.network = bh_graph_text("");
                s = g_hash_table_lookup(g->services, &key);
                g_ref_string_release(key.network);
        }
        return s;
}

const char *bh_graph_gateway_at(BhGraph *g, const Half *h) {
        const Place own = { .node = h->node, .network = h->network_id, .address = h->peer }, shared = { .network = h->network_id, .address = h->peer };

        if (!*h->network_id)
                return NULL;
        if (g_hash_table_contains(g->gateways, &own))
                return h->node;
        /* of others only in networks that are not this node's alone */
        return bh_graph_is_bridge(g, h->node, h->network_id) ? NULL : g_hash_table_lookup(g->sandboxes, &shared);
}

gboolean bh_graph_is_bridge(const BhGraph *g, const char *node, const char *network) {
        const Place key = { .node = (char *) (gsize) node, .network = (char *) (gsize) network };

        return g_hash_table_contains(g->bridges, &key);
}
