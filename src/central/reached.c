/* SPDX-License-Identifier: Apache-2.0 */
#include "reached.h"

#include <jansson.h>
#include <string.h>

#include "store/store_inventory.h"
#include "store/store_resources.h"

#define SERVICE "com.docker.swarm.service."

typedef struct {
        char *name, *where; /* "service", "network NET" */
} Name;

struct BhReached {
        BhStore *store;
        GHashTable *containers; /* "node/id" → GArray of Name */
        GHashTable *services;   /* id → json_t *, its detail; NULL: not known */
};

static void name_clear(gpointer p) {
        g_free(((Name *) p)->name);
        g_free(((Name *) p)->where);
}

static void json_free(gpointer p) {
        json_decref(p);
}

BhReached *bh_reached_new(BhStore *store) {
        BhReached *r = g_new0(BhReached, 1);

        r->store = store;
        r->containers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_array_unref);
        r->services = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, json_free);
        return r;
}

void bh_reached_free(BhReached *r) {
        if (!r)
                return;
        g_hash_table_unref(r->containers);
        g_hash_table_unref(r->services);
        g_free(r);
}

static const char *text_of(const json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));

        return text ? text : "";
}

static void add(GArray *names, const char *name, char *where) {
        Name n = { g_strdup(name), where };

        g_array_append_val(names, n);
}

static gboolean has_names(const char *network) {
        static const char *const without[] = { "", "bridge", "host", "none", "ingress", "docker_gwbridge", NULL };

        return !g_strv_contains(without, network);
}

static const json_t *service_of(BhReached *r, const char *id) {
        gpointer known;

        if (g_hash_table_lookup_extended(r->services, id, NULL, &known))
                return known;

        const BhStoreResourceFilter filter = { .kind = "service", .id = id };
        g_autoptr(BhStorePage) page = bh_store_resources(r->store, &filter, NULL, 1, NULL);
        json_t *detail = page && page->rows->len ? json_loads(((const BhStoreResource *) page->rows->pdata[0])->detail, 0, NULL) : NULL;
        g_hash_table_insert(r->services, g_strdup(id), detail);
        return detail;
}

static void add_aliases(GArray *names, const json_t *aliases, const char *network) {
        size_t i;
        json_t *e;

        json_array_foreach((json_t *) aliases, i, e)
                if (json_is_string(e) && *json_string_value(e))
                        add(names, json_string_value(e), g_strconcat("network ", network, NULL));
}

/* Aliases that the service, whose networks are told by id, has in this one. */
static void add_service_aliases(GArray *names, const json_t *service, const json_t *network) {
        size_t i;
        json_t *n;

        json_array_foreach(json_object_get(service, "networks"), i, n)
                if (!strcmp(text_of(n, "network"), text_of(network, "id")) || !strcmp(text_of(n, "network"), text_of(network, "name")))
                        add_aliases(names, json_object_get(n, "aliases"), text_of(network, "name"));
}

static GArray *names_of(BhReached *r, const BhStoreContainer *c) {
        GArray *names = g_array_new(FALSE, FALSE, sizeof(Name));
        json_t *networks = json_loads(c->networks, 0, NULL), *labels = json_loads(c->labels, 0, NULL), *n;
        const char *service = text_of(labels, SERVICE "name");
        gboolean any = FALSE;
        size_t i;

        g_array_set_clear_func(names, name_clear);
        json_array_foreach(networks, i, n) {
                const char *network = text_of(n, "name");

                if (!has_names(network))
                        continue;
                any = TRUE;
                if (*service)
                        add_service_aliases(names, service_of(r, text_of(labels, SERVICE "id")), n);
                else if (*c->name)
                        add(names, c->name, g_strconcat("network ", network, NULL));
                add_aliases(names, json_object_get(n, "aliases"), network);
        }
        if (any && *service)
                add(names, service, g_strdup("service"));
        json_decref(networks);
        json_decref(labels);
        return names;
}

void bh_reached_load(BhReached *r, const char *node, const char *container) {
        g_autofree char *key = g_strdup_printf("%s/%s", node, container);

        if (!*container || g_hash_table_contains(r->containers, key))
                return;

        g_autoptr(BhStoreContainer) c = bh_store_container(r->store, node, container, NULL);
        /* what shares another one's network listens at that one's addresses */
        if (c && *c->network_of) {
                g_autoptr(BhStoreContainer) owner = bh_store_container(r->store, node, c->network_of, NULL);

                if (owner) {
                        g_hash_table_insert(r->containers, g_steal_pointer(&key), names_of(r, owner));
                        return;
                }
        }
        g_hash_table_insert(r->containers, g_steal_pointer(&key), c && !c->ended_ns ? names_of(r, c) : g_array_new(FALSE, FALSE, sizeof(Name)));
}

void bh_reached_names(BhReached *r, const char *node, const char *container, guint32 port, GPtrArray *out) {
        g_autofree char *key = g_strdup_printf("%s/%s", node, container);
        const GArray *names = g_hash_table_lookup(r->containers, key);

        for (guint i = 0; names && i < names->len; i++) {
                const Name *n = &g_array_index(names, Name, i);
                g_autofree char *text = g_strdup_printf("%s:%u (%s)", n->name, port, n->where);

                if (!g_ptr_array_find_with_equal_func(out, text, g_str_equal, NULL))
                        g_ptr_array_add(out, g_steal_pointer(&text));
        }
}
