/* SPDX-License-Identifier: Apache-2.0 */
#include "views.h"

#include <jansson.h>
#include <string.h>

#include "event/codec.h"
#include "json_out.h"

#define SHORT_ID 12

/* The store keeps lists as they came; the ingest wrote them. A damaged one must not break the answer around it. */
static void json_text(GString *out, const char *key, const char *text, const char *fallback) {
        json_t *v = text && *text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

        bh_json_raw(out, key, v ? text : fallback);
        json_decref(v);
}

/* "created_ns" is told as "created": text, not a number that JavaScript would round. */
static void time_member(GString *out, const char *member, gint64 ns) {
        g_autofree char *name = g_strndup(member, strlen(member) - 3);

        bh_json_time(out, name, ns);
}

void bh_view_container(GString *out, const char *key, const BhStoreContainer *c) {
        g_autofree char *short_id = g_strndup(c->id, SHORT_ID);

        bh_json_open(out, key, '{');
        bh_json_text(out, "node", c->node);
        bh_json_text(out, "id", c->id);
        bh_json_text(out, "display_name", *c->name ? c->name : short_id);
#define BH_STORE_V_TEXT(m) bh_json_text(out, #m, c->m);
#define BH_STORE_V_LIST(m) json_text(out, #m, c->m, "[]");
#define BH_STORE_V_MAP(m) json_text(out, #m, c->m, "{}");
#define BH_STORE_V_BOOL(m) bh_json_bool(out, #m, c->m);
#define BH_STORE_V_INT(m) bh_json_int(out, #m, c->m);
#define BH_STORE_V_TIME(m) time_member(out, #m, c->m);
#define BH_STORE_FIELD(kind, m) BH_STORE_V_##kind(m)
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        bh_json_time(out, "first_seen", c->first_seen_ns);
        bh_json_time(out, "last_seen", c->last_seen_ns);
        bh_json_time(out, "ended", c->ended_ns);
        bh_json_close(out, '}');
}

void bh_view_resource(GString *out, const char *key, const BhStoreResource *r) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "kind", r->kind);
        bh_json_text(out, "id", r->id);
        bh_json_text(out, "name", r->name);
        bh_json_text(out, "application", r->application);
        bh_json_text(out, "scope", r->scope);
        bh_json_text(out, "source", r->source);
        bh_json_text(out, "node", r->node);
        json_text(out, "labels", r->labels, "{}");
        json_text(out, "detail", r->detail, "{}");
        bh_json_time(out, "created", r->created_ns);
        bh_json_time(out, "updated", r->updated_ns);
        bh_json_time(out, "first_seen", r->first_seen_ns);
        bh_json_time(out, "changed", r->changed_ns);
        bh_json_int(out, "serial", r->serial);
        bh_json_close(out, '}');
}

void bh_view_workload(GString *out, const char *key, const BhStoreWorkload *w) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "application", w->application);
        bh_json_text(out, "workload", w->workload);
        bh_json_open(out, "images", '[');
        for (guint i = 0; w->images && i < w->images->len; i++) {
                const BhStoreImage *image = w->images->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "image", image->image);
                bh_json_text(out, "image_digest", image->image_digest);
                bh_json_uint(out, "running", image->running);
                bh_json_uint(out, "total", image->total);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "running", w->running);
        bh_json_uint(out, "containers", w->containers);
        bh_json_uint(out, "nodes", w->nodes);
        bh_json_uint(out, "executables", w->executables);
        bh_json_uint(out, "observations", w->observations);
        bh_json_uint(out, "observations_refused", w->refused);
        bh_json_uint(out, "findings", w->findings);
        bh_json_time(out, "first_seen", w->first_seen_ns);
        bh_json_time(out, "last_seen", w->last_seen_ns);
        bh_json_close(out, '}');
}

void bh_view_application(GString *out, const char *key, const BhStoreApplication *a) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "application", a->application);
        bh_json_uint(out, "workloads", a->workloads);
        bh_json_uint(out, "running", a->running);
        bh_json_uint(out, "containers", a->containers);
        bh_json_uint(out, "nodes", a->nodes);
        bh_json_uint(out, "findings", a->findings);
        bh_json_time(out, "first_seen", a->first_seen_ns);
        bh_json_time(out, "last_seen", a->last_seen_ns);
        bh_json_close(out, '}');
}

void bh_view_observation(GString *out, const char *key, const BhStoreObservation *o) {
        bh_json_open(out, key, '{');
        bh_json_int(out, "id", o->id);
        bh_json_text(out, "kind", o->kind);
        bh_json_text(out, "subject", o->subject);
        bh_json_text(out, "parent", o->parent);
        bh_json_text(out, "detail", o->detail);
        bh_json_uint(out, "uid", o->uid);
        bh_json_text(out, "example", o->example);
        bh_json_bool(out, "suspicious", o->suspicious);
        bh_json_text(out, "why", o->why);
        bh_json_uint(out, "count", o->count);
        bh_json_text(out, "application", o->application);
        bh_json_text(out, "workload", o->workload);
        bh_json_text(out, "image_digest", o->image_digest);
        bh_json_text(out, "node", o->node);
        bh_json_text(out, "container_id", o->container_id);
        bh_json_time(out, "first", o->first_ns);
        bh_json_time(out, "last", o->last_ns);
        bh_json_close(out, '}');
}

void bh_view_endpoint(GString *out, const char *key, const BhStoreEndpoint *e) {
        static const char *const statuses[] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
        const char *space = strchr(e->o->subject, ' ');
        g_autofree char *method = g_strndup(e->o->subject, space ? (gsize) (space - e->o->subject) : strlen(e->o->subject));

        bh_json_open(out, key, '{');
        bh_json_int(out, "id", e->o->id);
        bh_json_text(out, "side", e->o->detail);
        bh_json_text(out, "method", method);
        bh_json_text(out, "path", space ? space + 1 : "*");
        bh_json_text(out, "example", e->o->example);
        bh_json_text(out, "program", e->o->parent);
        bh_json_uint(out, "count", e->o->count);
        bh_json_open(out, "statuses", '{');
        for (guint i = 0; i < G_N_ELEMENTS(statuses); i++)
                bh_json_uint(out, statuses[i], e->http.statuses[i]);
        bh_json_close(out, '}');
        bh_json_uint(out, "request_bytes", e->http.request_bytes);
        bh_json_uint(out, "response_bytes", e->http.response_bytes);
        bh_json_uint(out, "timed", e->http.timed);
        bh_json_uint(out, "latency_us", e->http.latency_us);
        bh_json_uint(out, "latency_max_us", e->http.latency_max_us);
        bh_json_open(out, "parameters", '[');
        for (guint i = 0; i < e->parameters->len; i++) {
                const BhStoreParameter *p = e->parameters->pdata[i];

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "name", p->name);
                bh_json_text(out, "what", p->what);
                bh_json_uint(out, "count", p->count);
                bh_json_time(out, "first", p->first_ns);
                bh_json_time(out, "last", p->last_ns);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_uint(out, "parameters_beyond", e->http.beyond);
        bh_json_text(out, "application", e->o->application);
        bh_json_text(out, "workload", e->o->workload);
        bh_json_text(out, "image_digest", e->o->image_digest);
        bh_json_text(out, "node", e->o->node);
        bh_json_text(out, "container_id", e->o->container_id);
        bh_json_time(out, "first", e->o->first_ns);
        bh_json_time(out, "last", e->o->last_ns);
        bh_json_close(out, '}');
}

static void finding_members(GString *out, const BhStoreFinding *f) {
        bh_json_text(out, "id", f->id);
        bh_json_time(out, "time", f->time_ns);
        bh_json_text(out, "rule", f->rule);
        bh_json_text(out, "priority", f->priority);
        bh_json_text(out, "source", f->source);
        bh_json_text(out, "hostname", f->hostname);
        bh_json_text(out, "output", f->output);
        json_text(out, "output_fields", f->fields, "{}");
        json_text(out, "tags", f->tags, "[]");
        bh_json_text(out, "container_id", f->container_id);
        bh_json_text(out, "container_name", f->container_name);
        bh_json_text(out, "workload", f->workload);
        bh_json_text(out, "application", f->application);
        bh_json_text(out, "image", f->image);
        bh_json_text(out, "node", f->node);
        bh_json_text(out, "kind", f->kind);
        bh_json_uint(out, "count", f->count);
        bh_json_time(out, "last", f->last_ns);
        bh_json_time(out, "received", f->received_ns);
}

/* The names of Falco's alert output where it has them: time, rule, priority, source, hostname, output, output_fields, tags. */
void bh_view_finding(GString *out, const char *key, const BhStoreFinding *f) {
        bh_json_open(out, key, '{');
        finding_members(out, f);
        bh_json_close(out, '}');
}

void bh_view_finding_whole(GString *out, const char *key, const BhStoreFinding *f) {
        bh_json_open(out, key, '{');
        finding_members(out, f);
        bh_json_text(out, "description", f->description);
        bh_json_text(out, "advice", f->advice);
        json_text(out, "container", f->container, "null");
        json_text(out, "lineage", f->lineage, "[]");
        if (!f->event)
                bh_json_raw(out, "event", NULL);
        else {
                gsize len;
                const void *data = g_bytes_get_data(f->event, &len);
                struct bh_event e;

                if (len && bh_event_decode(&e, data, len, NULL)) {
                        g_autoptr(GString) text = g_string_new(NULL);

                        bh_event_to_json(&e, text);
                        bh_json_raw(out, "event", text->str);
                } else {
                        bh_json_raw(out, "event", NULL);
                }
        }
        bh_json_close(out, '}');
}

void bh_view_node(GString *out, const char *key, const BhStoreNode *n, gboolean with_status) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "name", n->name);
        bh_json_bool(out, "up", n->up);
        bh_json_text(out, "version", n->version);
        bh_json_text(out, "boot_id", n->boot_id);
        bh_json_time(out, "first_seen", n->first_seen_ns);
        bh_json_time(out, "last_seen", n->last_seen_ns);
        bh_json_uint(out, "running", n->running);
        bh_json_uint(out, "containers", n->containers);
        bh_json_time(out, "status_time", n->status_ns);
        if (with_status)
                json_text(out, "status", n->status, "{}");
        bh_json_close(out, '}');
}

void bh_view_loss(GString *out, const char *key, const BhStoreLossRow *l) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "node", l->node);
        bh_json_text(out, "topic", l->topic);
        bh_json_text(out, "reason", l->reason);
        bh_json_uint(out, "count", l->count);
        bh_json_uint(out, "bytes", l->bytes);
        bh_json_uint(out, "times", l->times);
        bh_json_time(out, "first", l->first_ns);
        bh_json_time(out, "last", l->last_ns);
        bh_json_close(out, '}');
}

void bh_view_user(GString *out, const char *key, const BhStoreUser *u) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "name", u->name);
        bh_json_text(out, "role", bh_store_role_name(u->role));
        bh_json_bool(out, "disabled", u->disabled);
        bh_json_bool(out, "must_change_password", u->must_change);
        bh_json_time(out, "created", u->created_ns);
        bh_json_time(out, "password_changed", u->changed_ns);
        bh_json_time(out, "last_login", u->last_login_ns);
        bh_json_close(out, '}');
}

void bh_view_token(GString *out, const char *key, const BhStoreToken *t) {
        bh_json_open(out, key, '{');
        bh_json_text(out, "id", t->id);
        bh_json_text(out, "name", t->name);
        bh_json_text(out, "user", t->user);
        bh_json_text(out, "role", bh_store_role_name(t->role));
        bh_json_bool(out, "valid", t->effective != BH_STORE_ROLE_NONE);
        bh_json_time(out, "created", t->created_ns);
        bh_json_time(out, "expires", t->expires_ns);
        bh_json_time(out, "last_used", t->last_used_ns);
        bh_json_time(out, "revoked", t->revoked_ns);
        bh_json_close(out, '}');
}

void bh_view_audit(GString *out, const char *key, const BhStoreAuditRow *r) {
        bh_json_open(out, key, '{');
        bh_json_int(out, "id", r->id);
        bh_json_time(out, "time", r->time_ns);
        bh_json_text(out, "actor", r->actor);
        bh_json_text(out, "role", r->role);
        bh_json_text(out, "address", r->address);
        bh_json_text(out, "action", r->action);
        bh_json_text(out, "object", r->object);
        bh_json_text(out, "outcome", r->outcome);
        bh_json_text(out, "detail", r->detail);
        bh_json_text(out, "hash", r->hash);
        bh_json_close(out, '}');
}
