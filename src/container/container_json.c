/* SPDX-License-Identifier: Apache-2.0 */
/* A container as JSON. */
#include "base/escape.h"
#include "container/container.h"

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

static json_t *runs_json(const BhContainer *c) {
        json_t *a = json_array();

        for (guint i = 0; i < c->runs->len; i++) {
                const BhRun *r = &g_array_index(c->runs, BhRun, i);
                json_t *e = json_object();

                json_object_set_new(e, "started", time_json(r->started_ns));
                json_object_set_new(e, "finished", time_json(r->finished_ns));
                json_object_set_new(e, "exit_code", json_integer(r->exit_code));
                json_object_set_new(e, "oom_killed", json_boolean(r->oom_killed));
                json_object_set_new(e, "error", text_json(r->error));
                json_array_append_new(a, e);
        }
        return a;
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
                json_object_set_new(e, "aliases", strv_json(n->aliases));
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
        json_object_set_new(o, "layers", strv_json(c->layers));
        json_object_set_new(o, "created_by", text_json(c->created_by));
        json_object_set_new(o, "started_by", text_json(c->started_by));
        json_object_set_new(o, "ended_by", text_json(c->ended_by));
        json_object_set_new(o, "seccomp", text_json(c->seccomp));
        json_object_set_new(o, "lsm", text_json(c->lsm));
        json_object_set_new(o, "uts_mode", text_json(c->uts_mode));
        json_object_set_new(o, "host_uts", json_boolean(c->host_uts));
        json_object_set_new(o, "host_cgroupns", json_boolean(c->host_cgroupns));
        json_object_set_new(o, "no_new_privileges", json_boolean(c->no_new_privileges));
        json_object_set_new(o, "memory_limit", json_integer(c->memory_limit));
        json_object_set_new(o, "cpu_limit", json_integer(c->cpu_limit));
        json_object_set_new(o, "pids_limit", json_integer(c->pids_limit));
        json_object_set_new(o, "restart_policy", text_json(c->restart_policy));
        json_object_set_new(o, "command", strv_json(c->command));
        json_object_set_new(o, "health_command", strv_json(c->health_command));
        json_object_set_new(o, "runs", runs_json(c));
        json_object_set_new(o, "capabilities", strv_json(c->capabilities));
        json_object_set_new(o, "risks", strv_json(c->risks));
        json_object_set_new(o, "net_ns", json_integer(c->net_ns));
        json_object_set_new(o, "network_of", text_json(c->network_of));
        json_object_set_new(o, "cgroup_parent", text_json(c->cgroup_parent));
        json_object_set_new(o, "cgroup_paths", strv_json(c->cgroup_paths));
        json_object_set_new(o, "refused", json_integer(c->refused));
        return o;
}
