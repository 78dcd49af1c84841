/* SPDX-License-Identifier: Apache-2.0 */
/* A query and a body of each kind. What is told is bounded, printable, and has a name. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/web_params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const types[] = { "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "application/a+json;x" };
        g_autoptr(BhHttpMessage) m = bh_http_message_new();
        BhWebParam out[BH_WEB_PARAMS_REQUEST];
        guint dropped, n;

        if (size < 2)
                return 0;
        const char *type = types[data[0] & 3];
        guint max = data[0] >> 2 & 31;
        g_autofree char *text = g_strndup((const char *) data + 1, size - 1);
        g_free(m->target);
        m->target = g_strconcat("/?", text, NULL);
        m->body_cut = (data[0] & 128) != 0;
        bh_http_add_field(m, "Content-Type", 12, type, strlen(type));
        /* exactly as long as it is, so that a look behind it is seen */
        g_byte_array_unref(m->body);
        m->body = g_byte_array_new_take(g_memdup2(data + 1, size - 1), size - 1);
        n = bh_web_params(m, out, max, &dropped);
        assert(n <= max && n <= BH_WEB_PARAMS_REQUEST);
        for (guint i = 0; i < n; i++) {
                const BhWebParam *p = &out[i];

                assert(p->place < BH_WEB_PLACES && p->type < BH_WEB_TYPES && p->length < BH_WEB_PARAM_LENGTHS);
                assert(*p->name && strlen(p->name) <= BH_WEB_PARAM_NAME_MAX);
                for (const char *c = p->name; *c; c++)
                        assert(g_ascii_isgraph(*c));
                g_free(bh_web_param_say(p->place, p->type, p->length));
                g_free(p->name);
        }
        return 0;
}
