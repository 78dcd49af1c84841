// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cuts containers off, wholly or from some peers, and leads connections to a decoy. Needs neither BPF LSM nor fentry: the same on all kernels.
 *
 *  - On the container's own cgroup (which is effective in all below): ingress and egress see each packet of each of its sockets, whatever made it and however old the connection
 *    is; connect and sendmsg refuse at once what egress would drop, so that a program gets EPERM instead of waiting. A TCP connect() to a destination that is led gets the decoy's
 *    address instead, and getpeername tells the one that was asked for.
 *  - On the host's end of its interfaces (traffic control): what has no socket of a cgroup. Frames of packet sockets, also with PACKET_QDISC_BYPASS, and what the
 *    kernel answers by itself (ICMP echo, resets).
 *
 * What a cgroup is subject to is in its own storage, which begins as zero: user space attaches the programs, and then says it. What is neither IPv4 nor IPv6 is dropped at an
 * isolated interface, but for ARP and neighbour discovery, which do not leave the link and without which what is allowed would not be found.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "enforce_record.h"

#define P_IP 0x0800
#define P_ARP 0x0806
#define P_IPV6 0x86dd
#define DROP 0
#define PASS 1

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
        __uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
        __type(key, __u64);
        __type(value, struct bh_enforce_subject);
} subjects SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, BH_ENFORCE_SUBJECTS);
        __type(key, __u32); /* number of the interface */
        __type(value, struct bh_enforce_subject);
} interfaces SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LPM_TRIE);
        __uint(max_entries, BH_ENFORCE_ENTRIES);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, struct bh_enforce_key);
        __type(value, struct bh_enforce_ports);
} lists SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 2 * BH_ENFORCE_SUBJECTS);
        __type(key, __u32);
        __type(value, struct bh_enforce_refused);
} refused SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, BH_ENFORCE_LED);
        __type(key, __u64);
        __type(value, struct bh_enforce_led);
} led SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, BH_ENFORCE_RING);
} told SEC(".maps");

/* Where a packet goes, or comes from. */
struct peer {
        struct bh_enforce_key key; /* but for the list */
        __u16 port;
        __u8 proto;
        bool neighbour; /* how neighbours find each other: ARP, or neighbour discovery */
};

static __always_inline bool in_list(struct peer *p, __u32 list) {
        p->key.list = list;
        p->key.bits = 32 + 128;

        struct bh_enforce_ports *v = bpf_map_lookup_elem(&lists, &p->key);

        if (!v)
                return false;
        for (__u32 i = 0; i < BH_ENFORCE_PORTS; i++) {
                if (i >= v->n)
                        break;
                if ((!v->ports[i].port || v->ports[i].port == p->port) && (!v->ports[i].proto || v->ports[i].proto == p->proto))
                        return true;
        }
        return false;
}

static __always_inline bool same(const __u8 *a, const __u8 *b) {
        __u64 x[2], y[2];

        __builtin_memcpy(x, a, sizeof(x));
        __builtin_memcpy(y, b, sizeof(y));
        return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool is_decoy(const struct bh_enforce_subject *s, const struct peer *p) {
        return s->lead && p->proto == IPPROTO_TCP && p->port == s->to_port && same(p->key.addr, s->to);
}

/* The list because of which it may not be; 0: it may. Of what goes out the deny list is asked as well. */
static __always_inline __u32 forbids(const struct bh_enforce_subject *s, struct peer *p, bool out) {
        if (is_decoy(s, p))
                return 0;
        if (s->isolate && !in_list(p, s->isolate))
                return s->isolate;
        if (s->deny && out && in_list(p, s->deny))
                return s->deny;
        return 0;
}

static __always_inline void count(__u32 list, __u64 bytes, bool call) {
        struct bh_enforce_refused *r = bpf_map_lookup_elem(&refused, &list);

        if (!r)
                return;
        if (call) {
                __sync_fetch_and_add(&r->calls, 1);
        } else {
                __sync_fetch_and_add(&r->packets, 1);
                __sync_fetch_and_add(&r->bytes, bytes);
        }
}

static __always_inline void map_ipv4(struct peer *p, __u32 addr) {
        __builtin_memset(p->key.addr, 0, 10);
        p->key.addr[10] = p->key.addr[11] = 0xff;
        __builtin_memcpy(p->key.addr + 12, &addr, 4);
}

/* ---- packets ---- */

static __always_inline void read_port(struct __sk_buff *skb, __u32 at, struct peer *p, bool out) {
        __be16 ports[2] = { 0 };

        if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && p->proto != IPPROTO_UDPLITE && p->proto != IPPROTO_SCTP && p->proto != IPPROTO_DCCP)
                return;
        if (bpf_skb_load_bytes_relative(skb, at, ports, sizeof(ports), BPF_HDR_START_NET) == 0)
                p->port = bpf_ntohs(out ? ports[1] : ports[0]);
}

static __always_inline bool read_ipv4(struct __sk_buff *skb, struct peer *p, bool out) {
        __u8 h[20];
        __u32 addr;

        if (bpf_skb_load_bytes_relative(skb, 0, h, sizeof(h), BPF_HDR_START_NET))
                return false;
        __builtin_memcpy(&addr, out ? h + 16 : h + 12, 4);
        map_ipv4(p, addr);
        p->proto = h[9];
        if (!(h[6] & 0x1f) && !h[7]) /* a later fragment has no port */
                read_port(skb, (h[0] & 0xf) * 4, p, out);
        return true;
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, struct peer *p, bool out) {
        __u8 h[40], ext[8];
        __u32 at = 40;
        bool later = false;

        if (bpf_skb_load_bytes_relative(skb, 0, h, sizeof(h), BPF_HDR_START_NET))
                return false;
        __builtin_memcpy(p->key.addr, out ? h + 24 : h + 8, 16);
        p->proto = h[6];
#pragma unroll
        for (int i = 0; i < 4; i++) {
                if (p->proto != IPPROTO_HOPOPTS && p->proto != IPPROTO_ROUTING && p->proto != IPPROTO_DSTOPTS && p->proto != IPPROTO_FRAGMENT)
                        break;
                if (bpf_skb_load_bytes_relative(skb, at, ext, sizeof(ext), BPF_HDR_START_NET))
                        return true;
                if (p->proto == IPPROTO_FRAGMENT && (ext[2] || ext[3] & 0xf8))
                        later = true;
                at += p->proto == IPPROTO_FRAGMENT ? 8 : (ext[1] + 1) * 8;
                p->proto = ext[0];
        }
        if (later)
                return true;
        if (p->proto == IPPROTO_ICMPV6 && bpf_skb_load_bytes_relative(skb, at, ext, 1, BPF_HDR_START_NET) == 0)
                /* to who is on the link alone: it could be routed elsewhere */
                p->neighbour = ext[0] >= 133 && ext[0] <= 137 && (!out || (p->key.addr[0] == 0xfe && (p->key.addr[1] & 0xc0) == 0x80) || (p->key.addr[0] == 0xff && p->key.addr[1] == 2));
        read_port(skb, at, p, out);
        return true;
}

/* FALSE: neither IPv4 nor IPv6, or cut off. */
static __always_inline bool read_peer(struct __sk_buff *skb, struct peer *p, bool out) {
        if (skb->protocol == bpf_htons(P_IP))
                return read_ipv4(skb, p, out);
        if (skb->protocol == bpf_htons(P_IPV6))
                return read_ipv6(skb, p, out);
        p->neighbour = skb->protocol == bpf_htons(P_ARP);
        return false;
}

/* The first packet of a connection that was led: its own end is known now. */
static __always_inline void tell_led(struct __sk_buff *skb) {
        __u64 cookie = bpf_get_socket_cookie(skb);
        struct bh_enforce_led *l = bpf_map_lookup_elem(&led, &cookie);
        struct peer from = { 0 };

        if (!l || l->told)
                return;
        l->told = 1;
        read_peer(skb, &from, false); /* the other end of what goes out */
        __builtin_memcpy(l->from, from.key.addr, sizeof(l->from));
        l->from_port = from.port;
        if (bpf_ringbuf_output(&told, l, sizeof(*l), 0)) {
                struct bh_enforce_refused *r = bpf_map_lookup_elem(&refused, &l->list);

                if (r)
                        __sync_fetch_and_add(&r->untold, 1);
        }
}

static __always_inline int of_cgroup(struct __sk_buff *skb, bool out) {
        struct bh_enforce_subject *s = bpf_get_local_storage(&subjects, 0);
        struct peer p = { 0 };
        __u32 list;
        bool ip;

        if (!s->isolate && !s->deny && !s->lead)
                return PASS;
        ip = read_peer(skb, &p, out);
        if (out && ip && is_decoy(s, &p)) {
                tell_led(skb);
                return PASS;
        }
        list = ip ? forbids(s, &p, out) : s->isolate;
        if (!list)
                return PASS;
        count(list, skb->len, false);
        return DROP;
}

SEC("cgroup_skb/egress")
int bh_egress(struct __sk_buff *skb) {
        return of_cgroup(skb, true);
}

SEC("cgroup_skb/ingress")
int bh_ingress(struct __sk_buff *skb) {
        return of_cgroup(skb, false);
}

/* `out`: as the container sees it. */
static __always_inline int of_interface(struct __sk_buff *skb, bool out) {
        __u32 index = skb->ifindex;
        struct bh_enforce_subject *s = bpf_map_lookup_elem(&interfaces, &index);
        struct peer p = { 0 };
        __u32 list;

        if (!s)
                return TC_ACT_UNSPEC;
        if (skb->vlan_present) {
                list = s->isolate;
        } else {
                bool ip = read_peer(skb, &p, out);

                if (p.neighbour)
                        return TC_ACT_UNSPEC;
                list = ip ? forbids(s, &p, out) : s->isolate;
        }
        if (!list)
                return TC_ACT_UNSPEC;
        count(list, skb->len, false);
        return TC_ACT_SHOT;
}

/* What comes in at the host's end left the container. */
SEC("tc")
int bh_from_container(struct __sk_buff *skb) {
        return of_interface(skb, true);
}

SEC("tc")
int bh_to_container(struct __sk_buff *skb) {
        return of_interface(skb, false);
}

/* ---- calls ---- */

static __always_inline void read_call(struct bpf_sock_addr *ctx, struct peer *p, bool ipv6) {
        if (ipv6) {
                __u32 a[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };

                __builtin_memcpy(p->key.addr, a, 16);
        } else {
                map_ipv4(p, ctx->user_ip4);
        }
        p->port = bpf_ntohs((__u16) ctx->user_port);
        p->proto = (__u8) ctx->protocol;
}

static __always_inline void write_call(struct bpf_sock_addr *ctx, const __u8 *addr, __u16 port, bool ipv6) {
        __u32 a[4];

        __builtin_memcpy(a, addr, 16);
        if (ipv6) {
                ctx->user_ip6[0] = a[0];
                ctx->user_ip6[1] = a[1];
                ctx->user_ip6[2] = a[2];
                ctx->user_ip6[3] = a[3];
        } else {
                ctx->user_ip4 = a[3];
        }
        ctx->user_port = bpf_htons(port);
}

static __always_inline int of_call(struct bpf_sock_addr *ctx, bool ipv6) {
        struct bh_enforce_subject *s = bpf_get_local_storage(&subjects, 0);
        struct peer p = { 0 };
        __u32 list;

        if (!s->isolate && !s->deny && !s->lead)
                return PASS;
        read_call(ctx, &p, ipv6);
        list = forbids(s, &p, true);
        if (!list)
                return PASS;
        count(list, 0, true);
        return DROP;
}

/* An IPv6 socket reaches an IPv4 decoy by its mapped address; the other way there is none, which user space sees to. */
static __always_inline int of_connect(struct bpf_sock_addr *ctx, bool ipv6) {
        struct bh_enforce_subject *s = bpf_get_local_storage(&subjects, 0);
        struct bh_enforce_led l = { 0 };
        struct peer p = { 0 };
        __u64 cookie;

        if (!s->lead)
                return of_call(ctx, ipv6);
        cookie = bpf_get_socket_cookie(ctx);
        read_call(ctx, &p, ipv6);
        if (p.proto != IPPROTO_TCP || !in_list(&p, s->lead)) {
                bpf_map_delete_elem(&led, &cookie); /* it was led before, in vain */
                return of_call(ctx, ipv6);
        }
        l.time = bpf_ktime_get_boot_ns();
        l.cgroup = s->cgroup;
        __builtin_memcpy(l.asked, p.key.addr, sizeof(l.asked));
        __builtin_memcpy(l.to, s->to, sizeof(l.to));
        l.asked_port = p.port;
        l.to_port = s->to_port;
        l.list = s->lead;
        l.tgid = bpf_get_current_pid_tgid() >> 32;
        l.uid = (__u32) bpf_get_current_uid_gid();
        bpf_get_current_comm(l.comm, sizeof(l.comm));
        if (bpf_map_update_elem(&led, &cookie, &l, BPF_ANY)) { /* what it asked for would not be known: it is refused, as without a decoy */
                count(s->deny, 0, true);
                return DROP;
        }
        count(s->lead, 0, true);
        write_call(ctx, l.to, l.to_port, ipv6);
        return PASS;
}

SEC("cgroup/connect4")
int bh_connect4(struct bpf_sock_addr *ctx) {
        return of_connect(ctx, false);
}

SEC("cgroup/connect6")
int bh_connect6(struct bpf_sock_addr *ctx) {
        return of_connect(ctx, true);
}

SEC("cgroup/sendmsg4")
int bh_sendmsg4(struct bpf_sock_addr *ctx) {
        return of_call(ctx, false);
}

SEC("cgroup/sendmsg6")
int bh_sendmsg6(struct bpf_sock_addr *ctx) {
        return of_call(ctx, true);
}

/* Who was led sees whom it asked for. Such a program may not refuse. */
static __always_inline int of_peername(struct bpf_sock_addr *ctx, bool ipv6) {
        __u64 cookie = bpf_get_socket_cookie(ctx);
        struct bh_enforce_led *l = bpf_map_lookup_elem(&led, &cookie);
        struct peer p = { 0 };

        if (!l)
                return PASS;
        read_call(ctx, &p, ipv6);
        if (p.port == l->to_port && same(p.key.addr, l->to))
                write_call(ctx, l->asked, l->asked_port, ipv6);
        return PASS;
}

SEC("cgroup/getpeername4")
int bh_getpeername4(struct bpf_sock_addr *ctx) {
        return of_peername(ctx, false);
}

SEC("cgroup/getpeername6")
int bh_getpeername6(struct bpf_sock_addr *ctx) {
        return of_peername(ctx, true);
}
