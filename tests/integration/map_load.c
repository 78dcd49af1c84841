/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map-load: connections of an exact number and size, for tests of the connection map. Static: it runs in an empty container.
 *
 *     map-load serve PROTO WHERE...                                  answers until it is killed
 *     map-load client PROTO ADDRESS PORT COUNT RATE REQUEST REPLY [FLAGS]   COUNT exchanges, each on a connection of its own, RATE a second (0: no pauses)
 *     map-load hold PROTO ADDRESS PORT COUNT REQUEST REPLY CONTROL   COUNT connections, one exchange on each; then as the FIFO CONTROL says,
 *                                                                    by lines: "more": one exchange on each, "end", "reset"
 *     map-load scan ADDRESS FIRST LAST TIMEOUT_MS                    tries each TCP port of a range, 256 at a time
 *     map-load spray NETWORK FIRST LAST PORT TIMEOUT_MS              tries one TCP port of the addresses NETWORK.FIRST to NETWORK.LAST
 *     map-load resolve SERVER NAME                                   asks a name server for the IPv4 address of NAME, as C libraries do
 *     map-load half ADDRESS PORT COUNT SECONDS                       begins connections, waits for no answer, and gives them up after SECONDS
 *
 * PROTO is tcp, udp, unix, unixgram or unixpacket; WHERE and PORT are a port, or with ADDRESS "-" a path ("@name": abstract). An exchange is
 * REQUEST bytes there and REPLY bytes back; a request begins with the sizes of both and FLAGS (16 bytes), so that REQUEST is at least 16.
 * What was done is printed as one JSON object: results of connections, and bytes that the programs gave to and got from the kernel.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x6d61706cu
#define LARGEST (64u << 20)
#define PARALLEL 256
#define WAIT_MS 20000

enum {
        /* the server closes first: the client's port is free at once */
        SERVER_CLOSES = 1,
        /* the server ends the connection by a reset, after its reply */
        SERVER_RESETS = 2,
        CLIENT_RESETS = 4,
};

struct request {
        uint32_t magic, size, reply, flags;
};

struct totals {
        unsigned long ok, refused, timed_out, unreachable, reset, failed, bytes_out, bytes_in;
};

struct target {
        int family, type;
        socklen_t length;
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
        } a;
};

static char block[65536];

static void die(const char *what, const char *of) {
        fprintf(stderr, "map-load: %s: %s: %s\n", what, of, strerror(errno));
        exit(1);
}

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void sleep_until(double when) {
        double left = when - now();

        if (left > 0)
                nanosleep(&(struct timespec){ .tv_sec = (time_t) left, .tv_nsec = (long) ((left - (double) (time_t) left) * 1e9) }, NULL);
}

static void target_parse(struct target *t, const char *proto, const char *address, const char *port) {
        memset(t, 0, sizeof(*t));
        t->type = !strcmp(proto, "udp") || !strcmp(proto, "unixgram") ? SOCK_DGRAM : !strcmp(proto, "unixpacket") ? SOCK_SEQPACKET : SOCK_STREAM;
        if (!strncmp(proto, "unix", 4)) {
                size_t n = strlen(port);

                if (n >= sizeof(t->a.un.sun_path)) {
                        errno = ENAMETOOLONG;
                        die("path", port);
                }
                t->family = t->a.un.sun_family = AF_UNIX;
                memcpy(t->a.un.sun_path, port, n);
                t->length = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n);
                if (port[0] == '@')
                        t->a.un.sun_path[0] = 0;
                else
                        t->length++;
        } else if (strchr(address, ':')) {
                t->family = t->a.in6.sin6_family = AF_INET6;
                t->a.in6.sin6_port = htons((uint16_t) atoi(port));
                t->length = sizeof(t->a.in6);
                if (inet_pton(AF_INET6, address, &t->a.in6.sin6_addr) != 1)
                        die("address", address);
        } else {
                t->family = t->a.in.sin_family = AF_INET;
                t->a.in.sin_port = htons((uint16_t) atoi(port));
                t->length = sizeof(t->a.in);
                if (inet_pton(AF_INET, address, &t->a.in.sin_addr) != 1)
                        die("address", address);
        }
}

static void end_by_reset(int fd) {
        struct linger l = { .l_onoff = 1, .l_linger = 0 };

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
        close(fd);
}

/* A datagram socket of the Unix family gets answers only at an address of its own. */
static int make_socket(const struct target *t, int flags) {
        int fd = socket(t->family, t->type | SOCK_CLOEXEC | flags, 0);

        if (fd >= 0 && t->family == AF_UNIX && t->type == SOCK_DGRAM) {
                sa_family_t family = AF_UNIX;

                if (bind(fd, (struct sockaddr *) &family, sizeof(family)) < 0)
                        die("bind", "a name of the kernel's choice");
        }
        return fd;
}

static void count_error(struct totals *sum, int e) {
        switch (e) {
        case ECONNREFUSED:
                sum->refused++;
                break;
        case ETIMEDOUT:
        case EAGAIN:
                sum->timed_out++;
                break;
        case EHOSTUNREACH:
        case ENETUNREACH:
                sum->unreachable++;
                break;
        default:
                sum->failed++;
        }
}

static void say(const struct totals *s, double seconds) {
        printf("{\"ok\":%lu,\"refused\":%lu,\"timed_out\":%lu,\"unreachable\":%lu,\"reset\":%lu,\"failed\":%lu,\"bytes_out\":%lu,\"bytes_in\":%lu,"
               "\"seconds\":%.3f}\n",
               s->ok, s->refused, s->timed_out, s->unreachable, s->reset, s->failed, s->bytes_out, s->bytes_in, seconds);
        fflush(stdout);
}

static int send_all(int fd, const struct request *r, struct totals *sum) {
        uint32_t done = 0;

        memcpy(block, r, sizeof(*r));
        while (done < r->size) {
                uint32_t want = r->size - done < sizeof(block) ? r->size - done : (uint32_t) sizeof(block);
                ssize_t n = send(fd, done ? block + sizeof(*r) : block, done && want > sizeof(block) - sizeof(*r) ? sizeof(block) - sizeof(*r) : want, MSG_NOSIGNAL);

                if (n < 0)
                        return errno;
                done += (uint32_t) n;
                sum->bytes_out += (unsigned long) n;
        }
        return 0;
}

/* 0, or an errno; EPIPE: the end before all was there. */
static int receive_all(int fd, uint32_t size, struct totals *sum) {
        for (uint32_t done = 0; done < size;) {
                ssize_t n = recv(fd, block, sizeof(block), 0);

                if (n < 0)
                        return errno;
                if (n == 0)
                        return EPIPE;
                done += (uint32_t) n;
                sum->bytes_in += (unsigned long) n;
        }
        return 0;
}

static int exchange(int fd, const struct request *r, struct totals *sum) {
        int e = send_all(fd, r, sum);

        return e ? e : receive_all(fd, r->reply, sum);
}

static int open_connection(const struct target *t, struct totals *sum) {
        struct timeval wait = { .tv_sec = WAIT_MS / 1000 };
        int fd = make_socket(t, 0);

        if (fd < 0)
                die("socket", "");
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        if (connect(fd, &t->a.any, t->length) < 0) {
                count_error(sum, errno);
                close(fd);
                return -1;
        }
        return fd;
}

static struct request request_of(const char *size, const char *reply, uint32_t flags) {
        struct request r = { .magic = MAGIC, .size = (uint32_t) atol(size), .reply = (uint32_t) atol(reply), .flags = flags };

        if (r.size < sizeof(r) || r.size > LARGEST || r.reply > LARGEST) {
                fprintf(stderr, "map-load: sizes are 16 to %u, and 0 to %u\n", LARGEST, LARGEST);
                exit(2);
        }
        return r;
}

static int client(char **arg, uint32_t flags) {
        struct totals sum = { 0 };
        struct target t;
        unsigned long count = strtoul(arg[3], NULL, 10);
        double rate = atof(arg[4]), begun = now();
        struct request r = request_of(arg[5], arg[6], flags);

        target_parse(&t, arg[0], arg[1], arg[2]);
        for (unsigned long i = 0; i < count; i++) {
                char rest;
                int fd, e;

                if (rate > 0)
                        sleep_until(begun + (double) i / rate);
                fd = open_connection(&t, &sum);
                if (fd < 0)
                        continue;
                e = exchange(fd, &r, &sum);
                if (!e && (flags & (SERVER_CLOSES | SERVER_RESETS)) && t.type != SOCK_DGRAM)
                        e = recv(fd, &rest, 1, 0) < 0 ? errno : 0;
                if (e == ECONNRESET)
                        sum.reset++;
                else if (e)
                        sum.failed++;
                else
                        sum.ok++;
                if (flags & CLIENT_RESETS)
                        end_by_reset(fd);
                else
                        close(fd);
        }
        say(&sum, now() - begun);
        return 0;
}

static int hold(char **arg) {
        struct totals sum = { 0 };
        struct target t;
        int count = atoi(arg[3]);
        struct request r = request_of(arg[4], arg[5], 0);
        int *fd = calloc((size_t) count + 1, sizeof(*fd));
        double begun = now();
        char line[64];

        target_parse(&t, arg[0], arg[1], arg[2]);
        for (int i = 0; i < count; i++) {
                fd[i] = open_connection(&t, &sum);
                if (fd[i] < 0 || exchange(fd[i], &r, &sum))
                        die("exchange", arg[1]);
                sum.ok++;
        }
        say(&sum, now() - begun);
        for (;;) {
                /* opened for writing too, so that it does not end when a writer does */
                int control = open(arg[6], O_RDWR | O_CLOEXEC);
                FILE *f = control < 0 ? NULL : fdopen(control, "r");

                if (!f)
                        die("open", arg[6]);
                while (fgets(line, sizeof(line), f)) {
                        if (!strcmp(line, "more\n")) {
                                for (int i = 0; i < count; i++)
                                        if (exchange(fd[i], &r, &sum))
                                                die("exchange", arg[1]);
                                say(&sum, now() - begun);
                        } else {
                                for (int i = 0; i < count; i++)
                                        if (!strcmp(line, "reset\n"))
                                                end_by_reset(fd[i]);
                                        else
                                                close(fd[i]);
                                say(&sum, now() - begun);
                                return 0;
                        }
                }
        }
}

/* Connections under way, at most PARALLEL of them, each given up after a time. */
static void try_all(unsigned long count, void (*make)(unsigned long, struct target *, void *), void *data, int timeout_ms, struct totals *sum) {
        struct pollfd polls[PARALLEL];
        double until[PARALLEL];
        unsigned long next = 0;
        int n = 0;

        while (next < count || n) {
                double soonest;
                int wait;

                while (n < PARALLEL && next < count) {
                        struct target t;
                        int fd;

                        make(next++, &t, data);
                        fd = make_socket(&t, SOCK_NONBLOCK);
                        if (fd < 0)
                                die("socket", "");
                        if (connect(fd, &t.a.any, t.length) < 0 && errno != EINPROGRESS) {
                                count_error(sum, errno);
                                close(fd);
                                continue;
                        }
                        until[n] = now() + timeout_ms / 1e3;
                        polls[n++] = (struct pollfd){ .fd = fd, .events = POLLOUT };
                }
                soonest = now() + 1;
                for (int i = 0; i < n; i++)
                        soonest = until[i] < soonest ? until[i] : soonest;
                wait = (int) ((soonest - now()) * 1000) + 1;
                poll(polls, (nfds_t) n, wait < 0 ? 0 : wait);
                for (int i = 0; i < n;) {
                        int e = 0;
                        socklen_t size = sizeof(e);

                        if (polls[i].revents) {
                                getsockopt(polls[i].fd, SOL_SOCKET, SO_ERROR, &e, &size);
                                if (e)
                                        count_error(sum, e);
                                else
                                        sum->ok++;
                        } else if (now() >= until[i]) {
                                sum->timed_out++;
                        } else {
                                i++;
                                continue;
                        }
                        close(polls[i].fd);
                        polls[i] = polls[--n];
                        until[i] = until[n];
                }
        }
}

static void make_port(unsigned long i, struct target *t, void *data) {
        char **arg = data, port[16];

        snprintf(port, sizeof(port), "%lu", strtoul(arg[1], NULL, 10) + i);
        target_parse(t, "tcp", arg[0], port);
}

static void make_address(unsigned long i, struct target *t, void *data) {
        char **arg = data, address[64];

        snprintf(address, sizeof(address), "%s.%lu", arg[0], strtoul(arg[1], NULL, 10) + i);
        target_parse(t, "tcp", address, arg[3]);
}

static int scan(char **arg, void (*make)(unsigned long, struct target *, void *), const char *timeout) {
        struct totals sum = { 0 };
        double begun = now();

        try_all(strtoul(arg[2], NULL, 10) - strtoul(arg[1], NULL, 10) + 1, make, arg, atoi(timeout), &sum);
        say(&sum, now() - begun);
        return 0;
}

static int half(char **arg) {
        struct target t;
        struct totals sum = { 0 };
        int count = atoi(arg[2]);
        int *fd = calloc((size_t) count + 1, sizeof(*fd));
        double begun = now();

        target_parse(&t, "tcp", arg[0], arg[1]);
        for (int i = 0; i < count; i++) {
                fd[i] = make_socket(&t, SOCK_NONBLOCK);
                if (fd[i] < 0 || (connect(fd[i], &t.a.any, t.length) < 0 && errno != EINPROGRESS))
                        die("connect", arg[0]);
        }
        say(&sum, 0);
        sleep_until(begun + atof(arg[3]));
        for (int i = 0; i < count; i++)
                close(fd[i]);
        say(&sum, now() - begun);
        return 0;
}

static int resolve(char **arg) {
        uint8_t q[512] = { 0x4d, 0x4c, 1, 0, 0, 1 }, *p = q + 12, answer[512];
        struct timeval wait = { .tv_sec = WAIT_MS / 1000 };
        char text[INET_ADDRSTRLEN];
        struct target t;
        ssize_t n;
        int fd;

        if (strlen(arg[1]) > 250) {
                errno = ENAMETOOLONG;
                die("name", arg[1]);
        }
        for (const char *label = arg[1]; *label;) {
                size_t len = strcspn(label, ".");

                *p++ = (uint8_t) len;
                memcpy(p, label, len);
                p += len;
                label += len + (label[len] == '.');
        }
        memcpy(p, (uint8_t[]){ 0, 0, 1, 0, 1 }, 5);
        p += 5;
        target_parse(&t, "udp", arg[0], "53");
        fd = make_socket(&t, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 || sendto(fd, q, (size_t) (p - q), 0, &t.a.any, t.length) < 0)
                die("ask", arg[0]);
        n = recvfrom(fd, answer, sizeof(answer), 0, &t.a.any, &t.length);
        close(fd);
        /* one answer at most, behind the question: its data are the last four bytes */
        if (n < p - q + 16 || !answer[7])
                die("no answer", arg[1]);
        puts(inet_ntop(AF_INET, answer + n - 4, text, sizeof(text)));
        return 0;
}

/* One connection of the server. */
struct peer {
        int fd, packets;
        int has_header;
        struct request r;
        uint32_t got, sent;
};

static void peer_free(struct peer *p) {
        if (p->r.flags & SERVER_RESETS)
                end_by_reset(p->fd);
        else
                close(p->fd);
        free(p);
}

/* 0: wait for more; 1: it has ended. */
static int peer_serve(struct peer *p) {
        static char reply[65536];

        for (;;) {
                ssize_t n;

                if (p->got < p->r.size || !p->has_header) {
                        size_t want = p->has_header ? p->r.size - p->got : sizeof(p->r) - p->got;

                        if (p->packets) /* whole ones; the first is looked at before it is taken */
                                n = recv(p->fd, block, sizeof(block), p->has_header ? 0 : MSG_PEEK);
                        else
                                n = recv(p->fd, p->has_header ? block : (char *) &p->r + p->got, want > sizeof(block) ? sizeof(block) : want, 0);
                        if (n < 0 && errno == EAGAIN)
                                return 0;
                        if (n <= 0)
                                return 1;
                        if (!p->has_header) {
                                if (p->packets && (size_t) n < sizeof(p->r))
                                        return 1;
                                if (p->packets)
                                        memcpy(&p->r, block, sizeof(p->r));
                                else if ((p->got += (uint32_t) n) < sizeof(p->r))
                                        continue;
                                if (p->r.magic != MAGIC || p->r.size > LARGEST || p->r.reply > LARGEST)
                                        return 1;
                                p->has_header = 1;
                                continue;
                        }
                        p->got += (uint32_t) n;
                        continue;
                }
                while (p->sent < p->r.reply) {
                        n = send(p->fd, reply, p->r.reply - p->sent < sizeof(reply) ? p->r.reply - p->sent : sizeof(reply), MSG_NOSIGNAL);
                        if (n < 0 && errno == EAGAIN)
                                return 0;
                        if (n < 0)
                                return 1;
                        p->sent += (uint32_t) n;
                }
                if (p->r.flags & (SERVER_CLOSES | SERVER_RESETS))
                        return 1;
                p->got = p->sent = 0;
                p->has_header = 0;
        }
}

static void answer_datagram(int fd) {
        static char reply[65536];
        struct sockaddr_storage from;
        socklen_t length = sizeof(from);
        struct request r;
        ssize_t n = recvfrom(fd, block, sizeof(block), 0, (struct sockaddr *) &from, &length);

        if (n < (ssize_t) sizeof(r))
                return;
        memcpy(&r, block, sizeof(r));
        if (r.magic == MAGIC && r.reply && r.reply < sizeof(reply))
                sendto(fd, reply, r.reply, MSG_NOSIGNAL, (struct sockaddr *) &from, length);
}

static int serve(const char *proto, char **where, int n) {
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        struct peer listeners[PARALLEL] = { 0 };

        if (n > PARALLEL) {
                fprintf(stderr, "map-load: at most %d places to listen at\n", PARALLEL);
                return 2;
        }
        for (int i = 0; i < n; i++) {
                struct target t;
                int on = 1, off = 0;
                const char *address = "::";
                char *colon = strrchr(where[i], ':');

                /* a port of all addresses, of both kinds; or ADDRESS:PORT */
                if (colon && strncmp(proto, "unix", 4)) {
                        *colon = 0;
                        address = where[i];
                        where[i] = colon + 1;
                }
                target_parse(&t, proto, address, where[i]);
                listeners[i].fd = socket(t.family, t.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                if (listeners[i].fd < 0 && t.family == AF_INET6 && !colon) { /* no IPv6 here */
                        target_parse(&t, proto, "0.0.0.0", where[i]);
                        listeners[i].fd = socket(t.family, t.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                }
                if (t.family == AF_INET6)
                        setsockopt(listeners[i].fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
                if (t.family == AF_UNIX && where[i][0] != '@')
                        unlink(where[i]);
                setsockopt(listeners[i].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
                if (bind(listeners[i].fd, &t.a.any, t.length) < 0 || (t.type != SOCK_DGRAM && listen(listeners[i].fd, 1024) < 0))
                        die("listen", where[i]);
                listeners[i].packets = t.type;
                if (epoll_ctl(epoll, EPOLL_CTL_ADD, listeners[i].fd, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &listeners[i] }) < 0)
                        die("epoll", where[i]);
        }
        puts("{\"serves\":true}");
        fflush(stdout);
        for (;;) {
                struct epoll_event ready[PARALLEL];
                int count = epoll_wait(epoll, ready, PARALLEL, -1);

                for (int i = 0; i < count; i++) {
                        struct peer *p = ready[i].data.ptr;

                        if (p < listeners || p >= listeners + PARALLEL) {
                                if (peer_serve(p))
                                        peer_free(p);
                        } else if (p->packets == SOCK_DGRAM) {
                                answer_datagram(p->fd);
                        } else {
                                int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                                struct peer *one = fd < 0 ? NULL : calloc(1, sizeof(*one));

                                if (!one)
                                        continue;
                                one->fd = fd;
                                one->packets = p->packets == SOCK_SEQPACKET;
                                if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = one }) < 0)
                                        peer_free(one);
                        }
                }
        }
}

int main(int argc, char **argv) {
        const char *what = argc > 1 ? argv[1] : "";
        struct rlimit files;

        signal(SIGPIPE, SIG_IGN);
        if (!getrlimit(RLIMIT_NOFILE, &files)) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        if (!strcmp(what, "serve") && argc > 3)
                return serve(argv[2], argv + 3, argc - 3);
        if (!strcmp(what, "client") && (argc == 9 || argc == 10))
                return client(argv + 2, argc == 10 ? (uint32_t) atoi(argv[9]) : 0);
        if (!strcmp(what, "hold") && argc == 9)
                return hold(argv + 2);
        if (!strcmp(what, "scan") && argc == 6)
                return scan(argv + 2, make_port, argv[5]);
        if (!strcmp(what, "spray") && argc == 7)
                return scan(argv + 2, make_address, argv[6]);
        if (!strcmp(what, "resolve") && argc == 4)
                return resolve(argv + 2);
        if (!strcmp(what, "half") && argc == 6)
                return half(argv + 2);
        fputs("usage: map-load serve PROTO WHERE... | client PROTO ADDRESS PORT COUNT RATE REQUEST REPLY [FLAGS]\n"
              "     | hold PROTO ADDRESS PORT COUNT REQUEST REPLY CONTROL | scan ADDRESS FIRST LAST TIMEOUT_MS\n"
              "     | spray NETWORK FIRST LAST PORT TIMEOUT_MS | half ADDRESS PORT COUNT SECONDS | resolve SERVER NAME\n",
              stderr);
        return 2;
}
