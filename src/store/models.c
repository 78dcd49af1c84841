/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_models.h"

#include <string.h>

#include "store/store_private.h"

#define ROWS_AT_ONCE 1000

static gboolean put_model(BhStore *s, const BhStoreModel *m, GError **error) {
        gint64 others;
        gsize len;

        if (!m->model)
                return bh_db_run(s->writer, error, "DELETE FROM models WHERE application = ? AND workload = ?", "tt", m->application, m->workload);
        const void *bytes = g_bytes_get_data(m->model, &len);
        if (!bh_db_get_int(s->writer, &others, NULL, error, "SELECT count(*) FROM models WHERE NOT (application = ? AND workload = ?)", "tt", m->application, m->workload))
                return FALSE;
        if (len > BH_STORE_MODEL_MAX || others >= BH_STORE_MODELS) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "cannot store the model of %s/%s: %s", m->application, m->workload,
                            len > BH_STORE_MODEL_MAX ? "it is larger than a model may be" : "there are as many models as there may be");
                return FALSE;
        }
        return bh_db_run(s->writer, error,
                         "INSERT INTO models (application, workload, changed_ns, model) VALUES (?, ?, ?, ?) ON CONFLICT (application, workload) DO UPDATE SET "
                         "changed_ns = excluded.changed_ns, model = excluded.model", "ttib", m->application, m->workload, s->tx_now, bytes, len);
}

gboolean bh_store_models_save(BhStore *s, const BhStoreModel *models, guint n, const BhStoreFinding *findings, guint n_findings, gint64 position_ns, const BhStoreAuditEntry *audit,
                              GError **error) {
        gboolean ok = TRUE;

        if (!bh_store_begin(s, error))
                return FALSE;
        for (guint i = 0; ok && i < n; i++)
                ok = put_model(s, &models[i], error);
        for (guint i = 0; ok && i < n_findings; i++) {
                gboolean duplicate;
                guint64 change;

                ok = bh_store_put_finding(s, bh_store_clean(s, findings[i].node, BH_STORE_KEY_MAX), &findings[i], &change, &duplicate, error);
        }
        if (ok && position_ns) {
                g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, position_ns);

                ok = bh_db_run(s->writer, error, "INSERT INTO meta (\"key\", value) VALUES (?, ?) ON CONFLICT (\"key\") DO UPDATE SET value = excluded.value", "tt",
                               BH_STORE_MODELS_POSITION, text);
        }
        return bh_store_end(s, ok && bh_store_put_audit(s, audit, error), error);
}

gboolean bh_store_models_load(BhStore *s, gboolean (*each)(const char *, const char *, GBytes *, gpointer), gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT application, workload, model FROM models ORDER BY application, workload", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                g_autofree char *application = bh_db_text(st, 0), *workload = bh_db_text(st, 1);
                g_autoptr(GBytes) bytes = bh_db_blob(st, 2);

                if (bytes && !each(application, workload, bytes, data)) {
                        step = BH_DB_DONE;
                        break;
                }
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

gboolean bh_store_models_position(BhStore *s, gint64 *ns, GError **error) {
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_db_get_int(db, ns, NULL, error, "SELECT CAST(value AS INTEGER) FROM meta WHERE \"key\" = ?", "t", BH_STORE_MODELS_POSITION);
        bh_store_read_done(s, db);
        return ok;
}

gboolean bh_store_observations_since(BhStore *s, gint64 received_ns, void (*each)(const BhStoreObservation *, gpointer), gpointer data, GError **error) {
        gint64 after = 0;
        guint rows;

        /* in pieces, so that no reader's snapshot is held for long */
        do {
                BhDb *db = bh_store_read(s, error);
                BhDbStep step = BH_DB_FAILED;

                rows = 0;
                if (!db)
                        return FALSE;
                BhDbStmt *st = bh_db_query(db, error, "SELECT id, node, container_id, workload, application, image_digest, kind, subject, parent, detail, example, why, count, first_ns, "
                                           "last_ns, uid, suspicious FROM observations WHERE received_ns >= ? AND id > ? ORDER BY id LIMIT ?", "iii", received_ns, after, (gint64) ROWS_AT_ONCE);
                while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                        BhStoreObservation o = { .id = bh_db_int(st, 0) };
                        char **texts[] = { &o.node, &o.container_id, &o.workload, &o.application, &o.image_digest, &o.kind, &o.subject, &o.parent, &o.detail, &o.example, &o.why };

                        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                                *texts[i] = (char *) bh_db_peek(st, 1 + i);
                        o.count = (guint64) bh_db_int(st, 12);
                        o.first_ns = bh_db_int(st, 13);
                        o.last_ns = bh_db_int(st, 14);
                        o.uid = (guint32) bh_db_int(st, 15);
                        o.suspicious = bh_db_int(st, 16) != 0;
                        after = o.id;
                        rows++;
                        each(&o, data);
                }
                bh_db_done(st);
                bh_store_read_done(s, db);
                if (step != BH_DB_DONE)
                        return FALSE;
        } while (rows == ROWS_AT_ONCE);
        return TRUE;
}
