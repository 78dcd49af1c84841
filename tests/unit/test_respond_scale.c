/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads scaled to zero and back, with a stand-in for the Docker Engine: what it refuses, and what others do to a service meanwhile. A real one: test_response_workloads.py. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "respond_node.h"

#define JOB "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
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
        gint grace;         /* StopTimeout of the containers; -2: they have none */
        GString *graces;    /* "15,": for how long each was to be stopped */
        guint drops;        /* so many updates are done, and never answered */
        gboolean dies;      /* after such a one it is deaf */
        gint deaf, hangs;   /* atomic: it answers nothing; not before it hangs no more */
        gint asked;         /* atomic: requests */
        const char *ledger; /* of the order that is under way */
        GString *states;    /* of it, with each thing that was done */
} engine;

/* Longer than this nobody waits for a stop: it ends without an answer. */
#define PATIENCE_S 15

static void note_state(void) {
        json_auto_t *entry = engine.ledger ? json_load_file(engine.ledger, 0, NULL) : NULL;

        if (entry)
                g_string_append_printf(engine.states, "%s,", json_string_value(json_object_get(entry, "state")));
}

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
        note_state();
        engine.version += engine.meddles != 0;
        engine.meddles -= engine.meddles != 0;
        if (version != engine.version) {
                say_back(fd, 500, json_pack("{s:s}", "message", "rpc error: code = Unknown desc = update out of sequence"));
                return;
        }
        engine.replicas = json_integer_value(json_object_get(json_object_get(json_object_get(spec, "Mode"), "Replicated"), "Replicas"));
        engine.kept = g_strcmp0(json_string_value(json_object_get(json_object_get(spec, "Labels"), "a")), "b") == 0 && g_strcmp0(json_string_value(json_object_get(spec, "Name")), "web") == 0;
        engine.version++;
        if (!engine.drops) {
                say_back(fd, 200, json_object());
                return;
        }
        engine.drops--;
        g_atomic_int_set(&engine.deaf, engine.dies);
}

/* FALSE: nobody hears whether it did. */
static gboolean stop(const char *act) {
        const char *t = strstr(act, "?t=");
        const gint s = t ? atoi(t + 3) : engine.grace == -2 ? 10 : engine.grace;

        g_string_append_printf(engine.graces, "%d,", s);
        note_state();
        return s >= 0 && s <= PATIENCE_S;
}

static void answer(int fd, const char *request) {
        const char *container = g_str_has_prefix(request, "POST /containers/") ? request + strlen("POST /containers/") : NULL;
        const char *act = container ? strchr(container, '/') + 1 : NULL;

        g_atomic_int_inc(&engine.asked);
        while (g_atomic_int_get(&engine.hangs))
                g_usleep(1000);
        if (g_atomic_int_get(&engine.deaf))
                return;
        if (act)
                g_string_append_printf(engine.acts, "%.*s %c,", (int) strcspn(act, " ?"), act, *container);
        if (engine.removed)
                say_back(fd, 404, json_pack("{s:s}", "message", "there is none"));
        else if (g_str_has_prefix(request, "GET /containers/"))
                say_back(fd, 200, engine.grace == -2 ? json_pack("{s:{s:n}}", "Config", "StopTimeout") : json_pack("{s:{s:i}}", "Config", "StopTimeout", engine.grace));
        else if (act && *container == engine.fails && g_str_has_prefix(act, "stop"))
                say_back(fd, 500, json_pack("{s:s}", "message", "it is stuck"));
        else if (act && g_str_has_prefix(act, "stop") && !stop(act))
                return;
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

static void add_container_as(Node *n, const char *id, BhContainerState state, gint64 started_ns) {
        g_autoptr(BhContainer) c = bh_container_new(id, "docker");

        bh_container_set(c, &c->name, id[0] == 'a' ? "web-1" : "web-2");
        if (g_str_equal(id, JOB))
                bh_container_add_label(c, BH_LABEL_COMPOSE_ONE_OFF, "True");
        bh_container_add_label(c, BH_LABEL_COMPOSE_PROJECT, "shop");
        bh_container_add_label(c, BH_LABEL_COMPOSE_SERVICE, "web");
        bh_container_finish(c);
        c->state = state;
        c->started_ns = started_ns;
        bh_container_table_upsert(n->containers, c, 0);
}

static void add_container(Node *n, const char *id) {
        add_container_as(n, id, BH_CONTAINER_RUNNING, 1);
}

static void with_engine(Node *n, gconstpointer unused) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };

        set_up(n, NULL);
        memset(&engine, 0, sizeof(engine));
        engine.acts = g_string_new(NULL);
        engine.graces = g_string_new(NULL);
        engine.states = g_string_new(NULL);
        engine.grace = -2;
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
        g_string_free(engine.graces, TRUE);
        g_string_free(engine.states, TRUE);
        g_free((char *) n->config.docker_socket);
        tear_down(n, NULL);
}

static json_t *give_up(BhRespond *r, const char *id, const char *subject) {
        const BhOrder o = { .id = id, .action = "scale-to-zero", .container = ID, .subject = subject, .release = TRUE, .give_up = TRUE };

        return bh_respond_order(r, &o);
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

/* With time. */
static void becomes(BhRespond *r, const char *id, const char *state, const char *result) {
        const gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

        for (;; g_usleep(2000)) {
                json_auto_t *all = bh_respond_list(r), *found = NULL;
                json_t *one;
                size_t i;

                json_array_foreach(all, i, one)
                        if (g_strcmp0(text_at(one, "id"), id) == 0)
                                found = json_incref(one);
                if (found && g_strcmp0(text_at(found, "state"), state) == 0 && strstr(text_at(found, "result"), result))
                        return;
                if (g_get_monotonic_time() > until)
                        g_error("expected %s to become %s: …%s…, saw %s: %s", id, state, result, found ? text_at(found, "state") : "nothing", found ? text_at(found, "result") : "");
        }
}

/* An entry as a sensor leaves it that is killed just then. */
static void leave(Node *n, const char *id, const char *state, const char *subject, const char *detail) {
        g_autofree char *file = g_strdup_printf("responses/%s.json", id);
        g_autofree char *text = g_strdup_printf("{\"id\":\"%s\",\"action\":\"scale-to-zero\",\"state\":\"%s\",\"container\":\"" ID "\",\"name\":\"web\",\"time_ns\":2,\"subject\":\"%s\",\"detail\":%s}", id, state, subject, detail);

        put(n->dir, file, text);
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
        bh_respond_free(r);
        r = begin(n); /* which knows that it is to be released, without being told again */
        becomes(r, "1", "released", "back to 3");
        g_assert_cmpint(engine.replicas, ==, 3);
        assert_told(order(r, "1", "swarm:svc1", TRUE), "released", "back to 3"); /* told again, done once */
        g_assert_cmpint(engine.replicas, ==, 3);
        assert_told(order(r, "2", "swarm:svc1", FALSE), "active", "to none");
        engine.removed = TRUE;
        assert_told(order(r, "2", "swarm:svc1", TRUE), "gone", "removed");
        bh_respond_free(r);
}

static void a_grace_is_no_longer_than_the_engine_is_waited_for(Node *n, gconstpointer unused) {
        g_autoptr(BhRespond) r = begin(n);
        g_autofree char *ledger = g_build_filename(n->ledger, "1.json", NULL);

        engine.grace = 60;
        engine.ledger = ledger;
        assert_told(order(r, "1", "compose:shop", FALSE), "active", "2 containers were stopped");
        g_assert_cmpstr(engine.graces->str, ==, "15,15,");
        g_assert_cmpstr(engine.states->str, ==, "pending,pending,");
        engine.ledger = NULL;
        assert_told(order(r, "1", "compose:shop", TRUE), "released", "2 of 2");
        for (gint grace = -2; grace < 4; grace += 5) {
                const char *id = grace < 0 ? "2" : "3";

                g_string_truncate(engine.graces, 0);
                engine.grace = grace;
                assert_told(order(r, id, "compose:shop", FALSE), "active", "stopped");
                g_assert_cmpstr(engine.graces->str, ==, grace < 0 ? "10,10," : "3,3,");
                assert_told(order(r, id, "compose:shop", TRUE), "released", "2 of 2");
        }
        engine.grace = -1; /* as long as it takes */
        assert_told(order(r, "4", "compose:shop", FALSE), "active", "2 containers were stopped");
}

static void what_was_under_way_is_undone_by_the_successor(Node *n, gconstpointer unused) {
        BhRespond *r;

        engine.replicas = 0;
        engine.refuses = TRUE;
        leave(n, "1", "pending", "swarm:svc1", "{\"replicas\":3}");
        leave(n, "2", "pending", "swarm:svc1", "{}");
        r = begin(n);
        becomes(r, "1", "active", "no leader");
        becomes(r, "2", "failed", "the sensor ended");
        g_assert_cmpint(engine.replicas, ==, 0);
        bh_respond_free(r);
        engine.refuses = FALSE;
        r = begin(n); /* a second one has not forgotten it */
        becomes(r, "1", "released", "the sensor ended while it was carried out: scaled back to 3");
        g_assert_cmpint(engine.replicas, ==, 3);
        bh_respond_free(r);

        leave(n, "3", "pending", "compose:shop", "{\"stopped\":[\"" ID "\",\"" OTHER "\"]}");
        n->config.stopping_ms = 24 * 3600 * 1000;
        r = begin(n); /* the engine may be about to stop one of them still */
        const gint asked = g_atomic_int_get(&engine.asked);
        becomes(r, "3", "active", "it is undone");
        assert_told(order(r, "3", "compose:shop", TRUE), "active", "it is undone"); /* which need not be said again, each second */
        g_assert_cmpint(g_atomic_int_get(&engine.asked), ==, asked);
        bh_respond_free(r);
        n->config.stopping_ms = 1;
        r = begin(n);
        becomes(r, "3", "released", "2 of 2 containers were started again");
        g_assert_nonnull(strstr(engine.acts->str, "start a,"));
        g_assert_nonnull(strstr(engine.acts->str, "start b,"));
        bh_respond_free(r);
}

static void an_answer_that_was_lost_leaves_nothing_at_zero(Node *n, gconstpointer unused) {
        BhRespond *r = begin(n);

        engine.drops = 1;
        assert_told(order(r, "1", "swarm:svc1", FALSE), "failed", "did not do it");
        g_assert_cmpint(engine.replicas, ==, 3);
        engine.drops = 1;
        engine.dies = TRUE;
        assert_told(order(r, "2", "swarm:svc1", FALSE), "active", "cannot be undone now");
        g_assert_cmpint(engine.replicas, ==, 0);
        g_atomic_int_set(&engine.deaf, FALSE);
        engine.dies = FALSE;
        bh_respond_free(r);
        r = begin(n);
        becomes(r, "2", "released", "it failed: scaled back to 3");
        g_assert_cmpint(engine.replicas, ==, 3);
        assert_told(order(r, "3", "swarm:svc1", FALSE), "active", "to none");
        engine.drops = 1;
        assert_told(order(r, "3", "swarm:svc1", TRUE), "active", "tried again");
        g_assert_cmpint(engine.replicas, ==, 3);
        bh_respond_free(r);
        r = begin(n); /* nobody else did that */
        becomes(r, "3", "released", "released: scaled back to 3");
        bh_respond_free(r);
}

/* As where the node's engine is its Swarm's manager no more. */
static void what_cannot_be_scaled_back_is_given_up_by_force_alone(Node *n, gconstpointer unused) {
        g_autoptr(BhRespond) r = begin(n);

        assert_told(order(r, "1", "swarm:svc1", FALSE), "active", "to none");
        assert_told(give_up(r, "1", "swarm:svc1"), "released", "back to 3"); /* where it can be it is */
        assert_told(order(r, "2", "swarm:svc1", FALSE), "active", "to none");
        g_atomic_int_set(&engine.deaf, TRUE);
        assert_told(order(r, "2", "swarm:svc1", TRUE), "active", "tried again");
        json_auto_t *told = give_up(r, "2", "swarm:svc1");
        g_assert_cmpstr(text_at(told, "state"), ==, "released");
        g_assert_nonnull(strstr(text_at(told, "result"), "given up by force"));
        g_assert_null(json_object_get(json_object_get(told, "detail"), "undo"));
        g_assert_cmpint(engine.replicas, ==, 0);
}

static void an_engine_that_hangs_holds_up_nothing_else(Node *n, gconstpointer unused) {
        const BhOrder o = { .id = "9", .action = "isolate", .container = ID, .until_ns = g_get_real_time() * 1000 + 1000000 };
        BhRespond *r;

        g_atomic_int_set(&engine.hangs, TRUE);
        engine.replicas = 0;
        leave(n, "1", "active", "swarm:svc1", "{\"replicas\":3,\"undo\":\"released\"}");
        r = begin(n);
        while (!g_atomic_int_get(&engine.asked))
                g_usleep(1000);
        json_decref(bh_respond_order(r, &o));
        becomes(r, "9", "released", "its time was over");
        g_atomic_int_set(&engine.hangs, FALSE);
        becomes(r, "1", "released", "back to 3");
        bh_respond_free(r);
}

static void jobs_are_left_alone_and_what_was_paused_is_paused_again(Node *n, gconstpointer unused) {
        g_autoptr(BhRespond) r = begin(n);

        add_container_as(n, OTHER, BH_CONTAINER_PAUSED, 1);
        add_container(n, JOB);
        json_auto_t *told = order(r, "1", "compose:shop", FALSE);
        g_assert_cmpstr(text_at(told, "result"), ==, "in force: 2 containers were stopped");
        json_t *detail = json_object_get(told, "detail");
        g_assert_cmpuint(json_array_size(json_object_get(detail, "paused")), ==, 1);
        g_assert_cmpstr(json_string_value(json_array_get(json_object_get(detail, "paused"), 0)), ==, OTHER);
        g_assert_nonnull(strstr(json_string_value(json_array_get(json_object_get(detail, "notes"), 0)), "1 one-off job"));
        assert_told(order(r, "1", "compose:shop", TRUE), "released", "2 of 2 containers were started again, and 1 of them paused");
        g_assert_null(strstr(engine.acts->str, " c,"));
        g_assert_true(g_str_has_suffix(engine.acts->str, "pause b,"));
        g_assert_null(strstr(engine.acts->str, "pause a,"));
}

static guint losses(Node *n) {
        guint found = 0;

        g_mutex_lock(&n->lock);
        for (const char *at = n->said->str; (at = strstr(at, "response_lost ")); at++)
                found++;
        g_mutex_unlock(&n->lock);
        return found;
}

static void wait_for_losses(Node *n, guint wanted) {
        for (const gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC; losses(n) != wanted; g_usleep(2000))
                if (g_get_monotonic_time() > until)
                        g_error("expected %u times that it is in force no more, saw %u", wanted, losses(n));
}

/* A turn of the thread, at least: something else's time is over. */
static void leave_time(BhRespond *r) {
        const BhOrder o = { .id = "9", .action = "isolate", .container = ID, .until_ns = g_get_real_time() * 1000 + 1000000 };

        json_decref(bh_respond_order(r, &o));
        becomes(r, "9", "released", "its time was over");
}

/* What is known of a container may be of before it was stopped: that is no start. */
static void what_is_started_again_is_told(Node *n, gconstpointer unused) {
        const gint64 later = G_MAXINT64 / 2;
        BhRespond *r;

        n->config.say = say;
        leave(n, "1", "active", "compose:shop/web", "{\"stopped\":[\"" ID "\",\"" OTHER "\"]}");
        add_container_as(n, ID, BH_CONTAINER_EXITED, 1);
        r = begin(n);
        add_container_as(n, ID, BH_CONTAINER_RUNNING, later);
        wait_for_losses(n, 1);
        add_container_as(n, OTHER, BH_CONTAINER_RUNNING, later); /* another one of it: said already */
        bh_respond_free(r);
        g_assert_cmpuint(losses(n), ==, 1);

        /* known as running since before it was stopped: the news of its end are on their way */
        g_string_truncate(n->said, 0);
        add_container_as(n, ID, BH_CONTAINER_RUNNING, 1);
        add_container_as(n, OTHER, BH_CONTAINER_RUNNING, 1);
        r = begin(n);
        assert_told(order(r, "2", "compose:shop", FALSE), "active", "2 containers");
        assert_told(order(r, "1", "compose:shop/web", TRUE), "released", "2 of 2");
        leave_time(r);
        bh_respond_free(r);
        g_assert_cmpuint(losses(n), ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/respond_scale/" #name, Node, NULL, with_engine, name, without_engine)
        TEST(half_a_service_of_compose_is_not_left_stopped);
        TEST(a_service_that_others_change_is_read_again);
        TEST(it_is_scaled_back_by_the_successor_when_that_can_be);
        TEST(a_grace_is_no_longer_than_the_engine_is_waited_for);
        TEST(what_was_under_way_is_undone_by_the_successor);
        TEST(an_answer_that_was_lost_leaves_nothing_at_zero);
        TEST(what_cannot_be_scaled_back_is_given_up_by_force_alone);
        TEST(an_engine_that_hangs_holds_up_nothing_else);
        TEST(jobs_are_left_alone_and_what_was_paused_is_paused_again);
        TEST(what_is_started_again_is_told);
        return g_test_run();
}
