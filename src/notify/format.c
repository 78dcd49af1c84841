/* SPDX-License-Identifier: Apache-2.0 */
#include "notify/format.h"

#include <string.h>
#include <time.h>

static const char *const names[BH_FORMATS] = { [BH_FORMAT_TEXT] = "text", [BH_FORMAT_FALCO] = "falco", [BH_FORMAT_BULKHEAD] = "bulkhead" };

const char *bh_format_name(BhFormat f) {
        return names[f];
}

gboolean bh_format_parse(const char *name, BhFormat *f) {
        for (guint i = 0; i < BH_FORMATS; i++) {
                if (g_strcmp0(name, names[i]))
                        continue;
                *f = (BhFormat) i;
                return TRUE;
        }
        return FALSE;
}

const char *bh_format_content_type(BhFormat f) {
        return f == BH_FORMAT_TEXT ? "text/plain; charset=utf-8" : "application/json";
}

char *bh_format_time(gint64 ns) {
        gint64 fraction = ns % 1000000000;
        time_t seconds = (time_t) (ns / 1000000000);
        char day[32];
        struct tm tm;

        if (fraction < 0) {
                fraction += 1000000000;
                seconds--;
        }
        gmtime_r(&seconds, &tm);
        strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
        return g_strdup_printf("%s.%09" G_GINT64_FORMAT "Z", day, fraction);
}

/* Marks and separators that a terminal or a viewer acts on instead of showing them. */
static gboolean acts(gunichar c) {
        return (c >= 0x80 && c < 0xa0) || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x61c || c == 0xfeff;
}

void bh_format_append_line(GString *out, const char *text) {
        for (const char *p = text; *p; p = g_utf8_next_char(p)) {
                gunichar c = g_utf8_get_char(p);

                if (c < 0x20 || c == 0x7f)
                        g_string_append_printf(out, "\\x%02x", c);
                else if (acts(c))
                        g_string_append_printf(out, "\\u{%04x}", c);
                else
                        g_string_append_unichar(out, c);
        }
}

void bh_format_cut(GString *text, gsize max) {
        if (text->len <= max)
                return;
        while (max && ((guint8) text->str[max] & 0xc0) == 0x80)
                max--;
        g_string_truncate(text, max);
}

/* ---- text ---- */

/* A text that has its own bound of `max` bytes (0: none) before the number of equal ones is said. */
static void append_output(GString *out, const BhAlert *a, gsize max) {
        g_autoptr(GString) text = g_string_new(NULL);

        bh_format_append_line(text, *a->output ? a->output : a->rule);
        if (max)
                bh_format_cut(text, max);
        g_string_append(out, text->str);
        if (a->count > 1) {
                /* an incident's findings are not equal: it has grown */
                g_string_append_printf(out, g_str_equal(a->source, "incident") ? " [%" G_GUINT64_FORMAT " findings until " : " [%" G_GUINT64_FORMAT " equal ones until ", a->count);
                bh_format_append_line(out, a->last);
                g_string_append_c(out, ']');
        }
}

/* As Falco's begins: "time: Priority text". */
static GString *line_of(const BhAlert *a, gsize max) {
        GString *out = g_string_new(NULL);

        bh_format_append_line(out, a->time);
        g_string_append(out, ": ");
        bh_format_append_line(out, bh_alert_priority_name(a));
        g_string_append_c(out, ' ');
        append_output(out, a, max);
        return out;
}

/* ---- JSON ---- */

static void set_fields(json_t *to, const BhAlert *a, gboolean bare) {
        json_t *given = json_object_get(a->finding, "output_fields"), *fields = json_object(), *v;
        const char *name;

        json_object_set_new(fields, "bulkhead.id", json_string(a->id));
        if (a->count > 1) {
                json_object_set_new(fields, "bulkhead.count", json_integer((json_int_t) a->count));
                json_object_set_new(fields, "bulkhead.last", json_string(a->last));
        }
        if (!bare)
                json_object_foreach(given, name, v)
                        if (!g_str_has_prefix(name, "bulkhead."))
                                json_object_set(fields, name, v);
        json_object_set_new(to, "output_fields", fields);
}

static json_t *falco(const BhAlert *a, gboolean bare, gsize max) {
        json_t *o = json_object(), *tags = json_object_get(a->finding, "tags");
        g_autoptr(GString) output = line_of(a, max);

        json_object_set_new(o, "time", json_string(a->time));
        json_object_set_new(o, "rule", json_string(a->rule));
        json_object_set_new(o, "priority", json_string(bh_alert_priority_name(a)));
        json_object_set_new(o, "source", json_string(a->source));
        json_object_set_new(o, "hostname", json_string(a->hostname));
        json_object_set_new(o, "output", json_string(output->str));
        if (tags && !bare)
                json_object_set(o, "tags", tags);
        else
                json_object_set_new(o, "tags", json_array());
        set_fields(o, a, bare);
        return o;
}

static json_t *bulkhead(const BhAlert *a, gboolean bare, gsize max) {
        static const char *const kept[] = { "id", "time", "rule", "priority", "source", "hostname", "container_id", "container_name", "workload", "application",
                                            "image", "node", "kind", "count", "last", "received" };
        json_t *o = json_object(), *v;
        const char *name;

        json_object_set_new(o, "schema", json_string("bulkhead.finding.v1"));
        json_object_set_new(o, "delivery", json_pack("{s:s, s:b, s:I}", "id", a->id, "first", a->more == a->count, "more", (json_int_t) a->more));
        json_object_foreach(a->finding, name, v)
                if (!bare || g_strv_contains(kept, name))
                        json_object_set(o, name, v);
        if (bare) {
                g_autoptr(GString) output = g_string_new(NULL);

                bh_format_append_line(output, a->output);
                bh_format_cut(output, max);
                json_object_set_new(o, "output", json_string(output->str));
                json_object_set_new(o, "cut", json_true());
        }
        return o;
}

static GString *dump(json_t *o) {
        g_autofree char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);

        json_decref(o);
        const char *rest = text ? text : "{}";
        GString *out = g_string_sized_new(strlen(rest) + 8);

        /* the one control character that JSON lets pass; it can be in texts alone */
        for (const char *del; (del = strchr(rest, 0x7f)); rest = del + 1) {
                g_string_append_len(out, rest, del - rest);
                g_string_append(out, "\\u007f");
        }
        return g_string_append(out, rest);
}

/* The least that may be left of an output's text, whatever else is long. */
#define OUTPUT_MIN 64

static GString *json_of(const BhAlert *a, BhFormat f, gsize max, gboolean *cut) {
        json_t *(*const make)(const BhAlert *, gboolean, gsize) = f == BH_FORMAT_FALCO ? falco : bulkhead;
        GString *out = dump(make(a, FALSE, 0));

        for (gsize room = max / 2; max && out->len > max && room >= OUTPUT_MIN; room /= 2) {
                *cut = TRUE;
                g_string_free(out, TRUE);
                out = dump(make(a, TRUE, room));
        }
        if (max && out->len > max) {
                /* names of rules, hosts and containers beyond all measure: who it is about goes, that there was something stays */
                g_autofree char *rule = g_utf8_substring(a->rule, 0, MIN(g_utf8_strlen(a->rule, -1), 40));

                g_string_free(out, TRUE);
                out = dump(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:[], s:{}}", "time", "", "rule", rule, "priority", a->rank < 8 ? bh_alert_priority_name(a) : "", "source", "", "hostname", "",
                                     "output", "cut: the alert is too large for this output", "tags", "output_fields"));
        }
        return out;
}

GString *bh_format(const BhAlert *a, BhFormat f, gsize max, gboolean *cut) {
        gboolean was_cut = FALSE;
        GString *out;

        if (f == BH_FORMAT_TEXT) {
                out = line_of(a, 0);
                if (max && out->len > max) {
                        was_cut = TRUE;
                        bh_format_cut(out, max - 3);
                        g_string_append(out, "...");
                }
        } else {
                out = json_of(a, f, max, &was_cut);
        }
        if (cut)
                *cut = was_cut;
        return out;
}
