/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy: to what (a rule's match, a model's anomaly, an incident's stage), in which containers, which response is made by itself, and within which limits. Read from YAML that a person
 * wrote; docs/response.md has the format for people.
 *
 *     name: shell-in-web              one policy is one text
 *     when: {rules: [Shell spawned by web server], tags: [...], priority: warning}      one of these three: decided on the node of the container, at the match,
 *           {anomaly: {families: [exec], surprise: 2, model: any | locked}}             at the central, which has the models
 *           {incident: {severity: high, stages: [lateral-movement]}}                    and the incidents
 *     scope: {containers, workloads, applications, images, nodes: lists of patterns, labels: map}   each that is there must match; without a scope: everywhere
 *     action: isolate                 with allow: a list of peers (src/response/response.h), or deny: one of what is refused (src/response/deny.h)
 *     dry_run, enabled, best_effort   true or false; a policy is a dry run until it says "dry_run: false"
 *     ttl: 1h   rate: 10 per 1h   cool_down: 10m   blast_radius: {containers: 5, percent: 50}
 *
 * A pattern is a text with "*" and "?"; case counts. The text is hostile input (fuzz_policy): its size, and the number and length of what is in it, are bounded; all that is wrong with it is
 * told in one pass, with line and column.
 *
 * A policy never changes once it is read and is reference-counted: any thread. Pure functions.
 */
#pragma once
#include "response/response.h"
#include "rules/ruleset.h"

#define BH_POLICY_TEXT_MAX (64u << 10)
#define BH_POLICY_NAME_MAX 63u
#define BH_POLICY_LIST_MAX 100u     /* patterns of one list */
#define BH_POLICY_WORD_MAX 512u     /* bytes of one pattern */
#define BH_POLICY_PROBLEMS_MAX 100u /* of one text; more are not told */
#define BH_POLICIES_MAX 200u        /* at a central, and at a node */
#define BH_POLICY_CONTAINERS_MAX 50u
#define BH_POLICY_RATE_MAX 1000u
#define BH_POLICY_TIME_MAX (7u * 86400u) /* s; of rate and cool_down */

typedef enum { BH_POLICY_RULE, BH_POLICY_ANOMALY, BH_POLICY_INCIDENT } BhPolicyKind;

/* Read-only. Lists are NULL-terminated; NULL: there is none, and nothing is asked of it. */
typedef struct {
        gatomicrefcount refs;
        char *name, *description; /* never NULL */
        gboolean enabled, dry_run, best_effort;
        BhPolicyKind kind;
        char **rules, **tags; /* rule: patterns of names; tags, of which one is enough */
        int priority;         /* rule: at least as grave; BH_PRIO_COUNT: any */
        char **families;      /* anomaly: kinds (src/model/families.tbl.h) */
        guint surprise;       /* anomaly: at least, in hundredths of a natural logarithm as findings tell it */
        gboolean locked;      /* anomaly: only of a family that a person locked, or that has converged so far that it may be enforced */
        guint severity;       /* incident: at least, 0 low … 3 critical */
        char **stages;        /* incident: tactics, of which one is enough */
        char **containers, **workloads, **applications, **images, **nodes;
        char **labels;        /* key, pattern of the value, key, … */
        BhResponseAction action;
        char **allow, **deny;
        guint ttl_s; /* 0: until somebody releases it */
        guint rate, rate_s, cool_down_s, max_containers, percent;
        guint64 text_hash; /* tells it from others of its name */
} BhPolicy;

typedef struct {
        guint32 line, column; /* from 1 */
        char *what;           /* and what to do */
} BhPolicyProblem;

void bh_policy_problem_free(gpointer problem);

/* NULL: `problems` (BhPolicyProblem, never empty then) says why. Files of one policy; several are an error. */
BhPolicy *bh_policy_parse(const char *text, gsize len, GPtrArray **problems);
BhPolicy *bh_policy_ref(BhPolicy *p);
void bh_policy_unref(BhPolicy *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPolicy, bh_policy_unref)

/* Lower-case letters, digits and "-", which neither begin nor end it. */
gboolean bh_policy_name_valid(const char *name);

/* ---- what it is asked of. Texts may be NULL, which is "". */

typedef struct {
        const char *node, *container, *name, *workload, *application, *image; /* container: its id */
        const char *(*label)(const char *key, gconstpointer data);           /* NULL: it has none */
        gconstpointer data;
} BhPolicyTarget;

typedef struct {
        const char *rule;
        const char *const *tags;
        gsize n_tags;
        int priority;
} BhPolicyRuleMatch;

typedef struct {
        const char *family;
        guint surprise;
        gboolean locked;
} BhPolicyAnomaly;

/* FALSE also where it is of another kind, or not enabled. */
gboolean bh_policy_of_rule(const BhPolicy *p, const BhPolicyRuleMatch *m);
gboolean bh_policy_of_anomaly(const BhPolicy *p, const BhPolicyAnomaly *a);
/* `stages`: names of tactics, NULL-terminated. */
gboolean bh_policy_of_incident(const BhPolicy *p, guint severity, const char *const *stages);
gboolean bh_policy_in_scope(const BhPolicy *p, const BhPolicyTarget *t);

/* One line for people. Caller frees. */
char *bh_policy_say_when(const BhPolicy *p);
char *bh_policy_say_scope(const BhPolicy *p);
