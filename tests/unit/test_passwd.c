/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "parse/passwd.h"

static BhPasswd *users(const char *text) {
        BhPasswd *p = bh_passwd_parse(BH_PASSWD_USERS, text, strlen(text), NULL);

        g_assert_nonnull(p);
        return p;
}

static void users_of_an_image_are_read(void) {
        g_autoptr(BhPasswd) p = users("root:x:0:0:root:/root:/bin/bash\n"
                                      "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
                                      "app:x:10001:20001::/:");
        guint32 id = 7, group = 7;
        guint n;

        g_assert_cmpstr(bh_passwd_name(p, 0), ==, "root");
        g_assert_cmpstr(bh_passwd_name(p, 33), ==, "www-data");
        g_assert_cmpstr(bh_passwd_name(p, 10001), ==, "app");
        g_assert_null(bh_passwd_name(p, 1));
        g_assert_true(bh_passwd_id(p, "app", &id, &group));
        g_assert_cmpuint(id, ==, 10001);
        g_assert_cmpuint(group, ==, 20001);
        id = 7;
        g_assert_false(bh_passwd_id(p, "nobody", &id, NULL));
        g_assert_cmpuint(id, ==, 7);
        bh_passwd_entries(p, &n);
        g_assert_cmpuint(n, ==, 3);
        g_assert_cmpuint(bh_passwd_skipped(p), ==, 0);
}

static void groups_of_an_image_are_read(void) {
        const char text[] = "root:x:0:\ndocker:x:999:alice,bob\nwheel:x:10\n";
        g_autoptr(BhPasswd) p = bh_passwd_parse(BH_PASSWD_GROUPS, text, strlen(text), NULL);

        g_assert_cmpstr(bh_passwd_name(p, 999), ==, "docker");
        g_assert_cmpstr(bh_passwd_name(p, 10), ==, "wheel");
        guint32 id, group;
        g_assert_true(bh_passwd_id(p, "docker", &id, &group));
        g_assert_cmpuint(group, ==, 999);
}

static void first_line_wins(void) {
        g_autoptr(BhPasswd) p = users("first:x:5:1:::\nsecond:x:5:2:::\nfirst:x:6:3:::\n");
        guint32 id, group;
        guint n;

        g_assert_cmpstr(bh_passwd_name(p, 5), ==, "first");
        g_assert_cmpstr(bh_passwd_name(p, 6), ==, "first");
        g_assert_true(bh_passwd_id(p, "first", &id, &group));
        g_assert_cmpuint(id, ==, 5);
        g_assert_cmpuint(group, ==, 1);
        bh_passwd_entries(p, &n);
        g_assert_cmpuint(n, ==, 3);
}

static void hostile_lines_are_skipped_and_counted(void) {
        static const struct {
                const char *line;
                guint32 skipped;
        } cases[] = {
                { ":x:1:1:::", 1 },                /* no name */
                { "a:x:-1:1:::", 1 },
                { "a:x:+1:1:::", 1 },
                { "a:x: 1:1:::", 1 },
                { "a:x:0x1:1:::", 1 },
                { "a:x:1e0:1:::", 1 },
                { "a:x:4294967295:1:::", 1 },      /* "no id" */
                { "a:x:4294967296:1:::", 1 },      /* root, for who counts in 32 bits */
                { "a:x:18446744073709551616:1:::", 1 },
                { "a:x::1:::", 1 },
                { "a:x:1::::", 1 },
                { "a:x:1", 1 },
                { "a", 1 },
                { "a\x1b[31m:x:1:1:::", 1 },       /* drives a terminal */
                { "a b:x:1:1:::", 1 },
                { "a\x7f:x:1:1:::", 1 },
                { "\r:x:1:1:::", 1 },
                { "", 0 },
                { "# comment:x:1:1", 0 },
                { "+::::::", 0 },
                { "-a:x:1:1:::", 0 },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = g_strdup_printf("%s\ngood:x:77:77:::\n", cases[i].line);
                g_autoptr(BhPasswd) p = users(text);
                guint n;

                bh_passwd_entries(p, &n);
                if (bh_passwd_skipped(p) != cases[i].skipped || n != 1 || g_strcmp0(bh_passwd_name(p, 77), "good"))
                        g_error("line \"%s\": %u skipped, %u entries", cases[i].line, bh_passwd_skipped(p), n);
        }
        g_autoptr(BhPasswd) high = users("m\xc3\xbcller:x:4294967294:0:::\n");
        g_assert_cmpstr(bh_passwd_name(high, 4294967294u), ==, "m\xc3\xbcller");
}

static void nul_bytes_do_not_end_the_file(void) {
        static const char text[] = "a\0b:x:1:1:::\nc:x:2:2:::\0\nd:x:3:3:::";
        g_autoptr(BhPasswd) p = bh_passwd_parse(BH_PASSWD_USERS, text, sizeof(text) - 1, NULL);

        g_assert_null(bh_passwd_name(p, 1));
        g_assert_cmpstr(bh_passwd_name(p, 2), ==, "c");
        g_assert_cmpstr(bh_passwd_name(p, 3), ==, "d");
        g_assert_cmpuint(bh_passwd_skipped(p), ==, 1);
}

static void bounds_hold(void) {
        g_autoptr(GString) many = g_string_new(NULL), wide = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        guint n;

        for (guint i = 0; i < BH_PASSWD_ENTRIES_MAX + 10; i++)
                g_string_append_printf(many, "u%u:x:%u:0:::\n", i, i);
        g_autoptr(BhPasswd) p = users(many->str);
        bh_passwd_entries(p, &n);
        g_assert_cmpuint(n, ==, BH_PASSWD_ENTRIES_MAX);
        g_assert_cmpuint(bh_passwd_dropped(p), ==, 10);

        for (guint i = 0; i < 1000; i++)
                g_string_append_printf(wide, "%0255u:x:%u:0:::\n", i, i);
        g_string_append_printf(wide, "%0256u:x:%u:0:::\n", 1, 1);
        g_autoptr(BhPasswd) q = users(wide->str);
        bh_passwd_entries(q, &n);
        g_assert_cmpuint(n, ==, BH_PASSWD_TEXT_MAX / 256);
        g_assert_cmpuint(bh_passwd_dropped(q), ==, 1000 - n);
        g_assert_cmpuint(bh_passwd_skipped(q), ==, 1);

        g_autofree char *large = g_malloc0(BH_PASSWD_FILE_MAX + 1);
        g_assert_null(bh_passwd_parse(BH_PASSWD_USERS, large, BH_PASSWD_FILE_MAX + 1, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
        g_autoptr(BhPasswd) one_line = bh_passwd_parse(BH_PASSWD_USERS, large, BH_PASSWD_FILE_MAX, NULL);
        g_assert_nonnull(one_line);
}

static void empty_file_is_an_empty_table(void) {
        g_autoptr(BhPasswd) p = bh_passwd_parse(BH_PASSWD_USERS, "", 0, NULL), r = bh_passwd_ref(p);
        guint n;

        bh_passwd_entries(r, &n);
        g_assert_cmpuint(n, ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/passwd/users_of_an_image_are_read", users_of_an_image_are_read);
        g_test_add_func("/passwd/groups_of_an_image_are_read", groups_of_an_image_are_read);
        g_test_add_func("/passwd/first_line_wins", first_line_wins);
        g_test_add_func("/passwd/hostile_lines_are_skipped_and_counted", hostile_lines_are_skipped_and_counted);
        g_test_add_func("/passwd/nul_bytes_do_not_end_the_file", nul_bytes_do_not_end_the_file);
        g_test_add_func("/passwd/bounds_hold", bounds_hold);
        g_test_add_func("/passwd/empty_file_is_an_empty_table", empty_file_is_an_empty_table);
        return g_test_run();
}
