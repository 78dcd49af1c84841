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

/* Each node tells at its own pace: what came of a connection to another one may be told before it. */
static void test_what_another_node_told_first(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 a = join(g, act("front", "shell", 2, T(EXECUTION), 0));
        BhIncidentFinding f = act("service", "hashes read", 2, T(CREDENTIAL_ACCESS), 30);

        f.node = "two";
        guint64 b = join(g, f);
        f = act("older", "hashes read", 2, T(CREDENTIAL_ACCESS), 10);
        f.node = "two";
        guint64 c = join(g, f);
        g_assert_true(a != b && b != c);
        f = act("front", "connected", 3, T(LATERAL_MOVEMENT), 20);
        f.peer_container = "older";
        f.peer_node = "two";
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.n_merged, ==, 0); /* that had begun before */
        f = act("front", "connected", 3, T(LATERAL_MOVEMENT), 21);
        f.peer_container = "service";
        f.peer_node = "two";
        j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, a);
        g_assert_cmpuint(j.n_merged, ==, 1);
        g_assert_cmpuint(j.merged[0]->id, ==, b);
        /* and what is told in its order, of a container whose connection was known later */
        f = act("front", "connected", 3, T(LATERAL_MOVEMENT), 40);
        bh_incidents_finding(g, &f);
        bh_incidents_reached(g, f.serial, "two", "db", f.time_ns);
        f = act("db", "hashes read", 2, T(CREDENTIAL_ACCESS), 50);
        f.node = "two";
        g_assert_cmpuint(join(g, f), ==, a);
}

/* Nor does it matter on one node, where an act that a web request caused is told when the inspector has told of the request. */
static void test_what_came_of_it_was_told_first(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 a = join(g, act("web", "shell", 2, T(EXECUTION), 0)), b = join(g, act("db", "hashes read", 2, T(CREDENTIAL_ACCESS), 30));
        BhIncidentFinding f = act("web", "connected", 3, T(LATERAL_MOVEMENT), 20);

        f.peer_container = "db";
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, a);
        g_assert_cmpuint(j.n_merged, ==, 1);
        g_assert_cmpuint(j.merged[0]->id, ==, b);
}

/* A warning of before, of which nobody was told, does not keep apart what an attack does in the container that it reached. */
static void test_what_only_formed_there(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 a = join(g, act("web", "shell", 2, T(EXECUTION), 0)), formed = join(g, act("db", "odd", 4, T(DISCOVERY), 5));
        BhIncidentFinding f = act("web", "connected", 3, T(LATERAL_MOVEMENT), 20);

        g_assert_cmpuint(formed, !=, a);
        f.peer_container = "db";
        g_assert_cmpuint(join(g, f), ==, a);
        f = act("db", "hashes read", 2, T(CREDENTIAL_ACCESS), 30);
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.incident->id, ==, a);
        g_assert_cmpint(j.basis, ==, BH_BASIS_REACHED);
        g_assert_cmpuint(j.n_merged, ==, 1);
        g_assert_false(j.merged_open[0]);
        /* an incident of its own stays one */
        guint64 other = join(g, act("cache", "hashes read", 2, T(CREDENTIAL_ACCESS), 35));
        f = act("web", "connected", 3, T(LATERAL_MOVEMENT), 40);
        f.peer_container = "cache";
        g_assert_cmpuint(join(g, f), ==, a);
        g_assert_cmpuint(join(g, act("cache", "log emptied", 2, T(DEFENSE_EVASION), 50)), ==, other);
}

/* A later run of the central knows what people took apart. */
static void test_apart_after_a_restart(void) {
        struct bh_event trace = { 0 };

        BH_SET(&trace, type, BH_EV_PTRACE);
        BH_SET_STR(&trace, target_container_id, "b");
        for (guint apart = 0; apart < 2; apart++) {
                g_autoptr(BhIncidents) g = bh_incidents_new(1);
                guint64 a = join(g, act("a", "x", 2, T(EXECUTION), 0)), b = join(g, act("b", "y", 2, T(DISCOVERY), 10));
                BhIncidentFinding f = act("a", "Process outside of the container traced", 2, T(PRIVILEGE_ESCALATION), 20);

                f.event = &trace;
                if (apart)
                        bh_incidents_keep_apart(g, b, a);
                bh_incidents_keep_apart(g, a, 99);
                g_assert_cmpuint(bh_incidents_finding(g, &f).n_merged, ==, apart ? 0 : 1);
        }
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

static void test_what_a_container_is_worth_raises_severity(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentFinding f = act("db", "shell", 3, T(EXECUTION), 0);
        BhIncident *i;
        guint64 id = join(g, f);

        g_assert_cmpint(bh_incidents_get(g, id)->severity, ==, BH_SEVERITY_LOW); /* 3 */
        /* it becomes known later than the finding */
        g_assert_null(bh_incidents_asset(g, "n", "db", BH_ASSET_NORMAL));
        g_assert_null(bh_incidents_asset(g, "n", "other", BH_ASSET_CRITICAL));
        g_assert_null(bh_incidents_asset(g, "elsewhere", "db", BH_ASSET_CRITICAL));
        i = bh_incidents_asset(g, "n", "db", BH_ASSET_HIGH);
        g_assert_nonnull(i);
        g_assert_cmpuint(i->id, ==, id);
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_MEDIUM); /* and 3 */
        g_assert_nonnull(bh_incidents_asset(g, "n", "db", BH_ASSET_CRITICAL));
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_HIGH); /* 3 and 5 */
        /* never lowered, by a label or by what is told without it */
        g_assert_null(bh_incidents_asset(g, "n", "db", BH_ASSET_NORMAL));
        f.count = 7;
        g_assert_cmpuint(join(g, f), ==, id);
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_HIGH);

        /* with the finding; and of those that have no line of their own any more */
        f = act("web", "shell", 4, T(DISCOVERY), 0);
        id = join(g, f);
        for (guint n = 1; n < BH_INCIDENT_LINES_MAX; n++) {
                g_autofree char *rule = g_strdup_printf("r%u", n);

                g_assert_cmpuint(join(g, act("web", rule, 4, T(DISCOVERY), 1)), ==, id);
        }
        g_assert_cmpint(bh_incidents_get(g, id)->severity, ==, BH_SEVERITY_LOW);
        f = act("web", "one more", 4, T(DISCOVERY), 2);
        f.asset = BH_ASSET_CRITICAL;
        g_assert_cmpuint(join(g, f), ==, id);
        g_assert_cmpint(bh_incidents_get(g, id)->severity, ==, BH_SEVERITY_HIGH); /* 2 and 5 */

        /* and of what still forms, which is told of later */
        id = join(g, act("cache", "odd", 4, T(DISCOVERY), 0));
        g_assert_cmpint(bh_incidents_get(g, id)->state, ==, BH_INCIDENT_FORMING);
        i = bh_incidents_asset(g, "n", "cache", BH_ASSET_CRITICAL);
        g_assert_nonnull(i);
        g_assert_cmpuint(i->id, ==, id);
        g_assert_cmpint(i->state, ==, BH_INCIDENT_FORMING);
        g_assert_cmpuint(join(g, act("cache", "odder", 4, T(IMPACT), 1)), ==, id);
        g_assert_cmpint(i->state, ==, BH_INCIDENT_OPEN);
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_HIGH); /* 2, 2, and 5 */
        g_assert_true(bh_incidents_close(g, id));
        g_assert_null(bh_incidents_asset(g, "n", "cache", BH_ASSET_CRITICAL));

        for (BhAsset a = 0; a < BH_ASSETS; a++)
                g_assert_cmpint(bh_asset_of_name(bh_asset_name(a)), ==, a);
        g_assert_cmpint(bh_asset_of_name(NULL), ==, BH_ASSET_NORMAL);
        g_assert_cmpint(bh_asset_of_name("CRITICAL; drop"), ==, BH_ASSET_NORMAL);
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
        g_assert_cmpuint(bh_incidents_age(g, 1000 * S, NULL, NULL), ==, 0);
        g_assert_cmpuint(bh_incidents_age(g, 1000 * S + BH_INCIDENT_QUIET_NS + 1, NULL, NULL), ==, 1);
        g_assert_null(bh_incidents_get(g, kept));
        g_assert_cmpuint(bh_incidents_age(g, G_MAXINT64, NULL, NULL), ==, BH_INCIDENTS_MAX - 1);
        bh_incidents_stats(g, &s);
        g_assert_cmpuint(s.keys, ==, 0);
}

/* A recording of last month, and beside it what happens now. */
static void test_replay_of_old_events(void) {
        const gint64 now = 30 * BH_INCIDENT_QUIET_NS;
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = join(g, act("a", "x", 2, T(EXECUTION), 0)), live = join(g, act("live", "x", 2, T(EXECUTION), now / S));

        for (guint hour = 1; hour <= 40; hour++) {
                g_assert_cmpuint(bh_incidents_age(g, now + hour * 3600 * S, NULL, NULL), ==, 0);
                g_assert_cmpuint(join(g, act("a", "x", 2, T(EXECUTION), hour * 3600)), ==, id);
                g_assert_cmpuint(join(g, act("live", "x", 2, T(EXECUTION), now / S + hour * 3600)), ==, live);
        }
        /* one that nothing was told of for as long is forgotten, and another of the time before it begins anew */
        g_assert_cmpuint(bh_incidents_age(g, now + 41 * 3600 * S, NULL, NULL), ==, 0);
        g_assert_cmpuint(bh_incidents_age(g, now + 41 * 3600 * S + BH_INCIDENT_QUIET_NS + 1, NULL, NULL), ==, 2);
        g_assert_cmpuint(join(g, act("a", "x", 2, T(EXECUTION), 41 * 3600)), >, live);
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

static void test_title_names_the_place_once(void) {
        static const struct { const char *rule, *title; } rows[] = {
                { "Network tool run in a container", "Network tool run in container web" },
                { "User or group changed in a running container", "User or group changed in container web" },
                { "Namespace entered from a container", "Namespace entered from container web" },
                { "Log removed or emptied", "Log removed or emptied in container web" },
        };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                g_autoptr(BhIncidents) g = bh_incidents_new(1);
                guint64 id = join(g, act("web", rows[n].rule, 2, T(EXECUTION), 0));
                g_autofree char *title = bh_story_title(bh_incidents_get(g, id));

                g_assert_cmpstr(title, ==, rows[n].title);
        }
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        guint64 id = join(g, act("", "Signal sent out of a container", 2, T(EXECUTION), 0));
        g_autofree char *title = bh_story_title(bh_incidents_get(g, id));
        g_assert_cmpstr(title, ==, "Signal sent out of a container on node n");
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
        g_autofree char *title = bh_story_title(i), *text = bh_story_text(i, NULL, 0);
        g_assert_cmpstr(title, ==, "Way out of container web\\x1b[31m to node n");
        g_assert_cmpstr(text, ==,
                        "It began at 1970-01-01 00:16:40 UTC in container web\\x1b[31m (web\\x1b[31m of app, node n): Server program started a shell (sh -c id\\n, pid 7, started by "
                        "/usr/sbin/nginx). After 90 s: Scheduled job written (/host/etc/cron.d/x). In all 2 findings in 1 container over 90 s; stages: Initial access, Persistence.");
        const BhStoryEnd ends[] = { { "web\x1b[31m", i->first_ns + 95 * S, 137, FALSE, TRUE, "/usr/bin/docker (user root, pid 9) from container web\n" }, { "db", i->first_ns, 0, FALSE, FALSE, "" },
                                     { "cache", i->first_ns + 200 * S, -1, TRUE, TRUE, "" } };
        g_autofree char *ended = bh_story_text(i, ends, G_N_ELEMENTS(ends));
        g_assert_nonnull(strstr(ended, "(/host/etc/cron.d/x). Container web\\x1b[31m ended and was removed 95 s after the beginning (exit code 137); its end was asked for by /usr/bin/docker (user root, pid 9) from "
                                       "container web\\n. Container db ended at once (exit code 0). Container cache was found gone 3 min after the beginning. In all 2 findings"));
        /* a long one stays short and says what it leaves out */
        for (guint n = 0; n < 100; n++) {
                g_autofree char *rule = g_strdup_printf("rule %u", n);

                join(g, act("web\x1b[31m", rule, 4, T(DISCOVERY), 100 + n));
        }
        g_autofree char *lengthy = bh_story_text(i, NULL, 0);
        g_assert_cmpuint(strlen(lengthy), <, 2000);
        g_assert_nonnull(strstr(lengthy, " 91 more of its findings are in the timeline."));
}

static BhIncidentFinding with_file(BhIncidentFinding f, struct bh_event *e, guint64 ino, gboolean writes) {
        BH_SET(e, type, writes ? BH_EV_OPEN : BH_EV_EXEC);
        if (writes) {
                BH_SET(e, open_flags, O_WRONLY | O_CREAT);
                BH_SET(e, dev, 9);
                BH_SET(e, ino, ino);
        } else {
                BH_SET(e, exe_dev, 9);
                BH_SET(e, exe_ino, ino);
        }
        f.event = e;
        return f;
}

static void test_a_file_is_known_by_its_own_time(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        struct bh_event write = { 0 }, run = { 0 };
        guint64 id = join(g, with_file(act("web", "File dropped", 3, T(PERSISTENCE), 0), &write, 7, TRUE));

        for (gint64 h = 1; h <= 30; h++)
                g_assert_cmpuint(join(g, act("web", "Log removed or emptied", 4, T(DEFENSE_EVASION), h * 3600)), ==, id);
        g_assert_cmpuint(join(g, with_file(act("other", "Program run", 3, T(EXECUTION), 20 * 3600), &run, 7, FALSE)), ==, id);
        /* thirty hours after it was written the number may be another file's */
        g_assert_cmpuint(join(g, with_file(act("third", "Program run", 3, T(EXECUTION), 30 * 3600), &run, 7, FALSE)), !=, id);
}

static void test_two_who_write_one_file_are_two(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        struct bh_event write = { 0 }, run = { 0 };
        guint64 a = join(g, with_file(act("a", "Preloaded libraries changed", 2, T(PERSISTENCE), 0), &write, 7, TRUE));
        guint64 b = join(g, with_file(act("b", "Preloaded libraries changed", 2, T(PERSISTENCE), 5), &write, 7, TRUE));

        g_assert_cmpuint(a, !=, b);
        /* what is in it now is the latter's */
        g_assert_cmpuint(join(g, with_file(act("c", "Program run", 3, T(EXECUTION), 6), &run, 7, FALSE)), ==, b);
}

static void test_files_of_one_flood_are_bounded(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        struct bh_event write = { 0 }, run = { 0 };
        guint64 other = join(g, with_file(act("web", "File dropped", 3, T(PERSISTENCE), 0), &write, 1, TRUE)), id = 0;
        BhIncidentStats s;

        for (guint n = 0; n < BH_INCIDENT_OWN_MAX + 100; n++)
                id = join(g, with_file(act("flood", "File dropped", 3, T(PERSISTENCE), 1), &write, 1000 + n, TRUE));
        bh_incidents_stats(g, &s);
        g_assert_cmpuint(s.keys_dropped, ==, 100);
        g_assert_cmpuint(s.keys, ==, BH_INCIDENT_OWN_MAX + 3);
        /* the latest are kept, and those of others */
        g_assert_cmpuint(join(g, with_file(act("a", "Program run", 3, T(EXECUTION), 2), &run, 1000 + BH_INCIDENT_OWN_MAX + 99, FALSE)), ==, id);
        g_assert_cmpuint(join(g, with_file(act("b", "Program run", 3, T(EXECUTION), 2), &run, 1000, FALSE)), !=, id);
        g_assert_cmpuint(join(g, with_file(act("c", "Program run", 3, T(EXECUTION), 2), &run, 1, FALSE)), ==, other);
}

static void test_an_agent_ties_no_two_containers(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        const BhIncidentProcess agent[] = { { 900, 1, "/opt/agent", "", "" } };
        struct bh_event enter[2] = { 0 };
        guint64 a = join(g, act("a", "x", 2, T(EXECUTION), 0)), b = join(g, act("b", "x", 2, T(EXECUTION), 0));

        BH_SET_STR(&enter[0], target_container_id, "a");
        BH_SET_STR(&enter[1], target_container_id, "b");
        for (guint n = 0; n < 4; n++) {
                BhIncidentFinding f = act("", "Container entered from the node", 4, T(EXECUTION), 1 + n);

                BH_SET(&enter[n % 2], type, BH_EV_PTRACE);
                f.event = &enter[n % 2];
                f.lineage = agent;
                f.n_lineage = 1;
                g_assert_cmpuint(join(g, f), ==, n % 2 ? b : a);
        }
}

static void test_by_hand(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncident *from = NULL, *given_up = NULL;
        g_autoptr(GArray) serials = NULL, none = NULL;
        struct bh_event trace = { 0 };
        BhIncidentFinding f = act("a", "x", 2, T(EXECUTION), 0), g2 = act("b", "y", 3, T(IMPACT), 5);
        guint64 a, b;

        f.id = "fa";
        g2.id = "fb";
        a = join(g, f);
        b = join(g, g2);
        g_assert_null(bh_incidents_merge(g, a, a, &from));
        g_assert_true(bh_incidents_merge(g, b, a, &from) == bh_incidents_get(g, b));
        g_assert_cmpuint(from->id, ==, a);
        g_assert_cmpuint(from->merged_into, ==, b);
        g_assert_cmpuint(bh_incidents_get(g, b)->lines->len, ==, 2);
        g_assert_cmpuint(join(g, act("a", "z", 4, T(DISCOVERY), 6)), ==, b);

        /* and apart again: the container goes along, and what grows stays where it is */
        const char *all[] = { "fb", "fa", "id", NULL }, *part[] = { "fb", NULL };
        g_assert_null(bh_incidents_split(g, b, all, &none, &given_up));
        const BhIncident *made = bh_incidents_split(g, b, part, &serials, &given_up);
        g_assert_nonnull(made);
        guint64 c = made->id;
        g_assert_cmpuint(c, >, b);
        g_assert_cmpuint(serials->len, ==, 1);
        g_assert_cmpint(g_array_index(serials, gint64, 0), ==, g2.serial);
        g_assert_cmpuint(made->tactics, ==, T(IMPACT));
        g_assert_cmpuint(made->findings, ==, 1);
        g_assert_cmpuint(bh_incidents_get(g, b)->tactics, ==, T(EXECUTION) | T(DISCOVERY));
        g_assert_cmpuint(bh_incidents_get(g, b)->findings, ==, 2);
        g_assert_cmpuint(join(g, act("b", "w", 3, T(IMPACT), 7)), ==, c);
        g_assert_cmpuint(join(g, act("a", "w", 3, T(IMPACT), 7)), ==, b);
        g2.count = 5;
        g_assert_cmpuint(join(g, g2), ==, c);
        /* what people took apart no finding brings together, people do */
        BH_SET(&trace, type, BH_EV_PTRACE);
        BH_SET_STR(&trace, target_container_id, "b");
        f = act("a", "traced", 2, T(PRIVILEGE_ESCALATION), 8);
        f.event = &trace;
        BhIncidentJoin j = bh_incidents_finding(g, &f);
        g_assert_cmpuint(j.n_merged, ==, 0);
        g_assert_nonnull(bh_incidents_merge(g, b, c, &from));
        g_assert_cmpuint(join(g, act("b", "v", 3, T(IMPACT), 9)), ==, b);
}

static void test_lines_outlive_their_findings(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(8);
        BhIncidentFinding f = act("web", "second", 3, T(IMPACT), 10);
        BhIncidentLine *gone = g_new0(BhIncidentLine, 1), *had = g_new0(BhIncidentLine, 1);

        *gone = (BhIncidentLine){ .serial = 1, .id = g_strdup("f1"), .rule = g_strdup("first"), .output = g_strdup(""), .node = g_strdup("n"), .container_id = g_strdup("web"), .container_name = g_strdup("web"),
                .workload = g_strdup(""), .application = g_strdup(""), .exe = g_strdup("/bin/sh"), .object = g_strdup(""), .parent = g_strdup("/nginx"), .command = g_strdup(""), .rank = 2,
                .tactics = T(INITIAL_ACCESS), .time_ns = 1000 * S, .last_ns = 1000 * S, .count = 3 };
        *had = (BhIncidentLine){ .serial = f.serial, .id = g_strdup("f2"), .rule = g_strdup("second"), .output = g_strdup(""), .node = g_strdup("n"), .container_id = g_strdup("web"),
                .container_name = g_strdup("web"), .workload = g_strdup(""), .application = g_strdup(""), .exe = g_strdup(""), .object = g_strdup(""), .parent = g_strdup(""), .command = g_strdup(""), .rank = 3,
                .asset = BH_ASSET_HIGH, .tactics = T(IMPACT), .basis = BH_BASIS_CONTAINER, .time_ns = 1010 * S, .last_ns = 1010 * S, .count = 40 };
        bh_incidents_restore(g, 5, BH_INCIDENT_OPEN, &f);
        bh_incidents_restore_line(g, 5, gone);
        bh_incidents_restore_line(g, 5, had);
        bh_incidents_restore_totals(g, 5, 44, 2);
        const BhIncident *i = bh_incidents_get(g, 5);
        g_autofree char *title = bh_story_title(i);
        g_assert_cmpuint(i->lines->len, ==, 2);
        g_assert_cmpstr(((BhIncidentLine *) i->lines->pdata[0])->rule, ==, "first");
        g_assert_cmpuint(((BhIncidentLine *) i->lines->pdata[1])->count, ==, 40);
        g_assert_cmpint(((BhIncidentLine *) i->lines->pdata[1])->basis, ==, BH_BASIS_CONTAINER);
        g_assert_cmpuint(i->tactics, ==, T(INITIAL_ACCESS) | T(IMPACT));
        g_assert_cmpint(((BhIncidentLine *) i->lines->pdata[1])->asset, ==, BH_ASSET_HIGH);
        g_assert_cmpint(i->severity, ==, BH_SEVERITY_HIGH); /* 4, 3, and 3 for what it is worth */
        g_assert_cmpuint(i->findings, ==, 44);
        g_assert_cmpint(i->first_ns, ==, 1000 * S);
        g_assert_cmpstr(title, ==, "Container web taken over");
        g_autoptr(GArray) open = bh_incidents_open(g);
        g_assert_cmpuint(open->len, ==, 1);
}

static void test_an_open_one_that_has_to_go_is_told(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        BhIncidentJoin j = { 0 };

        for (guint n = 0; n <= BH_INCIDENTS_MAX; n++) {
                g_autofree char *container = g_strdup_printf("c%u", n);
                BhIncidentFinding f = act(container, "x", 2, T(EXECUTION), n);

                j = bh_incidents_finding(g, &f);
                g_assert_true((j.given_up != NULL) == (n == BH_INCIDENTS_MAX));
        }
        g_assert_cmpuint(j.given_up->id, ==, 1);
        g_assert_cmpuint(j.given_up->lines->len, ==, 1);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/incident/one", test_one_attack_is_one);
        g_test_add_func("/incident/two", test_two_attacks_are_two);
        g_test_add_func("/incident/nodes", test_what_another_node_told_first);
        g_test_add_func("/incident/told_first", test_what_came_of_it_was_told_first);
        g_test_add_func("/incident/only_formed", test_what_only_formed_there);
        g_test_add_func("/incident/apart", test_apart_after_a_restart);
        g_test_add_func("/incident/none", test_what_is_no_incident);
        g_test_add_func("/incident/out", test_out_of_the_container);
        g_test_add_func("/incident/merge", test_merge);
        g_test_add_func("/incident/counts", test_counts);
        g_test_add_func("/incident/lines", test_what_has_no_line_is_judged);
        g_test_add_func("/incident/asset", test_what_a_container_is_worth_raises_severity);
        g_test_add_func("/incident/forming", test_forming_ones_that_merge_are_told_of);
        g_test_add_func("/incident/bounds", test_bounds);
        g_test_add_func("/incident/replay", test_replay_of_old_events);
        g_test_add_func("/incident/close", test_close_and_restore);
        g_test_add_func("/incident/asked", test_asked);
        g_test_add_func("/incident/title_names_the_place_once", test_title_names_the_place_once);
        g_test_add_func("/incident/story", test_story);
        g_test_add_func("/incident/file_time", test_a_file_is_known_by_its_own_time);
        g_test_add_func("/incident/two_writers", test_two_who_write_one_file_are_two);
        g_test_add_func("/incident/flood", test_files_of_one_flood_are_bounded);
        g_test_add_func("/incident/agent", test_an_agent_ties_no_two_containers);
        g_test_add_func("/incident/by_hand", test_by_hand);
        g_test_add_func("/incident/kept", test_lines_outlive_their_findings);
        g_test_add_func("/incident/given_up", test_an_open_one_that_has_to_go_is_told);
        return g_test_run();
}
