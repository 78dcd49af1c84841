/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for connections that may be the use of a credential: of containers in which an open incident read one, to services that such a credential opens (incident/credential.h), by a program that never connected
 * there before the read, with bytes both ways: neither to that container nor at that port to one of the same name or workload, as one that was deployed anew is. From the halves of connections in the store, for they are no findings.
 *
 * Each BH_INCIDENT_USES_US, for as long after the read is told as a connection counts and what the node tells of it may take; however long ago it was, for a node that was away tells of both late. Once for each read: an
 * incident that goes on to grow does not begin it again. Nothing is kept: what was found is found again, also after a restart, where only the rest of that time is looked at (BH_INCIDENT_USES_LATE_NS at least).
 * BH_INCIDENT_USES_MAX containers, the latest reads; others go and are counted. Of BH_INCIDENT_USES_ENDED more it is remembered that their time is over. One thread. now_us: monotonic; now_ns: real.
 */
#pragma once
#include "incident_places.h"

#define BH_INCIDENT_USES_MAX 128u
#define BH_INCIDENT_USES_ENDED 4096u
#define BH_INCIDENT_USES_US (3 * G_USEC_PER_SEC)
#define BH_INCIDENT_USES_LATE_NS (120 * G_GINT64_CONSTANT(1000000000))
#define BH_INCIDENT_USES_HALVES 4096u /* of a container, those that began last */
#define BH_INCIDENT_USES_FOUND 1024u  /* connections in all */

typedef struct BhIncidentUses BhIncidentUses;

BhIncidentUses *bh_incident_uses_new(void);
/* NULL is allowed. */
void bh_incident_uses_free(BhIncidentUses *u);
/* Takes over where the incident read credentials. Cheap; to be called whenever it grew. */
void bh_incident_uses_of(BhIncidentUses *u, const BhIncident *i, gint64 now_us);
/* The same of one that was kept, at a start. */
void bh_incident_uses_restore(BhIncidentUses *u, const BhIncident *i, gint64 now_us, gint64 now_ns);
/* Those whose time has come are looked for; what the store does not give now it gives the next time. */
typedef void (*BhIncidentUseFunc)(const BhIncidentUse *use, gpointer data);
void bh_incident_uses_look(BhIncidentUses *u, BhStore *s, const BhIncidentPlaces *places, gint64 now_us, BhIncidentUseFunc found, gpointer data);
guint bh_incident_uses_watched(const BhIncidentUses *u);
guint64 bh_incident_uses_dropped(const BhIncidentUses *u);
