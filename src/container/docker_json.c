/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker_json.h"

#include <gio/gio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/privileges.h"
#include "container/workload.h"

#define API_NEWEST_KNOWN "1.41" /* Docker 20.10; newer engines still answer it or say what their oldest is */

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

static gint64 int_of(const json_t *o, const char *key) {
        const json_t *v = json_object_get(o, key);

        return json_is_integer(v) ? (gint64) json_integer_value(v) : 0;
}

static gint32 int32_of(const json_t *o, const char *key) {
        gint64 v = int_of(o, key);

        return v >= G_MININT32 && v <= G_MAXINT32 ? (gint32) v : 0;
}

static gboolean bool_of(const json_t *o, const char *key) {
        return json_is_true(json_object_get(o, key));
}

static gboolean refuse(GError **error, const char *what) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the Docker Engine's answer is not understood: %s", what);
        return FALSE;
}

json_t *bh_docker_json_load(char *data, gsize len, GError **error) {
        json_error_t why;

        /* the only place where a backslash is not the start of an escape is outside strings, where it is an error anyway */
        for (gsize i = 0; i + 1 < len; i++) {
                if (data[i] != '\\')
                        continue;
                if (data[i + 1] == 'u' && len - i >= 6 && !memcmp(data + i + 2, "0000", 4))
                        memcpy(data + i + 2, "2400", 4);
                i++;
        }
        json_t *doc = json_loadb(data, len, 0, &why);
        if (!doc)
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the Docker Engine's answer is not JSON: %s at byte %d of %zu", why.text, why.position, len);
        return doc;
}

gboolean bh_docker_id_is_safe(const char *id) {
        gsize n = strlen(id);

        if (!n || n > 128 || id[0] == '.')
                return FALSE;
        for (gsize i = 0; i < n; i++)
                if (!g_ascii_isalnum(id[i]) && !strchr("_-.:", id[i]))
                        return FALSE;
        return TRUE;
}

static gboolean decides_workload(const char *key) {
        return g_str_has_prefix(key, "com.docker.") || g_str_has_prefix(key, "io.kubernetes.") || g_str_has_prefix(key, "io.podman.compose.") ||
               g_str_has_prefix(key, "app.kubernetes.io/");
}

static void take_labels(BhContainer *c, const json_t *labels) {
        const char *key;
        json_t *value;

        /* the deciding ones first: a container with a thousand labels must not push them out over the bound */
        for (int pass = 0; pass < 2; pass++)
                json_object_foreach((json_t *) labels, key, value) {
                        if (decides_workload(key) != (pass == 0))
                                continue;
                        if (json_is_string(value))
                                bh_container_add_label(c, key, json_string_value(value));
                        else
                                c->refused++;
                }
}

/* The strings of an array, each mapped by `map` (NULL = as they are). */
static void take_list(BhContainer *c, char ***field, const json_t *array, char *(*map)(const json_t *)) {
        g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);
        size_t i;
        json_t *e;

        json_array_foreach((json_t *) array, i, e) {
                char *s = map ? map(e) : g_strdup(json_string_value(e));

                if (!s || out->len >= BH_CONTAINER_MAX_LIST || strlen(s) > BH_CONTAINER_MAX_TEXT) {
                        c->refused++;
                        g_free(s);
                        continue;
                }
                g_ptr_array_add(out, s);
        }
        g_ptr_array_add(out, NULL);
        g_strfreev(*field);
        *field = (char **) g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

static char *env_name(const json_t *e) {
        const char *s = json_string_value(e);

        return s ? g_strndup(s, strcspn(s, "=")) : NULL;
}

static char *device_path(const json_t *e) {
        return json_is_object(e) ? g_strdup(text_of(e, "PathOnHost")) : NULL;
}

/* A seccomp profile stands there whole, with tens of kilobytes. */
static char *security_option(const json_t *e) {
        const char *s = json_string_value(e);

        if (s && g_str_has_prefix(s, "seccomp") && (s[7] == '=' || s[7] == ':') && s[8 + strspn(s + 8, " \t\r\n")] == '{')
                return g_strdup("seccomp=custom");
        return g_strdup(s);
}

static gboolean option_is(const char *option, const char *key, const char **value) {
        gsize n = strlen(key);

        if (strncmp(option, key, n) || (option[n] != '=' && option[n] != ':'))
                return FALSE;
        *value = option + n + 1;
        return TRUE;
}

/* seccomp, LSM, no_new_privileges: what was asked for and, of the LSM, what the engine made of it. Defaults are the engine's: bh_docker_apply_info(). */
static void take_posture(BhContainer *c, const json_t *doc) {
        const char *apparmor = text_of(doc, "AppArmorProfile"), *selinux = text_of(doc, "ProcessLabel"), *mode = text_of(json_object_get(doc, "HostConfig"), "NetworkMode"), *value;
        g_autofree char *lsm = NULL;

        for (char **o = c->security_opt; *o; o++) {
                if (option_is(*o, "seccomp", &value))
                        bh_container_set(c, &c->seccomp, !strcmp(value, "builtin") ? "default" : value);
                else if (!strcmp(*o, "no-new-privileges") || (option_is(*o, "no-new-privileges", &value) && !strcmp(value, "true")))
                        c->no_new_privileges = TRUE;
        }
        if (c->privileged && !*c->seccomp)
                bh_container_set(c, &c->seccomp, "unconfined");
        if (!strcmp(apparmor, "unconfined") || !strcmp(selinux, "disable"))
                lsm = g_strdup("unconfined");
        else if (*apparmor)
                lsm = g_strconcat("apparmor:", apparmor, NULL);
        else if (*selinux)
                lsm = g_strconcat("selinux:", selinux, NULL);
        bh_container_set(c, &c->lsm, lsm);
        if (g_str_has_prefix(mode, "container:"))
                bh_container_set(c, &c->network_of, mode + strlen("container:"));
}

static void take_limits(BhContainer *c, const json_t *host) {
        gint64 quota = MAX(int_of(host, "CpuQuota"), 0), period = int_of(host, "CpuPeriod");

        c->memory_limit = MAX(int_of(host, "Memory"), 0);
        c->cpu_limit = MAX(int_of(host, "NanoCpus"), 0);
        if (!c->cpu_limit && quota && quota < G_MAXINT64 / 1000000000)
                c->cpu_limit = quota * 1000000000 / (period > 0 ? period : 100000);
        c->pids_limit = MAX(int_of(host, "PidsLimit"), 0);
        bh_container_set(c, &c->restart_policy, text_of(json_object_get(host, "RestartPolicy"), "Name"));
}

/* {"CMD", …}, {"CMD-SHELL", line}, {"NONE"} */
static void take_health(BhContainer *c, const json_t *config) {
        json_t *test = json_object_get(json_object_get(config, "Healthcheck"), "Test"), *shell = json_object_get(config, "Shell"), *all = json_array(), *e;
        const char *kind = json_string_value(json_array_get(test, 0));
        size_t i;

        if (!g_strcmp0(kind, "NONE")) {
                json_array_append_new(all, json_string("NONE"));
        } else if (!g_strcmp0(kind, "CMD") || !g_strcmp0(kind, "CMD-SHELL")) {
                if (kind[3] && json_array_size(shell)) {
                        json_array_extend(all, shell);
                } else if (kind[3]) {
                        json_array_append_new(all, json_string("/bin/sh"));
                        json_array_append_new(all, json_string("-c"));
                }
                json_array_foreach(test, i, e)
                        if (i)
                                json_array_append(all, e);
        }
        take_list(c, &c->health_command, all, NULL);
        json_decref(all);
}

static void take_command(BhContainer *c, const json_t *doc) {
        json_t *all = json_array();

        if (*text_of(doc, "Path"))
                json_array_append(all, json_object_get(doc, "Path"));
        if (json_is_array(json_object_get(doc, "Args")))
                json_array_extend(all, json_object_get(doc, "Args"));
        take_list(c, &c->command, all, NULL);
        json_decref(all);
        take_health(c, json_object_get(doc, "Config"));
}

static void take_mounts(BhContainer *c, const json_t *mounts) {
        size_t i;
        json_t *m;

        json_array_foreach((json_t *) mounts, i, m) {
                if (!json_is_object(m)) {
                        c->refused++;
                        continue;
                }
                bh_container_add_mount(c, text_of(m, "Type"), text_of(m, "Source"), text_of(m, "Destination"), bool_of(m, "RW"));
        }
}

/* Names that Docker's resolver answers to in a network. Engines before 25 put the beginning of the container's id among them. */
static char **aliases_of(BhContainer *c, const json_t *network) {
        g_autoptr(GPtrArray) out = g_ptr_array_new();
        size_t i;
        json_t *e;

        json_array_foreach(json_object_get(network, "Aliases"), i, e) {
                const char *s = json_string_value(e);

                if (!s || strlen(s) > 255 || out->len >= BH_CONTAINER_MAX_ALIASES)
                        c->refused++;
                else if (*s && !(strlen(s) == BH_CONTAINER_ID_SHORT && g_str_has_prefix(c->id, s)))
                        g_ptr_array_add(out, g_strdup(s));
        }
        g_ptr_array_add(out, NULL);
        return (char **) g_ptr_array_steal(out, NULL);
}

static void take_networks(BhContainer *c, const json_t *networks) {
        const char *name;
        json_t *n;

        json_object_foreach((json_t *) networks, name, n) {
                if (!json_is_object(n) || c->networks->len >= BH_CONTAINER_MAX_LIST || strlen(name) > BH_CONTAINER_MAX_TEXT) {
                        c->refused++;
                        continue;
                }
                BhContainerNetwork out = {
                        .name = g_strdup(name),
                        .id = g_strndup(text_of(n, "NetworkID"), 128),
                        .ip = g_strndup(text_of(n, "IPAddress"), 64),
                        .ip6 = g_strndup(text_of(n, "GlobalIPv6Address"), 64),
                        .mac = g_strndup(text_of(n, "MacAddress"), 64),
                        .aliases = aliases_of(c, n),
                };
                g_array_append_val(c->networks, out);
        }
}

static void add_port(BhContainer *c, const char *spec, const char *host_ip, const char *host_port) {
        char *end;
        guint64 port = g_ascii_strtoull(spec, &end, 10), published = g_ascii_strtoull(host_port, NULL, 10);

        if (end == spec || (*end && *end != '/') || !port || port > G_MAXUINT16 || published > G_MAXUINT16 || c->ports->len >= BH_CONTAINER_MAX_LIST) {
                c->refused++;
                return;
        }
        BhPort p = { .host_ip = g_strndup(host_ip, 64), .container_port = (guint16) port, .host_port = (guint16) published };
        g_strlcpy(p.protocol, *end == '/' ? end + 1 : "tcp", sizeof p.protocol);
        g_array_append_val(c->ports, p);
}

/* {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": null} */
static void take_ports(BhContainer *c, const json_t *ports) {
        const char *spec;
        json_t *bindings, *b;

        json_object_foreach((json_t *) ports, spec, bindings) {
                size_t i;

                if (!json_array_size(bindings))
                        add_port(c, spec, "", "");
                json_array_foreach(bindings, i, b)
                        add_port(c, spec, text_of(b, "HostIp"), text_of(b, "HostPort"));
        }
}

static void set_name(BhContainer *c, const char *name) {
        bh_container_set(c, &c->name, name[0] == '/' ? name + 1 : name);
}

BhContainer *bh_docker_json_inspect(const json_t *doc, GError **error) {
        const char *id = text_of(doc, "Id");

        if (!bh_docker_id_is_safe(id)) {
                refuse(error, "a container without an Id");
                return NULL;
        }

        BhContainer *c = bh_container_new(id, "docker");
        const json_t *state = json_object_get(doc, "State"), *config = json_object_get(doc, "Config");
        const json_t *host = json_object_get(doc, "HostConfig"), *net = json_object_get(doc, "NetworkSettings");

        c->level = BH_CONTAINER_FULL;
        set_name(c, text_of(doc, "Name"));
        bh_container_set(c, &c->image, text_of(config, "Image"));
        bh_container_set(c, &c->image_id, text_of(doc, "Image"));
        take_labels(c, json_object_get(config, "Labels"));
        take_mounts(c, json_object_get(doc, "Mounts"));
        take_networks(c, json_object_get(net, "Networks"));
        take_ports(c, json_object_get(net, "Ports"));
        /* until it runs, and with networks of the host, only the wish is there */
        if (!c->ports->len && strcmp(text_of(host, "NetworkMode"), "host"))
                take_ports(c, json_object_get(host, "PortBindings"));

        c->privileged = bool_of(host, "Privileged");
        c->readonly_rootfs = bool_of(host, "ReadonlyRootfs");
        c->host_userns = !strcmp(text_of(host, "UsernsMode"), "host");
        take_list(c, &c->cap_add, json_object_get(host, "CapAdd"), NULL);
        take_list(c, &c->cap_drop, json_object_get(host, "CapDrop"), NULL);
        take_list(c, &c->security_opt, json_object_get(host, "SecurityOpt"), security_option);
        take_list(c, &c->devices, json_object_get(host, "Devices"), device_path);
        take_list(c, &c->env_names, json_object_get(config, "Env"), env_name);
        bh_container_set(c, &c->network_mode, text_of(host, "NetworkMode"));
        bh_container_set(c, &c->pid_mode, text_of(host, "PidMode"));
        bh_container_set(c, &c->ipc_mode, text_of(host, "IpcMode"));
        bh_container_set(c, &c->cgroup_parent, text_of(host, "CgroupParent"));
        bh_container_set(c, &c->user, text_of(config, "User"));
        bh_container_set(c, &c->health, text_of(json_object_get(state, "Health"), "Status"));
        bh_container_set(c, &c->uts_mode, text_of(host, "UTSMode"));
        bh_container_set(c, &c->cgroupns_mode, text_of(host, "CgroupnsMode"));
        take_posture(c, doc);
        take_limits(c, host);
        take_command(c, doc);
        bh_container_docker_capabilities(c);

        c->state = bh_container_state_parse(text_of(state, "Status"));
        c->init_pid = MAX(int32_of(state, "Pid"), 0);
        c->exit_code = int32_of(state, "ExitCode");
        c->oom_killed = bool_of(state, "OOMKilled");
        c->restart_count = (guint32) MAX(int32_of(doc, "RestartCount"), 0);
        c->created_ns = bh_time_parse(text_of(doc, "Created"));
        c->started_ns = bh_time_parse(text_of(state, "StartedAt"));
        c->finished_ns = bh_time_parse(text_of(state, "FinishedAt"));
        /* of a run before the present one the engine keeps the end alone */
        if (c->finished_ns && (c->state == BH_CONTAINER_EXITED || c->state == BH_CONTAINER_DEAD || c->state == BH_CONTAINER_RESTARTING))
                bh_container_add_run(c, c->started_ns, c->finished_ns, c->exit_code, c->oom_killed, text_of(state, "Error"), TRUE);
        bh_container_finish(c);
        return c;
}

BhContainer *bh_docker_json_list_entry(const json_t *entry, GError **error) {
        const char *id = text_of(entry, "Id");
        gint64 created = int_of(entry, "Created");

        if (!bh_docker_id_is_safe(id)) {
                refuse(error, "a listed container without an Id");
                return NULL;
        }

        BhContainer *c = bh_container_new(id, "docker");
        c->level = BH_CONTAINER_FROM_EVENT;
        /* with links there are several names; the container's own has no further slash */
        size_t i;
        json_t *n;
        json_array_foreach(json_object_get(entry, "Names"), i, n) {
                const char *name = json_string_value(n);

                if (name && name[0] && (!*c->name || !strchr(name + 1, '/')))
                        set_name(c, name);
        }
        bh_container_set(c, &c->image, text_of(entry, "Image"));
        bh_container_set(c, &c->image_id, text_of(entry, "ImageID"));
        c->state = bh_container_state_parse(text_of(entry, "State"));
        c->created_ns = created > 0 && created < G_MAXINT64 / 1000000000 ? created * 1000000000 : 0;
        bh_container_set(c, &c->network_mode, text_of(json_object_get(entry, "HostConfig"), "NetworkMode"));
        take_labels(c, json_object_get(entry, "Labels"));
        take_mounts(c, json_object_get(entry, "Mounts"));
        take_networks(c, json_object_get(json_object_get(entry, "NetworkSettings"), "Networks"));
        bh_container_finish(c);
        /* the engine lists an image by its id once its tag went to a newer one: what the container was made from, and so its workload, is the inspect's to tell */
        g_autofree char *repository = bh_workload_image_repository(c->image);
        if (!*repository && !bh_container_label(c, "com.docker.swarm.service.name") && !bh_container_label(c, "com.docker.compose.service") &&
            !bh_container_label(c, "io.kubernetes.pod.name"))
                bh_container_set(c, &c->workload, "");
        return c;
}

static gint by_key(gconstpointer a, gconstpointer b) {
        return strcmp(((const BhKeyValue *) a)->key, ((const BhKeyValue *) b)->key);
}

static void take_attributes(BhRuntimeEvent *ev, const json_t *attributes) {
        static const char *const ours[] = { "name", "image", "execID", "exitCode", "signal", "container", "oldName", "type", "driver", "propagation",
                                            "destination", "read/write" };
        const char *key;
        json_t *value;

        for (int pass = 0; pass < 2; pass++)
                json_object_foreach((json_t *) attributes, key, value) {
                        gboolean first = decides_workload(key);

                        for (gsize i = 0; i < G_N_ELEMENTS(ours); i++)
                                first |= !strcmp(key, ours[i]);
                        if (first != (pass == 0))
                                continue;
                        if (!json_is_string(value) || ev->attributes->len >= BH_RUNTIME_EVENT_MAX_ATTRIBUTES || strlen(key) > BH_CONTAINER_MAX_LABEL_KEY) {
                                ev->refused++;
                                continue;
                        }
                        const char *s = json_string_value(value), *end = s + strlen(s);
                        if (end - s > BH_CONTAINER_MAX_LABEL_VALUE) {
                                end = g_utf8_find_prev_char(s, s + BH_CONTAINER_MAX_LABEL_VALUE);
                                ev->refused++;
                        }
                        BhKeyValue a = { g_strdup(key), g_strndup(s, (gsize) (end - s)) };
                        g_array_append_val(ev->attributes, a);
                }
        g_array_sort(ev->attributes, by_key);
}

BhRuntimeEvent *bh_docker_json_event(const json_t *doc, GError **error) {
        static const struct {
                const char *name;
                BhRuntimeKind kind;
        } kinds[] = {
                { "container", BH_RUNTIME_CONTAINER }, { "image", BH_RUNTIME_IMAGE },   { "network", BH_RUNTIME_NETWORK },
                { "volume", BH_RUNTIME_VOLUME },       { "daemon", BH_RUNTIME_DAEMON },
        };
        const char *type = text_of(doc, "Type"), *action = text_of(doc, "Action");
        const json_t *actor = json_object_get(doc, "Actor");
        BhRuntimeKind kind = BH_RUNTIME_OTHER;
        gint64 ns = int_of(doc, "timeNano");

        if (!*type || !*action || strlen(type) > BH_CONTAINER_MAX_TEXT) {
                refuse(error, "an event without Type or Action");
                return NULL;
        }
        for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++)
                if (!strcmp(type, kinds[i].name))
                        kind = kinds[i].kind;
        if (ns <= 0) {
                gint64 seconds = int_of(doc, "time");
                ns = seconds > 0 && seconds < G_MAXINT64 / 1000000000 ? seconds * 1000000000 : 0;
        }

        /* "exec_create: sh -c id", "health_status: healthy" */
        const char *colon = strstr(action, ": ");
        g_autofree char *verb = colon ? g_strndup(action, (gsize) (colon - action)) : g_strndup(action, BH_CONTAINER_MAX_TEXT);
        g_autofree char *actor_id = g_strndup(text_of(actor, "ID"), BH_CONTAINER_MAX_TEXT);
        BhRuntimeEvent *ev = bh_runtime_event_new(kind, type, verb, actor_id, ns);

        take_attributes(ev, json_object_get(actor, "Attributes"));
        if (colon) {
                g_free(ev->detail);
                ev->detail = g_strdup(colon + 2);
        }

        const char *v = bh_runtime_event_attribute(ev, "execID");
        if (v && g_str_has_prefix(verb, "exec_")) {
                g_free(ev->exec_id);
                ev->exec_id = g_strndup(v, 128);
                g_free(ev->exec_command);
                ev->exec_command = g_strdup(ev->detail);
        }
        v = bh_runtime_event_attribute(ev, "exitCode");
        if (v && (!strcmp(verb, "die") || !strcmp(verb, "exec_die")))
                ev->exit_code = atoi(v);
        v = bh_runtime_event_attribute(ev, "signal");
        if (v && !strcmp(verb, "kill"))
                ev->signal = atoi(v);
        return ev;
}

BhContainer *bh_docker_event_container(const BhRuntimeEvent *ev) {
        /* what the engine itself adds to the labels for some action or other */
        static const char *const added[] = { "name", "image", "execID", "exitCode", "signal", "oldName", "execDuration", "comment", "imageID", "imageRef" };
        BhContainer *c = bh_container_new(ev->actor_id, "docker");
        const char *name = bh_runtime_event_attribute(ev, "name"), *image = bh_runtime_event_attribute(ev, "image");

        /* an event that came without its attributes describes nothing */
        c->level = name || image ? BH_CONTAINER_FROM_EVENT : BH_CONTAINER_FROM_CGROUP;
        set_name(c, name ? name : "");
        bh_container_set(c, &c->image, image);
        for (guint i = 0; i < ev->attributes->len; i++) {
                const BhKeyValue *a = &g_array_index(ev->attributes, BhKeyValue, i);
                gboolean label = TRUE;

                for (gsize j = 0; j < G_N_ELEMENTS(added); j++)
                        label &= strcmp(a->key, added[j]) != 0;
                if (label)
                        bh_container_add_label(c, a->key, a->value);
        }
        if (!strcmp(ev->action, "create"))
                c->created_ns = ev->time_ns;
        c->refused += ev->refused;
        bh_container_finish(c);
        return c;
}

gboolean bh_docker_json_exec(const json_t *doc, gint32 *pid, gboolean *running, GError **error) {
        if (!json_is_object(doc) || !json_is_boolean(json_object_get(doc, "Running")))
                return refuse(error, "an exec without Running");
        *pid = MAX(int32_of(doc, "Pid"), 0);
        *running = bool_of(doc, "Running");
        return TRUE;
}

char *bh_docker_json_image_digest(const json_t *doc, const char *image) {
        g_autofree char *repo = bh_workload_image_repository(image);
        const char *first = NULL;
        size_t i;
        json_t *d;

        json_array_foreach(json_object_get(doc, "RepoDigests"), i, d) {
                const char *s = json_string_value(d);
                const char *at = s ? strchr(s, '@') : NULL;

                if (!at || strlen(s) > BH_CONTAINER_MAX_TEXT)
                        continue;
                if ((gsize) (at - s) == strlen(repo) && !strncmp(s, repo, strlen(repo)))
                        return g_strdup(s);
                if (!first)
                        first = s;
        }
        return g_strdup(first ? first : "");
}

char **bh_docker_json_image_layers(const json_t *doc) {
        GPtrArray *out = g_ptr_array_new();
        size_t i;
        json_t *l;

        json_array_foreach(json_object_get(json_object_get(doc, "RootFS"), "Layers"), i, l) {
                const char *s = json_string_value(l);

                if (s && strlen(s) <= 256 && out->len < BH_CONTAINER_MAX_LIST)
                        g_ptr_array_add(out, g_strdup(s));
        }
        g_ptr_array_add(out, NULL);
        return (char **) g_ptr_array_free(out, FALSE);
}

/* "name=seccomp,profile=builtin" */
static gboolean security_feature(const char *text, const char *name) {
        g_autofree char *begin = g_strconcat("name=", name, NULL);
        gsize n = strlen(begin);

        return !strncmp(text, begin, n) && (!text[n] || text[n] == ',');
}

gboolean bh_docker_json_info(const json_t *doc, BhDockerInfo *out, GError **error) {
        const json_t *swarm = json_object_get(doc, "Swarm");
        size_t i;
        json_t *o;

        if (!json_is_object(doc) || !json_is_array(json_object_get(doc, "SecurityOptions")))
                return refuse(error, "information without SecurityOptions");
        *out = (BhDockerInfo) { .known = TRUE };
        g_strlcpy(out->seccomp, "unconfined", sizeof out->seccomp);
        json_array_foreach(json_object_get(doc, "SecurityOptions"), i, o) {
                const char *s = json_string_value(o) ? json_string_value(o) : "", *profile = strstr(s, "profile=");

                if (security_feature(s, "seccomp")) {
                        profile = profile ? profile + strlen("profile=") : "default";
                        g_strlcpy(out->seccomp, !strcmp(profile, "builtin") ? "default" : profile, sizeof out->seccomp);
                } else if (security_feature(s, "apparmor") || security_feature(s, "selinux")) {
                        out->lsm = TRUE;
                } else if (security_feature(s, "no-new-privileges")) {
                        out->no_new_privileges = TRUE;
                }
        }
        g_strlcpy(out->swarm_state, text_of(swarm, "LocalNodeState"), sizeof out->swarm_state);
        g_strlcpy(out->node_id, text_of(swarm, "NodeID"), sizeof out->node_id);
        g_strlcpy(out->node_address, text_of(swarm, "NodeAddr"), sizeof out->node_address);
        g_strlcpy(out->cluster_id, text_of(json_object_get(swarm, "Cluster"), "ID"), sizeof out->cluster_id);
        g_strlcpy(out->name, text_of(doc, "Name"), sizeof out->name);
        out->manager = bool_of(swarm, "ControlAvailable");
        return TRUE;
}

gboolean bh_docker_apply_info(BhContainer *c, const BhDockerInfo *info) {
        gboolean changed = FALSE;

        if (!info->known || c->level < BH_CONTAINER_FULL)
                return FALSE;
        if (!*c->seccomp) {
                bh_container_set(c, &c->seccomp, info->seccomp);
                changed = TRUE;
        }
        /* with an LSM, an empty label only says that the container has not started yet */
        if (!*c->lsm && !info->lsm) {
                bh_container_set(c, &c->lsm, "unconfined");
                changed = TRUE;
        }
        if (info->no_new_privileges && !c->no_new_privileges) {
                c->no_new_privileges = TRUE;
                changed = TRUE;
        }
        if (changed)
                bh_container_finish(c);
        return changed;
}

/* "1.41" → 1041; -1 for what is not a version. */
static int api_number(const char *s) {
        int major, minor, used = 0;

        if (sscanf(s, "%3d.%3d%n", &major, &minor, &used) != 2 || s[used] || major < 0 || minor < 0)
                return -1;
        return major * 1000 + minor;
}

gboolean bh_docker_json_version(const json_t *doc, BhDockerVersion *out, GError **error) {
        const char *api = text_of(doc, "ApiVersion"), *min = text_of(doc, "MinAPIVersion");

        if (api_number(api) < 0)
                return refuse(error, "no ApiVersion; is this the socket of a Docker Engine?");
        g_strlcpy(out->version, text_of(doc, "Version"), sizeof out->version);
        g_strlcpy(out->api_version, api, sizeof out->api_version);
        g_strlcpy(out->min_api_version, api_number(min) < 0 ? "" : min, sizeof out->min_api_version);
        return TRUE;
}

void bh_docker_pick_api(const BhDockerVersion *v, char out[16]) {
        const char *pick = API_NEWEST_KNOWN;

        if (api_number(v->api_version) < api_number(pick))
                pick = v->api_version;
        if (*v->min_api_version && api_number(v->min_api_version) > api_number(pick))
                pick = v->min_api_version;
        g_strlcpy(out, pick, 16);
}
