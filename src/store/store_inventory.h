/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's side of the bus, and what people ask about: containers, workloads, applications, observations, findings, nodes, losses.
 *
 * Ingest. A batch is the messages of one publisher in order. They, what they change in the change log, and the publisher's position are
 * one transaction. Messages at or below the position that is stored are passed over and counted, so a batch that is given twice, or in
 * part twice, counts once. Ingest fails for reasons of the storage only, never for what a message holds: a row without a key is left out
 * and counted in BhStoreStats.refused, a text over its bound is cut and counted in cut_texts. A publisher can therefore not get stuck.
 *
 * Threads, errors, ownership, bounds of texts: store.h.
 */
#pragma once
#include "store/store_evidence.h"
#include "store/store.h"
#include "store/store_flows.h"
#include "store/store_resources.h"
#include "store/store_responses.h"

#define BH_STORE_OBSERVATIONS_PER_WORKLOAD 20000 /* further facts are not kept, but counted: BhStoreWorkload.refused */
#define BH_STORE_OUTPUT_MAX (64 << 10)           /* BhStoreFinding.output */
#define BH_STORE_EVENT_MAX (1 << 20)             /* BhStoreFinding.event; a larger one is left out whole */

/* ---- rows: read (then everything is owned by the row and never NULL), and given to ingest (then everything is borrowed) */

/* A container is named by node and id. */
typedef struct {
        char *node, *id;
#define BH_STORE_C_TEXT char *
#define BH_STORE_C_LIST char *
#define BH_STORE_C_MAP char *
#define BH_STORE_C_BOOL gboolean
#define BH_STORE_C_INT gint64
#define BH_STORE_C_TIME gint64
#define BH_STORE_FIELD(kind, member) BH_STORE_C_##kind member;
#include "store/container.tbl.h"
#undef BH_STORE_FIELD

        /* The store's own; ignored by ingest. */
        gint64 serial;                      /* rising in the order of first appearance */
        gint64 first_seen_ns, last_seen_ns; /* this machine's clock; last_seen: last message about it, or full inventory with it */
        gint64 ended_ns;                    /* 0 while it may run: when it was found exited, dead, removed, or no longer there */
        guint64 change;                     /* out, of ingest: its change-log number, 0 = nothing new */
} BhStoreContainer;

/* What was added up of the exchanges of an observation of kind "http". */
typedef struct {
        guint64 statuses[6]; /* without an answer, 1xx, …, 5xx */
        guint64 request_bytes, response_bytes; /* of bodies */
        guint64 timed, latency_us, latency_max_us; /* how many the sum and the largest are of */
        guint64 beyond; /* parameters beyond the node's bounds */
} BhStoreHttp;

/*
 * A fact about a workload, told once and then with what was added to its count. One row for each (application, workload, image_digest,
 * kind, subject, parent); counts of all nodes and containers add up.
 */
typedef struct {
        char *node, *container_id; /* read: where it was seen last */
        char *workload, *application, *image_digest;
        char *kind;    /* "exec", … */
        char *subject; /* exec: path of the executable */
        char *parent;  /* exec: path of the executable that started it */
        guint64 count; /* given: since the last message about it; read: in total */
        gint64 first_ns, last_ns;
        char *detail;        /* and uid: api/bus.proto. Given, the texts may be NULL */
        char *example, *why; /* of the first; not part of what makes two equal */
        guint32 uid;
        gboolean suspicious;
        const BhStoreHttp *http; /* given: to be added, NULL for none; not read: bh_store_endpoints() */

        gint64 id; /* the store's own */
} BhStoreObservation;

typedef struct {
        char *id; /* unique for ever, e.g. "node-17"; one that is known already is passed over (counted as a duplicate) */
        gint64 time_ns;
        char *rule;
        char *priority; /* emergency, alert, critical, error, warning, notice, informational, debug */
        char *source;
        char *output; /* BH_STORE_OUTPUT_MAX */
        char *node, *container_id, *container_name, *workload, *application;
        char *tags;    /* JSON array */
        char *fields;  /* JSON object: name → value, as Falco's output_fields */
        GBytes *event; /* encoded bulkhead.v1.Event, may be NULL; NULL in lists */

        char *kind;     /* "rule", "sensor", "model" */
        char *hostname; /* of the machine; given NULL: the node */
        char *image;    /* of the container */
        char *description, *advice; /* of the rule: what it means, what to do; "" in lists */
        char *container; /* JSON object: the container as it was then; "" = not known, and in lists */
        char *lineage;   /* JSON array: the process, its parent, …; the same */
        guint64 count;   /* given: how many this stands for (0 = 1); read: in total */
        gint64 last_ns;  /* of the latest of them; given 0: time_ns */
        const char *fold; /* given: what makes it equal to others of its rule, workload and container; NULL = nothing. Not read. */

        gint64 serial, received_ns; /* the store's own */
} BhStoreFinding;

/*
 * Equal findings are one row: rule, kind, source, priority, node, application, workload, container and `fold` are the same, and the later one is
 * within BH_STORE_FOLD_GAP_NS of the times that the row has. The row keeps what the first said (id, event, lineage, …), adds up counts,
 * widens its times, and takes no more once it spans BH_STORE_FOLD_SPAN_NS.
 */
#define BH_STORE_FOLD_GAP_NS (3600 * G_GINT64_CONSTANT(1000000000))
#define BH_STORE_FOLD_SPAN_NS (24 * BH_STORE_FOLD_GAP_NS)

void bh_store_container_free(BhStoreContainer *c);
void bh_store_observation_free(BhStoreObservation *o);
void bh_store_finding_free(BhStoreFinding *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreContainer, bh_store_container_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreObservation, bh_store_observation_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreFinding, bh_store_finding_free)

/* 0 = emergency … 7 = debug; 8 for a name that is none of the eight. */
guint bh_store_priority_rank(const char *priority);

/* ---- ingest */

typedef struct {
        const char *boot_id; /* NULL = not known */
        gboolean full;       /* these are all that the node has: others of it that may still run are set to "removed" */
        BhStoreContainer *containers;
        guint n_containers;
} BhStoreInventory;

typedef struct {
        const char *topic, *reason; /* of the lost messages; short names */
        guint64 count;              /* 0 = not known how many */
        guint64 bytes;
        gint64 first_ns, last_ns;
} BhStoreLoss;

typedef enum {
        BH_STORE_MESSAGE_NONE, /* nothing that this program understands: only the position moves */
        BH_STORE_MESSAGE_INVENTORY,
        BH_STORE_MESSAGE_OBSERVATION,
        BH_STORE_MESSAGE_FINDING,
        BH_STORE_MESSAGE_LOSS,
        BH_STORE_MESSAGE_RESOURCES,
        BH_STORE_MESSAGE_FLOWS,
        BH_STORE_MESSAGE_LISTENERS,
        BH_STORE_MESSAGE_EVIDENCE,
        BH_STORE_MESSAGE_RESPONSE,
} BhStoreMessageKind;

/* One message. Everything it points to is borrowed for the call. `node` of rows inside is ignored: the batch's counts. */
typedef struct {
        guint64 seq; /* rising within a batch; numbers may be left out */
        BhStoreMessageKind kind;
        union {
                BhStoreInventory inventory;
                BhStoreObservation observation;
                BhStoreFinding finding;
                BhStoreLoss loss;
                BhStoreFlows flows; /* to be given to bh_store_flows_clear() afterwards */
                BhStoreListeners listeners;
                BhStoreResourceList resources;
                BhStoreEvidence evidence;
                BhStoreResponse response; /* whole; one that is known is told of again */
        };
        guint64 change; /* out: the last change-log number that it made, 0 = none */
} BhStoreMessage;

/*
 * All durable and the position at messages[n - 1].seq (or where it was, if that was further on), or FALSE and nothing. `publisher` is the
 * publisher's id as text, at most 64 bytes; `node` its node. n may be 0.
 */
gboolean bh_store_ingest(BhStore *s, const char *publisher, const char *node, BhStoreMessage *messages, guint n, GError **error);

/* The last sequence number of the publisher that is durable here; 0 for a new one. */
gboolean bh_store_position(BhStore *s, const char *publisher, guint64 *seq, GError **error);

/* ---- nodes */

typedef struct {
        char *name, *version, *boot_id;
        gboolean up;
        gint64 first_seen_ns, last_seen_ns; /* last_seen: of a message, of its status, or of going up or down */
        char *status;                       /* the sensor's own status, a JSON object; "{}" before the first */
        gint64 status_ns;
        guint64 running, containers;
} BhStoreNode;

void bh_store_node_free(BhStoreNode *n);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreNode, bh_store_node_free)

/* The node came or went. `version` may be NULL = as it was. */
gboolean bh_store_node_set_up(BhStore *s, const char *node, gboolean up, const char *version, GError **error);
/* All down: for the central's start. Writes nothing when they are. */
gboolean bh_store_nodes_set_down(BhStore *s, GError **error);
/*
 * Its status, a last value. Held in memory, and written with the next transaction of whatever kind, or by the first call that is 10 s
 * after the last write: cheap enough for each second. bh_store_node() and bh_store_nodes() show it at once. No change-log row.
 */
gboolean bh_store_node_set_status(BhStore *s, const char *node, const char *json, gint64 time_ns, GError **error);

BhStoreNode *bh_store_node(BhStore *s, const char *name, GError **error); /* BH_STORE_ERROR_NOT_FOUND */
/* GPtrArray of BhStoreNode by name. Not paged: a store has as many nodes as sensors. */
GPtrArray *bh_store_nodes(BhStore *s, GError **error);

/* ---- losses: what never arrived, added up by node, topic and reason */

typedef struct {
        char *node, *topic, *reason;
        guint64 count, bytes, times; /* times: messages that told; those that did not know how many included */
        gint64 first_ns, last_ns;
} BhStoreLossRow;

void bh_store_loss_free(BhStoreLossRow *l);
/* GPtrArray of BhStoreLossRow, the latest first. At most 64 topics and reasons a node; more are added up under topic "other". */
GPtrArray *bh_store_losses(BhStore *s, GError **error);

/* ---- containers */

/* NULL members do not filter; "" is a value ("no application"). */
typedef struct {
        const char *node, *application, *workload, *state;
        const char *image;  /* exactly */
        gboolean living;    /* only those that have not ended */
        const char *search; /* somewhere in name, id, image, workload, application or labels; ASCII letters in either case */
        gint64 since_ns, until_ns; /* existed within: not ended before since_ns, first seen not after until_ns; 0 = no bound */
} BhStoreContainerFilter;

/*
 * Page of BhStoreContainer, those that appeared last first. `filter` and `cursor` may be NULL. BH_STORE_ERROR_INVALID for a cursor that
 * this function did not give.
 */
BhStorePage *bh_store_containers(BhStore *s, const BhStoreContainerFilter *filter, const char *cursor, guint limit, GError **error);

/* How many match, over all pages. */
gboolean bh_store_containers_count(BhStore *s, const BhStoreContainerFilter *filter, guint64 *count, GError **error);

/* Exactly this one. `node` NULL: the newest of that id. BH_STORE_ERROR_NOT_FOUND. */
BhStoreContainer *bh_store_container(BhStore *s, const char *node, const char *id, GError **error);

/*
 * What a person means: a whole id, else the name of one that lives, else the beginning (4 or more characters) of an id, else the name of one
 * that has ended (the newest). BH_STORE_ERROR_NOT_FOUND, _AMBIGUOUS (the message names some).
 */
BhStoreContainer *bh_store_container_find(BhStore *s, const char *text, GError **error);

/* ---- workloads and applications */

typedef struct {
        char *image, *image_digest;
        guint64 running, total;
} BhStoreImage;

typedef struct {
        char *application, *workload;
        GPtrArray *images; /* BhStoreImage, of containers that are still known, most used first, at most 64 */
        guint64 running, containers, nodes;
        guint64 executables;  /* different subjects of "exec" observations */
        guint64 observations; /* rows kept */
        guint64 refused;      /* facts beyond BH_STORE_OBSERVATIONS_PER_WORKLOAD, counted each time they were told */
        guint64 findings;
        gint64 first_seen_ns, last_seen_ns; /* last_seen: something about it changed */
} BhStoreWorkload;

typedef struct {
        char *application; /* "" = what belongs to none */
        guint64 workloads, running, containers, nodes, findings;
        gint64 first_seen_ns, last_seen_ns;
} BhStoreApplication;

void bh_store_workload_free(BhStoreWorkload *w);
void bh_store_application_free(BhStoreApplication *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreWorkload, bh_store_workload_free)

typedef struct {
        const char *application; /* NULL = all */
        const char *node;        /* with a container there */
        const char *search;      /* somewhere in application or workload */
        gboolean living;         /* with a container that runs */
} BhStoreWorkloadFilter;

/* Page of BhStoreWorkload by application and name. */
BhStorePage *bh_store_workloads(BhStore *s, const BhStoreWorkloadFilter *filter, const char *cursor, guint limit, GError **error);
BhStoreWorkload *bh_store_workload(BhStore *s, const char *application, const char *workload, GError **error); /* NOT_FOUND */
/* Page of BhStoreApplication by name. */
BhStorePage *bh_store_applications(BhStore *s, const char *cursor, guint limit, GError **error);

/* ---- observations */

typedef struct {
        const char *application, *workload, *image_digest, *kind, *subject; /* exactly */
        const char *search;        /* somewhere in subject or parent */
        gint64 since_ns, until_ns; /* seen within */
} BhStoreObservationFilter;

/* Page of BhStoreObservation, newest fact first. */
BhStorePage *bh_store_observations(BhStore *s, const BhStoreObservationFilter *filter, const char *cursor, guint limit, GError **error);

/* ---- endpoints (endpoints.c) */

#define BH_STORE_PARAMETERS 128 /* of one endpoint that are listed */

typedef struct {
        char *name, *what; /* "query number, up to 16 bytes" */
        guint64 count;
        gint64 first_ns, last_ns;
} BhStoreParameter;

typedef struct {
        BhStoreObservation *o; /* subject: METHOD /path; detail: server, client; example: of a client, METHOD AUTHORITY/path of the first one */
        BhStoreHttp http;
        GPtrArray *parameters; /* BhStoreParameter */
} BhStoreEndpoint;
void bh_store_endpoint_free(BhStoreEndpoint *e);

/* Page of BhStoreEndpoint, newest first; `kind` and `subject` of the filter are not looked at. `side`: NULL for both. */
BhStorePage *bh_store_endpoints(BhStore *s, const BhStoreObservationFilter *filter, const char *side, const char *cursor, guint limit, GError **error);

/* ---- findings */

typedef struct {
        const char *node, *container_id, *application, *workload, *rule, *kind, *source; /* exactly */
        const char *container; /* what a person means: whole id or name, or the beginning (4 or more characters) of an id */
        const char *rule_glob; /* with * and ?, at most BH_STORE_GLOB_STARS of the first; BH_STORE_ERROR_INVALID beyond */
        const char *tag;       /* one of its tags, exactly */
        guint max_rank;            /* 1 + bh_store_priority_rank() of the least important wanted; 0 = all */
        const char *search;        /* somewhere in rule, output or the container's name */
        gint64 since_ns, until_ns; /* since_ns <= last_ns and time_ns < until_ns */
} BhStoreFindingFilter;

#define BH_STORE_GLOB_STARS 3 /* each may multiply the work by the length of the name */

/*
 * Page of BhStoreFinding, latest last_ns first, without what is only in single ones. One that grows while pages are read moves to the front,
 * before the cursor: the change log tells of it.
 */
BhStorePage *bh_store_findings(BhStore *s, const BhStoreFindingFilter *filter, const char *cursor, guint limit, GError **error);
gboolean bh_store_findings_count(BhStore *s, const BhStoreFindingFilter *filter, guint64 *count, GError **error);
/* How many findings each container has, those without one under the container "". */
typedef void (*BhStoreFindingsFunc)(const char *node, const char *container_id, const char *application, const char *workload, guint64 count, gpointer data);
gboolean bh_store_findings_by_container(BhStore *s, BhStoreFindingsFunc func, gpointer data, GError **error);
BhStoreFinding *bh_store_finding(BhStore *s, const char *id, GError **error); /* with `event`; NOT_FOUND */

/* ---- everything in one look */

typedef struct {
        guint64 nodes, nodes_up, containers, running, workloads, applications, observations, findings, lost;
        guint64 findings_by_rank[9]; /* bh_store_priority_rank() */
} BhStoreOverview;

gboolean bh_store_overview(BhStore *s, BhStoreOverview *out, GError **error);
