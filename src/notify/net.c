/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "notify/send_private.h"

gboolean bh_net_wait(BhSender *s, int fd, short events, gint64 until, GError **error) {
        for (;;) {
                struct pollfd p[] = { { .fd = fd, .events = events }, { .fd = s->stop_fd, .events = POLLIN } };
                gint64 left = until == G_MAXINT64 ? 1000 : (until - g_get_monotonic_time()) / 1000;

                if (left <= 0) {
                        bh_send_failed(BH_SEND_RETRY, error, "no answer in time");
                        return FALSE;
                }
                if (poll(p, G_N_ELEMENTS(p), (int) MIN(left + 1, 1000)) < 0 && errno != EINTR) {
                        bh_send_failed(BH_SEND_RETRY, error, "cannot wait: %s", g_strerror(errno));
                        return FALSE;
                }
                if (p[1].revents) {
                        bh_send_failed(BH_SEND_RETRY, error, "it was stopped");
                        return FALSE;
                }
                if (p[0].revents)
                        return TRUE;
        }
}

static int try_one(BhSender *s, const struct addrinfo *a, gint64 until, GError **error) {
        g_auto(BhFd) fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
        int code = 0, on = 1;
        socklen_t len = sizeof(code);

        if (fd < 0) {
                bh_send_failed(BH_SEND_RETRY, error, "%s", g_strerror(errno));
                return -1;
        }
        if (a->ai_socktype == SOCK_STREAM) {
                /* a peer that vanished is noticed without something to send */
                setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        }
        if (connect(fd, a->ai_addr, a->ai_addrlen) && errno != EINPROGRESS) {
                bh_send_failed(BH_SEND_RETRY, error, "%s", g_strerror(errno));
                return -1;
        }
        if (!bh_net_wait(s, fd, POLLOUT, until, error))
                return -1;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) || code) {
                bh_send_failed(BH_SEND_RETRY, error, "%s", g_strerror(code));
                return -1;
        }
        return bh_fd_steal(&fd);
}

int bh_net_connect(BhSender *s, const char *host, guint16 port, int type, gint64 until, GError **error) {
        struct addrinfo hints = { .ai_socktype = type, .ai_flags = AI_ADDRCONFIG }, *all = NULL;
        g_autofree char *service = g_strdup_printf("%u", port);
        g_autoptr(GError) why = NULL;
        int fd = -1, code = getaddrinfo(host, service, &hints, &all);

        /* an address of this machine alone, on a machine without any other */
        if (code == EAI_NONAME || code == EAI_ADDRFAMILY) {
                hints.ai_flags = 0;
                code = getaddrinfo(host, service, &hints, &all);
        }
        if (code) {
                bh_send_failed(BH_SEND_RETRY, error, "cannot resolve %s: %s", host, code == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(code));
                return -1;
        }
        for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
                g_clear_error(&why);
                fd = try_one(s, a, until, &why);
        }
        freeaddrinfo(all);
        if (fd < 0)
                bh_send_failed(BH_SEND_RETRY, error, "cannot connect to %s, port %u: %s", host, port, why ? why->message : "it has no address");
        return fd;
}

int bh_net_connect_local(const char *path, GError **error) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a))) {
                bh_send_failed(BH_SEND_RETRY, error, "cannot reach the local syslog at %s: %s", path, g_strerror(errno));
                return -1;
        }
        return bh_fd_steal(&fd);
}
