/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel records for measurements: a stream that looks like containers at work, the same in each run.
 *
 * Containers each have a service that lives on. It starts short-lived programs: fork, exec (with arguments and environment), mappings, opens,
 * writes, a connection, exit; and it accepts connections itself. bh_records_mix() says how often what; no random numbers, so that n records of today
 * are those of tomorrow, and instructions counted over them can be compared. Times are the caller's.
 *
 * One thread. bh_records_next() gives a record that is good until the next call.
 */
#pragma once
#include <glib.h>

#include "record.h"

#define BH_RECORDS_CONTAINERS 20u
#define BH_RECORDS_CGROUP(i) (1000u + (i)) /* cgroup id of container i */
#define BH_RECORDS_FIRST_PID 100u /* of the containers' processes; what is below is a runtime's that nobody saw begin */

typedef struct BhRecords BhRecords;

BhRecords *bh_records_new(void);
void bh_records_free(BhRecords *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRecords, bh_records_free)

/* The next record, with `ts` as its time; `ring` is where the kernel would have put it. The first ones make the services. */
const struct bh_rec *bh_records_next(BhRecords *r, guint64 ts, enum bh_ring *ring);

/* How many records of each kind came so far, by number of the kind. */
const guint64 *bh_records_mix(const BhRecords *r);
