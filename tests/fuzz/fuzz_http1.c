/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of HTTP/1: pieces of either direction, each with a byte before it that says which (0x80 = the server's), whether it is a gap (0x40) and how
 * long it is. The same exchanges must come out when each piece is fed byte by byte, and every bound must hold. Redaction then takes what came out.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "parse/http1.h"
#include "parse/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
        GChecksum *sum;
        guint exchanges, requests;
} Seen;

static void add(GChecksum *sum, const void *p, gsize n) {
        g_checksum_update(sum, p, (gssize) n);
}

static void take_message(Seen *s, BhHttpMessage *m) {
        if (!m)
                return;
        assert(m->n_fields <= BH_HTTP_FIELDS_MAX && m->body->len <= BH_HTTP_BODY_KEEP && strlen(m->target) <= BH_HTTP_HEAD_MAX);
        assert(m->version == 9 || m->version == 10 || m->version == 11 || !*m->method);
        add(s->sum, &m->anomalies, sizeof(m->anomalies));
        add(s->sum, &m->status, sizeof(m->status));
        add(s->sum, &m->body_bytes, sizeof(m->body_bytes));
        add(s->sum, &m->head_bytes, sizeof(m->head_bytes));
        add(s->sum, m->method, strlen(m->method) + 1);
        add(s->sum, m->target, strlen(m->target) + 1);
        /* how much of a damaged body a decoder gives before it says so depends on the pieces */
        if (m->body->len && !(m->anomalies & BH_HTTP_COMPRESSION_BAD))
                add(s->sum, m->body->data, m->body->len);
        for (guint i = 0; i < m->n_fields; i++)
                add(s->sum, m->fields[i].value, strlen(m->fields[i].value) + 1);
        g_autofree char *path = bh_http_path(m), *shape = bh_http_path_template(path);
        assert(strlen(bh_http_query(m)) <= strlen(m->target) && *shape <= 127);
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

static void run(const uint8_t *data, size_t size, gsize step, Seen *seen) {
        BhHttpSink sink = { on_request, on_exchange, seen };
        BhHttp1 *p = bh_http1_new(0, &sink);

        while (size > 1) {
                gboolean client = !(data[0] & 0x80);
                gsize n = MIN((gsize) (data[0] & 0x3f) + 1, size - 1);

                if (data[0] & 0x40) {
                        bh_http1_gap(p, client, n);
                        n = 0;
                }
                for (gsize at = 0; at < n;) {
                        gsize want = MIN(step, n - at);
                        guint8 *exact = g_memdup2(data + 1 + at, want);
                        gsize took = bh_http1_feed(p, client, exact, want, 0);

                        assert(took <= want && (took == want || bh_http1_state(p) != BH_HTTP1_GOING));
                        g_free(exact);
                        if (took < want)
                                break;
                        at += want;
                }
                data += n + 1;
                size -= n + 1;
        }
        bh_http1_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Seen whole = { .sum = g_checksum_new(G_CHECKSUM_MD5) }, bytes = { .sum = g_checksum_new(G_CHECKSUM_MD5) };

        run(data, size, 64, &whole);
        run(data, size, 1, &bytes);
        assert(whole.exchanges == bytes.exchanges && whole.requests == bytes.requests);
        assert(strcmp(g_checksum_get_string(whole.sum), g_checksum_get_string(bytes.sum)) == 0);
        g_checksum_free(whole.sum);
        g_checksum_free(bytes.sum);
        return 0;
}
