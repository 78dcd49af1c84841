/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that many owners share: equal contents are stored once and counted. A BhSharedSet holds them; it has a bound in bytes, and what
 * does not fit is refused (NULL) and counted. One thread. All shares must be given back before the set is freed.
 */
#pragma once
#include <glib.h>

struct bh_shared {
        guint32 refs, hash, len;
        const char *data; /* behind the struct */
};

typedef struct {
        GHashTable *set;
        gsize bytes, max_bytes;
        guint64 refused;
} BhSharedSet;

void bh_shared_init(BhSharedSet *s, gsize max_bytes);
void bh_shared_clear(BhSharedSet *s);
/* A share of these bytes, or NULL where they would exceed the bound. */
struct bh_shared *bh_shared_get(BhSharedSet *s, const void *data, gsize len);
/* One more share; NULL gives NULL. */
struct bh_shared *bh_shared_ref(struct bh_shared *share);
/* Gives a share back and sets the owner's pointer to NULL. */
void bh_shared_put(BhSharedSet *s, struct bh_shared **share);
