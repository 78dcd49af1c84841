/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fdio.h"

typedef union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
} Control;

json_t *bh_keeper_receive_json(int socket, int *fd) {
        g_autofree char *bytes = g_malloc(BH_KEEPER_MESSAGE_MAX);
        struct iovec iov = { .iov_base = bytes, .iov_len = BH_KEEPER_MESSAGE_MAX };
        Control control;
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
        g_auto(BhFd) got = -1;
        gssize n;

        while ((n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
                ;
        for (struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
                        memcpy(&got, CMSG_DATA(c), sizeof(int));
        json_t *message = n > 0 && !(m.msg_flags & MSG_TRUNC) ? json_loadb(bytes, (gsize) n, 0, NULL) : NULL;
        if (fd)
                *fd = message ? bh_fd_steal(&got) : -1;
        return message;
}

gboolean bh_keeper_send_json(int socket, json_t *message, int fd) {
        char *text = json_dumps(message, JSON_COMPACT);
        struct iovec iov = { .iov_base = text, .iov_len = text ? strlen(text) : 0 };
        Control control = { .h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
        gssize n = -1;

        if (fd >= 0) {
                memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
                m.msg_control = &control;
                m.msg_controllen = sizeof(control);
        }
        if (!text || iov.iov_len > BH_KEEPER_MESSAGE_MAX)
                errno = EMSGSIZE;
        else
                while ((n = sendmsg(socket, &m, MSG_NOSIGNAL)) < 0 && errno == EINTR)
                        ;
        int code = errno;
        free(text);
        errno = code;
        return n >= 0;
}
