/* SPDX-License-Identifier: Apache-2.0 */
/* The Docker client against a small HTTP server on a Unix socket that behaves badly when told to. The real engine is in tests/integration. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "container/docker.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define DEADLINE_US (120 * G_USEC_PER_SEC) /* only a failure waits so long */

/* ---- the server ---- */

typedef struct {
        char *dir, *path;
        int listener, stream;
        GThread *acceptor;
        GPtrArray *threads;
        GArray *fds;
        GMutex lock;
        GCond cond;
        gboolean stopping;
        const char *version; /* body of /version, NULL = a good one */
        char *backlog;
        const char *held;         /* id whose inspect does not answer */
        const char *listed_state; /* what the list says of all, NULL = what their inspects say */
        gboolean mute;            /* no answer to a ping */
        GHashTable *inspects; /* id → body; also what /containers/json lists */
        const char *info, *networks; /* bodies, NULL = 404 */
        gboolean drop_networks;      /* the connection breaks off instead */
        guint exec_polls;
        char *streamed; /* what the event stream was asked for */
} Fake;

typedef struct {
        Fake *f;
        int fd;
} Connection;

static void send_text(int fd, const char *text, gsize len) {
        while (len) {
                ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return;
                text += n;
                len -= (gsize) n;
        }
}

static void reply(int fd, int status, const char *body) {
        g_autofree char *text = g_strdup_printf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);

        send_text(fd, text, strlen(text));
}

static char *list_text(Fake *f) {
        GString *s = g_string_new("[");
        GHashTableIter it;
        gpointer id, body;

        g_hash_table_iter_init(&it, f->inspects);
        while (g_hash_table_iter_next(&it, &id, &body)) {
                const char *name = strstr(body, "\"Name\":\"") + 8, *state = strstr(body, "\"Status\":\"") + 10;
                g_autofree char *own = g_strndup(state, strcspn(state, "\""));

                g_string_append_printf(s, "%s{\"Id\":\"%s\",\"Names\":[\"%.*s\"],\"Image\":\"i\",\"State\":\"%s\",\"Created\":5}", s->len > 1 ? "," : "", (char *) id,
                                       (int) strcspn(name, "\""), name, f->listed_state ? f->listed_state : own);
        }
        g_string_append_c(s, ']');
        return g_string_free(s, FALSE);
}

static void respond(Fake *f, int fd, const char *target) {
        g_autofree char *body = NULL;
        int status = 200;

        g_mutex_lock(&f->lock);
        if (g_str_has_suffix(target, "/version")) {
                body = g_strdup(f->version ? f->version : "{\"Version\":\"99.1\",\"ApiVersion\":\"1.60\",\"MinAPIVersion\":\"1.44\"}");
        } else if (strstr(target, "/events?") && !strstr(target, "until=")) {
                static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

                send_text(fd, head, sizeof head - 1);
                g_free(f->streamed);
                f->streamed = g_strdup(target);
                f->stream = fd;
                g_cond_broadcast(&f->cond);
        } else if (strstr(target, "/events?")) {
                body = g_strdup(f->backlog ? f->backlog : "");
        } else if (strstr(target, "/containers/json")) {
                body = list_text(f);
        } else if (strstr(target, "/containers/")) {
                g_autofree char *id = g_strndup(strstr(target, "/containers/") + 12, 64);

                while (f->held && !strcmp(f->held, id) && !f->stopping)
                        g_cond_wait(&f->cond, &f->lock);
                body = g_strdup(g_hash_table_lookup(f->inspects, id));
                if (!body) {
                        status = 404;
                        body = g_strdup("{}");
                }
        } else if (strstr(target, "/exec/")) {
                body = g_strdup_printf("{\"Running\":true,\"Pid\":%d}", ++f->exec_polls >= 3 ? 4711 : 0);
        } else if (g_str_has_suffix(target, "/info") && f->info) {
                body = g_strdup(f->info);
        } else if (g_str_has_suffix(target, "/networks") && f->drop_networks) {
                shutdown(fd, SHUT_RDWR);
        } else if (g_str_has_suffix(target, "/networks") && f->networks) {
                body = g_strdup(f->networks);
        } else if (strstr(target, "/images/")) {
                body = g_strdup("{\"RepoDigests\":[\"other@sha256:1\",\"i@sha256:2\"]}");
        } else if (strstr(target, "/_ping")) {
                while (f->mute && !f->stopping)
                        g_cond_wait(&f->cond, &f->lock);
                body = g_strdup("OK");
        } else {
                status = 404;
                body = g_strdup("{}");
        }
        g_mutex_unlock(&f->lock);
        if (body)
                reply(fd, status, body);
}

static gpointer serve(gpointer data) {
        g_autofree Connection *c = data;
        g_autoptr(GString) in = g_string_new(NULL);
        char buf[4096], *end;
        ssize_t n;

        while ((n = recv(c->fd, buf, sizeof buf, 0)) > 0) {
                g_string_append_len(in, buf, n);
                while ((end = strstr(in->str, "\r\n\r\n"))) {
                        g_auto(GStrv) words = g_strsplit(in->str, " ", 3);

                        respond(c->f, c->fd, words[1] ? words[1] : "");
                        g_string_erase(in, 0, end - in->str + 4);
                }
        }
        return NULL;
}

static gpointer accept_all(gpointer data) {
        Fake *f = data;
        int fd;

        while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
                Connection *c = g_new0(Connection, 1);

                c->f = f;
                c->fd = fd;
                g_mutex_lock(&f->lock);
                g_array_append_val(f->fds, fd);
                g_ptr_array_add(f->threads, g_thread_new("serve", serve, c));
                g_mutex_unlock(&f->lock);
        }
        return NULL;
}

static void fake_open(Fake *f) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };

        g_strlcpy(sa.sun_path, f->path, sizeof sa.sun_path);
        unlink(f->path);
        f->stopping = FALSE;
        f->stream = -1;
        f->fds = g_array_new(FALSE, FALSE, sizeof(int));
        f->threads = g_ptr_array_new();
        f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(bind(f->listener, (struct sockaddr *) &sa, sizeof sa), ==, 0);
        g_assert_cmpint(listen(f->listener, 64), ==, 0);
        f->acceptor = g_thread_new("accept", accept_all, f);
}

/* What a dying engine does: everything breaks off. */
static void fake_close(Fake *f) {
        shutdown(f->listener, SHUT_RDWR);
        g_thread_join(f->acceptor);
        close(f->listener);
        g_mutex_lock(&f->lock);
        f->stopping = TRUE;
        for (guint i = 0; i < f->fds->len; i++)
                shutdown(g_array_index(f->fds, int, i), SHUT_RDWR);
        g_cond_broadcast(&f->cond);
        g_mutex_unlock(&f->lock);
        for (guint i = 0; i < f->threads->len; i++)
                g_thread_join(f->threads->pdata[i]);
        for (guint i = 0; i < f->fds->len; i++)
                close(g_array_index(f->fds, int, i));
        g_ptr_array_unref(f->threads);
        g_array_unref(f->fds);
}

static Fake *fake_new(void) {
        Fake *f = g_new0(Fake, 1);

        f->dir = g_dir_make_tmp("bulkhead-docker-XXXXXX", NULL);
        f->path = g_build_filename(f->dir, "docker.sock", NULL);
        f->inspects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return f;
}

static void fake_free(Fake *f) {
        g_free(f->streamed);
        unlink(f->path);
        g_rmdir(f->dir);
        g_hash_table_unref(f->inspects);
        g_free(f->backlog);
        g_free(f->dir);
        g_free(f->path);
        g_free(f);
}

static void put(Fake *f, const char *id, const char *name, const char *status, const char *started, const char *finished) {
        g_mutex_lock(&f->lock);
        g_hash_table_insert(f->inspects, g_strdup(id),
                            g_strdup_printf("{\"Id\":\"%s\",\"Name\":\"/%s\",\"Image\":\"sha256:12\",\"Created\":\"2020-01-01T00:00:00Z\",\"State\":{\"Status\":\"%s\",\"StartedAt\":\"%s\","
                                            "\"FinishedAt\":\"%s\",\"ExitCode\":9},\"Config\":{\"Image\":\"i\",\"Labels\":{\"k\":\"v\"}}}",
                                            id, name, status, started, finished));
        g_mutex_unlock(&f->lock);
}

/* Sends text on the event stream in chunks of `piece` bytes, each with its framing torn into single writes. */
static void stream(Fake *f, const char *text, gsize piece) {
        gsize len = strlen(text);

        g_mutex_lock(&f->lock);
        while (f->stream < 0)
                g_cond_wait(&f->cond, &f->lock);
        int fd = f->stream;
        g_mutex_unlock(&f->lock);
        for (gsize at = 0; at < len; at += piece) {
                g_autofree char *size = g_strdup_printf("%zx\r\n", MIN(piece, len - at));

                for (char *p = size; *p; p++)
                        send_text(fd, p, 1);
                send_text(fd, text + at, MIN(piece, len - at));
                send_text(fd, "\r", 1);
                send_text(fd, "\n", 1);
        }
}

static char *event_text(const char *id, const char *action, int second) {
        return g_strdup_printf("{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"%s\",\"Attributes\":{\"name\":\"n%c\",\"image\":\"i\",\"exitCode\":\"3\",\"execID\":\"e1\"}},"
                               "\"timeNano\":%d000000000}\n", action, id, id[0], 1600000000 + second);
}

static void send_event(Fake *f, const char *id, const char *action, int second, gsize piece) {
        g_autofree char *text = event_text(id, action, second);

        stream(f, text, piece);
}

/* ---- what the client said ---- */

typedef struct {
        GMutex lock;
        GCond cond;
        GString *log;
} Heard;

static void say(Heard *h, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(Heard *h, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_mutex_lock(&h->lock);
        g_string_append_vprintf(h->log, format, ap);
        g_cond_broadcast(&h->cond);
        g_mutex_unlock(&h->lock);
        va_end(ap);
}

static void on_container(BhContainer *c, gpointer data) {
        say(data, "[%c %s %s %s %s]", c->id[0], c->name, bh_container_level_name(c->level), bh_container_state_name(c->state), c->image_digest);
}

static void on_event(BhRuntimeEvent *ev, gpointer data) {
        say(data, "<%c %s%s %s pid=%d exit=%d cmd=%s>", ev->actor_id[0], ev->synthetic ? "~" : "", ev->action, ev->container ? ev->container->name : "-", ev->exec_pid,
            ev->exit_code, ev->exec_command);
}

static void on_resources(BhResourceSet *set, gpointer data) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < set->resources->len; i++) {
                const BhResource *r = set->resources->pdata[i];

                g_string_append_printf(text, " %s:%s", r->kind, r->id);
        }
        say(data, "(%s %s%s)", set->source, set->scope, text->str);
}

static void on_state(const BhDockerState *s, gpointer data) {
        say(data, "{%s %s api=%s %s}", s->connected ? "up" : "down", s->listed ? "listed" : "", s->api_version, s->error);
}

static void expect(Heard *h, const char *text) {
        gint64 until = g_get_monotonic_time() + DEADLINE_US;

        g_mutex_lock(&h->lock);
        while (!strstr(h->log->str, text))
                if (!g_cond_wait_until(&h->cond, &h->lock, until))
                        g_error("expected %s, heard %s", text, h->log->str);
        g_mutex_unlock(&h->lock);
}

static guint times(Heard *h, const char *text) {
        guint n = 0;

        g_mutex_lock(&h->lock);
        for (const char *p = h->log->str; (p = strstr(p, text)); p++)
                n++;
        g_mutex_unlock(&h->lock);
        return n;
}

static BhDocker *client_since(Fake *f, Heard *h, gint64 since_ns, gint64 idle_us) {
        BhDockerConfig config = { .socket_path = f->path, .on_container = on_container, .on_event = on_event, .on_state = on_state, .on_resources = on_resources, .data = h, .since_ns = since_ns, .idle_us = idle_us };
        BhDocker *d = bh_docker_new(&config);

        h->log = g_string_new(NULL);
        g_assert_true(bh_docker_start(d, NULL));
        return d;
}

static BhDocker *client_idle(Fake *f, Heard *h, gint64 idle_us) {
        return client_since(f, h, 0, idle_us);
}

static BhDocker *client(Fake *f, Heard *h) {
        return client_idle(f, h, 0);
}

static void forget_all(Heard *h) {
        g_mutex_lock(&h->lock);
        g_string_truncate(h->log, 0);
        g_mutex_unlock(&h->lock);
}

static void done(Fake *f, BhDocker *d, Heard *h) {
        bh_docker_free(d);
        fake_close(f);
        fake_free(f);
        g_string_free(h->log, TRUE);
}

/* ---- tests ---- */

static void events_in_torn_chunks(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        BhDocker *d = client(f, &h);

        expect(&h, "{up listed api=1.44 }");
        expect(&h, "[a na full running i@sha256:2]");
        put(f, B, "nb", "created", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        send_event(f, B, "create", 1, 1);
        send_event(f, B, "start", 2, 7);
        g_autofree char *pause = event_text(A, "pause", 3), *unpause = event_text(A, "unpause", 4), *two = g_strconcat(pause, unpause, NULL);
        stream(f, two, 100000);
        expect(&h, "[b nb event created ]<b create nb ");
        expect(&h, "<b start nb ");
        expect(&h, "[a na full paused i@sha256:2]<a pause na ");
        expect(&h, "<a unpause na ");
        expect(&h, "[b nb full ");
        /* a line that is no event costs a listing, not the connection */
        BhDockerStats before, after;
        bh_docker_get_stats(d, &before);
        stream(f, "{\"Type\":\n\n\r\n[]\n", 3);
        send_event(f, B, "destroy", 5, 50);
        expect(&h, "[b nb full removed ");
        bh_docker_get_stats(d, &after);
        g_assert_cmpuint(after.events_bad, ==, before.events_bad + 2);
        g_assert_cmpuint(times(&h, "down"), ==, 0);
        done(f, d, &h);
}

static void exec_has_its_pid(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, "{up listed");
        send_event(f, A, "exec_create: sh -c id", 1, 1000);
        send_event(f, A, "exec_start: sh -c id", 2, 1000);
        expect(&h, "<a ~exec_running na pid=4711 exit=-1 cmd=sh -c id>");
        send_event(f, A, "exec_die", 3, 1000);
        expect(&h, "<a exec_die na pid=4711 exit=3 cmd=sh -c id>");
        done(f, d, &h);
}

static void a_blocked_inspect_holds_up_no_other(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        f->held = A;
        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        put(f, B, "nb", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        BhDocker *d = client(f, &h);
        /* what the list gave is there, and the other's inspect too */
        expect(&h, "[a na event running ]");
        expect(&h, "[b nb full running ");
        send_event(f, C, "create", 1, 1000);
        expect(&h, "[c nc event created ]<c create nc ");
        g_assert_cmpuint(times(&h, "[a na full"), ==, 0);
        g_mutex_lock(&f->lock);
        f->held = NULL;
        g_cond_broadcast(&f->cond);
        g_mutex_unlock(&f->lock);
        expect(&h, "[a na full running ");
        done(f, d, &h);
}

static void nothing_is_lost_over_a_restart(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        put(f, B, "nb", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, "{up listed");
        send_event(f, A, "pause", 1, 1000);
        send_event(f, A, "unpause", 2, 1000);
        expect(&h, "<a unpause na ");
        fake_close(f);
        expect(&h, "{down ");

        /* meanwhile: A died (the engine has forgotten to say), B is gone, C came and runs; the engine repeats what it said last */
        put(f, A, "na", "exited", "2020-01-01T00:00:01Z", "2020-01-02T00:00:00Z");
        g_hash_table_remove(f->inspects, B);
        put(f, C, "nc", "running", "2020-01-03T00:00:00Z", "0001-01-01T00:00:00Z");
        g_autofree char *unpause = event_text(A, "unpause", 2), *oom = event_text(A, "oom", 3);
        f->backlog = g_strconcat(unpause, oom, NULL);
        fake_open(f);
        stream(f, f->backlog, 5);
        expect(&h, "<a oom na ");
        expect(&h, "<a ~die na pid=0 exit=9 cmd=>");
        expect(&h, "<c ~create nc ");
        expect(&h, "<c ~start nc ");
        expect(&h, "<b ~die nb ");
        expect(&h, "<b ~destroy nb ");
        g_assert_cmpuint(times(&h, "<a unpause na "), ==, 1);
        g_assert_cmpuint(times(&h, "<a oom na "), ==, 1);

        BhDockerStats s;
        bh_docker_get_stats(d, &s);
        g_assert_cmpuint(s.events_synthetic, ==, 5);
        g_assert_cmpuint(s.events_duplicate, >=, 2);
        g_assert_cmpuint(s.connects, ==, 2);
        done(f, d, &h);
}

/* An inspect that another event led to saw the death before its own event came, which the end of the stream then swallowed. */
static void what_only_an_inspect_saw_is_told(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        put(f, B, "nb", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        put(f, C, "nc", "exited", "2020-01-01T00:00:01Z", "2020-01-01T00:00:02Z");
        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, "{up listed");
        put(f, A, "na", "exited", "2020-01-01T00:00:01Z", "2020-10-02T00:00:00Z");
        put(f, B, "nb", "exited", "2020-01-01T00:00:01Z", "2020-10-02T00:00:00Z");
        put(f, C, "nc", "running", "2020-10-03T00:00:00Z", "2020-01-01T00:00:02Z");
        send_event(f, A, "oom", 1, 1000);
        send_event(f, B, "oom", 2, 1000);
        send_event(f, C, "update", 3, 1000);
        expect(&h, "[a na full exited ");
        expect(&h, "[b nb full exited ");
        expect(&h, "[c nc full running ");
        fake_close(f);
        expect(&h, "{down ");
        g_assert_cmpuint(times(&h, " die "), ==, 0);
        g_assert_cmpuint(times(&h, "~"), ==, 0);

        g_hash_table_remove(f->inspects, B);
        fake_open(f);
        expect(&h, "<a ~die na pid=0 exit=9 cmd=>");
        expect(&h, "<c ~start nc ");
        expect(&h, "<b ~die nb pid=0 exit=9 cmd=>");
        expect(&h, "<b ~destroy nb ");
        /* the engine tells after all, and then something new */
        forget_all(&h);
        send_event(f, A, "die", 4, 1000);
        send_event(f, C, "start", 5, 1000);
        send_event(f, C, "die", 6, 1000);
        send_event(f, A, "start", 7, 1000);
        send_event(f, A, "die", 8, 1000);
        expect(&h, "<a die na ");
        g_assert_cmpuint(times(&h, "<a start na "), ==, 1);
        g_assert_cmpuint(times(&h, "<a die na "), ==, 1);
        g_assert_cmpuint(times(&h, "<c start nc "), ==, 0);
        g_assert_cmpuint(times(&h, "<c die nc "), ==, 1);

        /* and with nothing lost there is nothing to conclude */
        BhDockerStats s;
        bh_docker_get_stats(d, &s);
        g_assert_cmpuint(s.events_synthetic, ==, 4);
        g_assert_cmpuint(s.events_duplicate, ==, 2);
        done(f, d, &h);
}

/* The very first inspect finds dead what the list found running: the death is younger than the connection, so it must be told. */
static void a_death_during_the_first_listing_is_told(void) {
        Fake *f = fake_new();
        Heard h = { 0 };
        g_autoptr(GDateTime) now = NULL;
        g_autofree char *finished = NULL;

        f->listed_state = "running";
        f->held = A;
        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        put(f, B, "nb", "exited", "2020-01-01T00:00:01Z", "2020-01-01T00:00:02Z");
        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, "[a na event running ]");
        now = g_date_time_new_now_utc();
        finished = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
        put(f, A, "na", "exited", "2020-01-01T00:00:01Z", finished);
        g_mutex_lock(&f->lock);
        f->held = NULL;
        g_cond_broadcast(&f->cond);
        g_mutex_unlock(&f->lock);
        expect(&h, "[a na full exited ");
        expect(&h, "{up listed");
        fake_close(f);
        expect(&h, "{down ");
        g_assert_cmpuint(times(&h, "die"), ==, 0);
        fake_open(f);
        expect(&h, "<a ~die na pid=0 exit=9 cmd=>");
        send_event(f, C, "create", 1, 1000);
        expect(&h, "<c create nc ");
        forget_all(&h);
        fake_close(f);
        expect(&h, "{down ");
        put(f, C, "nc", "created", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        expect(&h, "{up listed");
        /* told once; the other's death is older than the connection, and no news */
        g_assert_cmpuint(times(&h, "~"), ==, 0);
        done(f, d, &h);
}

/* A destroy that comes alone implies the death. */
static void a_death_comes_before_its_destroy(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, "{up listed");
        stream(f, "{\"Type\":\"container\",\"Action\":\"die\"\n", 1000);
        send_event(f, A, "destroy", 2, 1000);
        expect(&h, "<a ~die na pid=0 exit=-1 cmd=><a destroy na ");
        done(f, d, &h);
}

/* Killed and removed while nobody looked: the engine remembers it. */
static void what_ended_before_the_first_connection_is_asked_for(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        put(f, B, "nb", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        fake_open(f);
        BhDocker *d = client_since(f, &h, G_GINT64_CONSTANT(1600000000999999999), 0);
        send_event(f, A, "kill", 1, 1000);
        send_event(f, A, "die", 2, 1000);
        send_event(f, A, "destroy", 3, 1000);
        expect(&h, "<a destroy na ");
        expect(&h, "{up listed");
        g_assert_nonnull(strstr(f->streamed, "/events?since=1600000001.000000000"));
        g_assert_cmpuint(times(&h, "<a kill na "), ==, 1);
        g_assert_cmpuint(times(&h, "<a die na pid=0 exit=3 "), ==, 1);
        g_assert_cmpuint(times(&h, "[a na event removed ]"), ==, 1);
        g_assert_cmpuint(times(&h, "~"), ==, 0);
        done(f, d, &h);
}

static void an_engine_that_hangs_is_told(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        fake_open(f);
        BhDocker *d = client_idle(f, &h, 200000);
        expect(&h, "{up listed");
        g_mutex_lock(&f->lock);
        f->mute = TRUE;
        g_mutex_unlock(&f->lock);
        expect(&h, "{up listed api=1.44 the Docker Engine has not answered for some time");
        forget_all(&h);
        /* an event is a sign of life as well */
        send_event(f, B, "create", 1, 1000);
        expect(&h, "{up listed api=1.44 }");
        expect(&h, "<b create nb ");
        expect(&h, "{up listed api=1.44 the Docker Engine has not answered for some time");
        forget_all(&h);
        g_mutex_lock(&f->lock);
        f->mute = FALSE;
        g_cond_broadcast(&f->cond);
        g_mutex_unlock(&f->lock);
        expect(&h, "{up listed api=1.44 }");
        g_assert_cmpuint(times(&h, "{down"), ==, 0);
        done(f, d, &h);
}

static void a_line_too_long_is_made_good_by_a_listing(void) {
        Fake *f = fake_new();
        Heard h = { 0 };

        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, "{up listed");
        put(f, A, "na", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        g_autofree char *pad = g_strnfill(BH_DOCKER_MAX_EVENT_LINE + 1000, 'x');
        g_autofree char *line = g_strdup_printf("{\"Type\":\"container\",\"Action\":\"create\",\"Actor\":{\"ID\":\"" A "\",\"Attributes\":{\"x\":\"%s\"}}}\n", pad);
        stream(f, line, 60000);
        send_event(f, B, "create", 1, 1000);
        expect(&h, "<b create nb ");
        expect(&h, "<a ~create na ");
        expect(&h, "<a ~start na ");
        BhDockerStats s;
        bh_docker_get_stats(d, &s);
        g_assert_cmpuint(s.events_refused, ==, 1);

        /* one that is whole but for its size is an event all the same, in one piece or torn */
        put(f, C, "nc", "running", "2020-01-01T00:00:01Z", "0001-01-01T00:00:00Z");
        g_autofree char *large = g_strdup_printf("{\"Type\":\"container\",\"Action\":\"create\",\"Actor\":{\"ID\":\"" C "\",\"Attributes\":{\"x\":\"%s\"}},\"timeNano\":1600000005000000000}\n", pad);
        stream(f, large, 999);
        expect(&h, "[c  cgroup created ]<c create ");
        expect(&h, "[c nc full running ");
        done(f, d, &h);
}

static void errors_say_what_to_do(void) {
        Fake *f = fake_new();
        Heard h = { 0 };
        BhDocker *d = client(f, &h);

        expect(&h, "there is no Docker socket at ");
        f->version = "<html>no engine</html>";
        fake_open(f);
        expect(&h, "does not speak the Docker Engine API");
        g_mutex_lock(&f->lock);
        f->version = NULL;
        g_mutex_unlock(&f->lock);
        expect(&h, "{up listed");
        done(f, d, &h);
}

static void wait_gatherings(BhDocker *d, guint64 n) {
        gint64 until = g_get_monotonic_time() + DEADLINE_US;
        BhDockerStats stats;

        do {
                g_usleep(10000);
                bh_docker_get_stats(d, &stats);
        } while (stats.gatherings < n && g_get_monotonic_time() < until);
        g_assert_cmpuint(stats.gatherings, >=, n);
}

static void set_networks(Fake *f, const char *body, gboolean drop) {
        g_mutex_lock(&f->lock);
        f->networks = body;
        f->drop_networks = drop;
        g_mutex_unlock(&f->lock);
        /* each of its own time: the same line twice is a replay */
        static int second;
        g_autofree char *text = g_strdup_printf("{\"Type\":\"network\",\"Action\":\"create\",\"Actor\":{\"ID\":\"n\"},\"timeNano\":%d000000000}\n", 1600000000 + second++);
        stream(f, text, 500);
}

static void resources_outlive_bad_answers_and_restarts(void) {
        static const char here[] = "(docker node network:n1 node:w1)", swarm[] = "(swarm swarm:c1 network:n2)";
        Fake *f = fake_new();
        Heard h = { 0 };
        BhDockerStats stats;

        f->info = "{\"SecurityOptions\":[\"name=seccomp,profile=default\"],\"Name\":\"h\",\"Swarm\":{\"LocalNodeState\":\"active\",\"NodeID\":\"w1\",\"ControlAvailable\":true,\"Cluster\":{\"ID\":\"c1\"}}}";
        f->networks = "[{\"Id\":\"n1\",\"Name\":\"a\",\"Scope\":\"local\"}]";
        put(f, A, "na", "running", "2020-01-02T00:00:00Z", "");
        fake_open(f);
        BhDocker *d = client(f, &h);
        expect(&h, here);
        expect(&h, "(swarm swarm:c1)");

        /* nonsense, and an answer that breaks off: what was known stays, and is not told again */
        bh_docker_get_stats(d, &stats);
        guint64 failed = stats.gatherings_failed;
        set_networks(f, "{nonsense", FALSE);
        wait_gatherings(d, stats.gatherings + 1);
        bh_docker_get_stats(d, &stats);
        set_networks(f, NULL, TRUE);
        wait_gatherings(d, stats.gatherings + 1);
        g_assert_cmpuint(times(&h, "(docker node"), ==, 1);
        bh_docker_get_stats(d, &stats);
        g_assert_cmpuint(stats.gatherings_failed, >, failed);

        /* another list is; an engine that comes back with the same is not */
        set_networks(f, "[{\"Id\":\"n2\",\"Name\":\"b\",\"Scope\":\"swarm\"}]", FALSE);
        expect(&h, "(docker node network:n2 node:w1)");
        expect(&h, swarm);
        fake_close(f);
        expect(&h, "{down");
        bh_docker_get_stats(d, &stats);
        fake_open(f);
        wait_gatherings(d, stats.gatherings + 1);
        g_assert_cmpuint(times(&h, "(docker node"), ==, 2);
        g_assert_cmpuint(times(&h, swarm), ==, 1);
        done(f, d, &h);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/container/docker/events_in_torn_chunks", events_in_torn_chunks);
        g_test_add_func("/container/docker/exec_has_its_pid", exec_has_its_pid);
        g_test_add_func("/container/docker/a_blocked_inspect_holds_up_no_other", a_blocked_inspect_holds_up_no_other);
        g_test_add_func("/container/docker/nothing_is_lost_over_a_restart", nothing_is_lost_over_a_restart);
        g_test_add_func("/container/docker/what_only_an_inspect_saw_is_told", what_only_an_inspect_saw_is_told);
        g_test_add_func("/container/docker/a_death_during_the_first_listing_is_told", a_death_during_the_first_listing_is_told);
        g_test_add_func("/container/docker/a_death_comes_before_its_destroy", a_death_comes_before_its_destroy);
        g_test_add_func("/container/docker/what_ended_before_the_first_connection_is_asked_for", what_ended_before_the_first_connection_is_asked_for);
        g_test_add_func("/container/docker/an_engine_that_hangs_is_told", an_engine_that_hangs_is_told);
        g_test_add_func("/container/docker/a_line_too_long_is_made_good_by_a_listing", a_line_too_long_is_made_good_by_a_listing);
        g_test_add_func("/container/docker/errors_say_what_to_do", errors_say_what_to_do);
        g_test_add_func("/container/docker/resources_outlive_bad_answers_and_restarts", resources_outlive_bad_answers_and_restarts);
        return g_test_run();
}
