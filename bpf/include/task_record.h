/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the walk over all processes (tasks.bpf.c) writes for src/sensor/tasks.c: records of one size, one after the other, in the order of process ids. Numbers are native-endian. */
#ifndef BH_TASK_RECORD_H
#define BH_TASK_RECORD_H

#include "record.h"

enum bh_task_flag {
        BH_TASK_DYING = 1u << 0,  /* its last thread has begun to exit, or it is a zombie */
        BH_TASK_KERNEL = 1u << 1, /* a thread of the kernel's */
        BH_TASK_SELF = 1u << 2,   /* who reads the iterator */
        BH_TASK_UNSURE = 1u << 3, /* not of the kernel's list (set in user space alone): it may have ended */
};

struct bh_task_record {
        __u64 start; /* CLOCK_BOOTTIME ns: with the process id its name */
        __u64 cgroup;
        __u64 origin; /* container cgroup that it came from, 0: none */
        __u32 tgid;   /* in the initial namespace */
        __u32 flags;  /* enum bh_task_flag */
        char comm[16]; /* hostile bytes; with a NUL at the end */
};
_Static_assert(sizeof(struct bh_task_record) == 48, "shared layout");

#endif
