/* SPDX-License-Identifier: Apache-2.0 */
#include "leftovers.h"

#include <bpf/bpf.h>
#include <string.h>
#include <unistd.h>

#define EACH 30u        /* calls */
#define ONCE_MAX 32768u /* entries looked at in one map, its size */

struct known_fd { /* struct bh_written_fd of written.bpf.h */
        guint32 tgid, fd;
};

struct BhLeftovers {
        char *proc_path;
        int fds, sets, written;
        guint calls;
        GHashTable *gone; /* tgids that had ended at the last look */
};

BhLeftovers *bh_leftovers_new(BhHooks *hooks, const char *proc_path) {
        BhLeftovers *l = g_new0(BhLeftovers, 1);

        l->proc_path = g_strdup(proc_path);
        l->fds = bh_hooks_map(hooks, "written_fds");
        l->sets = bh_hooks_map(hooks, "written_sets");
        l->written = bh_hooks_map(hooks, "written");
        l->gone = g_hash_table_new(NULL, NULL);
        return l;
}

void bh_leftovers_free(BhLeftovers *l) {
        if (!l)
                return;
        g_hash_table_unref(l->gone);
        g_free(l->proc_path);
        g_free(l);
}

static gboolean alive(BhLeftovers *l, guint32 tgid) {
        g_autofree char *path = g_strdup_printf("%s/%u", l->proc_path, tgid);

        return access(path, F_OK) == 0;
}

/* Keys of a map; entries that come or go meanwhile may be missed, or stand there twice. */
static GArray *keys_of(int map, guint size) {
        GArray *keys = g_array_new(FALSE, FALSE, size);
        guint8 at[16], next[16];

        for (guint i = 0; i < ONCE_MAX && bpf_map_get_next_key(map, i ? at : NULL, next) == 0; i++) {
                memcpy(at, next, size);
                g_array_append_vals(keys, at, 1);
        }
        return keys;
}

/* Removes the descriptors of `dead`. Files that nothing else leads to go with them. */
static guint64 forget(BhLeftovers *l, GHashTable *dead) {
        g_autoptr(GArray) keys = keys_of(l->fds, sizeof(struct known_fd));
        g_autoptr(GHashTable) files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        GHashTableIter i;
        gpointer file;
        guint64 forgotten = 0;

        for (guint k = 0; k < keys->len; k++) {
                struct known_fd *key = &g_array_index(keys, struct known_fd, k);
                guint64 at;

                if (g_hash_table_contains(dead, GUINT_TO_POINTER(key->tgid)) && bpf_map_lookup_elem(l->fds, key, &at) == 0 && bpf_map_delete_elem(l->fds, key) == 0)
                        g_hash_table_add(files, g_memdup2(&at, sizeof(at)));
        }
        for (guint k = 0; k < keys->len; k++) {
                guint64 at;

                if (bpf_map_lookup_elem(l->fds, &g_array_index(keys, struct known_fd, k), &at) == 0)
                        g_hash_table_remove(files, &at);
        }
        for (g_hash_table_iter_init(&i, files); g_hash_table_iter_next(&i, &file, NULL); )
                forgotten += bpf_map_delete_elem(l->written, file) == 0;
        return forgotten;
}

guint64 bh_leftovers_sweep(BhLeftovers *l) {
        if (l->sets < 0 || l->fds < 0 || l->written < 0 || l->calls++ % EACH)
                return 0;

        g_autoptr(GArray) keys = keys_of(l->sets, sizeof(guint32));
        g_autoptr(GHashTable) now = g_hash_table_new(NULL, NULL), dead = g_hash_table_new(NULL, NULL);
        GHashTableIter i;
        gpointer tgid;
        guint64 forgotten;

        for (guint k = 0; k < keys->len; k++) {
                guint32 id = g_array_index(keys, guint32, k);

                if (!alive(l, id))
                        g_hash_table_add(g_hash_table_contains(l->gone, GUINT_TO_POINTER(id)) ? dead : now, GUINT_TO_POINTER(id));
        }
        g_hash_table_unref(l->gone);
        l->gone = g_steal_pointer(&now);
        if (!g_hash_table_size(dead))
                return 0;
        forgotten = forget(l, dead);
        for (g_hash_table_iter_init(&i, dead); g_hash_table_iter_next(&i, &tgid, NULL); ) {
                guint32 id = GPOINTER_TO_UINT(tgid);

                bpf_map_delete_elem(l->sets, &id);
        }
        return forgotten;
}
