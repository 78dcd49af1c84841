/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One handler per system call, two ways to reach it, one event.
 *
 *     BH_SYSCALL(setns) {
 *             ... c->args[0], c->ret ...
 *             return 0;
 *     }
 *
 * makes the handler and two programs around it:
 *   sx_setns   tp_btf/sys_exit, tail-called by the dispatcher for native and 32-bit calls (fallback: every system call of the machine pays
 *              for the dispatcher, so it is attached only while a hook needs it);
 *   fx_setns   fexit/__x64_sys_setns (preferred: no cost for other system calls).
 * BH_SYSCALL32(setns, __ia32_sys_setns) adds fc_setns for the kernel's 32-bit entry point of the same call; calls whose 32-bit
 * form has a layout of its own name the compat function.
 * The sensor's table src/sensor/hooks.tbl.h says which system call numbers lead to which handler.
 *
 * Only the exit of a call is looked at: arguments are still in the saved registers, and the result is known. What the call did is read
 * from kernel objects (descriptor table, sockets) where there are some; user memory is read only for what nothing else holds, and
 * marked BH_RF_PATH_USER because another thread may have changed it since.
 */
#ifndef BH_SYSCALL_BPF_H
#define BH_SYSCALL_BPF_H

#include "core.bpf.h"

struct bh_call {
        __u64 args[6];
        __s64 ret;
        __u32 nr;     /* number in the table of the interface used */
        __u32 compat; /* 1: 32-bit */
};

static __always_inline void bh_call_native(struct bh_call *c, const struct pt_regs *regs, __s64 ret) {
        c->args[0] = BPF_CORE_READ(regs, di);
        c->args[1] = BPF_CORE_READ(regs, si);
        c->args[2] = BPF_CORE_READ(regs, dx);
        c->args[3] = BPF_CORE_READ(regs, r10);
        c->args[4] = BPF_CORE_READ(regs, r8);
        c->args[5] = BPF_CORE_READ(regs, r9);
        c->nr = (__u32) BPF_CORE_READ(regs, orig_ax);
        c->ret = ret;
        c->compat = 0;
}

static __always_inline void bh_call_compat(struct bh_call *c, const struct pt_regs *regs, __s64 ret) {
        c->args[0] = (__u32) BPF_CORE_READ(regs, bx);
        c->args[1] = (__u32) BPF_CORE_READ(regs, cx);
        c->args[2] = (__u32) BPF_CORE_READ(regs, dx);
        c->args[3] = (__u32) BPF_CORE_READ(regs, si);
        c->args[4] = (__u32) BPF_CORE_READ(regs, di);
        c->args[5] = (__u32) BPF_CORE_READ(regs, bp);
        c->nr = (__u32) BPF_CORE_READ(regs, orig_ax);
        c->ret = (__s32) ret;
        c->compat = 1;
}

static __always_inline void bh_call_of_exit(struct bh_call *c, const struct pt_regs *regs, __s64 ret) {
        if (BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT)
                bh_call_compat(c, regs, ret);
        else
                bh_call_native(c, regs, ret);
}

/* 32-bit socketcall(call, arguments): the dispatcher has gone by `call`; here its arguments take the place of the registers. */
#define BH_NR32_SOCKETCALL 102

static __always_inline void bh_call_of_socket_exit(struct bh_call *c, const struct pt_regs *regs, __s64 ret) {
        __u32 args[6] = {}, call;

        bh_call_of_exit(c, regs, ret);
        if (!c->compat || c->nr != BH_NR32_SOCKETCALL)
                return;
        call = (__u32) c->args[0];
        /* fewer arguments than six may end at the end of what is mapped */
        if (bpf_probe_read_user(args, sizeof(args), (const void *) c->args[1]))
                bpf_probe_read_user(args, 3 * sizeof(args[0]), (const void *) c->args[1]);
        for (int i = 0; i < 6; i++)
                c->args[i] = args[i];
        if (call == 9 || call == 10) { /* send and recv are sendto and recvfrom without an address */
                c->args[4] = 0;
                c->args[5] = 0;
        }
}

/*
 * Registers that the current task entered the kernel with. The entry functions get them as their argument too, but on 5.10 some have a
 * prototype whose pt_regs is only declared, and then the verifier lets nobody read it. Without the helper (5.15): the end of a stack
 * of 16 KiB.
 */
static __always_inline const struct pt_regs *bh_user_regs(void) {
        if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs) && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf))
                return (const struct pt_regs *) bpf_task_pt_regs(bpf_get_current_task_btf());
        return (const struct pt_regs *) ((char *) BPF_CORE_READ(bh_current(), stack) + 16384 - bpf_core_type_size(struct pt_regs));
}

/* Argument or result of a traced function, as a number: the verifier would not let a program compute with what it knows to be a pointer. */
static __always_inline __u64 bh_arg(const __u64 *ctx, const __u32 i) {
        __u64 value = 0;

        bh_read(&value, sizeof(value), ctx + i);
        return value;
}

#define BH_SYSCALL(name) \
        static __always_inline int bh_call_##name(struct bh_call *c); \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_of_exit(&c, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                return bh_call_##name(&c); \
        } \
        SEC("fexit/__x64_sys_" #name) \
        int fx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_native(&c, bh_user_regs(), (__s64) ctx[1]); \
                return bh_call_##name(&c); \
        } \
        static __always_inline int bh_call_##name(struct bh_call *c)

#define BH_SYSCALL32(name, entry) \
        SEC("fexit/" #entry) \
        int fc_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]); \
                return bh_call_##name(&c); \
        }

/* Only the fallback: for system calls whose preferred hook is on a kernel object. */
#define BH_SYSCALL_FALLBACK(name) \
        static __always_inline int bh_call_##name(struct bh_call *c); \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_of_exit(&c, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                return bh_call_##name(&c); \
        } \
        static __always_inline int bh_call_##name(struct bh_call *c)

static __always_inline __u32 bh_call_flags(const struct bh_call *c) {
        return c->compat ? BH_RF_COMPAT : 0;
}

#endif
