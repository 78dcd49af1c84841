/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of findings on its own: its lines, and what follows from them. Private to src/incident.
 */
#pragma once
#include "incident/incident.h"

typedef struct {
        BhIncident i;         /* first: what others see */
        GHashTable *by_equal; /* char * → BhIncidentLine * of i.lines */
        GHashTable *serials;  /* gint64 * → guint64 * : findings that are in it, and with which count */
        /* of the lines for which there was no room: they are judged like the others */
        guint32 dropped_tactics;
        guint8 dropped_of[BH_TACTICS], dropped_alone;
        gboolean dropped_escape, dropped_host;
} BhIncidentGroup;

BhIncidentGroup *bh_incident_group_new(guint64 id);
void bh_incident_group_free(BhIncidentGroup *g);
/* Adds, or lets grow what is there. TRUE: a new line. */
gboolean bh_incident_group_add(BhIncidentGroup *g, const BhIncidentFinding *f, BhBasis basis);
/* All of `from` goes into `g`; `from` keeps its times and has no lines afterwards. */
void bh_incident_group_take(BhIncidentGroup *g, BhIncidentGroup *from);

/* What a person would name the finding's object: "/etc/shadow", "10.0.0.3:5432", "nginx (pid 17)"; "" for none. Caller frees. */
char *bh_incident_object(const BhIncidentFinding *f);
