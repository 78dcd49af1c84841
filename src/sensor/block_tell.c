/* SPDX-License-Identifier: Apache-2.0 */
/* What was refused, as the kernel programs tell it. */
#include <bpf/bpf.h>
#include <unistd.h>

#include "block_private.h"

gboolean bh_block_refused(BhBlock *b, guint32 number, guint64 *acts, guint64 *untold) {
        struct bh_block_count v = { 0 };

        if (b->backend && bpf_map_lookup_elem(b->maps[BLOCK_COUNTS], &number, &v) == 0) {
                *acts = v.acts;
                *untold = v.untold;
                return TRUE;
        }
        return FALSE;
}

static int on_act(void *data, void *bytes, size_t size) {
        BhBlock *b = data;

        if (size >= sizeof(struct bh_block_act))
                b->told(bytes, b->told_data);
        return 0;
}

/* Of another build, whose acts may have another size: those are in its counts alone. */
static int on_left(void *data, void *bytes, size_t size) {
        return size == sizeof(struct bh_block_act) ? on_act(data, bytes, size) : 0;
}

void bh_block_tell(BhBlock *b, BhBlockTold told, gpointer data) {
        b->told = told;
        b->told_data = data;
        for (guint i = 0; i < b->left->len; i++) {
                struct ring_buffer *ring = ring_buffer__new(g_array_index(b->left, int, i), on_left, b, NULL);

                if (ring)
                        ring_buffer__consume(ring);
                ring_buffer__free(ring);
                close(g_array_index(b->left, int, i));
        }
        g_array_set_size(b->left, 0);
        if (b->backend && (b->ring || (b->ring = ring_buffer__new(b->maps[BLOCK_ACTS], on_act, b, NULL))))
                ring_buffer__consume(b->ring);
}
