/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static gboolean fail(GError **error, int code, const char *verb, const char *what) {
        g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(code), "cannot %s %s: %s", verb, what, g_strerror(code));
        return FALSE;
}

gboolean bh_fd_write_all(int fd, const void *data, gsize len, const char *what, GError **error) {
        const char *p = data;

        while (len) {
                ssize_t n = write(fd, p, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return fail(error, n < 0 ? errno : EIO, "write", what);
                p += n;
                len -= (gsize) n;
        }
        return TRUE;
}

gboolean bh_fd_read_all(int fd, void *data, gsize len, gsize *got, const char *what, GError **error) {
        char *p = data;
        gsize have = 0;

        while (have < len) {
                ssize_t n = read(fd, p + have, len - have);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return fail(error, errno, "read", what);
                if (n == 0)
                        break;
                have += (gsize) n;
        }
        if (got)
                *got = have;
        if (have < len) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_IO, "cannot read %s: it ends after %zu of %zu bytes", what, have, len);
                return FALSE;
        }
        return TRUE;
}

char *bh_file_read(int dirfd, const char *path, gsize max, gsize *len, gboolean *truncated, GError **error) {
        g_auto(BhFd) fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0) {
                fail(error, errno, "open", path);
                return NULL;
        }

        gsize room = MIN(max, (gsize) 4096), have = 0;
        g_autofree char *buf = g_malloc(room + 1);
        gboolean more = FALSE;

        for (;;) {
                if (have == room) {
                        if (room >= max) {
                                char beyond;

                                more = read(fd, &beyond, 1) == 1;
                                break;
                        }
                        room = MIN(room * 2, max);
                        buf = g_realloc(buf, room + 1);
                }
                ssize_t n = read(fd, buf + have, room - have);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        fail(error, errno, "read", path);
                        return NULL;
                }
                if (n == 0)
                        break;
                have += (gsize) n;
        }
        buf[have] = '\0';
        if (len)
                *len = have;
        if (truncated)
                *truncated = more;
        return g_steal_pointer(&buf);
}
