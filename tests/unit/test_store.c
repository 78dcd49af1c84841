/* SPDX-License-Identifier: Apache-2.0 */
#include "store_rows.h"

/* ---- opening */

static void first_start_creates_and_later_ones_find(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *marker = g_strconcat(path, ".created", NULL);
        g_auto(BhStoreOpened) opened = { 0 };
        struct stat st;

        BhStore *s = must_open(dir, &opened);
        g_assert_true(opened.created);
        g_assert_cmpuint(opened.schema, ==, BH_SCHEMA_VERSION);
        g_assert_null(opened.restored_from);
        must_ingest(s, 1, 300);
        bh_store_close(s);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
        g_assert_true(g_file_test(marker, G_FILE_TEST_EXISTS));

        s = must_open(dir, &opened);
        g_assert_false(opened.created);
        assert_exactly(s, 300);
        /* A second one shares it, as --set-password does while the central runs. */
        BhStore *other = must_open(dir, NULL);
        assert_exactly(other, 300);
        must_ingest(other, 301, 303);
        assert_exactly(s, 303);
        bh_store_close(other);
        bh_store_close(s);
}

static void wrong_addresses_are_refused(void) {
        static const char *const uris[] = { "", "sqlite", "sqlite:", "sqlite:relative.db", "postgres://x", "/no/scheme" };

        for (guint i = 0; i < G_N_ELEMENTS(uris); i++) {
                g_autoptr(GError) error = NULL;

                g_assert_null(bh_store_open(uris[i], NULL, &error));
                g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
        }
        g_autoptr(GError) error = NULL;
        g_assert_null(bh_store_open("sqlite:/nonexistent-directory/x.db", NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FAILED);
}

/* ---- ingest */

static void a_batch_given_twice_counts_once(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreStats stats;

        must_ingest(s, 1, 100);
        must_ingest(s, 1, 100);
        must_ingest(s, 51, 150);
        assert_exactly(s, 150);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.duplicates, ==, 150);
        g_assert_cmpuint(stats.ingested[BH_STORE_MESSAGE_FINDING], ==, 50);
        g_assert_cmpuint(stats.bytes_used, >, 0);
        /* Another publisher has a position of its own; a finding's id is unique all the same. */
        g_assert_true(ingest_range(s, "other", 3, 3, NULL));
        g_assert_cmpuint(position_of(s, "other"), ==, 3);
        g_assert_cmpuint(overview_of(s).findings, ==, 50);
        g_assert_cmpuint(position_of(s, "never seen"), ==, 0);
        /* Nothing that the program understands: the position moves. */
        BhStoreMessage none = { .seq = 500 };
        g_assert_true(bh_store_ingest(s, "other", NODE, &none, 1, NULL));
        g_assert_cmpuint(position_of(s, "other"), ==, 500);
        g_assert_true(bh_store_ingest(s, "other", NODE, NULL, 0, NULL));
        none.seq = (guint64) G_MAXINT64 + 1;
        g_assert_false(bh_store_ingest(s, "other", NODE, &none, 1, NULL));
        g_assert_cmpuint(position_of(s, "other"), ==, 500);
}

static void a_container_is_followed_through_its_life(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;
        BhStoreContainer c = { .id = "abcdef0123456789", .name = "web", .image = "shop/web:1", .state = "running", .level = "full", .workload = "web",
                               .application = "shop", .labels = "{\"a\":\"b\"}", .privileged = 7, .exit_code = -1, .created_ns = T0 };
        guint64 last;

        must_put_containers(s, NODE, FALSE, &c, 1);
        g_assert_cmpuint(c.change, >, 0);
        last = c.change;
        must_put_containers(s, NODE, FALSE, &c, 1);
        g_assert_cmpuint(c.change, ==, 0); /* nothing new */

        g_autoptr(BhStoreContainer) got = bh_store_container(s, NODE, c.id, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(got->name, ==, "web");
        g_assert_cmpstr(got->labels, ==, "{\"a\":\"b\"}");
        g_assert_cmpstr(got->mounts, ==, "[]");
        g_assert_cmpstr(got->user, ==, "");
        g_assert_cmpint(got->privileged, ==, TRUE);
        g_assert_cmpint(got->exit_code, ==, -1);
        g_assert_cmpint(got->created_ns, ==, T0);
        g_assert_cmpint(got->ended_ns, ==, 0);
        g_clear_pointer(&got, bh_store_container_free);

        /* A sensor that has just started knows less: what was known stays. */
        BhStoreContainer poor = { .id = c.id, .state = "unknown", .level = "cgroup" };
        must_put_containers(s, NODE, TRUE, &poor, 1);
        got = bh_store_container(s, NULL, c.id, NULL);
        g_assert_cmpstr(got->name, ==, "web");
        g_assert_cmpstr(got->state, ==, "running");
        g_clear_pointer(&got, bh_store_container_free);
        poor.state = "exited";
        poor.exit_code = 137;
        poor.finished_ns = T0 + 5;
        must_put_containers(s, NODE, FALSE, &poor, 1);
        g_assert_cmpuint(poor.change, >, last);
        got = bh_store_container(s, NULL, c.id, NULL);
        g_assert_cmpstr(got->state, ==, "exited");
        g_assert_cmpint(got->exit_code, ==, 137);
        g_assert_cmpint(got->ended_ns, >, 0);
        g_clear_pointer(&got, bh_store_container_free);
        last = poor.change;
        poor.ended_by = "/usr/bin/docker (user root, pid 7)";
        must_put_containers(s, NODE, FALSE, &poor, 1);
        g_assert_cmpuint(poor.change, >, last); /* who reads of it is told */
        got = bh_store_container(s, NULL, c.id, NULL);
        g_assert_cmpstr(got->ended_by, ==, poor.ended_by);
        g_assert_cmpstr(got->name, ==, "web");
        g_clear_pointer(&got, bh_store_container_free);

        /* It starts again, and then is not in a full list. */
        must_put_containers(s, NODE, FALSE, &c, 1);
        got = bh_store_container(s, NULL, c.id, NULL);
        g_assert_cmpint(got->ended_ns, ==, 0);
        g_clear_pointer(&got, bh_store_container_free);
        BhStoreContainer other = { .id = "other", .name = "other", .state = "running", .level = "full" };
        must_put_containers(s, "node-2", TRUE, &other, 1); /* another node's list does not matter */
        got = bh_store_container(s, NULL, c.id, NULL);
        g_assert_cmpstr(got->state, ==, "running");
        g_clear_pointer(&got, bh_store_container_free);
        must_put_containers(s, NODE, TRUE, NULL, 0);
        got = bh_store_container(s, NULL, c.id, NULL);
        g_assert_cmpstr(got->state, ==, "removed");
        g_assert_cmpint(got->ended_ns, >, 0);
        /* And is back, with the description it had. */
        must_put_containers(s, NODE, FALSE, &c, 1);
        g_assert_cmpuint(c.change, >, 0);

        /* A workload that only a first, poorer description had made goes with it. */
        BhStoreContainer moving = { .id = "m", .name = "m", .state = "running", .level = "event", .workload = "guess" };
        must_put_containers(s, NODE, FALSE, &moving, 1);
        moving.level = "full";
        moving.workload = "known";
        must_put_containers(s, NODE, FALSE, &moving, 1);
        g_assert_null(bh_store_workload(s, "", "guess", &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND);
        g_autoptr(BhStoreWorkload) w = bh_store_workload(s, "", "known", NULL);
        g_assert_cmpuint(w->running, ==, 1);
}

static void hostile_content_never_stops_a_publisher(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autofree char *huge = g_strnfill(2 << 20, 'x'), *wide = g_malloc(3 * 4096 + 1);
        guint8 big[BH_STORE_EVENT_MAX + 1] = { 0 };
        g_autoptr(GBytes) event = g_bytes_new_static(big, sizeof(big));
        BhStoreStats stats;

        for (guint i = 0; i < 4096; i++)
                memcpy(wide + 3 * i, "\xe2\x82\xac", 3);
        wide[3 * 4096] = '\0';
        BhStoreContainer c[] = {
                { .id = "c1", .name = "a\xff\xfe", .image = huge, .labels = huge, .mounts = "[\"\xff\"]", .state = "'; DROP TABLE users; --" },
                { .id = "" },
                { .id = NULL, .name = "x" },
                { .id = "c2", .name = wide, .depth = G_MININT64, .created_ns = G_MAXINT64 },
                { .id = huge },
        };
        BhStoreMessage m[] = {
                { .kind = BH_STORE_MESSAGE_INVENTORY, .inventory = { .containers = c, .n_containers = G_N_ELEMENTS(c), .full = TRUE } },
                { .kind = BH_STORE_MESSAGE_FINDING, .finding = { .id = "f1", .rule = huge, .output = huge, .tags = huge, .event = event, .priority = NULL } },
                { .kind = BH_STORE_MESSAGE_FINDING, .finding = { .id = NULL } },
                { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = { .kind = "exec", .subject = "\xc3", .count = G_MAXUINT64, .first_ns = 5, .last_ns = -5 } },
                { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = { .kind = "exec", .subject = "\xc3", .count = G_MAXUINT64 } },
                { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = { .kind = NULL, .subject = "x" } },
                { .kind = BH_STORE_MESSAGE_LOSS, .loss = { .topic = huge, .reason = NULL, .count = G_MAXUINT64 } },
                { .kind = BH_STORE_MESSAGE_LOSS, .loss = { .topic = huge, .reason = NULL, .count = 3 } },
                { .kind = (BhStoreMessageKind) 77 },
        };
        must_put(s, NODE, m, G_N_ELEMENTS(m));
        g_assert_cmpuint(position_of(s, NODE), ==, G_N_ELEMENTS(m));
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.refused, ==, 4);
        g_assert_cmpuint(stats.cut_texts, >=, 8);

        g_autoptr(BhStoreContainer) a = bh_store_container(s, NODE, "c1", NULL);
        g_assert_cmpstr(a->name, ==, "a\\xff\\xfe");
        g_assert_cmpuint(strlen(a->image), ==, BH_STORE_TEXT_MAX);
        g_assert_cmpstr(a->labels, ==, "{}");
        g_assert_cmpstr(a->mounts, ==, "[]");
        g_autoptr(BhStoreContainer) b = bh_store_container(s, NODE, "c2", NULL);
        g_assert_cmpuint(strlen(b->name), ==, BH_STORE_TEXT_MAX / 3 * 3);
        g_assert_true(g_utf8_validate(b->name, -1, NULL));
        g_assert_cmpint(b->depth, ==, G_MININT64);
        g_autoptr(BhStoreFinding) f = bh_store_finding(s, "f1", NULL);
        g_assert_cmpuint(strlen(f->output), ==, BH_STORE_OUTPUT_MAX);
        g_assert_cmpstr(f->tags, ==, "[]");
        g_assert_null(f->event);
        g_autoptr(BhStorePage) o = bh_store_observations(s, NULL, NULL, 0, NULL);
        g_assert_cmpuint(o->rows->len, ==, 1);
        g_assert_cmpuint(((BhStoreObservation *) o->rows->pdata[0])->count, ==, G_MAXINT64);
        g_assert_cmpstr(((BhStoreObservation *) o->rows->pdata[0])->subject, ==, "\\xc3");
        g_autoptr(GPtrArray) losses = bh_store_losses(s, NULL);
        g_assert_cmpuint(losses->len, ==, 1);
        g_assert_cmpuint(((BhStoreLossRow *) losses->pdata[0])->count, ==, G_MAXINT64);
        g_assert_cmpuint(((BhStoreLossRow *) losses->pdata[0])->times, ==, 2);

        g_autoptr(GError) error = NULL;
        g_assert_false(bh_store_ingest(s, "", NODE, m, 1, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
}

static void facts_and_losses_are_bounded(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        enum { N = 1000 };
        g_autofree BhStoreMessage *m = g_new0(BhStoreMessage, N);
        char names[N][24];

        /* The bound is 20,000 and nobody waits that long: the counter is set near it. */
        for (guint workload = 0; workload < 2; workload++) { /* with a name, and what belongs to none */
                for (guint i = 0; i < N; i++) {
                        g_snprintf(names[i], sizeof(names[i]), "/tmp/%u", i);
                        m[i] = (BhStoreMessage) { .kind = BH_STORE_MESSAGE_OBSERVATION,
                                                  .observation = { .kind = "exec", .subject = names[i], .workload = workload ? "w" : "", .count = 1 } };
                }
                must_put(s, NODE, m, 10);
                BhDb *db = bh_store_begin(s, NULL);
                g_assert_true(bh_store_end(s, bh_db_run(db, NULL, "UPDATE workloads SET observations = ?", "i", (gint64) BH_STORE_OBSERVATIONS_PER_WORKLOAD - 90), NULL));
                must_put(s, NODE, m, N);
                g_assert_cmpuint(overview_of(s).observations, ==, (workload + 1) * 100);
        }
        g_autoptr(BhStoreWorkload) w = bh_store_workload(s, "", "w", NULL);
        g_assert_cmpuint(w->refused, ==, N - 100);
        g_assert_cmpuint(w->executables, ==, 100);
        /* of parameters, whose names clients choose, half as many */
        guint64 before = overview_of(s).observations;
        BhDb *half = bh_store_begin(s, NULL);
        g_assert_true(bh_store_end(s, bh_db_run(half, NULL, "UPDATE workloads SET observations = ?", "i", (gint64) BH_STORE_OBSERVATIONS_PER_WORKLOAD / 2 - 1), NULL));
        for (guint i = 0; i < 4; i++)
                m[i] = (BhStoreMessage) { .kind = BH_STORE_MESSAGE_OBSERVATION,
                                          .observation = { .kind = i < 3 ? "parameter" : "exec", .subject = names[N - 1 - i], .workload = "w", .count = 1 } };
        must_put(s, NODE, m, 4);
        g_assert_cmpuint(overview_of(s).observations, ==, before + 2);
        g_autoptr(BhStorePage) all = bh_store_workloads(s, NULL, NULL, 0, NULL);
        g_assert_cmpuint(all->rows->len, ==, 1); /* not the one without a name */

        for (guint i = 0; i < 100; i++)
                m[i] = (BhStoreMessage) { .kind = BH_STORE_MESSAGE_LOSS, .loss = { .topic = names[i], .reason = "full", .count = 1 } };
        must_put(s, NODE, m, 100);
        g_autoptr(GPtrArray) losses = bh_store_losses(s, NULL);
        g_assert_cmpuint(losses->len, ==, 64);
        g_assert_cmpuint(overview_of(s).lost, ==, 100);
}

/* ---- nodes */

static void nodes_come_and_go(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;
        BhStoreStats before, after;

        g_assert_true(bh_store_node_set_up(s, NODE, TRUE, "0.1.0", NULL));
        must_ingest(s, 1, 30);
        bh_store_stats(s, &before);
        for (guint i = 0; i < 50; i++)
                g_assert_true(bh_store_node_set_status(s, NODE, i == 49 ? "{\"n\":49}" : "{}", T0 + i, NULL));
        bh_store_stats(s, &after);
        g_assert_cmpuint(after.commits - before.commits, <=, 1);

        g_autoptr(BhStoreNode) n = bh_store_node(s, NODE, &error);
        g_assert_no_error(error);
        g_assert_true(n->up);
        g_assert_cmpstr(n->version, ==, "0.1.0");
        g_assert_cmpstr(n->status, ==, "{\"n\":49}");
        g_assert_cmpuint(n->running, ==, 10);
        g_assert_null(bh_store_node(s, "no such", &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND);

        /* Any transaction takes it to the disk. */
        must_ingest(s, 31, 31);
        bh_store_close(s);
        s = must_open(dir, NULL);
        g_assert_true(bh_store_nodes_set_down(s, NULL));
        g_autoptr(GPtrArray) nodes = bh_store_nodes(s, NULL);
        g_assert_cmpuint(nodes->len, ==, 1);
        g_assert_false(((BhStoreNode *) nodes->pdata[0])->up);
        g_assert_cmpstr(((BhStoreNode *) nodes->pdata[0])->status, ==, "{\"n\":49}");
        bh_store_close(s);
}

/* ---- change log */

static void told(guint64 last, gpointer data) {
        *(guint64 *) data = last;
}

static void changes_are_logged_once_and_bounded(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        guint64 heard = 0, last = 0;
        gboolean gap = TRUE;

        bh_store_set_change_func(s, told, &heard);
        BhStoreContainer c = { .id = "c1", .name = "a", .state = "created", .level = "full" };
        BhStoreContainer again = c;
        again.state = "running";
        BhStoreMessage m[] = {
                { .kind = BH_STORE_MESSAGE_INVENTORY, .inventory = { .containers = &c, .n_containers = 1 } },
                { .kind = BH_STORE_MESSAGE_INVENTORY, .inventory = { .containers = &again, .n_containers = 1 } },
                { .kind = BH_STORE_MESSAGE_FINDING, .finding = { .id = "f1" } },
                { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = { .kind = "exec", .subject = "/bin/sh", .count = 1 } },
                { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = { .kind = "exec", .subject = "/bin/sh", .count = 1 } },
        };
        must_put(s, NODE, m, G_N_ELEMENTS(m));
        g_assert_cmpuint(m[0].change, ==, m[1].change);
        g_assert_cmpuint(m[2].change, >, m[1].change);
        g_assert_cmpuint(m[4].change, ==, 0);

        g_autoptr(GPtrArray) rows = bh_store_changes_after(s, 0, 0, &gap, NULL);
        g_assert_false(gap);
        g_assert_cmpuint(rows->len, ==, 4); /* node, container, finding, observation */
        const BhStoreChange *second = rows->pdata[1];
        g_assert_cmpstr(second->key, ==, NODE "/c1");
        g_assert_cmpstr(bh_store_change_kind_name(second->kind), ==, "container");
        g_assert_true(bh_store_changes_last(s, &last, NULL));
        g_assert_cmpuint(last, ==, heard);
        g_assert_cmpuint(last, ==, ((BhStoreChange *) rows->pdata[3])->id);

        g_autoptr(GPtrArray) none = bh_store_changes_after(s, last, 0, &gap, NULL);
        g_assert_cmpuint(none->len, ==, 0);
        g_assert_false(gap);
        g_autoptr(GPtrArray) future = bh_store_changes_after(s, last + 1, 0, &gap, NULL);
        g_assert_true(gap);
        g_assert_cmpuint(future->len, ==, 0);

        /* As if there had been 150,000. */
        BhDb *db = bh_store_begin(s, NULL);
        gboolean ok = bh_db_run(db, NULL, "INSERT INTO changes (id, time_ns, kind, \"key\") WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 "
                                "FROM n WHERE i < 150000) SELECT i, 0, 1, 'f' FROM n", "");
        g_assert_true(bh_store_end(s, ok, NULL));
        BhStoreMessage f = { .kind = BH_STORE_MESSAGE_FINDING, .finding = { .id = "f2" } };
        must_put(s, NODE, &f, 1);
        g_assert_cmpuint(f.change, ==, 150001);
        g_autoptr(GPtrArray) late = bh_store_changes_after(s, last, 1, &gap, NULL);
        g_assert_true(gap);
        g_assert_cmpuint(((BhStoreChange *) late->pdata[0])->id, ==, 150001 - BH_STORE_CHANGES_MAX + 1);
        g_autoptr(GPtrArray) edge = bh_store_changes_after(s, 150001 - BH_STORE_CHANGES_MAX, 1, &gap, NULL);
        g_assert_false(gap);
        g_assert_cmpuint(edge->len, ==, 1);
}

/* ---- retention */

static gint64 pretended_now, pretended_boot;

static gint64 wall(void) {
        return pretended_now;
}

static gint64 since_boot(void) {
        return pretended_boot;
}

#define DAY (86400 * G_GINT64_CONSTANT(1000000000))

static void pretend(BhStore *s, gint64 days) {
        pretended_now = T0 + days * DAY;
        pretended_boot = days * DAY;
        s->now = wall;
        s->boot = since_boot;
        if (!days) {
                s->opened_now = pretended_now;
                s->opened_boot = pretended_boot;
        }
}

static void what_is_too_old_goes(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreAuditEntry e = { .actor = "admin", .action = "test" };
        BhStoreExpired gone;
        guint64 rows;
        gint64 broken;

        pretend(s, 0);
        must_ingest(s, 1, 30000);
        must_put_containers(s, NODE, TRUE, NULL, 0); /* all have ended */
        must_put_containers(s, "gone-node", FALSE, (BhStoreContainer[]) { { .id = "x", .state = "running", .workload = "x" } }, 1);
        for (guint i = 0; i < 10; i++)
                g_assert_true(bh_store_audit(s, &e, NULL));
        pretend(s, 20);
        must_ingest(s, 30001, 30300);
        for (guint i = 0; i < 10; i++)
                g_assert_true(bh_store_audit(s, &e, NULL));
        pretend(s, 40);
        must_ingest(s, 30301, 30301);
        g_assert_true(bh_store_expire(s, 30 * DAY, 0, &gone, NULL));
        g_assert_false(gone.clock_distrusted);
        g_assert_cmpuint(gone.findings, ==, 10000);
        g_assert_cmpuint(gone.containers, ==, 10001);
        g_assert_cmpuint(gone.observations, >, 0);
        g_assert_cmpuint(gone.audit, ==, 10);
        g_assert_cmpuint(gone.nodes, ==, 1);
        g_assert_cmpuint(gone.workloads, ==, 1);
        BhStoreOverview o = overview_of(s);
        g_assert_cmpuint(o.findings, ==, 100);
        g_assert_cmpuint(o.containers, ==, 100);
        g_assert_cmpuint(o.running, ==, 100); /* what runs stays */
        /* The bound of facts goes by what is there. */
        g_autoptr(BhStorePage) w = bh_store_workloads(s, NULL, NULL, 0, NULL);
        guint64 facts = 0;
        for (guint i = 0; i < w->rows->len; i++)
                facts += ((BhStoreWorkload *) w->rows->pdata[i])->observations;
        g_assert_cmpuint(facts, ==, o.observations);
        /* The chain begins later and is whole. */
        g_assert_true(bh_store_audit_verify(s, &rows, &broken, NULL));
        g_assert_cmpuint(rows, ==, 10);
        g_assert_cmpint(broken, ==, 0);
        g_assert_true(bh_store_audit(s, &e, NULL));
        g_assert_true(bh_store_audit_verify(s, &rows, &broken, NULL));
        g_assert_cmpuint(rows, ==, 11);
        g_assert_cmpint(broken, ==, 0);

        /* A clock that jumps ahead by ten years takes nothing. */
        pretended_now += 3650 * DAY;
        g_assert_true(bh_store_expire(s, 30 * DAY, 0, &gone, NULL));
        g_assert_true(gone.clock_distrusted);
        g_assert_cmpuint(gone.findings + gone.containers + gone.observations + gone.audit, ==, 0);
        g_assert_cmpuint(overview_of(s).findings, ==, 100);
}

static void a_flood_pushes_out_itself(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autofree char *output = g_strnfill(2000, 'o');
        g_autofree BhStoreMessage *m = g_new0(BhStoreMessage, 2000);
        BhStoreAuditEntry e = { .actor = "admin", .action = "test" };
        BhStoreExpired gone;
        BhStoreStats stats;
        char ids[2000][16];

        for (guint i = 0; i < 100; i++)
                g_assert_true(bh_store_audit(s, &e, NULL));
        must_ingest(s, 1, 3000);
        for (guint round = 0; round < 5; round++) {
                for (guint i = 0; i < 2000; i++) {
                        g_snprintf(ids[i], sizeof(ids[i]), "f%u-%u", round, i);
                        m[i] = (BhStoreMessage) { .kind = BH_STORE_MESSAGE_FINDING, .finding = { .id = ids[i], .output = output, .time_ns = T0 } };
                }
                must_put(s, "flooded", m, 2000);
        }
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.bytes_used, >, 20 << 20);
        g_assert_true(bh_store_expire(s, 0, 10 << 20, &gone, NULL));
        g_assert_false(gone.still_over);
        g_assert_cmpuint(gone.bytes, <=, 10 << 20);
        g_assert_cmpuint(gone.bytes, >, 6 << 20); /* no more than it must */
        g_assert_cmpuint(gone.audit, ==, 0);
        g_assert_cmpuint(gone.observations, ==, 0);
        g_assert_cmpuint(gone.findings, >, 1000);
        g_autoptr(BhStoreFinding) newest = bh_store_finding(s, "f4-1999", NULL);
        g_assert_nonnull(newest);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.bytes_file, <=, stats.bytes_used + (17 << 20)); /* the disk gets it back */

        /* What may not go stays, and that is said. */
        g_assert_true(bh_store_expire(s, 0, 4096, &gone, NULL));
        g_assert_true(gone.still_over);
        g_assert_cmpuint(overview_of(s).findings, ==, 0);
        g_assert_cmpuint(overview_of(s).running, ==, 1000);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store/first_start_creates_and_later_ones_find", first_start_creates_and_later_ones_find);
        g_test_add_func("/store/wrong_addresses_are_refused", wrong_addresses_are_refused);
        g_test_add_func("/store/a_batch_given_twice_counts_once", a_batch_given_twice_counts_once);
        g_test_add_func("/store/a_container_is_followed_through_its_life", a_container_is_followed_through_its_life);
        g_test_add_func("/store/hostile_content_never_stops_a_publisher", hostile_content_never_stops_a_publisher);
        g_test_add_func("/store/facts_and_losses_are_bounded", facts_and_losses_are_bounded);
        g_test_add_func("/store/nodes_come_and_go", nodes_come_and_go);
        g_test_add_func("/store/changes_are_logged_once_and_bounded", changes_are_logged_once_and_bounded);
        g_test_add_func("/store/what_is_too_old_goes", what_is_too_old_goes);
        g_test_add_func("/store/a_flood_pushes_out_itself", a_flood_pushes_out_itself);
        return g_test_run();
}
