/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast one user may fill the audit log. Each act is a row that is kept for long, and rows push older ones, and findings, out of a database
 * that is full: without a bound the least of the users could make the log forget.
 *
 * A user has BH_PACE_BURST acts at once, and gets one more each BH_PACE_SECONDS. Administrators are not paced (they could set the retention as
 * well). The table holds BH_PACE_USERS users; the one that was quiet longest goes. Time is monotonic and given by the caller.
 * Thread-safe. Kept in memory only.
 */
#pragma once
#include <glib.h>

#define BH_PACE_BURST 60
#define BH_PACE_SECONDS 2
#define BH_PACE_USERS 1024

typedef struct BhPace BhPace;

BhPace *bh_pace_new(void);
void bh_pace_free(BhPace *p);
/*
 * Takes one act. Returns the seconds to wait, 0 = it may be done. *skipped (may be NULL) = how many were refused since it was last asked for;
 * it is only set with 0.
 */
guint bh_pace_take(BhPace *p, const char *user, gint64 now_us, guint64 *skipped);
/* Acts that were refused, in all. */
guint64 bh_pace_refused(BhPace *p);
