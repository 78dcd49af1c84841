/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/http.h"

#include <string.h>

BhHttpMessage *bh_http_message_new(void) {
        BhHttpMessage *m = g_new0(BhHttpMessage, 1);

        m->method = g_strdup("");
        m->target = g_strdup("");
        m->authority = g_strdup("");
        m->scheme = g_strdup("");
        m->body = g_byte_array_new();
        return m;
}

void bh_http_message_free(BhHttpMessage *m) {
        if (!m)
                return;
        for (guint i = 0; i < m->n_fields; i++) {
                g_free(m->fields[i].name);
                g_free(m->fields[i].value);
        }
        g_free(m->fields);
        g_free(m->method);
        g_free(m->target);
        g_free(m->authority);
        g_free(m->scheme);
        g_byte_array_unref(m->body);
        g_free(m);
}

void bh_http_exchange_free(BhHttpExchange *x) {
        if (!x)
                return;
        bh_http_message_free(x->request);
        bh_http_message_free(x->response);
        g_free(x);
}

BhHttpExchange *bh_http_exchange_steal(BhHttpExchange *x) {
        BhHttpExchange *own = g_new0(BhHttpExchange, 1);

        own->request = g_steal_pointer(&x->request);
        own->response = g_steal_pointer(&x->response);
        return own;
}

static char *text_of(const char *p, gsize n) {
        char *t = g_malloc(n + 1);

        for (gsize i = 0; i < n; i++)
                t[i] = p[i] ? p[i] : '?';
        t[n] = 0;
        return t;
}

void bh_http_add_field(BhHttpMessage *m, const char *name, gsize name_len, const char *value, gsize value_len) {
        if (m->n_fields >= BH_HTTP_FIELDS_MAX) {
                m->fields_dropped++;
                m->anomalies |= BH_HTTP_HEAD_BOUND;
                return;
        }
        if (m->n_fields % 16 == 0)
                m->fields = g_renew(BhHttpField, m->fields, m->n_fields + 16);
        m->fields[m->n_fields++] = (BhHttpField) { .name = text_of(name, name_len), .value = text_of(value, value_len) };
}

const char *bh_http_field(const BhHttpMessage *m, const char *name) {
        for (guint i = 0; i < m->n_fields; i++)
                if (g_ascii_strcasecmp(m->fields[i].name, name) == 0)
                        return m->fields[i].value;
        return NULL;
}

const char *bh_http_query(const BhHttpMessage *m) {
        const char *mark = strchr(m->target, '?');

        return mark ? mark + 1 : "";
}

char *bh_http_path(const BhHttpMessage *m) {
        const char *p = m->target, *scheme = strstr(p, "://");

        /* absolute form: only where the scheme comes before anything else */
        if (scheme && scheme > p && strcspn(p, "/?#") >= (gsize) (scheme - p)) {
                p = scheme + 3;
                p += strcspn(p, "/?#");
                if (*p != '/')
                        return g_strdup("/");
        }
        return g_strndup(p, strcspn(p, "?#"));
}

/* ---- templates */

static gboolean all_of(const char *p, gsize n, gboolean (*is)(char c)) {
        for (gsize i = 0; i < n; i++)
                if (!is(p[i]))
                        return FALSE;
        return n > 0;
}

static gboolean is_digit(char c) {
        return g_ascii_isdigit(c);
}

static gboolean is_hex(char c) {
        return g_ascii_isxdigit(c);
}

static gboolean is_token(char c) {
        return g_ascii_isalnum(c) || c == '_' || c == '-' || c == '=' || c == '.' || c == '~';
}

/* Digits and letters mixed as in a random text; words and file names are not. */
static gboolean looks_random(const char *p, gsize n) {
        guint digits = 0, turns = 0;

        for (gsize i = 0; i < n; i++) {
                digits += g_ascii_isdigit(p[i]);
                turns += i && g_ascii_isdigit(p[i]) != g_ascii_isdigit(p[i - 1]);
        }
        return digits >= 2 && turns >= 4;
}

static const char *kind_of(const char *p, gsize n) {
        if (all_of(p, n, is_digit))
                return "{n}";
        if (n == 36 && p[8] == '-' && p[13] == '-' && p[18] == '-' && p[23] == '-' && all_of(p, 8, is_hex) && all_of(p + 24, 12, is_hex))
                return "{uuid}";
        if (n == 10 && p[4] == '-' && p[7] == '-' && all_of(p, 4, is_digit) && all_of(p + 5, 2, is_digit) && all_of(p + 8, 2, is_digit))
                return "{date}";
        if (n >= 8 && all_of(p, n, is_hex) && looks_random(p, n))
                return "{hex}";
        if (n >= 20 && all_of(p, n, is_token) && looks_random(p, n))
                return "{token}";
        return NULL;
}

char *bh_http_path_template(const char *path) {
        GString *out = g_string_new(NULL);
        guint segments = 0;

        while (*path) {
                if (*path == '/') {
                        if (++segments > 16) {
                                g_string_append(out, "/…");
                                break;
                        }
                        g_string_append_c(out, *path++);
                        continue;
                }
                gsize n = strcspn(path, "/");
                const char *kind = kind_of(path, n);

                if (kind)
                        g_string_append(out, kind);
                else
                        g_string_append_len(out, path, (gssize) n);
                path += n;
        }
        return g_string_free(out, FALSE);
}

/* ---- names */

static const char *const anomalies[] = {
#define BH_HTTP_ANOMALY(ID, number, text, sentence) [number] = text,
#include "parse/http_anomalies.tbl.h"
#undef BH_HTTP_ANOMALY
};

const char *bh_http_anomaly_name(guint bit) {
        return bit < G_N_ELEMENTS(anomalies) ? anomalies[bit] : NULL;
}
