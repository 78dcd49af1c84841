/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/fdio.h"
#include "cgroup_pids.h"
#include "container/cgroup.h"
#include "enforce.skel.h"
#include "enforce_link.h"
#include "enforce_pin.h"
#include "response/response.h"

#define PIDS 4096u

static const struct {
        const char *name;
        enum bpf_attach_type type;
} cgroup_programs[] = {
        { "bh_egress", BPF_CGROUP_INET_EGRESS },     { "bh_ingress", BPF_CGROUP_INET_INGRESS },  { "bh_connect4", BPF_CGROUP_INET4_CONNECT },
        { "bh_connect6", BPF_CGROUP_INET6_CONNECT }, { "bh_sendmsg4", BPF_CGROUP_UDP4_SENDMSG }, { "bh_sendmsg6", BPF_CGROUP_UDP6_SENDMSG },
        { "bh_getpeername4", BPF_CGROUP_INET4_GETPEERNAME }, { "bh_getpeername6", BPF_CGROUP_INET6_GETPEERNAME },
};
#define PROGRAMS G_N_ELEMENTS(cgroup_programs)
static const char *const link_programs[] = { "bh_from_container", "bh_to_container" };
enum { MAP_SUBJECTS, MAP_INTERFACES, MAP_LISTS, MAP_REFUSED, MAP_LED, MAP_TOLD, MAPS };
static const char *const map_names[MAPS] = { "subjects", "interfaces", "lists", "refused", "led", "told" };

typedef struct {
        guint64 id;
        char *cgroup; /* NULL: found pinned, and not set yet */
        struct bh_enforce_subject v; /* as its cgroup has it */
        GArray *interfaces; /* guint */
} Subject;

struct BhEnforce {
        char *dir, *home, *v2, *proc; /* home: of this build, in dir */
        gboolean loaded, pinned; /* loaded alone: kept by this process, ready for the next that is held */
        int maps[MAPS], programs[PROGRAMS], links[2];
        guint32 next_list, slot; /* slot: of this directory, at interfaces */
        GHashTable *subjects; /* by id */
        struct ring_buffer *ring;
        GArray *left; /* int: rings of other builds */
        BhEnforceTold told;
        gpointer told_data;
};

static void subject_free(gpointer data) {
        Subject *s = data;

        g_free(s->cgroup);
        g_array_unref(s->interfaces);
        g_free(s);
}

static Subject *subject_of(BhEnforce *e, guint64 id) {
        Subject *s = g_hash_table_lookup(e->subjects, &id);

        if (!s) {
                s = g_new0(Subject, 1);
                s->id = id;
                s->interfaces = g_array_new(FALSE, FALSE, sizeof(guint));
                g_hash_table_insert(e->subjects, &s->id, s);
        }
        return s;
}

static Subject *subject_at(const BhEnforce *e, const char *cgroup) {
        GHashTableIter it;
        Subject *s;

        g_hash_table_iter_init(&it, e->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s))
                if (g_strcmp0(s->cgroup, cgroup) == 0)
                        return s;
        return NULL;
}

/* ---- pins ---- */

static char *link_pin(const BhEnforce *e, guint64 id, guint program) {
        return g_strdup_printf("%s/link_%" G_GINT64_MODIFIER "x_%u", e->home, id, program);
}

static int *fd_at(BhEnforce *e, guint i, const char **kind, const char **name) {
        *kind = i < MAPS ? "map" : "prog";
        *name = i < MAPS ? map_names[i] : i < MAPS + PROGRAMS ? cgroup_programs[i - MAPS].name : link_programs[i - MAPS - PROGRAMS];
        return i < MAPS ? &e->maps[i] : i < MAPS + PROGRAMS ? &e->programs[i - MAPS] : &e->links[i - MAPS - PROGRAMS];
}
#define FDS (MAPS + PROGRAMS + G_N_ELEMENTS(link_programs))

static void close_all(BhEnforce *e) {
        const char *kind, *name;

        g_clear_pointer(&e->ring, ring_buffer__free);

        for (guint i = 0; i < FDS; i++) {
                int *fd = fd_at(e, i, &kind, &name);

                if (*fd >= 0)
                        close(*fd);
                *fd = -1;
        }
        e->loaded = e->pinned = FALSE;
}

static gboolean open_pins(BhEnforce *e) {
        const char *kind, *name;

        for (guint i = 0; i < FDS; i++) {
                int *fd = fd_at(e, i, &kind, &name);
                g_autofree char *pin = g_strdup_printf("%s/%s_%s", e->home, kind, name);

                if ((*fd = bpf_obj_get(pin)) < 0) {
                        close_all(e);
                        return FALSE;
                }
        }
        return e->loaded = e->pinned = TRUE;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args) {
        return 0;
}

static gboolean load(BhEnforce *e, GError **error) {
        size_t size;
        const void *bytes = bh_enforce__elf_bytes(&size);
        const char *kind, *name;

        if (e->loaded)
                return TRUE;
        libbpf_print_fn_t before = libbpf_set_print(quiet);
        struct bpf_object *o = bpf_object__open_mem(bytes, size, NULL);
        int rc = o ? bpf_object__load(o) : -errno;
        libbpf_set_print(before);
        for (guint i = 0; !rc && i < FDS; i++) {
                int *fd = fd_at(e, i, &kind, &name);

                *fd = fcntl(i < MAPS ? bpf_object__find_map_fd_by_name(o, name) : bpf_program__fd(bpf_object__find_program_by_name(o, name)), F_DUPFD_CLOEXEC, 3);
                if (*fd < 0)
                        rc = -errno;
        }
        bpf_object__close(o);
        if (!rc)
                return e->loaded = TRUE;
        close_all(e);
        return bh_enforce_fail(error, "the kernel does not take the programs that cut off containers: %s", g_strerror(-rc));
}

/* Whatever is attached from here on goes on without this process. */
static gboolean pin(BhEnforce *e, GError **error) {
        const char *kind, *name;

        if (e->pinned)
                return TRUE;
        if (!bh_pins_make(e->dir, e->home, error))
                return FALSE;
        for (guint i = 0; i < FDS; i++) {
                int *fd = fd_at(e, i, &kind, &name);
                g_autofree char *path = g_strdup_printf("%s/%s_%s", e->home, kind, name);

                if (bpf_obj_pin(*fd, path)) {
                        bh_enforce_fail(error, "cannot pin %s: %s", path, g_strerror(errno));
                        bh_pins_remove(e->home);
                        return FALSE;
                }
        }
        return e->pinned = TRUE;
}

gboolean bh_enforce_prepare(BhEnforce *e, GError **error) {
        return load(e, error);
}

/* Nothing is in force any more: nothing stays that this process does not hold. */
static void unpin(BhEnforce *e) {
        e->pinned = FALSE;
        if (!bh_pins_mounted(e->dir))
                return;
        bh_pins_remove(e->home);
        bh_pins_unmount(e->dir);
}

static void find_subjects(BhEnforce *e) {
        DIR *d = opendir(e->home);
        guint index, next;

        for (struct dirent *one; d && (one = readdir(d));) {
                guint64 id;
                guint program;

                if (sscanf(one->d_name, "link_%" G_GINT64_MODIFIER "x_%u", &id, &program) == 2) {
                        Subject *s = subject_of(e, id);
                        struct bh_enforce_subject v;

                        if (bpf_map_lookup_elem(e->maps[MAP_SUBJECTS], &id, &v) == 0)
                                s->v = v;
                }
        }
        if (d)
                closedir(d);
        for (const guint *key = NULL; bpf_map_get_next_key(e->maps[MAP_INTERFACES], key, &next) == 0; key = &index) {
                struct bh_enforce_subject v;

                index = next;
                if (bpf_map_lookup_elem(e->maps[MAP_INTERFACES], &index, &v) == 0)
                        g_array_append_val(subject_of(e, v.cgroup)->interfaces, index);
        }
}

BhEnforce *bh_enforce_open(const char *dir, const char *v2_mount, const char *proc_path, GError **error) {
        size_t size;
        const void *bytes = bh_enforce__elf_bytes(&size);
        g_autoptr(BhEnforce) e = g_new0(BhEnforce, 1);

        e->dir = g_strdup(dir);
        e->home = bh_pins_home(dir, bytes, size);
        e->v2 = g_strdup(v2_mount);
        e->proc = g_strdup(proc_path);
        e->next_list = g_random_int() & 0x7fffffff;
        e->slot = ((guint32) XXH3_64bits(dir, strlen(dir)) & 0x7fffffff) | 1;
        e->subjects = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, subject_free);
        e->left = g_array_new(FALSE, FALSE, sizeof(int));
        for (guint i = 0; i < FDS; i++) {
                const char *kind, *name;

                *fd_at(e, i, &kind, &name) = -1;
        }
        if (!v2_mount) {
                bh_enforce_fail(error, "this machine has no version 2 hierarchy of control groups, to which programs could be attached: mount it at /sys/fs/cgroup/unified");
                return NULL;
        }
        if (bh_pins_mounted(dir) && open_pins(e))
                find_subjects(e);
        return g_steal_pointer(&e);
}

void bh_enforce_free(BhEnforce *e) {
        if (!e)
                return;
        close_all(e);
        for (guint i = 0; i < e->left->len; i++)
                close(g_array_index(e->left, int, i));
        g_array_unref(e->left);
        g_hash_table_unref(e->subjects);
        g_free(e->dir);
        g_free(e->home);
        g_free(e->v2);
        g_free(e->proc);
        g_free(e);
}

guint bh_enforce_count(const BhEnforce *e) {
        return g_hash_table_size(e->subjects);
}

/* ---- lists ---- */

static void drop_list(BhEnforce *e, guint32 list) {
        struct bh_enforce_key at, next;
        gboolean have = FALSE;

        if (!list)
                return;
        while (bpf_map_get_next_key(e->maps[MAP_LISTS], have ? &at : NULL, &next) == 0) {
                if (have && at.list == list)
                        bpf_map_delete_elem(e->maps[MAP_LISTS], &at);
                at = next;
                have = TRUE;
        }
        if (have && at.list == list)
                bpf_map_delete_elem(e->maps[MAP_LISTS], &at);
        bpf_map_delete_elem(e->maps[MAP_REFUSED], &list);
}

static void drop_lists(BhEnforce *e, const struct bh_enforce_subject *v) {
        drop_list(e, v->isolate);
        drop_list(e, v->deny);
        drop_list(e, v->lead);
}

static void key_of(const BhPeerNet *net, guint32 list, struct bh_enforce_key *key) {
        *key = (struct bh_enforce_key){ .bits = 32u + net->bits, .list = list };
        memcpy(key->addr, net->addr, sizeof(key->addr));
}

static gboolean put_nets(BhEnforce *e, guint32 list, const GArray *nets, GError **error) {
        for (guint i = 0; nets && i < nets->len; i++) {
                const BhPeerNet *net = &g_array_index(nets, BhPeerNet, i);
                struct bh_enforce_ports v = { .n = net->n };
                struct bh_enforce_key key;

                key_of(net, list, &key);
                for (guint k = 0; k < net->n; k++)
                        v.ports[k] = (struct bh_enforce_port){ .port = net->ports[k].port, .proto = net->ports[k].proto };
                if (bpf_map_update_elem(e->maps[MAP_LISTS], &key, &v, BPF_ANY))
                        return bh_enforce_fail(error, "the kernel has no room for another peer (%s): %u of all responses together is the bound", g_strerror(errno), BH_ENFORCE_ENTRIES);
        }
        return TRUE;
}

/* A new list; what was counted for the old one goes on. 0 with *error. */
static guint32 make_list(BhEnforce *e, const GArray *nets, guint32 old, GError **error) {
        struct bh_enforce_refused counted = { 0 };
        guint32 list = ++e->next_list ? e->next_list : ++e->next_list;

        if (old)
                bpf_map_lookup_elem(e->maps[MAP_REFUSED], &old, &counted);
        if (bpf_map_update_elem(e->maps[MAP_REFUSED], &list, &counted, BPF_ANY)) {
                bh_enforce_fail(error, "there are as many lists of peers as there may be: release others first");
                return 0;
        }
        if (put_nets(e, list, nets, error))
                return list;
        drop_list(e, list);
        return 0;
}

static guint key_hash(gconstpointer key) {
        return (guint) XXH3_64bits(key, sizeof(struct bh_enforce_key));
}

static gboolean key_equal(gconstpointer a, gconstpointer b) {
        return memcmp(a, b, sizeof(struct bh_enforce_key)) == 0;
}

/* What is new comes before what is not there any more goes. */
static gboolean refill(BhEnforce *e, guint32 list, const GArray *nets, GError **error) {
        g_autoptr(GHashTable) wanted = g_hash_table_new_full(key_hash, key_equal, g_free, NULL);
        struct bh_enforce_key at, next;
        gboolean have = FALSE;

        if (!put_nets(e, list, nets, error))
                return FALSE;
        for (guint i = 0; nets && i < nets->len; i++) {
                key_of(&g_array_index(nets, BhPeerNet, i), list, &at);
                g_hash_table_add(wanted, g_memdup2(&at, sizeof(at)));
        }
        for (gboolean more = TRUE; more; at = next, have = TRUE) {
                more = bpf_map_get_next_key(e->maps[MAP_LISTS], have ? &at : NULL, &next) == 0;
                if (have && at.list == list && !g_hash_table_contains(wanted, &at))
                        bpf_map_delete_elem(e->maps[MAP_LISTS], &at);
        }
        return TRUE;
}

/* ---- a subject ---- */

static void leave_interfaces(BhEnforce *e, Subject *s) {
        for (guint i = 0; i < s->interfaces->len; i++) {
                guint index = g_array_index(s->interfaces, guint, i);
                struct bh_enforce_subject v = { 0 };

                bpf_map_lookup_elem(e->maps[MAP_INTERFACES], &index, &v);
                bh_link_unfilter(index, e->slot, v.made != 0);
                bpf_map_delete_elem(e->maps[MAP_INTERFACES], &index);
        }
        g_array_set_size(s->interfaces, 0);
}

static void drop_subject(BhEnforce *e, Subject *s) {
        struct bh_enforce_subject none = { 0 };

        if (e->loaded) {
                bpf_map_update_elem(e->maps[MAP_SUBJECTS], &s->id, &none, BPF_ANY); /* at once; the rest takes some time */
                leave_interfaces(e, s);
                for (guint i = 0; i < PROGRAMS; i++) {
                        g_autofree char *pin = link_pin(e, s->id, i);

                        unlink(pin);
                }
                drop_lists(e, &s->v);
        }
        g_hash_table_remove(e->subjects, &s->id);
}

/* Attached, pinned, and what the kernel says of it is so. */
static gboolean attach_one(BhEnforce *e, guint64 id, int cgroup_fd, guint program, GError **error) {
        g_autofree char *pin = link_pin(e, id, program);
        g_auto(BhFd) fd = bpf_obj_get(pin);
        struct bpf_link_info info = { 0 };
        __u32 size = sizeof(info);

        if (fd < 0) {
                if ((fd = bpf_link_create(e->programs[program], cgroup_fd, cgroup_programs[program].type, NULL)) < 0)
                        return bh_enforce_fail(error, "cannot attach %s to the container's cgroup: %s", cgroup_programs[program].name, g_strerror(errno));
                if (bpf_obj_pin(fd, pin))
                        return bh_enforce_fail(error, "cannot pin %s: %s", pin, g_strerror(errno));
        }
        if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != BPF_LINK_TYPE_CGROUP || info.cgroup.cgroup_id != id)
                return bh_enforce_fail(error, "%s is not attached where it should be: somebody detached it", cgroup_programs[program].name);
        return TRUE;
}

static gboolean same_namespace(int a, const char *path) {
        struct stat mine, other;

        return fstat(a, &mine) == 0 && stat(path, &other) == 0 && mine.st_ino == other.st_ino && mine.st_dev == other.st_dev;
}

/* The network namespace of the first process that can be asked; -1: there is none. */
static int network_of(BhEnforce *e, const char *cgroup) {
        g_autoptr(GArray) pids = bh_cgroup_pids(e->v2, cgroup, PIDS, G_MAXUINT, NULL);

        for (guint i = 0; i < pids->len; i++) {
                g_autofree char *path = g_strdup_printf("%s/%d/ns/net", e->proc, g_array_index(pids, gint, i));
                int fd = open(path, O_RDONLY | O_CLOEXEC);

                if (fd >= 0)
                        return fd;
        }
        return -1;
}

static struct bh_enforce_subject at_interface(const Subject *s, guint32 made) {
        struct bh_enforce_subject v = s->v;

        v.made = made;
        return v;
}

static gboolean cut_interfaces(BhEnforce *e, Subject *s, const BhEnforceRules *rules, BhEnforceDone *done, GError **error) {
        g_autofree char *host = g_build_filename(e->proc, "1/ns/net", NULL);
        g_auto(BhFd) fd = network_of(e, s->cgroup);
        g_autoptr(GArray) links = NULL;

        done->shared_network = rules->shared_network;
        done->host_network = fd >= 0 && (same_namespace(fd, host) || same_namespace(fd, "/proc/self/ns/net"));
        if (fd >= 0 && !done->host_network && !done->shared_network && !(links = bh_links_into(fd, error)))
                return FALSE;
        if (fd < 0) /* no process of it lives: what is cut stays so */
                links = g_array_copy(s->interfaces);
        done->no_interfaces = !links || !links->len;
        for (guint i = 0; links && i < links->len; i++) {
                guint index = g_array_index(links, guint, i);
                struct bh_enforce_subject v = { 0 };
                gboolean made = FALSE, known = FALSE;

                for (guint k = 0; k < s->interfaces->len; k++)
                        known |= g_array_index(s->interfaces, guint, k) == index;
                bpf_map_lookup_elem(e->maps[MAP_INTERFACES], &index, &v);
                v = at_interface(s, v.made);
                if (bpf_map_update_elem(e->maps[MAP_INTERFACES], &index, &v, BPF_ANY))
                        return bh_enforce_fail(error, "there are as many interfaces cut off as there may be: release others first");
                if (fd >= 0 && !bh_link_filter(index, e->slot, e->links[0], e->links[1], &made, error)) {
                        if (!known) { /* what was cut before stays so */
                                bh_link_unfilter(index, e->slot, made);
                                bpf_map_delete_elem(e->maps[MAP_INTERFACES], &index);
                        }
                        return FALSE;
                }
                if (made) {
                        v.made = 1;
                        bpf_map_update_elem(e->maps[MAP_INTERFACES], &index, &v, BPF_ANY);
                }
                if (!known)
                        g_array_append_val(s->interfaces, index);
                done->interfaces++;
        }
        return TRUE;
}

/* Its lists, filled. FALSE with *error: those that were made are in *v, and are the caller's to drop. */
static gboolean make_lists(BhEnforce *e, const BhEnforceRules *rules, const struct bh_enforce_subject *was, struct bh_enforce_subject *v, GError **error) {
        if ((rules->isolate && !(v->isolate = make_list(e, rules->allow, was->isolate, error))) || (rules->deny && !(v->deny = make_list(e, rules->deny, was->deny, error))) ||
            (rules->lead && !(v->lead = make_list(e, rules->lead, was->lead, error))))
                return FALSE;
        if (rules->lead) {
                memcpy(v->to, rules->to, sizeof(v->to));
                v->to_port = rules->to_port;
        }
        return TRUE;
}

gboolean bh_enforce_set(BhEnforce *e, const char *cgroup, const BhEnforceRules *rules, BhEnforceDone *done, GError **error) {
        g_autofree char *path = g_build_filename(e->v2, cgroup, NULL);
        g_auto(BhFd) fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        guint64 id = fd >= 0 ? bh_cgroup_id(AT_FDCWD, path) : 0;
        gboolean fresh;

        *done = (BhEnforceDone){ 0 };
        if (!id)
                return bh_enforce_fail(error, "the container has no cgroup any more");
        if (!rules->isolate && !rules->deny && !rules->lead) {
                bh_enforce_clear(e, cgroup);
                return TRUE;
        }
        fresh = !g_hash_table_contains(e->subjects, &id);
        if (fresh && g_hash_table_size(e->subjects) >= BH_ENFORCE_CGROUPS)
                return bh_enforce_fail(error, "%u containers are cut off, which is as many as there may be: release others first", BH_ENFORCE_CGROUPS);
        if (!load(e, error) || !pin(e, error))
                return FALSE;

        Subject *s = subject_at(e, cgroup);
        if (s && s->id != id) /* it was removed and made again */
                drop_subject(e, s);
        s = subject_of(e, id);
        g_free(s->cgroup);
        s->cgroup = g_strdup(cgroup);
        struct bh_enforce_subject v = { .cgroup = id }, was = s->v;
        was.cgroup = id;
        gboolean ok = make_lists(e, rules, &was, &v, error);

        for (guint i = 0; ok && i < PROGRAMS; i++)
                ok = attach_one(e, id, fd, i, error);
        if (ok && bpf_map_update_elem(e->maps[MAP_SUBJECTS], &id, &v, BPF_ANY))
                ok = bh_enforce_fail(error, "cannot tell the kernel programs about the container: %s", g_strerror(errno));
        if (ok) {
                s->v = v;
                ok = cut_interfaces(e, s, rules, done, error);
        }
        if (ok) {
                drop_lists(e, &was);
        } else if (fresh) {
                s->v = v;
                drop_subject(e, s);
                if (!g_hash_table_size(e->subjects))
                        unpin(e);
        } else { /* as it was */
                bpf_map_update_elem(e->maps[MAP_SUBJECTS], &id, &was, BPF_ANY);
                s->v = was;
                for (guint i = 0; i < s->interfaces->len; i++) {
                        struct bh_enforce_subject at = { 0 };
                        guint index = g_array_index(s->interfaces, guint, i);

                        bpf_map_lookup_elem(e->maps[MAP_INTERFACES], &index, &at);
                        at = at_interface(s, at.made);
                        bpf_map_update_elem(e->maps[MAP_INTERFACES], &index, &at, BPF_ANY);
                }
                drop_lists(e, &v);
        }
        return ok;
}

gboolean bh_enforce_update(BhEnforce *e, const char *cgroup, const BhEnforceRules *rules, GError **error) {
        const Subject *s = subject_at(e, cgroup);

        if (!s)
                return bh_enforce_fail(error, "nothing is in force for the container");
        /* what is led first: what is refused already is led before it would be refused */
        return (!s->v.isolate || refill(e, s->v.isolate, rules->allow, error)) && (!s->v.lead || refill(e, s->v.lead, rules->lead, error)) && (!s->v.deny || refill(e, s->v.deny, rules->deny, error));
}

void bh_enforce_clear(BhEnforce *e, const char *cgroup) {
        g_autofree char *path = g_build_filename(e->v2, cgroup, NULL);
        Subject *s = subject_at(e, cgroup);

        if (!s) { /* found, and not set since then */
                const guint64 id = bh_cgroup_id(AT_FDCWD, path);

                s = id ? g_hash_table_lookup(e->subjects, &id) : NULL;
        }
        if (!s)
                return;
        drop_subject(e, s);
        if (!g_hash_table_size(e->subjects))
                unpin(e);
}

/* Lists that nobody uses: of a process that was killed while it made one. */
static void drop_stray_lists(BhEnforce *e) {
        g_autoptr(GHashTable) used = g_hash_table_new(g_direct_hash, g_direct_equal);
        g_autoptr(GArray) stray = g_array_new(FALSE, FALSE, sizeof(guint32));
        GHashTableIter it;
        guint32 list, next;
        Subject *s;

        g_hash_table_iter_init(&it, e->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s)) {
                g_hash_table_add(used, GUINT_TO_POINTER(s->v.isolate));
                g_hash_table_add(used, GUINT_TO_POINTER(s->v.deny));
                g_hash_table_add(used, GUINT_TO_POINTER(s->v.lead));
        }
        for (const guint32 *key = NULL; bpf_map_get_next_key(e->maps[MAP_REFUSED], key, &next) == 0; key = &list) {
                list = next;
                if (!g_hash_table_contains(used, GUINT_TO_POINTER(list)))
                        g_array_append_val(stray, list);
        }
        for (guint i = 0; i < stray->len; i++)
                drop_list(e, g_array_index(stray, guint32, i));
}

/* Another build's: its interfaces that are not ours now, then all its pins. */
static void drop_other(BhEnforce *e, const char *home) {
        g_autofree char *pin = g_build_filename(home, "map_interfaces", NULL), *told = g_build_filename(home, "map_told", NULL);
        g_auto(BhFd) fd = bpf_obj_get(pin);
        int ring = bpf_obj_get(told);
        guint index, next;

        for (const guint *key = NULL; fd >= 0 && bpf_map_get_next_key(fd, key, &next) == 0; key = &index) {
                struct bh_enforce_subject v = { 0 }, ours;

                index = next;
                bpf_map_lookup_elem(fd, &index, &v);
                if (!e->loaded || bpf_map_lookup_elem(e->maps[MAP_INTERFACES], &index, &ours)) {
                        bh_link_unfilter(index, e->slot, v.made != 0);
                } else if (v.made && !ours.made) { /* ours are in the place that it made */
                        ours.made = 1;
                        bpf_map_update_elem(e->maps[MAP_INTERFACES], &index, &ours, BPF_EXIST);
                }
        }
        bh_pins_remove(home);
        if (ring >= 0)
                g_array_append_val(e->left, ring);
}

void bh_enforce_settle(BhEnforce *e) {
        g_autoptr(GPtrArray) stale = g_ptr_array_new();
        GHashTableIter it;
        Subject *s;

        g_hash_table_iter_init(&it, e->subjects);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &s))
                if (!s->cgroup)
                        g_ptr_array_add(stale, s);
        for (guint i = 0; i < stale->len; i++)
                drop_subject(e, stale->pdata[i]);
        if (e->loaded)
                drop_stray_lists(e);
        if (!bh_pins_mounted(e->dir))
                return;
        g_autoptr(GPtrArray) others = bh_pins_others(e->dir, e->home);
        for (guint i = 0; i < others->len; i++)
                drop_other(e, others->pdata[i]);
        if (!g_hash_table_size(e->subjects))
                unpin(e);
}

gboolean bh_enforce_refused(BhEnforce *e, const char *cgroup, guint64 *packets, guint64 *bytes, guint64 *calls) {
        const Subject *s = subject_at(e, cgroup);
        const guint32 lists[] = { s ? s->v.isolate : 0, s ? s->v.deny : 0 };

        *packets = *bytes = *calls = 0;
        for (guint i = 0; i < G_N_ELEMENTS(lists); i++) {
                struct bh_enforce_refused v;

                if (!lists[i] || bpf_map_lookup_elem(e->maps[MAP_REFUSED], &lists[i], &v))
                        continue;
                *packets += v.packets;
                *bytes += v.bytes;
                *calls += v.calls;
        }
        return s != NULL;
}

/* ---- what was led ---- */

gboolean bh_enforce_led(BhEnforce *e, const char *cgroup, guint64 *connections, guint64 *untold) {
        const Subject *s = subject_at(e, cgroup);
        struct bh_enforce_refused v = { 0 };

        if (!s || !s->v.lead)
                return FALSE;
        bpf_map_lookup_elem(e->maps[MAP_REFUSED], &s->v.lead, &v);
        *connections = v.calls;
        *untold = v.untold;
        return TRUE;
}

static int on_told(void *data, void *bytes, size_t size) {
        BhEnforce *e = data;

        if (size == sizeof(struct bh_enforce_led))
                e->told(bytes, e->told_data);
        return 0;
}

static void consume(BhEnforce *e, int fd) {
        struct ring_buffer *ring = ring_buffer__new(fd, on_told, e, NULL);

        if (ring)
                ring_buffer__consume(ring);
        ring_buffer__free(ring);
}

void bh_enforce_tell(BhEnforce *e, BhEnforceTold told, gpointer data) {
        e->told = told;
        e->told_data = data;
        for (guint i = 0; i < e->left->len; i++) {
                consume(e, g_array_index(e->left, int, i));
                close(g_array_index(e->left, int, i));
        }
        g_array_set_size(e->left, 0);
        if (e->loaded && (e->ring || (e->ring = ring_buffer__new(e->maps[MAP_TOLD], on_told, e, NULL))))
                ring_buffer__consume(e->ring);
}
