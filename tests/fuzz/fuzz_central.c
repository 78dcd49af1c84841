/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the central reads from the network besides what libmicrohttpd does. The first byte chooses: a target (accepted ones must be
 * canonical), a JSON body, a batch of events, a Cookie and other headers, or a head whose fields lie where the input says.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "central/device.h"
#include "central/events.h"
#include "central/hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void target(const char *text) {
        g_auto(BhHttpTarget) t = { 0 };
        BhHttpRefusal r = { 0 };

        if (!bh_http_target_parse(text, &t, &r)) {
                assert(r.status >= 400 && r.code && r.why);
                return;
        }
        assert(t.path[0] == '/' && g_utf8_validate(t.path, -1, NULL));
        assert(!strstr(t.path, "//") && !strchr(t.path, '\\'));
        for (char **s = t.segments; *s; s++)
                assert(**s && strcmp(*s, ".") && strcmp(*s, "..") && !strchr(*s, '/'));
        for (const char *p = t.path; *p; p++)
                assert((unsigned char) *p >= 0x20 && *p != 0x7f);
}

static void body(const uint8_t *data, size_t size) {
        static const BhBodyField fields[] = {
                { "user", BH_BODY_TEXT, TRUE, 64 }, { "password", BH_BODY_TEXT, FALSE, 256 }, { "disabled", BH_BODY_BOOL, FALSE, 0 }, { "days", BH_BODY_INT, FALSE, 3650 },
        };
        g_autofree char *why = NULL;
        json_t *o = bh_body_parse(data, size, fields, G_N_ELEMENTS(fields), &why);

        assert(!o == (why != NULL));
        if (o) {
                const char *user = bh_body_text(o, "user");

                assert(user && strlen(user) <= 64 && g_utf8_validate(user, -1, NULL));
        }
        json_decref(o);
}

static void event(guint64 time_ns, const GString *json, gpointer sum) {
        assert(json->len && json->str[0] == '{' && g_utf8_validate(json->str, (gssize) json->len, NULL));
        *(guint *) sum += 1;
}

static void headers(const char *text) {
        g_autofree char *cookie = bh_http_cookie(text, "a");
        g_autoptr(GString) frame = g_string_new(NULL);
        guint64 id;

        static BhDevices *devices;

        if (!devices)
                devices = bh_devices_load("/nonexistent"); /* a key that nobody knows */
        g_autofree char *known = bh_device_known(devices, "admin", text, 1800000000);
        assert(!known);
        bh_http_media_type_is(text, "application/json");
        if (bh_sse_parse_id(text, &id))
                assert(id < 1000000000000000);
        bh_sse_append(frame, 1, "event", text);
        /* each line of the frame is one of ours */
        for (const char *line = frame->str; *line && *line != '\n'; line = strchr(line, '\n') + 1)
                assert(g_str_has_prefix(line, "data: ") || g_str_has_prefix(line, "id: 1\n") || g_str_has_prefix(line, "event: event\n"));
}

/* A head as libmicrohttpd hands it out: the fields begin wherever the input says, in bytes that end with a NUL. */
static void head(const char *text, size_t size) {
        BhHttpField fields[8];
        BhHttpHead h = { .fields = fields };
        BhHttpRefusal r = { 0 };
        guint64 length = 0;
        const char *at = text + 8, *end = text + size;

        if (size < 9)
                return;
        h.method = at;
        h.uri = at + MIN((gsize) (guint8) text[0], (gsize) (end - at));
        h.uri_len = strlen(h.uri);
        h.version = h.uri + MIN((gsize) (guint8) text[1], (gsize) (end - h.uri));
        h.head_len = (gsize) (guint8) text[2] << 8 | (guint8) text[3];
        at = h.version;
        for (guint i = 0; i < (guint8) text[4] % 8u; i++) {
                fields[i].name = at + MIN((gsize) (guint8) text[5] % 16, (gsize) (end - at));
                fields[i].name_len = strlen(fields[i].name);
                fields[i].value = fields[i].name + MIN(fields[i].name_len + 1, (gsize) (end - fields[i].name));
                fields[i].value_len = strlen(fields[i].value);
                at = fields[i].value + fields[i].value_len;
                h.n_fields++;
        }
        if (!bh_http_head_check(&h, &length, &r))
                assert(r.status >= 400 && r.code && r.why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        guint events = 0;

        if (!size)
                return 0;
        g_autofree char *text = g_strndup((const char *) data + 1, size - 1);
        char *copy;
        g_autoptr(GBytes) bytes = g_bytes_new(data + 1, size - 1);

        switch (data[0] % 5) {
        case 0:
                target(text);
                break;
        case 1:
                body(data + 1, size - 1);
                break;
        case 2:
                bh_events_unpack(bytes, event, &events);
                break;
        case 3:
                headers(text);
                break;
        default:
                copy = g_malloc0(size);
                memcpy(copy, data + 1, size - 1);
                head(copy, size - 1);
                g_free(copy);
                break;
        }
        return 0;
}
