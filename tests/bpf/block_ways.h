/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to run a program that is in a folder made by bh_ways_make(): each tries it in a child of the caller, and says whether the program left its trace.
 */
#pragma once
#include <glib.h>

typedef struct {
        char mark;     /* the trace; 0: none was left */
        gboolean done; /* it ended with status 0: it ran, as far as that tells */
        int status;    /* of waitpid() */
} BhWayResult;

#define BH_WAY_LOADER "loader" /* that way runs another program: the dynamic loader, with the program's path */

guint bh_ways(void);
const char *bh_way_name(guint way);
/* Whether this machine has what the way needs. */
gboolean bh_way_possible(guint way);
/* `folder`: has prog, dynamic, sym, hard, script, nested. */
BhWayResult bh_way_try(guint way, const char *folder);
/* Runs a path as it is. */
BhWayResult bh_way_run(const char *path);
/* Runs a copy of that file in memory. */
BhWayResult bh_way_memfd(const char *path);

/* `folder` with copies of the programs beside this test, which leave this mark. */
void bh_ways_make(const char *folder, char mark);
void bh_ways_remove(const char *folder);
