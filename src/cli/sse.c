/* SPDX-License-Identifier: Apache-2.0 */
#include "sse.h"

#include <string.h>

void bh_sse_init(BhSse *s) {
        *s = (BhSse){ .line = g_string_new(NULL), .event = g_string_new(NULL), .data = g_string_new(NULL) };
}

void bh_sse_clear(BhSse *s) {
        if (!s->line)
                return;
        g_string_free(s->line, TRUE);
        g_string_free(s->event, TRUE);
        g_string_free(s->data, TRUE);
        *s = (BhSse){ 0 };
}

/* FALSE: enough. */
static gboolean take_line(BhSse *s, BhSseFunc each, gpointer user) {
        const char *line = s->line->str, *value;
        gboolean more = TRUE;

        if (s->line->len && line[s->line->len - 1] == '\r')
                g_string_truncate(s->line, s->line->len - 1);
        if (!s->line->len) {
                if (s->some)
                        more = each(s->event->len ? s->event->str : "message", s->data->str, s->data->len, user);
                g_string_truncate(s->event, 0);
                g_string_truncate(s->data, 0);
                s->some = FALSE;
                return more;
        }
        value = strchr(line, ':');
        if (value == line)
                return TRUE; /* a comment: the heartbeat */

        gsize name = value ? (gsize) (value - line) : s->line->len;
        value = value ? value + 1 : line + name;
        value += *value == ' ';
        if (name == 4 && !memcmp(line, "data", 4)) {
                if (s->some)
                        g_string_append_c(s->data, '\n');
                g_string_append(s->data, value);
                s->some = TRUE;
        } else if (name == 5 && !memcmp(line, "event", 5)) {
                g_string_assign(s->event, value);
        }
        return TRUE;
}

BhSseState bh_sse_feed(BhSse *s, const char *bytes, gsize len, BhSseFunc each, gpointer user) {
        for (gsize at = 0; at < len;) {
                const char *end = memchr(bytes + at, '\n', len - at);
                gsize n = end ? (gsize) (end - bytes) - at : len - at;

                g_string_append_len(s->line, bytes + at, (gssize) n);
                if (s->line->len + s->data->len > BH_SSE_MAX)
                        return BH_SSE_TOO_LARGE;
                at += n;
                if (!end)
                        break;
                at++;

                gboolean more = take_line(s, each, user);
                g_string_truncate(s->line, 0);
                if (!more)
                        return BH_SSE_ENOUGH;
        }
        return BH_SSE_MORE;
}
