/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the correlation (src/incident): reads findings out of the store's change log, from where it was when it was stopped, and keeps what comes of them (store_incidents.h). Whoever is killed
 * when, each finding is taken in once: rows and place are one transaction. A finding is in its incident some milliseconds after it is stored.
 *
 * Rows can have 900 KiB: members and place are written with each batch, an incident's row when it is new, gets another stage, severity or state, else at a pace that its size sets (at most 5 s late,
 * 1 s with a new line). After a crash the rows are made again from members.
 *
 * One thread. What people say goes to the store (api_incidents.c); this learns of it by the change log, in its order. To merge and to split is asked of it here.
 */
#pragma once
#include "central.h"
#include "incident_teach.h"
#include "store/store_incidents.h"

#define BH_INCIDENTS_BATCH 256u
#define BH_INCIDENTS_RESTORED 50000u /* findings of open incidents that are read at a start, the latest */
#define BH_INCIDENTS_KNOWN 200000u   /* addresses, and names, of containers that are remembered; beyond, those of containers that are gone are forgotten */

/* Reads what was open. NULL with an error. */
BhCorrelator *bh_correlator_new(BhCentral *c, GError **error);
/* Ends the thread. NULL is allowed. */
void bh_correlator_free(BhCorrelator *k);
/* The store changed. Quick; any thread. */
void bh_correlator_wake(BhCorrelator *k);
/*
 * By hand, with audit entry and a comment on both. From any thread; waits up to 10 s for its turn. The number of the incident that goes on, or of the new one; 0 with an error: NOT_FOUND, CONFLICT (one is
 * not open), INVALID (itself; no line of it, or all), BUSY.
 */
guint64 bh_correlator_merge(BhCorrelator *k, guint64 id, guint64 into, const char *who, const BhStoreAuditEntry *audit, GError **error);
/* `findings`: ids of lines of its timeline, NULL-terminated. */
guint64 bh_correlator_split(BhCorrelator *k, guint64 id, const char *const *findings, const char *who, const BhStoreAuditEntry *audit, GError **error);
/* "incidents": {…} for the status. */
void bh_correlator_append_json(BhCorrelator *k, GString *out);

/* An incident as JSON, the same in lists and in the stream (incident_view.c). */
void bh_view_incident(GString *out, const char *key, const BhStoreIncident *i);
/*
 * As the alert that outputs deliver (notify/alert.h): rule "Incident", source "incident", priority by severity, its id as output_fields "incident.id", count: findings, so that it is told when it is opened, and then as it
 * grows, with what state its containers are in then. What ended has an id of its own, and is told once more. A whole JSON text.
 */
void bh_view_incident_alert(BhStore *s, GString *out, const BhStoreIncident *i);
/* With timeline, comments, what state things are in now (nodes are asked, and waited for: incident_alive.h), and what became of its containers. `taught`: by closing it (incident_teach.h); NULL: it was not closed just now, or taught nothing. */
void bh_view_incident_whole(BhCentral *central, GString *out, const BhStoreIncident *i, GPtrArray *notes, const BhIncidentTaught *taught);
