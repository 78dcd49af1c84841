/* SPDX-License-Identifier: Apache-2.0 */
#include "container/container.h"

#include <string.h>

#include "container/privileges.h"
#include "container/workload.h"

/* Every owned string and string list, for copying and freeing. */
static const gsize texts[] = {
#define F(f) G_STRUCT_OFFSET(BhContainer, f)
        F(id), F(name), F(image), F(image_id), F(image_digest), F(runtime), F(workload), F(application), F(outer_id),
        F(network_mode), F(pid_mode), F(ipc_mode), F(user), F(health), F(cgroup_parent), F(created_by), F(started_by), F(ended_by), F(seccomp), F(lsm), F(uts_mode),
        F(cgroupns_mode), F(restart_policy), F(network_of),
};
static const gsize lists[] = {
        F(cap_add), F(cap_drop), F(devices), F(security_opt), F(env_names), F(cgroup_paths), F(layers), F(command), F(health_command), F(capabilities), F(risks),
};
#undef F

static void clear_label(gpointer p) {
        BhKeyValue *l = p;

        g_free(l->key);
        g_free(l->value);
}

static void clear_mount(gpointer p) {
        BhMount *m = p;

        g_free(m->type);
        g_free(m->source);
        g_free(m->destination);
}

static void clear_network(gpointer p) {
        BhContainerNetwork *n = p;

        g_free(n->name);
        g_free(n->id);
        g_free(n->ip);
        g_free(n->ip6);
        g_free(n->mac);
        g_strfreev(n->aliases);
}

static void clear_port(gpointer p) {
        g_free(((BhPort *) p)->host_ip);
}

static void clear_run(gpointer p) {
        g_free(((BhRun *) p)->error);
}

static GArray *list_of(gsize size, GDestroyNotify clear) {
        GArray *a = g_array_new(FALSE, FALSE, (guint) size);

        g_array_set_clear_func(a, clear);
        return a;
}

static BhContainer *blank(void) {
        BhContainer *c = g_new0(BhContainer, 1);

        g_atomic_ref_count_init(&c->refs);
        c->labels = list_of(sizeof(BhKeyValue), clear_label);
        c->mounts = list_of(sizeof(BhMount), clear_mount);
        c->networks = list_of(sizeof(BhContainerNetwork), clear_network);
        c->ports = list_of(sizeof(BhPort), clear_port);
        c->runs = list_of(sizeof(BhRun), clear_run);
        return c;
}

BhContainer *bh_container_new(const char *id, const char *runtime) {
        BhContainer *c = blank();

        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
                G_STRUCT_MEMBER(char *, c, texts[i]) = g_strdup("");
        for (gsize i = 0; i < G_N_ELEMENTS(lists); i++)
                G_STRUCT_MEMBER(char **, c, lists[i]) = g_new0(char *, 1);
        c->state = BH_CONTAINER_STATE_UNKNOWN;
        bh_container_set(c, &c->id, id);
        bh_container_set(c, &c->runtime, runtime);
        return c;
}

BhContainer *bh_container_ref(BhContainer *c) {
        g_atomic_ref_count_inc(&c->refs);
        return c;
}

void bh_container_unref(BhContainer *c) {
        if (!c || !g_atomic_ref_count_dec(&c->refs))
                return;
        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(G_STRUCT_MEMBER(char *, c, texts[i]));
        for (gsize i = 0; i < G_N_ELEMENTS(lists); i++)
                g_strfreev(G_STRUCT_MEMBER(char **, c, lists[i]));
        g_array_unref(c->labels);
        g_array_unref(c->mounts);
        g_array_unref(c->networks);
        g_array_unref(c->ports);
        g_array_unref(c->runs);
        g_free(c);
}

BhContainer *bh_container_dup(const BhContainer *c) {
        BhContainer *d = blank();
        BhContainer own = *d;

        *d = *c;
        g_atomic_ref_count_init(&d->refs);
        d->labels = own.labels;
        d->mounts = own.mounts;
        d->networks = own.networks;
        d->ports = own.ports;
        d->runs = own.runs;
        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
                G_STRUCT_MEMBER(char *, d, texts[i]) = g_strdup(G_STRUCT_MEMBER(char *, c, texts[i]));
        for (gsize i = 0; i < G_N_ELEMENTS(lists); i++)
                G_STRUCT_MEMBER(char **, d, lists[i]) = g_strdupv(G_STRUCT_MEMBER(char **, c, lists[i]));
        for (guint i = 0; i < c->labels->len; i++) {
                BhKeyValue *l = &g_array_index(c->labels, BhKeyValue, i);
                BhKeyValue copy = { g_strdup(l->key), g_strdup(l->value) };
                g_array_append_val(d->labels, copy);
        }
        for (guint i = 0; i < c->mounts->len; i++) {
                BhMount copy = g_array_index(c->mounts, BhMount, i);
                copy.type = g_strdup(copy.type);
                copy.source = g_strdup(copy.source);
                copy.destination = g_strdup(copy.destination);
                g_array_append_val(d->mounts, copy);
        }
        for (guint i = 0; i < c->networks->len; i++) {
                BhContainerNetwork *n = &g_array_index(c->networks, BhContainerNetwork, i);
                BhContainerNetwork copy = { g_strdup(n->name), g_strdup(n->id), g_strdup(n->ip), g_strdup(n->ip6), g_strdup(n->mac), g_strdupv(n->aliases) };
                g_array_append_val(d->networks, copy);
        }
        for (guint i = 0; i < c->ports->len; i++) {
                BhPort copy = g_array_index(c->ports, BhPort, i);
                copy.host_ip = g_strdup(copy.host_ip);
                g_array_append_val(d->ports, copy);
        }
        bh_container_take_runs(d, c);
        return d;
}

/* At most `max` bytes of s, cut before a UTF-8 sequence that would not fit whole. */
static char *cut(BhContainer *c, const char *s, gsize max) {
        gsize n = strlen(s);

        if (n <= max)
                return g_strndup(s, n);
        c->refused++;
        n = max;
        for (int back = 0; n && back < 4 && ((guchar) s[n] & 0xc0) == 0x80; back++)
                n--;
        return g_strndup(s, n);
}

void bh_container_set(BhContainer *c, char **field, const char *value) {
        char *old = *field;

        *field = cut(c, value ? value : "", BH_CONTAINER_MAX_TEXT);
        g_free(old);
}

void bh_container_add_label(BhContainer *c, const char *key, const char *value) {
        if (c->labels->len >= BH_CONTAINER_MAX_LABELS || strlen(key) > BH_CONTAINER_MAX_LABEL_KEY) {
                c->refused++;
                return;
        }
        BhKeyValue l = { g_strdup(key), cut(c, value, BH_CONTAINER_MAX_LABEL_VALUE) };
        g_array_append_val(c->labels, l);
}

void bh_container_add_mount(BhContainer *c, const char *type, const char *source, const char *destination, gboolean rw) {
        if (c->mounts->len >= BH_CONTAINER_MAX_MOUNTS) {
                c->refused++;
                return;
        }
        BhMount m = {
                .type = cut(c, type, BH_CONTAINER_MAX_TEXT),
                .source = cut(c, source, BH_CONTAINER_MAX_TEXT),
                .destination = cut(c, destination, BH_CONTAINER_MAX_TEXT),
                .rw = rw,
                .sensitive = bh_mount_is_sensitive(type, source, rw),
        };
        g_array_append_val(c->mounts, m);
}

void bh_container_set_list(BhContainer *c, char ***field, const char *const *values, gssize n) {
        g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);

        for (gssize i = 0; n < 0 ? values && values[i] : i < n; i++) {
                if (out->len >= BH_CONTAINER_MAX_LIST || strlen(values[i]) > BH_CONTAINER_MAX_TEXT)
                        c->refused++;
                else
                        g_ptr_array_add(out, g_strdup(values[i]));
        }
        g_ptr_array_add(out, NULL);
        g_strfreev(*field);
        *field = (char **) g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

#define RUN_SLACK_NS G_GINT64_CONSTANT(2000000000) /* between the runtime's own time of an end and that of its event */

void bh_container_add_run(BhContainer *c, gint64 started_ns, gint64 finished_ns, gint32 exit_code, gboolean oom_killed, const char *error, gboolean surmised) {
        BhRun run = { started_ns, finished_ns, exit_code, oom_killed, NULL, surmised };
        guint at = 0;

        for (guint i = 0; i < c->runs->len; i++) {
                BhRun *have = &g_array_index(c->runs, BhRun, i);

                if (ABS(have->finished_ns - finished_ns) >= RUN_SLACK_NS || !(surmised || have->surmised))
                        continue;
                /* the same end told twice: an event's exit code counts, what only a description has is added */
                if (!surmised) {
                        have->exit_code = exit_code;
                        have->surmised = FALSE;
                }
                if (!have->started_ns)
                        have->started_ns = started_ns;
                have->oom_killed |= oom_killed;
                if (error && *error && !*have->error)
                        bh_container_set(c, &have->error, error);
                return;
        }
        while (at < c->runs->len && g_array_index(c->runs, BhRun, at).finished_ns > finished_ns)
                at++;
        if (at >= BH_CONTAINER_MAX_RUNS)
                return;
        bh_container_set(c, &run.error, error);
        g_array_insert_val(c->runs, at, run);
        if (c->runs->len > BH_CONTAINER_MAX_RUNS)
                g_array_set_size(c->runs, BH_CONTAINER_MAX_RUNS);
}

void bh_container_take_runs(BhContainer *c, const BhContainer *from) {
        g_array_set_size(c->runs, 0);
        for (guint i = 0; i < from->runs->len; i++) {
                BhRun copy = g_array_index(from->runs, BhRun, i);

                copy.error = g_strdup(copy.error);
                g_array_append_val(c->runs, copy);
        }
}

gboolean bh_container_add_cgroup(BhContainer *c, const char *path) {
        guint n = g_strv_length(c->cgroup_paths);

        if (g_strv_contains((const char *const *) c->cgroup_paths, path))
                return FALSE;
        if (n >= BH_CONTAINER_MAX_CGROUPS) {
                g_free(c->cgroup_paths[0]);
                memmove(c->cgroup_paths, c->cgroup_paths + 1, n * sizeof(char *));
                n--;
        }
        c->cgroup_paths = g_renew(char *, c->cgroup_paths, n + 2);
        c->cgroup_paths[n] = g_strdup(path);
        c->cgroup_paths[n + 1] = NULL;
        return TRUE;
}

static gint by_key(gconstpointer a, gconstpointer b) {
        return strcmp(((const BhKeyValue *) a)->key, ((const BhKeyValue *) b)->key);
}

static gint by_destination(gconstpointer a, gconstpointer b) {
        return strcmp(((const BhMount *) a)->destination, ((const BhMount *) b)->destination);
}

static gint by_network(gconstpointer a, gconstpointer b) {
        return strcmp(((const BhContainerNetwork *) a)->name, ((const BhContainerNetwork *) b)->name);
}

static gint by_port(gconstpointer pa, gconstpointer pb) {
        const BhPort *a = pa, *b = pb;

        if (a->container_port != b->container_port)
                return a->container_port < b->container_port ? -1 : 1;
        int order = strcmp(a->protocol, b->protocol);
        if (order)
                return order;
        if (a->host_port != b->host_port)
                return a->host_port < b->host_port ? -1 : 1;
        return strcmp(a->host_ip, b->host_ip);
}

void bh_container_finish(BhContainer *c) {
        g_array_sort(c->labels, by_key);
        g_array_sort(c->mounts, by_destination);
        g_array_sort(c->networks, by_network);
        g_array_sort(c->ports, by_port);
        c->host_network = !strcmp(c->network_mode, "host");
        c->host_pid = !strcmp(c->pid_mode, "host");
        c->host_ipc = !strcmp(c->ipc_mode, "host");
        c->host_uts = !strcmp(c->uts_mode, "host");
        c->host_cgroupns = !strcmp(c->cgroupns_mode, "host");
        bh_container_assess(c);
        if (c->level > BH_CONTAINER_FROM_CGROUP)
                bh_workload_derive(c);
}

const char *bh_container_label(const BhContainer *c, const char *key) {
        guint lo = 0, hi = c->labels->len;

        while (lo < hi) {
                guint mid = lo + (hi - lo) / 2;
                const BhKeyValue *l = &g_array_index(c->labels, BhKeyValue, mid);
                int order = strcmp(key, l->key);

                if (!order)
                        return l->value;
                if (order < 0)
                        hi = mid;
                else
                        lo = mid + 1;
        }
        return NULL;
}

const char *bh_container_display_name(const BhContainer *c, char buf[BH_CONTAINER_ID_SHORT + 1]) {
        if (*c->name)
                return c->name;
        g_strlcpy(buf, c->id, BH_CONTAINER_ID_SHORT + 1);
        return buf;
}

const char *bh_container_digest(const BhContainer *c) {
        return *c->image_digest ? c->image_digest : c->image_id;
}

static gboolean at_or_under(const char *path, const char *dir) {
        gsize n = strlen(dir);

        return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

gboolean bh_mount_is_sensitive(const char *type, const char *source, gboolean rw) {
        /* a directory that leads to the host when it is mounted itself, not each thing inside */
        static const char *const exact[] = { "/", "/run", "/var", "/var/run", "/var/lib", "/home", "/mnt", "/opt" };
        static const char *const trees[] = {
                "/proc", "/sys", "/dev", "/etc", "/boot", "/root", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
                "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet", "/var/lib/etcd", "/var/log",
                "/var/spool/cron", "/run/docker", "/run/docker.sock", "/run/containerd", "/run/crio", "/run/podman", "/run/runc",
                "/run/systemd", "/run/dbus", "/run/secrets", "/run/k3s",
        };
        static const char *const sockets[] = { "docker.sock", "containerd.sock", "crio.sock", "podman.sock", "cri-dockerd.sock", "dockershim.sock" };
        /* files that everybody mounts and that give nothing away */
        static const char *const harmless[] = { "/etc/localtime", "/etc/timezone", "/etc/resolv.conf", "/dev/null", "/dev/zero", "/dev/random",
                                                "/dev/urandom", "/dev/shm", "/usr/share/zoneinfo", "/usr/share/ca-certificates", "/etc/ssl/certs" };

        if (strcmp(type, "bind") || source[0] != '/')
                return FALSE;

        g_autofree char *canonical = g_canonicalize_filename(source, "/");
        /* POSIX keeps two leading slashes apart, and so does the function above; Linux does not */
        const char *path = canonical[0] == '/' && canonical[1] == '/' ? canonical + 1 : canonical;
        g_autofree char *base = g_path_get_basename(path);

        /* /var/run is a link to /run on every system of the last decade */
        if (g_str_has_prefix(path, "/var/run/"))
                path += strlen("/var");
        for (gsize i = 0; i < G_N_ELEMENTS(sockets); i++)
                if (!strcmp(base, sockets[i]))
                        return TRUE;
        if (!rw)
                for (gsize i = 0; i < G_N_ELEMENTS(harmless); i++)
                        if (at_or_under(path, harmless[i]))
                                return FALSE;
        for (gsize i = 0; i < G_N_ELEMENTS(exact); i++)
                if (!strcmp(path, exact[i]))
                        return TRUE;
        for (gsize i = 0; i < G_N_ELEMENTS(trees); i++)
                if (at_or_under(path, trees[i]))
                        return TRUE;
        return FALSE;
}

static const char *const state_names[] = { "created", "running", "paused", "restarting", "exited", "dead", "removed", "unknown" };

G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == BH_CONTAINER_STATE_UNKNOWN + 1);

const char *bh_container_state_name(BhContainerState state) {
        return state_names[MIN((guint) state, (guint) BH_CONTAINER_STATE_UNKNOWN)];
}

BhContainerState bh_container_state_parse(const char *name) {
        for (guint i = 0; i < BH_CONTAINER_STATE_UNKNOWN; i++)
                if (!strcmp(name, state_names[i]))
                        return (BhContainerState) i;
        /* the engine's word while it deletes a container */
        return !strcmp(name, "removing") ? BH_CONTAINER_DEAD : BH_CONTAINER_STATE_UNKNOWN;
}

const char *bh_container_level_name(BhContainerLevel level) {
        switch (level) {
        case BH_CONTAINER_FROM_CGROUP:
                return "cgroup";
        case BH_CONTAINER_FROM_EVENT:
                return "event";
        case BH_CONTAINER_FULL:
                return "full";
        }
        return "unknown";
}

gint64 bh_time_parse(const char *text) {
        g_autoptr(GDateTime) t = NULL;
        gint64 nanos = 0, scale = 100000000;

        /* GDateTime keeps microseconds only: take the fraction apart here */
        const char *dot = strchr(text, '.');
        if (strlen(text) > 64)
                return 0;
        if (dot) {
                const char *p = dot + 1;
                for (; g_ascii_isdigit(*p); p++, scale /= 10)
                        nanos += (*p - '0') * scale;
                g_autofree char *whole = g_strdup_printf("%.*s%s", (int) (dot - text), text, p);
                t = g_date_time_new_from_iso8601(whole, NULL);
        } else {
                t = g_date_time_new_from_iso8601(text, NULL);
        }
        if (!t)
                return 0;
        gint64 seconds = g_date_time_to_unix(t);
        if (seconds <= 0 || seconds > G_MAXINT64 / 1000000000 - 1)
                return 0;
        return seconds * 1000000000 + nanos;
}

char *bh_time_format(gint64 ns) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(ns / 1000000000);
        g_autofree char *s = t ? g_date_time_format(t, "%Y-%m-%dT%H:%M:%S") : g_strdup("1970-01-01T00:00:00");

        return g_strdup_printf("%s.%09dZ", s, (int) (ns % 1000000000));
}
