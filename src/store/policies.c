/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_policies.h"

#include <string.h>

#include "store/store_private.h"

void bh_store_policy_free(BhStorePolicy *p) {
        if (!p)
                return;
        g_free(p->name);
        g_free(p->text);
        g_free(p->changed_by);
        g_free(p);
}

static GPtrArray *read_policies(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_policy_free);
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "name = ?", name);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db, "SELECT name, text, changed_by, changed_ns FROM policies", " ORDER BY name", NULL, error);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStorePolicy *p = g_new0(BhStorePolicy, 1);

                p->name = bh_db_text(st, 0);
                p->text = bh_db_text(st, 1);
                p->changed_by = bh_db_text(st, 2);
                p->changed_ns = bh_db_int(st, 3);
                g_ptr_array_add(rows, p);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

GPtrArray *bh_store_policies(BhStore *s, GError **error) {
        return read_policies(s, NULL, error);
}

BhStorePolicy *bh_store_policy(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = read_policies(s, name, error);

        if (rows && !rows->len)
                bh_store_not_found(error, "policy", name);
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

static gboolean set(BhStore *s, const char *name, const char *text, const char *by, GError **error) {
        gint64 others;

        if (!text) {
                if (!bh_db_run(s->writer, error, "DELETE FROM policies WHERE name = ?", "t", name))
                        return FALSE;
                if (bh_db_changes(s->writer) == 0)
                        return bh_store_not_found(error, "policy", name);
                return TRUE;
        }
        if (!bh_db_get_int(s->writer, &others, NULL, error, "SELECT count(*) FROM policies WHERE name <> ?", "t", name))
                return FALSE;
        if (others >= BH_STORE_POLICIES_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there are %d policies, which is as many as there may be: remove some, or let one name several rules", BH_STORE_POLICIES_MAX);
                return FALSE;
        }
        return bh_db_run(s->writer, error,
                         "INSERT INTO policies (name, text, changed_by, changed_ns) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                         "text = excluded.text, changed_by = excluded.changed_by, changed_ns = excluded.changed_ns", "ttti", name, text, by, s->tx_now);
}

gboolean bh_store_policy_set(BhStore *s, const char *name, const char *text, const char *by, const BhStoreAuditEntry *audit, GError **error) {
        if (strlen(name) > BH_STORE_KEY_MAX || (text && (strlen(text) > BH_STORE_POLICY_MAX || !g_utf8_validate(text, -1, NULL)))) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "a policy is UTF-8 text of at most %d bytes", BH_STORE_POLICY_MAX);
                return FALSE;
        }
        return bh_store_begin(s, error) && bh_store_end(s, set(s, name, text, by, error) && bh_store_log(s, BH_STORE_CHANGE_POLICY, name, NULL, error) && bh_store_put_audit(s, audit, error), error);
}
