/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is around the web-attack engine: the reader of its lines (first byte 0: the input is behind the mark that nobody can forge; 1: it has none, and gives nothing), the filter
 * (2: the input is a connection), and the engine itself (3), which is not ours and slow, but must not fall over what the parser gives it.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/http1.h"
#include "parse/waf.h"
#include "parse/waf_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static BhWaf *waf;
static BhWafFilter *filter;
static gboolean with_engine;

static void check(const BhWafResult *r) {
        assert(r->n_matches <= BH_WAF_MATCHES_MAX);
        for (guint i = 0; i < r->n_matches; i++) {
                assert(strlen(r->matches[i].message) <= BH_WAF_MATCHED_MAX && strlen(r->matches[i].matched) <= BH_WAF_MATCHED_MAX);
                for (const char *c = r->matches[i].matched; *c; c++)
                        assert(*c >= 0x20 && *c < 0x7f);
        }
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        const char *why = NULL;

        if (!x->request)
                return;
        gboolean wanted = bh_waf_filter_wants(filter, x->request, x->request->fields && x->request->n_fields & 1, &why);
        assert(wanted == (why != NULL));
        if (!with_engine)
                return;
        g_autoptr(BhWafResult) r = bh_waf_judge(waf, x->request, x->response, "192.0.2.1", "192.0.2.2", 80);
        check(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (!waf) {
                BhWafConfig c = { .level = 4, .responses = TRUE };

                waf = bh_waf_new(&c, NULL);
                filter = bh_waf_filter_new(NULL, NULL);
                assert(waf && filter);
        }
        if (size < 1)
                return 0;
        if ((data[0] & 3) < 2) {
                g_autofree char *text = g_strndup((const char *) data + 1, size - 1), *line = data[0] & 1 ? g_strdup(text) : g_strconcat("x [file \"", bh_waf_place(waf), text, NULL);
                g_autoptr(BhWafResult) r = g_new0(BhWafResult, 1);

                for (guint i = 0; i < 3; i++)
                        bh_waf_take_line(waf, line, r);
                check(r);
                assert(!(data[0] & 1) || !r->n_matches);
                return 0;
        }
        with_engine = (data[0] & 3) == 3;
        BhHttpSink sink = { .exchange = on_exchange };
        BhHttp1 *p = bh_http1_new(0, &sink);
        bh_http1_feed(p, TRUE, data + 1, size - 1, 0);
        bh_http1_free(p);
        return 0;
}
