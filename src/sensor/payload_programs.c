/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel programs of BhPayload: loaded, or taken over from a sensor that was killed, attached and detached.
 *
 * Verifying them takes seconds, so the programs are pinned, each under a name with the bytes that all of them were made of; their maps live by them. Attachments are not: they end with the process that made
 * them, however it ends. So nothing is copied for which nobody is there, the ring has a reader whenever somebody writes to it, and no probe is left in a library.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "backends.h"
#include "base/fdio.h"
#include "base/log.h"
#include "hooks_private.h"
#include "loader.h"
#include "payload.skel.h"
#include "payload_private.h"

#define MAPS_MAX 64u /* of a program */

/* Of each backend, what it cannot do without first. */
static const char *const fexit_programs[] = { "fx_tcp_sendmsg", "fx_tcp_recvmsg", "tp_payload_end", "fx_tcp_sendpage", NULL };
static const char *const tls_programs[] = { "up_tls_moves", "up_tls_handshake", "ur_tls_read", "ur_tls_write", "ur_tls_read_ex", "ur_tls_write_ex", NULL };
static const char *const calls_programs[] = { "tp_sent", "tp_read", "tp_payload_end", "tp_sending", "tp_uring_read", NULL };

/* Names of the programs of a backend that this kernel has; what is left out is said in payload.h. */
static void programs_of(BhHooks *hooks, gboolean fexit, const char *names[BH_PAYLOAD_PROGRAMS + 1]) {
        const char *const *from = fexit ? fexit_programs : calls_programs;
        guint n = 0;

        for (guint i = 0; from[i]; i++)
                if ((!g_str_equal(from[i], "fx_tcp_sendpage") || bh_backends_function_id(hooks, "tcp_sendpage") >= 0) &&
                    (!g_str_equal(from[i], "tp_sending") || bh_loader_has_tracepoint(hooks, "tcp_sendmsg_locked")) &&
                    (!g_str_equal(from[i], "tp_uring_read") || bh_loader_has_tracepoint(hooks, "io_uring_complete")))
                        names[n++] = from[i];
        for (guint i = 0; tls_programs[i]; i++)
                names[n++] = tls_programs[i];
        names[n] = NULL;
}

/* FALSE: the kernel lacks what the backend cannot do without. */
static gboolean can(BhHooks *hooks, gboolean fexit, GError **error) {
        g_autofree char *why = NULL;

        if (fexit && !bh_backends_fexit_works(hooks, &why))
                return bh_hooks_fail(error, "this kernel runs no fexit programs: %s", why ? why : "not known why");
        if (!fexit && !(bh_loader_has_tracepoint(hooks, "sock_send_length") && bh_loader_has_tracepoint(hooks, "sock_recv_length")))
                return bh_hooks_fail(error, "this kernel lets no fexit programs run and has no tracepoints sock_send_length and sock_recv_length (Linux 6.5): what containers' connections say cannot be inspected; "
                                     "boot it without lockdown, or take a later one");
        return TRUE;
}

static void program_clear(gpointer data) {
        BhPayloadProgram *program = data;

        if (program->link >= 0)
                close(program->link);
        if (program->fd >= 0)
                close(program->fd);
}

static void close_map(gpointer fd) {
        close(GPOINTER_TO_INT(fd) - 1);
}

static GArray *programs_new(void) {
        GArray *programs = g_array_new(FALSE, FALSE, sizeof(BhPayloadProgram));

        g_array_set_clear_func(programs, program_clear);
        return programs;
}

static GHashTable *maps_new(void) {
        return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_map);
}

void bh_payload_programs_close(BhPayload *p) {
        g_clear_pointer(&p->programs, g_array_unref);
        g_clear_pointer(&p->maps, g_hash_table_unref);
}

/* From here on these are the programs. Takes both. */
static void set(BhPayload *p, gboolean fexit, GArray *programs, GHashTable *maps) {
        bh_payload_programs_close(p);
        p->backend = fexit ? "fexit" : "calls";
        p->programs = programs;
        p->maps = maps;
        p->streams = bh_payload_map(p, "streams");
        p->rules = bh_payload_map(p, "payload_rules");
        p->config = bh_payload_map(p, "payload_config");
        p->counts = bh_payload_map(p, "payload_counts");
        p->accounts = bh_payload_map(p, "payload_accounts");
        p->open = bh_payload_map(p, "payload_open");
        p->unwanted = bh_payload_map(p, "unwanted");
}

int bh_payload_map(const BhPayload *p, const char *name) {
        return GPOINTER_TO_INT(g_hash_table_lookup(p->maps, name)) - 1;
}

int bh_payload_program(const BhPayload *p, const char *name) {
        for (guint i = 0; i < p->programs->len; i++)
                if (g_str_equal(g_array_index(p->programs, BhPayloadProgram, i).name, name))
                        return g_array_index(p->programs, BhPayloadProgram, i).fd;
        return -1;
}

void bh_payload_map_empty(int fd) {
        struct bpf_map_info info = { 0 };
        guint32 len = sizeof(info);

        if (bpf_obj_get_info_by_fd(fd, &info, &len))
                return;
        g_autofree void *key = g_malloc(info.key_size), *next = g_malloc(info.key_size);
        /* the next one is asked for while there is one before it: from the beginning, all that is empty by now would be passed again each time */
        for (int more = bpf_map_get_next_key(fd, NULL, key); !more; memcpy(key, next, info.key_size)) {
                more = bpf_map_get_next_key(fd, key, next);
                bpf_map_delete_elem(fd, key);
        }
}

guint64 bh_payload_misses(const BhPayload *p) {
        guint64 n = 0;

        for (guint i = 0; i < p->programs->len; i++) {
                struct bpf_prog_info info = { 0 };
                guint32 len = sizeof(info);

                if (bpf_obj_get_info_by_fd(g_array_index(p->programs, BhPayloadProgram, i).fd, &info, &len) == 0)
                        n += info.recursion_misses;
        }
        return n;
}

/* ---- loaded ---- */

static gboolean load(BhPayload *p, gboolean fexit, GHashTable *like, GError **error) {
        const char *names[BH_PAYLOAD_PROGRAMS + 1];
        struct bpf_object *object;
        struct bpf_map *map;
        size_t size;
        const void *bytes = bh_payload__elf_bytes(&size);

        g_rec_mutex_lock(&p->hooks->lock);
        if (!p->hooks->vmemmap_base)
                bh_loader_find_symbols(p->hooks);
        g_rec_mutex_unlock(&p->hooks->lock);
        programs_of(p->hooks, fexit, names);
        object = bh_loader_load_some(p->hooks, "payload", bytes, size, names, like, error);
        if (!object)
                return FALSE;

        g_autoptr(GArray) programs = programs_new();
        g_autoptr(GHashTable) maps = maps_new();
        gboolean ok = TRUE;
        for (guint i = 0; names[i]; i++) {
                BhPayloadProgram one = { .name = names[i], .fd = fcntl(bpf_program__fd(bpf_object__find_program_by_name(object, names[i])), F_DUPFD_CLOEXEC, 3), .link = -1 };

                ok = ok && one.fd >= 0;
                g_array_append_val(programs, one);
        }
        bpf_object__for_each_map(map, object) {
                int fd = bpf_map__is_internal(map) || g_hash_table_contains(p->hooks->shared, bpf_map__name(map)) ? -1 : fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3);

                if (fd >= 0)
                        g_hash_table_insert(maps, g_strdup(bpf_map__name(map)), GINT_TO_POINTER(fd + 1));
                else
                        ok = ok && (bpf_map__is_internal(map) || g_hash_table_contains(p->hooks->shared, bpf_map__name(map)));
        }
        bpf_object__close(object);
        if (!ok)
                return bh_hooks_fail(error, "cannot keep the programs that look at what sockets move open: %s", g_strerror(errno));
        set(p, fexit, g_steal_pointer(&programs), g_steal_pointer(&maps));
        p->adopted = FALSE;
        p->misses_before = 0;
        return TRUE;
}

gboolean bh_payload_programs_load(BhPayload *p, gboolean fexit, GError **error) {
        return can(p->hooks, fexit, error) && load(p, fexit, NULL, error);
}

/* ---- kept for the sensor after this one ---- */

static char *pin_of(const char *program) {
        size_t size;
        const void *bytes = bh_payload__elf_bytes(&size);

        return g_strdup_printf(BH_HOOKS_KEPT "payload_%016" G_GINT64_MODIFIER "x_%s", (guint64) XXH3_64bits(bytes, size), program);
}

void bh_payload_programs_keep(BhPayload *p) {
        g_autoptr(GError) error = NULL;

        for (guint i = 0; i < p->programs->len; i++) {
                const BhPayloadProgram *one = &g_array_index(p->programs, BhPayloadProgram, i);
                g_autofree char *pin = pin_of(one->name);

                if (bh_hooks_keep(p->hooks, pin, one->fd, &error))
                        continue;
                bh_warn("after a kill of this sensor the next one loads the programs that look at what sockets move anew, which takes seconds", "why", error->message);
                bh_hooks_keep_nothing(p->hooks);
                return;
        }
}

static guint32 map_id(int fd) {
        struct bpf_map_info info = { 0 };
        guint32 len = sizeof(info);

        return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

/* The kernel keeps 15 characters of a map's name, and none of ours are the same. */
static const char *full_name(const char *const *names, const char *kept) {
        for (guint i = 0; names[i]; i++)
                if (strncmp(names[i], kept, BPF_OBJ_NAME_LEN - 1) == 0)
                        return names[i];
        return NULL;
}

/* Adds the maps of a program: its own, the same ones as its fellows have, and of the hooks those that these hooks have. */
static gboolean add_maps(BhPayload *p, int program, const char *const *names, GHashTable *maps) {
        guint32 ids[MAPS_MAX], len = sizeof(struct bpf_prog_info);
        struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (guintptr) ids };

        if (bpf_obj_get_info_by_fd(program, &info, &len) || info.nr_map_ids > MAPS_MAX)
                return FALSE;
        for (guint i = 0; i < info.nr_map_ids; i++) {
                g_auto(BhFd) fd = bpf_map_get_fd_by_id(ids[i]);
                struct bpf_map_info map = { 0 };

                len = sizeof(map);
                if (fd < 0 || bpf_obj_get_info_by_fd(fd, &map, &len))
                        return FALSE;
                if (strchr(map.name, '.')) /* constants, set when it was loaded */
                        continue;
                const char *name = full_name(names, map.name);
                if (!name)
                        return FALSE;
                int known = g_hash_table_contains(p->hooks->shared, name) ? bh_hooks_map(p->hooks, name) : GPOINTER_TO_INT(g_hash_table_lookup(maps, name)) - 1;
                if (known >= 0 && map_id(known) != ids[i])
                        return FALSE;
                if (known < 0 && g_hash_table_contains(p->hooks->shared, name))
                        return FALSE;
                if (known < 0)
                        g_hash_table_insert(maps, g_strdup(name), GINT_TO_POINTER(bh_fd_steal(&fd) + 1));
        }
        return TRUE;
}

/* Of all maps that the programs of this build know, those of the hooks too. */
static GStrv map_names(void) {
        size_t size;
        const void *bytes = bh_payload__elf_bytes(&size);
        struct bpf_object *object = bpf_object__open_mem(bytes, size, NULL);
        g_autoptr(GStrvBuilder) names = g_strv_builder_new();
        struct bpf_map *map;

        if (object)
                bpf_object__for_each_map(map, object)
                        if (!bpf_map__is_internal(map))
                                g_strv_builder_add(names, bpf_map__name(map));
        bpf_object__close(object);
        return g_strv_builder_end(names);
}

static gboolean is_named(int program, const char *name) {
        struct bpf_prog_info info = { 0 };
        guint32 len = sizeof(info);

        return bpf_obj_get_info_by_fd(program, &info, &len) == 0 && strncmp(info.name, name, sizeof(info.name) - 1) == 0;
}

gboolean bh_payload_programs_adopt(BhPayload *p, gboolean fexit) {
        static const char *const needed[] = { "payload_ring", "streams", "payload_rules", "payload_config", "payload_counts", "payload_accounts", "payload_open", "unwanted" };
        const char *names[BH_PAYLOAD_PROGRAMS + 1];
        g_autoptr(GArray) programs = programs_new();
        g_autoptr(GHashTable) maps = maps_new();
        g_auto(GStrv) known = map_names();

        programs_of(p->hooks, fexit, names);
        for (guint i = 0; names[i]; i++) {
                g_autofree char *pin = pin_of(names[i]);
                BhPayloadProgram one = { .name = names[i], .fd = bh_hooks_kept(p->hooks, pin), .link = -1 };

                g_array_append_val(programs, one);
                if (one.fd < 0 || !is_named(one.fd, names[i]) || !add_maps(p, one.fd, (const char *const *) known, maps))
                        return FALSE;
        }
        for (guint i = 0; i < G_N_ELEMENTS(needed); i++)
                if (!g_hash_table_contains(maps, needed[i]))
                        return FALSE;
        set(p, fexit, g_steal_pointer(&programs), g_steal_pointer(&maps));
        p->adopted = TRUE;
        p->misses_before = bh_payload_misses(p);
        return TRUE;
}

/* ---- attached ---- */

void bh_payload_detach(BhPayload *p) {
        for (guint i = 0; p->programs && i < p->programs->len; i++) {
                BhPayloadProgram *one = &g_array_index(p->programs, BhPayloadProgram, i);

                if (one->link >= 0)
                        close(one->link);
                one->link = -1;
        }
}

/* Those of TLS libraries are attached file by file. */
static gboolean attach_all(BhPayload *p, GError **error) {
        for (guint i = 0; i < p->programs->len; i++) {
                BhPayloadProgram *one = &g_array_index(p->programs, BhPayloadProgram, i);

                if (g_strv_contains(tls_programs, one->name))
                        continue;
                one->link = bpf_raw_tracepoint_open(NULL, one->fd);
                if (one->link < 0) {
                        bh_hooks_fail(error, "cannot attach %s, which looks at what sockets move: %s", one->name, g_strerror(errno));
                        bh_payload_detach(p);
                        return FALSE;
                }
        }
        return TRUE;
}

gboolean bh_payload_programs_attachable(const BhPayload *p) {
        g_auto(BhFd) link = bpf_raw_tracepoint_open(NULL, g_array_index(p->programs, BhPayloadProgram, 0).fd);

        return link >= 0;
}

/* Before 5.13 the kernel attaches a loaded fexit program once, and never again: then it is loaded anew, with the same maps. */
gboolean bh_payload_attach(BhPayload *p, GError **error) {
        if (attach_all(p, NULL))
                return TRUE;

        g_autoptr(GHashTable) maps = g_hash_table_ref(p->maps);
        return load(p, g_str_equal(p->backend, "fexit"), maps, error) && attach_all(p, error);
}
