/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_rules.h"

#include <string.h>

#include "store/store_private.h"

void bh_store_rule_file_free(BhStoreRuleFile *f) {
        if (!f)
                return;
        g_free(f->name);
        g_free(f->text);
        g_free(f->changed_by);
        g_free(f);
}

gboolean bh_store_rule_name_valid(const char *name) {
        gsize len = strlen(name);

        return len <= 100 && name[0] != '.' && (g_str_has_suffix(name, ".yaml") || g_str_has_suffix(name, ".yml")) &&
               strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static GPtrArray *read_files(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_rule_file_free);
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "name = ?", name);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db, "SELECT name, text, changed_by, changed_ns FROM rule_files", " ORDER BY name", NULL, error);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreRuleFile *f = g_new0(BhStoreRuleFile, 1);

                f->name = bh_db_text(st, 0);
                f->text = bh_db_text(st, 1);
                f->changed_by = bh_db_text(st, 2);
                f->changed_ns = bh_db_int(st, 3);
                g_ptr_array_add(rows, f);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

GPtrArray *bh_store_rule_files(BhStore *s, GError **error) {
        return read_files(s, NULL, error);
}

BhStoreRuleFile *bh_store_rule_file(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = read_files(s, name, error);

        if (rows && !rows->len)
                bh_store_not_found(error, "rule file", name);
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

static gboolean set(BhStore *s, const char *name, const char *text, const char *by, GError **error) {
        gint64 others, bytes;

        if (!text) {
                if (!bh_db_run(s->writer, error, "DELETE FROM rule_files WHERE name = ?", "t", name))
                        return FALSE;
                if (bh_db_changes(s->writer) == 0) {
                        bh_store_not_found(error, "rule file", name);
                        return FALSE;
                }
                return TRUE;
        }
        if (!bh_db_get_int(s->writer, &others, NULL, error, "SELECT count(*) FROM rule_files WHERE name <> ?", "t", name))
                return FALSE;
        if (others >= BH_STORE_RULES_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there are %d rule files, which is as many as there may be: put several rules in a file", BH_STORE_RULES_MAX);
                return FALSE;
        }
        if (!bh_db_get_int(s->writer, &bytes, NULL, error, "SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM rule_files WHERE name <> ?", "t", name))
                return FALSE;
        if (bytes + (gint64) strlen(text) > BH_STORE_RULES_BYTES) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "all rule files together would have more than %d bytes, which is as much as the nodes take: remove some", BH_STORE_RULES_BYTES);
                return FALSE;
        }
        return bh_db_run(s->writer, error,
                         "INSERT INTO rule_files (name, text, changed_by, changed_ns) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                         "text = excluded.text, changed_by = excluded.changed_by, changed_ns = excluded.changed_ns", "ttti", name, text, by, s->tx_now);
}

gboolean bh_store_rule_file_set(BhStore *s, const char *name, const char *text, const char *by, const BhStoreAuditEntry *audit, GError **error) {
        if (!bh_store_rule_name_valid(name) || (text && (strlen(text) > BH_STORE_RULE_FILE_MAX || !g_utf8_validate(text, -1, NULL)))) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID,
                            "a rule file has a name of letters, digits, '.', '_' and '-' that ends in .yaml, and UTF-8 text of at most %d bytes", BH_STORE_RULE_FILE_MAX);
                return FALSE;
        }
        if (!bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, set(s, name, text, by, error) && bh_store_put_audit(s, audit, error), error);
}
