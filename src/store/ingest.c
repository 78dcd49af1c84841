/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

/* Counted only if the transaction becomes durable. */
typedef struct {
        guint64 ingested[10], duplicates, refused, folded;
} Counts;

static gboolean is_empty(const char *text) {
        return !text || !*text;
}

static gboolean put_inventory(BhStore *s, const char *node, BhStoreMessage *m, Counts *counts, GError **error) {
        const BhStoreInventory *inv = &m->inventory;
        g_autoptr(GHashTable) listed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

        if (!is_empty(inv->boot_id) && !bh_store_touch_node(s, node, NULL, bh_store_clean(s, inv->boot_id, BH_STORE_KEY_MAX), -1, error))
                return FALSE;
        for (guint i = 0; i < inv->n_containers; i++) {
                BhStoreContainer *c = &inv->containers[i];
                gint64 serial;

                if (is_empty(c->id)) {
                        c->change = 0;
                        counts->refused++;
                        continue;
                }
                if (!bh_store_put_container(s, node, c, &serial, error))
                        return FALSE;
                if (c->change)
                        m->change = c->change;
                g_hash_table_add(listed, g_memdup2(&serial, sizeof(serial)));
        }
        return !inv->full || bh_store_end_others(s, node, listed, &m->change, error);
}

static gboolean put_message(BhStore *s, const char *node, BhStoreMessage *m, Counts *counts, GError **error) {
        gboolean duplicate = FALSE;

        switch (m->kind) {
        case BH_STORE_MESSAGE_INVENTORY:
                return put_inventory(s, node, m, counts, error);
        case BH_STORE_MESSAGE_OBSERVATION:
                if (is_empty(m->observation.kind) || is_empty(m->observation.subject)) {
                        counts->refused++;
                        return TRUE;
                }
                return bh_store_put_observation(s, node, &m->observation, &m->change, error);
        case BH_STORE_MESSAGE_FINDING:
                if (is_empty(m->finding.id)) {
                        counts->refused++;
                        return TRUE;
                }
                if (!bh_store_put_finding(s, node, &m->finding, &m->change, &duplicate, error))
                        return FALSE;
                counts->duplicates += duplicate;
                return TRUE;
        case BH_STORE_MESSAGE_LOSS:
                return bh_store_put_loss(s, node, &m->loss, error);
        case BH_STORE_MESSAGE_FLOWS:
                if (!bh_store_put_flows(s, node, &m->flows, &counts->folded, error))
                        return FALSE;
                counts->duplicates += !m->flows.counted;
                return TRUE;
        case BH_STORE_MESSAGE_EVIDENCE:
                if (!bh_store_put_evidence(s, node, &m->evidence, &duplicate, &counts->refused, error))
                        return FALSE;
                counts->duplicates += duplicate;
                return TRUE;
        case BH_STORE_MESSAGE_RESPONSE:
                return bh_store_put_response(s, node, &m->response, &counts->refused, error);
        case BH_STORE_MESSAGE_LISTENERS:
                return bh_store_put_listeners(s, node, &m->listeners, error);
        case BH_STORE_MESSAGE_RESOURCES:
                if (is_empty(m->resources.source) || is_empty(m->resources.scope)) {
                        counts->refused++;
                        return TRUE;
                }
                return bh_store_put_resources(s, node, &m->resources, &counts->refused, &m->change, error);
        default:
                return TRUE;
        }
}

static gboolean put_all(BhStore *s, const char *publisher, const char *node, BhStoreMessage *messages, guint n, Counts *counts,
                        GError **error) {
        gint64 position;

        if (!bh_db_get_int(s->writer, &position, NULL, error, "SELECT position FROM publishers WHERE id = ?", "t", publisher) ||
            !bh_store_touch_node(s, node, NULL, NULL, -1, error))
                return FALSE;
        for (guint i = 0; i < n; i++) {
                BhStoreMessage *m = &messages[i];

                m->change = 0;
                if (m->seq <= (guint64) position) {
                        counts->duplicates++;
                        continue;
                }
                if (!put_message(s, node, m, counts, error))
                        return FALSE;
                position = (gint64) m->seq;
                counts->ingested[MIN((guint) m->kind, G_N_ELEMENTS(counts->ingested) - 1)]++;
        }
        return bh_db_run(s->writer, error,
                         "INSERT INTO publishers (id, node, position, seen_ns) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                         "node = excluded.node, position = excluded.position, seen_ns = excluded.seen_ns", "ttii",
                         publisher, node, position, s->tx_now);
}

static gboolean check(const char *publisher, const char *node, const BhStoreMessage *messages, guint n, GError **error) {
        const char *wrong = NULL;

        if (is_empty(publisher) || strlen(publisher) > 64 || !g_utf8_validate(publisher, -1, NULL))
                wrong = "the publisher's id is not a text of 1 to 64 bytes";
        else if (is_empty(node))
                wrong = "it names no node";
        for (guint i = 0; !wrong && i < n; i++)
                if (messages[i].seq > G_MAXINT64)
                        wrong = "a sequence number is beyond 2^63";
        if (wrong)
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "cannot store a batch of messages: %s", wrong);
        return !wrong;
}

gboolean bh_store_ingest(BhStore *s, const char *publisher, const char *node, BhStoreMessage *messages, guint n, GError **error) {
        Counts counts = { 0 };

        if (!check(publisher, node, messages, n, error) || !bh_store_begin(s, error))
                return FALSE;
        gboolean ok = put_all(s, publisher, bh_store_clean(s, node, BH_STORE_KEY_MAX), messages, n, &counts, error);
        if (!bh_store_end(s, ok, error))
                return FALSE;
        g_mutex_lock(&s->state);
        for (guint i = 0; i < G_N_ELEMENTS(counts.ingested); i++)
                s->stats.ingested[i] += counts.ingested[i];
        s->stats.duplicates += counts.duplicates;
        s->stats.refused += counts.refused;
        s->stats.halves_folded += counts.folded;
        g_mutex_unlock(&s->state);
        return TRUE;
}

gboolean bh_store_position(BhStore *s, const char *publisher, guint64 *seq, GError **error) {
        BhDb *db = bh_store_read(s, error);
        gint64 position;

        if (!db)
                return FALSE;
        gboolean ok = bh_db_get_int(db, &position, NULL, error, "SELECT position FROM publishers WHERE id = ?", "t", publisher);
        bh_store_read_done(s, db);
        if (ok)
                *seq = (guint64) position;
        return ok;
}
