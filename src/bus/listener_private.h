/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a subscriber. Two threads and one lock:
 *
 *   listener.c  the API, and what both threads share
 *   io.c        the I/O thread: all sockets, the callbacks latest, peer, on_chunk and on_end
 *   delivery.c  the delivery thread: the callbacks positions and deliver, so that a slow disk holds up no answer and no PING
 *   request.c   requests
 *
 * A peer belongs to the I/O thread; what the delivery thread needs of it is under the lock. The delivery thread takes peers one after the
 * other from `ready`, each with a reference, and never calls for a peer that is closed: that is why positions of a publisher's new
 * connection follow the last deliver of its old one.
 */
#pragma once
#include "bus/common.h"
#include "bus/link.h"

typedef enum {
        BH_BUS_PEER_NEW,      /* no HELLO yet */
        BH_BUS_PEER_ASKED,    /* `positions` is asked */
        BH_BUS_PEER_UP,
        BH_BUS_PEER_CLOSED,
} BhBusPeerState;

typedef struct {
        guint64 seq;
        char *topic;
        GBytes *body;
} BhBusItem;

typedef struct {
        gatomicrefcount refs;

        /* I/O thread */
        BhBusLink link;
        gint64 since_us, pinged_us;
        guint64 last_seen; /* seq in this connection: they must rise */
        BhBusPeer about;   /* set before the state is ASKED, constant then */

        /* under the lock */
        BhBusPeerState state;
        gboolean queued;       /* in `ready` */
        gboolean position_known, failed; /* by the delivery thread, for the I/O thread */
        guint64 position;      /* durable here */
        guint64 acked;         /* told */
        GQueue items;          /* of BhBusItem: to be delivered */
        guint waiting;         /* of these and those that are being delivered */
        guint64 waiting_bytes;
        GByteArray *outbox;    /* frames from other threads */
        GHashTable *requests;  /* &id -> BhBusRequest */
        guint64 last_request;
} BhBusConn;

struct BhBusRequest {
        gatomicrefcount refs;
        struct BhBusCore *core;
        BhBusOnChunk on_chunk;
        BhBusOnEnd on_end;
        gpointer data;
        GDestroyNotify destroy;

        /* under the lock */
        BhBusConn *conn; /* NULL: over */
        guint64 id;
        guint64 credit;  /* not yet used */
        char *error;     /* of the end */
};

/* Outlives the listener as long as there are handles of requests. */
typedef struct BhBusCore {
        gatomicrefcount refs;
        BhBusCallbacks callbacks;
        BhBusListenOptions options; /* without its strings */
        char *version;
        int wake;

        GMutex lock;
        GCond work; /* for the delivery thread */

        /* under the lock */
        gboolean stop_delivery, stop;
        GPtrArray *conns; /* of BhBusConn */
        GQueue ready;     /* of BhBusConn */
        GQueue ended;     /* of BhBusRequest: on_end is due */
        guint requests;   /* under way */
        BhBusListenerStats stats;
} BhBusCore;

struct BhBusListener {
        BhBusCore *core;
        BhFd fd;
        GThread *io, *delivery;
};

BhBusCore *bh_bus_core_ref(BhBusCore *c);
void bh_bus_core_unref(BhBusCore *c);
void bh_bus_conn_unref(BhBusConn *conn);
BhBusConn *bh_bus_conn_ref(BhBusConn *conn);
void bh_bus_item_free(BhBusItem *item);
/* Under the lock: the delivery thread shall look at it. */
void bh_bus_conn_ready(BhBusCore *c, BhBusConn *conn);

gpointer bh_bus_delivery_main(gpointer core);
gpointer bh_bus_io_main(gpointer listener);

/* request.c; by the I/O thread, without the lock. FALSE: the peer breaks the protocol. */
gboolean bh_bus_request_chunk(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f);
void bh_bus_request_ended(BhBusCore *c, BhBusConn *conn, const BhBusFrame *f);
void bh_bus_request_all_ended(BhBusCore *c, BhBusConn *conn, const char *error);
/* Calls on_end of those that ended. */
void bh_bus_request_tell_ends(BhBusCore *c);
