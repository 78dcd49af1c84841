/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of findings on its own: its lines, and what follows from them. Private to src/incident.
 */
#pragma once
#include "incident/incident.h"

typedef struct {
        guint64 count;        /* with which it was told last */
        BhIncidentLine *line; /* NULL: there was no room for one */
} BhIncidentSerial;

/* What lines weigh together (points.c). */
typedef struct {
        guint32 tactics;
        guint8 of[BH_TACTICS], alone, surprise; /* of each tactic its worst; of lines without one */
        BhAsset asset;
        gboolean escape, host;
} BhIncidentWeight;

void bh_incident_weigh(BhIncidentWeight *w, const BhIncidentLine *l);
void bh_incident_weigh_more(BhIncidentWeight *w, const BhIncidentWeight *more);
BhIncidentPoints bh_incident_weight_points(const BhIncidentWeight *w);

typedef struct {
        BhIncident i;         /* first: what others see */
        GHashTable *by_equal; /* char * → BhIncidentLine * of i.lines */
        GHashTable *serials;  /* gint64 * → BhIncidentSerial * : findings that are in it */
        GHashTable *apart;    /* guint64 * : those that people took from it, or it from */
        guint64 aged_version; /* of it when it was looked at for its age; and when it was first seen so */
        gint64 aged_ns;
        GQueue *own;          /* of char *, keys of files and processes that are its own, the latest first; borrowed (incident.c) */
        BhIncidentWeight dropped; /* the lines for which there was no room: they are judged like the others */
} BhIncidentGroup;

BhIncidentGroup *bh_incident_group_new(guint64 id);
void bh_incident_group_free(BhIncidentGroup *g);
/* Adds, or lets grow what is there. `used`: as in BhIncidentLine, NULL for "". TRUE: a new line. */
gboolean bh_incident_group_add(BhIncidentGroup *g, const BhIncidentFinding *f, BhBasis basis, const char *used);
/* All of `from` goes into `g`; `from` keeps its times and has no lines afterwards. */
void bh_incident_group_take(BhIncidentGroup *g, BhIncidentGroup *from);
/* Lines with these ids (of findings), with all their findings, go into `to`, which is new and gets the state. Returns the serials of the findings: GArray of gint64, NULL: no such line, or no line would be left. */
GArray *bh_incident_group_split(BhIncidentGroup *g, const char *const *ids, BhIncidentGroup *to);
/* A line as it was kept: lets what is there grow, but never beyond what it says. One of before findings without event had an object goes, where they have lines of their own. Takes the line. */
void bh_incident_group_restore(BhIncidentGroup *g, BhIncidentLine *line);

/* The container's lines are worth at least that. FALSE: nothing changed. */
gboolean bh_incident_group_asset(BhIncidentGroup *g, const char *node, const char *container, BhAsset asset);

/* What a person would name the finding's object: "/etc/shadow", "10.0.0.3:5432", "nginx (pid 17)"; without an event the file or the domain that it is about; "" for none. Caller frees. */
char *bh_incident_object(const BhIncidentFinding *f);

/* TRUE: the event leaves the file changed, and it names it. */
gboolean bh_incident_wrote(const struct bh_event *e);

/*
 * *thing: the file, the module, or of SENT a phrase ("at least 12 bytes to 192.0.2.1:443"); "" where it has no name. *origin: where the thing is not in the finding's container but on the node, the name of the
 * container that it came from, else "". Both are freed by the caller, also with NONE.
 */
BhDeed bh_incident_deed(const BhIncidentFinding *f, char **thing, char **origin);
