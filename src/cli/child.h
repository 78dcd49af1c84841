/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of ours that `bulkhead up` starts, watches and stops.
 *
 * A child gets a session of its own: the terminal's Ctrl-C reaches it through this program alone, and it outlives this program if that is
 * killed. One thread; who starts children also reaps them (waitpid() of that pid only).
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "base/fdio.h"

typedef struct {
        const char *name;    /* "sensor", for messages */
        char **argv;         /* not owned */
        pid_t pid;           /* 0: never started */
        BhFd pidfd;          /* readable once it ended; -1: it does not run */
        gboolean ended, ready;
        int how;             /* as waitpid() tells it */
        gint64 started_us;   /* monotonic */
        gint64 again_us;     /* when to start it again; 0: not planned */
        guint short_lives;   /* in a row: it was ready and soon ended */
        guint failures;      /* in a row: it ended before it was ready */
        guint restarts;
} BhChild;

#define BH_CHILD_INIT(name_) { .name = (name_), .pidfd = -1 }

/* The program beside this one, in the build tree, or in PATH. Caller frees. */
char *bh_child_find(const char *program, GError **error);

/* Starts argv. Its standard output is `out`, or standard error for -1; its standard input is empty. Also for a child that ended. */
gboolean bh_child_start(BhChild *c, int out, GError **error);

gboolean bh_child_running(const BhChild *c);

/* Whether it has ended (or never ran); does not wait. */
gboolean bh_child_reap(BhChild *c);

/* "was killed by signal 9 (Killed)", "ended with status 1". Caller frees. */
char *bh_child_how(const BhChild *c);

/* Waits for the end. FALSE: not within the time. */
gboolean bh_child_wait(BhChild *c, gint64 us);

/* SIGTERM, and after `us` SIGKILL, which is said together with `then`, what that means. */
void bh_child_end(BhChild *c, gint64 us, const char *then);

/*
 * Plans the next start of a child that ended: at once where it had worked for a while, later each time where it had not. Who was ready and is killed
 * again and again comes back after half a second at most, who is killed by SIGKILL before that after one; who does not become ready is tried every half
 * minute in the end. The delay in us.
 */
gint64 bh_child_plan(BhChild *c, gint64 now_us);
