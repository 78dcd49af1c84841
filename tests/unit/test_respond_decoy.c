/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are led to a decoy, as the node orders and tells them; the kernel is stood in for. */
#include "sensor/respond.h"

#include <arpa/inet.h>
#include <fcntl.h>

#include "container/cgroup.h"
#include "respond_node.h"

static guint leds;
static BhLedConnection last_led;

static void on_led(const char *response, const char *container, const BhLedConnection *led, gpointer data) {
        g_assert_cmpstr(container, ==, ID);
        last_led = *led;
        g_atomic_int_inc(&leds);
}

static void a_decoy_is_held_told_and_taken_up(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "10.0.0.9:6379", "203.0.113.0/24" }, *const acts[] = { "exec:/bin/nc" };
        const BhOrder o = { .id = "00000000000000000000000000000051", .action = "decoy", .container = ID, .subject = "10.0.0.5:7000", .deny = deny, .n_deny = 2 };
        const BhOrder second = { .id = "00000000000000000000000000000052", .action = "decoy", .container = ID, .subject = "10.0.0.6:7000", .deny = deny, .n_deny = 1 };
        const BhOrder nowhere = { .id = "00000000000000000000000000000053", .action = "decoy", .container = ID, .deny = deny, .n_deny = 1 };
        const BhOrder odd = { .id = "00000000000000000000000000000054", .action = "decoy", .container = ID, .subject = "10.0.0.5:7000", .deny = acts, .n_deny = 1 };
        const BhOrder isolate = { .id = "00000000000000000000000000000055", .action = "isolate", .container = ID };
        const BhOrder over = { .id = o.id, .release = TRUE };
        static const guint8 to[16] = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 5 };
        json_t *detail;

        n->config.led = on_led;
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *none = bh_respond_order(r, &nowhere), *strange = bh_respond_order(r, &odd), *told = bh_respond_order(r, &o), *again = bh_respond_order(r, &second);
        g_assert_cmpstr(text_at(none, "state"), ==, "failed");
        g_assert_cmpstr(text_at(strange, "state"), ==, "failed");
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        g_assert_cmpstr(text_at(again, "state"), ==, "failed");
        g_assert_nonnull(strstr(text_at(again, "result"), o.id));
        g_assert_cmpuint(kernel.lead->len, ==, 2);
        g_assert_cmpuint(kernel.deny->len, ==, 2); /* what is not led is refused */
        g_assert_null(kernel.allow);
        g_assert_cmpmem(kernel.to, 16, to, 16);
        g_assert_cmpuint(kernel.to_port, ==, 7000);

        /* beside another that holds it, and by the successor */
        json_auto_t *isolated = bh_respond_order(r, &isolate);
        g_assert_cmpstr(text_at(isolated, "state"), ==, "active");
        g_assert_nonnull(kernel.allow);
        g_assert_cmpuint(kernel.lead->len, ==, 2);
        g_clear_pointer(&r, bh_respond_free);
        keep_lists(&kernel, NULL, NULL, NULL);
        r = begin(n);
        g_assert_cmpuint(kernel.lead->len, ==, 2);
        g_assert_cmpuint(kernel.to_port, ==, 7000);

        /* a connection is told once, with its ends */
        g_autofree char *dir = g_build_filename(n->v2, CGROUP, NULL);
        struct bh_enforce_led led = { .cgroup = bh_cgroup_id(AT_FDCWD, dir), .asked_port = 6379, .to_port = 7000, .from_port = 40000, .tgid = 77, .comm = "nc" };
        memcpy(led.to, to, 16);
        memcpy(led.asked, to, 16);
        led.asked[15] = 9;
        inet_pton(AF_INET6, "fd00::3", led.from);
        g_mutex_lock(&kernel.lock);
        kernel.led = led;
        g_mutex_unlock(&kernel.lock);
        for (guint i = 0; !g_atomic_int_get(&leds); i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
        g_assert_cmpstr(last_led.asked, ==, "10.0.0.9:6379");
        g_assert_cmpstr(last_led.to, ==, "10.0.0.5:7000");
        g_assert_cmpstr(last_led.from, ==, "[fd00::3]:40000");
        g_assert_cmpuint(last_led.pid, ==, 77);
        json_auto_t *released = bh_respond_order(r, &over);
        g_assert_cmpstr(text_at(released, "state"), ==, "released");
        detail = json_object_get(released, "detail");
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(detail, "led"), "connections")), ==, 3);
        g_assert_cmpint(json_integer_value(json_object_get(json_object_get(detail, "led"), "untold")), ==, 1);
        g_assert_cmpstr(text_at(json_array_get(json_object_get(detail, "last_led"), 0), "asked"), ==, "10.0.0.9:6379");
        g_assert_null(kernel.lead);
        g_assert_nonnull(kernel.allow);
}

/* Each that is told waits for the drain thread, with the lock of all orders held: how often somebody asks does not matter. */
static void who_asks_often_does_not_make_more_told(Node *n, gconstpointer unused) {
        static const char *const deny[] = { "10.0.0.9:6379" };
        const BhOrder o = { .id = "00000000000000000000000000000061", .action = "decoy", .container = ID, .subject = "10.0.0.5:7000", .deny = deny, .n_deny = 1 };
        g_autofree char *dir = g_build_filename(n->v2, CGROUP, NULL);
        const struct bh_enforce_led led = { .asked_port = 6379, .to_port = 7000, .from_port = 40000, .tgid = 77, .comm = "nc" };

        n->config.led = on_led;
        g_autoptr(BhRespond) r = begin(n);
        json_auto_t *told = bh_respond_order(r, &o);
        g_assert_cmpstr(text_at(told, "state"), ==, "active");
        leds = 0;
        gint64 began = g_get_monotonic_time();
        for (guint i = 0; i < 3000; i++) {
                g_mutex_lock(&kernel.lock);
                kernel.led = led;
                kernel.led.cgroup = bh_cgroup_id(AT_FDCWD, dir);
                g_mutex_unlock(&kernel.lock);
                json_auto_t *list = bh_respond_list(r);
                g_assert_cmpuint(json_array_size(list), ==, 1);
        }
        gint64 seconds = (g_get_monotonic_time() - began) / G_USEC_PER_SEC;
        g_assert_cmpint(g_atomic_int_get(&leds), >, 0);
        g_assert_cmpint(g_atomic_int_get(&leds), <=, 160 * (seconds + 2));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add("/respond_decoy/a_decoy_is_held_told_and_taken_up", Node, NULL, set_up, a_decoy_is_held_told_and_taken_up, tear_down);
        g_test_add("/respond_decoy/who_asks_often_does_not_make_more_told", Node, NULL, set_up, who_asks_often_does_not_make_more_told, tear_down);
        return g_test_run();
}
