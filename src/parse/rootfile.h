/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a container, opened by the host's root without being led astray.
 *
 * A container writes its own links, devices and mounts. A path is therefore resolved inside its root (openat2(2) with RESOLVE_IN_ROOT and
 * RESOLVE_NO_MAGICLINKS: no link leads out), and opened as a mere place first (O_PATH), so that no device or FIFO is ever opened. Only a
 * regular file is then opened for reading, the very one that was looked at. By default the path stays on the root's own mount
 * (RESOLVE_NO_XDEV), which keeps /proc, /sys, and file systems that the container's user serves out of it; BH_ROOTFILE_ANY_MOUNT allows
 * other mounts, but never pseudo file systems, whose "regular files" act when they are read.
 *
 * A file system in user space (FUSE) can delay each of these calls for as long as it likes: call them from a thread that nothing waits for.
 *
 * Process ids are used again. So: bh_rootfile_root(), then check that the process is still the one meant, then use the root.
 * Any thread. On failure nothing stays open and output parameters are untouched.
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

typedef enum {
        BH_ROOTFILE_ERROR_GONE,      /* no such process, file or directory */
        BH_ROOTFILE_ERROR_KIND,      /* not a regular file on a file system that may be read, or a path that leads off the mount */
        BH_ROOTFILE_ERROR_TOO_LARGE,
        BH_ROOTFILE_ERROR_IO,        /* the operating system refused; its text is in the message */
} BhRootfileError;
#define BH_ROOTFILE_ERROR (bh_rootfile_error_quark())
GQuark bh_rootfile_error_quark(void);

typedef enum {
        BH_ROOTFILE_ANY_MOUNT = 1, /* volumes too */
} BhRootfileFlags;

/* Which file it was: the key of a cache. Times in ns since 1970. */
typedef struct {
        guint64 dev, ino, size;
        gint64 mtime_ns, ctime_ns;
        guint32 mode, uid, gid;
} BhRootfileInfo;

/* The root directory of a process as a place (O_PATH); `proc` is where procfs is ("/proc"). -1 with *error. Caller closes. */
int bh_rootfile_root(const char *proc, pid_t pid, GError **error);

/*
 * Opens `path` below the root for reading: a regular file of at most `max` bytes. *info (may be NULL) says what it is. -1 with *error, whose
 * message has the path escaped. Caller closes.
 */
int bh_rootfile_open(int root, const char *path, guint64 max, BhRootfileFlags flags, BhRootfileInfo *info, GError **error);

/* The same, read: the bytes that the file had when it was opened (fewer when it was shortened meanwhile). Caller unrefs. */
GBytes *bh_rootfile_read(int root, const char *path, guint64 max, BhRootfileFlags flags, BhRootfileInfo *info, GError **error);

/*
 * The same as a sealed memfd (nobody can change or shorten it), for bh_inspect_submit(): big files are copied by the kernel and never lie
 * in this process's heap. -1 with *error. Caller closes.
 */
int bh_rootfile_memfd(int root, const char *path, guint64 max, BhRootfileFlags flags, BhRootfileInfo *info, GError **error);

/*
 * A file that a process maps or runs, by the kernel's own link to it (/proc/PID/map_files/…, /proc/PID/exe), as a place: no name is resolved. *info names the file: of layered file systems
 * (overlayfs) with device 0, since the same file of a layer has another one in each container; size and times tell such apart. -1 with *error. Caller closes.
 */
int bh_rootfile_mapped(const char *path, BhRootfileInfo *info, GError **error);
/* Its bytes as a sealed memfd. -1 with *error. Caller closes. */
int bh_rootfile_mapped_memfd(int place, guint64 max, GError **error);
