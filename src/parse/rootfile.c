/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/rootfile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/fdio.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#define MQUEUE_MAGIC 0x19800202
#define CONFIGFS_MAGIC 0x62656570

GQuark bh_rootfile_error_quark(void) {
        return g_quark_from_static_string("bh-rootfile-error");
}

static void fail(GError **error, BhRootfileError code, const char *path, const char *why) {
        g_autofree char *cell = bh_escape_cell(path, -1);

        g_set_error(error, BH_ROOTFILE_ERROR, (gint) code, "cannot read %s in the container: %s", cell, why);
}

static void fail_errno(GError **error, const char *path, int number) {
        BhRootfileError code = BH_ROOTFILE_ERROR_IO;

        if (number == ENOENT || number == ENOTDIR || number == ESRCH)
                code = BH_ROOTFILE_ERROR_GONE;
        else if (number == EXDEV || number == ELOOP)
                code = BH_ROOTFILE_ERROR_KIND;
        fail(error, code, path, number == EXDEV ? "the path leads to another mount, or to a place outside" : g_strerror(number));
}

int bh_rootfile_root(const char *proc, pid_t pid, GError **error) {
        g_autofree char *path = g_strdup_printf("%s/%d/root", proc, (int) pid);
        int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                g_set_error(error, BH_ROOTFILE_ERROR, errno == ENOENT || errno == ESRCH ? BH_ROOTFILE_ERROR_GONE : BH_ROOTFILE_ERROR_IO,
                            "cannot open the root directory of process %d (%s): %s", (int) pid, path, g_strerror(errno));
        return fd;
}

/* File systems whose regular files do something when they are read, or show what is not the container's. */
static gboolean is_pseudo(unsigned long type) {
        static const unsigned long types[] = {
                PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
                BPF_FS_MAGIC, PSTOREFS_MAGIC, EFIVARFS_MAGIC, SELINUX_MAGIC, SMACK_MAGIC, NSFS_MAGIC, BINFMTFS_MAGIC, DEVPTS_SUPER_MAGIC,
                MQUEUE_MAGIC, CONFIGFS_MAGIC, FUSE_SUPER_MAGIC,
        };

        for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
                if (type == types[i])
                        return TRUE;
        return FALSE;
}

static int openat2_place(int root, const char *path, guint64 resolve) {
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve };
        int fd;

        /* a rename anywhere on the way makes the kernel give up with EAGAIN: it can be made to happen again and again */
        for (int tries = 0; (fd = (int) syscall(SYS_openat2, root, path, &how, sizeof(how))) < 0 && errno == EAGAIN && tries < 16; tries++)
                ;
        return fd;
}

static BhRootfileInfo info_of(const struct stat *st) {
        return (BhRootfileInfo) {
                .dev = st->st_dev,
                .ino = st->st_ino,
                .size = (guint64) st->st_size,
                .mtime_ns = (gint64) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
                .ctime_ns = (gint64) st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
                .mode = st->st_mode,
                .uid = st->st_uid,
                .gid = st->st_gid,
        };
}

/* `place` stays open. */
static int open_place(int place, const char *path, guint64 max, gboolean pseudo_too, BhRootfileInfo *info, GError **error) {
        g_auto(BhFd) fd = -1;
        struct statfs fs;
        struct stat st;
        char self[64];

        if (fstat(place, &st)) {
                fail_errno(error, path, errno);
                return -1;
        }
        if (!S_ISREG(st.st_mode)) {
                fail(error, BH_ROOTFILE_ERROR_KIND, path, "it is not a regular file");
                return -1;
        }
        if (!pseudo_too && (fstatfs(place, &fs) || is_pseudo((unsigned long) fs.f_type))) {
                fail(error, BH_ROOTFILE_ERROR_KIND, path, "it is on a file system of the kernel's or a user's own making");
                return -1;
        }
        if ((guint64) st.st_size > max) {
                g_autofree char *why = g_strdup_printf("it has %" G_GINT64_FORMAT " bytes; at most %" G_GUINT64_FORMAT " are read", (gint64) st.st_size, max);

                fail(error, BH_ROOTFILE_ERROR_TOO_LARGE, path, why);
                return -1;
        }
        /* The inode that was looked at, not the name again. O_NONBLOCK: somebody else's lease on the file must not make this wait. */
        g_snprintf(self, sizeof(self), "/proc/self/fd/%d", place);
        fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0) {
                fail_errno(error, path, errno);
                return -1;
        }
        if (info)
                *info = info_of(&st);
        return bh_fd_steal(&fd);
}

int bh_rootfile_open(int root, const char *path, guint64 max, BhRootfileFlags flags, BhRootfileInfo *info, GError **error) {
        g_auto(BhFd) place = openat2_place(root, path, flags & BH_ROOTFILE_ANY_MOUNT ? 0 : RESOLVE_NO_XDEV);

        if (place < 0) {
                fail_errno(error, path, errno);
                return -1;
        }
        return open_place(place, path, max, !(flags & BH_ROOTFILE_ANY_MOUNT), info, error);
}

GBytes *bh_rootfile_read(int root, const char *path, guint64 max, BhRootfileFlags flags, BhRootfileInfo *info, GError **error) {
        BhRootfileInfo found;
        g_auto(BhFd) fd = bh_rootfile_open(root, path, max, flags, &found, error);
        gsize have = 0;

        if (fd < 0)
                return NULL;
        g_autofree guint8 *bytes = g_try_malloc(found.size + 1);
        if (!bytes) {
                fail_errno(error, path, ENOMEM);
                return NULL;
        }
        while (have < found.size) {
                ssize_t n = read(fd, bytes + have, found.size - have);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        fail_errno(error, path, errno);
                        return NULL;
                }
                if (n == 0)
                        break;
                have += (gsize) n;
        }
        if (info)
                *info = found;
        return g_bytes_new_take(g_steal_pointer(&bytes), have);
}

static int copy_of(int fd, const char *path, guint64 size, GError **error) {
        g_auto(BhFd) copy = memfd_create("bulkhead-file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        guint64 have = 0;

        if (copy < 0) {
                fail_errno(error, path, errno);
                return -1;
        }
        while (have < size) {
                ssize_t n = sendfile(copy, fd, NULL, (size_t) MIN(size - have, (guint64) 64 << 20));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        fail_errno(error, path, errno);
                        return -1;
                }
                if (n == 0)
                        break;
                have += (guint64) n;
        }
        if (fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
                fail_errno(error, path, errno);
                return -1;
        }
        return bh_fd_steal(&copy);
}

int bh_rootfile_memfd(int root, const char *path, guint64 max, BhRootfileFlags flags, BhRootfileInfo *info, GError **error) {
        BhRootfileInfo found;
        g_auto(BhFd) fd = bh_rootfile_open(root, path, max, flags, &found, error);
        int copy = fd < 0 ? -1 : copy_of(fd, path, found.size, error);

        if (copy >= 0 && info)
                *info = found;
        return copy;
}

int bh_rootfile_mapped(const char *path, BhRootfileInfo *info, GError **error) {
        g_auto(BhFd) place = open(path, O_PATH | O_CLOEXEC);
        struct statfs fs;
        struct stat st;

        if (place < 0 || fstat(place, &st) || fstatfs(place, &fs)) {
                fail_errno(error, path, errno);
                return -1;
        }
        if (!S_ISREG(st.st_mode) || is_pseudo((unsigned long) fs.f_type)) {
                fail(error, BH_ROOTFILE_ERROR_KIND, path, "it is on a file system of the kernel's or a user's own making");
                return -1;
        }
        *info = info_of(&st);
        /* of one layer below several mounts the number is the same, the device is each mount's own */
        if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
                info->dev = 0;
        return bh_fd_steal(&place);
}

int bh_rootfile_mapped_memfd(int place, guint64 max, GError **error) {
        BhRootfileInfo found;
        g_auto(BhFd) fd = open_place(place, "what a process maps", max, FALSE, &found, error);

        return fd < 0 ? -1 : copy_of(fd, "what a process maps", found.size, error);
}
