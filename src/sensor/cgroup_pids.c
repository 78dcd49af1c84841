/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup_pids.h"

#include <stdlib.h>

typedef struct {
        GArray *pids;
        guint max, groups; /* how many more groups */
        gboolean exact;    /* whether there is one more than `max` is to be found out */
} List;

/* FALSE: there are more. */
static gboolean list(List *l, const char *dir, guint depth) {
        g_autofree char *path = g_build_filename(dir, "cgroup.procs", NULL), *text = NULL;
        g_autoptr(GDir) below = NULL;

        if (depth > BH_CGROUP_DEPTH || !l->groups)
                return FALSE;
        l->groups--;
        if (g_file_get_contents(path, &text, NULL, NULL)) {
                char *end;

                for (char *at = text;; at = end) {
                        gint pid = (gint) strtol(at, &end, 10);

                        if (end == at)
                                break;
                        if (l->pids->len == l->max)
                                return FALSE;
                        if (pid > 0) /* 0: of another pid namespace */
                                g_array_append_val(l->pids, pid);
                }
        }
        if (l->pids->len == l->max && !l->exact)
                return FALSE;
        below = g_dir_open(dir, 0, NULL);
        for (const char *name; below && (name = g_dir_read_name(below));) {
                g_autofree char *sub = g_build_filename(dir, name, NULL);

                if (g_file_test(sub, G_FILE_TEST_IS_DIR) && !list(l, sub, depth + 1))
                        return FALSE;
        }
        return TRUE;
}

GArray *bh_cgroup_pids(const char *v2_mount, const char *cgroup, guint max, guint groups, gboolean *more) {
        g_autofree char *dir = g_build_filename(v2_mount, cgroup, NULL);
        List l = { .pids = g_array_new(FALSE, FALSE, sizeof(gint)), .max = max, .groups = groups, .exact = more != NULL };
        gboolean all = list(&l, dir, 0);

        if (more)
                *more = !all;
        return l.pids;
}
