/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

typedef struct {
        const char *text; /* NULL: number */
        gint64 number;
} BhWhereValue;

void bh_where_init(BhWhere *w) {
        w->sql = g_string_new(NULL);
        w->values = g_array_new(FALSE, FALSE, sizeof(BhWhereValue));
        w->owned = g_ptr_array_new_with_free_func(g_free);
}

void bh_where_clear(BhWhere *w) {
        g_string_free(w->sql, TRUE);
        g_array_unref(w->values);
        g_ptr_array_unref(w->owned);
}

void bh_where_sql(BhWhere *w, const char *condition) {
        g_string_append_printf(w->sql, "%s(%s)", w->sql->len ? " AND " : " WHERE ", condition);
}

void bh_where_more_text(BhWhere *w, const char *value) {
        guint64 cut = 0;
        char *clean = bh_text_clean(value, BH_STORE_TEXT_MAX, &cut);
        BhWhereValue v = { .text = clean ? clean : value };

        if (clean)
                g_ptr_array_add(w->owned, clean);
        g_array_append_val(w->values, v);
}

void bh_where_keep(BhWhere *w) {
        BhWhereValue *v = &g_array_index(w->values, BhWhereValue, w->values->len - 1);
        char *copy = g_strdup(v->text);

        g_ptr_array_add(w->owned, copy);
        v->text = copy;
}

void bh_where_text(BhWhere *w, const char *condition, const char *value) {
        if (!value)
                return;
        bh_where_sql(w, condition);
        bh_where_more_text(w, value);
}

void bh_where_more_int(BhWhere *w, gint64 value) {
        BhWhereValue v = { .number = value };

        g_array_append_val(w->values, v);
}

void bh_where_int(BhWhere *w, const char *condition, gint64 value) {
        bh_where_sql(w, condition);
        bh_where_more_int(w, value);
}

void bh_where_contains(BhWhere *w, const char *expression, const char *value) {
        g_autoptr(GString) pattern = g_string_new("%");
        g_autofree char *condition = NULL, *clean = NULL;
        guint64 cut = 0;

        if (!value || !*value)
                return;
        clean = bh_text_clean(value, BH_STORE_NEEDLE_MAX, &cut);
        for (const char *p = clean ? clean : value; *p; p++) {
                if (strchr("%_!", *p))
                        g_string_append_c(pattern, '!');
                g_string_append_c(pattern, *p);
        }
        g_string_append_c(pattern, '%');
        /* lower() on both sides: LIKE minds the case in one database and not in another. */
        condition = g_strdup_printf("lower(%s) LIKE lower(?) ESCAPE '!'", expression);
        bh_where_sql(w, condition);
        BhWhereValue v = { .text = g_strdup(pattern->str) };
        g_ptr_array_add(w->owned, (char *) v.text);
        g_array_append_val(w->values, v);
}

BhDbStmt *bh_where_query(const BhWhere *w, BhDb *db, const char *select, const char *tail, guint *next, GError **error) {
        g_autofree char *sql = g_strconcat(select, w->sql->str, tail, NULL);
        BhDbStmt *st = bh_db_query(db, error, sql, "");

        for (guint i = 0; st && i < w->values->len; i++) {
                const BhWhereValue *v = &g_array_index(w->values, BhWhereValue, i);

                v->text ? bh_db_bind_text(st, i, v->text) : bh_db_bind_int(st, i, v->number);
        }
        if (next)
                *next = w->values->len;
        return st;
}

/* ---- pages */

void bh_store_page_cut(BhStorePage *p, guint n) {
        g_free(p->next);
        p->next = p->cursor_after(g_ptr_array_index(p->rows, n - 1));
        g_ptr_array_set_size(p->rows, (gint) n);
}

void bh_store_page_free(BhStorePage *p) {
        if (!p)
                return;
        g_ptr_array_unref(p->rows);
        g_free(p->next);
        g_free(p);
}

BhStorePage *bh_page_read(BhDb *db, const BhWhere *w, const BhStoreList *list, guint limit, GError **error) {
        g_autofree char *tail = g_strconcat(list->tail, " LIMIT ?", NULL);
        BhStorePage *p = g_new0(BhStorePage, 1);
        BhDbStep step = BH_DB_FAILED;
        guint next;

        limit = bh_store_limit(limit);
        p->rows = g_ptr_array_new_with_free_func(list->free_row);
        p->cursor_after = list->cursor_after;
        BhDbStmt *st = bh_where_query(w, db, list->select, tail, &next, error);
        if (st)
                bh_db_bind_int(st, next, (gint64) limit + 1);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                if (p->rows->len && (p->rows->len >= limit || db->taken >= BH_STORE_PAGE_BYTES)) {
                        bh_store_page_cut(p, p->rows->len);
                        step = BH_DB_DONE;
                        break;
                }
                g_ptr_array_add(p->rows, list->take(st));
        }
        bh_db_done(st);
        if (step != BH_DB_DONE)
                g_clear_pointer(&p, bh_store_page_free);
        return p;
}

BhStorePage *bh_store_page(BhStore *s, const BhWhere *w, const BhStoreList *list, guint limit, GError **error) {
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhStorePage *p = bh_page_read(db, w, list, limit, error);
        bh_store_read_done(s, db);
        return p;
}

gboolean bh_store_count(BhStore *s, const BhWhere *w, const char *table, guint64 *count, GError **error) {
        g_autofree char *select = g_strconcat("SELECT count(*) FROM ", table, NULL);
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_where_query(w, db, select, "", NULL, error);
        if (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                *count = (guint64) bh_db_int(st, 0);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_ROW;
}

/* ---- cursors */

static gboolean bad_cursor(GError **error) {
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "the cursor is not one that an earlier page gave: begin again without it");
        return FALSE;
}

gboolean bh_cursor_parse_ints(const char *cursor, gint64 *v, guint n, GError **error) {
        const char *p = cursor;

        for (guint i = 0; i < n; i++) {
                char *end;

                /* Nothing that strtoll() would be kind to. */
                if (!(g_ascii_isdigit(*p) || (*p == '-' && g_ascii_isdigit(p[1]))) || strlen(p) > 41)
                        return bad_cursor(error);
                v[i] = g_ascii_strtoll(p, &end, 10);
                if (*end != (i + 1 < n ? '.' : '\0'))
                        return bad_cursor(error);
                p = end + 1;
        }
        return TRUE;
}

gboolean bh_where_cursor(BhWhere *w, const char *condition, guint n, const char *cursor, GError **error) {
        gint64 at[BH_CURSOR_INTS_MAX];

        if (!cursor)
                return TRUE;
        g_assert(n > 0 && n <= G_N_ELEMENTS(at));
        if (!bh_cursor_parse_ints(cursor, at, n, error))
                return FALSE;
        bh_where_int(w, condition, at[0]);
        for (guint i = 1; i < n; i++)
                bh_where_more_int(w, at[i]);
        return TRUE;
}

char *bh_cursor_from_texts(const char *a, const char *b) {
        GString *out = g_string_new(NULL);

        for (const char *p = a; *p; p++)
                g_string_append_printf(out, "%02x", (guint8) *p);
        g_string_append_c(out, '.');
        for (const char *p = b; *p; p++)
                g_string_append_printf(out, "%02x", (guint8) *p);
        return g_string_free(out, FALSE);
}

static char *from_hex(const char *p, gsize len) {
        g_autofree char *out = g_malloc(len / 2 + 1);

        if (len % 2)
                return NULL;
        for (gsize i = 0; i < len; i += 2) {
                int hi = g_ascii_xdigit_value(p[i]), lo = g_ascii_xdigit_value(p[i + 1]);

                if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
                        return NULL;
                out[i / 2] = (char) (hi << 4 | lo);
        }
        out[len / 2] = '\0';
        return g_utf8_validate(out, -1, NULL) ? g_steal_pointer(&out) : NULL;
}

gboolean bh_cursor_parse_texts(const char *cursor, char **a, char **b, GError **error) {
        const char *dot = strchr(cursor, '.');
        g_autofree char *x = NULL, *y = NULL;

        if (!dot || strlen(cursor) > 4 * BH_STORE_TEXT_MAX + 1)
                return bad_cursor(error);
        x = from_hex(cursor, (gsize) (dot - cursor));
        y = from_hex(dot + 1, strlen(dot + 1));
        if (!x || !y)
                return bad_cursor(error);
        *a = g_steal_pointer(&x);
        *b = g_steal_pointer(&y);
        return TRUE;
}
