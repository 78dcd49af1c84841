/* SPDX-License-Identifier: Apache-2.0 */
/*
 * visit: what no tool of the test image can do, mostly connections, and what a server would do that one broke into. Static, so that it runs in an empty container. It says nothing and ends with 0,
 * whatever the peer does.
 *
 *     visit unix PATH     connects to a Unix socket
 *     visit tcp PORT      connects to 127.0.0.1
 *     visit far ADDRESS   connects to port 80 there, or to that of ADDRESS:PORT, and does not wait
 *     visit udp ADDRESS   connects a datagram socket to port 7777 there
 *     visit read FILE     reads a file
 *     visit late FILE     the same after six seconds
 *     visit uid N         becomes user 12345, who then becomes N
 *     visit sh COMMAND    has /bin/sh run it, in a process of its own
 *     visit write FILE    writes a file
 *     visit shell PORT    connects, puts the connection on standard input, output and error, and runs /bin/true: a reverse shell without the shell
 *     visit listen PORT   accepts one connection, within five seconds
 *     visit swap N        opens one path N times, and on until it got each of both files ENOUGH times, for a minute at most, while another thread changes it to /tmp/xa/dow and back to /etc/shadow; prints how often it got which: "shadow 12
 *                         other 88"
 *     visit tmpfile FILE  makes an executable of that name by O_TMPFILE and linkat: a copy of /bin/busybox that never had another name
 *     visit thread FILE   has a thread that is not the leader run it
 *     visit forged FILE   runs it with the task name and the first argument of somebody else
 *     visit pty COMMAND   has /bin/sh run it on a terminal of its own
 *     visit held FILE     opens /etc and connects to port 4713, as soon as somebody listens there; whenever FILE appears, within a quarter of an hour, has a child open shadow below what was opened, put the
 *                         connection on standard input, output and error and run /bin/true, and removes FILE then
 *     visit dns NAME      sends a question for the name's address to 127.0.0.53, where nobody answers
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Both paths end alike, so that one store of eight bytes makes the one of the other: nobody ever sees a third. */
static union {
        char text[16];
        uint64_t head;
} swapped = { .text = "/etc/shadow" };

static void *swap(void *stop) {
        const union {
                char text[8];
                uint64_t head;
        } heads[2] = { { { '/', 't', 'm', 'p', '/', 'x', 'a', '/' } }, { { '/', 'e', 't', 'c', '/', 's', 'h', 'a' } } };

        for (unsigned i = 0; !__atomic_load_n((int *) stop, __ATOMIC_RELAXED); i++)
                __atomic_store_n(&swapped.head, heads[i % 2].head, __ATOMIC_RELAXED);
        return NULL;
}

#define ENOUGH 30

static int race(int n) {
        int fd, stop = 0, shadow = 0, other = 0;
        time_t until = time(NULL) + 60;
        struct stat want, got;
        pthread_t thread;

        mkdir("/tmp/xa", 0755);
        fd = open("/tmp/xa/dow", O_CREAT | O_WRONLY, 0644);
        if (fd < 0 || stat("/etc/shadow", &want) < 0 || pthread_create(&thread, NULL, swap, &stop) != 0)
                return 1;
        close(fd);
        /* On one busy processor the other thread may not run, or rest on one path, all through N openings. */
        for (int i = 0; i < n || ((shadow < ENOUGH || other < ENOUGH) && time(NULL) < until); i++) {
                if (i >= n)
                        sched_yield();
                fd = open(swapped.text, O_RDONLY);
                if (fd < 0 || fstat(fd, &got) < 0)
                        return 1;
                if (got.st_ino == want.st_ino && got.st_dev == want.st_dev)
                        shadow++;
                else
                        other++;
                close(fd);
        }
        __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
        pthread_join(thread, NULL);
        printf("shadow %d other %d\n", shadow, other);
        return 0;
}

static int nameless(const char *path) {
        char copy[PATH_MAX], self[64];
        int fd, from = open("/bin/busybox", O_RDONLY);
        struct stat st;
        off_t at = 0;

        snprintf(copy, sizeof copy, "%s", path);
        fd = open(dirname(copy), O_TMPFILE | O_WRONLY, 0755);
        if (fd < 0 || from < 0 || fstat(from, &st) < 0)
                return 1;
        while (at < st.st_size)
                if (sendfile(fd, from, &at, (size_t) (st.st_size - at)) <= 0)
                        return 1;
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0;
}

static int ask(const char *name) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x7f000035) };
        unsigned char q[512] = { 0x12, 0x34, 1, 0, 0, 1 };
        size_t n = 12;

        while (*name && n < sizeof q - 80) {
                size_t len = strcspn(name, ".");

                if (len > 63)
                        return 2;
                q[n++] = (unsigned char) len;
                memcpy(q + n, name, len);
                n += len;
                name += len + (name[len] == '.');
        }
        q[n + 2] = 1; /* type A, class IN */
        q[n + 4] = 1;
        sendto(socket(AF_INET, SOCK_DGRAM, 0), q, n + 5, 0, (struct sockaddr *) &to, sizeof to);
        return 0;
}

static void *run_in_thread(void *file) {
        execl(file, file, "true", NULL);
        return NULL;
}

static int on_terminal(const char *command) {
        int master = posix_openpt(O_RDWR | O_NOCTTY);
        char name[64], some[64];

        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0)
                return 1;
        if (fork() == 0) {
                setsid();
                for (int i = 0, fd = open(name, O_RDWR); i < 3; i++) /* the first terminal that a session's leader opens is its own */
                        dup2(fd, i);
                execl("/bin/sh", "sh", "-c", command, NULL);
                _exit(127);
        }
        while (read(master, some, sizeof some) > 0) /* ends when nobody has the other side */
                ;
        return wait(NULL) < 0;
}

/* A connection on standard input, output and error of a program: a reverse shell without the shell. */
static void give_to_program(int fd) {
        for (int i = 0; i < 3; i++)
                dup2(fd, i);
        execl("/bin/busybox", "true", NULL);
}

static int hold(const struct sockaddr_in *peer, const char *sign) {
        int dir = open("/etc", O_RDONLY | O_DIRECTORY), fd = socket(AF_INET, SOCK_STREAM, 0);
        const struct timespec pause = { .tv_nsec = 20000000 };

        alarm(900);
        if (dir < 0)
                return 1;
        while (connect(fd, (const struct sockaddr *) peer, sizeof *peer) < 0)
                nanosleep(&pause, NULL);
        for (;; nanosleep(&pause, NULL)) {
                if (access(sign, F_OK) < 0)
                        continue;
                if (fork() == 0) {
                        openat(dir, "shadow", O_RDONLY);
                        give_to_program(fd);
                        _exit(127);
                }
                wait(NULL);
                unlink(sign);
        }
}

int main(int argc, char **argv) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        int fd, one = 1;

        if (argc != 3)
                return 2;
        alarm(10);
        if (!strcmp(argv[1], "read") || !strcmp(argv[1], "late")) {
                char some[64];

                sleep(strcmp(argv[1], "late") ? 0 : 6);
                fd = open(argv[2], O_RDONLY);
                return fd >= 0 && read(fd, some, sizeof some) < -1;
        }
        if (!strcmp(argv[1], "swap"))
                return race(atoi(argv[2]));
        if (!strcmp(argv[1], "tmpfile"))
                return nameless(argv[2]);
        if (!strcmp(argv[1], "uid"))
                return setresuid((uid_t) -1, 12345, 0) < 0 || setuid((uid_t) atoi(argv[2])) < 0;
        if (!strcmp(argv[1], "udp")) {
                in.sin_port = htons(7777);
                inet_pton(AF_INET, argv[2], &in.sin_addr);
                return connect(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *) &in, sizeof in) < -1;
        }
        if (!strcmp(argv[1], "unix")) {
                snprintf(un.sun_path, sizeof un.sun_path, "%s", argv[2]);
                fd = socket(AF_UNIX, SOCK_STREAM, 0);
                return connect(fd, (struct sockaddr *) &un, sizeof un) < -1;
        }
        if (!strcmp(argv[1], "dns"))
                return ask(argv[2]);
        if (!strcmp(argv[1], "thread")) {
                pthread_t thread;

                return pthread_create(&thread, NULL, run_in_thread, argv[2]) != 0 || pthread_join(thread, NULL) != 0;
        }
        if (!strcmp(argv[1], "forged")) {
                prctl(PR_SET_NAME, "nginx");
                execl(argv[2], "nginx: worker process", "true", NULL);
                return 1;
        }
        if (!strcmp(argv[1], "pty"))
                return on_terminal(argv[2]);
        if (!strcmp(argv[1], "held")) {
                in.sin_port = htons(4713);
                return hold(&in, argv[2]);
        }
        if (!strcmp(argv[1], "far")) {
                char *colon = strchr(argv[2], ':');

                in.sin_port = htons((unsigned short) (colon ? atoi(colon + 1) : 80));
                if (colon)
                        *colon = 0;
                in.sin_addr.s_addr = inet_addr(argv[2]);
                return connect(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *) &in, sizeof in) < -1;
        }
        if (!strcmp(argv[1], "sh")) {
                if (fork() == 0) {
                        execl("/bin/sh", "sh", "-c", argv[2], NULL);
                        _exit(127);
                }
                return wait(NULL) < 0;
        }
        if (!strcmp(argv[1], "write")) {
                fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
                return write(fd, "x\n", 2) != 2;
        }
        in.sin_port = htons((unsigned short) atoi(argv[2]));
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (!strcmp(argv[1], "listen")) {
                setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
                if (bind(fd, (struct sockaddr *) &in, sizeof in) < 0 || listen(fd, 1) < 0)
                        return 1;
                return accept(fd, NULL, NULL) < -1;
        }
        if (connect(fd, (struct sockaddr *) &in, sizeof in) == 0 && !strcmp(argv[1], "shell"))
                give_to_program(fd);
        return 0;
}
