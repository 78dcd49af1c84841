/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a method and a path to the handler that may answer it. The table is routes.tbl.h; pure lookups, any thread.
 */
#pragma once
#include "central.h"

#define BH_ROUTE_CAPTURES 2

struct BhRoute {
        const char *method, *pattern;
        BhStoreRole role;
        gsize body_max;
        const char *params; /* "a,b,c" */
        const char *audit;  /* NULL: reads */
        void (*handle)(BhCall *call);
};

extern const BhRoute bh_routes[];
extern const guint bh_n_routes;

/*
 * The route of this method and path, whose {segments} go to `captures` (borrowed). NULL: *allow tells the methods that the path has, NULL
 * when there is no such path. HEAD finds GET.
 */
const BhRoute *bh_route_find(const char *method, char *const *segments, const char *captures[BH_ROUTE_CAPTURES], char **allow);
/* Whether the route knows this parameter of the query. */
gboolean bh_route_has_param(const BhRoute *route, const char *name);

/* For BhHttpOps: `data` is the BhCentral. */
gboolean bh_router_begin(BhHttpRequest *r, gsize *body_max, gpointer data);
void bh_router_handle(BhHttpRequest *r, gpointer data);

#define BH_ROUTE(method, pattern, role, body, params, audit, handler) void bh_api_##handler(BhCall *call);
#include "routes.tbl.h"
#undef BH_ROUTE
