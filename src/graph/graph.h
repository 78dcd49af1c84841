/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection map in memory: halves of connections (event/half.h) put together to edges between ends. What is durable is the halves, in the store; the graph is
 * built from them and kept current with the same numbers.
 *
 * An *end* is a container, a workload behind a service's address, a node's own processes, a name or a network outside, or the runtime itself (its DNS). An *edge* goes
 * from the end that began to the one that was asked, for one protocol and port (or path of a Unix socket). The two halves of one connection, told by two nodes, are
 * on the same edge: of what both sides count, the larger number is shown, since one of them may be behind. Which end an address means is found by
 * resolve.c, when a half comes, and again when what is known of that address changes.
 *
 * Nothing is kept twice: an edge is its halves, what is shown of it is added up when it is asked for (query.h). Texts are shared (GRefString).
 *
 * Threads: readers (query.h, the numbers below) may be many; whoever changes it must be alone. The caller locks. Nothing blocks.
 * Bounds: those of the store (store_flows.h), of which this is an image; ends and edges are at most as many as halves; BH_GRAPH_CIDRS names of networks.
 */
#pragma once
#include "event/half.h"

#define BH_GRAPH_CIDRS 1000
#define BH_GRAPH_RUNTIME_DNS "docker-dns" /* what a node calls its runtime's resolver */

typedef struct BhGraph BhGraph;

BhGraph *bh_graph_new(void);
void bh_graph_free(BhGraph *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhGraph, bh_graph_free)

/* ---- halves */

/*
 * A half as the store has it. Known: `counts` are added, the rest replaces what was (texts only where they are not empty). TRUE when there is an edge that was not
 * there before.
 */
gboolean bh_graph_apply(BhGraph *g, const BhHalf *half);
/* Nothing is open any more. Unknown ones are passed over. */
void bh_graph_close(BhGraph *g, gint64 half);
void bh_graph_remove(BhGraph *g, gint64 half);

/* ---- the inventory */

typedef struct {
        const char *network; /* the runtime's id */
        BhHalfAddress ip, ip6;
} BhGraphAddress;

typedef struct {
        BhHalfAddress host_ip; /* len 0: all */
        guint32 proto, host_port, container_port;
} BhGraphPort;

/* Everything is borrowed and foreign. */
typedef struct {
        const char *node, *id, *name, *application, *workload, *image, *state;
        gint64 since_ns, ended_ns; /* created; 0: lives */
        gboolean running;
        gboolean host_network; /* what it serves is at its node's addresses */
        const BhGraphAddress *addresses;
        guint n_addresses;
        const BhGraphPort *ports; /* published ones */
        guint n_ports;
} BhGraphContainer;

/* New, or what is known now. Addresses that may mean it are resolved anew. */
void bh_graph_set_container(BhGraph *g, const BhGraphContainer *c);
/* Its edges stay while their halves do. */
void bh_graph_remove_container(BhGraph *g, const char *node, const char *id);
/* All that there are are told anew: those that were not set between begin and end go. */
void bh_graph_containers_begin(BhGraph *g);
void bh_graph_containers_end(BhGraph *g);

/* ---- what else addresses may mean. Each replaces what was said before; halves that mean something else now go to their new edge */

typedef struct {
        char *name;
        BhHalfAddress address;
        guint bits;
} BhGraphCidr;

/*
 * The setting graph.networks: a JSON array of {"name","cidr"}. FALSE with a sentence. NULL and "": none. Hostile input; bounded.
 */
gboolean bh_graph_parse_networks(const char *json, GArray **cidrs, GError **error);
/* GArray of BhGraphCidr. */
void bh_graph_set_networks(BhGraph *g, GArray *cidrs);

typedef enum {
        BH_GRAPH_PLACE_NODE,    /* an address of an interface of `node` */
        BH_GRAPH_PLACE_BRIDGE,  /* `network` is the node's alone; the address, if there is one, is its gateway: the node */
        BH_GRAPH_PLACE_GATEWAY, /* the same of a network that other nodes have as well, each with that gateway */
        BH_GRAPH_PLACE_SANDBOX, /* an own address of `node` in a `network` over several nodes, seen by all of them */
        BH_GRAPH_PLACE_SERVICE, /* of `application`'s `workload`, in `network`; "": everywhere */
} BhGraphPlaceKind;

typedef struct {
        BhGraphPlaceKind what;
        BhHalfAddress address;
        const char *node, *network, *application, *workload;
} BhGraphPlace;

/*
 * Addresses of nodes, gateways and services, as orchestrators and runtimes tell them; those that are known longest first, for of two that say the same place is theirs the
 * first one stays. Hostile: any node may call any address its own (BhGraphStats.contested).
 */
void bh_graph_set_places(BhGraph *g, const BhGraphPlace *places, guint n);

/*
 * Who called an address his own first has to outlast a restart: all such claims that are new since the last call, and at the start, before anything else, in the order in which they
 * came from there. At most 65,536, of a node 4,096.
 */
typedef void (*BhGraphClaimFunc)(const char *node, const BhHalfAddress *address, gpointer data);
void bh_graph_news(BhGraph *g, BhGraphClaimFunc func, gpointer data);
void bh_graph_claim(BhGraph *g, const char *node, const BhHalfAddress *address);

/* An address that several nodes call their own, gateways of bridges apart. */
typedef struct {
        char address[46], node[254], rival[254]; /* whose it is, and one more */
        guint rivals;
} BhGraphContest;
/* Some of them; returns how many. */
guint bh_graph_contests(const BhGraph *g, BhGraphContest *out, guint max);

/* Everything anew. Changes nothing if the rest of this works: for tests. */
void bh_graph_resolve_all(BhGraph *g);

/* ---- numbers */

typedef struct {
        guint halves, edges, ends, containers, addresses;
        guint fresh_claims;     /* that bh_graph_news() would give out */
        guint contested;        /* addresses that several nodes call their own */
        guint64 claims_refused; /* of an address as one's own, beyond the bounds */
        guint64 resolved;       /* times that an address was looked up */
} BhGraphStats;
void bh_graph_stats(const BhGraph *g, BhGraphStats *out);
