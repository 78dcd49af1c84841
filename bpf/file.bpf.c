// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Files: opens, names (rename, link, symlink, unlink, mkdir, rmdir, mknod), attributes, mounts, and what was written.
 *
 * Preferred hooks stand where the kernel has the object in its hands: the path is the object's, whatever the caller's text was or has
 * become since. Fallback hooks stand at the exit of the system call: a successful open has its file in the descriptor table; for the
 * others, and for what failed, there is only the caller's text (named.bpf.h).
 * What io_uring does reaches the preferred hooks like everything else; the fallback has two tracepoints for it.
 */
#include "named.bpf.h"
#include "written.bpf.h"

#define FMODE_EXEC 0x20
#define FMODE_CREATED 0x100000
#define BH_O_CLOEXEC 02000000u
#define BH_O_LARGEFILE 0100000u
#define BH_O_TMPFILE 020000000u /* __O_TMPFILE: the bit that is its own */
#define AT_REMOVEDIR 0x200
#define EAGAIN 11
#define ESTALE 116
#define MAX_ERRNO 4095

/* ---- open ---- */

/*
 * open_flags are the caller's, without O_LARGEFILE, which a 64-bit kernel sets by itself. The kernel's own copy lacks O_CLOEXEC, which is
 * about the descriptor: `cloexec` brings it back.
 */
static __noinline int send_open(struct file *file, const void *text, __u32 flags, __s32 fd, __u32 marks) {
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        __u64 dev = BPF_CORE_READ(inode, i_sb, s_dev), ino = BPF_CORE_READ(inode, i_ino);
        __u32 made = BPF_CORE_READ(file, f_mode) & FMODE_CREATED || flags & BH_O_TMPFILE ? BH_RF_CREATED : 0;
        struct bh_buf *b = bh_begin(BH_EV_OPEN, bh_hash(bh_hash(bh_place_of_file(file) ^ dev, ino), (__u64) flags << 32 | made | 1), 0);

        if (!b)
                return 0;
        b->rec.flags |= marks | made;
        b->rec.a[0] = dev;
        b->rec.a[1] = ino;
        b->rec.a[2] = flags;
        b->rec.a[3] = BPF_CORE_READ(inode, i_mode);
        b->rec.a[4] = (__u64) (__s64) fd;
        b->rec.a[5] = bh_ctime(inode);
        if (!BPF_CORE_READ(inode, i_nlink) && !(flags & BH_O_TMPFILE))
                b->rec.flags |= BH_RF_DELETED;
        bh_put_file_path(b, BH_TAG_PATH, file);
        if (text)
                bh_put_text(b, BH_TAG_NAME, text);
        return bh_end(b);
}

static __noinline int send_open_failed(const void *text, __s32 dfd, __u32 flags, __s64 ret, __u32 marks) {
        struct bh_buf *b;

        if (text) {
                struct bh_named n = { .type = BH_EV_OPEN, .flags = marks, .ret = ret, .text = text, .dfd = dfd, .x = flags };

                b = bh_begin_named(&n, BH_TAG_NAME);
        } else {
                b = bh_begin(BH_EV_OPEN, bh_hash(flags, (__u64) ret) | 1, 0);
        }
        if (!b)
                return 0;
        b->rec.ret = ret;
        b->rec.flags |= marks;
        b->rec.a[2] = flags;
        b->rec.a[4] = (__u64) -1;
        return bh_end(b);
}

/*
 * Opens that an io_uring carries out, by thread: the flags as given, and whether it is the first look, which may not sleep: then EAGAIN
 * only means that a worker will do the open, unless the caller asked for no more than that look.
 */
#define RING_FIRST_LOOK (1ull << 63)
#define IO_URING_F_NONBLOCK 0x80000000u
#define IO_URING_F_NONBLOCK_510 1u
#define RESOLVE_CACHED 0x20
#define BH_O_NONBLOCK 04000u
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 4096);
        __type(key, __u32);
        __type(value, __u64);
} uring_opens SEC(".maps");

SEC("fentry/io_openat2")
int fe_io_openat2(__u64 *ctx) {
        struct io_open *open = (struct io_open *) bh_arg(ctx, 0);
        __u32 tid = (__u32) bpf_get_current_pid_tgid();
        __u64 flags = BPF_CORE_READ(open, how.flags);
        __u32 nonblock = bpf_core_field_exists(((struct io_kiocb *) 0)->cqe) ? IO_URING_F_NONBLOCK : IO_URING_F_NONBLOCK_510;

        if ((__u32) bh_arg(ctx, 1) & nonblock && !(BPF_CORE_READ(open, how.resolve) & RESOLVE_CACHED))
                flags |= RING_FIRST_LOOK;
        bpf_map_update_elem(&uring_opens, &tid, &flags, BPF_ANY);
        return 0;
}

SEC("fexit/io_openat2")
int fx_io_openat2(__u64 *ctx) {
        __u32 tid = (__u32) bpf_get_current_pid_tgid();

        bpf_map_delete_elem(&uring_opens, &tid);
        return 0;
}

static __always_inline __u32 cloexec_of_call(bool compat) {
        const struct pt_regs *regs = bh_user_regs();
        __u32 nr = (__u32) BPF_CORE_READ(regs, orig_ax);
        __u64 flags = 0;

        if (nr == (compat ? 5 : 2)) { /* open */
                flags = compat ? BPF_CORE_READ(regs, cx) : BPF_CORE_READ(regs, si);
        } else if (nr == (compat ? 295 : 257)) { /* openat */
                flags = BPF_CORE_READ(regs, dx);
        } else if (nr == 437) { /* openat2 */
                __u64 how = BPF_CORE_READ(regs, dx);

                bpf_probe_read_user(&flags, sizeof(flags), (void *) (compat ? (__u32) how : how));
        }
        return (__u32) flags & BH_O_CLOEXEC;
}

static __always_inline int open_done(__u64 *ctx) {
        struct filename *name = (struct filename *) bh_arg(ctx, 1);
        struct open_flags *op = (struct open_flags *) bh_arg(ctx, 2);
        struct task_struct *task = bh_current();
        __s32 dfd = (__s32) bh_arg(ctx, 0);
        __s64 ret = (__s64) bh_arg(ctx, 3);
        __u32 flags = (__u32) BPF_CORE_READ(op, open_flag) & ~BH_O_LARGEFILE, tid = (__u32) bpf_get_current_pid_tgid();
        __u32 marks = bh_task_flags(task);
        __u64 *ring = NULL;

        /* an open to run the file is part of the exec event */
        if (flags & FMODE_EXEC)
                return 0;
        if (marks & BH_RF_IO_URING || BPF_CORE_READ(task, io_uring))
                ring = bpf_map_lookup_elem(&uring_opens, &tid);
        if (ring) {
                if (ret == -EAGAIN && *ring & RING_FIRST_LOOK)
                        return 0;
                marks |= BH_RF_IO_URING;
                flags = (flags & ~BH_O_NONBLOCK) | ((__u32) *ring & (BH_O_CLOEXEC | BH_O_NONBLOCK));
        } else if (!(marks & BH_RF_IO_URING)) {
                flags |= cloexec_of_call(marks & BH_RF_COMPAT);
        }
        if (ret < 0 && ret >= -MAX_ERRNO)
                return send_open_failed(BPF_CORE_READ(name, name), dfd, flags, ret, marks);
        return send_open((struct file *) ret, BPF_CORE_READ(name, name), flags, -1, marks);
}

SEC("fexit/do_filp_open")
int fx_do_filp_open(__u64 *ctx) {
        return open_done(ctx);
}

SEC("fexit/do_file_open") /* 7.x: the same by another name */
int fx_do_file_open(__u64 *ctx) {
        return open_done(ctx);
}

/* The file is in the descriptor table; what failed has its text only. */
static __always_inline int open_exit(struct bh_call *c, struct file *file, const void *text, __s32 dfd, __u32 flags) {
        flags &= ~BH_O_LARGEFILE;
        if (c->ret < 0)
                return send_open_failed(text, dfd, flags, c->ret, bh_call_flags(c));
        if (file)
                return send_open(file, text, flags, (__s32) c->ret, bh_call_flags(c));
        /* another thread has closed it again: what was opened is not known, only what was asked for */
        return text ? send_open_failed(text, dfd, flags, 0, bh_call_flags(c) | BH_RF_FAULT) : bh_lose(BH_EV_OPEN, BH_LOST_FAULT, 1);
}

/* On the fallback the descriptor is noted too, for what will be written. */
#define OPEN_CALL(name, text, dfd, flags) \
        SEC("tp_btf/sys_exit") \
        int sx_##name(__u64 *ctx) { \
                struct bh_call call, *c = &call; \
                bh_call_of_exit(c, (const struct pt_regs *) ctx[0], (__s64) ctx[1]); \
                struct file *file = bh_file_of_fd(c->ret); \
                if (file) \
                        bh_written_opened(file, (__u32) c->ret); \
                return open_exit(c, file, text, dfd, flags); \
        }

static __always_inline __u32 how_flags(const void *how) {
        __u64 flags = 0;

        bpf_probe_read_user(&flags, sizeof(flags), how);
        return (__u32) flags;
}

#define A(i) c->args[i]
#define P(i) ((void *) c->args[i])
#define D(i) ((__s32) c->args[i])

OPEN_CALL(open, P(0), AT_FDCWD, (__u32) A(1))
OPEN_CALL(openat, P(1), D(0), (__u32) A(2))
OPEN_CALL(openat2, P(1), D(0), how_flags(P(2)))
OPEN_CALL(creat, P(0), AT_FDCWD, 01101 /* O_CREAT | O_WRONLY | O_TRUNC */)
OPEN_CALL(open_by_handle_at, NULL, D(0), (__u32) A(2))

/* Preferred: of the kernel's functions below this call none is there on all kernels, and there is no text that could be changed. */
SEC("fexit/__x64_sys_open_by_handle_at")
int fx_open_by_handle_at(__u64 *ctx) {
        struct bh_call c;

        bh_call_native(&c, bh_user_regs(), (__s64) ctx[1]);
        return open_exit(&c, bh_file_of_fd(c.ret), NULL, (__s32) c.args[0], (__u32) c.args[2]);
}

SEC("fexit/__ia32_compat_sys_open_by_handle_at")
int fc_open_by_handle_at(__u64 *ctx) {
        struct bh_call c;

        bh_call_compat(&c, bh_user_regs(), (__s64) ctx[1]);
        return open_exit(&c, bh_file_of_fd(c.ret), NULL, (__s32) c.args[0], (__u32) c.args[2]);
}

/* ---- names: preferred ---- */

/*
 * One call, three places. Its entry (do_unlinkat, …; filename_unlinkat, … since 7.0) leaves here what the caller asked for; security_path_*,
 * which only it calls and not overlayfs for the layer below, adds the objects found; vfs_* has the result while the objects are still held:
 * the event is sent there. If the call never got so far (no such file, read-only mount, …) its exit sends what was asked for.
 */
struct pending {
        struct bh_named n;
        struct vfsmount *mnt;
        struct dentry *dentry; /* the object; for link, symlink, mkdir, mknod the new one */
        struct dentry *other;  /* rename: the new name; link: the old */
        struct dentry *old_dir;
        __u64 dev, ino;
        __u64 place; /* bh_place() of all that is named, before the act changes it */
        __u32 mode;
        __u32 done;
        char old_name[256];
};
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 8192);
        __type(key, __u32);
        __type(value, struct pending);
} pendings SEC(".maps");
/* All zero: where a new entry of the map above comes from, too big for the stack. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct pending);
} pending_zero SEC(".maps");

static __always_inline struct pending *pending_of(void) {
        __u32 tid = (__u32) bpf_get_current_pid_tgid();

        return bpf_map_lookup_elem(&pendings, &tid);
}

/*
 * The text behind a parameter that is a struct filename * or, on 5.10 for some, the user's pointer itself. The kernel's copy is given
 * away during the call before 7.0, so the caller's pointer is taken then.
 */
static __always_inline const void *text_of(__u64 param) {
        struct filename *name = (struct filename *) param;

        if (!bh_kernel_pointer(name))
                return name;
        if (bpf_core_field_exists(name->uptr))
                return BPF_CORE_READ(name, uptr);
        return BPF_CORE_READ(name, name);
}

static __always_inline int names_enter(__u32 type, const void *text, __s32 dfd, const void *text2, __s32 dfd2, __u64 x, __u64 y) {
        __u32 zero = 0, tid = (__u32) bpf_get_current_pid_tgid();
        struct pending *p, *empty = bpf_map_lookup_elem(&pending_zero, &zero);

        if (!empty || !text)
                return 0;
        if (bpf_map_update_elem(&pendings, &tid, empty, BPF_ANY))
                return bh_count_lost(bh_task_cgroup(bh_current()), type, BH_LOST_STATE_FULL);
        p = bpf_map_lookup_elem(&pendings, &tid);
        if (!p)
                return 0;
        p->n.type = type;
        p->n.flags = bh_task_flags(bh_current());
        p->n.text = text;
        p->n.text2 = text2;
        p->n.dfd = dfd;
        p->n.dfd2 = dfd2;
        p->n.x = x;
        p->n.y = y;
        return 0;
}

/* Path of `dir` with `name` below it. */
static __noinline int put_below(struct bh_buf *b, __u32 tag, struct vfsmount *mnt, struct dentry *dir, const char *name) {
        __u32 at = b->rec.size, end;
        long n;

        bh_put_path(b, tag, mnt, dir);
        end = b->rec.size;
        if (at > BH_CHUNK_TOP || end <= at || end > BH_CHUNK_TOP + 4200)
                return 0;

        struct bh_chunk *c = (struct bh_chunk *) (b->raw + at);
        if (c->len > 1) {
                b->raw[end] = '/';
                end++;
        }
        n = bpf_probe_read_kernel_str(b->raw + end, 256, name);
        if (n > 1) {
                end += (__u32) n - 1;
                b->rec.size = end;
                c->len = (__u16) (end - at - sizeof(*c));
        }
        return 0;
}

static __noinline int send_pending(struct pending *p, __s64 ret, struct dentry *made) {
        __u32 type = p->n.type;
        struct dentry *dentry = p->dentry;
        __u64 dev = p->dev, ino = p->ino, key, target = 1;
        __u32 mode = p->mode;

        p->done = 1;
        if (!ino && ret >= 0) {
                struct inode *inode = BPF_CORE_READ(made, d_inode);

                dev = BPF_CORE_READ(inode, i_sb, s_dev);
                ino = BPF_CORE_READ(inode, i_ino);
                mode = BPF_CORE_READ(inode, i_mode);
        }

        if (type == BH_EV_SYMLINK)
                target = bh_text_hash((__u64) p->n.text2);
        key = bh_hash(bh_hash(bh_hash(p->place, ino), bh_hash((__u64) ret, target)), bh_hash(p->n.x, p->n.y)) | 1;

        struct bh_buf *b = bh_begin(type, target ? key : 0, 0);
        if (!b)
                return 0;
        b->rec.ret = ret;
        b->rec.flags |= p->n.flags;
        b->rec.a[0] = dev;
        b->rec.a[1] = ino;
        b->rec.a[2] = p->n.x;
        b->rec.a[3] = mode ? mode : p->n.y;
        b->rec.a[4] = 0;
        if (type == BH_EV_RENAME) {
                put_below(b, BH_TAG_PATH, p->mnt, p->old_dir, p->old_name);
                bh_put_path(b, BH_TAG_PATH2, p->mnt, ret < 0 ? p->other : dentry);
        } else if (type == BH_EV_LINK) {
                bh_put_path(b, BH_TAG_PATH, p->mnt, p->other);
                bh_put_path(b, BH_TAG_PATH2, p->mnt, dentry);
        } else if (type == BH_EV_RMDIR) {
                put_below(b, BH_TAG_PATH, p->mnt, p->old_dir, p->old_name);
        } else {
                bh_put_path(b, BH_TAG_PATH, p->mnt, dentry);
                if (type == BH_EV_SYMLINK)
                        bh_put_text(b, BH_TAG_PATH2, p->n.text2);
        }
        return bh_end(b);
}

/* At security_path_*: the objects. Refused there means that vfs_* is not reached. */
static __always_inline int names_found(struct pending *p, const struct path *dir, struct dentry *dentry, struct dentry *other, struct dentry *subject, __s64 ret) {
        struct inode *inode = BPF_CORE_READ(subject, d_inode);

        p->mnt = BPF_CORE_READ(dir, mnt);
        p->old_dir = BPF_CORE_READ(dir, dentry);
        p->dentry = dentry;
        p->other = other;
        p->dev = BPF_CORE_READ(inode, i_sb, s_dev);
        p->ino = BPF_CORE_READ(inode, i_ino);
        p->mode = BPF_CORE_READ(inode, i_mode);
        p->place = bh_place(p->mnt, dentry);
        if (other)
                p->place = bh_hash(p->place, bh_place(p->mnt, other));
        if (p->n.type == BH_EV_RENAME || p->n.type == BH_EV_RMDIR)
                bpf_probe_read_kernel_str(p->old_name, sizeof(p->old_name), BPF_CORE_READ(dentry, d_name.name));
        if (ret)
                send_pending(p, ret, dentry);
        return 0;
}

#define FOUND(name, type_, other, nargs) \
        SEC("fexit/security_path_" #name) \
        int fx_path_##name(__u64 *ctx) { \
                struct pending *p = pending_of(); \
                struct dentry *found = (struct dentry *) bh_arg(ctx, 1); \
                if (!p || p->n.type != type_) \
                        return 0; \
                return names_found(p, (struct path *) bh_arg(ctx, 0), found, (struct dentry *) (other), found, (__s32) bh_arg(ctx, nargs)); \
        }

FOUND(unlink, BH_EV_UNLINK, NULL, 2)
FOUND(rmdir, BH_EV_RMDIR, NULL, 2)
FOUND(mkdir, BH_EV_MKDIR, NULL, 3)
FOUND(mknod, BH_EV_MKNOD, NULL, 4)
FOUND(symlink, BH_EV_SYMLINK, NULL, 3)
FOUND(rename, BH_EV_RENAME, bh_arg(ctx, 3), 5)

/* security_path_link(old_dentry, new_dir, new_dentry) */
SEC("fexit/security_path_link")
int fx_path_link(__u64 *ctx) {
        struct pending *p = pending_of();
        struct dentry *old = (struct dentry *) bh_arg(ctx, 0);

        if (!p || p->n.type != BH_EV_LINK)
                return 0;
        return names_found(p, (struct path *) bh_arg(ctx, 1), (struct dentry *) bh_arg(ctx, 2), old, old, (__s32) bh_arg(ctx, 3));
}

/* The result. A lease or a stale handle makes the kernel try again: then another result follows, or the exit of the call tells this one. */
static __noinline int names_done(struct pending *p, __s64 ret, struct dentry *made) {
        if (p->done || ret == -EAGAIN || ret == -ESTALE)
                return 0;
        return send_pending(p, ret, made);
}

/*
 * The dentry is the second or third parameter, depending on the kernel; overlayfs calls the same function for the layer below with another.
 * The result stands behind the last parameter; how many there are, the sensor reads from the kernel's type information.
 */
#define DONE(name, type_) \
        const volatile __u32 bh_nargs_vfs_##name = 4; \
        SEC("fexit/vfs_" #name) \
        int fx_vfs_##name(__u64 *ctx) { \
                struct pending *p = pending_of(); \
                if (!p || p->n.type != type_ || !p->dentry) \
                        return 0; \
                if ((__u64) p->dentry != bh_arg(ctx, 1) && (__u64) p->dentry != bh_arg(ctx, 2)) \
                        return 0; \
                return names_done(p, (__s32) bh_arg(ctx, bh_nargs_vfs_##name), p->dentry); \
        }

DONE(unlink, BH_EV_UNLINK)
DONE(rmdir, BH_EV_RMDIR)
DONE(mknod, BH_EV_MKNOD)
DONE(create, BH_EV_MKNOD) /* mknod of a regular file */
DONE(symlink, BH_EV_SYMLINK)

const volatile __u32 bh_nargs_vfs_mkdir = 4;
SEC("fexit/vfs_mkdir")
int fx_vfs_mkdir(__u64 *ctx) {
        struct pending *p = pending_of();
        __s64 ret = (__s64) bh_arg(ctx, bh_nargs_vfs_mkdir);
        struct dentry *made;

        if (!p || p->n.type != BH_EV_MKDIR || !p->dentry || ((__u64) p->dentry != bh_arg(ctx, 1) && (__u64) p->dentry != bh_arg(ctx, 2)))
                return 0;
        /* 6.15 and later return the dentry, which may be another than the one given, or an error pointer */
        made = p->dentry;
        if (ret < -MAX_ERRNO) {
                made = (struct dentry *) ret;
                ret = 0;
        }
        return names_done(p, (__s32) ret, made);
}

const volatile __u32 bh_nargs_vfs_link = 5;
SEC("fexit/vfs_link")
int fx_vfs_link(__u64 *ctx) {
        struct pending *p = pending_of();

        /* new_dentry is the last but one */
        if (!p || p->n.type != BH_EV_LINK || !p->dentry || (__u64) p->dentry != bh_arg(ctx, bh_nargs_vfs_link - 2))
                return 0;
        return names_done(p, (__s32) bh_arg(ctx, bh_nargs_vfs_link), p->dentry);
}

SEC("fexit/vfs_rename")
int fx_vfs_rename(__u64 *ctx) {
        struct pending *p = pending_of();
        struct renamedata *rd = (struct renamedata *) bh_arg(ctx, 0);

        if (!p || p->n.type != BH_EV_RENAME || !p->dentry || p->dentry != BPF_CORE_READ(rd, old_dentry))
                return 0;
        return names_done(p, (__s32) bh_arg(ctx, 1), p->dentry);
}

static __noinline int names_exit(__s64 ret) {
        __u32 tid = (__u32) bpf_get_current_pid_tgid();
        struct pending *p = bpf_map_lookup_elem(&pendings, &tid);

        if (!p)
                return 0;
        if (!p->done && p->n.type == BH_EV_RMDIR && p->dentry) {
                /* some compilers put vfs_rmdir() into its only caller here; the directory it was in is still there */
                send_pending(p, ret, p->dentry);
        } else if (!p->done) {
                struct bh_named n = p->n;

                n.ret = ret;
                bh_send_named(&n, BH_TAG_NAME);
        }
        bpf_map_delete_elem(&pendings, &tid);
        return 0;
}

/* Entry and exit of the call, by both of its names. */
#define NAMES(old, new, nargs, ...) \
        SEC("fentry/" #old) int fe_##old(__u64 *ctx) { return names_enter(__VA_ARGS__); } \
        SEC("fexit/" #old) int fx_##old(__u64 *ctx) { return names_exit((__s32) bh_arg(ctx, nargs)); } \
        SEC("fentry/" #new) int fe_##new(__u64 *ctx) { return names_enter(__VA_ARGS__); } \
        SEC("fexit/" #new) int fx_##new(__u64 *ctx) { return names_exit((__s32) bh_arg(ctx, nargs)); }
#define TEXT(i) text_of(bh_arg(ctx, i))
#define DFD(i) (__s32) bh_arg(ctx, i)

/* What mkdir and mknod give the new file, by the caller's umask. */
static __always_inline __u32 masked(__u64 mode, __u32 kind) {
        return kind | ((__u32) mode & ~(__u32) BPF_CORE_READ(bh_current(), fs, umask) & 07777);
}

NAMES(do_unlinkat, filename_unlinkat, 2, BH_EV_UNLINK, TEXT(1), DFD(0), NULL, 0, 0, 0)
NAMES(do_rmdir, filename_rmdir, 2, BH_EV_RMDIR, TEXT(1), DFD(0), NULL, 0, 0, 0)
NAMES(do_mkdirat, filename_mkdirat, 3, BH_EV_MKDIR, TEXT(1), DFD(0), NULL, 0, 0, masked(bh_arg(ctx, 2), S_IFDIR))
NAMES(do_mknodat, filename_mknodat, 4, BH_EV_MKNOD, TEXT(1), DFD(0), NULL, 0, (__u32) bh_arg(ctx, 3), masked(bh_arg(ctx, 2), (__u32) bh_arg(ctx, 2) & S_IFMT))
NAMES(do_symlinkat, filename_symlinkat, 3, BH_EV_SYMLINK, TEXT(2), DFD(1), TEXT(0), BH_NO_BASE, 0, 0)
NAMES(do_linkat, filename_linkat, 5, BH_EV_LINK, TEXT(1), DFD(0), TEXT(3), DFD(2), 0, 0)
NAMES(do_renameat2, filename_renameat2, 5, BH_EV_RENAME, TEXT(1), DFD(0), TEXT(3), DFD(2), (__u32) bh_arg(ctx, 4), 0)

/* ---- names: fallback ---- */

static __always_inline int names_call(struct bh_call *c, __u32 type, const void *text, __s32 dfd, const void *text2, __s32 dfd2, __u64 x, __u64 y) {
        struct bh_named n = { .type = type, .flags = bh_call_flags(c), .ret = c->ret, .text = text, .text2 = text2, .dfd = dfd, .dfd2 = dfd2, .x = x, .y = y };

        return bh_send_named(&n, BH_TAG_NAME);
}

#define NAME_CALL(name, ...) \
        BH_SYSCALL_FALLBACK(name) { \
                return names_call(c, __VA_ARGS__); \
        }

NAME_CALL(rename, BH_EV_RENAME, P(0), AT_FDCWD, P(1), AT_FDCWD, 0, 0)
NAME_CALL(renameat, BH_EV_RENAME, P(1), D(0), P(3), D(2), 0, 0)
NAME_CALL(renameat2, BH_EV_RENAME, P(1), D(0), P(3), D(2), (__u32) A(4), 0)
NAME_CALL(link, BH_EV_LINK, P(0), AT_FDCWD, P(1), AT_FDCWD, 0, 0)
NAME_CALL(linkat, BH_EV_LINK, P(1), D(0), P(3), D(2), 0, 0)
NAME_CALL(symlink, BH_EV_SYMLINK, P(1), AT_FDCWD, P(0), BH_NO_BASE, 0, 0)
NAME_CALL(symlinkat, BH_EV_SYMLINK, P(2), D(1), P(0), BH_NO_BASE, 0, 0)
NAME_CALL(unlink, BH_EV_UNLINK, P(0), AT_FDCWD, NULL, 0, 0, 0)
NAME_CALL(unlinkat, A(2) & AT_REMOVEDIR ? BH_EV_RMDIR : BH_EV_UNLINK, P(1), D(0), NULL, 0, 0, 0)
NAME_CALL(rmdir, BH_EV_RMDIR, P(0), AT_FDCWD, NULL, 0, 0, 0)
NAME_CALL(mkdir, BH_EV_MKDIR, P(0), AT_FDCWD, NULL, 0, 0, masked(A(1), S_IFDIR))
NAME_CALL(mkdirat, BH_EV_MKDIR, P(1), D(0), NULL, 0, 0, masked(A(2), S_IFDIR))
NAME_CALL(mknod, BH_EV_MKNOD, P(0), AT_FDCWD, NULL, 0, (__u32) A(2), masked(A(1), A(1) & S_IFMT ? (__u32) A(1) & S_IFMT : S_IFREG))
NAME_CALL(mknodat, BH_EV_MKNOD, P(1), D(0), NULL, 0, (__u32) A(3), masked(A(2), A(2) & S_IFMT ? (__u32) A(2) & S_IFMT : S_IFREG))

/* ---- io_uring: fallback ---- */

/*
 * No system call of the act's name is made. At submission the kernel has copied the names; the result comes with the completion, maybe on
 * another thread, when the copies are gone. So they are kept here meanwhile.
 */
enum { OP_OPENAT = 18, OP_OPENAT2 = 28, OP_RENAMEAT = 35, OP_UNLINKAT, OP_MKDIRAT, OP_SYMLINKAT, OP_LINKAT };

struct ring_request {
        struct bh_actor who;
        __u32 type;
        __s32 dfd, dfd2;
        __u32 slot; /* open into a slot of the ring, not a descriptor */
        __u64 x, y;
        char text[BH_PATH_MAX];
        char text2[BH_PATH_MAX];
};
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 512);
        __type(key, __u64);
        __type(value, struct ring_request);
} ring_requests SEC(".maps");
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, struct ring_request);
} ring_request_zero SEC(".maps");

static __noinline int ring_text(struct ring_request *r, struct filename *one, struct filename *two) {
        bpf_probe_read_kernel_str(r->text, sizeof(r->text), BPF_CORE_READ(one, name));
        if (two)
                bpf_probe_read_kernel_str(r->text2, sizeof(r->text2), BPF_CORE_READ(two, name));
        return 0;
}

/* 7.0 wrapped the pointer. */
#define FILENAME(type, ptr, field) \
        (bpf_core_field_exists(((struct type *) 0)->field) ? BPF_CORE_READ((struct type *) (ptr), field) : \
                                                             BPF_CORE_READ((struct type##___delayed *) (ptr), field.__incomplete_filename))

static __always_inline int ring_submitted(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) bh_arg(ctx, 0);
        __u32 op = BPF_CORE_READ(req, opcode), zero = 0;
        __u64 key = (__u64) req;

        if (op != OP_OPENAT && op != OP_OPENAT2 && (op < OP_RENAMEAT || op > OP_LINKAT))
                return 0;

        struct ring_request *r, *empty = bpf_map_lookup_elem(&ring_request_zero, &zero);
        if (!empty)
                return 0;
        if (bpf_map_update_elem(&ring_requests, &key, empty, BPF_ANY))
                return bh_count_lost(bh_task_cgroup(bh_current()), op == OP_OPENAT || op == OP_OPENAT2 ? BH_EV_OPEN : BH_EV_RENAME, BH_LOST_STATE_FULL);
        r = bpf_map_lookup_elem(&ring_requests, &key);
        if (!r)
                return 0;
        bh_actor_of(&r->who, bh_current());

        if (op == OP_OPENAT || op == OP_OPENAT2) {
                r->type = BH_EV_OPEN;
                r->dfd = BPF_CORE_READ((struct io_open *) req, dfd);
                r->slot = BPF_CORE_READ((struct io_open *) req, file_slot);
                r->x = BPF_CORE_READ((struct io_open *) req, how.flags) & ~(__u64) BH_O_LARGEFILE;
                ring_text(r, FILENAME(io_open, req, filename), NULL);
        } else if (op == OP_UNLINKAT) {
                r->type = BPF_CORE_READ((struct io_unlink *) req, flags) & AT_REMOVEDIR ? BH_EV_RMDIR : BH_EV_UNLINK;
                r->dfd = BPF_CORE_READ((struct io_unlink *) req, dfd);
                ring_text(r, FILENAME(io_unlink, req, filename), NULL);
        } else if (op == OP_MKDIRAT) {
                r->type = BH_EV_MKDIR;
                r->dfd = BPF_CORE_READ((struct io_mkdir *) req, dfd);
                r->y = masked(BPF_CORE_READ((struct io_mkdir *) req, mode), S_IFDIR);
                ring_text(r, FILENAME(io_mkdir, req, filename), NULL);
        } else if (op == OP_SYMLINKAT) {
                r->type = BH_EV_SYMLINK;
                r->dfd = BPF_CORE_READ((struct io_link *) req, new_dfd);
                ring_text(r, FILENAME(io_link, req, newpath), FILENAME(io_link, req, oldpath));
        } else if (op == OP_LINKAT) {
                r->type = BH_EV_LINK;
                r->dfd = BPF_CORE_READ((struct io_link *) req, old_dfd);
                r->dfd2 = BPF_CORE_READ((struct io_link *) req, new_dfd);
                ring_text(r, FILENAME(io_link, req, oldpath), FILENAME(io_link, req, newpath));
        } else {
                r->type = BH_EV_RENAME;
                r->dfd = BPF_CORE_READ((struct io_rename *) req, old_dfd);
                r->dfd2 = BPF_CORE_READ((struct io_rename *) req, new_dfd);
                r->x = (__u32) BPF_CORE_READ((struct io_rename *) req, flags);
                ring_text(r, FILENAME(io_rename, req, oldpath), FILENAME(io_rename, req, newpath));
        }
        return 0;
}

SEC("tp_btf/io_uring_submit_req")
int tb_ring_submit(__u64 *ctx) {
        return ring_submitted(ctx);
}

SEC("tp_btf/io_uring_submit_sqe") /* before 6.4; before 5.19 it was not about a request, and the loader leaves it out */
int tb_ring_submit_sqe(__u64 *ctx) {
        return ring_submitted(ctx);
}

/* A pointer into a map as the number that global functions take: what the verifier knows of it is lost on the way through memory. */
static __always_inline const void *as_number(const void *p) {
        const void *number = NULL;

        bpf_probe_read_kernel(&number, sizeof(number), &p);
        return number;
}

/* Where the file is, or else where the texts start from. */
static __noinline __u64 ring_place(struct ring_request *r, struct file *file, const void *text, const void *text2) {
        if (file)
                return bh_hash(bh_place_of_file(file) ^ BPF_CORE_READ(file, f_inode, i_sb, s_dev), BPF_CORE_READ(file, f_inode, i_ino));
        return bh_hash(bh_base_place(r->dfd, (__u64) text), bh_base_place(r->dfd2, (__u64) text2));
}

static __always_inline int ring_done(struct ring_request *r, __s64 ret) {
        const void *text = as_number(r->text), *text2 = as_number(r->text2);
        struct file *file = r->type == BH_EV_OPEN && ret >= 0 && !r->slot ? bh_file_of_fd(ret) : NULL;
        struct inode *inode = BPF_CORE_READ(file, f_inode);
        __u64 one = bh_text_hash((__u64) text), two = bh_text_hash((__u64) text2);
        __u64 key = one && two ? bh_hash(bh_hash(bh_hash(one, two), bh_hash(ret < 0 ? (__u64) ret : 0, r->x)), ring_place(r, file, text, text2)) | 1 : 0;
        struct bh_buf *b = bh_begin_as(&r->who, r->type, key, 0);

        if (!b)
                return 0;
        b->rec.ret = ret < 0 ? ret : 0;
        b->rec.flags |= BH_RF_IO_URING;
        b->rec.a[2] = r->x;
        b->rec.a[3] = r->y;
        b->rec.a[4] = 0;
        if (r->type == BH_EV_OPEN)
                b->rec.a[4] = file ? (__u64) ret : (__u64) -1;
        if (file) {
                b->rec.a[0] = BPF_CORE_READ(inode, i_sb, s_dev);
                b->rec.a[1] = BPF_CORE_READ(inode, i_ino);
                b->rec.a[3] = BPF_CORE_READ(inode, i_mode);
                b->rec.a[5] = bh_ctime(inode);
                if (BPF_CORE_READ(file, f_mode) & FMODE_CREATED || r->x & BH_O_TMPFILE)
                        b->rec.flags |= BH_RF_CREATED;
                bh_put_file_path(b, BH_TAG_PATH, file);
        } else {
                b->rec.flags |= BH_RF_PATH_USER;
        }
        bh_put_text(b, BH_TAG_NAME, text);
        if (!file)
                bh_put_base(b, BH_TAG_CWD, r->dfd, text);
        if (r->type == BH_EV_RENAME || r->type == BH_EV_LINK || r->type == BH_EV_SYMLINK) {
                bh_put_text(b, BH_TAG_PATH2, text2);
                if (r->type != BH_EV_SYMLINK)
                        bh_put_base(b, BH_TAG_CWD2, r->dfd2, text2);
        }
        bh_end(b);
        if (file)
                bh_written_opened(file, (__u32) ret);
        return 0;
}

SEC("tp_btf/io_uring_complete")
int tb_ring_complete(__u64 *ctx) {
        struct io_kiocb *req = (struct io_kiocb *) bh_arg(ctx, 1);
        __u64 key = (__u64) req;
        struct ring_request *r = bpf_map_lookup_elem(&ring_requests, &key);

        if (!r || !bpf_core_field_exists(req->cqe))
                return 0;
        ring_done(r, BPF_CORE_READ(req, cqe.res));
        bpf_map_delete_elem(&ring_requests, &key);
        return 0;
}

#include "file_attr.part.c"
#include "file_write.part.c"
