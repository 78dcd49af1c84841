/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_incidents.h"

#include "store/store_private.h"

#define JSON_COLUMN_MAX (1 << 20)

void bh_store_incident_free(BhStoreIncident *i) {
        if (!i)
                return;
        char *texts[] = { i->state, i->title, i->story, i->nodes, i->applications, i->workloads, i->containers, i->lines, i->assignee, i->verdict, i->closed_by };

        for (guint n = 0; n < G_N_ELEMENTS(texts); n++)
                g_free(texts[n]);
        g_free(i);
}

void bh_store_incident_note_free(BhStoreIncidentNote *n) {
        if (!n)
                return;
        g_free(n->who);
        g_free(n->text);
        g_free(n);
}

/* ---- the correlation's ---- */

gboolean bh_store_incidents_position(BhStore *s, guint64 *position, GError **error) {
        BhDb *db = bh_store_read(s, error);
        gint64 v = 0;
        gboolean ok = db && bh_db_get_int(db, &v, NULL, error, "SELECT position FROM incident_position WHERE one = 1", "");

        if (db)
                bh_store_read_done(s, db);
        *position = (guint64) MAX(v, 0);
        return ok;
}

gboolean bh_store_incidents_last(BhStore *s, guint64 *id, GError **error) {
        BhDb *db = bh_store_read(s, error);
        gint64 v = 0;
        gboolean ok = db && bh_db_get_int(db, &v, NULL, error, "SELECT last FROM incident_position WHERE one = 1", "");

        if (db)
                bh_store_read_done(s, db);
        *id = (guint64) MAX(v, 0);
        return ok;
}

static gboolean log_row(BhStore *s, guint64 id, GError **error) {
        g_autofree char *key = g_strdup_printf("%" G_GUINT64_FORMAT, id);

        return bh_store_log(s, BH_STORE_CHANGE_INCIDENT, key, NULL, error);
}

static gboolean put_row(BhStore *s, const BhStoreIncident *i, GError **error) {
        gboolean forming = g_str_equal(i->state, "forming");

        if (i->merged_into)
                s->evidence_held = 0;
        /* nobody was told of it: its findings go along, and it goes without a trace */
        if (forming && i->merged_into)
                return bh_db_run(s->writer, error, "UPDATE incident_findings SET incident = ? WHERE incident = ?", "uu", i->merged_into, i->id) &&
                       bh_db_run(s->writer, error, "DELETE FROM incidents WHERE id = ? AND state = 'forming'", "u", i->id);
        /* what it was stays to be read where it was; its findings are elsewhere */
        if (i->merged_into)
                return bh_db_run(s->writer, error, "UPDATE incident_findings SET incident = ? WHERE incident = ?", "uu", i->merged_into, i->id) &&
                       bh_db_run(s->writer, error, "UPDATE incidents SET state = 'merged', merged_into = ?, changed_ns = ? WHERE id = ? AND state <> 'closed'", "uiu", i->merged_into, s->tx_now, i->id) &&
                       log_row(s, i->id, error);
        if (!bh_db_run(s->writer, error,
                       "INSERT INTO incidents (id, state, merged_into, severity, rank, tactics, first_ns, last_ns, findings, dropped, title, story, nodes, applications, workloads, containers, lines, "
                       "opened_ns, changed_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                       "state = CASE WHEN incidents.state IN ('closed', 'merged') THEN incidents.state ELSE excluded.state END, severity = max(incidents.severity, excluded.severity), "
                       "rank = min(incidents.rank, excluded.rank), tactics = incidents.tactics | excluded.tactics, first_ns = min(incidents.first_ns, excluded.first_ns), "
                       "last_ns = max(incidents.last_ns, excluded.last_ns), findings = max(incidents.findings, excluded.findings), dropped = max(incidents.dropped, excluded.dropped), "
                       "title = excluded.title, story = excluded.story, nodes = excluded.nodes, applications = excluded.applications, workloads = excluded.workloads, "
                       "containers = excluded.containers, lines = excluded.lines, opened_ns = CASE WHEN incidents.opened_ns > 0 THEN incidents.opened_ns ELSE excluded.opened_ns END, "
                       "changed_ns = excluded.changed_ns",
                       "utuiiiiiuutttttttii", i->id, i->state, i->merged_into, (gint64) i->severity, (gint64) i->rank, (gint64) i->tactics, i->first_ns, i->last_ns, i->findings, i->dropped,
                       bh_store_clean(s, i->title, BH_STORE_TEXT_MAX), bh_store_clean(s, i->story, BH_STORE_OUTPUT_MAX), bh_store_clean_json(s, i->nodes, "[]"),
                       bh_store_clean_json(s, i->applications, "[]"), bh_store_clean_json(s, i->workloads, "[]"), bh_store_clean_json(s, i->containers, "[]"),
                       bh_store_clean(s, i->lines, JSON_COLUMN_MAX), forming ? 0 : s->tx_now, s->tx_now))
                return FALSE;
        return forming || log_row(s, i->id, error);
}

static gboolean add_note(BhStore *s, guint64 id, const char *who, const char *text, GError **error) {
        gint64 have;

        if (!bh_db_get_int(s->writer, &have, NULL, error, "SELECT count(*) FROM incident_notes WHERE incident = ?", "u", id))
                return FALSE;
        if (have >= BH_STORE_INCIDENT_NOTES_MAX) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "incident %" G_GUINT64_FORMAT " has %d comments, which is as many as there may be", id, BH_STORE_INCIDENT_NOTES_MAX);
                return FALSE;
        }
        return bh_db_run(s->writer, error, "INSERT INTO incident_notes (incident, time_ns, who, text) VALUES (?, ?, ?, ?)", "uitt", id, s->tx_now, bh_store_clean(s, who, BH_STORE_KEY_MAX),
                         bh_store_clean(s, text, BH_STORE_INCIDENT_NOTE_MAX));
}

/* Beyond the bound: what forms and was quiet for long, what ended, then the oldest. */
static gboolean make_room(BhStore *s, GError **error) {
        gint64 have;

        if (!bh_db_get_int(s->writer, &have, NULL, error, "SELECT count(*) FROM incidents", ""))
                return FALSE;
        if (have <= BH_STORE_INCIDENTS_MAX)
                return TRUE;
        s->evidence_held = 0;
        return bh_db_run(s->writer, error, "DELETE FROM incidents WHERE id IN (SELECT id FROM incidents ORDER BY CASE state WHEN 'merged' THEN 0 WHEN 'forming' THEN 1 WHEN 'closed' THEN 2 ELSE 3 END, "
                         "last_ns LIMIT ?)", "i", have - BH_STORE_INCIDENTS_MAX) &&
               bh_db_run(s->writer, error, "DELETE FROM incident_findings WHERE incident NOT IN (SELECT id FROM incidents)", "") &&
               bh_db_run(s->writer, error, "DELETE FROM incident_notes WHERE incident NOT IN (SELECT id FROM incidents)", "");
}

static gboolean put(BhStore *s, const BhStoreIncident *rows, guint n, const BhStoreIncidentMember *members, guint n_members, guint64 position, GError **error) {
        guint64 last = 0;

        for (guint i = 0; i < n_members; i++)
                if (!bh_db_run(s->writer, error, "INSERT INTO incident_findings (serial, incident) VALUES (?, ?) ON CONFLICT (serial) DO UPDATE SET incident = excluded.incident", "iu",
                               members[i].serial, members[i].incident))
                        return FALSE;
        for (guint i = 0; i < n; i++) {
                last = MAX(last, rows[i].id);
                if (!put_row(s, &rows[i], error))
                        return FALSE;
        }
        return (!n || make_room(s, error)) &&
               bh_db_run(s->writer, error, "INSERT INTO incident_position (one, position, last) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET position = excluded.position, "
                         "last = max(incident_position.last, excluded.last)", "uu", position, last);
}

gboolean bh_store_incidents_put(BhStore *s, const BhStoreIncident *rows, guint n, const BhStoreIncidentMember *members, guint n_members, guint64 position, GError **error) {
        return bh_store_begin(s, error) && bh_store_end(s, put(s, rows, n, members, n_members, position, error), error);
}

/* In rows of `meta` by the names of both, the smaller first: they are few, and belong to no row of an incident alone. */
static gboolean put_apart(BhStore *s, const BhStoreIncidentApart *x, GError **error) {
        g_autofree char *key = g_strdup_printf("apart:%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, MIN(x->a, x->b), MAX(x->a, x->b));

        if (!x->apart)
                return bh_db_run(s->writer, error, "DELETE FROM meta WHERE \"key\" = ?", "t", key);
        return bh_db_run(s->writer, error, "INSERT INTO meta (\"key\", value) VALUES (?, '') ON CONFLICT (\"key\") DO NOTHING", "t", key) &&
               bh_db_run(s->writer, error, "DELETE FROM meta WHERE \"key\" LIKE 'apart:%' AND \"key\" NOT IN (SELECT \"key\" FROM meta WHERE \"key\" LIKE 'apart:%' "
                         "ORDER BY CAST(substr(\"key\", 7) AS INTEGER) DESC LIMIT ?)", "i", (gint64) BH_STORE_INCIDENTS_APART);
}

gboolean bh_store_incidents_apart(BhStore *s, void (*each)(guint64, guint64, gpointer), gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT substr(\"key\", 7) FROM meta WHERE \"key\" LIKE 'apart:%'", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                char *end;
                guint64 a = g_ascii_strtoull(bh_db_peek(st, 0), &end, 10);

                if (*end == ':')
                        each(a, g_ascii_strtoull(end + 1, NULL, 10), data);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

gboolean bh_store_incidents_decide(BhStore *s, const BhStoreIncident *rows, guint n, const BhStoreIncidentMember *members, guint n_members, guint64 position, const BhStoreIncidentSaid *said, guint n_said,
                                   const BhStoreIncidentApart *apart, const BhStoreAuditEntry *audit, GError **error) {
        gboolean ok;

        if (!bh_store_begin(s, error))
                return FALSE;
        s->evidence_held = 0;
        /* numbers of a row only rise by what is found; what people take out of it goes */
        for (guint i = 0; i < n; i++)
                if (!rows[i].merged_into && !bh_db_run(s->writer, error, "UPDATE incidents SET findings = 0, dropped = 0, tactics = 0, severity = 0, rank = 8, first_ns = ?, last_ns = 0 WHERE id = ?", "iu", G_MAXINT64, rows[i].id))
                        return bh_store_end(s, FALSE, error);
        ok = put(s, rows, n, members, n_members, position, error);
        for (guint i = 0; ok && i < n_said; i++) {
                g_autoptr(GError) full = NULL;

                ok = add_note(s, said[i].incident, said[i].who, said[i].text, &full) || g_error_matches(full, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT);
                if (!ok)
                        g_propagate_error(error, g_steal_pointer(&full));
        }
        return bh_store_end(s, ok && (!apart || put_apart(s, apart, error)) && bh_store_put_audit(s, audit, error), error);
}

gboolean bh_store_incident_members(BhStore *s, guint64 id, guint max, BhStoreMemberFunc func, gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT id, incident, open FROM (SELECT f.serial AS serial, f.id AS id, m.incident AS incident, i.state = 'open' AS open FROM incident_findings m "
                                   "JOIN incidents i ON i.id = m.incident JOIN findings f ON f.serial = m.serial WHERE m.incident = ? ORDER BY f.serial DESC LIMIT ?) ORDER BY serial", "ui", id, (gint64) max);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                func(bh_db_peek(st, 0), (guint64) bh_db_int(st, 1), bh_db_int(st, 2) != 0, data);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

gboolean bh_store_incidents_members(BhStore *s, gint64 since_ns, guint max, BhStoreMemberFunc func, gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT id, incident, open FROM (SELECT f.serial AS serial, f.id AS id, m.incident AS incident, i.state = 'open' AS open FROM incident_findings m "
                                   "JOIN incidents i ON i.id = m.incident JOIN findings f ON f.serial = m.serial WHERE i.state IN ('open', 'forming') AND (i.last_ns >= ? OR i.changed_ns >= ?) "
                                   "ORDER BY f.serial DESC LIMIT ?) ORDER BY serial", "iii", since_ns, since_ns, (gint64) max);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                func(bh_db_peek(st, 0), (guint64) bh_db_int(st, 1), bh_db_int(st, 2) != 0, data);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

gboolean bh_store_incident_is_closed(BhStore *s, gint64 serial, gboolean *closed, GError **error) {
        BhDb *db = bh_store_read(s, error);
        gint64 n = 0;
        gboolean ok = db && bh_db_get_int(db, &n, NULL, error, "SELECT count(*) FROM incident_findings m JOIN incidents i ON i.id = m.incident WHERE m.serial = ? AND i.state = 'closed'", "i", serial);

        if (db)
                bh_store_read_done(s, db);
        *closed = n > 0;
        return ok;
}

/* ---- queries ---- */

#define COLUMNS "id, state, merged_into, severity, rank, tactics, first_ns, last_ns, findings, dropped, title, story, nodes, applications, workloads, containers, assignee, verdict, closed_by, " \
                "closed_ns, opened_ns, changed_ns"

static BhStoreIncident *take_row(BhDbStmt *st, gboolean whole) {
        BhStoreIncident *i = g_new0(BhStoreIncident, 1);
        char **texts[] = { &i->title, &i->story, &i->nodes, &i->applications, &i->workloads, &i->containers, &i->assignee, &i->verdict, &i->closed_by };
        guint at = 10;

        i->id = (guint64) bh_db_int(st, 0);
        i->state = bh_db_text(st, 1);
        i->merged_into = (guint64) bh_db_int(st, 2);
        i->severity = (guint) CLAMP(bh_db_int(st, 3), 0, 3);
        i->rank = (guint) CLAMP(bh_db_int(st, 4), 0, 8);
        i->tactics = (guint32) bh_db_int(st, 5);
        i->first_ns = bh_db_int(st, 6);
        i->last_ns = bh_db_int(st, 7);
        i->findings = (guint64) bh_db_int(st, 8);
        i->dropped = (guint64) bh_db_int(st, 9);
        for (guint n = 0; n < G_N_ELEMENTS(texts); n++)
                *texts[n] = bh_db_text(st, at++);
        i->closed_ns = bh_db_int(st, at++);
        i->opened_ns = bh_db_int(st, at++);
        i->changed_ns = bh_db_int(st, at++);
        i->lines = whole ? bh_db_text(st, at) : g_strdup("");
        return i;
}

static gpointer take_short(BhDbStmt *st) {
        return take_row(st, FALSE);
}

static void filter_to_where(BhWhere *w, const BhStoreIncidentFilter *f) {
        bh_where_init(w);
        bh_where_sql(w, f && f->state ? "state <> 'forming'" : "state IN ('open', 'closed')");
        if (!f)
                return;
        bh_where_text(w, "state = ?", f->state);
        bh_where_text(w, "assignee = ?", f->assignee);
        bh_where_text(w, "EXISTS (SELECT 1 FROM json_each(applications) WHERE value = ?)", f->application);
        bh_where_text(w, "EXISTS (SELECT 1 FROM json_each(workloads) WHERE value = ?)", f->workload);
        bh_where_text(w, "EXISTS (SELECT 1 FROM json_each(containers) AS c WHERE ? IN (json_extract(c.value, '$.id'), json_extract(c.value, '$.name')))", f->container);
        bh_where_text(w, "EXISTS (SELECT 1 FROM json_each(nodes) WHERE value = ?)", f->node);
        bh_where_contains(w, "title || ' ' || story", f->search);
        if (f->min_severity)
                bh_where_int(w, "severity >= ?", f->min_severity);
        if (f->since_ns)
                bh_where_int(w, "last_ns >= ?", f->since_ns);
        if (f->until_ns)
                bh_where_int(w, "first_ns < ?", f->until_ns);
}

static char *cursor_after(gconstpointer row) {
        const BhStoreIncident *i = row;

        return g_strdup_printf("%" G_GINT64_FORMAT ".%" G_GUINT64_FORMAT, i->last_ns, i->id);
}

BhStorePage *bh_store_incidents(BhStore *s, const BhStoreIncidentFilter *filter, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT " COLUMNS " FROM incidents", " ORDER BY last_ns DESC, id DESC", take_short, (GDestroyNotify) bh_store_incident_free, cursor_after };
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_where_cursor(&w, "(last_ns, id) < (?, ?)", 2, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

gboolean bh_store_incidents_count(BhStore *s, const BhStoreIncidentFilter *filter, guint64 *count, GError **error) {
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_store_count(s, &w, "incidents", count, error);
}

static gboolean not_found(GError **error, guint64 id) {
        g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT, id);

        return bh_store_not_found(error, "incident", name);
}

BhStoreIncident *bh_store_incident(BhStore *s, guint64 id, GError **error) {
        BhStoreIncident *i = NULL;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT " COLUMNS ", lines FROM incidents WHERE id = ? AND state <> 'forming'", "u", id);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW)
                i = take_row(st, TRUE);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                not_found(error, id);
        return i;
}

GPtrArray *bh_store_incident_notes(BhStore *s, guint64 id, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_incident_note_free);
        BhDbStep step = BH_DB_FAILED;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT id, time_ns, who, text FROM incident_notes WHERE incident = ? ORDER BY id", "u", id);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreIncidentNote *n = g_new0(BhStoreIncidentNote, 1);

                n->id = bh_db_int(st, 0);
                n->time_ns = bh_db_int(st, 1);
                n->who = bh_db_text(st, 2);
                n->text = bh_db_text(st, 3);
                g_ptr_array_add(rows, n);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&rows) : NULL;
}

/* ---- people's ---- */

gboolean bh_store_incident_verdict_valid(const char *verdict) {
        return g_str_equal(verdict, "true_positive") || g_str_equal(verdict, "false_positive") || g_str_equal(verdict, "benign");
}

/* Its state, in *state if it is there. */
static gboolean must_be(BhStore *s, guint64 id, gboolean open, GError **error) {
        g_autofree char *state = NULL;

        if (!bh_db_get_text(s->writer, &state, error, "SELECT state FROM incidents WHERE id = ? AND state <> 'forming'", "u", id))
                return FALSE;
        if (!state)
                return not_found(error, id);
        if (open && !g_str_equal(state, "open")) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "incident %" G_GUINT64_FORMAT " is %s, not open", id, state);
                return FALSE;
        }
        return TRUE;
}

static gboolean touch(BhStore *s, guint64 id, GError **error) {
        return bh_db_run(s->writer, error, "UPDATE incidents SET changed_ns = ? WHERE id = ?", "iu", s->tx_now, id) && log_row(s, id, error);
}

gboolean bh_store_incident_note(BhStore *s, guint64 id, const char *who, const char *text, const BhStoreAuditEntry *audit, GError **error) {
        return bh_store_begin(s, error) &&
               bh_store_end(s, must_be(s, id, FALSE, error) && add_note(s, id, who, text, error) && touch(s, id, error) && bh_store_put_audit(s, audit, error), error);
}

gboolean bh_store_incident_assign(BhStore *s, guint64 id, const char *assignee, const BhStoreAuditEntry *audit, GError **error) {
        return bh_store_begin(s, error) &&
               bh_store_end(s, must_be(s, id, FALSE, error) &&
                                    bh_db_run(s->writer, error, "UPDATE incidents SET assignee = ? WHERE id = ?", "tu", bh_store_clean(s, assignee, BH_STORE_KEY_MAX), id) && touch(s, id, error) &&
                                    bh_store_put_audit(s, audit, error), error);
}

gboolean bh_store_incident_close(BhStore *s, guint64 id, const char *verdict, const char *who, const char *note, const BhStoreAuditEntry *audit, GError **error) {
        if (!bh_store_incident_verdict_valid(verdict)) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "a verdict is true_positive, false_positive or benign");
                return FALSE;
        }
        if (!bh_store_begin(s, error))
                return FALSE;
        s->evidence_held = 0;
        return bh_store_end(s, must_be(s, id, TRUE, error) && (!note || !*note || add_note(s, id, who, note, error)) &&
                                       bh_db_run(s->writer, error, "UPDATE incidents SET state = 'closed', verdict = ?, closed_by = ?, closed_ns = ? WHERE id = ?", "ttiu", verdict,
                                                 bh_store_clean(s, who, BH_STORE_KEY_MAX), s->tx_now, id) &&
                                       touch(s, id, error) && bh_store_put_audit(s, audit, error), error);
}
