/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the correlation (src/incident): reads findings out of the store's change log, from where it was when it was stopped, and keeps what comes of them (store_incidents.h). Whoever is killed
 * when, each finding is taken in once: rows and place are one transaction. A finding is in its incident some milliseconds after it is stored.
 *
 * One thread. What people change goes to the store (api_incidents.c); this learns of it by the change log, in its order.
 */
#pragma once
#include "central.h"
#include "store/store_incidents.h"

#define BH_INCIDENTS_BATCH 256u
#define BH_INCIDENTS_RESTORED 50000u /* findings of open incidents that are read at a start, the latest */
#define BH_INCIDENTS_KNOWN 200000u   /* addresses and names of containers that are remembered */

/* Reads what was open. NULL with an error. */
BhCorrelator *bh_correlator_new(BhCentral *c, GError **error);
/* Ends the thread. NULL is allowed. */
void bh_correlator_free(BhCorrelator *k);
/* The store changed. Quick; any thread. */
void bh_correlator_wake(BhCorrelator *k);
/* "incidents": {…} for the status. */
void bh_correlator_append_json(BhCorrelator *k, GString *out);

/* An incident as JSON, the same in lists and in the stream (incident_view.c). */
void bh_view_incident(GString *out, const char *key, const BhStoreIncident *i);
/* With timeline, comments, and what became of its containers. */
void bh_view_incident_whole(BhStore *s, GString *out, const BhStoreIncident *i, GPtrArray *notes);
