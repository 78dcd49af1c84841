/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

static gboolean check(const char *key, const char *value, GError **error) {
        gsize len = strlen(key);
        gboolean good = len >= 1 && len <= 128;

        for (gsize i = 0; good && i < len; i++)
                good = g_ascii_islower(key[i]) || g_ascii_isdigit(key[i]) || strchr("._-", key[i]);
        if (!good) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID,
                            "that is not the name of a setting: write 1 to 128 of a-z, 0-9, '.', '_' and '-'");
                return FALSE;
        }
        if (value && (strlen(value) > BH_STORE_SETTING_MAX || !g_utf8_validate(value, -1, NULL))) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "the value of %s is not a UTF-8 text of at most %d bytes", key, BH_STORE_SETTING_MAX);
                return FALSE;
        }
        return TRUE;
}

static gboolean set(BhStore *s, const char *key, const char *value, GError **error) {
        gint64 others;

        if (!value)
                return bh_db_run(s->writer, error, "DELETE FROM settings WHERE \"key\" = ?", "t", key);
        if (!bh_db_get_int(s->writer, &others, NULL, error, "SELECT count(*) FROM settings WHERE \"key\" <> ?", "t", key))
                return FALSE;
        if (others >= BH_STORE_SETTINGS_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there are %d settings, which is as many as there may be", BH_STORE_SETTINGS_MAX);
                return FALSE;
        }
        return bh_db_run(s->writer, error, "INSERT INTO settings (\"key\", value) VALUES (?, ?) ON CONFLICT (\"key\") DO UPDATE SET value = excluded.value",
                         "tt", key, value);
}

gboolean bh_store_setting_set(BhStore *s, const char *key, const char *value, const BhStoreAuditEntry *audit, GError **error) {
        if (!check(key, value, error) || !bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, set(s, key, value, error) && bh_store_put_audit(s, audit, error), error);
}

char *bh_store_setting_get(BhStore *s, const char *key, GError **error) {
        BhDb *db = bh_store_read(s, error);
        char *value = NULL;

        if (!db)
                return NULL;
        bh_db_get_text(db, &value, error, "SELECT value FROM settings WHERE \"key\" = ?", "t", key);
        bh_store_read_done(s, db);
        return value;
}

GHashTable *bh_store_settings(BhStore *s, GError **error) {
        g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT \"key\", value FROM settings", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                g_hash_table_insert(all, bh_db_text(st, 0), bh_db_text(st, 1));
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&all) : NULL;
}
