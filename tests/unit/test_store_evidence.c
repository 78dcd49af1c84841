/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence as the central keeps it: what was sent once stays, pages, and the bounds of a node that misbehaves. */
#include "store_rows.h"

#include "store/store_evidence.h"

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

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/store_evidence/" #name, name)
        TEST(what_was_sent_once_stays_and_the_rest_is_a_conflict);
        TEST(pages_filters_and_cursors_that_are_none);
        TEST(a_node_that_begins_anew_all_the_time_is_bounded);
        TEST(another_node_gets_nothing_into_a_chain);
        TEST(each_object_is_named_once);
        return g_test_run();
}
