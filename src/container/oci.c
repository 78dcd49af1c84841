/* SPDX-License-Identifier: Apache-2.0 */
#include "container/oci.h"

#include <gio/gio.h>
#include <string.h>

#include "container/docker_json.h"
#include "container/privileges.h"

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

static gint64 int_of(const json_t *o, const char *key) {
        const json_t *v = json_object_get(o, key);

        return json_is_integer(v) ? (gint64) json_integer_value(v) : 0;
}

json_t *bh_oci_load(char *data, gsize len, GError **error) {
        if (len > BH_OCI_MAX_TEXT) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "a container's specification has %zu bytes, more than the %u that are read", len, BH_OCI_MAX_TEXT);
                return NULL;
        }
        json_t *doc = bh_docker_json_load(data, len, error);
        if (doc && !json_is_object(doc)) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "a container's specification is no JSON object");
                g_clear_pointer(&doc, json_decref);
        }
        return doc;
}

const char *bh_oci_annotation(const json_t *spec, const char *key) {
        return json_string_value(json_object_get(json_object_get(spec, "annotations"), key));
}

/* The strings of an array; `end` (0: none): each up to that character. */
static void take_list(BhContainer *c, char ***field, const json_t *array, char end) {
        g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);
        size_t i;
        json_t *e;

        json_array_foreach((json_t *) array, i, e) {
                const char *s = json_string_value(e), *stop = s && end ? strchr(s, end) : NULL;

                if (s)
                        g_ptr_array_add(out, stop ? g_strndup(s, (gsize) (stop - s)) : g_strdup(s));
                else
                        c->refused++;
        }
        bh_container_set_list(c, field, (const char *const *) out->pdata, out->len);
}

static gboolean has_option(const json_t *options, const char *wanted) {
        size_t i;
        json_t *o;

        json_array_foreach((json_t *) options, i, o)
                if (!g_strcmp0(json_string_value(o), wanted))
                        return TRUE;
        return FALSE;
}

/* podman and CRI-O put hosts, resolv.conf, … of a container's own into it from "…-containers/ID/userdata", as Docker does from a place that it does not tell. */
static gboolean is_own_state(const char *source, const char *id) {
        g_autofree char *own = g_strdup_printf("-containers/%s/userdata/", id);

        return strstr(source, own) != NULL;
}

/* What every container gets (proc, tmpfs, devpts, …) is nothing to tell, but for the kernel's settings when they can be written. */
static void take_mounts(BhContainer *c, const json_t *mounts) {
        size_t i;
        json_t *m;

        json_array_foreach((json_t *) mounts, i, m) {
                const json_t *options = json_object_get(m, "options");
                const char *type = text_of(m, "type"), *source = text_of(m, "source"), *destination = text_of(m, "destination");
                gboolean bind = !strcmp(type, "bind") || has_option(options, "bind") || has_option(options, "rbind"), rw = !has_option(options, "ro");

                if (bind && source[0] == '/' && !is_own_state(source, c->id))
                        bh_container_add_mount(c, "bind", source, destination, rw);
                else if ((!strcmp(type, "sysfs") || !strcmp(type, "cgroup") || !strcmp(type, "cgroup2")) && rw)
                        bh_container_add_mount(c, type, source, destination, TRUE);
        }
}

static void take_namespaces(BhContainer *c, const json_t *namespaces) {
        const struct {
                const char *type;
                char **mode;
        } known[] = {
                { "network", &c->network_mode }, { "pid", &c->pid_mode }, { "ipc", &c->ipc_mode }, { "uts", &c->uts_mode }, { "cgroup", &c->cgroupns_mode },
        };
        size_t j;
        json_t *n;

        if (!json_is_array(namespaces))
                return;
        for (gsize i = 0; i < G_N_ELEMENTS(known); i++) {
                const char *mode = "host"; /* one that is not listed is the runtime's own */

                json_array_foreach((json_t *) namespaces, j, n) {
                        const char *path = text_of(n, "path");

                        if (strcmp(text_of(n, "type"), known[i].type))
                                continue;
                        mode = !*path ? "private" : g_str_has_prefix(path, "/proc/1/ns/") ? "host" : path;
                        break;
                }
                bh_container_set(c, known[i].mode, mode);
        }
}

static gboolean all_devices(const json_t *resources) {
        size_t i;
        json_t *d;
        gboolean all = FALSE;

        /* later rules count */
        json_array_foreach(json_object_get(resources, "devices"), i, d) {
                gboolean every = (!*text_of(d, "type") || !strcmp(text_of(d, "type"), "a")) && !json_object_get(d, "major") && !json_object_get(d, "minor");

                if (every)
                        all = json_is_true(json_object_get(d, "allow"));
        }
        return all;
}

static void take_limits(BhContainer *c, const json_t *resources) {
        const json_t *cpu = json_object_get(resources, "cpu");
        gint64 quota = MAX(int_of(cpu, "quota"), 0), period = int_of(cpu, "period");

        c->memory_limit = MAX(int_of(json_object_get(resources, "memory"), "limit"), 0);
        /* what runtimes write for "no limit" */
        if (c->memory_limit >= G_MAXINT64 - 4096)
                c->memory_limit = 0;
        if (quota && quota < G_MAXINT64 / 1000000000)
                c->cpu_limit = quota * 1000000000 / (period > 0 ? period : 100000);
        c->pids_limit = MAX(int_of(json_object_get(resources, "pids"), "limit"), 0);
}

/* Containers of a pod say so, and which sandbox holds their network. */
static void take_pod(BhContainer *c, const json_t *spec) {
        static const char *const sandboxes[] = { "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID" };
        static const char *const labels[][2] = {
                { "io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name" },           { "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace" },
                { "io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid" },             { "io.kubernetes.cri.container-name", "io.kubernetes.container.name" },
                { "io.kubernetes.pod.name", "io.kubernetes.pod.name" },                   { "io.kubernetes.pod.namespace", "io.kubernetes.pod.namespace" },
                { "io.kubernetes.pod.uid", "io.kubernetes.pod.uid" },                     { "io.kubernetes.container.name", "io.kubernetes.container.name" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(sandboxes); i++) {
                const char *id = bh_oci_annotation(spec, sandboxes[i]);

                if (id && strcmp(id, c->id))
                        bh_container_set(c, &c->network_of, id);
        }
        for (gsize i = 0; i < G_N_ELEMENTS(labels); i++) {
                const char *value = bh_oci_annotation(spec, labels[i][0]);
                gboolean there = FALSE;

                for (guint j = 0; value && j < c->labels->len; j++)
                        there |= !strcmp(g_array_index(c->labels, BhKeyValue, j).key, labels[i][1]);
                if (value && !there)
                        bh_container_add_label(c, labels[i][1], value);
        }
}

void bh_oci_apply(BhContainer *c, const json_t *spec) {
        const json_t *process = json_object_get(spec, "process"), *linux_ = json_object_get(spec, "linux"), *resources = json_object_get(linux_, "resources");
        const json_t *user = json_object_get(process, "user"), *capabilities = json_object_get(process, "capabilities");
        const char *apparmor = text_of(process, "apparmorProfile"), *selinux = text_of(process, "selinuxLabel"), *cgroup = text_of(linux_, "cgroupsPath");
        g_autofree char *lsm = NULL, *who = NULL;
        size_t i;
        json_t *e;

        take_list(c, &c->command, json_object_get(process, "args"), 0);
        take_list(c, &c->env_names, json_object_get(process, "env"), '=');
        if (json_is_object(user)) {
                who = g_strdup_printf("%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT, int_of(user, "uid"), int_of(user, "gid"));
                bh_container_set(c, &c->user, who);
        }
        g_array_set_size(c->mounts, 0);
        take_mounts(c, json_object_get(spec, "mounts"));
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        json_array_foreach(json_object_get(capabilities, "bounding"), i, e)
                if (json_is_string(e))
                        g_ptr_array_add(names, (gpointer) json_string_value(e));
        g_ptr_array_add(names, NULL);
        bh_container_set_capabilities(c, (const char *const *) names->pdata);
        take_namespaces(c, json_object_get(linux_, "namespaces"));
        take_limits(c, resources);
        c->no_new_privileges = json_is_true(json_object_get(process, "noNewPrivileges"));
        c->readonly_rootfs = json_is_true(json_object_get(json_object_get(spec, "root"), "readonly"));
        c->privileged = all_devices(resources) && g_strv_contains((const char *const *) c->capabilities, "CAP_SYS_ADMIN");
        bh_container_set(c, &c->seccomp, json_is_object(json_object_get(linux_, "seccomp")) ? "filter" : "unconfined");
        lsm = *apparmor && strcmp(apparmor, "unconfined") ? g_strconcat("apparmor:", apparmor, NULL) : *selinux ? g_strconcat("selinux:", selinux, NULL) : g_strdup("unconfined");
        bh_container_set(c, &c->lsm, lsm);

        g_autoptr(GPtrArray) devices = g_ptr_array_new();
        json_array_foreach(json_object_get(linux_, "devices"), i, e)
                if (*text_of(e, "path"))
                        g_ptr_array_add(devices, (gpointer) text_of(e, "path"));
        bh_container_set_list(c, &c->devices, (const char *const *) devices->pdata, devices->len);
        /* "slice:prefix:name" is systemd's to make a path of; it has a shape that is known anyhow */
        if (cgroup[0] == '/' && !strchr(cgroup, ':') && strlen(cgroup) < BH_CONTAINER_MAX_TEXT)
                bh_container_add_cgroup(c, cgroup);
        take_pod(c, spec);
}
