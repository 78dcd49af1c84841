/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule files that are managed here: checked before they are kept, and sent to every node.
 *
 * The whole set goes to all nodes (spread.h). A node that refuses it (its own rule files and these do not go together) keeps what it had; bh_rules_append_nodes() tells why.
 *
 * The default rules are read at the start, before the sandbox is closed, for the check alone: nodes have their own.
 */
#pragma once
#include "central.h"
#include "rules/ruleset.h"

/* Reads the default rules; a directory that is not there is none. Never NULL. */
BhRules *bh_rules_new(const char *default_dir);
/* Once there are a store and a bus. */
void bh_rules_start(BhRules *r, BhCentral *c);
/* Before the bus goes. */
void bh_rules_stop(BhRules *r);
void bh_rules_free(BhRules *r); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRules, bh_rules_free)

/* A file has changed: send. */
void bh_rules_changed(BhRules *r);

/* A node has connected: it is sent the set anew, as it may be another sensor that lacks it, also where nobody saw the last one go. NULL is allowed. */
void bh_rules_node_up(BhRules *r, const char *node);

/*
 * The default rules and all managed files, `name` with this text instead of the one that is kept (NULL: without it), loaded and compiled as the nodes do it.
 * One check at a time. *compiled (of BhEngineProblem): what compiling found, empty if loading found errors. NULL with *error when the store fails.
 */
BhRuleSet *bh_rules_check(BhRules *r, BhStore *store, const char *name, const char *text, GPtrArray **compiled, GError **error);

/* "nodes": [{"node", "state": "current" | "sending" | "refused" | "failed", "error", "time"}] of those that are connected. */
void bh_rules_append_nodes(BhRules *r, GString *out);
