/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions of those who listen to live events: what they may cost. */
#include <time.h>

#include "rules_event.h"
#include "sensor/feed.h"

static BhRuleEngine *condition(const char *text) {
        g_autoptr(GError) error = NULL;
        BhCond *tree = bh_condition_parse(text, strlen(text), &error);

        g_assert_no_error(error);
        BhRuleEngine *e = bh_rule_engine_new_filter(tree, &error);
        g_assert_no_error(error);
        return e;
}

static guint64 take_dropped(BhSubscriber *s, gsize *bytes) {
        guint64 dropped;
        gboolean ended;
        g_autoptr(GBytes) taken = bh_subscriber_take(s, 0, &dropped, &ended);

        *bytes = taken ? g_bytes_get_size(taken) : 0;
        return dropped;
}

static gint64 worked_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (gint64) t.tv_sec * G_USEC_PER_SEC + t.tv_nsec / 1000;
}

/* Each event costs this one 200,000 steps: with 2,000 of them the publisher would stand still for many seconds. */
static void a_condition_does_not_hold_up_the_publisher(void) {
        g_autoptr(BhFeed) f = bh_feed_new();
        BhFeedFilter costly = { .form = BH_FEED_WIRE, .where = condition("proc.exepath regex \"(x+x+)+[yw]\"") }, cheap = { .form = BH_FEED_WIRE, .where = condition("proc.name = bash") },
                     none = { .form = BH_FEED_WIRE };
        BhSubscriber *everything = bh_feed_subscribe(f, &none), *bad = bh_feed_subscribe(f, &costly);
        struct bh_event e = exec_event();
        guint n = 2000;
        gsize bytes;

        ADD(&e, exe, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        gint64 wall_us = -g_get_monotonic_time(), cpu_us = -worked_us();
        for (guint i = 0; i < n; i++)
                bh_feed_publish(f, &e, (const guint8 *) "wire", 4, NULL);
        wall_us += g_get_monotonic_time();
        cpu_us += worked_us();
        guint64 dropped = take_dropped(bad, &bytes);
        /* a machine that gives this thread less than the share anyway has nothing to be held up */
        if (cpu_us * BH_FEED_SHARE > wall_us)
                g_assert_cmpuint(dropped, >, n / 2);
        g_assert_cmpint(cpu_us, <, wall_us / BH_FEED_SHARE + G_USEC_PER_SEC / 2);
        g_assert_cmpuint(bytes, ==, 0);
        g_assert_cmpuint(take_dropped(everything, &bytes), ==, 0);
        g_assert_cmpuint(bytes, ==, 8 * n);
        g_assert_cmpuint(bh_feed_dropped(f), ==, dropped);
        bh_feed_unsubscribe(f, bad);
        bh_feed_unsubscribe(f, everything);

        /* what others ask for is affordable, and all is told */
        g_autoptr(BhFeed) other = bh_feed_new();
        BhSubscriber *good = bh_feed_subscribe(other, &cheap);
        for (guint i = 0; i < n; i++)
                bh_feed_publish(other, &e, (const guint8 *) "wire", 4, NULL);
        g_assert_cmpuint(take_dropped(good, &bytes), ==, 0);
        g_assert_cmpuint(bytes, ==, 8 * n);
        bh_feed_unsubscribe(other, good);
        bh_rule_engine_unref(costly.where);
        bh_rule_engine_unref(cheap.where);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/sensor/feed/a_condition_does_not_hold_up_the_publisher", a_condition_does_not_hold_up_the_publisher);
        return g_test_run();
}
