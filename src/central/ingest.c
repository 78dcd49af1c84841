/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "evidence.h"
#include "graph.h"
#include "ingest_private.h"
#include "models.h"
#include "policies.h"
#include "response/response.h"
#include "rules.h"
#include "json_out.h"
#include "store/store_inventory.h"

static void message_free(gpointer m) {
        protobuf_c_message_free_unpacked(m, NULL);
}

/* Shared by a batch's rows, and by those of them that wait for the map. */
static BhIngestArena *arena_new(void) {
        BhIngestArena *a = g_atomic_rc_box_new0(BhIngestArena);

        a->texts = g_ptr_array_new_with_free_func(g_free);
        a->messages = g_ptr_array_new_with_free_func(message_free);
        a->arrays = g_ptr_array_new_with_free_func(g_free);
        return a;
}

static void arena_clear(gpointer p) {
        BhIngestArena *a = p;

        g_ptr_array_unref(a->texts);
        g_ptr_array_unref(a->messages);
        g_ptr_array_unref(a->arrays);
}

static void arena_unref(gpointer a) {
        g_atomic_rc_box_release_full(a, arena_clear);
}

char *bh_ingest_keep(BhIngestArena *a, char *text) {
        g_ptr_array_add(a->texts, text);
        return text;
}

char *bh_ingest_text(BhIngestArena *a, ProtobufCBinaryData b) {
        return b.len ? bh_ingest_keep(a, bh_bus_text_dup(b)) : (char *) "";
}

/* ---- lists: JSON text, in the escaping of the sensor's own answers (base/escape.h) ---- */

static void json_bytes(GString *out, const char *key, ProtobufCBinaryData b) {
        if (key)
                g_string_append_printf(out, "\"%s\":", key);
        bh_escape_append_json(out, b.data ? (const char *) b.data : "", (gssize) b.len);
        g_string_append_c(out, ',');
}

static char *finish(BhIngestArena *a, GString *out, char bracket) {
        bh_json_close(out, bracket);
        bh_json_end(out);
        return bh_ingest_keep(a, g_string_free(out, FALSE));
}

char *bh_ingest_list(BhIngestArena *a, ProtobufCBinaryData *items, gsize n) {
        GString *out = g_string_new("[");

        for (gsize i = 0; i < n; i++)
                json_bytes(out, NULL, items[i]);
        return finish(a, out, ']');
}

static char *pairs_of(BhIngestArena *a, Bulkhead__Bus__V1__KeyValue **pairs, gsize n) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
        GString *out = g_string_new("{");

        for (gsize i = 0; i < n; i++) {
                /* an object with a key twice is read differently by different readers: the first one counts */
                if (!g_hash_table_add(seen, g_bytes_new(pairs[i]->key.data, pairs[i]->key.len)))
                        continue;
                bh_escape_append_json(out, pairs[i]->key.data ? (const char *) pairs[i]->key.data : "", (gssize) pairs[i]->key.len);
                g_string_append_c(out, ':');
                json_bytes(out, NULL, pairs[i]->value);
        }
        return finish(a, out, '}');
}

static char *mounts_of(BhIngestArena *a, Bulkhead__Bus__V1__Mount **mounts, gsize n) {
        GString *out = g_string_new("[");

        for (gsize i = 0; i < n; i++) {
                bh_json_open(out, NULL, '{');
                json_bytes(out, "type", mounts[i]->type);
                json_bytes(out, "source", mounts[i]->source);
                json_bytes(out, "destination", mounts[i]->destination);
                bh_json_bool(out, "rw", mounts[i]->rw);
                bh_json_bool(out, "sensitive", mounts[i]->sensitive);
                bh_json_close(out, '}');
        }
        return finish(a, out, ']');
}

static char *networks_of(BhIngestArena *a, Bulkhead__Bus__V1__Network **networks, gsize n) {
        GString *out = g_string_new("[");

        for (gsize i = 0; i < n; i++) {
                bh_json_open(out, NULL, '{');
                json_bytes(out, "name", networks[i]->name);
                json_bytes(out, "id", networks[i]->id);
                json_bytes(out, "ip", networks[i]->ip);
                json_bytes(out, "ip6", networks[i]->ip6);
                json_bytes(out, "mac", networks[i]->mac);
                bh_json_open(out, "aliases", '[');
                for (gsize k = 0; k < networks[i]->n_aliases; k++)
                        json_bytes(out, NULL, networks[i]->aliases[k]);
                bh_json_close(out, ']');
                bh_json_close(out, '}');
        }
        return finish(a, out, ']');
}

static char *ports_of(BhIngestArena *a, Bulkhead__Bus__V1__Port **ports, gsize n) {
        GString *out = g_string_new("[");

        for (gsize i = 0; i < n; i++) {
                bh_json_open(out, NULL, '{');
                bh_json_uint(out, "container_port", ports[i]->container_port);
                json_bytes(out, "protocol", ports[i]->protocol);
                json_bytes(out, "host_ip", ports[i]->host_ip);
                if (ports[i]->host_port)
                        bh_json_uint(out, "host_port", ports[i]->host_port);
                else
                        bh_json_raw(out, "host_port", NULL);
                bh_json_close(out, '}');
        }
        return finish(a, out, ']');
}

static char *runs_of(BhIngestArena *a, Bulkhead__Bus__V1__Run **runs, gsize n) {
        GString *out = g_string_new("[");

        for (gsize i = 0; i < n; i++) {
                bh_json_open(out, NULL, '{');
                bh_json_time(out, "started", runs[i]->started_ns);
                bh_json_time(out, "finished", runs[i]->finished_ns);
                bh_json_int(out, "exit_code", runs[i]->exit_code);
                bh_json_bool(out, "oom_killed", runs[i]->oom_killed);
                json_bytes(out, "error", runs[i]->error);
                bh_json_close(out, '}');
        }
        return finish(a, out, ']');
}

/* ---- bodies ---- */

void bh_ingest_container(BhIngestArena *a, const Bulkhead__Bus__V1__Container *c, BhStoreContainer *out) {
        *out = (BhStoreContainer){
                .id = bh_ingest_text(a, c->id),
                .name = bh_ingest_text(a, c->name),
                .image = bh_ingest_text(a, c->image),
                .image_id = bh_ingest_text(a, c->image_id),
                .image_digest = bh_ingest_text(a, c->image_digest),
                .runtime = c->runtime,
                .state = c->state,
                .level = c->level,
                .workload = bh_ingest_text(a, c->workload),
                .application = bh_ingest_text(a, c->application),
                .outer_id = bh_ingest_text(a, c->outer_id),
                .depth = c->depth,
                .labels = pairs_of(a, c->labels, c->n_labels),
                .mounts = mounts_of(a, c->mounts, c->n_mounts),
                .networks = networks_of(a, c->networks, c->n_networks),
                .ports = ports_of(a, c->ports, c->n_ports),
                .cap_add = bh_ingest_list(a, c->cap_add, c->n_cap_add),
                .cap_drop = bh_ingest_list(a, c->cap_drop, c->n_cap_drop),
                .devices = bh_ingest_list(a, c->devices, c->n_devices),
                .security_opt = bh_ingest_list(a, c->security_opt, c->n_security_opt),
                .env_names = bh_ingest_list(a, c->env_names, c->n_env_names),
                .cgroup_paths = bh_ingest_list(a, c->cgroup_paths, c->n_cgroup_paths),
                .network_mode = bh_ingest_text(a, c->network_mode),
                .pid_mode = bh_ingest_text(a, c->pid_mode),
                .ipc_mode = bh_ingest_text(a, c->ipc_mode),
                .user = bh_ingest_text(a, c->user),
                .health = bh_ingest_text(a, c->health),
                .cgroup_parent = bh_ingest_text(a, c->cgroup_parent),
                .privileged = c->privileged,
                .host_network = c->host_network,
                .host_pid = c->host_pid,
                .host_ipc = c->host_ipc,
                .host_userns = c->host_userns,
                .readonly_rootfs = c->readonly_rootfs,
                .oom_killed = c->oom_killed,
                .init_pid = c->init_pid,
                .created_ns = c->created_ns,
                .started_ns = c->started_ns,
                .finished_ns = c->finished_ns,
                .exit_code = c->exit_code,
                .restart_count = c->restart_count,
                .refused = c->refused,
                .layers = bh_ingest_list(a, c->layers, c->n_layers),
                .created_by = bh_ingest_text(a, c->created_by),
                .started_by = bh_ingest_text(a, c->started_by),
                .ended_by = bh_ingest_text(a, c->ended_by),
                .seccomp = bh_ingest_text(a, c->seccomp),
                .lsm = bh_ingest_text(a, c->lsm),
                .uts_mode = bh_ingest_text(a, c->uts_mode),
                .host_uts = c->host_uts,
                .host_cgroupns = c->host_cgroupns,
                .no_new_privileges = c->no_new_privileges,
                .memory_limit = c->memory_limit,
                .cpu_limit = c->cpu_limit,
                .pids_limit = c->pids_limit,
                .restart_policy = bh_ingest_text(a, c->restart_policy),
                .command = bh_ingest_list(a, c->command, c->n_command),
                .runs = runs_of(a, c->runs, c->n_runs),
                .capabilities = bh_ingest_list(a, c->capabilities, c->n_capabilities),
                .risks = bh_ingest_list(a, c->risks, c->n_risks),
                .health_command = bh_ingest_list(a, c->health_command, c->n_health_command),
                .net_ns = c->net_ns,
                .network_of = bh_ingest_text(a, c->network_of),
        };
}

static gpointer unpack(BhIngestArena *a, const ProtobufCMessageDescriptor *what, GBytes *body, GError **error) {
        ProtobufCMessage *m = bh_bus_body_unpack(what, body, error);

        if (m)
                g_ptr_array_add(a->messages, m);
        return m;
}

static gboolean inventory(BhIngestArena *a, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__Inventory *m = unpack(a, &bulkhead__bus__v1__inventory__descriptor, body, error);

        if (!m)
                return FALSE;
        if (strcmp(m->kind, "container"))
                return TRUE; /* of a newer sensor */
        out->kind = BH_STORE_MESSAGE_INVENTORY;
        out->inventory.boot_id = *m->boot_id ? m->boot_id : NULL;
        out->inventory.full = m->full;
        out->inventory.n_containers = (guint) m->n_upsert;
        out->inventory.containers = g_new0(BhStoreContainer, m->n_upsert + 1);
        g_ptr_array_add(a->arrays, out->inventory.containers);
        for (gsize i = 0; i < m->n_upsert; i++)
                bh_ingest_container(a, m->upsert[i], &out->inventory.containers[i]);
        return TRUE;
}

/* An object that a node wrote; what is none must not get into answers. */
static char *object_of(BhIngestArena *a, ProtobufCBinaryData b) {
        json_t *v = b.len <= BH_STORE_JSON_MAX ? json_loadb((const char *) b.data, b.len, 0, NULL) : NULL;
        char *text = json_is_object(v) ? json_dumps(v, JSON_COMPACT) : NULL, *out = bh_ingest_keep(a, g_strdup(text ? text : "{}"));

        free(text);
        json_decref(v);
        return out;
}

static gboolean resources(BhIngestArena *a, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__ResourceList *m = unpack(a, &bulkhead__bus__v1__resource_list__descriptor, body, error);
        BhStoreResource *rows;

        if (!m)
                return FALSE;
        rows = g_new0(BhStoreResource, m->n_resources + 1);
        g_ptr_array_add(a->arrays, rows);
        for (gsize i = 0; i < m->n_resources; i++) {
                const Bulkhead__Bus__V1__Resource *r = m->resources[i];

                rows[i] = (BhStoreResource){
                        .kind = r->kind,
                        .id = bh_ingest_text(a, r->id),
                        .name = bh_ingest_text(a, r->name),
                        .application = bh_ingest_text(a, r->application),
                        .labels = pairs_of(a, r->labels, r->n_labels),
                        .detail = object_of(a, r->detail),
                        .created_ns = r->created_ns,
                        .updated_ns = r->updated_ns,
                };
        }
        out->kind = BH_STORE_MESSAGE_RESOURCES;
        out->resources = (BhStoreResourceList){
                .source = m->source,
                .scope = bh_ingest_text(a, m->scope),
                .time_ns = m->time_ns,
                .refused = m->refused,
                .resources = rows,
                .n_resources = (guint) m->n_resources,
        };
        return TRUE;
}

static gboolean observation(BhIngestArena *a, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__Observation *m = unpack(a, &bulkhead__bus__v1__observation__descriptor, body, error);

        if (!m)
                return FALSE;
        BhStoreHttp *http = NULL;
        if (m->http) {
                g_ptr_array_add(a->arrays, http = g_new0(BhStoreHttp, 1));
                for (gsize i = 0; i < MIN(m->http->n_statuses, G_N_ELEMENTS(http->statuses)); i++)
                        http->statuses[i] = m->http->statuses[i];
                http->request_bytes = m->http->request_bytes;
                http->response_bytes = m->http->response_bytes;
                http->timed = m->http->timed;
                http->latency_us = m->http->latency_us;
                http->latency_max_us = m->http->latency_max_us;
                http->beyond = m->http->beyond;
        }
        out->kind = BH_STORE_MESSAGE_OBSERVATION;
        out->observation = (BhStoreObservation){
                .container_id = bh_ingest_text(a, m->container_id),
                .workload = bh_ingest_text(a, m->workload),
                .application = bh_ingest_text(a, m->application),
                .image_digest = bh_ingest_text(a, m->image_digest),
                .kind = m->kind,
                .subject = bh_ingest_text(a, m->subject),
                .parent = bh_ingest_text(a, m->parent),
                .count = m->count,
                .first_ns = m->first_ns,
                .last_ns = m->last_ns,
                .detail = bh_ingest_text(a, m->detail),
                .example = bh_ingest_text(a, m->example),
                .why = bh_ingest_text(a, m->why),
                .uid = m->uid,
                .suspicious = m->suspicious,
                .http = http,
        };
        return TRUE;
}

static gboolean finding(BhIngestArena *a, const char *node, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__Finding *m = unpack(a, &bulkhead__bus__v1__finding__descriptor, body, error);

        if (!m)
                return FALSE;
        out->kind = BH_STORE_MESSAGE_FINDING;
        bh_ingest_finding(a, node, m, &out->finding);
        return TRUE;
}

static gboolean flows(BhIngestArena *a, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__FlowBatch *m = unpack(a, &bulkhead__bus__v1__flow_batch__descriptor, body, error);

        if (!m)
                return FALSE;
        out->kind = BH_STORE_MESSAGE_FLOWS;
        bh_ingest_flows(a, m, &out->flows);
        return TRUE;
}

static gboolean listeners(BhIngestArena *a, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__ListenerList *m = unpack(a, &bulkhead__bus__v1__listener_list__descriptor, body, error);

        if (!m)
                return FALSE;
        out->kind = BH_STORE_MESSAGE_LISTENERS;
        bh_ingest_listeners(a, m, &out->listeners);
        return TRUE;
}

static gboolean evidence(BhCentral *c, BhIngestArena *a, const char *node, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__Evidence *m = unpack(a, &bulkhead__bus__v1__evidence__descriptor, body, error);

        if (!m || !bh_evidence_ingest(c, node, m, &out->evidence, a->texts, error))
                return FALSE;
        if (out->evidence.line)
                out->kind = BH_STORE_MESSAGE_EVIDENCE;
        return TRUE;
}

/* What a node's policies did. It speaks of itself alone, and never in a person's name. */
static gboolean response(BhIngestArena *a, const char *node, GBytes *body, BhStoreMessage *out, GError **error) {
        const Bulkhead__Bus__V1__ResponseReport *m = unpack(a, &bulkhead__bus__v1__response_report__descriptor, body, error);
        BhResponseAction action;
        BhResponseState state;

        if (!m)
                return FALSE;
        if (!m->result || !bh_response_id_valid(m->result->id) || !bh_response_state_parse(m->result->state, &state) || !bh_response_action_parse(m->action, &action) || !bh_policy_name_valid(m->policy)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "it is no report of what a policy did");
                return FALSE;
        }
        json_auto_t *detail = json_loadb((const char *) m->result->detail.data, m->result->detail.len, JSON_REJECT_DUPLICATES, NULL);
        out->kind = BH_STORE_MESSAGE_RESPONSE;
        out->response = (BhStoreResponse){
                .id = m->result->id,
                .action = m->action,
                .state = m->result->state,
                .node = (char *) node,
                .container_id = bh_ingest_text(a, m->result->container_id),
                .container_name = bh_ingest_text(a, m->container_name),
                .workload = bh_ingest_text(a, m->workload),
                .application = bh_ingest_text(a, m->application),
                .actor = bh_ingest_keep(a, g_strconcat("policy:", m->policy, NULL)),
                .reason = bh_ingest_text(a, m->reason),
                .allow = bh_ingest_list(a, m->allow, m->n_allow),
                .deny = bh_ingest_list(a, m->deny, m->n_deny),
                .result = bh_ingest_text(a, m->result->result),
                .detail = json_is_object(detail) ? bh_ingest_keep(a, json_dumps(detail, JSON_COMPACT)) : (char *) "{}",
                .until_ns = m->until_ns,
                .best_effort = m->best_effort,
        };
        return TRUE;
}

static const char *reason_name(Bulkhead__Bus__V1__Loss__Reason reason) {
        switch (reason) {
        case BULKHEAD__BUS__V1__LOSS__REASON__REASON_SPOOL_FULL:
                return "spool_full";
        case BULKHEAD__BUS__V1__LOSS__REASON__REASON_QUEUE_FULL:
                return "queue_full";
        case BULKHEAD__BUS__V1__LOSS__REASON__REASON_TOO_LARGE:
                return "too_large";
        case BULKHEAD__BUS__V1__LOSS__REASON__REASON_SPOOL_DAMAGED:
                return "spool_damaged";
        default:
                return "other";
        }
}

/* ---- the bus's callbacks ---- */

static GThreadPool *states; /* one thread */
static gint bodies_logged;

static char *id_text(const BhBusPeer *peer) {
        char *out = g_malloc(2 * BH_BUS_ID_LEN + 1);

        for (guint i = 0; i < BH_BUS_ID_LEN; i++)
                g_snprintf(out + 2 * i, 3, "%02x", peer->id[i]);
        return out;
}

static gboolean on_positions(const BhBusPeer *peer, guint64 *seq, gpointer data) {
        g_autofree char *id = id_text(peer);
        g_autoptr(GError) error = NULL;

        if (bh_store_position(((BhCentral *) data)->store, id, seq, &error))
                return TRUE;
        bh_error("cannot tell what is stored of a node", "node", peer->node, "error", error->message);
        return FALSE;
}

static void add_name(GString *names, const char *name) {
        g_auto(GStrv) have = g_strsplit(names->str, "+", -1);

        if (!g_strv_contains((const char *const *) have, name))
                g_string_append_printf(names, "%s%s", names->len ? "+" : "", name);
}

/* A message of the bus is one of the store, for its number is used once: several items are told as their sum. */
static void loss(BhIngestArena *a, const BhBusPeer *peer, const Bulkhead__Bus__V1__Loss *lost, BhStoreMessage *out) {
        GString *topics = g_string_new(NULL), *reasons = g_string_new(NULL);

        out->kind = BH_STORE_MESSAGE_LOSS;
        for (gsize i = 0; i < lost->n_items; i++) {
                const Bulkhead__Bus__V1__Loss__Item *item = lost->items[i];

                if (topics->len < 256)
                        add_name(topics, *item->topic ? item->topic : "other");
                add_name(reasons, reason_name(item->reason));
                out->loss.count += item->count;
                out->loss.bytes += item->bytes;
                if (!out->loss.first_ns || item->first_ns < out->loss.first_ns)
                        out->loss.first_ns = item->first_ns;
                out->loss.last_ns = MAX(out->loss.last_ns, item->last_ns);
        }
        out->loss.topic = bh_ingest_keep(a, g_string_free(topics, FALSE));
        out->loss.reason = bh_ingest_keep(a, g_string_free(reasons, FALSE));

        g_autofree char *count = g_strdup_printf("%" G_GUINT64_FORMAT, out->loss.count);
        bh_warn("a node lost messages", "node", peer->node, "topic", out->loss.topic, "reason", out->loss.reason, "count", count);
}

static void convert(BhCentral *c, const BhBusPeer *peer, BhIngestArena *a, const BhBusMessage *m, GArray *out) {
        BhStoreMessage one = { .seq = m->seq };
        g_autoptr(GError) error = NULL;
        gboolean ok = TRUE;

        if (g_str_equal(m->topic, "inventory")) {
                ok = inventory(a, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "resources")) {
                ok = resources(a, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "observation")) {
                ok = observation(a, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "finding")) {
                ok = finding(a, peer->node, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "flow")) {
                ok = flows(a, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "listeners")) {
                ok = listeners(a, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "evidence")) {
                ok = evidence(c, a, peer->node, m->body, &one, &error);
        } else if (g_str_equal(m->topic, "response")) {
                ok = response(a, peer->node, m->body, &one, &error);
        } else if (g_str_equal(m->topic, BH_BUS_TOPIC_LOST)) {
                const Bulkhead__Bus__V1__Loss *lost = unpack(a, &bulkhead__bus__v1__loss__descriptor, m->body, &error);

                ok = lost != NULL;
                if (ok && lost->n_items)
                        loss(a, peer, lost, &one);
        }
        if (!ok) {
                g_atomic_int_inc(&c->undecodable);
                if (g_atomic_int_add(&bodies_logged, 1) < 100)
                        bh_warn("a message could not be read and is passed over", "node", peer->node, "topic", m->topic, "error", error->message);
        }
        g_array_append_val(out, one);
}

static gboolean on_deliver(const BhBusPeer *peer, const BhBusMessage *messages, guint n, gpointer data) {
        BhCentral *c = data;
        g_autoptr(GArray) rows = g_array_sized_new(FALSE, FALSE, sizeof(BhStoreMessage), n);
        g_autofree char *id = id_text(peer);
        g_autoptr(GError) error = NULL;
        BhIngestArena *arena = arena_new();

        for (guint i = 0; i < n; i++)
                convert(c, peer, arena, &messages[i], rows);
        gboolean ok = bh_store_ingest(c->store, id, peer->node, (BhStoreMessage *) (void *) rows->data, rows->len, &error);
        if (!ok)
                bh_error("cannot store what a node sent; it will come again", "node", peer->node, "error", error->message);
        for (guint i = 0; i < rows->len; i++) {
                BhStoreMessage *m = &g_array_index(rows, BhStoreMessage, i);

                if (m->kind == BH_STORE_MESSAGE_FINDING)
                        g_clear_pointer(&m->finding.event, g_bytes_unref);
                if (m->kind == BH_STORE_MESSAGE_OBSERVATION && ok)
                        bh_models_observe(c->models, peer->node, &m->observation);
                if (m->kind == BH_STORE_MESSAGE_FLOWS) {
                        if (ok)
                                bh_map_flows(c->map, &m->flows, arena_unref, g_atomic_rc_box_acquire(arena));
                        bh_store_flows_clear(&m->flows);
                }
        }
        arena_unref(arena);
        return ok;
}

typedef struct {
        char *node, *version, *json; /* json NULL: it came or went */
        gboolean up;
        gint64 time_ns;
} NodeState;

static void state_free(NodeState *s) {
        g_free(s->node);
        g_free(s->version);
        g_free(s->json);
        g_free(s);
}

static void apply_state(gpointer data, gpointer user) {
        NodeState *s = data;
        BhCentral *c = user;
        g_autoptr(GError) error = NULL;
        gboolean ok = s->json ? bh_store_node_set_status(c->store, s->node, s->json, s->time_ns, &error) : bh_store_node_set_up(c->store, s->node, s->up, s->version, &error);

        if (!ok)
                bh_error("cannot store a node's state", "node", s->node, "error", error->message);
        if (!s->json && s->up) {
                bh_rules_node_up(c->rules, s->node);
                bh_policies_node_up(c->policies, s->node);
        }
        state_free(s);
}

static void push_state(NodeState *s, gboolean droppable) {
        if (droppable && g_thread_pool_unprocessed(states) > BH_INGEST_QUEUE)
                state_free(s);
        else
                g_thread_pool_push(states, s, NULL);
}

static void on_latest(const BhBusPeer *peer, const char *topic, GBytes *body, gpointer data) {
        BhCentral *c = data;
        g_autoptr(GError) error = NULL;

        if (strcmp(topic, "status"))
                return;
        Bulkhead__Bus__V1__NodeStatus *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__node_status__descriptor, body, &error);
        if (!m) {
                g_atomic_int_inc(&c->undecodable);
                return;
        }
        NodeState *s = g_new0(NodeState, 1);
        s->node = g_strdup(peer->node);
        s->json = bh_bus_text_dup(m->json);
        s->time_ns = m->time_ns;
        bulkhead__bus__v1__node_status__free_unpacked(m, NULL);
        push_state(s, TRUE);
}

static void on_peer(const BhBusPeer *peer, gboolean up, gpointer data) {
        NodeState *s = g_new0(NodeState, 1);

        bh_info(up ? "a node is here" : "a node is gone", "node", peer->node, "version", peer->version);
        s->node = g_strdup(peer->node);
        s->version = g_strdup(peer->version);
        s->up = up;
        push_state(s, FALSE);
}

static void on_notice(gboolean trouble, const char *sentence, gpointer data) {
        bh_log(trouble ? BH_LOG_WARN : BH_LOG_INFO, "bus", "what", sentence, NULL);
}

BhBusCallbacks bh_ingest_callbacks(BhCentral *c) {
        return (BhBusCallbacks){
                .positions = on_positions,
                .deliver = on_deliver,
                .latest = on_latest,
                .peer = on_peer,
                .notice = on_notice,
                .data = c,
        };
}

void bh_ingest_start(BhCentral *c) {
        states = g_thread_pool_new(apply_state, c, 1, TRUE, NULL);
}

void bh_ingest_stop(void) {
        if (states)
                g_thread_pool_free(states, FALSE, TRUE);
        states = NULL;
}
