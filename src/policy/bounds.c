/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/bounds.h"

typedef struct {
        char *workload;
        gboolean pending, holds, dry; /* holds: as long as the ledger says so; dry: of a dry run, which takes no room from others */
        gint64 until_us;         /* of those that do not */
} Claim;

/* Of one policy. */
typedef struct {
        GHashTable *claims;  /* container → Claim */
        GHashTable *cooling; /* container → gint64: until when */
        GQueue acts;         /* gint64: when it acted, the oldest first; at most its rate */
        guint told;          /* bit by decision */
        gboolean dry;        /* it was a dry run when it was asked last */
} State;

struct BhPolicyLimits {
        GHashTable *states; /* policy's name → State */
        guint claims;       /* of all, but for dry ones */
};

const char *bh_policy_decision_name(BhPolicyDecision d) {
        static const char *const names[BH_POLICY_N_DECISIONS] = { "act", "cool_down", "rate", "containers", "percent" };

        return names[d];
}

static void claim_free(gpointer data) {
        Claim *c = data;

        g_free(c->workload);
        g_free(c);
}

static void state_free(gpointer data) {
        State *s = data;

        g_hash_table_unref(s->claims);
        g_hash_table_unref(s->cooling);
        g_queue_clear_full(&s->acts, g_free);
        g_free(s);
}

BhPolicyLimits *bh_policy_limits_new(void) {
        BhPolicyLimits *l = g_new0(BhPolicyLimits, 1);

        l->states = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, state_free);
        return l;
}

void bh_policy_limits_free(BhPolicyLimits *l) {
        if (!l)
                return;
        g_hash_table_unref(l->states);
        g_free(l);
}

static State *state_of(BhPolicyLimits *l, const char *policy) {
        State *s = g_hash_table_lookup(l->states, policy);

        if (s)
                return s;
        s = g_new0(State, 1);
        s->claims = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, claim_free);
        s->cooling = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_queue_init(&s->acts);
        g_hash_table_insert(l->states, g_strdup(policy), s);
        return s;
}

/* Claims whose time is over. */
static void expire(BhPolicyLimits *l, State *s, gint64 now_us) {
        GHashTableIter it;
        Claim *c;

        g_hash_table_iter_init(&it, s->claims);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &c))
                if (!c->pending && !c->holds && c->until_us <= now_us) {
                        l->claims -= !c->dry;
                        g_hash_table_iter_remove(&it);
                }
}

static gboolean over(gpointer key, gpointer until_us, gpointer now_us) {
        return *(gint64 *) until_us <= *(gint64 *) now_us;
}

gboolean bh_policy_limits_cooling(const BhPolicyLimits *l, const BhPolicy *p, const char *container, gint64 now_us) {
        const State *s = g_hash_table_lookup(l->states, p->name);
        const Claim *c = s ? g_hash_table_lookup(s->claims, container) : NULL;
        const gint64 *until = s ? g_hash_table_lookup(s->cooling, container) : NULL;

        return (c && c->pending) || (until && *until > now_us && !(s->dry && !p->dry_run)); /* see arm() */
}

/* From a dry run to one that acts: what would have been done takes no room from what is done. */
static void arm(State *s, const BhPolicy *p) {
        GHashTableIter it;
        Claim *c;

        if (s->dry && !p->dry_run) {
                g_hash_table_iter_init(&it, s->claims);
                while (g_hash_table_iter_next(&it, NULL, (gpointer *) &c))
                        if (c->dry && !c->pending)
                                g_hash_table_iter_remove(&it);
                g_hash_table_remove_all(s->cooling);
                g_queue_clear_full(&s->acts, g_free);
                s->told = 0;
        }
        s->dry = p->dry_run;
}

static BhPolicyDecision decide(BhPolicyLimits *l, State *s, const BhPolicy *p, const BhPolicyPlace *at, gint64 now_us) {
        GHashTableIter it;
        Claim *c;
        guint of_workload = 1;

        c = g_hash_table_lookup(s->claims, at->container);
        if ((c && c->holds) || bh_policy_limits_cooling(l, p, at->container, now_us)) /* what it holds already it need not hold again */
                return BH_POLICY_COOL_DOWN;
        expire(l, s, now_us);
        while (s->acts.head && *(gint64 *) s->acts.head->data + (gint64) p->rate_s * G_USEC_PER_SEC <= now_us)
                g_free(g_queue_pop_head(&s->acts));
        if (s->acts.length >= p->rate)
                return BH_POLICY_RATE;
        if (g_hash_table_size(s->cooling) >= BH_POLICY_COOLING_MAX && !g_hash_table_foreach_remove(s->cooling, over, &now_us))
                return BH_POLICY_RATE;
        gboolean known = g_hash_table_contains(s->claims, at->container);
        if (!known && (g_hash_table_size(s->claims) >= p->max_containers || (!p->dry_run && l->claims >= BH_POLICY_CLAIMS_MAX)))
                return BH_POLICY_CONTAINERS;
        g_hash_table_iter_init(&it, s->claims);
        for (const char *container; g_hash_table_iter_next(&it, (gpointer *) &container, (gpointer *) &c);)
                of_workload += g_str_equal(c->workload, at->workload) && !g_str_equal(container, at->container);
        /* the only container of a workload is all of it, and may be held all the same */
        if (at->running > 1 && (guint64) of_workload * 100 > (guint64) p->percent * at->running)
                return BH_POLICY_PERCENT;
        return BH_POLICY_ACT;
}

static void claim(BhPolicyLimits *l, State *s, const BhPolicyPlace *at, Claim how) {
        Claim *c = g_memdup2(&how, sizeof(how)), *old = g_hash_table_lookup(s->claims, at->container);

        c->workload = g_strdup(at->workload);
        l->claims += !c->dry;
        l->claims -= old && !old->dry;
        g_hash_table_insert(s->claims, g_strdup(at->container), c);
}

BhPolicyDecision bh_policy_limits_take(BhPolicyLimits *l, const BhPolicy *p, const BhPolicyPlace *at, gint64 now_us, gboolean *first) {
        State *s = state_of(l, p->name);

        arm(s, p);
        BhPolicyDecision d = decide(l, s, p, at, now_us);
        *first = FALSE;
        if (d == BH_POLICY_ACT) {
                claim(l, s, at, (Claim){ .pending = TRUE, .dry = p->dry_run, .until_us = now_us + (gint64) p->rate_s * G_USEC_PER_SEC });
                g_queue_push_tail(&s->acts, g_memdup2(&now_us, sizeof(now_us)));
                gint64 until = now_us + (gint64) p->cool_down_s * G_USEC_PER_SEC;
                g_hash_table_insert(s->cooling, g_strdup(at->container), g_memdup2(&until, sizeof(until)));
                s->told = 0;
        } else if (d != BH_POLICY_COOL_DOWN) {
                *first = !(s->told >> d & 1);
                s->told |= 1u << d;
        }
        return d;
}

void bh_policy_limits_settle(BhPolicyLimits *l, const char *policy, const char *container, gboolean done, gboolean holds) {
        State *s = g_hash_table_lookup(l->states, policy);
        Claim *c = s ? g_hash_table_lookup(s->claims, container) : NULL;

        if (!c)
                return;
        if (!done) {
                l->claims -= !c->dry;
                g_hash_table_remove(s->claims, container);
                return;
        }
        c->pending = FALSE;
        c->holds = holds;
}

void bh_policy_limits_sweep(BhPolicyLimits *l, const char *policy, gboolean (*held)(const char *policy, const char *container, gpointer data), gpointer data, gint64 now_us) {
        State *s = g_hash_table_lookup(l->states, policy);
        GHashTableIter it;
        const char *container;
        Claim *c;

        if (!s)
                return;
        expire(l, s, now_us);
        g_hash_table_iter_init(&it, s->claims);
        while (g_hash_table_iter_next(&it, (gpointer *) &container, (gpointer *) &c))
                if (c->holds && !held(policy, container, data)) {
                        l->claims -= !c->dry;
                        g_hash_table_iter_remove(&it);
                }
}

void bh_policy_limits_restore(BhPolicyLimits *l, const char *policy, const BhPolicyPlace *at) {
        claim(l, state_of(l, policy), at, (Claim){ .holds = TRUE });
}

char *bh_policy_limits_say(const BhPolicy *p, BhPolicyDecision d, const BhPolicyPlace *at) {
        switch (d) {
        case BH_POLICY_ACT:
                return g_strdup_printf("%s%s", p->dry_run ? "would be done: " : "", bh_response_action_does(p->action));
        case BH_POLICY_COOL_DOWN:
                return g_strdup_printf("it acted on this container less than %u s ago, or still holds it", p->cool_down_s);
        case BH_POLICY_RATE:
                return g_strdup_printf("its rate is reached: %u within %u s", p->rate, p->rate_s);
        case BH_POLICY_CONTAINERS:
                return g_strdup_printf("as many containers are held as may be at a time: %u by it, %u by all policies", p->max_containers, BH_POLICY_CLAIMS_MAX);
        default:
                return g_strdup_printf("more than %u %% of the %u running containers of %s would be held", p->percent, at->running, at->workload);
        }
}
