/* SPDX-License-Identifier: Apache-2.0 */
/* findings as stories, and what people say of them */
#include <string.h>

#include "incident/incident.h"
#include "incident_teach.h"
#include "incidents.h"
#include "json_out.h"
#include "routes.h"

static gboolean read_filter(BhCall *call, BhStoreIncidentFilter *f) {
        const char *severity = bh_call_param(call, "severity"), *state = bh_call_param(call, "state");

        *f = (BhStoreIncidentFilter){
                .state = state,
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
                .container = bh_call_param(call, "container"),
                .node = bh_call_param(call, "node"),
                .assignee = bh_call_param(call, "assignee"),
                .search = bh_call_param(call, "search"),
        };
        if (!bh_call_time(call, "since", &f->since_ns) || !bh_call_time(call, "until", &f->until_ns))
                return FALSE;
        if (state && !g_str_equal(state, "open") && !g_str_equal(state, "closed") && !g_str_equal(state, "merged")) {
                bh_call_error(call, 400, "bad_state", "\"state\" must be open, closed or merged");
                return FALSE;
        }
        if (severity) {
                while (f->min_severity < BH_SEVERITIES && !g_str_equal(severity, bh_severity_name(f->min_severity)))
                        f->min_severity++;
                if (f->min_severity == BH_SEVERITIES) {
                        bh_call_error(call, 400, "bad_severity", "\"severity\" must be low, medium, high or critical");
                        return FALSE;
                }
        }
        return TRUE;
}

static void view_row(GString *out, gconstpointer row, G_GNUC_UNUSED gpointer data) {
        bh_view_incident(out, NULL, row);
}

void bh_api_incidents(BhCall *call) {
        BhStoreIncidentFilter f;
        gboolean count = FALSE;
        GError *error = NULL;
        guint64 total = 0;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_flag(call, "count", &count) || !read_filter(call, &f))
                return;
        BhStorePage *page = bh_store_incidents(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        if (page && count)
                bh_store_incidents_count(call->central->store, &f, &total, &error);
        bh_call_page(call, "incidents", page, view_row, NULL, count ? &total : NULL, error);
}

static gboolean read_id(BhCall *call, guint64 *id) {
        const char *text = call->captures[0];
        char *end;

        *id = g_ascii_strtoull(text, &end, 10);
        if (g_ascii_isdigit(*text) && !*end && *id && strlen(text) < 16)
                return TRUE;
        bh_call_error(call, 404, "not_found", "there is no incident of that number: an incident's number is a whole number");
        return FALSE;
}

static void answer_taught(BhCall *call, guint64 id, const BhIncidentTaught *taught) {
        GError *error = NULL;
        g_autoptr(BhStoreIncident) i = bh_store_incident(call->central->store, id, &error);
        g_autoptr(GPtrArray) notes = i ? bh_store_incident_notes(call->central->store, id, &error) : NULL;

        if (!notes) {
                bh_call_store_error(call, error);
                return;
        }
        GString *out = g_string_sized_new(4096);
        bh_view_incident_whole(call->central, out, i, notes, taught);
        bh_call_json(call, 200, out);
}

static void answer_whole(BhCall *call, guint64 id) {
        answer_taught(call, id, NULL);
}

void bh_api_incident(BhCall *call) {
        guint64 id;

        if (read_id(call, &id))
                answer_whole(call, id);
}

void bh_api_incident_assign(BhCall *call) {
        static const BhBodyField fields[] = { { "user", BH_BODY_TEXT, TRUE, BH_STORE_NAME_MAX } };
        g_autoptr(GError) error = NULL;
        guint64 id;

        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        if (!body || !read_id(call, &id))
                return;
        const char *user = bh_body_text(body, "user");
        g_autoptr(BhStoreUser) who = *user ? bh_store_user(call->central->store, user, &error) : NULL;
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", user);
        if ((*user && !who) || !bh_store_incident_assign(call->central->store, id, user, &audit, &error)) {
                bh_call_store_error(call, g_steal_pointer(&error));
                return;
        }
        answer_whole(call, id);
}

void bh_api_incident_comment(BhCall *call) {
        static const BhBodyField fields[] = { { "text", BH_BODY_LINES, TRUE, BH_STORE_INCIDENT_NOTE_MAX } };
        GError *error = NULL;
        guint64 id;

        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        if (!body || !read_id(call, &id))
                return;
        const char *text = bh_body_text(body, "text");
        if (!*text) {
                bh_call_error(call, 400, "bad_comment", "\"text\" must not be empty");
                return;
        }
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", NULL);
        if (!bh_store_incident_note(call->central->store, id, call->who.name, text, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        answer_whole(call, id);
}

void bh_api_incident_close(BhCall *call) {
        static const BhBodyField fields[] = { { "verdict", BH_BODY_TEXT, TRUE, 32 }, { "comment", BH_BODY_LINES, FALSE, BH_STORE_INCIDENT_NOTE_MAX } };
        GError *error = NULL;
        guint64 id;

        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        if (!body || !read_id(call, &id))
                return;
        const char *verdict = bh_body_text(body, "verdict"), *comment = bh_body_text(body, "comment");
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", verdict);
        if (!bh_store_incident_close(call->central->store, id, verdict, call->who.name, comment, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        BhIncidentTaught taught;
        gboolean teaches = g_str_equal(verdict, "false_positive");
        if (teaches)
                bh_incident_teach(call, id, &taught);
        answer_taught(call, id, teaches ? &taught : NULL);
}

void bh_api_incident_exceptions(BhCall *call) {
        g_autoptr(GString) yaml = g_string_new(NULL);
        GError *error = NULL;
        guint64 id;

        if (!read_id(call, &id))
                return;
        g_autoptr(BhStoreIncident) i = bh_store_incident(call->central->store, id, &error);
        if (!i) {
                bh_call_store_error(call, error);
                return;
        }
        guint n = bh_incident_exceptions(call->central->store, yaml, i);
        GString *out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_uint(out, "exceptions", n);
        bh_json_text(out, "yaml", yaml->str);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

void bh_api_incident_merge(BhCall *call) {
        static const BhBodyField fields[] = { { "into", BH_BODY_INT, TRUE, G_MAXINT64 } };
        GError *error = NULL;
        guint64 id, into;

        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        if (!body || !read_id(call, &id))
                return;
        into = (guint64) json_integer_value(json_object_get(body, "into"));
        if (!into) {
                bh_call_error(call, 400, "bad_body", "\"into\" must be the number of the incident that goes on");
                return;
        }
        g_autofree char *detail = g_strdup_printf("into %" G_GUINT64_FORMAT, into);
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", detail);
        if (!bh_correlator_merge(call->central->correlator, id, into, call->who.name, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        answer_whole(call, into);
}

void bh_api_incident_split(BhCall *call) {
        static const BhBodyField fields[] = { { "findings", BH_BODY_TEXT, TRUE, 60000 } };
        g_autoptr(GPtrArray) ids = g_ptr_array_new();
        GError *error = NULL;
        guint64 id, made;

        json_auto_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        if (!body || !read_id(call, &id))
                return;
        g_auto(GStrv) parts = g_strsplit_set(bh_body_text(body, "findings"), ", ", -1);
        for (guint n = 0; parts[n]; n++)
                if (*parts[n])
                        g_ptr_array_add(ids, parts[n]);
        g_ptr_array_add(ids, NULL);
        g_autofree char *detail = g_strdup_printf("%u lines", ids->len - 1);
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", detail);
        made = bh_correlator_split(call->central->correlator, id, (const char *const *) ids->pdata, call->who.name, &audit, &error);
        if (!made) {
                bh_call_store_error(call, error);
                return;
        }
        answer_whole(call, made);
}
