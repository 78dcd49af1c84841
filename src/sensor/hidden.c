/* SPDX-License-Identifier: Apache-2.0 */
#include "hidden.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fdio.h"

#define TEXT_MAX (4u << 20)
#define VIEWS 2

static gpointer key_of(guint32 pid) {
        return GUINT_TO_POINTER(pid);
}

static void add(GHashTable *into, guint32 pid, guint32 how) {
        g_hash_table_insert(into, key_of(pid), GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(into, key_of(pid))) | how));
}

/* ---- mounts */

static void mount_free(gpointer p) {
        BhProcMount *m = p;

        g_free(m->point);
        g_free(m->what);
        g_free(m);
}

/* proc(5): "id parent major:minor root point options [optional]… - type source options". */
GPtrArray *bh_hidden_mounts(const char *mountinfo, const char *proc) {
        GPtrArray *out = g_ptr_array_new_with_free_func(mount_free);
        g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
        gsize skip = strlen(proc);

        while (skip && proc[skip - 1] == '/')
                skip--;
        for (guint i = 0; lines[i]; i++) {
                g_auto(GStrv) f = g_strsplit(lines[i], " ", -1);
                guint n = g_strv_length(f), dash = 6;

                if (n < 6 || strncmp(f[4], proc, skip) || f[4][skip] != '/' || !g_ascii_isdigit(f[4][skip + 1]))
                        continue;
                char *end;
                guint64 pid = g_ascii_strtoull(f[4] + skip + 1, &end, 10);
                if (!pid || pid > G_MAXINT32 || (*end && *end != '/'))
                        continue;
                while (dash < n && !g_str_equal(f[dash], "-"))
                        dash++;
                BhProcMount *m = g_new0(BhProcMount, 1);
                m->pid = (guint32) pid;
                m->point = g_strdup(f[4]);
                m->what = dash + 2 < n ? g_strdup_printf("%s %s%s%s", f[dash + 1], f[dash + 2], g_str_equal(f[3], "/") ? "" : " ", g_str_equal(f[3], "/") ? "" : f[3]) : g_strdup("");
                g_ptr_array_add(out, m);
        }
        return out;
}

const BhProcMount *bh_hidden_mount_of(const GPtrArray *mounts, guint32 pid) {
        const BhProcMount *best = NULL;

        for (guint i = 0; i < mounts->len; i++) {
                const BhProcMount *m = mounts->pdata[i];

                if (m->pid == pid && (!best || strlen(m->point) < strlen(best->point)))
                        best = m;
        }
        return best;
}

/* ---- looks */

/* NULL: it could not be read to its end, which says nothing of anybody. */
static GHashTable *listed(int proc) {
        GHashTable *out = g_hash_table_new(NULL, NULL);
        g_auto(BhFd) fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *e;

        if (d)
                bh_fd_steal(&fd);
        for (errno = 0; d && (e = readdir(d)); errno = 0)
                if (g_ascii_isdigit(*e->d_name))
                        g_hash_table_add(out, key_of((guint32) g_ascii_strtoull(e->d_name, NULL, 10)));
        if (!d || errno)
                g_clear_pointer(&out, g_hash_table_unref);
        if (d)
                closedir(d);
        return out;
}

/* What there is by number. A root of a mount there is none of /proc's own. */
static guint32 asked(int proc, guint32 pid) {
        char name[16];
        struct statx st;

        g_snprintf(name, sizeof(name), "%u", pid);
        if (statx(proc, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &st))
                return errno == ENOENT ? BH_HIDDEN_ABSENT : 0;
        return st.stx_attributes & STATX_ATTR_MOUNT_ROOT ? BH_HIDDEN_COVERED : 0;
}

void bh_hidden_look(int proc, const GArray *tasks, GHashTable *into) {
        g_autoptr(GHashTable) there = listed(proc);

        for (guint i = 0; i < tasks->len; i++) {
                const struct bh_task_record *t = &g_array_index(tasks, struct bh_task_record, i);

                if (t->flags & BH_TASK_DYING)
                        continue;
                guint32 how = (!there || g_hash_table_contains(there, key_of(t->tgid)) ? 0 : BH_HIDDEN_UNLISTED) | asked(proc, t->tgid);
                if (how)
                        add(into, t->tgid, how);
        }
}

void bh_hidden_look_mounts(const GPtrArray *mounts, const GArray *tasks, GHashTable *into) {
        g_autoptr(GHashTable) over = NULL;

        if (!mounts->len)
                return;
        over = g_hash_table_new(NULL, NULL);
        for (guint i = 0; i < mounts->len; i++)
                g_hash_table_add(over, key_of(((const BhProcMount *) mounts->pdata[i])->pid));
        for (guint i = 0; i < tasks->len; i++) {
                const struct bh_task_record *t = &g_array_index(tasks, struct bh_task_record, i);

                if (!(t->flags & BH_TASK_DYING) && g_hash_table_contains(over, key_of(t->tgid)))
                        add(into, t->tgid, BH_HIDDEN_COVERED);
        }
}

/* ---- the comparison */

GArray *bh_hidden_compare(const GArray *before, GHashTable *first, GHashTable *second, const GArray *after) {
        GArray *out = g_array_new(FALSE, FALSE, sizeof(BhHidden));
        g_autoptr(GHashTable) then = g_hash_table_new(NULL, NULL);

        for (guint i = 0; i < after->len; i++) {
                const struct bh_task_record *t = &g_array_index(after, struct bh_task_record, i);

                g_hash_table_insert(then, key_of(t->tgid), (gpointer) t);
        }
        for (guint i = 0; i < before->len; i++) {
                const struct bh_task_record *t = &g_array_index(before, struct bh_task_record, i), *now = g_hash_table_lookup(then, key_of(t->tgid));
                guint32 how = GPOINTER_TO_UINT(g_hash_table_lookup(first, key_of(t->tgid))) & GPOINTER_TO_UINT(g_hash_table_lookup(second, key_of(t->tgid)));

                /* one that is not of the kernel's list may just have ended without that being told */
                if ((t->flags | (now ? now->flags : 0)) & BH_TASK_UNSURE && how & BH_HIDDEN_ABSENT)
                        how = 0;
                if (!how || !now || now->start != t->start || (now->flags | t->flags) & BH_TASK_DYING)
                        continue;
                BhHidden h = { .task = *now, .how = how };
                g_array_append_val(out, h);
        }
        return out;
}

char *bh_hidden_text(const BhHidden *h, const BhProcMount *mount) {
        g_autoptr(GString) out = g_string_new(NULL);

        if (h->how & BH_HIDDEN_ABSENT)
                g_string_append(out, h->how & BH_HIDDEN_UNLISTED ? "neither listed in /proc nor there when asked for" : "listed in /proc and not there when asked for");
        else if (h->how & BH_HIDDEN_UNLISTED)
                g_string_append(out, "not listed in /proc");
        if (h->how & BH_HIDDEN_COVERED) {
                g_string_append_printf(out, "%sa mount lies over ", out->len ? "; " : "");
                if (mount)
                        g_string_append_printf(out, "%s%s%s%s", mount->point, *mount->what ? " (" : "", mount->what, *mount->what ? ")" : "");
                else
                        g_string_append_printf(out, "/proc/%u", h->task.tgid);
        }
        return g_strdup(out->str);
}

/* ---- the node */

/* Whether it is a /proc of the process ids that the list has. -1: it is none. */
static int open_view(const char *path, guint32 self) {
        g_auto(BhFd) fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char link[16] = "";
        struct statfs fs;

        if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC)
                return -1;
        if (self && (readlinkat(fd, "self", link, sizeof(link) - 1) <= 0 || g_ascii_strtoull(link, NULL, 10) != self))
                return -1;
        return bh_fd_steal(&fd);
}

static guint64 mount_id(int fd) {
        struct statx st;

        return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) == 0 && st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
}

static guint32 self_of(const GArray *tasks) {
        for (guint i = 0; i < tasks->len; i++)
                if (g_array_index(tasks, struct bh_task_record, i).flags & BH_TASK_SELF)
                        return g_array_index(tasks, struct bh_task_record, i).tgid;
        return 0;
}

typedef struct {
        int fd[VIEWS]; /* -1: none */
        gboolean apart; /* this process has other mounts than the node's first */
} Views;

static gboolean open_views(const char *proc, guint32 self, Views *v) {
        g_autofree char *of_first = g_build_filename(proc, "1", "root", "proc", NULL), *ours = g_build_filename(proc, "self", "ns", "mnt", NULL), *theirs = g_build_filename(proc, "1", "ns", "mnt", NULL);
        struct stat a, b;

        v->fd[0] = open_view(proc, self);
        v->fd[1] = open_view(of_first, self);
        if (v->fd[0] >= 0 && v->fd[1] >= 0 && mount_id(v->fd[0]) && mount_id(v->fd[0]) == mount_id(v->fd[1]))
                bh_fd_clear(&v->fd[1]);
        v->apart = stat(ours, &a) || stat(theirs, &b) || a.st_ino != b.st_ino;
        return v->fd[0] >= 0 || v->fd[1] >= 0;
}

static gboolean add_mounts(GPtrArray *to, const char *proc, const char *whose, const char *point) {
        gboolean cut = FALSE;
        g_autofree char *path = g_build_filename(proc, whose, "mountinfo", NULL), *text = bh_file_read(AT_FDCWD, path, TEXT_MAX, NULL, &cut, NULL);
        g_autoptr(GPtrArray) found = bh_hidden_mounts(text ? text : "", point);

        g_ptr_array_extend_and_steal(to, g_steal_pointer(&found));
        return text && !cut;
}

/* The node's first process has its mounts where everybody looks for them; this one may have them elsewhere, or /proc/1 may be what is covered. */
static gboolean mounts_now(const char *proc, gboolean apart, GPtrArray *out) {
        gboolean whole = add_mounts(out, proc, "1", "/proc");

        return (!apart || add_mounts(out, proc, "self", proc)) && whole;
}

static GHashTable *look(const char *proc, const Views *v, const GArray *tasks, BhHiddenFound *found) {
        GHashTable *out = g_hash_table_new(NULL, NULL);

        for (guint i = 0; i < VIEWS; i++)
                if (v->fd[i] >= 0)
                        bh_hidden_look(v->fd[i], tasks, out);
        g_clear_pointer(&found->mounts, g_ptr_array_unref);
        found->mounts = g_ptr_array_new_with_free_func(mount_free);
        if (!mounts_now(proc, v->apart, found->mounts))
                found->problem = "the node's mounts could not be read to their end";
        bh_hidden_look_mounts(found->mounts, tasks, out);
        return out;
}

void bh_hidden_find(const BhHiddenSource *s, BhHiddenFound *out) {
        g_autoptr(GHashTable) first = NULL, second = NULL;
        g_autoptr(GArray) after = g_array_new(FALSE, FALSE, sizeof(struct bh_task_record));
        Views v = { { -1, -1 }, FALSE };

        *out = (BhHiddenFound){ .hidden = g_array_new(FALSE, FALSE, sizeof(BhHidden)), .living = g_array_new(FALSE, FALSE, sizeof(struct bh_task_record)) };
        if (!s->list(out->living, s->data)) {
                out->problem = "the list of processes could not be read";
        } else if (!open_views(s->proc, self_of(out->living), &v)) {
                out->problem = "what is at /proc is no list of the node's processes";
        } else {
                first = look(s->proc, &v, out->living, out);
                /* the second look and the second list are for those that the first one missed */
                if (g_hash_table_size(first)) {
                        second = look(s->proc, &v, out->living, out);
                        if (s->list(after, s->data)) {
                                g_array_unref(out->hidden);
                                out->hidden = bh_hidden_compare(out->living, first, second, after);
                        } else {
                                out->problem = "the list of processes could not be read again";
                        }
                }
        }
        for (guint i = 0; i < VIEWS; i++)
                bh_fd_clear(&v.fd[i]);
        if (!out->mounts)
                out->mounts = g_ptr_array_new_with_free_func(mount_free);
}

void bh_hidden_found_clear(BhHiddenFound *f) {
        g_clear_pointer(&f->hidden, g_array_unref);
        g_clear_pointer(&f->living, g_array_unref);
        g_clear_pointer(&f->mounts, g_ptr_array_unref);
}
