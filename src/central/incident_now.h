/* SPDX-License-Identifier: Apache-2.0 */
/* What state the things of an incident are in when somebody looks: from the inventory, the ledger of responses and the evidence, never kept. */
#pragma once
#include "incident_alive.h"
#include "store/store_incidents.h"
#include "store/store_inventory.h"

/*
 * Sentences (incident/story.h), "" where there is nothing to say. `evidence`: also how many of the files that it planted or changed there is evidence of, as far as its latest items tell. What the store does not
 * give is passed over; and what went over its connections (incident_sent.h). `programs`: what nodes say of those that it planted, NULL: they were not asked. Caller frees.
 *
 * Reads the rows of at most 32 containers; of those that go on and are shown (BH_STORY_NOW_SHOWN) also what is open of responses, a row for each action where that is more than a page, and each of their nodes once;
 * and with `evidence` a page of it and what incident_sent.h reads. Without, which is for outputs and made at each change, nothing is read behind the last that is shown.
 */
char *bh_incident_now(BhStore *s, const BhStoreIncident *i, gboolean evidence, const BhIncidentPrograms *programs);
/* All of it, for one who looks at this incident alone; its nodes are asked. Caller frees. */
char *bh_incident_now_whole(BhCentral *c, const BhStoreIncident *i);
