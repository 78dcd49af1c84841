/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

void bh_store_audit_row_free(BhStoreAuditRow *r) {
        if (!r)
                return;
        char *texts[] = { r->actor, r->role, r->address, r->action, r->object, r->outcome, r->detail, r->hash };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_free(r);
}

/* ---- the chain */

enum { ACTOR, ROLE, ADDRESS, ACTION, OBJECT, OUTCOME, DETAIL, TEXTS };

/* The texts end with NUL, which none of them holds: no two rows look the same to the hash. */
static char *hash_row(const char *before, gint64 time_ns, const char *const texts[TEXTS]) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        g_autofree char *time = g_strdup_printf("%" G_GINT64_FORMAT, time_ns);

        g_checksum_update(sum, (const guchar *) before, (gssize) strlen(before) + 1);
        g_checksum_update(sum, (const guchar *) time, (gssize) strlen(time) + 1);
        for (guint i = 0; i < TEXTS; i++)
                g_checksum_update(sum, (const guchar *) texts[i], (gssize) strlen(texts[i]) + 1);
        return g_strdup(g_checksum_get_string(sum));
}

/* The hash before the oldest row that is there: of the last one that retention took. */
static gboolean read_anchor(BhDb *db, char **anchor, GError **error) {
        if (!bh_db_get_text(db, anchor, error, "SELECT value FROM meta WHERE \"key\" = 'audit_anchor'", ""))
                return FALSE;
        if (!*anchor)
                *anchor = g_strdup("");
        return TRUE;
}

gboolean bh_store_put_audit(BhStore *s, const BhStoreAuditEntry *e, GError **error) {
        g_autofree char *before = NULL, *hash = NULL, *key = NULL;
        BhDb *db = s->writer;

        if (!e)
                return TRUE;
        const char *texts[TEXTS] = {
                [ACTOR] = bh_store_clean(s, e->actor, BH_STORE_KEY_MAX),     [ROLE] = bh_store_clean(s, e->role, BH_STORE_KEY_MAX),
                [ADDRESS] = bh_store_clean(s, e->address, BH_STORE_KEY_MAX), [ACTION] = bh_store_clean(s, e->action, BH_STORE_KEY_MAX),
                [OBJECT] = bh_store_clean(s, e->object, BH_STORE_TEXT_MAX),  [OUTCOME] = bh_store_clean(s, e->outcome, BH_STORE_KEY_MAX),
                [DETAIL] = bh_store_clean(s, e->detail, BH_STORE_TEXT_MAX),
        };
        if (!bh_db_get_text(db, &before, error, "SELECT hash FROM audit ORDER BY id DESC LIMIT 1", "") || (!before && !read_anchor(db, &before, error)))
                return FALSE;
        hash = hash_row(before, s->tx_now, texts);
        if (!bh_db_run(db, error, "INSERT INTO audit (time_ns, actor, role, address, action, object, outcome, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       "itttttttt", s->tx_now, texts[ACTOR], texts[ROLE], texts[ADDRESS], texts[ACTION], texts[OBJECT], texts[OUTCOME], texts[DETAIL], hash))
                return FALSE;
        key = g_strdup_printf("%" G_GINT64_FORMAT, bh_db_last_id(db));
        return bh_store_log(s, BH_STORE_CHANGE_AUDIT, key, NULL, error);
}

gboolean bh_store_audit(BhStore *s, const BhStoreAuditEntry *entry, GError **error) {
        if (!bh_store_begin(s, error))
                return FALSE;
        return bh_store_end(s, bh_store_put_audit(s, entry, error), error);
}

gboolean bh_store_audit_verify(BhStore *s, guint64 *rows, gint64 *broken, GError **error) {
        g_autofree char *before = NULL;
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;
        BhDbStmt *st = NULL;
        guint64 n = 0;
        gint64 first_bad = 0;

        if (!db)
                return FALSE;
        if (read_anchor(db, &before, error))
                st = bh_db_query(db, error, "SELECT actor, role, address, action, object, outcome, detail, time_ns, id, hash FROM audit ORDER BY id", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                const char *texts[TEXTS];

                for (guint i = 0; i < TEXTS; i++)
                        texts[i] = bh_db_peek(st, i);
                g_autofree char *hash = hash_row(before, bh_db_int(st, 7), texts);
                if (!first_bad && strcmp(hash, bh_db_peek(st, 9)) != 0)
                        first_bad = bh_db_int(st, 8);
                g_free(before);
                before = bh_db_text(st, 9);
                n++;
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step != BH_DB_DONE)
                return FALSE;
        *rows = n;
        *broken = first_bad;
        return TRUE;
}

/* ---- queries */

static void where_action(BhWhere *w, const char *action) {
        g_autoptr(GString) pattern = g_string_new(NULL);

        if (!action || !g_str_has_suffix(action, ".*")) {
                bh_where_text(w, "action = ?", action);
                return;
        }
        for (const char *p = action; p[1]; p++) {
                if (strchr("%_!", *p))
                        g_string_append_c(pattern, '!');
                g_string_append_c(pattern, *p);
        }
        g_string_append_c(pattern, '%');
        g_ptr_array_add(w->owned, g_strdup(pattern->str));
        bh_where_text(w, "action LIKE ? ESCAPE '!'", g_ptr_array_index(w->owned, w->owned->len - 1));
}

static char *cursor_after(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreAuditRow *) row)->id);
}

static gpointer take_row(BhDbStmt *st) {
        BhStoreAuditRow *r = g_new0(BhStoreAuditRow, 1);
        char **texts[] = { &r->actor, &r->role, &r->address, &r->action, &r->object, &r->outcome, &r->detail, &r->hash };

        r->id = bh_db_int(st, 0);
        r->time_ns = bh_db_int(st, 1);
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                *texts[i] = bh_db_text(st, 2 + i);
        return r;
}

BhStorePage *bh_store_audit_rows(BhStore *s, const BhStoreAuditFilter *f, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT id, time_ns, actor, role, address, action, object, outcome, detail, hash FROM audit", " ORDER BY id DESC", take_row,
                                          (GDestroyNotify) bh_store_audit_row_free, cursor_after };
        g_auto(BhWhere) w;

        bh_where_init(&w);
        if (f) {
                bh_where_text(&w, "actor = ?", f->actor);
                where_action(&w, f->action);
                bh_where_text(&w, "object = ?", f->object);
                bh_where_text(&w, "outcome = ?", f->outcome);
                bh_where_contains(&w, "actor || ' ' || object || ' ' || detail", f->search);
                if (f->since_ns)
                        bh_where_int(&w, "time_ns >= ?", f->since_ns);
                if (f->until_ns)
                        bh_where_int(&w, "time_ns < ?", f->until_ns);
        }
        return bh_where_cursor(&w, "id < ?", 1, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}
