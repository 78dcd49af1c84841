/* SPDX-License-Identifier: Apache-2.0 */
/* From pieces of sockets to findings and events, through the real inspector. */
#include <arpa/inet.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <time.h>

#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "inspect_env.h"
#include "sensor/net_alerts.h"
#include "sensor/web_watch.h"

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CGROUP 42u
#define DEADLINE_US (60 * G_USEC_PER_SEC)
#define SQLI "GET /items?id=1%27%20or%20%271%27%3d%271 HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n"
#define PLAIN "GET /items/17 HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

typedef struct {
        BhWebWatch *w;
        BhWebPolicy *policy;
        BhContainerTable *containers;
        GPtrArray *findings;  /* Bulkhead__Bus__V1__Finding */
        GPtrArray *endpoints; /* "server GET /a 3" */
        GArray *ignored, *off; /* guint64 */
        guint on;
        GPtrArray *kept; /* "FINDING WHOLE" */
        guint64 next_connection;
        gint64 ns;
} Env;

static void on_finding(GBytes *body, gpointer data) {
        Env *e = data;
        g_autoptr(GError) error = NULL;
        gpointer m = bh_bus_body_unpack(&bulkhead__bus__v1__finding__descriptor, body, &error);

        g_assert_no_error(error);
        g_ptr_array_add(e->findings, m);
        g_bytes_unref(body);
}

static void on_endpoint(const BhWebEndpoint *p, struct bh_str exe, gpointer data) {
        Env *e = data;

        (void) exe;
        g_ptr_array_add(e->endpoints, g_strdup_printf("%s %s %s %s %" G_GUINT64_FORMAT, p->client ? "client" : "server", p->method, p->path, p->peer, p->count));
}

static void on_keep(const BhWebKept *k, gpointer data) {
        g_ptr_array_add(((Env *) data)->kept, g_strdup_printf("%s %s", k->finding, k->whole));
}

static void on_ignore(guint64 connection, guint64 sk, gpointer data) {
        (void) sk;
        g_array_append_val(((Env *) data)->ignored, connection);
}

static void on_off(guint64 container, gboolean off, gpointer data) {
        ((Env *) data)->on += !off;
        if (off)
                g_array_append_val(((Env *) data)->off, container);
}

static void finding_free(gpointer m) {
        bulkhead__bus__v1__finding__free_unpacked(m, NULL);
}

static gint64 now_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (gint64) t.tv_sec * 1000000000 + t.tv_nsec;
}

static void env_init(Env *e, const char *label, const char *value) {
        static const BhCgroupLayout v2 = { .mode = BH_CGROUP_V2, .version = 2, .mount = (char *) "/sys/fs/cgroup", .mount_root = (char *) "/" };
        BhContainerTableConfig table = { .host_root = "/nonexistent", .layout = &v2 };
        g_autoptr(BhContainer) c = bh_container_new(ID, "docker");
        g_autoptr(GError) error = NULL;

        memset(e, 0, sizeof(*e));
        e->policy = bh_web_policy_new(NULL, NULL);
        e->containers = bh_container_table_new(&table);
        bh_container_table_bind(e->containers, CGROUP, "/docker/" ID, 0);
        c->level = BH_CONTAINER_FULL;
        bh_container_set(c, &c->name, "shop");
        if (label)
                bh_container_add_label(c, label, value);
        bh_container_finish(c);
        bh_container_table_upsert(e->containers, c, 0);
        e->findings = g_ptr_array_new_with_free_func(finding_free);
        e->endpoints = g_ptr_array_new_with_free_func(g_free);
        e->kept = g_ptr_array_new_with_free_func(g_free);
        e->ignored = g_array_new(FALSE, FALSE, sizeof(guint64));
        e->off = g_array_new(FALSE, FALSE, sizeof(guint64));
        e->ns = now_ns();
        BhWebWatchConfig config = {
                .program = BH_INSPECT_WEB_PROGRAM,
                .policy = e->policy,
                .containers = e->containers,
                .node = "n1",
                .publish = on_finding,
                .observe = on_endpoint,
                .keep = on_keep,
                .ignore = on_ignore,
                .off = on_off,
                .data = e,
        };
        e->w = bh_web_watch_new(&config, &error);
        g_assert_no_error(error);
        bh_web_watch_wait(e->w, 60000, &error);
        g_assert_no_error(error);
}

static void env_clear(Env *e) {
        bh_web_watch_free(e->w);
        bh_web_policy_free(e->policy);
        bh_container_table_free(e->containers);
        g_ptr_array_unref(e->findings);
        g_ptr_array_unref(e->endpoints);
        g_ptr_array_unref(e->kept);
        g_array_unref(e->ignored);
        g_array_unref(e->off);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Env, env_clear)

/* A connection's socket in the container. */
typedef struct {
        Env *e;
        guint64 id, offset[2];
        gboolean client, sent_last, any;
        guint32 pid, tid;
        BhPayloadProtocol protocol; /* 0: HTTP/1 */
} Socket;

static Socket socket_of(Env *e, guint32 pid, guint32 tid, gboolean client) {
        return (Socket){ .e = e, .id = ++e->next_connection, .client = client, .pid = pid, .tid = tid };
}

static void piece(Socket *s, gboolean sent, const char *bytes, gsize len, guint flags) {
        BhPayloadPiece p = { .connection = s->id, .sk = s->id, .time_ns = s->e->ns += 1000, .offset = s->offset[sent], .sent = sent, .side = s->client ? BH_PAYLOAD_CLIENT : BH_PAYLOAD_SERVER,
                             .protocol = s->protocol ? s->protocol : BH_PAYLOAD_HTTP1, .pid = s->pid, .tid = s->tid, .start = 5, .cgroup = CGROUP, .container = CGROUP, .family = AF_INET, .lport = 80, .rport = 40000,
                             .laddr = { 10, 0, 0, 2 }, .raddr = { 203, 0, 113, 9 }, .total = (guint32) len, .len = (guint32) len, .bytes = (const guint8 *) bytes };

        p.flags = flags | (s->any ? 0 : BH_PAYLOAD_OPEN) | (len && (!s->any || sent != s->sent_last) ? BH_PAYLOAD_TURN : 0);
        s->any = TRUE;
        s->sent_last = sent;
        s->offset[sent] += len;
        bh_web_watch_piece(s->e->w, &p);
}

static void asks(Socket *s, const char *text) {
        piece(s, s->client, text, strlen(text), 0);
}

static void answers(Socket *s, const char *text) {
        piece(s, !s->client, text, strlen(text), 0);
}

static void closes(Socket *s) {
        piece(s, FALSE, NULL, 0, BH_PAYLOAD_CLOSE);
}

static gint64 status_of(Env *e, const char *part, const char *name) {
        json_auto_t *o = bh_web_watch_status(e->w);
        const json_t *from = part ? json_object_get(o, part) : o;

        return json_integer_value(json_object_get(from, name));
}

static void wait_for(Env *e, const char *part, const char *name, gint64 least) {
        gint64 until = g_get_monotonic_time() + DEADLINE_US;

        while (status_of(e, part, name) < least) {
                bh_web_watch_round(e->w, NULL, g_get_monotonic_time());
                if (g_get_monotonic_time() > until) {
                        json_auto_t *o = bh_web_watch_status(e->w);
                        g_autofree char *all = json_dumps(o, JSON_INDENT(1));

                        g_error("%s.%s did not become %d:\n%s", part ? part : "", name, (int) least, all);
                }
                g_usleep(2000);
        }
}

static void wait_findings(Env *e, guint n) {
        gint64 until = g_get_monotonic_time() + DEADLINE_US;

        while (e->findings->len < n && g_get_monotonic_time() < until) {
                bh_web_watch_round(e->w, NULL, g_get_monotonic_time());
                g_usleep(2000);
        }
        g_assert_cmpuint(e->findings->len, ==, n);
}

static char *field(const Bulkhead__Bus__V1__Finding *m, const char *name) {
        for (gsize i = 0; i < m->n_output_fields; i++) {
                const Bulkhead__Bus__V1__OutputField *f = m->output_fields[i];

                if (!g_str_equal(f->name, name))
                        continue;
                return f->type == BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_NUMBER ? g_strdup_printf("%" G_GINT64_FORMAT, f->number) : g_strndup((char *) f->text.data, f->text.len);
        }
        return g_strdup("");
}

static void assert_field(const Bulkhead__Bus__V1__Finding *m, const char *name, const char *value) {
        g_autofree char *is = field(m, name);

        g_assert_cmpstr(is, ==, value);
}

static void attack_becomes_one_finding(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket s = socket_of(&e, 100, 100, FALSE);

        asks(&s, PLAIN);
        answers(&s, OK);
        asks(&s, SQLI);
        answers(&s, OK);
        wait_findings(&e, 1);
        const Bulkhead__Bus__V1__Finding *m = e.findings->pdata[0];
        g_autofree char *rule = bh_bus_text_dup(m->rule), *output = bh_bus_text_dup(m->output), *score = field(m, "web.score"), *name = bh_bus_text_dup(m->container->name);
        g_test_message("%s", output);
        g_assert_cmpstr(rule, ==, "Web attack: SQL injection");
        g_assert_cmpstr(m->kind, ==, "web");
        g_assert_cmpstr(m->source, ==, "web");
        g_assert_cmpstr(m->priority, ==, "error");
        g_assert_cmpstr(name, ==, "shop");
        assert_field(m, "web.class", "sqli");
        assert_field(m, "web.method", "GET");
        assert_field(m, "web.path", "/items");
        assert_field(m, "web.source", "203.0.113.9");
        assert_field(m, "web.status", "200");
        assert_field(m, "proc.pid", "100");
        assert_field(m, "web.level", "1");
        g_assert_cmpint(atoi(score), >=, 5);
        g_assert_nonnull(strstr(output, "GET /items?id=1%27%20or%20%271%27%3d%271"));
        /* as it came, under the finding's name */
        g_autofree char *kept = g_strdup_printf("%s GET /items?id=1%%27%%20or%%20%%271%%27%%3d%%271 HTTP/1.1\nHost: shop\nUser-Agent: t\nAccept: */*\n\n", m->id);
        g_assert_cmpuint(e.kept->len, ==, 1);
        g_assert_cmpstr(e.kept->pdata[0], ==, kept);
        /* the same again is a number */
        for (guint i = 0; i < 3; i++) {
                asks(&s, SQLI);
                answers(&s, OK);
        }
        wait_for(&e, NULL, "attacks", 4);
        wait_for(&e, NULL, "exchanges", 5);
        bh_web_watch_round(e.w, NULL, g_get_monotonic_time());
        g_assert_cmpuint(e.findings->len, ==, 1);
        g_assert_cmpuint(e.kept->len, ==, 1);
        g_assert_cmpint(status_of(&e, NULL, "judged"), ==, 4);
        g_assert_cmpint(status_of(&e, NULL, "requests"), ==, 5);
        g_assert_cmpint(status_of(&e, "findings", "found"), ==, 4);
        g_assert_cmpint(status_of(&e, "findings", "told"), ==, 1);
        g_assert_cmpint(status_of(&e, "findings", "repeated"), ==, 3);
        g_assert_cmpint(status_of(&e, "findings", "coarse"), ==, 0);
}

static void count_body(GBytes *body, gpointer data) {
        ++*(guint *) data;
        g_bytes_unref(body);
}

/* Beyond the keys that are told apart they are told together, and counted as that. */
static void too_many_findings_are_told_together_and_counted(void) {
        guint bodies = 0;
        g_autoptr(BhNetAlerts) alerts = bh_net_alerts_new("n1", count_body, &bodies);
        BhNetAlertsStats stats;

        for (guint i = 0; i < BH_NET_ALERTS_KEYS + 100; i++) {
                g_autofree char *key = g_strdup_printf("web %u", i);
                const BhNetAlert a = { .id = key, .key = key, .coarse = "web", .kind = "web", .source = "web", .rule = "r", .priority = "error", .output = "o", .description = "", .advice = "",
                                       .tags = (const char *const[]){ "web", NULL }, .time_ns = 1 };

                bh_net_alerts_add(alerts, &a, NULL, 1);
        }
        bh_net_alerts_stats(alerts, &stats);
        g_assert_cmpuint(stats.found, ==, BH_NET_ALERTS_KEYS + 100);
        g_assert_cmpuint(stats.coarse, ==, 100);
        g_assert_cmpuint(stats.told, ==, BH_NET_ALERTS_KEYS + 1);
        g_assert_cmpuint(stats.repeated, ==, 99);
        g_assert_cmpuint(stats.refused, ==, 0);
        g_assert_cmpuint(bodies, ==, stats.told);
}

static void refused_attack_weighs_less_and_one_without_an_answer_is_told(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket a = socket_of(&e, 100, 100, FALSE), b = socket_of(&e, 100, 101, FALSE);

        asks(&a, SQLI);
        answers(&a, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        wait_findings(&e, 1);
        g_assert_cmpstr(((Bulkhead__Bus__V1__Finding *) e.findings->pdata[0])->priority, ==, "notice");
        asks(&b, "GET /run?cmd=%3bcat%20/etc/passwd HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n");
        wait_findings(&e, 2); /* after BH_WEB_RESPONSE_US */
        g_assert_cmpstr(((Bulkhead__Bus__V1__Finding *) e.findings->pdata[1])->priority, ==, "warning");
}

static void people_decide_what_is_looked_at(void) {
        {
                g_auto(Env) e;
                env_init(&e, "bulkhead.web", "off");
                Socket s = socket_of(&e, 100, 100, FALSE);

                asks(&s, SQLI);
                g_assert_cmpuint(e.off->len, ==, 1);
                g_assert_cmpuint(g_array_index(e.off, guint64, 0), ==, CGROUP);
                g_assert_cmpuint(e.ignored->len, >=, 1); /* again while more comes */
                g_assert_cmpint(status_of(&e, NULL, "switched_off"), ==, 1);
        }
        {
                g_auto(Env) e;
                env_init(&e, "bulkhead.web.exclude", "942000-942999");
                Socket s = socket_of(&e, 100, 100, FALSE);

                asks(&s, SQLI);
                answers(&s, OK);
                wait_for(&e, NULL, "exchanges", 1);
                g_assert_cmpint(status_of(&e, NULL, "judged"), ==, 1);
                g_assert_cmpint(status_of(&e, NULL, "attacks"), ==, 0);
        }
}

static BhWebPolicy *policy_of(const char *text) {
        g_autofree char *path = NULL;
        g_autoptr(GError) error = NULL;
        int fd = g_file_open_tmp("bh-web-XXXXXX", &path, &error);

        g_assert_cmpint(fd, >=, 0);
        close(fd);
        g_file_set_contents(path, text, -1, &error);
        g_assert_no_error(error);
        BhWebPolicy *p = bh_web_policy_new(path, &error);
        g_assert_no_error(error);
        unlink(path);
        return p;
}

static void another_policy_holds_for_what_is_open(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        g_autoptr(BhWebPolicy) lenient = policy_of("[web]\nexclude=942000-942999\n"), off = policy_of("[web]\noff=true\n"), first = g_steal_pointer(&e.policy);
        Socket s = socket_of(&e, 100, 100, FALSE);

        asks(&s, SQLI);
        answers(&s, OK);
        wait_for(&e, NULL, "exchanges", 1);
        g_assert_cmpint(status_of(&e, NULL, "attacks"), ==, 1);
        bh_web_watch_policy(e.w, lenient);
        asks(&s, SQLI);
        answers(&s, OK);
        wait_for(&e, NULL, "exchanges", 2);
        g_assert_cmpint(status_of(&e, NULL, "attacks"), ==, 1);
        bh_web_watch_policy(e.w, off);
        asks(&s, SQLI);
        g_assert_cmpint(status_of(&e, NULL, "switched_off"), ==, 1);
        g_assert_cmpuint(e.off->len, ==, 1);
        g_assert_cmpuint(e.on, ==, 0);
        bh_web_watch_policy(e.w, first);
        g_assert_cmpuint(e.on, ==, 1);
        Socket again = socket_of(&e, 100, 100, FALSE);
        asks(&again, SQLI);
        answers(&again, OK);
        wait_for(&e, NULL, "exchanges", 3);
        g_assert_cmpint(status_of(&e, NULL, "attacks"), ==, 2);
        e.policy = g_steal_pointer(&first);
}

static void facts_are_counted_for_both_sides(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket server = socket_of(&e, 100, 100, FALSE), client = socket_of(&e, 200, 200, TRUE);
        gboolean served = FALSE, asked = FALSE;

        for (guint i = 0; i < 3; i++) {
                g_autofree char *request = g_strdup_printf("GET /items/%u HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n", i);

                asks(&server, request);
                answers(&server, OK);
        }
        asks(&client, SQLI); /* what a container asks for is no attack on it */
        answers(&client, OK);
        wait_for(&e, NULL, "exchanges", 4);
        for (gint64 until = g_get_monotonic_time() + DEADLINE_US; e.endpoints->len < 2 && g_get_monotonic_time() < until; g_usleep(10000))
                bh_web_watch_round(e.w, NULL, g_get_monotonic_time());
        for (guint i = 0; i < e.endpoints->len; i++) {
                g_test_message("%s", (char *) e.endpoints->pdata[i]);
                served |= g_str_has_prefix(e.endpoints->pdata[i], "server GET /items/{n}");
                asked |= g_str_has_prefix(e.endpoints->pdata[i], "client GET /items shop");
        }
        g_assert_true(served && asked);
        g_assert_cmpint(status_of(&e, NULL, "attacks"), ==, 0);
        g_assert_cmpint(status_of(&e, NULL, "judged"), ==, 0);
}

typedef struct {
        guint endpoints, refused, params, rest, longest;
} Told;

static void on_told(const BhWebEndpoint *e, gpointer data) {
        Told *t = data;

        t->endpoints++;
        t->refused += e->status[4] == e->count;
        t->rest += e->rest > 0;
        for (guint i = 0; i < e->n_params; i++) {
                t->params += e->params[i].count > 0;
                t->longest = MAX(t->longest, e->params[i].length);
        }
}

static Told take_all(BhWebEndpoints *t, gint64 now_us) {
        Told told = { 0 };

        bh_web_endpoints_take(t, FALSE, now_us, G_MAXUINT, on_told, &told);
        return told;
}

/* Whoever invents paths and names of parameters takes no room from what there is, and makes nobody's memory grow. */
static void invented_paths_and_parameters_are_bounded(void) {
        g_autoptr(BhWebEndpoints) t = bh_web_endpoints_new();
        g_autoptr(BhContainer) c = bh_container_new("c1", "docker");
        BhWebEndpointsStats stats;
        BhWebParam p = { .place = BH_WEB_PLACE_QUERY, .type = BH_WEB_TYPE_NUMBER, .length = 1 };
        BhWebExchangeFact f = { .container = c, .method = "GET", .peer = "", .status = 404, .params = &p, .n_params = 1 };

        for (guint i = 0; i < 5000; i++) {
                g_autofree char *path = g_strdup_printf("/%x.php", i * 2654435761u), *name = g_strdup_printf("n%u", i);

                f.path = path;
                p.name = name;
                bh_web_endpoints_add(t, &f, 0);
        }
        Told told = take_all(t, 0);
        g_assert_cmpuint(told.endpoints, ==, BH_WEB_ENDPOINTS_REFUSED + 1);
        g_assert_cmpuint(told.params, ==, 0); /* of what was refused */
        f.status = 200;
        for (guint i = 0; i < 5000; i++) {
                g_autofree char *path = g_strdup_printf("/real/%u.html", i % 100), *name = g_strdup_printf("n%u", i);

                f.path = path;
                p.name = name;
                bh_web_endpoints_add(t, &f, 0);
        }
        told = take_all(t, 0);
        g_assert_cmpuint(told.endpoints, ==, 100);
        g_assert_cmpuint(told.refused, ==, 0);
        g_assert_cmpuint(told.params, ==, BH_WEB_PARAMS_CONTAINER);
        g_assert_cmpuint(told.rest, >=, 60);
        bh_web_endpoints_stats(t, &stats);
        g_assert_cmpuint(stats.params, ==, BH_WEB_PARAMS_CONTAINER);
        g_assert_cmpuint(stats.params_rest, ==, 5000 - BH_WEB_PARAMS_CONTAINER);
        /* one that grows is told at once, what is as it was is not */
        p.name = (char *) "n0";
        f.path = "/real/0.html";
        bh_web_endpoints_add(t, &f, 1);
        g_assert_cmpuint(take_all(t, 1).endpoints, ==, 0);
        p.length = 5;
        bh_web_endpoints_add(t, &f, 1);
        told = take_all(t, 1);
        g_assert_cmpuint(told.endpoints, ==, 1);
        g_assert_cmpuint(told.params, ==, 1);
        g_assert_cmpuint(told.longest, ==, 5);
        /* quiet ones are forgotten, with what they have */
        take_all(t, 2 + BH_WEB_ENDPOINT_QUIET_US);
        bh_web_endpoints_stats(t, &stats);
        g_assert_cmpuint(stats.endpoints, ==, 0);
        g_assert_cmpuint(stats.params, ==, 0);
}

/* ---- events */

static void event_init(struct bh_event *ev, guint32 type, guint32 pid, guint32 tid, gint64 ns) {
        memset(ev, 0, sizeof(*ev));
        BH_SET(ev, type, type);
        BH_SET(ev, pid, pid);
        BH_SET(ev, tid, tid);
        BH_SET(ev, boottime, (guint64) ns);
        BH_SET(ev, time, (guint64) ns);
        BH_SET(ev, ret, 0);
}

static void forks(Env *e, guint32 pid, guint32 tid, guint32 child) {
        struct bh_event ev;

        event_init(&ev, BH_EV_FORK, pid, tid, e->ns += 1000);
        BH_SET(&ev, child_pid, child);
        g_assert_null(bh_web_watch_event(e->w, &ev));
}

/* What the event is given for `field`. Caller frees. */
static BhWebTicket *act(Env *e, struct bh_event *ev) {
        BhWebTicket *t = bh_web_watch_event(e->w, ev);
        gint64 until = g_get_monotonic_time() + DEADLINE_US;

        if (!t)
                return NULL;
        while (!bh_web_watch_ready(e->w, t) && g_get_monotonic_time() < until)
                g_usleep(1000);
        g_assert_true(bh_web_watch_ready(e->w, t));
        bh_web_watch_finish(e->w, t, ev, NULL);
        return t;
}

static void assert_text(struct bh_str s, const char *text) {
        g_autofree char *is = g_strndup(s.p, s.len);

        g_assert_cmpstr(is, ==, text);
}

static void act_of_an_attack_is_joined_among_many(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        static const char args[] = "/bin/sh\0-c\0ping -c1 127.0.0.1;id > /tmp/x";
        struct bh_event ev;
        Socket loop[51];

        /* an event loop: one thread reads all of them, and the attack is among them */
        for (guint i = 0; i < 51; i++) {
                g_autofree char *request = i == 31 ? g_strdup("GET /ping?host=127.0.0.1%3bid%20%3e%20/tmp/x HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n")
                                                   : g_strdup_printf("GET /ping?host=10.0.0.%u HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n", i);

                loop[i] = socket_of(&e, 100, 100, FALSE);
                asks(&loop[i], request);
        }
        forks(&e, 100, 100, 101);
        event_init(&ev, BH_EV_EXEC, 101, 101, e.ns += 1000);
        BH_SET(&ev, args, ((struct bh_str){ args, sizeof(args) }));
        BH_SET(&ev, exe, ((struct bh_str){ "/bin/dash", 9 }));
        BhWebTicket *t = act(&e, &ev);
        g_assert_nonnull(t);
        assert_text(ev.web_basis, "bytes of the request found in the act");
        assert_text(ev.web_method, "GET");
        assert_text(ev.web_path, "/ping");
        assert_text(ev.web_source, "203.0.113.9");
        g_assert_true(g_str_has_prefix(ev.web_rule.p, "932"));
        g_assert_cmpuint(ev.web_candidates, ==, 1);
        bh_web_ticket_free(t);
        /* the finding of the act, before that of the request, which waits for its answer */
        g_assert_cmpuint(e.findings->len, ==, 1);
        const Bulkhead__Bus__V1__Finding *m = e.findings->pdata[0];
        g_autofree char *rule = bh_bus_text_dup(m->rule), *output = bh_bus_text_dup(m->output), *finding = field(m, "web.finding");
        g_test_message("%s", output);
        g_assert_cmpstr(rule, ==, "Program run by a web attack");
        g_assert_cmpstr(m->priority, ==, "critical");
        answers(&loop[31], OK);
        wait_findings(&e, 2);
        g_assert_cmpstr(((Bulkhead__Bus__V1__Finding *) e.findings->pdata[1])->id, ==, finding);

        /* its child, with nothing of the request in it, long after the answer */
        forks(&e, 101, 101, 102);
        event_init(&ev, BH_EV_CONNECT, 102, 102, e.ns + 60 * G_GINT64_CONSTANT(1000000000));
        BH_SET(&ev, raddr, ((struct bh_ip){ { 192, 0, 2, 1 }, 4 }));
        BH_SET(&ev, rport, 4444);
        t = act(&e, &ev);
        assert_text(ev.web_basis, "bytes of the request found in the act");
        assert_text(ev.web_path, "/ping");
        bh_web_ticket_free(t);
        wait_findings(&e, 3);
        /* another's child: one of those that are open, all of them listed */
        forks(&e, 100, 100, 103);
        event_init(&ev, BH_EV_EXEC, 103, 103, e.ns += 1000);
        BH_SET(&ev, args, ((struct bh_str){ "date", 5 }));
        t = act(&e, &ev);
        assert_text(ev.web_basis, "one of 50 requests open");
        g_assert_cmpuint(ev.web_candidates, ==, 50);
        guint listed = 0;
        for (guint32 i = 0; i < ev.web_requests.len; i++)
                listed += !ev.web_requests.p[i];
        g_assert_cmpuint(listed, ==, 50);
        g_assert_false(bh_event_has(&ev, BH_F_web_rule));
        bh_web_ticket_free(t);
        /* a process that has nothing to do with it */
        event_init(&ev, BH_EV_EXEC, 999, 999, e.ns);
        g_assert_null(bh_web_watch_event(e.w, &ev));
        g_assert_cmpuint(e.findings->len, ==, 3);
}

static void file_that_a_traversal_reads_is_joined(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket s = socket_of(&e, 100, 100, FALSE);
        struct bh_event ev;

        asks(&s, "GET /show?file=../../../../etc/passwd HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n");
        wait_for(&e, NULL, "attacks", 1);
        event_init(&ev, BH_EV_OPEN, 100, 100, e.ns += 1000);
        BH_SET(&ev, path, ((struct bh_str){ "/usr/lib/python3/x.py", 21 }));
        BhWebTicket *t = act(&e, &ev);
        g_assert_nonnull(t);
        g_assert_cmpuint(e.findings->len, ==, 0); /* a file of its own is no news */
        bh_web_ticket_free(t);
        BH_SET(&ev, path, ((struct bh_str){ "/etc/passwd", 11 }));
        t = act(&e, &ev);
        g_assert_cmpuint(e.findings->len, ==, 1);
        g_autofree char *rule = bh_bus_text_dup(((Bulkhead__Bus__V1__Finding *) e.findings->pdata[0])->rule);
        g_assert_cmpstr(rule, ==, "File reached by a web attack");
        bh_web_ticket_free(t);
}

/* Who uploads a file and names the host by its number breaks a rule, and nothing that the service does with the file is an attack's. A program with a part of the request in it is told all the same. */
static void what_an_odd_request_does_is_no_attack(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        static const char own[] = "/bin/sh\0-c\0true", hidden[] = "/bin/sh\0-c\0holiday-in-norway.png";
        Socket s = socket_of(&e, 100, 100, FALSE);
        struct bh_event ev;

        asks(&s, "PUT /upload/holiday-in-norway.png HTTP/1.1\r\nHost: 10.0.0.7\r\nUser-Agent: sqlmap/1.7\r\nContent-Length: 2\r\n\r\nab");
        wait_for(&e, NULL, "attacks", 1);
        event_init(&ev, BH_EV_CLOSE_WRITE, 100, 100, e.ns += 1000);
        BH_SET(&ev, path, ((struct bh_str){ "/data/holiday-in-norway.png", 27 }));
        BhWebTicket *t = act(&e, &ev);
        g_assert_nonnull(t);
        assert_text(ev.web_basis, "bytes of the request found in the act");
        g_assert_true(bh_event_has(&ev, BH_F_web_rule)); /* that it is odd is said, too */
        bh_web_ticket_free(t);
        forks(&e, 100, 100, 101);
        event_init(&ev, BH_EV_EXEC, 101, 101, e.ns += 1000);
        BH_SET(&ev, args, ((struct bh_str){ own, sizeof(own) }));
        bh_web_ticket_free(act(&e, &ev));
        g_assert_cmpuint(e.findings->len, ==, 0);
        forks(&e, 100, 100, 102);
        event_init(&ev, BH_EV_EXEC, 102, 102, e.ns += 1000);
        BH_SET(&ev, args, ((struct bh_str){ hidden, sizeof(hidden) }));
        bh_web_ticket_free(act(&e, &ev));
        g_assert_cmpuint(e.findings->len, ==, 1);
        g_autofree char *rule = bh_bus_text_dup(((Bulkhead__Bus__V1__Finding *) e.findings->pdata[0])->rule), *class = field(e.findings->pdata[0], "web.class");
        g_assert_cmpstr(rule, ==, "Program run by a web attack");
        g_assert_cmpstr(class, ==, "scanner");
}

/* Servers pass over empty lines before a request: so must whoever decides whether one begins here. */
static void request_behind_empty_lines_is_looked_at(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket s = socket_of(&e, 100, 100, FALSE), other = socket_of(&e, 100, 100, FALSE);

        asks(&other, "\x01\x02 no request");
        g_assert_cmpint(status_of(&e, "lost", "without_begin"), ==, 1);
        asks(&s, "\r\n" SQLI);
        answers(&s, OK);
        wait_findings(&e, 1);
        g_assert_cmpint(status_of(&e, "lost", "without_begin"), ==, 1);
}

/* What a proxy says of its client before the first request, which servers read by itself or with it. */
static void request_behind_a_proxys_header_is_looked_at(void) {
        static const char header[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\300\0\2\1\300\0\2\2\xdc\4\0\x50", both[] = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\n" SQLI;
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket first = socket_of(&e, 100, 100, FALSE), second = socket_of(&e, 100, 100, FALSE);

        piece(&first, FALSE, header, sizeof(header) - 1, 0);
        asks(&first, SQLI);
        answers(&first, OK);
        wait_for(&e, NULL, "attacks", 1);
        asks(&second, both);
        answers(&second, OK);
        wait_for(&e, NULL, "attacks", 2);
        g_assert_cmpint(status_of(&e, "lost", "without_begin"), ==, 0);
}

/* ---- trouble */

static void dead_inspector_costs_one_connection(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket s = socket_of(&e, 100, 100, FALSE), victim = socket_of(&e, 100, 100, FALSE);

        asks(&s, PLAIN);
        answers(&s, OK);
        wait_for(&e, NULL, "exchanges", 1);
        g_assert_cmpint(kill((pid_t) status_of(&e, NULL, "pid"), SIGKILL), ==, 0);
        /* what it was given first, and did not answer, is what is given up */
        asks(&victim, PLAIN);
        /* the other connection goes on with its next request */
        for (gint64 until = g_get_monotonic_time() + DEADLINE_US; !e.findings->len && g_get_monotonic_time() < until; g_usleep(20000)) {
                Socket fresh = socket_of(&e, 100, 100, FALSE);

                asks(&s, SQLI);
                answers(&s, OK);
                asks(&fresh, PLAIN);
                closes(&fresh);
                bh_web_watch_round(e.w, NULL, g_get_monotonic_time());
        }
        g_assert_cmpuint(e.findings->len, ==, 1);
        g_assert_cmpint(status_of(&e, NULL, "starts"), ==, 2);
        g_assert_cmpint(status_of(&e, "given_up", "inspector_died"), ==, 1);
        g_assert_cmpuint(e.ignored->len, ==, 1);
        g_assert_cmpuint(g_array_index(e.ignored, guint64, 0), ==, victim.id);
}

/* The inspector stands still while thousands of requests come: plain ones are passed over and counted, the attack among them is found when it goes on. */
static void attack_is_found_above_capacity(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        pid_t pid = (pid_t) status_of(&e, NULL, "pid");

        g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
        for (guint i = 0; i < 4000; i++) {
                Socket s = socket_of(&e, 100, 100, FALSE);

                asks(&s, i == 3333 ? SQLI : PLAIN);
                answers(&s, OK);
                closes(&s);
        }
        g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
        wait_findings(&e, 1);
        g_assert_cmpint(status_of(&e, "skipped", "requests"), >, 2000);
        g_assert_cmpint(status_of(&e, "lost", "refused"), ==, 0);
        gint64 until = g_get_monotonic_time() + DEADLINE_US;
        while (status_of(&e, NULL, "waiting") && g_get_monotonic_time() < until)
                g_usleep(2000);
        g_assert_cmpint(status_of(&e, NULL, "requests") + status_of(&e, "skipped", "requests"), ==, 4000);
        g_assert_cmpint(status_of(&e, NULL, "connections_open"), ==, 0);
}

/* What comes of a request whose beginning was lost is no request, whatever it looks like; the next one is. */
static void body_of_a_lost_request_is_not_judged(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        pid_t pid = (pid_t) status_of(&e, NULL, "pid");
        Socket s = socket_of(&e, 100, 100, FALSE);

        g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
        for (guint i = 0; i < BH_WEB_WAITING_SHARE; i++) {
                Socket other = socket_of(&e, 100, 100, FALSE);

                asks(&other, "POST /save HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\nAccept: */*\r\nContent-Length: 1\r\n\r\na");
        }
        asks(&s, "POST /save HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\n");
        g_assert_cmpint(status_of(&e, "lost", "beyond_share"), ==, 1);
        g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
        gint64 until = g_get_monotonic_time() + DEADLINE_US;
        while (status_of(&e, NULL, "waiting") && g_get_monotonic_time() < until)
                g_usleep(2000);
        asks(&s, SQLI);
        answers(&s, OK);
        g_assert_cmpint(status_of(&e, "lost", "without_begin"), ==, 2);
        g_assert_cmpint(status_of(&e, NULL, "attacks"), ==, 0);
        /* it goes on after a "100 Continue": the direction turns, and no request begins */
        asks(&s, "Field: value\r\n\r\n");
        g_assert_cmpint(status_of(&e, "lost", "without_begin"), ==, 3);
        answers(&s, OK);
        asks(&s, SQLI);
        answers(&s, OK);
        wait_findings(&e, 1);
}

/* It may be TLS, whose clear text would be ignored with it: only what the kernel has called something else is. */
static void what_stands_behind_a_proxys_header_is_not_ignored_too_early(void) {
        static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", behind[] = "PROXY UNKNOWN\r\n\x16\3\1\1\x08\1xxxxxx";
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket tls = socket_of(&e, 100, 100, FALSE), late = socket_of(&e, 100, 100, FALSE), other = socket_of(&e, 100, 100, FALSE);
        gint64 until = g_get_monotonic_time() + DEADLINE_US;

        tls.protocol = late.protocol = other.protocol = BH_PAYLOAD_PROXY;
        asks(&tls, header);
        tls.protocol = BH_PAYLOAD_TLS_HELLO;
        asks(&tls, behind);
        asks(&late, behind);
        asks(&other, behind);
        wait_for(&e, "given_up", "other_protocol", 2);
        g_assert_cmpuint(e.ignored->len, ==, 0);
        late.protocol = BH_PAYLOAD_TLS_HELLO;
        asks(&late, "more");
        other.protocol = BH_PAYLOAD_HTTP1;
        asks(&other, "more");
        g_assert_cmpuint(e.ignored->len, ==, 1);
        closes(&other);
        while (status_of(&e, NULL, "connections_open") && g_get_monotonic_time() < until)
                g_usleep(2000);
        g_assert_cmpint(status_of(&e, NULL, "connections_open"), ==, 0);
}

static void other_protocols_and_ends_leave_nothing(void) {
        g_auto(Env) e;
        env_init(&e, NULL, NULL);
        Socket tunnel = socket_of(&e, 100, 100, FALSE), broken = socket_of(&e, 100, 100, FALSE), cut = socket_of(&e, 100, 100, FALSE);

        asks(&tunnel, "CONNECT db:5432 HTTP/1.1\r\nHost: db\r\n\r\n");
        answers(&tunnel, "HTTP/1.1 200 OK\r\n\r\n");
        asks(&broken, "XYZ /\x01\x02\x03\x04 no http at all\r\n\r\n\r\n");
        asks(&cut, "POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\nab");
        closes(&cut);
        wait_for(&e, NULL, "exchanges", 2);
        gint64 until = g_get_monotonic_time() + DEADLINE_US;
        while (e.ignored->len < 1 && g_get_monotonic_time() < until)
                g_usleep(2000);
        g_assert_cmpuint(e.ignored->len, >=, 1);
        closes(&tunnel);
        closes(&broken);
        while (status_of(&e, NULL, "waiting") && g_get_monotonic_time() < until)
                g_usleep(2000);
        g_assert_cmpint(status_of(&e, NULL, "connections_open"), ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/web_watch/attack-becomes-one-finding", attack_becomes_one_finding);
        g_test_add_func("/web_watch/too-many-findings-are-told-together-and-counted", too_many_findings_are_told_together_and_counted);
        g_test_add_func("/web_watch/refused-attack-weighs-less-and-one-without-an-answer-is-told", refused_attack_weighs_less_and_one_without_an_answer_is_told);
        g_test_add_func("/web_watch/people-decide-what-is-looked-at", people_decide_what_is_looked_at);
        g_test_add_func("/web_watch/another-policy-holds-for-what-is-open", another_policy_holds_for_what_is_open);
        g_test_add_func("/web_watch/facts-are-counted-for-both-sides", facts_are_counted_for_both_sides);
        g_test_add_func("/web_watch/invented-paths-and-parameters-are-bounded", invented_paths_and_parameters_are_bounded);
        g_test_add_func("/web_watch/act-of-an-attack-is-joined-among-many", act_of_an_attack_is_joined_among_many);
        g_test_add_func("/web_watch/file-that-a-traversal-reads-is-joined", file_that_a_traversal_reads_is_joined);
        g_test_add_func("/web_watch/what-an-odd-request-does-is-no-attack", what_an_odd_request_does_is_no_attack);
        g_test_add_func("/web_watch/request-behind-empty-lines-is-looked-at", request_behind_empty_lines_is_looked_at);
        g_test_add_func("/web_watch/request-behind-a-proxys-header-is-looked-at", request_behind_a_proxys_header_is_looked_at);
        g_test_add_func("/web_watch/what-stands-behind-a-proxys-header-is-not-ignored-too-early", what_stands_behind_a_proxys_header_is_not_ignored_too_early);
        g_test_add_func("/web_watch/dead-inspector-costs-one-connection", dead_inspector_costs_one_connection);
        g_test_add_func("/web_watch/attack-is-found-above-capacity", attack_is_found_above_capacity);
        g_test_add_func("/web_watch/body-of-a-lost-request-is-not-judged", body_of_a_lost_request_is_not_judged);
        g_test_add_func("/web_watch/other-protocols-and-ends-leave-nothing", other_protocols_and_ends_leave_nothing);
        return g_test_run();
}
