// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a process does to itself and to the kernel: credentials, namespaces, root and working directory, standard streams, its name, system
 * call filters, modules, bpf, other kernels, performance events, rings. What it does to memory and to other processes: security.bpf.c.
 *
 * Where an act has one kernel function that every way leads through (commit_creds, do_seccomp) the preferred hook is there; the others
 * are the exits of the system calls themselves.
 */
#include "core.bpf.h"
#include "syscall.bpf.h"
#include "target.bpf.h"
#include "written.bpf.h"

/* ---- credentials ---- */

#define SECBIT_KEEP_CAPS 0x10
#define BH_GROUPS_SEEN 32

struct creds {
        struct bh_cred c;
        __u64 groups; /* hash over the supplementary groups */
};
struct creds_known {
        __u64 start; /* of the thread: an id is used again */
        struct creds is;
};
_Static_assert(sizeof(struct bh_cred) == 80, "compared as nine words and two halves");

/*
 * Fallback only: credentials that each thread had when last looked at, so that a call that succeeded and changed nothing is no event and
 * one that did can tell what was before. Filled when a thread is made and at exec. A thread that is not in it (older than the sensor,
 * or pushed out: the least recently used goes) has its first successful call reported without what was before.
 */
struct {
        __uint(type, BPF_MAP_TYPE_LRU_HASH);
        __uint(max_entries, 16384);
        __type(key, __u32);
        __type(value, struct creds_known);
        BH_PINNED;
} creds_seen SEC(".maps");

static __noinline int read_creds(struct creds *to, const struct cred *cred) {
        struct group_info *groups = BPF_CORE_READ(cred, group_info);
        __u32 n = (__u32) BPF_CORE_READ(groups, ngroups);
        __u64 hash = n;

        to->c.uid = BPF_CORE_READ(cred, uid.val);
        to->c.gid = BPF_CORE_READ(cred, gid.val);
        to->c.suid = BPF_CORE_READ(cred, suid.val);
        to->c.sgid = BPF_CORE_READ(cred, sgid.val);
        to->c.euid = BPF_CORE_READ(cred, euid.val);
        to->c.egid = BPF_CORE_READ(cred, egid.val);
        to->c.fsuid = BPF_CORE_READ(cred, fsuid.val);
        to->c.fsgid = BPF_CORE_READ(cred, fsgid.val);
        bh_read_caps(&to->c.cap_inheritable, __builtin_preserve_access_index(&cred->cap_inheritable));
        bh_read_caps(&to->c.cap_permitted, __builtin_preserve_access_index(&cred->cap_permitted));
        bh_read_caps(&to->c.cap_effective, __builtin_preserve_access_index(&cred->cap_effective));
        bh_read_caps(&to->c.cap_bounding, __builtin_preserve_access_index(&cred->cap_bset));
        bh_read_caps(&to->c.cap_ambient, __builtin_preserve_access_index(&cred->cap_ambient));
        to->c.user_ns = BPF_CORE_READ(cred, user_ns, ns.inum);
        to->c.securebits = BPF_CORE_READ(cred, securebits);

        for (__u32 i = 0; i < BH_GROUPS_SEEN; i++) {
                __u32 gid = 0;

                if (i >= n)
                        break;
                bh_read(&gid, sizeof(gid), (char *) groups + bpf_core_field_offset(struct group_info, gid) + i * sizeof(gid));
                hash = bh_hash(hash, gid);
        }
        /* longer lists: the list itself stands for its content, so setting an equal one counts as a change */
        to->groups = n > BH_GROUPS_SEEN ? bh_hash(hash, (__u64) groups) : hash;
        return 0;
}

static __noinline __u64 hash_creds(const struct creds *s) {
        const __u64 *w = (const __u64 *) s;
        __u64 hash = s->groups;

        for (int i = 0; i < 9; i++)
                hash = bh_hash(hash, w[i]);
        /* PR_SET_KEEPCAPS is a wish for the next setuid, not a privilege */
        return bh_hash(hash, (__u64) s->c.user_ns << 32 | (s->c.securebits & ~SECBIT_KEEP_CAPS));
}

static __noinline int send_creds(const struct creds *now, const struct creds *old, __u64 hash) {
        struct bh_buf *b = bh_begin(BH_EV_CREDS, hash, 0);

        if (!b)
                return 0;
        b->rec.flags |= bh_compat_task() ? BH_RF_COMPAT : 0;
        bh_put_struct(b, BH_TAG_CRED, &now->c, sizeof(now->c));
        if (old)
                bh_put_struct(b, BH_TAG_CRED_OLD, &old->c, sizeof(old->c));
        return bh_end(b);
}

/* Every change of a task's own credentials goes through here, setns and unshare of a user namespace too; exec does, and tells by itself. */
SEC("fentry/commit_creds")
int fe_commit_creds(__u64 *ctx) {
        struct task_struct *task = bh_current();
        struct creds now, old;
        __u64 hash;

        if (BPF_CORE_READ_BITFIELD_PROBED(task, in_execve) || BPF_CORE_READ(task, flags) & PF_KTHREAD)
                return 0;
        read_creds(&now, (const struct cred *) ctx[0]);
        read_creds(&old, BPF_CORE_READ(task, real_cred));
        hash = hash_creds(&now);
        if (hash != hash_creds(&old))
                send_creds(&now, &old, hash);
        return 0;
}

static __noinline int remember_creds(struct task_struct *task, const struct cred *cred) {
        struct creds_known known;
        __u32 tid = (__u32) BPF_CORE_READ(task, pid);

        known.start = BPF_CORE_READ(task, start_boottime);
        read_creds(&known.is, cred);
        bpf_map_update_elem(&creds_seen, &tid, &known, BPF_ANY);
        return 0;
}

SEC("tp_btf/task_newtask")
int tp_creds_fork(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) ctx[0];

        return remember_creds(task, BPF_CORE_READ(task, real_cred));
}

SEC("tp_btf/sched_process_exec")
int tp_creds_exec(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) ctx[0];

        return remember_creds(task, BPF_CORE_READ(task, real_cred));
}

/* After a call that may have changed the caller's credentials. `sure`: it did, if nothing is known of before. */
static __noinline int compare_creds(int sure) {
        struct task_struct *task = bh_current();
        __u32 tid = (__u32) bpf_get_current_pid_tgid();
        struct creds_known *known, now;
        __u64 hash;

        now.start = BPF_CORE_READ(task, start_boottime);
        read_creds(&now.is, BPF_CORE_READ(task, real_cred));
        known = bpf_map_lookup_elem(&creds_seen, &tid);
        hash = hash_creds(&now.is);
        if (known && known->start == now.start) {
                if (hash != hash_creds(&known->is))
                        send_creds(&now.is, &known->is, hash);
        } else if (sure) {
                send_creds(&now.is, NULL, hash);
        }
        bpf_map_update_elem(&creds_seen, &tid, &now, BPF_ANY);
        return 0;
}

/* setuid and its sisters, setgroups, capset: 0 is success. */
BH_SYSCALL_FALLBACK(creds) {
        return c->ret == 0 ? compare_creds(1) : 0;
}

/* setfsuid, setfsgid: always return the id that was. */
BH_SYSCALL_FALLBACK(creds_fs) {
        return compare_creds((__u32) c->ret != (__u32) c->args[0]);
}

/* ---- system call filters, and what else prctl does ---- */

#define PR_SET_SECCOMP 22
#define PR_CAPBSET_DROP 24
#define PR_SET_SECUREBITS 28
#define PR_CAP_AMBIENT 47
#define SECCOMP_SET_MODE_STRICT 0
#define SECCOMP_SET_MODE_FILTER 1

static __noinline int send_seccomp(__u32 operation, __u64 flags, __s64 ret) {
        if (operation > SECCOMP_SET_MODE_FILTER)
                return 0; /* questions */

        struct bh_buf *b = bh_begin(BH_EV_SECCOMP, bh_hash(operation << 8 | 1, bh_hash(flags, ret < 0 ? ret : 0)), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_compat_task() ? BH_RF_COMPAT : 0;
        b->rec.ret = ret;
        b->rec.a[0] = operation;
        b->rec.a[1] = flags;
        return bh_end(b);
}

/* long do_seccomp(unsigned int op, unsigned int flags, void __user *uargs): of both calls */
SEC("fexit/do_seccomp")
int fe_seccomp(__u64 *ctx) {
        return send_seccomp((__u32) ctx[0], (__u32) ctx[1], (__s64) ctx[3]);
}

BH_SYSCALL_FALLBACK(seccomp) {
        return send_seccomp((__u32) c->args[0], (__u32) c->args[1], c->ret);
}

/* Modes 1 and 2 are the operations 0 and 1 of seccomp(2). */
static __always_inline int prctl_seccomp(struct bh_call *c) {
        return (__u32) c->args[0] == PR_SET_SECCOMP ? send_seccomp((__u32) c->args[1] - 1, 0, c->ret) : 0;
}

BH_SYSCALL_FALLBACK(prctl) {
        __u32 option = (__u32) c->args[0];

        if ((option == PR_CAPBSET_DROP || option == PR_SET_SECUREBITS || option == PR_CAP_AMBIENT) && c->ret == 0)
                return compare_creds(1);
        return prctl_seccomp(c);
}

/* Where the compiler left no do_seccomp to hook: the calls. Otherwise sx_prctl would have to be there for this hook alone, and tell twice of
 * credentials whose own hook is on commit_creds. */
#define SECCOMP_ENTRY(program, entry, regs_of, body) \
        SEC("fexit/" #entry) \
        int program(__u64 *ctx) { \
                struct bh_call c; \
                regs_of(&c, bh_user_regs(), (__s64) ctx[1]); \
                return body(&c); \
        }

SECCOMP_ENTRY(fe_seccomp_call, __x64_sys_seccomp, bh_call_native, bh_call_seccomp)
SECCOMP_ENTRY(fe_seccomp_call32, __ia32_sys_seccomp, bh_call_compat, bh_call_seccomp)
SECCOMP_ENTRY(fe_seccomp_prctl, __x64_sys_prctl, bh_call_native, prctl_seccomp)
SECCOMP_ENTRY(fe_seccomp_prctl32, __ia32_sys_prctl, bh_call_compat, prctl_seccomp)

/* ---- namespaces ---- */

#define CLONE_NEWUSER 0x10000000

/* Like BH_SYSCALL and BH_SYSCALL32, but on the fallback credentials are looked at too: a user namespace brings new ones. `flags`: which argument. */
#define CALL_WITH_CREDS(name, flags) \
        static __noinline int call_##name(struct bh_call *c); \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_of_exit(&c, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                int user_ns = (c.args[flags] & CLONE_NEWUSER) != 0; \
                call_##name(&c); \
                return c.ret == 0 ? compare_creds(user_ns) : 0; \
        } \
        SEC("fexit/__x64_sys_" #name) \
        int fx_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_native(&c, bh_user_regs(), (__s64) ctx[1]); \
                return call_##name(&c); \
        } \
        SEC("fexit/__ia32_sys_" #name) \
        int fc_##name(__u64 *ctx) { \
                struct bh_call c; \
                bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]); \
                return call_##name(&c); \
        } \
        static __noinline int call_##name(struct bh_call *c)

CALL_WITH_CREDS(setns, 1) {
        struct file *file = bh_file_of_fd((__s32) c->args[0]);
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        __u64 magic = BPF_CORE_READ(inode, i_sb, s_magic), ino = 0;
        __u32 flags = (__u32) c->args[1];

        if (magic == NSFS_MAGIC) {
                ino = BPF_CORE_READ(inode, i_ino);
                if (!flags) { /* whatever the descriptor is of */
                        struct ns_common *ns = (struct ns_common *) BPF_CORE_READ(inode, i_private);

                        if (bpf_core_field_exists(ns->ns_type))
                                flags = BPF_CORE_READ(ns, ns_type);
                        else if (bpf_core_field_exists(ns->ops->type))
                                flags = (__u32) BPF_CORE_READ(ns, ops, type);
                }
        }

        struct bh_buf *b = bh_begin(BH_EV_SETNS, bh_hash(bh_hash(flags, ino), c->ret | 1ull << 32), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[0] = flags;
        b->rec.a[1] = (__u64) (__s32) c->args[0];
        b->rec.a[4] = ino;
        if (file && magic != NSFS_MAGIC)
                bh_put_target(b, bh_task_of_pid(bh_pid_of_pidfd(file)), 2);
        return bh_end(b);
}

CALL_WITH_CREDS(unshare, 0) {
        struct bh_buf *b = bh_begin(BH_EV_UNSHARE, bh_hash(c->args[0], c->ret | 1ull << 32), 0);

        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[0] = (__u32) c->args[0];
        return bh_end(b);
}

/* ---- root and working directory ---- */

/* The directory as the kernel resolved it; the caller's text only where the call failed. */
static __noinline int send_dir(struct bh_call *c, __u32 type) {
        struct fs_struct *fs = BPF_CORE_READ(bh_current(), fs);
        struct vfsmount *mnt = type == BH_EV_CHROOT ? BPF_CORE_READ(fs, root.mnt) : BPF_CORE_READ(fs, pwd.mnt);
        struct dentry *dentry = type == BH_EV_CHROOT ? BPF_CORE_READ(fs, root.dentry) : BPF_CORE_READ(fs, pwd.dentry);
        __u64 dev = 0, ino = 0, place = 0;

        if (c->ret == 0) {
                place = bh_place(mnt, dentry);
                dev = BPF_CORE_READ(dentry, d_sb, s_dev);
                ino = BPF_CORE_READ(dentry, d_inode, i_ino);
        }

        struct bh_buf *b = bh_begin(type, bh_hash(bh_hash(place ^ dev, ino), c->ret | 1ull << 32), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret;
        b->rec.a[0] = dev;
        b->rec.a[1] = ino;
        if (c->ret == 0) {
                bh_put_path(b, BH_TAG_PATH, mnt, dentry);
        } else {
                b->rec.flags |= BH_RF_PATH_USER;
                bh_put_user_str(b, BH_TAG_NAME, (const void *) c->args[0], BH_PATH_MAX);
        }
        return bh_end(b);
}

/* A refused chroot is worth an event, a chdir to where there is nothing is not. */
BH_SYSCALL(chroot) {
        return send_dir(c, BH_EV_CHROOT);
}
BH_SYSCALL32(chroot, __ia32_sys_chroot)

BH_SYSCALL(chdir) {
        return c->ret == 0 ? send_dir(c, BH_EV_CHDIR) : 0;
}
BH_SYSCALL32(chdir, __ia32_sys_chdir)

BH_SYSCALL(fchdir) {
        return c->ret == 0 ? send_dir(c, BH_EV_CHDIR) : 0;
}
BH_SYSCALL32(fchdir, __ia32_sys_fchdir)

/* ---- standard streams ---- */

#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030
#define S_IFMT 0170000
#define S_IFSOCK 0140000

static __noinline int send_dup(struct bh_call *c) {
        __s32 old = (__s32) c->args[0], fd = (__s32) c->ret;
        struct file *file = bh_file_of_fd(fd);
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        __u64 dev = BPF_CORE_READ(inode, i_sb, s_dev), ino = BPF_CORE_READ(inode, i_ino);
        __u32 mode = BPF_CORE_READ(inode, i_mode);

        if (!file || old == fd)
                return 0;

        struct bh_buf *b = bh_begin(BH_EV_DUP_STDIO, bh_hash(bh_hash(bh_place_of_file(file) ^ dev, ino), (__u64) fd + 1), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = fd;
        b->rec.a[0] = (__u64) old;
        b->rec.a[1] = (__u64) fd;
        b->rec.a[2] = mode;
        b->rec.a[3] = dev;
        b->rec.a[5] = ino;
        bh_put_any_file(b, file);
        if ((mode & S_IFMT) == S_IFSOCK)
                bh_put_socket(b, file);
        return bh_end(b);
}

/* Most calls of this family give other descriptors: those end here at once, but for the account of written files on the fallback. */
#define DUP_CALL(name, entry, condition) \
        static __always_inline int dup_##name(struct bh_call *c) { \
                return (condition) ? send_dup(c) : 0; \
        } \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct bh_call call, *c = &call; \
                if (ctx[1] >= 0x80000000u) \
                        return 0; \
                bh_call_of_exit(c, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                if (!(condition)) \
                        return 0; \
                if (!bh_is_quiet(bh_current())) \
                        bh_written_dup((__u32) ctx[1]); \
                return ctx[1] > 2 ? 0 : send_dup(c); \
        } \
        SEC("fexit/__x64_sys_" #name) \
        int fx_##name(__u64 *ctx) { \
                struct bh_call c; \
                if (ctx[1] > 2) \
                        return 0; \
                bh_call_native(&c, bh_user_regs(), (__s64) ctx[1]); \
                return dup_##name(&c); \
        } \
        SEC("fexit/" #entry) \
        int fc_##name(__u64 *ctx) { \
                struct bh_call c; \
                if (ctx[1] > 2) \
                        return 0; \
                bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]); \
                return dup_##name(&c); \
        }

DUP_CALL(dup, __ia32_sys_dup, 1)
DUP_CALL(dup2, __ia32_sys_dup2, 1)
DUP_CALL(dup3, __ia32_sys_dup3, 1)
DUP_CALL(fcntl, __ia32_compat_sys_fcntl64, (__u32) c->args[1] == F_DUPFD || (__u32) c->args[1] == F_DUPFD_CLOEXEC)

/* The older 32-bit entry; its fallback is sx_fcntl. */
SEC("fexit/__ia32_compat_sys_fcntl")
int fc_fcntl_old(__u64 *ctx) {
        struct bh_call c;

        if (ctx[1] > 2)
                return 0;
        bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]);
        return dup_fcntl(&c);
}

/* ---- name ---- */

/* task_rename comes before the new name is in place. */
SEC("tp_btf/task_rename")
int tp_comm(__u64 *ctx) {
        struct task_struct *task = (struct task_struct *) ctx[0], *me = bh_current();
        const char *name = (const char *) ctx[1];
        __u64 words[2] = {};

        if (BPF_CORE_READ(task, flags) & (PF_KTHREAD | PF_IO_WORKER))
                return 0;
        if (BPF_CORE_READ_BITFIELD_PROBED(me, in_execve))
                return 0;
        bpf_probe_read_kernel_str(words, sizeof(words), name);

        struct bh_buf *b = bh_begin(BH_EV_COMM, bh_hash(bh_hash(words[0], words[1]), (__u64) BPF_CORE_READ(task, pid)), 0);
        if (!b)
                return 0;
        b->rec.flags |= bh_compat_task() ? BH_RF_COMPAT : 0;
        if (task != me) {
                b->rec.a[1] = (__u32) BPF_CORE_READ(task, pid); /* a thread of its own process */
                b->rec.a[2] = BPF_CORE_READ(task, group_leader, start_boottime);
        }
        bh_put_kernel_str(b, BH_TAG_NAME, name, 16);
        return bh_end(b);
}

/* ---- modules ---- */

static __always_inline struct bh_buf *begin_call(struct bh_call *c, __u32 type, __u64 what) {
        /* a descriptor that it returns is not part of what the act is */
        struct bh_buf *b = bh_begin(type, bh_hash(what + 1, c->ret < 0 ? c->ret : 0), 0);

        if (b) {
                b->rec.flags |= bh_call_flags(c);
                b->rec.ret = c->ret;
        }
        return b;
}

/* init_module(image, len, parameters) */
BH_SYSCALL(init_module) {
        struct bh_buf *b = begin_call(c, BH_EV_MODULE_LOAD, 0);

        if (!b)
                return 0;
        b->rec.a[0] = (__u64) -1;
        b->rec.a[4] = c->args[1];
        bh_put_user_str(b, BH_TAG_NAME, (const void *) c->args[2], 1024);
        return bh_end(b);
}
BH_SYSCALL32(init_module, __ia32_sys_init_module)

/* finit_module(fd, parameters, flags) */
BH_SYSCALL(finit_module) {
        struct file *file = bh_file_of_fd((__s32) c->args[0]);
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        __u64 dev = BPF_CORE_READ(inode, i_sb, s_dev), ino = BPF_CORE_READ(inode, i_ino);
        struct bh_buf *b = begin_call(c, BH_EV_MODULE_LOAD, bh_hash(bh_place_of_file(file) ^ dev, ino));

        if (!b)
                return 0;
        b->rec.a[0] = (__u64) (__s32) c->args[0];
        b->rec.a[1] = ino;
        b->rec.a[2] = (__u32) c->args[2];
        b->rec.a[4] = (__u64) BPF_CORE_READ(inode, i_size);
        b->rec.a[5] = dev;
        if (file)
                bh_put_file_path(b, BH_TAG_PATH, file);
        bh_put_user_str(b, BH_TAG_NAME, (const void *) c->args[1], 1024);
        return bh_end(b);
}
BH_SYSCALL32(finit_module, __ia32_sys_finit_module)

/* delete_module(name, flags) */
BH_SYSCALL(delete_module) {
        __u64 name[7] = {}, hash = 0;

        bpf_probe_read_user_str(name, sizeof(name), (const void *) c->args[0]);
        for (int i = 0; i < 7; i++)
                hash = bh_hash(hash, name[i]);

        struct bh_buf *b = begin_call(c, BH_EV_MODULE_UNLOAD, hash);
        if (!b)
                return 0;
        b->rec.a[2] = (__u32) c->args[1];
        bh_put_user_str(b, BH_TAG_NAME, (const void *) c->args[0], 256);
        return bh_end(b);
}
BH_SYSCALL32(delete_module, __ia32_sys_delete_module)

/* ---- bpf, kexec, perf_event_open, userfaultfd, io_uring_setup ---- */

#define CMD_MAP_CREATE 0
#define CMD_PROG_LOAD 5

/* bpf(cmd, attr, size): map type and program type are the first member of their attr */
BH_SYSCALL(bpf) {
        __u32 cmd = (__u32) c->args[0], subject = 0;

        if (cmd == CMD_MAP_CREATE || cmd == CMD_PROG_LOAD)
                bpf_probe_read_user(&subject, sizeof(subject), (const void *) c->args[1]);

        struct bh_buf *b = begin_call(c, BH_EV_BPF, (__u64) cmd << 32 | subject);
        if (!b)
                return 0;
        b->rec.a[0] = cmd;
        b->rec.a[1] = subject;
        b->rec.a[2] = cmd == CMD_MAP_CREATE || cmd == CMD_PROG_LOAD ? bh_call_fd(c) : (__u64) -1;
        return bh_end(b);
}
BH_SYSCALL32(bpf, __ia32_sys_bpf)

/* kexec_load(entry, segments, segment list, flags) */
BH_SYSCALL(kexec_load) {
        struct bh_buf *b = begin_call(c, BH_EV_KEXEC, c->args[3]);

        if (!b)
                return 0;
        b->rec.a[0] = (__u64) -1;
        b->rec.a[2] = c->args[3];
        return bh_end(b);
}
BH_SYSCALL32(kexec_load, __ia32_compat_sys_kexec_load)

/* kexec_file_load(kernel fd, initrd fd, length, command line, flags); has no 32-bit form */
BH_SYSCALL(kexec_file_load) {
        struct file *file = bh_file_of_fd((__s32) c->args[0]);
        struct bh_buf *b = begin_call(c, BH_EV_KEXEC, c->args[4]);

        if (!b)
                return 0;
        b->rec.a[0] = (__u64) (__s32) c->args[0];
        b->rec.a[2] = c->args[4];
        if (file)
                bh_put_file_path(b, BH_TAG_PATH, file);
        bh_put_user_str(b, BH_TAG_NAME, (const void *) c->args[3], 2048);
        return bh_end(b);
}

/* perf_event_open(attr, pid, cpu, group fd, flags) */
static __noinline int send_perf(struct bh_call *c, __u64 fd) {
        __u64 event[2] = {}; /* type, size, config */
        __s32 pid = (__s32) c->args[1];

        bpf_probe_read_user(event, sizeof(event), (const void *) c->args[0]);

        struct bh_buf *b = begin_call(c, BH_EV_PERF_EVENT_OPEN, bh_hash(bh_hash((__u32) event[0], event[1]), (__u32) pid));
        if (!b)
                return 0;
        b->rec.a[0] = (__u32) event[0];
        b->rec.a[2] = (__u32) c->args[4];
        b->rec.a[3] = fd;
        b->rec.a[4] = event[1];
        if (pid == 0)
                b->rec.a[1] = b->rec.tgid;
        else if (pid > 0)
                b->rec.a[1] = bh_tgid_of(bh_task_of_vpid((__u32) pid));
        return bh_end(b);
}

BH_SYSCALL(perf_event_open) {
        return send_perf(c, bh_call_fd(c));
}
/* 5.10 has no type information of the entry points, and calls security_perf_event_open() where fentry does not see it: the fallback there. */
BH_SYSCALL32(perf_event_open, __ia32_sys_perf_event_open)

/* userfaultfd(flags) */
BH_SYSCALL(userfaultfd) {
        struct bh_buf *b = begin_call(c, BH_EV_USERFAULTFD, c->args[0]);

        if (!b)
                return 0;
        b->rec.a[0] = bh_call_fd(c);
        b->rec.a[2] = (__u32) c->args[0];
        return bh_end(b);
}
BH_SYSCALL32(userfaultfd, __ia32_sys_userfaultfd)

/* io_uring_setup(entries, struct io_uring_params: sq_entries, cq_entries, flags, …) */
BH_SYSCALL(io_uring_setup) {
        __u32 params[3] = {};

        bpf_probe_read_user(params, sizeof(params), (const void *) c->args[1]);

        struct bh_buf *b = begin_call(c, BH_EV_IO_URING_SETUP, params[2]);
        if (!b)
                return 0;
        b->rec.a[0] = bh_call_fd(c);
        b->rec.a[1] = (__u32) c->args[0];
        b->rec.a[2] = params[2];
        return bh_end(b);
}
BH_SYSCALL32(io_uring_setup, __ia32_sys_io_uring_setup)
