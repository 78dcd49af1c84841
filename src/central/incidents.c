/* SPDX-License-Identifier: Apache-2.0 */
#include "incidents.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "hub.h"
#include "incident_row.h"
#include "json_out.h"

#define IDLE_US (2 * G_USEC_PER_SEC) /* changes by other processes are not told */
#define FAILED_US G_USEC_PER_SEC
#define AGE_US (600 * G_USEC_PER_SEC)
#define RESTORED_NS (2 * BH_INCIDENT_QUIET_NS)

struct BhCorrelator {
        BhCentral *central;
        BhIncidents *incidents;
        guint64 at; /* in the change log */
        GHashTable *addresses, *names; /* char *"node\1text" → char *container id */
        GThread *thread;
        gint64 aged_us;

        GMutex lock;
        GCond moved;
        /* under the lock */
        gboolean stopping, woken;
        BhIncidentStats stats;
        guint64 gaps, failed;
};

/* What a batch changed. */
typedef struct {
        GHashTable *touched; /* guint64 * of incidents, each once */
        GPtrArray *merged;   /* BhStoreIncident * : rows of those that went into others */
        GArray *members;     /* BhStoreIncidentMember */
} Batch;

/* ---- what is known of containers ---- */

static void know(GHashTable *where, const char *node, const char *text, const char *id) {
        if (!*text || (g_hash_table_size(where) >= BH_INCIDENTS_KNOWN && !g_hash_table_contains(where, text)))
                return;
        g_hash_table_replace(where, g_strconcat(node, "\1", text, NULL), g_strdup(id));
}

static const char *known(GHashTable *where, const char *node, const char *text) {
        g_autofree char *key = g_strconcat(node, "\1", text, NULL);

        return g_hash_table_lookup(where, key);
}

/* "/usr/bin/docker (uid 0, pid 7) in container NAME": one program, known exactly. Of several it is not said which. */
static char *asker_of(const char *by) {
        static const char *const words[] = { ") in container ", ") from container " };

        if (g_str_has_prefix(by, "one of:"))
                return NULL;
        for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
                const char *at = strstr(by, words[i]);

                if (at)
                        return g_strdup(at + strlen(words[i]));
        }
        return NULL;
}

static void learn_container(BhCorrelator *k, const BhStoreContainer *c) {
        json_auto_t *networks = *c->networks ? json_loads(c->networks, 0, NULL) : NULL;
        g_autofree char *asker = asker_of(*c->started_by ? c->started_by : c->created_by);
        json_t *n;
        size_t i;

        know(k->names, c->node, c->name, c->id);
        json_array_foreach(networks, i, n) {
                const char *ip = json_string_value(json_object_get(n, "ip")), *ip6 = json_string_value(json_object_get(n, "ip6"));

                know(k->addresses, c->node, ip ? ip : "", c->id);
                know(k->addresses, c->node, ip6 ? ip6 : "", c->id);
        }
        if (asker) {
                const char *id = known(k->names, c->node, asker);

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

static void on_container(BhCorrelator *k, const char *key) {
        const char *slash = strchr(key, '/');
        g_autofree char *node = slash ? g_strndup(key, (gsize) (slash - key)) : NULL;
        g_autoptr(BhStoreContainer) c = slash ? bh_store_container(k->central->store, node, slash + 1, NULL) : NULL;

        if (c)
                learn_container(k, c);
}

/* The container at the other end of the event's connection. */
static const char *peer_of(BhCorrelator *k, const BhIncidentFinding *f) {
        char text[INET6_ADDRSTRLEN] = "";
        const char *id;

        if (!f->event || !bh_event_has(f->event, BH_F_raddr))
                return NULL;
        inet_ntop(f->event->raddr.len == 16 ? AF_INET6 : AF_INET, f->event->raddr.b, text, sizeof(text));
        id = known(k->addresses, f->node, text);
        return id && g_strcmp0(id, f->container_id) != 0 ? id : NULL;
}

/* ---- findings ---- */

static gboolean counts(const BhStoreFinding *f) {
        /* what the platform says of its own health is no act of anybody; whoever attacks it is told by rules */
        return !g_str_equal(f->kind, "sensor");
}

static void touch(Batch *b, guint64 id) {
        if (!g_hash_table_contains(b->touched, &id))
                g_hash_table_add(b->touched, g_memdup2(&id, sizeof(id)));
}

static void on_finding(BhCorrelator *k, const char *id, Batch *b) {
        g_autoptr(BhStoreFinding) f = bh_store_finding(k->central->store, id, NULL);
        g_auto(BhIncidentInput) in = { 0 };
        gboolean ended = FALSE;

        if (!f || !counts(f))
                return; /* retention was faster */
        /* one that grows goes on where it is, also when this program was another process when that was closed */
        if (f->count > 1 && bh_store_incident_ended(k->central->store, f->serial, &ended, NULL) && ended)
                return;
        bh_incident_input_init(&in, f);
        in.finding.peer_container = peer_of(k, &in.finding);
        BhIncidentJoin j = bh_incidents_finding(k->incidents, &in.finding);

        for (guint n = 0; n < j.n_merged; n++) {
                BhStoreIncident *row = g_new0(BhStoreIncident, 1);

                bh_incident_row(j.merged[n], row);
                g_ptr_array_add(b->merged, row);
        }
        if (!j.incident)
                return;
        touch(b, j.incident->id);
        BhStoreIncidentMember m = { f->serial, j.incident->id };
        g_array_append_val(b->members, m);
}

static void on_incident(BhCorrelator *k, const char *key) {
        guint64 id = g_ascii_strtoull(key, NULL, 10);
        BhIncident *mine = bh_incidents_get(k->incidents, id);

        if (!mine || mine->id != id)
                return;
        g_autoptr(BhStoreIncident) row = bh_store_incident(k->central->store, id, NULL);
        if (row && g_str_equal(row->state, "closed"))
                bh_incidents_close(k->incidents, id);
}

static void row_free(gpointer p) {
        bh_incident_row_clear(p);
        g_free(p);
}

static gboolean store(BhCorrelator *k, const Batch *b, guint64 position, GError **error) {
        guint n_touched = g_hash_table_size(b->touched), n = 0;
        g_autofree BhStoreIncident *rows = g_new0(BhStoreIncident, n_touched + b->merged->len + 1);
        GHashTableIter it;
        gpointer id;
        guint made = 0;

        for (; n < b->merged->len; n++)
                rows[n] = *(const BhStoreIncident *) b->merged->pdata[n];
        g_hash_table_iter_init(&it, b->touched);
        while (g_hash_table_iter_next(&it, &id, NULL)) {
                const BhIncident *i = bh_incidents_get(k->incidents, *(guint64 *) id);

                /* one that was merged meanwhile is in the one that it went into, which was touched itself */
                if (i && i->id == *(guint64 *) id)
                        bh_incident_row(i, &rows[n + made++]);
        }
        gboolean ok = bh_store_incidents_put(k->central->store, rows, n + made, (const BhStoreIncidentMember *) b->members->data, b->members->len, position, error);
        for (guint m = 0; m < made; m++)
                bh_incident_row_clear(&rows[n + m]);
        return ok;
}

/* Everything that is decided is stored before the next is looked at; until it is, it is tried again. */
static gboolean take(BhCorrelator *k, GPtrArray *changes) {
        g_autoptr(GHashTable) newest = g_hash_table_new(g_str_hash, g_str_equal);
        guint64 last = ((const BhStoreChange *) changes->pdata[changes->len - 1])->id;
        Batch b = { g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL), g_ptr_array_new_with_free_func(row_free), g_array_new(FALSE, FALSE, sizeof(BhStoreIncidentMember)) };
        gboolean stored;

        for (guint i = 0; i < changes->len; i++) {
                BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING)
                        g_hash_table_insert(newest, c->key, c);
        }
        /* changes of other kinds may be read again after a restart: what they say does not add up */
        stored = g_hash_table_size(newest) == 0;
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING && g_hash_table_lookup(newest, c->key) == c)
                        on_finding(k, c->key, &b);
                else if (c->kind == BH_STORE_CHANGE_CONTAINER)
                        on_container(k, c->key);
                else if (c->kind == BH_STORE_CHANGE_INCIDENT)
                        on_incident(k, c->key);
        }
        while (!stored) {
                g_autoptr(GError) error = NULL;

                if ((stored = store(k, &b, last, &error)))
                        break;
                g_mutex_lock(&k->lock);
                if (!k->failed++)
                        bh_error("incidents cannot be stored; it is tried again", "error", error->message);
                gint64 until = g_get_monotonic_time() + FAILED_US;
                while (!k->stopping && g_cond_wait_until(&k->moved, &k->lock, until))
                        ;
                gboolean stopping = k->stopping;
                g_mutex_unlock(&k->lock);
                if (stopping)
                        break; /* the next start reads the same changes again */
        }
        g_hash_table_unref(b.touched);
        g_ptr_array_unref(b.merged);
        g_array_unref(b.members);
        k->at = stored ? last : k->at;
        return stored;
}

/* FALSE: all stops. */
static gboolean rest(BhCorrelator *k, gint64 us) {
        gint64 until = g_get_monotonic_time() + us;

        g_mutex_lock(&k->lock);
        while (!k->stopping && !k->woken && us && g_cond_wait_until(&k->moved, &k->lock, until))
                ;
        k->woken = FALSE;
        bh_incidents_stats(k->incidents, &k->stats);
        gboolean go_on = !k->stopping;
        g_mutex_unlock(&k->lock);
        return go_on;
}

static gpointer work(gpointer data) {
        BhCorrelator *k = data;
        gint64 us = 0;

        while (rest(k, us)) {
                g_autoptr(GError) error = NULL;
                gboolean gap = FALSE;
                g_autoptr(GPtrArray) changes = bh_store_changes_after(k->central->store, k->at, BH_INCIDENTS_BATCH, &gap, &error);

                us = 0;
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
                if (changes->len && !take(k, changes))
                        break;
                if (g_get_monotonic_time() - k->aged_us > AGE_US) {
                        k->aged_us = g_get_monotonic_time();
                        bh_incidents_age(k->incidents, g_get_real_time() * 1000, NULL, NULL);
                }
                if (changes->len < BH_INCIDENTS_BATCH)
                        us = IDLE_US;
        }
        return NULL;
}

/* ---- life ---- */

static void restore(const char *finding, guint64 incident, gboolean open, gpointer data) {
        BhCorrelator *k = data;
        g_autoptr(BhStoreFinding) f = bh_store_finding(k->central->store, finding, NULL);
        g_auto(BhIncidentInput) in = { 0 };

        if (!f)
                return;
        bh_incident_input_init(&in, f);
        in.finding.peer_container = peer_of(k, &in.finding);
        bh_incidents_restore(k->incidents, incident, open ? BH_INCIDENT_OPEN : BH_INCIDENT_FORMING, &in.finding);
}

BhCorrelator *bh_correlator_new(BhCentral *c, GError **error) {
        BhCorrelator *k = g_new0(BhCorrelator, 1);
        guint64 last = 0;

        k->central = c;
        g_mutex_init(&k->lock);
        g_cond_init(&k->moved);
        k->addresses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        k->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        k->aged_us = g_get_monotonic_time();
        if (!bh_store_incidents_last(c->store, &last, error) || !bh_store_incidents_position(c->store, &k->at, error)) {
                bh_correlator_free(k);
                return NULL;
        }
        k->incidents = bh_incidents_new(last + 1);
        if (!learn_containers(k, error) || !bh_store_incidents_members(c->store, g_get_real_time() * 1000 - RESTORED_NS, BH_INCIDENTS_RESTORED, restore, k, error)) {
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
        g_hash_table_unref(k->addresses);
        g_hash_table_unref(k->names);
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
        bh_json_close(out, '}');
        g_mutex_unlock(&k->lock);
}
