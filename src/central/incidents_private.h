/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of BhCorrelator, for incidents.c, incident_orders.c and incident_uses.c alone. All of it is for its thread, but what says that it is under the lock. */
#pragma once
#include "incident_places.h"
#include "incident_uses.h"
#include "incidents.h"

/* What people ask for: on the stack of who asks. */
typedef struct {
        guint64 id, into;       /* into 0: split */
        const char *const *ids;
        const char *who;
        const BhStoreAuditEntry *audit;
        guint64 result;
        GError *error;
        gboolean done;
} BhIncidentOrder;

struct BhCorrelator {
        BhCentral *central;
        BhIncidents *incidents;
        guint64 at; /* in the change log */
        BhIncidentPlaces *places;
        gboolean forgotten; /* they could not be read again */
        BhIncidentUses *uses;
        GThread *thread;
        gint64 aged_us;
        GHashTable *kept;  /* guint64 * → Kept *: of each that was written */
        GHashTable *dirty; /* guint64 * → GINT: of those that are not written as they are, whether they have a line that nobody has seen */

        GMutex lock;
        GCond moved;
        /* under the lock */
        gboolean stopping, woken;
        BhIncidentStats stats;
        guint64 gaps, failed, unread, written, uses_dropped;
        guint uses_watched;
        GQueue orders; /* of BhIncidentOrder * */
};

/* What a batch changed. */
typedef struct {
        GPtrArray *rows; /* BhStoreIncident * : of those that went into others, or had to go */
        GArray *members; /* BhStoreIncidentMember */
        const BhIncidentOrder *order; /* NULL: it is of findings */
} BhIncidentBatch;

void bh_correlator_touch(BhCorrelator *k, guint64 id, gboolean new_line);
BhIncidentBatch bh_correlator_batch_new(void);
void bh_correlator_batch_clear(BhIncidentBatch *b);
/* `told`: somebody knows of it; else it is kept as one that forms. */
void bh_correlator_add_row(BhCorrelator *k, BhIncidentBatch *b, const BhIncident *i, gboolean told);
/* Tries until it is stored. FALSE: all stops; the next start reads the same changes again. */
gboolean bh_correlator_store(BhCorrelator *k, const BhIncidentBatch *b, guint64 position);
/* Rows whose time has come, or all of them. *next: when the next one is due, 0: none waits. FALSE: all stops. */
gboolean bh_correlator_flush(BhCorrelator *k, gboolean all, gint64 *next);
/* A finding of an incident as it was kept; `data` is the BhCorrelator. */
void bh_correlator_restore(const char *finding, guint64 incident, gboolean open, gpointer data);
/* What its row tells that findings do not tell any more; and what the row does not tell yet. */
gboolean bh_correlator_restore_row(BhCorrelator *k, guint64 id, GError **error);
/* Carries out what people asked for (incident_orders.c). FALSE: all stops. */
gboolean bh_correlator_obey(BhCorrelator *k);
