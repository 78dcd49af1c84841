/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define DEPTH 128u
#define LINKS 40u
#define PARTS 1024u
#define TABLE_MAX (4u << 20)

gboolean bh_keeper_is_local(const char *type) {
        static const char *const local[] = { "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "vfat", "xfs", "zfs", NULL };

        return g_strv_contains(local, type);
}

GArray *bh_keeper_mounts(const char *proc, pid_t pid) {
        g_autofree char *root = g_strdup_printf("%s/%d/root", proc, pid), *table = g_strdup_printf("%s/%d/mountinfo", proc, pid);
        char before[4096], after[4096];
        gsize len = 0;
        gboolean cut = FALSE;
        gssize n = readlink(root, before, sizeof(before) - 1);
        g_autofree char *text = bh_file_read(AT_FDCWD, table, TABLE_MAX, &len, &cut, NULL);
        gssize again = readlink(root, after, sizeof(after) - 1);

        /* a thread that changes its root meanwhile: then the points are of one knows not which */
        if (!text || cut || n <= 0 || n != again || memcmp(before, after, (gsize) n))
                return NULL;
        before[n] = '\0';
        return bh_file_mounts_parse(text, len, before);
}

static int fail(GError **error, const char *path, int code, const char *why) {
        g_autofree char *shown = g_utf8_make_valid(path, -1);

        g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(code), "%s: %s", shown, why ? why : g_strerror(code));
        return -1;
}

typedef struct {
        int fds[DEPTH]; /* the directories on the way, the root first */
        guint64 mounts[DEPTH];
        guint n;
} Way;

static void cut(Way *w, guint n) {
        while (w->n > n)
                close(w->fds[--w->n]);
}

static void way_clear(Way *w) {
        cut(w, 0);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Way, way_clear)

/* In front of what is still to go. FALSE: too many. */
static gboolean put_before(GQueue *parts, const char *path) {
        g_auto(GStrv) list = g_strsplit(path, "/", -1);
        guint n = g_strv_length(list);

        if (g_queue_get_length(parts) + n > PARTS)
                return FALSE;
        while (n-- > 0)
                g_queue_push_head(parts, g_strdup(list[n]));
        return TRUE;
}

static gboolean look(int fd, struct statx *s) {
        return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, s) == 0 && s->stx_mask & STATX_MNT_ID;
}

static int not_local(GError **error, const char *path, const BhFileMount *on) {
        g_autofree char *why = g_strdup_printf("it is on a file system (%s) that another program or machine may serve, or on none that is known: who looks there may wait for ever", on ? on->type : "?");

        return fail(error, path, EXDEV, why);
}

/* One part further; a link puts its own parts before the others. -1 with *error. */
static int step(Way *w, const GArray *mounts, GQueue *parts, const char *part, guint *links, BhKeeperWalk *walk, const char *path, GError **error) {
        const BhFileMount *on = bh_file_mounts_find(mounts, (guint) w->mounts[w->n - 1]);
        g_auto(BhFd) fd = -1;
        struct statx s;
        char to[4096];

        if (!*part || g_str_equal(part, "."))
                return 0;
        if (g_str_equal(part, "..")) {
                cut(w, MAX(w->n - 1, 1));
                return 0;
        }
        if (!on || !bh_keeper_is_local(on->type))
                return not_local(error, path, on);
        if ((fd = openat(w->fds[w->n - 1], part, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0 || !look(fd, &s))
                return fail(error, path, errno, NULL);
        if (S_ISLNK(s.stx_mode)) {
                gssize len = readlinkat(fd, "", to, sizeof(to) - 1);

                if (len <= 0 || ++*links > LINKS)
                        return fail(error, path, len <= 0 ? errno : ELOOP, NULL);
                if (walk->crossed)
                        walk->crossed(fd, walk->data);
                to[len] = '\0';
                if (*to == '/')
                        cut(w, 1);
                return put_before(parts, to) ? 0 : fail(error, path, ELOOP, NULL);
        }
        if (w->n == DEPTH)
                return fail(error, path, ENAMETOOLONG, NULL);
        w->mounts[w->n] = s.stx_mnt_id;
        w->fds[w->n++] = bh_fd_steal(&fd);
        return 0;
}

int bh_keeper_walk_by(int root, const GArray *mounts, const char *path, BhKeeperWalk *walk, GError **error) {
        g_autoptr(GQueue) parts = g_queue_new();
        g_auto(Way) way = { .n = 0 };
        const BhFileMount *on;
        struct statx s;
        guint links = 0;
        int rc = 0;

        way.fds[0] = fcntl(root, F_DUPFD_CLOEXEC, 3);
        if (way.fds[0] < 0)
                return fail(error, path, errno, NULL);
        way.n = 1;
        if (!look(root, &s))
                return fail(error, path, errno, "the kernel does not tell mounts apart (that takes 5.8)");
        way.mounts[0] = s.stx_mnt_id;
        put_before(parts, path);
        walk->steps = 0;
        while (!rc && !g_queue_is_empty(parts)) {
                g_autofree char *part = g_queue_pop_head(parts);

                if (walk->most && walk->steps == walk->most)
                        rc = fail(error, path, ELOOP, "it leads through more folders and links than are looked at");
                else
                        rc = step(&way, mounts, parts, part, &links, walk, path, error);
                walk->steps++;
        }
        g_queue_clear_full(parts, g_free);
        if (rc)
                return -1;
        on = bh_file_mounts_find(mounts, (guint) way.mounts[way.n - 1]);
        if (!on || !bh_keeper_is_local(on->type))
                return not_local(error, path, on);
        walk->on = on;
        return way.fds[--way.n];
}

int bh_keeper_walk(int root, const GArray *mounts, const char *path, const BhFileMount **mount, GError **error) {
        BhKeeperWalk walk = { .most = 0 };
        int fd = bh_keeper_walk_by(root, mounts, path, &walk, error);

        if (fd >= 0)
                *mount = walk.on;
        return fd;
}
