/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an event message and as a kernel record. What is accepted must encode to bytes that decode to the same encoding, and
 * must be printable as JSON and text; it goes through the process table too. The first byte chooses what the rest is.
 */
#include <jansson.h>

#include "event/codec.h"
#include "event/record_decode.h"
#include "process/table.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static void print(const struct bh_event *e) {
        g_autoptr(GString) json = g_string_new(NULL), text = g_string_new(NULL);
        json_error_t why;

        bh_event_to_json(e, json);

        json_t *root = json_loadb(json->str, json->len, JSON_ALLOW_NUL, &why);
        if (!root)
                g_error("not JSON at %d: %s: %s", why.position, why.text, json->str);
        json_decref(root);

        bh_event_to_text(e, text);
        if (!g_utf8_validate_len(text->str, text->len, NULL))
                g_error("not UTF-8: %s", text->str);
        for (gsize i = 0; i < text->len; i++) {
                if ((guchar) text->str[i] < 0x20 || text->str[i] == 0x7f)
                        g_error("control byte at %zu: %s", (size_t) i, text->str);
        }
}

static void check(const struct bh_event *e) {
        g_autoptr(GByteArray) once = g_byte_array_new(), twice = g_byte_array_new();
        g_autoptr(GError) error = NULL;
        g_autofree struct bh_event *copy = bh_event_copy(e);
        struct bh_event back;

        bh_event_encode(copy, once);
        if (!bh_event_decode(&back, once->data, once->len, &error))
                g_error("own bytes refused: %s", error->message);
        bh_event_encode(&back, twice);
        if (once->len != twice->len || (once->len && memcmp(once->data, twice->data, once->len) != 0))
                g_error("decoded to something else");
        print(e);
}

/* Records one after the other, each 8-aligned as in a ring; pids are folded into a few, so that processes meet. */
static void records(const guint8 *data, size_t size) {
        static const struct bh_clock clock = { .now = 1700000000000000000ull, .start = 1600000000000000000ull };
        struct bh_process_config config = { .proc_path = "/nonexistent", .max_live = 4, .max_dead = 4, .max_text = 4096, .retain_ns = 1000 };
        g_autoptr(BhProcessTable) t = bh_process_table_new(&config);

        while (size >= 2) {
                gsize n = MIN((gsize) data[0] + 256u * (data[1] & 7u), size - 2);
                g_autofree struct bh_rec *rec = g_malloc(n ? n : 1);
                struct bh_decoded d;

                memcpy(rec, data + 2, n);
                if (n >= sizeof(*rec)) {
                        rec->size = (guint32) n - (data[1] >> 3 & 1);
                        rec->tgid &= 7;
                        rec->start &= 7;
                        if (rec->type == BH_EV_FORK || rec->type == BH_EV_CGROUP_ATTACH) {
                                rec->a[0] &= 7;
                                rec->a[1] &= 7;
                                rec->a[2] &= 7;
                        }
                }
                if (bh_record_decode(rec, n, &clock, &d, NULL)) {
                        check(&d.event);
                        bh_process_update(t, &d);
                        bh_process_enrich(t, &d);
                        check(&d.event);
                }
                data += 2 + n;
                size -= 2 + n;
        }
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size) {
        struct bh_event e;

        if (!size)
                return 0;
        if (data[0] & 1)
                records(data + 1, size - 1);
        else if (bh_event_decode(&e, data + 1, size - 1, NULL))
                check(&e);
        return 0;
}
