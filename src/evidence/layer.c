/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/escape.h"
#include "base/fdio.h"

/* ---- which directories ---- */

void bh_layer_clear(BhLayer *l) {
        g_clear_pointer(&l->upper, g_free);
        g_clear_pointer(&l->lowers, g_strfreev);
}

void bh_layer_copy(const BhLayer *from, BhLayer *to) {
        to->upper = g_strdup(from->upper);
        to->lowers = g_strdupv(from->lowers);
        to->user = from->user;
}

/* The text up to one of `ends` at *at, which goes behind it: "\040" is what the kernel's table has for a blank, "\:" what an option has for a colon. */
static char *take(const char **at, const char *ends) {
        GString *out = g_string_new(NULL);
        const char *p = *at;

        while (*p && *p != '\n' && !strchr(ends, *p)) {
                if (*p == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
                        char c = (char) ((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));

                        /* the backslash itself is told like this: of an option's own escape the next one belongs to it */
                        if (c == '\\' && p[4] && strchr(":,", p[4])) {
                                g_string_append_c(out, p[4]);
                                p += 5;
                        } else {
                                g_string_append_c(out, c);
                                p += 4;
                        }
                } else {
                        g_string_append_c(out, *p++);
                }
        }
        *at = *p && *p != '\n' ? p + 1 : p;
        return g_string_free(out, FALSE);
}

static void parse_options(const char *at, BhLayer *l, GPtrArray *lowers) {
        while (*at && *at != '\n') {
                if (g_str_has_prefix(at, "upperdir=")) {
                        at += strlen("upperdir=");
                        g_free(l->upper);
                        l->upper = take(&at, ",");
                } else if (g_str_has_prefix(at, "lowerdir=") || g_str_has_prefix(at, "lowerdir+=")) {
                        at = strchr(at, '=') + 1;
                        do {
                                g_autofree char *one = take(&at, ":,");

                                if (lowers->len <= BH_LAYER_LOWERS_MAX && *one)
                                        g_ptr_array_add(lowers, g_steal_pointer(&one));
                        } while (at[-1] == ':' && *at && *at != '\n');
                } else {
                        g_autofree char *other = take(&at, ",");

                        l->user |= g_str_equal(other, "userxattr");
                }
        }
}

/* What one line of the kernel's table says: "36 35 98:0 / / rw,noatime master:1 - overlay overlay rw,lowerdir=…". No field has a blank, as these are escaped. */
typedef struct {
        const char *dev, *options; /* within the line */
        gsize dev_len;
} Mount;

/* The field at *at, which goes behind it. FALSE: the line is over. */
static gboolean field(const char **at, const char *end, const char **begin, gsize *len) {
        const char *blank = memchr(*at, ' ', (gsize) (end - *at));

        if (!blank)
                return FALSE;
        *begin = *at;
        *len = (gsize) (blank - *at);
        *at = blank + 1;
        return TRUE;
}

static gboolean is_text(const char *begin, gsize len, const char *text) {
        return len == strlen(text) && memcmp(begin, text, len) == 0;
}

static gboolean parse_line(const char *line, Mount *out) {
        const char *at = line, *end = strchrnul(line, '\n'), *type, *other;
        gsize len, type_len;

        if (!field(&at, end, &other, &len) || !field(&at, end, &other, &len) || !field(&at, end, &out->dev, &out->dev_len) || !field(&at, end, &other, &len) ||
            !field(&at, end, &other, &len))
                return FALSE;
        do {
                if (!field(&at, end, &other, &len))
                        return FALSE;
        } while (!is_text(other, len, "-"));
        if (!field(&at, end, &type, &type_len) || !field(&at, end, &other, &len))
                return FALSE;
        out->options = at;
        return is_text(type, type_len, "overlay");
}

/* Whether that line is about "/". */
static gboolean is_root(const char *line) {
        const char *at = line, *end = strchrnul(line, '\n'), *begin = line;
        gsize len = 0;

        for (guint i = 0; i < 5; i++)
                if (!field(&at, end, &begin, &len))
                        return FALSE;
        return is_text(begin, len, "/");
}

static const char *next_line(const char *line) {
        const char *end = strchrnul(line, '\n');

        return *end ? end + 1 : end;
}

static gboolean take_layer(const Mount *mount, BhLayer *out) {
        g_autoptr(GPtrArray) lowers = g_ptr_array_new_with_free_func(g_free);
        BhLayer l = { 0 };

        parse_options(mount->options, &l, lowers);
        gboolean ok = l.upper && *l.upper == '/';
        for (guint i = 0; i < lowers->len; i++)
                ok &= *(const char *) lowers->pdata[i] == '/';
        if (!ok) {
                g_free(l.upper);
                return FALSE;
        }
        g_ptr_array_add(lowers, NULL);
        l.lowers = (char **) g_ptr_array_steal(lowers, NULL);
        *out = l;
        return TRUE;
}

gboolean bh_layer_parse(const char *mountinfo, const char *host, BhLayer *out) {
        Mount root, mount;

        while (*mountinfo && !is_root(mountinfo))
                mountinfo = next_line(mountinfo);
        if (!*mountinfo || !parse_line(mountinfo, &root))
                return FALSE;
        for (const char *line = host; *line; line = next_line(line))
                if (parse_line(line, &mount) && mount.dev_len == root.dev_len && memcmp(mount.dev, root.dev, root.dev_len) == 0)
                        return take_layer(&mount, out);
        return FALSE;
}

/* ---- what is in them ---- */

#define SHARE (BH_LAYER_ENTRIES_MAX / 16) /* names of one directory before those of others */
#define QUEUE_BYTES (4u << 20)            /* of each queue */

/* A directory of the upper one that is to be looked at. */
typedef struct {
        char *path; /* "": the upper one itself */
        guint depth, layers; /* layers: of the image, so many of the nearest have something to say of names in it */
        gboolean is_new;     /* nothing of the image is below */
        GPtrArray *names;    /* beyond its share; NULL: not read yet */
} Dir;

/* Those that the image has come first, then what is new, then what was more than a share: nobody hides a change behind a heap of files. Each level by level. */
typedef enum { KNOWN, NEW, REST, QUEUES } Queue;

typedef struct {
        GString *added, *other; /* lines */
        BhLayerCounts *n;
        const BhLayer *layer;
        int upper;
        BhFd lowers[BH_LAYER_LOWERS_MAX];
        guint n_lowers, looked, kept; /* kept: names in REST */
        GQueue queues[QUEUES];
        gsize queued[QUEUES]; /* bytes */
        gint64 until_us;
} Walk;

static void dir_free(gpointer p) {
        Dir *d = p;

        g_free(d->path);
        g_clear_pointer(&d->names, g_ptr_array_unref);
        g_free(d);
}

static int open_below(int dir, const char *path, guint64 flags, guint64 resolve) {
        struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS };

        return (int) syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static gboolean is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* `path` without the slash in front. In the nearest of so many layers that has the name it is there, or was deleted; what is no directory in one hides those of the next. */
static gboolean in_image(const Walk *w, const char *path, guint layers) {
        for (guint i = 0; i < layers; i++) {
                struct stat st;
                g_auto(BhFd) fd = open_below(w->lowers[i], path, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);

                if (fd >= 0 && fstat(fd, &st) == 0)
                        return !is_whiteout(&st);
                if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
                        return FALSE;
        }
        return FALSE;
}

static gboolean is_opaque(const Walk *w, int dir) {
        char value[4];

        return fgetxattr(dir, w->layer->user ? "user.overlay.opaque" : "trusted.overlay.opaque", value, sizeof(value)) == 1 && *value == 'y';
}

/* Of so many layers that have something to say of the directory's own name: those up to the first that hides what is below. */
static guint layers_of(const Walk *w, const char *path, guint layers) {
        for (guint i = 0; *path && i < layers; i++) {
                g_auto(BhFd) fd = open_below(w->lowers[i], path + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);

                if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
                        return i;
                if (fd >= 0 && is_opaque(w, fd))
                        return i + 1;
        }
        return layers;
}

static const char *type_of(mode_t mode) {
        switch (mode & S_IFMT) {
        case S_IFREG: return "file";
        case S_IFDIR: return "directory";
        case S_IFLNK: return "link";
        case S_IFIFO: return "pipe";
        case S_IFSOCK: return "socket";
        case S_IFCHR: return "character device";
        case S_IFBLK: return "block device";
        default: return "other";
        }
}

#define TIME_MAX G_GINT64_CONSTANT(9000000000) /* seconds: whoever owns a file sets its time */

/* st NULL: it is no more. */
static void tell(Walk *w, const char *change, const char *path, const struct stat *st, int dir, const char *name) {
        g_autoptr(GString) line = g_string_new(NULL);
        char to[4096];

        g_string_append_printf(line, "{\"change\":\"%s\",\"path\":", change);
        bh_escape_append_json(line, path, -1);
        if (st)
                g_string_append_printf(line, ",\"type\":\"%s\",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"size\":%" G_GINT64_FORMAT ",\"modified_ns\":%" G_GINT64_FORMAT, type_of(st->st_mode), st->st_mode & 07777,
                                       st->st_uid, st->st_gid, (gint64) st->st_size, CLAMP((gint64) st->st_mtim.tv_sec, -TIME_MAX, TIME_MAX) * 1000000000 + st->st_mtim.tv_nsec);
        ssize_t n = st && S_ISLNK(st->st_mode) ? readlinkat(dir, name, to, sizeof(to)) : -1;
        if (n >= 0) {
                g_string_append(line, ",\"to\":");
                bh_escape_append_json(line, to, n);
        }
        g_string_append(line, "}\n");
        GString *out = g_str_equal(change, "added") ? w->added : w->other;
        if (out->len + line->len > BH_LAYER_TEXT_MAX)
                w->n->untold++;
        else
                g_string_append_len(out, line->str, (gssize) line->len);
}

/* Whole lines, of no more bytes than that. */
static void cut(Walk *w, GString *text, gsize max) {
        while (text->len > max) {
                const char *before = memrchr(text->str, '\n', text->len - 1);

                g_string_truncate(text, before ? (gsize) (before + 1 - text->str) : 0);
                w->n->untold++;
        }
}

/* What is added has half of the room, and so has the rest; each may have what the other leaves. */
static GString *together(Walk *w) {
        const gsize half = BH_LAYER_TEXT_MAX / 2, left = BH_LAYER_TEXT_MAX - w->other->len;

        cut(w, w->added, MAX(half, left));
        cut(w, w->other, BH_LAYER_TEXT_MAX - w->added->len);
        g_string_append_len(w->other, w->added->str, (gssize) w->added->len);
        g_string_free(w->added, TRUE);
        return w->other;
}

static gint by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Names in the directory, as many as may be kept. Takes `fd`. */
static GPtrArray *names_in(Walk *w, int fd) {
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        DIR *d = fdopendir(fd);
        struct dirent *e;

        if (!d) {
                close(fd);
                w->n->whole = FALSE;
                return names;
        }
        while ((e = readdir(d))) {
                if (g_str_equal(e->d_name, ".") || g_str_equal(e->d_name, ".."))
                        continue;
                if (names->len >= SHARE + BH_LAYER_ENTRIES_MAX - w->kept) {
                        w->n->whole = FALSE;
                        break;
                }
                g_ptr_array_add(names, g_strdup(e->d_name));
        }
        closedir(d);
        g_ptr_array_sort(names, by_name);
        return names;
}

static gsize size_of(const Dir *d) {
        return sizeof(*d) + strlen(d->path);
}

/* Takes `path`. */
static Dir *push(Walk *w, Queue to, char *path, guint depth, guint layers, gboolean is_new) {
        Dir *d = g_new0(Dir, 1);

        *d = (Dir){ .path = path, .depth = depth, .layers = layers, .is_new = is_new };
        if (depth > BH_LAYER_DEPTH_MAX || w->queued[to] + size_of(d) > QUEUE_BYTES) {
                w->n->whole = FALSE;
                dir_free(d);
                return NULL;
        }
        w->queued[to] += size_of(d);
        g_queue_push_tail(&w->queues[to], d);
        return d;
}

static void look(Walk *w, int dir, const Dir *in, const char *name) {
        g_autofree char *whole = g_strconcat(in->path, "/", name, NULL);
        struct stat st;

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
                w->n->whole = FALSE; /* it went away meanwhile */
                return;
        }
        if (is_whiteout(&st)) {
                w->n->deleted++;
                tell(w, "deleted", whole, NULL, dir, name);
                return;
        }
        gboolean known = !in->is_new && in_image(w, whole + 1, in->layers);
        if (!S_ISDIR(st.st_mode)) {
                known ? w->n->changed++ : w->n->added++;
                tell(w, known ? "changed" : "added", whole, &st, dir, name);
                return;
        }
        g_auto(BhFd) below = known ? open_below(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV) : -1;
        gboolean opaque = known && below >= 0 && is_opaque(w, below);
        if (!known) {
                w->n->added++;
                tell(w, "added", whole, &st, dir, name);
        } else if (opaque) {
                w->n->changed++;
                tell(w, "replaced", whole, &st, dir, name);
        }
        gboolean is_new = !known || opaque;
        push(w, is_new ? NEW : KNOWN, g_steal_pointer(&whole), in->depth + 1, in->layers, is_new);
}

/* Of a directory of REST all that is left, of others a share. FALSE: a bound ends all. */
static gboolean walk(Walk *w, Dir *d, Queue of) {
        int fd = open_below(w->upper, *d->path ? d->path + 1 : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
        g_auto(BhFd) dir = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

        if (dir < 0) {
                bh_fd_clear(&fd);
                w->n->whole = FALSE;
                return TRUE;
        }
        if (d->names) {
                w->kept -= d->names->len;
                close(fd);
        } else {
                d->names = names_in(w, fd);
                d->layers = d->is_new ? 0 : layers_of(w, d->path, d->layers);
        }
        guint n = of == REST ? d->names->len : MIN(d->names->len, SHARE);
        for (guint i = 0; i < n; i++) {
                if (w->looked >= BH_LAYER_ENTRIES_MAX || g_get_monotonic_time() > w->until_us) {
                        w->n->whole = FALSE;
                        return FALSE;
                }
                w->looked++;
                look(w, dir, d, d->names->pdata[i]);
        }
        Dir *rest = n < d->names->len ? push(w, REST, g_strdup(d->path), d->depth, d->layers, d->is_new) : NULL;
        if (rest) {
                g_ptr_array_remove_range(d->names, 0, n);
                rest->names = g_steal_pointer(&d->names);
                w->kept += rest->names->len;
        }
        return TRUE;
}

static void walk_all(Walk *w) {
        gboolean more = TRUE;

        push(w, KNOWN, g_strdup(""), 0, w->n_lowers, FALSE);
        while (more) {
                Queue of = KNOWN;

                while (of < QUEUES && g_queue_is_empty(&w->queues[of]))
                        of++;
                if (of == QUEUES)
                        break;
                if (g_get_monotonic_time() > w->until_us) {
                        w->n->whole = FALSE;
                        break;
                }
                Dir *d = g_queue_pop_head(&w->queues[of]);
                w->queued[of] -= size_of(d);
                more = walk(w, d, of);
                dir_free(d);
        }
        for (guint i = 0; i < QUEUES; i++)
                g_queue_clear_full(&w->queues[i], dir_free);
}

GString *bh_layer_diff(int root, const BhLayer *l, BhLayerCounts *counts) {
        g_auto(BhFd) upper = open_below(root, l->upper, O_RDONLY | O_DIRECTORY, RESOLVE_IN_ROOT);
        g_autofree Walk *w = g_new0(Walk, 1);
        BhLayerCounts n = { .whole = TRUE };
        struct stat st;

        if (upper < 0)
                return NULL;
        *w = (Walk){ .added = g_string_new(NULL), .other = g_string_new(NULL), .upper = upper, .n = &n, .layer = l, .until_us = g_get_monotonic_time() + BH_LAYER_TIME_US };
        for (guint i = 0; l->lowers[i]; i++) {
                int fd = w->n_lowers >= BH_LAYER_LOWERS_MAX ? -1 : open_below(root, l->lowers[i], O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT);

                if (fd >= 0)
                        w->lowers[w->n_lowers++] = fd;
                else
                        n.whole = FALSE; /* what it had is told as added */
        }
        walk_all(w);
        /* what is removed under one's eyes is no change of the container's */
        if (fstat(upper, &st) || !st.st_nlink)
                n.whole = FALSE;
        for (guint i = 0; i < w->n_lowers; i++)
                bh_fd_clear(&w->lowers[i]);
        GString *text = together(w);
        g_autofree char *first = g_strdup_printf("{\"added\":%u,\"changed\":%u,\"deleted\":%u,\"untold\":%u,\"whole\":%s}\n", n.added, n.changed, n.deleted, n.untold, n.whole ? "true" : "false");
        g_string_prepend(text, first);
        *counts = n;
        return text;
}
