/* SPDX-License-Identifier: Apache-2.0 */
/* What state the things of an incident are in when somebody looks: from the inventory, the ledger of responses and the evidence, never kept. */
#pragma once
#include "store/store_incidents.h"
#include "store/store_inventory.h"

/*
 * Sentences (incident/story.h), "" where there is nothing to say. `evidence`: also how many of the files that it planted or changed there is evidence of, as far as its latest items tell. What the store does not
 * give is passed over. Reads two rows for each container, at most 32, and a page of evidence. Caller frees.
 */
char *bh_incident_now(BhStore *s, const BhStoreIncident *i, gboolean evidence);
