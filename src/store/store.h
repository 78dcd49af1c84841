/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what the platform keeps. Inventory, observations, findings, users, audit, settings, and the log of what changed.
 *
 *     store.h             opening, damage and restoring, backup, retention, the change log, settings      (this file)
 *     store_inventory.h   ingest of the bus's messages; containers, workloads, observations, findings, nodes, losses
 *     store_flows.h       connections: halves of them and their time buckets, listeners
 *     store_resources.h   networks, services, nodes, images: what there is beside containers
 *     store_access.h      users, tokens, sessions, the audit log
 *
 * Nothing of a particular database shows through these headers. SQLite is what is behind them today.
 *
 * Durability: a function that changes something and returns TRUE has made it durable (it survives SIGKILL and a loss of power); one
 * that returns FALSE has changed nothing. Each change is one transaction.
 *
 * Threads: every function may be called from any thread, unless it says otherwise. Changes are done one at a time, readers neither
 * wait for them nor hinder them (up to BH_STORE_READERS at once, others queue). Any call may block on the disk: none belongs on a
 * thread that must not.
 *
 * Processes: several may have the same store open (the central, and its --set-password). Checking, restoring and migrating are done by
 * the one that finds itself alone; the others wait for it, up to 60 s.
 *
 * Ownership: whatever is returned is the caller's, texts given are copied. Texts returned are valid UTF-8 and never NULL unless it
 * says so. Text given may hold anything: a byte that is not UTF-8 is kept as the four characters \xNN, a text over its bound is cut
 * at a character's border. Lists that nest are JSON text, which the store keeps as it is and never looks into; one over its bound, or not
 * UTF-8, is kept as an empty one.
 *
 * Time is nanoseconds since the epoch, 0 = not known.
 */
#pragma once
#include <glib.h>

typedef struct BhStore BhStore;

#define BH_STORE_READERS 12
#define BH_STORE_LIMIT_MAX 1000     /* rows of one page; what asks for more, or for 0, gets this many */
#define BH_STORE_CHANGES_MAX 100000 /* rows of the change log; older ones go */
#define BH_STORE_TEXT_MAX 4096      /* bytes of a plain text, unless it says otherwise */
#define BH_STORE_KEY_MAX 512        /* bytes of what rows are found by: node, id, workload, application, kind */
#define BH_STORE_JSON_MAX (256 << 10) /* bytes of a list */
#define BH_STORE_PAGE_BYTES (4 << 20) /* of the texts of one page; it has one row at least, and ends behind the one that reaches this */
#define BH_STORE_SETTINGS_MAX 1000
#define BH_STORE_SETTING_MAX (64 << 10)

#define BH_STORE_ERROR (bh_store_error_quark())
GQuark bh_store_error_quark(void);

typedef enum {
        BH_STORE_ERROR_FAILED,    /* the system refused: permissions, input/output */
        BH_STORE_ERROR_FULL,      /* no room on the disk; nothing that is stored is lost, the call may be tried again */
        BH_STORE_ERROR_BUSY,      /* another process holds the store for longer than anyone should */
        BH_STORE_ERROR_DAMAGED,   /* the message tells what to do */
        BH_STORE_ERROR_NEWER,     /* written by a newer version of the program; untouched */
        BH_STORE_ERROR_FOREIGN,   /* not a store of ours; untouched */
        BH_STORE_ERROR_NOT_FOUND, /* no such object */
        BH_STORE_ERROR_EXISTS,    /* there is one of that name already */
        BH_STORE_ERROR_CONFLICT,  /* refused by a rule, e.g. the last admin cannot go; or a bound is reached */
        BH_STORE_ERROR_INVALID,   /* an argument from a user is malformed: a name, a cursor */
        BH_STORE_ERROR_AMBIGUOUS, /* the text given means more than one object */
        BH_STORE_ERROR_TIMEOUT,   /* a question that took longer than bh_store_limit_reads() lets it */
} BhStoreError;

/* ---- opening */

/* What bh_store_open() found and did. For the log and for the user's eyes; free the inside with bh_store_opened_clear(). */
typedef struct {
        gboolean created;          /* there was nothing before */
        guint schema;              /* in use now */
        guint migrated_from;       /* the schema that was found, if it was older; else 0 */
        char *restored_from;       /* path of the backup that was put in the damaged database's place; NULL = no damage */
        char *damaged_kept_as;     /* path of the damaged file; NULL when it was missing altogether */
        char *damage;              /* what was wrong, a sentence */
        gint64 age_ns;             /* how old the backup was: what was stored since then is gone */
} BhStoreOpened;

void bh_store_opened_clear(BhStoreOpened *o);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhStoreOpened, bh_store_opened_clear)

/*
 * Opens "sqlite:/absolute/path", creating it with mode 0600 in a directory that must exist. Other schemes: BH_STORE_ERROR_INVALID.
 * `opened` may be NULL.
 *
 * Each open checks the database. A damaged, emptied or missing one (beside a store lies "<path>.created", which says that there was one)
 * is replaced by the newest sound backup in "backup/" beside it; the damaged file is kept as "<path>.damaged-<UTC time>" (of these the last
 * four). Damage that is met while the store is in use fails the call with BH_STORE_ERROR_DAMAGED, and the next open checks all. All sessions
 * end with that, the audit log gets a row "store.restored", and the change log goes on far ahead so that no client misses anything.
 * Without a sound backup the call fails with BH_STORE_ERROR_DAMAGED and changes nothing.
 *
 * Not found by the check: bits that flipped inside a stored text (bh_store_audit_verify() finds them in the audit log), and damage of the
 * write-ahead log, which takes the newest transactions with it: bh_store_position() is then less than what was acknowledged.
 *
 * Files made by root are given to the owner of the directory.
 */
BhStore *bh_store_open(const char *uri, BhStoreOpened *opened, GError **error);

/* Waits for nothing: no other thread may be inside a call. NULL is allowed. */
void bh_store_close(BhStore *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStore, bh_store_close)

/*
 * From now on each reading call of this thread may take so many microseconds, waiting for its turn included; then it fails with
 * BH_STORE_ERROR_TIMEOUT, and the store is as good as before. 0: no bound, which is how a thread begins. Writing is not bounded.
 */
void bh_store_limit_reads(gint64 us);

/* ---- backup */

/*
 * Writes a sound copy of one moment to `path` (0600), replacing what was there only when the copy is complete, checked and durable.
 * Writers go on meanwhile. One at a time; others wait.
 */
gboolean bh_store_backup(BhStore *s, const char *path, GError **error);

/*
 * The same into "backup/bulkhead-<UTC time>.db" beside the database (the directory is made, 0700), then deletes the oldest there until
 * `keep` (at least 1) are left. `path` (may be NULL) receives the name. To be called by one process, and by one thread at a time: it
 * also clears away what a killed one left half made.
 */
gboolean bh_store_backup_rotate(BhStore *s, guint keep, char **path, GError **error);

/* When the newest backup of bh_store_backup_rotate() was made, 0 = there is none. */
gint64 bh_store_backup_time(BhStore *s);

/*
 * Puts a backup in the place of the database, as bh_store_open() does by itself after damage; the old one is kept as ".damaged-<time>".
 * No process may have the store open (BH_STORE_ERROR_BUSY).
 */
gboolean bh_store_restore(const char *uri, const char *backup, BhStoreOpened *opened, GError **error);

/* ---- retention */

typedef struct {
        guint64 findings, containers, observations, audit, nodes, workloads, buckets; /* rows that went */
        guint64 bytes;           /* in use afterwards, without what is free inside the file */
        gboolean still_over;     /* what may go is gone, and it is over max_bytes all the same */
        gboolean clock_distrusted; /* the wall clock ran ahead of the time since boot by more than an hour; age was reckoned without that */
} BhStoreExpired;

/*
 * Deletes findings, containers that have ended, observations and audit rows that were received more than `max_age_ns` ago (0 = no
 * bound), and nodes with everything of theirs that have not been heard of for so long. Age is by the clock of this machine, not the
 * sender's. Then, while more than `max_bytes` (0 = no bound) are in use, the oldest rows of whichever kind takes most room: a
 * flood pushes out itself, not the audit log. What is running, users, tokens and settings never go. Short transactions, so ingest goes on.
 * To delete is to write: on a disk without any room this fails with BH_STORE_ERROR_FULL like everything else.
 * Expired sessions go, too, uncounted. Nothing of this is in the change log.
 */
gboolean bh_store_expire(BhStore *s, gint64 max_age_ns, guint64 max_bytes, BhStoreExpired *out, GError **error);

/* ---- change log: what the event stream of the API is made of */

typedef enum {
        BH_STORE_CHANGE_CONTAINER,   /* key: "node/id" */
        BH_STORE_CHANGE_FINDING,     /* key: the finding's id */
        BH_STORE_CHANGE_OBSERVATION, /* key: the row's id; only for facts that are new, not for counts */
        BH_STORE_CHANGE_NODE,        /* key: the node's name */
        BH_STORE_CHANGE_AUDIT,       /* key: the row's id */
        BH_STORE_CHANGE_STORE,       /* key: "restored" */
        BH_STORE_CHANGE_RESOURCE,    /* key: the row's serial; a row that is not there any more was deleted */
        BH_STORE_CHANGE_INCIDENT,    /* key: its number; never of one that is forming */
        BH_STORE_CHANGE_RESPONSE,    /* key: its id */
        BH_STORE_CHANGE_POLICY,      /* key: its name; one that is not there any more was removed */
        BH_STORE_CHANGE_KINDS,
} BhStoreChangeKind;

const char *bh_store_change_kind_name(BhStoreChangeKind kind); /* "container", "finding", … */

typedef struct {
        guint64 id; /* rising, never used twice; below 2^53 */
        gint64 time_ns;
        BhStoreChangeKind kind;
        char *key;
} BhStoreChange;

void bh_store_change_free(BhStoreChange *c);

/*
 * Up to `limit` changes with an id above `after`, oldest first: GPtrArray of BhStoreChange. *gap (may be NULL) is TRUE when some of what
 * came after `after` is no longer there, or `after` was never given out: the reader must load its views anew.
 */
GPtrArray *bh_store_changes_after(BhStore *s, guint64 after, guint limit, gboolean *gap, GError **error);

/* The newest change's id: where a new reader begins. */
gboolean bh_store_changes_last(BhStore *s, guint64 *id, GError **error);

/*
 * `func` is called after each transaction that appended to the change log, on the thread that did it, with the newest id; it must be
 * quick and may call the store only from another thread. One function; NULL takes it away. Set it before other threads use the store.
 * Changes by other processes are not told: look each few seconds too.
 */
typedef void (*BhStoreChangeFunc)(guint64 last_id, gpointer data);
void bh_store_set_change_func(BhStore *s, BhStoreChangeFunc func, gpointer data);

/* ---- settings: small texts by key ([a-z0-9._-], 1 to 128 characters), value at most BH_STORE_SETTING_MAX bytes */

struct BhStoreAuditEntry; /* store_access.h; NULL = no audit row */

/* NULL without an error when there is no such setting. */
char *bh_store_setting_get(BhStore *s, const char *key, GError **error);
/* A NULL value removes it. BH_STORE_ERROR_INVALID for key or length, _CONFLICT beyond BH_STORE_SETTINGS_MAX. */
gboolean bh_store_setting_set(BhStore *s, const char *key, const char *value, const struct BhStoreAuditEntry *audit, GError **error);
/* All of them: char *key → char *value. */
GHashTable *bh_store_settings(BhStore *s, GError **error);

/* ---- pages: what list functions return */

typedef struct {
        GPtrArray *rows; /* of the type that the function names; owned */
        char *next;      /* cursor of the next page, NULL = that was all. Opaque; safe in a URL. */
        char *(*cursor_after)(gconstpointer row); /* for bh_store_page_cut() */
} BhStorePage;

void bh_store_page_free(BhStorePage *p);
/* Leaves the first `n` rows (at least one), so that the next page begins behind them. */
void bh_store_page_cut(BhStorePage *p, guint n);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStorePage, bh_store_page_free)

/* ---- state of the store itself, for status and metrics */

typedef struct {
        guint64 bytes_used, bytes_file;     /* without and with free pages; the write-ahead log is extra */
        guint64 ingested[10];                /* messages by BhStoreMessageKind, since this open */
        guint64 duplicates;                 /* messages that had been applied before, since this open */
        guint64 refused;                    /* rows without a key, and evidence of too many chains, since this open */
        guint64 cut_texts;                  /* texts and lists over their bound, since this open */
        guint64 halves_folded;              /* halves of connections over their bounds, since this open: store_flows.h */
        guint64 scopes_contested;           /* lists of a cluster's resources from nodes whose word does not count for it, since this open: store_resources.h */
        guint64 evidence_dropped, evidence_dropped_open; /* items of evidence that went for the bound, and those of open incidents among them, since this open: store_evidence.h */
        guint64 commits, failed;            /* transactions, since this open */
        guint64 commit_ns_max;              /* the slowest one */
        guint schema;
} BhStoreStats;

void bh_store_stats(BhStore *s, BhStoreStats *out);
