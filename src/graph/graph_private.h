/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the graph: graph.c keeps it, resolve.c says what addresses mean, places.c whose they are, query.c reads it.
 *
 * All texts are interned GRefStrings: equal texts are one pointer, and are compared and hashed as such.
 */
#pragma once
#include "graph/graph.h"

typedef struct End End;
typedef struct Edge Edge;
typedef struct Half Half;
typedef struct Box Box;

typedef enum { END_CONTAINER, END_WORKLOAD, END_HOST, END_NAME, END_NETWORK, END_RUNTIME } EndKind;

struct End {
        EndKind kind;
        char *a, *b;  /* container: node, id; workload: application, workload; host: node; name, network, runtime: its name */
        Box *box;     /* of a container; NULL: the inventory does not know it */
        Edge *in, *out;
        guint slot;   /* in BhGraph.ends */
        guint edges;  /* at it; one without goes */
};

struct Edge {
        End *from, *to;
        guint32 proto, port;
        char *path;
        Half *halves;
        guint counted; /* of the halves: those that are not absorbed */
        guint slot;    /* in BhGraph.edges */
        Edge *next_in, *prev_in, *next_out, *prev_out;
};

struct Half {
        gint64 id;
        char *node, *container_id, *exe, *path, *peer_container_id, *peer_name, *peer_exe, *network_id, *protocol, *server_name, *fingerprint, *certificate;
        BhHalfAddress local, peer, dialled;
        guint8 role;
        guint8 peer_is_host : 1;
        guint8 absorbed : 1;  /* another half says precisely what this one says vaguely: its numbers do not count */
        guint8 published : 1; /* its peer address and port are a node's that are passed on to the container */
        guint8 shared : 1;    /* its peer is one of several with one address: sharing.c */
        guint8 imprecise : 1; /* its peer is only where it was seen from: a node that hides its containers, a service's address */
        guint32 proto, port, dialled_port, ports, addresses;
        guint32 *samples; /* NULL or samples[0] = how many */
        gint64 first_ns, last_ns;
        gint64 wait_ns; /* Peer.wait_ns */
        guint64 open, half_open;
        BhHalfCounts counts;
        Edge *edge;
        Half *next, *prev;           /* on the edge */
        Half *next_same, *prev_same; /* with this peer address */
};

/* A container of the inventory. */
typedef struct {
        char *network;
        BhHalfAddress ip, ip6;
} BoxAddress;

struct Box {
        char *node, *id, *name, *application, *workload, *image, *state;
        char *network_of; /* id of the container whose network it shares; "": none */
        gint64 since_ns, ended_ns;
        gboolean running, host_network;
        guint round; /* BhGraph.round when it was told last */
        BoxAddress *addresses;
        BhGraphPort *ports;
        guint n_addresses, n_ports;
        End *end; /* NULL: it has no edges */
};

/* An address in a node or a network, or a node's port, as a key. */
typedef struct {
        char *node, *network; /* NULL: whichever; a network is the runtime's id */
        BhHalfAddress address;
        guint32 proto, port;
} Place;

struct BhGraph {
        GHashTable *halves; /* gint64 * in Half → Half */
        GPtrArray *edges, *ends;
        GHashTable *edge_of, *end_of; /* Edge → itself by its key, End → itself by its key */
        GHashTable *same;             /* BhHalfAddress * in Half → the first Half of that peer */
        GHashTable *boxes;            /* Box → itself, by node and id */
        GHashTable *box_of_id;        /* char *id → Box: the latest of that id on whatever node */
        GPtrArray *at_host;           /* Box that have their node's network */
        guint64 edges_made;
        gboolean explaining;   /* bh_graph_explain_sharing() is under way */
        GPtrArray *to_explain; /* of it: Half */
        GHashTable *explained; /* of it: Half → how often */
        guint round; /* of telling all containers */

        /* places.c */
        GHashTable *at;        /* BhHalfAddress → GPtrArray of Box that have, or had, it */
        GHashTable *published; /* Place of a node's port → GPtrArray of Box */
        GHashTable *own;       /* char *node → GHashTable of the addresses that it calls its own */
        GHashTable *claims;    /* BhHalfAddress → all who call it theirs */
        GHashTable *contested; /* of these: those with more than one */
        GPtrArray *fresh_claims; /* not given out yet */
        guint64 n_claims, claims_refused;
        GHashTable *gateways;  /* set of Place: a gateway, as its node sees it */
        GHashTable *sandboxes; /* Place in a network over several nodes → char *node, whose own it is */
        GHashTable *services;  /* Place in a network, or everywhere (network "") → End, of which only kind, a and b are used */
        GHashTable *sharing;   /* Place of a node and the id of a container (as `network`) → GPtrArray of Box that share its network */
        GHashTable *bridges;   /* set of Place: a network that is the node's alone */

        /* resolve.c */
        GArray *cidrs;         /* BhGraphCidr, the longest first */
        guint64 resolved;
};

static inline char *bh_graph_text(const char *text) {
        return g_ref_string_new_intern(text ? text : "");
}

guint bh_graph_address_hash(gconstpointer a);
gboolean bh_graph_address_equal(gconstpointer a, gconstpointer b);

/* ---- places.c */

void bh_graph_places_init(BhGraph *g);
void bh_graph_places_clear(BhGraph *g);

/* Enters, or takes out, what the box says of addresses and ports. */
void bh_graph_index_box(BhGraph *g, Box *box, gboolean enter);
/* A process of the host has this address: the node's own. TRUE when that is news. */
gboolean bh_graph_learn(BhGraph *g, const Half *h);
/* The node whose own this address is, as seen from a node (NULL: from anywhere); NULL: nobody's. */
const char *bh_graph_node_at(BhGraph *g, const char *from, const BhHalfAddress *a);
/* The node that a gateway, or another own address of a node in the half's network, is. */
const char *bh_graph_gateway_at(BhGraph *g, const Half *h);
const End *bh_graph_service_at(BhGraph *g, const Half *h);
/* Whether a network is the node's alone, as that node says: what others say of addresses in it does not count. */
gboolean bh_graph_is_bridge(const BhGraph *g, const char *node, const char *network);
/* Places anew whoever went to one of the node's own addresses. */
void bh_graph_place_node(BhGraph *g, const char *node);

/* ---- resolve.c */

typedef enum { PLAIN, LOOPBACK, ANY, MULTICAST, BROADCAST, LINK_LOCAL, PRIVATE } Sort;
Sort bh_graph_sort_of(const BhHalfAddress *a);

void bh_graph_resolve_init(BhGraph *g);
void bh_graph_resolve_clear(BhGraph *g);

/* What the other side of a half is: the kind and the two texts of an End (interned, to be released), and the server's port after all translations. */
typedef struct {
        EndKind kind;
        char *a, *b;
        guint32 port;
        gboolean imprecise, published, shared;
        gint64 wait_ns; /* when heard of again at this time, another container will be meant; 0: never */
} Peer;
void bh_graph_peer(BhGraph *g, const Half *h, Peer *out);

/* The edge that says precisely what an imprecise half says; NULL: none does. `local` is the half's own end. */
Edge *bh_graph_precise(BhGraph *g, const Half *h, const End *local, const Peer *peer);

/* ---- sharing.c */

void bh_graph_index_sharing(BhGraph *g, Box *b, gboolean enter);
/* The container whose network this one shares; NULL: it has its own, or that one is not known. */
const Box *bh_graph_network_owner(const BhGraph *g, const Box *b);
/* Of those that share an address with the one that a half's peer was found to be: who is meant. Sets out->shared and out->imprecise. */
const Box *bh_graph_among_sharing(const BhGraph *g, const Half *h, const Box *b, Peer *out);
/* A new edge may say which of several is meant by halves of the same connection. */
void bh_graph_explain_sharing(BhGraph *g, const Edge *e);

/* ---- graph.c */

/* The container that a half is of; NULL: none, or one that the inventory does not know. */
const Box *bh_graph_local_box(const BhGraph *g, const Half *h);

/* The half's own end, and an edge, if there are such; NULL otherwise. */
const End *bh_graph_find_local(const BhGraph *g, const Half *h);
Edge *bh_graph_find_edge(const BhGraph *g, const End *from, const End *to, guint32 proto, guint32 port, const char *path);
/* Puts the half on the edge that it belongs to now. */
void bh_graph_place(BhGraph *g, Half *h);
/* The same for all halves with this peer address. */
void bh_graph_place_same(BhGraph *g, const BhHalfAddress *peer);
