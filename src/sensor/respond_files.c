/* SPDX-License-Identifier: Apache-2.0 */
#include "respond_files.h"

/* What opens do not tell of. */
static void add_ways(const BhDeny *d, json_t *ways) {
        g_autofree char *path = g_utf8_make_valid(d->path, -1);
        const char *below = d->tree ? "below " : "";

        if (d->ops & (BH_DENY_CREATE | BH_DENY_DELETE))
                json_array_append_new(ways, json_sprintf("names %s%s can be made, removed and renamed: only opens are denied", below, path));
        if (d->ops & BH_DENY_WRITE)
                json_array_append_new(ways, json_sprintf("truncate() shortens files %s%s without opening them", below, path));
}

gboolean bh_respond_files(BhFileKeeper *keeper, const char *container, const char *cgroup, pid_t pid, const GPtrArray *denies, json_t *ways, GError **error) {
        g_autoptr(GPtrArray) files = g_ptr_array_new();
        gboolean programs = FALSE;
        json_t *way;
        size_t k;

        for (guint i = 0; i < denies->len; i++) {
                BhDeny *d = denies->pdata[i];

                if (d->kind == BH_DENY_EXEC_HASH) {
                        programs = TRUE;
                        g_ptr_array_add(files, d);
                }
                if (d->kind != BH_DENY_FILE)
                        continue;
                add_ways(d, ways);
                if (d->ops & (BH_DENY_READ | BH_DENY_WRITE))
                        g_ptr_array_add(files, d);
        }
        if (programs)
                json_array_append_new(ways, json_string("programs in memory (memfd), and those that another one loads (ld.so PROGRAM, an interpreter), run whatever their content; so do those on volumes for up to a second, through mounts that the container makes later, and those on file systems that others serve (FUSE, NFS, 9p), which it may mount later and which are then not listed here"));
        if (!files->len)
                return bh_filekeeper_drop(keeper, container, error);
        json_auto_t *told = bh_filekeeper_set(keeper, container, cgroup, pid, files, error);
        if (!told)
                return FALSE;
        json_array_foreach(json_object_get(told, "open"), k, way)
                json_array_append(ways, way);
        return TRUE;
}
