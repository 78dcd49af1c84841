/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be entered into the map, in order, by a thread of its own: whoever stores what nodes tell must not wait for questions about the map that are under way. Whoever asks
 * waits instead until what was handed over before is entered, so that an answer has all that was acknowledged before the question.
 *
 * At most BH_GRAPH_QUEUE_MAX of cost wait; then handing over waits for room, and that is counted. One piece of any cost always finds room.
 *
 * Threads: any, but for bh_graph_queue_free(), which drops what waits.
 */
#pragma once
#include <glib.h>

#define BH_GRAPH_QUEUE_MAX 40000 /* halves: some tens of MiB */

typedef struct BhGraphQueue BhGraphQueue;

/* `enter` is called by the queue's thread for each piece, which it frees. */
BhGraphQueue *bh_graph_queue_new(void (*enter)(gpointer piece, gpointer data), void (*free_piece)(gpointer piece), gpointer data);
void bh_graph_queue_free(BhGraphQueue *q);

/* Takes the piece. */
void bh_graph_queue_push(BhGraphQueue *q, gpointer piece, guint cost);
/* Until all that was handed over by now is entered. FALSE: not before that time. */
gboolean bh_graph_queue_wait(BhGraphQueue *q, gint64 until_us);

typedef struct {
        guint waiting, cost;
        guint64 pushed, stalled; /* pieces; of them those that waited for room */
} BhGraphQueueStats;
void bh_graph_queue_stats(BhGraphQueue *q, BhGraphQueueStats *out);
