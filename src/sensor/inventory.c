/* SPDX-License-Identifier: Apache-2.0 */
#include "inventory.h"

#include "bus/body.h"
#include "bus/bus.pb-c.h"

typedef Bulkhead__Bus__V1__Container Container;
typedef Bulkhead__Bus__V1__Inventory Inventory;

/* One message's memory besides the containers' own: freed as a whole. */
typedef struct {
        GPtrArray *blocks;
} Arena;

static gpointer alloc(Arena *a, gsize n, gsize size) {
        gpointer p = g_malloc0_n(MAX(n, 1), size);

        g_ptr_array_add(a->blocks, p);
        return p;
}

static ProtobufCBinaryData *texts(Arena *a, char *const *list, gsize *n) {
        *n = g_strv_length((char **) list);

        ProtobufCBinaryData *out = alloc(a, *n, sizeof(*out));
        for (gsize i = 0; i < *n; i++)
                out[i] = bh_bus_text(list[i]);
        return out;
}

/* An array of pointers to n structs of that type, each initialised. */
#define ROWS(a, type, init, n) \
        ({ \
                type **rows_ = alloc(a, n, sizeof(*rows_)); \
                type *structs_ = alloc(a, n, sizeof(*structs_)); \
                for (gsize i_ = 0; i_ < (n); i_++) { \
                        init(&structs_[i_]); \
                        rows_[i_] = &structs_[i_]; \
                } \
                rows_; \
        })

static void lists(Arena *a, const BhContainer *c, Container *out) {
        out->n_labels = c->labels->len;
        out->labels = ROWS(a, Bulkhead__Bus__V1__KeyValue, bulkhead__bus__v1__key_value__init, out->n_labels);
        for (guint i = 0; i < c->labels->len; i++) {
                const BhKeyValue *kv = &g_array_index(c->labels, BhKeyValue, i);

                out->labels[i]->key = bh_bus_text(kv->key);
                out->labels[i]->value = bh_bus_text(kv->value);
        }
        out->n_mounts = c->mounts->len;
        out->mounts = ROWS(a, Bulkhead__Bus__V1__Mount, bulkhead__bus__v1__mount__init, out->n_mounts);
        for (guint i = 0; i < c->mounts->len; i++) {
                const BhMount *m = &g_array_index(c->mounts, BhMount, i);

                out->mounts[i]->type = bh_bus_text(m->type);
                out->mounts[i]->source = bh_bus_text(m->source);
                out->mounts[i]->destination = bh_bus_text(m->destination);
                out->mounts[i]->rw = m->rw;
                out->mounts[i]->sensitive = m->sensitive;
        }
        out->n_networks = c->networks->len;
        out->networks = ROWS(a, Bulkhead__Bus__V1__Network, bulkhead__bus__v1__network__init, out->n_networks);
        for (guint i = 0; i < c->networks->len; i++) {
                const BhContainerNetwork *n = &g_array_index(c->networks, BhContainerNetwork, i);

                out->networks[i]->name = bh_bus_text(n->name);
                out->networks[i]->id = bh_bus_text(n->id);
                out->networks[i]->ip = bh_bus_text(n->ip);
                out->networks[i]->ip6 = bh_bus_text(n->ip6);
                out->networks[i]->mac = bh_bus_text(n->mac);
                out->networks[i]->aliases = texts(a, n->aliases, &out->networks[i]->n_aliases);
        }
        out->n_ports = c->ports->len;
        out->ports = ROWS(a, Bulkhead__Bus__V1__Port, bulkhead__bus__v1__port__init, out->n_ports);
        for (guint i = 0; i < c->ports->len; i++) {
                const BhPort *p = &g_array_index(c->ports, BhPort, i);

                out->ports[i]->host_ip = bh_bus_text(p->host_ip);
                out->ports[i]->protocol = bh_bus_text(p->protocol);
                out->ports[i]->container_port = p->container_port;
                out->ports[i]->host_port = p->host_port;
        }
        out->cap_add = texts(a, c->cap_add, &out->n_cap_add);
        out->cap_drop = texts(a, c->cap_drop, &out->n_cap_drop);
        out->devices = texts(a, c->devices, &out->n_devices);
        out->security_opt = texts(a, c->security_opt, &out->n_security_opt);
        out->env_names = texts(a, c->env_names, &out->n_env_names);
        out->cgroup_paths = texts(a, c->cgroup_paths, &out->n_cgroup_paths);
        out->layers = texts(a, c->layers, &out->n_layers);
        out->command = texts(a, c->command, &out->n_command);
        out->health_command = texts(a, c->health_command, &out->n_health_command);
        out->capabilities = texts(a, c->capabilities, &out->n_capabilities);
        out->risks = texts(a, c->risks, &out->n_risks);
        out->n_runs = c->runs->len;
        out->runs = ROWS(a, Bulkhead__Bus__V1__Run, bulkhead__bus__v1__run__init, out->n_runs);
        for (guint i = 0; i < c->runs->len; i++) {
                const BhRun *r = &g_array_index(c->runs, BhRun, i);

                out->runs[i]->started_ns = r->started_ns;
                out->runs[i]->finished_ns = r->finished_ns;
                out->runs[i]->exit_code = r->exit_code;
                out->runs[i]->oom_killed = r->oom_killed;
                out->runs[i]->error = bh_bus_text(r->error);
        }
}

static guint32 halve(size_t *n) {
        size_t cut = *n - *n / 2;

        *n /= 2;
        return (guint32) cut;
}

static gsize shorten(Container *c) {
        gsize size = protobuf_c_message_get_packed_size(&c->base);

        while (size > BH_INVENTORY_CONTAINER_BYTES) {
                guint32 cut = halve(&c->n_labels) + halve(&c->n_mounts) + halve(&c->n_networks) + halve(&c->n_ports) + halve(&c->n_cap_add) + halve(&c->n_cap_drop) +
                              halve(&c->n_devices) + halve(&c->n_security_opt) + halve(&c->n_env_names) + halve(&c->n_cgroup_paths) +
                              halve(&c->n_layers) + halve(&c->n_command) + halve(&c->n_health_command) + halve(&c->n_runs) + halve(&c->n_risks);

                if (!cut)
                        break; /* texts alone are bounded to less */
                c->refused += cut;
                size = protobuf_c_message_get_packed_size(&c->base);
        }
        return size;
}

static void describe(Arena *a, const BhContainer *c, Container *out) {
        out->id = bh_bus_text(c->id);
        out->name = bh_bus_text(c->name);
        out->image = bh_bus_text(c->image);
        out->image_id = bh_bus_text(c->image_id);
        out->image_digest = bh_bus_text(c->image_digest);
        out->runtime = c->runtime;
        out->state = (char *) bh_container_state_name(c->state);
        out->level = (char *) bh_container_level_name(c->level);
        out->workload = bh_bus_text(c->workload);
        out->application = bh_bus_text(c->application);
        out->outer_id = bh_bus_text(c->outer_id);
        out->depth = c->depth;
        out->network_mode = bh_bus_text(c->network_mode);
        out->pid_mode = bh_bus_text(c->pid_mode);
        out->ipc_mode = bh_bus_text(c->ipc_mode);
        out->user = bh_bus_text(c->user);
        out->health = bh_bus_text(c->health);
        out->cgroup_parent = bh_bus_text(c->cgroup_parent);
        out->privileged = c->privileged;
        out->host_network = c->host_network;
        out->host_pid = c->host_pid;
        out->host_ipc = c->host_ipc;
        out->host_userns = c->host_userns;
        out->readonly_rootfs = c->readonly_rootfs;
        out->oom_killed = c->oom_killed;
        out->init_pid = c->init_pid;
        out->created_ns = c->created_ns;
        out->started_ns = c->started_ns;
        out->finished_ns = c->finished_ns;
        out->exit_code = c->exit_code;
        out->restart_count = c->restart_count;
        out->refused = c->refused;
        out->created_by = bh_bus_text(c->created_by);
        out->started_by = bh_bus_text(c->started_by);
        out->ended_by = bh_bus_text(c->ended_by);
        out->seccomp = bh_bus_text(c->seccomp);
        out->lsm = bh_bus_text(c->lsm);
        out->uts_mode = bh_bus_text(c->uts_mode);
        out->host_uts = c->host_uts;
        out->host_cgroupns = c->host_cgroupns;
        out->no_new_privileges = c->no_new_privileges;
        out->memory_limit = c->memory_limit;
        out->cpu_limit = c->cpu_limit;
        out->pids_limit = c->pids_limit;
        out->restart_policy = bh_bus_text(c->restart_policy);
        out->net_ns = c->net_ns;
        out->network_of = bh_bus_text(c->network_of);
        lists(a, c, out);
}

GBytes *bh_inventory_container(const BhContainer *c) {
        Arena a = { g_ptr_array_new_with_free_func(g_free) };
        Container m;

        bulkhead__bus__v1__container__init(&m);
        describe(&a, c, &m);
        shorten(&m);
        GBytes *body = bh_bus_body_pack(&m.base);
        g_ptr_array_unref(a.blocks);
        return body;
}

GPtrArray *bh_inventory_pack(const char *node, const char *boot_id, const GPtrArray *containers, gboolean full, gint64 time_ns) {
        GPtrArray *out = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        guint done = 0;

        while (done < containers->len || (full && !out->len)) {
                Arena a = { g_ptr_array_new_with_free_func(g_free) };
                guint left = containers->len - done;
                Inventory m;
                gsize bytes = 0;

                bulkhead__bus__v1__inventory__init(&m);
                m.node = (char *) node;
                m.boot_id = (char *) boot_id;
                m.kind = (char *) "container";
                m.full = full && !out->len;
                m.time_ns = time_ns;
                m.upsert = alloc(&a, left, sizeof(*m.upsert));
                for (; m.n_upsert < left; done++) {
                        Container *c = alloc(&a, 1, sizeof(*c));

                        bulkhead__bus__v1__container__init(c);
                        describe(&a, g_ptr_array_index(containers, done), c);
                        bytes += shorten(c);
                        if (m.n_upsert && bytes > BH_INVENTORY_MESSAGE_BYTES)
                                break;
                        m.upsert[m.n_upsert++] = c;
                }
                g_ptr_array_add(out, bh_bus_body_pack(&m.base));
                g_ptr_array_unref(a.blocks);
        }
        return out;
}

GBytes *bh_inventory_resources(const char *node, const BhResourceSet *set, gint64 time_ns) {
        Arena a = { g_ptr_array_new_with_free_func(g_free) };
        Bulkhead__Bus__V1__ResourceList m;

        bulkhead__bus__v1__resource_list__init(&m);
        m.node = (char *) node;
        m.source = set->source;
        m.scope = bh_bus_text(set->scope);
        m.time_ns = time_ns;
        m.refused = set->refused;
        m.n_resources = set->resources->len;
        m.resources = ROWS(&a, Bulkhead__Bus__V1__Resource, bulkhead__bus__v1__resource__init, m.n_resources);
        for (guint i = 0; i < set->resources->len; i++) {
                const BhResource *r = set->resources->pdata[i];
                Bulkhead__Bus__V1__Resource *out = m.resources[i];

                out->kind = r->kind;
                out->id = bh_bus_text(r->id);
                out->name = bh_bus_text(r->name);
                out->application = bh_bus_text(r->application);
                out->detail = bh_bus_text(r->detail);
                out->created_ns = r->created_ns;
                out->updated_ns = r->updated_ns;
                out->n_labels = r->labels->len;
                out->labels = ROWS(&a, Bulkhead__Bus__V1__KeyValue, bulkhead__bus__v1__key_value__init, out->n_labels);
                for (guint j = 0; j < r->labels->len; j++) {
                        const BhKeyValue *l = &g_array_index(r->labels, BhKeyValue, j);

                        out->labels[j]->key = bh_bus_text(l->key);
                        out->labels[j]->value = bh_bus_text(l->value);
                }
        }
        GBytes *body = bh_bus_body_pack(&m.base);
        g_ptr_array_unref(a.blocks);
        return body;
}
