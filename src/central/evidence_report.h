/* SPDX-License-Identifier: Apache-2.0 */
/* An incident as a page that a person reads beside its evidence: HTML, whole in itself, without scripts; all texts of others are escaped. Pure; any thread. */
#pragma once
#include "store/store_evidence.h"
#include "store/store_incidents.h"

/* `items` of BhStoreEvidence. `now`: what state things are in at `now_ns` (incident_now.h), "" for nothing to say. */
GString *bh_evidence_report_html(const BhStoreIncident *incident, const char *now, gint64 now_ns, const GPtrArray *items);
