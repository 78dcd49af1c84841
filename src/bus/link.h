/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the bus: a non-blocking socket with a buffer each way, cut into frames. Used by one thread.
 *
 * Memory: in, one frame and BH_BUS_LINK_READ; buffers that a large frame made large are given back. Out, what the owner puts there: it
 * looks at bh_bus_link_pending() before it puts more.
 */
#pragma once
#include "base/fdio.h"
#include "bus/frame.h"

#define BH_BUS_LINK_READ 65536u
#define BH_BUS_LINK_FIRST_FRAME 65536u /* bound of a frame before the peer has said who it is */

typedef struct {
        BhFd fd;
        guint32 max_frame;
        GByteArray *in, *out;
        gsize in_at, out_at;
        gboolean in_large, out_large;
        gint64 heard_us, said_us, stuck_us; /* monotonic: bytes came; bytes went; since when bytes have been waiting to go (0: none) */
} BhBusLink;

/* Takes the socket over; frames are bounded by BH_BUS_LINK_FIRST_FRAME until `max_frame` is set. */
void bh_bus_link_init(BhBusLink *link, int fd);
/* Closes. A link that is all zero, or was cleared, may be cleared. */
void bh_bus_link_clear(BhBusLink *link);

/* Reads once what has come. FALSE when the peer closed or the socket failed, with the reason in *why (static or errno's text). */
gboolean bh_bus_link_fill(BhBusLink *link, const char **why);

/* The next whole frame: 1, valid until the next fill; 0: more bytes are needed; -1: the peer breaks the protocol. */
int bh_bus_link_next(BhBusLink *link, BhBusFrame *f);

void bh_bus_link_put(BhBusLink *link, const BhBusFrame *f);
/* Frames that were encoded elsewhere. */
void bh_bus_link_put_encoded(BhBusLink *link, const GByteArray *frames);
gsize bh_bus_link_pending(const BhBusLink *link);
/* Writes what the socket takes. FALSE when the peer is gone. */
gboolean bh_bus_link_flush(BhBusLink *link, const char **why);
