/* SPDX-License-Identifier: Apache-2.0 */
#include "container/container.h"

#include <string.h>

#include "base/escape.h"
#include "container/workload.h"

/* Every owned string and string list, for copying and freeing. */
static const gsize texts[] = {
#define F(f) G_STRUCT_OFFSET(BhContainer, f)
        F(id), F(name), F(image), F(image_id), F(image_digest), F(runtime), F(workload), F(application), F(outer_id),
        F(network_mode), F(pid_mode), F(ipc_mode), F(user), F(health), F(cgroup_parent),
};
static const gsize lists[] = { F(cap_add), F(cap_drop), F(devices), F(security_opt), F(env_names), F(cgroup_paths) };
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
}

static void clear_port(gpointer p) {
        g_free(((BhPort *) p)->host_ip);
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
                BhContainerNetwork copy = { g_strdup(n->name), g_strdup(n->id), g_strdup(n->ip), g_strdup(n->ip6), g_strdup(n->mac) };
                g_array_append_val(d->networks, copy);
        }
        for (guint i = 0; i < c->ports->len; i++) {
                BhPort copy = g_array_index(c->ports, BhPort, i);
                copy.host_ip = g_strdup(copy.host_ip);
                g_array_append_val(d->ports, copy);
        }
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

static json_t *text_json(const char *s) {
        json_t *plain = json_string(s);

        /* not UTF-8 (only a cgroup's name can be): the project's one escape for such bytes */
        if (!plain) {
                g_autoptr(GString) out = g_string_new(NULL);

                bh_escape_append_json(out, s, -1);
                plain = json_loadb(out->str, out->len, JSON_DECODE_ANY, NULL);
        }
        return plain;
}

static json_t *strv_json(char **v) {
        json_t *a = json_array();

        for (; *v; v++)
                json_array_append_new(a, text_json(*v));
        return a;
}

static json_t *time_json(gint64 ns) {
        g_autofree char *s = ns > 0 ? bh_time_format(ns) : NULL;

        return s ? json_string(s) : json_null();
}

json_t *bh_container_to_json(const BhContainer *c) {
        json_t *o = json_object(), *labels = json_object(), *mounts = json_array(), *networks = json_array(), *ports = json_array();
        char short_id[BH_CONTAINER_ID_SHORT + 1];

        for (guint i = 0; i < c->labels->len; i++) {
                const BhKeyValue *l = &g_array_index(c->labels, BhKeyValue, i);
                json_object_set_new(labels, l->key, text_json(l->value));
        }
        for (guint i = 0; i < c->mounts->len; i++) {
                const BhMount *m = &g_array_index(c->mounts, BhMount, i);
                json_t *e = json_object();

                json_object_set_new(e, "type", text_json(m->type));
                json_object_set_new(e, "source", text_json(m->source));
                json_object_set_new(e, "destination", text_json(m->destination));
                json_object_set_new(e, "rw", json_boolean(m->rw));
                json_object_set_new(e, "sensitive", json_boolean(m->sensitive));
                json_array_append_new(mounts, e);
        }
        for (guint i = 0; i < c->networks->len; i++) {
                const BhContainerNetwork *n = &g_array_index(c->networks, BhContainerNetwork, i);
                json_t *e = json_object();

                json_object_set_new(e, "name", text_json(n->name));
                json_object_set_new(e, "id", text_json(n->id));
                json_object_set_new(e, "ip", text_json(n->ip));
                json_object_set_new(e, "ip6", text_json(n->ip6));
                json_object_set_new(e, "mac", text_json(n->mac));
                json_array_append_new(networks, e);
        }
        for (guint i = 0; i < c->ports->len; i++) {
                const BhPort *p = &g_array_index(c->ports, BhPort, i);
                json_t *e = json_object();

                json_object_set_new(e, "container_port", json_integer(p->container_port));
                json_object_set_new(e, "protocol", text_json(p->protocol));
                json_object_set_new(e, "host_ip", text_json(p->host_ip));
                json_object_set_new(e, "host_port", p->host_port ? json_integer(p->host_port) : json_null());
                json_array_append_new(ports, e);
        }

        json_object_set_new(o, "id", text_json(c->id));
        json_object_set_new(o, "name", text_json(bh_container_display_name(c, short_id)));
        json_object_set_new(o, "image", text_json(c->image));
        json_object_set_new(o, "image_id", text_json(c->image_id));
        json_object_set_new(o, "image_digest", text_json(c->image_digest));
        json_object_set_new(o, "runtime", text_json(c->runtime));
        json_object_set_new(o, "state", json_string(bh_container_state_name(c->state)));
        json_object_set_new(o, "known_from", json_string(bh_container_level_name(c->level)));
        json_object_set_new(o, "workload", text_json(c->workload));
        json_object_set_new(o, "application", text_json(c->application));
        json_object_set_new(o, "outer_id", text_json(c->outer_id));
        json_object_set_new(o, "depth", json_integer(c->depth));
        json_object_set_new(o, "labels", labels);
        json_object_set_new(o, "mounts", mounts);
        json_object_set_new(o, "networks", networks);
        json_object_set_new(o, "ports", ports);
        json_object_set_new(o, "privileged", json_boolean(c->privileged));
        json_object_set_new(o, "cap_add", strv_json(c->cap_add));
        json_object_set_new(o, "cap_drop", strv_json(c->cap_drop));
        json_object_set_new(o, "devices", strv_json(c->devices));
        json_object_set_new(o, "security_opt", strv_json(c->security_opt));
        json_object_set_new(o, "network_mode", text_json(c->network_mode));
        json_object_set_new(o, "pid_mode", text_json(c->pid_mode));
        json_object_set_new(o, "ipc_mode", text_json(c->ipc_mode));
        json_object_set_new(o, "host_network", json_boolean(c->host_network));
        json_object_set_new(o, "host_pid", json_boolean(c->host_pid));
        json_object_set_new(o, "host_ipc", json_boolean(c->host_ipc));
        json_object_set_new(o, "host_userns", json_boolean(c->host_userns));
        json_object_set_new(o, "readonly_rootfs", json_boolean(c->readonly_rootfs));
        json_object_set_new(o, "user", text_json(c->user));
        json_object_set_new(o, "env_names", strv_json(c->env_names));
        json_object_set_new(o, "health", text_json(c->health));
        json_object_set_new(o, "init_pid", json_integer(c->init_pid));
        json_object_set_new(o, "created", time_json(c->created_ns));
        json_object_set_new(o, "started", time_json(c->started_ns));
        json_object_set_new(o, "finished", time_json(c->finished_ns));
        json_object_set_new(o, "exit_code", c->finished_ns ? json_integer(c->exit_code) : json_null());
        json_object_set_new(o, "oom_killed", json_boolean(c->oom_killed));
        json_object_set_new(o, "restart_count", json_integer(c->restart_count));
        json_object_set_new(o, "cgroup_parent", text_json(c->cgroup_parent));
        json_object_set_new(o, "cgroup_paths", strv_json(c->cgroup_paths));
        json_object_set_new(o, "refused", json_integer(c->refused));
        return o;
}
