/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "hub.h"

void bh_sse_append(GString *out, guint64 id, const char *event, const char *data) {
        if (id)
                g_string_append_printf(out, "id: %" G_GUINT64_FORMAT "\n", id);
        if (event)
                g_string_append_printf(out, "event: %s\n", event);
        for (;;) {
                gsize n = strcspn(data, "\r\n");

                g_string_append(out, "data: ");
                g_string_append_len(out, data, (gssize) n);
                g_string_append_c(out, '\n');
                data += n;
                if (!*data)
                        break;
                data += data[0] == '\r' && data[1] == '\n' ? 2 : 1;
        }
        g_string_append_c(out, '\n');
}

gboolean bh_sse_parse_id(const char *text, guint64 *id) {
        guint64 n = 0;
        gsize i = 0;

        for (; g_ascii_isdigit(text[i]) && i < 16; i++)
                n = n * 10 + (guint64) (text[i] - '0');
        if (!i || i > 15 || text[i])
                return FALSE;
        *id = n;
        return TRUE;
}
