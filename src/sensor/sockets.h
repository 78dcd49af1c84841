/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every socket of every process, of containers and of the host: an iterator in the kernel (bpf/sockets.bpf.c) goes through all descriptors of all processes.
 * It says who listens, also since before the sensor began, and what open connections have moved until now. On its way it enters TCP connections that
 * nobody followed (they were there before the sensor, or it had lost their hook) among those whose end becomes a net_close event, with the flag "found".
 *
 * Not seen: sockets that no process has a descriptor of (closed and still sending, on their way in an SCM_RIGHTS message, registered with io_uring alone),
 * and connections that wait to be accepted.
 *
 * One thread at a time may walk; which one does not matter. Works with the kernel's hooks of either backend, and on all kernels since 5.10. Nothing is
 * attached to anything: between two walks it costs nothing.
 */
#pragma once
#include <glib.h>

#include "hooks.h"

#define BH_SOCKETS_MAX 262144u /* told in one walk; more are counted */

typedef enum {
        BH_SOCKET_ROLE_NONE,   /* no connection, or one of a kind that does not tell (datagrams) */
        BH_SOCKET_ROLE_CLIENT, /* this side connected */
        BH_SOCKET_ROLE_SERVER, /* this side accepted */
} BhSocketRole;

/* How BhSocket.role is known. */
typedef enum {
        BH_SOCKET_BY_NOTHING,
        BH_SOCKET_BY_EVENT,    /* a hook saw the connect or accept */
        BH_SOCKET_BY_COUNTERS, /* the kernel's counters of the connection: whose SYN was acknowledged */
        BH_SOCKET_BY_PORT,     /* somebody listens on the local port in this network namespace, or nobody does */
} BhSocketBasis;

/* Addresses and ports as in an event of it: host order, IPv4 in the first four bytes, zero where there is none. */
typedef struct {
        guint64 sk;      /* the kernel's object: with `ino` the name of the socket for as long as it is open */
        guint64 ino;     /* number of its inode: "socket:[INO]" */
        /* the process that connected or accepted, where that was seen; else the one with the lowest id that has a descriptor of it */
        guint64 start;   /* its start, CLOCK_BOOTTIME ns: with the pid its name */
        guint64 cgroup;
        guint64 origin;  /* container cgroup that it came from, 0: none */
        guint32 pid;     /* in the initial namespace, as all ids here */
        guint32 uid, gid; /* effective */
        guint32 mnt_ns;
        char comm[16];

        guint32 net_ns;  /* inode of the socket's network namespace */
        guint16 family;  /* AF_INET, AF_INET6, AF_UNIX, AF_PACKET, AF_NETLINK, … */
        guint16 type;    /* SOCK_* */
        guint16 proto;   /* IPPROTO_*; packet sockets: ethertype */
        guint16 lport, rport;
        guint8 state;    /* TCP_ESTABLISHED (1), TCP_SYN_SENT (2), … TCP_LISTEN (10) as in the kernel, for any family */
        gboolean listening;
        guint8 laddr[16], raddr[16];
        guint32 ifindex; /* packet sockets, link-local addresses */

        /* TCP connections */
        BhSocketRole role;
        BhSocketBasis basis;
        gboolean tracked;  /* its end will be a net_close event. FALSE: cannot be (the kernel's table is full), or is half open (SYN_SENT) and the connect goes on */
        guint64 since;     /* CLOCK_BOOTTIME ns when it began; 0: not known. `found`: when it was found */
        gboolean found;    /* it was not seen to begin */
        guint64 bytes_out; /* until now, as net_close counts them */
        guint64 bytes_in;
        guint32 packets_out;
        guint32 packets_in;

        /* unix sockets */
        guint64 peer_ino;  /* inode of the socket it is connected to, 0: none */
        guint32 peer_pid;  /* process that connected, or that listened, as SO_PEERCRED; 0: not known */
        guint64 path_ino;  /* identity of the socket file behind `path`; 0: none */
        guint32 path_dev;  /* as in stat(2) */
        gboolean path_of_peer; /* it has no name itself: `path` is its peer's */
        char path[112];    /* as in events, '@' first: abstract; "" none. Names of others are hostile bytes */
} BhSocket;

typedef struct {
        guint64 descriptors; /* looked at in the last walk, of all kinds */
        guint64 sockets;     /* told in the last walk */
        guint64 refused;     /* beyond the bound, in all walks */
        guint64 entered;     /* connections whose end would not have been told otherwise, in all walks */
        guint64 not_entered; /* those for which the kernel's table, or their container's share of it, had no room, in all walks */
        guint64 forgotten;   /* connections whose end the hooks missed: taken from the kernel's table after 20 minutes in which no walk saw them */
        guint64 walks, took_us; /* number of walks; time of the last one */
} BhSocketsStats;

typedef struct BhSockets BhSockets;

/* Called once for each socket, in the walking thread. `socket` is valid during the call. */
typedef void (*BhSocketSeen)(const BhSocket *socket, gpointer data);

/*
 * Loads the iterator, which takes some milliseconds. `hooks` must be open and outlive it. Any thread, also after privileges were dropped. NULL with an error that
 * says what this kernel lacks: what is known without it then stays.
 */
BhSockets *bh_sockets_new(BhHooks *hooks, GError **error);
void bh_sockets_free(BhSockets *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhSockets, bh_sockets_free)

/*
 * Tells each socket once, in no particular order: what was open during the whole walk, and perhaps what came or went meanwhile. On error (the kernel
 * refused to go on) what was told until then is right but not all.
 */
gboolean bh_sockets_walk(BhSockets *w, BhSocketSeen seen, gpointer data, GError **error);

/* Of the walks that are over. Any thread. */
void bh_sockets_stats(BhSockets *w, BhSocketsStats *stats);

/*
 * Takes connections out of the kernel's table whose end the hooks must have missed: at `now` (CLOCK_BOOTTIME ns) they are older than 20 minutes and no walk has
 * seen them for as long. Walks do it by themselves each five minutes.
 */
void bh_sockets_sweep(BhSockets *w, guint64 now);
