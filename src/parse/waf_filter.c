/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/waf_filter.h"

#include <string.h>

#include "parse/waf_words.h"

struct BhWafFilter {
        BhWafWords *words;
};

BhWafFilter *bh_waf_filter_new(const char *rules_dir, GError **error) {
        g_autoptr(BhWafFilter) f = g_new0(BhWafFilter, 1);

        f->words = bh_waf_words_new(rules_dir, error);
        return f->words ? g_steal_pointer(&f) : NULL;
}

void bh_waf_filter_free(BhWafFilter *f) {
        if (!f)
                return;
        bh_waf_words_free(f->words);
        g_free(f);
}

gsize bh_waf_filter_bytes(const BhWafFilter *f) {
        return bh_waf_words_bytes(f->words);
}

/* ---- looking */

/* Percent-encoding taken off once; what is left of another one has a '%' that nothing allows. */
static gsize decode(const char *p, gsize n, gboolean plus, char *out) {
        gsize o = 0;

        for (gsize i = 0; i < n; i++) {
                if (p[i] == '%' && i + 2 < n && g_ascii_isxdigit(p[i + 1]) && g_ascii_isxdigit(p[i + 2])) {
                        out[o++] = (char) (g_ascii_xdigit_value(p[i + 1]) << 4 | g_ascii_xdigit_value(p[i + 2]));
                        i += 2;
                } else {
                        out[o++] = plus && p[i] == '+' ? ' ' : p[i];
                }
        }
        return o;
}

static gboolean plain_pairs(const BhWafLook *l, const char *p, gsize n, char separator, gboolean *word) {
        g_autofree char *copy = g_malloc(n + 1);
        gboolean good = TRUE;

        for (gsize i = 0; i <= n;) {
                const char *amp = i < n ? memchr(p + i, separator, n - i) : NULL;
                gsize end = amp ? (gsize) (amp - p) : n;
                const char *equals = end > i ? memchr(p + i, '=', end - i) : NULL;
                gsize middle = equals ? (gsize) (equals - p) : end;

                good &= bh_waf_look_plain(l, copy, decode(p + i, middle - i, TRUE, copy), word);
                if (equals)
                        good &= bh_waf_look_plain(l, copy, decode(p + middle + 1, end - middle - 1, TRUE, copy), word);
                i = end + 1;
        }
        return good;
}

/* Cookies are values; a Referer is the address of a page, with a scheme; of the others programs read little, and their form has more characters. */
static gboolean plain_field(const BhWafFilter *f, const BhHttpField *field, gboolean *word) {
        const char *v = field->value;
        gsize n = strlen(v);

        if (g_ascii_strcasecmp(field->name, "Cookie") == 0) {
                BhWafLook l = bh_waf_look_for(f->words, BH_WAF_STRONG | BH_WAF_WEAK, BH_WAF_IN_VALUE);

                return plain_pairs(&l, v, n, ';', word);
        }
        if (g_ascii_strcasecmp(field->name, "Referer") == 0 || g_ascii_strcasecmp(field->name, "Origin") == 0) {
                gsize scheme = g_str_has_prefix(v, "https://") ? 8 : g_str_has_prefix(v, "http://") ? 7 : 0, host = scheme ? scheme + strcspn(v + scheme, "/?#") : 0;
                BhWafLook l = bh_waf_look_for(f->words, BH_WAF_STRONG, BH_WAF_IN_VALUE "?&=");
                g_autofree char *decoded = g_malloc(n + 1);

                return bh_waf_look_plain(&l, decoded, decode(v + host, n - host, FALSE, decoded), word);
        }
        if (g_ascii_strcasecmp(field->name, "Content-Type") == 0) {
                /* one type and at most one parameter */
                BhWafLook l = bh_waf_look_for(f->words, 0, "/-+.;= _");
                const char *slash = strchr(v, '/'), *semicolon = strchr(v, ';');

                return bh_waf_look_plain(&l, v, n, word) && !(slash && strchr(slash + 1, '/')) && !(semicolon && strchr(semicolon + 1, ';'));
        }
        if (g_ascii_strcasecmp(field->name, "Host") == 0 || g_ascii_strncasecmp(field->name, "Accept", 6) == 0) {
                BhWafLook l = bh_waf_look_for(f->words, 0, BH_WAF_IN_FIELD);

                return bh_waf_look_plain(&l, v, n, word);
        }
        BhWafLook l = bh_waf_look_for(f->words, BH_WAF_SCANNER | (g_ascii_strcasecmp(field->name, "User-Agent") == 0 ? 0 : BH_WAF_STRONG), BH_WAF_IN_FIELD);
        g_autofree char *decoded = g_malloc(n + 1);

        return bh_waf_look_plain(&l, decoded, decode(v, n, FALSE, decoded), word);
}

static gboolean content_is(const char *type, const char *what) {
        return g_ascii_strncasecmp(type, what, strlen(what)) == 0;
}

/* ---- what is unusual */

static gboolean one_of(const char *text, const char *const *list) {
        for (; *list; list++)
                if (g_ascii_strcasecmp(text, *list) == 0)
                        return TRUE;
        return FALSE;
}

static gboolean is_address(const char *host) {
        return *host == '[' || (*host && !host[strspn(host, "0123456789.:")]);
}

static gboolean usual_field(const BhHttpField *field, const BhHttpMessage *m) {
        static const char *const rare[] = { "Proxy", "Lock-Token", "Content-Range", "Translate", "If", "Range", "Request-Range", "Expect", "Content-Encoding", "x-up-devcap-post-charset", "Accept-Charset", NULL };
        static const char *const connection[] = { "keep-alive", "close", "upgrade", NULL };
        static const char *const cache[] = { "no-cache", "max-age=0", "no-store", NULL };
        static const char *const types[] = { "application/x-www-form-urlencoded", "application/json", NULL };
        const char *v = field->value;

        if (one_of(field->name, rare))
                return FALSE;
        if (g_ascii_strcasecmp(field->name, "Connection") == 0)
                return one_of(v, connection);
        if (g_ascii_strcasecmp(field->name, "Cache-Control") == 0)
                return one_of(v, cache);
        if (g_ascii_strcasecmp(field->name, "Content-Type") == 0)
                return one_of(v, types);
        if (g_ascii_strcasecmp(field->name, "Accept-Encoding") == 0)
                return strlen(v) <= 50;
        if (g_ascii_strcasecmp(field->name, "Accept") == 0)
                return !strstr(v, "charset");
        for (guint i = 0; &m->fields[i] != field; i++)
                if (g_ascii_strcasecmp(m->fields[i].name, field->name) == 0)
                        return FALSE;
        return TRUE;
}

static gboolean same_name_twice(const char *query) {
        g_auto(GStrv) pairs = g_strsplit(query, "&", 33);
        guint n = g_strv_length(pairs);

        if (n > 32)
                return TRUE;
        for (guint i = 0; i < n; i++)
                for (guint k = 0; k < i; k++) {
                        gsize len = strcspn(pairs[i], "=");

                        if (len == strcspn(pairs[k], "=") && memcmp(pairs[i], pairs[k], len) == 0)
                                return TRUE;
                }
        return FALSE;
}

static gboolean usual(const BhHttpMessage *m) {
        const char *agent = bh_http_field(m, "User-Agent"), *accept = bh_http_field(m, "Accept"), *length = bh_http_field(m, "Content-Length");

        if (!agent || !*agent || !accept || !*accept || !*m->authority || is_address(m->authority))
                return FALSE;
        if (strcmp(m->method, "POST") == 0 && !length && !bh_http_field(m, "Transfer-Encoding") && m->version != 20)
                return FALSE;
        for (guint i = 0; i < m->n_fields; i++)
                if (!usual_field(&m->fields[i], m))
                        return FALSE;
        return !same_name_twice(bh_http_query(m));
}

static gboolean plain_body(const BhWafFilter *f, const BhHttpMessage *m, gboolean strict, gboolean *word) {
        const char *type = bh_http_field(m, "Content-Type"), *body = (const char *) m->body->data;

        if (!m->body->len)
                return TRUE;
        if (!type || m->body_cut)
                return FALSE;
        if (content_is(type, "application/x-www-form-urlencoded")) {
                BhWafLook l = bh_waf_look_for(f->words, BH_WAF_STRONG | BH_WAF_WEAK, strict ? BH_WAF_IN_VALUE_STRICT : BH_WAF_IN_VALUE);

                return plain_pairs(&l, body, m->body->len, '&', word);
        }
        if (content_is(type, "application/json") && !strict) {
                BhWafLook l = bh_waf_look_for(f->words, BH_WAF_STRONG, BH_WAF_IN_JSON);

                return bh_waf_look_plain(&l, body, m->body->len, word);
        }
        return FALSE;
}

static gboolean say(const char **why, const char *what) {
        if (why)
                *why = what;
        return what != NULL;
}

gboolean bh_waf_filter_wants(const BhWafFilter *f, const BhHttpMessage *m, gboolean strict, const char **why) {
        static const char *const methods[] = { "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS" };
        const char *query = bh_http_query(m);
        g_autofree char *path = bh_http_path(m), *decoded = g_malloc(strlen(path) + 1);
        BhWafLook segments = bh_waf_look_for(f->words, BH_WAF_STRONG | BH_WAF_SCANNER, BH_WAF_IN_PATH), values = bh_waf_look_for(f->words, BH_WAF_STRONG | BH_WAF_WEAK, strict ? BH_WAF_IN_VALUE_STRICT : BH_WAF_IN_VALUE);
        gboolean known = FALSE, word = FALSE;

        for (gsize i = 0; i < G_N_ELEMENTS(methods); i++)
                known |= strcmp(m->method, methods[i]) == 0;
        if (!known)
                return say(why, "method");
        if (m->anomalies)
                return say(why, "anomaly");
        if (!bh_waf_look_plain(&segments, decoded, decode(path, strlen(path), FALSE, decoded), &word) || strchr(m->target, '#') || !bh_waf_usual_extension(path, strlen(path)))
                return say(why, "path");
        if (strict && !usual(m))
                return say(why, "form");
        if (!plain_pairs(&values, query, strlen(query), '&', &word))
                return say(why, "query");
        for (guint i = 0; i < m->n_fields; i++)
                if (!plain_field(f, &m->fields[i], &word))
                        return say(why, "field");
        if (!plain_body(f, m, strict, &word))
                return say(why, "body");
        return say(why, word ? "word" : NULL);
}
