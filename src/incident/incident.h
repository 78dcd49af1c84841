/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Correlation: findings become incidents when one caused the other, by what they have in common.
 *
 *   container   the same container, or a process that came from it (origin) wherever it is now
 *   process     on the node itself: the same process or one below it
 *   file        written by the incident, then run, loaded or read by another
 *   target      a process of another container traced, signalled, or entered
 *   asked       a container that a container of the incident asked the runtime for
 *   credential  as reached, where what opens that service was read in the container from which the connection came, at most BH_INCIDENT_CREDENTIAL_NS before; of connections that no finding told of as well. What was there before the first such connection is not its
 *   reached     a connection that the incident told of led to this container, or this finding's came from the incident; all that began there afterwards, whichever is told first
 *
 * The first five hold for BH_INCIDENT_QUIET_NS after the incident's last finding (a file: after it was written), the last one for BH_INCIDENT_REACHED_NS after the connection, and joins nothing but the later of both
 * ends: two attackers who reach the same database are two. All by the time of the events: a replay gives what the live run gave.
 *
 * A finding below BH_INCIDENT_RANK only joins what is there. One at or above it begins a group, and the group is an incident (open) once it has a finding of BH_INCIDENT_RANK_ALONE or better, or two
 * tactics; until then it is forming, and told to nobody. A finding that ties two groups together merges them: the older one goes on.
 *
 * A process of the node itself that acts on several containers, one after the other (agents, runtimes), does not tie them to each other.
 *
 * Equal findings (rule, container, executable and object) are one line with a count. The object is what a person would name: a file, an address, a domain, another process.
 *
 * Bounds: below. What goes over them is counted (BhIncidentStats), oldest forming groups go first. Not thread-safe: one thread at a time. Nothing here is written to disk: who keeps incidents
 * gives them back with bh_incidents_restore().
 */
#pragma once
#include "event/event.h"
#include "incident/credential.h"
#include "incident/deed.h"

#define BH_INCIDENT_RANK 4u       /* warning, as bh_store_priority_rank() counts */
#define BH_INCIDENT_RANK_ALONE 3u /* error */
#define BH_INCIDENT_QUIET_NS (24 * 3600 * G_GINT64_CONSTANT(1000000000))
#define BH_INCIDENT_REACHED_NS (6 * 3600 * G_GINT64_CONSTANT(1000000000))
#define BH_INCIDENT_CREDENTIAL_NS (3600 * G_GINT64_CONSTANT(1000000000))
#define BH_INCIDENT_CLOCK_NS (3 * G_GINT64_CONSTANT(1000000000)) /* clocks of nodes may be so far apart */

#define BH_INCIDENTS_MAX 4096u    /* open and forming */
#define BH_INCIDENT_LINES_MAX 512u
#define BH_INCIDENT_KEYS_MAX 131072u
#define BH_INCIDENT_OWN_MAX 2048u /* of these, files and processes of one incident: the latest; others go and are counted (keys_dropped) */
#define BH_INCIDENT_SERIALS_MAX 262144u /* findings whose growing is followed, in all; others are counted each time they are told */
#define BH_INCIDENT_TEXT_MAX 512u /* bytes of a line's texts, each */

typedef enum {
#define BH_TACTIC(id, name, title, tag) BH_TACTIC_##id,
#include "incident/stages.tbl.h"
        BH_TACTICS
} BhTactic;

const char *bh_tactic_name(BhTactic t);
const char *bh_tactic_title(BhTactic t);
/* The bit 1 << t of a rule's tag; 0: it is none of the tactics'. */
guint32 bh_tactic_of_tag(const char *tag);

typedef enum {
        BH_BASIS_NONE, /* it began the group */
        BH_BASIS_CONTAINER,
        BH_BASIS_PROCESS,
        BH_BASIS_FILE,
        BH_BASIS_TARGET,
        BH_BASIS_ASKED,
        BH_BASIS_REACHED,
        BH_BASIS_CREDENTIAL,
        BH_BASES
} BhBasis;
/* "container", …; "" for NONE. */
const char *bh_basis_name(BhBasis b);

typedef enum { BH_INCIDENT_FORMING, BH_INCIDENT_OPEN, BH_INCIDENT_CLOSED, BH_INCIDENT_MERGED, BH_INCIDENT_STATES } BhIncidentState;
const char *bh_incident_state_name(BhIncidentState s);

typedef enum { BH_SEVERITY_LOW, BH_SEVERITY_MEDIUM, BH_SEVERITY_HIGH, BH_SEVERITY_CRITICAL, BH_SEVERITIES } BhSeverity;
const char *bh_severity_name(BhSeverity s);

/* What a container is worth to who runs it: its label says so. It raises severity, and never lowers it: who starts a container writes its labels. */
typedef enum { BH_ASSET_NORMAL, BH_ASSET_HIGH, BH_ASSET_CRITICAL, BH_ASSETS } BhAsset;
#define BH_INCIDENT_LABEL_ASSET "bulkhead.asset"
/* "high", "critical"; "" for NORMAL. */
const char *bh_asset_name(BhAsset a);
/* NORMAL for NULL and what is no such name. */
BhAsset bh_asset_of_name(const char *name);

/*
 * What severity is made of, in points: stages (the worst finding of each tactic: critical 4, error 3, warning 2, notice 1), a way out of the container, what is about the node, what the most valuable container is
 * worth, and how surprising the most surprising anomaly is. 4 are medium, 7 high, 12 critical.
 */
typedef struct {
        guint stages, way_out, node, asset, surprise;
} BhIncidentPoints;
#define BH_INCIDENT_SURPRISE_MAX 2u

BhSeverity bh_incident_severity(const BhIncidentPoints *p);
/*
 * The points of an anomaly's surprise, given in hundredths of a natural logarithm (how seldom a model that has converged expects anything new): 1 from one in a thousand acts on, 2 from one in ten thousand, or
 * where the model is `strict`: locked, or so sure that enforcement may rest on it.
 */
guint bh_incident_surprise(gint64 hundredths, gboolean strict);

/* A process and its ancestors as a finding has them, the acting one first. Texts may be "" or NULL. */
typedef struct {
        guint32 pid;
        gint64 start_ns;
        const char *exe, *container_id, *origin_id;
} BhIncidentProcess;

/* Everything is borrowed for the call. Texts may be NULL where they are not known. */
typedef struct {
        gint64 serial; /* names the finding; given again: it has grown */
        const char *id, *rule, *kind, *output;
        guint rank;    /* 0 = emergency … 7 = debug */
        gint64 time_ns, last_ns;
        guint64 count; /* in total */
        const char *node, *container_id, *container_name, *workload, *application;
        guint32 tactics;   /* bits, 1 << BhTactic */
        gboolean escape;   /* a technique that leads out of the container (T1611) */
        gboolean of_host;  /* a rule about the node itself */
        BhAsset asset;     /* of its container */
        guint surprise;    /* points, of an anomaly (bh_incident_surprise()) */
        gboolean tool;     /* about a program that was brought along (T1105) */
        gboolean rights;   /* about rights given to a file (T1548.001) */
        const char *planted, *domain, *sent; /* of one without event: a file of the node that was found new or changed; the DNS domain that it is about; what went out, as a phrase */
        const BhIncidentProcess *lineage;
        guint n_lineage;
        const struct bh_event *event; /* NULL: it has none */
        const char *peer_container;   /* the other end of the event's connection; NULL: not known */
        const char *peer_node;        /* where that is; NULL: on the same node */
} BhIncidentFinding;

/* One thing that happened in an incident: equal findings. Owned by the incident. */
typedef struct {
        gint64 serial;  /* the first one's */
        char *id, *rule, *output, *node, *container_id, *container_name, *workload, *application, *exe, *object, *parent;
        char *command;  /* of the first, where it is about a program that was run: its arguments, separated by blanks */
        guint32 pid, tactics;
        guint8 rank;
        BhAsset asset;
        BhBasis basis;
        char *used;     /* with CREDENTIAL: the file that was read before; else "" */
        guint8 surprise; /* points */
        gboolean escape, of_host;
        BhDeed deed;    /* of the first of them that has one */
        char *thing;    /* what it is about; "" without a deed, or where it has no name */
        BhCredential credential; /* with READ: what the thing is, of lines that are an incident's */
        char *origin;   /* the thing is on the node: the name of the container that it came from; "": it is where the line is */
        gint64 time_ns, last_ns;
        guint64 count;
} BhIncidentLine;

void bh_incident_line_free(BhIncidentLine *l);

/* Of these lines (BhIncidentLine *) alone. */
BhIncidentPoints bh_incident_points(const GPtrArray *lines);

typedef struct {
        guint64 id; /* rising, never again */
        BhIncidentState state;
        guint64 merged_into; /* with MERGED */
        gint64 first_ns, last_ns;
        guint32 tactics;
        BhSeverity severity;
        guint8 rank; /* of the worst finding */
        GPtrArray *lines; /* of BhIncidentLine *, in the order of their first time */
        guint64 findings, lines_dropped; /* in total; of these, those beyond BH_INCIDENT_LINES_MAX */
        guint64 version; /* rises with each change */
} BhIncident;

typedef struct {
        guint open, forming, keys;
        guint64 findings, passed_over; /* passed over: they joined nothing and were below BH_INCIDENT_RANK */
        guint64 merged, given_up, keys_dropped;
} BhIncidentStats;

typedef struct {
        BhIncident *incident;  /* NULL: passed over. Good until the next call */
        BhBasis basis;
        gboolean is_new_line;
        gboolean opened;       /* it became an incident by this finding */
        BhIncident *merged[16]; /* went into it by this finding, forming ones too; good until the next call */
        gboolean merged_open[16]; /* it had been told of */
        guint n_merged;
        BhIncident *given_up;  /* an open one that had to go, for room: it grows no more; good until the next call */
} BhIncidentJoin;

typedef struct BhIncidents BhIncidents;

/* `next`: the number that the first new incident gets, above all that there ever were. */
BhIncidents *bh_incidents_new(guint64 next);
/* NULL is allowed. */
void bh_incidents_free(BhIncidents *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhIncidents, bh_incidents_free)

BhIncidentJoin bh_incidents_finding(BhIncidents *g, const BhIncidentFinding *f);
/* A finding that belongs to that incident by what was decided before: in the order in which they were told. Makes the incident where it is not known. */
BhIncident *bh_incidents_restore(BhIncidents *g, guint64 incident, BhIncidentState state, const BhIncidentFinding *f);
/* A line of it as it was kept, after its findings were given back: what retention took from the findings is still in it. Takes the line. Nothing is done where the incident is not known. */
void bh_incidents_restore_line(BhIncidents *g, guint64 incident, BhIncidentLine *line);
/* And its numbers: they only rise. */
void bh_incidents_restore_totals(BhIncidents *g, guint64 incident, guint64 findings, guint64 dropped);
/* `container` was asked for by a process of `asker`, both on `node`. */
void bh_incidents_asked(BhIncidents *g, const char *node, const char *asker, const char *container, gint64 time_ns);

/* The open incident that this container is in, by the latest of its findings; 0: none. */
guint64 bh_incidents_of(BhIncidents *g, const char *node, const char *container);
/* This container is worth at least that. Returns what it is in, open or forming, if that changed by it; NULL. */
BhIncident *bh_incidents_asset(BhIncidents *g, const char *node, const char *container, BhAsset asset);

/* The connection that a finding told of led to this container: what is known later than the finding was told. */
void bh_incidents_reached(BhIncidents *g, gint64 serial, const char *node, const char *container, gint64 time_ns);

/* A connection from one container to another that no finding needs to have told of, and the port that was asked for. */
typedef struct {
        const char *node, *container, *peer_node, *peer_container;
        guint port;
        gint64 time_ns; /* when there was the first of its kind: the same program never did so before */
} BhIncidentUse;
/*
 * A credential of that service (credential.h) may have been used: where an open incident read one in the container from which the connection came, at most BH_INCIDENT_CREDENTIAL_NS before it, what follows in the
 * other container belongs to it. What is there already joins it where all of it began in that container, after the connection and within BH_INCIDENT_REACHED_NS: TRUE, and *out as after a finding. May be said again.
 */
gboolean bh_incidents_used(BhIncidents *g, const BhIncidentUse *u, BhIncidentJoin *out);

/* As after bh_incidents_split(), of two that people took apart in an earlier run. Nothing is done where one of them is not known. */
void bh_incidents_keep_apart(BhIncidents *g, guint64 a, guint64 b);

/* Numbers of those that are open: GArray of guint64, the oldest first. */
GArray *bh_incidents_open(BhIncidents *g);
BhIncident *bh_incidents_get(BhIncidents *g, guint64 id);
/* By hand: all of `from` goes into `into`, which goes on whatever is older. NULL: one of them is not known, or both are one. Good until the next call: *from, as it is afterwards. */
BhIncident *bh_incidents_merge(BhIncidents *g, guint64 into, guint64 from, BhIncident **merged);
/*
 * By hand: the lines with these ids (a NULL-terminated list of findings' ids) go into an incident of their own, with what follows from them: containers that are in no other line, what these
 * findings left. The two are not merged by findings any more. *serials: of the findings that went, GArray of gint64. NULL: no such incident or line, or nothing would be left.
 */
BhIncident *bh_incidents_split(BhIncidents *g, guint64 id, const char *const *ids, GArray **serials, BhIncident **given_up);
/* It takes no more findings; what it held is free to begin another. FALSE: there is no such open one. */
gboolean bh_incidents_close(BhIncidents *g, guint64 id);
/*
 * To be called now and then. Forgets what was quiet for long: by the time of events, and by that of these calls, for what is told now may have happened days ago (a replay, a node that comes back),
 * and the next event of it lies as far back. Returns how many; `gone` is told of each before it goes.
 */
guint bh_incidents_age(BhIncidents *g, gint64 now_ns, void (*gone)(const BhIncident *i, gpointer data), gpointer data);

void bh_incidents_stats(const BhIncidents *g, BhIncidentStats *out);
