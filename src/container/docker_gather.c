/* SPDX-License-Identifier: Apache-2.0 */
/* Everything of the engine but containers: asked one after the other, so that it never stands in the way of containers and events. */
#include "container/docker_private.h"

#include <string.h>

#define SETTLE_US (3 * SECOND_US)
#define SETTLE_TRIES 20u /* a minute: what then still waits, waits for something else */

void bh_docker_gather_soon(BhDocker *d) {
        d->settling = 0;
        gint64 at = MAX(g_get_monotonic_time() + SECOND_US / 4, d->gathered_us + BH_DOCKER_THINGS_MIN_US);

        if (!d->gather_at_us || at < d->gather_at_us)
                d->gather_at_us = at;
}

void bh_docker_gather_reset(BhDocker *d) {
        bh_docker_things_clear(&d->things);
        g_queue_clear_full(&d->networks, g_free);
        d->gathering = FALSE;
        /* with the next connection */
        d->gather_at_us = 1;
}

static void tell(BhDocker *d, BhResourceSet **told, BhResourceSet *now) {
        if (bh_resource_set_equal(*told, now)) {
                bh_resource_set_unref(now);
                return;
        }
        bh_resource_set_unref(*told);
        *told = now;
        if (now && d->config.on_resources)
                d->config.on_resources(now, d->config.data);
}

/*
 * The engine left its Swarm. What it told of that stays the other managers' to tell; if it was the only one, the cluster is no more, and only an empty set
 * says so.
 */
static BhResourceSet *farewell(const BhResourceSet *before) {
        guint managers = 0;

        for (guint i = 0; i < before->resources->len; i++) {
                const BhResource *r = before->resources->pdata[i];

                managers += !strcmp(r->kind, "node") && strstr(r->detail, "\"role\":\"manager\"") != NULL;
        }
        return managers == 1 ? bh_resource_set_new(before->source, before->scope) : NULL;
}

static void finish(BhDocker *d) {
        g_autoptr(GPtrArray) containers = g_ptr_array_new();
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, NULL, &p))
                if (((Known *) p)->c && !((Known *) p)->removed)
                        g_ptr_array_add(containers, ((Known *) p)->c);
        d->things.info = d->info;
        d->things.engine_version = d->version.version;
        tell(d, &d->node_set, bh_docker_node_set(&d->things, containers, d->node_set));

        BhResourceSet *swarm = bh_docker_swarm_set(&d->things, d->swarm_set);
        gboolean left = d->swarm_set && (swarm ? strcmp(swarm->scope, d->swarm_set->scope) : !strcmp(d->info.swarm_state, "inactive"));
        if (left) {
                BhResourceSet *last = farewell(d->swarm_set);

                if (last)
                        tell(d, &d->swarm_set, last);
                g_clear_pointer(&d->swarm_set, bh_resource_set_unref);
        }
        if (swarm)
                tell(d, &d->swarm_set, swarm);
        if (d->info.manager && bh_docker_things_settling(&d->things) && d->settling < SETTLE_TRIES) {
                d->settling++;
                if (!d->gather_at_us)
                        d->gather_at_us = g_get_monotonic_time() + SETTLE_US;
        }
        bh_docker_things_clear(&d->things);
        d->gathering = FALSE;
        COUNT(d, gatherings);
}

static void ask_next(BhDocker *d) {
        g_autofree char *id = g_queue_pop_head(&d->networks);

        if (d->thing == BH_DOCKER_NETWORKS + 1 && id) {
                g_autofree char *path = g_strdup_printf("/networks/%s", id);

                bh_docker_ask(d, REQ_NETWORK, id, path, SHORT_TIMEOUT_MS);
        } else if (d->thing < (d->info.manager ? BH_DOCKER_THINGS : BH_DOCKER_SERVICES)) {
                bh_docker_ask(d, REQ_THING, NULL, bh_docker_thing_path((BhDockerThing) d->thing), LIST_TIMEOUT_MS);
        } else {
                finish(d);
        }
}

/* Networks that span nodes have an address of this node's own in them, which only an inspect tells. */
static void want_networks(BhDocker *d) {
        json_t *e;
        size_t i;

        json_array_foreach(d->things.answers[BH_DOCKER_NETWORKS], i, e) {
                const char *id = json_string_value(json_object_get(e, "Id")), *scope = json_string_value(json_object_get(e, "Scope"));

                if (id && bh_docker_id_is_safe(id) && (!g_strcmp0(scope, "swarm") || json_is_true(json_object_get(e, "Ingress"))) &&
                    g_queue_get_length(&d->networks) < BH_DOCKER_MAX_NETWORKS)
                        g_queue_push_tail(&d->networks, g_strdup(id));
        }
}

/* What containers leave to the engine. */
static void apply_info(BhDocker *d) {
        GHashTableIter it;
        gpointer p;

        g_hash_table_iter_init(&it, d->known);
        while (g_hash_table_iter_next(&it, NULL, &p)) {
                Known *k = p;

                if (k->removed || k->c->level < BH_CONTAINER_FULL)
                        continue;
                BhContainer *c = bh_container_dup(k->c);
                if (bh_docker_apply_info(c, &d->info))
                        bh_docker_publish(d, k, c);
                else
                        bh_container_unref(c);
        }
}

void bh_docker_gather_answer(BhDocker *d, BhDockerRequest *r, CURLcode result) {
        json_t *doc = result == CURLE_OK && r->status == 200 ? bh_docker_json_load((char *) r->body->data, r->body->len, NULL) : NULL;
        gboolean outer = doc && (json_is_array(doc) || json_is_object(doc));

        if (!outer) {
                if (r->too_large)
                        COUNT(d, bodies_refused);
                else if (doc || (result == CURLE_OK && r->status == 200))
                        COUNT(d, bodies_bad);
                /* a network may be gone by the time it is asked for */
                if (r->kind != REQ_NETWORK)
                        COUNT(d, gatherings_failed);
                g_clear_pointer(&doc, json_decref);
        }
        if (!d->gathering) {
                json_decref(doc);
                return;
        }
        switch ((RequestKind) r->kind) {
        case REQ_INFO: {
                BhDockerInfo info;

                if (doc && bh_docker_json_info(doc, &info, NULL)) {
                        gboolean same = !memcmp(&info, &d->info, sizeof info);

                        d->info = info;
                        if (!same)
                                apply_info(d);
                }
                json_decref(doc);
                d->thing = 0;
                break;
        }
        case REQ_NETWORK:
                if (!d->things.inspected)
                        d->things.inspected = g_ptr_array_new_with_free_func((GDestroyNotify) json_decref);
                if (doc)
                        g_ptr_array_add(d->things.inspected, doc);
                break;
        default:
                d->things.answers[d->thing] = doc;
                if (d->thing == BH_DOCKER_NETWORKS)
                        want_networks(d);
                d->thing++;
                break;
        }
        ask_next(d);
}

void bh_docker_gather_run(BhDocker *d, gint64 now, gint64 *wake) {
        if (d->gathering)
                return;
        gint64 at = d->gather_at_us ? d->gather_at_us : d->gathered_us + BH_DOCKER_THINGS_US;

        if (now < at) {
                earlier(wake, at);
                return;
        }
        d->gather_at_us = 0;
        d->gathered_us = now;
        d->gathering = TRUE;
        bh_docker_ask(d, REQ_INFO, NULL, "/info", SHORT_TIMEOUT_MS);
}
