/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_policies.h"
#include "store/store_rules.h"
#include "store_rows.h"

static const BhStoreAuditEntry entry = { .actor = "admin", .role = "admin", .address = "127.0.0.1", .action = "user.change", .object = "x", .outcome = "ok" };

static guint64 audit_rows(BhStore *s) {
        guint64 rows = 0;
        gint64 broken = -1;

        g_assert_true(bh_store_audit_verify(s, &rows, &broken, NULL));
        g_assert_cmpint(broken, ==, 0);
        return rows;
}

static void must_create(BhStore *s, const char *name, BhStoreRole role) {
        g_autoptr(GError) error = NULL;

        bh_store_user_create(s, name, role, "hash", FALSE, &entry, &error);
        g_assert_no_error(error);
}

#define assert_fails(call, code) do { g_autoptr(GError) e = NULL; g_assert_false(call); g_assert_error(e, BH_STORE_ERROR, code); } while (0)

static void users_are_created_and_changed(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        static const char *const bad[] = { "", "Admin", "a b", "-a", ".a", "a/b", "\xc3\xa4", "a\n" };

        g_assert_true(bh_store_user_create_first(s, "admin", "h0", TRUE, &entry, NULL));
        assert_fails(bh_store_user_create_first(s, "admin2", "h0", TRUE, &entry, &e), BH_STORE_ERROR_EXISTS);
        must_create(s, "viewer@example.org", BH_STORE_ROLE_VIEWER);
        assert_fails(bh_store_user_create(s, "admin", BH_STORE_ROLE_VIEWER, "h", FALSE, &entry, &e), BH_STORE_ERROR_EXISTS);
        assert_fails(bh_store_user_create(s, "x", BH_STORE_ROLE_NONE, "h", FALSE, &entry, &e), BH_STORE_ERROR_INVALID);
        assert_fails(bh_store_user_create(s, "x", (BhStoreRole) 9, "h", FALSE, &entry, &e), BH_STORE_ERROR_INVALID);
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_fails(bh_store_user_create(s, bad[i], BH_STORE_ROLE_ADMIN, "h", FALSE, &entry, &e), BH_STORE_ERROR_INVALID);
        g_autofree char *long_text = g_strnfill(BH_STORE_HASH_MAX + 1, 'h');
        assert_fails(bh_store_user_create(s, "x", BH_STORE_ROLE_ADMIN, long_text, FALSE, &entry, &e), BH_STORE_ERROR_INVALID);
        assert_fails(bh_store_user_create(s, long_text, BH_STORE_ROLE_ADMIN, "h", FALSE, &entry, &e), BH_STORE_ERROR_INVALID);
        g_assert_cmpuint(audit_rows(s), ==, 2); /* what was refused left nothing */

        /* There is always an admin who can log in. */
        assert_fails(bh_store_user_delete(s, "admin", &entry, &e), BH_STORE_ERROR_CONFLICT);
        assert_fails(bh_store_user_set_role(s, "admin", BH_STORE_ROLE_ANALYST, &entry, &e), BH_STORE_ERROR_CONFLICT);
        assert_fails(bh_store_user_set_disabled(s, "admin", TRUE, &entry, &e), BH_STORE_ERROR_CONFLICT);
        must_create(s, "second", BH_STORE_ROLE_ADMIN);
        g_assert_true(bh_store_user_set_disabled(s, "second", TRUE, &entry, NULL));
        assert_fails(bh_store_user_delete(s, "admin", &entry, &e), BH_STORE_ERROR_CONFLICT);
        g_assert_true(bh_store_user_set_disabled(s, "second", FALSE, &entry, NULL));
        g_assert_true(bh_store_user_set_role(s, "admin", BH_STORE_ROLE_ANALYST, &entry, NULL));

        g_assert_true(bh_store_user_set_password(s, "admin", "h1", FALSE, NULL, &entry, NULL));
        assert_fails(bh_store_user_rehash(s, "admin", "h0", "h2", &e), BH_STORE_ERROR_CONFLICT);
        g_assert_true(bh_store_user_rehash(s, "admin", "h1", "h2", NULL));
        g_autoptr(BhStoreUser) u = bh_store_user(s, "admin", NULL);
        g_assert_cmpstr(u->password, ==, "h2");
        g_assert_false(u->must_change);
        g_assert_cmpint(u->role, ==, BH_STORE_ROLE_ANALYST);
        g_assert_cmpint(u->changed_ns, >, u->created_ns);
        g_autoptr(GPtrArray) users = bh_store_users(s, NULL);
        g_assert_cmpuint(users->len, ==, 3);
        assert_fails(bh_store_user(s, "nobody", &e), BH_STORE_ERROR_NOT_FOUND);
        assert_fails(bh_store_user_set_password(s, "nobody", "h", FALSE, NULL, &entry, &e), BH_STORE_ERROR_NOT_FOUND);
        assert_fails(bh_store_user_set_role(s, "nobody", BH_STORE_ROLE_ADMIN, &entry, &e), BH_STORE_ERROR_NOT_FOUND);
        assert_fails(bh_store_user_delete(s, "nobody", &entry, &e), BH_STORE_ERROR_NOT_FOUND);
        g_assert_cmpint(bh_store_role_parse("analyst"), ==, BH_STORE_ROLE_ANALYST);
        g_assert_cmpint(bh_store_role_parse("root"), ==, BH_STORE_ROLE_NONE);
        g_assert_cmpint(bh_store_role_parse("none"), ==, BH_STORE_ROLE_NONE);
}

/* ---- tokens */

static gboolean create_token(BhStore *s, const char *id, const char *user, BhStoreRole role, gint64 expires_ns, GError **error) {
        g_autofree char *hash = g_strconcat("hash of ", id, NULL);
        BhStoreToken t = { .id = (char *) id, .hash = hash, .user = (char *) user, .role = role, .name = "ci", .expires_ns = expires_ns };

        return bh_store_token_create(s, &t, &entry, error);
}

static BhStoreRole role_of_token(BhStore *s, const char *id) {
        g_autofree char *hash = g_strconcat("hash of ", id, NULL);
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStoreToken) t = bh_store_token_by_hash(s, hash, &error);

        if (!t)
                g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND);
        return t ? t->effective : BH_STORE_ROLE_NONE;
}

static void tokens_end_at_once(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        gint64 now = g_get_real_time() * 1000;

        must_create(s, "admin", BH_STORE_ROLE_ADMIN);
        must_create(s, "ann", BH_STORE_ROLE_ANALYST);
        g_assert_true(create_token(s, "t1", "ann", BH_STORE_ROLE_ADMIN, 0, NULL));
        g_assert_true(create_token(s, "t2", "ann", BH_STORE_ROLE_VIEWER, now + 3600 * G_GINT64_CONSTANT(1000000000), NULL));
        g_assert_true(create_token(s, "t3", "ann", BH_STORE_ROLE_VIEWER, now - 1, NULL));
        assert_fails(create_token(s, "t1", "ann", BH_STORE_ROLE_VIEWER, 0, &e), BH_STORE_ERROR_EXISTS);
        assert_fails(create_token(s, "t9", "nobody", BH_STORE_ROLE_VIEWER, 0, &e), BH_STORE_ERROR_NOT_FOUND);
        assert_fails(create_token(s, "", "ann", BH_STORE_ROLE_VIEWER, 0, &e), BH_STORE_ERROR_INVALID);
        assert_fails(create_token(s, "t9", "ann", BH_STORE_ROLE_NONE, 0, &e), BH_STORE_ERROR_INVALID);

        g_assert_cmpint(role_of_token(s, "t1"), ==, BH_STORE_ROLE_ANALYST); /* no more than its user */
        g_assert_cmpint(role_of_token(s, "t2"), ==, BH_STORE_ROLE_VIEWER);
        g_assert_cmpint(role_of_token(s, "t3"), ==, BH_STORE_ROLE_NONE);
        g_assert_cmpint(role_of_token(s, "t4"), ==, BH_STORE_ROLE_NONE);
        g_assert_true(bh_store_user_set_role(s, "ann", BH_STORE_ROLE_VIEWER, NULL, NULL));
        g_assert_cmpint(role_of_token(s, "t1"), ==, BH_STORE_ROLE_VIEWER);

        guint64 before = audit_rows(s);
        g_assert_true(bh_store_token_revoke(s, "t1", &entry, NULL));
        g_assert_cmpint(role_of_token(s, "t1"), ==, BH_STORE_ROLE_NONE);
        g_assert_true(bh_store_token_revoke(s, "t1", &entry, NULL));
        g_assert_cmpuint(audit_rows(s), ==, before + 1);
        assert_fails(bh_store_token_revoke(s, "none", &entry, &e), BH_STORE_ERROR_NOT_FOUND);
        g_autoptr(BhStoreToken) revoked = bh_store_token(s, "t1", NULL);
        g_assert_cmpint(revoked->revoked_ns, >, 0);

        g_assert_true(bh_store_token_used(s, "t2", NULL));
        g_assert_true(bh_store_token_used(s, "no such token", NULL));
        g_autoptr(BhStoreToken) used = bh_store_token(s, "t2", NULL);
        g_assert_cmpint(used->last_used_ns, >=, now);
        g_assert_cmpstr(used->hash, ==, "");

        g_assert_true(bh_store_user_set_disabled(s, "ann", TRUE, NULL, NULL));
        g_assert_cmpint(role_of_token(s, "t2"), ==, BH_STORE_ROLE_NONE);
        g_assert_true(bh_store_user_set_disabled(s, "ann", FALSE, NULL, NULL));
        g_assert_cmpint(role_of_token(s, "t2"), ==, BH_STORE_ROLE_VIEWER);

        for (guint i = 0; i < BH_STORE_TOKENS_PER_USER - 1; i++) {
                g_autofree char *id = g_strdup_printf("n%u", i);
                g_assert_true(create_token(s, id, "ann", BH_STORE_ROLE_VIEWER, 0, NULL));
        }
        assert_fails(create_token(s, "one more", "ann", BH_STORE_ROLE_VIEWER, 0, &e), BH_STORE_ERROR_CONFLICT);
        g_autoptr(GPtrArray) mine = bh_store_tokens(s, "ann", NULL);
        g_assert_cmpuint(mine->len, ==, BH_STORE_TOKENS_PER_USER + 2);
        g_assert_true(bh_store_user_delete(s, "ann", NULL, NULL));
        g_assert_cmpint(role_of_token(s, "t2"), ==, BH_STORE_ROLE_NONE);
        g_autoptr(GPtrArray) none = bh_store_tokens(s, NULL, NULL);
        g_assert_cmpuint(none->len, ==, 0);
}

/* ---- sessions */

static gint64 pretended;

static gint64 pretended_now(void) {
        return pretended;
}

#define SECOND G_GINT64_CONSTANT(1000000000)

static gboolean log_in(BhStore *s, const char *hash, const char *user, const char *replaces, GError **error) {
        BhStoreSession x = { .hash = (char *) hash, .user = (char *) user, .csrf_hash = "csrf", .address = "10.0.0.1", .agent = "\xff", .expires_ns = pretended + 3600 * SECOND };

        return bh_store_session_create(s, &x, replaces, &entry, error);
}

static gboolean is_in(BhStore *s, const char *hash, gint64 idle_ns) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStoreSession) x = bh_store_session_by_hash(s, hash, idle_ns, &error);

        if (!x)
                g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND);
        return x != NULL;
}

static void dead_tokens_do_not_pile_up(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);

        must_create(s, "vera", BH_STORE_ROLE_VIEWER);
        must_create(s, "victor", BH_STORE_ROLE_VIEWER);
        for (guint i = 0; i < BH_STORE_TOKENS_DEAD + 50; i++) {
                g_autofree char *id = g_strdup_printf("id%u", i), *hash = g_strdup_printf("hash%u", i);
                BhStoreToken t = { .id = id, .hash = hash, .user = (char *) (i == 1 ? "victor" : "vera"), .role = BH_STORE_ROLE_VIEWER, .name = (char *) "t" };

                g_assert_true(bh_store_token_create(s, &t, NULL, NULL));
                if (i) /* one is kept alive */
                        g_assert_true(bh_store_token_revoke(s, id, NULL, NULL));
        }
        g_autoptr(GPtrArray) hers = bh_store_tokens(s, "vera", NULL), his = bh_store_tokens(s, "victor", NULL);
        g_assert_cmpuint(hers->len, ==, BH_STORE_TOKENS_DEAD + 2);
        g_assert_cmpuint(his->len, ==, 1);
        g_autoptr(BhStoreToken) alive = bh_store_token_by_hash(s, "hash0", NULL);
        g_assert_nonnull(alive);
}

static void sessions_end_when_they_should(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        guint ended = 0;

        pretended = T0;
        s->now = pretended_now;
        must_create(s, "admin", BH_STORE_ROLE_ADMIN);
        must_create(s, "ann", BH_STORE_ROLE_ANALYST);
        g_assert_true(log_in(s, "s1", "ann", NULL, NULL));
        g_assert_true(log_in(s, "s2", "ann", "s1", NULL)); /* a new id at login */
        g_assert_false(is_in(s, "s1", 0));
        g_autoptr(BhStoreSession) x = bh_store_session_by_hash(s, "s2", 0, NULL);
        g_assert_cmpstr(x->user, ==, "ann");
        g_assert_cmpint(x->role, ==, BH_STORE_ROLE_ANALYST);
        g_assert_cmpstr(x->csrf_hash, ==, "csrf");
        g_assert_cmpstr(x->agent, ==, "\\xff");
        assert_fails(log_in(s, "s3", "nobody", NULL, &e), BH_STORE_ERROR_NOT_FOUND);
        assert_fails(log_in(s, "", "ann", NULL, &e), BH_STORE_ERROR_INVALID);

        pretended += 600 * SECOND;
        g_assert_true(is_in(s, "s2", 601 * SECOND));
        g_assert_false(is_in(s, "s2", 599 * SECOND));
        g_assert_true(bh_store_session_touch(s, "s2", NULL));
        g_assert_true(is_in(s, "s2", 599 * SECOND));
        g_assert_true(bh_store_session_touch(s, "none", NULL));
        pretended += 3000 * SECOND; /* the absolute end */
        g_assert_false(is_in(s, "s2", 0));

        g_assert_true(log_in(s, "a", "ann", NULL, NULL));
        g_assert_true(log_in(s, "b", "ann", NULL, NULL));
        g_assert_true(log_in(s, "c", "ann", NULL, NULL));
        g_assert_true(bh_store_user_set_password(s, "ann", "new", FALSE, "b", NULL, NULL));
        g_assert_true(!is_in(s, "a", 0) && is_in(s, "b", 0) && !is_in(s, "c", 0));
        g_assert_true(log_in(s, "c", "ann", NULL, NULL));
        g_assert_true(bh_store_sessions_delete(s, "ann", "c", &ended, NULL, NULL));
        g_assert_cmpuint(ended, ==, 1);
        guint64 before = audit_rows(s);
        g_assert_true(bh_store_session_delete(s, "c", &entry, NULL));
        g_assert_true(bh_store_session_delete(s, "c", &entry, NULL));
        g_assert_cmpuint(audit_rows(s), ==, before + 1);
        g_assert_false(is_in(s, "c", 0));

        for (guint i = 0; i < BH_STORE_SESSIONS_PER_USER + 3; i++) {
                g_autofree char *hash = g_strdup_printf("n%u", i);

                pretended++;
                g_assert_true(log_in(s, hash, "ann", NULL, NULL));
        }
        g_autoptr(GPtrArray) mine = bh_store_sessions(s, "ann", NULL);
        g_assert_cmpuint(mine->len, ==, BH_STORE_SESSIONS_PER_USER);
        g_assert_false(is_in(s, "n2", 0));
        g_assert_true(is_in(s, "n3", 0));
        g_assert_true(bh_store_user_set_disabled(s, "ann", TRUE, NULL, NULL));
        g_assert_false(is_in(s, "n3", 0));
        assert_fails(log_in(s, "z", "ann", NULL, &e), BH_STORE_ERROR_NOT_FOUND);
}

/* ---- audit */

static void the_audit_log_shows_what_was_done_to_it(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        guint64 rows;
        gint64 broken;

        for (guint i = 0; i < 50; i++) {
                g_autofree char *object = g_strdup_printf("user %u", i);
                BhStoreAuditEntry e = { .actor = i % 2 ? "admin" : "ann", .action = i % 5 ? "user.create" : "token.revoke", .object = object,
                                        .outcome = i % 10 ? "ok" : "denied", .detail = "bytes \xff\n" };
                g_assert_true(bh_store_audit(s, &e, NULL));
        }
        g_assert_cmpuint(audit_rows(s), ==, 50);
        g_autoptr(BhStorePage) first = bh_store_audit_rows(s, NULL, NULL, 20, NULL);
        g_autoptr(BhStorePage) second = bh_store_audit_rows(s, NULL, first->next, 40, NULL);
        g_assert_cmpuint(first->rows->len, ==, 20);
        g_assert_cmpuint(second->rows->len, ==, 30);
        g_assert_cmpstr(((BhStoreAuditRow *) first->rows->pdata[0])->object, ==, "user 49");
        g_assert_cmpstr(((BhStoreAuditRow *) first->rows->pdata[0])->detail, ==, "bytes \\xff\n");
        g_autoptr(BhStorePage) denied = bh_store_audit_rows(s, &(BhStoreAuditFilter) { .actor = "ann", .outcome = "denied" }, NULL, 0, NULL);
        g_assert_cmpuint(denied->rows->len, ==, 5);
        g_autoptr(BhStorePage) tokens = bh_store_audit_rows(s, &(BhStoreAuditFilter) { .action = "token.*" }, NULL, 0, NULL);
        g_assert_cmpuint(tokens->rows->len, ==, 10);
        g_autoptr(BhStorePage) none = bh_store_audit_rows(s, &(BhStoreAuditFilter) { .action = "%.*" }, NULL, 0, NULL);
        g_assert_cmpuint(none->rows->len, ==, 0);
        g_autoptr(BhStorePage) found = bh_store_audit_rows(s, &(BhStoreAuditFilter) { .search = "USER 4" }, NULL, 0, NULL);
        g_assert_cmpuint(found->rows->len, ==, 11);

        /* Even with the database in hand: an update is refused, and what gets past that shows. */
        BhDb *db = bh_store_begin(s, NULL);
        g_assert_false(bh_db_exec(db, "UPDATE audit SET actor = 'nobody' WHERE id = 20", NULL));
        bh_store_end(s, FALSE, NULL);
        db = bh_store_begin(s, NULL);
        g_assert_true(bh_store_end(s, bh_db_exec(db, "DROP TRIGGER audit_is_append_only; UPDATE audit SET actor = 'nobody' WHERE id = 20", NULL), NULL));
        g_assert_true(bh_store_audit_verify(s, &rows, &broken, NULL));
        g_assert_cmpint(broken, ==, 20);
        db = bh_store_begin(s, NULL);
        g_assert_true(bh_store_end(s, bh_db_exec(db, "UPDATE audit SET actor = 'admin' WHERE id = 20; DELETE FROM audit WHERE id = 30", NULL), NULL));
        g_assert_true(bh_store_audit_verify(s, &rows, &broken, NULL));
        g_assert_cmpint(broken, ==, 31);
}

/* ---- settings */

static void settings_keep_small_texts(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autofree char *big = g_strnfill(BH_STORE_SETTING_MAX + 1, 'x');
        g_autoptr(GError) error = NULL;

        g_assert_null(bh_store_setting_get(s, "retention.days", &error));
        g_assert_no_error(error);
        g_assert_true(bh_store_setting_set(s, "retention.days", "30", &entry, NULL));
        g_assert_true(bh_store_setting_set(s, "retention.days", "60", &entry, NULL));
        g_autofree char *value = bh_store_setting_get(s, "retention.days", NULL);
        g_assert_cmpstr(value, ==, "60");
        assert_fails(bh_store_setting_set(s, "Bad Key", "1", &entry, &e), BH_STORE_ERROR_INVALID);
        assert_fails(bh_store_setting_set(s, "", "1", &entry, &e), BH_STORE_ERROR_INVALID);
        assert_fails(bh_store_setting_set(s, "big", big, &entry, &e), BH_STORE_ERROR_INVALID);
        assert_fails(bh_store_setting_set(s, "bytes", "\xff", &entry, &e), BH_STORE_ERROR_INVALID);
        g_assert_cmpuint(audit_rows(s), ==, 2);
        g_autoptr(GHashTable) all = bh_store_settings(s, NULL);
        g_assert_cmpuint(g_hash_table_size(all), ==, 1);
        g_assert_true(bh_store_setting_set(s, "retention.days", NULL, &entry, NULL));
        g_assert_null(bh_store_setting_get(s, "retention.days", NULL));
}

/* All of them go to the nodes in one request. */
static void rule_files_are_bounded_together(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autofree char *text = g_strnfill(BH_STORE_RULE_FILE_MAX, '#');
        guint n = BH_STORE_RULES_BYTES / BH_STORE_RULE_FILE_MAX;
        g_autoptr(GError) error = NULL;

        for (guint i = 0; i < n; i++) {
                g_autofree char *name = g_strdup_printf("f%u.yaml", i);

                bh_store_rule_file_set(s, name, text, "admin", &entry, &error);
                g_assert_no_error(error);
        }
        assert_fails(bh_store_rule_file_set(s, "more.yaml", "#", "admin", &entry, &e), BH_STORE_ERROR_CONFLICT);
        g_assert_true(bh_store_rule_file_set(s, "f0.yaml", text, "admin", &entry, NULL)); /* in its own place */
        g_assert_true(bh_store_rule_file_set(s, "f0.yaml", "\xc3\xa4", "admin", &entry, NULL));
        /* bytes count, not letters */
        text[BH_STORE_RULE_FILE_MAX - 1] = '\0';
        assert_fails(bh_store_rule_file_set(s, "more.yaml", text, "admin", &entry, &e), BH_STORE_ERROR_CONFLICT);
        text[BH_STORE_RULE_FILE_MAX - 2] = '\0';
        g_assert_true(bh_store_rule_file_set(s, "more.yaml", text, "admin", &entry, NULL));
}

static void policies_are_bounded_together(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autofree char *text = g_strnfill(BH_STORE_POLICY_MAX, '#');
        g_autoptr(GError) error = NULL;

        for (guint i = 0; i < BH_STORE_POLICIES_BYTES / BH_STORE_POLICY_MAX; i++) {
                g_autofree char *name = g_strdup_printf("p%u", i);

                bh_store_policy_set(s, name, text, "admin", &entry, &error);
                g_assert_no_error(error);
        }
        assert_fails(bh_store_policy_set(s, "more", "#", "admin", &entry, &e), BH_STORE_ERROR_CONFLICT);
        g_assert_true(bh_store_policy_set(s, "p0", text, "admin", &entry, NULL));
        g_assert_true(bh_store_policy_set(s, "p0", NULL, "admin", &entry, NULL));
        assert_fails(bh_store_policy_set(s, "p0", NULL, "admin", &entry, &e), BH_STORE_ERROR_NOT_FOUND);
        g_assert_true(bh_store_policy_set(s, "more", text, "admin", &entry, NULL));
        g_autoptr(BhStoreText) t = bh_store_policy(s, "more", &error);
        g_assert_no_error(error);
        g_assert_cmpstr(t->text, ==, text);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store/access/users_are_created_and_changed", users_are_created_and_changed);
        g_test_add_func("/store/access/tokens_end_at_once", tokens_end_at_once);
        g_test_add_func("/store/access/dead_tokens_do_not_pile_up", dead_tokens_do_not_pile_up);
        g_test_add_func("/store/access/sessions_end_when_they_should", sessions_end_when_they_should);
        g_test_add_func("/store/access/the_audit_log_shows_what_was_done_to_it", the_audit_log_shows_what_was_done_to_it);
        g_test_add_func("/store/access/policies_are_bounded_together", policies_are_bounded_together);
        g_test_add_func("/store/access/rule_files_are_bounded_together", rule_files_are_bounded_together);
        g_test_add_func("/store/access/settings_keep_small_texts", settings_keep_small_texts);
        return g_test_run();
}
