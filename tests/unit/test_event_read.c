/* SPDX-License-Identifier: Apache-2.0 */
/* Events read back from their JSON. */
#include "event/codec.h"
#include "event_fill.h"

#define NOW 1795489700123456789ull /* 2026-11-24T03:08:20.123456789Z */

static char *json_of(const struct bh_event *e) {
        GString *s = g_string_new(NULL);

        bh_event_to_json(e, s);
        return g_string_free(s, FALSE);
}

static char *text_of(const struct bh_event *e) {
        GString *s = g_string_new(NULL);

        bh_event_to_text(e, s);
        return g_string_free(s, FALSE);
}

static void json_is_read_back(void) {
        for (guint round = 0; round < 200; round++) {
                struct bh_event e;
                g_autoptr(GError) error = NULL;

                bh_test_fill(&e, round);
                /* the largest number is a time of five digits a year */
                for (guint i = 0; i < BH_F_COUNT; i++)
                        if (bh_fields[i].kind == BH_KIND_TIME)
                                *(guint64 *) (void *) ((char *) &e + bh_fields[i].offset) = NOW * (round % 3) / 2;

                g_autofree char *json = json_of(&e), *text = text_of(&e);
                g_autofree struct bh_event *back = bh_event_from_json(json, strlen(json), &error);
                g_assert_no_error(error);
                g_autofree char *again = json_of(back), *text_again = text_of(back);
                g_assert_cmpstr(json, ==, again);
                g_assert_cmpstr(text, ==, text_again);
        }
}

static void json_that_is_no_event_is_refused(void) {
        static const char *const bad[] = {
                "", "[]", "{", "{\"proc.pid\":-1}", "{\"proc.pid\":4294967296}", "{\"proc.pid\":\"1\"}", "{\"time\":\"2026-11-24\"}", "{\"type\":\"nothing\"}",
                "{\"flags\":[\"nothing\"]}", "{\"flags\":1}", "{\"net.laddr\":\"1.2.3\"}", "{\"proc.args\":[1]}", "{\"container.labels\":{\"a\":1}}", "{\"proc.exe\":[]}",
                "{\"cred.cap_effective\":\"0xg\"}", "{\"exit.code\":2147483648}", "{\"net.outgoing\":1}",
                "{\"proc.args\":[\"a\\u0000b\"]}", "{\"proc.args\":[\"a\\\\x00b\"]}", "{\"container.labels\":{\"a\":\"b\\u0000c\"}}", "{\"container.labels\":{\"\\\\x00\":\"\"}}",
                "{\"time\":\"2554-07-21T23:34:33.999999999Z\"}", "{\"proc.exe\":\"\x1b\xff\"}", "{\xc3\x1b[31m",
        };

        for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;
                g_autofree struct bh_event *e = bh_event_from_json(bad[i], strlen(bad[i]), &error);

                g_assert_null(e);
                g_assert_error(error, BH_EVENT_ERROR, 0);
                /* people see it in a terminal */
                g_assert_true(g_utf8_validate(error->message, -1, NULL) && !strpbrk(error->message, "\x1b\n"));
        }
        static const char of_newer[] = "{\"of.a.newer.sensor\":{},\"proc.pid\":7}";
        g_autofree struct bh_event *newer = bh_event_from_json(of_newer, strlen(of_newer), NULL);
        g_assert_nonnull(newer);
        g_assert_cmpuint(newer->pid, ==, 7);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/event_read/json_is_read_back", json_is_read_back);
        g_test_add_func("/event_read/json_that_is_no_event_is_refused", json_that_is_no_event_is_refused);
        return g_test_run();
}
