/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the central share: the program's state, and a call of the API with who makes it.
 *
 * BhCentral is filled in by main() before any thread runs and not changed while they do; its parts lock for themselves. A BhCall belongs to
 * the worker that answers it and lives as long as the handler runs.
 */
#pragma once
#include <jansson.h>

#include "bus/bus.h"
#include "crowd.h"
#include "device.h"
#include "http.h"
#include "limit.h"
#include "pace.h"
#include "store/store.h"
#include "store/store_access.h"
#include "ui_files.h"

#define BH_LIST_DEFAULT 100
#define BH_ANSWER_BYTES (8 * 1024 * 1024) /* a page of a list ends behind the row that reaches this */
#define BH_QUERY_SECONDS 10 /* for a question to the store, where the setting query.seconds says nothing else */
#define BH_STREAMS_PER_USER 16
#define BH_STREAMS_MAX 96 /* of the connections that there may be */

typedef struct BhHub BhHub;
typedef struct BhRoute BhRoute;
typedef struct BhUpkeep BhUpkeep;
typedef struct BhRules BhRules;
typedef struct BhNotifyFeed BhNotifyFeed;
typedef struct BhMap BhMap;
typedef struct BhCorrelator BhCorrelator;
typedef struct BhModels BhModels;
typedef struct BhResponses BhResponses;
typedef struct BhPolicies BhPolicies;
typedef struct BhEnforced BhEnforced;

typedef struct {
        char *run_dir, *data_dir, *dir, *db_path, *listen, *user, *ui_dir, *rules_dir, *url, *alert_dir, *alerts;
        BhStore *store;
        BhHttp *http;
        BhBusListener *bus;
        BhHub *hub;
        BhUi *ui;
        BhLimit *limit;
        BhDevices *devices;
        BhPace *pace;
        BhCrowd *crowd;
        BhUpkeep *upkeep;
        BhRules *rules;
        BhNotifyFeed *notify;
        BhMap *map;
        BhCorrelator *correlator;
        BhModels *models;
        BhResponses *responses;
        BhPolicies *policies;
        BhEnforced *enforced;
        BhStoreOpened opened;
        gint64 started_ns, started_us;
        guint landlock; /* the kernel's version, 0: none */
        gint ready;     /* atomic */
        gint query_seconds; /* atomic */
        gint event_queries, live_events; /* atomic */
        gint undecodable; /* atomic: bodies from the bus that could not be read */
        gint logins_ok, logins_failed, logins_limited, denied; /* atomic */
} BhCentral;

/* Takes over the settings that are kept in the state above. */
void bh_central_read_settings(BhCentral *c);

/* Who calls. Strings are owned; clear with bh_identity_clear(). */
typedef struct {
        BhStoreRole role;
        char *name;         /* of the user, "root (local)" */
        char *session;      /* hash of the session, NULL: there is none */
        char *csrf;         /* what its writes must carry */
        char *token_id;     /* the API token, NULL: there is none */
        char *token_hash;
        gboolean must_change; /* may only change the password */
        gboolean local_root;
} BhIdentity;

void bh_identity_clear(BhIdentity *who);
void bh_identity_copy(BhIdentity *to, const BhIdentity *from);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhIdentity, bh_identity_clear)

typedef struct {
        BhCentral *central;
        BhHttpRequest *http;
        const BhRoute *route;
        const char *captures[2];
        BhIdentity who;
        gboolean crowded; /* counted in the crowd */
} BhCall;

/* ---- answers (call.c) */

/* Takes the text, which ends with the comma of bh_json_close(). */
void bh_call_json(BhCall *call, guint status, GString *text);
void bh_call_no_content(BhCall *call);
/* A row of a list as JSON: an object in an array. */
typedef void (*BhRowView)(GString *out, gconstpointer row, gpointer data);
/* A list: {"NAME":[…],"next":cursor or null}, and the total unless it is NULL. Takes the page, and the error, which is answered if it is set. */
void bh_call_page(BhCall *call, const char *name, BhStorePage *page, BhRowView view, gpointer data, const guint64 *total, GError *error);
void bh_call_error(BhCall *call, guint status, const char *code, const char *format, ...) G_GNUC_PRINTF(4, 5);
/* The store's error as an answer: 404, 409, 400, 507, 503 or 500, the last two logged. Frees the error. */
void bh_call_store_error(BhCall *call, GError *error);

/* ---- what was asked: each answers 400 and returns FALSE when it is malformed */

const char *bh_call_param(BhCall *call, const char *name);
gboolean bh_call_time(BhCall *call, const char *name, gint64 *ns); /* RFC 3339, nanoseconds, or "90s", "15m", "24h", "7d" ago */
gboolean bh_call_limit(BhCall *call, guint max, guint *limit);
gboolean bh_call_flag(BhCall *call, const char *name, gboolean *value); /* "true" and "false"; missing: untouched */

typedef enum { BH_BODY_TEXT, BH_BODY_LINES, BH_BODY_BOOL, BH_BODY_INT } BhBodyKind;
typedef struct {
        const char *name;
        BhBodyKind kind;
        gboolean required;
        gsize max; /* TEXT and LINES (which may hold line ends and tabs): bytes; INT: the largest (the smallest is 0) */
} BhBodyField;

/* A body: one JSON object with these members and no others. NULL with a sentence in *why (g_free). Pure; hostile input (fuzz_central). */
json_t *bh_body_parse(const void *data, gsize len, const BhBodyField *fields, guint n, char **why);
/* The same for the call's body, whose Content-Type must be application/json. NULL: answered. Free with json_decref(). */
json_t *bh_call_body(BhCall *call, const BhBodyField *fields, guint n);
/* A member that is a text, NULL when it is not there. */
const char *bh_body_text(json_t *body, const char *name);

/* ---- the audit log */

/* An entry for this call; strings are borrowed from it. */
BhStoreAuditEntry bh_call_audit(BhCall *call, const char *object, const char *outcome, const char *detail);
/* FALSE: answered 429, for the caller, who is no administrator, has filled too much of the log (pace.h). To be asked before an act. */
gboolean bh_call_pace(BhCall *call);
/*
 * Writes a row for what was refused or failed; that it cannot be written is logged. Of a user who goes beyond the pace rows are left out; the
 * next one says how many.
 */
void bh_call_audit_write(BhCall *call, const char *object, const char *outcome, const char *detail);
