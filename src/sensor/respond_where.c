/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container of a response is, who else is there, and what may not be touched. */
#include "respond.h"

#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "container/cgroup.h"
#include "respond_private.h"

gboolean bh_respond_is_there(const BhRespond *r, const char *cgroup) {
        g_autofree char *path = g_build_filename(r->v2, cgroup, NULL);

        return g_file_test(path, G_FILE_TEST_IS_DIR);
}

char *bh_respond_cgroup_of(const BhRespond *r, const BhContainer *c) {
        for (guint n = g_strv_length(c->cgroup_paths); n-- > 0;)
                if (strlen(c->cgroup_paths[n]) > 1 && bh_respond_is_there(r, c->cgroup_paths[n]))
                        return g_strdup(c->cgroup_paths[n]);
        if (c->init_pid > 0) {
                g_autofree char *path = g_strdup_printf("%s/%d/cgroup", r->proc, c->init_pid), *text = bh_file_read(AT_FDCWD, path, 65536, NULL, NULL, NULL);
                char *line = text ? strstr(text, "0::/") : NULL;

                if (line) {
                        line[strcspn(line, "\n")] = '\0';
                        if (strstr(line, c->id) && bh_respond_is_there(r, line + 3))
                                return g_strdup(line + 3);
                }
        }
        return NULL;
}

guint64 bh_respond_cgroup_id(const BhRespond *r, const char *cgroup) {
        g_autofree char *path = g_build_filename(r->v2, cgroup, NULL);

        return bh_cgroup_id(AT_FDCWD, path);
}

char *bh_respond_protected_by(const BhRespond *r, const BhContainer *c, const char *cgroup) {
        const char *protects = bh_response_protects(bh_container_label(c, BH_RESPONSE_LABEL_PROTECTED), bh_container_label(c, BH_RESPONSE_LABEL_NAMESPACE));
        g_autofree char *own = bh_file_read(AT_FDCWD, "/proc/self/cgroup", 65536, NULL, NULL, NULL);
        char *line = own ? strstr(own, "0::/") : NULL;

        if (protects)
                return g_strdup(protects);
        if (line && cgroup) {
                line[strcspn(line, "\n")] = '\0';
                if (g_str_has_prefix(line + 3, cgroup) && (!line[3 + strlen(cgroup)] || line[3 + strlen(cgroup)] == '/'))
                        return g_strdup("the sensor runs in it");
        }
        return NULL;
}

gboolean bh_respond_shares_network(const BhRespond *r, const BhContainer *c) {
        g_autoptr(GPtrArray) all = NULL;

        if (*c->network_of)
                return TRUE;
        all = bh_container_table_snapshot(r->c.containers);
        for (guint i = 0; i < all->len; i++) {
                const BhContainer *o = all->pdata[i];

                if (g_str_equal(o->id, c->id) || o->state == BH_CONTAINER_REMOVED || o->state == BH_CONTAINER_EXITED)
                        continue;
                if (g_str_equal(o->network_of, c->id) || (c->net_ns && o->net_ns == c->net_ns))
                        return TRUE;
        }
        return FALSE;
}

gboolean bh_respond_shares_pids(const BhRespond *r, const BhContainer *c) {
        g_autoptr(GPtrArray) all = NULL;

        if (*c->pid_mode && !g_str_equal(c->pid_mode, "private"))
                return TRUE;
        all = bh_container_table_snapshot(r->c.containers);
        for (guint i = 0; i < all->len; i++) {
                const BhContainer *o = all->pdata[i];

                if (g_str_has_prefix(o->pid_mode, "container:") && g_str_has_prefix(c->id, o->pid_mode + strlen("container:")))
                        return TRUE;
        }
        return FALSE;
}
