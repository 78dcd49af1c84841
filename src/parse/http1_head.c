/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/http1_head.h"

#include <string.h>

static gboolean token_char(char c) {
        return g_ascii_isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* The line at *at, without its end; *at is behind it. NULL at the end. */
static char *take_line(char **at, char *end, gsize *len, guint32 *anomalies) {
        char *line = *at, *lf = line < end ? memchr(line, '\n', (gsize) (end - line)) : NULL;

        if (!lf)
                return NULL;
        *at = lf + 1;
        *len = (gsize) (lf - line);
        if (*len && lf[-1] == '\r')
                --*len;
        else
                *anomalies |= BH_HTTP_BARE_LF;
        if (memchr(line, '\r', *len))
                *anomalies |= BH_HTTP_BARE_CR;
        return line;
}

/* A line that begins with white space goes on with the one before: their end becomes spaces. */
static void unfold(char *head, gsize len, guint32 *anomalies) {
        char *first = memchr(head, '\n', len);

        for (char *c = first ? first + 1 : head + len; c + 1 < head + len; c++) {
                if (*c != '\n' || (c[1] != ' ' && c[1] != '\t'))
                        continue;
                *c = ' ';
                if (c[-1] == '\r')
                        c[-1] = ' ';
                *anomalies |= BH_HTTP_FOLD;
        }
}

static gboolean read_version(const char *p, gsize n, BhHttpMessage *m) {
        if (n < 6 || memcmp(p, "HTTP/", 5) != 0)
                return FALSE;
        m->version = 11;
        if (n == 8 && memcmp(p + 5, "1.0", 3) == 0)
                m->version = 10;
        else if (n != 8 || memcmp(p + 5, "1.1", 3) != 0)
                m->anomalies |= BH_HTTP_VERSION_BAD;
        return TRUE;
}

static void set_text(char **to, const char *p, gsize n) {
        g_free(*to);
        *to = g_malloc(n + 1);
        for (gsize i = 0; i < n; i++)
                (*to)[i] = p[i] ? p[i] : '?';
        (*to)[n] = 0;
}

static gboolean read_request_line(const char *line, gsize n, BhHttpMessage *m) {
        gsize method = 0, end = n, at;

        while (method < n && token_char(line[method]))
                method++;
        if (!method || method >= n || (line[method] != ' ' && line[method] != '\t') || method > 64)
                return FALSE;
        /* the version is the last word, so that a space in a target does not hide what it asks for */
        for (at = n; at > method && line[at - 1] != ' ' && line[at - 1] != '\t';)
                at--;
        if (at > method + 1 && read_version(line + at, n - at, m)) {
                end = at - 1;
        } else {
                m->version = 9;
                m->anomalies |= BH_HTTP_VERSION_BAD;
        }
        gsize begin = method;
        while (begin < end && (line[begin] == ' ' || line[begin] == '\t'))
                begin++;
        while (end > begin && (line[end - 1] == ' ' || line[end - 1] == '\t'))
                end--;
        if (begin != method + 1 || begin == end)
                m->anomalies |= BH_HTTP_LINE_BAD;
        for (gsize i = begin; i < end; i++)
                if (line[i] <= 0x20 || line[i] >= 0x7f)
                        m->anomalies |= BH_HTTP_TARGET_BAD;
        set_text(&m->method, line, method);
        set_text(&m->target, line + begin, end - begin);
        return begin < end;
}

static gboolean read_status_line(const char *line, gsize n, BhHttpMessage *m) {
        gsize at = n < 8 ? n : 8;

        if (n < 12 || !read_version(line, at, m) || line[8] != ' ' || !g_ascii_isdigit(line[9]) || !g_ascii_isdigit(line[10]) || !g_ascii_isdigit(line[11]) || line[9] == '0')
                return FALSE;
        m->status = (guint) (line[9] - '0') * 100u + (guint) (line[10] - '0') * 10u + (guint) (line[11] - '0');
        if (n > 12 && line[12] != ' ')
                m->anomalies |= BH_HTTP_LINE_BAD;
        return TRUE;
}

/* ---- what says how long the body is */

static void read_length(const char *v, BhHttpMessage *m, BhHttp1Frame *f) {
        do {
                guint64 n = 0;

                v += strspn(v, " \t");
                const char *digits = v;
                for (; g_ascii_isdigit(*v) && v - digits < 18; v++)
                        n = n * 10 + (guint64) (*v - '0');
                if (v == digits || (*v && *v != ',' && *v != ' ' && *v != '\t'))
                        m->anomalies |= BH_HTTP_LENGTH_BAD;
                if (f->has_length && f->length != n)
                        m->anomalies |= BH_HTTP_LENGTHS;
                else
                        f->length = n;
                f->has_length = TRUE;
                v += strcspn(v, ",");
                if (*v == ',')
                        m->anomalies |= BH_HTTP_LENGTH_BAD;
        } while (*v++ == ',');
}

static void read_framing(BhHttpMessage *m, BhHttp1Frame *f) {
        gboolean coding = FALSE;
        guint hosts = 0;

        for (guint i = 0; i < m->n_fields; i++) {
                const char *name = m->fields[i].name, *v = m->fields[i].value;

                if (g_ascii_strcasecmp(name, "Content-Length") == 0) {
                        read_length(v, m, f);
                } else if (g_ascii_strcasecmp(name, "Transfer-Encoding") == 0) {
                        g_autofree char *lower = g_ascii_strdown(v, -1);

                        if (coding || strcmp(lower, "chunked") != 0)
                                m->anomalies |= BH_HTTP_CODING_BAD;
                        coding = TRUE;
                        f->chunked |= strstr(lower, "chunked") != NULL;
                } else if (g_ascii_strcasecmp(name, "Host") == 0) {
                        if (hosts++)
                                m->anomalies |= BH_HTTP_HOSTS;
                        else
                                set_text(&m->authority, v, strlen(v));
                }
        }
        if (coding && f->has_length)
                m->anomalies |= BH_HTTP_LENGTH_AND_CHUNKED;
        if (m->status)
                return;
        if (!hosts && m->version == 11)
                m->anomalies |= BH_HTTP_HOST_MISSING;
        const char *scheme = strstr(m->target, "://");
        if (scheme && strcspn(m->target, "/?#") >= (gsize) (scheme - m->target)) {
                gsize n = strcspn(scheme + 3, "/?#");

                if (hosts && (strlen(m->authority) != n || g_ascii_strncasecmp(scheme + 3, m->authority, n) != 0))
                        m->anomalies |= BH_HTTP_HOSTS;
        }
}

gboolean bh_http1_read_head(char *head, gsize len, gboolean response, BhHttpMessage *m, BhHttp1Frame *frame) {
        char *at = head, *end = head + len;
        gsize n = 0;

        memset(frame, 0, sizeof(*frame));
        if (memchr(head, 0, len))
                m->anomalies |= BH_HTTP_NUL;
        unfold(head, len, &m->anomalies);
        char *line = take_line(&at, end, &n, &m->anomalies);
        if (!line || !(response ? read_status_line(line, n, m) : read_request_line(line, n, m))) {
                m->anomalies |= BH_HTTP_LINE_BAD;
                set_text(&m->target, line ? line : head, line ? MIN(n, 1024u) : MIN(len, 1024u));
                return FALSE;
        }
        while ((line = take_line(&at, end, &n, &m->anomalies)) && n) {
                const char *colon = memchr(line, ':', n);
                gsize name = colon ? (gsize) (colon - line) : n, value = colon ? name + 1 : n, stop = n, kept = name;

                while (kept && (line[kept - 1] == ' ' || line[kept - 1] == '\t'))
                        kept--;
                gboolean good = colon && kept == name && name;
                for (gsize i = 0; i < kept; i++)
                        good &= token_char(line[i]);
                if (!good)
                        m->anomalies |= BH_HTTP_NAME_BAD;
                while (value < stop && (line[value] == ' ' || line[value] == '\t'))
                        value++;
                while (stop > value && (line[stop - 1] == ' ' || line[stop - 1] == '\t'))
                        stop--;
                bh_http_add_field(m, line, kept, line + value, stop - value);
        }
        read_framing(m, frame);
        return TRUE;
}
