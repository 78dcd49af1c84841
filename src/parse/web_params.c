/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/web_params.h"

#include <string.h>

#include "parse/redact.h"

#define KEEP 64u          /* of a value: what its type is told by */
#define LOOKED_MAX 256u   /* parameters of a request that are looked at, so that a request of very many costs no more than its bytes */
#define BOUNDARY_MAX 200u /* RFC 2046 has 70 */

/* ---- values */

typedef struct {
        gsize n;
        gboolean control, special, plain_word; /* plain_word: so far nothing else */
        char first[KEEP + 1];
} Value;

static void value_byte(Value *v, guint8 c) {
        v->control |= (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
        v->special |= c && strchr("<>\"'`;|&$(){}\\", c);
        v->plain_word = (!v->n || v->plain_word) && (g_ascii_isalnum((char) c) || c == '_' || c == '-' || c == '.');
        if (v->n < KEEP)
                v->first[v->n] = (char) c;
        v->n++;
}

static gboolean is_number(const char *t) {
        gboolean digits = FALSE, point = FALSE;

        for (t += *t == '-' || *t == '+'; *t; t++) {
                if (*t == '.' && !point)
                        point = TRUE;
                else if (g_ascii_isdigit(*t))
                        digits = TRUE;
                else
                        return FALSE;
        }
        return digits;
}

static guint type_of(const Value *v) {
        g_autofree char *kind = NULL;

        if (!v->n)
                return BH_WEB_TYPE_EMPTY;
        if (v->control)
                return BH_WEB_TYPE_BINARY;
        if (v->special)
                return BH_WEB_TYPE_CODE;
        if (v->n <= KEEP && (!g_ascii_strcasecmp(v->first, "true") || !g_ascii_strcasecmp(v->first, "false")))
                return BH_WEB_TYPE_BOOLEAN;
        if (v->n <= KEEP && is_number(v->first))
                return BH_WEB_TYPE_NUMBER;
        if (strchr(v->first, '/'))
                return BH_WEB_TYPE_TEXT;
        kind = bh_http_path_template(v->first);
        if (g_str_equal(kind, "{uuid}") || g_str_equal(kind, "{hex}") || g_str_equal(kind, "{token}"))
                return BH_WEB_TYPE_ID;
        return v->plain_word ? BH_WEB_TYPE_WORD : BH_WEB_TYPE_TEXT;
}

static const guint lengths[BH_WEB_PARAM_LENGTHS - 1] = { BH_WEB_LENGTH_BOUNDS };

static guint length_of(gsize n) {
        guint i = 0;

        while (i < G_N_ELEMENTS(lengths) && n > lengths[i])
                i++;
        return i;
}

/* ---- names */

/* "items[17][size]": numbers in brackets say which, and not what. */
static void put_name(GString *out, const char *p, gsize n) {
        for (gsize i = 0; i < n; i++) {
                gsize end = i + 1;

                while (p[i] == '[' && end < n && g_ascii_isdigit(p[end]))
                        end++;
                if (end > i + 1 && end < n && p[end] == ']') {
                        g_string_append(out, "[{n}");
                        i = end - 1;
                } else {
                        g_string_append_c(out, g_ascii_isgraph(p[i]) ? p[i] : '?');
                }
        }
}

static char *clean_name(const char *p, gsize n) {
        g_autoptr(GString) plain = g_string_sized_new(n);
        g_autofree char *template = NULL;

        if (!n)
                return g_strdup("{none}");
        if (n > BH_WEB_PARAM_NAME_MAX)
                return g_strdup("{long}");
        put_name(plain, p, n);
        template = bh_http_path_template(plain->str);
        char *name = bh_redact_text(template, strlen(template));
        for (char *c = name; *c; c++)
                if (!g_ascii_isgraph(*c)) /* the template's "…" */
                        *c = '?';
        if (strlen(name) > BH_WEB_PARAM_NAME_MAX)
                name[BH_WEB_PARAM_NAME_MAX] = 0;
        return name;
}

typedef struct {
        BhWebParam *out;
        guint n, max, dropped, looked;
} Params;

static void add(Params *a, guint place, const char *name, gsize name_len, guint type, gsize bytes) {
        if (a->looked >= LOOKED_MAX) {
                a->dropped++;
                return;
        }
        a->looked++;
        gboolean secret = bh_redact_is_secret(name, MIN(name_len, BH_WEB_PARAM_NAME_MAX));
        g_autofree char *clean = clean_name(name, name_len);
        guint length = secret ? 0 : length_of(bytes);

        if (secret)
                type = BH_WEB_TYPE_SECRET;
        for (guint i = 0; i < a->n; i++) {
                BhWebParam *p = &a->out[i];

                if (p->place == place && p->type == type && g_str_equal(p->name, clean)) {
                        p->length = (guint8) MAX(p->length, length);
                        return;
                }
        }
        if (a->n >= a->max) {
                a->dropped++;
                return;
        }
        a->out[a->n++] = (BhWebParam){ .place = (guint8) place, .type = (guint8) type, .length = (guint8) length, .name = g_steal_pointer(&clean) };
}

/* ---- queries and forms */

/* The byte at *i, percent-encoding undone; moves on. */
static guint8 form_byte(const char *p, gsize n, gsize *i) {
        char c = p[(*i)++];

        if (c == '%' && *i + 1 < n && g_ascii_isxdigit(p[*i]) && g_ascii_isxdigit(p[*i + 1])) {
                guint8 byte = (guint8) (g_ascii_xdigit_value(p[*i]) << 4 | g_ascii_xdigit_value(p[*i + 1]));

                *i += 2;
                return byte;
        }
        return (guint8) (c == '+' ? ' ' : c);
}

static void one_of_form(Params *a, guint place, const char *p, gsize n) {
        const char *mark = memchr(p, '=', n);
        gsize name_len = mark ? (gsize) (mark - p) : 0, k = 0;
        char name[BH_WEB_PARAM_NAME_MAX + 2];
        Value v = { 0 };

        for (gsize i = 0; i < name_len && k <= BH_WEB_PARAM_NAME_MAX;)
                name[k++] = (char) form_byte(p, name_len, &i);
        if (memchr(name, '{', k) || memchr(name, '"', k)) /* JSON, up to a '=' in one of its values */
                mark = NULL;
        for (gsize i = mark ? name_len + 1 : 0; i < n;)
                value_byte(&v, form_byte(p, n, &i));
        if (mark)
                add(a, place, name, k, type_of(&v), v.n);
        else
                add(a, place, "{bare}", strlen("{bare}"), type_of(&v), v.n);
}

/* `cut`: the last one goes on behind what is there. */
static void form(Params *a, guint place, const char *p, gsize n, gboolean cut) {
        for (gsize i = 0; i < n;) {
                const char *end = memchr(p + i, '&', n - i);
                gsize len = end ? (gsize) (end - p) - i : n - i;

                if ((!end && cut) || (len && a->looked >= LOOKED_MAX))
                        a->dropped++;
                else if (len)
                        one_of_form(a, place, p + i, len);
                i += len + 1;
        }
}

/* ---- JSON */

typedef struct {
        const char *at, *end;
} Text;

static void skip_space(Text *t) {
        while (t->at < t->end && strchr(" \t\r\n", *t->at) && *t->at)
                t->at++;
}

/* A string from its '"' on, into v (or passed over); FALSE: it does not end here. */
static gboolean json_string(Text *t, Value *v) {
        for (t->at++; t->at < t->end; t->at++) {
                if (*t->at == '"') {
                        t->at++;
                        return TRUE;
                }
                if (*t->at == '\\') {
                        if (++t->at >= t->end)
                                return FALSE;
                        if (v)
                                value_byte(v, strchr("nrt", *t->at) && *t->at ? ' ' : (guint8) *t->at);
                } else if (v) {
                        value_byte(v, (guint8) *t->at);
                }
        }
        return FALSE;
}

/* An object or array, as deep as it may be. */
static gboolean json_nested(Text *t) {
        gsize depth = 0;

        while (t->at < t->end) {
                char c = *t->at;

                if (c == '"') {
                        if (!json_string(t, NULL))
                                return FALSE;
                        continue;
                }
                t->at++;
                depth += c == '{' || c == '[';
                depth -= c == '}' || c == ']';
                if (!depth)
                        return TRUE;
        }
        return FALSE;
}

static gboolean json_value(Text *t, guint *type, gsize *bytes) {
        const char *from = t->at;
        Value v = { 0 };

        if (from >= t->end)
                return FALSE;
        if (*from == '{' || *from == '[') {
                *type = *from == '{' ? BH_WEB_TYPE_OBJECT : BH_WEB_TYPE_ARRAY;
                if (!json_nested(t))
                        return FALSE;
                *bytes = (gsize) (t->at - from);
                return TRUE;
        }
        if (*from == '"') {
                if (!json_string(t, &v))
                        return FALSE;
        } else {
                while (t->at < t->end && (g_ascii_isalnum(*t->at) || *t->at == '-' || *t->at == '+' || *t->at == '.'))
                        value_byte(&v, (guint8) *t->at++);
                if (!v.n || t->at >= t->end) /* of a number that is cut nobody knows the length */
                        return FALSE;
                if (g_str_equal(v.first, "null"))
                        v.n = 0;
        }
        *type = *from == '-' || g_ascii_isdigit(*from) ? BH_WEB_TYPE_NUMBER : type_of(&v); /* "1e9" */
        *bytes = v.n;
        return TRUE;
}

static void json(Params *a, const char *p, gsize n) {
        Text t = { p, p + n };

        skip_space(&t);
        if (t.at >= t.end || *t.at != '{')
                return;
        for (t.at++;; t.at++) {
                guint type;
                gsize bytes;

                skip_space(&t);
                if (t.at >= t.end || *t.at != '"') {
                        a->dropped += t.at >= t.end || *t.at != '}';
                        return;
                }
                const char *name = t.at + 1;
                if (!json_string(&t, NULL))
                        break;
                gsize len = (gsize) (t.at - 1 - name);
                skip_space(&t);
                if (t.at >= t.end || *t.at++ != ':')
                        break;
                skip_space(&t);
                if (!json_value(&t, &type, &bytes))
                        break;
                add(a, BH_WEB_PLACE_JSON, name, len, type, bytes);
                skip_space(&t);
                if (t.at >= t.end || *t.at != ',') {
                        a->dropped += t.at >= t.end || *t.at != '}';
                        return;
                }
        }
        a->dropped++;
}

/* ---- forms in parts (RFC 7578) */

/* The value of a parameter of a field, with or without quotes; NULL: none. */
static const char *field_param(const char *p, gsize n, const char *name, gsize *len) {
        gsize w = strlen(name);

        for (gsize i = 1; i + w < n; i++) {
                if (g_ascii_strncasecmp(p + i, name, w) || p[i + w] != '=' || (p[i - 1] != ';' && p[i - 1] != ' ' && p[i - 1] != '\t'))
                        continue;
                const char *v = p + i + w + 1, *end = p + n;
                gboolean quoted = v < end && *v == '"';
                const char *stop = v += quoted;

                while (stop < end && (quoted ? *stop != '"' : *stop != ';' && *stop != ' ' && *stop != '\r'))
                        stop++;
                *len = (gsize) (stop - v);
                return v;
        }
        return NULL;
}

static void part(Params *a, const char *p, gsize n) {
        const char *body = memmem(p, n, "\r\n\r\n", 4);
        gsize head = body ? (gsize) (body - p) : n, len, unused;

        for (gsize i = 0; i + 20 < head; i++) {
                if (g_ascii_strncasecmp(p + i, "Content-Disposition:", 20))
                        continue;
                const char *line = p + i, *end = memchr(line, '\n', head - i);
                gsize line_len = end ? (gsize) (end - line) : head - i;
                const char *name = field_param(line, line_len, "name", &len);
                if (!name || !body)
                        break;
                Value v = { 0 };
                for (const char *c = body + 4; c < p + n; c++)
                        value_byte(&v, (guint8) *c);
                add(a, BH_WEB_PLACE_FORM, name, len, field_param(line, line_len, "filename", &unused) ? BH_WEB_TYPE_FILE : type_of(&v), v.n);
                return;
        }
        a->dropped++;
}

static void parts(Params *a, const char *content_type, const char *p, gsize n) {
        g_autofree char *mark = NULL;
        gsize len;
        const char *boundary = field_param(content_type, strlen(content_type), "boundary", &len), *at, *next;

        if (!boundary || !len || len > BOUNDARY_MAX)
                return;
        mark = g_strdup_printf("--%.*s", (int) len, boundary);
        if (!(at = memmem(p, n, mark, len + 2))) /* a zero ends nothing */
                return;
        for (at += len + 2; (gsize) (p + n - at) > 2 && at[0] == '\r'; at = next + len + 2) {
                next = memmem(at, (gsize) (p + n - at), mark, len + 2);
                if (!next) { /* it goes on behind what is there */
                        a->dropped++;
                        return;
                }
                gsize part_len = (gsize) (next - at);
                part(a, at, part_len >= 2 ? part_len - 2 : part_len);
        }
}

/* ---- all of it */

guint bh_web_params(const BhHttpMessage *m, BhWebParam *out, guint max, guint *dropped) {
        Params a = { .out = out, .max = MIN(max, BH_WEB_PARAMS_REQUEST) };
        const char *query = bh_http_query(m), *type = bh_http_field(m, "Content-Type"), *body = (const char *) m->body->data;
        gsize len = m->body->len;

        form(&a, BH_WEB_PLACE_QUERY, query, strcspn(query, "#"), FALSE);
        if (type && len) {
                gsize end = strcspn(type, ";");

                if (g_ascii_strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0)
                        form(&a, BH_WEB_PLACE_FORM, body, len, m->body_cut);
                else if (g_ascii_strncasecmp(type, "multipart/form-data", 19) == 0)
                        parts(&a, type, body, len);
                else if (g_ascii_strncasecmp(type, "application/json", 16) == 0 || (g_strstr_len(type, (gssize) end, "+json")))
                        json(&a, body, len);
        }
        *dropped = a.dropped;
        return a.n;
}
