/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What enforce.bpf.c and src/sensor/enforce.c share. Numbers are native-endian, ports in host order, IPv4 addresses mapped into IPv6 (::ffff:a.b.c.d).
 *
 * A *subject* is a cgroup, or the host's end of a container's interface. It has at most two *lists* of peers, by number: `isolate`, of what alone remains, and `deny`,
 * of what is refused. A list that has no entry is empty: an isolated subject with an empty list has no network at all.
 */
#ifndef BH_ENFORCE_RECORD_H
#define BH_ENFORCE_RECORD_H

#include <linux/types.h>

#define BH_ENFORCE_ENTRIES 16384 /* of all lists together */
#define BH_ENFORCE_PORTS 16      /* of one network of one list */
#define BH_ENFORCE_SUBJECTS 1024 /* interfaces; lists */

/* lists map (LPM trie). `bits`: 32 for the number of the list, and of the address. */
struct bh_enforce_key {
        __u32 bits;
        __u32 list;
        __u8 addr[16];
};
_Static_assert(sizeof(struct bh_enforce_key) == 24, "shared layout");

struct bh_enforce_port {
        __u16 port; /* 0: all, and what has none */
        __u8 proto; /* 0: all */
        __u8 pad;
};

/* The longest match alone is looked at, so it has the ports of the wider networks of its list as well. */
struct bh_enforce_ports {
        __u32 n;
        struct bh_enforce_port ports[BH_ENFORCE_PORTS];
};
_Static_assert(sizeof(struct bh_enforce_ports) == 68, "shared layout");

struct bh_enforce_subject {
        __u32 isolate; /* number of a list; 0: not isolated */
        __u32 deny;    /* 0: nothing is refused */
        __u64 cgroup;  /* id of the cgroup because of which */
        __u32 made;    /* of an interface: the place for filters was made for this, and goes with it */
        __u32 pad;
};
_Static_assert(sizeof(struct bh_enforce_subject) == 24, "shared layout");

/* refused map: by list. */
struct bh_enforce_refused {
        __u64 packets, bytes; /* dropped */
        __u64 calls;          /* connect(), sendmsg() with EPERM */
};

#endif
