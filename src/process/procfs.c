/* SPDX-License-Identifier: Apache-2.0 */
#include "process/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fdio.h"

#define TICK_NS (1000000000u / 100) /* USER_HZ is 100 on every architecture that BPF runs on */
#define KTHREAD 0x00200000u         /* PF_KTHREAD */

void bh_procfs_clear(BhProcfs *p) {
        g_clear_pointer(&p->exe, g_free);
        g_clear_pointer(&p->args, g_free);
        g_clear_pointer(&p->env, g_free);
        g_clear_pointer(&p->cwd, g_free);
        g_clear_pointer(&p->cgroup, g_free);
}

static gboolean fail(GError **error, guint32 pid, const char *what) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "read process %u: %s", pid, what);
        return FALSE;
}

static int open_process(int proc, guint32 pid, GError **error) {
        char name[16];

        g_snprintf(name, sizeof(name), "%u", pid);

        int fd = openat(proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                fail(error, pid, g_strerror(errno));
        return fd;
}

/* proc_pid_stat(5). The name is between the first '(' and the last ')', and may itself have any of them. */
static gboolean read_stat(int dir, guint32 pid, BhProcfs *out, GError **error) {
        gsize len;
        g_autofree char *text = bh_file_read(dir, "stat", 4096, &len, NULL, error);

        if (!text)
                return FALSE;

        char *p = strrchr(text, ')'), state;
        guint flags;
        guint64 start;
        int ppid, pgid, sid, tty, threads;

        if (!p || sscanf(p, ") %c %d %d %d %d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %" G_GUINT64_FORMAT, &state, &ppid, &pgid, &sid, &tty, &flags, &threads,
                         &start) != 8)
                return fail(error, pid, "its stat has not the shape that proc(5) says");
        /* a leader that has ended counts as a zombie while other threads of the process go on */
        if (state == 'X' || (state == 'Z' && threads <= 1))
                return fail(error, pid, "it has exited");
        out->pid = pid;
        out->ppid = (guint32) ppid;
        out->pgid = pgid > 0 ? (guint32) pgid : 0;
        out->sid = sid > 0 ? (guint32) sid : 0;
        out->tty = (guint32) tty;
        out->kthread = (flags & KTHREAD) != 0;
        out->start = start * TICK_NS;
        return TRUE;
}

/* First number of the line that begins with `key`, and up to n in all. */
static guint numbers(const char *text, const char *key, int base, guint64 *out, guint n) {
        gsize len = strlen(key);

        for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                if (strncmp(line, key, len) != 0)
                        continue;

                const char *p = line + len;
                guint got = 0;

                while (got < n) {
                        char *end;

                        p += strspn(p, "\t ");
                        if (!g_ascii_isxdigit(*p))
                                break;
                        out[got++] = g_ascii_strtoull(p, &end, (guint) base);
                        p = end;
                }
                return got;
        }
        return 0;
}

/* The kernel escapes newlines in the name, so that no process can add a line of its own. */
static void read_status(int dir, BhProcfs *out) {
        g_autofree char *text = bh_file_read(dir, "status", 65536, NULL, NULL, NULL);
        guint64 uid[4], gid[4], ids[40];
        struct bh_cred *c = &out->cred;
        guint n;

        if (!text)
                return;
        n = numbers(text, "NSpid:", 10, ids, G_N_ELEMENTS(ids));
        out->vpid = n ? (guint32) ids[n - 1] : 0;
        if (numbers(text, "Uid:", 10, uid, 4) != 4 || numbers(text, "Gid:", 10, gid, 4) != 4)
                return;
        c->uid = (guint32) uid[0];
        c->euid = (guint32) uid[1];
        c->suid = (guint32) uid[2];
        c->fsuid = (guint32) uid[3];
        c->gid = (guint32) gid[0];
        c->egid = (guint32) gid[1];
        c->sgid = (guint32) gid[2];
        c->fsgid = (guint32) gid[3];
        out->has_cred = numbers(text, "CapInh:", 16, (guint64 *) &c->cap_inheritable, 1) && numbers(text, "CapPrm:", 16, (guint64 *) &c->cap_permitted, 1) &&
                        numbers(text, "CapEff:", 16, (guint64 *) &c->cap_effective, 1) && numbers(text, "CapBnd:", 16, (guint64 *) &c->cap_bounding, 1);
        numbers(text, "CapAmb:", 16, (guint64 *) &c->cap_ambient, 1);
}

static guint32 ns_inode(int dir, const char *name) {
        struct stat st;

        return fstatat(dir, name, &st, 0) == 0 ? (guint32) st.st_ino : 0;
}

static char *read_link(int dir, const char *name, gsize *len) {
        char buf[BH_PATH_MAX + 64];
        ssize_t n = readlinkat(dir, name, buf, sizeof(buf));

        if (n <= 0)
                return NULL;
        *len = (gsize) n;
        return g_memdup2(buf, (gsize) n);
}

/* Executable, arguments and environment of one and the same program. */
static void read_image(int dir, BhProcfs *out) {
        for (guint attempt = 0; attempt < 3; attempt++) {
                struct stat before, after;
                gboolean cut = FALSE;

                if (fstatat(dir, "exe", &before, 0) < 0)
                        return; /* a kernel thread, or it is exiting */
                g_free(out->exe);
                g_free(out->args);
                g_free(out->env);
                out->flags = 0;
                out->exe = read_link(dir, "exe", &out->exe_len);
                out->args = bh_file_read(dir, "cmdline", BH_ARGV_MAX, &out->args_len, &cut, NULL);
                if (cut)
                        out->flags |= BH_RF_ARGS_CUT;
                cut = FALSE;
                out->env = bh_file_read(dir, "environ", BH_ENVP_MAX, &out->env_len, &cut, NULL);
                if (cut)
                        out->flags |= BH_RF_ENV_CUT;
                out->exe_dev = (guint32) before.st_dev;
                out->exe_ino = before.st_ino;
                out->exe_ctime = (guint64) before.st_ctim.tv_sec * 1000000000u + (guint64) before.st_ctim.tv_nsec;
                out->exe_mtime = (guint64) before.st_mtim.tv_sec * 1000000000u + (guint64) before.st_mtim.tv_nsec;
                out->exe_mode = before.st_mode;
                out->exe_uid = before.st_uid;
                if (before.st_nlink == 0)
                        out->flags |= BH_RF_EXE_DELETED;
                if (fstatat(dir, "exe", &after, 0) == 0 && after.st_dev == before.st_dev && after.st_ino == before.st_ino)
                        break;
        }
        /* the kernel adds " (deleted)" where there is no name any more; a file may also be named so */
        if (out->exe && out->flags & BH_RF_EXE_DELETED && out->exe_len > 10 && memcmp(out->exe + out->exe_len - 10, " (deleted)", 10) == 0)
                out->exe_len -= 10;
        if (out->exe && out->flags & BH_RF_EXE_DELETED && out->exe_len >= 7 && memcmp(out->exe, "/memfd:", 7) == 0)
                out->flags |= BH_RF_EXE_MEMFD;
        if (out->args && !out->args_len)
                g_clear_pointer(&out->args, g_free);
        if (out->env && !out->env_len)
                g_clear_pointer(&out->env, g_free);
}

/* Lines are "hierarchy:controllers:path"; v2 is "0::path". A path from outside the reader's cgroup namespace ("/..") names nothing. */
static char *read_cgroup(int dir, const char *controller) {
        g_autofree char *text = bh_file_read(dir, "cgroup", 65536, NULL, NULL, NULL);

        if (!text)
                return NULL;
        for (char *line = text, *next; line && *line; line = next) {
                char *end = strchr(line, '\n');

                next = end ? end + 1 : NULL;
                if (end)
                        *end = '\0';

                char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
                if (!path)
                        continue;
                *path++ = '\0';
                names++;
                if (g_str_has_suffix(path, " (deleted)"))
                        path[strlen(path) - 10] = '\0';
                if (g_str_has_prefix(path, "/.."))
                        continue;
                if (!controller) {
                        if (strncmp(line, "0:", 2) == 0 && !*names)
                                return g_strdup(path);
                        continue;
                }
                g_auto(GStrv) list = g_strsplit(names, ",", -1);
                if (g_strv_contains((const char *const *) list, controller))
                        return g_strdup(path);
        }
        return NULL;
}

gboolean bh_procfs_read_stat(int proc, guint32 pid, BhProcfs *out, GError **error) {
        g_auto(BhFd) dir = open_process(proc, pid, error);

        *out = (BhProcfs){ 0 };
        return dir >= 0 && read_stat(dir, pid, out, error);
}

gboolean bh_procfs_read(int proc, guint32 pid, const char *controller, BhProcfs *result, GError **error) {
        g_auto(BhFd) dir = open_process(proc, pid, error);
        g_auto(BhProcfs) out = { 0 };

        if (dir < 0 || !read_stat(dir, pid, &out, error))
                return FALSE;
        read_status(dir, &out);
        if (!out.kthread)
                read_image(dir, &out);

        g_autofree char *comm = bh_file_read(dir, "comm", 64, NULL, NULL, NULL);
        if (comm) {
                char *end = strrchr(comm, '\n');

                if (end)
                        *end = '\0';
                g_strlcpy(out.comm, comm, sizeof(out.comm));
        }
        g_autofree char *loginuid = bh_file_read(dir, "loginuid", 32, NULL, NULL, NULL);
        out.loginuid = loginuid ? (guint32) g_ascii_strtoull(loginuid, NULL, 10) : G_MAXUINT32;
        out.cwd = read_link(dir, "cwd", &out.cwd_len);
        out.cgroup = read_cgroup(dir, controller);
        out.mnt_ns = ns_inode(dir, "ns/mnt");
        out.pid_ns = ns_inode(dir, "ns/pid");
        out.net_ns = ns_inode(dir, "ns/net");
        out.user_ns = ns_inode(dir, "ns/user");
        out.ipc_ns = ns_inode(dir, "ns/ipc");
        out.uts_ns = ns_inode(dir, "ns/uts");
        out.cgroup_ns = ns_inode(dir, "ns/cgroup");
        out.cred.user_ns = out.user_ns;

        /* still there: what was read is whole */
        BhProcfs again = { 0 };
        if (!read_stat(dir, pid, &again, error))
                return FALSE;
        out.ppid = again.ppid;
        *result = out;
        memset(&out, 0, sizeof(out));
        return TRUE;
}
