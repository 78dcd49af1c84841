/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for connections that may be the use of a credential: of containers in which an open incident read one, to services that such a credential opens (incident/credential.h), by a program that never connected
 * there before the read, with bytes both ways. From the halves of connections in the store, for they are no findings.
 *
 * Each BH_INCIDENT_USES_US, for as long after the read as a connection counts and what the node tells of it may take. Nothing is kept: what was found is found again, also after a restart. BH_INCIDENT_USES_MAX
 * containers, the latest reads; others go and are counted. One thread.
 */
#pragma once
#include "incident_places.h"

#define BH_INCIDENT_USES_MAX 128u
#define BH_INCIDENT_USES_US (3 * G_USEC_PER_SEC)
#define BH_INCIDENT_USES_LATE_NS (120 * G_GINT64_CONSTANT(1000000000))
#define BH_INCIDENT_USES_HALVES 4096u /* of a container, the latest */
#define BH_INCIDENT_USES_FOUND 1024u  /* connections in all */

typedef struct BhIncidentUses BhIncidentUses;

BhIncidentUses *bh_incident_uses_new(void);
/* NULL is allowed. */
void bh_incident_uses_free(BhIncidentUses *u);
/* Takes over where the incident read credentials. Cheap; to be called whenever it grew. */
void bh_incident_uses_of(BhIncidentUses *u, const BhIncident *i);
/* Those whose time has come are looked for; what the store does not give now it gives the next time. */
typedef void (*BhIncidentUseFunc)(const BhIncidentUse *use, gpointer data);
void bh_incident_uses_look(BhIncidentUses *u, BhStore *s, const BhIncidentPlaces *places, BhIncidentUseFunc found, gpointer data);
guint bh_incident_uses_watched(const BhIncidentUses *u);
guint64 bh_incident_uses_dropped(const BhIncidentUses *u);
