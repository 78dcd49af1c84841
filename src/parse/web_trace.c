/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/web_trace.h"

#include <string.h>

#define GRAMS 2048u /* heads of chains; a power of two */

static gboolean begins(const guint8 *bytes, gsize len, const char *with) {
        gsize n = strlen(with);

        return len >= n && memcmp(bytes, with, n) == 0;
}

/* Paths of letters are attacks, too: those of hidden files and of empty names, and any in a parameter. */
static gboolean plain_target(const guint8 *at, const guint8 *end) {
        gboolean query = FALSE;

        for (const guint8 *p = at; p < end; p++) {
                if (!g_ascii_isalnum(*p) && !strchr("/._-?=&", *p))
                        return FALSE;
                if (*p == '.' && p + 1 < end && p[1] == '.')
                        return FALSE;
                if (*p == '/' && (query || (p + 1 < end && (p[1] == '.' || p[1] == '/'))))
                        return FALSE;
                query |= *p == '?';
        }
        return TRUE;
}

gboolean bh_web_trace_suspected(const guint8 *bytes, gsize len) {
        const guint8 *end = bytes + len, *target, *space, *line;

        if (len < 18 || memcmp(end - 4, "\r\n\r\n", 4) != 0 || memchr(bytes, 0, len))
                return TRUE;
        target = begins(bytes, len, "GET /") ? bytes + 4 : begins(bytes, len, "HEAD /") ? bytes + 5 : NULL;
        line = target ? memchr(bytes, '\r', len) : NULL;
        space = line ? memchr(target, ' ', (gsize) (line - target)) : NULL;
        if (!space || line - space != 9 || memcmp(space, " HTTP/1.", 8) != 0 || !plain_target(target, space))
                return TRUE;
        for (const guint8 *p = line; p < end - 3; p++) {
                gboolean crlf = *p == '\r' || *p == '\n';

                /* the head's end is the bytes' end: what else follows is another request or a body */
                if (*p == '\r' && memcmp(p, "\r\n\r\n", 4) == 0)
                        return p + 4 != end;
                if ((*p < 0x20 && !crlf) || *p >= 0x7f || *p == '<' || *p == '\'' || *p == '`' || (*p == '$' && p[1] == '{') || (*p == '(' && p[1] == ')'))
                        return TRUE;
                if (*p == '\n' && p + 1 < end && (g_ascii_strncasecmp((const char *) p + 1, "content-", 8) == 0 || g_ascii_strncasecmp((const char *) p + 1, "transfer-", 9) == 0 ||
                                                  g_ascii_strncasecmp((const char *) p + 1, "upgrade:", 8) == 0))
                        return TRUE;
        }
        return TRUE;
}

/* ---- what is kept */

/* Of the way to the server, or the client's habit: equal in requests that have nothing else in common. */
static gboolean skipped_field(const guint8 *line, gsize len) {
        static const char *const names[] = { "host:", "origin:", "referer:", "x-forwarded-", "x-real-ip:", "forwarded:", "via:", "connection:", "accept", "content-", "sec-" };

        for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
                if (len >= strlen(names[i]) && g_ascii_strncasecmp((const char *) line, names[i], strlen(names[i])) == 0)
                        return TRUE;
        return FALSE;
}

static void put_decoded(GByteArray *out, const guint8 *p, gsize n) {
        for (gsize i = 0; i < n; i++) {
                guint8 c = p[i];

                if (c == '%' && i + 2 < n && g_ascii_isxdigit((char) p[i + 1]) && g_ascii_isxdigit((char) p[i + 2])) {
                        c = (guint8) (g_ascii_xdigit_value((char) p[i + 1]) << 4 | g_ascii_xdigit_value((char) p[i + 2]));
                        i += 2;
                } else if (c == '+') {
                        c = ' ';
                }
                g_byte_array_append(out, &c, 1);
        }
}

GByteArray *bh_web_trace_keep(const guint8 *bytes, gsize len) {
        GByteArray *out = g_byte_array_new();
        const guint8 *end;
        gboolean head = TRUE, first = TRUE;

        len = MIN(len, (gsize) BH_WEB_TRACE_MAX);
        end = bytes + len;
        for (const guint8 *p = bytes; p < end;) {
                const guint8 *nl = memchr(p, '\n', (gsize) (end - p)), *next = nl ? nl + 1 : end;

                if (head && (next - p <= 2) && nl)
                        head = FALSE;
                if (first || !head || !skipped_field(p, (gsize) (next - p)))
                        put_decoded(out, p, (gsize) (next - p));
                first = FALSE;
                p = next;
        }
        return out;
}

/* ---- what is equal */

static guint gram(const guint8 *p) {
        guint64 v = 0;

        memcpy(&v, p, BH_WEB_TRACE_LEAST);
        return (guint) (v * 0x9e3779b97f4a7c15ull >> 53); /* GRAMS values */
}
G_STATIC_ASSERT(GRAMS == 1u << 11);

gsize bh_web_trace_common(const GByteArray *kept, const char *text, gsize len) {
        guint16 heads[GRAMS] = { 0 }, next[BH_WEB_TRACE_TEXT_MAX];
        const guint8 *needle = (const guint8 *) text;
        gsize best = 0;
        guint work = 0;

        len = MIN(len, (gsize) BH_WEB_TRACE_TEXT_MAX);
        if (!kept || len < BH_WEB_TRACE_LEAST || kept->len < BH_WEB_TRACE_LEAST)
                return 0;
        for (gsize i = len - BH_WEB_TRACE_LEAST + 1; i-- > 0;) {
                guint h = gram(needle + i);

                next[i] = heads[h];
                heads[h] = (guint16) (i + 1);
        }
        for (gsize at = 0; at + BH_WEB_TRACE_LEAST <= kept->len && work < BH_WEB_TRACE_WORK; at++) {
                guint tries = 0;

                for (guint i = heads[gram(kept->data + at)]; i && tries < BH_WEB_TRACE_TRIES; i = next[i - 1], tries++) {
                        gsize n = 0, most = MIN(len - (i - 1), kept->len - at);

                        /* only what is longer than the best is of interest */
                        if (most <= best || needle[i - 1 + best] != kept->data[at + best])
                                continue;
                        while (n < most && needle[i - 1 + n] == kept->data[at + n])
                                n++;
                        work += (guint) n;
                        if (n >= BH_WEB_TRACE_LEAST)
                                best = MAX(best, n);
                }
        }
        return best;
}
