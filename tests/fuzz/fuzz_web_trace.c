/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a request and a text of what a process did, with a byte 0xff between. */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "parse/http1.h"
#include "parse/waf_filter.h"
#include "parse/web_trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
        const BhWafFilter *filter;
        guint *requests;
} Look;

static void on_request(const BhHttpMessage *m, gpointer data) {
        const Look *l = data;
        const char *why = NULL;

        ++*l->requests;
        if (bh_waf_filter_wants(l->filter, m, FALSE, &why))
                g_error("passed over, and wanted because of its %s: %s", why, m->target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *mark = memchr(data, 0xff, size);
        size_t n = mark ? (size_t) (mark - data) : size;
        g_autofree guint8 *request = g_memdup2(data, n ? n : 1);
        gsize len = mark ? size - n - 1 : 0;
        g_autofree char *text = len ? g_memdup2(mark + 1, len) : g_strdup("");

        static BhWafFilter *filter;
        static BhWafWords *words;
        if (!filter) {
                filter = bh_waf_filter_new(NULL, NULL);
                words = bh_waf_words_new(NULL, NULL);
        }
        /* what may be passed over is nothing that the filter wants to be judged */
        if (!bh_web_trace_suspected(words, request, n)) {
                guint requests = 0;
                Look look = { filter, &requests };
                BhHttpSink sink = { .request = on_request, .data = &look };
                BhHttp1 *p = bh_http1_new(0, &sink);

                bh_http1_feed(p, TRUE, request, n, 0);
                g_assert(requests == 1);
                bh_http1_free(p);
        }
        g_autoptr(GByteArray) kept = bh_web_trace_keep(request, n);
        gsize common = bh_web_trace_common(kept, text, len);
        g_assert(common <= MIN(len, kept->len));
        g_assert(!common || common >= BH_WEB_TRACE_LEAST);
        return 0;
}
