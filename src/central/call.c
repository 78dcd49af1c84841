/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "central.h"
#include "container/container.h"
#include "json_out.h"
#include "routes.h"

/* ---- answers ---- */

void bh_call_json(BhCall *call, guint status, GString *text) {
        bh_json_end(text);
        g_string_append_c(text, '\n');
        bh_http_answer(call->http, status, "application/json", g_string_free_to_bytes(text));
}

void bh_call_page(BhCall *call, const char *name, BhStorePage *page, BhRowView view, gpointer data, const guint64 *total, GError *error) {
        g_autoptr(BhStorePage) owned = page;

        if (!owned || error) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_sized_new(4096);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, name, '[');
        for (guint i = 0; i < owned->rows->len; i++) {
                view(out, owned->rows->pdata[i], data);
                if (out->len >= BH_ANSWER_BYTES && i + 1 < owned->rows->len)
                        bh_store_page_cut(owned, i + 1);
        }
        bh_json_close(out, ']');
        bh_json_text(out, "next", owned->next);
        if (total)
                bh_json_uint(out, "total", *total);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

void bh_call_no_content(BhCall *call) {
        bh_http_answer(call->http, 204, NULL, g_bytes_new_static("", 0));
}

void bh_call_error(BhCall *call, guint status, const char *code, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        bh_http_answer_error(call->http, status, code, "%s", text);
}

void bh_call_store_error(BhCall *call, GError *e) {
        static const struct {
                BhStoreError code;
                guint status;
                const char *name;
        } map[] = {
                { BH_STORE_ERROR_NOT_FOUND, 404, "not_found" }, { BH_STORE_ERROR_EXISTS, 409, "exists" },    { BH_STORE_ERROR_CONFLICT, 409, "conflict" },
                { BH_STORE_ERROR_INVALID, 400, "invalid" },     { BH_STORE_ERROR_AMBIGUOUS, 409, "ambiguous" }, { BH_STORE_ERROR_FULL, 507, "disk_full" },
                { BH_STORE_ERROR_BUSY, 503, "busy" },           { BH_STORE_ERROR_TIMEOUT, 504, "query_too_long" },
        };
        g_autoptr(GError) error = e;

        for (guint i = 0; i < G_N_ELEMENTS(map); i++) {
                if (!g_error_matches(error, BH_STORE_ERROR, (gint) map[i].code))
                        continue;
                if (map[i].status >= 500)
                        bh_error("the store refuses", "route", call->route->pattern, "error", error->message);
                bh_call_error(call, map[i].status, map[i].name, "%s", error->message);
                return;
        }
        /* what the system said may name paths: for the log, not for the caller */
        bh_error("the store failed", "route", call->route->pattern, "error", error->message);
        bh_call_error(call, 500, "store_failed", "the store failed; the central's log says why");
}

/* ---- settings ---- */

void bh_central_read_settings(BhCentral *c) {
        g_autofree char *text = bh_store_setting_get(c->store, "query.seconds", NULL);
        gint64 n = text ? g_ascii_strtoll(text, NULL, 10) : 0;

        g_atomic_int_set(&c->query_seconds, n > 0 && n <= 600 ? (gint) n : BH_QUERY_SECONDS);
}

/* ---- parameters ---- */

const char *bh_call_param(BhCall *call, const char *name) {
        return bh_http_param(call->http, name);
}

static gboolean number(const char *text, guint64 max, guint64 *out) {
        const char *p = text;
        guint64 n = 0;

        for (; g_ascii_isdigit(*p); p++) {
                if (n > (G_MAXINT64 - 9) / 10)
                        return FALSE;
                n = n * 10 + (guint64) (*p - '0');
        }
        if (p == text || *p || n > max)
                return FALSE;
        *out = n;
        return TRUE;
}

gboolean bh_call_time(BhCall *call, const char *name, gint64 *ns) {
        static const struct {
                char unit;
                gint64 seconds;
        } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
        const char *text = bh_call_param(call, name);
        guint64 n;

        if (!text)
                return TRUE;
        if (number(text, G_MAXINT64, &n)) {
                *ns = (gint64) n;
                return TRUE;
        }
        gsize len = strlen(text);
        for (guint i = 0; len > 1 && len < 12 && i < G_N_ELEMENTS(units); i++) {
                g_autofree char *digits = g_strndup(text, len - 1);

                if (text[len - 1] == units[i].unit && number(digits, 100000, &n)) {
                        *ns = MAX(g_get_real_time() * 1000 - (gint64) n * units[i].seconds * 1000000000, 1);
                        return TRUE;
                }
        }
        if (len < 64 && (*ns = bh_time_parse(text)) > 0)
                return TRUE;
        bh_call_error(call, 400, "bad_time", "\"%s\" must be a time like 2026-01-31T12:00:00Z, nanoseconds since the epoch, or how long ago: 15m, 24h, 7d", name);
        return FALSE;
}

gboolean bh_call_limit(BhCall *call, guint max, guint *limit) {
        const char *text = bh_call_param(call, "limit");
        guint64 n = BH_LIST_DEFAULT;

        if (text && (!number(text, max, &n) || !n)) {
                bh_call_error(call, 400, "bad_limit", "\"limit\" must be a number from 1 to %u", max);
                return FALSE;
        }
        *limit = (guint) n;
        return TRUE;
}

gboolean bh_call_flag(BhCall *call, const char *name, gboolean *value) {
        const char *text = bh_call_param(call, name);

        if (!text)
                return TRUE;
        if (strcmp(text, "true") && strcmp(text, "false")) {
                bh_call_error(call, 400, "bad_flag", "\"%s\" must be true or false", name);
                return FALSE;
        }
        *value = text[0] == 't';
        return TRUE;
}

/* ---- bodies ---- */

static const BhBodyField *field_of(const BhBodyField *fields, guint n, const char *name) {
        for (guint i = 0; i < n; i++)
                if (g_str_equal(fields[i].name, name))
                        return &fields[i];
        return NULL;
}

static char *check_member(const BhBodyField *f, json_t *v) {
        if (f->kind == BH_BODY_TEXT || f->kind == BH_BODY_LINES) {
                if (!json_is_string(v))
                        return g_strdup_printf("\"%s\" must be a text", f->name);
                if (json_string_length(v) > f->max)
                        return g_strdup_printf("\"%s\" has at most %" G_GSIZE_FORMAT " bytes", f->name, f->max);
                for (const char *p = json_string_value(v); *p; p++)
                        if (((guchar) *p < 0x20 && !(f->kind == BH_BODY_LINES && strchr("\n\r\t", *p))) || *p == 0x7f)
                                return g_strdup_printf("\"%s\" must not hold control characters", f->name);
        } else if (f->kind == BH_BODY_BOOL) {
                if (!json_is_boolean(v))
                        return g_strdup_printf("\"%s\" must be true or false", f->name);
        } else if (!json_is_integer(v) || json_integer_value(v) < 0 || (guint64) json_integer_value(v) > f->max) {
                return g_strdup_printf("\"%s\" must be a whole number from 0 to %" G_GSIZE_FORMAT, f->name, f->max);
        }
        return NULL;
}

/* Deep nesting would be a deep recursion in the parser; our bodies are flat. */
static gboolean too_deep(const char *p, gsize len) {
        gboolean text = FALSE;
        guint depth = 0;

        for (gsize i = 0; i < len; i++) {
                if (p[i] == '"')
                        text = !text;
                else if (p[i] == '\\' && text)
                        i++;
                if (text)
                        continue;
                if (p[i] == '[' || p[i] == '{')
                        if (++depth > 32)
                                return TRUE;
                if ((p[i] == ']' || p[i] == '}') && depth)
                        depth--;
        }
        return FALSE;
}

json_t *bh_body_parse(const void *data, gsize len, const BhBodyField *fields, guint n, char **why) {
        json_error_t e;
        const char *name;
        json_t *o, *v;

        if (!len || too_deep(data, len)) {
                *why = g_strdup(len ? "the body is nested too deeply" : "a JSON object is expected as the body");
                return NULL;
        }
        o = json_loadb(data, len, JSON_REJECT_DUPLICATES, &e);
        if (!json_is_object(o)) {
                *why = o ? g_strdup("the body must be a JSON object") : g_strdup_printf("the body is not JSON: line %d, column %d", e.line, e.column);
                json_decref(o);
                return NULL;
        }
        json_object_foreach(o, name, v) {
                const BhBodyField *f = field_of(fields, n, name);

                if (!f) {
                        g_autofree char *shown = g_utf8_substring(name, 0, MIN(g_utf8_strlen(name, -1), 40));
                        *why = g_strdup_printf("there is no member \"%s\" here", shown);
                } else {
                        *why = check_member(f, v);
                }
                if (*why) {
                        json_decref(o);
                        return NULL;
                }
        }
        for (guint i = 0; i < n; i++) {
                if (fields[i].required && !json_object_get(o, fields[i].name)) {
                        *why = g_strdup_printf("\"%s\" is missing", fields[i].name);
                        json_decref(o);
                        return NULL;
                }
        }
        return o;
}

json_t *bh_call_body(BhCall *call, const BhBodyField *fields, guint n) {
        g_autofree char *why = NULL;
        json_t *o;

        if (!bh_http_media_type_is(bh_http_header(call->http, "Content-Type"), "application/json")) {
                bh_call_error(call, 415, "not_json", "the body must be JSON, with Content-Type: application/json");
                return NULL;
        }
        if (!(o = bh_body_parse(call->http->body->data, call->http->body->len, fields, n, &why)))
                bh_call_error(call, 400, "bad_body", "%s", why);
        return o;
}

const char *bh_body_text(json_t *body, const char *name) {
        return json_string_value(json_object_get(body, name));
}

/* ---- audit ---- */

BhStoreAuditEntry bh_call_audit(BhCall *call, const char *object, const char *outcome, const char *detail) {
        return (BhStoreAuditEntry){
                .actor = call->who.name,
                .role = bh_store_role_name(call->who.role),
                .address = call->http->address,
                .action = call->route->audit ? call->route->audit : call->route->pattern,
                .object = object,
                .outcome = outcome,
                .detail = detail,
        };
}

static guint pace(BhCall *call, guint64 *skipped) {
        if (!call->who.name || call->who.role >= BH_STORE_ROLE_ADMIN)
                return 0;
        return bh_pace_take(call->central->pace, call->who.name, g_get_monotonic_time(), skipped);
}

gboolean bh_call_pace(BhCall *call) {
        guint wait = pace(call, NULL);
        g_autofree char *seconds = wait ? g_strdup_printf("%u", wait) : NULL;

        if (!wait)
                return TRUE;
        bh_http_add_header(call->http, "Retry-After", seconds);
        bh_call_error(call, 429, "too_many_acts", "too many calls that go into the audit log; try again in %u seconds", wait);
        return FALSE;
}

void bh_call_audit_write(BhCall *call, const char *object, const char *outcome, const char *detail) {
        guint64 skipped = 0;
        g_autofree char *more = NULL;
        g_autoptr(GError) error = NULL;

        if (pace(call, &skipped))
                return;
        if (skipped)
                more = g_strdup_printf("%s%s%" G_GUINT64_FORMAT " calls of this user before it were not put down", detail ? detail : "", detail ? "; " : "", skipped);
        BhStoreAuditEntry entry = bh_call_audit(call, object, outcome, more ? more : detail);

        if (!bh_store_audit(call->central->store, &entry, &error))
                bh_error("cannot write the audit log", "action", entry.action, "error", error->message);
}
