/* SPDX-License-Identifier: Apache-2.0 */
#include "tasks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/fdio.h"
#include "hooks_private.h"
#include "loader.h"
#include "tasks.skel.h"

#define READ_BYTES (32u << 10) /* what an iterator gives at most at once */

struct BhTasks {
        struct bpf_object *object;
        struct bpf_link *link;
};

BhTasks *bh_tasks_new(BhHooks *hooks, GError **error) {
        g_autoptr(BhTasks) t = g_new0(BhTasks, 1);
        size_t size;
        const void *bytes = bh_tasks__elf_bytes(&size);

        if (!(t->object = bh_loader_load_apart(hooks, "tasks", bytes, size, error)))
                return NULL;
        if (!(t->link = bpf_program__attach(bpf_object__find_program_by_name(t->object, "walk_tasks")))) {
                bh_hooks_fail(error, "this kernel lets no program go through its processes: %s", g_strerror(errno));
                return NULL;
        }
        return g_steal_pointer(&t);
}

void bh_tasks_free(BhTasks *t) {
        if (!t)
                return;
        if (t->link)
                bpf_link__destroy(t->link);
        if (t->object)
                bpf_object__close(t->object);
        g_free(t);
}

gboolean bh_tasks_list(BhTasks *t, GArray *out, GError **error) {
        g_auto(BhFd) fd = bpf_iter_create(bpf_link__fd(t->link));
        g_autofree guint8 *buf = g_malloc(READ_BYTES);
        guint before = out->len;
        gsize have = 0;

        if (fd < 0)
                return bh_hooks_fail(error, "cannot go through the kernel's processes: %s", g_strerror(errno));
        for (;;) {
                gssize n = read(fd, buf + have, READ_BYTES - have);

                if (n < 0 && (errno == EAGAIN || errno == EINTR)) /* EAGAIN: so that others have their turn */
                        continue;
                if (n < 0) {
                        g_array_set_size(out, before);
                        return bh_hooks_fail(error, "cannot go on through the kernel's processes: %s", g_strerror(errno));
                }
                if (n == 0)
                        return TRUE;
                have += (gsize) n;
                gsize whole = have / sizeof(struct bh_task_record);
                g_array_append_vals(out, buf, (guint) whole);
                have -= whole * sizeof(struct bh_task_record);
                memmove(buf, buf + whole * sizeof(struct bh_task_record), have);
        }
}
