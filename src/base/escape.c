/* SPDX-License-Identifier: Apache-2.0 */
#include "base/escape.h"

#include <string.h>

static const char hex[] = "0123456789abcdef";

/*
 * Length in bytes of the valid UTF-8 sequence (RFC 3629: no surrogates, no overlong forms) at p, 0 if there is none.
 * *cp is its code point.
 */
static gsize sequence(const guchar *p, gsize left, guint32 *cp) {
        if (p[0] < 0x80) {
                *cp = p[0];
                return 1;
        }
        if (p[0] >= 0xc2 && p[0] <= 0xdf && left >= 2 && (p[1] & 0xc0) == 0x80) {
                *cp = (guint32) (p[0] & 0x1f) << 6 | (p[1] & 0x3f);
                return 2;
        }
        if ((p[0] & 0xf0) == 0xe0 && left >= 3 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
                *cp = (guint32) (p[0] & 0x0f) << 12 | (guint32) (p[1] & 0x3f) << 6 | (p[2] & 0x3f);
                return *cp >= 0x800 && (*cp < 0xd800 || *cp > 0xdfff) ? 3 : 0;
        }
        if (p[0] >= 0xf0 && p[0] <= 0xf4 && left >= 4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80) {
                *cp = (guint32) (p[0] & 0x07) << 18 | (guint32) (p[1] & 0x3f) << 12 | (guint32) (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
                return *cp >= 0x10000 && *cp <= 0x10ffff ? 4 : 0;
        }
        return 0;
}

static gboolean unsafe_on_terminal(guint32 cp) {
        return (cp >= 0x7f && cp <= 0x9f) || cp == 0x061c || cp == 0x200e || cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) ||
               cp == 0xfeff;
}

void bh_escape_append_json(GString *out, const char *text, gssize len) {
        const guchar *p = (const guchar *) text;
        gsize n = !text ? 0 : len < 0 ? strlen(text) : (gsize) len, run = 0, i = 0;

        g_string_append_c(out, '"');
        while (i < n) {
                guint32 cp;
                gsize k = sequence(p + i, n - i, &cp);

                /* what is unsafe on a terminal is escaped too: JSON is looked at with cat */
                if (k && cp >= 0x20 && cp != '"' && cp != '\\' && !unsafe_on_terminal(cp)) {
                        i += k;
                        continue;
                }
                if (i > run)
                        g_string_append_len(out, text + run, (gssize) (i - run));
                if (!k) {
                        char e[5] = { '\\', '\\', 'x', hex[p[i] >> 4], hex[p[i] & 15] };
                        g_string_append_len(out, e, 5);
                } else if (cp == '\\') {
                        /* doubled once more, so that a literal "\xff" in the input cannot pass for an escaped byte */
                        g_string_append_len(out, "\\\\\\\\", 4);
                } else if (cp == '"') {
                        g_string_append_len(out, "\\\"", 2);
                } else {
                        char e[6] = { '\\', 'u', hex[cp >> 12 & 15], hex[cp >> 8 & 15], hex[cp >> 4 & 15], hex[cp & 15] };
                        g_string_append_len(out, e, 6); /* all of these are below 0x10000 */
                }
                i += k ? k : 1;
                run = i;
        }
        if (n > run)
                g_string_append_len(out, text + run, (gssize) (n - run));
        g_string_append_c(out, '"');
}

static void append_printable(GString *out, const char *text, gssize len, gboolean quote) {
        const guchar *p = (const guchar *) text;
        gsize n = !text ? 0 : len < 0 ? strlen(text) : (gsize) len;

        for (gsize i = 0; i < n; ) {
                guint32 cp;
                gsize k = sequence(p + i, n - i, &cp);

                if (k && cp >= 0x20 && !unsafe_on_terminal(cp)) {
                        if (cp == '\\' || (quote && cp == '"'))
                                g_string_append_c(out, '\\');
                        g_string_append_len(out, text + i, (gssize) k);
                } else if (k == 1 && cp == '\n') {
                        g_string_append(out, "\\n");
                } else if (k == 1 && cp == '\t') {
                        g_string_append(out, "\\t");
                } else {
                        for (gsize j = 0; j < MAX(k, 1); j++) {
                                char e[4] = { '\\', 'x', hex[p[i + j] >> 4], hex[p[i + j] & 15] };
                                g_string_append_len(out, e, 4);
                        }
                }
                i += k ? k : 1;
        }
}

void bh_escape_append_quoted(GString *out, const char *text, gssize len) {
        g_string_append_c(out, '"');
        append_printable(out, text, len, TRUE);
        g_string_append_c(out, '"');
}

char *bh_escape_cell(const char *text, gssize len) {
        GString *out = g_string_new(NULL);

        append_printable(out, text, len, FALSE);
        return g_string_free(out, FALSE);
}
