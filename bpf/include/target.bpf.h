/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The other end of an act: a process named by a number, a pid descriptor or a task, and what a descriptor leads to.
 *
 * A number is looked up in the caller's own pid namespace, as the kernel does (find_task_by_vpid: the namespace's idr, a radix tree), so what is
 * reported is the id in the initial namespace wherever the caller lives. 0: there is no such process.
 */
#ifndef BH_TARGET_BPF_H
#define BH_TARGET_BPF_H

#include "core.bpf.h"
#include "syscall.bpf.h"

#define NSFS_MAGIC 0x6e736673
#define PID_FS_MAGIC 0x50494446
#define SOCKFS_MAGIC 0x534f434b
#define PIPEFS_MAGIC 0x50495045

/* Acts of a 32-bit call, for hooks that are not at its entry. */
static __always_inline bool bh_compat_task(void) {
        return BPF_CORE_READ(bh_current(), thread_info.status) & TS_COMPAT;
}

/* Descriptor that a call returned, -1 where it failed. */
static __always_inline __u64 bh_call_fd(const struct bh_call *c) {
        return (__u64) (c->ret < 0 ? -1 : c->ret);
}

/* First thread that a struct pid names. */
static __always_inline struct task_struct *bh_task_of_pid(struct pid *pid) {
        struct hlist_node *first = BPF_CORE_READ(pid, tasks[0].first);

        return first ? (struct task_struct *) ((char *) first - bpf_core_field_offset(struct task_struct, pid_links)) : NULL;
}

/* lib/radix-tree.c, xa_load(): an inner node is marked by 2 in the low bits of what points to it; six bits of the index per level. */
static __noinline struct task_struct *bh_task_of_vpid(__u32 vpid) {
        struct pid *pid = BPF_CORE_READ(bh_current(), thread_pid);
        __u32 level = BPF_CORE_READ(pid, level) & 31;
        __u32 at = bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
        struct upid number = {};
        __u64 entry;

        bpf_probe_read_kernel(&number, sizeof(number), (char *) pid + at);
        entry = (__u64) BPF_CORE_READ(number.ns, idr.idr_rt.xa_head);
        for (int i = 0; i < 6; i++) {
                if ((entry & 3) != 2)
                        break;

                struct xa_node *node = (struct xa_node *) (entry - 2);
                __u32 shift = BPF_CORE_READ(node, shift) & 31;
                void *slots = (char *) node + bpf_core_field_offset(struct xa_node, slots);

                entry = 0;
                bh_read(&entry, sizeof(entry), (char *) slots + ((vpid >> shift) & 63) * sizeof(void *));
        }
        if (!entry || entry & 3)
                return NULL;

        /* an index beyond the tree leads somewhere too, and a tree in change anywhere */
        pid = (struct pid *) entry;
        number.nr = 0;
        bpf_probe_read_kernel(&number, sizeof(number), (char *) pid + at);
        return number.nr == vpid ? bh_task_of_pid(pid) : NULL;
}

/* 6.9 gave pid descriptors inodes of their own, which hold the pid. */
static __always_inline struct pid *bh_pid_of_pidfd(struct file *file) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);

        if (BPF_CORE_READ(inode, i_sb, s_magic) == PID_FS_MAGIC)
                return (struct pid *) BPF_CORE_READ(inode, i_private);

        /* an anonymous inode before: all share one, so only the name tells; other anonymous files keep other things there */
        char name[8] = {};
        bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
        if (name[0] == '[' && name[1] == 'p' && name[2] == 'i' && name[3] == 'd' && name[4] == 'f' && name[5] == 'd' && name[6] == ']')
                return (struct pid *) BPF_CORE_READ(file, private_data);
        return NULL;
}

static __always_inline __u32 bh_tgid_of(struct task_struct *task) {
        return task ? (__u32) BPF_CORE_READ(task, tgid) : 0;
}

/* Process id and start to a[i] and a[i + 1], its name. Nothing for NULL. */
static __always_inline void bh_put_target(struct bh_buf *b, struct task_struct *task, const __u32 i) {
        if (!task)
                return;
        b->rec.a[i] = (__u32) BPF_CORE_READ(task, tgid);
        b->rec.a[i + 1] = BPF_CORE_READ(task, group_leader, start_boottime);
        bh_put_kernel_str(b, BH_TAG_COMM, __builtin_preserve_access_index(&task->comm), 16);
}

/* Path of a file as /proc/PID/fd says it: pipes and sockets, other than FIFOs and socket files, are "pipe:[INODE]" and "socket:[INODE]". */
static __noinline int bh_put_any_file(struct bh_buf *b, struct file *file) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        __u64 ino = BPF_CORE_READ(inode, i_ino), pos = BH_PATH_MAX - 1, n;
        __u64 magic = BPF_CORE_READ(inode, i_sb, s_magic);
        bool is_socket = magic == SOCKFS_MAGIC;
        const char kind[9] = "[:tekcos", pipe[9] = "[:epip"; /* from the end */

        if (!is_socket && magic != PIPEFS_MAGIC) {
                bh_put_file_path(b, BH_TAG_PATH, file);
                return 0;
        }
        b->path[pos] = ']';
        for (int i = 0; i < 20; i++) {
                pos = (pos - 1) & (BH_PATHBUF - 1);
                b->path[pos] = (__u8) ('0' + ino % 10);
                ino /= 10;
                if (!ino)
                        break;
        }
        for (int i = 0; i < 8; i++) {
                if (!is_socket && i >= 6)
                        break;
                pos = (pos - 1) & (BH_PATHBUF - 1);
                b->path[pos] = (__u8) (is_socket ? kind[i] : pipe[i]);
        }
        n = BH_PATH_MAX - pos;

        __u32 off = b->rec.size;
        asm volatile("" : "+r"(n));
        if (off > BH_CHUNK_TOP || n > 64)
                return 0;
        bpf_probe_read_kernel(b->raw + off + sizeof(struct bh_chunk), n, b->path + (pos & (BH_PATHBUF - 1)));

        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = BH_TAG_PATH;
        c->len = (__u16) n;
        b->rec.size = off + sizeof(*c) + (__u32) n;
        return 0;
}

/* Family and both addresses of the socket behind `file`. */
static __noinline int bh_put_socket(struct bh_buf *b, struct file *file) {
        struct socket *socket = (struct socket *) BPF_CORE_READ(file, private_data);
        struct sock *sk = BPF_CORE_READ(socket, sk);
        struct bh_addr addr = {};

        addr.family = BPF_CORE_READ(sk, __sk_common.skc_family);
        addr.type = BPF_CORE_READ(sk, sk_type);
        addr.proto = BPF_CORE_READ(sk, sk_protocol);
        if (addr.family == 2 || addr.family == 10) {
                __u16 port = BPF_CORE_READ(sk, __sk_common.skc_dport);

                addr.rport = (__u16) (port << 8 | port >> 8);
                addr.lport = BPF_CORE_READ(sk, __sk_common.skc_num);
        }
        if (addr.family == 2) {
                BPF_CORE_READ_INTO((__u32 *) addr.laddr, sk, __sk_common.skc_rcv_saddr);
                BPF_CORE_READ_INTO((__u32 *) addr.raddr, sk, __sk_common.skc_daddr);
        } else if (addr.family == 10) {
                bh_read(addr.laddr, 16, __builtin_preserve_access_index(&sk->__sk_common.skc_v6_rcv_saddr));
                bh_read(addr.raddr, 16, __builtin_preserve_access_index(&sk->__sk_common.skc_v6_daddr));
        }
        bh_put_struct(b, BH_TAG_ADDR, &addr, sizeof(addr));
        return 0;
}

#endif
