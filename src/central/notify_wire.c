/* SPDX-License-Identifier: Apache-2.0 */
#include "notify_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fdio.h"

gboolean bh_notify_write(int fd, char what, const char *data, gsize len) {
        guint32 size = GUINT32_TO_LE((guint32) len + 1);
        guint8 head[5];

        if (len >= BH_NOTIFY_FRAME_MAX)
                return FALSE;
        memcpy(head, &size, 4);
        head[4] = (guint8) what;
        struct iovec parts[] = { { head, sizeof(head) }, { (void *) data, len } };
        struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };
        for (gsize left = sizeof(head) + len; left;) {
                ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return FALSE;
                left -= (gsize) n;
                for (guint i = 0; i < 2; i++) {
                        gsize taken = MIN((gsize) n, parts[i].iov_len);

                        parts[i].iov_base = (char *) parts[i].iov_base + taken;
                        parts[i].iov_len -= taken;
                        n -= (ssize_t) taken;
                }
        }
        return TRUE;
}

char *bh_notify_read(int fd, char *what, gsize *len) {
        guint32 size;
        guint8 kind;

        if (!bh_fd_read_all(fd, &size, 4, NULL, "the notifier", NULL))
                return NULL;
        size = GUINT32_FROM_LE(size);
        if (!size || size > BH_NOTIFY_FRAME_MAX || !bh_fd_read_all(fd, &kind, 1, NULL, "the notifier", NULL))
                return NULL;
        g_autofree char *data = g_malloc(size);
        if (!bh_fd_read_all(fd, data, size - 1, NULL, "the notifier", NULL))
                return NULL;
        data[size - 1] = '\0';
        *what = (char) kind;
        *len = size - 1;
        return g_steal_pointer(&data);
}
