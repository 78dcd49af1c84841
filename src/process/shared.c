/* SPDX-License-Identifier: Apache-2.0 */
#include "process/shared.h"

#include <string.h>
#include <xxhash.h>

static guint hash(gconstpointer key) {
        return ((const struct bh_shared *) key)->hash;
}

static gboolean equal(gconstpointer a, gconstpointer b) {
        const struct bh_shared *x = a, *y = b;

        return x->len == y->len && memcmp(x->data, y->data, x->len) == 0;
}

void bh_shared_init(BhSharedSet *s, gsize max_bytes) {
        *s = (BhSharedSet){ .set = g_hash_table_new(hash, equal), .max_bytes = max_bytes };
}

void bh_shared_clear(BhSharedSet *s) {
        g_assert(!s->set || g_hash_table_size(s->set) == 0);
        g_clear_pointer(&s->set, g_hash_table_unref);
}

struct bh_shared *bh_shared_get(BhSharedSet *s, const void *data, gsize len) {
        struct bh_shared probe = { .refs = 1, .hash = (guint32) XXH3_64bits(data, len), .len = (guint32) len, .data = data };
        struct bh_shared *have = g_hash_table_lookup(s->set, &probe);
        gsize size = sizeof(*have) + len;

        if (have) {
                have->refs++;
                return have;
        }
        if (s->bytes + size > s->max_bytes) {
                s->refused++;
                return NULL;
        }
        have = g_malloc(size);
        *have = probe;
        have->data = memcpy(have + 1, data, len);
        s->bytes += size;
        g_hash_table_add(s->set, have);
        return have;
}

struct bh_shared *bh_shared_ref(struct bh_shared *share) {
        if (share)
                share->refs++;
        return share;
}

void bh_shared_put(BhSharedSet *s, struct bh_shared **share) {
        struct bh_shared *old = *share;

        *share = NULL;
        if (!old || old->refs > 1) {
                if (old)
                        old->refs--;
                return;
        }
        g_hash_table_remove(s->set, old);
        s->bytes -= sizeof(*old) + old->len;
        g_free(old);
}
