/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel programs and src/sensor/sockets.c share about sockets. The walk (sockets.bpf.c) writes records, one after the other, each as long as
 * its `size` says. Numbers are native-endian, ports in host order.
 */
#ifndef BH_SOCK_RECORD_H
#define BH_SOCK_RECORD_H

#include "record.h"

/*
 * conns map: key the address of the kernel's struct sock. TCP connections and who made them: the end comes in whatever context, often an interrupt.
 * What does not fit, or is beyond its container's share, is counted as lost. Whoever takes an entry out tells the end, as only one can. An entry whose connection's end the programs missed
 * stays until its address is used again, or until the sensor takes it out because no walk has seen it for long.
 */
struct bh_conn {
        struct bh_actor who;
        struct bh_addr addr;
        __u64 since; /* CLOCK_BOOTTIME ns, as the next */
        __u64 seen;  /* by a walk; 0: by none yet */
        __u64 share; /* in whose it is counted */
        __u32 outgoing;
        __u32 flags; /* enum bh_record_flag, of the event to come */
};
_Static_assert(sizeof(struct bh_conn) == 144, "shared layout");

/*
 * conn_shares map: key the id of a container's cgroup, BH_SHARE_HOST for all that are in none, BH_SHARE_ALL for the sum; value the number of entries in `conns`,
 * which may be off by what two programs did at the same moment (signed: never taken for very many). Nobody may have more entries than are free: one alone gets half
 * of all, and whoever has few finds room, however many others take what they can.
 */
#define BH_CONNS_MAX 131072
#define BH_SHARE_HOST 0ull
#define BH_SHARE_ALL (~0ull)

#define BH_SOCK_PATH_MAX 108 /* sun_path */

enum bh_sock_flag {
        BH_SOCK_TRACKED = 1u << 0,      /* in `conns`: its end will be told */
        BH_SOCK_FOUND = 1u << 1,        /* entered there by a walk */
        BH_SOCK_CLIENT = 1u << 2,       /* this side connected … */
        BH_SOCK_SERVER = 1u << 3,       /* … or accepted; neither: not known */
        BH_SOCK_BY_EVENT = 1u << 4,     /* that was seen */
        BH_SOCK_BY_PORT = 1u << 5,      /* or told by who listens; neither: by the connection's counters */
        BH_SOCK_PATH_OF_PEER = 1u << 6, /* it has no name of its own */
};

struct bh_sock_record {
        __u32 size;  /* of this record; `path` is left out where there is none */
        __u32 flags; /* enum bh_sock_flag */
        __u64 sk;    /* address of the kernel's object */
        __u64 ino;
        __u64 cgroup, origin, start; /* the process: see struct bh_rec */
        __u32 tgid, uid, gid, mnt_ns;
        char comm[16];
        struct bh_addr addr;
        __u32 net_ns;
        __u8 state; /* TCP_*; of other families too */
        __u8 path_len; /* of what follows, with the NUL that an abstract name begins with */
        __u16 pad;
        __u64 since; /* CLOCK_BOOTTIME ns; 0: not known */
        __u64 bytes_out, bytes_in;
        __u32 packets_out, packets_in;
        __u64 peer_ino;
        __u64 path_ino;
        __u32 path_dev; /* kernel encoding: major << 20 | minor */
        __u32 peer_pid;
        __u8 path[BH_SOCK_PATH_MAX + 4];
};
_Static_assert(sizeof(struct bh_sock_record) == 304, "shared layout");
#define BH_SOCK_RECORD_MIN (sizeof(struct bh_sock_record) - BH_SOCK_PATH_MAX - 4)

/* `listened` map: local ports that somebody listens on, by network namespace; value: anything. */
struct bh_sock_port {
        __u32 net_ns;
        __u32 port;
};

/* `followed` map of datagrams.bpf.c: what a connected datagram socket moved by the calls for files. */
#define BH_DATAGRAMS_MAX 1024
struct bh_datagrams_moved {
        __u64 bytes_out, bytes_in, packets_out, packets_in;
        __u16 lport, rport; /* of the socket that is meant */
        __u32 pad;
};
_Static_assert(sizeof(struct bh_datagrams_moved) == 40, "shared layout");

/*
 * unix_moved map: what processes sent over connected Unix sockets that have a name, and received over connected datagram sockets, whose other end need not be connected.
 * What one sends the other gets, so for streams one look at each message is enough. Kept by who did it, to which name, and who is at the other end as the kernel
 * remembers it (who connected, or who listened), and not by socket: nobody tells a socket's end. The sensor takes what was counted in one turn while the programs count in
 * the other, so that nothing is added to what is being taken.
 */
#define BH_UNIX_MAX 16384
enum bh_unix_by {
        BH_UNIX_BY_NOBODY,
        BH_UNIX_BY_ITS_OWN,  /* unixes.bpf.c */
        BH_UNIX_BY_PAYLOAD,  /* payload.bpf.c, whose programs are at the same tracepoints */
};
struct bh_unix_key {
        __u64 start;    /* of the process, CLOCK_BOOTTIME ns */
        __u64 addr;     /* the kernel's object that the name is in; all connections to one listener share it */
        __u32 tgid;
        __u32 peer_pid; /* 0: not known (datagrams) */
        __u8 turn;
        __u8 server;    /* the name is this side's own */
        __u8 pad[6];
};
_Static_assert(sizeof(struct bh_unix_key) == 32, "shared layout");
struct bh_unix_moved {
        __u64 cgroup;
        __u64 first, last; /* CLOCK_BOOTTIME ns */
        __u64 bytes_out, bytes_in, messages_out, messages_in;
        __u64 path_ino;
        __u32 path_dev; /* kernel encoding: major << 20 | minor */
        __u8 path_len;  /* as in struct bh_sock_record */
        __u8 path[BH_SOCK_PATH_MAX];
        __u8 pad[7];
};
_Static_assert(sizeof(struct bh_unix_moved) == 184, "shared layout");

/* unix_lost map: one entry. */
struct bh_unix_lost {
        __u64 refused, refused_bytes;       /* for which the map had no room */
        __u64 unaddressed, unaddressed_bytes; /* datagrams of sockets that are not connected: to whom is not known */
};

/* `walk` map: one entry. */
struct bh_sock_walk {
        __u64 now;         /* CLOCK_BOOTTIME ns, the sensor says */
        __u64 descriptors; /* looked at */
        __u64 entered;     /* connections put into `conns` */
        __u64 full;        /* and those for which it had no room */
        __u32 ports_known; /* the sensor says: `listened` holds all there are. Else connections whose counters say nothing wait for the next walk */
        __u32 pad;
        struct bh_sock_record record; /* in the making */
};

#endif
