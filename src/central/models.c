/* SPDX-License-Identifier: Apache-2.0 */
#include "models.h"

#include <string.h>

#include "base/log.h"
#include "model/observed.h"
#include "models_private.h"
#include "store/store_models.h"

#define TICK_US G_USEC_PER_SEC
/* Each model and container is looked at: of 10,000 workloads that takes 70 ms, so it rests a hundred times as long. */
#define TICK_REST 100
#define TICK_MAX_US (30 * TICK_US)
#define SLACK_NS (10 * G_GINT64_CONSTANT(1000000000)) /* rows are stored a little before they are queued */
#define ACTS_AT_ONCE 256u /* that readers wait for, at most */
#define BREATH_US 100
#define BREATHS 20u /* for so many times: the analyzer does not starve either */
#define AGE_US (3600 * (gint64) G_USEC_PER_SEC)

/* ---- the table ---- */

static void kept_free(gpointer p) {
        BhKept *k = p;

        bh_model_free(k->model);
        g_free(k);
}

static BhKept *enter(BhModels *m, BhModel *model) {
        BhKept *k = g_new0(BhKept, 1);

        k->model = model;
        k->tokens = BH_MODELS_BURST;
        g_hash_table_insert(m->models, g_strdup_printf("%s\n%s", model->application, model->workload), k);
        return k;
}

BhKept *bh_models_kept(BhModels *m, const char *application, const char *workload, gboolean make) {
        g_autofree char *key = g_strdup_printf("%s\n%s", application, workload);
        BhKept *k = g_hash_table_lookup(m->models, key);

        if (k || !make || !*workload || g_hash_table_size(m->models) >= BH_MODELS_MAX)
                return k;
        return enter(m, bh_model_new(application, workload, &m->scale));
}

void bh_models_acquire(BhModels *m) {
        g_atomic_int_inc(&m->wanted);
        g_mutex_lock(&m->lock);
        g_atomic_int_add(&m->wanted, -1);
}

void bh_models_release(BhModels *m) {
        g_mutex_unlock(&m->lock);
}

BhModel *bh_models_get(BhModels *m, const char *application, const char *workload) {
        BhKept *k = bh_models_kept(m, application, workload, FALSE);

        return k ? k->model : NULL;
}

BhModel *bh_models_make(BhModels *m, const char *application, const char *workload) {
        BhKept *k = bh_models_kept(m, application, workload, TRUE);

        return k ? k->model : NULL;
}

void bh_models_each(BhModels *m, void (*each)(BhModel *, gpointer), gpointer data) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, m->models);
        while (g_hash_table_iter_next(&it, NULL, &p))
                each(((BhKept *) p)->model, data);
}

GPtrArray *bh_models_keys(BhModels *m) {
        GPtrArray *keys = g_ptr_array_new_full(g_hash_table_size(m->models), g_free);
        GHashTableIter it;
        gpointer key;

        g_hash_table_iter_init(&it, m->models);
        while (g_hash_table_iter_next(&it, &key, NULL))
                g_ptr_array_add(keys, g_strdup(key));
        return keys;
}

void bh_models_stats(BhModels *m, BhModelsStats *out) {
        GHashTableIter it;
        gpointer p;

        g_mutex_lock(&m->queue_lock);
        guint queued = m->queue.length;
        g_mutex_unlock(&m->queue_lock);
        bh_models_acquire(m);
        *out = m->stats;
        out->queued = queued;
        out->models = g_hash_table_size(m->models);
        g_hash_table_iter_init(&it, m->models);
        while (g_hash_table_iter_next(&it, NULL, &p))
                out->bytes += bh_model_bytes(((BhKept *) p)->model);
        g_mutex_unlock(&m->lock);
}

/* ---- what is kept ---- */

/* Models that changed (`all`), or those with a finding; and the findings. What cannot be stored stays and is tried again. */
static void save(BhModels *m, gboolean all, gint64 position_ns) {
        g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, sizeof(BhStoreModel)), findings = g_array_new(FALSE, TRUE, sizeof(BhStoreFinding));
        g_autoptr(GPtrArray) of = g_ptr_array_new();
        g_autoptr(GError) error = NULL;
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, m->models);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                BhKept *k = p;

                if (!k->urgent && !(all && k->model->dirty))
                        continue;
                const BhStoreModel row = { k->model->application, k->model->workload, bh_model_pack(k->model) };
                g_array_append_val(rows, row);
                g_ptr_array_add(of, k);
        }
        for (guint i = 0; i < m->findings->len; i++)
                g_array_append_vals(findings, m->findings->pdata[i], 1);
        if (rows->len || findings->len || position_ns) {
                if (bh_store_models_save(m->central->store, (const BhStoreModel *) (const void *) rows->data, rows->len, (const BhStoreFinding *) (const void *) findings->data, findings->len,
                                         position_ns, NULL, &error)) {
                        g_ptr_array_set_size(m->findings, 0);
                        m->changed = FALSE;
                        for (guint i = 0; i < of->len; i++)
                                ((BhKept *) of->pdata[i])->urgent = ((BhKept *) of->pdata[i])->model->dirty = FALSE;
                } else {
                        bh_error("cannot store behaviour models; they will be tried again", "error", error->message);
                }
        }
        for (guint i = 0; i < rows->len; i++)
                g_bytes_unref(g_array_index(rows, BhStoreModel, i).model);
}

gboolean bh_models_keep(BhModels *m, BhModel *model, const BhStoreAuditEntry *audit, GError **error) {
        g_autoptr(GBytes) bytes = bh_model_pack(model);
        const BhStoreModel row = { model->application, model->workload, bytes };

        if (!bh_store_models_save(m->central->store, &row, 1, NULL, 0, 0, audit, error))
                return FALSE;
        model->dirty = FALSE;
        return TRUE;
}

/* ---- acts ---- */

BhVerdictKind bh_models_act(BhModels *m, BhKept *k, const char *digest, BhAct *a, const BhModelBox *box, const char *node, const char *container) {
        a->replica = g_str_hash(container);
        a->starting = box && box->started_ns && a->first_ns < box->started_ns + m->scale.starting_ns;
        a->count = MAX(a->count, 1);
        m->seen |= 1u << a->family;
        k->model->seen = m->seen;
        m->stats.observations++;
        BhVerdict v = bh_model_observe(k->model, digest, a);

        switch (v.kind) {
        case BH_VERDICT_KNOWN:
        case BH_VERDICT_LEARNED:
        case BH_VERDICT_HELD:
                break;
        case BH_VERDICT_FULL:
                m->stats.over++;
                break;
        case BH_VERDICT_DRIFT:
                if (v.fresh)
                        k->drift_us = g_get_monotonic_time();
                break;
        case BH_VERDICT_REFUSED:
                m->stats.refused += v.fresh;
                /* the rule's own finding says it already */
                if (a->why && g_str_has_prefix(a->why, "rule "))
                        break;
                G_GNUC_FALLTHROUGH;
        case BH_VERDICT_NOVEL:
        case BH_VERDICT_FORBIDDEN:
                if ((v.fresh || !m->replaying) && !v.quiet)
                        bh_models_tell(m, k, &v, a, box, node, container);
                break;
        }
        return v.kind;
}

static void judge(BhModels *m, const BhStoreObservation *o) {
        const BhObserved what = { .kind = o->kind, .subject = o->subject, .parent = o->parent, .detail = o->detail, .example = o->example, .why = o->why, .uid = o->uid, .suspicious = o->suspicious,
                                  .count = o->count, .first_ns = o->first_ns, .last_ns = o->last_ns };
        g_auto(BhObservedActs) acts;

        bh_observed_acts(&what, &acts);
        if (!acts.n || !*o->container_id)
                return;
        BhKept *k = bh_models_kept(m, o->application, o->workload, TRUE);
        if (!k) {
                m->stats.over += *o->workload != '\0'; /* what belongs to none has no model */
                return;
        }
        const BhModelBox *box = bh_models_box(m, o->node, o->container_id);
        for (guint i = 0; i < acts.n; i++) {
                BhVerdictKind said = bh_models_act(m, k, o->image_digest, &acts.acts[i], box, o->node, o->container_id);

                if (said != BH_VERDICT_KNOWN && said != BH_VERDICT_LEARNED)
                        break;
        }
}

/* ---- the queue ---- */

static void queued_free(gpointer p) {
        BhStoreObservation *o = p;

        bh_store_observation_free(o);
}

void bh_models_observe(BhModels *m, const char *node, const BhStoreObservation *o) {
        BhStoreObservation *copy;

        if (!o->kind || !o->subject || !*o->subject)
                return;
        copy = g_memdup2(o, sizeof(*o));
        copy->node = g_strdup(node);
        copy->http = NULL;
        char **texts[] = { &copy->container_id, &copy->workload, &copy->application, &copy->image_digest, &copy->kind, &copy->subject, &copy->parent, &copy->detail, &copy->example, &copy->why };
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                *texts[i] = g_strdup(*texts[i] ? *texts[i] : "");
        g_mutex_lock(&m->queue_lock);
        if (m->queue.length >= BH_MODELS_QUEUE) {
                if (!m->reread_ns)
                        m->reread_ns = g_get_real_time() * 1000 - SLACK_NS;
                g_clear_pointer(&copy, queued_free);
        } else {
                g_queue_push_tail(&m->queue, copy);
        }
        g_cond_signal(&m->moved);
        g_mutex_unlock(&m->queue_lock);
}

/* Lets readers in: a mutex is not fair, and whoever has just left it is the first to have it again. */
static void breathe(BhModels *m) {
        g_mutex_unlock(&m->lock);
        for (guint i = 0; i < BREATHS && g_atomic_int_get(&m->wanted); i++)
                g_usleep(BREATH_US);
        g_mutex_lock(&m->lock);
}

static void judge_row(const BhStoreObservation *o, gpointer data) {
        BhModels *m = data;

        if (m->stats.reread++ % ACTS_AT_ONCE == 0 && m->thread)
                breathe(m);
        judge(m, o);
}

/* With the lock. */
static gboolean reread(BhModels *m, gint64 since_ns, GError **error) {
        m->replaying = TRUE;
        gboolean ok = bh_store_observations_since(m->central->store, since_ns, judge_row, m, error);
        m->replaying = FALSE;
        return ok;
}

static void read_settings(BhModels *m) {
        static const struct { const char *key; double fallback; } keys[] = { { "models.slot_ms", 10000 }, { "models.bound_ppm", 1000 }, { "models.starting_seconds", 60 }, { "models.hold_seconds", 20 } };
        double values[G_N_ELEMENTS(keys)];

        for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
                g_autofree char *text = bh_store_setting_get(m->central->store, keys[i].key, NULL);

                values[i] = text ? g_ascii_strtod(text, NULL) : keys[i].fallback;
        }
        m->scale.slot_ns = values[0] * 1e6;
        m->scale.bound = values[1] / 1e6;
        m->scale.starting_ns = (gint64) (values[2] * 1e9);
        m->scale.hold_ns = (gint64) (values[3] * 1e9);
}

static void tick(BhModels *m) {
        gint64 now_us = g_get_monotonic_time(), now_ns = g_get_real_time() * 1000;
        GHashTableIter it;
        gpointer p;

        if (now_us - m->settings_us >= 2 * G_USEC_PER_SEC) {
                m->settings_us = now_us;
                read_settings(m);
        }
        bh_models_watch(m);
        g_hash_table_iter_init(&it, m->models);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                BhKept *k = p;

                k->model->seen = m->seen;
                if (bh_model_converge(k->model))
                        k->urgent = m->changed = TRUE; /* what is trusted stays so over a crash */
                if (now_us - m->age_us >= AGE_US)
                        bh_model_age(k->model, now_ns);
        }
        if (now_us - m->age_us >= AGE_US)
                m->age_us = now_us;
        bh_models_due(m);
}

static gpointer run(gpointer data) {
        BhModels *m = data;
        gint64 tick_us = 0;
        gboolean stopping = FALSE;

        while (!stopping) {
                GQueue batch;

                g_mutex_lock(&m->queue_lock);
                while (!m->stopping && !m->queue.length && g_get_monotonic_time() < tick_us)
                        g_cond_wait_until(&m->moved, &m->queue_lock, tick_us);
                batch = m->queue;
                g_queue_init(&m->queue);
                stopping = m->stopping;
                gint64 again_ns = m->reread_ns;
                m->reread_ns = 0;
                g_mutex_unlock(&m->queue_lock);

                gint64 begun_ns = g_get_real_time() * 1000;
                g_mutex_lock(&m->lock);
                guint judged = 0;
                for (BhStoreObservation *o; (o = g_queue_pop_head(&batch)); queued_free(o)) {
                        if (++judged % ACTS_AT_ONCE == 0)
                                breathe(m);
                        judge(m, o);
                }
                if (again_ns) {
                        g_autoptr(GError) error = NULL;

                        if (!reread(m, again_ns, &error))
                                bh_error("behaviour models miss what was observed", "error", error->message);
                }
                if (g_get_monotonic_time() >= tick_us && !stopping) {
                        gint64 from_us = g_get_monotonic_time();

                        tick(m);
                        tick_us = g_get_monotonic_time();
                        tick_us += CLAMP((tick_us - from_us) * TICK_REST, TICK_US, TICK_MAX_US);
                }
                gboolean all = stopping || g_get_monotonic_time() - m->save_us >= BH_MODELS_SAVE_S * G_USEC_PER_SEC;
                if (all || m->findings->len || m->changed)
                        save(m, all, all ? begun_ns - SLACK_NS : 0);
                if (all)
                        m->save_us = g_get_monotonic_time();
                g_mutex_unlock(&m->lock);
        }
        return NULL;
}

/* ---- life ---- */

static gboolean load(const char *application, const char *workload, GBytes *bytes, gpointer data) {
        BhModels *m = data;
        g_autoptr(GError) error = NULL;
        BhModel *model = bh_model_unpack(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &m->scale, &error);

        if (!model) {
                bh_error("a behaviour model cannot be read and begins anew", "application", application, "workload", workload, "error", error->message);
                return TRUE;
        }
        BhKept *k = enter(m, model);
        for (guint i = 0; i < k->model->versions->len; i++) {
                const BhModelVersion *v = k->model->versions->pdata[i];

                for (guint f = 1; f < BH_FAMILIES; f++)
                        if (v->facets->families[f].items)
                                m->seen |= 1u << f;
        }
        return TRUE;
}

BhModels *bh_models_new(BhCentral *c, GError **error) {
        BhModels *m = g_new0(BhModels, 1);
        gint64 position;

        m->central = c;
        g_mutex_init(&m->lock);
        g_mutex_init(&m->queue_lock);
        g_cond_init(&m->moved);
        g_queue_init(&m->queue);
        m->models = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, kept_free);
        m->boxes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, bh_models_box_free);
        m->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        m->edges = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        m->findings = g_ptr_array_new_with_free_func(bh_models_finding_free);
        m->scale = bh_model_scale_default;
        m->save_us = m->age_us = g_get_monotonic_time();
        read_settings(m);
        gboolean ok = bh_store_models_load(c->store, load, m, error) && bh_models_watch_begin(m, error);
        if (ok)
                bh_models_watch_count(m); /* what is read again is held against as many replicas as it was */
        if (!ok || !bh_store_models_position(c->store, &position, error) || !reread(m, position, error)) {
                bh_models_free(m);
                return NULL;
        }
        m->thread = g_thread_new("bh-models", run, m);
        return m;
}

void bh_models_stop(BhModels *m) {
        if (!m || !m->thread)
                return;
        g_mutex_lock(&m->queue_lock);
        m->stopping = TRUE;
        g_cond_signal(&m->moved);
        g_mutex_unlock(&m->queue_lock);
        g_thread_join(g_steal_pointer(&m->thread));
}

void bh_models_free(BhModels *m) {
        if (!m)
                return;
        bh_models_stop(m);
        g_queue_clear_full(&m->queue, queued_free);
        g_hash_table_unref(m->models);
        g_hash_table_unref(m->boxes);
        g_hash_table_unref(m->nodes);
        g_hash_table_unref(m->edges);
        g_ptr_array_unref(m->findings);
        g_mutex_clear(&m->lock);
        g_mutex_clear(&m->queue_lock);
        g_cond_clear(&m->moved);
        g_free(m);
}
