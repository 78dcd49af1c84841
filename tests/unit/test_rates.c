/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/rates.h"

#include <errno.h>

#include "sensor/observe.h"

#define MINUTE (gint64) BH_RATES_NS

static void on_step(BhRate which, guint64 step, guint64 now, gpointer data) {
        char text[64];

        g_string_append_printf(data, "%s%s, %s", ((GString *) data)->len ? "; " : "", bh_rate_title(which), bh_rate_step(which, step, text));
        g_assert_cmpuint(now, >=, step);
}

static void expect(BhRates *r, guint64 who, BhRate which, guint64 much, gint64 time_ns, const char *expected) {
        g_autoptr(GString) out = g_string_new(NULL);

        bh_rates_add(r, who, which, much, (guint64) time_ns, on_step, out);
        g_assert_cmpstr(out->str, ==, expected);
}

static void steps_are_told_once_a_minute_when_they_are_reached(void) {
        BhRates *r = bh_rates_new();

        expect(r, 7, BH_RATE_CONNECT, 15, 100 * MINUTE, "");
        expect(r, 7, BH_RATE_CONNECT, 1, 100 * MINUTE, "connections made, 16 or more a minute");
        expect(r, 7, BH_RATE_CONNECT, 40, 100 * MINUTE, "");
        expect(r, 7, BH_RATE_CONNECT, 300, 100 * MINUTE + 5, "connections made, 64 or more a minute; connections made, 256 or more a minute");
        /* another minute, another measure, another program */
        expect(r, 7, BH_RATE_EXEC, 16, 100 * MINUTE, "programs started, 16 or more a minute");
        expect(r, 8, BH_RATE_CONNECT, 16, 100 * MINUTE, "connections made, 16 or more a minute");
        expect(r, 7, BH_RATE_CONNECT, 16, 101 * MINUTE, "connections made, 16 or more a minute");
        /* an event of the minute before that comes late counts for the new one */
        expect(r, 7, BH_RATE_CONNECT, 48, 100 * MINUTE, "connections made, 64 or more a minute");
        expect(r, 9, BH_RATE_SENT, 5 << 20, 100 * MINUTE, "bytes sent, 1 MiB or more a minute; bytes sent, 4 MiB or more a minute");
        g_assert_cmpuint(bh_rates_displaced(r), ==, 0);
        expect(r, 9 + BH_RATES_PLACES, BH_RATE_SENT, 1, 100 * MINUTE, "");
        g_assert_cmpuint(bh_rates_displaced(r), ==, 1);
        bh_rates_free(r);
}

static void no_number_is_too_large(void) {
        BhRates *r = bh_rates_new();
        g_autoptr(GString) out = g_string_new(NULL);

        for (guint i = 0; i < 3; i++)
                for (guint k = 0; k < BH_RATES; k++)
                        bh_rates_add(r, 1, (BhRate) k, G_MAXUINT64, 0, on_step, out);
        g_assert_nonnull(strstr(out->str, "programs started, 4398046511104 or more a minute"));
        bh_rates_free(r);
}

static struct bh_event event(guint32 type) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, type);
        BH_SET(&e, count, 1);
        BH_SET(&e, time, 1000 * BH_RATES_NS);
        BH_SET_STR(&e, container_id, "0123456789ab");
        BH_SET_STR(&e, workload, "web");
        BH_SET_STR(&e, exe, "/usr/bin/app");
        return e;
}

static void on_told(const BhObservation *what, gpointer data) {
        if (g_str_equal(what->kind, "rate"))
                g_string_append_printf(data, "%.*s: %.*s, %.*s\n", (int) what->parent.len, what->parent.p, (int) what->subject.len, what->subject.p, (int) what->detail.len, what->detail.p);
}

static void what_events_add_up_to_is_observed(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        g_autoptr(GString) out = g_string_new(NULL);
        struct bh_event e = event(BH_EV_CONNECT);

        for (guint i = 0; i < 64; i++)
                bh_observe_event(o, &e, NULL, 0);
        e = event(BH_EV_NET_CLOSE);
        BH_SET(&e, bytes_out, 2 << 20);
        BH_SET(&e, bytes_in, 100);
        bh_observe_event(o, &e, NULL, 0);
        e = event(BH_EV_OPEN);
        BH_SET_STR(&e, path, "/var/lib/app/x");
        for (guint i = 0; i < 15; i++)
                bh_observe_event(o, &e, NULL, 0);
        /* what is looked for and is not there was not touched; what was refused was */
        BH_SET(&e, ret, -ENOENT);
        for (guint i = 0; i < 100; i++)
                bh_observe_event(o, &e, NULL, 0);
        bh_observe_take(o, FALSE, 0, 100, on_told, out);
        g_assert_null(strstr(out->str, "files touched"));
        BH_SET(&e, ret, -EACCES);
        bh_observe_event(o, &e, NULL, 0);
        /* names are counted where they are asked for, not where they are answered; repeats of a flood, that are facts of nothing, count too */
        e = event(BH_EV_DNS);
        BH_SET_STR(&e, dns_type, "query");
        BH_SET_STR(&e, dns_question, "a.example");
        for (guint i = 0; i < 8; i++)
                bh_observe_event(o, &e, NULL, 0);
        BH_SET_STR(&e, dns_type, "answer");
        for (guint i = 0; i < 8; i++)
                bh_observe_event(o, &e, NULL, 0);
        bh_observe_take(o, FALSE, 0, 100, on_told, out);
        g_assert_null(strstr(out->str, "names asked for"));
        e = event(BH_EV_DNS);
        BH_SET(&e, flags, BH_RF_REPEATS);
        BH_SET(&e, count, 8);
        bh_observe_event(o, &e, NULL, 0);
        /* what the host does, and what the runtime does in a container's account, is nobody's rate */
        e = event(BH_EV_OPEN);
        BH_SET_STR(&e, exe, "/usr/sbin/runc");
        BH_SET_STR(&e, path, "/proc/self/x");
        for (guint i = 0; i < 16; i++)
                bh_observe_event(o, &e, NULL, 0);
        e = event(BH_EV_CONNECT);
        BH_SET_STR(&e, container_id, "");
        for (guint i = 0; i < 64; i++)
                bh_observe_event(o, &e, NULL, 0);
        while (bh_observe_take(o, FALSE, 0, 100, on_told, out))
                ;
        g_assert_cmpstr(out->str, ==, "/usr/bin/app: connections made, 16 or more a minute\n/usr/bin/app: connections made, 64 or more a minute\n/usr/bin/app: bytes sent, 1 MiB or more a minute\n"
                                      "/usr/bin/app: files touched, 16 or more a minute\n/usr/bin/app: names asked for, 16 or more a minute\n");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/rates/steps_are_told_once_a_minute_when_they_are_reached", steps_are_told_once_a_minute_when_they_are_reached);
        g_test_add_func("/rates/no_number_is_too_large", no_number_is_too_large);
        g_test_add_func("/rates/what_events_add_up_to_is_observed", what_events_add_up_to_is_observed);
        return g_test_run();
}
