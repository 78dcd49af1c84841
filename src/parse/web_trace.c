/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/web_trace.h"

#include <string.h>

#define GRAMS 2048u /* heads of chains; a power of two */

static gboolean begins(const guint8 *bytes, gsize len, const char *with) {
        gsize n = strlen(with);

        return len >= n && memcmp(bytes, with, n) == 0;
}

/* A path or parameters that have nothing encoded in them, and no way up. */
static gboolean plain_target(const BhWafWords *words, const char *at, gsize len) {
        const char *query = memchr(at, '?', len);
        gsize path = query ? (gsize) (query - at) : len;
        BhWafLook segments = bh_waf_look_for(words, BH_WAF_STRONG | BH_WAF_SCANNER, "/._-"), values = bh_waf_look_for(words, BH_WAF_STRONG | BH_WAF_WEAK, "._-=&");
        gboolean word = FALSE;

        if (!bh_waf_look_plain(&segments, at, path, &word) || word || !bh_waf_usual_extension(at, path))
                return FALSE;
        /* hidden files, empty names */
        for (gsize i = 0; i + 1 < path; i++)
                if ((at[i] == '.' && at[i + 1] == '.') || (at[i] == '/' && (at[i + 1] == '.' || at[i + 1] == '/')))
                        return FALSE;
        gboolean in_value = FALSE;
        for (const char *p = query; p && p < at + len; p++) {
                if (*p == '=' && in_value)
                        return FALSE; /* a value that has one in it */
                in_value = *p == '=' || (in_value && *p != '&');
        }
        /* all of them as one text: what has two words of those that are weak alone is looked at, wherever they stand */
        return !query || (bh_waf_look_plain(&values, query + 1, len - path - 1, &word) && !word && !memmem(query + 1, len - path - 1, "..", 2));
}

static gboolean is_named(const char *name, gsize len, const char *what) {
        return len == strlen(what) && g_ascii_strncasecmp(name, what, len) == 0;
}

/* "a=1; b=2": each with one name and one '='. What is less plain the filter reads in its own way. */
static gboolean plain_cookies(const char *value, gsize len) {
        guint equals = 0;
        gsize begin = 0;

        for (gsize i = 0; i <= len; i++) {
                if (i == len || value[i] == ';') {
                        if (equals != 1)
                                return FALSE;
                        equals = 0;
                        begin = i + 1;
                } else if (value[i] == '=') {
                        equals++;
                        if (i == begin || value[i - 1] == ' ' || (i + 1 < len && value[i + 1] == ' '))
                                return FALSE;
                }
        }
        return TRUE;
}

static gboolean plain_host(const char *value, gsize len) {
        for (gsize i = 0; i < len; i++)
                if (!g_ascii_isalnum(value[i]) && !strchr(".-:[]", value[i]))
                        return FALSE;
        return len > 0;
}

/* As the filter looks at it; whatever it would decode first is not plain here. */
static gboolean plain_field(const BhWafWords *words, const char *name, gsize name_len, const char *value, gsize len) {
        static const char *const never[] = { "content-", "transfer-", "upgrade", "expect", "trailer", "te" };
        gboolean word = FALSE, agent = is_named(name, name_len, "User-Agent"), open = is_named(name, name_len, "Host") || (name_len >= 6 && g_ascii_strncasecmp(name, "Accept", 6) == 0);
        guint8 kinds = open ? 0 : agent ? BH_WAF_SCANNER : BH_WAF_SCANNER | BH_WAF_STRONG;
        const char *allowed = " _.-~@,:/=;()*?\"+";

        for (gsize i = 0; i < name_len; i++)
                if (!g_ascii_isalnum(name[i]) && name[i] != '-')
                        return FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(never); i++)
                if (name_len >= strlen(never[i]) && g_ascii_strncasecmp(name, never[i], strlen(never[i])) == 0)
                        return FALSE;
        if (is_named(name, name_len, "Host") && !plain_host(value, len))
                return FALSE;
        if (is_named(name, name_len, "Cookie")) {
                if (!plain_cookies(value, len))
                        return FALSE;
                kinds = BH_WAF_STRONG | BH_WAF_WEAK;
                allowed = " _.-~@,:/=;";
        } else if (is_named(name, name_len, "Referer") || is_named(name, name_len, "Origin")) {
                gsize scheme = len >= 8 && memcmp(value, "https://", 8) == 0 ? 8 : len >= 7 && memcmp(value, "http://", 7) == 0 ? 7 : 0;

                gsize host = scheme;

                while (scheme && scheme < len && !strchr("/?#", value[scheme]))
                        scheme++;
                if (scheme && !plain_host(value + host, scheme - host))
                        return FALSE;
                value += scheme;
                len -= scheme;
                kinds = BH_WAF_STRONG;
                allowed = " _.-~@,:/?&=";
        }
        BhWafLook look = bh_waf_look_for(words, kinds, allowed);
        return name_len && bh_waf_look_plain(&look, value, len, &word) && !word;
}

gboolean bh_web_trace_suspected(const BhWafWords *words, const guint8 *bytes, gsize len) {
        const char *p = (const char *) bytes, *end = p + len, *target, *space, *line;
        guint hosts = 0, fields = 0;

        if (!words || len < 18 || len > BH_WEB_TRACE_HEAD_MAX || memcmp(end - 4, "\r\n\r\n", 4) != 0 || memchr(bytes, 0, len))
                return TRUE;
        target = begins(bytes, len, "GET /") ? p + 4 : begins(bytes, len, "HEAD /") ? p + 5 : NULL;
        line = target ? memchr(p, '\r', len) : NULL;
        space = line ? memchr(target, ' ', (gsize) (line - target)) : NULL;
        if (!space || line - space != 9 || (memcmp(space, " HTTP/1.1", 9) != 0 && memcmp(space, " HTTP/1.0", 9) != 0) || !plain_target(words, target, (gsize) (space - target)))
                return TRUE;
        /* each line with its end; the head's end is the bytes' end: what else follows is another request or a body */
        for (p = line; p + 4 < end; ) {
                const char *name = p + 2, *next = memchr(name, '\r', (gsize) (end - name)), *colon = next ? memchr(name, ':', (gsize) (next - name)) : NULL, *value, *last;

                if (p[1] != '\n' || !colon || memchr(name, '\n', (gsize) (next - name)) || ++fields > BH_WEB_TRACE_FIELDS_MAX)
                        return TRUE;
                for (value = colon + 1; value < next && *value == ' '; value++)
                        ;
                for (last = next; last > value && last[-1] == ' '; last--)
                        ;
                if (!plain_field(words, name, (gsize) (colon - name), value, (gsize) (last - value)))
                        return TRUE;
                hosts += is_named(name, (gsize) (colon - name), "Host");
                p = next;
        }
        return p + 4 != end || hosts != 1;
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
