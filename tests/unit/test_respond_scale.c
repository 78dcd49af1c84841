/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads scaled to zero and back, with a stand-in for the Docker Engine: what it refuses, and what others do to a service meanwhile. A real one: test_response_workloads.py. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "respond_node.h"

#define OTHER "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct {
        int listener;
        GThread *thread;
        GMutex lock;
        GString *acts;      /* "stop a", "start b": the first letter of the id */
        char fails;         /* that container cannot be stopped */
        gboolean removed;   /* the service, and the containers */
        gboolean refuses;   /* updates */
        guint version, meddles; /* so often somebody else changes the service just before */
        gint64 replicas;
        gboolean kept;      /* the rest of the service's description came back as it was */
} engine;

static void say_back(int fd, int status, json_t *body) {
        char *text = json_dumps(body, 0);
        g_autofree char *answer = g_strdup_printf("HTTP/1.1 %d x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(text), text);

        g_assert_cmpint(send(fd, answer, strlen(answer), MSG_NOSIGNAL), ==, (gssize) strlen(answer));
        free(text);
        json_decref(body);
}

static json_t *service(void) {
        return json_pack("{s:s,s:{s:i},s:{s:s,s:{s:s},s:{s:{s:I}}}}", "ID", "svc1", "Version", "Index", (int) engine.version, "Spec", "Name", "web", "Labels", "a", "b", "Mode", "Replicated", "Replicas",
                         (json_int_t) engine.replicas);
}

static void update(int fd, const char *request) {
        json_auto_t *spec = json_loads(strstr(request, "\r\n\r\n") + 4, 0, NULL);
        guint version = (guint) atoi(strstr(request, "version=") + 8);

        if (engine.refuses) {
                say_back(fd, 500, json_pack("{s:s}", "message", "the swarm has no leader"));
                return;
        }
        engine.version += engine.meddles != 0;
        engine.meddles -= engine.meddles != 0;
        if (version != engine.version) {
                say_back(fd, 500, json_pack("{s:s}", "message", "rpc error: code = Unknown desc = update out of sequence"));
                return;
        }
        engine.replicas = json_integer_value(json_object_get(json_object_get(json_object_get(spec, "Mode"), "Replicated"), "Replicas"));
        engine.kept = g_strcmp0(json_string_value(json_object_get(json_object_get(spec, "Labels"), "a")), "b") == 0 && g_strcmp0(json_string_value(json_object_get(spec, "Name")), "web") == 0;
        engine.version++;
        say_back(fd, 200, json_object());
}

static void answer(int fd, const char *request) {
        const char *container = g_str_has_prefix(request, "POST /containers/") ? request + strlen("POST /containers/") : NULL;
        const char *act = container ? strchr(container, '/') + 1 : NULL;

        if (act)
                g_string_append_printf(engine.acts, "%.*s %c,", (int) strcspn(act, " ?"), act, *container);
        if (engine.removed)
                say_back(fd, 404, json_pack("{s:s}", "message", "there is none"));
        else if (act && *container == engine.fails && g_str_has_prefix(act, "stop"))
                say_back(fd, 500, json_pack("{s:s}", "message", "it is stuck"));
        else if (act)
                say_back(fd, 200, json_object());
        else if (g_str_has_prefix(request, "GET /services/svc1 "))
                say_back(fd, 200, service());
        else
                update(fd, request);
}

/* A whole request: its head, and as much as the head says. */
static gboolean is_whole(const GString *s) {
        const char *body = strstr(s->str, "\r\n\r\n"), *length = strstr(s->str, "Content-Length: ");

        return body && s->len - (gsize) (body + 4 - s->str) >= (gsize) (length && length < body ? atoi(length + 16) : 0);
}

static gpointer serve(gpointer unused) {
        for (int fd; (fd = accept(engine.listener, NULL, NULL)) >= 0; close(fd)) {
                g_autoptr(GString) request = g_string_new(NULL);
                char bytes[4096];
                gssize n = 1;

                while (!is_whole(request) && (n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
                        g_string_append_len(request, bytes, n);
                g_mutex_lock(&engine.lock);
                if (n > 0)
                        answer(fd, request->str);
                g_mutex_unlock(&engine.lock);
        }
        return NULL;
}

static void add_container(Node *n, const char *id) {
        g_autoptr(BhContainer) c = bh_container_new(id, "docker");

        bh_container_set(c, &c->name, id[0] == 'a' ? "web-1" : "web-2");
        bh_container_add_label(c, BH_LABEL_COMPOSE_PROJECT, "shop");
        bh_container_add_label(c, BH_LABEL_COMPOSE_SERVICE, "web");
        bh_container_finish(c);
        c->state = BH_CONTAINER_RUNNING;
        bh_container_table_upsert(n->containers, c, 0);
}

static void with_engine(Node *n, gconstpointer unused) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };

        set_up(n, NULL);
        memset(&engine, 0, sizeof(engine));
        engine.acts = g_string_new(NULL);
        engine.version = 7;
        engine.replicas = 3;
        g_snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/docker.sock", n->dir);
        engine.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(bind(engine.listener, (struct sockaddr *) &sa, sizeof(sa)), ==, 0);
        g_assert_cmpint(listen(engine.listener, 64), ==, 0);
        engine.thread = g_thread_new("engine", serve, NULL);
        n->config.docker_socket = g_strdup(sa.sun_path);
        n->config.say = NULL;
        add_container(n, ID);
        add_container(n, OTHER);
}

static void without_engine(Node *n, gconstpointer unused) {
        shutdown(engine.listener, SHUT_RDWR);
        g_thread_join(engine.thread);
        close(engine.listener);
        g_string_free(engine.acts, TRUE);
        g_free((char *) n->config.docker_socket);
        tear_down(n, NULL);
}

static json_t *order(BhRespond *r, const char *id, const char *subject, gboolean release) {
        const BhOrder o = { .id = id, .action = "scale-to-zero", .container = ID, .subject = subject, .release = release };

        return bh_respond_order(r, &o);
}

static void assert_told(json_t *told, const char *state, const char *result) {
        if (g_strcmp0(text_at(told, "state"), state) || !strstr(text_at(told, "result"), result))
                g_error("expected %s: …%s…, saw %s: %s", state, result, text_at(told, "state"), text_at(told, "result"));
        json_decref(told);
}

static void half_a_service_of_compose_is_not_left_stopped(Node *n, gconstpointer unused) {
        g_autoptr(BhRespond) r = begin(n);

        engine.fails = 'b';
        assert_told(order(r, "1", "compose:shop/web", FALSE), "failed", "it is stuck");
        g_assert_nonnull(strstr(engine.acts->str, "stop a,"));
        g_assert_nonnull(strstr(engine.acts->str, "start a,"));
        engine.fails = 0;
        assert_told(order(r, "2", "compose:shop/db", FALSE), "failed", "none of its containers");
        assert_told(order(r, "3", "compose:sho", FALSE), "failed", "none of its containers");
        g_string_truncate(engine.acts, 0);
        assert_told(order(r, "4", "compose:shop", FALSE), "active", "2 containers were stopped");
        g_assert_null(strstr(engine.acts->str, "start"));
        assert_told(order(r, "4", "compose:shop", TRUE), "released", "2 of 2 containers were started again");
        g_assert_nonnull(strstr(engine.acts->str, "start a,"));
        g_assert_nonnull(strstr(engine.acts->str, "start b,"));
        assert_told(order(r, "5", "compose:shop", FALSE), "active", "stopped");
        engine.removed = TRUE;
        assert_told(order(r, "5", "compose:shop", TRUE), "gone", "removed");
}

static void a_service_that_others_change_is_read_again(Node *n, gconstpointer unused) {
        g_autoptr(BhRespond) r = begin(n);

        engine.meddles = 3;
        assert_told(order(r, "1", "swarm:svc1", FALSE), "active", "from 3 replicas to none");
        g_assert_cmpint(engine.replicas, ==, 0);
        g_assert_true(engine.kept);
        assert_told(order(r, "2", "swarm:svc1", FALSE), "failed", "at zero already");
        engine.meddles = 2;
        assert_told(order(r, "1", "swarm:svc1", TRUE), "released", "back to 3");
        g_assert_cmpint(engine.replicas, ==, 3);
        g_assert_true(engine.kept);
        engine.meddles = 100;
        assert_told(order(r, "3", "swarm:svc1", FALSE), "failed", "out of sequence");
        assert_told(order(r, "4", "swarm:../secrets", FALSE), "failed", "no service of that id");
        assert_told(order(r, "5", "everything", FALSE), "failed", "names no service");
}

/* The successor knows how many there were; a release that fails is no end. */
static void it_is_scaled_back_by_the_successor_when_that_can_be(Node *n, gconstpointer unused) {
        BhRespond *r = begin(n);

        assert_told(order(r, "1", "swarm:svc1", FALSE), "active", "to none");
        bh_respond_free(r);
        r = begin(n);
        engine.refuses = TRUE;
        assert_told(order(r, "1", "swarm:svc1", TRUE), "active", "no leader");
        g_assert_cmpint(engine.replicas, ==, 0);
        engine.refuses = FALSE;
        assert_told(order(r, "1", "swarm:svc1", TRUE), "released", "back to 3");
        g_assert_cmpint(engine.replicas, ==, 3);
        assert_told(order(r, "1", "swarm:svc1", TRUE), "released", "back to 3"); /* told again, done once */
        g_assert_cmpint(engine.replicas, ==, 3);
        assert_told(order(r, "2", "swarm:svc1", FALSE), "active", "to none");
        engine.removed = TRUE;
        assert_told(order(r, "2", "swarm:svc1", TRUE), "gone", "removed");
        bh_respond_free(r);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/respond_scale/" #name, Node, NULL, with_engine, name, without_engine)
        TEST(half_a_service_of_compose_is_not_left_stopped);
        TEST(a_service_that_others_change_is_read_again);
        TEST(it_is_scaled_back_by_the_successor_when_that_can_be);
        return g_test_run();
}
