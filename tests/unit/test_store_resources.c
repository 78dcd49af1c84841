/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that replace what was said before: by scope, with changes, bounds and retention. */
#include "store/store_flows.h"
#include "store_rows.h"

static void tell(BhStore *s, const char *node, const char *source, const char *scope, const BhStoreResource *r, guint n) {
        BhStoreMessage m = { .kind = BH_STORE_MESSAGE_RESOURCES, .resources = { .source = source, .scope = scope, .time_ns = 1, .resources = r, .n_resources = n } };

        must_put(s, node, &m, 1);
}

static GPtrArray *find(BhStore *s, BhStoreResourceFilter f) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStorePage) page = bh_store_resources(s, &f, NULL, 0, &error);
        guint64 count = 0;

        g_assert_no_error(error);
        g_assert_true(bh_store_resources_count(s, &f, &count, NULL));
        g_assert_cmpuint(count, ==, page->rows->len);
        return g_ptr_array_ref(page->rows);
}

static guint count(BhStore *s, BhStoreResourceFilter f) {
        g_autoptr(GPtrArray) rows = find(s, f);

        return rows->len;
}

static guint64 last_change(BhStore *s) {
        guint64 id;

        g_assert_true(bh_store_changes_last(s, &id, NULL));
        return id;
}

static gint64 now_ns;
static gint64 now(void) {
        return now_ns;
}

static BhStoreResource net(const char *id, const char *name) {
        return (BhStoreResource){ .kind = (char *) "network", .id = (char *) id, .name = (char *) name, .application = (char *) "shop", .detail = (char *) "{\"driver\":\"bridge\"}" };
}

static void a_list_replaces_what_was_said_of_its_scope(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreResource first[] = { net("n1", "a"), net("n2", "b") }, second[] = { net("n2", "b"), net("n3", "c") };

        tell(s, "one", "docker", "node", first, 2);
        tell(s, "two", "docker", "node", first, 2);
        tell(s, "one", "containerd", "node", first, 1);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ 0 }), ==, 5);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "one" }), ==, 3);

        g_autoptr(GPtrArray) before = find(s, (BhStoreResourceFilter){ .node = "one", .source = "docker", .id = "n2" });
        guint64 at = last_change(s);
        tell(s, "one", "docker", "node", second, 2);
        g_autoptr(GPtrArray) after = find(s, (BhStoreResourceFilter){ .node = "one", .source = "docker", .id = "n2" });
        g_assert_cmpint(((BhStoreResource *) before->pdata[0])->serial, ==, ((BhStoreResource *) after->pdata[0])->serial);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "one", .source = "docker", .id = "n1" }), ==, 0);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "two", .id = "n1" }), ==, 1);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "one", .source = "containerd", .id = "n1" }), ==, 1);

        /* two changes, one new and one gone; what stayed as it was is none */
        g_autoptr(GPtrArray) changes = bh_store_changes_after(s, at, 100, NULL, NULL);
        guint gone = 0;
        g_assert_cmpuint(changes->len, ==, 2);
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];
                g_autoptr(BhStoreResource) r = bh_store_resource(s, g_ascii_strtoll(c->key, NULL, 10), NULL);

                g_assert_cmpint(c->kind, ==, BH_STORE_CHANGE_RESOURCE);
                gone += r == NULL;
                if (r)
                        g_assert_cmpstr(r->id, ==, "n3");
        }
        g_assert_cmpuint(gone, ==, 1);

        at = last_change(s);
        tell(s, "one", "docker", "node", second, 2);
        g_assert_cmpuint(last_change(s), ==, at);
        second[0].detail = (char *) "{\"driver\":\"overlay\"}";
        tell(s, "one", "docker", "node", second, 2);
        g_assert_cmpuint(last_change(s), ==, at + 1);
}

static BhStoreResource member(const char *id, const char *name, gboolean manager) {
        return (BhStoreResource){ .kind = (char *) "node", .id = (char *) id, .name = (char *) name, .detail = (char *) (manager ? "{\"role\":\"manager\"}" : "{\"role\":\"worker\"}") };
}

static guint64 contested(BhStore *s) {
        BhStoreStats stats;

        bh_store_stats(s, &stats);
        return stats.scopes_contested;
}

static void a_swarm_is_one_whichever_manager_tells_of_it(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreResource a[] = { member("i1", "one", TRUE), member("i2", "two", TRUE), member("i3", "engine", TRUE), net("n1", "a"), net("n2", "b") };
        BhStoreResource self[] = { member("i3", "engine", TRUE) };

        tell(s, "one", "swarm", "swarm:c1", a, 5);
        tell(s, "two", "swarm", "swarm:c1", a, 4);
        tell(s, "two", "swarm", "swarm:c2", a, 1);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .scope = "swarm:c1" }), ==, 4);
        /* its engine has another name than its sensor: it says which of the cluster's nodes it is */
        tell(s, "sensor3", "docker", "node", self, 1);
        tell(s, "sensor3", "swarm", "swarm:c1", a, 5);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .scope = "swarm:c1" }), ==, 5);
        /* who leaves takes away only what it told last itself */
        tell(s, "one", "swarm", "swarm:c1", NULL, 0);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .scope = "swarm:c1" }), ==, 5);
        tell(s, "sensor3", "swarm", "swarm:c1", NULL, 0);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .scope = "swarm:c1" }), ==, 0);
        g_assert_cmpuint(contested(s), ==, 0);
}

static void a_swarm_is_not_told_by_who_does_not_manage_it(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreResource real[] = { member("i1", "one", TRUE), member("i2", "two", FALSE), net("n1", "a") };
        BhStoreResource made_up[] = { member("i2", "two", TRUE), net("n1", "forged") };
        BhStoreResource says_it_is_one[] = { member("i1", "two", TRUE) };

        tell(s, "one", "swarm", "swarm:c1", real, 3);
        tell(s, "two", "swarm", "swarm:c1", made_up, 2);
        tell(s, "two", "swarm", "swarm:c1", NULL, 0);
        tell(s, "other", "swarm", "swarm:c1", made_up, 2);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .scope = "swarm:c1", .node = "one" }), ==, 3);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "forged" }), ==, 0);
        /* nor by who says that it is a manager whose node is known */
        tell(s, "other", "docker", "node", says_it_is_one, 1);
        tell(s, "other", "swarm", "swarm:c1", made_up, 2);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "forged" }), ==, 0);
        g_assert_cmpuint(contested(s), ==, 3);

        g_autoptr(BhStorePage) found = bh_store_findings(s, NULL, NULL, 0, NULL);
        g_assert_cmpuint(found->rows->len, ==, 2);
        for (guint i = 0; i < 2; i++) {
                const BhStoreFinding *f = found->rows->pdata[i];

                g_assert_cmpstr(f->rule, ==, "Swarm told by a node that does not manage it");
                g_assert_true(g_str_equal(f->node, "two") || g_str_equal(f->node, "other"));
                g_assert_cmpuint(f->count, ==, g_str_equal(f->node, "two") ? 1 : 2);
        }
}

static void a_swarm_whose_manager_is_silent_goes_to_another_node_but_to_no_worker(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreResource old[] = { member("i1", "one", TRUE), member("i2", "two", FALSE), net("n1", "a") }, anew[] = { member("i9", "nine", TRUE), net("n1", "taken") };

        now_ns = s->opened_now;
        s->now = now;
        s->boot = now;
        s->opened_boot = now_ns;
        tell(s, "one", "swarm", "swarm:c1", old, 3);
        g_assert_true(bh_store_node_set_up(s, "one", TRUE, NULL, NULL));
        now_ns += 2 * BH_STORE_MANAGER_SILENT_NS;
        tell(s, "nine", "swarm", "swarm:c1", anew, 2);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "taken" }), ==, 0);
        g_assert_true(bh_store_node_set_up(s, "one", FALSE, NULL, NULL));
        now_ns += 2 * BH_STORE_MANAGER_SILENT_NS;
        tell(s, "two", "swarm", "swarm:c1", anew, 2);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "taken" }), ==, 0);
        g_assert_cmpuint(contested(s), ==, 2);
        tell(s, "nine", "swarm", "swarm:c1", anew, 2);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "taken", .node = "nine" }), ==, 1);
        g_assert_cmpuint(contested(s), ==, 2);
}

static void filters_search_and_pages(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autofree char *cursor = NULL;
        BhStoreResource r[50];
        char ids[50][8];

        for (guint i = 0; i < G_N_ELEMENTS(r); i++) {
                g_snprintf(ids[i], sizeof(ids[i]), "id%02u", i);
                r[i] = net(ids[i], "n");
                r[i].kind = (char *) (i % 2 ? "service" : "volume");
                r[i].application = (char *) (i % 5 ? "shop" : "");
                r[i].labels = (char *) "{\"team\":\"Vermilion\"}";
        }
        tell(s, "one", "docker", "node", r, G_N_ELEMENTS(r));
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .kind = "service" }), ==, 25);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .application = "" }), ==, 10);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "vermilion" }), ==, 50);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .search = "id0" }), ==, 10);
        do {
                g_autoptr(BhStorePage) page = bh_store_resources(s, NULL, cursor, 7, NULL);

                for (guint i = 0; i < page->rows->len; i++)
                        g_assert_true(g_hash_table_add(seen, g_strdup(((BhStoreResource *) page->rows->pdata[i])->id)));
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        g_assert_cmpuint(g_hash_table_size(seen), ==, 50);
        g_autoptr(GError) error = NULL;
        g_assert_null(bh_store_resources(s, NULL, "x", 7, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
}

static void hostile_lists_are_bounded(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreResource twice[] = { net("n1", "a"), net("n1", "b"), net("", "no id"), { 0 } };
        BhStoreStats stats;

        tell(s, "one", "docker", "node", twice, 4);
        g_autoptr(GPtrArray) rows = find(s, (BhStoreResourceFilter){ 0 });
        g_assert_cmpuint(rows->len, ==, 1);
        g_assert_cmpstr(((BhStoreResource *) rows->pdata[0])->name, ==, "a");
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.refused, ==, 2);

        /* a node that makes up scopes gets no more than its share, and does not lose those it has */
        for (guint i = 0; i < 2 * BH_STORE_SCOPES_PER_NODE; i++) {
                g_autofree char *scope = g_strdup_printf("swarm:%u", i);

                tell(s, "one", "swarm", scope, twice, 1);
        }
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .source = "swarm" }), ==, BH_STORE_SCOPES_PER_NODE - 1);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .scope = "swarm:0" }), ==, 1);
        tell(s, "two", "docker", "node", twice, 1);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "two" }), ==, 1);
        tell(s, "two", "", "node", twice, 1);
        bh_store_stats(s, &stats);
        g_assert_cmpuint(stats.ingested[BH_STORE_MESSAGE_RESOURCES], ==, 3 + 2 * BH_STORE_SCOPES_PER_NODE);
}

static void they_go_with_the_node_that_told_them(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreResource a[] = { net("n1", "a") };
        const gint64 day = 86400 * G_GINT64_CONSTANT(1000000000);
        BhStoreExpired gone;

        now_ns = s->opened_now;
        s->now = now;
        s->boot = now;
        s->opened_boot = now_ns;
        tell(s, "one", "docker", "node", a, 1);
        tell(s, "two", "docker", "node", a, 1);
        g_assert_true(bh_store_node_set_up(s, "two", TRUE, NULL, NULL));
        now_ns += 40 * day;
        g_assert_true(bh_store_expire(s, 30 * day, 0, &gone, NULL));
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "one" }), ==, 0);
        g_assert_cmpuint(count(s, (BhStoreResourceFilter){ .node = "two" }), ==, 1);
}

static void who_called_an_address_his_own_first_is_kept_in_that_order(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GArray) add = g_array_new(FALSE, FALSE, sizeof(BhStoreNodeAddress));
        const guint8 bytes[4] = { 192, 168, 7, 2 };
        const BhStoreNodeAddress a[] = { { (char *) "two", bh_half_address(bytes, 4) }, { (char *) "evil", bh_half_address(bytes, 4) } };

        g_array_append_vals(add, a, 2);
        g_assert_true(bh_store_add_node_addresses(s, add, NULL));
        g_array_remove_index(add, 0);
        g_assert_true(bh_store_add_node_addresses(s, add, NULL));
        g_autoptr(GArray) got = bh_store_node_addresses(s, NULL);
        g_assert_cmpuint(got->len, ==, 2);
        g_assert_cmpstr(g_array_index(got, BhStoreNodeAddress, 0).node, ==, "two");
        g_assert_cmpstr(g_array_index(got, BhStoreNodeAddress, 1).node, ==, "evil");
        g_assert_true(bh_half_address_equal(&g_array_index(got, BhStoreNodeAddress, 1).address, &a[1].address));
}

static void all_of_a_container_is_kept(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreContainer c = { .id = (char *) "abc", .level = (char *) "full", .state = (char *) "running", .layers = (char *) "[\"sha256:1\"]", .seccomp = (char *) "default",
                               .memory_limit = 7, .runs = (char *) "[{\"exit_code\":3}]", .risks = (char *) "[\"why\"]", .no_new_privileges = 5, .net_ns = 4026531840 };

        must_put_containers(s, "one", FALSE, &c, 1);
        g_autoptr(BhStoreContainer) got = bh_store_container(s, "one", "abc", NULL);
        g_assert_cmpstr(got->layers, ==, "[\"sha256:1\"]");
        g_assert_cmpstr(got->seccomp, ==, "default");
        g_assert_cmpstr(got->runs, ==, "[{\"exit_code\":3}]");
        g_assert_cmpstr(got->capabilities, ==, "[]");
        g_assert_cmpint(got->memory_limit, ==, 7);
        g_assert_cmpint(got->net_ns, ==, 4026531840);
        g_assert_cmpint(got->no_new_privileges, ==, 1);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store_resources/a_list_replaces_what_was_said_of_its_scope", a_list_replaces_what_was_said_of_its_scope);
        g_test_add_func("/store_resources/a_swarm_is_one_whichever_manager_tells_of_it", a_swarm_is_one_whichever_manager_tells_of_it);
        g_test_add_func("/store_resources/a_swarm_is_not_told_by_who_does_not_manage_it", a_swarm_is_not_told_by_who_does_not_manage_it);
        g_test_add_func("/store_resources/a_swarm_whose_manager_is_silent_goes_to_another_node_but_to_no_worker", a_swarm_whose_manager_is_silent_goes_to_another_node_but_to_no_worker);
        g_test_add_func("/store_resources/filters_search_and_pages", filters_search_and_pages);
        g_test_add_func("/store_resources/hostile_lists_are_bounded", hostile_lists_are_bounded);
        g_test_add_func("/store_resources/they_go_with_the_node_that_told_them", they_go_with_the_node_that_told_them);
        g_test_add_func("/store_resources/who_called_an_address_his_own_first_is_kept_in_that_order", who_called_an_address_his_own_first_is_kept_in_that_order);
        g_test_add_func("/store_resources/all_of_a_container_is_kept", all_of_a_container_is_kept);
        return g_test_run();
}
