/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the command line. */
#include <string.h>

#include <signal.h>

#include "base/escape.h"
#include "cli/child.h"
#include "cli/graph_dot.h"
#include "cli/problems.h"
#include "cli/sse.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

static gboolean collect(const char *event, const char *data, gsize len, gpointer user) {
        g_assert_cmpuint(strlen(data), ==, len);
        g_string_append_printf(user, "%s=%s;", event, data);
        return !g_str_equal(event, "stop");
}

static void events_come_whole_however_the_bytes_are_cut(void) {
        static const char stream[] = ": beat\n\nretry: 1000\n\nid: 7\nevent: event\ndata: {\"a\":1}\n\ndata: one\ndata:two\r\n\r\nevent: nothing\n\nevent: x\ndata\n\nevent: stop\ndata: 1\n\ndata: never\n\n";

        for (gsize step = 1; step < sizeof(stream); step++) {
                g_autoptr(GString) seen = g_string_new(NULL);
                BhSseState state = BH_SSE_MORE;
                BhSse sse;

                bh_sse_init(&sse);
                for (gsize at = 0; at < sizeof(stream) - 1 && state == BH_SSE_MORE; at += step)
                        state = bh_sse_feed(&sse, stream + at, MIN(step, sizeof(stream) - 1 - at), collect, seen);
                bh_sse_clear(&sse);
                g_assert_cmpint(state, ==, BH_SSE_ENOUGH);
                g_assert_cmpstr(seen->str, ==, "event={\"a\":1};message=one\ntwo;x=;stop=1;");
        }
}

static void an_endless_event_is_refused(void) {
        g_autofree char *piece = g_strnfill(1 << 20, 'x');
        g_autoptr(GString) seen = g_string_new(NULL);
        BhSseState state = BH_SSE_MORE;
        BhSse sse;
        guint n = 0;

        bh_sse_init(&sse);
        for (; state == BH_SSE_MORE && n < 100; n++)
                state = bh_sse_feed(&sse, piece, 1 << 20, collect, seen);
        bh_sse_clear(&sse);
        g_assert_cmpint(state, ==, BH_SSE_TOO_LARGE);
        g_assert_cmpuint(n, ==, (BH_SSE_MAX >> 20) + 1);
}

static void who_worked_comes_back_soon_and_who_does_not_start_is_tried_less_often(void) {
        BhChild c = BH_CHILD_INIT("sensor");
        gint64 now = 1000 * G_USEC_PER_SEC, delay = 0;

        c.ready = TRUE;
        c.started_us = now - G_USEC_PER_SEC;
        for (guint i = 0; i < 100; i++)
                g_assert_cmpint(bh_child_plan(&c, now), <=, G_USEC_PER_SEC / 2);
        c.started_us = now - 60 * G_USEC_PER_SEC;
        g_assert_cmpint(bh_child_plan(&c, now), ==, G_USEC_PER_SEC / 10);
        for (guint i = 0; i < 100; i++)
                bh_child_plan(&c, now);
        /* killed often, and then once before it was ready */
        c.ready = FALSE;
        g_assert_cmpint(bh_child_plan(&c, now), ==, G_USEC_PER_SEC / 10);
        c.failures = 0;
        for (guint i = 0; i < 100; i++) {
                gint64 next = bh_child_plan(&c, now);

                g_assert_cmpint(next, >=, delay);
                g_assert_cmpint(c.again_us, ==, now + next);
                delay = next;
        }
        g_assert_cmpint(delay, ==, 30 * G_USEC_PER_SEC);
        g_assert_cmpuint(c.restarts, ==, 302);
        /* somebody kills it in the middle of each start: once that ends, it is there within seconds */
        c.how = SIGKILL; /* as waitpid() tells it */
        g_assert_cmpint(bh_child_plan(&c, now), ==, G_USEC_PER_SEC);
        c.how = SIGSEGV;
        g_assert_cmpint(bh_child_plan(&c, now), ==, 30 * G_USEC_PER_SEC);
}

static gboolean says(const char *status, const char *words) {
        g_autoptr(json_t) s = json_loads(status, 0, NULL);
        g_autoptr(GPtrArray) list = bh_problems_of(s);

        for (guint i = 0; i < list->len; i++)
                if (strstr(list->pdata[i], words))
                        return TRUE;
        return FALSE;
}

static void trouble_with_central_and_inspector_is_said(void) {
        g_assert_true(says("{\"bus\":{\"state\":\"not connected\",\"spool\":{\"messages\":3,\"bytes\":2048}}}", "3 messages (2.0 KiB) wait for it"));
        g_assert_false(says("{\"bus\":{\"state\":\"not connected\",\"spool\":{\"messages\":0}}}", "CENTRAL"));
        g_assert_false(says("{\"bus\":{\"state\":\"connected\",\"spool\":{\"messages\":9}},\"inspector\":{\"state\":\"ready\",\"problem\":\"\",\"lost\":{\"died\":0}}}", ""));
        g_assert_true(says("{\"bus\":{\"state\":\"connected\",\"lost\":17}}", "LOST before the central had them: 17"));
        g_assert_true(says("{\"bus\":{\"state\":\"failed\",\"problem\":\"no\\u001bdisk\"}}", "no\\x1bdisk"));
        g_assert_true(says("{\"inspector\":{\"state\":\"ready\",\"lost\":{\"died\":2,\"late\":1}}}", "3 questions got no answer (died 2, late 1)"));
        g_assert_true(says("{\"inspector\":{\"state\":\"not ready\",\"problem\":\"no program\"}}", "no program"));
        g_assert_true(says("{\"recorder\":{\"state\":\"ok\",\"clock_distrusted\":true}}", "restart the sensor"));
        g_assert_false(says("{\"recorder\":{\"state\":\"ok\",\"clock_distrusted\":false}}", "CLOCK"));
}

/* What is in quotes for a reader of the DOT language that knows nothing else; NULL when a quote is left open. */
static char **quoted_of(const char *dot) {
        g_autoptr(GStrvBuilder) b = g_strv_builder_new();

        for (const char *p = dot; *p; p++) {
                g_autoptr(GString) text = g_string_new(NULL);

                if (*p != '"')
                        continue;
                for (p++; *p && *p != '"'; p++) {
                        if (*p == '\\')
                                p++;
                        g_string_append_c(text, *p);
                }
                if (!*p)
                        return NULL;
                g_strv_builder_add(b, text->str);
        }
        return g_strv_builder_end(b);
}

static void names_stay_in_their_quotes_for_graphviz(void) {
        static const char hostile[] = "x\"]; evil [label=\"<b>\\N\nnew\x1b[31m\xff}\\";
        g_autofree char *shown = bh_escape_cell(hostile, -1);
        json_t *nodes = json_pack("[{s:s%, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}]", "id", "w:a", (size_t) 3, "kind", "workload", "name", "web", "application", "app\"{", "id", "net:b", "kind", "network", "name",
                                  "10.0.0.0/8", "application", "");
        json_t *edges = json_pack("[{s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:i}]", "from", "w:a", "to", "net:b", "proto", "tcp", "port", 80, "path", "", "protocol", "http/1", "connections", 2, "refused", 2);

        /* only bytes that are no text cannot come as JSON */
        json_object_set_new(json_array_get(nodes, 0), "name", json_stringn_nocheck(hostile, sizeof(hostile) - 1));
        json_auto_t *map = json_pack("{s:o, s:o}", "nodes", nodes, "edges", edges);
        g_autofree char *dot = bh_graph_dot(map);
        g_auto(GStrv) texts = quoted_of(dot);

        g_assert_nonnull(texts);
        g_assert_true(g_strv_contains((const char *const *) texts, shown));
        g_assert_true(g_strv_contains((const char *const *) texts, "app\"{"));
        g_assert_true(g_strv_contains((const char *const *) texts, "http/1 tcp/80"));
        g_assert_nonnull(strstr(dot, "\"w:a\" -> \"net:b\" ["));
        g_assert_nonnull(strstr(dot, "style=dashed"));
        for (const char *p = dot; *p; p++)
                g_assert_true(*p == '\n' || (guchar) *p >= 0x20);
        g_assert_true(g_str_has_suffix(dot, "}\n"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/cli/events_come_whole_however_the_bytes_are_cut", events_come_whole_however_the_bytes_are_cut);
        g_test_add_func("/cli/an_endless_event_is_refused", an_endless_event_is_refused);
        g_test_add_func("/cli/who_worked_comes_back_soon", who_worked_comes_back_soon_and_who_does_not_start_is_tried_less_often);
        g_test_add_func("/cli/trouble_with_central_and_inspector_is_said", trouble_with_central_and_inspector_is_said);
        g_test_add_func("/cli/names_stay_in_their_quotes_for_graphviz", names_stay_in_their_quotes_for_graphviz);
        return g_test_run();
}
