/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_evidence.h"

#include <string.h>

#include "store/store_private.h"

#define BEFORE_NS (600 * G_GINT64_CONSTANT(1000000000)) /* of an incident's first finding */
#define ROWS_AT_ONCE 500
#define ROOM_AT_ONCE 1000
#define ROUNDS_HELD 64

void bh_store_evidence_free(BhStoreEvidence *e) {
        if (!e)
                return;
        char *texts[] = { e->chain, e->node, e->kind, e->container_id, e->finding, e->sha256, e->line, e->hash, e->next };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_free(e);
}

void bh_store_evidence_chain_free(BhStoreEvidenceChain *c) {
        if (!c)
                return;
        g_free(c->chain);
        g_free(c->node);
        g_free(c->hash);
        g_free(c->next);
        g_array_unref(c->gaps);
        g_free(c);
}

/* ---- ingest ---- */

static gboolean conflict(BhStore *s, const BhStoreEvidence *e, GError **error) {
        g_autofree char *line = NULL;

        if (!bh_db_get_text(s->writer, &line, error, "SELECT line FROM evidence WHERE chain = ? AND seq = ?", "tu", e->chain, e->seq))
                return FALSE;
        return !line || g_str_equal(line, e->line) || bh_db_run(s->writer, error, "UPDATE evidence_chains SET conflicts = conflicts + 1, changed_ns = ? WHERE chain = ?", "it", s->tx_now, e->chain);
}

/* Of an item: whether an open incident speaks of it, by its container, or by a finding, which may be gone itself. */
#define OF_OPEN(findings) "EXISTS (SELECT 1 FROM " findings " f JOIN incident_findings m ON m.serial = f.serial JOIN incidents i ON i.id = m.incident WHERE f.id = evidence.finding AND i.state = 'open')"
#define HELD \
        "((container_id <> '' AND container_id IN (SELECT json_extract(c.value, '$.id') FROM incidents i, json_each(i.containers) c WHERE i.state = 'open')) OR " \
        "(finding <> '' AND (" OF_OPEN("findings") " OR " OF_OPEN("evidence_findings") ")))"
/* The last item of a chain is what heads are compared with. */
#define IS_HEAD "EXISTS (SELECT 1 FROM evidence_chains c WHERE c.chain = evidence.chain AND c.last_seq = evidence.seq)"

/* One row: where its chain goes on is noted, for what nobody noted is missing. */
static gboolean drop_row(BhStore *s, gint64 serial, GError **error) {
        return bh_db_run(s->writer, error, "INSERT INTO evidence_gaps (chain, seq) SELECT chain, seq + 1 FROM evidence WHERE serial = ? ON CONFLICT DO NOTHING", "i", serial) &&
               bh_db_run(s->writer, error, "DELETE FROM evidence WHERE serial = ?", "i", serial);
}

/* Behind `serial` of the last that went, or at the end where there were too few. Now and then all are asked for again: what was the end of a chain may be none any more. */
static gboolean note_held(BhStore *s, gint64 serial, GError **error) {
        if (++s->evidence_rounds % ROUNDS_HELD == 0)
                s->evidence_held = 0;
        else if (serial)
                s->evidence_held = serial;
        else
                return bh_db_get_int(s->writer, &s->evidence_held, NULL, error, "SELECT max(serial) FROM evidence", "");
        return TRUE;
}

/* At most *surplus of the oldest, those only of which no open incident speaks, or any. *surplus: what is left to do. */
static gboolean drop_oldest(BhStore *s, gboolean any, gint64 *surplus, GError **error) {
        g_autoptr(GArray) going = g_array_new(FALSE, FALSE, sizeof(gint64));
        BhDbStep step = BH_DB_FAILED;
        guint64 held = 0;
        gboolean ok;

        BhDbStmt *st = any ? bh_db_query(s->writer, error, "SELECT serial, " HELD " FROM evidence ORDER BY serial LIMIT ?", "i", *surplus)
                           : bh_db_query(s->writer, error, "SELECT serial, 0 FROM evidence WHERE serial > ? AND NOT " HELD " AND NOT " IS_HEAD " ORDER BY serial LIMIT ?", "ii", s->evidence_held, *surplus);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                gint64 serial = bh_db_int(st, 0);

                g_array_append_val(going, serial);
                held += bh_db_int(st, 1) != 0;
        }
        bh_db_done(st);
        ok = step == BH_DB_DONE;
        for (guint i = 0; ok && i < going->len; i++)
                ok = drop_row(s, g_array_index(going, gint64, i), error);
        ok = ok && (any || note_held(s, going->len == *surplus ? g_array_index(going, gint64, going->len - 1) : 0, error));
        *surplus -= going->len;
        s->tx_evidence += going->len;
        s->tx_evidence_open += held;
        return ok;
}

/* Beyond the bound the oldest go, a thousand at a time; those of open incidents when nothing else is left. */
static gboolean make_room(BhStore *s, gint64 serial, GError **error) {
        gint64 first, surplus;

        if (serial % ROOM_AT_ONCE)
                return TRUE;
        if (!bh_db_get_int(s->writer, &first, NULL, error, "SELECT min(serial) FROM evidence", ""))
                return FALSE;
        if (serial - first < s->evidence_max)
                return TRUE;
        if (!bh_db_get_int(s->writer, &surplus, NULL, error, "SELECT count(*) FROM evidence", ""))
                return FALSE;
        surplus -= s->evidence_max;
        if (surplus <= 0)
                return TRUE;
        return drop_oldest(s, FALSE, &surplus, error) && (!surplus || drop_oldest(s, TRUE, &surplus, error)) &&
               bh_db_run(s->writer, error, "DELETE FROM evidence_dropped WHERE sha256 NOT IN (SELECT sha256 FROM evidence)", "") &&
               bh_db_run(s->writer, error, "DELETE FROM evidence_findings WHERE NOT EXISTS (SELECT 1 FROM evidence e WHERE e.finding = evidence_findings.id)", "") &&
               bh_db_run(s->writer, error, "UPDATE evidence_chains SET first_seq = coalesce((SELECT min(seq) FROM evidence WHERE evidence.chain = evidence_chains.chain), last_seq + 1)", "") &&
               /* those that stay: at an item that is here, or is the next to come */
               bh_db_run(s->writer, error, "DELETE FROM evidence_gaps WHERE NOT EXISTS (SELECT 1 FROM evidence_chains c WHERE c.chain = evidence_gaps.chain AND evidence_gaps.seq > c.first_seq AND "
                         "(evidence_gaps.seq = c.last_seq + 1 OR EXISTS (SELECT 1 FROM evidence e WHERE e.chain = evidence_gaps.chain AND e.seq = evidence_gaps.seq)))", "");
}

/* That it is what the last item of the chain announced: signed with the key that only the chain's own node has. */
static gboolean goes_on(BhStore *s, const BhStoreEvidence *e, gboolean *yes, GError **error) {
        gint64 n;

        if (!bh_db_get_int(s->writer, &n, NULL, error, "SELECT count(*) FROM evidence_chains WHERE chain = ? AND last_seq = ? AND hash = ? AND next = ?", "tutt", e->chain, e->seq - 1, e->prev, e->key))
                return FALSE;
        *yes = n > 0;
        return TRUE;
}

/*
 * A node that begins anew all the time has no more chains than the bound. A chain is its first node's: another node's item is taken only if it goes on with the chain, which a node can that was given
 * another name, and nobody else; it is that node's chain from then on.
 */
static gboolean has_place(BhStore *s, const char *node, const BhStoreEvidence *e, gboolean *place, GError **error) {
        g_autofree char *owner = NULL;
        gint64 of_node = 0;

        if (!bh_db_get_text(s->writer, &owner, error, "SELECT node FROM evidence_chains WHERE chain = ?", "t", e->chain))
                return FALSE;
        if (owner && g_str_equal(owner, node)) {
                *place = TRUE;
                return TRUE;
        }
        if (owner)
                return goes_on(s, e, place, error) && (!*place || bh_db_run(s->writer, error, "UPDATE evidence_chains SET node = ? WHERE chain = ?", "tt", node, e->chain));
        if (!bh_db_get_int(s->writer, &of_node, NULL, error, "SELECT count(*) FROM evidence_chains WHERE node = ?", "t", node))
                return FALSE;
        *place = of_node < BH_STORE_EVIDENCE_CHAINS;
        return TRUE;
}

gboolean bh_store_put_evidence(BhStore *s, const char *node, const BhStoreEvidence *e, gboolean *duplicate, guint64 *refused, GError **error) {
        gboolean place;
        gint64 have;

        if (!has_place(s, node, e, &place, error))
                return FALSE;
        if (!place) {
                ++*refused;
                return TRUE;
        }
        if (!bh_db_get_int(s->writer, &have, NULL, error, "SELECT count(*) FROM evidence WHERE chain = ? AND seq = ?", "tu", e->chain, e->seq))
                return FALSE;
        *duplicate = have > 0;
        if (have)
                return conflict(s, e, error);
        if (!bh_db_run(s->writer, error, "INSERT INTO evidence (chain, seq, node, time_ns, received_ns, kind, container_id, pid, start_ns, finding, sha256, size, line) "
                       "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "tutiittiittut", e->chain, e->seq, node, e->time_ns, s->tx_now, bh_store_clean(s, e->kind, 64),
                       bh_store_clean(s, e->container_id, BH_STORE_KEY_MAX), (gint64) e->pid, e->start_ns, bh_store_clean(s, e->finding, BH_STORE_KEY_MAX), e->sha256, e->size, e->line))
                return FALSE;
        gint64 serial = bh_db_last_id(s->writer);
        return bh_db_run(s->writer, error, "INSERT INTO evidence_chains (chain, node, first_seq, last_seq, hash, next, conflicts, changed_ns) VALUES (?, ?, ?, ?, ?, ?, 0, ?) "
                         "ON CONFLICT (chain) DO UPDATE SET first_seq = min(evidence_chains.first_seq, excluded.first_seq), "
                         "hash = CASE WHEN excluded.last_seq > evidence_chains.last_seq THEN excluded.hash ELSE evidence_chains.hash END, "
                         "next = CASE WHEN excluded.last_seq > evidence_chains.last_seq THEN excluded.next ELSE evidence_chains.next END, "
                         "last_seq = max(evidence_chains.last_seq, excluded.last_seq), changed_ns = excluded.changed_ns", "ttuutti", e->chain, node, e->seq, e->seq, e->hash, e->next, s->tx_now) &&
               make_room(s, serial, error);
}

/* ---- queries ---- */

#define COLUMNS "serial, chain, seq, node, time_ns, received_ns, kind, container_id, pid, start_ns, finding, sha256, size, line"

static gpointer take_row(BhDbStmt *st) {
        BhStoreEvidence *e = g_new0(BhStoreEvidence, 1);

        e->serial = bh_db_int(st, 0);
        e->chain = bh_db_text(st, 1);
        e->seq = (guint64) bh_db_int(st, 2);
        e->node = bh_db_text(st, 3);
        e->time_ns = bh_db_int(st, 4);
        e->received_ns = bh_db_int(st, 5);
        e->kind = bh_db_text(st, 6);
        e->container_id = bh_db_text(st, 7);
        e->pid = (guint32) bh_db_int(st, 8);
        e->start_ns = bh_db_int(st, 9);
        e->finding = bh_db_text(st, 10);
        e->sha256 = bh_db_text(st, 11);
        e->size = (guint64) bh_db_int(st, 12);
        e->line = bh_db_text(st, 13);
        return e;
}

/*
 * Of an incident: what names one of its findings (the repeats of one have its id and more behind it), and what is of one of its containers while it went on. A container of two incidents
 * gives what is not of a finding to both.
 */
#define FINDINGS_OF(which) \
        "(SELECT f.id FROM incident_findings m JOIN findings f ON f.serial = m.serial WHERE m.incident " which " UNION ALL " \
        "SELECT f.id FROM incident_findings m JOIN evidence_findings f ON f.serial = m.serial WHERE m.incident " which ")"
#define OF_INCIDENT "(finding IN " FINDINGS_OF("= ?") " OR (container_id <> '' AND (finding = '' OR finding NOT IN " FINDINGS_OF("<> ?") ") AND " \
        "EXISTS (SELECT 1 FROM incidents i, json_each(i.containers) c WHERE i.id = ? AND json_extract(c.value, '$.id') = container_id AND time_ns >= i.first_ns - ?)))"

static void filter_to_where(BhWhere *w, const BhStoreEvidenceFilter *f) {
        bh_where_init(w);
        if (!f)
                return;
        bh_where_text(w, "node = ?", f->node);
        bh_where_text(w, "finding = ?", f->finding);
        bh_where_text(w, "kind = ?", f->kind);
        if (f->container) {
                bh_where_text(w, "(container_id = ? OR container_id IN (SELECT id FROM containers WHERE name = ?))", f->container);
                bh_where_more_text(w, f->container);
        }
        if (f->incident) {
                bh_where_int(w, OF_INCIDENT, (gint64) f->incident);
                for (guint more = 0; more < 4; more++)
                        bh_where_more_int(w, (gint64) f->incident);
                bh_where_more_int(w, BEFORE_NS);
        }
        if (f->since_ns)
                bh_where_int(w, "time_ns >= ?", f->since_ns);
        if (f->until_ns)
                bh_where_int(w, "time_ns <= ?", f->until_ns);
}

static char *cursor_after(gconstpointer row) {
        return g_strdup_printf("%" G_GINT64_FORMAT, ((const BhStoreEvidence *) row)->serial);
}

BhStorePage *bh_store_evidence(BhStore *s, const BhStoreEvidenceFilter *filter, const char *cursor, guint limit, GError **error) {
        static const BhStoreList list = { "SELECT " COLUMNS " FROM evidence", " ORDER BY serial DESC", take_row, (GDestroyNotify) bh_store_evidence_free, cursor_after };
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_where_cursor(&w, "serial < ?", 1, cursor, error) ? bh_store_page(s, &w, &list, limit, error) : NULL;
}

gboolean bh_store_evidence_count(BhStore *s, const BhStoreEvidenceFilter *filter, guint64 *count, GError **error) {
        g_auto(BhWhere) w;

        filter_to_where(&w, filter);
        return bh_store_count(s, &w, "evidence", count, error);
}

BhStoreEvidence *bh_store_evidence_item(BhStore *s, gint64 serial, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhStoreEvidence *e = NULL;
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT " COLUMNS " FROM evidence WHERE serial = ?", "i", serial);
        if (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                e = take_row(st);
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step == BH_DB_DONE) {
                g_autofree char *name = g_strdup_printf("%" G_GINT64_FORMAT, serial);

                bh_store_not_found(error, "item of evidence", name);
        }
        return e;
}

static gboolean read_gaps(BhDb *db, BhStoreEvidenceChain *c, GError **error) {
        BhDbStep step = BH_DB_FAILED;
        BhDbStmt *st = bh_db_query(db, error, "SELECT seq FROM evidence_gaps WHERE chain = ? AND seq <= ? ORDER BY seq", "tu", c->chain, c->last_seq);

        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                guint64 seq = (guint64) bh_db_int(st, 0);

                g_array_append_val(c->gaps, seq);
        }
        bh_db_done(st);
        return step == BH_DB_DONE;
}

GPtrArray *bh_store_evidence_chains(BhStore *s, const char *node, GError **error) {
        g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_evidence_chain_free);
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return NULL;
        BhDbStmt *st = bh_db_query(db, error, "SELECT chain, node, hash, next, first_seq, last_seq, conflicts FROM evidence_chains WHERE ? = '' OR node = ? ORDER BY changed_ns, chain", "tt", node, node);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreEvidenceChain *c = g_new0(BhStoreEvidenceChain, 1);

                c->chain = bh_db_text(st, 0);
                c->node = bh_db_text(st, 1);
                c->hash = bh_db_text(st, 2);
                c->next = bh_db_text(st, 3);
                c->first_seq = (guint64) bh_db_int(st, 4);
                c->last_seq = (guint64) bh_db_int(st, 5);
                c->conflicts = (guint64) bh_db_int(st, 6);
                c->gaps = g_array_new(FALSE, FALSE, sizeof(guint64));
                g_ptr_array_add(out, c);
        }
        bh_db_done(st);
        gboolean ok = step == BH_DB_DONE;
        for (guint i = 0; ok && i < out->len; i++)
                ok = read_gaps(db, out->pdata[i], error);
        bh_store_read_done(s, db);
        return ok ? g_steal_pointer(&out) : NULL;
}

gboolean bh_store_evidence_lines(BhStore *s, const char *chain, guint64 from, gboolean (*each)(guint64, const char *, gsize, gpointer), gpointer data, GError **error) {
        gint64 after = (gint64) from - 1;
        guint rows;

        /* in pieces, so that no reader's snapshot is held for long */
        do {
                BhDb *db = bh_store_read(s, error);
                BhDbStep step = BH_DB_FAILED;

                rows = 0;
                if (!db)
                        return FALSE;
                BhDbStmt *st = bh_db_query(db, error, "SELECT seq, line FROM evidence WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?", "tii", chain, after, (gint64) ROWS_AT_ONCE);
                while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                        const char *line = bh_db_peek(st, 1);

                        after = bh_db_int(st, 0);
                        rows++;
                        if (!each((guint64) after, line, strlen(line), data)) {
                                rows = 0;
                                step = BH_DB_DONE;
                                break;
                        }
                }
                bh_db_done(st);
                bh_store_read_done(s, db);
                if (step != BH_DB_DONE)
                        return FALSE;
        } while (rows == ROWS_AT_ONCE);
        return TRUE;
}

/* ---- retention ---- */

gboolean bh_store_evidence_oldest(BhStore *s, guint max, void (*each)(const char *, guint64, gboolean, gpointer), gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error,
                                   "SELECT sha256, max(size), max(" HELD ") AS held "
                                   "FROM evidence WHERE sha256 <> '' AND sha256 NOT IN (SELECT sha256 FROM evidence_dropped) GROUP BY sha256 ORDER BY held, max(serial) LIMIT ?", "i", (gint64) max);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                each(bh_db_peek(st, 0), (guint64) bh_db_int(st, 1), bh_db_int(st, 2) != 0, data);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

gboolean bh_store_evidence_objects(BhStore *s, void (*each)(const char *, gpointer), gpointer data, GError **error) {
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;

        if (!db)
                return FALSE;
        BhDbStmt *st = bh_db_query(db, error, "SELECT DISTINCT sha256 FROM evidence WHERE sha256 <> ''", "");
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW)
                each(bh_db_peek(st, 0), data);
        bh_db_done(st);
        bh_store_read_done(s, db);
        return step == BH_DB_DONE;
}

gboolean bh_store_evidence_drop(BhStore *s, const char *const *sha256, guint n, const char *why, GError **error) {
        gboolean ok = TRUE;

        if (!bh_store_begin(s, error))
                return FALSE;
        for (guint i = 0; ok && i < n; i++)
                ok = bh_db_run(s->writer, error, "INSERT INTO evidence_dropped (sha256, why, time_ns) VALUES (?, ?, ?) ON CONFLICT (sha256) DO NOTHING", "tti", sha256[i], why, s->tx_now);
        return bh_store_end(s, ok, error);
}

gboolean bh_store_evidence_is_dropped(BhStore *s, const char *sha256, char **why, GError **error) {
        BhDb *db = bh_store_read(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_db_get_text(db, why, error, "SELECT why FROM evidence_dropped WHERE sha256 = ?", "t", sha256);
        bh_store_read_done(s, db);
        return ok;
}
