/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes of TCP connections, for recognising what they speak: of the next segments of given sockets, and of connections that begin just now. What a
 * socket receives is told, at most once a wish; of a connection with both ends on this node each end tells what the other sent.
 *
 * A program looks at each segment that an established connection receives (tp_btf/tcp_probe, bpf/firstbytes.bpf.c), attached only while something is
 * wanted and for no longer than was asked for: else it costs nothing. The bytes take a way of their own, no event is made of them.
 *
 * They are hostile bytes: to be parsed by the inspector alone.
 *
 * Not seen: bytes that came with the last packet of the handshake (TCP Fast Open, and clients that defer their acknowledgement), and those of connections
 * that this node only forwards.
 *
 * Any thread may call; the callback runs in a thread of the object's own, and may call bh_first_bytes_want().
 */
#pragma once
#include <glib.h>

#include "hooks.h"

#define BH_FIRST_BYTES_MAX 512u       /* of a segment's beginning */
#define BH_FIRST_BYTES_SOCKETS 4096u  /* wanted at a time; more are refused and counted */
#define BH_FIRST_BYTES_SECONDS 60u    /* at a time */

/* Whose bytes they are. */
typedef enum {
        BH_FIRST_BYTES_OF_ANY, /* not known */
        BH_FIRST_BYTES_OF_CLIENT,
        BH_FIRST_BYTES_OF_SERVER,
} BhFirstBytesSide;

/* Addresses as in BhSocket: local is the receiving socket. */
typedef struct {
        guint64 sk;      /* BhSocket.sk of the receiving socket */
        guint64 time;    /* CLOCK_BOOTTIME ns */
        guint64 offset;  /* bytes that the socket had received before: 0 at the beginning of the stream */
        BhFirstBytesSide side;
        guint32 pid;     /* the receiving process, if its accept or connect was seen or found (else 0: it may not have accepted yet), with … */
        guint64 start;   /* … its start, CLOCK_BOOTTIME ns */
        guint64 cgroup;
        guint32 net_ns;
        guint16 family, lport, rport;
        guint8 laddr[16], raddr[16];
        guint32 total;   /* payload of the segment */
        guint32 len;     /* of it here */
        const guint8 *bytes; /* valid during the call */
} BhFirstBytesPiece;

typedef struct {
        gboolean attached;
        guint64 attached_ms; /* in total */
        guint64 told;
        guint64 lost;        /* the buffer had no room */
        guint64 unreadable;  /* the kernel could not copy them */
        guint64 refused;     /* sockets beyond the bound */
        guint wanted;        /* sockets that wait for a segment now */
} BhFirstBytesStats;

typedef struct BhFirstBytes BhFirstBytes;
typedef void (*BhFirstBytesSeen)(const BhFirstBytesPiece *piece, gpointer data);

/*
 * Loads the program and attaches nothing. `hooks` must be open and outlive it. NULL with an error that says what this kernel lacks: the protocols of connections are
 * then not known, and status is to say so.
 */
BhFirstBytes *bh_first_bytes_new(BhHooks *hooks, BhFirstBytesSeen seen, gpointer data, GError **error);
/* Nothing is told any more when it returns. */
void bh_first_bytes_free(BhFirstBytes *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFirstBytes, bh_first_bytes_free)

/*
 * For `seconds` from now: the next segment with payload that each of these sockets (BhSocket.sk) receives in order. A socket that is closed meanwhile, and its
 * place given to another, may make another's bytes come: compare the addresses. Sockets of earlier wishes stay wanted until their own time is over; with the last of
 * them the program is detached. FALSE: the kernel refuses to attach.
 */
gboolean bh_first_bytes_want(BhFirstBytes *f, const guint64 *sks, guint n, guint seconds, GError **error);

/* For `seconds` from now: the first segment with payload of every connection, in either direction. Connections that have received something are passed over. */
gboolean bh_first_bytes_want_new(BhFirstBytes *f, guint seconds, GError **error);
/* Takes that wish back before its time is over. */
void bh_first_bytes_enough(BhFirstBytes *f);

void bh_first_bytes_stats(BhFirstBytes *f, BhFirstBytesStats *stats);
