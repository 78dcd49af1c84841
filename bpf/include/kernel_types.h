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
typedef struct { int counter; } atomic_t;
struct list_head { struct list_head *next, *prev; };
struct hlist_bl_node { struct hlist_bl_node *next, **pprev; };
struct hlist_node { struct hlist_node *next, **pprev; };
struct hlist_head { struct hlist_node *first; };

struct pt_regs {
        unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip;
};

struct qstr { __u32 hash, len; const unsigned char *name; };
struct file_system_type { const char *name; };
struct fs_context { struct file_system_type *fs_type; };
struct super_block { __u32 s_dev; unsigned long s_magic; struct file_system_type *s_type; };
struct timespec64 { long long tv_sec; long tv_nsec; };
struct address_space { atomic_t i_mmap_writable; };
struct inode {
        unsigned short i_mode;
        bh_kuid i_uid, i_gid;
        struct super_block *i_sb;
        unsigned long i_ino;
        unsigned int i_nlink;
        __u32 i_rdev;
        long long i_size;
        void *i_private;
        atomic_t i_writecount;
        struct address_space *i_mapping;
        struct timespec64 __i_ctime;   /* 6.6: renamed to keep direct users out */
        long long i_ctime_sec;         /* 6.11: split */
        __u32 i_ctime_nsec;
        struct timespec64 __i_mtime;   /* 6.7 */
        long long i_mtime_sec;
        __u32 i_mtime_nsec;
};
struct inode___old { struct timespec64 i_ctime, i_mtime; };
struct dentry {
        struct hlist_bl_node d_hash;
        struct dentry *d_parent;
        struct qstr d_name;
        struct inode *d_inode;
        struct super_block *d_sb;
};
struct vfsmount { struct dentry *mnt_root; struct super_block *mnt_sb; int mnt_flags; };
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; const char *mnt_devname; };
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
struct renamedata { struct dentry *old_dentry, *new_dentry; };
struct proc_inode { struct pid *pid; struct inode vfs_inode; };
struct kiocb { struct file *ki_filp; int ki_flags; };
struct open_how { __u64 flags, mode, resolve; };
struct io_cqe { __u64 user_data; __s32 res; __u32 flags; };
struct io_ring_ctx;
struct io_kiocb { struct file *file; __u8 opcode; struct io_cqe cqe; struct io_ring_ctx *ctx; void *async_data; };
struct io_open { int dfd; __u32 file_slot; struct filename *filename; struct open_how how; };
struct io_rename { int old_dfd, new_dfd; struct filename *oldpath, *newpath; int flags; };
struct io_unlink { int dfd, flags; struct filename *filename; };
struct io_mkdir { int dfd; unsigned short mode; struct filename *filename; };
struct io_link { int old_dfd, new_dfd; struct filename *oldpath, *newpath; int flags; };
struct delayed_filename { struct filename *__incomplete_filename; };
struct io_open___delayed { struct delayed_filename filename; };
struct io_rename___delayed { struct delayed_filename oldpath, newpath; };
struct io_unlink___delayed { struct delayed_filename filename; };
struct io_mkdir___delayed { struct delayed_filename filename; };
struct io_link___delayed { struct delayed_filename oldpath, newpath; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; unsigned int next_fd; };
struct fs_struct { int umask; struct path root, pwd; };

struct proc_ns_operations { int type; };
struct ns_common {
        unsigned int inum;
        __u32 ns_type; /* 6.18: here; before in its operations */
        const struct proc_ns_operations *ops;
};
struct xarray { void *xa_head; };
struct xa_node { unsigned char shift; void *slots[64]; };
struct idr { struct xarray idr_rt; };
struct mnt_namespace { struct ns_common ns; };
struct uts_namespace { struct ns_common ns; };
struct ipc_namespace { struct ns_common ns; };
struct cgroup_namespace { struct ns_common ns; };
struct net { struct ns_common ns; };
struct pid_namespace { struct ns_common ns; unsigned int level; struct idr idr; };
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
struct pid { unsigned int level; struct hlist_head tasks[4]; struct upid numbers[1]; };

struct group_info { int ngroups; bh_kuid gid[1]; };
struct kernel_cap_struct { __u32 cap[2]; };
struct cred {
        bh_kuid uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
        unsigned int securebits;
        struct kernel_cap_struct cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
        struct user_namespace *user_ns;
        struct group_info *group_info;
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
struct signal_struct {
        atomic_t live;
        int group_exit_code, nr_threads;
        unsigned int flags;
        struct pid *pids[4];
        struct tty_struct *tty;
};
struct rb_node { struct rb_node *rb_right, *rb_left; };
struct rb_root { struct rb_node *rb_node; };
struct mm_struct { struct rb_root mm_rb; unsigned long arg_start, arg_end, env_start, env_end; struct file *exe_file; };
struct thread_info { unsigned long flags; __u32 status; };
struct task_struct {
        struct thread_info thread_info;
        unsigned int flags;
        int pid, tgid;
        struct task_struct *real_parent, *group_leader;
        struct pid *thread_pid;
        __u64 start_time, start_boottime;
        __u64 self_exec_id;
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
        unsigned int personality;
        unsigned int in_execve : 1;
        void *stack;
        void *io_uring;
        struct hlist_node pid_links[4];
};
struct vm_area_struct { struct rb_node vm_rb; struct vm_area_struct *vm_next; unsigned long vm_start, vm_end, vm_flags; void *anon_vma; struct file *vm_file; };
struct kernel_siginfo { int si_code; };
struct linux_binprm { struct file *file; const char *filename; const char *interp; int argc; };

/* sockets */
struct in6_addr { __u8 in6_u[16]; };
typedef struct { struct net *net; } bh_possible_net;
struct sock_common {
        __u32 skc_daddr, skc_rcv_saddr;
        __u16 skc_dport, skc_num;
        unsigned short skc_family;
        volatile unsigned char skc_state;
        int skc_bound_dev_if;
        bh_possible_net skc_net;
        struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
        unsigned long skc_flags;
};
struct socket;
struct sock {
        struct sock_common __sk_common;
        __u16 sk_type, sk_protocol;
        int sk_err;
        struct pid *sk_peer_pid;
        struct socket *sk_socket;
};
struct socket { short type; struct file *file; struct sock *sk; };
struct inet_sock { struct sock sk; __u16 inet_sport; };
struct tcp_sock { __u64 bytes_acked, bytes_received, bytes_sent, bytes_retrans; __u32 snd_una, snd_nxt, write_seq, rcv_nxt, copied_seq, segs_in, segs_out; };
struct packet_sock { struct sock sk; int ifindex; __u16 num; };
struct sockaddr_un { unsigned short sun_family; char sun_path[108]; };
typedef struct refcount_struct { atomic_t refs; } refcount_t;
struct unix_address { refcount_t refcnt; int len; struct sockaddr_un name[0]; };
struct unix_sock { struct sock sk; struct unix_address *addr; struct sock *peer; struct path path; };
struct iovec { void *iov_base; __u64 iov_len; };
struct iov_iter {
        __u8 iter_type; /* 5.14: was `type`, with the direction in it */
        __u64 iov_offset, count;
        const struct iovec *__iov; /* 6.4: was `iov` */
        void *ubuf;
};
struct iov_iter___old { unsigned int type; const struct iovec *iov; };
enum iter_type { ITER_IOVEC = 1, ITER_UBUF = 0, ITER_BVEC = 2, ITER_KVEC = 3 }; /* numbers differ: bpf_core_enum_value() */
struct msghdr { void *msg_name; int msg_namelen; struct iov_iter msg_iter; };
struct sk_buff { unsigned int len, data_len; int skb_iif; __u16 protocol, transport_header, network_header; unsigned int end; unsigned char *head, *data; };
struct skb_frag { unsigned int len; };
struct skb_shared_info { __u8 nr_frags; struct skb_frag frags[17]; };

/* iterators */
struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; };

/* io_uring */
struct io_uring_cqe { __u64 user_data; __s32 res; __u32 flags; };
struct io_socket { int domain, type, protocol; };
struct io_accept { int iou_flags; };
struct io_connect { int addr_len; };
struct io_bind { int addr_len; };
struct io_listen { int backlog; };
struct io_sr_msg { void *buf; unsigned int done_io; };
struct io_rw { __u64 addr; };
struct __kernel_sockaddr_storage { unsigned short ss_family; };
struct io_async_msghdr { struct msghdr msg; struct __kernel_sockaddr_storage addr; };

#pragma clang attribute pop

/*
 * Reading kernel memory: BPF_CORE_READ() and bh_read(). Where the kernel lets a program look at an address as if it were a kernel type (6.2), a read is one
 * load, which gives 0 where nothing is mapped; else it is a call of bpf_probe_read_kernel(), which does the same at twenty times the price. The type is one
 * that has a number at its beginning: what is read is a number to the verifier, never a pointer, so both ways leave it with the same knowledge.
 */
extern void *bpf_rdonly_cast(const void *at, __u32 type) __ksym __weak;
const volatile __u32 bh_direct = 0; /* set before load: this kernel has bpf_rdonly_cast() */

static __always_inline void bh_read(void *to, const __u32 size, const void *from) {
        if (!bh_direct || (size != 1 && size != 2 && size != 4 && size != 8 && size != 16)) {
                bpf_probe_read_kernel(to, size, from);
                return;
        }

        const void *at = bpf_rdonly_cast(from, bpf_core_type_id_kernel(struct timespec64));
        if (size == 1) {
                *(__u8 *) to = *(const __u8 *) at;
        } else if (size == 2) {
                *(__u16 *) to = *(const __u16 *) at;
        } else if (size == 4) {
                *(__u32 *) to = *(const __u32 *) at;
        } else if (size == 8) {
                *(__u64 *) to = *(const __u64 *) at;
        } else { /* an address: in fours, as it need not be aligned to more */
                for (__u32 i = 0; i < 4; i++)
                        ((__u32 *) to)[i] = ((const __u32 *) at)[i];
        }
}

#undef bpf_core_read
#define bpf_core_read(to, size, from) bh_read(to, size, (const void *) __builtin_preserve_access_index(from))

#define PF_KTHREAD 0x00200000
#define PF_IO_WORKER 0x00000010
#define PF_EXITING 0x00000004
#define TS_COMPAT 0x0002
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define PROC_SUPER_MAGIC 0x9fa0
#define TMPFS_MAGIC 0x01021994

#endif
