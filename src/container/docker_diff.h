/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must have happened to a container between two descriptions of it: the events that a gap in the engine's stream swallowed.
 * Pure; thread-safe.
 */
#pragma once
#include "container/runtime_event.h"

/*
 * Events (BhRuntimeEvent *, synthetic, with a reference to `now`) that lead from `before` to `now`, in order; before NULL: the
 * container is new. Only what the engine dates before cutoff_ns is concluded: what is younger still comes by the stream. For acts
 * that the engine keeps no time of (pause, rename), seen_ns stands in. The array owns its events.
 */
GPtrArray *bh_docker_diff(const BhContainer *before, BhContainer *now, gint64 cutoff_ns, gint64 seen_ns);

/*
 * The state that the times of `c` prove for the moment `at_ns`, and the start of the run that it belongs to; 1 ns for a run of unknown
 * start, 0 for none. Pause has no time: a container that runs throughout is taken to have been as it is.
 */
void bh_docker_state_at(const BhContainer *c, gint64 at_ns, BhContainerState *state, gint64 *started_ns);

/* Changes `c` (not yet published) as a container event tells. TRUE if it changed anything. */
gboolean bh_docker_apply_event(BhContainer *c, const BhRuntimeEvent *ev);
