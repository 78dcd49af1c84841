/* SPDX-License-Identifier: Apache-2.0 */
#include "store_rows.h"

/* ---- containers */

static guint64 count_containers(BhStore *s, BhStoreContainerFilter f) {
        g_autoptr(BhStorePage) page = bh_store_containers(s, &f, NULL, 0, NULL);
        guint64 count = 0;

        g_assert_true(bh_store_containers_count(s, &f, &count, NULL));
        g_assert_cmpuint(page->rows->len, ==, count);
        return count;
}

static void containers_are_paged_and_filtered(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *cursor = NULL;
        gint64 before = G_MAXINT64;
        guint pages = 0;

        must_ingest(s, 1, 300); /* 100 containers */
        /* New ones while somebody pages through neither repeat nor hide any. */
        do {
                g_autoptr(BhStorePage) page = bh_store_containers(s, NULL, cursor, 7, &error);

                g_assert_no_error(error);
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreContainer *c = page->rows->pdata[i];

                        g_assert_cmpint(c->serial, <, before);
                        before = c->serial;
                        g_assert_true(g_hash_table_add(seen, g_strdup(c->id)));
                }
                must_ingest(s, 301 + pages * 3, 303 + pages * 3);
                pages++;
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        g_assert_cmpuint(g_hash_table_size(seen), ==, 100);
        g_assert_cmpuint(pages, ==, 15);

        BhStoreContainer c[] = {
                { .id = "aaaa1111", .name = "db", .image = "postgres:16", .state = "running", .workload = "db", .labels = "{\"Tier\":\"100%_back\"}" },
                { .id = "aaaa2222", .name = "db", .image = "postgres:16", .state = "exited", .workload = "db" },
                { .id = "bbbb3333", .name = "aaaa", .state = "running", .workload = "x" },
        };
        must_put_containers(s, "node-2", TRUE, c, G_N_ELEMENTS(c));
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .node = "node-2" }), ==, 3);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .node = "node-2", .living = TRUE }), ==, 2);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .state = "exited" }), ==, 1);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .application = "" }), ==, 3);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .application = "shop", .workload = "db" }), ==, 0);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .image = "postgres:16" }), ==, 2);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .search = "POSTGRES" }), ==, 2);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .search = "100%_B" }), ==, 1);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .search = "100%%" }), ==, 0);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .search = "!" }), ==, 0);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .search = "' OR 1=1 --" }), ==, 0);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .search = "\xff\xc0" }), ==, 0);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .node = "node-2", .until_ns = 1 }), ==, 0);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { .node = "node-2", .since_ns = G_MAXINT64 }), ==, 2); /* running ones may still be there */

        static const char *const bad[] = { "", "x", "1x", "-", "+1", " 1", "1.2", "0x1", "99999999999999999999999999999999999999999999999999" };
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_clear_error(&error);
                g_assert_null(bh_store_containers(s, NULL, bad[i], 0, &error));
                g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
        }
}

static char *find(BhStore *s, const char *text, gint code) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhStoreContainer) c = bh_store_container_find(s, text, &error);

        g_assert_cmpint(error ? error->code : -1, ==, code);
        return c ? g_strdup_printf("%s/%s", c->node, c->id) : NULL;
}

#define assert_finds(text, code, expected) do { g_autofree char *found = find(s, text, code); g_assert_cmpstr(found, ==, expected); } while (0)

static void a_person_names_a_container(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreContainer one[] = {
                { .id = "aaaa1111", .name = "db", .state = "running" },   { .id = "aaaa2222", .name = "old", .state = "exited" },
                { .id = "bbbb3333", .name = "aaaa", .state = "running" }, { .id = "bbbb4444", .name = "old", .state = "exited" },
                { .id = "cccc5555", .name = "web", .state = "running" },  { .id = "same", .name = "same", .state = "running" },
                { .id = "dddd", .name = "db", .state = "exited" },
        };
        BhStoreContainer two[] = { { .id = "eeee", .name = "web", .state = "running" }, { .id = "same", .name = "clone", .state = "running" } };

        must_put_containers(s, "n1", TRUE, one, G_N_ELEMENTS(one));
        must_put_containers(s, "n2", TRUE, two, G_N_ELEMENTS(two));
        assert_finds("aaaa1111", -1, "n1/aaaa1111");
        assert_finds("db", -1, "n1/aaaa1111");         /* the one that lives */
        assert_finds("aaaa", -1, "n1/bbbb3333");       /* a name before a beginning */
        assert_finds("aaaa1", -1, "n1/aaaa1111");
        assert_finds("aaa", BH_STORE_ERROR_NOT_FOUND, NULL); /* too short for a beginning */
        assert_finds("bbbb", BH_STORE_ERROR_AMBIGUOUS, NULL);
        assert_finds("web", BH_STORE_ERROR_AMBIGUOUS, NULL);
        assert_finds("same", BH_STORE_ERROR_AMBIGUOUS, NULL);
        assert_finds("old", -1, "n1/bbbb4444");        /* the newest that has ended */
        assert_finds("", BH_STORE_ERROR_NOT_FOUND, NULL);
        assert_finds("%", BH_STORE_ERROR_NOT_FOUND, NULL);
        assert_finds("aaaa\xff", BH_STORE_ERROR_NOT_FOUND, NULL);
        g_autoptr(BhStoreContainer) same = bh_store_container(s, "n2", "same", NULL);
        g_assert_cmpstr(same->name, ==, "clone");
}

/* ---- workloads and applications */

static void workloads_group_what_belongs_together(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *cursor = NULL;

        must_ingest(s, 1, 1800); /* web-0 … web-19 of shop */
        BhStoreContainer c[] = {
                { .id = "1", .image = "a:1", .image_digest = "a@1", .state = "running", .application = "shop", .workload = "web-1" },
                { .id = "2", .image = "a:2", .image_digest = "a@2", .state = "exited", .application = "shop", .workload = "web-1" },
                { .id = "3", .image = "z", .state = "exited", .application = "", .workload = "alone" },
                { .id = "4", .image = "z", .state = "running", .application = "b\xc3\xa4r", .workload = "\xe2\x82\xac" },
        };
        must_put_containers(s, "node-2", TRUE, c, G_N_ELEMENTS(c));
        do {
                g_autoptr(BhStorePage) page = bh_store_workloads(s, NULL, cursor, 4, &error);

                g_assert_no_error(error);
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreWorkload *w = page->rows->pdata[i];

                        g_assert_true(g_hash_table_add(seen, g_strdup_printf("%s/%s", w->application, w->workload)));
                }
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        g_assert_cmpuint(g_hash_table_size(seen), ==, 22);
        g_assert_true(g_hash_table_contains(seen, "b\xc3\xa4r/\xe2\x82\xac"));

        g_autoptr(BhStoreWorkload) w = bh_store_workload(s, "shop", "web-1", &error);
        g_assert_no_error(error);
        g_assert_cmpuint(w->containers, ==, 32);
        g_assert_cmpuint(w->running, ==, 31);
        g_assert_cmpuint(w->nodes, ==, 2);
        g_assert_cmpuint(w->findings, ==, 30);
        g_assert_cmpuint(w->executables, ==, 30);
        g_assert_cmpuint(w->images->len, ==, 3);
        g_assert_cmpstr(((BhStoreImage *) w->images->pdata[0])->image, ==, "shop/web:1");
        g_assert_cmpuint(((BhStoreImage *) w->images->pdata[0])->running, ==, 30);

        g_autoptr(BhStorePage) on2 = bh_store_workloads(s, &(BhStoreWorkloadFilter) { .node = "node-2" }, NULL, 0, NULL);
        g_assert_cmpuint(on2->rows->len, ==, 3);
        g_autoptr(BhStorePage) living = bh_store_workloads(s, &(BhStoreWorkloadFilter) { .node = "node-2", .living = TRUE, .application = "" }, NULL, 0, NULL);
        g_assert_cmpuint(living->rows->len, ==, 0);
        g_autoptr(BhStorePage) found = bh_store_workloads(s, &(BhStoreWorkloadFilter) { .search = "WEB-1" }, NULL, 0, NULL);
        g_assert_cmpuint(found->rows->len, ==, 11);

        g_autoptr(BhStorePage) first = bh_store_applications(s, NULL, 2, NULL);
        g_assert_cmpuint(first->rows->len, ==, 2);
        g_assert_cmpstr(((BhStoreApplication *) first->rows->pdata[0])->application, ==, "");
        g_autoptr(BhStorePage) second = bh_store_applications(s, first->next, 2, NULL);
        g_assert_cmpuint(second->rows->len, ==, 1);
        g_assert_null(second->next);
        const BhStoreApplication *shop = second->rows->pdata[0];
        g_assert_cmpstr(shop->application, ==, "shop");
        g_assert_cmpuint(shop->workloads, ==, 20);
        g_assert_cmpuint(shop->containers, ==, 602);
        g_assert_cmpuint(shop->running, ==, 601);
        g_assert_cmpuint(shop->findings, ==, 600);

        BhStoreOverview o = overview_of(s);
        g_assert_cmpuint(o.workloads, ==, 22);
        g_assert_cmpuint(o.applications, ==, 3);
        g_assert_cmpuint(o.findings_by_rank[5], ==, 600);

        static const char *const bad[] = { "", ".", "6", "6.6", "zz.", "00.", "ff.ff", "61.62.63", "6161" };
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(BhStorePage) page = bh_store_workloads(s, NULL, bad[i], 0, NULL);
                g_assert_true(strcmp(bad[i], ".") == 0 ? page != NULL : page == NULL);
        }
}

/* ---- findings and observations */

static guint64 count_findings(BhStore *s, BhStoreFindingFilter f) {
        guint64 count = 0;

        g_assert_true(bh_store_findings_count(s, &f, &count, NULL));
        return count;
}

static void findings_come_by_time(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreMessage m[60] = { 0 };
        char ids[60][8];
        g_autoptr(GBytes) event = g_bytes_new_static("\0event", 6);
        g_autofree char *cursor = NULL;
        gint64 before = G_MAXINT64;
        guint seen = 0;

        /* Spooled for a while: they arrive in no order, and three share each time. */
        for (guint i = 0; i < 60; i++) {
                g_snprintf(ids[i], sizeof(ids[i]), "f%u", i);
                m[i] = (BhStoreMessage) { .kind = BH_STORE_MESSAGE_FINDING,
                                          .finding = { .id = ids[i], .time_ns = (i * 7 % 60) / 3 - 5, .rule = i % 2 ? "A" : "B", .output = "Shell in web",
                                                       .priority = i % 3 ? "Critical" : "debug", .container_id = "c", .fields = "{\"a\":1}", .event = event } };
        }
        must_put(s, NODE, m, 60);
        do {
                g_autoptr(BhStorePage) page = bh_store_findings(s, NULL, cursor, 7, NULL);

                for (guint i = 0; i < page->rows->len; i++, seen++) {
                        const BhStoreFinding *f = page->rows->pdata[i];

                        g_assert_cmpint(f->time_ns, <=, before);
                        g_assert_null(f->event);
                        before = f->time_ns;
                }
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        g_assert_cmpuint(seen, ==, 60);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { 0 }), ==, 60);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { .rule = "A" }), ==, 30);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { .max_rank = bh_store_priority_rank("critical") + 1 }), ==, 40);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { .search = "shell IN" }), ==, 60);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { .since_ns = 1, .until_ns = 3 }), ==, 6);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { .container_id = "c", .node = NODE }), ==, 60);
        g_assert_cmpuint(count_findings(s, (BhStoreFindingFilter) { .application = "none" }), ==, 0);
        g_autoptr(BhStoreFinding) f = bh_store_finding(s, "f7", NULL);
        g_assert_cmpmem(g_bytes_get_data(f->event, NULL), g_bytes_get_size(f->event), "\0event", 6);
        g_assert_cmpstr(f->fields, ==, "{\"a\":1}");
        g_assert_null(bh_store_finding(s, "none", NULL));
        g_assert_cmpuint(bh_store_priority_rank("Emergency"), ==, 0);
        g_assert_cmpuint(bh_store_priority_rank("nonsense"), ==, 8);
}

static void observations_add_up(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhStoreObservation o = { .application = "shop", .workload = "web", .kind = "exec", .subject = "/bin/sh", .parent = "/usr/sbin/nginx", .image_digest = "d",
                                 .container_id = "c1", .count = 3, .first_ns = 100, .last_ns = 200 };
        BhStoreObservation later = o, other = o;

        later.container_id = "c2";
        later.count = 4;
        later.first_ns = 50;
        later.last_ns = 150;
        other.subject = "/bin/s";
        other.parent = "h/usr/sbin/nginx"; /* texts joined would be the same */
        must_put(s, NODE, (BhStoreMessage[]) { { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = o }, { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = other } }, 2);
        must_put(s, "node-2", (BhStoreMessage[]) { { .kind = BH_STORE_MESSAGE_OBSERVATION, .observation = later } }, 1);

        g_autoptr(BhStorePage) page = bh_store_observations(s, &(BhStoreObservationFilter) { .application = "shop", .workload = "web", .subject = "/bin/sh" }, NULL, 0, NULL);
        g_assert_cmpuint(page->rows->len, ==, 1);
        const BhStoreObservation *got = page->rows->pdata[0];
        g_assert_cmpuint(got->count, ==, 7);
        g_assert_cmpint(got->first_ns, ==, 50);
        g_assert_cmpint(got->last_ns, ==, 200);
        g_assert_cmpstr(got->node, ==, "node-2");
        g_assert_cmpstr(got->container_id, ==, "c2");
        g_autoptr(BhStorePage) one = bh_store_observations(s, NULL, NULL, 1, NULL);
        g_autoptr(BhStorePage) two = bh_store_observations(s, NULL, one->next, 1, NULL);
        g_assert_cmpuint(two->rows->len, ==, 1);
        g_assert_null(two->next);
        g_autoptr(BhStorePage) found = bh_store_observations(s, &(BhStoreObservationFilter) { .search = "NGINX", .since_ns = 190, .kind = "exec" }, NULL, 0, NULL);
        g_assert_cmpuint(found->rows->len, ==, 2);
}

/* ---- bounds */

static void a_page_ends_by_its_bytes_too(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autofree char *large = g_strnfill(BH_STORE_JSON_MAX - 16, 'x'), *labels = g_strdup_printf("{\"a\":\"%s\"}", large), *cursor = NULL;
        guint rows = 0, pages = 0;

        for (guint i = 0; i < 50; i++) {
                g_autofree char *id = g_strdup_printf("%08u", i), *workload = g_strdup_printf("w%u", i);
                BhStoreContainer c = { .id = id, .state = "running", .workload = workload, .labels = labels };

                must_put_containers(s, "node-1", FALSE, &c, 1);
        }
        do {
                g_autoptr(BhStorePage) page = bh_store_containers(s, NULL, cursor, 0, NULL);
                gsize bytes = 0;

                g_assert_nonnull(page);
                g_assert_cmpuint(page->rows->len, >, 0);
                for (guint i = 0; i < page->rows->len; i++)
                        bytes += strlen(((BhStoreContainer *) page->rows->pdata[i])->labels);
                g_assert_cmpuint(bytes, <, BH_STORE_PAGE_BYTES + BH_STORE_JSON_MAX);
                rows += page->rows->len;
                pages++;
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        g_assert_cmpuint(rows, ==, 50);
        g_assert_cmpuint(pages, ==, 4);

        /* cut by who shows it */
        g_autoptr(BhStorePage) page = bh_store_workloads(s, NULL, NULL, 0, NULL);
        g_assert_cmpuint(page->rows->len, ==, 50);
        g_assert_null(page->next);
        bh_store_page_cut(page, 20);
        g_autoptr(BhStorePage) rest = bh_store_workloads(s, NULL, page->next, 0, NULL);
        g_assert_cmpuint(page->rows->len, ==, 20);
        g_assert_cmpuint(rest->rows->len, ==, 30);
        g_assert_null(rest->next);
}

static const char endless[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0";

static gpointer read_without_end(gpointer store) {
        g_autoptr(GError) error = NULL;
        gint64 n, begin = g_get_monotonic_time();

        bh_store_limit_reads(G_USEC_PER_SEC / 5);
        BhDb *db = bh_store_read(store, &error);
        if (db) {
                g_assert_false(bh_db_get_int(db, &n, NULL, &error, endless, ""));
                bh_store_read_done(store, db);
        }
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_TIMEOUT);
        g_assert_cmpint(g_get_monotonic_time() - begin, >=, G_USEC_PER_SEC / 5);
        return NULL;
}

static void a_question_without_end_is_given_up(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        GThread *threads[BH_STORE_READERS + 4];
        guint64 last;

        must_ingest(s, 1, 30);
        /* also of those that wait for their turn */
        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new("read", read_without_end, s);
        for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);
        g_assert_true(bh_store_changes_last(s, &last, NULL));
        g_assert_cmpuint(last, >, 0);
        /* a connection that is lent again has no deadline of its last user's, and this thread never had one */
        g_usleep(G_USEC_PER_SEC / 4);
        g_assert_cmpuint(count_containers(s, (BhStoreContainerFilter) { 0 }), ==, 10);
        must_ingest(s, 31, 33);
}

static void endpoints_come_with_their_parameters(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;
        const BhStoreHttp sums = { .statuses = { 0, 0, 3, 0, 1, 0 }, .request_bytes = 10, .response_bytes = G_MAXUINT64, .timed = 4, .latency_us = 400, .latency_max_us = 200, .beyond = 1 };
        BhStoreObservation http = { .workload = "web", .application = "shop", .kind = "http", .subject = "GET /items/{n}", .parent = "/srv", .detail = "server", .count = 4, .http = &sums }, other = http;
        BhStoreMessage m[9] = { 0 };
        static const char *const subjects[] = { "GET /items/{n} id", "GET /items/{n} id", "GET /items/{n} q", "GET /items id", "GET /items/{n} id", "GET /items/{n}" };
        static const char *const details[] = { "server query number, up to 4 bytes", "server query code, up to 64 bytes", "server query word, up to 16 bytes", "server query number, up to 4 bytes",
                                               "client query number, up to 4 bytes", "server query x" };

        m[0].observation = m[1].observation = http;
        other.workload = "api";
        m[2].observation = other;
        for (guint i = 0; i < G_N_ELEMENTS(subjects); i++)
                m[3 + i].observation = (BhStoreObservation){ .workload = "web", .application = "shop", .kind = "parameter", .subject = (char *) subjects[i], .parent = "/srv", .detail = (char *) details[i], .count = 2 };
        for (guint i = 0; i < G_N_ELEMENTS(m); i++)
                m[i].kind = BH_STORE_MESSAGE_OBSERVATION;
        must_put(s, "n1", m, G_N_ELEMENTS(m));
        g_autoptr(BhStorePage) page = bh_store_endpoints(s, &(BhStoreObservationFilter){ .workload = "web" }, "server", NULL, 0, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(page->rows->len, ==, 1);
        const BhStoreEndpoint *e = page->rows->pdata[0];
        g_assert_cmpuint(e->o->count, ==, 8);
        g_assert_cmpuint(e->http.statuses[2], ==, 6);
        g_assert_cmpuint(e->http.statuses[4], ==, 2);
        g_assert_cmpuint(e->http.response_bytes, ==, G_GUINT64_CONSTANT(1) << 61); /* where sums end */
        g_assert_cmpuint(e->http.latency_us, ==, 800);
        g_assert_cmpuint(e->http.latency_max_us, ==, 200);
        g_assert_cmpuint(e->parameters->len, ==, 3);
        g_assert_cmpstr(((BhStoreParameter *) e->parameters->pdata[0])->name, ==, "id");
        g_assert_cmpstr(((BhStoreParameter *) e->parameters->pdata[0])->what, ==, "query code, up to 64 bytes");
        g_assert_cmpstr(((BhStoreParameter *) e->parameters->pdata[2])->name, ==, "q");
        g_autoptr(BhStorePage) none = bh_store_endpoints(s, &(BhStoreObservationFilter){ 0 }, "client", NULL, 0, &error), both = bh_store_endpoints(s, &(BhStoreObservationFilter){ 0 }, NULL, NULL, 1, &error);
        g_assert_cmpuint(none->rows->len, ==, 0);
        g_assert_nonnull(both->next);
        /* what is expired takes its sums along */
        BhStoreExpired gone;
        gint64 left = -1;
        g_assert_true(bh_store_expire(s, 1, 0, &gone, &error));
        BhDb *db = bh_store_read(s, &error);
        g_assert_true(bh_db_get_int(db, &left, NULL, &error, "SELECT count(*) FROM http_sums", ""));
        bh_store_read_done(s, db);
        g_assert_cmpuint(gone.observations, >, 0);
        g_assert_cmpint(left, ==, 0);
}

/* Nodes choose these texts: the page is bounded with its parameters, and goes on where it was cut. */
static void endpoints_with_much_to_tell_are_bounded(void) {
        enum { ENDPOINTS = 10, PARAMETERS = BH_STORE_PARAMETERS };
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *fill = g_strnfill(3900, 'x'), *cursor = NULL;
        guint rows = 0, pages = 0;

        for (guint i = 0; i < ENDPOINTS; i++) {
                g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
                BhStoreMessage m[1 + PARAMETERS] = { 0 };
                char *path = g_strdup_printf("GET /%u", i);

                g_ptr_array_add(texts, path);
                m[0].kind = BH_STORE_MESSAGE_OBSERVATION;
                m[0].observation = (BhStoreObservation){ .workload = (char *) "web", .application = (char *) "shop", .kind = (char *) "http", .subject = path, .parent = (char *) "/srv", .detail = (char *) "server", .count = 1 };
                for (guint k = 0; k < PARAMETERS; k++) {
                        char *subject = g_strdup_printf("%s %03u%s", path, k, fill), *detail = g_strdup_printf("server %s", fill);

                        g_ptr_array_add(texts, subject);
                        g_ptr_array_add(texts, detail);
                        m[1 + k].kind = BH_STORE_MESSAGE_OBSERVATION;
                        m[1 + k].observation = m[0].observation;
                        m[1 + k].observation.kind = (char *) "parameter";
                        m[1 + k].observation.subject = subject;
                        m[1 + k].observation.detail = detail;
                }
                must_put(s, "n1", m, G_N_ELEMENTS(m));
        }
        do {
                g_autoptr(BhStorePage) page = bh_store_endpoints(s, &(BhStoreObservationFilter){ 0 }, "server", cursor, 0, &error);
                gsize bytes = 0, one = 0;

                g_assert_no_error(error);
                g_assert_cmpuint(page->rows->len, >, 1);
                for (guint i = 0; i < page->rows->len; i++) {
                        const BhStoreEndpoint *e = page->rows->pdata[i];

                        one = 0;
                        g_assert_cmpuint(e->parameters->len, ==, PARAMETERS);
                        for (guint k = 0; k < e->parameters->len; k++) {
                                const BhStoreParameter *p = e->parameters->pdata[k];

                                one += strlen(p->name) + strlen(p->what);
                        }
                        bytes += one;
                }
                g_assert_cmpuint(bytes - one, <, BH_STORE_PAGE_BYTES);
                rows += page->rows->len;
                pages++;
                g_free(cursor);
                cursor = g_steal_pointer(&page->next);
        } while (cursor);
        g_assert_cmpuint(rows, ==, ENDPOINTS);
        g_assert_cmpuint(pages, ==, 2);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store/queries/containers_are_paged_and_filtered", containers_are_paged_and_filtered);
        g_test_add_func("/store/queries/a_person_names_a_container", a_person_names_a_container);
        g_test_add_func("/store/queries/workloads_group_what_belongs_together", workloads_group_what_belongs_together);
        g_test_add_func("/store/queries/findings_come_by_time", findings_come_by_time);
        g_test_add_func("/store/queries/observations_add_up", observations_add_up);
        g_test_add_func("/store/queries/endpoints_come_with_their_parameters", endpoints_come_with_their_parameters);
        g_test_add_func("/store/queries/endpoints_with_much_to_tell_are_bounded", endpoints_with_much_to_tell_are_bounded);
        g_test_add_func("/store/queries/a_page_ends_by_its_bytes_too", a_page_ends_by_its_bytes_too);
        g_test_add_func("/store/queries/a_question_without_end_is_given_up", a_question_without_end_is_given_up);
        return g_test_run();
}
