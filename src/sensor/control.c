/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "answer.h"
#include "base/fdio.h"
#include "base/log.h"

#define CONNECTIONS_MAX 64
#define REQUEST_MAX 65536
#define REQUEST_SECONDS 5
#define SEND_SECONDS 30

struct BhControl {
        BhControlOps ops;
        char *path;
        BhFd fd;
        struct stat made; /* the socket file as it was made */
        gint64 again_us, pause_us; /* after a failure to make it again: when to try next, and how long the pause was */
        GThread *thread;
        gint stopping, connections;
        GMutex lock;
        GCond idle;
};

typedef struct {
        BhControl *control;
        BhFd fd;
} Connection;

/* The peer is gone or does not read: FALSE, and the connection ends. */
static gboolean put(int fd, const void *data, gsize len) {
        const char *p = data;

        while (len) {
                ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return FALSE;
                p += n;
                len -= (gsize) n;
        }
        return TRUE;
}

static gboolean put_json(int fd, json_t *value) {
        g_autofree char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
        g_autofree char *line = g_strconcat(text ? text : "{\"error\":\"cannot encode the answer\"}", "\n", NULL);

        json_decref(value);
        return put(fd, line, strlen(line));
}

static gboolean put_error(int fd, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean put_error(int fd, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        g_autofree char *valid = g_utf8_make_valid(text, -1);
        return put_json(fd, json_pack("{s:s}", "error", valid));
}

static gboolean hung_up(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLRDHUP };

        return poll(&p, 1, 0) == 1 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static gboolean filter_of(json_t *request, BhFeedFilter *filter, int fd) {
        json_t *where = json_object_get(request, "filter"), *types = json_object_get(request, "types"), *container = json_object_get(request, "container"), *t;
        size_t i;

        if (container && !json_is_null(container)) {
                if (!json_is_string(container) || !*json_string_value(container)) {
                        put_error(fd, "\"container\" must be a name or an id");
                        return FALSE;
                }
                filter->container = (char *) json_string_value(container);
        }
        if (where && !json_is_null(where)) {
                g_autoptr(GError) error = NULL;

                if (!json_is_string(where) || !bh_answer_where(filter, json_string_value(where), json_string_length(where), &error)) {
                        put_error(fd, "filter: %s", error ? error->message : "must be text");
                        return FALSE;
                }
        }
        if (types && !json_is_array(types)) {
                put_error(fd, "\"types\" must be a list of kinds of events");
                return FALSE;
        }
        json_array_foreach(types, i, t) {
                const char *name = json_string_value(t);

                if (!name || bh_answer_types(filter, &name, 1)) {
                        put_error(fd, "there is no kind of event \"%s\"; docs/events.md lists them", name ? name : "?");
                        return FALSE;
                }
        }
        return TRUE;
}

typedef struct {
        Connection *connection;
        BhFeedForm form;
} Reader;

static gboolean reader_put(const char *bytes, gsize len, guint64 dropped, gpointer data) {
        Reader *r = data;
        int fd = r->connection->fd;

        if (dropped && r->form != BH_FEED_WIRE && !put_json(fd, json_pack("{s:I}", "dropped", (json_int_t) dropped)))
                return FALSE;
        if (dropped && r->form == BH_FEED_WIRE) {
                guint32 mark = 0xffffffff;
                guint64 count = GUINT64_TO_LE(dropped);

                if (!put(fd, &mark, sizeof(mark)) || !put(fd, &count, sizeof(count)))
                        return FALSE;
        }
        return put(fd, bytes, len);
}

static gboolean reader_alive(gpointer data) {
        Connection *c = ((Reader *) data)->connection;

        return !g_atomic_int_get(&c->control->stopping) && !hung_up(c->fd);
}

static void events(Connection *c, json_t *request) {
        const char *form = json_string_value(json_object_get(request, "form"));
        BhControlOps *ops = &c->control->ops;
        BhAnswerQuestion q = {
                .filter.form = g_strcmp0(form, "wire") == 0 ? BH_FEED_WIRE : g_strcmp0(form, "text") == 0 ? BH_FEED_TEXT : BH_FEED_JSON,
                .since_ns = (guint64) json_integer_value(json_object_get(request, "since")),
                .until_ns = (guint64) json_integer_value(json_object_get(request, "until")),
                .limit = (guint64) json_integer_value(json_object_get(request, "limit")),
                .follow = json_is_true(json_object_get(request, "follow")),
        };
        Reader reader = { .connection = c, .form = q.filter.form };
        BhAnswerSource source = { .feed = ops->feed, .recorder_dir = ops->recorder_dir, .flush = ops->flush, .data = ops->data };
        BhAnswerSink sink = { .put = reader_put, .alive = reader_alive, .data = &reader };
        g_autoptr(GError) error = NULL;

        if (!filter_of(request, &q.filter, c->fd)) {
                bh_rule_engine_unref(q.filter.where);
                return;
        }
        q.past = !q.follow || json_object_get(request, "since") || json_object_get(request, "limit");
        if (!bh_answer_events(&source, &q, &sink, &error))
                put_error(c->fd, "%s", error->message);
        bh_rule_engine_unref(q.filter.where);
}

static void put_items(int fd, json_t *items) {
        json_t *item;
        size_t i;

        json_array_foreach(items, i, item)
                if (!put_json(fd, json_incref(item)))
                        break;
        json_decref(items);
}

static void answer(Connection *c, char *line) {
        BhControlOps *ops = &c->control->ops;
        json_error_t why;
        json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, &why);
        const char *cmd = json_string_value(json_object_get(request, "cmd"));

        if (!request || !cmd) {
                put_error(c->fd, "a request is one line with a JSON object and a \"cmd\": %s", request ? "there is no \"cmd\"" : why.text);
        } else if (g_str_equal(cmd, "status")) {
                put_json(c->fd, ops->status(ops->data));
        } else if (g_str_equal(cmd, "containers")) {
                put_items(c->fd, ops->containers(ops->data));
        } else if (g_str_equal(cmd, "rules")) {
                put_items(c->fd, ops->rules(ops->data));
        } else if (g_str_equal(cmd, "events")) {
                events(c, request);
        } else if (g_str_equal(cmd, "stop")) {
                put_json(c->fd, json_pack("{s:b}", "stopping", 1));
                ops->stop(ops->data);
        } else {
                put_error(c->fd, "there is no command \"%s\"; status, containers, rules, events and stop are", cmd);
        }
        json_decref(request);
}

static gpointer serve(gpointer data) {
        Connection *c = data;
        BhControl *control = c->control;
        g_autofree char *line = g_malloc(REQUEST_MAX + 1);
        gsize have = 0;
        gint64 until = g_get_monotonic_time() + REQUEST_SECONDS * G_USEC_PER_SEC;
        struct timeval timeout = { .tv_sec = SEND_SECONDS };
        char *end = NULL;

        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        while (!end && have < REQUEST_MAX && !g_atomic_int_get(&control->stopping)) {
                gint64 left = (until - g_get_monotonic_time()) / 1000;
                struct pollfd p = { .fd = c->fd, .events = POLLIN };

                if (left <= 0 || poll(&p, 1, (int) MIN(left, 200)) < 0)
                        break;
                if (!p.revents)
                        continue;

                ssize_t n = recv(c->fd, line + have, REQUEST_MAX - have, 0);
                if (n <= 0)
                        break;
                end = memchr(line + have, '\n', (gsize) n);
                have += (gsize) n;
        }
        if (end) {
                *end = '\0';
                answer(c, line);
        } else if (have) {
                put_error(c->fd, "no whole request line of at most %d bytes within %d seconds", REQUEST_MAX, REQUEST_SECONDS);
        }
        bh_fd_clear(&c->fd);
        g_free(c);

        g_mutex_lock(&control->lock);
        control->connections--;
        g_cond_signal(&control->idle);
        g_mutex_unlock(&control->lock);
        return NULL;
}

/* A listening socket at `path`, root's alone. */
static int listen_at(const char *path, struct stat *made) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_strlcpy(at.sun_path, path, sizeof(at.sun_path));
        if (fd < 0 || bind(fd, (struct sockaddr *) &at, sizeof(at)) || chmod(path, 0600) || listen(fd, 16) || lstat(path, made))
                return -1;
        return bh_fd_steal(&fd);
}

/* Somebody removed or replaced the socket file: whoever asks the sensor would ask nobody, or another. */
static void look_after_file(BhControl *c) {
        gint64 now_us = g_get_monotonic_time();
        struct stat now;

        if ((lstat(c->path, &now) == 0 && now.st_dev == c->made.st_dev && now.st_ino == c->made.st_ino) || now_us < c->again_us)
                return;

        g_autofree char *dir = g_path_get_dirname(c->path);
        g_mkdir_with_parents(dir, 0700); /* it may have gone as a whole */
        if (unlink(c->path) && (errno == EISDIR || errno == EPERM) && rmdir(c->path)) {
                g_autofree char *aside = g_strdup_printf("%s.displaced-%" G_GINT64_FORMAT, c->path, g_get_real_time());

                (void) !rename(c->path, aside);
        }
        int fd = listen_at(c->path, &now);
        if (fd < 0) {
                if (!c->pause_us)
                        bh_error("the control socket was removed, and cannot be made again; nobody can ask the sensor until it can", "path", c->path, "error", g_strerror(errno));
                c->pause_us = CLAMP(2 * c->pause_us, G_USEC_PER_SEC, 30 * G_USEC_PER_SEC);
                c->again_us = now_us + c->pause_us;
                return;
        }
        c->pause_us = c->again_us = 0;
        bh_fd_clear(&c->fd);
        c->fd = fd;
        c->made = now;
        bh_warn("the control socket was removed; made it again", "path", c->path);
        if (c->ops.replaced)
                c->ops.replaced(c->ops.data);
}

static gpointer accept_loop(gpointer data) {
        BhControl *c = data;

        while (!g_atomic_int_get(&c->stopping)) {
                struct pollfd p = { .events = POLLIN };

                look_after_file(c);
                p.fd = c->fd;
                if (poll(&p, 1, 200) != 1)
                        continue;

                g_auto(BhFd) fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                                g_usleep(200000); /* who asks stays in the queue, and poll() would return at once */
                        continue;
                }

                g_mutex_lock(&c->lock);
                gboolean full = c->connections >= CONNECTIONS_MAX;
                if (!full)
                        c->connections++;
                g_mutex_unlock(&c->lock);
                if (full) {
                        put_error(fd, "%d connections are open already; close some", CONNECTIONS_MAX);
                        continue;
                }

                Connection *connection = g_new0(Connection, 1);
                connection->control = c;
                connection->fd = bh_fd_steal(&fd);
                g_autoptr(GThread) thread = g_thread_try_new("bh-client", serve, connection, NULL);
                if (!thread) {
                        bh_fd_clear(&connection->fd);
                        g_free(connection);
                        g_mutex_lock(&c->lock);
                        c->connections--;
                        g_mutex_unlock(&c->lock);
                }
        }
        return NULL;
}

BhControl *bh_control_start(const char *path, const BhControlOps *ops, GError **error) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };

        if (strlen(path) >= sizeof(at.sun_path)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG, "the socket path %s is too long; choose a shorter --run-dir", path);
                return NULL;
        }
        memcpy(at.sun_path, path, strlen(path) + 1);

        g_auto(BhFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *) &at, sizeof(at)) == 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST, "a sensor answers at %s already; stop it first or choose another --run-dir", path);
                return NULL;
        }
        bh_fd_clear(&fd);
        unlink(path);

        struct stat made;
        fd = listen_at(path, &made); /* the program's umask is 077: nobody else's from the beginning */
        if (fd < 0) {
                g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(errno), "cannot listen at %s: %s", path, g_strerror(errno));
                return NULL;
        }

        BhControl *c = g_new0(BhControl, 1);
        c->ops = *ops;
        c->path = g_strdup(path);
        c->fd = bh_fd_steal(&fd);
        c->made = made;
        g_mutex_init(&c->lock);
        g_cond_init(&c->idle);
        c->thread = g_thread_new("bh-control", accept_loop, c);
        return c;
}

void bh_control_free(BhControl *c) {
        if (!c)
                return;
        g_atomic_int_set(&c->stopping, 1);
        g_thread_join(c->thread);
        bh_fd_clear(&c->fd);
        unlink(c->path);
        g_mutex_lock(&c->lock);
        while (c->connections)
                g_cond_wait(&c->idle, &c->lock);
        g_mutex_unlock(&c->lock);
        g_mutex_clear(&c->lock);
        g_cond_clear(&c->idle);
        g_free(c->path);
        g_free(c);
}
