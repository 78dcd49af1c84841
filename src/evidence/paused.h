/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that the sensor's kernel side stopped so that they could be copied (bpf/include/pause_record.h), and continuing them. Whoever may have to do that reads the same memory: the sensor, its
 * guard, the sensor that comes after a killed one, `bulkhead up`. It is no harm when several do.
 *
 * No thread of its own, no lock, no allocation: also between fork() and exec of a process with threads.
 */
#pragma once
#include <glib.h>

#include "pause_record.h"

/* The pinned map, mapped; NULL: there is none, or it cannot be read. For bh_paused_unmap(). */
struct bh_paused *bh_paused_map(const char *pin);
struct bh_paused *bh_paused_map_fd(int fd);
void bh_paused_unmap(struct bh_paused *slots);

/*
 * Continues who has been stopped for `ns` or longer and gives the places back; how many. `proc`: /proc of the host's process namespace. A process that is gone, or whose id is another's by now,
 * is left alone.
 */
guint bh_paused_continue(struct bh_paused *slots, const char *proc, guint64 ns);
/* One place: TRUE if it was this call that gave it back. `since`: as it was told; another one has the place otherwise. */
gboolean bh_paused_continue_one(struct bh_paused *slots, guint slot, const char *proc, guint64 since);
/* The sensor is gone and stops nobody any more: all of them, looked at twice, since a program may have been about to stop one at the first look. NULL is allowed. */
guint bh_paused_continue_all(struct bh_paused *slots, const char *proc);
