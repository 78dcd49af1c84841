/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "process/table_private.h"

static gint by_start(gconstpointer a, gconstpointer b) {
        const BhProcfs *x = a, *y = b;

        return x->start != y->start ? (x->start < y->start ? -1 : 1) : x->pid < y->pid ? -1 : 1;
}

/* Every process of /proc, by stat alone, oldest first. */
static GArray *list(int proc, GError **error) {
        /* a directory stream of its own: the position of t->proc is nobody's */
        g_auto(BhFd) fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

        if (!dir) {
                int err = errno;

                g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "list /proc: %s", g_strerror(err));
                return NULL;
        }
        bh_fd_steal(&fd);

        GArray *found = g_array_new(FALSE, FALSE, sizeof(BhProcfs));
        struct dirent *entry;

        while ((entry = readdir(dir))) {
                BhProcfs one;
                char *end;
                guint64 pid = g_ascii_strtoull(entry->d_name, &end, 10);

                if (pid && pid <= G_MAXINT32 && !*end && bh_procfs_read_stat(proc, (guint32) pid, &one, NULL))
                        g_array_append_val(found, one);
        }
        closedir(dir);
        g_array_sort(found, by_start);
        return found;
}

/* A cgroup's id is the inode number of its directory. */
static guint64 cgroup_id(const BhProcessTable *t, GHashTable *ids, const char *path) {
        if (!t->cgroup_root || !path)
                return 0;

        guint64 *known = g_hash_table_lookup(ids, path);
        if (known)
                return *known;

        g_autofree char *full = g_strconcat(t->cgroup_root, path, NULL);
        struct stat st;
        guint64 id = stat(full, &st) == 0 ? st.st_ino : 0;

        g_hash_table_insert(ids, g_strdup(path), g_memdup2(&id, sizeof(id)));
        return id;
}

#define TEXT(member, text, length) \
        do { \
                if (text) \
                        BH_SET(e, member, ((struct bh_str){ text, (guint32) (length) })); \
        } while (0)
#define NUMBER(member, value) \
        do { \
                if (value) \
                        BH_SET(e, member, value); \
        } while (0)

static void describe(const BhProcessTable *t, const struct bh_process *p, const BhProcfs *info, struct bh_decoded *d) {
        struct bh_event *e = &d->event;

        memset(d, 0, offsetof(struct bh_decoded, text));
        d->origin = p->origin;
        d->start = p->start;
        BH_SET(e, type, BH_EV_PROCESS);
        BH_SET(e, source, BH_SOURCE_SCAN);
        BH_SET(e, time, (guint64) g_get_real_time() * 1000);
        BH_SET(e, boottime, bh_table_now());
        BH_SET(e, count, 1);
        NUMBER(flags, info->flags);
        BH_SET(e, pid, info->pid);
        BH_SET(e, tid, info->pid);
        BH_SET(e, ppid, info->ppid);
        NUMBER(vpid, info->vpid);
        BH_SET(e, proc_start, bh_clock_start(&t->config.clock, p->start));
        BH_SET_STR(e, comm, info->comm);
        TEXT(exe, info->exe, info->exe_len);
        TEXT(args, info->args, info->args_len);
        TEXT(env, info->env, info->env_len);
        TEXT(cwd, info->cwd, info->cwd_len);
        if (info->exe) {
                BH_SET(e, exe_dev, info->exe_dev);
                BH_SET(e, exe_ino, info->exe_ino);
                BH_SET(e, exe_ctime, info->exe_ctime);
                BH_SET(e, exe_mtime, info->exe_mtime);
                BH_SET(e, exe_mode, info->exe_mode);
                BH_SET(e, exe_uid, info->exe_uid);
        }
        NUMBER(sid, info->sid);
        NUMBER(pgid, info->pgid);
        BH_SET(e, tty, info->tty);
        BH_SET(e, loginuid, info->loginuid);
        if (info->has_cred) {
                d->has_cred = TRUE;
                d->cred = info->cred;
                BH_SET(e, uid, info->cred.euid);
                BH_SET(e, gid, info->cred.egid);
                bh_event_set_cred(e, &info->cred);
        }
        NUMBER(mnt_ns, info->mnt_ns);
        NUMBER(pid_ns, info->pid_ns);
        NUMBER(net_ns, info->net_ns);
        NUMBER(user_ns, info->user_ns);
        NUMBER(ipc_ns, info->ipc_ns);
        NUMBER(uts_ns, info->uts_ns);
        NUMBER(cgroup_ns, info->cgroup_ns);
        NUMBER(cgroup, p->cgroup);
        BH_SET_STR(e, cgroup_path, info->cgroup);
}

gint bh_process_scan(BhProcessTable *t, guint64 since, BhProcessFound found, gpointer data, GError **error) {
        if (t->proc < 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "scan processes: %s could not be opened", t->config.proc_path ? t->config.proc_path : "/proc");
                return -1;
        }

        g_autoptr(GArray) all = list(t->proc, error);
        if (!all)
                return -1;
        if (!all->len) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "scan processes: there is not one; is the host's /proc mounted there?");
                return -1;
        }

        g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        guint32 scan = ++t->scans;
        gint announced = 0;

        /* all entries first, so that each parent is there when its child is described */
        for (guint i = 0; i < all->len; i++) {
                const BhProcfs *stat = &g_array_index(all, BhProcfs, i);
                struct bh_process *p = bh_table_find(t, stat->pid, stat->start, FALSE);

                if (!p) {
                        p = bh_table_insert(t, stat->pid, stat->start, FALSE);
                        p->stub = TRUE;
                        p->ppid = stat->ppid;
                }
                p->scan = scan;
        }

        for (guint i = 0; i < all->len; i++) {
                const BhProcfs *stat = &g_array_index(all, BhProcfs, i);
                struct bh_process *p = bh_table_find(t, stat->pid, stat->start, FALSE);
                g_auto(BhProcfs) info = { 0 };
                struct bh_decoded d;

                if (!p)
                        continue; /* over the bound */
                if (!bh_procfs_read(t->proc, stat->pid, t->cgroup_controller, &info, NULL) || info.start != stat->start) {
                        bh_table_exit(t, p, bh_table_now());
                        continue;
                }

                /* it lives: /proc knows better than what was recorded before an exec that nobody told of */
                if (p->recalled && info.exe)
                        bh_table_forget_program(t, p, info.exe, info.exe_len);
                p->recalled = FALSE;
                /* live events know better what they know; a name and the lineage of one found by the scan are not known at all */
                bh_table_fill(t, p, &info, cgroup_id(t, ids, info.cgroup));
                if (p->announced)
                        continue;
                p->announced = TRUE;
                if (since && bh_start_shown(stat->start) > bh_start_shown(since))
                        continue;
                announced++;
                if (!found)
                        continue;
                describe(t, p, &info, &d);
                bh_process_enrich(t, &d);
                found(&d, data);
        }

        for (struct bh_process *p = t->queues[BH_QUEUE_LIVE].first, *next; p; p = next) {
                next = p->q_next;
                if (p->scan != scan) {
                        t->stats.exits_missed += !p->recalled;
                        bh_table_exit(t, p, bh_table_now());
                }
        }
        return announced;
}
