/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies (src/policy) on the node: what a rule found becomes a response at once, before the central knows of it and also without one.
 *
 * The central sends all policies (question "policies_set"); they are kept in one file, so that the node decides by them from its start on. Those about anomalies and incidents are the central's to decide and
 * do nothing here.
 *
 * bh_node_policies_match() is the drain thread's: it finds the policies that a match is for, and queues it; BH_NODE_POLICIES_THREADS threads decide (policy/bounds.h; what runs of a workload is what
 * this node has of it) and carry out (respond.h), unless the policy was removed or changed meanwhile. What came of it is told on the topic "response", also that of a dry run; that a limit is reached is
 * said as the sensor's event "policy_limit", once until the policy acts again; a match that had no room to wait is counted (`dropped`). Responses of an earlier run are told again at the start: the
 * central knows them by their ids.
 *
 * Bounds: BH_POLICIES_MAX policies, BH_NODE_POLICIES_WAITING matches that wait, one of a policy and container at a time.
 */
#pragma once
#include "container/table.h"
#include "event/event.h"
#include "policy/bounds.h"
#include "respond.h"

#define BH_NODE_POLICIES_THREADS 4
#define BH_NODE_POLICIES_WAITING 1024u

typedef struct {
        const char *path; /* of the file; copied */
        const char *node; /* as the bus names it; copied */
        BhRespond *respond;
        BhContainerTable *containers;
        /* A report for the central. Takes the body. Any thread. */
        void (*publish)(GBytes *body, gpointer data);
        void (*say)(const char *action, const char *message, const char *key, const char *value, gpointer data);
        gpointer data;
} BhNodePoliciesConfig;

typedef struct BhNodePolicies BhNodePolicies;

/* Never NULL: what is wrong with the file is logged, and it has no policies then. */
BhNodePolicies *bh_node_policies_new(const BhNodePoliciesConfig *config);
/* Tells what goes on from an earlier run, and lets decisions be made. After bh_respond_start(). */
void bh_node_policies_start(BhNodePolicies *p);
/* What waits is carried out, and nothing after it. Before bh_respond_free(). NULL is allowed for both. */
void bh_node_policies_settle(BhNodePolicies *p);
/* When no match comes any more. */
void bh_node_policies_free(BhNodePolicies *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhNodePolicies, bh_node_policies_free)

/* A packed PolicySet. Durable when it returns. FALSE with *error: "policy NAME: …" where one cannot be read, and nothing has changed; else it is in force, and would not outlive the sensor. */
gboolean bh_node_policies_set(BhNodePolicies *p, GBytes *body, GError **error);

/* The drain thread: the rule matched this event; `finding`: the number of the finding that tells it. Quick. */
void bh_node_policies_match(BhNodePolicies *p, const BhRule *rule, const char *finding, const struct bh_event *e);

/* For the status. New reference. */
json_t *bh_node_policies_status(BhNodePolicies *p);
