/* SPDX-License-Identifier: Apache-2.0 */
/* An incident as a page that a person reads beside its evidence: HTML, whole in itself, without scripts; all texts of others are escaped. Pure; any thread. */
#pragma once
#include "store/store_evidence.h"
#include "store/store_incidents.h"

/* `items` of BhStoreEvidence. */
GString *bh_evidence_report_html(const BhStoreIncident *incident, const GPtrArray *items);
