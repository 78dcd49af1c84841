/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a publisher. Three parts and one lock:
 *
 *   publisher.c        the API, the queue ("fresh") and the window; may be entered from any thread
 *   publisher_spool.c  the spool's thread: the only one that touches SQLite after the start
 *   publisher_net.c    the connection's thread: the only one that touches the link
 *   stream.c           requests and their answers
 *
 * A message enters `fresh`. From there it goes to the spool's file (when it is commit_ms old, or there are many) and, if the subscriber
 * is there and the window has room, straight into the window; whichever is first. An acknowledgement takes it out of everything. Messages
 * that left `fresh` before the window had room are read back from the file. Invariants, under the lock:
 *
 *   fresh    rising; above spool_last
 *   window   rising; (acked, loaded], without a gap among what is in the file and in fresh; empty while not welcomed
 *   loaded   highest number put into the window; at least acked
 *   protect  highest number that may have been sent: never dropped for the spool's bound
 *   hold     not 0: a telling message with this number is being spooled, and nothing above it may enter the window before it
 */
#pragma once
#include "bus/common.h"
#include "bus/link.h"
#include "bus/spool.h"

#define BH_BUS_RETRY_US (250 * 1000)  /* after the disk refused */
#define BH_BUS_DELETE_US (250 * 1000) /* acknowledged messages leave the file at the latest then */
#define BH_BUS_TELL_US (1000 * 1000)  /* between two messages of topic "lost" */
#define BH_BUS_MAX_COMMIT 4096u       /* messages in one transaction */
#define BH_BUS_MAX_PIECES 4096u /* waiting; more come about only when a peer asks and does not read */
#define BH_BUS_MAX_CHUNK_QUEUE (1u << 20) /* bytes of pieces that wait for the socket, all streams */

typedef struct {
        BhBusHandler handler;
        gpointer data;
} BhBusService;

typedef struct {
        GBytes *body;
        gboolean dirty;
} BhBusLatest;

struct BhBusStream {
        gatomicrefcount refs;
        BhBusPublisher *publisher;
        guint64 id;
        guint64 credit;
        gboolean over;  /* nothing may be sent any more */
        BhBusService service;
        GBytes *body;
};

/* A piece or an end, waiting for the socket. */
typedef struct {
        guint64 id;
        BhBusStream *stream; /* NULL: the refusal of a request */
        GBytes *body; /* NULL: the end */
        guint64 dropped;
        char *error;
} BhBusPiece;

struct BhBusPublisher {
        /* constant */
        struct sockaddr_un address;
        BhBusPublisherOptions options; /* strings are not in it */
        char *node, *version;
        GThread *spool_thread, *net_thread;
        int wake; /* of the connection's thread */

        /* spool's thread, once it runs */
        BhBusSpool *spool;
        gboolean spool_broken; /* damaged and not yet set aside */
        guint64 deleted;       /* acknowledged up to here has been deleted */
        gboolean shrink;       /* the file may be larger than it need be */
        gint64 next_try_us, next_tell_us;

        GMutex lock;
        GCond work;  /* for the spool's thread */
        GCond space; /* fresh became shorter */
        GCond flow;  /* for streams' handlers */

        /* under the lock */
        gboolean stop, started;
        guint8 id[BH_BUS_ID_LEN];
        gboolean renew; /* the id: asked by the connection's thread, cleared by the spool's */
        guint64 next_seq, acked, loaded, protect, hold;
        guint64 spool_last, spool_messages, spool_bytes, spool_lost; /* as of the last commit */
        guint64 told;        /* number of the last message that tells losses: the next one waits until it is acknowledged */
        guint64 spool_acked; /* of spool_messages, those that are acknowledged and not deleted yet */
        GQueue fresh;      /* of BhBusMsg */
        GList *fresh_next; /* first above `loaded`; NULL: none */
        guint64 fresh_bytes;
        gboolean stalled;  /* the queue filled up, somebody waited for it, and it has not been half empty since */
        guint flushing;
        GArray *lost;      /* not yet in the spool's list */
        guint64 lost_waiting; /* of these, as bh_bus_lost_count() */
        GHashTable *topics; /* interned, as a set */
        GQueue window;
        GList *unsent; /* first of the window that is not on the wire */
        guint64 window_bytes;
        gint64 next_delete_us;
        gboolean window_full; /* the next message did not fit: waits for an acknowledgement */
        gboolean frozen;      /* a commit that may drop for the bound is under way: what it holds must not be sent meanwhile */
        guint window_limit;
        guint64 window_bytes_limit;
        guint64 generation; /* of the connection: what is read for an older one is thrown away */
        gboolean welcomed, net_sleeps;
        GHashTable *latest; /* topic -> BhBusLatest */
        gboolean latest_dirty;
        GHashTable *services; /* request -> BhBusService */
        GHashTable *streams;  /* &id -> BhBusStream */
        guint handlers;       /* threads */
        guint64 last_stream;
        GQueue pieces;
        guint64 piece_bytes;
        char net_problem[256], disk_problem[256];
        BhBusPublisherStats stats;
};

/* publisher.c; under the lock */
void bh_bus_window_load(BhBusPublisher *p);          /* from fresh, as far as it may */
gboolean bh_bus_window_has_room(const BhBusPublisher *p, gsize cost);
void bh_bus_window_push(BhBusPublisher *p, BhBusMsg *m); /* takes the reference */
void bh_bus_window_acked(BhBusPublisher *p, guint64 seq);
void bh_bus_window_reset(BhBusPublisher *p, gboolean welcomed, guint64 acked); /* a connection began or ended */
void bh_bus_fresh_settle(BhBusPublisher *p);         /* removes what is spooled or acknowledged */
void bh_bus_fresh_rewind(BhBusPublisher *p);         /* `loaded` changed backwards */
void bh_bus_wake_net(BhBusPublisher *p);
/* Not under the lock. */
void bh_bus_publisher_notice(BhBusPublisher *p, gboolean trouble, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* publisher_spool.c, publisher_net.c */
gpointer bh_bus_spool_main(gpointer publisher);
gpointer bh_bus_net_main(gpointer publisher);

/* stream.c; under the lock, by the connection's thread */
/* FALSE: the peer breaks the protocol. */
gboolean bh_bus_stream_request(BhBusPublisher *p, const BhBusFrame *f);
void bh_bus_stream_credit(BhBusPublisher *p, guint64 id, guint64 more);
void bh_bus_stream_cancel(BhBusPublisher *p, guint64 id);
void bh_bus_stream_all_over(BhBusPublisher *p); /* the connection is gone */
/* Puts waiting pieces on the link until it has BH_BUS_FEW_BYTES. */
void bh_bus_stream_write(BhBusPublisher *p, BhBusLink *link);
void bh_bus_stream_unref(BhBusStream *s);
