/* SPDX-License-Identifier: Apache-2.0 */
/* The enclosure, from inside: a child encloses itself and tries what a program that was taken over would try. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "central/sandbox.h"

static char *inside, *outside;
static guint landlock_version;

/* How the child ended: its exit status, or 256 and the signal. */
static int in_sandbox(int (*attempt)(void)) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                const BhSandboxPath paths[] = { { inside, TRUE }, { "/proc/self", FALSE }, { NULL, FALSE } };
                g_autoptr(GError) error = NULL;

                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if (!bh_sandbox_enclose(paths, &landlock_version, &error)) {
                        fprintf(stderr, "# %s\n", error->message);
                        _exit(99);
                }
                _exit(attempt());
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int write_inside(void) {
        g_autofree char *path = g_build_filename(inside, "file", NULL), *to = g_build_filename(inside, "renamed", NULL);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        return fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) || close(fd) || rename(path, to) || unlink(to);
}

static int socket_inside(void) {
        g_autofree char *path = g_build_filename(inside, "sock", NULL);
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        g_strlcpy(at.sun_path, path, sizeof(at.sun_path));
        return fd < 0 || bind(fd, (struct sockaddr *) &at, sizeof(at)) || listen(fd, 1) || unlink(path);
}

static gpointer nothing(gpointer data) {
        return data;
}

static int thread(void) {
        GThread *t = g_thread_try_new("test", nothing, NULL, NULL);

        return !t || g_thread_join(t) != NULL;
}

/* Attempts: 0 when it worked, 1 when it was refused. */
static int read_outside(void) {
        return open(outside, O_RDONLY | O_CLOEXEC) < 0;
}
static int write_outside(void) {
        return open(outside, O_WRONLY | O_CLOEXEC) < 0;
}
static int list_root(void) {
        int fd = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0;
}
static int make_outside(void) {
        g_autofree char *path = g_strconcat(outside, ".new", NULL);

        return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0;
}
static int tcp_socket(void) {
        return socket(AF_INET, SOCK_STREAM, 0) < 0 && socket(AF_INET6, SOCK_DGRAM, 0) < 0;
}
static int netlink_socket(void) {
        return socket(AF_NETLINK, SOCK_RAW, 0) < 0 && socket(AF_PACKET, SOCK_RAW, 0) < 0;
}
static int executable_memory(void) {
        void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) != 0;
}
static int signal_parent(void) {
        return kill(getppid(), 0) != 0;
}
static int new_process(void) {
        pid_t pid = (pid_t) syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

        if (pid == 0)
                _exit(0);
        return pid < 0;
}
static int terminal_injection(void) {
        return ioctl(0, 0x5412 /* TIOCSTI */, "x") != 0;
}

/* Deadly ones. */
static int run_program(void) {
        return execl("/bin/true", "true", (char *) NULL);
}
static int trace(void) {
        return (int) ptrace(PTRACE_TRACEME, 0, 0, 0);
}
static int namespaces(void) {
        return unshare(CLONE_NEWUSER);
}
static int become_root(void) {
        return setresuid(0, 0, 0);
}
static int bpf(void) {
        return (int) syscall(SYS_bpf, 0, NULL, 0);
}
static int uring(void) {
        return (int) syscall(SYS_io_uring_setup, 1, NULL);
}
static int peek(void) {
        return (int) syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}
static int link_out(void) {
        g_autofree char *path = g_build_filename(inside, "link", NULL);

        return symlink("/etc/passwd", path);
}

static void what_it_needs_works(void) {
        g_assert_cmpint(in_sandbox(write_inside), ==, 0);
        g_assert_cmpint(in_sandbox(socket_inside), ==, 0);
        g_assert_cmpint(in_sandbox(thread), ==, 0);
}

static void other_files_are_closed(void) {
        long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

        if (version < 1) {
                g_test_skip("this kernel has no Landlock: files are held by uid and mode alone");
                return;
        }
        g_assert_cmpint(in_sandbox(read_outside), ==, 1);
        g_assert_cmpint(in_sandbox(write_outside), ==, 1);
        g_assert_cmpint(in_sandbox(make_outside), ==, 1);
        g_assert_cmpint(in_sandbox(list_root), ==, 1);
}

static void what_it_does_not_need_is_refused(void) {
        g_assert_cmpint(in_sandbox(tcp_socket), ==, 1);
        g_assert_cmpint(in_sandbox(netlink_socket), ==, 1);
        g_assert_cmpint(in_sandbox(executable_memory), ==, 1);
        g_assert_cmpint(in_sandbox(signal_parent), ==, 1);
        g_assert_cmpint(in_sandbox(new_process), ==, 1);
        g_assert_cmpint(in_sandbox(terminal_injection), ==, 1);
}

static void what_only_an_intruder_does_is_deadly(void) {
        int (*const attempts[])(void) = { run_program, trace, namespaces, become_root, bpf, uring, peek, link_out };

        for (guint i = 0; i < G_N_ELEMENTS(attempts); i++) {
                g_test_message("attempt %u", i);
                g_assert_cmpint(in_sandbox(attempts[i]), ==, 256 + SIGSYS);
        }
}

static void root_is_no_user_to_become(void) {
        g_autoptr(GError) error = NULL;
        uid_t uid = 0;
        gid_t gid = 0;

        g_assert_false(bh_sandbox_user("root", &uid, &gid, &error));
        g_clear_error(&error);
        g_assert_false(bh_sandbox_user("0", &uid, &gid, &error));
        g_clear_error(&error);
        g_assert_false(bh_sandbox_user("no such user", &uid, &gid, &error));
        g_clear_error(&error);
        g_assert_false(bh_sandbox_user("4294967296", &uid, &gid, &error));
        g_clear_error(&error);
        g_assert_true(bh_sandbox_user("12345", &uid, &gid, &error));
        g_assert_cmpuint(uid, ==, 12345);
        g_assert_true(bh_sandbox_user(NULL, &uid, &gid, &error));
        g_assert_cmpuint(uid, !=, 0);
}

int main(int argc, char **argv) {
        int status;

        g_test_init(&argc, &argv, NULL);
        inside = g_dir_make_tmp("bhs-in-XXXXXX", NULL);
        outside = g_build_filename(g_get_tmp_dir(), "bhs-out-XXXXXX", NULL);
        close(g_mkstemp(outside));
        g_test_add_func("/central/sandbox/what_it_needs_works", what_it_needs_works);
        g_test_add_func("/central/sandbox/other_files_are_closed", other_files_are_closed);
        g_test_add_func("/central/sandbox/what_it_does_not_need_is_refused", what_it_does_not_need_is_refused);
        g_test_add_func("/central/sandbox/what_only_an_intruder_does_is_deadly", what_only_an_intruder_does_is_deadly);
        g_test_add_func("/central/sandbox/root_is_no_user_to_become", root_is_no_user_to_become);
        status = g_test_run();
        g_unlink(outside);
        g_rmdir(inside);
        g_free(inside);
        g_free(outside);
        return status;
}
