/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "block.skel.h"
#include "block_private.h"
#include "enforce_pin.h"

#define DENIED 42 /* exit codes of the canary */
#define UNABLE 43

static const char *const map_names[BLOCK_MAPS] = { "subjects", "namespaces", "files", "config", "counts", "asked", "acts", "roots" };

static const struct program {
        BhBlockBackend backend;
        BlockNeed need;
        const char *name;
} programs[] = {
#define BOTH(need, name) { BH_BLOCK_BACKEND_LSM, need, "lsm_" name }, { BH_BLOCK_BACKEND_RETURN, need, "fm_" name },
        BOTH(NEED_RUN, "run")
        { BH_BLOCK_BACKEND_RETURN, NEED_RUN, "fm_again" },
        BOTH(NEED_RUN, "map")
        BOTH(NEED_CAP, "cap")
        BOTH(NEED_MOUNT, "mount")
        BOTH(NEED_MOUNT, "move")
        BOTH(NEED_PTRACE, "trace")
        BOTH(NEED_PTRACE, "traceme")
        BOTH(NEED_MODULE, "request")
        BOTH(NEED_MODULE, "read")
        BOTH(NEED_MODULE, "load")
        { BH_BLOCK_BACKEND_TRACEPOINT, NEED_RUN, "tp_prepare" },
        { BH_BLOCK_BACKEND_TRACEPOINT, NEED_RUN, "tp_run" },
#undef BOTH
};

/* The i-th of a backend, in the order of the table; NULL: it has fewer. */
static const struct program *program_of(BhBlockBackend backend, guint i) {
        for (guint k = 0; k < G_N_ELEMENTS(programs); k++)
                if (programs[k].backend == backend && i-- == 0)
                        return &programs[k];
        return NULL;
}

void bh_block_close(BhBlock *b) {
        g_clear_pointer(&b->ring, ring_buffer__free);
        for (guint i = 0; i < BLOCK_MAPS; i++)
                bh_fd_clear(&b->maps[i]);
        for (guint i = 0; i < BLOCK_PROGRAMS; i++)
                bh_fd_clear(&b->programs[i]);
        bh_fd_clear(&b->ask);
        b->backend = BH_BLOCK_BACKEND_NONE;
        b->pinned = FALSE;
}

/* ---- pins ---- */

static char *pin_of(const BhBlock *b, const char *kind, const char *name) {
        return g_strdup_printf("%s/%s_%s", b->home, kind, name);
}

static int open_pin(const BhBlock *b, const char *kind, const char *name) {
        g_autofree char *path = pin_of(b, kind, name);

        return bpf_obj_get(path);
}

gboolean bh_block_open_pins(BhBlock *b) {
        static const BhBlockBackend backends[] = { BH_BLOCK_BACKEND_LSM, BH_BLOCK_BACKEND_RETURN, BH_BLOCK_BACKEND_TRACEPOINT };
        const struct program *p;

        if (!bh_pins_mounted(b->dir))
                return FALSE;
        for (guint i = 0; i < BLOCK_MAPS; i++)
                if ((b->maps[i] = open_pin(b, "map", map_names[i])) < 0) {
                        bh_block_close(b);
                        return FALSE;
                }
        b->ask = open_pin(b, "prog", "ask");
        for (guint k = 0; k < G_N_ELEMENTS(backends) && !b->backend; k++)
                for (guint i = 0; (p = program_of(backends[k], i)); i++)
                        if ((b->programs[i] = open_pin(b, "prog", p->name)) >= 0)
                                b->backend = backends[k];
        if (b->ask >= 0 && b->backend) {
                b->chosen = b->backend;
                return b->pinned = TRUE;
        }
        bh_block_close(b);
        return FALSE;
}

static gboolean pin_one(const BhBlock *b, int fd, const char *kind, const char *name, GError **error) {
        g_autofree char *path = pin_of(b, kind, name);

        return fd < 0 || bpf_obj_pin(fd, path) == 0 || bh_enforce_fail(error, "cannot pin %s: %s", path, g_strerror(errno));
}

gboolean bh_block_pin(BhBlock *b, GError **error) {
        const struct program *p;

        if (b->pinned)
                return TRUE;
        gboolean ok = bh_pins_make(b->dir, b->home, error);
        for (guint i = 0; ok && i < BLOCK_MAPS; i++)
                ok = pin_one(b, b->maps[i], "map", map_names[i], error);
        for (guint i = 0; ok && (p = program_of(b->backend, i)); i++)
                ok = pin_one(b, b->programs[i], "prog", p->name, error);
        ok = ok && pin_one(b, b->ask, "prog", "ask", error); /* the last: with it, all are there, whenever this process is killed */
        if (!ok)
                bh_pins_remove(b->home);
        return b->pinned = ok;
}

void bh_block_unpin(BhBlock *b) {
        gboolean pinned = b->pinned;

        b->pinned = FALSE;
        if (bh_pins_mounted(b->dir)) {
                bh_pins_remove(b->home);
                bh_pins_unmount(b->dir);
        }
        if (pinned) /* before 5.13 a program that was attached cannot be attached again */
                bh_block_close(b);
}

static void add_counts(const BhBlock *b, int others) {
        struct bpf_map_info info = {};
        __u32 len = sizeof(info);
        guint32 rule, next;

        if (!b->backend || bpf_obj_get_info_by_fd(others, &info, &len) || info.type != BPF_MAP_TYPE_HASH || info.key_size != sizeof(rule) || info.value_size != sizeof(struct bh_block_count))
                return;
        for (const guint32 *at = NULL; bpf_map_get_next_key(others, at, &next) == 0; at = &rule) {
                struct bh_block_count more, now;

                rule = next;
                if (bpf_map_lookup_elem(others, &rule, &more) || bpf_map_lookup_elem(b->maps[BLOCK_COUNTS], &rule, &now))
                        continue;
                now.acts += more.acts;
                now.untold += more.untold;
                bpf_map_update_elem(b->maps[BLOCK_COUNTS], &rule, &now, BPF_EXIST);
        }
}

/* Another build's map by id of cgroup; value_size 0: whatever it has. -1: there is none like that. */
static int open_of_other(const char *home, const char *name, guint32 value_size) {
        g_autofree char *path = g_strdup_printf("%s/map_%s", home, name);
        g_auto(BhFd) fd = bpf_obj_get(path);
        struct bpf_map_info info = {};
        __u32 len = sizeof(info);

        if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || info.type != BPF_MAP_TYPE_HASH || info.key_size != sizeof(guint64) || (value_size && info.value_size != value_size))
                return -1;
        return bh_fd_steal(&fd);
}

gboolean bh_block_root_of_others(const BhBlock *b, guint64 cgroup, struct bh_block_root *root) {
        g_autoptr(GPtrArray) others = bh_pins_mounted(b->dir) ? bh_pins_others(b->dir, b->home) : NULL;
        gboolean found = FALSE;

        for (guint i = 0; others && i < others->len && !found; i++) {
                g_auto(BhFd) fd = open_of_other(others->pdata[i], map_names[BLOCK_ROOTS], sizeof(*root));

                found = fd >= 0 && bpf_map_lookup_elem(fd, &cgroup, root) == 0;
        }
        return found;
}

void bh_block_take_from_others(const BhBlock *b, guint64 cgroup) {
        g_autoptr(GPtrArray) others = bh_pins_mounted(b->dir) ? bh_pins_others(b->dir, b->home) : NULL;

        for (guint i = 0; others && i < others->len; i++) {
                g_auto(BhFd) fd = open_of_other(others->pdata[i], map_names[BLOCK_SUBJECTS], 0);

                if (fd >= 0)
                        bpf_map_delete_elem(fd, &cgroup);
        }
}

void bh_block_take_over(BhBlock *b, const char *home) {
        g_autofree char *counts_path = g_build_filename(home, "map_counts", NULL), *acts_path = g_build_filename(home, "map_acts", NULL);
        g_auto(BhFd) counts = bpf_obj_get(counts_path);
        int acts = bpf_obj_get(acts_path);

        bh_pins_remove(home); /* first: it counts nothing more */
        if (acts >= 0)
                g_array_append_val(b->left, acts);
        if (counts >= 0)
                add_counts(b, counts);
}

gboolean bh_block_attach(BhBlock *b, guint needs, GError **error) {
        const struct program *p;

        for (guint i = 0; (p = program_of(b->backend, i)); i++) {
                g_autofree char *path = pin_of(b, "link", p->name);
                g_auto(BhFd) link = -1;

                if (b->programs[i] < 0 || !(p->need & needs) || access(path, F_OK) == 0)
                        continue;
                if ((link = bpf_raw_tracepoint_open(NULL, b->programs[i])) < 0)
                        return bh_enforce_fail(error, "cannot attach %s: %s", p->name, g_strerror(errno));
                if (bpf_obj_pin(link, path))
                        return bh_enforce_fail(error, "cannot pin %s: %s", path, g_strerror(errno));
        }
        return TRUE;
}

guint64 bh_block_skipped(const BhBlock *b) {
        guint64 sum = 0;

        for (guint i = 0; i < BLOCK_PROGRAMS; i++) {
                struct bpf_prog_info info = {};
                __u32 len = sizeof(info);

                if (b->programs[i] >= 0 && bpf_obj_get_info_by_fd(b->programs[i], &info, &len) == 0)
                        sum += info.recursion_misses;
        }
        return sum;
}

/* ---- the choice ---- */

static int quiet(enum libbpf_print_level level, const char *format, va_list args) {
        return 0;
}

static gboolean has(const struct btf *btf, const char *name, guint32 kind) {
        return btf && btf__find_by_name_kind(btf, name, kind) >= 0;
}

static gboolean load(BhBlock *b, BhBlockBackend backend, const struct btf *btf, GError **error) {
        gboolean prepare = has(btf, "btf_trace_sched_prepare_exec", BTF_KIND_TYPEDEF);
        struct bh_block *skeleton = bh_block__open();
        const struct program *p;
        struct bpf_program *one;
        int rc;

        if (!skeleton)
                return bh_enforce_fail(error, "%s", g_strerror(errno));
        skeleton->rodata->bh_second = prepare;
        skeleton->rodata->bh_direct = has(btf, "bpf_rdonly_cast", BTF_KIND_FUNC);
        bpf_object__for_each_program(one, skeleton->obj)
                bpf_program__set_autoload(one, g_str_equal(bpf_program__name(one), "ask"));
        for (guint i = 0; (p = program_of(backend, i)); i++)
                if (prepare || !g_str_equal(p->name, "tp_prepare"))
                        bpf_program__set_autoload(bpf_object__find_program_by_name(skeleton->obj, p->name), TRUE);
        rc = bpf_object__load(skeleton->obj);
        for (guint i = 0; !rc && i < BLOCK_MAPS; i++)
                if ((b->maps[i] = fcntl(bpf_object__find_map_fd_by_name(skeleton->obj, map_names[i]), F_DUPFD_CLOEXEC, 3)) < 0)
                        rc = -errno;
        if (!rc && (b->ask = fcntl(bpf_program__fd(skeleton->progs.ask), F_DUPFD_CLOEXEC, 3)) < 0)
                rc = -errno;
        for (guint i = 0; !rc && (p = program_of(backend, i)); i++) {
                one = bpf_object__find_program_by_name(skeleton->obj, p->name);
                if (bpf_program__fd(one) >= 0 && (b->programs[i] = fcntl(bpf_program__fd(one), F_DUPFD_CLOEXEC, 3)) < 0)
                        rc = -errno;
        }
        bh_block__destroy(skeleton);
        if (!rc) {
                b->backend = backend;
                return TRUE;
        }
        bh_block_close(b);
        return bh_enforce_fail(error, "%s", g_strerror(-rc));
}

/* Runs this program in a child that may run nothing. Between fork and exec nothing may be called that another thread could have locked. */
static int run_canary(BhBlock *b) {
        struct bh_block_config c = { 0 };
        char *const argv[] = { (char *) "/proc/self/exe", (char *) "--version", NULL }, *const envp[] = { NULL };
        int go[2], status, null = open("/dev/null", O_RDWR | O_CLOEXEC);
        guint32 zero = 0;
        char byte;

        if (null < 0 || pipe2(go, O_CLOEXEC)) {
                bh_fd_clear(&null);
                return -1;
        }
        pid_t pid = fork();
        if (pid == 0) {
                close(go[1]); /* else it would wait for itself, with all that it has open, when the parent is killed now */
                if (dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 || read(go[0], &byte, 1) != 1)
                        _exit(UNABLE);
                execve(argv[0], argv, envp);
                _exit(errno == EPERM ? DENIED : UNABLE);
        }
        c.canary = (guint32) MAX(pid, 0);
        if (pid > 0 && (bpf_map_update_elem(b->maps[BLOCK_CONFIG], &zero, &c, BPF_ANY) || write(go[1], "x", 1) != 1))
                kill(pid, SIGKILL);
        close(go[0]);
        close(go[1]);
        close(null);
        while (pid > 0 && waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        pid = -1;
        c.canary = 0;
        bpf_map_update_elem(b->maps[BLOCK_CONFIG], &zero, &c, BPF_ANY);
        return pid > 0 ? status : -1;
}

/* Attached for a moment: whether it does what it should. */
static gboolean works(BhBlock *b, GError **error) {
        int links[BLOCK_PROGRAMS], status;
        const struct program *p;
        gboolean attached = TRUE;
        guint n = 0;

        for (guint i = 0; attached && (p = program_of(b->backend, i)); i++)
                if (p->need == NEED_RUN && b->programs[i] >= 0) {
                        if ((links[n] = bpf_raw_tracepoint_open(NULL, b->programs[i])) < 0) {
                                attached = bh_enforce_fail(error, "%s cannot be attached: %s", p->name, g_strerror(errno));
                                break;
                        }
                        n++;
                }
        status = attached ? run_canary(b) : -1;
        while (n)
                close(links[--n]);
        if (!attached)
                return FALSE;
        gboolean deny = b->backend != BH_BLOCK_BACKEND_TRACEPOINT;
        if (status >= 0 && (deny ? WIFEXITED(status) && WEXITSTATUS(status) == DENIED : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
                return TRUE;
        return bh_enforce_fail(error, "a program that should have been stopped was not");
}

gboolean bh_block_prepare(BhBlock *b, GError **error) {
        static const struct {
                BhBlockBackend backend;
                const char *name;
        } order[] = { { BH_BLOCK_BACKEND_LSM, "BPF LSM" }, { BH_BLOCK_BACKEND_RETURN, "fmod_ret" }, { BH_BLOCK_BACKEND_TRACEPOINT, "tracepoints" } };
        g_autoptr(GString) why = g_string_new(NULL);

        if (b->backend)
                return TRUE;
        if (b->problem)
                return bh_enforce_fail(error, "%s", b->problem);
        libbpf_print_fn_t before = libbpf_set_print(quiet);
        struct btf *btf = btf__load_vmlinux_btf();
        if (b->chosen && load(b, b->chosen, btf, error)) {
                btf__free(btf);
                libbpf_set_print(before);
                return TRUE;
        }
        g_clear_error(error);
        for (guint i = 0; !b->backend && i < G_N_ELEMENTS(order); i++) {
                g_autoptr(GError) one = NULL;

                if (b->wanted && b->wanted != order[i].backend)
                        continue;
                gboolean good = load(b, order[i].backend, btf, &one) && works(b, &one);
                bh_block_close(b);
                if (good && load(b, order[i].backend, btf, &one)) { /* anew: see bh_block_unpin() */
                        b->chosen = order[i].backend;
                        break;
                }
                g_string_append_printf(why, "%s%s: %s", why->len ? "; " : "", order[i].name, one->message);
        }
        btf__free(btf);
        libbpf_set_print(before);
        if (b->backend)
                return TRUE;
        b->problem = g_strdup_printf("this kernel refuses what stops programs (%s)", why->str);
        return bh_enforce_fail(error, "%s", b->problem);
}
