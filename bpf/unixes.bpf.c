// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What connected Unix sockets move, for the map: see struct bh_unix_moved. The kernel keeps no such counters, so each message is looked at where it has been sent.
 *
 * Preferred: at the end of the functions of Unix sockets, which every form of call comes to (write, send, sendfile, splice, io_uring); other sockets pay nothing.
 * Fallback (6.5): tp_btf/sock_send_length, at the end of every call that sends, over any socket; not attached while the programs of payload.bpf.c are, which are there already and count
 * for these.
 */
#include "syscall.bpf.h"
#include "unix.bpf.h"

static __always_inline int fx_moved(__u64 socket, __u32 sent, __s32 n) {
        struct sock *sk = BPF_CORE_READ((struct socket *) socket, sk);

        return sk && n > 0 ? bh_unix_count((__u64) sk, sent, (__u32) n, BH_UNIX_BY_ITS_OWN) : 0;
}

SEC("fexit/unix_stream_sendmsg")
int fx_unix_stream(__u64 *ctx) {
        return fx_moved(bh_arg(ctx, 0), 1, (__s32) bh_arg(ctx, 3));
}

/* Sequenced packets come to the same function. */
SEC("fexit/unix_dgram_sendmsg")
int fx_unix_dgram(__u64 *ctx) {
        return fx_moved(bh_arg(ctx, 0), 1, (__s32) bh_arg(ctx, 3));
}

SEC("fexit/unix_dgram_recvmsg")
int fx_unix_dgram_read(__u64 *ctx) {
        return (__u32) bh_arg(ctx, 3) & (MSG_PEEK | MSG_ERRQUEUE) ? 0 : fx_moved(bh_arg(ctx, 0), 0, (__s32) bh_arg(ctx, 4));
}

/* sendfile() and splice() to a stream, until 6.4. */
SEC("fexit/unix_stream_sendpage")
int fx_unix_page(__u64 *ctx) {
        return fx_moved(bh_arg(ctx, 0), 1, (__s32) bh_arg(ctx, 5));
}

SEC("tp_btf/sock_send_length")
int tp_unix_sent(__u64 *ctx) {
        struct sock *sk = (struct sock *) bh_arg(ctx, 0);
        __s32 n = (__s32) bh_arg(ctx, 1);

        return n > 0 && BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX ? bh_unix_count((__u64) sk, 1, (__u32) n, BH_UNIX_BY_ITS_OWN) : 0;
}
