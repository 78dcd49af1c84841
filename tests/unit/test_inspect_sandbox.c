/* SPDX-License-Identifier: Apache-2.0 */
/* Attacks the inspector's sandbox from inside, row by row of inspect_attacks.tbl.h, through the real client and the real way into it. */
#include <errno.h>
#include <grp.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "inspect_attack.h"
#include "inspect_env.h"

#define NOT_ROOT 65533

enum { REFUSED, EITHER };

static const struct {
        const char *name;
        int without_filter;
} attacks[] = {
#define ATTACK(name, without_filter, expression) { #name, without_filter },
#include "inspect_attacks.tbl.h"
#undef ATTACK
};

static const char *attack_program = BH_INSPECT_ATTACK, *program = BH_INSPECT_PROGRAM;

static void each_attack_ends_the_inspector(void) {
        if (SANITIZER) {
                g_test_skip("a sanitizer build has no system-call filter");
                return;
        }
        for (gsize i = 0; i < G_N_ELEMENTS(attacks); i++) {
                g_autoptr(BhInspectClient) c = start_inspector(attack_program);
                g_autofree char *request = g_strdup_printf("attack %s", attacks[i].name), *answer = NULL, *problem = ping(c, request, &answer);

                if (answer)
                        g_error("%s: the inspector lives and says \"%s\"", attacks[i].name, answer);
                if (!strstr(problem, "SIGSYS"))
                        g_error("%s: %s", attacks[i].name, problem);
        }
}

static int listen_at_abstract(void) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        memcpy(at.sun_path + 1, BH_ATTACK_ABSTRACT, strlen(BH_ATTACK_ABSTRACT));
        /* when another run of this test listens already, that serves as well */
        if (bind(fd, (struct sockaddr *) &at, (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + strlen(BH_ATTACK_ABSTRACT))))
                g_assert_cmpint(errno, ==, EADDRINUSE);
        else
                g_assert_cmpint(listen(fd, 1), ==, 0);
        return fd;
}

static int listen_at_inet(void) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(BH_ATTACK_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (bind(fd, (struct sockaddr *) &at, sizeof(at)) == 0)
                g_assert_cmpint(listen(fd, 1), ==, 0);
        return fd;
}

/* The filter taken away, what root's other layers refuse must still be refused: no single layer is trusted. */
static void other_layers_hold_by_themselves(void) {
        BhInspectStats stats;

        if (geteuid() != 0) {
                g_test_skip("needs root: only root can build the layers below the filter for certain");
                return;
        }
        int abstract = listen_at_abstract(), inet = listen_at_inet();
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_ATTACK_BARE);
        bh_inspect_client_stats(c, &stats);
        g_assert_false(stats.layers & BH_INSPECT_SECCOMP);
        for (gsize i = 0; i < G_N_ELEMENTS(attacks); i++) {
                g_autofree char *request = g_strdup_printf("attack %s", attacks[i].name), *answer = NULL, *problem = NULL;

                if (attacks[i].without_filter == EITHER)
                        continue;
                problem = ping(c, request, &answer);
                if (*problem || !g_str_has_prefix(answer, "failed: "))
                        g_error("%s without the filter: %s%s", attacks[i].name, problem, answer ? answer : "");
        }
        close(abstract);
        close(inet);
}

/* As the kernel tells it to somebody outside. */
static void assert_unprivileged(pid_t pid, const char *user) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid), *text = NULL;
        g_autofree char *uid = g_strdup_printf("Uid:\t%s\t%s\t%s\t%s\n", user, user, user, user), *gid = g_strdup_printf("Gid:\t%s\t%s\t%s\t%s\n", user, user, user, user);

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_nonnull(strstr(text, uid));
        g_assert_nonnull(strstr(text, gid));
        g_assert_nonnull(strstr(text, "Groups:\t \n"));
        g_assert_nonnull(strstr(text, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"));
        g_assert_nonnull(strstr(text, "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"));
        g_assert_nonnull(strstr(text, SANITIZER ? "Seccomp:\t0\n" : "Seccomp:\t2\n"));
        g_assert_nonnull(strstr(text, "Threads:\t1\n"));
}

static void assert_layers(BhInspectClient *c, BhInspectStats *stats, guint32 more) {
        guint32 must = more | BH_INSPECT_UNPRIVILEGED | BH_INSPECT_NO_CAPABILITIES | BH_INSPECT_NO_NEW_PRIVS | (SANITIZER ? 0 : BH_INSPECT_SECCOMP);

        bh_inspect_client_stats(c, stats);
        g_test_message("layers 0x%x", stats->layers);
        g_assert_cmphex(stats->layers & must, ==, must);
}

static void layers_are_all_there_for_root(void) {
        g_autoptr(BhInspectClient) c = start_inspector(program);
        BhInspectStats stats;

        if (geteuid() != 0) {
                g_test_skip("needs root; for another user see user_without_privileges_can_start_it");
                return;
        }
        assert_layers(c, &stats, BH_INSPECT_NAMESPACES | BH_INSPECT_EMPTY_ROOT);
        assert_unprivileged(stats.pid, "65534");

        g_autofree char *fds = g_strdup_printf("/proc/%d/fd", (int) stats.pid), *status = g_strdup_printf("/proc/%d/status", (int) stats.pid), *text = NULL;
        g_autoptr(GDir) dir = g_dir_open(fds, 0, NULL);
        guint n = 0;
        while (dir && g_dir_read_name(dir))
                n++;
        g_assert_cmpuint(n, ==, 4); /* 0, 1, 2: /dev/null; 3: the sensor */
        g_assert_true(g_file_get_contents(status, &text, NULL, NULL));
        g_assert_nonnull(strstr(text, "CapBnd:\t0000000000000000\n"));
}

/* A sensor that has given up what it does not need: no namespaces as root, and root must be given up all the same. */
static void root_with_few_capabilities_gives_up_root(void) {
        BhInspectStats stats;

        if (geteuid() != 0) {
                g_test_skip("needs root");
                return;
        }
        if (g_test_subprocess()) {
                for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                        if (cap != CAP_SETUID && cap != CAP_SETGID)
                                g_assert_cmpint(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0), ==, 0);
                g_autoptr(BhInspectClient) c = start_inspector(program);
                assert_layers(c, &stats, 0);
                assert_unprivileged(stats.pid, "65534");
                return;
        }
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
        g_test_trap_assert_passed();
}

/* Without CAP_SETUID it says what is missing, and works on nothing. */
static void root_that_cannot_be_given_up_is_refused(void) {
        BhInspectConfig config = { .program = program };
        g_autoptr(GError) error = NULL;

        if (geteuid() != 0) {
                g_test_skip("needs root");
                return;
        }
        if (g_test_subprocess()) {
                g_assert_cmpint(prctl(PR_CAPBSET_DROP, CAP_SETUID, 0, 0, 0), ==, 0);
                g_autoptr(BhInspectClient) c = bh_inspect_client_new(&config, NULL);
                g_assert_false(bh_inspect_client_wait(c, 500, &error));
                g_assert_nonnull(strstr(error->message, "is CAP_SETUID missing?"));
                return;
        }
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
        g_test_trap_assert_passed();
}

/* Memory that an attacker makes it use is bounded: it dies of it, alone. */
static void memory_is_bounded(void) {
        if (SANITIZER) {
                g_test_skip("a sanitizer build has no limit on memory");
                return;
        }
        g_autoptr(BhInspectClient) c = start_inspector(attack_program);
        g_autofree char *problem = ping(c, "devour", NULL), *after = NULL;

        g_assert_nonnull(strstr(problem, "was killed"));
        after = ping(c, "hello", NULL);
        g_assert_cmpstr(after, ==, "");
}

/* ---- not started by root */

static void copy(const char *from, const char *dir, char **to) {
        g_autofree char *text = NULL, *name = g_path_get_basename(from);
        gsize len;

        *to = g_build_filename(dir, name, NULL);
        g_assert_true(g_file_get_contents(from, &text, &len, NULL));
        g_assert_true(g_file_set_contents_full(*to, text, (gssize) len, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
        g_assert_cmpint(g_chmod(*to, 0755), ==, 0);
}

static void as_another_user(void) {
        const char *dir = g_getenv("BH_TEST_PROGRAMS");
        g_autofree char *shipped = g_build_filename(dir, "bulkhead-inspect", NULL), *attack = g_build_filename(dir, "inspect-attack", NULL), *problem = NULL, *user = NULL;
        BhInspectStats stats;

        if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(NOT_ROOT, NOT_ROOT, NOT_ROOT) || setresuid(NOT_ROOT, NOT_ROOT, NOT_ROOT)))
                g_error("cannot become user %d: %s", NOT_ROOT, g_strerror(errno));
        program = shipped;
        attack_program = attack;
        g_autoptr(BhInspectClient) c = start_inspector(program);
        assert_layers(c, &stats, 0);
        user = g_strdup_printf("%d", (int) getuid());
        assert_unprivileged(stats.pid, user);
        problem = ping(c, "hello", NULL);
        g_assert_cmpstr(problem, ==, "");
        if (!SANITIZER)
                each_attack_ends_the_inspector();
}

static void user_without_privileges_can_start_it(void) {
        if (g_test_subprocess()) {
                as_another_user();
                return;
        }
        /* where that user can read them, wherever the build is */
        g_autofree char *dir = g_dir_make_tmp("bulkhead-XXXXXX", NULL), *shipped = NULL, *attack = NULL;
        g_assert_cmpint(g_chmod(dir, 0755), ==, 0);
        copy(BH_INSPECT_PROGRAM, dir, &shipped);
        copy(BH_INSPECT_ATTACK, dir, &attack);
        g_setenv("BH_TEST_PROGRAMS", dir, TRUE);
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
        g_unlink(shipped);
        g_unlink(attack);
        g_rmdir(dir);
        g_test_trap_assert_passed();
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/inspect_sandbox/each_attack_ends_the_inspector", each_attack_ends_the_inspector);
        g_test_add_func("/inspect_sandbox/other_layers_hold_by_themselves", other_layers_hold_by_themselves);
        g_test_add_func("/inspect_sandbox/layers_are_all_there_for_root", layers_are_all_there_for_root);
        g_test_add_func("/inspect_sandbox/root_with_few_capabilities_gives_up_root", root_with_few_capabilities_gives_up_root);
        g_test_add_func("/inspect_sandbox/root_that_cannot_be_given_up_is_refused", root_that_cannot_be_given_up_is_refused);
        g_test_add_func("/inspect_sandbox/memory_is_bounded", memory_is_bounded);
        g_test_add_func("/inspect_sandbox/user_without_privileges_can_start_it", user_without_privileges_can_start_it);
        return g_test_run();
}
