/* SPDX-License-Identifier: Apache-2.0 */
/* The delivery thread of a subscriber. */
#include "bus/listener_private.h"

/* Without the lock. */
static void ask_position(BhBusCore *c, BhBusConn *conn) {
        guint64 seq = 0;
        gboolean ok = c->callbacks.positions(&conn->about, &seq, c->callbacks.data);

        g_mutex_lock(&c->lock);
        conn->position = conn->acked = seq;
        conn->position_known = ok;
        conn->failed = !ok;
        g_mutex_unlock(&c->lock);
}

/* Under the lock: at most a batch, less what is here already. *all is how many were taken, duplicates included, and their bytes. */
static GPtrArray *take_items(BhBusCore *c, BhBusConn *conn, guint *all, guint64 *bytes) {
        GPtrArray *items = g_ptr_array_new_with_free_func((GDestroyNotify) bh_bus_item_free);
        BhBusItem *item;

        for (*all = 0, *bytes = 0; items->len < c->options.batch_messages && (item = g_queue_pop_head(&conn->items)); (*all)++) {
                *bytes += g_bytes_get_size(item->body);
                if (item->seq > conn->position) {
                        g_ptr_array_add(items, item);
                } else {
                        c->stats.duplicates++;
                        bh_bus_item_free(item);
                }
        }
        return items;
}

/* Under the lock, left for the callback. */
static void deliver(BhBusCore *c, BhBusConn *conn) {
        guint all;
        guint64 bytes, position = conn->position;
        g_autoptr(GPtrArray) items = take_items(c, conn, &all, &bytes);
        gboolean ok = TRUE;

        if (items->len) {
                g_autofree BhBusMessage *messages = g_new(BhBusMessage, items->len);

                for (guint i = 0; i < items->len; i++) {
                        const BhBusItem *item = items->pdata[i];

                        messages[i] = (BhBusMessage) { item->seq, item->topic, item->body };
                }
                position = messages[items->len - 1].seq;
                g_mutex_unlock(&c->lock);
                ok = c->callbacks.deliver(&conn->about, messages, items->len, c->callbacks.data);
                g_mutex_lock(&c->lock);
        }
        conn->waiting -= all;
        conn->waiting_bytes -= bytes;
        if (!ok) {
                c->stats.deliver_failures++;
                conn->failed = TRUE;
                return;
        }
        conn->position = position;
        if (items->len) {
                c->stats.batches++;
                c->stats.messages += items->len;
                for (guint i = 0; i < items->len; i++)
                        c->stats.bytes += g_bytes_get_size(((const BhBusItem *) items->pdata[i])->body);
        }
        if (conn->items.length)
                bh_bus_conn_ready(c, conn); /* behind the others */
}

gpointer bh_bus_delivery_main(gpointer core) {
        BhBusCore *c = core;

        g_mutex_lock(&c->lock);
        while (!c->stop_delivery) {
                BhBusConn *conn = g_queue_pop_head(&c->ready);

                if (!conn) {
                        g_cond_wait(&c->work, &c->lock);
                        continue;
                }
                conn->queued = FALSE;
                if (conn->state == BH_BUS_PEER_ASKED && !conn->position_known) {
                        g_mutex_unlock(&c->lock);
                        ask_position(c, conn);
                        g_mutex_lock(&c->lock);
                } else if (conn->state == BH_BUS_PEER_UP && !conn->failed) {
                        deliver(c, conn);
                }
                g_mutex_unlock(&c->lock);
                bh_bus_wake(c->wake);
                bh_bus_conn_unref(conn);
                g_mutex_lock(&c->lock);
        }
        g_mutex_unlock(&c->lock);
        return NULL;
}
