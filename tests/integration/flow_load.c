/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of known number and size, for tests; static, so that it runs in any container.
 *
 *     flow_load serve PORT                     answers each connection: reads until its end, sends as much back, closes
 *     flow_load connect ADDRESS PORT N RATE BYTES   N connections one after the other, RATE a second (0: as fast as it can); says how many were made
 *     flow_load scan ADDRESS FIRST LAST        one connect for each port
 *     flow_load hold ADDRESS PORT BYTES        one connection that sends so much, gets it back and stays until its standard input ends
 *     flow_load reset ADDRESS PORT N           connections that it ends by a reset
 *     flow_load usend ADDRESS PORT N BYTES     datagrams, each answered
 *     flow_load wsend ADDRESS PORT N BYTES GO  the same by write and read on a connected socket, when there is a file GO
 *     flow_load userve PORT                    answers datagrams
 *     flow_load resolve SERVER NAME            asks for its IPv4 address; sends and receives as resolvers of programs do
 *     flow_load serveunix PATH, flow_load unix PATH N     the same over a Unix socket
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char bytes[1 << 20];

static struct sockaddr_in address(const char *ip, const char *port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((unsigned short) atoi(port)) };

        if (inet_pton(AF_INET, ip, &a.sin_addr) != 1) {
                fprintf(stderr, "flow_load: \"%s\" is not an IPv4 address\n", ip);
                exit(2);
        }
        return a;
}

static int failed(const char *what) {
        fprintf(stderr, "flow_load: %s: %s\n", what, strerror(errno));
        return 1;
}

static int write_all(int fd, long n) {
        while (n > 0) {
                ssize_t k = write(fd, bytes, (size_t) (n < (long) sizeof(bytes) ? n : (long) sizeof(bytes)));

                if (k <= 0)
                        return -1;
                n -= k;
        }
        return 0;
}

static long read_all(int fd) {
        long n = 0;

        for (ssize_t k; (k = read(fd, bytes, sizeof(bytes))) > 0; )
                n += k;
        return n;
}

static void answer(int listener) {
        for (;;) {
                int fd = accept(listener, NULL, NULL);

                if (fd < 0)
                        continue;
                /* those that stay must not keep the others waiting */
                if (fork() == 0) {
                        long n = 0;

                        close(listener);
                        for (ssize_t k; (k = read(fd, bytes, sizeof(bytes))) > 0; n += k)
                                if (write_all(fd, k))
                                        break;
                        _exit(0);
                }
                close(fd);
        }
}

static int serve(const char *port) {
        struct sockaddr_in a = address("0.0.0.0", port);
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) || listen(fd, 4096))
                return failed("listen");
        signal(SIGCHLD, SIG_IGN);
        answer(fd);
        return 0;
}

static int serve_unix(const char *path) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
        unlink(path);
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) || listen(fd, 128))
                return failed("listen");
        signal(SIGCHLD, SIG_IGN);
        answer(fd);
        return 0;
}

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int connect_many(const char *ip, const char *port, long n, long rate, long size) {
        struct sockaddr_in a = address(ip, port);
        double begin = now();
        long made = 0;

        for (long i = 0; i < n; i++) {
                int fd = socket(AF_INET, SOCK_STREAM, 0);

                if (connect(fd, (struct sockaddr *) &a, sizeof(a)) == 0) {
                        made++;
                        write_all(fd, size);
                        shutdown(fd, SHUT_WR);
                        read_all(fd);
                }
                close(fd);
                if (rate) {
                        double wait = begin + (double) (i + 1) / (double) rate - now();

                        if (wait > 0)
                                usleep((useconds_t) (wait * 1e6));
                }
        }
        printf("%ld %.2f\n", made, now() - begin);
        return 0;
}

static int scan(const char *ip, int first, int last) {
        char port[8];
        int open = 0;

        for (int p = first; p <= last; p++) {
                int fd = socket(AF_INET, SOCK_STREAM, 0);

                snprintf(port, sizeof(port), "%d", p);
                struct sockaddr_in a = address(ip, port);
                open += connect(fd, (struct sockaddr *) &a, sizeof(a)) == 0;
                close(fd);
        }
        printf("%d\n", open);
        return 0;
}

static int hold(const char *ip, const char *port, long size) {
        struct sockaddr_in a = address(ip, port);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char c;

        if (connect(fd, (struct sockaddr *) &a, sizeof(a)))
                return failed("connect");
        write_all(fd, size);
        for (long n = 0; n < size; ) {
                ssize_t k = read(fd, bytes, sizeof(bytes));

                if (k <= 0)
                        return failed("read");
                n += k;
        }
        printf("open\n");
        fflush(stdout);
        while (read(0, &c, 1) > 0)
                ;
        return 0;
}

static int reset(const char *ip, const char *port, long n) {
        struct sockaddr_in a = address(ip, port);
        struct linger now_ = { 1, 0 };

        for (long i = 0; i < n; i++) {
                int fd = socket(AF_INET, SOCK_STREAM, 0);

                if (connect(fd, (struct sockaddr *) &a, sizeof(a)))
                        return failed("connect");
                write_all(fd, 10);
                usleep(20000);
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_, sizeof(now_));
                close(fd);
        }
        return 0;
}

static int send_datagrams(const char *ip, const char *port, long n, long size) {
        struct sockaddr_in a = address(ip, port);
        struct timeval tv = { 1, 0 };
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        long got = 0;

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        for (long i = 0; i < n; i++) {
                if (sendto(fd, bytes, (size_t) size, 0, (struct sockaddr *) &a, sizeof(a)) < 0)
                        return failed("sendto");
                got += recv(fd, bytes, sizeof(bytes), 0) > 0;
        }
        printf("%ld\n", got);
        return 0;
}

static int write_datagrams(const char *ip, const char *port, long n, size_t size, const char *go) {
        struct sockaddr_in a = address(ip, port);
        struct timeval tv = { 1, 0 };
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        long got = 0;

        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        if (connect(fd, (struct sockaddr *) &a, sizeof(a)))
                return failed("connect");
        while (access(go, F_OK))
                nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        for (long i = 0; i < n; i++) {
                struct iovec v = { bytes, size };

                if ((i % 2 ? writev(fd, &v, 1) : write(fd, bytes, size)) < 0)
                        return failed("write");
                got += read(fd, bytes, sizeof(bytes)) > 0;
        }
        printf("%ld\n", got);
        return 0;
}

static int serve_datagrams(const char *port) {
        struct sockaddr_in a = address("0.0.0.0", port), from;
        int fd = socket(AF_INET, SOCK_DGRAM, 0);

        if (bind(fd, (struct sockaddr *) &a, sizeof(a)))
                return failed("bind");
        for (;;) {
                socklen_t len = sizeof(from);
                ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *) &from, &len);

                if (n >= 0)
                        sendto(fd, bytes, (size_t) n, 0, (struct sockaddr *) &from, len);
        }
}

static int resolve(const char *server, const char *name) {
        struct sockaddr_in a = address(server, "53");
        struct timeval tv = { 2, 0 };
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        unsigned char m[512] = { 0x12, 0x34, 1, 0, 0, 1 };
        size_t len = 12;

        for (const char *label = name; *label && len + strlen(label) < sizeof(m) - 8; ) {
                size_t n = strcspn(label, ".");

                m[len++] = (unsigned char) n;
                memcpy(m + len, label, n);
                len += n;
                label += n + (label[n] == '.');
        }
        memcpy(m + len, "\0\0\1\0\1", 5);
        len += 5;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
        if (sendto(fd, m, len, 0, (struct sockaddr *) &a, sizeof(a)) < 0)
                return failed("sendto");
        struct sockaddr_in from;
        socklen_t from_len = sizeof(from);
        ssize_t got = recvfrom(fd, m, sizeof(m), 0, (struct sockaddr *) &from, &from_len);
        if (got < 4)
                return failed("recvfrom");
        printf("%u.%u.%u.%u\n", m[got - 4], m[got - 3], m[got - 2], m[got - 1]);
        return 0;
}

static int connect_unix(const char *path, long n) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
        for (long i = 0; i < n; i++) {
                int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                if (connect(fd, (struct sockaddr *) &a, sizeof(a)))
                        return failed("connect");
                write_all(fd, 5);
                shutdown(fd, SHUT_WR);
                read_all(fd);
                close(fd);
        }
        return 0;
}

int main(int argc, char **argv) {
        const char *what = argc > 1 ? argv[1] : "";

        signal(SIGPIPE, SIG_IGN);
        if (!strcmp(what, "serve") && argc == 3)
                return serve(argv[2]);
        if (!strcmp(what, "connect") && argc == 7)
                return connect_many(argv[2], argv[3], atol(argv[4]), atol(argv[5]), atol(argv[6]));
        if (!strcmp(what, "scan") && argc == 5)
                return scan(argv[2], atoi(argv[3]), atoi(argv[4]));
        if (!strcmp(what, "hold") && argc == 5)
                return hold(argv[2], argv[3], atol(argv[4]));
        if (!strcmp(what, "reset") && argc == 5)
                return reset(argv[2], argv[3], atol(argv[4]));
        if (!strcmp(what, "usend") && argc == 6)
                return send_datagrams(argv[2], argv[3], atol(argv[4]), atol(argv[5]));
        if (!strcmp(what, "wsend") && argc == 7)
                return write_datagrams(argv[2], argv[3], atol(argv[4]), (size_t) atol(argv[5]), argv[6]);
        if (!strcmp(what, "userve") && argc == 3)
                return serve_datagrams(argv[2]);
        if (!strcmp(what, "resolve") && argc == 4)
                return resolve(argv[2], argv[3]);
        if (!strcmp(what, "serveunix") && argc == 3)
                return serve_unix(argv[2]);
        if (!strcmp(what, "unix") && argc == 4)
                return connect_unix(argv[2], atol(argv[3]));
        fprintf(stderr, "flow_load: what? See the beginning of its source.\n");
        return 2;
}
