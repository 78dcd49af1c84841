/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small file-descriptor helpers: an owning fd type for g_auto(), whole reads and writes, bounded file reads.
 * All are thread-safe and leave output parameters untouched on failure.
 */
#pragma once
#include <glib.h>
#include <unistd.h>

/* g_auto(BhFd) fd = -1: closed at the end of the scope unless taken with bh_fd_steal(). */
typedef int BhFd;

static inline void bh_fd_clear(BhFd *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static inline int bh_fd_steal(BhFd *fd) {
        int taken = *fd;

        *fd = -1;
        return taken;
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhFd, bh_fd_clear)

/* Writes all of it, going on after EINTR and short writes. FALSE with errno's text in *error. `what` names the file in the message. */
gboolean bh_fd_write_all(int fd, const void *data, gsize len, const char *what, GError **error);

/* Reads exactly `len` bytes. *got (may be NULL) is what arrived; an early end of file is G_FILE_ERROR_IO "ends after N bytes". */
gboolean bh_fd_read_all(int fd, void *data, gsize len, gsize *got, const char *what, GError **error);

/*
 * Reads a whole small file (also one in /proc, whose size is not known) relative to `dirfd` (AT_FDCWD for none), at most `max` bytes;
 * what is beyond is dropped and *truncated (may be NULL) set. The result is NUL-terminated after *len bytes. Caller frees.
 */
char *bh_file_read(int dirfd, const char *path, gsize max, gsize *len, gboolean *truncated, GError **error);
