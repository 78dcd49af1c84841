/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence as the central keeps it: what was sent once stays, pages, and the bounds of a node that misbehaves. */
#include "store_rows.h"

#include "store/store_evidence.h"
#include "store/store_incidents.h"

static void put(BhStore *s, const char *node, const char *chain, guint64 seq, const char *line) {
        static guint64 sent;
        g_autoptr(GError) error = NULL;
        g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, line, -1);
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_EVIDENCE, .seq = ++sent };

        m.evidence = (BhStoreEvidence){ .chain = (char *) chain, .node = (char *) node, .kind = (char *) (seq % 2 ? "file" : "process"), .container_id = (char *) "c1", .sha256 = hash, .line = (char *) line,
                                        .hash = hash, .next = hash, .seq = seq, .size = 5, .time_ns = (gint64) seq };
        bh_store_ingest(s, node, node, &m, 1, &error);
        g_assert_no_error(error);
}

static const BhStoreEvidenceChain *chain_of(const GPtrArray *chains, const char *name) {
        for (guint i = 0; i < chains->len; i++)
                if (g_str_equal(((BhStoreEvidenceChain *) chains->pdata[i])->chain, name))
                        return chains->pdata[i];
        return NULL;
}

static void what_was_sent_once_stays_and_the_rest_is_a_conflict(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);

        put(s, "n1", "a", 1, "one");
        put(s, "n1", "a", 2, "two");
        put(s, "n1", "a", 2, "two");
        g_autoptr(GPtrArray) before = bh_store_evidence_chains(s, "n1", NULL);
        g_assert_cmpuint(chain_of(before, "a")->conflicts, ==, 0);
        put(s, "n1", "a", 2, "another two");
        g_autoptr(GPtrArray) after = bh_store_evidence_chains(s, "n1", NULL);
        g_assert_cmpuint(chain_of(after, "a")->conflicts, ==, 1);
        g_assert_cmpuint(chain_of(after, "a")->last_seq, ==, 2);
        g_autoptr(BhStorePage) page = bh_store_evidence(s, NULL, NULL, 0, NULL);
        g_assert_cmpuint(page->rows->len, ==, 2);
        g_assert_cmpstr(((BhStoreEvidence *) page->rows->pdata[0])->line, ==, "two");
        bh_store_close(s);
}

static void pages_filters_and_cursors_that_are_none(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreEvidenceFilter f = { .kind = "file", .container = "c1" };
        g_autofree char *cursor = NULL;
        g_autoptr(GError) error = NULL;
        guint64 count = 0;
        guint seen = 0;

        for (guint i = 1; i <= 25; i++) {
                g_autofree char *line = g_strdup_printf("line %u", i);

                put(s, "n1", "a", i, line);
        }
        do {
                g_autoptr(BhStorePage) page = bh_store_evidence(s, &f, cursor, 4, &error);

                g_assert_no_error(error);
                for (guint i = 0; i < page->rows->len; i++)
                        g_assert_cmpuint(((BhStoreEvidence *) page->rows->pdata[i])->seq, ==, 25 - 2 * seen++);
                g_free(cursor);
                cursor = g_strdup(page->next);
        } while (cursor);
        g_assert_cmpuint(seen, ==, 13);
        g_assert_true(bh_store_evidence_count(s, &f, &count, &error));
        g_assert_cmpuint(count, ==, 13);
        g_assert_null(bh_store_evidence(s, &f, "x", 4, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
        bh_store_close(s);
}

static void a_node_that_begins_anew_all_the_time_is_bounded(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreStats stats;

        for (guint i = 0; i < BH_STORE_EVIDENCE_CHAINS + 3; i++) {
                g_autofree char *chain = g_strdup_printf("chain %u", i);

                put(s, "n1", chain, 1, chain);
        }
        put(s, "n1", "chain 0", 2, "goes on");
        put(s, "n2", "another", 1, "is its own");
        g_autoptr(GPtrArray) own = bh_store_evidence_chains(s, "n1", NULL), others = bh_store_evidence_chains(s, "n2", NULL);
        g_assert_cmpuint(own->len, ==, BH_STORE_EVIDENCE_CHAINS);
        g_assert_cmpuint(chain_of(own, "chain 0")->last_seq, ==, 2);
        g_assert_cmpuint(others->len, ==, 1);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.refused, ==, 3);
        bh_store_close(s);
}

static void put_on(BhStore *s, const char *node, guint64 seq, const char *line, const char *prev, const char *key, const char *next) {
        static guint64 sent = 1000;
        g_autoptr(GError) error = NULL;
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_EVIDENCE, .seq = ++sent };

        m.evidence = (BhStoreEvidence){ .chain = (char *) "a", .node = (char *) node, .kind = (char *) "file", .container_id = (char *) "c1", .sha256 = (char *) "", .line = (char *) line, .hash = (char *) line,
                                        .prev = (char *) prev, .key = (char *) key, .next = (char *) next, .seq = seq, .time_ns = 1 };
        bh_store_ingest(s, node, node, &m, 1, &error);
        g_assert_no_error(error);
}

/* Whatever number it takes; but one that has the chain's key is the node itself under another name. */
static void another_node_gets_nothing_into_a_chain(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreStats stats;

        put_on(s, "n1", 1, "one", "", "a", "k2");
        put_on(s, "n1", 2, "two", "one", "k2", "k3");
        put_on(s, "bad", 3, "forged", "two", "other", "k4");
        put_on(s, "bad", 7, "far", "", "k3", "");
        put_on(s, "bad", 2, "another two", "one", "k2", "k3");
        g_autoptr(GPtrArray) chains = bh_store_evidence_chains(s, NULL, NULL);
        g_assert_cmpuint(chains->len, ==, 1);
        g_assert_cmpuint(chain_of(chains, "a")->last_seq, ==, 2);
        g_assert_cmpuint(chain_of(chains, "a")->conflicts, ==, 0);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.refused, ==, 3);
        put_on(s, "renamed", 3, "three", "two", "k3", "k4");
        put_on(s, "renamed", 4, "four", "three", "k4", "k5");
        g_autoptr(GPtrArray) moved = bh_store_evidence_chains(s, "renamed", NULL);
        g_assert_cmpuint(chain_of(moved, "a")->last_seq, ==, 4);
        bh_store_close(s);
}

static void count_name(const char *sha256, gpointer data) {
        g_assert_cmpuint(strlen(sha256), ==, 64);
        ++*(guint *) data;
}

static void each_object_is_named_once(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        guint n = 0;

        put(s, "n1", "a", 1, "the same");
        put(s, "n1", "b", 1, "the same");
        put(s, "n1", "b", 2, "another");
        g_assert_true(bh_store_evidence_objects(s, count_name, &n, NULL));
        g_assert_cmpuint(n, ==, 2);
        bh_store_close(s);
}

/* ---- evidence of open incidents ---- */

#define CHAINED 3000 /* two rounds of making room at the bound that the tests set */
#define BOUND 1000

/* Items `from` to `to` of the chain, in one transaction. */
static void put_many(BhStore *s, const char *chain, guint64 from, guint64 to, const char *container, const char *finding) {
        static guint64 sent = 100000;
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autofree BhStoreMessage *m = g_new0(BhStoreMessage, to - from + 1);
        g_autoptr(GError) error = NULL;

        for (guint64 seq = from; seq <= to; seq++) {
                char *line = g_strdup_printf("%s %" G_GUINT64_FORMAT, chain, seq), *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, line, -1);
                BhStoreMessage *one = &m[seq - from];

                g_ptr_array_add(texts, line);
                g_ptr_array_add(texts, hash);
                one->kind = BH_STORE_MESSAGE_EVIDENCE;
                one->seq = ++sent;
                one->evidence = (BhStoreEvidence){ .chain = (char *) chain, .kind = (char *) "file", .container_id = (char *) container, .finding = (char *) finding, .sha256 = hash, .line = line, .hash = hash,
                                                   .next = hash, .seq = seq, .size = 5, .time_ns = T0 };
        }
        bh_store_ingest(s, "n1", "n1", m, (guint) (to - from + 1), &error);
        g_assert_no_error(error);
}

static void put_of(BhStore *s, const char *chain, guint64 seq, const char *container, const char *finding) {
        put_many(s, chain, seq, seq, container, finding);
}

/* Incident 1 open with finding f1 (serial 1) and container c1, incident 2 closed with f2 and c2. */
static void put_incidents(BhStore *s) {
        static const char *const containers[] = { "[{\"node\":\"n1\",\"id\":\"c1\",\"name\":\"web\"}]", "[{\"node\":\"n1\",\"id\":\"c2\",\"name\":\"db\"}]" };
        const BhStoreIncidentMember members[] = { { 1, 1 }, { 2, 2 } };
        BhStoreMessage m[] = { { .seq = 1, .kind = BH_STORE_MESSAGE_FINDING }, { .seq = 2, .kind = BH_STORE_MESSAGE_FINDING } };
        BhStoreIncident rows[2];

        for (guint i = 0; i < 2; i++) {
                m[i].finding = (BhStoreFinding){ .id = (char *) (i ? "f2" : "f1"), .time_ns = T0, .rule = (char *) (i ? "b" : "a"), .priority = (char *) "error", .source = (char *) "x", .output = (char *) "o" };
                rows[i] = (BhStoreIncident){ .id = i + 1, .state = (char *) "open", .first_ns = T0, .last_ns = T0, .title = (char *) "t", .story = (char *) "s", .nodes = (char *) "[]",
                                             .applications = (char *) "[]", .workloads = (char *) "[]", .containers = (char *) containers[i], .lines = (char *) "[]" };
        }
        g_assert_true(bh_store_ingest(s, PUBLISHER, "n1", m, 2, NULL));
        g_assert_true(bh_store_incidents_put(s, rows, 2, members, 2, 9, NULL));
        g_assert_true(bh_store_incident_close(s, 2, "benign", "anna", NULL, NULL, NULL));
}

static guint64 items_of(BhStore *s, guint64 incident) {
        const BhStoreEvidenceFilter f = { .incident = incident };
        guint64 n = 0;

        g_assert_true(bh_store_evidence_count(s, &f, &n, NULL));
        return n;
}

static void evidence_of_open_incidents_goes_last(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreStats stats;
        guint64 all = 0;

        s->evidence_max = BOUND;
        put_incidents(s);
        put_of(s, "a", 1, "", "f1");
        put_of(s, "a", 2, "c2", "f2");
        put_of(s, "a", 3, "c1", "");
        put_many(s, "a", 4, CHAINED, "c3", "");
        g_assert_true(bh_store_evidence_count(s, NULL, &all, NULL));
        g_assert_cmpuint(all, ==, BOUND);
        g_assert_cmpuint(items_of(s, 1), ==, 2);
        g_assert_cmpuint(items_of(s, 2), ==, 0);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.evidence_dropped, ==, CHAINED - BOUND);
        g_assert_cmpuint(stats.evidence_dropped_open, ==, 0);
        /* where the chain goes on behind what went is known, and nowhere else is */
        g_autoptr(GPtrArray) chains = bh_store_evidence_chains(s, "n1", NULL);
        const BhStoreEvidenceChain *c = chain_of(chains, "a");
        g_assert_cmpuint(c->first_seq, ==, 1);
        g_assert_cmpuint(c->gaps->len, ==, 2);
        g_assert_cmpuint(g_array_index(c->gaps, guint64, 0), ==, 3);
        g_assert_cmpuint(g_array_index(c->gaps, guint64, 1), ==, CHAINED - BOUND + 3);
        bh_store_close(s);
}

static void where_nothing_else_is_left_it_goes_and_is_counted(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        BhStoreStats stats;

        s->evidence_max = BOUND;
        put_incidents(s);
        put_of(s, "other", 1, "c2", "f2");
        put_many(s, "a", 1, CHAINED - 1, "c1", "");
        g_assert_cmpuint(items_of(s, 1), ==, BOUND);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.evidence_dropped, ==, CHAINED - BOUND);
        g_assert_cmpuint(stats.evidence_dropped_open, ==, CHAINED - BOUND - 1);
        /* it is over: its evidence is as any other's */
        g_assert_true(bh_store_incident_close(s, 1, "benign", "anna", NULL, NULL, NULL));
        put_many(s, "b", 1, BOUND, "c3", "");
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.evidence_dropped_open, ==, CHAINED - BOUND - 1);
        g_assert_cmpuint(items_of(s, 1), ==, 1); /* the end of its chain */
        bh_store_close(s);
}

/* A quiet node's last item, with which heads are compared. */
static void the_head_of_a_quiet_chain_stays(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);

        s->evidence_max = BOUND;
        put_of(s, "quiet", 1, "c3", "");
        put_of(s, "quiet", 2, "c3", "");
        put_many(s, "a", 1, CHAINED - 2, "c3", "");
        g_autoptr(GPtrArray) chains = bh_store_evidence_chains(s, "n1", NULL);
        g_assert_cmpuint(chain_of(chains, "quiet")->first_seq, ==, 2);
        g_assert_cmpuint(chain_of(chains, "quiet")->last_seq, ==, 2);
        g_assert_cmpuint(chain_of(chains, "a")->gaps->len, ==, 0);
        bh_store_close(s);
}

static void note_hash(const char *sha256, guint64 size, gboolean held, gpointer data) {
        g_string_append_printf(data, "%.8s:%" G_GUINT64_FORMAT ":%d ", sha256, size, held);
}

static void bytes_of_open_incidents_go_last(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GString) got = g_string_new(NULL), wanted = g_string_new(NULL);

        put_incidents(s);
        put_of(s, "a", 1, "", "f1");
        put_of(s, "a", 2, "c2", "f2");
        put_of(s, "a", 3, "c1", "");
        put_of(s, "a", 4, "", "");
        for (guint i = 0; i < 4; i++) {
                static const char *const order[] = { "a 2", "a 4", "a 1", "a 3" };
                g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, order[i], -1);

                note_hash(hash, 5, i >= 2, wanted);
        }
        g_assert_true(bh_store_evidence_oldest(s, 100, note_hash, got, NULL));
        g_assert_cmpstr(got->str, ==, wanted->str);
        bh_store_close(s);
}

static gint64 pretended;

static gint64 pretended_time(void) {
        return pretended;
}

/* Of the node itself, in no container: its finding is all that ties it to the incident. */
static void evidence_outlasts_its_finding(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GString) got = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        BhStoreMessage m = { .seq = 3, .kind = BH_STORE_MESSAGE_FINDING };
        BhStoreExpired gone;

        s->now = pretended_time;
        s->opened_now = pretended = T0;
        put_incidents(s);
        put_of(s, "a", 1, "", "f1");
        put_of(s, "a", 2, "", "f2");
        pretended += 30 * 60 * G_GINT64_CONSTANT(1000000000);
        m.finding = (BhStoreFinding){ .id = (char *) "f3", .time_ns = pretended, .rule = (char *) "c", .priority = (char *) "error", .source = (char *) "x", .output = (char *) "o" };
        g_assert_true(bh_store_ingest(s, PUBLISHER, "n1", &m, 1, NULL));
        g_assert_true(bh_store_expire(s, 60 * G_GINT64_CONSTANT(1000000000), 0, &gone, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(gone.findings, ==, 2);
        g_assert_cmpuint(items_of(s, 1), ==, 1);
        g_assert_cmpuint(items_of(s, 2), ==, 1);
        g_assert_true(bh_store_evidence_oldest(s, 100, note_hash, got, NULL));
        g_assert_true(g_str_has_suffix(got->str, ":5:1 "));
        /* and where the incident goes into another, it goes along */
        BhStoreIncident rows[] = { { .id = 3, .state = (char *) "open", .first_ns = T0, .last_ns = T0, .title = (char *) "t", .story = (char *) "s", .nodes = (char *) "[]", .applications = (char *) "[]",
                                     .workloads = (char *) "[]", .containers = (char *) "[]", .lines = (char *) "[]" },
                                   { .id = 1, .state = (char *) "merged", .merged_into = 3 } };
        g_assert_true(bh_store_incidents_put(s, rows, 2, NULL, 0, 10, NULL));
        g_assert_cmpuint(items_of(s, 3), ==, 1);
        bh_store_close(s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/store_evidence/" #name, name)
        TEST(what_was_sent_once_stays_and_the_rest_is_a_conflict);
        TEST(pages_filters_and_cursors_that_are_none);
        TEST(a_node_that_begins_anew_all_the_time_is_bounded);
        TEST(another_node_gets_nothing_into_a_chain);
        TEST(each_object_is_named_once);
        TEST(evidence_of_open_incidents_goes_last);
        TEST(where_nothing_else_is_left_it_goes_and_is_counted);
        TEST(the_head_of_a_quiet_chain_stays);
        TEST(bytes_of_open_incidents_go_last);
        TEST(evidence_outlasts_its_finding);
        return g_test_run();
}
