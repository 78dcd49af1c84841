/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store keeps of connections: halves (event/half.h), what was added to each in time, and where something listens.
 *
 * A half is one row for ever: as long as anything about it is kept. What a batch adds goes to its totals and to its buckets: one of a minute and one
 * of an hour. Bytes and packets of connections that are still open are counted as they grow: a half remembers how much of what its open
 * connections moved is counted already ("ahead"), and takes it off when they end.
 *
 * Exactly once: a batch whose `through` is not above that of the last one of its node and boot adds nothing, but says how it is now; one below it
 * is passed over. That is in the transaction of bh_store_ingest(), as is the publisher's position.
 *
 * Which half a flow is of follows from its local side, role, protocol, port, path, what was dialled and its peer: container, host, or address. An address that turns out
 * to be a container's goes on as the same half.
 *
 * Bounds: BH_STORE_HALVES_MAX in all, but BH_STORE_HALVES_LEAST of each node, and BH_STORE_HALVES_PER_CONTAINER (four times that for a node's own processes); what is
 * beyond goes to one half of its container, role, protocol and port without a peer, and is counted in BhStoreStats.halves_folded. Of those there are a quarter of all
 * more, and in a container as many again; beyond that halves are left out (id 0), and counted as what the node could not tell apart (bh_store_flow_rest()). Of each
 * node the last BH_STORE_BOOTS_PER_NODE boots are known.
 *
 * Texts are a node's to choose: those of all halves together are at most BH_STORE_TEXTS_MAX bytes, those of a node at most BH_STORE_TEXTS_PER_NODE, but BH_STORE_TEXTS_LEAST whatever
 * others tell. A half for which there is no room is one beyond the bounds; of one that is known further texts are not taken. Both are counted in halves_folded.
 *
 * Threads, errors, ownership, bounds of texts: store.h.
 */
#pragma once
#include "event/half.h"
#include "store/store.h"

#define BH_STORE_HALVES_MAX 250000
#define BH_STORE_HALVES_LEAST 5000
#define BH_STORE_HALVES_PER_CONTAINER 4096
#define BH_STORE_TEXTS_MAX (96 << 20)
#define BH_STORE_TEXTS_PER_NODE (24 << 20)
#define BH_STORE_TEXTS_LEAST (1 << 20)
#define BH_STORE_BOOTS_PER_NODE 64
#define BH_STORE_LISTENERS_PER_NODE 20000 /* further ones are left out, and counted with those that the node left out */
#define BH_STORE_MINUTES_KEPT_NS (24 * 3600 * G_GINT64_CONSTANT(1000000000))

/* ---- ingest: messages of BhStoreMessage */

typedef struct {
        const char *boot_id;
        guint64 through; /* more than G_MAXINT64 is that */
        gboolean full;
        gint64 time_ns;
        BhHalf *halves; /* `node` is ignored: the batch's counts. Out: id, and in `counts` what was added, bytes of open connections included */
        guint n_halves;
        guint64 rest_connections, rest_bytes;

        gboolean counted; /* out: it was news */
        GArray *closed;   /* out: gint64 ids of halves that have nothing open any more, because a full batch does not know them; may be NULL */
        GPtrArray *texts; /* out: what texts of halves now point to; may be NULL */
} BhStoreFlows;

/* Frees what ingest left in it, whether it succeeded or not; the halves' texts are not good any more. */
void bh_store_flows_clear(BhStoreFlows *batch);

typedef struct {
        char *node, *container_id, *exe, *path;
        guint32 pid, proto, port, net_ns;
        BhHalfAddress ip;
        gint64 started_ns, first_ns;

        gint64 id; /* the store's own */
} BhStoreListener;

typedef struct {
        BhStoreListener *listeners; /* borrowed; `node` is ignored */
        guint n_listeners;
} BhStoreListeners;

void bh_store_listener_free(BhStoreListener *l);

/* ---- queries */

/* Each half, in no order; texts live during the call. FALSE of the function ends it. */
typedef gboolean (*BhStoreHalfFunc)(const BhHalf *half, gpointer data);
gboolean bh_store_halves(BhStore *s, BhStoreHalfFunc func, gpointer data, GError **error);
/* Clients of a container ("": the node's own processes) that were heard of since then, the latest first, at most `max`. */
gboolean bh_store_halves_of_client(BhStore *s, const char *node, const char *container, gint64 since_ns, guint max, BhStoreHalfFunc func, gpointer data, GError **error);
/* The same of those that began since then, the last first. */
gboolean bh_store_halves_of_client_begun(BhStore *s, const char *node, const char *container, gint64 since_ns, guint max, BhStoreHalfFunc func, gpointer data, GError **error);
/* What clients of a container were connected to, with bytes both ways, of what began before that: each program's ports and names, and what the inventory knows of its containers. Texts live during the call. */
typedef struct {
        const char *exe, *peer_name, *application, *workload; /* "": not known; the container's at the other end, on that node */
        guint port, dialled_port;
} BhStoreKnownPeer;
typedef void (*BhStoreKnownPeerFunc)(const BhStoreKnownPeer *peer, gpointer data);
gboolean bh_store_known_peers(BhStore *s, const char *node, const char *container, gint64 before_ns, guint max, BhStoreKnownPeerFunc func, gpointer data, GError **error);

/*
 * What was added between two times, as rows of one half in one bucket each. The bounds are widened to whole minutes, or hours where minutes are not
 * kept any more or the window is longer than BH_STORE_WINDOW_HOURS: *since_ns and *until_ns receive those that count. `func` gets the bucket's
 * begin in seconds.
 */
#define BH_STORE_WINDOW_HOURS 12
typedef void (*BhStoreBucketFunc)(gint64 half, gint64 start_s, const BhHalfCounts *counts, gpointer data);
gboolean bh_store_flow_buckets(BhStore *s, gint64 *since_ns, gint64 *until_ns, BhStoreBucketFunc func, gpointer data, GError **error);
/* The same of these halves only, a set of ids (gint64 as pointers). Of few they are looked up, without reading what others did. */
gboolean bh_store_flow_buckets_of(BhStore *s, GHashTable *halves, gint64 *since_ns, gint64 *until_ns, BhStoreBucketFunc func, gpointer data, GError **error);

typedef struct {
        const char *node, *container_id, *application, *workload; /* NULL: any */
        guint port;                                               /* 0: any */
} BhStoreListenerFilter;

/* Page of BhStoreListener, in the order in which they were told. */
BhStorePage *bh_store_listeners(BhStore *s, const BhStoreListenerFilter *filter, const char *cursor, guint limit, GError **error);

/* Connections and bytes that nodes could not tell apart, over all. */
gboolean bh_store_flow_rest(BhStore *s, guint64 *connections, guint64 *bytes, GError **error);

/* ---- retention */

/*
 * Buckets of minutes and hours older than these go, and halves that were last heard of before all of them, and have nothing open or are of a node that is not up: GArray of gint64 ids in *gone (may be
 * NULL). Short transactions. Bounded by size: bh_store_expire(), which takes buckets, the oldest minutes first, when they take most room.
 */
gboolean bh_store_flows_expire(BhStore *s, gint64 minutes_kept_ns, gint64 hours_kept_ns, GArray **gone, GError **error);

/* ---- whose an address is: the order in which nodes called it theirs (graph.h). Goes with the node. */

#define BH_STORE_NODE_ADDRESSES_MAX 65536u

typedef struct {
        char *node; /* owned */
        BhHalfAddress address;
} BhStoreNodeAddress;

/* GArray of BhStoreNodeAddress, the first one first. */
GArray *bh_store_node_addresses(BhStore *s, GError **error);
/* Appends; what is known stays where it is. */
gboolean bh_store_add_node_addresses(BhStore *s, const GArray *addresses, GError **error);
