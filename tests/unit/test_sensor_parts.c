/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the sensor that need no kernel: observations, findings, inventory, DNS as text. */
#include <glib/gstdio.h>
#include <malloc.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "event/codec.h"
#include "sensor/dns_text.h"
#include "sensor/ends.h"
#include "sensor/findings.h"
#include "sensor/flow_mark.h"
#include "sensor/inventory.h"
#include "sensor/observe.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- observations ---- */

static struct bh_event exec_of(const char *container, const char *exe, const char *parent, guint64 time) {
        struct bh_event e = { 0 };

        BH_SET(&e, type, BH_EV_EXEC);
        BH_SET(&e, time, time);
        BH_SET(&e, count, 1);
        BH_SET_STR(&e, container_id, container);
        BH_SET_STR(&e, workload, "web");
        BH_SET_STR(&e, application, "shop");
        BH_SET_STR(&e, exe, exe);
        BH_SET_STR(&e, parent_exe, parent);
        return e;
}

static void see(BhObserve *o, const char *container, const char *exe, const char *parent, guint64 time, gint64 now_us) {
        struct bh_event e = exec_of(container, exe, parent, time);

        bh_observe_event(o, &e, NULL, now_us);
}

static void note(const BhObservation *what, gpointer data) {
        g_string_append_printf(data, "%.4s %s/%s %.*s<%.*s %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT "-%" G_GINT64_FORMAT "\n", what->container_id, what->application,
                               what->workload, (int) what->subject.len, what->subject.p, (int) what->parent.len, what->parent.p, what->count, what->first_ns,
                               what->last_ns);
}

static void expect_told(BhObserve *o, gboolean all, gint64 now_us, const char *expected) {
        g_autoptr(GString) got = g_string_new(NULL);

        while (bh_observe_take(o, all, now_us, 3, note, got))
                ;
        g_assert_cmpstr(got->str, ==, expected);
}

static void new_is_told_at_once_and_repeats_later(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        gint64 now = 1000 * G_USEC_PER_SEC;

        see(o, ID, "/bin/a", "/bin/sh", 1, now);
        see(o, ID, "/bin/a", "/bin/sh", 2, now);
        see(o, ID, "/bin/a", "/bin/init", 3, now);
        see(o, OTHER, "/bin/a", "/bin/sh", 4, now);
        see(o, "", "/bin/host", "/bin/sh", 5, now);
        expect_told(o, FALSE, now, "0123 shop/web /bin/a</bin/sh 2 1-2\n0123 shop/web /bin/a</bin/init 1 3-3\nf123 shop/web /bin/a</bin/sh 1 4-4\n");
        see(o, ID, "/bin/a", "/bin/sh", 6, now);
        see(o, ID, "/bin/a", "/bin/sh", 7, now + BH_OBSERVE_REPEAT_US / 2);
        expect_told(o, FALSE, now + BH_OBSERVE_REPEAT_US - 1, "");
        expect_told(o, FALSE, now + BH_OBSERVE_REPEAT_US, "0123 shop/web /bin/a</bin/sh 2 6-7\n");
        see(o, ID, "/bin/a", "/bin/sh", 8, now + BH_OBSERVE_REPEAT_US);
        expect_told(o, TRUE, now + BH_OBSERVE_REPEAT_US, "0123 shop/web /bin/a</bin/sh 1 8-8\n");
}

static void quiet_ones_are_forgotten(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        BhObserveStats s;

        see(o, ID, "/bin/a", "/bin/sh", 1, 0);
        see(o, ID, "/bin/b", "/bin/sh", 1, 0);
        expect_told(o, FALSE, 0, "0123 shop/web /bin/a</bin/sh 1 1-1\n0123 shop/web /bin/b</bin/sh 1 1-1\n");
        see(o, ID, "/bin/b", "/bin/sh", 2, 1);
        bh_observe_take(o, FALSE, BH_OBSERVE_QUIET_US - 1, 10, note, g_string_new(NULL));
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.keys, ==, 2);
        expect_told(o, FALSE, BH_OBSERVE_QUIET_US, "");
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.keys, ==, 1);
        expect_told(o, FALSE, 3 * BH_OBSERVE_QUIET_US, "");
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.keys, ==, 0);
        g_assert_cmpuint(s.containers, ==, 0);
        g_assert_cmpuint(s.bytes, ==, 0);
}

static void sum(const BhObservation *what, gpointer data);

static void look_at(BhObserve *o, const char *container, const char *exe, const char *path, guint64 time, gint64 now_us) {
        struct bh_event e = exec_of(container, exe, "/bin/sh", time);

        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET_STR(&e, path, path);
        bh_observe_event(o, &e, NULL, now_us);
}

/* Equal opens are found by a shorter way, which must lead where the long one does, also when what it led to is gone. */
static void opens_are_counted_where_they_belong(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        BhObserveStats s;

        for (guint64 i = 1; i <= 3; i++) {
                look_at(o, ID, "/bin/a", "/data/11.db", 10 * i, 0);
                look_at(o, ID, "/bin/a", "/data/22.db", 10 * i + 1, 0);
                look_at(o, ID, "/bin/b", "/data/11.db", 10 * i + 2, 0);
                look_at(o, OTHER, "/bin/a", "/data/11.db", 10 * i + 3, 0);
        }
        expect_told(o, FALSE, 0, "0123 shop/web /data/{n}.db</bin/a 6 10-31\n0123 shop/web /data/{n}.db</bin/b 3 12-32\nf123 shop/web /data/{n}.db</bin/a 3 13-33\n");
        look_at(o, ID, "/bin/a", "/data/11.db", 40, 1);
        expect_told(o, FALSE, BH_OBSERVE_OFTEN_US, "");
        expect_told(o, FALSE, BH_OBSERVE_OFTEN_US + 1, "0123 shop/web /data/{n}.db</bin/a 1 40-40\n");
        expect_told(o, FALSE, 3 * BH_OBSERVE_QUIET_US, "");
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.keys, ==, 0);
        look_at(o, ID, "/bin/a", "/data/11.db", 50, 3 * BH_OBSERVE_QUIET_US);
        expect_told(o, FALSE, 3 * BH_OBSERVE_QUIET_US, "0123 shop/web /data/{n}.db</bin/a 1 50-50\n");
}

/* Files are as many as one likes to make them: programs have their place all the same. */
static void files_leave_room_for_programs(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        guint64 n[4] = { 0 };

        for (guint i = 0; i < 2 * BH_OBSERVE_PER_CONTAINER; i++) {
                g_autofree char *path = g_strdup_printf("/data/%c%c%c/x", 'a' + i % 20, 'a' + i / 20 % 20, 'a' + i / 400);

                look_at(o, ID, "/bin/a", path, i + 1, 0);
        }
        see(o, ID, "/bin/new", "/bin/sh", 1, 0);
        while (bh_observe_take(o, FALSE, 0, 64, sum, n))
                ;
        g_assert_cmpuint(n[0], ==, BH_OBSERVE_PER_CONTAINER / 2 + 1);
        g_assert_cmpuint(n[2], ==, 2 * BH_OBSERVE_PER_CONTAINER + 1);
}

static void made(BhObserve *o, const char *kind, guint n) {
        g_autofree char *name = g_strdup_printf("%s_%u", kind, n);
        const BhObservation what = { .container_id = ID, .workload = "web", .application = "shop", .image_digest = "", .kind = kind, .subject = { name, (guint32) strlen(name) }, .parent = { "/bin/a", 6 },
                                     .detail = { "", 0 }, .example = { "", 0 }, .count = 1, .first_ns = 1, .last_ns = 1 };

        bh_observe_act(o, &what, 0);
}

static void count_kinds(const BhObservation *what, gpointer data) {
        guint *n = data;

        if (what->subject.len == 1 && *what->subject.p == '*')
                n[3] += (guint) what->count;
        else
                n[g_str_equal(what->kind, "syscall") ? 0 : g_str_equal(what->kind, "sequence") ? 1 : 2]++;
}

/* Whoever floods with files, or with orders of calls, hides no system call; and calls hide nothing either. */
static void system_calls_have_a_share_of_their_own(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        guint n[4] = { 0 };

        for (guint i = 0; i < BH_OBSERVE_PER_CONTAINER; i++)
                made(o, "sequence", i);
        for (guint round = 0; round < 2; round++)
                for (guint i = 0; i < BH_OBSERVE_CALLS + 10; i++)
                        made(o, "syscall", i);
        see(o, ID, "/bin/new", "/bin/sh", 1, 0);
        while (bh_observe_take(o, FALSE, 0, 64, count_kinds, n))
                ;
        g_assert_cmpuint(n[0], ==, BH_OBSERVE_CALLS);
        g_assert_cmpuint(n[1], ==, BH_OBSERVE_PER_CONTAINER / 2);
        g_assert_cmpuint(n[2], ==, 1);
        g_assert_cmpuint(n[3], ==, BH_OBSERVE_PER_CONTAINER / 2 + 20);
        /* what was forgotten makes room again */
        bh_observe_take(o, FALSE, BH_OBSERVE_QUIET_US, G_MAXUINT, count_kinds, n);
        memset(n, 0, sizeof(n));
        made(o, "syscall", BH_OBSERVE_CALLS + 20);
        made(o, "sequence", BH_OBSERVE_PER_CONTAINER + 20);
        bh_observe_take(o, TRUE, BH_OBSERVE_QUIET_US, G_MAXUINT, count_kinds, n);
        g_assert_cmpuint(n[0], ==, 1);
        g_assert_cmpuint(n[1], ==, 1);
        g_assert_cmpuint(n[3], ==, 0);
}

/* Arguments, too. */
static void arguments_leave_room_for_programs(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        guint64 n[4] = { 0 };

        for (guint i = 0; i < 2 * BH_OBSERVE_PER_CONTAINER; i++) {
                g_autofree char *word = g_strdup_printf("%c%c%c", 'a' + i % 20, 'a' + i / 20 % 20, 'a' + i / 400);
                g_autofree char *args = g_strdup_printf("a %s", word);
                struct bh_event e = exec_of(ID, "/bin/a", "/bin/sh", i + 1);

                args[1] = '\0';
                BH_SET(&e, args, ((struct bh_str){ args, 5 }));
                bh_observe_event(o, &e, NULL, 0);
        }
        see(o, ID, "/bin/new", "/bin/sh", 1, 0);
        while (bh_observe_take(o, FALSE, 0, 64, sum, n))
                ;
        g_assert_cmpuint(n[0], ==, BH_OBSERVE_ARGUMENTS + 2); /* and one of all others together, and the new program */
        g_assert_cmpuint(n[1], ==, 0);
        g_assert_cmpuint(n[2], ==, 2 * BH_OBSERVE_PER_CONTAINER + 1);
}

static void sum(const BhObservation *what, gpointer data) {
        guint64 *n = data;

        if (g_str_equal(what->kind, "rate"))
                return;
        n[what->subject.len == 1 && *what->subject.p == '*']++;
        n[2] += what->count;
        n[3] += what->subject.len == 1 && *what->subject.p == '*' ? what->count : 0;
}

static void beyond_the_bounds_is_counted(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        guint64 n[4] = { 0 };
        BhObserveStats s;

        for (guint i = 0; i < BH_OBSERVE_PER_CONTAINER + 100; i++) {
                g_autofree char *exe = g_strdup_printf("/tmp/%u", i);

                see(o, ID, exe, "/bin/sh", i + 1, 0);
        }
        see(o, OTHER, "/bin/a", "/bin/sh", 1, 0);
        while (bh_observe_take(o, FALSE, 0, 64, sum, n))
                ;
        g_assert_cmpuint(n[0], ==, BH_OBSERVE_PER_CONTAINER + 1);
        g_assert_cmpuint(n[1], ==, 1);
        g_assert_cmpuint(n[2], ==, BH_OBSERVE_PER_CONTAINER + 101);
        g_assert_cmpuint(n[3], ==, 100);
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.rest, ==, 100);
        g_assert_cmpstr(s.full, ==, ID);

        /* in total: containers without end */
        for (guint c = 0; c < 40; c++) {
                g_autofree char *id = g_strdup_printf("c%063u", c);

                for (guint i = 0; i < BH_OBSERVE_PER_CONTAINER; i++) {
                        g_autofree char *exe = g_strdup_printf("/tmp/%u", i);

                        see(o, id, exe, "/bin/sh", i + 1, 0);
                }
        }
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.keys, <=, BH_OBSERVE_KEYS + 64);
        g_assert_cmpuint(s.bytes, <=, BH_OBSERVE_BYTES + 64);
        /* and five steps of the rate of programs started, 16 to 4,096, by each */
        g_assert_cmpuint(s.counted, ==, BH_OBSERVE_PER_CONTAINER * 41 + 101 + 41 * 5);
}

static void long_paths_are_bounded(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        g_autofree char *path = g_strnfill(4000, 'x');
        BhObserveStats s;

        for (guint c = 0; c < 4; c++) {
                g_autofree char *id = g_strdup_printf("c%063u", c);

                for (guint i = 0; i < BH_OBSERVE_PER_CONTAINER; i++) {
                        memcpy(path, (char[4]){ (char) ('a' + i % 20), (char) ('a' + i / 20 % 20), (char) ('a' + i / 400), 'x' }, 4);
                        see(o, id, path, "/bin/sh", i + 1, 0);
                }
        }
        bh_observe_stats(o, &s);
        g_assert_cmpuint(s.bytes, <=, BH_OBSERVE_BYTES + 64);
        g_assert_cmpuint(s.counted, ==, 4 * BH_OBSERVE_PER_CONTAINER + 4 * 5);
        g_assert_cmpuint(s.rest, >, 0);
}

static void a_repeat_allocates_nothing(void) {
        g_autoptr(BhObserve) o = bh_observe_new();
        struct bh_event e = exec_of(ID, "/bin/a", "/bin/sh", 1);

        bh_observe_event(o, &e, NULL, 0);
        expect_told(o, FALSE, 0, "0123 shop/web /bin/a</bin/sh 1 1-1\n");
        /* the steps of its rate on the way to there are new facts */
        for (guint i = 0; i < 4096; i++)
                bh_observe_event(o, &e, NULL, 0);
        size_t before = mallinfo2().uordblks;
        for (guint i = 0; i < 1000; i++)
                bh_observe_event(o, &e, NULL, i);
        g_assert_cmpuint(mallinfo2().uordblks, ==, before);
}

static void speed(void) {
        if (!g_test_perf()) {
                g_test_skip("figures only, with -m perf");
                return;
        }

        g_autoptr(BhObserve) o = bh_observe_new();
        struct bh_event e = exec_of(ID, "/usr/local/bin/a-program", "/usr/bin/another-program", 1);
        struct timespec from, to;
        enum { N = 3000000 };

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        for (guint i = 0; i < N; i++)
                bh_observe_event(o, &e, NULL, i);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        g_test_message("a repeat: %" G_GINT64_FORMAT " ns", (gint64) ((to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec) / N);
}

/* ---- findings ---- */

static gboolean say(BhFindings *f, guint64 id, const char *action, const char *attributes, guint32 len, gint64 now_us) {
        struct bh_event e = { 0 };
        g_autoptr(GByteArray) wire = g_byte_array_new();

        BH_SET(&e, id, id);
        BH_SET(&e, type, BH_EV_SENSOR);
        BH_SET(&e, time, 1000 + id);
        BH_SET_STR(&e, action, action);
        BH_SET_STR(&e, message, "a sentence");
        BH_SET(&e, attributes, ((struct bh_str){ attributes, len }));
        bh_event_encode(&e, wire);
        return bh_findings_event(f, &e, wire->data, wire->len, now_us);
}
#define SAY(f, id, action, attributes, now) say(f, id, action, attributes, sizeof(attributes) - 1, now)

/* "rule priority id field=value …" of the next one. */
static char *take(BhFindings *f, gboolean all, gint64 now_us) {
        g_autoptr(GBytes) body = bh_findings_take(f, all, now_us);
        g_autoptr(GError) error = NULL;

        if (!body)
                return NULL;
        Bulkhead__Bus__V1__Finding *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__finding__descriptor, body, &error);
        g_assert_no_error(error);
        GString *out = g_string_new(NULL);
        struct bh_event e;
        g_autofree char *rule = bh_bus_text_dup(m->rule), *container = bh_bus_text_dup(m->container_id);

        g_assert_true(bh_event_decode(&e, m->event.data, m->event.len, NULL));
        g_string_append_printf(out, "%s; %s; %s; %s", rule, m->priority, m->id, container);
        for (gsize i = 0; i < m->n_fields; i++) {
                g_autofree char *key = bh_bus_text_dup(m->fields[i]->key), *value = bh_bus_text_dup(m->fields[i]->value);

                g_string_append_printf(out, " %s=%s", key, value);
        }
        bulkhead__bus__v1__finding__free_unpacked(m, NULL);
        return g_string_free(out, FALSE);
}

static void expect_finding(BhFindings *f, gboolean all, gint64 now_us, const char *expected) {
        g_autofree char *got = take(f, all, now_us);

        g_assert_cmpstr(got, ==, expected);
}

static void trouble_is_told_once_a_window(void) {
        g_autoptr(BhFindings) f = bh_findings_new("n1");
        gint64 now = 5;

        g_assert_false(SAY(f, 1, "started", "", now));
        g_assert_true(SAY(f, 2, "lost", "type\0exec\0reason\0ring_full\0count\0" "10\0container\0c1\0", now));
        expect_finding(f, FALSE, now, "Events lost in the kernel; error; n1-2-3ea; c1 type=exec reason=ring_full count=10 container=c1 repeats=1");
        SAY(f, 3, "lost", "type\0exec\0reason\0ring_full\0count\0" "5\0container\0c1\0", now);
        SAY(f, 4, "lost", "type\0exec\0reason\0ring_full\0count\0" "6\0container\0c1\0", now + 1);
        expect_finding(f, FALSE, now + 1, NULL);
        SAY(f, 5, "lost", "type\0exec\0reason\0ring_full\0count\0" "7\0container\0c2\0", now + 1);
        expect_finding(f, FALSE, now + 1, "Events lost in the kernel; error; n1-5-3ed; c2 type=exec reason=ring_full count=7 container=c2 repeats=1");
        expect_finding(f, FALSE, now + BH_FINDINGS_WINDOW_US, "Events lost in the kernel; error; n1-4-3ec; c1 type=exec reason=ring_full count=11 container=c1 repeats=2");
        expect_finding(f, FALSE, now + BH_FINDINGS_WINDOW_US, NULL);
        /* a quiet window, and it is new again */
        expect_finding(f, FALSE, now + 3 * BH_FINDINGS_WINDOW_US, NULL);
        SAY(f, 6, "lost", "type\0exec\0reason\0ring_full\0count\0" "1\0container\0c1\0", now + 3 * BH_FINDINGS_WINDOW_US);
        expect_finding(f, FALSE, now + 3 * BH_FINDINGS_WINDOW_US, "Events lost in the kernel; error; n1-6-3ee; c1 type=exec reason=ring_full count=1 container=c1 repeats=1");
        SAY(f, 7, "lost", "type\0exec\0reason\0ring_full\0count\0" "2\0container\0c1\0", now + 3 * BH_FINDINGS_WINDOW_US);
        expect_finding(f, TRUE, now + 3 * BH_FINDINGS_WINDOW_US, "Events lost in the kernel; error; n1-7-3ef; c1 type=exec reason=ring_full count=2 container=c1 repeats=1");
}

/* What is refused to one container hides nothing that is refused to another. */
static void each_response_is_told_by_itself(void) {
        g_autoptr(BhFindings) f = bh_findings_new("n1");

        SAY(f, 2, "response_blocked", "response\0" "r1\0", 0);
        SAY(f, 3, "response_blocked", "response\0" "r2\0", 0);
        SAY(f, 4, "response_blocked", "response\0" "r1\0", 0);
        expect_finding(f, FALSE, 0, "Blocked; warning; n1-2-3ea;  response=r1 repeats=1");
        expect_finding(f, FALSE, 0, "Blocked; warning; n1-3-3eb;  response=r2 repeats=1");
        expect_finding(f, FALSE, 0, NULL);
        expect_finding(f, FALSE, BH_FINDINGS_WINDOW_US, "Blocked; warning; n1-4-3ec;  response=r1 repeats=1");
}

static void flood_of_trouble_is_bounded(void) {
        g_autoptr(BhFindings) f = bh_findings_new("n1");
        BhFindingsStats s;
        guint told = 0;

        for (guint i = 0; i < 5000; i++) {
                char text[64];
                gint n = g_snprintf(text, sizeof(text), "container=c%u=", i);

                for (gint k = 0; k < n; k++)
                        text[k] = text[k] == '=' ? '\0' : text[k];
                say(f, i, "lost", text, (guint32) n, 0);
        }
        for (GBytes *b; (b = bh_findings_take(f, FALSE, 0)); g_bytes_unref(b))
                told++;
        bh_findings_stats(f, &s);
        g_assert_cmpuint(told + s.refused, <=, BH_FINDINGS_KEYS + 1);
        g_assert_cmpuint(told, ==, BH_FINDINGS_WAITING);
        g_assert_cmpuint(s.events, ==, 5000);
        g_assert_cmpuint(s.repeated, ==, 5000 - told - s.refused);
}

static void attributes_that_are_torn_do_no_harm(void) {
        g_autoptr(BhFindings) f = bh_findings_new("n1");

        SAY(f, 1, "canary_lost", "why", 0);
        expect_finding(f, FALSE, 0, "Canary of the sensor ended or stopped; critical; n1-1-3e9;  repeats=1");
        SAY(f, 2, "gap", "a\0b\0c", 0);
        expect_finding(f, FALSE, 0, "Nothing was seen while the sensor was away; critical; n1-2-3ea;  a=b repeats=1");
}

static void each_end_is_a_finding_of_its_own(void) {
        g_autoptr(BhFindings) f = bh_findings_new("n1"), next = bh_findings_new("n1");
        BhFindingsStats s;

        SAY(f, 1, "returned", "end\0" "100\0", 0);
        SAY(f, 2, "returned", "away_ms\0" "5\0end\0" "200\0", 0);
        bh_findings_stats(f, &s);
        g_assert_cmpuint(s.ends, ==, 0); /* nobody took them */
        expect_finding(f, FALSE, 0, "Sensor ended unexpectedly and returned; error; n1-end-100;  end=100 repeats=1");
        expect_finding(f, FALSE, 0, "Sensor ended unexpectedly and returned; error; n1-end-200;  away_ms=5 end=200 repeats=1");
        bh_findings_stats(f, &s);
        g_assert_cmpuint(s.ends, ==, 2);
        /* who tells it once more tells the same finding, whatever else he thinks of it */
        SAY(next, 7, "gap", "end\0" "200\0", 9);
        expect_finding(next, FALSE, 9, "Nothing was seen while the sensor was away; critical; n1-end-200;  end=200 repeats=1");
}

/* ---- unexpected ends ---- */

static char *ends_of(const BhEnds *e) {
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < bh_ends_count(e); i++)
                g_string_append_printf(out, "%s ", bh_ends_name(e, i));
        if (bh_ends_more(e))
                g_string_append_printf(out, "and %" G_GUINT64_FORMAT " more", bh_ends_more(e));
        return g_string_free(out, FALSE);
}

static void expect_ends(const char *path, const char *run, const char *expected) {
        g_autoptr(BhEnds) e = bh_ends_open(path, run);
        g_autofree char *got = ends_of(e);

        g_assert_cmpstr(got, ==, expected);
}

static void ends_wait_until_they_are_told(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-ends-XXXXXX", NULL), *path = g_build_filename(dir, "running", NULL);
        g_autoptr(GError) error = NULL;
        BhEnds *e = bh_ends_open(path, "100");

        g_assert_cmpuint(bh_ends_count(e), ==, 0);
        g_assert_cmpint(bh_ends_found_ns(e), ==, 0);
        g_assert_true(bh_ends_mark(e, &error));
        bh_ends_free(e); /* killed */

        e = bh_ends_open(path, "200");
        g_assert_cmpint(bh_ends_found_ns(e), >, 0);
        g_assert_true(bh_ends_mark(e, &error));
        bh_ends_free(e); /* killed before it could tell */

        e = bh_ends_open(path, "300");
        g_autofree char *both = ends_of(e);
        g_assert_cmpstr(both, ==, "100 200 ");
        g_assert_true(bh_ends_mark(e, &error));
        bh_ends_close(e); /* stopped in order, but it could not tell either */
        bh_ends_free(e);
        expect_ends(path, "400", "100 200 ");

        e = bh_ends_open(path, "500");
        g_assert_true(bh_ends_mark(e, &error));
        g_assert_true(bh_ends_told(e, &error));
        bh_ends_free(e); /* killed after it told */
        expect_ends(path, "600", "500 ");

        e = bh_ends_open(path, "700");
        g_assert_true(bh_ends_mark(e, &error));
        g_assert_true(bh_ends_told(e, &error));
        bh_ends_close(e);
        bh_ends_free(e);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
        expect_ends(path, "800", "");
        rmdir(dir);
}

static void ends_are_bounded_and_counted(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-ends-XXXXXX", NULL), *path = g_build_filename(dir, "running", NULL);
        g_autoptr(GError) error = NULL;

        for (guint i = 0; i < 3 * BH_ENDS_MAX; i++) {
                g_autofree char *run = g_strdup_printf("%u", 1000 + i);
                g_autoptr(BhEnds) e = bh_ends_open(path, run);

                g_assert_cmpuint(bh_ends_count(e) + bh_ends_more(e), ==, i);
                g_assert_cmpuint(bh_ends_count(e), <=, BH_ENDS_MAX);
                g_assert_true(bh_ends_mark(e, &error));
        }

        /* what an older sensor left, and what is damaged, is one end */
        g_assert_true(g_file_set_contents(path, "", 0, &error));
        g_autoptr(BhEnds) old = bh_ends_open(path, "1");
        g_assert_cmpuint(bh_ends_count(old), ==, 1);
        g_assert_true(g_file_set_contents(path, "../x\n\n7\n$(y)\n", -1, &error));
        g_autoptr(BhEnds) bad = bh_ends_open(path, "1");
        g_assert_cmpuint(bh_ends_count(bad), ==, 2);
        g_assert_cmpstr(bh_ends_name(bad, 0), ==, "7");
        unlink(path);
        rmdir(dir);
}

/* ---- inventory ---- */

static Bulkhead__Bus__V1__Inventory *unpack(GPtrArray *bodies, guint i) {
        g_autoptr(GError) error = NULL;
        Bulkhead__Bus__V1__Inventory *m = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__inventory__descriptor, g_ptr_array_index(bodies, i), &error);

        g_assert_no_error(error);
        return m;
}

static BhContainer *container(const char *id, guint labels, guint label_bytes) {
        BhContainer *c = bh_container_new(id, "docker");
        g_autofree char *value = g_strnfill(label_bytes, 'v');

        for (guint i = 0; i < labels; i++) {
                g_autofree char *key = g_strdup_printf("label-%u", i);

                bh_container_add_label(c, key, value);
        }
        bh_container_add_mount(c, "bind", "/var/run/docker.sock", "/sock", TRUE);
        bh_container_set(c, &c->name, "web\xff\n");
        c->state = BH_CONTAINER_RUNNING;
        c->level = BH_CONTAINER_FULL;
        c->init_pid = 77;
        bh_container_finish(c);
        return c;
}

static void containers_are_carried_whole(void) {
        g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);

        g_ptr_array_add(list, container(ID, 2, 10));
        g_autoptr(GPtrArray) bodies = bh_inventory_pack("n1", "boot", list, FALSE, 123);
        g_assert_cmpuint(bodies->len, ==, 1);
        Bulkhead__Bus__V1__Inventory *m = unpack(bodies, 0);
        g_assert_cmpstr(m->kind, ==, "container");
        g_assert_false(m->full);
        g_assert_cmpint(m->time_ns, ==, 123);
        const Bulkhead__Bus__V1__Container *c = m->upsert[0];
        g_assert_cmpmem(c->name.data, c->name.len, "web\xff\n", 5);
        g_assert_cmpstr(c->state, ==, "running");
        g_assert_cmpstr(c->level, ==, "full");
        g_assert_cmpuint(c->n_labels, ==, 2);
        g_assert_cmpuint(c->n_mounts, ==, 1);
        g_assert_true(c->mounts[0]->sensitive);
        g_assert_cmpint(c->init_pid, ==, 77);
        bulkhead__bus__v1__inventory__free_unpacked(m, NULL);
}

static void full_list_is_split_and_says_so_once(void) {
        g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);
        guint seen = 0;

        for (guint i = 0; i < 40; i++) {
                g_autofree char *id = g_strdup_printf("c%063u", i);

                g_ptr_array_add(list, container(id, 60, 4000));
        }
        g_autoptr(GPtrArray) bodies = bh_inventory_pack("n1", "boot", list, TRUE, 1);
        g_assert_cmpuint(bodies->len, >, 1);
        for (guint i = 0; i < bodies->len; i++) {
                Bulkhead__Bus__V1__Inventory *m = unpack(bodies, i);

                g_assert_cmpint(m->full, ==, i == 0);
                g_assert_cmpuint(g_bytes_get_size(g_ptr_array_index(bodies, i)), <, BH_INVENTORY_MESSAGE_BYTES + 65536);
                seen += (guint) m->n_upsert;
                bulkhead__bus__v1__inventory__free_unpacked(m, NULL);
        }
        g_assert_cmpuint(seen, ==, 40);

        g_autoptr(GPtrArray) none = g_ptr_array_new(), empty = bh_inventory_pack("n1", "boot", none, TRUE, 1), nothing = bh_inventory_pack("n1", "boot", none, FALSE, 1);
        g_assert_cmpuint(empty->len, ==, 1);
        g_assert_cmpuint(nothing->len, ==, 0);
}

static void huge_container_is_shortened_and_says_so(void) {
        g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);
        BhContainer *big = container(ID, 1, 10);
        g_autofree char *text = g_strnfill(4000, 's');

        for (guint i = 0; i < 500; i++) {
                g_autofree char *at = g_strdup_printf("/%u%s", i, text);

                bh_container_add_mount(big, "bind", text, at, FALSE);
        }
        bh_container_finish(big);
        g_ptr_array_add(list, big);
        g_autoptr(GPtrArray) bodies = bh_inventory_pack("n1", "boot", list, FALSE, 1);
        g_assert_cmpuint(g_bytes_get_size(g_ptr_array_index(bodies, 0)), <=, BH_INVENTORY_CONTAINER_BYTES + 4096);
        Bulkhead__Bus__V1__Inventory *m = unpack(bodies, 0);
        g_assert_cmpuint(m->upsert[0]->n_mounts, >, 0);
        g_assert_cmpuint(m->upsert[0]->refused, >, 300);
        bulkhead__bus__v1__inventory__free_unpacked(m, NULL);
}

/* ---- DNS as text ---- */

static char *dns(const guint8 *bytes, gsize len, guint max_answers, guint max_bytes) {
        g_autoptr(BhDnsMessage) m = bh_dns_parse(bytes, len, NULL);
        BhDnsText t;
        GString *out = g_string_new(NULL);

        g_assert_nonnull(m);
        bh_dns_text_init(&t, m, max_answers, max_bytes, 8);
        g_string_append_printf(out, "%s|%s|%s|%s|%s", t.type, t.question, t.qtype, t.rcode, t.problem);
        for (guint i = 0; i < t.answers->len; i += (guint) strlen((char *) t.answers->data + i) + 1)
                g_string_append_printf(out, "|%s", (char *) t.answers->data + i);
        bh_dns_text_clear(&t);
        return g_string_free(out, FALSE);
}

static void dns_messages_as_text(void) {
        static const guint8 query[] = "\0\1\1\0\0\1\0\0\0\0\0\0\3www\2ex\0\xff\xfa\0\1";
        static const guint8 answer[] = "\0\1\x81\x83\0\1\0\3\0\0\0\0\1a\0\0\1\0\1"
                                       "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
                                       "\xc0\x0c\0\x0f\0\1\0\0\0\1\0\4\0\5\xc0\x0c"
                                       "\xc0\x0c\0\x10\0\1\0\0\0\1\0\x0c\x0b\x1b[2Jabcdefg";
        g_autofree char *q = dns(query, sizeof(query) - 1, 10, 1000), *a = dns(answer, sizeof(answer) - 1, 10, 1000), *few = dns(answer, sizeof(answer) - 1, 1, 1000);
        g_autofree char *small = dns(answer, sizeof(answer) - 1, 10, 11), *cut = dns(query, 20, 10, 1000);

        g_assert_cmpstr(q, ==, "query|www.ex|TYPE65530||");
        g_assert_cmpstr(a, ==, "response|a|A|NXDOMAIN||A 1.2.3.4|MX 5 a|TXT \\027[2Jabcd…");
        g_assert_cmpstr(few, ==, "response|a|A|NXDOMAIN|bound|A 1.2.3.4");
        g_assert_cmpstr(small, ==, "response|a|A|NXDOMAIN|bound|A 1.2.3.4");
        g_assert_cmpstr(cut, ==, "query||||cut");
}

/* ---- which flows were told */

static void mark_is_written_where_there_is_no_room_for_another_file(void) {
        g_autofree char *dir = g_dir_make_tmp("bulkhead-mark-XXXXXX", NULL), *name = g_strnfill(255, 'm'), *path = g_build_filename(dir, name, NULL);
        BhFlowMark m = { .gone = TRUE, .boot_id = "a-boot-id-that-is-longer", .after = 1000000, .through = 2000000, .failed_after = 900000, .failed_through = 1900000 }, got;
        g_autoptr(GError) error = NULL;

        /* a name without room for what is appended to that of a temporary file: no second file can be made, as on a full disk */
        g_assert_false(bh_flow_mark_write(path, &m, &error));
        g_assert_nonnull(error);
        g_assert_true(g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
        g_assert_true(bh_flow_mark_write(path, &m, NULL));
        g_assert_true(bh_flow_mark_read(path, &got) && got.gone);
        m.gone = FALSE;
        m.after = 2000000;
        m.through = 2000001;
        g_strlcpy(m.boot_id, "short", sizeof(m.boot_id));
        g_assert_true(bh_flow_mark_write(path, &m, NULL));
        g_assert_true(bh_flow_mark_read(path, &got));
        g_assert_cmpstr(got.boot_id, ==, "short");
        g_assert_cmpuint(got.after, ==, 2000000);
        g_assert_cmpuint(got.through, ==, 2000001);
        g_assert_cmpuint(got.failed_through, ==, 1900000);
        g_assert_false(got.gone);
        g_unlink(path);
        g_rmdir(dir);
}

static void mark_that_makes_no_sense_says_nothing(void) {
        g_autofree char *dir = g_dir_make_tmp("bulkhead-mark-XXXXXX", NULL), *path = g_build_filename(dir, BH_FLOW_MARK, NULL);
        static const char *const bad[] = { "", "1 boot", "2 boot 1 2 1 2\n", "1 boot 3 2 1 2\n", "1 boot 1 2 1 3\n", "1 boot 1 99999999999999999999999 1 2\n" };

        g_assert_cmpuint(bh_flow_mark_through(dir), ==, 0);
        for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_assert_true(g_file_set_contents(path, bad[i], -1, NULL));
                g_assert_cmpuint(bh_flow_mark_through(dir), ==, 0);
        }
        g_assert_true(g_file_set_contents(path, "1 boot 1 77 1 2 gone\n", -1, NULL));
        g_assert_cmpuint(bh_flow_mark_through(dir), ==, 77);
        g_assert_true(g_file_set_contents(path, "1 boot 1 77 1 2\n 1 2 gone\n", -1, NULL));
        g_assert_cmpuint(bh_flow_mark_through(dir), ==, 0);
        g_unlink(path);
        g_rmdir(dir);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/sensor/observe/new_is_told_at_once_and_repeats_later", new_is_told_at_once_and_repeats_later);
        g_test_add_func("/sensor/observe/quiet_ones_are_forgotten", quiet_ones_are_forgotten);
        g_test_add_func("/sensor/observe/beyond_the_bounds_is_counted", beyond_the_bounds_is_counted);
        g_test_add_func("/sensor/observe/opens_are_counted_where_they_belong", opens_are_counted_where_they_belong);
        g_test_add_func("/sensor/observe/files_leave_room_for_programs", files_leave_room_for_programs);
        g_test_add_func("/sensor/observe/system_calls_have_a_share_of_their_own", system_calls_have_a_share_of_their_own);
        g_test_add_func("/sensor/observe/arguments_leave_room_for_programs", arguments_leave_room_for_programs);
        g_test_add_func("/sensor/observe/long_paths_are_bounded", long_paths_are_bounded);
        g_test_add_func("/sensor/observe/a_repeat_allocates_nothing", a_repeat_allocates_nothing);
        g_test_add_func("/sensor/observe/speed", speed);
        g_test_add_func("/sensor/findings/trouble_is_told_once_a_window", trouble_is_told_once_a_window);
        g_test_add_func("/sensor/findings/each_response_is_told_by_itself", each_response_is_told_by_itself);
        g_test_add_func("/sensor/findings/flood_of_trouble_is_bounded", flood_of_trouble_is_bounded);
        g_test_add_func("/sensor/findings/attributes_that_are_torn_do_no_harm", attributes_that_are_torn_do_no_harm);
        g_test_add_func("/sensor/findings/each_end_is_a_finding_of_its_own", each_end_is_a_finding_of_its_own);
        g_test_add_func("/sensor/ends/ends_wait_until_they_are_told", ends_wait_until_they_are_told);
        g_test_add_func("/sensor/ends/ends_are_bounded_and_counted", ends_are_bounded_and_counted);
        g_test_add_func("/sensor/inventory/containers_are_carried_whole", containers_are_carried_whole);
        g_test_add_func("/sensor/inventory/full_list_is_split_and_says_so_once", full_list_is_split_and_says_so_once);
        g_test_add_func("/sensor/inventory/huge_container_is_shortened_and_says_so", huge_container_is_shortened_and_says_so);
        g_test_add_func("/sensor/flow_mark/written_where_there_is_no_room_for_another_file", mark_is_written_where_there_is_no_room_for_another_file);
        g_test_add_func("/sensor/flow_mark/one_that_makes_no_sense_says_nothing", mark_that_makes_no_sense_says_nothing);
        g_test_add_func("/sensor/dns/messages_as_text", dns_messages_as_text);
        return g_test_run();
}
