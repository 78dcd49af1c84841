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
#define EDGES_LOOKED_AT 4096                            /* of one end, for one that says it precisely */
#define NAME_MAX_BYTES 128

static void cidr_clear(gpointer p) {
        g_free(((BhGraphCidr *) p)->name);
}

void bh_graph_resolve_init(BhGraph *g) {
        g->cidrs = g_array_new(FALSE, FALSE, sizeof(BhGraphCidr));
        g_array_set_clear_func(g->cidrs, cidr_clear);
        bh_graph_places_init(g);
}

void bh_graph_resolve_clear(BhGraph *g) {
        bh_graph_places_clear(g);
        g_array_unref(g->cidrs);
}

/* ---- kinds of addresses */

Sort bh_graph_sort_of(const BhHalfAddress *a) {
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

static gboolean same_networks(const GArray *a, const GArray *b) {
        if ((b ? MIN(b->len, BH_GRAPH_CIDRS) : 0) != a->len)
                return FALSE;
        for (guint i = 0; i < a->len; i++) {
                const BhGraphCidr *x = &g_array_index(a, BhGraphCidr, i), *y = &g_array_index(b, BhGraphCidr, i);

                if (strcmp(x->name, y->name) || x->bits != y->bits || !bh_half_address_equal(&x->address, &y->address))
                        return FALSE;
        }
        return TRUE;
}

void bh_graph_set_networks(BhGraph *g, GArray *cidrs) {
        GHashTableIter it;
        gpointer half;

        if (same_networks(g->cidrs, cidrs))
                return;
        g_array_set_size(g->cidrs, 0);
        for (guint i = 0; cidrs && i < cidrs->len && i < BH_GRAPH_CIDRS; i++) {
                BhGraphCidr c = g_array_index(cidrs, BhGraphCidr, i);

                c.name = g_strdup(c.name);
                g_array_append_val(g->cidrs, c);
        }
        g_hash_table_iter_init(&it, g->halves);
        while (g_hash_table_iter_next(&it, NULL, &half)) {
                const Edge *e = ((const Half *) half)->edge;

                if (e->from->kind == END_NETWORK || e->to->kind == END_NETWORK)
                        bh_graph_place(g, half);
        }
}

/* ---- containers */

static gboolean is_in(const Box *b, const char *network, const BhHalfAddress *a) {
        for (guint i = 0; i < b->n_addresses; i++)
                if ((!network || b->addresses[i].network == network) && (bh_half_address_equal(&b->addresses[i].ip, a) || bh_half_address_equal(&b->addresses[i].ip6, a)))
                        return TRUE;
        return FALSE;
}

/* `wait`: when it will have, at the earliest. */
static gboolean lived(const Box *b, const Half *h, gint64 *wait) {
        if (b->since_ns > h->last_ns + SLACK_NS) {
                *wait = *wait ? MIN(*wait, b->since_ns - SLACK_NS) : b->since_ns - SLACK_NS;
                return FALSE;
        }
        return !b->ended_ns || b->ended_ns >= h->first_ns - SLACK_NS;
}

/* Which of two containers is meant rather. */
static const Box *better(const Box *a, const Box *b) {
        return !a || b->since_ns > a->since_ns ? b : a;
}

/* What another node says of a network counts where that network is not this node's alone. */
static gboolean counts_in(const BhGraph *g, const Box *b, const Half *h, const char *network) {
        return b->node == h->node || !bh_graph_is_bridge(g, h->node, network);
}

static const Box *find_at(BhGraph *g, const Half *h, gint64 *wait) {
        const GPtrArray *boxes = g_hash_table_lookup(g->at, &h->peer);
        const Box *in_network = NULL, *shared = NULL, *on_node = NULL, *local;

        if (!boxes)
                return NULL;
        local = bh_graph_local_box(g, h);
        for (guint i = 0; i < boxes->len; i++) {
                const Box *b = boxes->pdata[i];

                if (!lived(b, h, wait))
                        continue;
                if (*h->network_id && is_in(b, h->network_id, &h->peer) && counts_in(g, b, h, h->network_id))
                        in_network = better(in_network, b);
                for (guint k = 0; local && k < local->n_addresses; k++) {
                        const char *network = local->addresses[k].network;

                        if (*network && is_in(b, network, &h->peer) && counts_in(g, b, h, network))
                                shared = better(shared, b);
                }
                if (b->node == h->node)
                        on_node = better(on_node, b);
        }
        return in_network ? in_network : shared ? shared : on_node;
}

/* Behind a published port of a node. */
static const Box *find_published(BhGraph *g, const Half *h, const char *node, guint32 *port, gint64 *wait) {
        const Place key = { .node = (char *) (gsize) node, .proto = h->proto, .port = h->port };
        const GPtrArray *boxes = g_hash_table_lookup(g->published, &key);
        const Box *found = NULL;

        for (guint i = 0; boxes && i < boxes->len; i++) {
                const Box *b = boxes->pdata[i];

                for (guint k = 0, alive = lived(b, h, wait); alive && k < b->n_ports; k++) {
                        const BhGraphPort *p = &b->ports[k];

                        if (p->proto != h->proto || p->host_port != h->port ||
                            (p->host_ip.len && bh_graph_sort_of(&p->host_ip) != ANY && !bh_half_address_equal(&p->host_ip, &h->peer)))
                                continue;
                        if ((found = better(found, b)) == b)
                                *port = p->container_port;
                }
        }
        return found;
}

/* A container with its node's network, which serves there: it says so itself. */
static const Box *find_serving(BhGraph *g, const Half *h, const char *node, gint64 *wait) {
        for (guint i = 0; i < g->at_host->len; i++) {
                const Box *b = g->at_host->pdata[i];
                guint n = 0;

                for (const Edge *e = b->node == node && b->end && lived(b, h, wait) ? b->end->in : NULL; e && n++ < EDGES_LOOKED_AT; e = e->next_in) {
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
        const Box *b = h->role == BH_HALF_CLIENT ? find_published(g, h, node, &out->port, &out->wait_ns) : NULL;

        if (b) {
                is_box(out, b);
                out->published = TRUE;
                return;
        }
        if (h->role == BH_HALF_CLIENT && (b = find_serving(g, h, node, &out->wait_ns))) {
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

/*
 * The runtime's own resolver is known by its address. A name is the word of whatever resolver a container asked, which may be its own: by that alone an edge must not be
 * taken for one of those that are left out.
 */
static gboolean is_resolver(const Half *h) {
        static const guint8 address[4] = { 127, 0, 0, 11 };

        return h->peer.len == 4 && !memcmp(h->peer.bytes, address, 4) && h->port == 53 && h->role == BH_HALF_CLIENT && !strcmp(h->peer_name, BH_GRAPH_RUNTIME_DNS);
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
                if (is_resolver(h))
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
        Sort sort = bh_graph_sort_of(&h->peer);
        if (sort == LOOPBACK || sort == ANY) {
                is_itself(out, h);
        } else if ((b = find_at(g, h, &out->wait_ns))) {
                is_box(out, b);
        } else if ((node = bh_graph_gateway_at(g, h)) || (node = bh_graph_node_at(g, h->node, &h->peer))) {
                is_node(g, out, h, node);
        } else if ((s = bh_graph_service_at(g, h))) {
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
