// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * First bytes of TCP connections, for recognising what they speak. Called for each segment that an established connection receives, while the sensor has it
 * attached, which is for moments: else it costs nothing. Both ends on this machine: each is told what the other sent.
 *
 * The packet's bytes are copied by the kernel (bpf_skb_output), as they lie in pages that programs have no safe way to. That helper writes to perf
 * buffers only.
 */
#include "first_record.h"
#include "sock.bpf.h"

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_FIRST_WANTED);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64); /* struct sock * */
        __type(value, __u32);
} wanted SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_first_wish);
} wish SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_first_state);
} first SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
        __uint(key_size, sizeof(__u32));
        __uint(value_size, sizeof(__u32));
} samples SEC(".maps");

/* Where a TCP header has what is looked at. */
#define TCP_SEQ 4
#define TCP_DOFF 12

/* Payload of the segment, if it is the next in order and not one that came before its time or once more; and its header's length. */
static __always_inline __u32 payload(struct sk_buff *skb, struct tcp_sock *tp, __u32 *skip) {
        const unsigned char *head = BPF_CORE_READ(skb, data);
        __u32 seq = 0, len = BPF_CORE_READ(skb, len);
        __u8 doff = 0;

        bpf_probe_read_kernel(&doff, sizeof(doff), head + TCP_DOFF);
        *skip = (doff >> 4) * 4;
        if (*skip < 20 || len <= *skip)
                return 0;
        bpf_probe_read_kernel(&seq, sizeof(seq), head + TCP_SEQ);
        return __builtin_bswap32(seq) == BPF_CORE_READ(tp, rcv_nxt) ? len - *skip : 0;
}

SEC("tp_btf/tcp_probe")
int tp_first_bytes(__u64 *ctx) {
        struct sock *sk = (struct sock *) ctx[0];
        struct sk_buff *skb = (struct sk_buff *) ctx[1];
        struct tcp_sock *tp = (struct tcp_sock *) sk;
        __u64 key = (__u64) sk, offset = BPF_CORE_READ(tp, bytes_received);
        __u32 zero = 0, skip = 0, side;
        struct bh_first_wish *w = bpf_map_lookup_elem(&wish, &zero);
        struct bh_first_state *f = bpf_map_lookup_elem(&first, &zero);
        struct bh_conn *c;
        bool asked;
        long err;

        /* nearly all segments leave here, while connections that begin are waited for */
        if (!w || !f || (!w->sockets && (offset || !w->all)))
                return 0;
        asked = w->sockets && bpf_map_lookup_elem(&wanted, &key);
        if (!asked && (offset || !w->all))
                return 0;

        struct bh_first_head h = { .offset = offset, .total = payload(skb, tp, &skip) };
        if (!h.total)
                return 0;
        /* of several programs that see it wanted one takes it */
        if (asked && bpf_map_delete_elem(&wanted, &key))
                return 0;
        h.ts = bpf_ktime_get_boot_ns();
        h.sk = key;
        h.skip = (__u16) skip;
        h.len = (__u16) (h.total < BH_FIRST_BYTES ? h.total : BH_FIRST_BYTES);
        h.net_ns = sock_net_ns(sk);
        sock_addr(&h.addr, sk);
        c = bpf_map_lookup_elem(&conns, &key);
        if (c && is_of(c, sk)) {
                h.cgroup = c->who.id.cgroup;
                h.start = c->who.id.start;
                h.tgid = c->who.id.tgid;
                h.flags = BH_FIRST_TRACKED | (c->outgoing ? BH_FIRST_AT_CLIENT : BH_FIRST_AT_SERVER);
        } else {
                side = side_by_counters(sk, BPF_CORE_READ(sk, __sk_common.skc_state));
                h.flags = side == BH_SOCK_CLIENT ? BH_FIRST_AT_CLIENT : side == BH_SOCK_SERVER ? BH_FIRST_AT_SERVER : 0;
        }
        err = bpf_skb_output(skb, &samples, BPF_F_CURRENT_CPU | (__u64) (skip + h.len) << 32, &h, sizeof(h));
        if (!err)
                BH_ADD(f->taken, 1);
        else if (err == -ENOSPC)
                BH_ADD(f->full, 1);
        else
                BH_ADD(f->failed, 1);
        return 0;
}
