/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is learned from an incident that was none: items of models are accepted, and for rules exceptions are proposed, which a person reads and puts into a file of rules. For these at most
 * BH_INCIDENT_TAUGHT lines are looked at, for models BH_INCIDENT_TAUGHT_FINDINGS findings, the latest.
 * Any thread.
 */
#pragma once
#include "central.h"
#include "model/model.h"
#include "store/store_incidents.h"
#include "store/store_inventory.h"

#define BH_INCIDENT_TAUGHT 128u
#define BH_INCIDENT_TAUGHT_FINDINGS 4096u

/* What became of the item that a finding of a model names. */
typedef enum {
        BH_TAUGHT_NONE,      /* it names none */
        BH_TAUGHT_ACCEPTED,
        BH_TAUGHT_KNOWN,     /* accepted before */
        BH_TAUGHT_FORBIDDEN, /* by name, by a person: that stays */
        BH_TAUGHT_GONE,      /* the model, its version or the item is not there any more, or there was no room for the item */
        BH_TAUGHT_FAILED,    /* accepted until the next start only: it cannot be stored */
        BH_TAUGHT_KINDS
} BhTaught;
const char *bh_taught_name(BhTaught t);

typedef struct {
        guint n[BH_TAUGHT_KINDS];
        gboolean more; /* findings that were not looked at */
} BhIncidentTaught;

/* Appends a rule file (YAML) that `bulkhead rules check` accepts behind the default rules. Returns how many exceptions it has. */
guint bh_incident_exceptions(BhStore *s, GString *out, const BhStoreIncident *i);
/* The item of one finding, in its workload's model (NULL: there is none). *item is set unless NONE. */
BhTaught bh_incident_teach_model(BhModel *m, const BhStoreFinding *f, guint64 *item);
/* The items of all of its findings of models, each with an audit entry of the call; what could not be taught has one, too. */
void bh_incident_teach(BhCall *call, guint64 incident, BhIncidentTaught *out);
