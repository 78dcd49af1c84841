/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

static const char *const role_names[] = { "none", "viewer", "analyst", "admin" };

const char *bh_store_role_name(BhStoreRole role) {
        return (guint) role < G_N_ELEMENTS(role_names) ? role_names[role] : "none";
}

BhStoreRole bh_store_role_parse(const char *name) {
        for (guint i = BH_STORE_ROLE_VIEWER; i < G_N_ELEMENTS(role_names); i++)
                if (strcmp(name, role_names[i]) == 0)
                        return (BhStoreRole) i;
        return BH_STORE_ROLE_NONE;
}

void bh_store_user_free(BhStoreUser *u) {
        if (!u)
                return;
        g_free(u->name);
        g_free(u->password);
        g_free(u);
}

/* ---- checks */

gboolean bh_store_check_hash(const char *hash, const char *what, gboolean may_be_empty, GError **error) {
        gsize len = hash ? strlen(hash) : 0;

        if ((len || may_be_empty) && len <= BH_STORE_HASH_MAX && g_utf8_validate_len(hash ? hash : "", len, NULL))
                return TRUE;
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "the %s is not a text of 1 to %d bytes", what, BH_STORE_HASH_MAX);
        return FALSE;
}

static gboolean check_name(const char *name, GError **error) {
        gsize len = strlen(name);
        gboolean good = len && len <= BH_STORE_NAME_MAX && (g_ascii_islower(name[0]) || g_ascii_isdigit(name[0]));

        for (gsize i = 0; good && i < len; i++)
                good = g_ascii_islower(name[i]) || g_ascii_isdigit(name[i]) || strchr("._@-", name[i]);
        if (!good)
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID,
                            "that is not a user's name: write 1 to %d of a-z, 0-9, '.', '_', '-' and '@', beginning with a letter or a digit", BH_STORE_NAME_MAX);
        return good;
}

static gboolean check_role(BhStoreRole role, GError **error) {
        if (role >= BH_STORE_ROLE_VIEWER && role <= BH_STORE_ROLE_ADMIN)
                return TRUE;
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "that is no role: write admin, analyst or viewer");
        return FALSE;
}

/* After a change of users, before its commit. */
static gboolean still_has_admin(BhDb *db, GError **error) {
        gint64 admins;

        if (!bh_db_get_int(db, &admins, NULL, error, "SELECT count(*) FROM users WHERE role = ? AND disabled = 0", "i", (gint64) BH_STORE_ROLE_ADMIN))
                return FALSE;
        if (!admins)
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT,
                            "this is the last admin who can log in: make another one first, or nobody could administer any more");
        return admins > 0;
}

gboolean bh_store_has_user(BhDb *db, const char *name, GError **error) {
        gboolean found;
        gint64 one;

        return bh_db_get_int(db, &one, &found, error, "SELECT 1 FROM users WHERE name = ?", "t", name) &&
               (found || bh_store_not_found(error, "user", name));
}

/* ---- changes */

static gboolean insert_user(BhStore *s, const char *name, BhStoreRole role, const char *password, gboolean must_change, gboolean first,
                            const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = s->writer;
        gboolean found;
        gint64 n;

        if (!bh_db_get_int(db, &n, NULL, error, "SELECT count(*) FROM users", ""))
                return FALSE;
        if (first && n) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_EXISTS, "there are users already");
                return FALSE;
        }
        if (n >= BH_STORE_USERS_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there are %d users, which is as many as there may be", BH_STORE_USERS_MAX);
                return FALSE;
        }
        if (!bh_db_get_int(db, &n, &found, error, "SELECT 1 FROM users WHERE name = ?", "t", name))
                return FALSE;
        if (found) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_EXISTS, "there is a user \"%s\" already", name);
                return FALSE;
        }
        return bh_db_run(db, error,
                         "INSERT INTO users (name, role, password, disabled, must_change, created_ns, changed_ns, last_login_ns) "
                         "VALUES (?, ?, ?, 0, ?, ?, ?, 0)", "titoii", name, (gint64) role, password, must_change, s->tx_now, s->tx_now) &&
               bh_store_put_audit(s, audit, error);
}

gboolean bh_store_user_create(BhStore *s, const char *name, BhStoreRole role, const char *password_hash, gboolean must_change,
                              const BhStoreAuditEntry *audit, GError **error) {
        if (!check_name(name, error) || !check_role(role, error) || !bh_store_check_hash(password_hash, "password's hash", TRUE, error) ||
            !bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, insert_user(s, name, role, password_hash, must_change, FALSE, audit, error), error);
}

gboolean bh_store_user_create_first(BhStore *s, const char *name, const char *password_hash, gboolean must_change,
                                    const BhStoreAuditEntry *audit, GError **error) {
        if (!check_name(name, error) || !bh_store_check_hash(password_hash, "password's hash", TRUE, error) || !bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, insert_user(s, name, BH_STORE_ROLE_ADMIN, password_hash, must_change, TRUE, audit, error), error);
}

gboolean bh_store_user_set_password(BhStore *s, const char *name, const char *password_hash, gboolean must_change,
                                    const char *keep_session, const BhStoreAuditEntry *audit, GError **error) {
        if (!bh_store_check_hash(password_hash, "password's hash", TRUE, error))
                return FALSE;
        BhDb *db = bh_store_begin(s, error);
        if (!db)
                return FALSE;
        gboolean ok = bh_store_has_user(db, name, error) &&
                      bh_db_run(db, error, "UPDATE users SET password = ?, must_change = ?, changed_ns = ? WHERE name = ?", "toit", password_hash,
                                must_change, s->tx_now, name) &&
                      bh_db_run(db, error, "DELETE FROM sessions WHERE user_name = ? AND hash <> ?", "tt", name, keep_session) &&
                      /* given by somebody else: the account is taken back, with all that opens it */
                      (!must_change || bh_db_run(db, error, "UPDATE tokens SET revoked_ns = ? WHERE user_name = ? AND revoked_ns = 0", "it", s->tx_now, name)) &&
                      bh_store_put_audit(s, audit, error);
        return bh_store_end(s, ok, error);
}

gboolean bh_store_user_rehash(BhStore *s, const char *name, const char *was, const char *password_hash, GError **error) {
        if (!bh_store_check_hash(password_hash, "password's hash", FALSE, error))
                return FALSE;
        BhDb *db = bh_store_begin(s, error);
        if (!db)
                return FALSE;
        gboolean ok = bh_store_has_user(db, name, error) &&
                      bh_db_run(db, error, "UPDATE users SET password = ? WHERE name = ? AND password = ?", "ttt", password_hash, name, was);
        if (ok && !bh_db_changes(db)) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "the password of \"%s\" was changed meanwhile", name);
                ok = FALSE;
        }
        return bh_store_end(s, ok, error);
}

gboolean bh_store_user_set_role(BhStore *s, const char *name, BhStoreRole role, const BhStoreAuditEntry *audit, GError **error) {
        if (!check_role(role, error))
                return FALSE;
        BhDb *db = bh_store_begin(s, error);
        if (!db)
                return FALSE;
        gboolean ok = bh_store_has_user(db, name, error) && bh_db_run(db, error, "UPDATE users SET role = ? WHERE name = ?", "it", (gint64) role, name) &&
                      still_has_admin(db, error) && bh_store_put_audit(s, audit, error);
        return bh_store_end(s, ok, error);
}

gboolean bh_store_user_set_disabled(BhStore *s, const char *name, gboolean disabled, const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = bh_store_begin(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_store_has_user(db, name, error) &&
                      bh_db_run(db, error, "UPDATE users SET disabled = ? WHERE name = ?", "ot", disabled, name) && still_has_admin(db, error) &&
                      (!disabled || bh_db_run(db, error, "DELETE FROM sessions WHERE user_name = ?", "t", name)) && bh_store_put_audit(s, audit, error);
        return bh_store_end(s, ok, error);
}

gboolean bh_store_user_delete(BhStore *s, const char *name, const BhStoreAuditEntry *audit, GError **error) {
        BhDb *db = bh_store_begin(s, error);

        if (!db)
                return FALSE;
        /* Tokens and sessions go with it by their foreign keys. */
        gboolean ok = bh_store_has_user(db, name, error) && bh_db_run(db, error, "DELETE FROM users WHERE name = ?", "t", name) &&
                      still_has_admin(db, error) && bh_store_put_audit(s, audit, error);
        return bh_store_end(s, ok, error);
}

/* ---- queries */

static GPtrArray *read_users(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_user_free);
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "name = ?", name);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db, "SELECT name, role, password, disabled, must_change, created_ns, changed_ns, last_login_ns FROM users",
                                      " ORDER BY name", NULL, error);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreUser *u = g_new0(BhStoreUser, 1);

                u->name = bh_db_text(st, 0);
                u->role = bh_store_role_from(bh_db_int(st, 1));
                u->password = bh_db_text(st, 2);
                u->disabled = bh_db_int(st, 3) != 0;
                u->must_change = bh_db_int(st, 4) != 0;
                u->created_ns = bh_db_int(st, 5);
                u->changed_ns = bh_db_int(st, 6);
                u->last_login_ns = bh_db_int(st, 7);
                g_ptr_array_add(rows, u);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

BhStoreUser *bh_store_user(BhStore *s, const char *name, GError **error) {
        g_autoptr(GPtrArray) rows = read_users(s, name, error);

        if (rows && !rows->len)
                bh_store_not_found(error, "user", name);
        return rows && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

GPtrArray *bh_store_users(BhStore *s, GError **error) {
        return read_users(s, NULL, error);
}
