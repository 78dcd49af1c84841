/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went over the connections that an incident told of: from the minute in which it began until now, as its nodes counted it, of those that its containers (or, on a node, the programs of its lines) opened.
 * Connections that are open are in it.
 *
 * The first BH_INCIDENT_SENT_CONNECTIONS of them, in BH_INCIDENT_SENT_PLACES containers, and of these the latest BH_INCIDENT_SENT_HALVES that one program each made there: so few that they are looked up by
 * themselves. Reads the store alone.
 */
#pragma once
#include "incident/story.h"
#include "store/store_flows.h"
#include "store/store_incidents.h"

#define BH_INCIDENT_SENT_CONNECTIONS 64u
#define BH_INCIDENT_SENT_PLACES 8u
#define BH_INCIDENT_SENT_HALVES 12u

typedef struct {
        GArray *rows; /* BhStorySent, of whom something went, the most first */
        gint64 since_ns;
        GStringChunk *texts;
} BhIncidentSent;

BhIncidentSent *bh_incident_sent(BhStore *s, const BhStoreIncident *i);
/* NULL is allowed. */
void bh_incident_sent_free(BhIncidentSent *sent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhIncidentSent, bh_incident_sent_free)
