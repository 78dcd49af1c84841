/* SPDX-License-Identifier: Apache-2.0 */
/* Which network namespace a container has. Reads /proc; keeps nothing; thread-safe. */
#pragma once
#include <glib.h>

/*
 * Inode number of the network namespace of process `pid`, seen below `proc_path` ("/proc"), if that process is in a cgroup whose path has `id` in it: a
 * pid that a runtime named may be another process's by now. 0 when it is not, or cannot be read.
 */
guint32 bh_netns_of(const char *proc_path, gint32 pid, const char *id);
