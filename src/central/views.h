/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept, as JSON: the same in lists, single answers and the stream. A NULL key writes an element of a list. */
#pragma once
#include "store/store_access.h"
#include "store/store_inventory.h"

void bh_view_container(GString *out, const char *key, const BhStoreContainer *c);
void bh_view_resource(GString *out, const char *key, const BhStoreResource *r);
void bh_view_workload(GString *out, const char *key, const BhStoreWorkload *w);
void bh_view_application(GString *out, const char *key, const BhStoreApplication *a);
void bh_view_endpoint(GString *out, const char *key, const BhStoreEndpoint *e);
void bh_view_observation(GString *out, const char *key, const BhStoreObservation *o);
void bh_view_finding(GString *out, const char *key, const BhStoreFinding *f);
/* With description, advice, container, lineage and event. */
void bh_view_finding_whole(GString *out, const char *key, const BhStoreFinding *f);
void bh_view_node(GString *out, const char *key, const BhStoreNode *n, gboolean with_status);
void bh_view_loss(GString *out, const char *key, const BhStoreLossRow *l);
void bh_view_user(GString *out, const char *key, const BhStoreUser *u);
void bh_view_token(GString *out, const char *key, const BhStoreToken *t);
void bh_view_audit(GString *out, const char *key, const BhStoreAuditRow *r);
