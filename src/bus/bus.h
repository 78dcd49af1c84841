/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus: messages from the nodes' sensors (publishers) to the central (subscriber), and questions the other way. This is its
 * implementation over a Unix socket; api/bus.proto is what travels, "bus/bus.pb-c.h" (bus_pb_dep) encodes and decodes it.
 *
 * Messages have a topic ("finding", "inventory", "observation"; on the wire the subject "finding.<node>"), opaque bytes, and a sequence
 * number that rises with each message of a publisher; numbers may be left out. What is promised:
 *
 *   - A message that is *spooled* (on disk, within 50 ms of bh_bus_publish() on a healthy disk; bh_bus_publisher_flush() waits for
 *     it) survives SIGKILL of either side and power loss, and is delivered, in order, unless the spool's bound or damage of the file takes it,
 *     which is counted and told to the subscriber in a message of topic "lost" (body: Loss) that is itself spooled first.
 *   - A message that was *acknowledged* is in the subscriber's hands durably, and the publisher forgets it.
 *   - Delivery is exactly once if the subscriber stores the messages of a batch and the publisher's position (the batch's last
 *     seq) in one transaction: at each connection it says what it has, and what is at or below is dropped before `deliver`.
 *
 * At the spool's bound the oldest go first, but not what may have been sent already (at most a window's worth, the oldest of all): the subscriber could have
 * it, and the count of the lost would be wrong. One "lost" message is under way at a time, and at most one a second.
 * A damaged spool is found out by SQLite's own checks: structure, not each byte of a body.
 *
 * Last-value messages (bh_bus_publish_latest(), topic "status") are neither spooled nor acknowledged: the newest of each topic is sent
 * when it changes and after each connection.
 *
 * Requests go from subscriber to publisher ("events", "status", "processes"). Their answer is a stream of chunks under credit: one
 * chunk uses one credit, and without credit the sender waits. Each chunk says how many things were dropped before it.
 *
 * Peers. A publisher accepts a subscriber that is root or owns the socket's directory; a subscriber accepts publishers that are root or
 * its own uid (SO_PEERCRED). A publisher may only send subjects of its own node. Frames are checked: a peer that breaks the protocol is disconnected
 * and counted.
 *
 * Bounds: a frame BH_BUS_MAX_FRAME; topics BH_BUS_MAX_TOPICS a publisher; peers, streams and requests as below; the queue, the spool and
 * the window as in the options. Before HELLO a peer may send 64 KiB and has 5 s. Both sides PING after 5 s of silence, and take the
 * other for dead after 15 s.
 *
 * This library does not log. `notice` callbacks are given sentences for a program to log, and stats have counters.
 */
#pragma once
#include <glib.h>

#define BH_BUS_PROTOCOL 1u
#define BH_BUS_MAX_FRAME (8u << 20)
#define BH_BUS_MAX_BODY (BH_BUS_MAX_FRAME - 4096u) /* of a message */
#define BH_BUS_MAX_CHUNK (1u << 20)                /* of a piece of an answer */
#define BH_BUS_MAX_REQUEST ((4u << 20) + 65536u)   /* body of a request: all rule files that a central manages, and their names */
#define BH_BUS_MAX_LATEST (1u << 20)               /* body of a last-value message */
#define BH_BUS_MAX_NAME 253u                       /* node, topic, request: [A-Za-z0-9_-], in a node '.' as well */
#define BH_BUS_MAX_TOPICS 64u
#define BH_BUS_MAX_PEERS 256u
#define BH_BUS_MAX_STREAMS 64u       /* answers under way at a publisher */
#define BH_BUS_MAX_REQUESTS 1024u    /* requests under way at a subscriber */
#define BH_BUS_MAX_CREDIT 1024u      /* of one request; more is taken as this */
#define BH_BUS_ID_LEN 16u            /* of a publisher's id, bytes */
#define BH_BUS_MAX_DAMAGED 4u        /* spools set aside that are kept beside the new one; the oldest goes */
#define BH_BUS_TOPIC_LOST "lost"     /* of the bus itself; nobody else may publish it */

typedef enum {
        BH_BUS_ERROR_IO,      /* the operating system or SQLite refused: its text is in the message */
        BH_BUS_ERROR_ADDRESS, /* not "unix:/absolute/path", or too long */
        BH_BUS_ERROR_IN_USE,  /* another process listens there, or uses the spool */
        BH_BUS_ERROR_VERSION, /* the spool is of a newer program */
        BH_BUS_ERROR_PEER,    /* there is no such node now, or it has too much to do */
        BH_BUS_ERROR_BODY,    /* bytes that are not what they should be */
} BhBusError;
#define BH_BUS_ERROR (bh_bus_error_quark())
GQuark bh_bus_error_quark(void);

/* A sentence about the connection or the spool, for the program to log. Called on threads of the bus, with no lock held. */
typedef void (*BhBusNotice)(gboolean trouble, const char *text, gpointer data);

/* ---------------------------------------------------------------- publisher */

/* bh_bus_publisher_options_init() gives the defaults; values out of range are brought into it. Strings are copied. */
typedef struct {
        const char *node;           /* NULL or not a valid name: the host name, with '-' for what may not be in a name */
        const char *version;        /* of the program; NULL = "" */
        guint64 spool_max_bytes;    /* 256 MiB; of topics and bodies, at least 64 KiB; the file is somewhat larger */
        guint64 spool_max_messages; /* 1,000,000; at least 64 */
        guint64 queue_max_bytes;    /* 32 MiB: waiting in memory for the disk */
        guint queue_max_messages;   /* 16,384 */
        guint wait_ms;              /* 100: bh_bus_publish() waits so long for the disk, once each time that the queue fills up */
        guint commit_ms;            /* 50: spooled at the latest so long after it was published */
        guint commit_messages;      /* 256: or when so many wait */
        guint window_messages;      /* 1,024: unacknowledged under way; at most a quarter of the spool's bound */
        guint64 window_bytes;       /* 4 MiB; one message may always be under way */
        guint stream_wait_ms;       /* 60,000: bh_bus_stream_send() waits so long for credit */
        guint ping_ms, dead_ms;     /* 5,000 and 15,000 */
        guint backoff_min_ms, backoff_max_ms; /* 50 and 1,000 between two tries to connect */
        BhBusNotice notice;         /* may be NULL */
        gpointer notice_data;
} BhBusPublisherOptions;

void bh_bus_publisher_options_init(BhBusPublisherOptions *options);

/* What bh_bus_publisher_new() found of earlier runs. */
typedef struct {
        guint64 messages, bytes;    /* not yet acknowledged */
        char damaged_kept_as[1024]; /* "" unless the spool was damaged: where it is now */
        char damage[256];           /* and what was wrong with it */
} BhBusSpoolFound;

typedef struct {
        gboolean connected;         /* and welcomed */
        char problem[256];          /* why not connected, or why the disk takes nothing; "" = all is well */
        guint64 published, published_bytes;
        guint64 acknowledged;       /* messages, by an ACK to this process (what a WELCOME says is not counted) */
        guint64 sent;               /* messages put on the wire, those that were sent again included */
        guint64 connections;        /* times welcomed */
        guint64 queued, queued_bytes;   /* in memory, not spooled and not acknowledged */
        guint64 spooled, spooled_bytes; /* on disk, not known to be acknowledged */
        guint64 lost, lost_bytes;   /* by this process, all reasons */
        guint64 lost_pending;       /* lost, and not yet in a message to the subscriber */
        guint64 commits, commit_errors, damaged;
        guint64 streams, streams_refused, chunks, chunk_drops; /* begun, refused; sent; sum of `dropped` */
        guint64 protocol_errors;
        guint64 last_seq, acked_seq; /* the last number given out, which may be of no message; 0 acknowledged: not yet known */
} BhBusPublisherStats;

typedef struct BhBusPublisher BhBusPublisher;
typedef struct BhBusStream BhBusStream;

/*
 * Opens or makes the spool (SQLite, 0600, one process at a time; its folder is made, 0700) and its publisher id. `address` is
 * "unix:/path". A damaged spool is renamed "<spool>.damaged-<time>" and a new one begun: *found (may be NULL) says so, and the
 * subscriber is told. No threads yet: messages may be published, they wait in memory. NULL with BH_BUS_ERROR.
 */
BhBusPublisher *bh_bus_publisher_new(const char *address, const char *spool_path, const BhBusPublisherOptions *options,
                                     BhBusSpoolFound *found, GError **error);

/* Starts the threads ("bh-bus-spool", "bh-bus-net"), which inherit the caller's privileges: drop these before. Once. */
void bh_bus_publisher_start(BhBusPublisher *p);

/*
 * Spools what waits, ends streams (their handlers' sends return FALSE; waits for the handlers to return), closes, frees. Does not wait
 * for acknowledgements. NULL is allowed. No other call on `p` may be under way or follow.
 */
void bh_bus_publisher_free(BhBusPublisher *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhBusPublisher, bh_bus_publisher_free)

/*
 * Any thread. Takes a reference on `body` (1 to BH_BUS_MAX_BODY bytes). Never waits for the network; for the disk at most wait_ms, and
 * only when the queue in memory is full. Returns the sequence number, 0 if the message was lost and counted.
 */
guint64 bh_bus_publish(BhBusPublisher *p, const char *topic, GBytes *body);

/* Any thread. Replaces the last value of the topic. FALSE when it is over BH_BUS_MAX_LATEST, or there are too many topics. */
gboolean bh_bus_publish_latest(BhBusPublisher *p, const char *topic, GBytes *body);

/* Waits until all that was published before is spooled or acknowledged. FALSE if it is not within the time. */
gboolean bh_bus_publisher_flush(BhBusPublisher *p, guint timeout_ms);

void bh_bus_publisher_stats(BhBusPublisher *p, BhBusPublisherStats *out);
const char *bh_bus_publisher_node(const BhBusPublisher *p);

/*
 * Answers a request, in a thread of its own. `body` is foreign. The stream is the handler's until it returns, and ends then if
 * bh_bus_stream_end() was not called.
 */
typedef void (*BhBusHandler)(BhBusStream *stream, GBytes *body, gpointer data);

/* Any thread, best before bh_bus_publisher_start(). `request` is its name, e.g. "events". `data` must outlive the publisher. */
void bh_bus_serve(BhBusPublisher *p, const char *request, BhBusHandler handler, gpointer data);

/* All from the handler's thread (bh_bus_stream_alive() from any). */

/*
 * Sends a chunk (may be empty, at most BH_BUS_MAX_CHUNK), of which `dropped` things before it were left out. Waits for credit, at
 * most stream_wait_ms. FALSE when the stream is over: cancelled, the peer gone, too long without credit, or the publisher being freed.
 */
gboolean bh_bus_stream_send(BhBusStream *s, GBytes *chunk, guint64 dropped);
/* Waits until a send would not have to wait, at most timeout_ms (0: does not wait). FALSE: not yet, or the stream is over. */
gboolean bh_bus_stream_ready(BhBusStream *s, guint timeout_ms);
/* FALSE once the stream is over: a handler that waits for something else looks here now and then (each 100 ms, say). */
gboolean bh_bus_stream_alive(BhBusStream *s);
/* The answer is complete, or failed with this sentence. Further sends return FALSE. */
void bh_bus_stream_end(BhBusStream *s, const char *error);

/* --------------------------------------------------------------- subscriber */

typedef struct {
        guint8 id[BH_BUS_ID_LEN];
        char *node, *version;
        guint uid;
        gint64 since_us; /* g_get_real_time() of WELCOME */
} BhBusPeer;

typedef struct {
        guint64 seq;
        const char *topic; /* "finding", …, BH_BUS_TOPIC_LOST; valid during the call */
        GBytes *body;      /* 0 to BH_BUS_MAX_BODY foreign bytes; take a reference to keep it */
} BhBusMessage;

/*
 * All but `positions` and `deliver` may be NULL. Those two are called on the delivery thread, one at a time for all publishers; the
 * others on the I/O thread, which must not be held up. A peer's calls are ordered: positions, peer up, then the rest; no
 * deliver for an older connection of the same publisher follows `positions` of the newer.
 */
typedef struct {
        /* *seq = the last sequence number that is durable here, 0 for a new publisher. FALSE: cannot tell; it is disconnected. */
        gboolean (*positions)(const BhBusPeer *peer, guint64 *seq, gpointer data);
        /*
         * 1 to n messages in order. TRUE: they and the position messages[n-1].seq are durable, in one transaction; they will be acknowledged.
         * FALSE: nothing was stored; the peer is disconnected and sends them again later.
         */
        gboolean (*deliver)(const BhBusPeer *peer, const BhBusMessage *messages, guint n, gpointer data);
        void (*latest)(const BhBusPeer *peer, const char *topic, GBytes *body, gpointer data);
        void (*peer)(const BhBusPeer *peer, gboolean up, gpointer data);
        BhBusNotice notice;
        gpointer data;
} BhBusCallbacks;

typedef struct {
        const char *version;    /* of the program; NULL = "" */
        guint window_messages;  /* 1,024: of each publisher, waiting for delivery or being delivered */
        guint64 window_bytes;   /* 4 MiB; memory is at most this and one frame, for each peer */
        guint batch_messages;   /* 1,024: most in one deliver */
        guint hello_ms, ping_ms, dead_ms; /* 5,000, 5,000, 15,000 */
} BhBusListenOptions;

void bh_bus_listen_options_init(BhBusListenOptions *options);

typedef struct {
        guint peers;               /* welcomed now */
        guint64 accepted, refused; /* connections; refused for their uid or because there are too many */
        guint64 messages, bytes, batches, duplicates, deliver_failures;
        guint64 latest;
        guint64 requests, chunks, chunk_drops; /* sum of `dropped` */
        guint64 protocol_errors;   /* peers disconnected for what they sent, or for not reading */
        guint64 timeouts;          /* silent for dead_ms, or no HELLO */
} BhBusListenerStats;

typedef struct BhBusListener BhBusListener;
typedef struct BhBusRequest BhBusRequest;

/*
 * Makes and binds the socket (0600; a stale one of a killed process is replaced) and listens; no threads. To be called before
 * privileges are dropped. -1 with BH_BUS_ERROR; IN_USE when somebody answers there.
 */
int bh_bus_bind(const char *address, GError **error);

/*
 * Takes over `fd` from bh_bus_bind() (also on failure), starts the threads ("bh-bus-io", "bh-bus-deliver"). *callbacks and *options
 * (NULL: defaults) are copied.
 */
BhBusListener *bh_bus_listen(int fd, const BhBusCallbacks *callbacks, const BhBusListenOptions *options, GError **error);

/*
 * Lets a running `deliver` finish and acknowledges it, ends all requests (their on_end is called), disconnects, removes the socket if
 * it may, frees. Not from a callback. NULL is allowed. Handles of requests stay valid until they are unreferenced.
 */
void bh_bus_listener_free(BhBusListener *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhBusListener, bh_bus_listener_free)

void bh_bus_listener_stats(BhBusListener *l, BhBusListenerStats *out);
/* Nodes that are connected, sorted; NULL-terminated. Caller frees with g_strfreev(). */
char **bh_bus_listener_nodes(BhBusListener *l);

/*
 * A piece of an answer; `chunk` is foreign, `dropped` as the sender counted it. On the I/O thread, as on_end. The number of
 * chunks that may still come is the credit not yet used: give more with bh_bus_request_credit() once this one is dealt with.
 */
typedef void (*BhBusOnChunk)(BhBusRequest *r, GBytes *chunk, guint64 dropped, gpointer data);
/* Exactly once, last: error NULL = complete, else a sentence (failed, peer gone, "cancelled", listener being freed). */
typedef void (*BhBusOnEnd)(BhBusRequest *r, const char *error, gpointer data);

/*
 * Any thread, callbacks included. Asks the node; `body` may be NULL. `destroy` (may be NULL) is called on `data` after on_end, or
 * before this returns NULL with BH_BUS_ERROR_PEER. The first callbacks may come before this returns. The caller owns one reference on the handle. No time limit: cancel what takes too long.
 */
BhBusRequest *bh_bus_request(BhBusListener *l, const char *node, const char *request, GBytes *body, guint credit, BhBusOnChunk on_chunk,
                             BhBusOnEnd on_end, gpointer data, GDestroyNotify destroy, GError **error);
/* Any thread; after the end they do nothing. No chunk is given to on_chunk after cancel returned, except one that is being given. */
void bh_bus_request_credit(BhBusRequest *r, guint more);
void bh_bus_request_cancel(BhBusRequest *r);
BhBusRequest *bh_bus_request_ref(BhBusRequest *r);
void bh_bus_request_unref(BhBusRequest *r); /* does not cancel */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhBusRequest, bh_bus_request_unref)
