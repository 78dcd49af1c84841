// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Fallback: datagrams that a program moves through a connected socket with the calls for files (write, read, sendfile, splice and kin). No hook of the fallback
 * sees these: that of write looks for files only, so that writes to streams cost nothing. The kernel's tracepoints of what any socket moved are attached for as long
 * as there are sockets that seem to be used so, which the walk over sockets finds. What send and receive calls move is told by their own hooks and passed over here.
 */
#include "sock.bpf.h"
#include "syscall.bpf.h"

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_DATAGRAMS_MAX);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64); /* struct sock * */
        __type(value, struct bh_datagrams_moved);
} followed SEC(".maps");

/* The current call is one for files. */
static __always_inline bool is_file_call(void) {
        __u32 nr = (__u32) BPF_CORE_READ(bh_user_regs(), orig_ax);

        if (BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT)
                return nr == 3 || nr == 4 || nr == 145 || nr == 146 || nr == 187 || nr == 239 || nr == 313 || nr == 378 || nr == 379;
        nr &= ~0x40000000u;
        return nr == 0 || nr == 1 || nr == 19 || nr == 20 || nr == 40 || nr == 275 || nr == 327 || nr == 328;
}

static __always_inline struct bh_datagrams_moved *moved_by_file_call(struct sock *sk, __s32 ret, __s32 flags) {
        __u64 key = (__u64) sk;
        struct bh_datagrams_moved *d = bpf_map_lookup_elem(&followed, &key);

        if (!d || ret < 0 || flags & MSG_PEEK || !is_file_call())
                return NULL;
        /* the address in memory may be another socket's by now */
        if (d->lport != swap16(BPF_CORE_READ((struct inet_sock *) sk, inet_sport)) || d->rport != swap16(BPF_CORE_READ(sk, __sk_common.skc_dport)))
                return NULL;
        return d;
}

SEC("tp_btf/sock_send_length")
int tp_datagram_sent(__u64 *ctx) {
        struct bh_datagrams_moved *d = moved_by_file_call((struct sock *) ctx[0], (__s32) ctx[1], (__s32) ctx[2]);

        if (d) {
                BH_ADD(d->bytes_out, (__u64) (__s32) ctx[1]);
                BH_ADD(d->packets_out, 1);
        }
        return 0;
}

SEC("tp_btf/sock_recv_length")
int tp_datagram_received(__u64 *ctx) {
        struct bh_datagrams_moved *d = moved_by_file_call((struct sock *) ctx[0], (__s32) ctx[1], (__s32) ctx[2]);

        if (d) {
                BH_ADD(d->bytes_in, (__u64) (__s32) ctx[1]);
                BH_ADD(d->packets_in, 1);
        }
        return 0;
}
