/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper_target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fdio.h"
#include "cgroup_pids.h"
#include "keeper_walk.h"

#define PIDS_MAX 1024u
#define GROUPS_MAX 256u /* a container may make as many as it likes below its own */
#define WAYS_MAX 32u     /* sentences; further ones are counted */
#define WAYS_LETTERS 400 /* of a sentence, whose paths the container chose */
#define ASK FAN_OPEN_PERM
#define ASK_PROGRAMS FAN_OPEN_EXEC_PERM

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        if (error)
                *error = g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap);
        va_end(ap);
        return FALSE;
}

static void target_clear(gpointer data) {
        BhKeeperTarget *t = data;

        close(t->fd);
        g_free(t->path);
}

static void target_unref(gpointer t) {
        g_atomic_rc_box_release_full(t, target_clear);
}

static void held_clear(gpointer data) {
        BhKeeperHeld *h = data;
        int *fds[] = { &h->group, &h->pidfd, &h->watch, &h->table };

        for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
                bh_fd_clear(fds[i]);
        g_free(h->container);
        g_free(h->cgroup);
        g_free(h->v2);
        g_free(h->proc);
        g_clear_pointer(&h->rules, g_ptr_array_unref);
        g_clear_pointer(&h->targets, g_ptr_array_unref);
        g_clear_pointer(&h->hashes, g_array_unref);
        g_clear_pointer(&h->pids, g_array_unref);
        g_clear_pointer(&h->mounts, g_array_unref);
}

BhKeeperHeld *bh_keeper_held_ref(BhKeeperHeld *h) {
        return g_atomic_rc_box_acquire(h);
}

void bh_keeper_held_unref(BhKeeperHeld *h) {
        g_atomic_rc_box_release_full(h, held_clear);
}

static BhKeeperHeld *blank(void) {
        BhKeeperHeld *h = g_atomic_rc_box_new0(BhKeeperHeld);

        h->group = h->pidfd = h->watch = h->table = -1;
        h->targets = g_ptr_array_new_with_free_func(target_unref);
        return h;
}

static int open_proc(const char *proc, pid_t pid, const char *name, int flags) {
        g_autofree char *path = g_strdup_printf("%s/%d/%s", proc, pid, name);

        return open(path, flags | O_CLOEXEC);
}

static int by_hash(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, BH_DENY_HASH);
}

gboolean bh_keeper_refuses(const BhKeeperHeld *h, const guint8 *hash) {
        return h->hashes->len && bsearch(hash, h->hashes->data, h->hashes->len, BH_DENY_HASH, by_hash) != NULL;
}

static gboolean take_hashes(BhKeeperHeld *h, GError **error) {
        h->hashes = g_array_new(FALSE, FALSE, BH_DENY_HASH);
        for (guint i = 0; i < h->rules->len; i++)
                if (((const BhDeny *) h->rules->pdata[i])->kind == BH_DENY_EXEC_HASH)
                        g_array_append_vals(h->hashes, ((const BhDeny *) h->rules->pdata[i])->hash, 1);
        if (h->hashes->len > BH_KEEPER_HASHES)
                return fail(error, "programs of more than %u contents are denied to one container", BH_KEEPER_HASHES);
        if (h->rules->len - h->hashes->len > BH_KEEPER_RULES)
                return fail(error, "more than %u files and folders are denied to one container: name folders instead of single files", BH_KEEPER_RULES);
        g_array_sort(h->hashes, by_hash);
        return TRUE;
}

BhKeeperHeld *bh_keeper_held_new(json_t *set, int group, const char *proc, GError **error) {
        g_autoptr(BhKeeperHeld) h = blank();
        json_t *list = json_object_get(set, "rules"), *v;
        g_autoptr(GPtrArray) texts = g_ptr_array_new();
        const char *container = json_string_value(json_object_get(set, "container")), *cgroup = json_string_value(json_object_get(set, "cgroup")), *v2 = json_string_value(json_object_get(set, "v2"));
        size_t i;

        h->group = group;
        h->slot = (guint) json_integer_value(json_object_get(set, "slot"));
        h->narrow = json_is_true(json_object_get(set, "narrow"));
        h->pid = (pid_t) json_integer_value(json_object_get(set, "pid"));
        if (!container || !cgroup || strlen(cgroup) < 2 || h->pid <= 0) {
                fail(error, "an order to deny files without a container, its cgroup or a process of it");
                return NULL;
        }
        h->container = g_strdup(container);
        h->cgroup = g_strdup(cgroup);
        h->v2 = g_strdup(v2 ? v2 : "");
        h->proc = g_strdup(proc);
        json_array_foreach(list, i, v)
                g_ptr_array_add(texts, (gpointer) json_string_value(v));
        g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func((GDestroyNotify) bh_deny_free);
        for (i = 0; i < texts->len; i++) {
                BhDeny *d = texts->pdata[i] ? bh_deny_parse(texts->pdata[i], error) : NULL;

                if (!d)
                        return NULL;
                g_ptr_array_add(rules, d);
        }
        h->rules = g_steal_pointer(&rules);
        if (!take_hashes(h, error))
                return NULL;

        struct stat ns;
        g_autofree char *at = g_strdup_printf("%s/%d/ns/mnt", proc, h->pid), *inside = g_strdup_printf("%s/%d/cgroup", proc, h->pid);
        h->pidfd = (int) syscall(SYS_pidfd_open, h->pid, 0);
        g_autofree char *groups = bh_file_read(AT_FDCWD, inside, 16384, NULL, NULL, NULL);
        if (h->pidfd < 0 || !groups || !strstr(groups, h->cgroup) || stat(at, &ns) || (h->watch = open_proc(proc, h->pid, "mountinfo", O_RDONLY)) < 0 ||
            (h->table = open_proc(proc, h->pid, "mountinfo", O_RDONLY)) < 0) {
                fail(error, "process %d, by which the container's files are reached, is no process of it (any more)", h->pid);
                return NULL;
        }
        h->mount_ns = ns.st_ino;
        return g_steal_pointer(&h);
}

/* ---- what stays open ---- */

/* Each once. Takes the sentence. */
static void say(json_t *open, json_t *sentence) {
        const char *text = json_string_value(sentence);
        const size_t n = json_array_size(open);
        gboolean known = !open || !text;

        if (!known && g_utf8_strlen(text, -1) > WAYS_LETTERS) {
                g_autofree char *cut = g_utf8_substring(text, 0, WAYS_LETTERS);

                json_decref(sentence);
                sentence = json_sprintf("%s…", cut);
        }
        for (size_t i = 0; !known && i < n; i++)
                known = json_equal(json_array_get(open, i), sentence);
        if (!known && n < WAYS_MAX)
                json_array_append(open, sentence);
        else if (!known && n == WAYS_MAX)
                json_array_append_new(open, json_integer(1));
        else if (!known)
                json_integer_set(json_array_get(open, WAYS_MAX), json_integer_value(json_array_get(open, WAYS_MAX)) + 1);
        json_decref(sentence);
}

static void end_saying(json_t *open) {
        if (json_array_size(open) > WAYS_MAX)
                json_array_set_new(open, WAYS_MAX, json_sprintf("and %" JSON_INTEGER_FORMAT " more", json_integer_value(json_array_get(open, WAYS_MAX))));
}

/* ---- marks ---- */

static gboolean mark(BhKeeperHeld *h, int fd, guint kind, guint64 mask, GError **error) {
        char place[64];

        g_snprintf(place, sizeof(place), "/proc/self/fd/%d", fd);
        if (fanotify_mark(h->group, FAN_MARK_ADD | kind, mask, AT_FDCWD, place))
                return fail(error, "the kernel does not watch opens there: %s", g_strerror(errno));
        h->marks++;
        return TRUE;
}

/* Whether nobody but the container has it: overlay is of one container, but for the one that this machine may run from. */
static gboolean is_own(const BhKeeperHeld *h, const BhFileMount *m) {
        struct stat root;

        if (g_str_equal(m->type, "overlay"))
                return stat("/", &root) || ((guint64) major(root.st_dev) << 32 | minor(root.st_dev)) != m->dev;
        if (!g_str_equal(m->type, "tmpfs"))
                return FALSE;
        g_autoptr(GArray) host = bh_keeper_mounts(h->proc, 1);
        for (guint i = 0; host && i < host->len; i++)
                if (g_array_index(host, BhFileMount, i).dev == m->dev)
                        return FALSE;
        return host != NULL;
}

/* Of the file system where it is the container's own, else of the mount. */
static gboolean mark_wide(BhKeeperHeld *h, int fd, const BhFileMount *m, GError **error) {
        h->wide = TRUE;
        return mark(h, fd, is_own(h, m) ? FAN_MARK_FILESYSTEM : FAN_MARK_MOUNT, ASK | FAN_ONDIR, error);
}

static char *name_of(int fd) {
        char place[64], name[4096];
        gssize n;

        g_snprintf(place, sizeof(place), "/proc/self/fd/%d", fd);
        n = readlink(place, name, sizeof(name) - 1);
        return n > 0 ? g_strndup(name, (gsize) n) : NULL;
}

/* Other mounts that show a part of the tree, and those that lie in it. `root`, `mounts`: of one namespace. */
static void mark_others(BhKeeperHeld *h, int root, const GArray *mounts, const char *tree, const char *inside, guint64 dev, gboolean own, json_t *open) {
        for (guint i = 0; i < mounts->len; i++) {
                const BhFileMount *m = &g_array_index(mounts, BhFileMount, i), *on;
                gboolean same = !own && m->dev == dev && inside && (bh_file_below(m->root, inside) || bh_file_below(inside, m->root));
                gboolean within = !g_str_equal(m->point, tree) && bh_file_below(m->point, tree);

                if (!same && !within)
                        continue;
                g_auto(BhFd) fd = bh_keeper_is_local(m->type) ? bh_keeper_walk(root, mounts, m->point, &on, NULL) : -1;
                if ((fd < 0 || !mark_wide(h, fd, on, NULL)) && open) {
                        g_autofree char *point = g_utf8_make_valid(m->point, -1);

                        say(open, json_sprintf("files below %s are not denied: it is a file system (%s) that others may serve, or of the kernel's own making", point, m->type));
                }
        }
}

typedef void (*EachNamespace)(BhKeeperHeld *h, int root, const GArray *mounts, gpointer data);

/* Mount namespaces of other processes of the container: copies of its mounts have no marks. */
static void each_namespace(BhKeeperHeld *h, EachNamespace call, gpointer data, json_t *open) {
        guint64 seen[BH_KEEPER_NAMESPACES] = { h->mount_ns };
        guint n = 1;

        if (!h->pids) /* once a look */
                h->pids = bh_cgroup_pids(h->v2, h->cgroup, PIDS_MAX, GROUPS_MAX, &h->more_pids);
        if (h->more_pids && open)
                say(open, json_sprintf("it has more than %u processes or %u groups of them: opens through mounts that further ones have for themselves are not denied", PIDS_MAX, GROUPS_MAX));
        for (guint k = 0; k < h->pids->len; k++) {
                pid_t pid = g_array_index(h->pids, gint, k);
                g_autofree char *path = g_strdup_printf("%s/%d/ns/mnt", h->proc, pid);
                gboolean known = FALSE;
                struct stat ns;

                if (stat(path, &ns))
                        continue;
                for (guint i = 0; i < n; i++)
                        known |= seen[i] == ns.st_ino;
                if (known)
                        continue;
                if (n == BH_KEEPER_NAMESPACES) {
                        if (open)
                                say(open, json_sprintf("its processes have more than %u mount namespaces: opens through mounts of further ones are not denied", BH_KEEPER_NAMESPACES));
                        return;
                }
                seen[n++] = ns.st_ino;
                g_autoptr(GArray) mounts = bh_keeper_mounts(h->proc, pid);
                g_auto(BhFd) root = open_proc(h->proc, pid, "root", O_PATH | O_DIRECTORY);
                if (mounts && root >= 0)
                        call(h, root, mounts, data);
                else if (open && !stat(path, &ns)) /* else it ended */
                        say(open, json_sprintf("a process of it has mounts for itself that cannot be read, or more than %u: opens through them are not denied", BH_FILE_MOUNTS_MAX));
        }
}

typedef struct {
        const char *tree, *inside;
        guint64 dev;
        json_t *open;
} Tree;

static void mark_there(BhKeeperHeld *h, int root, const GArray *mounts, gpointer data) {
        const Tree *t = data;

        mark_others(h, root, mounts, t->tree, t->inside, t->dev, FALSE, t->open);
}

/* ---- programs ---- */

/* Of the kernel's own making: nothing is run from there. */
static gboolean runs_nothing(const char *type) {
        static const char *const kinds[] = { "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "mqueue", "nsfs", "proc", "pstore", "securityfs", "sysfs", "tracefs", NULL };

        return g_strv_contains(kinds, type);
}

/* All of its file systems where they are its own, of the others the mounts. FALSE with *error: its root is not asked about; the rest is. */
static gboolean mark_programs(BhKeeperHeld *h, int root, const GArray *mounts, json_t *open, GError **error) {
        gboolean ok = TRUE;
        struct statx at;
        const gboolean told = !statx(root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &at) && at.stx_mask & STATX_MNT_ID;

        for (guint i = 0; i < mounts->len; i++) {
                const BhFileMount *m = &g_array_index(mounts, BhFileMount, i), *on = NULL;
                g_autoptr(GError) why = NULL;
                gboolean marked;

                if (runs_nothing(m->type))
                        continue;
                g_auto(BhFd) fd = bh_keeper_is_local(m->type) ? bh_keeper_walk(root, mounts, m->point, &on, &why) : -1;
                marked = fd >= 0 && mark(h, fd, is_own(h, on) ? FAN_MARK_FILESYSTEM : FAN_MARK_MOUNT, ASK_PROGRAMS, &why);
                if (marked && (on->id == m->id || (on->dev == m->dev && is_own(h, on))))
                        continue;
                if (ok && (told ? m->id == at.stx_mnt_id : g_str_equal(m->point, "/"))) { /* not another that lies over it, or below */
                        ok = fail(error, "programs of the container are not asked about: %s", why ? why->message : "its root is on a file system that others serve");
                } else if (open) {
                        g_autofree char *point = g_utf8_make_valid(m->point, -1);

                        say(open, json_sprintf("programs below %s run whatever their content: %s", point, why ? why->message : marked ? "another mount lies over it" : "it is a file system that others may serve"));
                }
        }
        return ok;
}

static void mark_programs_there(BhKeeperHeld *h, int root, const GArray *mounts, gpointer open) {
        if (!mark_programs(h, root, mounts, open, NULL) && open)
                say(open, json_string("programs run whatever their content where a process of it has mounts for itself: its root there is on a file system that others may serve"));
}

static gboolean mark_target(BhKeeperHeld *h, const BhKeeperTarget *t, int root, const GArray *mounts, const BhFileMount *on, guint links, json_t *open, GError **error) {
        if (!t->tree) {
                gboolean own = links > 1 && g_str_equal(on->type, "overlay");

                return mark(h, t->fd, 0, ASK, error) && (!own || mark_wide(h, t->fd, on, error));
        }
        g_autofree char *name = name_of(t->fd), *inside = name ? bh_file_inside(on, name) : NULL;
        gboolean own = is_own(h, on);

        if (!mark_wide(h, t->fd, on, error))
                return FALSE;
        if (name) {
                mark_others(h, root, mounts, name, inside, on->dev, own, open);
                if (!own)
                        each_namespace(h, mark_there, &(Tree){ name, inside, on->dev, open }, open);
                if (!own && open)
                        say(open, json_sprintf("%s is on a file system that is not the container's alone: a mount namespace that a process of it makes later (which takes CAP_SYS_ADMIN, or a user namespace) "
                                               "opens what is below for up to a second", t->path));
        }
        return TRUE;
}

/* ---- looking up ---- */

static const BhKeeperTarget *find(const GPtrArray *targets, const BhKeeperTarget *t) {
        for (guint i = 0; targets && i < targets->len; i++) {
                const BhKeeperTarget *o = targets->pdata[i];

                if (o->dev == t->dev && o->ino == t->ino && o->tree == t->tree && o->ops == t->ops)
                        return o;
        }
        return NULL;
}

static gboolean look_one(BhKeeperHeld *h, const BhDeny *rule, int root, const GArray *mounts, const BhKeeperHeld *before, json_t *open, GError **error) {
        const BhFileMount *on = NULL;
        g_autoptr(GError) why = NULL;
        g_auto(BhFd) fd = bh_keeper_walk(root, mounts, rule->path, &on, &why);
        const BhKeeperTarget *known;
        struct statx s;

        if (fd < 0 && g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
                if (open)
                        say(open, json_sprintf("%s is not there: one that is made is denied from a second later on", rule->path));
                return TRUE;
        }
        if (fd < 0) {
                g_propagate_error(error, g_steal_pointer(&why));
                return FALSE;
        }
        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &s))
                return fail(error, "%s: %s", rule->path, g_strerror(errno));
        if (rule->tree != !!S_ISDIR(s.stx_mode))
                return fail(error, rule->tree ? "%s is no directory: name the file without a slash at its end" : "%s is a directory: write %s/ for all in it", rule->path, rule->path);
        if (!rule->tree && !S_ISREG(s.stx_mode))
                return fail(error, "%s is no regular file: the kernel asks nobody before it opens another kind", rule->path);

        BhKeeperTarget t = { .fd = fd, .dev = (guint64) s.stx_dev_major << 32 | s.stx_dev_minor, .ino = s.stx_ino, .ops = rule->ops & BH_KEEPER_OPS, .tree = rule->tree, .path = rule->path };
        if (!mark_target(h, &t, root, mounts, on, s.stx_nlink, open, error))
                return FALSE;
        known = find(h->targets, &t);
        if (known)
                return TRUE;
        if ((known = find(before ? before->targets : NULL, &t))) {
                g_ptr_array_add(h->targets, g_atomic_rc_box_acquire((gpointer) known));
        } else {
                bh_fd_steal(&fd);
                t.path = g_strdup(rule->path); /* its own */
                g_ptr_array_add(h->targets, g_atomic_rc_box_dup(sizeof(t), &t));
        }
        return TRUE;
}

/* What the paths led to before, and still has a name; the newest first. */
static void keep_older(BhKeeperHeld *h, const BhKeeperHeld *before) {
        for (guint i = 0; i < before->targets->len && h->targets->len < BH_KEEPER_TARGETS; i++) {
                BhKeeperTarget *t = before->targets->pdata[i];
                gboolean wanted = FALSE;
                struct statx s;

                for (guint k = 0; k < h->rules->len; k++) {
                        const BhDeny *rule = h->rules->pdata[k];

                        wanted |= (rule->ops & BH_KEEPER_OPS) == t->ops && rule->tree == t->tree && g_str_equal(rule->path, t->path);
                }
                if (wanted && !find(h->targets, t) && (statx(t->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_NLINK, &s) || s.stx_nlink))
                        g_ptr_array_add(h->targets, g_atomic_rc_box_acquire(t));
        }
}

/* `strict`: the first that fails ends it; else what it led to before stays. */
static gboolean look_all(BhKeeperHeld *h, const BhKeeperHeld *before, gboolean strict, json_t *open, GError **error) {
        g_autoptr(GArray) mounts = bh_keeper_mounts(h->proc, h->pid);
        g_auto(BhFd) root = open_proc(h->proc, h->pid, "root", O_PATH | O_DIRECTORY);

        if (!mounts || root < 0)
                return fail(error, "the container's mounts cannot be read: it ended, or has more than %u", BH_FILE_MOUNTS_MAX);
        for (guint i = 0; i < h->rules->len; i++)
                if (((const BhDeny *) h->rules->pdata[i])->ops & BH_KEEPER_OPS && !look_one(h, h->rules->pdata[i], root, mounts, before, open, strict ? error : NULL) && strict)
                        return FALSE;
        if (h->hashes->len) {
                if (!mark_programs(h, root, mounts, open, strict ? error : NULL) && strict)
                        return FALSE;
                each_namespace(h, mark_programs_there, open, open);
        }
        if (before)
                keep_older(h, before);
        return TRUE;
}

/* Whether a single file's inode is asked about because of any of these. */
static gboolean has_inode(const GPtrArray *targets, const BhKeeperTarget *t) {
        for (guint i = 0; i < targets->len; i++) {
                const BhKeeperTarget *o = targets->pdata[i];

                if (!o->tree && o->dev == t->dev && o->ino == t->ino)
                        return TRUE;
        }
        return FALSE;
}

gboolean bh_keeper_look(BhKeeperHeld *h, const BhKeeperHeld *before, gboolean strict, json_t *open, GError **error) {
        gboolean ok = look_all(h, before, strict, open, error);

        end_saying(open);
        if (!ok)
                return FALSE;
        for (guint i = 0; before && i < before->targets->len; i++) {
                const BhKeeperTarget *t = before->targets->pdata[i];
                g_autofree char *place = g_strdup_printf("/proc/self/fd/%d", t->fd);

                if (!t->tree && !has_inode(h->targets, t))
                        fanotify_mark(h->group, FAN_MARK_REMOVE, ASK, AT_FDCWD, place);
        }
        if (before && (before->wide || before->hashes->len) && !h->wide && !h->hashes->len) { /* else some are asked about in vain */
                fanotify_mark(h->group, FAN_MARK_FLUSH | FAN_MARK_FILESYSTEM, 0, AT_FDCWD, NULL);
                fanotify_mark(h->group, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, NULL);
        }
        return TRUE;
}

BhKeeperHeld *bh_keeper_look_again(BhKeeperHeld *h) {
        g_autoptr(BhKeeperHeld) now = blank();
        gboolean same;

        now->container = g_strdup(h->container);
        now->cgroup = g_strdup(h->cgroup);
        now->v2 = g_strdup(h->v2);
        now->proc = g_strdup(h->proc);
        now->slot = h->slot;
        now->pid = h->pid;
        now->mount_ns = h->mount_ns;
        now->rules = g_ptr_array_ref(h->rules);
        now->hashes = g_array_ref(h->hashes);
        now->group = fcntl(h->group, F_DUPFD_CLOEXEC, 3);
        now->pidfd = fcntl(h->pidfd, F_DUPFD_CLOEXEC, 3);
        now->watch = fcntl(h->watch, F_DUPFD_CLOEXEC, 3);
        now->table = open_proc(h->proc, h->pid, "mountinfo", O_RDONLY);
        if (now->group < 0 || now->pidfd < 0 || now->watch < 0 || now->table < 0 || !look_all(now, h, FALSE, NULL, NULL))
                return NULL;
        now->wide |= h->wide;
        now->narrow = h->narrow;
        same = now->targets->len == h->targets->len && now->wide == h->wide;
        for (guint i = 0; same && i < now->targets->len; i++)
                same = find(h->targets, now->targets->pdata[i]) != NULL;
        return same ? NULL : g_steal_pointer(&now);
}
