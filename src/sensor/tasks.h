/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every process as the kernel has it (bpf/tasks.bpf.c, an iterator over tasks; all kernels since 5.10), without asking /proc. Of the process ids that the reader's pid namespace has: the initial one's, or it does
 * not have the whole. Attached to nothing: between two lists it costs nothing. One thread at a time.
 */
#pragma once
#include <glib.h>

#include "hooks.h"
#include "task_record.h"

typedef struct BhTasks BhTasks;

/* NULL with *error: this kernel has no such iterator, or does not let this process load it. `hooks` must outlive it. */
BhTasks *bh_tasks_new(BhHooks *hooks, GError **error);
void bh_tasks_free(BhTasks *t); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhTasks, bh_tasks_free)

/* Appends struct bh_task_record of each leader of a thread group, by rising id. On failure `out` is as it was. */
gboolean bh_tasks_list(BhTasks *t, GArray *out, GError **error);
