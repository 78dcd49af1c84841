/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many calls are being answered at once. A question to a large store takes seconds, and workers are few: without a bound one user could
 * hold them all. A user has BH_CROWD_PER_USER, all users together BH_CROWD_ALL; root on the machine is not counted, so that a way in is left.
 * Thread-safe.
 */
#pragma once
#include <glib.h>

#define BH_CROWD_PER_USER 8
#define BH_CROWD_ALL 10 /* of BH_HTTP_WORKERS, and of BH_STORE_READERS */

typedef struct BhCrowd BhCrowd;

BhCrowd *bh_crowd_new(void);
void bh_crowd_free(BhCrowd *c);
/* FALSE, and counted: there are too many. Else bh_crowd_leave() must follow. */
gboolean bh_crowd_enter(BhCrowd *c, const char *user);
void bh_crowd_leave(BhCrowd *c, const char *user);
guint64 bh_crowd_refused(BhCrowd *c);
