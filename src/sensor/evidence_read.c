/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fdio.h"
#include "evidence_private.h"

#define PART_MAX (256u << 10) /* of one file in /proc */
#define FDS_MAX 512u
#define TICK_NS 10000000u /* /proc/PID/stat: 1/100 s */

/* Field 22 of /proc/PID/stat; the name in brackets may hold anything. */
static guint64 start_ticks(int dir) {
        g_autofree char *text = bh_file_read(dir, "stat", 4096, NULL, NULL, NULL);
        char *at = text ? strrchr(text, ')') : NULL;

        for (guint i = 0; at && i < 20; i++)
                at = strchr(at + 1, ' ');
        return at ? g_ascii_strtoull(at + 1, NULL, 10) : 0;
}

int bh_evidence_open_pid(BhEvidence *v, guint32 pid) {
        g_autofree char *path = g_strdup_printf("%s/%u", v->proc_path, pid);

        return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int bh_evidence_open_process(BhEvidence *v, const BhJob *j) {
        g_auto(BhFd) dir = j->pid ? bh_evidence_open_pid(v, j->pid) : -1;

        if (dir < 0 || (j->start && start_ticks(dir) != j->start / TICK_NS))
                return -1;
        return bh_fd_steal(&dir);
}

/* ---- files ---- */

static gboolean is_it(const BhJob *j, int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (!j->ino || st.st_ino == j->ino);
}

/* To be opened in earnest only when it is a plain file: opening a device or a pipe is an act. */
static int open_plain(const BhJob *j, int path_fd) {
        char name[64];

        if (path_fd < 0 || !is_it(j, path_fd))
                return -1;
        g_snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
        return open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static int open_at(const BhJob *j, int dir, const char *name) {
        g_auto(BhFd) fd = openat(dir, name, O_PATH | O_CLOEXEC);

        return open_plain(j, fd);
}

/* Links in there lead where they lead for the process, never into the sensor's own tree. */
static int open_below(const BhJob *j, int dir, const char *path) {
        g_auto(BhFd) root = openat(dir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

        if (root < 0 || *path != '/')
                return -1;
        g_auto(BhFd) fd = (int) syscall(SYS_openat2, root, path, &how, sizeof(how));
        return open_plain(j, fd);
}

int bh_evidence_open_exe(const BhJob *j, int dir) {
        return open_at(j, dir, "exe");
}

/* The process may be gone and the file still be there: through the container's first process, or the node's root. */
static int open_through_others(BhEvidence *v, const BhJob *j, const char *path) {
        const char *id = j->container ? j->container : j->origin_id;
        g_autoptr(BhContainer) c = bh_evidence_container(v, id);
        int fd = -1;

        if (*path != '/' || (!j->ino && !j->only_written)) /* nobody would know that it is the same file */
                return -1;
        if (c && c->init_pid > 0) {
                g_auto(BhFd) dir = bh_evidence_open_pid(v, (guint32) c->init_pid);

                fd = dir >= 0 ? open_below(j, dir, path) : -1;
        }
        if (fd < 0 && !j->container) {
                g_auto(BhFd) dir = bh_evidence_open_pid(v, 1);

                fd = dir >= 0 ? open_below(j, dir, path) : -1;
        }
        return fd;
}

static int open_named(BhEvidence *v, const BhJob *j) {
        g_auto(BhFd) dir = bh_evidence_open_process(v, j);
        char name[32];
        int fd = -1;

        if (dir >= 0 && (j->kind == BH_JOB_FD || j->kind == BH_JOB_HOLD)) {
                g_snprintf(name, sizeof(name), "fd/%d", j->fd);
                fd = open_at(j, dir, name);
        }
        if (fd < 0 && dir >= 0 && j->kind == BH_JOB_EXE)
                fd = open_at(j, dir, "exe");
        if (fd < 0 && j->kind == BH_JOB_EXE)
                fd = bh_evidence_take_hold(v, j);
        if (fd < 0 && j->kind != BH_JOB_HOLD && j->path && dir >= 0)
                fd = open_below(j, dir, j->path);
        if (fd < 0 && j->kind != BH_JOB_HOLD && j->path)
                fd = open_through_others(v, j, j->path);
        return fd;
}

int bh_evidence_open_file(BhEvidence *v, const BhJob *j, struct stat *st) {
        int fd = j->kind == BH_JOB_EXE ? bh_evidence_take_copy(v, j, st) : -1;

        if (fd >= 0)
                return fd;
        fd = open_named(v, j);
        if (fd < 0 && j->kind == BH_JOB_EXE) /* it may have been stopped, copied and over since the first look */
                fd = bh_evidence_take_copy(v, j, st);
        else if (fd >= 0 && fstat(fd, st)) {
                close(fd);
                fd = -1;
        }
        return fd;
}

/* ---- processes ---- */

static void part(GString *out, const char *name, const char *text, gsize len, gboolean cut) {
        g_string_append_printf(out, "==== %s%s\n", name, cut ? " (cut)" : "");
        g_string_append_len(out, text, (gssize) len);
        if (len && text[len - 1] != '\n')
                g_string_append_c(out, '\n');
}

static void part_file(GString *out, int dir, const char *name) {
        gsize len = 0;
        gboolean cut = FALSE;
        g_autofree char *text = bh_file_read(dir, name, PART_MAX, &len, &cut, NULL);

        if (!text)
                return;
        for (gsize i = 0; i < len; i++) /* of command lines */
                if (!text[i])
                        text[i] = '\n';
        part(out, name, text, len, cut);
}

/* Values are secrets. Those that tell how the program was led astray are not. */
static void part_environment(GString *out, int dir) {
        gsize len = 0;
        gboolean cut = FALSE;
        g_autofree char *text = bh_file_read(dir, "environ", PART_MAX, &len, &cut, NULL);
        g_autoptr(GString) names = g_string_new(NULL);

        for (gsize at = 0; text && at < len;) {
                const char *one = text + at, *equals = strchr(one, '=');
                gboolean whole = g_str_has_prefix(one, "LD_") || g_str_has_prefix(one, "PATH=");

                g_string_append_len(names, one, equals && !whole ? equals - one : (gssize) strlen(one));
                g_string_append_c(names, '\n');
                at += strlen(one) + 1;
        }
        if (text)
                part(out, "environ (names; values of LD_* and PATH)", names->str, names->len, cut);
}

static void part_link(GString *out, int dir, const char *name) {
        char to[4096];
        ssize_t n = readlinkat(dir, name, to, sizeof(to));

        if (n > 0)
                part(out, name, to, (gsize) n, n == (ssize_t) sizeof(to));
}

static void part_links(GString *out, int dir, const char *name) {
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        g_autoptr(GString) text = g_string_new(NULL);
        struct dirent *e;
        guint n = 0;

        if (!d) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        while ((e = readdir(d)) && n < FDS_MAX) {
                char to[4096];
                ssize_t len = *e->d_name == '.' ? -1 : readlinkat(dirfd(d), e->d_name, to, sizeof(to));

                if (len <= 0)
                        continue;
                g_string_append_printf(text, "%s -> %.*s\n", e->d_name, (int) len, to);
                n++;
        }
        closedir(d);
        part(out, name, text->str, text->len, n == FDS_MAX);
}

GString *bh_evidence_look(BhEvidence *v, const BhJob *j) {
        static const char *const files[] = { "cmdline", "status", "maps", "cgroup", "mountinfo", "loginuid", "net/tcp", "net/tcp6", "net/udp", "net/unix" };
        g_auto(BhFd) dir = bh_evidence_open_process(v, j);

        if (dir < 0)
                return NULL;
        GString *out = g_string_new(NULL);
        part_link(out, dir, "exe");
        part_link(out, dir, "cwd");
        part_link(out, dir, "root");
        for (guint i = 0; i < G_N_ELEMENTS(files); i++)
                part_file(out, dir, files[i]);
        part_environment(out, dir);
        part_links(out, dir, "fd");
        part_links(out, dir, "ns");
        return out;
}
