/* SPDX-License-Identifier: Apache-2.0 */
/* What Unix sockets moved, from the kernel's counts to flows. */
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "flows_private.h"

#define PATIENCE_US (2 * G_USEC_PER_SEC) /* of an entry of a container that nobody has described yet, as its events wait */
#define WAITING_MAX (2 * BH_UNIX_MAX)

/* What processes are called and where they are, found in the drain thread. */
typedef struct {
        char *exe, *peer_exe; /* NULL: not known */
        guint64 peer_cgroup;
        gboolean peer_known;
} Who;

typedef struct {
        BhFlows *flows;
        const GArray *taken;
        Who *who;
} Found;

void bh_flows_open_unix(BhFlows *f) {
        g_autoptr(GError) error = NULL;

        f->unix_waiting = g_array_new(FALSE, FALSE, sizeof(BhUnixMoved));
        if (!f->sockets || (f->unixes = bh_unixes_new(f->c.hooks, &error)))
                return;
        bh_warn("flows of Unix sockets have no bytes", "error", error->message);
        f->unix_problem = g_strdup(error->message);
}

static char *text_of(struct bh_str s) {
        return s.len ? g_strndup(s.p, s.len) : NULL;
}

static void find(gpointer data) {
        Found *found = data;

        for (guint i = 0; i < found->taken->len; i++) {
                const BhUnixMoved *m = &g_array_index(found->taken, BhUnixMoved, i);
                struct bh_process_view view;
                Who *who = &found->who[i];

                if (bh_process_find(found->flows->c.processes, m->key.tgid, m->key.start, &view))
                        who->exe = text_of(view.exe);
                who->peer_known = m->key.peer_pid != 0;
                if (m->key.peer_pid && bh_process_find(found->flows->c.processes, m->key.peer_pid, 0, &view)) {
                        who->peer_exe = text_of(view.exe);
                        who->peer_cgroup = view.cgroup;
                }
        }
}

/* As events have it, see BhSocket. */
static void set_path(char path[BH_SOCK_PATH_MAX + 1], const struct bh_unix_moved *m) {
        guint n = MIN(m->path_len, BH_SOCK_PATH_MAX);

        if (n && m->path[0])
                n = (guint) strnlen((const char *) m->path, n);
        for (guint i = 0; i < n; i++)
                path[i] = m->path[i] ? (char) m->path[i] : '@';
        path[n] = '\0';
}

/* FALSE: it is not known yet whose it is. */
static gboolean tell(BhFlows *f, const BhUnixMoved *m, const Who *who, gboolean last) {
        g_auto(BhContainerLookup) own = { 0 }, peer = { 0 };
        char path[BH_SOCK_PATH_MAX + 1];

        bh_container_table_lookup(f->c.containers, m->moved.cgroup, &own);
        if (who->peer_cgroup)
                bh_container_table_lookup(f->c.containers, who->peer_cgroup, &peer);
        if (!last && ((own.is_container ? !own.container : own.undecided) || (peer.is_container ? !peer.container : peer.undecided)))
                return FALSE;
        set_path(path, &m->moved);
        if (!*path)
                return TRUE;

        const BhFlowUnix moved = {
                .container_id = own.container ? own.container->id : "",
                .exe = who->exe,
                .role = m->key.server ? BH_FLOW_SERVER : BH_FLOW_CLIENT,
                .path = path,
                .path_dev = m->moved.path_dev ? bh_dev_from_kernel(m->moved.path_dev) : 0,
                .path_ino = m->moved.path_ino,
                .peer_known = who->peer_known,
                .peer_container_id = peer.container ? peer.container->id : "",
                .peer_exe = who->peer_exe,
                .bytes_out = m->moved.bytes_out,
                .bytes_in = m->moved.bytes_in,
                .messages_out = m->moved.messages_out,
                .messages_in = m->moved.messages_in,
                .first_ns = (gint64) (m->moved.first + f->c.clock.now),
                .last_ns = (gint64) (m->moved.last + f->c.clock.now),
        };
        g_mutex_lock(&f->lock);
        bh_flow_table_unix_moved(f->table, &moved);
        g_mutex_unlock(&f->lock);
        return TRUE;
}

void bh_flows_take_unix(BhFlows *f, gboolean rest) {
        gint64 now_us = g_get_monotonic_time();
        GArray *waiting = f->unix_waiting;
        g_autoptr(GError) error = NULL;
        gboolean used;
        guint fresh;

        if (!f->unixes)
                return;
        g_mutex_lock(&f->lock);
        used = bh_flow_table_unix_used(f->table, g_get_real_time() * 1000);
        g_mutex_unlock(&f->lock);
        fresh = waiting->len;
        if (rest) {
                bh_unixes_rest(f->unixes, waiting);
        } else if (!bh_unixes_round(f->unixes, used, now_us, waiting, &error)) {
                bh_warn("flows of Unix sockets have no bytes any more", "error", error->message);
                g_mutex_lock(&f->lock);
                f->unix_problem = g_strdup(error->message);
                g_mutex_unlock(&f->lock);
        }
        if (!waiting->len)
                return;
        if (waiting->len > fresh || !f->unix_since_us)
                f->unix_since_us = now_us;

        g_autofree Who *who = g_new0(Who, waiting->len);
        Found found = { f, waiting, who };
        gboolean last = rest || waiting->len > WAITING_MAX - BH_UNIX_MAX || now_us - f->unix_since_us > PATIENCE_US;
        guint kept = 0;

        f->c.call(find, &found, f->c.data);
        for (guint i = 0; i < waiting->len; i++) {
                BhUnixMoved *m = &g_array_index(waiting, BhUnixMoved, i);

                if (!tell(f, m, &who[i], last))
                        g_array_index(waiting, BhUnixMoved, kept++) = *m;
                g_free(who[i].exe);
                g_free(who[i].peer_exe);
        }
        g_array_set_size(waiting, kept);
        if (!kept)
                f->unix_since_us = 0;
}

void bh_flows_close_unix(BhFlows *f) {
        bh_flows_take_unix(f, TRUE);
        g_clear_pointer(&f->unix_waiting, g_array_unref);
        g_clear_pointer(&f->unixes, bh_unixes_free);
}
