/* SPDX-License-Identifier: Apache-2.0 */
/* What people ask of the correlation: to merge two, to take one apart. */
#include "incidents_private.h"

#define ASK_US (10 * G_USEC_PER_SEC)

/* The open incident of that number, out of the store where it was quiet for so long that it is not in memory. */
static BhIncident *must_have(BhCorrelator *k, guint64 id, GError **error) {
        g_autoptr(BhStoreIncident) row = bh_store_incident(k->central->store, id, error);
        BhIncident *i = bh_incidents_get(k->incidents, id);
        gint64 next;

        if (!row)
                return NULL;
        if (!g_str_equal(row->state, "open")) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "incident %" G_GUINT64_FORMAT " is %s, not open", id, row->state);
                return NULL;
        }
        if (i && i->id == id)
                return i;
        /* another one may have to make room for it: what is not written of that by then is lost */
        if (!bh_correlator_flush(k, TRUE, &next)) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_BUSY, "the central stops; nothing was changed");
                return NULL;
        }
        if (!bh_store_incident_members(k->central->store, id, BH_INCIDENTS_RESTORED, bh_correlator_restore, k, error) || !bh_correlator_restore_row(k, id, error))
                return NULL;
        i = bh_incidents_get(k->incidents, id);
        if (!i || i->id != id) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "incident %" G_GUINT64_FORMAT " has no findings any more: they are older than what is kept", id);
                return NULL;
        }
        return i;
}

static gboolean do_merge(BhCorrelator *k, BhIncidentOrder *o, BhIncidentBatch *b) {
        BhIncident *from = NULL, *into;

        if (o->id == o->into) {
                g_set_error(&o->error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "an incident cannot be merged into itself");
                return FALSE;
        }
        if (!must_have(k, o->id, &o->error) || !must_have(k, o->into, &o->error))
                return FALSE;
        into = bh_incidents_merge(k->incidents, o->into, o->id, &from);
        if (!into) {
                g_set_error(&o->error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "too many incidents are open to take these out of the store");
                return FALSE;
        }
        bh_correlator_add_row(k, b, from, TRUE);
        bh_correlator_add_row(k, b, into, TRUE);
        o->result = o->into;
        return TRUE;
}

static gboolean do_split(BhCorrelator *k, BhIncidentOrder *o, BhIncidentBatch *b) {
        g_autoptr(GArray) serials = NULL;
        BhIncident *given_up = NULL, *made;

        if (!must_have(k, o->id, &o->error))
                return FALSE;
        made = bh_incidents_split(k->incidents, o->id, o->ids, &serials, &given_up);
        if (!made) {
                g_set_error(&o->error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID,
                            "no such line, or nothing would be left: give the findings of some lines of the timeline of incident %" G_GUINT64_FORMAT ", not of all", o->id);
                return FALSE;
        }
        o->result = made->id;
        if (given_up)
                bh_correlator_add_row(k, b, given_up, TRUE);
        bh_correlator_add_row(k, b, bh_incidents_get(k->incidents, o->id), TRUE);
        bh_correlator_add_row(k, b, made, TRUE);
        for (guint n = 0; n < serials->len; n++) {
                BhStoreIncidentMember m = { g_array_index(serials, gint64, n), made->id };

                g_array_append_val(b->members, m);
        }
        return TRUE;
}

static BhIncidentOrder *next_order(BhCorrelator *k) {
        g_mutex_lock(&k->lock);
        BhIncidentOrder *o = g_queue_pop_head(&k->orders);
        g_mutex_unlock(&k->lock);
        return o;
}

gboolean bh_correlator_obey(BhCorrelator *k) {
        gboolean ok = TRUE;

        for (BhIncidentOrder *o; ok && (o = next_order(k));) {
                BhIncidentBatch b = bh_correlator_batch_new();

                b.order = o;
                if (o->into ? do_merge(k, o, &b) : do_split(k, o, &b)) {
                        ok = bh_correlator_store(k, &b, k->at);
                        if (!ok)
                                g_set_error(&o->error, BH_STORE_ERROR, BH_STORE_ERROR_BUSY, "the central stops; nothing was changed");
                }
                bh_correlator_batch_clear(&b);
                g_mutex_lock(&k->lock);
                o->done = TRUE;
                g_cond_broadcast(&k->moved);
                g_mutex_unlock(&k->lock);
        }
        return ok;
}

/* Waits for its turn, and then for as long as it takes. */
static guint64 ask(BhCorrelator *k, BhIncidentOrder *o, GError **error) {
        gint64 until = g_get_monotonic_time() + ASK_US;

        g_mutex_lock(&k->lock);
        g_queue_push_tail(&k->orders, o);
        k->woken = TRUE;
        g_cond_broadcast(&k->moved);
        while (!o->done && !k->stopping && g_cond_wait_until(&k->moved, &k->lock, until))
                ;
        if (!o->done && g_queue_remove(&k->orders, o)) {
                o->done = TRUE;
                g_set_error(&o->error, BH_STORE_ERROR, BH_STORE_ERROR_BUSY, "incidents cannot be changed at the moment: findings are being followed; try again");
        }
        while (!o->done)
                g_cond_wait(&k->moved, &k->lock);
        g_mutex_unlock(&k->lock);
        if (o->error) {
                g_propagate_error(error, o->error);
                return 0;
        }
        return o->result;
}

guint64 bh_correlator_merge(BhCorrelator *k, guint64 id, guint64 into, const char *who, const BhStoreAuditEntry *audit, GError **error) {
        BhIncidentOrder o = { .id = id, .into = into, .who = who, .audit = audit };

        return ask(k, &o, error);
}

guint64 bh_correlator_split(BhCorrelator *k, guint64 id, const char *const *findings, const char *who, const BhStoreAuditEntry *audit, GError **error) {
        BhIncidentOrder o = { .id = id, .ids = findings, .who = who, .audit = audit };

        return ask(k, &o, error);
}
