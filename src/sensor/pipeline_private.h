/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the pipeline: what pipeline.c (an event's way, the thread) and pipeline_own.c (what is told of the sensor itself) share. The drain thread's, all of it. */
#pragma once
#include "leftovers.h"
#include "pipeline.h"
#include "ring.h"

/*
 * What the recorder keeps with each block: where in the rings its last record stands. Records of one ring are taken, waited for and recorded
 * in the ring's own order, so that one position a ring says exactly what is in the recorder.
 */
struct mark {
        guint64 epoch;             /* identity of the rings */
        guint64 safe[BH_RING_MAX]; /* everything before is in the recorder */
};

typedef struct {
        const struct bh_rec *rec; /* NULL: none */
        guint64 end;
        guint32 len;
} Item;

typedef struct {
        struct bh_event *event; /* a copy that stands alone */
        guint64 cgroup, origin;
        guint64 end;
        gint64 since_us;
        guint8 ring; /* BH_RING_MAX: not from a ring */
        gboolean labels;
        BhInspection inspection;
} Waiting;

struct BhPipeline {
        BhPipelineConfig c;
        gint foreign; /* atomic: events of bh_pipeline_event() that wait */
        BhRing *rings[BH_RING_MAX];
        Item head[BH_RING_MAX]; /* read from the ring and not taken yet */
        GQueue waiting;
        GHashTable *given_up; /* container cgroups whose metadata did not come in time */
        BhRecorderState recorder_state;
        guint64 recorder_lost;
        GHashTable *origins;  /* cgroup id → BhContainer, for processes that outlive the table's memory */
        struct mark mark, resume;
        gboolean resuming;
        guint64 next_id;
        GByteArray *wire, *labels;
        BhAccount *account;
        BhLeftovers *leftovers;
        GAsyncQueue *inbox;
        GThread *thread;
        GMutex lock;
        GCond flushed;
        BhPipelineStats stats;
        gint runtime_expected;
        gint64 now_us; /* monotonic time, at most CLOCK_EVERY records old: waiting is counted in milliseconds */
        gboolean stopping, hurry; /* hurry: nothing waits for the inspector any more */
        guint64 scan_since;
        GError *scan_error;
        gint scan_done;
};

/* CLOCK_BOOTTIME ns. */
guint64 bh_pipeline_boottime(void);
/* The end of an event's way: it is given its id, recorded and published. `container`: its key in the recorder, 0: none. */
void bh_pipeline_emit(BhPipeline *p, struct bh_event *e, guint64 container);
/* The beginning of a record's way. `ring`, `end`: where it stands; BH_RING_MAX, 0: it is not from a ring. */
void bh_pipeline_process_record(BhPipeline *p, const struct bh_rec *rec, guint32 len, guint8 ring, guint64 end);

/* An event of the sensor's own. `attributes` may be NULL. */
void bh_pipeline_tell(BhPipeline *p, const char *action, const char *text, const GByteArray *attributes);
void bh_pipeline_tell_number(BhPipeline *p, const char *action, const char *text, const char *key, guint64 n);
/* Tells what the kernel counted, and notes it as told when it is in the recorder; a disk that is slow must not hold up the rings for it. `all`: at the end. */
void bh_pipeline_tell_counts(BhPipeline *p, gboolean all);
/* Once a second: these counts, what became of the kernel's map of cgroups, of processes that ended unseen, and of the recorder. */
void bh_pipeline_tell_own(BhPipeline *p);
