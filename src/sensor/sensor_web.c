/* SPDX-License-Identifier: Apache-2.0 */
/* Web traffic in the sensor as a whole: the capture, the watch over it, and what becomes of what it tells. */
#include <malloc.h>
#include <string.h>

#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "parse/inspect_client.h"
#include "payload_tls.h"
#include "sensor.h"
#include "tls_files.h"

#define GONE_US (10 * G_USEC_PER_SEC)
#define GONE_MAX 4096u

static void on_piece(const BhPayloadPiece *piece, gpointer data) {
        BhSensor *s = data;

        gboolean dns = bh_dns_tcp_piece(s->dns_tcp, piece), other = s->suspects && bh_suspects_piece(s->suspects, piece);

        if ((!dns && !other) || piece->flags & BH_PAYLOAD_CLOSE)
                bh_web_watch_piece(s->web, piece);
        if (s->tls)
                bh_tls_watch_piece(s->tls, piece);
        bh_tls_hellos_piece(s->tls_hellos, piece);
}

static void on_handshake(const BhTlsHandshake *handshake, gpointer data) {
        BhSensor *s = data;

        if (g_atomic_int_get(&s->piped) && s->flows)
                bh_flows_handshake(s->flows, handshake);
}

static gboolean on_dns(const struct bh_event *e, guint64 start, gpointer data) {
        BhSensor *s = data;

        return g_atomic_int_get(&s->piped) && bh_pipeline_event(s->pipeline, e, start);
}

static void on_ignore(guint64 connection, guint64 sk, gpointer data) {
        BhSensor *s = data;

        bh_payload_ignore(s->payload, connection, sk);
}

static gint64 on_told(gpointer data) {
        return bh_payload_told_ns(((BhSensor *) data)->payload);
}

static void on_hurry(gpointer data) {
        bh_payload_hurry(((BhSensor *) data)->payload);
}

static void on_off(guint64 container, gboolean is_off, gpointer data) {
        BhSensor *s = data;
        BhPayloadRule off = { .off = TRUE };
        g_autoptr(GError) error = NULL;

        if (!bh_payload_set(s->payload, container, is_off ? &off : NULL, &error))
                bh_warn(is_off ? "the web traffic of a container that is not to be looked at is copied all the same, and passed over" : "the web traffic of a container is not copied, although it is to be looked at again",
                        "why", error->message);
}

static void on_finding(GBytes *body, gpointer data) {
        BhSensor *s = data;

        if (s->report)
                bh_report_publish(s->report, "finding", body);
        g_bytes_unref(body);
}

/* What the parts of an endpoint have in common. */
static void observation_of(BhSensor *s, Bulkhead__Bus__V1__Observation *m, const BhWebEndpoint *e, struct bh_str exe) {
        bulkhead__bus__v1__observation__init(m);
        m->node = (char *) bh_report_node(s->report);
        m->container_id = bh_bus_text(e->container->id);
        m->workload = bh_bus_text(e->container->workload);
        m->application = bh_bus_text(e->container->application);
        m->image_digest = bh_bus_text(bh_container_digest(e->container));
        m->parent = (ProtobufCBinaryData){ .len = exe.len, .data = (uint8_t *) exe.p };
}

static void publish_observation(BhSensor *s, const Bulkhead__Bus__V1__Observation *m) {
        g_autoptr(GBytes) body = bh_bus_body_pack(&m->base);

        bh_report_publish(s->report, "observation", body);
}

static void tell_parameter(BhSensor *s, const BhWebEndpoint *e, struct bh_str exe, const char *name, const char *what, guint64 count, gint64 first_ns, gint64 last_ns) {
        g_autofree char *subject = g_strdup_printf("%s %s %s", e->method, e->path, name), *detail = g_strdup_printf("%s %s", e->client ? "client" : "server", what);
        Bulkhead__Bus__V1__Observation m;

        observation_of(s, &m, e, exe);
        m.kind = (char *) "parameter";
        m.subject = bh_bus_text(subject);
        m.detail = bh_bus_text(detail);
        m.count = count;
        m.first_ns = bh_web_epoch_ns(first_ns);
        m.last_ns = bh_web_epoch_ns(last_ns);
        publish_observation(s, &m);
}

static void on_endpoint(const BhWebEndpoint *e, struct bh_str exe, gpointer data) {
        BhSensor *s = data;
        const gboolean rest = g_str_equal(e->method, BH_WEB_ENDPOINT_REST);
        g_autofree char *subject = rest ? g_strdup(BH_WEB_ENDPOINT_REST) : g_strdup_printf("%s %s", e->method, e->path);
        g_autofree char *example = *e->peer ? g_strdup_printf("%s %s%s", e->method, e->peer, e->path) : g_strdup("");
        Bulkhead__Bus__V1__Observation m;
        Bulkhead__Bus__V1__Http http;

        if (!s->report)
                return;
        observation_of(s, &m, e, exe);
        bulkhead__bus__v1__http__init(&http);
        http.n_statuses = G_N_ELEMENTS(e->status);
        http.statuses = (uint64_t *) e->status;
        http.request_bytes = e->request_bytes;
        http.response_bytes = e->response_bytes;
        http.timed = e->timed;
        http.latency_us = e->latency_us;
        http.latency_max_us = e->latency_max_us;
        http.beyond = e->rest;
        m.kind = (char *) "http";
        m.subject = bh_bus_text(subject);
        m.detail = bh_bus_text(e->client ? "client" : "server");
        m.example = bh_bus_text(example);
        m.count = e->count;
        m.first_ns = bh_web_epoch_ns(e->first_ns);
        m.last_ns = bh_web_epoch_ns(e->last_ns);
        m.http = &http;
        publish_observation(s, &m);
        for (guint i = 0; i < e->n_params; i++) {
                const BhWebEndpointParam *p = &e->params[i];
                g_autofree char *what = p->count ? bh_web_param_say(p->place, p->type, p->length) : NULL;

                if (what)
                        tell_parameter(s, e, exe, p->name, what, p->count, p->first_ns, p->last_ns);
        }
        if (e->rest && !rest)
                tell_parameter(s, e, exe, "*", "others beyond the bounds", e->rest, e->first_ns, e->last_ns);
}

gboolean bh_sensor_reload_web(BhSensor *s, GError **error) {
        static GMutex one; /* a signal and the central may ask at once */
        g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&one);
        BhWebPolicy *now, *before;

        if (!s->web || !s->options.web_settings)
                return TRUE;
        if (!(now = bh_web_policy_new(s->options.web_settings, error)))
                return FALSE;
        bh_web_watch_policy(s->web, now);
        before = g_steal_pointer(&s->web_policy);
        s->web_policy = now;
        bh_web_policy_free(before);
        return TRUE;
}

static void on_problem(const char *problem, gboolean away, gpointer data) {
        BhSensor *s = data;

        bh_warn("the inspector of web traffic", "problem", problem);
        if (!g_atomic_int_get(&s->piped))
                return;
        if (away)
                bh_pipeline_say(s->pipeline, "inspector_away", "the inspector of web traffic cannot be started; requests of containers are not looked at", "problem", problem, NULL);
        else
                bh_pipeline_say(s->pipeline, "inspector_lost", "the inspector of web traffic ended and is started again; the connection that it worked on is given up", "problem", problem, NULL);
}

/* ---- TLS ---- */

static BhElf *on_parse(int memfd, gpointer data, GError **error) {
        BhElfWanted wanted = { 0 };

        wanted.names = bh_tls_symbols(&wanted.n_names);
        return bh_inspector_elf(((BhSensor *) data)->inspector, memfd, &wanted, error);
}

static gboolean on_attach(guint64 dev, guint64 ino, const char *path, const BhElf *elf, gpointer data, GError **error) {
        return bh_payload_tls_attach(((BhSensor *) data)->payload, dev, ino, path, elf, error);
}

static void on_detach(guint64 dev, guint64 ino, gpointer data) {
        bh_payload_tls_detach(((BhSensor *) data)->payload, dev, ino);
}

static void open_tls(BhSensor *s) {
        BhTlsWatchConfig config = { .proc = s->proc_path, .containers = s->containers, .parse = on_parse, .attach = on_attach, .detach = on_detach, .data = s };

        if (s->inspector)
                s->tls = bh_tls_watch_new(&config);
}

static gboolean on_process(const struct bh_process_view *v, gpointer data) {
        BhSensor *s = data;

        if (v->cgroup)
                bh_tls_watch_process(s->tls, v->pid, v->cgroup);
        return TRUE;
}

static void on_processes(gpointer data) {
        BhSensor *s = data;

        bh_process_each(s->processes, on_process, s);
}

/* Late: connections of a container may end after its cgroup. */
typedef struct {
        guint64 cgroup;
        gint64 due_us;
} Gone;

void bh_sensor_web_cgroup_gone(guint64 cgroup, gpointer sensor) {
        BhSensor *s = sensor;
        gint64 now_us = g_get_monotonic_time();
        Gone *g = g_new(Gone, 1);

        *g = (Gone){ cgroup, now_us + GONE_US };
        g_queue_push_tail(&s->gone, g);
        while ((g = g_queue_peek_head(&s->gone)) && (g->due_us <= now_us || s->gone.length > GONE_MAX)) {
                bh_payload_forget(s->payload, g->cgroup);
                if (s->web)
                        bh_web_watch_forget(s->web, g->cgroup);
                if (s->suspects)
                        bh_suspects_forget(s->suspects, g->cgroup);
                g_free(g_queue_pop_head(&s->gone));
        }
}

/* What the container says from now on may be what the attack is followed by. */
static void suspect(BhSensor *s, guint32 pid) {
        struct bh_process_view v;
        const guint64 container = bh_process_find(s->processes, pid, 0, &v) && v.cgroup ? bh_payload_container(s->payload, v.cgroup) : 0;

        if (container)
                bh_suspects_watch(s->suspects, container, g_get_monotonic_time());
}

/* As of rules: a note alone is no reason to keep anything. */
static void on_keep(const BhWebKept *request, gpointer data) {
        BhSensor *s = data;

        if (!s->evidence || g_str_equal(request->priority, "notice") || g_str_equal(request->priority, "informational"))
                return;
        bh_evidence_request(s->evidence, request);
        if (s->suspects)
                suspect(s, request->pid);
}

/* ---- first bytes of suspicious connections ---- */

static BhSuspectsAnswer on_other(guint64 container, guint32 bytes, gpointer data) {
        gboolean busy;

        if (bh_payload_try_other(((BhSensor *) data)->payload, container, bytes, &busy))
                return BH_SUSPECTS_YES;
        return busy ? BH_SUSPECTS_LATER : BH_SUSPECTS_NO;
}

/* In front of the bytes, for the inspector: whether they are not the first of their stream. */
static gboolean on_redact(const guint8 *bytes, gsize len, gboolean cut, BhSuspectsRedacted done, gpointer ticket, gpointer data) {
        g_autofree guint8 *body = g_malloc(len + 1);

        *body = cut != FALSE;
        memcpy(body + 1, bytes, len);
        return bh_web_watch_redact(((BhSensor *) data)->web, body, len + 1, done, ticket);
}

static void on_stream(const BhSuspectKept *kept, gpointer data) {
        BhSensor *s = data;

        bh_evidence_stream(s->evidence, kept, bh_web_epoch_ns((gint64) kept->start), bh_web_epoch_ns(kept->time_ns));
}

static void open_suspects(BhSensor *s) {
        BhSuspectsConfig config = { .other = on_other, .ignore = on_ignore, .redact = on_redact, .keep = on_stream, .data = s };

        if (s->evidence)
                s->suspects = bh_suspects_new(&config);
}

/* ---- life ---- */

static void failed(BhSensor *s, const GError *why) {
        bh_error("web traffic of containers will not be looked at", "error", why->message);
        g_mutex_lock(&s->lock);
        g_free(s->web_error);
        s->web_error = g_strdup(why->message);
        g_mutex_unlock(&s->lock);
}

/* What the programs tell goes into a pipeline that runs. */
static gboolean start_web(BhSensor *s) {
        g_autoptr(GError) error = NULL;
        const gboolean ok = bh_payload_start(s->payload, &error);

        if (!ok) {
                failed(s, error);
        } else if (s->tls) {
                bh_pipeline_call(s->pipeline, on_processes, s);
                bh_tls_watch_start(s->tls);
        }
        g_atomic_int_set(&s->web_starting, FALSE);
        return ok;
}

enum { WAIT, GO, NEVER };

static void let_web(BhSensor *s, gint what) {
        g_mutex_lock(&s->lock);
        if (s->web_go == WAIT)
                s->web_go = what;
        g_cond_broadcast(&s->changed);
        g_mutex_unlock(&s->lock);
}

static gpointer load_web(gpointer data) {
        g_autoptr(GError) error = NULL;
        BhSensor *s = data;

        if (!bh_payload_load(s->payload, &error)) {
                failed(s, error);
                g_atomic_int_set(&s->web_starting, FALSE);
                return NULL;
        }
        malloc_trim(0); /* the kernel's type information */
        g_mutex_lock(&s->lock);
        while (s->web_go == WAIT)
                g_cond_wait(&s->changed, &s->lock);
        const gboolean go = s->web_go == GO;
        g_mutex_unlock(&s->lock);
        if (go && start_web(s))
                bh_info("web traffic of containers is looked at again");
        return NULL;
}

gboolean bh_sensor_open_web(BhSensor *s, guint64 clock_start, GError **error) {
        BhWebWatchConfig config = {
                .containers = s->containers,
                .node = s->report ? bh_report_node(s->report) : s->node,
                .clock_start = clock_start,
                .publish = on_finding,
                .observe = on_endpoint,
                .keep = on_keep,
                .told_ns = on_told,
                .hurry = on_hurry,
                .ignore = on_ignore,
                .off = on_off,
                .problem = on_problem,
                .data = s,
        };
        g_autoptr(GError) why = NULL;
        g_autofree char *program = NULL;

        if (s->options.no_web || s->options.no_inspector) {
                bh_hooks_keep_nothing(s->hooks); /* of a sensor before, which did */
                return TRUE;
        }
        if (!(s->web_policy = bh_web_policy_new(s->options.web_settings, error)))
                return FALSE;
        config.policy = s->web_policy;
        s->dns_tcp = bh_dns_tcp_new(on_dns, s);
        s->tls_hellos = bh_tls_hellos_new(on_handshake, s);
        config.program = program = bh_inspect_find_program("bulkhead-inspect-web", &why);
        s->payload = bh_payload_new(s->hooks, s->options.backend, on_piece, s);
        /* after a kill everything else goes on at once, for its programs are attached; these are to be attached first, or are of another build and loaded meanwhile */
        const gboolean late = bh_hooks_adopted(s->hooks);
        if (program && (late || bh_payload_load(s->payload, &why)))
                s->web = bh_web_watch_new(&config, &why);
        if (!s->web) {
                bh_hooks_keep_nothing(s->hooks);
                g_clear_pointer(&s->payload, bh_payload_free);
                failed(s, why);
                return TRUE;
        }
        open_tls(s);
        open_suspects(s);
        g_atomic_int_set(&s->web_starting, TRUE);
        if (late)
                s->web_loading = g_thread_new("bh-load-web", load_web, s);
        return TRUE;
}

void bh_sensor_start_web(BhSensor *s) {
        if (!s->payload)
                return;
        if (s->web_loading)
                let_web(s, GO);
        else
                start_web(s);
}

void bh_sensor_await_web(BhSensor *s) {
        if (!s->web_loading)
                return;
        let_web(s, NEVER);
        g_thread_join(g_steal_pointer(&s->web_loading));
}

void bh_sensor_settle_web(BhSensor *s) {
        bh_tls_watch_stop(s->tls);
        if (s->payload)
                bh_payload_stop(s->payload);
}

void bh_sensor_free_web(BhSensor *s) {
        /* pieces first; but the watch asks the payload until its own thread has ended, and looks at what is left of acts when it is freed */
        if (s->payload)
                bh_payload_end(s->payload);
        g_queue_clear_full(&s->gone, g_free);
        g_clear_pointer(&s->tls, bh_tls_watch_free);
        g_clear_pointer(&s->web, bh_web_watch_free); /* what waits for its inspector is answered then */
        g_clear_pointer(&s->suspects, bh_suspects_free);
        g_clear_pointer(&s->payload, bh_payload_free);
        g_clear_pointer(&s->dns_tcp, bh_dns_tcp_free);
        g_clear_pointer(&s->tls_hellos, bh_tls_hellos_free);
        g_clear_pointer(&s->web_policy, bh_web_policy_free);
}

static json_t *number(guint64 n) {
        return json_integer((json_int_t) n);
}

#define SHOWN 32u /* containers of which bytes were not copied, those with the most */

typedef struct {
        guint64 cgroup, lost;
        BhPayloadAccount account;
} Missed;

/* What a rule asks for (the first bytes of a request, of a call) is no loss; what a bound or the kernel took away is. */
static void on_account(guint64 container, const BhPayloadAccount *a, gpointer data) {
        Missed m = { container, 0, *a };

        for (guint i = BH_PAYLOAD_SKIPPED_CONNECTION; i < BH_PAYLOAD_SKIPPED_REASONS; i++)
                m.lost += a->skipped[i] + a->clear_skipped[i];
        if (m.lost)
                g_array_append_val((GArray *) data, m);
}

static int by_lost(gconstpointer a, gconstpointer b) {
        guint64 x = ((const Missed *) a)->lost, y = ((const Missed *) b)->lost;

        return (y > x) - (y < x);
}

static json_t *skipped_of(const BhPayloadAccount *a) {
        json_t *o = json_object();

        for (guint i = 0; i < BH_PAYLOAD_SKIPPED_REASONS; i++)
                json_object_set_new(o, bh_payload_skipped_name(i), number(a->skipped[i] + a->clear_skipped[i]));
        return o;
}

static json_t *missed_of(BhSensor *s, guint *more) {
        g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(Missed));
        json_t *list = json_array();

        bh_payload_accounts(s->payload, on_account, all);
        g_array_sort(all, by_lost);
        *more = all->len - MIN(all->len, SHOWN);
        for (guint i = 0; i < MIN(all->len, SHOWN); i++) {
                const Missed *m = &g_array_index(all, Missed, i);
                g_auto(BhContainerLookup) l = { 0 };

                bh_container_table_lookup(s->containers, m->cgroup, &l);
                g_autofree char *name = g_utf8_make_valid(l.container && l.container->name && *l.container->name ? l.container->name : l.container ? l.container->id : "", -1);
                json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:o}", "container", *name ? name : "one that is not known", "id", l.container ? l.container->id : "", "copied",
                                                      number(m->account.copied + m->account.clear_copied), "lost", number(m->lost), "skipped", skipped_of(&m->account)));
        }
        return list;
}

static json_t *capture_of(BhSensor *s) {
        json_t *o = json_object();
        BhPayloadStats p;
        guint more;

        bh_payload_stats(s->payload, &p);
        json_object_set_new(o, "started", json_boolean(p.started));
        json_object_set_new(o, "backend", json_string(p.backend ? p.backend : ""));
        json_object_set_new(o, "pieces", number(p.all.pieces));
        json_object_set_new(o, "bytes", number(p.all.moved));
        json_object_set_new(o, "copied", number(p.all.copied));
        json_object_set_new(o, "clear", number(p.all.clear));
        json_object_set_new(o, "clear_copied", number(p.all.clear_copied));
        json_object_set_new(o, "clear_unknown", number(p.clear_unknown));
        json_object_set_new(o, "tls_closed", number(p.all.tls_closed));
        json_object_set_new(o, "followed", number(p.followed));
        json_object_set_new(o, "ignored", number(p.ignored));
        json_object_set_new(o, "refused", number(p.refused));
        json_object_set_new(o, "interrupted", number(p.interrupted));
        json_object_set_new(o, "adopted", json_boolean(p.adopted));
        json_object_set_new(o, "unread", number(p.unread));
        json_object_set_new(o, "skipped", skipped_of(&p.all));
        json_object_set_new(o, "containers", missed_of(s, &more));
        json_object_set_new(o, "more", number(more));
        return o;
}

/* DNS over TCP and TLS. */
static json_t *dns_of(BhSensor *s) {
        BhDnsTcpStats d;

        bh_dns_tcp_stats(s->dns_tcp, &d);
        return json_pack("{s:o, s:o, s:o, s:o, s:o}", "connections", number(d.connections), "messages", number(d.messages), "refused", number(d.refused), "evicted", number(d.evicted), "not_understood",
                         number(d.lost));
}

json_t *bh_sensor_web_status(BhSensor *s) {
        g_mutex_lock(&s->lock);
        g_autofree char *error = s->web_error ? g_utf8_make_valid(s->web_error, -1) : NULL;
        g_mutex_unlock(&s->lock);
        json_t *o = s->web ? bh_web_watch_status(s->web) : json_pack("{s:s}", "state", "off");

        if (s->web) {
                json_object_set_new(o, "capture", capture_of(s));
                json_object_set_new(o, "dns", dns_of(s));
        }
        if (s->tls) {
                BhPayloadTlsStats probes;

                json_t *tls = bh_tls_watch_status(s->tls);
                bh_payload_tls_stats(s->payload, &probes);
                json_object_set_new(tls, "functions", number(probes.functions));
                BhTlsHellosStats hellos;
                bh_tls_hellos_stats(s->tls_hellos, &hellos);
                json_object_set_new(tls, "handshakes", json_pack("{s:o, s:o}", "given", number(hellos.given), "passed_over", number(hellos.passed_over)));
                json_object_set_new(o, "tls", tls);
        }
        if (g_atomic_int_get(&s->web_starting))
                json_object_set_new(o, "state", json_string("starting"));
        if (error) {
                json_object_set_new(o, "state", json_string("failed"));
                json_object_set_new(o, "problem", json_string(error));
        }
        return o;
}
