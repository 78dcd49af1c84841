/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps policies from doing harm: how often, to how many containers at a time, to what part of a workload, and how soon again to the same one. A policy that matches everything must not end
 * everything.
 *
 * bh_policy_limits_take() decides and, where it says ACT, takes the room at once, so that decisions that come together never all find the same room. What was taken is a *claim* of the policy on
 * a container: until bh_policy_limits_settle() says what came of it it counts; after that as long as the container is held (bh_policy_limits_sweep() asks the ledger), and of what cannot be undone
 * (kill, stop, restart) and of dry runs for the time of the rate. All policies that act never claim more than BH_POLICY_CLAIMS_MAX together; dry runs take nothing of that, and what one
 * took of its own limits is free again when it becomes a policy that acts.
 *
 * Not thread-safe: the caller locks. Times are any clock's that does not go back, in microseconds.
 */
#pragma once
#include "policy/policy.h"

#define BH_POLICY_CLAIMS_MAX 50u
#define BH_POLICY_COOLING_MAX 4096u /* containers that one policy leaves alone at a time; beyond it does nothing, as if its rate were reached */

typedef enum { BH_POLICY_ACT, BH_POLICY_COOL_DOWN, BH_POLICY_RATE, BH_POLICY_CONTAINERS, BH_POLICY_PERCENT, BH_POLICY_N_DECISIONS } BhPolicyDecision;

/* "act", "cool_down", "rate", "containers", "percent" */
const char *bh_policy_decision_name(BhPolicyDecision d);

typedef struct BhPolicyLimits BhPolicyLimits;

BhPolicyLimits *bh_policy_limits_new(void);
void bh_policy_limits_free(BhPolicyLimits *l); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPolicyLimits, bh_policy_limits_free)

typedef struct {
        const char *container; /* what tells containers apart: its id, at the central with its node */
        const char *workload;  /* with its application */
        guint running;         /* containers of the workload that run */
} BhPolicyPlace;

/* *first: this limit is reached for the first time since the policy acted last: to be told. */
BhPolicyDecision bh_policy_limits_take(BhPolicyLimits *l, const BhPolicy *p, const BhPolicyPlace *at, gint64 now_us, gboolean *first);
/* TRUE: take() would say COOL_DOWN, whatever the ledger has: what it takes to ask that need not be done. */
gboolean bh_policy_limits_cooling(const BhPolicyLimits *l, const BhPolicy *p, const char *container, gint64 now_us);
/* What came of a claim: FALSE: nothing was done, and its room is free again (not its place in the rate: what fails is not tried at once again). */
void bh_policy_limits_settle(BhPolicyLimits *l, const char *policy, const char *container, gboolean done, gboolean holds);
/* Claims that were held and are not any more go: `held` is asked of each that was settled so. */
void bh_policy_limits_sweep(BhPolicyLimits *l, const char *policy, gboolean (*held)(const char *policy, const char *container, gpointer data), gpointer data, gint64 now_us);
/* What the ledger has from an earlier run. */
void bh_policy_limits_restore(BhPolicyLimits *l, const char *policy, const BhPolicyPlace *at);

/* What the decision means, a sentence. Caller frees. */
char *bh_policy_limits_say(const BhPolicy *p, BhPolicyDecision d, const BhPolicyPlace *at);
