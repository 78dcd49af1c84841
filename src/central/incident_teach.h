/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is learned from an incident that was none: items of models are accepted, and for rules exceptions are proposed, which a person reads and puts into a file of rules. At most BH_INCIDENT_TAUGHT lines are looked at.
 * Any thread.
 */
#pragma once
#include "central.h"
#include "store/store_incidents.h"

#define BH_INCIDENT_TAUGHT 128u

/* Appends a rule file (YAML) that `bulkhead rules check` accepts behind the default rules. Returns how many exceptions it has. */
guint bh_incident_exceptions(BhStore *s, GString *out, const BhStoreIncident *i);
/* Accepts the items that its findings of models name, each with an audit entry of the call. Returns how many; what cannot be kept is logged. */
guint bh_incident_teach(BhCall *call, const BhStoreIncident *i);
