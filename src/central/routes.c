/* SPDX-License-Identifier: Apache-2.0 */
#include "routes.h"

#include <string.h>

#include "auth.h"
#include "base/log.h"

const BhRoute bh_routes[] = {
#define BH_ROUTE(method_, pattern_, role_, body_, params_, audit_, handler_) \
        { #method_, pattern_, BH_STORE_ROLE_##role_, body_, params_, audit_, bh_api_##handler_ },
#include "routes.tbl.h"
#undef BH_ROUTE
};
const guint bh_n_routes = G_N_ELEMENTS(bh_routes);

/* "/a/{x}/b" against the segments. */
static gboolean matches(const char *pattern, char *const *segments, const char *captures[BH_ROUTE_CAPTURES]) {
        guint captured = 0;

        for (const char *p = pattern; *p; segments++) {
                const char *begin = p + 1, *end = strchr(begin, '/');
                gsize n = end ? (gsize) (end - begin) : strlen(begin);

                if (!*segments)
                        return FALSE;
                if (*begin == '{') {
                        if (captured < BH_ROUTE_CAPTURES)
                                captures[captured++] = *segments;
                } else if (strlen(*segments) != n || memcmp(*segments, begin, n)) {
                        return FALSE;
                }
                p = begin + n;
        }
        return !*segments;
}

const BhRoute *bh_route_find(const char *method, char *const *segments, const char *captures[BH_ROUTE_CAPTURES], char **allow) {
        const char *wanted = g_str_equal(method, "HEAD") ? "GET" : method;
        g_autoptr(GString) methods = NULL;

        *allow = NULL;
        for (guint i = 0; i < bh_n_routes; i++) {
                const char *found[BH_ROUTE_CAPTURES] = { NULL };

                if (!matches(bh_routes[i].pattern, segments, found))
                        continue;
                if (g_str_equal(bh_routes[i].method, wanted)) {
                        memcpy(captures, found, sizeof(found));
                        return &bh_routes[i];
                }
                if (!methods)
                        methods = g_string_new(NULL);
                g_string_append_printf(methods, "%s%s", methods->len ? ", " : "", bh_routes[i].method);
        }
        if (methods)
                *allow = g_string_free(g_steal_pointer(&methods), FALSE);
        return NULL;
}

gboolean bh_route_has_param(const BhRoute *route, const char *name) {
        gsize n = strlen(name);

        for (const char *p = route->params; *p;) {
                gsize len = strcspn(p, ",");

                if (len == n && !memcmp(p, name, n))
                        return TRUE;
                p += len + (p[len] == ',');
        }
        return FALSE;
}

/* ---- for the server ---- */

gboolean bh_router_begin(BhHttpRequest *r, gsize *body_max, gpointer data) {
        BhCentral *c = data;
        const char *captures[BH_ROUTE_CAPTURES] = { NULL }, *name;
        g_autofree char *allow = NULL;
        const BhRoute *route = bh_route_find(r->method, r->target.segments, captures, &allow);
        GHashTableIter it;

        if (!route && allow) {
                bh_http_add_header(r, "Allow", allow);
                bh_http_answer_error(r, 405, "method_not_allowed", "%s is not possible here; %s is", r->method, allow);
                return FALSE;
        }
        if (!route) {
                gboolean api = r->target.segments[0] && (g_str_equal(r->target.segments[0], "api") || g_str_equal(r->target.segments[0], "metrics"));

                if (api || (strcmp(r->method, "GET") && strcmp(r->method, "HEAD")) || !bh_ui_answer(c->ui, r))
                        bh_http_answer_error(r, 404, "not_found", "there is nothing at this address");
                return FALSE;
        }
        /* before anything is read for somebody who does not even try to say who it is */
        if (route->role != BH_STORE_ROLE_NONE && !bh_auth_has_credentials(r)) {
                g_atomic_int_inc(&c->denied);
                bh_auth_answer_401(r);
                return FALSE;
        }
        g_hash_table_iter_init(&it, r->target.params);
        while (g_hash_table_iter_next(&it, (gpointer *) &name, NULL)) {
                if (bh_route_has_param(route, name))
                        continue;
                bh_http_answer_error(r, 400, "unknown_parameter", "there is no parameter \"%.40s\" here%s%s", name, *route->params ? "; these are: " : "", route->params);
                return FALSE;
        }
        r->route = route;
        *body_max = route->body_max;
        return TRUE;
}

static gboolean is_write(const char *method) {
        return strcmp(method, "GET") && strcmp(method, "HEAD");
}

static gboolean permitted(BhCall *call) {
        const BhRoute *route = call->route;

        if (route->role == BH_STORE_ROLE_NONE)
                return !is_write(route->method) || bh_auth_same_origin(call);
        if (!bh_auth_identify(call))
                return FALSE;
        if (!call->who.local_root && !(call->crowded = bh_crowd_enter(call->central->crowd, call->who.name))) {
                bh_http_add_header(call->http, "Retry-After", "1");
                bh_call_error(call, 429, "too_many_calls", "too many calls of %s, or of all users, are under way; try again", call->who.name);
                return FALSE;
        }
        if (is_write(route->method) && !bh_auth_csrf(call))
                return FALSE;
        if (call->who.must_change && route->handle != bh_api_me && route->handle != bh_api_own_password && route->handle != bh_api_logout) {
                bh_call_error(call, 403, "password_change_required", "the password must be changed first: POST /api/v1/me/password");
                return FALSE;
        }
        if (call->who.role < route->role) {
                g_atomic_int_inc(&call->central->denied);
                if (route->audit)
                        bh_call_audit_write(call, call->captures[0], "denied", NULL);
                bh_call_error(call, 403, "forbidden", "this needs the role %s; %s has the role %s", bh_store_role_name(route->role), call->who.name,
                              bh_store_role_name(call->who.role));
                return FALSE;
        }
        /* to end something is never refused: there is no more of it than was begun */
        return !route->audit || route->handle == bh_api_logout || route->handle == bh_api_token_revoke || bh_call_pace(call);
}

void bh_router_handle(BhHttpRequest *r, gpointer data) {
        BhCall call = { .central = data, .http = r, .route = r->route };
        g_autofree char *allow = NULL;

        bh_route_find(r->method, r->target.segments, call.captures, &allow);
        bh_store_limit_reads(g_atomic_int_get(&call.central->query_seconds) * G_USEC_PER_SEC);
        if (permitted(&call))
                call.route->handle(&call);
        bh_store_limit_reads(0); /* the thread may be another pool's next */
        if (call.crowded)
                bh_crowd_leave(call.central->crowd, call.who.name);
        bh_identity_clear(&call.who);
}
