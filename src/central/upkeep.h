/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store needs from time to time, on a thread of its own: backups (daily, and at a clean stop when the last one is older than an hour),
 * the certificate (tls_live.h), retention (hourly, by the settings retention.days and retention.mib). Failures are logged once each time and shown in the status.
 */
#pragma once
#include "central.h"

BhUpkeep *bh_upkeep_start(BhCentral *c);
/* Ends the thread; makes the last backup when `backup`. */
void bh_upkeep_free(BhUpkeep *u, gboolean backup);
/* "upkeep": {…} */
void bh_upkeep_append_json(BhUpkeep *u, GString *out);
