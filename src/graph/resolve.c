/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an address means. In this order: what the node itself knew (container, host, runtime); the half's own side (loopback); a container in the half's network, then in
 * a network that both are in, then on the same node; a gateway or a node's own address, where a published port is the container behind it; a service's
 * address; the name by which it was found; a named network; a block of addresses.
 *
 * Several containers may have had one address: the one that lived when the half was heard of counts, the younger of two.
 */
#include <arpa/inet.h>
#include <jansson.h>

#include "graph/graph_private.h"

#define SLACK_NS (10 * G_GINT64_CONSTANT(1000000000)) /* between clocks, and from an end to its being told */
#define OWN_MAX 65536                                   /* addresses of nodes that were seen */
#define EDGES_LOOKED_AT 4096                            /* of one end, for one that says it precisely */
#define NAME_MAX_BYTES 128

static guint place_hash(gconstpointer p) {
        const Place *k = p;

        return bh_graph_address_hash(&k->address) ^ (guint) ((gsize) k->scope >> 4) * 0x9e3779b1u ^ (k->proto << 16 | k->port) * 65599u;
}

static gboolean place_equal(gconstpointer p, gconstpointer q) {
        const Place *x = p, *y = q;

        return x->scope == y->scope && x->proto == y->proto && x->port == y->port && bh_half_address_equal(&x->address, &y->address);
}

static void place_free(gpointer p) {
        g_ref_string_release(((Place *) p)->scope);
        g_free(p);
}

static void service_free(gpointer p) {
        g_ref_string_release(((End *) p)->a);
        g_ref_string_release(((End *) p)->b);
        g_free(p);
}

static void cidr_clear(gpointer p) {
        g_free(((BhGraphCidr *) p)->name);
}

static void release_text(gpointer text) {
        g_ref_string_release(text);
}

static void boxes_free(gpointer p) {
        g_ptr_array_unref(p);
}

void bh_graph_resolve_init(BhGraph *g) {
        g->at = g_hash_table_new_full(bh_graph_address_hash, bh_graph_address_equal, g_free, boxes_free);
        g->published = g_hash_table_new_full(place_hash, place_equal, place_free, boxes_free);
        g->own = g_hash_table_new_full(place_hash, place_equal, place_free, NULL);
        g->node_of = g_hash_table_new_full(bh_graph_address_hash, bh_graph_address_equal, g_free, release_text);
        g->gateways = g_hash_table_new_full(place_hash, place_equal, place_free, release_text);
        g->services = g_hash_table_new_full(place_hash, place_equal, place_free, service_free);
        g->cidrs = g_array_new(FALSE, FALSE, sizeof(BhGraphCidr));
        g_array_set_clear_func(g->cidrs, cidr_clear);
}

void bh_graph_resolve_clear(BhGraph *g) {
        g_hash_table_unref(g->at);
        g_hash_table_unref(g->published);
        g_hash_table_unref(g->own);
        g_hash_table_unref(g->node_of);
        g_hash_table_unref(g->gateways);
        g_hash_table_unref(g->services);
        g_array_unref(g->cidrs);
}

/* ---- kinds of addresses */

typedef enum { PLAIN, LOOPBACK, ANY, MULTICAST, BROADCAST, LINK_LOCAL, PRIVATE } Sort;

static Sort sort_of(const BhHalfAddress *a) {
        const guint8 *b = a->bytes;
        static const guint8 zero[16], one[16] = { [15] = 1 };

        if (a->len == 4) {
                if (b[0] == 127)
                        return LOOPBACK;
                if (!memcmp(b, zero, 4))
                        return ANY;
                if (b[0] == 255 && b[1] == 255 && b[2] == 255 && b[3] == 255)
                        return BROADCAST;
                if (b[0] >= 224 && b[0] < 240)
                        return MULTICAST;
                if (b[0] == 169 && b[1] == 254)
                        return LINK_LOCAL;
                return b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) || (b[0] == 100 && (b[1] & 0xc0) == 64) ? PRIVATE : PLAIN;
        }
        if (!memcmp(b, zero, 16))
                return ANY;
        if (!memcmp(b, one, 16))
                return LOOPBACK;
        if (b[0] == 0xff)
                return MULTICAST;
        if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
                return LINK_LOCAL;
        return (b[0] & 0xfe) == 0xfc ? PRIVATE : PLAIN;
}

static void append_address(GString *out, const BhHalfAddress *a) {
        char text[INET6_ADDRSTRLEN];

        g_string_append(out, inet_ntop(a->len == 4 ? AF_INET : AF_INET6, a->bytes, text, sizeof(text)));
}

static gboolean within(const BhHalfAddress *a, const BhGraphCidr *c) {
        guint whole = c->bits / 8, rest = c->bits % 8;

        return a->len == c->address.len && !memcmp(a->bytes, c->address.bytes, whole) &&
               (!rest || ((a->bytes[whole] ^ c->address.bytes[whole]) & (guint8) (0xff << (8 - rest))) == 0);
}

/* ---- what is known of places */

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
        if (box->host_network && enter)
                g_ptr_array_add(g->at_host, box);
        else if (!enter)
                g_ptr_array_remove_fast(g->at_host, box);
        for (guint i = 0; i < box->n_addresses; i++) {
                index_address(g, box, &box->addresses[i].ip, enter);
                index_address(g, box, &box->addresses[i].ip6, enter);
        }
        for (guint i = 0; i < box->n_ports; i++) {
                const Place key = { .scope = box->node, .proto = box->ports[i].proto, .port = box->ports[i].host_port };
                GPtrArray *boxes = g_hash_table_lookup(g->published, &key);

                if (!enter) {
                        forget(g->published, &key, box);
                        continue;
                }
                if (!boxes) {
                        Place *owned = g_memdup2(&key, sizeof(key));

                        g_ref_string_acquire(owned->scope);
                        boxes = g_ptr_array_new();
                        g_hash_table_insert(g->published, owned, boxes);
                }
                g_ptr_array_add(boxes, box);
        }
}

/* TRUE when it is news. */
static gboolean enter_own(BhGraph *g, char *node, const BhHalfAddress *a) {
        const Place key = { .scope = node, .address = *a };

        if (g_hash_table_contains(g->own, &key) || g_hash_table_size(g->own) >= OWN_MAX)
                return FALSE;
        Place *owned = g_memdup2(&key, sizeof(key));
        g_ref_string_acquire(owned->scope);
        g_hash_table_add(g->own, owned);
        /* an address that several nodes have (a bridge's gateway) names none of them to the others */
        char *before = g_hash_table_lookup(g->node_of, a);
        if (!before || before != node)
                g_hash_table_replace(g->node_of, g_memdup2(a, sizeof(*a)), before ? bh_graph_text("") : g_ref_string_acquire(node));
        return TRUE;
}

gboolean bh_graph_learn(BhGraph *g, const Half *h) {
        Sort sort;

        if (*h->container_id || !h->local.len)
                return FALSE;
        sort = sort_of(&h->local);
        return (sort == PLAIN || sort == PRIVATE) && enter_own(g, h->node, &h->local);
}

const char *bh_graph_node_at(BhGraph *g, const char *from, const BhHalfAddress *a) {
        const Place key = { .scope = (char *) (gsize) from, .address = *a };
        const char *node;

        if (from && g_hash_table_contains(g->own, &key))
                return from;
        node = g_hash_table_lookup(g->node_of, a);
        return node && *node ? node : NULL;
}

void bh_graph_set_places(BhGraph *g, const BhGraphPlace *places, guint n) {
        g_hash_table_remove_all(g->gateways);
        g_hash_table_remove_all(g->services);
        for (guint i = 0; i < n; i++) {
                const BhGraphPlace *p = &places[i];
                const char *network = p->network ? p->network : "";

                if (!p->address.len)
                        continue;
                if (p->node && !*network) {
                        char *node = bh_graph_text(p->node);

                        enter_own(g, node, &p->address);
                        g_ref_string_release(node);
                        continue;
                }
                Place *key = g_new0(Place, 1);
                key->scope = bh_graph_text(network);
                key->address = p->address;
                if (p->node) {
                        g_hash_table_replace(g->gateways, key, bh_graph_text(p->node));
                } else {
                        End *service = g_new0(End, 1);

                        service->kind = END_WORKLOAD;
                        service->a = bh_graph_text(p->application);
                        service->b = bh_graph_text(p->workload);
                        g_hash_table_replace(g->services, key, service);
                }
        }
}

void bh_graph_set_networks(BhGraph *g, GArray *cidrs) {
        g_array_set_size(g->cidrs, 0);
        for (guint i = 0; cidrs && i < cidrs->len && i < BH_GRAPH_CIDRS; i++) {
                BhGraphCidr c = g_array_index(cidrs, BhGraphCidr, i);

                c.name = g_strdup(c.name);
                g_array_append_val(g->cidrs, c);
        }
}

/* ---- containers */

static gboolean is_in(const Box *b, const char *network, const BhHalfAddress *a) {
        for (guint i = 0; i < b->n_addresses; i++)
                if ((!network || b->addresses[i].network == network) && (bh_half_address_equal(&b->addresses[i].ip, a) || bh_half_address_equal(&b->addresses[i].ip6, a)))
                        return TRUE;
        return FALSE;
}

static gboolean lived(const Box *b, const Half *h) {
        return b->since_ns <= h->last_ns + SLACK_NS && (!b->ended_ns || b->ended_ns >= h->first_ns - SLACK_NS);
}

/* Which of two containers is meant rather. */
static const Box *better(const Box *a, const Box *b) {
        return !a || b->since_ns > a->since_ns ? b : a;
}

static const Box *find_at(BhGraph *g, const Half *h) {
        const GPtrArray *boxes = g_hash_table_lookup(g->at, &h->peer);
        const Box *in_network = NULL, *shared = NULL, *on_node = NULL, *local = NULL;

        if (!boxes)
                return NULL;
        if (*h->container_id) {
                const Box key = { .node = h->node, .id = h->container_id };

                local = g_hash_table_lookup(g->boxes, &key);
        }
        for (guint i = 0; i < boxes->len; i++) {
                const Box *b = boxes->pdata[i];

                if (!lived(b, h))
                        continue;
                if (*h->network_id && is_in(b, h->network_id, &h->peer))
                        in_network = better(in_network, b);
                for (guint k = 0; local && k < local->n_addresses; k++)
                        if (*local->addresses[k].network && is_in(b, local->addresses[k].network, &h->peer))
                                shared = better(shared, b);
                if (b->node == h->node)
                        on_node = better(on_node, b);
        }
        return in_network ? in_network : shared ? shared : on_node;
}

/* Behind a published port of a node. */
static const Box *find_published(BhGraph *g, const Half *h, const char *node, guint32 *port) {
        const Place key = { .scope = (char *) (gsize) node, .proto = h->proto, .port = h->port };
        const GPtrArray *boxes = g_hash_table_lookup(g->published, &key);
        const Box *found = NULL;

        for (guint i = 0; boxes && i < boxes->len; i++) {
                const Box *b = boxes->pdata[i];

                for (guint k = 0; lived(b, h) && k < b->n_ports; k++) {
                        const BhGraphPort *p = &b->ports[k];

                        if (p->proto != h->proto || p->host_port != h->port ||
                            (p->host_ip.len && sort_of(&p->host_ip) != ANY && !bh_half_address_equal(&p->host_ip, &h->peer)))
                                continue;
                        if ((found = better(found, b)) == b)
                                *port = p->container_port;
                }
        }
        return found;
}

/* A container with its node's network, which serves there: it says so itself. */
static const Box *find_serving(BhGraph *g, const Half *h, const char *node) {
        for (guint i = 0; i < g->at_host->len; i++) {
                const Box *b = g->at_host->pdata[i];
                guint n = 0;

                for (const Edge *e = b->node == node && b->end && lived(b, h) ? b->end->in : NULL; e && n++ < EDGES_LOOKED_AT; e = e->next_in) {
                        if (e->proto != h->proto || e->port != h->port)
                                continue;
                        for (const Half *other = e->halves; other; other = other->next)
                                if (other->role == BH_HALF_SERVER)
                                        return b;
                }
        }
        return NULL;
}

/* ---- the peer */

static void is(Peer *out, EndKind kind, const char *a, const char *b) {
        out->kind = kind;
        out->a = bh_graph_text(a);
        out->b = bh_graph_text(b);
}

static void is_box(Peer *out, const Box *b) {
        is(out, END_CONTAINER, b->node, b->id);
}

static void is_itself(Peer *out, const Half *h) {
        if (*h->container_id)
                is(out, END_CONTAINER, h->node, h->container_id);
        else
                is(out, END_HOST, h->node, "");
}

/* The node's own address, or a port that it passes on. */
static void is_node(BhGraph *g, Peer *out, const Half *h, const char *node) {
        const Box *b = h->role == BH_HALF_CLIENT ? find_published(g, h, node, &out->port) : NULL;

        if (b) {
                is_box(out, b);
                out->published = TRUE;
                return;
        }
        if (h->role == BH_HALF_CLIENT && (b = find_serving(g, h, node))) {
                is_box(out, b);
                return;
        }
        is(out, END_HOST, node, "");
        /* another node's containers are seen by its address */
        out->imprecise = h->role == BH_HALF_SERVER && node != h->node;
}

static void is_block(BhGraph *g, Peer *out, const Half *h, Sort sort) {
        g_autoptr(GString) text = g_string_new(NULL);
        BhHalfAddress block = h->peer;

        for (guint i = 0; i < g->cidrs->len; i++) {
                const BhGraphCidr *c = &g_array_index(g->cidrs, BhGraphCidr, i);

                if (within(&h->peer, c)) {
                        is(out, END_NETWORK, c->name, "");
                        return;
                }
        }
        if (sort == MULTICAST || sort == BROADCAST) {
                is(out, END_NETWORK, sort == MULTICAST ? "multicast" : "broadcast", "special");
                return;
        }
        if (sort == LINK_LOCAL) {
                append_address(text, &h->peer);
                is(out, END_NETWORK, text->str, "link-local");
                return;
        }
        memset(block.bytes + (block.len == 4 ? 3 : 6), 0, block.len == 4 ? 1 : 10);
        append_address(text, &block);
        g_string_append(text, block.len == 4 ? "/24" : "/48");
        is(out, END_NETWORK, text->str, sort == PRIVATE ? "private" : "internet");
}

static const End *service_at(BhGraph *g, const Half *h) {
        Place key = { .scope = h->network_id, .address = h->peer };
        const End *s = h->role == BH_HALF_CLIENT ? g_hash_table_lookup(g->services, &key) : NULL;

        if (!s && h->role == BH_HALF_CLIENT) {
                key.scope = bh_graph_text("");
                s = g_hash_table_lookup(g->services, &key);
                g_ref_string_release(key.scope);
        }
        return s;
}

static const char *gateway_at(BhGraph *g, const Half *h) {
        const Place key = { .scope = h->network_id, .address = h->peer };

        return *h->network_id ? g_hash_table_lookup(g->gateways, &key) : NULL;
}

void bh_graph_peer(BhGraph *g, const Half *h, Peer *out) {
        const char *node;
        const Box *b;
        const End *s;

        *out = (Peer){ .port = h->port };
        g->resolved++;
        if (*h->peer_container_id) {
                const Box key = { .node = h->node, .id = h->peer_container_id };

                b = g_hash_table_lookup(g->boxes, &key);
                if (!b)
                        b = g_hash_table_lookup(g->box_of_id, h->peer_container_id);
                is(out, END_CONTAINER, b ? b->node : h->node, h->peer_container_id);
                return;
        }
        if (h->peer_is_host) {
                if (!strcmp(h->peer_name, BH_GRAPH_RUNTIME_DNS))
                        is(out, END_RUNTIME, BH_GRAPH_RUNTIME_DNS, "");
                else
                        is(out, END_HOST, h->node, "");
                return;
        }
        if (!h->proto) { /* a Unix socket's other side is on the same node */
                is(out, END_HOST, h->node, "");
                return;
        }
        if (!h->peer.len) {
                /* of a scan of many addresses, or beyond the store's bounds */
                if (*h->peer_name)
                        is(out, END_NAME, h->peer_name, "");
                else
                        is(out, END_NETWORK, h->addresses > 1 ? "many addresses" : "others", "special");
                return;
        }
        Sort sort = sort_of(&h->peer);
        if (sort == LOOPBACK || sort == ANY) {
                is_itself(out, h);
        } else if ((b = find_at(g, h))) {
                is_box(out, b);
        } else if ((node = gateway_at(g, h)) || (node = bh_graph_node_at(g, h->node, &h->peer))) {
                is_node(g, out, h, node);
        } else if ((s = service_at(g, h))) {
                is(out, END_WORKLOAD, s->a, s->b);
                out->imprecise = TRUE;
        } else if (*h->peer_name) {
                is(out, END_NAME, h->peer_name, "");
        } else {
                is_block(g, out, h, sort);
        }
}

static gboolean says_precisely(const Edge *e) {
        for (const Half *h = e->halves; h; h = h->next)
                if (!h->imprecise)
                        return TRUE;
        return FALSE;
}

Edge *bh_graph_precise(BhGraph *g, const Half *h, const End *local, const Peer *peer) {
        Edge *found = NULL;
        guint n = 0;

        if (h->role == BH_HALF_SERVER) {
                for (Edge *e = local->in; e && n++ < EDGES_LOOKED_AT; e = e->next_in) {
                        if (e->proto != h->proto || e->port != h->port || e->from->a != peer->a || (e->from->kind != END_CONTAINER && e->from->kind != END_HOST) ||
                            !says_precisely(e))
                                continue;
                        if (e->from->kind == END_CONTAINER)
                                return e;
                        found = e;
                }
                return found;
        }
        for (Edge *e = local->out; e && n++ < EDGES_LOOKED_AT; e = e->next_out) {
                if (e->proto != h->proto || e->to->kind != END_CONTAINER || !e->to->box || e->to->box->application != peer->a || e->to->box->workload != peer->b ||
                    !says_precisely(e))
                        continue;
                if (e->port == h->port)
                        return e;
                found = e;
        }
        return found;
}

/* ---- the setting */

static gboolean bad(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean bad(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_INVAL, format, ap));
        va_end(ap);
        return FALSE;
}

static gboolean parse_cidr(const char *text, BhGraphCidr *out) {
        const char *slash = strchr(text, '/');
        g_autofree char *address = slash ? g_strndup(text, (gsize) (slash - text)) : g_strdup(text);
        guint8 bytes[16];
        char *end = NULL;
        guint64 bits;

        if (inet_pton(AF_INET, address, bytes) == 1)
                out->address = bh_half_address(bytes, 4);
        else if (inet_pton(AF_INET6, address, bytes) == 1)
                out->address = bh_half_address(bytes, 16);
        else
                return FALSE;
        if (!slash) {
                out->bits = out->address.len * 8u;
                return TRUE;
        }
        bits = g_ascii_isdigit(slash[1]) ? g_ascii_strtoull(slash + 1, &end, 10) : 999;
        if (bits > out->address.len * 8u || *end)
                return FALSE;
        out->bits = (guint) bits;
        return TRUE;
}

static gint longest_first(gconstpointer a, gconstpointer b) {
        return (gint) ((const BhGraphCidr *) b)->bits - (gint) ((const BhGraphCidr *) a)->bits;
}

gboolean bh_graph_parse_networks(const char *json, GArray **cidrs, GError **error) {
        g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(BhGraphCidr));
        json_t *v = json && *json ? json_loads(json, JSON_REJECT_DUPLICATES, NULL) : json_array(), *o;
        gboolean ok = TRUE;
        size_t i;

        g_array_set_clear_func(list, cidr_clear);
        if (!json_is_array(v) || json_array_size(v) > BH_GRAPH_CIDRS)
                ok = bad(error, "named networks are a JSON array of at most %d objects {\"name\":\"office\",\"cidr\":\"192.0.2.0/24\"}", BH_GRAPH_CIDRS);
        json_array_foreach(v, i, o) {
                const char *name = json_string_value(json_object_get(o, "name")), *cidr = json_string_value(json_object_get(o, "cidr"));
                BhGraphCidr c = { 0 };

                if (!ok)
                        break;
                if (!name || !cidr || json_object_size(o) != 2) {
                        ok = bad(error, "named network %zu must be an object with the texts \"name\" and \"cidr\" and nothing else", i + 1);
                } else if (!*name || strlen(name) > NAME_MAX_BYTES || strchr(name, '/')) {
                        ok = bad(error, "the name of named network %zu must have 1 to %d bytes and no slash", i + 1, NAME_MAX_BYTES);
                } else if (!parse_cidr(cidr, &c)) {
                        ok = bad(error, "\"%.64s\" is not a network like 192.0.2.0/24 or 2001:db8::/32", cidr);
                } else {
                        c.name = g_strdup(name);
                        g_array_append_val(list, c);
                }
        }
        json_decref(v);
        if (!ok)
                return FALSE;
        g_array_sort(list, longest_first);
        *cidrs = g_steal_pointer(&list);
        return TRUE;
}
