/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an order to act on a container is about beside it: one of its processes, or the workload that it belongs to. Called by the API's orders, in their thread.
 */
#pragma once
#include "central.h"
#include "response/response.h"
#include "store/store_inventory.h"
#include "store/store_responses.h"

typedef struct {
        char *subject; /* src/response/response.h; "" for none */
        char *node;    /* which carries it out */
        char *confirm; /* what has to be typed */
        gboolean whole, project; /* all containers of the workload; of the application */
} BhResponseSubject;

void bh_response_subject_clear(BhResponseSubject *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhResponseSubject, bh_response_subject_clear)

/* Reads "pid", "started" and "project" of the body. FALSE: answered. */
gboolean bh_response_subject_read(BhCall *call, json_t *body, BhResponseAction action, const BhStoreContainer *c, BhResponseSubject *out);
/* How many containers an open response of the ledger takes from their workload. */
guint bh_response_takes(BhCall *call, const BhStoreResponse *r);
