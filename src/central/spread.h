/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that every node is to have as it is now: the rule files, the policies. Sent whole, as a question of the bus, to a node when it connects and to all when it changed; a node that has it
 * already does nothing. A node that refuses it keeps what it had, and is not asked again until it changes.
 *
 * A thread of its own. Functions from any thread; where there is no bus yet, NULL is allowed but for bh_spread_append_nodes().
 */
#pragma once
#include "central.h"

typedef struct BhSpread BhSpread;

typedef struct {
        const char *question, *thread; /* literals */
        /* The body, and what tells it from others (letters and digits; caller frees). NULL: not now; logged. The spread's thread. */
        GBytes *(*pack)(gpointer data, char **digest);
        /* An answer that is the thing's fault, and not the connection's. */
        gboolean (*refused)(const char *error);
} BhSpreadWhat;

/* Once there is a bus. `data` must outlive bh_spread_stop(). */
BhSpread *bh_spread_new(BhCentral *c, const BhSpreadWhat *what, gpointer data);
/* Before the bus goes. */
void bh_spread_stop(BhSpread *s);
void bh_spread_free(BhSpread *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhSpread, bh_spread_free)

/* What tells these texts (of BhStoreText, in their order) from others. Caller frees. */
char *bh_spread_digest(const GPtrArray *texts);

/* It has changed: send. */
void bh_spread_changed(BhSpread *s);
/* A node has connected: it is sent it anew, as it may be another sensor that lacks it, also where nobody saw the last one go. */
void bh_spread_node_up(BhSpread *s, const char *node);
/* "nodes": [{"node", "state": "current" | "sending" | "refused" | "failed", "error", "time"}] of those that are connected. "current": it has what was there at the last bh_spread_changed(). */
void bh_spread_append_nodes(BhSpread *s, GString *out);
