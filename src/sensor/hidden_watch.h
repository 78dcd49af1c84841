/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hidden processes (hidden.h) in the sensor as a whole: the kernel's list, who mounted what over a process in /proc, and how one that is hidden is told. Part of the node's integrity (sensor_integrity.c), whose thread
 * looks.
 *
 * Where the kernel's iterator cannot be had the list is that of the process table, which has what hooks told: mounts over processes are found all the same, and what is in no listing as long as /proc can be
 * asked for it by number.
 *
 * Bounds: BH_HIDDEN_LOOK findings a look, the others in the looks that follow while they are hidden; BH_HIDDEN_TOLD processes that were told and live, more are counted.
 */
#pragma once
#include "net_alerts.h"
#include "sensor.h"

#define BH_HIDDEN_LOOK 32u
#define BH_HIDDEN_TOLD 4096u
#define BH_HIDDEN_MOUNTERS 1024u

typedef struct BhHiddenWatch BhHiddenWatch;

/* `alerts`: the drain thread's; borrowed. */
BhHiddenWatch *bh_hidden_watch_new(BhSensor *s, BhNetAlerts *alerts);
void bh_hidden_watch_free(BhHiddenWatch *w); /* NULL is allowed */

/* The drain thread, each event of a process that is in a container or came from one. TRUE: it may have hidden something, so that a look is due. */
gboolean bh_hidden_watch_early(BhHiddenWatch *w, const struct bh_decoded *d, guint64 container);
/* The thread that looks; while the pipeline runs. */
void bh_hidden_watch_look(BhHiddenWatch *w);
/* New reference; any thread. */
json_t *bh_hidden_watch_status(BhHiddenWatch *w);
