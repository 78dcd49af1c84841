/* SPDX-License-Identifier: Apache-2.0 */
#include "replay_rules.h"

#include <stdio.h>

#include "base/escape.h"
#include "process/lineage.h"
#include "rules/alert.h"
#include "rules/domains.h"

#define CONTAINERS_MAX 4096u

/* What the recording said of a container last. */
struct known {
        char *id, *name, *image, *digest, *runtime, *workload, *application;
        GBytes *labels;
        gint8 privileged;
};

struct BhReplayRules {
        BhRuleSet *set;
        BhRuleEngine *engine;
        BhRuleRun *run;
        BhProcessTable *processes;
        BhDomains *domains;
        GHashTable *containers;
        struct bh_lineage lineage;
        guint64 refused;
};

static void known_free(gpointer data) {
        struct known *k = data;

        g_free(k->id);
        g_free(k->name);
        g_free(k->image);
        g_free(k->digest);
        g_free(k->runtime);
        g_free(k->workload);
        g_free(k->application);
        g_clear_pointer(&k->labels, g_bytes_unref);
        g_free(k);
}

static void keep(char **to, const struct bh_event *e, enum bh_field field, struct bh_str text) {
        if (!bh_event_has(e, field) || (*to && strlen(*to) == text.len && memcmp(*to, text.p, text.len) == 0))
                return;
        g_free(*to);
        *to = g_strndup(text.p, text.len);
}

static void learn_container(BhReplayRules *r, const struct bh_event *e) {
        char id[128];
        struct known *k;

        if (!bh_event_has(e, BH_F_container_id) || e->container_id.len >= sizeof(id))
                return;
        memcpy(id, e->container_id.p, e->container_id.len);
        id[e->container_id.len] = 0;
        k = g_hash_table_lookup(r->containers, id);
        if (!k) {
                if (g_hash_table_size(r->containers) >= CONTAINERS_MAX) {
                        r->refused++;
                        return;
                }
                k = g_new0(struct known, 1);
                k->id = g_strdup(id);
                k->privileged = -1;
                g_hash_table_insert(r->containers, k->id, k);
        }
        keep(&k->name, e, BH_F_container_name, e->container_name);
        keep(&k->image, e, BH_F_container_image, e->container_image);
        keep(&k->digest, e, BH_F_container_image_digest, e->container_image_digest);
        keep(&k->runtime, e, BH_F_container_runtime, e->container_runtime);
        keep(&k->workload, e, BH_F_workload, e->workload);
        keep(&k->application, e, BH_F_application, e->application);
        if (bh_event_has(e, BH_F_container_privileged))
                k->privileged = e->container_privileged != 0;
        if (bh_event_has(e, BH_F_container_labels) && !k->labels)
                k->labels = g_bytes_new(e->container_labels.p, e->container_labels.len);
}

static struct bh_str str_of(const char *text) {
        return text ? (struct bh_str){ text, (guint32) strlen(text) } : (struct bh_str){ NULL, 0 };
}

static gboolean find_container(gpointer data, struct bh_str id, struct bh_lineage_container *out) {
        BhReplayRules *r = data;
        char text[128];
        const struct known *k;

        if (id.len >= sizeof(text))
                return FALSE;
        memcpy(text, id.p, id.len);
        text[id.len] = 0;
        k = g_hash_table_lookup(r->containers, text);
        if (!k)
                return FALSE;
        *out = (struct bh_lineage_container){ .id = str_of(k->id), .name = str_of(k->name), .image = str_of(k->image), .image_digest = str_of(k->digest), .runtime = str_of(k->runtime),
                                              .workload = str_of(k->workload), .application = str_of(k->application), .privileged = k->privileged,
                                              .host_pid = -1, .host_network = -1, .host_ipc = -1 };
        if (k->labels) {
                gsize n;

                out->labels.p = g_bytes_get_data(k->labels, &n);
                out->labels.len = (guint32) n;
        }
        return TRUE;
}

/* The table answers for processes, this for the rest: lineage has one `data`. */
static struct bh_lineage table_lineage;

static gboolean find_process(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        return table_lineage.find(((BhReplayRules *) data)->processes, pid, start, out);
}

static gboolean find_parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        return table_lineage.parent(((BhReplayRules *) data)->processes, of, out);
}

static gboolean find_domain(gpointer data, const struct bh_ip *ip, struct bh_str *name) {
        return bh_domains_find(((BhReplayRules *) data)->domains, ip, name);
}

static void say(const char *text) {
        g_autofree char *cell = bh_escape_cell(text, -1);

        fprintf(stderr, "bulkhead: %s\n", cell);
}

BhReplayRules *bh_replay_rules_new(char **files, gboolean all, GError **error) {
        guint n = g_strv_length(files);
        g_autofree BhRuleSource *sources = g_new0(BhRuleSource, n);
        g_autoptr(GPtrArray) problems = g_ptr_array_new();
        g_autoptr(BhReplayRules) r = g_new0(BhReplayRules, 1);
        BhRuleLoadOptions options = { .rule_matching_all = all };

        for (guint i = 0; i < n; i++)
                sources[i].name = files[i];
        r->set = bh_rule_set_load(sources, n, &options);
        for (guint i = 0; i < bh_rule_set_problems(r->set)->len; i++) {
                const BhRuleProblem *p = g_ptr_array_index(bh_rule_set_problems(r->set), i);
                g_autofree char *text = bh_rule_problem_text(r->set, p);

                if (p->error)
                        say(text);
        }
        r->engine = bh_rule_engine_new(r->set, NULL, problems, error);
        if (!r->engine)
                return NULL;
        for (guint i = 0; i < problems->len; i++) {
                const BhEngineProblem *p = g_ptr_array_index(problems, i);
                const BhRule *rule = g_ptr_array_index(bh_rule_set_rules(r->set), p->rule);
                g_autofree char *text = g_strdup_printf("%s:%u:%u: %s: %s (rule \"%s\")", bh_rule_set_file(r->set, p->pos.file), p->pos.line, p->pos.column,
                                                        p->error ? "error" : "warning", p->what, rule->name);

                say(text);
        }
        r->run = bh_rule_run_new();
        r->processes = bh_process_table_new_replay();
        bh_process_lineage(r->processes, &table_lineage);
        r->domains = bh_domains_new();
        r->containers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, known_free);
        r->lineage = (struct bh_lineage){ .find = find_process, .parent = find_parent, .container = find_container, .domain = find_domain, .data = r };
        return g_steal_pointer(&r);
}

void bh_replay_rules_free(BhReplayRules *r) {
        if (!r)
                return;
        g_clear_pointer(&r->run, bh_rule_run_free);
        g_clear_pointer(&r->engine, bh_rule_engine_unref);
        g_clear_pointer(&r->set, bh_rule_set_unref);
        g_clear_pointer(&r->processes, bh_process_table_free);
        g_clear_pointer(&r->domains, bh_domains_free);
        g_clear_pointer(&r->containers, g_hash_table_unref);
        g_free(r);
}

void bh_replay_rules_event(BhReplayRules *r, const struct bh_event *e, gboolean shown, gboolean json, GString *out) {
        const guint32 *matches;
        guint n;

        learn_container(r, e);
        bh_process_feed(r->processes, e);
        bh_domains_feed(r->domains, e);
        if (!shown)
                return;
        n = bh_rule_run_event(r->run, r->engine, e, &r->lineage, &matches);
        for (guint i = 0; i < n; i++) {
                const BhRule *rule = g_ptr_array_index(bh_rule_set_rules(r->set), matches[i]);

                (json ? bh_rule_alert_json : bh_rule_alert_text)(r->run, r->engine, rule, matches[i], e, out);
                g_string_append_c(out, '\n');
        }
}

void bh_replay_rules_summary(const BhReplayRules *r) {
        BhRuleRunStats s;

        bh_rule_run_stats(r->run, &s);
        fprintf(stderr, "bulkhead: %" G_GUINT64_FORMAT " events, %" G_GUINT64_FORMAT " matches", s.events, s.matches);
        if (s.limits)
                fprintf(stderr, ", %" G_GUINT64_FORMAT " patterns hit a limit and count as no match", s.limits);
        if (r->refused)
                fprintf(stderr, ", labels of containers over %u are not known", CONTAINERS_MAX);
        fputc('\n', stderr);
}
