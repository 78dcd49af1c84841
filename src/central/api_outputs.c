/* SPDX-License-Identifier: Apache-2.0 */
/* where alerts are sent */
#include <string.h>

#include "json_out.h"
#include "notify/output.h"
#include "notify_feed.h"
#include "outputs.h"
#include "routes.h"
#include "store/store_outputs.h"

/* ---- what is shown: never a secret ---- */

static json_t *status_of(json_t *status, const char *name) {
        json_t *list = json_object_get(status, "outputs"), *one;
        size_t i;

        json_array_foreach(list, i, one)
                if (g_strcmp0(json_string_value(json_object_get(one, "name")), name) == 0)
                        return one;
        return NULL;
}

static void append_status(GString *out, json_t *status, const char *name) {
        json_t *one = status_of(status, name);
        g_autofree char *text = one && json_is_true(json_object_get(status, "running")) ? json_dumps(one, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

        bh_json_raw(out, "status", text);
}

static void append_output(GString *out, const BhOutput *o, gint64 created_ns, gint64 changed_ns, json_t *status) {
        g_autofree char *target = bh_output_target(o), *config = bh_output_dump(o, FALSE);

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "name", o->name);
        bh_json_text(out, "target", target);
        bh_json_raw(out, "config", config);
        bh_json_time(out, "created", created_ns);
        bh_json_time(out, "changed", changed_ns);
        append_status(out, status, o->name);
        bh_json_close(out, '}');
}

/* One whose configuration an older or newer program wrote: it is there, and can be set anew or removed. */
static void append_unusable(GString *out, const BhStoreOutput *row, const GError *error) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "name", row->name);
        bh_json_text(out, "target", error->message);
        bh_json_raw(out, "config", "{}");
        bh_json_time(out, "created", row->created_ns);
        bh_json_time(out, "changed", row->changed_ns);
        bh_json_raw(out, "status", NULL);
        bh_json_close(out, '}');
}

static void append_row(GString *out, const BhStoreOutput *row, json_t *status) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhOutput) o = bh_output_parse(row->name, row->name, row->config, strlen(row->config), NULL, &error);

        if (o)
                append_output(out, o, row->created_ns, row->changed_ns, status);
        else
                append_unusable(out, row, error);
}

void bh_api_outputs(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) rows = bh_store_outputs(call->central->store, &error);
        json_auto_t *status = bh_notify_feed_status(call->central->notify);

        if (!rows) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "outputs", '[');
        for (guint i = 0; i < rows->len; i++)
                append_row(out, rows->pdata[i], status);
        if (call->central->alerts) {
                g_autofree char *config = g_strdup_printf("{\"type\":\"stdout\",\"format\":\"%s\"}", call->central->alerts);
                g_autoptr(BhOutput) console = bh_output_parse(BH_CONSOLE_OUTPUT, BH_CONSOLE_OUTPUT, config, strlen(config), NULL, NULL);

                append_output(out, console, 0, 0, status);
        }
        bh_json_close(out, ']');
        bh_json_open(out, "notifier", '{');
        bh_json_bool(out, "running", json_is_true(json_object_get(status, "running")));
        bh_json_int(out, "restarts", json_integer_value(json_object_get(status, "restarts")));
        bh_json_int(out, "landlock", json_integer_value(json_object_get(status, "landlock")));
        bh_json_int(out, "gaps", json_integer_value(json_object_get(status, "gaps")));
        bh_json_int(out, "folded", json_integer_value(json_object_get(status, "folded")));
        bh_json_text(out, "problem", json_string_value(json_object_get(status, "problem")) ?: "");
        bh_json_text(out, "alert_dir", call->central->alert_dir);
        bh_json_close(out, '}');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

static void answer_output(BhCall *call, guint code, const char *name) {
        GError *error = NULL;
        g_autoptr(BhStoreOutput) row = bh_store_output(call->central->store, name, &error);
        json_auto_t *status = bh_notify_feed_status(call->central->notify);

        if (!row) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_new(NULL);
        append_row(out, row, status);
        bh_call_json(call, code, out);
}

void bh_api_output(BhCall *call) {
        answer_output(call, 200, call->captures[0]);
}

/* ---- changes ---- */

static gboolean check_call(BhCall *call, const char *name) {
        g_autoptr(GError) error = NULL;

        if (!bh_http_media_type_is(bh_http_header(call->http, "Content-Type"), "application/json")) {
                bh_call_error(call, 415, "not_json", "the body must be JSON, with Content-Type: application/json");
                return FALSE;
        }
        if (!bh_output_check_name(name, &error)) {
                bh_call_error(call, 400, "bad_name", "%s", error->message);
                return FALSE;
        }
        if (g_str_equal(name, BH_CONSOLE_OUTPUT)) {
                bh_call_error(call, 409, "conflict", "\"" BH_CONSOLE_OUTPUT "\" is the output that --alerts makes: choose another name");
                return FALSE;
        }
        return TRUE;
}

void bh_api_output_set(BhCall *call) {
        const char *name = call->captures[0];
        GError *error = NULL;
        gboolean created;

        if (!check_call(call, name))
                return;
        g_autoptr(BhStoreOutput) row = bh_store_output(call->central->store, name, &error);
        if (!row && !g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND)) {
                bh_call_store_error(call, error);
                return;
        }
        g_clear_error(&error);
        g_autoptr(BhOutput) old = row ? bh_output_parse(name, name, row->config, strlen(row->config), NULL, NULL) : NULL;
        g_autoptr(BhOutput) o = bh_output_parse(name, name, (const char *) call->http->body->data, call->http->body->len, old, &error);
        if (!o) {
                bh_call_error(call, 400, "bad_output", "%s", error->message);
                g_clear_error(&error);
                return;
        }
        g_autofree char *config = bh_output_dump(o, TRUE), *target = bh_output_target(o);
        g_autofree char *detail = g_strdup_printf("%s%s", target, o->enabled ? "" : ", disabled");
        BhStoreAuditEntry audit = bh_call_audit(call, name, "ok", detail);
        gboolean ok = bh_store_output_set(call->central->store, name, config, row ? row->changed_ns : 0, &created, &audit, &error);
        memset(config, 0, strlen(config));
        if (!ok) {
                bh_call_store_error(call, error);
                return;
        }
        bh_notify_feed_reconfigure(call->central->notify);
        answer_output(call, created ? 201 : 200, name);
}

void bh_api_output_remove(BhCall *call) {
        const char *name = call->captures[0];
        BhStoreAuditEntry audit = bh_call_audit(call, name, "ok", NULL);
        GError *error = NULL;

        if (!bh_store_output_remove(call->central->store, name, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_notify_feed_reconfigure(call->central->notify);
        bh_call_no_content(call);
}

void bh_api_output_test(BhCall *call) {
        const char *name = call->captures[0];
        gboolean console = call->central->alerts && g_str_equal(name, BH_CONSOLE_OUTPUT);
        GError *error = NULL;
        g_autoptr(BhStoreOutput) row = console ? NULL : bh_store_output(call->central->store, name, &error);

        if (!row && !console) {
                bh_call_store_error(call, error);
                return;
        }
        g_autofree char *problem = bh_notify_feed_test(call->central->notify, name, call->who.name);
        bh_call_audit_write(call, name, problem ? "failed" : "ok", problem);

        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_bool(out, "ok", !problem);
        bh_json_text(out, "problem", problem ? problem : "");
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* ---- status and metrics ---- */

void bh_outputs_append_json(BhCentral *c, GString *out) {
        json_auto_t *status = bh_notify_feed_status(c->notify);
        json_t *list = json_object_get(status, "outputs"), *one;
        json_int_t queued = 0, lost = 0;
        size_t i;

        json_array_foreach(list, i, one) {
                queued += json_integer_value(json_object_get(one, "queued"));
                lost += json_integer_value(json_object_get(one, "lost"));
        }
        bh_json_open(out, "outputs", '{');
        bh_json_int(out, "count", (gint64) json_array_size(list));
        bh_json_bool(out, "running", !json_is_true(json_object_get(status, "away")));
        bh_json_int(out, "queued", queued);
        bh_json_int(out, "lost", lost);
        bh_json_int(out, "gaps", json_integer_value(json_object_get(status, "gaps")));
        bh_json_open(out, "failing", '[');
        json_array_foreach(list, i, one) {
                const char *problem = json_string_value(json_object_get(one, "problem"));

                if (!problem || !*problem)
                        continue;
                bh_json_open(out, NULL, '{');
                bh_json_text(out, "name", json_string_value(json_object_get(one, "name")));
                bh_json_text(out, "problem", problem);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
}

static void family(GString *out, json_t *list, const char *name, const char *type, const char *member, const char *help) {
        json_t *one;
        size_t i;

        g_string_append_printf(out, "# HELP bulkhead_%s %s\n# TYPE bulkhead_%s %s\n", name, help, name, type);
        /* an output's name needs no escapes */
        json_array_foreach(list, i, one)
                g_string_append_printf(out, "bulkhead_%s{output=\"%s\"} %" JSON_INTEGER_FORMAT "\n", name, json_string_value(json_object_get(one, "name")),
                                       json_integer_value(json_object_get(one, member)));
}

void bh_outputs_append_metrics(BhCentral *c, GString *out) {
        json_auto_t *status = bh_notify_feed_status(c->notify);
        json_t *list = json_object_get(status, "outputs");

        g_string_append_printf(out, "# HELP bulkhead_notifier_up whether the process that delivers alerts runs\n# TYPE bulkhead_notifier_up gauge\nbulkhead_notifier_up %d\n",
                               json_is_true(json_object_get(status, "running")));
        g_string_append_printf(out, "# HELP bulkhead_notifier_gaps_total times at which alerts were lost because the notifier was away for too long\n"
                                    "# TYPE bulkhead_notifier_gaps_total counter\nbulkhead_notifier_gaps_total %" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(status, "gaps")));
        family(out, list, "alerts_queued", "gauge", "queued", "alerts that wait for delivery");
        family(out, list, "alerts_delivered_total", "counter", "delivered", "alerts that were delivered");
        family(out, list, "alerts_refused_total", "counter", "refused", "alerts that the receiver refused for good");
        family(out, list, "alerts_lost_total", "counter", "lost", "alerts that were given up because the queue was full or damaged");
        family(out, list, "alerts_cut_total", "counter", "cut", "alerts that were shortened to be delivered");
}
