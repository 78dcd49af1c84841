/* SPDX-License-Identifier: Apache-2.0 */
#include "policies.h"

#include <string.h>

#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "incident/incident.h"
#include "json_out.h"
#include "responses.h"
#include "spread.h"
#include "store/store_models.h"
#include "store/store_policies.h"

#define BATCH 64u
#define IDLE_US (2 * G_USEC_PER_SEC)
#define POSITION "policies.position" /* a setting of the store's own */
#define ACTOR "policy:"

struct BhPolicies {
        BhCentral *central;
        BhSpread *spread;
        GThread *thread;
        GThreadPool *orders;
        GMutex lock; /* of what follows */
        GCond moved;
        gboolean stopping, woken, changed;
        GMutex limits_lock;
        BhPolicyLimits *limits;
        /* the thread's */
        GPtrArray *all; /* BhPolicy: those that are decided here */
        guint64 at, stored;
};

/* ---- what it is asked of ---- */

gboolean bh_policies_of_finding(const BhPolicy *p, const BhStoreFinding *f) {
        if (p->kind == BH_POLICY_RULE) {
                json_auto_t *tags = json_loads(f->tags, 0, NULL);
                gsize n = json_array_size(tags);
                g_autofree const char **texts = g_new0(const char *, n + 1);
                BhPolicyRuleMatch m = { .rule = f->rule, .tags = texts, .priority = (int) bh_store_priority_rank(f->priority) };

                for (gsize i = 0; i < n; i++)
                        if (json_is_string(json_array_get(tags, i)))
                                texts[m.n_tags++] = json_string_value(json_array_get(tags, i));
                return g_str_equal(f->kind, "rule") && bh_policy_of_rule(p, &m);
        }
        if (p->kind != BH_POLICY_ANOMALY || !g_str_equal(f->kind, "model"))
                return FALSE;
        json_auto_t *fields = json_loads(f->fields, 0, NULL);
        const char *family = json_string_value(json_object_get(fields, "model.family"));
        BhPolicyAnomaly a = { .family = family, .surprise = (guint) CLAMP(json_integer_value(json_object_get(fields, "model.surprise")), 0, G_MAXINT), .locked = json_is_true(json_object_get(fields, "model.strict")) };

        return family && bh_policy_of_anomaly(p, &a);
}

gboolean bh_policies_of_incident(const BhPolicy *p, const BhStoreIncident *i) {
        const char *stages[BH_TACTICS + 1] = { NULL };
        guint n = 0;

        for (guint t = 0; t < BH_TACTICS; t++)
                if (i->tactics >> t & 1)
                        stages[n++] = bh_tactic_name(t);
        return g_str_equal(i->state, "open") && bh_policy_of_incident(p, i->severity, stages);
}

static const char *label_of(const char *key, gconstpointer labels) {
        return json_string_value(json_object_get((const json_t *) labels, key));
}

gboolean bh_policies_in_scope(const BhPolicy *p, const BhStoreContainer *c) {
        json_auto_t *labels = p->labels ? json_loads(c->labels, 0, NULL) : NULL;
        BhPolicyTarget t = {
                .node = c->node, .container = c->id, .name = c->name, .workload = c->workload, .application = c->application, .image = c->image, .label = label_of, .data = labels,
        };

        return bh_policy_in_scope(p, &t);
}

const char *bh_policies_protects(const BhStoreContainer *c) {
        json_auto_t *labels = json_loads(c->labels, 0, NULL);

        return bh_response_protects(label_of(BH_RESPONSE_LABEL_PROTECTED, labels), label_of(BH_RESPONSE_LABEL_NAMESPACE, labels));
}

static char *place_of(const BhStoreContainer *c) {
        return g_strdup_printf("%s/%s", c->node, c->id);
}

gboolean bh_policies_place(BhStore *s, const BhStoreContainer *c, BhPolicyPlace *at, char **container, char **workload, GError **error) {
        BhStoreContainerFilter all = { .application = c->application, .workload = c->workload, .living = TRUE };
        guint64 running = 0;

        if (!bh_store_containers_count(s, &all, &running, error))
                return FALSE;
        *container = place_of(c);
        *workload = g_strdup_printf("%s/%s", c->application, c->workload);
        *at = (BhPolicyPlace){ .container = *container, .workload = *workload, .running = (guint) MIN(running, G_MAXUINT) };
        return TRUE;
}

/* ---- to the nodes ---- */

static GBytes *pack(gpointer data, char **digest) {
        BhPolicies *p = data;
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) rows = bh_store_policies(p->central->store, &error);
        Bulkhead__Bus__V1__PolicySet m = BULKHEAD__BUS__V1__POLICY_SET__INIT;

        if (!rows) {
                bh_error("cannot read the policies", "error", error->message);
                return NULL;
        }
        g_autofree Bulkhead__Bus__V1__Policy *each = g_new0(Bulkhead__Bus__V1__Policy, rows->len + 1);
        g_autofree Bulkhead__Bus__V1__Policy **list = g_new0(Bulkhead__Bus__V1__Policy *, rows->len + 1);
        for (guint i = 0; i < rows->len; i++) {
                const BhStoreText *row = rows->pdata[i];

                bulkhead__bus__v1__policy__init(&each[i]);
                each[i].name = row->name;
                each[i].text = bh_bus_text(row->text);
                list[i] = &each[i];
        }
        m.policies = list;
        m.n_policies = rows->len;
        *digest = bh_spread_digest(rows);
        m.digest = bh_bus_text(*digest);
        return bh_bus_body_pack(&m.base);
}

/* A node that is older than policies, or knows less of them: it answers, and asking again changes nothing. */
static gboolean refused(const char *error) {
        return g_str_has_prefix(error, "policy ");
}

/* ---- acting ---- */

typedef struct {
        BhPolicy *policy;
        BhStoreResponse row; /* owns its texts */
        char *place;
} Order;

static void order_free(Order *o) {
        char *texts[] = { o->row.id, o->row.node, o->row.container_id, o->row.container_name, o->row.workload, o->row.application, o->row.actor, o->row.reason, o->row.allow, o->row.deny, o->row.result, o->place };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        bh_policy_unref(o->policy);
        g_free(o);
}

static void settle(BhPolicies *p, const Order *o, gboolean done, gboolean holds) {
        g_mutex_lock(&p->limits_lock);
        bh_policy_limits_settle(p->limits, o->policy->name, o->place, done, holds);
        g_mutex_unlock(&p->limits_lock);
}

static void carry_out(gpointer data, gpointer user) {
        Order *o = data;
        BhPolicies *p = user;
        g_autoptr(GError) away = NULL;

        /* what could not be told now is told when the node is back: it counts as held */
        bh_responses_order(p->central->responses, &o->row, &away);
        g_autoptr(BhStoreResponse) now = bh_store_response(p->central->store, o->row.id, NULL);
        gboolean failed = now && (g_str_equal(now->state, "failed") || g_str_equal(now->state, "gone"));
        settle(p, o, !failed, bh_response_action_holds(o->policy->action));
        order_free(o);
}

static char *list_json(char **texts) {
        GString *out = g_string_new(NULL);

        bh_json_open(out, NULL, '[');
        for (guint i = 0; texts && texts[i]; i++)
                bh_json_text(out, NULL, texts[i]);
        bh_json_close(out, ']');
        bh_json_end(out);
        return g_string_free(out, FALSE);
}

static void tell_limit(BhPolicies *p, const BhPolicy *policy, const BhStoreContainer *c, BhPolicyDecision d, const BhPolicyPlace *at) {
        g_autofree char *uuid = g_uuid_string_random(), *id = g_strdup_printf("policy-%s", uuid), *why = bh_policy_limits_say(policy, d, at);
        g_autofree char *output = g_strdup_printf("policy %s does nothing about container %s, and will not until there is room: %s", policy->name, c->name, why);
        gint64 now_ns = g_get_real_time() * 1000;
        g_autoptr(GError) error = NULL;
        BhStoreFinding f = {
                .id = id, .time_ns = now_ns, .last_ns = now_ns, .rule = (char *) "Policy reached its limit", .priority = (char *) "warning", .source = (char *) "policy", .kind = (char *) "sensor",
                .output = output, .node = c->node, .container_id = c->id, .container_name = c->name, .workload = c->workload, .application = c->application, .tags = (char *) "[\"policy\"]",
                .fields = (char *) "{}", .image = c->image, .description = (char *) "A policy would have acted, and one of its limits kept it from doing so.",
                .advice = (char *) "Look at what it did: bulkhead responses. Release what is not needed, or give the policy other limits.", .count = 1,
        };

        if (!bh_store_models_save(p->central->store, NULL, 0, &f, 1, 0, NULL, &error))
                bh_error("cannot store that a policy reached its limit", "policy", policy->name, "error", error->message);
}

static gboolean still_held(const char *policy, const char *container, gpointer data) {
        BhPolicies *p = data;
        g_autofree char *actor = g_strconcat(ACTOR, policy, NULL);
        const char *slash = strchr(container, '/');
        g_autofree char *node = g_strndup(container, slash ? (gsize) (slash - container) : 0);
        BhStoreResponseFilter f = { .actor = actor, .open = TRUE, .node = node, .container_id = slash ? slash + 1 : "" };
        g_autoptr(BhStorePage) page = bh_store_responses(p->central->store, &f, NULL, 1, NULL);

        return !page || page->rows->len;
}

static gboolean is_cooling(BhPolicies *p, const BhPolicy *policy, const BhStoreContainer *c) {
        g_autofree char *container = place_of(c);

        g_mutex_lock(&p->limits_lock);
        gboolean cooling = bh_policy_limits_cooling(p->limits, policy, container, g_get_monotonic_time());
        g_mutex_unlock(&p->limits_lock);
        return cooling;
}

/* `reason`: what it is about. */
static void act_on(BhPolicies *p, BhPolicy *policy, const BhStoreContainer *c, const char *reason) {
        g_autofree char *container = NULL, *workload = NULL;
        g_autoptr(GError) error = NULL;
        BhPolicyPlace at;
        gboolean first;

        if (c->ended_ns || bh_policies_protects(c) || !bh_policies_in_scope(policy, c) || is_cooling(p, policy, c))
                return;
        if (!bh_policies_place(p->central->store, c, &at, &container, &workload, &error)) {
                bh_error("cannot decide what a policy is to do", "policy", policy->name, "error", error->message);
                return;
        }
        g_mutex_lock(&p->limits_lock);
        gint64 now_us = g_get_monotonic_time();
        bh_policy_limits_sweep(p->limits, policy->name, still_held, p, now_us);
        BhPolicyDecision d = bh_policy_limits_take(p->limits, policy, &at, now_us, &first);
        g_mutex_unlock(&p->limits_lock);
        if (d != BH_POLICY_ACT) {
                if (first)
                        tell_limit(p, policy, c, d, &at);
                return;
        }
        Order *o = g_new0(Order, 1);
        o->policy = bh_policy_ref(policy);
        o->place = g_strdup(container);
        o->row = (BhStoreResponse){
                .id = bh_responses_new_id(), .action = (char *) bh_response_action_name(policy->action), .state = (char *) (policy->dry_run ? "dry_run" : "pending"), .node = g_strdup(c->node),
                .container_id = g_strdup(c->id), .container_name = g_strdup(c->name), .workload = g_strdup(c->workload), .application = g_strdup(c->application),
                .actor = g_strconcat(ACTOR, policy->name, NULL), .reason = g_strdup(reason), .allow = list_json(policy->allow), .deny = list_json(policy->deny),
                .result = policy->dry_run ? bh_policy_limits_say(policy, BH_POLICY_ACT, &at) : g_strdup("the node has not answered yet"), .detail = (char *) "{}",
                .until_ns = policy->ttl_s && !policy->dry_run ? (g_get_real_time() + policy->ttl_s * G_USEC_PER_SEC) * 1000 : 0, .best_effort = policy->best_effort,
        };
        g_autofree char *object = g_strdup_printf("%s %s", c->node, c->name), *detail = g_strdup_printf("%s %s: %s", o->row.action, o->row.id, reason);
        BhStoreAuditEntry audit = { .actor = o->row.actor, .action = "response.create", .object = object, .outcome = "ok", .detail = detail };
        if (!bh_store_response_add(p->central->store, &o->row, policy->dry_run ? NULL : &audit, &error)) {
                bh_error("what a policy decided cannot be written into the ledger, and is not done", "policy", policy->name, "container", c->name, "error", error->message);
                settle(p, o, FALSE, FALSE);
                order_free(o);
        } else if (policy->dry_run) {
                settle(p, o, TRUE, FALSE);
                order_free(o);
        } else if (g_thread_pool_unprocessed(p->orders) >= BH_POLICIES_WAITING) {
                settle(p, o, TRUE, bh_response_action_holds(policy->action));
                order_free(o);
        } else {
                g_thread_pool_push(p->orders, o, NULL);
        }
}

/* ---- what changed ---- */

static gboolean any(const BhPolicies *p, BhPolicyKind kind) {
        for (guint i = 0; i < p->all->len; i++)
                if (((const BhPolicy *) p->all->pdata[i])->kind == kind)
                        return TRUE;
        return FALSE;
}

static void look_at_finding(BhPolicies *p, const char *id) {
        g_autoptr(BhStoreFinding) f = any(p, BH_POLICY_ANOMALY) && g_str_has_prefix(id, "model-") ? bh_store_finding(p->central->store, id, NULL) : NULL;
        g_autoptr(BhStoreContainer) c = f && *f->container_id ? bh_store_container(p->central->store, f->node, f->container_id, NULL) : NULL;

        if (!c)
                return;
        g_autofree char *reason = g_strdup_printf("finding %s: %s", f->id, f->rule);
        for (guint i = 0; i < p->all->len; i++)
                if (bh_policies_of_finding(p->all->pdata[i], f))
                        act_on(p, p->all->pdata[i], c, reason);
}

static void look_at_incident(BhPolicies *p, const char *number) {
        g_autoptr(BhStoreIncident) x = any(p, BH_POLICY_INCIDENT) ? bh_store_incident(p->central->store, g_ascii_strtoull(number, NULL, 10), NULL) : NULL;
        json_auto_t *containers = x ? json_loads(x->containers, 0, NULL) : NULL;
        json_t *one;
        size_t n;

        if (!x)
                return;
        g_autofree char *reason = g_strdup_printf("incident %" G_GUINT64_FORMAT ": %s", x->id, x->title);
        for (guint i = 0; i < p->all->len; i++) {
                if (!bh_policies_of_incident(p->all->pdata[i], x))
                        continue;
                json_array_foreach(containers, n, one) {
                        const char *node = json_string_value(json_object_get(one, "node")), *id = json_string_value(json_object_get(one, "id"));
                        g_autoptr(BhStoreContainer) c = node && id ? bh_store_container(p->central->store, node, id, NULL) : NULL;

                        if (c)
                                act_on(p, p->all->pdata[i], c, reason);
                }
        }
}

static void look_at(BhPolicies *p, GPtrArray *changes) {
        /* apart: a finding has the id that its node gave it, which may be an incident's number */
        g_autoptr(GHashTable) findings = g_hash_table_new(g_str_hash, g_str_equal), incidents = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < changes->len; i++) {
                BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING || c->kind == BH_STORE_CHANGE_INCIDENT)
                        g_hash_table_insert(c->kind == BH_STORE_CHANGE_FINDING ? findings : incidents, c->key, c);
        }
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING && g_hash_table_lookup(findings, c->key) == c)
                        look_at_finding(p, c->key);
                else if (c->kind == BH_STORE_CHANGE_INCIDENT && g_hash_table_lookup(incidents, c->key) == c)
                        look_at_incident(p, c->key);
        }
}

/* ---- the thread ---- */

static void read_all(BhPolicies *p) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) rows = bh_store_policies(p->central->store, &error);

        if (!rows) {
                bh_error("cannot read the policies", "error", error->message);
                g_mutex_lock(&p->lock);
                p->changed = TRUE;
                g_mutex_unlock(&p->lock);
                return;
        }
        g_ptr_array_set_size(p->all, 0);
        for (guint i = 0; i < rows->len; i++) {
                const BhStoreText *row = rows->pdata[i];
                g_autoptr(GPtrArray) problems = NULL;
                g_autoptr(BhPolicy) policy = bh_policy_parse(row->text, strlen(row->text), &problems);

                if (!policy)
                        bh_error("a policy cannot be read any more, and does nothing", "policy", row->name, "why", ((const BhPolicyProblem *) problems->pdata[0])->what);
                else if (policy->enabled && policy->kind != BH_POLICY_RULE)
                        g_ptr_array_add(p->all, g_steal_pointer(&policy));
        }
}

static void restore_one(BhPolicies *p, const char *policy) {
        g_autofree char *actor = g_strconcat(ACTOR, policy, NULL);
        BhStoreResponseFilter f = { .actor = actor, .open = TRUE };
        g_autoptr(BhStorePage) page = bh_store_responses(p->central->store, &f, NULL, BH_STORE_LIMIT_MAX, NULL);

        for (guint k = 0; page && k < page->rows->len; k++) {
                const BhStoreResponse *r = page->rows->pdata[k];
                g_autofree char *container = g_strdup_printf("%s/%s", r->node, r->container_id), *workload = g_strdup_printf("%s/%s", r->application, r->workload);
                BhPolicyPlace at = { .container = container, .workload = workload };

                bh_policy_limits_restore(p->limits, policy, &at);
        }
}

/* What goes on of policies that are decided here, also of those that are off at the moment. */
static void restore(BhPolicies *p) {
        g_autoptr(GPtrArray) rows = bh_store_policies(p->central->store, NULL);

        for (guint i = 0; rows && i < rows->len; i++) {
                const BhStoreText *row = rows->pdata[i];
                g_autoptr(GPtrArray) problems = NULL;
                g_autoptr(BhPolicy) policy = bh_policy_parse(row->text, strlen(row->text), &problems);

                if (policy && policy->kind != BH_POLICY_RULE)
                        restore_one(p, row->name);
        }
}

static gboolean keep_position(BhPolicies *p) {
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, p->at);
        g_autoptr(GError) error = NULL;

        if (!bh_store_setting_set(p->central->store, POSITION, text, NULL, &error)) {
                bh_error("cannot store how far policies have looked", "error", error->message);
                return FALSE;
        }
        p->stored = p->at;
        return TRUE;
}

/* FALSE: nothing more now. */
static gboolean turn(BhPolicies *p) {
        g_autoptr(GError) error = NULL;
        gboolean gap = FALSE;

        if (!p->all->len) { /* nothing would be decided; but what comes behind a new policy is its own */
                guint64 last;
                gboolean ok = bh_store_changes_last(p->central->store, &last, NULL);

                g_mutex_lock(&p->lock);
                if (ok && !p->changed)
                        p->at = last;
                g_mutex_unlock(&p->lock);
                return FALSE;
        }
        g_autoptr(GPtrArray) changes = bh_store_changes_after(p->central->store, p->at, BATCH, &gap, &error);
        if (!changes) {
                bh_error("cannot read what changed", "error", error->message);
                return FALSE;
        }
        if (gap)
                bh_warn("policies missed some of what changed: it is not known any more");
        if (!changes->len) {
                if (gap)
                        bh_store_changes_last(p->central->store, &p->at, NULL);
                return FALSE;
        }
        look_at(p, changes);
        p->at = ((const BhStoreChange *) changes->pdata[changes->len - 1])->id;
        return TRUE;
}

static gpointer work(gpointer data) {
        BhPolicies *p = data;
        g_autofree char *kept = bh_store_setting_get(p->central->store, POSITION, NULL);

        read_all(p);
        restore(p);
        if (kept)
                p->at = p->stored = g_ascii_strtoull(kept, NULL, 10);
        else
                bh_store_changes_last(p->central->store, &p->at, NULL);
        g_mutex_lock(&p->lock);
        while (!p->stopping) {
                gboolean changed = p->changed;

                p->changed = p->woken = FALSE;
                g_mutex_unlock(&p->lock);
                if (changed)
                        read_all(p);
                gboolean more = turn(p);
                if (!more && p->all->len && p->at != p->stored)
                        keep_position(p);
                g_mutex_lock(&p->lock);
                if (!more && !p->stopping && !p->woken && !p->changed)
                        g_cond_wait_until(&p->moved, &p->lock, g_get_monotonic_time() + IDLE_US);
        }
        g_mutex_unlock(&p->lock);
        return NULL;
}

/* ---- life ---- */

BhPolicies *bh_policies_new(BhCentral *c) {
        BhPolicies *p = g_new0(BhPolicies, 1);

        p->central = c;
        g_mutex_init(&p->lock);
        g_mutex_init(&p->limits_lock);
        g_cond_init(&p->moved);
        p->limits = bh_policy_limits_new();
        p->all = g_ptr_array_new_with_free_func((GDestroyNotify) bh_policy_unref);
        return p;
}

void bh_policies_start(BhPolicies *p) {
        static const BhSpreadWhat what = { "policies_set", "bh-policy-send", pack, refused };

        p->spread = bh_spread_new(p->central, &what, p);
        p->orders = g_thread_pool_new(carry_out, p, BH_POLICIES_ORDERS, FALSE, NULL);
        p->thread = g_thread_new("bh-policies", work, p);
}

void bh_policies_stop(BhPolicies *p) {
        if (!p || !p->thread)
                return;
        g_mutex_lock(&p->lock);
        p->stopping = TRUE;
        g_cond_signal(&p->moved);
        g_mutex_unlock(&p->lock);
        g_thread_join(g_steal_pointer(&p->thread));
        g_thread_pool_free(g_steal_pointer(&p->orders), FALSE, TRUE); /* those that wait find that responses stop, and end at once */
        bh_spread_stop(p->spread);
}

void bh_policies_free(BhPolicies *p) {
        if (!p)
                return;
        bh_policies_stop(p);
        bh_spread_free(p->spread);
        bh_policy_limits_free(p->limits);
        g_ptr_array_unref(p->all);
        g_mutex_clear(&p->lock);
        g_mutex_clear(&p->limits_lock);
        g_cond_clear(&p->moved);
        g_free(p);
}

void bh_policies_wake(BhPolicies *p) {
        if (!p)
                return;
        g_mutex_lock(&p->lock);
        p->woken = TRUE;
        g_cond_signal(&p->moved);
        g_mutex_unlock(&p->lock);
}

void bh_policies_changed(BhPolicies *p) {
        g_mutex_lock(&p->lock);
        p->changed = TRUE;
        g_cond_signal(&p->moved);
        g_mutex_unlock(&p->lock);
        bh_spread_changed(p->spread);
}

void bh_policies_node_up(BhPolicies *p, const char *node) {
        if (p)
                bh_spread_node_up(p->spread, node);
}

void bh_policies_append_nodes(BhPolicies *p, GString *out) {
        bh_spread_append_nodes(p->spread, out);
}
