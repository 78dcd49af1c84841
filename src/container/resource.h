/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a runtime or an orchestrator knows beside containers: services, tasks, nodes, stacks, pods, networks, volumes, images; configs and secrets by name
 * alone. docs/inventory.md says what each kind's `detail` holds.
 *
 * A set is whole for its scope: what is not in it is not there. It is built by one thread, then published and never changed again; reference
 * counting is atomic. Strings are never NULL, and foreign. No value of a secret, a config or a variable is in any of them.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

#include "container/container.h"

#define BH_RESOURCE_MAX 10000u           /* of a set */
#define BH_RESOURCE_SET_BYTES (6u << 20) /* of its texts: a set is one message of the bus */
#define BH_RESOURCE_DETAIL_MAX (64u << 10)
#define BH_RESOURCE_LIST_MAX 256u /* elements of a list in a detail; further ones are counted as "refused" in it */

typedef struct {
        char *kind; /* "service", "task", "node", "stack", "network", "config", "secret", "image", "volume", "pod" */
        char *id, *name;
        char *application; /* "" = none */
        GArray *labels;    /* BhKeyValue, sorted by key */
        char *detail;      /* a JSON object */
        gint64 created_ns, updated_ns; /* since the epoch; 0 = not known */
} BhResource;

typedef struct {
        gatomicrefcount refs;
        char *source; /* "docker", "swarm", "containerd", "host" */
        char *scope;  /* "swarm:<cluster id>", "node" */
        GPtrArray *resources; /* BhResource */
        guint refused;        /* over a bound, or not understood */
        gsize bytes;
} BhResourceSet;

BhResource *bh_resource_new(const char *kind, const char *id, const char *name);
void bh_resource_free(BhResource *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhResource, bh_resource_free)
/* Labels of a JSON object; those over a container's bounds, or not texts, are left out. Sets the application from them. */
void bh_resource_take_labels(BhResource *r, const json_t *labels);
/* Value of a label, NULL if there is none. */
const char *bh_resource_label(const BhResource *r, const char *key);
/* Takes the object. One that is too large as text is replaced by {"refused": true}. */
void bh_resource_set_detail(BhResource *r, json_t *detail);

BhResourceSet *bh_resource_set_new(const char *source, const char *scope);
BhResourceSet *bh_resource_set_ref(BhResourceSet *s);
void bh_resource_set_unref(BhResourceSet *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhResourceSet, bh_resource_set_unref)
/* Takes r; NULL is allowed. Beyond the bounds it is freed and counted. FALSE then. */
gboolean bh_resource_set_add(BhResourceSet *s, BhResource *r);
/* Copies what `from` (may be NULL) has of a kind: for a question that was not answered this time. */
void bh_resource_set_keep(BhResourceSet *s, const BhResourceSet *from, const char *kind);
/* By kind and id: runtimes list in any order, and the same must be found the same. */
void bh_resource_set_sort(BhResourceSet *s);
/* Whether both say the same, in the same order. Either may be NULL. */
gboolean bh_resource_set_equal(const BhResourceSet *a, const BhResourceSet *b);
/* The first one of that kind and id, NULL if there is none. */
const BhResource *bh_resource_set_find(const BhResourceSet *s, const char *kind, const char *id);
