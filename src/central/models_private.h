/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the analyzer (models.c, models_tell.c, models_watch.c). What is not said to be otherwise belongs to its thread, under `lock`. */
#pragma once
#include "models.h"

/* A model and what is told of it. */
typedef struct {
        BhModel *model;
        double tokens;
        gint64 tokens_us;
        guint64 suppressed;   /* findings not yet told together */
        gint64 suppressed_us; /* when that is due */
        gint64 drift_us;      /* when there was drift last */
        gboolean urgent;      /* a finding of it waits to be stored */
} BhKept;

/* A container. */
typedef struct {
        char *node, *id, *name, *image, *application, *workload, *digest;
        gint64 started_ns;
        gboolean running;
        guint32 replica; /* as items remember it */
        gint64 counted_us; /* its time is counted up to here; 0: not yet */
} BhModelBox;

struct BhModels {
        BhCentral *central;
        GMutex lock;
        gint wanted; /* atomic: readers that wait for it */
        GHashTable *models; /* "application\nworkload" → BhKept */
        BhModelScale scale;
        guint32 seen; /* families that any workload has shown */
        GHashTable *boxes; /* "node/id" → BhModelBox */
        GHashTable *nodes; /* those that are up, or were not long ago: name → which (models_watch.c) */
        GHashTable *edges; /* ids of the map's edges → connections (guint64) */
        guint64 after;     /* place in the change log */
        guint64 generation; /* of the map when it was asked last */
        gint64 peers_us, nodes_us, settings_us, save_us, age_us;
        GPtrArray *findings; /* BhStoreFinding, owned, waiting to be stored */
        gboolean changed;   /* some model is urgent without a finding */
        gboolean replaying; /* what is known to be told is not told again */
        BhModelsStats stats;

        GMutex queue_lock; /* of what follows */
        GCond moved;
        GQueue queue;
        gboolean stopping;
        gint64 reread_ns; /* the queue was full then; 0: never */
        GThread *thread;
};

BhKept *bh_models_kept(BhModels *m, const char *application, const char *workload, gboolean make);
/* An act of a container, judged and told. */
BhVerdictKind bh_models_act(BhModels *m, BhKept *k, const char *digest, BhAct *a, const BhModelBox *box, const char *node, const char *container);

/* models_tell.c */
void bh_models_tell(BhModels *m, BhKept *k, const BhVerdict *v, const BhAct *a, const BhModelBox *box, const char *node, const char *container);
/* What waited: held items, drift, what was suppressed. */
void bh_models_due(BhModels *m);
void bh_models_finding_free(gpointer finding);

/* models_watch.c */
gboolean bh_models_watch_begin(BhModels *m, GError **error);
/* How many replicas run, as far as the store knows: before anything is judged. */
void bh_models_watch_count(BhModels *m);
BhModelBox *bh_models_box(BhModels *m, const char *node, const char *container);
void bh_models_watch(BhModels *m); /* with each tick */
void bh_models_box_free(gpointer box);
