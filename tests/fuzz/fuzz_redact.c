/* SPDX-License-Identifier: Apache-2.0 */
/* A text, as each thing that is redacted. What comes out must have a bounded length. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const types[] = { "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "text/plain" };
        static const char *const names[] = { "Cookie", "Set-Cookie", "Authorization", "Referer", "X-Other" };

        if (size < 1)
                return 0;
        char *exact = g_malloc(size - 1 ? size - 1 : 1), *text = g_strndup((const char *) data + 1, size - 1);
        g_autoptr(BhHttpMessage) m = bh_http_message_new();
        const char *type = types[data[0] & 3];
        gsize most = 5 * size + 64;

        memcpy(exact, data + 1, size - 1);

        bh_http_add_field(m, "Content-Type", 12, type, strlen(type));
        bh_http_add_field(m, "X", 1, exact, size - 1);
        g_free(m->target);
        m->target = g_strdup(text);
        g_byte_array_append(m->body, data + 1, (guint) size - 1);
        bh_redact_message(m);
        assert(m->body->len <= most && strlen(m->target) <= most);
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
                char *v = bh_redact_field(names[i], text);

                assert(strlen(v) <= most);
                g_free(v);
        }
        g_free(bh_redact_text(exact, size - 1));
        g_free(bh_redact_form(exact, size - 1));
        (void) bh_redact_is_secret(exact, size - 1);
        g_free(exact);
        g_free(text);
        return 0;
}
