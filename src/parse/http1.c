/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/http1.h"

#include <string.h>

#include "parse/http1_head.h"

#define CHUNK_LINE_MAX 256u
#define PIPELINE_MAX 1024u

typedef enum {
        BEGIN,       /* between messages; empty lines are passed over */
        HEAD,
        LENGTH,      /* `left` bytes of body */
        CHUNK_LINE,
        CHUNK_DATA,  /* `left` bytes of this chunk */
        CHUNK_END,   /* the line's end behind a chunk's data */
        TRAILER,
        UNTIL_CLOSE,
        STOPPED,     /* nothing more is read */
} Step;

typedef struct {
        Step step;
        GByteArray *line; /* head, chunk's line, or nothing */
        guint line_len;   /* of the line that the head is in, without its end */
        gboolean over;    /* the head is beyond its bound: its rest is passed over */
        gboolean cr;      /* the last byte was a carriage return */
        guint64 left, number;
        BhHttpMessage *m; /* that it is in */
        BhHttpBody *body;
        gint64 now_ns;
} Side;

struct BhHttp1 {
        gsize keep;
        BhHttpSink sink;
        BhHttp1State state;
        Side client, server;
        GQueue open;          /* BhHttpMessage *: requests without their response */
        guint64 dropped;
        BhHttpMessage *upgraded;
};

BhHttp1 *bh_http1_new(gsize body_keep, const BhHttpSink *sink) {
        BhHttp1 *p = g_new0(BhHttp1, 1);

        p->keep = body_keep ? body_keep : BH_HTTP_BODY_KEEP;
        p->sink = *sink;
        p->client.line = g_byte_array_new();
        p->server.line = g_byte_array_new();
        return p;
}

static void stop(BhHttp1 *p, BhHttp1State state) {
        p->state = state;
        p->client.step = p->server.step = STOPPED;
}

/* ---- messages */

static void tell(BhHttp1 *p, BhHttpMessage *request, BhHttpMessage *response) {
        BhHttpExchange x = { request, response };

        if (p->sink.exchange)
                p->sink.exchange(&x, p->sink.data);
        bh_http_message_free(x.request);
        bh_http_message_free(x.response);
}

static void request_done(BhHttp1 *p, BhHttpMessage *m) {
        if (p->sink.request)
                p->sink.request(m, p->sink.data);
        if (p->open.length >= BH_HTTP_OPEN_MAX) {
                /* what is needed to know the answer's form stays: its place and its method */
                BhHttpMessage *bare = bh_http_message_new();

                p->dropped++;
                bare->version = m->version;
                bare->number = m->number;
                bare->anomalies = m->anomalies | BH_HTTP_HEAD_BOUND;
                g_free(bare->method);
                bare->method = g_steal_pointer(&m->method);
                bh_http_message_free(m);
                m = bare;
        }
        g_queue_push_tail(&p->open, m);
        if (p->open.length > PIPELINE_MAX)
                stop(p, BH_HTTP1_BROKEN);
}

static BhHttp1State upgraded_to(const BhHttpMessage *response) {
        const char *to = bh_http_field(response, "Upgrade");

        if (to && g_ascii_strcasecmp(to, "websocket") == 0)
                return BH_HTTP1_WEBSOCKET;
        return to && g_ascii_strcasecmp(to, "h2c") == 0 ? BH_HTTP1_H2C : BH_HTTP1_OTHER;
}

static void response_done(BhHttp1 *p, BhHttpMessage *m) {
        const BhHttpMessage *asked = g_queue_peek_head(&p->open);

        if (m->status == 101) {
                BhHttp1State state = upgraded_to(m);

                if (state == BH_HTTP1_H2C) {
                        p->upgraded = g_queue_pop_head(&p->open);
                        bh_http_message_free(m);
                } else {
                        tell(p, g_queue_pop_head(&p->open), m);
                }
                stop(p, state);
                return;
        }
        if (m->status < 200) { /* 100, 103: the answer is still to come */
                bh_http_message_free(m);
                return;
        }
        gboolean tunnel = asked && strcmp(asked->method, "CONNECT") == 0 && m->status < 300;
        BhHttpMessage *request = g_queue_pop_head(&p->open);

        tell(p, request, m);
        if (tunnel)
                stop(p, BH_HTTP1_TUNNEL);
}

static void message_done(BhHttp1 *p, Side *s) {
        BhHttpMessage *m = g_steal_pointer(&s->m);

        bh_http_body_free(g_steal_pointer(&s->body), !(m->anomalies & (BH_HTTP_CUT | BH_HTTP_GAP)));
        m->end_ns = s->now_ns;
        if (s->step != STOPPED)
                s->step = BEGIN;
        g_byte_array_set_size(s->line, 0);
        if (s == &p->client)
                request_done(p, m);
        else
                response_done(p, m);
}

static void broken(BhHttp1 *p, Side *s, guint32 anomaly) {
        stop(p, BH_HTTP1_BROKEN);
        if (!s->m)
                return;
        s->m->anomalies |= anomaly;
        message_done(p, s);
}

/* Whether a body follows the response, whatever its head says. */
static gboolean may_have_body(BhHttp1 *p, const BhHttpMessage *m) {
        const BhHttpMessage *asked = g_queue_peek_head(&p->open);

        if (m->status < 200 || m->status == 204 || m->status == 304)
                return FALSE;
        return !asked || (strcmp(asked->method, "HEAD") != 0 && !(strcmp(asked->method, "CONNECT") == 0 && m->status < 300));
}

static void head_done(BhHttp1 *p, Side *s) {
        gboolean response = s == &p->server;
        BhHttpMessage *m = s->m;
        BhHttp1Frame frame;

        m->head_bytes = MAX(m->head_bytes, s->line->len);
        if (!bh_http1_read_head((char *) s->line->data, s->line->len, response, m, &frame)) {
                broken(p, s, 0);
                return;
        }
        g_byte_array_set_size(s->line, 0);
        if (!response) {
                static const char *const without[] = { "GET", "HEAD", "DELETE", "TRACE", "CONNECT" };

                for (gsize i = 0; i < G_N_ELEMENTS(without); i++)
                        if (strcmp(m->method, without[i]) == 0 && (frame.chunked || frame.length))
                                m->anomalies |= BH_HTTP_BODY_UNEXPECTED;
        }
        if (response && !may_have_body(p, m)) {
                message_done(p, s);
                return;
        }
        s->body = bh_http_body_new(m, bh_http_field(m, "Content-Encoding"), p->keep);
        if (frame.chunked) {
                s->step = CHUNK_LINE;
        } else if (frame.has_length) {
                s->left = frame.length;
                s->step = LENGTH;
                if (!s->left)
                        message_done(p, s);
        } else if (response) {
                s->step = UNTIL_CLOSE;
        } else {
                message_done(p, s);
        }
}

/* ---- steps: each takes bytes and returns how many */

static gsize take_begin(Side *s, const guint8 *bytes, gsize len) {
        gsize n = 0;

        while (n < len && (bytes[n] == '\r' || bytes[n] == '\n'))
                n++;
        if (n == len)
                return n;
        s->m = bh_http_message_new();
        s->m->number = s->number++;
        s->m->begin_ns = s->now_ns;
        s->step = HEAD;
        s->line_len = 0;
        s->over = s->cr = FALSE;
        g_byte_array_set_size(s->line, 0);
        return n;
}

/* Up to the head's empty line. */
static gsize take_head(BhHttp1 *p, Side *s, const guint8 *bytes, gsize len) {
        gsize n = 0;
        gboolean done = FALSE;

        while (n < len && !done) {
                guint8 c = bytes[n++];

                if (c == '\n') {
                        done = s->line_len == 0;
                        s->line_len = 0;
                        s->cr = FALSE;
                } else {
                        /* a carriage return counts only when it is not the line's end */
                        s->line_len += s->cr;
                        s->cr = c == '\r';
                        s->line_len += !s->cr;
                }
        }
        gsize room = BH_HTTP_HEAD_MAX - s->line->len, kept = s->over ? 0 : MIN(n, room);
        g_byte_array_append(s->line, bytes, (guint) kept);
        s->m->head_bytes += n;
        if (kept < n && !s->over) {
                s->over = TRUE;
                s->m->anomalies |= BH_HTTP_HEAD_BOUND;
        }
        if (!done)
                return n;
        if (s->over) /* the last line may be cut anywhere */
                g_byte_array_append(s->line, (const guint8 *) "\r\n\r\n", 4);
        head_done(p, s);
        return n;
}

static gsize take_data(Side *s, const guint8 *bytes, gsize len) {
        gsize n = (gsize) MIN((guint64) len, s->left);

        if (s->body)
                bh_http_body_feed(s->body, bytes, n);
        else
                s->m->body_bytes += n;
        s->left -= n;
        return n;
}

/* "1a;name=value\r\n". FALSE when there is no number in it. */
static gboolean read_chunk_line(Side *s) {
        const guint8 *p = s->line->data, *end = p + s->line->len;
        guint64 n = 0;
        guint digits = 0;

        for (; p < end && g_ascii_isxdigit(*p) && digits < 15; p++, digits++)
                n = n << 4 | (guint64) g_ascii_xdigit_value((char) *p);
        if (!digits || (p < end && g_ascii_isxdigit(*p)))
                return FALSE;
        if (p < end && *p == ';')
                s->m->anomalies |= BH_HTTP_CHUNK_EXTENSION;
        else if (p < end && *p != '\r')
                s->m->anomalies |= BH_HTTP_CHUNK_BAD;
        if (!s->line->len || end[-1] != '\r')
                s->m->anomalies |= BH_HTTP_BARE_LF;
        s->left = n;
        return TRUE;
}

static gsize take_chunk_line(BhHttp1 *p, Side *s, const guint8 *bytes, gsize len) {
        const guint8 *lf = memchr(bytes, '\n', len);
        gsize n = lf ? (gsize) (lf - bytes) + 1 : len, keep = lf ? n - 1 : n;

        if (s->line->len + keep > CHUNK_LINE_MAX) {
                broken(p, s, BH_HTTP_CHUNK_BAD);
                return n;
        }
        g_byte_array_append(s->line, bytes, (guint) keep);
        if (!lf)
                return n;
        if (s->step == CHUNK_END) {
                /* exactly the line's end */
                if (s->line->len > 1 || (s->line->len == 1 && s->line->data[0] != '\r')) {
                        broken(p, s, BH_HTTP_CHUNK_BAD);
                        return n;
                }
                if (!s->line->len)
                        s->m->anomalies |= BH_HTTP_BARE_LF;
                s->step = CHUNK_LINE;
        } else if (!read_chunk_line(s)) {
                broken(p, s, BH_HTTP_CHUNK_BAD);
                return n;
        } else {
                s->step = s->left ? CHUNK_DATA : TRAILER;
                s->line_len = 0;
                s->cr = FALSE;
        }
        g_byte_array_set_size(s->line, 0);
        return n;
}

/* Fields behind the last chunk are passed over up to the empty line: nobody may rely on them. */
static gsize take_trailer(BhHttp1 *p, Side *s, const guint8 *bytes, gsize len) {
        for (gsize n = 0; n < len;) {
                guint8 c = bytes[n++];

                if (c == '\n') {
                        if (!s->line_len) {
                                message_done(p, s);
                                return n;
                        }
                        s->line_len = 0;
                } else if (c != '\r') {
                        s->line_len++;
                }
        }
        return len;
}

gsize bh_http1_feed(BhHttp1 *p, gboolean client, const guint8 *bytes, gsize len, gint64 at_ns) {
        Side *s = client ? &p->client : &p->server;
        gsize at = 0;

        s->now_ns = at_ns;
        while (at < len && s->step != STOPPED) {
                const guint8 *rest = bytes + at;
                gsize n = len - at;

                switch (s->step) {
                case BEGIN: {
                        const BhHttpMessage *last = client ? g_queue_peek_tail(&p->open) : NULL;

                        if (last && strcmp(last->method, "CONNECT") == 0)
                                return len; /* the tunnel's, if there will be one */
                        at += take_begin(s, rest, n);
                        break;
                }
                case HEAD:
                        at += take_head(p, s, rest, n);
                        break;
                case LENGTH:
                        at += take_data(s, rest, n);
                        if (!s->left)
                                message_done(p, s);
                        break;
                case CHUNK_LINE:
                case CHUNK_END:
                        at += take_chunk_line(p, s, rest, n);
                        break;
                case CHUNK_DATA:
                        at += take_data(s, rest, n);
                        if (!s->left)
                                s->step = CHUNK_END;
                        break;
                case TRAILER:
                        at += take_trailer(p, s, rest, n);
                        break;
                case UNTIL_CLOSE:
                        if (s->body)
                                bh_http_body_feed(s->body, rest, n);
                        else
                                s->m->body_bytes += n;
                        at = len;
                        break;
                case STOPPED:
                        break;
                }
        }
        return at;
}

void bh_http1_gap(BhHttp1 *p, gboolean client, guint64 n) {
        Side *s = client ? &p->client : &p->server;

        if (s->step == STOPPED || !n)
                return;
        gboolean sized = s->step == LENGTH || s->step == CHUNK_DATA;
        if (!(s->step == UNTIL_CLOSE || (sized && n <= s->left))) {
                broken(p, s, BH_HTTP_GAP | BH_HTTP_CUT);
                return;
        }
        s->m->anomalies |= BH_HTTP_GAP;
        s->m->body_cut = TRUE;
        s->m->body_bytes += n;
        /* what is behind a hole cannot be decoded, and must not be joined to what is before it */
        bh_http_body_free(g_steal_pointer(&s->body), FALSE);
        if (!sized)
                return;
        s->left -= n;
        if (s->left)
                return;
        if (s->step == CHUNK_DATA)
                s->step = CHUNK_END;
        else
                message_done(p, s);
}

BhHttp1State bh_http1_state(const BhHttp1 *p) {
        return p->state;
}

BhHttpMessage *bh_http1_steal_upgraded(BhHttp1 *p) {
        return g_steal_pointer(&p->upgraded);
}

guint64 bh_http1_dropped(const BhHttp1 *p) {
        return p->dropped;
}

void bh_http1_free(BhHttp1 *p) {
        if (!p)
                return;
        if (p->server.m) {
                /* a body up to the connection's end is whole then */
                if (p->server.step != UNTIL_CLOSE)
                        p->server.m->anomalies |= BH_HTTP_CUT;
                message_done(p, &p->server);
        }
        if (p->client.m) {
                p->client.m->anomalies |= BH_HTTP_CUT;
                message_done(p, &p->client);
        }
        for (BhHttpMessage *m; (m = g_queue_pop_head(&p->open));)
                tell(p, m, NULL);
        bh_http_message_free(p->upgraded);
        g_byte_array_unref(p->client.line);
        g_byte_array_unref(p->server.line);
        g_free(p);
}
