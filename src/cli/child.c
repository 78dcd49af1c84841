/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WORKED_US (10 * G_USEC_PER_SEC)
#define DELAY_US (G_USEC_PER_SEC / 10)
#define DELAY_WORKED_MAX_US (G_USEC_PER_SEC / 2)
#define DELAY_KILLED_MAX_US (1 * G_USEC_PER_SEC)
#define DELAY_MAX_US (30 * G_USEC_PER_SEC)

char *bh_child_find(const char *program, GError **error) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
        char *beside = dir ? g_build_filename(dir, program, NULL) : NULL;

        if (beside && access(beside, X_OK) == 0)
                return beside;
        g_free(beside);

        /* a build tree has src/NAME/bulkhead-NAME */
        char *built = dir ? g_build_filename(dir, "..", program + strlen("bulkhead-"), program, NULL) : NULL;
        if (built && access(built, X_OK) == 0)
                return built;
        g_free(built);

        char *found = g_find_program_in_path(program);
        if (!found)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "there is no %s beside this program (%s) nor in PATH; install it", program, dir ? dir : "?");
        return found;
}

gboolean bh_child_start(BhChild *c, int out, GError **error) {
        bh_fd_clear(&c->pidfd);
        c->ended = c->ready = FALSE;
        c->again_us = 0;
        c->started_us = g_get_monotonic_time();
        c->pid = fork();
        if (c->pid == 0) {
                int null = open("/dev/null", O_RDONLY);

                setsid();
                signal(SIGINT, SIG_DFL);
                signal(SIGTERM, SIG_DFL);
                signal(SIGHUP, SIG_DFL);
                if (null >= 0)
                        dup2(null, STDIN_FILENO);
                dup2(out >= 0 ? out : STDERR_FILENO, STDOUT_FILENO);
                execv(c->argv[0], c->argv);
                fprintf(stderr, "bulkhead: cannot run %s: %s\n", c->argv[0], g_strerror(errno));
                _exit(127);
        }
        c->pidfd = c->pid > 0 ? (int) syscall(SYS_pidfd_open, c->pid, 0) : -1;
        if (c->pidfd < 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot start the %s: %s", c->name, g_strerror(errno));
                if (c->pid > 0) {
                        kill(c->pid, SIGTERM);
                        waitpid(c->pid, &c->how, 0);
                }
                c->ended = TRUE;
                return FALSE;
        }
        return TRUE;
}

gboolean bh_child_running(const BhChild *c) {
        return c->pid > 0 && !c->ended;
}

gboolean bh_child_reap(BhChild *c) {
        if (!bh_child_running(c))
                return TRUE;
        if (waitpid(c->pid, &c->how, WNOHANG) != c->pid)
                return FALSE;
        c->ended = TRUE;
        bh_fd_clear(&c->pidfd);
        return TRUE;
}

char *bh_child_how(const BhChild *c) {
        if (WIFSIGNALED(c->how))
                return g_strdup_printf("was killed by signal %d (%s)", WTERMSIG(c->how), strsignal(WTERMSIG(c->how)));
        return g_strdup_printf("ended with status %d", WEXITSTATUS(c->how));
}

gboolean bh_child_wait(BhChild *c, gint64 us) {
        gint64 until = g_get_monotonic_time() + us;

        while (!bh_child_reap(c)) {
                struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
                gint64 left = until - g_get_monotonic_time();

                if (left <= 0)
                        return FALSE;
                poll(&p, 1, (int) (left / 1000) + 1);
        }
        return TRUE;
}

void bh_child_end(BhChild *c, gint64 us, const char *then) {
        if (bh_child_reap(c))
                return;
        kill(c->pid, SIGTERM);
        if (bh_child_wait(c, us))
                return;
        fprintf(stderr, "bulkhead: the %s does not stop within %d s and is killed; %s\n", c->name, (int) (us / G_USEC_PER_SEC), then);
        kill(c->pid, SIGKILL);
        bh_child_wait(c, us);
}

gint64 bh_child_plan(BhChild *c, gint64 now_us) {
        /* each has its own count: who was killed often is not one that does not start */
        guint *count = c->ready ? &c->short_lives : &c->failures;
        /* a program that does not start says so by its status or by crashing; SIGKILL is somebody else's doing, also in the middle of a start */
        gboolean killed = WIFSIGNALED(c->how) && WTERMSIG(c->how) == SIGKILL;
        gint64 most = c->ready ? DELAY_WORKED_MAX_US : killed ? DELAY_KILLED_MAX_US : DELAY_MAX_US, delay;

        if (c->ready)
                c->failures = 0;
        if (c->ready && now_us - c->started_us > WORKED_US)
                c->short_lives = 0;
        delay = MIN((gint64) DELAY_US << MIN(*count, 16u), most);
        (*count)++;
        c->restarts++;
        c->again_us = now_us + delay;
        return delay;
}
