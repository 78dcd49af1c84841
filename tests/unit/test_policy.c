/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "policy/bounds.h"

#define SECOND ((gint64) G_USEC_PER_SEC)

static BhPolicy *parsed(const char *text) {
        g_autoptr(GPtrArray) problems = NULL;
        BhPolicy *p = bh_policy_parse(text, strlen(text), &problems);

        if (!p)
                g_error("%u:%u: %s", ((BhPolicyProblem *) problems->pdata[0])->line, ((BhPolicyProblem *) problems->pdata[0])->column, ((BhPolicyProblem *) problems->pdata[0])->what);
        g_assert_cmpuint(problems->len, ==, 0);
        return p;
}

/* "line:column part of the sentence", each in turn, and no other. */
static void refused_with(const char *text, gsize len, const char *const *expected) {
        g_autoptr(GPtrArray) problems = NULL;

        g_assert_null(bh_policy_parse(text, len, &problems));
        for (guint i = 0; i < problems->len || expected[i]; i++) {
                const BhPolicyProblem *p = i < problems->len ? problems->pdata[i] : NULL;
                g_autofree char *is = p ? g_strdup_printf("%u:%u %s", p->line, p->column, p->what) : g_strdup("nothing");
                g_autofree char *place = expected[i] ? g_strndup(expected[i], strcspn(expected[i], " ") + 1) : NULL;

                if (!place || !g_str_has_prefix(is, place) || !strstr(is, expected[i] + strlen(place)))
                        g_error("problem %u of %s:\nis     %s\nwanted %s", i, text, is, expected[i] ? expected[i] : "nothing");
                if (!expected[i])
                        return;
        }
}

static void refused(const char *text, const char *a, const char *b, const char *c) {
        const char *const expected[] = { a, b, c, NULL };

        refused_with(text, strlen(text), expected);
}

static void what_is_left_out_is_safe(void) {
        g_autoptr(BhPolicy) p = parsed("name: shells\nwhen: {rules: Shell*}\naction: isolate\n");

        g_assert_cmpstr(p->name, ==, "shells");
        g_assert_true(p->enabled && p->dry_run && !p->best_effort);
        g_assert_cmpint(p->kind, ==, BH_POLICY_RULE);
        g_assert_cmpint(p->action, ==, BH_RESPONSE_ISOLATE);
        g_assert_cmpuint(p->ttl_s, ==, 0);
        g_assert_cmpuint(p->rate, ==, 10);
        g_assert_cmpuint(p->rate_s, ==, 3600);
        g_assert_cmpuint(p->cool_down_s, ==, 300);
        g_assert_cmpuint(p->max_containers, ==, 5);
        g_assert_cmpuint(p->percent, ==, 50);
}

static void everything_is_read(void) {
        g_autoptr(BhPolicy) p = parsed("name: a-1\ndescription: what for\nenabled: false\ndry_run: false\nbest_effort: true\n"
                                       "when:\n  tags: [mitre_execution]\n  priority: error\nscope:\n  containers: [web-*, 'db']\n  workloads: web\n  applications: [shop]\n  images: ['nginx:*']\n"
                                       "  nodes: [n1]\n  labels: {tier: front, team: 'a*'}\naction: block\ndeny: [10.0.0.0/8, 'exec:/usr/bin/nc']\nttl: 2h\nrate: 3 per 90s\ncool_down: 1d\n"
                                       "blast_radius: {containers: 2, percent: 10}\n");
        g_autofree char *when = bh_policy_say_when(p), *scope = bh_policy_say_scope(p);

        g_assert_true(!p->enabled && !p->dry_run && p->best_effort);
        g_assert_cmpint(p->priority, ==, BH_PRIO_ERROR);
        g_assert_cmpuint(g_strv_length(p->deny), ==, 2);
        g_assert_cmpuint(p->ttl_s, ==, 7200);
        g_assert_cmpuint(p->rate, ==, 3);
        g_assert_cmpuint(p->rate_s, ==, 90);
        g_assert_cmpuint(p->cool_down_s, ==, 86400);
        g_assert_cmpuint(p->max_containers, ==, 2);
        g_assert_cmpuint(p->percent, ==, 10);
        g_assert_cmpstr(when, ==, "tag mitre_execution; priority Error or graver");
        g_assert_cmpstr(scope, ==, "container web-*, db; workload web; application shop; image nginx:*; node n1; label tier=front; label team=a*");
}

static void all_errors_are_told_with_their_places(void) {
        refused("name: Big\nwhen: {rules: x}\naction: explode\n", "1:7 lower-case letters", "3:9 isolate, quarantine", NULL);
        refused("name: x\nwhen: {rules: x, colour: red}\naction: kill\nttl: 5m\n", "2:18 no key \"colour\"", "4:1 ttl goes with", NULL);
        refused("name: x\nname: y\nwhen: {anomaly: {families: [exec, smell]}, rules: x}\naction: pause\n", "2:1 twice", "3:35 no \"smell\"", "3:7 one of three");
        refused("name: x\nwhen: {}\naction: isolate\nrate: often\n", "2:7 empty", "4:7 10 per 1h", NULL);
        refused("name: x\nwhen: {incident: {severity: huge, stages: [execution, lunch]}}\naction: isolate\n", "2:29 low, medium", "2:55 no \"lunch\"", NULL);
        refused("when: {rules: x}\n", "1:1 no name", "1:1 no action", NULL);
        refused("name: x\nwhen: {rules: x}\naction: block\n", "1:1 needs deny", NULL, NULL);
        refused("name: x\nwhen: {rules: x}\naction: kill-tree\n", "3:9 isolate, quarantine", NULL, NULL);
        refused("name: x\nwhen: {rules: x}\naction: scale-to-zero\n", "3:9 isolate, quarantine", NULL, NULL);
        refused("name: x\nwhen: {rules: x}\naction: block\ndeny: [300.1.1.1]\n", "4:7 300.1.1.1", NULL, NULL);
        refused("name: x\nwhen: {rules: x}\naction: block\ndeny: ['cap:fly']\n", "4:7 fly", NULL, NULL);
        refused("name: x\nwhen: {rules: x}\naction: isolate\ncool_down: 8d\nblast_radius: {containers: 51, percent: 0}\n", "4:12 at most 7d", "5:28 from 1 to 50", "5:41 from 1 to 100");
        refused("- name: x\n- name: y\n", "1:3 not a list", NULL, NULL);
        refused("name: x\nwhen: {rules: x}\naction: isolate\n---\nname: y\n", "5:1 one policy", NULL, NULL);
        refused("", "1:1 no policy", NULL, NULL);
        refused("name: [\n", "2:1 no YAML", NULL, NULL);
}

static void hostile_texts_are_bounded(void) {
        g_autofree char *long_text = g_strnfill(BH_POLICY_TEXT_MAX + 1, 'a'), *word = g_strnfill(BH_POLICY_WORD_MAX + 1, 'a');
        g_autofree char *wordy = g_strdup_printf("name: x\nwhen: {rules: %s}\naction: isolate\n", word);
        g_autoptr(GString) many = g_string_new("name: x\nwhen:\n  rules:\n");
        g_autoptr(GPtrArray) problems = NULL;

        refused(long_text, "1:1 65536 bytes", NULL, NULL);
        refused(wordy, "2:15 513 bytes", NULL, NULL);
        for (guint i = 0; i <= BH_POLICY_LIST_MAX; i++)
                g_string_append(many, "  - x\n");
        g_string_append(many, "action: isolate\n");
        refused(many->str, "4:3 101 entries", NULL, NULL);
        refused_with("name: x\0y\n", 10, (const char *const[]){ "1:8 NUL", NULL });
        /* an alias is the node that it names: a text of them takes no more than its own length */
        refused("name: x\nwhen: {rules: &a [x, x]}\nscope: {containers: [*a, *a, *a]}\naction: isolate\n", "2:15 not empty", "2:15 not empty", "2:15 not empty");
        g_string_truncate(many, 0);
        for (guint i = 0; i < 3 * BH_POLICY_PROBLEMS_MAX; i++)
                g_string_append_printf(many, "k%u: 1\n", i);
        g_assert_null(bh_policy_parse(many->str, many->len, &problems));
        g_assert_cmpuint(problems->len, ==, BH_POLICY_PROBLEMS_MAX);
}

static const char *label_of(const char *key, gconstpointer data) {
        return g_str_equal(key, "tier") ? data : NULL;
}

static gboolean in(const char *scope, const BhPolicyTarget *t) {
        g_autofree char *text = g_strdup_printf("name: x\nwhen: {rules: '*'}\nscope: %s\naction: isolate\n", scope);
        g_autoptr(BhPolicy) p = parsed(text);

        return bh_policy_in_scope(p, t);
}

static void scopes_are_patterns_and_all_must_match(void) {
        BhPolicyTarget t = { .node = "n1", .container = "c0ffee", .name = "web-1", .workload = "web", .application = "shop", .image = "nginx:1.2", .label = label_of, .data = "front" };

        g_assert_true(in("{containers: web-*}", &t) && in("{containers: c0ffee}", &t) && in("{images: 'nginx:?.?'}", &t) && in("{workloads: [db, web]}", &t));
        g_assert_true(in("{labels: {tier: f*t}}", &t) && in("{nodes: n1, applications: s**p}", &t));
        g_assert_false(in("{containers: web}", &t) || in("{containers: WEB-1}", &t) || in("{workloads: web, applications: other}", &t));
        g_assert_false(in("{labels: {tier: back}}", &t) || in("{labels: {team: '*'}}", &t) || in("{nodes: n?1}", &t));
        t.label = NULL;
        g_assert_false(in("{labels: {tier: '*'}}", &t));
}

static void a_rule_is_matched_by_name_tag_and_priority(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: ['Shell *', Other], tags: [a, b], priority: warning}\naction: isolate\n"), off = parsed("name: x\nenabled: false\nwhen: {rules: '*'}\naction: isolate\n");
        const char *tags[] = { "z", "b" };
        BhPolicyRuleMatch m = { .rule = "Shell in web", .tags = tags, .n_tags = 2, .priority = BH_PRIO_WARNING };

        g_assert_true(bh_policy_of_rule(p, &m));
        g_assert_false(bh_policy_of_rule(off, &m));
        m.priority = BH_PRIO_NOTICE;
        g_assert_false(bh_policy_of_rule(p, &m));
        m.priority = BH_PRIO_EMERGENCY;
        m.n_tags = 1;
        g_assert_false(bh_policy_of_rule(p, &m));
        m.n_tags = 2;
        m.rule = "Shells";
        g_assert_false(bh_policy_of_rule(p, &m));
}

static void anomalies_and_incidents_have_their_own(void) {
        g_autoptr(BhPolicy) a = parsed("name: x\nwhen: {anomaly: {families: [exec, peer], surprise: 3, model: locked}}\naction: kill\n"), i = parsed("name: x\nwhen: {incident: {severity: high, stages: [impact]}}\naction: isolate\n");
        BhPolicyAnomaly m = { "exec", 300, TRUE };
        const char *const stages[] = { "execution", "impact", NULL }, *const early[] = { "execution", NULL };

        g_assert_true(bh_policy_of_anomaly(a, &m));
        m.locked = FALSE;
        g_assert_false(bh_policy_of_anomaly(a, &m));
        m = (BhPolicyAnomaly){ "exec", 299, TRUE };
        g_assert_false(bh_policy_of_anomaly(a, &m));
        m = (BhPolicyAnomaly){ "dns", 300, TRUE };
        g_assert_false(bh_policy_of_anomaly(a, &m));
        g_assert_true(bh_policy_of_incident(i, 2, stages));
        g_assert_false(bh_policy_of_incident(i, 1, stages));
        g_assert_false(bh_policy_of_incident(i, 3, early));
        g_assert_false(bh_policy_of_anomaly(i, &m));
}

/* ---- limits ---- */

static gboolean nothing_is_held(const char *policy, const char *container, gpointer data) {
        return FALSE;
}

static BhPolicyDecision take(BhPolicyLimits *l, const BhPolicy *p, const char *container, const char *workload, guint running, gint64 at_s) {
        BhPolicyPlace at = { container, workload, running };
        gboolean first;

        return bh_policy_limits_take(l, p, &at, at_s * SECOND, &first);
}

static void the_same_container_is_left_alone_for_a_while(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: kill\ncool_down: 60s\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        g_assert_cmpint(take(l, p, "a", "w", 1, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "a", "w", 1, 1), ==, BH_POLICY_COOL_DOWN);
        bh_policy_limits_settle(l, "x", "a", TRUE, FALSE);
        g_assert_cmpint(take(l, p, "a", "w", 1, 59), ==, BH_POLICY_COOL_DOWN);
        g_assert_true(bh_policy_limits_cooling(l, p, "a", 59 * SECOND));
        g_assert_cmpint(take(l, p, "a", "w", 1, 60), ==, BH_POLICY_ACT);
}

static void what_is_held_is_not_held_again_until_it_is_released(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: isolate\ncool_down: 1s\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        g_assert_cmpint(take(l, p, "a", "w", 1, 0), ==, BH_POLICY_ACT);
        bh_policy_limits_settle(l, "x", "a", TRUE, TRUE);
        g_assert_cmpint(take(l, p, "a", "w", 1, 100), ==, BH_POLICY_COOL_DOWN);
        bh_policy_limits_sweep(l, "x", nothing_is_held, NULL, 100 * SECOND);
        g_assert_cmpint(take(l, p, "a", "w", 1, 100), ==, BH_POLICY_ACT);
}

static void no_more_than_its_rate(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: kill\nrate: 2 per 1m\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();
        BhPolicyPlace at = { "d", "w", 9 };
        gboolean first;

        g_assert_cmpint(take(l, p, "a", "w", 9, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "b", "w", 9, 30), ==, BH_POLICY_ACT);
        g_assert_cmpint(bh_policy_limits_take(l, p, &at, 59 * SECOND, &first), ==, BH_POLICY_RATE);
        g_assert_true(first);
        g_assert_cmpint(bh_policy_limits_take(l, p, &at, 59 * SECOND, &first), ==, BH_POLICY_RATE);
        g_assert_false(first); /* said once … */
        g_assert_cmpint(bh_policy_limits_take(l, p, &at, 60 * SECOND, &first), ==, BH_POLICY_ACT);
        at.container = "e";
        g_assert_cmpint(bh_policy_limits_take(l, p, &at, 61 * SECOND, &first), ==, BH_POLICY_RATE);
        g_assert_true(first); /* … until it acts again */
}

static void no_more_containers_than_its_radius(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: isolate\nrate: 100 per 1h\nblast_radius: {containers: 2, percent: 100}\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        g_assert_cmpint(take(l, p, "a", "w", 9, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "b", "w", 9, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "c", "w", 9, 0), ==, BH_POLICY_CONTAINERS);
        bh_policy_limits_settle(l, "x", "a", FALSE, FALSE); /* it failed: nothing is held of it */
        bh_policy_limits_settle(l, "x", "b", TRUE, TRUE);
        g_assert_cmpint(take(l, p, "c", "w", 9, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "d", "w", 9, 0), ==, BH_POLICY_CONTAINERS);
}

static void no_more_of_a_workload_than_its_part(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: isolate\nrate: 100 per 1h\nblast_radius: {containers: 50, percent: 50}\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        g_assert_cmpint(take(l, p, "a", "w", 4, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "b", "w", 4, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "c", "w", 4, 0), ==, BH_POLICY_PERCENT);
        g_assert_cmpint(take(l, p, "d", "other", 2, 0), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "e", "other", 2, 0), ==, BH_POLICY_PERCENT);
        g_assert_cmpint(take(l, p, "f", "single", 1, 0), ==, BH_POLICY_ACT);
}

/* Dry runs (the first of these is one) take nothing of it. */
static void all_policies_together_have_a_bound(void) {
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();
        guint acted = 0;

        for (guint n = 0; n < 4; n++) {
                g_autofree char *text = g_strdup_printf("name: p%u\ndry_run: %s\nwhen: {rules: '*'}\naction: isolate\nrate: 100 per 1h\nblast_radius: {containers: 20, percent: 100}\n", n, n ? "false" : "true");
                g_autoptr(BhPolicy) p = parsed(text);

                for (guint c = 0; c < 20; c++) {
                        g_autofree char *container = g_strdup_printf("c%u-%u", n, c);

                        acted += take(l, p, container, container, 1, 0) == BH_POLICY_ACT && !p->dry_run;
                }
        }
        g_assert_cmpuint(acted, ==, BH_POLICY_CLAIMS_MAX);
}

static void what_an_earlier_run_holds_counts(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: isolate\nblast_radius: {containers: 1, percent: 100}\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        bh_policy_limits_restore(l, "x", &(BhPolicyPlace){ "a", "w", 3 });
        g_assert_cmpint(take(l, p, "a", "w", 3, 0), ==, BH_POLICY_COOL_DOWN);
        g_assert_cmpint(take(l, p, "b", "w", 3, 0), ==, BH_POLICY_CONTAINERS);
}

static void what_cannot_be_undone_counts_for_the_time_of_the_rate(void) {
        g_autoptr(BhPolicy) p = parsed("name: x\nwhen: {rules: '*'}\naction: kill\nrate: 100 per 10m\nblast_radius: {containers: 1, percent: 100}\n");
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        g_assert_cmpint(take(l, p, "a", "w", 3, 0), ==, BH_POLICY_ACT);
        bh_policy_limits_settle(l, "x", "a", TRUE, FALSE);
        g_assert_cmpint(take(l, p, "b", "w", 3, 599), ==, BH_POLICY_CONTAINERS);
        g_assert_cmpint(take(l, p, "b", "w", 3, 600), ==, BH_POLICY_ACT);
}

/* Somebody watched what it would do, and then let it: at once, and to the same containers. */
static void a_dry_run_takes_no_room_from_what_it_becomes(void) {
        static const char text[] = "name: x\ndry_run: %s\nwhen: {rules: '*'}\naction: isolate\nrate: 2 per 1h\nblast_radius: {containers: 2, percent: 100}\n";
        g_autofree char *watched = g_strdup_printf(text, "true"), *let = g_strdup_printf(text, "false");
        g_autoptr(BhPolicy) dry = parsed(watched), p = parsed(let);
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();

        for (const char *const *c = (const char *const[]){ "a", "b", NULL }; *c; c++) {
                g_assert_cmpint(take(l, dry, *c, "w", 9, 0), ==, BH_POLICY_ACT);
                bh_policy_limits_settle(l, "x", *c, TRUE, FALSE);
        }
        g_assert_cmpint(take(l, dry, "c", "w", 9, 1), ==, BH_POLICY_RATE);
        g_assert_true(bh_policy_limits_cooling(l, dry, "a", SECOND));
        g_assert_false(bh_policy_limits_cooling(l, p, "a", SECOND));
        g_assert_cmpint(take(l, p, "a", "w", 9, 1), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "c", "w", 9, 1), ==, BH_POLICY_ACT);
        g_assert_cmpint(take(l, p, "a", "w", 9, 1), ==, BH_POLICY_COOL_DOWN);
        g_assert_cmpint(take(l, p, "b", "w", 9, 1), ==, BH_POLICY_RATE);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/policy/what_is_left_out_is_safe", what_is_left_out_is_safe);
        g_test_add_func("/policy/everything_is_read", everything_is_read);
        g_test_add_func("/policy/all_errors_are_told_with_their_places", all_errors_are_told_with_their_places);
        g_test_add_func("/policy/hostile_texts_are_bounded", hostile_texts_are_bounded);
        g_test_add_func("/policy/scopes_are_patterns_and_all_must_match", scopes_are_patterns_and_all_must_match);
        g_test_add_func("/policy/a_rule_is_matched_by_name_tag_and_priority", a_rule_is_matched_by_name_tag_and_priority);
        g_test_add_func("/policy/anomalies_and_incidents_have_their_own", anomalies_and_incidents_have_their_own);
        g_test_add_func("/policy/the_same_container_is_left_alone_for_a_while", the_same_container_is_left_alone_for_a_while);
        g_test_add_func("/policy/what_is_held_is_not_held_again_until_it_is_released", what_is_held_is_not_held_again_until_it_is_released);
        g_test_add_func("/policy/no_more_than_its_rate", no_more_than_its_rate);
        g_test_add_func("/policy/no_more_containers_than_its_radius", no_more_containers_than_its_radius);
        g_test_add_func("/policy/no_more_of_a_workload_than_its_part", no_more_of_a_workload_than_its_part);
        g_test_add_func("/policy/all_policies_together_have_a_bound", all_policies_together_have_a_bound);
        g_test_add_func("/policy/what_an_earlier_run_holds_counts", what_an_earlier_run_holds_counts);
        g_test_add_func("/policy/what_cannot_be_undone_counts_for_the_time_of_the_rate", what_cannot_be_undone_counts_for_the_time_of_the_rate);
        g_test_add_func("/policy/a_dry_run_takes_no_room_from_what_it_becomes", a_dry_run_takes_no_room_from_what_it_becomes);
        return g_test_run();
}
