/* SPDX-License-Identifier: Apache-2.0 */
#include "store/db.h"

#include <string.h>

static const BhDbDriver *const drivers[] = { &bh_db_sqlite };

static const BhDbDriver *find_driver(const char *uri, const char **place, GError **error) {
        for (guint i = 0; i < G_N_ELEMENTS(drivers); i++) {
                gsize len = strlen(drivers[i]->scheme);

                if (strncmp(uri, drivers[i]->scheme, len) == 0 && uri[len] == ':') {
                        *place = uri + len + 1;
                        return drivers[i];
                }
        }
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "cannot open the store \"%s\": write sqlite:/absolute/path", uri);
        return NULL;
}

BhDbSite *bh_db_site_open(const char *uri, BhStoreOpened *opened, GError **error) {
        const char *place;
        const BhDbDriver *driver = find_driver(uri, &place, error);

        return driver ? driver->site_open(place, opened, error) : NULL;
}

gboolean bh_db_site_settle(BhDbSite *site, GError **error) {
        return site->driver->site_settle(site, error);
}

gboolean bh_db_site_backup(BhDbSite *site, const char *path, GError **error) {
        return site->driver->site_backup(site, path, error);
}

void bh_db_site_close(BhDbSite *site) {
        if (site)
                site->driver->site_close(site);
}

gboolean bh_db_restore(const char *uri, const char *backup, BhStoreOpened *opened, GError **error) {
        const char *place;
        const BhDbDriver *driver = find_driver(uri, &place, error);

        return driver && driver->site_restore(place, backup, opened, error);
}

/* ---- connections */

static void finalize(gpointer st) {
        ((BhDbStmt *) st)->db->driver->finalize(st);
}

BhDb *bh_db_connect(BhDbSite *site, BhDbMode mode, GError **error) {
        BhDb *db = site->driver->connect(site, mode, error);

        if (db) {
                db->driver = site->driver;
                db->site = site;
                db->statements = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, finalize);
        }
        return db;
}

void bh_db_disconnect(BhDb *db) {
        if (!db)
                return;
        g_hash_table_destroy(db->statements);
        db->driver->disconnect(db);
}

gboolean bh_db_exec(BhDb *db, const char *sql, GError **error) {
        return db->driver->exec(db, sql, error);
}

gboolean bh_db_begin(BhDb *db, gboolean writing, GError **error) {
        return db->driver->begin(db, writing, error);
}

gboolean bh_db_commit(BhDb *db, GError **error) {
        return db->driver->commit(db, error);
}

void bh_db_rollback(BhDb *db) {
        db->driver->rollback(db);
}

void bh_db_set_deadline(BhDb *db, gint64 until_us) {
        db->driver->set_deadline(db, until_us);
}

gint64 bh_db_changes(BhDb *db) {
        return db->driver->changes(db);
}

gint64 bh_db_last_id(BhDb *db) {
        return db->driver->last_id(db);
}

gboolean bh_db_usage(BhDb *db, guint64 *used, guint64 *file, GError **error) {
        return db->driver->usage(db, used, file, error);
}

gboolean bh_db_compact(BhDb *db, GError **error) {
        return db->driver->compact(db, error);
}

/* ---- statements */

static gboolean is_idle(gpointer sql, gpointer st, gpointer data) {
        return !((BhDbStmt *) st)->busy;
}

static BhDbStmt *prepare(BhDb *db, const char *sql, GError **error) {
        BhDbStmt *st = g_hash_table_lookup(db->statements, sql);

        if (!st) {
                if (g_hash_table_size(db->statements) >= BH_DB_STATEMENTS_MAX)
                        g_hash_table_foreach_remove(db->statements, is_idle, NULL);
                st = db->driver->prepare(db, sql, error);
                if (!st)
                        return NULL;
                st->db = db;
                g_hash_table_insert(db->statements, g_strdup(sql), st);
        }
        g_assert(!st->busy);
        st->busy = TRUE;
        return st;
}

BhDbStmt *bh_db_query_va(BhDb *db, GError **error, const char *sql, const char *types, va_list args) {
        const BhDbDriver *d = db->driver;
        BhDbStmt *st = prepare(db, sql, error);

        for (guint i = 0; st && types[i]; i++) {
                const char *text;
                const void *blob;
                guint64 number;

                switch (types[i]) {
                case 't':
                        text = va_arg(args, const char *);
                        d->bind_text(st, i, text ? text : "");
                        break;
                case 'T':
                        text = va_arg(args, const char *);
                        text ? d->bind_text(st, i, text) : d->bind_null(st, i);
                        break;
                case 'i':
                        d->bind_int(st, i, va_arg(args, gint64));
                        break;
                case 'u':
                        number = va_arg(args, guint64);
                        d->bind_int(st, i, (gint64) MIN(number, (guint64) G_MAXINT64));
                        break;
                case 'o':
                        d->bind_int(st, i, va_arg(args, gboolean) != 0);
                        break;
                case 'b':
                        blob = va_arg(args, const void *);
                        d->bind_blob(st, i, blob, va_arg(args, gsize));
                        break;
                default:
                        g_assert_not_reached();
                }
        }
        return st;
}

BhDbStmt *bh_db_query(BhDb *db, GError **error, const char *sql, const char *types, ...) {
        va_list args;

        va_start(args, types);
        BhDbStmt *st = bh_db_query_va(db, error, sql, types, args);
        va_end(args);
        return st;
}

BhDbStep bh_db_step(BhDbStmt *st, GError **error) {
        return st->db->driver->step(st, error);
}

void bh_db_done(BhDbStmt *st) {
        if (!st)
                return;
        st->db->driver->reset(st);
        st->busy = FALSE;
}

gboolean bh_db_run(BhDb *db, GError **error, const char *sql, const char *types, ...) {
        BhDbStep step = BH_DB_FAILED;
        va_list args;

        va_start(args, types);
        BhDbStmt *st = bh_db_query_va(db, error, sql, types, args);
        va_end(args);
        if (st)
                while ((step = bh_db_step(st, error)) == BH_DB_ROW)
                        ;
        bh_db_done(st);
        return step == BH_DB_DONE;
}

gboolean bh_db_get_int(BhDb *db, gint64 *out, gboolean *found, GError **error, const char *sql, const char *types, ...) {
        BhDbStep step = BH_DB_FAILED;
        va_list args;

        va_start(args, types);
        BhDbStmt *st = bh_db_query_va(db, error, sql, types, args);
        va_end(args);
        if (st && (step = bh_db_step(st, error)) != BH_DB_FAILED) {
                *out = step == BH_DB_ROW ? bh_db_int(st, 0) : 0;
                if (found)
                        *found = step == BH_DB_ROW;
        }
        bh_db_done(st);
        return step != BH_DB_FAILED;
}

gboolean bh_db_get_text(BhDb *db, char **out, GError **error, const char *sql, const char *types, ...) {
        BhDbStep step = BH_DB_FAILED;
        va_list args;

        va_start(args, types);
        BhDbStmt *st = bh_db_query_va(db, error, sql, types, args);
        va_end(args);
        if (st && (step = bh_db_step(st, error)) != BH_DB_FAILED)
                *out = step == BH_DB_ROW ? bh_db_text(st, 0) : NULL;
        bh_db_done(st);
        return step != BH_DB_FAILED;
}

gint64 bh_db_int(BhDbStmt *st, guint i) {
        return st->db->driver->column_int(st, i);
}

const char *bh_db_peek(BhDbStmt *st, guint i) {
        return st->db->driver->column_text(st, i);
}

char *bh_db_text(BhDbStmt *st, guint i) {
        const char *text = bh_db_peek(st, i);

        st->db->taken += strlen(text);
        /* What we wrote is valid; what a failing disk made of it need not be. */
        return g_utf8_validate(text, -1, NULL) ? g_strdup(text) : g_utf8_make_valid(text, -1);
}

const void *bh_db_peek_blob(BhDbStmt *st, guint i, gsize *len) {
        return st->db->driver->column_blob(st, i, len);
}

GBytes *bh_db_blob(BhDbStmt *st, guint i) {
        gsize len;
        const void *p = bh_db_peek_blob(st, i, &len);

        return len ? g_bytes_new(p, len) : NULL;
}

void bh_db_bind_text(BhDbStmt *st, guint i, const char *v) {
        st->db->driver->bind_text(st, i, v ? v : "");
}

void bh_db_bind_int(BhDbStmt *st, guint i, gint64 v) {
        st->db->driver->bind_int(st, i, v);
}
