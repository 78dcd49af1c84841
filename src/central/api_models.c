/* SPDX-License-Identifier: Apache-2.0 */
/* behaviour models: what was learned, what is new, and what people make of it */
#include <math.h>
#include <string.h>

#include "enforced.h"
#include "json_out.h"
#include "models.h"
#include "response/deny.h"
#include "response/response.h"
#include "routes.h"
#include "store/store_models.h"

#define ITEMS_MAX 5000u /* of an answer; more are counted */

static void append_real(GString *out, const char *key, double v) {
        char text[G_ASCII_DTOSTR_BUF_SIZE];

        bh_json_raw(out, key, isfinite(v) ? g_ascii_formatd(text, sizeof(text), "%.6g", v) : "null");
}

static const char *flag_name(guint flags) {
        return flags & BH_ITEM_FORBIDDEN ? "forbidden" : flags & BH_ITEM_ACCEPTED ? "accepted" : flags & BH_ITEM_LEARNED ? "learned" : flags & BH_ITEM_REFUSED ? "refused" : flags & BH_ITEM_DRIFT ? "drift"
               : flags & BH_ITEM_HELD ? "held" : flags & BH_ITEM_QUIET ? "observed" : "novel";
}

/* ---- which one ---- */

typedef struct {
        const char *workload;
        BhModel *found;
        guint n;
} Search;

static void look(BhModel *model, gpointer data) {
        Search *s = data;

        if (g_str_equal(model->workload, s->workload)) {
                s->found = model;
                s->n++;
        }
}

/* The model of application (NULL: of whichever has that workload) and workload. While held. NULL: answered. */
static BhModel *model_of(BhCall *call, const char *application, const char *workload) {
        BhModels *all = call->central->models;
        Search s = { .workload = workload };

        if (!workload || !*workload) {
                bh_call_error(call, 400, "bad_request", "name a workload: GET /api/v1/models lists those that have a model");
                return NULL;
        }
        if (application) {
                s.found = bh_models_get(all, application, workload);
                s.n = s.found != NULL;
        } else {
                bh_models_each(all, look, &s);
        }
        if (!s.n)
                bh_call_error(call, 404, "not_found", "there is no model of that workload");
        else if (s.n > 1)
                bh_call_error(call, 409, "ambiguous", "several applications have such a workload: name the application");
        return s.n == 1 ? s.found : NULL;
}

static BhModelVersion *version_of(BhCall *call, const BhModel *m, const char *digest) {
        BhModelVersion *v = m ? bh_model_version(m, digest && *digest ? digest : NULL) : NULL;

        if (m && !v)
                bh_call_error(call, 404, "not_found", "the model has no version of that image digest");
        return v;
}

/* ---- answers ---- */

static void append_family(GString *out, const BhModel *m, const BhModelVersion *v, guint family) {
        const BhFacet *f = &v->facets->families[family];

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "family", bh_family_kind(family));
        bh_json_text(out, "title", bh_family_title(family));
        bh_json_text(out, "state", bh_model_state_name(v->states[family]));
        bh_json_bool(out, "locked", bh_model_locked(v, family));
        bh_json_bool(out, "observed", m->seen >> family & 1);
        bh_json_uint(out, "learned", f->learned);
        bh_json_uint(out, "outstanding", f->items - f->learned);
        bh_json_uint(out, "seen_once", f->singles);
        bh_json_uint(out, "acts", f->acts);
        bh_json_uint(out, "over", f->over);
        append_real(out, "new_per_trial", bh_facet_upper(f->singles, f->doubles, v->facets->trials));
        bh_json_close(out, '}');
}

/* What the least trusted family is that anything is known of. */
static const char *state_of(const BhModel *m, const BhModelVersion *v) {
        guint least = BH_MODEL_ENFORCEABLE, all = 0;

        for (guint f = 1; f < BH_FAMILIES; f++)
                if (m->seen >> f & 1) {
                        all++;
                        if (!(v->locked >> f & 1))
                                least = MIN(least, v->states[f]);
                }
        return all ? bh_model_state_name(least) : "learning";
}

static void append_version(GString *out, const BhModel *m, const BhModelVersion *v) {
        guint learned = 0, items = 0;

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "image_digest", v->digest);
        bh_json_text(out, "state", state_of(m, v));
        bh_json_bool(out, "locked", (v->locked & m->seen) == m->seen && v->locked);
        bh_json_bool(out, "shadow", v->shadow);
        bh_json_uint(out, "running", v->running);
        bh_json_uint(out, "starts", v->facets->starts);
        append_real(out, "trials", v->facets->trials);
        append_real(out, "container_hours", v->facets->trials * m->scale->slot_ns / 3600e9);
        bh_json_time(out, "first", v->first_ns);
        bh_json_time(out, "last", v->last_ns);
        bh_json_open(out, "families", '[');
        for (guint f = 1; f < BH_FAMILIES; f++) {
                learned += v->facets->families[f].learned;
                items += v->facets->families[f].items;
                append_family(out, m, v, f);
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "learned", learned);
        bh_json_uint(out, "outstanding", items - learned);
        bh_json_close(out, '}');
}

static void append_model(const BhModel *m, GString *out) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "application", m->application);
        bh_json_text(out, "workload", m->workload);
        bh_json_uint(out, "bytes", bh_model_bytes(m));
        bh_json_uint(out, "over", m->over);
        bh_json_open(out, "versions", '[');
        for (guint i = m->versions->len; i-- > 0;)
                append_version(out, m, m->versions->pdata[i]);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
}

/* A cursor is the key of the last model that was given, in hex: names hold anything. NULL: answered. */
static char *key_of_cursor(BhCall *call, const char *cursor) {
        gsize n = strlen(cursor) / 2;
        g_autofree char *key = g_malloc0(n + 1);

        for (gsize i = 0; i < n; i++) {
                gint high = g_ascii_xdigit_value(cursor[2 * i]), low = g_ascii_xdigit_value(cursor[2 * i + 1]);

                if (high < 0 || low < 0 || !(key[i] = (char) (high << 4 | low)))
                        break;
        }
        if (strlen(cursor) % 2 || strlen(key) != n || !strchr(key, '\n')) {
                bh_call_error(call, 400, "invalid", "the cursor is not one that an earlier page gave: begin again without it");
                return NULL;
        }
        return g_steal_pointer(&key);
}

static char *cursor_of(const char *key) {
        GString *out = g_string_new(NULL);

        for (; *key; key++)
                g_string_append_printf(out, "%02x", (guint8) *key);
        return g_string_free(out, FALSE);
}

static int by_key(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static gboolean is_asked_for(const char *key, const char *application, const char *workload) {
        const char *end = strchr(key, '\n');

        return (!application || (strlen(application) == (gsize) (end - key) && g_str_has_prefix(key, application))) && (!workload || g_str_equal(end + 1, workload));
}

/* One model at a time is held: the analyzer waits for no page. One that comes or goes meanwhile is in a page or not, none is told twice. */
void bh_api_models(BhCall *call) {
        const char *application = bh_call_param(call, "application"), *workload = bh_call_param(call, "workload"), *cursor = bh_call_param(call, "cursor");
        BhModels *all = call->central->models;
        g_autofree char *after = NULL, *next = NULL;
        BhModelsStats s;
        guint limit, given = 0;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || (cursor && !(after = key_of_cursor(call, cursor))))
                return;
        bh_models_stats(all, &s);
        bh_models_acquire(all);
        g_autoptr(GPtrArray) keys = bh_models_keys(all);
        bh_models_release(all);
        g_ptr_array_sort(keys, by_key);

        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "models", '[');
        const char *last = NULL;
        for (guint i = 0; i < keys->len; i++) {
                const char *key = keys->pdata[i], *end = strchr(key, '\n');

                if ((after && strcmp(key, after) <= 0) || !is_asked_for(key, application, workload))
                        continue;
                if (given == limit) {
                        next = cursor_of(last);
                        break;
                }
                g_autofree char *of = g_strndup(key, (gsize) (end - key));
                bh_models_acquire(all);
                BhModel *m = bh_models_get(all, of, end + 1);
                if (m)
                        append_model(m, out);
                bh_models_release(all);
                given++;
                last = key;
        }
        bh_json_close(out, ']');
        bh_json_text(out, "next", next);
        bh_json_open(out, "analyzer", '{');
        bh_json_uint(out, "models", s.models);
        bh_json_uint(out, "bytes", s.bytes);
        bh_json_uint(out, "observations", s.observations);
        bh_json_uint(out, "anomalies", s.anomalies);
        bh_json_uint(out, "refused", s.refused);
        bh_json_uint(out, "drifts", s.drifts);
        bh_json_uint(out, "suppressed", s.suppressed);
        bh_json_uint(out, "queued", s.queued);
        bh_json_uint(out, "reread", s.reread);
        bh_json_uint(out, "over", s.over);
        bh_json_close(out, '}');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

static void append_item(GString *out, const BhItem *i) {
        const BhAct a = bh_item_act(i);
        g_autofree char *id = g_strdup_printf("%016" G_GINT64_MODIFIER "x", i->hash), *said = bh_act_say(&a);

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "item", id);
        bh_json_text(out, "family", bh_family_kind(i->family));
        bh_json_text(out, "actor", i->actor);
        bh_json_text(out, "object", i->object);
        bh_json_text(out, "detail", i->detail);
        bh_json_uint(out, "uid", i->uid);
        bh_json_text(out, "standing", flag_name(i->flags));
        bh_json_bool(out, "inherited", i->flags & BH_ITEM_INHERITED);
        bh_json_bool(out, "starting", i->flags & BH_ITEM_STARTING);
        bh_json_uint(out, "count", i->count);
        bh_json_uint(out, "trials", i->units);
        bh_json_uint(out, "replicas", bh_item_replicas(i));
        bh_json_time(out, "first", i->first_ns);
        bh_json_time(out, "last", i->last_ns);
        bh_json_text(out, "example", i->example);
        bh_json_text(out, "why", i->why);
        bh_json_text(out, "says", said);
        append_real(out, "risk", bh_act_risk(&a));
        bh_json_close(out, '}');
}

static int by_text(gconstpointer pa, gconstpointer pb) {
        const BhItem *a = *(const BhItem *const *) pa, *b = *(const BhItem *const *) pb;
        int c = (int) a->family - (int) b->family;

        if (!c)
                c = strcmp(a->actor, b->actor);
        if (!c)
                c = strcmp(a->object, b->object);
        return c ? c : strcmp(a->detail, b->detail);
}

/* Those for which `wanted` says so, sorted. */
static void append_items(GString *out, const char *key, const BhModelVersion *v, gboolean (*wanted)(const BhItem *i, gconstpointer data), gconstpointer data, guint *left_out) {
        g_autoptr(GPtrArray) all = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, v->facets->items);
        while (g_hash_table_iter_next(&it, &p, NULL))
                if (wanted(p, data))
                        g_ptr_array_add(all, p);
        g_ptr_array_sort(all, by_text);
        bh_json_open(out, key, '[');
        for (guint i = 0; i < all->len && i < ITEMS_MAX; i++)
                append_item(out, all->pdata[i]);
        bh_json_close(out, ']');
        *left_out += all->len > ITEMS_MAX ? all->len - ITEMS_MAX : 0;
}

typedef struct {
        BhFamily family;
        gboolean outstanding;
} Wanted;

static gboolean is_wanted(const BhItem *i, gconstpointer data) {
        const Wanted *w = data;

        return (w->family == BH_FAMILY_NONE || i->family == w->family) && (!w->outstanding || !(i->flags & (BH_ITEM_LEARNED | BH_ITEM_FORBIDDEN)));
}

void bh_api_model_items(BhCall *call) {
        const char *kind = bh_call_param(call, "family");
        Wanted w = { .family = kind ? bh_family_from_kind(kind) : BH_FAMILY_NONE };
        GString *out;
        guint left_out = 0;

        if (!bh_call_flag(call, "outstanding", &w.outstanding))
                return;
        if (kind && w.family == BH_FAMILY_NONE) {
                bh_call_error(call, 400, "bad_request", "there is no such family of behaviour");
                return;
        }
        bh_models_acquire(call->central->models);
        BhModel *m = model_of(call, bh_call_param(call, "application"), bh_call_param(call, "workload"));
        BhModelVersion *v = version_of(call, m, bh_call_param(call, "image_digest"));
        if (v) {
                out = g_string_new(NULL);
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "application", m->application);
                bh_json_text(out, "workload", m->workload);
                bh_json_open(out, "version", '[');
                append_version(out, m, v);
                bh_json_close(out, ']');
                append_items(out, "items", v, is_wanted, &w, &left_out);
                bh_json_uint(out, "left_out", left_out);
                bh_json_close(out, '}');
                bh_call_json(call, 200, out);
        }
        bh_models_release(call->central->models);
}

static gboolean is_not_in(const BhItem *i, gconstpointer data) {
        const BhModelVersion *other = data;
        const BhAct a = bh_item_act(i);
        const BhItem *has = bh_facets_find(other->facets, &a);

        return !(i->flags & BH_ITEM_FORBIDDEN) && (!has || !(has->flags & BH_ITEM_LEARNED));
}

/* Taken over and never done by the version itself. */
static gboolean is_unused(const BhItem *i, gconstpointer data) {
        return (i->flags & BH_ITEM_INHERITED) && !(i->flags & BH_ITEM_NOVEL);
}

void bh_api_model_diff(BhCall *call) {
        const char *base = bh_call_param(call, "base");
        guint left_out = 0;

        bh_models_acquire(call->central->models);
        BhModel *m = model_of(call, bh_call_param(call, "application"), bh_call_param(call, "workload"));
        BhModelVersion *v = version_of(call, m, bh_call_param(call, "image_digest")), *old = NULL;
        if (v && base)
                old = version_of(call, m, base);
        else if (v)
                for (guint i = 0; i < m->versions->len && m->versions->pdata[i] != v; i++)
                        old = m->versions->pdata[i];
        if (v && !old && !base)
                bh_call_error(call, 404, "not_found", "the model has no version before this one");
        if (v && old) {
                GString *out = g_string_new(NULL);

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "application", m->application);
                bh_json_text(out, "workload", m->workload);
                bh_json_text(out, "image_digest", v->digest);
                bh_json_text(out, "base", old->digest);
                append_items(out, "added", v, is_not_in, old, &left_out);
                append_items(out, "not_seen", v, is_unused, old, &left_out);
                bh_json_uint(out, "left_out", left_out);
                bh_json_close(out, '}');
                bh_call_json(call, 200, out);
        }
        bh_models_release(call->central->models);
}

void bh_api_model_text(BhCall *call) {
        const char *format = bh_call_param(call, "format");
        g_autofree char *text = NULL;
        g_autoptr(GError) error = NULL;

        if (!format)
                format = "model";
        bh_models_acquire(call->central->models);
        BhModel *m = model_of(call, bh_call_param(call, "application"), bh_call_param(call, "workload"));
        BhModelVersion *v = version_of(call, m, bh_call_param(call, "image_digest"));
        if (v && g_str_equal(format, "model"))
                text = bh_model_export(m, v);
        else if (v && g_str_equal(format, "allow"))
                text = bh_model_allow_list(m, v);
        else if (v && g_str_equal(format, "networkpolicy"))
                text = bh_model_network_policy(m, v);
        else if (v && g_str_equal(format, "seccomp") && !(text = bh_model_seccomp(m, v, &error)))
                bh_call_error(call, 409, "nothing_learned", "%s", error->message);
        else if (text)
                ;
        else if (v)
                bh_call_error(call, 400, "bad_request", "format is \"model\", \"allow\", \"networkpolicy\" or \"seccomp\"");
        bh_models_release(call->central->models);
        if (text) {
                GString *out = g_string_new(NULL);

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "format", format);
                bh_json_text(out, "text", text);
                bh_json_close(out, '}');
                bh_call_json(call, 200, out);
        }
}

/* ---- changes ---- */

#define WHICH { "application", BH_BODY_TEXT, FALSE, BH_STORE_KEY_MAX }, { "workload", BH_BODY_TEXT, TRUE, BH_STORE_KEY_MAX }, { "image_digest", BH_BODY_TEXT, FALSE, 1024 }

static char *object_of(const BhModel *m, const BhModelVersion *v) {
        return g_strdup_printf("%s/%s %s", m->application, m->workload, v->digest);
}

/* While held: stored, then answered. A change that cannot be stored stays in memory and is stored later, but is not said to be done. */
static void finish(BhCall *call, BhModel *m, const BhModelVersion *v, const char *detail) {
        g_autofree char *object = object_of(m, v);
        BhStoreAuditEntry audit = bh_call_audit(call, object, "ok", detail);
        GError *error = NULL;

        if (!bh_models_keep(call->central->models, m, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_enforced_wake(call->central->enforced);
        GString *out = g_string_new(NULL);
        append_model(m, out);
        bh_call_json(call, 200, out);
}

/* What was learned of an enforced family may not go: its list would be empty. FALSE: answered. */
static gboolean may_forget(BhCall *call, const BhModel *m, guint32 families) {
        GError *error = NULL;
        g_autoptr(GPtrArray) all = bh_enforced_all(call->central->enforced, &error);

        if (!all) {
                bh_call_store_error(call, error);
                return FALSE;
        }
        for (guint f = 1; f < BH_FAMILIES; f++)
                if (families >> f & 1 && bh_enforced_find(all, m->application, m->workload, f)) {
                        bh_call_error(call, 409, "enforced", "%s of this model are enforced: end that first (bulkhead model unenforce)", bh_family_title(f));
                        return FALSE;
                }
        return TRUE;
}

static void set_families(BhCall *call, void (*set)(BhModel *, BhModelVersion *, guint32)) {
        static const BhBodyField fields[] = { WHICH, { "family", BH_BODY_TEXT, FALSE, 32 } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *kind = body ? bh_body_text(body, "family") : NULL;
        BhFamily family = kind ? bh_family_from_kind(kind) : BH_FAMILY_NONE;

        if (!body)
                return;
        if (kind && family == BH_FAMILY_NONE) {
                bh_call_error(call, 400, "bad_request", "there is no such family of behaviour");
                return;
        }
        bh_models_acquire(call->central->models);
        BhModel *m = model_of(call, bh_body_text(body, "application"), bh_body_text(body, "workload"));
        BhModelVersion *v = version_of(call, m, bh_body_text(body, "image_digest"));
        const guint32 families = kind ? 1u << family : BH_MODEL_ALL;
        if (v && (set != bh_model_relearn || may_forget(call, m, families))) {
                set(m, v, families);
                finish(call, m, v, kind);
        }
        bh_models_release(call->central->models);
}

void bh_api_model_lock(BhCall *call) {
        set_families(call, bh_model_lock);
}

void bh_api_model_relearn(BhCall *call) {
        set_families(call, bh_model_relearn);
}

void bh_api_model_judge(BhCall *call) {
        static const BhBodyField fields[] = { WHICH, { "item", BH_BODY_TEXT, FALSE, 16 }, { "verdict", BH_BODY_TEXT, TRUE, 16 } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *verdict = body ? bh_body_text(body, "verdict") : NULL, *item = body ? bh_body_text(body, "item") : NULL;

        if (!body)
                return;
        gboolean drift = g_str_equal(verdict, "accept_drift"), accept = g_str_equal(verdict, "accept");
        if ((!drift && !accept && !g_str_equal(verdict, "forbid")) || drift == (item != NULL)) {
                bh_call_error(call, 400, "bad_request", "verdict is \"accept\" or \"forbid\" with an item, or \"accept_drift\" without one");
                return;
        }
        bh_models_acquire(call->central->models);
        BhModel *m = model_of(call, bh_body_text(body, "application"), bh_body_text(body, "workload"));
        BhModelVersion *v = version_of(call, m, bh_body_text(body, "image_digest"));
        if (v) {
                guint64 id = item ? g_ascii_strtoull(item, NULL, 16) : 0;
                g_autofree char *detail = item ? g_strdup_printf("%s %s", verdict, item) : g_strdup(verdict);

                if (drift)
                        bh_model_accept_drift(m, v);
                if (drift || (accept ? bh_model_accept(m, v, id) : bh_model_forbid(m, v, id)))
                        finish(call, m, v, detail);
                else
                        bh_call_error(call, 404, "not_found", "that version of the model has no such item");
        }
        bh_models_release(call->central->models);
}

void bh_api_model_import(BhCall *call) {
        static const BhBodyField fields[] = { WHICH, { "text", BH_BODY_LINES, TRUE, 1048576 } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        g_autoptr(GError) error = NULL;

        if (!body)
                return;
        const char *application = bh_body_text(body, "application"), *digest = bh_body_text(body, "image_digest"), *text = bh_body_text(body, "text");
        bh_models_acquire(call->central->models);
        BhModel *m = bh_models_make(call->central->models, application ? application : "", bh_body_text(body, "workload"));
        if (!m) {
                bh_call_error(call, 409, "conflict", "there are as many models as there may be, or the workload has no name");
        } else if (bh_model_import(m, text, strlen(text), digest, g_get_real_time() * 1000, &error) < 0) {
                bh_call_error(call, 400, "bad_model", "nothing was imported: %s", error->message);
        } else {
                finish(call, m, bh_model_version(m, digest), "imported");
        }
        bh_models_release(call->central->models);
}

/* ---- enforcing ---- */

static void append_enforcement(GString *out, const BhEnforcement *e, const BhEnforcedCounts *n) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "application", e->application);
        bh_json_text(out, "workload", e->workload);
        bh_json_text(out, "family", bh_family_kind(e->family));
        bh_json_text(out, "mode", e->observe ? "observe" : "enforce");
        bh_json_text(out, "by", e->by);
        bh_json_text(out, "reason", e->reason);
        bh_json_time(out, "since", e->since_ns);
        bh_json_time(out, "until", e->until_ns);
        bh_json_uint(out, "programs", n->programs);
        bh_json_open(out, "containers", '{');
        bh_json_uint(out, "running", n->running);
        bh_json_uint(out, "active", n->active);
        bh_json_uint(out, "pending", n->pending);
        bh_json_uint(out, "failed", n->failed);
        bh_json_uint(out, "not_strict", n->loose);
        bh_json_uint(out, "kept", n->kept);
        bh_json_uint(out, "protected", n->left_out);
        bh_json_uint(out, "released", n->released);
        bh_json_close(out, '}');
        bh_json_uint(out, "refused", n->refused);
        bh_json_uint(out, "observed", n->observed);
        bh_json_open(out, "notes", '[');
        for (guint i = 0; n->notes && i < n->notes->len; i++)
                bh_json_text(out, NULL, n->notes->pdata[i]);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
}

void bh_api_models_enforced(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) all = bh_enforced_all(call->central->enforced, &error);

        if (!all) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "enforced", '[');
        for (guint i = 0; i < all->len; i++) {
                g_auto(BhEnforcedCounts) n = { 0 };

                bh_enforced_counts(call->central->enforced, all->pdata[i], &n);
                append_enforcement(out, all->pdata[i], &n);
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* NONE: answered. */
static BhFamily enforceable_family(BhCall *call, const char *kind) {
        BhFamily family = kind ? bh_family_from_kind(kind) : BH_FAMILY_EXEC;

        if (family == BH_FAMILY_NONE) {
                bh_call_error(call, 400, "bad_request", "there is no such family of behaviour");
        } else if (!bh_enforced_possible(family)) {
                bh_call_error(call, 409, "not_possible", "%s cannot be refused before they happen: that is possible for programs (exec). A policy can answer to what is new (docs/response.md)", bh_family_title(family));
                family = BH_FAMILY_NONE;
        }
        return family;
}

/* Whether the model is known well enough, and can be told to nodes. FALSE: answered. */
static gboolean may_enforce(BhCall *call, const BhModel *m, const BhEnforcement *e) {
        const BhModelVersion *v = bh_model_version(m, NULL);
        g_autofree char *actor = bh_enforced_actor(m->application, m->workload), *list = NULL;
        guint n = 0;

        if (!v || !bh_enforced_strict(v, e->family)) {
                bh_call_error(call, 409, "not_strict", "%s/%s: %s is %s, which is not strict enough to be enforced: lock it (bulkhead model lock --family %s), or wait until less than 0.1 new is to be expected in a container's day",
                              m->application, m->workload, bh_family_title(e->family), v ? bh_model_state_name(v->states[e->family]) : "empty", bh_family_kind(e->family));
                return FALSE;
        }
        list = bh_enforced_list(v, e->observe, &n);
        if (!n || n + e->observe > BH_DENY_MAX) {
                if (n)
                        bh_call_error(call, 409, "too_many", "the model has %u programs, and %u is as many as a list may have", n, BH_DENY_MAX - e->observe);
                else
                        bh_call_error(call, 409, "nothing_learned", "no program was learned of this workload");
                return FALSE;
        }
        if (strlen(list) > BH_STORE_JSON_MAX) {
                bh_call_error(call, 409, "too_many", "the list of the model's %u programs has %zu KiB, and %d are as many as it may have: forbid those with very long paths, if nothing is to run them", n, strlen(list) >> 10, BH_STORE_JSON_MAX >> 10);
                return FALSE;
        }
        if (strlen(actor) > BH_STORE_KEY_MAX) {
                bh_call_error(call, 409, "not_possible", "the names of application and workload are too long together");
                return FALSE;
        }
        return TRUE;
}

void bh_api_model_enforce(BhCall *call) {
        static const BhBodyField fields[] = { { "application", BH_BODY_TEXT, FALSE, BH_STORE_KEY_MAX }, { "workload", BH_BODY_TEXT, TRUE, BH_STORE_KEY_MAX }, { "family", BH_BODY_TEXT, FALSE, 32 },
                                              { "observe", BH_BODY_BOOL, FALSE, 0 }, { "ttl", BH_BODY_INT, FALSE, BH_RESPONSE_TTL_MAX_S }, { "reason", BH_BODY_LINES, FALSE, BH_ENFORCED_REASON_MAX },
                                              { "confirm", BH_BODY_TEXT, FALSE, BH_STORE_KEY_MAX } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        BhFamily family = body ? enforceable_family(call, bh_body_text(body, "family")) : BH_FAMILY_NONE;
        g_autofree char *application = NULL, *workload = NULL;
        GError *error = NULL;
        gint64 ttl;

        if (family == BH_FAMILY_NONE)
                return;
        ttl = json_integer_value(json_object_get(body, "ttl"));
        const char *reason = bh_body_text(body, "reason");
        BhEnforcement e = { .family = family, .by = call->who.name, .reason = (char *) (reason ? reason : ""), .observe = json_is_true(json_object_get(body, "observe")),
                            .since_ns = g_get_real_time() * 1000, .until_ns = ttl ? (g_get_real_time() + ttl * G_USEC_PER_SEC) * 1000 : 0 };
        bh_models_acquire(call->central->models);
        const BhModel *m = model_of(call, bh_body_text(body, "application"), bh_body_text(body, "workload"));
        const gboolean may = m && may_enforce(call, m, &e);
        if (may) {
                e.application = application = g_strdup(m->application);
                e.workload = workload = g_strdup(m->workload);
        }
        bh_models_release(call->central->models);
        if (!may)
                return;
        if (!e.observe && g_strcmp0(bh_body_text(body, "confirm"), workload) != 0) {
                bh_call_error(call, 400, "not_confirmed", "what is not in the model will be refused in all containers of the workload: say so by giving its name (%s) as \"confirm\", or observe first", workload);
                return;
        }
        g_autofree char *object = g_strdup_printf("%s/%s", application, workload), *detail = g_strdup_printf("%s%s%s%s", bh_family_kind(family), e.observe ? ", observed" : "", *e.reason ? ": " : "", e.reason);
        BhStoreAuditEntry audit = bh_call_audit(call, object, "ok", detail);
        if (!bh_enforced_set(call->central->enforced, &e, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        const BhEnforcedCounts none = { 0 };
        GString *out = g_string_new(NULL);
        append_enforcement(out, &e, &none);
        bh_call_json(call, 200, out);
}

void bh_api_model_unenforce(BhCall *call) {
        static const BhBodyField fields[] = { { "application", BH_BODY_TEXT, FALSE, BH_STORE_KEY_MAX }, { "workload", BH_BODY_TEXT, TRUE, BH_STORE_KEY_MAX }, { "family", BH_BODY_TEXT, FALSE, 32 },
                                              { "reason", BH_BODY_LINES, FALSE, BH_ENFORCED_REASON_MAX } };
        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        BhFamily family = body ? enforceable_family(call, bh_body_text(body, "family")) : BH_FAMILY_NONE;
        const BhEnforcement *found = NULL;
        GError *error = NULL;

        if (family == BH_FAMILY_NONE)
                return;
        const char *application = bh_body_text(body, "application"), *workload = bh_body_text(body, "workload"), *reason = bh_body_text(body, "reason");
        g_autoptr(GPtrArray) all = bh_enforced_all(call->central->enforced, &error);
        for (guint i = 0; all && i < all->len; i++) { /* its model may be gone by now */
                const BhEnforcement *e = all->pdata[i];

                if (e->family != family || !g_str_equal(e->workload, workload) || (application && !g_str_equal(e->application, application)))
                        continue;
                if (found) {
                        bh_call_error(call, 409, "ambiguous", "several applications have such a workload: name the application");
                        return;
                }
                found = e;
        }
        if (!found && all) {
                bh_call_error(call, 404, "not_found", "this family of the workload's model is not enforced");
                return;
        }
        g_autofree char *object = found ? g_strdup_printf("%s/%s", found->application, found->workload) : NULL, *detail = g_strdup_printf("%s%s%s", bh_family_kind(family), reason ? ": " : "", reason ? reason : "");
        BhStoreAuditEntry audit = bh_call_audit(call, object, "ok", detail);
        g_auto(BhEnforcedCounts) n = { 0 };
        if (found)
                bh_enforced_counts(call->central->enforced, found, &n); /* they go with it */
        if (!found || !bh_enforced_remove(call->central->enforced, found->application, found->workload, family, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        append_enforcement(out, found, &n);
        bh_call_json(call, 200, out);
}
