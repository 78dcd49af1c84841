/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_responses.h"

#include <string.h>

#include "store/store_private.h"

#define DETAIL_MAX (1 << 20)
#define ROOM_AT_ONCE 100 /* rows: each time takes a look at all */
#define OPEN "(state IN ('pending', 'active') OR releasing = 1)"
#define RELEASING_GIVE_UP 2 /* of `releasing`, which is 1 else; what is to be released is pending or active, whichever it is */
#define COLUMNS "id, action, state, node, container_id, container_name, workload, application, actor, reason, allow, deny, result, subject, until_ns, created_ns, changed_ns, best_effort, releasing"

void bh_store_response_free(BhStoreResponse *r) {
        if (!r)
                return;
        char *texts[] = { r->id, r->action, r->state, r->node, r->container_id, r->container_name, r->workload, r->application, r->actor, r->reason, r->allow, r->deny, r->result, r->subject, r->detail };

        for (guint n = 0; n < G_N_ELEMENTS(texts); n++)
                g_free(texts[n]);
        g_free(r);
}

static BhStoreResponse *take_row(BhDbStmt *st, gboolean whole) {
        BhStoreResponse *r = g_new0(BhStoreResponse, 1);
        char **texts[] = { &r->id, &r->action, &r->state, &r->node, &r->container_id, &r->container_name, &r->workload, &r->application, &r->actor, &r->reason, &r->allow, &r->deny, &r->result, &r->subject };
        guint at = 0;

        for (; at < G_N_ELEMENTS(texts); at++)
                *texts[at] = bh_db_text(st, at);
        r->until_ns = bh_db_int(st, at++);
        r->created_ns = bh_db_int(st, at++);
        r->changed_ns = bh_db_int(st, at++);
        r->best_effort = bh_db_int(st, at++) != 0;
        const gint64 releasing = bh_db_int(st, at++);
        r->releasing = releasing != 0;
        r->give_up = releasing == RELEASING_GIVE_UP;
        r->detail = whole ? bh_db_text(st, at) : g_strdup("");
        return r;
}

static char *cursor_after(gconstpointer row) {
        const BhStoreResponse *r = row;

        return g_strdup_printf("%" G_GINT64_FORMAT ".%" G_GUINT64_FORMAT, r->created_ns, g_ascii_strtoull(r->id, NULL, 16));
}

static gpointer take_short(BhDbStmt *st) {
        return take_row(st, FALSE);
}

BhStorePage *bh_store_responses(BhStore *s, const BhStoreResponseFilter *f, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT " COLUMNS " FROM responses", " ORDER BY created_ns DESC, serial DESC", take_short, (GDestroyNotify) bh_store_response_free, cursor_after };
        g_auto(BhWhere) w;

        bh_where_init(&w);
        if (f) {
                bh_where_text(&w, "state = ?", f->state);
                bh_where_text(&w, "action = ?", f->action);
                bh_where_text(&w, "actor = ?", f->actor);
                bh_where_text(&w, "container_id = ?", f->container_id);
                if (f->since_ns)
                        bh_where_int(&w, "created_ns >= ?", f->since_ns);
                bh_where_text(&w, "node = ?", f->node);
                bh_where_text(&w, "application = ?", f->application);
                bh_where_text(&w, "workload = ?", f->workload);
                bh_where_text(&w, "? IN (container_id, container_name)", f->container);
                if (f->open)
                        bh_where_sql(&w, OPEN);
        }
        return bh_where_cursor(&w, "(created_ns, serial) < (?, ?)", 2, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

BhStoreResponse *bh_store_response(BhStore *s, const char *id, GError **error) {
        BhStoreResponse *r = NULL;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT " COLUMNS ", detail FROM responses WHERE id = ?", "t", id);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW)
                r = take_row(st, TRUE);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                bh_store_not_found(error, "response", id);
        return r;
}

/* ---- changes ---- */

/* A node that tells of very many pushes out its own. */
static gboolean make_room(BhStore *s, GError **error) {
        gint64 have;

        if (!bh_db_get_int(s->writer, &have, NULL, error, "SELECT count(*) FROM responses", ""))
                return FALSE;
        if (have < BH_STORE_RESPONSES_MAX)
                return TRUE;
        if (!bh_db_run(s->writer, error, "DELETE FROM responses WHERE serial IN (SELECT serial FROM responses WHERE NOT " OPEN " AND node = (SELECT node FROM responses WHERE NOT " OPEN
                       " GROUP BY node ORDER BY count(*) DESC LIMIT 1) ORDER BY changed_ns LIMIT ?)", "i", have - BH_STORE_RESPONSES_MAX + ROOM_AT_ONCE))
                return FALSE;
        if (bh_db_changes(s->writer) > 0)
                return TRUE;
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "%d responses go on, which is as many as there may be: release others first", BH_STORE_RESPONSES_MAX);
        return FALSE;
}

static gboolean add(BhStore *s, const BhStoreResponse *r, GError **error) {
        guint64 serial = g_ascii_strtoull(r->id, NULL, 16);
        gint64 known;

        /* ids that a node made up may be one number */
        if (!bh_db_get_int(s->writer, &known, NULL, error, "SELECT count(*) FROM responses WHERE id = ? OR serial = ?", "tu", r->id, serial))
                return FALSE;
        if (known) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "there is a response of that id");
                return FALSE;
        }
        return make_room(s, error) &&
               bh_db_run(s->writer, error, "INSERT INTO responses (serial, id, action, state, node, container_id, container_name, workload, application, actor, reason, allow, deny, result, detail, until_ns, "
                         "created_ns, changed_ns, best_effort, subject, releasing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", "uttttttttttttttiiiit",
                         serial, r->id, r->action, r->state, bh_store_clean(s, r->node, BH_STORE_KEY_MAX), bh_store_clean(s, r->container_id, BH_STORE_KEY_MAX),
                         bh_store_clean(s, r->container_name, BH_STORE_KEY_MAX), bh_store_clean(s, r->workload, BH_STORE_KEY_MAX), bh_store_clean(s, r->application, BH_STORE_KEY_MAX),
                         bh_store_clean(s, r->actor, BH_STORE_KEY_MAX), bh_store_clean(s, r->reason, BH_STORE_RESPONSE_REASON_MAX), bh_store_clean_json(s, r->allow, "[]"),
                         bh_store_clean_json(s, r->deny, "[]"), bh_store_clean(s, r->result, BH_STORE_TEXT_MAX), bh_store_clean_json(s, r->detail, "{}"), r->until_ns, s->tx_now, s->tx_now,
                         (gint64) r->best_effort, bh_store_clean(s, r->subject, BH_STORE_KEY_MAX)) &&
               bh_store_log(s, BH_STORE_CHANGE_RESPONSE, r->id, NULL, error);
}

gboolean bh_store_response_add(BhStore *s, const BhStoreResponse *r, const BhStoreAuditEntry *audit, GError **error) {
        return bh_store_begin(s, error) && bh_store_end(s, add(s, r, error) && bh_store_put_audit(s, audit, error), error);
}

static gboolean release(BhStore *s, const char *id, gboolean give_up, GError **error) {
        g_autofree char *state = NULL;

        if (!bh_db_get_text(s->writer, &state, error, "SELECT state FROM responses WHERE id = ?", "t", id))
                return FALSE;
        if (!state)
                return bh_store_not_found(error, "response", id);
        if (!g_str_equal(state, "active") && !g_str_equal(state, "pending")) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT, "the response is %s: there is nothing to release", state);
                return FALSE;
        }
        return bh_db_run(s->writer, error, "UPDATE responses SET releasing = max(releasing, ?), changed_ns = ? WHERE id = ?", "iit", (gint64) (give_up ? RELEASING_GIVE_UP : 1), s->tx_now, id) && bh_store_log(s, BH_STORE_CHANGE_RESPONSE, id, NULL, error);
}

gboolean bh_store_response_release(BhStore *s, const char *id, gboolean give_up, const BhStoreAuditEntry *audit, GError **error) {
        return bh_store_begin(s, error) && bh_store_end(s, release(s, id, give_up, error) && bh_store_put_audit(s, audit, error), error);
}

static gboolean told(BhStore *s, const char *node, const char *id, const char *state, const char *result, const char *detail, GError **error) {
        if (!bh_db_run(s->writer, error, "UPDATE responses SET state = ?, result = ?, detail = CASE WHEN ? = '' THEN detail ELSE ? END, releasing = CASE WHEN ? IN ('active', 'pending') THEN releasing ELSE 0 END, "
                       "changed_ns = ? WHERE id = ? AND node = ? AND state IN ('pending', 'active') AND (state <> ? OR result <> ? OR (? <> '' AND detail <> ?))",
                       "tttttitttttt", state, bh_store_clean(s, result, BH_STORE_TEXT_MAX), detail, bh_store_clean_json(s, detail, "{}"), state, s->tx_now, id, node, state,
                       bh_store_clean(s, result, BH_STORE_TEXT_MAX), detail, bh_store_clean_json(s, detail, "{}")))
                return FALSE;
        return bh_db_changes(s->writer) == 0 || bh_store_log(s, BH_STORE_CHANGE_RESPONSE, id, NULL, error);
}

/* Never for reasons of the message: what there is no room for is counted. */
gboolean bh_store_put_response(BhStore *s, const char *node, const BhStoreResponse *r, guint64 *refused, GError **error) {
        g_autoptr(GError) why = NULL;
        gint64 known, open;

        if (!bh_db_get_int(s->writer, &known, NULL, error, "SELECT count(*) FROM responses WHERE id = ?", "t", r->id))
                return FALSE;
        if (known)
                return told(s, node, r->id, r->state, r->result, strlen(r->detail) <= DETAIL_MAX ? r->detail : "", error);
        if (!bh_db_get_int(s->writer, &open, NULL, error, "SELECT count(*) FROM responses WHERE node = ? AND " OPEN, "t", node))
                return FALSE;
        if (open >= BH_STORE_RESPONSES_OPEN) {
                ++*refused;
                return TRUE;
        }
        if (add(s, r, &why))
                return TRUE;
        if (!g_error_matches(why, BH_STORE_ERROR, BH_STORE_ERROR_CONFLICT)) {
                g_propagate_error(error, g_steal_pointer(&why));
                return FALSE;
        }
        ++*refused;
        return TRUE;
}

gboolean bh_store_responses_of(BhStore *s, const char *actor, BhStoreResponseCounts *out, GError **error) {
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT count(*), coalesce(sum(" OPEN "), 0), coalesce(sum(state = 'dry_run'), 0), coalesce(sum(state = 'failed'), 0) FROM responses WHERE actor = ?", "t", actor);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW)
                *out = (BhStoreResponseCounts){ (guint64) bh_db_int(st, 0), (guint64) bh_db_int(st, 1), (guint64) bh_db_int(st, 2), (guint64) bh_db_int(st, 3) };
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_ROW;
}

gboolean bh_store_response_told(BhStore *s, const char *node, const char *id, const char *state, const char *result, const char *detail, GError **error) {
        const char *kept = detail && strlen(detail) <= DETAIL_MAX ? detail : "";

        return bh_store_begin(s, error) && bh_store_end(s, told(s, node, id, state, result, kept, error), error);
}

/* Within a transaction. What is there but the counts stays as it is. */
static gboolean add_refused(BhStore *s, const char *node, const char *id, json_t *counts, gboolean *known, GError **error) {
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT detail FROM responses WHERE id = ? AND node = ? AND state = 'active'", "tt", id, node);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        g_autofree char *before = step == BH_DB_ROW ? bh_db_text(st, 0) : NULL;

        bh_db_done(st);
        *known = step == BH_DB_ROW;
        if (step != BH_DB_ROW)
                return step == BH_DB_DONE;
        json_auto_t *detail = json_loads(before, 0, NULL);
        if (!json_is_object(detail) || json_object_update(detail, counts))
                return TRUE;
        char *after = json_dumps(detail, JSON_COMPACT | JSON_ENSURE_ASCII);
        gboolean same = !after || strlen(after) > DETAIL_MAX || g_str_equal(after, before);
        gboolean ok = same || (bh_db_run(s->writer, error, "UPDATE responses SET detail = ? WHERE id = ?", "tt", bh_store_clean_json(s, after, "{}"), id) &&
                               bh_store_log(s, BH_STORE_CHANGE_RESPONSE, id, NULL, error));
        free(after);
        return ok;
}

gboolean bh_store_response_refused(BhStore *s, const char *node, const char *id, json_t *counts, gboolean *known, GError **error) {
        return bh_store_begin(s, error) && bh_store_end(s, add_refused(s, node, id, counts, known, error), error);
}
