/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the report: what report.c and requests.c share. */
#pragma once
#include "bus/bus.h"
#include "findings.h"
#include "observe.h"
#include "report.h"

struct BhReport {
        BhReportConfig c; /* strings are in the members below */
        char *recorder_dir, *boot_id;
        char *damage; /* of the spool that was found; NULL: none */
        BhBusPublisher *bus;
        BhFindings *findings;
        BhObserve *observe;
        GThread *worker;

        GMutex lock;
        GCond moved;
        gboolean stopping, urgent; /* urgent: the status is to be told now */
        gboolean soon;             /* a finding is to be told now */
        guint answers;             /* handlers under way */
        GHashTable *resources;     /* char *"source scope" → Told, the newest set of each; under the lock */
        gboolean resources_moved;

        /* the worker's */
        guint64 version;     /* of the container table, told so far */
        guint64 connections;
        gint64 status_us;
        guint64 rest_said;
        gint64 host_us;      /* when the node's addresses were looked at */
        BhResourceSet *host; /* as told */

        /* counted by the worker, read by anybody; under the lock */
        guint64 inventories, full_lists, resource_lists, resource_sets_refused;
};

/* The next round tells the status. */
void bh_report_urgent(BhReport *r);
/* The status as the bus carries it. */
GBytes *bh_report_pack_status(BhReport *r);
void bh_report_serve(BhReport *r);
