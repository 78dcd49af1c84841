/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What payload.bpf.c is made of, but where bytes lie: streams, bounds and accounts, records, what a connection speaks. For payload.bpf.c alone.
 */
#ifndef BH_PAYLOAD_BPF_H
#define BH_PAYLOAD_BPF_H

#include "payload_source.bpf.h"

#define LOOKS 8
#define SECOND 1000000000ull
#define CONNECTION_SECOND (4u << 20)
#define DEFAULT_REQUEST 4096
#define DEFAULT_SECOND (16u << 20)

/* ---- accounts and bounds ---- */

/* The sensor tries the hooks: its own call. */
static __always_inline bool probing(bool sent) {
        struct bh_payload_config *cfg = config_of();
        struct bh_payload_counts *counts;

        if (!cfg || !cfg->probe_tgid || cfg->probe_tgid != bpf_get_current_pid_tgid() >> 32)
                return !cfg;
        counts = counts_of();
        if (counts && sent)
                BH_ADD(counts->probe_sent, 1);
        else if (counts)
                BH_ADD(counts->probe_read, 1);
        return true;
}

static __always_inline void end_lost(void) {
        struct bh_payload_counts *counts = counts_of();

        if (counts)
                BH_ADD(counts->ends_lost, 1);
}

static const struct bh_payload_account account_none;

static __noinline struct bh_payload_account *account_of(__u64 container) {
        struct bh_payload_account *a = bpf_map_lookup_elem(&payload_accounts, &container);

        if (a)
                return a;
        bpf_map_update_elem(&payload_accounts, &container, &account_none, BPF_NOEXIST);
        a = bpf_map_lookup_elem(&payload_accounts, &container);
        if (!a) {
                container = 0;
                a = bpf_map_lookup_elem(&payload_accounts, &container);
        }
        return a;
}

/* Bytes of a connection that is followed, or of which it could not be seen whether it is to be, that were moved and are not told. */
static __noinline int skip(struct bh_payload_stream *s, __u32 why, __u32 n) {
        struct bh_payload_account *a;

        a = account_of(s->container);
        if (!a)
                return 0;
        BH_ADD(a->moved, n);
        BH_ADD(a->skipped[why & (BH_PAYLOAD_S_MAX - 1)], n);
        return 0;
}

/* How many of `n` bytes are within all bounds; w->over says beyond which the others are. */
static __noinline __u32 admit(struct work *w, struct bh_payload_stream *s, struct bh_payload_dir *d, __u32 n) {
        __u32 room;
        __u64 now = bpf_ktime_get_boot_ns(), container = s->container;
        struct bh_payload_spent *b;

        if (n > d->left) {
                w->over[BH_PAYLOAD_S_REQUEST] = n - d->left;
                n = d->left;
        }
        d->left -= n;
        if (n > BH_PAYLOAD_RECORD_BYTES) {
                w->over[BH_PAYLOAD_S_CALL] = n - BH_PAYLOAD_RECORD_BYTES;
                n = BH_PAYLOAD_RECORD_BYTES;
        }
        if (now - s->window >= SECOND) {
                s->window = now;
                s->used = 0;
        }
        room = s->used < CONNECTION_SECOND ? CONNECTION_SECOND - s->used : 0;
        if (n > room) {
                w->over[BH_PAYLOAD_S_CONNECTION] = n - room;
                n = room;
        }
        s->used += n;
        if (!n)
                return 0;

        b = bpf_map_lookup_elem(&payload_spent, &container);
        if (!b) {
                struct bh_payload_spent first = { .window = now };

                bpf_map_update_elem(&payload_spent, &container, &first, BPF_NOEXIST);
                b = bpf_map_lookup_elem(&payload_spent, &container);
                if (!b)
                        return n;
        }
        if (now - b->window >= SECOND) {
                b->window = now;
                b->used = 0;
        }
        room = b->used < s->per_second ? s->per_second - (__u32) b->used : 0;
        if (n > room) {
                w->over[BH_PAYLOAD_S_CONTAINER] = n - room;
                n = room;
        }
        if (n && b->used > BH_PAYLOAD_RING_TURN && bpf_ringbuf_query(&payload_ring, BPF_RB_AVAIL_DATA) > BH_PAYLOAD_RING_BYTES / 2) {
                w->over[BH_PAYLOAD_S_CONTAINER] += n;
                n = 0;
        }
        BH_ADD(b->used, n);
        return n;
}

/* ---- streams ---- */

/* Where the program of a socket stands in what it writes or reads, as the kernel numbers it. */
static __always_inline __u32 position(struct sock *sk, bool sent) {
        struct tcp_sock *tp = (struct tcp_sock *) sk;

        return sent ? BPF_CORE_READ(tp, write_seq) : BPF_CORE_READ(tp, copied_seq);
}

/* Never 0. Not skc_num: the kernel takes that back when the connection is over (a reset, say), and what has come before is read all the same. */
static __always_inline __u32 ports_of(struct sock *sk) {
        return (__u32) swap16(BPF_CORE_READ((struct inet_sock *) sk, inet_sport)) << 16 | swap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

static __noinline int rules_for(struct bh_payload_stream *s, __u64 container, __u32 rules) {
        struct bh_payload_rule *r = bpf_map_lookup_elem(&payload_rules, &container);
        __u64 others = 0;

        if (!r)
                r = bpf_map_lookup_elem(&payload_rules, &others);
        s->rules = rules;
        s->per_request = r && r->per_request ? r->per_request : DEFAULT_REQUEST;
        s->per_second = r && r->per_second ? r->per_second : DEFAULT_SECOND;
        s->other = r ? r->other : 0;
        return r && r->off;
}

/* Positions before the call that moved `n` bytes, as the counters say. FALSE: those were in the middle of a change. */
static __always_inline bool positions_look(struct bh_payload_stream *s, struct sock *sk, bool sent, __u32 n) {
        struct tcp_sock *tp = (struct tcp_sock *) sk;
        __u64 acked = BPF_CORE_READ(tp, bytes_acked), received = BPF_CORE_READ(tp, bytes_received);
        __u32 una = BPF_CORE_READ(tp, snd_una), next = BPF_CORE_READ(tp, rcv_nxt);

        s->dir[1].seq = position(sk, true) - (sent ? n : 0);
        s->dir[0].seq = position(sk, false) - (sent ? 0 : n);
        /* signed: bytes of this call may be acknowledged by now */
        s->dir[1].pos = acked + (__u64) (__s64) (__s32) (s->dir[1].seq - una);
        s->dir[0].pos = received - (__u64) (__s64) (__s32) (next - s->dir[0].seq);
        return acked == BPF_CORE_READ(tp, bytes_acked) && received == BPF_CORE_READ(tp, bytes_received);
}

/* Whether something was moved before. Not a loop: it would be entered in its middle, which kernels before 6.3 refuse. */
static __noinline int positions_begin(struct bh_payload_stream *s, struct sock *sk, bool sent, __u32 n) {
        if (!positions_look(s, sk, sent, n) && !positions_look(s, sk, sent, n))
                positions_look(s, sk, sent, n);
        /* the SYN of the side that connected is counted */
        if (s->dir[1].pos && (s->side == BH_PAYLOAD_AT_CLIENT || (!s->side && s->dir[1].pos == 1)))
                s->dir[1].pos--;
        return s->dir[1].pos || s->dir[0].pos;
}

static __always_inline void forget(struct bh_payload_stream *s) {
        struct bh_payload_counts *counts = counts_of();

        s->state = BH_PAYLOAD_IGNORED;
        if (counts)
                BH_ADD(counts->ignored, 1);
}

/* In the zeroed entry. FALSE: it is none of a container's. */
static __noinline int stream_make(struct bh_payload_stream *s, struct sock *sk, bool sent, __u32 n) {
        struct task_struct *task = bh_current();
        struct bh_payload_config *cfg = config_of();
        __u64 key = (__u64) sk;
        struct bh_conn *c;
        __u32 side;

        s->container = bh_container_of(bh_task_cgroup(task));
        if (!s->container || !cfg)
                return 0;
        s->id = bpf_ktime_get_boot_ns() >> 5 << 10 | (bpf_get_smp_processor_id() & 1023);
        if (rules_for(s, s->container, *(volatile __u32 *) &cfg->rules)) {
                s->state = BH_PAYLOAD_OFF;
                return 1;
        }
        c = bpf_map_lookup_elem(&conns, &key);
        if (c && is_of(c, sk)) {
                s->side = c->outgoing ? BH_PAYLOAD_AT_CLIENT : BH_PAYLOAD_AT_SERVER;
        } else {
                side = side_by_counters(sk, BPF_CORE_READ(sk, __sk_common.skc_state));
                s->side = side == BH_SOCK_CLIENT ? BH_PAYLOAD_AT_CLIENT : side == BH_SOCK_SERVER ? BH_PAYLOAD_AT_SERVER : 0;
        }
        s->state = positions_begin(s, sk, sent, n) ? BH_PAYLOAD_LOOKING : BH_PAYLOAD_NEW;
        return 1;
}

static const struct bh_payload_stream stream_none;

/* Of several calls that end the same entry one deletes it, and that one gives back its place in the container's share. */
static __noinline int stream_end(__u64 key, __u64 container) {
        __u64 *open;

        if (bpf_map_delete_elem(&streams, &key))
                return 0;
        open = bpf_map_lookup_elem(&payload_open, &container);
        if (open)
                __sync_fetch_and_add(open, -1);
        return 0;
}

static __noinline struct bh_payload_stream *stream_begin(struct sock *sk, bool sent, __u32 n) {
        struct bh_payload_counts *counts = counts_of();
        __u64 key = (__u64) sk, container = bh_container_of(bh_task_cgroup(bh_current())), none = 0, *open;
        struct bh_payload_stream *s;

        open = bpf_map_lookup_elem(&payload_open, &container);
        if (!open && container) {
                bpf_map_update_elem(&payload_open, &container, &none, BPF_NOEXIST);
                open = bpf_map_lookup_elem(&payload_open, &container);
        }
        /* signed: what is left of a container that was forgotten gives back to a number that has begun anew */
        if (open && (__s64) *open >= BH_PAYLOAD_OPEN_SHARE) {
                if (counts)
                        BH_ADD(counts->refused, 1);
                return NULL;
        }
        if (bpf_map_update_elem(&streams, &key, &stream_none, BPF_NOEXIST)) {
                if (counts)
                        BH_ADD(counts->refused, 1);
                return NULL;
        }
        s = bpf_map_lookup_elem(&streams, &key);
        if (!s)
                return NULL;
        if (!stream_make(s, sk, sent, n)) {
                bpf_map_delete_elem(&streams, &key);
                return NULL;
        }
        if (open)
                __sync_fetch_and_add(open, 1);
        /* last: until it has them, it is another call's to make */
        asm volatile("" ::: "memory");
        s->ports = ports_of(sk);
        return s->state == BH_PAYLOAD_OFF ? NULL : s;
}

static __always_inline bool is_tcp(struct sock *sk) {
        return is_inet(BPF_CORE_READ(sk, __sk_common.skc_family)) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP && BPF_CORE_READ(sk, sk_type) == SOCK_STREAM;
}

/* A call of a TLS library that a thread is in: between the probe at its beginning and the one at its end. */
struct tls_call {
        __u64 session, buf, lenp;
        __u64 sk; /* that the thread read or wrote in it; 0: none yet */
};
struct {
        __uint(type, BPF_MAP_TYPE_HASH); /* what is left of threads that ended in a call stays until it is started anew */
        __uint(max_entries, 32768);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64); /* thread */
        __type(value, struct tls_call);
} tls_calls SEC(".maps");

static __always_inline void tls_note(struct bh_payload_stream *s, __u64 sk) {
        __u64 id = bpf_get_current_pid_tgid();
        struct tls_call *c = bpf_map_lookup_elem(&tls_calls, &id);

        if (!c)
                return;
        c->sk = sk;
        if (s->clear == BH_PAYLOAD_CLEAR_NONE) {
                s->clear = BH_PAYLOAD_CLEAR_NEW;
                s->looks = 0;
        }
}

/* Whether the sensor wants nothing more of it; it is ignored then. */
static __always_inline bool is_unwanted(struct bh_payload_stream *s, __u64 sk) {
        __u32 at = BH_PAYLOAD_UNWANTED_AT(sk);
        __u64 *id = bpf_map_lookup_elem(&unwanted, &at);

        if (!id || *(volatile __u64 *) id != s->id)
                return false;
        s->state = BH_PAYLOAD_IGNORED;
        s->clear = BH_PAYLOAD_CLEAR_IGNORED;
        s->opened = 0;
        return true;
}

/* looked_at(), of a process that is not known to be the host's. One look-up for a socket that is known. */
__noinline int payload_looked_at(__u64 key, __u32 sent, __u32 n) {
        struct sock *sk = (struct sock *) key;
        struct bh_payload_stream *s;
        struct bh_payload_config *cfg;

        s = bpf_map_lookup_elem(&streams, &key);
        if (s && s->ports == ports_of(sk)) {
                cfg = config_of();
                if (s->state == BH_PAYLOAD_IGNORED) {
                        if (!cfg || s->rules == *(volatile __u32 *) &cfg->rules)
                                return 0;
                        rules_for(s, s->container, *(volatile __u32 *) &cfg->rules);
                        if (!s->other)
                                return 0;
                        goto anew; /* as one that was open before */
                }
                if (is_unwanted(s, key))
                        return 0;
                /* in the first states too: a call whose program the kernel left out, since the same one was interrupted on this CPU, must not make it a closed one */
                if (cfg && cfg->tls && (s->state != BH_PAYLOAD_FOLLOWED || s->protocol == BH_PAYLOAD_P_PROXY) && s->state != BH_PAYLOAD_OFF)
                        tls_note(s, key);
                if (s->state == BH_PAYLOAD_ENDED)
                        return 0;
                if (!cfg || s->rules == *(volatile __u32 *) &cfg->rules)
                        return s->state == BH_PAYLOAD_OFF ? 0 : 1;
                if (!rules_for(s, s->container, *(volatile __u32 *) &cfg->rules) && s->state != BH_PAYLOAD_OFF) {
                        if (s->protocol != BH_PAYLOAD_P_OTHER || s->other)
                                return 1;
                        s->state = BH_PAYLOAD_IGNORED; /* nobody asks for such any more */
                        return 0;
                }
                /* it is off now, or was: then it is looked at as one that was open before */
        }
anew:
        if (s && !s->ports) /* another thread's call on the same socket, the first one, is making it just now; this one will be a gap */
                return 0;
        if (s) {
                stream_end(key, s->container);
        } else if (!is_tcp(sk) || !bh_container_of(bh_task_cgroup(bh_current()))) {
                return 0;
        }
        s = stream_begin(sk, sent, n);
        cfg = config_of();
        if (s && cfg && cfg->tls)
                tls_note(s, key);
        return s != NULL;
}

/* Whether a socket of which `n` bytes were moved just now is one that is looked at: it is then in `streams`. */
static __always_inline bool looked_at(struct sock *sk, bool sent, __u32 n) {
        return !bh_is_quiet(bh_current()) && payload_looked_at((__u64) sk, sent, n);
}

/* ---- records ---- */

static __always_inline void head_of(struct bh_payload_head *h, struct bh_payload_stream *s, struct sock *sk) {
        h->connection = s->id;
        h->sk = (__u64) sk;
        h->ts = bpf_ktime_get_boot_ns();
        h->container = s->container;
        h->net_ns = sock_net_ns(sk);
        h->side = s->side;
        h->protocol = s->protocol;
        sock_addr(&h->addr, sk);
}

/* Sends the record, of `len` bytes. w->head has flags, offset and total. 0, or there was no room. */
static __noinline int tell(struct work *w, struct bh_payload_stream *s, struct sock *sk, bool sent, __u32 len) {
        struct bh_payload_head *h = &w->head;
        struct task_struct *task = bh_current();
        __u64 id = bpf_get_current_pid_tgid(), size = sizeof(*h) + len;

        head_of(h, s, sk);
        if (!s->opened)
                h->flags |= BH_PAYLOAD_F_OPEN;
        h->sent = sent;
        h->len = len;
        h->tgid = id >> 32;
        h->tid = (__u32) id;
        h->start = BPF_CORE_READ(task, group_leader, start_boottime);
        h->cgroup = bh_task_cgroup(task);
        asm volatile("" : "+r"(size));
        if (size > sizeof(*h) + BH_PAYLOAD_RECORD_BYTES)
                return -1;
        if (bpf_ringbuf_output(&payload_ring, h, size, BPF_RB_NO_WAKEUP))
                return -1;
        s->opened = 1;
        return 0;
}

/* ---- TLS ---- */

/* A record of application data (RFC 8446, 5.1). Libraries read and write whole records, or a record's head alone. */
static __always_inline bool starts_encrypted(struct work *w) {
        return w->src.got >= 2 && w->bytes[0] == 23 && w->bytes[1] == 3;
}

static __noinline int ended(struct work *w, struct bh_payload_stream *s, struct sock *sk, bool sent) {
        struct bh_payload_account *a = account_of(s->container);

        s->state = BH_PAYLOAD_ENDED;
        if (s->clear)
                return 0;
        if (a)
                BH_ADD(a->tls_closed, 1);
        w->head.flags = BH_PAYLOAD_F_TLS_CLOSED;
        w->head.total = 0;
        if (tell(w, s, sk, sent, 0))
                end_lost();
        return 0;
}

/* ---- what a connection speaks ---- */

enum verdict { NO, WAIT, YES };

static __always_inline bool is_token(__u8 c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Methods of which any target is believed; of another word one that is a path. */
static __always_inline bool is_method(const __u8 *f, __u32 at) {
        __u32 word;

        if (at > BH_PAYLOAD_FIRST - 4)
                return false;
        word = (__u32) f[at] << 24 | (__u32) f[at + 1] << 16 | (__u32) f[at + 2] << 8 | f[at + 3];
        return word == 0x47455420 /* GET_ */ || word == 0x504f5354 /* POST */ || word == 0x50555420 /* PUT_ */ || word == 0x48454144 /* HEAD */ ||
               word == 0x44454c45 /* DELE */ || word == 0x4f505449 /* OPTI */ || word == 0x50415443 /* PATC */ || word == 0x434f4e4e /* CONN */ ||
               word == 0x54524143 /* TRAC */ || word == 0x50524f50 /* PROP */ || word == 0x50524f58 /* PROX: what a proxy says before it */;
}

#define PROXY_LINE 108 /* bytes of version 1 of what a proxy says */
#define PROXY_MAX 1023 /* where a hello is looked for behind it; one less than a power of two */
#define LINES_MAX 4  /* empty lines before a request */
#define TOKEN_MAX 20

/* By s->first: what is sent first. Sets the protocol. */
__noinline int payload_classify(__u64 sk, __u32 dns) {
        struct bh_payload_stream *s = bpf_map_lookup_elem(&streams, &sk);
        __u32 n, from = 0, i;
        const __u8 *f;
        __u8 c = 0;

        if (!s)
                return NO;
        f = s->first;
        n = s->first_len;
        if (!n)
                return WAIT;
        if (dns) {
                /* its length, then id, flags: a query, of a kind that there is */
                if (n < 14)
                        return WAIT;
                if (((__u32) f[0] << 8 | f[1]) < 12 || f[4] & 0xf8)
                        return NO;
                s->protocol = BH_PAYLOAD_P_DNS;
                return YES;
        }
        if (f[0] == 22) { /* RFC 8446, 5.1: a handshake record, of which the first is a hello */
                if ((n > 1 && f[1] != 3) || (n > 5 && f[5] != 1))
                        return NO;
                s->protocol = n > 5 ? BH_PAYLOAD_P_TLS : BH_PAYLOAD_P_UNDECIDED;
                return n > 5 ? YES : WAIT;
        }
        if (n >= 3 && f[0] == '\r' && f[1] == '\n' && f[2] == '\r' && n >= 5 && f[3] == '\n' && f[4] == 0) {
                s->protocol = BH_PAYLOAD_P_PROXY; /* version 2 */
                return YES;
        }
        for (i = 0; i < LINES_MAX; i++) {
                if (f[i] != '\r' && f[i] != '\n')
                        break;
                from++;
        }
        if (from >= LINES_MAX) {
                s->protocol = BH_PAYLOAD_P_HTTP1; /* servers pass over any number of them, and nothing else begins so: the inspector sees what comes */
                return YES;
        }
        if (from >= n)
                return WAIT;
        for (i = 0; i < LINES_MAX + TOKEN_MAX; i++) {
                if (i < from)
                        continue;
                if (i >= n)
                        return WAIT;
                c = f[i];
                if (!is_token(c))
                        break;
        }
        if (i == from || i >= LINES_MAX + TOKEN_MAX || (c != ' ' && c != '\t'))
                return NO;
        i++;
        if (i >= n && !is_method(f, from))
                return WAIT;
        c = i < BH_PAYLOAD_FIRST ? f[i & (BH_PAYLOAD_FIRST - 1)] : 0;
        if (c != '/' && c != '*' && c != 'h' && c != 'H' && !is_method(f, from))
                return NO;
        if (!from && f[0] == 'P' && f[1] == 'R' && f[2] == 'O' && f[3] == 'X' && f[4] == 'Y' && i == 6) {
                /* a family and nothing else: "PROXY / HTTP/1.1" is a request, of a method that nobody knows and many servers take */
                if (n < 9 && (n < 7 || f[6] == 'T' || f[6] == 'U'))
                        return WAIT;
                if ((f[6] == 'T' && f[7] == 'C' && f[8] == 'P') || (f[6] == 'U' && f[7] == 'N' && f[8] == 'K')) {
                        s->protocol = BH_PAYLOAD_P_PROXY;
                        return YES;
                }
        }
        s->protocol = f[from & 3] == 'P' && f[(from & 3) + 1] == 'R' && f[(from & 3) + 2] == 'I' && c == '*' ? BH_PAYLOAD_P_HTTP2 : BH_PAYLOAD_P_HTTP1;
        return YES;
}

/* Puts what was copied of a call behind the `at` first bytes that are there. Their number. */
static __always_inline __u32 add_first(struct work *w, struct bh_payload_stream *s, __u32 at) {
        __u32 got = w->src.got;

        for (__u32 i = 0; i < BH_PAYLOAD_FIRST; i++) {
                __u32 to = at;

                if (at >= BH_PAYLOAD_FIRST || i >= got)
                        break;
                asm volatile("" : "+r"(to)); /* or the compiler drops the mask that the verifier needs */
                s->first[to & (BH_PAYLOAD_FIRST - 1)] = w->bytes[i];
                at++;
        }
        s->first_len = (__u8) at;
        return at;
}

/* A request whose first `held` bytes came in calls of their own, of which nothing was told yet: they are told with this one's `want`. */
static __noinline int copy_behind(struct work *w, struct bh_payload_stream *s, __u32 held, __u32 want) {
        __u32 index = w->index;

        for (__u32 i = 0; i < BH_PAYLOAD_FIRST; i++)
                w->bytes[i] = s->first[i];
        w->held = held;
        w->src.got = held;
        w->src.want = held + want;
        if (w->src.want > BH_PAYLOAD_RECORD_BYTES)
                w->src.want = BH_PAYLOAD_RECORD_BYTES;
        for (__u32 i = 0; i < PARTS_MAX; i++)
                if (!payload_copy_part(index, i))
                        break;
        return 0;
}

/*
 * Of a connection that is new, or was open before, after what was copied of a call. NO: nothing of it is told.
 * What was open before waits for a call that begins like a request, or for some that do so together: until that is sure nothing is told of them, and then all.
 */
static __noinline int decide(struct work *w, struct bh_payload_stream *s, struct sock *sk, bool sent) {
        struct bh_payload_counts *counts = counts_of();
        __u32 at = s->first_len, held, got = w->src.got, want = w->src.want, verdict;
        __u32 ports = s->ports;

        if (s->state == BH_PAYLOAD_NEW && (!got || dir_of(s, !sent)->pos)) {
                /* nothing to be seen of what was first; or the other side answers already, to what was not understood */
                if (got && at && !s->other) {
                        forget(s);
                        return NO;
                }
                s->state = BH_PAYLOAD_LOOKING;
                at = 0;
        }
        if (s->state == BH_PAYLOAD_LOOKING && w->head.flags & BH_PAYLOAD_F_TURN)
                at = 0;
        if (s->state == BH_PAYLOAD_LOOKING && got && !at && ++s->looks > LOOKS) {
                forget(s);
                return NO;
        }
        if (!got) { /* it may be one to be followed: counted */
                s->first_len = 0;
                return WAIT;
        }
        if (s->state == BH_PAYLOAD_LOOKING && starts_encrypted(w)) {
                s->protocol = BH_PAYLOAD_P_TLS;
                ended(w, s, sk, sent);
                return NO;
        }
        held = at;
        at = add_first(w, s, at);
        verdict = payload_classify((__u64) sk, (sent && (ports & 0xffff) == PORT_DNS) || (!sent && ports >> 16 == PORT_DNS));
        if (s->other && (verdict == NO || (verdict == WAIT && at >= BH_PAYLOAD_FIRST))) {
                s->protocol = BH_PAYLOAD_P_OTHER;
                s->dir[0].left = s->dir[1].left = s->other;
                verdict = YES;
        }
        if (verdict == YES) {
                if (s->state == BH_PAYLOAD_LOOKING) {
                        w->head.flags |= BH_PAYLOAD_F_TURN;
                        if (held)
                                copy_behind(w, s, held, want);
                }
                s->first_len = 0; /* behind_proxy() has it next */
                s->state = BH_PAYLOAD_FOLLOWED;
                if (!s->side && s->protocol != BH_PAYLOAD_P_OTHER) /* whoever asks is the client */
                        s->side = sent ? BH_PAYLOAD_AT_CLIENT : BH_PAYLOAD_AT_SERVER;
                if (s->protocol == BH_PAYLOAD_P_TLS) {
                        s->state = BH_PAYLOAD_HELLO;
                        s->dir[0].left = s->dir[1].left = BH_PAYLOAD_HANDSHAKE;
                }
                if (counts)
                        BH_ADD(counts->followed, 1);
        } else if (s->state == BH_PAYLOAD_LOOKING) {
                if (verdict == NO || at >= BH_PAYLOAD_FIRST)
                        s->first_len = 0;
                return NO;
        } else if (verdict == NO || at >= BH_PAYLOAD_FIRST) {
                forget(s);
                return NO;
        }
        return verdict;
}

/* A handshake's record at `at` of what was copied of a call: a client's hello, or (hello 2) a server's. */
static __always_inline bool is_hello(struct work *w, __u32 at, __u8 hello) {
        const __u8 *b = w->bytes;

        if (at > PROXY_MAX)
                return false;
        asm volatile("" : "+r"(at));
        at &= PROXY_MAX;
        return at + 6 <= w->src.got && b[at] == 22 && b[at + 1] == 3 && b[at + 5] == hello;
}

/* Where what a proxy says ends, of the call that begins with it; 0: not in what there is of it. A line with a '/' is none: no address has one, and a request's version does. */
static __noinline __u32 proxy_end(struct work *w) {
        const __u8 *b = w->bytes;
        __u32 end;

        if (b[0] == '\r') {
                if (w->src.got < 16)
                        return 0;
                end = 16 + ((__u32) b[14] << 8 | b[15]);
                return end <= w->src.got ? end : 0;
        }
        for (__u32 i = 0; i < PROXY_LINE; i++) {
                if (i >= w->src.got || b[i] == '/')
                        return 0;
                if (b[i] == '\n')
                        return i + 1;
        }
        return 0;
}

/*
 * What is behind the header of a proxy: TLS by the client's hello, which stands directly behind it, in the same call or at the beginning of the next; or at the latest by what the server
 * answers; anything else is read as it comes. Bytes like a hello's that come later say nothing: they may be a part of a request, whose connection would be closed to the inspector. The pieces of
 * before were told as of protocol PROXY. s->first_len: how long a header is that ended with its call.
 */
static __noinline int behind_proxy(struct work *w, struct bh_payload_stream *s, bool sent) {
        bool client = sent == (s->side == BH_PAYLOAD_AT_CLIENT), tls;
        __u32 at = 0;

        if (!w->src.got)
                return 0;
        if (client && !w->head.offset) {
                at = proxy_end(w);
                if (at && at == w->head.total)
                        s->first_len = at < 256 ? (__u8) at : 0;
                if (!at || at >= w->src.got || at > PROXY_MAX)
                        return 0;
        } else if (client && w->head.offset != s->first_len) {
                return 0;
        }
        tls = client ? is_hello(w, at, 1) : w->bytes[0] == 22 && w->src.got > 1 && w->bytes[1] == 3;
        if (client && !tls && w->src.got < at + 6) /* a part of a hello, maybe: libraries read the head of a record alone */
                return 0;
        s->first_len = 0;
        if (tls) {
                s->protocol = BH_PAYLOAD_P_TLS;
                s->state = BH_PAYLOAD_HELLO;
                s->dir[0].left = s->dir[1].left = BH_PAYLOAD_HANDSHAKE;
        } else {
                s->protocol = BH_PAYLOAD_P_HTTP1;
        }
        return 0;
}

/* ---- clear text of TLS libraries ---- */

/* The socket of a session, of a process: a call that is served from what was read before uses none. */
struct tls_session {
        __u64 session;
        __u32 tgid, pad;
};
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 16384);
        __type(key, struct tls_session);
        __type(value, __u64); /* struct sock * */
} tls_sockets SEC(".maps");

/* What HTTP/2's server may say first: a frame of settings, of the connection itself (RFC 9113, 6.5). */
static __always_inline bool is_settings(struct work *w) {
        const __u8 *b = w->bytes;

        return w->src.got >= 9 && b[3] == 4 && !b[4] && !b[5] && !b[6] && !b[7] && !b[8];
}

#define PORT_DNS_TLS 853

/*
 * As decide(), by the first bytes of the clear text, in one call or several: whoever writes a request byte by byte is followed all the same. Until it is sure nothing is told, and then all
 * of it. Both have s->first, one after the other: where the clear text is had, that of the socket is looked at until its hello alone.
 */
static __noinline int decide_clear(struct work *w, struct bh_payload_stream *s, __u64 sk, bool sent) {
        bool client = sent == (s->side == BH_PAYLOAD_AT_CLIENT);
        struct bh_payload_counts *counts = counts_of();
        __u32 turn = w->head.flags & BH_PAYLOAD_F_TURN, held = turn || s->first_len > BH_PAYLOAD_FIRST ? 0 : s->first_len, want = w->src.want, ports = s->ports, at, verdict = NO;

        if (client && w->src.got) {
                at = add_first(w, s, held);
                verdict = payload_classify(sk, (sent && (ports & 0xffff) == PORT_DNS_TLS) || (!sent && ports >> 16 == PORT_DNS_TLS));
                if (verdict == WAIT && at < BH_PAYLOAD_FIRST)
                        return WAIT;
                s->first_len = 0;
        } else if (is_settings(w)) {
                s->protocol = BH_PAYLOAD_P_HTTP2;
                verdict = YES;
        }
        if (verdict == YES) {
                if (client)
                        w->head.flags |= BH_PAYLOAD_F_TURN;
                if (client && held)
                        copy_behind(w, s, held, want);
                s->clear = BH_PAYLOAD_CLEAR_FOLLOWED;
                if (counts)
                        BH_ADD(counts->followed, 1);
        } else if ((client || turn) && ++s->looks > LOOKS) {
                s->clear = BH_PAYLOAD_CLEAR_IGNORED;
        }
        return verdict;
}

/* A call of a TLS library has moved `n` bytes of clear text, which lie where w->src says. */
__noinline int payload_clear(__u32 index, __u64 sk, __u32 sent, __u32 n) {
        struct work *w = bpf_map_lookup_elem(&payload_works, &index);
        struct bh_payload_stream *s = bpf_map_lookup_elem(&streams, &sk);
        struct bh_payload_dir *d, *o;
        struct bh_payload_account *a;
        __u32 want;

        if (!w || !s || !s->clear || s->clear == BH_PAYLOAD_CLEAR_IGNORED || is_unwanted(s, sk))
                return 0;
        a = account_of(s->container);
        if (!a)
                return 0;
        if (sent) {
                d = &s->text[1];
                o = &s->text[0];
        } else {
                d = &s->text[0];
                o = &s->text[1];
        }
        w->head.flags = BH_PAYLOAD_F_TLS;
        if (!d->pos || d->other != (__u32) o->pos) {
                d->other = (__u32) o->pos;
                d->left = s->per_request;
                w->head.flags |= BH_PAYLOAD_F_TURN;
        }
        w->head.offset = d->pos;
        w->head.total = n;
        d->pos += n;
        want = admit(w, s, d, n);
        copy(w, want);
        if (s->clear == BH_PAYLOAD_CLEAR_NEW && decide_clear(w, s, sk, sent) != YES)
                return 0;
        n += w->held;
        w->head.offset -= w->held;
        w->head.total = n;
        want += w->held;
        BH_ADD(a->clear, n);
        for (int i = 0; i < BH_PAYLOAD_S_FULL; i++)
                if (w->over[i])
                        BH_ADD(a->clear_skipped[i], w->over[i]);
        if (w->src.got < want)
                BH_ADD(a->clear_skipped[BH_PAYLOAD_S_UNREADABLE], want - w->src.got);
        if (!w->src.got)
                return 0;
        if (d->told != w->head.offset)
                w->head.flags |= BH_PAYLOAD_F_SKIPPED;
        if (w->src.got < n)
                w->head.flags |= BH_PAYLOAD_F_CUT;
        if (tell(w, s, (struct sock *) sk, sent, w->src.got)) {
                BH_ADD(a->clear_skipped[BH_PAYLOAD_S_FULL], w->src.got);
                return 0;
        }
        d->told = w->head.offset + w->src.got;
        BH_ADD(a->clear_copied, w->src.got);
        BH_ADD(a->pieces, 1);
        return 0;
}

/* The same, when there is no work for it: a gap in what is followed. */
static __noinline int clear_busy(__u64 sk, bool sent, __u32 n) {
        struct bh_payload_stream *s = bpf_map_lookup_elem(&streams, &sk);
        struct bh_payload_account *a = s && s->clear == BH_PAYLOAD_CLEAR_FOLLOWED ? account_of(s->container) : NULL;

        if (!a)
                return 0;
        if (sent)
                s->text[1].pos += n;
        else
                s->text[0].pos += n;
        BH_ADD(a->clear, n);
        BH_ADD(a->clear_skipped[BH_PAYLOAD_S_BUSY], n);
        return 0;
}

static __always_inline int tls_begins(struct pt_regs *regs, bool moves) {
        __u64 id = bpf_get_current_pid_tgid();
        struct tls_call c = { .session = regs->di };
        struct bh_payload_counts *counts = counts_of();

        if (bh_is_quiet(bh_current()))
                return 0;
        if (moves) {
                c.buf = regs->si;
                c.lenp = regs->cx;
        }
        if (bpf_map_update_elem(&tls_calls, &id, &c, BPF_ANY) && counts)
                BH_ADD(counts->clear_unknown, 1);
        return 0;
}

/* `counted`: the result is 1, and how many bytes stands where the caller said. */
static __noinline int tls_ends(struct pt_regs *regs, bool sent, bool counted) {
        __u64 id = bpf_get_current_pid_tgid(), n = 0;
        struct tls_session key = { .tgid = id >> 32 };
        struct tls_call *at = bpf_map_lookup_elem(&tls_calls, &id), c;
        struct bh_payload_counts *counts = counts_of();
        __s32 result = (__s32) regs->ax;
        struct work *w;
        __u64 *known;

        if (!at)
                return 0;
        c = *at;
        bpf_map_delete_elem(&tls_calls, &id);
        key.session = c.session;
        if (c.sk)
                bpf_map_update_elem(&tls_sockets, &key, &c.sk, BPF_ANY);
        if (!c.buf || result <= 0)
                return 0;
        n = (__u32) result;
        if (counted && bpf_probe_read_user(&n, sizeof(n), (const void *) c.lenp))
                return 0;
        if (!n || n > 1u << 30)
                return 0;
        if (!c.sk) {
                known = bpf_map_lookup_elem(&tls_sockets, &key);
                if (known)
                        c.sk = *known;
        }
        if (!c.sk) {
                if (counts)
                        BH_ADD(counts->clear_unknown, 1);
                return 0;
        }
        w = work_take();
        if (!w)
                return clear_busy(c.sk, sent, (__u32) n);
        source_none(&w->src);
        w->src.kind = SRC_USER;
        w->src.at = c.buf;
        payload_clear(w->index, c.sk, sent, (__u32) n);
        return work_give(w);
}

#endif
