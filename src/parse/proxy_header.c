/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/proxy_header.h"

#include <string.h>

#define V2_FIXED 16u /* signature, version and command, family, length */

static const char v1[] = "PROXY ", v2[] = "\r\n\r\n\0\r\nQUIT\n";

static gboolean begins_as(const BhProxyHeader *h, const char *with, gsize len) {
        return memcmp(h->held, with, MIN(h->len, len)) == 0;
}

static BhProxyVerdict version_2(BhProxyHeader *h) {
        if (h->len == sizeof(v2) && h->held[12] >> 4 != 2)
                return BH_PROXY_DONE;
        if (h->len < V2_FIXED)
                return BH_PROXY_MORE;
        h->left = (guint) h->held[14] << 8 | h->held[15];
        h->passing = h->left > 0;
        h->found = TRUE;
        h->len = 0;
        return h->passing ? BH_PROXY_MORE : BH_PROXY_DONE;
}

/* Whether the last word of the line, which ends at `end`, is a version of HTTP. */
static gboolean is_request(const guint8 *line, gsize end) {
        gsize from;

        while (end && (line[end - 1] == ' ' || line[end - 1] == '\t'))
                end--;
        for (from = end; from && line[from - 1] != ' ' && line[from - 1] != '\t';)
                from--;
        return end - from >= 5 && memcmp(line + from, "HTTP/", 5) == 0;
}

static BhProxyVerdict version_1(BhProxyHeader *h) {
        guint8 byte = h->held[h->len - 1];

        if (h->line) {
                /* "Host:", or "GET /" */
                if (g_ascii_isalnum((char) byte) || byte == '-' || byte == '_')
                        return h->len < h->line + BH_PROXY_WORD ? BH_PROXY_MORE : BH_PROXY_DONE;
                if ((byte == ' ' || byte == '\t') && h->len > h->line + 1) {
                        h->len -= h->line;
                        memmove(h->held, h->held + h->line, h->len);
                        h->found = TRUE;
                }
                return BH_PROXY_DONE;
        }
        if (byte != '\n')
                return h->len < BH_PROXY_LINE ? BH_PROXY_MORE : BH_PROXY_DONE;
        gsize end = h->len - 1;
        if (end && h->held[end - 1] == '\r')
                end--;
        if (is_request(h->held, end)) {
                h->line = h->len;
                return BH_PROXY_MORE;
        }
        h->found = TRUE;
        h->len = 0;
        return BH_PROXY_DONE;
}

BhProxyVerdict bh_proxy_header_feed(BhProxyHeader *h, guint8 byte) {
        if (h->passing) {
                h->passing = --h->left > 0;
                return h->passing ? BH_PROXY_MORE : BH_PROXY_DONE;
        }
        h->held[h->len++] = byte;
        if (begins_as(h, v2, sizeof(v2) - 1))
                return version_2(h);
        if (begins_as(h, v1, sizeof(v1) - 1))
                return h->len < sizeof(v1) ? BH_PROXY_MORE : version_1(h);
        return BH_PROXY_DONE;
}

gboolean bh_proxy_header_gap(BhProxyHeader *h, guint64 n) {
        if (!h->passing)
                return FALSE;
        h->left -= (guint) MIN((guint64) h->left, n);
        h->passing = h->left > 0;
        return TRUE;
}
