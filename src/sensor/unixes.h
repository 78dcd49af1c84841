/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processes move over connected Unix sockets that have a name, if a container has to do with it (bpf/unixes.bpf.c). The kernel keeps no such counters and has no event of it:
 * the programs count by process, name and other end, and whoever asks takes what was counted since.
 *
 * Preferred backend: at the end of the kernel's functions of Unix sockets; other sockets pay nothing. Fallback: the tracepoint of everything that any socket sends (Linux 6.5). There the
 * programs of payload.h count while they are attached, which are at that tracepoint anyway, and those of this module else, as long as a container has to do with Unix sockets. Some 50 ms may pass that nobody counts, when those are stopped, or a container that never did comes to use one.
 * Elsewhere it is not known what Unix sockets move, and bh_unixes_new() says so.
 *
 * Not counted: sockets without a name (socketpair()), datagrams to an address that is given with each (counted in the statistics), what the host sends itself, what moves while no
 * sensor runs; what comes back over datagram sockets, on the fallback without payload.h.
 *
 * One thread, but for the statistics.
 */
#pragma once
#include <glib.h>

#include "hooks.h"
#include "sock_record.h"

#define BH_UNIXES_TURN_MS 250 /* a turn of counting */

typedef struct {
        const char *backend;  /* "fexit", "calls", or "payload": of which programs count now; static */
        guint64 entries;      /* taken */
        guint64 bytes;        /* that were in them */
        guint64 refused, refused_bytes; /* messages beyond BH_UNIX_MAX processes, names and other ends in a turn */
        guint64 unaddressed, unaddressed_bytes; /* datagrams of containers by sockets that are not connected */
} BhUnixesStats;

typedef struct BhUnixes BhUnixes;

/* Loads and attaches, before bh_payload_start(). NULL with an error that says what this kernel lacks. `hooks` must outlive it. */
BhUnixes *bh_unixes_new(BhHooks *hooks, GError **error);
void bh_unixes_free(BhUnixes *u);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhUnixes, bh_unixes_free)

typedef struct {
        struct bh_unix_key key;
        struct bh_unix_moved moved;
} BhUnixMoved;

/*
 * To be called each 50 ms or so. `used`: some container has to do with Unix sockets; else the tracepoint of the fallback is not attached for them alone. Appends what was counted in the turn before the present one, a BhUnixMoved for each entry of the map, which they leave. FALSE: its programs
 * could not be attached when those of payload.h went; `error` says it once.
 */
gboolean bh_unixes_round(BhUnixes *u, gboolean used, gint64 now_us, GArray *taken, GError **error);
/* What there is, at once: at the end. What is being sent at this moment may be left out. */
void bh_unixes_rest(BhUnixes *u, GArray *taken);
void bh_unixes_stats(BhUnixes *u, BhUnixesStats *stats);
