/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "commands.h"
#include "event/codec.h"
#include "output.h"

#define LIMIT_LEAST 16
#define LIVE_WAIT_US (3 * G_USEC_PER_SEC) /* for the nodes to be asked */

typedef struct {
        const BhEventsAsk *ask;
        GHashTable *seen;   /* node -> highest number of an event that was printed: guint64, owned. NULL: live ones alone */
        GPtrArray *held;    /* live ones that came before the recorded ones were printed; NULL: not holding */
        GHashTable *away;   /* nodes that went, set */
        gboolean asked;     /* a node has begun to send */
        gboolean trouble;
} Show;

/* ---- printing ---- */

static void remember(Show *s, const struct bh_event *e) {
        g_autofree char *node = g_strndup(e->node.p ? e->node.p : "", e->node.len);
        guint64 *last = g_hash_table_lookup(s->seen, node);

        if (!last) {
                last = g_new0(guint64, 1);
                g_hash_table_insert(s->seen, g_steal_pointer(&node), last);
        }
        *last = MAX(*last, e->id);
}

static gboolean was_seen(const Show *s, const struct bh_event *e) {
        g_autofree char *node = g_strndup(e->node.p ? e->node.p : "", e->node.len);
        const guint64 *last = g_hash_table_lookup(s->seen, node);

        return last && e->id <= *last;
}

static gboolean print_event(Show *s, const char *json, gsize len, gboolean recorded) {
        g_autofree struct bh_event *e = s->seen || !s->ask->json ? bh_event_from_json(json, len, NULL) : NULL;

        if (s->seen && e && !recorded && was_seen(s, e))
                return TRUE;
        if (s->seen && e && recorded)
                remember(s, e);
        /* of a newer sensor, with names that this program does not know: as it came */
        if (s->ask->json || !e)
                return bh_out_write(json, len) && bh_out_write("\n", 1);

        g_autoptr(GString) text = g_string_sized_new(256);
        bh_event_to_text(e, text);
        return bh_events_print_text(text->str, text->len);
}

static void note(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void note(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap), *line = bh_escape_cell(text, -1);
        va_end(ap);
        fflush(stdout);
        fprintf(stderr, "bulkhead: %s\n", line);
}

/* ---- recorded ---- */

static GString *target_of(const BhEventsAsk *ask, const char *path) {
        GString *target = g_string_new(path);
        g_autoptr(GString) types = g_string_new(NULL);

        for (guint32 t = 0; t < BH_EV_MAX; t++)
                if (ask->types[t / 64] >> (t % 64) & 1)
                        g_string_append_printf(types, "%s%s", types->len ? "," : "", bh_event_type_name(t));
        bh_api_param(target, "node", ask->node);
        bh_api_param(target, "container", ask->container);
        bh_api_param(target, "filter", ask->filter);
        bh_api_param(target, "types", types->len ? types->str : NULL);
        return target;
}

/* What each node said of its answer. TRUE if one had more than the central takes. */
static gboolean was_cut(const json_t *end) {
        json_t *node;
        size_t i;

        json_array_foreach(json_object_get(end, "nodes"), i, node)
                if (json_is_true(json_object_get(node, "cut")))
                        return TRUE;
        return FALSE;
}

static void say_missing(Show *s, const json_t *end) {
        json_t *node;
        size_t i;

        json_array_foreach(json_object_get(end, "nodes"), i, node) {
                const char *why = json_string_value(json_object_get(node, "error"));
                guint64 dropped = bh_json_number(node, "dropped");

                if (why) {
                        note("events of node %s are missing: %s", bh_json_text(node, "node"), why);
                        s->trouble = TRUE;
                }
                if (dropped)
                        note("%" G_GUINT64_FORMAT " events of node %s are left out here; they are recorded there", dropped, bh_json_text(node, "node"));
        }
        if (bh_json_number(end, "undecodable"))
                note("%" G_GUINT64_FORMAT " events could not be read by the central: it is of another version than a sensor", bh_json_number(end, "undecodable"));
}

static gboolean recorded(Show *s, BhApi *api, GError **error) {
        guint64 now = (guint64) g_get_real_time() * 1000;
        g_autofree char *since = s->ask->ago_ns ? g_strdup_printf("%" G_GUINT64_FORMAT, now > s->ask->ago_ns ? now - s->ask->ago_ns : 1) : NULL;
        guint limit = s->ask->limit ? s->ask->limit : BH_EVENTS_MAX, lines = 0;
        g_autoptr(GString) text = NULL;
        json_auto_t *last = NULL;
        char *end = NULL;
        gboolean less = FALSE;

        for (;;) {
                g_autoptr(GString) target = target_of(s->ask, "/api/v1/events");
                g_autofree char *number = g_strdup_printf("%u", limit);

                bh_api_param(target, "format", "ndjson");
                bh_api_param(target, "since", since);
                bh_api_param(target, "limit", number);
                if (!(text = bh_api_get_text(api, target->str, error)))
                        return FALSE;
                /* the last line says how it went */
                while (text->len && text->str[text->len - 1] == '\n')
                        g_string_truncate(text, text->len - 1);
                end = strrchr(text->str, '\n');
                end = end ? end + 1 : text->str;
                last = json_loads(end, 0, NULL);
                if (!json_object_get(last, "end")) {
                        g_set_error(error, BH_API_ERROR, BH_API_ERROR_FAILED, "the central's answer breaks off: it was stopped meanwhile; try again");
                        return FALSE;
                }
                /* a node gives the oldest of its last ones first, so what was cut off is the newest: ask for less of them */
                if (!was_cut(json_object_get(last, "end")) || limit <= LIMIT_LEAST)
                        break;
                g_string_free(g_steal_pointer(&text), TRUE);
                g_clear_pointer(&last, json_decref);
                limit /= 2;
                less = TRUE;
        }

        for (const char *line = text->str, *nl; line < end; line = nl + 1, lines++) {
                nl = memchr(line, '\n', (gsize) (end - line));
                if (!nl || !print_event(s, line, (gsize) (nl - line), TRUE))
                        break;
        }
        say_missing(s, json_object_get(last, "end"));
        if (less)
                note("only the last %u are shown, for more is too much for one answer: take a shorter --since, or ask on the node with --sensor", limit);
        else if (!s->ask->limit && lines >= limit)
                note("only the last %u are shown: take a shorter --since, or ask on the node with --sensor", limit);
        return TRUE;
}

/* ---- live ---- */

static gboolean on_live(const char *event, const char *data, gsize len, gpointer user) {
        Show *s = user;

        if (g_str_equal(event, "event")) {
                s->asked = TRUE;
                if (!s->held)
                        return print_event(s, data, len, FALSE);
                g_ptr_array_add(s->held, g_strndup(data, len));
                return TRUE;
        }

        json_auto_t *o = json_loadb(data, len, 0, NULL);
        const char *node = bh_json_text(o, "node"), *state = bh_json_text(o, "state"), *why = bh_json_text(o, "why");
        if (g_str_equal(event, "dropped")) {
                note("%" G_GUINT64_FORMAT " events of node %s are left out here (%s)", bh_json_number(o, "count"), node, why);
        } else if (g_str_equal(event, "node") && g_str_equal(state, "down")) {
                note("node %s is away%s%s: its events are missing here until it is back", node, *why ? ": " : "", why);
                g_hash_table_add(s->away, g_strdup(node));
        } else if (g_str_equal(event, "node")) {
                s->asked = TRUE;
                if (g_hash_table_remove(s->away, node))
                        note("node %s is back; what happened meanwhile is in its recorder", node);
        }
        return TRUE;
}

static gboolean live(Show *s, BhApi *api, gboolean past, GError **error) {
        g_autoptr(GString) target = target_of(s->ask, "/api/v1/events/live");
        g_autoptr(BhApiStream) stream = bh_api_stream_new(api, target->str, on_live, s);
        gint64 until = g_get_monotonic_time() + LIVE_WAIT_US;
        BhClientState state = BH_CLIENT_MORE;

        if (past) {
                /* listening before the recorded ones are asked for, so that nothing falls between */
                s->held = g_ptr_array_new_with_free_func(g_free);
                while (state == BH_CLIENT_MORE && !s->asked && g_get_monotonic_time() < until)
                        state = bh_api_stream_run(stream, 100, error);
                if (state == BH_CLIENT_FAILED || !recorded(s, api, error))
                        return FALSE;

                g_autoptr(GPtrArray) held = g_steal_pointer(&s->held);
                for (guint i = 0; i < held->len; i++)
                        if (!print_event(s, held->pdata[i], strlen(held->pdata[i]), FALSE))
                                return TRUE;
        }
        while (state == BH_CLIENT_MORE)
                state = bh_api_stream_run(stream, 1000, error);
        if (state == BH_CLIENT_END)
                g_set_error(error, BH_API_ERROR, BH_API_ERROR_FAILED, "no more events: the central stopped; ask again when it is back");
        return state == BH_CLIENT_ENOUGH;
}

int bh_events_of_central(BhApi *api, const BhEventsAsk *ask) {
        gboolean past = !ask->follow || ask->ago_ns || ask->limit;
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free), away = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        Show s = { .ask = ask, .seen = ask->follow && past ? seen : NULL, .away = away };
        g_autoptr(GError) error = NULL;

        if (ask->limit > BH_EVENTS_MAX)
                return bh_cli_usage("a central gives the last %u events at most; on the node itself, --sensor gives more", BH_EVENTS_MAX);
        if (!(ask->follow ? live(&s, api, past, &error) : recorded(&s, api, &error))) {
                int code = bh_cli_fail(error);

                if (g_error_matches(error, BH_API_ERROR, BH_API_ERROR_AWAY))
                        fprintf(stderr, "bulkhead: \"bulkhead events --sensor\" asks the sensor on this machine\n");
                return code;
        }
        return bh_out_finish() || s.trouble ? BH_EXIT_FAILED : BH_EXIT_OK;
}
