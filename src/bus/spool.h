/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher's spool: an SQLite file (WAL, synced at each commit) with the messages that are not known to be acknowledged, the
 * counts of those that were lost and are not told yet, and the publisher's id. Used by one thread at a time.
 *
 * Sequence numbers. Each opening begins a session, written durably, and numbers from session << BH_BUS_SESSION_SHIFT on. So a number is never
 * used twice, although a message may be sent and acknowledged without ever having been on disk.
 *
 * The bound. What is over it is taken from the oldest, but never from what may have been sent (`protect`): it could have been delivered, and
 * would be counted as lost wrongly. Right after opening the first `window` messages may have been. Losses are kept here by topic and reason
 * until a message tells them, which is not dropped; the caller tells anew only when the subscriber has the last one, so that there are few.
 *
 * Failure: everything of a call is one transaction; on FALSE nothing has changed, in memory neither, and *damaged says whether the file is beyond
 * use (then: bh_bus_spool_set_aside()) or another try may work.
 */
#pragma once
#include "bus/bus.h"

#define BH_BUS_SESSION_SHIFT 40u

/* A message on its way: shared by queue, window and spool. */
typedef struct {
        gatomicrefcount refs;
        guint64 seq;
        const char *topic; /* interned */
        GBytes *body;
        gint64 at_us; /* g_get_monotonic_time() of publishing */
        gboolean spooled; /* under the publisher's lock */
} BhBusMsg;

BhBusMsg *bh_bus_msg_new(guint64 seq, const char *topic, GBytes *body);
BhBusMsg *bh_bus_msg_ref(BhBusMsg *m);
void bh_bus_msg_unref(BhBusMsg *m);
/* What it counts against a bound. */
gsize bh_bus_msg_cost(const BhBusMsg *m);

/* Values of Loss.Reason. */
typedef enum {
        BH_BUS_LOST_SPOOL_FULL = 1,
        BH_BUS_LOST_QUEUE_FULL,
        BH_BUS_LOST_TOO_LARGE,
        BH_BUS_LOST_DAMAGED,
} BhBusLostReason;

typedef struct {
        const char *topic; /* interned; "" = not known */
        guint32 reason;
        guint64 count, bytes; /* count 0: not known how many */
        gint64 first_ns, last_ns;
} BhBusLost;

#define BH_BUS_MAX_LOST 256u /* rows; what would be one more goes to topic "" */

/* A list of BhBusLost. */
GArray *bh_bus_lost_new(void);
/* Adds to the row of (topic, reason). first_ns 0: now. */
void bh_bus_lost_add(GArray *lost, const BhBusLost *more);
guint64 bh_bus_lost_count(const GArray *lost);

typedef struct BhBusSpool BhBusSpool;

/*
 * NULL with BH_BUS_ERROR. A damaged file is set aside first: *found says so, and the loss is in the list. `window`, `window_bytes`: how
 * much may have been under way when the last session ended.
 */
BhBusSpool *bh_bus_spool_open(const char *path, guint window, guint64 window_bytes, BhBusSpoolFound *found, GError **error);
void bh_bus_spool_free(BhBusSpool *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhBusSpool, bh_bus_spool_free)

const guint8 *bh_bus_spool_id(const BhBusSpool *s);
guint64 bh_bus_spool_first_seq(const BhBusSpool *s); /* of this session */
guint64 bh_bus_spool_last(const BhBusSpool *s);      /* highest in it, 0 when empty; may be acknowledged already */
guint64 bh_bus_spool_messages(const BhBusSpool *s);
guint64 bh_bus_spool_bytes(const BhBusSpool *s);
guint64 bh_bus_spool_protect(const BhBusSpool *s);   /* as of opening */
guint64 bh_bus_spool_told(const BhBusSpool *s);      /* number of the last message that tells losses; 0: none */
guint64 bh_bus_spool_lost(const BhBusSpool *s);      /* losses to tell: messages, or 1 for unknown ones */

typedef struct {
        BhBusMsg **add; /* rising, above all that is in the spool */
        guint n_add;
        guint64 acked;   /* up to here they go */
        guint64 protect; /* up to here none is dropped for the bound */
        guint64 max_bytes, max_messages;
        const GArray *lost; /* to be added to the list; may be NULL */
        guint64 tell_seq;   /* not 0: put a message of topic "lost" with this number at the end if there are losses */
} BhBusCommit;

typedef struct {
        guint64 dropped, dropped_bytes; /* for the bound */
} BhBusCommitted;

gboolean bh_bus_spool_commit(BhBusSpool *s, const BhBusCommit *c, BhBusCommitted *done, gboolean *damaged, GError **error);

/* A backlog that was delivered leaves a large file: gives some of it back. FALSE: there is nothing (or no way) to give back. */
gboolean bh_bus_spool_shrink(BhBusSpool *s);

/* Appends to `out` (of BhBusMsg) what follows `after`, in order: at most n and `bytes`, but one at least if there is one. */
gboolean bh_bus_spool_read(BhBusSpool *s, guint64 after, guint n, guint64 bytes, GPtrArray *out, gboolean *damaged, GError **error);

/* A new id: the subscriber has more of the old one than this spool ever numbered, so that this is an old copy. */
gboolean bh_bus_spool_renew_id(BhBusSpool *s, gboolean *damaged, GError **error);

/*
 * Renames the damaged file and begins an empty one with the same id and a session that keeps the numbers rising. The messages that were in
 * it, less those that are no loss (`spared`: in memory elsewhere, or acknowledged), become a loss of unknown topic; *lost is their number. After FALSE nothing but another try is allowed.
 */
gboolean bh_bus_spool_set_aside(BhBusSpool *s, guint64 spared, char **kept_as, guint64 *lost, GError **error);
