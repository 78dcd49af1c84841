/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection map for Graphviz. Names are foreign: what is in quotes stays there.
 */
#pragma once
#include <jansson.h>

/* {"nodes","edges"} as the API gives them, as a directed graph in the DOT language; containers of an application are drawn together. Caller frees. */
char *bh_graph_dot(const json_t *map);
