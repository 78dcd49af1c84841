/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes and edges of the map as JSON (api/openapi.yaml: GraphNode, GraphEdge). Pure but for the texts that it appends.
 */
#pragma once
#include "graph/query.h"

/* "tcp", "udp", "sctp", "unix", …, "ip-47". Static or in `buffer`. */
const char *bh_proto_name(guint32 proto, char buffer[16]);

/* Up to the closing brace, which the caller writes: it may have more to say. `findings`: of the node. */
void bh_graph_node_open(GString *out, const BhGraphNode *n, guint64 findings);
void bh_graph_edge_open(GString *out, const char *key, const BhGraphView *v, const BhGraphEdge *e);
