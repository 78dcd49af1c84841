/* SPDX-License-Identifier: Apache-2.0 */
#include "map_each.h"

#include <bpf/bpf.h>
#include <errno.h>

#define CHUNK 256u
#define CHUNK_MAX 65536u /* entries in one bucket; far beyond what a map of ours can have */

gboolean bh_map_each(int fd, guint key_size, guint value_size, void (*each)(const void *key, const void *value, gpointer data), gpointer data) {
        guint room = CHUNK;
        g_autofree guint8 *keys = g_malloc((gsize) room * key_size), *values = g_malloc((gsize) room * value_size);
        guint64 at = 0, next = 0; /* a bucket's number: half of it */
        gboolean first = TRUE;

        for (;;) {
                __u32 count = room;
                int err = bpf_map_lookup_batch(fd, first ? NULL : &at, &next, keys, values, &count, NULL) ? errno : 0;

                if (err == ENOSPC && room < CHUNK_MAX) { /* the next bucket has more */
                        room *= 2;
                        keys = g_realloc(keys, (gsize) room * key_size);
                        values = g_realloc(values, (gsize) room * value_size);
                        continue;
                }
                if (err && err != ENOENT) {
                        errno = err;
                        return FALSE;
                }
                for (guint i = 0; i < count; i++)
                        each(keys + (gsize) i * key_size, values + (gsize) i * value_size, data);
                if (err == ENOENT)
                        return TRUE;
                at = next;
                first = FALSE;
        }
}
