/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Behaviour models as the analyzer keeps them: bytes by workload, written together with the findings that came of them, so that no anomaly is told twice or forgotten. And what
 * was observed since: after a crash models are made whole from it.
 *
 * Bounds: BH_STORE_MODELS models, BH_STORE_MODEL_MAX bytes each. Threads and errors as in store.h.
 */
#pragma once
#include "store/store_access.h"
#include "store/store_inventory.h"

#define BH_STORE_MODELS 20000
#define BH_STORE_MODEL_MAX (1 << 20)
#define BH_STORE_MODELS_POSITION "models.position" /* a setting of the store's own */

typedef struct {
        const char *application, *workload;
        GBytes *model; /* NULL: it goes */
} BhStoreModel;

/*
 * One transaction: models, findings (of the node that each names), an audit row (may be NULL), and up to what was observed they account for (0: as it was). A model over a bound is
 * refused with an error, and nothing is written.
 */
gboolean bh_store_models_save(BhStore *s, const BhStoreModel *models, guint n, const BhStoreFinding *findings, guint n_findings, gint64 position_ns, const BhStoreAuditEntry *audit,
                              GError **error);

/* Each stored model; `each` may return FALSE to end. FALSE with an error. */
gboolean bh_store_models_load(BhStore *s, gboolean (*each)(const char *application, const char *workload, GBytes *model, gpointer data), gpointer data, GError **error);
/* The position stored last, 0: none. */
gboolean bh_store_models_position(BhStore *s, gint64 *ns, GError **error);

/* Observations that were received at or after that time, in the order of their first coming; borrowed. Counts are in total. */
gboolean bh_store_observations_since(BhStore *s, gint64 received_ns, void (*each)(const BhStoreObservation *o, gpointer data), gpointer data, GError **error);
