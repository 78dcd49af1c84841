/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"

#define BACKLOG 128

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap));
        va_end(ap);
        return FALSE;
}

static gboolean is_empty(int fd) {
        g_auto(BhFd) copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
        gboolean empty = TRUE;

        if (!d)
                return FALSE;
        bh_fd_steal(&copy);
        for (const struct dirent *e; empty && (e = readdir(d));)
                empty = g_str_equal(e->d_name, ".") || g_str_equal(e->d_name, "..");
        closedir(d);
        return empty;
}

static gboolean prepare(const char *above, mode_t mode, uid_t uid, gid_t gid, GError **error) {
        gboolean root = geteuid() == 0;
        struct stat st;

        if (g_mkdir_with_parents(above, root ? 0711 : 0700))
                return fail(error, "cannot make %s: %s", above, g_strerror(errno));
        g_auto(BhFd) dir = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fstat(dir, &st))
                return fail(error, "cannot open %s: %s", above, g_strerror(errno));
        if (root && !(st.st_mode & S_IXOTH) && fchmod(dir, (st.st_mode & 07777) | S_IXGRP | S_IXOTH))
                return fail(error, "cannot let others pass %s: %s", above, g_strerror(errno));
        if (mkdirat(dir, "central", mode) && errno != EEXIST)
                return fail(error, "cannot make %s/central: %s", above, g_strerror(errno));
        g_auto(BhFd) own = openat(dir, "central", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (own < 0 || fstat(own, &st))
                return fail(error, "cannot open %s/central as a directory: %s", above, g_strerror(errno));
        if (st.st_uid != uid) {
                if (!root || !is_empty(own))
                        return fail(error, "%s/central belongs to uid %u, and the central runs as uid %u: give it the directory (chown -R %u:%u %s/central), or use --user %u", above,
                                    st.st_uid, uid, uid, gid, above, st.st_uid);
                if (fchown(own, uid, gid))
                        return fail(error, "cannot give %s/central to uid %u: %s", above, uid, g_strerror(errno));
        }
        if (fchmod(own, mode))
                return fail(error, "cannot set the mode of %s/central: %s", above, g_strerror(errno));
        return TRUE;
}

gboolean bh_place_prepare(const char *run_dir, const char *data_dir, uid_t uid, gid_t gid, GError **error) {
        return prepare(run_dir, 0755, uid, gid, error) && prepare(data_dir, 0700, uid, gid, error);
}

gboolean bh_place_prepare_alerts(const char *dir, uid_t uid, gid_t gid, GError **error) {
        if (mkdir(dir, 0750)) {
                if (errno == EEXIST && g_file_test(dir, G_FILE_TEST_IS_DIR))
                        return TRUE;
                return fail(error, "cannot make the directory for alerts %s: %s", dir, errno == EEXIST ? "there is something else" : g_strerror(errno));
        }
        g_auto(BhFd) fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fchmod(fd, 0750) || (geteuid() == 0 && fchown(fd, uid, gid)))
                return fail(error, "cannot give the directory for alerts %s to uid %u: %s", dir, uid, g_strerror(errno));
        return TRUE;
}

/* ---- sockets ---- */

static gboolean parse_address(const char *text, struct sockaddr_storage *at, socklen_t *len) {
        const char *colon = strrchr(text, ':');
        g_autofree char *host = colon ? g_strndup(text, (gsize) (colon - text)) : NULL;
        char *end = NULL;
        guint64 port = colon ? g_ascii_strtoull(colon + 1, &end, 10) : 0;
        struct sockaddr_in *v4 = (void *) at;
        struct sockaddr_in6 *v6 = (void *) at;

        if (!host || end == colon + 1 || *end || port > 65535)
                return FALSE;
        memset(at, 0, sizeof(*at));
        if (host[0] == '[' && g_str_has_suffix(host, "]")) {
                host[strlen(host) - 1] = '\0';
                v6->sin6_family = AF_INET6;
                v6->sin6_port = htons((guint16) port);
                *len = sizeof(*v6);
                return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
        }
        v4->sin_family = AF_INET;
        v4->sin_port = htons((guint16) port);
        *len = sizeof(*v4);
        return inet_pton(AF_INET, g_str_equal(host, "localhost") ? "127.0.0.1" : host, &v4->sin_addr) == 1;
}

int bh_place_listen(const char *address, char **url, GError **error) {
        struct sockaddr_storage at;
        socklen_t len;
        char host[INET6_ADDRSTRLEN] = "";
        int on = 1;

        if (!parse_address(address, &at, &len)) {
                fail(error, "--listen must be an address and a port, like 127.0.0.1:8443 or [::1]:8443, not \"%s\"", address);
                return -1;
        }
        g_auto(BhFd) fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                fail(error, "cannot make a socket: %s", g_strerror(errno));
                return -1;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (at.ss_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *) &at, len) || listen(fd, BACKLOG)) {
                int code = errno;

                fail(error, "cannot listen at %s: %s%s", address, g_strerror(code),
                     code == EADDRINUSE      ? "; another program, or another central, listens there, or the kernel gave the port to an outgoing connection within the last minute (as it does from 32768 on): stop it, or choose another --listen"
                     : code == EACCES        ? "; ports below 1024 need root"
                     : code == EADDRNOTAVAIL ? "; no interface of this machine has that address"
                                             : "");
                return -1;
        }
        len = sizeof(at);
        getsockname(fd, (struct sockaddr *) &at, &len);
        if (at.ss_family == AF_INET6) {
                inet_ntop(AF_INET6, &((struct sockaddr_in6 *) (void *) &at)->sin6_addr, host, sizeof(host));
                *url = g_strdup_printf("https://[%s]:%u/", host, ntohs(((struct sockaddr_in6 *) (void *) &at)->sin6_port));
        } else {
                inet_ntop(AF_INET, &((struct sockaddr_in *) (void *) &at)->sin_addr, host, sizeof(host));
                *url = g_strdup_printf("https://%s:%u/", host, ntohs(((struct sockaddr_in *) (void *) &at)->sin_port));
        }
        return bh_fd_steal(&fd);
}

int bh_place_listen_local(const char *path, GError **error) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };

        if (strlen(path) >= sizeof(at.sun_path)) {
                fail(error, "the socket path %s is too long; choose a shorter --run-dir", path);
                return -1;
        }
        memcpy(at.sun_path, path, strlen(path) + 1);
        unlink(path); /* of a killed central: the lock says that there is no living one */

        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        mode_t before = umask(0111);
        gboolean ok = fd >= 0 && bind(fd, (struct sockaddr *) &at, sizeof(at)) == 0 && listen(fd, BACKLOG) == 0;
        int code = errno;
        umask(before);
        if (!ok) {
                fail(error, "cannot listen at %s: %s", path, g_strerror(code));
                return -1;
        }
        return bh_fd_steal(&fd);
}

gboolean bh_place_lock(const char *run_dir, GError **error) {
        g_autofree char *path = g_build_filename(run_dir, "central", "central.pid", NULL), *who = NULL;
        g_autofree char *pid = g_strdup_printf("%d\n", getpid());
        g_auto(BhFd) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

        if (fd < 0)
                return fail(error, "cannot open %s: %s", path, g_strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB)) {
                who = bh_file_read(AT_FDCWD, path, 32, NULL, NULL, NULL);
                return fail(error, "another central (pid %s) uses %s: stop it first, or choose another --run-dir", who ? g_strchomp(who) : "?", run_dir);
        }
        if (ftruncate(fd, 0) || write(fd, pid, strlen(pid)) < 0)
                return fail(error, "cannot write %s: %s", path, g_strerror(errno));
        bh_fd_steal(&fd); /* kept open, and locked, until the end */
        return TRUE;
}
