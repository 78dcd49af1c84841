/* SPDX-License-Identifier: Apache-2.0 */
#include "responses.h"

#include <sodium.h>
#include <string.h>

#include "ask.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "response/response.h"

#define COUNTS_MAX 16384u /* then all are forgotten, and looked at again */

struct BhResponses {
        BhCentral *central;
        GThread *thread;
        GMutex lock;
        GCond moved;
        gint stopping; /* atomic */
        GHashTable *counts; /* within the lock: response → hash of what it refused as that was told last */
};

/* ---- orders ---- */

char *bh_responses_new_id(void) {
        guint8 bytes[6];
        GString *id = g_string_new(NULL);

        randombytes_buf(bytes, sizeof(bytes));
        for (guint i = 0; i < sizeof(bytes); i++)
                g_string_append_printf(id, "%02x", bytes[i]);
        return g_string_free(id, FALSE);
}

static GBytes *pack(const BhStoreResponse *row, gboolean dry_run) {
        Bulkhead__Bus__V1__ResponseOrders m = BULKHEAD__BUS__V1__RESPONSE_ORDERS__INIT;
        Bulkhead__Bus__V1__ResponseOrder o = BULKHEAD__BUS__V1__RESPONSE_ORDER__INIT, *orders[] = { &o };
        json_auto_t *allow = NULL, *deny = NULL;
        g_autofree ProtobufCBinaryData *allowed = NULL, *denied = NULL;

        if (row) {
                json_t **lists[] = { &allow, &deny };
                const char *texts[] = { row->allow, row->deny };
                ProtobufCBinaryData **to[] = { &allowed, &denied };
                size_t *n[] = { &o.n_allow, &o.n_deny };

                for (guint i = 0; i < 2; i++) {
                        *lists[i] = json_loads(texts[i] ? texts[i] : "[]", 0, NULL);
                        *n[i] = json_array_size(*lists[i]);
                        *to[i] = g_new0(ProtobufCBinaryData, *n[i] + 1);
                        for (size_t k = 0; k < *n[i]; k++)
                                (*to[i])[k] = bh_bus_text(json_string_value(json_array_get(*lists[i], k)));
                }
                o.id = row->id;
                o.action = row->action;
                o.container = bh_bus_text(row->container_id);
                o.allow = allowed;
                o.deny = denied;
                o.until_ns = row->until_ns;
                o.dry_run = dry_run;
                o.best_effort = row->best_effort;
                o.reason = bh_bus_text(row->reason);
                o.actor = bh_bus_text(row->actor);
                o.release = row->releasing;
                o.give_up = row->give_up;
                o.subject = bh_bus_text(row->subject ? row->subject : "");
                m.orders = orders;
                m.n_orders = 1;
        }
        return bh_bus_body_pack(&m.base);
}

/* What the node says to it: GPtrArray of GBytes. */
static GPtrArray *ask(BhResponses *r, const char *node, GBytes *body, GError **error) {
        const char *nodes[] = { node, NULL };
        g_autoptr(BhAsk) q = bh_ask_nodes(r->central, nodes, "respond", body, BH_RESPONSES_WAIT_S, &r->stopping);
        const BhAnswer *a = q->answers->pdata[0];

        if (!a->error && !a->cut)
                return g_ptr_array_ref(a->chunks);
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the node %s: %s", node, a->error ? a->error : "what it says is too long");
        return NULL;
}

/* Of what goes on a node tells again and again; what it refused is kept, and written when it changed. FALSE with *error. */
static gboolean take_refused(BhResponses *r, const char *node, const char *id, const char *detail, GError **error) {
        static const char *const names[] = { "refused", "refused_acts", "last_refused", "observed_acts", "last_observed", "strays", "led", "last_led" };
        json_auto_t *told = json_loads(detail, 0, NULL), *counts = json_object();
        g_autofree char *key = g_strdup_printf("%s %s", node, id);

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                if (json_object_get(told, names[i]))
                        json_object_set(counts, names[i], json_object_get(told, names[i]));
        if (!json_object_size(counts))
                return TRUE;
        char *text = json_dumps(counts, JSON_COMPACT | JSON_SORT_KEYS);
        gpointer hash = GUINT_TO_POINTER(g_str_hash(text ? text : "") | 1);
        free(text);
        g_mutex_lock(&r->lock);
        gboolean same = g_hash_table_lookup(r->counts, key) == hash, known = FALSE;
        g_mutex_unlock(&r->lock);
        if (same)
                return TRUE;
        gboolean ok = bh_store_response_refused(r->central->store, node, id, counts, &known, error);
        if (!ok || !known) /* a policy's is told by its node, and may come later than this */
                return ok;
        g_mutex_lock(&r->lock);
        if (g_hash_table_size(r->counts) >= COUNTS_MAX)
                g_hash_table_remove_all(r->counts);
        g_hash_table_insert(r->counts, g_steal_pointer(&key), hash);
        g_mutex_unlock(&r->lock);
        return TRUE;
}

/* Stores what a node says; what it says of others' responses has no effect. `only`: of this one alone, whose words go to *state and so on instead. */
static gboolean take(BhResponses *r, const char *node, GPtrArray *chunks, const char *only, char **state, char **result, char **detail) {
        gboolean found = FALSE;

        for (guint i = 0; i < chunks->len; i++) {
                g_autoptr(GError) error = NULL;
                Bulkhead__Bus__V1__ResponseResults *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__response_results__descriptor, chunks->pdata[i], &error);

                if (!m) {
                        g_atomic_int_inc(&r->central->undecodable);
                        continue;
                }
                for (gsize k = 0; k < m->n_results; k++) {
                        const Bulkhead__Bus__V1__ResponseResult *one = m->results[k];
                        g_autofree char *said = bh_bus_text_dup(one->result), *touched = bh_bus_text_dup(one->detail);
                        BhResponseState s;
                        gboolean over; /* ends the row, which takes no counts from then on; one that begins takes them from then on */

                        if (!bh_response_id_valid(one->id) || !bh_response_state_parse(one->state, &s))
                                continue;
                        over = s != BH_RESPONSE_STATE_ACTIVE;
                        if (only) {
                                if (found || strcmp(one->id, only))
                                        continue;
                                found = TRUE;
                                *state = g_strdup(one->state);
                                *result = g_steal_pointer(&said);
                                *detail = g_steal_pointer(&touched);
                        } else if ((m->whole && over && !take_refused(r, node, one->id, touched, &error)) ||
                                   !bh_store_response_told(r->central->store, node, one->id, one->state, said, m->whole ? NULL : touched, &error) ||
                                   (m->whole && !over && !take_refused(r, node, one->id, touched, &error))) {
                                bh_error("cannot store what a node says of a response", "node", node, "response", one->id, "error", error->message);
                        }
                }
                bulkhead__bus__v1__response_results__free_unpacked(m, NULL);
        }
        return found;
}

gboolean bh_responses_order(BhResponses *r, const BhStoreResponse *row, GError **error) {
        g_autoptr(GBytes) body = pack(row, FALSE);
        g_autoptr(GPtrArray) chunks = ask(r, row->node, body, error);

        if (chunks)
                take(r, row->node, chunks, NULL, NULL, NULL, NULL);
        return chunks != NULL;
}

gboolean bh_responses_try(BhResponses *r, const BhStoreResponse *row, char **state, char **result, char **detail, GError **error) {
        g_autoptr(GBytes) body = pack(row, TRUE);
        g_autoptr(GPtrArray) chunks = ask(r, row->node, body, error);

        if (!chunks)
                return FALSE;
        if (take(r, row->node, chunks, row->id, state, result, detail))
                return TRUE;
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the node %s gave no answer to this", row->node);
        return FALSE;
}

/* ---- what was left ---- */

/* A node that does not answer is not asked again until the next time: each question waits long, and other nodes have theirs. */
static void look_after(BhResponses *r, gint64 *asked_us) {
        BhStoreResponseFilter open = { .open = TRUE };
        g_autoptr(GHashTable) active = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), silent = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_auto(GStrv) here = bh_bus_listener_nodes(r->central->bus);
        g_autofree char *cursor = NULL;
        gboolean ask_now = g_get_monotonic_time() - *asked_us >= BH_RESPONSES_ASK_MS * 1000;
        GHashTableIter it;
        const char *node;

        do {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhStorePage) page = bh_store_responses(r->central->store, &open, cursor, BH_STORE_LIMIT_MAX, &error);

                if (!page) {
                        bh_error("cannot read the ledger of responses", "error", error->message);
                        return;
                }
                for (guint i = 0; i < page->rows->len && !g_atomic_int_get(&r->stopping); i++) {
                        const BhStoreResponse *row = page->rows->pdata[i];
                        g_autoptr(GError) away = NULL;

                        if (!g_strv_contains((const char *const *) here, row->node) || g_hash_table_contains(silent, row->node))
                                continue;
                        /* a new one is first its worker's: the node answers the same to both */
                        if (row->releasing || (g_str_equal(row->state, "pending") && g_get_real_time() * 1000 - row->changed_ns > BH_RESPONSES_ASK_MS * G_GINT64_CONSTANT(1000000)))
                                if (!bh_responses_order(r, row, &away)) {
                                        g_hash_table_remove(active, row->node);
                                        g_hash_table_add(silent, g_strdup(row->node));
                                        continue;
                                }
                        g_hash_table_add(active, g_strdup(row->node));
                }
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor && !g_atomic_int_get(&r->stopping));
        if (!ask_now)
                return;
        *asked_us = g_get_monotonic_time();
        g_hash_table_iter_init(&it, active);
        while (g_hash_table_iter_next(&it, (gpointer *) &node, NULL) && !g_atomic_int_get(&r->stopping)) {
                g_autoptr(GError) away = NULL;
                g_autoptr(GBytes) body = pack(NULL, FALSE);
                g_autoptr(GPtrArray) chunks = ask(r, node, body, &away);

                if (chunks)
                        take(r, node, chunks, NULL, NULL, NULL, NULL);
        }
}

static gpointer work(gpointer data) {
        BhResponses *r = data;
        gint64 asked_us = 0;

        g_mutex_lock(&r->lock);
        while (!g_atomic_int_get(&r->stopping)) {
                g_mutex_unlock(&r->lock);
                look_after(r, &asked_us);
                g_mutex_lock(&r->lock);
                if (!g_atomic_int_get(&r->stopping))
                        g_cond_wait_until(&r->moved, &r->lock, g_get_monotonic_time() + BH_RESPONSES_TICK_MS * 1000);
        }
        g_mutex_unlock(&r->lock);
        return NULL;
}

BhResponses *bh_responses_new(BhCentral *c) {
        BhResponses *r = g_new0(BhResponses, 1);

        r->central = c;
        g_mutex_init(&r->lock);
        g_cond_init(&r->moved);
        r->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        return r;
}

void bh_responses_start(BhResponses *r) {
        r->thread = g_thread_new("bh-responses", work, r);
}

void bh_responses_stop(BhResponses *r) {
        if (!r || !r->thread)
                return;
        g_mutex_lock(&r->lock);
        g_atomic_int_set(&r->stopping, TRUE);
        g_cond_signal(&r->moved);
        g_mutex_unlock(&r->lock);
        g_thread_join(g_steal_pointer(&r->thread));
}

void bh_responses_free(BhResponses *r) {
        if (!r)
                return;
        bh_responses_stop(r);
        g_hash_table_unref(r->counts);
        g_mutex_clear(&r->lock);
        g_cond_clear(&r->moved);
        g_free(r);
}
