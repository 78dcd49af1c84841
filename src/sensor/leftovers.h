/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fallback remembers of descriptors (maps written_fds, written_sets, written of written.bpf.h) of processes that have ended without the kernel
 * programs seeing it: skipped programs, a dispatcher that was away. Without this such entries would fill the maps.
 *
 * For one thread at a time.
 */
#pragma once
#include <glib.h>

#include "hooks.h"

typedef struct BhLeftovers BhLeftovers;

/* `proc_path`: where the processes of the host's pid namespace are to be seen. */
BhLeftovers *bh_leftovers_new(BhHooks *hooks, const char *proc_path);
void bh_leftovers_free(BhLeftovers *l);

/*
 * To be called each second; looks each 30 s, and removes what is of processes that were gone at the last look too. Returns how many open files with
 * bytes written were forgotten by that: their event will never come.
 */
guint64 bh_leftovers_sweep(BhLeftovers *l);
