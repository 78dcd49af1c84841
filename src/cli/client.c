/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define LINE_MAX_BYTES (64u << 20)

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_propagate_error(error, g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap));
        va_end(ap);
        return FALSE;
}

int bh_client_request(const BhCliPaths *paths, json_t *request, GError **error) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        g_autofree char *text = json_dumps(request, JSON_COMPACT);
        g_autofree char *path = g_build_filename(paths->run_dir, "sensor.sock", NULL);
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        json_decref(request);
        if (!text) {
                fail(error, "cannot ask the sensor: an argument is not UTF-8");
                return -1;
        }
        if (strlen(path) >= sizeof(at.sun_path)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG, "the socket path %s is too long; choose a shorter --run-dir", path);
                return -1;
        }
        memcpy(at.sun_path, path, strlen(path) + 1);
        if (fd < 0 || connect(fd, (struct sockaddr *) &at, sizeof(at))) {
                int code = errno;

                if (code == ENOENT || code == ECONNREFUSED)
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "no sensor answers at %s: start one with \"sudo bulkhead up\", or name its directory with --run-dir", path);
                else if (code == EACCES || code == EPERM)
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_ACCES, "may not talk to the sensor at %s: run this as root (sudo)", path);
                else
                        fail(error, "cannot connect to the sensor at %s: %s", path, g_strerror(code));
                return -1;
        }

        g_autofree char *line = g_strconcat(text, "\n", NULL);
        if (!bh_fd_write_all(fd, line, strlen(line), "the request to the sensor", error))
                return -1;
        return bh_fd_steal(&fd);
}

BhClientState bh_client_read_lines(int fd, GString *rest, BhClientLine each, gpointer data, GError **error) {
        char chunk[65536];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        gsize from = 0, look = rest->len;

        if (n < 0 && errno == EINTR)
                return BH_CLIENT_MORE;
        if (n < 0) {
                if (errno == EAGAIN)
                        fail(error, "the sensor does not answer in time; its log says why");
                else
                        fail(error, "the connection to the sensor broke: %s", g_strerror(errno));
                return BH_CLIENT_FAILED;
        }
        if (n == 0) {
                if (!rest->len)
                        return BH_CLIENT_END;
                fail(error, "the sensor's answer ends in the middle of a line: it was killed, or stopped while it wrote");
                return BH_CLIENT_FAILED;
        }
        g_string_append_len(rest, chunk, n);
        for (char *end; (end = memchr(rest->str + look, '\n', rest->len - look)); ) {
                const char *line = rest->str + from;

                *end = '\0';
                if (g_str_has_prefix(line, "{\"error\"")) {
                        json_auto_t *answer = json_loads(line, 0, NULL);
                        const char *text = json_string_value(json_object_get(answer, "error"));

                        fail(error, "the sensor says: %s", text ? text : "an error that cannot be read");
                        return BH_CLIENT_FAILED;
                }
                if (!each(line, (gsize) (end - line), data))
                        return BH_CLIENT_ENOUGH;
                from = look = (gsize) (end - rest->str) + 1;
        }
        g_string_erase(rest, 0, (gssize) from);
        if (rest->len > LINE_MAX_BYTES) {
                fail(error, "a line of the sensor's answer is longer than %u MiB", LINE_MAX_BYTES >> 20);
                return BH_CLIENT_FAILED;
        }
        return BH_CLIENT_MORE;
}

gboolean bh_client_lines(int fd, BhClientLine each, gpointer data, GError **error) {
        g_autoptr(GString) rest = g_string_sized_new(65536);
        BhClientState state;

        do
                state = bh_client_read_lines(fd, rest, each, data, error);
        while (state == BH_CLIENT_MORE);
        return state != BH_CLIENT_FAILED;
}

static gboolean collect(const char *line, gsize len, gpointer data) {
        json_t *object = json_loadb(line, len, 0, NULL);

        return json_array_append_new(data, object ? object : json_null()) == 0;
}

/* All objects of a short answer. */
static json_t *ask(const BhCliPaths *paths, const char *cmd, guint seconds, GError **error) {
        json_auto_t *list = json_array();
        struct timeval timeout = { .tv_sec = seconds };
        g_auto(BhFd) fd = bh_client_request(paths, json_pack("{s:s}", "cmd", cmd), error);
        json_t *object;
        size_t i;

        if (fd < 0)
                return NULL;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        if (!bh_client_lines(fd, collect, list, error))
                return NULL;
        json_array_foreach(list, i, object)
                if (!json_is_object(object)) {
                        fail(error, "the sensor's answer to \"%s\" is not what this program knows: is it of another version?", cmd);
                        return NULL;
                }
        return json_incref(list);
}

json_t *bh_client_status(const BhCliPaths *paths, guint seconds, GError **error) {
        json_auto_t *list = ask(paths, "status", seconds, error);

        if (list && json_array_size(list) != 1)
                fail(error, "the sensor answered nothing: it is stopping");
        return list && json_array_size(list) == 1 ? json_incref(json_array_get(list, 0)) : NULL;
}

json_t *bh_client_containers(const BhCliPaths *paths, guint seconds, GError **error) {
        return ask(paths, "containers", seconds, error);
}
