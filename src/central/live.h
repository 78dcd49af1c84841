/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/v1/events/live: events as they happen, as server-sent events. One thread for each listener, at most BH_LIVE_MAX, takes the
 * nodes' pieces and gives new credit only when the client has room, so a slow client makes the node drop and count, not this program
 * grow. What is dropped is told in the stream ("dropped"), as is a node that comes or goes ("node").
 */
#pragma once
#include "bus/bus.pb-c.h"
#include "central.h"

#define BH_LIVE_MAX 32
#define BH_LIVE_CREDIT 8
#define BH_LIVE_BUFFER (2 * 1024 * 1024)

/* What of the events is asked for, from the parameters types, container and filter. */
typedef struct {
        Bulkhead__Bus__V1__EventsRequest message; /* borrows from the call and from `types` */
        char **types;
} BhEventsAsk;

static inline void bh_events_ask_clear(BhEventsAsk *a) {
        g_strfreev(a->types);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhEventsAsk, bh_events_ask_clear)

/* FALSE: answered 400. */
gboolean bh_events_request(BhCall *call, BhEventsAsk *out);
/* Waits until all listeners' threads have ended; the HTTP server must be stopping. */
void bh_live_stop(BhCentral *c);
