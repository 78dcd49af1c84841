/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

static const char *const priorities[] = { "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug" };

guint bh_store_priority_rank(const char *priority) {
        for (guint i = 0; i < G_N_ELEMENTS(priorities); i++)
                if (g_ascii_strcasecmp(priority, priorities[i]) == 0)
                        return i;
        return G_N_ELEMENTS(priorities);
}

void bh_store_finding_free(BhStoreFinding *f) {
        if (!f)
                return;
        char *texts[] = { f->id, f->rule, f->priority, f->source, f->output, f->node, f->container_id, f->container_name, f->workload,
                          f->application, f->tags, f->fields };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_clear_pointer(&f->event, g_bytes_unref);
        g_free(f);
}

gboolean bh_store_put_finding(BhStore *s, const char *node, const BhStoreFinding *f, guint64 *change, gboolean *duplicate, GError **error) {
        const char *id = bh_store_clean(s, f->id, BH_STORE_KEY_MAX), *priority = bh_store_clean(s, f->priority, 64);
        gsize len = 0;
        const void *event = f->event ? g_bytes_get_data(f->event, &len) : NULL;

        if (len > BH_STORE_EVENT_MAX) {
                s->tx_cut++;
                len = 0;
        }
        if (!bh_db_run(s->writer, error,
                       "INSERT INTO findings (id, received_ns, time_ns, rank, rule, priority, source, output, node, container_id, container_name, "
                       "workload, application, tags, fields, event) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                       "ON CONFLICT (id) DO NOTHING", "tiiitttttttttttb",
                       id, s->tx_now, f->time_ns, (gint64) bh_store_priority_rank(priority), bh_store_clean(s, f->rule, BH_STORE_TEXT_MAX), priority,
                       bh_store_clean(s, f->source, BH_STORE_KEY_MAX), bh_store_clean(s, f->output, BH_STORE_OUTPUT_MAX), node,
                       bh_store_clean(s, f->container_id, BH_STORE_KEY_MAX), bh_store_clean(s, f->container_name, BH_STORE_TEXT_MAX),
                       bh_store_clean(s, f->workload, BH_STORE_KEY_MAX), bh_store_clean(s, f->application, BH_STORE_KEY_MAX),
                       bh_store_clean_json(s, f->tags, "[]"), bh_store_clean_json(s, f->fields, "{}"), event, len))
                return FALSE;
        *duplicate = bh_db_changes(s->writer) == 0;
        return *duplicate || bh_store_log(s, BH_STORE_CHANGE_FINDING, id, change, error);
}

/* ---- queries */

#define COLUMNS "serial, id, received_ns, time_ns, rule, priority, source, output, node, container_id, container_name, workload, application, tags, fields"

static BhStoreFinding *take_row(BhDbStmt *st, gboolean with_event) {
        BhStoreFinding *f = g_new0(BhStoreFinding, 1);
        char **texts[] = { &f->rule, &f->priority, &f->source, &f->output, &f->node, &f->container_id, &f->container_name, &f->workload,
                           &f->application, &f->tags, &f->fields };

        f->serial = bh_db_int(st, 0);
        f->id = bh_db_text(st, 1);
        f->received_ns = bh_db_int(st, 2);
        f->time_ns = bh_db_int(st, 3);
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                *texts[i] = bh_db_text(st, 4 + i);
        if (with_event)
                f->event = bh_db_blob(st, 4 + G_N_ELEMENTS(texts));
        return f;
}

static void filter_to_where(BhWhere *w, const BhStoreFindingFilter *f) {
        bh_where_init(w);
        if (!f)
                return;
        bh_where_text(w, "node = ?", f->node);
        bh_where_text(w, "container_id = ?", f->container_id);
        bh_where_text(w, "application = ?", f->application);
        bh_where_text(w, "workload = ?", f->workload);
        bh_where_text(w, "rule = ?", f->rule);
        if (f->max_rank)
                bh_where_int(w, "rank < ?", f->max_rank);
        bh_where_contains(w, "rule || ' ' || output || ' ' || container_name", f->search);
        if (f->since_ns)
                bh_where_int(w, "time_ns >= ?", f->since_ns);
        if (f->until_ns)
                bh_where_int(w, "time_ns < ?", f->until_ns);
}

static char *cursor_after(gconstpointer row) {
        const BhStoreFinding *f = row;

        return g_strdup_printf("%" G_GINT64_FORMAT ".%" G_GINT64_FORMAT, f->time_ns, f->serial);
}

BhStorePage *bh_store_findings(BhStore *s, const BhStoreFindingFilter *filter, const char *cursor, guint limit, GError **error) {
        g_autoptr(BhStorePage) page = bh_page_new((GDestroyNotify) bh_store_finding_free, cursor_after);
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;
        gint64 at[2];
        guint next;

        limit = bh_store_limit(limit);
        filter_to_where(&w, filter);
        if (cursor) {
                if (!bh_cursor_parse_ints(cursor, at, 2, error))
                        return NULL;
                bh_where_int(&w, "(time_ns, serial) < (?, ?)", at[0]);
                bh_where_more_int(&w, at[1]);
        }
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhDbStmt *st = bh_where_query(&w, db, "SELECT " COLUMNS " FROM findings", " ORDER BY time_ns DESC, serial DESC LIMIT ?", &next, error);
        if (st)
                bh_db_bind_int(st, next, (gint64) limit + 1);
        while (st && (step = bh_page_step(page, st, limit, error)) == BH_DB_ROW)
                g_ptr_array_add(page->rows, take_row(st, FALSE));
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE ? g_steal_pointer(&page) : NULL;
}

gboolean bh_store_findings_count(BhStore *s, const BhStoreFindingFilter *filter, guint64 *count, GError **error) {
        BhDbStep step = BH_DB_FAILED;
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return FALSE;
        BhDbStmt *st = bh_where_query(&w, db, "SELECT count(*) FROM findings", "", NULL, error);
        if (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                *count = (guint64) bh_db_int(st, 0);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_ROW;
}

BhStoreFinding *bh_store_finding(BhStore *s, const char *id, GError **error) {
        BhStoreFinding *f = NULL;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT " COLUMNS ", event FROM findings WHERE id = ?", "t", id);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW)
                f = take_row(st, TRUE);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                bh_store_not_found(error, "finding", id);
        return f;
}
