/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The central's end of the notifier (notifier.h): gives it its configuration, then every finding that is new or has grown, out of the store's change log,
 * from the position on that the notifier has on its disk. Nothing is kept here: whoever is killed, the next two agree on the position again.
 *
 * A thread for each direction. Functions from any thread.
 */
#pragma once
#include "central.h"

#define BH_FEED_BATCH 64u          /* changes read at once */
#define BH_FEED_TEST_MS 40000      /* a test that is not answered: a delivery's time, with room */
#define BH_CONSOLE_OUTPUT "console" /* the name of what --alerts makes; the API makes none of that name */

typedef struct BhNotifyFeed BhNotifyFeed;

/* `keeper`: the socket of bh_keeper_start(), taken; -1: there is no notifier. `console`: the format of --alerts, NULL: not asked for. */
BhNotifyFeed *bh_notify_feed_new(BhCentral *c, int keeper, const char *console);
/* From now on alerts are delivered: after the central's announcement, for both may go to the standard output. */
void bh_notify_feed_start(BhNotifyFeed *f);
/* Waits until the notifier and its keeper have ended. NULL is allowed. */
void bh_notify_feed_free(BhNotifyFeed *f);

/* The store changed. Quick. */
void bh_notify_feed_wake(BhNotifyFeed *f);
/* The outputs changed: the notifier is replaced by one with the new configuration. */
void bh_notify_feed_reconfigure(BhNotifyFeed *f);

/* Sends a test through the output as it is configured now. NULL: it was taken; else why not. Caller frees. */
char *bh_notify_feed_test(BhNotifyFeed *f, const char *name, const char *who);

/* What the notifier said last, and whether it runs: new reference; {"running", "away" (for longer than a start takes), "restarts", "landlock", "problem", "outputs": […]}. */
json_t *bh_notify_feed_status(BhNotifyFeed *f);
