/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What calls.bpf.c and src/sensor/callers.c share: which system calls the executables of containers make, counted in two banks that take turns. The sensor
 * turns `bank` at the end of a window, reads the other one and clears it.
 */
#ifndef BH_CALLS_RECORD_H
#define BH_CALLS_RECORD_H

#include <linux/types.h>

#define BH_CALLERS_MAX 256u    /* executables of containers between two clearings; a power of two */
#define BH_CALLERS_CALLS 1024u /* native ones by number, those of the 32-bit interface from BH_CALLERS_COMPAT on */
#define BH_CALLERS_COMPAT 512u
#define BH_CALLERS_BEYOND 511u /* numbers beyond, and those of x32 */
#define BH_CALLERS_ORDER 256u  /* calls of one thread, in order, a window */
#define BH_CALLERS_CACHE 64u   /* threads that a CPU knows */
#define BH_CALLERS_NAME 64u

struct bh_caller_bank {
        __u32 counts[BH_CALLERS_CALLS];
        __u32 claims; /* threads that wanted to be the one whose order is kept; more than one at once: none is */
        __u32 tid;    /* that thread; 0: none */
        __u32 n;      /* in `order` */
        __u32 left;   /* its calls for which there was no room */
        __u16 order[BH_CALLERS_ORDER];
};
_Static_assert(sizeof(struct bh_caller_bank) == 4624, "shared layout");

/* `callers` map: an executable of a container, by the order in which they came. */
struct bh_caller {
        __u64 container; /* id of the container's own cgroup */
        __u64 ino;
        __u64 start;     /* of a process that runs it */
        __u32 dev;       /* kernel encoding */
        __u32 tgid;
        char name[BH_CALLERS_NAME]; /* last part of its path */
        struct bh_caller_bank bank[2];
};
_Static_assert(sizeof(struct bh_caller) == 96 + 2 * 4624, "shared layout");

/* `caller_ids` map: which place in `callers` an executable has. */
struct bh_caller_id {
        __u64 container, ino;
        __u32 dev, pad;
};

/* `call_state` map, one entry. */
struct bh_call_state {
        __u64 seed;   /* the sensor's; another one makes all that CPUs remember of threads void */
        __u32 bank;   /* the sensor's: bit 0 says which is written */
        __u32 paused; /* the sensor's: nothing is written */
        __u32 busy;   /* whoever makes an entry */
        __u32 next;   /* first free place in `callers` */
};

/* `call_cpus` map, per CPU. */
struct bh_call_cpu {
        __u64 seen;      /* calls of anybody while the program was attached */
        __u64 counted;
        __u64 full;      /* calls for whose executable there was no place */
        __u64 contended; /* calls not counted because another CPU made an entry */
        __u64 cache[BH_CALLERS_CACHE]; /* hash over a thread and what it runs, and in the low 16 bits its place in `callers` */
};

#endif
