/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel types that the programs use, and of each only the members used. Every member is relocated at load time (CO-RE), so the
 * build needs no BTF of the build machine and one object runs on 5.10 and later. A member that a kernel lacks is used only behind
 * bpf_core_field_exists().
 */
#ifndef BH_KERNEL_TYPES_H
#define BH_KERNEL_TYPES_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { __u32 val; } bh_kuid;
struct list_head { struct list_head *next, *prev; };
struct hlist_bl_node { struct hlist_bl_node *next, **pprev; };

struct pt_regs {
        unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip;
};

struct qstr { __u32 hash, len; const unsigned char *name; };
struct super_block { __u32 s_dev; unsigned long s_magic; };
struct timespec64 { long long tv_sec; long tv_nsec; };
struct inode {
        unsigned short i_mode;
        bh_kuid i_uid, i_gid;
        struct super_block *i_sb;
        unsigned long i_ino;
        unsigned int i_nlink;
        __u32 i_rdev;
        struct timespec64 __i_ctime;   /* 6.6: renamed to keep direct users out */
        long long i_ctime_sec;         /* 6.11: split */
        __u32 i_ctime_nsec;
};
struct inode___old { struct timespec64 i_ctime; };
struct dentry {
        struct hlist_bl_node d_hash;
        struct dentry *d_parent;
        struct qstr d_name;
        struct inode *d_inode;
        struct super_block *d_sb;
};
struct vfsmount { struct dentry *mnt_root; struct super_block *mnt_sb; int mnt_flags; };
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; };
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file {
        struct path f_path;
        struct inode *f_inode;
        unsigned int f_flags;
        unsigned int f_mode;
        void *private_data;
        long long f_pos;
};
struct filename { const char *name; const char *uptr; };
struct open_flags { int open_flag; __u16 mode; int acc_mode, intent, lookup_flags; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct fs_struct { struct path root, pwd; };

struct ns_common { unsigned int inum; };
struct mnt_namespace { struct ns_common ns; };
struct uts_namespace { struct ns_common ns; };
struct ipc_namespace { struct ns_common ns; };
struct cgroup_namespace { struct ns_common ns; };
struct net { struct ns_common ns; };
struct pid_namespace { struct ns_common ns; unsigned int level; };
struct user_namespace { struct ns_common ns; };
struct nsproxy {
        struct uts_namespace *uts_ns;
        struct ipc_namespace *ipc_ns;
        struct mnt_namespace *mnt_ns;
        struct pid_namespace *pid_ns_for_children;
        struct net *net_ns;
        struct cgroup_namespace *cgroup_ns;
};
struct upid { int nr; struct pid_namespace *ns; };
struct pid { unsigned int level; struct upid numbers[1]; };

struct kernel_cap_struct { __u32 cap[2]; };
struct cred {
        bh_kuid uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
        unsigned int securebits;
        struct kernel_cap_struct cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
        struct user_namespace *user_ns;
};

struct kernfs_node { __u64 id; const char *name; struct kernfs_node *parent; };
struct cgroup_root { int hierarchy_id; };
struct cgroup { struct kernfs_node *kn; struct cgroup_root *root; int level; };
struct cgroup_subsys_state { struct cgroup *cgroup; struct cgroup_subsys_state *parent; };
struct cgroup___self { struct cgroup_subsys_state self; };
struct css_set { struct cgroup_subsys_state *subsys[16]; struct cgroup *dfl_cgrp; };

struct tty_struct { int index; };
struct tty_driver { int major, minor_start; };
struct tty_struct___drv { struct tty_driver *driver; int index; };
typedef struct { int counter; } atomic_t;
struct signal_struct {
        atomic_t live;
        int group_exit_code;
        struct pid *pids[4];
        struct tty_struct *tty;
};
struct mm_struct { unsigned long arg_start, arg_end, env_start, env_end; struct file *exe_file; };
struct thread_info { unsigned long flags; __u32 status; };
struct task_struct {
        struct thread_info thread_info;
        unsigned int flags;
        int pid, tgid;
        struct task_struct *real_parent, *group_leader;
        struct pid *thread_pid;
        __u64 start_time, start_boottime;
        const struct cred *cred, *real_cred;
        char comm[16];
        struct fs_struct *fs;
        struct files_struct *files;
        struct nsproxy *nsproxy;
        struct signal_struct *signal;
        struct mm_struct *mm;
        struct css_set *cgroups;
        int exit_code;
        bh_kuid loginuid;
};
struct linux_binprm { struct file *file; const char *filename; const char *interp; int argc; };

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000
#define PF_EXITING 0x00000004
#define TS_COMPAT 0x0002
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define PROC_SUPER_MAGIC 0x9fa0
#define TMPFS_MAGIC 0x01021994

#endif
