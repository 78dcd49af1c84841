/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/websocket.h"

enum { CONTINUES, TEXT, BINARY, CLOSE = 8, PING, PONG };

static guint head_size(const BhWebsocket *w) {
        guint n = w->head[1] & 0x7f;

        return 2u + (n == 126 ? 2u : n == 127 ? 8u : 0u) + (w->head[1] & 0x80 ? 4u : 0u);
}

static void head_done(BhWebsocket *w) {
        guint8 kind = w->head[0] & 15;
        guint n = w->head[1] & 0x7f, bytes = n == 126 ? 2 : n == 127 ? 8 : 0;

        w->left = bytes ? 0 : n;
        for (guint i = 0; i < bytes; i++)
                w->left = w->left << 8 | w->head[2 + i];
        w->head_len = 0;
        /* control frames are short and whole */
        if ((kind > BINARY && kind < CLOSE) || kind > PONG || w->left >> 63 || (kind >= CLOSE && (w->left > 125 || !(w->head[0] & 0x80)))) {
                w->bad = TRUE;
                return;
        }
        w->masked = (w->head[1] & 0x80) != 0;
        w->frames++;
        w->texts += kind == TEXT;
        w->binaries += kind == BINARY;
        w->controls += kind >= CLOSE;
        w->closed |= kind == CLOSE;
}

void bh_websocket_feed(BhWebsocket *w, const guint8 *bytes, gsize len) {
        for (gsize at = 0; at < len && !w->bad;) {
                if (w->left) {
                        gsize n = (gsize) MIN((guint64) (len - at), w->left);

                        w->left -= n;
                        w->bytes += n;
                        at += n;
                        continue;
                }
                w->head[w->head_len++] = bytes[at++];
                if (w->head_len >= 2 && w->head_len == head_size(w))
                        head_done(w);
        }
}

void bh_websocket_gap(BhWebsocket *w, guint64 n) {
        if (n > w->left)
                w->bad = TRUE;
        else
                w->left -= n;
}
