/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule files that people manage through the central: small texts by name, which the nodes are told. The store takes any text; that it holds rules without
 * errors is the caller's to see to, before.
 *
 * Bounds: BH_STORE_RULES_MAX files, BH_STORE_RULE_FILE_MAX bytes each, BH_STORE_RULES_BYTES together. Threads and errors as in store.h.
 */
#pragma once
#include "store/store.h"
#include "store/store_access.h"
#include "store/store_texts.h"

#define BH_STORE_RULES_MAX 100
#define BH_STORE_RULES_BYTES (4 * 1024 * 1024) /* all files together: they go to the nodes in one request of the bus */
#define BH_STORE_RULE_FILE_MAX (512 * 1024) /* as JSON at most twice that, which a body may have */

/* [A-Za-z0-9._-], at most 100, ends in .yaml or .yml, does not begin with a dot. */
gboolean bh_store_rule_name_valid(const char *name);

/* All of them, by name, of BhStoreText. */
GPtrArray *bh_store_rule_files(BhStore *s, GError **error);
/* BH_STORE_ERROR_NOT_FOUND when there is none of that name. */
BhStoreText *bh_store_rule_file(BhStore *s, const char *name, GError **error);
/* Makes it, changes it, or (text NULL) removes it, with its audit row. */
gboolean bh_store_rule_file_set(BhStore *s, const char *name, const char *text, const char *by, const BhStoreAuditEntry *audit, GError **error);
