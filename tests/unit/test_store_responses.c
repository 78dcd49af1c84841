/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger of responses: who may change what of a row, and when. */
#include "store_rows.h"

#include "store/store_responses.h"

static void add(BhStore *s, const char *id, const char *action) {
        g_autoptr(GError) error = NULL;
        BhStoreResponse r = { .id = (char *) id, .action = (char *) action, .state = (char *) "pending", .node = (char *) "n1", .container_id = (char *) "c1", .container_name = (char *) "web-1",
                .workload = (char *) "web", .application = (char *) "shop", .actor = (char *) "anna", .reason = (char *) "odd", .allow = (char *) "[\"10.0.0.1\"]", .deny = (char *) "[]",
                .subject = (char *) (g_str_equal(action, "isolate") ? NULL : "a subject"), .result = (char *) "", .detail = (char *) "{}" };

        bh_store_response_add(s, &r, NULL, &error);
        g_assert_no_error(error);
}

static char *state_of(BhStore *s, const char *id) {
        g_autoptr(BhStoreResponse) r = bh_store_response(s, id, NULL);

        return r ? g_strdup_printf("%s%s", r->state, r->releasing ? " releasing" : "") : g_strdup("none");
}

static void assert_state(BhStore *s, const char *id, const char *expected) {
        g_autofree char *state = state_of(s, id);

        g_assert_cmpstr(state, ==, expected);
}

static void a_node_tells_of_its_own_until_the_end(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;

        add(s, "a1", "isolate");
        add(s, "a7", "kill-tree");
        g_autoptr(BhStoreResponse) first = bh_store_response(s, "a1", &error), second = bh_store_response(s, "a7", &error);
        g_assert_cmpstr(first->subject, ==, "");
        g_assert_cmpstr(second->subject, ==, "a subject");
        g_assert_cmpstr(second->reason, ==, "odd");
        g_assert_true(bh_store_response_told(s, "another", "a1", "active", "mine", "{}", &error));
        assert_state(s, "a1", "pending");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "in force", "{\"open\":[]}", &error));
        assert_state(s, "a1", "active");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "in force", NULL, &error));
        g_autoptr(BhStoreResponse) r = bh_store_response(s, "a1", &error);
        g_assert_cmpstr(r->detail, ==, "{\"open\":[]}");
        g_assert_cmpstr(r->allow, ==, "[\"10.0.0.1\"]");
        /* what it refused is put beside the rest; of a node's own, and while it goes on */
        json_auto_t *counts = json_pack("{s:{s:i}}", "refused_acts", "acts", 3), *late = json_pack("{s:i}", "strays", 9);
        gboolean known;
        g_assert_true(bh_store_response_refused(s, "another", "a1", late, &known, &error) && !known);
        g_assert_true(bh_store_response_refused(s, "n1", "a1", counts, &known, &error) && known);
        g_assert_true(bh_store_response_refused(s, "n1", "nobody", late, &known, &error) && !known);
        g_autoptr(BhStoreResponse) counted = bh_store_response(s, "a1", &error);
        g_assert_cmpstr(counted->detail, ==, "{\"open\":[],\"refused_acts\":{\"acts\":3}}");
        g_assert_true(bh_store_response_release(s, "a1", FALSE, NULL, &error));
        assert_state(s, "a1", "active releasing");
        for (guint i = 0; i < 2; i++) { /* who gives it up is not overruled by who does not */
                g_autoptr(BhStoreResponse) before = bh_store_response(s, "a1", &error);

                g_assert_cmpint(before->give_up, ==, i);
                g_assert_true(bh_store_response_release(s, "a1", TRUE, NULL, &error));
                g_assert_true(bh_store_response_release(s, "a1", FALSE, NULL, &error));
        }
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "still", NULL, &error));
        assert_state(s, "a1", "active releasing");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "released", "released", NULL, &error));
        assert_state(s, "a1", "released");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "late", NULL, &error));
        g_assert_true(bh_store_response_refused(s, "n1", "a1", late, &known, &error) && !known);
        g_autoptr(BhStoreResponse) ended = bh_store_response(s, "a1", &error);
        g_assert_cmpstr(ended->detail, ==, counted->detail);
        assert_state(s, "a1", "released");
        g_assert_false(bh_store_response_release(s, "a1", FALSE, NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT);
        g_clear_error(&error);
        g_assert_false(bh_store_response_release(s, "a2", FALSE, NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND);
        bh_store_close(s);
}

static void a_hundred_at_once_have_pages_and_filters(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autofree char *cursor = NULL;
        BhStoreResponseFilter open = { .open = TRUE, .container = "web-1", .workload = "web" };
        guint pages = 0;

        for (guint i = 0; i < 100; i++) {
                g_autofree char *id = g_strdup_printf("%x", 0x100 + i);

                add(s, id, i % 2 ? "isolate" : "block");
                if (i >= 90)
                        g_assert_true(bh_store_response_told(s, "n1", id, "failed", "no", NULL, NULL));
        }
        do {
                g_autoptr(BhStorePage) page = bh_store_responses(s, &open, cursor, 7, NULL);

                g_assert_nonnull(page);
                for (guint i = 0; i < page->rows->len; i++)
                        g_assert_true(g_hash_table_add(seen, g_strdup(((BhStoreResponse *) page->rows->pdata[i])->id)));
                g_free(cursor);
                cursor = g_strdup(page->next);
                pages++;
        } while (cursor);
        g_assert_cmpuint(g_hash_table_size(seen), ==, 90);
        g_assert_cmpuint(pages, ==, 13);
        open = (BhStoreResponseFilter){ .state = "failed", .action = "block" };
        g_autoptr(BhStorePage) failed = bh_store_responses(s, &open, NULL, 50, NULL);
        g_assert_cmpuint(failed->rows->len, ==, 5);
        bh_store_close(s);
}

static void report(BhStore *s, const char *node, guint64 seq, const char *id, const char *state) {
        g_autoptr(GError) error = NULL;
        BhStoreMessage m = { .seq = seq, .kind = BH_STORE_MESSAGE_RESPONSE,
                .response = { .id = (char *) id, .action = (char *) "isolate", .state = (char *) state, .node = (char *) node, .container_id = (char *) "c1", .container_name = (char *) "", .workload = (char *) "",
                        .application = (char *) "", .actor = (char *) "policy:p", .reason = (char *) "", .allow = (char *) "[]", .deny = (char *) "[]", .result = (char *) "", .detail = (char *) "{}" } };

        g_assert_true(bh_store_ingest(s, node, node, &m, 1, &error));
        g_assert_no_error(error);
}

/* Letters that are no hexadecimal digits are all the number 0. */
static void ids_that_are_one_number_hold_nothing_up(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);

        report(s, "n1", 1, "zz", "dry_run");
        report(s, "n1", 2, "zy", "dry_run");
        report(s, "n1", 3, "1", "dry_run");
        report(s, "n2", 1, "001", "dry_run");
        assert_state(s, "zz", "dry_run");
        assert_state(s, "zy", "none");
        assert_state(s, "1", "dry_run");
        assert_state(s, "001", "none");
        bh_store_close(s);
}

static guint open_of(BhStore *s, const char *node) {
        BhStoreResponseFilter of = { .node = node, .open = TRUE };
        g_autoptr(BhStorePage) page = bh_store_responses(s, &of, NULL, BH_STORE_LIMIT_MAX, NULL);

        return page->rows->len;
}

static void fill(BhStore *s, const char *node, const char *state, gint first, gint n) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_store_begin(s, &error));
        gboolean ok = bh_db_run(s->writer, &error, "WITH RECURSIVE i (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM i LIMIT ?) INSERT INTO responses (serial, id, action, state, node, container_id, container_name, "
                                "workload, application, actor, reason, allow, deny, result, detail, until_ns, created_ns, changed_ns, best_effort, releasing) "
                                "SELECT n, printf('%x', n), 'isolate', ?, ?, 'c', '', '', '', 'policy:p', '', '[]', '[]', '', '{}', 0, n, n, 0, 0 FROM i", "iitt", (gint64) first, (gint64) n, state, node);
        g_assert_true(bh_store_end(s, ok, &error));
}

/* One that tells of more than it can have done takes no room from the others. */
static void a_node_fills_no_more_than_its_part(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);

        fill(s, "loud", "active", 0x100000, BH_STORE_RESPONSES_OPEN);
        report(s, "loud", 1, "f0000000", "active");
        assert_state(s, "f0000000", "none");
        g_assert_cmpuint(open_of(s, "loud"), ==, MIN(BH_STORE_RESPONSES_OPEN, BH_STORE_LIMIT_MAX));
        fill(s, "n1", "failed", 0x10, 10); /* older than all of the other's */
        fill(s, "loud", "dry_run", 0x200000, BH_STORE_RESPONSES_MAX - BH_STORE_RESPONSES_OPEN - 10);
        report(s, "quiet", 1, "f0000001", "active");
        assert_state(s, "f0000001", "active");
        assert_state(s, "10", "failed");
        assert_state(s, "200000", "none");
        add(s, "f0000002", "isolate");
        assert_state(s, "10", "failed");
        assert_state(s, "200001", "none");
        bh_store_close(s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store_responses/a_node_tells_of_its_own_until_the_end", a_node_tells_of_its_own_until_the_end);
        g_test_add_func("/store_responses/a_hundred_at_once_have_pages_and_filters", a_hundred_at_once_have_pages_and_filters);
        g_test_add_func("/store_responses/ids_that_are_one_number_hold_nothing_up", ids_that_are_one_number_hold_nothing_up);
        g_test_add_func("/store_responses/a_node_fills_no_more_than_its_part", a_node_fills_no_more_than_its_part);
        return g_test_run();
}
