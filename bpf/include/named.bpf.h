/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Acts that are known only by what the caller wrote: no kernel object came out of them (they failed early), or none can be reached
 * from the exit of the system call.
 *
 * Such a record has BH_RF_PATH_USER, the text as it was written, and the directory that the text starts from: CWD for the first text,
 * CWD2 for the second. That directory is the process's root for an absolute text, its working directory or the given descriptor for a
 * relative one, resolved from kernel objects; so base + "/" + text, with "." and ".." worked out, is the path but for symbolic links.
 * A text lies in user memory, where another thread may have changed it since, or in kernel memory; the address tells which.
 */
#ifndef BH_NAMED_BPF_H
#define BH_NAMED_BPF_H

#include "core.bpf.h"
#include "syscall.bpf.h"

#define AT_FDCWD -100
#define BH_NO_BASE 0x7fffffff /* dfd of a second text that is no path, or starts from somewhere else */
#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define PF_IO_WORKER 0x00000010

struct bh_named {
        __u32 type;
        __u32 flags;       /* BH_RF_* to add */
        __s64 ret;
        const void *text, *text2; /* NULL: none */
        __s32 dfd, dfd2;
        __u64 x;           /* a[2]: flags or device number */
        __u64 y;           /* a[3]: mode */
};

static __always_inline bool bh_kernel_pointer(const void *p) {
        return (__s64) p < 0;
}

/*
 * Hash of a text; 0 (which means: do not fold) if it is unreadable or longer than is looked at. It begins with an address of the kernel, which is the
 * process's: without it, anybody could work out texts whose hashes meet.
 */
__noinline __u64 bh_text_hash(__u64 at) {
        const void *text = (const void *) at;
        __u64 word[16] = {}, h = (__u64) BPF_CORE_READ(bh_current(), group_leader);
        long n;

        if (!text)
                return 1;
        n = bh_kernel_pointer(text) ? bpf_probe_read_kernel_str(word, sizeof(word), text) : bpf_probe_read_user_str(word, sizeof(word), text);
        if (n < 0 || n >= (long) sizeof(word))
                return 0;
        for (int i = 0; i < 16; i++)
                h = bh_hash(h, word[i]);
        return h | 1;
}

__noinline int bh_put_text_at(__u32 index, __u32 tag, __u64 text) {
        struct bh_buf *b = bpf_map_lookup_elem(&scratch, &index);

        if (!b)
                return 0;
        if ((__s64) text < 0)
                bh_put_kernel_str(b, tag, (const void *) text, BH_PATH_MAX);
        else
                bh_put_user_str(b, tag, (const void *) text, BH_PATH_MAX);
        return 0;
}

static __always_inline void bh_put_text(struct bh_buf *b, __u32 tag, const void *text) {
        bh_put_text_at(b->index, tag, (__u64) text);
}

/* The directory that `text` starts from. */
struct bh_base {
        struct vfsmount *mnt;
        struct dentry *dentry;
};
static __always_inline void bh_base_of(struct bh_base *to, __s32 dfd, __u64 text) {
        struct fs_struct *fs = BPF_CORE_READ(bh_current(), fs);
        char first = 0;

        if ((__s64) text < 0)
                bpf_probe_read_kernel(&first, 1, (const void *) text);
        else
                bpf_probe_read_user(&first, 1, (const void *) text);

        if (first == '/') {
                to->mnt = BPF_CORE_READ(fs, root.mnt);
                to->dentry = BPF_CORE_READ(fs, root.dentry);
        } else if (dfd == AT_FDCWD) {
                to->mnt = BPF_CORE_READ(fs, pwd.mnt);
                to->dentry = BPF_CORE_READ(fs, pwd.dentry);
        } else {
                struct file *dir = bh_file_of_fd(dfd);

                to->mnt = BPF_CORE_READ(dir, f_path.mnt);
                to->dentry = BPF_CORE_READ(dir, f_path.dentry);
        }
}

__noinline int bh_put_base_at(__u32 index, __u32 tag, __s32 dfd, __u64 text) {
        struct bh_base base;

        bh_base_of(&base, dfd, text);
        if (base.dentry)
                bh_put_path_at(index, tag, (__u64) base.mnt, (__u64) base.dentry);
        return 0;
}

/* bh_place() of it. */
__noinline __u64 bh_base_place(__s32 dfd, __u64 text) {
        struct bh_base base;

        if (!text)
                return 0;
        bh_base_of(&base, dfd, text);
        return bh_place(base.mnt, base.dentry);
}

static __always_inline void bh_put_base(struct bh_buf *b, __u32 tag, __s32 dfd, const void *text) {
        bh_put_base_at(b->index, tag, dfd, (__u64) text);
}

/* Flags of an act that is not at the entry of a system call. */
static __always_inline __u32 bh_task_flags(struct task_struct *task) {
        if (BPF_CORE_READ(task, flags) & PF_IO_WORKER)
                return BH_RF_IO_URING;
        return BPF_CORE_READ(task, thread_info.status) & TS_COMPAT ? BH_RF_COMPAT : 0;
}

/* Key of an act by name: the texts, where they start from, and the outcome. */
static __always_inline __u64 bh_named_key(const struct bh_named *n) {
        __u64 one = bh_text_hash((__u64) n->text), two = bh_text_hash((__u64) n->text2);

        if (!one || !two)
                return 0;
        one = bh_hash(one, bh_base_place(n->dfd, (__u64) n->text));
        if (n->dfd2 != BH_NO_BASE)
                two = bh_hash(two, bh_base_place(n->dfd2, (__u64) n->text2));
        one = bh_hash(bh_hash(one, two), (__u64) n->ret);
        return bh_hash(bh_hash(one, n->x), bh_hash(n->y, (__u64) (__u32) n->dfd << 32 | (__u32) n->dfd2)) | 1;
}

/* The whole record. Kinds whose NAME is something else (attribute, file system) have the first text in PATH: tag says. */
static __noinline struct bh_buf *bh_begin_named(struct bh_named *n, __u32 tag) {
        struct bh_buf *b = bh_begin(n->type, bh_named_key(n), 0);

        if (!b)
                return NULL;
        b->rec.ret = n->ret;
        b->rec.flags |= n->flags | BH_RF_PATH_USER;
        b->rec.a[2] = n->x;
        b->rec.a[3] = n->y;
        b->rec.a[4] = 0;
        if (n->text) {
                bh_put_text(b, tag, n->text);
                bh_put_base(b, BH_TAG_CWD, n->dfd, n->text);
        }
        if (n->text2) {
                bh_put_text(b, BH_TAG_PATH2, n->text2);
                if (n->dfd2 != BH_NO_BASE)
                        bh_put_base(b, BH_TAG_CWD2, n->dfd2, n->text2);
        }
        return b;
}

static __noinline int bh_send_named(struct bh_named *n, __u32 tag) {
        struct bh_buf *b = bh_begin_named(n, tag);

        return b ? bh_end(b) : 0;
}

/* An act on a file that is open or was resolved. */
static __noinline struct bh_buf *bh_begin_object(__u32 type, struct vfsmount *mnt, struct dentry *dentry, __s64 ret, __u64 x) {
        struct inode *inode = BPF_CORE_READ(dentry, d_inode);
        __u64 dev = BPF_CORE_READ(inode, i_sb, s_dev), ino = BPF_CORE_READ(inode, i_ino);
        struct bh_buf *b = bh_begin(type, bh_hash(bh_hash(bh_place(mnt, dentry) ^ dev, ino), bh_hash((__u64) ret, x)) | 1, 0);

        if (!b)
                return NULL;
        b->rec.ret = ret;
        b->rec.a[0] = dev;
        b->rec.a[1] = ino;
        b->rec.a[4] = 0;
        bh_put_path(b, BH_TAG_PATH, mnt, dentry);
        return b;
}

#endif
