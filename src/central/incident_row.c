/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_row.h"

#include <jansson.h>
#include <string.h>

#include "container/container.h"
#include "event/codec.h"
#include "incident/story.h"
#include "json_out.h"

/* ---- in ---- */

static const char *text_of(BhIncidentInput *in, json_t *o, const char *key) {
        const char *t = json_string_value(json_object_get(o, key));

        return t && *t ? g_string_chunk_insert(in->texts, t) : "";
}

static void read_lineage(BhIncidentInput *in, const char *text) {
        json_auto_t *list = text && *text ? json_loads(text, 0, NULL) : NULL;
        json_t *p;
        size_t n;

        json_array_foreach(list, n, p) {
                if (!json_is_object(p) || in->finding.n_lineage >= BH_INCIDENT_LINEAGE_MAX)
                        break;
                const char *started = json_string_value(json_object_get(p, "started"));

                in->lineage[in->finding.n_lineage++] = (BhIncidentProcess){
                        .pid = (guint32) json_integer_value(json_object_get(p, "pid")),
                        .start_ns = started ? bh_time_parse(started) : 0,
                        .exe = text_of(in, p, "exe"),
                        .container_id = text_of(in, p, "container_id"),
                        .origin_id = text_of(in, p, "origin_id"),
                };
        }
}

static void read_tags(BhIncidentInput *in, const char *text) {
        json_auto_t *list = text && *text ? json_loads(text, 0, NULL) : NULL;
        json_t *tag;
        size_t n;

        json_array_foreach(list, n, tag) {
                const char *t = json_string_value(tag);

                if (!t)
                        continue;
                in->finding.tactics |= bh_tactic_of_tag(t);
                in->finding.escape |= g_str_equal(t, "T1611");
                in->finding.of_host |= g_str_equal(t, "host");
                in->finding.tool |= g_str_equal(t, "T1105");
                in->finding.rights |= g_str_equal(t, "T1548.001");
        }
}

/* What findings that the sensor or the model makes say without an event. */
static void read_fields(BhIncidentInput *in, const BhStoreFinding *f) {
        gboolean integrity = g_str_equal(f->kind, "integrity"), dns = g_str_equal(f->kind, "dns"), model = g_str_equal(f->kind, "model");
        json_auto_t *fields = (integrity || dns || model) && f->fields ? json_loads(f->fields, 0, NULL) : NULL;
        const char *change = text_of(in, fields, "integrity.change"), *domain = text_of(in, fields, "dns.domain");
        json_int_t bytes = json_integer_value(json_object_get(fields, "dns.bytes"));

        if (model && g_str_equal(text_of(in, fields, "model.verdict"), "novel"))
                in->finding.surprise = bh_incident_surprise(json_integer_value(json_object_get(fields, "model.surprise")), json_is_true(json_object_get(fields, "model.strict")));
        if (integrity && (g_str_equal(change, "is new") || g_str_equal(change, "changed")))
                in->finding.planted = text_of(in, fields, "fd.name");
        if (dns)
                in->finding.domain = domain;
        if (dns && *domain && bytes > 0) {
                g_autofree char *says = g_strdup_printf("at least %" JSON_INTEGER_FORMAT " bytes in DNS names below %s", bytes, domain);

                in->finding.sent = g_string_chunk_insert(in->texts, says);
        }
}

void bh_incident_input_init(BhIncidentInput *in, const BhStoreFinding *f) {
        gsize len = 0;
        const void *event = f->event ? g_bytes_get_data(f->event, &len) : NULL;

        memset(in, 0, sizeof(*in));
        in->texts = g_string_chunk_new(1024);
        in->finding = (BhIncidentFinding){
                .serial = f->serial,
                .id = f->id,
                .rule = f->rule,
                .kind = f->kind,
                .output = f->output,
                .rank = bh_store_priority_rank(f->priority),
                .time_ns = f->time_ns,
                .last_ns = f->last_ns,
                .count = f->count,
                .node = f->node,
                .container_id = f->container_id,
                .container_name = f->container_name,
                .workload = f->workload,
                .application = f->application,
                .lineage = in->lineage,
        };
        read_lineage(in, f->lineage);
        read_tags(in, f->tags);
        read_fields(in, f);
        if (len && bh_event_decode(&in->event, event, len, NULL))
                in->finding.event = &in->event;
        /* a rule about the node speaks of it only where the act was not inside: the same file in a container is the container's */
        if (in->finding.of_host && *f->container_id && !in->finding.escape)
                in->finding.of_host = FALSE;
}

void bh_incident_input_clear(BhIncidentInput *in) {
        g_clear_pointer(&in->texts, g_string_chunk_free);
}

/* ---- out ---- */

static char *finish(GString *list) {
        bh_json_close(list, ']');
        bh_json_end(list);
        return g_string_free(list, FALSE);
}

static GString *begin(void) {
        GString *list = g_string_new(NULL);

        bh_json_open(list, NULL, '[');
        return list;
}

/* Each text once, in the order of first appearance. */
static char *texts_of(const BhIncident *i, gsize offset) {
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        GString *list = begin();

        for (guint n = 0; n < i->lines->len; n++) {
                const char *t = G_STRUCT_MEMBER(char *, g_ptr_array_index(i->lines, n), offset);

                if (*t && g_hash_table_add(seen, (gpointer) t))
                        bh_json_text(list, NULL, t);
        }
        return finish(list);
}

static char *containers_of(const BhIncident *i) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        GString *list = begin();

        for (guint n = 0; n < i->lines->len; n++) {
                const BhIncidentLine *l = g_ptr_array_index(i->lines, n);

                if (!*l->container_id || !g_hash_table_add(seen, g_strconcat(l->node, "\1", l->container_id, NULL)))
                        continue;
                bh_json_open(list, NULL, '{');
                bh_json_text(list, "node", l->node);
                bh_json_text(list, "id", l->container_id);
                bh_json_text(list, "name", l->container_name);
                bh_json_text(list, "workload", l->workload);
                bh_json_text(list, "application", l->application);
                bh_json_text(list, "asset", bh_asset_name(l->asset));
                bh_json_close(list, '}');
        }
        return finish(list);
}

static void append_tactics(GString *out, guint32 tactics) {
        bh_json_open(out, "tactics", '[');
        for (guint t = 0; t < BH_TACTICS; t++)
                if (tactics >> t & 1)
                        bh_json_text(out, NULL, bh_tactic_name(t));
        bh_json_close(out, ']');
}

static const char *const priorities[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug", "" };

static void append_line(GString *out, const BhIncidentLine *l) {
        bh_json_open(out, NULL, '{');
        bh_json_text(out, "finding", l->id);
        bh_json_time(out, "time", l->time_ns);
        bh_json_time(out, "last", l->last_ns);
        bh_json_uint(out, "count", l->count);
        bh_json_text(out, "rule", l->rule);
        bh_json_text(out, "priority", priorities[MIN(l->rank, 8)]);
        append_tactics(out, l->tactics);
        bh_json_text(out, "joined_by", bh_basis_name(l->basis));
        bh_json_text(out, "used", l->used);
        bh_json_text(out, "node", l->node);
        bh_json_text(out, "container_id", l->container_id);
        bh_json_text(out, "container_name", l->container_name);
        bh_json_text(out, "workload", l->workload);
        bh_json_text(out, "application", l->application);
        bh_json_uint(out, "pid", l->pid);
        bh_json_text(out, "exe", l->exe);
        bh_json_text(out, "command", l->command);
        bh_json_text(out, "parent", l->parent);
        bh_json_text(out, "object", l->object);
        bh_json_text(out, "output", l->output);
        bh_json_bool(out, "escape", l->escape);
        bh_json_bool(out, "of_host", l->of_host);
        bh_json_text(out, "asset", bh_asset_name(l->asset));
        bh_json_uint(out, "surprise", l->surprise);
        bh_json_text(out, "deed", bh_deed_name(l->deed));
        bh_json_text(out, "thing", l->thing);
        bh_json_text(out, "origin", l->origin);
        bh_json_int(out, "serial", l->serial);
        bh_json_close(out, '}');
}

static char *text(json_t *o, const char *key) {
        const char *t = json_string_value(json_object_get(o, key));

        return g_strdup(t ? t : "");
}

static gint64 time_of(json_t *o, const char *key) {
        const char *t = json_string_value(json_object_get(o, key));

        return t ? bh_time_parse(t) : 0;
}

static BhIncidentLine *read_line(json_t *o) {
        BhIncidentLine *l = g_new0(BhIncidentLine, 1);
        json_t *tactics = json_object_get(o, "tactics"), *t;
        g_autofree char *priority = text(o, "priority"), *basis = text(o, "joined_by");
        size_t n;

        l->id = text(o, "finding");
        l->rule = text(o, "rule");
        l->output = text(o, "output");
        l->node = text(o, "node");
        l->container_id = text(o, "container_id");
        l->container_name = text(o, "container_name");
        l->workload = text(o, "workload");
        l->application = text(o, "application");
        l->exe = text(o, "exe");
        l->object = text(o, "object");
        l->parent = text(o, "parent");
        l->command = text(o, "command");
        l->serial = json_integer_value(json_object_get(o, "serial"));
        l->pid = (guint32) json_integer_value(json_object_get(o, "pid"));
        l->escape = json_is_true(json_object_get(o, "escape"));
        l->of_host = json_is_true(json_object_get(o, "of_host"));
        l->asset = bh_asset_of_name(json_string_value(json_object_get(o, "asset")));
        l->deed = bh_deed_of_name(json_string_value(json_object_get(o, "deed"))); /* rows of before have none */
        l->thing = text(o, "thing");
        l->used = text(o, "used");
        l->surprise = (guint8) CLAMP(json_integer_value(json_object_get(o, "surprise")), 0, BH_INCIDENT_SURPRISE_MAX);
        l->origin = text(o, "origin");
        l->time_ns = time_of(o, "time");
        l->last_ns = time_of(o, "last");
        l->count = (guint64) MAX(json_integer_value(json_object_get(o, "count")), 1);
        while (l->rank < 8 && !g_str_equal(priority, priorities[l->rank]))
                l->rank++;
        while (l->basis + 1 < BH_BASES && !g_str_equal(basis, bh_basis_name(l->basis)))
                l->basis++;
        json_array_foreach(tactics, n, t)
                for (guint i = 0; i < BH_TACTICS; i++)
                        if (g_strcmp0(json_string_value(t), bh_tactic_name(i)) == 0)
                                l->tactics |= 1u << i;
        return l;
}

static void line_free(gpointer p) {
        bh_incident_line_free(p);
}

GPtrArray *bh_incident_row_read(const char *lines) {
        GPtrArray *all = g_ptr_array_new_with_free_func(line_free);
        json_auto_t *list = *lines ? json_loads(lines, 0, NULL) : NULL;
        json_t *o;
        size_t n;

        json_array_foreach(list, n, o)
                if (json_is_object(o))
                        g_ptr_array_add(all, read_line(o));
        return all;
}

void bh_incident_row_lines(const char *lines, BhIncidents *to, guint64 id) {
        g_autoptr(GPtrArray) all = bh_incident_row_read(lines);

        g_ptr_array_set_free_func(all, NULL);
        for (guint n = 0; n < all->len; n++)
                bh_incidents_restore_line(to, id, all->pdata[n]);
}

static char *lines_of(const BhIncident *i, guint64 *dropped) {
        GString *list = begin();

        for (guint n = 0; n < i->lines->len; n++) {
                if (list->len > BH_INCIDENT_LINES_BYTES) {
                        *dropped += i->lines->len - n;
                        break;
                }
                append_line(list, g_ptr_array_index(i->lines, n));
        }
        return finish(list);
}

void bh_incident_row(const BhIncident *i, const BhStoryEnd *ends, guint n_ends, BhStoreIncident *out) {
        guint64 dropped = i->lines_dropped;
        char *lines = lines_of(i, &dropped);

        *out = (BhStoreIncident){
                .id = i->id,
                .state = (char *) bh_incident_state_name(i->state),
                .merged_into = i->merged_into,
                .severity = i->severity,
                .rank = i->rank,
                .tactics = i->tactics,
                .first_ns = i->first_ns,
                .last_ns = i->last_ns,
                .findings = i->findings,
                .dropped = dropped,
                .title = bh_story_title(i),
                .story = bh_story_text(i, ends, n_ends),
                .nodes = texts_of(i, G_STRUCT_OFFSET(BhIncidentLine, node)),
                .applications = texts_of(i, G_STRUCT_OFFSET(BhIncidentLine, application)),
                .workloads = texts_of(i, G_STRUCT_OFFSET(BhIncidentLine, workload)),
                .containers = containers_of(i),
                .lines = lines,
        };
}

void bh_incident_row_clear(BhStoreIncident *row) {
        char *texts[] = { row->title, row->story, row->nodes, row->applications, row->workloads, row->containers, row->lines };

        for (guint n = 0; n < G_N_ELEMENTS(texts); n++)
                g_free(texts[n]);
}
