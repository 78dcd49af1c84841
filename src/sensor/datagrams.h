/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What connected datagram sockets move by the calls for files (write, read, sendfile, …), which has no event on the fallback (bpf/datagrams.bpf.c). Counted for given
 * sockets from when they were given; the kernel's programs are attached while it is asked for. Then each send and receive of any socket of the machine costs a
 * look-up; else nothing.
 *
 * One thread, but for the statistics.
 */
#pragma once
#include <glib.h>

#include "hooks.h"

typedef struct {
        guint64 sk; /* as BhSocket has it */
        guint16 lport, rport;
} BhDatagramSocket;

typedef struct {
        guint64 bytes_out, bytes_in, packets_out, packets_in;
} BhDatagramCounts;

typedef struct {
        gboolean attached;
        guint followed;
        guint64 refused; /* sockets for which there was no room */
        guint64 attached_times;
} BhDatagramStats;

typedef struct BhDatagrams BhDatagrams;

/* Loads nothing yet. `hooks` must outlive it. */
BhDatagrams *bh_datagrams_new(BhHooks *hooks);
void bh_datagrams_free(BhDatagrams *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDatagrams, bh_datagrams_free)

/*
 * These sockets and no others, up to BH_DATAGRAMS_MAX; those known before go on from their counts. `attach`: count now. FALSE with an error if the kernel cannot
 * (before 6.3), said once: later calls then do nothing and succeed.
 */
gboolean bh_datagrams_follow(BhDatagrams *d, const BhDatagramSocket *sockets, guint n, gboolean attach, GError **error);
/* FALSE: it is not followed. */
gboolean bh_datagrams_read(BhDatagrams *d, guint64 sk, BhDatagramCounts *out);
/* Calls for each that is followed. */
void bh_datagrams_each(BhDatagrams *d, void (*each)(guint64 sk, const BhDatagramCounts *counts, gpointer data), gpointer data);
void bh_datagrams_stats(BhDatagrams *d, BhDatagramStats *out);
