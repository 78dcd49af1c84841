/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a decoy of this node wrote down (src/decoy/recording.h), read by the sensor: the recording of a connection that was led is found by the container's own end of it, which is the decoy's peer.
 *
 * The directory is written by a program that attackers talk to, so nothing in it is believed but for what it is wanted for: its files are opened without following links, only where they are regular, and
 * read within bounds; a hash names a file below bytes/ and nothing else.
 *
 * A recording comes when its connection has ended, which may be before it is expected: of lines that nobody expected the last BH_DECOY_EARLY are kept for BH_DECOY_EARLY_S. Connections that were led and are not
 * found within BH_DECOY_WAIT_S go, and are counted; of BH_DECOY_EXPECTED that wait the oldest goes. When the first is expected the last BH_DECOY_BEHIND bytes of lines are read; a line from before the connection is
 * another's, who had the same port.
 *
 * What is in memory of an intruder's bytes is bounded: BH_DECOY_TURN_MAX are read in a turn, and BH_DECOY_HELD_MAX are the caller's (for as long as anybody has a reference, in whatever queue). What is beyond that waits
 * in the decoy's files for another turn, and is `unread` where those are gone by then.
 *
 * To expect and to ask for the counts never waits for a file, and any thread may. Turns are one thread's at a time.
 */
#pragma once
#include <glib.h>

#define BH_DECOY_EXPECTED 1024u
#define BH_DECOY_WAIT_S 7200
#define BH_DECOY_BYTES_MAX (4u << 20) /* of a recording; more is cut, and said */
#define BH_DECOY_TURN_MAX (8u << 20)
#define BH_DECOY_HELD_MAX (32u << 20)
#define BH_DECOY_EARLY 4096u
#define BH_DECOY_EARLY_S 60
#define BH_DECOY_BEHIND (1u << 20)
#define BH_DECOY_LINES_MAX (256u << 10) /* bytes read of lines in a turn */

/* What the caller knows of the connection, given back with its recording. */
typedef struct {
        char *from; /* "172.17.0.3:41234" */
        char *asked, *container, *finding;
        guint32 pid;
        gint64 time_ns;
} BhDecoyExpected;

typedef struct {
        guint64 sealed, empty, missing, unread; /* found with bytes; without; not found in time; bytes that could not be read */
        guint waiting;
} BhDecoyRecordsStats;

typedef struct BhDecoyRecords BhDecoyRecords;

BhDecoyRecords *bh_decoy_records_new(const char *dir);
void bh_decoy_records_free(BhDecoyRecords *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDecoyRecords, bh_decoy_records_free)

/* Takes the strings. */
void bh_decoy_records_expect(BhDecoyRecords *r, const BhDecoyExpected *e, gint64 now_us);
/* `bytes` of `all` that the other end sent; the rest is nowhere. */
typedef void (*BhDecoyRecorded)(const BhDecoyExpected *e, GBytes *bytes, guint64 all, const char *end, gpointer data);
/* Reads what is new, not when nothing is expected, and calls with what was found, within the bounds; `recorded` may expect. */
void bh_decoy_records_turn(BhDecoyRecords *r, gint64 now_us, BhDecoyRecorded recorded, gpointer data);
void bh_decoy_records_stats(BhDecoyRecords *r, BhDecoyRecordsStats *out);
