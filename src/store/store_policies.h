/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies as they are kept: texts by name. The store takes any text; that it is a policy of that name is the caller's to see to, before (src/policy). Each change is in the change log.
 *
 * Bounds: BH_STORE_POLICIES_MAX of them, BH_STORE_POLICY_MAX bytes each, BH_STORE_POLICIES_BYTES together. Threads and errors as in store.h.
 */
#pragma once
#include "store/store.h"
#include "store/store_access.h"
#include "store/store_texts.h"

#define BH_STORE_POLICIES_MAX 200
#define BH_STORE_POLICIES_BYTES (4 * 1024 * 1024) /* all together: they go to the nodes in one request of the bus */
#define BH_STORE_POLICY_MAX (64 * 1024)

/* All of them, by name, of BhStoreText. */
GPtrArray *bh_store_policies(BhStore *s, GError **error);
BhStoreText *bh_store_policy(BhStore *s, const char *name, GError **error); /* NOT_FOUND */
/* Makes it, changes it, or (text NULL) removes it, with its audit row. CONFLICT: there are too many, or too much text. */
gboolean bh_store_policy_set(BhStore *s, const char *name, const char *text, const char *by, const BhStoreAuditEntry *audit, GError **error);
