/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event's way through the sensor: rings → time order → decode → process table → container table → flight recorder and live listeners.
 *
 * One thread (drain) owns the rings, the process table and the order of events. Records of the three rings are merged by time: what is older than
 * a few milliseconds is complete and is taken in order. An event of a container that no runtime has described yet waits, and all behind
 * it, so that order is kept: at most BH_PIPELINE_WAIT_MS for each container, not at all while the rings are half full; then it goes on marked
 * BH_RF_NO_METADATA.
 *
 * The rings are released only up to what the recorder has written. The mark that the recorder keeps with each block says exactly which records
 * of the rings are in it, so a sensor that takes over goes on without loss and without a double.
 */
#pragma once
#include "account.h"
#include "cgroups.h"
#include "container/runtime_event.h"
#include "container/table.h"
#include "event/record_decode.h"
#include "feed.h"
#include "hooks.h"
#include "inspector.h"
#include "process/table.h"
#include "recorder/recorder.h"
#include "tls_watch.h"
#include "suspects.h"
#include "web_watch.h"

#define BH_PIPELINE_WAIT_MS 1500
#define BH_PIPELINE_EVENTS 4096u /* of bh_pipeline_event(), that wait to be taken */

typedef struct {
        BhHooks *hooks;
        BhContainerTable *containers;
        BhCgroups *cgroups;
        BhProcessTable *processes;
        BhRecorder *recorder;
        BhKinds recorded;     /* of the kernel's kinds, those that the recorder keeps; others are for those who want them (bh_hooks_want()) */
        BhFeed *feed;
        const BhRecorderRecovery *found; /* of the recorder, at open */
        struct bh_clock clock;
        const char *node;
        const char *proc_path; /* processes of the host */
        gboolean runtime_expected; /* a runtime may describe containers: waiting makes sense */
        BhInspector *inspector;    /* NULL: payloads are not read, and ids have no names */
        BhWebWatch *web;           /* NULL: web traffic is not looked at */
        BhSuspects *suspects;      /* NULL: the same, or no evidence is kept */
        BhTlsWatch *tls;           /* NULL: TLS is not looked into */
        void (*cgroup_gone)(guint64 cgroup, gpointer data); /* the drain thread; NULL: nobody wants to know */
        const struct bh_lineage *lineage; /* for whoever is given events; NULL: none */
        /* Each of the kernel's events as soon as it is decoded and its process known, before it waits for anything; the drain thread. NULL: nobody is in such a hurry. */
        void (*early)(const struct bh_decoded *d, guint64 cgroup, gpointer data);
        /* Each event when it is recorded, in order, with its protobuf form; the drain thread. NULL: nobody else wants them. */
        void (*seen)(const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gpointer data);
        gpointer data;
} BhPipelineConfig;

typedef struct {
        guint64 events;          /* recorded */
        guint64 read[BH_RING_MAX], bytes_used[BH_RING_MAX], bytes_size[BH_RING_MAX], high_water[BH_RING_MAX];
        guint64 undecodable;     /* records that were refused; counted, never guessed at */
        guint64 waited, released_unready; /* events that waited for metadata; of these, that went on without */
        guint64 skipped;         /* records that the recorder had already, after a restart */
        guint64 stalls;          /* times that this process did not run for more than half a second */
        guint64 last_event_ns;   /* time of the last event, since the epoch */
        struct bh_process_stats processes;
} BhPipelineStats;

typedef struct BhPipeline BhPipeline;

BhPipeline *bh_pipeline_new(const BhPipelineConfig *config, GError **error);
/* `scan_since`: CLOCK_BOOTTIME ns at which the hooks were in place, 0: no scan. */
gboolean bh_pipeline_start(BhPipeline *p, guint64 scan_since, GError **error);
/* Drains what is in the rings, ends the thread. */
void bh_pipeline_stop(BhPipeline *p);
void bh_pipeline_free(BhPipeline *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPipeline, bh_pipeline_free)

/* From any thread. */
void bh_pipeline_runtime_event(BhPipeline *p, BhRuntimeEvent *ev);
void bh_pipeline_wake(BhPipeline *p); /* metadata arrived */
/* Something about the sensor itself, as an event: pairs of strings, NULL-terminated. */
void bh_pipeline_say(BhPipeline *p, const char *action, const char *message, ...) G_GNUC_NULL_TERMINATED;
/* An act of a container's process that is not told by the kernel's rings. `e`: copied; its times CLOCK_BOOTTIME; `start`: of the process, CLOCK_BOOTTIME. FALSE: too many wait. */
gboolean bh_pipeline_event(BhPipeline *p, const struct bh_event *e, guint64 start);
/* Runs `call` in the drain thread, which owns the process table, and waits for it. */
void bh_pipeline_call(BhPipeline *p, void (*call)(gpointer data), gpointer data);
/* Waits until everything that happened before the call is in the recorder and readable. */
void bh_pipeline_flush(BhPipeline *p);
void bh_pipeline_stats(BhPipeline *p, BhPipelineStats *out);
void bh_pipeline_runtime_expected(BhPipeline *p, gboolean expected);
BhAccount *bh_pipeline_account(BhPipeline *p);
