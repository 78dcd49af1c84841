/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "parse/dns_stream.h"

typedef struct {
        GPtrArray *texts; /* char * */
        guint32 total;
        gsize len;
} Told;

static void on_message(const guint8 *bytes, gsize len, guint32 total, gpointer data) {
        Told *t = data;

        g_ptr_array_add(t->texts, g_strndup((const char *) bytes, len));
        t->total = total;
        t->len = len;
}

static Told told_new(void) {
        return (Told){ g_ptr_array_new_with_free_func(g_free), 0, 0 };
}

/* Two messages of 13 and 12 bytes. */
static const char stream[] = "\0\015first-message\0\014second-one-x";

static void messages_come_out_however_they_are_cut(void) {
        for (gsize step = 1; step < sizeof(stream); step++) {
                BhDnsStream s = { 0 };
                Told t = told_new();

                for (gsize at = 0; at < sizeof(stream) - 1; at += step)
                        bh_dns_stream_feed(&s, at, (const guint8 *) stream + at, MIN(step, sizeof(stream) - 1 - at), on_message, &t);
                g_assert_cmpuint(t.texts->len, ==, 2);
                g_assert_cmpstr(t.texts->pdata[0], ==, "first-message");
                g_assert_cmpstr(t.texts->pdata[1], ==, "second-one-x");
                g_assert_false(s.lost);
                g_ptr_array_unref(t.texts);
                bh_dns_stream_clear(&s);
        }
}

static void gap_in_a_message_cuts_it_alone(void) {
        BhDnsStream s = { 0 };
        Told t = told_new();

        bh_dns_stream_feed(&s, 0, (const guint8 *) stream, 7, on_message, &t);
        bh_dns_stream_feed(&s, 10, (const guint8 *) stream + 10, sizeof(stream) - 1 - 10, on_message, &t);
        g_assert_cmpuint(t.texts->len, ==, 2);
        g_assert_cmpstr(t.texts->pdata[0], ==, "first");
        g_assert_cmpstr(t.texts->pdata[1], ==, "second-one-x");
        /* told twice */
        bh_dns_stream_feed(&s, 10, (const guint8 *) stream + 10, sizeof(stream) - 1 - 10, on_message, &t);
        g_assert_cmpuint(t.texts->len, ==, 2);
        g_ptr_array_unref(t.texts);
        bh_dns_stream_clear(&s);
}

static void what_cannot_be_told_apart_is_lost(void) {
        static const guint8 too_short[] = { 0, 4, 'a', 'b', 'c', 'd', 0, 12 }, half[] = { 0 };
        BhDnsStream s = { 0 };
        Told t = told_new();

        bh_dns_stream_feed(&s, 0, too_short, sizeof(too_short), on_message, &t);
        g_assert_true(s.lost);
        bh_dns_stream_clear(&s);

        s = (BhDnsStream){ 0 };
        bh_dns_stream_feed(&s, 100, half, 1, on_message, &t); /* began before */
        g_assert_true(s.lost);
        bh_dns_stream_clear(&s);

        s = (BhDnsStream){ 0 };
        bh_dns_stream_feed(&s, 0, half, 1, on_message, &t);
        bh_dns_stream_feed(&s, 2, half, 1, on_message, &t); /* a length is missing */
        g_assert_true(s.lost);
        bh_dns_stream_clear(&s);
        g_assert_cmpuint(t.texts->len, ==, 0);
        g_ptr_array_unref(t.texts);
}

static void long_message_is_kept_in_part(void) {
        static guint8 many[2 + 60000];
        BhDnsStream s = { 0 };
        Told t = told_new();

        many[0] = 60000 >> 8;
        many[1] = (guint8) 60000;
        memset(many + 2, 'x', 60000);
        for (gsize at = 0; at < sizeof(many); at += 1000)
                bh_dns_stream_feed(&s, at, many + at, MIN(1000, sizeof(many) - at), on_message, &t);
        g_assert_cmpuint(t.texts->len, ==, 1);
        g_assert_cmpuint(t.total, ==, 60000);
        g_assert_cmpuint(t.len, ==, BH_DNS_STREAM_KEEP);
        g_ptr_array_unref(t.texts);
        bh_dns_stream_clear(&s);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/dns_stream/messages_come_out_however_they_are_cut", messages_come_out_however_they_are_cut);
        g_test_add_func("/dns_stream/gap_in_a_message_cuts_it_alone", gap_in_a_message_cuts_it_alone);
        g_test_add_func("/dns_stream/what_cannot_be_told_apart_is_lost", what_cannot_be_told_apart_is_lost);
        g_test_add_func("/dns_stream/long_message_is_kept_in_part", long_message_is_kept_in_part);
        return g_test_run();
}
