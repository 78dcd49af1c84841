/* SPDX-License-Identifier: Apache-2.0 */
/* what the store keeps of the nodes: containers, workloads, applications, observations, findings, nodes, losses */
#include <string.h>

#include "json_out.h"
#include "routes.h"
#include "views.h"

static void answer_rows(BhCall *call, const char *name, GPtrArray *rows, BhRowView view, GError *error) {
        g_autoptr(GPtrArray) owned = rows;
        GString *out;

        if (!owned) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_sized_new(4096);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, name, '[');
        for (guint i = 0; i < owned->len; i++)
                view(out, owned->pdata[i], NULL);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

#define VIEW_OF(type, function) \
        static void as_##function(GString *out, gconstpointer row, G_GNUC_UNUSED gpointer data) { \
                bh_view_##function(out, NULL, (const type *) row); \
        }
VIEW_OF(BhStoreContainer, container)
VIEW_OF(BhStoreResource, resource)
VIEW_OF(BhStoreWorkload, workload)
VIEW_OF(BhStoreApplication, application)
VIEW_OF(BhStoreObservation, observation)
VIEW_OF(BhStoreEndpoint, endpoint)
VIEW_OF(BhStoreLossRow, loss)

static void as_node(GString *out, gconstpointer row, G_GNUC_UNUSED gpointer data) {
        bh_view_node(out, NULL, row, FALSE);
}

static void answer_one(BhCall *call, BhRowView view, gconstpointer row, GError *error) {
        GString *out;

        if (!row) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_sized_new(2048);
        view(out, row, NULL);
        bh_call_json(call, 200, out);
}

void bh_api_containers(BhCall *call) {
        BhStoreContainerFilter f = {
                .node = bh_call_param(call, "node"),
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
                .state = bh_call_param(call, "state"),
                .image = bh_call_param(call, "image"),
                .search = bh_call_param(call, "search"),
        };
        gboolean count = FALSE;
        GError *error = NULL;
        guint64 total = 0;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_time(call, "since", &f.since_ns) || !bh_call_time(call, "until", &f.until_ns) ||
            !bh_call_flag(call, "living", &f.living) || !bh_call_flag(call, "count", &count))
                return;
        BhStorePage *page = bh_store_containers(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        if (page && count && !bh_store_containers_count(call->central->store, &f, &total, &error))
                g_clear_pointer(&page, bh_store_page_free);
        bh_call_page(call, "containers", page, as_container, NULL, count ? &total : NULL, error);
}

void bh_api_container(BhCall *call) {
        const char *node = bh_call_param(call, "node");
        GError *error = NULL;
        g_autoptr(BhStoreContainer) c = node ? bh_store_container(call->central->store, node, call->captures[0], &error)
                                             : bh_store_container_find(call->central->store, call->captures[0], &error);

        answer_one(call, as_container, c, error);
}

void bh_api_resources(BhCall *call) {
        BhStoreResourceFilter f = {
                .kind = bh_call_param(call, "kind"),
                .scope = bh_call_param(call, "scope"),
                .source = bh_call_param(call, "source"),
                .application = bh_call_param(call, "application"),
                .node = bh_call_param(call, "node"),
                .id = bh_call_param(call, "id"),
                .search = bh_call_param(call, "search"),
        };
        gboolean count = FALSE;
        GError *error = NULL;
        guint64 total = 0;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_flag(call, "count", &count))
                return;
        BhStorePage *page = bh_store_resources(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        if (page && count && !bh_store_resources_count(call->central->store, &f, &total, &error))
                g_clear_pointer(&page, bh_store_page_free);
        bh_call_page(call, "resources", page, as_resource, NULL, count ? &total : NULL, error);
}

void bh_api_workloads(BhCall *call) {
        const char *application = bh_call_param(call, "application"), *workload = bh_call_param(call, "workload");
        BhStoreWorkloadFilter f = { .application = application, .node = bh_call_param(call, "node"), .search = bh_call_param(call, "search") };
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_flag(call, "living", &f.living))
                return;
        if (workload) {
                /* a workload's name may hold any character, so it is a parameter and not a part of the path */
                if (!application) {
                        bh_call_error(call, 400, "bad_query", "\"workload\" names a workload together with \"application\" (which may be empty)");
                        return;
                }
                g_autoptr(BhStoreWorkload) w = bh_store_workload(call->central->store, application, workload, &error);
                GPtrArray *rows = NULL;

                if (w || g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND)) {
                        g_clear_error(&error);
                        rows = g_ptr_array_new();
                        if (w)
                                g_ptr_array_add(rows, w);
                }
                answer_rows(call, "workloads", rows, as_workload, error);
                return;
        }
        BhStorePage *page = bh_store_workloads(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        bh_call_page(call, "workloads", page, as_workload, NULL, NULL, error);
}

void bh_api_applications(BhCall *call) {
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit))
                return;
        BhStorePage *page = bh_store_applications(call->central->store, bh_call_param(call, "cursor"), limit, &error);
        bh_call_page(call, "applications", page, as_application, NULL, NULL, error);
}

void bh_api_observations(BhCall *call) {
        BhStoreObservationFilter f = {
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
                .image_digest = bh_call_param(call, "image_digest"),
                .kind = bh_call_param(call, "kind"),
                .subject = bh_call_param(call, "subject"),
                .search = bh_call_param(call, "search"),
        };
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_time(call, "since", &f.since_ns) || !bh_call_time(call, "until", &f.until_ns))
                return;
        BhStorePage *page = bh_store_observations(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        bh_call_page(call, "observations", page, as_observation, NULL, NULL, error);
}

void bh_api_endpoints(BhCall *call) {
        BhStoreObservationFilter f = {
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
                .image_digest = bh_call_param(call, "image_digest"),
                .search = bh_call_param(call, "search"),
        };
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_time(call, "since", &f.since_ns) || !bh_call_time(call, "until", &f.until_ns))
                return;
        BhStorePage *page = bh_store_endpoints(call->central->store, &f, bh_call_param(call, "side"), bh_call_param(call, "cursor"), limit, &error);
        bh_call_page(call, "endpoints", page, as_endpoint, NULL, NULL, error);
}

void bh_api_nodes(BhCall *call) {
        GError *error = NULL;
        GPtrArray *rows = bh_store_nodes(call->central->store, &error);

        answer_rows(call, "nodes", rows, as_node, error);
}

void bh_api_node(BhCall *call) {
        GError *error = NULL;
        BhStoreNode *n = bh_store_node(call->central->store, call->captures[0], &error);
        GString *out;

        if (!n) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_sized_new(4096);
        bh_view_node(out, NULL, n, TRUE);
        bh_store_node_free(n);
        bh_call_json(call, 200, out);
}

void bh_api_losses(BhCall *call) {
        GError *error = NULL;
        GPtrArray *rows = bh_store_losses(call->central->store, &error);

        answer_rows(call, "losses", rows, as_loss, error);
}
