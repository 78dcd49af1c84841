// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Life of processes and cgroups: exec, fork, exit, cgroup create, remove, attach. All from tracepoints of the scheduler and of cgroups, which
 * cost nothing elsewhere and are there on every kernel; so these hooks have one backend.
 *
 * Here too the kernel's own knowledge of containers is kept: `cgroups` (which cgroup belongs to which container, by the shape of its
 * name, children like parents; the sensor adds what only a runtime can tell) and `procs` (origin container of each process).
 */
#include "core.bpf.h"
#include "exe.bpf.h"
#include "subject.bpf.h"
#include "syscall.bpf.h"

#define CLONE_THREAD 0x00010000
#define S_ISUID 04000
#define SIGNAL_GROUP_EXIT 4
#define EEXIST 17

/* ---- containers and origin ---- */

/* A run of 64 hexadecimal digits: how docker, containerd, cri-o and podman name a container's cgroup, with or without systemd's prefix and suffix. */
static __noinline int named_like_container(const char *name) {
        unsigned char text[112] = {};
        __u32 run = 0, found = 0;

        bpf_probe_read_kernel_str(text, sizeof(text), name);
        for (int i = 0; i < (int) sizeof(text); i++) {
                /* without branches: the verifier would follow each combination */
                __u32 digit = ((__u32) text[i] - '0' - 10) >> 31 & ~(((__u32) text[i] - '0') >> 31);
                __u32 letter = ((__u32) text[i] - 'a' - 6) >> 31 & ~(((__u32) text[i] - 'a') >> 31);

                run = (run + 1) & -(digit | letter);
                asm volatile("" : "+r"(run));
                found |= run & 64; /* text is shorter than 128, so bit 6 says "64 or more" */
        }
        return found != 0;
}

static __always_inline void set_origin(__u32 tgid, __u64 start, __u64 origin) {
        struct bh_proc p = { .start = start, .origin = origin };

        if (origin && bpf_map_update_elem(&procs, &tgid, &p, BPF_ANY))
                bh_count_lost(0, BH_EV_FORK, BH_LOST_STATE_FULL);
}

/* ---- exec ---- */

/* `len` bytes of the new program's argument area, cut at `max`, which is constant. */
static __always_inline int put_args(struct bh_buf *b, __u32 tag, unsigned long at, __u64 len, const __u32 max) {
        __u32 off = b->rec.size;
        __u64 n = len < max ? len : max;

        if (off > BH_BUF_SIZE - max - 16 || !n)
                return 0;
        asm volatile("" : "+r"(n));
        if (n > max)
                return 0;
        if (bpf_probe_read_user(b->raw + off + sizeof(struct bh_chunk), n, (void *) at)) {
                b->rec.flags |= BH_RF_FAULT;
                return 0;
        }
        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = (__u16) tag;
        c->len = (__u16) n;
        b->rec.size = off + sizeof(*c) + (__u32) n;
        return len > max;
}

/* Modification time in ns; renamed twice like the change time (bh_ctime). */
static __always_inline __u64 exe_mtime(struct inode *inode) {
        if (bpf_core_field_exists(inode->i_mtime_sec))
                return (__u64) BPF_CORE_READ(inode, i_mtime_sec) * 1000000000ull + BPF_CORE_READ(inode, i_mtime_nsec);
        if (bpf_core_field_exists(inode->__i_mtime))
                return (__u64) BPF_CORE_READ(inode, __i_mtime.tv_sec) * 1000000000ull + (__u64) BPF_CORE_READ(inode, __i_mtime.tv_nsec);

        struct inode___old *old = (void *) inode;
        return (__u64) BPF_CORE_READ(old, i_mtime.tv_sec) * 1000000000ull + (__u64) BPF_CORE_READ(old, i_mtime.tv_nsec);
}

static __always_inline void exec_info(struct bh_buf *b, struct task_struct *task, struct linux_binprm *bprm, struct file *exe) {
        struct inode *inode = BPF_CORE_READ(exe, f_inode);
        struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry);
        struct mm_struct *mm = BPF_CORE_READ(task, mm);
        struct nsproxy *ns = BPF_CORE_READ(task, nsproxy);
        struct signal_struct *signal = BPF_CORE_READ(task, signal);
        struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid), *group = NULL, *session = NULL;
        unsigned int level = BPF_CORE_READ(pid, level);
        struct upid numbers = {};
        struct bh_exec_info x = {
                .ino = BPF_CORE_READ(inode, i_ino),
                .ctime = bh_ctime(inode),
                .dev = BPF_CORE_READ(inode, i_sb, s_dev),
                .mode = BPF_CORE_READ(inode, i_mode),
                .owner_uid = BPF_CORE_READ(inode, i_uid.val),
                .owner_gid = BPF_CORE_READ(inode, i_gid.val),
                .net_ns = BPF_CORE_READ(ns, net_ns, ns.inum),
                .ipc_ns = BPF_CORE_READ(ns, ipc_ns, ns.inum),
                .uts_ns = BPF_CORE_READ(ns, uts_ns, ns.inum),
                .cgroup_ns = BPF_CORE_READ(ns, cgroup_ns, ns.inum),
                .user_ns = BPF_CORE_READ(task, cred, user_ns, ns.inum),
                .loginuid = BPF_CORE_READ(task, loginuid.val),
                .argc = (__u32) BPF_CORE_READ(bprm, argc),
                .arg_len = (__u32) (BPF_CORE_READ(mm, arg_end) - BPF_CORE_READ(mm, arg_start)),
                .env_len = (__u32) (BPF_CORE_READ(mm, env_end) - BPF_CORE_READ(mm, env_start)),
        };

        /* the process's own pid namespace is the deepest of its pid */
        bpf_probe_read_kernel(&numbers, sizeof(numbers),
                              (char *) pid + bpf_core_field_offset(struct pid, numbers) + (level & 31) * bpf_core_type_size(struct upid));
        x.vpid = (__u32) numbers.nr;
        x.pid_ns = BPF_CORE_READ(numbers.ns, ns.inum);

        /* PIDTYPE_PGID is 2, PIDTYPE_SID 3 since 4.19; numbers[0] is the id in the initial namespace */
        bh_read(&group, sizeof(group), (char *) signal + bpf_core_field_offset(struct signal_struct, pids) + 2 * sizeof(void *));
        bh_read(&session, sizeof(session), (char *) signal + bpf_core_field_offset(struct signal_struct, pids) + 3 * sizeof(void *));
        bh_read(&x.pgid, sizeof(x.pgid), (char *) group + bpf_core_field_offset(struct pid, numbers));
        bh_read(&x.sid, sizeof(x.sid), (char *) session + bpf_core_field_offset(struct pid, numbers));

        struct tty_struct___drv *tty = (void *) BPF_CORE_READ(signal, tty);
        if (tty)
                x.tty = (__u32) (BPF_CORE_READ(tty, driver, major) << 8 | (BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index)));

        if (bh_exe_deleted(inode, dentry))
                b->rec.flags |= BH_RF_EXE_DELETED;
        b->rec.flags |= bh_exe_layer(inode);
        b->rec.a[0] = exe_mtime(inode);
        bh_put_struct(b, BH_TAG_EXEC, &x, sizeof(x));

        if (bh_exe_memfd(inode, dentry))
                b->rec.flags |= BH_RF_EXE_MEMFD;
}

SEC("tp_btf/sched_process_exec")
int tp_exec(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) ctx[0];
        struct linux_binprm *bprm = (struct linux_binprm *) ctx[2];
        struct mm_struct *mm = BPF_CORE_READ(task, mm);
        struct file *exe = BPF_CORE_READ(mm, exe_file);
        __u32 tgid = (__u32) BPF_CORE_READ(task, tgid);

        /* a process that was in a container's cgroup before anyone knew it to be one gets its origin here at the latest */
        if (!bpf_map_lookup_elem(&procs, &tgid)) {
                __u64 origin = bh_container_of(bh_task_cgroup(task));

                if (origin) {
                        set_origin(tgid, BPF_CORE_READ(task, group_leader, start_boottime), origin);
                        bh_quiet_changed();
                }
        }

        struct bh_buf *b = bh_begin(BH_EV_EXEC, 0, 0);
        if (!b)
                return 0;
        exec_info(b, task, bprm, exe);
        bh_put_cred(b, BH_TAG_CRED, BPF_CORE_READ(task, cred));
        bh_put_file_path(b, BH_TAG_EXE, exe);
        bh_put_path(b, BH_TAG_CWD, BPF_CORE_READ(task, fs, pwd.mnt), BPF_CORE_READ(task, fs, pwd.dentry));
        bh_put_kernel_str(b, BH_TAG_SCRIPT, BPF_CORE_READ(bprm, filename), BH_PATH_MAX);

        unsigned long from = BPF_CORE_READ(mm, arg_start), to = BPF_CORE_READ(mm, arg_end);
        if (put_args(b, BH_TAG_ARGV, from, to - from, BH_ARGV_MAX))
                b->rec.flags |= BH_RF_ARGS_CUT;
        from = BPF_CORE_READ(mm, env_start);
        to = BPF_CORE_READ(mm, env_end);
        if (put_args(b, BH_TAG_ENVP, from, to - from, BH_ENVP_MAX))
                b->rec.flags |= BH_RF_ENV_CUT;
        return bh_end(b);
}

/* ---- fork ---- */

SEC("tp_btf/task_newtask")
int tp_fork(__u64 *ctx) {
        struct task_struct *child = (struct task_struct *) ctx[0], *task = bh_current();
        __u64 flags = ctx[1];

        if (flags & CLONE_THREAD)
                return 0;

        /* the child's cgroup is settled (CLONE_INTO_CGROUP too), it has not run yet */
        __u32 tgid = (__u32) BPF_CORE_READ(task, tgid), child_tgid = (__u32) BPF_CORE_READ(child, tgid);
        __u64 start = BPF_CORE_READ(child, start_boottime), cgroup = bh_task_cgroup(child);
        struct bh_proc *parent = bpf_map_lookup_elem(&procs, &tgid);
        __u64 origin = parent && parent->start == BPF_CORE_READ(task, group_leader, start_boottime) ? parent->origin : 0;

        if (!origin)
                origin = bh_container_of(cgroup);
        if (origin)
                set_origin(child_tgid, start, origin);
        else
                bpf_map_delete_elem(&procs, &child_tgid); /* a leftover of an earlier process with this id */

        struct bh_buf *b = bh_begin(BH_EV_FORK, 0, 0);
        if (!b)
                return 0;

        struct pid *pid = BPF_CORE_READ(child, thread_pid);
        unsigned int level = BPF_CORE_READ(pid, level);
        int vpid = 0;
        bh_read(&vpid, sizeof(vpid), (char *) pid + bpf_core_field_offset(struct pid, numbers) + (level & 31) * bpf_core_type_size(struct upid));

        b->rec.ret = child_tgid;
        b->rec.a[0] = child_tgid;
        b->rec.a[1] = start;
        b->rec.a[2] = flags;
        b->rec.a[3] = (__u32) vpid;
        b->rec.a[4] = cgroup;
        b->rec.a[5] = origin;
        return bh_end(b);
}

/* ---- exit ---- */

/* Processes of several threads whose end was told: threads that end at the same time may all find nobody left. */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 4096);
        __type(key, __u32);
        __type(value, __u64); /* start */
        BH_PINNED;
} ended SEC(".maps");

static __always_inline bool ended_already(struct task_struct *task, struct signal_struct *signal, __u32 tgid) {
        __u64 start = BPF_CORE_READ(task, group_leader, start_boottime), *known = bpf_map_lookup_elem(&ended, &tgid);

        if (known && *known == start)
                return true;
        if (BPF_CORE_READ(signal, nr_threads) <= 1)
                return false;
        if (known) /* of an earlier process with this id */
                bpf_map_delete_elem(&ended, &tgid);
        return bpf_map_update_elem(&ended, &tgid, &start, BPF_NOEXIST) == -EEXIST;
}

SEC("tp_btf/sched_process_exit")
int tp_exit(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) ctx[0];
        struct signal_struct *signal = BPF_CORE_READ(task, signal);
        __u32 tgid = (__u32) BPF_CORE_READ(task, tgid);

        /* do_exit() has already taken this task off `live`: nobody left means that the process ends with this thread */
        if (BPF_CORE_READ(signal, live.counter) > 0 || ended_already(task, signal, tgid))
                return 0;

        struct bh_buf *b = bh_begin(BH_EV_EXIT, 0, 0);
        if (b) {
                /* what wait_task_zombie() gives to the parent */
                bool group = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT;

                b->rec.a[0] = (__u32) (group ? BPF_CORE_READ(signal, group_exit_code) : BPF_CORE_READ(task, group_leader, exit_code));
                bh_end(b);
        }
        bpf_map_delete_elem(&procs, &tgid);
        return 0;
}

/* ---- cgroups ---- */

SEC("tp_btf/cgroup_mkdir")
int tp_cgroup_create(__u64 *ctx) {
        struct cgroup *cgrp = (struct cgroup *) ctx[0];
        const char *path = (const char *) ctx[1];

        if (BPF_CORE_READ(cgrp, root, hierarchy_id) != bh_cgroup_hierarchy)
                return 0;

        __u64 id = bh_kn_id(cgrp), parent = 0;
        struct cgroup_subsys_state *up = BPF_CORE_READ((struct cgroup___self *) cgrp, self.parent);
        if (up)
                parent = BPF_CORE_READ(up, cgroup, kn, id);

        struct bh_cgroup cg = {};
        if (named_like_container(BPF_CORE_READ(cgrp, kn, name)))
                cg.container = id;
        else
                cg.container = bh_container_of(parent);
        if (bpf_map_update_elem(&cgroups, &id, &cg, BPF_NOEXIST))
                bh_count_lost(0, BH_EV_CGROUP_CREATE, BH_LOST_STATE_FULL);

        struct bh_buf *b = bh_begin(BH_EV_CGROUP_CREATE, 0, 0);
        if (!b)
                return 0;
        b->rec.a[0] = id;
        b->rec.a[1] = parent;
        bh_put_kernel_str(b, BH_TAG_PATH, path, BH_PATH_MAX);
        return bh_end(b);
}

SEC("tp_btf/cgroup_rmdir")
int tp_cgroup_remove(__u64 *ctx) {
        struct cgroup *cgrp = (struct cgroup *) ctx[0];

        if (BPF_CORE_READ(cgrp, root, hierarchy_id) != bh_cgroup_hierarchy)
                return 0;

        __u64 id = bh_kn_id(cgrp);
        bpf_map_delete_elem(&cgroups, &id);

        struct bh_buf *b = bh_begin(BH_EV_CGROUP_REMOVE, 0, 0);
        if (!b)
                return 0;
        b->rec.a[0] = id;
        bh_put_kernel_str(b, BH_TAG_PATH, (const char *) ctx[1], BH_PATH_MAX);
        return bh_end(b);
}

SEC("tp_btf/cgroup_attach_task")
int tp_cgroup_attach(__u64 *ctx) {
        struct cgroup *cgrp = (struct cgroup *) ctx[0];
        struct task_struct *task = (struct task_struct *) ctx[2];

        if (BPF_CORE_READ(cgrp, root, hierarchy_id) != bh_cgroup_hierarchy)
                return 0;

        __u64 id = bh_kn_id(cgrp), start = BPF_CORE_READ(task, group_leader, start_boottime);
        __u32 tgid = (__u32) BPF_CORE_READ(task, tgid);
        struct bh_proc *p = bpf_map_lookup_elem(&procs, &tgid);

        if (!p || p->start != start)
                set_origin(tgid, start, bh_container_of(id));
        bh_quiet_changed();

        struct bh_buf *b = bh_begin(BH_EV_CGROUP_ATTACH, 0, 0);
        if (!b)
                return 0;
        b->rec.a[0] = id;
        b->rec.a[1] = tgid;
        b->rec.a[2] = start;
        bh_put_kernel_str(b, BH_TAG_PATH, (const char *) ctx[1], BH_PATH_MAX);
        return bh_end(b);
}

/* ---- the fallback's dispatcher ---- */

/* Index: system call number, + 512 for the 32-bit interface; 1024 + call for its socketcall. Handlers are of all objects; the sensor fills it. */
struct {
        __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
        __uint(max_entries, 1088);
        __type(key, __u32);
        __type(value, __u32);
        BH_PINNED;
} syscalls SEC(".maps");

/* What the sensor has entered there: every system call of the machine looks here, and no further if nobody watches its number. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct bh_watch);
        BH_PINNED;
} watch SEC(".maps");

SEC("tp_btf/sys_exit")
int dispatch(__u64 *ctx) {
        const struct pt_regs *regs = (const struct pt_regs *) ctx[0];
        __u32 nr = (__u32) BPF_CORE_READ(regs, orig_ax), zero = 0, of;
        struct bh_watch *w = bpf_map_lookup_elem(&watch, &zero);
        struct task_struct *task;
        __s64 ret = (__s64) ctx[1];
        __s32 fd;

        /* x32 calls (bit 30) have the native arguments; numbers 512 and up are x32's own and lead to the same calls by another layout */
        if (nr & 0x40000000)
                nr &= ~0x40000000;
        if (!w || nr >= 512)
                return 0;
        of = w->of[nr];
        if (!of)
                return 0;
        task = bh_current();
        if (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) {
                of >>= BH_WATCH_COMPAT;
                nr = nr == BH_NR32_SOCKETCALL ? 1024 + ((__u32) BPF_CORE_READ(regs, bx) & 63) : nr + 512;
                fd = (__s32) BPF_CORE_READ(regs, bx);
                ret = (__s32) ret;
        } else {
                fd = (__s32) BPF_CORE_READ(regs, di);
        }
        if (!(of & BH_WATCH_CALL))
                return 0;
        if (BH_WATCH_SUBJECT(of) && bh_subject_is_nothing(task, BH_WATCH_SUBJECT(of), fd, ret))
                return 0;
        if (of & BH_WATCH_BULK && bh_is_quiet(task))
                return 0;
        bpf_tail_call(ctx, &syscalls, nr);
        return 0;
}
