// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What containers' TCP sockets read and write: see src/sensor/payload.h.
 *
 * All looks are at the end of a call, when it is known how much was moved, and where in the stream: the kernel's own numbers (write_seq, copied_seq) say so.
 * Bytes that a call moved which no program saw, or whose memory is not known, are therefore a gap of known size and not a fault in the stream.
 * Two calls that move bytes the same way on one socket at the same moment cannot be told apart in order; that is counted as a gap.
 *
 * Fallback: tp_btf/sock_send_length and sock_recv_length, at the end of each socket call, whoever made it. They say socket and length; the memory is that of the
 * system call in the task's registers. tp_btf/tcp_sendmsg_locked (6.16), while a message is being sent, has the kernel's description of it, which is kept for
 * the end of the call.
 */
#include "payload_record.h"
#include "sock.bpf.h"
#include "syscall.bpf.h"
#include "payload.bpf.h"
#include "unix.bpf.h"

/* ---- the end of a call ---- */

/* Bytes of one direction from `begin` on have moved until where the socket stands now; source_of_… has said where they lie. */
__noinline int payload_moved(__u32 index, __u64 socket, __u32 sent, __u32 n) {
        struct work *w = bpf_map_lookup_elem(&payload_works, &index);
        struct sock *sk = (struct sock *) socket;
        struct bh_payload_stream *s = stream_of(sk);
        __u32 now = position(sk, sent), other = position(sk, !sent), missed, want;
        struct bh_payload_account *a;
        struct bh_payload_dir *d;

        if (!w || !s)
                return 0;
        d = dir_of(s, sent);
        missed = now - n - d->seq;
        if ((__s32) missed < 0) {
                /* another call on the same socket was at its end first, and these bytes were part of the gap before it, or of its own */
                if ((__s32) (now - d->seq) > 0) {
                        skip(s, BH_PAYLOAD_S_FORM, now - d->seq);
                        d->pos += now - d->seq;
                        d->seq = now;
                }
                return 0;
        }
        if (missed) {
                skip(s, BH_PAYLOAD_S_FORM, missed);
                d->pos += missed;
                if (s->state == BH_PAYLOAD_NEW)
                        s->state = BH_PAYLOAD_LOOKING;
                if (!s->clear) /* what is behind a gap does not go on with what was before it */
                        s->first_len = 0;
        }
        d->seq = now;

        struct bh_payload_head *h = &w->head;
        h->flags = 0;
        if (!(s->begun & (sent ? 2 : 1)) || other != d->other) {
                s->begun |= sent ? 2 : 1;
                d->other = other;
                if (s->state != BH_PAYLOAD_HELLO && s->protocol != BH_PAYLOAD_P_OTHER)
                        d->left = s->per_request;
                h->flags = BH_PAYLOAD_F_TURN;
        }
        h->offset = d->pos;
        h->total = n;
        d->pos += n;
        want = admit(w, s, d, n);
        if (!want && s->state == BH_PAYLOAD_HELLO)
                return ended(w, s, sk, sent);
        copy(w, want);
        if (s->state == BH_PAYLOAD_HELLO && starts_encrypted(w))
                return ended(w, s, sk, sent);
        if (s->state == BH_PAYLOAD_LOOKING && s->clear) /* a library encrypts it, and its beginning was not seen: see decide_clear() */
                return 0;
        if ((s->state == BH_PAYLOAD_NEW || s->state == BH_PAYLOAD_LOOKING) && decide(w, s, sk, sent) == NO)
                return 0;
        if (s->state == BH_PAYLOAD_FOLLOWED && s->protocol == BH_PAYLOAD_P_PROXY)
                behind_proxy(w, s, sent);
        if (w->held) {
                h->offset -= w->held;
                n += w->held;
                want += w->held;
                h->total = n;
        }

        a = account_of(s->container);
        if (!a)
                return 0;
        BH_ADD(a->moved, n);
        for (int i = 0; i < BH_PAYLOAD_S_FULL; i++)
                if (w->over[i])
                        BH_ADD(a->skipped[i], w->over[i]);
        if (w->src.got < want)
                BH_ADD(a->skipped[w->src.kind == SRC_NONE ? BH_PAYLOAD_S_FORM : BH_PAYLOAD_S_UNREADABLE], want - w->src.got);
        if (!w->src.got)
                return 0;
        if (d->told != h->offset)
                h->flags |= BH_PAYLOAD_F_SKIPPED;
        if (w->src.got < n)
                h->flags |= BH_PAYLOAD_F_CUT;
        if (tell(w, s, sk, sent, w->src.got)) {
                BH_ADD(a->skipped[BH_PAYLOAD_S_FULL], w->src.got);
                return 0;
        }
        d->told = h->offset + w->src.got;
        BH_ADD(a->copied, w->src.got);
        BH_ADD(a->pieces, 1);
        return 0;
}

/* For all hooks at the end of a call that moved `n` bytes: a work with nothing known of where they lie, or NULL where nothing is to be told. */
static __noinline struct work *take(struct sock *sk, bool sent, __u32 n) {
        struct work *w = work_take();

        if (w) {
                source_none(&w->src);
                return w;
        }

        struct bh_payload_stream *s = stream_of(sk);
        struct bh_payload_account *a = s ? account_of(s->container) : NULL;
        if (a && s->state == BH_PAYLOAD_FOLLOWED && position(sk, sent) - n == dir_of(s, sent)->seq) {
                BH_ADD(a->moved, n);
                BH_ADD(a->skipped[BH_PAYLOAD_S_BUSY], n);
                dir_of(s, sent)->pos += n;
                dir_of(s, sent)->seq += n;
        }
        return NULL;
}

static __always_inline int give(struct work *w, struct sock *sk, bool sent, __u32 n) {
        payload_moved(w->index, (__u64) sk, sent, n);
        return work_give(w);
}

/* ---- preferred ---- */

static __always_inline int fx_moved(struct sock *sk, struct msghdr *msg, bool sent, __s32 n) {
        struct work *w;

        if (n <= 0 || probing(sent) || !looked_at(sk, sent, n))
                return 0;
        w = take(sk, sent, n);
        if (!w)
                return 0;
        if (msg)
                source_of_iter(&w->src, msg, n);
        if (w->src.back)
                payload_rewind(w->index);
        return give(w, sk, sent, n);
}

SEC("fexit/tcp_sendmsg")
int fx_tcp_sendmsg(__u64 *ctx) {
        return fx_moved((struct sock *) bh_arg(ctx, 0), (struct msghdr *) bh_arg(ctx, 1), true, (__s32) bh_arg(ctx, 3));
}

/* Until 5.18 with `nonblock` before the flags; from 7.1 without the address length behind them. */
const volatile __u32 bh_nargs_tcp_recvmsg = 5;

SEC("fexit/tcp_recvmsg")
int fx_tcp_recvmsg(__u64 *ctx) {
        __u32 flags = (__u32) bh_arg(ctx, bh_nargs_tcp_recvmsg == 6 ? 4 : 3);

        if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
                return 0;
        return fx_moved((struct sock *) bh_arg(ctx, 0), flags & MSG_TRUNC ? NULL : (struct msghdr *) bh_arg(ctx, 1), false, (__s32) bh_arg(ctx, bh_nargs_tcp_recvmsg));
}

/* sendfile() and splice() to a socket, until 6.4: one page a call. */
SEC("fexit/tcp_sendpage")
int fx_tcp_sendpage(__u64 *ctx) {
        struct sock *sk = (struct sock *) bh_arg(ctx, 0);
        __s32 n = (__s32) bh_arg(ctx, 5);
        struct work *w;

        if (n <= 0 || probing(true) || !looked_at(sk, true, n))
                return 0;
        w = take(sk, true, n);
        if (!w)
                return 0;
        w->src.at = page_at(bh_arg(ctx, 1), (__u32) bh_arg(ctx, 2));
        if (w->src.at)
                w->src.kind = SRC_KERNEL;
        return give(w, sk, true, n);
}

/* ---- fallback ---- */

SEC("tp_btf/tcp_sendmsg_locked")
int tp_sending(__u64 *ctx) {
        struct sock *sk = (struct sock *) bh_arg(ctx, 0);
        __u64 id;

        if (call_is_plainest() || !looked_at(sk, true, 0) || call_is_plain(true))
                return 0;
        id = bpf_get_current_pid_tgid();

        struct sending now = { .sk = (__u64) sk, .msg = bh_arg(ctx, 1), .seq = position(sk, true) }, *of;
        /* called for each packet of the message: where it began is what counts */
        of = bpf_map_lookup_elem(&sendings, &id);
        if (of && of->sk == now.sk && of->msg == now.msg && of->seq != now.seq)
                return 0;
        source_of_iter(&now.src, (struct msghdr *) now.msg, 0);
        bpf_map_update_elem(&sendings, &id, &now, BPF_ANY);
        return 0;
}

static __always_inline int tp_moved(struct sock *sk, bool sent, __s32 n, bool discarded) {
        struct sending *of;
        struct work *w;
        __u64 id;

        if (n > 0 && BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX)
                return bh_unix_count((__u64) sk, sent, n, BH_UNIX_BY_PAYLOAD);
        if (probing(sent))
                return 0;
        if (n <= 0) {
                batch_failed();
                return 0;
        }
        /* of io_uring the request is known when it is complete, see below */
        if (!looked_at(sk, sent, n) || (!sent && call_is_uring()))
                return 0;
        w = take(sk, sent, n);
        if (!w)
                return 0;
        id = bpf_get_current_pid_tgid();
        of = sent && !call_is_plain(true) ? bpf_map_lookup_elem(&sendings, &id) : NULL;
        if (of) {
                if (of->sk == (__u64) sk && of->seq == position(sk, true) - n)
                        w->src = of->src;
                bpf_map_delete_elem(&sendings, &id);
        } else if (!discarded) {
                payload_source_of_call(w->index, (__u64) sk, sent);
        }
        return give(w, sk, sent, n);
}

SEC("tp_btf/sock_send_length")
int tp_sent(__u64 *ctx) {
        return tp_moved((struct sock *) bh_arg(ctx, 0), true, (__s32) bh_arg(ctx, 1), false);
}

SEC("tp_btf/sock_recv_length")
int tp_read(__u64 *ctx) {
        __u32 flags = (__u32) bh_arg(ctx, 2);

        if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
                return 0;
        return tp_moved((struct sock *) bh_arg(ctx, 0), false, (__s32) bh_arg(ctx, 1), flags & MSG_TRUNC);
}

/* Set before load: whether the tracepoint's third argument is a pointer to the completion (since 6.16), and not its user_data, with the result after it. */
const volatile __s32 bh_uring_cqe = 0;

/* Completions of requests that go on (multishot) name none: what they moved is seen as a gap by the next one that is. */
SEC("tp_btf/io_uring_complete")
int tp_uring_read(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) bh_arg(ctx, 1);
        __u32 op = req ? BPF_CORE_READ(req, opcode) : 0;
        struct sock *sk;
        struct work *w;
        __s32 n;

        if (!uring_reads(op))
                return 0;
        n = bh_uring_cqe ? BPF_CORE_READ((struct io_uring_cqe *) bh_arg(ctx, 2), res) : (__s32) bh_arg(ctx, 3);
        sk = n > 0 ? sock_of_file(BPF_CORE_READ(req, file)) : NULL;
        if (!sk || !looked_at(sk, false, n))
                return 0;
        w = take(sk, false, n);
        if (!w)
                return 0;
        source_of_uring(&w->src, req, op);
        return give(w, sk, false, n);
}

/* ---- the end of a connection ---- */

static __always_inline void end_gap(struct bh_payload_stream *s, struct sock *sk, bool sent) {
        __u32 n = position(sk, sent) - dir_of(s, sent)->seq;

        if ((__s32) n > 1)
                skip(s, BH_PAYLOAD_S_FORM, n);
}

SEC("tp_btf/tcp_destroy_sock")
int tp_payload_end(__u64 *ctx) {
        struct sock *sk = (struct sock *) bh_arg(ctx, 0);
        __u64 key = (__u64) sk;
        struct bh_payload_stream *s = bpf_map_lookup_elem(&streams, &key);
        struct bh_payload_head *h;

        if (!s)
                return 0;
        /* what nobody saw at the end: the position may have gone on over the other side's FIN */
        if (s->state <= BH_PAYLOAD_HELLO) {
                end_gap(s, sk, false);
                end_gap(s, sk, true);
        }
        if (s->opened && !is_unwanted(s, key)) {
                h = bpf_ringbuf_reserve(&payload_ring, sizeof(*h), 0);
                if (h) {
                        __builtin_memset(h, 0, sizeof(*h));
                        h->flags = BH_PAYLOAD_F_CLOSE;
                        head_of(h, s, sk);
                        bpf_ringbuf_submit(h, BPF_RB_NO_WAKEUP);
                } else {
                        end_lost();
                }
        }
        stream_end(key, s->container);
        return 0;
}

/* ---- functions of TLS libraries; attached by their places in files ---- */

/*
 * Since 6.13 a program of this type has its stack in memory of the CPU, for each program one ("private stack", bpf_enable_priv_stack() in kernel/bpf/verifier.c), as a kprobe's cannot run twice at a time on a
 * CPU. A uprobe's can: it is preempted by another thread that calls the same function, which then writes over its variables. A program that has a tail call has its stack where
 * it belongs; this one leads nowhere, and the program goes on behind it.
 */
struct {
        __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, __u32);
} nowhere SEC(".maps");

static __always_inline void own_stack(struct pt_regs *ctx) {
        bpf_tail_call(ctx, &nowhere, 0);
}

SEC("uprobe")
int up_tls_moves(struct pt_regs *ctx) {
        own_stack(ctx);
        return tls_begins(ctx, true);
}

SEC("uprobe")
int up_tls_handshake(struct pt_regs *ctx) {
        own_stack(ctx);
        return tls_begins(ctx, false);
}

SEC("uretprobe")
int ur_tls_read(struct pt_regs *ctx) {
        own_stack(ctx);
        return tls_ends(ctx, false, false);
}

SEC("uretprobe")
int ur_tls_write(struct pt_regs *ctx) {
        own_stack(ctx);
        return tls_ends(ctx, true, false);
}

SEC("uretprobe")
int ur_tls_read_ex(struct pt_regs *ctx) {
        own_stack(ctx);
        return tls_ends(ctx, false, true);
}

SEC("uretprobe")
int ur_tls_write_ex(struct pt_regs *ctx) {
        own_stack(ctx);
        return tls_ends(ctx, true, true);
}
