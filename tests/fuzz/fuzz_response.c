/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of peers, as people and nodes give them, one a line: what is merged says of each peer what the list said. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "response/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gboolean in(const BhPeerNet *n, const guint8 *addr) {
        for (guint b = 0; b < n->bits; b++)
                if ((n->addr[b / 8] ^ addr[b / 8]) & (0x80 >> (b % 8)))
                        return FALSE;
        return TRUE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autofree char *text = g_strndup((const char *) data, MIN(size, 4096));
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) peers = bh_peers_parse((const char *const *) lines, g_strv_length(lines), &error);

        assert(!peers == (error != NULL));
        if (!peers) {
                assert(g_utf8_validate(error->message, -1, NULL));
                return 0;
        }
        g_autoptr(GArray) nets = bh_peers_merge(peers, &error);
        assert(!nets == (error != NULL));
        if (!nets)
                return 0;
        for (guint i = 0; i < peers->len; i++) {
                const BhPeer *p = &g_array_index(peers, BhPeer, i);
                const BhPeerNet *best = NULL;
                gboolean found = FALSE;

                assert(p->bits <= 128);
                for (guint k = 0; k < nets->len; k++) {
                        const BhPeerNet *n = &g_array_index(nets, BhPeerNet, k);

                        assert(n->n >= 1 && n->n <= G_N_ELEMENTS(n->ports));
                        if (in(n, p->addr) && n->bits <= p->bits && (!best || n->bits > best->bits))
                                best = n;
                }
                assert(best && best->bits == p->bits);
                for (guint k = 0; k < best->n; k++)
                        found |= (!best->ports[k].port || best->ports[k].port == p->port) && (!best->ports[k].proto || best->ports[k].proto == p->proto);
                assert(found);
        }
        return 0;
}
