/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "describe.h"
#include "event/codec.h"
#include "event/select.h"
#include "pipeline_private.h"

#define TICK_US 4000             /* how often the rings are looked at */
#define SETTLE_NS 3000000ull     /* records younger than this may still be followed by older ones */
#define BATCH_MAX 16384u
#define STALL_US 500000
#define ORIGINS_MAX 4096u
#define CLOCK_EVERY 32u

enum message_kind { MESSAGE_WAKE, MESSAGE_RUNTIME, MESSAGE_EVENT, MESSAGE_SAY, MESSAGE_CALL, MESSAGE_FLUSH, MESSAGE_STOP };

typedef struct {
        enum message_kind kind;
        BhRuntimeEvent *runtime;
        struct bh_event *event;
        guint64 start;
        char *action, *text;
        GByteArray *attributes;
        void (*call)(gpointer data);
        gpointer data;
        gboolean *done; /* of a call or a flush */
} Message;

guint64 bh_pipeline_boottime(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

/* The wall clock may be set: the offset follows it, once a second. */
static guint64 wall_offset(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec - bh_pipeline_boottime();
}

/* ---- end of the way: recorder and listeners ---- */

void bh_pipeline_emit(BhPipeline *p, struct bh_event *e, guint64 container) {
        BH_SET(e, id, p->next_id++);
        BH_SET(e, node, ((struct bh_str){ p->c.node, (guint32) strlen(p->c.node) }));
        g_byte_array_set_size(p->wire, 0);
        bh_event_encode(e, p->wire);
        if (e->type >= BH_EV_KERNEL_MAX || bh_kinds_has(&p->c.recorded, e->type))
                bh_recorder_append(p->c.recorder, e->time, container, e->id, p->wire->data, p->wire->len);
        bh_feed_publish(p->c.feed, e, p->wire->data, p->wire->len, p->c.lineage);
        if (p->c.seen)
                p->c.seen(e, p->wire->data, p->wire->len, p->c.lineage, p->c.data);
        p->stats.events++;
        p->stats.last_event_ns = e->time;
}

/* The record that ended at `end`, and all before it in that ring, are in the recorder. */
static void done(BhPipeline *p, guint8 ring, guint64 end) {
        /* while resuming, what is skipped lies before what the mark says already: a sensor killed now must not leave a mark that takes that back */
        if (ring >= BH_RING_MAX || end <= p->mark.safe[ring])
                return;
        p->mark.safe[ring] = end;
        bh_recorder_mark(p->c.recorder, &p->mark, sizeof(p->mark));
}

/* ---- container ---- */

static void set_origin(BhPipeline *p, struct bh_event *e, guint64 origin) {
        BhContainer *c = g_hash_table_lookup(p->origins, &origin);
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(p->c.containers, origin, &l);
        if (l.container && l.container != c && (g_hash_table_size(p->origins) < ORIGINS_MAX || c)) {
                g_hash_table_replace(p->origins, g_memdup2(&origin, sizeof(origin)), bh_container_ref(l.container));
                c = l.container;
        } else if (l.container) {
                c = l.container;
        }
        if (c)
                bh_describe_origin(e, c);
}

static gboolean wants_labels(guint32 type) {
        return type == BH_EV_EXEC || type == BH_EV_PROCESS || type == BH_EV_CONTAINER;
}

static gboolean under_pressure(BhPipeline *p) {
        for (guint i = 0; i < BH_RING_MAX; i++)
                if (bh_ring_used(p->rings[i]) > bh_ring_size(p->rings[i]) / 2)
                        return TRUE;
        return FALSE;
}

/* TRUE if the event may go on: its container is described, or nobody will describe it, or it waited long enough. */
static gboolean ready(BhPipeline *p, guint64 cgroup, const BhContainerLookup *l, gint64 since_us, gint64 now_us) {
        if (!l->is_container && !l->undecided)
                return TRUE;
        if (l->described || !g_atomic_int_get(&p->runtime_expected) || g_hash_table_contains(p->given_up, &cgroup))
                return TRUE;
        if (!p->stopping && now_us - since_us < BH_PIPELINE_WAIT_MS * 1000 && !under_pressure(p))
                return FALSE;
        if (l->is_container)
                g_hash_table_add(p->given_up, g_memdup2(&cgroup, sizeof(cgroup)));
        return TRUE;
}

static guint64 container_hash(const BhContainer *c) {
        return c ? bh_container_key(c->id, strlen(c->id)) : 0;
}

/* The container of the process that was acted on: an act that leaves its container is another one than an act inside of it. *l keeps the text. */
static void set_target(BhPipeline *p, struct bh_event *e, BhContainerLookup *l) {
        const struct bh_lineage *all = p->c.lineage;
        struct bh_lineage_process target;

        if (!all || !all->find(all->data, e->target_pid, bh_event_has(e, BH_F_target_start) ? e->target_start : 0, &target))
                return;
        bh_container_table_lookup(p->c.containers, target.cgroup, l);
        if (l->container)
                BH_SET_STR(e, target_container_id, l->container->id);
}

static void finish(BhPipeline *p, struct bh_event *e, const BhContainerLookup *l, guint64 origin, gboolean labels, BhInspection *x) {
        g_auto(BhContainerLookup) target = { 0 };

        if (l->container)
                bh_describe_container(e, l->container, labels ? p->labels : NULL);
        if (bh_event_has(e, BH_F_target_pid))
                set_target(p, e, &target);
        if (l->is_container && !l->described && g_atomic_int_get(&p->runtime_expected)) {
                BH_SET(e, flags, e->flags | BH_RF_NO_METADATA);
                p->stats.released_unready++;
        }
        if (origin)
                set_origin(p, e, origin);
        if (p->c.inspector)
                bh_inspector_finish(p->c.inspector, x, e, l->container, p->now_us);
        if (x->web)
                bh_web_watch_finish(p->c.web, x->web, e, p->c.lineage);
        bh_pipeline_emit(p, e, container_hash(l->container));
        bh_inspection_clear(x);
        g_clear_pointer(&x->web, bh_web_ticket_free);
}

/* TRUE if nothing that was asked of the inspector is worth waiting for any longer. */
static gboolean inspected(BhPipeline *p, const BhInspection *x, gint64 since_us, gint64 now_us) {
        if ((!x->dns && !x->names && !x->web) || p->hurry || under_pressure(p))
                return TRUE;
        if (x->web && now_us - since_us < BH_WEB_JOIN_MS * 1000 && !bh_web_watch_ready(p->c.web, x->web))
                return FALSE;
        return (!x->dns && !x->names) || bh_inspector_ready(p->c.inspector, x, since_us, now_us);
}

static void release_waiting(BhPipeline *p) {
        gint64 now_us = p->now_us = g_get_monotonic_time();

        if (p->c.inspector)
                bh_inspector_poll(p->c.inspector);
        if (p->c.web)
                bh_web_watch_round(p->c.web, p->c.lineage, now_us);
        if (p->c.suspects)
                bh_suspects_round(p->c.suspects, now_us);
        for (Waiting *w; (w = g_queue_peek_head(&p->waiting)); ) {
                g_auto(BhContainerLookup) l = { 0 };

                bh_container_table_lookup(p->c.containers, w->cgroup, &l);
                if (!ready(p, w->cgroup, &l, w->since_us, now_us) || !inspected(p, &w->inspection, w->since_us, now_us))
                        return;
                finish(p, w->event, &l, w->origin, w->labels, &w->inspection);
                done(p, w->ring, w->end);
                g_queue_pop_head(&p->waiting);
                g_free(w->event);
                g_free(w);
        }
}

/* The end: what waits gets the time that the inspector may take, and no more. */
static void release_all(BhPipeline *p) {
        gint64 until = g_get_monotonic_time() + BH_INSPECTOR_DNS_MS * 1000;

        for (release_waiting(p); p->waiting.length && g_get_monotonic_time() < until; release_waiting(p))
                g_usleep(1000);
        p->hurry = TRUE;
        release_waiting(p);
}

/* The container half of an event's way. `e` points into the record or into memory that is good during the call. */
static void place(BhPipeline *p, struct bh_event *e, guint64 cgroup, guint64 origin, guint8 ring, guint64 end) {
        g_auto(BhContainerLookup) l = { 0 };
        gint64 now_us = p->now_us;
        gboolean labels = wants_labels(e->type);
        BhInspection x = { 0 };

        bh_container_table_lookup(p->c.containers, cgroup, &l);
        if (p->c.inspector)
                x = bh_inspector_begin(p->c.inspector, e, l.container, l.undecided, now_us);
        if (p->c.web && l.is_container)
                x.web = bh_web_watch_event(p->c.web, e);
        if (p->c.tls && l.container)
                bh_tls_watch_event(p->c.tls, e, l.container);
        if (!p->waiting.length && ready(p, cgroup, &l, now_us, now_us) && inspected(p, &x, now_us, now_us)) {
                finish(p, e, &l, origin, labels, &x);
                done(p, ring, end);
                return;
        }

        Waiting *w = g_new0(Waiting, 1);
        w->event = bh_event_copy(e);
        w->cgroup = cgroup;
        w->origin = origin;
        w->ring = ring;
        w->end = end;
        w->since_us = now_us;
        w->labels = labels;
        w->inspection = x;
        g_queue_push_tail(&p->waiting, w);
        p->stats.waited++;
}

/* ---- kernel records ---- */

static void cgroup_created(BhPipeline *p, const struct bh_event *e) {
        if (!bh_event_has(e, BH_F_cgroup_path))
                return;

        g_autofree char *path = g_strndup(e->cgroup_path.p, e->cgroup_path.len);

        bh_container_table_bind(p->c.containers, e->target_cgroup, path, g_get_monotonic_time());
        bh_cgroups_made(p->c.cgroups, e->target_cgroup);
}

static void cgroup_removed(BhPipeline *p, const struct bh_event *e) {
        bh_container_table_unbind(p->c.containers, e->target_cgroup, g_get_monotonic_time());
        bh_account_cgroup_gone(p->account, e->target_cgroup);
        g_hash_table_remove(p->given_up, &e->target_cgroup);
        bh_cgroups_removed(p->c.cgroups, e->target_cgroup);
        if (p->c.cgroup_gone)
                p->c.cgroup_gone(e->target_cgroup, p->c.data);
}

void bh_pipeline_process_record(BhPipeline *p, const struct bh_rec *rec, guint32 len, guint8 ring, guint64 end) {
        struct bh_decoded d;
        g_autoptr(GError) error = NULL;

        if (!bh_record_decode(rec, len, &p->c.clock, &d, &error)) {
                if (!p->stats.undecodable++)
                        bh_warn("a kernel record was refused", "error", error->message);
                done(p, ring, end);
                return;
        }

        struct bh_event *e = &d.event;
        switch (e->type) {
        case BH_EV_CGROUP_CREATE:
                cgroup_created(p, e);
                break;
        case BH_EV_CGROUP_REMOVE:
                cgroup_removed(p, e);
                break;
        default:
                break;
        }
        bh_process_update(p->c.processes, &d);
        bh_process_enrich(p->c.processes, &d);
        if (p->c.early)
                p->c.early(&d, rec->cgroup, p->c.data);

        /* cgroup events are of the runtime's process; they belong to the container whose cgroup it is */
        gboolean of_cgroup = e->type == BH_EV_CGROUP_CREATE || e->type == BH_EV_CGROUP_REMOVE || e->type == BH_EV_CGROUP_ATTACH;
        place(p, e, of_cgroup ? e->target_cgroup : rec->cgroup, d.origin, ring, end);
}

/* Told by another part of the sensor, in the order in which it came here. */
static void foreign_event(BhPipeline *p, const struct bh_event *e, guint64 start) {
        g_autofree struct bh_decoded *d = g_new0(struct bh_decoded, 1);

        g_atomic_int_add(&p->foreign, -1);
        d->event = *e;
        d->start = start;
        BH_SET(&d->event, time, e->boottime + p->c.clock.now);
        bh_process_enrich(p->c.processes, d);
        place(p, &d->event, e->cgroup, d->origin, BH_RING_MAX, 0);
}

/* The recorder has it; the tables need it all the same. */
static void skip(BhPipeline *p, const Item *item, guint8 ring) {
        struct bh_decoded d;

        if (bh_record_decode(item->rec, item->len, &p->c.clock, &d, NULL)) {
                if (d.event.type == BH_EV_CGROUP_CREATE)
                        cgroup_created(p, &d.event);
                else if (d.event.type == BH_EV_CGROUP_REMOVE)
                        cgroup_removed(p, &d.event);
                bh_process_update(p->c.processes, &d);
        }
        p->stats.skipped++;
        done(p, ring, item->end);
}

/*
 * Takes what is older than `limit`, always from the ring whose next record is the oldest. Within a ring the order is the kernel's: records of two
 * CPUs may stand there some microseconds out of order, but never a cause behind its effect. Returns how many records were taken.
 */
static guint drain(BhPipeline *p, guint64 limit) {
        guint taken = 0;

        for (guint8 i = 0; i < BH_RING_MAX; i++)
                p->stats.high_water[i] = MAX(p->stats.high_water[i], bh_ring_used(p->rings[i]));
        for (; taken < BATCH_MAX; taken++) {
                guint8 next = BH_RING_MAX;

                for (guint8 i = 0; i < BH_RING_MAX; i++) {
                        Item *h = &p->head[i];

                        if (!h->rec && !(h->rec = bh_ring_next(p->rings[i], &h->end, &h->len)))
                                continue;
                        if (next == BH_RING_MAX || h->rec->ts < p->head[next].rec->ts)
                                next = i;
                }
                if (next == BH_RING_MAX || p->head[next].rec->ts > limit)
                        break;

                if (taken % CLOCK_EVERY == 0)
                        p->now_us = g_get_monotonic_time();

                Item item = p->head[next];
                p->head[next].rec = NULL;
                p->stats.read[next]++;
                if (p->resuming && item.end <= p->resume.safe[next]) {
                        skip(p, &item, next);
                        continue;
                }
                bh_account_received(p->account, item.rec, item.len);
                bh_pipeline_process_record(p, item.rec, item.len, next, item.end);
        }
        return taken;
}

static void release_rings(BhPipeline *p) {
        guint8 raw[BH_RECORDER_MARK_MAX];
        struct mark durable;
        guint32 len;

        if (!bh_recorder_durable_mark(p->c.recorder, raw, &len) || len != sizeof(durable))
                return;
        memcpy(&durable, raw, sizeof(durable));
        if (durable.epoch != p->mark.epoch)
                return;
        for (guint i = 0; i < BH_RING_MAX; i++)
                bh_ring_release(p->rings[i], durable.safe[i]);
}

/* ---- events that are not the kernel's ---- */

static void runtime_event(BhPipeline *p, const BhRuntimeEvent *ev) {
        struct bh_event e;
        g_autoptr(GByteArray) attributes = g_byte_array_new();

        bh_describe_begin(&e, BH_EV_CONTAINER, BH_SOURCE_RUNTIME, (guint64) ev->time_ns, p->c.clock.now);
        bh_describe_runtime(&e, ev, attributes);
        if (ev->container)
                bh_describe_container(&e, ev->container, p->labels);
        bh_pipeline_emit(p, &e, container_hash(ev->container));
}

static void found_process(struct bh_decoded *d, gpointer data) {
        BhPipeline *p = data;

        place(p, &d->event, d->event.cgroup, d->origin, BH_RING_MAX, 0);
}

/* ---- the thread ---- */

static void message_free(Message *m) {
        g_clear_pointer(&m->runtime, bh_runtime_event_unref);
        g_clear_pointer(&m->attributes, g_byte_array_unref);
        g_free(m->event);
        g_free(m->action);
        g_free(m->text);
        g_free(m);
}

static void answered(BhPipeline *p, Message *m) {
        g_mutex_lock(&p->lock);
        *m->done = TRUE;
        g_cond_broadcast(&p->flushed);
        g_mutex_unlock(&p->lock);
}

static void handle(BhPipeline *p, Message *m) {
        switch (m->kind) {
        case MESSAGE_RUNTIME:
                runtime_event(p, m->runtime);
                break;
        case MESSAGE_EVENT:
                foreign_event(p, m->event, m->start);
                break;
        case MESSAGE_SAY:
                bh_pipeline_tell(p, m->action, m->text, m->attributes);
                break;
        case MESSAGE_FLUSH: {
                /* what was sent before the request is in the rings; records settle within SETTLE_NS */
                guint64 asked = bh_pipeline_boottime();

                while (bh_pipeline_boottime() < asked + SETTLE_NS)
                        g_usleep(500);
                /* not what comes after: a flood would not let this end; but it must not fill the rings meanwhile either */
                while (drain(p, asked))
                        release_rings(p);
                for (gint64 since_us = g_get_monotonic_time(); p->waiting.length && ((Waiting *) p->waiting.head->data)->since_us <= since_us; g_usleep(1000)) {
                        release_waiting(p);
                        release_rings(p);
                        drain(p, bh_pipeline_boottime() - SETTLE_NS);
                }
                answered(p, m);
                break;
        }
        case MESSAGE_CALL:
                m->call(m->data);
                answered(p, m);
                break;
        case MESSAGE_STOP:
                p->stopping = TRUE;
                break;
        case MESSAGE_WAKE:
                break;
        }
        message_free(m);
}

static void stats_now(BhPipeline *p) {
        BhPipelineStats s = p->stats;

        bh_process_table_stats(p->c.processes, &s.processes);
        for (guint i = 0; i < BH_RING_MAX; i++) {
                s.bytes_used[i] = bh_ring_used(p->rings[i]);
                s.bytes_size[i] = bh_ring_size(p->rings[i]);
        }
        g_mutex_lock(&p->lock);
        p->stats = s;
        g_mutex_unlock(&p->lock);
}

static void each_second(BhPipeline *p) {
        p->c.clock.now = wall_offset();
        bh_hooks_config(p->c.hooks)->heartbeat = bh_pipeline_boottime();
        bh_pipeline_tell_own(p);
        bh_process_sweep(p->c.processes, bh_pipeline_boottime());
        bh_container_table_expire(p->c.containers, g_get_monotonic_time());
        stats_now(p);
}

static gpointer run(gpointer data) {
        BhPipeline *p = data;
        gint64 last_us, second_us = 0, recheck_us = 0;

        p->now_us = g_get_monotonic_time();
        if (p->scan_since) {
                bh_process_scan(p->c.processes, p->scan_since, found_process, p, &p->scan_error);
        }
        each_second(p); /* so that who asks for the status at once sees counts */
        g_mutex_lock(&p->lock);
        p->scan_done = 1;
        g_cond_broadcast(&p->flushed);
        g_mutex_unlock(&p->lock);

        last_us = g_get_monotonic_time();
        while (!p->stopping) {
                gint64 now_us = p->now_us = g_get_monotonic_time();

                if (now_us - last_us > STALL_US) {
                        p->stats.stalls++;
                        bh_pipeline_tell_number(p, "was_stopped", "the sensor did not run for a while (stopped, starved or suspended); events waited in the kernel", "milliseconds",
                                   (guint64) (now_us - last_us) / 1000);
                }
                last_us = now_us;

                guint taken = drain(p, bh_pipeline_boottime() - SETTLE_NS);
                release_waiting(p);
                release_rings(p);
                if (now_us - second_us >= G_USEC_PER_SEC) {
                        second_us = now_us;
                        each_second(p);
                }
                if (now_us - recheck_us >= 100000) {
                        recheck_us = now_us;
                        if (bh_container_table_recheck(p->c.containers, now_us)) {
                                for (GList *w = p->waiting.head; w; w = w->next)
                                        bh_cgroups_tell(p->c.cgroups, ((Waiting *) w->data)->cgroup);
                        }
                }

                Message *m = taken >= BATCH_MAX / 4 ? g_async_queue_try_pop(p->inbox) : g_async_queue_timeout_pop(p->inbox, TICK_US);
                for (; m; m = g_async_queue_try_pop(p->inbox))
                        handle(p, m);
        }
        while (drain(p, G_MAXUINT64))
                ;
        release_all(p);
        bh_pipeline_tell_counts(p, TRUE);
        release_waiting(p);
        bh_pipeline_tell(p, "stopped", "the sensor was stopped in order", NULL);
        bh_recorder_flush(p->c.recorder, TRUE);
        release_rings(p);
        stats_now(p);
        return NULL;
}

BhPipeline *bh_pipeline_new(const BhPipelineConfig *config, GError **error) {
        static const char *const names[BH_RING_MAX] = { "ring_life", "ring_key", "ring_bulk" };
        g_autoptr(BhPipeline) p = g_new0(BhPipeline, 1);

        p->c = *config;
        p->runtime_expected = config->runtime_expected;
        p->mark.epoch = bh_hooks_epoch(config->hooks);
        g_mutex_init(&p->lock);
        g_cond_init(&p->flushed);
        g_queue_init(&p->waiting);
        p->given_up = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        p->origins = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify) bh_container_unref);
        p->wire = g_byte_array_new();
        p->labels = g_byte_array_new();
        p->inbox = g_async_queue_new_full((GDestroyNotify) message_free);
        p->account = bh_account_new(config->hooks);
        p->leftovers = bh_leftovers_new(config->hooks, config->proc_path);
        p->next_id = config->found->last_seq + 1;
        if (config->found->mark_len == sizeof(p->resume)) {
                memcpy(&p->resume, config->found->mark, sizeof(p->resume));
                p->resuming = p->resume.epoch == p->mark.epoch;
        }
        for (guint i = 0; i < BH_RING_MAX; i++) {
                p->rings[i] = bh_ring_open(bh_hooks_map(config->hooks, names[i]), names[i], error);
                if (!p->rings[i])
                        return NULL;
                p->mark.safe[i] = MAX(bh_ring_read_position(p->rings[i]), p->resuming ? p->resume.safe[i] : 0);
        }
        return g_steal_pointer(&p);
}

gboolean bh_pipeline_start(BhPipeline *p, guint64 scan_since, GError **error) {
        p->scan_since = scan_since;
        p->thread = g_thread_new("bh-drain", run, p);
        g_mutex_lock(&p->lock);
        while (!p->scan_done)
                g_cond_wait(&p->flushed, &p->lock);
        g_mutex_unlock(&p->lock);
        if (p->scan_error) {
                g_propagate_error(error, g_steal_pointer(&p->scan_error));
                return FALSE;
        }
        return TRUE;
}

static void post(BhPipeline *p, enum message_kind kind, Message *m) {
        m->kind = kind;
        g_async_queue_push(p->inbox, m);
}

void bh_pipeline_stop(BhPipeline *p) {
        if (!p->thread)
                return;
        post(p, MESSAGE_STOP, g_new0(Message, 1));
        g_thread_join(g_steal_pointer(&p->thread));
}

void bh_pipeline_free(BhPipeline *p) {
        if (!p)
                return;
        bh_pipeline_stop(p);
        for (Waiting *w; (w = g_queue_pop_head(&p->waiting)); g_free(w)) {
                bh_inspection_clear(&w->inspection);
                bh_web_ticket_free(w->inspection.web);
                g_free(w->event);
        }
        for (guint i = 0; i < BH_RING_MAX; i++)
                g_clear_pointer(&p->rings[i], bh_ring_free);
        g_hash_table_unref(p->given_up);
        g_hash_table_unref(p->origins);
        g_byte_array_unref(p->wire);
        g_byte_array_unref(p->labels);
        g_async_queue_unref(p->inbox);
        bh_account_free(p->account);
        bh_leftovers_free(p->leftovers);
        g_mutex_clear(&p->lock);
        g_cond_clear(&p->flushed);
        g_free(p);
}

void bh_pipeline_runtime_event(BhPipeline *p, BhRuntimeEvent *ev) {
        Message *m = g_new0(Message, 1);

        m->runtime = bh_runtime_event_ref(ev);
        post(p, MESSAGE_RUNTIME, m);
}

void bh_pipeline_wake(BhPipeline *p) {
        post(p, MESSAGE_WAKE, g_new0(Message, 1));
}

void bh_pipeline_say(BhPipeline *p, const char *action, const char *message, ...) {
        Message *m = g_new0(Message, 1);
        va_list ap;

        m->action = g_strdup(action);
        m->text = g_strdup(message);
        m->attributes = g_byte_array_new();
        va_start(ap, message);
        for (const char *key; (key = va_arg(ap, const char *)); ) {
                const char *value = va_arg(ap, const char *);

                bh_describe_pair(m->attributes, key, value ? value : "");
        }
        va_end(ap);
        post(p, MESSAGE_SAY, m);
}

gboolean bh_pipeline_event(BhPipeline *p, const struct bh_event *e, guint64 start) {
        if (g_atomic_int_add(&p->foreign, 1) >= (gint) BH_PIPELINE_EVENTS) {
                g_atomic_int_add(&p->foreign, -1);
                return FALSE;
        }
        Message *m = g_new0(Message, 1);
        m->event = bh_event_copy(e);
        m->start = start;
        post(p, MESSAGE_EVENT, m);
        return TRUE;
}

/* Posts the message and waits until the drain thread is done with it. */
static void post_and_wait(BhPipeline *p, enum message_kind kind, Message *m) {
        gboolean done = FALSE;

        m->done = &done;
        g_mutex_lock(&p->lock);
        post(p, kind, m);
        while (!done)
                g_cond_wait(&p->flushed, &p->lock);
        g_mutex_unlock(&p->lock);
}

void bh_pipeline_call(BhPipeline *p, void (*call)(gpointer data), gpointer data) {
        Message *m = g_new0(Message, 1);

        m->call = call;
        m->data = data;
        post_and_wait(p, MESSAGE_CALL, m);
}

void bh_pipeline_flush(BhPipeline *p) {
        post_and_wait(p, MESSAGE_FLUSH, g_new0(Message, 1));
        bh_recorder_flush(p->c.recorder, TRUE);
}

void bh_pipeline_stats(BhPipeline *p, BhPipelineStats *out) {
        g_mutex_lock(&p->lock);
        *out = p->stats;
        g_mutex_unlock(&p->lock);
}

void bh_pipeline_runtime_expected(BhPipeline *p, gboolean expected) {
        g_atomic_int_set(&p->runtime_expected, expected);
        bh_pipeline_wake(p);
}

BhAccount *bh_pipeline_account(BhPipeline *p) {
        return p->account;
}
