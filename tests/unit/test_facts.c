/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/facts.h"

#include <errno.h>

static struct bh_event event(guint32 type) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET(&e, count, 1);
        BH_SET_STR(&e, container_id, "0123456789ab");
        BH_SET_STR(&e, exe, "/usr/bin/app");
        BH_SET_STR(&e, parent_exe, "/usr/bin/init");
        return e;
}

static char *told(const struct bh_event *e) {
        BhFact f[BH_FACTS_MAX];
        guint n = bh_facts_of(e, f);
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < n; i++)
                g_string_append_printf(out, "%s%s|%.*s|%.*s|%.*s|%u", i ? "\n" : "", f[i].kind, (int) f[i].parent.len, f[i].parent.p, (int) f[i].subject.len, f[i].subject.p, (int) f[i].detail.len, f[i].detail.p,
                                       f[i].uid);
        return g_string_free(out, FALSE);
}

static void expect(const struct bh_event *e, const char *expected) {
        g_autofree char *got = told(e);

        g_assert_cmpstr(got, ==, expected);
}

static void programs_are_told_with_who_started_them_and_how(void) {
        struct bh_event e = event(BH_EV_EXEC);

        BH_SET(&e, args, ((struct bh_str){ "app\0--job=42\0", 13 }));
        BH_SET(&e, uid, 33);
        expect(&e, "exec|/usr/bin/init|/usr/bin/app|--job={n}|33");
}

static void files_are_told_by_what_is_done_to_them(void) {
        struct bh_event e = event(BH_EV_OPEN);

        BH_SET_STR(&e, path, "/var/lib/app/12345.dat");
        BH_SET(&e, ret, 3);
        expect(&e, "file|/usr/bin/app|/var/lib/app/{n}.dat|read|0");
        BH_SET(&e, open_flags, 2);
        expect(&e, "file|/usr/bin/app|/var/lib/app/{n}.dat|write|0");
        BH_SET(&e, flags, BH_RF_CREATED);
        expect(&e, "file|/usr/bin/app|/var/lib/app/{n}.dat|create|0");
        e = event(BH_EV_UNLINK);
        BH_SET_STR(&e, path, "/etc/passwd");
        expect(&e, "file|/usr/bin/app|/etc/passwd|delete|0");
        e = event(BH_EV_RENAME);
        BH_SET_STR(&e, path, "/tmp/a");
        BH_SET_STR(&e, path2, "/etc/passwd");
        expect(&e, "file|/usr/bin/app|/etc/passwd|rename|0");
}

/* What was refused was tried; what is not there says nothing. */
static void tries_that_were_refused_count_and_misses_do_not(void) {
        struct bh_event e = event(BH_EV_OPEN);

        BH_SET_STR(&e, path, "/etc/shadow");
        BH_SET(&e, ret, -EACCES);
        expect(&e, "file|/usr/bin/app|/etc/shadow|read|0");
        BH_SET(&e, ret, -ENOENT);
        expect(&e, "");
        BH_SET(&e, ret, 3);
        BH_SET_STR(&e, path, "pipe:[1]");
        expect(&e, "");
}

static void other_kinds_are_told(void) {
        struct bh_event e = event(BH_EV_LISTEN);

        BH_SET(&e, lport, 8080);
        BH_SET(&e, proto, 6);
        expect(&e, "listen|/usr/bin/app|tcp/8080||0");
        e = event(BH_EV_DNS);
        BH_SET_STR(&e, dns_type, "query");
        BH_SET_STR(&e, dns_question, "x7.a.b.example.com");
        BH_SET_STR(&e, dns_qtype, "TXT");
        expect(&e, "dns|/usr/bin/app|*.b.example.com|TXT|0");
        BH_SET_STR(&e, dns_type, "response");
        expect(&e, "");
        e = event(BH_EV_CREDS);
        BH_SET(&e, old_euid, 0);
        BH_SET(&e, euid, 33);
        BH_SET(&e, old_cap_effective, 0);
        BH_SET(&e, cap_effective, 1ull << 21 | 1ull << 13);
        expect(&e, "credential|/usr/bin/app|uid 33||0\ncapability|/usr/bin/app|CAP_SYS_ADMIN|gained|0\ncapability|/usr/bin/app|CAP_NET_RAW|gained|0");
        /* root of a container, and one that it should not have */
        BH_SET(&e, cap_effective, 0xa80425fbull | 1ull << 21);
        expect(&e, "credential|/usr/bin/app|uid 33||0\ncapability|/usr/bin/app|CAP_SYS_ADMIN|gained|0\ncapability|/usr/bin/app|CAP_CHOWN|gained|0\ncapability|/usr/bin/app|CAP_DAC_OVERRIDE|gained|0");
        BH_SET(&e, cap_effective, ~0ull);
        BhFact f[BH_FACTS_MAX];
        g_assert_cmpuint(bh_facts_of(&e, f), ==, BH_FACTS_MAX);
        e = event(BH_EV_MOUNT);
        BH_SET_STR(&e, path, "/mnt/550e8400-e29b-41d4-a716-446655440000");
        expect(&e, "namespace|/usr/bin/app|mount|/mnt/{uuid}|0");
        e = event(BH_EV_BPF);
        BH_SET(&e, operation, 5);
        expect(&e, "kernel|/usr/bin/app|bpf|request 5|0");
}

static void what_says_nothing_of_a_container_is_passed_over(void) {
        struct bh_event e = event(BH_EV_EXEC);

        BH_SET_STR(&e, path, "/x");
        e.container_id.len = 0;
        expect(&e, "");
        e = event(BH_EV_EXIT);
        expect(&e, "");
        /* only counts: whoever did it may be another program by now */
        e = event(BH_EV_OPEN);
        BH_SET_STR(&e, path, "/etc/shadow");
        BH_SET(&e, flags, BH_RF_REPEATS);
        expect(&e, "");
        /* the runtime, before there is a container to speak of */
        e = event(BH_EV_MOUNT);
        BH_SET_STR(&e, exe, "/usr/sbin/runc");
        BH_SET_STR(&e, parent_exe, "/usr/bin/containerd-shim-runc-v2");
        BH_SET_STR(&e, path, "/");
        expect(&e, "");
        /* its sealed copy, which has no name; of anybody else's it is told */
        e = event(BH_EV_EXEC);
        BH_SET_STR(&e, exe, "/");
        BH_SET_STR(&e, parent_exe, "/usr/sbin/runc");
        expect(&e, "");
        BH_SET_STR(&e, parent_exe, "/usr/bin/app");
        expect(&e, "exec|/usr/bin/app|/||0");
        BH_SET_STR(&e, parent_exe, "/");
        expect(&e, "exec|/|/||0");
}

static void a_program_of_a_volume_that_has_the_runtimes_name_is_not_the_runtime(void) {
        struct bh_event e = event(BH_EV_MOUNT);

        BH_SET_STR(&e, exe, "/data/runc");
        BH_SET_STR(&e, parent_exe, "/bin/sh");
        BH_SET_STR(&e, path, "/mnt");
        expect(&e, "namespace|/data/runc|mount|/mnt|0");
        /* nor one in memory that has the name of runc's copy */
        BH_SET_STR(&e, exe, "/memfd:runc_cloned:/proc/self/exe (deleted)");
        BH_SET(&e, flags, BH_RF_EXE_MEMFD);
        expect(&e, "namespace|/memfd:runc_cloned:/proc/self/exe (deleted)|mount|/mnt|0");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/facts/programs_are_told_with_who_started_them_and_how", programs_are_told_with_who_started_them_and_how);
        g_test_add_func("/facts/files_are_told_by_what_is_done_to_them", files_are_told_by_what_is_done_to_them);
        g_test_add_func("/facts/tries_that_were_refused_count_and_misses_do_not", tries_that_were_refused_count_and_misses_do_not);
        g_test_add_func("/facts/other_kinds_are_told", other_kinds_are_told);
        g_test_add_func("/facts/what_says_nothing_of_a_container_is_passed_over", what_says_nothing_of_a_container_is_passed_over);
        g_test_add_func("/facts/a_program_of_a_volume_that_has_the_runtimes_name_is_not_the_runtime", a_program_of_a_volume_that_has_the_runtimes_name_is_not_the_runtime);
        return g_test_run();
}
