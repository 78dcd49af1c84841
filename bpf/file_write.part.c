/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Part of file.bpf.c: the programs that feed written.bpf.h. */
#define IOCB_WRITE (1 << 18)
enum { OP_WRITEV = 2, OP_WRITE_FIXED = 5, OP_WRITE = 23, OP_SPLICE = 30, OP_WRITEV_FIXED = 61 };

/* ---- preferred ---- */

SEC("fexit/vfs_write") /* (file, buffer, count, position) */
int fx_vfs_write(__u64 *ctx) {
        return bh_written_add((struct file *) bh_arg(ctx, 0), (__s64) bh_arg(ctx, 4), -1);
}

SEC("fexit/vfs_writev") /* (file, vector, length, position, flags) */
int fx_vfs_writev(__u64 *ctx) {
        return bh_written_add((struct file *) bh_arg(ctx, 0), (__s64) bh_arg(ctx, 5), -1);
}

SEC("fentry/aio_complete_rw") /* (kiocb, result); not the writer's context, but its entry, or one without descriptor */
int fe_aio_complete_rw(__u64 *ctx) {
        struct kiocb *iocb = (struct kiocb *) bh_arg(ctx, 0);

        return BPF_CORE_READ(iocb, ki_flags) & IOCB_WRITE ? bh_written_add(BPF_CORE_READ(iocb, ki_filp), (__s64) bh_arg(ctx, 1), -1) : 0;
}

static __always_inline bool writes(__u32 op) {
        return op == OP_WRITE || op == OP_WRITEV || op == OP_WRITE_FIXED || op == OP_SPLICE || op == OP_WRITEV_FIXED;
}

/* The last user of the open file is gone; everything about it is still there. */
SEC("fentry/__fput")
int fe_fput(__u64 *ctx) {
        struct file *file = (struct file *) bh_arg(ctx, 0);

        return BPF_CORE_READ(file, f_mode) & BH_FMODE_WRITE ? bh_written_end((__u64) file) : 0;
}

SEC("fexit/mem_write") /* (file, buffer, count, position): the position has moved by what was written */
int fx_mem_write(__u64 *ctx) {
        __s64 ret = (__s64) bh_arg(ctx, 4);
        __u64 at = 0;

        bpf_probe_read_kernel(&at, sizeof(at), (void *) bh_arg(ctx, 3));
        return bh_send_mem_write((struct file *) bh_arg(ctx, 0), ret > 0 ? at - (__u64) ret : at, ret, bh_task_flags(bh_current()));
}

/* ---- both ---- */

/* io_uring writes. 5.10's tracepoint does not say which request it is about, but its workers have these functions. */
SEC("tp_btf/io_uring_complete")
int tp_ring_written(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) bh_arg(ctx, 1);

        if (!bpf_core_field_exists(req->cqe) || !req || !writes(BPF_CORE_READ(req, opcode)))
                return 0;
        return bh_written_add(BPF_CORE_READ(req, file), BPF_CORE_READ(req, cqe.res), -1);
}

/* 5.10: the request begins with the kiocb. kiocb_done() has what was done at once, io_complete_rw() what ended later. */
static __always_inline int ring_written_510(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) bh_arg(ctx, 0);

        if (bpf_core_field_exists(req->cqe) || !writes(BPF_CORE_READ(req, opcode)))
                return 0;
        return bh_written_add(BPF_CORE_READ(req, file), (__s64) bh_arg(ctx, 1), -1);
}

SEC("fentry/kiocb_done")
int fe_kiocb_done(__u64 *ctx) {
        return ring_written_510(ctx);
}

SEC("fentry/io_complete_rw")
int fe_io_complete_rw(__u64 *ctx) {
        return ring_written_510(ctx);
}

/* Between two descriptors: the preferred hook is here too, as no function below is called by these calls alone. `i`: the one written to. */
#define BETWEEN(name, i) \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_of_exit(&c, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                return bh_written_add(bh_file_of_fd((__s32) c.args[i]), c.ret, (__s32) c.args[i]); \
        } \
        SEC("fexit/__x64_sys_" #name) \
        int fx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_native(&c, bh_user_regs(), (__s64) ctx[1]); \
                return bh_written_add(bh_file_of_fd((__s32) c.args[i]), c.ret, -1); \
        }
#define BETWEEN32(program, entry, i) \
        SEC("fexit/" #entry) \
        int program(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]); \
                return bh_written_add(bh_file_of_fd((__s32) c.args[i]), c.ret, -1); \
        }

BETWEEN(sendfile64, 0) /* (out, in, offset, count) */
BETWEEN32(fc_sendfile64, __ia32_compat_sys_sendfile64, 0)
BETWEEN32(fc_sendfile, __ia32_compat_sys_sendfile, 0)
BETWEEN(splice, 2) /* (in, offset, out, offset, count, flags) */
BETWEEN32(fc_splice, __ia32_sys_splice, 2)
BETWEEN(copy_file_range, 2)
BETWEEN32(fc_copy_file_range, __ia32_sys_copy_file_range, 2)

/* ---- fallback ---- */

/* Every write of the machine comes here: first what most are not about. `at`: offset that the call names, or -1. */
static __always_inline int write_exit(struct task_struct *task, __s32 fd, __s64 ret, __s64 at, __u32 flags) {
        struct file *file = bh_task_file(task, fd);
        struct inode *inode = BPF_CORE_READ(file, f_inode);

        if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG)
                return 0;
        if (bh_is_proc_mem(file, inode)) {
                if (at < 0)
                        at = BPF_CORE_READ(file, f_pos) - (ret > 0 ? ret : 0);
                bh_send_mem_write(file, (__u64) at, ret, flags);
        }
        if (ret <= 0 || bh_is_quiet(task))
                return 0;
        return bh_written_add(file, ret, fd);
}

static __always_inline int write_call(__u64 *ctx, bool positioned) {
        const struct pt_regs *regs = (const struct pt_regs *) ctx[0];
        struct task_struct *task = bh_current();
        bool compat = BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
        __s64 ret = compat ? (__s32) ctx[1] : (__s64) ctx[1], at = -1;

        /* the fourth argument; 32-bit calls have the offset in two halves, the fourth and the fifth */
        if (positioned)
                at = compat ? (__s64) ((__u64) (__u32) BPF_CORE_READ(regs, di) << 32 | (__u32) BPF_CORE_READ(regs, si)) : (__s64) BPF_CORE_READ(regs, r10);
        return write_exit(task, (__s32) (compat ? BPF_CORE_READ(regs, bx) : BPF_CORE_READ(regs, di)), ret, at, compat ? BH_RF_COMPAT : 0);
}

#define WRITE_CALL(name, positioned) \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                return write_call(ctx, positioned); \
        }
WRITE_CALL(write, false)
WRITE_CALL(writev, false)
WRITE_CALL(pwrite64, true)
WRITE_CALL(pwritev, true)
WRITE_CALL(pwritev2, true)

SEC("tp_btf/sys_exit")
int sx_close(__u64 *ctx) {
        const struct pt_regs *regs = (const struct pt_regs *) ctx[0];
        bool compat = BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT;

        return bh_written_drop((__u32) (bpf_get_current_pid_tgid() >> 32), (__u32) (compat ? BPF_CORE_READ(regs, bx) : BPF_CORE_READ(regs, di)));
}

SEC("tp_btf/sys_exit")
int sx_close_range(__u64 *ctx) {
        return bh_written_sweep((__u32) (bpf_get_current_pid_tgid() >> 32), 0);
}

/* Descriptors that close themselves at exec. */
SEC("tp_btf/sched_process_exec")
int tb_written_exec(__u64 *ctx) {
        return bh_written_sweep((__u32) (bpf_get_current_pid_tgid() >> 32), 0);
}

SEC("tp_btf/sched_process_exit")
int tb_written_exit(__u64 *ctx) {
        struct task_struct *task = bh_current();
        __u32 tgid = (__u32) (bpf_get_current_pid_tgid() >> 32);

        if (BPF_CORE_READ(task, signal, live.counter) > 0 || !bpf_map_lookup_elem(&written_sets, &tgid))
                return 0;
        bh_written_sweep(tgid, 1);
        bpf_map_delete_elem(&written_sets, &tgid);
        return 0;
}

