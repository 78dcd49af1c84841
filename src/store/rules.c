/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_rules.h"

#include <string.h>

#include "store/store_private.h"
#include "store/texts.h"

static const BhTextTable table = { "rule_files", "rule file", "rule files", BH_STORE_RULES_MAX, BH_STORE_RULES_BYTES, "put several rules in a file" };

gboolean bh_store_rule_name_valid(const char *name) {
        gsize len = strlen(name);

        return len <= 100 && name[0] != '.' && (g_str_has_suffix(name, ".yaml") || g_str_has_suffix(name, ".yml")) &&
               strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

GPtrArray *bh_store_rule_files(BhStore *s, GError **error) {
        return bh_texts_read(s, &table, NULL, error);
}

BhStoreText *bh_store_rule_file(BhStore *s, const char *name, GError **error) {
        return bh_texts_get(s, &table, name, error);
}

gboolean bh_store_rule_file_set(BhStore *s, const char *name, const char *text, const char *by, const BhStoreAuditEntry *audit, GError **error) {
        if (!bh_store_rule_name_valid(name) || (text && (strlen(text) > BH_STORE_RULE_FILE_MAX || !g_utf8_validate(text, -1, NULL)))) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID,
                            "a rule file has a name of letters, digits, '.', '_' and '-' that ends in .yaml, and UTF-8 text of at most %d bytes", BH_STORE_RULE_FILE_MAX);
                return FALSE;
        }
        return bh_store_begin(s, error) && bh_store_end(s, bh_texts_set(s, &table, name, text, by, error) && bh_store_put_audit(s, audit, error), error);
}
