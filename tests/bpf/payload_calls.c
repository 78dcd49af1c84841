/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload_calls CGROUP.PROCS FORM [NAME]: enters the cgroup, opens a TCP connection to itself over 127.0.0.1 (or one over the Unix socket of that abstract name), and sends what payload_calls.h says to and fro, all of it
 * by one form of call. Prints "CLIENT-PORT SERVER-PORT" when it is done. Exit status 77: this kernel, or this interface, does not have the form.
 * Static, and built for the 32-bit interface as well. System calls are made by number, so that it is those.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "payload_calls.h"

#define SKIP 77
#define PARTS 3

static void check(int ok, const char *what) {
        if (ok)
                return;
        fprintf(stderr, "payload_calls: %s: %s\n", what, strerror(errno));
        exit(errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP ? SKIP : 1);
}

/* Parts of unequal length. */
static int parts_of(struct iovec *v, unsigned char *at, size_t len) {
        size_t first = len / 7, second = len / 2;

        if (len < 16) {
                v[0] = (struct iovec) { at, len };
                return 1;
        }
        v[0] = (struct iovec) { at, first };
        v[1] = (struct iovec) { at + first, second };
        v[2] = (struct iovec) { at + first + second, len - first - second };
        return PARTS;
}

/* ---- forms; each moves up to `len` bytes and says how many ---- */

typedef long (*Form)(int fd, unsigned char *at, size_t len);

static long do_write(int fd, unsigned char *at, size_t len) { return syscall(SYS_write, fd, at, len); }
static long do_read(int fd, unsigned char *at, size_t len) { return syscall(SYS_read, fd, at, len); }
static long do_byte_write(int fd, unsigned char *at, size_t len) { return syscall(SYS_write, fd, at, len > 40 && (at[0] != 'P' && at[0] != 'H') ? len : 1); }
static long do_byte_read(int fd, unsigned char *at, size_t len) { return syscall(SYS_read, fd, at, len > PAYLOAD_BYTES - 40 ? 1 : len); }
static long do_sendto(int fd, unsigned char *at, size_t len) { return syscall(SYS_sendto, fd, at, len, MSG_NOSIGNAL, NULL, 0); }
static long do_recvfrom(int fd, unsigned char *at, size_t len) { return syscall(SYS_recvfrom, fd, at, len, 0, NULL, NULL); }

static long do_peek(int fd, unsigned char *at, size_t len) {
        check(syscall(SYS_recvfrom, fd, at, len, MSG_PEEK, NULL, NULL) > 0, "peek");
        memset(at, 0, len);
        return syscall(SYS_recvfrom, fd, at, len, 0, NULL, NULL);
}

static long do_writev(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        int n = parts_of(v, at, len);
        return syscall(SYS_writev, fd, v, n);
}
static long do_readv(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        int n = parts_of(v, at, len);
        return syscall(SYS_readv, fd, v, n);
}
static long do_pwritev2(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        int n = parts_of(v, at, len);
        return syscall(SYS_pwritev2, fd, v, n, -1L, -1L, 0);
}
static long do_preadv2(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        int n = parts_of(v, at, len);
        return syscall(SYS_preadv2, fd, v, n, -1L, -1L, 0);
}
static long do_sendmsg(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t) parts_of(v, at, len) };
        return syscall(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
}
static long do_recvmsg(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t) parts_of(v, at, len) };
        return syscall(SYS_recvmsg, fd, &m, 0);
}

/* Two messages of parts in one call. */
static long batch(int fd, unsigned char *at, size_t len, int nr, long a4, long a5) {
        struct iovec v[2][PARTS];
        struct mmsghdr m[2];
        size_t half = len / 2;
        long n;

        memset(m, 0, sizeof(m));
        m[0].msg_hdr.msg_iov = v[0];
        m[0].msg_hdr.msg_iovlen = (size_t) parts_of(v[0], at, half ? half : len);
        m[1].msg_hdr.msg_iov = v[1];
        m[1].msg_hdr.msg_iovlen = (size_t) parts_of(v[1], at + half, len - half);
        n = syscall(nr, fd, m, half ? 2 : 1, a4, a5);
        return n <= 0 ? n : n == 1 ? (long) m[0].msg_len : (long) (m[0].msg_len + m[1].msg_len);
}
static long do_sendmmsg(int fd, unsigned char *at, size_t len) { return batch(fd, at, len, SYS_sendmmsg, MSG_NOSIGNAL, 0); }
/* only whole messages in order: the second of a call must not begin before the first is full */
static long do_recvmmsg(int fd, unsigned char *at, size_t len) { return batch(fd, at, len, SYS_recvmmsg, MSG_WAITALL, 0); }

static int file_of(const unsigned char *at, size_t len) {
        int fd = (int) syscall(SYS_memfd_create, "payload", 0);

        check(fd >= 0 && write(fd, at, len) == (ssize_t) len && lseek(fd, 0, SEEK_SET) == 0, "memfd");
        return fd;
}
static long do_sendfile(int fd, unsigned char *at, size_t len) {
        int file = file_of(at, len);
        long n = syscall(SYS_sendfile, fd, file, NULL, len);
        close(file);
        return n;
}
static long do_splice_out(int fd, unsigned char *at, size_t len) {
        int p[2], file = file_of(at, len);
        loff_t from = 0;
        long n;

        check(pipe(p) == 0, "pipe");
        n = syscall(SYS_splice, file, &from, p[1], NULL, len, 0);
        check(n == (long) len, "splice to the pipe");
        n = syscall(SYS_splice, p[0], NULL, fd, NULL, len, 0);
        close(p[0]);
        close(p[1]);
        close(file);
        return n;
}
static long do_splice_in(int fd, unsigned char *at, size_t len) {
        int p[2];
        long n;

        check(pipe(p) == 0, "pipe");
        n = syscall(SYS_splice, fd, NULL, p[1], NULL, len, 0);
        check(n > 0 && read(p[0], at, (size_t) n) == n, "splice from the socket");
        close(p[0]);
        close(p[1]);
        return n;
}

#ifdef SYS_socketcall
static long socketcall(int what, long a, long b, long c, long d, long e, long f) {
        long args[6] = { a, b, c, d, e, f };
        return syscall(SYS_socketcall, what, args);
}
static long do_sc_send(int fd, unsigned char *at, size_t len) { return socketcall(9, fd, (long) at, (long) len, MSG_NOSIGNAL, 0, 0); }
static long do_sc_recv(int fd, unsigned char *at, size_t len) { return socketcall(10, fd, (long) at, (long) len, 0, 0, 0); }
static long do_sc_sendmsg(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t) parts_of(v, at, len) };
        return socketcall(16, fd, (long) &m, MSG_NOSIGNAL, 0, 0, 0);
}
static long do_sc_recvmsg(int fd, unsigned char *at, size_t len) {
        struct iovec v[PARTS];
        struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t) parts_of(v, at, len) };
        return socketcall(17, fd, (long) &m, 0, 0, 0, 0);
}
#endif

/* ---- io_uring, without liburing ---- */

static long ring_do(const struct io_uring_sqe *sqe, unsigned flags) {
        static struct {
                int fd;
                unsigned flags, *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
                struct io_uring_sqe *sqes;
                struct io_uring_cqe *cqes;
        } r;

        if (!r.sqes) {
                struct io_uring_params p = { .flags = flags, .sq_thread_idle = 200 };

                r.fd = (int) syscall(SYS_io_uring_setup, 4, &p);
                check(r.fd >= 0, "io_uring_setup");
                char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQ_RING);
                char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_CQ_RING);
                r.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQES);
                check(sq != MAP_FAILED && cq != MAP_FAILED && r.sqes != MAP_FAILED, "mapping the ring");
                r.sq_tail = (unsigned *) (sq + p.sq_off.tail);
                r.sq_mask = (unsigned *) (sq + p.sq_off.ring_mask);
                r.sq_array = (unsigned *) (sq + p.sq_off.array);
                r.sq_flags = (unsigned *) (sq + p.sq_off.flags);
                r.cq_head = (unsigned *) (cq + p.cq_off.head);
                r.cq_tail = (unsigned *) (cq + p.cq_off.tail);
                r.cq_mask = (unsigned *) (cq + p.cq_off.ring_mask);
                r.cqes = (struct io_uring_cqe *) (cq + p.cq_off.cqes);
                r.flags = flags;
        }

        unsigned tail = *r.sq_tail, at = tail & *r.sq_mask, sqpoll = r.flags & IORING_SETUP_SQPOLL, enter = IORING_ENTER_GETEVENTS;
        r.sqes[at] = *sqe;
        r.sq_array[at] = at;
        __atomic_store_n(r.sq_tail, tail + 1, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (sqpoll && __atomic_load_n(r.sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)
                enter |= IORING_ENTER_SQ_WAKEUP;
        while (__atomic_load_n(r.cq_tail, __ATOMIC_ACQUIRE) == *r.cq_head)
                check(syscall(SYS_io_uring_enter, r.fd, sqpoll ? 0 : 1, 1, enter, NULL, 0) >= 0 || errno == EINTR, "io_uring_enter");
        int res = r.cqes[*r.cq_head & *r.cq_mask].res;
        __atomic_store_n(r.cq_head, *r.cq_head + 1, __ATOMIC_RELEASE);
        errno = res < 0 ? -res : 0;
        return res < 0 ? -1 : res;
}

static long ring_flat(int fd, unsigned char *at, size_t len, int op, unsigned sqe_flags, unsigned setup) {
        struct io_uring_sqe s = { .fd = fd, .opcode = (uint8_t) op, .addr = (uintptr_t) at, .len = (unsigned) len, .flags = (uint8_t) sqe_flags };
        return ring_do(&s, setup);
}
static long ring_msg(int fd, unsigned char *at, size_t len, int op) {
        struct iovec v[PARTS];
        struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t) parts_of(v, at, len) };
        struct io_uring_sqe s = { .fd = fd, .opcode = (uint8_t) op, .addr = (uintptr_t) &m, .len = 1 };
        return ring_do(&s, 0);
}
static long do_ring_send(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_SEND, 0, 0); }
static long do_ring_recv(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_RECV, 0, 0); }
static long do_ring_asend(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_SEND, IOSQE_ASYNC, 0); }
static long do_ring_arecv(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_RECV, IOSQE_ASYNC, 0); }
static long do_ring_psend(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_SEND, 0, IORING_SETUP_SQPOLL); }
static long do_ring_precv(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_RECV, 0, IORING_SETUP_SQPOLL); }
static long do_ring_write(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_WRITE, 0, 0); }
static long do_ring_read(int fd, unsigned char *at, size_t len) { return ring_flat(fd, at, len, IORING_OP_READ, 0, 0); }
static long do_ring_sendmsg(int fd, unsigned char *at, size_t len) { return ring_msg(fd, at, len, IORING_OP_SENDMSG); }
static long do_ring_recvmsg(int fd, unsigned char *at, size_t len) { return ring_msg(fd, at, len, IORING_OP_RECVMSG); }

static const struct {
        const char *name;
        Form out, in;
} forms[] = {
        { "write-read", do_write, do_read },
        { "single-bytes", do_byte_write, do_byte_read },
        { "sendto-recvfrom", do_sendto, do_recvfrom },
        { "peek", do_sendto, do_peek },
        { "writev-readv", do_writev, do_readv },
        { "pwritev2-preadv2", do_pwritev2, do_preadv2 },
        { "sendmsg-recvmsg", do_sendmsg, do_recvmsg },
        { "sendmmsg-recvmmsg", do_sendmmsg, do_recvmmsg },
        { "sendfile", do_sendfile, do_read },
        { "splice-to", do_splice_out, do_read },
        { "splice-from", do_write, do_splice_in },
        { "uring-send-recv", do_ring_send, do_ring_recv },
        { "uring-async-send-recv", do_ring_asend, do_ring_arecv },
        { "uring-sqpoll-send-recv", do_ring_psend, do_ring_precv },
        { "uring-write-read", do_ring_write, do_ring_read },
        { "uring-sendmsg-recvmsg", do_ring_sendmsg, do_ring_recvmsg },
#ifdef SYS_socketcall
        { "socketcall-send-recv", do_sc_send, do_sc_recv },
        { "socketcall-sendmsg-recvmsg", do_sc_sendmsg, do_sc_recvmsg },
#endif
};

static void move(Form out, int to, Form in, int from, int response, unsigned turn) {
        static unsigned char text[PAYLOAD_BYTES], got[PAYLOAD_BYTES];
        size_t sent = 0, had = 0;
        long n;

        payload_text(text, sizeof(text), response, turn);
        memset(got, 0, sizeof(got));
        while (sent < sizeof(text)) {
                check((n = out(to, text + sent, sizeof(text) - sent)) > 0, "sending");
                sent += (size_t) n;
        }
        while (had < sizeof(got)) {
                check((n = in(from, got + had, sizeof(got) - had)) > 0, "receiving");
                had += (size_t) n;
        }
        errno = 0;
        check(memcmp(text, got, sizeof(text)) == 0, "what came is not what was sent");
}

/* A TCP connection, or one over the Unix socket with that abstract name. */
static void connect_pair(const char *name, int *client, int *server, unsigned ports[2]) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, c = a;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct sockaddr *at = name ? (struct sockaddr *) &un : (struct sockaddr *) &a;
        socklen_t len = sizeof(a), name_len = name ? (socklen_t) strlen(name) : 0;
        int listener = socket(at->sa_family, SOCK_STREAM, 0);

        *client = socket(at->sa_family, SOCK_STREAM, 0);
        if (name) {
                check(name_len < sizeof(un.sun_path), name);
                memcpy(un.sun_path + 1, name, name_len);
                len = (socklen_t) offsetof(struct sockaddr_un, sun_path) + 1 + name_len;
        }
        check(bind(listener, at, len) == 0 && listen(listener, 1) == 0 && (name || getsockname(listener, at, &len) == 0), "listening");
        check(connect(*client, at, len) == 0 && (name || getsockname(*client, (struct sockaddr *) &c, &len) == 0), "connecting");
        *server = accept(listener, NULL, NULL);
        check(*server >= 0, "accepting");
        ports[0] = ntohs(c.sin_port);
        ports[1] = ntohs(a.sin_port);
}

int main(int argc, char **argv) {
        unsigned f = 0, ports[2];
        int fd, client, server;

        while (f < sizeof(forms) / sizeof(*forms) && (argc < 3 || strcmp(forms[f].name, argv[2]) != 0))
                f++;
        if (f == sizeof(forms) / sizeof(*forms))
                return SKIP;
        fd = open(argv[1], O_WRONLY);
        check(fd >= 0 && write(fd, "0", 1) == 1, argv[1]);
        close(fd);
        connect_pair(argc > 3 ? argv[3] : NULL, &client, &server, ports);
        for (unsigned turn = 0; turn < PAYLOAD_TURNS; turn++) {
                move(forms[f].out, client, forms[f].in, server, 0, turn);
                move(forms[f].out, server, forms[f].in, client, 1, turn);
        }
        close(client);
        close(server);
        printf("%u %u\n", ports[0], ports[1]);
        return 0;
}
