/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "incident/incident.h"
#include "incident_detail.h"
#include "incident_now.h"
#include "incident_row.h"
#include "incident_teach.h"
#include "incidents.h"
#include "json_out.h"
#include "responses.h"
#include "store/store_inventory.h"

#define RESPONSES_MAX 100u

static void members(GString *out, const BhStoreIncident *i) {
        static const char *const priorities[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug", "" };

        bh_json_uint(out, "id", i->id);
        bh_json_text(out, "state", i->state);
        if (i->merged_into)
                bh_json_uint(out, "merged_into", i->merged_into);
        bh_json_text(out, "severity", bh_severity_name(i->severity));
        bh_json_text(out, "priority", priorities[MIN(i->rank, 8)]);
        bh_json_text(out, "title", i->title);
        bh_json_text(out, "story", i->story);
        bh_json_open(out, "tactics", '[');
        for (guint t = 0; t < BH_TACTICS; t++)
                if (i->tactics >> t & 1)
                        bh_json_text(out, NULL, bh_tactic_name(t));
        bh_json_close(out, ']');
        bh_json_time(out, "first", i->first_ns);
        bh_json_time(out, "last", i->last_ns);
        bh_json_uint(out, "findings", i->findings);
        bh_json_uint(out, "dropped", i->dropped);
        bh_json_raw(out, "nodes", i->nodes);
        bh_json_raw(out, "applications", i->applications);
        bh_json_raw(out, "workloads", i->workloads);
        bh_json_text(out, "assignee", i->assignee);
        bh_json_text(out, "verdict", i->verdict);
        bh_json_text(out, "closed_by", i->closed_by);
        bh_json_time(out, "closed", i->closed_ns);
        bh_json_time(out, "opened", i->opened_ns);
        bh_json_time(out, "changed", i->changed_ns);
}

void bh_view_incident(GString *out, const char *key, const BhStoreIncident *i) {
        bh_json_open(out, key, '{');
        members(out, i);
        bh_json_raw(out, "containers", i->containers);
        bh_json_close(out, '}');
}

void bh_view_incident_alert(BhStore *s, GString *out, const BhStoreIncident *i) {
        static const char *const priorities[BH_SEVERITIES] = { "warning", "error", "critical", "alert" };
        gboolean ended = !g_str_equal(i->state, "open");
        g_autofree char *id = g_strdup_printf("incident-%" G_GUINT64_FORMAT "%s%s", i->id, ended ? "-" : "", ended ? i->state : "");
        g_autofree char *said = g_str_equal(i->state, "closed") ? g_strdup_printf("closed by %s as %s", i->closed_by, i->verdict) :
                                ended ? g_strdup_printf("went into incident %" G_GUINT64_FORMAT, i->merged_into) : g_strdup("open");
        g_autofree char *now = ended ? g_strdup("") : bh_incident_now(s, i, FALSE, NULL);
        g_autofree char *text = g_strdup_printf("Incident %" G_GUINT64_FORMAT " (%s, %s): %s. %s%s%s", i->id, bh_severity_name(i->severity), said, i->title, ended ? "" : i->story, *now ? " " : "", now);

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "id", id);
        bh_json_time(out, "time", i->first_ns);
        bh_json_text(out, "rule", "Incident");
        bh_json_text(out, "priority", ended ? "notice" : priorities[MIN(i->severity, BH_SEVERITIES - 1)]);
        bh_json_text(out, "source", "incident");
        bh_json_text(out, "hostname", g_get_host_name());
        bh_json_text(out, "output", text);
        bh_json_open(out, "output_fields", '{');
        bh_json_uint(out, "incident.id", i->id);
        bh_json_text(out, "incident.state", i->state);
        bh_json_text(out, "incident.severity", bh_severity_name(i->severity));
        bh_json_text(out, "incident.title", i->title);
        bh_json_uint(out, "incident.findings", i->findings);
        bh_json_close(out, '}');
        bh_json_open(out, "tags", '[');
        bh_json_text(out, NULL, "incident");
        for (guint t = 0; t < BH_TACTICS; t++)
                if (i->tactics >> t & 1)
                        bh_json_text(out, NULL, bh_tactic_name(t));
        bh_json_close(out, ']');
        bh_json_text(out, "kind", "incident");
        bh_json_uint(out, "count", ended ? 1 : MAX(i->findings, 1));
        bh_json_time(out, "last", i->last_ns);
        bh_json_close(out, '}');
        bh_json_end(out);
}

/* What the inventory knows of it now: it may be gone, and that is part of the story. */
static void append_container(BhStore *s, GString *out, json_t *c) {
        const char *node = json_string_value(json_object_get(c, "node")), *id = json_string_value(json_object_get(c, "id"));
        g_autoptr(BhStoreContainer) x = node && id ? bh_store_container(s, node, id, NULL) : NULL;
        const char *key;
        json_t *v;

        bh_json_open(out, NULL, '{');
        json_object_foreach(c, key, v)
                bh_json_text(out, key, json_string_value(v));
        bh_json_text(out, "image", x ? x->image : NULL);
        bh_json_text(out, "state", x ? x->state : NULL);
        bh_json_time(out, "ended", x ? x->ended_ns : 0);
        bh_json_bool(out, "privileged", x && x->privileged);
        bh_json_close(out, '}');
}

static gint newest_first(gconstpointer a, gconstpointer b) {
        const BhStoreResponse *x = *(BhStoreResponse *const *) a, *y = *(BhStoreResponse *const *) b;

        return x->created_ns > y->created_ns ? -1 : x->created_ns < y->created_ns;
}

/* What was done to its containers since it began. */
static void append_responses(BhStore *s, GString *out, const BhStoreIncident *i, json_t *containers) {
        g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_response_free);
        json_t *c;
        size_t n;

        json_array_foreach(containers, n, c) {
                BhStoreResponseFilter of = { .node = json_string_value(json_object_get(c, "node")), .container_id = json_string_value(json_object_get(c, "id")), .since_ns = i->first_ns };
                g_autoptr(BhStorePage) page = of.node && of.container_id ? bh_store_responses(s, &of, NULL, RESPONSES_MAX, NULL) : NULL;

                if (!page)
                        continue;
                g_ptr_array_set_free_func(page->rows, NULL);
                for (guint k = 0; k < page->rows->len; k++)
                        g_ptr_array_add(all, page->rows->pdata[k]);
        }
        g_ptr_array_sort(all, newest_first);
        for (guint k = 0; k < MIN(all->len, RESPONSES_MAX); k++) {
                const BhStoreResponse *row = all->pdata[k];
                g_autoptr(BhStoreResponse) whole = bh_store_response(s, row->id, NULL); /* with what it refused */

                bh_view_response(out, NULL, whole ? whole : row, FALSE);
        }
}

/* Why it is so grave: as far as its lines tell, which is all but those for which there was no room. */
static void append_weighed(GString *out, const BhStoreIncident *i) {
        g_autoptr(GPtrArray) lines = bh_incident_row_read(i->lines);
        const BhIncidentPoints p = bh_incident_points(lines);

        bh_json_open(out, "weighed", '{');
        bh_json_uint(out, "stages", p.stages);
        bh_json_uint(out, "way_out", p.way_out);
        bh_json_uint(out, "node", p.node);
        bh_json_uint(out, "asset", p.asset);
        bh_json_uint(out, "surprise", p.surprise);
        bh_json_close(out, '}');
}

void bh_view_incident_whole(BhCentral *central, GString *out, const BhStoreIncident *i, GPtrArray *notes, const BhIncidentTaught *taught) {
        json_auto_t *containers = json_loads(i->containers, 0, NULL);
        BhStore *s = central->store;
        g_autofree char *now = bh_incident_now_whole(central, i);
        json_t *c;
        size_t n;

        bh_json_open(out, NULL, '{');
        members(out, i);
        append_weighed(out, i);
        bh_json_text(out, "now", now);
        bh_json_open(out, "containers", '[');
        json_array_foreach(containers, n, c)
                append_container(s, out, c);
        bh_json_close(out, ']');
        bh_json_raw(out, "timeline", *i->lines ? i->lines : "[]");
        bh_incident_detail(s, out, i->lines);
        bh_json_open(out, "responses", '[');
        append_responses(s, out, i, containers);
        bh_json_close(out, ']');
        bh_json_open(out, "comments", '[');
        for (guint m = 0; m < notes->len; m++) {
                const BhStoreIncidentNote *x = notes->pdata[m];

                bh_json_open(out, NULL, '{');
                bh_json_time(out, "time", x->time_ns);
                bh_json_text(out, "who", x->who);
                bh_json_text(out, "text", x->text);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        if (taught) {
                bh_json_open(out, "taught", '{');
                for (BhTaught t = BH_TAUGHT_NONE + 1; t < BH_TAUGHT_KINDS; t++)
                        bh_json_uint(out, bh_taught_name(t), taught->n[t]);
                bh_json_bool(out, "more", taught->more);
                bh_json_close(out, '}');
        }
        bh_json_close(out, '}');
}
