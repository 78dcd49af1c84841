/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

void bh_store_output_free(BhStoreOutput *o) {
        if (!o)
                return;
        g_free(o->name);
        /* it holds secrets */
        if (o->config)
                memset(o->config, 0, strlen(o->config));
        g_free(o->config);
        g_free(o);
}

static BhStoreOutput *take_row(BhDbStmt *st) {
        BhStoreOutput *o = g_new0(BhStoreOutput, 1);

        o->name = bh_db_text(st, 0);
        o->config = bh_db_text(st, 1);
        o->created_ns = bh_db_int(st, 2);
        o->changed_ns = bh_db_int(st, 3);
        return o;
}

GPtrArray *bh_store_outputs(BhStore *s, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_output_free);
        BhDbStep step = BH_DB_FAILED;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT name, config, created_ns, changed_ns FROM outputs ORDER BY name", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                g_ptr_array_add(rows, take_row(st));
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

BhStoreOutput *bh_store_output(BhStore *s, const char *name, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhStoreOutput *o = NULL;

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT name, config, created_ns, changed_ns FROM outputs WHERE name = ?", "t", name);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW)
                o = take_row(st);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                bh_store_not_found(error, "output", name);
        return o;
}

static gboolean set(BhStore *s, const char *name, const char *config, gint64 was_ns, gboolean *created, GError **error) {
        gint64 others, have;
        gboolean found;

        if (!bh_db_get_int(s->writer, &have, &found, error, "SELECT changed_ns FROM outputs WHERE name = ?", "t", name) ||
            !bh_db_get_int(s->writer, &others, NULL, error, "SELECT count(*) FROM outputs WHERE name <> ?", "t", name))
                return FALSE;
        if (have != was_ns) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "the output %s was changed by somebody else at the same time: look at it, and try again", name);
                return FALSE;
        }
        if (others >= BH_STORE_OUTPUTS_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there are %d outputs, which is as many as there may be", BH_STORE_OUTPUTS_MAX);
                return FALSE;
        }
        *created = !found;
        /* never the same number twice, whatever the clock does: `created_ns` names it for those who keep something of it */
        gint64 now = MAX(s->tx_now, have + 1);
        if (!bh_db_get_int(s->writer, &others, NULL, error, "SELECT max(changed_ns) FROM outputs", ""))
                return FALSE;
        now = MAX(now, others + 1);
        return bh_db_run(s->writer, error, "INSERT INTO outputs (name, config, created_ns, changed_ns) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                         "config = excluded.config, changed_ns = excluded.changed_ns", "ttii", name, config, now, now);
}

gboolean bh_store_output_set(BhStore *s, const char *name, const char *config, gint64 was_ns, gboolean *created, const BhStoreAuditEntry *audit, GError **error) {
        if (strlen(name) > BH_STORE_KEY_MAX || strlen(config) > BH_STORE_SETTING_MAX || !g_utf8_validate(name, -1, NULL) || !g_utf8_validate(config, -1, NULL)) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "an output's name or configuration is too long, or no UTF-8 text");
                return FALSE;
        }
        return bh_store_begin(s, error) && bh_store_end(s, set(s, name, config, was_ns, created, error) && bh_store_put_audit(s, audit, error), error);
}

static gboolean drop(BhStore *s, const char *name, GError **error) {
        if (!bh_db_run(s->writer, error, "DELETE FROM outputs WHERE name = ?", "t", name))
                return FALSE;
        return bh_db_changes(s->writer) > 0 || bh_store_not_found(error, "output", name);
}

gboolean bh_store_output_remove(BhStore *s, const char *name, const BhStoreAuditEntry *audit, GError **error) {
        return bh_store_begin(s, error) && bh_store_end(s, drop(s, name, error) && bh_store_put_audit(s, audit, error), error);
}
