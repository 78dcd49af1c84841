/* SPDX-License-Identifier: Apache-2.0 */
/* What has become of the containers of an incident: which are gone, and who had them ended. Nothing of it is kept beside the inventory. */
#pragma once
#include "incident/story.h"
#include "store/store_inventory.h"

gboolean bh_incident_container_ended(const BhStoreContainer *c);
/*
 * Those of its containers that ended since it began, as the store knows them now: BhStoryEnd, with texts of what is added to `rows` (BhStoreContainer, with a free function). A container that the store does
 * not give is passed over: the rest of the story is worth more. Reads a row for each container, at most 32.
 */
GArray *bh_incident_ends(BhStore *store, const BhIncident *i, GPtrArray *rows);
