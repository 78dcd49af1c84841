/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence_report.h"

#include <jansson.h>
#include <string.h>

#include "base/escape.h"
#include "evidence/evidence.h"

#define SIGNATURE 129 /* of a line: a blank and 128 digits */

static const char head[] =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<style>body{font:15px/1.5 sans-serif;max-width:80em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;width:100%}td,th{border:1px solid #bbb;padding:.3em .5em;text-align:left;"
        "vertical-align:top;overflow-wrap:anywhere}</style>\n";

/* Nothing of it is markup, a control character or an override of the direction of text. */
static void append_text(GString *out, const char *text) {
        g_autofree char *plain = bh_escape_cell(text ? text : "", -1), *safe = g_markup_escape_text(plain, -1);

        g_string_append(out, safe);
}

static void cell(GString *out, const char *text) {
        g_string_append(out, "<td>");
        append_text(out, text);
        g_string_append(out, "</td>");
}

static void time_cell(GString *out, gint64 ns) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(ns / 1000000000);
        g_autofree char *text = t ? g_date_time_format(t, "%Y-%m-%d %H:%M:%S UTC") : NULL;

        cell(out, text);
}

static const char *member(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key));
}

static void append_timeline(GString *out, const char *lines) {
        json_auto_t *all = json_loads(lines, 0, NULL);
        json_t *l;
        size_t i;

        g_string_append(out, "<h2>Timeline</h2>\n<table><tr><th>Time</th><th>Rule</th><th>Priority</th><th>Where</th><th>Program</th><th>What</th><th>Times</th></tr>\n");
        json_array_foreach(all, i, l) {
                const char *container = member(l, "container_name");

                g_string_append(out, "<tr>");
                cell(out, member(l, "time"));
                cell(out, member(l, "rule"));
                cell(out, member(l, "priority"));
                cell(out, container && *container ? container : member(l, "node"));
                cell(out, member(l, "exe"));
                cell(out, member(l, "output"));
                g_string_append_printf(out, "<td>%" JSON_INTEGER_FORMAT "</td></tr>\n", json_integer_value(json_object_get(l, "count")));
        }
        g_string_append(out, "</table>\n");
}

static void append_items(GString *out, const GPtrArray *items) {
        g_string_append(out, "<h2>Evidence</h2>\n<table><tr><th>Number</th><th>Time</th><th>Kind</th><th>Why</th><th>Path</th><th>Node</th><th>Bytes (SHA-256)</th></tr>\n");
        for (guint i = items->len; i-- > 0;) { /* the oldest first */
                const BhStoreEvidence *e = items->pdata[i];
                gsize len = strlen(e->line);
                json_auto_t *facts = json_loadb(e->line, len > SIGNATURE ? len - SIGNATURE : 0, 0, NULL);

                g_string_append_printf(out, "<tr><td>%" G_GINT64_FORMAT "</td>", e->serial);
                time_cell(out, e->time_ns);
                cell(out, e->kind);
                cell(out, member(facts, "why"));
                cell(out, member(facts, "path"));
                cell(out, e->node);
                cell(out, e->sha256);
                g_string_append(out, "</tr>\n");
        }
        g_string_append(out, "</table>\n");
}

/* It may be another by the time that this is read. */
static void append_now(GString *out, const char *now, gint64 now_ns) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(now_ns / 1000000000);
        g_autofree char *when = t ? g_date_time_format(t, "%Y-%m-%d %H:%M:%S UTC") : g_strdup("?");

        if (!*now)
                return;
        g_string_append_printf(out, "<p>As of %s, when this report was made: ", when);
        append_text(out, now);
        g_string_append(out, "</p>\n");
}

GString *bh_evidence_report_html(const BhStoreIncident *incident, const char *now, gint64 now_ns, const GPtrArray *items) {
        GString *out = g_string_new(head);

        g_string_append_printf(out, "<title>Incident %" G_GUINT64_FORMAT "</title></head><body>\n<h1>Incident %" G_GUINT64_FORMAT ": ", incident->id, incident->id);
        append_text(out, incident->title);
        g_string_append(out, "</h1>\n<p>");
        append_text(out, incident->story);
        g_string_append(out, "</p>\n<p>State: ");
        append_text(out, incident->state);
        if (*incident->verdict) {
                g_string_append(out, ", verdict: ");
                append_text(out, incident->verdict);
        }
        g_string_append(out, "</p>\n");
        append_now(out, now, now_ns);
        append_timeline(out, incident->lines);
        append_items(out, items);
        g_string_append(out, "</body></html>\n");
        return out;
}
