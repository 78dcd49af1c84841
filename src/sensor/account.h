/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact accounting of the kernel side: reads the `acct` map (per cgroup and kind: generated = delivered + folded + lost by reason) and sweeps the
 * `folds` map, so that repeats whose window is over are reported.
 *
 * Counts of cgroups that are gone are added to a total before their entries are deleted, so sums never go back. One thread (drain) updates;
 * any thread may read the last update with bh_account_copy().
 */
#pragma once
#include <glib.h>

#include "hooks.h"
#include "record.h"

typedef struct {
        struct bh_acct sum[BH_EV_KERNEL_MAX];    /* per kind, over all cgroups, since the rings were made */
        guint64 received[BH_EV_KERNEL_MAX];      /* records that the sensor read from the rings; equals delivered when all is read */
        guint64 recursion;                       /* see bh_hooks_recursion_misses() */
        guint entries;                           /* in the acct map now */
} BhAccountTotals;

/* One cgroup and kind; for `bulkhead status`, which shows where losses are. */
typedef struct {
        guint64 cgroup;
        guint32 type;
        struct bh_acct acct;
} BhAccountRow;

typedef struct BhAccount BhAccount;

BhAccount *bh_account_new(BhHooks *hooks);
void bh_account_free(BhAccount *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhAccount, bh_account_free)

/* A record arrived. Remembers the last of each fold key, which a sweep may need to repeat. */
void bh_account_received(BhAccount *a, const struct bh_rec *rec, guint32 len);

/* Reads the map. `lost` is called for each kind and reason whose loss grew since the last call (once a reason and cgroup). */
void bh_account_update(BhAccount *a, void (*lost)(guint64 cgroup, guint32 type, guint32 reason, guint64 more, gpointer data), gpointer data);

/*
 * Reports and forgets fold entries that have been quiet for two windows. `repeat` gets a record to process like one from the ring: a copy
 * of the last one with that key, count and a[4] set to what was folded since, flags BH_RF_REPEATS; or, when the cgroup was over budget, a bare
 * record with BH_RF_OVER_BUDGET.
 */
void bh_account_sweep(BhAccount *a, gboolean all, void (*repeat)(const struct bh_rec *rec, guint32 len, gpointer data), gpointer data);

/* The cgroup is gone: its entries are folded into the total at the next update but one, when nothing comes from it any more. */
void bh_account_cgroup_gone(BhAccount *a, guint64 cgroup);

void bh_account_copy(BhAccount *a, BhAccountTotals *out);

/* Rows of living cgroups that lost or folded something. Free the array. */
GArray *bh_account_rows(BhAccount *a);
