/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/listener_private.h"

#define BACKLOG 64

void bh_bus_listen_options_init(BhBusListenOptions *options) {
        *options = (BhBusListenOptions) {
                .window_messages = 1024, .window_bytes = 4u << 20, .batch_messages = 1024, .hello_ms = 5000, .ping_ms = 5000, .dead_ms = 15000,
        };
}

/* What a killed process left behind is removed; where somebody answers, or where anything but a socket lies, nothing is. */
static gboolean clear_stale(const struct sockaddr_un *address, GError **error) {
        struct stat st;

        if (lstat(address->sun_path, &st) < 0)
                return TRUE;
        if (!S_ISSOCK(st.st_mode)) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IN_USE, "%s is there and is not a socket: move it away, or listen elsewhere", address->sun_path);
                return FALSE;
        }
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        /* EAGAIN: its backlog is full. */
        if (fd >= 0 && (connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0 || errno == EAGAIN)) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IN_USE, "another process listens at %s: is a second central running?", address->sun_path);
                return FALSE;
        }
        unlink(address->sun_path);
        return TRUE;
}

int bh_bus_bind(const char *address, GError **error) {
        struct sockaddr_un parsed;

        if (!bh_bus_address_parse(address, &parsed, error) || !clear_stale(&parsed, error))
                return -1;
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        /* The mode of the socket's inode becomes that of the file: it is never there with another one. */
        if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *) &parsed, sizeof(parsed)) < 0 || listen(fd, BACKLOG) < 0) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot listen at %s: %s", parsed.sun_path, g_strerror(errno));
                return -1;
        }
        return bh_fd_steal(&fd);
}

BhBusListener *bh_bus_listen(int fd, const BhBusCallbacks *callbacks, const BhBusListenOptions *options, GError **error) {
        g_auto(BhFd) owned = fd;
        BhBusListener *l;

        g_return_val_if_fail(callbacks->positions && callbacks->deliver, NULL);
        if (fd < 0) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_ADDRESS, "there is no socket to listen on");
                return NULL;
        }

        BhBusCore *c = g_new0(BhBusCore, 1);
        g_atomic_ref_count_init(&c->refs);
        c->callbacks = *callbacks;
        if (options)
                c->options = *options;
        else
                bh_bus_listen_options_init(&c->options);
        c->version = g_strndup(c->options.version ? c->options.version : "", 64);
        c->options.version = NULL;
        c->options.window_messages = CLAMP(c->options.window_messages, 1, 65536);
        c->options.window_bytes = CLAMP(c->options.window_bytes, 1, 1u << 30);
        c->options.batch_messages = CLAMP(c->options.batch_messages, 1, 65536);
        c->options.ping_ms = MAX(c->options.ping_ms, 10);
        c->options.dead_ms = MAX(c->options.dead_ms, 2 * c->options.ping_ms);
        c->wake = bh_bus_wake_new();
        g_mutex_init(&c->lock);
        g_cond_init(&c->work);
        c->conns = g_ptr_array_new_with_free_func((GDestroyNotify) bh_bus_conn_unref);

        l = g_new0(BhBusListener, 1);
        l->core = c;
        l->fd = bh_fd_steal(&owned);
        l->delivery = g_thread_new("bh-bus-deliver", bh_bus_delivery_main, c);
        l->io = g_thread_new("bh-bus-io", bh_bus_io_main, l);
        return l;
}

void bh_bus_listener_free(BhBusListener *l) {
        struct sockaddr_un address;
        socklen_t len = sizeof(address);

        if (!l)
                return;
        BhBusCore *c = l->core;
        g_mutex_lock(&c->lock);
        c->stop_delivery = TRUE;
        g_cond_broadcast(&c->work);
        g_mutex_unlock(&c->lock);
        g_thread_join(l->delivery);
        g_mutex_lock(&c->lock);
        c->stop = TRUE;
        g_mutex_unlock(&c->lock);
        bh_bus_wake(c->wake);
        g_thread_join(l->io);

        /* The file, unless it is a successor's: a name that leads elsewhere by now is not ours to remove. */
        if (getsockname(l->fd, (struct sockaddr *) &address, &len) == 0 && len > offsetof(struct sockaddr_un, sun_path) && *address.sun_path == '/') {
                g_autoptr(GError) refused = NULL;

                bh_fd_clear(&l->fd);
                g_auto(BhFd) successor = bh_bus_connect(&address, &refused);
                if (successor < 0)
                        unlink(address.sun_path);
        }
        bh_fd_clear(&l->fd);
        bh_bus_core_unref(c);
        g_free(l);
}

void bh_bus_listener_stats(BhBusListener *l, BhBusListenerStats *out) {
        g_mutex_lock(&l->core->lock);
        *out = l->core->stats;
        g_mutex_unlock(&l->core->lock);
}

static gint by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

char **bh_bus_listener_nodes(BhBusListener *l) {
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

        g_mutex_lock(&l->core->lock);
        for (guint i = 0; i < l->core->conns->len; i++) {
                const BhBusConn *conn = l->core->conns->pdata[i];

                if (conn->state == BH_BUS_PEER_UP && !g_ptr_array_find_with_equal_func(names, conn->about.node, g_str_equal, NULL))
                        g_ptr_array_add(names, g_strdup(conn->about.node));
        }
        g_mutex_unlock(&l->core->lock);
        g_ptr_array_sort(names, by_name);
        g_ptr_array_add(names, NULL);
        return (char **) g_ptr_array_steal(names, NULL);
}

/* ---- shared by the threads */

BhBusCore *bh_bus_core_ref(BhBusCore *c) {
        g_atomic_ref_count_inc(&c->refs);
        return c;
}

void bh_bus_core_unref(BhBusCore *c) {
        if (!g_atomic_ref_count_dec(&c->refs))
                return;
        g_assert(g_queue_is_empty(&c->ended));
        g_queue_clear_full(&c->ready, (GDestroyNotify) bh_bus_conn_unref);
        g_ptr_array_unref(c->conns);
        close(c->wake);
        g_mutex_clear(&c->lock);
        g_cond_clear(&c->work);
        g_free(c->version);
        g_free(c);
}

void bh_bus_item_free(BhBusItem *item) {
        g_free(item->topic);
        g_bytes_unref(item->body);
        g_free(item);
}

BhBusConn *bh_bus_conn_ref(BhBusConn *conn) {
        g_atomic_ref_count_inc(&conn->refs);
        return conn;
}

void bh_bus_conn_unref(BhBusConn *conn) {
        if (!g_atomic_ref_count_dec(&conn->refs))
                return;
        bh_bus_link_clear(&conn->link);
        g_queue_clear_full(&conn->items, (GDestroyNotify) bh_bus_item_free);
        g_byte_array_unref(conn->outbox);
        g_hash_table_unref(conn->requests);
        g_free(conn->about.node);
        g_free(conn->about.version);
        g_free(conn);
}

void bh_bus_conn_ready(BhBusCore *c, BhBusConn *conn) {
        if (conn->queued)
                return;
        conn->queued = TRUE;
        g_queue_push_tail(&c->ready, bh_bus_conn_ref(conn));
        g_cond_signal(&c->work);
}
