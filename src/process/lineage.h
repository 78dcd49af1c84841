/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules ask of the process table (event/lineage.h), live and in a replay.
 *
 * Live: the table is kept by bh_process_update() and bh_process_enrich() as always. In a replay there is no kernel's record and no /proc: a table of its own is
 * fed the recorded events, in their order, by bh_process_feed().
 *
 * Session, login, environment (its first 1,024 bytes) and working directory of a process are those of its last exec, or what it inherited since: a process that
 * makes itself a session without an exec is told with its old one.
 */
#pragma once
#include "event/lineage.h"
#include "process/table.h"

/*
 * Fills in find, parent and data; the rest of *lineage is left as it is. Answers point into the table, as views do; the table's thread only, and as long as
 * it lives. A process that has exited is known for as long as the table keeps it.
 */
void bh_process_lineage(BhProcessTable *t, struct bh_lineage *lineage);

/*
 * A table for a replay: it reads no /proc, and its start times are the recorded ones. Free with bh_process_table_free(). Its lineage is good for events that were
 * fed before; bh_process_update() and the others must not be used on it.
 */
BhProcessTable *bh_process_table_new_replay(void);

/* Takes in what a recorded event tells of processes: the acting one, its parent, children, ends. Feed an event before asking about it. */
void bh_process_feed(BhProcessTable *t, const struct bh_event *e);
