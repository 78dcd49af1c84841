/* SPDX-License-Identifier: Apache-2.0 */
/* What the central writes and reads as text: JSON, server-sent events, bodies, batches of events. */
#include <glib.h>
#include <string.h>

#include "central/events.h"
#include "central/graph_json.h"
#include "central/hub.h"
#include "central/json_out.h"
#include "central/responses.h"
#include "event/codec.h"

static void json_is_escaped_and_closed(void) {
        g_autoptr(GString) out = g_string_new(NULL);
        json_t *o;

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "text", "a\"b\\c\n\t\x01</script>\x7fä");
        bh_json_text(out, "none", NULL);
        bh_json_text(out, "broken", "a\xff");
        bh_json_open(out, "list", '[');
        bh_json_int(out, NULL, -1);
        bh_json_uint(out, NULL, G_MAXINT64);
        bh_json_close(out, ']');
        bh_json_open(out, "empty", '[');
        bh_json_close(out, ']');
        bh_json_time(out, "time", 1767225600000000001);
        bh_json_time(out, "never", 0);
        bh_json_raw(out, "raw", "{\"a\":[1]}");
        bh_json_raw(out, "nothing", "");
        bh_json_bool(out, "yes", TRUE);
        bh_json_close(out, '}');
        bh_json_end(out);

        o = json_loads(out->str, 0, NULL);
        g_assert_nonnull(o);
        g_assert_cmpstr(json_string_value(json_object_get(o, "text")), ==, "a\"b\\c\n\t\x01</script>\x7fä");
        g_assert_true(json_is_null(json_object_get(o, "none")));
        g_assert_cmpstr(json_string_value(json_object_get(o, "broken")), ==, "a\xef\xbf\xbd");
        g_assert_cmpuint(json_array_size(json_object_get(o, "empty")), ==, 0);
        g_assert_cmpstr(json_string_value(json_object_get(o, "time")), ==, "2026-01-01T00:00:00.000000001Z");
        g_assert_true(json_is_null(json_object_get(o, "never")));
        g_assert_true(json_is_null(json_object_get(o, "nothing")));
        json_decref(o);
}

static void frames_hold_any_text(void) {
        g_autoptr(GString) out = g_string_new(NULL);

        bh_sse_append(out, 7, "finding", "one\ntwo\r\nthree\rfour");
        g_assert_cmpstr(out->str, ==, "id: 7\nevent: finding\ndata: one\ndata: two\ndata: three\ndata: four\n\n");
        g_string_truncate(out, 0);
        bh_sse_append(out, 0, NULL, "");
        g_assert_cmpstr(out->str, ==, "data: \n\n");
        g_string_truncate(out, 0);
        /* nobody forges an event through a text */
        bh_sse_append(out, 0, "event", "x\n\nevent: forged\ndata: y");
        g_assert_null(strstr(out->str, "\nevent: forged"));
}

static void ids_are_plain_numbers(void) {
        guint64 id = 1;

        g_assert_true(bh_sse_parse_id("0", &id));
        g_assert_cmpuint(id, ==, 0);
        g_assert_true(bh_sse_parse_id("9007199254740", &id));
        for (const char *const *p = (const char *const[]){ "", "-1", "1x", " 1", "1234567890123456", "99999999999999999999", "0x1", NULL }; *p; p++)
                g_assert_false(bh_sse_parse_id(*p, &id));
}

static const BhBodyField fields[] = {
        { "user", BH_BODY_TEXT, TRUE, 8 },
        { "on", BH_BODY_BOOL, FALSE, 0 },
        { "days", BH_BODY_INT, FALSE, 100 },
};

static void bodies_hold_what_is_described_and_no_more(void) {
        static const char *const bad[] = {
                "", " ", "null", "[]", "\"user\"", "{", "{}", "{\"user\":1}", "{\"user\":null}", "{\"user\":\"123456789\"}", "{\"user\":\"a\",\"user\":\"b\"}", "{\"user\":\"a\",\"x\":1}",
                "{\"user\":\"a\",\"on\":1}", "{\"user\":\"a\",\"days\":101}", "{\"user\":\"a\",\"days\":-1}", "{\"user\":\"a\",\"days\":1.5}", "{\"user\":\"a\",\"days\":1e2}",
                "{\"user\":\"a\\u0000b\"}", "{\"user\":\"a\\nb\"}", "{\"user\":\"\xff\"}", "{\"user\":\"\\ud800\"}", "{\"user\":\"a\"}x", "{\"user\":{\"a\":1}}",
                "{\"days\":99999999999999999999,\"user\":\"a\"}",
        };
        json_t *o;

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *why = NULL;

                o = bh_body_parse(bad[i], strlen(bad[i]), fields, G_N_ELEMENTS(fields), &why);
                if (o)
                        g_error("%s was accepted", bad[i]);
                g_assert_nonnull(why);
        }
        g_autofree char *why = NULL;
        static const char good[] = "{\"user\":\"ä\",\"on\":false,\"days\":100}";
        o = bh_body_parse(good, sizeof(good) - 1, fields, G_N_ELEMENTS(fields), &why);
        g_assert_null(why);
        g_assert_cmpstr(bh_body_text(o, "user"), ==, "ä");
        g_assert_null(bh_body_text(o, "days"));
        json_decref(o);
}

static void deep_bodies_are_refused_before_they_are_parsed(void) {
        g_autofree char *deep = g_strnfill(500000, '['), *why = NULL;

        g_assert_null(bh_body_parse(deep, 500000, fields, G_N_ELEMENTS(fields), &why));
        g_assert_nonnull(strstr(why, "deep"));
}

static void count_event(guint64 time_ns, const GString *json, gpointer data) {
        json_t *o = json_loadb(json->str, json->len, 0, NULL);

        g_assert_true(json_is_object(o));
        json_decref(o);
        *(guint64 *) data += time_ns;
}

static GBytes *batch(guint n, const char *tail, gsize tail_len) {
        GByteArray *out = g_byte_array_new();

        for (guint i = 0; i < n; i++) {
                struct bh_event e = { 0 };
                g_autoptr(GByteArray) one = g_byte_array_new();

                BH_SET(&e, time, 10 + i);
                BH_SET_STR(&e, node, "n\xff\"");
                bh_event_encode(&e, one);
                guint32 len = GUINT32_TO_LE(one->len);
                g_byte_array_append(out, (const guint8 *) &len, sizeof(len));
                g_byte_array_append(out, one->data, one->len);
        }
        g_byte_array_append(out, (const guint8 *) tail, (guint) tail_len);
        return g_byte_array_free_to_bytes(out);
}

static void batches_are_unpacked_and_rubbish_is_counted(void) {
        g_autoptr(GBytes) good = batch(3, "", 0), cut = batch(2, "\xff\xff\xff\x7f" "abc", 7), stub = batch(1, "\x01\x00", 2), bad = batch(1, "\x02\x00\x00\x00\xff\xff", 6);
        guint64 sum = 0;

        g_assert_cmpuint(bh_events_unpack(good, count_event, &sum), ==, 0);
        g_assert_cmpuint(sum, ==, 10 + 11 + 12);
        sum = 0;
        g_assert_cmpuint(bh_events_unpack(cut, count_event, &sum), ==, 1);
        g_assert_cmpuint(sum, ==, 10 + 11);
        sum = 0;
        g_assert_cmpuint(bh_events_unpack(stub, count_event, &sum), ==, 1);
        g_assert_cmpuint(bh_events_unpack(bad, count_event, &sum), ==, 1);
        g_assert_cmpuint(sum, ==, 20);
}

/* What nodes tell adds up beyond what readers of JSON take for a whole number: they would refuse all of the answer. */
static void numbers_of_the_map_stay_numbers_for_readers(void) {
        BhHalf h = { .id = 1, .node = "n", .container_id = "c", .exe = "/x", .role = BH_HALF_CLIENT, .proto = 6, .port = 80, .path = "", .peer_container_id = "d", .peer_name = "",
                     .peer_exe = "", .network_id = "", .protocol = "", .server_name = "", .first_ns = 1, .last_ns = 1, .open = G_MAXUINT64, .half_open = G_MAXUINT64 };
        g_autoptr(BhGraph) g = bh_graph_new();
        g_autoptr(GString) out = g_string_new(NULL);
        const BhGraphQuery q = { .level = BH_GRAPH_CONTAINER };
        const char *key;
        json_t *v;

#define BH_HALF_COUNT(member, other, meaning) h.counts.member = G_MAXUINT64;
#include "event/half_counts.tbl.h"
#undef BH_HALF_COUNT
        bh_graph_apply(g, &h);
        g_autoptr(BhGraphView) view = bh_graph_query(g, &q, NULL, 10);
        g_assert_cmpuint(view->edges->len, ==, 1);
        bh_graph_edge_open(out, NULL, view, view->edges->pdata[0]);
        bh_json_close(out, '}');
        bh_json_end(out);
        json_t *o = json_loads(out->str, 0, NULL);
        g_assert_nonnull(o);
        g_assert_cmpint(json_integer_value(json_object_get(o, "bytes_out")), ==, G_MAXINT64);
        g_assert_cmpint(json_integer_value(json_object_get(o, "open")), ==, G_MAXINT64);
        json_object_foreach(o, key, v)
                g_assert_true(!json_is_integer(v) || json_integer_value(v) >= 0);
        json_decref(o);
}

/* A node writes the detail of its responses, and an incident has many of them: its own page alone reads one of any size. */
static void what_a_response_refused_is_read_of_a_detail_of_some_size(void) {
        g_autofree char *filler = g_strnfill(64u << 10, ' '), *large = g_strdup_printf("{%s\"refused_acts\":{\"acts\":7}}", filler);
        char *empty = (char *) "";
        BhStoreResponse r = { .id = empty, .action = empty, .state = empty, .node = empty, .container_id = empty, .container_name = empty, .workload = empty, .application = empty, .actor = empty,
                .reason = empty, .allow = (char *) "[]", .deny = (char *) "[]", .result = empty, .detail = (char *) "{\"refused_acts\":{\"acts\":7}}" };
        g_autoptr(GString) brief = g_string_new(NULL), hidden = g_string_new(NULL), whole = g_string_new(NULL);

        bh_view_response(brief, NULL, &r, FALSE);
        g_assert_nonnull(strstr(brief->str, "\"refused\":{\"acts\":7"));
        r.detail = large;
        bh_view_response(hidden, NULL, &r, FALSE);
        g_assert_nonnull(strstr(hidden->str, "\"refused\":null"));
        bh_view_response(whole, NULL, &r, TRUE);
        g_assert_nonnull(strstr(whole->str, "\"refused\":{\"acts\":7"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/central/text/json_is_escaped_and_closed", json_is_escaped_and_closed);
        g_test_add_func("/central/text/frames_hold_any_text", frames_hold_any_text);
        g_test_add_func("/central/text/ids_are_plain_numbers", ids_are_plain_numbers);
        g_test_add_func("/central/text/bodies_hold_what_is_described_and_no_more", bodies_hold_what_is_described_and_no_more);
        g_test_add_func("/central/text/deep_bodies_are_refused_before_they_are_parsed", deep_bodies_are_refused_before_they_are_parsed);
        g_test_add_func("/central/text/batches_are_unpacked_and_rubbish_is_counted", batches_are_unpacked_and_rubbish_is_counted);
        g_test_add_func("/central/text/numbers_of_the_map_stay_numbers_for_readers", numbers_of_the_map_stay_numbers_for_readers);
        g_test_add_func("/central/text/what_a_response_refused_is_read_of_a_detail_of_some_size", what_a_response_refused_is_read_of_a_detail_of_some_size);
        return g_test_run();
}
