/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-loads KIND SECONDS [ARG]: one thread does one thing as often as it can; prints how often a second and with how much CPU time, as one JSON line. Small and static, so that
 * what is measured is the kernel's work and a sensor's, not a runtime's.
 *
 *   getppid        a system call that nobody watches
 *   open FILE [R]  open and close an existing file, for reading; R: at most so often a second
 *   exec PROGRAM   fork, execve of a small static program, wait
 *   talk           write a few bytes to a stream socket, and read them at its other end
 *   accept         connect to a listener of its own on the loopback, accept, close both
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int listener = -1, ends[2] = { -1, -1 };
static struct sockaddr_in at = { .sin_family = AF_INET };

static _Noreturn void die(const char *what) {
        fprintf(stderr, "bench-loads: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void do_getppid(const char *arg) {
        syscall(SYS_getppid);
}

static void do_open(const char *arg) {
        int fd = open(arg, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                die(arg);
        close(fd);
}

static void do_talk(const char *arg) {
        char text[8];

        if (write(ends[0], "talk", 4) != 4 || read(ends[1], text, sizeof text) != 4)
                die("write and read");
}

static void do_exec(const char *arg) {
        char *argv[] = { (char *) arg, NULL }, *envp[] = { NULL };
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                execve(arg, argv, envp);
                _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
                die(arg);
}

static void do_accept(const char *arg) {
        struct linger now = { .l_onoff = 1 }; /* no port waits in TIME_WAIT: there would soon be none left */
        int a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), b;

        if (a < 0 || connect(a, (struct sockaddr *) &at, sizeof at) || (b = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
                die("connect and accept");
        setsockopt(a, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(a);
        close(b);
}

static void do_listen(void) {
        socklen_t len = sizeof at;

        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (listener < 0 || bind(listener, (struct sockaddr *) &at, len) || listen(listener, 16) || getsockname(listener, (struct sockaddr *) &at, &len))
                die("listen");
}

static double seconds(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t); /* in user space: no system call */
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* CPU time of this process and of the children it has waited for. */
static double busy(void) {
        double sum = 0;

        for (int k = 0; k < 2; k++) {
                struct rusage u;

                getrusage(k ? RUSAGE_CHILDREN : RUSAGE_SELF, &u);
                sum += (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
        }
        return sum;
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*act)(const char *arg);
                unsigned batch; /* acts between two looks at the clock */
        } kinds[] = { { "getppid", do_getppid, 1024 }, { "open", do_open, 64 }, { "talk", do_talk, 256 }, { "exec", do_exec, 1 }, { "accept", do_accept, 4 } };
        uint64_t n = 0;

        for (size_t k = 0; argc >= 3 && k < sizeof kinds / sizeof *kinds; k++) {
                if (strcmp(argv[1], kinds[k].name))
                        continue;
                const char *arg = argc > 3 ? argv[3] : "";
                double begin, end, now, used, rate = argc > 4 ? strtod(argv[4], NULL) : 0;

                if (kinds[k].act == do_accept)
                        do_listen();
                if (kinds[k].act == do_talk && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
                        die("socketpair");
                kinds[k].act(arg);
                used = busy();
                begin = seconds();
                end = begin + strtod(argv[2], NULL);
                do {
                        for (unsigned i = 0; i < kinds[k].batch; i++)
                                kinds[k].act(arg);
                        n += kinds[k].batch;
                        now = seconds();
                        if (rate > 0 && (double) n / rate > now - begin)
                                usleep((useconds_t) (1e6 * ((double) n / rate - (now - begin))));
                } while (now < end);
                used = busy() - used;
                printf("{\"load\":\"%s\",\"n\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"per_second\":%.1f}\n", argv[1], (unsigned long long) n, now - begin, used,
                       (double) n / (now - begin));
                return 0;
        }
        fprintf(stderr, "usage: bench-loads getppid|open|talk|exec|accept SECONDS [FILE [RATE]]\n");
        return 2;
}
