/* SPDX-License-Identifier: Apache-2.0 */
#include "hooks.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/fdio.h"
#include "base/log.h"
#include "file.skel.h"
#include "kernel.skel.h"
#include "net.skel.h"
#include "process.skel.h"
#include "security.skel.h"

#define BPF_FS_MAGIC_NUMBER 0xcafe4a11
#define SLOTS_PER_CPU 3
#define JOB_PROGRAMS 12
#define JOBS_MAX 8
#define CANARY_MS 3000

static const struct {
        const char *name;
        const void *(*bytes)(size_t *size);
} objects[] = {
        { "process", bh_process__elf_bytes },
        { "kernel", bh_kernel__elf_bytes },
        { "security", bh_security__elf_bytes },
        { "file", bh_file__elf_bytes },
        { "net", bh_net__elf_bytes },
};

enum row_kind { ROW_COMMON, ROW_OBJECT, ROW_INSTEAD, ROW_FALLBACK, ROW_CALL };

static const struct row {
        enum row_kind kind;
        guint32 type;
        const char *name; /* program; ROW_CALL: handler */
        int native, compat;
        const char *of; /* ROW_INSTEAD: program that it stands in for */
} rows[] = {
#define BH_HOOK_COMMON(type, program) { ROW_COMMON, BH_EV_##type, #program, -1, -1, NULL },
#define BH_HOOK_OBJECT(type, program) { ROW_OBJECT, BH_EV_##type, #program, -1, -1, NULL },
#define BH_HOOK_INSTEAD(type, program, of) { ROW_INSTEAD, BH_EV_##type, #program, -1, -1, #of },
#define BH_HOOK_FALLBACK(type, program) { ROW_FALLBACK, BH_EV_##type, #program, -1, -1, NULL },
#define BH_HOOK_CALL(type, handler, native, compat) { ROW_CALL, BH_EV_##type, #handler, native, compat, NULL },
#include "hooks.tbl.h"
};

struct BhHooks {
        char *pin_dir;
        GPtrArray *loaded;    /* struct bpf_object *, kept for the links' sake */
        GPtrArray *links;     /* struct bpf_link * of this process */
        GHashTable *attached; /* name of each program that is attached or in the dispatcher's table */
        GHashTable *maps;     /* name → fd + 1 */
        GPtrArray *names[G_N_ELEMENTS(objects)]; /* programs of each object */
        GHashTable *targets;  /* program → kernel function that it wants (preferred ones) */
        GHashTable *bad;      /* program → why it cannot be loaded here */
        struct btf *btf;
        BhCanary *canary;
        BhHookState state[BH_EV_KERNEL_MAX];
        gboolean adopted;
        gint recursion_shown; /* misses as last read by a check, up to G_MAXINT */
        volatile struct bh_config *config;
        volatile guint64 *hits;
        BhHooksOptions options;
        gint32 subsys, hierarchy;
};

static __thread GString *libbpf_said; /* while loading: what libbpf printed */

static int on_libbpf(enum libbpf_print_level level, const char *format, va_list args) {
        if (level != LIBBPF_DEBUG && libbpf_said)
                g_string_append_vprintf(libbpf_said, format, args);
        return 0;
}

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...) {
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
                return fail(error, "cannot make %s: %s", dir, g_strerror(errno));
        if (mount("bpf", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
                return fail(error, "cannot mount a BPF file system on %s: %s; the sensor needs CAP_SYS_ADMIN and a kernel with CONFIG_BPF_SYSCALL", dir, g_strerror(errno));
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

/* ---- what this kernel can do ---- */

static gint32 function_id(BhHooks *h, const char *name) {
        return btf__find_by_name_kind(h->btf, name, BTF_KIND_FUNC);
}

/* Loads and attaches a program that does nothing to the exit of setns: says whether fentry/fexit are to be had, by effect of the attempt. */
static gboolean fexit_works(BhHooks *h, char **why) {
        struct bpf_insn code[] = {
                { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
                { .code = BPF_JMP | BPF_EXIT },
        };
        gint32 id = function_id(h, "__x64_sys_setns");
        LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = BPF_TRACE_FEXIT, .attach_btf_id = (__u32) MAX(id, 0));

        if (id < 0) {
                *why = g_strdup("the kernel's type information lacks the system call functions");
                return FALSE;
        }

        g_auto(BhFd) prog = bpf_prog_load(BPF_PROG_TYPE_TRACING, "bh_probe", "GPL", code, G_N_ELEMENTS(code), &o);
        if (prog < 0) {
                *why = g_strdup_printf("the kernel refuses fexit programs: %s%s", g_strerror(errno), errno == EPERM ? " (lockdown?)" : "");
                return FALSE;
        }
        g_auto(BhFd) link = bpf_raw_tracepoint_open(NULL, prog);
        if (link < 0) {
                *why = g_strdup_printf("the kernel refuses to attach fexit programs: %s", g_strerror(errno));
                return FALSE;
        }
        return TRUE;
}

/* Index of a v1 controller in css_set.subsys[], from the kernel's own enum. */
static gint32 controller_index(BhHooks *h, const char *controller) {
        g_autofree char *want = g_strdup_printf("%s_cgrp_id", controller);
        gint32 id = btf__find_by_name_kind(h->btf, "cgroup_subsys_id", BTF_KIND_ENUM);

        if (id < 0)
                return -1;

        const struct btf_type *t = btf__type_by_id(h->btf, (__u32) id);
        const struct btf_enum *e = btf_enum(t);
        for (guint16 i = 0; i < btf_vlen(t); i++)
                if (g_str_equal(btf__name_by_offset(h->btf, e[i].name_off), want))
                        return e[i].val;
        return -1;
}

/* Number of the hierarchy of a v1 controller as in /proc/self/cgroup ("11:pids:/…"); 0, the number of v2, if there is none. */
static gint32 hierarchy_number(const char *controller) {
        g_autofree char *text = bh_file_read(AT_FDCWD, "/proc/self/cgroup", 65536, NULL, NULL, NULL);
        g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);

        for (guint i = 0; lines[i]; i++) {
                g_auto(GStrv) parts = g_strsplit(lines[i], ":", 3);
                g_auto(GStrv) names = parts[0] && parts[1] ? g_strsplit(parts[1], ",", -1) : NULL;

                if (names && g_strv_contains((const char *const *) names, controller))
                        return atoi(parts[0]);
        }
        return 0;
}

/* ---- choice ---- */

/* Names of all programs, and the function that each fentry/fexit program attaches to. */
static void note_programs(BhHooks *h) {
        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                size_t size;
                const void *bytes = objects[i].bytes(&size);
                struct bpf_object *o = bpf_object__open_mem(bytes, size, NULL);
                struct bpf_program *p;

                h->names[i] = g_ptr_array_new_with_free_func(g_free);
                if (!o)
                        continue;
                bpf_object__for_each_program(p, o) {
                        const char *section = bpf_program__section_name(p), *slash = strchr(section, '/');

                        g_ptr_array_add(h->names[i], g_strdup(bpf_program__name(p)));
                        if (slash && (g_str_has_prefix(section, "fexit/") || g_str_has_prefix(section, "fentry/")))
                                g_hash_table_insert(h->targets, g_strdup(bpf_program__name(p)), g_strdup(slash + 1));
                }
                bpf_object__close(o);
        }
}

static gboolean can_prefer(BhHooks *h, const char *program) {
        const char *target = g_hash_table_lookup(h->targets, program);

        return target && !g_hash_table_contains(h->bad, program) && function_id(h, target) >= 0;
}

/* Adds the names of the programs that `type` has with this backend to `set`; returns how many, those common to both backends left out. */
static guint programs_of(BhHooks *h, guint32 type, BhBackend backend, GHashTable *set) {
        guint n = 0;

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const struct row *r = &rows[i];
                const char *const prefixes[] = { "fx_", "fc_" };

                if (r->type != type)
                        continue;
                if (r->kind == ROW_COMMON || (r->kind == ROW_FALLBACK && backend == BH_BACKEND_FALLBACK)) {
                        if (!g_hash_table_contains(h->bad, r->name)) {
                                g_hash_table_add(set, g_strdup(r->name));
                                n += r->kind != ROW_COMMON;
                        }
                } else if (backend == BH_BACKEND_PREFERRED && can_prefer(h, r->name) &&
                           (r->kind == ROW_OBJECT || (r->kind == ROW_INSTEAD && !can_prefer(h, r->of)))) {
                        g_hash_table_add(set, g_strdup(r->name));
                        n++;
                } else if (r->kind == ROW_CALL && backend == BH_BACKEND_FALLBACK) {
                        g_autofree char *name = g_strconcat("sx_", r->name, NULL);

                        if (!g_hash_table_contains(h->bad, name)) {
                                g_hash_table_add(set, g_steal_pointer(&name));
                                n++;
                        }
                } else if (r->kind == ROW_CALL && backend == BH_BACKEND_PREFERRED) {
                        for (guint k = 0; k < G_N_ELEMENTS(prefixes); k++) {
                                g_autofree char *name = g_strconcat(prefixes[k], r->name, NULL);

                                if (can_prefer(h, name)) {
                                        g_hash_table_add(set, g_steal_pointer(&name));
                                        n++;
                                }
                        }
                }
        }
        return n;
}

static gboolean has_rows(guint32 type, gboolean common_only) {
        gboolean any = FALSE;

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
                if (rows[i].type == type) {
                        if (common_only && rows[i].kind != ROW_COMMON)
                                return FALSE;
                        any = TRUE;
                }
        return any;
}

static void choose(BhHooks *h, guint32 type, BhBackend wanted, const char *why_not) {
        g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        BhHookState *s = &h->state[type];

        g_clear_pointer(&s->why, g_free);
        if (has_rows(type, TRUE)) {
                s->backend = BH_BACKEND_TRACEPOINT;
                return;
        }
        if (wanted != BH_BACKEND_FALLBACK && programs_of(h, type, BH_BACKEND_PREFERRED, set)) {
                s->backend = BH_BACKEND_PREFERRED;
                return;
        }
        s->why = g_strdup(why_not ? why_not : "this kernel has none of the functions of the preferred hook");
        if (programs_of(h, type, BH_BACKEND_FALLBACK, set)) {
                s->backend = BH_BACKEND_FALLBACK;
        } else {
                s->backend = BH_BACKEND_NONE;
        }
}

/* ---- loading ---- */

static void set_rodata(BhHooks *h, struct bpf_object *o) {
        struct btf *btf = bpf_object__btf(o);
        gint32 sec = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
        struct bpf_map *map;

        if (sec < 0)
                return;
        bpf_object__for_each_map(map, o) {
                size_t size;
                const char *name = bpf_map__name(map);
                const void *initial = g_str_has_suffix(name, ".rodata") ? bpf_map__initial_value(map, &size) : NULL;
                g_autofree guint8 *data = initial ? g_memdup2(initial, size) : NULL;
                const struct btf_type *t = btf__type_by_id(btf, (__u32) sec);
                const struct btf_var_secinfo *v = btf_var_secinfos(t);

                if (!data)
                        continue;
                for (guint16 i = 0; i < btf_vlen(t); i++) {
                        const char *var = btf__name_by_offset(btf, btf__type_by_id(btf, v[i].type)->name_off);
                        gint32 value;

                        if (v[i].size != sizeof(value) || v[i].offset + sizeof(value) > size)
                                continue;
                        if (g_str_equal(var, "bh_cgroup_subsys")) {
                                value = h->subsys;
                        } else if (g_str_equal(var, "bh_cgroup_hierarchy")) {
                                value = h->hierarchy;
                        } else if (g_str_has_prefix(var, "bh_nargs_")) {
                                /* how many parameters that function has on this kernel: where fexit finds the result */
                                gint32 id = function_id(h, var + strlen("bh_nargs_"));

                                if (id < 0)
                                        continue;
                                value = btf_vlen(btf__type_by_id(h->btf, btf__type_by_id(h->btf, (__u32) id)->type));
                        } else {
                                continue;
                        }
                        memcpy(data + v[i].offset, &value, sizeof(value));
                }
                bpf_map__set_initial_value(map, data, size);
        }
}

/* Name of the program of which libbpf said that it failed, or NULL. */
static char *failed_program(const char *said) {
        static const char *const marks[] = { "': BPF program load failed", "': failed to load", "': failed to find kernel BTF type", "': failed to prepare load" };

        for (guint i = 0; i < G_N_ELEMENTS(marks); i++) {
                const char *end = strstr(said, marks[i]), *start;

                for (start = end; start && start > said && *start != '\''; )
                        start--;
                if (!end)
                        continue;
                start = end;
                while (start > said && start[-1] != '\'')
                        start--;
                return g_strndup(start, (gsize) (end - start));
        }
        return NULL;
}

static gboolean attach(BhHooks *h, struct bpf_program *p, GError **error) {
        const char *name = bpf_program__name(p);
        struct bpf_link *link = bpf_program__attach(p);

        if (!link)
                return fail(error, "cannot attach program %s: %s", name, g_strerror(errno));
        g_ptr_array_add(h->links, link);

        g_autofree char *path = g_strdup_printf("%s/link_%s", h->pin_dir, name);
        if (bpf_link__pin(link, path))
                return fail(error, "cannot pin %s: %s", path, g_strerror(errno));
        g_hash_table_add(h->attached, g_strdup(name));
        return TRUE;
}

/* Puts the handler into the dispatcher's table at the numbers of its system calls. */
static gboolean table(BhHooks *h, struct bpf_program *p, GError **error) {
        const char *name = bpf_program__name(p);
        int map = bh_hooks_map(h, "syscalls"), fd = bpf_program__fd(p);

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const int numbers[] = { rows[i].native, rows[i].compat >= 0 ? rows[i].compat + 512 : -1 };

                if (rows[i].kind != ROW_CALL || !g_str_equal(rows[i].name, name + 3))
                        continue;
                for (guint k = 0; k < G_N_ELEMENTS(numbers); k++)
                        if (numbers[k] >= 0 && bpf_map_update_elem(map, &numbers[k], &fd, BPF_ANY))
                                return fail(error, "cannot enter %s for system call %d: %s", name, numbers[k], g_strerror(errno));
        }
        g_hash_table_add(h->attached, g_strdup(name));
        return TRUE;
}

/* Programs of one object that are loaded together. Verifying takes most of the time that a start takes, so jobs run side by side. */
typedef struct {
        BhHooks *hooks;
        guint index;         /* of the object */
        GPtrArray *programs; /* names; none: only makes and pins the maps */
        struct bpf_object *object;
        GString *said;
        int err;
} Job;

static void job_free(Job *j) {
        if (j->object)
                bpf_object__close(j->object);
        g_string_free(j->said, TRUE);
        g_ptr_array_unref(j->programs);
        g_free(j);
}

static Job *job_new(BhHooks *h, guint index) {
        Job *j = g_new0(Job, 1);

        j->hooks = h;
        j->index = index;
        j->programs = g_ptr_array_new_with_free_func(g_free);
        j->said = g_string_new(NULL);
        return j;
}

static void job_run(gpointer data, gpointer unused) {
        Job *j = data;
        size_t size;
        const void *bytes = objects[j->index].bytes(&size);
        LIBBPF_OPTS(bpf_object_open_opts, o, .object_name = objects[j->index].name, .pin_root_path = j->hooks->pin_dir);
        struct bpf_program *p;
        struct bpf_map *map;

        j->object = bpf_object__open_mem(bytes, size, &o);
        if (!j->object) {
                j->err = -errno;
                return;
        }
        bpf_object__for_each_program(p, j->object)
                bpf_program__set_autoload(p, g_ptr_array_find_with_equal_func(j->programs, bpf_program__name(p), g_str_equal, NULL));
        bpf_object__for_each_map(map, j->object) {
                static const char *const rings[] = { "ring_life", "ring_key", "ring_bulk" };
                g_autofree char *pin = g_build_filename(j->hooks->pin_dir, bpf_map__name(map), NULL);

                if (bpf_map__is_internal(map))
                        continue;
                bpf_map__set_pin_path(map, pin); /* every map: jobs and sensors to come share it */
                if (g_str_equal(bpf_map__name(map), "scratch"))
                        bpf_map__set_max_entries(map, (__u32) libbpf_num_possible_cpus() * SLOTS_PER_CPU);
                for (guint i = 0; i < G_N_ELEMENTS(rings); i++)
                        if (g_str_equal(bpf_map__name(map), rings[i]) && j->hooks->options.ring_bytes[i])
                                bpf_map__set_max_entries(map, (__u32) j->hooks->options.ring_bytes[i]);
        }
        set_rodata(j->hooks, j->object);
        libbpf_said = j->said;
        j->err = bpf_object__load(j->object);
        libbpf_said = NULL;
}

/*
 * Attaches what a job loaded. A program that the kernel refuses goes to `bad` with the reason and *again is set: the caller chooses anew.
 */
static gboolean job_finish(BhHooks *h, Job *j, gboolean *again, GError **error) {
        struct bpf_program *p;

        if (j->err) {
                g_autofree char *name = failed_program(j->said->str);

                g_strchomp(j->said->str);
                if (!name || g_hash_table_contains(h->bad, name))
                        return fail(error, "cannot load the kernel programs of %s: %s: %s", objects[j->index].name, g_strerror(-j->err), j->said->str);
                bh_debug("kernel refuses a program", "program", name, "said", j->said->str);
                g_hash_table_insert(h->bad, g_strdup(name), g_strdup_printf("the kernel refuses program %s: %s", name, g_strerror(-j->err)));
                *again = TRUE;
                return TRUE;
        }
        bpf_object__for_each_program(p, j->object)
                if (bpf_program__autoload(p) && !(g_str_has_prefix(bpf_program__name(p), "sx_") ? table(h, p, error) : attach(h, p, error)))
                        return FALSE;
        g_ptr_array_add(h->loaded, g_steal_pointer(&j->object));
        return TRUE;
}

/* Jobs for what is in `want` and not attached yet. */
static void add_jobs(BhHooks *h, GHashTable *want, GPtrArray *jobs) {
        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                Job *j = NULL;

                for (guint k = 0; k < h->names[i]->len; k++) {
                        const char *name = g_ptr_array_index(h->names[i], k);

                        if (!g_hash_table_contains(want, name) || g_hash_table_contains(h->attached, name))
                                continue;
                        if (!j || j->programs->len == JOB_PROGRAMS) {
                                j = job_new(h, i);
                                g_ptr_array_add(jobs, j);
                        }
                        g_ptr_array_add(j->programs, g_strdup(name));
                }
        }
}

static gboolean open_maps(BhHooks *h, GError **error) {
        DIR *d = opendir(h->pin_dir);

        if (!d)
                return fail(error, "cannot list %s: %s", h->pin_dir, g_strerror(errno));
        for (struct dirent *e; (e = readdir(d)); ) {
                if (e->d_name[0] == '.' || g_str_has_prefix(e->d_name, "link_") || g_hash_table_contains(h->maps, e->d_name))
                        continue;

                g_autofree char *path = g_build_filename(h->pin_dir, e->d_name, NULL);
                int fd = bpf_obj_get(path);
                if (fd >= 0)
                        g_hash_table_insert(h->maps, g_strdup(e->d_name), GINT_TO_POINTER(fd + 1));
        }
        closedir(d);

        gsize page = (gsize) sysconf(_SC_PAGESIZE);
        if (!h->config) {
                void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, bh_hooks_map(h, "config"), 0);

                if (at == MAP_FAILED)
                        return fail(error, "cannot map the kernel programs' configuration: %s", g_strerror(errno));
                h->config = at;
        }
        if (!h->hits) {
                void *at = mmap(NULL, page, PROT_READ, MAP_SHARED, bh_hooks_map(h, "canary_hits"), 0);

                if (at == MAP_FAILED)
                        return fail(error, "cannot map the canary's counts: %s", g_strerror(errno));
                h->hits = at;
        }
        return TRUE;
}

/* TRUE if the dispatcher's table has an entry for each system call of that handler. */
static gboolean table_has(BhHooks *h, const char *handler) {
        int map = bh_hooks_map(h, "syscalls");

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const int numbers[] = { rows[i].native, rows[i].compat >= 0 ? rows[i].compat + 512 : -1 };

                if (rows[i].kind != ROW_CALL || !g_str_equal(rows[i].name, handler))
                        continue;
                for (guint k = 0; k < G_N_ELEMENTS(numbers); k++) {
                        __u32 id;

                        if (numbers[k] >= 0 && bpf_map_lookup_elem(map, &numbers[k], &id))
                                return FALSE;
                }
        }
        return TRUE;
}

/* The calls that the canary does not make (sister calls, 32-bit ones) are looked after by their entries. */
static gboolean table_whole(BhHooks *h, guint32 type) {
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *name = rows[i].kind == ROW_CALL && rows[i].type == type ? g_strconcat("sx_", rows[i].name, NULL) : NULL;

                if (name && g_hash_table_contains(h->attached, name) && !table_has(h, rows[i].name))
                        return FALSE;
        }
        return TRUE;
}

static guint64 build_id(void) {
        guint64 id = sizeof(struct bh_rec);

        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                size_t size;
                const void *bytes = objects[i].bytes(&size);

                id = XXH64(bytes, size, id);
        }
        return id;
}

/* Maps first, one object after the other: objects share them by their pins. */
static gboolean make_maps(BhHooks *h, GError **error) {
        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                Job *j = job_new(h, i);

                job_run(j, NULL);
                gboolean ok = !j->err || fail(error, "cannot make the kernel maps of %s: %s: %s", objects[i].name, g_strerror(-j->err), j->said->str);
                job_free(j);
                if (!ok)
                        return FALSE;
        }
        return open_maps(h, error);
}

static gboolean load_wanted(BhHooks *h, GError **error) {
        gboolean again = TRUE;

        for (guint rounds = 0; again; rounds++) {
                g_autoptr(GHashTable) want = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                gboolean dispatch = FALSE;

                again = FALSE;
                for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                        if (!has_rows(type, FALSE))
                                continue;
                        if (h->state[type].backend == BH_BACKEND_PREFERRED && !programs_of(h, type, BH_BACKEND_PREFERRED, want))
                                choose(h, type, BH_BACKEND_NONE, "the kernel refuses the preferred programs");
                        if (h->state[type].backend != BH_BACKEND_PREFERRED)
                                programs_of(h, type, h->state[type].backend == BH_BACKEND_NONE ? BH_BACKEND_FALLBACK : h->state[type].backend, want);
                        dispatch |= h->state[type].backend == BH_BACKEND_FALLBACK;
                }
                if (dispatch)
                        g_hash_table_add(want, g_strdup("dispatch"));
                g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func((GDestroyNotify) job_free);
                add_jobs(h, want, jobs);

                GThreadPool *pool = g_thread_pool_new(job_run, NULL, (gint) MIN(g_get_num_processors(), JOBS_MAX), FALSE, NULL);
                for (guint i = 0; i < jobs->len; i++)
                        g_thread_pool_push(pool, g_ptr_array_index(jobs, i), NULL);
                g_thread_pool_free(pool, FALSE, TRUE);
                for (guint i = 0; i < jobs->len; i++)
                        if (!job_finish(h, g_ptr_array_index(jobs, i), &again, error))
                                return FALSE;
                if (rounds > 100)
                        return fail(error, "gave up loading kernel programs: too many are refused; run with debug logging to see why");
        }
        return TRUE;
}

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

        gsize page = (gsize) sysconf(_SC_PAGESIZE);
        if (h->config)
                munmap((void *) h->config, page);
        if (h->hits)
                munmap((void *) h->hits, page);
        g_clear_pointer(&h->links, g_ptr_array_unref);
        g_clear_pointer(&h->loaded, g_ptr_array_unref);
        g_clear_pointer(&h->attached, g_hash_table_unref);
        g_clear_pointer(&h->maps, g_hash_table_unref);
        g_clear_pointer(&h->targets, g_hash_table_unref);
        g_clear_pointer(&h->bad, g_hash_table_unref);
        for (guint i = 0; i < G_N_ELEMENTS(objects); i++)
                g_clear_pointer(&h->names[i], g_ptr_array_unref);
        if (h->btf)
                btf__free(h->btf);
        for (guint i = 0; i < BH_EV_KERNEL_MAX; i++)
                g_free(h->state[i].why);
        g_free(h->pin_dir);
        g_free(h);
}

/* What an earlier sensor of the same build left: its links say which backend each hook has. */
static gboolean adopt(BhHooks *h, GError **error) {
        if (!open_maps(h, error))
                return FALSE;

        DIR *d = opendir(h->pin_dir);
        for (struct dirent *e; d && (e = readdir(d)); )
                if (g_str_has_prefix(e->d_name, "link_")) {
                        g_autofree char *path = g_build_filename(h->pin_dir, e->d_name, NULL);
                        struct bpf_link *link = bpf_link__open(path);

                        if (link) {
                                g_ptr_array_add(h->links, link);
                                g_hash_table_add(h->attached, g_strdup(e->d_name + strlen("link_")));
                        }
                }
        if (d)
                closedir(d);
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
                if (rows[i].kind == ROW_CALL && table_has(h, rows[i].name))
                        g_hash_table_add(h->attached, g_strconcat("sx_", rows[i].name, NULL));
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                GHashTableIter i;
                gpointer name;

                if (!has_rows(type, FALSE))
                        continue;
                h->state[type].backend = BH_BACKEND_FALLBACK;
                h->state[type].effective = TRUE; /* until the first check says otherwise */
                if (has_rows(type, TRUE)) {
                        h->state[type].backend = BH_BACKEND_TRACEPOINT;
                        continue;
                }
                programs_of(h, type, BH_BACKEND_PREFERRED, set);
                for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); )
                        if (!g_str_has_prefix(name, "tp_") && g_hash_table_contains(h->attached, name))
                                h->state[type].backend = BH_BACKEND_PREFERRED;
        }
        h->adopted = TRUE;
        return TRUE;
}

/* Takes a program's pin away and detaches its link, if this process has it. */
static void unlink_program(BhHooks *h, const char *program) {
        g_autofree char *path = g_strdup_printf("%s/link_%s", h->pin_dir, program);

        unlink(path);
        for (guint i = h->links->len; i-- > 0; ) {
                const char *pin = bpf_link__pin_path(g_ptr_array_index(h->links, i));

                if (pin && g_str_equal(pin, path))
                        bpf_link__destroy(g_ptr_array_steal_index(h->links, i)); /* not disconnected: detaches */
        }
}

/* Hooks whose preferred programs are attached and see nothing are given their fallback. */
static gboolean settle(BhHooks *h, GError **error) {
        gboolean change = FALSE;

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                BhHookState *s = &h->state[type];

                if (s->backend != BH_BACKEND_PREFERRED || s->effective || h->options.force == BH_BACKEND_PREFERRED)
                        continue;
                g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                GHashTableIter i;
                gpointer name;

                programs_of(h, type, BH_BACKEND_PREFERRED, set);
                for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); )
                        if (!g_str_has_prefix(name, "tp_")) {
                                unlink_program(h, name);
                                g_hash_table_remove(h->attached, name);
                        }
                choose(h, type, BH_BACKEND_FALLBACK, "the preferred hook is attached but has no effect on this kernel");
                change = TRUE;
        }
        return !change || load_wanted(h, error);
}

BhHooks *bh_hooks_open(const BhHooksOptions *options, BhCanary *canary, GError **error) {
        BhHooks *h = g_new0(BhHooks, 1);
        g_autofree char *no_fexit = NULL;
        guint64 id = build_id();

        libbpf_set_print(on_libbpf);
        libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
        h->pin_dir = g_strdup(options->pin_dir);
        h->options = *options;
        h->canary = canary;
        h->loaded = g_ptr_array_new_with_free_func((GDestroyNotify) bpf_object__close);
        h->links = g_ptr_array_new_with_free_func(close_link);
        h->attached = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        h->maps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_fd);
        h->targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        h->bad = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        h->btf = btf__load_vmlinux_btf();
        if (!h->btf) {
                fail(error, "this kernel has no type information (/sys/kernel/btf/vmlinux): Bulkhead needs Linux 5.10 or later built with CONFIG_DEBUG_INFO_BTF");
                bh_hooks_free(h);
                return NULL;
        }
        h->subsys = options->cgroup_controller ? controller_index(h, options->cgroup_controller) : -1;
        h->hierarchy = h->subsys >= 0 ? hierarchy_number(options->cgroup_controller) : 0;
        note_programs(h);

        if (!mount_bpffs(h->pin_dir, error)) {
                bh_hooks_free(h);
                return NULL;
        }

        g_autofree char *config = g_build_filename(h->pin_dir, "config", NULL);
        if (access(config, F_OK) == 0) {
                if (open_maps(h, NULL) && h->config->build_id == id && adopt(h, error)) {
                        h->config->canary_tgid = (__u32) bh_canary_pid(canary);
                        return h;
                }
                /* another build's programs, or a half-made start: begin anew */
                bh_hooks_remove(h->pin_dir);
                g_hash_table_remove_all(h->maps);
                g_hash_table_remove_all(h->attached);
                g_ptr_array_set_size(h->links, 0);
                if (h->config)
                        munmap((void *) h->config, (gsize) sysconf(_SC_PAGESIZE));
                if (h->hits)
                        munmap((void *) h->hits, (gsize) sysconf(_SC_PAGESIZE));
                h->config = NULL;
                h->hits = NULL;
                g_clear_error(error);
                if (!mount_bpffs(h->pin_dir, error)) {
                        bh_hooks_free(h);
                        return NULL;
                }
        }

        gboolean fexit_ok = options->force != BH_BACKEND_FALLBACK && fexit_works(h, &no_fexit);
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (has_rows(type, FALSE))
                        choose(h, type, fexit_ok ? BH_BACKEND_NONE : BH_BACKEND_FALLBACK,
                               options->force == BH_BACKEND_FALLBACK ? "asked for by --backend" : no_fexit);

        if (!make_maps(h, error) || !load_wanted(h, error) ||
            (h->config->canary_tgid = (__u32) bh_canary_pid(canary), h->config->self_tgid = (__u32) getpid(), !bh_hooks_check(h, NULL, NULL, error)) ||
            !settle(h, error) || !bh_hooks_check(h, NULL, NULL, error)) {
                bh_hooks_remove(h->pin_dir);
                bh_hooks_free(h);
                return NULL;
        }
        h->config->build_id = id;
        return h;
}

void bh_hooks_repair(BhHooks *h) {
        gboolean any = FALSE, fallback_seen = FALSE, fallback_lost = FALSE;

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                BhHookState *s = &h->state[type];
                GHashTableIter i;
                gpointer name;

                if (s->backend == BH_BACKEND_FALLBACK && bh_canary_tests(type)) {
                        fallback_seen |= s->effective;
                        fallback_lost |= !s->effective;
                }
                if (s->backend == BH_BACKEND_NONE || s->effective)
                        continue;
                programs_of(h, type, s->backend, set);
                for (g_hash_table_iter_init(&i, set); g_hash_table_iter_next(&i, &name, NULL); ) {
                        /* what is still linked would act twice when it is attached again */
                        unlink_program(h, name);
                        g_hash_table_remove(h->attached, name);
                        any = TRUE;
                }
        }
        if (fallback_lost && !fallback_seen) { /* all at once: the dispatcher itself */
                unlink_program(h, "dispatch");
                g_hash_table_remove(h->attached, "dispatch");
                any = TRUE;
        }
        g_autoptr(GError) error = NULL;
        if (any && !load_wanted(h, &error))
                bh_error("cannot attach the lost hooks again", "error", error->message);
}

static guint pin_again(int fd, const char *path) {
        return access(path, F_OK) != 0 && errno == ENOENT && bpf_obj_pin(fd, path) == 0;
}

guint bh_hooks_guard(BhHooks *h) {
        GHashTableIter i;
        gpointer name, fd;
        guint restored = 0;
        g_autoptr(GError) error = NULL;

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
        return restored;
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
        return type < BH_EV_KERNEL_MAX && has_rows(type, FALSE) ? &h->state[type] : NULL;
}

volatile struct bh_config *bh_hooks_config(BhHooks *h) {
        return h->config;
}

int bh_hooks_map(const BhHooks *h, const char *name) {
        return GPOINTER_TO_INT(g_hash_table_lookup(h->maps, name)) - 1;
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

gboolean bh_hooks_check(BhHooks *h, void (*changed)(guint32 type, const BhHookState *now, gpointer data), gpointer data, GError **error) {
        guint64 before[BH_EV_KERNEL_MAX];

        for (guint i = 0; i < BH_EV_KERNEL_MAX; i++)
                before[i] = h->hits[i];
        h->config->canary_tgid = (__u32) bh_canary_pid(h->canary);
        if (!bh_canary_act(h->canary, CANARY_MS, error))
                return FALSE;
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                BhHookState *s = &h->state[type];
                gboolean effective = (!bh_canary_tests(type) || h->hits[type] != before[type]) && (s->backend != BH_BACKEND_FALLBACK || table_whole(h, type));

                if (s->backend == BH_BACKEND_NONE)
                        continue;
                s->hits += h->hits[type] - before[type];
                if (effective == s->effective)
                        continue;
                s->effective = effective;
                if (changed)
                        changed(type, s, data);
        }
        g_atomic_int_set(&h->recursion_shown, (gint) MIN(recursion_misses(h), G_MAXINT));
        return TRUE;
}

guint64 bh_hooks_recursion_misses(BhHooks *h) {
        return (guint64) g_atomic_int_get(&h->recursion_shown);
}
