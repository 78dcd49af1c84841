/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Part of file.bpf.c: modes, owners, security attributes, mounts. */
#define MS_BIND 0x1000
#define MS_MOVE 0x2000
#define OPEN_TREE_CLONE 1

/* ---- chmod, chown ---- */

static __always_inline int send_attr(__u32 type, struct vfsmount *mnt, struct dentry *dentry, __s64 ret, __u64 x, __u64 y, __u32 flags) {
        struct bh_buf *b = bh_begin_object(type, mnt, dentry, ret, bh_hash(x, y));

        if (!b)
                return 0;
        b->rec.flags |= flags;
        b->rec.a[2] = x;
        b->rec.a[3] = y;
        return bh_end(b);
}

/* chmod_common(path, mode), chown_common(path, user, group): reached when the file was found and its file system is writable. */
SEC("fexit/chmod_common")
int fx_chmod_common(__u64 *ctx) {
        struct path *path = (struct path *) bh_arg(ctx, 0);

        return send_attr(BH_EV_CHMOD, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry), (__s32) bh_arg(ctx, 2), 0, bh_arg(ctx, 1) & 07777, bh_task_flags(bh_current()));
}

SEC("fexit/chown_common")
int fx_chown_common(__u64 *ctx) {
        struct path *path = (struct path *) bh_arg(ctx, 0);

        return send_attr(BH_EV_CHOWN, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry), (__s32) bh_arg(ctx, 3), (__u32) bh_arg(ctx, 1), (__u32) bh_arg(ctx, 2),
                         bh_task_flags(bh_current()));
}

static __always_inline int attr_of_fd(struct bh_call *c, __u32 type, __u64 x, __u64 y) {
        struct file *file = bh_file_of_fd((__s32) c->args[0]);

        if (!file)
                return 0;
        return send_attr(type, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), c->ret, x, y, bh_call_flags(c));
}

/* The first 32-bit calls had ids of 16 bits. */
static __always_inline __u32 owner(const struct bh_call *c, __u64 id) {
        if (c->compat && (c->nr == 182 || c->nr == 95 || c->nr == 16))
                return (id & 0xffff) == 0xffff ? (__u32) -1 : id & 0xffff;
        return (__u32) id;
}

NAME_CALL(chmod, BH_EV_CHMOD, P(0), AT_FDCWD, NULL, 0, 0, A(1) & 07777)
NAME_CALL(fchmodat, BH_EV_CHMOD, P(1), D(0), NULL, 0, 0, A(2) & 07777)
NAME_CALL(fchmodat2, BH_EV_CHMOD, P(1), D(0), NULL, 0, 0, A(2) & 07777)
BH_SYSCALL_FALLBACK(fchmod) {
        return attr_of_fd(c, BH_EV_CHMOD, 0, A(1) & 07777);
}
NAME_CALL(chown, BH_EV_CHOWN, P(0), AT_FDCWD, NULL, 0, owner(c, A(1)), owner(c, A(2)))
NAME_CALL(lchown, BH_EV_CHOWN, P(0), AT_FDCWD, NULL, 0, owner(c, A(1)), owner(c, A(2)))
NAME_CALL(fchownat, BH_EV_CHOWN, P(1), D(0), NULL, 0, (__u32) A(2), (__u32) A(3))
BH_SYSCALL_FALLBACK(fchown) {
        return attr_of_fd(c, BH_EV_CHOWN, owner(c, A(1)), owner(c, A(2)));
}

/* ---- security attributes ---- */

/* The kernel's namespace for them: capabilities of files, labels of security modules. */
static __always_inline bool security_name(const void *name) {
        char text[16] = {};

        bpf_probe_read_user_str(text, sizeof(text), name);
        return text[0] == 's' && text[1] == 'e' && text[2] == 'c' && text[3] == 'u' && text[4] == 'r' && text[5] == 'i' && text[6] == 't' && text[7] == 'y' && text[8] == '.';
}

static __noinline int xattr_by_name(struct bh_call *c, const void *path, __s32 dfd, const void *name, __u64 bytes) {
        struct bh_named n = { .type = BH_EV_SETXATTR, .flags = bh_call_flags(c), .ret = c->ret, .text = path, .dfd = dfd, .y = bytes };
        struct bh_buf *b;

        if (!security_name(name))
                return 0;
        b = bh_begin_named(&n, BH_TAG_PATH);
        if (!b)
                return 0;
        b->rec.a[3] = 0;
        b->rec.a[4] = bytes;
        bh_put_user_str(b, BH_TAG_NAME, name, 256);
        return bh_end(b);
}

static __noinline int xattr_by_fd(struct bh_call *c, const void *name, __u64 bytes) {
        struct file *file = bh_file_of_fd((__s32) c->args[0]);
        struct bh_buf *b;

        if (!file || !security_name(name))
                return 0;
        b = bh_begin_object(BH_EV_SETXATTR, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry), c->ret, bh_hash(bh_text_hash((__u64) name), bytes));
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.a[4] = bytes;
        bh_put_user_str(b, BH_TAG_NAME, name, 256);
        return bh_end(b);
}

BH_SYSCALL(setxattr) {
        return xattr_by_name(c, P(0), AT_FDCWD, P(1), A(3));
}
BH_SYSCALL32(setxattr, __ia32_sys_setxattr)
BH_SYSCALL(lsetxattr) {
        return xattr_by_name(c, P(0), AT_FDCWD, P(1), A(3));
}
BH_SYSCALL32(lsetxattr, __ia32_sys_lsetxattr)
BH_SYSCALL(fsetxattr) {
        return xattr_by_fd(c, P(1), A(3));
}
BH_SYSCALL32(fsetxattr, __ia32_sys_fsetxattr)
BH_SYSCALL(removexattr) {
        return xattr_by_name(c, P(0), AT_FDCWD, P(1), 0);
}
BH_SYSCALL32(removexattr, __ia32_sys_removexattr)
BH_SYSCALL(lremovexattr) {
        return xattr_by_name(c, P(0), AT_FDCWD, P(1), 0);
}
BH_SYSCALL32(lremovexattr, __ia32_sys_lremovexattr)
BH_SYSCALL(fremovexattr) {
        return xattr_by_fd(c, P(1), 0);
}
BH_SYSCALL32(fremovexattr, __ia32_sys_fremovexattr)
/* 6.13. setxattrat(dfd, path, at_flags, name, { value, size, flags }, usize) */
BH_SYSCALL(setxattrat) {
        __u32 size = 0;

        bpf_probe_read_user(&size, sizeof(size), (char *) A(4) + 8);
        return xattr_by_name(c, P(1), D(0), P(3), size);
}
BH_SYSCALL32(setxattrat, __ia32_sys_setxattrat)
BH_SYSCALL(removexattrat) {
        return xattr_by_name(c, P(1), D(0), P(3), 0);
}
BH_SYSCALL32(removexattrat, __ia32_sys_removexattrat)

/* ---- mounts ---- */

/* path_mount(dev_name, path, type, flags, data): the mount point was found. */
SEC("fexit/path_mount")
int fx_path_mount(__u64 *ctx) {
        struct path *path = (struct path *) bh_arg(ctx, 1);
        const char *source = (const char *) bh_arg(ctx, 0), *fstype = (const char *) bh_arg(ctx, 2);
        __u64 flags = bh_arg(ctx, 3);
        struct bh_buf *b;

        b = bh_begin_object(BH_EV_MOUNT, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry), (__s32) bh_arg(ctx, 5), bh_hash(flags, bh_text_hash((__u64) source)));
        if (!b)
                return 0;
        b->rec.flags |= bh_task_flags(bh_current());
        b->rec.a[2] = flags;
        if (source) {
                bh_put_kernel_str(b, BH_TAG_PATH2, source, BH_PATH_MAX);
                if (flags & (MS_BIND | MS_MOVE))
                        bh_put_base(b, BH_TAG_CWD2, AT_FDCWD, source);
        }
        if (fstype)
                bh_put_kernel_str(b, BH_TAG_NAME, fstype, 256);
        return bh_end(b);
}

BH_SYSCALL_FALLBACK(mount) {
        struct bh_named n = { .type = BH_EV_MOUNT, .flags = bh_call_flags(c), .ret = c->ret, .text = P(1), .dfd = AT_FDCWD, .text2 = P(0), .x = A(3) };
        struct bh_buf *b;

        n.dfd2 = A(3) & (MS_BIND | MS_MOVE) ? AT_FDCWD : BH_NO_BASE;
        b = bh_begin_named(&n, BH_TAG_PATH);
        if (!b)
                return 0;
        if (A(2))
                bh_put_user_str(b, BH_TAG_NAME, P(2), 256);
        return bh_end(b);
}

/* mount_setattr(dfd, path, flags, { set, clear, propagation, user namespace }, size): op_flags are the attributes set */
BH_SYSCALL(mount_setattr) {
        struct bh_named n = { .type = BH_EV_MOUNT, .flags = bh_call_flags(c), .ret = c->ret, .text = P(1), .dfd = D(0) };

        bpf_probe_read_user(&n.x, sizeof(n.x), P(3));
        return bh_send_named(&n, BH_TAG_PATH);
}
BH_SYSCALL32(mount_setattr, __ia32_sys_mount_setattr)

/* A copy of a mount that belongs to nowhere yet: PATH is what was copied. */
BH_SYSCALL(open_tree) {
        struct bh_named n = { .type = BH_EV_MOUNT, .flags = bh_call_flags(c), .ret = c->ret < 0 ? c->ret : 0, .text = P(1), .dfd = D(0), .x = MS_BIND };

        return (__u32) A(2) & OPEN_TREE_CLONE ? bh_send_named(&n, BH_TAG_PATH) : 0;
}
BH_SYSCALL32(open_tree, __ia32_sys_open_tree)

/* fsmount(fs_fd, flags, attributes): a mount that belongs to nowhere yet, so it has no path. */
BH_SYSCALL(fsmount) {
        struct fs_context *fs;
        struct file *context = bh_file_of_fd(D(0)), *file = bh_file_of_fd(c->ret);
        struct vfsmount *vfsmnt = BPF_CORE_READ(file, f_path.mnt);
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        struct bh_buf *b = bh_begin(BH_EV_MOUNT, 0, 0);

        fs = (struct fs_context *) BPF_CORE_READ(context, private_data);
        if (!b)
                return 0;
        b->rec.flags |= bh_call_flags(c);
        b->rec.ret = c->ret < 0 ? c->ret : 0;
        b->rec.a[2] = (__u32) A(2);
        if (fs)
                bh_put_kernel_str(b, BH_TAG_NAME, BPF_CORE_READ(fs, fs_type, name), 256);
        if (file) {
                struct mount *mnt = (struct mount *) ((char *) vfsmnt - bpf_core_field_offset(struct mount, mnt));

                b->rec.a[0] = BPF_CORE_READ(inode, i_sb, s_dev);
                b->rec.a[1] = BPF_CORE_READ(inode, i_ino);
                bh_put_kernel_str(b, BH_TAG_PATH2, BPF_CORE_READ(mnt, mnt_devname), BH_PATH_MAX);
        }
        return bh_end(b);
}
BH_SYSCALL32(fsmount, __ia32_sys_fsmount)

/* move_mount(from_dfd, from, to_dfd, to, flags) */
BH_SYSCALL(move_mount) {
        struct bh_named n = { .type = BH_EV_MOVE_MOUNT, .flags = bh_call_flags(c), .ret = c->ret, .text = P(3), .dfd = D(2), .text2 = P(1), .dfd2 = D(0), .x = (__u32) A(4) };

        return bh_send_named(&n, BH_TAG_PATH);
}
BH_SYSCALL32(move_mount, __ia32_sys_move_mount)

BH_SYSCALL(pivot_root) {
        struct bh_named n = { .type = BH_EV_PIVOT_ROOT, .flags = bh_call_flags(c), .ret = c->ret, .text = P(0), .dfd = AT_FDCWD, .text2 = P(1), .dfd2 = AT_FDCWD };

        return bh_send_named(&n, BH_TAG_PATH);
}
BH_SYSCALL32(pivot_root, __ia32_sys_pivot_root)

/* path_umount(path, flags) lets go of the mount: where it hung, which stays, and what it was are taken before. */
struct unmounting {
        struct vfsmount *mnt;
        struct dentry *dentry;
        __u64 dev, ino, flags;
};
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 1024);
        __type(key, __u32);
        __type(value, struct unmounting);
} unmountings SEC(".maps");

SEC("fentry/path_umount")
int fe_path_umount(__u64 *ctx) {
        struct path *path = (struct path *) bh_arg(ctx, 0);
        struct vfsmount *vfsmnt = BPF_CORE_READ(path, mnt);
        struct dentry *dentry = BPF_CORE_READ(path, dentry);
        struct inode *inode = BPF_CORE_READ(dentry, d_inode);
        __u32 tid = (__u32) bpf_get_current_pid_tgid();
        struct unmounting u = {
                .mnt = vfsmnt,
                .dentry = dentry,
                .dev = BPF_CORE_READ(inode, i_sb, s_dev),
                .ino = BPF_CORE_READ(inode, i_ino),
                .flags = (__u32) bh_arg(ctx, 1),
        };

        if (dentry == BPF_CORE_READ(vfsmnt, mnt_root)) {
                struct mount *mnt = (struct mount *) ((char *) vfsmnt - bpf_core_field_offset(struct mount, mnt));
                struct mount *up = BPF_CORE_READ(mnt, mnt_parent);

                u.dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
                u.mnt = (struct vfsmount *) ((char *) up + bpf_core_field_offset(struct mount, mnt));
        }
        if (bpf_map_update_elem(&unmountings, &tid, &u, BPF_ANY))
                bh_count_lost(bh_task_cgroup(bh_current()), BH_EV_UMOUNT, BH_LOST_STATE_FULL);
        return 0;
}

SEC("fexit/path_umount")
int fx_path_umount(__u64 *ctx) {
        __u32 tid = (__u32) bpf_get_current_pid_tgid();
        struct unmounting *u = bpf_map_lookup_elem(&unmountings, &tid);
        __s32 ret = (__s32) bh_arg(ctx, 2);

        if (!u)
                return 0;

        struct bh_buf *b = bh_begin(BH_EV_UMOUNT, bh_hash(bh_hash(u->dev, u->ino), bh_hash(bh_place(u->mnt, u->dentry), (__u64) ret)) | 1, 0);
        if (b) {
                b->rec.ret = ret;
                b->rec.flags |= bh_task_flags(bh_current());
                b->rec.a[0] = u->dev;
                b->rec.a[1] = u->ino;
                b->rec.a[2] = u->flags;
                bh_put_path(b, BH_TAG_PATH, u->mnt, u->dentry);
                bh_end(b);
        }
        bpf_map_delete_elem(&unmountings, &tid);
        return 0;
}

static __noinline int umount_call(struct bh_call *c, __u64 flags) {
        struct bh_named n = { .type = BH_EV_UMOUNT, .flags = bh_call_flags(c), .ret = c->ret, .text = (void *) c->args[0], .dfd = AT_FDCWD, .x = flags };

        return bh_send_named(&n, BH_TAG_PATH);
}
BH_SYSCALL_FALLBACK(umount2) {
        return umount_call(c, (__u32) A(1));
}
BH_SYSCALL_FALLBACK(umount) { /* 32-bit only */
        return umount_call(c, 0);
}

