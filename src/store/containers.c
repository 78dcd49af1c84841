/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

/* What every statement about whole containers is made of: column names and placeholders, in the table's order. */
#define BH_STORE_FIELD(kind, member) ", \"" #member "\""
static const char insert_sql[] = "INSERT INTO containers (node, id, digest, first_seen_ns, last_seen_ns, ended_ns"
#include "store/container.tbl.h"
                                 ") VALUES (?, ?, ?, ?, ?, ?"
#undef BH_STORE_FIELD
#define BH_STORE_FIELD(kind, member) ", ?"
#include "store/container.tbl.h"
                                 ") ON CONFLICT (node, id) DO UPDATE SET digest = excluded.digest, last_seen_ns = excluded.last_seen_ns, "
                                 "ended_ns = excluded.ended_ns"
#undef BH_STORE_FIELD
#define BH_STORE_FIELD(kind, member) ", \"" #member "\" = excluded.\"" #member "\""
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        ;

static const char select_sql[] = "SELECT serial, node, id, first_seen_ns, last_seen_ns, ended_ns"
#define BH_STORE_FIELD(kind, member) ", \"" #member "\""
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
                                 " FROM containers";

void bh_store_container_free(BhStoreContainer *c) {
        if (!c)
                return;
        g_free(c->node);
        g_free(c->id);
#define BH_FREE_TEXT(p) g_free(p)
#define BH_FREE_LIST(p) g_free(p)
#define BH_FREE_MAP(p) g_free(p)
#define BH_FREE_BOOL(p) (void) 0
#define BH_FREE_INT(p) (void) 0
#define BH_FREE_TIME(p) (void) 0
#define BH_STORE_FIELD(kind, member) BH_FREE_##kind(c->member);
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        g_free(c);
}

/* ---- ingest */

static gboolean has_ended(const char *state) {
        return strcmp(state, "exited") == 0 || strcmp(state, "dead") == 0 || strcmp(state, "removed") == 0;
}

static int level_rank(const char *level) {
        return strcmp(level, "full") == 0 ? 2 : strcmp(level, "event") == 0 ? 1 : 0;
}

static gsize text_max(const char *member) {
        return strcmp(member, "workload") == 0 || strcmp(member, "application") == 0 ? BH_STORE_KEY_MAX : BH_STORE_TEXT_MAX;
}

/* The container as it will be stored. Lives as long as `c` and the transaction. */
static BhStoreContainer clean(BhStore *s, const char *node, const BhStoreContainer *c) {
        BhStoreContainer k = *c;

        k.node = (char *) node;
        k.id = (char *) bh_store_clean(s, c->id, BH_STORE_KEY_MAX);
#define BH_CLEAN_TEXT(member) k.member = (char *) bh_store_clean(s, c->member, text_max(#member))
#define BH_CLEAN_LIST(member) k.member = (char *) bh_store_clean_json(s, c->member, "[]")
#define BH_CLEAN_MAP(member) k.member = (char *) bh_store_clean_json(s, c->member, "{}")
#define BH_CLEAN_BOOL(member) k.member = c->member != 0
#define BH_CLEAN_INT(member) (void) 0
#define BH_CLEAN_TIME(member) (void) 0
#define BH_STORE_FIELD(kind, member) BH_CLEAN_##kind(member);
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        return k;
}

static void hash_text(GChecksum *sum, const char *text) {
        g_checksum_update(sum, (const guchar *) text, (gssize) strlen(text) + 1);
}

static void hash_int(GChecksum *sum, gint64 v) {
        g_checksum_update(sum, (const guchar *) &v, sizeof(v));
}

static void hash_container(const BhStoreContainer *k, guint8 digest[32]) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        gsize len = 32;

#define BH_HASH_TEXT(member) hash_text(sum, k->member)
#define BH_HASH_LIST(member) hash_text(sum, k->member)
#define BH_HASH_MAP(member) hash_text(sum, k->member)
#define BH_HASH_BOOL(member) hash_int(sum, k->member)
#define BH_HASH_INT(member) hash_int(sum, k->member)
#define BH_HASH_TIME(member) hash_int(sum, k->member)
#define BH_STORE_FIELD(kind, member) BH_HASH_##kind(member);
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        g_checksum_get_digest(sum, digest, &len);
}

/* What the store has of it. */
typedef struct {
        gint64 serial, ended_ns;
        int rank;
        gboolean same; /* as what came now */
        char *application, *workload;
} Known;

static void known_clear(Known *k) {
        g_free(k->application);
        g_free(k->workload);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Known, known_clear)

static gboolean look_up(BhStore *s, const BhStoreContainer *k, const guint8 digest[32], Known *out, GError **error) {
        BhDbStmt *st = bh_db_query(s->writer, error,
                                   "SELECT serial, ended_ns, level, digest, application, workload FROM containers "
                                   "WHERE node = ? AND id = ?", "tt", k->node, k->id);
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;

        if (step == BH_DB_ROW) {
                gsize len;
                const void *d = bh_db_peek_blob(st, 3, &len);

                out->serial = bh_db_int(st, 0);
                out->ended_ns = bh_db_int(st, 1);
                out->rank = level_rank(bh_db_peek(st, 2));
                out->same = len == 32 && memcmp(d, digest, 32) == 0;
                out->application = bh_db_text(st, 4);
                out->workload = bh_db_text(st, 5);
        }
        bh_db_done(st);
        return step != BH_DB_FAILED;
}

static gboolean write_row(BhStore *s, const BhStoreContainer *k, const guint8 digest[32], gint64 ended_ns, GError **error) {
        BhDbStmt *st = bh_db_query(s->writer, error, insert_sql, "ttbiii", k->node, k->id, digest, (gsize) 32, s->tx_now, s->tx_now, ended_ns);
        guint i = 6;

        if (!st)
                return FALSE;
#define BH_BIND_TEXT(v) bh_db_bind_text(st, i++, v)
#define BH_BIND_LIST(v) bh_db_bind_text(st, i++, v)
#define BH_BIND_MAP(v) bh_db_bind_text(st, i++, v)
#define BH_BIND_BOOL(v) bh_db_bind_int(st, i++, v)
#define BH_BIND_INT(v) bh_db_bind_int(st, i++, v)
#define BH_BIND_TIME(v) bh_db_bind_int(st, i++, v)
#define BH_STORE_FIELD(kind, member) BH_BIND_##kind(k->member);
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        BhDbStep step = bh_db_step(st, error);
        bh_db_done(st);
        return step == BH_DB_DONE;
}

static gboolean log_container(BhStore *s, const char *node, const char *id, guint64 *change, GError **error) {
        g_autofree char *key = g_strconcat(node, "/", id, NULL);

        return bh_store_log(s, BH_STORE_CHANGE_CONTAINER, key, change, error);
}

/* Less is known now than was (a sensor that has just started): what was known stays, but for the state and how it ended. */
static gboolean write_state(BhStore *s, const BhStoreContainer *k, const Known *known, gint64 ended_ns, GError **error) {
        gboolean tells = *k->state && strcmp(k->state, "unknown") != 0;

        return bh_db_run(s->writer, error,
                         "UPDATE containers SET last_seen_ns = ?, ended_ns = ?, state = CASE WHEN ? THEN ? ELSE state END, "
                         "exit_code = CASE WHEN ? THEN ? ELSE exit_code END, finished_ns = CASE WHEN ? THEN ? ELSE finished_ns END, "
                         "ended_by = CASE WHEN ? THEN ? ELSE ended_by END, digest = ? WHERE serial = ?", "iiotoioiotbi",
                         s->tx_now, tells ? ended_ns : known->ended_ns, tells, k->state, k->finished_ns != 0, k->exit_code, k->finished_ns != 0,
                         k->finished_ns, *k->ended_by != '\0', k->ended_by, "", (gsize) 0, known->serial);
}

static gboolean state_differs(BhStore *s, const BhStoreContainer *k, const Known *known, gboolean *differs, GError **error) {
        const gboolean tells = *k->state && strcmp(k->state, "unknown") != 0;
        gint64 n = 0;

        if (!bh_db_get_int(s->writer, &n, NULL, error, "SELECT (? AND state <> ?) OR (? AND finished_ns <> ?) OR (? AND ended_by <> ?) FROM containers WHERE serial = ?", "otoioti", tells, k->state,
                           k->finished_ns != 0, k->finished_ns, *k->ended_by != '\0', k->ended_by, known->serial))
                return FALSE;
        *differs = n != 0;
        return TRUE;
}

gboolean bh_store_put_container(BhStore *s, const char *node, BhStoreContainer *c, gint64 *serial, GError **error) {
        BhStoreContainer k = clean(s, node, c);
        g_auto(Known) known = { 0 };
        guint8 digest[32];
        gboolean poorer, differs = TRUE;

        c->change = 0;
        hash_container(&k, digest);
        if (!look_up(s, &k, digest, &known, error))
                return FALSE;
        gint64 ended_ns = !has_ended(k.state) ? 0 : known.ended_ns ? known.ended_ns : s->tx_now;
        *serial = known.serial;
        if (known.same)
                return bh_db_run(s->writer, error, "UPDATE containers SET last_seen_ns = ? WHERE serial = ?", "ii", s->tx_now, known.serial);

        poorer = known.serial && level_rank(k.level) < known.rank;
        if (poorer) {
                if (!state_differs(s, &k, &known, &differs, error) || !write_state(s, &k, &known, ended_ns, error))
                        return FALSE;
                return !differs || (log_container(s, node, k.id, &c->change, error) &&
                                    bh_store_touch_workload(s, known.application, known.workload, error));
        }
        if (!write_row(s, &k, digest, ended_ns, error))
                return FALSE;
        if (!known.serial && !bh_db_get_int(s->writer, serial, NULL, error, "SELECT serial FROM containers WHERE node = ? AND id = ?", "tt", node, k.id))
                return FALSE;
        if (known.serial && (strcmp(known.application, k.application) != 0 || strcmp(known.workload, k.workload) != 0) &&
            !bh_store_drop_workload(s, known.application, known.workload, error))
                return FALSE;
        return bh_store_touch_workload(s, k.application, k.workload, error) && log_container(s, node, k.id, &c->change, error);
}

typedef struct {
        gint64 serial;
        char *id, *application, *workload;
} Other;

static void other_clear(gpointer p) {
        Other *o = p;

        g_free(o->id);
        g_free(o->application);
        g_free(o->workload);
}

gboolean bh_store_end_others(BhStore *s, const char *node, GHashTable *listed_serials, guint64 *change, GError **error) {
        g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(Other));
        BhDbStmt *st = bh_db_query(s->writer, error,
                                   "SELECT serial, id, application, workload FROM containers WHERE node = ? AND state <> 'removed'", "t", node);
        BhDbStep step = BH_DB_FAILED;

        g_array_set_clear_func(gone, other_clear);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                gint64 serial = bh_db_int(st, 0);

                if (!g_hash_table_contains(listed_serials, &serial)) {
                        Other o = { serial, bh_db_text(st, 1), bh_db_text(st, 2), bh_db_text(st, 3) };

                        g_array_append_val(gone, o);
                }
        }
        bh_db_done(st);
        if (step != BH_DB_DONE)
                return FALSE;
        for (guint i = 0; i < gone->len; i++) {
                const Other *o = &g_array_index(gone, Other, i);

                /* Without its digest, so that the same description later counts as news. */
                if (!bh_db_run(s->writer, error,
                               "UPDATE containers SET state = 'removed', last_seen_ns = ?, digest = ?, "
                               "ended_ns = CASE WHEN ended_ns = 0 THEN ? ELSE ended_ns END WHERE serial = ?", "ibii",
                               s->tx_now, "", (gsize) 0, s->tx_now, o->serial) ||
                    !log_container(s, node, o->id, change, error) || !bh_store_touch_workload(s, o->application, o->workload, error))
                        return FALSE;
        }
        return TRUE;
}

/* ---- queries */

static gpointer take_row(BhDbStmt *st) {
        BhStoreContainer *c = g_new0(BhStoreContainer, 1);
        guint i = 6;

        c->serial = bh_db_int(st, 0);
        c->node = bh_db_text(st, 1);
        c->id = bh_db_text(st, 2);
        c->first_seen_ns = bh_db_int(st, 3);
        c->last_seen_ns = bh_db_int(st, 4);
        c->ended_ns = bh_db_int(st, 5);
#define BH_TAKE_TEXT() bh_db_text(st, i++)
#define BH_TAKE_LIST() bh_db_text(st, i++)
#define BH_TAKE_MAP() bh_db_text(st, i++)
#define BH_TAKE_BOOL() bh_db_int(st, i++) != 0
#define BH_TAKE_INT() bh_db_int(st, i++)
#define BH_TAKE_TIME() bh_db_int(st, i++)
#define BH_STORE_FIELD(kind, member) c->member = BH_TAKE_##kind();
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        return c;
}

static void filter_to_where(BhWhere *w, const BhStoreContainerFilter *f) {
        bh_where_init(w);
        if (!f)
                return;
        bh_where_text(w, "node = ?", f->node);
        bh_where_text(w, "application = ?", f->application);
        bh_where_text(w, "workload = ?", f->workload);
        bh_where_text(w, "state = ?", f->state);
        bh_where_text(w, "image = ?", f->image);
        if (f->living)
                bh_where_sql(w, "ended_ns = 0");
        bh_where_contains(w, "name || ' ' || id || ' ' || image || ' ' || workload || ' ' || application || ' ' || labels", f->search);
        if (f->since_ns)
                bh_where_int(w, "ended_ns = 0 OR ended_ns >= ?", f->since_ns);
        if (f->until_ns)
                bh_where_int(w, "first_seen_ns <= ?", f->until_ns);
}

/* All rows that the statement gives: few. */
static gboolean take_rows(BhDbStmt *st, GPtrArray *rows, GError **error) {
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                g_ptr_array_add(rows, take_row(st));
        bh_db_done(st);
        return step == BH_DB_DONE;
}

static char *cursor_after(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreContainer *) row)->serial);
}

BhStorePage *bh_store_containers(BhStore *s, const BhStoreContainerFilter *filter, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { select_sql, " ORDER BY serial DESC", take_row, (GDestroyNotify) bh_store_container_free, cursor_after };
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_where_cursor(&w, "serial < ?", 1, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

gboolean bh_store_containers_count(BhStore *s, const BhStoreContainerFilter *filter, guint64 *count, GError **error) {
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_store_count(s, &w, "containers", count, error);
}

/* At most `max` containers by the condition (with one placeholder, or two for the same text), the newest first. */
static gboolean find(BhDb *db, const char *condition, const char *a, const char *b, guint max, GPtrArray *rows, GError **error) {
        g_autofree char *tail = g_strdup_printf(" ORDER BY serial DESC LIMIT %u", max);
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, condition, a);
        if (b)
                bh_where_more_text(&w, b);
        return take_rows(bh_where_query(&w, db, select_sql, tail, NULL, error), rows, error);
}

BhStoreContainer *bh_store_container(BhStore *s, const char *node, const char *id, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_container_free);
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        gboolean ok = node ? find(db, "node = ? AND id = ?", node, id, 1, rows, error) : find(db, "id = ?", id, NULL, 1, rows, error);
        bh_store_read_done(s, db);
        if (ok && !rows->len)
                bh_store_not_found(error, "container", id);
        return ok && rows->len ? g_ptr_array_steal_index(rows, 0) : NULL;
}

static void set_ambiguous(GError **error, const char *text, GPtrArray *rows) {
        g_autoptr(GString) some = g_string_new(NULL);

        for (guint i = 0; i < rows->len && i < 3; i++) {
                const BhStoreContainer *c = g_ptr_array_index(rows, i);

                g_string_append_printf(some, "%s%.64s (%.64s) on %.64s", i ? ", " : "", c->id, c->name, c->node);
        }
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_AMBIGUOUS, "\"%s\" means more than one container: %s%s", text, some->str,
                    rows->len > 3 ? ", …" : "");
}

BhStoreContainer *bh_store_container_find(BhStore *s, const char *text, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_container_free);
        gsize len = strlen(text);
        g_autofree char *end = g_strdup(text);
        gboolean plain = len >= 4 && len < BH_STORE_KEY_MAX, one_of_many;

        /* The beginning of an id is a range, which an index finds; ids are ASCII, so the next text is the last byte plus one. */
        for (gsize i = 0; i < len; i++)
                plain = plain && g_ascii_isgraph(text[i]) && text[i] != '~';
        if (plain)
                end[len - 1]++;

        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        gboolean ok = find(db, "id = ?", text, NULL, 4, rows, error);
        if (ok && !rows->len)
                ok = find(db, "name = ? AND ended_ns = 0", text, NULL, 4, rows, error);
        if (ok && !rows->len && plain)
                ok = find(db, "id >= ? AND id < ?", text, end, 4, rows, error);
        one_of_many = rows->len > 1;
        if (ok && !rows->len)
                ok = find(db, "name = ?", text, NULL, 1, rows, error);
        bh_store_read_done(s, db);
        if (!ok)
                return NULL;
        if (!rows->len)
                bh_store_not_found(error, "container", text);
        else if (one_of_many)
                set_ambiguous(error, text, rows);
        return rows->len && !one_of_many ? g_ptr_array_steal_index(rows, 0) : NULL;
}
