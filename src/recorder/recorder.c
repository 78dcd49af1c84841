/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The appender's side and the worker. One mutex guards everything but the store, the encoders and the block in the worker's
 * hands; it is held for a memcpy by the appender and for pointer swaps by the worker, never over a system call.
 *
 * Order: the queue holds closed blocks, `current` is younger than all of them, and the worker takes `current` only when the queue
 * is empty. Ticks number the appends and marks; a block carries the tick of its last one, and `settled_tick` is that of the
 * last block that was written or given up, which is what bh_recorder_flush() waits for.
 */
#include "recorder/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "recorder/segments.h"

#define POOL_BLOCKS 4u
#define HOUSEKEEPING_MS 1000u

typedef struct Block {
        guint8 *data;
        guint32 used, room, count;
        guint32 mark_len, mark_used, mark_count; /* of used and count, what the mark covers */
        guint64 tick, mark_tick;
        guint64 first_ms, closed_ms; /* monotonic */
        guint64 lost_before;
        guint8 mark[BH_RECORDER_MARK_MAX];
} Block;

struct BhRecorder {
        /* worker only, after open */
        BhSegments store;
        BhBlockEncoder enc, tail;
        guint64 dropped_here; /* records given up since the last block that was written */
        guint64 next_sync_ms, next_housekeeping_ms;

        /* constant */
        BhRecorderLimits limits;
        guint32 max_record;
        pthread_t thread;

        pthread_mutex_t lock;
        pthread_cond_t work, space, settled;

        /* under the lock */
        Block **queue; /* ring of limits.queue_blocks */
        guint32 queue_at, queued;
        guint64 queued_bytes;
        Block *pool[POOL_BLOCKS];
        guint32 pooled;
        Block *current;
        guint64 tick, settled_tick, close_tick, sync_tick, synced_tick;
        int sync_err;
        gboolean stop, worker_waits, stalled;
        guint32 given_len, durable_len;
        guint8 given[BH_RECORDER_MARK_MAX], durable[BH_RECORDER_MARK_MAX];
        guint64 lost_pending; /* refused by append since the last block began */
        guint64 next_retry_ms;
        BhRecorderStats stats;
};

void bh_recorder_limits_init(BhRecorderLimits *limits) {
        *limits = (BhRecorderLimits) {
                .max_bytes = G_GUINT64_CONSTANT(4) << 30,
                .max_age_s = 7 * 86400,
                .segment_bytes = 64u << 20,
                .block_bytes = 256u << 10,
                .flush_ms = 100,
                .queue_blocks = 64,
                .wait_ms = 100,
                .hold_ms = 1000,
                .retry_ms = 250,
                .sync_s = 5,
                .reserve_bytes = 256u << 20,
                .keep_bytes = 1u << 30,
                .level = 1,
                .schema = 1,
        };
}

const char *bh_recorder_lost_name(BhRecorderLost reason) {
        static const char *const names[] = { "queue-full", "disk-full", "io-error", "too-large" };

        return (guint) reason < G_N_ELEMENTS(names) ? names[reason] : "unknown";
}

const char *bh_recorder_state_name(BhRecorderState state) {
        static const char *const names[] = { "ok", "disk-full", "io-error" };

        return (guint) state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}

static guint64 now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t); /* the one that waiting goes by: a coarse one lags by up to a tick, and the waiter would spin through it */
        return (guint64) t.tv_sec * 1000 + (guint64) t.tv_nsec / 1000000;
}

/* Waits on `cond` until it is signalled or `until_ms` has come. */
static void wait_until(BhRecorder *r, pthread_cond_t *cond, guint64 until_ms) {
        struct timespec t = { .tv_sec = (time_t) (until_ms / 1000), .tv_nsec = (long) (until_ms % 1000) * 1000000 };

        pthread_cond_timedwait(cond, &r->lock, &t);
}

/* ---- blocks (under the lock) */

static Block *block_new(BhRecorder *r, guint32 room) {
        Block *b;

        if (room <= r->limits.block_bytes && r->pooled) {
                b = r->pool[--r->pooled];
        } else {
                b = g_new0(Block, 1);
                b->room = MAX(room, r->limits.block_bytes);
                b->data = g_malloc(b->room);
        }
        b->used = b->count = b->mark_len = b->mark_used = b->mark_count = 0;
        b->lost_before = r->lost_pending;
        r->lost_pending = 0;
        b->first_ms = now_ms();
        return b;
}

static void block_free(Block *b) {
        if (b)
                g_free(b->data);
        g_free(b);
}

static void block_recycle(BhRecorder *r, Block *b) {
        if (b->room == r->limits.block_bytes && r->pooled < POOL_BLOCKS)
                r->pool[r->pooled++] = b;
        else
                block_free(b);
}

static void wake_worker(BhRecorder *r) {
        if (r->worker_waits)
                pthread_cond_signal(&r->work);
}

/*
 * Takes `current` away for writing. What lies behind its mark goes on into a new block if that is little, so that after a crash
 * the log ends at a mark. A block with nothing but records behind the mark goes as it is: nothing waits for a mark twice.
 */
static Block *close_current(BhRecorder *r, gboolean cut) {
        Block *b = g_steal_pointer(&r->current);
        guint32 rest = b->used - b->mark_used;

        b->tick = r->tick;
        b->closed_ms = now_ms();
        if (cut && b->mark_count && rest && rest <= b->room / 4) {
                r->current = block_new(r, rest);
                memcpy(r->current->data, b->data + b->mark_used, rest);
                r->current->used = rest;
                r->current->count = b->count - b->mark_count;
                b->used = b->mark_used;
                b->count = b->mark_count;
                b->tick = b->mark_tick;
        }
        return b;
}

static gboolean queue_has_room(const BhRecorder *r) {
        return r->queued < r->limits.queue_blocks &&
               (!r->queued || r->queued_bytes + r->current->used <= (guint64) r->limits.queue_blocks * r->limits.block_bytes);
}

static void queue_current(BhRecorder *r) {
        Block *b = close_current(r, TRUE);

        r->queue[(r->queue_at + r->queued++) % r->limits.queue_blocks] = b;
        r->queued_bytes += b->used;
        r->stats.queued_blocks_max = MAX(r->stats.queued_blocks_max, r->queued);
        wake_worker(r);
}

static void begin_current(BhRecorder *r, guint32 need) {
        r->current = block_new(r, need);
        wake_worker(r); /* it has a flush time to keep now */
}

static BhRecorderLost state_reason(BhRecorderState state) {
        return state == BH_RECORDER_DISK_FULL ? BH_RECORDER_LOST_DISK_FULL
               : state == BH_RECORDER_IO_ERROR ? BH_RECORDER_LOST_IO_ERROR
                                               : BH_RECORDER_LOST_QUEUE_FULL;
}

static gboolean lose(BhRecorder *r, BhRecorderLost reason) {
        r->stats.lost[reason]++;
        r->lost_pending++;
        pthread_mutex_unlock(&r->lock);
        return FALSE;
}

/* ---- the appender's calls */

gboolean bh_recorder_append(BhRecorder *r, guint64 time_ns, guint64 container, guint64 seq, const void *data, guint32 len) {
        BhRecordHead h = { .len = len, .time_ns = time_ns, .container = container, .seq = seq };
        guint64 deadline = 0;

        pthread_mutex_lock(&r->lock);
        if (len > r->max_record)
                return lose(r, BH_RECORDER_LOST_TOO_LARGE);
        guint32 need = (guint32) sizeof(h) + len;
        for (;;) {
                if (!r->current)
                        begin_current(r, need);
                if (need <= r->current->room - r->current->used)
                        break;
                if (!r->current->used) { /* a block that has only a mark, and a record that wants a larger one */
                        r->current->data = g_realloc(r->current->data, need);
                        r->current->room = need;
                        break;
                }
                if (queue_has_room(r)) {
                        queue_current(r);
                        continue;
                }
                /* One wait for each time that the queue fills up: an appender that waits for every record stands still. */
                guint64 now = now_ms();
                if (!deadline)
                        deadline = now + r->limits.wait_ms;
                if (r->stalled || r->stats.state != BH_RECORDER_OK || now >= deadline) {
                        r->stalled = TRUE;
                        return lose(r, state_reason(r->stats.state));
                }
                wait_until(r, &r->space, deadline);
        }
        Block *b = r->current;
        memcpy(b->data + b->used, &h, sizeof(h));
        if (len)
                memcpy(b->data + b->used + sizeof(h), data, len);
        b->used += need;
        b->count++;
        r->tick++;
        r->stats.appended++;
        pthread_mutex_unlock(&r->lock);
        return TRUE;
}

void bh_recorder_mark(BhRecorder *r, const void *mark, guint32 len) {
        g_return_if_fail(len && len <= BH_RECORDER_MARK_MAX);

        pthread_mutex_lock(&r->lock);
        if (len != r->given_len || memcmp(mark, r->given, len) != 0) {
                memcpy(r->given, mark, len);
                r->given_len = len;
                if (!r->current)
                        begin_current(r, 0);
                Block *b = r->current;
                memcpy(b->mark, mark, len);
                b->mark_len = len;
                b->mark_used = b->used;
                b->mark_count = b->count;
                b->mark_tick = ++r->tick;
        }
        pthread_mutex_unlock(&r->lock);
}

gboolean bh_recorder_durable_mark(BhRecorder *r, void *out, guint32 *len) {
        gboolean any;

        pthread_mutex_lock(&r->lock);
        any = r->durable_len != 0;
        if (any) {
                memcpy(out, r->durable, r->durable_len);
                *len = r->durable_len;
        }
        pthread_mutex_unlock(&r->lock);
        return any;
}

gboolean bh_recorder_flush(BhRecorder *r, gboolean sync) {
        gboolean ok;

        pthread_mutex_lock(&r->lock);
        guint64 tick = r->tick;
        r->close_tick = MAX(r->close_tick, tick);
        if (sync)
                r->sync_tick = MAX(r->sync_tick, tick + 1); /* +1: also when nothing was appended, at least once */
        wake_worker(r);
        while (sync && r->synced_tick < tick + 1)
                pthread_cond_wait(&r->settled, &r->lock);
        ok = r->stats.state == BH_RECORDER_OK && (!sync || !r->sync_err);
        pthread_mutex_unlock(&r->lock);
        return ok;
}

void bh_recorder_stats(BhRecorder *r, BhRecorderStats *out) {
        pthread_mutex_lock(&r->lock);
        r->stats.queued_blocks = r->queued;
        *out = r->stats;
        pthread_mutex_unlock(&r->lock);
}

/* ---- the worker */

/* Under the lock: what the store counts, for bh_recorder_stats(). */
static void publish_store(BhRecorder *r) {
        const BhSegments *s = &r->store;

        r->stats.bytes = s->bytes;
        r->stats.segments = g_queue_get_length((GQueue *) &s->segments) + (s->fd >= 0);
        r->stats.dropped_segments = s->dropped_segments;
        r->stats.dropped_records = s->dropped_records;
        r->stats.dropped_bytes = s->dropped_bytes;
        r->stats.vanished_segments = s->vanished_segments;
        r->stats.sync_errors = s->sync_errors;
        r->stats.clock_distrusted = s->clock_distrusted;
}

/* Under the lock. */
static void degrade(BhRecorder *r, int err) {
        BhRecorderState state = err == ENOSPC || err == EDQUOT ? BH_RECORDER_DISK_FULL : BH_RECORDER_IO_ERROR;

        if (r->stats.state == BH_RECORDER_OK)
                r->stats.degraded_times++;
        r->stats.state = state;
        r->next_retry_ms = now_ms() + r->limits.retry_ms;
        if (state == BH_RECORDER_DISK_FULL)
                g_snprintf(r->stats.problem, sizeof(r->stats.problem), "no room for the flight recorder: %s (or less than %" G_GUINT64_FORMAT
                           " bytes would stay free)", g_strerror(err), r->limits.reserve_bytes);
        else
                g_snprintf(r->stats.problem, sizeof(r->stats.problem), "cannot write the flight recorder: %s", g_strerror(err));
        pthread_cond_broadcast(&r->space); /* an appender must not wait for a disk that is full */
}

/* Writes the block, or gives it up after its time; called and left with the lock held, which is released meanwhile. */
static void settle(BhRecorder *r, Block *b) {
        gboolean packed = FALSE, written = FALSE;
        const BhBlockFixed *head = NULL;

        for (;;) {
                if (r->stats.state == BH_RECORDER_OK || r->stop || now_ms() >= r->next_retry_ms) {
                        guint64 lost_before = b->lost_before + r->dropped_here;

                        pthread_mutex_unlock(&r->lock);
                        if (!packed)
                                bh_block_pack(&r->enc, BH_BLOCK_RECORDS, b->data, b->used, b->count, b->mark, b->mark_len, b->mark_count,
                                              lost_before);
                        packed = TRUE;
                        head = bh_block_encoder_head(&r->enc);
                        int err = bh_segments_write(&r->store, &r->enc, &r->tail);
                        pthread_mutex_lock(&r->lock);
                        if (!err) {
                                written = TRUE;
                                break;
                        }
                        degrade(r, err);
                }
                guint64 now = now_ms();
                if (r->stop || now >= b->closed_ms + r->limits.hold_ms || r->queued * 2 >= r->limits.queue_blocks)
                        break;
                r->worker_waits = TRUE;
                wait_until(r, &r->work, MIN(r->next_retry_ms, b->closed_ms + r->limits.hold_ms));
                r->worker_waits = FALSE;
        }

        if (written) {
                r->stats.state = BH_RECORDER_OK;
                r->dropped_here = 0;
                r->stats.blocks++;
                r->stats.written += b->count;
                r->stats.raw_bytes += b->used;
                r->stats.stored_bytes += r->enc.out_len;
                r->stats.durable_seq = MAX(r->stats.durable_seq, head->max_seq);
        } else {
                r->dropped_here += b->count + b->lost_before;
                r->stats.lost[state_reason(r->stats.state)] += b->count;
        }
        if (b->mark_len) {
                memcpy(r->durable, b->mark, b->mark_len);
                r->durable_len = b->mark_len;
        }
        r->settled_tick = b->tick;
        publish_store(r);
        block_recycle(r, b);
}

/* Under the lock: the next block to write, or NULL if none is due. */
static Block *next_due(BhRecorder *r, guint64 now) {
        if (r->queued) {
                Block *b = r->queue[r->queue_at];

                r->queue_at = (r->queue_at + 1) % r->limits.queue_blocks;
                r->queued--;
                r->queued_bytes -= b->used;
                r->stalled = FALSE;
                pthread_cond_signal(&r->space);
                return b;
        }
        if (!r->current)
                return NULL;
        gboolean asked = r->stop || r->close_tick > r->settled_tick;
        if (!asked && now < r->current->first_ms + r->limits.flush_ms)
                return NULL;
        return close_current(r, !asked);
}

/* Under the lock, released meanwhile: what is due besides blocks. */
static void maintain(BhRecorder *r, guint64 now, gboolean sync) {
        guint64 upto = r->settled_tick;
        gboolean periodic = r->limits.sync_s && now >= r->next_sync_ms;
        int err = 0;

        pthread_mutex_unlock(&r->lock);
        if (sync || periodic) {
                err = bh_segments_sync(&r->store);
                r->next_sync_ms = now + r->limits.sync_s * G_GUINT64_CONSTANT(1000);
        }
        if (now >= r->next_housekeeping_ms) {
                bh_segments_age(&r->store, &r->tail);
                r->next_housekeeping_ms = now + HOUSEKEEPING_MS;
        }
        pthread_mutex_lock(&r->lock);
        if (sync) {
                r->sync_err = err;
                r->synced_tick = upto + 1;
                pthread_cond_broadcast(&r->settled);
        }
        publish_store(r);
}

static void *work(void *arg) {
        BhRecorder *r = arg;

        pthread_mutex_lock(&r->lock);
        for (;;) {
                guint64 now = now_ms();
                Block *b = next_due(r, now);

                if (b)
                        settle(r, b);
                gboolean sync = r->sync_tick > r->synced_tick && r->settled_tick + 1 >= r->sync_tick;
                if (sync || now >= r->next_housekeeping_ms || (r->limits.sync_s && now >= r->next_sync_ms)) {
                        maintain(r, now, sync);
                        continue;
                }
                if (b)
                        continue;
                if (r->stop && !r->current)
                        break;
                guint64 until = r->next_housekeeping_ms;
                if (r->limits.sync_s)
                        until = MIN(until, r->next_sync_ms);
                if (r->current)
                        until = MIN(until, r->current->first_ms + r->limits.flush_ms);
                r->worker_waits = TRUE;
                wait_until(r, &r->work, until);
                r->worker_waits = FALSE;
        }
        pthread_mutex_unlock(&r->lock);
        return NULL;
}

/* ---- life cycle */

BhRecorder *bh_recorder_open(const char *dir, const BhRecorderLimits *limits, BhRecorderRecovery *found, GError **error) {
        BhRecorder *r = g_new0(BhRecorder, 1);
        pthread_condattr_t attr;
        int err;

        bh_block_encoder_init(&r->enc, limits->level);
        bh_block_encoder_init(&r->tail, 3);
        if (!bh_segments_open(&r->store, dir, limits, &r->tail, found, error)) {
                bh_block_encoder_clear(&r->enc);
                bh_block_encoder_clear(&r->tail);
                g_free(r);
                return NULL;
        }
        r->limits = r->store.limits;
        /* A record that could not be stored within the bounds even alone is refused at once. */
        r->max_record = (guint32) MIN(BH_RECORDER_BLOCK_MAX, r->limits.max_bytes / 4) - (guint32) sizeof(BhRecordHead);
        r->queue = g_new0(Block *, r->limits.queue_blocks);
        r->next_housekeeping_ms = now_ms() + HOUSEKEEPING_MS;
        r->next_sync_ms = now_ms() + r->limits.sync_s * G_GUINT64_CONSTANT(1000);
        publish_store(r);

        pthread_mutex_init(&r->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&r->work, &attr);
        pthread_cond_init(&r->space, &attr);
        pthread_cond_init(&r->settled, &attr);
        pthread_condattr_destroy(&attr);
        if ((err = pthread_create(&r->thread, NULL, work, r)) != 0) {
                g_set_error(error, BH_RECORDER_ERROR, BH_RECORDER_ERROR_IO, "cannot start the recorder's thread: %s", g_strerror(err));
                r->stop = TRUE;
                r->thread = pthread_self();
                bh_recorder_free(r);
                return NULL;
        }
        return r;
}

void bh_recorder_free(BhRecorder *r) {
        if (!r)
                return;
        if (!pthread_equal(r->thread, pthread_self())) {
                pthread_mutex_lock(&r->lock);
                r->stop = TRUE;
                pthread_cond_signal(&r->work);
                pthread_mutex_unlock(&r->lock);
                pthread_join(r->thread, NULL);
        }
        bh_segments_clear(&r->store, &r->tail);
        block_free(r->current);
        while (r->pooled)
                block_free(r->pool[--r->pooled]);
        g_free(r->queue);
        bh_block_encoder_clear(&r->enc);
        bh_block_encoder_clear(&r->tail);
        pthread_cond_destroy(&r->work);
        pthread_cond_destroy(&r->space);
        pthread_cond_destroy(&r->settled);
        pthread_mutex_destroy(&r->lock);
        g_free(r);
}
