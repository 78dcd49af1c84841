/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger of responses: who may change what of a row, and when. */
#include "store_rows.h"

#include "store/store_responses.h"

static void add(BhStore *s, const char *id, const char *action) {
        g_autoptr(GError) error = NULL;
        BhStoreResponse r = { .id = (char *) id, .action = (char *) action, .state = (char *) "pending", .node = (char *) "n1", .container_id = (char *) "c1", .container_name = (char *) "web-1",
                .workload = (char *) "web", .application = (char *) "shop", .actor = (char *) "anna", .reason = (char *) "odd", .allow = (char *) "[\"10.0.0.1\"]", .deny = (char *) "[]",
                .result = (char *) "", .detail = (char *) "{}" };

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
        g_assert_true(bh_store_response_told(s, "another", "a1", "active", "mine", "{}", &error));
        assert_state(s, "a1", "pending");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "in force", "{\"open\":[]}", &error));
        assert_state(s, "a1", "active");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "in force", NULL, &error));
        g_autoptr(BhStoreResponse) r = bh_store_response(s, "a1", &error);
        g_assert_cmpstr(r->detail, ==, "{\"open\":[]}");
        g_assert_cmpstr(r->allow, ==, "[\"10.0.0.1\"]");
        g_assert_true(bh_store_response_release(s, "a1", NULL, &error));
        assert_state(s, "a1", "active releasing");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "still", NULL, &error));
        assert_state(s, "a1", "active releasing");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "released", "released", NULL, &error));
        assert_state(s, "a1", "released");
        g_assert_true(bh_store_response_told(s, "n1", "a1", "active", "late", NULL, &error));
        assert_state(s, "a1", "released");
        g_assert_false(bh_store_response_release(s, "a1", NULL, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT);
        g_clear_error(&error);
        g_assert_false(bh_store_response_release(s, "a2", NULL, &error));
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

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store_responses/a_node_tells_of_its_own_until_the_end", a_node_tells_of_its_own_until_the_end);
        g_test_add_func("/store_responses/a_hundred_at_once_have_pages_and_filters", a_hundred_at_once_have_pages_and_filters);
        return g_test_run();
}
