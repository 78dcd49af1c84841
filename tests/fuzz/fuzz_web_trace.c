/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a request and a text of what a process did, with a byte 0xff between. */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "parse/web_trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *mark = memchr(data, 0xff, size);
        size_t n = mark ? (size_t) (mark - data) : size;
        g_autofree guint8 *request = g_memdup2(data, n ? n : 1);
        gsize len = mark ? size - n - 1 : 0;
        g_autofree char *text = len ? g_memdup2(mark + 1, len) : g_strdup("");

        (void) bh_web_trace_suspected(request, n);
        g_autoptr(GByteArray) kept = bh_web_trace_keep(request, n);
        gsize common = bh_web_trace_common(kept, text, len);
        g_assert(common <= MIN(len, kept->len));
        g_assert(!common || common >= BH_WEB_TRACE_LEAST);
        return 0;
}
