/* SPDX-License-Identifier: Apache-2.0 */
#include "policies.h"

#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"

#define FILE_MAX (16u << 20) /* BH_POLICIES_MAX of the longest, with room */
#define ACTOR "policy:"

struct BhNodePolicies {
        BhNodePoliciesConfig c;
        char *path, *node;
        gint active; /* atomic: how many are decided here */
        GThreadPool *pool;
        GMutex lock; /* of what follows */
        GPtrArray *all;      /* BhPolicy: those that are decided here */
        char *digest;
        guint total;         /* with those that the central decides */
        GHashTable *waiting; /* "policy container": a match of theirs waits */
        gboolean started;
        guint64 matched, acted, dry, limited, failed, is_protected, dropped;
        GMutex limits_lock; /* apart: the ledger may be waited for while it is held, and the drain thread waits for nobody */
        BhPolicyLimits *limits;
};

/* A match that is to be decided. */
typedef struct {
        BhPolicy *policy;
        char *key, *container, *reason;
} Match;

static void match_free(Match *m) {
        bh_policy_unref(m->policy);
        g_free(m->key);
        g_free(m->container);
        g_free(m->reason);
        g_free(m);
}

/* ---- the set ---- */

static void take_set(BhNodePolicies *p, const Bulkhead__Bus__V1__PolicySet *m, GPtrArray *policies) {
        g_mutex_lock(&p->lock);
        g_ptr_array_set_size(p->all, 0);
        p->total = policies->len;
        for (guint i = 0; i < policies->len; i++) {
                BhPolicy *one = policies->pdata[i];

                if (one->enabled && one->kind == BH_POLICY_RULE)
                        g_ptr_array_add(p->all, bh_policy_ref(one));
        }
        g_free(p->digest);
        p->digest = bh_bus_text_dup(m->digest);
        g_atomic_int_set(&p->active, (gint) p->all->len);
        g_mutex_unlock(&p->lock);
}

/* All or nothing; FALSE with *error. */
static gboolean read_set(BhNodePolicies *p, GBytes *body, GError **error) {
        g_autoptr(GPtrArray) policies = g_ptr_array_new_with_free_func((GDestroyNotify) bh_policy_unref);
        Bulkhead__Bus__V1__PolicySet *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__policy_set__descriptor, body, error);
        gboolean ok = m && m->n_policies <= BH_POLICIES_MAX;

        if (m && !ok)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "policy set: %" G_GSIZE_FORMAT " policies are more than the %u that a node takes", m->n_policies, BH_POLICIES_MAX);
        for (gsize i = 0; ok && i < m->n_policies; i++) {
                g_autoptr(GPtrArray) problems = NULL;
                BhPolicy *one = bh_policy_parse((const char *) m->policies[i]->text.data, m->policies[i]->text.len, &problems);

                if (one) {
                        g_ptr_array_add(policies, one);
                        continue;
                }
                const BhPolicyProblem *first = problems->pdata[0];
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "policy %.*s: line %u, column %u: %s; is this node older than the central?", (int) BH_POLICY_NAME_MAX, m->policies[i]->name, first->line,
                            first->column, first->what);
                ok = FALSE;
        }
        if (ok)
                take_set(p, m, policies);
        if (m)
                bulkhead__bus__v1__policy_set__free_unpacked(m, NULL);
        return ok;
}

gboolean bh_node_policies_set(BhNodePolicies *p, GBytes *body, GError **error) {
        gsize len;
        const char *data = g_bytes_get_data(body, &len);

        if (!read_set(p, body, error))
                return FALSE;
        return g_file_set_contents_full(p->path, data ? data : "", (gssize) len, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

/* ---- what is told ---- */

static void publish(BhNodePolicies *p, const char *policy, const BhOrder *o, const BhContainer *c, json_t *told) {
        Bulkhead__Bus__V1__ResponseReport m = BULKHEAD__BUS__V1__RESPONSE_REPORT__INIT;
        Bulkhead__Bus__V1__ResponseResult result = BULKHEAD__BUS__V1__RESPONSE_RESULT__INIT;
        g_autofree ProtobufCBinaryData *allow = g_new0(ProtobufCBinaryData, o->n_allow + 1), *deny = g_new0(ProtobufCBinaryData, o->n_deny + 1);
        char *detail = json_dumps(json_object_get(told, "detail"), JSON_COMPACT | JSON_ENSURE_ASCII);

        for (gsize i = 0; i < o->n_allow; i++)
                allow[i] = bh_bus_text(o->allow[i]);
        for (gsize i = 0; i < o->n_deny; i++)
                deny[i] = bh_bus_text(o->deny[i]);
        result.id = (char *) o->id;
        result.state = (char *) json_string_value(json_object_get(told, "state"));
        result.result = bh_bus_text(json_string_value(json_object_get(told, "result")));
        result.detail = bh_bus_text(detail);
        result.time_ns = json_integer_value(json_object_get(told, "time_ns"));
        result.container_id = bh_bus_text(o->container);
        m.result = &result;
        m.policy = (char *) policy;
        m.action = (char *) o->action;
        m.reason = bh_bus_text(o->reason);
        m.container_name = bh_bus_text(c ? c->name : "");
        m.workload = bh_bus_text(c ? c->workload : "");
        m.application = bh_bus_text(c ? c->application : "");
        m.allow = allow;
        m.n_allow = o->n_allow;
        m.deny = deny;
        m.n_deny = o->n_deny;
        m.until_ns = o->until_ns;
        m.best_effort = o->best_effort;
        p->c.publish(bh_bus_body_pack(&m.base), p->c.data);
        free(detail);
}

static void tell_again(const BhOrder *o, json_t *told, gpointer data) {
        BhNodePolicies *p = data;
        g_autoptr(BhContainer) c = bh_container_table_get(p->c.containers, o->container);
        const char *policy = o->actor + strlen(ACTOR), *state = json_string_value(json_object_get(told, "state"));

        publish(p, policy, o, c, told);
        if (g_strcmp0(state, bh_response_state_name(BH_RESPONSE_STATE_ACTIVE)))
                return;
        g_autofree char *workload = g_strdup_printf("%s/%s", c ? c->application : "", c ? c->workload : "");
        BhPolicyPlace at = { .container = o->container, .workload = workload };
        g_mutex_lock(&p->limits_lock); /* the ledger is locked, against the order of decide(): nothing is decided yet */
        bh_policy_limits_restore(p->limits, policy, &at);
        g_mutex_unlock(&p->limits_lock);
}

static void say_limit(BhNodePolicies *p, const BhPolicy *policy, const BhContainer *c, const char *decision, const char *why) {
        g_autofree char *text = g_strdup_printf("policy %s does nothing about container %s, and will not until there is room: %s", policy->name, c->name, why);
        g_autofree char *key = g_strdup_printf("%s: %s", policy->name, decision);

        if (p->c.say)
                p->c.say("policy_limit", text, "rule", key, p->c.data);
}

/* ---- deciding ---- */

static gboolean still_held(const char *policy, const char *container, gpointer data) {
        BhNodePolicies *p = data;
        g_autofree char *actor = g_strconcat(ACTOR, policy, NULL);

        return bh_respond_holds(p->c.respond, actor, container);
}

/* Of this workload, on this node. */
static guint running_of(const BhNodePolicies *p, const BhContainer *c) {
        g_autoptr(GPtrArray) all = bh_container_table_snapshot(p->c.containers);
        guint n = 0;

        for (guint i = 0; i < all->len; i++) {
                const BhContainer *o = all->pdata[i];

                n += g_str_equal(o->workload, c->workload) && g_str_equal(o->application, c->application) && (o->state == BH_CONTAINER_RUNNING || o->state == BH_CONTAINER_PAUSED || g_str_equal(o->id, c->id));
        }
        return n;
}

static char *new_id(void) {
        guint64 bits = (guint64) g_random_int() << 32 | g_random_int();

        return g_strdup_printf("%012" G_GINT64_MODIFIER "x", bits & 0xffffffffffffu);
}

static void act(BhNodePolicies *p, const Match *m, const BhContainer *c) {
        const BhPolicy *policy = m->policy;
        g_autofree char *id = new_id(), *actor = g_strconcat(ACTOR, policy->name, NULL);
        const BhOrder order = {
                .id = id,
                .action = bh_response_action_name(policy->action),
                .container = m->container,
                .reason = m->reason,
                .actor = actor,
                .allow = (const char *const *) policy->allow,
                .deny = (const char *const *) policy->deny,
                .n_allow = policy->allow ? g_strv_length(policy->allow) : 0,
                .n_deny = policy->deny ? g_strv_length(policy->deny) : 0,
                .until_ns = policy->ttl_s && !policy->dry_run ? (g_get_real_time() + policy->ttl_s * G_USEC_PER_SEC) * 1000 : 0,
                .dry_run = policy->dry_run,
                .best_effort = policy->best_effort,
        };
        json_auto_t *told = bh_respond_order(p->c.respond, &order);
        gboolean failed = !g_strcmp0(json_string_value(json_object_get(told, "state")), bh_response_state_name(BH_RESPONSE_STATE_FAILED));

        g_mutex_lock(&p->limits_lock);
        bh_policy_limits_settle(p->limits, policy->name, m->container, !failed, !policy->dry_run && bh_response_action_holds(policy->action));
        g_mutex_unlock(&p->limits_lock);
        g_mutex_lock(&p->lock);
        *(failed ? &p->failed : policy->dry_run ? &p->dry : &p->acted) += 1;
        g_mutex_unlock(&p->lock);
        publish(p, policy->name, &order, c, told);
}

/* Within the lock. Somebody may have removed or changed it, or made it a dry run, while the match waited. */
static gboolean in_force(const BhNodePolicies *p, const BhPolicy *policy) {
        for (guint i = 0; i < p->all->len; i++) {
                const BhPolicy *one = p->all->pdata[i];

                if (g_str_equal(one->name, policy->name))
                        return one->text_hash == policy->text_hash;
        }
        return FALSE;
}

static void decide(gpointer data, gpointer user) {
        Match *m = data;
        BhNodePolicies *p = user;
        g_autoptr(BhContainer) c = NULL;

        g_mutex_lock(&p->lock);
        if (in_force(p, m->policy))
                c = bh_container_table_get(p->c.containers, m->container);
        g_mutex_unlock(&p->lock);
        gint64 now_us = g_get_monotonic_time();
        g_mutex_lock(&p->limits_lock);
        gboolean cooling = bh_policy_limits_cooling(p->limits, m->policy, m->container, now_us);
        g_mutex_unlock(&p->limits_lock);
        g_autofree char *protects = c && !cooling ? bh_respond_protects(p->c.respond, c) : NULL;
        if (!c || cooling || protects) {
                g_mutex_lock(&p->lock);
                p->is_protected += protects != NULL;
                g_hash_table_remove(p->waiting, m->key);
                g_mutex_unlock(&p->lock);
                match_free(m);
                return;
        }
        g_autofree char *workload = g_strdup_printf("%s/%s", c->application, c->workload);
        BhPolicyPlace at = { .container = m->container, .workload = workload, .running = running_of(p, c) };
        gboolean first;

        g_mutex_lock(&p->limits_lock);
        bh_policy_limits_sweep(p->limits, m->policy->name, still_held, p, now_us);
        BhPolicyDecision d = bh_policy_limits_take(p->limits, m->policy, &at, now_us, &first);
        g_mutex_unlock(&p->limits_lock);
        g_mutex_lock(&p->lock);
        p->limited += d != BH_POLICY_ACT && d != BH_POLICY_COOL_DOWN;
        g_hash_table_remove(p->waiting, m->key); /* what comes from now on is told by the limits */
        g_mutex_unlock(&p->lock);
        if (d == BH_POLICY_ACT) {
                act(p, m, c);
        } else if (first) {
                g_autofree char *why = bh_policy_limits_say(m->policy, d, &at);

                say_limit(p, m->policy, c, bh_policy_decision_name(d), why);
        }
        match_free(m);
}

static const char *label_of(const char *key, gconstpointer container) {
        return bh_container_label(container, key);
}

void bh_node_policies_match(BhNodePolicies *p, const BhRule *rule, const char *finding, const struct bh_event *e) {
        /* who left its container is what the container did */
        const struct bh_str *of = bh_event_has(e, BH_F_container_id) ? &e->container_id : bh_event_has(e, BH_F_origin_id) ? &e->origin_id : NULL;

        if (!g_atomic_int_get(&p->active) || !of || !of->len)
                return;
        BhPolicyRuleMatch what = { .rule = rule->name, .tags = (const char *const *) rule->tags->pdata, .n_tags = rule->tags->len, .priority = (int) rule->priority };
        g_autofree char *container = g_strndup(of->p, of->len);
        g_autoptr(BhContainer) c = NULL;

        g_mutex_lock(&p->lock);
        for (guint i = 0; p->started && i < p->all->len; i++) {
                BhPolicy *policy = p->all->pdata[i];

                if (!bh_policy_of_rule(policy, &what))
                        continue;
                if (!c && !(c = bh_container_table_get(p->c.containers, container)))
                        break;
                BhPolicyTarget at = { .node = p->node, .container = c->id, .name = c->name, .workload = c->workload, .application = c->application, .image = c->image, .label = label_of, .data = c };
                g_autofree char *key = g_strdup_printf("%s %s", policy->name, container);
                if (!bh_policy_in_scope(policy, &at) || g_hash_table_contains(p->waiting, key))
                        continue;
                p->matched++;
                if (g_hash_table_size(p->waiting) >= BH_NODE_POLICIES_WAITING) {
                        p->dropped++;
                        continue;
                }
                Match *m = g_new0(Match, 1);
                m->policy = bh_policy_ref(policy);
                m->container = g_strdup(container);
                m->reason = g_strdup_printf("finding %s: %s", finding, rule->name);
                m->key = g_strdup(key);
                g_hash_table_add(p->waiting, g_steal_pointer(&key));
                g_thread_pool_push(p->pool, m, NULL);
        }
        g_mutex_unlock(&p->lock);
}

json_t *bh_node_policies_status(BhNodePolicies *p) {
        g_mutex_lock(&p->lock);
        json_t *out = json_pack("{s:i,s:i,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "policies", (int) p->total, "decided_here", (int) p->all->len, "digest", p->digest, "matched", (json_int_t) p->matched, "acted",
                                (json_int_t) p->acted, "dry_run", (json_int_t) p->dry, "limited", (json_int_t) p->limited, "failed", (json_int_t) p->failed, "protected", (json_int_t) p->is_protected, "dropped",
                                (json_int_t) p->dropped);
        g_mutex_unlock(&p->lock);
        return out;
}

/* ---- life ---- */

BhNodePolicies *bh_node_policies_new(const BhNodePoliciesConfig *config) {
        BhNodePolicies *p = g_new0(BhNodePolicies, 1);
        g_autoptr(GError) error = NULL;
        gboolean cut = FALSE;
        gsize len = 0;

        p->c = *config;
        p->path = g_strdup(config->path);
        p->node = g_strdup(config->node);
        p->digest = g_strdup("");
        g_mutex_init(&p->lock);
        g_mutex_init(&p->limits_lock);
        p->all = g_ptr_array_new_with_free_func((GDestroyNotify) bh_policy_unref);
        p->waiting = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        p->limits = bh_policy_limits_new();
        p->pool = g_thread_pool_new(decide, p, BH_NODE_POLICIES_THREADS, FALSE, NULL);
        if (!g_file_test(p->path, G_FILE_TEST_EXISTS))
                return p;
        char *text = bh_file_read(AT_FDCWD, p->path, FILE_MAX, &len, &cut, &error);
        g_autoptr(GBytes) body = text ? g_bytes_new_take(text, len) : NULL;
        if (cut || !body || !read_set(p, body, &error))
                bh_error("the policies that the central sent cannot be read: this node does nothing by itself until it sends them again", "path", p->path, "why", error ? error->message : "too long");
        return p;
}

void bh_node_policies_start(BhNodePolicies *p) {
        bh_respond_each(p->c.respond, ACTOR, tell_again, p);
        g_mutex_lock(&p->lock);
        p->started = TRUE;
        g_mutex_unlock(&p->lock);
}

void bh_node_policies_settle(BhNodePolicies *p) {
        if (!p)
                return;
        g_mutex_lock(&p->lock);
        p->started = FALSE; /* nothing is pushed any more */
        g_mutex_unlock(&p->lock);
        if (p->pool)
                g_thread_pool_free(g_steal_pointer(&p->pool), FALSE, TRUE);
}

void bh_node_policies_free(BhNodePolicies *p) {
        if (!p)
                return;
        bh_node_policies_settle(p);
        g_ptr_array_unref(p->all);
        g_hash_table_unref(p->waiting);
        bh_policy_limits_free(p->limits);
        g_mutex_clear(&p->lock);
        g_mutex_clear(&p->limits_lock);
        g_free(p->digest);
        g_free(p->path);
        g_free(p->node);
        g_free(p);
}
