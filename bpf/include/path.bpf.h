/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Paths of files as a record tells them. The walk goes from the file up through mounts to the root of the mount namespace, so neither chroot, bind mount, symlink nor
 * "/proc/self/root" changes what is said; names come from dentries, not from the caller's memory. It is bounded: a path of more than
 * BH_PATH_DEPTH names or BH_PATH_MAX bytes keeps its end and is flagged. Depends on d_path()'s rules (fs/d_path.c).
 */
#ifndef BH_PATH_BPF_H
#define BH_PATH_BPF_H

#include "core.bpf.h"

#define BH_PATH_DEPTH 96

/*
 * Which name of which file an act is about, for fold keys: device and number alone do not say. A file made after another was removed may get its number,
 * and a file may have several names. Here are the mount, the name and those of the two directories above it; of a name the hash that the kernel has of it,
 * which goes by the address of its directory too, so that nobody can look for names whose hashes meet.
 */
struct bh_entry {
        struct dentry *parent;
        __u32 hash, len;
};

static __always_inline void bh_entry_of(struct bh_entry *to, struct dentry *dentry) {
        /* as long as they lie side by side, one read */
        if (bpf_core_field_offset(struct dentry, d_name) == bpf_core_field_offset(struct dentry, d_parent) + sizeof(to->parent)) {
                bh_read(to, sizeof(*to), (char *) dentry + bpf_core_field_offset(struct dentry, d_parent));
        } else {
                to->parent = BPF_CORE_READ(dentry, d_parent);
                to->hash = BPF_CORE_READ(dentry, d_name.hash);
        }
}

__noinline __u64 bh_place_at(__u64 mnt, __u64 dentry) {
        struct bh_entry e = {};
        __u64 h;

        bh_entry_of(&e, (struct dentry *) dentry);
        h = bh_hash(mnt ^ (__u64) e.parent, e.hash);
        bh_entry_of(&e, e.parent);
        h = bh_hash(h ^ (__u64) e.parent, e.hash);
        bh_entry_of(&e, e.parent);
        return bh_hash(h ^ (__u64) e.parent, e.hash);
}

static __always_inline __u64 bh_place(struct vfsmount *mnt, struct dentry *dentry) {
        return bh_place_at((__u64) mnt, (__u64) dentry);
}

static __always_inline __u64 bh_place_of_file(struct file *file) {
        return bh_place(BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry));
}

/* Puts the name and a slash before it in front of what is rendered already. */
static __always_inline int bh_path_prepend(struct bh_buf *b, struct dentry *dentry) {
        __u64 len = BPF_CORE_READ(dentry, d_name.len) & 0xff, pos = b->path_pos;
        const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);

        if (pos < len + 1)
                return -1;
        pos = (pos - len) & (BH_PATHBUF - 1);
        bpf_probe_read_kernel(b->path + pos, len, name);
        pos = (pos - 1) & (BH_PATHBUF - 1);
        b->path[pos] = '/';
        b->path_pos = (__u32) pos;
        return 0;
}

/*
 * One step of the walk: 1 if there is another. A global function, and what the walk knows in memory, so that the verifier looks at one step once and not
 * at each of BH_PATH_DEPTH: that was half of what loading all programs cost.
 */
__noinline int bh_path_step(__u32 index) {
        struct bh_buf *b = bpf_map_lookup_elem(&scratch, &index);
        struct dentry *dentry, *parent;

        if (!b)
                return 0;
        dentry = (struct dentry *) b->walk_dentry;
        if ((__u64) dentry == b->walk_root) {
                struct mount *mnt = (struct mount *) b->walk_mnt, *up = BPF_CORE_READ(mnt, mnt_parent);

                if (up == mnt) {
                        b->path_done = 1;
                        return 0;
                }
                b->walk_dentry = (__u64) BPF_CORE_READ(mnt, mnt_mountpoint);
                b->walk_mnt = (__u64) up;
                b->walk_root = (__u64) BPF_CORE_READ(up, mnt.mnt_root);
                return 1;
        }
        parent = BPF_CORE_READ(dentry, d_parent);
        if (bh_path_prepend(b, dentry))
                return 0;
        /* not under its mount: an anonymous file (memfd, pipe, socket) or a detached directory: its name alone */
        if (dentry == parent) {
                b->path_done = 1;
                return 0;
        }
        b->walk_dentry = (__u64) parent;
        return 1;
}

__noinline int bh_put_path_at(__u32 index, __u32 tag, __u64 mnt, __u64 dentry) {
        struct bh_buf *b = bpf_map_lookup_elem(&scratch, &index);

        if (!b)
                return 0;
        b->path_pos = BH_PATH_MAX;
        b->path_done = 0;
        b->walk_mnt = mnt - bpf_core_field_offset(struct mount, mnt);
        b->walk_dentry = dentry;
        b->walk_root = (__u64) BPF_CORE_READ((struct vfsmount *) mnt, mnt_root);
        for (int i = 0; i < BH_PATH_DEPTH; i++)
                if (!bh_path_step(index))
                        break;
        if (!b->path_done)
                b->rec.flags |= BH_RF_PATH_CUT;

        __u64 pos = b->path_pos, n;
        if (pos >= BH_PATH_MAX) {
                pos = BH_PATH_MAX - 1;
                b->path[pos] = '/';
        }
        n = BH_PATH_MAX - pos;

        __u32 off = b->rec.size;
        if (off > BH_CHUNK_TOP)
                return 0;
        asm volatile("" : "+r"(n));
        if (n > BH_PATH_MAX)
                return 0;
        bpf_probe_read_kernel(b->raw + off + sizeof(struct bh_chunk), n, b->path + pos);

        struct bh_chunk *c = (struct bh_chunk *) (b->raw + off);
        c->tag = (__u16) tag;
        c->len = (__u16) n;
        b->rec.size = off + sizeof(*c) + (__u32) n;
        return 0;
}

static __always_inline void bh_put_path(struct bh_buf *b, __u32 tag, struct vfsmount *mnt, struct dentry *dentry) {
        bh_put_path_at(b->index, tag, (__u64) mnt, (__u64) dentry);
}

static __always_inline void bh_put_file_path(struct bh_buf *b, __u32 tag, struct file *file) {
        bh_put_path(b, tag, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry));
}

#endif
