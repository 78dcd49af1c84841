/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads, applications, observations, and the overview. */
#include <string.h>

#include "store/store_private.h"

#define IMAGES_MAX 64

static void image_free(gpointer p) {
        BhStoreImage *i = p;

        g_free(i->image);
        g_free(i->image_digest);
        g_free(i);
}

void bh_store_workload_free(BhStoreWorkload *w) {
        if (!w)
                return;
        g_free(w->application);
        g_free(w->workload);
        g_ptr_array_unref(w->images);
        g_free(w);
}

void bh_store_application_free(BhStoreApplication *a) {
        if (!a)
                return;
        g_free(a->application);
        g_free(a);
}

void bh_store_observation_free(BhStoreObservation *o) {
        if (!o)
                return;
        char *texts[] = { o->node, o->container_id, o->workload, o->application, o->image_digest, o->kind, o->subject, o->parent, o->detail, o->example, o->why };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_free(o);
}

/* ---- ingest */

gboolean bh_store_touch_workload(BhStore *s, const char *application, const char *workload, GError **error) {
        /* What belongs to no workload (yet) has a row, too, for its bound; lists pass over it. */
        return bh_db_run(s->writer, error,
                         "INSERT INTO workloads (application, workload, first_seen_ns, last_seen_ns) VALUES (?, ?, ?, ?) "
                         "ON CONFLICT (application, workload) DO UPDATE SET last_seen_ns = excluded.last_seen_ns", "ttii", application, workload,
                         s->tx_now, s->tx_now);
}

gboolean bh_store_drop_workload(BhStore *s, const char *application, const char *workload, GError **error) {
        return bh_db_run(s->writer, error,
                         "DELETE FROM workloads WHERE application = ? AND workload = ? AND observations = 0 AND NOT EXISTS "
                         "(SELECT 1 FROM containers c WHERE c.application = workloads.application AND c.workload = workloads.workload)", "tt",
                         application, workload);
}

/* The key: chosen texts must not be able to collide, or an executable could hide behind another. */
static void hash_fact(const char *const *texts, guint n, guint8 fact[32]) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        gsize len = 32;

        for (guint i = 0; i < n; i++)
                g_checksum_update(sum, (const guchar *) texts[i], (gssize) strlen(texts[i]) + 1);
        g_checksum_get_digest(sum, fact, &len);
}

static gboolean add_fact(BhStore *s, const char *node, const BhStoreObservation *o, const char *const *texts, const guint8 fact[32],
                         guint64 *change, GError **error) {
        BhDb *db = s->writer;
        gint64 have;

        if (!bh_store_touch_workload(s, texts[0], texts[1], error) ||
            !bh_db_get_int(db, &have, NULL, error, "SELECT observations FROM workloads WHERE application = ? AND workload = ?", "tt", texts[0], texts[1]))
                return FALSE;
        /* names of parameters are anybody's to choose, and leave room for what else a workload does */
        if (have >= (g_str_equal(texts[3], "parameter") ? BH_STORE_OBSERVATIONS_PER_WORKLOAD / 2 : BH_STORE_OBSERVATIONS_PER_WORKLOAD))
                return bh_db_run(db, error, "UPDATE workloads SET refused = refused + 1 WHERE application = ? AND workload = ?", "tt", texts[0], texts[1]);
        if (!bh_db_run(db, error,
                       "INSERT INTO observations (fact, received_ns, node, container_id, application, workload, image_digest, kind, subject, parent, "
                       "count, first_ns, last_ns, detail, uid, example, suspicious, why) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "bittttttttuiitutot",
                       fact, (gsize) 32, s->tx_now, node, bh_store_clean(s, o->container_id, BH_STORE_KEY_MAX), texts[0], texts[1], texts[2],
                       texts[3], texts[4], texts[5], o->count, o->first_ns, o->last_ns, texts[6], (guint64) o->uid, bh_store_clean(s, o->example, BH_STORE_TEXT_MAX),
                       o->suspicious, bh_store_clean(s, o->why, BH_STORE_TEXT_MAX)))
                return FALSE;
        const gint64 id = bh_db_last_id(db);
        g_autofree char *key = g_strdup_printf("%" G_GINT64_FORMAT, id);
        return (!o->http || bh_store_put_http(s, id, o->http, error)) && bh_db_run(db, error, "UPDATE workloads SET observations = observations + 1 WHERE application = ? AND workload = ?", "tt", texts[0],
                         texts[1]) &&
               bh_store_log(s, BH_STORE_CHANGE_OBSERVATION, key, change, error);
}

gboolean bh_store_put_observation(BhStore *s, const char *node, const BhStoreObservation *o, guint64 *change, GError **error) {
        g_autofree char *who = g_strdup_printf("%u %d", o->uid, o->suspicious);
        const char *texts[] = { bh_store_clean(s, o->application, BH_STORE_KEY_MAX), bh_store_clean(s, o->workload, BH_STORE_KEY_MAX),
                                bh_store_clean(s, o->image_digest, BH_STORE_TEXT_MAX), bh_store_clean(s, o->kind, BH_STORE_KEY_MAX),
                                bh_store_clean(s, o->subject, BH_STORE_TEXT_MAX), bh_store_clean(s, o->parent, BH_STORE_TEXT_MAX), bh_store_clean(s, o->detail, BH_STORE_TEXT_MAX), who };
        guint8 fact[32];
        gint64 id = 0, count = 0;

        hash_fact(texts, G_N_ELEMENTS(texts), fact);
        BhDbStmt *st = bh_db_query(s->writer, error, "SELECT id, count FROM observations WHERE fact = ?", "b", fact, sizeof(fact));
        BhDbStep step = st ? bh_db_step(st, error) : BH_DB_FAILED;
        if (step == BH_DB_ROW) {
                id = bh_db_int(st, 0);
                count = bh_db_int(st, 1);
        }
        bh_db_done(st);
        if (step == BH_DB_FAILED)
                return FALSE;
        if (step == BH_DB_DONE)
                return add_fact(s, node, o, texts, fact, change, error);
        return bh_db_run(s->writer, error,
                         "UPDATE observations SET count = ?, received_ns = ?, node = ?, container_id = ?, "
                         "first_ns = CASE WHEN ? < first_ns THEN ? ELSE first_ns END, last_ns = CASE WHEN ? > last_ns THEN ? ELSE last_ns END "
                         "WHERE id = ?", "iittiiiii",
                         bh_store_add(count, o->count), s->tx_now, node, bh_store_clean(s, o->container_id, BH_STORE_KEY_MAX), o->first_ns,
                         o->first_ns, o->last_ns, o->last_ns, id) &&
               (!o->http || bh_store_put_http(s, id, o->http, error));
}

/* ---- workloads */

#define SAME(t) #t ".application = w.application AND " #t ".workload = w.workload"
static const char workloads_sql[] =
        "SELECT w.application, w.workload, w.first_seen_ns, w.last_seen_ns, w.observations, w.refused,"
        " (SELECT count(*) FROM containers c WHERE " SAME(c) "),"
        " (SELECT count(*) FROM containers c WHERE " SAME(c) " AND c.state = 'running'),"
        " (SELECT count(DISTINCT c.node) FROM containers c WHERE " SAME(c) "),"
        " (SELECT count(DISTINCT o.subject) FROM observations o WHERE " SAME(o) " AND o.kind = 'exec'),"
        " (SELECT count(*) FROM findings f WHERE " SAME(f) ") FROM workloads w";

static gpointer take_workload(BhDbStmt *st) {
        BhStoreWorkload *w = g_new0(BhStoreWorkload, 1);

        w->application = bh_db_text(st, 0);
        w->workload = bh_db_text(st, 1);
        w->first_seen_ns = bh_db_int(st, 2);
        w->last_seen_ns = bh_db_int(st, 3);
        w->observations = (guint64) bh_db_int(st, 4);
        w->refused = (guint64) bh_db_int(st, 5);
        w->containers = (guint64) bh_db_int(st, 6);
        w->running = (guint64) bh_db_int(st, 7);
        w->nodes = (guint64) bh_db_int(st, 8);
        w->executables = (guint64) bh_db_int(st, 9);
        w->findings = (guint64) bh_db_int(st, 10);
        w->images = g_ptr_array_new_with_free_func(image_free);
        return w;
}

static gboolean read_images(BhDb *db, BhStoreWorkload *w, GError **error) {
        BhDbStmt *st = bh_db_query(db, error,
                                   "SELECT image, image_digest, count(*), sum(CASE WHEN state = 'running' THEN 1 ELSE 0 END) FROM containers "
                                   "WHERE application = ? AND workload = ? GROUP BY image, image_digest ORDER BY 4 DESC, 3 DESC, 1 LIMIT ?", "tti",
                                   w->application, w->workload, (gint64) IMAGES_MAX);
        BhDbStep step = BH_DB_FAILED;

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreImage *i = g_new0(BhStoreImage, 1);

                i->image = bh_db_text(st, 0);
                i->image_digest = bh_db_text(st, 1);
                i->total = (guint64) bh_db_int(st, 2);
                i->running = (guint64) bh_db_int(st, 3);
                g_ptr_array_add(w->images, i);
        }
        bh_db_done(st);
        return step == BH_DB_DONE;
}

static char *workload_after(gconstpointer row) {
        const BhStoreWorkload *w = row;

        return bh_cursor_from_texts(w->application, w->workload);
}

/* A page of workloads by application and name, with their images. */
static BhStorePage *read_workloads(BhStore *s, const BhWhere *w, guint limit, GError **error) {
        static const BhStoreList list = { workloads_sql, " ORDER BY w.application, w.workload", take_workload, (GDestroyNotify) bh_store_workload_free, workload_after };
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return NULL;
        BhStorePage *page = bh_page_read(db, w, &list, limit, error);
        db->taken = 0; /* the images have as much room as the rows: a page of large rows is not cut to the first of them */
        for (guint i = 0; page && i < page->rows->len; i++) {
                if (!read_images(db, g_ptr_array_index(page->rows, i), error))
                        g_clear_pointer(&page, bh_store_page_free);
                else if (db->taken >= BH_STORE_PAGE_BYTES && i + 1 < page->rows->len)
                        bh_store_page_cut(page, i + 1);
        }
        bh_store_read_done(s, db);
        return page;
}


BhStorePage *bh_store_workloads(BhStore *s, const BhStoreWorkloadFilter *f, const char *cursor, guint limit, GError **error) {
        g_autofree char *application = NULL, *workload = NULL;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_sql(&w, "w.workload <> ''");
        if (f) {
                bh_where_text(&w, "w.application = ?", f->application);
                bh_where_text(&w, "EXISTS (SELECT 1 FROM containers c WHERE " SAME(c) " AND c.node = ?)", f->node);
                if (f->living)
                        bh_where_sql(&w, "EXISTS (SELECT 1 FROM containers c WHERE " SAME(c) " AND c.state = 'running')");
                bh_where_contains(&w, "w.application || ' ' || w.workload", f->search);
        }
        if (cursor) {
                if (!bh_cursor_parse_texts(cursor, &application, &workload, error))
                        return NULL;
                bh_where_text(&w, "(w.application, w.workload) > (?, ?)", application);
                bh_where_more_text(&w, workload);
        }
        return read_workloads(s, &w, limit, error);
}

BhStoreWorkload *bh_store_workload(BhStore *s, const char *application, const char *workload, GError **error) {
        g_autoptr(BhStorePage) page = NULL;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_text(&w, "w.application = ?", application);
        bh_where_text(&w, "w.workload = ?", workload);
        page = read_workloads(s, &w, 1, error);
        if (!page)
                return NULL;
        if (!page->rows->len)
                bh_store_not_found(error, "workload", workload);
        return page->rows->len ? g_ptr_array_steal_index(page->rows, 0) : NULL;
}

/* ---- applications */

static const char applications_sql[] =
        "SELECT w.application, count(*), min(w.first_seen_ns), max(w.last_seen_ns),"
        " (SELECT count(*) FROM containers c WHERE c.application = w.application AND c.workload <> ''),"
        " (SELECT count(*) FROM containers c WHERE c.application = w.application AND c.workload <> '' AND c.state = 'running'),"
        " (SELECT count(DISTINCT c.node) FROM containers c WHERE c.application = w.application AND c.workload <> ''),"
        " (SELECT count(*) FROM findings f WHERE f.application = w.application AND f.workload <> '') FROM workloads w";

static char *application_after(gconstpointer row) {
        return bh_cursor_from_texts(((const BhStoreApplication *) row)->application, "");
}

static gpointer take_application(BhDbStmt *st) {
        BhStoreApplication *a = g_new0(BhStoreApplication, 1);

        a->application = bh_db_text(st, 0);
        a->workloads = (guint64) bh_db_int(st, 1);
        a->first_seen_ns = bh_db_int(st, 2);
        a->last_seen_ns = bh_db_int(st, 3);
        a->containers = (guint64) bh_db_int(st, 4);
        a->running = (guint64) bh_db_int(st, 5);
        a->nodes = (guint64) bh_db_int(st, 6);
        a->findings = (guint64) bh_db_int(st, 7);
        return a;
}

BhStorePage *bh_store_applications(BhStore *s, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { applications_sql, " GROUP BY w.application ORDER BY w.application", take_application, (GDestroyNotify) bh_store_application_free, application_after };
        g_autofree char *after = NULL, *unused = NULL;
        g_auto(BhWhere) w;

        bh_where_init(&w);
        bh_where_sql(&w, "w.workload <> ''");
        if (cursor) {
                if (!bh_cursor_parse_texts(cursor, &after, &unused, error))
                        return NULL;
                bh_where_text(&w, "w.application > ?", after);
        }
        return bh_store_page(s, &w, &list, limit, error);
}

/* ---- observations */

static char *observation_after(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreObservation *) row)->id);
}

static gpointer take_observation(BhDbStmt *st) {
        BhStoreObservation *o = g_new0(BhStoreObservation, 1);
        char **texts[] = { &o->node, &o->container_id, &o->workload, &o->application, &o->image_digest, &o->kind, &o->subject, &o->parent };

        o->id = bh_db_int(st, 0);
        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                *texts[i] = bh_db_text(st, 1 + i);
        o->count = (guint64) bh_db_int(st, 9);
        o->first_ns = bh_db_int(st, 10);
        o->last_ns = bh_db_int(st, 11);
        o->detail = bh_db_text(st, 12);
        o->example = bh_db_text(st, 13);
        o->why = bh_db_text(st, 14);
        o->uid = (guint32) bh_db_int(st, 15);
        o->suspicious = bh_db_int(st, 16) != 0;
        return o;
}

BhStorePage *bh_store_observations(BhStore *s, const BhStoreObservationFilter *f, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT id, node, container_id, workload, application, image_digest, kind, subject, parent, count, "
                                          "first_ns, last_ns, detail, example, why, uid, suspicious FROM observations",
                                          " ORDER BY id DESC", take_observation, (GDestroyNotify) bh_store_observation_free, observation_after };
        g_auto(BhWhere) w;

        bh_where_init(&w);
        if (f) {
                bh_where_text(&w, "application = ?", f->application);
                bh_where_text(&w, "workload = ?", f->workload);
                bh_where_text(&w, "image_digest = ?", f->image_digest);
                bh_where_text(&w, "kind = ?", f->kind);
                bh_where_text(&w, "subject = ?", f->subject);
                bh_where_contains(&w, "subject || ' ' || parent", f->search);
                if (f->since_ns)
                        bh_where_int(&w, "last_ns >= ?", f->since_ns);
                if (f->until_ns)
                        bh_where_int(&w, "first_ns <= ?", f->until_ns);
        }
        return bh_where_cursor(&w, "id < ?", 1, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

/* ---- overview */

gboolean bh_store_overview(BhStore *s, BhStoreOverview *out, GError **error) {
        BhStoreOverview o = { 0 };
        const struct {
                guint64 *where;
                const char *sql;
        } counts[] = {
                { &o.nodes, "SELECT count(*) FROM nodes" },
                { &o.nodes_up, "SELECT count(*) FROM nodes WHERE up <> 0" },
                { &o.containers, "SELECT count(*) FROM containers" },
                { &o.running, "SELECT count(*) FROM containers WHERE state = 'running'" },
                { &o.workloads, "SELECT count(*) FROM workloads WHERE workload <> ''" },
                { &o.applications, "SELECT count(DISTINCT application) FROM workloads WHERE workload <> ''" },
                { &o.observations, "SELECT count(*) FROM observations" },
                { &o.lost, "SELECT sum(count) FROM losses" },
        };
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;
        gboolean ok = TRUE;
        gint64 n;

        if (!db)
                return FALSE;
        for (guint i = 0; ok && i < G_N_ELEMENTS(counts); i++) {
                ok = bh_db_get_int(db, &n, NULL, error, counts[i].sql, "");
                if (ok)
                        *counts[i].where = (guint64) n;
        }
        BhDbStmt *st = ok ? bh_db_query(db, error, "SELECT rank, count(*) FROM findings GROUP BY rank", "") : NULL;
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                guint64 rank = (guint64) bh_db_int(st, 0), count = (guint64) bh_db_int(st, 1);

                o.findings_by_rank[MIN(rank, (guint64) G_N_ELEMENTS(o.findings_by_rank) - 1)] += count;
                o.findings += count;
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE)
                *out = o;
        return step == BH_DB_DONE;
}
