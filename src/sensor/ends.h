/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unexpected ends of the sensor, each of which is told once: the file <data>/running.
 *
 * It is there while a sensor runs and names that run on its first line; on the lines below it names earlier runs that ended unexpectedly and whose findings are not
 * safe yet. Who finds the file at its start therefore knows of every run that was not stopped in order since somebody could tell, itself killed or not: each
 * gets an event ("returned" or "gap") with its name in the attribute "end", and a finding whose number is made of that name. Once the findings are spooled the lines go.
 * A sensor killed in between leaves them to the next one, whose findings have the same numbers again, so that the central leaves out what it has: told exactly once.
 *
 * The caller's thread, then the report's (bh_ends_told()), then the caller's again: never two at a time. A file that cannot be written costs the telling, never the start.
 * Bound: BH_ENDS_MAX names; older ones are one number.
 */
#pragma once
#include <glib.h>

#define BH_ENDS_MAX 64u
#define BH_ENDS_NAME_MAX 40u

typedef struct BhEnds BhEnds;

/* What is at `path`: nothing, or what a sensor left. `run`: the name of this one, [0-9a-z-], at most BH_ENDS_NAME_MAX, never the same for two runs. Changes nothing. */
BhEnds *bh_ends_open(const char *path, const char *run);
void bh_ends_free(BhEnds *e); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhEnds, bh_ends_free)

/* When the file that was found was written, ns since 1970; 0: there was none. */
gint64 bh_ends_found_ns(const BhEnds *e);
/* An end of which there is no file, but another sign. Before bh_ends_mark(). */
void bh_ends_add(BhEnds *e, const char *name);

/* Runs that ended unexpectedly, oldest first, and not told yet; and how many more there were before them. */
guint bh_ends_count(const BhEnds *e);
const char *bh_ends_name(const BhEnds *e, guint i);
guint64 bh_ends_more(const BhEnds *e);

/* This run has begun: what ends it from here on is unexpected. */
gboolean bh_ends_mark(BhEnds *e, GError **error);
/* The findings of all of them are safe. */
gboolean bh_ends_told(BhEnds *e, GError **error);
/* This run ends in order. What could not be told stays for the next. */
void bh_ends_close(BhEnds *e);
