/* SPDX-License-Identifier: Apache-2.0 */
#include "response/files.h"

#include <string.h>

static const char table[] = "100 90 0:45 / / rw,relatime - overlay overlay rw,lowerdir=/l\n"
                            "101 100 8:1 /srv/vol /data rw - ext4 /dev/sda1 rw\n"
                            "102 100 0:45 /secret /x\\040y rw shared:1 master:2 - overlay overlay rw\n"
                            "103 100 0:46 / /proc rw - proc proc rw\n";

static void mount_table_is_read(void) {
        g_autoptr(GArray) mounts = bh_file_mounts_parse(table, sizeof(table) - 1, "/");
        const BhFileMount *m;

        g_assert_nonnull(mounts);
        g_assert_cmpuint(mounts->len, ==, 4);
        m = bh_file_mounts_find(mounts, 102);
        g_assert_cmpstr(m->point, ==, "/x y");
        g_assert_cmpstr(m->root, ==, "/secret");
        g_assert_cmpstr(m->type, ==, "overlay");
        g_assert_cmpuint(m->dev, ==, 45);
        g_assert_cmpuint(bh_file_mounts_find(mounts, 101)->dev, ==, (guint64) 8 << 32 | 1);
        g_assert_null(bh_file_mounts_find(mounts, 7));
}

static void points_of_a_chroot_are_those_of_its_namespace(void) {
        g_autoptr(GArray) mounts = bh_file_mounts_parse(table, sizeof(table) - 1, "/jail");

        g_assert_cmpstr(bh_file_mounts_find(mounts, 100)->point, ==, "/jail");
        g_assert_cmpstr(bh_file_mounts_find(mounts, 101)->point, ==, "/jail/data");
}

static void what_is_no_mount_table_is_refused(void) {
        static const char *const bad[] = { "x", "100 90 0 / / rw - overlay overlay rw", "-1 90 0:45 / / rw - overlay o rw", "100 90 0:45 / / rw,relatime overlay overlay rw",
                                           "99999999999 90 0:45 / / rw - overlay overlay rw" };
        g_autoptr(GString) many = g_string_new(NULL);

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_null(bh_file_mounts_parse(bad[i], strlen(bad[i]), "/"));
        for (guint i = 0; i <= BH_FILE_MOUNTS_MAX; i++)
                g_string_append(many, "100 90 0:45 / / rw - overlay overlay rw\n");
        g_autoptr(GArray) mounts = bh_file_mounts_parse(many->str, many->len, "/");
        g_assert_null(mounts);
}

static void a_second_mount_is_the_same_place(void) {
        g_autoptr(GArray) mounts = bh_file_mounts_parse(table, sizeof(table) - 1, "/");
        static const struct {
                guint id;
                const char *path, *inside;
        } cases[] = { { 100, "/secret/f", "/secret/f" }, { 100, "/", "/" },        { 102, "/x y/f", "/secret/f" }, { 102, "/x y", "/secret" },
                      { 102, "/x yz", NULL },            { 101, "/data/d/e", "/srv/vol/d/e" }, { 101, "/dat", NULL },          { 100, "relative", NULL } };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *inside = bh_file_inside(bh_file_mounts_find(mounts, cases[i].id), cases[i].path);

                g_assert_cmpstr(inside, ==, cases[i].inside);
        }
}

static void below_is_by_whole_names(void) {
        g_assert_true(bh_file_below("/a/b", "/a"));
        g_assert_true(bh_file_below("/a", "/a"));
        g_assert_true(bh_file_below("/a", "/"));
        g_assert_false(bh_file_below("/ab", "/a"));
        g_assert_false(bh_file_below("/", "/a"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/files/mount_table_is_read", mount_table_is_read);
        g_test_add_func("/files/points_of_a_chroot_are_those_of_its_namespace", points_of_a_chroot_are_those_of_its_namespace);
        g_test_add_func("/files/what_is_no_mount_table_is_refused", what_is_no_mount_table_is_refused);
        g_test_add_func("/files/a_second_mount_is_the_same_place", a_second_mount_is_the_same_place);
        g_test_add_func("/files/below_is_by_whole_names", below_is_by_whole_names);
        return g_test_run();
}
