/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include <string.h>

#include "incident/incident.h"

BhPolicy *bh_policy_ref(BhPolicy *p) {
        g_atomic_ref_count_inc(&p->refs);
        return p;
}

void bh_policy_unref(BhPolicy *p) {
        if (!p || !g_atomic_ref_count_dec(&p->refs))
                return;
        char **lists[] = { p->rules, p->tags, p->families, p->stages, p->containers, p->workloads, p->applications, p->images, p->nodes, p->labels, p->allow, p->deny };

        for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
                g_strfreev(lists[i]);
        g_free(p->name);
        g_free(p->description);
        g_free(p);
}

gboolean bh_policy_name_valid(const char *name) {
        gsize len = strlen(name);

        return len && len <= BH_POLICY_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && name[0] != '-' && name[len - 1] != '-';
}

/* ---- matching ---- */

/* "*" and "?" only. Goes back to the last star alone, so it takes pattern times text at most. */
static gboolean like(const char *pattern, const char *text) {
        const char *star = NULL, *from = NULL;

        while (*text) {
                if (*pattern == '*') {
                        star = pattern++;
                        from = text;
                } else if (*pattern == '?' || *pattern == *text) {
                        pattern++;
                        text++;
                } else if (star) {
                        pattern = star + 1;
                        text = ++from;
                } else {
                        return FALSE;
                }
        }
        while (*pattern == '*')
                pattern++;
        return !*pattern;
}

/* TRUE where nothing is asked. */
static gboolean any_like(char **patterns, const char *text) {
        if (!patterns)
                return TRUE;
        for (guint i = 0; patterns[i]; i++)
                if (like(patterns[i], text ? text : ""))
                        return TRUE;
        return FALSE;
}

gboolean bh_policy_of_rule(const BhPolicy *p, const BhPolicyRuleMatch *m) {
        if (!p->enabled || p->kind != BH_POLICY_RULE || m->priority > p->priority || !any_like(p->rules, m->rule))
                return FALSE;
        if (!p->tags)
                return TRUE;
        for (gsize i = 0; i < m->n_tags; i++)
                if (any_like(p->tags, m->tags[i]))
                        return TRUE;
        return FALSE;
}

gboolean bh_policy_of_anomaly(const BhPolicy *p, const BhPolicyAnomaly *a) {
        return p->enabled && p->kind == BH_POLICY_ANOMALY && a->surprise >= p->surprise && (a->locked || !p->locked) && any_like(p->families, a->family);
}

gboolean bh_policy_of_incident(const BhPolicy *p, guint severity, const char *const *stages) {
        if (!p->enabled || p->kind != BH_POLICY_INCIDENT || severity < p->severity)
                return FALSE;
        if (!p->stages)
                return TRUE;
        for (guint i = 0; stages[i]; i++)
                if (g_strv_contains((const char *const *) p->stages, stages[i]))
                        return TRUE;
        return FALSE;
}

gboolean bh_policy_in_scope(const BhPolicy *p, const BhPolicyTarget *t) {
        if (!any_like(p->nodes, t->node) || !any_like(p->workloads, t->workload) || !any_like(p->applications, t->application) || !any_like(p->images, t->image))
                return FALSE;
        if (p->containers && !any_like(p->containers, t->name) && !any_like(p->containers, t->container))
                return FALSE;
        for (guint i = 0; p->labels && p->labels[i]; i += 2) {
                const char *value = t->label ? t->label(p->labels[i], t->data) : NULL;

                if (!value || !like(p->labels[i + 1], value))
                        return FALSE;
        }
        return TRUE;
}

/* ---- words ---- */

static void add_list(GString *out, const char *what, char **list) {
        if (!list)
                return;
        g_autofree char *joined = g_strjoinv(", ", list);
        g_string_append_printf(out, "%s%s %s", out->len ? "; " : "", what, joined);
}

char *bh_policy_say_when(const BhPolicy *p) {
        g_autoptr(GString) out = g_string_new(NULL);

        if (p->kind == BH_POLICY_RULE) {
                add_list(out, "rule", p->rules);
                add_list(out, "tag", p->tags);
                if (p->priority < BH_PRIO_COUNT)
                        g_string_append_printf(out, "%spriority %s or graver", out->len ? "; " : "", bh_priority_name((enum bh_priority) p->priority));
                return g_strdup(out->len ? out->str : "any rule");
        }
        if (p->kind == BH_POLICY_ANOMALY) {
                g_string_append(out, p->locked ? "anomaly of a model that is locked or strict enough" : "anomaly");
                add_list(out, "family", p->families);
                if (p->surprise)
                        g_string_append_printf(out, "; surprise %u.%02u or more", p->surprise / 100, p->surprise % 100);
                return g_strdup(out->str);
        }
        g_string_append_printf(out, "incident of severity %s or more", bh_severity_name(p->severity));
        add_list(out, "stage", p->stages);
        return g_strdup(out->str);
}

char *bh_policy_say_scope(const BhPolicy *p) {
        g_autoptr(GString) out = g_string_new(NULL);

        add_list(out, "container", p->containers);
        add_list(out, "workload", p->workloads);
        add_list(out, "application", p->applications);
        add_list(out, "image", p->images);
        add_list(out, "node", p->nodes);
        for (guint i = 0; p->labels && p->labels[i]; i += 2)
                g_string_append_printf(out, "%slabel %s=%s", out->len ? "; " : "", p->labels[i], p->labels[i + 1]);
        return g_strdup(out->len ? out->str : "everywhere");
}
