/* SPDX-License-Identifier: Apache-2.0 */
/* The default rules on single events: what popular images do all day, and what looks like it and is not. Real acts: tests/attacks. */
#include "rules_event.h"

static BhRuleSet *set;
static BhRuleEngine *engine;
static BhRuleRun *run;

static void load(const char *more) {
        static const char *const names[] = { "00-common", "10-escape", "20-execution", "30-persistence", "40-credentials", "50-network", "60-traces", "90-noisy" };
        BhRuleSource files[G_N_ELEMENTS(names) + 1] = { 0 };
        guint n = G_N_ELEMENTS(names) + (more != NULL);
        g_autoptr(GPtrArray) problems = g_ptr_array_new();
        g_autoptr(GError) error = NULL;

        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                files[i].name = g_strdup_printf(BH_SOURCE_ROOT "/rules/%s.yaml", names[i]);
        if (more)
                files[n - 1] = (BhRuleSource){ .name = "more", .text = more, .len = strlen(more) };
        set = bh_rule_set_load(files, n, NULL);
        g_assert_cmpuint(bh_rule_set_errors(set), ==, 0);
        engine = bh_rule_engine_new(set, NULL, problems, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(problems->len, ==, 0);
        run = bh_rule_run_new();
        for (guint i = 0; i < G_N_ELEMENTS(names); i++)
                g_free((char *) files[i].name);
}

/* The name of the rule that tells the event, "" if none does. */
static const char *told(const struct bh_event *e) {
        const guint32 *matches;

        if (!bh_rule_run_event(run, engine, e, NULL, &matches))
                return "";
        return ((const BhRule *) g_ptr_array_index(bh_rule_set_rules(set), matches[0]))->name;
}

#define is(e, name) g_assert_cmpstr(told(&(e)), ==, name)

#define SHELL "Standard input or output put on a network connection"

static struct bh_event socket_on_stdin(struct bh_str exe, struct bh_str args) {
        struct bh_event e = base_event(BH_EV_DUP_STDIO);

        BH_SET(&e, exe, exe);
        BH_SET(&e, args, args);
        BH_SET(&e, fd, 0);
        BH_SET(&e, fd_mode, 0140777);
        set_ip(&e, TRUE, "10.0.0.2", 9000);
        return e;
}

static void servers_put_sockets_on_stdin(void) {
        struct bh_event e = socket_on_stdin(STR("/usr/bin/bash"), STR("bash"));

        is(e, SHELL); /* not connected yet */
        set_ip(&e, FALSE, "10.0.0.9", 4444);
        is(e, SHELL);

        e = socket_on_stdin(STR("/usr/local/sbin/php-fpm"), STR("php-fpm: pool www"));
        is(e, "");
        set_ip(&e, FALSE, "0.0.0.0", 0);
        is(e, "");
        set_ip(&e, FALSE, "10.0.0.9", 4444);
        is(e, SHELL);

        e = socket_on_stdin(STR("/bin/busybox"), STR("httpd\0-f"));
        is(e, "");
        e = socket_on_stdin(STR("/bin/busybox"), STR("busybox\0httpd\0-f"));
        is(e, "");
        e = socket_on_stdin(STR("/bin/busybox"), STR("sh\0-i"));
        is(e, SHELL);
        e = socket_on_stdin(STR("/tmp/x"), STR("httpd\0-f")); /* the name alone is worth nothing */
        is(e, SHELL);
}

static void names_of_package_managers(void) {
        struct bh_event e = exec_event();

        ADD(&e, exe, "/usr/bin/yum");
        ADD(&e, args, "yum");
        ADD(&e, env, "A=b");
        BH_SET(&e, flags, BH_RF_EXE_LOWER);
        is(e, "Package manager run in a running container");
        BH_SET(&e, flags, BH_RF_EXE_UPPER);
        is(e, "Program that is not part of the image run");
}

static void directories_that_keep_their_group(void) {
        struct bh_event e = base_event(BH_EV_CHMOD);

        ADD(&e, exe, "/usr/bin/chmod");
        ADD(&e, args, "chmod\0" "03775\0/run/postgresql");
        ADD(&e, path, "/run/postgresql");
        BH_SET(&e, mode, 03775);
        is(e, "");
        BH_SET(&e, mode, 07775);
        is(e, "Set-user-id bit given to a file");
        BH_SET(&e, mode, 02755);
        is(e, "Set-user-id bit given to a file");
        BH_SET(&e, mode, 03775);
        ADD(&e, path, "/usr/bin/x");
        is(e, "Set-user-id bit given to a file");
}

/* A container's first process that starts itself anew from memory, under the name of runc's sealed copy. */
static void name_of_the_runtime(void) {
        struct bh_event e = exec_event();

        ADD(&e, exe, "/memfd:runc_cloned:/proc/self/exe");
        ADD(&e, parent_exe, "/usr/bin/runc");
        ADD(&e, args, "runc\0init");
        ADD(&e, env, "A=b");
        BH_SET(&e, flags, BH_RF_EXE_MEMFD);
        BH_SET(&e, cap_effective, 0xa80425fbull); /* what Docker gives */
        is(e, "Program run from memory");
        BH_SET(&e, cap_effective, 0x1ffffffffffull);
        is(e, "");

        struct bh_event mount = base_event(BH_EV_MOUNT);
        ADD(&mount, exe, "/");
        ADD(&mount, parent_exe, "/usr/bin/runc");
        ADD(&mount, path, "/mnt");
        is(mount, "");
        BH_SET(&mount, cap_effective, 0xa80425fbull); /* what it may now, when it has set the container up */
        is(mount, "");
}

static struct bh_event asked(const char *name, const char *path) {
        struct bh_event e = base_event(BH_EV_OPEN);

        ADD(&e, exe, "/usr/bin/cat");
        ADD(&e, args, "cat\0x");
        BH_SET_STR(&e, name, name);
        BH_SET_STR(&e, path, path);
        BH_SET(&e, open_flags, O_RDONLY);
        return e;
}

static void ways_through_proc(void) {
        static const char *const others[] = { "/proc/1/root/srv/x", "//proc/1/root/srv/x", "/proc/./1//./root//srv/x", "/proc/self/../1/root/srv/x", "/proc/../proc/1/cwd/x", "/proc/1/task/7/root/x",
                                              "proc/1/root/x", "/proc/self/root/proc/1/root/x" },
                                 *const within[] = { "1/root/srv/x", "./1/root/srv/x", "../1/root/srv/x", "1/cwd/x" },
                                 *const own[] = { "/proc/self/root/srv/x", "/srv/v1/root/x", "root/x", "/proc/1/rootfs/x", "/home/1a/cwd/x", "1/root/x" };

        for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
                struct bh_event e = asked(others[i], "/srv/x");
                is(e, "Root of another process reached through proc");
        }
        for (guint i = 0; i < G_N_ELEMENTS(own); i++) {
                struct bh_event e = asked(own[i], "/srv/x");
                is(e, "");
        }

        for (guint i = 0; i < G_N_ELEMENTS(within); i++) {
                struct bh_event e = asked(within[i], "/srv/x");

                ADD(&e, cwd, "/home");
                is(e, "");
                ADD(&e, cwd, "/proc");
                is(e, "Root of another process reached through proc");
        }

        struct bh_event e = asked("environ", "/proc/12/environ");
        is(e, "Environment or memory of another process read by a tool");
        e = asked("/proc/12/maps", "/proc/12/maps");
        is(e, "Environment or memory of another process read by a tool");
        e = asked("/proc/self/environ", "/proc/12/environ");
        is(e, "");
}

static void mail_and_nothing_else(void) {
        struct bh_event e = exec_event();

        ADD(&e, exe, "/bin/dash");
        ADD(&e, env, "A=b");
        ADD(&e, parent_exe, "/usr/sbin/apache2");
        BH_SET(&e, tty, 0);
        BH_SET(&e, flags, BH_RF_EXE_LOWER);
        ADD(&e, args, "sh\0-c\0/usr/sbin/sendmail -t -i -fshop@example.org");
        is(e, "");
        ADD(&e, args, "sh\0-c\0--\0/usr/sbin/sendmail -t -i");
        is(e, "");
        ADD(&e, args, "sh\0-c\0/usr/sbin/sendmail -t; id");
        is(e, "Server program started a shell");
        ADD(&e, args, "sh\0-c\0id #/usr/sbin/sendmail");
        is(e, "Server program started a shell");
}

static void unload(void) {
        g_clear_pointer(&run, bh_rule_run_free);
        g_clear_pointer(&engine, bh_rule_engine_unref);
        g_clear_pointer(&set, bh_rule_set_unref);
}

static void runtimes_of_distributions(void) {
        static const char *const theirs[] = { "/var/lib/rancher/k3s/data/1a2b/bin/runc", "/var/lib/rancher/rke2/data/v1.30/bin/runc", "/snap/microk8s/7000/bin/runc", "/var/lib/k0s/bin/runc", "/usr/libexec/crio/crun",
                                              "/usr/local/bin/runc" },
                                 *const others[] = { "/var/lib/rancher/k3s/data/1a2b/bin/kubectl", "/srv/k3s/data/bin/runc", "/usr/bin/bash" };
        struct bh_event e = exec_event();

        ADD(&e, exe, "/memfd:runc_cloned:/proc/self/exe");
        ADD(&e, args, "runc\0init");
        ADD(&e, env, "A=b");
        BH_SET(&e, flags, BH_RF_EXE_MEMFD);
        BH_SET(&e, cap_effective, 0x1ffffffffffull);
        for (guint i = 0; i < G_N_ELEMENTS(theirs); i++) {
                BH_SET_STR(&e, parent_exe, theirs[i]);
                is(e, "");
        }
        for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
                BH_SET_STR(&e, parent_exe, others[i]);
                is(e, "Program run from memory");
        }
}

static void steps_of_a_build(void) {
        struct bh_event e = exec_event();

        ADD(&e, exe, "/src/configure-test");
        ADD(&e, args, "conftest");
        ADD(&e, env, "A=b");
        BH_SET(&e, flags, BH_RF_EXE_UPPER);
        is(e, "Program that is not part of the image run");
        ADD(&e, container_runtime, "buildkit");
        is(e, "");
}

static void commands_that_are_not_seen_whole(void) {
        struct bh_event e = exec_event();

        ADD(&e, env, "A=b");
        BH_SET(&e, tty, 0);
        BH_SET(&e, flags, BH_RF_EXE_LOWER);
        is(e, "");
        BH_SET(&e, flags, BH_RF_EXE_LOWER | BH_RF_ARGS_CUT);
        is(e, "Shell given more than can be seen");
        ADD(&e, parent_exe, "/usr/bin/xargs");
        is(e, "");
        ADD(&e, parent_exe, "/usr/sbin/sshd");
        ADD(&e, exe, "/usr/bin/rm");
        is(e, "");
}

static void ports_of_the_control_plane(void) {
        struct bh_event e = connect_event("10.0.0.5", 40000, "10.0.0.1", 10250);

        ADD(&e, exe, "/usr/bin/app");
        is(e, "Node's control plane contacted from a container");
        e = connect_event("10.0.0.5", 40000, "10.0.0.1", 2379); /* applications have an etcd of theirs */
        ADD(&e, exe, "/usr/bin/app");
        is(e, "");
}

/* Where images do not lie on overlays every program looks as one from a volume. */
static void other_storage(void) {
        struct bh_event e = exec_event();

        ADD(&e, exe, "/usr/bin/app");
        ADD(&e, args, "app");
        ADD(&e, env, "A=b");
        BH_SET(&e, flags, 0);
        is(e, "Program run from a volume");
        unload();
        load("- macro: images_lie_on_overlays\n  condition: (evt.num < 0)\n  override: {condition: replace}\n");
        is(e, "");
        ADD(&e, exe, "/dev/shm/app");
        is(e, "Program run from a directory that anyone can write to");
        unload();
        load(NULL);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        load(NULL);
        g_test_add_func("/rules/shipped/sockets_on_stdin", servers_put_sockets_on_stdin);
        g_test_add_func("/rules/shipped/package_managers", names_of_package_managers);
        g_test_add_func("/rules/shipped/set_group_id", directories_that_keep_their_group);
        g_test_add_func("/rules/shipped/name_of_the_runtime", name_of_the_runtime);
        g_test_add_func("/rules/shipped/ways_through_proc", ways_through_proc);
        g_test_add_func("/rules/shipped/mail_and_nothing_else", mail_and_nothing_else);
        g_test_add_func("/rules/shipped/runtimes_of_distributions", runtimes_of_distributions);
        g_test_add_func("/rules/shipped/steps_of_a_build", steps_of_a_build);
        g_test_add_func("/rules/shipped/commands_that_are_not_seen_whole", commands_that_are_not_seen_whole);
        g_test_add_func("/rules/shipped/ports_of_the_control_plane", ports_of_the_control_plane);
        g_test_add_func("/rules/shipped/other_storage", other_storage);
        int status = g_test_run();
        unload();
        return status;
}
