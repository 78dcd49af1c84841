/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses as the central sees to them: rows of the ledger (store_responses.h) become orders for their nodes, and what nodes say becomes their state.
 *
 * An order is a question over the bus, idempotent by its id, and asked at once by the worker that took it (bh_responses_order()). What a node could not be told, because it was away or the
 * central ended in between, a thread ("bh-responses") tells when it can: it goes through the open rows each BH_RESPONSES_TICK_MS, and asks each node that has some for its own ledger each
 * BH_RESPONSES_ASK_MS, so that what expired, or lost its container, is known here.
 */
#pragma once
#include "central.h"
#include "store/store_responses.h"

#define BH_RESPONSES_TICK_MS 1000
#define BH_RESPONSES_ASK_MS 2000
#define BH_RESPONSES_WAIT_S 45 /* for a node: a runtime takes up to 30 s to stop a container */

BhResponses *bh_responses_new(BhCentral *c);
/* Once there are a store and a bus. */
void bh_responses_start(BhResponses *r);
/* Ends the thread, and whoever waits for a node. Before the bus goes. NULL is allowed. */
void bh_responses_stop(BhResponses *r);
/* When nobody calls any more. NULL is allowed. */
void bh_responses_free(BhResponses *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhResponses, bh_responses_free)

/* Tells the node of this row, and waits for its answer, which is stored. FALSE with *error: it is away, or did not answer; it will be told later. Any thread. */
gboolean bh_responses_order(BhResponses *r, const BhStoreResponse *row, GError **error);
/* The same without a row: what the node would do. *state, *result and *detail: g_free(). */
gboolean bh_responses_try(BhResponses *r, const BhStoreResponse *row, char **state, char **result, char **detail, GError **error);

/* Caller frees. */
char *bh_responses_new_id(void);

/* A response as JSON (api_responses.c). `whole`: with its detail. */
void bh_view_response(GString *out, const char *key, const BhStoreResponse *r, gboolean whole);
