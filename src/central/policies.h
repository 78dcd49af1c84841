/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies (src/policy) at the central: they go to all nodes, which decide about what their rules find (spread.h), and those about anomalies and incidents are decided here.
 *
 * A thread ("bh-policies") follows the change log from the place on that it has stored (setting "policies.position"), so that what was found while the central was away is decided when it is back. What it
 * decides becomes a row of the ledger first, by the actor "policy:NAME", and then an order (responses.h); of a dry run the row is all. Orders are carried out by BH_POLICIES_ORDERS threads, so that a node
 * that is slow holds nobody else up. That a limit is reached is a finding, once until the policy acts again.
 */
#pragma once
#include "central.h"
#include "policy/bounds.h"
#include "store/store_incidents.h"
#include "store/store_inventory.h"
#include "store/store_policies.h"

#define BH_POLICIES_ORDERS 4
#define BH_POLICIES_WAITING 256u /* orders; the bh-responses thread tells their nodes of those beyond */

BhPolicies *bh_policies_new(BhCentral *c);
/* Once there are a store, a bus and responses. */
void bh_policies_start(BhPolicies *p);
/* Before the bus goes, and after responses were stopped, so that nobody waits for a node. NULL is allowed. */
void bh_policies_stop(BhPolicies *p);
void bh_policies_free(BhPolicies *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPolicies, bh_policies_free)

/* The store changed. Quick. */
void bh_policies_wake(BhPolicies *p);
/* A policy changed: read and send them anew. */
void bh_policies_changed(BhPolicies *p);
void bh_policies_node_up(BhPolicies *p, const char *node);
void bh_policies_append_nodes(BhPolicies *p, GString *out);

/* A policy as JSON (api_policies.c). `whole`: with its text. */
void bh_view_policy(BhStore *s, GString *out, const char *key, const BhStoreText *p, gboolean whole);

/* ---- what a policy is asked of, as the store has it. Pure. */

gboolean bh_policies_of_finding(const BhPolicy *p, const BhStoreFinding *f);
gboolean bh_policies_of_incident(const BhPolicy *p, const BhStoreIncident *i);
gboolean bh_policies_in_scope(const BhPolicy *p, const BhStoreContainer *c);
/* Why it is never touched; NULL: it may be. Static. */
const char *bh_policies_protects(const BhStoreContainer *c);
/* How many containers of its workload run; FALSE with *error. Where it is, for bh_policy_limits_take(): both texts are the caller's to free. */
gboolean bh_policies_place(BhStore *s, const BhStoreContainer *c, BhPolicyPlace *at, char **container, char **workload, GError **error);
