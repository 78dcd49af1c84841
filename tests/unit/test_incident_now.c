/* SPDX-License-Identifier: Apache-2.0 */
/* What an incident says of the present, from inventory, ledger and evidence; and that deeds survive the row of an incident, and come from what findings without events say. */
#include "store_rows.h"

#include "central/ask.h"
#include "central/incident_now.h"
#include "central/incident_row.h"
#include "store/store_evidence.h"
#include "store/store_incidents.h"
#include "store/store_responses.h"

#define S G_GINT64_CONSTANT(1000000000)

static const char lines[] = "[{\"finding\":\"f1\",\"node\":\"n1\",\"deed\":\"wrote\",\"thing\":\"/opt/kit\"},{\"finding\":\"f2\",\"node\":\"n1\",\"deed\":\"wrote\",\"thing\":\"/etc/cron.d/x\"},"
                            "{\"finding\":\"f3\",\"node\":\"n1\",\"deed\":\"wrote\",\"thing\":\"/opt/kit\"},{\"finding\":\"f4\",\"node\":\"n1\",\"deed\":\"wrote\",\"thing\":\"/proc/sys/kernel/core_pattern\"},"
                            "{\"finding\":\"f5\",\"node\":\"n1\",\"deed\":\"read\",\"thing\":\"/etc/shadow\"},{\"finding\":\"f6\",\"node\":\"n1\"},7]";

static void put_lines(BhStore *s, const char *containers, const char *what) {
        const BhStoreIncident i = { .id = 1, .state = (char *) "open", .first_ns = T0, .last_ns = T0, .title = (char *) "t", .story = (char *) "s", .nodes = (char *) "[]", .applications = (char *) "[]",
                                    .workloads = (char *) "[]", .containers = (char *) containers, .lines = (char *) what };

        g_assert_true(bh_store_incidents_put(s, &i, 1, NULL, 0, 1, NULL));
}

static void put(BhStore *s, const char *containers) {
        put_lines(s, containers, lines);
}

static void container(BhStore *s, const char *id, const char *state) {
        BhStoreContainer c = { .id = (char *) id, .name = (char *) id, .state = (char *) state };

        must_put_containers(s, "n1", FALSE, &c, 1);
}

static void evidence_of(BhStore *s, const char *container, const char *facts_of, const char *path, const char *sha256) {
        static guint64 seq;
        g_autofree char *signature = g_strnfill(128, '0'), *facts = g_strdup_printf("{%s\"path\":\"%s\"} %s", facts_of, path, signature), *hash = g_strdup_printf("h%" G_GUINT64_FORMAT, ++seq);
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_EVIDENCE };

        m.evidence = (BhStoreEvidence){ .chain = (char *) "c", .node = (char *) "n1", .kind = (char *) "file", .container_id = (char *) container, .sha256 = (char *) sha256, .line = facts, .hash = hash,
                                        .prev = (char *) "", .key = (char *) "", .next = (char *) "", .seq = seq, .time_ns = T0 };
        must_put(s, "n1", &m, 1);
}

static void evidence(BhStore *s, const char *path, const char *sha256) {
        evidence_of(s, "web", "", path, sha256);
}

static void respond(BhStore *s, const char *id, const char *action, const char *state) {
        const BhStoreResponse r = { .id = (char *) id, .action = (char *) action, .state = (char *) "pending", .node = (char *) "n1", .container_id = (char *) "web", .container_name = (char *) "web", .workload = (char *) "",
                                    .application = (char *) "", .actor = (char *) "anna", .reason = (char *) "", .allow = (char *) "[]", .deny = (char *) "[]", .result = (char *) "", .detail = (char *) "{}" };
        g_autoptr(GError) error = NULL;

        bh_store_response_add(s, &r, NULL, &error);
        g_assert_no_error(error);
        g_assert_true(bh_store_response_told(s, "n1", id, state, "", NULL, &error));
}

static char *now_of(BhStore *s, gboolean of_evidence) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStoreIncident) i = bh_store_incident(s, 1, &error);

        g_assert_no_error(error);
        return bh_incident_now(s, i, of_evidence, NULL);
}

static void assert_now(BhStore *s, gboolean of_evidence, const char *want) {
        g_autofree char *text = now_of(s, of_evidence);

        if (!g_pattern_match_simple(want, text))
                g_error("expected %s, saw %s", want, text);
}

static void it_says_who_goes_on_and_who_is_held(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);

        g_assert_true(bh_store_node_set_up(s, "n1", TRUE, NULL, NULL));
        container(s, "web", "running");
        container(s, "db", "exited");
        put(s, "[{\"node\":\"n1\",\"id\":\"web\"},{\"node\":\"n1\",\"id\":\"db\"},{\"node\":\"n1\",\"id\":\"nobody knows\"},{},7]");
        assert_now(s, FALSE, "Container web is running and not isolated.");
        /* ordered, and not in force yet */
        respond(s, "a1", "isolate", "pending");
        assert_now(s, FALSE, "Container web is running and not isolated (isolate was ordered * UTC by anna, and waits for its node).");
        respond(s, "a2", "block", "active");
        assert_now(s, FALSE, "Container web is not isolated, but under a block since * UTC by anna.");
        respond(s, "a3", "isolate", "active");
        assert_now(s, FALSE, "Container web is isolated since * UTC by anna.");
        respond(s, "a4", "quarantine", "active");
        assert_now(s, FALSE, "Container web is quarantined since * UTC by anna.");
        g_assert_true(bh_store_response_told(s, "n1", "a4", "released", "", NULL, NULL));
        assert_now(s, FALSE, "Container web is isolated since *");
        g_assert_true(bh_store_node_set_up(s, "n1", FALSE, NULL, NULL));
        assert_now(s, FALSE, "Container web was isolated since * UTC by anna when its node was last heard of, * UTC.");
        container(s, "web", "exited");
        assert_now(s, FALSE, "");
        bh_store_close(s);
}

/* A node may be under more blocks than a page has. */
static void what_holds_most_is_found_behind_many_blocks(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);

        g_assert_true(bh_store_node_set_up(s, "n1", TRUE, NULL, NULL));
        container(s, "web", "running");
        put(s, "[{\"node\":\"n1\",\"id\":\"web\"}]");
        respond(s, "a1", "isolate", "active");
        for (guint n = 0; n < 40; n++) {
                g_autofree char *id = g_strdup_printf("b%u", n);

                respond(s, id, "block", "active");
        }
        assert_now(s, FALSE, "Container web is isolated since * UTC by anna.");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "released", "", NULL, NULL));
        assert_now(s, FALSE, "Container web is not isolated, but under a block since * UTC by anna.");
        bh_store_close(s);
}

static void outputs_look_at_no_more_than_they_show(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GString) all = g_string_new("[");

        g_assert_true(bh_store_node_set_up(s, "n1", TRUE, NULL, NULL));
        for (guint n = 0; n < 40; n++) {
                g_autofree char *id = g_strdup_printf("c%u", n);

                container(s, id, n % 2 ? "running" : "exited");
                g_string_append_printf(all, "%s{\"node\":\"n1\",\"id\":\"%s\"}", n ? "," : "", id);
        }
        g_string_append_c(all, ']');
        put(s, all->str);
        assert_now(s, FALSE, "Container c1 is running and not isolated. Container c3 * Container c7 is running and not isolated. 32 of its containers were not looked at.");
        assert_now(s, TRUE, "Container c1 * Container c7 is running and not isolated. 12 more of its containers are not gone. 8 of its containers were not looked at. The bytes *");
        bh_store_close(s);
}

static void it_counts_the_files_that_there_is_evidence_of(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autofree char *sha = g_strnfill(64, 'a');

        put(s, "[{\"node\":\"n1\",\"id\":\"web\"}]");
        assert_now(s, FALSE, "");
        assert_now(s, TRUE, "The bytes of the 2 files that were planted or changed are not in evidence.");
        evidence(s, "/opt/other", sha);
        evidence(s, "/etc/cron.d/x", ""); /* told of, without bytes */
        assert_now(s, TRUE, "The bytes of the 2 files that were planted or changed are not in evidence.");
        evidence(s, "/opt/kit", sha);
        evidence(s, "/opt/kit", sha);
        assert_now(s, TRUE, "The bytes of 1 of the 2 files that were planted or changed are in evidence.");
        bh_store_close(s);
}

#define WROTE(container, thing) "{\"node\":\"n1\",\"container_id\":\"" container "\",\"deed\":\"wrote\",\"thing\":\"" thing "\"}"

static void a_file_has_one_name_by_whatever_way_it_was_written(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autofree char *sha = g_strnfill(64, 'a');

        /* of what was opened by way of a process's directory or descriptor no path is known that evidence has */
        put_lines(s, "[{\"node\":\"n1\",\"id\":\"web\"}]", "[" WROTE("web", "/proc/1/root/etc/cron.d/x") "," WROTE("web", "/proc/self/root/proc/7/task/7/root/etc/cron.d/x") "," WROTE("web", "/etc/cron.d/x") ","
                  WROTE("web", "/proc/7/cwd/y") "," WROTE("web", "/proc/1/root/proc/8/fd/3") "," WROTE("web", "/proc/1/root/proc/sys/kernel/core_pattern") "]");
        assert_now(s, TRUE, "The bytes of the file that was planted or changed are not in evidence.");
        evidence(s, "/etc/cron.d/x", sha);
        assert_now(s, TRUE, "The bytes of the file that was planted or changed are in evidence.");
        bh_store_close(s);
}

static void two_containers_files_of_one_name_are_two(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autofree char *sha = g_strnfill(64, 'a');

        put_lines(s, "[{\"node\":\"n1\",\"id\":\"web\"},{\"node\":\"n1\",\"id\":\"db\"}]",
                  "[" WROTE("web", "/opt/kit") "," WROTE("db", "/opt/kit") ",{\"node\":\"n1\",\"container_id\":\"db\",\"origin\":\"db\",\"deed\":\"wrote\",\"thing\":\"/opt/kit\"}]");
        evidence_of(s, "web", "", "/opt/kit", sha);
        assert_now(s, TRUE, "The bytes of 1 of the 3 files that were planted or changed are in evidence.");
        /* from who came out of a container, it is the node's */
        evidence_of(s, "db", "\"container\":{\"id\":\"db\",\"origin\":true},", "/opt/kit", sha);
        assert_now(s, TRUE, "The bytes of 2 of the 3 files that were planted or changed are in evidence.");
        evidence_of(s, "db", "\"container\":{\"id\":\"db\"},", "/opt/kit", sha);
        assert_now(s, TRUE, "The bytes of 3 of the 3 files that were planted or changed are in evidence.");
        bh_store_close(s);
}

/* Whoever looks at incidents must not hold all workers while a node is silent. */
static void nodes_are_not_asked_when_they_are_asked_too_much(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhCentral c = { .store = s, .event_queries = BH_ASK_QUERIES };

        g_assert_true(bh_store_node_set_up(s, "n1", TRUE, NULL, NULL));
        container(s, "web", "running");
        put_lines(s, "[]", "[" WROTE("web", "/opt/kit") ",{\"node\":\"n1\",\"container_id\":\"web\",\"exe\":\"/opt/kit\"}]");
        g_autoptr(BhStoreIncident) i = bh_store_incident(s, 1, NULL);
        g_autofree char *text = bh_incident_now_whole(&c, i);
        g_assert_true(g_str_has_prefix(text, "Whether /opt/kit still runs in container web is not known: too many questions are asked of the nodes at once; look again."));
        g_assert_cmpint(c.event_queries, ==, BH_ASK_QUERIES);
        bh_store_close(s);
}

/* ---- rows */

static BhStoreFinding finding(const char *kind, const char *fields) {
        return (BhStoreFinding){ .serial = 1, .id = (char *) "f1", .rule = (char *) "r", .kind = (char *) kind, .priority = (char *) "critical", .output = (char *) "", .time_ns = T0, .last_ns = T0, .count = 1,
                                 .node = (char *) "n1", .container_id = (char *) "web", .container_name = (char *) "web-1", .workload = (char *) "", .application = (char *) "", .fields = (char *) fields,
                                 .tags = (char *) "[\"mitre_persistence\"]", .lineage = (char *) "[]" };
}

/* The story of that finding alone. */
static char *story_of(const BhStoreFinding *f) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1);
        g_auto(BhIncidentInput) in = { 0 };

        bh_incident_input_init(&in, f);
        BhIncidentJoin j = bh_incidents_finding(g, &in.finding);
        return bh_story_text(j.incident, NULL, 0);
}

static void what_has_no_event_says_it_in_fields(void) {
        static const struct {
                const char *kind, *fields, *want;
        } rows[] = {
                { "integrity", "{\"fd.name\":\"/etc/cron.d/x\",\"integrity.change\":\"is new\"}", "*Planted or changed: /etc/cron.d/x on node n1 (from container web-1).*" },
                { "integrity", "{\"fd.name\":\"/etc/passwd\",\"integrity.change\":\"changed\"}", "*Planted or changed: /etc/passwd on node n1 (from container web-1).*" },
                { "integrity", "{\"fd.name\":\"/etc/cron.d/x\",\"integrity.change\":\"removed\"}", NULL },
                { "integrity", "{\"fd.name\":7,\"integrity.change\":\"is new\"}", NULL },
                { "integrity", "nonsense", NULL },
                { "rule", "{\"fd.name\":\"/etc/cron.d/x\",\"integrity.change\":\"is new\"}", NULL },
                { "dns", "{\"dns.domain\":\"evil.test\",\"dns.bytes\":4096}", "*Sent out: at least 4096 bytes in DNS names below evil.test from container web-1.*" },
                { "dns", "{\"dns.domain\":\"evil.test\",\"dns.missing\":40}", NULL }, /* names that are generated carry nothing */
        };

        for (guint n = 0; n < G_N_ELEMENTS(rows); n++) {
                const BhStoreFinding f = finding(rows[n].kind, rows[n].fields);
                g_autofree char *text = story_of(&f);

                if (rows[n].want ? !g_pattern_match_simple(rows[n].want, text) : strstr(text, "Planted") || strstr(text, "Sent out"))
                        g_error("%s: saw %s", rows[n].fields, text);
        }
}

/* One rule tells of many files, and each is one of its own. */
static void each_file_and_each_domain_is_a_line(void) {
        static const char *const files[] = { "/etc/cron.d/x", "/etc/cron.d/y" }, *const domains[] = { "evil.test", "worse.test" };
        g_autoptr(BhIncidents) g = bh_incidents_new(1), again = bh_incidents_new(1);
        BhStoreIncident row = { 0 };
        const BhIncident *i = NULL;

        for (guint n = 0; n < 6; n++) {
                g_autofree char *fields = n < 2 ? g_strdup_printf("{\"fd.name\":\"%s\",\"integrity.change\":\"is new\"}", files[n])
                                                : g_strdup_printf("{\"dns.domain\":\"%s\",\"dns.bytes\":%u}", domains[n % 2], 4096 + n);
                BhStoreFinding f = finding(n < 2 ? "integrity" : "dns", fields);
                g_auto(BhIncidentInput) in = { 0 };

                f.serial = n + 1;
                bh_incident_input_init(&in, &f);
                i = bh_incidents_finding(g, &in.finding).incident;
                bh_incidents_restore(again, 1, BH_INCIDENT_OPEN, &in.finding);
        }
        g_assert_cmpuint(i->lines->len, ==, 4); /* the same domain with more bytes is the same */
        g_autofree char *text = bh_story_text(i, NULL, 0);
        g_assert_nonnull(strstr(text, "Planted or changed: /etc/cron.d/x, /etc/cron.d/y on node n1 (from container web-1)."));
        g_assert_nonnull(strstr(text, "below evil.test, at least 4099 bytes in DNS names below worse.test from container web-1."));
        /* a row of before has one line for all of a rule */
        bh_incident_row_lines("[{\"finding\":\"f1\",\"serial\":1,\"rule\":\"r\",\"node\":\"n1\",\"container_id\":\"web\",\"object\":\"\",\"count\":6,\"deed\":\"wrote\",\"thing\":\"/etc/cron.d/x\","
                              "\"origin\":\"web-1\",\"asset\":\"high\"}]", again, 1);
        i = bh_incidents_get(again, 1);
        g_assert_cmpuint(i->lines->len, ==, 4);
        g_assert_cmpuint(((const BhIncidentLine *) i->lines->pdata[0])->count, ==, 1);
        g_assert_cmpint(((const BhIncidentLine *) i->lines->pdata[0])->asset, ==, BH_ASSET_HIGH);
        g_assert_cmpuint(i->findings, ==, 6);
        /* and one of now is what is there */
        bh_incident_row(bh_incidents_get(g, 1), NULL, 0, &row);
        bh_incident_row_lines(row.lines, again, 1);
        g_assert_cmpuint(i->lines->len, ==, 4);
        bh_incident_row_clear(&row);
}

static void deeds_survive_the_row(void) {
        g_autoptr(BhIncidents) g = bh_incidents_new(1), again = bh_incidents_new(1), older = bh_incidents_new(1);
        const BhStoreFinding f = finding("integrity", "{\"fd.name\":\"/etc/cron.d/x\",\"integrity.change\":\"is new\"}"), other = finding("rule", "{}");
        g_auto(BhIncidentInput) in = { 0 }, plain = { 0 };
        BhStoreIncident row = { 0 };

        bh_incident_input_init(&in, &f);
        bh_incident_row(bh_incidents_finding(g, &in.finding).incident, NULL, 0, &row);
        g_assert_nonnull(strstr(row.lines, "\"deed\":\"wrote\",\"thing\":\"/etc/cron.d/x\",\"origin\":\"web-1\""));
        /* its finding is there and does not say so any more, or says nothing of it */
        bh_incident_input_init(&plain, &other);
        bh_incidents_finding(again, &plain.finding);
        bh_incident_row_lines(row.lines, again, 1);
        g_autofree char *text = bh_story_text(bh_incidents_get(again, 1), NULL, 0);
        g_assert_nonnull(strstr(text, "Planted or changed: /etc/cron.d/x on node n1 (from container web-1)."));
        /* a row of before has none of it, and one of later a deed that is not known */
        bh_incidents_finding(older, &plain.finding);
        bh_incident_row_lines("[{\"finding\":\"f9\",\"rule\":\"x\",\"node\":\"n1\",\"container_id\":\"web\"},{\"finding\":\"f8\",\"rule\":\"y\",\"deed\":\"sang\",\"thing\":\"z\"}]", older, 1);
        g_autofree char *plainly = bh_story_text(bh_incidents_get(older, 1), NULL, 0);
        g_assert_cmpuint(bh_incidents_get(older, 1)->lines->len, ==, 3);
        g_assert_null(strstr(plainly, "Planted"));
        bh_incident_row_clear(&row);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/incident_now/" #name, name)
        TEST(it_says_who_goes_on_and_who_is_held);
        TEST(what_holds_most_is_found_behind_many_blocks);
        TEST(outputs_look_at_no_more_than_they_show);
        TEST(it_counts_the_files_that_there_is_evidence_of);
        TEST(a_file_has_one_name_by_whatever_way_it_was_written);
        TEST(two_containers_files_of_one_name_are_two);
        TEST(nodes_are_not_asked_when_they_are_asked_too_much);
        TEST(what_has_no_event_says_it_in_fields);
        TEST(each_file_and_each_domain_is_a_line);
        TEST(deeds_survive_the_row);
        return g_test_run();
}
