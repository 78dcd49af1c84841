/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

#define TOKENS_LISTED 10000
#define USED_EVERY_NS (60 * G_GINT64_CONSTANT(1000000000))

void bh_store_token_free(BhStoreToken *t) {
        if (!t)
                return;
        g_free(t->id);
        g_free(t->hash);
        g_free(t->user);
        g_free(t->name);
        g_free(t);
}

static gboolean check_token(const BhStoreToken *t, GError **error) {
        gsize len = t->id ? strlen(t->id) : 0;

        if (!len || len > BH_STORE_NAME_MAX || !g_utf8_validate(t->id, -1, NULL)) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "the token's id is not a text of 1 to %d bytes", BH_STORE_NAME_MAX);
                return FALSE;
        }
        if (t->role < BH_STORE_ROLE_VIEWER || t->role > BH_STORE_ROLE_ADMIN) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "that is no role: write admin, analyst or viewer");
                return FALSE;
        }
        return bh_store_check_hash(t->hash, "token's hash", FALSE, error);
}

static gboolean insert_token(BhStore *s, const BhStoreToken *t, const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = s->writer;
        gboolean found;
        gint64 n;

        if (!bh_store_has_user(db, t->user, error) ||
            !bh_db_get_int(db, &n, NULL, error,
                           "SELECT count(*) FROM tokens WHERE user_name = ? AND revoked_ns = 0 AND (expires_ns = 0 OR expires_ns > ?)", "ti", t->user, s->tx_now))
                return FALSE;
        if (n >= BH_STORE_TOKENS_PER_USER) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "\"%s\" has %d tokens, which is as many as a user may have: revoke some",
                            t->user, BH_STORE_TOKENS_PER_USER);
                return FALSE;
        }
        if (!bh_db_get_int(db, &n, &found, error, "SELECT 1 FROM tokens WHERE id = ? OR hash = ?", "tt", t->id, t->hash))
                return FALSE;
        if (found) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_EXISTS, "there is a token \"%s\" already", t->id);
                return FALSE;
        }
        return bh_db_run(db, error,
                         "DELETE FROM tokens WHERE user_name = ? AND id IN (SELECT id FROM tokens WHERE user_name = ? AND (revoked_ns > 0 OR "
                         "(expires_ns > 0 AND expires_ns <= ?)) ORDER BY created_ns DESC, id LIMIT 100000 OFFSET ?)", "ttii", t->user, t->user, s->tx_now,
                         (gint64) BH_STORE_TOKENS_DEAD) &&
               bh_db_run(db, error,
                         "INSERT INTO tokens (id, hash, user_name, role, name, created_ns, expires_ns, last_used_ns, revoked_ns) "
                         "VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)", "tttitii", t->id, t->hash, t->user, (gint64) t->role,
                         bh_store_clean(s, t->name, BH_STORE_KEY_MAX), s->tx_now, t->expires_ns) &&
               bh_store_put_audit(s, audit, error);
}

gboolean bh_store_token_create(BhStore *s, const BhStoreToken *token, const BhStoreAuditEntry *audit, GError **error) {
        if (!check_token(token, error) || !bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, insert_token(s, token, audit, error), error);
}

gboolean bh_store_token_used(BhStore *s, const char *id, GError **error) {
        gint64 last, now = s->now();
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_db_get_int(db, &last, NULL, error, "SELECT last_used_ns FROM tokens WHERE id = ?", "t", id);
        bh_store_read_done(s, db);
        if (!ok || ABS(now - last) < USED_EVERY_NS)
                return ok;
        db = bh_store_begin(s, error);
        if (!db)
                return FALSE;
        return bh_store_end(s, bh_db_run(db, error, "UPDATE tokens SET last_used_ns = ? WHERE id = ?", "it", now, id), error);
}

gboolean bh_store_token_revoke(BhStore *s, const char *id, const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = bh_store_begin(s, error);
        gboolean found, ok;
        gint64 revoked;

        if (!db)
                return FALSE;
        ok = bh_db_get_int(db, &revoked, &found, error, "SELECT revoked_ns FROM tokens WHERE id = ?", "t", id) &&
             (found || bh_store_not_found(error, "token", id));
        if (ok && !revoked)
                ok = bh_db_run(db, error, "UPDATE tokens SET revoked_ns = ? WHERE id = ?", "it", s->tx_now, id) && bh_store_put_audit(s, audit, error);
        return bh_store_end(s, ok, error);
}

/* ---- queries */

static GPtrArray *read_tokens(BhStore *s, const char *condition, const char *value, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_token_free);
        BhDbStep step = BH_DB_FAILED;
        gint64 now = s->now();
        g_auto(BhWhere) w;
        guint next;

        bh_where_init(&w);
        bh_where_text(&w, condition, value);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db,
                                      "SELECT t.id, t.user_name, t.role, t.name, t.created_ns, t.expires_ns, t.last_used_ns, t.revoked_ns, u.role, "
                                      "u.disabled FROM tokens t JOIN users u ON u.name = t.user_name", " ORDER BY t.created_ns DESC, t.id LIMIT ?",
                                      &next, error);
        if (st)
                bh_db_bind_int(st, next, TOKENS_LISTED);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreToken *t = g_new0(BhStoreToken, 1);

                t->id = bh_db_text(st, 0);
                t->hash = g_strdup("");
                t->user = bh_db_text(st, 1);
                t->role = bh_store_role_from(bh_db_int(st, 2));
                t->name = bh_db_text(st, 3);
                t->created_ns = bh_db_int(st, 4);
                t->expires_ns = bh_db_int(st, 5);
                t->last_used_ns = bh_db_int(st, 6);
                t->revoked_ns = bh_db_int(st, 7);
                t->effective = t->revoked_ns || (t->expires_ns && t->expires_ns <= now) || bh_db_int(st, 9)
                                       ? BH_STORE_ROLE_NONE
                                       : MIN(t->role, bh_store_role_from(bh_db_int(st, 8)));
                g_ptr_array_add(rows, t);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

BhStoreToken *bh_store_token_by_hash(BhStore *s, const char *hash, GError **error) {
        g_autoptr(GPtrArray) rows = read_tokens(s, "t.hash = ?", hash, error);
        BhStoreToken *t = rows && rows->len ? g_ptr_array_index(rows, 0) : NULL;

        if (!rows)
                return NULL;
        if (!t || t->effective == BH_STORE_ROLE_NONE) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND, "there is no such token, or it is no longer good");
                return NULL;
        }
        g_free(t->hash);
        t->hash = g_strdup(hash);
        return g_ptr_array_steal_index(rows, 0);
}

BhStoreToken *bh_store_token(BhStore *s, const char *id, GError **error) {
        g_autoptr(GPtrArray) rows = read_tokens(s, "t.id = ?", id, error);

        if (rows && !rows->len)
                bh_store_not_found(error, "token", id);
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

GPtrArray *bh_store_tokens(BhStore *s, const char *user, GError **error) {
        return read_tokens(s, "t.user_name = ?", user, error);
}
