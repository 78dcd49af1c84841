/* SPDX-License-Identifier: Apache-2.0 */
/* The central's questions, each answered in a thread of the bus's own: who reads slowly holds up nobody but himself. */
#include <string.h>

#include "answer.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "report_private.h"

#define EVENTS_LIMIT 10000u    /* of recorded events, where the question sets none, and at most */
#define RULES_CHUNK (1u << 20)
#define PROCESSES_LIMIT 10000u /* the same */

static gboolean begin(BhReport *r, BhBusStream *stream) {
        g_mutex_lock(&r->lock);
        gboolean stopping = r->stopping;
        r->answers += !stopping;
        g_mutex_unlock(&r->lock);
        if (stopping)
                bh_bus_stream_end(stream, "the sensor stops");
        return !stopping;
}

static void end(BhReport *r) {
        g_mutex_lock(&r->lock);
        r->answers--;
        g_cond_broadcast(&r->moved);
        g_mutex_unlock(&r->lock);
}

static gboolean stopping(BhReport *r) {
        g_mutex_lock(&r->lock);
        gboolean yes = r->stopping;
        g_mutex_unlock(&r->lock);
        return yes;
}

/* ---- events ---- */

typedef struct {
        BhReport *report;
        BhBusStream *stream;
} Reader;

/* Waits for the reader, but not when the sensor stops. */
static gboolean reader_ready(Reader *r) {
        while (!bh_bus_stream_ready(r->stream, 200))
                if (!bh_bus_stream_alive(r->stream) || stopping(r->report))
                        return FALSE;
        return TRUE;
}

static gboolean reader_put(const char *bytes, gsize len, guint64 dropped, gpointer data) {
        Reader *r = data;

        if (len > BH_BUS_MAX_CHUNK) { /* one event, too large for the bus */
                dropped++;
                len = 0;
        }

        g_autoptr(GBytes) chunk = g_bytes_new(bytes, len);
        return reader_ready(r) && bh_bus_stream_send(r->stream, chunk, dropped);
}

static gboolean reader_alive(gpointer data) {
        Reader *r = data;

        return bh_bus_stream_alive(r->stream) && !stopping(r->report);
}

static void answer_events(BhReport *r, BhBusStream *stream, const Bulkhead__Bus__V1__EventsRequest *m) {
        g_autofree char *container = bh_bus_text_dup(m->container);
        BhAnswerQuestion q = {
                .filter = { .form = BH_FEED_WIRE, .container = *container ? container : NULL },
                .since_ns = (guint64) MAX(m->since_ns, 0),
                .until_ns = (guint64) MAX(m->until_ns, 0),
                .limit = m->limit ? MIN(m->limit, EVENTS_LIMIT) : EVENTS_LIMIT,
                .past = !m->live_only,
                .follow = m->follow,
        };
        Reader reader = { r, stream };
        BhAnswerSource source = { .feed = r->c.feed, .recorder_dir = r->recorder_dir, .flush = r->c.flush, .data = r->c.data };
        BhAnswerSink sink = { .put = reader_put, .alive = reader_alive, .data = &reader };
        g_autoptr(GError) error = NULL;
        const char *unknown = bh_answer_types(&q.filter, (const char *const *) m->types, m->n_types);

        if (unknown) {
                g_autofree char *why = g_strdup_printf("there is no kind of event \"%.64s\"; docs/events.md lists them", unknown);

                bh_bus_stream_end(stream, why);
        } else if (m->filter.len && !bh_answer_where(&q.filter, (const char *) m->filter.data, m->filter.len, &error)) {
                g_autofree char *why = g_strdup_printf("filter: %s", error->message);

                bh_bus_stream_end(stream, why);
        } else if (!bh_answer_events(&source, &q, &sink, &error)) {
                bh_bus_stream_end(stream, error->message);
        } else {
                bh_bus_stream_end(stream, stopping(r) ? "the sensor stops" : NULL);
        }
        bh_rule_engine_unref(q.filter.where);
}

static void on_events(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        g_autoptr(GError) error = NULL;

        if (!begin(r, stream))
                return;
        Bulkhead__Bus__V1__EventsRequest *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__events_request__descriptor, body, &error);
        if (m) {
                answer_events(r, stream, m);
                bulkhead__bus__v1__events_request__free_unpacked(m, NULL);
        } else {
                bh_bus_stream_end(stream, error->message);
        }
        end(r);
}

/* ---- status, processes ---- */

static void on_status(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;

        if (!begin(r, stream))
                return;
        g_autoptr(GBytes) status = bh_report_pack_status(r);
        Reader reader = { r, stream };

        if (reader_ready(&reader))
                bh_bus_stream_send(stream, status, 0);
        bh_bus_stream_end(stream, NULL);
        end(r);
}

static void on_processes(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        g_autoptr(GError) error = NULL;

        if (!begin(r, stream))
                return;
        Bulkhead__Bus__V1__ProcessesRequest *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__processes_request__descriptor, body, &error);
        if (m) {
                g_autofree char *container = bh_bus_text_dup(m->container);
                g_autoptr(GPtrArray) pieces = r->c.processes(*container ? container : NULL, m->limit ? MIN(m->limit, PROCESSES_LIMIT) : PROCESSES_LIMIT, r->c.data);
                Reader reader = { r, stream };

                for (guint i = 0; i < pieces->len && reader_ready(&reader); i++)
                        if (!bh_bus_stream_send(stream, g_ptr_array_index(pieces, i), 0))
                                break;
                bulkhead__bus__v1__processes_request__free_unpacked(m, NULL);
                bh_bus_stream_end(stream, NULL);
        } else {
                bh_bus_stream_end(stream, error->message);
        }
        end(r);
}

/* ---- rules ---- */

static void answer_text(BhReport *r, BhBusStream *stream, json_t *answer) {
        g_autofree char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
        Reader reader = { r, stream };

        json_decref(answer);
        for (gsize at = 0, len = strlen(text); at < len; at += RULES_CHUNK)
                if (!reader_put(text + at, MIN(RULES_CHUNK, len - at), 0, &reader))
                        break;
        bh_bus_stream_end(stream, NULL);
}

static void on_rules(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;

        if (!begin(r, stream))
                return;
        answer_text(r, stream, bh_ruling_list(r->c.ruling));
        end(r);
}

static void on_rules_reload(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        g_autoptr(GError) error = NULL;

        if (!begin(r, stream))
                return;
        if (bh_ruling_reload(r->c.ruling, &error)) { /* in force, whatever the rest has */
                r->c.say("rules_changed", "the rules were read again, and are in force", NULL, NULL, r->c.data);
                bh_report_urgent(r);
                if (r->c.reload)
                        r->c.reload(&error, r->c.data);
        }
        bh_bus_stream_end(stream, error ? error->message : NULL);
        end(r);
}

/* New managed files. Nothing changes where any of them has an error. */
static void on_rules_set(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        g_autoptr(GError) error = NULL;

        if (!begin(r, stream))
                return;
        Bulkhead__Bus__V1__RulesSet *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__rules_set__descriptor, body, &error);
        if (m) {
                g_autofree BhRulingFile *files = g_new0(BhRulingFile, m->n_files + 1);
                gboolean changed = FALSE;

                for (gsize i = 0; i < m->n_files; i++)
                        files[i] = (BhRulingFile){ m->files[i]->name, (const char *) m->files[i]->text.data, m->files[i]->text.len };
                if (bh_ruling_manage(r->c.ruling, files, (guint) m->n_files, m->digest.len ? (const char *) m->digest.data : "", m->digest.len, &changed, &error) && changed) {
                        r->c.say("rules_changed", "the central sent other rules, and they are in force", NULL, NULL, r->c.data);
                        bh_report_urgent(r);
                }
                bulkhead__bus__v1__rules_set__free_unpacked(m, NULL);
        }
        bh_bus_stream_end(stream, error ? error->message : NULL);
        end(r);
}

/* ---- policies ---- */

static void on_policies_set(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        g_autoptr(GError) error = NULL;

        if (!begin(r, stream))
                return;
        if (r->c.policies(body, r->c.data, &error))
                bh_report_urgent(r);
        bh_bus_stream_end(stream, error ? error->message : NULL);
        end(r);
}

/* ---- evidence ---- */

static void on_evidence_verify(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        gsize len = 0;
        const char *heads = body ? g_bytes_get_data(body, &len) : NULL;

        if (!begin(r, stream))
                return;
        json_t *answer = r->c.evidence ? r->c.evidence(heads, len, r->c.data) : NULL;
        if (answer)
                answer_text(r, stream, answer);
        else
                bh_bus_stream_end(stream, "this node keeps no evidence: bulkhead status says why");
        end(r);
}

/* ---- responses ---- */

static void on_respond(BhBusStream *stream, GBytes *body, gpointer data) {
        BhReport *r = data;
        g_autoptr(GError) error = NULL;

        if (!begin(r, stream))
                return;
        g_autoptr(GPtrArray) pieces = r->c.respond(body, r->c.data, &error);
        Reader reader = { r, stream };

        for (guint i = 0; pieces && i < pieces->len && reader_ready(&reader); i++)
                if (!bh_bus_stream_send(stream, g_ptr_array_index(pieces, i), 0))
                        break;
        bh_bus_stream_end(stream, error ? error->message : NULL);
        end(r);
}

void bh_report_serve(BhReport *r) {
        bh_bus_serve(r->bus, "evidence_verify", on_evidence_verify, r);
        bh_bus_serve(r->bus, "events", on_events, r);
        bh_bus_serve(r->bus, "status", on_status, r);
        bh_bus_serve(r->bus, "processes", on_processes, r);
        if (r->c.respond)
                bh_bus_serve(r->bus, "respond", on_respond, r);
        if (r->c.policies && r->c.ruling)
                bh_bus_serve(r->bus, "policies_set", on_policies_set, r);
        if (r->c.ruling) {
                bh_bus_serve(r->bus, "rules", on_rules, r);
                bh_bus_serve(r->bus, "rules_set", on_rules_set, r);
                bh_bus_serve(r->bus, "rules_reload", on_rules_reload, r);
        }
}
