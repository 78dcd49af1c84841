/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "store/sqlite_private.h"

#define DEADLINE_STEPS 2000 /* of SQLite's machine between two looks at the clock: some ten microseconds */

typedef struct {
        BhDb base;
        sqlite3 *db;
        gboolean full; /* the transaction under way met a full disk */
        gint64 until_us; /* deadline, 0: none */
} SqliteDb;

typedef struct {
        BhDbStmt base;
        sqlite3_stmt *st;
} SqliteStmt;

static sqlite3 *raw(BhDb *db) {
        return ((SqliteDb *) db)->db;
}

static sqlite3_stmt *raw_stmt(BhDbStmt *st) {
        return ((SqliteStmt *) st)->st;
}

/* ---- errors */

static BhStoreError classify(int rc, int code) {
        switch (rc & 0xff) {
        case SQLITE_FULL:
                return BH_STORE_ERROR_FULL;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return BH_STORE_ERROR_BUSY;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return BH_STORE_ERROR_DAMAGED;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
                if (code == ENOSPC || code == EDQUOT)
                        return BH_STORE_ERROR_FULL;
                return rc == SQLITE_IOERR_SHORT_READ || rc == SQLITE_IOERR_CORRUPTFS ? BH_STORE_ERROR_DAMAGED : BH_STORE_ERROR_FAILED;
        case SQLITE_INTERRUPT: /* on_progress() */
                return BH_STORE_ERROR_TIMEOUT;
        case SQLITE_CONSTRAINT:
                return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ? BH_STORE_ERROR_EXISTS : BH_STORE_ERROR_FAILED;
        default:
                return BH_STORE_ERROR_FAILED;
        }
}

gboolean bh_sqlite_fail(sqlite3 *db, int rc, const char *doing, const char *path, GError **error) {
        const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
        int code = db && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) ? sqlite3_system_errno(db) : 0;
        BhStoreError kind = classify(rc, code);

        switch (kind) {
        case BH_STORE_ERROR_FULL:
                g_set_error(error, BH_STORE_ERROR, kind,
                            "cannot %s %s: there is no room left on its disk; free some (nothing that is stored is lost, and storing goes on "
                            "by itself)", doing, path);
                break;
        case BH_STORE_ERROR_BUSY:
                g_set_error(error, BH_STORE_ERROR, kind, "cannot %s %s: another process has it locked; `fuser %s` tells which", doing, path,
                            path);
                break;
        case BH_STORE_ERROR_TIMEOUT:
                g_set_error(error, BH_STORE_ERROR, kind, "the answer takes longer than it may: ask for less (a shorter time, a filter, no count)");
                break;
        case BH_STORE_ERROR_DAMAGED:
                g_set_error(error, BH_STORE_ERROR, kind, "the database %s is damaged (%s): start the central anew, which then puts the "
                            "newest sound backup in its place", path, text);
                break;
        default:
                g_set_error(error, BH_STORE_ERROR, kind, "cannot %s %s: %s%s%s", doing, path, text, code ? ": " : "",
                            code ? g_strerror(code) : "");
                break;
        }
        return FALSE;
}

gboolean bh_sqlite_exec(sqlite3 *db, const char *sql, const char *path, GError **error) {
        int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

        return rc == SQLITE_OK || bh_sqlite_fail(db, rc, "use", path, error);
}

/* ---- connections */

/* Damage that was met in use: the next start must look more closely than the quick check does, which passes over indexes. */
static gboolean fail(BhDb *db, int rc, const char *doing, GError **error) {
        g_autoptr(GError) e = NULL;

        bh_sqlite_fail(raw(db), rc, doing, db->site->path, &e);
        if (e->code == BH_STORE_ERROR_DAMAGED)
                bh_sqlite_suspect(db->site);
        if (e->code == BH_STORE_ERROR_FULL)
                ((SqliteDb *) db)->full = TRUE;
        g_propagate_error(error, g_steal_pointer(&e));
        return FALSE;
}

sqlite3 *bh_sqlite_open(const char *path, BhDbMode mode, GError **error) {
        sqlite3 *db = NULL;
        int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);

        if (rc != SQLITE_OK) {
                bh_sqlite_fail(db, rc, "open", path, error);
                sqlite3_close(db);
                return NULL;
        }
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_timeout(db, BH_SQLITE_BUSY_MS);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        /* Temporary tables in memory: the program's sandbox lets it write nowhere else. */
        if (!bh_sqlite_exec(db, mode == BH_DB_READER ? "PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON; PRAGMA query_only=ON"
                                                     : "PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON;"
                                                       "PRAGMA synchronous=FULL; PRAGMA cache_size=-" BH_SQLITE_WRITER_CACHE,
                            path, error)) {
                sqlite3_close(db);
                return NULL;
        }
        return db;
}

static BhDb *connect_to(BhDbSite *site, BhDbMode mode, GError **error) {
        g_autofree char *wal = g_strdup_printf("PRAGMA journal_mode=WAL; PRAGMA journal_size_limit=%d", BH_SQLITE_WAL_KEEP);
        sqlite3 *db = bh_sqlite_open(site->path, mode, error);

        if (!db)
                return NULL;
        /* The mode is a property of the file, set when it was made; a restored backup gets it anew. */
        if (mode == BH_DB_WRITER && !bh_sqlite_exec(db, wal, site->path, error)) {
                sqlite3_close(db);
                return NULL;
        }
        SqliteDb *d = g_new0(SqliteDb, 1);
        d->db = db;
        return &d->base;
}

static void disconnect(BhDb *db) {
        sqlite3_close(raw(db));
        g_free(db);
}

static gboolean exec(BhDb *db, const char *sql, GError **error) {
        int rc = sqlite3_exec(raw(db), sql, NULL, NULL, NULL);

        return rc == SQLITE_OK || fail(db, rc, "use", error);
}

static gboolean begin(BhDb *db, gboolean writing, GError **error) {
        return exec(db, writing ? "BEGIN IMMEDIATE" : "BEGIN", error);
}

static gboolean commit(BhDb *db, GError **error) {
        return exec(db, "COMMIT", error);
}

static void rollback(BhDb *db) {
        if (!sqlite3_get_autocommit(raw(db)))
                sqlite3_exec(raw(db), "ROLLBACK", NULL, NULL, NULL);
        /*
         * Write the log back, as far as readers allow and without waiting for them: the next transaction then begins at its start and
         * finds room there, if only to delete something.
         */
        if (((SqliteDb *) db)->full)
                sqlite3_wal_checkpoint_v2(raw(db), NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        ((SqliteDb *) db)->full = FALSE;
}

static int on_progress(void *db) {
        return g_get_monotonic_time() > ((SqliteDb *) db)->until_us;
}

static void set_deadline(BhDb *db, gint64 until_us) {
        ((SqliteDb *) db)->until_us = until_us;
        sqlite3_progress_handler(raw(db), until_us ? DEADLINE_STEPS : 0, until_us ? on_progress : NULL, db);
}

static gint64 changes(BhDb *db) {
        return sqlite3_changes(raw(db));
}

static gint64 last_id(BhDb *db) {
        return sqlite3_last_insert_rowid(raw(db));
}

static gboolean usage(BhDb *db, guint64 *used, guint64 *file, GError **error) {
        gint64 pages, size, unused;

        if (!bh_db_get_int(db, &pages, NULL, error, "PRAGMA page_count", "") ||
            !bh_db_get_int(db, &size, NULL, error, "PRAGMA page_size", "") ||
            !bh_db_get_int(db, &unused, NULL, error, "PRAGMA freelist_count", ""))
                return FALSE;
        *used = (guint64) ((pages - unused) * size);
        *file = (guint64) (pages * size);
        return TRUE;
}

static gboolean compact(BhDb *db, GError **error) {
        /* 2,000 pages at a time: each is a transaction that holds up ingest. */
        return exec(db, "PRAGMA incremental_vacuum(2000)", error);
}

/* ---- statements */

static BhDbStmt *prepare(BhDb *db, const char *sql, GError **error) {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v3(raw(db), sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);

        if (rc != SQLITE_OK) {
                fail(db, rc, "use", error);
                return NULL;
        }
        SqliteStmt *s = g_new0(SqliteStmt, 1);
        s->st = st;
        return &s->base;
}

static void finalize(BhDbStmt *st) {
        sqlite3_finalize(raw_stmt(st));
        g_free(st);
}

static void reset(BhDbStmt *st) {
        sqlite3_reset(raw_stmt(st));
        sqlite3_clear_bindings(raw_stmt(st));
}

/* A bind fails only without memory (GLib aborts then as well) or on a wrong index, which is our mistake. */
static void bind_null(BhDbStmt *st, guint i) {
        g_assert(sqlite3_bind_null(raw_stmt(st), (int) i + 1) == SQLITE_OK);
}

static void bind_int(BhDbStmt *st, guint i, gint64 v) {
        g_assert(sqlite3_bind_int64(raw_stmt(st), (int) i + 1, v) == SQLITE_OK);
}

static void bind_text(BhDbStmt *st, guint i, const char *v) {
        g_assert(sqlite3_bind_text(raw_stmt(st), (int) i + 1, v, -1, SQLITE_STATIC) == SQLITE_OK);
}

static void bind_blob(BhDbStmt *st, guint i, const void *v, gsize len) {
        /* A NULL pointer would bind NULL. */
        g_assert(sqlite3_bind_blob64(raw_stmt(st), (int) i + 1, v ? v : "", len, SQLITE_STATIC) == SQLITE_OK);
}

static BhDbStep step(BhDbStmt *st, GError **error) {
        int rc = sqlite3_step(raw_stmt(st));

        if (rc == SQLITE_ROW)
                return BH_DB_ROW;
        if (rc == SQLITE_DONE)
                return BH_DB_DONE;
        fail(st->db, rc, sqlite3_stmt_readonly(raw_stmt(st)) ? "read" : "write to", error);
        return BH_DB_FAILED;
}

static gint64 column_int(BhDbStmt *st, guint i) {
        return sqlite3_column_int64(raw_stmt(st), (int) i);
}

static const char *column_text(BhDbStmt *st, guint i) {
        const unsigned char *text = sqlite3_column_text(raw_stmt(st), (int) i);

        return text ? (const char *) text : "";
}

static const void *column_blob(BhDbStmt *st, guint i, gsize *len) {
        const void *p = sqlite3_column_blob(raw_stmt(st), (int) i);

        *len = (gsize) sqlite3_column_bytes(raw_stmt(st), (int) i);
        return p;
}

const BhDbDriver bh_db_sqlite = {
        .scheme = "sqlite",
        .site_open = bh_sqlite_site_open,
        .site_settle = bh_sqlite_site_settle,
        .site_restore = bh_sqlite_site_restore,
        .site_backup = bh_sqlite_site_backup,
        .site_close = bh_sqlite_site_close,
        .connect = connect_to,
        .disconnect = disconnect,
        .exec = exec,
        .begin = begin,
        .commit = commit,
        .rollback = rollback,
        .set_deadline = set_deadline,
        .changes = changes,
        .last_id = last_id,
        .usage = usage,
        .compact = compact,
        .prepare = prepare,
        .finalize = finalize,
        .reset = reset,
        .bind_null = bind_null,
        .bind_int = bind_int,
        .bind_text = bind_text,
        .bind_blob = bind_blob,
        .step = step,
        .column_int = column_int,
        .column_text = column_text,
        .column_blob = column_blob,
};
