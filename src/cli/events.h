/* SPDX-License-Identifier: Apache-2.0 */
/* Events that the central asks the nodes for. */
#pragma once
#include "api.h"
#include "event/select.h"

#define BH_EVENTS_MAX 10000

typedef struct {
        gboolean follow, json;
        const char *node, *container, *filter; /* may be NULL; filter: a condition in the language of rules */
        const guint64 *types;         /* BH_TYPE_WORDS of them */
        guint64 ago_ns;               /* recorded ones of that long; 0: not asked */
        guint limit;                  /* the last so many recorded ones; 0: not asked */
} BhEventsAsk;

/*
 * Prints recorded events, oldest first, then live ones if they are followed; live ones that were recorded already are not shown twice. What is missing, and why,
 * goes to standard error. The exit status: failed also when a node did not answer.
 */
int bh_events_of_central(BhApi *api, const BhEventsAsk *ask);

/* An event's line for people, as the sensor writes it; the time is dim on a terminal. FALSE: there is no use in going on. */
gboolean bh_events_print_text(const char *line, gsize len);
