/* SPDX-License-Identifier: Apache-2.0 */
#include "walk.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

#include "base/fdio.h"
#include "hooks_private.h"
#include "loader.h"

#define READ_BYTES (64u << 10) /* an iterator gives at most 32 KiB at once */

gboolean bh_walk_load(BhWalk *w, BhHooks *hooks, const char *name, const void *bytes, gsize size, const char *program, const char *through, GError **error) {
        *w = (BhWalk){ .object = bh_loader_load_apart(hooks, name, bytes, size, error), .through = through };
        if (!w->object)
                return FALSE;
        w->link = bpf_program__attach(bpf_object__find_program_by_name(w->object, program));
        return w->link || bh_hooks_fail(error, "this kernel lets no program go through %s: %s", through, g_strerror(errno));
}

void bh_walk_clear(BhWalk *w) {
        if (w->link)
                bpf_link__destroy(w->link);
        if (w->object)
                bpf_object__close(w->object);
        *w = (BhWalk){ 0 };
}

gboolean bh_walk_run(const BhWalk *w, BhWalkTake take, gpointer data, GError **error) {
        g_auto(BhFd) fd = bpf_iter_create(bpf_link__fd(w->link));
        g_autofree guint8 *buf = g_malloc(READ_BYTES);
        gsize have = 0;

        if (fd < 0)
                return bh_hooks_fail(error, "cannot go through %s: %s", w->through, g_strerror(errno));
        for (;;) {
                gssize n = read(fd, buf + have, READ_BYTES - have);

                if (n < 0 && (errno == EAGAIN || errno == EINTR)) /* EAGAIN: after a million of them, so that others have their turn */
                        continue;
                if (n < 0)
                        return bh_hooks_fail(error, "cannot go on through %s: %s", w->through, g_strerror(errno));
                if (n == 0)
                        return TRUE;
                have += (gsize) n;
                if (!take(buf, &have, data))
                        return bh_hooks_fail(error, "the kernel programs that go through %s wrote a record that is not of this build", w->through);
        }
}
