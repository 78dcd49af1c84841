/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner of the connection map (src/graph): builds it from the store, keeps it current, and tells readers of the stream when it changed.
 *
 * Flows are handed over by the thread that stored them (ingest.c) and entered by another (graph_queue.h), the inventory by a third ("bh-graph"), which reads the store's change log. Readers take a
 * lock that changes wait for, but for no reader that comes later: at most BH_MAP_READERS at a time, since an answer about everything takes memory. Nothing here is durable: it is built anew at each start.
 */
#pragma once
#include "central.h"
#include "graph/query.h"
#include "graph_queue.h"
#include "store/store_inventory.h"

#define BH_MAP_READERS 3
#define BH_MAP_CONTESTS 8 /* contested addresses that the status names */
#define BH_MAP_TELL_MS 1000 /* the stream is told of changes once in so long */

typedef struct BhMap BhMap;

/* From the store; takes as long as reading all halves and containers does. NULL with an error. Its thread begins. */
BhMap *bh_map_new(BhCentral *c, GError **error);
/* Ends its thread: the hub may go. NULL is allowed. */
void bh_map_stop(BhMap *m);
void bh_map_free(BhMap *m);

/*
 * What was stored of a batch: taken over, with `data`, which holds what its texts point to and is freed when it has been entered. That may be a little later; it waits for questions
 * under way only when very much waits already (graph_queue.h).
 */
void bh_map_flows(BhMap *m, BhStoreFlows *batch, GDestroyNotify free_data, gpointer data);
/* The inventory may have changed. Quick; any thread. */
void bh_map_wake(BhMap *m);
/* Containers are gone of which no change tells: retention took them. Quick; any thread. */
void bh_map_reload(BhMap *m);
/* Halves that are no longer kept: gint64. */
void bh_map_forget(BhMap *m, const GArray *halves);
/* Takes over the setting graph.networks. */
void bh_map_read_settings(BhMap *m);

/* For readers: the graph, until bh_map_release(). NULL: too many read already, and none of them ended within the time that a question may take. */
const BhGraph *bh_map_acquire(BhMap *m);
void bh_map_release(BhMap *m);
/* Findings of what a node stands for; a few seconds old, more where it takes long to count them. */
guint64 bh_map_findings(BhMap *m, const BhGraphNode *n);
guint64 bh_map_generation(BhMap *m); /* rises with each change; below 2^53 */

typedef struct {
        BhGraphStats graph;
        BhGraphQueueStats queue;
        guint64 generation, batches, duplicates, halves;
        BhGraphContest contests[BH_MAP_CONTESTS]; /* some of graph.contested */
        guint n_contests;
} BhMapStats;
void bh_map_stats(BhMap *m, BhMapStats *out);
