/* SPDX-License-Identifier: Apache-2.0 */
#include "http_check.h"

#include <string.h>

/* Headers that decide something here: two of them would let two readers decide differently. */
static const char *const single[] = {
        "host", "content-length", "content-type", "content-encoding", "authorization", "cookie", "origin", "expect", "upgrade", "connection",
        "x-bulkhead-csrf", "last-event-id", "if-none-match", "sec-fetch-site",
};

static gboolean refuse(BhHttpRefusal *r, guint status, const char *code, const char *why) {
        *r = (BhHttpRefusal){ status, code, why };
        return FALSE;
}

/* RFC 9110 5.6.2 */
static gboolean is_token(const char *p, gsize len) {
        for (gsize i = 0; i < len; i++)
                if (!g_ascii_isalnum(p[i]) && (!p[i] || !strchr("!#$%&'*+-.^_`|~", p[i])))
                        return FALSE;
        return len > 0;
}

static gboolean is_value(const char *p, gsize len) {
        for (gsize i = 0; i < len; i++)
                if (((guchar) p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
                        return FALSE;
        return TRUE;
}

static gboolean name_is(const BhHttpField *f, const char *name) {
        return strlen(name) == f->name_len && g_ascii_strncasecmp(f->name, name, f->name_len) == 0;
}

/* host [":" port], or an address in brackets */
static gboolean is_host(const char *p, gsize len) {
        gsize i = 0;

        if (!len || len > 255)
                return FALSE;
        if (p[0] == '[') {
                for (i = 1; i < len && (g_ascii_isxdigit(p[i]) || p[i] == ':' || p[i] == '.'); i++)
                        ;
                if (i == 1 || i == len || p[i] != ']')
                        return FALSE;
                i++;
        } else {
                for (; i < len && (g_ascii_isalnum(p[i]) || p[i] == '-' || p[i] == '.' || p[i] == '_'); i++)
                        ;
                if (i == 0)
                        return FALSE;
        }
        if (i == len)
                return TRUE;
        if (p[i++] != ':' || i == len || len - i > 5)
                return FALSE;
        for (; i < len; i++)
                if (!g_ascii_isdigit(p[i]))
                        return FALSE;
        return TRUE;
}

/*
 * The head as it must have looked on the wire: each string where the one before ended, with one space, or CRLF, between. libmicrohttpd
 * cuts the lines in place, so equality of these pointers proves that there was nothing else: a bare LF makes the gap one byte short, a
 * NUL byte or a folded line makes it longer.
 */
static gboolean is_seamless(const BhHttpHead *h) {
        const char *at = h->method + strlen(h->method) + 1;

        if (h->uri != at)
                return FALSE;
        at += h->uri_len + 1;
        if (h->version != at)
                return FALSE;
        at += strlen(h->version) + 2;
        for (guint i = 0; i < h->n_fields; i++) {
                const BhHttpField *f = &h->fields[i];

                if (f->name != at || f->value < f->name + f->name_len + 1)
                        return FALSE;
                at = f->value + f->value_len + 2;
        }
        return at + 2 == h->method + h->head_len;
}

gboolean bh_http_head_check(const BhHttpHead *head, guint64 *body_len, BhHttpRefusal *r) {
        static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
        gboolean known = FALSE, have_length = FALSE, have_host = FALSE;
        guint seen[G_N_ELEMENTS(single)] = { 0 };
        guint64 length = 0;

        if (head->too_many)
                return refuse(r, 431, "too_many_headers", "the request has more than 64 headers");
        if (head->head_len > BH_HTTP_HEAD_MAX)
                return refuse(r, 431, "headers_too_large", "the request's headers are larger than 16 KiB");
        if (strcmp(head->version, "HTTP/1.1") && strcmp(head->version, "HTTP/1.0"))
                return refuse(r, 400, "bad_request", "only HTTP/1.1 and HTTP/1.0 are spoken here");
        for (guint i = 0; i < head->n_fields; i++) {
                const BhHttpField *f = &head->fields[i];

                if (!is_token(f->name, f->name_len) || !is_value(f->value, f->value_len))
                        return refuse(r, 400, "bad_header", "a header has a malformed name or value");
        }
        if (!is_seamless(head))
                return refuse(r, 400, "bad_framing", "the request's head is not made of lines that end with CRLF");
        for (guint i = 0; i < G_N_ELEMENTS(methods); i++)
                known |= g_str_equal(head->method, methods[i]);

        for (guint i = 0; i < head->n_fields; i++) {
                const BhHttpField *f = &head->fields[i];

                for (guint k = 0; k < G_N_ELEMENTS(single); k++)
                        if (name_is(f, single[k]) && ++seen[k] > 1)
                                return refuse(r, 400, "duplicate_header", "a header that must be unique is there twice");
                if (name_is(f, "transfer-encoding"))
                        return refuse(r, 400, "transfer_encoding", "Transfer-Encoding is not accepted; send a Content-Length");
                if (name_is(f, "host")) {
                        if (!is_host(f->value, f->value_len))
                                return refuse(r, 400, "bad_host", "the Host header is malformed");
                        have_host = TRUE;
                }
                if (name_is(f, "content-length")) {
                        if (!f->value_len || f->value_len > 12)
                                return refuse(r, f->value_len ? 413 : 400, "bad_length", "the Content-Length is not a number that is accepted here");
                        for (gsize k = 0; k < f->value_len; k++) {
                                if (!g_ascii_isdigit(f->value[k]))
                                        return refuse(r, 400, "bad_length", "the Content-Length is not a number");
                                length = length * 10 + (guint64) (f->value[k] - '0');
                        }
                        have_length = TRUE;
                }
                if (name_is(f, "content-encoding") && !(f->value_len == 8 && g_ascii_strncasecmp(f->value, "identity", 8) == 0))
                        return refuse(r, 415, "content_encoding", "compressed bodies are not accepted");
                if (name_is(f, "expect") && !(f->value_len == 12 && g_ascii_strncasecmp(f->value, "100-continue", 12) == 0))
                        return refuse(r, 417, "expectation_failed", "only \"Expect: 100-continue\" is understood");
        }
        if (!have_host)
                return refuse(r, 400, "bad_host", "the request has no Host header");
        if (!known)
                return refuse(r, 501, "unknown_method", "this method is not used here");
        if (length && (g_str_equal(head->method, "GET") || g_str_equal(head->method, "HEAD")))
                return refuse(r, 400, "unexpected_body", "GET and HEAD have no body");
        if (!have_length && (g_str_equal(head->method, "POST") || g_str_equal(head->method, "PUT") || g_str_equal(head->method, "PATCH")))
                return refuse(r, 411, "length_required", "a Content-Length is required");
        *body_len = length;
        return TRUE;
}

/* ---- the target ---- */

/* Decodes %XX, and '+' in a query. NULL for a malformed or forbidden sequence. */
static char *decode(const char *p, gsize len, gboolean query) {
        g_autofree char *out = g_malloc(len + 1);
        gsize n = 0;

        for (gsize i = 0; i < len; i++) {
                guchar c = (guchar) p[i];

                if (c == '%') {
                        if (i + 2 >= len || !g_ascii_isxdigit(p[i + 1]) || !g_ascii_isxdigit(p[i + 2]))
                                return NULL;
                        c = (guchar) (g_ascii_xdigit_value(p[i + 1]) << 4 | g_ascii_xdigit_value(p[i + 2]));
                        i += 2;
                        /* encoded, these three could change what the path means to somebody who decodes later */
                        if (!query && (c == '/' || c == '\\' || c == '.'))
                                return NULL;
                } else if (c == '+' && query) {
                        c = ' ';
                } else if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}#", c)) {
                        return NULL;
                }
                if (c == 0 || (c < 0x20 && !(query && (c == '\n' || c == '\t'))) || c == 0x7f)
                        return NULL;
                out[n++] = (char) c;
        }
        out[n] = '\0';
        return g_utf8_validate(out, (gssize) n, NULL) ? g_steal_pointer(&out) : NULL;
}

static gboolean parse_path(const char *p, gsize len, BhHttpTarget *t) {
        g_autoptr(GPtrArray) segments = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GString) path = g_string_new(NULL);

        if (!len || p[0] != '/')
                return FALSE;
        for (gsize i = 1; i < len;) {
                const char *end = memchr(p + i, '/', len - i);
                gsize n = end ? (gsize) (end - p) - i : len - i;
                g_autofree char *segment = decode(p + i, n, FALSE);

                if (!segment || !*segment || g_str_equal(segment, ".") || g_str_equal(segment, "..") || segments->len >= BH_HTTP_SEGMENTS_MAX)
                        return FALSE;
                g_string_append_printf(path, "/%s", segment);
                g_ptr_array_add(segments, g_steal_pointer(&segment));
                i += n + 1;
                if (i == len && end)
                        return FALSE; /* a slash at the end is another spelling */
        }
        if (!path->len)
                g_string_append_c(path, '/');
        g_ptr_array_add(segments, NULL);
        t->segments = (char **) g_ptr_array_free(g_steal_pointer(&segments), FALSE);
        t->path = g_string_free(g_steal_pointer(&path), FALSE);
        return TRUE;
}

static const char *parse_query(const char *p, GHashTable *params) {
        g_auto(GStrv) parts = g_strsplit(p, "&", BH_HTTP_PARAMS_MAX + 2);

        if (!*p)
                return NULL;
        if (g_strv_length(parts) > BH_HTTP_PARAMS_MAX)
                return "the query has more than 32 parameters";
        for (guint i = 0; parts[i]; i++) {
                const char *eq = strchr(parts[i], '=');
                gsize n = eq ? (gsize) (eq - parts[i]) : strlen(parts[i]);
                g_autofree char *name = decode(parts[i], n, TRUE), *value = eq ? decode(eq + 1, strlen(eq + 1), TRUE) : g_strdup("");

                if (!name || !*name || !value)
                        return "the query is malformed";
                if (g_hash_table_contains(params, name))
                        return "a parameter is there twice in the query";
                g_hash_table_insert(params, g_steal_pointer(&name), g_steal_pointer(&value));
        }
        return NULL;
}

gboolean bh_http_target_parse(const char *uri, BhHttpTarget *target, BhHttpRefusal *r) {
        g_auto(BhHttpTarget) t = { 0 };
        gsize len = strlen(uri);
        const char *mark = strchr(uri, '?'), *why;

        if (len > BH_HTTP_URI_MAX)
                return refuse(r, 414, "uri_too_long", "the address is longer than 4 KiB");
        if (uri[0] != '/')
                return refuse(r, 400, "bad_path", "the request's target must be a path that begins with /");
        t.params = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        if (!parse_path(uri, mark ? (gsize) (mark - uri) : len, &t))
                return refuse(r, 400, "bad_path", "the path is malformed, or not in its only accepted spelling");
        if (mark && (why = parse_query(mark + 1, t.params)))
                return refuse(r, 400, "bad_query", why);
        *target = t;
        t = (BhHttpTarget){ 0 };
        return TRUE;
}

void bh_http_target_clear(BhHttpTarget *t) {
        g_clear_pointer(&t->path, g_free);
        g_clear_pointer(&t->segments, g_strfreev);
        g_clear_pointer(&t->params, g_hash_table_unref);
}

/* ---- single headers ---- */

char *bh_http_cookie(const char *header, const char *name) {
        g_auto(GStrv) parts = header ? g_strsplit(header, ";", 64) : NULL;
        const char *found = NULL;
        gsize n = strlen(name);

        for (guint i = 0; parts && parts[i]; i++) {
                const char *p = g_strstrip(parts[i]);

                if (strncmp(p, name, n) || p[n] != '=')
                        continue;
                if (found)
                        return NULL; /* two: somebody planted one; believe neither */
                found = p + n + 1;
        }
        return g_strdup(found);
}

gboolean bh_http_media_type_is(const char *header, const char *type) {
        gsize n = strlen(type);

        return header && g_ascii_strncasecmp(header, type, n) == 0 && (!header[n] || header[n] == ';' || header[n] == ' ' || header[n] == '\t');
}
