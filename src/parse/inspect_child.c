/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/inspect_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "parse/inspect_wire.h"

static int spawn(pid_t *pid, const char *program, int fd) {
        /* the parent's environment is none of the inspector's business */
        char *argv[] = { (char *) program, NULL }, *environment[] = { (char *) "LC_ALL=C", NULL };
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        sigset_t none, all;

        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_init(&files);
        /* the socket first: it may itself be on 0 or 1 */
        posix_spawn_file_actions_adddup2(&files, fd, BH_INSPECT_FD);
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
        posix_spawnattr_init(&attributes);
        /* a process group of its own: Ctrl-C is for the parent, which ends the child in order */
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setpgroup(&attributes, 0);
        int problem = posix_spawn(pid, program, &files, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&files);
        return problem;
}

gboolean bh_inspect_child_start(BhInspectChild *child, const char *program, GError **error) {
        g_auto(BhFd) ours = -1, theirs = -1;
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot make a socket for the inspector: %s", g_strerror(errno));
                return FALSE;
        }
        ours = pair[0];
        theirs = pair[1];
        int problem = spawn(&pid, program, theirs);
        if (problem) {
                g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(problem), "cannot start the inspector %s: %s", program, g_strerror(problem));
                return FALSE;
        }
        child->pid = pid;
        child->fd = bh_fd_steal(&ours);
        return TRUE;
}

char *bh_inspect_child_end(BhInspectChild *child) {
        int status = 0;
        pid_t reaped = -1;

        bh_fd_clear(&child->fd);
        if (child->pid > 0) {
                /* a process that is already ending keeps the signal or status that ended it */
                kill(child->pid, SIGKILL);
                while ((reaped = waitpid(child->pid, &status, 0)) < 0 && errno == EINTR)
                        ;
        }
        child->pid = 0;
        if (reaped < 0)
                return g_strdup("ended in a way that could not be told");
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
                return g_strdup("was killed by its sandbox for a system call that it may not make (SIGSYS)");
        if (WIFSIGNALED(status))
                return g_strdup_printf("was killed by signal %d (%s)", WTERMSIG(status), g_strsignal(WTERMSIG(status)));
        return g_strdup_printf("ended with status %d", WEXITSTATUS(status));
}

gint64 bh_inspect_child_cpu_us(const BhInspectChild *child) {
        struct timespec t;
        clockid_t clock;

        if (child->pid <= 0 || clock_getcpuclockid(child->pid, &clock) || clock_gettime(clock, &t))
                return -1;
        return (gint64) t.tv_sec * G_USEC_PER_SEC + t.tv_nsec / 1000;
}
