/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of an nfnetlink socket, through the parser and into the table; what comes out of the table is what went in. */
#include <assert.h>
#include <stdint.h>

#include "graph/conntrack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void each(const BhConntrackEntry *e, gpointer data) {
        BhConntrackEnds ends;
        BhConntrack *c = data;

        assert(e->original.src.len == 4 || e->original.src.len == 16);
        assert(e->original.src.len == e->original.dst.len && e->reply.src.len == e->reply.dst.len && e->reply.src.len == e->original.src.len);
        bh_conntrack_apply(c, e, 1);
        if (e->change == BH_CONNTRACK_DESTROY)
                return;
        gboolean found = bh_conntrack_undo_client(c, e->proto, &e->original.src, e->original.sport, &e->original.dst, e->original.dport, &ends);
        assert(found == e->translated);
        assert(!found || (ends.server_port == e->reply.sport && ends.dialled_port == e->original.dport));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(BhConntrack) c = bh_conntrack_new(8);
        BhConntrackStats stats;
        gboolean done = FALSE;
        int error = 0;

        bh_conntrack_parse(data, size, each, c, &done, &error);
        bh_conntrack_stats(c, &stats);
        assert(stats.entries <= 8 && error >= 0);
        return 0;
}
