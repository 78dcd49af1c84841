/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of the map's owner (graph.c, graph_places.c).
 */
#pragma once
#include "graph.h"

#define BH_MAP_PLACES 100000       /* addresses of nodes, gateways and services */
#define BH_MAP_PLACES_OF_ONE 8192 /* of a node; of a Swarm */

/* Appends BhGraphPlace; its texts go to `texts`. */
gboolean bh_map_load_places(BhCentral *c, GArray *places, GPtrArray *texts, GError **error);
/* Equal for equal places: resources change often, and mostly in other things. Caller frees. */
char *bh_map_digest_places(const GArray *places);
