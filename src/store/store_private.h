/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a BhStore, and what its topics (ingest.c, inventory.c, users.c, …) share. Private to src/store and its tests.
 */
#pragma once
#include "store/db.h"
#include "store/store_access.h"
#include "store/store_inventory.h"
#include "store/store_outputs.h"

#define BH_STORE_STATUS_WRITE_NS (10 * G_GINT64_CONSTANT(1000000000))
#define BH_STORE_NODES_MAX 10000        /* nodes whose status is held in memory */
#define BH_STORE_NEEDLE_MAX 256         /* bytes of a text to search for */

typedef struct {
        char *json;
        gint64 time_ns;
        gboolean dirty;
} BhStoreStatus;

struct BhStore {
        BhDbSite *site;
        guint schema;

        /* The writer: one transaction at a time. What follows belongs to who holds `write`. */
        GMutex write;
        BhDb *writer;
        GPtrArray *scratch;     /* texts that were cleaned for the transaction under way */
        GHashTable *logged;     /* char *"kind:key" → guint64 *, the changes of the transaction under way: one row for each object */
        guint64 tx_last_change; /* 0 = it has none */
        gint64 tx_now;          /* one time for all rows of a transaction */
        guint64 tx_cut, tx_contested, tx_evidence, tx_evidence_open; /* the last two: items of evidence that went, and those of open incidents among them */
        gint64 halves;          /* rows of flow_halves; -1 = to be counted */
        gint64 texts;           /* bytes of their texts; the same */
        GHashTable *texts_of;   /* char *node → gint64 *, of these */

        GMutex pool;
        GCond pool_free;
        GPtrArray *idle; /* BhDb */
        guint readers;

        GMutex state; /* of what follows; never held while another lock is taken or the disk is used */
        BhStoreStats stats;
        GHashTable *statuses; /* char *node → BhStoreStatus */
        gint64 statuses_written_ns;

        BhStoreChangeFunc change_func;
        gpointer change_data;

        gint64 (*now)(void); /* nanoseconds since the epoch; tests set it */
        gint64 (*boot)(void); /* nanoseconds since boot, suspended time included */
        gint64 opened_now, opened_boot;
        gint64 minutes_kept; /* atomic: how long buckets of a minute stay */
        gint64 halves_max, halves_least; /* bounds of store_flows.h; tests set them */
        gint64 texts_max, texts_node, texts_least;
        gint64 evidence_max; /* the bound of store_evidence.h; tests set it */
        gint64 evidence_held; /* serial up to which no item may go before others: those need not be asked for again. With `write`; 0 as soon as an incident ends */
        guint evidence_rounds;
};

/* ---- transactions (store.c) */

/* Takes the writer and begins. NULL with an error. */
BhDb *bh_store_begin(BhStore *s, GError **error);
/* Commits if ok, else (or when that fails) rolls back; gives the writer back; tells of changes. Returns whether all is durable. */
gboolean bh_store_end(BhStore *s, gboolean ok, GError **error);
/* Appends to the change log, once for each object in a transaction. *id (may be NULL) is the row's number. */
gboolean bh_store_log(BhStore *s, BhStoreChangeKind kind, const char *key, guint64 *id, GError **error);

/* A reader's connection with a snapshot begun; waits while all are lent. Give it back. */
BhDb *bh_store_read(BhStore *s, GError **error);
void bh_store_read_done(BhStore *s, BhDb *db);

/* An audit row within the writer's transaction; TRUE at once when `entry` is NULL (audit.c). */
gboolean bh_store_put_audit(BhStore *s, const BhStoreAuditEntry *entry, GError **error);
/* Within the writer's transaction: makes or touches the node's row (nodes.c). `boot_id`, `version` NULL = as it was; up -1 = as it was. */
gboolean bh_store_touch_node(BhStore *s, const char *node, const char *version, const char *boot_id, int up, GError **error);
/* Within the writer's transaction: writes what is dirty of the statuses (nodes.c). */
gboolean bh_store_write_statuses(BhStore *s, GError **error);
/* Within the writer's transaction: a container's row and change; what a full inventory does not list (containers.c). */
gboolean bh_store_put_container(BhStore *s, const char *node, BhStoreContainer *c, gint64 *serial, GError **error);
gboolean bh_store_end_others(BhStore *s, const char *node, GHashTable *listed_serials, guint64 *change, GError **error);
/* Within the writer's transaction: rows of the other messages (workloads.c, findings.c, nodes.c). */
gboolean bh_store_put_observation(BhStore *s, const char *node, const BhStoreObservation *o, guint64 *change, GError **error);
gboolean bh_store_put_finding(BhStore *s, const char *node, const BhStoreFinding *f, guint64 *change, gboolean *duplicate, GError **error);
/* The same of connections (flows.c). *folded counts halves over the bounds. */
gboolean bh_store_put_flows(BhStore *s, const char *node, BhStoreFlows *batch, guint64 *folded, GError **error);
gboolean bh_store_put_listeners(BhStore *s, const char *node, const BhStoreListeners *list, GError **error);
/* Within the writer's transaction: at most `max` buckets, the oldest (flows_read.c). */
gboolean bh_store_drop_buckets(BhStore *s, gint64 max, gint64 *gone, GError **error);
gboolean bh_store_put_resources(BhStore *s, const char *node, const BhStoreResourceList *list, guint64 *refused, guint64 *change, GError **error);
gboolean bh_store_put_evidence(BhStore *s, const char *node, const BhStoreEvidence *e, gboolean *duplicate, guint64 *refused, GError **error);
gboolean bh_store_put_response(BhStore *s, const char *node, const BhStoreResponse *r, guint64 *refused, GError **error);
/* Within the writer's transaction: adds to what there is of this observation (endpoints.c). */
gboolean bh_store_put_http(BhStore *s, gint64 observation, const BhStoreHttp *h, GError **error);
gboolean bh_store_put_loss(BhStore *s, const char *node, const BhStoreLoss *l, GError **error);
/* Within the writer's transaction: what nodes told last that are down and were not heard of since then (resources.c). */
gboolean bh_store_drop_silent_resources(BhStore *s, gint64 before, GError **error);
/* Sums that stay where databases end. */
static inline gint64 bh_store_add(gint64 sum, guint64 more) {
        return more > (guint64) (G_MAXINT64 - sum) ? G_MAXINT64 : sum + (gint64) more;
}
/* Within the writer's transaction: makes or touches the workload's row; takes it away if nothing is left of it (workloads.c). */
gboolean bh_store_touch_workload(BhStore *s, const char *application, const char *workload, GError **error);
gboolean bh_store_drop_workload(BhStore *s, const char *application, const char *workload, GError **error);

/* ---- users (users.c) */

gboolean bh_store_check_hash(const char *hash, const char *what, gboolean may_be_empty, GError **error);
gboolean bh_store_has_user(BhDb *db, const char *name, GError **error); /* FALSE with NOT_FOUND */
/* What is no role in the database (it was tampered with) is none. */
static inline BhStoreRole bh_store_role_from(gint64 v) {
        return v >= BH_STORE_ROLE_VIEWER && v <= BH_STORE_ROLE_ADMIN ? (BhStoreRole) v : BH_STORE_ROLE_NONE;
}

/* ---- texts (text.c) */

/*
 * The text as it may be stored: valid UTF-8 of at most `max` bytes. NULL = "". What had to be changed lives until the transaction's end.
 * Only within a transaction.
 */
const char *bh_store_clean(BhStore *s, const char *text, gsize max);
/* JSON: over the bound, or not UTF-8, or nothing: `otherwise`, for half a list is none. */
const char *bh_store_clean_json(BhStore *s, const char *text, const char *otherwise);
/* The same as bh_store_clean() for anyone: a new text, or NULL if it was good as it is. *cut counts. */
char *bh_text_clean(const char *text, gsize max, guint64 *cut);

/* ---- conditions (where.c): the filters of list functions */

typedef struct {
        GString *sql;    /* " WHERE a = ? AND …", or empty */
        GArray *values;  /* BhWhereValue */
        GPtrArray *owned;
} BhWhere;

void bh_where_init(BhWhere *w);
void bh_where_clear(BhWhere *w);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhWhere, bh_where_clear)
void bh_where_sql(BhWhere *w, const char *condition); /* without a placeholder */
void bh_where_text(BhWhere *w, const char *condition, const char *value); /* with one; nothing if value is NULL */
void bh_where_int(BhWhere *w, const char *condition, gint64 value);
/* `expression` contains the value, ASCII letters in either case. Nothing if it is NULL or "". */
void bh_where_contains(BhWhere *w, const char *expression, const char *value);
/* A value for a placeholder that an earlier condition's text has. */
void bh_where_more_text(BhWhere *w, const char *value);
void bh_where_more_int(BhWhere *w, gint64 value);
/* Copies the text added last, which is otherwise borrowed. */
void bh_where_keep(BhWhere *w);
/* select + conditions + tail, bound; more values may follow with bh_db_bind_int() from *next on. */
BhDbStmt *bh_where_query(const BhWhere *w, BhDb *db, const char *select, const char *tail, guint *next, GError **error);

/* ---- pages (where.c) */

static inline guint bh_store_limit(guint limit) {
        return limit == 0 || limit > BH_STORE_LIMIT_MAX ? BH_STORE_LIMIT_MAX : limit;
}

/* How the rows of a list are read: what its page function gives to bh_store_page(). */
typedef struct {
        const char *select; /* up to the conditions */
        const char *tail;   /* what follows them: " ORDER BY …"; the LIMIT is added */
        gpointer (*take)(BhDbStmt *st); /* a new row */
        GDestroyNotify free_row;
        char *(*cursor_after)(gconstpointer row);
} BhStoreList;

/*
 * A page of the rows that fit `w`: at most `limit` (0: BH_STORE_LIMIT_MAX) and not many more bytes than BH_STORE_PAGE_BYTES, with its cursor if
 * more follow. NULL with an error. bh_page_read() is for who reads more in the same snapshot.
 */
BhStorePage *bh_store_page(BhStore *s, const BhWhere *w, const BhStoreList *list, guint limit, GError **error);
BhStorePage *bh_page_read(BhDb *db, const BhWhere *w, const BhStoreList *list, guint limit, GError **error);
/* How many rows of `table` fit `w`. */
gboolean bh_store_count(BhStore *s, const BhWhere *w, const char *table, guint64 *count, GError **error);
/* Cursors of one or two whole numbers, "12" or "12.34"; and of two texts. FALSE with BH_STORE_ERROR_INVALID. */
#define BH_CURSOR_INTS_MAX 2
gboolean bh_cursor_parse_ints(const char *cursor, gint64 *v, guint n, GError **error);
gboolean bh_cursor_parse_texts(const char *cursor, char **a, char **b, GError **error);
char *bh_cursor_from_texts(const char *a, const char *b);
/* The condition, with a placeholder for each of the cursor's `n` numbers. NULL is none. */
gboolean bh_where_cursor(BhWhere *w, const char *condition, guint n, const char *cursor, GError **error);

gboolean bh_store_not_found(GError **error, const char *what, const char *name);
