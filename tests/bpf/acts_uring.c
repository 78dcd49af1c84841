/* SPDX-License-Identifier: Apache-2.0 */
/* Acts through io_uring, without liburing: no system call of the act's own name is made. */
#include "acts.h"

#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/uio.h>

struct ring {
        int fd;
        unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
        struct io_uring_sqe *sqes;
        struct io_uring_cqe *cqes;
        unsigned *sq_flags;
        bool sqpoll;
};

static struct ring ring_open(unsigned flags) {
        struct io_uring_params p = { .flags = flags, .sq_thread_idle = 200 };
        struct ring r = { .fd = (int) SYSC(SYS_io_uring_setup, 4, &p), .sqpoll = flags & IORING_SETUP_SQPOLL };

        if (r.fd < 0)
                act_unsupported("no io_uring");
        fcntl(r.fd, F_SETFD, FD_CLOEXEC);
        char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQ_RING);
        char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_CQ_RING);
        r.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r.fd, IORING_OFF_SQES);
        if (sq == MAP_FAILED || cq == MAP_FAILED || r.sqes == MAP_FAILED)
                act_unsupported("cannot map the ring");
        r.sq_tail = (unsigned *) (sq + p.sq_off.tail);
        r.sq_mask = (unsigned *) (sq + p.sq_off.ring_mask);
        r.sq_array = (unsigned *) (sq + p.sq_off.array);
        r.sq_flags = (unsigned *) (sq + p.sq_off.flags);
        r.cq_head = (unsigned *) (cq + p.cq_off.head);
        r.cq_tail = (unsigned *) (cq + p.cq_off.tail);
        r.cq_mask = (unsigned *) (cq + p.cq_off.ring_mask);
        r.cqes = (struct io_uring_cqe *) (cq + p.cq_off.cqes);
        return r;
}

static bool has_op(struct ring *r, int op) {
        size_t n = sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op);
        struct io_uring_probe *p = calloc(1, n);

        if (!p)
                abort();
        bool ok = SYSC(SYS_io_uring_register, r->fd, IORING_REGISTER_PROBE, p, 256) == 0 && op <= p->last_op && (p->ops[op].flags & IO_URING_OP_SUPPORTED);
        free(p);
        errno = 0;
        return ok;
}

/* Submits one entry and waits for its result: -1 and errno on failure, as a system call would say it. */
static long ring_do(struct ring *r, const struct io_uring_sqe *sqe) {
        unsigned tail = *r->sq_tail, at = tail & *r->sq_mask;

        r->sqes[at] = *sqe;
        r->sq_array[at] = at;
        __atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        unsigned flags = IORING_ENTER_GETEVENTS;
        if (r->sqpoll && (__atomic_load_n(r->sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP))
                flags |= IORING_ENTER_SQ_WAKEUP;
        while (__atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) == *r->cq_head)
                if (SYSC(SYS_io_uring_enter, r->fd, r->sqpoll ? 0 : 1, 1, flags, NULL, 0) < 0 && errno != EINTR)
                        return -1;
        int res = r->cqes[*r->cq_head & *r->cq_mask].res;
        __atomic_store_n(r->cq_head, *r->cq_head + 1, __ATOMIC_RELEASE);
        errno = res < 0 ? -res : 0;
        return res < 0 ? -1 : res;
}

#define PTR(p) ((uint64_t) (uintptr_t) (p))

enum { OPENAT, OPENAT_ASYNC, OPENAT_SQPOLL, OPENAT2, OPENAT_ENOENT, RENAMEAT, UNLINKAT, RMDIR, MKDIRAT, SYMLINKAT, LINKAT, CLOSE_WRITE };

static void run_uring_file(const struct act *a) {
        struct ring r = ring_open(a->arg == OPENAT_SQPOLL ? IORING_SETUP_SQPOLL : 0);
        const char *file = act_file("file", "through a ring"), *to = act_path("to");
        struct open_how how = { .flags = O_RDONLY | O_CLOEXEC };
        struct io_uring_sqe s = { .fd = AT_FDCWD };
        static const char data[] = "0123456789";

        switch (a->arg) {
        case OPENAT_ENOENT: file = act_path("missing"); __attribute__((fallthrough));
        case OPENAT:
        case OPENAT_ASYNC:
        case OPENAT_SQPOLL:
                s.opcode = IORING_OP_OPENAT;
                s.flags = a->arg == OPENAT_ASYNC ? IOSQE_ASYNC : 0;
                s.addr = PTR(file);
                s.open_flags = O_RDONLY | O_CLOEXEC;
                act_int("open_flags", O_RDONLY | O_CLOEXEC);
                break;
        case OPENAT2:
                s.opcode = IORING_OP_OPENAT2;
                s.addr = PTR(file);
                s.off = PTR(&how);
                s.len = sizeof how;
                act_int("open_flags", (long long) how.flags);
                break;
        case RENAMEAT:
                s.opcode = IORING_OP_RENAMEAT;
                s.addr = PTR(file);
                s.len = (unsigned) AT_FDCWD;
                s.off = PTR(to);
                act_str("path2", to);
                break;
        case LINKAT:
                s.opcode = IORING_OP_LINKAT;
                s.addr = PTR(file);
                s.len = (unsigned) AT_FDCWD;
                s.off = PTR(to);
                act_str("path2", to);
                break;
        case SYMLINKAT:
                s.opcode = IORING_OP_SYMLINKAT;
                s.addr = PTR(file);
                s.off = PTR(to);
                act_str("path2", file);
                break;
        case UNLINKAT:
                s.opcode = IORING_OP_UNLINKAT;
                s.addr = PTR(file);
                break;
        case RMDIR:
                if (mkdir(to, 0755) < 0)
                        act_unsupported("mkdir");
                s.opcode = IORING_OP_UNLINKAT;
                s.addr = PTR(to);
                s.unlink_flags = AT_REMOVEDIR;
                break;
        case MKDIRAT:
                s.opcode = IORING_OP_MKDIRAT;
                s.addr = PTR(to);
                s.len = 0750;
                break;
        case CLOSE_WRITE:
                s.opcode = IORING_OP_WRITE;
                s.fd = open(file, O_WRONLY | O_CLOEXEC);
                s.addr = PTR(data);
                s.len = 10;
                break;
        default: break;
        }
        if (!has_op(&r, s.opcode))
                act_unsupported("io_uring operation %d is not in this kernel", s.opcode);
        if (a->arg == UNLINKAT || a->arg == RENAMEAT || a->arg == LINKAT)
                act_path_facts(file);
        else if (a->arg == RMDIR)
                act_path_facts(to);
        else if (a->arg == CLOSE_WRITE)
                act_fd_facts(s.fd);
        errno = 0;
        long ret = act_ret(ring_do(&r, &s));
        act_int("io_uring_op", s.opcode);
        if (a->arg <= OPENAT2 && ret >= 0) {
                act_fd_facts((int) ret);
        } else if (a->arg == MKDIRAT || a->arg == SYMLINKAT) {
                act_path_facts(to);
        } else if (a->arg == OPENAT_ENOENT) {
                act_str("path", file);
        } else if (a->arg == CLOSE_WRITE) {
                act_int("bytes", ret);
                close(s.fd);
        }
        act_end();
}

enum { CONNECT = 32, CONNECT_REFUSED, SEND, SENDMSG, SENDTO_UDP, ACCEPT, SOCKET, SEND_TCP };

static void run_uring_net(const struct act *a) {
        struct ring r = ring_open(0);
        bool udp = a->arg == SEND || a->arg == SENDMSG;
        int type = udp ? SOCK_DGRAM : SOCK_STREAM, server = socket(AF_INET, type | SOCK_CLOEXEC, 0), fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        struct sockaddr_in u = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, peer = { 0 };
        socklen_t n = sizeof u, m = sizeof peer;
        char data[256] = { 0 };
        struct iovec v = { data, 77 };
        struct msghdr msg = { .msg_name = &u, .msg_namelen = n, .msg_iov = &v, .msg_iovlen = 1 };
        struct io_uring_sqe s = { .fd = fd };

        if (bind(server, (struct sockaddr *) &u, n) < 0 || getsockname(server, (struct sockaddr *) &u, &n) < 0 || (!udp && a->arg != CONNECT_REFUSED && listen(server, 4) < 0))
                act_unsupported("no server");
        if (a->arg == CONNECT_REFUSED)
                close(server);
        if ((a->arg == SEND || a->arg == SEND_TCP || a->arg == ACCEPT) && connect(fd, (struct sockaddr *) &u, n) < 0)
                act_unsupported("connect");
        switch (a->arg) {
        case CONNECT:
        case CONNECT_REFUSED:
                s.opcode = IORING_OP_CONNECT;
                s.addr = PTR(&u);
                s.off = n;
                break;
        case SEND:
        case SEND_TCP:
                s.opcode = IORING_OP_SEND;
                s.addr = PTR(data);
                s.len = 66;
                break;
        case SENDMSG:
                s.opcode = IORING_OP_SENDMSG;
                s.addr = PTR(&msg);
                s.len = 1;
                break;
        case ACCEPT:
                s.opcode = IORING_OP_ACCEPT;
                s.fd = server;
                s.addr = PTR(&peer);
                s.off = PTR(&m);
                break;
        case SOCKET:
                s.opcode = IORING_OP_SOCKET;
                s.fd = AF_INET;
                s.off = SOCK_STREAM;
                break;
        default: break;
        }
        if (!has_op(&r, s.opcode))
                act_unsupported("io_uring operation %d is not in this kernel", s.opcode);
        errno = 0;
        long ret = act_ret(ring_do(&r, &s));
        act_int("io_uring_op", s.opcode);
        act_int("fd", a->arg == ACCEPT || a->arg == SOCKET ? ret : fd);
        act_int("family", AF_INET);
        act_int("sock_type", type);
        if (a->arg == ACCEPT) {
                act_int("old_fd", server);
                act_addr_facts("r", (struct sockaddr *) &peer, m);
                act_addr_facts("l", (struct sockaddr *) &u, n);
        } else if (a->arg != SOCKET) {
                act_addr_facts("r", (struct sockaddr *) &u, n);
                n = sizeof u;
                if (getsockname(fd, (struct sockaddr *) &u, &n) == 0)
                        act_addr_facts("l", (struct sockaddr *) &u, n);
        }
        if (udp)
                act_int("bytes", ret);
        if (a->arg == SEND_TCP) {
                act_int("bytes_out", ret);
                act_int("bytes_in", 0);
        }
        act_end();
}

const struct act acts_uring[] = {
#define FILES(form, type, variant) { "io_uring", form, type, "io_uring_enter", run_uring_file, variant, 0 }
        FILES("openat", "open", OPENAT),
        FILES("openat_async", "open", OPENAT_ASYNC),
        FILES("openat_sqpoll", "open", OPENAT_SQPOLL),
        FILES("openat2", "open", OPENAT2),
        FILES("openat_enoent", "open", OPENAT_ENOENT),
        FILES("renameat", "rename", RENAMEAT),
        FILES("unlinkat", "unlink", UNLINKAT),
        FILES("unlinkat_dir", "rmdir", RMDIR),
        FILES("mkdirat", "mkdir", MKDIRAT),
        FILES("symlinkat", "symlink", SYMLINKAT),
        FILES("linkat", "link", LINKAT),
        FILES("write_close", "close_write", CLOSE_WRITE),
#define NETS(form, type, variant) { "io_uring", form, type, "io_uring_enter", run_uring_net, variant, 0 }
        NETS("connect", "connect", CONNECT),
        NETS("connect_refused", "connect", CONNECT_REFUSED),
        NETS("send_udp", "send", SEND),
        NETS("sendmsg_udp", "send", SENDMSG),
        NETS("send_tcp", "net_close", SEND_TCP),
        NETS("accept", "accept", ACCEPT),
        NETS("socket", "socket", SOCKET),
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};
