/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/bus.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "bus/common.h"

G_DEFINE_QUARK(bh-bus-error-quark, bh_bus_error)

gboolean bh_bus_name_valid(const char *name, gssize len, gboolean node) {
        gsize n = len < 0 ? strlen(name) : (gsize) len;

        if (!n || n > BH_BUS_MAX_NAME)
                return FALSE;
        for (gsize i = 0; i < n; i++)
                if (!g_ascii_isalnum(name[i]) && name[i] != '-' && name[i] != '_' && !(node && name[i] == '.'))
                        return FALSE;
        return TRUE;
}

char *bh_bus_host_name(void) {
        char host[BH_BUS_MAX_NAME + 1] = "";

        if (gethostname(host, sizeof(host) - 1) < 0 || !*host)
                return g_strdup("node");
        for (char *c = host; *c; c++)
                if (!bh_bus_name_valid(c, 1, TRUE))
                        *c = '-';
        return g_strdup(host);
}

gboolean bh_bus_address_parse(const char *address, struct sockaddr_un *out, GError **error) {
        const char *path = g_str_has_prefix(address, "unix:/") ? address + strlen("unix:") : NULL;

        if (!path || strlen(path) >= sizeof(out->sun_path)) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_ADDRESS, "\"%s\" is not the address of a bus: it must be unix:/path with at most %zu "
                            "bytes of path", address, sizeof(out->sun_path) - 1);
                return FALSE;
        }
        *out = (struct sockaddr_un) { .sun_family = AF_UNIX };
        memcpy(out->sun_path, path, strlen(path) + 1);
        return TRUE;
}

int bh_bus_connect(const struct sockaddr_un *address, GError **error) {
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *) address, sizeof(*address)) < 0) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot connect to %s: %s", address->sun_path, g_strerror(errno));
                return -1;
        }
        return bh_fd_steal(&fd);
}

gboolean bh_bus_peer_uid(int fd, guint *uid) {
        struct ucred cred;
        socklen_t len = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof(cred))
                return FALSE;
        *uid = cred.uid;
        return TRUE;
}

int bh_bus_wake_new(void) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
                g_error("cannot make an event descriptor: %s", g_strerror(errno));
        return fd;
}

void bh_bus_wake(int fd) {
        guint64 one = 1;

        /* Only a full counter refuses, and that wakes as well. */
        if (write(fd, &one, sizeof(one)) < 0)
                return;
}

void bh_bus_wake_clear(int fd) {
        guint64 count;

        if (read(fd, &count, sizeof(count)) < 0)
                return;
}

char *bh_bus_peer_text(const guint8 *data, gsize len) {
        return g_utf8_make_valid(len ? (const char *) data : "", (gssize) MIN(len, BH_BUS_MAX_ERROR));
}
