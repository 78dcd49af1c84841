/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a subscriber. */
#include <string.h>

#include "bus/listener_private.h"

BhBusRequest *bh_bus_request_ref(BhBusRequest *r) {
        g_atomic_ref_count_inc(&r->refs);
        return r;
}

void bh_bus_request_unref(BhBusRequest *r) {
        if (!g_atomic_ref_count_dec(&r->refs))
                return;
        g_assert(!r->conn);
        g_free(r->error);
        bh_bus_core_unref(r->core);
        g_free(r);
}

/* Under the lock. */
static void post(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f) {
        bh_bus_frame_append(conn->outbox, f);
        bh_bus_wake(c->wake);
}

/* Under the lock: nothing more comes of it, on_end is due. The connection's reference goes to the list. */
static void end(BhBusCore *c, BhBusRequest *r, const char *error) {
        BhBusConn *conn = g_steal_pointer(&r->conn);

        r->error = g_strdup(error);
        c->requests--;
        g_queue_push_tail(&c->ended, r);
        g_hash_table_steal(conn->requests, &r->id);
        bh_bus_conn_unref(conn);
        bh_bus_wake(c->wake);
}

/* Under the lock. Of two connections of one node the younger. */
static BhBusConn *find_node(BhBusCore *c, const char *node) {
        for (guint i = c->conns->len; i--;) {
                BhBusConn *conn = c->conns->pdata[i];

                if (conn->state == BH_BUS_PEER_UP && strcmp(conn->about.node, node) == 0)
                        return conn;
        }
        return NULL;
}

static BhBusRequest *refuse(gpointer data, GDestroyNotify destroy) {
        if (destroy)
                destroy(data);
        return NULL;
}

BhBusRequest *bh_bus_request(BhBusListener *l, const char *node, const char *request, GBytes *body, guint credit, BhBusOnChunk on_chunk,
                             BhBusOnEnd on_end, gpointer data, GDestroyNotify destroy, GError **error) {
        BhBusCore *c = l->core;
        BhBusFrame f = { .kind = BH_BUS_REQUEST, .subject = BH_BUS_SPAN_TEXT(request), .credit = MIN(credit, BH_BUS_MAX_CREDIT) };

        if (body)
                f.body.data = g_bytes_get_data(body, &f.body.len);
        if (!bh_bus_name_valid(request, -1, FALSE) || f.body.len > BH_BUS_MAX_REQUEST) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_PEER, "the request is not valid: its name, or more than %u bytes", BH_BUS_MAX_REQUEST);
                return refuse(data, destroy);
        }
        g_mutex_lock(&c->lock);
        BhBusConn *conn = find_node(c, node);
        const char *why = c->stop || c->stop_delivery ? "the bus is being closed"
                          : !conn ? "it is not connected"
                          : c->requests >= BH_BUS_MAX_REQUESTS ? "too many requests are under way"
                          : g_hash_table_size(conn->requests) >= BH_BUS_MAX_STREAMS ? "too many requests to this node are under way"
                                                                                     : NULL;
        if (why) {
                g_mutex_unlock(&c->lock);
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_PEER, "cannot ask node %s: %s", node, why);
                return refuse(data, destroy);
        }

        BhBusRequest *r = g_new0(BhBusRequest, 1);
        g_atomic_ref_count_init(&r->refs);
        r->core = bh_bus_core_ref(c);
        r->on_chunk = on_chunk;
        r->on_end = on_end;
        r->data = data;
        r->destroy = destroy;
        r->conn = bh_bus_conn_ref(conn);
        f.stream = r->id = ++conn->last_request;
        r->credit = f.credit;
        g_hash_table_insert(conn->requests, &r->id, bh_bus_request_ref(r));
        c->requests++;
        c->stats.requests++;
        post(c, conn, &f);
        g_mutex_unlock(&c->lock);
        return r;
}

void bh_bus_request_credit(BhBusRequest *r, guint more) {
        g_mutex_lock(&r->core->lock);
        guint64 add = MIN(more, BH_BUS_MAX_CREDIT - MIN(r->credit, BH_BUS_MAX_CREDIT));
        if (r->conn && add) {
                r->credit += add;
                post(r->core, r->conn, &(BhBusFrame) { .kind = BH_BUS_CREDIT, .stream = r->id, .credit = add });
        }
        g_mutex_unlock(&r->core->lock);
}

void bh_bus_request_cancel(BhBusRequest *r) {
        g_mutex_lock(&r->core->lock);
        if (r->conn) {
                post(r->core, r->conn, &(BhBusFrame) { .kind = BH_BUS_END, .stream = r->id });
                end(r->core, r, "cancelled");
        }
        g_mutex_unlock(&r->core->lock);
}

/* ---- the I/O thread */

gboolean bh_bus_request_chunk(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f) {
        BhBusRequest *r;

        g_mutex_lock(&c->lock);
        r = g_hash_table_lookup(conn->requests, &f->stream);
        /* For one that was cancelled, chunks may be under way; one that never was is an invention. */
        gboolean valid = r ? r->credit > 0 && f->body.len <= BH_BUS_MAX_CHUNK : f->stream && f->stream <= conn->last_request;
        if (r && valid) {
                r->credit--;
                c->stats.chunks++;
                c->stats.chunk_drops += f->dropped;
                bh_bus_request_ref(r);
        } else {
                r = NULL;
        }
        g_mutex_unlock(&c->lock);
        if (r) {
                g_autoptr(GBytes) chunk = g_bytes_new(f->body.data, f->body.len);

                if (r->on_chunk)
                        r->on_chunk(r, chunk, f->dropped, r->data);
                bh_bus_request_unref(r);
        }
        return valid;
}

void bh_bus_request_ended(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f) {
        g_autofree char *error = f->error.len ? bh_bus_peer_text(f->error.data, f->error.len) : NULL;

        g_mutex_lock(&c->lock);
        BhBusRequest *r = g_hash_table_lookup(conn->requests, &f->stream);
        if (r)
                end(c, r, error);
        g_mutex_unlock(&c->lock);
}

void bh_bus_request_all_ended(BhBusCore *c, BhBusConn *conn, const char *error) {
        GHashTableIter i;
        gpointer r;

        g_mutex_lock(&c->lock);
        for (;;) {
                g_hash_table_iter_init(&i, conn->requests);
                if (!g_hash_table_iter_next(&i, NULL, &r))
                        break;
                end(c, r, error);
        }
        g_mutex_unlock(&c->lock);
}

void bh_bus_request_tell_ends(BhBusCore *c) {
        BhBusRequest *r;

        for (;;) {
                g_mutex_lock(&c->lock);
                r = g_queue_pop_head(&c->ended);
                g_mutex_unlock(&c->lock);
                if (!r)
                        return;
                if (r->on_end)
                        r->on_end(r, r->error, r->data);
                if (r->destroy)
                        r->destroy(r->data);
                bh_bus_request_unref(r);
        }
}
