/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <glib.h>

#define BH_CGROUP_DEPTH 16u

/*
 * GArray of gint: processes of this control group and of those below it, BH_CGROUP_DEPTH deep; at most `max`, of at most `groups` groups, for a container may make as many as it likes.
 * *more: there are more than that; NULL is allowed. Of other pid namespaces none are told.
 */
GArray *bh_cgroup_pids(const char *v2_mount, const char *cgroup, guint max, guint groups, gboolean *more);
