/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went over the connections that an incident told of: since it began until now, as its nodes counted it, of those that its containers (or, on a node, the programs of its lines) opened; the sum of all programs
 * of a container. Connections that are open are in it.
 *
 * The first BH_INCIDENT_SENT_CONNECTIONS of them, in BH_INCIDENT_SENT_PLACES containers; others are counted. What one program of a container moved to one address and port is a half (store_flows.h): of those that began
 * with the incident all count, in total; of those that are older, the BH_INCIDENT_SENT_HALVES with most bytes, from the minute on in which it began (of incidents older than BH_STORE_WINDOW_HOURS, the hour): so few that
 * they are looked up by themselves. A row that something may be missing of says so. Reads the store alone.
 */
#pragma once
#include "incident/story.h"
#include "store/store_flows.h"
#include "store/store_incidents.h"

#define BH_INCIDENT_SENT_CONNECTIONS BH_INCIDENT_LINES_MAX
#define BH_INCIDENT_SENT_PLACES 8u
#define BH_INCIDENT_SENT_HALVES 12u

typedef struct {
        GArray *rows; /* BhStorySent, of whom something went, the most first */
        guint unseen; /* lines of connections that were not looked at */
        gint64 since_ns;
        GStringChunk *texts;
} BhIncidentSent;

BhIncidentSent *bh_incident_sent(BhStore *s, const BhStoreIncident *i);
/* NULL is allowed. */
void bh_incident_sent_free(BhIncidentSent *sent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhIncidentSent, bh_incident_sent_free)
