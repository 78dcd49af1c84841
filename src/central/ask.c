/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include "json_out.h"

#define CREDIT 8

static void answer_free(gpointer data) {
        BhAnswer *a = data;

        g_clear_pointer(&a->request, bh_bus_request_unref);
        g_ptr_array_unref(a->chunks);
        g_free(a->node);
        g_free(a->error);
        g_free(a);
}

void bh_ask_unref(BhAsk *q) {
        if (!q || !g_atomic_ref_count_dec(&q->refs))
                return;
        g_ptr_array_unref(q->answers);
        g_cond_clear(&q->moved);
        g_mutex_clear(&q->lock);
        g_free(q);
}

static void on_chunk(BhBusRequest *r, GBytes *chunk, guint64 dropped, gpointer data) {
        BhAnswer *a = data;
        BhAsk *q = a->ask;

        g_mutex_lock(&q->lock);
        if (a->ended) { /* the worker waits no more, and reads what there is */
                g_mutex_unlock(&q->lock);
                return;
        }
        a->dropped += dropped;
        gboolean room = q->bytes + g_bytes_get_size(chunk) <= BH_ASK_BYTES;
        if (room) {
                q->bytes += g_bytes_get_size(chunk);
                g_ptr_array_add(a->chunks, g_bytes_ref(chunk));
        } else {
                a->cut = TRUE;
        }
        g_mutex_unlock(&q->lock);
        if (room)
                bh_bus_request_credit(r, 1);
        else
                bh_bus_request_cancel(r);
}

static void on_end(BhBusRequest *r, const char *error, gpointer data) {
        BhAnswer *a = data;

        g_mutex_lock(&a->ask->lock);
        if (!a->ended) {
                a->ended = TRUE;
                if (!a->cut)
                        a->error = g_strdup(error);
                a->ask->open--;
                g_cond_signal(&a->ask->moved);
        }
        g_mutex_unlock(&a->ask->lock);
}

static void answer_done(gpointer data) {
        bh_ask_unref(((BhAnswer *) data)->ask);
}

/* The nodes that are meant: one, or all that are here. NULL: answered. */
static char **nodes_of(BhCall *call) {
        const char *wanted = bh_call_param(call, "node");
        g_auto(GStrv) here = bh_bus_listener_nodes(call->central->bus);

        if (wanted && !g_strv_contains((const char *const *) here, wanted)) {
                bh_call_error(call, 503, "node_away", "the node \"%.64s\" is not connected now", wanted);
                return NULL;
        }
        if (!here[0]) {
                bh_call_error(call, 503, "no_sensor", "no sensor is connected, so there is nobody to ask");
                return NULL;
        }
        if (!wanted)
                return g_steal_pointer(&here);
        char **one = g_new0(char *, 2);
        one[0] = g_strdup(wanted);
        return one;
}

/* `bodies`: one for each node, in their order; NULL: `body` for all. */
static BhAsk *ask_nodes(BhCentral *c, const char *const *nodes, const char *request, GBytes *body, const GPtrArray *bodies, guint seconds, const gint *stop) {
        gint64 until = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
        BhAsk *q = g_new0(BhAsk, 1);
        g_atomic_ref_count_init(&q->refs);
        g_mutex_init(&q->lock);
        g_cond_init(&q->moved);
        q->answers = g_ptr_array_new_with_free_func(answer_free);
        for (guint i = 0; nodes[i]; i++) {
                BhAnswer *a = g_new0(BhAnswer, 1);
                g_autoptr(GError) error = NULL;

                a->ask = q;
                a->node = g_strdup(nodes[i]);
                a->chunks = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
                g_ptr_array_add(q->answers, a);
                g_mutex_lock(&q->lock);
                q->open++;
                g_mutex_unlock(&q->lock);
                g_atomic_ref_count_inc(&q->refs);
                a->request = bh_bus_request(c->bus, a->node, request, bodies ? bodies->pdata[i] : body, CREDIT, on_chunk, on_end, a, answer_done, &error);
                if (!a->request) {
                        g_mutex_lock(&q->lock);
                        a->ended = TRUE;
                        a->error = g_strdup(error->message);
                        q->open--;
                        g_mutex_unlock(&q->lock);
                }
        }

        g_mutex_lock(&q->lock);
        while (q->open && g_get_monotonic_time() < until && !bh_http_stopping(c->http) && !(stop && g_atomic_int_get(stop)))
                g_cond_wait_until(&q->moved, &q->lock, MIN(until, g_get_monotonic_time() + G_USEC_PER_SEC / 5));
        for (guint i = 0; i < q->answers->len; i++) {
                BhAnswer *a = q->answers->pdata[i];

                if (!a->ended) {
                        a->ended = TRUE;
                        a->error = g_strdup_printf("did not answer within %u seconds", seconds);
                        q->open--;
                }
        }
        g_mutex_unlock(&q->lock);
        for (guint i = 0; i < q->answers->len; i++)
                if (((BhAnswer *) q->answers->pdata[i])->request)
                        bh_bus_request_cancel(((BhAnswer *) q->answers->pdata[i])->request);
        return q;
}

BhAsk *bh_ask_nodes(BhCentral *c, const char *const *nodes, const char *request, GBytes *body, guint seconds, const gint *stop) {
        return ask_nodes(c, nodes, request, body, NULL, seconds, stop);
}

BhAsk *bh_ask_nodes_each(BhCentral *c, const char *const *nodes, const char *request, const GPtrArray *bodies, guint seconds) {
        return ask_nodes(c, nodes, request, NULL, bodies, seconds, NULL);
}

static BhAsk *ask(BhCall *call, const char *const *nodes, const char *request, GBytes *body, const GPtrArray *bodies) {
        if (g_atomic_int_add(&call->central->event_queries, 1) >= BH_ASK_QUERIES) {
                g_atomic_int_add(&call->central->event_queries, -1);
                bh_http_add_header(call->http, "Retry-After", "1");
                bh_call_error(call, 429, "busy", "too many questions to the nodes at once; try again");
                return NULL;
        }
        BhAsk *q = ask_nodes(call->central, nodes, request, body, bodies, BH_ASK_SECONDS, NULL);
        g_atomic_int_add(&call->central->event_queries, -1);
        return q;
}

BhAsk *bh_ask(BhCall *call, const char *request, GBytes *body) {
        g_auto(GStrv) nodes = nodes_of(call);

        return nodes ? ask(call, (const char *const *) nodes, request, body, NULL) : NULL;
}

BhAsk *bh_ask_each(BhCall *call, const char *const *nodes, const char *request, const GPtrArray *bodies) {
        return ask(call, nodes, request, NULL, bodies);
}

void bh_ask_append_nodes(GString *out, const BhAsk *q, guint undecodable) {
        guint64 dropped = 0;

        bh_json_open(out, "nodes", '[');
        for (guint i = 0; i < q->answers->len; i++) {
                const BhAnswer *a = q->answers->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "node", a->node);
                bh_json_uint(out, "dropped", a->dropped);
                bh_json_bool(out, "cut", a->cut);
                bh_json_text(out, "error", a->error);
                bh_json_close(out, '}');
                dropped += a->dropped;
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "dropped", dropped);
        bh_json_uint(out, "undecodable", undecodable);
}
