/* SPDX-License-Identifier: Apache-2.0 */
#include "event/kinds.h"

#include <string.h>

static BhKinds parsed(const char *text) {
        g_autoptr(GError) error = NULL;
        BhKinds k;

        g_assert_true(bh_kinds_parse(text, &k, &error));
        g_assert_no_error(error);
        return k;
}

static void expect(const char *text, const char *formatted) {
        BhKinds k = parsed(text);
        g_autofree char *s = bh_kinds_format(&k);

        g_assert_cmpstr(s, ==, formatted);
}

static void lists(void) {
        expect("open", "open");
        expect("open, exec", "exec,open");
        expect("open,open", "open");
        expect("all", "all");
        expect("default", "all");
        expect("none", "none");
        expect("none,open", "open");
        expect("open,none", "none");
        expect("open,-open", "none");
        expect("-open,open", "all");
        expect("process,container,sensor", "process,container,sensor");

        BhKinds k = parsed("-open,-connect"), all = bh_kinds_all();
        g_assert_false(bh_kinds_has(&k, BH_EV_OPEN));
        g_assert_false(bh_kinds_has(&k, BH_EV_CONNECT));
        g_assert_true(bh_kinds_has(&k, BH_EV_EXEC));
        bh_kinds_add(&k, BH_EV_OPEN);
        bh_kinds_add(&k, BH_EV_CONNECT);
        g_assert_true(bh_kinds_equal(&k, &all));
}

static void what_is_formatted_is_understood(void) {
        for (guint32 type = 0; type < BH_EV_MAX; type++) {
                BhKinds k = { 0 }, again;
                g_autofree char *s = NULL;

                bh_kinds_add(&k, type);
                s = bh_kinds_format(&k);
                again = parsed(s);
                if (g_str_equal(s, "none"))
                        continue; /* no kind has this number */
                g_assert_true(bh_kinds_equal(&k, &again));
        }
}

static void unknown_names_are_refused(void) {
        static const char *const bad[] = { "", ",", "open,", "opne", "--open", "-", "all,open connect", "OPEN" };

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;
                BhKinds k = { .of = { 7 } };

                g_assert_false(bh_kinds_parse(bad[i], &k, &error));
                g_assert_nonnull(error);
                g_assert_nonnull(strstr(error->message, "close_write"));
                g_assert_cmpuint(k.of[0], ==, 7); /* untouched */
        }
}

static void beyond_the_last_kind_is_nothing(void) {
        BhKinds k = { 0 }, none = { 0 };

        bh_kinds_add(&k, BH_EV_MAX);
        bh_kinds_add(&k, G_MAXUINT32);
        g_assert_true(bh_kinds_equal(&k, &none));
        g_assert_false(bh_kinds_has(&k, G_MAXUINT32));
        bh_kinds_remove(&k, G_MAXUINT32);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/kinds/lists", lists);
        g_test_add_func("/kinds/what_is_formatted_is_understood", what_is_formatted_is_understood);
        g_test_add_func("/kinds/unknown_names_are_refused", unknown_names_are_refused);
        g_test_add_func("/kinds/beyond_the_last_kind_is_nothing", beyond_the_last_kind_is_nothing);
        return g_test_run();
}
