/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What pause.bpf.c and those who continue what it stopped share (src/evidence/paused.h, src/sensor/pause.c). Both maps are arrays that are mapped into memory, so that nobody needs a privilege to
 * read them but the one to send a signal.
 */
#ifndef BH_PAUSE_RECORD_H
#define BH_PAUSE_RECORD_H

#include <linux/types.h>

#define BH_PAUSE_SLOTS 64     /* processes that are stopped at the same time; a power of two */
#define BH_PAUSE_KNOWN 8192   /* written programs that were stopped already, by file and change */
#define BH_PAUSE_OWNERS 4096  /* containers whose rate is counted; the least recently used go */

enum bh_pause_kind {
        BH_PAUSE_MEMFD = 1,
        BH_PAUSE_DELETED = 2,
        BH_PAUSE_WRITTEN = 3, /* not of an image, and written or changed within the window */
};

/*
 * paused map: a process that is stopped. `since` is written last, and set to 0 by the one who counts as having continued it; he then takes 1 off `taken`. Who continues sends the signal before
 * that, so that one who dies in between leaves it to the next.
 */
struct bh_paused {
        __u32 taken; /* 0: free */
        __u32 tgid;
        __u64 start; /* CLOCK_BOOTTIME ns */
        __u64 since; /* CLOCK_BOOTTIME ns; 0: not stopped, or no more */
};
_Static_assert(sizeof(struct bh_paused) == 24, "shared layout");

/* pause_wish map: one entry. */
struct bh_pause_wish {
        __u64 alive;       /* CLOCK_BOOTTIME ns, written by the thread that copies: without news for BH_PAUSE_STALE_NS nothing is stopped */
        __u64 quiet_until; /* CLOCK_BOOTTIME ns: the sensor is behind */
        __u64 offset;      /* CLOCK_REALTIME - CLOCK_BOOTTIME, ns */
        __u64 window;      /* ns since a file was written or changed */
        __u32 on;
        __u32 per_container, per_node; /* a second */
        __u32 overdue;     /* continued by somebody else than the thread that copies */
        /* counted by the program */
        __u64 stopped;
        __u64 over_rate;   /* not stopped: container's or node's rate */
        __u64 no_room;     /* no slot, or the ring is full */
        __u64 behind;      /* the sensor was behind, or hung */
        __u64 refused;     /* by the kernel */
};

#define BH_PAUSE_STALE_NS 2000000000ull

/* What the ring has of each that was stopped. */
struct bh_pause_record {
        __u32 slot;
        __u32 tgid;
        __u64 start;
        __u64 since;
        __u64 ino;
        __u32 dev; /* kernel encoding: major << 20 | minor */
        __u32 kind;
};
_Static_assert(sizeof(struct bh_pause_record) == 40, "shared layout");

#endif
