/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of cgroups: frozen, killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "cgroup_pids.h"
#include "enforce.h"
#include "enforce_link.h"

#define WAIT_US (1000 * 1000)

static gboolean put(const char *dir, const char *file, const char *value) {
        g_autofree char *path = g_build_filename(dir, file, NULL);
        g_auto(BhFd) fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && write(fd, value, strlen(value)) == (gssize) strlen(value);
}

static gboolean is_frozen(const char *dir, gboolean *frozen) {
        g_autofree char *path = g_build_filename(dir, "cgroup.events", NULL), *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return FALSE;
        *frozen = strstr(text, "frozen 1") != NULL;
        return TRUE;
}

gboolean bh_cgroup_freeze(const char *v2_mount, const char *cgroup, gboolean freeze, GError **error) {
        g_autofree char *dir = g_build_filename(v2_mount, cgroup, NULL);
        gint64 until = g_get_monotonic_time() + WAIT_US;
        gboolean frozen = !freeze;

        if (!put(dir, "cgroup.freeze", freeze ? "1" : "0"))
                return bh_enforce_fail(error, "cannot %s the container's cgroup: %s", freeze ? "freeze" : "thaw", g_strerror(errno));
        while (is_frozen(dir, &frozen) && frozen != freeze && g_get_monotonic_time() < until)
                g_usleep(500);
        if (frozen != freeze)
                return bh_enforce_fail(error, "the container's cgroup is not %s after a second: a process of it is stuck in the kernel", freeze ? "frozen" : "thawed");
        return TRUE;
}

gboolean bh_cgroup_kill(const char *v2_mount, const char *cgroup, GError **error) {
        g_autofree char *dir = g_build_filename(v2_mount, cgroup, NULL);

        if (put(dir, "cgroup.kill", "1")) /* since 5.14: whoever forks meanwhile is killed, too */
                return TRUE;
        bh_cgroup_freeze(v2_mount, cgroup, TRUE, NULL); /* nobody forks meanwhile */
        for (guint round = 0; round < 100; round++) {
                g_autoptr(GArray) pids = bh_cgroup_pids(v2_mount, cgroup, G_MAXUINT, G_MAXUINT, NULL);

                for (guint i = 0; i < pids->len; i++)
                        kill(g_array_index(pids, gint, i), SIGKILL);
                if (!round) /* also where it was frozen too late to be said so: it must not stay */
                        bh_cgroup_freeze(v2_mount, cgroup, FALSE, NULL);
                if (!pids->len)
                        break;
                g_usleep(5000);
        }
        g_autoptr(GArray) left = bh_cgroup_pids(v2_mount, cgroup, 1, G_MAXUINT, NULL);
        return !left->len || bh_enforce_fail(error, "processes of the container are still there half a second after they were killed");
}
