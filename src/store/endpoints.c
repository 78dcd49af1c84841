/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP facts: observations of kind "http", with what was added up of their exchanges and the parameters (kind "parameter") that came with them. */
#include <string.h>

#include "store/store_private.h"

#define SUM_MAX (G_GINT64_CONSTANT(1) << 61) /* two of these are a number that databases can hold */

#define COLUMNS(prefix, sign) \
        prefix "none" sign prefix "s1" sign prefix "s2" sign prefix "s3" sign prefix "s4" sign prefix "s5" sign prefix "request_bytes" sign prefix "response_bytes" sign prefix "timed" sign \
        prefix "latency_us" sign prefix "latency_max_us" sign prefix "beyond"
#define SUM(column) column " = min(" column " + excluded." column ", 2305843009213693952)"

static gint64 bounded(guint64 n) {
        return (gint64) MIN(n, (guint64) SUM_MAX);
}

gboolean bh_store_put_http(BhStore *s, gint64 observation, const BhStoreHttp *h, GError **error) {
        return bh_db_run(s->writer, error,
                         "INSERT INTO http_sums (observation, " COLUMNS("", ", ") ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (observation) DO UPDATE SET "
                         SUM("none") ", " SUM("s1") ", " SUM("s2") ", " SUM("s3") ", " SUM("s4") ", " SUM("s5") ", " SUM("request_bytes") ", " SUM("response_bytes") ", " SUM("timed") ", "
                         SUM("latency_us") ", latency_max_us = max(latency_max_us, excluded.latency_max_us), " SUM("beyond"), "iiiiiiiiiiiii", observation,
                         bounded(h->statuses[0]), bounded(h->statuses[1]), bounded(h->statuses[2]), bounded(h->statuses[3]), bounded(h->statuses[4]), bounded(h->statuses[5]), bounded(h->request_bytes),
                         bounded(h->response_bytes), bounded(h->timed), bounded(h->latency_us), bounded(h->latency_max_us), bounded(h->beyond));
}

void bh_store_endpoint_free(BhStoreEndpoint *e) {
        if (!e)
                return;
        bh_store_observation_free(e->o);
        g_ptr_array_unref(e->parameters);
        g_free(e);
}

static void parameter_free(gpointer p) {
        BhStoreParameter *one = p;

        g_free(one->name);
        g_free(one->what);
        g_free(one);
}

static gpointer take_endpoint(BhDbStmt *st) {
        BhStoreEndpoint *e = g_new0(BhStoreEndpoint, 1);
        BhStoreObservation *o = e->o = g_new0(BhStoreObservation, 1);
        char **texts[] = { &o->node, &o->container_id, &o->workload, &o->application, &o->image_digest, &o->kind, &o->subject, &o->parent, &o->detail, &o->example };
        guint64 *sums[] = { &e->http.statuses[0], &e->http.statuses[1], &e->http.statuses[2], &e->http.statuses[3], &e->http.statuses[4], &e->http.statuses[5], &e->http.request_bytes,
                            &e->http.response_bytes, &e->http.timed, &e->http.latency_us, &e->http.latency_max_us, &e->http.beyond };

        o->id = bh_db_int(st, 0);
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                *texts[i] = bh_db_text(st, 1 + i);
        o->count = (guint64) bh_db_int(st, 11);
        o->first_ns = bh_db_int(st, 12);
        o->last_ns = bh_db_int(st, 13);
        for (guint i = 0; i < G_N_ELEMENTS(sums); i++)
                *sums[i] = (guint64) bh_db_int(st, 14 + i);
        e->parameters = g_ptr_array_new_with_free_func(parameter_free);
        return e;
}

static char *endpoint_after(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreEndpoint *) row)->o->id);
}

/* Their subject is the endpoint's, a space, and the name, which has none: what lies between "GET /a " and "GET /a!". */
static gboolean read_parameters(BhDb *db, BhStoreEndpoint *e, GError **error) {
        g_autofree char *from = g_strdup_printf("%s ", e->o->subject), *to = g_strdup_printf("%s!", e->o->subject), *side = g_strdup_printf("%s ", e->o->detail), *side_end = g_strdup_printf("%s!", e->o->detail);
        const gsize skip = strlen(from), skip_side = strlen(side);
        BhDbStep step = BH_DB_FAILED;
        BhDbStmt *st = bh_db_query(db, error,
                                   "SELECT subject, detail, sum(count), min(first_ns), max(last_ns) FROM observations WHERE kind = 'parameter' AND application = ? AND workload = ? AND subject > ? AND "
                                   "subject < ? AND detail > ? AND detail < ? AND image_digest = ? AND parent = ? GROUP BY subject, detail ORDER BY subject, detail LIMIT ?", "tttttttti",
                                   e->o->application, e->o->workload, from, to, side, side_end, e->o->image_digest, e->o->parent, (gint64) BH_STORE_PARAMETERS);

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                const char *subject = bh_db_peek(st, 0), *detail = bh_db_peek(st, 1);

                if (strlen(subject) <= skip || strlen(detail) <= skip_side)
                        continue;
                BhStoreParameter *p = g_new0(BhStoreParameter, 1);
                p->name = g_strdup(subject + skip);
                p->what = g_strdup(detail + skip_side);
                db->taken += strlen(p->name) + strlen(p->what);
                p->count = (guint64) bh_db_int(st, 2);
                p->first_ns = bh_db_int(st, 3);
                p->last_ns = bh_db_int(st, 4);
                g_ptr_array_add(e->parameters, p);
        }
        bh_db_done(st);
        return step == BH_DB_DONE;
}

BhStorePage *bh_store_endpoints(BhStore *s, const BhStoreObservationFilter *f, const char *side, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT id, node, container_id, workload, application, image_digest, kind, subject, parent, detail, example, count, first_ns, last_ns, " COLUMNS("h.", ", ")
                                          " FROM observations LEFT JOIN http_sums h ON h.observation = id", " ORDER BY id DESC", take_endpoint, (GDestroyNotify) bh_store_endpoint_free, endpoint_after };
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_sql(&w, "kind = 'http'");
        bh_where_text(&w, "application = ?", f->application);
        bh_where_text(&w, "workload = ?", f->workload);
        bh_where_text(&w, "image_digest = ?", f->image_digest);
        bh_where_text(&w, "detail = ?", side);
        bh_where_contains(&w, "subject || ' ' || example", f->search);
        if (f->since_ns)
                bh_where_int(&w, "last_ns >= ?", f->since_ns);
        if (f->until_ns)
                bh_where_int(&w, "first_ns <= ?", f->until_ns);
        if (!bh_where_cursor(&w, "id < ?", 1, cursor, error))
                return NULL;
        BhDb *db = bh_store_read(s, error);
        if (!db)
                return NULL;
        BhStorePage *page = bh_page_read(db, &w, &list, limit, error);
        db->taken = 0; /* the parameters have as much room as the rows: a page of large rows is not cut to the first of them */
        for (guint i = 0; page && i < page->rows->len; i++) {
                if (!read_parameters(db, g_ptr_array_index(page->rows, i), error))
                        g_clear_pointer(&page, bh_store_page_free);
                else if (db->taken >= BH_STORE_PAGE_BYTES && i + 1 < page->rows->len)
                        bh_store_page_cut(page, i + 1);
        }
        bh_store_read_done(s, db);
        return page;
}
