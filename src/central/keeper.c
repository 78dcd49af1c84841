/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"

#define DELAY_MAX_MS 30000
#define WORKED_MS 10000 /* it ran for so long: what ends it now is something new */

static gboolean pass(int central, int fd) {
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = { 0 };
        char nothing = 0;
        struct iovec part = { &nothing, 1 };
        struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
        return sendmsg(central, &m, MSG_NOSIGNAL) == 1;
}

int bh_keeper_receive(int keeper) {
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        char nothing;
        struct iovec part = { &nothing, 1 };
        struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
        int fd = -1;
        ssize_t n;

        while ((n = recvmsg(keeper, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
                ;
        const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(&fd, CMSG_DATA(c), sizeof(int));
        return fd;
}

static gint64 now_ms(void) {
        return g_get_monotonic_time() / 1000;
}

/* TRUE: the central is gone. */
static gboolean central_gone(int central, int ms) {
        struct pollfd p = { .fd = central, .events = POLLIN };

        return poll(&p, 1, ms) > 0;
}

/* -1: it could not be started. */
static pid_t start(int central, char *const *argv) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
                return -1;
        pid_t pid = fork();
        if (pid == 0) {
                /* dup2() onto itself would leave it to be closed */
                if (pair[1] == BH_KEEPER_FD ? fcntl(BH_KEEPER_FD, F_SETFD, 0) : dup2(pair[1], BH_KEEPER_FD) < 0)
                        _exit(127);
                /* a keeper that is killed takes it along, and the next central's notifier finds the queue free */
                prctl(PR_SET_PDEATHSIG, SIGTERM);
                execv("/proc/self/exe", argv);
                _exit(127);
        }
        close(pair[1]);
        if (pid < 0 || !pass(central, pair[0])) {
                close(pair[0]);
                if (pid > 0) {
                        kill(pid, SIGKILL);
                        waitpid(pid, NULL, 0);
                }
                return -1;
        }
        close(pair[0]);
        return pid;
}

/* Waits for the notifier's end; its status, -1 with *gone when the central ended before, and then it has ended, too. */
static int watch(int central, pid_t pid, gboolean *gone) {
        g_auto(BhFd) pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        struct pollfd p[] = { { .fd = central, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
        int status = -1;

        while (poll(p, 2, pidfd < 0 ? 200 : -1) >= 0 || errno == EINTR) {
                if (waitpid(pid, &status, WNOHANG) == pid)
                        return status;
                if (p[0].revents)
                        break;
        }
        *gone = TRUE;
        kill(pid, SIGTERM);
        for (gint64 until = now_ms() + BH_KEEPER_GRACE_MS; now_ms() < until; g_usleep(10000))
                if (waitpid(pid, &status, WNOHANG) == pid)
                        return status;
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return status;
}

static G_NORETURN void keep(int central, char *const *argv) {
        gboolean gone = FALSE;
        int delay = 0;

        prctl(PR_SET_NAME, "bh-keeper");
        /* a signal to all processes of a service is for those who finish something; this one ends last */
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        while (!gone) {
                gint64 began = now_ms();
                pid_t pid = start(central, argv);
                int status = pid > 0 ? watch(central, pid, &gone) : -1;

                if (now_ms() - began > WORKED_MS)
                        delay = 0;
                delay = status == 0 ? 0 : MIN(MAX(delay * 2, 1000), DELAY_MAX_MS);
                gone = gone || central_gone(central, MAX(delay, 20));
        }
        _exit(0);
}

int bh_keeper_start(char *const *argv, GError **error) {
        int pair[2];
        pid_t pid = -1;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
                pid = fork();
        if (pid < 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot start the process that delivers alerts: %s", g_strerror(errno));
                return -1;
        }
        if (pid == 0) {
                /* the central's port, its lock, whatever it has open: none of it is for this process */
                g_auto(BhFd) central = fcntl(pair[1], F_DUPFD_CLOEXEC, 64);

                if (central < 0)
                        _exit(1);
                syscall(SYS_close_range, 3, (unsigned) central - 1, 0);
                syscall(SYS_close_range, (unsigned) central + 1, ~0u, 0);
                keep(central, argv);
        }
        close(pair[1]);
        return pair[0];
}
