/* SPDX-License-Identifier: Apache-2.0 */
#include "notify/alert.h"

#include <string.h>
#include <time.h>

#include "notify/format.h"

G_DEFINE_QUARK(bh-notify-error-quark, bh_notify_error)

static const char *const priorities[] = { "Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug" };

guint bh_alert_rank(const char *priority) {
        for (guint i = 0; i < G_N_ELEMENTS(priorities); i++)
                if (g_ascii_strcasecmp(priority, priorities[i]) == 0)
                        return i;
        return G_N_ELEMENTS(priorities);
}

const char *bh_alert_priority_name(const BhAlert *a) {
        return a->rank < G_N_ELEMENTS(priorities) ? priorities[a->rank] : a->priority;
}

static gboolean invalid(GError **error, const char *what) {
        g_set_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_INVALID, "not a finding: %s", what);
        return FALSE;
}

static const char *text_of(json_t *o, const char *name) {
        const char *text = json_string_value(json_object_get(o, name));

        return text ? text : "";
}

static gboolean take(BhAlert *a, guint64 told, GError **error) {
        json_t *count = json_object_get(a->finding, "count"), *tags = json_object_get(a->finding, "tags"), *fields = json_object_get(a->finding, "output_fields");

        a->key = text_of(a->finding, "id");
        a->time = text_of(a->finding, "time");
        a->last = text_of(a->finding, "last");
        a->rule = text_of(a->finding, "rule");
        a->priority = text_of(a->finding, "priority");
        a->source = text_of(a->finding, "source");
        a->hostname = text_of(a->finding, "hostname");
        a->output = text_of(a->finding, "output");
        a->rank = bh_alert_rank(a->priority);
        a->count = json_is_integer(count) && json_integer_value(count) > 0 ? (guint64) json_integer_value(count) : 1;
        a->more = a->count > told ? a->count - told : 0;
        if (!*a->key)
                return invalid(error, "it has no id");
        if (tags && !json_is_array(tags))
                return invalid(error, "\"tags\" is no list");
        if (fields && !json_is_object(fields))
                return invalid(error, "\"output_fields\" is no object");
        a->id = g_strdup_printf("%s/%" G_GUINT64_FORMAT, a->key, a->count);
        return TRUE;
}

BhAlert *bh_alert_new(json_t *finding, guint64 told, GError **error) {
        g_autoptr(BhAlert) a = g_new0(BhAlert, 1);

        a->finding = finding;
        if (!json_is_object(finding)) {
                invalid(error, "no JSON object");
                return NULL;
        }
        return take(a, told, error) ? g_steal_pointer(&a) : NULL;
}

/* The parser recurses. */
static gboolean too_deep(const char *p, gsize len) {
        guint depth = 0;

        for (gsize i = 0; i < len; i++) {
                if (p[i] == '[' || p[i] == '{')
                        if (++depth > 64)
                                return TRUE;
                if ((p[i] == ']' || p[i] == '}') && depth)
                        depth--;
        }
        return FALSE;
}

BhAlert *bh_alert_parse(const char *json, gsize len, guint64 told, GError **error) {
        json_error_t e;

        if (len > BH_ALERT_MAX || too_deep(json, len)) {
                invalid(error, "too large or too deeply nested");
                return NULL;
        }
        return bh_alert_new(json_loadb(json, len, JSON_ALLOW_NUL, &e), told, error);
}

void bh_alert_free(BhAlert *a) {
        if (!a)
                return;
        json_decref(a->finding);
        g_free(a->id);
        g_free(a);
}

BhAlert *bh_alert_test(const char *hostname, const char *who) {
        g_autofree char *now = bh_format_time(g_get_real_time() * 1000), *id = g_strdup_printf("test-%" G_GINT64_MODIFIER "x", g_get_real_time());
        g_autofree char *asked = g_utf8_make_valid(who, -1), *host = g_utf8_make_valid(hostname, -1);
        g_autofree char *output = g_strdup_printf("This is a test of an output of Bulkhead, asked for by %s. Nothing has happened.", asked);
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:{}, s:[s], s:s, s:I}", "id", id, "time", now, "rule", "Test of an output", "priority", "informational", "source",
                              "bulkhead", "hostname", host, "output", output, "output_fields", "tags", "test", "last", now, "count", (json_int_t) 1);

        return bh_alert_new(o, 0, NULL);
}
