/* SPDX-License-Identifier: Apache-2.0 */
#include "enforced.h"

#include <string.h>

#include "ask.h"
#include "base/log.h"
#include "models.h"
#include "policies.h"
#include "response/deny.h"
#include "responses.h"
#include "store/store_models.h"

#define SETTING "enforced."
#define TICK_US G_USEC_PER_SEC
#define FAILED_ROWS 8 /* of a container that are looked at: by then it is tried again as seldom as can be */
#define ADD_UP_US (2 * G_USEC_PER_SEC) /* between two looks at what was refused */
#define NOTES_MAX 32u /* different ones of a model */
#define IDLE_US (10 * G_USEC_PER_SEC) /* where nothing was told to have changed */

struct BhEnforced {
        BhCentral *central;
        GThread *thread;
        GMutex lock; /* of what follows */
        GCond moved;
        gboolean woken;
        gint stopping; /* atomic */
        GHashTable *counts; /* key → BhEnforcedCounts */
        GMutex changing;    /* one order at a time */
        gboolean idle;      /* the thread's: nothing was enforced, and nothing of it went on */
        GHashTable *tallies; /* the thread's: key → Tally */
        guint looks;         /* the thread's */
        gint64 no_room_us;  /* the thread's: when the ledger took no row, so that nothing is ordered for a while. 0: it did */
};

/* What the responses of one order have refused: those that are over are added up once, and those that go on are read again. */
typedef struct {
        gint64 since_ns;           /* of the order */
        gint64 seen_ns, looked_us; /* until when its responses are known; when they were looked at */
        GHashTable *ids;           /* of them → whether it is over */
        guint64 refused, observed; /* by those that are over */
        guint64 refused_now, observed_now; /* by those that go on */
        GPtrArray *notes;
        guint look;
} Tally;

static void tally_free(gpointer data) {
        Tally *t = data;

        g_hash_table_unref(t->ids);
        g_ptr_array_unref(t->notes);
        g_free(t);
}

void bh_enforced_counts_clear(BhEnforcedCounts *n) {
        g_clear_pointer(&n->notes, g_ptr_array_unref);
}

static void counts_free(gpointer data) {
        bh_enforced_counts_clear(data);
        g_free(data);
}

/* ---- what was ordered */

void bh_enforcement_free(BhEnforcement *e) {
        if (!e)
                return;
        g_free(e->application);
        g_free(e->workload);
        g_free(e->by);
        g_free(e->reason);
        g_free(e);
}

gboolean bh_enforced_possible(BhFamily family) {
        return family == BH_FAMILY_EXEC;
}

BhEnforcement *bh_enforced_find(GPtrArray *all, const char *application, const char *workload, BhFamily family) {
        for (guint i = 0; i < all->len; i++) {
                BhEnforcement *e = all->pdata[i];

                if (e->family == family && g_str_equal(e->application, application) && g_str_equal(e->workload, workload))
                        return e;
        }
        return NULL;
}

gboolean bh_enforced_strict(const BhModelVersion *v, BhFamily family) {
        return bh_model_locked(v, family) || v->states[family] == BH_MODEL_ENFORCEABLE;
}

char *bh_enforced_actor(const char *application, const char *workload) {
        return g_strdup_printf(BH_ENFORCED_ACTOR "%s/%s", application, workload);
}

static char *key_of(const char *application, const char *workload, BhFamily family) {
        g_autofree char *text = g_strdup_printf("%s\n%s\n%s", application, workload, bh_family_kind(family)), *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

        sum[32] = '\0';
        return g_strconcat(SETTING, sum, NULL);
}

static char *text_of(const BhEnforcement *e) {
        json_auto_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I}", "application", e->application, "workload", e->workload, "family", bh_family_kind(e->family), "by", e->by, "reason", e->reason,
                                   "observe", e->observe, "since_ns", (json_int_t) e->since_ns, "until_ns", (json_int_t) e->until_ns);

        return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

/* NULL: it is none. */
static BhEnforcement *read_one(const char *text) {
        json_auto_t *o = json_loads(text, 0, NULL);
        const char *family = json_string_value(json_object_get(o, "family")), *texts[4], *names[] = { "application", "workload", "by", "reason" };

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (!(texts[i] = json_string_value(json_object_get(o, names[i]))))
                        return NULL;
        if (!family || bh_family_from_kind(family) == BH_FAMILY_NONE)
                return NULL;
        BhEnforcement *e = g_new0(BhEnforcement, 1);
        *e = (BhEnforcement){
                .application = g_strdup(texts[0]), .workload = g_strdup(texts[1]), .by = g_strdup(texts[2]), .reason = g_strdup(texts[3]), .family = bh_family_from_kind(family),
                .observe = json_is_true(json_object_get(o, "observe")), .since_ns = json_integer_value(json_object_get(o, "since_ns")), .until_ns = json_integer_value(json_object_get(o, "until_ns")),
        };
        return e;
}

GPtrArray *bh_enforced_all(BhEnforced *e, GError **error) {
        g_autoptr(GHashTable) settings = bh_store_settings(e->central->store, error);
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify) bh_enforcement_free);
        const char *key, *text;
        GHashTableIter it;

        if (!settings)
                return NULL;
        g_hash_table_iter_init(&it, settings);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &text)) {
                BhEnforcement *one = g_str_has_prefix(key, SETTING) ? read_one(text) : NULL;

                if (one)
                        g_ptr_array_add(all, one);
        }
        return g_steal_pointer(&all);
}

static void forget_counts(BhEnforced *e, const char *key) {
        g_mutex_lock(&e->lock);
        g_hash_table_remove(e->counts, key);
        g_mutex_unlock(&e->lock);
}

gboolean bh_enforced_set(BhEnforced *e, const BhEnforcement *what, const BhStoreAuditEntry *audit, GError **error) {
        g_autofree char *key = key_of(what->application, what->workload, what->family);
        BhEnforcement now = *what;
        gboolean ok;

        now.since_ns = g_get_real_time() * 1000;
        g_mutex_lock(&e->changing);
        g_autofree char *before = bh_store_setting_get(e->central->store, key, NULL);
        g_autoptr(GPtrArray) all = bh_enforced_all(e, error);
        if ((ok = all != NULL) && !before && all->len >= BH_ENFORCED_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "%u models are enforced, which is as many as there may be: end others first", BH_ENFORCED_MAX);
                ok = FALSE;
        }
        char *text = ok ? text_of(&now) : NULL;
        if (ok && !text) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "names and reason are UTF-8");
                ok = FALSE;
        }
        ok = ok && bh_store_setting_set(e->central->store, key, text, audit, error);
        free(text);
        g_mutex_unlock(&e->changing);
        forget_counts(e, key);
        bh_enforced_wake(e);
        return ok;
}

gboolean bh_enforced_remove(BhEnforced *e, const char *application, const char *workload, BhFamily family, const BhStoreAuditEntry *audit, GError **error) {
        g_autofree char *key = key_of(application, workload, family), *before = NULL;
        gboolean ok;

        g_mutex_lock(&e->changing);
        if (!(before = bh_store_setting_get(e->central->store, key, NULL)))
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND, "this family of the workload's model is not enforced");
        ok = before && bh_store_setting_set(e->central->store, key, NULL, audit, error);
        g_mutex_unlock(&e->changing);
        forget_counts(e, key);
        bh_enforced_wake(e);
        return ok;
}

gboolean bh_enforced_counts(BhEnforced *e, const BhEnforcement *of, BhEnforcedCounts *out) {
        g_autofree char *key = key_of(of->application, of->workload, of->family);

        g_mutex_lock(&e->lock);
        const BhEnforcedCounts *known = g_hash_table_lookup(e->counts, key);
        if (known) {
                *out = *known;
                if (out->notes)
                        g_ptr_array_ref(out->notes);
        }
        g_mutex_unlock(&e->lock);
        return known != NULL;
}

char *bh_enforced_list(const BhModelVersion *v, gboolean observe, guint *n) {
        g_auto(GStrv) programs = bh_model_programs(v);
        json_auto_t *list = json_array();

        *n = g_strv_length(programs);
        for (guint i = 0; i < *n; i++)
                json_array_append_new(list, json_sprintf("exec-only:%s", programs[i]));
        if (observe)
                json_array_append_new(list, json_string("observe"));
        char *text = json_dumps(list, JSON_COMPACT), *out = g_strdup(text ? text : "[]");
        free(text);
        return out;
}

/* ---- one look */

typedef struct {
        BhEnforced *e;
        GHashTable *open;   /* "actor\nnode/container" → GPtrArray of BhStoreResponse that go on, the latest first */
        GHashTable *actors; /* that are meant to have some */
        GHashTable *silent; /* nodes that are away, or did not answer: they are told later */
        GHashTable *here;
} Look;

static char *place_of(const char *actor, const char *node, const char *container) {
        return g_strdup_printf("%s\n%s/%s", actor, node, container);
}

static gboolean read_open(Look *l) {
        BhStoreResponseFilter f = { .action = "block", .open = TRUE };
        g_autofree char *cursor = NULL;

        do {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhStorePage) page = bh_store_responses(l->e->central->store, &f, cursor, BH_STORE_LIMIT_MAX, &error);

                if (!page) {
                        bh_error("cannot read the ledger of responses", "error", error->message);
                        return FALSE;
                }
                g_ptr_array_set_free_func(page->rows, NULL);
                for (guint i = 0; i < page->rows->len; i++) {
                        BhStoreResponse *row = page->rows->pdata[i];

                        if (!g_str_has_prefix(row->actor, BH_ENFORCED_ACTOR)) {
                                bh_store_response_free(row);
                                continue;
                        }
                        char *place = place_of(row->actor, row->node, row->container_id);
                        GPtrArray *rows = g_hash_table_lookup(l->open, place);
                        if (!rows)
                                g_hash_table_insert(l->open, g_strdup(place), rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_response_free));
                        g_ptr_array_add(rows, row);
                        g_free(place);
                }
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor);
        return TRUE;
}

/* To its node, if that is there; else it is told later (responses.h). */
static void tell_node(Look *l, const char *id) {
        g_autoptr(BhStoreResponse) row = bh_store_response(l->e->central->store, id, NULL);
        g_autoptr(GError) away = NULL;

        if (!row || !g_hash_table_contains(l->here, row->node) || g_hash_table_contains(l->silent, row->node))
                return;
        if (!bh_responses_order(l->e->central->responses, row, &away))
                g_hash_table_add(l->silent, g_strdup(row->node));
}

static void release(Look *l, const BhStoreResponse *row, const char *why) {
        g_autofree char *object = g_strdup_printf("%s %s", row->node, row->container_name), *detail = g_strdup_printf("%s: %s", row->id, why);
        BhStoreAuditEntry audit = { .actor = row->actor, .action = "response.release", .object = object, .outcome = "ok", .detail = detail };
        g_autoptr(GError) error = NULL;

        if (row->releasing)
                return;
        if (!bh_store_response_release(l->e->central->store, row->id, FALSE, &audit, &error))
                bh_error("a list of programs that is not wanted any more cannot be released", "response", row->id, "error", error->message);
        else
                tell_node(l, row->id);
}

static void tell_failed(Look *l, const BhEnforcement *of, const BhStoreContainer *c, const char *why) {
        g_autofree char *uuid = g_uuid_string_random(), *id = g_strdup_printf("enforced-%s", uuid);
        g_autofree char *output = g_strdup_printf("the model of %s/%s is not enforced in container %s, and it is tried again: %s", of->application, of->workload, c->name, why);
        gint64 now_ns = g_get_real_time() * 1000;
        g_autoptr(GError) error = NULL;
        BhStoreFinding f = {
                .id = id, .time_ns = now_ns, .last_ns = now_ns, .rule = (char *) "Model is not enforced", .priority = (char *) "warning", .source = (char *) "model", .kind = (char *) "sensor",
                .output = output, .node = c->node, .container_id = c->id, .container_name = c->name, .workload = c->workload, .application = c->application, .tags = (char *) "[\"model\"]",
                .fields = (char *) "{}", .image = c->image, .description = (char *) "A person ordered that what is not in this model is refused, and the container's node could not do it.",
                .advice = (char *) "Its answer is in the ledger: bulkhead responses --container NAME.", .count = 1, .fold = why,
        };

        if (!bh_store_models_save(l->e->central->store, NULL, 0, &f, 1, 0, NULL, &error))
                bh_error("cannot store that a model is not enforced", "container", c->name, "error", error->message);
}

/*
 * What goes on in a container beside `by`, which takes its place: at once what is pending, which would come in force when its node is back, whatever a person wants by then. `whole`: what is in force as
 * well, so that a node never has more than one container's twice.
 */
static void release_others_than(Look *l, const GPtrArray *rows, const char *by, gboolean whole) {
        for (guint i = 0; rows && i < rows->len; i++) {
                const BhStoreResponse *row = rows->pdata[i];

                if (!g_str_equal(row->id, by) && (whole || g_str_equal(row->state, "pending")))
                        release(l, row, "another list took its place");
        }
}

/* `rows`: what goes on in the container; NULL: nothing. */
static void order(Look *l, const BhEnforcement *of, const BhStoreContainer *c, const char *actor, char *deny, const GPtrArray *rows) {
        g_autofree char *id = bh_responses_new_id(), *reason = g_strdup_printf("the model's programs%s, for %s%s%s", of->observe ? ", observed" : "", of->by, *of->reason ? ": " : "", of->reason);
        g_autofree char *object = g_strdup_printf("%s %s", c->node, c->name), *detail = g_strdup_printf("block %s: %s", id, reason);
        BhStoreAuditEntry audit = { .actor = (char *) actor, .action = "response.create", .object = object, .outcome = "ok", .detail = detail };
        g_autoptr(GError) error = NULL;
        BhStoreResponse row = {
                .id = id, .action = (char *) bh_response_action_name(BH_RESPONSE_BLOCK), .state = (char *) "pending", .node = c->node, .container_id = c->id, .container_name = c->name, .workload = c->workload,
                .application = c->application, .actor = (char *) actor, .reason = reason, .allow = (char *) "[]", .deny = deny, .result = (char *) "the node has not answered yet", .detail = (char *) "{}",
                .until_ns = of->until_ns,
        };

        if (!bh_store_response_add(l->e->central->store, &row, &audit, &error)) {
                l->e->no_room_us = g_get_monotonic_time();
                tell_failed(l, of, c, error->message);
                return;
        }
        release_others_than(l, rows, id, FALSE);
        tell_node(l, id);
        g_autoptr(BhStoreResponse) now = bh_store_response(l->e->central->store, id, NULL);
        if (now && g_str_equal(now->state, "active"))
                release_others_than(l, rows, id, TRUE);
        else if (now && g_str_equal(now->state, "failed"))
                tell_failed(l, of, c, now->result);
}

/* After what failed last: twice as long each time that this list did, so that one that never can be in force does not fill the ledger. */
static gint64 wait_ns(const GPtrArray *rows, const char *deny) {
        gint64 wait_s = BH_ENFORCED_RETRY_S;

        for (guint i = 1; i < rows->len; i++) {
                const BhStoreResponse *row = rows->pdata[i];

                if (!g_str_equal(row->state, "failed") || !g_str_equal(row->deny, deny))
                        break;
                wait_s *= 2;
        }
        return MIN(wait_s, BH_ENFORCED_RETRY_MAX_S) * G_GINT64_CONSTANT(1000000000);
}

/* What became of the last one, where none goes on. FALSE: there is another to be ordered. */
static gboolean ended(Look *l, const BhEnforcement *of, const BhStoreContainer *c, const char *actor, const char *deny, BhEnforcedCounts *n) {
        BhStoreResponseFilter f = { .actor = actor, .container_id = c->id, .node = c->node, .since_ns = of->since_ns };
        g_autoptr(BhStorePage) page = bh_store_responses(l->e->central->store, &f, NULL, FAILED_ROWS, NULL);
        const BhStoreResponse *last = page && page->rows->len ? page->rows->pdata[0] : NULL;

        if (!page)
                return TRUE; /* not now */
        if (!last)
                return FALSE;
        if (g_str_equal(last->state, "released")) { /* those that are followed by another are not the last */
                n->released++;
                return TRUE;
        }
        if (!g_str_equal(last->state, "failed") || g_get_real_time() * 1000 - last->changed_ns > wait_ns(page->rows, deny))
                return FALSE;
        n->failed++;
        return TRUE;
}

static void look_at_container(Look *l, const BhEnforcement *of, const BhStoreContainer *c, const char *actor, char *deny, BhEnforcedCounts *n) {
        g_autofree char *place = place_of(actor, c->node, c->id);
        GPtrArray *rows = g_hash_table_lookup(l->open, place);
        const BhStoreResponse *good = NULL;

        for (guint i = 0; rows && i < rows->len && !good; i++) {
                const BhStoreResponse *row = rows->pdata[i];

                if (!row->releasing && row->until_ns == of->until_ns && g_str_equal(row->deny, deny))
                        good = row;
        }
        if (!good) {
                const BhStoreResponse *last = rows ? rows->pdata[0] : NULL;

                if (last && last->releasing && last->created_ns >= of->since_ns)
                        n->released++;
                else if (l->e->no_room_us && g_get_monotonic_time() - l->e->no_room_us < BH_ENFORCED_RETRY_S * G_USEC_PER_SEC)
                        n->failed++;
                else if (!ended(l, of, c, actor, deny, n)) {
                        order(l, of, c, actor, deny, rows);
                        n->pending++; /* what it came to is counted with the next look */
                        bh_enforced_wake(l->e);
                }
                return;
        }
        const gboolean active = g_str_equal(good->state, "active");
        if (active)
                n->active++;
        else
                n->pending++;
        release_others_than(l, rows, good->id, active);
}

/*
 * Of one whose version is not known well enough, or not any more: a list that is as the order wants it goes on as it is, for whoever makes a version less certain by doing what is new must not be able to
 * end what it is held by. Another one, that observes where is to be refused, or the other way round, or goes on for longer, is not what anybody wants now.
 */
static void look_at_loose(Look *l, const BhEnforcement *of, const BhStoreContainer *c, const char *actor, BhEnforcedCounts *n) {
        g_autofree char *place = place_of(actor, c->node, c->id);
        GPtrArray *rows = g_hash_table_lookup(l->open, place);
        const BhStoreResponse *kept = NULL;

        n->loose++;
        for (guint i = 0; rows && i < rows->len; i++) {
                const BhStoreResponse *row = rows->pdata[i];

                if (g_str_has_suffix(row->deny, "\"observe\"]") != (of->observe != FALSE) || (of->until_ns && (!row->until_ns || row->until_ns > of->until_ns)))
                        release(l, row, "it is not what is ordered now, and the version is not known well enough for another one");
                else if (!kept && !row->releasing)
                        kept = row;
        }
        if (!kept)
                return;
        const gboolean active = g_str_equal(kept->state, "active");
        n->kept++;
        if (active)
                n->active++;
        else
                n->pending++;
        release_others_than(l, rows, kept->id, active);
}

/* By version: what its containers' blocks refuse; NULL: it is not known well enough. */
static char *list_of(Look *l, const BhEnforcement *of, const char *digest, guint *n) {
        BhModels *all = l->e->central->models;
        char *list = NULL;

        *n = 0;
        bh_models_acquire(all);
        BhModel *m = bh_models_get(all, of->application, of->workload);
        BhModelVersion *v = m ? bh_model_version(m, digest) : NULL;
        if (v && bh_enforced_strict(v, of->family))
                list = bh_enforced_list(v, of->observe, n);
        bh_models_release(all);
        if (!*n || *n + of->observe > BH_DENY_MAX || (list && strlen(list) > BH_STORE_JSON_MAX))
                g_clear_pointer(&list, g_free);
        return list;
}

/* ---- what was refused */

static gint64 acts_of(const json_t *detail, const char *name) {
        return json_integer_value(json_object_get(json_object_get(detail, name), "acts"));
}

/* Responses that are new since. FALSE: not all could be read. */
static gboolean read_new(BhStore *s, Tally *t, const char *actor) {
        BhStoreResponseFilter f = { .actor = actor, .since_ns = MAX(t->since_ns, t->seen_ns) };
        g_autofree char *cursor = NULL;
        gint64 seen_ns = t->seen_ns;

        do {
                g_autoptr(BhStorePage) page = bh_store_responses(s, &f, cursor, BH_STORE_LIMIT_MAX, NULL);

                if (!page)
                        return FALSE;
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreResponse *row = page->rows->pdata[i];

                        seen_ns = MAX(seen_ns, row->created_ns);
                        if (!g_hash_table_contains(t->ids, row->id))
                                g_hash_table_insert(t->ids, g_strdup(row->id), NULL);
                }
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor);
        t->seen_ns = seen_ns;
        return TRUE;
}

static void add_notes(GPtrArray *notes, json_t *told) {
        json_t *note;
        size_t i;

        json_array_foreach(told, i, note)
                if (json_is_string(note) && notes->len < NOTES_MAX && !g_ptr_array_find_with_equal_func(notes, json_string_value(note), g_str_equal, NULL))
                        g_ptr_array_add(notes, g_strdup(json_string_value(note)));
}

/* What a node tells of one that goes on is kept in its detail, and stays there when it ends. */
static void add_up(BhStore *s, Tally *t, const char *actor) {
        g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
        guint64 refused = 0, observed = 0;
        const char *id;
        gpointer over;
        GHashTableIter it;

        if (!read_new(s, t, actor))
                return;
        g_hash_table_iter_init(&it, t->ids);
        while (g_hash_table_iter_next(&it, (gpointer *) &id, &over)) {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhStoreResponse) r = over ? NULL : bh_store_response(s, id, &error);
                json_auto_t *detail = r ? json_loads(r->detail, 0, NULL) : NULL;

                if (over || !r) {
                        if (error && g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND))
                                g_hash_table_iter_replace(&it, GUINT_TO_POINTER(TRUE));
                        continue;
                }
                const guint64 no = (guint64) acts_of(detail, "refused_acts"), would = (guint64) acts_of(detail, "observed_acts");
                if (g_str_equal(r->state, "active") || g_str_equal(r->state, "pending")) {
                        refused += no;
                        observed += would;
                        add_notes(notes, g_str_equal(r->state, "active") ? json_object_get(detail, "notes") : NULL);
                } else {
                        t->refused += no;
                        t->observed += would;
                        g_hash_table_iter_replace(&it, GUINT_TO_POINTER(TRUE));
                }
        }
        t->refused_now = refused;
        t->observed_now = observed;
        g_ptr_array_unref(t->notes); /* who has it may go on to read it */
        t->notes = g_steal_pointer(&notes);
}

static void count_refused(BhEnforced *e, const BhEnforcement *of, const char *actor, const char *key, BhEnforcedCounts *n) {
        Tally *t = g_hash_table_lookup(e->tallies, key);

        if (!t || t->since_ns != of->since_ns) {
                t = g_new0(Tally, 1);
                t->since_ns = of->since_ns;
                t->ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                t->notes = g_ptr_array_new_with_free_func(g_free);
                g_hash_table_insert(e->tallies, g_strdup(key), t);
        }
        t->look = e->looks;
        if (!t->looked_us || g_get_monotonic_time() - t->looked_us >= ADD_UP_US) {
                t->looked_us = g_get_monotonic_time();
                add_up(e->central->store, t, actor);
        }
        n->refused = t->refused + t->refused_now;
        n->observed = t->observed + t->observed_now;
        n->notes = g_ptr_array_ref(t->notes);
}

static gboolean is_forgotten(gpointer key, gpointer value, gpointer data) {
        return ((const Tally *) value)->look != ((const BhEnforced *) data)->looks;
}

/* ---- all containers of one */

typedef struct {
        char *deny;
        guint n;
} List;

static void list_free(gpointer data) {
        List *x = data;

        g_free(x->deny);
        g_free(x);
}

static void look_at(Look *l, const BhEnforcement *of) {
        g_autofree char *actor = bh_enforced_actor(of->application, of->workload), *cursor = NULL;
        g_autoptr(GHashTable) lists = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, list_free);
        BhStoreContainerFilter f = { .application = of->application, .workload = of->workload, .living = TRUE };
        BhEnforcedCounts n = { 0 };

        g_hash_table_add(l->actors, g_strdup(actor)); /* whatever fails below: what is in force stays */
        do {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhStorePage) page = bh_store_containers(l->e->central->store, &f, cursor, BH_STORE_LIMIT_MAX, &error);

                if (!page) {
                        bh_error("cannot read which containers a model is enforced in", "error", error->message);
                        return;
                }
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreContainer *c = page->rows->pdata[i];
                        const char *digest = *c->image_digest ? c->image_digest : c->image_id;

                        if (!g_str_equal(c->state, "running"))
                                continue;
                        n.running++;
                        if (bh_policies_protects(c)) {
                                n.left_out++;
                                continue;
                        }
                        List *x = g_hash_table_lookup(lists, digest);
                        if (!x) {
                                x = g_new0(List, 1);
                                x->deny = list_of(l, of, digest, &x->n);
                                g_hash_table_insert(lists, g_strdup(digest), x);
                        }
                        n.programs = MAX(n.programs, x->n);
                        if (x->deny)
                                look_at_container(l, of, c, actor, x->deny, &n);
                        else
                                look_at_loose(l, of, c, actor, &n);
                }
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor);
        g_autofree char *key = key_of(of->application, of->workload, of->family);
        count_refused(l->e, of, actor, key, &n);
        g_mutex_lock(&l->e->lock);
        g_hash_table_insert(l->e->counts, g_strdup(key), g_memdup2(&n, sizeof(n)));
        g_mutex_unlock(&l->e->lock);
}

/* What goes on of enforcements that are over. */
static void release_others(Look *l) {
        GHashTableIter it;
        GPtrArray *rows;

        g_hash_table_iter_init(&it, l->open);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &rows))
                for (guint i = 0; i < rows->len; i++) {
                        const BhStoreResponse *row = rows->pdata[i];

                        if (!g_hash_table_contains(l->actors, row->actor))
                                release(l, row, "its model is not enforced any more");
                }
}

/*
 * As it is ordered by now: a look may have waited for nodes since it read them. NULL: it is not any more, or its time is over; then its setting goes, and its blocks ended by themselves. FALSE: nobody
 * knows.
 */
static gboolean read_again(BhEnforced *e, const BhEnforcement *seen, BhEnforcement **now) {
        g_autofree char *key = key_of(seen->application, seen->workload, seen->family), *actor = bh_enforced_actor(seen->application, seen->workload), *object = g_strdup_printf("%s/%s", seen->application, seen->workload);
        BhStoreAuditEntry audit = { .actor = actor, .action = "model.unenforce", .object = object, .outcome = "ok", .detail = "its time was over" };
        g_autoptr(GError) error = NULL;
        gboolean removed = FALSE;

        g_mutex_lock(&e->changing); /* nobody extends it meanwhile */
        g_autofree char *text = bh_store_setting_get(e->central->store, key, &error);
        *now = text ? read_one(text) : NULL;
        if (*now && (*now)->until_ns && g_get_real_time() * 1000 >= (*now)->until_ns)
                removed = bh_store_setting_set(e->central->store, key, NULL, &audit, NULL);
        g_mutex_unlock(&e->changing);
        if (removed) {
                g_clear_pointer(now, bh_enforcement_free);
                forget_counts(e, key);
        }
        if (error)
                bh_error("cannot read whether a model is enforced", "workload", seen->workload, "error", error->message);
        return !error;
}

void bh_enforced_look(BhEnforced *e) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) all = bh_enforced_all(e, &error);
        g_auto(GStrv) here = bh_bus_listener_nodes(e->central->bus);
        Look l = {
                .e = e,
                .open = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref),
                .actors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .silent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                .here = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        };

        e->looks++;
        for (guint i = 0; here[i]; i++)
                g_hash_table_add(l.here, g_strdup(here[i]));
        if (!all) {
                bh_error("cannot read which models are enforced", "error", error->message);
        } else if (!(e->idle && !all->len) && read_open(&l)) {
                e->idle = !all->len && !g_hash_table_size(l.open);
                for (guint i = 0; i < all->len && !g_atomic_int_get(&e->stopping); i++) {
                        const BhEnforcement *seen = all->pdata[i];
                        g_autoptr(BhEnforcement) now = NULL;

                        if (!read_again(e, seen, &now))
                                g_hash_table_add(l.actors, bh_enforced_actor(seen->application, seen->workload)); /* what is in force stays */
                        else if (now)
                                look_at(&l, now);
                }
                if (!g_atomic_int_get(&e->stopping)) {
                        release_others(&l);
                        g_hash_table_foreach_remove(e->tallies, is_forgotten, e);
                }
        }
        g_hash_table_unref(l.open);
        g_hash_table_unref(l.actors);
        g_hash_table_unref(l.silent);
        g_hash_table_unref(l.here);
}

static gpointer work(gpointer data) {
        BhEnforced *e = data;

        g_mutex_lock(&e->lock);
        while (!g_atomic_int_get(&e->stopping)) {
                const gint64 next_us = g_get_monotonic_time() + TICK_US;

                e->woken = FALSE;
                g_mutex_unlock(&e->lock);
                bh_enforced_look(e);
                g_mutex_lock(&e->lock);
                while (!g_atomic_int_get(&e->stopping) && g_cond_wait_until(&e->moved, &e->lock, e->woken ? next_us : next_us + IDLE_US))
                        ;
        }
        g_mutex_unlock(&e->lock);
        return NULL;
}

/* ---- life ---- */

BhEnforced *bh_enforced_new(BhCentral *c) {
        BhEnforced *e = g_new0(BhEnforced, 1);

        e->central = c;
        g_mutex_init(&e->lock);
        g_mutex_init(&e->changing);
        g_cond_init(&e->moved);
        e->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, counts_free);
        e->tallies = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, tally_free);
        return e;
}

void bh_enforced_start(BhEnforced *e) {
        e->thread = g_thread_new("bh-enforced", work, e);
}

void bh_enforced_stop(BhEnforced *e) {
        if (!e || !e->thread)
                return;
        g_mutex_lock(&e->lock);
        g_atomic_int_set(&e->stopping, TRUE);
        g_cond_signal(&e->moved);
        g_mutex_unlock(&e->lock);
        g_thread_join(g_steal_pointer(&e->thread));
}

void bh_enforced_free(BhEnforced *e) {
        if (!e)
                return;
        bh_enforced_stop(e);
        g_hash_table_unref(e->counts);
        g_hash_table_unref(e->tallies);
        g_mutex_clear(&e->lock);
        g_mutex_clear(&e->changing);
        g_cond_clear(&e->moved);
        g_free(e);
}

void bh_enforced_wake(BhEnforced *e) {
        if (!e)
                return;
        g_mutex_lock(&e->lock);
        if (!e->woken) {
                e->woken = TRUE;
                g_cond_signal(&e->moved);
        }
        g_mutex_unlock(&e->lock);
}
