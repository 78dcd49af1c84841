/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people decided about the inspection of web traffic: whether at all, at which paranoia level, without which rules, and whose word counts for where a request came from.
 *
 * From a key file (docs/web.md), and for each container from its labels, which come before the file's section of its workload, which comes before the file's [web]:
 *
 *     [web]                                [workload shop/api]
 *     level=1                              level=2
 *     threshold=5                          exclude=942100;920350@/health
 *     trusted_proxies=10.0.0.0/8           off=false
 *
 *     bulkhead.web=off   bulkhead.web.level=2   bulkhead.web.threshold=5   bulkhead.web.exclude=942100,942130-942140,920350@/health
 *
 * Proxies are the node's to trust, not a container's: no label. A label that cannot be understood is as if it were not there, and counted.
 *
 * A policy never changes once it is made: any thread. Bounds: BH_WEB_EXCLUSIONS_MAX of a plan, BH_WEB_PROXIES_MAX networks, BH_WEB_WORKLOADS_MAX sections.
 */
#pragma once
#include "container/container.h"

#define BH_WEB_EXCLUSIONS_MAX 256u
#define BH_WEB_PROXIES_MAX 256u
#define BH_WEB_WORKLOADS_MAX 4096u
#define BH_WEB_LEVEL_DEFAULT 1u
#define BH_WEB_THRESHOLD_DEFAULT 5u /* the rule set's own: one critical rule */
#define BH_WEB_HOPS_MAX 16u         /* of X-Forwarded-For, from its end */

/* For one container. */
typedef struct {
        gboolean off;
        guint level, threshold;
        guint problems;     /* labels that were not understood */
        GArray *exclusions; /* its own */
} BhWebPlan;

typedef struct BhWebPolicy BhWebPolicy;

/* `path` NULL: all defaults. NULL with *error that names file, section and key. */
BhWebPolicy *bh_web_policy_new(const char *path, GError **error);
/* NULL is allowed. */
void bh_web_policy_free(BhWebPolicy *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebPolicy, bh_web_policy_free)

/* Caller frees. `c` NULL: a container of which nothing is known. */
BhWebPlan *bh_web_policy_plan(const BhWebPolicy *p, const BhContainer *c);
void bh_web_plan_free(BhWebPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhWebPlan, bh_web_plan_free)
/* Whether this rule is not to be counted there; `path`: the request's, as a template. One that has ".." in it, or is cut, is below no path. */
gboolean bh_web_plan_excludes(const BhWebPlan *plan, guint rule, const char *path);

/*
 * Where a request came from: the peer, or, when that is a trusted proxy, the last address of X-Forwarded-For that is none. What is no address there ends the search: the last
 * one that was one counts. Caller frees.
 */
char *bh_web_policy_source(const BhWebPolicy *p, const char *peer, const char *forwarded);
