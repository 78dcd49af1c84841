/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be delivered, on disk: an SQLite file (WAL, synced at each commit) that survives the process and the machine's power.
 *
 *   position    up to where in the central's change log everything has been taken in. Alerts, folds and position are one transaction, so that
 *               whoever is killed when, a change is taken in exactly once.
 *   alerts      the alerts that some output has still to deliver, in order, each with the id that it keeps for ever
 *   folds       which findings have been told when and with which number: a finding that grows is told once in BH_QUEUE_FOLD_MS, and what has
 *               grown and is not told yet is in here, too
 *   counters    what was delivered, refused and lost, for each output, since it was made
 *
 * Delivery is at least once: an alert goes from the queue after it was delivered, and is delivered again after a crash between.
 *
 * Bounds: BH_QUEUE_ALERTS alerts and BH_QUEUE_BYTES bytes of them for each output: beyond, its oldest go and are counted as lost ("full").
 * BH_QUEUE_FOLDS findings told: beyond, the one that was told longest ago is forgotten, told first if it has grown.
 *
 * Threads: every function from any thread; the file is used by one at a time. One process: bh_queue_open() waits for the lock. Errors leave
 * everything as it was, BH_NOTIFY_ERROR_FAILED (a full disk: try again) or _DAMAGED.
 */
#pragma once
#include "notify/output.h"

#define BH_QUEUE_ALERTS 10000u
#define BH_QUEUE_BYTES (64u << 20)
#define BH_QUEUE_FOLDS 50000u
#define BH_QUEUE_FOLD_MS (60 * 1000)

typedef struct BhQueue BhQueue;

typedef struct {
        gboolean created;      /* there was none */
        char *damaged_kept_as; /* there was one beyond use; g_free */
} BhQueueFound;

/* In a directory that exists. Waits `lock_ms` at most for another process. */
BhQueue *bh_queue_open(const char *dir, guint fold_ms, guint lock_ms, BhQueueFound *found, GError **error);
void bh_queue_close(BhQueue *q);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhQueue, bh_queue_close)

/* The outputs that there are now, of BhOutput *: borrowed until the next call. What others had is dropped. */
gboolean bh_queue_set_outputs(BhQueue *q, GPtrArray *outputs, GError **error);

/* ---- in */

/* -1: never set. */
gboolean bh_queue_position(BhQueue *q, gint64 *position, GError **error);

typedef struct {
        const char *json; /* of a finding; NULL: there is none at this position */
        gsize len;
} BhQueueItem;

/*
 * Takes in findings and moves the position to `position`, together. A finding that cannot be read is counted (BhQueueStats.unreadable) and
 * passed over.
 */
gboolean bh_queue_add(BhQueue *q, const BhQueueItem *items, guint n, gint64 position, gint64 now_ms, GError **error);

/* Tells what has grown and whose time has come. *next_ms: in how long to call again at the latest. */
gboolean bh_queue_fold(BhQueue *q, gint64 now_ms, gint64 *next_ms, GError **error);

/* Alerts were lost on the way here (the central's log did not go back far enough, or the queue was damaged): counted for all outputs. */
gboolean bh_queue_lost(BhQueue *q, const char *reason, GError **error);

/* ---- out */

typedef struct {
        gint64 seq;
        guint64 told; /* before */
        char *json;
        gsize len;
} BhQueued;
void bh_queued_free(BhQueued *q);

/* Up to `max` alerts of the output, oldest first, with a number above `after`: GPtrArray of BhQueued. */
GPtrArray *bh_queue_peek(BhQueue *q, const BhOutput *o, gint64 after, guint max, GError **error);

typedef enum { BH_QUEUE_DELIVERED, BH_QUEUE_REFUSED, BH_QUEUE_CUT } BhQueueEnd;
/* These have been dealt with: `ends` has one BhQueueEnd for each of the first n of `alerts`. CUT: delivered, but not whole. */
gboolean bh_queue_done(BhQueue *q, const BhOutput *o, GPtrArray *alerts, const guint8 *ends, guint n, GError **error);

/* Waits until the output may have something after `after`, or until_us (monotonic), or bh_queue_wake(). */
void bh_queue_wait(BhQueue *q, const BhOutput *o, gint64 after, gint64 until_us);
void bh_queue_wake(BhQueue *q);

typedef struct {
        guint64 queued, queued_bytes, delivered, refused, cut, lost;
} BhQueueOutputStats;
gboolean bh_queue_output_stats(BhQueue *q, const BhOutput *o, BhQueueOutputStats *out, GError **error);

typedef struct {
        guint64 folded;     /* findings that have grown and wait for their minute */
        guint64 unreadable, taken, told; /* since the opening: findings taken in, alerts made of them */
} BhQueueStats;
void bh_queue_stats(BhQueue *q, BhQueueStats *out);
