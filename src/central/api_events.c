/* SPDX-License-Identifier: Apache-2.0 */
/* Events and processes: they stay with the nodes, so these calls are questions over the bus (ask.h). */
#include <string.h>

#include "ask.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "event/event.h"
#include "events.h"
#include "json_out.h"
#include "live.h"
#include "routes.h"
#include "rules/ruleset.h"

#define EVENTS_MAX 10000
#define PROCESSES_MAX 10000

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
        g_autoptr(BhAsk) q = bh_ask(call, "events", body);
        if (!q)
                return;

        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(bh_event_line_free);
        Lines collect = { lines };
        for (guint i = 0; i < q->answers->len; i++) {
                const BhAnswer *a = q->answers->pdata[i];

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
        bh_ask_append_nodes(out, q, bad);
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
        g_autoptr(BhAsk) q = bh_ask(call, "processes", body);
        if (!q)
                return;

        GString *out = g_string_sized_new(65536);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "processes", '[');
        for (guint i = 0; i < q->answers->len; i++) {
                const BhAnswer *a = q->answers->pdata[i];

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
        bh_ask_append_nodes(out, q, bad);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}
