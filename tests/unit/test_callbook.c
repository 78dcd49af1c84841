/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/callbook.h"

#include <string.h>

#define READ 0
#define WRITE 1
#define OPEN 2
#define CLOSE 3
#define PTRACE 101

static const BhCallBookOf web = { "shop", "web", "sha256:1", "c1", "/usr/sbin/nginx" };

static void keep(const BhCallFact *f, gpointer data) {
        g_autofree char *text = g_strdup_printf("%s|%s|%s|%" G_GUINT64_FORMAT, f->kind, f->object, f->detail, f->count);

        g_ptr_array_add(data, g_steal_pointer(&text));
}

/* "0:3 1:2" as counts, `order` as calls of one thread ended by -1, or NULL. */
static GPtrArray *window(BhCallBook *b, const BhCallBookOf *of, const char *counts, const int *order, gboolean *more) {
        g_auto(GStrv) parts = g_strsplit(counts, " ", -1);
        GPtrArray *out = g_ptr_array_new_with_free_func(g_free);
        BhCallCount calls[64];
        guint16 in_order[64];
        guint n = 0, n_order = 0;

        for (; parts[n]; n++) {
                char *end;

                calls[n].call = (guint16) g_ascii_strtoull(parts[n], &end, 10);
                calls[n].count = (guint32) g_ascii_strtoull(end + 1, NULL, 10);
        }
        for (; order && order[n_order] >= 0; n_order++)
                in_order[n_order] = (guint16) order[n_order];
        const BhCallerWindow w = { .calls = calls, .n = n, .order = in_order, .n_order = n_order, .whole = TRUE };
        gboolean is = bh_callbook_window(b, of, &w, keep, out);
        if (more)
                *more = is;
        return out;
}

static void usual(BhCallBook *b, guint times) {
        static const int order[] = { OPEN, READ, WRITE, CLOSE, OPEN, READ, WRITE, CLOSE, -1 };

        while (times--)
                g_ptr_array_unref(window(b, &web, "0:4 1:4 2:2 3:2", order, NULL));
}

static gboolean has(GPtrArray *facts, const char *text) {
        for (guint i = 0; i < facts->len; i++)
                if (strstr(facts->pdata[i], text))
                        return TRUE;
        return FALSE;
}

static void each_call_is_a_fact_by_its_name(void) {
        g_autoptr(BhCallBook) b = bh_callbook_new();
        g_autoptr(GPtrArray) f = window(b, &web, "0:3 101:1 523:2 511:1 470:1", NULL, NULL);

        g_assert_cmpuint(f->len, ==, 5);
        g_assert_true(has(f, "syscall|read||3"));
        g_assert_true(has(f, "syscall|ptrace||1"));
        g_assert_true(has(f, "syscall|execve|32-bit|2")); /* 11 of the 32-bit interface */
        g_assert_true(has(f, "syscall|unknown||1"));
        /* every number has some name */
        for (guint i = 0; i < G_MAXUINT16; i++)
                g_assert_true(*bh_callbook_name(b, (guint16) i));
}

static void it_is_learned_until_the_later_half_brought_nothing_new(void) {
        g_autoptr(BhCallBook) b = bh_callbook_new();
        gboolean more;

        usual(b, BH_CALLBOOK_WARM - 1);
        g_ptr_array_unref(window(b, &web, "0:1", NULL, &more));
        g_assert_false(more);
        g_ptr_array_unref(window(b, &web, "0:1 7:1", NULL, &more));
        g_assert_true(more);
        usual(b, BH_CALLBOOK_WARM - 1);
        g_ptr_array_unref(window(b, &web, "0:1", NULL, &more));
        g_assert_true(more);
        g_ptr_array_unref(window(b, &web, "0:1", NULL, &more));
        g_ptr_array_unref(window(b, &web, "0:1", NULL, &more));
        g_assert_false(more);
}

static void pairs_counts_and_orders_are_told_when_they_are_new_and_not_before(void) {
        g_autoptr(BhCallBook) b = bh_callbook_new();
        static const int strange[] = { CLOSE, CLOSE, CLOSE, CLOSE, -1 };

        for (guint i = 0; i < BH_CALLBOOK_WARM; i++) {
                g_autoptr(GPtrArray) f = window(b, &web, i % 2 ? "0:4 2:1" : "1:4 2:1", (const int[]){ OPEN, READ, WRITE, READ, -1 }, NULL);

                g_assert_false(has(f, "sequence"));
        }
        /* each of them often, never both within a window */
        g_autoptr(GPtrArray) pair = window(b, &web, "0:4 1:4", NULL, NULL);
        g_assert_true(has(pair, "sequence|read + write|within 100 ms|1"));
        g_autoptr(GPtrArray) again = window(b, &web, "0:4 1:4", NULL, NULL);
        g_assert_false(has(again, "sequence"));
        /* more often than ever, in steps */
        g_autoptr(GPtrArray) excess = window(b, &web, "0:4000", NULL, NULL);
        g_assert_true(has(excess, "sequence|read|1024 times or more within 100 ms|1"));
        g_autoptr(GPtrArray) known = window(b, &web, "0:4 2:1", (const int[]){ OPEN, READ, WRITE, READ, -1 }, NULL);
        g_assert_false(has(known, "sequence"));
        /* orders when new ones are rare */
        for (guint i = 0; i < 2000; i++)
                g_ptr_array_unref(window(b, &web, "0:4 2:1", (const int[]){ OPEN, READ, WRITE, READ, -1 }, NULL));
        g_autoptr(GPtrArray) order = window(b, &web, "0:4", strange, NULL);
        g_assert_true(has(order, "sequence|close, close, close, close|in this order|1"));
}

static void replicas_learn_together_and_versions_apart(void) {
        g_autoptr(BhCallBook) b = bh_callbook_new();
        BhCallBookOf of = web;
        BhCallBookStats s;

        usual(b, 3);
        of.container_id = "c2";
        g_ptr_array_unref(window(b, &of, "0:1", NULL, NULL));
        bh_callbook_stats(b, &s);
        g_assert_cmpuint(s.executables, ==, 1);
        of.image_digest = "sha256:2";
        g_ptr_array_unref(window(b, &of, "0:1", NULL, NULL));
        of.workload = "";
        g_ptr_array_unref(window(b, &of, "0:1", NULL, NULL));
        of.container_id = "c3";
        g_ptr_array_unref(window(b, &of, "0:1", NULL, NULL));
        bh_callbook_stats(b, &s);
        g_assert_cmpuint(s.executables, ==, 4);
}

static void what_is_kept_is_bounded_and_what_is_not_is_counted(void) {
        g_autoptr(BhCallBook) b = bh_callbook_new();
        BhCallBookStats s;

        for (guint i = 0; i < BH_CALLBOOK_MAX + 100; i++) {
                char exe[32];
                BhCallBookOf of = web;

                g_snprintf(exe, sizeof(exe), "/bin/%u", i);
                of.exe = exe;
                g_ptr_array_unref(window(b, &of, "0:1", NULL, NULL));
        }
        bh_callbook_stats(b, &s);
        g_assert_cmpuint(s.executables, ==, BH_CALLBOOK_MAX);
        g_assert_cmpuint(s.models, <=, BH_CALLBOOK_MODELS);
        g_assert_cmpuint(s.evicted, ==, 100);
        g_assert_cmpuint(s.refused, >=, BH_CALLBOOK_MAX - BH_CALLBOOK_MODELS);
}

static void orders_without_end_are_not_told_but_counted(void) {
        g_autoptr(BhCallBook) b = bh_callbook_new();
        BhCallBookStats s;

        for (guint i = 0; i < 4000; i++) {
                const int order[] = { (int) (i % 500), (int) (i / 7 % 500), (int) (i / 3 % 500), (int) (i * 31 % 500), -1 };
                g_autoptr(GPtrArray) f = window(b, &web, "0:1", order, NULL);

                g_assert_false(has(f, "in this order"));
        }
        bh_callbook_stats(b, &s);
        g_assert_cmpuint(s.models, ==, 1);
        g_assert_cmpuint(s.left, >, 2 * BH_CALLBOOK_ORDERS);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/callbook/each_call_is_a_fact_by_its_name", each_call_is_a_fact_by_its_name);
        g_test_add_func("/callbook/it_is_learned_until_the_later_half_brought_nothing_new", it_is_learned_until_the_later_half_brought_nothing_new);
        g_test_add_func("/callbook/pairs_counts_and_orders_are_told_when_they_are_new_and_not_before", pairs_counts_and_orders_are_told_when_they_are_new_and_not_before);
        g_test_add_func("/callbook/replicas_learn_together_and_versions_apart", replicas_learn_together_and_versions_apart);
        g_test_add_func("/callbook/what_is_kept_is_bounded_and_what_is_not_is_counted", what_is_kept_is_bounded_and_what_is_not_is_counted);
        g_test_add_func("/callbook/orders_without_end_are_not_told_but_counted", orders_without_end_are_not_told_but_counted);
        return g_test_run();
}
