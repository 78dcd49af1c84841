/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts by name that people manage and the nodes are told, all of a kind in one request of the bus: what rule files (store_rules.h) and policies (store_policies.h) have in common. Of the store alone.
 */
#pragma once
#include "store/store_access.h"
#include "store/store_texts.h"

typedef struct {
        const char *table;
        const char *what, *whats; /* "rule file", "rule files" */
        guint max;
        gsize max_bytes;          /* all together */
        const char *advice;       /* to who has too many */
} BhTextTable;

/* Of one name, or all by name (NULL): GPtrArray of BhStoreText. */
GPtrArray *bh_texts_read(BhStore *s, const BhTextTable *t, const char *name, GError **error);
BhStoreText *bh_texts_get(BhStore *s, const BhTextTable *t, const char *name, GError **error); /* NOT_FOUND */
/* Within a transaction. `text` NULL removes it. NOT_FOUND, CONFLICT. */
gboolean bh_texts_set(BhStore *s, const BhTextTable *t, const char *name, const char *text, const char *by, GError **error);
