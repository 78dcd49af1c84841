// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Network: sockets made, connected, bound, listening and accepted, TCP connections ended, datagrams, DNS messages.
 *
 * Preferred backend: the functions that system calls, socketcall(2), the 32-bit interface and io_uring share, with the kernel's own copy of the
 * address. Fallback: one handler per system call; addresses come from the socket wherever it holds them after the call, else from the caller's
 * memory, flagged BH_RF_PATH_USER; io_uring by its own tracepoints.
 *
 * Not events: socketpair, accept that found nobody (EAGAIN), disconnecting (AF_UNSPEC), peeking at a datagram, sockets that the kernel itself uses.
 */
#include "net.bpf.h"

/* May run in an interrupt, above any task: nothing here is about the current one. */
SEC("tp_btf/inet_sock_set_state")
int tp_net_close(__u64 *ctx) {
        if ((int) ctx[2] != TCP_CLOSE)
                return 0;
        return act_net_close((struct sock *) ctx[0], (int) ctx[1]);
}

/* ================================================ preferred ================================================ */

static __always_inline void begin_act(struct act *n, __s64 ret) {
        __builtin_memset(n, 0, sizeof(*n));
        n->ret = ret;
        n->flags = compat_flag();
}

SEC("fexit/__sys_socket")
int fx_sys_socket(__u64 *ctx) {
        struct act n;

        begin_act(&n, (__s32) ctx[3]);
        return act_socket(&n, (__u32) ctx[0], (__u32) ctx[1], (__u32) ctx[2]);
}

/* io_uring's operations end with the result in the request; a result of another kind says that it is to be tried again. */
static __always_inline bool uring_done(struct act *n, struct io_kiocb *req, __s64 ret) {
        begin_act(n, 0);
        if (ret == -EAGAIN || !bpf_core_field_exists(req->cqe))
                return false;
        n->ret = BPF_CORE_READ(req, cqe.res);
        n->flags |= BH_RF_IO_URING;
        return true;
}

SEC("fexit/io_socket")
int fx_uring_socket(__u64 *ctx) {
        struct io_socket *cmd = (struct io_socket *) ctx[0];
        struct act n;

        if (!uring_done(&n, (struct io_kiocb *) ctx[0], (__s32) ctx[2]))
                return 0;
        return act_socket(&n, (__u32) BPF_CORE_READ(cmd, domain), (__u32) BPF_CORE_READ(cmd, type), (__u32) BPF_CORE_READ(cmd, protocol));
}

/*
 * io_uring connects without waiting, and again until it is settled: the first answer is the act, EINPROGRESS if it has to wait. What is told is
 * remembered by file and the inode number that no other socket has, so that the next call is not told again.
 */
struct pending_key {
        __u64 file;
        __u64 ino;
};
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 8192);
        __type(key, struct pending_key);
        __type(value, __u64);
} pending_connects SEC(".maps");

static __noinline bool told_before(struct file *file, __s64 ret) {
        struct pending_key key = { .file = (__u64) file, .ino = BPF_CORE_READ(file, f_inode, i_ino) };
        bool waits = ret == -EINPROGRESS || ret == -EALREADY;
        __u64 one = 1;

        if (ret == -EAGAIN) /* unix sockets: to be tried again as if never */
                return true;
        if (bpf_map_lookup_elem(&pending_connects, &key)) {
                if (!waits)
                        bpf_map_delete_elem(&pending_connects, &key);
                return true;
        }
        if (waits)
                bpf_map_update_elem(&pending_connects, &key, &one, BPF_ANY);
        return false;
}

/* connect(2) and io_uring; `address` is the kernel's copy. */
SEC("fexit/__sys_connect_file")
int fx_connect_file(__u64 *ctx) {
        struct file *file = (struct file *) ctx[0];
        struct sock *sk = sock_of_file(file);
        struct act n;

        if (!sk || kernel_thread())
                return 0;
        begin_act(&n, (__s32) ctx[4]);
        n.file = file;
        if (!in_call(42, 42, 362)) {
                n.flags |= BH_RF_IO_URING;
                if (told_before(file, n.ret))
                        return 0;
        }
        return act_connect(&n, sk, (const void *) ctx[1], (__s32) ctx[2], 0);
}

static __always_inline int bound(struct act *n, struct file *file, const void *addr, __s64 len) {
        struct sock *sk = sock_of_file(file);

        if (!sk)
                return n->ret >= 0 ? act_nowhere(n, addr, len, BH_EV_BIND) : 0;
        return act_bind(n, sk, addr, len, 1);
}

SEC("fexit/__sys_bind")
int fx_sys_bind(__u64 *ctx) {
        struct act n;

        begin_act(&n, (__s32) ctx[3]);
        n.a[0] = (__s32) ctx[0];
        return bound(&n, bh_file_of_fd((__s32) ctx[0]), (const void *) ctx[1], (__s32) ctx[2]);
}

SEC("fexit/io_bind")
int fx_uring_bind(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) ctx[0];
        struct act n;

        if (!uring_done(&n, req, (__s32) ctx[2]))
                return 0;
        n.file = BPF_CORE_READ(req, file);

        struct sock *sk = sock_of_file(n.file);
        return sk ? act_bind(&n, sk, uring_addr(req), 128, 0) : 0;
}

SEC("fexit/__sys_listen")
int fx_sys_listen(__u64 *ctx) {
        struct sock *sk = sock_of_file(bh_file_of_fd((__s32) ctx[0]));
        struct act n;

        if (!sk)
                return 0;
        begin_act(&n, (__s32) ctx[2]);
        n.a[0] = (__s32) ctx[0];
        return act_listen(&n, sk, (__u32) ctx[1]);
}

SEC("fexit/io_listen")
int fx_uring_listen(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) ctx[0];
        struct io_listen *cmd = (struct io_listen *) ctx[0];
        struct act n;

        if (!uring_done(&n, req, (__s32) ctx[2]))
                return 0;
        n.file = BPF_CORE_READ(req, file);

        struct sock *sk = sock_of_file(n.file);
        return sk ? act_listen(&n, sk, (__u32) BPF_CORE_READ(cmd, backlog)) : 0;
}

static __always_inline int accepted(struct act *n, __s64 listener) {
        struct sock *sk;

        if (n->ret == -EAGAIN || n->ret <= -ERESTARTSYS)
                return 0;
        n->a[0] = (__s32) n->ret;
        n->a[2] = (__s32) listener;
        sk = sock_of_file(bh_file_of_fd(n->ret >= 0 ? n->ret : listener));
        if (!sk)
                return n->ret >= 0 ? bh_lose(BH_EV_ACCEPT, BH_LOST_FAULT, 1) : 0;
        return act_accept(n, sk);
}

SEC("fexit/__sys_accept4")
int fx_sys_accept4(__u64 *ctx) {
        struct act n;

        begin_act(&n, (__s32) ctx[4]);
        return accepted(&n, (__s32) ctx[0]);
}

/*
 * io_uring, single and multishot: here the new file has its descriptor reserved but not yet in the table. The reserved one is the last that was
 * given out; another thread's could come between, so it is taken only if it is reserved and empty, else -1 is said.
 */
SEC("fexit/do_accept")
int fx_uring_accept(__u64 *ctx) {
        struct file *file = (struct file *) ctx[5];
        struct act n;

        if (in_call(43, 288, 364) || (__u64) file >= (__u64) -4095)
                return 0;
        begin_act(&n, 0);
        n.flags |= BH_RF_IO_URING;

        struct files_struct *files = BPF_CORE_READ(bh_current(), files);
        __s64 fd = (__s64) BPF_CORE_READ(files, next_fd) - 1;
        if (fd < 0 || bh_file_of_fd(fd))
                fd = -1;
        n.ret = fd < 0 ? 0 : fd;
        n.a[0] = (__s32) fd;
        n.a[2] = (__s32) fd_of((struct file *) ctx[0]);

        struct sock *sk = sock_of_file(file);
        return sk ? act_accept(&n, sk) : 0;
}

/* ---- datagrams ---- */

/* Socket and peer of a message that is being or was sent. */
static __always_inline void sent_to(struct bh_addr *a, struct sock *sk, struct msghdr *msg) {
        struct any_addr to;
        const void *name = BPF_CORE_READ(msg, msg_name);

        sock_addr(a, sk);
        if (name && read_addr(&to, name, BPF_CORE_READ(msg, msg_namelen), false) == 0)
                use_addr(a, &to, false);
}

static __noinline int sent(struct sock *sk, struct msghdr *msg, __s64 ret) {
        struct act n;

        if (ret < 0 || kernel_thread())
                return 0;
        begin_act(&n, ret);
        if (through_uring())
                n.flags |= BH_RF_IO_URING;
        n.file = file_of_sock(sk);
        sent_to(&n.addr, sk, msg);
        return act_datagram(&n, 1, (__u64) ret);
}

/* An IPv6 socket's message to an IPv4 peer passes through here too: it is reported by the function it came from. */
SEC("fexit/udp_sendmsg")
int fx_udp_send(__u64 *ctx) {
        struct sock *sk = (struct sock *) ctx[0];

        return BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET ? sent(sk, (struct msghdr *) ctx[1], (__s32) ctx[3]) : 0;
}

SEC("fexit/udpv6_sendmsg")
int fx_udp6_send(__u64 *ctx) {
        return sent((struct sock *) ctx[0], (struct msghdr *) ctx[1], (__s32) ctx[3]);
}

SEC("fexit/raw_sendmsg")
int fx_raw_send(__u64 *ctx) {
        return sent((struct sock *) ctx[0], (struct msghdr *) ctx[1], (__s32) ctx[3]);
}

SEC("fexit/rawv6_sendmsg")
int fx_raw6_send(__u64 *ctx) {
        return sent((struct sock *) ctx[0], (struct msghdr *) ctx[1], (__s32) ctx[3]);
}

SEC("fexit/ping_v4_sendmsg")
int fx_ping_send(__u64 *ctx) {
        return sent((struct sock *) ctx[0], (struct msghdr *) ctx[1], (__s32) ctx[3]);
}

SEC("fexit/ping_v6_sendmsg")
int fx_ping6_send(__u64 *ctx) {
        return sent((struct sock *) ctx[0], (struct msghdr *) ctx[1], (__s32) ctx[3]);
}

SEC("fexit/packet_sendmsg")
int fx_packet_send(__u64 *ctx) {
        return sent(BPF_CORE_READ((struct socket *) ctx[0], sk), (struct msghdr *) ctx[1], (__s32) ctx[3]);
}

/* First segment of the caller's buffers. */
static __always_inline void first_segment(struct message *m, struct msghdr *msg) {
        struct iov_iter *it = (struct iov_iter *) ((char *) msg + bpf_core_field_offset(struct msghdr, msg_iter));
        __u64 offset = BPF_CORE_READ(it, iov_offset);
        const struct iovec *iov;

        m->user = 1;
        if (bpf_core_field_exists(it->iter_type)) {
                __u32 type = BPF_CORE_READ(it, iter_type);

                if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) && type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
                        m->at = (const char *) BPF_CORE_READ(it, ubuf) + offset;
                        m->len = (__u32) BPF_CORE_READ(it, count);
                        return;
                }
                if (type != bpf_core_enum_value(enum iter_type, ITER_IOVEC))
                        return;
        } else if (!(BPF_CORE_READ((struct iov_iter___old *) it, type) & 4)) {
                return; /* 5.10: ITER_IOVEC is 4 */
        }
        if (bpf_core_field_exists(it->__iov))
                iov = BPF_CORE_READ(it, __iov);
        else
                iov = BPF_CORE_READ((struct iov_iter___old *) it, iov);
        m->at = (const char *) BPF_CORE_READ(iov, iov_base) + offset;
        m->len = (__u32) (BPF_CORE_READ(iov, iov_len) - offset);
}

/* At the entry, while the buffers are still to be consumed: a message that is then refused has been tried. */
static __always_inline int sending_dns(struct sock *sk, struct msghdr *msg, __u64 len) {
        struct message m = { .total = (__u32) len, .out = 1 };
        const void *name = BPF_CORE_READ(msg, msg_name);
        __u16 dns = swap16(PORT_DNS), port = 0;

        /* nearly all datagrams leave here: look at the ports alone; sin_port and sin6_port are at the same place */
        if (BPF_CORE_READ((struct inet_sock *) sk, inet_sport) != dns) {
                if (name)
                        bpf_probe_read_kernel(&port, sizeof(port), (const char *) name + 2);
                else
                        port = BPF_CORE_READ(sk, __sk_common.skc_dport);
                if (port != dns)
                        return 0;
        }
        if (kernel_thread())
                return 0;
        sent_to(&m.addr, sk, msg);
        if (!is_dns(&m.addr))
                return 0;
        m.flags = compat_flag() | (through_uring() ? BH_RF_IO_URING : 0);
        first_segment(&m, msg);
        return act_dns(&m);
}

SEC("fentry/udp_sendmsg")
int fe_udp_send(__u64 *ctx) {
        struct sock *sk = (struct sock *) ctx[0];

        return BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET ? sending_dns(sk, (struct msghdr *) ctx[1], ctx[2]) : 0;
}

SEC("fentry/udpv6_sendmsg")
int fe_udp6_send(__u64 *ctx) {
        return sending_dns((struct sock *) ctx[0], (struct msghdr *) ctx[1], ctx[2]);
}

/* Where a received packet is from: UDP and IP headers are still before the data. */
static __always_inline void came_from(struct bh_addr *a, struct sock *sk, struct sk_buff *skb, const unsigned char *udp) {
        const unsigned char *ip = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
        struct any_addr from = {};

        bpf_probe_read_kernel(&from.port, 2, udp);
        if (BPF_CORE_READ(skb, protocol) == swap16(ETH_P_IP)) {
                from.family = AF_INET;
                bpf_probe_read_kernel(&from.v4, 4, ip + 12);
        } else {
                from.family = AF_INET6;
                bpf_probe_read_kernel(from.v6, 16, ip + 8);
                from.scope = (__u32) BPF_CORE_READ(skb, skb_iif);
        }
        sock_addr(a, sk);
        use_addr(a, &from, false);
}

/* Every way to take a datagram off a UDP socket ends here; the length is negative for one that was only peeked at. */
SEC("fentry/skb_consume_udp")
int fe_udp_recv(__u64 *ctx) {
        struct sock *sk = (struct sock *) ctx[0];
        struct sk_buff *skb = (struct sk_buff *) ctx[1];
        struct act n;

        if ((__s32) ctx[2] < 0 || kernel_thread())
                return 0;
        begin_act(&n, (__s32) ctx[2]);
        if (through_uring())
                n.flags |= BH_RF_IO_URING;
        n.file = file_of_sock(sk);
        came_from(&n.addr, sk, skb, BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header));
        return act_datagram(&n, 0, (__u32) ctx[2]);
}

SEC("fentry/skb_consume_udp")
int fe_dns_recv(__u64 *ctx) {
        struct sock *sk = (struct sock *) ctx[0];
        struct sk_buff *skb = (struct sk_buff *) ctx[1];
        const unsigned char *udp = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, transport_header);
        struct message m = { .total = (__u32) ctx[2] };
        __u16 port = 0;

        bpf_probe_read_kernel(&port, sizeof(port), udp);
        if (port != swap16(PORT_DNS) && BPF_CORE_READ((struct inet_sock *) sk, inet_sport) != swap16(PORT_DNS))
                return 0;
        if ((__s32) ctx[2] < 0 || kernel_thread())
                return 0;
        came_from(&m.addr, sk, skb, udp);
        if (!is_dns(&m.addr))
                return 0;
        m.flags = compat_flag() | (through_uring() ? BH_RF_IO_URING : 0);

        /* skb->len counts from behind the UDP header by now; what of it is not in fragments is at the head */
        __u32 split = BPF_CORE_READ(skb, data_len);
        m.at = udp + 8;
        m.len = BPF_CORE_READ(skb, len) - split;
        if (split)
                m.skb = skb;
        return act_dns(&m);
}

/* ================================================ fallback ================================================ */

/*
 * Whether a call that moves data, with the descriptor as its first argument, can be an act: it succeeded, and not on a stream, which is what nearly all
 * are. Looked at before anything is taken: what is no act must neither cost much nor count as lost.
 */
static __always_inline bool may_move(const struct pt_regs *regs, __s64 ret) {
        bool compat = bh_compat_task();
        struct file *file;

        if ((compat ? (__s32) ret : ret) < 0)
                return false;
        if (compat && BPF_CORE_READ(regs, orig_ax) == BH_NR32_SOCKETCALL)
                return true;
        file = bh_file_of_fd((__s32) (compat ? BPF_CORE_READ(regs, bx) : BPF_CORE_READ(regs, di)));
        return !sock_of_file(file) || datagram_sock(file);
}

static __always_inline bool may_be_any(const struct pt_regs *regs, __s64 ret) {
        return true;
}

/* A handler: the call and what it works with are in `w`. `may`: whether it can be an act. */
#define SOCKET_CALL(name, event, may) \
        static __always_inline int call_##name(struct work *w, struct bh_call *c); \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct work *w = may((const struct pt_regs *) ctx[0], (__s64) ctx[1]) ? work_take(event) : NULL; \
                if (!w) \
                        return 0; \
                bh_call_of_socket_exit(&w->call, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                call_##name(w, &w->call); \
                return work_give(w); \
        } \
        static __always_inline int call_##name(struct work *w, struct bh_call *c)

static __always_inline struct act *act_of_call(struct work *w, const struct bh_call *c) {
        __builtin_memset(&w->act, 0, sizeof(w->act));
        w->act.ret = c->ret;
        w->act.flags = bh_call_flags(c);
        return &w->act;
}

SOCKET_CALL(socket, BH_EV_SOCKET, may_be_any) {
        return act_socket(act_of_call(w, c), (__u32) c->args[0], (__u32) c->args[1], (__u32) c->args[2]);
}

SOCKET_CALL(connect, BH_EV_CONNECT, may_be_any) {
        struct sock *sk = sock_of_file(bh_file_of_fd((__s32) c->args[0]));
        struct act *n = act_of_call(w, c);

        n->a[0] = (__s32) c->args[0];
        if (!sk)
                return n->ret >= 0 || n->ret == -EINPROGRESS ? act_nowhere(n, (const void *) c->args[1], (__s32) c->args[2], BH_EV_CONNECT) : 0;
        return act_connect(n, sk, (const void *) c->args[1], (__s32) c->args[2], 1);
}

SOCKET_CALL(bind, BH_EV_BIND, may_be_any) {
        struct act *n = act_of_call(w, c);

        n->a[0] = (__s32) c->args[0];
        return bound(n, bh_file_of_fd((__s32) c->args[0]), (const void *) c->args[1], (__s32) c->args[2]);
}

SOCKET_CALL(listen, BH_EV_LISTEN, may_be_any) {
        struct sock *sk = sock_of_file(bh_file_of_fd((__s32) c->args[0]));
        struct act *n = act_of_call(w, c);

        n->a[0] = (__s32) c->args[0];
        if (!sk)
                return n->ret >= 0 ? bh_lose(BH_EV_LISTEN, BH_LOST_FAULT, 1) : 0;
        return act_listen(n, sk, (__u32) c->args[1]);
}

SOCKET_CALL(accept, BH_EV_ACCEPT, may_be_any) {
        return accepted(act_of_call(w, c), (__s32) c->args[0]);
}

SOCKET_CALL(accept4, BH_EV_ACCEPT, may_be_any) {
        return accepted(act_of_call(w, c), (__s32) c->args[0]);
}

static __always_inline struct moved *moved_of_call(struct work *w, const struct bh_call *c, __u32 out) {
        struct moved *d = &w->moved;

        __builtin_memset(d, 0, sizeof(*d));
        d->fd = (__s32) c->args[0];
        d->bytes = (__u64) c->ret;
        d->out = out;
        d->flags = bh_call_flags(c);
        return d;
}

/* The socket of a call that moved datagrams, or NULL. If the descriptor leads to no socket any more, `n` acts are told by `to` or lost. */
static __always_inline struct sock *moved_by(struct work *w, const struct bh_call *c, __u32 type, const void *to, __s64 len, __u64 n) {
        struct file *file = bh_file_of_fd((__s32) c->args[0]);

        if (c->ret < 0)
                return NULL;
        if (sock_of_file(file))
                return datagram_sock(file);
        if (to) {
                struct act *act = act_of_call(w, c);

                act->a[0] = (__s32) c->args[0];
                act_nowhere(act, to, len, type);
        } else {
                bh_lose(type, BH_LOST_FAULT, n);
        }
        return NULL;
}

SOCKET_CALL(sendto, BH_EV_SEND, may_move) {
        struct sock *sk = moved_by(w, c, BH_EV_SEND, (const void *) c->args[4], (__s32) c->args[5], 1);
        struct moved *d = moved_of_call(w, c, 1);

        d->name = c->args[4];
        d->name_len = (__u32) c->args[5];
        d->buf = c->args[1];
        d->buf_len = (__u64) c->ret;
        return moved(w, sk);
}

SOCKET_CALL(recvfrom, BH_EV_RECV, may_move) {
        struct sock *sk = c->args[3] & (MSG_PEEK | MSG_ERRQUEUE) ? NULL : moved_by(w, c, BH_EV_RECV, NULL, 0, 1);
        struct moved *d = moved_of_call(w, c, 0);

        d->name = c->args[4];
        d->name_len = 28;
        d->buf = c->args[1];
        d->buf_len = c->args[2];
        return moved(w, sk);
}

static __always_inline int call_msg(struct work *w, struct bh_call *c, __u32 out) {
        struct sock *sk = !out && c->args[2] & (MSG_PEEK | MSG_ERRQUEUE) ? NULL : moved_by(w, c, out ? BH_EV_SEND : BH_EV_RECV, NULL, 0, 1);
        struct moved *d = moved_of_call(w, c, out);

        if (!sk)
                return 0;
        read_msghdr(d, c->args[1], c->compat);
        return moved(w, sk);
}

SOCKET_CALL(sendmsg, BH_EV_SEND, may_move) {
        return call_msg(w, c, 1);
}

SOCKET_CALL(recvmsg, BH_EV_RECV, may_move) {
        return call_msg(w, c, 0);
}

#define BATCH_MAX 1024u /* UIO_MAXIOV */

/* sendmmsg and recvmmsg: each message of the batch is an act. A global function: see core.bpf.h. */
__noinline int batch_one(__u32 index, __u32 i) {
        struct work *w = bpf_map_lookup_elem(&works, &index);
        __u32 bytes = 0;

        if (!w)
                return 0;

        struct moved *d = &w->moved;
        struct bh_call *c = &w->call;
        __u64 at = c->args[1] + (__u64) i * (c->compat ? 32 : 64);
        __u32 out = d->out;

        __builtin_memset(d, 0, sizeof(*d));
        d->fd = (__s32) c->args[0];
        d->out = out;
        d->flags = bh_call_flags(c);
        if (bpf_probe_read_user(&bytes, sizeof(bytes), (const void *) (at + (c->compat ? 28 : 56))))
                d->flags |= BH_RF_FAULT;
        d->bytes = bytes;
        read_msghdr(d, at, c->compat);
        return moved(w, datagram_sock(bh_file_of_fd(d->fd)));
}

static __always_inline int call_batch(struct work *w, struct bh_call *c, __u32 out) {
        __s64 n = c->ret;

        if (n <= 0 || (!out && c->args[3] & (MSG_PEEK | MSG_ERRQUEUE)) || !moved_by(w, c, out ? BH_EV_SEND : BH_EV_RECV, NULL, 0, (__u64) n))
                return 0;
        w->moved.out = out;
        for (__u32 i = 0; i < BATCH_MAX; i++) {
                if (i >= n)
                        break;
                batch_one(w->index, i);
        }
        /* the kernel sends no more at once, but it receives as many as the caller asks for: those are taken for what the last one looked at was */
        if (n > BATCH_MAX && w->act.addr.proto == IPPROTO_UDP) {
                bh_lose(BH_EV_RECV, BH_LOST_FAULT, (__u64) n - BATCH_MAX);
                if (is_dns(&w->act.addr))
                        bh_lose(BH_EV_DNS, BH_LOST_FAULT, (__u64) n - BATCH_MAX);
        }
        return 0;
}

SOCKET_CALL(sendmmsg, BH_EV_SEND, may_move) {
        return call_batch(w, c, 1);
}

SOCKET_CALL(recvmmsg, BH_EV_RECV, may_move) {
        return call_batch(w, c, 0);
}

SOCKET_CALL(recvmmsg_time64, BH_EV_RECV, may_move) { /* 32-bit interface: the timeout's type is all that differs */
        return call_batch(w, c, 0);
}

/* ---- io_uring ---- */

#define IORING_OP_SENDMSG 9
#define IORING_OP_RECVMSG 10
#define IORING_OP_ACCEPT 13
#define IORING_OP_CONNECT 16
#define IORING_OP_SEND 26
#define IORING_OP_RECV 27
#define IORING_OP_SOCKET 45
#define IORING_OP_SEND_ZC 47
#define IORING_OP_SENDMSG_ZC 48
#define IORING_OP_BIND 56
#define IORING_OP_LISTEN 57
#define IORING_ACCEPT_MULTISHOT 1

/*
 * What a request was submitted with and no longer holds when it is complete: the address (the kernel's copy, which goes back to a cache), and
 * the listener of a multishot accept, whose later completions name no request. Entries of requests that never complete are displaced.
 */
struct uring_key {
        __u64 ctx;
        __u64 id; /* request, or user_data */
};
struct uring_act {
        __u64 file;
        __u32 addr_len;
        __u32 pad;
        __u8 addr[112];
};
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 8192);
        __type(key, struct uring_key);
        __type(value, struct uring_act);
} uring_acts SEC(".maps");

static __always_inline int uring_submitted(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) ctx[0];
        __u32 op = BPF_CORE_READ(req, opcode);
        struct uring_key key = { .ctx = (__u64) BPF_CORE_READ(req, ctx), .id = (__u64) req };
        struct uring_act act = {};

        if (op == IORING_OP_ACCEPT) {
                struct io_accept *cmd = (struct io_accept *) req;

                if (!bpf_core_field_exists(cmd->iou_flags) || !(BPF_CORE_READ(cmd, iou_flags) & IORING_ACCEPT_MULTISHOT))
                        return 0;
                key.id = BPF_CORE_READ(req, cqe.user_data);
                act.file = (__u64) BPF_CORE_READ(req, file);
        } else if (op == IORING_OP_CONNECT || op == IORING_OP_BIND || op == IORING_OP_SEND || op == IORING_OP_SENDMSG || op == IORING_OP_SEND_ZC ||
                   op == IORING_OP_SENDMSG_ZC) {
                struct io_async_msghdr *io = (struct io_async_msghdr *) BPF_CORE_READ(req, async_data);
                const void *from = (const char *) io + bpf_core_field_offset(struct io_async_msghdr, addr);

                if (!io)
                        return 0;
                if (op == IORING_OP_CONNECT || op == IORING_OP_BIND)
                        from = uring_addr(req);
                if (op == IORING_OP_CONNECT)
                        act.addr_len = (__u32) BPF_CORE_READ((struct io_connect *) req, addr_len);
                else if (op == IORING_OP_BIND)
                        act.addr_len = bpf_core_type_exists(struct io_bind) ? (__u32) BPF_CORE_READ((struct io_bind *) req, addr_len) : 0;
                else if (BPF_CORE_READ(io, msg.msg_name))
                        act.addr_len = (__u32) BPF_CORE_READ(io, msg.msg_namelen);
                if (!act.addr_len)
                        return 0;
                bpf_probe_read_kernel(act.addr, sizeof(act.addr), from);
        } else {
                return 0;
        }
        bpf_map_update_elem(&uring_acts, &key, &act, BPF_ANY);
        return 0;
}

SEC("tp_btf/io_uring_submit_req")
int tp_uring_submit(__u64 *ctx) {
        return uring_submitted(ctx);
}

SEC("tp_btf/io_uring_submit_sqe") /* before 6.4; before 5.19 it was not about a request, and the loader leaves it out */
int tp_uring_submit_sqe(__u64 *ctx) {
        return uring_submitted(ctx);
}

/* A datagram that io_uring moved: TRUE if it is a DNS message, which is left in w->act and w->moved. */
static __noinline int uring_datagram(struct work *w, struct io_kiocb *req, __u32 op, struct uring_act *at) {
        struct act *n = &w->act;
        struct sock *sk = n->ret < 0 ? NULL : datagram_sock(BPF_CORE_READ(req, file));
        struct io_sr_msg *cmd = (struct io_sr_msg *) req;
        struct moved *d = &w->moved;
        struct any_addr peer;

        if (!sk)
                return 0;
        __builtin_memset(d, 0, sizeof(*d));
        d->bytes = (__u64) n->ret;
        d->out = op != IORING_OP_RECV && op != IORING_OP_RECVMSG;
        d->buf = (__u64) BPF_CORE_READ(cmd, buf);
        d->buf_len = (__u64) n->ret;
        if (op == IORING_OP_SENDMSG || op == IORING_OP_SENDMSG_ZC || op == IORING_OP_RECVMSG)
                read_msghdr(d, d->buf, n->flags & BH_RF_COMPAT);
        else
                d->name = 0;
        n->flags |= d->flags; /* a header that could not be read */
        sock_addr(&n->addr, sk);
        if (!d->out && n->addr.proto != IPPROTO_UDP)
                return 0;
        if (d->out && at) {
                if (read_addr(&peer, at->addr, at->addr_len, false) == 0)
                        use_addr(&n->addr, &peer, false);
        } else if (d->name && read_addr(&peer, (const void *) d->name, 28, true) == 0) {
                /* received, or sent at once by a kernel that copies the address only for a request that has to wait (until 6.9) */
                use_addr(&n->addr, &peer, false);
                n->flags |= d->out ? BH_RF_PATH_USER : 0;
        }
        act_datagram(n, d->out, d->bytes);
        return is_dns(&n->addr);
}

/* Set before load: whether the tracepoint's third argument is a pointer to the completion (since 6.16), and not its user_data, with the result after it. */
const volatile __s32 bh_uring_cqe = 0;

/* Completions that name no request, of a multishot accept or another: whose they are says user_data, a number that the caller chose. */
static __always_inline __u64 completed_id(const __u64 *ctx) {
        return bh_uring_cqe ? BPF_CORE_READ((struct io_uring_cqe *) ctx[2], user_data) : ctx[2];
}

static __always_inline __s64 completed_result(const __u64 *ctx) {
        return bh_uring_cqe ? BPF_CORE_READ((struct io_uring_cqe *) ctx[2], res) : (__s32) ctx[3];
}

static __always_inline int uring_completed(struct work *w, __u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) ctx[1];
        struct uring_key key = { .ctx = ctx[0], .id = ctx[1] };
        struct uring_act *at;
        struct act *n = &w->act;

        begin_act(n, 0);
        n->flags |= BH_RF_IO_URING;
        if (!req) {
                key.id = completed_id(ctx);
                at = bpf_map_lookup_elem(&uring_acts, &key);
                if (!at)
                        return 0;
                n->ret = completed_result(ctx);
                return n->ret < 0 ? 0 : accepted(n, fd_of((struct file *) at->file));
        }

        __u32 op = BPF_CORE_READ(req, opcode);
        struct file *file;
        struct sock *sk;
        n->ret = BPF_CORE_READ(req, cqe.res);
        if (op == IORING_OP_SOCKET) {
                struct io_socket *cmd = (struct io_socket *) req;

                if (!bpf_core_type_exists(struct io_socket))
                        return 0;
                return act_socket(n, (__u32) BPF_CORE_READ(cmd, domain), (__u32) BPF_CORE_READ(cmd, type), (__u32) BPF_CORE_READ(cmd, protocol));
        }
        file = BPF_CORE_READ(req, file);
        sk = sock_of_file(file);
        if (!sk)
                return 0;
        if (op == IORING_OP_ACCEPT)
                return accepted(n, fd_of(file));
        at = bpf_map_lookup_elem(&uring_acts, &key);
        n->file = file;
        if (op == IORING_OP_CONNECT)
                act_connect(n, sk, at ? at->addr : NULL, at ? at->addr_len : 0, 0);
        else if (op == IORING_OP_BIND)
                act_bind(n, sk, at ? at->addr : NULL, at ? at->addr_len : 0, 0);
        else if (op == IORING_OP_LISTEN && bpf_core_type_exists(struct io_listen))
                act_listen(n, sk, (__u32) BPF_CORE_READ((struct io_listen *) req, backlog));
        else if (uring_datagram(w, req, op, at))
                dns_moved(w);
        if (at)
                bpf_map_delete_elem(&uring_acts, &key);
        return 0;
}

/* The kind of event that an operation of io_uring is, 0 if it is none of those here. */
static __always_inline __u32 uring_event(__u32 op) {
        switch (op) {
        case IORING_OP_SOCKET: return BH_EV_SOCKET;
        case IORING_OP_ACCEPT: return BH_EV_ACCEPT;
        case IORING_OP_CONNECT: return BH_EV_CONNECT;
        case IORING_OP_BIND: return BH_EV_BIND;
        case IORING_OP_LISTEN: return BH_EV_LISTEN;
        case IORING_OP_SEND:
        case IORING_OP_SENDMSG:
        case IORING_OP_SEND_ZC:
        case IORING_OP_SENDMSG_ZC: return BH_EV_SEND;
        case IORING_OP_RECV:
        case IORING_OP_RECVMSG: return BH_EV_RECV;
        default: return 0;
        }
}

/*
 * In the task that submitted, or one of its io_uring workers. The request and its file are still there: they are freed after the completion is
 * posted. A multishot accept posts all but its last connection without a request.
 */
SEC("tp_btf/io_uring_complete")
int tp_uring_complete(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) ctx[1];
        __u32 type = BH_EV_ACCEPT;
        struct work *w;

        if (!bpf_core_field_exists(req->cqe) || kernel_thread())
                return 0;
        if (req) {
                type = uring_event(BPF_CORE_READ(req, opcode));
        } else {
                struct uring_key key = { .ctx = ctx[0], .id = completed_id(ctx) };

                if (!bpf_map_lookup_elem(&uring_acts, &key))
                        return 0;
        }
        if (!type)
                return 0;
        w = work_take(type);
        if (!w)
                return 0;
        uring_completed(w, ctx);
        return work_give(w);
}
