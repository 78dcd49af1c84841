/* SPDX-License-Identifier: Apache-2.0 */
/* policies: what responds by itself; and what one would have done */
#include <string.h>

#include "json_out.h"
#include "models.h"
#include "policies.h"
#include "responses.h"
#include "routes.h"
#include "store/store_responses.h"

#define LOOK_BACK_S 86400
#define LOOK_MAX 5000u  /* findings, or incidents: the latest */
#define WOULD_MAX 200u  /* told */

/* ---- reading ---- */

static void members(GString *out, const BhPolicy *p) {
        g_autofree char *when = bh_policy_say_when(p), *scope = bh_policy_say_scope(p);

        bh_json_text(out, "description", p->description);
        bh_json_bool(out, "enabled", p->enabled);
        bh_json_bool(out, "dry_run", p->dry_run);
        bh_json_text(out, "decided", p->kind == BH_POLICY_RULE ? "node" : "central");
        bh_json_text(out, "when", when);
        bh_json_text(out, "scope", scope);
        bh_json_text(out, "action", bh_response_action_name(p->action));
        bh_json_uint(out, "ttl", p->ttl_s);
        bh_json_uint(out, "rate", p->rate);
        bh_json_uint(out, "rate_seconds", p->rate_s);
        bh_json_uint(out, "containers", p->max_containers);
        bh_json_uint(out, "percent", p->percent);
        bh_json_uint(out, "cool_down", p->cool_down_s);
}

void bh_view_policy(BhStore *s, GString *out, const char *key, const BhStoreText *row, gboolean whole) {
        g_autofree char *actor = g_strconcat("policy:", row->name, NULL);
        g_autoptr(GPtrArray) problems = NULL;
        g_autoptr(BhPolicy) p = bh_policy_parse(row->text, strlen(row->text), &problems);
        /* one that this version cannot read: it is shown, and does nothing */
        g_autoptr(BhPolicy) none = p ? NULL : g_new0(BhPolicy, 1);
        BhStoreResponseCounts n = { 0 };

        if (none) {
                g_atomic_ref_count_init(&none->refs);
                none->description = g_strdup_printf("it cannot be read, and does nothing: %s", ((const BhPolicyProblem *) problems->pdata[0])->what);
                none->dry_run = TRUE;
        }
        bh_store_responses_of(s, actor, &n, NULL);
        bh_json_open(out, key, '{');
        bh_json_text(out, "name", row->name);
        members(out, p ? p : none);
        bh_json_open(out, "responses", '{');
        bh_json_uint(out, "total", n.total);
        bh_json_uint(out, "open", n.open);
        bh_json_uint(out, "dry_run", n.dry_run);
        bh_json_uint(out, "failed", n.failed);
        bh_json_close(out, '}');
        bh_json_text(out, "changed_by", row->changed_by);
        bh_json_time(out, "changed", row->changed_ns);
        if (whole)
                bh_json_text(out, "text", row->text);
        bh_json_close(out, '}');
}

void bh_api_policies(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) rows = bh_store_policies(call->central->store, &error);

        if (!rows) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "policies", '[');
        for (guint i = 0; i < rows->len; i++)
                bh_view_policy(call->central->store, out, NULL, rows->pdata[i], FALSE);
        bh_json_close(out, ']');
        bh_policies_append_nodes(call->central->policies, out);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

static void answer(BhCall *call, const char *name) {
        GError *error = NULL;
        g_autoptr(BhStoreText) row = bh_store_policy(call->central->store, name, &error);

        if (!row) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        bh_view_policy(call->central->store, out, NULL, row, TRUE);
        bh_call_json(call, 200, out);
}

void bh_api_policy(BhCall *call) {
        answer(call, call->captures[0]);
}

/* ---- changing ---- */

static void append_problems(GString *out, const GPtrArray *problems) {
        bh_json_open(out, "problems", '[');
        for (guint i = 0; problems && i < problems->len; i++) {
                const BhPolicyProblem *x = problems->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_uint(out, "line", x->line);
                bh_json_uint(out, "column", x->column);
                bh_json_text(out, "what", x->what);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
}

static void answer_problems(BhCall *call, const GPtrArray *problems) {
        GString *out = g_string_new(NULL);

        bh_call_audit_write(call, call->captures[0], "refused", "it has errors");
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "error", '{');
        bh_json_text(out, "code", "bad_policy");
        bh_json_text(out, "message", "nothing was changed: the policy has errors");
        bh_json_close(out, '}');
        append_problems(out, problems);
        bh_json_close(out, '}');
        bh_call_json(call, 422, out);
}

/* ---- enforcing models: only what is known well enough ---- */

typedef struct {
        const BhPolicy *policy;
        guint models;
        char *loose; /* the first that is not strict enough */
} Strict;

static void look_at_model(BhModel *m, gpointer data) {
        Strict *s = data;
        const BhModelVersion *v = bh_model_version(m, NULL);
        BhPolicyTarget at = { .workload = m->workload, .application = m->application };
        BhPolicy where = { .workloads = s->policy->workloads, .applications = s->policy->applications };

        if (!v || !bh_policy_in_scope(&where, &at))
                return;
        s->models++;
        for (guint f = 1; f < BH_FAMILIES && !s->loose; f++)
                if (s->policy->families && g_strv_contains((const char *const *) s->policy->families, bh_family_kind(f)) && !bh_model_locked(v, f) && v->states[f] != BH_MODEL_ENFORCEABLE)
                        s->loose = g_strdup_printf("%s/%s: %s is %s", m->application, m->workload, bh_family_title(f), bh_model_state_name(v->states[f]));
}

/* FALSE: answered. */
static gboolean strict_enough(BhCall *call, const BhPolicy *p) {
        Strict s = { .policy = p };

        if (!p->families) {
                bh_call_error(call, 409, "not_strict", "to enforce models a policy must name families, like \"families: [exec]\": what is not known well enough would be refused for all the others");
                return FALSE;
        }
        bh_models_acquire(call->central->models);
        bh_models_each(call->central->models, look_at_model, &s);
        bh_models_release(call->central->models);
        g_autofree char *loose = s.loose;
        if (!s.models)
                bh_call_error(call, 409, "not_strict", "no model is in the scope of this policy: there is nothing to enforce yet");
        else if (loose)
                bh_call_error(call, 409, "not_strict", "%s, which is not strict enough to be enforced: lock it (bulkhead model lock), or let the policy be a dry run until less than 0.1 new is to be expected in a container's day", loose);
        return s.models && !loose;
}

void bh_api_policy_set(BhCall *call) {
        static const BhBodyField fields[] = { { "text", BH_BODY_LINES, TRUE, BH_POLICY_TEXT_MAX }, { "confirm", BH_BODY_TEXT, FALSE, BH_POLICY_NAME_MAX } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *text = bh_body_text(body, "text"), *name = call->captures[0];
        g_autoptr(GPtrArray) problems = NULL;
        GError *error = NULL;

        if (!body)
                return;
        g_autoptr(BhPolicy) p = bh_policy_parse(text, strlen(text), &problems);
        if (!p) {
                answer_problems(call, problems);
                return;
        }
        if (!g_str_equal(p->name, name)) {
                bh_call_error(call, 400, "bad_name", "the text's name is \"%s\", and the path's \"%s\": they must be the same", p->name, name);
                return;
        }
        gboolean armed = p->enabled && !p->dry_run;
        if (armed && g_strcmp0(bh_body_text(body, "confirm"), name) != 0) {
                bh_call_error(call, 400, "not_confirmed", "this policy acts on containers by itself (%s): say so by giving its name (%s) as \"confirm\", or let it be a dry run", bh_response_action_does(p->action), name);
                return;
        }
        if (armed && p->kind == BH_POLICY_ANOMALY && p->locked && !strict_enough(call, p))
                return;
        BhStoreAuditEntry audit = bh_call_audit(call, name, "ok", !p->enabled ? "disabled" : p->dry_run ? "dry run" : bh_response_action_name(p->action));
        if (!bh_store_policy_set(call->central->store, name, text, call->who.name, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_policies_changed(call->central->policies);
        answer(call, name);
}

void bh_api_policy_remove(BhCall *call) {
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", "removed");
        GError *error = NULL;

        if (!bh_store_policy_set(call->central->store, call->captures[0], NULL, call->who.name, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_policies_changed(call->central->policies);
        bh_call_no_content(call);
}

/* ---- what it would have done ---- */

typedef struct {
        BhCall *call;
        const BhPolicy *policy;
        BhPolicyLimits *limits;
        GHashTable *containers; /* "node/id" → BhStoreContainer; NULL: there is none */
        GString *out;
        guint64 looked_at, matched;
        guint told;
        gboolean more;
} Trial;

static const BhStoreContainer *container_of(Trial *t, const char *node, const char *id) {
        g_autofree char *key = g_strdup_printf("%s/%s", node, id);
        gpointer found;

        if (g_hash_table_lookup_extended(t->containers, key, NULL, &found))
                return found;
        found = *id ? bh_store_container(t->call->central->store, node, id, NULL) : NULL;
        g_hash_table_insert(t->containers, g_steal_pointer(&key), found);
        return found;
}

static void try_one(Trial *t, const BhStoreContainer *c, gint64 time_ns, const BhStoreFinding *f, guint64 incident) {
        g_autofree char *container = NULL, *workload = NULL, *why = NULL;
        const char *protects;
        BhPolicyPlace at;
        gboolean first;

        if (!c || !bh_policies_in_scope(t->policy, c) || !bh_policies_place(t->call->central->store, c, &at, &container, &workload, NULL))
                return;
        t->matched++;
        BhPolicyDecision d = BH_POLICY_ACT;
        if ((protects = bh_policies_protects(c))) {
                why = g_strdup_printf("the container is protected: %s", protects);
        } else {
                d = bh_policy_limits_take(t->limits, t->policy, &at, time_ns / 1000, &first);
                if (d == BH_POLICY_ACT) /* until when it would be held nobody knows: the time of the rate is taken */
                        bh_policy_limits_settle(t->limits, t->policy->name, container, TRUE, FALSE);
                why = bh_policy_limits_say(t->policy, d, &at);
        }
        if (t->told++ >= WOULD_MAX)
                return;
        bh_json_open(t->out, NULL, '{');
        bh_json_time(t->out, "time", time_ns);
        bh_json_text(t->out, "finding", f ? f->id : NULL);
        if (incident)
                bh_json_uint(t->out, "incident", incident);
        else
                bh_json_raw(t->out, "incident", NULL);
        bh_json_text(t->out, "rule", f ? f->rule : NULL);
        bh_json_text(t->out, "node", c->node);
        bh_json_text(t->out, "container_id", c->id);
        bh_json_text(t->out, "container_name", c->name);
        bh_json_text(t->out, "workload", c->workload);
        bh_json_text(t->out, "application", c->application);
        bh_json_text(t->out, "decision", protects ? "protected" : bh_policy_decision_name(d));
        bh_json_text(t->out, "why", why);
        bh_json_close(t->out, '}');
}

/* The latest rows, the oldest of them first; NULL with *error. `incidents`: of these. */
static GPtrArray *latest(Trial *t, gint64 since_ns, gboolean incidents, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(incidents ? (GDestroyNotify) bh_store_incident_free : (GDestroyNotify) bh_store_finding_free);
        BhStoreFindingFilter findings = { .kind = t->policy->kind == BH_POLICY_RULE ? "rule" : "model", .since_ns = since_ns };
        BhStoreIncidentFilter stories = { .since_ns = since_ns };
        BhStore *s = t->call->central->store;
        g_autofree char *cursor = NULL;

        do {
                g_autoptr(BhStorePage) page = incidents ? bh_store_incidents(s, &stories, cursor, BH_STORE_LIMIT_MAX, error) : bh_store_findings(s, &findings, cursor, BH_STORE_LIMIT_MAX, error);

                if (!page)
                        return NULL;
                g_ptr_array_set_free_func(page->rows, NULL);
                for (guint i = 0; i < page->rows->len; i++)
                        g_ptr_array_add(rows, page->rows->pdata[i]);
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor && rows->len < LOOK_MAX);
        t->more = cursor != NULL;
        for (guint i = 0; i < rows->len / 2; i++) {
                gpointer x = rows->pdata[i];

                rows->pdata[i] = rows->pdata[rows->len - 1 - i];
                rows->pdata[rows->len - 1 - i] = x;
        }
        return g_steal_pointer(&rows);
}

static gboolean try_all(Trial *t, gint64 since_ns, GError **error) {
        gboolean incidents = t->policy->kind == BH_POLICY_INCIDENT;
        g_autoptr(GPtrArray) rows = latest(t, since_ns, incidents, error);

        if (!rows)
                return FALSE;
        t->looked_at = rows->len;
        for (guint i = 0; i < rows->len; i++) {
                if (!incidents) {
                        const BhStoreFinding *f = rows->pdata[i];

                        if (bh_policies_of_finding(t->policy, f))
                                try_one(t, container_of(t, f->node, f->container_id), f->time_ns, f, 0);
                        continue;
                }
                const BhStoreIncident *x = rows->pdata[i];
                json_auto_t *containers = bh_policies_of_incident(t->policy, x) ? json_loads(x->containers, 0, NULL) : NULL;
                json_t *one;
                size_t n;

                json_array_foreach(containers, n, one) {
                        const char *node = json_string_value(json_object_get(one, "node")), *id = json_string_value(json_object_get(one, "id"));

                        if (node && id)
                                try_one(t, container_of(t, node, id), x->last_ns, NULL, x->id);
                }
        }
        return TRUE;
}

static void container_free(gpointer c) {
        if (c)
                bh_store_container_free(c);
}

void bh_api_policy_check(BhCall *call) {
        static const BhBodyField fields[] = { { "text", BH_BODY_LINES, TRUE, BH_POLICY_TEXT_MAX }, { "since", BH_BODY_INT, FALSE, 7 * 86400 } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *text = bh_body_text(body, "text");
        g_autoptr(GPtrArray) problems = NULL;
        g_autoptr(GString) would = g_string_new(NULL);
        GError *error = NULL;

        if (!body)
                return;
        json_t *back = json_object_get(body, "since");
        gint64 since_ns = (g_get_real_time() - (back ? json_integer_value(back) : LOOK_BACK_S) * G_USEC_PER_SEC) * 1000;
        g_autoptr(BhPolicy) p = bh_policy_parse(text, strlen(text), &problems);
        g_autoptr(BhPolicyLimits) limits = bh_policy_limits_new();
        g_autoptr(GHashTable) containers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, container_free);
        Trial t = { .call = call, .policy = p, .limits = limits, .containers = containers, .out = would };
        gboolean was_enabled = p && p->enabled;

        if (p)
                p->enabled = TRUE; /* what it would have done if it were */
        bh_json_open(would, "would", '[');
        if (p && !try_all(&t, since_ns, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_json_close(would, ']');
        bh_call_audit_write(call, p ? p->name : NULL, "ok", !p ? "it has errors" : was_enabled ? NULL : "disabled");
        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_uint(out, "errors", p ? 0 : problems->len);
        append_problems(out, p ? NULL : problems);
        bh_json_text(out, "name", p ? p->name : NULL);
        bh_json_uint(out, "looked_at", t.looked_at);
        bh_json_uint(out, "matched", t.matched);
        bh_json_bool(out, "more", t.more);
        g_string_append(out, would->str);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}
