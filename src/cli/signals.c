/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static int pipe_fds[2] = { -1, -1 };
static volatile sig_atomic_t asked;

static void on_signal(int signal) {
        int code = errno;

        asked++;
        if (write(pipe_fds[1], "", 1) < 0)
                errno = code; /* full: it is readable already */
        errno = code;
}

int bh_stop_install(void) {
        struct sigaction act = { .sa_handler = on_signal }, before; /* no SA_RESTART: a write to a stopped terminal must end */

        if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK))
                g_error("cannot make a pipe: %s", g_strerror(errno));
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
        if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup(1) */
                sigaction(SIGHUP, &act, NULL);
        return pipe_fds[0];
}

guint bh_stop_asked(void) {
        return (guint) asked;
}
