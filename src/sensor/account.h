/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact accounting of the kernel side: reads the `acct` map (per cgroup and kind: generated = delivered + folded + lost by reason) and sweeps the
 * `folds` map, so that repeats whose window is over are reported.
 *
 * Counts of cgroups that are gone are added to one entry (BH_ACCT_ENDED) before theirs are deleted, so sums never go back. What was told as events is noted
 * in the `told` map. All of this is in pinned maps: a sensor that takes over goes on counting and does not tell twice.
 *
 * Telling is in two steps, so that a sensor that is killed neither loses a count nor tells it twice: sweep and update hand out what is to be told;
 * bh_account_commit() notes it as told, and is called when it is in the recorder.
 *
 * One thread (drain) updates; any thread may read the last update with bh_account_copy().
 */
#pragma once
#include <glib.h>

#include "hooks.h"
#include "record.h"

typedef struct {
        struct bh_acct sum[BH_EV_KERNEL_MAX];    /* per kind, over all cgroups, since the rings were made */
        guint64 received[BH_EV_KERNEL_MAX];      /* records that this sensor read from the rings; since a first start: equals delivered when all is read */
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

/* Something that was not told before: `more` acts lost for `reason`, or, with reason BH_LOST_MAX, over budget (with their bytes). */
typedef struct {
        guint64 cgroup;
        guint32 type, reason;
        guint64 more, bytes;
} BhAccountNews;

/* Reads the map. Returns how often `news` was called. */
guint bh_account_update(BhAccount *a, void (*news)(const BhAccountNews *news, gpointer data), gpointer data);

/*
 * Reports fold entries that have been quiet for two windows (`all`: every one). `repeat` gets a record to process like one from the ring: a copy
 * of the last one with that key, count and a[4] set to what was folded since, flags BH_RF_REPEATS. Returns how often it was called.
 */
guint bh_account_sweep(BhAccount *a, gboolean all, void (*repeat)(const struct bh_rec *rec, guint32 len, gpointer data), gpointer data);

/* What the last sweep and update handed out is in the recorder: forgets the fold entries, notes what was told. */
void bh_account_commit(BhAccount *a);

/* The cgroup is gone: its entries are folded into the total at the next update but one, when nothing comes from it any more. */
void bh_account_cgroup_gone(BhAccount *a, guint64 cgroup);

void bh_account_copy(BhAccount *a, BhAccountTotals *out);

/* Rows of living cgroups that lost or folded something. Free the array. */
GArray *bh_account_rows(BhAccount *a);
