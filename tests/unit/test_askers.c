/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected to a runtime's socket, and can have asked. */
#include <string.h>
#include <sys/socket.h>

#include "sensor/askers.h"

#define SECOND G_GUINT64_CONSTANT(1000000000)
#define DOCKER "/run/docker.sock"

static struct bh_event act(guint32 type, guint32 pid, guint64 time) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET(&e, pid, pid);
        BH_SET(&e, proc_start, pid * 1000);
        BH_SET(&e, time, time);
        BH_SET_STR(&e, exe, "/usr/bin/docker");
        BH_SET(&e, uid, 0);
        return e;
}

static struct bh_event connect_to(const char *path, guint32 pid, guint64 time) {
        struct bh_event e = act(BH_EV_CONNECT, pid, time);

        BH_SET(&e, family, AF_UNIX);
        BH_SET(&e, ret, 0);
        BH_SET_STR(&e, path, path);
        return e;
}

static void assert_asked(const BhAskers *a, guint64 time, const char *runtime, const char *expected) {
        struct bh_event e = { 0 };
        g_autofree char *who = NULL;

        BH_SET(&e, type, BH_EV_CONTAINER);
        BH_SET(&e, time, time);
        BH_SET_STR(&e, container_runtime, runtime);
        who = bh_askers_of(a, &e);
        g_assert_cmpstr(who, ==, expected);
}

static void the_one_that_is_connected_asked(void) {
        g_autoptr(BhAskers) a = bh_askers_new("/var" DOCKER, "/run/containerd/containerd.sock");
        struct bh_event e = connect_to(DOCKER, 7, 5 * SECOND);

        assert_asked(a, 9 * SECOND, "docker", "");
        BH_SET_STR(&e, proc_user, "root");
        bh_askers_event(a, &e);
        assert_asked(a, 9 * SECOND, "docker", "/usr/bin/docker (user root, pid 7)");
        assert_asked(a, 9 * SECOND, "containerd", ""); /* that is another socket */
        assert_asked(a, 4 * SECOND, "docker", ""); /* before it connected */
        e = act(BH_EV_EXIT, 7, 10 * SECOND);
        bh_askers_event(a, &e);
        assert_asked(a, 9 * SECOND, "docker", "/usr/bin/docker (user root, pid 7)"); /* told late */
        assert_asked(a, 11 * SECOND, "docker", "");
}

static void of_several_all_are_named(void) {
        g_autoptr(BhAskers) a = bh_askers_new(DOCKER, NULL);

        for (guint32 pid = 1; pid <= 6; pid++) {
                struct bh_event e = connect_to("/var" DOCKER, pid, pid * SECOND);

                if (pid == 2) {
                        BH_SET_STR(&e, container_id, "0123");
                        BH_SET_STR(&e, container_name, "web");
                } else if (pid == 1) {
                        BH_SET_STR(&e, origin_id, "0123");
                }
                bh_askers_event(a, &e);
        }
        assert_asked(a, 2 * SECOND, "docker", "one of: /usr/bin/docker (uid 0, pid 2) in container web; /usr/bin/docker (uid 0, pid 1) from container 0123");
        assert_asked(a, 9 * SECOND, "docker", "one of: /usr/bin/docker (uid 0, pid 6); /usr/bin/docker (uid 0, pid 5); /usr/bin/docker (uid 0, pid 4); /usr/bin/docker (uid 0, pid 3); 2 more");
}

static void assert_killer(BhAskers *a, const char *id, guint64 time, const char *expected) {
        g_autofree char *by = bh_askers_killer(a, id, time);

        g_assert_cmpstr(by, ==, expected);
}

static void who_had_it_killed_is_told_at_its_end(void) {
        g_autoptr(BhAskers) a = bh_askers_new(DOCKER, NULL);

        bh_askers_kill(a, "0123", "a hangup's", 1 * SECOND);
        bh_askers_kill(a, "0123", "the killer", 5 * SECOND);
        bh_askers_kill(a, "4567", "another", 6 * SECOND);
        assert_killer(a, "0123", 15 * SECOND, "the killer");
        assert_killer(a, "0123", 16 * SECOND, NULL); /* the next end has another cause */
        assert_killer(a, "4567", 6 * SECOND + BH_ASKERS_KILL_NS + 1, NULL); /* it lived on */
        bh_askers_kill(a, "0123", "", 20 * SECOND); /* somebody, nobody known */
        assert_killer(a, "0123", 21 * SECOND, NULL);
        for (guint i = 0; i <= BH_ASKERS_MAX; i++) {
                g_autofree char *id = g_strdup_printf("%u", i);

                bh_askers_kill(a, id, "x", 30 * SECOND);
        }
        assert_killer(a, "0", 30 * SECOND, NULL);
        assert_killer(a, "1", 30 * SECOND, "x");
}

static void what_is_no_connection_to_the_runtime_does_not_count(void) {
        g_autoptr(BhAskers) a = bh_askers_new(DOCKER, NULL);
        struct bh_event e = connect_to("/run/other.sock", 1, SECOND);

        bh_askers_event(a, &e);
        e = connect_to(DOCKER, 2, SECOND);
        BH_SET(&e, ret, -13);
        bh_askers_event(a, &e);
        e = connect_to(DOCKER, 3, SECOND);
        BH_SET_STR(&e, target_container_id, "0123"); /* a socket of that name that a container made */
        bh_askers_event(a, &e);
        e = connect_to(DOCKER, 4, SECOND);
        BH_SET(&e, family, AF_INET);
        bh_askers_event(a, &e);
        assert_asked(a, 9 * SECOND, "docker", "");
}

static void a_pid_used_again_is_somebody_else(void) {
        g_autoptr(BhAskers) a = bh_askers_new(DOCKER, NULL);
        struct bh_event e = connect_to(DOCKER, 7, SECOND);

        bh_askers_event(a, &e);
        e = act(BH_EV_EXIT, 7, 2 * SECOND);
        BH_SET(&e, proc_start, 1);
        bh_askers_event(a, &e);
        assert_asked(a, 9 * SECOND, "docker", "/usr/bin/docker (uid 0, pid 7)");
}

static void there_are_bounds(void) {
        g_autoptr(BhAskers) a = bh_askers_new(DOCKER, NULL);
        struct bh_event e;

        for (guint32 pid = 1; pid <= BH_ASKERS_MAX; pid++) {
                e = connect_to(DOCKER, pid, SECOND);
                bh_askers_event(a, &e);
                if (pid > 1) {
                        e = act(BH_EV_EXIT, pid, 2 * SECOND);
                        bh_askers_event(a, &e);
                }
        }
        e = connect_to(DOCKER, 9001, 3 * SECOND); /* one that ended goes for it */
        bh_askers_event(a, &e);
        assert_asked(a, 4 * SECOND, "docker", "one of: /usr/bin/docker (uid 0, pid 9001); /usr/bin/docker (uid 0, pid 1)");
        for (guint32 pid = 10000; pid < 10000 + BH_ASKERS_MAX; pid++) {
                e = connect_to(DOCKER, pid, 60 * SECOND);
                bh_askers_event(a, &e);
        }
        for (guint32 pid = 10000; pid < 10000 + BH_ASKERS_MAX - 1; pid++) {
                e = act(BH_EV_EXIT, pid, 61 * SECOND);
                bh_askers_event(a, &e);
        }
        g_autofree char *last = g_strdup_printf("one of: /usr/bin/docker (uid 0, pid %u); others", 10000 + BH_ASKERS_MAX - 1);
        assert_asked(a, 62 * SECOND, "docker", last); /* 1 and 9001 live, and are forgotten */
}

/* ---- makers of cgroups ---- */

/* Each process is the child of the one before it; start is pid * 1000. */
typedef struct {
        const char *exe, *comm, *container;
} Ancestor;

static const Ancestor *line; /* its first is pid 1 */

static gboolean find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        if (!pid || start != pid * 1000)
                return FALSE;
        const Ancestor *a = &line[pid - 1];
        *out = (struct bh_lineage_process){ .pid = pid, .start = start, .uid = 7 };
        /* what is not known has no text at all */
        out->exe = (struct bh_str){ *a->exe ? a->exe : NULL, (guint32) strlen(a->exe) };
        out->comm = (struct bh_str){ *a->comm ? a->comm : NULL, (guint32) strlen(a->comm) };
        if (a->container)
                out->container_id = (struct bh_str){ a->container, (guint32) strlen(a->container) };
        return TRUE;
}

static gboolean parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        return find(data, of->pid - 1, (of->pid - 1) * 1000, out);
}

static void assert_maker(const Ancestor *ancestors, guint32 pid, const char *expected) {
        const struct bh_lineage lineage = { .find = find, .parent = parent };
        struct bh_event e = act(BH_EV_CGROUP_CREATE, pid, SECOND);

        line = ancestors;
        g_autofree char *who = bh_askers_maker(&e, &lineage);
        g_assert_cmpstr(who, ==, expected);
}

static void the_maker_of_a_cgroup_is_the_highest_part_of_its_runtime(void) {
        static const Ancestor podman[] = { { "/usr/bin/bash", "bash", NULL }, { "/usr/bin/podman", "podman", NULL }, { "/usr/bin/conmon", "conmon", NULL }, { "/", "crun", NULL } };
        static const Ancestor plain[] = { { "/usr/bin/bash", "bash", NULL }, { "/usr/sbin/runc", "runc", "inner" } };
        static const Ancestor between[] = { { "/usr/bin/podman", "podman", NULL }, { "/usr/bin/bash", "bash", NULL }, { "/memfd:x", "crun", NULL } };

        static const Ancestor unknown[] = { { "", "", NULL }, { "/usr/sbin/runc", "runc", NULL } };

        assert_maker(unknown, 2, "/usr/sbin/runc (uid 7, pid 2)");
        assert_maker(podman, 4, "/usr/bin/podman (uid 7, pid 2)");
        assert_maker(plain, 2, "/usr/sbin/runc (uid 7, pid 2) in container inner");
        assert_maker(between, 3, "/memfd:x (uid 7, pid 3)");
        assert_maker(podman, 1, "/usr/bin/bash (uid 7, pid 1)");
}

static void makers_of_what_is_not_yet_a_container_are_kept(void) {
        static const Ancestor runc[] = { { "/usr/sbin/runc", "runc", NULL }, { "/usr/bin/mkdir", "mkdir", NULL } };
        const struct bh_lineage lineage = { .find = find, .parent = parent };
        g_autoptr(BhAskers) a = bh_askers_new(NULL, NULL);

        line = runc;
        for (guint32 i = 0; i < 2 * BH_ASKERS_MAX; i++) {
                struct bh_event e = act(BH_EV_CGROUP_CREATE, 1, SECOND);
                g_autofree char *path = g_strdup_printf("/c%u", i % (BH_ASKERS_MAX + 1)); /* some come again */

                BH_SET_STR(&e, cgroup_path, path);
                bh_askers_keep_maker(a, &e, &lineage);
        }
        struct bh_event other = act(BH_EV_CGROUP_CREATE, 2, SECOND);
        BH_SET_STR(&other, cgroup_path, "/mine");
        bh_askers_keep_maker(a, &other, &lineage);
        g_autofree char *last = bh_askers_made(a, "/c3"), *oldest = g_strdup_printf("/c%u", BH_ASKERS_MAX - 1), *gone = bh_askers_made(a, oldest), *no = bh_askers_made(a, "/mine");
        g_assert_cmpstr(last, ==, "/usr/sbin/runc (uid 7, pid 1)");
        g_assert_null(gone);
        g_assert_null(no);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/sensor/askers/the_one_that_is_connected_asked", the_one_that_is_connected_asked);
        g_test_add_func("/sensor/askers/of_several_all_are_named", of_several_all_are_named);
        g_test_add_func("/sensor/askers/who_had_it_killed_is_told_at_its_end", who_had_it_killed_is_told_at_its_end);
        g_test_add_func("/sensor/askers/what_is_no_connection_to_the_runtime_does_not_count", what_is_no_connection_to_the_runtime_does_not_count);
        g_test_add_func("/sensor/askers/a_pid_used_again_is_somebody_else", a_pid_used_again_is_somebody_else);
        g_test_add_func("/sensor/askers/there_are_bounds", there_are_bounds);
        g_test_add_func("/sensor/askers/the_maker_of_a_cgroup_is_the_highest_part_of_its_runtime", the_maker_of_a_cgroup_is_the_highest_part_of_its_runtime);
        g_test_add_func("/sensor/askers/makers_of_what_is_not_yet_a_container_are_kept", makers_of_what_is_not_yet_a_container_are_kept);
        return g_test_run();
}
