/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include <string.h>

#include "base/log.h"
#include "bus/body.h"
#include "events.h"
#include "hub.h"
#include "json_out.h"
#include "routes.h"

#define BEAT_SECONDS 15
#define NODES_SECONDS 1 /* a node that came back is asked again */

typedef struct Live Live;

typedef struct {
        Live *live;
        char *node;
        BhBusRequest *request; /* NULL: not asked now */
} Source;

typedef enum { PIECE_CHUNK, PIECE_END } PieceKind;

typedef struct {
        PieceKind kind;
        Source *source;
        BhBusRequest *request;
        GBytes *chunk;
        guint64 dropped;
        char *error;
} Piece;

struct Live {
        gatomicrefcount refs;
        BhCentral *central;
        BhHttpStream *stream;
        GBytes *body;
        char *node; /* NULL: all */
        GAsyncQueue *pieces; /* bounded by the credit */
        GHashTable *sources; /* node -> Source; the thread's own */
        gint64 written_us;
        guint64 undecodable;
};

static void piece_free(gpointer data) {
        Piece *p = data;

        g_clear_pointer(&p->chunk, g_bytes_unref);
        g_clear_pointer(&p->request, bh_bus_request_unref);
        g_free(p->error);
        g_free(p);
}

static void source_free(gpointer data) {
        Source *s = data;

        g_clear_pointer(&s->request, bh_bus_request_unref);
        g_free(s->node);
        g_free(s);
}

static void live_unref(gpointer data) {
        Live *l = data;

        if (!g_atomic_ref_count_dec(&l->refs))
                return;
        g_async_queue_unref(l->pieces);
        g_hash_table_unref(l->sources);
        bh_http_stream_unref(l->stream);
        g_bytes_unref(l->body);
        g_free(l->node);
        g_free(l);
}

/* ---- on the bus's thread ---- */

static void on_chunk(BhBusRequest *r, GBytes *chunk, guint64 dropped, gpointer data) {
        Piece *p = g_new0(Piece, 1);
        Source *s = data;

        *p = (Piece){ .kind = PIECE_CHUNK, .source = s, .request = bh_bus_request_ref(r), .chunk = g_bytes_ref(chunk), .dropped = dropped };
        g_async_queue_push(s->live->pieces, p);
}

static void on_end(BhBusRequest *r, const char *error, gpointer data) {
        Piece *p = g_new0(Piece, 1);
        Source *s = data;

        *p = (Piece){ .kind = PIECE_END, .source = s, .request = bh_bus_request_ref(r), .error = g_strdup(error) };
        g_async_queue_push(s->live->pieces, p);
}

static void request_done(gpointer data) {
        live_unref(((Source *) data)->live);
}

/* ---- on the listener's own thread ---- */

static gboolean put(Live *l, const GString *text) {
        if (!bh_http_stream_put(l->stream, text->str, text->len))
                return FALSE;
        l->written_us = g_get_monotonic_time();
        return TRUE;
}

static void say(Live *l, const char *event, const char *node, const char *state, guint64 count, const char *why) {
        g_autoptr(GString) data = g_string_new(NULL), text = g_string_new(NULL);

        bh_json_open(data, NULL, '{');
        bh_json_text(data, "node", node);
        if (state)
                bh_json_text(data, "state", state);
        if (count)
                bh_json_uint(data, "count", count);
        if (why)
                bh_json_text(data, "why", why);
        bh_json_close(data, '}');
        bh_json_end(data);
        bh_sse_append(text, 0, event, data->str);
        /* what is dropped is not dropped in silence because the client is slow, which is when things are dropped */
        while (!put(l, text) && !bh_http_stream_gone(l->stream) && !bh_http_stopping(l->central->http))
                bh_http_stream_wait(l->stream, text->len, 500);
}

typedef struct {
        GString *text;
} Frames;

static void add_frame(guint64 time_ns, const GString *json, gpointer data) {
        bh_sse_append(((Frames *) data)->text, 0, "event", json->str);
}

static void take_chunk(Live *l, Piece *p) {
        g_autoptr(GString) text = g_string_sized_new(g_bytes_get_size(p->chunk) * 3 + 256);
        Frames frames = { text };
        guint bad;

        if (p->dropped)
                say(l, "dropped", p->source->node, NULL, p->dropped, "the node dropped them: this client, or the central, was too slow");
        bad = bh_events_unpack(p->chunk, add_frame, &frames);
        if (bad)
                say(l, "dropped", p->source->node, NULL, bad, "they could not be decoded");
        /* a piece that is larger than the buffer as JSON goes in parts, at the ends of frames */
        for (gsize at = 0; at < text->len && !bh_http_stream_gone(l->stream);) {
                gsize n = text->len - at;

                if (n > BH_LIVE_BUFFER / 2) {
                        const char *end = g_strrstr_len(text->str + at, BH_LIVE_BUFFER / 2, "\n\n");
                        n = end ? (gsize) (end - text->str) + 2 - at : n;
                }
                if (!bh_http_stream_wait(l->stream, MIN(n, (gsize) BH_LIVE_BUFFER), 500))
                        continue;
                if (bh_http_stream_put(l->stream, text->str + at, n))
                        l->written_us = g_get_monotonic_time();
                else if (n > BH_LIVE_BUFFER)
                        say(l, "dropped", p->source->node, NULL, 1, "an event was too large");
                at += n;
        }
        bh_bus_request_credit(p->request, 1);
}

/* Asks the nodes that are here and not asked. */
static void ask_nodes(Live *l) {
        g_auto(GStrv) here = bh_bus_listener_nodes(l->central->bus);

        for (guint i = 0; here[i]; i++) {
                Source *s = g_hash_table_lookup(l->sources, here[i]);
                g_autoptr(GError) error = NULL;

                if ((l->node && strcmp(l->node, here[i])) || (s && s->request))
                        continue;
                if (!s) {
                        s = g_new0(Source, 1);
                        s->live = l;
                        s->node = g_strdup(here[i]);
                        g_hash_table_insert(l->sources, s->node, s);
                }
                g_atomic_ref_count_inc(&l->refs);
                s->request = bh_bus_request(l->central->bus, s->node, "events", l->body, BH_LIVE_CREDIT, on_chunk, on_end, s, request_done, &error);
                if (s->request)
                        say(l, "node", s->node, "up", 0, NULL);
        }
}

static void end_source(Live *l, Piece *p) {
        Source *s = p->source;

        if (s->request == p->request)
                g_clear_pointer(&s->request, bh_bus_request_unref);
        if (!bh_http_stream_gone(l->stream))
                say(l, "node", s->node, "down", 0, p->error);
}

static gpointer run(gpointer data) {
        Live *l = data;
        BhCentral *c = l->central;
        gint64 looked = 0;
        GHashTableIter it;
        Source *s;

        while (!bh_http_stream_gone(l->stream) && !bh_http_stopping(c->http)) {
                gint64 t = g_get_monotonic_time();

                if (t - looked > NODES_SECONDS * G_USEC_PER_SEC) {
                        looked = t;
                        ask_nodes(l);
                }
                if (t - l->written_us > BEAT_SECONDS * G_USEC_PER_SEC) {
                        g_autoptr(GString) beat = g_string_new(": beat\n\n");
                        if (!put(l, beat))
                                l->written_us = t; /* it is full: the client has enough to read */
                }

                Piece *p = g_async_queue_timeout_pop(l->pieces, 250000);
                if (!p)
                        continue;
                if (p->kind == PIECE_CHUNK)
                        take_chunk(l, p);
                else
                        end_source(l, p);
                piece_free(p);
        }

        bh_http_stream_end(l->stream);
        g_hash_table_iter_init(&it, l->sources);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s))
                if (s->request)
                        bh_bus_request_cancel(s->request);
        live_unref(l);
        g_atomic_int_add(&c->live_events, -1);
        return NULL;
}

void bh_api_events_live(BhCall *call) {
        g_auto(BhEventsAsk) wanted = { 0 };
        g_autoptr(BhHttpStream) stream = NULL;
        BhCentral *c = call->central;

        if (!bh_events_request(call, &wanted))
                return;
        wanted.message.follow = TRUE;
        wanted.message.live_only = TRUE;
        if (g_atomic_int_add(&c->live_events, 1) >= BH_LIVE_MAX) {
                g_atomic_int_add(&c->live_events, -1);
                bh_call_error(call, 429, "busy", "%d live listeners are there already", BH_LIVE_MAX);
                return;
        }
        stream = bh_http_stream_new(BH_LIVE_BUFFER);
        if (!bh_hub_add(c->hub, stream, &call->who, NULL)) {
                g_atomic_int_add(&c->live_events, -1);
                bh_call_error(call, 429, "busy", "too many streams are open, of this user or in all");
                return;
        }

        Live *l = g_new0(Live, 1);
        g_atomic_ref_count_init(&l->refs);
        l->central = c;
        l->stream = bh_http_stream_ref(stream);
        l->body = bh_bus_body_pack(&wanted.message.base);
        l->node = g_strdup(bh_call_param(call, "node"));
        l->pieces = g_async_queue_new_full(piece_free);
        l->sources = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, source_free);
        l->written_us = g_get_monotonic_time();
        bh_http_stream_put(stream, "retry: 1000\n\n", 13);
        bh_http_answer_stream(call->http, "text/event-stream", stream);
        g_thread_unref(g_thread_new("bh-live", run, l));
}

void bh_live_stop(BhCentral *c) {
        while (g_atomic_int_get(&c->live_events))
                g_usleep(10000);
}
