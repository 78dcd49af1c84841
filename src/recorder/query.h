/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the flight recorder: the records of a directory, or of one file, that match a filter, in the order of appending.
 *
 * Works on a live directory, from any process: every record that was written before the call is given, later ones may be.
 * Segments deleted meanwhile are skipped and counted. Blocks that cannot match are skipped by the segment's index, or by their
 * headers where there is no index yet. Damaged blocks are skipped, counted, never guessed at: each record given is exactly
 * one that was appended. Memory: one block (at most 16 MiB stored and 16 MiB raw) and one index.
 *
 * An iterator belongs to one thread at a time.
 */
#pragma once
#include "recorder/recorder.h"

#define BH_RECORDER_ANY 0u
/* As a container to ask for: only the host's own records (which are stored with container 0). */
#define BH_RECORDER_HOST G_MAXUINT64

typedef struct {
        guint64 segments_read, segments_skipped; /* skipped: by their trailer */
        guint64 segments_gone;                   /* deleted between listing and opening */
        guint64 segments_unreadable;             /* damaged header, foreign version, or no permission */
        guint64 blocks_read, blocks_skipped;     /* read: decompressed */
        guint64 damaged_regions, damaged_bytes;  /* between good blocks, or blocks with a wrong checksum */
        guint64 torn_bytes;                      /* an unfinished last block (on a live directory: being written) */
        guint64 lost;                            /* records that the recorder itself had to drop, as the blocks read tell */
} BhRecorderQueryStats;

typedef struct BhRecorderQuery BhRecorderQuery;

/*
 * `from_ns` <= time <= `to_ns` (0 = no upper bound), `container` or BH_RECORDER_ANY / BH_RECORDER_HOST, seq >= `from_seq`.
 * NULL with an error if `path` cannot be opened, or is a file that is not of this format.
 */
BhRecorderQuery *bh_recorder_query(const char *path, guint64 from_ns, guint64 to_ns, guint64 container, guint64 from_seq,
                                   GError **error);

/* The next record; FALSE at the end. Trouble with single segments or blocks shows in the statistics only. */
gboolean bh_recorder_query_next(BhRecorderQuery *q, BhRecord *out);

const BhRecorderQueryStats *bh_recorder_query_stats(const BhRecorderQuery *q);

void bh_recorder_query_free(BhRecorderQuery *q);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRecorderQuery, bh_recorder_query_free)
