/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containers do, counted: for each container (as it was described) and fact (facts.h: kind, subject, parent, detail, user, whether it is suspicious) how often it was. A new one is
 * there to be told at once; what it did since is told again at most each BH_OBSERVE_REPEAT_US, of kinds that come in floods each BH_OBSERVE_OFTEN_US.
 *
 * The drain thread counts; a repeat allocates nothing. Another thread takes what is due. Both meet at a mutex that is held for some microseconds.
 *
 * Bounds: BH_OBSERVE_PER_CONTAINER keys of a container (as described: a renamed one has as many again), BH_OBSERVE_KEYS and BH_OBSERVE_BYTES in
 * total; facts of kinds that come in floods have at most half of a container's, so that they leave room for what it runs; rates and system calls are beside them. What is beyond is counted for its container under BH_OBSERVE_REST, which is what an observation's subject then is. Keys that were quiet for
 * BH_OBSERVE_QUIET_US are forgotten once they are told: should they come again, they are new.
 */
#pragma once
#include "event/event.h"

#define BH_OBSERVE_PER_CONTAINER 4096u
#define BH_OBSERVE_ARGUMENTS 3072u /* keys of a container, from which on a program is told without its arguments (detail BH_OBSERVE_REST): they are as many as one likes */
#define BH_OBSERVE_RATES 512u /* keys of a container's rates, which are beside the others: how much it does is told also where what it does is too much to tell */
#define BH_OBSERVE_CALLS 1024u /* of its system calls, likewise: who floods with files does not hide them */
#define BH_OBSERVE_KEYS 65536u
#define BH_OBSERVE_BYTES (16u << 20) /* of executables' paths */
#define BH_OBSERVE_REPEAT_US (30 * G_USEC_PER_SEC)
#define BH_OBSERVE_OFTEN_US (300 * G_USEC_PER_SEC)
#define BH_OBSERVE_EXAMPLE 512u /* bytes of an example; the rest is cut */
#define BH_OBSERVE_QUIET_US (600 * G_USEC_PER_SEC)
#define BH_OBSERVE_REST "*" /* no executable's path is that; the store refuses an empty one */

typedef struct {
        const char *container_id, *workload, *application, *image_digest;
        const char *kind;
        struct bh_str subject, parent, detail, example;
        guint32 uid;
        gboolean suspicious;
        const char *why; /* "" where it is not */
        guint64 count; /* since it was told last */
        gint64 first_ns, last_ns;
} BhObservation;

typedef struct {
        guint keys, containers;
        gsize bytes;
        guint64 counted, told;
        guint64 rest;    /* of `counted`, what was beyond a bound */
        guint64 displaced; /* programs whose rates began anew within a minute, see rates.h */
        char full[65];   /* container that was the last to go beyond its bound; "" none ever */
} BhObserveStats;

typedef struct BhObserve BhObserve;

BhObserve *bh_observe_new(void);
void bh_observe_free(BhObserve *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhObserve, bh_observe_free)

/*
 * An event; one that says nothing of a container's behaviour is passed over, but counts for its rates (rates.h), which are facts as well. `rule`: of high priority that it matched, whose name is then why it is suspicious; NULL: none. One
 * thread.
 */
void bh_observe_event(BhObserve *o, const struct bh_event *e, const char *rule, gint64 now_us);

/*
 * What no event tells of: system calls (callbook.h). From container_id to detail, example, uid, count and times as they are in what is told later; kind is static. Of a kind that comes in floods. Any thread.
 */
void bh_observe_act(BhObserve *o, const BhObservation *what, gint64 now_us);

/*
 * Gives at most `max` of what is due (`all`: whatever was counted and is not told) to `told`, which must not block: the lock is held. Returns how many;
 * call it again until there are none. Any thread.
 */
guint bh_observe_take(BhObserve *o, gboolean all, gint64 now_us, guint max, void (*told)(const BhObservation *what, gpointer data), gpointer data);

void bh_observe_stats(BhObserve *o, BhObserveStats *out);
