/* SPDX-License-Identifier: Apache-2.0 */
#include "container/docker_things.h"

#include <gio/gio.h>
#include <string.h>

static const char *const paths[BH_DOCKER_THINGS] = {
        [BH_DOCKER_NETWORKS] = "/networks", [BH_DOCKER_VOLUMES] = "/volumes",   [BH_DOCKER_IMAGES] = "/images/json",
        [BH_DOCKER_SERVICES] = "/services", [BH_DOCKER_TASKS] = "/tasks",       [BH_DOCKER_NODES] = "/nodes",
        [BH_DOCKER_CONFIGS] = "/configs",   [BH_DOCKER_SECRETS] = "/secrets",
};

const char *bh_docker_thing_path(BhDockerThing thing) {
        return paths[thing];
}

void bh_docker_things_clear(BhDockerThings *t) {
        for (guint i = 0; i < BH_DOCKER_THINGS; i++)
                g_clear_pointer(&t->answers[i], json_decref);
        g_clear_pointer(&t->inspected, g_ptr_array_unref);
}

/* ---- small readers ---- */

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

static gint64 int_of(const json_t *o, const char *key) {
        const json_t *v = json_object_get(o, key);

        return json_is_integer(v) ? (gint64) json_integer_value(v) : 0;
}

/* A whole way down: at(doc, "Spec", "TaskTemplate", NULL). */
static const json_t *at(const json_t *o, ...) {
        va_list args;
        const char *key;

        va_start(args, o);
        while ((key = va_arg(args, const char *)))
                o = json_object_get(o, key);
        va_end(args);
        return o;
}

static void put_text(json_t *o, const char *key, const char *text) {
        if (*text)
                json_object_set_new(o, key, json_string(text));
}

static void put_int(json_t *o, const char *key, gint64 n) {
        if (n)
                json_object_set_new(o, key, json_integer(n));
}

static void put_true(json_t *o, const char *key, const json_t *from, const char *member) {
        if (json_is_true(json_object_get(from, member)))
                json_object_set_new(o, key, json_true());
}

/* An empty list is left out; what is over the bound is counted in the detail. */
static void put_list(json_t *o, const char *key, json_t *list) {
        gsize over = 0;

        for (; json_array_size(list) > BH_RESOURCE_LIST_MAX; over++)
                json_array_remove(list, json_array_size(list) - 1);
        if (over)
                json_object_set_new(o, "refused", json_integer((json_int_t) over + (json_int_t) int_of(o, "refused")));
        if (json_array_size(list))
                json_object_set_new(o, key, list);
        else
                json_decref(list);
}

static void add_text(json_t *list, const char *text) {
        if (*text)
                json_array_append_new(list, json_string(text));
}

/* The strings of an array. */
static json_t *texts(const json_t *array) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) array, i, e)
                if (json_is_string(e))
                        json_array_append(out, e);
        return out;
}

static json_t *env_names(const json_t *env) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) env, i, e) {
                const char *s = json_string_value(e);
                g_autofree char *name = s ? g_strndup(s, strcspn(s, "=")) : NULL;

                if (name)
                        add_text(out, name);
        }
        return out;
}

static gint by_text(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Keys of a hash table, sorted: the same set must give the same text. */
static GPtrArray *sorted_keys(GHashTable *h) {
        GPtrArray *keys = g_ptr_array_new();
        GHashTableIter it;
        gpointer k;

        g_hash_table_iter_init(&it, h);
        while (g_hash_table_iter_next(&it, &k, NULL))
                g_ptr_array_add(keys, k);
        g_ptr_array_sort(keys, by_text);
        return keys;
}

static json_t *sorted_names(GHashTable *h) {
        g_autoptr(GPtrArray) keys = sorted_keys(h);
        json_t *out = json_array();

        for (guint i = 0; i < keys->len; i++)
                add_text(out, keys->pdata[i]);
        return out;
}

/* "10.0.1.2/24" without the prefix's length. */
static void put_address(json_t *o, const char *key, const char *cidr) {
        g_autofree char *address = g_strndup(cidr, strcspn(cidr, "/"));

        put_text(o, key, address);
}

/* {"ID", "Spec": {"Name", "Labels"}, "CreatedAt", "UpdatedAt"}, as everything of a Swarm has it. NULL without an id. */
static BhResource *swarm_thing(const char *kind, const json_t *doc, const char *name) {
        const char *id = text_of(doc, "ID");

        if (!bh_docker_id_is_safe(id))
                return NULL;
        BhResource *r = bh_resource_new(kind, id, name);
        r->created_ns = bh_time_parse(text_of(doc, "CreatedAt"));
        r->updated_ns = bh_time_parse(text_of(doc, "UpdatedAt"));
        return r;
}

static void add(BhResourceSet *s, BhResource *r) {
        if (!r)
                s->refused++;
        else
                bh_resource_set_add(s, r);
}

/* ---- networks ---- */

/* What stands for the network on this node and is no container (whose key is its id): the load balancer of services, the sandbox of published ports. */
static json_t *sandboxes(const json_t *inspected) {
        json_t *out = json_array(), *e;
        const char *key;

        json_object_foreach(json_object_get(inspected, "Containers"), key, e) {
                json_t *o;

                if (strlen(key) == 64)
                        continue;
                o = json_object();
                put_text(o, "name", key);
                put_address(o, "address", text_of(e, "IPv4Address"));
                put_address(o, "address6", text_of(e, "IPv6Address"));
                json_array_append_new(out, o);
        }
        return out;
}

static json_t *peers_of(const json_t *inspected) {
        g_autoptr(GHashTable) peers = g_hash_table_new(g_str_hash, g_str_equal);
        json_t *e;
        size_t i;

        json_array_foreach(json_object_get(inspected, "Peers"), i, e)
                if (*text_of(e, "IP"))
                        g_hash_table_add(peers, (gpointer) text_of(e, "IP"));
        return sorted_names(peers);
}

static const json_t *inspected_of(const BhDockerThings *t, const char *id) {
        for (guint i = 0; t->inspected && i < t->inspected->len; i++)
                if (!strcmp(text_of(t->inspected->pdata[i], "Id"), id))
                        return t->inspected->pdata[i];
        return NULL;
}

/* The engine takes a subnet's first address for a bridge's gateway, and does not say so of its default bridge. NULL: not IPv4 or IPv6 with room. */
static char *first_address(const char *subnet) {
        g_autoptr(GInetAddressMask) mask = g_inet_address_mask_new_from_string(subnet, NULL);
        guint8 bytes[16];

        if (!mask)
                return NULL;
        GInetAddress *base = g_inet_address_mask_get_address(mask);
        gsize n = g_inet_address_get_native_size(base);
        if (g_inet_address_mask_get_length(mask) + 2 > n * 8)
                return NULL;
        memcpy(bytes, g_inet_address_to_bytes(base), n);
        bytes[n - 1] |= 1;
        g_autoptr(GInetAddress) first = g_inet_address_new_from_bytes(bytes, g_inet_address_get_family(base));
        return g_inet_address_to_string(first);
}

static BhResource *network(const BhDockerThings *t, const json_t *doc, gboolean with_node) {
        const char *id = text_of(doc, "Id"), *driver = text_of(doc, "Driver");
        const json_t *options = json_object_get(doc, "Options"), *inspected = with_node ? inspected_of(t, id) : NULL;
        json_t *detail, *subnets, *e;
        size_t i;

        if (!bh_docker_id_is_safe(id))
                return NULL;
        BhResource *r = bh_resource_new("network", id, text_of(doc, "Name"));
        r->created_ns = bh_time_parse(text_of(doc, "Created"));
        bh_resource_take_labels(r, json_object_get(doc, "Labels"));
        detail = json_object();
        put_text(detail, "driver", driver);
        put_text(detail, "scope", text_of(doc, "Scope"));
        put_true(detail, "internal", doc, "Internal");
        put_true(detail, "attachable", doc, "Attachable");
        put_true(detail, "ingress", doc, "Ingress");
        put_true(detail, "ipv6", doc, "EnableIPv6");
        if (json_object_get(options, "encrypted"))
                json_object_set_new(detail, "encrypted", json_true());
        subnets = json_array();
        json_array_foreach((json_t *) at(doc, "IPAM", "Config", NULL), i, e) {
                json_t *o = json_object();

                put_text(o, "subnet", text_of(e, "Subnet"));
                g_autofree char *first = !strcmp(driver, "bridge") && !*text_of(e, "Gateway") ? first_address(text_of(e, "Subnet")) : NULL;

                put_address(o, "gateway", first ? first : text_of(e, "Gateway"));
                put_text(o, "range", text_of(e, "IPRange"));
                json_array_append_new(subnets, o);
        }
        put_list(detail, "subnets", subnets);
        if (!strcmp(driver, "bridge") && !strcmp(text_of(doc, "Scope"), "local")) {
                const char *named = text_of(options, "com.docker.network.bridge.name");
                g_autofree char *made = g_strdup_printf("br-%.12s", id);

                put_text(detail, "bridge", *named ? named : made);
        } else if (!strcmp(driver, "macvlan") || !strcmp(driver, "ipvlan")) {
                put_text(detail, "parent", text_of(options, "parent"));
        }
        put_text(detail, "vxlan", text_of(options, "com.docker.network.driver.overlay.vxlanid_list"));
        if (inspected) {
                put_list(detail, "peers", peers_of(inspected));
                put_list(detail, "sandboxes", sandboxes(inspected));
        }
        bh_resource_set_detail(r, detail);
        return r;
}

/* ---- this node's own ---- */

static BhResource *volume(const json_t *doc) {
        const char *name = text_of(doc, "Name"), *key;
        json_t *detail, *options, *value;

        if (!*name)
                return NULL;
        BhResource *r = bh_resource_new("volume", name, name);
        r->created_ns = bh_time_parse(text_of(doc, "CreatedAt"));
        bh_resource_take_labels(r, json_object_get(doc, "Labels"));
        detail = json_object();
        put_text(detail, "driver", text_of(doc, "Driver"));
        put_text(detail, "scope", text_of(doc, "Scope"));
        put_text(detail, "mountpoint", text_of(doc, "Mountpoint"));
        /* "o=username=…,password=…": names alone */
        options = json_array();
        json_object_foreach(json_object_get(doc, "Options"), key, value)
                add_text(options, key);
        put_list(detail, "option_names", options);
        bh_resource_set_detail(r, detail);
        return r;
}

static BhResource *image(const json_t *doc) {
        const char *id = text_of(doc, "Id");
        json_t *detail, *tags = texts(json_object_get(doc, "RepoTags")), *digests = texts(json_object_get(doc, "RepoDigests"));
        const char *name = json_string_value(json_array_get(tags, 0));
        gint64 created = int_of(doc, "Created");

        if (!bh_docker_id_is_safe(id)) {
                json_decref(tags);
                json_decref(digests);
                return NULL;
        }
        if (!name || !strcmp(name, "<none>:<none>"))
                name = json_string_value(json_array_get(digests, 0));
        BhResource *r = bh_resource_new("image", id, name ? name : "");
        r->created_ns = created > 0 && created < G_MAXINT64 / 1000000000 ? created * 1000000000 : 0;
        bh_resource_take_labels(r, json_object_get(doc, "Labels"));
        detail = json_object();
        put_list(detail, "tags", tags);
        put_list(detail, "digests", digests);
        put_int(detail, "size", int_of(doc, "Size"));
        bh_resource_set_detail(r, detail);
        return r;
}

typedef struct {
        GHashTable *services; /* char *, a set */
        guint containers, running;
        const BhContainer *any;
} Project;

static void project_free(gpointer p) {
        g_hash_table_unref(((Project *) p)->services);
        g_free(p);
}

/* Compose keeps nothing but its labels on what it makes. */
static void add_projects(BhResourceSet *s, const GPtrArray *containers) {
        g_autoptr(GHashTable) projects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, project_free);
        g_autoptr(GPtrArray) names = NULL;

        for (guint i = 0; containers && i < containers->len; i++) {
                const BhContainer *c = containers->pdata[i];
                const char *name = bh_container_label(c, "com.docker.compose.project"), *service = bh_container_label(c, "com.docker.compose.service");

                if (!name || !*name || c->state == BH_CONTAINER_REMOVED)
                        continue;
                Project *p = g_hash_table_lookup(projects, name);
                if (!p) {
                        p = g_new0(Project, 1);
                        p->services = g_hash_table_new(g_str_hash, g_str_equal);
                        p->any = c;
                        g_hash_table_insert(projects, (gpointer) name, p);
                }
                if (service && *service)
                        g_hash_table_add(p->services, (gpointer) service);
                p->containers++;
                p->running += c->state == BH_CONTAINER_RUNNING || c->state == BH_CONTAINER_PAUSED;
        }
        names = sorted_keys(projects);
        for (guint i = 0; i < names->len; i++) {
                const Project *p = g_hash_table_lookup(projects, names->pdata[i]);
                g_autofree char *id = g_strconcat("compose:", (char *) names->pdata[i], NULL);
                BhResource *r = bh_resource_new("stack", id, names->pdata[i]);
                const char *dir = bh_container_label(p->any, "com.docker.compose.project.working_dir"), *files = bh_container_label(p->any, "com.docker.compose.project.config_files");
                json_t *detail = json_object();

                g_free(r->application);
                r->application = g_strdup(r->name);
                put_text(detail, "source", "compose");
                put_list(detail, "services", sorted_names(p->services));
                json_object_set_new(detail, "containers", json_integer(p->containers));
                json_object_set_new(detail, "running", json_integer(p->running));
                put_text(detail, "working_dir", dir ? dir : "");
                put_text(detail, "config_files", files ? files : "");
                bh_resource_set_detail(r, detail);
                bh_resource_set_add(s, r);
        }
}

/* The engine itself: what ties this node to the one that its Swarm knows. */
static void add_engine(BhResourceSet *s, const BhDockerThings *t) {
        const BhDockerInfo *i = &t->info;

        if (!i->known)
                return;
        BhResource *r = bh_resource_new("node", *i->node_id ? i->node_id : "docker", i->name);
        json_t *detail = json_object(), *swarm = json_object();

        put_text(detail, "engine", t->engine_version ? t->engine_version : "");
        put_text(swarm, "state", *i->swarm_state ? i->swarm_state : "inactive");
        put_text(swarm, "node_id", i->node_id);
        put_text(swarm, "address", i->node_address);
        put_text(swarm, "cluster_id", i->cluster_id);
        put_text(swarm, "role", !*i->node_id ? "" : i->manager ? "manager" : "worker");
        json_object_set_new(detail, "swarm", swarm);
        bh_resource_set_detail(r, detail);
        bh_resource_set_add(s, r);
}

BhResourceSet *bh_docker_node_set(const BhDockerThings *t, const GPtrArray *containers, const BhResourceSet *before) {
        BhResourceSet *s = bh_resource_set_new("docker", "node");
        json_t *e;
        size_t i;

        add_engine(s, t);
        add_projects(s, containers);
        if (!t->answers[BH_DOCKER_NETWORKS])
                bh_resource_set_keep(s, before, "network");
        json_array_foreach(t->answers[BH_DOCKER_NETWORKS], i, e)
                add(s, network(t, e, TRUE));
        if (!t->answers[BH_DOCKER_VOLUMES])
                bh_resource_set_keep(s, before, "volume");
        json_array_foreach(json_object_get(t->answers[BH_DOCKER_VOLUMES], "Volumes"), i, e)
                add(s, volume(e));
        if (!t->answers[BH_DOCKER_IMAGES])
                bh_resource_set_keep(s, before, "image");
        json_array_foreach(t->answers[BH_DOCKER_IMAGES], i, e)
                add(s, image(e));
        bh_resource_set_sort(s);
        return s;
}

/* ---- the Swarm ---- */

static json_t *ports_of(const json_t *ports) {
        json_t *out = json_array(), *p;
        size_t i;

        json_array_foreach((json_t *) ports, i, p) {
                json_t *o = json_object();

                put_text(o, "protocol", text_of(p, "Protocol"));
                put_int(o, "target", int_of(p, "TargetPort"));
                put_int(o, "published", int_of(p, "PublishedPort"));
                put_text(o, "mode", text_of(p, "PublishMode"));
                json_array_append_new(out, o);
        }
        return out;
}

static const char *mode_of(const json_t *mode, gint64 *replicas) {
        *replicas = int_of(json_object_get(mode, "Replicated"), "Replicas");
        if (json_object_get(mode, "Replicated"))
                return "replicated";
        if (json_object_get(mode, "ReplicatedJob")) {
                *replicas = int_of(json_object_get(mode, "ReplicatedJob"), "TotalCompletions");
                return "replicated-job";
        }
        return json_object_get(mode, "GlobalJob") ? "global-job" : "global";
}

static json_t *references(const json_t *list, const char *name) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e)
                add_text(out, text_of(e, name));
        return out;
}

static json_t *vips_of(const json_t *list) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e) {
                json_t *o = json_object();

                put_text(o, "network", text_of(e, "NetworkID"));
                put_address(o, "address", text_of(e, "Addr"));
                json_array_append_new(out, o);
        }
        return out;
}

static json_t *attachments_of(const json_t *list) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e) {
                json_t *o = json_object();

                put_text(o, "network", text_of(e, "Target"));
                put_list(o, "aliases", texts(json_object_get(e, "Aliases")));
                json_array_append_new(out, o);
        }
        return out;
}

static json_t *mounts_of(const json_t *list) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e) {
                json_t *o = json_object();

                put_text(o, "type", text_of(e, "Type"));
                put_text(o, "source", text_of(e, "Source"));
                put_text(o, "destination", text_of(e, "Target"));
                json_object_set_new(o, "rw", json_boolean(!json_is_true(json_object_get(e, "ReadOnly"))));
                json_object_set_new(o, "sensitive", json_boolean(bh_mount_is_sensitive(text_of(e, "Type"), text_of(e, "Source"), !json_is_true(json_object_get(e, "ReadOnly")))));
                json_array_append_new(out, o);
        }
        return out;
}

static BhResource *service(const json_t *doc, GHashTable *running) {
        const json_t *spec = json_object_get(doc, "Spec"), *task = json_object_get(spec, "TaskTemplate"), *container = json_object_get(task, "ContainerSpec");
        const json_t *endpoint = json_object_get(doc, "Endpoint"), *networks = json_object_get(task, "Networks"), *limits = at(task, "Resources", "Limits", NULL);
        BhResource *r = swarm_thing("service", doc, text_of(spec, "Name"));
        gint64 replicas;
        json_t *detail, *command;

        if (!r)
                return NULL;
        bh_resource_take_labels(r, json_object_get(spec, "Labels"));
        detail = json_object();
        put_text(detail, "mode", mode_of(json_object_get(spec, "Mode"), &replicas));
        if (!g_str_has_prefix(text_of(detail, "mode"), "global"))
                json_object_set_new(detail, "replicas", json_integer(replicas));
        json_object_set_new(detail, "running", json_integer(GPOINTER_TO_INT(g_hash_table_lookup(running, r->id))));
        put_text(detail, "image", text_of(container, "Image"));
        command = texts(json_object_get(container, "Command"));
        json_t *args = texts(json_object_get(container, "Args"));
        json_array_extend(command, args);
        json_decref(args);
        put_list(detail, "command", command);
        put_text(detail, "user", text_of(container, "User"));
        put_list(detail, "env_names", env_names(json_object_get(container, "Env")));
        put_list(detail, "mounts", mounts_of(json_object_get(container, "Mounts")));
        put_list(detail, "configs", references(json_object_get(container, "Configs"), "ConfigName"));
        put_list(detail, "secrets", references(json_object_get(container, "Secrets"), "SecretName"));
        put_list(detail, "cap_add", texts(json_object_get(container, "CapabilityAdd")));
        put_list(detail, "cap_drop", texts(json_object_get(container, "CapabilityDrop")));
        put_list(detail, "constraints", texts(at(task, "Placement", "Constraints", NULL)));
        put_int(detail, "memory_limit", int_of(limits, "MemoryBytes"));
        put_int(detail, "cpu_limit", int_of(limits, "NanoCPUs"));
        put_int(detail, "pids_limit", int_of(limits, "Pids"));
        put_text(detail, "restart", text_of(json_object_get(task, "RestartPolicy"), "Condition"));
        put_text(detail, "endpoint_mode", text_of(json_object_get(endpoint, "Spec"), "Mode"));
        put_list(detail, "ports", ports_of(json_array_size(json_object_get(endpoint, "Ports")) ? json_object_get(endpoint, "Ports") : at(spec, "EndpointSpec", "Ports", NULL)));
        put_list(detail, "vips", vips_of(json_object_get(endpoint, "VirtualIPs")));
        put_list(detail, "networks", attachments_of(json_array_size(networks) ? networks : json_object_get(spec, "Networks")));
        put_text(detail, "update", text_of(json_object_get(doc, "UpdateStatus"), "State"));
        bh_resource_set_detail(r, detail);
        return r;
}

static json_t *addresses_of(const json_t *list) {
        json_t *out = json_array(), *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e) {
                json_t *o = json_object(), *addresses = json_array(), *a;
                size_t j;

                put_text(o, "network", text_of(json_object_get(e, "Network"), "ID"));
                put_text(o, "name", text_of(at(e, "Network", "Spec", NULL), "Name"));
                json_array_foreach(json_object_get(e, "Addresses"), j, a) {
                        const char *s = json_string_value(a);
                        g_autofree char *address = s ? g_strndup(s, strcspn(s, "/")) : NULL;

                        if (address)
                                add_text(addresses, address);
                }
                put_list(o, "addresses", addresses);
                json_array_append_new(out, o);
        }
        return out;
}

static BhResource *task(const json_t *doc, GHashTable *services, GHashTable *nodes) {
        const json_t *status = json_object_get(doc, "Status"), *container = json_object_get(status, "ContainerStatus"), *s;
        const char *service_id = text_of(doc, "ServiceID"), *node_id = text_of(doc, "NodeID"), *service_name;
        gint64 slot = int_of(doc, "Slot");
        g_autofree char *name = NULL;
        BhResource *r;
        json_t *detail;

        s = g_hash_table_lookup(services, service_id);
        service_name = text_of(json_object_get(s, "Spec"), "Name");
        /* as `docker ps` names its container, without the id */
        name = slot ? g_strdup_printf("%s.%" G_GINT64_FORMAT, service_name, slot) : g_strdup_printf("%s.%s", service_name, node_id);
        if (!(r = swarm_thing("task", doc, *service_name ? name : text_of(doc, "ID"))))
                return NULL;
        bh_resource_take_labels(r, at(s, "Spec", "Labels", NULL));
        g_array_set_size(r->labels, 0); /* the service has them */
        detail = json_object();
        put_text(detail, "service", service_id);
        put_text(detail, "service_name", service_name);
        put_int(detail, "slot", slot);
        put_text(detail, "node", node_id);
        put_text(detail, "node_name", text_of(at(g_hash_table_lookup(nodes, node_id), "Description", NULL), "Hostname"));
        put_text(detail, "state", text_of(status, "State"));
        put_text(detail, "desired", text_of(doc, "DesiredState"));
        put_text(detail, "error", text_of(status, "Err"));
        put_text(detail, "container", text_of(container, "ContainerID"));
        put_int(detail, "exit_code", int_of(container, "ExitCode"));
        put_text(detail, "image", text_of(at(doc, "Spec", "ContainerSpec", NULL), "Image"));
        put_list(detail, "networks", addresses_of(json_object_get(doc, "NetworksAttachments")));
        put_list(detail, "ports", ports_of(at(status, "PortStatus", "Ports", NULL)));
        bh_resource_set_detail(r, detail);
        return r;
}

gboolean bh_docker_things_settling(const BhDockerThings *t) {
        static const char *const on_the_way[] = { "new", "pending", "assigned", "accepted", "preparing", "ready", "starting", NULL };
        json_t *e;
        size_t i;

        json_array_foreach(t->answers[BH_DOCKER_TASKS], i, e) {
                const char *state = text_of(json_object_get(e, "Status"), "State"), *desired = text_of(e, "DesiredState");

                if (!strcmp(desired, "running") ? g_strv_contains(on_the_way, state) : !strcmp(state, "running"))
                        return TRUE;
        }
        return FALSE;
}

static BhResource *node(const json_t *doc) {
        const json_t *spec = json_object_get(doc, "Spec"), *what = json_object_get(doc, "Description"), *status = json_object_get(doc, "Status"), *manager = json_object_get(doc, "ManagerStatus");
        BhResource *r = swarm_thing("node", doc, text_of(what, "Hostname"));
        json_t *detail;

        if (!r)
                return NULL;
        bh_resource_take_labels(r, json_object_get(spec, "Labels"));
        detail = json_object();
        put_text(detail, "role", text_of(spec, "Role"));
        put_text(detail, "availability", text_of(spec, "Availability"));
        put_text(detail, "state", text_of(status, "State"));
        put_text(detail, "address", text_of(status, "Addr"));
        put_true(detail, "leader", manager, "Leader");
        put_text(detail, "reachability", text_of(manager, "Reachability"));
        put_text(detail, "manager_address", text_of(manager, "Addr"));
        put_text(detail, "os", text_of(json_object_get(what, "Platform"), "OS"));
        put_text(detail, "architecture", text_of(json_object_get(what, "Platform"), "Architecture"));
        put_text(detail, "engine", text_of(json_object_get(what, "Engine"), "EngineVersion"));
        put_int(detail, "cpus", int_of(json_object_get(what, "Resources"), "NanoCPUs"));
        put_int(detail, "memory", int_of(json_object_get(what, "Resources"), "MemoryBytes"));
        bh_resource_set_detail(r, detail);
        return r;
}

/* Nothing but name, stack and times: neither the value nor the labels, in which people put hints to it. */
static BhResource *named_only(const char *kind, const json_t *doc) {
        const json_t *spec = json_object_get(doc, "Spec");
        BhResource *r = swarm_thing(kind, doc, text_of(spec, "Name"));

        if (!r)
                return NULL;
        bh_resource_take_labels(r, json_object_get(spec, "Labels"));
        g_array_set_size(r->labels, 0);
        return r;
}

static GHashTable *by_id(const json_t *list) {
        GHashTable *h = g_hash_table_new(g_str_hash, g_str_equal);
        json_t *e;
        size_t i;

        json_array_foreach((json_t *) list, i, e)
                if (json_is_string(json_object_get(e, "ID")))
                        g_hash_table_insert(h, (gpointer) text_of(e, "ID"), e);
        return h;
}

static GHashTable *running_of(const json_t *tasks) {
        GHashTable *h = g_hash_table_new(g_str_hash, g_str_equal);
        json_t *e;
        size_t i;

        json_array_foreach((json_t *) tasks, i, e) {
                const char *id = text_of(e, "ServiceID");

                if (!strcmp(text_of(json_object_get(e, "Status"), "State"), "running") && !strcmp(text_of(e, "DesiredState"), "running"))
                        g_hash_table_insert(h, (gpointer) id, GINT_TO_POINTER(GPOINTER_TO_INT(g_hash_table_lookup(h, id)) + 1));
        }
        return h;
}

/* A stack is what its parts' labels say. */
static void add_stacks(BhResourceSet *s) {
        static const char *const kinds[] = { "service", "network", "config", "secret" }, *const members[] = { "services", "networks", "configs", "secrets" };
        g_autoptr(GHashTable) stacks = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GPtrArray) names = NULL;
        guint n = s->resources->len;

        for (guint i = 0; i < n; i++) {
                const BhResource *r = s->resources->pdata[i];
                const char *name = bh_resource_label(r, "com.docker.stack.namespace");

                if (name && *name && strcmp(r->kind, "node"))
                        g_hash_table_add(stacks, (gpointer) name);
        }
        names = sorted_keys(stacks);
        for (guint k = 0; k < names->len; k++) {
                const char *name = names->pdata[k];
                g_autofree char *id = g_strconcat("swarm:", name, NULL);
                BhResource *r = bh_resource_new("stack", id, name);
                json_t *detail = json_object();

                g_free(r->application);
                r->application = g_strdup(r->name);
                put_text(detail, "source", "swarm");
                for (gsize m = 0; m < G_N_ELEMENTS(kinds); m++) {
                        g_autoptr(GHashTable) parts = g_hash_table_new(g_str_hash, g_str_equal);

                        for (guint i = 0; i < n; i++) {
                                const BhResource *part = s->resources->pdata[i];

                                if (!strcmp(part->kind, kinds[m]) && !strcmp(part->application, name))
                                        g_hash_table_add(parts, part->name);
                        }
                        put_list(detail, members[m], sorted_names(parts));
                }
                bh_resource_set_detail(r, detail);
                bh_resource_set_add(s, r);
        }
}

BhResourceSet *bh_docker_swarm_set(const BhDockerThings *t, const BhResourceSet *before) {
        json_t *const *a = t->answers, *e;
        size_t i;

        if (!t->info.manager || !*t->info.cluster_id)
                return NULL;
        g_autofree char *scope = g_strconcat("swarm:", t->info.cluster_id, NULL);
        BhResourceSet *s = bh_resource_set_new("swarm", scope);
        g_autoptr(GHashTable) running = running_of(a[BH_DOCKER_TASKS]), services = by_id(a[BH_DOCKER_SERVICES]), nodes = by_id(a[BH_DOCKER_NODES]);

        /* of another cluster */
        if (before && strcmp(before->scope, scope))
                before = NULL;
        if (!a[BH_DOCKER_NODES])
                bh_resource_set_keep(s, before, "node");
        json_array_foreach(a[BH_DOCKER_NODES], i, e)
                add(s, node(e));
        if (!a[BH_DOCKER_SERVICES])
                bh_resource_set_keep(s, before, "service");
        json_array_foreach(a[BH_DOCKER_SERVICES], i, e)
                add(s, service(e, running));
        if (!a[BH_DOCKER_NETWORKS])
                bh_resource_set_keep(s, before, "network");
        json_array_foreach(a[BH_DOCKER_NETWORKS], i, e)
                if (!strcmp(text_of(e, "Scope"), "swarm"))
                        add(s, network(t, e, FALSE));
        if (!a[BH_DOCKER_CONFIGS])
                bh_resource_set_keep(s, before, "config");
        json_array_foreach(a[BH_DOCKER_CONFIGS], i, e)
                add(s, named_only("config", e));
        if (!a[BH_DOCKER_SECRETS])
                bh_resource_set_keep(s, before, "secret");
        json_array_foreach(a[BH_DOCKER_SECRETS], i, e)
                add(s, named_only("secret", e));
        add_stacks(s);
        if (!a[BH_DOCKER_TASKS])
                bh_resource_set_keep(s, before, "task");
        json_array_foreach(a[BH_DOCKER_TASKS], i, e)
                add(s, task(e, services, nodes));
        bh_resource_set_sort(s);
        return s;
}
