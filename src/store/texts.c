/* SPDX-License-Identifier: Apache-2.0 */
#include "store/texts.h"

#include <string.h>

#include "store/store_private.h"

void bh_store_text_free(BhStoreText *t) {
        if (!t)
                return;
        g_free(t->name);
        g_free(t->text);
        g_free(t->changed_by);
        g_free(t);
}

GPtrArray *bh_texts_read(BhStore *s, const BhTextTable *t, const char *name, GError **error) {
        g_autofree char *select = g_strdup_printf("SELECT name, text, changed_by, changed_ns FROM %s", t->table);
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_text_free);
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "name = ?", name);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db, select, " ORDER BY name", NULL, error);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreText *x = g_new0(BhStoreText, 1);

                x->name = bh_db_text(st, 0);
                x->text = bh_db_text(st, 1);
                x->changed_by = bh_db_text(st, 2);
                x->changed_ns = bh_db_int(st, 3);
                g_ptr_array_add(rows, x);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

BhStoreText *bh_texts_get(BhStore *s, const BhTextTable *t, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = bh_texts_read(s, t, name, error);

        if (rows && !rows->len)
                bh_store_not_found(error, t->what, name);
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

static gboolean remove_one(BhStore *s, const BhTextTable *t, const char *name, GError **error) {
        g_autofree char *sql = g_strdup_printf("DELETE FROM %s WHERE name = ?", t->table);

        return bh_db_run(s->writer, error, sql, "t", name) && (bh_db_changes(s->writer) || bh_store_not_found(error, t->what, name));
}

static gboolean has_room(BhStore *s, const BhTextTable *t, const char *name, const char *text, GError **error) {
        g_autofree char *number = g_strdup_printf("SELECT count(*) FROM %s WHERE name <> ?", t->table);
        g_autofree char *size = g_strdup_printf("SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM %s WHERE name <> ?", t->table);
        gint64 others, bytes;

        if (!bh_db_get_int(s->writer, &others, NULL, error, number, "t", name) || !bh_db_get_int(s->writer, &bytes, NULL, error, size, "t", name))
                return FALSE;
        if (others >= t->max) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there are %u %s, which is as many as there may be: %s", t->max, t->whats, t->advice);
                return FALSE;
        }
        if ((gsize) bytes + strlen(text) > t->max_bytes) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "all %s together would have more than %" G_GSIZE_FORMAT " bytes, which is as much as the nodes take: remove some", t->whats, t->max_bytes);
                return FALSE;
        }
        return TRUE;
}

gboolean bh_texts_set(BhStore *s, const BhTextTable *t, const char *name, const char *text, const char *by, GError **error) {
        g_autofree char *sql = g_strdup_printf("INSERT INTO %s (name, text, changed_by, changed_ns) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                                               "text = excluded.text, changed_by = excluded.changed_by, changed_ns = excluded.changed_ns", t->table);

        if (!text)
                return remove_one(s, t, name, error);
        return has_room(s, t, name, text, error) && bh_db_run(s->writer, error, sql, "ttti", name, text, by, s->tx_now);
}
