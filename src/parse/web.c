/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/web.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "parse/redact.h"
#include "parse/waf.h"
#include "parse/waf_filter.h"
#include "parse/web_params.h"
#include "parse/web_stream.h"

#define LOOK_REQUESTS 16u /* also after so many requests: a decoder takes megabytes for few bytes */
#define MATCHES_MAX 108u  /* of an answer */
#define WHOLE_LOOKED (16u << 10) /* of a body that is redacted: what goes on beyond what is kept must be seen for what it is */
#define PARAMS_MAX 256u   /* of an answer */
G_STATIC_ASSERT(BH_WEB_RECORDS_MAX * (2 * BH_WEB_TARGET_MAX + 4 * BH_WEB_TEXT_MAX + 128) + MATCHES_MAX * (2 * BH_WEB_TEXT_MAX + 16) + BH_WEB_WHOLES_MAX * BH_WEB_WHOLE_MAX + PARAMS_MAX * (BH_WEB_PARAM_NAME_MAX + 8) <=
                BH_INSPECT_ANSWER_MAX);
G_STATIC_ASSERT(BH_WEB_PARAMS_REQUEST <= BH_WEB_FACT_PARAMS_MAX);

typedef struct {
        guint64 id;
        BhWebStream *stream;
        GList link; /* in `quiet`; data: this */
        BhWeb *w;
        char *client, *server;
        guint16 port;
        gboolean strict, unjudged;
        guint64 dropped; /* of the stream, told */
} Connection;

struct BhWeb {
        BhWaf *waf;
        BhWafFilter *filter;
        GHashTable *connections; /* id → Connection */
        GQueue quiet;            /* the longest quiet one first */
        guint64 given_up;
        gsize since_look;
        guint requests_since;
        guint matches_left; /* of MATCHES_MAX */
        guint wholes_left;  /* of BH_WEB_WHOLES_MAX */
        guint params_left;  /* of PARAMS_MAX */
        BhWebFacts *facts; /* of the request that is worked on; NULL: nobody listens any more */
};

/* ---- facts */

static BhWebRecord *add_record(BhWeb *w) {
        BhWebFacts *f = w->facts;

        if (!f)
                return NULL;
        if (f->n_records >= BH_WEB_RECORDS_MAX) {
                f->dropped++;
                return NULL;
        }
        if (!f->records)
                f->records = g_new0(BhWebRecord, BH_WEB_RECORDS_MAX);
        return &f->records[f->n_records++];
}

/* All of its fields, as one list: who is nearest stands at the end. */
static char *forwarded_of(const BhHttpMessage *m) {
        g_autoptr(GString) all = g_string_new(NULL);

        for (guint i = 0; i < m->n_fields; i++)
                if (g_ascii_strcasecmp(m->fields[i].name, "X-Forwarded-For") == 0)
                        g_string_append_printf(all, "%s%s", all->len ? "," : "", m->fields[i].value);
        if (all->len > BH_WEB_TEXT_MAX)
                g_string_erase(all, 0, (gssize) (all->len - BH_WEB_TEXT_MAX));
        return g_strdup(all->str);
}

/* The request's part of a record; what leaves is redacted. */
static void tell_request(BhWebRecord *r, const BhHttpMessage *m) {
        g_autofree char *path = bh_http_path(m), *clean = bh_redact_text(path, strlen(path));
        const char *query = strchr(m->target, '?'), *agent = bh_http_field(m, "User-Agent");
        gsize front = query ? (gsize) (query - m->target) : strlen(m->target);
        g_autofree char *before = bh_redact_text(m->target, front), *behind = query ? bh_redact_form(query + 1, strlen(query + 1)) : NULL;

        r->version = (guint8) m->version;
        r->number = m->number;
        r->begin_ns = m->begin_ns;
        r->end_ns = m->end_ns;
        r->method = g_strdup(m->method);
        r->target = behind ? g_strconcat(before, "?", behind, NULL) : g_strdup(before);
        r->path = bh_http_path_template(clean);
        r->authority = bh_redact_text(m->authority, strlen(m->authority));
        r->forwarded = forwarded_of(m);
        r->agent = agent ? bh_redact_field("User-Agent", agent) : g_strdup("");
        r->request_anomalies = m->anomalies;
        r->request_bytes = m->body_bytes;
}

static void tell_params(BhWeb *w, BhWebRecord *r, const BhHttpMessage *m) {
        BhWebParam found[BH_WEB_PARAMS_REQUEST];
        guint dropped, n = bh_web_params(m, found, w->params_left, &dropped);

        r->params = g_memdup2(found, n * sizeof(*found));
        r->n_params = n;
        r->params_dropped = MIN(dropped, G_MAXUINT16);
        w->params_left -= n;
}

/* Of equal ones those that say what an attack is before those that say that the request is odd: only the first may be told. */
static int by_score(gconstpointer a, gconstpointer b) {
        const BhWafMatch *x = a, *y = b;
        const gint odd = bh_web_class_is_odd(bh_web_class(x->rule)) - bh_web_class_is_odd(bh_web_class(y->rule));

        return x->score != y->score ? (int) y->score - (int) x->score : odd ? odd : (x->rule > y->rule) - (x->rule < y->rule);
}

/* A request's first bytes as one would read them: line, fields, body. `target` is redacted already. Caller frees. */
static char *whole_of(const BhHttpMessage *m, const char *target) {
        g_autoptr(BhHttpMessage) copy = bh_http_message_new();
        g_autoptr(GString) out = g_string_new(NULL);
        gsize head = 0;

        g_string_append_printf(out, "%s %s HTTP/%u.%u\n", m->method, target, m->version / 10, m->version % 10);
        for (guint i = 0; i < m->n_fields && head < WHOLE_LOOKED; i++) {
                const BhHttpField *f = &m->fields[i];

                head += strlen(f->name) + strlen(f->value);
                bh_http_add_field(copy, f->name, strlen(f->name), f->value, strlen(f->value));
        }
        g_byte_array_append(copy->body, m->body->data, MIN(m->body->len, WHOLE_LOOKED));
        bh_redact_message(copy);
        for (guint i = 0; i < copy->n_fields && out->len < BH_WEB_WHOLE_MAX; i++)
                g_string_append_printf(out, "%s: %s\n", copy->fields[i].name, copy->fields[i].value);
        g_string_append_c(out, '\n');
        for (guint i = 0; i < copy->body->len && out->len < BH_WEB_WHOLE_MAX; i++) {
                guint8 b = copy->body->data[i];

                if (b != '\r' || i + 1 == copy->body->len || copy->body->data[i + 1] != '\n')
                        g_string_append_c(out, (char) (b ? b : '?'));
        }
        return g_strndup(out->str, MIN(out->len, BH_WEB_WHOLE_MAX));
}

static void judge(Connection *c, const BhHttpMessage *m, BhWebRecord *r) {
        const char *why = NULL;

        /* nothing of its line was copied: it is counted as such, and what is not known is no offence */
        if (!*m->method && !*m->target)
                return;
        if (c->unjudged || !bh_waf_filter_wants(c->w->filter, m, c->strict, &why))
                return;
        g_autoptr(BhWafResult) result = bh_waf_judge(c->w->waf, m, NULL, c->client, c->server, c->port);
        /* whoever sends many bad requests in one piece does not hide what is the matter with the last: one match is kept for each that may come */
        guint reserve = BH_WEB_RECORDS_MAX - c->w->facts->n_records, left = c->w->matches_left;
        guint n = MIN(MIN(result->n_matches, BH_WEB_FACT_MATCHES_MAX), left > reserve ? left - reserve : 0);

        c->w->matches_left -= n;
        r->wanted = g_strdup(why);
        r->score = result->score;
        r->matches_dropped = result->dropped + result->n_matches - n;
        if (n)
                qsort(result->matches, result->n_matches, sizeof(*result->matches), by_score);
        r->matches = g_new0(BhWebMatch, n);
        for (; r->n_matches < n; r->n_matches++) {
                BhWafMatch *from = &result->matches[r->n_matches];

                r->matches[r->n_matches] = (BhWebMatch) {
                        .rule = from->rule,
                        .level = (guint8) MIN(from->level, 4u),
                        .score = (guint8) MIN(from->score, 5u),
                        .count = (guint16) MIN(from->count, G_MAXUINT16),
                        .message = g_steal_pointer(&from->message),
                        .matched = g_steal_pointer(&from->matched),
                };
        }
        if (n && c->w->wholes_left) {
                c->w->wholes_left--;
                r->whole = whole_of(m, r->target);
        }
}

static void on_request(const BhHttpMessage *m, gpointer data) {
        Connection *c = data;
        BhWebRecord *r = add_record(c->w);

        if (!r)
                return;
        tell_request(r, m);
        judge(c, m, r);
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        Connection *c = data;
        BhWebRecord *r = add_record(c->w);

        if (!r)
                return;
        r->exchange = TRUE;
        if (x->request) {
                tell_request(r, x->request);
                tell_params(c->w, r, x->request);
        }
        if (!x->response)
                return;
        r->version = (guint8) x->response->version;
        if (!x->request) {
                r->number = x->response->number;
                r->begin_ns = x->response->begin_ns;
        }
        r->status = (guint16) x->response->status;
        r->end_ns = x->response->end_ns;
        r->response_anomalies = x->response->anomalies;
        r->response_bytes = x->response->body_bytes;
}

/* ---- connections */

static void connection_free(gpointer p) {
        Connection *c = p;

        g_queue_unlink(&c->w->quiet, &c->link);
        bh_web_stream_free(c->stream);
        g_free(c->client);
        g_free(c->server);
        g_free(c);
}

static void give_up(BhWeb *w) {
        Connection *c = w->quiet.head->data;
        BhWebFacts *facts = g_steal_pointer(&w->facts); /* its last words are no answer to this request */

        w->given_up++;
        g_hash_table_remove(w->connections, &c->id);
        w->facts = facts;
}

static void keep_within_memory(BhWeb *w, gsize len) {
        w->since_look += len;
        if (w->since_look < BH_WEB_LOOK_BYTES && ++w->requests_since < LOOK_REQUESTS)
                return;
        w->since_look = 0;
        w->requests_since = 0;
        for (struct mallinfo2 m = mallinfo2(); m.uordblks + m.hblkhd > BH_WEB_MEMORY_MAX && w->quiet.length; m = mallinfo2())
                give_up(w);
}

static Connection *connection_new(BhWeb *w, const BhWebInput *in) {
        Connection *c = g_new0(Connection, 1);
        BhHttpSink sink = { on_request, on_exchange, c };

        if (g_hash_table_size(w->connections) >= BH_WEB_CONNECTIONS_MAX)
                give_up(w);
        c->id = in->connection;
        c->w = w;
        c->link.data = c;
        c->client = g_strdup(in->client);
        c->server = g_strdup(in->server);
        c->port = in->port;
        c->strict = (in->flags & BH_WEB_STRICT) != 0;
        c->unjudged = (in->flags & BH_WEB_UNJUDGED) != 0;
        c->stream = bh_web_stream_new(BH_WEB_BODY_KEEP, &sink);
        g_queue_push_tail_link(&w->quiet, &c->link);
        g_hash_table_replace(w->connections, &c->id, c);
        return c;
}

BhInspectStatus bh_web_answer(BhWeb *w, const guint8 *body, gsize len, GByteArray *out) {
        static const char refused[] = "the request does not hold the next bytes of a connection";
        GStringChunk *texts;
        BhWebInput in;

        if (!bh_inspect_unpack_web_input(body, len, &in, &texts)) {
                g_byte_array_append(out, (const guint8 *) refused, sizeof(refused) - 1);
                return BH_INSPECT_REFUSED;
        }
        g_autoptr(BhWebFacts) facts = g_new0(BhWebFacts, 1);
        gboolean client = (in.flags & BH_WEB_CLIENT) != 0;

        keep_within_memory(w, in.len);
        w->matches_left = MATCHES_MAX;
        w->wholes_left = BH_WEB_WHOLES_MAX;
        w->params_left = PARAMS_MAX;
        Connection *c = g_hash_table_lookup(w->connections, &in.connection);
        if (!c && in.flags & BH_WEB_OPEN)
                c = connection_new(w, &in);
        w->facts = facts;
        if (!c) {
                facts->state = BH_WEB_UNKNOWN;
        } else {
                g_queue_unlink(&w->quiet, &c->link);
                g_queue_push_tail_link(&w->quiet, &c->link);
                if (in.gap)
                        bh_web_stream_gap(c->stream, client, in.gap);
                facts->state = bh_web_stream_feed(c->stream, client, in.bytes, in.len, in.at_ns);
                guint64 dropped = bh_web_stream_dropped(c->stream);
                facts->partial = (guint) MIN(dropped - MIN(c->dropped, dropped), G_MAXUINT16);
                c->dropped = dropped;
                if (in.flags & BH_WEB_CLOSE)
                        g_hash_table_remove(w->connections, &in.connection);
        }
        w->facts = NULL;
        bh_inspect_pack_web(out, facts);
        g_string_chunk_free(texts);
        return BH_INSPECT_OK;
}

BhWeb *bh_web_new(const char *rules_dir, GError **error) {
        g_autoptr(BhWeb) w = g_new0(BhWeb, 1);
        BhWafConfig config = { .rules_dir = rules_dir, .level = 4 };

        w->connections = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, connection_free);
        w->waf = bh_waf_new(&config, error);
        w->filter = w->waf ? bh_waf_filter_new(rules_dir, error) : NULL;
        return w->filter ? g_steal_pointer(&w) : NULL;
}

void bh_web_free(BhWeb *w) {
        if (!w)
                return;
        g_hash_table_unref(w->connections);
        bh_waf_free(w->waf);
        bh_waf_filter_free(w->filter);
        g_free(w);
}

guint bh_web_connections(const BhWeb *w) {
        return g_hash_table_size(w->connections);
}

guint64 bh_web_given_up(const BhWeb *w) {
        return w->given_up;
}
