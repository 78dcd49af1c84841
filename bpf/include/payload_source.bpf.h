/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the bytes lie that a socket call moved, and how they come into a record: by the kernel's own description of the message, by the system call in the task's
 * registers, by the request of io_uring. For payload.bpf.c alone; has its maps.
 */
#ifndef BH_PAYLOAD_SOURCE_BPF_H
#define BH_PAYLOAD_SOURCE_BPF_H

#include "payload_record.h"
#include "sock.bpf.h"
#include "syscall.bpf.h"

#define MSG_OOB 1
#define MSG_TRUNC 0x20
#define ENOSYS 38
#define NR_IO_URING_ENTER 426 /* both interfaces */
#define PARTS_MAX 64     /* of a message; what is behind them is counted as unreadable */
#define REWIND_MAX 1024  /* UIO_MAXIOV */
#define WORKS 3          /* calls at a time on a CPU that interrupt each other */

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, BH_PAYLOAD_RING_BYTES);
} payload_ring SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 65536);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64); /* struct sock * */
        __type(value, struct bh_payload_stream);
} streams SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_payload_config);
} payload_config SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_payload_counts);
} payload_counts SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, BH_PAYLOAD_UNWANTED);
        __type(key, __u32);
        __type(value, __u64);
} unwanted SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384 + 1);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64);
        __type(value, struct bh_payload_rule);
} payload_rules SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
        __uint(max_entries, 16384 + 1);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64);
        __type(value, struct bh_payload_account);
} payload_accounts SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 16384);
        __type(key, __u64);
        __type(value, struct bh_payload_spent);
} payload_spent SEC(".maps");

/* Connections that are known of a container. What is left of one that is gone is the sensor's to delete. */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 16384 + 1);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, __u64);
        __type(value, __u64);
} payload_open SEC(".maps");

static __always_inline struct bh_payload_config *config_of(void) {
        __u32 zero = 0;

        return bpf_map_lookup_elem(&payload_config, &zero);
}

static __always_inline struct bh_payload_counts *counts_of(void) {
        __u32 zero = 0;

        return bpf_map_lookup_elem(&payload_counts, &zero);
}

static __always_inline struct bh_payload_stream *stream_of(struct sock *sk) {
        __u64 key = (__u64) sk;

        return bpf_map_lookup_elem(&streams, &key);
}

/* By a branch: the verifier does not know the product of a number that it has seen to be small. */
static __always_inline struct bh_payload_dir *dir_of(struct bh_payload_stream *s, bool sent) {
        if (sent)
                return &s->dir[1];
        asm volatile("");
        return &s->dir[0];
}

/*
 * Functions that are not static: the verifier looks at such a one once, on its own, and not for each way that leads to it; for these that is the difference between a
 * second and not at all. They take numbers alone (5.10): a work as its index, a socket as its address.
 */

/* ---- where the bytes of a call lie ---- */

enum source_kind {
        SRC_NONE,    /* not known */
        SRC_USER,    /* at `at` in the caller's memory */
        SRC_KERNEL,
        SRC_UVEC,    /* struct iovec at `at`, itself in the caller's memory … */
        SRC_UVEC32,  /* … of the 32-bit interface */
        SRC_VEC,     /* struct iovec at `at` in the kernel's memory, of the caller's */
        SRC_KVEC,    /* the same, of the kernel's */
        SRC_BVEC,    /* struct bio_vec: pages */
};
struct source {
        __u64 at;
        __u64 skip;  /* bytes of the first part that are not meant */
        __u32 kind;
        __u32 got;   /* bytes that payload_copy_part() has put into the record … */
        __u32 want;  /* … of these */
        __u32 back;  /* the message has been consumed by so much since: payload_rewind() */
};

/* Works of a CPU: what a hook needs and the stack, 512 bytes, has no room for. */
struct work {
        struct source src;
        __u32 over[BH_PAYLOAD_S_FULL]; /* bytes that are beyond each bound */
        __u32 index, slot;
        __u32 held;  /* bytes of the record that calls before this one moved */
        struct bh_payload_head head; /* of the record; … */
        __u8 bytes[2 * BH_PAYLOAD_RECORD_BYTES]; /* … twice what it can have, as the verifier knows no sum of two bounded numbers */
};
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, WORKS); /* times the number of CPUs: set before load */
        __type(key, __u32);
        __type(value, struct work);
} payload_works SEC(".maps");
struct works_busy {
        __u32 of[WORKS];
};
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct works_busy);
} payload_busy SEC(".maps");

static __noinline struct work *work_take(void) {
        __u32 zero = 0, i, index;
        struct works_busy *b = bpf_map_lookup_elem(&payload_busy, &zero);
        struct work *w;

        if (!b)
                return NULL;
        if (bh_claim(&b->of[0]))
                i = 0;
        else if (bh_claim(&b->of[1]))
                i = 1;
        else if (bh_claim(&b->of[2]))
                i = 2;
        else
                return NULL;
        index = bpf_get_smp_processor_id() * WORKS + i;
        w = bpf_map_lookup_elem(&payload_works, &index);
        if (!w) {
                bh_unclaim(&b->of[i]);
                return NULL;
        }
        w->index = index;
        w->slot = i;
        w->held = 0;
        __builtin_memset(w->over, 0, sizeof(w->over));
        return w;
}

static __always_inline int work_give(struct work *w) {
        __u32 zero = 0, i = w->slot;
        struct works_busy *b = bpf_map_lookup_elem(&payload_busy, &zero);

        if (b && i < WORKS)
                bh_unclaim(&b->of[i]);
        return 0;
}

static __always_inline void source_none(struct source *src) {
        __builtin_memset(src, 0, sizeof(*src));
}

/* Set before load: addresses of the kernel's variables of these names; 0: not known, and pages cannot be read. */
const volatile __u64 bh_page_offset_base = 0;
const volatile __u64 bh_vmemmap_base = 0;

/* A page's place in the kernel's direct mapping (x86-64, arch/x86/include/asm/page_64.h), 0: not known. */
static __always_inline __u64 page_at(__u64 page, __u32 offset) {
        __u64 direct = 0, pages = 0;

        if (!bh_page_offset_base || !bh_vmemmap_base)
                return 0;
        bpf_probe_read_kernel(&direct, sizeof(direct), (const void *) bh_page_offset_base);
        bpf_probe_read_kernel(&pages, sizeof(pages), (const void *) bh_vmemmap_base);
        if (!direct || !pages || page < pages)
                return 0;
        return direct + (page - pages) / 64 * 4096 + offset;
}

/* The kernel's description of a message, of which `consumed` bytes are behind where it stands. */
static __noinline int source_of_iter(struct source *src, struct msghdr *msg, __u32 consumed) {
        struct iov_iter *it = (struct iov_iter *) ((char *) msg + bpf_core_field_offset(struct msghdr, msg_iter));
        struct iov_iter___old *old = (struct iov_iter___old *) it;
        __u32 type;

        source_none(src);
        src->skip = BPF_CORE_READ(it, iov_offset);
        if (bpf_core_field_exists(it->iter_type))
                type = BPF_CORE_READ(it, iter_type);
        else
                type = BPF_CORE_READ(old, type) & ~1u; /* 5.10: with the direction */
        if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) && type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
                src->kind = SRC_USER;
                src->at = (__u64) BPF_CORE_READ(it, ubuf) + src->skip - consumed;
                src->skip = 0;
                return 0;
        }
        if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC))
                src->kind = SRC_VEC;
        else if (type == bpf_core_enum_value(enum iter_type, ITER_KVEC))
                src->kind = SRC_KVEC;
        else if (type == bpf_core_enum_value(enum iter_type, ITER_BVEC))
                src->kind = SRC_BVEC;
        else
                return 0;
        if (bpf_core_field_exists(it->__iov))
                src->at = (__u64) BPF_CORE_READ(it, __iov);
        else
                src->at = (__u64) BPF_CORE_READ(old, iov);
        if (src->skip >= consumed)
                src->skip -= consumed;
        else
                src->back = consumed;
        return 0;
}

/* Goes back over parts that are consumed. All three kinds of parts are 16 bytes: base or page, then the length; a page's is 32 bits wide. */
__noinline int payload_rewind(__u32 index) {
        struct work *w = bpf_map_lookup_elem(&payload_works, &index);
        __u64 back, at;
        __u32 mask;

        if (!w)
                return 0;
        back = w->src.back - w->src.skip;
        at = w->src.at;
        mask = w->src.kind == SRC_BVEC;
        for (int i = 0; i < REWIND_MAX; i++) {
                __u64 len = 0;

                at -= 16;
                bpf_probe_read_kernel(&len, sizeof(len), (const void *) (at + 8));
                if (mask)
                        len = (__u32) len;
                if (len >= back) {
                        w->src.skip = len - back;
                        w->src.at = at;
                        w->src.back = 0;
                        return 0;
                }
                back -= len;
        }
        w->src.kind = SRC_NONE;
        return 0;
}

/* Puts the next part of the message into the record. 0: that was all that there is, or is wanted. */
__noinline int payload_copy_part(__u32 index, __u32 i) {
        struct work *w = bpf_map_lookup_elem(&payload_works, &index);
        __u64 part[2] = { 0, ~0ull }, n, got;
        const void *from;
        __u32 kind;

        if (!w || w->src.got >= w->src.want)
                return 0;
        kind = w->src.kind;
        from = (const void *) (w->src.at + (__u64) i * 16);
        if (kind == SRC_USER || kind == SRC_KERNEL) {
                if (i)
                        return 0;
                part[0] = w->src.at;
        } else if (kind == SRC_UVEC) {
                if (bpf_probe_read_user(part, sizeof(part), from))
                        return 0;
        } else if (kind == SRC_UVEC32) {
                __u32 narrow[2] = {};

                if (bpf_probe_read_user(narrow, sizeof(narrow), (const void *) (w->src.at + (__u64) i * 8)))
                        return 0;
                part[0] = narrow[0];
                part[1] = narrow[1];
        } else if (kind == SRC_VEC || kind == SRC_KVEC) {
                if (bpf_probe_read_kernel(part, sizeof(part), from))
                        return 0;
        } else if (kind == SRC_BVEC) {
                if (bpf_probe_read_kernel(part, sizeof(part), from))
                        return 0;
                part[0] = page_at(part[0], (__u32) (part[1] >> 32));
                part[1] = (__u32) part[1];
                if (!part[0])
                        return 0;
        } else {
                return 0;
        }
        if (i == 0) {
                part[0] += w->src.skip;
                part[1] = part[1] > w->src.skip ? part[1] - w->src.skip : 0;
        }
        got = w->src.got;
        n = w->src.want - got;
        if (n > part[1])
                n = part[1];
        /* the verifier is to see the bounds of what is really used */
        asm volatile("" : "+r"(n), "+r"(got));
        if (got > BH_PAYLOAD_RECORD_BYTES || n > BH_PAYLOAD_RECORD_BYTES)
                return 0;
        if (!n)
                return 1;
        if (kind == SRC_KERNEL || kind == SRC_KVEC || kind == SRC_BVEC ? bpf_probe_read_kernel(w->bytes + got, n, (const void *) part[0]) :
                                                                        bpf_probe_read_user(w->bytes + got, n, (const void *) part[0]))
                return 0;
        w->src.got = (__u32) (got + n);
        return 1;
}

static __always_inline void copy(struct work *w, __u32 want) {
        __u32 index = w->index;

        w->src.got = 0;
        w->src.want = want;
        if (!want || w->src.kind == SRC_NONE)
                return;
        for (__u32 i = 0; i < PARTS_MAX; i++)
                if (!payload_copy_part(index, i))
                        break;
}

/* ---- the system call that a task is in (fallback) ---- */

/* Where the call of the current task has its message. */
struct call {
        __u64 at;
        __u32 kind;  /* enum source_kind: SRC_USER, SRC_UVEC, SRC_UVEC32; SRC_NONE: no call of these */
        __u32 form;  /* what `at` is */
        __s32 fd;
        __u32 batch; /* messages of sendmmsg() and recvmmsg(); 0: another call */
};
enum { FORM_BYTES, FORM_VEC, FORM_MSG, FORM_BATCH };

static __always_inline void call_set(struct call *c, __u32 form, __u64 at) {
        c->form = form;
        c->at = at;
}

/* FALSE: it is none that sends (or reads) from the caller's memory. What a socket call runs in is a call only until its result stands in the registers (x86-64: ax). */
static __noinline bool call_read(struct call *c, bool sent) {
        const struct pt_regs *regs = bh_user_regs();
        struct bh_call now;
        __u32 nr, compat = BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT;

        __builtin_memset(c, 0, sizeof(*c));
        if (BPF_CORE_READ(bh_current(), flags) & (PF_IO_WORKER | PF_KTHREAD) || (__s32) BPF_CORE_READ(regs, ax) != -ENOSYS)
                return false;
        if (compat)
                bh_call_compat(&now, regs, 0);
        else
                bh_call_native(&now, regs, 0);
        nr = now.nr;
        c->kind = compat ? SRC_UVEC32 : SRC_UVEC;
        c->fd = (__s32) now.args[0];
        if (!compat) {
                if (nr == (sent ? 1 : 0) || nr == (sent ? 44 : 45)) /* write, read; sendto, recvfrom */
                        call_set(c, FORM_BYTES, now.args[1]);
                else if (nr == (sent ? 20 : 19) || nr == (sent ? 328 : 327)) /* writev, readv; pwritev2, preadv2 */
                        call_set(c, FORM_VEC, now.args[1]);
                else if (nr == (sent ? 46 : 47))
                        call_set(c, FORM_MSG, now.args[1]);
                else if (nr == (sent ? 307 : 299))
                        call_set(c, FORM_BATCH, now.args[1]);
                else
                        return false;
        } else if (nr == 102) { /* socketcall */
                __u32 args[4] = {}, what = (__u32) now.args[0];

                if (bpf_probe_read_user(args, sizeof(args), (const void *) now.args[1]))
                        return false;
                c->fd = (__s32) args[0];
                now.args[2] = args[2];
                now.args[4] = 0;
                if (what == (sent ? 9 : 10) || what == (sent ? 11 : 12))
                        call_set(c, FORM_BYTES, args[1]);
                else if (what == (sent ? 16 : 17))
                        call_set(c, FORM_MSG, args[1]);
                else if (what == (sent ? 20 : 19))
                        call_set(c, FORM_BATCH, args[1]);
                else
                        return false;
                if (what == 19)
                        return false; /* with a timeout in memory: see below */
        } else {
                if (nr == (sent ? 4 : 3) || nr == (sent ? 369 : 371))
                        call_set(c, FORM_BYTES, now.args[1]);
                else if (nr == (sent ? 146 : 145) || nr == (sent ? 379 : 378))
                        call_set(c, FORM_VEC, now.args[1]);
                else if (nr == (sent ? 370 : 372))
                        call_set(c, FORM_MSG, now.args[1]);
                else if (nr == (sent ? 345 : 337) || (!sent && nr == 417))
                        call_set(c, FORM_BATCH, now.args[1]);
                else
                        return false;
        }
        if (c->form == FORM_BYTES)
                c->kind = SRC_USER;
        if (c->form == FORM_BATCH) {
                c->batch = (__u32) now.args[2];
                /* a call that ends at its timeout ends without a sign, and the messages could no longer be counted */
                if (!sent && now.args[4])
                        return false;
        }
        return true;
}

/* How many messages of the current sendmmsg() or recvmmsg() are done, by thread: each ends in one socket call. */
struct batch {
        __u64 sk, at;
        __u32 done, sent;
};
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 1024);
        __type(key, __u64);
        __type(value, struct batch);
} batches SEC(".maps");

/* A message that is being sent, by thread: where it lies and where in the stream it begins. */
struct sending {
        __u64 sk, msg;
        __u32 seq, pad;
        struct source src;
};
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 8192);
        __type(key, __u64);
        __type(value, struct sending);
} sendings SEC(".maps");

/* Most calls that send, told at little cost: write, sendto, sendmsg, writev, of the 64-bit interface. Others may be plain as well. */
static __always_inline bool call_is_plainest(void) {
        const struct pt_regs *regs = bh_user_regs();
        __u32 nr = (__u32) BPF_CORE_READ(regs, orig_ax);

        return (nr == 1 || nr == 44 || nr == 46 || nr == 20) && (__s32) BPF_CORE_READ(regs, ax) == -ENOSYS && !(BPF_CORE_READ(bh_current(), flags) & (PF_IO_WORKER | PF_KTHREAD)) &&
               !(BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT);
}

static __always_inline bool call_is_plain(bool sent) {
        struct call c;

        return call_read(&c, sent) && !c.batch;
}

/* The caller's struct msghdr at `at`: its vector. */
static __always_inline int source_of_msghdr(struct source *src, __u64 at, bool compat) {
        if (compat) {
                __u32 iov = 0;

                if (bpf_probe_read_user(&iov, sizeof(iov), (const void *) (at + 8)))
                        return -1;
                src->at = iov;
                src->kind = SRC_UVEC32;
        } else {
                __u64 iov = 0;

                if (bpf_probe_read_user(&iov, sizeof(iov), (const void *) (at + 16)))
                        return -1;
                src->at = iov;
                src->kind = SRC_UVEC;
        }
        return 0;
}

/*
 * Where the message lies of a socket call that is at its end. Counts the messages of a batch: the next one of the same system call finds how many are done. A system call
 * that ends early does so by a socket call that fails, see batch_failed().
 */
__noinline int payload_source_of_call(__u32 index, __u64 socket, __u32 sent) {
        struct work *w = bpf_map_lookup_elem(&payload_works, &index);
        struct sock *sk = (struct sock *) socket;
        struct source *src;
        __u64 id = bpf_get_current_pid_tgid();
        struct batch *b, now = { .sk = (__u64) sk, .sent = sent, .done = 1 };
        struct bh_payload_counts *counts = counts_of();
        struct call c;
        bool compat;

        if (!w)
                return 0;
        src = &w->src;
        if (!call_read(&c, sent) || sock_of_file(bh_file_of_fd(c.fd)) != sk)
                return 0;
        compat = c.kind == SRC_UVEC32;
        if (c.form == FORM_MSG) {
                source_of_msghdr(src, c.at, compat);
        } else if (c.form == FORM_BATCH) {
                b = bpf_map_lookup_elem(&batches, &id);
                now.at = c.at;
                if (b && b->sk == now.sk && b->at == now.at && b->sent == sent)
                        now.done = b->done + 1;
                source_of_msghdr(src, c.at + (__u64) (now.done - 1) * (compat ? 32 : 64), compat);
                if (now.done >= c.batch)
                        bpf_map_delete_elem(&batches, &id);
                else
                        bpf_map_update_elem(&batches, &id, &now, BPF_ANY);
                if (counts)
                        *(volatile __u64 *) &counts->batching = 1;
        } else {
                src->kind = c.kind;
                src->at = c.at;
        }
        return 0;
}

/* A socket call that io_uring makes: in a thread of its own, in io_uring_enter(), or on a task's way out of any call. */
static __always_inline bool call_is_uring(void) {
        const struct pt_regs *regs = bh_user_regs();

        return BPF_CORE_READ(bh_current(), flags) & PF_IO_WORKER || (__u32) BPF_CORE_READ(regs, orig_ax) == NR_IO_URING_ENTER || (__s32) BPF_CORE_READ(regs, ax) != -ENOSYS;
}

#define IORING_OP_READV 1
#define IORING_OP_READ_FIXED 4
#define IORING_OP_RECVMSG 10
#define IORING_OP_READ 22
#define IORING_OP_RECV 27

/* Whether a request of io_uring is one that reads. */
static __always_inline bool uring_reads(__u32 op) {
        return op == IORING_OP_RECV || op == IORING_OP_RECVMSG || op == IORING_OP_READ || op == IORING_OP_READV || op == IORING_OP_READ_FIXED;
}

static __noinline int source_of_uring(struct source *src, struct io_kiocb *req, __u32 op) {
        struct io_sr_msg *msg = (struct io_sr_msg *) req;
        struct io_rw *rw = (struct io_rw *) req;
        bool compat = BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT;

        if (op == IORING_OP_RECV) {
                src->at = (__u64) BPF_CORE_READ(msg, buf);
                if (bpf_core_field_exists(msg->done_io)) /* it came in parts */
                        src->at -= BPF_CORE_READ(msg, done_io);
                src->kind = SRC_USER;
        } else if (op == IORING_OP_RECVMSG) {
                source_of_msghdr(src, (__u64) BPF_CORE_READ(msg, buf), compat);
        } else {
                src->at = BPF_CORE_READ(rw, addr);
                src->kind = op == IORING_OP_READV ? compat ? SRC_UVEC32 : SRC_UVEC : SRC_USER;
        }
        return 0;
}

static __always_inline void batch_failed(void) {
        struct bh_payload_counts *counts = counts_of();
        __u64 id;

        if (!counts || !counts->batching)
                return;
        id = bpf_get_current_pid_tgid();
        bpf_map_delete_elem(&batches, &id);
}

#endif
