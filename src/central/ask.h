/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the nodes over the bus, whose answers are waited for: events, processes, rules stay with the nodes.
 *
 * A question is asked of every node at once and waits for them, BH_ASK_SECONDS where a call of the API asks; what a node did not answer, cut or
 * dropped is said in the answer, never left out in silence. BH_ASK_BYTES each, and of calls at most BH_ASK_QUERIES at a time. Any thread.
 */
#pragma once
#include "central.h"

#define BH_ASK_SECONDS 20
#define BH_ASK_QUERIES 4 /* of the workers that there are */
#define BH_ASK_BYTES (8 * 1024 * 1024)

typedef struct BhAsk BhAsk;

typedef struct {
        BhAsk *ask;
        char *node;
        BhBusRequest *request;
        GPtrArray *chunks; /* GBytes */
        guint64 dropped;
        char *error;
        gboolean ended, cut;
} BhAnswer;

/* Read it after bh_ask(). Shared by the worker that waits and the bus's thread; the last one frees it. */
struct BhAsk {
        gatomicrefcount refs;
        GMutex lock;
        GCond moved;
        gsize bytes;
        guint open;
        GPtrArray *answers;
};

void bh_ask_unref(BhAsk *q);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhAsk, bh_ask_unref)

/* Asks the node that the parameter "node" names, else all that are here, and waits. `body` may be NULL. NULL: answered (429, 503). */
BhAsk *bh_ask(BhCall *call, const char *request, GBytes *body);
/* Asks each of these nodes something of its own, whatever the parameters say: bodies (GBytes) in the nodes' order. */
BhAsk *bh_ask_each(BhCall *call, const char *const *nodes, const char *request, const GPtrArray *bodies);
/*
 * The same of these nodes for other parts of the central: nobody is answered, and never NULL. It ends early when the server stops, or when *stop
 * (atomic; may be NULL) is set.
 */
BhAsk *bh_ask_nodes(BhCentral *c, const char *const *nodes, const char *request, GBytes *body, guint seconds, const gint *stop);

/* The same, each something of its own; a node may be among them more than once. */
BhAsk *bh_ask_nodes_each(BhCentral *c, const char *const *nodes, const char *request, const GPtrArray *bodies, guint seconds);

/* "nodes": [{"node","dropped","cut","error"}], "dropped": their sum, "undecodable". */
void bh_ask_append_nodes(GString *out, const BhAsk *q, guint undecodable);
