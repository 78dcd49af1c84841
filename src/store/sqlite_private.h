/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared between the SQLite driver's connections (db_sqlite.c) and its files (sqlite_site.c). Private to those two and tests.
 */
#pragma once
#include <sqlite3.h>

#include "store/db.h"

#define BH_SQLITE_APPLICATION 0x424b4844 /* "BKHD", in the file's header: this database is ours */
#define BH_SQLITE_BUSY_MS 30000          /* another process's transaction, or a checkpoint */
#define BH_SQLITE_WAL_KEEP (16 << 20)    /* bytes of the write-ahead log that are kept once it is written back */
#define BH_SQLITE_WRITER_CACHE "16384" /* KiB: a batch of flows must not spill into the log what it changes again */
#define BH_SQLITE_DAMAGED_KEPT 4         /* damaged databases that are kept; the oldest goes */

/*
 * Sets *error from what SQLite says: full, busy, damaged, foreign (not a database at all counts as damaged), failed. Returns FALSE.
 * `db` may be NULL. `doing` as in "cannot <doing> <path>: …".
 */
gboolean bh_sqlite_fail(sqlite3 *db, int rc, const char *doing, const char *path, GError **error);

/* A connection with our pragmas to a file that exists. Does not write to it. */
sqlite3 *bh_sqlite_open(const char *path, BhDbMode mode, GError **error);

/* Runs statements without parameters. */
gboolean bh_sqlite_exec(sqlite3 *db, const char *sql, const char *path, GError **error);

/* Remembers beside the database that it was found damaged in use. */
void bh_sqlite_suspect(BhDbSite *site);

BhDbSite *bh_sqlite_site_open(const char *place, BhStoreOpened *opened, GError **error);
gboolean bh_sqlite_site_settle(BhDbSite *site, GError **error);
gboolean bh_sqlite_site_restore(const char *place, const char *backup, BhStoreOpened *opened, GError **error);
gboolean bh_sqlite_site_backup(BhDbSite *site, const char *path, GError **error);
void bh_sqlite_site_close(BhDbSite *site);
