/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Incidents as they are kept: what the correlation (src/incident) made of findings, and what people said of them. Texts are stored as they are given, cleaned and bounded like all others.
 *
 * The correlation writes rows, members and its place in the change log in one transaction, so that a finding is taken in exactly once whoever is killed when. What people change (assignee,
 * verdict, notes) is in columns of its own, which the correlation never writes. Each change of a row is in the change log.
 *
 * Bounds: BH_STORE_INCIDENTS_MAX rows: beyond, those that ended longest ago go, then the oldest. Threads and errors as in store.h.
 */
#pragma once
#include "store/store.h"
#include "store/store_access.h"

#define BH_STORE_INCIDENTS_MAX 20000
#define BH_STORE_INCIDENT_NOTES_MAX 1000 /* of one */
#define BH_STORE_INCIDENT_NOTE_MAX 4096  /* bytes */

typedef struct {
        guint64 id;
        char *state;    /* "forming", "open", "closed", "merged" */
        guint64 merged_into; /* 0: not */
        guint severity; /* 0 low … 3 critical */
        guint rank;     /* of the worst finding, 0 = emergency */
        guint32 tactics;
        gint64 first_ns, last_ns; /* of the events */
        guint64 findings, dropped;
        char *title, *story;
        char *nodes, *applications, *workloads, *containers; /* JSON arrays: of texts; containers of {"node", "id", "name", "workload", "application"} */
        char *lines;    /* JSON array; "" in lists */
        /* people's; not written by bh_store_incidents_put() */
        char *assignee, *verdict, *closed_by;
        gint64 closed_ns, opened_ns, changed_ns;
} BhStoreIncident;

void bh_store_incident_free(BhStoreIncident *i);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreIncident, bh_store_incident_free)

typedef struct {
        gint64 serial;    /* of the finding */
        guint64 incident;
} BhStoreIncidentMember;

/* ---- the correlation's */

/* Where it was in the change log; 0: never. */
gboolean bh_store_incidents_position(BhStore *s, guint64 *position, GError **error);
/* The largest number that an incident ever had. */
gboolean bh_store_incidents_last(BhStore *s, guint64 *id, GError **error);
/* All or nothing. A row that was closed or merged meanwhile stays so. With merged_into nothing else of the row is written, and its members go along; one that is "forming" and has it is deleted. */
gboolean bh_store_incidents_put(BhStore *s, const BhStoreIncident *rows, guint n, const BhStoreIncidentMember *members, guint n_members, guint64 position, GError **error);
/* The same, for what people decide, with what is to be said of it (not where there are as many comments as may be) and the audit entry. */
typedef struct {
        guint64 incident;
        const char *who, *text;
} BhStoreIncidentSaid;
/* Two that people took apart, which no finding is to merge again, or put together. Of the first kind the latest BH_STORE_INCIDENTS_APART are kept. */
typedef struct {
        guint64 a, b;
        gboolean apart;
} BhStoreIncidentApart;
#define BH_STORE_INCIDENTS_APART 4096
/* `apart` may be NULL. */
gboolean bh_store_incidents_decide(BhStore *s, const BhStoreIncident *rows, guint n, const BhStoreIncidentMember *members, guint n_members, guint64 position, const BhStoreIncidentSaid *said, guint n_said,
                                   const BhStoreIncidentApart *apart, const BhStoreAuditEntry *audit, GError **error);
gboolean bh_store_incidents_apart(BhStore *s, void (*each)(guint64 a, guint64 b, gpointer data), gpointer data, GError **error);
/* Findings of incidents that are forming or open and had one since `since_ns`, or changed since then, in the order in which they came; at most `max`, the latest. */
typedef void (*BhStoreMemberFunc)(const char *finding, guint64 incident, gboolean open, gpointer data);
gboolean bh_store_incidents_members(BhStore *s, gint64 since_ns, guint max, BhStoreMemberFunc func, gpointer data, GError **error);
/* The same of one incident, in whatever state. */
gboolean bh_store_incident_members(BhStore *s, guint64 id, guint max, BhStoreMemberFunc func, gpointer data, GError **error);
/* Whether the incident that this finding is in was closed. */
gboolean bh_store_incident_is_closed(BhStore *s, gint64 serial, gboolean *closed, GError **error);

/* ---- people's */

typedef struct {
        const char *state;      /* NULL: open and closed */
        const char *application, *workload, *container, *node, *assignee, *search;
        guint min_severity;
        gint64 since_ns, until_ns;
} BhStoreIncidentFilter;

/* Rows of BhStoreIncident without `lines`, the latest first; forming ones never. */
BhStorePage *bh_store_incidents(BhStore *s, const BhStoreIncidentFilter *filter, const char *cursor, guint limit, GError **error);
gboolean bh_store_incidents_count(BhStore *s, const BhStoreIncidentFilter *filter, guint64 *count, GError **error);
/* Whole; NOT_FOUND, also for one that is forming. */
BhStoreIncident *bh_store_incident(BhStore *s, guint64 id, GError **error);

typedef struct {
        gint64 id, time_ns;
        char *who, *text;
} BhStoreIncidentNote;

void bh_store_incident_note_free(BhStoreIncidentNote *n);
/* All of them, the oldest first. */
GPtrArray *bh_store_incident_notes(BhStore *s, guint64 id, GError **error);

gboolean bh_store_incident_note(BhStore *s, guint64 id, const char *who, const char *text, const BhStoreAuditEntry *audit, GError **error);
/* "": nobody. */
gboolean bh_store_incident_assign(BhStore *s, guint64 id, const char *assignee, const BhStoreAuditEntry *audit, GError **error);
/* `verdict`: "true_positive", "false_positive", "benign". CONFLICT: it is not open. */
gboolean bh_store_incident_close(BhStore *s, guint64 id, const char *verdict, const char *who, const char *note, const BhStoreAuditEntry *audit, GError **error);
gboolean bh_store_incident_verdict_valid(const char *verdict);
