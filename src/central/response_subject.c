/* SPDX-License-Identifier: Apache-2.0 */
#include "response_subject.h"

#include <string.h>

#include "container/container.h"

void bh_response_subject_clear(BhResponseSubject *s) {
        g_clear_pointer(&s->subject, g_free);
        g_clear_pointer(&s->node, g_free);
        g_clear_pointer(&s->confirm, g_free);
}

static gboolean read_process(BhCall *call, json_t *body, BhResponseSubject *out) {
        const char *started = bh_body_text(body, "started");
        json_int_t pid = json_integer_value(json_object_get(body, "pid"));
        BhProcessName name = { .pid = (gint) pid };

        if (pid <= 1 || pid > G_MAXINT) {
                bh_call_error(call, 400, "bad_process", "\"pid\" must be the number that the process has on its node");
                return FALSE;
        }
        if (started && !(name.started_ns = bh_time_parse(started))) {
                bh_call_error(call, 400, "bad_process", "\"started\" must be when the process began, as lists of processes and events have it, like 2026-01-31T12:00:00.120000000Z");
                return FALSE;
        }
        if (!started && !json_is_true(json_object_get(body, "dry_run"))) {
                bh_call_error(call, 400, "bad_process", "a number alone may be another process's by now: say when it began as \"started\"; \"dry_run\": true tells it");
                return FALSE;
        }
        out->subject = bh_process_name_text(&name);
        return TRUE;
}

/* ---- scaling ---- */

/* FALSE: one of them is protected, or it cannot be told; answered. */
static gboolean none_protected(BhCall *call, const BhStoreContainer *c, gboolean project) {
        BhStoreContainerFilter all = { .application = c->application, .workload = project ? NULL : c->workload, .living = TRUE };
        g_autofree char *cursor = NULL;

        do {
                GError *error = NULL;
                g_autoptr(BhStorePage) page = bh_store_containers(call->central->store, &all, cursor, BH_STORE_LIMIT_MAX, &error);

                if (!page) {
                        bh_call_store_error(call, error);
                        return FALSE;
                }
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreContainer *one = page->rows->pdata[i];
                        json_auto_t *labels = one->labels ? json_loads(one->labels, 0, NULL) : NULL;
                        const char *why = bh_response_protects(json_string_value(json_object_get(labels, BH_RESPONSE_LABEL_PROTECTED)), json_string_value(json_object_get(labels, BH_RESPONSE_LABEL_NAMESPACE)));

                        if (why) {
                                bh_call_error(call, 409, "protected", "the container %s of it is protected: %s", one->name, why);
                                return FALSE;
                        }
                }
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor);
        return TRUE;
}

/* A node whose engine manages the Swarm of this service: who tells of services does. One that is here, if there is. NULL: answered. Caller frees. */
static char *manager_of(BhCall *call, const char *service, const char *name) {
        BhStoreResourceFilter services = { .kind = "service", .id = service }, managers = { .kind = "node" };
        g_auto(GStrv) here = bh_bus_listener_nodes(call->central->bus);
        GError *error = NULL;
        g_autoptr(BhStorePage) found = bh_store_resources(call->central->store, &services, NULL, BH_STORE_LIMIT_MAX, &error), nodes = NULL;
        const BhStoreResource *told = NULL;

        if (!found) {
                bh_call_store_error(call, error);
                return NULL;
        }
        /* a node may tell of what it likes in a scope of its own; whose word counts in a Swarm's is looked at where it is told */
        for (guint i = 0; i < found->rows->len; i++) {
                const BhStoreResource *one = found->rows->pdata[i];

                if (!g_str_has_prefix(one->scope, "swarm:"))
                        continue;
                if (told && strcmp(told->scope, one->scope) != 0) {
                        bh_call_error(call, 409, "contested", "nodes %s and %s both say that the service %s is of their Swarm, and these are not one: find out which lies", told->node, one->node, name);
                        return NULL;
                }
                told = one;
        }
        if (!told) {
                bh_call_error(call, 409, "no_manager", "no sensor runs at a manager of the Swarm that the service %s belongs to, and only a manager can scale it: start one there", name);
                return NULL;
        }
        if (g_strv_contains((const char *const *) here, told->node))
                return g_strdup(told->node);
        managers.scope = told->scope;
        nodes = bh_store_resources(call->central->store, &managers, NULL, BH_STORE_LIMIT_MAX, NULL);
        for (guint i = 0; nodes && i < nodes->rows->len; i++) {
                const BhStoreResource *n = nodes->rows->pdata[i];
                json_auto_t *detail = n->detail ? json_loads(n->detail, 0, NULL) : NULL;

                if (g_strcmp0(json_string_value(json_object_get(detail, "role")), "manager") == 0 && g_strv_contains((const char *const *) here, n->name))
                        return g_strdup(n->name);
        }
        return g_strdup(told->node); /* it is told when it is back */
}

static gboolean read_workload(BhCall *call, json_t *body, const BhStoreContainer *c, BhResponseSubject *out) {
        json_auto_t *labels = c->labels ? json_loads(c->labels, 0, NULL) : NULL;
        const char *service = json_string_value(json_object_get(labels, BH_LABEL_SWARM_SERVICE)), *name = json_string_value(json_object_get(labels, BH_LABEL_SWARM_SERVICE_NAME));
        const char *project = json_string_value(json_object_get(labels, BH_LABEL_COMPOSE_PROJECT)), *composed = json_string_value(json_object_get(labels, BH_LABEL_COMPOSE_SERVICE));

        out->whole = TRUE;
        out->project = json_is_true(json_object_get(body, "project"));
        if (out->project && !project) {
                bh_call_error(call, 400, "not_scalable", "\"project\" is about a project of Compose, and %s belongs to none", c->name);
                return FALSE;
        }
        if (service && *service) {
                if (!none_protected(call, c, FALSE) || !(out->node = manager_of(call, service, name ? name : service)))
                        return FALSE;
                out->subject = g_strconcat(BH_SCALE_SWARM, service, NULL);
                out->confirm = g_strdup(name ? name : service);
                return TRUE;
        }
        if (!project || !*project || !composed || strchr(project, '/')) {
                bh_call_error(call, 400, "not_scalable", "%s belongs neither to a service of a Swarm nor to one of Compose: there is nothing to scale; stop stops it", c->name);
                return FALSE;
        }
        if (!none_protected(call, c, out->project))
                return FALSE;
        out->subject = out->project ? g_strconcat(BH_SCALE_COMPOSE, project, NULL) : g_strconcat(BH_SCALE_COMPOSE, project, "/", composed, NULL);
        out->confirm = g_strdup(out->project ? project : composed);
        return TRUE;
}

gboolean bh_response_subject_read(BhCall *call, json_t *body, BhResponseAction action, const BhStoreContainer *c, BhResponseSubject *out) {
        const gboolean of_processes = bh_response_action_of_processes(action);

        if (!of_processes && (json_object_get(body, "pid") || json_object_get(body, "started"))) {
                bh_call_error(call, 400, "bad_process", "\"pid\" and \"started\" go with kill-process and kill-tree");
                return FALSE;
        }
        if (action != BH_RESPONSE_SCALE && json_object_get(body, "project")) {
                bh_call_error(call, 400, "not_scalable", "\"project\" goes with scale-to-zero");
                return FALSE;
        }
        if (of_processes ? !read_process(call, body, out) : action == BH_RESPONSE_SCALE && !read_workload(call, body, c, out))
                return FALSE;
        if (action == BH_RESPONSE_DECOY)
                out->subject = g_strdup(bh_body_text(body, "to"));
        if (!out->subject)
                out->subject = g_strdup("");
        if (!out->node)
                out->node = g_strdup(c->node);
        if (!out->confirm)
                out->confirm = g_strdup(c->name);
        return TRUE;
}

guint bh_response_takes(BhCall *call, const BhStoreResponse *r) {
        g_autoptr(BhStoreResponse) whole = g_strcmp0(r->action, "scale-to-zero") == 0 ? bh_store_response(call->central->store, r->id, NULL) : NULL;
        json_auto_t *detail = whole && whole->detail ? json_loads(whole->detail, 0, NULL) : NULL;
        json_int_t replicas = json_integer_value(json_object_get(detail, "replicas"));

        return (guint) CLAMP(MAX(replicas, (json_int_t) json_array_size(json_object_get(detail, "stopped"))), 1, G_MAXINT16);
}
