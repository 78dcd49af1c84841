/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sensor tells the central, over the bus: the inventory of containers, observations, findings about itself, its status; and its answers to the
 * central's questions. See src/bus/bus.h for what the bus promises: what is spooled outlives the central, the sensor and the power.
 *
 *   inventory    every description of a container that is published in the table, within BH_REPORT_TICK_MS; several of one container within that are
 *                one. A full list at each start and each time that the central is there anew.
 *   resources    networks, services, images, … : bh_report_resources()
 *   observation  new ones within a second, repeats each 30 s: observe.h
 *   finding      the sensor's own health (findings.h), and what matched rules (alerts.h), the first of equal ones within BH_REPORT_SOON_MS
 *   status       `bulkhead status`, each two seconds, and at once when something is wrong; a last value
 *   requests     events, status, processes, rules; and new rules: requests.c
 *
 * Threads: events come from the drain thread, which never waits here (a mutex for microseconds; a repeat allocates nothing). A worker ("bh-report")
 * does the rest. Requests have threads of the bus's own.
 *
 * Life: new (opens the spool; events may come), start, settle (before what status and processes are asked of goes away; ends the answers), free
 * (tells what is left, closes the spool).
 */
#pragma once
#include <jansson.h>

#include "container/resource.h"
#include "container/table.h"
#include "event/event.h"
#include "feed.h"
#include "observe.h"
#include "ruling.h"

#define BH_REPORT_TICK_MS 200
#define BH_REPORT_SOON_MS 20 /* between two rounds that something urgent asks for */
#define BH_REPORT_STATUS_MS 2000
#define BH_REPORT_SCOPES 64u
#define BH_REPORT_HOST_MS 10000
#define BH_REPORT_CONTAINERS 256u /* taken from the table at a time */

/* Strings are copied; tables, feed and `data` must outlive the report's settling. */
typedef struct {
        const char *address;    /* "unix:/path" of the central's socket */
        const char *spool;      /* path of the file */
        guint64 spool_bytes;    /* its bound; 0: the bus's default */
        const char *node, *version, *recorder_dir;
        BhContainerTable *containers;
        BhFeed *feed;
        BhRuling *ruling; /* NULL: this node evaluates no rules */
        json_t *(*status)(gpointer data); /* new reference */
        BhResourceSet *(*host)(gpointer data); /* the node itself; NULL, or an answer of NULL: not known. New reference */
        void (*flush)(gpointer data);     /* what happened until now is to be readable from the recorder */
        /* One piece after the other of the answer to "processes" (a packed ProcessList); see processes.h. `container` NULL: all. */
        GPtrArray *(*processes)(const char *container, guint limit, gpointer data);
        /* Pieces of the answer to "respond" (packed ResponseResults); NULL: this node carries out no responses. */
        GPtrArray *(*respond)(GBytes *body, gpointer data, GError **error);
        /* A packed PolicySet; FALSE with *error: nothing changed. NULL: this node carries out no responses. */
        gboolean (*policies)(GBytes *body, gpointer data, GError **error);
        /* Something about the sensor, as its event: action, sentence, and one attribute. */
        void (*say)(const char *action, const char *message, const char *key, const char *value, gpointer data);
        /* The findings of all ends of the sensor that were said (bh_report_start()) are spooled: called once, by the worker or by bh_report_free(). */
        void (*ends_told)(gpointer data);
        /* The evidence of this node, verified against these heads; NULL: there is none. New reference. */
        json_t *(*evidence)(const char *heads, gsize len, gpointer data);
        /* "rules_reload": what else is read again with the rules. NULL: nothing */
        gboolean (*reload)(GError **error, gpointer data);
        gpointer data;
} BhReportConfig;

typedef struct BhReport BhReport;

/* NULL with *error: the address is none, or the spool cannot be opened or made. A damaged spool is set aside and said. */
BhReport *bh_report_new(const BhReportConfig *config, GError **error);
/* Starts the threads, which inherit the caller's privileges. `ends`: events with an attribute "end" that were said: when they are safe, ends_told is called. */
void bh_report_start(BhReport *r, guint ends);
/* No question is asked of the rest of the sensor any more when this returns. */
void bh_report_settle(BhReport *r);
/* NULL is allowed. */
void bh_report_free(BhReport *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhReport, bh_report_free)

/* What no event tells of: see bh_observe_act(). Any thread. */
void bh_report_observe(BhReport *r, const BhObservation *what);
/* The drain thread: each event that was recorded, with its protobuf form. */
void bh_report_event(BhReport *r, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage);

/* For others of the sensor that tell something: any thread. The node's name on the bus; the boot's id. */
const char *bh_report_node(const BhReport *r);
const char *bh_report_boot_id(const BhReport *r);
void bh_report_publish(BhReport *r, const char *topic, GBytes *body);
/* Waits, but not for long, until what was published before is spooled. */
void bh_report_spooled(BhReport *r);
/* Until it is; FALSE: not within the time. And the bytes that wait for the central. */
gboolean bh_report_flush(BhReport *r, guint ms);
guint64 bh_report_waiting(BhReport *r);
/* Number of the last message that was published, and up to which the central has said that it stored them (0: not yet known since the start). */
void bh_report_positions(BhReport *r, guint64 *last, guint64 *acknowledged);
/* How often a central was there anew. */
guint64 bh_report_connections(BhReport *r);

/*
 * Any thread: what a runtime knows beside containers, whole for its source and scope, in the place of what was given before. Takes a reference. Told within
 * BH_REPORT_TICK_MS, and again each time that the central is there anew. Beyond BH_REPORT_SCOPES it is refused and counted.
 */
void bh_report_resources(BhReport *r, BhResourceSet *set);

/* For the status: the connection, the spool, what was told. New reference; any thread. */
json_t *bh_report_status(BhReport *r);
