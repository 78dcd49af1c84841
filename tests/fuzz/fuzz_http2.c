/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of HTTP/2: pieces of either direction as in fuzz_http1.c (the first byte of the input: 1 = with an upgraded request). Frames are often damaged beyond use by chance, so
 * with 2 in the first byte the lengths of frames are put right: a piece is then a frame, its first byte the type, its second the flags, its third the stream.
 * The same exchanges must come out byte by byte.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/http2.h"
#include "parse/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
        GChecksum *sum;
        guint exchanges, requests;
} Seen;

static void add(GChecksum *sum, const void *p, gsize n) {
        if (n)
                g_checksum_update(sum, p, (gssize) n);
}

static void take_message(Seen *s, BhHttpMessage *m) {
        if (!m)
                return;
        assert(m->n_fields <= BH_HTTP_FIELDS_MAX && m->body->len <= BH_HTTP_BODY_KEEP);
        add(s->sum, &m->anomalies, sizeof(m->anomalies));
        add(s->sum, &m->status, sizeof(m->status));
        add(s->sum, &m->body_bytes, sizeof(m->body_bytes));
        add(s->sum, m->method, strlen(m->method) + 1);
        add(s->sum, m->target, strlen(m->target) + 1);
        if (!(m->anomalies & BH_HTTP_COMPRESSION_BAD))
                add(s->sum, m->body->data, m->body->len);
        for (guint i = 0; i < m->n_fields; i++)
                add(s->sum, m->fields[i].value, strlen(m->fields[i].value) + 1);
        bh_redact_message(m);
}

static void on_request(const BhHttpMessage *m, gpointer data) {
        ((Seen *) data)->requests++;
}

static void on_exchange(BhHttpExchange *x, gpointer data) {
        Seen *s = data;

        s->exchanges++;
        take_message(s, x->request);
        take_message(s, x->response);
}

static void feed(BhHttp2 *p, gboolean client, const uint8_t *bytes, gsize n, gsize step) {
        for (gsize at = 0; at < n; at += step) {
                gsize want = MIN(step, n - at);
                guint8 *exact = g_memdup2(bytes + at, want);

                bh_http2_feed(p, client, exact, want, 0);
                g_free(exact);
        }
}

static void run(const uint8_t *data, size_t size, gsize step, Seen *seen) {
        static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        BhHttpSink sink = { on_request, on_exchange, seen };
        guint8 mode = size ? data[0] : 0;
        BhHttp2 *p = bh_http2_new(0, &sink, mode & 1 ? bh_http_message_new() : NULL);

        if (size)
                data++, size--;
        if (mode & 2)
                feed(p, TRUE, (const guint8 *) preface, sizeof(preface) - 1, step);
        while (size > 1) {
                gboolean client = !(data[0] & 0x80);
                gsize n = MIN((gsize) (data[0] & 0x3f) + 1, size - 1);

                if (data[0] & 0x40) {
                        bh_http2_gap(p, client, n);
                } else if (mode & 2 && n >= 3) {
                        guint8 head[9] = { 0, 0, (guint8) (n - 3), data[1] % 11, data[2], 0, 0, 0, data[3] };

                        feed(p, client, head, sizeof(head), step);
                        feed(p, client, data + 4, n - 3, step);
                } else {
                        feed(p, client, data + 1, n, step);
                }
                data += n + 1;
                size -= n + 1;
        }
        assert(bh_http2_dropped(p) < 1 << 20);
        bh_http2_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Seen whole = { .sum = g_checksum_new(G_CHECKSUM_MD5) }, bytes = { .sum = g_checksum_new(G_CHECKSUM_MD5) };

        run(data, size, 1024, &whole);
        run(data, size, 1, &bytes);
        assert(whole.exchanges == bytes.exchanges && whole.requests == bytes.requests);
        assert(strcmp(g_checksum_get_string(whole.sum), g_checksum_get_string(bytes.sum)) == 0);
        g_checksum_free(whole.sum);
        g_checksum_free(bytes.sum);
        return 0;
}
