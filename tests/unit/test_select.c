/* SPDX-License-Identifier: Apache-2.0 */
#include "event/select.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const guint64 every_kind[BH_TYPE_WORDS];

static struct bh_event event_of(guint32 type) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET(&e, source, BH_SOURCE_KERNEL);
        return e;
}

static void kinds(void) {
        guint64 types[BH_TYPE_WORDS] = { 0 };
        struct bh_event exec = event_of(BH_EV_EXEC), sensor = event_of(BH_EV_SENSOR), unknown = event_of(BH_EV_MAX + 1000);

        g_assert_true(bh_event_selected(&exec, every_kind, NULL));
        g_assert_true(bh_event_selected(&unknown, every_kind, NULL));
        types[BH_EV_SENSOR / 64] |= 1ull << BH_EV_SENSOR % 64;
        g_assert_true(bh_event_selected(&sensor, types, NULL));
        g_assert_false(bh_event_selected(&exec, types, NULL));
        g_assert_false(bh_event_selected(&unknown, types, NULL));
}

static void container_by_whole_name_or_beginning_of_id(void) {
        struct bh_event e = event_of(BH_EV_EXEC);

        BH_SET_STR(&e, container_name, "web");
        BH_SET_STR(&e, container_id, ID);
        g_assert_true(bh_event_selected(&e, every_kind, "web"));
        g_assert_true(bh_event_selected(&e, every_kind, ID));
        g_assert_true(bh_event_selected(&e, every_kind, "0123456"));
        g_assert_false(bh_event_selected(&e, every_kind, "we"));
        g_assert_false(bh_event_selected(&e, every_kind, "web2"));
        g_assert_false(bh_event_selected(&e, every_kind, "123"));
        g_assert_false(bh_event_selected(&e, every_kind, ID "0"));
        g_assert_false(bh_event_selected(&e, every_kind, "host"));
}

static void what_left_a_container_is_still_its_and_the_hosts(void) {
        struct bh_event e = event_of(BH_EV_EXEC);

        g_assert_true(bh_event_selected(&e, every_kind, "host"));
        BH_SET_STR(&e, origin_name, "web");
        BH_SET_STR(&e, origin_id, ID);
        g_assert_true(bh_event_selected(&e, every_kind, "host"));
        g_assert_true(bh_event_selected(&e, every_kind, "web"));
        g_assert_true(bh_event_selected(&e, every_kind, "0123"));
        g_assert_false(bh_event_selected(&e, every_kind, "other"));
}

static void runtime_events_are_not_the_hosts(void) {
        struct bh_event e = event_of(BH_EV_CONTAINER);

        BH_SET(&e, source, BH_SOURCE_RUNTIME);
        g_assert_false(bh_event_selected(&e, every_kind, "host"));
}

static void key_is_0_for_the_host_only(void) {
        g_assert_cmpuint(bh_container_key("", 0), ==, 0);
        for (guint i = 0; i < 1000; i++) {
                g_autofree char *id = g_strdup_printf("%08x", i), *next = g_strdup_printf("%08x", i + 1);

                g_assert_cmpuint(bh_container_key(id, 8), !=, 0);
                g_assert_cmpuint(bh_container_key(id, 8), !=, bh_container_key(next, 8));
        }
        g_assert_cmpuint(bh_container_key(ID, 64), ==, bh_container_key(ID "tail", 64));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/select/kinds", kinds);
        g_test_add_func("/select/container_by_whole_name_or_beginning_of_id", container_by_whole_name_or_beginning_of_id);
        g_test_add_func("/select/what_left_a_container_is_still_its_and_the_hosts", what_left_a_container_is_still_its_and_the_hosts);
        g_test_add_func("/select/runtime_events_are_not_the_hosts", runtime_events_are_not_the_hosts);
        g_test_add_func("/select/key_is_0_for_the_host_only", key_is_0_for_the_host_only);
        return g_test_run();
}
