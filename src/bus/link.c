/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bus/bus.h"

#define LARGE (512u << 10)

void bh_bus_link_init(BhBusLink *link, int fd) {
        gint64 now = g_get_monotonic_time();

        *link = (BhBusLink) {
                .fd = fd, .max_frame = BH_BUS_LINK_FIRST_FRAME, .in = g_byte_array_new(), .out = g_byte_array_new(), .heard_us = now, .said_us = now,
        };
}

void bh_bus_link_clear(BhBusLink *link) {
        if (link->in) {
                bh_fd_clear(&link->fd);
                g_byte_array_unref(g_steal_pointer(&link->in));
                g_byte_array_unref(g_steal_pointer(&link->out));
        }
}

/* An empty buffer that was large once is given back: GByteArray never shrinks. */
static void empty(GByteArray **buffer, gsize *at, gboolean *large) {
        if (*large) {
                g_byte_array_unref(*buffer);
                *buffer = g_byte_array_new();
                *large = FALSE;
        } else {
                g_byte_array_set_size(*buffer, 0);
        }
        *at = 0;
}

gboolean bh_bus_link_fill(BhBusLink *link, const char **why) {
        if (link->in_at == link->in->len)
                empty(&link->in, &link->in_at, &link->in_large);
        if (link->in_at) {
                g_byte_array_remove_range(link->in, 0, (guint) link->in_at);
                link->in_at = 0;
        }

        guint had = link->in->len;
        g_byte_array_set_size(link->in, had + BH_BUS_LINK_READ);
        ssize_t n = recv(link->fd, link->in->data + had, BH_BUS_LINK_READ, 0);
        int err = errno;
        g_byte_array_set_size(link->in, had + (n > 0 ? (guint) n : 0));
        link->in_large |= link->in->len > LARGE;
        if (n > 0) {
                link->heard_us = g_get_monotonic_time();
                return TRUE;
        }
        if (n < 0 && (err == EAGAIN || err == EINTR))
                return TRUE;
        *why = n == 0 ? "the peer closed the connection" : g_strerror(err);
        return FALSE;
}

int bh_bus_link_next(BhBusLink *link, BhBusFrame *f) {
        gsize have = link->in->len - link->in_at;
        const guint8 *p = link->in->data + link->in_at;
        guint32 len;

        if (have < 4)
                return 0;
        memcpy(&len, p, 4);
        len = GUINT32_FROM_LE(len);
        if (len > link->max_frame)
                return -1;
        if (have - 4 < len)
                return 0;
        if (!bh_bus_frame_decode(p + 4, len, f))
                return -1;
        link->in_at += 4 + (gsize) len;
        return 1;
}

void bh_bus_link_put(BhBusLink *link, const BhBusFrame *f) {
        bh_bus_frame_append(link->out, f);
        link->out_large |= link->out->len > LARGE;
}

void bh_bus_link_put_encoded(BhBusLink *link, const GByteArray *frames) {
        g_byte_array_append(link->out, frames->data, frames->len);
        link->out_large |= link->out->len > LARGE;
}

gsize bh_bus_link_pending(const BhBusLink *link) {
        return link->out->len - link->out_at;
}

gboolean bh_bus_link_flush(BhBusLink *link, const char **why) {
        while (bh_bus_link_pending(link)) {
                ssize_t n = send(link->fd, link->out->data + link->out_at, bh_bus_link_pending(link), MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) {
                        if (!link->stuck_us)
                                link->stuck_us = g_get_monotonic_time();
                        /* What went is cut off now and then, or a peer that always lags a little would keep all of it here. */
                        if (link->out_at > LARGE) {
                                g_byte_array_remove_range(link->out, 0, (guint) link->out_at);
                                link->out_at = 0;
                        }
                        return TRUE;
                }
                if (n < 0) {
                        *why = g_strerror(errno);
                        return FALSE;
                }
                link->out_at += (gsize) n;
                link->said_us = g_get_monotonic_time();
                link->stuck_us = 0;
        }
        empty(&link->out, &link->out_at, &link->out_large);
        return TRUE;
}
