/* SPDX-License-Identifier: Apache-2.0 */
/* From the store's findings to what the correlation takes, and from its incidents to the store's rows. Pure but for parsing; hostile texts are data. */
#pragma once
#include "incident/incident.h"
#include "incident/story.h"
#include "store/store_incidents.h"
#include "store/store_inventory.h"

#define BH_INCIDENT_LINEAGE_MAX 64u
#define BH_INCIDENT_LINES_BYTES (900u << 10) /* of JSON; further lines are counted as dropped */

typedef struct {
        BhIncidentFinding finding; /* points into the rest and into the store's row */
        BhIncidentProcess lineage[BH_INCIDENT_LINEAGE_MAX];
        struct bh_event event;
        GStringChunk *texts;
} BhIncidentInput;

/* `f` must outlive it. */
void bh_incident_input_init(BhIncidentInput *in, const BhStoreFinding *f);
void bh_incident_input_clear(BhIncidentInput *in);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhIncidentInput, bh_incident_input_clear)

/* A row's lines: BhIncidentLine *, in its order. What is no line is passed over. */
GPtrArray *bh_incident_row_read(const char *lines);
/* Gives a row's lines back to the incident. */
void bh_incident_row_lines(const char *lines, BhIncidents *to, guint64 id);
/* Its texts are freed by bh_incident_row_clear(). */
void bh_incident_row(const BhIncident *i, const BhStoryEnd *ends, guint n_ends, BhStoreIncident *out);
void bh_incident_row_clear(BhStoreIncident *row);
