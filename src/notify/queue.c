/* SPDX-License-Identifier: Apache-2.0 */
#include "notify/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fdio.h"

#define SCHEMA \
        "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;" \
        "CREATE TABLE IF NOT EXISTS alerts (seq INTEGER PRIMARY KEY AUTOINCREMENT, told INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);" \
        "CREATE TABLE IF NOT EXISTS pending (output TEXT NOT NULL, seq INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (output, seq)) WITHOUT ROWID;" \
        "CREATE INDEX IF NOT EXISTS pending_seq ON pending (seq);" \
        "CREATE TABLE IF NOT EXISTS folds (finding TEXT PRIMARY KEY, told INTEGER NOT NULL, told_ms INTEGER NOT NULL, body BLOB) WITHOUT ROWID;" \
        "CREATE INDEX IF NOT EXISTS folds_due ON folds (told_ms) WHERE body IS NOT NULL;" \
        "CREATE INDEX IF NOT EXISTS folds_age ON folds (told_ms);" \
        "CREATE TABLE IF NOT EXISTS counters (output TEXT NOT NULL, what TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (output, what)) WITHOUT ROWID;"

#define FOLD_ROUND 1000 /* findings told in one transaction */

/* What an output has waiting, as the table says: reckoned once, then kept. */
typedef struct {
        const BhOutput *output;
        guint64 alerts, bytes;
        gint64 last; /* the newest number */
} Load;

struct BhQueue {
        GMutex lock;
        GCond moved;
        BhFd lock_fd;
        sqlite3 *db;
        GHashTable *statements; /* char *sql -> sqlite3_stmt * */
        GPtrArray *loads;       /* Load; replaced whole when a transaction fails */
        guint fold_ms;
        guint wakes;
        gint64 folds;
        BhQueueStats stats;
        gboolean damaged;
};

void bh_queued_free(BhQueued *q) {
        if (!q)
                return;
        g_free(q->json);
        g_free(q);
}

static gboolean failed(BhQueue *q, const char *what, GError **error) {
        int code = q->db ? sqlite3_extended_errcode(q->db) : SQLITE_CANTOPEN;
        gboolean damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;

        q->damaged |= damaged;
        g_set_error(error, BH_NOTIFY_ERROR, damaged ? BH_NOTIFY_ERROR_DAMAGED : BH_NOTIFY_ERROR_FAILED, "the queue of alerts cannot %s: %s", what,
                    (code & 0xff) == SQLITE_FULL ? "the disk is full" : q->db ? sqlite3_errmsg(q->db) : "it cannot be opened");
        return FALSE;
}

static void finalize(gpointer st) {
        sqlite3_finalize(st);
}

/* ---- statements: kept, and one use at a time ---- */

static sqlite3_stmt *prepare(BhQueue *q, const char *sql, GError **error) {
        sqlite3_stmt *st = g_hash_table_lookup(q->statements, sql);

        if (!st) {
                if (sqlite3_prepare_v3(q->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK) {
                        failed(q, "be read", error);
                        return NULL;
                }
                g_hash_table_insert(q->statements, (char *) sql, st);
        }
        sqlite3_reset(st);
        sqlite3_clear_bindings(st);
        return st;
}

/* s const char *, i gint64, b const void * and gsize. */
static sqlite3_stmt *query(BhQueue *q, GError **error, const char *sql, const char *kinds, va_list ap) {
        sqlite3_stmt *st = prepare(q, sql, error);

        for (int i = 1; st && *kinds; i++, kinds++) {
                if (*kinds == 's') {
                        sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
                } else if (*kinds == 'i') {
                        sqlite3_bind_int64(st, i, va_arg(ap, gint64));
                } else {
                        const void *data = va_arg(ap, const void *);

                        sqlite3_bind_blob64(st, i, data, va_arg(ap, gsize), SQLITE_TRANSIENT);
                }
        }
        return st;
}

static gboolean run(BhQueue *q, GError **error, const char *sql, const char *kinds, ...) {
        va_list ap;

        va_start(ap, kinds);
        sqlite3_stmt *st = query(q, error, sql, kinds, ap);
        va_end(ap);
        if (!st)
                return FALSE;
        int code;
        while ((code = sqlite3_step(st)) == SQLITE_ROW)
                ;
        gboolean ok = code == SQLITE_DONE || failed(q, "be written", error);
        sqlite3_reset(st);
        return ok;
}

/* The first row's numbers; FALSE in *found when there is none. */
static gboolean get(BhQueue *q, gint64 *out, guint n, gboolean *found, GError **error, const char *sql, const char *kinds, ...) {
        va_list ap;

        va_start(ap, kinds);
        sqlite3_stmt *st = query(q, error, sql, kinds, ap);
        va_end(ap);
        if (!st)
                return FALSE;
        int code = sqlite3_step(st);
        for (guint i = 0; i < n; i++)
                out[i] = code == SQLITE_ROW ? sqlite3_column_int64(st, (int) i) : 0;
        if (found)
                *found = code == SQLITE_ROW;
        gboolean ok = code == SQLITE_ROW || code == SQLITE_DONE || failed(q, "be read", error);
        sqlite3_reset(st);
        return ok;
}

static gboolean exec(BhQueue *q, const char *sql, GError **error) {
        return sqlite3_exec(q->db, sql, NULL, NULL, NULL) == SQLITE_OK || failed(q, "be written", error);
}

static gboolean load_all(BhQueue *q, GError **error) {
        for (guint i = 0; i < q->loads->len; i++) {
                Load *l = q->loads->pdata[i];
                gint64 n[3];

                if (!get(q, n, 3, NULL, error, "SELECT count(*), total(bytes), max(seq) FROM pending WHERE output = ?", "s", l->output->id))
                        return FALSE;
                l->alerts = (guint64) n[0];
                l->bytes = (guint64) n[1];
                l->last = n[2];
        }
        return get(q, &q->folds, 1, NULL, error, "SELECT count(*) FROM folds", "");
}

/* Ends a transaction. What failed is undone in memory, too. */
static gboolean finish(BhQueue *q, gboolean ok, GError **error) {
        if (ok && exec(q, "COMMIT", error)) {
                g_cond_broadcast(&q->moved);
                return TRUE;
        }
        sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
        load_all(q, NULL);
        return FALSE;
}

/* ---- life ---- */

static void close_db(BhQueue *q) {
        g_hash_table_remove_all(q->statements);
        sqlite3_close(q->db);
        q->db = NULL;
}

static gboolean open_db(BhQueue *q, const char *path, GError **error) {
        char *answer = NULL;
        sqlite3_stmt *st;

        if (sqlite3_open_v2(path, &q->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK)
                return failed(q, "be opened", error);
        sqlite3_busy_timeout(q->db, 5000);
        if (!exec(q, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 500; PRAGMA cell_size_check = ON;", error))
                return FALSE;
        if (sqlite3_prepare_v2(q->db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK)
                return failed(q, "be checked", error);
        if (sqlite3_step(st) == SQLITE_ROW)
                answer = g_strdup((const char *) sqlite3_column_text(st, 0));
        sqlite3_finalize(st);
        gboolean sound = g_strcmp0(answer, "ok") == 0;
        if (!sound) {
                q->damaged = TRUE;
                g_set_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_DAMAGED, "the queue of alerts %s is damaged: %s", path, answer ? answer : "it cannot be read");
        }
        g_free(answer);
        return sound && exec(q, SCHEMA, error);
}

static gboolean take_lock(BhQueue *q, const char *dir, guint ms, GError **error) {
        g_autofree char *path = g_build_filename(dir, "lock", NULL);
        gint64 until = g_get_monotonic_time() + (gint64) ms * 1000;

        q->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (q->lock_fd < 0) {
                g_set_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_FAILED, "cannot open %s: %s", path, g_strerror(errno));
                return FALSE;
        }
        while (flock(q->lock_fd, LOCK_EX | LOCK_NB)) {
                if (errno != EWOULDBLOCK || g_get_monotonic_time() > until) {
                        g_set_error(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_FAILED, "another process has the queue of alerts in %s", dir);
                        return FALSE;
                }
                g_usleep(20000);
        }
        return TRUE;
}

static char *set_aside(const char *path) {
        char *kept = g_strconcat(path, ".damaged", NULL);
        static const char *const more[] = { "-wal", "-shm" };

        /* one is kept: the next damage replaces it */
        if (g_rename(path, kept))
                g_unlink(path);
        for (guint i = 0; i < G_N_ELEMENTS(more); i++) {
                g_autofree char *from = g_strconcat(path, more[i], NULL);

                g_unlink(from);
        }
        return kept;
}

BhQueue *bh_queue_open(const char *dir, guint fold_ms, guint lock_ms, BhQueueFound *found, GError **error) {
        g_autofree char *path = g_build_filename(dir, "queue.db", NULL);
        g_autoptr(BhQueue) q = g_new0(BhQueue, 1);
        g_autoptr(GError) why = NULL;

        *found = (BhQueueFound){ .created = !g_file_test(path, G_FILE_TEST_EXISTS) };
        g_mutex_init(&q->lock);
        g_cond_init(&q->moved);
        q->lock_fd = -1;
        q->fold_ms = fold_ms;
        q->statements = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, finalize);
        q->loads = g_ptr_array_new_with_free_func(g_free);
        if (!take_lock(q, dir, lock_ms, error))
                return NULL;
        if (!open_db(q, path, &why)) {
                if (!g_error_matches(why, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_DAMAGED)) {
                        g_propagate_error(error, g_steal_pointer(&why));
                        return NULL;
                }
                close_db(q);
                found->damaged_kept_as = set_aside(path);
                q->damaged = FALSE;
                if (!open_db(q, path, error))
                        return NULL;
        }
        return load_all(q, error) ? g_steal_pointer(&q) : NULL;
}

void bh_queue_close(BhQueue *q) {
        if (!q)
                return;
        close_db(q);
        g_hash_table_unref(q->statements);
        g_ptr_array_unref(q->loads);
        bh_fd_clear(&q->lock_fd);
        g_mutex_clear(&q->lock);
        g_cond_clear(&q->moved);
        g_free(q);
}

/* ---- outputs ---- */

static gboolean drop_others(BhQueue *q, GPtrArray *outputs, GError **error) {
        static const char *const tables[] = { "pending", "counters" };
        g_autoptr(GString) list = g_string_new("''");

        for (guint i = 0; i < outputs->len; i++) {
                char *quoted = sqlite3_mprintf("%Q", ((const BhOutput *) outputs->pdata[i])->id);

                g_string_append_printf(list, ",%s", quoted);
                sqlite3_free(quoted);
        }
        for (guint i = 0; i < G_N_ELEMENTS(tables); i++) {
                g_autofree char *sql = g_strdup_printf("DELETE FROM %s WHERE output NOT IN (%s)", tables[i], list->str);

                if (!exec(q, sql, error))
                        return FALSE;
        }
        return exec(q, "DELETE FROM alerts WHERE seq NOT IN (SELECT seq FROM pending)", error);
}

gboolean bh_queue_set_outputs(BhQueue *q, GPtrArray *outputs, GError **error) {
        g_mutex_lock(&q->lock);
        gboolean ok = exec(q, "BEGIN IMMEDIATE", error) && finish(q, drop_others(q, outputs, error), error);
        if (ok) {
                g_ptr_array_set_size(q->loads, 0);
                for (guint i = 0; i < outputs->len; i++) {
                        Load *l = g_new0(Load, 1);

                        l->output = outputs->pdata[i];
                        g_ptr_array_add(q->loads, l);
                }
                ok = load_all(q, error);
        }
        g_mutex_unlock(&q->lock);
        return ok;
}

static Load *load_of(BhQueue *q, const BhOutput *o) {
        for (guint i = 0; i < q->loads->len; i++)
                if (((Load *) q->loads->pdata[i])->output == o)
                        return q->loads->pdata[i];
        return NULL;
}

static gboolean count(BhQueue *q, const BhOutput *o, const char *what, gint64 n, GError **error) {
        return run(q, error, "INSERT INTO counters (output, what, n) VALUES (?, ?, ?) ON CONFLICT (output, what) DO UPDATE SET n = n + excluded.n", "ssi", o->id, what, n);
}

/* ---- in ---- */

/* The oldest of an output go until it is within its bound. */
static gboolean bound(BhQueue *q, Load *l, GError **error) {
        gint64 lost = 0;

        while (l->alerts > BH_QUEUE_ALERTS || (l->bytes > BH_QUEUE_BYTES && l->alerts > 1)) {
                gint64 oldest[2];
                gboolean found;

                if (!get(q, oldest, 2, &found, error, "SELECT seq, bytes FROM pending WHERE output = ? ORDER BY seq LIMIT 1", "s", l->output->id) || !found ||
                    !run(q, error, "DELETE FROM pending WHERE output = ? AND seq = ?", "si", l->output->id, oldest[0]) ||
                    !run(q, error, "DELETE FROM alerts WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.seq = alerts.seq)", "i", oldest[0]))
                        return FALSE;
                l->alerts--;
                l->bytes -= (guint64) oldest[1];
                lost++;
        }
        return !lost || count(q, l->output, "full", lost, error);
}

/* Makes an alert of it, for the outputs that want it. */
static gboolean tell(BhQueue *q, const BhAlert *a, const char *json, gsize len, guint64 told, GError **error) {
        gint64 seq = 0;

        q->stats.told++;
        for (guint i = 0; i < q->loads->len; i++) {
                Load *l = q->loads->pdata[i];

                if (!l->output->enabled || !bh_output_wants(l->output, a))
                        continue;
                if (!seq) {
                        if (!run(q, error, "INSERT INTO alerts (told, bytes, body) VALUES (?, ?, ?)", "iib", (gint64) MIN(told, (guint64) G_MAXINT64), (gint64) len, json, len))
                                return FALSE;
                        seq = sqlite3_last_insert_rowid(q->db);
                }
                if (!run(q, error, "INSERT INTO pending (output, seq, bytes) VALUES (?, ?, ?)", "sii", l->output->id, seq, (gint64) len))
                        return FALSE;
                l->alerts++;
                l->bytes += len;
                l->last = seq;
                if (!bound(q, l, error))
                        return FALSE;
        }
        return TRUE;
}

static gboolean told_now(BhQueue *q, const BhAlert *a, gint64 now_ms, GError **error) {
        return run(q, error, "INSERT INTO folds (finding, told, told_ms, body) VALUES (?, ?, ?, NULL) ON CONFLICT (finding) DO UPDATE SET told = excluded.told, "
                             "told_ms = excluded.told_ms, body = NULL", "sii", a->key, (gint64) MIN(a->count, (guint64) G_MAXINT64), now_ms);
}

/* Tells the row's finding with its newest number. */
static gboolean tell_grown(BhQueue *q, const char *key, gint64 now_ms, GError **error) {
        sqlite3_stmt *st = prepare(q, "SELECT told, body FROM folds WHERE finding = ? AND body IS NOT NULL", error);
        g_autoptr(GError) why = NULL;

        if (!st)
                return FALSE;
        sqlite3_bind_text(st, 1, key, -1, SQLITE_TRANSIENT);
        int code = sqlite3_step(st);
        if (code != SQLITE_ROW) {
                sqlite3_reset(st);
                return code == SQLITE_DONE || failed(q, "be read", error);
        }
        guint64 told = (guint64) sqlite3_column_int64(st, 0);
        gsize len = (gsize) sqlite3_column_bytes(st, 1);
        g_autofree char *json = g_strndup(sqlite3_column_blob(st, 1), len);
        sqlite3_reset(st);

        g_autoptr(BhAlert) a = bh_alert_parse(json, len, told, &why);
        if (!a) {
                q->stats.unreadable++;
                return run(q, error, "DELETE FROM folds WHERE finding = ?", "s", key);
        }
        return tell(q, a, json, len, told, error) && told_now(q, a, now_ms, error);
}

/* The one that was told longest ago goes, so that another has room. */
static gboolean make_room(BhQueue *q, gint64 now_ms, GError **error) {
        while (q->folds >= BH_QUEUE_FOLDS) {
                sqlite3_stmt *st = prepare(q, "SELECT finding FROM folds ORDER BY told_ms LIMIT 1", error);

                if (!st)
                        return FALSE;
                g_autofree char *key = sqlite3_step(st) == SQLITE_ROW ? g_strdup((const char *) sqlite3_column_text(st, 0)) : NULL;
                sqlite3_reset(st);
                if (!key)
                        return failed(q, "be read", error);
                if (!tell_grown(q, key, now_ms, error) || !run(q, error, "DELETE FROM folds WHERE finding = ?", "s", key))
                        return FALSE;
                q->folds--;
        }
        return TRUE;
}

static gboolean add(BhQueue *q, const BhQueueItem *item, gint64 now_ms, GError **error) {
        g_autoptr(GError) why = NULL;
        g_autoptr(BhAlert) a = bh_alert_parse(item->json, item->len, 0, &why);
        gint64 row[2];
        gboolean known;

        if (!a) {
                q->stats.unreadable++;
                return TRUE;
        }
        q->stats.taken++;
        if (!get(q, row, 2, &known, error, "SELECT told, told_ms FROM folds WHERE finding = ?", "s", a->key))
                return FALSE;
        if (!known) {
                if (!make_room(q, now_ms, error))
                        return FALSE;
                q->folds++;
                return tell(q, a, item->json, item->len, 0, error) && told_now(q, a, now_ms, error);
        }
        if (a->count <= (guint64) row[0])
                return TRUE; /* what it says has been told */
        return run(q, error, "UPDATE folds SET body = ? WHERE finding = ?", "bs", item->json, item->len, a->key);
}

gboolean bh_queue_position(BhQueue *q, gint64 *position, GError **error) {
        gboolean found;

        g_mutex_lock(&q->lock);
        gboolean ok = get(q, position, 1, &found, error, "SELECT value FROM meta WHERE key = 'position'", "");
        g_mutex_unlock(&q->lock);
        if (ok && !found)
                *position = -1;
        return ok;
}

gboolean bh_queue_add(BhQueue *q, const BhQueueItem *items, guint n, gint64 position, gint64 now_ms, GError **error) {
        g_mutex_lock(&q->lock);
        gboolean ok = exec(q, "BEGIN IMMEDIATE", error);
        if (ok) {
                for (guint i = 0; ok && i < n; i++)
                        ok = !items[i].json || add(q, &items[i], now_ms, error);
                ok = finish(q, ok && run(q, error, "INSERT INTO meta (key, value) VALUES ('position', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", "i", position), error);
        }
        g_mutex_unlock(&q->lock);
        return ok;
}

/* Keys of what is due: taken first, for telling changes what is read. A told_ms in the future: the clock was set back. */
static GPtrArray *due(BhQueue *q, gint64 now_ms, GError **error) {
        g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
        sqlite3_stmt *st = prepare(q, "SELECT finding FROM folds WHERE body IS NOT NULL AND (told_ms <= ? OR told_ms > ?) LIMIT ?", error);
        int code;

        if (!st)
                return NULL;
        sqlite3_bind_int64(st, 1, now_ms - q->fold_ms);
        sqlite3_bind_int64(st, 2, now_ms);
        sqlite3_bind_int64(st, 3, FOLD_ROUND);
        while ((code = sqlite3_step(st)) == SQLITE_ROW)
                g_ptr_array_add(keys, g_strdup((const char *) sqlite3_column_text(st, 0)));
        sqlite3_reset(st);
        if (code != SQLITE_DONE) {
                failed(q, "be read", error);
                return NULL;
        }
        return g_steal_pointer(&keys);
}

gboolean bh_queue_fold(BhQueue *q, gint64 now_ms, gint64 *next_ms, GError **error) {
        gint64 row[2] = { 0 };

        g_mutex_lock(&q->lock);
        g_autoptr(GPtrArray) keys = due(q, now_ms, error);
        gboolean ok = keys != NULL;
        if (ok && keys->len && (ok = exec(q, "BEGIN IMMEDIATE", error))) {
                for (guint i = 0; ok && i < keys->len; i++)
                        ok = tell_grown(q, keys->pdata[i], now_ms, error);
                ok = finish(q, ok, error);
        }
        ok = ok && get(q, row, 2, NULL, error, "SELECT count(*), min(told_ms) FROM folds WHERE body IS NOT NULL", "");
        if (ok) {
                q->stats.folded = (guint64) row[0];
                *next_ms = row[0] ? CLAMP(row[1] + q->fold_ms - now_ms, 0, (gint64) q->fold_ms) : q->fold_ms;
        }
        g_mutex_unlock(&q->lock);
        return ok;
}

gboolean bh_queue_lost(BhQueue *q, const char *reason, GError **error) {
        g_mutex_lock(&q->lock);
        gboolean ok = exec(q, "BEGIN IMMEDIATE", error);
        if (ok) {
                for (guint i = 0; ok && i < q->loads->len; i++)
                        ok = count(q, ((Load *) q->loads->pdata[i])->output, reason, 1, error);
                ok = finish(q, ok, error);
        }
        g_mutex_unlock(&q->lock);
        return ok;
}

/* ---- out ---- */

GPtrArray *bh_queue_peek(BhQueue *q, const BhOutput *o, gint64 after, guint max, GError **error) {
        g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify) bh_queued_free);
        int code = SQLITE_ERROR;

        g_mutex_lock(&q->lock);
        sqlite3_stmt *st = prepare(q, "SELECT a.seq, a.told, a.body FROM pending p JOIN alerts a ON a.seq = p.seq WHERE p.output = ? AND p.seq > ? ORDER BY p.seq LIMIT ?", error);
        if (st) {
                gsize sum = 0;

                sqlite3_bind_text(st, 1, o->id, -1, SQLITE_TRANSIENT);
                sqlite3_bind_int64(st, 2, after);
                sqlite3_bind_int64(st, 3, max);
                while (sum < BH_ALERT_MAX && (code = sqlite3_step(st)) == SQLITE_ROW) {
                        BhQueued *one = g_new0(BhQueued, 1);

                        one->seq = sqlite3_column_int64(st, 0);
                        one->told = (guint64) sqlite3_column_int64(st, 1);
                        one->len = (gsize) sqlite3_column_bytes(st, 2);
                        one->json = g_strndup(sqlite3_column_blob(st, 2), one->len);
                        sum += one->len;
                        g_ptr_array_add(out, one);
                }
                if (code != SQLITE_DONE && code != SQLITE_ROW)
                        failed(q, "be read", error);
                sqlite3_reset(st);
                /* what is reckoned in memory must not make anybody wait for what is not there */
                Load *l = code == SQLITE_DONE && !out->len && after <= 0 ? load_of(q, o) : NULL;
                if (l)
                        l->alerts = l->bytes = 0;
        }
        g_mutex_unlock(&q->lock);
        return code == SQLITE_DONE || code == SQLITE_ROW ? g_steal_pointer(&out) : NULL;
}

static gboolean done_one(BhQueue *q, Load *l, const BhQueued *a, gboolean *there, GError **error) {
        if (!run(q, error, "DELETE FROM pending WHERE output = ? AND seq = ?", "si", l->output->id, a->seq))
                return FALSE;
        /* it may have gone to the bound meanwhile, and is counted as lost: that it was delivered all the same is not told twice */
        *there = sqlite3_changes(q->db) > 0;
        if (*there) {
                l->alerts--;
                l->bytes -= a->len;
        }
        return run(q, error, "DELETE FROM alerts WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.seq = alerts.seq)", "i", a->seq);
}

gboolean bh_queue_done(BhQueue *q, const BhOutput *o, GPtrArray *alerts, const guint8 *ends, guint n, GError **error) {
        g_mutex_lock(&q->lock);
        Load *l = load_of(q, o);
        gboolean ok = !l || exec(q, "BEGIN IMMEDIATE", error);
        if (ok && l) {
                gint64 sums[3] = { 0 };

                for (guint i = 0; ok && i < n; i++) {
                        gboolean there = FALSE;

                        ok = done_one(q, l, alerts->pdata[i], &there, error);
                        sums[MIN(ends[i], BH_QUEUE_CUT)] += there;
                }
                ok = ok && (!(sums[BH_QUEUE_DELIVERED] + sums[BH_QUEUE_CUT]) || count(q, o, "delivered", sums[BH_QUEUE_DELIVERED] + sums[BH_QUEUE_CUT], error)) &&
                     (!sums[BH_QUEUE_REFUSED] || count(q, o, "refused", sums[BH_QUEUE_REFUSED], error)) && (!sums[BH_QUEUE_CUT] || count(q, o, "cut", sums[BH_QUEUE_CUT], error));
                ok = finish(q, ok, error);
        }
        g_mutex_unlock(&q->lock);
        return ok;
}

void bh_queue_wait(BhQueue *q, const BhOutput *o, gint64 after, gint64 until_us) {
        g_mutex_lock(&q->lock);
        Load *l = load_of(q, o);
        guint wakes = q->wakes;
        while (wakes == q->wakes && !(l && l->alerts && l->last > after) && g_cond_wait_until(&q->moved, &q->lock, until_us))
                ;
        g_mutex_unlock(&q->lock);
}

void bh_queue_wake(BhQueue *q) {
        g_mutex_lock(&q->lock);
        q->wakes++;
        g_cond_broadcast(&q->moved);
        g_mutex_unlock(&q->lock);
}

gboolean bh_queue_output_stats(BhQueue *q, const BhOutput *o, BhQueueOutputStats *out, GError **error) {
        gint64 n[4];

        g_mutex_lock(&q->lock);
        Load *l = load_of(q, o);
        gboolean ok = get(q, n, 4, NULL, error, "SELECT total(CASE WHEN what = 'delivered' THEN n END), total(CASE WHEN what = 'refused' THEN n END), "
                                                "total(CASE WHEN what = 'cut' THEN n END), total(CASE WHEN what NOT IN ('delivered', 'refused', 'cut') THEN n END) "
                                                "FROM counters WHERE output = ?", "s", o->id);
        if (ok)
                *out = (BhQueueOutputStats){ .queued = l ? l->alerts : 0, .queued_bytes = l ? l->bytes : 0, .delivered = (guint64) n[0], .refused = (guint64) n[1],
                                             .cut = (guint64) n[2], .lost = (guint64) n[3] };
        g_mutex_unlock(&q->lock);
        return ok;
}

void bh_queue_stats(BhQueue *q, BhQueueStats *out) {
        g_mutex_lock(&q->lock);
        *out = q->stats;
        g_mutex_unlock(&q->lock);
}
