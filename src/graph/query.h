/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the graph: nodes and edges at one of three levels, of all that is known or of a window of time, with filters, in pages.
 *
 * At the level of workloads or applications, containers are put together, and edges that have the same two ends, protocol and port (or path) with them. Numbers are
 * added up; of the two sides of each connection between two containers the larger number counts.
 *
 * A window's numbers come from the store's buckets: they are given as sums by half. An edge is in a window when something was added to it, or when it is open
 * and began before the window's end.
 *
 * Answers own what they hold (texts are shared), and stay good when the graph changes. Readers only: any number of threads while nobody changes it.
 */
#pragma once
#include "graph/graph.h"

typedef enum { BH_GRAPH_APPLICATION, BH_GRAPH_WORKLOAD, BH_GRAPH_CONTAINER } BhGraphLevel;

const char *bh_graph_level_name(BhGraphLevel level);
gboolean bh_graph_level_parse(const char *name, BhGraphLevel *level);

/* ---- sums of a window */

typedef struct BhGraphSums BhGraphSums;
BhGraphSums *bh_graph_sums_new(void);
void bh_graph_sums_add(BhGraphSums *s, gint64 half, const BhHalfCounts *counts);
void bh_graph_sums_free(BhGraphSums *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhGraphSums, bh_graph_sums_free)

/* ---- the question */

typedef struct {
        BhGraphLevel level;
        /* Of either end, all of them of the same one. NULL: any. `container`: id, the beginning (4 or more characters) of one, or a name. */
        const char *application, *workload, *container, *node;
        const char *search; /* somewhere in what the ends are called, or in programs, names, protocols, path or port; ASCII letters in either case */
        gint64 since_ns, until_ns; /* the window, with `sums`; without, since_ns only says which edges are new */
        const BhGraphSums *sums;   /* NULL: all that is known */
        gboolean hidden;           /* also edges that are left out otherwise: to the runtime */
        const char *within;        /* only what this edge of the level `within_level` is made of; NULL: all */
        BhGraphLevel within_level;
        GHashTable *halves;     /* the same by a set of bh_graph_select(), which has found them: `within` is not looked at. NULL: all */
        gboolean both;          /* for bh_graph_select(): both sides, and what does not count */
        gboolean brief;         /* no nodes, edges without ends, protocol, lists and samples: for comparing many */
        const GHashTable *only; /* set of char * ids: no other edges are in the answer; tiers and numbers are of all. NULL: no bound */
} BhGraphQuery;

typedef struct {
        char *id;
        const char *kind; /* container, workload, application, host, name, network, runtime */
        char *name;
        char *application, *workload, *container, *node, *image, *state; /* shared; never NULL */
        guint running, containers;
        guint tier;
} BhGraphNode;

#define BH_GRAPH_LIST_MAX 16 /* of each list of an edge */
#define BH_GRAPH_CLIENT_SIDE 1
#define BH_GRAPH_SERVER_SIDE 2

/* One that found a name leads to an address: whose word that is, for its resolver may be its own. */
typedef struct {
        char *by;   /* id of the container's node at its level, or of the host's */
        char *name; /* of that container */
        char *address;
} BhGraphResolved;

typedef struct {
        char id[17];
        guint from, to; /* nodes of the answer */
        guint32 proto, port;
        char *path; /* shared */
        BhHalfCounts counts;
        guint64 open, half_open;
        gint64 first_ns, last_ns;
        gboolean fresh, hidden;
        guint sides;
        guint32 ports, addresses, samples[BH_HALF_SAMPLES];
        guint n_samples;
        char *protocol, *server_name, *fingerprint, *certificate;    /* shared; never NULL */
        GPtrArray *clients, *servers, *names, *dialled, *networks; /* char *, sorted; NULL in brief ones */
        GPtrArray *resolved; /* BhGraphResolved, of an edge to a name; NULL: none */
} BhGraphEdge;

typedef struct {
        GPtrArray *nodes; /* BhGraphNode */
        GPtrArray *edges; /* BhGraphEdge, by id */
        gboolean more;
        guint n_nodes, n_edges, n_hidden; /* over all pages */
} BhGraphView;

/*
 * Edges behind the one with the id `after` (NULL: from the first), at most `limit`. Nodes: with the first page all of them, those without edges as well (containers that live, or
 * did in the window); with others those of their edges.
 */
BhGraphView *bh_graph_query(const BhGraph *g, const BhGraphQuery *q, const char *after, guint limit);
void bh_graph_view_free(BhGraphView *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhGraphView, bh_graph_view_free)
/* Leaves the first `n` edges, so that more follow. */
void bh_graph_view_cut(BhGraphView *v, guint n);

/*
 * The halves whose numbers make up what the question asks for, one side of each connection: a set of ids (gint64 as pointers). `edge_begins` (may be NULL) receives when each
 * edge of the level was seen first (gint64).
 */
GHashTable *bh_graph_select(const BhGraph *g, const BhGraphQuery *q, GArray *edge_begins);

/* ---- what a listener is reached by */

/* Published addresses ("0.0.0.0:8080") and services of a container's port: char *, the caller's. */
GPtrArray *bh_graph_reached_by(const BhGraph *g, const char *node, const char *container, guint32 proto, guint32 port);

typedef struct {
        char *name, *application, *workload; /* shared; to be released with bh_graph_box_clear() */
} BhGraphBox;
/* FALSE: not known. */
gboolean bh_graph_box(const BhGraph *g, const char *node, const char *container, BhGraphBox *out);
void bh_graph_box_clear(BhGraphBox *b);
