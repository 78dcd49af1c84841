/* SPDX-License-Identifier: Apache-2.0 */
#include "hooks.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "backends.h"
#include "base/fdio.h"
#include "base/log.h"
#include "dispatcher.h"
#include "hooks_private.h"
#include "loader.h"
#include "wishes.h"

#define BPF_FS_MAGIC_NUMBER 0xcafe4a11
#define CANARY_MS 3000
#define CANARY_LOAD_MS 15000 /* a machine that does not let it run for seconds is no reason to go without hooks */
#define REPAIR_FIRST_US G_USEC_PER_SEC /* doubled with each repair that does not help */
#define REPAIR_LAST_US (60 * G_USEC_PER_SEC)
#define EXCUSED_MAX 10u

gboolean bh_hooks_fail(GError **error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        if (error)
                *error = g_error_new_valist(G_FILE_ERROR, G_FILE_ERROR_FAILED, format, ap);
        va_end(ap);
        return FALSE;
}

const char *bh_backend_name(BhBackend b) {
        static const char *const names[] = { "none", "tracepoint", "preferred", "fallback" };

        return names[b];
}

/* ---- BPF file system ---- */

static gboolean is_bpffs(const char *dir) {
        struct statfs fs;

        return statfs(dir, &fs) == 0 && (guint32) fs.f_type == BPF_FS_MAGIC_NUMBER;
}

static gboolean mount_bpffs(const char *dir, GError **error) {
        if (is_bpffs(dir))
                return TRUE;
        if (g_mkdir_with_parents(dir, 0700))
                return bh_hooks_fail(error, "cannot make %s: %s", dir, g_strerror(errno));
        if (mount("bpf", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
                return bh_hooks_fail(error, "cannot mount a BPF file system on %s: %s; the sensor needs CAP_SYS_ADMIN and a kernel with CONFIG_BPF_SYSCALL", dir, g_strerror(errno));
        return TRUE;
}

void bh_hooks_remove(const char *pin_dir) {
        if (!is_bpffs(pin_dir))
                return;

        DIR *d = opendir(pin_dir);
        if (d) {
                for (struct dirent *e; (e = readdir(d)); )
                        if (e->d_name[0] != '.')
                                unlinkat(dirfd(d), e->d_name, 0);
                closedir(d);
        }
        if (umount2(pin_dir, MNT_DETACH) == 0)
                rmdir(pin_dir);
}

static void set_canary(BhHooks *h);
static gboolean act(BhHooks *h, const BhKinds *of, int timeout_ms, void (*changed)(guint32 type, const BhHookState *now, gpointer data), gpointer data, GError **error);

/* ---- life cycle ---- */

static void close_fd(gpointer fd) {
        close(GPOINTER_TO_INT(fd) - 1);
}

static void close_link(gpointer link) {
        bpf_link__disconnect(link); /* the pin keeps it */
        bpf_link__destroy(link);
}

void bh_hooks_free(BhHooks *h) {
        if (!h)
                return;

        bh_loader_close_maps(h);
        g_clear_pointer(&h->links, g_ptr_array_unref);
        g_clear_pointer(&h->attached, g_hash_table_unref);
        g_clear_pointer(&h->maps, g_hash_table_unref);
        g_clear_pointer(&h->kept, g_hash_table_unref);
        g_clear_pointer(&h->shared, g_hash_table_unref);
        g_clear_pointer(&h->targets, g_hash_table_unref);
        g_clear_pointer(&h->lacking, g_hash_table_unref);
        g_clear_pointer(&h->bad, g_hash_table_unref);
        for (guint i = 0; i < BH_HOOKS_OBJECTS; i++)
                g_clear_pointer(&h->names[i], g_ptr_array_unref);
        if (h->btf)
                btf__free(h->btf);
        for (guint i = 0; i < BH_EV_KERNEL_MAX; i++)
                g_free(h->lost[i]);
        g_free(h->no_fexit);
        g_free(h->pin_dir);
        g_rec_mutex_clear(&h->lock);
        g_mutex_clear(&h->wish_lock);
        g_mutex_clear(&h->kept_lock);
        g_free(h);
}

/* Whether the link is one of that program (of whose name the kernel keeps 15 characters), and not another that somebody pinned under its name. */
static gboolean links(const struct bpf_link *link, const char *program) {
        struct bpf_link_info info = {};
        struct bpf_prog_info prog = {};
        __u32 len = sizeof(info);

        if (bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &len))
                return FALSE;

        g_auto(BhFd) fd = bpf_prog_get_fd_by_id(info.prog_id);
        len = sizeof(prog);
        return fd >= 0 && bpf_obj_get_info_by_fd(fd, &prog, &len) == 0 && strncmp(prog.name, program, sizeof(prog.name) - 1) == 0;
}

static void adopt_links(BhHooks *h) {
        DIR *d = opendir(h->pin_dir);

        for (struct dirent *e; d && (e = readdir(d)); ) {
                if (!g_str_has_prefix(e->d_name, "link_"))
                        continue;

                g_autofree char *path = g_build_filename(h->pin_dir, e->d_name, NULL);
                const char *program = e->d_name + strlen("link_");
                struct bpf_link *link = bpf_link__open(path);

                if (link && links(link, program)) {
                        g_ptr_array_add(h->links, link);
                        g_hash_table_add(h->attached, g_strdup(program));
                        continue;
                }
                unlink(path);
                if (link)
                        close_link(link);
        }
        if (d)
                closedir(d);
}

/* What is wanted and was gone when this sensor took over, by hook of those in `before`; refused programs were never there. */
static void note_lost(BhHooks *h, GHashTable *missing, const BhKinds *before) {
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                g_autoptr(GString) names = g_string_new(NULL);
                GHashTableIter i;
                gpointer name;

                if (!bh_kinds_has(&h->needed, type) || !bh_kinds_has(before, type))
                        continue;
                bh_backends_programs(h, type, h->state[type].backend, set);
                if (h->state[type].backend == BH_BACKEND_FALLBACK)
                        g_hash_table_add(set, g_strdup("dispatch"));
                for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); )
                        if (g_hash_table_contains(missing, name) && !g_hash_table_contains(h->bad, name))
                                g_string_append_printf(names, "%s%s", names->len ? ", " : "", (const char *) name);
                if (names->len)
                        h->lost[type] = g_string_free(g_steal_pointer(&names), FALSE);
        }
}

/* Whether fexit programs work here is tried once. */
static void choose(BhHooks *h, guint32 type) {
        if (!h->fexit_tried) {
                h->fexit_tried = TRUE;
                h->fexit_ok = h->options.force != BH_BACKEND_FALLBACK && bh_backends_fexit_works(h, &h->no_fexit);
                if (h->fexit_ok)
                        bh_loader_find_symbols(h);
        }
        bh_backends_choose(h, type, h->fexit_ok ? BH_BACKEND_NONE : BH_BACKEND_FALLBACK, h->options.force == BH_BACKEND_FALLBACK ? "asked for by --backend" : h->no_fexit);
}

/* Whether a fallback handler of that hook is attached. */
static gboolean has_handler(BhHooks *h, guint32 type) {
        g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        GHashTableIter i;
        gpointer name;

        bh_backends_programs(h, type, BH_BACKEND_FALLBACK, set);
        for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); )
                if (g_str_has_prefix(name, "sx_") && g_hash_table_contains(h->attached, name))
                        return TRUE;
        return FALSE;
}

/*
 * What an earlier sensor of the same build left: its links say which backend each hook has. Somebody may have taken some of it away meanwhile: what
 * is wanted and not there is loaded. Without one of the maps that programs share there is nothing to take over.
 */
static gboolean adopt(BhHooks *h, GError **error) {
        GHashTableIter shared, wanted;
        gpointer map, program;
        BhKinds before = { 0 }, before_needs, kept;

        if (!bh_loader_open_maps(h, error))
                return FALSE;
        for (g_hash_table_iter_init(&shared, h->shared); g_hash_table_iter_next(&shared, &map, NULL); )
                if (!g_hash_table_contains(h->maps, map))
                        return bh_hooks_fail(error, "the map %s was removed", (const char *) map);
        adopt_links(h);
        bh_dispatcher_look(h);
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_backends_known(type) && !(h->config->off[type / 64] >> type % 64 & 1))
                        bh_kinds_add(&before, type);
        /* what it had no use for is taken on later, and tested then as anything new */
        kept = h->options.recorder;
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (!bh_kinds_has(&before, type))
                        bh_kinds_remove(&kept, type);
        bh_wishes_set(h, BH_CONSUMER_RECORDER, &kept);
        for (guint i = 0; i < G_N_ELEMENTS(h->off); i++)
                h->off[i] = h->config->off[i];
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                GHashTableIter i;
                gpointer name;

                if (!bh_backends_known(type))
                        continue;
                h->state[type].backend = BH_BACKEND_FALLBACK;
                h->state[type].effective = TRUE; /* until the first check says otherwise */
                if (bh_backends_common_only(type)) {
                        h->state[type].backend = BH_BACKEND_TRACEPOINT;
                        continue;
                }
                bh_backends_programs(h, type, BH_BACKEND_PREFERRED, set);
                for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); )
                        if (!g_str_has_prefix(name, "tp_") && g_hash_table_contains(h->attached, name))
                                h->state[type].backend = BH_BACKEND_PREFERRED;
                /* one that it had no use for is chosen now */
                if (h->state[type].backend == BH_BACKEND_FALLBACK && (bh_kinds_has(&before, type) || has_handler(h, type)))
                        bh_backends_choose(h, type, BH_BACKEND_FALLBACK, "the sensor before this one chose so");
                else if (h->state[type].backend == BH_BACKEND_FALLBACK)
                        choose(h, type);
        }
        bh_wishes_sum(h);
        before_needs = before;
        bh_backends_close(h, &before_needs);

        g_autoptr(GHashTable) missing = bh_loader_wanted(h);
        for (g_hash_table_iter_init(&wanted, missing); g_hash_table_iter_next(&wanted, &program, NULL); )
                if (g_hash_table_contains(h->attached, program))
                        g_hash_table_iter_remove(&wanted);
        if (g_hash_table_size(missing) && !bh_loader_load(h, error))
                return FALSE;
        note_lost(h, missing, &before_needs);
        h->adopted = TRUE;
        return bh_loader_prune(h, error);
}

const char *bh_hooks_found_lost(const BhHooks *h, guint32 type) {
        return type < BH_EV_KERNEL_MAX ? h->lost[type] : NULL;
}

/* Hooks whose preferred programs are attached and see nothing are given their fallback. */
static gboolean settle(BhHooks *h, GError **error) {
        gboolean change = FALSE;

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                BhHookState *s = &h->state[type];

                if (!bh_kinds_has(&h->needed, type) || s->backend != BH_BACKEND_PREFERRED || s->effective || h->options.force == BH_BACKEND_PREFERRED)
                        continue;
                g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                GHashTableIter i;
                gpointer name;

                bh_backends_programs(h, type, BH_BACKEND_PREFERRED, set);
                for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); )
                        if (!g_str_has_prefix(name, "tp_"))
                                bh_loader_detach(h, name);
                bh_backends_choose(h, type, BH_BACKEND_FALLBACK, "the preferred hook is attached but has no effect on this kernel");
                change = TRUE;
        }
        bh_wishes_sum(h);
        return !change || bh_loader_load(h, error);
}

BhHooks *bh_hooks_open(const BhHooksOptions *options, BhCanary *canary, GError **error) {
        BhHooks *h = g_new0(BhHooks, 1);

        g_rec_mutex_init(&h->lock);
        g_mutex_init(&h->wish_lock);
        g_mutex_init(&h->kept_lock);
        h->build_id = bh_loader_build_id();
        h->pin_dir = g_strdup(options->pin_dir);
        h->options = *options;
        h->canary = canary;
        h->links = g_ptr_array_new_with_free_func(close_link);
        h->attached = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        h->maps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_fd);
        h->kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_fd);
        h->shared = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        h->targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        h->lacking = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        h->bad = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        bh_wishes_begin(h);
        if (!bh_loader_init(h, error) || !mount_bpffs(h->pin_dir, error)) {
                bh_hooks_free(h);
                return NULL;
        }

        g_autofree char *config = g_build_filename(h->pin_dir, "config", NULL);
        g_autoptr(GDir) pins = g_dir_open(h->pin_dir, 0, NULL);
        gboolean left = FALSE;
        for (const char *name; pins && (name = g_dir_read_name(pins)); )
                left |= !strchr(name, '.'); /* maps.debug and progs.debug are the file system's own */
        g_clear_pointer(&pins, g_dir_close); /* or it could not be unmounted */
        if (left) {
                if (access(config, F_OK) == 0 && bh_loader_open_maps(h, NULL) && h->config->build_id == h->build_id && adopt(h, error)) {
                        set_canary(h);
                        bh_wishes_stop(h);
                        bh_wishes_go(h);
                        return h;
                }
                /* another build's programs, or a half-made start: begin anew */
                bh_warn("what an earlier sensor left cannot be taken over", "why", error && *error ? (*error)->message : "it is of another build");
                bh_hooks_remove(h->pin_dir);
                bh_loader_close_maps(h);
                g_hash_table_remove_all(h->attached);
                g_ptr_array_set_size(h->links, 0);
                g_clear_error(error);
                bh_wishes_set(h, BH_CONSUMER_RECORDER, &(BhKinds){ 0 });
                memset(h->off, 0, sizeof(h->off));
                if (!mount_bpffs(h->pin_dir, error)) {
                        bh_hooks_free(h);
                        return NULL;
                }
        }

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_backends_known(type))
                        choose(h, type);
        bh_wishes_sum(h);
        if (!bh_loader_make_maps(h, error) || (bh_wishes_stop(h), !bh_loader_load(h, error)) ||
            (bh_wishes_go(h), set_canary(h), h->config->self_tgid = (__u32) getpid(), !act(h, &h->needed, CANARY_LOAD_MS, NULL, NULL, error)) ||
            !settle(h, error) || !act(h, &h->needed, CANARY_LOAD_MS, NULL, NULL, error)) {
                bh_hooks_remove(h->pin_dir);
                bh_hooks_free(h);
                return NULL;
        }
        h->config->build_id = h->build_id;
        return h;
}

/*
 * Nothing that is attached is touched: a link cannot be taken from who holds it, so a hook without effect lacks entries of the table, or its acts do
 * not come about on this machine (no loopback interface) and loading would not help. New entries replace old ones at once; there is no blind moment.
 */
void bh_hooks_repair(BhHooks *h) {
        g_autoptr(GRecMutexLocker) locker = g_rec_mutex_locker_new(&h->lock);
        gint64 now_us = g_get_monotonic_time();
        gboolean due = FALSE;

        bh_loader_forget_btf(h);
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                if (h->state[type].backend == BH_BACKEND_NONE || h->state[type].effective || !bh_kinds_has(&h->needed, type)) {
                        h->repair[type].due_us = h->repair[type].pause_us = 0;
                } else if (now_us >= h->repair[type].due_us) {
                        h->repair[type].pause_us = CLAMP(2 * h->repair[type].pause_us, REPAIR_FIRST_US, REPAIR_LAST_US);
                        h->repair[type].due_us = now_us + h->repair[type].pause_us;
                        due = TRUE;
                }
        }
        if (!due)
                return;

        g_autoptr(GError) error = NULL;
        bh_dispatcher_look(h);
        if (!bh_loader_load(h, &error))
                bh_error("cannot attach the lost hooks again", "error", error->message);
}

static guint pin_again(int fd, const char *path) {
        return access(path, F_OK) != 0 && errno == ENOENT && bpf_obj_pin(fd, path) == 0;
}

guint bh_hooks_guard(BhHooks *h) {
        g_autoptr(GRecMutexLocker) locker = g_rec_mutex_locker_new(&h->lock);
        GHashTableIter i;
        gpointer name, fd;
        guint restored = 0;
        g_autoptr(GError) error = NULL;

        bh_wishes_hold(h);
        if (!mount_bpffs(h->pin_dir, &error)) {
                bh_warn("cannot mount the BPF file system again; a killed sensor would take the hooks with it", "error", error->message);
                return 0;
        }
        for (guint k = 0; k < h->links->len; k++) {
                struct bpf_link *link = g_ptr_array_index(h->links, k);
                const char *path = bpf_link__pin_path(link);

                if (path)
                        restored += pin_again(bpf_link__fd(link), path);
        }
        for (g_hash_table_iter_init(&i, h->maps); g_hash_table_iter_next(&i, &name, &fd); ) {
                g_autofree char *path = g_build_filename(h->pin_dir, name, NULL);

                if (!strchr(name, '.')) /* maps.debug and progs.debug are the file system's own */
                        restored += pin_again(GPOINTER_TO_INT(fd) - 1, path);
        }
        g_mutex_lock(&h->kept_lock);
        for (g_hash_table_iter_init(&i, h->kept); g_hash_table_iter_next(&i, &name, &fd); ) {
                g_autofree char *path = g_build_filename(h->pin_dir, name, NULL);

                restored += pin_again(GPOINTER_TO_INT(fd) - 1, path);
        }
        g_mutex_unlock(&h->kept_lock);
        return restored;
}

/* ---- pins of others ---- */

gboolean bh_hooks_keep(BhHooks *h, const char *name, int fd, GError **error) {
        g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&h->kept_lock);
        g_autofree char *path = g_build_filename(h->pin_dir, name, NULL);
        int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        unlink(path);
        if (own < 0 || bpf_obj_pin(own, path)) {
                bh_hooks_fail(error, "cannot pin %s: %s", path, g_strerror(errno));
                if (own >= 0)
                        close(own);
                return FALSE;
        }
        g_hash_table_replace(h->kept, g_strdup(name), GINT_TO_POINTER(own + 1));
        return TRUE;
}

int bh_hooks_kept(BhHooks *h, const char *name) {
        g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&h->kept_lock);
        g_autofree char *path = g_build_filename(h->pin_dir, name, NULL);
        int fd = bpf_obj_get(path), own = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;

        if (own >= 0)
                g_hash_table_replace(h->kept, g_strdup(name), GINT_TO_POINTER(own + 1));
        return fd;
}

void bh_hooks_keep_nothing(BhHooks *h) {
        g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&h->kept_lock);
        DIR *d = opendir(h->pin_dir);

        g_hash_table_remove_all(h->kept);
        for (struct dirent *e; d && (e = readdir(d)); )
                if (g_str_has_prefix(e->d_name, BH_HOOKS_KEPT))
                        unlinkat(dirfd(d), e->d_name, 0);
        if (d)
                closedir(d);
}

void bh_hooks_detach(BhHooks *h) {
        DIR *d = opendir(h->pin_dir);

        for (struct dirent *e; d && (e = readdir(d)); )
                if (g_str_has_prefix(e->d_name, "link_"))
                        unlinkat(dirfd(d), e->d_name, 0);
        if (d)
                closedir(d);
        for (guint i = h->links->len; i-- > 0; )
                bpf_link__destroy(g_ptr_array_steal_index(h->links, i));
}

gboolean bh_hooks_adopted(const BhHooks *h) {
        return h->adopted;
}

const BhHookState *bh_hooks_state(const BhHooks *h, guint32 type) {
        return type < BH_EV_KERNEL_MAX && bh_backends_known(type) ? &h->state[type] : NULL;
}

volatile struct bh_config *bh_hooks_config(BhHooks *h) {
        return h->config;
}

void bh_hooks_judge_anew(BhHooks *h) {
        __u32 sensor = 1;
        __u64 n = (guint64) g_get_monotonic_time() << 8 | ((guint) g_atomic_int_add(&h->judged, 1) & 0xff);

        bpf_map_update_elem(bh_hooks_map(h, "changes"), &sensor, &n, BPF_ANY);
}

/* The canary's acts count, though it is of the host. */
static void set_canary(BhHooks *h) {
        __u32 pid = (__u32) bh_canary_pid(h->canary);

        if (h->config->canary_tgid == pid)
                return;
        h->config->canary_tgid = pid;
        bh_hooks_judge_anew(h);
}

int bh_hooks_map(const BhHooks *h, const char *name) {
        return GPOINTER_TO_INT(g_hash_table_lookup(h->maps, name)) - 1;
}

guint64 bh_hooks_build_id(const BhHooks *h) {
        return h->build_id;
}

guint64 bh_hooks_epoch(const BhHooks *h) {
        struct bpf_map_info info = {};
        __u32 len = sizeof(info);

        /* map ids are never used twice while the system is up */
        if (bpf_obj_get_info_by_fd(bh_hooks_map(h, "ring_life"), &info, &len))
                return 0;
        return info.id;
}

static guint64 recursion_misses(BhHooks *h) {
        guint64 sum = 0;

        for (guint i = 0; i < h->links->len; i++) {
                struct bpf_link_info link = {};
                struct bpf_prog_info prog = {};
                __u32 len = sizeof(link);

                if (bpf_obj_get_info_by_fd(bpf_link__fd(g_ptr_array_index(h->links, i)), &link, &len))
                        continue;

                g_auto(BhFd) fd = bpf_prog_get_fd_by_id(link.prog_id);
                len = sizeof(prog);
                if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &prog, &len) == 0)
                        sum += prog.recursion_misses;
        }
        return sum;
}

static gboolean act(BhHooks *h, const BhKinds *of, int timeout_ms, void (*changed)(guint32 type, const BhHookState *now, gpointer data), gpointer data, GError **error) {
        guint64 before[BH_EV_KERNEL_MAX];
        gboolean unseen = TRUE;

        for (guint i = 0; i < BH_EV_KERNEL_MAX; i++)
                before[i] = h->hits[i];
        set_canary(h);
        /* an act can go unseen without anything being wrong (another ran in the same program on that CPU): one that is unseen twice counts */
        for (guint round = 0; round < 2 && unseen; round++) {
                if (!bh_canary_act(h->canary, timeout_ms, error))
                        return FALSE;
                unseen = FALSE;
                for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                        unseen |= bh_kinds_has(of, type) && h->state[type].backend != BH_BACKEND_NONE && bh_canary_tests(type) && h->hits[type] == before[type];
        }
        guint64 misses = recursion_misses(h);
        gboolean excuse = misses > h->recursion;

        h->recursion = misses;
        g_atomic_int_set(&h->recursion_shown, (gint) MIN(misses, G_MAXINT));
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                BhHookState *s = &h->state[type];
                gboolean hit = !bh_canary_tests(type) || h->hits[type] != before[type];

                if (s->backend == BH_BACKEND_NONE || !bh_kinds_has(of, type))
                        continue;

                gboolean whole = s->backend != BH_BACKEND_FALLBACK || bh_dispatcher_whole(h, type), effective = hit && whole;
                if (effective)
                        h->repair[type].excused = 0;
                else if (whole && s->effective && excuse && h->repair[type].excused++ < EXCUSED_MAX)
                        continue; /* the program was skipped on that CPU, perhaps for this very act: the next check says more */
                s->hits += h->hits[type] - before[type];
                if (effective == s->effective)
                        continue;
                s->effective = effective;
                if (changed)
                        changed(type, s, data);
        }
        return TRUE;
}

gboolean bh_hooks_check(BhHooks *h, void (*changed)(guint32 type, const BhHookState *now, gpointer data), gpointer data, GError **error) {
        g_autoptr(GRecMutexLocker) locker = g_rec_mutex_locker_new(&h->lock);

        return act(h, &h->needed, CANARY_MS, changed, data, error);
}

/* ---- wishes ---- */

/* Loads what is needed now and was not before, and finds out whether it works. */
static gboolean take_on(BhHooks *h, const BhKinds *before, GError **error) {
        BhKinds fresh = { 0 };

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_kinds_has(&h->needed, type) && !bh_kinds_has(before, type)) {
                        bh_kinds_add(&fresh, type);
                        h->state[type].effective = TRUE; /* until it is tested */
                }
        if (bh_kinds_equal(&fresh, &(BhKinds){ 0 }))
                return TRUE;
        return bh_loader_load(h, error) && act(h, &fresh, CANARY_LOAD_MS, NULL, NULL, error) && settle(h, error) && act(h, &fresh, CANARY_LOAD_MS, NULL, NULL, error);
}

gboolean bh_hooks_want(BhHooks *h, BhConsumer who, const BhKinds *kinds, GError **error) {
        g_autoptr(GRecMutexLocker) locker = g_rec_mutex_locker_new(&h->lock);
        BhKinds wish = h->wishes[who], needed = h->needed;

        if (bh_kinds_equal(&wish, kinds))
                return TRUE;
        bh_wishes_set(h, who, kinds);
        bh_wishes_stop(h);

        gboolean ok = take_on(h, &needed, error);
        if (!ok)
                bh_wishes_set(h, who, &wish);
        /* a program too many does no harm: what it would tell is off */
        g_autoptr(GError) left = NULL;
        if (!bh_loader_prune(h, ok ? error : &left))
                ok = FALSE;
        bh_wishes_go(h);
        bh_hooks_judge_anew(h);
        return ok;
}

BhKinds bh_hooks_wish(BhHooks *h, BhConsumer who) {
        g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&h->wish_lock);

        return h->wishes[who];
}

BhKinds bh_hooks_wanted(BhHooks *h) {
        g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&h->wish_lock);

        return h->wanted;
}

guint64 bh_hooks_recursion_misses(BhHooks *h) {
        return (guint64) g_atomic_int_get(&h->recursion_shown);
}
