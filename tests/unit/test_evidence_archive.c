/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a chain that an archive has: it is verified by itself, whatever the chain before it and between its items is. */
#include "store_rows.h"

#include "central/evidence_archive.h"
#include "evidence/vault.h"
#include "store/store_incidents.h"

#define ITEMS 2999u /* item 1 is the chain's beginning */
#define BOUND 1000

/* A chain as a node writes it, all of which the store took. */
static BhStore *store_of(const char *dir, gint64 max) {
        g_autofree char *path = g_build_filename(dir, "v", NULL), *log = g_build_filename(path, "log", NULL), *text = NULL;
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autofree BhStoreMessage *m = g_new0(BhStoreMessage, ITEMS + 1);
        g_autoptr(GError) error = NULL;
        g_autoptr(BhVault) v = bh_vault_open(path, NODE, 64 << 20, NULL, &error);
        guint n = 0;

        g_assert_no_error(error);
        for (guint i = 0; i < ITEMS; i++) {
                guint64 seq;

                g_assert_true(bh_vault_add(v, "file", 1000, json_pack("{s:i}", "path", (int) i), NULL, &seq, &error));
        }
        g_assert_true(bh_vault_commit(v, &error));
        g_assert_no_error(error);
        g_assert_true(g_file_get_contents(log, &text, NULL, &error));
        BhStore *s = must_open(dir, NULL);
        s->evidence_max = max;
        for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, n++) {
                g_auto(BhEvidenceLine) l = { 0 };

                *end = 0;
                g_assert_true(bh_evidence_read(at, (gsize) (end - at), &l, &error));
                g_assert_cmpuint(n, <=, ITEMS);
                char *copies[] = { g_strdup(l.chain), g_strdup(l.hash), g_strdup(l.next), g_strdup(l.prev), g_strdup(l.key) };
                for (guint i = 0; i < G_N_ELEMENTS(copies); i++)
                        g_ptr_array_add(texts, copies[i]);
                m[n] = (BhStoreMessage){ .kind = BH_STORE_MESSAGE_EVIDENCE, .seq = n + 1 };
                m[n].evidence = (BhStoreEvidence){ .chain = copies[0], .hash = copies[1], .next = copies[2], .prev = copies[3], .key = copies[4], .kind = (char *) "file", .line = at, .sha256 = (char *) "",
                                                   .container_id = (char *) (l.seq == 10 || l.seq == 20 ? "c1" : "c2"), .finding = (char *) "", .seq = l.seq, .time_ns = T0 };
        }
        g_assert_cmpuint(n, ==, ITEMS + 1);
        /* an open incident has what is of c1 */
        const BhStoreIncident i = { .id = 1, .state = (char *) "open", .first_ns = T0, .last_ns = T0, .title = (char *) "t", .story = (char *) "s", .nodes = (char *) "[]", .applications = (char *) "[]",
                                    .workloads = (char *) "[]", .containers = (char *) "[{\"node\":\"n\",\"id\":\"c1\",\"name\":\"web\"}]", .lines = (char *) "[]" };
        g_assert_true(bh_store_incidents_put(s, &i, 1, NULL, 0, 1, &error));
        g_assert_true(bh_store_ingest(s, PUBLISHER, NODE, m, n, &error));
        g_assert_no_error(error);
        return s;
}

/* What the verification says of the archive of the incident's items. */
static BhEvidenceReport verified(BhStore *s, gsize whole_max, gboolean with_heads, guint *parted) {
        const BhStoreEvidenceFilter f = { .incident = 1 };
        g_autoptr(GString) log = g_string_new(NULL), heads = g_string_new(NULL);
        g_autoptr(BhEvidenceVerifier) v = bh_evidence_verifier_new();
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStorePage) page = bh_store_evidence(s, &f, NULL, 0, &error);

        g_assert_no_error(error);
        g_assert_cmpuint(page->rows->len, ==, 2);
        g_assert_true(bh_evidence_archive_chains(s, page->rows, whole_max, log, heads, parted, &error));
        g_assert_no_error(error);
        if (with_heads)
                bh_evidence_verifier_firsts(v, heads->str, heads->len);
        for (char *at = log->str, *end; (end = strchr(at, '\n')); at = end + 1)
                bh_evidence_verifier_line(v, at, (gsize) (end - at));
        BhEvidenceReport r = *bh_evidence_verifier_end(v, NULL, NULL);
        r.told = NULL;
        return r;
}

static void a_part_goes_from_the_first_wanted_item_to_the_end(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = store_of(dir, 1000000);
        guint parted;
        BhEvidenceReport r = verified(s, 64 << 20, TRUE, &parted);

        g_assert_cmpuint(r.problems, ==, 0);
        g_assert_cmpuint(r.gaps, ==, 0);
        g_assert_cmpuint(parted, ==, 0);
        g_assert_cmpuint(r.first_seq, ==, 10);
        g_assert_cmpuint(r.last_seq, ==, ITEMS + 1);
        g_assert_cmpuint(r.items, ==, ITEMS + 1 - 9);
        g_assert_cmpuint(verified(s, 64 << 20, FALSE, &parted).problems, ==, 1);
        bh_store_close(s);
}

static void of_a_chain_without_room_it_is_what_is_wanted_and_the_end(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = store_of(dir, 1000000);
        guint parted;
        BhEvidenceReport r = verified(s, 16384, TRUE, &parted);

        g_assert_cmpuint(r.problems, ==, 0);
        g_assert_cmpuint(r.gaps, ==, 2);
        g_assert_cmpuint(parted, ==, 1);
        g_assert_cmpuint(r.items, ==, 3);
        g_assert_cmpuint(r.first_seq, ==, 10);
        g_assert_cmpuint(r.last_seq, ==, ITEMS + 1);
        /* that something is missing nobody but its heads may say */
        g_assert_cmpuint(verified(s, 16384, FALSE, &parted).problems, ==, 3);
        bh_store_close(s);
}

/* What the store let go within the chain, because an open incident held what is before it. */
static void what_went_for_the_bound_is_a_gap_that_is_said(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = store_of(dir, BOUND);
        guint parted;
        BhEvidenceReport r = verified(s, 64 << 20, TRUE, &parted);

        g_assert_cmpuint(r.problems, ==, 0);
        g_assert_cmpuint(r.gaps, ==, 2);
        g_assert_cmpuint(parted, ==, 0);
        g_assert_cmpuint(r.items, ==, BOUND);
        /* what somebody else takes out of the store is none */
        g_assert_nonnull(bh_store_begin(s, NULL));
        g_assert_true(bh_store_end(s, bh_db_run(s->writer, NULL, "DELETE FROM evidence WHERE seq = ?", "i", (gint64) ITEMS - 5), NULL));
        g_assert_cmpuint(verified(s, 64 << 20, TRUE, &parted).problems, ==, 1);
        bh_store_close(s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_assert_true(bh_evidence_init());
#define TEST(name) g_test_add_func("/evidence_archive/" #name, name)
        TEST(a_part_goes_from_the_first_wanted_item_to_the_end);
        TEST(of_a_chain_without_room_it_is_what_is_wanted_and_the_end);
        TEST(what_went_for_the_bound_is_a_gap_that_is_said);
        return g_test_run();
}
