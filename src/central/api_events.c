/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events and processes: they stay with the nodes, so these calls are questions over the bus.
 *
 * A bounded question is asked of every node at once and waits ASK_SECONDS for them; what a node did not answer, cut or dropped is said in the
 * answer, never left out in silence. At most QUERIES at a time, QUERY_BYTES each.
 */
#include <string.h>

#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "event/event.h"
#include "events.h"
#include "json_out.h"
#include "live.h"
#include "routes.h"
#include "rules/ruleset.h"

#define ASK_SECONDS 20
#define QUERIES 4 /* of the workers that there are */
#define QUERY_BYTES (8 * 1024 * 1024)
#define CREDIT 8
#define EVENTS_MAX 10000
#define PROCESSES_MAX 10000

/* ---- asking ---- */

typedef struct Ask Ask;

typedef struct {
        Ask *ask;
        char *node;
        BhBusRequest *request;
        GPtrArray *chunks; /* GBytes */
        guint64 dropped;
        char *error;
        gboolean ended, cut;
} Answer;

/* Shared by the worker that waits and the bus's thread; the last one frees it. */
struct Ask {
        gatomicrefcount refs;
        GMutex lock;
        GCond moved;
        gsize bytes;
        guint open;
        GPtrArray *answers;
};

static void answer_free(gpointer data) {
        Answer *a = data;

        g_clear_pointer(&a->request, bh_bus_request_unref);
        g_ptr_array_unref(a->chunks);
        g_free(a->node);
        g_free(a->error);
        g_free(a);
}

static void ask_unref(gpointer data) {
        Ask *q = data;

        if (!g_atomic_ref_count_dec(&q->refs))
                return;
        g_ptr_array_unref(q->answers);
        g_cond_clear(&q->moved);
        g_mutex_clear(&q->lock);
        g_free(q);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ask, ask_unref)

static void on_chunk(BhBusRequest *r, GBytes *chunk, guint64 dropped, gpointer data) {
        Answer *a = data;
        Ask *q = a->ask;

        g_mutex_lock(&q->lock);
        if (a->ended) { /* the worker waits no more, and reads what there is */
                g_mutex_unlock(&q->lock);
                return;
        }
        a->dropped += dropped;
        gboolean room = q->bytes + g_bytes_get_size(chunk) <= QUERY_BYTES;
        if (room) {
                q->bytes += g_bytes_get_size(chunk);
                g_ptr_array_add(a->chunks, g_bytes_ref(chunk));
        } else {
                a->cut = TRUE;
        }
        g_mutex_unlock(&q->lock);
        if (room)
                bh_bus_request_credit(r, 1);
        else
                bh_bus_request_cancel(r);
}

static void on_end(BhBusRequest *r, const char *error, gpointer data) {
        Answer *a = data;

        g_mutex_lock(&a->ask->lock);
        if (!a->ended) {
                a->ended = TRUE;
                if (!a->cut)
                        a->error = g_strdup(error);
                a->ask->open--;
                g_cond_signal(&a->ask->moved);
        }
        g_mutex_unlock(&a->ask->lock);
}

static void answer_done(gpointer data) {
        ask_unref(((Answer *) data)->ask);
}

/* The nodes that are meant: one, or all that are here. NULL: answered. */
static char **nodes_of(BhCall *call) {
        const char *wanted = bh_call_param(call, "node");
        g_auto(GStrv) here = bh_bus_listener_nodes(call->central->bus);

        if (wanted && !g_strv_contains((const char *const *) here, wanted)) {
                bh_call_error(call, 503, "node_away", "the node \"%.64s\" is not connected now", wanted);
                return NULL;
        }
        if (!here[0]) {
                bh_call_error(call, 503, "no_sensor", "no sensor is connected, so there is nobody to ask");
                return NULL;
        }
        if (!wanted)
                return g_steal_pointer(&here);
        char **one = g_new0(char *, 2);
        one[0] = g_strdup(wanted);
        return one;
}

/* Asks and waits. NULL: answered. */
static Ask *ask(BhCall *call, const char *request, GBytes *body) {
        g_auto(GStrv) nodes = nodes_of(call);
        gint64 until = g_get_monotonic_time() + ASK_SECONDS * G_USEC_PER_SEC;

        if (!nodes)
                return NULL;
        if (g_atomic_int_add(&call->central->event_queries, 1) >= QUERIES) {
                g_atomic_int_add(&call->central->event_queries, -1);
                bh_http_add_header(call->http, "Retry-After", "1");
                bh_call_error(call, 429, "busy", "too many questions to the nodes at once; try again");
                return NULL;
        }

        Ask *q = g_new0(Ask, 1);
        g_atomic_ref_count_init(&q->refs);
        g_mutex_init(&q->lock);
        g_cond_init(&q->moved);
        q->answers = g_ptr_array_new_with_free_func(answer_free);
        for (guint i = 0; nodes[i]; i++) {
                Answer *a = g_new0(Answer, 1);
                g_autoptr(GError) error = NULL;

                a->ask = q;
                a->node = g_strdup(nodes[i]);
                a->chunks = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
                g_ptr_array_add(q->answers, a);
                g_mutex_lock(&q->lock);
                q->open++;
                g_mutex_unlock(&q->lock);
                g_atomic_ref_count_inc(&q->refs);
                a->request = bh_bus_request(call->central->bus, a->node, request, body, CREDIT, on_chunk, on_end, a, answer_done, &error);
                if (!a->request) {
                        g_mutex_lock(&q->lock);
                        a->ended = TRUE;
                        a->error = g_strdup(error->message);
                        q->open--;
                        g_mutex_unlock(&q->lock);
                }
        }

        g_mutex_lock(&q->lock);
        while (q->open && g_get_monotonic_time() < until && !bh_http_stopping(call->central->http))
                g_cond_wait_until(&q->moved, &q->lock, MIN(until, g_get_monotonic_time() + G_USEC_PER_SEC / 5));
        for (guint i = 0; i < q->answers->len; i++) {
                Answer *a = q->answers->pdata[i];

                if (!a->ended) {
                        a->ended = TRUE;
                        a->error = g_strdup_printf("did not answer within %d seconds", ASK_SECONDS);
                        q->open--;
                }
        }
        g_mutex_unlock(&q->lock);
        for (guint i = 0; i < q->answers->len; i++)
                if (((Answer *) q->answers->pdata[i])->request)
                        bh_bus_request_cancel(((Answer *) q->answers->pdata[i])->request);
        g_atomic_int_add(&call->central->event_queries, -1);
        return q;
}

/* [{"node","dropped","cut","error"}] and the sum. */
static void append_nodes(GString *out, const Ask *q, guint undecodable) {
        guint64 dropped = 0;

        bh_json_open(out, "nodes", '[');
        for (guint i = 0; i < q->answers->len; i++) {
                const Answer *a = q->answers->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "node", a->node);
                bh_json_uint(out, "dropped", a->dropped);
                bh_json_bool(out, "cut", a->cut);
                bh_json_text(out, "error", a->error);
                bh_json_close(out, '}');
                dropped += a->dropped;
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "dropped", dropped);
        bh_json_uint(out, "undecodable", undecodable);
}

/* ---- events ---- */

gboolean bh_events_request(BhCall *call, BhEventsAsk *out) {
        const char *types = bh_call_param(call, "types"), *filter = bh_call_param(call, "filter");

        bulkhead__bus__v1__events_request__init(&out->message);
        if (types && *types) {
                out->types = g_strsplit(types, ",", -1);
                for (guint i = 0; out->types[i]; i++) {
                        if (bh_event_type_from_name(out->types[i]) < 0) {
                                bh_call_error(call, 400, "bad_type", "there is no kind of event \"%.64s\"; docs/events.md lists them", out->types[i]);
                                return FALSE;
                        }
                }
                out->message.types = out->types;
                out->message.n_types = g_strv_length(out->types);
        }
        if (filter && *filter) {
                g_autoptr(GError) error = NULL;
                g_autoptr(BhCond) condition = bh_condition_parse(filter, strlen(filter), &error);

                if (!condition) {
                        bh_call_error(call, 400, "bad_filter", "filter: %s", error->message);
                        return FALSE;
                }
        }
        out->message.container = bh_bus_text(bh_call_param(call, "container"));
        out->message.filter = bh_bus_text(filter);
        return TRUE;
}

typedef struct {
        GPtrArray *lines;
} Lines;

static void add_line(guint64 time_ns, const GString *json, gpointer data) {
        BhEventLine *line = g_new0(BhEventLine, 1);

        line->time_ns = time_ns;
        line->json = g_strndup(json->str, json->len);
        g_ptr_array_add(((Lines *) data)->lines, line);
}

static gint by_time(gconstpointer a, gconstpointer b) {
        const BhEventLine *x = *(const BhEventLine *const *) a, *y = *(const BhEventLine *const *) b;

        return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

void bh_api_events(BhCall *call) {
        const char *format = bh_call_param(call, "format");
        g_auto(BhEventsAsk) wanted = { 0 };
        gboolean ndjson = g_strcmp0(format, "ndjson") == 0;
        guint limit, bad = 0;

        if (format && !ndjson && strcmp(format, "json")) {
                bh_call_error(call, 400, "bad_format", "\"format\" must be json or ndjson");
                return;
        }
        if (!bh_events_request(call, &wanted) || !bh_call_limit(call, EVENTS_MAX, &limit) || !bh_call_time(call, "since", &wanted.message.since_ns) ||
            !bh_call_time(call, "until", &wanted.message.until_ns))
                return;
        wanted.message.limit = limit;

        g_autoptr(GBytes) body = bh_bus_body_pack(&wanted.message.base);
        g_autoptr(Ask) q = ask(call, "events", body);
        if (!q)
                return;

        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(bh_event_line_free);
        Lines collect = { lines };
        for (guint i = 0; i < q->answers->len; i++) {
                const Answer *a = q->answers->pdata[i];

                for (guint k = 0; k < a->chunks->len; k++)
                        bad += bh_events_unpack(a->chunks->pdata[k], add_line, &collect);
        }
        /* each node gave its own last ones: together the last ones are at the end. The sort keeps the order of equal times. */
        g_ptr_array_sort(lines, by_time);
        guint from = lines->len > limit ? lines->len - limit : 0;

        GString *out = g_string_sized_new(65536);
        if (!ndjson) {
                bh_json_open(out, NULL, '{');
                bh_json_open(out, "events", '[');
        }
        for (guint i = from; i < lines->len; i++) {
                g_string_append(out, ((const BhEventLine *) lines->pdata[i])->json);
                g_string_append_c(out, ndjson ? '\n' : ',');
        }
        if (!ndjson)
                bh_json_close(out, ']');
        else
                g_string_append(out, "{\"end\":{");
        append_nodes(out, q, bad);
        bh_json_close(out, '}');
        if (ndjson) {
                bh_json_close(out, '}');
                bh_json_end(out);
                g_string_append_c(out, '\n');
                bh_http_answer(call->http, 200, "application/x-ndjson", g_string_free_to_bytes(out));
        } else {
                bh_call_json(call, 200, out);
        }
}

/* ---- processes ---- */

static char *text_of(ProtobufCBinaryData b) {
        return bh_bus_text_dup(b);
}

static void append_process(GString *out, const char *node, const Bulkhead__Bus__V1__Process *p) {
        g_autofree char *container = text_of(p->container_id), *origin = text_of(p->origin_id), *comm = text_of(p->comm), *exe = text_of(p->exe);
        g_autofree char *user = text_of(p->user), *group = text_of(p->group);

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "node", node);
        bh_json_uint(out, "pid", p->pid);
        bh_json_uint(out, "vpid", p->vpid);
        bh_json_uint(out, "ppid", p->ppid);
        bh_json_time(out, "started", p->started_ns);
        bh_json_text(out, "container_id", container);
        bh_json_text(out, "origin_id", origin);
        bh_json_text(out, "comm", comm);
        bh_json_text(out, "exe", exe);
        bh_json_open(out, "args", '[');
        for (gsize i = 0; i < p->args.len;) {
                gsize n = strnlen((const char *) p->args.data + i, p->args.len - i);
                g_autofree char *arg = g_strndup((const char *) p->args.data + i, n);

                bh_json_text(out, NULL, arg);
                i += n + 1;
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "uid", p->uid);
        bh_json_uint(out, "gid", p->gid);
        bh_json_text(out, "user", user);
        bh_json_text(out, "group", group);
        bh_json_close(out, '}');
}

void bh_api_processes(BhCall *call) {
        Bulkhead__Bus__V1__ProcessesRequest wanted = BULKHEAD__BUS__V1__PROCESSES_REQUEST__INIT;
        guint limit, bad = 0, shown = 0;

        if (!bh_call_limit(call, PROCESSES_MAX, &limit))
                return;
        wanted.container = bh_bus_text(bh_call_param(call, "container"));
        wanted.limit = limit;

        g_autoptr(GBytes) body = bh_bus_body_pack(&wanted.base);
        g_autoptr(Ask) q = ask(call, "processes", body);
        if (!q)
                return;

        GString *out = g_string_sized_new(65536);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "processes", '[');
        for (guint i = 0; i < q->answers->len; i++) {
                const Answer *a = q->answers->pdata[i];

                for (guint k = 0; k < a->chunks->len; k++) {
                        Bulkhead__Bus__V1__ProcessList *list = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__process_list__descriptor, a->chunks->pdata[k], NULL);

                        bad += !list;
                        for (gsize n = 0; list && n < list->n_processes && shown < limit; n++, shown++)
                                append_process(out, a->node, list->processes[n]);
                        if (list)
                                bulkhead__bus__v1__process_list__free_unpacked(list, NULL);
                }
        }
        bh_json_close(out, ']');
        append_nodes(out, q, bad);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}
