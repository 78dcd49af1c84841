/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment files of one recorder directory: opening, recovery, appending blocks, closing, deleting the oldest.
 * Private to src/recorder. Used by one thread at a time (bh_recorder_open(), then the worker); no locks.
 */
#pragma once
#include "recorder/format.h"

typedef struct {
        char name[48]; /* "%016x-%010llu.bhr": time of the first record, number */
        guint64 number;
} BhSegmentName;

/* The segments of a directory in order of their number (BhSegmentName). Foreign names are passed over. */
GArray *bh_segment_list(int dirfd, const char *dir, GError **error);

typedef struct {
        BhSegmentName id;
        guint64 bytes, records, max_time;
} BhSegment;

typedef struct {
        BhRecorderLimits limits;
        char *node;
        int dirfd, lockfd;
        GQueue segments; /* BhSegment *, closed ones, oldest first */
        guint64 next_number;

        int fd; /* of the segment being written, -1 = none */
        BhSegment cur;
        guint64 salt, first_ns; /* CLOCK_REALTIME at creation */
        guint64 opened_wall, opened_boot; /* what both clocks said when the directory was opened */
        BhIndexBuilder index;
        gboolean dirty; /* written since the last fdatasync(2) */

        guint64 bytes; /* of all segments */
        guint64 dropped_segments, dropped_records, dropped_bytes, vanished_segments, sync_errors;
        gboolean clock_distrusted; /* at the last look at ages */
} BhSegments;

/* Locks and recovers. On failure the store is cleared. */
gboolean bh_segments_open(BhSegments *s, const char *dir, const BhRecorderLimits *limits, BhBlockEncoder *enc, BhRecorderRecovery *found,
                       GError **error);
/* Closes the segment in order and unlocks. Allowed on a zeroed store whose fds are -1. */
void bh_segments_clear(BhSegments *s, BhBlockEncoder *enc);

/*
 * Appends the packed block, making room by the rules of the limits. 0, or the errno; then nothing of the block is in the file.
 * `tail` is scratch for closing segments: `enc` itself must survive for the next try.
 */
int bh_segments_write(BhSegments *s, BhBlockEncoder *enc, BhBlockEncoder *tail);
/* fdatasync(2) if something was written since the last. */
int bh_segments_sync(BhSegments *s);
/* Deletes what is too old; closes a segment that has been open for too long to be dropped in time. */
void bh_segments_age(BhSegments *s, BhBlockEncoder *tail);
