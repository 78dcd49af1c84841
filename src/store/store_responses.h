/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger of responses: who did what to which container, why, until when, and what came of it. A row is written before the node is told, with its audit row, and never deleted but by the
 * bound. Each change is in the change log.
 *
 * Bounds: BH_STORE_RESPONSES_MAX rows: beyond, those go that ended longest ago of the node that has most; when all go on another is refused. Of a node with BH_STORE_RESPONSES_OPEN that go on (it carries
 * out fewer) nothing is taken that it did by itself. Threads and errors as in store.h.
 */
#pragma once
#include <jansson.h>

#include "store/store.h"
#include "store/store_access.h"

#define BH_STORE_RESPONSES_MAX 20000
#define BH_STORE_RESPONSES_OPEN 512
#define BH_STORE_RESPONSE_REASON_MAX 4096

typedef struct {
        char *id, *action, *state; /* src/response/response.h */
        char *node, *container_id, *container_name, *workload, *application;
        char *actor, *reason;
        char *allow, *deny;        /* JSON arrays of texts */
        char *result;              /* a sentence */
        char *subject;             /* a process, or what is scaled (src/response/response.h); "": none. Given NULL: none */
        char *detail;              /* JSON object; "" in lists */
        gint64 until_ns;           /* 0: no end */
        gint64 created_ns, changed_ns;
        gboolean best_effort, releasing; /* releasing: the node has not been told yet */
        gboolean give_up;                /* releasing, and it is to end also where what was done cannot be undone */
} BhStoreResponse;

void bh_store_response_free(BhStoreResponse *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreResponse, bh_store_response_free)

typedef struct {
        const char *state;  /* NULL: all */
        const char *action, *actor, *node, *container, *application, *workload; /* container: id or name */
        const char *container_id;
        gint64 since_ns;    /* created then or later */
        gboolean open;      /* pending, active, or to be released */
} BhStoreResponseFilter;

/* Rows of BhStoreResponse without `detail`, the latest first. */
BhStorePage *bh_store_responses(BhStore *s, const BhStoreResponseFilter *filter, const char *cursor, guint limit, GError **error);
BhStoreResponse *bh_store_response(BhStore *s, const char *id, GError **error); /* NOT_FOUND */

/* New; its times are the store's. CONFLICT: the id is known, or there is no room. */
gboolean bh_store_response_add(BhStore *s, const BhStoreResponse *r, const BhStoreAuditEntry *audit, GError **error);
/* How many of an actor's there are. */
typedef struct {
        guint64 total, open, dry_run, failed;
} BhStoreResponseCounts;
gboolean bh_store_responses_of(BhStore *s, const char *actor, BhStoreResponseCounts *out, GError **error);
/* Somebody wants its end; `give_up`: also where what was done cannot be undone. CONFLICT: it has none to come. */
gboolean bh_store_response_release(BhStore *s, const char *id, gboolean give_up, const BhStoreAuditEntry *audit, GError **error);
/*
 * What the node says of it. Only of a node's own; nothing happens when it is unknown, or as it was. `detail` NULL: as it was. What has ended stays so.
 */
gboolean bh_store_response_told(BhStore *s, const char *node, const char *id, const char *state, const char *result, const char *detail, GError **error);
/* Puts these members into the detail of one that goes on, if they are not so already; the rest of it stays. Only of a node's own. *known: there is such a one. */
gboolean bh_store_response_refused(BhStore *s, const char *node, const char *id, json_t *counts, gboolean *known, GError **error);
