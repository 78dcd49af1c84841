/* SPDX-License-Identifier: Apache-2.0 */
/* Findings: folding of equal ones, filters, and what schema 1 becomes. */
#include "store_rows.h"

#define SECOND G_GINT64_CONSTANT(1000000000)

static guint64 put_seq;

static void put(BhStore *s, BhStoreFinding f) {
        BhStoreMessage m = { .seq = ++put_seq, .kind = BH_STORE_MESSAGE_FINDING, .finding = f };
        g_autoptr(GError) error = NULL;

        bh_store_ingest(s, PUBLISHER, NODE, &m, 1, &error);
        g_assert_no_error(error);
}

static BhStoreFinding shell(char *id, gint64 time_ns) {
        return (BhStoreFinding){ .id = id, .time_ns = time_ns, .rule = "Shell", .priority = "notice", .source = "syscall", .output = "o", .container_id = "c1c1c1c1c1",
                                 .container_name = "web", .workload = "web", .application = "shop", .kind = "rule", .fold = "/bin/sh\n/x", .tags = "[\"T1059\",\"a\\\"b\"]" };
}

static guint64 count_of(BhStore *s, const BhStoreFindingFilter *f) {
        g_autoptr(GError) error = NULL;
        guint64 n = 0;

        bh_store_findings_count(s, f, &n, &error);
        g_assert_no_error(error);
        return n;
}

static BhStore *begin(const char *dir) {
        put_seq = 0;
        return must_open(dir, NULL);
}

static void storm_is_one_row_with_its_count_and_times(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = begin(dir);
        enum { N = 10000, BATCH = 500 };
        g_autofree BhStoreMessage *m = g_new0(BhStoreMessage, BATCH);
        char ids[BATCH][24];

        for (guint i = 0; i < N; i += BATCH) {
                for (guint k = 0; k < BATCH; k++) {
                        g_snprintf(ids[k], sizeof(ids[k]), "n-%u", i + k);
                        m[k] = (BhStoreMessage){ .seq = ++put_seq, .kind = BH_STORE_MESSAGE_FINDING, .finding = shell(ids[k], T0 + (i + k) * 1000) };
                }
                g_assert_true(bh_store_ingest(s, PUBLISHER, NODE, m, BATCH, NULL));
        }
        /* the bus gives the last batch again */
        g_assert_true(bh_store_ingest(s, PUBLISHER, NODE, m, BATCH, NULL));
        g_assert_cmpuint(count_of(s, NULL), ==, 1);
        g_autoptr(BhStoreFinding) f = bh_store_finding(s, "n-0", NULL);
        g_assert_cmpuint(f->count, ==, N);
        g_assert_cmpint(f->time_ns, ==, T0);
        g_assert_cmpint(f->last_ns, ==, T0 + (N - 1) * 1000);

        /* as many changes as there were transactions, all about this one */
        g_autoptr(GPtrArray) changes = bh_store_changes_after(s, 0, 1000, NULL, NULL);
        guint about = 0;
        for (guint i = 0; i < changes->len; i++)
                about += g_str_equal(((BhStoreChange *) changes->pdata[i])->key, "n-0");
        g_assert_cmpuint(about, ==, N / BATCH);
        bh_store_close(s);
}

static void what_differs_is_a_row_of_its_own(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = begin(dir);
        BhStoreFinding f;
        guint n = 1;

        put(s, shell("a", T0));
#define OTHER(name, member, value) \
        f = shell(name, T0 + 1); \
        f.member = value; \
        put(s, f); \
        g_assert_cmpuint(count_of(s, NULL), ==, ++n)
        OTHER("b", rule, "Other");
        OTHER("c", container_id, "c2");
        OTHER("d", workload, "db");
        OTHER("e", application, "x");
        OTHER("f", fold, "/bin/sh\n/y");
        OTHER("g", fold, NULL);
        OTHER("h", fold, NULL);
        OTHER("i", kind, "model");
        OTHER("j", priority, "error");
        OTHER("k", source, "docker");
#undef OTHER
        /* an empty key is one, too */
        f = shell("l", T0);
        f.fold = "";
        put(s, f);
        f.id = "m";
        put(s, f);
        g_assert_cmpuint(count_of(s, NULL), ==, n + 1);
        bh_store_close(s);
}

static void folding_ends_after_a_quiet_hour_and_after_a_day(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = begin(dir);
        char id[16];

        put(s, shell("a", T0));
        put(s, shell("b", T0 + BH_STORE_FOLD_GAP_NS));
        g_assert_cmpuint(count_of(s, NULL), ==, 1);
        put(s, shell("c", T0 + 2 * BH_STORE_FOLD_GAP_NS + 1));
        g_assert_cmpuint(count_of(s, NULL), ==, 2);
        /* late ones of a node that catches up, before the row's first: within the gap it widens, else not */
        put(s, shell("d", T0 + BH_STORE_FOLD_GAP_NS + 2));
        g_assert_cmpuint(count_of(s, NULL), ==, 2);
        put(s, shell("e", T0 - 1));
        g_assert_cmpuint(count_of(s, NULL), ==, 3);
        g_autoptr(BhStoreFinding) c = bh_store_finding(s, "c", NULL);
        g_assert_cmpint(c->time_ns, ==, T0 + BH_STORE_FOLD_GAP_NS + 2);
        g_assert_cmpuint(c->count, ==, 2);

        /* one each half hour for three days: rows of a day at most */
        for (gint i = 0; i < 144; i++) {
                g_snprintf(id, sizeof(id), "r%d", i);
                BhStoreFinding f = shell(id, T0 + i * (BH_STORE_FOLD_GAP_NS / 2));
                f.rule = "Slow";
                put(s, f);
        }
        g_autoptr(BhStorePage) page = bh_store_findings(s, &(BhStoreFindingFilter){ .rule = "Slow" }, NULL, 0, NULL);
        guint64 sum = 0;
        for (guint i = 0; i < page->rows->len; i++) {
                const BhStoreFinding *f = page->rows->pdata[i];

                g_assert_cmpint(f->last_ns - f->time_ns, <=, BH_STORE_FOLD_SPAN_NS);
                sum += f->count;
        }
        g_assert_cmpuint(page->rows->len, ==, 3);
        g_assert_cmpuint(sum, ==, 144);

        /* hostile times and counts overflow nothing */
        BhStoreFinding f = shell("x", G_MININT64);
        f.rule = "Hostile";
        put(s, f);
        f = shell("y", G_MAXINT64);
        f.rule = "Hostile";
        f.count = G_MAXUINT64;
        put(s, f);
        f = shell("z", G_MAXINT64);
        f.rule = "Hostile";
        f.count = G_MAXUINT64;
        put(s, f);
        g_assert_cmpuint(count_of(s, &(BhStoreFindingFilter){ .rule = "Hostile" }), ==, 2);
        g_autoptr(BhStoreFinding) y = bh_store_finding(s, "y", NULL);
        g_assert_cmpuint(y->count, ==, G_MAXINT64);
        bh_store_close(s);
}

static void one_message_may_stand_for_many(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = begin(dir);
        BhStoreFinding f = shell("a", T0);

        f.count = 7;
        f.last_ns = T0 + 5 * SECOND;
        put(s, f);
        f = shell("b", T0 + 6 * SECOND);
        f.count = 3;
        f.last_ns = T0 + 60 * SECOND;
        put(s, f);
        g_autoptr(BhStoreFinding) row = bh_store_finding(s, "a", NULL);
        g_assert_cmpuint(row->count, ==, 10);
        g_assert_cmpint(row->last_ns, ==, T0 + 60 * SECOND);
        bh_store_close(s);
}

static void all_that_is_given_comes_back(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = begin(dir);
        g_autoptr(GBytes) event = g_bytes_new_static("event", 5);
        BhStoreFinding f = shell("a", T0);

        f.event = event;
        f.hostname = "host";
        f.image = "nginx:1";
        f.description = "means";
        f.advice = "do";
        f.container = "{\"id\":\"c1\"}";
        f.lineage = "[{\"pid\":1}]";
        put(s, f);
        BhStoreFinding without = shell("b", T0);
        without.fold = NULL;
        put(s, without);
        g_autoptr(BhStoreFinding) a = bh_store_finding(s, "a", NULL), b = bh_store_finding(s, "b", NULL);
        g_assert_cmpstr(a->hostname, ==, "host");
        g_assert_cmpstr(a->image, ==, "nginx:1");
        g_assert_cmpstr(a->description, ==, "means");
        g_assert_cmpstr(a->advice, ==, "do");
        g_assert_cmpstr(a->container, ==, "{\"id\":\"c1\"}");
        g_assert_cmpstr(a->lineage, ==, "[{\"pid\":1}]");
        g_assert_cmpuint(g_bytes_get_size(a->event), ==, 5);
        g_assert_cmpstr(b->hostname, ==, NODE);
        g_assert_cmpuint(b->count, ==, 1);
        g_assert_cmpint(b->last_ns, ==, T0);
        g_autoptr(BhStorePage) page = bh_store_findings(s, NULL, NULL, 0, NULL);
        g_assert_cmpstr(((BhStoreFinding *) page->rows->pdata[1])->lineage, ==, "");
        bh_store_close(s);
}

static void filters_find_what_a_person_means(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = begin(dir);
        g_autoptr(GError) error = NULL;
        BhStoreFinding f = shell("a", T0);

        put(s, f);
        f = shell("b", T0 + 3 * SECOND);
        f.rule = "Write below [etc]";
        f.container_id = "d2d2d2";
        f.container_name = "db";
        f.source = "docker";
        f.kind = "model";
        f.tags = "[]";
        put(s, f);
#define IS(n, ...) g_assert_cmpuint(count_of(s, &(BhStoreFindingFilter){ __VA_ARGS__ }), ==, n)
        IS(1, .container = "web");
        IS(1, .container = "c1c1");
        IS(0, .container = "c1c");
        IS(1, .container = "d2d2d2");
        IS(1, .rule_glob = "She*");
        IS(1, .rule_glob = "?hell");
        IS(2, .rule_glob = "*");
        IS(0, .rule_glob = "shell");
        IS(1, .rule_glob = "*[etc]");
        IS(0, .rule_glob = "*etc");
        IS(1, .tag = "T1059");
        IS(0, .tag = "T105");
        IS(1, .tag = "a\"b");
        IS(0, .tag = "b\"");
        IS(1, .kind = "model");
        IS(1, .source = "docker");
        IS(1, .since_ns = T0 + SECOND);
        IS(1, .until_ns = T0 + SECOND);
#undef IS
        guint64 n;
        g_assert_false(bh_store_findings_count(s, &(BhStoreFindingFilter){ .rule_glob = "*a*b*c*d*" }, &n, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);

        /* one that is still going on is in front, and found by when it was last */
        put(s, shell("c", T0 + 9 * SECOND));
        g_autoptr(BhStorePage) page = bh_store_findings(s, &(BhStoreFindingFilter){ .since_ns = T0 + 2 * SECOND }, NULL, 1, NULL);
        g_assert_cmpstr(((BhStoreFinding *) page->rows->pdata[0])->id, ==, "a");
        g_autoptr(BhStorePage) next = bh_store_findings(s, NULL, page->next, 1, NULL);
        g_assert_cmpstr(((BhStoreFinding *) next->rows->pdata[0])->id, ==, "b");
        g_assert_null(next->next);
        bh_store_close(s);
}

static void schema_1_keeps_its_findings(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *uri = db_uri(dir);
        g_autoptr(GError) error = NULL;
        BhStoreOpened opened = { 0 };
        guint was = 0;

        BhDbSite *site = bh_db_site_open(uri, &opened, &error);
        g_assert_no_error(error);
        BhDb *db = bh_db_connect(site, BH_DB_WRITER, &error);
        g_assert_true(bh_schema_migrate(db, bh_schema_steps, 1, &was, &error));
        g_assert_true(bh_db_exec(db, "INSERT INTO findings (id, received_ns, time_ns, rank, rule, priority, source, output, node, container_id, container_name, workload, "
                                     "application, tags, fields, event) VALUES ('old', 1, 5, 3, 'r', 'error', 'sensor', 'o', 'n1', '', '', '', '', '[]', '{}', x'00')", &error));
        g_assert_no_error(error);
        bh_db_disconnect(db);
        bh_db_site_close(site);
        bh_store_opened_clear(&opened);

        BhStore *s = must_open(dir, &opened);
        g_assert_cmpuint(opened.migrated_from, ==, 1);
        g_autoptr(BhStoreFinding) f = bh_store_finding(s, "old", &error);
        g_assert_no_error(error);
        g_assert_cmpint(f->last_ns, ==, 5);
        g_assert_cmpuint(f->count, ==, 1);
        g_assert_cmpstr(f->hostname, ==, "n1");
        g_assert_cmpstr(f->kind, ==, "sensor");
        bh_store_opened_clear(&opened);
        bh_store_close(s);
}

/* A row has some KiB: a million of them are not to be read for a number. */
static void counting_reads_no_rows(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        static const char *const counts[] = {
                "SELECT count(*) FROM findings",
                "SELECT count(*) FROM findings WHERE (kind = 'rule')",
                "SELECT count(*) FROM findings WHERE (rank < 4) AND (last_ns >= 1) AND (time_ns < 9)",
                "SELECT count(*) FROM findings WHERE (rule GLOB 'a*') AND (source = 'syscall')",
                "SELECT count(*) FROM findings WHERE (node = 'n')",
                "SELECT node, container_id, application, workload, count(*) FROM findings GROUP BY node, container_id, application, workload",
        };

        for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
                g_autofree char *sql = g_strconcat("EXPLAIN QUERY PLAN ", counts[i], NULL);
                g_autoptr(GString) plan = g_string_new(NULL);
                BhDbStmt *st = bh_db_query(s->writer, NULL, sql, "");

                while (st && bh_db_step(st, NULL) == BH_DB_ROW)
                        g_string_append_printf(plan, "%s; ", bh_db_peek(st, 3));
                bh_db_done(st);
                if (!strstr(plan->str, "COVERING INDEX") || strstr(plan->str, "TEMP B-TREE"))
                        g_error("%s: %s", counts[i], plan->str);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store/findings/storm_is_one_row_with_its_count_and_times", storm_is_one_row_with_its_count_and_times);
        g_test_add_func("/store/findings/what_differs_is_a_row_of_its_own", what_differs_is_a_row_of_its_own);
        g_test_add_func("/store/findings/folding_ends_after_a_quiet_hour_and_after_a_day", folding_ends_after_a_quiet_hour_and_after_a_day);
        g_test_add_func("/store/findings/one_message_may_stand_for_many", one_message_may_stand_for_many);
        g_test_add_func("/store/findings/all_that_is_given_comes_back", all_that_is_given_comes_back);
        g_test_add_func("/store/findings/filters_find_what_a_person_means", filters_find_what_a_person_means);
        g_test_add_func("/store/findings/counting_reads_no_rows", counting_reads_no_rows);
        g_test_add_func("/store/findings/schema_1_keeps_its_findings", schema_1_keeps_its_findings);
        return g_test_run();
}
