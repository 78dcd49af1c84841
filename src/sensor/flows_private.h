/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the sensor's flows: what flows.c, flows_pack.c, flows_walk.c, flows_unix.c and flows_conntrack.c share. */
#pragma once
#include "datagrams.h"
#include "firstbytes.h"
#include "flows.h"
#include "graph/flow_table.h"
#include "sockets.h"
#include "unixes.h"

typedef struct {
        const char *node, *boot_id;
        gboolean full;
} BhFlowsPacked;

/* *cut_off grows by the flows for which the message had no room; what they had to tell is in its rest. */
GBytes *bh_flows_pack(const BhFlowsPacked *what, const BhFlowCut *cut, gint64 time_ns, guint64 *cut_off);
GBytes *bh_flows_pack_listeners(const BhFlowsPacked *what, const GArray *listeners, guint64 refused, gint64 time_ns);

struct BhFlows {
        BhFlowsConfig c; /* strings are in the members below */
        gboolean mark_gone; /* of the mark that was found: BhFlowMark.gone */
        char *mark, *recorder_dir, *proc_path, *node, *boot_id;
        GThread *worker, *reader;
        int stop_pipe[2];

        GMutex lock; /* the table, and all below up to the next comment */
        GCond moved;
        BhFlowTable *table;
        gboolean soon, stopping;
        guint64 version; /* of the container table */
        guint64 batches, told, cut_off, unsafe, caught_up, walks_failed, conntrack_refused, conntrack_overruns, conntrack_messages;
        char *walk_problem, *conntrack_problem, *protocol_problem, *datagrams_problem, *unix_problem;
        guint64 recognised;
        gboolean conntrack_on;

        guint64 proxies; /* seen when addresses were read last */

        gint64 proxy_us; /* the drain thread's */

        /* the drain thread writes, the worker reads: atomic. A batch goes as far as what is recorded, so that a successor finds the same end */
        guint64 newest_id, recorded_id;

        gint asked; /* pieces with the inspector; atomic */

        /* the worker's */
        BhFirstBytes *first_bytes;
        gint64 looked_us, looking_since_us;
        BhSockets *sockets;
        BhDatagrams *datagrams;
        BhUnixes *unixes;     /* NULL: it is not known what Unix sockets move */
        GArray *unix_waiting; /* BhUnixMoved, of which it is not known yet whose they are … */
        gint64 unix_since_us; /* … and the last of them came then; 0: there are none */
        guint64 connections;
        gint64 walk_us, walk_took_us, cut_us, addresses_us;
        gboolean full_told;
};

/* flows_walk.c: the worker */
void bh_flows_walk(BhFlows *f);
/* The addresses of the node, also where a docker-proxy runs in a network namespace of its own. */
void bh_flows_read_addresses(BhFlows *f);

/* flows_unix.c: the worker, or before it begins and after it has ended, while the pipeline is there */
void bh_flows_open_unix(BhFlows *f);
/* What was counted since. `rest`: all, as it is the last time. */
void bh_flows_take_unix(BhFlows *f, gboolean rest);
void bh_flows_close_unix(BhFlows *f);

/* flows_protocol.c: the worker */
void bh_flows_open_protocols(BhFlows *f);
/* Asks for bytes of connections whose protocol is not known: of new ones, or (`walked`) of open ones. */
void bh_flows_look(BhFlows *f, gboolean walked);

/* flows_conntrack.c */
gpointer bh_flows_read_conntrack(gpointer flows);
