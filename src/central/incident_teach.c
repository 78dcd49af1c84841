/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_teach.h"

#include <string.h>

#include "base/escape.h"
#include "base/log.h"
#include "incident_row.h"
#include "models.h"
#include "store/store_inventory.h"

typedef void (*LineFunc)(const BhStoreFinding *f, gpointer data);

static void each_finding(BhStore *s, const BhStoreIncident *i, LineFunc func, gpointer data) {
        json_auto_t *list = *i->lines ? json_loads(i->lines, 0, NULL) : NULL;
        json_t *line;
        size_t n;

        json_array_foreach(list, n, line) {
                const char *id = json_string_value(json_object_get(line, "finding"));
                g_autoptr(BhStoreFinding) f = id && n < BH_INCIDENT_TAUGHT ? bh_store_finding(s, id, NULL) : NULL;

                if (f)
                        func(f, data);
        }
}

/* ---- rules ---- */

typedef struct {
        GString *out;
        GHashTable *seen;
        guint64 incident;
        guint n;
} Proposal;

/* "registry/shop/web:1@sha256:…" without tag and digest. Caller frees. */
static char *repository_of(const char *image) {
        const char *at = strchr(image, '@'), *end = at ? at : image + strlen(image);
        const char *slash = g_strrstr_len(image, end - image, "/"), *colon = g_strrstr_len(image, end - image, ":");

        return g_strndup(image, (gsize) ((colon && (!slash || colon > slash) ? colon : end) - image));
}

static void add_value(GString *fields, GString *comps, GString *values, const char *field, const char *value) {
        if (!value || !*value)
                return;
        g_string_append_printf(fields, "%s%s", fields->len ? ", " : "", field);
        g_string_append_printf(comps, "%s\"=\"", comps->len ? ", " : "");
        if (values->len)
                g_string_append(values, ", ");
        bh_escape_append_json(values, value, -1); /* YAML reads a JSON text as it is */
}

static void propose(const BhStoreFinding *f, gpointer data) {
        Proposal *p = data;
        g_auto(BhIncidentInput) in = { 0 };
        g_autoptr(GString) fields = g_string_new(NULL), comps = g_string_new(NULL), values = g_string_new(NULL), rule = g_string_new(NULL);
        g_autofree char *repository = repository_of(f->image);
        const struct bh_event *e;
        g_autofree char *path = NULL;

        if (!g_str_equal(f->kind, "rule"))
                return;
        bh_incident_input_init(&in, f);
        e = in.finding.event;
        if (!e)
                return; /* nothing is known of it that an exception could name */
        add_value(fields, comps, values, "container.image.repository", repository);
        add_value(fields, comps, values, "proc.exepath", in.finding.n_lineage ? in.finding.lineage[0].exe : NULL);
        add_value(fields, comps, values, "proc.pexepath", in.finding.n_lineage > 1 ? in.finding.lineage[1].exe : NULL);
        if (e->type == BH_EV_OPEN && bh_event_has(e, BH_F_path))
                path = g_strndup(e->path.p, e->path.len);
        add_value(fields, comps, values, "fd.name", path);
        if (!fields->len)
                return;
        bh_escape_append_json(rule, f->rule, -1);
        if (!g_hash_table_add(p->seen, g_strconcat(rule->str, "\1", values->str, NULL)))
                return;
        p->n++;
        g_string_append_printf(p->out, "\n- rule: %s\n  exceptions:\n    - name: incident_%" G_GUINT64_FORMAT "_%u\n      fields: [%s]\n      comps: [%s]\n      values:\n        - [%s]\n  override: {exceptions: append}\n",
                               rule->str, p->incident, p->n, fields->str, comps->str, values->str);
}

guint bh_incident_exceptions(BhStore *s, GString *out, const BhStoreIncident *i) {
        Proposal p = { out, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), i->id, 0 };

        g_string_append_printf(out, "# Exceptions that would have kept incident %" G_GUINT64_FORMAT " quiet. Read each: what it lets pass, an attacker may do, too. Take out what you do not want, then\n"
                                    "# \"bulkhead rules check\" with the default rules before it, and \"bulkhead rules set\".\n",
                               i->id);
        each_finding(s, i, propose, &p);
        if (!p.n)
                g_string_append(out, "[]\n");
        g_hash_table_unref(p.seen);
        return p.n;
}

/* ---- models ---- */

const char *bh_taught_name(BhTaught t) {
        static const char *const names[BH_TAUGHT_KINDS] = { "none", "accepted", "known", "forbidden", "gone", "failed" };

        return names[t];
}

static json_t *fields_of(const BhStoreFinding *f) {
        return g_str_equal(f->kind, "model") && f->fields && *f->fields ? json_loads(f->fields, 0, NULL) : NULL;
}

BhTaught bh_incident_teach_model(BhModel *m, const BhStoreFinding *f, guint64 *item) {
        json_auto_t *fields = fields_of(f);
        const char *number = json_string_value(json_object_get(fields, "model.item")), *digest = json_string_value(json_object_get(fields, "model.image_digest"));

        if (!number)
                return BH_TAUGHT_NONE;
        *item = g_ascii_strtoull(number, NULL, 16);
        BhModelVersion *v = m ? bh_model_version(m, digest && *digest ? digest : NULL) : NULL;
        const BhItem *known = v ? bh_model_item(v, *item) : NULL;
        if (!known)
                return BH_TAUGHT_GONE;
        /* what a person forbade by name no verdict about a whole incident allows */
        if (known->flags & BH_ITEM_FORBIDDEN)
                return BH_TAUGHT_FORBIDDEN;
        if (known->flags & BH_ITEM_ACCEPTED)
                return BH_TAUGHT_KNOWN;
        return bh_model_accept(m, v, *item) ? BH_TAUGHT_ACCEPTED : BH_TAUGHT_GONE;
}

static BhTaught teach(BhCall *call, const BhStoreFinding *f) {
        BhModels *models = call->central->models;
        g_autoptr(GError) error = NULL;
        guint64 item = 0;

        bh_models_acquire(models);
        BhModel *m = bh_models_get(models, f->application, f->workload);
        BhTaught t = bh_incident_teach_model(m, f, &item);
        if (t == BH_TAUGHT_ACCEPTED) {
                g_autofree char *object = g_strconcat(f->application, "/", f->workload, NULL), *detail = g_strdup_printf("accept %016" G_GINT64_MODIFIER "x", item);
                BhStoreAuditEntry audit = bh_call_audit(call, object, "ok", detail);

                if (!bh_models_keep(models, m, &audit, &error)) {
                        bh_error("what a verdict taught cannot be kept", "error", error->message);
                        t = BH_TAUGHT_FAILED;
                }
        }
        bh_models_release(models);
        return t;
}

static void note_id(const char *finding, G_GNUC_UNUSED guint64 incident, G_GNUC_UNUSED gboolean open, gpointer data) {
        g_ptr_array_add(data, g_strdup(finding));
}

/* For the audit log: what was not taught, and why. Caller frees. */
static char *say(const BhIncidentTaught *t) {
        GString *out = g_string_new(NULL);

        g_string_append_printf(out, "%u items of models accepted", t->n[BH_TAUGHT_ACCEPTED]);
        if (t->n[BH_TAUGHT_FORBIDDEN])
                g_string_append_printf(out, ", %u not: forbidden by name", t->n[BH_TAUGHT_FORBIDDEN]);
        if (t->n[BH_TAUGHT_GONE])
                g_string_append_printf(out, ", %u not: the model does not have them any more", t->n[BH_TAUGHT_GONE]);
        if (t->n[BH_TAUGHT_FAILED])
                g_string_append_printf(out, ", %u not: they cannot be stored", t->n[BH_TAUGHT_FAILED]);
        if (t->more)
                g_string_append_printf(out, "; of the incident's findings the latest %u were looked at", BH_INCIDENT_TAUGHT_FINDINGS);
        return g_string_free(out, FALSE);
}

void bh_incident_teach(BhCall *call, guint64 incident, BhIncidentTaught *out) {
        g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) error = NULL;

        *out = (BhIncidentTaught){ 0 };
        if (!call->central->models)
                return;
        /* one more than is looked at tells whether there are more */
        if (!bh_store_incident_members(call->central->store, incident, BH_INCIDENT_TAUGHT_FINDINGS + 1, note_id, ids, &error)) {
                bh_error("what a verdict teaches cannot be read", "error", error->message);
                out->n[BH_TAUGHT_FAILED]++;
        }
        out->more = ids->len > BH_INCIDENT_TAUGHT_FINDINGS;
        for (guint i = out->more; i < ids->len; i++) {
                g_autoptr(BhStoreFinding) f = bh_store_finding(call->central->store, ids->pdata[i], NULL);

                if (f && g_str_equal(f->kind, "model"))
                        out->n[teach(call, f)]++;
        }
        if (out->n[BH_TAUGHT_FORBIDDEN] + out->n[BH_TAUGHT_GONE] + out->n[BH_TAUGHT_FAILED] || out->more) {
                g_autofree char *detail = say(out);
                BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "failed", detail);

                g_clear_error(&error);
                if (!bh_store_audit(call->central->store, &audit, &error))
                        bh_error("what a verdict did not teach cannot be put down", "error", error->message);
        }
}
