/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over TCP, and over TLS where its clear text is to be had (port 853): what payload.h tells of such connections, as events of the same kind as those of datagrams. Their bytes are read by
 * the inspector as those are; here messages are only told apart (dns_stream.h).
 *
 * One thread, the payload's. Bounds, counted: BH_DNS_TCP_CONNECTIONS, of more the one that is quiet for longest is given up; of a message BH_DNS_STREAM_KEEP bytes.
 * A connection whose messages cannot be told apart (it began before, or bytes are missing) is given up as well.
 */
#pragma once
#include "event/event.h"
#include "payload.h"

#define BH_DNS_TCP_CONNECTIONS 4096u

typedef struct {
        guint64 connections, messages, evicted, refused;
        guint64 lost; /* directions that could not be understood any more */
} BhDnsTcpStats;

typedef struct BhDnsTcp BhDnsTcp;

/* `event`: what was told, good during the call, its time CLOCK_BOOTTIME; `start`: of the process. FALSE: there is no room, which is counted here. */
BhDnsTcp *bh_dns_tcp_new(gboolean (*event)(const struct bh_event *e, guint64 start, gpointer data), gpointer data);
/* NULL is allowed. */
void bh_dns_tcp_free(BhDnsTcp *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDnsTcp, bh_dns_tcp_free)
/* Whether it was DNS, or may have been (the end of a connection). */
gboolean bh_dns_tcp_piece(BhDnsTcp *t, const BhPayloadPiece *piece);
/* Any thread. */
void bh_dns_tcp_stats(BhDnsTcp *t, BhDnsTcpStats *out);
