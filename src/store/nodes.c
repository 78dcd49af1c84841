/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_flows.h"
#include "store/store_private.h"

#define LOSS_KINDS_PER_NODE 64

void bh_store_node_free(BhStoreNode *n) {
        if (!n)
                return;
        g_free(n->name);
        g_free(n->version);
        g_free(n->boot_id);
        g_free(n->status);
        g_free(n);
}

void bh_store_loss_free(BhStoreLossRow *l) {
        if (!l)
                return;
        g_free(l->node);
        g_free(l->topic);
        g_free(l->reason);
        g_free(l);
}

gboolean bh_store_touch_node(BhStore *s, const char *node, const char *version, const char *boot_id, int up, GError **error) {
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT version, boot_id, up FROM nodes WHERE name = ?", "t", node);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        gboolean news = step == BH_DB_DONE;

        if (step == BH_DB_ROW)
                news = (version && strcmp(version, bh_db_peek(st, 0)) != 0) || (boot_id && strcmp(boot_id, bh_db_peek(st, 1)) != 0) ||
                       (up >= 0 && up != bh_db_int(st, 2));
        bh_db_done(st);
        if (step == BH_DB_FAILED)
                return FALSE;
        return bh_db_run(s->writer, error,
                         "INSERT INTO nodes (name, version, boot_id, up, first_seen_ns, last_seen_ns) VALUES (?, ?, ?, ?, ?, ?) "
                         "ON CONFLICT (name) DO UPDATE SET last_seen_ns = excluded.last_seen_ns, "
                         "version = CASE WHEN ? THEN excluded.version ELSE nodes.version END, "
                         "boot_id = CASE WHEN ? THEN excluded.boot_id ELSE nodes.boot_id END, "
                         "up = CASE WHEN ? THEN excluded.up ELSE nodes.up END", "tttoiiooo",
                         node, version, boot_id, up > 0, s->tx_now, s->tx_now, version != NULL, boot_id != NULL, up >= 0) &&
               (!news || bh_store_log(s, BH_STORE_CHANGE_NODE, node, NULL, error));
}

gboolean bh_store_node_set_up(BhStore *s, const char *node, gboolean up, const char *version, GError **error) {
        if (!bh_store_begin(s, error))
                return FALSE;
        const char *name = bh_store_clean(s, node, BH_STORE_KEY_MAX);
        gboolean ok = bh_store_touch_node(s, name, version ? bh_store_clean(s, version, BH_STORE_KEY_MAX) : NULL, NULL, up != FALSE, error);
        return bh_store_end(s, ok, error);
}

gboolean bh_store_nodes_set_down(BhStore *s, GError **error) {
        g_autoptr(GPtrArray) up = g_ptr_array_new_with_free_func(g_free);
        BhDb *db = bh_store_begin(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT name FROM nodes WHERE up <> 0", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                g_ptr_array_add(up, bh_db_text(st, 0));
        bh_db_done(st);
        gboolean ok = step == BH_DB_DONE;
        for (guint i = 0; ok && i < up->len; i++)
                ok = bh_store_log(s, BH_STORE_CHANGE_NODE, g_ptr_array_index(up, i), NULL, error);
        ok = ok && (!up->len || bh_db_run(db, error, "UPDATE nodes SET up = 0", ""));
        return bh_store_end(s, ok, error);
}

/* ---- statuses: in memory until there is a transaction anyway */

gboolean bh_store_node_set_status(BhStore *s, const char *node, const char *json, gint64 time_ns, GError **error) {
        g_autofree char *clean = NULL;
        gsize len = json ? strlen(json) : 0;
        guint64 cut = 0;
        gint64 now = s->now();
        gboolean due, refused = FALSE;

        clean = bh_text_clean(node, BH_STORE_KEY_MAX, &cut);
        node = clean ? clean : node;
        g_mutex_lock(&s->state);
        BhStoreStatus *st = g_hash_table_lookup(s->statuses, node);
        if (!len || len > BH_STORE_JSON_MAX || !g_utf8_validate_len(json, len, NULL)) {
                s->stats.cut_texts++;
                refused = TRUE;
        } else if (!st && g_hash_table_size(s->statuses) >= BH_STORE_NODES_MAX) {
                s->stats.refused++;
                refused = TRUE;
        } else {
                if (!st) {
                        st = g_new0(BhStoreStatus, 1);
                        g_hash_table_insert(s->statuses, g_strdup(node), st);
                }
                g_free(st->json);
                st->json = g_strndup(json, len);
                st->time_ns = time_ns;
                st->dirty = TRUE;
        }
        due = !refused && ABS(now - s->statuses_written_ns) >= BH_STORE_STATUS_WRITE_NS;
        g_mutex_unlock(&s->state);

        return !due || (bh_store_begin(s, error) && bh_store_end(s, TRUE, error));
}

typedef struct {
        char *node, *json;
        gint64 time_ns;
} Pending;

static void pending_clear(gpointer p) {
        g_free(((Pending *) p)->node);
        g_free(((Pending *) p)->json);
}

gboolean bh_store_write_statuses(BhStore *s, GError **error) {
        g_autoptr(GArray) pending = g_array_new(FALSE, FALSE, sizeof(Pending));
        GHashTableIter it;
        const char *node;
        BhStoreStatus *st;

        g_array_set_clear_func(pending, pending_clear);
        g_mutex_lock(&s->state);
        g_hash_table_iter_init(&it, s->statuses);
        while (g_hash_table_iter_next(&it, (gpointer *) &node, (gpointer *) &st))
                if (st->dirty) {
                        Pending p = { g_strdup(node), g_strdup(st->json), st->time_ns };

                        st->dirty = FALSE;
                        g_array_append_val(pending, p);
                }
        g_mutex_unlock(&s->state);
        for (guint i = 0; i < pending->len; i++) {
                const Pending *p = &g_array_index(pending, Pending, i);

                if (!bh_store_touch_node(s, p->node, NULL, NULL, -1, error) ||
                    !bh_db_run(s->writer, error, "UPDATE nodes SET status = ?, status_ns = ? WHERE name = ?", "tit", p->json, p->time_ns, p->node))
                        return FALSE;
        }
        return TRUE;
}

/* What is in memory is newer than what the row says. */
static void overlay_status(BhStore *s, BhStoreNode *n) {
        g_mutex_lock(&s->state);
        const BhStoreStatus *st = g_hash_table_lookup(s->statuses, n->name);
        if (st) {
                g_free(n->status);
                n->status = g_strdup(st->json);
                n->status_ns = st->time_ns;
        }
        g_mutex_unlock(&s->state);
}

/* ---- queries */

static const char nodes_sql[] =
        "SELECT name, version, boot_id, up, first_seen_ns, last_seen_ns, status, status_ns,"
        " (SELECT count(*) FROM containers WHERE node = nodes.name AND state = 'running'),"
        " (SELECT count(*) FROM containers WHERE node = nodes.name) FROM nodes";

static GPtrArray *read_nodes(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_node_free);
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "name = ?", name);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db, nodes_sql, " ORDER BY name", NULL, error);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreNode *n = g_new0(BhStoreNode, 1);

                n->name = bh_db_text(st, 0);
                n->version = bh_db_text(st, 1);
                n->boot_id = bh_db_text(st, 2);
                n->up = bh_db_int(st, 3) != 0;
                n->first_seen_ns = bh_db_int(st, 4);
                n->last_seen_ns = bh_db_int(st, 5);
                n->status = bh_db_text(st, 6);
                n->status_ns = bh_db_int(st, 7);
                n->running = (guint64) bh_db_int(st, 8);
                n->containers = (guint64) bh_db_int(st, 9);
                overlay_status(s, n);
                g_ptr_array_add(rows, n);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

GPtrArray *bh_store_nodes(BhStore *s, GError **error) {
        return read_nodes(s, NULL, error);
}

BhStoreNode *bh_store_node(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = read_nodes(s, name, error);

        if (rows && !rows->len)
                bh_store_not_found(error, "node", name);
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

/* ---- losses */

gboolean bh_store_put_loss(BhStore *s, const char *node, const BhStoreLoss *l, GError **error) {
        const char *topic = bh_store_clean(s, l->topic, 64), *reason = bh_store_clean(s, l->reason, 64);
        gint64 known, count = 0, bytes = 0;
        gboolean there;
        BhDb *db = s->writer;

        if (!bh_db_get_int(db, &count, &there, error, "SELECT count FROM losses WHERE node = ? AND topic = ? AND reason = ?", "ttt", node, topic, reason) ||
            !bh_db_get_int(db, &known, NULL, error, "SELECT count(*) FROM losses WHERE node = ?", "t", node))
                return FALSE;
        if (!there && known >= LOSS_KINDS_PER_NODE - 1)
                topic = reason = "other";
        if (!bh_db_get_int(db, &count, NULL, error, "SELECT count FROM losses WHERE node = ? AND topic = ? AND reason = ?", "ttt", node, topic, reason) ||
            !bh_db_get_int(db, &bytes, NULL, error, "SELECT bytes FROM losses WHERE node = ? AND topic = ? AND reason = ?", "ttt", node, topic, reason))
                return FALSE;
        count = bh_store_add(count, l->count);
        bytes = bh_store_add(bytes, l->bytes);
        return bh_db_run(db, error,
                         "INSERT INTO losses (node, topic, reason, count, bytes, times, first_ns, last_ns) VALUES (?, ?, ?, ?, ?, 1, ?, ?) "
                         "ON CONFLICT (node, topic, reason) DO UPDATE SET count = excluded.count, bytes = excluded.bytes, times = losses.times + 1, "
                         "first_ns = CASE WHEN excluded.first_ns < losses.first_ns THEN excluded.first_ns ELSE losses.first_ns END, "
                         "last_ns = CASE WHEN excluded.last_ns > losses.last_ns THEN excluded.last_ns ELSE losses.last_ns END", "tttiiii",
                         node, topic, reason, count, bytes, l->first_ns, l->last_ns) &&
               bh_store_log(s, BH_STORE_CHANGE_NODE, node, NULL, error);
}

GPtrArray *bh_store_losses(BhStore *s, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_loss_free);
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT node, topic, reason, count, bytes, times, first_ns, last_ns FROM losses ORDER BY last_ns DESC", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreLossRow *l = g_new0(BhStoreLossRow, 1);

                l->node = bh_db_text(st, 0);
                l->topic = bh_db_text(st, 1);
                l->reason = bh_db_text(st, 2);
                l->count = (guint64) bh_db_int(st, 3);
                l->bytes = (guint64) bh_db_int(st, 4);
                l->times = (guint64) bh_db_int(st, 5);
                l->first_ns = bh_db_int(st, 6);
                l->last_ns = bh_db_int(st, 7);
                g_ptr_array_add(rows, l);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

/* ---- their addresses */

static void node_address_clear(gpointer p) {
        g_free(((BhStoreNodeAddress *) p)->node);
}

GArray *bh_store_node_addresses(BhStore *s, GError **error) {
        g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(BhStoreNodeAddress));
        BhDbStep step = BH_DB_FAILED;
        BhDb *db = bh_store_read(s, error);

        g_array_set_clear_func(out, node_address_clear);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT node, ip FROM node_addresses ORDER BY id LIMIT ?", "i", (gint64) BH_STORE_NODE_ADDRESSES_MAX);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                gsize len;
                const void *ip = bh_db_peek_blob(st, 1, &len);
                BhStoreNodeAddress a = { bh_db_text(st, 0), bh_half_address(ip, len) };

                g_array_append_val(out, a);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&out) : NULL;
}

gboolean bh_store_add_node_addresses(BhStore *s, const GArray *addresses, GError **error) {
        gboolean ok = TRUE;
        gint64 n;

        if (!addresses->len)
                return TRUE;
        if (!bh_store_begin(s, error))
                return FALSE;
        ok = bh_db_get_int(s->writer, &n, NULL, error, "SELECT count(*) FROM node_addresses", "");
        for (guint i = 0; ok && i < addresses->len && n + i < BH_STORE_NODE_ADDRESSES_MAX; i++) {
                const BhStoreNodeAddress *a = &g_array_index(addresses, BhStoreNodeAddress, i);

                ok = bh_db_run(s->writer, error, "INSERT INTO node_addresses (node, ip) VALUES (?, ?) ON CONFLICT (node, ip) DO NOTHING", "tb", bh_store_clean(s, a->node, BH_STORE_KEY_MAX),
                               a->address.bytes, (gsize) a->address.len);
        }
        return bh_store_end(s, ok, error);
}
