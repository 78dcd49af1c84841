/* SPDX-License-Identifier: Apache-2.0 */
#include "tasks.h"

#include <string.h>

#include "tasks.skel.h"
#include "walk.h"

struct BhTasks {
        BhWalk iterator;
};

BhTasks *bh_tasks_new(BhHooks *hooks, GError **error) {
        g_autoptr(BhTasks) t = g_new0(BhTasks, 1);
        size_t size;
        const void *bytes = bh_tasks__elf_bytes(&size);

        return bh_walk_load(&t->iterator, hooks, "tasks", bytes, size, "walk_tasks", "the kernel's processes", error) ? g_steal_pointer(&t) : NULL;
}

void bh_tasks_free(BhTasks *t) {
        if (!t)
                return;
        bh_walk_clear(&t->iterator);
        g_free(t);
}

static gboolean take(guint8 *buf, gsize *have, gpointer data) {
        const gsize whole = *have / sizeof(struct bh_task_record);

        g_array_append_vals(data, buf, (guint) whole);
        *have -= whole * sizeof(struct bh_task_record);
        memmove(buf, buf + whole * sizeof(struct bh_task_record), *have);
        return TRUE;
}

gboolean bh_tasks_list(BhTasks *t, GArray *out, GError **error) {
        const guint before = out->len;

        if (bh_walk_run(&t->iterator, take, out, error))
                return TRUE;
        g_array_set_size(out, before);
        return FALSE;
}
