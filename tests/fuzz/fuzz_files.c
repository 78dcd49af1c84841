/* SPDX-License-Identifier: Apache-2.0 */
/* The mount table of a container's process: what is read of it lies within what may be. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "response/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GArray) mounts = bh_file_mounts_parse((const char *) data, size, size % 2 ? "/" : "/jail");

        for (guint i = 0; mounts && i < mounts->len; i++) {
                const BhFileMount *m = &g_array_index(mounts, BhFileMount, i);
                g_autofree char *below = g_strconcat(m->point, "/x", NULL), *inside = bh_file_inside(m, below);

                assert(m->root && m->type && m->point);
                assert(!inside || g_str_has_suffix(inside, "/x"));
                assert(bh_file_mounts_find(mounts, m->id));
        }
        assert(!mounts || mounts->len <= BH_FILE_MOUNTS_MAX);
        return 0;
}
