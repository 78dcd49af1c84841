/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models that are enforced: what is not in the model of a workload is refused by the kernels of its nodes before it happens, or, observed, only told. So far that is possible for programs (the family
 * exec): of each container a list of those that alone may run (response/deny.h, exec-only).
 *
 * What a person ordered is a setting of the store's own, "enforced.…". A thread ("bh-enforced") compares it with what runs and with the ledger: each running container of the workload has one block, by
 * the actor "model:APPLICATION/WORKLOAD", with what the model of its version has. Where the list has become another one, a person's word or another order, a new block is in force before the old
 * one is released, so that nothing is open in between. What a person released stays so until it is ordered anew; what failed is tried again after BH_ENFORCED_RETRY_S, then ever more
 * seldom, at the latest each BH_ENFORCED_RETRY_MAX_S: each try is a row of the ledger, which has room for so many. A version that is not known well
 * enough, and a container that is protected, is left alone, and counted; what is in force of a version that is not any more stays as it is.
 *
 * A container that began is found when its node has told of it: what it runs until then is judged by the model, and not refused.
 */
#pragma once
#include "central.h"
#include "model/model.h"

#define BH_ENFORCED_MAX 200u
#define BH_ENFORCED_REASON_MAX 1024u
#define BH_ENFORCED_RETRY_S 60
#define BH_ENFORCED_RETRY_MAX_S 3600
#define BH_ENFORCED_ACTOR "model:"

typedef struct {
        char *application, *workload, *by, *reason;
        BhFamily family;
        gboolean observe;
        gint64 since_ns, until_ns; /* until: 0 for no end */
} BhEnforcement;

void bh_enforcement_free(BhEnforcement *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhEnforcement, bh_enforcement_free)

/* How many of its running containers are how, when they were looked at last; and what its responses have told since it was ordered. Clear it. */
typedef struct {
        guint running, active, pending, failed;
        guint loose;     /* their version's model is not strict enough; */
        guint kept;      /* of these: that has a list from before, and is active or pending with it */
        guint left_out;  /* protected */
        guint released;  /* by a person */
        guint programs;  /* of the longest list */
        guint64 refused, observed; /* acts; observed: that would have been */
        GPtrArray *notes;          /* sentences of nodes; NULL: not looked at yet */
} BhEnforcedCounts;
void bh_enforced_counts_clear(BhEnforcedCounts *n);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhEnforcedCounts, bh_enforced_counts_clear)

BhEnforced *bh_enforced_new(BhCentral *c);
/* Once there are models, a bus and responses. */
void bh_enforced_start(BhEnforced *e);
/* After responses were stopped, so that nobody waits for a node. NULL is allowed. */
void bh_enforced_stop(BhEnforced *e);
void bh_enforced_free(BhEnforced *e);
/* What its thread does each time: for tests, which start none. */
void bh_enforced_look(BhEnforced *e);
/* The store, or a model, changed. Quick. */
void bh_enforced_wake(BhEnforced *e);

/* Whether a family can be enforced on nodes. */
gboolean bh_enforced_possible(BhFamily family);
/* Whether a version is known well enough: locked by a person, or enforceable. */
gboolean bh_enforced_strict(const BhModelVersion *v, BhFamily family);
/* What a block of it refuses, a JSON array. `n`: how many programs. Caller frees. */
char *bh_enforced_list(const BhModelVersion *v, gboolean observe, guint *n);

/* All of them, BhEnforcement, in no order. */
GPtrArray *bh_enforced_all(BhEnforced *e, GError **error);
/* NULL: there is no such one. Borrowed. */
BhEnforcement *bh_enforced_find(GPtrArray *all, const char *application, const char *workload, BhFamily family);
/* In the place of what was ordered for the same workload and family; `what` is copied, its time is now. CONFLICT: there are too many. */
gboolean bh_enforced_set(BhEnforced *e, const BhEnforcement *what, const BhStoreAuditEntry *audit, GError **error);
/* NOT_FOUND. What is in force of it is released. */
gboolean bh_enforced_remove(BhEnforced *e, const char *application, const char *workload, BhFamily family, const BhStoreAuditEntry *audit, GError **error);
/* What the thread knows: nothing is read. FALSE: it was not looked at yet. */
gboolean bh_enforced_counts(BhEnforced *e, const BhEnforcement *of, BhEnforcedCounts *out);
/* Caller frees. */
char *bh_enforced_actor(const char *application, const char *workload);
