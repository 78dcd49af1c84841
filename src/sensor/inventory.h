/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers as messages of the bus (topic "inventory"), and what there is beside them. Pure, any thread.
 *
 * One container's lists are shortened until it takes at most BH_INVENTORY_CONTAINER_BYTES, and what was left out is added to its `refused`: a
 * container may be described with labels, mounts and names of many MiB, and the central is to hear of it all the same.
 */
#pragma once
#include <glib.h>

#include "container/container.h"
#include "container/resource.h"

#define BH_INVENTORY_CONTAINER_BYTES (1u << 20)
#define BH_INVENTORY_MESSAGE_BYTES (4u << 20) /* of a message with several */

/* A set as one message (topic "resources"): its bounds are below a message's. */
GBytes *bh_inventory_resources(const char *node, const BhResourceSet *set, gint64 time_ns);

/* One container as a message by itself. */
GBytes *bh_inventory_container(const BhContainer *c);

/*
 * As few messages as the bounds allow, in order: GBytes *, owned by the array. `full`: the first one says that what is not in it is gone, and is there
 * even when there are no containers; the others add to it.
 */
GPtrArray *bh_inventory_pack(const char *node, const char *boot_id, const GPtrArray *containers, gboolean full, gint64 time_ns);
