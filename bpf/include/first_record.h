/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What firstbytes.bpf.c and src/sensor/firstbytes.c share. A sample is struct bh_first_head, and behind it the segment as it lies in the packet: its TCP
 * header of `skip` bytes, then `len` bytes of payload.
 */
#ifndef BH_FIRST_RECORD_H
#define BH_FIRST_RECORD_H

#include "record.h"

#define BH_FIRST_BYTES 512
#define BH_FIRST_WANTED 4096 /* sockets at a time */

enum bh_first_flag {
        BH_FIRST_AT_CLIENT = 1u << 0, /* what came is the server's … */
        BH_FIRST_AT_SERVER = 1u << 1, /* … or the client's; neither: not known */
        BH_FIRST_TRACKED = 1u << 2,   /* the process below is known */
};

struct bh_first_head {
        __u64 ts;     /* CLOCK_BOOTTIME ns */
        __u64 sk;     /* address of the receiving socket's kernel object */
        __u64 offset; /* bytes that came before */
        __u64 cgroup, start;
        __u32 tgid;
        __u32 net_ns;
        __u32 flags;  /* enum bh_first_flag */
        __u32 total;  /* bytes of payload of the segment */
        __u16 skip, len;
        __u32 pad;
        struct bh_addr addr; /* of the receiving socket */
};
_Static_assert(sizeof(struct bh_first_head) == 112, "shared layout");

/* `wish` map: one entry, what is wanted now. */
struct bh_first_wish {
        __u32 sockets; /* how many stand in the map `wanted`, or a moment ago did */
        __u32 all;     /* 1: the first segment of every connection */
};

/* `first` map: one entry, what was done with segments that were wanted. */
struct bh_first_state {
        __u64 taken;
        __u64 full;   /* the buffer had no room */
        __u64 failed; /* not copied for another reason */
};

#endif
