/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What windows of system calls (callers.h) say about how a workload behaves, as facts for the models:
 *
 *   syscall   each call that an executable made (always)
 *   sequence  what is new in how it makes calls that it is known to make: two that were never within one window of 100 ms, one that was made far more often within a window than ever, four
 *             of a thread in an order that never was. Only of executables that were seen for BH_CALLBOOK_WARM windows, and at most BH_CALLBOOK_TOLD a window: they are many, the models learn which of them
 *             come again, and alone none of them says much
 *
 * What is known is kept by workload, image digest and executable, so that replicas on one node learn together. It is the node's own and begins anew with the sensor; what models learned of it is
 * the central's. Pairs and counts are those of src/model/calls.h. Of orders, the expected share of new ones is the share of those seen once (Good and Turing): they are
 * told while that is below BH_CALLBOOK_UNSEEN.
 *
 * Bounds: BH_CALLBOOK_MAX executables, of which the one not seen for the longest time goes; BH_CALLBOOK_MODELS of them with pairs, counts and orders (at most 42 KiB each), BH_CALLBOOK_ORDERS orders of each.
 *
 * One thread.
 */
#pragma once
#include "callers.h"

#define BH_CALLBOOK_MAX 1024u
#define BH_CALLBOOK_MODELS 96u
#define BH_CALLBOOK_ORDERS 1024u /* a power of two; fewer by a quarter are kept */
#define BH_CALLBOOK_WARM 600u    /* windows: a minute of activity */
#define BH_CALLBOOK_TOLD 4u
#define BH_CALLBOOK_TOGETHER 30u /* windows of the rarer of two calls, before it says something that they were never together */
#define BH_CALLBOOK_EXCESS 4u    /* times the most that there ever was */
#define BH_CALLBOOK_UNSEEN 0.001

typedef struct {
        const char *application, *workload, *image_digest, *container_id; /* container_id: where there is no workload */
        const char *exe;
} BhCallBookOf;

typedef struct {
        const char *kind;            /* static */
        char object[160];
        char detail[64];
        guint64 count;
} BhCallFact;

typedef struct {
        guint executables, models;
        guint64 windows, told, left; /* left: facts over BH_CALLBOOK_TOLD, orders beyond the bound */
        guint64 evicted, refused;    /* refused: executables without pairs, counts and orders */
        gsize bytes;
} BhCallBookStats;

typedef struct BhCallBook BhCallBook;

BhCallBook *bh_callbook_new(void);
/* NULL is allowed. */
void bh_callbook_free(BhCallBook *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCallBook, bh_callbook_free)

/*
 * A window of one executable. `told` gets each fact, good during the call. TRUE: there is more to learn, as it is not BH_CALLBOOK_WARM windows old, or has made a call for the first time in the
 * later half of its windows.
 */
gboolean bh_callbook_window(BhCallBook *b, const BhCallBookOf *of, const BhCallerWindow *w, void (*told)(const BhCallFact *fact, gpointer data), gpointer data);
void bh_callbook_stats(const BhCallBook *b, BhCallBookStats *out);

/* Name of a call of callers.h: "openat"; one of the 32-bit interface has "/32" behind it; "syscall_471" where nobody knows its name. Static, any number is allowed. */
const char *bh_callbook_name(BhCallBook *b, guint16 call);
