/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of this node, for the map: folds events, walks over all sockets and the kernel's address translations into flows (src/graph/flow_table.h) and
 * tells them.
 *
 *   flow       a FlowBatch each BH_FLOWS_TELL_MS when something changed, and within BH_FLOWS_SOON_MS when there is a flow that was not known
 *   listeners  a ListenerList when it changed, after a walk: each BH_FLOWS_WALK_MS or as configured, and soon after somebody began to listen
 *
 * Exactly once. A batch says from which event's number to which it was counted. Before it is published these bounds are in <data>/flows.mark and the events in the
 * recorder. The successor of a killed sensor reads the events from there, makes the same batch again, which whoever has it already leaves out, and goes on behind
 * it. What is not recorded (--events) is not counted either. Flows that are open are told as they are; there is nothing to lose.
 *
 * Threads: events come from the drain thread, which takes one lock that nobody holds for long; repeats allocate nothing. A worker ("bh-flows") walks and tells,
 * another ("bh-conntrack") reads netlink.
 *
 * Life: open_conntrack (with CAP_NET_ADMIN, before privileges are dropped), new, catch_up (containers are known, no events yet), start, events; settle (before the
 * pipeline ends: no call into it afterwards), free (tells the rest).
 */
#pragma once
#include <jansson.h>

#include "container/table.h"
#include "event/record_decode.h"
#include "hooks.h"
#include "inspector.h"
#include "process/table.h"
#include "recorder/recorder.h"
#include "tls_hello.h"

#define BH_FLOWS_TELL_MS 1000
#define BH_FLOWS_SOON_MS 150
#define BH_FLOWS_SETTLE_MS 60   /* a cut waits so long for the other ends of connections */
#define BH_FLOWS_WALK_MS 5000
#define BH_FLOWS_WALK_SOON_MS 1000
#define BH_FLOWS_WALK_MS_MIN 200

/* Sockets of nfnetlink, or why there are none. */
typedef struct {
        int events, listing; /* -1: none */
        char *problem;       /* NULL: none */
} BhConntrackSockets;

/* Strings are copied; what is pointed to must outlive the flows' settling (recorder: their end). */
typedef struct {
        const char *data_dir, *recorder_dir, *proc_path;
        const char *node, *boot_id;
        BhConntrackSockets conntrack; /* taken over */
        BhHooks *hooks;               /* NULL: no walks, no protocols */
        BhInspector *inspector;       /* NULL: no protocols; it ends between settling and the flows' end */
        BhContainerTable *containers;
        BhProcessTable *processes;
        BhRecorder *recorder;
        const BhRecorderRecovery *found;
        BhKinds recorded;
        struct bh_clock clock;
        gboolean after_crash;
        guint walk_ms;                /* 0: BH_FLOWS_WALK_MS */
        void (*publish)(const char *topic, GBytes *body, gpointer data);
        void (*spooled)(gpointer data); /* waits until what was published is safe from a kill, or for a moment */
        guint64 (*connections)(gpointer data); /* how often a central was there anew */
        void (*say)(const char *action, const char *message, const char *container, const char *why, gpointer data); /* an event of the sensor's own */
        void (*call)(void (*what)(gpointer), gpointer arg, gpointer data); /* in the drain thread */
        gpointer data;
} BhFlowsConfig;

typedef struct BhFlows BhFlows;

void bh_flows_open_conntrack(BhConntrackSockets *out);
/* Of those that no flows took over. */
void bh_flows_close_conntrack(BhConntrackSockets *sockets);

BhFlows *bh_flows_new(const BhFlowsConfig *config);
/* What a killed sensor may not have told. */
void bh_flows_catch_up(BhFlows *f);
void bh_flows_start(BhFlows *f);
void bh_flows_settle(BhFlows *f);
/* NULL is allowed. */
void bh_flows_free(BhFlows *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFlows, bh_flows_free)

/* A container's TLS handshake that is over: the inspector reads it, and the flow has its server name, fingerprint and certificate. Above what the inspector takes it is passed over. Any thread, while they are started. */
void bh_flows_handshake(BhFlows *f, const BhTlsHandshake *handshake);

/* The drain thread: each event, in order. */
void bh_flows_event(BhFlows *f, const struct bh_event *e);

/* For the status. New reference; any thread. */
json_t *bh_flows_status(BhFlows *f);
