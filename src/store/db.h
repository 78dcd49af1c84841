/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store needs of a database: a tiny driver interface, and conveniences over it. Private to src/store and its tests.
 *
 * A site (BhDbSite) is one database as a place: its files and locks. It is opened first, checks and repairs what it must, and gives
 * connections (BhDb). A connection belongs to one thread at a time. Statements are written once for all drivers: `?` placeholders, integers,
 * text and blobs only, upserts by ON CONFLICT; what differs between databases is in the migrations (schema.c) and in the driver.
 *
 * Errors are BH_STORE_ERROR. After one, the transaction it happened in can only be rolled back.
 */
#pragma once
#include <stdarg.h>

#include "store/store.h"

typedef struct BhDb BhDb;
typedef struct BhDbStmt BhDbStmt;
typedef struct BhDbSite BhDbSite;
typedef struct BhDbDriver BhDbDriver;

typedef enum { BH_DB_ROW, BH_DB_DONE, BH_DB_FAILED } BhDbStep;
typedef enum { BH_DB_WRITER, BH_DB_READER } BhDbMode;

#define BH_DB_STATEMENTS_MAX 128 /* prepared statements kept for each connection; all go when there would be more */

struct BhDbDriver {
        const char *scheme; /* "sqlite" */

        /* See the functions of the same names below. */
        BhDbSite *(*site_open)(const char *place, BhStoreOpened *opened, GError **error);
        gboolean (*site_settle)(BhDbSite *site, GError **error);
        gboolean (*site_restore)(const char *place, const char *backup, BhStoreOpened *opened, GError **error);
        gboolean (*site_backup)(BhDbSite *site, const char *path, GError **error);
        void (*site_close)(BhDbSite *site);

        BhDb *(*connect)(BhDbSite *site, BhDbMode mode, GError **error);
        void (*disconnect)(BhDb *db);
        gboolean (*exec)(BhDb *db, const char *sql, GError **error); /* several statements, no parameters */
        gboolean (*begin)(BhDb *db, gboolean writing, GError **error);
        gboolean (*commit)(BhDb *db, GError **error);
        void (*rollback)(BhDb *db);
        void (*set_deadline)(BhDb *db, gint64 until_us);
        gint64 (*changes)(BhDb *db); /* rows of the last statement */
        gint64 (*last_id)(BhDb *db); /* of the last INSERT into a table that numbers its rows */
        gboolean (*usage)(BhDb *db, guint64 *used, guint64 *file, GError **error);
        gboolean (*compact)(BhDb *db, GError **error); /* gives free pages back, outside of a transaction; a bounded piece of work */

        BhDbStmt *(*prepare)(BhDb *db, const char *sql, GError **error);
        void (*finalize)(BhDbStmt *st);
        void (*reset)(BhDbStmt *st);
        void (*bind_null)(BhDbStmt *st, guint i); /* i from 0 */
        void (*bind_int)(BhDbStmt *st, guint i, gint64 v);
        void (*bind_text)(BhDbStmt *st, guint i, const char *v); /* v must live until reset */
        void (*bind_blob)(BhDbStmt *st, guint i, const void *v, gsize len);
        BhDbStep (*step)(BhDbStmt *st, GError **error);
        gint64 (*column_int)(BhDbStmt *st, guint i);
        const char *(*column_text)(BhDbStmt *st, guint i); /* never NULL; until the next step */
        const void *(*column_blob)(BhDbStmt *st, guint i, gsize *len);
};

extern const BhDbDriver bh_db_sqlite;

/* What every driver's connection, statement and site begin with. */
struct BhDb {
        const BhDbDriver *driver;
        BhDbSite *site;
        GHashTable *statements; /* char *sql → BhDbStmt * */
        gsize taken;            /* bytes of texts that were taken from it since it was lent */
};
struct BhDbStmt {
        BhDb *db;
        gboolean busy;
};
struct BhDbSite {
        const BhDbDriver *driver;
        char *path;       /* for messages, and of files beside it */
        char *backup_dir; /* NULL: the driver keeps no backups */
        gboolean alone;   /* until settled: nobody else has it open, so it may be migrated */
};

/* ---- sites */

/*
 * Finds the driver by the URI's scheme, takes the place (alone if nobody has it, else sharing with who does), checks, and restores if it
 * must. Then migrate if site->alone, and settle: from then on others may come. `opened` is filled in as far as the site can tell.
 */
BhDbSite *bh_db_site_open(const char *uri, BhStoreOpened *opened, GError **error);
gboolean bh_db_site_settle(BhDbSite *site, GError **error);
gboolean bh_db_site_backup(BhDbSite *site, const char *path, GError **error);
void bh_db_site_close(BhDbSite *site); /* after its connections; NULL is allowed */
/* See bh_store_restore(). */
gboolean bh_db_restore(const char *uri, const char *backup, BhStoreOpened *opened, GError **error);

/* ---- connections */

BhDb *bh_db_connect(BhDbSite *site, BhDbMode mode, GError **error);
void bh_db_disconnect(BhDb *db); /* NULL is allowed */
gboolean bh_db_exec(BhDb *db, const char *sql, GError **error);
gboolean bh_db_begin(BhDb *db, gboolean writing, GError **error);
gboolean bh_db_commit(BhDb *db, GError **error);
void bh_db_rollback(BhDb *db); /* harmless without a transaction */
/* What runs later than this (monotonic) fails with BH_STORE_ERROR_TIMEOUT. 0: none. */
void bh_db_set_deadline(BhDb *db, gint64 until_us);
gint64 bh_db_changes(BhDb *db);
gint64 bh_db_last_id(BhDb *db);
gboolean bh_db_usage(BhDb *db, guint64 *used, guint64 *file, GError **error);
gboolean bh_db_compact(BhDb *db, GError **error);

/* ---- statements */

/*
 * Prepares (or takes from the connection's cache) and binds. `types` has a letter for each placeholder: t const char * (NULL = ""),
 * T the same (NULL = NULL), i gint64, u guint64 (what is over G_MAXINT64 becomes that), o gboolean, b const void *, gsize. Arguments are
 * borrowed until bh_db_done(). NULL with an error. One use of a statement text at a time.
 */
BhDbStmt *bh_db_query(BhDb *db, GError **error, const char *sql, const char *types, ...);
BhDbStmt *bh_db_query_va(BhDb *db, GError **error, const char *sql, const char *types, va_list args);
BhDbStep bh_db_step(BhDbStmt *st, GError **error);
void bh_db_done(BhDbStmt *st); /* NULL is allowed */

/* Runs to its end. */
gboolean bh_db_run(BhDb *db, GError **error, const char *sql, const char *types, ...);
/* First column of the first row, 0 if there is none or it is NULL; *found (may be NULL) tells. */
gboolean bh_db_get_int(BhDb *db, gint64 *out, gboolean *found, GError **error, const char *sql, const char *types, ...);
/* The same as text, newly allocated; *out = NULL if there is no row. */
gboolean bh_db_get_text(BhDb *db, char **out, GError **error, const char *sql, const char *types, ...);

gint64 bh_db_int(BhDbStmt *st, guint i);
char *bh_db_text(BhDbStmt *st, guint i); /* newly allocated */
const char *bh_db_peek(BhDbStmt *st, guint i); /* until the next step */
GBytes *bh_db_blob(BhDbStmt *st, guint i); /* NULL if it is empty or NULL */
const void *bh_db_peek_blob(BhDbStmt *st, guint i, gsize *len);

/* For statements with as many values as it takes; the placeholder's place from 0. `v` must live until bh_db_done(). */
void bh_db_bind_text(BhDbStmt *st, guint i, const char *v);
void bh_db_bind_int(BhDbStmt *st, guint i, gint64 v);
