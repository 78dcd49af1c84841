/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where alerts are sent. What a configuration means is src/notify's (notify/output.h); it is a text here, which may hold secrets.
 *
 * Threads, errors, ownership: store.h.
 */
#pragma once
#include "store/store.h"
#include "store/store_access.h"

#define BH_STORE_OUTPUTS_MAX 16

typedef struct {
        char *name, *config;
        gint64 created_ns; /* with the name, names this very output: one that is made anew under the name is another */
        gint64 changed_ns;
} BhStoreOutput;

void bh_store_output_free(BhStoreOutput *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreOutput, bh_store_output_free)

/* GPtrArray of BhStoreOutput by name. */
GPtrArray *bh_store_outputs(BhStore *s, GError **error);
BhStoreOutput *bh_store_output(BhStore *s, const char *name, GError **error); /* NOT_FOUND */
/*
 * Makes or replaces it. `was_ns`: changed_ns of the one that is replaced, 0 = there is none: CONFLICT when it is not so any more, or when there
 * would be more than BH_STORE_OUTPUTS_MAX. INVALID.
 */
gboolean bh_store_output_set(BhStore *s, const char *name, const char *config, gint64 was_ns, gboolean *created, const BhStoreAuditEntry *audit, GError **error);
gboolean bh_store_output_remove(BhStore *s, const char *name, const BhStoreAuditEntry *audit, GError **error); /* NOT_FOUND */
