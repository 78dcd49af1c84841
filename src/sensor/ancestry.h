/* SPDX-License-Identifier: Apache-2.0 */
/* A process and those that it descends from, as findings carry them. The drain thread. */
#pragma once
#include "event/lineage.h"

#define BH_ANCESTRY_MAX 16u /* ancestors told */

/* Appends Bulkhead__Bus__V1__Process, to be freed with g_free(); their texts are the lineage's. start 0: the pid's present process. TRUE: there are more. `lineage` may be NULL. */
gboolean bh_ancestry_add(GPtrArray *out, guint32 pid, guint64 start, const struct bh_lineage *lineage);
