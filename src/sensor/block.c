/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "block.skel.h"
#include "block_private.h"
#include "cgroup_pids.h"
#include "container/cgroup.h"
#include "enforce.h"
#include "enforce_pin.h"
#include "keeper_walk.h"
#include "parse/elf.h"

#define PIDS 64u            /* asked for the root of a container whose first process is not known */
#define ELF_HEAD (64u << 10) /* where a program names its loader */

/* ---- subjects ---- */

static guint key_hash(gconstpointer p) {
        const struct bh_block_key *k = p;

        return (guint) (k->cgroup * 31 + k->ino * 0x9e3779b1u + k->name + k->dev);
}

static gboolean key_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct bh_block_key)) == 0;
}

static GHashTable *new_keys(void) {
        return g_hash_table_new_full(key_hash, key_equal, g_free, g_free);
}

static GHashTable *new_seen(void) {
        return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

void bh_block_add_key(GHashTable *keys, const struct bh_block_key *key, const struct bh_block_file *file) {
        g_hash_table_insert(keys, g_memdup2(key, sizeof(*key)), g_memdup2(file, sizeof(*file)));
}

static void subject_free(gpointer data) {
        BlockSubject *s = data;

        g_free(s->cgroup);
        g_hash_table_unref(s->keys);
        g_hash_table_unref(s->rules);
        g_hash_table_unref(s->seen);
        g_free(s);
}

static BlockSubject *subject_of(BhBlock *b, guint64 id) {
        BlockSubject *s = g_hash_table_lookup(b->subjects, &id);

        if (!s) {
                s = g_new0(BlockSubject, 1);
                s->id = id;
                s->keys = new_keys();
                s->rules = g_hash_table_new(g_direct_hash, g_direct_equal);
                s->seen = new_seen();
                g_hash_table_insert(b->subjects, &s->id, s);
        }
        return s;
}

static BlockSubject *subject_at(const BhBlock *b, const char *cgroup) {
        GHashTableIter it;
        BlockSubject *s;

        g_hash_table_iter_init(&it, b->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s))
                if (g_strcmp0(s->cgroup, cgroup) == 0)
                        return s;
        return NULL;
}

static guint needs_of(const struct bh_block_subject *v) {
        return (v->rules[BH_BLOCK_EXEC] || v->rules[BH_BLOCK_NOT_IN_IMAGE] || v->lists ? NEED_RUN : 0) | (v->rules[BH_BLOCK_CAP] ? NEED_CAP : 0) | (v->rules[BH_BLOCK_MOUNT] ? NEED_MOUNT : 0) |
               (v->rules[BH_BLOCK_PTRACE] ? NEED_PTRACE : 0) | (v->rules[BH_BLOCK_MODULE] ? NEED_MODULE : 0);
}

static guint needs_of_all(const BhBlock *b) {
        GHashTableIter it;
        BlockSubject *s;
        guint needs = 0;

        g_hash_table_iter_init(&it, b->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s))
                needs |= s->needs;
        return needs;
}

static void find_subjects(BhBlock *b) {
        struct bh_block_subject v;
        struct bh_block_file file;
        struct bh_block_key at, next;
        struct bh_block_ns ns;
        gboolean have = FALSE;
        guint64 id, next_id;
        guint32 inum, next_inum;

        for (const guint64 *key = NULL; bpf_map_get_next_key(b->maps[BLOCK_SUBJECTS], key, &next_id) == 0; key = &id) {
                id = next_id;
                if (bpf_map_lookup_elem(b->maps[BLOCK_SUBJECTS], &id, &v))
                        continue;
                BlockSubject *s = subject_of(b, id);

                s->needs = needs_of(&v);
                for (guint i = 0; i < BH_BLOCK_KINDS; i++)
                        if (v.rules[i])
                                g_hash_table_add(s->rules, GUINT_TO_POINTER(v.rules[i]));
                for (guint i = 0; i < BH_BLOCK_LISTS; i++)
                        if (v.list_rules[i])
                                g_hash_table_add(s->rules, GUINT_TO_POINTER(v.list_rules[i]));
        }
        for (; bpf_map_get_next_key(b->maps[BLOCK_FILES], have ? &at : NULL, &next) == 0; at = next, have = TRUE)
                if (bpf_map_lookup_elem(b->maps[BLOCK_FILES], &next, &file) == 0) {
                        BlockSubject *s = subject_of(b, next.cgroup);

                        bh_block_add_key(s->keys, &next, &file);
                        if (file.rule)
                                g_hash_table_add(s->rules, GUINT_TO_POINTER(file.rule));
                }
        for (const guint32 *key = NULL; bpf_map_get_next_key(b->maps[BLOCK_NAMESPACES], key, &next_inum) == 0; key = &inum) {
                inum = next_inum;
                if (bpf_map_lookup_elem(b->maps[BLOCK_NAMESPACES], &inum, &ns) == 0)
                        subject_of(b, ns.cgroup)->ns = inum;
        }
}

BhBlock *bh_block_open(const char *dir, const char *v2_mount, const char *proc_path) {
        BhBlock *b = g_new0(BhBlock, 1);
        size_t size;
        const void *bytes = bh_block__elf_bytes(&size);

        b->dir = g_strdup(dir);
        b->home = bh_pins_home(dir, bytes, size);
        b->v2 = g_strdup(v2_mount);
        b->proc = g_strdup(proc_path);
        b->ask = -1;
        b->left = g_array_new(FALSE, FALSE, sizeof(int));
        for (guint i = 0; i < BLOCK_MAPS; i++)
                b->maps[i] = -1;
        for (guint i = 0; i < BLOCK_PROGRAMS; i++)
                b->programs[i] = -1;
        b->subjects = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, subject_free);
        if (bh_block_open_pins(b))
                find_subjects(b);
        return b;
}

void bh_block_free(BhBlock *b) {
        if (!b)
                return;
        bh_block_close(b);
        for (guint i = 0; i < b->left->len; i++)
                close(g_array_index(b->left, int, i));
        g_array_unref(b->left);
        g_hash_table_unref(b->subjects);
        g_free(b->dir);
        g_free(b->home);
        g_free(b->v2);
        g_free(b->proc);
        g_free(b->problem);
        g_free(b);
}

BhBlockBackend bh_block_backend(const BhBlock *b) {
        return b->chosen;
}

void bh_block_want(BhBlock *b, BhBlockBackend backend) {
        b->wanted = backend;
}

guint bh_block_count(const BhBlock *b) {
        return g_hash_table_size(b->subjects);
}

void bh_block_done_clear(BhBlockDone *done) {
        g_clear_pointer(&done->open, g_ptr_array_unref);
        g_clear_pointer(&done->notes, g_ptr_array_unref);
}

/* What every program looks at first: whether there is anything to look for. */
static gboolean tell_config(BhBlock *b, GError **error) {
        struct bh_block_config c = { 0 };
        guint32 zero = 0;
        GHashTableIter it;
        BlockSubject *s;

        g_hash_table_iter_init(&it, b->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s)) {
                c.subjects++;
                c.namespaces += s->ns != 0;
        }
        return bpf_map_update_elem(b->maps[BLOCK_CONFIG], &zero, &c, BPF_ANY) == 0 || bh_enforce_fail(error, "cannot tell the kernel programs where to look: %s", g_strerror(errno));
}

/* ---- files of a container ---- */

void bh_block_note(GPtrArray *to, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_ptr_array_add(to, g_strdup_vprintf(format, ap));
        va_end(ap);
}

/* What an open file is to the kernel programs. */
gboolean bh_block_ask(BhBlock *b, int fd, struct bh_block_asked *asked) {
        guint64 args[] = { (guint64) fd };
        guint32 zero = 0;
        LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = args, .ctx_size_in = sizeof(args));

        return bpf_prog_test_run_opts(b->ask, &run) == 0 && bpf_map_lookup_elem(b->maps[BLOCK_ASKED], &zero, asked) == 0 && asked->found;
}

static void cross(int link, gpointer data) {
        struct bh_block_asked asked;
        BlockMaking *m = data;

        if (!bh_block_ask(m->b, link, &asked)) {
                m->changed_links = m->other_links = TRUE;
        } else if (m->is.overlay && asked.overlay && asked.dev == m->is.dev) {
                m->root_links = TRUE;
                m->changed_links |= !asked.lower;
        } else {
                m->other_links = TRUE;
        }
}

/* As the container sees it: links end in its root. The caller's lock is held, so nobody is asked whom the container could let answer late, and it does not choose how long that takes. *on may be NULL. */
int bh_block_open_on(BlockMaking *m, const char *path, const BhFileMount **on, GError **error) {
        BhKeeperWalk walk = { .most = BH_BLOCK_PATH_STEPS, .crossed = cross, .data = m };

        m->root_links = m->changed_links = m->other_links = FALSE;
        int fd = bh_keeper_walk_by(m->root, m->mounts, path, &walk, error);

        m->steps += walk.steps;
        if (on)
                *on = walk.on;
        return fd;
}

static int open_in(BlockMaking *m, const char *path, GError **error) {
        return bh_block_open_on(m, path, NULL, error);
}

/* ---- one look after the other ---- */

static char *seen_name(const BhDeny *d, guint32 rule) {
        return g_strdup_printf("%u %d %d %s", rule, (int) d->kind, d->any, d->path);
}

/* NULL: nothing. */
void bh_block_see(BlockMaking *m, const BhDeny *d, guint32 rule, const struct bh_block_key *key) {
        static const struct bh_block_key nothing = { .cgroup = 0 };

        g_hash_table_insert(m->seen, seen_name(d, rule), g_memdup2(key ? key : &nothing, sizeof(*key)));
}

/* Whether this path has no turn in this look, since those before it took all of it. *key: what was there in the one before. */
gboolean bh_block_is_postponed(BlockMaking *m, const BhDeny *d, guint32 rule, const struct bh_block_key **key) {
        g_autofree char *name = seen_name(d, rule);

        m->at++;
        if (!(*key = g_hash_table_lookup(m->s->seen, name)))
                return FALSE;
        if (m->steps >= BH_BLOCK_STEPS && !m->stopped)
                m->stopped = m->at - 1;
        if (!m->stopped && m->at > m->s->from)
                return FALSE;
        bh_block_see(m, d, rule, *key);
        return TRUE;
}

static int open_root(const BhBlock *b, gint pid) {
        g_autofree char *path = g_strdup_printf("%s/%d/root", b->proc, pid);

        return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static gboolean is_same(int a, int c) {
        struct statx one, other;

        return statx(a, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &one) == 0 && statx(c, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &other) == 0 && one.stx_ino == other.stx_ino &&
               one.stx_dev_major == other.stx_dev_major && one.stx_dev_minor == other.stx_dev_minor;
}

/* The root of the first process that can be asked; -1: there is none. A runtime's program in the container's cgroup has the host's. */
static int root_of(BhBlock *b, const char *cgroup, gint init_pid, gint *pid) {
        g_autoptr(GArray) pids = bh_cgroup_pids(b->v2, cgroup, PIDS, G_MAXUINT, NULL);
        g_auto(BhFd) host = open_root(b, 1), own = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int fd = init_pid > 0 ? open_root(b, init_pid) : -1;

        *pid = init_pid;
        for (guint i = 0; fd < 0 && i < pids->len; i++) {
                *pid = g_array_index(pids, gint, i);
                fd = open_root(b, *pid);
                if (fd >= 0 && ((host >= 0 && is_same(fd, host)) || (own >= 0 && is_same(fd, own))))
                        bh_fd_clear(&fd);
        }
        return fd;
}

/* What was refused for this rule before. */
static void count_kept(BlockMaking *m, guint32 rule) {
        const struct bh_block_key *key;
        const struct bh_block_file *file;
        GHashTableIter it;

        m->kept = m->loaders = 0;
        g_hash_table_iter_init(&it, m->s->keys);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file)) {
                if (file->rule != rule || key->name)
                        continue;
                m->kept += !file->loader;
                m->loaders += file->loader != 0;
        }
}

static gboolean add_file(BlockMaking *m, int fd, guint32 rule, gboolean loader) {
        struct bh_block_asked asked;
        struct bh_block_key key = { .cgroup = m->s->id };

        if (!bh_block_ask(m->b, fd, &asked))
                return FALSE;
        key.ino = asked.ino;
        key.dev = asked.dev;
        if (loader && !g_hash_table_contains(m->s->keys, &key) && !g_hash_table_contains(m->keys, &key) && m->loaders++ >= BH_BLOCK_LOADERS)
                return TRUE;
        const struct bh_block_file *known = g_hash_table_lookup(m->keys, &key);
        if (!known || !known->rule || (known->loader && !loader)) {
                struct bh_block_file file = known ? *known : (struct bh_block_file){ .generation = asked.generation };

                file.rule = rule;
                file.loader = loader;
                bh_block_add_key(m->keys, &key, &file);
        }
        m->v.rules[BH_BLOCK_EXEC] = rule;
        return TRUE;
}

/* Where the kernel cannot see what a program loads: its loader may not be run as a program. */
static void add_loader(BlockMaking *m, const char *path, guint32 rule) {
        g_autoptr(GError) why = NULL;
        g_auto(BhFd) fd = open_in(m, path, &why);

        if (fd >= 0)
                add_file(m, fd, rule, TRUE);
        else if (!g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT) && !g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOTDIR))
                bh_block_note(m->done->open, "the loader %s: what it loads runs", why->message);
}

static void add_loader_of(BlockMaking *m, int fd, const char *path, guint32 rule) {
        g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd), *head = g_malloc(ELF_HEAD);
        g_auto(BhFd) file = open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a lease of the container's is not waited for */
        gssize n = file >= 0 ? pread(file, head, ELF_HEAD, 0) : -1;
        g_autoptr(BhElf) elf = n > 0 ? bh_elf_parse((const guint8 *) head, (gsize) n, NULL, NULL) : NULL;

        if (n < 0)
                bh_block_note(m->done->open, "%s cannot be read (%s), so that its loader is not known: loaded by that, it runs", path, g_strerror(errno));
        if (elf && *elf->interpreter)
                add_loader(m, elf->interpreter, rule);
}

static void note_names(const BlockMaking *m, const char *path, int fd, const struct stat *st) {
        g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd), *real = g_file_read_link(link, NULL), *asked = g_path_get_basename(path), *is = real ? g_path_get_basename(real) : NULL;
        g_autofree char *shown = is ? bh_escape_cell(is, -1) : NULL;

        if (is && !g_str_equal(is, asked))
                bh_block_note(m->done->notes, "%s is the file %s: it is refused under all its names", path, shown);
        else if (st->st_nlink > 1)
                bh_block_note(m->done->notes, "%s has %u names: it is refused under all of them", path, (guint) st->st_nlink);
}

/* What was refused for this rule by this key stays so. */
static void keep_key(BlockMaking *m, const struct bh_block_key *key, guint32 rule) {
        const struct bh_block_file *was = g_hash_table_lookup(m->s->keys, key), *now = g_hash_table_lookup(m->keys, key);

        if (!was || was->rule != rule || (now && now->rule))
                return;
        struct bh_block_file kept = *was;
        kept.listed = now ? now->listed : 0;
        kept.image = now ? now->image : 0;
        bh_block_add_key(m->keys, key, &kept);
        m->v.rules[BH_BLOCK_EXEC] = rule;
}

/* The file at the path, and the place. */
static gboolean add_exec(BlockMaking *m, const BhDeny *d, guint32 rule, guint paths, GError **error) {
        const struct bh_block_key *before;
        const char *path = d->path;

        if (bh_block_is_postponed(m, d, rule, &before)) { /* its file is kept anyway */
                keep_key(m, before, rule);
                return TRUE;
        }
        g_autofree char *folder = g_path_get_dirname(path), *base = g_path_get_basename(path);
        __u64 name[BH_BLOCK_NAME / 8] = { 0 };
        struct bh_block_asked asked;
        struct stat st;
        g_autoptr(GError) no_folder = NULL, no_file = NULL;
        g_auto(BhFd) dir = open_in(m, folder, &no_folder), fd = open_in(m, path, &no_file);
        const gboolean barred = fd < 0 && !g_error_matches(no_file, G_FILE_ERROR, G_FILE_ERROR_NOENT);

        if (m->kept && (dir < 0 || barred || (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))))) {
                bh_block_note(m->done->notes, "%s is gone: the file that was there is refused wherever it is now", path);
                bh_block_see(m, d, rule, NULL);
                return TRUE;
        }
        if (dir < 0 || !bh_block_ask(m->b, dir, &asked))
                return bh_enforce_fail(error, "%s: there is no folder %s in the container that could be looked at%s%s", path, folder, no_folder ? ": " : "", no_folder ? no_folder->message : "");
        if (barred)
                return bh_enforce_fail(error, "%s", no_file->message);
        if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode)))
                return bh_enforce_fail(error, "%s is no file in the container: name a program", path);
        memcpy(name, base, MIN(strlen(base), sizeof(name) - 1));
        const struct bh_block_key place = { .cgroup = m->s->id, .ino = asked.ino, .dev = asked.dev, .name = bh_block_hash(name, (guint32) strlen(base)) };
        const struct bh_block_file *known = g_hash_table_lookup(m->keys, &place), file = { .rule = rule, .listed = known ? known->listed : 0 };

        bh_block_add_key(m->keys, &place, &file);
        bh_block_see(m, d, rule, &place);
        m->v.rules[BH_BLOCK_EXEC] = rule;
        if (fd < 0) {
                bh_block_note(m->done->notes, "%s is not there now: what is put there will be refused", path);
                return TRUE;
        }
        if (m->kept < BH_BLOCK_KEPT * paths && !add_file(m, fd, rule, FALSE))
                return bh_enforce_fail(error, "the kernel does not say what %s is", path);
        note_names(m, path, fd, &st);
        if (m->b->backend == BH_BLOCK_BACKEND_TRACEPOINT)
                add_loader_of(m, fd, path, rule);
        return TRUE;
}

/* What tells files of the image, and programs of runtimes. *overlay: its root is one, without which nothing is known to be of the image. */
gboolean bh_block_know_root(BlockMaking *m, gboolean *overlay, GError **error) {
        g_autofree char *first = g_strdup_printf("%s/1/ns/mnt", m->b->proc);
        struct stat ns, host;

        *overlay = m->is.overlay;
        if (stat("/proc/self/ns/mnt", &ns))
                return bh_enforce_fail(error, "cannot look at the own mount namespace: %s", g_strerror(errno));
        m->v.root_dev = *overlay ? m->is.dev : 0;
        m->v.own_mnt_ns = (guint32) ns.st_ino; /* a service with file systems of its own, or in a container, is not where runtimes are */
        m->v.host_mnt_ns = stat(first, &host) ? m->v.own_mnt_ns : (guint32) host.st_ino;
        return TRUE;
}

static gboolean add_not_in_image(BlockMaking *m, guint32 rule, GError **error) {
        static const char *const loaders[] = { "/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux.so.2",         "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1",
                                               "/lib/ld-musl-i386.so.1",      "/lib/ld-musl-aarch64.so.1" };
        gboolean overlay;

        if (!bh_block_know_root(m, &overlay, error))
                return FALSE;
        if (!overlay)
                return bh_enforce_fail(error, "which programs are from the image cannot be told in this container: its root is no overlay");
        m->v.rules[BH_BLOCK_NOT_IN_IMAGE] = rule;
        for (guint i = 0; m->b->backend == BH_BLOCK_BACKEND_TRACEPOINT && !m->barred && i < G_N_ELEMENTS(loaders); i++)
                add_loader(m, loaders[i], rule);
        return TRUE;
}

static gboolean add_deny(BlockMaking *m, const BhDeny *d, guint32 rule, guint paths, GError **error) {
        static const guint kinds[BH_DENY_N_KINDS] = { [BH_DENY_CAP] = BH_BLOCK_CAP, [BH_DENY_MOUNT] = BH_BLOCK_MOUNT, [BH_DENY_PTRACE] = BH_BLOCK_PTRACE, [BH_DENY_MODULE] = BH_BLOCK_MODULE };

        if (m->barred && (d->kind == BH_DENY_EXEC || d->kind == BH_DENY_EXEC_ONLY)) /* see keep_all() */
                return TRUE;
        if (d->kind == BH_DENY_EXEC)
                return add_exec(m, d, rule, paths, error);
        if (d->kind == BH_DENY_EXEC_NOT_IN_IMAGE)
                return add_not_in_image(m, rule, error);
        if (d->kind == BH_DENY_EXEC_ONLY) {
                bh_block_add_only(m, d, rule);
                return TRUE;
        }
        if (!kinds[d->kind])
                return TRUE;
        if (m->b->backend == BH_BLOCK_BACKEND_TRACEPOINT) {
                bh_block_note(m->done->open, "\"%s\": this kernel lets nobody refuse %s: it takes BPF LSM, or a kernel that is not locked down", d->text, bh_deny_what(d->kind));
                return TRUE;
        }
        m->v.rules[kinds[d->kind]] = rule;
        if (d->kind == BH_DENY_CAP)
                m->v.caps |= G_GUINT64_CONSTANT(1) << d->cap;
        return TRUE;
}

/* ---- what is set ---- */

/* The number of the pid namespace of which this is the first process, and when that began. FALSE: it is the host's, or it is not its first. */
static gboolean namespace_of(const BhBlock *b, gint pid, guint32 *inum, __u64 *ticks) {
        g_autofree char *ns = g_strdup_printf("%s/%d/ns/pid", b->proc, pid), *path = g_strdup_printf("%s/%d/stat", b->proc, pid);
        g_autofree char *status_path = g_strdup_printf("%s/%d/status", b->proc, pid), *text = bh_file_read(AT_FDCWD, path, 4096, NULL, NULL, NULL);
        g_autofree char *status = bh_file_read(AT_FDCWD, status_path, 16384, NULL, NULL, NULL);
        char *at = text ? strrchr(text, ')') : NULL, *pids = status ? strstr(status, "\nNSpid:") : NULL;
        struct stat own;

        if (!at || !pids || stat(ns, &own))
                return FALSE;
        pids[1 + strcspn(pids + 1, "\n")] = '\0';
        if (strchr(pids, '\t') == strrchr(pids, '\t') || !g_str_has_suffix(pids, "\t1")) /* one number for each namespace, the host's first */
                return FALSE;
        for (guint field = 2; at && field < 22; field++)
                at = strchr(at + 1, ' ');
        if (!at || sscanf(at, " %llu", ticks) != 1)
                return FALSE;
        *inum = (guint32) own.st_ino;
        return TRUE;
}

static gboolean put_count(BhBlock *b, BlockSubject *s, guint32 rule, GError **error) {
        const struct bh_block_count none = { 0 };

        if (bpf_map_update_elem(b->maps[BLOCK_COUNTS], &rule, &none, BPF_NOEXIST) == 0 || errno == EEXIST) {
                g_hash_table_add(s->rules, GUINT_TO_POINTER(rule));
                return TRUE;
        }
        return bh_enforce_fail(error, "as many blocks are in force as there may be (%u): release others first", BH_BLOCK_RULES);
}

/* What this subject has in the kernel and is not in `wanted` (NULL: all) goes. */
static void take_keys(BhBlock *b, BlockSubject *s, GHashTable *wanted) {
        GHashTableIter it;
        gpointer key;

        g_hash_table_iter_init(&it, s->keys);
        while (g_hash_table_iter_next(&it, &key, NULL))
                if (!wanted || !g_hash_table_contains(wanted, key)) {
                        bpf_map_delete_elem(b->maps[BLOCK_FILES], key);
                        g_hash_table_iter_remove(&it);
                }
}

/* Files that were refused for a rule that is still there stay so, whatever is at their path now. */
static void keep_files(BlockMaking *m, const BhBlockRule *rules, guint n) {
        const struct bh_block_key *key;
        const struct bh_block_file *file;
        GHashTableIter it;

        g_hash_table_iter_init(&it, m->s->keys);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file))
                for (guint i = 0; i < n; i++) {
                        const struct bh_block_file *now = g_hash_table_lookup(m->keys, key);
                        struct bh_block_file kept = *file;

                        if (key->name || file->rule != rules[i].number || (now && now->rule))
                                continue;
                        if (now && now->generation && file->generation && now->generation != file->generation) /* the file is gone, and another has its number */
                                continue;
                        kept.listed = now ? now->listed : 0;
                        kept.image = now ? now->image : 0;
                        bh_block_add_key(m->keys, key, &kept);
                        m->v.rules[BH_BLOCK_EXEC] = file->rule;
                }
}

/* What is on lists that are about to go stays there until the next time: who looks just now may still know of these. */
static gboolean put_keys(BlockMaking *m, GError **error) {
        const guint32 taken = m->v.lists & ~m->was.lists;
        gpointer key, wanted, there;
        GHashTableIter it;

        g_hash_table_iter_init(&it, m->s->keys); /* of an ended list, whose bit is another's now: files that are about to go as well, for they go later than that list is told of */
        while (taken && g_hash_table_iter_next(&it, &key, &there)) {
                struct bh_block_file *file = there;

                if (!(file->listed & taken))
                        continue;
                file->listed &= (__u8) ~taken;
                if (bpf_map_update_elem(m->b->maps[BLOCK_FILES], key, file, BPF_EXIST) && errno != ENOENT)
                        return bh_enforce_fail(error, "cannot take a program off a list: %s", g_strerror(errno));
        }
        g_hash_table_iter_init(&it, m->keys);
        while (g_hash_table_iter_next(&it, &key, &wanted)) {
                const struct bh_block_file *now = g_hash_table_lookup(m->s->keys, key);
                struct bh_block_file file = *(const struct bh_block_file *) wanted;

                if (now)
                        file.listed |= (__u8) (now->listed & m->was.lists & ~m->v.lists);
                if (now && memcmp(now, &file, sizeof(*now)) == 0)
                        continue;
                if (bpf_map_update_elem(m->b->maps[BLOCK_FILES], key, &file, BPF_ANY))
                        return bh_enforce_fail(error, "the kernel has no room for another program (%s): %u files and places of all containers together is the bound", g_strerror(errno), BH_BLOCK_FILES);
                bh_block_add_key(m->s->keys, key, &file);
        }
        return TRUE;
}

static void put_namespace(BhBlock *b, BlockSubject *s, const BhBlockSubject *subject) {
        struct bh_block_ns v = { .cgroup = s->id };
        guint32 inum = 0;

        if (subject->own_pids && subject->init_pid > 0 && namespace_of(b, subject->init_pid, &inum, &v.ticks) && bpf_map_update_elem(b->maps[BLOCK_NAMESPACES], &inum, &v, BPF_ANY))
                inum = 0;
        if (s->ns && s->ns != inum)
                bpf_map_delete_elem(b->maps[BLOCK_NAMESPACES], &s->ns);
        s->ns = inum;
}

static GHashTable *copy_of(GHashTable *numbers) {
        GHashTable *copy = g_hash_table_new(g_direct_hash, g_direct_equal);
        GHashTableIter it;
        gpointer number;

        g_hash_table_iter_init(&it, numbers);
        while (g_hash_table_iter_next(&it, &number, NULL))
                g_hash_table_add(copy, number);
        return copy;
}

/* Numbers of this subject that are not in `stay` (NULL: all) are counted no more. */
static void drop_counts(BhBlock *b, BlockSubject *s, GHashTable *stay) {
        GHashTableIter it;
        gpointer rule;

        g_hash_table_iter_init(&it, s->rules);
        while (g_hash_table_iter_next(&it, &rule, NULL)) {
                const guint32 number = GPOINTER_TO_UINT(rule);

                if (stay && g_hash_table_contains(stay, rule))
                        continue;
                bpf_map_delete_elem(b->maps[BLOCK_COUNTS], &number);
                g_hash_table_iter_remove(&it);
        }
}

static void drop_subject(BhBlock *b, BlockSubject *s) {
        guint64 id = s->id;

        bpf_map_delete_elem(b->maps[BLOCK_SUBJECTS], &id); /* at once; the rest takes some time */
        bpf_map_delete_elem(b->maps[BLOCK_ROOTS], &id);
        drop_counts(b, s, NULL);
        if (s->ns)
                bpf_map_delete_elem(b->maps[BLOCK_NAMESPACES], &s->ns);
        take_keys(b, s, NULL);
        g_hash_table_remove(b->subjects, &id);
        tell_config(b, NULL);
}

/* After something went. */
static void tidy(BhBlock *b) {
        if (!g_hash_table_size(b->subjects) && b->pinned)
                bh_block_unpin(b);
}

static gboolean names_files(const BhBlockRule *rule) {
        for (guint k = 0; k < rule->denies->len; k++) {
                const BhDenyKind kind = ((const BhDeny *) rule->denies->pdata[k])->kind;

                if (kind == BH_DENY_EXEC || kind == BH_DENY_EXEC_NOT_IN_IMAGE || kind == BH_DENY_EXEC_ONLY)
                        return TRUE;
        }
        return FALSE;
}

/* What its root is, and whether it is the one of the first time: whoever is in the container may give its first process another one, and mounts as many as he likes. */
static void look_at_root(BlockMaking *m, gint pid) {
        g_autofree char *ns = g_strdup_printf("%s/%d/ns/mnt", m->b->proc, pid);
        struct bh_block_root before, *is = &m->is;
        struct bh_block_asked asked;
        const BhFileMount *on;
        struct stat st;

        if (!m->mounts)
                m->barred = g_strdup_printf("the container's mounts cannot be read: it ended, or has more than %u", BH_FILE_MOUNTS_MAX);
        if (bh_block_ask(m->b, m->root, &asked) && stat(ns, &st) == 0)
                *is = (struct bh_block_root){ .ino = asked.ino, .dev = asked.dev, .overlay = asked.overlay, .mnt_ns = (guint32) st.st_ino };
        if (bpf_map_lookup_elem(m->b->maps[BLOCK_ROOTS], &m->s->id, &before) == 0 || bh_block_root_of_others(m->b, m->s->id, &before)) {
                if (memcmp(is, &before, sizeof(before)) && !m->barred)
                        m->barred = g_strdup("the container's process has another root or mount namespace than when something was blocked there first");
                *is = before;
        }
        g_auto(BhFd) top = m->barred ? -1 : bh_block_open_on(m, "/", &on, NULL);
        m->top = top >= 0 ? g_strdup(on->point) : NULL;
}

/* Nothing can be found: what was refused and listed for this rule stays so, and nothing new is. */
static gboolean keep_all(BlockMaking *m, const BhBlockRule *rule, gboolean known, GError **error) {
        const struct bh_block_key *key;
        const struct bh_block_file *file;
        gboolean programs = FALSE;
        GHashTableIter it;

        for (guint k = 0; k < rule->denies->len; k++)
                programs |= ((const BhDeny *) rule->denies->pdata[k])->kind == BH_DENY_EXEC;
        if (rule->fresh || (programs && !known))
                return bh_enforce_fail(error, "%s", m->barred);
        g_hash_table_iter_init(&it, m->s->keys);
        while (g_hash_table_iter_next(&it, (gpointer *) &key, (gpointer *) &file)) {
                if (m->list < BH_BLOCK_LISTS && known)
                        bh_block_keep_listed(m, key);
                keep_key(m, key, rule->number);
        }
        bh_block_note(m->done->notes, "%s: what was refused and listed stays as it was", m->barred);
        return TRUE;
}

static gboolean make(BlockMaking *m, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, GError **error) {
        g_autoptr(GHashTable) numbers = g_hash_table_new(g_direct_hash, g_direct_equal);
        BhBlock *b = m->b;

        bpf_map_lookup_elem(b->maps[BLOCK_SUBJECTS], &m->s->id, &m->was); /* where there is none it stays empty */
        for (guint i = 0; i < n; i++) {
                guint paths = 0;

                for (guint k = 0; k < rules[i].denies->len; k++)
                        paths += ((const BhDeny *) rules[i].denies->pdata[k])->kind == BH_DENY_EXEC;
                const gboolean known = g_hash_table_contains(m->s->rules, GUINT_TO_POINTER(rules[i].number));
                g_hash_table_add(numbers, GUINT_TO_POINTER(rules[i].number));
                if (!put_count(b, m->s, rules[i].number, error))
                        return FALSE;
                count_kept(m, rules[i].number);
                if (!bh_block_take_list(m, &rules[i], error) || (m->barred && names_files(&rules[i]) && !keep_all(m, &rules[i], known, error)))
                        return FALSE;
                for (guint k = 0; k < rules[i].denies->len; k++)
                        if (!add_deny(m, rules[i].denies->pdata[k], rules[i].number, paths, error))
                                return FALSE;
                if (!bh_block_end_list(m, m->s->cgroup, &rules[i], error))
                        return FALSE;
        }
        keep_files(m, rules, n);
        if (!put_keys(m, error))
                return FALSE;
        put_namespace(b, m->s, subject);
        m->v.seq = m->was.seq + 1;
        const guint before = m->s->needs;
        m->s->needs = needs_of(&m->v) | before; /* nothing of the old goes before the new is there */
        if (!bh_block_attach(b, needs_of_all(b), error) || !tell_config(b, error)) {
                m->s->needs = before;
                return FALSE;
        }
        if (bpf_map_update_elem(b->maps[BLOCK_SUBJECTS], &m->s->id, &m->v, BPF_ANY)) {
                m->s->needs = before;
                return bh_enforce_fail(error, "cannot tell the kernel programs about the container: %s", g_strerror(errno));
        }
        m->s->needs = needs_of(&m->v);
        drop_counts(b, m->s, numbers);
        take_keys(b, m->s, m->keys);
        return TRUE;
}

gboolean bh_block_set(BhBlock *b, const char *cgroup, const BhBlockRule *rules, guint n, const BhBlockSubject *subject, BhBlockDone *done, GError **error) {
        g_autofree char *path = g_build_filename(b->v2 ? b->v2 : "/", cgroup, NULL);
        guint64 id = b->v2 ? bh_cgroup_id(AT_FDCWD, path) : 0;
        BlockMaking m = { .b = b, .root = -1, .done = done };
        gboolean fresh, ok;
        gint pid = 0;

        *done = (BhBlockDone){ .open = g_ptr_array_new_with_free_func(g_free), .notes = g_ptr_array_new_with_free_func(g_free) };
        if (!n) {
                bh_block_clear(b, cgroup);
                return TRUE;
        }
        if (!id)
                return bh_enforce_fail(error, "the container has no cgroup any more");
        fresh = !g_hash_table_contains(b->subjects, &id);
        if (fresh && g_hash_table_size(b->subjects) >= BH_BLOCK_SUBJECTS)
                return bh_enforce_fail(error, "something is refused to %u containers, which is as many as there may be: release others first", BH_BLOCK_SUBJECTS);
        if (!bh_block_prepare(b, error) || !bh_block_pin(b, error))
                return FALSE;
        gboolean files = FALSE;
        for (guint i = 0; i < n; i++)
                files |= names_files(&rules[i]);
        if (files && (m.root = root_of(b, cgroup, subject->init_pid, &pid)) < 0) {
                if (!g_hash_table_size(b->subjects))
                        bh_block_unpin(b);
                return bh_enforce_fail(error, "no process of the container lives that has a root of its own, through which its files could be found");
        }
        BlockSubject *s = subject_at(b, cgroup);
        if (s && s->id != id) /* it was removed and made again */
                drop_subject(b, s);
        m.s = s = subject_of(b, id);
        g_free(s->cgroup);
        s->cgroup = g_strdup(cgroup);
        g_autoptr(GHashTable) counted = copy_of(s->rules);
        m.keys = new_keys();
        m.seen = new_seen();
        m.mounts = files ? bh_keeper_mounts(b->proc, pid) : NULL;
        if (files)
                look_at_root(&m, pid);
        ok = make(&m, rules, n, subject, error);
        if (ok && m.is.mnt_ns)
                bpf_map_update_elem(b->maps[BLOCK_ROOTS], &id, &m.is, BPF_NOEXIST);
        if (ok)
                bh_block_take_from_others(b, id);
        if (ok && !m.barred) { /* else nothing was looked at */
                GHashTable *before = s->seen;

                s->seen = m.seen;
                m.seen = before;
                s->from = m.stopped;
        }
        if (!ok && fresh)
                drop_subject(b, s);
        else if (!ok) { /* what was looked up anew goes; what was there is still in the kernel */
                struct bh_block_subject now = { 0 };

                bpf_map_lookup_elem(b->maps[BLOCK_SUBJECTS], &id, &now);
                s->needs = needs_of(&now);
                drop_counts(b, s, counted);
        }
        tidy(b);
        g_hash_table_unref(m.keys);
        g_hash_table_unref(m.seen);
        g_free(m.barred);
        g_free(m.top);
        g_clear_pointer(&m.mounts, g_array_unref);
        bh_fd_clear(&m.root);
        return ok;
}

void bh_block_clear(BhBlock *b, const char *cgroup) {
        g_autofree char *path = g_build_filename(b->v2 ? b->v2 : "/", cgroup, NULL);
        BlockSubject *s = subject_at(b, cgroup);

        if (!s && b->v2) { /* found, and not set since then */
                const guint64 id = bh_cgroup_id(AT_FDCWD, path);

                s = id ? g_hash_table_lookup(b->subjects, &id) : NULL;
                bh_block_take_from_others(b, id);
        }
        if (!s)
                return;
        drop_subject(b, s);
        tidy(b);
}

void bh_block_settle(BhBlock *b) {
        g_autoptr(GPtrArray) stale = g_ptr_array_new(), others = bh_pins_mounted(b->dir) ? bh_pins_others(b->dir, b->home) : NULL;
        GHashTableIter it;
        BlockSubject *s;

        g_hash_table_iter_init(&it, b->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s))
                if (!s->cgroup)
                        g_ptr_array_add(stale, s);
        for (guint i = 0; i < stale->len; i++)
                drop_subject(b, stale->pdata[i]);
        for (guint i = 0; others && i < others->len; i++)
                bh_block_take_over(b, others->pdata[i]);
        if (!g_hash_table_size(b->subjects))
                bh_block_unpin(b);
}
