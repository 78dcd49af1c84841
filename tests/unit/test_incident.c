/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/story.h"

#include <fcntl.h>

#define S G_GINT64_CONSTANT(1000000000)
#define T(name) (1u << BH_TACTIC_##name)

static gint64 next_serial;

/* An act in a container of node "n", at second `at`. */
static BhIncidentFinding act(const char *container, const char *rule, guint rank, guint32 tactics, gint64 at) {
        return (BhIncidentFinding){ .serial = ++next_serial, .id = "id", .rule = rule, .kind = "rule", .output = "", .rank = rank, .time_ns = (1000 + at) * S, .count = 1, .node = "n",
                .container_id = container, .container_name = container, .workload = container, .application = "app", .tactics = tactics };
}

static guint64 join(BhIncidents *g, BhIncidentFinding f) {
        BhIncidentJoin j = bh_incidents_finding(g, &f);

        return j.incident ? j.incident->id : 0;
}

static void test_one_attack_is_one(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentFinding f = act("web", "Server program started a shell", 2, T(INITIAL_ACCESS), 0);
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        guint64 id = j.incident->id;

        g_assert_true(j.opened);
        g_assert_cmpuint(join(g, act("web", "Password hashes read", 3, T(CREDENTIAL_ACCESS), 5)), ==, id);
        g_assert_cmpuint(join(g, act("web", "Somebody looks around", 6, T(DISCOVERY), 6)), ==, id);
        /* an hour between two steps, twenty of them */
        for (gint64 h = 1; h <= 20; h++)
                g_assert_cmpuint(join(g, act("web", "Log removed or emptied", 4, T(DEFENSE_EVASION), h * 3600)), ==, id);
        const BhIncident *i = bh_incidents_get(g, id);
        g_assert_cmpuint(i->lines->len, ==, 4);
        g_assert_cmpuint(i->findings, ==, 23);
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_HIGH); /* 4 + 3 + 2 + 0 */
        g_assert_cmpuint(i->tactics, ==, T(INITIAL_ACCESS) | T(CREDENTIAL_ACCESS) | T(DISCOVERY) | T(DEFENSE_EVASION));
}

static void test_two_attacks_are_two(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(7);
        guint64 a = join(g, act("web-1", "x", 2, T(EXECUTION), 0)), b = join(g, act("web-2", "x", 2, T(EXECUTION), 0));

        g_assert_cmpuint(a, ==, 7);
        g_assert_cmpuint(b, ==, 8);
        /* both reach the same database: what then happens there belongs to the one who came last, and the two stay two */
        BhIncidentFinding f = act("web-1", "reach", 4, T(LATERAL_MOVEMENT), 10);
        f.peer_container = "db";
        g_assert_cmpuint(join(g, f), ==, a);
        f = act("web-2", "reach", 4, T(LATERAL_MOVEMENT), 20);
        f.peer_container = "db";
        g_assert_cmpuint(join(g, f), ==, b);
        g_assert_cmpuint(join(g, act("db", "y", 2, T(COLLECTION), 30)), ==, b);
        g_assert_cmpuint(join(g, act("web-1", "z", 2, T(IMPACT), 40)), ==, a);
        BhIncidentStats s;
        bh_incidents_stats(g, &s);
        g_assert_cmpuint(s.open, ==, 2);
        g_assert_cmpuint(s.merged, ==, 0);
}

static void test_what_is_no_incident(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentStats s;

        g_assert_cmpuint(join(g, act("a", "Operator's command in a running container", 6, T(EXECUTION), 0)), ==, 0);
        g_assert_cmpuint(join(g, act("a", "Privileged container started", 5, T(EXECUTION), 1)), ==, 0);
        /* a warning alone is forming; another of the same tactic leaves it so; another tactic opens it */
        BhIncidentFinding f = act("a", "w", 4, T(PERSISTENCE), 2);
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpint(j.incident->state, ==, BH_INCIDENT_FORMING);
        f = act("a", "w2", 4, T(PERSISTENCE), 3);
        g_assert_cmpint(bh_incidents_finding(g, &f).incident->state, ==, BH_INCIDENT_FORMING);
        f = act("a", "w3", 4, T(IMPACT), 4);
        j = bh_incidents_finding(g, &f);
        g_assert_true(j.opened);
        bh_incidents_stats(g, &s);
        g_assert_cmpuint(s.passed_over, ==, 2);
}

static void test_out_of_the_container(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        struct bh_event write = { 0 }, run = { 0 };
        guint64 id = join(g, act("web", "shell", 2, T(EXECUTION), 0));

        /* a process that came from the container writes a file of the node … */
        BH_SET(&write, type, BH_EV_OPEN);
        BH_SET(&write, open_flags, O_WRONLY | O_CREAT);
        BH_SET(&write, dev, 9);
        BH_SET(&write, ino, 99);
        BH_SET_STR(&write, origin_id, "web");
        BhIncidentFinding f = act("", "Scheduled job written", 3, T(PERSISTENCE), 5);
        f.event = &write;
        f.of_host = TRUE;
        g_assert_cmpuint(join(g, f), ==, id);
        /* … that cron runs much later, when the container is gone */
        const BhIncidentProcess cron[] = { { 900, 1, "/tmp/x", "", "" }, { 500, 1, "/usr/sbin/cron", "", "" } };
        BH_SET(&run, type, BH_EV_EXEC);
        BH_SET(&run, exe_dev, 9);
        BH_SET(&run, exe_ino, 99);
        f = act("", "Program run", 3, T(EXECUTION), 3600);
        f.event = &run;
        f.lineage = cron;
        f.n_lineage = 2;
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, id);
        g_assert_cmpint(j.basis, ==, BH_BASIS_FILE);
        /* what the same process does next, and its child */
        const BhIncidentProcess child[] = { { 901, 2, "/bin/sh", "", "" }, cron[0], cron[1] };
        f = act("", "Accounts changed", 3, T(PERSISTENCE), 3605);
        f.lineage = child;
        f.n_lineage = 3;
        j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, id);
        g_assert_cmpint(j.basis, ==, BH_BASIS_PROCESS);
        g_assert_cmpint(j.incident->severity, ==, BH_SEVERITY_HIGH); /* 4 + 3, and 3 for the node */
        /* another job of cron has nothing to do with it */
        const BhIncidentProcess other[] = { { 950, 3, "/bin/sh", "", "" }, cron[1] };
        f = act("", "Accounts changed", 3, T(PERSISTENCE), 3610);
        f.lineage = other;
        f.n_lineage = 2;
        g_assert_cmpuint(join(g, f), !=, id);
        /* a file that nobody of the incident wrote does not tie: reading the same file twice is no cause */
        BH_SET(&run, exe_ino, 100);
        f = act("other", "Program run", 3, T(EXECUTION), 3620);
        f.event = &run;
        g_assert_cmpuint(join(g, f), !=, id);
}

static void test_merge(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 a = join(g, act("a", "x", 2, T(EXECUTION), 0)), b = join(g, act("b", "y", 2, T(DISCOVERY), 10));
        struct bh_event trace = { 0 };

        BH_SET(&trace, type, BH_EV_PTRACE);
        BH_SET_STR(&trace, target_container_id, "b");
        BhIncidentFinding f = act("a", "Process outside of the container traced", 2, T(PRIVILEGE_ESCALATION), 20);
        f.event = &trace;
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, a);
        g_assert_cmpuint(j.n_merged, ==, 1);
        g_assert_cmpuint(j.merged[0]->id, ==, b);
        g_assert_cmpint(j.merged[0]->state, ==, BH_INCIDENT_MERGED);
        g_assert_cmpuint(j.merged[0]->merged_into, ==, a);
        g_assert_cmpuint(j.incident->lines->len, ==, 3);
        g_assert_cmpstr(((BhIncidentLine *) g_ptr_array_index(j.incident->lines, 1))->rule, ==, "y");
        g_assert_cmpuint(join(g, act("b", "z", 3, T(IMPACT), 30)), ==, a);
        g_assert_cmpuint(bh_incidents_get(g, b)->id, ==, a);
}

static void test_counts(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentFinding f = act("a", "x", 2, T(EXECUTION), 0);
        guint64 id = join(g, f);

        /* the same finding, grown */
        f.count = 9000;
        f.last_ns = 2000 * S;
        g_assert_cmpuint(join(g, f), ==, id);
        /* others that are equal */
        for (guint n = 0; n < 1000; n++)
                g_assert_cmpuint(join(g, act("a", "x", 2, T(EXECUTION), 10)), ==, id);
        const BhIncident *i = bh_incidents_get(g, id);
        g_assert_cmpuint(i->lines->len, ==, 1);
        g_assert_cmpuint(((BhIncidentLine *) g_ptr_array_index(i->lines, 0))->count, ==, 10000);
        g_assert_cmpint(i->last_ns, ==, 2000 * S);
        /* a flood of different ones is bounded and counted */
        for (guint n = 0; n < BH_INCIDENT_LINES_MAX + 50; n++) {
                g_autofree char *rule = g_strdup_printf("r%u", n);

                join(g, act("a", rule, 3, T(IMPACT), 20));
        }
        g_assert_cmpuint(i->lines->len, ==, BH_INCIDENT_LINES_MAX);
        g_assert_cmpuint(i->lines_dropped, ==, 51);
}

static void test_what_has_no_line_is_judged(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = join(g, act("a", "w", 4, T(DISCOVERY), 0));

        for (guint n = 0; n < BH_INCIDENT_LINES_MAX + 10; n++) {
                g_autofree char *rule = g_strdup_printf("r%u", n);

                g_assert_cmpuint(join(g, act("a", rule, 5, T(DISCOVERY), 1)), ==, id);
        }
        BhIncidentFinding f = act("a", "x", 2, T(PRIVILEGE_ESCALATION), 2);
        f.escape = TRUE;
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_true(j.opened);
        g_assert_cmpuint(j.incident->rank, ==, 2);
        g_assert_cmpuint(j.incident->tactics, ==, T(DISCOVERY) | T(PRIVILEGE_ESCALATION));
        g_assert_cmpint(j.incident->severity, ==, BH_SEVERITY_HIGH); /* 2 + 4, and 3 for the way out */
}

static void test_forming_ones_that_merge_are_told_of(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 a = join(g, act("a", "x", 2, T(EXECUTION), 0)), b = join(g, act("b", "w", 4, T(DISCOVERY), 10));
        struct bh_event trace = { 0 };

        BH_SET(&trace, type, BH_EV_PTRACE);
        BH_SET_STR(&trace, target_container_id, "b");
        BhIncidentFinding f = act("a", "traced", 2, T(PRIVILEGE_ESCALATION), 20);
        f.event = &trace;
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, a);
        g_assert_cmpuint(j.n_merged, ==, 1);
        g_assert_cmpuint(j.merged[0]->id, ==, b);
        g_assert_false(j.merged_open[0]);
}

static void test_bounds(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentStats s;

        guint64 kept = join(g, act("kept", "x", 2, T(EXECUTION), 0));
        for (guint n = 0; n < BH_INCIDENTS_MAX + 500; n++) {
                g_autofree char *c = g_strdup_printf("c%u", n);

                join(g, act(c, "w", 4, T(EXECUTION), n));
        }
        bh_incidents_stats(g, &s);
        g_assert_cmpuint(s.open + s.forming, ==, BH_INCIDENTS_MAX);
        g_assert_cmpuint(s.given_up, ==, 501);
        g_assert_nonnull(bh_incidents_get(g, kept)); /* what is forming goes first */
        g_assert_cmpuint(bh_incidents_age(g, 1000 * S + BH_INCIDENT_QUIET_NS + 1, NULL, NULL), ==, 1);
        g_assert_null(bh_incidents_get(g, kept));
        g_assert_cmpuint(bh_incidents_age(g, G_MAXINT64, NULL, NULL), ==, BH_INCIDENTS_MAX - 1);
        bh_incidents_stats(g, &s);
        g_assert_cmpuint(s.keys, ==, 0);
}

static void test_close_and_restore(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentFinding f = act("a", "x", 2, T(EXECUTION), 0);
        guint64 id = join(g, f);

        g_assert_true(bh_incidents_close(g, id));
        g_assert_false(bh_incidents_close(g, id));
        f.count = 2; /* what belongs to a closed one opens nothing */
        g_assert_cmpuint(join(g, f), ==, 0);
        g_assert_cmpuint(join(g, act("a", "x", 2, T(EXECUTION), 5)), ==, id + 1);

        g_autoptr(BhIncidents) h = bh_incidents_new(1);
        bh_incidents_restore(h, 41, BH_INCIDENT_OPEN, &f);
        BhIncidentFinding later = act("a", "later", 4, T(IMPACT), 2);
        const BhIncident *i = bh_incidents_restore(h, 41, BH_INCIDENT_OPEN, &later);
        g_assert_cmpint(((BhIncidentLine *) g_ptr_array_index(i->lines, 0))->basis, ==, BH_BASIS_NONE);
        g_assert_cmpint(((BhIncidentLine *) g_ptr_array_index(i->lines, 1))->basis, ==, BH_BASIS_CONTAINER);
        g_assert_cmpuint(join(h, act("a", "y", 6, T(DISCOVERY), 6)), ==, 41);
        g_assert_cmpuint(join(h, act("b", "y", 2, T(DISCOVERY), 6)), ==, 42);
}

static void test_asked(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = join(g, act("web", "Container runtime's socket used", 3, T(EXECUTION), 0));

        bh_incidents_asked(g, "n", "web", "evil", 1001 * S);
        bh_incidents_asked(g, "n", "quiet", "other", 1001 * S);
        g_assert_cmpuint(join(g, act("evil", "Disk mounted", 2, T(PRIVILEGE_ESCALATION), 2)), ==, id);
        g_assert_cmpuint(join(g, act("other", "Disk mounted", 2, T(PRIVILEGE_ESCALATION), 2)), !=, id);
        /* the same name on another node is another container */
        BhIncidentFinding f = act("web", "x", 2, T(EXECUTION), 3);
        f.node = "m";
        g_assert_cmpuint(join(g, f), !=, id);
}

static void test_story(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        const BhIncidentProcess sh[] = { { 7, 1, "/bin/sh", "web", "" }, { 3, 1, "/usr/sbin/nginx", "web", "" } };
        BhIncidentFinding f = act("web\x1b[31m", "Server program started a shell", 2, T(INITIAL_ACCESS), 0);
        struct bh_event e = { 0 }, run = { 0 };

        BH_SET(&run, type, BH_EV_EXEC);
        BH_SET(&run, args, ((struct bh_str){ "sh\0-c\0id\n", 9 }));
        f.event = &run;
        f.lineage = sh;
        f.n_lineage = 2;
        guint64 id = join(g, f);
        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET_STR(&e, path, "/host/etc/cron.d/x");
        f = act("web\x1b[31m", "Scheduled job written", 3, T(PERSISTENCE), 90);
        f.event = &e;
        f.of_host = f.escape = TRUE;
        g_assert_cmpuint(join(g, f), ==, id);
        const BhIncident *i = bh_incidents_get(g, id);
        g_autofree char *title = bh_story_title(i), *text = bh_story_text(i);
        g_assert_cmpstr(title, ==, "Way out of container web\\x1b[31m to node n");
        g_assert_cmpstr(text, ==,
                        "It began at 1970-01-01 00:16:40 UTC in container web\\x1b[31m (web\\x1b[31m of app, node n): Server program started a shell (sh -c id\\n, pid 7, started by "
                        "/usr/sbin/nginx). After 90 s: Scheduled job written (/host/etc/cron.d/x). In all 2 findings in 1 container over 90 s; stages: Initial access, Persistence.");
        /* a long one stays short and says what it leaves out */
        for (guint n = 0; n < 100; n++) {
                g_autofree char *rule = g_strdup_printf("rule %u", n);

                join(g, act("web\x1b[31m", rule, 4, T(DISCOVERY), 100 + n));
        }
        g_autofree char *lengthy = bh_story_text(i);
        g_assert_cmpuint(strlen(lengthy), <, 2000);
        g_assert_nonnull(strstr(lengthy, " 91 more of its findings are in the timeline."));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/incident/one", test_one_attack_is_one);
        g_test_add_func("/incident/two", test_two_attacks_are_two);
        g_test_add_func("/incident/none", test_what_is_no_incident);
        g_test_add_func("/incident/out", test_out_of_the_container);
        g_test_add_func("/incident/merge", test_merge);
        g_test_add_func("/incident/counts", test_counts);
        g_test_add_func("/incident/lines", test_what_has_no_line_is_judged);
        g_test_add_func("/incident/forming", test_forming_ones_that_merge_are_told_of);
        g_test_add_func("/incident/bounds", test_bounds);
        g_test_add_func("/incident/close", test_close_and_restore);
        g_test_add_func("/incident/asked", test_asked);
        g_test_add_func("/incident/story", test_story);
        return g_test_run();
}
