/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

#define TOUCH_EVERY_NS (30 * G_GINT64_CONSTANT(1000000000))

void bh_store_session_free(BhStoreSession *x) {
        if (!x)
                return;
        g_free(x->hash);
        g_free(x->user);
        g_free(x->csrf_hash);
        g_free(x->address);
        g_free(x->agent);
        g_free(x);
}

/* ---- changes */

static gboolean insert_session(BhStore *s, const BhStoreSession *x, const char *replaces, const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = s->writer;
        gboolean found;
        gint64 one;

        if (!bh_db_get_int(db, &one, &found, error, "SELECT 1 FROM users WHERE name = ? AND disabled = 0", "t", x->user))
                return FALSE;
        if (!found)
                return bh_store_not_found(error, "user who may log in", x->user);
        return (!replaces || bh_db_run(db, error, "DELETE FROM sessions WHERE hash = ?", "t", replaces)) &&
               bh_db_run(db, error, "DELETE FROM sessions WHERE user_name = ? AND expires_ns <= ?", "ti", x->user, s->tx_now) &&
               bh_db_run(db, error,
                         "DELETE FROM sessions WHERE user_name = ? AND hash NOT IN "
                         "(SELECT hash FROM sessions WHERE user_name = ? ORDER BY last_seen_ns DESC, created_ns DESC LIMIT ?)", "tti", x->user, x->user,
                         (gint64) BH_STORE_SESSIONS_PER_USER - 1) &&
               bh_db_run(db, error,
                         "INSERT INTO sessions (hash, user_name, csrf_hash, address, agent, created_ns, last_seen_ns, expires_ns) "
                         "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "tttttiii", x->hash, x->user, x->csrf_hash, bh_store_clean(s, x->address, BH_STORE_KEY_MAX),
                         bh_store_clean(s, x->agent, BH_STORE_KEY_MAX), s->tx_now, s->tx_now, x->expires_ns) &&
               bh_db_run(db, error, "UPDATE users SET last_login_ns = ? WHERE name = ?", "it", s->tx_now, x->user) && bh_store_put_audit(s, audit, error);
}

gboolean bh_store_session_create(BhStore *s, const BhStoreSession *session, const char *replaces, const BhStoreAuditEntry *audit,
                                 GError **error) {
        if (!bh_store_check_hash(session->hash, "session's hash", FALSE, error) ||
            !bh_store_check_hash(session->csrf_hash, "hash of the session's CSRF token", TRUE, error) || !bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, insert_session(s, session, replaces, audit, error), error);
}

gboolean bh_store_session_touch(BhStore *s, const char *hash, GError **error) {
        gint64 last, now = s->now();
        gboolean found;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_db_get_int(db, &last, &found, error, "SELECT last_seen_ns FROM sessions WHERE hash = ?", "t", hash);
        bh_store_read_done(s, db);
        if (!ok || !found || ABS(now - last) < TOUCH_EVERY_NS)
                return ok;
        db = bh_store_begin(s, error);
        if (!db)
                return FALSE;
        return bh_store_end(s, bh_db_run(db, error, "UPDATE sessions SET last_seen_ns = ? WHERE hash = ?", "it", now, hash), error);
}

gboolean bh_store_session_delete(BhStore *s, const char *hash, const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = bh_store_begin(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_db_run(db, error, "DELETE FROM sessions WHERE hash = ?", "t", hash);
        if (ok && bh_db_changes(db))
                ok = bh_store_put_audit(s, audit, error);
        return bh_store_end(s, ok, error);
}

gboolean bh_store_sessions_delete(BhStore *s, const char *user, const char *keep, guint *ended, const BhStoreAuditEntry *audit,
                                  GError **error) {
        BhDb *db = bh_store_begin(s, error);
        gint64 n = 0;

        if (!db)
                return FALSE;
        gboolean ok = bh_db_run(db, error, "DELETE FROM sessions WHERE user_name = ? AND hash <> ?", "tt", user, keep);
        if (ok)
                n = bh_db_changes(db);
        ok = bh_store_end(s, ok && bh_store_put_audit(s, audit, error), error);
        if (ok && ended)
                *ended = (guint) n;
        return ok;
}

/* ---- queries */

/* Sessions that have not ended. */
static GPtrArray *read_sessions(BhStore *s, const char *condition, const char *value, gint64 idle_ns, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_session_free);
        BhDbStep step = BH_DB_FAILED;
        gint64 now = s->now();
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, condition, value);
        bh_where_int(&w, "x.expires_ns > ?", now);
        if (idle_ns)
                bh_where_int(&w, "x.last_seen_ns > ?", now - idle_ns);
        bh_where_sql(&w, "u.disabled = 0");
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db,
                                      "SELECT x.hash, x.user_name, x.csrf_hash, x.address, x.agent, x.created_ns, x.last_seen_ns, x.expires_ns, "
                                      "u.role, u.must_change FROM sessions x JOIN users u ON u.name = x.user_name",
                                      " ORDER BY x.last_seen_ns DESC, x.hash", NULL, error);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreSession *x = g_new0(BhStoreSession, 1);

                x->hash = bh_db_text(st, 0);
                x->user = bh_db_text(st, 1);
                x->csrf_hash = bh_db_text(st, 2);
                x->address = bh_db_text(st, 3);
                x->agent = bh_db_text(st, 4);
                x->created_ns = bh_db_int(st, 5);
                x->last_seen_ns = bh_db_int(st, 6);
                x->expires_ns = bh_db_int(st, 7);
                x->role = bh_store_role_from(bh_db_int(st, 8));
                x->must_change = bh_db_int(st, 9) != 0;
                g_ptr_array_add(rows, x);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

BhStoreSession *bh_store_session_by_hash(BhStore *s, const char *hash, gint64 idle_ns, GError **error) {
        g_autoptr(GPtrArray) rows = read_sessions(s, "x.hash = ?", hash, idle_ns, error);

        if (rows && !rows->len)
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND, "there is no such session, or it has ended");
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

GPtrArray *bh_store_sessions(BhStore *s, const char *user, GError **error) {
        return read_sessions(s, "x.user_name = ?", user, 0, error);
}
