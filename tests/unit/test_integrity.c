/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/integrity.h"

#include "scratch.h"

#include <glib/gstdio.h>

typedef struct {
        char *dir, *root, *proc, *state;
        GString *told;
} Fixture;

static void put(const Fixture *f, const char *path, const char *text) {
        g_autofree char *file = g_build_filename(f->dir, path, NULL), *dir = g_path_get_dirname(file);

        g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
        g_assert_true(g_file_set_contents(file, text, -1, NULL));
}

static void set_up(Fixture *f, gconstpointer unused) {
        f->dir = g_dir_make_tmp("bh-integrity-XXXXXX", NULL);
        f->root = g_build_filename(f->dir, "root", NULL);
        f->proc = g_build_filename(f->dir, "proc", NULL);
        f->state = g_build_filename(f->dir, "state", NULL);
        f->told = g_string_new(NULL);
        put(f, "root/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        put(f, "root/etc/cron.d/daily", "0 0 * * * root true\n");
        put(f, "root/usr/bin/ls", "program");
        put(f, "proc/sys/kernel/core_pattern", "core\n");
}

static void tear_down(Fixture *f, gconstpointer unused) {
        bh_test_remove(f->dir);
        g_string_free(f->told, TRUE);
        g_free(f->dir);
        g_free(f->root);
        g_free(f->proc);
        g_free(f->state);
}

static void note(const BhChange *c, gpointer data) {
        static const char *const kinds[] = { "new", "changed", "removed" };
        Fixture *f = data;

        g_string_append_printf(f->told, "%s%s %s (%s)", f->told->len ? ", " : "", kinds[c->kind], c->path, c->what);
}

static void look(Fixture *f, BhIntegrity *g, const char *wanted) {
        g_string_truncate(f->told, 0);
        bh_integrity_look(g, note, f);
        g_assert_cmpstr(f->told->str, ==, wanted);
}

static void changes_are_told_once_and_what_was_there_first_is_not(Fixture *f, gconstpointer unused) {
        BhIntegrity *g = bh_integrity_new(f->root, f->proc, f->state);

        look(f, g, "");
        look(f, g, "");
        put(f, "root/etc/cron.d/evil", "* * * * * root /tmp/x\n");
        look(f, g, "new /etc/cron.d/evil (cron)");
        look(f, g, "");
        put(f, "root/etc/ld.so.preload", "/tmp/x.so\n");
        look(f, g, "new /etc/ld.so.preload (preload)");
        put(f, "root/etc/passwd", "root:x:0:0::/root:/bin/sh\nevil:x:0:0::/:/bin/sh\n");
        look(f, g, "changed /etc/passwd (user)");
        put(f, "proc/sys/kernel/core_pattern", "|/tmp/x\n");
        look(f, g, "changed /proc/sys/kernel/core_pattern (core pattern)");
        put(f, "root/usr/bin/ls", "another");
        look(f, g, "changed /usr/bin/ls (program)");
        put(f, "root/root/.ssh/authorized_keys", "ssh-ed25519 AAAA\n");
        look(f, g, "new /root/.ssh/authorized_keys (key)");
        g_autofree char *cron = g_build_filename(f->root, "etc/cron.d/evil", NULL);
        g_unlink(cron);
        look(f, g, "removed /etc/cron.d/evil (cron)");
        bh_integrity_free(g);
}

static void change_while_nobody_looked_is_found_at_the_next_start(Fixture *f, gconstpointer unused) {
        BhIntegrity *g = bh_integrity_new(f->root, f->proc, f->state);

        look(f, g, "");
        bh_integrity_free(g);
        put(f, "root/etc/cron.d/evil", "x");
        g = bh_integrity_new(f->root, f->proc, f->state);
        look(f, g, "new /etc/cron.d/evil (cron)");
        bh_integrity_free(g);
}

static void file_that_is_written_with_the_same_text_is_no_change(Fixture *f, gconstpointer unused) {
        BhIntegrity *g = bh_integrity_new(f->root, f->proc, f->state);

        look(f, g, "");
        put(f, "root/etc/cron.d/daily", "0 0 * * * root true\n");
        look(f, g, "");
        bh_integrity_free(g);
}

static void module_that_one_view_lacks_is_hidden(void) {
        g_autoptr(GPtrArray) none = bh_integrity_modules("loop 1 0 - Live 0x0\nnf_nat 2 0\n", "loop\nnf_nat\n"), one = bh_integrity_modules("loop 1 0\n", "loop\nrootkit\n");

        g_assert_cmpuint(none->len, ==, 0);
        g_assert_cmpuint(one->len, ==, 1);
        g_assert_cmpstr(one->pdata[0], ==, "rootkit");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define FIXTURE(name) g_test_add("/integrity/" #name, Fixture, NULL, set_up, name, tear_down)
        FIXTURE(changes_are_told_once_and_what_was_there_first_is_not);
        FIXTURE(change_while_nobody_looked_is_found_at_the_next_start);
        FIXTURE(file_that_is_written_with_the_same_text_is_no_change);
        g_test_add_func("/integrity/module_that_one_view_lacks_is_hidden", module_that_one_view_lacks_is_hidden);
        return g_test_run();
}
