/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The health of the sensor itself as findings (topic "finding"): which of its own events are some, as findings.tbl.h says, and how often they are told.
 *
 * Equal ones (the same action about the same kind of event, reason, container …) are told once at the first, and then once for all that came
 * within BH_FINDINGS_WINDOW_US, with their number in the field "repeats" and the sum of what they count in "count". Others may be equal in the
 * next window; a quiet window ends it.
 *
 * An unexpected end of the sensor (attribute "end": its name) is a finding of its own, whose number is made of the name: whoever tells it once more tells the same.
 *
 * One thread (drain) gives events, another takes bodies; they meet at a mutex. Bounds: BH_FINDINGS_KEYS different ones at a time, beyond which all of
 * an action are equal; BH_FINDINGS_WAITING bodies that nobody took, beyond which they are refused and counted.
 */
#pragma once
#include "event/event.h"

#define BH_FINDINGS_WINDOW_US (60 * G_USEC_PER_SEC)
#define BH_FINDINGS_KEYS 1024u
#define BH_FINDINGS_WAITING 1024u

typedef struct {
        guint64 events;   /* that are findings */
        guint64 told;
        guint64 repeated; /* of `events`, told as a number */
        guint64 refused;
        guint64 ends;     /* of `told`, those of an unexpected end of the sensor */
} BhFindingsStats;

typedef struct BhFindings BhFindings;

/* `node`: as the bus names it. */
BhFindings *bh_findings_new(const char *node);
void bh_findings_free(BhFindings *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFindings, bh_findings_free)

/* `wire`: the event's protobuf form. TRUE if it is a finding. */
gboolean bh_findings_event(BhFindings *f, const struct bh_event *e, const guint8 *wire, guint32 wire_len, gint64 now_us);

/* The body of the next finding that is to be told now (`all`: also what waits for its window's end); NULL: none. Caller unrefs. */
GBytes *bh_findings_take(BhFindings *f, gboolean all, gint64 now_us);

void bh_findings_stats(BhFindings *f, BhFindingsStats *out);
