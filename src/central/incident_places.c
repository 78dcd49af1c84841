/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_places.h"

#include <jansson.h>
#include <string.h>

#include "incidents.h"

typedef struct {
        gint64 serial, time_ns;
        char *node, *container, *address;
} Later;

struct BhIncidentPlaces {
        GHashTable *addresses, *names; /* char *"node\1text" → char *container id */
        GHashTable *shared;            /* char *"network\1address" → char *"node\0container" */
        GHashTable *networks;          /* char *"node\1container" → char *"network\1network…" */
        GHashTable *gone;              /* char *"node\1container": removed, so that its addresses are soon another's */
        GHashTable *assets;            /* char *"node\1container" → char *name of a BhAsset, "" for NORMAL and for what the store does not have; none: it was never learned */
        GHashTable *since;             /* char *"node\1container" → char *nanoseconds: since when it runs, and has its addresses */
        GQueue later;                  /* of Later *, the oldest first */
        gboolean full;
};

static void later_free(gpointer data) {
        Later *l = data;

        g_free(l->node);
        g_free(l->container);
        g_free(l->address);
        g_free(l);
}

BhIncidentPlaces *bh_incident_places_new(void) {
        BhIncidentPlaces *p = g_new0(BhIncidentPlaces, 1);
        GHashTable **tables[] = { &p->addresses, &p->names, &p->shared, &p->networks, &p->gone, &p->assets, &p->since };

        for (guint i = 0; i < G_N_ELEMENTS(tables); i++)
                *tables[i] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_queue_init(&p->later);
        return p;
}

void bh_incident_places_free(BhIncidentPlaces *p) {
        if (!p)
                return;
        GHashTable *tables[] = { p->addresses, p->names, p->shared, p->networks, p->gone, p->assets, p->since };

        for (guint i = 0; i < G_N_ELEMENTS(tables); i++)
                g_hash_table_unref(tables[i]);
        g_queue_clear_full(&p->later, later_free);
        g_free(p);
}

void bh_incident_places_clear(BhIncidentPlaces *p) {
        GHashTable *tables[] = { p->addresses, p->names, p->shared, p->networks, p->gone, p->assets, p->since };

        for (guint i = 0; i < G_N_ELEMENTS(tables); i++)
                g_hash_table_remove_all(tables[i]);
        p->full = FALSE;
}

gboolean bh_incident_places_full(const BhIncidentPlaces *p) {
        return p->full;
}

static char *both(const char *a, const char *b) {
        return g_strconcat(a, "\1", b, NULL);
}

static void know(BhIncidentPlaces *p, GHashTable *where, const char *a, const char *b, const char *what) {
        g_autofree char *key = both(a, b);

        if (!*a || !*b)
                return;
        if (g_hash_table_size(where) >= BH_INCIDENTS_KNOWN && !g_hash_table_contains(where, key)) {
                p->full = TRUE;
                return;
        }
        g_hash_table_replace(where, g_steal_pointer(&key), g_strdup(what));
}

static const char *known(GHashTable *where, const char *a, const char *b) {
        g_autofree char *key = both(a, b);

        return g_hash_table_lookup(where, key);
}

static void know_shared(BhIncidentPlaces *p, const char *network, const char *address, const char *node, const char *container) {
        char *value = g_strconcat(node, "\1", container, NULL);

        know(p, p->shared, network, address, value);
        g_free(value);
        value = (char *) known(p->shared, network, address);
        if (value && strchr(value, '\1'))
                *strchr(value, '\1') = 0; /* two texts, one after the other */
}

static gboolean is_gone(const BhIncidentPlaces *p, const char *node, const char *container) {
        return known(p->gone, node, container) != NULL;
}

/* Those that waited for one of its addresses. */
static void find_later(BhIncidentPlaces *p, BhIncidentFoundFunc found, gpointer data) {
        for (GList *l = p->later.head, *next; l; l = next) {
                Later *x = l->data;
                const char *node, *peer;

                next = l->next;
                if (!bh_incident_places_peer(p, x->node, x->container, x->address, &node, &peer) || is_gone(p, node, peer))
                        continue;
                found(x->serial, node, peer, x->time_ns, data);
                later_free(x);
                g_queue_delete_link(&p->later, l);
        }
}

static void learn_asset(BhIncidentPlaces *p, const BhStoreContainer *c) {
        json_auto_t *labels = c->labels && strstr(c->labels, BH_INCIDENT_LABEL_ASSET) ? json_loads(c->labels, 0, NULL) : NULL;

        know(p, p->assets, c->node, c->id, bh_asset_name(bh_asset_of_name(json_string_value(json_object_get(labels, BH_INCIDENT_LABEL_ASSET)))));
}

BhAsset bh_incident_places_asset(const BhIncidentPlaces *p, const char *node, const char *container) {
        return bh_asset_of_name(known(p->assets, node, container));
}

BhAsset bh_incident_places_ask_asset(BhIncidentPlaces *p, BhStore *s, const char *node, const char *container) {
        g_autoptr(GError) error = NULL;

        if (!*node || !*container || known(p->assets, node, container))
                return bh_incident_places_asset(p, node, container);
        g_autoptr(BhStoreContainer) c = bh_store_container(s, node, container, &error);
        if (c)
                learn_asset(p, c);
        else if (g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND))
                know(p, p->assets, node, container, "");
        return bh_incident_places_asset(p, node, container);
}

void bh_incident_places_learn(BhIncidentPlaces *p, const BhStoreContainer *c, BhIncidentFoundFunc found, gpointer data) {
        json_auto_t *networks = *c->networks ? json_loads(c->networks, 0, NULL) : NULL;
        g_autoptr(GString) ids = g_string_new(NULL);
        g_autofree char *since = g_strdup_printf("%" G_GINT64_FORMAT, MAX(c->started_ns, c->created_ns));
        json_t *n;
        size_t i;

        know(p, p->names, c->node, c->name, c->id);
        know(p, p->since, c->node, c->id, since);
        learn_asset(p, c);
        if (g_str_equal(c->state, "removed")) /* an older one never takes an address from a newer one */
                know(p, p->gone, c->node, c->id, "");
        json_array_foreach(networks, i, n) {
                const char *id = json_string_value(json_object_get(n, "id"));
                const char *const at[] = { json_string_value(json_object_get(n, "ip")), json_string_value(json_object_get(n, "ip6")) };

                for (guint k = 0; k < G_N_ELEMENTS(at); k++) {
                        if (!at[k] || !*at[k])
                                continue;
                        if (is_gone(p, c->node, c->id) && known(p->addresses, c->node, at[k]))
                                continue;
                        know(p, p->addresses, c->node, at[k], c->id);
                        if (id)
                                know_shared(p, id, at[k], c->node, c->id);
                }
                if (id && *id)
                        g_string_append_printf(ids, "%s%s", ids->len ? "\1" : "", id);
        }
        know(p, p->networks, c->node, c->id, ids->str);
        if (p->later.length && json_array_size(networks))
                find_later(p, found, data);
}

const char *bh_incident_places_name(const BhIncidentPlaces *p, const char *node, const char *name) {
        return known(p->names, node, name);
}

gboolean bh_incident_places_peer(const BhIncidentPlaces *p, const char *node, const char *container, const char *address, const char **peer_node, const char **peer) {
        const char *id = known(p->addresses, node, address), *in = container ? known(p->networks, node, container) : NULL;
        g_auto(GStrv) networks = g_strsplit(in ? in : "", "\1", -1);

        /* in a network of its own first: a node may have that address, too */
        for (guint i = 0; networks[i]; i++) {
                const char *there = known(p->shared, networks[i], address), *other = there ? there + strlen(there) + 1 : NULL;

                if (!there)
                        continue;
                if (g_str_equal(there, node) && !g_strcmp0(other, container))
                        return FALSE;
                *peer_node = there;
                *peer = other;
                return TRUE;
        }
        if (!id || !g_strcmp0(id, container))
                return FALSE;
        *peer_node = node;
        *peer = id;
        return TRUE;
}

gboolean bh_incident_places_had(const BhIncidentPlaces *p, const char *node, const char *container, gint64 time_ns) {
        const char *since = known(p->since, node, container);

        return since && g_ascii_strtoll(since, NULL, 10) <= time_ns;
}

gboolean bh_incident_places_sure(const BhIncidentPlaces *p, const char *node, const char *container) {
        return container && !is_gone(p, node, container);
}

void bh_incident_places_later(BhIncidentPlaces *p, gint64 serial, const char *node, const char *container, const char *address, gint64 time_ns) {
        Later *l = g_new0(Later, 1), *oldest;

        *l = (Later){ serial, time_ns, g_strdup(node), g_strdup(container), g_strdup(address) };
        g_queue_push_tail(&p->later, l);
        while ((oldest = g_queue_peek_head(&p->later)) && (p->later.length > BH_INCIDENT_LATER || time_ns - oldest->time_ns > BH_INCIDENT_LATER_NS))
                later_free(g_queue_pop_head(&p->later));
}
