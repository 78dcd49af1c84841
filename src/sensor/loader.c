/* SPDX-License-Identifier: Apache-2.0 */
#include "loader.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends.h"
#include "base/fdio.h"
#include "base/log.h"
#include "dispatcher.h"
#include "file.skel.h"
#include "hooks_private.h"
#include "kernel.skel.h"
#include "net.skel.h"
#include "process.skel.h"
#include "security.skel.h"
#include "wishes.h"

#define SLOTS_PER_CPU 3
#define JOB_PROGRAMS_MIN 12 /* each job reads the kernel's type information anew, 15 ms */
#define BTF_IDLE_US (5 * G_USEC_PER_SEC)
#define JOBS_MAX 8

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
G_STATIC_ASSERT(G_N_ELEMENTS(objects) == BH_HOOKS_OBJECTS);

static __thread GString *libbpf_said; /* while loading: what libbpf printed */

static int on_libbpf(enum libbpf_print_level level, const char *format, va_list args) {
        if (level != LIBBPF_DEBUG && libbpf_said)
                g_string_append_vprintf(libbpf_said, format, args);
        return 0;
}

/* Index of a v1 controller in css_set.subsys[], from the kernel's own enum. */
static gint32 controller_index(BhHooks *h, const char *controller) {
        g_autofree char *want = g_strdup_printf("%s_cgrp_id", controller);
        gint32 id = btf__find_by_name_kind(bh_loader_btf(h), "cgroup_subsys_id", BTF_KIND_ENUM);

        if (id < 0)
                return -1;

        const struct btf_type *t = btf__type_by_id(bh_loader_btf(h), (__u32) id);
        const struct btf_enum *e = btf_enum(t);
        for (guint16 i = 0; i < btf_vlen(t); i++)
                if (g_str_equal(btf__name_by_offset(bh_loader_btf(h), e[i].name_off), want))
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

static gboolean has_helper(BhHooks *h, const char *helper) {
        gint32 id = btf__find_by_name_kind(bh_loader_btf(h), "bpf_func_id", BTF_KIND_ENUM);
        const struct btf_type *t = id > 0 ? btf__type_by_id(bh_loader_btf(h), (__u32) id) : NULL;

        for (guint16 i = 0; t && i < btf_vlen(t); i++)
                if (g_str_equal(btf__name_by_offset(bh_loader_btf(h), btf_enum(t)[i].name_off), helper))
                        return TRUE;
        return FALSE;
}

/* Whether there is a tracepoint of that name whose first argument is a struct of that name; `first` NULL: whatever it is. */
static gboolean has_tracepoint(BhHooks *h, const char *name, const char *first) {
        g_autofree char *type = g_strconcat("btf_trace_", name, NULL);
        gint32 id = btf__find_by_name_kind(bh_loader_btf(h), type, BTF_KIND_TYPEDEF);

        if (id < 0 || !first)
                return id >= 0;

        /* typedef void (*btf_trace_NAME)(void *data, FIRST *, …) */
        const struct btf_type *t = btf__type_by_id(bh_loader_btf(h), btf__type_by_id(bh_loader_btf(h), (__u32) id)->type);
        const struct btf_type *proto = t ? btf__type_by_id(bh_loader_btf(h), t->type) : NULL;
        if (!proto || !btf_is_func_proto(proto) || btf_vlen(proto) < 2)
                return FALSE;
        t = btf__type_by_id(bh_loader_btf(h), btf_params(proto)[1].type);
        t = t && btf_is_ptr(t) ? btf__type_by_id(bh_loader_btf(h), t->type) : NULL;
        return t && g_str_equal(btf__name_by_offset(bh_loader_btf(h), t->name_off), first);
}

/* Whether that argument of a tracepoint, counted from 0, is a pointer. */
static gboolean tracepoint_has_pointer(BhHooks *h, const char *name, guint argument) {
        g_autofree char *type = g_strconcat("btf_trace_", name, NULL);
        gint32 id = btf__find_by_name_kind(bh_loader_btf(h), type, BTF_KIND_TYPEDEF);
        const struct btf_type *t = id > 0 ? btf__type_by_id(bh_loader_btf(h), btf__type_by_id(bh_loader_btf(h), (__u32) id)->type) : NULL;
        const struct btf_type *proto = t ? btf__type_by_id(bh_loader_btf(h), t->type) : NULL;

        if (!proto || !btf_is_func_proto(proto) || btf_vlen(proto) < argument + 2)
                return FALSE;
        t = btf__type_by_id(bh_loader_btf(h), btf_params(proto)[argument + 1].type); /* the first is the tracepoint's own */
        return t && btf_is_ptr(t);
}

/* Whether the kernel lacks what the program cannot do without. Known before it refuses anything, which would cost another loading. */
static gboolean lacks(BhHooks *h, const char *program, const char *section) {
        if (g_str_has_prefix(section, "tp_btf/") &&
            !has_tracepoint(h, section + strlen("tp_btf/"), g_str_has_suffix(section, "/io_uring_submit_sqe") ? "io_kiocb" : NULL))
                return TRUE;
        return g_str_equal(program, "sx_mprotect") && !has_helper(h, "BPF_FUNC_find_vma"); /* 5.17 */
}

/* Names of all programs, and the function that each fentry/fexit program attaches to. */
static void note_programs(BhHooks *h) {
        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                size_t size;
                const void *bytes = objects[i].bytes(&size);
                struct bpf_object *o = bpf_object__open_mem(bytes, size, NULL);
                struct bpf_program *p;
                struct bpf_map *map;

                h->names[i] = g_ptr_array_new_with_free_func(g_free);
                if (!o)
                        continue;
                bpf_object__for_each_map(map, o)
                        if (!bpf_map__is_internal(map))
                                g_hash_table_add(h->shared, g_strdup(bpf_map__name(map)));
                bpf_object__for_each_program(p, o) {
                        const char *section = bpf_program__section_name(p), *slash = strchr(section, '/');

                        g_ptr_array_add(h->names[i], g_strdup(bpf_program__name(p)));
                        if (lacks(h, bpf_program__name(p), section))
                                g_hash_table_add(h->lacking, g_strdup(bpf_program__name(p)));
                        if (slash && (g_str_has_prefix(section, "fexit/") || g_str_has_prefix(section, "fentry/")))
                                g_hash_table_insert(h->targets, g_strdup(bpf_program__name(p)), g_strdup(slash + 1));
                }
                bpf_object__close(o);
        }
}

static GMutex btf_lock;

struct btf *bh_loader_btf(BhHooks *h) {
        g_mutex_lock(&btf_lock);
        if (!h->btf)
                h->btf = btf__load_vmlinux_btf();
        h->btf_used_us = g_get_monotonic_time();
        struct btf *btf = h->btf;
        g_mutex_unlock(&btf_lock);
        return btf;
}

void bh_loader_forget_btf(BhHooks *h) {
        g_mutex_lock(&btf_lock);
        if (h->btf && g_get_monotonic_time() - h->btf_used_us > BTF_IDLE_US) {
                btf__free(h->btf);
                h->btf = NULL;
        }
        g_mutex_unlock(&btf_lock);
}

gboolean bh_loader_init(BhHooks *h, GError **error) {
        const char *controller = h->options.cgroup_controller;

        libbpf_set_print(on_libbpf);
        libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
        if (!bh_loader_btf(h))
                return bh_hooks_fail(error, "this kernel has no type information (/sys/kernel/btf/vmlinux): Bulkhead needs Linux 5.10 or later built with CONFIG_DEBUG_INFO_BTF");
        h->subsys = controller ? controller_index(h, controller) : -1;
        h->hierarchy = h->subsys >= 0 ? hierarchy_number(controller) : 0;
        h->uring_cqe = tracepoint_has_pointer(h, "io_uring_complete", 2);
        note_programs(h);
        return TRUE;
}

void bh_loader_find_symbols(BhHooks *h) {
        g_autoptr(GIOChannel) file = g_io_channel_new_file("/proc/kallsyms", "r", NULL);
        g_autofree char *line = NULL;

        if (!file)
                return;
        g_io_channel_set_encoding(file, NULL, NULL);
        while (!(h->page_offset_base && h->vmemmap_base) && g_io_channel_read_line(file, &line, NULL, NULL, NULL) == G_IO_STATUS_NORMAL) {
                if (g_str_has_suffix(line, " page_offset_base\n"))
                        h->page_offset_base = g_ascii_strtoull(line, NULL, 16);
                else if (g_str_has_suffix(line, " vmemmap_base\n"))
                        h->vmemmap_base = g_ascii_strtoull(line, NULL, 16);
                g_clear_pointer(&line, g_free);
        }
}

guint64 bh_loader_build_id(void) {
        guint64 id = sizeof(struct bh_rec);

        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                size_t size;
                const void *bytes = objects[i].bytes(&size);

                id = XXH64(bytes, size, id);
        }
        return id;
}

/* ---- jobs ---- */

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
                        guint64 address = g_str_equal(var, "bh_page_offset_base") ? h->page_offset_base : g_str_equal(var, "bh_vmemmap_base") ? h->vmemmap_base : 0;
                        gint32 value;

                        if (address && v[i].size == sizeof(address) && v[i].offset + sizeof(address) <= size)
                                memcpy(data + v[i].offset, &address, sizeof(address));
                        if (v[i].size != sizeof(value) || v[i].offset + sizeof(value) > size)
                                continue;
                        if (g_str_equal(var, "bh_cgroup_subsys")) {
                                value = h->subsys;
                        } else if (g_str_equal(var, "bh_cgroup_hierarchy")) {
                                value = h->hierarchy;
                        } else if (g_str_equal(var, "bh_uring_cqe")) {
                                value = h->uring_cqe;
                        } else if (g_str_equal(var, "bh_direct")) {
                                value = bh_backends_function_id(h, "bpf_rdonly_cast") >= 0;
                        } else if (g_str_has_prefix(var, "bh_nargs_")) {
                                /* how many parameters that function has on this kernel: where fexit finds the result */
                                gint32 id = bh_backends_function_id(h, var + strlen("bh_nargs_"));

                                if (id < 0)
                                        continue;
                                value = btf_vlen(btf__type_by_id(bh_loader_btf(h), btf__type_by_id(bh_loader_btf(h), (__u32) id)->type));
                        } else {
                                continue;
                        }
                        memcpy(data + v[i].offset, &value, sizeof(value));
                }
                bpf_map__set_initial_value(map, data, size);
        }
}

/* Sizes that depend on the machine and on options. */
static void fit_map(BhHooks *h, struct bpf_map *map) {
        static const char *const rings[] = { "ring_life", "ring_key", "ring_bulk" };

        if (g_str_equal(bpf_map__name(map), "scratch") || g_str_equal(bpf_map__name(map), "works") || g_str_equal(bpf_map__name(map), "payload_works"))
                bpf_map__set_max_entries(map, (__u32) libbpf_num_possible_cpus() * SLOTS_PER_CPU);
        for (guint i = 0; i < G_N_ELEMENTS(rings); i++)
                if (g_str_equal(bpf_map__name(map), rings[i]) && h->options.ring_bytes[i])
                        bpf_map__set_max_entries(map, (__u32) h->options.ring_bytes[i]);
}

gboolean bh_loader_has_tracepoint(BhHooks *h, const char *name) {
        return has_tracepoint(h, name, NULL);
}

/* `known`: -1, or the descriptor of one that there is. 0, or a negative errno. */
static int own_map(BhHooks *h, struct bpf_map *map, int known) {
        if (!bpf_map__is_internal(map))
                bpf_map__set_pin_path(map, NULL);
        fit_map(h, map);
        return known < 0 ? 0 : bpf_map__reuse_fd(map, known);
}

/* By its descriptor where there is one: where somebody took its pin away, the path would give another map, which is empty. */
static int share_map(BhHooks *h, struct bpf_map *map) {
        g_autofree char *pin = g_build_filename(h->pin_dir, bpf_map__name(map), NULL);
        int known = bh_hooks_map(h, bpf_map__name(map));

        if (known >= 0)
                return own_map(h, map, known);
        fit_map(h, map);
        return bpf_map__set_pin_path(map, pin);
}

struct bpf_object *bh_loader_load_apart(BhHooks *h, const char *name, const void *bytes, gsize size, GError **error) {
        return bh_loader_load_some(h, name, bytes, size, NULL, NULL, error);
}

struct bpf_object *bh_loader_load_some(BhHooks *h, const char *name, const void *bytes, gsize size, const char *const *programs, GHashTable *maps, GError **error) {
        LIBBPF_OPTS(bpf_object_open_opts, o, .object_name = name);
        g_autoptr(GString) said = g_string_new(NULL);
        struct bpf_object *object = bpf_object__open_mem(bytes, size, &o);
        struct bpf_program *p;
        struct bpf_map *map;
        int err;

        if (!object) {
                bh_hooks_fail(error, "cannot read the kernel programs of %s: %s", name, g_strerror(errno));
                return NULL;
        }
        bpf_object__for_each_map(map, object) {
                const char *of = bpf_map__name(map);

                if (g_hash_table_contains(h->shared, of))
                        err = share_map(h, map);
                else
                        err = own_map(h, map, maps ? GPOINTER_TO_INT(g_hash_table_lookup(maps, of)) - 1 : -1);
                if (err) {
                        bpf_object__close(object);
                        bh_hooks_fail(error, "cannot use the map %s for the programs of %s: %s", of, name, g_strerror(-err));
                        return NULL;
                }
        }
        bpf_object__for_each_program(p, object)
                if (programs)
                        bpf_program__set_autoload(p, g_strv_contains(programs, bpf_program__name(p)));
        g_rec_mutex_lock(&h->lock);
        set_rodata(h, object);
        g_rec_mutex_unlock(&h->lock);
        libbpf_said = said;
        err = bpf_object__load(object);
        libbpf_said = NULL;
        if (!err)
                return object;
        bpf_object__close(object);
        g_strchomp(said->str);
        bh_hooks_fail(error, "this kernel refuses the programs of %s: %s: %s", name, g_strerror(-err), said->str);
        return NULL;
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
                return bh_hooks_fail(error, "cannot attach program %s: %s", name, g_strerror(errno));
        g_ptr_array_add(h->links, link);

        g_autofree char *path = g_strdup_printf("%s/link_%s", h->pin_dir, name);
        if (bpf_link__pin(link, path))
                return bh_hooks_fail(error, "cannot pin %s: %s", path, g_strerror(errno));
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
                if (!bpf_map__is_internal(map) && (j->err = share_map(j->hooks, map))) /* every map: jobs and sensors to come share it */
                        return;
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
                        return bh_hooks_fail(error, "cannot load the kernel programs of %s: %s: %s", objects[j->index].name, g_strerror(-j->err), j->said->str);
                bh_debug("kernel refuses a program", "program", name, "said", j->said->str);
                g_hash_table_insert(h->bad, g_strdup(name), g_strdup_printf("the kernel refuses program %s: %s", name, g_strerror(-j->err)));
                *again = TRUE;
                return TRUE;
        }
        /* links and the table keep their programs: the object, with a descriptor for each, goes with the job */
        bpf_object__for_each_program(p, j->object)
                if (bpf_program__autoload(p) && !(g_str_has_prefix(bpf_program__name(p), "sx_") ? bh_dispatcher_enter(h, p, error) : attach(h, p, error)))
                        return FALSE;
        return TRUE;
}

GHashTable *bh_loader_wanted(BhHooks *h) {
        GHashTable *want = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        gboolean dispatch = FALSE;

        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                BhBackend backend = h->state[type].backend;

                if (!bh_backends_known(type) || !bh_kinds_has(&h->needed, type))
                        continue;
                bh_backends_programs(h, type, backend == BH_BACKEND_NONE ? BH_BACKEND_FALLBACK : backend, want);
                dispatch |= backend == BH_BACKEND_FALLBACK;
        }
        if (dispatch)
                g_hash_table_add(want, g_strdup("dispatch"));
        return want;
}

/* Jobs for what is in `want` and not attached yet. */
static void add_jobs(BhHooks *h, GHashTable *want, GPtrArray *jobs) {
        guint most = MAX(JOB_PROGRAMS_MIN, g_hash_table_size(want) / (2 * g_get_num_processors()));

        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                Job *j = NULL;

                for (guint k = 0; k < h->names[i]->len; k++) {
                        const char *name = g_ptr_array_index(h->names[i], k);

                        if (!g_hash_table_contains(want, name) || g_hash_table_contains(h->attached, name))
                                continue;
                        if (!j || j->programs->len == most) {
                                j = job_new(h, i);
                                g_ptr_array_add(jobs, j);
                        }
                        g_ptr_array_add(j->programs, g_strdup(name));
                }
        }
}

gboolean bh_loader_load(BhHooks *h, GError **error) {
        gboolean again = TRUE;

        for (guint rounds = 0; again; rounds++) {
                again = FALSE;
                for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++) {
                        g_autoptr(GHashTable) own = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

                        if (bh_backends_known(type) && h->state[type].backend == BH_BACKEND_PREFERRED && !bh_backends_programs(h, type, BH_BACKEND_PREFERRED, own))
                                bh_backends_choose(h, type, BH_BACKEND_NONE, "the kernel refuses the preferred programs");
                }
                g_autoptr(GHashTable) want = bh_loader_wanted(h);
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
                        return bh_hooks_fail(error, "gave up loading kernel programs: too many are refused; run with debug logging to see why");
        }
        for (guint32 type = 0; type < BH_EV_KERNEL_MAX; type++)
                if (bh_backends_known(type))
                        bh_backends_note_refused(h, type);
        bh_wishes_sum(h); /* backends may have changed, and with them what hooks need */
        return bh_dispatcher_watch(h, error);
}

void bh_loader_detach(BhHooks *h, const char *name) {
        g_autofree char *program = g_strdup(name), *path = g_strdup_printf("%s/link_%s", h->pin_dir, program); /* the name may be a key of `attached` */

        unlink(path);
        for (guint i = h->links->len; i-- > 0; ) {
                const char *pin = bpf_link__pin_path(g_ptr_array_index(h->links, i));

                if (pin && g_str_equal(pin, path))
                        bpf_link__destroy(g_ptr_array_steal_index(h->links, i)); /* not disconnected: detaches */
        }
        g_hash_table_remove(h->attached, program);
}

gboolean bh_loader_prune(BhHooks *h, GError **error) {
        g_autoptr(GHashTable) want = bh_loader_wanted(h);
        g_autoptr(GList) names = g_hash_table_get_keys(h->attached);

        for (GList *l = names; l; l = l->next)
                if (!g_str_has_prefix(l->data, "sx_") && !g_hash_table_contains(want, l->data))
                        bh_loader_detach(h, l->data);
        return bh_dispatcher_prune(h, want, error);
}

/* ---- maps ---- */

gboolean bh_loader_open_maps(BhHooks *h, GError **error) {
        DIR *d = opendir(h->pin_dir);

        if (!d)
                return bh_hooks_fail(error, "cannot list %s: %s", h->pin_dir, g_strerror(errno));
        for (struct dirent *e; (e = readdir(d)); ) {
                if (e->d_name[0] == '.' || g_str_has_prefix(e->d_name, "link_") || g_str_has_prefix(e->d_name, BH_HOOKS_KEPT) || g_hash_table_contains(h->maps, e->d_name))
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
                        return bh_hooks_fail(error, "cannot map the kernel programs' configuration: %s", g_strerror(errno));
                h->config = at;
        }
        if (!h->hits) {
                void *at = mmap(NULL, page, PROT_READ, MAP_SHARED, bh_hooks_map(h, "canary_hits"), 0);

                if (at == MAP_FAILED)
                        return bh_hooks_fail(error, "cannot map the canary's counts: %s", g_strerror(errno));
                h->hits = at;
        }
        return TRUE;
}

void bh_loader_close_maps(BhHooks *h) {
        gsize page = (gsize) sysconf(_SC_PAGESIZE);

        g_hash_table_remove_all(h->maps);
        if (h->config)
                munmap((void *) h->config, page);
        if (h->hits)
                munmap((void *) h->hits, page);
        h->config = NULL;
        h->hits = NULL;
}

static gboolean make_map(BhHooks *h, struct bpf_map *map, GError **error) {
        g_autofree char *pin = g_build_filename(h->pin_dir, bpf_map__name(map), NULL);
        LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = bpf_map__map_flags(map));

        if (bpf_map__is_internal(map) || access(pin, F_OK) == 0)
                return TRUE;
        fit_map(h, map);

        g_auto(BhFd) fd = bpf_map_create(bpf_map__type(map), bpf_map__name(map), bpf_map__key_size(map), bpf_map__value_size(map), bpf_map__max_entries(map), &o);
        if (fd < 0)
                return bh_hooks_fail(error, "cannot make the kernel map %s: %s", bpf_map__name(map), g_strerror(errno));
        return bpf_obj_pin(fd, pin) == 0 || bh_hooks_fail(error, "cannot pin %s: %s", pin, g_strerror(errno));
}

/* Maps first: objects share them by their pins. Not by loading the objects, for each of which libbpf would read the kernel's type information. */
gboolean bh_loader_make_maps(BhHooks *h, GError **error) {
        for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
                size_t size;
                const void *bytes = objects[i].bytes(&size);
                struct bpf_object *o = bpf_object__open_mem(bytes, size, NULL);
                struct bpf_map *map;
                gboolean ok = TRUE;

                if (!o)
                        return bh_hooks_fail(error, "cannot read the kernel programs of %s: %s", objects[i].name, g_strerror(errno));
                bpf_object__for_each_map(map, o)
                        ok = ok && make_map(h, map, error);
                bpf_object__close(o);
                if (!ok)
                        return FALSE;
        }
        return bh_loader_open_maps(h, error);
}
