/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matches of rules on their way to the central (topic "finding"): which are told one by one, and which as a number.
 *
 * Equal matches (the same rule, container, executable, and object: path, address and port, or other process) are told once at the first, and then once for
 * all that came within BH_ALERTS_WINDOW_US, as the same finding with their number, first and last time. A quiet window ends it. What a
 * repeat costs is a hash and an addition: its text is not made. Arguments do not tell matches apart: they are the attacker's to vary, and each variation
 * would be a finding. Those of the first one are told; those of the others are in the recorder, between first and last time.
 *
 * One thread (drain) gives matches, another takes bodies; they meet at a mutex. Bounds: BH_ALERTS_KEYS different ones at a time and BH_ALERTS_BYTES, beyond which all of a
 * rule and container are equal, and at twice as many all of a rule; BH_ALERTS_WAITING bodies that nobody took, beyond which they are refused and counted, by rule too.
 */
#pragma once
#include "container/table.h"
#include "event/event.h"
#include "event/lineage.h"
#include "rules/engine.h"

#define BH_ALERTS_WINDOW_US (60 * G_USEC_PER_SEC)
#define BH_ALERTS_KEYS 4096u
#define BH_ALERTS_BYTES (16u << 20) /* of what repeats are told with */
#define BH_ALERTS_WAITING 4096u

typedef struct {
        guint64 matches;
        guint64 told;
        guint64 repeated; /* of `matches`, told as a number */
        guint64 refused;  /* of `matches`, neither */
        guint windows;    /* open */
} BhAlertsStats;

typedef struct BhAlerts BhAlerts;

/*
 * `containers`: for their descriptions; may be NULL. `seed`: of the hash that tells what is equal, also to the central: secret, so that nobody can make what he does equal
 * to something harmless. bh_alerts_name() before the first match: how the bus names this node.
 */
BhAlerts *bh_alerts_new(BhContainerTable *containers, guint64 seed);
void bh_alerts_name(BhAlerts *a, const char *node);
/* Called for each match that is told by itself, with the id of its finding, in the thread that gives matches. Before the first one. */
typedef void (*BhAlertsTold)(const BhRule *rule, const char *id, const struct bh_event *e, gpointer data);
void bh_alerts_tell(BhAlerts *a, BhAlertsTold told, gpointer data);
/* Called for each match, before it is told or counted, with the id of the finding that tells it. The same thread; before the first one. */
void bh_alerts_watch(BhAlerts *a, BhAlertsTold matched, gpointer data);
void bh_alerts_free(BhAlerts *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhAlerts, bh_alerts_free)

/*
 * The event that `run` was given last matched that rule of the engine. `wire`: the event's protobuf form. TRUE if it is told by itself.
 */
gboolean bh_alerts_match(BhAlerts *a, BhRuleRun *run, const BhRuleEngine *engine, const BhRule *rule, guint32 number, const struct bh_event *e,
                         const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gint64 now_us);

/* The body of the next finding that is to be told now (`all`: also what waits for its window's end); NULL: none. Caller unrefs. */
GBytes *bh_alerts_take(BhAlerts *a, gboolean all, gint64 now_us);

/* What was counted is to be told, and nothing is equal to it any more: the next match is told by itself. */
void bh_alerts_settle(BhAlerts *a);

void bh_alerts_stats(BhAlerts *a, BhAlertsStats *out);
