/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP facts: what each container serves and asks for, by method and path template, with the parameters that came with it, counted. A new endpoint, a new parameter, and one that is longer than ever, is there
 * to be told at once; what came since is told again at most each BH_WEB_ENDPOINT_REPEAT_US.
 *
 * The owner holds a lock in every call. Bounds: BH_WEB_ENDPOINTS_CONTAINER of a container, of them BH_WEB_ENDPOINTS_REFUSED that were never answered but by 4xx (whoever invents paths gets 404, and
 * takes no room from what there is), BH_WEB_ENDPOINTS in total; what is beyond is counted under the path BH_WEB_ENDPOINT_REST of its container (and in total beyond twice as many not at all, but in the stats).
 * Of parameters, of answers below 400 alone: BH_WEB_ENDPOINT_PARAMS of an endpoint, BH_WEB_PARAMS_CONTAINER of a container, BH_WEB_PARAMS in total; others are counted as the endpoint's `rest`. Quiet
 * endpoints are forgotten after BH_WEB_ENDPOINT_QUIET_US, with what they have.
 */
#pragma once
#include "container/container.h"
#include "parse/web_facts.h"

#define BH_WEB_ENDPOINTS_CONTAINER 512u
#define BH_WEB_ENDPOINTS_REFUSED 128u
#define BH_WEB_ENDPOINTS 8192u
#define BH_WEB_ENDPOINT_PARAMS 32u
#define BH_WEB_PARAMS_CONTAINER 1024u
#define BH_WEB_PARAMS 16384u
#define BH_WEB_ENDPOINT_REST "*"
#define BH_WEB_ENDPOINT_REPEAT_US (30 * G_USEC_PER_SEC)
#define BH_WEB_ENDPOINT_QUIET_US (600 * G_USEC_PER_SEC)

/* How responses ended. */
enum { BH_WEB_STATUS_NONE, BH_WEB_STATUS_1XX, BH_WEB_STATUS_2XX, BH_WEB_STATUS_3XX, BH_WEB_STATUS_4XX, BH_WEB_STATUS_5XX, BH_WEB_STATUS_CLASSES };

typedef struct {
        guint32 hash; /* of place, type and name */
        guint8 place, type, length; /* length: the largest class there was */
        char *name;
        guint64 count; /* since it was told last: 0, there is nothing to tell */
        gint64 first_ns, last_ns;
} BhWebEndpointParam;

typedef struct {
        BhContainer *container;
        gboolean client;     /* the container asks; else it serves */
        char *method, *path; /* path: a template */
        char *peer;          /* client: the authority that it asked for; else "" */
        /* since it was told last */
        guint64 count, status[BH_WEB_STATUS_CLASSES];
        guint64 request_bytes, response_bytes; /* sums, of bodies */
        guint64 latency_us, latency_max_us;    /* sum and largest, of those with a response; first byte of the request to last of the response */
        guint64 timed;                         /* how many those are */
        guint64 rest;                          /* parameters beyond the bounds */
        gint64 first_ns, last_ns;              /* CLOCK_BOOTTIME */
        guint32 pid;                           /* the process of the last one, and its start */
        guint64 start;
        BhWebEndpointParam *params;
        guint n_params;
} BhWebEndpoint;

typedef struct {
        const BhContainer *container;
        gboolean client;
        const char *method, *path, *peer;
        guint status; /* 0: none */
        guint64 request_bytes, response_bytes;
        gint64 begin_ns, end_ns;
        guint32 pid;
        guint64 start;
        const BhWebParam *params;
        guint n_params, params_dropped;
} BhWebExchangeFact;

typedef struct {
        guint endpoints;
        guint params;
        guint64 counted, told, rest, refused, params_rest;
} BhWebEndpointsStats;

typedef struct BhWebEndpoints BhWebEndpoints;

BhWebEndpoints *bh_web_endpoints_new(void);
/* NULL is allowed. */
void bh_web_endpoints_free(BhWebEndpoints *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebEndpoints, bh_web_endpoints_free)
void bh_web_endpoints_add(BhWebEndpoints *t, const BhWebExchangeFact *fact, gint64 now_us);
/* Gives at most `max` of what is due (`all`: whatever was counted) to `told`. Returns how many. */
guint bh_web_endpoints_take(BhWebEndpoints *t, gboolean all, gint64 now_us, guint max, void (*told)(const BhWebEndpoint *endpoint, gpointer data), gpointer data);
void bh_web_endpoints_stats(const BhWebEndpoints *t, BhWebEndpointsStats *out);
