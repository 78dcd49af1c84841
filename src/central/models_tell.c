/* SPDX-License-Identifier: Apache-2.0 */
/* What the analyzer tells: anomalies and drift as findings. */
#include <string.h>

#include "json_out.h"
#include "models_private.h"

#define NS_PER_US 1000
#define MINUTE_US (60 * (gint64) G_USEC_PER_SEC)

void bh_models_finding_free(gpointer p) {
        BhStoreFinding *f = p;
        char *texts[] = { f->id, f->rule, f->output, f->node, f->container_id, f->container_name, f->workload, f->application, f->fields, f->image, f->description, f->advice, (char *) f->fold };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_free(f);
}

static BhStoreFinding *finding(BhModels *m, BhKept *k, const char *node, gint64 time_ns, guint priority) {
        static const char *const names[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug" };
        BhStoreFinding *f = g_new0(BhStoreFinding, 1);
        g_autofree char *uuid = g_uuid_string_random();

        f->id = g_strdup_printf("model-%s", uuid);
        f->time_ns = f->last_ns = time_ns;
        f->priority = (char *) names[MIN(priority, 7)];
        f->source = (char *) "model";
        f->kind = (char *) "model";
        f->node = g_strdup(node);
        f->application = g_strdup(k->model->application);
        f->workload = g_strdup(k->model->workload);
        f->tags = (char *) "[\"model\"]";
        f->count = 1;
        f->container_id = g_strdup("");
        f->container_name = g_strdup("");
        f->image = g_strdup("");
        g_ptr_array_add(m->findings, f);
        k->urgent = TRUE;
        return f;
}

/* What is grave, and new, has a third of the findings to itself: a flood of small things does not make it unheard. */
static gboolean may_tell(BhModels *m, BhKept *k, gboolean grave) {
        gint64 now_us = g_get_monotonic_time();

        if (k->tokens_us)
                k->tokens = MIN(BH_MODELS_BURST, k->tokens + (double) (now_us - k->tokens_us) / (BH_MODELS_PACE_S * (double) G_USEC_PER_SEC));
        k->tokens_us = now_us;
        if (k->tokens >= (grave ? 1 : 1 + BH_MODELS_BURST / 3)) {
                k->tokens--;
                return TRUE;
        }
        if (!k->suppressed++)
                k->suppressed_us = now_us + MINUTE_US;
        m->stats.suppressed++;
        return FALSE;
}

void bh_models_tell(BhModels *m, BhKept *k, const BhVerdict *v, const BhAct *a, const BhModelBox *box, const char *node, const char *container) {
        m->stats.anomalies += v->fresh;
        if (!may_tell(m, k, v->fresh && bh_verdict_priority(v) <= 3))
                return;
        BhStoreFinding *f = finding(m, k, node, a->first_ns, bh_verdict_priority(v));
        GString *out = g_string_new("{");
        guint64 item = v->item ? v->item->hash : 0;

        f->rule = g_strdup_printf("Model: %s %s", v->kind == BH_VERDICT_FORBIDDEN ? "forbidden" : v->kind == BH_VERDICT_REFUSED ? "never learned" : "new", bh_family_title(a->family));
        f->output = bh_verdict_say(k->model, v, a);
        f->last_ns = a->last_ns;
        f->count = a->count;
        g_free(f->container_id);
        f->container_id = g_strdup(container);
        if (box) {
                g_free(f->container_name);
                g_free(f->image);
                f->container_name = g_strdup(box->name);
                f->image = g_strdup(box->image);
        }
        bh_json_text(out, "container.id", container);
        bh_json_text(out, "container.name", f->container_name);
        bh_json_text(out, a->family == BH_FAMILY_EXEC || a->family == BH_FAMILY_ARGS ? (a->family == BH_FAMILY_ARGS ? "proc.exepath" : "proc.pexepath") : "proc.exepath", a->actor);
        if (a->family == BH_FAMILY_EXEC)
                bh_json_text(out, "proc.exepath", a->object);
        bh_json_text(out, "model.family", bh_family_kind(a->family));
        bh_json_text(out, "model.actor", a->actor);
        bh_json_text(out, "model.object", a->object);
        bh_json_text(out, "model.detail", a->detail);
        bh_json_text(out, "model.example", a->example);
        bh_json_uint(out, "model.uid", a->uid);
        g_autofree char *id = g_strdup_printf("%016" G_GINT64_MODIFIER "x", item);
        bh_json_text(out, "model.item", id);
        bh_json_text(out, "model.verdict", v->kind == BH_VERDICT_FORBIDDEN ? "forbidden" : v->kind == BH_VERDICT_REFUSED ? "refused" : "novel");
        bh_json_text(out, "model.why", a->why);
        /* whether enforcement may rest on it: a person's lock, or a bound that is tight enough */
        bh_json_bool(out, "model.strict", bh_model_locked(v->version, a->family) || v->version->states[a->family] == BH_MODEL_ENFORCEABLE || v->kind == BH_VERDICT_FORBIDDEN);
        bh_json_text(out, "model.image_digest", v->version->digest);
        bh_json_uint(out, "model.replicas", v->item ? bh_item_replicas(v->item) : 1);
        bh_json_uint(out, "model.running", v->version->running);
        g_string_append_printf(out, "\"model.risk\":%d,\"model.surprise\":%d,", (int) (v->risk * 100), (int) (v->surprise * 100));
        bh_json_end(out);
        g_string_append_c(out, '}');
        f->fields = g_string_free(out, FALSE);
        f->description = g_strdup("The workload did what its behaviour model does not hold. Models learn what is normal until little new is to be expected; docs/models.md says how.");
        f->advice = g_strdup_printf("If it is right, let the model have it: bulkhead model accept %s %s. If not, look at what the container does: bulkhead events --container %.12s.", k->model->workload, id,
                                    container);
        /* one that there was no room for has no number: it is not equal to all others of the kind */
        f->fold = v->item ? g_strdup_printf("%s %s", id, v->version->digest) : g_strdup_printf("%s\n%s\n%s %s", a->actor, a->object, a->detail, v->version->digest);
}

/* Replicas that showed it, of those that are remembered. Borrowed boxes; caller frees. */
static GPtrArray *boxes_of(BhModels *m, const BhKept *k, const BhItem *i) {
        GPtrArray *out = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, m->boxes);
        while (i->n_replicas && g_hash_table_iter_next(&it, NULL, &p)) {
                BhModelBox *b = p;

                if (bh_item_shown_by(i, b->replica) && g_str_equal(b->workload, k->model->workload) && g_str_equal(b->application, k->model->application))
                        g_ptr_array_add(out, b);
        }
        return out;
}

typedef struct {
        BhModels *models;
        BhKept *kept;
} Due;

static void decided(BhModel *model, const BhVerdict *v, gpointer data) {
        Due *due = data;
        BhAct a = bh_item_act(v->item);
        BhVerdict one = *v;

        if (v->kind == BH_VERDICT_DRIFT) {
                due->kept->drift_us = g_get_monotonic_time();
                return;
        }
        if (v->quiet)
                return;
        g_autoptr(GPtrArray) boxes = boxes_of(due->models, due->kept, v->item);
        if (!boxes->len)
                bh_models_tell(due->models, due->kept, v, &a, NULL, "", "");
        /* how often each of them did it is not kept */
        a.count = boxes->len ? MAX(a.count / boxes->len, 1) : a.count;
        for (guint i = 0; i < boxes->len; i++, one.fresh = FALSE) {
                const BhModelBox *box = boxes->pdata[i];

                bh_models_tell(due->models, due->kept, &one, &a, box, box->node, box->id);
        }
}

static void tell_drift(BhModels *m, BhKept *k, BhModelVersion *v, gint64 now_ns) {
        BhStoreFinding *f = finding(m, k, "", now_ns, 5);

        m->stats.drifts++;
        f->rule = g_strdup("Model: drift");
        f->output = bh_model_say_drift(k->model, v);
        f->description = g_strdup("Most replicas do something that the model does not hold, as after an upgrade. It is told once, and waits for somebody to look at it.");
        f->advice = g_strdup_printf("Look at it with bulkhead model diff %s, and accept it with bulkhead model accept %s --drift.", k->model->workload, k->model->workload);
        f->fields = g_strdup("{}");
        f->fold = g_strdup_printf("drift %s", v->digest);
        v->drift = 0;
        k->model->dirty = TRUE;
}

void bh_models_due(BhModels *m) {
        gint64 now_us = g_get_monotonic_time(), now_ns = g_get_real_time() * 1000;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, m->models);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                BhKept *k = p;
                Due due = { m, k };

                bh_model_settle(k->model, now_ns, decided, &due);
                for (guint i = 0; i < k->model->versions->len; i++) {
                        BhModelVersion *v = k->model->versions->pdata[i];

                        /* all of a rollout in one notice: when nothing more has come for as long as replicas are waited for */
                        if (v->drift && now_us - k->drift_us >= m->scale.hold_ns / NS_PER_US)
                                tell_drift(m, k, v, now_ns);
                }
                if (k->suppressed && now_us >= k->suppressed_us) {
                        BhStoreFinding *f = finding(m, k, "", now_ns, 4);

                        f->rule = g_strdup("Model: more anomalies");
                        f->output = g_strdup_printf("%s/%s: %" G_GUINT64_FORMAT " more anomalies than are told one by one; bulkhead model show %s --outstanding lists what is new",
                                                    k->model->application, k->model->workload, k->suppressed, k->model->workload);
                        f->fields = g_strdup("{}");
                        f->fold = g_strdup("more");
                        f->count = k->suppressed;
                        k->suppressed = 0;
                }
        }
}
