/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <string.h>
#include <time.h>

#include "store/schema.h"
#include "store/store_private.h"

G_DEFINE_QUARK(bh-store-error-quark, bh_store_error)

/* After a restore numbers go on this far ahead: no reader that saw the lost ones takes a new one for one it knows. */
#define CHANGE_JUMP (G_GINT64_CONSTANT(1) << 32)

static gint64 clock_ns(clockid_t id) {
        struct timespec t;

        clock_gettime(id, &t);
        return (gint64) t.tv_sec * 1000000000 + t.tv_nsec;
}

static gint64 wall_ns(void) {
        return clock_ns(CLOCK_REALTIME);
}

static gint64 boot_ns(void) {
        return clock_ns(CLOCK_BOOTTIME);
}

void bh_store_opened_clear(BhStoreOpened *o) {
        g_free(o->restored_from);
        g_free(o->damaged_kept_as);
        g_free(o->damage);
        *o = (BhStoreOpened) { 0 };
}

/* ---- opening */

static void status_free(gpointer p) {
        BhStoreStatus *st = p;

        g_free(st->json);
        g_free(st);
}

/* What a restore leaves to do, in one transaction. The row "restored" says that there is something. */
static gboolean finish_restore(BhStore *s, GError **error) {
        g_autofree char *note = NULL;
        gint64 last;

        if (!bh_db_get_text(s->writer, &note, error, "SELECT value FROM meta WHERE \"key\" = 'restored'", ""))
                return FALSE;
        if (!note)
                return TRUE;

        BhStoreAuditEntry entry = { .actor = "system", .action = "store.restored", .object = s->site->path, .outcome = "ok", .detail = note };
        BhDb *db = bh_store_begin(s, error);
        if (!db)
                return FALSE;
        gboolean ok = bh_db_run(db, error, "DELETE FROM sessions", "") && bh_db_get_int(db, &last, NULL, error, "SELECT max(id) FROM changes", "") &&
                      bh_db_run(db, error, "DELETE FROM changes", "") &&
                      bh_db_run(db, error, "INSERT INTO changes (id, time_ns, kind, \"key\") VALUES (?, ?, ?, 'restored')", "iii", last + CHANGE_JUMP,
                                s->tx_now, (gint64) BH_STORE_CHANGE_STORE) &&
                      bh_store_put_audit(s, &entry, error) && bh_db_run(db, error, "DELETE FROM meta WHERE \"key\" = 'restored'", "");
        return bh_store_end(s, ok, error);
}

BhStore *bh_store_open(const char *uri, BhStoreOpened *opened, GError **error) {
        g_auto(BhStoreOpened) found = { 0 };
        g_autoptr(BhStore) s = g_new0(BhStore, 1);
        guint was = 0;

        g_mutex_init(&s->write);
        g_mutex_init(&s->pool);
        g_mutex_init(&s->state);
        g_cond_init(&s->pool_free);
        s->idle = g_ptr_array_new();
        s->scratch = g_ptr_array_new_with_free_func(g_free);
        s->logged = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        s->statuses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, status_free);
        s->now = wall_ns;
        s->boot = boot_ns;
        s->minutes_kept = BH_STORE_MINUTES_KEPT_NS;
        s->halves = -1;
        s->halves_max = BH_STORE_HALVES_MAX;
        s->evidence_max = BH_STORE_EVIDENCE_MAX;
        s->halves_least = BH_STORE_HALVES_LEAST;
        s->texts = -1;
        s->texts_of = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        s->texts_max = BH_STORE_TEXTS_MAX;
        s->texts_node = BH_STORE_TEXTS_PER_NODE;
        s->texts_least = BH_STORE_TEXTS_LEAST;
        s->opened_now = wall_ns();
        s->opened_boot = boot_ns();

        s->site = bh_db_site_open(uri, &found, error);
        if (!s->site)
                return NULL;
        s->writer = bh_db_connect(s->site, BH_DB_WRITER, error);
        if (!s->writer)
                return NULL;
        if (s->site->alone ? !bh_schema_migrate(s->writer, bh_schema_steps, BH_SCHEMA_VERSION, &was, error) || !finish_restore(s, error)
                           : !bh_schema_require(s->writer, BH_SCHEMA_VERSION, error))
                return NULL;
        if (!bh_db_site_settle(s->site, error))
                return NULL;
        s->schema = found.schema = BH_SCHEMA_VERSION;
        if (was && was < BH_SCHEMA_VERSION)
                found.migrated_from = was;
        if (opened) {
                *opened = found;
                found = (BhStoreOpened) { 0 };
        }
        return g_steal_pointer(&s);
}

void bh_store_close(BhStore *s) {
        if (!s)
                return;
        for (guint i = 0; i < s->idle->len; i++)
                bh_db_disconnect(g_ptr_array_index(s->idle, i));
        bh_db_disconnect(s->writer);
        bh_db_site_close(s->site);
        g_ptr_array_unref(s->idle);
        g_ptr_array_unref(s->scratch);
        g_hash_table_destroy(s->texts_of);
        g_hash_table_destroy(s->logged);
        g_hash_table_destroy(s->statuses);
        g_cond_clear(&s->pool_free);
        g_mutex_clear(&s->write);
        g_mutex_clear(&s->pool);
        g_mutex_clear(&s->state);
        g_free(s);
}

/* ---- transactions */

static void note_end(BhStore *s, gboolean ok, gint64 took_ns) {
        GHashTableIter it;
        BhStoreStatus *st;

        g_mutex_lock(&s->state);
        if (ok) {
                s->stats.commits++;
                s->stats.commit_ns_max = MAX(s->stats.commit_ns_max, (guint64) took_ns);
                s->stats.cut_texts += s->tx_cut;
                s->stats.scopes_contested += s->tx_contested;
                s->stats.evidence_dropped += s->tx_evidence;
                s->stats.evidence_dropped_open += s->tx_evidence_open;
        } else {
                s->stats.failed++;
        }
        /* `dirty` was taken away when they were written; a rollback gives it back, and one that came meanwhile has it anyway. */
        if (!ok) {
                g_hash_table_iter_init(&it, s->statuses);
                while (g_hash_table_iter_next(&it, NULL, (gpointer *) &st))
                        st->dirty = TRUE;
        } else {
                s->statuses_written_ns = s->tx_now;
        }
        g_mutex_unlock(&s->state);
}

BhDb *bh_store_begin(BhStore *s, GError **error) {
        g_mutex_lock(&s->write);
        s->tx_now = s->now();
        s->tx_last_change = s->tx_cut = s->tx_contested = s->tx_evidence = s->tx_evidence_open = 0;
        if (bh_db_begin(s->writer, TRUE, error)) {
                if (bh_store_write_statuses(s, error))
                        return s->writer;
                bh_db_rollback(s->writer);
        }
        note_end(s, FALSE, 0);
        g_mutex_unlock(&s->write);
        return NULL;
}

gboolean bh_store_end(BhStore *s, gboolean ok, GError **error) {
        gint64 begin = s->boot();
        guint64 last = s->tx_last_change;

        if (ok && last > BH_STORE_CHANGES_MAX)
                ok = bh_db_run(s->writer, error, "DELETE FROM changes WHERE id <= ?", "i", (gint64) (last - BH_STORE_CHANGES_MAX));
        ok = ok && bh_db_commit(s->writer, error);
        if (!ok) {
                bh_db_rollback(s->writer);
                s->halves = s->texts = -1;
                s->evidence_held = 0;
        }
        note_end(s, ok, s->boot() - begin);
        g_ptr_array_set_size(s->scratch, 0);
        g_hash_table_remove_all(s->logged);
        g_mutex_unlock(&s->write);
        if (ok && last && s->change_func)
                s->change_func(last, s->change_data);
        return ok;
}

static _Thread_local gint64 reads_us; /* 0: no bound */

void bh_store_limit_reads(gint64 us) {
        reads_us = us;
}

/* With the lock held. FALSE: it is too late. */
static gboolean wait_for_reader(BhStore *s, gint64 until_us) {
        while (!s->idle->len && s->readers >= BH_STORE_READERS) {
                if (!until_us)
                        g_cond_wait(&s->pool_free, &s->pool);
                else if (!g_cond_wait_until(&s->pool_free, &s->pool, until_us))
                        return FALSE;
        }
        return TRUE;
}

BhDb *bh_store_read(BhStore *s, GError **error) {
        gint64 until_us = reads_us ? g_get_monotonic_time() + reads_us : 0;
        BhDb *db = NULL;

        g_mutex_lock(&s->pool);
        if (!wait_for_reader(s, until_us)) {
                g_mutex_unlock(&s->pool);
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_TIMEOUT, "%d other questions are being answered, and none of them ended in time: try again", BH_STORE_READERS);
                return NULL;
        }
        if (s->idle->len)
                db = g_ptr_array_steal_index_fast(s->idle, s->idle->len - 1);
        else
                s->readers++;
        g_mutex_unlock(&s->pool);

        if (!db)
                db = bh_db_connect(s->site, BH_DB_READER, error);
        if (db && bh_db_begin(db, FALSE, error)) {
                db->taken = 0;
                if (until_us)
                        bh_db_set_deadline(db, until_us);
                return db;
        }
        bh_db_disconnect(db);
        g_mutex_lock(&s->pool);
        s->readers--;
        g_cond_signal(&s->pool_free);
        g_mutex_unlock(&s->pool);
        return NULL;
}

void bh_store_read_done(BhStore *s, BhDb *db) {
        bh_db_set_deadline(db, 0);
        bh_db_rollback(db);
        g_mutex_lock(&s->pool);
        g_ptr_array_add(s->idle, db);
        g_cond_signal(&s->pool_free);
        g_mutex_unlock(&s->pool);
}

/* ---- backup */

gboolean bh_store_backup(BhStore *s, const char *path, GError **error) {
        return bh_db_site_backup(s->site, path, error);
}

gboolean bh_store_not_found(GError **error, const char *what, const char *name) {
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND, "there is no %s \"%s\"", what, name);
        return FALSE;
}

gboolean bh_store_restore(const char *uri, const char *backup, BhStoreOpened *opened, GError **error) {
        g_auto(BhStoreOpened) found = { 0 };
        gboolean ok = bh_db_restore(uri, backup, &found, error);

        if (ok && opened) {
                *opened = found;
                found = (BhStoreOpened) { 0 };
        }
        return ok;
}

/* ---- change log */

static const char *const kinds[BH_STORE_CHANGE_KINDS] = {
        [BH_STORE_CHANGE_CONTAINER] = "container", [BH_STORE_CHANGE_FINDING] = "finding", [BH_STORE_CHANGE_OBSERVATION] = "observation",
        [BH_STORE_CHANGE_NODE] = "node",           [BH_STORE_CHANGE_AUDIT] = "audit",     [BH_STORE_CHANGE_STORE] = "store",
        [BH_STORE_CHANGE_RESOURCE] = "resource",   [BH_STORE_CHANGE_INCIDENT] = "incident",
        [BH_STORE_CHANGE_RESPONSE] = "response",   [BH_STORE_CHANGE_POLICY] = "policy",
};

const char *bh_store_change_kind_name(BhStoreChangeKind kind) {
        return (guint) kind < BH_STORE_CHANGE_KINDS ? kinds[kind] : "unknown";
}

void bh_store_change_free(BhStoreChange *c) {
        if (!c)
                return;
        g_free(c->key);
        g_free(c);
}

gboolean bh_store_log(BhStore *s, BhStoreChangeKind kind, const char *key, guint64 *id, GError **error) {
        g_autofree char *once = g_strdup_printf("%d:%s", (int) kind, key);
        guint64 *known = g_hash_table_lookup(s->logged, once);

        if (!known) {
                if (!bh_db_run(s->writer, error, "INSERT INTO changes (time_ns, kind, \"key\") VALUES (?, ?, ?)", "iit", s->tx_now, (gint64) kind, key))
                        return FALSE;
                known = g_new(guint64, 1);
                *known = s->tx_last_change = (guint64) bh_db_last_id(s->writer);
                g_hash_table_insert(s->logged, g_steal_pointer(&once), known);
        }
        if (id)
                *id = *known;
        return TRUE;
}

GPtrArray *bh_store_changes_after(BhStore *s, guint64 after, guint limit, gboolean *gap, GError **error) {
        g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) bh_store_change_free);
        BhDb *db = bh_store_read(s, error);
        BhDbStep step = BH_DB_FAILED;
        gint64 first, last;

        if (!db)
                return NULL;
        BhDbStmt *st = NULL;
        if (bh_db_get_int(db, &first, NULL, error, "SELECT min(id) FROM changes", "") &&
            bh_db_get_int(db, &last, NULL, error, "SELECT max(id) FROM changes", ""))
                st = bh_db_query(db, error, "SELECT id, time_ns, kind, \"key\" FROM changes WHERE id > ? ORDER BY id LIMIT ?", "ui", after,
                                 (gint64) bh_store_limit(limit));
        while (st && (step = bh_db_step(st, error)) == BH_DB_ROW) {
                BhStoreChange *c = g_new0(BhStoreChange, 1);

                c->id = (guint64) bh_db_int(st, 0);
                c->time_ns = bh_db_int(st, 1);
                c->kind = (BhStoreChangeKind) bh_db_int(st, 2);
                c->key = bh_db_text(st, 3);
                g_ptr_array_add(rows, c);
        }
        bh_db_done(st);
        bh_store_read_done(s, db);
        if (step != BH_DB_DONE)
                return NULL;
        if (gap)
                *gap = after > (guint64) last || after + 1 < (guint64) first;
        return g_steal_pointer(&rows);
}

gboolean bh_store_changes_last(BhStore *s, guint64 *id, GError **error) {
        BhDb *db = bh_store_read(s, error);
        gint64 last;

        if (!db)
                return FALSE;
        gboolean ok = bh_db_get_int(db, &last, NULL, error, "SELECT max(id) FROM changes", "");
        bh_store_read_done(s, db);
        if (ok)
                *id = (guint64) last;
        return ok;
}

void bh_store_set_change_func(BhStore *s, BhStoreChangeFunc func, gpointer data) {
        s->change_func = func;
        s->change_data = data;
}

/* ---- state */

void bh_store_stats(BhStore *s, BhStoreStats *out) {
        guint64 used = 0, file = 0;
        BhDb *db = bh_store_read(s, NULL);

        if (db) {
                bh_db_usage(db, &used, &file, NULL);
                bh_store_read_done(s, db);
        }
        g_mutex_lock(&s->state);
        *out = s->stats;
        g_mutex_unlock(&s->state);
        out->bytes_used = used;
        out->bytes_file = file;
        out->schema = s->schema;
}
