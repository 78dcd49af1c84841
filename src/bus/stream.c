/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher's answers to requests: each has a thread, credit, and pieces that wait for the socket. */
#include <string.h>

#include "bus/publisher_private.h"

void bh_bus_stream_unref(BhBusStream *s) {
        if (!g_atomic_ref_count_dec(&s->refs))
                return;
        g_bytes_unref(s->body);
        g_free(s);
}

static BhBusStream *stream_ref(BhBusStream *s) {
        g_atomic_ref_count_inc(&s->refs);
        return s;
}

static void piece_free(BhBusPiece *piece) {
        if (piece->stream)
                bh_bus_stream_unref(piece->stream);
        if (piece->body)
                g_bytes_unref(piece->body);
        g_free(piece->error);
        g_free(piece);
}

static void push(BhBusPublisher *p, guint64 id, BhBusStream *s, GBytes *body, guint64 dropped, const char *error) {
        BhBusPiece *piece = g_new(BhBusPiece, 1);

        *piece = (BhBusPiece) {
                .id = id, .stream = s ? stream_ref(s) : NULL, .body = body ? g_bytes_ref(body) : NULL, .dropped = dropped,
                .error = g_strndup(error ? error : "", BH_BUS_MAX_ERROR),
        };
        g_queue_push_tail(&p->pieces, piece);
        p->piece_bytes += body ? g_bytes_get_size(body) : 0;
        bh_bus_wake_net(p);
}

static gpointer stream_main(gpointer data) {
        BhBusStream *s = data;
        BhBusPublisher *p = s->publisher;

        s->service.handler(s, s->body, s->service.data);
        bh_bus_stream_end(s, NULL);
        bh_bus_stream_unref(s);
        g_mutex_lock(&p->lock);
        p->handlers--;
        g_cond_broadcast(&p->flow);
        g_mutex_unlock(&p->lock);
        return NULL;
}

gboolean bh_bus_stream_request(BhBusPublisher *p, const BhBusFrame *f) {
        if (f->stream <= p->last_stream || f->body.len > BH_BUS_MAX_REQUEST || p->pieces.length >= BH_BUS_MAX_PIECES ||
            !f->subject.len || !bh_bus_name_valid((const char *) f->subject.data, (gssize) f->subject.len, FALSE))
                return FALSE;
        p->last_stream = f->stream;

        g_autofree char *name = g_strndup((const char *) f->subject.data, f->subject.len);
        const BhBusService *service = g_hash_table_lookup(p->services, name);
        if (!service || p->handlers >= BH_BUS_MAX_STREAMS) {
                g_autofree char *text = service ? g_strdup_printf("node %s answers %u requests already", p->node, p->handlers)
                                                : g_strdup_printf("node %s does not answer \"%s\"", p->node, name);

                p->stats.streams_refused++;
                push(p, f->stream, NULL, NULL, 0, text);
                return TRUE;
        }

        BhBusStream *s = g_new0(BhBusStream, 1);
        g_atomic_ref_count_init(&s->refs);
        s->publisher = p;
        s->id = f->stream;
        s->credit = MIN(f->credit, BH_BUS_MAX_CREDIT);
        s->service = *service;
        s->body = g_bytes_new(f->body.data, f->body.len);

        g_autoptr(GError) error = NULL;
        GThread *thread = g_thread_try_new("bh-bus-answer", stream_main, stream_ref(s), &error);
        if (!thread) {
                p->stats.streams_refused++;
                push(p, s->id, NULL, NULL, 0, error->message);
                bh_bus_stream_unref(s);
                bh_bus_stream_unref(s);
                return TRUE;
        }
        g_thread_unref(thread);
        p->handlers++;
        p->stats.streams++;
        g_hash_table_insert(p->streams, &s->id, s);
        return TRUE;
}

void bh_bus_stream_credit(BhBusPublisher *p, guint64 id, guint64 more) {
        BhBusStream *s = g_hash_table_lookup(p->streams, &id);

        if (!s)
                return; /* it ended meanwhile */
        s->credit = MIN(s->credit + MIN(more, BH_BUS_MAX_CREDIT), BH_BUS_MAX_CREDIT);
        g_cond_broadcast(&p->flow);
}

/* What waits for the socket goes with it. */
static void forget_pieces(BhBusPublisher *p, const BhBusStream *s) {
        for (GList *l = p->pieces.head, *next; l; l = next) {
                BhBusPiece *piece = l->data;

                next = l->next;
                if (s && piece->stream != s)
                        continue;
                p->piece_bytes -= piece->body ? g_bytes_get_size(piece->body) : 0;
                g_queue_delete_link(&p->pieces, l);
                piece_free(piece);
        }
}

void bh_bus_stream_cancel(BhBusPublisher *p, guint64 id) {
        BhBusStream *s = g_hash_table_lookup(p->streams, &id);

        if (!s)
                return;
        s->over = TRUE;
        forget_pieces(p, s);
        g_hash_table_remove(p->streams, &id);
        g_cond_broadcast(&p->flow);
}

void bh_bus_stream_all_over(BhBusPublisher *p) {
        GHashTableIter i;
        gpointer s;

        g_hash_table_iter_init(&i, p->streams);
        while (g_hash_table_iter_next(&i, NULL, &s))
                ((BhBusStream *) s)->over = TRUE;
        forget_pieces(p, NULL);
        g_hash_table_remove_all(p->streams);
        p->last_stream = 0;
        g_cond_broadcast(&p->flow);
}

void bh_bus_stream_write(BhBusPublisher *p, BhBusLink *link) {
        gboolean any = FALSE;

        while (p->pieces.head && bh_bus_link_pending(link) < BH_BUS_FEW_BYTES) {
                BhBusPiece *piece = g_queue_pop_head(&p->pieces);
                BhBusFrame f = { .kind = piece->body ? BH_BUS_CHUNK : BH_BUS_END, .stream = piece->id, .dropped = piece->dropped,
                                 .error = BH_BUS_SPAN_TEXT(piece->error) };

                if (piece->body)
                        f.body.data = g_bytes_get_data(piece->body, &f.body.len);
                bh_bus_link_put(link, &f);
                p->piece_bytes -= f.body.len;
                p->stats.chunks += piece->body != NULL;
                p->stats.chunk_drops += piece->dropped;
                if (!piece->body)
                        g_hash_table_remove(p->streams, &piece->id);
                piece_free(piece);
                any = TRUE;
        }
        if (any)
                g_cond_broadcast(&p->flow);
}

/* ---- the handler's calls */

static gboolean may_send(const BhBusStream *s) {
        return s->credit && s->publisher->piece_bytes < BH_BUS_MAX_CHUNK_QUEUE;
}

/* Under the lock. */
static gboolean wait_to_send(BhBusStream *s, guint ms) {
        gint64 deadline = g_get_monotonic_time() + (gint64) ms * 1000;

        while (!s->over && !may_send(s))
                if (!ms || !g_cond_wait_until(&s->publisher->flow, &s->publisher->lock, deadline))
                        break;
        return !s->over && may_send(s);
}

gboolean bh_bus_stream_send(BhBusStream *s, GBytes *chunk, guint64 dropped) {
        BhBusPublisher *p = s->publisher;

        g_return_val_if_fail(g_bytes_get_size(chunk) <= BH_BUS_MAX_CHUNK, FALSE);
        g_mutex_lock(&p->lock);
        gboolean ok = wait_to_send(s, p->options.stream_wait_ms);
        if (ok) {
                s->credit--;
                push(p, s->id, s, chunk, dropped, NULL);
        } else if (!s->over) { /* the asker forgot us */
                push(p, s->id, s, NULL, 0, "the answer waited too long for its reader");
                s->over = TRUE;
        }
        g_mutex_unlock(&p->lock);
        return ok;
}

gboolean bh_bus_stream_ready(BhBusStream *s, guint timeout_ms) {
        g_mutex_lock(&s->publisher->lock);
        gboolean ready = wait_to_send(s, timeout_ms);
        g_mutex_unlock(&s->publisher->lock);
        return ready;
}

gboolean bh_bus_stream_alive(BhBusStream *s) {
        g_mutex_lock(&s->publisher->lock);
        gboolean alive = !s->over;
        g_mutex_unlock(&s->publisher->lock);
        return alive;
}

void bh_bus_stream_end(BhBusStream *s, const char *error) {
        BhBusPublisher *p = s->publisher;

        g_mutex_lock(&p->lock);
        if (!s->over) {
                push(p, s->id, s, NULL, 0, error && !*error ? "the answer failed" : error);
                s->over = TRUE;
        }
        g_mutex_unlock(&p->lock);
}
