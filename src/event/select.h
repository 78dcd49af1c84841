/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing events by kind and by container, in the same way for live events, recorded ones and captures. Pure and thread-safe.
 */
#pragma once
#include "event/event.h"

#define BH_TYPE_WORDS ((BH_EV_MAX + 63) / 64)

/*
 * Whether the event is of one of the kinds whose bits are set (all zero: every kind) and concerns the container: it ran there, or its process
 * came from there. `container` is a name, an id or the beginning of an id, or "host" for what no container did; NULL: everything.
 */
gboolean bh_event_selected(const struct bh_event *e, const guint64 types[BH_TYPE_WORDS], const char *container);

/* The number by which recordings are indexed: of the event's container, 0 for the host. Never 0 for a container. */
guint64 bh_container_key(const char *id, gsize len);
