/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of events as the bus brings them, decoded and made JSON. The bytes are foreign; nothing outside them is read, and what cannot
 * be decoded is counted, not passed on. Pure; any thread.
 */
#pragma once
#include "event/event.h"

#include <glib.h>

/* One event of a piece: its time, for sorting, and its JSON. Free with bh_event_line_free(). */
typedef struct {
        guint64 time_ns;
        char *json;
} BhEventLine;

void bh_event_line_free(gpointer line);

/*
 * Calls `func` for each event of a batch (for each a 32-bit little-endian length and a bulkhead.v1.Event). Returns how many parts
 * could not be read; after a length that does not fit, the rest of the batch is one such part.
 */
typedef void (*BhEventEach)(const struct bh_event *event, gpointer data);
guint bh_events_each(GBytes *batch, BhEventEach func, gpointer data);

/* The same as JSON. */
typedef void (*BhEventFunc)(guint64 time_ns, const GString *json, gpointer data);
guint bh_events_unpack(GBytes *batch, BhEventFunc func, gpointer data);
