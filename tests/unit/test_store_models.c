/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour models in the store: kept with the findings that came of them, and what was observed since. */
#include "store/store_models.h"

#include "store_rows.h"

static BhStoreFinding finding_of(const char *id) {
        return (BhStoreFinding){ .id = (char *) id, .time_ns = T0, .rule = (char *) "Model: new programs", .priority = (char *) "critical", .source = (char *) "model", .output = (char *) "x", .node = (char *) NODE,
                                 .container_id = (char *) "c1", .container_name = (char *) "web-1", .workload = (char *) "web", .application = (char *) "shop", .tags = (char *) "[\"model\"]",
                                 .fields = (char *) "{}", .kind = (char *) "model", .count = 1, .fold = "item" };
}

static gboolean note(const char *application, const char *workload, GBytes *model, gpointer data) {
        g_string_append_printf(data, "%s/%s %.*s;", application, workload, (int) g_bytes_get_size(model), (const char *) g_bytes_get_data(model, NULL));
        return TRUE;
}

static void expect_models(BhStore *s, const char *expected) {
        g_autoptr(GString) got = g_string_new(NULL);
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_store_models_load(s, note, got, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(got->str, ==, expected);
}

static gboolean save(BhStore *s, const char *workload, const char *text, const BhStoreFinding *f, gint64 position, GError **error) {
        g_autoptr(GBytes) bytes = text ? g_bytes_new(text, strlen(text)) : NULL;
        const BhStoreModel row = { "shop", workload, bytes };

        return bh_store_models_save(s, &row, 1, f, f != NULL, position, NULL, error);
}

static void models_and_their_findings_are_kept_together(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;
        BhStoreFinding f = finding_of("model-1");
        gint64 position = -1;

        g_assert_true(bh_store_models_position(s, &position, &error));
        g_assert_cmpint(position, ==, 0);
        g_assert_true(save(s, "web", "one", &f, 0, &error));
        g_assert_true(save(s, "db", "two", NULL, 42, &error));
        g_assert_true(save(s, "web", "three", &f, 0, &error)); /* the finding is known already: counts once */
        expect_models(s, "shop/db two;shop/web three;");
        g_assert_true(bh_store_models_position(s, &position, &error));
        g_assert_cmpint(position, ==, 42);
        g_autoptr(BhStorePage) page = bh_store_findings(s, NULL, NULL, 10, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(page->rows->len, ==, 1);
        g_assert_cmpstr(((BhStoreFinding *) page->rows->pdata[0])->kind, ==, "model");
        g_assert_cmpuint(((BhStoreFinding *) page->rows->pdata[0])->count, ==, 1);
        bh_store_close(s);
        s = must_open(dir, NULL);
        expect_models(s, "shop/db two;shop/web three;");
        g_assert_true(save(s, "db", NULL, NULL, 0, &error));
        expect_models(s, "shop/web three;");
        bh_store_close(s);
}

static void what_is_too_large_is_refused_whole(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autofree char *large = g_strnfill(BH_STORE_MODEL_MAX + 1, 'x');
        BhStoreFinding f = finding_of("model-1");
        g_autoptr(GError) error = NULL;

        g_assert_false(save(s, "web", large, &f, 7, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID);
        expect_models(s, "");
        g_clear_error(&error);
        g_autoptr(BhStorePage) page = bh_store_findings(s, NULL, NULL, 10, &error);
        g_assert_cmpuint(page->rows->len, ==, 0);
        bh_store_close(s);
}

static void collect(const BhStoreObservation *o, gpointer data) {
        g_string_append_printf(data, "%s %s %s %u %d %s %s %" G_GUINT64_FORMAT ";", o->kind, o->subject, o->detail, o->uid, o->suspicious, o->why, o->example, o->count);
}

static void observations_differ_by_all_that_models_tell_apart(void) {
        g_autoptr(TempDir) dir = temp_dir();
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GString) got = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        BhStoreObservation like = { .container_id = (char *) "c1", .workload = (char *) "web", .application = (char *) "shop", .image_digest = (char *) "d", .kind = (char *) "exec", .subject = (char *) "/bin/a",
                                    .parent = (char *) "/bin/sh", .count = 2, .first_ns = T0, .last_ns = T0, .detail = (char *) "-x", .example = (char *) "a -x" };
        BhStoreMessage m[5];

        for (guint i = 0; i < G_N_ELEMENTS(m); i++)
                m[i] = (BhStoreMessage){ .kind = BH_STORE_MESSAGE_OBSERVATION, .seq = i + 1, .observation = like };
        m[1].observation.uid = 33;
        m[2].observation.detail = (char *) "-y";
        m[3].observation.suspicious = TRUE;
        m[3].observation.why = (char *) "a shell";
        must_put(s, NODE, m, G_N_ELEMENTS(m));
        g_assert_true(bh_store_observations_since(s, 0, collect, got, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(got->str, ==, "exec /bin/a -x 0 0  a -x 4;exec /bin/a -x 33 0  a -x 2;exec /bin/a -y 0 0  a -x 2;exec /bin/a -x 0 1 a shell a -x 2;");
        g_string_truncate(got, 0);
        g_assert_true(bh_store_observations_since(s, G_MAXINT64, collect, got, &error));
        g_assert_cmpstr(got->str, ==, "");
        bh_store_close(s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/store_models/models_and_their_findings_are_kept_together", models_and_their_findings_are_kept_together);
        g_test_add_func("/store_models/what_is_too_large_is_refused_whole", what_is_too_large_is_refused_whole);
        g_test_add_func("/store_models/observations_differ_by_all_that_models_tell_apart", observations_differ_by_all_that_models_tell_apart);
        return g_test_run();
}
