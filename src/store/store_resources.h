/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runtimes and orchestrators know beside containers: services, tasks, nodes, stacks, networks, volumes, images, configs and secrets by name.
 *
 * A list is whole for its scope. Scope "swarm:<cluster>" is the same for all nodes that tell it; any other scope is a node's own, one
 * for each source ("docker", "containerd"). What a list does not have is deleted.
 *
 * What a cluster shares is changed only by the node that told it first, by nodes that the list names as managers (by the node's name; by the engine's id where the
 * list's name is no node's), and by nodes that it does not name as workers once the one that told it last has been silent for BH_STORE_MANAGER_SILENT_NS. Lists of
 * others are refused, counted (BhStoreStats.scopes_contested), and a finding.
 *
 * Threads, errors, ownership, bounds of texts: store.h.
 */
#pragma once
#include "store/store.h"

#define BH_STORE_RESOURCES_PER_SCOPE 20000u
#define BH_STORE_SCOPES_PER_NODE 64 /* that a node told of last; lists of further ones are refused */
#define BH_STORE_MANAGER_SILENT_NS (600 * G_GINT64_CONSTANT(1000000000))

typedef struct {
        char *kind, *id, *name;
        char *application; /* "" = none */
        char *labels;      /* JSON object */
        char *detail;      /* JSON object: docs/inventory.md */
        gint64 created_ns, updated_ns;

        /* The store's own; ignored by ingest. */
        char *node, *source, *scope; /* node: that told of it last */
        gint64 serial, first_seen_ns, changed_ns;
} BhStoreResource;

void bh_store_resource_free(BhStoreResource *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreResource, bh_store_resource_free)

typedef struct {
        const char *source, *scope;
        gint64 time_ns; /* when it was true on the node */
        guint64 refused; /* that the node left out */
        const BhStoreResource *resources;
        guint n_resources;
} BhStoreResourceList;

/* NULL members do not filter; "" is a value. */
typedef struct {
        const char *kind, *scope, *source, *application, *node, *id;
        const char *search; /* somewhere in name, id, application or labels; ASCII letters in either case */
        gboolean oldest_first; /* the order of a page, not a filter */
} BhStoreResourceFilter;

/* Page of BhStoreResource in the order of their first appearance, the latest first if not asked otherwise. BH_STORE_ERROR_INVALID for a cursor that is none. */
BhStorePage *bh_store_resources(BhStore *s, const BhStoreResourceFilter *filter, const char *cursor, guint limit, GError **error);
gboolean bh_store_resources_count(BhStore *s, const BhStoreResourceFilter *filter, guint64 *count, GError **error);
/* By serial, which is the key in the change log. BH_STORE_ERROR_NOT_FOUND when it is gone. */
BhStoreResource *bh_store_resource(BhStore *s, gint64 serial, GError **error);
