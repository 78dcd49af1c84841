/* SPDX-License-Identifier: Apache-2.0 */
#include "model/template.h"

#include <string.h>

#include "model/act.h"
#include "model/never.h"

static void assert_path(const char *path, const char *expected) {
        char out[BH_TEMPLATE_MAX];

        g_assert_cmpuint(bh_template_path(path, strlen(path), out), ==, strlen(expected));
        g_assert_cmpstr(out, ==, expected);
}

static void numbers_hashes_and_dates_are_generalised(void) {
        assert_path("/var/lib/app/12345.dat", "/var/lib/app/{n}.dat");
        assert_path("/var/log/app/2026-11-27.log", "/var/log/app/{date}.log");
        assert_path("/data/550e8400-e29b-41d4-a716-446655440000/x", "/data/{uuid}/x");
        assert_path("/var/lib/docker/overlay2/0a1b2c3d4e5f60718293a4b5c6d7e8f9/diff", "/var/lib/docker/overlay2/{hex}/diff");
        assert_path("/tmp/tmp.Ab3dE9xQ2z", "/tmp/tmp.{tmp}");
        assert_path("/tmp/phpQ8sT2k", "/tmp/{tmp}");
        assert_path("/tmp/phpixsrQA", "/tmp/{tmp}");
        assert_path("/tmp/tmph26yg_iw", "/tmp/tmp{tmp}");
        assert_path("/tmp/a0d_2oj2", "/tmp/{tmp}");
        assert_path("/tmp/bs5_x26i", "/tmp/{tmp}");
        assert_path("/tmp/log_2024", "/tmp/log_{n}");
        assert_path("/tmp/my_tool2", "/tmp/my_tool2");
        assert_path("/srv/a0d_2oj2", "/srv/a0d_2oj2");
        assert_path("/tmp/.ZendSem.TdnjHX", "/tmp/.ZendSem.{tmp}");
        assert_path("/usr/lib/python3.11/__pycache__/bz2.cpython-311.pyc.140493911408800", "/usr/lib/python3.11/__pycache__/bz2.cpython-311.pyc.{n}");
        assert_path("/tmp/.hidden", "/tmp/.hidden");
        assert_path("/tmp/.x.secret", "/tmp/.x.secret");
        assert_path("/tmp/php-shell", "/tmp/php-shell");
        assert_path("/tmp/dropper", "/tmp/dropper");
        assert_path("/var/lib/php/sessions/sess_228okhrhbnacdifaaqv2dtrdlm", "/var/lib/php/sessions/sess_{tmp}");
        assert_path("/proc/4711/status", "/proc/{n}/status");
        assert_path("/dev/pts/3", "/dev/pts/{n}");
        assert_path("/srv/worker12/job", "/srv/worker{n}/job");
}

static void words_and_sensitive_places_are_kept(void) {
        static const char *const same[] = { "/etc/shadow", "/etc/passwd", "/etc/cron.d/job2", "/root/.ssh/authorized_keys", "/proc/1/environ", "/proc/self/maps", "/dev/mem", "/dev/sda1",
                                            "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/bin/python3.11", "/var/www/html/shell.php", "/run/docker.sock", "/usr/bin/x1y2z3w4q5", "/app/utf8/h2" };

        for (guint i = 0; i < G_N_ELEMENTS(same); i++)
                assert_path(same[i], same[i]);
}

static void what_is_renewed_by_itself_keeps_its_name(void) {
        assert_path("/etc/letsencrypt/archive/shop.example/fullchain12.pem", "/etc/letsencrypt/archive/shop.example/fullchain{n}.pem");
        assert_path("/run/secrets/kubernetes.io/serviceaccount/..2026_11_27_10_00_00.1234567/token", "/run/secrets/kubernetes.io/serviceaccount/..{date}/token");
        /* and nothing else does */
        assert_path("/etc/ssl/private/key12.pem", "/etc/ssl/private/key12.pem");
        assert_path("/etc/letsencrypt/archive/shop.example/fullchain.pem.2", "/etc/letsencrypt/archive/shop.example/fullchain.pem.2");
        assert_path("/root/..2026_11_27_10_00_00.x/token", "/root/..2026_11_27_10_00_00.x/token");
        assert_path("/root/..2026", "/root/..2026");
}

/* Nobody can write what a template would be. */
static void a_brace_in_the_input_is_no_template(void) {
        assert_path("/data/{n}.dat", "/data/{{n}}.dat");
}

static void what_differs_behind_the_bound_still_differs(void) {
        g_autofree char *a = g_strnfill(2000, 'a'), *b = g_strnfill(2000, 'a');
        char out_a[BH_TEMPLATE_MAX], out_b[BH_TEMPLATE_MAX];

        b[1999] = 'b';
        g_assert_cmpuint(bh_template_path(a, 2000, out_a), <, BH_TEMPLATE_MAX);
        bh_template_path(b, 2000, out_b);
        g_assert_cmpstr(out_a, !=, out_b);

        GString *many = g_string_new(NULL), *other = g_string_new(NULL);
        for (guint i = 0; i < 100; i++) {
                g_string_append_len(many, "x", 2);
                g_string_append_len(other, i == 99 ? "y" : "x", 2);
        }
        bh_template_args("/bin/x", 6, many->str, many->len, out_a);
        bh_template_args("/bin/x", 6, other->str, other->len, out_b);
        g_assert_cmpstr(out_a, !=, out_b);
        g_string_free(many, TRUE);
        g_string_free(other, TRUE);
}

static void assert_args(const char *exe, const char *args, gsize len, const char *expected) {
        char out[BH_TEMPLATE_MAX];

        bh_template_args(exe, strlen(exe), args, len, out);
        g_assert_cmpstr(out, ==, expected);
}

static void arguments_keep_words_options_and_public_addresses(void) {
        assert_args("/usr/bin/worker", "worker\0--job=4711\0/tmp/in.Ab3dE9", 33, "--job={n} /tmp/in.{tmp}");
        assert_args("/bin/busybox", "sh\0-c\0id", 9, "[sh] -c id");
        assert_args("/usr/bin/nc", "nc\0" "10.0.0.7\0" "4444", 17, "{ip} {n}");
        assert_args("/usr/bin/nc", "nc\0" "203.0.113.7\0" "4444", 20, "203.0.113.7 {n}");
        assert_args("/usr/bin/x", "x\0\0y", 4, "'' y");
        assert_args("/usr/bin/x", "", 0, "");
}

static void names_keep_what_is_registered(void) {
        char out[BH_TEMPLATE_MAX];

        bh_template_name("API.Example.com.", 16, out);
        g_assert_cmpstr(out, ==, "api.example.com");
        bh_template_name("aGVsbG8gd29ybGQ.x.t.evil.com", 28, out);
        g_assert_cmpstr(out, ==, "*.t.evil.com");
        bh_template_name("redis", 5, out);
        g_assert_cmpstr(out, ==, "redis");
        bh_template_name("12.example.com", 14, out);
        g_assert_cmpstr(out, ==, "{n}.example.com");
        bh_template_name("", 0, out);
        g_assert_cmpstr(out, ==, "");
}

static void directories_become_one_item_only_where_that_hides_nothing(void) {
        char out[BH_TEMPLATE_MAX];

        g_assert_true(bh_template_wild("/var/lib/app/cat.jpg", 20, out));
        g_assert_cmpstr(out, ==, "/var/lib/app/*.jpg");
        g_assert_false(bh_template_wild("/etc/app/cat.jpg", 16, out));
        g_assert_false(bh_template_wild("/var/www/up/shell.php", 21, out));
        g_assert_false(bh_template_wild("/var/www/up/shell.php.jpg", 25, out));
        g_assert_false(bh_template_wild("/var/www/up/.htaccess", 21, out));
        g_assert_false(bh_template_wild("/data", 5, out));
        g_assert_true(bh_template_credential("/root/.ssh/id_ed25519", 21));
        g_assert_true(bh_template_credential("/etc/shadow", 11));
        g_assert_false(bh_template_credential("/etc/passwd", 11));
}

static struct bh_event event(guint32 type, const char *exe, const char *parent, const char *path) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET_STR(&e, exe, exe);
        BH_SET_STR(&e, parent_exe, parent);
        BH_SET_STR(&e, path, path);
        return e;
}

static void what_is_never_learned_is_told(void) {
        struct bh_event e;

        e = event(BH_EV_EXEC, "/bin/dash", "/usr/sbin/nginx", NULL);
        g_assert_cmpstr(bh_never_learn(&e), ==, "a shell started by a server");
        e = event(BH_EV_EXEC, "/bin/dash", "/usr/bin/php-fpm8.2", NULL);
        g_assert_nonnull(bh_never_learn(&e));
        e = event(BH_EV_EXEC, "/usr/sbin/nginx", "/bin/dash", NULL);
        g_assert_null(bh_never_learn(&e));
        e = event(BH_EV_EXEC, "/tmp/x", "/bin/dash", NULL);
        g_assert_nonnull(bh_never_learn(&e));
        e = event(BH_EV_EXEC, "/usr/bin/new", "/bin/dash", NULL);
        BH_SET(&e, flags, 1ull << 11);
        g_assert_cmpstr(bh_never_learn(&e), ==, "a program that is not in the image");
        e = event(BH_EV_OPEN, "/usr/bin/cat", NULL, "/etc/shadow");
        g_assert_nonnull(bh_never_learn(&e));
        e = event(BH_EV_OPEN, "/usr/bin/su", NULL, "/etc/shadow");
        g_assert_null(bh_never_learn(&e));
        e = event(BH_EV_MOUNT, "/usr/bin/mount", NULL, NULL);
        g_assert_nonnull(bh_never_learn(&e));
        e = event(BH_EV_MOUNT, "/usr/bin/runc", NULL, NULL);
        g_assert_null(bh_never_learn(&e));
        e = event(BH_EV_MOUNT, "/dev/shm/runc", NULL, NULL);
        g_assert_nonnull(bh_never_learn(&e));
        e = event(BH_EV_MOUNT, "/usr/bin/runc", NULL, NULL);
        /* of a container's own layer nothing is the runtime, whatever it is called */
        BH_SET(&e, flags, 1ull << 20);
        g_assert_nonnull(bh_never_learn(&e));
}

static void risk_follows_the_act(void) {
        const BhAct shell = { .family = BH_FAMILY_EXEC, .actor = "/usr/sbin/nginx", .object = "/bin/sh", .detail = "" }, data = { .family = BH_FAMILY_FILE, .actor = "x", .object = "/data/x/a.jpg", .detail = "read" },
                    shadow = { .family = BH_FAMILY_FILE, .actor = "x", .object = "/etc/shadow", .detail = "read" };

        g_assert_cmpfloat(bh_act_risk(&shell), >, 0.9);
        g_assert_cmpfloat(bh_act_risk(&shadow), >, 0.9);
        g_assert_cmpfloat(bh_act_risk(&data), <, 0.3);
        for (guint f = 1; f < BH_FAMILIES; f++) {
                g_assert_nonnull(bh_family_kind(f));
                g_assert_cmpint(bh_family_from_kind(bh_family_kind(f)), ==, f);
        }
        g_assert_cmpint(bh_family_from_kind("no such"), ==, BH_FAMILY_NONE);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/model_template/numbers_hashes_and_dates_are_generalised", numbers_hashes_and_dates_are_generalised);
        g_test_add_func("/model_template/words_and_sensitive_places_are_kept", words_and_sensitive_places_are_kept);
        g_test_add_func("/model_template/what_is_renewed_by_itself_keeps_its_name", what_is_renewed_by_itself_keeps_its_name);
        g_test_add_func("/model_template/a_brace_in_the_input_is_no_template", a_brace_in_the_input_is_no_template);
        g_test_add_func("/model_template/what_differs_behind_the_bound_still_differs", what_differs_behind_the_bound_still_differs);
        g_test_add_func("/model_template/arguments_keep_words_options_and_public_addresses", arguments_keep_words_options_and_public_addresses);
        g_test_add_func("/model_template/names_keep_what_is_registered", names_keep_what_is_registered);
        g_test_add_func("/model_template/directories_become_one_item_only_where_that_hides_nothing", directories_become_one_item_only_where_that_hides_nothing);
        g_test_add_func("/model_template/what_is_never_learned_is_told", what_is_never_learned_is_told);
        g_test_add_func("/model_template/risk_follows_the_act", risk_follows_the_act);
        return g_test_run();
}
