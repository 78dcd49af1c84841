/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether programs that an incident planted run now: its nodes are asked for the processes of the containers that they were planted in, and of those that came from there, known by the path of what they run.
 *
 * The first BH_INCIDENT_PROGRAMS planted files, in BH_INCIDENT_PROGRAMS_PLACES containers and nodes, all asked at once, and waited for BH_INCIDENT_PROGRAMS_S at most, as one of the BH_ASK_QUERIES
 * (ask.h) that there are at a time: beyond, nobody is asked, and it is not known. Of a file of which nobody told that it ran,
 * only that it runs is said; that one has ended is said only where its node answered, in full, and its container goes on.
 */
#pragma once
#include "central.h"
#include "incident/story.h"
#include "store/store_incidents.h"

#define BH_INCIDENT_PROGRAMS 16u
#define BH_INCIDENT_PROGRAMS_PLACES 6u
#define BH_INCIDENT_PROGRAMS_S 2u
#define BH_INCIDENT_PROGRAMS_PROCESSES 5000u /* of a place; where there are more, it is not known who is not among them */

typedef struct {
        GArray *rows; /* BhStoryProgram */
        GStringChunk *texts;
} BhIncidentPrograms;

BhIncidentPrograms *bh_incident_programs(BhCentral *c, const BhStoreIncident *i);
/* NULL is allowed. */
void bh_incident_programs_free(BhIncidentPrograms *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhIncidentPrograms, bh_incident_programs_free)
