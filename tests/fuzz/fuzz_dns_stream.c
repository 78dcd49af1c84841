/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of DNS messages in pieces: before each piece a byte that says how far it stands behind or ahead of the last, and one for its length. */
#include <glib.h>
#include <stdint.h>

#include "parse/dns_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(const guint8 *bytes, gsize len, guint32 total, gpointer data) {
        guint *sum = data;

        g_assert(len <= total && len <= BH_DNS_STREAM_KEEP && total >= BH_DNS_STREAM_LEAST);
        for (gsize i = 0; i < len; i++)
                *sum += bytes[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        BhDnsStream s = { 0 };
        guint64 at = 0;
        guint sum = 0;

        for (size_t i = 0; i + 2 <= size;) {
                gint64 jump = (gint8) data[i];
                size_t n = MIN((size_t) data[i + 1], size - i - 2);

                at = jump < 0 && at < (guint64) -jump ? 0 : at + (guint64) jump;
                bh_dns_stream_feed(&s, at, data + i + 2, n, on_message, &sum);
                at += n;
                i += 2 + n;
        }
        bh_dns_stream_clear(&s);
        return 0;
}
