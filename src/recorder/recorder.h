/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flight recorder: a durable, bounded, compressed, indexed log of opaque records on one node.
 *
 * A record is the wire form of one enriched event; the recorder never decodes it. Records are collected in blocks in memory;
 * one worker thread compresses (zstd), checksums (xxh64) and appends blocks to segment files <first-time-ns>-<number>.bhr in
 * one directory, and deletes the oldest segments to stay within a size and an age. Read them with query.h; the file format
 * is in format.h and is the same as that of a capture (capture.h).
 *
 * Durability. "Written" means that write(2) returned: it survives the death of this process, not of the machine. The worker
 * calls fdatasync(2) when a segment is closed and every `sync_s` seconds, never the appender. The appender hands over *marks*
 * (opaque, e.g. ring-buffer positions) that stand for everything appended before them; bh_recorder_durable_mark() gives the
 * newest mark before which every record is *settled*: written, or counted as lost. A mark is stored in the block that it
 * belongs to, before it is called durable, so the mark that bh_recorder_open() finds is never older than one that was given
 * out. Blocks are cut at a mark where that costs little; `unmarked_records` says how many records were written after the
 * last mark all the same.
 *
 * Trouble. On ENOSPC (or when less than `reserve_bytes` would stay free) the recorder first deletes its own oldest segments,
 * down to `keep_bytes`, so that filling the disk cannot be used to erase the evidence. Otherwise, and on any other error, it is
 * *degraded*: a block is kept and retried up to `hold_ms`, or until half of the queue is used, and then dropped, its records
 * counted by reason, its mark settled (a full disk must not stop the kernel's rings). The number of records lost is also
 * written into the next block, where readers find it. Recovery is automatic.
 *
 * Threads: append and mark from one thread; everything else from any. Memory: (queue_blocks + 2) * block_bytes.
 * Files are 0600, the directory is made 0700. One recorder per directory (flock on <dir>/lock).
 */
#pragma once
#include <glib.h>

#define BH_RECORDER_MARK_MAX 256u
/* No record and no block is larger than this before compression; readers refuse what claims to be. */
#define BH_RECORDER_BLOCK_MAX (16u << 20)

typedef enum {
        BH_RECORDER_ERROR_IO,          /* the operating system refused: its text is in the message */
        BH_RECORDER_ERROR_LOCKED,      /* another process records here */
        BH_RECORDER_ERROR_NOT_CAPTURE, /* not a file of this format */
        BH_RECORDER_ERROR_VERSION,     /* a format version that this program does not know */
        BH_RECORDER_ERROR_TRUNCATED,   /* ends too early; what was read before is whole */
        BH_RECORDER_ERROR_CORRUPT,     /* bytes do not match their checksum */
} BhRecorderError;
#define BH_RECORDER_ERROR (bh_recorder_error_quark())
GQuark bh_recorder_error_quark(void);

/* `data` belongs to whoever gave the record and is valid until its next call. */
typedef struct {
        guint64 time_ns; /* CLOCK_REALTIME */
        guint64 container; /* hash of the container's id, 0 = the host */
        guint64 seq;
        const guint8 *data;
        guint32 len;
} BhRecord;

/* Values out of range are brought into range (see each). Strings are copied. */
typedef struct {
        guint64 max_bytes;     /* of all segments, at least 256 KiB */
        guint64 max_age_s;     /* 0 = no bound; a segment goes when its youngest record is older, by a clock that is believed: see clock_distrusted */
        guint64 segment_bytes; /* at most max_bytes / 4, at least 16 KiB */
        guint32 block_bytes;   /* raw, 4 KiB to 4 MiB; a larger record gets a block of its own */
        guint32 flush_ms;      /* a block is written this long after its first record at the latest */
        guint32 queue_blocks;  /* full blocks waiting for the worker, 2 to 4096 */
        guint32 wait_ms;       /* how long append may wait when the queue is full; 0 = not at all */
        guint32 hold_ms;       /* how long a block is kept while the disk refuses it */
        guint32 retry_ms;      /* between two tries of a degraded recorder */
        guint32 sync_s;        /* between two fdatasync(2); 0 = only when a segment is closed */
        guint64 reserve_bytes; /* leave at least this much free on the file system; 0 = no rule */
        guint64 keep_bytes;    /* for room, delete own segments only down to this; G_MAXUINT64 = never delete for room */
        int level;             /* zstd, 1 to 3 */
        guint32 schema;        /* version of what the records contain, for the reader */
        const char *node;      /* node id, cut at 127 bytes; NULL = none */
        guint64 (*wall)(void); /* the wall clock in nanoseconds; NULL = CLOCK_REALTIME. For tests */
} BhRecorderLimits;

/* 4 GiB, 7 days, 64 MiB segments, 256 KiB blocks, 100 ms, 64 blocks, wait 100 ms, hold 1 s, sync 5 s, reserve 256 MiB, keep 1 GiB. */
void bh_recorder_limits_init(BhRecorderLimits *limits);

/* What bh_recorder_open() found of earlier runs. */
typedef struct {
        guint64 segments, bytes, records;
        guint64 recovered_segments; /* that were not closed in order, and now are */
        guint64 cut_bytes;          /* torn tails cut off */
        guint64 damaged_bytes;      /* unreadable bytes between good blocks of recovered segments; left in place */
        guint64 unreadable_segments; /* foreign version or damaged header; left in place until they are too old */
        guint64 last_seq, last_time_ns; /* the highest; 0 = no record */
        guint64 unmarked_records;   /* records after the mark */
        guint32 mark_len;           /* 0 = no mark */
        guint8 mark[BH_RECORDER_MARK_MAX];
} BhRecorderRecovery;

typedef enum {
        BH_RECORDER_LOST_QUEUE_FULL,
        BH_RECORDER_LOST_DISK_FULL,
        BH_RECORDER_LOST_IO_ERROR,
        BH_RECORDER_LOST_TOO_LARGE,
        BH_RECORDER_LOST_REASONS,
} BhRecorderLost;

typedef enum {
        BH_RECORDER_OK,
        BH_RECORDER_DISK_FULL,
        BH_RECORDER_IO_ERROR,
} BhRecorderState;

typedef struct {
        BhRecorderState state;
        char problem[256]; /* why the state is or last was degraded, for people; "" = never */
        guint64 degraded_times;
        guint64 bytes, segments;   /* on disk now */
        guint64 appended;          /* records accepted by append; = written + waiting + the part of lost that was dropped later */
        guint64 written, raw_bytes, stored_bytes, blocks;
        guint64 lost[BH_RECORDER_LOST_REASONS];
        guint64 dropped_segments, dropped_records, dropped_bytes; /* deleted for size, age or room */
        guint64 vanished_segments; /* deleted by somebody else while being written */
        guint64 sync_errors;
        gboolean clock_distrusted; /* the wall clock is ahead of the time since boot by more than an hour; age is reckoned without that until the next open */
        guint32 queued_blocks, queued_blocks_max;
        guint64 durable_seq; /* highest seq written */
} BhRecorderStats;

const char *bh_recorder_lost_name(BhRecorderLost reason);
const char *bh_recorder_state_name(BhRecorderState state);

typedef struct BhRecorder BhRecorder;

/*
 * Opens or makes `dir`. Torn tails are cut, segments left open by a crash are closed; *found (may be NULL) says what was there.
 * NULL with BH_RECORDER_ERROR_LOCKED (naming the process) or _IO.
 */
BhRecorder *bh_recorder_open(const char *dir, const BhRecorderLimits *limits, BhRecorderRecovery *found, GError **error);

/* Writes what waits (each block is tried once if the disk refuses), closes the segment, frees. NULL is allowed. */
void bh_recorder_free(BhRecorder *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRecorder, bh_recorder_free)

/*
 * Appends a copy of the record. FALSE if it was lost and counted. One uncontended lock and a memcpy; no system call except one
 * futex wake a block. May wait `wait_ms`, once per time that the queue becomes full.
 */
gboolean bh_recorder_append(BhRecorder *r, guint64 time_ns, guint64 container, guint64 seq, const void *data, guint32 len);

/* Everything appended so far is covered by this mark (1 to BH_RECORDER_MARK_MAX bytes). Repeating the newest mark is free. */
void bh_recorder_mark(BhRecorder *r, const void *mark, guint32 len);

/* The newest durable mark into out[BH_RECORDER_MARK_MAX]; FALSE and nothing touched if there is none since open. */
gboolean bh_recorder_durable_mark(BhRecorder *r, void *out, guint32 *len);

/*
 * Closes the current block. With `sync`, waits until all that was appended before is settled and fdatasync'd (bounded by hold_ms
 * on a bad disk). FALSE if the recorder is degraded or, with `sync`, the data could not be synchronised.
 */
gboolean bh_recorder_flush(BhRecorder *r, gboolean sync);

void bh_recorder_stats(BhRecorder *r, BhRecorderStats *out);
