/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/dns_stream.h"

/* Bytes that nobody has. */
static void skip(BhDnsStream *s, guint64 n, BhDnsStreamMessage message, gpointer data) {
        if (!s->left || n > s->left) {
                s->lost = TRUE;
                return;
        }
        s->cut = TRUE;
        s->left -= (guint32) n;
        if (!s->left)
                message(s->kept->data, s->kept->len, s->total, data);
}

static void take(BhDnsStream *s, const guint8 *bytes, gsize len, BhDnsStreamMessage message, gpointer data) {
        while (len && !s->lost) {
                if (!s->left) {
                        s->head[s->n_head++] = *bytes++;
                        len--;
                        if (s->n_head < 2)
                                continue;
                        s->n_head = 0;
                        s->total = s->left = (guint32) s->head[0] << 8 | s->head[1];
                        s->cut = FALSE;
                        s->lost = s->total < BH_DNS_STREAM_LEAST;
                        if (!s->kept)
                                s->kept = g_byte_array_new();
                        g_byte_array_set_size(s->kept, 0);
                        continue;
                }
                gsize n = MIN(len, s->left), room = s->cut ? 0 : BH_DNS_STREAM_KEEP - MIN(s->kept->len, BH_DNS_STREAM_KEEP);

                g_byte_array_append(s->kept, bytes, (guint) MIN(n, room));
                bytes += n;
                len -= n;
                s->left -= (guint32) n;
                if (!s->left)
                        message(s->kept->data, s->kept->len, s->total, data);
        }
}

void bh_dns_stream_feed(BhDnsStream *s, guint64 offset, const guint8 *bytes, gsize len, BhDnsStreamMessage message, gpointer data) {
        guint64 end = offset + len;

        if (s->lost || end < offset)
                return;
        if (!s->seen && offset)
                s->lost = TRUE; /* from the middle */
        s->seen = TRUE;
        if (!s->lost && offset > s->next)
                skip(s, offset - s->next, message, data);
        if (s->lost || end <= s->next)
                return;
        gsize known = offset < s->next ? (gsize) (s->next - offset) : 0;
        s->next = end;
        take(s, bytes + known, len - known, message, data);
}

void bh_dns_stream_clear(BhDnsStream *s) {
        g_clear_pointer(&s->kept, g_byte_array_unref);
}
