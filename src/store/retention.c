/* SPDX-License-Identifier: Apache-2.0 */
/* What is deleted, when, in which order; and rotating backups. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/store_private.h"

#define ROUND 5000      /* rows of one transaction: ingest waits so long at most */
#define SIZE_ROUND 1000 /* the same where each row that goes needlessly is a pity */
#define JUMP_NS (3600 * G_GINT64_CONSTANT(1000000000))
#define TOKENS_KEPT_NS (90 * 86400 * G_GINT64_CONSTANT(1000000000))
#define ROW_OVERHEAD 120 /* bytes of a row beyond its longer texts: keys, numbers, its places in indexes */
#define COMPACT_ROUNDS 32
#define COMPACT_MIN (16 << 20)

typedef enum { FINDINGS, CONTAINERS, OBSERVATIONS, AUDIT, BUCKETS, KINDS } Kind;

/* How much of a kind may go, and how large a row of it is: a hundred at each end are taken for all. */
#define SAMPLE(what, table, where, order) \
        "SELECT avg(" what ") FROM (SELECT * FROM (SELECT * FROM " table where " ORDER BY " order " LIMIT 100) UNION ALL " \
        "SELECT * FROM (SELECT * FROM " table where " ORDER BY " order " DESC LIMIT 100))"
static const struct {
        const char *count, *size;
} kinds[KINDS] = {
        [FINDINGS] = { "SELECT count(*) FROM findings",
                       SAMPLE("length(output) + length(fields) + length(tags) + length(event) + length(rule) + length(container) + length(lineage) + length(description) + length(advice)", "findings", "", "serial") },
        [CONTAINERS] = { "SELECT count(*) FROM containers WHERE ended_ns > 0",
                         SAMPLE("800 + length(labels) + length(mounts) + length(env_names) + length(networks) + length(ports)", "containers",
                                " WHERE ended_ns > 0", "ended_ns") },
        [OBSERVATIONS] = { "SELECT count(*) FROM observations",
                           SAMPLE("200 + length(subject) + length(parent) + length(image_digest)", "observations", "", "received_ns") },
        [AUDIT] = { "SELECT count(*) FROM audit", SAMPLE("100 + length(object) + length(detail)", "audit", "", "id") },
        [BUCKETS] = { "SELECT count(*) FROM flow_buckets", "SELECT -70" }, /* eleven small numbers */
};

/* ---- one transaction each: at most `max` rows received before `before`, the oldest. *gone = how many went. */

static gboolean drop_findings(BhStore *s, gint64 before, gint64 max, gint64 *gone, GError **error) {
        /* The newest numbers are the latest received, so only the oldest have to be looked at. */
        gboolean ok = bh_db_run(s->writer, error, "INSERT INTO evidence_findings (serial, id) SELECT f.serial, f.id FROM findings f WHERE f.serial IN (SELECT serial FROM findings ORDER BY serial LIMIT ?) "
                                "AND f.received_ns < ? AND EXISTS (SELECT 1 FROM incident_findings m WHERE m.serial = f.serial) AND EXISTS (SELECT 1 FROM evidence e WHERE e.finding = f.id) "
                                "ON CONFLICT DO NOTHING", "ii", max, before) &&
                      bh_db_run(s->writer, error, "DELETE FROM findings WHERE serial IN (SELECT serial FROM findings ORDER BY serial LIMIT ?) "
                                "AND received_ns < ?", "ii", max, before);
        *gone = ok ? bh_db_changes(s->writer) : 0;
        /* which incident they were in: numbers are never used again, so all below the oldest that stays; but of evidence it is still to be known */
        return ok && (!*gone || bh_db_run(s->writer, error, "DELETE FROM incident_findings WHERE serial < (SELECT min(serial) FROM findings) AND serial NOT IN (SELECT serial FROM evidence_findings)", ""));
}

static gboolean drop_containers(BhStore *s, gint64 before, gint64 max, gint64 *gone, GError **error) {
        gboolean ok = bh_db_run(s->writer, error, "DELETE FROM containers WHERE serial IN (SELECT serial FROM containers WHERE ended_ns > 0 "
                                "AND ended_ns < ? AND last_seen_ns < ? ORDER BY ended_ns, serial LIMIT ?)", "iii", before, before, max);
        *gone = ok ? bh_db_changes(s->writer) : 0;
        return ok;
}

typedef struct {
        char *application, *workload;
        gint64 n;
} Share;

static void share_clear(gpointer p) {
        g_free(((Share *) p)->application);
        g_free(((Share *) p)->workload);
}

#define OLDEST_FACTS "(SELECT id FROM observations WHERE received_ns < ? ORDER BY received_ns, id LIMIT ?)"

static gboolean drop_observations(BhStore *s, gint64 before, gint64 max, gint64 *gone, GError **error) {
        g_autoptr(GArray) shares = g_array_new(FALSE, FALSE, sizeof(Share));
        BhDbStep step = BH_DB_FAILED;
        BhDb *db = s->writer;

        g_array_set_clear_func(shares, share_clear);
        BhDbStmt *st = bh_db_query(db, error, "SELECT application, workload, count(*) FROM observations WHERE id IN " OLDEST_FACTS
                                   " GROUP BY application, workload", "ii", before, max);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                Share share = { bh_db_text(st, 0), bh_db_text(st, 1), bh_db_int(st, 2) };

                g_array_append_val(shares, share);
        }
        bh_db_done(st);
        gboolean ok = step == BH_DB_DONE && bh_db_run(db, error, "DELETE FROM observations WHERE id IN " OLDEST_FACTS, "ii", before, max);
        *gone = ok ? bh_db_changes(db) : 0;
        for (guint i = 0; ok && i < shares->len; i++) {
                const Share *share = &g_array_index(shares, Share, i);

                ok = bh_db_run(db, error, "UPDATE workloads SET observations = observations - ? WHERE application = ? AND workload = ?", "itt", share->n,
                               share->application, share->workload);
        }
        return ok;
}

/* A beginning of the log, and nothing else, so that the chain of what stays is whole. Its last hash is kept as the anchor. */
static gboolean drop_audit(BhStore *s, gint64 before, gint64 max, gint64 *gone, GError **error) {
        g_autofree char *anchor = NULL;
        BhDbStep step = BH_DB_FAILED;
        BhDb *db = s->writer;
        gint64 last = 0;

        BhDbStmt *st = bh_db_query(db, error, "SELECT id, time_ns, hash FROM audit ORDER BY id LIMIT ?", "i", max);
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW && bh_db_int(st, 1) < before) {
                last = bh_db_int(st, 0);
                g_free(anchor);
                anchor = bh_db_text(st, 2);
        }
        bh_db_done(st);
        *gone = 0;
        if (step == BH_DB_FAILED || !last)
                return step != BH_DB_FAILED;
        gboolean ok = bh_db_run(db, error, "DELETE FROM audit WHERE id <= ?", "i", last);
        *gone = ok ? bh_db_changes(db) : 0;
        return ok && bh_db_run(db, error, "INSERT INTO meta (\"key\", value) VALUES ('audit_anchor', ?) ON CONFLICT (\"key\") DO UPDATE SET "
                               "value = excluded.value", "t", anchor);
}

/* Their age is bh_store_flows_expire()'s. */
static gboolean drop_buckets(BhStore *s, gint64 before, gint64 max, gint64 *gone, GError **error) {
        *gone = 0;
        return before < G_MAXINT64 || bh_store_drop_buckets(s, max, gone, error);
}

static gboolean drop(BhStore *s, Kind kind, gint64 before, gint64 max, gint64 *gone, GError **error) {
        static gboolean (*const how[KINDS])(BhStore *, gint64, gint64, gint64 *, GError **) = {
                [FINDINGS] = drop_findings, [CONTAINERS] = drop_containers, [OBSERVATIONS] = drop_observations, [AUDIT] = drop_audit, [BUCKETS] = drop_buckets,
        };

        return bh_store_begin(s, error) && bh_store_end(s, how[kind](s, before, max, gone, error), error);
}

static guint64 *counter(BhStoreExpired *e, Kind kind) {
        guint64 *const counters[KINDS] = { [FINDINGS] = &e->findings, [CONTAINERS] = &e->containers, [OBSERVATIONS] = &e->observations, [AUDIT] = &e->audit, [BUCKETS] = &e->buckets };

        return counters[kind];
}

/* ---- by age */

static gboolean drop_silent_node(BhStore *s, gint64 before, BhStoreExpired *e, GError **error) {
        BhDb *db = s->writer;
        gint64 gone = 0;

        gboolean ok = bh_db_run(db, error, "DELETE FROM containers WHERE node IN (SELECT name FROM nodes WHERE up = 0 AND last_seen_ns < ?)", "i", before);
        gone = ok ? bh_db_changes(db) : 0;
        ok = ok && bh_store_drop_silent_resources(s, before, error) && bh_db_run(db, error, "DELETE FROM losses WHERE node IN (SELECT name FROM nodes WHERE up = 0 AND last_seen_ns < ?)", "i", before) &&
             bh_db_run(db, error, "DELETE FROM node_addresses WHERE node IN (SELECT name FROM nodes WHERE up = 0 AND last_seen_ns < ?)", "i", before) &&
             bh_db_run(db, error, "DELETE FROM nodes WHERE up = 0 AND last_seen_ns < ?", "i", before);
        if (ok) {
                e->containers += (guint64) gone;
                e->nodes += (guint64) bh_db_changes(db);
        }
        return ok;
}

static gboolean drop_by_age(BhStore *s, gint64 before, BhStoreExpired *e, GError **error) {
        for (Kind k = 0; k < KINDS; k++) {
                gint64 gone;

                do {
                        if (!drop(s, k, before, ROUND, &gone, error))
                                return FALSE;
                        *counter(e, k) += (guint64) gone;
                } while (gone == ROUND);
        }
        return bh_store_begin(s, error) && bh_store_end(s, drop_silent_node(s, before, e, error), error);
}

/* ---- by size */

static gboolean measure(BhStore *s, gint64 rows[KINDS], gint64 row_bytes[KINDS], guint64 *used, GError **error) {
        BhDb *db = bh_store_read(s, error);
        guint64 file;

        if (!db)
                return FALSE;
        gboolean ok = bh_db_usage(db, used, &file, error);
        for (Kind k = 0; ok && rows && k < KINDS; k++) {
                ok = bh_db_get_int(db, &rows[k], NULL, error, kinds[k].count, "") && bh_db_get_int(db, &row_bytes[k], NULL, error, kinds[k].size, "");
                row_bytes[k] += ROW_OVERHEAD;
        }
        bh_store_read_done(s, db);
        return ok;
}

static gboolean drop_by_size(BhStore *s, guint64 max_bytes, BhStoreExpired *e, GError **error) {
        gint64 rows[KINDS] = { 0 }, row_bytes[KINDS];
        guint64 used;

        if (!measure(s, NULL, NULL, &used, error))
                return FALSE;
        if (used > max_bytes && !measure(s, rows, row_bytes, &used, error))
                return FALSE;
        while (used > max_bytes) {
                Kind most = 0;
                gint64 gone, wanted;

                for (Kind k = 1; k < KINDS; k++)
                        if (rows[k] * row_bytes[k] > rows[most] * row_bytes[most])
                                most = k;
                if (!rows[most])
                        break;
                /* Half of what should do: a row may take twice what its texts are long, and nothing should go in vain. */
                wanted = CLAMP((gint64) (used - max_bytes) / row_bytes[most] / 2, 20, SIZE_ROUND);
                if (!drop(s, most, G_MAXINT64, wanted, &gone, error) || !measure(s, NULL, NULL, &used, error))
                        return FALSE;
                *counter(e, most) += (guint64) gone;
                rows[most] = gone < wanted ? 0 : rows[most] - gone;
        }
        e->still_over = used > max_bytes;
        return TRUE;
}

/* ---- afterwards */

static gboolean tidy(BhStore *s, BhStoreExpired *e, GError **error) {
        BhDb *db = bh_store_begin(s, error);

        if (!db)
                return FALSE;
        gboolean ok = bh_db_run(db, error, "DELETE FROM workloads WHERE observations = 0 AND NOT EXISTS (SELECT 1 FROM containers c "
                                "WHERE c.application = workloads.application AND c.workload = workloads.workload)", "");
        guint64 gone = ok ? (guint64) bh_db_changes(db) : 0;
        ok = ok && bh_db_run(db, error, "DELETE FROM sessions WHERE expires_ns <= ?", "i", s->tx_now) &&
             bh_db_run(db, error, "DELETE FROM tokens WHERE (revoked_ns > 0 AND revoked_ns < ?) OR (expires_ns > 0 AND expires_ns < ?)", "ii",
                       s->tx_now - TOKENS_KEPT_NS, s->tx_now - TOKENS_KEPT_NS);
        if (!bh_store_end(s, ok, error))
                return FALSE;
        e->workloads = gone;
        return TRUE;
}

/* Gives the disk back what has become free, unless it is little: then it is soon filled again. */
static gboolean shrink(BhStore *s, BhStoreExpired *e, GError **error) {
        guint64 file = 0;

        for (guint i = 0; i < COMPACT_ROUNDS; i++) {
                g_mutex_lock(&s->write);
                gboolean ok = bh_db_usage(s->writer, &e->bytes, &file, error);
                gboolean more = ok && file - e->bytes > MAX(COMPACT_MIN, e->bytes / 4);
                if (more)
                        ok = bh_db_compact(s->writer, error);
                g_mutex_unlock(&s->write);
                if (!ok || !more)
                        return ok;
        }
        return TRUE;
}

gboolean bh_store_expire(BhStore *s, gint64 max_age_ns, guint64 max_bytes, BhStoreExpired *out, GError **error) {
        BhStoreExpired e = { 0 };
        gint64 now = s->now(), believable = s->opened_now + (s->boot() - s->opened_boot) + JUMP_NS;

        /* A clock that jumped ahead by years must not empty the store. Restarting the program accepts the clock as it is. */
        e.clock_distrusted = now > believable;
        now = MIN(now, believable);
        if ((max_age_ns && !drop_by_age(s, now - max_age_ns, &e, error)) || (max_bytes && !drop_by_size(s, max_bytes, &e, error)) ||
            !tidy(s, &e, error) || !shrink(s, &e, error))
                return FALSE;
        if (out)
                *out = e;
        return TRUE;
}

/* ---- backups */

static gint by_name(gconstpointer a, gconstpointer b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* What a killed process left half made. */
static void drop_partial_backups(const char *dir) {
        GDir *d = g_dir_open(dir, 0, NULL);

        for (const char *name; d && (name = g_dir_read_name(d));)
                if (g_str_has_prefix(name, "bulkhead-") && strstr(name, ".db.partial")) {
                        g_autofree char *path = g_build_filename(dir, name, NULL);

                        g_unlink(path);
                }
        if (d)
                g_dir_close(d);
}

/* Names of our own backups, the oldest first. */
static GPtrArray *list_backups(const char *dir) {
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        GDir *d = g_dir_open(dir, 0, NULL);

        for (const char *name; d && (name = g_dir_read_name(d));)
                if (g_str_has_prefix(name, "bulkhead-") && g_str_has_suffix(name, ".db"))
                        g_ptr_array_add(names, g_build_filename(dir, name, NULL));
        if (d)
                g_dir_close(d);
        g_ptr_array_sort(names, by_name);
        return names;
}

gboolean bh_store_backup_rotate(BhStore *s, guint keep, char **path, GError **error) {
        const char *dir = s->site->backup_dir;
        g_autoptr(GDateTime) now = g_date_time_new_from_unix_utc(s->now() / 1000000000);
        g_autofree char *name = g_date_time_format(now, "bulkhead-%Y%m%dT%H%M%SZ.db"), *target = g_build_filename(dir, name, NULL);

        if (g_mkdir(dir, 0700) < 0 && errno != EEXIST) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FAILED, "cannot create %s: %s", dir, g_strerror(errno));
                return FALSE;
        }
        drop_partial_backups(dir);
        if (!bh_store_backup(s, target, error))
                return FALSE;
        g_autoptr(GPtrArray) all = list_backups(dir);
        for (guint i = 0; i + MAX(keep, 1) < all->len; i++)
                if (strcmp(g_ptr_array_index(all, i), target) != 0) /* a clock set back makes the new one look old */
                        g_unlink(g_ptr_array_index(all, i));
        if (path)
                *path = g_steal_pointer(&target);
        return TRUE;
}

gint64 bh_store_backup_time(BhStore *s) {
        g_autoptr(GPtrArray) all = list_backups(s->site->backup_dir);
        gint64 newest = 0;

        for (guint i = 0; i < all->len; i++) {
                struct stat st;

                if (stat(g_ptr_array_index(all, i), &st) == 0)
                        newest = MAX(newest, (gint64) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
        }
        return newest;
}
