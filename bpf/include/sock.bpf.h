/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sockets and TCP connections as kernel objects: what net.bpf.c (events) and sockets.bpf.c (the walk over all sockets) both read of them.
 *
 * Read as they are at the moment, without locks.
 */
#ifndef BH_SOCK_BPF_H
#define BH_SOCK_BPF_H

#include "core.bpf.h"
#include "sock_record.h"

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_PACKET 10
#define SOCK_TYPE_MASK 0xf
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define TCP_CLOSING 11
#define SOCK_DONE 1 /* enum sock_flags: the peer's FIN has come */
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
#define MSG_CMSG_COMPAT 0x80000000u
#define EAGAIN 11
#define EEXIST 17
#define ENOSPC 28
#define EPIPE 32
#define ECONNABORTED 103
#define ECONNRESET 104
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512
#define PORT_DNS 53
#define ETH_P_IP 0x0800

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_CONNS_MAX);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64); /* struct sock * */
        __type(value, struct bh_conn);
        BH_PINNED;
} conns SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64);
        __type(value, __s64);
        BH_PINNED;
} conn_shares SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_UNIX_MAX);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_unix_key);
        __type(value, struct bh_unix_moved);
        BH_PINNED;
} unix_moved SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_unix_lost);
        BH_PINNED;
} unix_lost SEC(".maps");

static __always_inline __u16 swap16(__u16 x) {
        return (__u16) (x << 8 | x >> 8);
}

static __always_inline bool is_inet(__u16 family) {
        return family == AF_INET || family == AF_INET6;
}

/* ---- sockets and addresses ---- */

static __always_inline struct sock *sock_of_file(struct file *file) {
        if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
                return NULL;
        /* only sockets of sockfs can be open: opening a socket file fails */
        struct socket *socket = (struct socket *) BPF_CORE_READ(file, private_data);
        return BPF_CORE_READ(socket, sk);
}

static __always_inline struct file *file_of_sock(struct sock *sk) {
        return BPF_CORE_READ(sk, sk_socket, file);
}

/* What the socket knows of itself. */
static __noinline int sock_addr(struct bh_addr *a, struct sock *sk) {
        __u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

        __builtin_memset(a, 0, sizeof(*a));
        a->family = family;
        a->type = BPF_CORE_READ(sk, sk_type);
        a->proto = BPF_CORE_READ(sk, sk_protocol);
        if (family == AF_INET) {
                bh_read(a->laddr, 4, __builtin_preserve_access_index(&sk->__sk_common.skc_rcv_saddr));
                bh_read(a->raddr, 4, __builtin_preserve_access_index(&sk->__sk_common.skc_daddr));
        } else if (family == AF_INET6) {
                bh_read(a->laddr, 16, __builtin_preserve_access_index(&sk->__sk_common.skc_v6_rcv_saddr));
                bh_read(a->raddr, 16, __builtin_preserve_access_index(&sk->__sk_common.skc_v6_daddr));
                if ((a->raddr[0] == 0xfe && (a->raddr[1] & 0xc0) == 0x80) || (a->laddr[0] == 0xfe && (a->laddr[1] & 0xc0) == 0x80))
                        a->ifindex = (__u32) BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
        } else if (family == AF_PACKET) {
                struct packet_sock *po = (struct packet_sock *) sk;

                if (bpf_core_field_exists(po->num)) {
                        a->proto = swap16(BPF_CORE_READ(po, num));
                        a->ifindex = (__u32) BPF_CORE_READ(po, ifindex);
                }
        }
        /* a raw socket keeps its protocol where others keep the port */
        if (is_inet(family) && a->type != SOCK_RAW) {
                a->lport = swap16(BPF_CORE_READ((struct inet_sock *) sk, inet_sport));
                a->rport = swap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
        }
        return 0;
}

static __always_inline __u32 sock_net_ns(struct sock *sk) {
        return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* FALSE: the entry is of an earlier connection whose end was missed, and whose socket's address in memory is another's now. */
static __always_inline bool is_of(const struct bh_conn *c, struct sock *sk) {
        return c->addr.lport == swap16(BPF_CORE_READ((struct inet_sock *) sk, inet_sport)) && c->addr.rport == swap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

/* ---- who has how many ---- */

static __always_inline void share_add(__u64 share, __s64 n) {
        __u64 all = BH_SHARE_ALL;
        __s64 *has = bpf_map_lookup_elem(&conn_shares, &share), *sum = bpf_map_lookup_elem(&conn_shares, &all);

        if (has)
                BH_ADD(*has, n);
        if (sum)
                BH_ADD(*sum, n);
}

/* FALSE: it has as many as are free, or there is no place to count it. */
static __noinline int share_take(__u64 share) {
        __u64 all = BH_SHARE_ALL;
        __s64 zero = 0, *sum = bpf_map_lookup_elem(&conn_shares, &all), *has = bpf_map_lookup_elem(&conn_shares, &share), n, used;

        if (!sum || !has) {
                bpf_map_update_elem(&conn_shares, &all, &zero, BPF_NOEXIST);
                bpf_map_update_elem(&conn_shares, &share, &zero, BPF_NOEXIST);
                sum = bpf_map_lookup_elem(&conn_shares, &all);
                has = bpf_map_lookup_elem(&conn_shares, &share);
        }
        if (!sum || !has)
                return 0;
        n = *(volatile __s64 *) has;
        used = *(volatile __s64 *) sum;
        if (n > 0 && n >= BH_CONNS_MAX - used)
                return 0;
        BH_ADD(*has, 1);
        BH_ADD(*sum, 1);
        return 1;
}

/*
 * An entry for the socket, in the share of its process's container, or, where one is there already (of an earlier call, a walk, or a connection whose end was
 * missed), in its place and share. `replace` 0: only if there is none. 0, or why not: -EEXIST, -ENOSPC.
 */
static __noinline int conn_put(__u64 key, struct bh_conn *c, __u32 replace) {
        struct bh_conn *known = bpf_map_lookup_elem(&conns, &key);

        if (known && !replace)
                return -EEXIST;
        if (known) {
                c->share = known->share;
                if (bpf_map_update_elem(&conns, &key, c, BPF_EXIST) == 0)
                        return 0;
        }
        c->share = bh_container_of(c->who.id.cgroup);
        if (!share_take(c->share))
                return -ENOSPC;
        long err = bpf_map_update_elem(&conns, &key, c, BPF_NOEXIST);
        if (!err)
                return 0;
        share_add(c->share, -1);
        if (err != -EEXIST)
                return -ENOSPC;
        if (!replace)
                return -EEXIST;
        known = bpf_map_lookup_elem(&conns, &key); /* a walk was faster */
        if (known)
                c->share = known->share;
        return bpf_map_update_elem(&conns, &key, c, BPF_EXIST) ? -ENOSPC : 0;
}

/* TRUE: it was this program that took the entry out. */
static __always_inline bool conn_take_out(__u64 key, __u64 share) {
        if (bpf_map_delete_elem(&conns, &key))
                return false;
        share_add(share, -1);
        return true;
}

/* ---- what a TCP connection has moved ---- */

struct conn_counts {
        __u64 out, in;
        __u32 packets_out, packets_in;
};

/* Whether the program closed or shut down, so that a FIN was sent, or stands at the end of what is to be sent. */
static __always_inline bool fin_due(int state) {
        return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK || state == TCP_TIME_WAIT;
}

/*
 * tcp_snd_una_update() and tcp_rcv_nxt_update() count sequence numbers: the SYN (of the side that connected) and FINs among them. A connection that
 * never was one has acknowledged nothing. Packets are all segments that passed the socket itself: SYN-ACKs and what came after its end did not.
 */
static __noinline int conn_count(struct conn_counts *n, struct sock *sk, __u32 outgoing, int state) {
        struct tcp_sock *tp = (struct tcp_sock *) sk;
        __u64 out = BPF_CORE_READ(tp, bytes_acked), in = BPF_CORE_READ(tp, bytes_received);

        if (outgoing && out)
                out--;
        if (fin_due(state) && out && BPF_CORE_READ(tp, snd_una) == BPF_CORE_READ(tp, write_seq))
                out--;
        if (in && BPF_CORE_READ(sk, __sk_common.skc_flags) & 1u << SOCK_DONE)
                in--;
        n->out = out;
        n->in = in;
        n->packets_out = BPF_CORE_READ(tp, segs_out);
        n->packets_in = BPF_CORE_READ(tp, segs_in);
        return 0;
}

/* Sequence numbers of what was sent and acknowledged, less the bytes that were sent: 1 for the SYN of the side that connected. */
static __noinline __s64 syn_acked(struct sock *sk, int state) {
        struct tcp_sock *tp = (struct tcp_sock *) sk;
        __u32 next = BPF_CORE_READ(tp, snd_nxt);
        __s64 n = (__s64) BPF_CORE_READ(tp, bytes_acked) + (__u32) (next - BPF_CORE_READ(tp, snd_una));

        if (fin_due(state) && next == BPF_CORE_READ(tp, write_seq))
                n--;
        return n - (__s64) (BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans));
}

/*
 * Which side of a connection this is, from its counters alone: BH_SOCK_CLIENT, BH_SOCK_SERVER, 0 if they do not say. Where the machine's own queue
 * refuses packets bytes are counted as sent twice. Looked at twice, as the connection may be at work.
 */
static __noinline __u32 side_by_counters(struct sock *sk, int state) {
        __s64 n = syn_acked(sk, state);

        if (n != syn_acked(sk, state))
                return 0;
        return n == 1 ? BH_SOCK_CLIENT : n == 0 ? BH_SOCK_SERVER : 0;
}

#endif
