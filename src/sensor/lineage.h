/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules ask beyond the event (event/lineage.h), answered by the sensor's tables: processes, containers, names of users and groups.
 *
 * The drain thread's. Answers are good until the next event. What a container is described with is put in the rules' form once for as long as its
 * description stays the same, for the last BH_LINEAGE_CONTAINERS containers asked about.
 */
#pragma once
#include "container/table.h"
#include "event/lineage.h"
#include "inspector.h"
#include "process/table.h"

#define BH_LINEAGE_CONTAINERS 64u

typedef struct BhLineage BhLineage;

/* `inspector` may be NULL: then users and groups have no names. The tables must outlive it. */
BhLineage *bh_lineage_new(BhProcessTable *processes, BhContainerTable *containers, BhInspector *inspector);
void bh_lineage_free(BhLineage *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhLineage, bh_lineage_free)

const struct bh_lineage *bh_lineage_answers(const BhLineage *l);
