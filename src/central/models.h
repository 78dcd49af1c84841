/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The analyzer: behaviour models of all workloads (src/model), fed with what nodes observe and with who talks to whom in the map, and the findings that come of it.
 *
 * One thread ("bh-models") judges. Observations are queued by the thread that stored them, at most BH_MODELS_QUEUE; what comes on top is read again from the store later, so that nothing
 * is lost but time. Once a second it counts running time, looks which families have converged, decides what waited for other replicas, and asks the map for connections that
 * began. Models that changed are stored each BH_MODELS_SAVE_S and at a stop; with each finding, its model in the same transaction. At a start what was observed since is taken in
 * again: a crash forgets nothing that was learned (up to BH_MODELS_SAVE_S of running time, which only makes convergence later).
 *
 * Never a storm: a workload has BH_MODELS_BURST findings, of which a third is for new ones of priority error or more, and one more each BH_MODELS_PACE_S; what is over is counted and
 * told together once a minute.
 */
#pragma once
#include "central.h"
#include "model/model.h"
#include "store/store_inventory.h"

#define BH_MODELS_QUEUE 65536u
#define BH_MODELS_SAVE_S 30
#define BH_MODELS_BURST 30
#define BH_MODELS_PACE_S 20
#define BH_MODELS_MAX 10000u /* workloads; the others' observations are counted only */

/* With what the store has. NULL with an error. Its thread begins. */
BhModels *bh_models_new(BhCentral *c, GError **error);
/* Ends its thread and stores what is to be stored. NULL is allowed. */
void bh_models_stop(BhModels *m);
void bh_models_free(BhModels *m);

/* What was stored of a node. Quick; any thread. */
void bh_models_observe(BhModels *m, const char *node, const BhStoreObservation *o);

/* For readers and people's changes: all models, until bh_models_release(). Hold it briefly: the analyzer waits. It lets readers in after some hundred acts, and while the map is asked. */
void bh_models_acquire(BhModels *m);
void bh_models_release(BhModels *m);
/* While held. NULL: there is none. */
BhModel *bh_models_get(BhModels *m, const char *application, const char *workload);
/* Made if need be; NULL: there are too many. */
BhModel *bh_models_make(BhModels *m, const char *application, const char *workload);
void bh_models_each(BhModels *m, void (*each)(BhModel *model, gpointer data), gpointer data);
/* While held: "application\nworkload" of all of them, unsorted, owned by the array. */
GPtrArray *bh_models_keys(BhModels *m);
/* Stores this model at once, with the audit row. While held. */
gboolean bh_models_keep(BhModels *m, BhModel *model, const BhStoreAuditEntry *audit, GError **error);

typedef struct {
        guint64 models, observations, anomalies, refused, drifts, suppressed, queued, reread, over;
        gsize bytes;
} BhModelsStats;
void bh_models_stats(BhModels *m, BhModelsStats *out);
