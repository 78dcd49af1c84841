/* SPDX-License-Identifier: Apache-2.0 */
#include "container/netns.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"

#define CGROUP_TEXT_MAX 65536u

guint32 bh_netns_of(const char *proc_path, gint32 pid, const char *id) {
        g_autofree char *dir = g_strdup_printf("%s/%d", proc_path, pid);
        /* held open, so that both reads are about one process */
        g_auto(BhFd) fd = pid > 0 && *id ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        struct stat st;

        if (fd < 0)
                return 0;
        g_autofree char *cgroups = bh_file_read(fd, "cgroup", CGROUP_TEXT_MAX, NULL, NULL, NULL);
        if (!cgroups || !strstr(cgroups, id) || fstatat(fd, "ns/net", &st, 0) < 0)
                return 0;
        return (guint32) st.st_ino;
}
