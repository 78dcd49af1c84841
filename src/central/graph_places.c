/* SPDX-License-Identifier: Apache-2.0 */
/* What runtimes and orchestrators say of addresses: nodes, gateways of their bridges, services. */
#include <arpa/inet.h>
#include <string.h>

#include "graph_private.h"
#include "store/store_resources.h"

#define OF_ONE 1024 /* addresses of one resource; one that is full of them must not leave no place for others */

static const char *text_of(const json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));

        return text ? text : "";
}

static gboolean parse_address(const char *text, BhHalfAddress *out) {
        guint8 bytes[16];

        if (!text)
                return FALSE;
        if (inet_pton(AF_INET, text, bytes) == 1)
                *out = bh_half_address(bytes, 4);
        else if (inet_pton(AF_INET6, text, bytes) == 1)
                *out = bh_half_address(bytes, 16);
        else
                return FALSE;
        return TRUE;
}

static gboolean address_of(const json_t *o, const char *key, BhHalfAddress *out) {
        return parse_address(text_of(o, key), out);
}

typedef struct {
        GArray *places; /* BhGraphPlace */
        GPtrArray *texts;
        GHashTable *numbers; /* char *node, or scope of a Swarm → number of its places */
} Found;

static const char *keep(Found *f, const char *text) {
        char *copy = g_strdup(text);

        g_ptr_array_add(f->texts, copy);
        return copy;
}

/* One node must not leave no place for others; what a Swarm shares is its managers' word, and has a bound of its own. */
static void add(Found *f, const BhStoreResource *r, const BhGraphPlace *p) {
        g_autofree char *of = g_strdup(g_str_equal(r->scope, "node") ? r->node : r->scope);
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(f->numbers, of));

        if (n >= BH_MAP_PLACES_OF_ONE || f->places->len >= BH_MAP_PLACES)
                return;
        g_hash_table_replace(f->numbers, g_steal_pointer(&of), GUINT_TO_POINTER(n + 1));
        g_array_append_val(f->places, *p);
}

static void add_network(Found *f, const BhStoreResource *r, const json_t *detail) {
        const char *driver = text_of(detail, "driver");
        gboolean alone = !g_str_equal(driver, "overlay") && !g_str_equal(text_of(detail, "scope"), "swarm");
        /* of these the gateway is a machine of the network outside */
        gboolean outside = g_str_equal(driver, "macvlan") || g_str_equal(driver, "ipvlan");
        BhGraphPlace p = { .what = alone ? BH_GRAPH_PLACE_BRIDGE : BH_GRAPH_PLACE_GATEWAY };
        json_t *subnet;
        size_t i;

        /* a network of the whole Swarm has a gateway on each node; a bridge's is its node's */
        if (!g_str_equal(r->scope, "node"))
                return;
        p.node = keep(f, r->node);
        p.network = keep(f, r->id);
        if (alone)
                add(f, r, &p);
        json_array_foreach(json_object_get(detail, "subnets"), i, subnet)
                if (i < OF_ONE && !outside && address_of(subnet, "gateway", &p.address))
                        add(f, r, &p);
        /* its own in a network over several nodes */
        p.what = BH_GRAPH_PLACE_SANDBOX;
        json_array_foreach(json_object_get(detail, "sandboxes"), i, subnet) {
                if (i < OF_ONE && address_of(subnet, "address", &p.address))
                        add(f, r, &p);
                if (i < OF_ONE && address_of(subnet, "address6", &p.address))
                        add(f, r, &p);
        }
}

static void add_node(Found *f, const BhStoreResource *r, const json_t *detail) {
        BhGraphPlace p = { .what = BH_GRAPH_PLACE_NODE };
        json_t *text;
        size_t i;

        if (!g_str_equal(r->scope, "node"))
                return;
        p.node = keep(f, r->node);
        if (address_of(json_object_get(detail, "swarm"), "address", &p.address))
                add(f, r, &p);
        /* of its interfaces */
        json_array_foreach(json_object_get(detail, "addresses"), i, text)
                if (i < OF_ONE && parse_address(json_string_value(text), &p.address))
                        add(f, r, &p);
}

static void add_service(Found *f, const BhStoreResource *r, const json_t *detail) {
        g_autofree char *prefix = g_strconcat(r->application, "_", NULL);
        const char *workload = *r->application && g_str_has_prefix(r->name, prefix) ? r->name + strlen(prefix) : r->name;
        json_t *vip;
        size_t i;

        /* its address leads all nodes there: that is no single node's word */
        if (!g_str_has_prefix(r->scope, "swarm:"))
                return;
        json_array_foreach(json_object_get(detail, "vips"), i, vip) {
                if (i >= OF_ONE)
                        break;
                BhGraphPlace p = { .what = BH_GRAPH_PLACE_SERVICE, .application = keep(f, r->application), .workload = keep(f, workload), .network = keep(f, text_of(vip, "network")) };

                if (address_of(vip, "address", &p.address))
                        add(f, r, &p);
        }
}

gboolean bh_map_load_places(BhCentral *c, GArray *places, GPtrArray *texts, GError **error) {
        static const struct {
                const char *kind;
                void (*add)(Found *f, const BhStoreResource *r, const json_t *detail);
        } kinds[] = { { "network", add_network }, { "node", add_node }, { "service", add_service } };
        g_autoptr(GHashTable) numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        Found f = { places, texts, numbers };

        for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
                const BhStoreResourceFilter filter = { .kind = kinds[k].kind, .oldest_first = TRUE };
                g_autofree char *cursor = NULL;

                do {
                        g_autoptr(BhStorePage) page = bh_store_resources(c->store, &filter, cursor, 0, error);

                        if (!page)
                                return FALSE;
                        for (guint i = 0; i < page->rows->len; i++) {
                                const BhStoreResource *r = page->rows->pdata[i];
                                json_t *detail = json_loads(r->detail, 0, NULL);

                                kinds[k].add(&f, r, detail);
                                json_decref(detail);
                        }
                        g_free(cursor);
                        cursor = g_steal_pointer(&page->next);
                } while (cursor && places->len < BH_MAP_PLACES);
        }
        return TRUE;
}

static void add_text(GChecksum *sum, const char *text) {
        g_checksum_update(sum, (const guchar *) (text ? text : ""), (gssize) (text ? strlen(text) : 0) + 1);
}

char *bh_map_digest_places(const GArray *places) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

        for (guint i = 0; i < places->len; i++) {
                const BhGraphPlace *p = &g_array_index(places, BhGraphPlace, i);

                const guint8 what = (guint8) p->what;

                g_checksum_update(sum, &what, 1);
                g_checksum_update(sum, &p->address.len, 1);
                g_checksum_update(sum, p->address.bytes, p->address.len);
                add_text(sum, p->node);
                add_text(sum, p->network);
                add_text(sum, p->application);
                add_text(sum, p->workload);
        }
        return g_strdup(g_checksum_get_string(sum));
}
