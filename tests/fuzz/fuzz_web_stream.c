/* SPDX-License-Identifier: Apache-2.0 */
/* A connection in whichever form its bytes say: pieces as in fuzz_http1.c. The same state and exchanges must come out byte by byte (but for a server that speaks first: its first piece tells). */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/web_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
        guint requests, exchanges;
        guint64 sum;
        BhWebState state;
        BhWebsocket frames[2];
        gboolean server_first; /* it spoke before it was known what the client speaks */
} Seen;

static void on_request(const BhHttpMessage *m, gpointer data) {
        ((Seen *) data)->requests++;
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        Seen *s = data;

        s->exchanges++;
        s->sum = s->sum * 31 + (x->request ? g_str_hash(x->request->target) + x->request->anomalies : 1);
        s->sum = s->sum * 31 + (x->response ? x->response->status + x->response->body_bytes : 1);
}

static void run(const uint8_t *data, size_t size, gsize step, Seen *seen) {
        BhHttpSink sink = { on_request, on_exchange, seen };
        BhWebStream *s = bh_web_stream_new(0, &sink);

        while (size > 1) {
                gboolean client = !(data[0] & 0x80);
                gsize n = MIN((gsize) (data[0] & 0x3f) + 1, size - 1);

                if (data[0] & 0x40) {
                        seen->state = bh_web_stream_gap(s, client, n);
                        n = 0;
                }
                for (gsize at = 0; at < n; at += step) {
                        gsize want = MIN(step, n - at);
                        guint8 *exact = g_memdup2(data + 1 + at, want);

                        seen->server_first |= !client && seen->state == BH_WEB_BEGINS;
                        seen->state = bh_web_stream_feed(s, client, exact, want, 0);
                        g_free(exact);
                }
                data += n + 1;
                size -= n + 1;
        }
        seen->frames[0] = *bh_web_stream_websocket(s, FALSE);
        seen->frames[1] = *bh_web_stream_websocket(s, TRUE);
        bh_web_stream_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Seen whole = { .requests = 0 }, bytes = { .requests = 0 };

        run(data, size, 64, &whole);
        run(data, size, 1, &bytes);
        assert(whole.state < BH_WEB_STATES && *bh_web_state_name(whole.state) != '?');
        if (whole.server_first)
                return 0;
        assert(whole.state == bytes.state && whole.requests == bytes.requests && whole.exchanges == bytes.exchanges && whole.sum == bytes.sum);
        for (guint i = 0; i < 2; i++)
                assert(whole.frames[i].frames == bytes.frames[i].frames && whole.frames[i].bytes == bytes.frames[i].bytes && whole.frames[i].bad == bytes.frames[i].bad);
        return 0;
}
