/* SPDX-License-Identifier: Apache-2.0 */
#include "incidents.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "hub.h"
#include "incident_ends.h"
#include "incident_places.h"
#include "incident_row.h"
#include "incidents_private.h"
#include "json_out.h"

#define IDLE_US (2 * G_USEC_PER_SEC) /* changes by other processes are not told */
#define FAILED_US G_USEC_PER_SEC
#define AGE_US (600 * G_USEC_PER_SEC)
#define RESTORED_NS (2 * BH_INCIDENT_QUIET_NS)
#define READ_TRIES 60    /* of a finding, a second apart: what cannot be read after a minute is passed over, and counted */
/* A row is written at most once in as long as 128 KiB of it take at 128 KiB/s; a new line waits a second at most, a new stage never. What is not written yet is made again from findings after a crash. */
#define PACE_US_PER_BYTE 8
#define PACE_LINE_US G_USEC_PER_SEC
#define PACE_MAX_US (5 * G_USEC_PER_SEC)

/* An incident's row as it was written last. */
typedef struct {
        gint64 at_us;
        gsize bytes;
        guint32 tactics;
        BhSeverity severity;
        BhIncidentState state;
} Kept;

void bh_correlator_touch(BhCorrelator *k, guint64 id, gboolean new_line) {
        new_line |= GPOINTER_TO_INT(g_hash_table_lookup(k->dirty, &id));
        g_hash_table_replace(k->dirty, g_memdup2(&id, sizeof(id)), GINT_TO_POINTER(new_line));
}

/* ---- what is known of containers ---- */

/* "/usr/bin/docker (uid 0, pid 7) in container NAME": one program, known exactly. Of several it is not said which. */
static char *asker_of(const char *by) {
        static const char *const words[] = { ") in container ", ") from container " };
        const char *name = NULL; /* behind the last of them: a program may be called like that, too */

        if (g_str_has_prefix(by, "one of:"))
                return NULL;
        for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
                const char *at = g_strrstr(by, words[i]);

                if (at && (!name || at + strlen(words[i]) > name))
                        name = at + strlen(words[i]);
        }
        return g_strdup(name);
}

static void on_reached(gint64 serial, const char *node, const char *container, gint64 time_ns, gpointer data) {
        bh_incidents_reached(data, serial, node, container, time_ns);
}

static void learn_container(BhCorrelator *k, const BhStoreContainer *c) {
        g_autofree char *asker = asker_of(*c->started_by ? c->started_by : c->created_by);

        bh_incident_places_learn(k->places, c, on_reached, k->incidents);
        if (asker) {
                const char *id = bh_incident_places_name(k->places, c->node, asker);

                bh_incidents_asked(k->incidents, c->node, id ? id : asker, c->id, MAX(c->started_ns, c->created_ns));
        }
}

static gboolean learn_containers(BhCorrelator *k, GError **error) {
        const BhStoreContainerFilter living = { .living = TRUE };
        g_autofree char *cursor = NULL;

        do {
                g_autoptr(BhStorePage) page = bh_store_containers(k->central->store, &living, cursor, 0, error);

                if (!page)
                        return FALSE;
                for (guint i = 0; i < page->rows->len; i++)
                        learn_container(k, page->rows->pdata[i]);
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor);
        return TRUE;
}

/* Where containers come and go for weeks those that are gone fill the tables: only who lives is asked for again. */
static void forget_gone(BhCorrelator *k) {
        g_autoptr(GError) error = NULL;

        gboolean again = k->forgotten;

        if (!bh_incident_places_full(k->places) && !again)
                return;
        k->forgotten = FALSE;
        bh_incident_places_clear(k->places);
        if (!learn_containers(k, &error)) {
                bh_error("names and addresses of containers cannot be read; it is tried again", "error", error->message);
                k->forgotten = TRUE;
        } else if (bh_incident_places_full(k->places)) {
                bh_warn("more containers live than incidents know names and addresses of");
        }
}

/* What cannot be read now is read again: what is passed over would be lost. FALSE: all stops, or it cannot be read at all. */
static gboolean read_again(BhCorrelator *k, guint *tries, const GError *error) {
        gint64 until = g_get_monotonic_time() + FAILED_US;
        gboolean again;

        g_mutex_lock(&k->lock);
        if (++*tries == 1)
                bh_error("incidents cannot be followed; it is tried again", "error", error->message);
        if (*tries >= READ_TRIES)
                k->unread++;
        again = *tries < READ_TRIES;
        while (again && !k->stopping && g_cond_wait_until(&k->moved, &k->lock, until))
                ;
        again &= !k->stopping;
        g_mutex_unlock(&k->lock);
        return again;
}

static gboolean is_stopping(BhCorrelator *k) {
        g_mutex_lock(&k->lock);
        gboolean stopping = k->stopping;
        g_mutex_unlock(&k->lock);
        return stopping;
}

static void on_container(BhCorrelator *k, const char *key) {
        const char *slash = strchr(key, '/');
        g_autofree char *node = slash ? g_strndup(key, (gsize) (slash - key)) : NULL;
        g_autoptr(BhStoreContainer) c = NULL;
        g_autoptr(GError) error = NULL;
        guint tries = 0;

        while (slash && !(c = bh_store_container(k->central->store, node, slash + 1, &error)) && !g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND)) {
                if (!read_again(k, &tries, error))
                        return;
                g_clear_error(&error);
        }
        if (!c)
                return;
        learn_container(k, c);
        const BhIncident *worth = bh_incidents_asset(k->incidents, c->node, c->id, bh_incident_places_asset(k->places, c->node, c->id));
        if (worth)
                bh_correlator_touch(k, worth->id, TRUE);
        /* the story says that it ended, or, when it runs again, no more */
        const BhIncident *i = bh_incidents_get(k->incidents, bh_incidents_of(k->incidents, c->node, c->id));
        if (i && (bh_incident_container_ended(c) || c->started_ns > i->first_ns))
                bh_correlator_touch(k, i->id, TRUE);
}

/* What its container is worth; and the container at the other end of the event's connection, as far as it is known now. `later`: it is waited for otherwise. */
static void find_places(BhCorrelator *k, BhIncidentFinding *f, gboolean later) {
        char text[INET6_ADDRSTRLEN] = "";

        f->asset = bh_incident_places_ask_asset(k->places, k->central->store, f->node, f->container_id);
        if (!f->event || !bh_event_has(f->event, BH_F_raddr))
                return;
        inet_ntop(f->event->raddr.len == 16 ? AF_INET6 : AF_INET, f->event->raddr.b, text, sizeof(text));
        bh_incident_places_peer(k->places, f->node, f->container_id, text, &f->peer_node, &f->peer_container);
        if (later && !bh_incident_places_sure(k->places, f->peer_node, f->peer_container))
                bh_incident_places_later(k->places, f->serial, f->node, f->container_id, text, f->time_ns);
}

/* ---- findings ---- */

static gboolean counts(const BhStoreFinding *f) {
        /* what the platform says of its own health is no act of anybody; whoever attacks it is told by rules */
        return !g_str_equal(f->kind, "sensor");
}

void bh_correlator_add_row(BhCorrelator *k, BhIncidentBatch *b, const BhIncident *i, gboolean told) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_container_free);
        g_autoptr(GArray) ends = bh_incident_ends(k->central->store, i, rows);
        BhStoreIncident *row = g_new0(BhStoreIncident, 1);

        bh_incident_row(i, (const BhStoryEnd *) ends->data, ends->len, row);
        if (!told)
                row->state = (char *) bh_incident_state_name(BH_INCIDENT_FORMING);
        g_ptr_array_add(b->rows, row);
}

static void take_finding(BhCorrelator *k, const BhStoreFinding *f, BhIncidentBatch *b) {
        g_auto(BhIncidentInput) in = { 0 };

        bh_incident_input_init(&in, f);
        find_places(k, &in.finding, TRUE);
        BhIncidentJoin j = bh_incidents_finding(k->incidents, &in.finding);

        for (guint n = 0; n < j.n_merged; n++)
                bh_correlator_add_row(k, b, j.merged[n], j.merged_open[n]);
        if (j.given_up)
                bh_correlator_add_row(k, b, j.given_up, TRUE);
        if (!j.incident)
                return;
        bh_correlator_touch(k, j.incident->id, j.is_new_line);
        bh_incident_uses_of(k->uses, j.incident, g_get_monotonic_time());
        BhStoreIncidentMember m = { f->serial, j.incident->id };
        g_array_append_val(b->members, m);
}

/* FALSE: all stops before it could be read. */
static gboolean on_finding(BhCorrelator *k, const char *id, BhIncidentBatch *b) {
        guint tries = 0;

        for (;;) {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhStoreFinding) f = bh_store_finding(k->central->store, id, &error);
                gboolean closed = FALSE;

                if (f && !counts(f))
                        return TRUE;
                /* what belongs to a closed one opens nothing when it grows, also when the closed one is no longer in memory */
                if (f && (f->count <= 1 || bh_store_incident_is_closed(k->central->store, f->serial, &closed, &error))) {
                        if (!closed)
                                take_finding(k, f, b);
                        return TRUE;
                }
                if (g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND))
                        return TRUE; /* retention was faster */
                if (!read_again(k, &tries, error))
                        return !is_stopping(k);
        }
}

static void on_incident(BhCorrelator *k, const char *key) {
        guint64 id = g_ascii_strtoull(key, NULL, 10);
        BhIncident *mine = bh_incidents_get(k->incidents, id);
        g_autoptr(BhStoreIncident) row = NULL;
        g_autoptr(GError) error = NULL;
        guint tries = 0;

        if (!mine || mine->id != id)
                return;
        while (!(row = bh_store_incident(k->central->store, id, &error)) && !g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND)) {
                if (!read_again(k, &tries, error))
                        return;
                g_clear_error(&error);
        }
        if (row && g_str_equal(row->state, "closed")) {
                bh_incidents_close(k->incidents, id);
                g_hash_table_remove(k->dirty, &id);
        }
}

static void row_free(gpointer p) {
        bh_incident_row_clear(p);
        g_free(p);
}

BhIncidentBatch bh_correlator_batch_new(void) {
        return (BhIncidentBatch){ g_ptr_array_new_with_free_func(row_free), g_array_new(FALSE, FALSE, sizeof(BhStoreIncidentMember)), NULL };
}

void bh_correlator_batch_clear(BhIncidentBatch *b) {
        g_ptr_array_unref(b->rows);
        g_array_unref(b->members);
}

/* When its row is to be written (monotonic); 0: now. */
static gint64 due_us(BhCorrelator *k, const BhIncident *i, gboolean new_line) {
        const Kept *kept = g_hash_table_lookup(k->kept, &i->id);

        if (!kept || kept->tactics != i->tactics || kept->severity != i->severity || kept->state != i->state)
                return 0;
        return kept->at_us + MIN((gint64) kept->bytes * PACE_US_PER_BYTE, new_line ? PACE_LINE_US : PACE_MAX_US);
}

static gsize bytes_of(const BhStoreIncident *row) {
        return strlen(row->lines) + strlen(row->containers) + strlen(row->story);
}

/* Rows of those whose time has come go behind the batch's. *next: when the next one is due, 0: none waits. */
static void add_due(BhCorrelator *k, BhIncidentBatch *b, gboolean all, gint64 *next) {
        gint64 now = g_get_monotonic_time();
        GHashTableIter it;
        gpointer id, new_line;

        *next = 0;
        g_hash_table_iter_init(&it, k->dirty);
        while (g_hash_table_iter_next(&it, &id, &new_line)) {
                const BhIncident *i = bh_incidents_get(k->incidents, *(guint64 *) id);

                /* one that was merged meanwhile is in the one that it went into, which was touched itself */
                if (!i || i->id != *(guint64 *) id) {
                        g_hash_table_iter_remove(&it);
                        continue;
                }
                gint64 due = due_us(k, i, GPOINTER_TO_INT(new_line));
                if (all || due <= now)
                        bh_correlator_add_row(k, b, i, i->state != BH_INCIDENT_FORMING);
                else
                        *next = *next ? MIN(*next, due) : due;
        }
}

static void note_kept(BhCorrelator *k, const BhIncidentBatch *b) {
        for (guint n = 0; n < b->rows->len; n++) {
                const BhStoreIncident *row = b->rows->pdata[n];
                const BhIncident *i = bh_incidents_get(k->incidents, row->id);

                g_hash_table_remove(k->dirty, &row->id);
                if (!i || i->id != row->id)
                        continue;
                const Kept kept = { g_get_monotonic_time(), bytes_of(row), i->tactics, i->severity, i->state };
                g_hash_table_replace(k->kept, g_memdup2(&row->id, sizeof(row->id)), g_memdup2(&kept, sizeof(kept)));
        }
}

static gboolean store_once(BhCorrelator *k, const BhIncidentBatch *b, guint64 position, GError **error) {
        g_autofree BhStoreIncident *rows = g_new0(BhStoreIncident, b->rows->len + 1);
        const BhStoreIncidentMember *members = (const BhStoreIncidentMember *) b->members->data;
        BhStore *s = k->central->store;

        for (guint n = 0; n < b->rows->len; n++)
                rows[n] = *(const BhStoreIncident *) b->rows->pdata[n];
        if (!b->order)
                return bh_store_incidents_put(s, rows, b->rows->len, members, b->members->len, position, error);
        const BhIncidentOrder *o = b->order;
        guint64 other = o->into ? o->into : o->result;
        g_autofree char *here = o->into ? g_strdup_printf("merged into incident %" G_GUINT64_FORMAT, other) : g_strdup_printf("a part of it was made incident %" G_GUINT64_FORMAT, other);
        g_autofree char *there = o->into ? g_strdup_printf("incident %" G_GUINT64_FORMAT " was merged into this one", o->id) : g_strdup_printf("taken out of incident %" G_GUINT64_FORMAT, o->id);
        const BhStoreIncidentSaid said[] = { { o->id, o->who, here }, { other, o->who, there } };
        const BhStoreIncidentApart apart = { o->id, other, !o->into };
        return bh_store_incidents_decide(s, rows, b->rows->len, members, b->members->len, position, said, G_N_ELEMENTS(said), &apart, o->audit, error);
}

gboolean bh_correlator_store(BhCorrelator *k, const BhIncidentBatch *b, guint64 position) {
        for (;;) {
                g_autoptr(GError) error = NULL;
                gboolean stored = store_once(k, b, position, &error), stopping;

                g_mutex_lock(&k->lock);
                if (stored)
                        k->written += b->rows->len;
                else if (!k->failed++)
                        bh_error("incidents cannot be stored; it is tried again", "error", error->message);
                gint64 until = g_get_monotonic_time() + FAILED_US;
                while (!stored && !k->stopping && g_cond_wait_until(&k->moved, &k->lock, until))
                        ;
                stopping = k->stopping;
                g_mutex_unlock(&k->lock);
                if (stored)
                        note_kept(k, b);
                if (stored || stopping)
                        return stored;
        }
}

/* Members and place are stored before the next is looked at, rows when it is time (*next). */
static gboolean take(BhCorrelator *k, GPtrArray *changes, gint64 *next) {
        g_autoptr(GHashTable) newest = g_hash_table_new(g_str_hash, g_str_equal);
        guint64 last = ((const BhStoreChange *) changes->pdata[changes->len - 1])->id;
        BhIncidentBatch b = bh_correlator_batch_new();
        gboolean ok = TRUE;

        for (guint i = 0; i < changes->len; i++) {
                BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING)
                        g_hash_table_insert(newest, c->key, c);
        }
        for (guint i = 0; ok && i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING && g_hash_table_lookup(newest, c->key) == c)
                        ok = on_finding(k, c->key, &b);
                else if (c->kind == BH_STORE_CHANGE_CONTAINER)
                        on_container(k, c->key);
                else if (c->kind == BH_STORE_CHANGE_INCIDENT)
                        on_incident(k, c->key);
        }
        add_due(k, &b, FALSE, next);
        /* changes of other kinds may be read again after a restart: what they say does not add up */
        if (ok && (g_hash_table_size(newest) || b.rows->len))
                ok = bh_correlator_store(k, &b, last);
        bh_correlator_batch_clear(&b);
        if (ok)
                k->at = last;
        return ok;
}

gboolean bh_correlator_flush(BhCorrelator *k, gboolean all, gint64 *next) {
        BhIncidentBatch b = bh_correlator_batch_new();
        gboolean ok;

        add_due(k, &b, all, next);
        ok = !b.rows->len || bh_correlator_store(k, &b, k->at);
        bh_correlator_batch_clear(&b);
        return ok;
}

/* ---- what was kept ---- */

void bh_correlator_restore(const char *finding, guint64 incident, gboolean open, gpointer data) {
        BhCorrelator *k = data;
        g_autoptr(BhStoreFinding) f = bh_store_finding(k->central->store, finding, NULL);
        g_auto(BhIncidentInput) in = { 0 };

        if (!f)
                return;
        bh_incident_input_init(&in, f);
        find_places(k, &in.finding, FALSE);
        bh_incidents_restore(k->incidents, incident, open ? BH_INCIDENT_OPEN : BH_INCIDENT_FORMING, &in.finding);
}

gboolean bh_correlator_restore_row(BhCorrelator *k, guint64 id, GError **error) {
        g_autoptr(BhStoreIncident) row = bh_store_incident(k->central->store, id, error);
        BhIncident *i;

        if (!row)
                return FALSE;
        bh_incident_row_lines(row->lines, k->incidents, id);
        bh_incidents_restore_totals(k->incidents, id, row->findings, row->dropped);
        i = bh_incidents_get(k->incidents, id);
        if (i && i->id == id && (i->findings > row->findings || i->last_ns > row->last_ns || i->tactics != row->tactics || i->severity != row->severity))
                bh_correlator_touch(k, id, TRUE);
        return TRUE;
}

/* FALSE: all stops. */
static gboolean rest(BhCorrelator *k, gint64 us) {
        gint64 until = g_get_monotonic_time() + us;

        g_mutex_lock(&k->lock);
        while (!k->stopping && !k->woken && us && !k->orders.length && g_cond_wait_until(&k->moved, &k->lock, until))
                ;
        k->woken = FALSE;
        bh_incidents_stats(k->incidents, &k->stats);
        k->uses_watched = bh_incident_uses_watched(k->uses);
        k->uses_dropped = bh_incident_uses_dropped(k->uses);
        gboolean go_on = !k->stopping;
        g_mutex_unlock(&k->lock);
        return go_on;
}

typedef struct {
        BhCorrelator *correlator;
        BhIncidentBatch batch;
} Uses;

static void on_use(const BhIncidentUse *use, gpointer data) {
        Uses *u = data;
        BhIncidentJoin j;

        if (!bh_incidents_used(u->correlator->incidents, use, &j))
                return;
        for (guint n = 0; n < j.n_merged; n++)
                bh_correlator_add_row(u->correlator, &u->batch, j.merged[n], j.merged_open[n]);
        bh_correlator_touch(u->correlator, j.incident->id, TRUE);
        bh_incident_uses_of(u->correlator->uses, j.incident, g_get_monotonic_time());
}

/* What credentials that were read may have been used for. FALSE: all stops. */
static gboolean look_for_uses(BhCorrelator *k) {
        Uses u = { k, bh_correlator_batch_new() };
        gint64 next;
        gboolean ok = TRUE;

        bh_incident_uses_look(k->uses, k->central->store, k->places, g_get_monotonic_time(), on_use, &u);
        if (u.batch.rows->len) {
                /* the one that goes on with those that went into it */
                add_due(k, &u.batch, TRUE, &next);
                ok = bh_correlator_store(k, &u.batch, k->at);
        }
        bh_correlator_batch_clear(&u.batch);
        return ok;
}

static gboolean is_gone(gpointer id, gpointer value, gpointer data) {
        const BhIncident *i = bh_incidents_get(data, *(guint64 *) id);

        (void) value;
        return !i || i->id != *(guint64 *) id;
}

/* FALSE: all stops. */
static gboolean age(BhCorrelator *k) {
        gint64 next;

        if (g_get_monotonic_time() - k->aged_us <= AGE_US)
                return TRUE;
        k->aged_us = g_get_monotonic_time();
        if (!bh_correlator_flush(k, TRUE, &next))
                return FALSE;
        bh_incidents_age(k->incidents, g_get_real_time() * 1000, NULL, NULL);
        g_hash_table_foreach_remove(k->kept, is_gone, k->incidents);
        forget_gone(k);
        return TRUE;
}

static gpointer work(gpointer data) {
        BhCorrelator *k = data;
        gint64 us = 0, next = 0;
        gboolean ok = TRUE;

        while (ok && rest(k, us)) {
                g_autoptr(GError) error = NULL;
                gboolean gap = FALSE;
                g_autoptr(GPtrArray) changes = NULL;

                us = 0;
                if (!bh_correlator_obey(k))
                        break;
                changes = bh_store_changes_after(k->central->store, k->at, BH_INCIDENTS_BATCH, &gap, &error);
                if (!changes) {
                        bh_error("cannot read what changed", "error", error->message);
                        us = FAILED_US;
                        continue;
                }
                if (gap) {
                        g_mutex_lock(&k->lock);
                        k->gaps++;
                        g_mutex_unlock(&k->lock);
                        bh_warn("findings went by while incidents were not followed: they are in the list of findings, and in no incident");
                        if (!changes->len)
                                bh_store_changes_last(k->central->store, &k->at, NULL);
                }
                ok = (changes->len ? take(k, changes, &next) : bh_correlator_flush(k, FALSE, &next)) && look_for_uses(k) && age(k);
                if (changes->len < BH_INCIDENTS_BATCH)
                        us = next ? CLAMP(next - g_get_monotonic_time(), 1, IDLE_US) : IDLE_US;
        }
        /* who stops in peace leaves nothing to be made again */
        if (ok) {
                BhIncidentBatch b = bh_correlator_batch_new();

                add_due(k, &b, TRUE, &next);
                if (b.rows->len)
                        bh_correlator_store(k, &b, k->at);
                bh_correlator_batch_clear(&b);
        }
        return NULL;
}

/* ---- life ---- */

/* What it went into, if it did. */
static guint64 follow_merged(BhCorrelator *k, guint64 id) {
        for (guint hops = 0; hops < 16; hops++) {
                g_autoptr(BhStoreIncident) row = bh_store_incident(k->central->store, id, NULL);

                if (!row || !row->merged_into)
                        break;
                id = row->merged_into;
        }
        return id;
}

static void restore_apart(guint64 a, guint64 b, gpointer data) {
        guint64 *pair = g_new(guint64, 2);

        pair[0] = a;
        pair[1] = b;
        g_ptr_array_add(data, pair);
}

static gboolean restore_all(BhCorrelator *k, GError **error) {
        g_autoptr(GPtrArray) apart = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GArray) open = NULL;

        if (!bh_store_incidents_members(k->central->store, g_get_real_time() * 1000 - RESTORED_NS, BH_INCIDENTS_RESTORED, bh_correlator_restore, k, error))
                return FALSE;
        if (!bh_store_incidents_apart(k->central->store, restore_apart, apart, error))
                return FALSE;
        for (guint n = 0; n < apart->len; n++) {
                const guint64 *pair = apart->pdata[n];

                bh_incidents_keep_apart(k->incidents, follow_merged(k, pair[0]), follow_merged(k, pair[1]));
        }
        open = bh_incidents_open(k->incidents);
        for (guint n = 0; n < open->len; n++) {
                g_autoptr(GError) e = NULL;

                if (!bh_correlator_restore_row(k, g_array_index(open, guint64, n), &e) && !g_error_matches(e, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND)) {
                        g_propagate_error(error, g_steal_pointer(&e));
                        return FALSE;
                }
                const BhIncident *i = bh_incidents_get(k->incidents, g_array_index(open, guint64, n));
                if (i)
                        bh_incident_uses_restore(k->uses, i, g_get_monotonic_time(), g_get_real_time() * 1000);
        }
        return TRUE;
}

BhCorrelator *bh_correlator_new(BhCentral *c, GError **error) {
        BhCorrelator *k = g_new0(BhCorrelator, 1);
        guint64 last = 0;

        k->central = c;
        g_mutex_init(&k->lock);
        g_cond_init(&k->moved);
        k->places = bh_incident_places_new();
        k->uses = bh_incident_uses_new();
        k->kept = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        k->dirty = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        k->aged_us = g_get_monotonic_time();
        if (!bh_store_incidents_last(c->store, &last, error) || !bh_store_incidents_position(c->store, &k->at, error)) {
                bh_correlator_free(k);
                return NULL;
        }
        k->incidents = bh_incidents_new(last + 1);
        /* once for whose address is whose, and again when there are incidents, for who asked for which container */
        if (!learn_containers(k, error) || !restore_all(k, error) || !learn_containers(k, error)) {
                bh_correlator_free(k);
                return NULL;
        }
        k->thread = g_thread_new("bh-incidents", work, k);
        return k;
}

void bh_correlator_free(BhCorrelator *k) {
        if (!k)
                return;
        g_mutex_lock(&k->lock);
        k->stopping = TRUE;
        g_cond_broadcast(&k->moved);
        g_mutex_unlock(&k->lock);
        if (k->thread)
                g_thread_join(k->thread);
        bh_incidents_free(k->incidents);
        bh_incident_places_free(k->places);
        bh_incident_uses_free(k->uses);
        g_hash_table_unref(k->kept);
        g_hash_table_unref(k->dirty);
        g_mutex_clear(&k->lock);
        g_cond_clear(&k->moved);
        g_free(k);
}

void bh_correlator_wake(BhCorrelator *k) {
        g_mutex_lock(&k->lock);
        k->woken = TRUE;
        g_cond_broadcast(&k->moved);
        g_mutex_unlock(&k->lock);
}

void bh_correlator_append_json(BhCorrelator *k, GString *out) {
        g_mutex_lock(&k->lock);
        bh_json_open(out, "incidents", '{');
        bh_json_uint(out, "open", k->stats.open);
        bh_json_uint(out, "forming", k->stats.forming);
        bh_json_uint(out, "findings", k->stats.findings);
        bh_json_uint(out, "passed_over", k->stats.passed_over);
        bh_json_uint(out, "merged", k->stats.merged);
        bh_json_uint(out, "given_up", k->stats.given_up);
        bh_json_uint(out, "keys_dropped", k->stats.keys_dropped);
        bh_json_uint(out, "gaps", k->gaps);
        bh_json_uint(out, "failed", k->failed);
        bh_json_uint(out, "unread", k->unread);
        bh_json_uint(out, "written", k->written);
        bh_json_uint(out, "credentials_watched", k->uses_watched);
        bh_json_uint(out, "credentials_dropped", k->uses_dropped);
        bh_json_close(out, '}');
        g_mutex_unlock(&k->lock);
}
