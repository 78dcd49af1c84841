/* SPDX-License-Identifier: Apache-2.0 */
/* Acts: names, modes, owners, attributes, mounts. Mounts are made in a mount namespace of the act's own. */
#include "acts.h"

#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/xattr.h>

/* <sys/mount.h> and <linux/mount.h> of this C library do not go together: the two that are needed. */
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif

enum { RENAME, RENAMEAT, RENAMEAT2, EXCHANGE, NOREPLACE, RENAME_OVER, LINK, LINKAT, SYMLINK, SYMLINKAT, UNLINK, UNLINKAT, UNLINK_ENOENT, MKDIR, MKDIRAT, RMDIR, RMDIRAT, MKNOD, MKNODAT, MKFIFO,
       UNLINK_INT80 };

static void run_name(const struct act *a) {
        const char *from = act_file("from", "from"), *to = act_path("to \"quoted\"");
        int dir = open(env.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        long r = -1;

        if (a->arg == EXCHANGE || a->arg == NOREPLACE || a->arg == RENAME_OVER)
                to = act_file("target", "to");
        if (a->arg == RMDIR || a->arg == RMDIRAT) {
                from = act_path("directory");
                if (mkdir(from, 0755) < 0)
                        act_unsupported("mkdir");
        }
        if (a->arg == MKDIR || a->arg == MKDIRAT || (a->arg >= MKNOD && a->arg <= MKFIFO))
                from = to;
        if (a->arg == UNLINK_ENOENT)
                from = act_path("missing");
        if (a->arg == UNLINK_INT80)
                from = act_low(from, strlen(from));
        if (a->arg != SYMLINK && a->arg != SYMLINKAT && lstat(from, &st) == 0)
                act_path_facts(from);
        else if (a->arg != SYMLINK && a->arg != SYMLINKAT)
                act_str("path", from);
        errno = 0;
        switch (a->arg) {
        case RENAME:
        case RENAME_OVER: r = SYSC(SYS_rename, from, to); break;
        case RENAMEAT: r = SYSC(SYS_renameat, dir, "from", AT_FDCWD, to); break;
        case RENAMEAT2: r = SYSC(SYS_renameat2, dir, "from", AT_FDCWD, to, 0); break;
        case EXCHANGE: r = SYSC(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE); break;
        case NOREPLACE: r = SYSC(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE); break;
        case LINK: r = SYSC(SYS_link, from, to); break;
        case LINKAT: r = SYSC(SYS_linkat, dir, "from", AT_FDCWD, to, 0); break;
        case SYMLINK: r = SYSC(SYS_symlink, "where\nto", to); break;
        case SYMLINKAT: r = SYSC(SYS_symlinkat, from, dir, "to \"quoted\""); break;
        case UNLINK:
        case UNLINK_ENOENT: r = SYSC(SYS_unlink, from); break;
        case UNLINKAT: r = SYSC(SYS_unlinkat, dir, "from", 0); break;
        case UNLINK_INT80: r = INT80(10 /* unlink */, from); break;
        case MKDIR: r = SYSC(SYS_mkdir, from, 0750); break;
        case MKDIRAT: r = SYSC(SYS_mkdirat, dir, "to \"quoted\"", 0750); break;
        case RMDIR: r = SYSC(SYS_rmdir, from); break;
        case RMDIRAT: r = SYSC(SYS_unlinkat, dir, "directory", AT_REMOVEDIR); break;
        case MKNOD: r = SYSC(SYS_mknod, from, S_IFCHR | 0600, (1 << 8) | 3); break; /* as /dev/null */
        case MKNODAT: r = SYSC(SYS_mknodat, dir, "to \"quoted\"", S_IFREG | 0600, 0); break;
        case MKFIFO: r = SYSC(SYS_mknod, from, S_IFIFO | 0600, 0); break;
        default: break;
        }
        act_ret(r);
        if (a->arg < SYMLINK) {
                act_str("path2", to);
        } else if (a->arg <= SYMLINKAT) {
                act_path_facts(to);
                act_str("path2", a->arg == SYMLINK ? "where\nto" : from);
        }
        if (from == to && lstat(to, &st) == 0) {
                act_int("dev", (long long) st.st_dev);
                act_int("ino", (long long) st.st_ino);
                act_int("mode", st.st_mode);
        }
        act_end();
}

/* ---- modes, owners, attributes ---- */

enum { CHMOD, FCHMOD, FCHMODAT, FCHMODAT2, CHMOD_SUID, CHMOD_INT80, CHOWN, FCHOWN, LCHOWN, FCHOWNAT, CHOWN16, SETX, LSETX, FSETX, SETX_USER, REMOVEX, LREMOVEX, FREMOVEX };

static void run_attr(const struct act *a) {
        const char *file = act_file("file", "x");
        const struct vfs_cap_data cap = { VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, { { 1u << CAP_NET_RAW, 0 }, { 0, 0 } } };
        const char *name = a->arg == SETX_USER ? "user.acts" : "security.capability";
        int fd = open(file, O_RDWR | O_CLOEXEC), dir = open(env.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        long mode = 0, r = -1;

        if (a->arg == LCHOWN) {
                if (symlink(file, act_path("link")) < 0)
                        act_unsupported("symlink");
                file = act_path("link");
        }
        if (a->arg >= REMOVEX && setxattr(file, name, &cap, sizeof cap, 0) < 0)
                act_unsupported("cannot set the attribute first");
        if (a->arg == CHMOD_INT80)
                file = act_low(file, strlen(file));
        errno = 0;
        switch (a->arg) {
        case CHMOD: r = SYSC(SYS_chmod, file, mode = 0751); break;
        case CHMOD_SUID: r = SYSC(SYS_chmod, file, mode = 04755); break;
        case CHMOD_INT80: r = INT80(15 /* chmod */, file, mode = 0751); break;
        case FCHMOD: r = SYSC(SYS_fchmod, fd, mode = 0752); break;
        case FCHMODAT: r = SYSC(SYS_fchmodat, dir, "file", mode = 0753); break;
        case FCHMODAT2: r = SYSC(SYS_fchmodat2, dir, "file", mode = 0754, AT_SYMLINK_NOFOLLOW); break;
        case CHOWN: r = SYSC(SYS32(chown), file, 1001, 1002); break;
        case FCHOWN: r = SYSC(SYS32(fchown), fd, 1001, 1002); break;
        case LCHOWN: r = SYSC(SYS32(lchown), file, 1001, 1002); break;
        case FCHOWNAT: r = SYSC(SYS_fchownat, dir, "file", 1001, 1002, 0); break;
#ifdef __i386__
        case CHOWN16: r = SYSC(SYS_chown, file, 1001, 1002); break;
#endif
        case SETX:
        case SETX_USER: r = SYSC(SYS_setxattr, file, name, &cap, sizeof cap, 0); break;
        case LSETX: r = SYSC(SYS_lsetxattr, file, name, &cap, sizeof cap, 0); break;
        case FSETX: r = SYSC(SYS_fsetxattr, fd, name, &cap, sizeof cap, 0); break;
        case REMOVEX: r = SYSC(SYS_removexattr, file, name); break;
        case LREMOVEX: r = SYSC(SYS_lremovexattr, file, name); break;
        case FREMOVEX: r = SYSC(SYS_fremovexattr, fd, name); break;
        default: break;
        }
        act_ret(r);
        if (a->arg <= CHMOD_INT80)
                act_int("new_mode", mode);
        else if (a->arg <= CHOWN16)
                act_int("owner_uid", 1001), act_int("owner_gid", 1002);
        else
                act_str("name", name);
        act_path_facts(file);
        act_end();
}

/* ---- mounts ---- */

enum { MOUNT_TMPFS, MOUNT_BIND, MOUNT_REMOUNT, MOUNT_MOVE, UMOUNT2, UMOUNT_DETACH, PIVOT_ROOT, FSMOUNT, OPEN_TREE, MOUNT_SETATTR_ };

static void mount_or_end(const char *src, const char *dst, const char *type, unsigned long flags) {
        if (SYSC(SYS_mount, src, dst, type, flags, NULL) < 0)
                act_unsupported("cannot mount first");
}

static void run_mount(const struct act *a) {
        const char *from = act_path("from"), *to = act_path("to mount"), *old;
        struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC };
        long r = -1;
        int fs, mnt;

        act_private_mounts();
        if (mkdir(from, 0755) < 0 || mkdir(to, 0755) < 0)
                act_unsupported("mkdir");
        if (a->arg == MOUNT_MOVE || a->arg == MOUNT_REMOUNT || a->arg == UMOUNT2 || a->arg == UMOUNT_DETACH || a->arg == MOUNT_SETATTR_)
                mount_or_end("acts-before", a->arg == MOUNT_MOVE ? from : to, "tmpfs", 0);
        errno = 0;
        switch (a->arg) {
        case MOUNT_TMPFS:
                r = SYSC(SYS_mount, "acts \"tmpfs\"", to, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k");
                act_str("path2", "acts \"tmpfs\"");
                act_str("fstype", "tmpfs");
                act_int("op_flags", MS_NOSUID | MS_NODEV);
                break;
        case MOUNT_BIND:
                r = SYSC(SYS_mount, from, to, NULL, MS_BIND, NULL);
                act_str("path2", from);
                act_int("op_flags", MS_BIND);
                break;
        case MOUNT_REMOUNT:
                r = SYSC(SYS_mount, NULL, to, NULL, MS_REMOUNT | MS_RDONLY, NULL);
                act_int("op_flags", MS_REMOUNT | MS_RDONLY);
                break;
        case MOUNT_MOVE:
                r = SYSC(SYS_mount, from, to, NULL, MS_MOVE, NULL);
                act_str("path2", from);
                act_int("op_flags", MS_MOVE);
                break;
        case UMOUNT2: r = SYSC(SYS_umount2, to, 0); break;
        case UMOUNT_DETACH:
                r = SYSC(SYS_umount2, to, MNT_DETACH);
                act_int("op_flags", MNT_DETACH);
                break;
        case PIVOT_ROOT:
                mount_or_end("acts-root", to, "tmpfs", 0);
                old = act_path("to mount/old");
                if (mkdir(old, 0755) < 0)
                        act_unsupported("mkdir");
                errno = 0;
                r = SYSC(SYS_pivot_root, to, old);
                act_str("put_old", old);
                break;
        case FSMOUNT:
                fs = (int) SYSC(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
                if (fs < 0 || SYSC(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", "acts-fsmount", 0) < 0 || SYSC(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
                    (mnt = (int) SYSC(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0)) < 0)
                        act_unsupported("fsopen, fsconfig or fsmount");
                errno = 0;
                r = SYSC(SYS_move_mount, mnt, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
                act_str("fstype", "tmpfs");
                break;
        case OPEN_TREE:
                mnt = (int) SYSC(SYS_open_tree, AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
                if (mnt < 0)
                        act_unsupported("open_tree");
                errno = 0;
                r = SYSC(SYS_move_mount, mnt, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
                act_str("path2", from);
                break;
        case MOUNT_SETATTR_: r = SYSC(SYS_mount_setattr, AT_FDCWD, to, 0, &attr, sizeof attr); break;
        default: break;
        }
        act_ret(r);
        act_str("path", to);
        act_end();
}

#ifdef __i386__
#define CALL32(x) x "32"
#else
#define CALL32(x) x
#endif

const struct act acts_path[] = {
        { "rename", "rename", "rename", "rename", run_name, RENAME, 0 },
        { "rename", "over", "rename", "rename", run_name, RENAME_OVER, 0 },
        { "rename", "renameat", "rename", "renameat", run_name, RENAMEAT, 0 },
        { "rename", "renameat2", "rename", "renameat2", run_name, RENAMEAT2, 0 },
        { "rename", "exchange", "rename", "renameat2", run_name, EXCHANGE, 0 },
        { "rename", "noreplace_eexist", "rename", "renameat2", run_name, NOREPLACE, 0 },
        { "link", "link", "link", "link", run_name, LINK, 0 },
        { "link", "linkat", "link", "linkat", run_name, LINKAT, 0 },
        { "symlink", "symlink", "symlink", "symlink", run_name, SYMLINK, 0 },
        { "symlink", "symlinkat", "symlink", "symlinkat", run_name, SYMLINKAT, 0 },
        { "unlink", "unlink", "unlink", "unlink", run_name, UNLINK, 0 },
        { "unlink", "unlinkat", "unlink", "unlinkat", run_name, UNLINKAT, 0 },
        { "unlink", "enoent", "unlink", "unlink", run_name, UNLINK_ENOENT, 0 },
        { "unlink", "int80", "unlink", "unlink", run_name, UNLINK_INT80, ACT_X86_64 | ACT_INT80 },
        { "mkdir", "mkdir", "mkdir", "mkdir", run_name, MKDIR, 0 },
        { "mkdir", "mkdirat", "mkdir", "mkdirat", run_name, MKDIRAT, 0 },
        { "rmdir", "rmdir", "rmdir", "rmdir", run_name, RMDIR, 0 },
        { "rmdir", "unlinkat", "rmdir", "unlinkat", run_name, RMDIRAT, 0 },
        { "mknod", "mknod", "mknod", "mknod", run_name, MKNOD, 0 },
        { "mknod", "mknodat", "mknod", "mknodat", run_name, MKNODAT, 0 },
        { "mknod", "fifo", "mknod", "mknod", run_name, MKFIFO, 0 },

        { "chmod", "chmod", "chmod", "chmod", run_attr, CHMOD, 0 },
        { "chmod", "setuid_bit", "chmod", "chmod", run_attr, CHMOD_SUID, 0 },
        { "chmod", "fchmod", "chmod", "fchmod", run_attr, FCHMOD, 0 },
        { "chmod", "fchmodat", "chmod", "fchmodat", run_attr, FCHMODAT, 0 },
        { "chmod", "fchmodat2", "chmod", "fchmodat2", run_attr, FCHMODAT2, 0 },
        { "chmod", "int80", "chmod", "chmod", run_attr, CHMOD_INT80, ACT_X86_64 | ACT_INT80 },
        { "chown", "chown", "chown", CALL32("chown"), run_attr, CHOWN, 0 },
        { "chown", "chown16", "chown", "chown", run_attr, CHOWN16, ACT_I386 },
        { "chown", "fchown", "chown", CALL32("fchown"), run_attr, FCHOWN, 0 },
        { "chown", "lchown", "chown", CALL32("lchown"), run_attr, LCHOWN, 0 },
        { "chown", "fchownat", "chown", "fchownat", run_attr, FCHOWNAT, 0 },
        { "setxattr", "setxattr", "setxattr", "setxattr", run_attr, SETX, 0 },
        { "setxattr", "lsetxattr", "setxattr", "lsetxattr", run_attr, LSETX, 0 },
        { "setxattr", "fsetxattr", "setxattr", "fsetxattr", run_attr, FSETX, 0 },
        { "setxattr", "user", "setxattr", "setxattr", run_attr, SETX_USER, ACT_QUIET },
        { "removexattr", "removexattr", "setxattr", "removexattr", run_attr, REMOVEX, 0 },
        { "removexattr", "lremovexattr", "setxattr", "lremovexattr", run_attr, LREMOVEX, 0 },
        { "removexattr", "fremovexattr", "setxattr", "fremovexattr", run_attr, FREMOVEX, 0 },

        { "mount", "tmpfs", "mount", "mount", run_mount, MOUNT_TMPFS, 0 },
        { "mount", "bind", "mount", "mount", run_mount, MOUNT_BIND, 0 },
        { "mount", "remount", "mount", "mount", run_mount, MOUNT_REMOUNT, 0 },
        { "mount", "move", "mount", "mount", run_mount, MOUNT_MOVE, 0 },
        { "umount", "umount2", "umount", "umount2", run_mount, UMOUNT2, 0 },
        { "umount", "detach", "umount", "umount2", run_mount, UMOUNT_DETACH, 0 },
        { "pivot_root", "pivot_root", "pivot_root", "pivot_root", run_mount, PIVOT_ROOT, 0 },
        { "move_mount", "fsmount", "move_mount", "move_mount", run_mount, FSMOUNT, 0 },
        { "move_mount", "open_tree", "move_mount", "move_mount", run_mount, OPEN_TREE, 0 },
        { "mount_setattr", "mount_setattr", "mount", "mount_setattr", run_mount, MOUNT_SETATTR_, 0 },
        { NULL, NULL, NULL, NULL, NULL, 0, 0 },
};
