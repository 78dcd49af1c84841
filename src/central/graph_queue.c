/* SPDX-License-Identifier: Apache-2.0 */
#include "graph_queue.h"

typedef struct {
        gpointer piece;
        guint cost;
} Waiting;

struct BhGraphQueue {
        void (*enter)(gpointer, gpointer);
        void (*free_piece)(gpointer);
        gpointer data;
        GThread *thread;

        GMutex lock; /* of what follows */
        GCond moved;
        GQueue pieces; /* Waiting; the first one may be under way */
        guint cost;
        guint64 pushed, entered, stalled;
        gboolean stopping;
};

static gpointer run(gpointer data) {
        BhGraphQueue *q = data;

        g_mutex_lock(&q->lock);
        for (;;) {
                while (!q->stopping && g_queue_is_empty(&q->pieces))
                        g_cond_wait(&q->moved, &q->lock);
                if (q->stopping)
                        break;
                Waiting *w = g_queue_peek_head(&q->pieces);
                g_mutex_unlock(&q->lock);
                q->enter(w->piece, q->data);
                q->free_piece(w->piece);
                g_mutex_lock(&q->lock);
                g_queue_pop_head(&q->pieces);
                q->cost -= w->cost;
                q->entered++;
                g_free(w);
                g_cond_broadcast(&q->moved);
        }
        g_mutex_unlock(&q->lock);
        return NULL;
}

BhGraphQueue *bh_graph_queue_new(void (*enter)(gpointer, gpointer), void (*free_piece)(gpointer), gpointer data) {
        BhGraphQueue *q = g_new0(BhGraphQueue, 1);

        q->enter = enter;
        q->free_piece = free_piece;
        q->data = data;
        g_mutex_init(&q->lock);
        g_cond_init(&q->moved);
        g_queue_init(&q->pieces);
        q->thread = g_thread_new("bh-graph-enter", run, q);
        return q;
}

void bh_graph_queue_free(BhGraphQueue *q) {
        if (!q)
                return;
        g_mutex_lock(&q->lock);
        q->stopping = TRUE;
        g_cond_broadcast(&q->moved);
        g_mutex_unlock(&q->lock);
        g_thread_join(q->thread);
        for (Waiting *w; (w = g_queue_pop_head(&q->pieces));) {
                q->free_piece(w->piece);
                g_free(w);
        }
        g_mutex_clear(&q->lock);
        g_cond_clear(&q->moved);
        g_free(q);
}

void bh_graph_queue_push(BhGraphQueue *q, gpointer piece, guint cost) {
        Waiting *w = g_new(Waiting, 1);

        *w = (Waiting){ piece, cost };
        g_mutex_lock(&q->lock);
        q->stalled += q->cost && q->cost + cost > BH_GRAPH_QUEUE_MAX;
        while (q->cost && q->cost + cost > BH_GRAPH_QUEUE_MAX && !q->stopping)
                g_cond_wait(&q->moved, &q->lock);
        g_queue_push_tail(&q->pieces, w);
        q->cost += cost;
        q->pushed++;
        g_cond_broadcast(&q->moved);
        g_mutex_unlock(&q->lock);
}

gboolean bh_graph_queue_wait(BhGraphQueue *q, gint64 until_us) {
        gboolean done;

        g_mutex_lock(&q->lock);
        const guint64 target = q->pushed;
        while (q->entered < target && !q->stopping && g_cond_wait_until(&q->moved, &q->lock, until_us))
                ;
        done = q->entered >= target;
        g_mutex_unlock(&q->lock);
        return done;
}

void bh_graph_queue_stats(BhGraphQueue *q, BhGraphQueueStats *out) {
        g_mutex_lock(&q->lock);
        *out = (BhGraphQueueStats){ q->pieces.length, q->cost, q->pushed, q->stalled };
        g_mutex_unlock(&q->lock);
}
