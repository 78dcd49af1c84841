/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls the executables of containers make, from the kernel (bpf/calls.bpf.c), in windows of BH_CALLERS_WINDOW_US.
 *
 * The program is attached to the entry of every system call of the machine, so it is there in turns: for BH_CALLERS_SHORT windows each BH_CALLERS_PAUSE_US, and
 * without a pause while there is something to learn (`seen` says so) or somebody asked for it (bh_callers_wake()). Always it may take BH_CALLERS_SHARE of one CPU, by what a call was measured to
 * cost: where calls are so many that it would take more, it is attached for a smaller part of the time, also while it learns, and of no second for more than two seconds' share and the window that goes
 * over it. So what learns is never dearer than that, and learns all the same: a program counts by the windows that were seen of it. While it is detached no call pays anything.
 *
 * Bounds: BH_CALLERS_MAX executables between two clearings (BH_CALLERS_PHASE windows); calls of others are counted (`full`). Of the order of calls a window has the first
 * BH_CALLERS_ORDER of one thread.
 *
 * A thread of its own ("bh-calls") attaches, reads and calls `seen`; it loads the program when it begins. The rest is for any thread.
 */
#pragma once
#include "calls_record.h"
#include "hooks.h"
#include "model/calls.h"

#define BH_CALLERS_WINDOW_US 100000
#define BH_CALLERS_SHORT 3u
#define BH_CALLERS_PHASE 50u
#define BH_CALLERS_PAUSE_US (30 * G_USEC_PER_SEC)
#define BH_CALLERS_SHARE 0.01      /* of one CPU */
#define BH_CALLERS_BURST_NS 1e7    /* that it may have at once after it had none: a second's share */
#define BH_CALLERS_SEEN_NS 90.0    /* what a call costs more while the program is attached */
#define BH_CALLERS_COUNTED_NS 40.0 /* and more, if it is a container's */

/* What one executable of a container did in a window. Good during the call. */
typedef struct {
        guint64 container; /* id of its cgroup */
        guint64 dev, ino;  /* of the executable, as stat(2) has them */
        guint32 tgid;      /* of a process that ran it, and when that began */
        guint64 start;
        const char *name;  /* last part of its path */
        const BhCallCount *calls; /* numbers as in calls_record.h */
        guint n;
        const guint16 *order;
        guint n_order;
        gboolean whole;    /* the window was as long as it should be */
        gint64 time_ns;    /* its end, since the epoch */
} BhCallerWindow;

/* TRUE: there is more to learn of it, so go on. */
typedef gboolean (*BhCallersSeen)(const BhCallerWindow *w, gpointer data);

typedef struct {
        gboolean attached;
        guint64 windows, late; /* late: windows that took longer than they should, as the machine was busy */
        guint64 seen, counted, full, contended; /* calls: see struct bh_call_cpu */
        guint64 attached_ms, attached_times;
        guint64 stray;     /* of `seen`, those counted while nothing should have been attached: 0 unless detaching failed */
        guint64 throttled; /* times that the share was used up */
        char problem[256]; /* why there is none; "" */
} BhCallersStats;

typedef struct BhCallers BhCallers;

/* Loads nothing yet. `hooks` must outlive it. */
BhCallers *bh_callers_new(BhHooks *hooks);
/* Its thread begins; once. */
void bh_callers_start(BhCallers *c, BhCallersSeen seen, gpointer data);
/* Its thread ends, and nothing is attached any more; no call of `seen` after that. */
void bh_callers_stop(BhCallers *c);
/* NULL is allowed. */
void bh_callers_free(BhCallers *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCallers, bh_callers_free)

/* Looks at once, and without a pause for so many seconds. Quick. */
void bh_callers_wake(BhCallers *c, guint seconds);
void bh_callers_stats(BhCallers *c, BhCallersStats *out);
