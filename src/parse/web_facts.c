/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/web_facts.h"

#include <string.h>

#include "parse/bytes.h"

void bh_web_facts_free(BhWebFacts *f) {
        if (!f)
                return;
        for (guint i = 0; i < f->n_records; i++) {
                BhWebRecord *r = &f->records[i];

                for (guint k = 0; k < r->n_matches; k++) {
                        g_free(r->matches[k].message);
                        g_free(r->matches[k].matched);
                }
                g_free(r->matches);
                for (guint k = 0; k < r->n_params; k++)
                        g_free(r->params[k].name);
                g_free(r->params);
                g_free(r->method);
                g_free(r->target);
                g_free(r->path);
                g_free(r->authority);
                g_free(r->agent);
                g_free(r->forwarded);
                g_free(r->wanted);
                g_free(r->whole);
        }
        g_free(f->records);
        g_free(f);
}

const char *bh_web_class(guint rule) {
        switch (rule / 1000) {
        case 911:
                return "method";
        case 913:
                return "scanner";
        case 920:
        case 921:
                return "protocol";
        case 922:
                return "multipart";
        case 930:
                return "lfi";
        case 931:
                return "rfi";
        case 932:
                return "rce";
        case 933:
                return "php";
        case 934:
                return "nodejs";
        case 941:
                return "xss";
        case 942:
                return "sqli";
        case 943:
                return "session-fixation";
        case 944:
                return "java";
        case 950:
        case 951:
        case 952:
        case 953:
        case 954:
                return "leak";
        default:
                return "other";
        }
}

gboolean bh_web_class_is_odd(const char *class) {
        static const char *const odd[] = { "protocol", "scanner", "method", NULL };

        return g_strv_contains(odd, class);
}

/* ---- parameters */

static const char *const places[BH_WEB_PLACES] = { "query", "form", "json" };
static const char *const types[BH_WEB_TYPES] = { "empty", "boolean", "number", "id", "word", "text", "code", "binary", "object", "array", "file", "secret" };
static const guint lengths[BH_WEB_PARAM_LENGTHS - 1] = { BH_WEB_LENGTH_BOUNDS };

char *bh_web_param_say(guint place, guint type, guint length) {
        const char *where = place < BH_WEB_PLACES ? places[place] : "?", *what = type < BH_WEB_TYPES ? types[type] : "?";

        if (type == BH_WEB_TYPE_EMPTY || type == BH_WEB_TYPE_SECRET || !length)
                return g_strdup_printf("%s %s", where, what);
        return length < G_N_ELEMENTS(lengths) ? g_strdup_printf("%s %s, up to %u bytes", where, what, lengths[length]) : g_strdup_printf("%s %s, more than 1024 bytes", where, what);
}

/* ---- putting: machine byte order, no padding */

static void put(GByteArray *out, const void *p, gsize n) {
        g_byte_array_append(out, p, (guint) n);
}

static void put_number(GByteArray *out, guint64 v, guint bytes) {
        put(out, &v, bytes); /* little-endian machines alone; see the assertion */
}
G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN);

static void put_text(GByteArray *out, const char *s, gsize most) {
        gsize n = MIN(s ? strlen(s) : 0, most);

        put_number(out, n, 2);
        for (gsize i = 0; i < n; i++) {
                guint8 c = (guint8) s[i];

                put_number(out, c >= 0x20 && c < 0x7f ? c : '?', 1);
        }
}

static void put_lines(GByteArray *out, const char *s, gsize most) {
        gsize n = MIN(s ? strlen(s) : 0, most);

        put_number(out, n, 2);
        for (gsize i = 0; i < n; i++)
                put_number(out, s[i] == '\n' || (s[i] >= 0x20 && s[i] < 0x7f) ? (guint8) s[i] : '?', 1);
}

/* ---- taking */

static guint64 take_number(BhBytes *b, guint bytes) {
        const guint8 *p = bh_bytes_take(b, bytes);
        guint64 v = 0;

        if (p)
                memcpy(&v, p, bytes);
        return v;
}

static const guint8 *take_printable(BhBytes *b, gsize most, gsize *n) {
        *n = (gsize) take_number(b, 2);
        const guint8 *p = *n <= most ? bh_bytes_take(b, *n) : NULL;

        for (gsize i = 0; p && i < *n; i++)
                if (p[i] < 0x20 || p[i] >= 0x7f)
                        p = NULL;
        if (!p) {
                b->bad = TRUE;
                *n = 0;
        }
        return p;
}

static char *take_text(BhBytes *b, gsize most) {
        gsize n;
        const guint8 *p = take_printable(b, most, &n);

        return g_strndup(p ? (const char *) p : "", n);
}

static char *take_lines(BhBytes *b, gsize most) {
        gsize n = (gsize) take_number(b, 2);
        const guint8 *p = n <= most ? bh_bytes_take(b, n) : NULL;

        for (gsize i = 0; p && i < n; i++)
                if (p[i] != '\n' && (p[i] < 0x20 || p[i] >= 0x7f))
                        p = NULL;
        b->bad |= !p;
        return p ? g_strndup((const char *) p, n) : g_strdup("");
}

/* ---- requests */

void bh_inspect_pack_web_input(GByteArray *out, const BhWebInput *in) {
        put_number(out, in->connection, 8);
        put_number(out, in->flags, 1);
        put_number(out, in->gap, 8);
        put_number(out, (guint64) in->at_ns, 8);
        put_text(out, in->client, BH_WEB_TEXT_MAX);
        put_text(out, in->server, BH_WEB_TEXT_MAX);
        put_number(out, in->port, 2);
        if (in->len)
                put(out, in->bytes, in->len);
}

gboolean bh_inspect_unpack_web_input(const guint8 *body, gsize len, BhWebInput *in, GStringChunk **texts) {
        BhBytes b = bh_bytes(body, len);
        gsize n;

        *texts = g_string_chunk_new(128);
        memset(in, 0, sizeof(*in));
        in->connection = take_number(&b, 8);
        in->flags = (guint) take_number(&b, 1);
        in->gap = take_number(&b, 8);
        in->at_ns = (gint64) take_number(&b, 8);
        const guint8 *p = take_printable(&b, BH_WEB_TEXT_MAX, &n);
        in->client = p ? g_string_chunk_insert_len(*texts, (const char *) p, (gssize) n) : "";
        p = take_printable(&b, BH_WEB_TEXT_MAX, &n);
        in->server = p ? g_string_chunk_insert_len(*texts, (const char *) p, (gssize) n) : "";
        in->port = (guint16) take_number(&b, 2);
        in->bytes = b.at;
        in->len = bh_bytes_left(&b);
        if (!b.bad && in->flags <= BH_WEB_FLAGS)
                return TRUE;
        g_clear_pointer(texts, g_string_chunk_free);
        return FALSE;
}

/* ---- answers */

void bh_inspect_pack_web(GByteArray *out, const BhWebFacts *f) {
        put_number(out, f->state, 1);
        put_number(out, f->dropped, 4);
        put_number(out, f->partial, 4);
        put_number(out, f->n_records, 1);
        for (guint i = 0; i < f->n_records; i++) {
                const BhWebRecord *r = &f->records[i];

                put_number(out, r->exchange ? 1 : 0, 1);
                put_number(out, r->version, 1);
                put_number(out, r->number, 8);
                put_number(out, (guint64) r->begin_ns, 8);
                put_number(out, (guint64) r->end_ns, 8);
                put_text(out, r->method, BH_WEB_TEXT_MAX);
                put_text(out, r->target, BH_WEB_TARGET_MAX);
                put_text(out, r->path, BH_WEB_TARGET_MAX);
                put_text(out, r->authority, BH_WEB_TEXT_MAX);
                put_text(out, r->agent, BH_WEB_TEXT_MAX);
                put_text(out, r->forwarded, BH_WEB_TEXT_MAX);
                put_number(out, r->status, 2);
                put_number(out, r->request_anomalies, 4);
                put_number(out, r->response_anomalies, 4);
                put_number(out, r->request_bytes, 8);
                put_number(out, r->response_bytes, 8);
                put_text(out, r->wanted, 16);
                put_number(out, r->score, 4);
                put_number(out, r->matches_dropped, 4);
                put_lines(out, r->whole, BH_WEB_WHOLE_MAX);
                put_number(out, r->n_matches, 1);
                for (guint k = 0; k < r->n_matches; k++) {
                        const BhWebMatch *m = &r->matches[k];

                        put_number(out, m->rule, 4);
                        put_number(out, m->level, 1);
                        put_number(out, m->score, 1);
                        put_number(out, m->count, 2);
                        put_text(out, m->message, BH_WEB_TEXT_MAX);
                        put_text(out, m->matched, BH_WEB_TEXT_MAX);
                }
                put_number(out, r->params_dropped, 2);
                put_number(out, r->n_params, 1);
                for (guint k = 0; k < r->n_params; k++) {
                        const BhWebParam *p = &r->params[k];

                        put_number(out, p->place, 1);
                        put_number(out, p->type, 1);
                        put_number(out, p->length, 1);
                        put_text(out, p->name, BH_WEB_PARAM_NAME_MAX);
                }
        }
}

static void take_matches(BhBytes *b, BhWebRecord *r) {
        guint n = (guint) take_number(b, 1);

        if (n > BH_WEB_FACT_MATCHES_MAX) {
                b->bad = TRUE;
                return;
        }
        r->matches = g_new0(BhWebMatch, n);
        for (; r->n_matches < n && !b->bad; r->n_matches++) {
                BhWebMatch *m = &r->matches[r->n_matches];

                m->rule = (guint32) take_number(b, 4);
                m->level = (guint8) take_number(b, 1);
                m->score = (guint8) take_number(b, 1);
                m->count = (guint16) take_number(b, 2);
                m->message = take_text(b, BH_WEB_TEXT_MAX);
                m->matched = take_text(b, BH_WEB_TEXT_MAX);
                if (m->level > 4 || m->score > 5)
                        b->bad = TRUE;
        }
}

static void take_params(BhBytes *b, BhWebRecord *r) {
        r->params_dropped = (guint) take_number(b, 2);
        guint n = (guint) take_number(b, 1);

        if (n > BH_WEB_FACT_PARAMS_MAX) {
                b->bad = TRUE;
                return;
        }
        r->params = g_new0(BhWebParam, n);
        for (; r->n_params < n && !b->bad; r->n_params++) {
                BhWebParam *p = &r->params[r->n_params];

                p->place = (guint8) take_number(b, 1);
                p->type = (guint8) take_number(b, 1);
                p->length = (guint8) take_number(b, 1);
                p->name = take_text(b, BH_WEB_PARAM_NAME_MAX);
                if (p->place >= BH_WEB_PLACES || p->type >= BH_WEB_TYPES || p->length >= BH_WEB_PARAM_LENGTHS || !*p->name || strchr(p->name, ' '))
                        b->bad = TRUE;
        }
}

static void take_record(BhBytes *b, BhWebRecord *r) {
        guint8 exchange = (guint8) take_number(b, 1);

        r->exchange = exchange == 1;
        r->version = (guint8) take_number(b, 1);
        r->number = take_number(b, 8);
        r->begin_ns = (gint64) take_number(b, 8);
        r->end_ns = (gint64) take_number(b, 8);
        r->method = take_text(b, BH_WEB_TEXT_MAX);
        r->target = take_text(b, BH_WEB_TARGET_MAX);
        r->path = take_text(b, BH_WEB_TARGET_MAX);
        r->authority = take_text(b, BH_WEB_TEXT_MAX);
        r->agent = take_text(b, BH_WEB_TEXT_MAX);
        r->forwarded = take_text(b, BH_WEB_TEXT_MAX);
        r->status = (guint16) take_number(b, 2);
        r->request_anomalies = (guint32) take_number(b, 4);
        r->response_anomalies = (guint32) take_number(b, 4);
        r->request_bytes = take_number(b, 8);
        r->response_bytes = take_number(b, 8);
        r->wanted = take_text(b, 16);
        r->score = (guint32) take_number(b, 4);
        r->matches_dropped = (guint32) take_number(b, 4);
        r->whole = take_lines(b, BH_WEB_WHOLE_MAX);
        if (exchange > 1 || r->version > 20 || r->status > 999)
                b->bad = TRUE;
        take_matches(b, r);
        if (!b->bad)
                take_params(b, r);
}

BhWebFacts *bh_inspect_unpack_web(const guint8 *body, gsize len) {
        BhBytes b = bh_bytes(body, len);
        g_autoptr(BhWebFacts) f = g_new0(BhWebFacts, 1);

        f->state = (guint) take_number(&b, 1);
        f->dropped = (guint32) take_number(&b, 4);
        f->partial = (guint32) take_number(&b, 4);
        guint n = (guint) take_number(&b, 1);
        if (b.bad || n > BH_WEB_RECORDS_MAX || (f->state > 6 && f->state != BH_WEB_UNKNOWN))
                return NULL;
        f->records = g_new0(BhWebRecord, n);
        for (; f->n_records < n && !b.bad; f->n_records++)
                take_record(&b, &f->records[f->n_records]);
        return !b.bad && b.at == b.end ? g_steal_pointer(&f) : NULL;
}
