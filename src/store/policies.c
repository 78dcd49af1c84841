/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_policies.h"

#include <string.h>

#include "store/store_private.h"
#include "store/texts.h"

static const BhTextTable table = { "policies", "policy", "policies", BH_STORE_POLICIES_MAX, BH_STORE_POLICIES_BYTES, "remove some, or let one name several rules" };

GPtrArray *bh_store_policies(BhStore *s, GError **error) {
        return bh_texts_read(s, &table, NULL, error);
}

BhStoreText *bh_store_policy(BhStore *s, const char *name, GError **error) {
        return bh_texts_get(s, &table, name, error);
}

gboolean bh_store_policy_set(BhStore *s, const char *name, const char *text, const char *by, const BhStoreAuditEntry *audit, GError **error) {
        if (strlen(name) > BH_STORE_KEY_MAX || (text && (strlen(text) > BH_STORE_POLICY_MAX || !g_utf8_validate(text, -1, NULL)))) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "a policy is UTF-8 text of at most %d bytes", BH_STORE_POLICY_MAX);
                return FALSE;
        }
        return bh_store_begin(s, error) &&
               bh_store_end(s, bh_texts_set(s, &table, name, text, by, error) && bh_store_log(s, BH_STORE_CHANGE_POLICY, name, NULL, error) && bh_store_put_audit(s, audit, error), error);
}
