/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords, secrets, and the slowing down of guesses. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "central/crowd.h"
#include "central/device.h"
#include "central/limit.h"
#include "central/pace.h"
#include "central/password.h"

#define S G_USEC_PER_SEC

static void a_password_is_verified_and_never_the_same_hash_twice(void) {
        g_autofree char *a = bh_password_hash("correct horse battery"), *b = bh_password_hash("correct horse battery");

        g_assert_true(g_str_has_prefix(a, "$argon2id$"));
        g_assert_cmpstr(a, !=, b);
        g_assert_cmpint(bh_password_verify(a, "correct horse battery"), ==, BH_PASSWORD_RIGHT);
        g_assert_cmpint(bh_password_verify(a, "correct horse batterz"), ==, BH_PASSWORD_WRONG);
        g_assert_cmpint(bh_password_verify("rubbish", "correct horse battery"), ==, BH_PASSWORD_WRONG);
        g_assert_cmpint(bh_password_verify(NULL, ""), ==, BH_PASSWORD_WRONG);
}

static gpointer verify(gpointer data) {
        return GINT_TO_POINTER(bh_password_verify(NULL, "x"));
}

static void few_wait_for_the_password_hash(void) {
        GThread *threads[4 * BH_PASSWORD_WAITERS];
        guint busy = 0;

        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new("guess", verify, NULL);
        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
                busy += GPOINTER_TO_INT(g_thread_join(threads[i])) == BH_PASSWORD_BUSY;
        g_assert_cmpuint(busy, >, 0);
        g_assert_cmpint(bh_password_verify(NULL, "x"), ==, BH_PASSWORD_WRONG);
}

static void weak_passwords_are_objected_to(void) {
        g_autofree char *longest = g_strnfill(BH_PASSWORD_MAX, 'x'), *random = bh_password_random();

        g_assert_nonnull(bh_password_objection("admin", "short"));
        g_assert_nonnull(bh_password_objection("admin", "aaaaaaaaaaaaaa"));
        g_assert_nonnull(bh_password_objection("administrator", "Administrator"));
        g_assert_nonnull(bh_password_objection("admin", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
        longest[0] = 'y';
        g_assert_null(bh_password_objection("admin", longest));
        g_assert_null(bh_password_objection("admin", random));
        g_assert_null(bh_password_objection("admin", "zwölf Zeichen"));
}

static void secrets_are_long_and_different(void) {
        g_autofree char *a = bh_secret_new("bh_"), *b = bh_secret_new("bh_"), *ha = bh_secret_hash(a, NULL), *keyed = bh_secret_hash(a, b);

        g_assert_cmpuint(strlen(a), ==, 3 + BH_SECRET_LEN);
        g_assert_cmpuint(strlen(ha), ==, BH_HASH_LEN);
        g_assert_cmpstr(a, !=, b);
        g_assert_cmpstr(ha, !=, keyed);
        g_assert_true(bh_secret_equal(a, a));
        g_assert_false(bh_secret_equal(a, b));
        g_assert_false(bh_secret_equal("a", "ab"));
}

static void guesses_are_slowed_down_and_doubled(void) {
        BhLimit *l = bh_limit_new();
        gint64 t = 1;
        guint expected = 1;

        for (guint i = 0; i < BH_LIMIT_FREE - 1; i++)
                g_assert_false(bh_limit_failed(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" }, t));
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" }, t), ==, 0);
        for (guint i = 0; i < 12; i++) {
                g_assert_true(bh_limit_failed(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" }, t));
                g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" }, t), ==, MIN(expected, BH_LIMIT_MAX_SECONDS));
                expected *= 2;
        }
        /* nobody is locked out from elsewhere, and other users from here are not yet */
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.2", NULL, "admin" }, t), ==, 0);
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.1", NULL, "other" }, t), ==, 0);
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" }, t + (gint64) BH_LIMIT_MAX_SECONDS * S), ==, 0);
        bh_limit_succeeded(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" });
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.1", NULL, "admin" }, t), ==, 0);
        bh_limit_free(l);
}

static void one_password_for_many_users_is_slowed_down_too(void) {
        BhLimit *l = bh_limit_new();

        for (guint i = 0; i < BH_LIMIT_FREE_ADDRESS; i++) {
                g_autofree char *user = g_strdup_printf("user%u", i);

                bh_limit_failed(l, &(BhLimitWho){ "10.0.0.1", NULL, user }, 1);
        }
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "10.0.0.1", NULL, "yet-another" }, 1), >, 0);
        bh_limit_free(l);
}

static void a_known_device_has_a_budget_of_its_own(void) {
        const BhLimitWho known = { "10.0.0.1", "d", "admin" }, stranger = { "10.0.0.1", NULL, "admin" }, elsewhere = { "10.0.0.2", NULL, "admin" };
        BhLimit *l = bh_limit_new();

        for (guint i = 0; i < BH_LIMIT_FREE_ADDRESS; i++)
                bh_limit_failed(l, &stranger, 1);
        g_assert_cmpuint(bh_limit_wait(l, &stranger, 1), >, 0);
        g_assert_cmpuint(bh_limit_wait(l, &known, 1), ==, 0);
        bh_limit_free(l);

        /* the other way round: whose device guesses holds up nobody else */
        l = bh_limit_new();
        for (guint i = 0; i < 2 * BH_LIMIT_FREE_ADDRESS; i++)
                bh_limit_failed(l, &known, 1);
        g_assert_cmpuint(bh_limit_wait(l, &known, 1), ==, BH_LIMIT_MAX_SECONDS);
        g_assert_cmpuint(bh_limit_wait(l, &stranger, 1), ==, 0);
        g_assert_cmpuint(bh_limit_wait(l, &elsewhere, 1), ==, 0);
        bh_limit_free(l);
}

static void a_host_does_not_get_new_budgets_with_new_addresses(void) {
        BhLimit *l = bh_limit_new();

        for (guint i = 0; i < BH_LIMIT_FREE_ADDRESS; i++) {
                g_autofree char *address = g_strdup_printf("2001:db8:1:2::%x", i + 1), *user = g_strdup_printf("u%u", i);

                bh_limit_failed(l, &(BhLimitWho){ address, NULL, user }, 1);
        }
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "2001:db8:1:2:aaaa::", NULL, "x" }, 1), >, 0);
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "2001:db8:1:3::1", NULL, "x" }, 1), ==, 0);
        for (guint i = 0; i < BH_LIMIT_FREE_ADDRESS; i++)
                bh_limit_failed(l, &(BhLimitWho){ "::ffff:10.0.0.1", NULL, "x" }, 1);
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "::ffff:10.0.0.1", NULL, "y" }, 1), >, 0);
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "::ffff:10.0.0.2", NULL, "y" }, 1), ==, 0);
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "::1", NULL, "y" }, 1), ==, 0);
        bh_limit_free(l);
}

static void a_device_cookie_is_its_users_and_ours(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-device-XXXXXX", NULL), *path = g_build_filename(dir, "device.key", NULL);
        gint64 now = 1800000000, day = 86400;
        BhDevices *d = bh_devices_load(dir);
        g_autofree char *a = bh_device_new(d, "admin", now), *b = bh_device_new(d, "admin", now), *budget = bh_device_known(d, "admin", a, now), *other = bh_device_known(d, "admin", b, now);
        const char *const bad[] = { NULL, "", ".", "000000000000..", b + 1 };

        g_assert_nonnull(budget);
        g_assert_cmpstr(budget, !=, other);
        g_assert_null(strchr(budget, '\n'));
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_null(bh_device_known(d, "admin", bad[i], now));
        g_assert_null(bh_device_known(d, "Admin", a, now));
        g_assert_null(bh_device_known(d, "", a, now));
        for (gsize i = 0; i < strlen(a); i++) {
                g_autofree char *changed = g_strdup(a);

                changed[i] ^= 1;
                g_assert_null(bh_device_known(d, "admin", changed, now));
        }
        g_assert_null(bh_device_known(d, "admin", a, now + BH_DEVICE_DAYS * day + 1));
        g_assert_null(bh_device_known(d, "admin", a, now - 2 * day));
        bh_devices_free(d);

        d = bh_devices_load(dir);
        g_autofree char *again = bh_device_known(d, "admin", a, now);
        g_assert_cmpstr(again, ==, budget);
        bh_devices_free(d);
        g_assert_true(g_file_set_contents(path, "rubbish", -1, NULL));
        d = bh_devices_load(dir);
        g_assert_null(bh_device_known(d, "admin", a, now));
        bh_devices_free(d);
        g_unlink(path);
        g_rmdir(dir);
}

static void a_user_fills_the_audit_log_at_a_bounded_pace(void) {
        BhPace *p = bh_pace_new();
        guint64 skipped = 99;
        gint64 t = S;

        for (guint i = 0; i < BH_PACE_BURST; i++)
                g_assert_cmpuint(bh_pace_take(p, "vera", t, NULL), ==, 0);
        for (guint i = 0; i < 3; i++)
                g_assert_cmpuint(bh_pace_take(p, "vera", t, NULL), ==, BH_PACE_SECONDS);
        g_assert_cmpuint(bh_pace_take(p, "victor", t, &skipped), ==, 0);
        g_assert_cmpuint(skipped, ==, 0);
        t += BH_PACE_SECONDS * S;
        g_assert_cmpuint(bh_pace_take(p, "vera", t, &skipped), ==, 0);
        g_assert_cmpuint(skipped, ==, 3);
        g_assert_cmpuint(bh_pace_take(p, "vera", t, &skipped), >, 0);
        g_assert_cmpuint(bh_pace_refused(p), ==, 4);
        /* who was quiet has the whole burst again, and no more */
        t += (gint64) 10 * BH_PACE_BURST * BH_PACE_SECONDS * S;
        for (guint i = 0; i < BH_PACE_BURST; i++)
                g_assert_cmpuint(bh_pace_take(p, "vera", t, NULL), ==, 0);
        g_assert_cmpuint(bh_pace_take(p, "vera", t, NULL), >, 0);
        for (guint i = 0; i < 2 * BH_PACE_USERS; i++) {
                g_autofree char *user = g_strdup_printf("user%u", i);

                g_assert_cmpuint(bh_pace_take(p, user, t, NULL), ==, 0);
        }
        /* others do not push out who has used up the burst */
        g_assert_cmpuint(bh_pace_take(p, "vera", t, NULL), >, 0);
        bh_pace_free(p);
}

static void one_user_does_not_hold_all_workers(void) {
        BhCrowd *c = bh_crowd_new();

        for (guint i = 0; i < BH_CROWD_PER_USER; i++)
                g_assert_true(bh_crowd_enter(c, "vera"));
        g_assert_false(bh_crowd_enter(c, "vera"));
        for (guint i = BH_CROWD_PER_USER; i < BH_CROWD_ALL; i++)
                g_assert_true(bh_crowd_enter(c, "victor"));
        g_assert_false(bh_crowd_enter(c, "victor"));
        bh_crowd_leave(c, "vera");
        g_assert_true(bh_crowd_enter(c, "victor"));
        g_assert_cmpuint(bh_crowd_refused(c), ==, 2);
        bh_crowd_free(c);
}

static void an_hour_of_quiet_is_forgotten(void) {
        BhLimit *l = bh_limit_new();

        for (guint i = 0; i < 10; i++)
                bh_limit_failed(l, &(BhLimitWho){ "a", NULL, "u" }, 1);
        g_assert_false(bh_limit_failed(l, &(BhLimitWho){ "a", NULL, "u" }, (gint64) 3700 * S));
        bh_limit_free(l);
}

static void the_table_is_bounded_and_keeps_the_busiest(void) {
        BhLimit *l = bh_limit_new();

        for (guint i = 0; i < 10; i++)
                bh_limit_failed(l, &(BhLimitWho){ "attacker", NULL, "admin" }, 1);
        for (guint i = 0; i < 2 * BH_LIMIT_ENTRIES; i++) {
                g_autofree char *address = g_strdup_printf("10.%u.%u.1", i / 256, i % 256);

                bh_limit_failed(l, &(BhLimitWho){ address, NULL, "admin" }, 2 + i);
                if (i % 100 == 0)
                        bh_limit_failed(l, &(BhLimitWho){ "attacker", NULL, "admin" }, 2 + i);
        }
        g_assert_cmpuint(bh_limit_wait(l, &(BhLimitWho){ "attacker", NULL, "admin" }, 2), >, 0);
        g_assert_cmpuint(bh_limit_evicted(l), >, 0);
        bh_limit_free(l);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_assert_true(bh_password_init(NULL));
        g_test_add_func("/central/access/a_password_is_verified_and_never_the_same_hash_twice", a_password_is_verified_and_never_the_same_hash_twice);
        g_test_add_func("/central/access/a_user_fills_the_audit_log_at_a_bounded_pace", a_user_fills_the_audit_log_at_a_bounded_pace);
        g_test_add_func("/central/access/one_user_does_not_hold_all_workers", one_user_does_not_hold_all_workers);
        g_test_add_func("/central/access/few_wait_for_the_password_hash", few_wait_for_the_password_hash);
        g_test_add_func("/central/access/weak_passwords_are_objected_to", weak_passwords_are_objected_to);
        g_test_add_func("/central/access/secrets_are_long_and_different", secrets_are_long_and_different);
        g_test_add_func("/central/access/guesses_are_slowed_down_and_doubled", guesses_are_slowed_down_and_doubled);
        g_test_add_func("/central/access/one_password_for_many_users_is_slowed_down_too", one_password_for_many_users_is_slowed_down_too);
        g_test_add_func("/central/access/a_known_device_has_a_budget_of_its_own", a_known_device_has_a_budget_of_its_own);
        g_test_add_func("/central/access/a_host_does_not_get_new_budgets_with_new_addresses", a_host_does_not_get_new_budgets_with_new_addresses);
        g_test_add_func("/central/access/a_device_cookie_is_its_users_and_ours", a_device_cookie_is_its_users_and_ours);
        g_test_add_func("/central/access/an_hour_of_quiet_is_forgotten", an_hour_of_quiet_is_forgotten);
        g_test_add_func("/central/access/the_table_is_bounded_and_keeps_the_busiest", the_table_is_bounded_and_keeps_the_busiest);
        return g_test_run();
}
