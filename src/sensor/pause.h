/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stops what containers run from memory, from deleted files or from files that they wrote shortly before (bpf/pause.bpf.c), so that it can be copied even if it ends at once; and sees to it that
 * nothing stays stopped:
 *
 *   the thread that copies  continues each at once: some 100 µs
 *   the guard               a process of its own, made early in the start, with CAP_KILL alone: continues who has been stopped for BH_PAUSE_MAX_MS, which also keeps the programs from
 *                           stopping more for BH_PAUSE_QUIET_S, and everybody when the sensor is gone
 *   whoever comes next      the map of who is stopped is pinned (PIN_DIR/paused): the next sensor's start, and `bulkhead up`, which sees the end of its sensor
 *
 * The link is not pinned: with the sensor it is gone. Nobody is stopped while the sensor is behind or hangs, beyond BH_PAUSE_PER_CONTAINER and BH_PAUSE_PER_NODE a second, without a guard, and on file
 * systems that a server stands behind (FUSE, NFS, …: their owner could make the copying wait). Each is counted.
 *
 * A stop is seen by a parent that waits with WUNTRACED or has a handler for SIGCHLD without SA_NOCLDSTOP, and by a tracer. Stops do not add up: one that somebody else sends in these moments ends with ours.
 * A process group that is orphaned in these moments, since its last parent within the session ends, gets SIGHUP from the kernel, as any that has a stopped member.
 */
#pragma once
#include <jansson.h>

#include "hooks.h"
#include "pause_record.h"

#define BH_PAUSE_MAX_MS 250u
#define BH_PAUSE_QUIET_S 5u
#define BH_PAUSE_WINDOW_S 60u
#define BH_PAUSE_PER_CONTAINER 400u
#define BH_PAUSE_PER_NODE 1000u

typedef struct BhPause BhPause;

/* It is stopped, and goes on when this returns. FALSE: the caller is behind; nobody else is stopped for a moment. */
typedef gboolean (*BhPauseTake)(const struct bh_pause_record *r, gpointer data);

/* Continues what a sensor before left stopped under `pin_dir`. How many. */
guint bh_pause_recover(const char *pin_dir, const char *proc);

/* Forks the guard: before threads of the sensor's own run (what it does there takes no lock but the allocator's, which fork() sees to). Without one there will be no stops, and the status says why. `proc`: /proc of the host's process namespace. */
BhPause *bh_pause_new(const char *pin_dir, const char *proc);
/* FALSE with *error: this kernel cannot; then nothing is attached. Once. */
gboolean bh_pause_start(BhPause *p, BhHooks *hooks, BhPauseTake take, gpointer data, GError **error);
/* Pins again who is stopped, if somebody took that pin away. How many were made. Any thread; NULL is allowed. */
guint bh_pause_guard(BhPause *p);
/* Nobody is stopped any more, and `take` not called. FALSE: a file system holds one call of it up: what it uses must stay. NULL is allowed. */
gboolean bh_pause_stop(BhPause *p);
/* Stops. NULL is allowed. */
void bh_pause_free(BhPause *p);

/* New reference; any thread. NULL is allowed. */
json_t *bh_pause_status(BhPause *p);
