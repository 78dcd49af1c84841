/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What enforce.bpf.c and src/sensor/enforce.c share. Numbers are native-endian, ports in host order, IPv4 addresses mapped into IPv6 (::ffff:a.b.c.d).
 *
 * A *subject* is a cgroup, or the host's end of a container's interface. It has at most three *lists* of peers, by number: `isolate`, of what alone remains, `deny`, of what is
 * refused, and `lead`, to which new TCP connections are led to a decoy instead. A list that has no entry is empty: an isolated subject with an empty list has no network at all.
 */
#ifndef BH_ENFORCE_RECORD_H
#define BH_ENFORCE_RECORD_H

#include <linux/types.h>

#define BH_ENFORCE_ENTRIES 16384 /* of all lists together */
#define BH_ENFORCE_PORTS 16      /* of one network of one list */
#define BH_ENFORCE_SUBJECTS 1024 /* interfaces; lists */
#define BH_ENFORCE_LED 4096      /* sockets that were led, of which what they asked for is known; the oldest goes */
#define BH_ENFORCE_RING (64 << 10)

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
        __u32 lead;    /* 0: nothing is led */
        __u8 to[16];   /* the decoy, with which it may always talk while something is led */
        __u16 to_port;
        __u16 pad[3];
};
_Static_assert(sizeof(struct bh_enforce_subject) == 48, "shared layout");

/* refused map: by list. */
struct bh_enforce_refused {
        __u64 packets, bytes; /* dropped */
        __u64 calls;          /* connect(), sendmsg() with EPERM; of a lead list: those that were led */
        __u64 untold;         /* of a lead list: connections for which the ring had no room */
};

/* led map: by cookie of the socket. Told to the sensor with the connection's first packet, when its own end is known. */
struct bh_enforce_led {
        __u64 time;   /* since boot, ns */
        __u64 cgroup; /* the subject's */
        __u8 asked[16], to[16], from[16]; /* from: the container's end */
        __u16 asked_port, to_port, from_port, pad;
        __u32 list, tgid, uid, told;
        char comm[16];
};
_Static_assert(sizeof(struct bh_enforce_led) == 104, "shared layout");

#endif
