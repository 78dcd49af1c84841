/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/escape.h"
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
        char *texts[] = { f->id, f->rule, f->priority, f->source, f->output, f->node, f->container_id, f->container_name, f->workload, f->application, f->tags,
                          f->fields, f->kind, f->hostname, f->image, f->description, f->advice, f->container, f->lineage };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_clear_pointer(&f->event, g_bytes_unref);
        g_free(f);
}

/* ---- ingest */

/* What is stored of it: every text is good for the database. */
typedef struct {
        const char *id, *rule, *priority, *source, *container_id, *workload, *application, *kind;
        gint64 count, last_ns;
        guint8 fold[32];
        gsize fold_len; /* 0: never folds */
} Cleaned;

/* Chosen texts must not be able to collide, or one finding could hide behind another: each with its NUL. */
static void hash_fold(Cleaned *c, const char *node, const char *fold) {
        const char *const texts[] = { c->rule, c->kind, c->source, c->priority, node, c->application, c->workload, c->container_id, fold };
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_checksum_update(sum, (const guchar *) texts[i], (gssize) strlen(texts[i]) + 1);
        c->fold_len = sizeof(c->fold);
        g_checksum_get_digest(sum, c->fold, &c->fold_len);
}

static void clean(BhStore *s, const char *node, const BhStoreFinding *f, Cleaned *c) {
        *c = (Cleaned) {
                .id = bh_store_clean(s, f->id, BH_STORE_KEY_MAX),
                .rule = bh_store_clean(s, f->rule, BH_STORE_KEY_MAX),
                .priority = bh_store_clean(s, f->priority, 64),
                .source = bh_store_clean(s, f->source, BH_STORE_KEY_MAX),
                .container_id = bh_store_clean(s, f->container_id, BH_STORE_KEY_MAX),
                .workload = bh_store_clean(s, f->workload, BH_STORE_KEY_MAX),
                .application = bh_store_clean(s, f->application, BH_STORE_KEY_MAX),
                .kind = bh_store_clean(s, f->kind, 64),
                .count = bh_store_add(0, MAX(f->count, 1)),
                .last_ns = MAX(f->last_ns, f->time_ns),
        };
        if (f->fold)
                hash_fold(c, node, bh_store_clean(s, f->fold, BH_STORE_OUTPUT_MAX));
}

/* Adds it to the row that it equals; *folded tells whether there is one. */
static gboolean fold(BhStore *s, const BhStoreFinding *f, const Cleaned *c, gboolean *folded, guint64 *change, GError **error) {
        g_autofree char *id = NULL;
        gint64 serial = 0, first = 0, last = 0, count = 0;

        *folded = FALSE;
        if (!c->fold_len)
                return TRUE;
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT serial, id, time_ns, last_ns, count FROM findings WHERE fold = ? AND length(fold) > 0 "
                                   "ORDER BY serial DESC LIMIT 1", "b", c->fold, c->fold_len);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW) {
                serial = bh_db_int(st, 0);
                id = bh_db_text(st, 1);
                first = bh_db_int(st, 2);
                last = bh_db_int(st, 3);
                count = bh_db_int(st, 4);
        }
        bh_db_done(st);
        if (step != BH_DB_ROW)
                return step == BH_DB_DONE;

        gint64 new_first = MIN(first, f->time_ns), new_last = MAX(last, c->last_ns);
        /* what comes late (nodes catch up) may lie before the row's first. Times are foreign: compared so that nothing can overflow */
        if ((f->time_ns > last && (guint64) f->time_ns - (guint64) last > BH_STORE_FOLD_GAP_NS) ||
            (c->last_ns < first && (guint64) first - (guint64) c->last_ns > BH_STORE_FOLD_GAP_NS) ||
            (guint64) new_last - (guint64) new_first > BH_STORE_FOLD_SPAN_NS)
                return TRUE;
        *folded = TRUE;
        return bh_db_run(s->writer, error, "UPDATE findings SET count = ?, time_ns = ?, last_ns = ? WHERE serial = ?", "iiii",
                         bh_store_add(count, (guint64) c->count), new_first, new_last, serial) &&
               bh_store_log(s, BH_STORE_CHANGE_FINDING, id, change, error);
}

static gboolean is_known(BhStore *s, const char *id, gboolean *known, GError **error) {
        gint64 one;

        return bh_db_get_int(s->writer, &one, known, error, "SELECT 1 FROM findings WHERE id = ?", "t", id);
}

gboolean bh_store_put_finding(BhStore *s, const char *node, const BhStoreFinding *f, guint64 *change, gboolean *duplicate, GError **error) {
        gboolean folded;
        gsize len = 0;
        const void *event = f->event ? g_bytes_get_data(f->event, &len) : NULL;
        Cleaned c;

        clean(s, node, f, &c);
        if (!is_known(s, c.id, duplicate, error))
                return FALSE;
        if (*duplicate)
                return TRUE;
        if (!fold(s, f, &c, &folded, change, error))
                return FALSE;
        if (folded)
                return TRUE;
        if (len > BH_STORE_EVENT_MAX) {
                s->tx_cut++;
                len = 0;
        }
        return bh_db_run(s->writer, error,
                         "INSERT INTO findings (id, received_ns, time_ns, rank, rule, priority, source, output, node, container_id, container_name, "
                         "workload, application, tags, fields, event, kind, hostname, image, description, advice, container, lineage, count, last_ns, fold) "
                         "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "tiiitttttttttttbtttttttiib",
                         c.id, s->tx_now, f->time_ns, (gint64) bh_store_priority_rank(c.priority), c.rule, c.priority, c.source,
                         bh_store_clean(s, f->output, BH_STORE_OUTPUT_MAX), node, c.container_id, bh_store_clean(s, f->container_name, BH_STORE_TEXT_MAX),
                         c.workload, c.application, bh_store_clean_json(s, f->tags, "[]"), bh_store_clean_json(s, f->fields, "{}"), event, len, c.kind,
                         f->hostname && *f->hostname ? bh_store_clean(s, f->hostname, BH_STORE_KEY_MAX) : node,
                         bh_store_clean(s, f->image, BH_STORE_TEXT_MAX), bh_store_clean(s, f->description, BH_STORE_TEXT_MAX),
                         bh_store_clean(s, f->advice, BH_STORE_TEXT_MAX), bh_store_clean_json(s, f->container, ""), bh_store_clean_json(s, f->lineage, ""),
                         c.count, c.last_ns, c.fold, c.fold_len) &&
               bh_store_log(s, BH_STORE_CHANGE_FINDING, c.id, change, error);
}

/* ---- queries */

#define COLUMNS "serial, id, received_ns, time_ns, last_ns, count, rule, priority, source, output, node, container_id, container_name, workload, application, " \
                "tags, fields, kind, hostname, image"

static BhStoreFinding *take_row(BhDbStmt *st, gboolean whole) {
        BhStoreFinding *f = g_new0(BhStoreFinding, 1);
        char **texts[] = { &f->rule, &f->priority, &f->source, &f->output, &f->node, &f->container_id, &f->container_name, &f->workload,
                           &f->application, &f->tags, &f->fields, &f->kind, &f->hostname, &f->image };
        char **more[] = { &f->description, &f->advice, &f->container, &f->lineage };
        guint at = 6;

        f->serial = bh_db_int(st, 0);
        f->id = bh_db_text(st, 1);
        f->received_ns = bh_db_int(st, 2);
        f->time_ns = bh_db_int(st, 3);
        f->last_ns = bh_db_int(st, 4);
        f->count = (guint64) bh_db_int(st, 5);
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                *texts[i] = bh_db_text(st, at++);
        for (guint i = 0; i < G_N_ELEMENTS(more); i++)
                *more[i] = whole ? bh_db_text(st, at++) : g_strdup("");
        if (whole)
                f->event = bh_db_blob(st, at);
        return f;
}

static gpointer take_short(BhDbStmt *st) {
        return take_row(st, FALSE);
}

static gboolean check_glob(const char *glob, GError **error) {
        guint stars = 0;

        for (const char *p = glob ? glob : ""; *p; p++)
                stars += *p == '*';
        if (stars <= BH_STORE_GLOB_STARS)
                return TRUE;
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "a pattern for rules may have at most %d \"*\", this one has %u", BH_STORE_GLOB_STARS, stars);
        return FALSE;
}

/* GLOB has sets in brackets, too, which ours has not: a bracket stands for itself. */
static char *glob_of(const char *glob) {
        GString *out = g_string_new(NULL);

        for (const char *p = glob; *p; p++)
                *p == '[' ? g_string_append(out, "[[]") : g_string_append_c(out, *p);
        return g_string_free(out, FALSE);
}

static void where_container(BhWhere *w, const char *container) {
        if (!container)
                return;
        bh_where_text(w, "container_id = ? OR container_name = ? OR (length(?) >= 4 AND substr(container_id, 1, length(?)) = ?)", container);
        for (guint i = 0; i < 4; i++)
                bh_where_more_text(w, container);
}

static gboolean filter_to_where(BhWhere *w, const BhStoreFindingFilter *f, GError **error) {
        bh_where_init(w);
        if (!check_glob(f ? f->rule_glob : NULL, error))
                return FALSE;
        if (!f)
                return TRUE;
        bh_where_text(w, "node = ?", f->node);
        bh_where_text(w, "container_id = ?", f->container_id);
        where_container(w, f->container);
        bh_where_text(w, "application = ?", f->application);
        bh_where_text(w, "workload = ?", f->workload);
        bh_where_text(w, "rule = ?", f->rule);
        bh_where_text(w, "kind = ?", f->kind);
        bh_where_text(w, "source = ?", f->source);
        if (f->rule_glob) {
                g_autofree char *glob = glob_of(f->rule_glob);

                bh_where_text(w, "rule GLOB ?", glob);
                bh_where_keep(w);
        }
        if (f->tag) {
                g_autoptr(GString) quoted = g_string_new(NULL);

                /* `tags` is JSON that the central wrote with the same escaping: a tag is there with its quotes, and they are nowhere else */
                bh_escape_append_json(quoted, f->tag, -1);
                bh_where_text(w, "instr(tags, ?) > 0", quoted->str);
                bh_where_keep(w);
        }
        if (f->max_rank)
                bh_where_int(w, "rank < ?", f->max_rank);
        bh_where_contains(w, "rule || ' ' || output || ' ' || container_name", f->search);
        if (f->since_ns)
                bh_where_int(w, "last_ns >= ?", f->since_ns);
        if (f->until_ns)
                bh_where_int(w, "time_ns < ?", f->until_ns);
        return TRUE;
}

static char *cursor_after(gconstpointer row) {
        const BhStoreFinding *f = row;

        return g_strdup_printf("%" G_GINT64_FORMAT ".%" G_GINT64_FORMAT, f->last_ns, f->serial);
}

BhStorePage *bh_store_findings(BhStore *s, const BhStoreFindingFilter *filter, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT " COLUMNS " FROM findings", " ORDER BY last_ns DESC, serial DESC", take_short, (GDestroyNotify) bh_store_finding_free, cursor_after };
        g_auto(BhWhere) w;

        return filter_to_where(&w, filter, error) && bh_where_cursor(&w, "(last_ns, serial) < (?, ?)", 2, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

gboolean bh_store_findings_count(BhStore *s, const BhStoreFindingFilter *filter, guint64 *count, GError **error) {
        g_auto(BhWhere) w;

        return filter_to_where(&w, filter, error) && bh_store_count(s, &w, "findings", count, error);
}

BhStoreFinding *bh_store_finding(BhStore *s, const char *id, GError **error) {
        BhStoreFinding *f = NULL;
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT " COLUMNS ", description, advice, container, lineage, event FROM findings WHERE id = ?", "t", id);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW)
                f = take_row(st, TRUE);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                bh_store_not_found(error, "finding", id);
        return f;
}

gboolean bh_store_findings_by_container(BhStore *s, BhStoreFindingsFunc func, gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT node, container_id, application, workload, count(*) FROM findings GROUP BY node, container_id, application, workload", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                func(bh_db_peek(st, 0), bh_db_peek(st, 1), bh_db_peek(st, 2), bh_db_peek(st, 3), (guint64) bh_db_int(st, 4), data);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}
