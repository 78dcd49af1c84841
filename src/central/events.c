/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <string.h>

#include "event/codec.h"

void bh_event_line_free(gpointer data) {
        BhEventLine *line = data;

        g_free(line->json);
        g_free(line);
}

guint bh_events_each(GBytes *batch, BhEventEach func, gpointer data) {
        gsize left;
        const guint8 *p = g_bytes_get_data(batch, &left);
        guint bad = 0;

        while (left) {
                struct bh_event e;
                guint32 len;

                if (left < sizeof(len))
                        return bad + 1;
                memcpy(&len, p, sizeof(len));
                len = GUINT32_FROM_LE(len);
                p += sizeof(len);
                left -= sizeof(len);
                if (len > left)
                        return bad + 1;
                if (bh_event_decode(&e, p, len, NULL))
                        func(&e, data);
                else
                        bad++;
                p += len;
                left -= len;
        }
        return bad;
}

typedef struct {
        BhEventFunc func;
        gpointer data;
        GString *json;
} AsJson;

static void as_json(const struct bh_event *e, gpointer data) {
        AsJson *to = data;

        g_string_truncate(to->json, 0);
        bh_event_to_json(e, to->json);
        to->func(bh_event_has(e, BH_F_time) ? e->time : 0, to->json, to->data);
}

guint bh_events_unpack(GBytes *batch, BhEventFunc func, gpointer data) {
        g_autoptr(GString) json = g_string_sized_new(1024);
        AsJson to = { func, data, json };

        return bh_events_each(batch, as_json, &to);
}
