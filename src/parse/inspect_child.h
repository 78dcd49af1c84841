/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of one bulkhead-inspect: start, end, and what became of it. Private to src/parse; used by the client's thread alone, which
 * is the parent that the child's death is bound to.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "base/fdio.h"

typedef struct {
        pid_t pid; /* 0 = none */
        BhFd fd;   /* our end of the socket pair, -1 = none */
} BhInspectChild;

/* Starts `program` with BH_INSPECT_FD and standard error, an empty environment and no other descriptor. Nothing is left on failure. */
gboolean bh_inspect_child_start(BhInspectChild *child, const char *program, GError **error);
/*
 * Closes the socket, kills the process if it lives, and reaps it. What it died of, for the end of a sentence ("was killed by …"); it tells
 * of our own kill only when nothing else ended the process before. Caller frees.
 */
char *bh_inspect_child_end(BhInspectChild *child);
/* Processor time of the process so far; -1 when it is not to be had. */
gint64 bh_inspect_child_cpu_us(const BhInspectChild *child);
