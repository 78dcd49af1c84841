/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fdio.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "bus/common.h"

#define APPLICATION_ID 0x42486275 /* "BHbu" */
#define SCHEMA_VERSION 1
#define VERSION_PLAUSIBLE 1000 /* more is not of a newer program, but damage */
#define BUSY_MS 2000           /* a predecessor that was just killed may not have let go of its lock yet */
#define VACUUM_PAGES 1024      /* of 4 KiB: given back to the file system in one step, and kept for the next messages */

enum { ADD, COUNT_ACKED, DELETE_ACKED, OLDEST, OLDEST_LOSABLE, DELETE_DROPPED, READ, CLEAR_LOST, ADD_LOST, STATEMENTS };

static const char *const statement_text[STATEMENTS] = {
        [ADD] = "INSERT INTO message (seq, topic, body) VALUES (?, ?, ?)",
        [COUNT_ACKED] = "SELECT count(*), coalesce(sum(length(topic) + length(body)), 0) FROM message WHERE seq <= ?",
        [DELETE_ACKED] = "DELETE FROM message WHERE seq <= ?",
        [OLDEST] = "SELECT seq, topic, length(body) FROM message WHERE seq > ? ORDER BY seq",
        [OLDEST_LOSABLE] = "SELECT seq, topic, length(body) FROM message WHERE seq > ? AND topic <> 'lost' ORDER BY seq",
        [DELETE_DROPPED] = "DELETE FROM message WHERE seq > ? AND seq <= ? AND topic <> 'lost'",
        [READ] = "SELECT seq, topic, body FROM message WHERE seq > ? ORDER BY seq LIMIT ?",
        [CLEAR_LOST] = "DELETE FROM lost",
        [ADD_LOST] = "INSERT INTO lost (topic, reason, count, bytes, first_ns, last_ns) VALUES (?, ?, ?, ?, ?, ?)",
};

static const char schema[] =
        "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL, session INTEGER NOT NULL);"
        "CREATE TABLE message (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, body BLOB NOT NULL);"
        "CREATE TABLE lost (topic TEXT NOT NULL, reason INTEGER NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,"
        " first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, PRIMARY KEY (topic, reason)) WITHOUT ROWID;";

struct BhBusSpool {
        sqlite3 *db;
        sqlite3_stmt *statements[STATEMENTS];
        char *path;
        guint8 id[BH_BUS_ID_LEN];
        guint64 session;
        guint64 messages, bytes, last, protect, told;
        GArray *lost;
        char *aside;    /* where the damaged file is */
        gboolean moved; /* bh_bus_spool_set_aside() got as far as renaming */
};

/* ---- messages and losses */

BhBusMsg *bh_bus_msg_new(guint64 seq, const char *topic, GBytes *body) {
        BhBusMsg *m = g_new0(BhBusMsg, 1);

        g_atomic_ref_count_init(&m->refs);
        m->seq = seq;
        m->topic = g_intern_string(topic);
        m->body = g_bytes_ref(body);
        m->at_us = g_get_monotonic_time();
        return m;
}

BhBusMsg *bh_bus_msg_ref(BhBusMsg *m) {
        g_atomic_ref_count_inc(&m->refs);
        return m;
}

void bh_bus_msg_unref(BhBusMsg *m) {
        if (m && g_atomic_ref_count_dec(&m->refs)) {
                g_bytes_unref(m->body);
                g_free(m);
        }
}

gsize bh_bus_msg_cost(const BhBusMsg *m) {
        return strlen(m->topic) + g_bytes_get_size(m->body);
}

GArray *bh_bus_lost_new(void) {
        return g_array_new(FALSE, FALSE, sizeof(BhBusLost));
}

void bh_bus_lost_add(GArray *lost, const BhBusLost *more) {
        BhBusLost add = *more;

        if (!add.first_ns)
                add.first_ns = add.last_ns = g_get_real_time() * 1000;
        if (!add.topic)
                add.topic = "";
        for (;;) {
                for (guint i = 0; i < lost->len; i++) {
                        BhBusLost *l = &g_array_index(lost, BhBusLost, i);

                        if (l->reason != add.reason || strcmp(l->topic, add.topic) != 0)
                                continue;
                        l->count += add.count;
                        l->bytes += add.bytes;
                        l->first_ns = MIN(l->first_ns, add.first_ns);
                        l->last_ns = MAX(l->last_ns, add.last_ns);
                        return;
                }
                /* The last places are kept for the reasons' rows of unknown topic, of which there are few. */
                if (lost->len < BH_BUS_MAX_LOST - 8 || !*add.topic)
                        break;
                add.topic = "";
        }
        g_array_append_val(lost, add);
}

guint64 bh_bus_lost_count(const GArray *lost) {
        guint64 n = 0;

        for (guint i = 0; i < lost->len; i++)
                n += MAX(g_array_index(lost, BhBusLost, i).count, 1);
        return n;
}

static GBytes *lost_pack(const GArray *lost) {
        Bulkhead__Bus__V1__Loss loss = BULKHEAD__BUS__V1__LOSS__INIT;
        g_autofree Bulkhead__Bus__V1__Loss__Item *items = g_new(Bulkhead__Bus__V1__Loss__Item, lost->len);
        g_autofree Bulkhead__Bus__V1__Loss__Item **pointers = g_new(Bulkhead__Bus__V1__Loss__Item *, lost->len);

        for (guint i = 0; i < lost->len; i++) {
                const BhBusLost *l = &g_array_index(lost, BhBusLost, i);

                bulkhead__bus__v1__loss__item__init(&items[i]);
                items[i].topic = (char *) l->topic;
                items[i].reason = (Bulkhead__Bus__V1__Loss__Reason) l->reason;
                items[i].count = l->count;
                items[i].bytes = l->bytes;
                items[i].first_ns = l->first_ns;
                items[i].last_ns = l->last_ns;
                pointers[i] = &items[i];
        }
        loss.n_items = lost->len;
        loss.items = pointers;
        return bh_bus_body_pack(&loss.base);
}

/* ---- SQLite */

static gboolean is_damage(int rc) {
        switch (rc & 0xff) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_ERROR:    /* a schema or a format that is not ours: our statements are right */
        case SQLITE_READONLY: /* the head says so, for the file itself was opened for writing; or somebody took the file away */
        case SQLITE_MISMATCH:
        case SQLITE_CONSTRAINT:
                return TRUE;
        default:
                return FALSE;
        }
}

static gboolean fail(const BhBusSpool *s, const char *doing, gboolean *damaged, GError **error) {
        int rc = sqlite3_extended_errcode(s->db);
        gboolean system = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_FULL;
        int err = system ? sqlite3_system_errno(s->db) : 0; /* else it may be that of an older failure */

        *damaged = is_damage(rc);
        if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IN_USE, "another process uses the spool %s: is a second sensor running?", s->path);
        else
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot %s the spool %s: %s%s%s", doing, s->path, sqlite3_errmsg(s->db),
                            err ? ": " : "", err ? g_strerror(err) : "");
        return FALSE;
}

static gboolean spoiled(const BhBusSpool *s, const char *how, gboolean *damaged, GError **error) {
        *damaged = TRUE;
        g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "the spool %s is damaged: %s", s->path, how);
        return FALSE;
}

static gboolean exec(BhBusSpool *s, const char *sql, const char *doing, gboolean *damaged, GError **error) {
        return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || fail(s, doing, damaged, error);
}

/* The one value of the one row, as a number; *text (may be NULL) as text. */
static gboolean ask(BhBusSpool *s, const char *sql, gint64 *number, char **text, gboolean *damaged, GError **error) {
        sqlite3_stmt *st = NULL;
        gboolean ok = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW;

        if (ok && number)
                *number = sqlite3_column_int64(st, 0);
        if (ok && text)
                *text = g_strdup((const char *) sqlite3_column_text(st, 0));
        if (!ok)
                fail(s, "read", damaged, error);
        sqlite3_finalize(st);
        return ok;
}

static sqlite3_stmt *statement(BhBusSpool *s, guint which) {
        if (!s->statements[which] &&
            sqlite3_prepare_v3(s->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[which], NULL) != SQLITE_OK)
                return NULL;
        return s->statements[which];
}

static gboolean run(BhBusSpool *s, guint which) {
        sqlite3_stmt *st = s->statements[which];
        int rc = sqlite3_step(st);

        sqlite3_reset(st);
        return rc == SQLITE_DONE;
}

static void close_db(BhBusSpool *s) {
        for (guint i = 0; i < STATEMENTS; i++) {
                sqlite3_finalize(s->statements[i]);
                s->statements[i] = NULL;
        }
        sqlite3_close(s->db);
        s->db = NULL;
}

void bh_bus_spool_free(BhBusSpool *s) {
        if (!s)
                return;
        close_db(s);
        g_array_unref(s->lost);
        g_free(s->aside);
        g_free(s->path);
        g_free(s);
}

static gboolean random_id(guint8 id[BH_BUS_ID_LEN], GError **error) {
        if (getrandom(id, BH_BUS_ID_LEN, 0) == BH_BUS_ID_LEN)
                return TRUE;
        g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot get random bytes: %s", g_strerror(errno));
        return FALSE;
}

static gboolean write_meta(BhBusSpool *s, gboolean *damaged, GError **error) {
        sqlite3_stmt *st = NULL;
        gboolean ok = sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO meta (one, id, session) VALUES (1, ?, ?)", -1, &st, NULL) == SQLITE_OK;

        if (ok) {
                sqlite3_bind_blob(st, 1, s->id, BH_BUS_ID_LEN, SQLITE_STATIC);
                sqlite3_bind_int64(st, 2, (gint64) s->session);
                ok = sqlite3_step(st) == SQLITE_DONE;
        }
        if (!ok)
                fail(s, "write to", damaged, error);
        sqlite3_finalize(st);
        return ok;
}

static gboolean read_meta(BhBusSpool *s, gboolean *damaged, GError **error) {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v2(s->db, "SELECT id, session FROM meta", -1, &st, NULL);
        gboolean ok = FALSE;

        if (rc == SQLITE_OK)
                rc = sqlite3_step(st);
        if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == BH_BUS_ID_LEN) {
                gint64 session = sqlite3_column_int64(st, 1);

                ok = session > 0 && session < (G_MAXINT64 >> BH_BUS_SESSION_SHIFT);
                if (ok) {
                        memcpy(s->id, sqlite3_column_blob(st, 0), BH_BUS_ID_LEN);
                        s->session = (guint64) session;
                }
        }
        if (!ok && (rc == SQLITE_ROW || rc == SQLITE_DONE || rc == SQLITE_ERROR))
                spoiled(s, "it does not say whose it is", damaged, error);
        else if (!ok)
                fail(s, "read", damaged, error);
        sqlite3_finalize(st);
        return ok;
}

static gboolean read_lost(BhBusSpool *s, gboolean *damaged, GError **error) {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v2(s->db, "SELECT topic, reason, count, bytes, first_ns, last_ns FROM lost", -1, &st, NULL);

        while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
                const char *topic = (const char *) sqlite3_column_text(st, 0);

                bh_bus_lost_add(s->lost, &(BhBusLost) { .topic = topic && bh_bus_name_valid(topic, -1, FALSE) ? g_intern_string(topic) : "",
                                                        .reason = (guint32) sqlite3_column_int(st, 1), .count = (guint64) sqlite3_column_int64(st, 2),
                                                        .bytes = (guint64) sqlite3_column_int64(st, 3), .first_ns = sqlite3_column_int64(st, 4),
                                                        .last_ns = sqlite3_column_int64(st, 5) });
                rc = SQLITE_OK;
        }
        if (rc != SQLITE_DONE)
                fail(s, "read", damaged, error);
        sqlite3_finalize(st);
        return rc == SQLITE_DONE;
}

static gboolean measure(BhBusSpool *s, guint window, guint64 window_bytes, gboolean *damaged, GError **error) {
        gint64 messages = 0, bytes = 0, last = 0, told = 0;

        if (!ask(s, "SELECT count(*) FROM message", &messages, NULL, damaged, error) ||
            !ask(s, "SELECT coalesce(sum(length(topic) + length(body)), 0) FROM message", &bytes, NULL, damaged, error) ||
            !ask(s, "SELECT coalesce(max(seq), 0) FROM message", &last, NULL, damaged, error) ||
            !ask(s, "SELECT coalesce(max(seq), 0) FROM message WHERE topic = 'lost'", &told, NULL, damaged, error))
                return FALSE;
        s->told = (guint64) told;
        s->messages = (guint64) messages;
        s->bytes = (guint64) bytes;
        s->last = (guint64) last;

        /* A window always lets one message through, whatever its size. */
        sqlite3_stmt *st = statement(s, OLDEST);
        if (!st)
                return fail(s, "read", damaged, error);
        sqlite3_bind_int64(st, 1, 0);
        guint64 used = 0;
        int rc = SQLITE_DONE;
        for (guint i = 0; i < window && (rc = sqlite3_step(st)) == SQLITE_ROW; i++) {
                used += (guint64) sqlite3_column_bytes(st, 1) + (guint64) sqlite3_column_int64(st, 2);
                if (i && used > window_bytes)
                        break;
                s->protect = (guint64) sqlite3_column_int64(st, 0);
        }
        sqlite3_reset(st);
        return rc == SQLITE_ROW || rc == SQLITE_DONE || fail(s, "read", damaged, error);
}

/* Opens the file, makes the tables if there are none, checks it all. The meta row is neither read nor made. */
static gboolean open_db(BhBusSpool *s, gboolean *fresh, gboolean *damaged, GError **error) {
        g_auto(BhFd) fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        gint64 tables, application, version;
        g_autofree char *check = NULL;

        if (fd < 0) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot open the spool %s: %s", s->path, g_strerror(errno));
                return FALSE;
        }
        if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL) != SQLITE_OK)
                return fail(s, "open", damaged, error);
        sqlite3_busy_timeout(s->db, BUSY_MS);
        /* Exclusive: no second process, and no shared-memory file. */
        if (!exec(s, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 8388608; PRAGMA cache_size = -1024;"
                     "BEGIN IMMEDIATE; COMMIT", "open", damaged, error) ||
            !ask(s, "SELECT count(*) FROM sqlite_schema", &tables, NULL, damaged, error) ||
            !ask(s, "PRAGMA application_id", &application, NULL, damaged, error) || !ask(s, "PRAGMA user_version", &version, NULL, damaged, error) ||
            !ask(s, "PRAGMA quick_check(1)", NULL, &check, damaged, error))
                return FALSE;
        if (g_strcmp0(check, "ok") != 0)
                return spoiled(s, check ? check : "its check says nothing", damaged, error);
        *fresh = tables == 0 && version == 0;
        if (*fresh) {
                g_autofree char *sql = g_strdup_printf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d;", schema, APPLICATION_ID,
                                                       SCHEMA_VERSION);
                return exec(s, sql, "begin", damaged, error); /* committed with the meta row */
        }
        if (application != APPLICATION_ID)
                return spoiled(s, "it is a database of something else", damaged, error);
        if (version < 1 || version > VERSION_PLAUSIBLE)
                return spoiled(s, "its version is none", damaged, error);
        if (version > SCHEMA_VERSION) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_VERSION, "the spool %s was made by a newer version (its schema is %" G_GINT64_FORMAT ", this program "
                            "knows %d): run that version, or move the file away, which loses what it holds", s->path, version, SCHEMA_VERSION);
                return FALSE;
        }
        return TRUE;
}

static gint64 mtime_of(const char *path) {
        GStatBuf st;

        return g_stat(path, &st) == 0 ? (gint64) st.st_mtime : 0;
}

static gint by_age(gconstpointer a, gconstpointer b) {
        gint64 x = mtime_of(*(char *const *) a), y = mtime_of(*(char *const *) b);

        return x < y ? -1 : x > y ? 1 : strcmp(*(char *const *) a, *(char *const *) b);
}

/* Damaged spools must not fill the disk in the end: the oldest beyond the bound go, each with its log. */
static void remove_old_damaged(const BhBusSpool *s) {
        g_autofree char *dir = g_path_get_dirname(s->path), *base = g_path_get_basename(s->path);
        g_autofree char *prefix = g_strconcat(base, ".damaged-", NULL);
        g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
        const char *name;

        while (d && (name = g_dir_read_name(d)))
                if (g_str_has_prefix(name, prefix) && !g_str_has_suffix(name, "-wal"))
                        g_ptr_array_add(found, g_build_filename(dir, name, NULL));
        g_ptr_array_sort(found, by_age);
        for (guint i = 0; i + BH_BUS_MAX_DAMAGED < found->len; i++) {
                g_autofree char *wal = g_strconcat(found->pdata[i], "-wal", NULL);

                g_unlink(found->pdata[i]);
                g_unlink(wal);
        }
}

/* Renames the closed file with its log. */
static char *move_away(BhBusSpool *s, GError **error) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *when = g_date_time_format(now, "%Y%m%dT%H%M%S");
        g_autofree char *to = NULL, *wal = g_strconcat(s->path, "-wal", NULL), *shm = g_strconcat(s->path, "-shm", NULL);

        for (guint i = 0; i == 0 || (g_file_test(to, G_FILE_TEST_EXISTS) && i < 1000); i++) {
                g_free(to);
                to = i ? g_strdup_printf("%s.damaged-%sZ-%u", s->path, when, i) : g_strdup_printf("%s.damaged-%sZ", s->path, when);
        }
        /* The log first: a killed program may leave the old log beside a new file otherwise, and SQLite would read it. */
        g_autofree char *wal_to = g_strconcat(to, "-wal", NULL);
        if ((g_rename(wal, wal_to) < 0 && errno != ENOENT) || (g_unlink(shm) < 0 && errno != ENOENT) || (g_rename(s->path, to) < 0 && errno != ENOENT)) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot set the damaged spool %s aside: %s", s->path, g_strerror(errno));
                return NULL;
        }
        remove_old_damaged(s);
        return g_steal_pointer(&to);
}

/* Writes the meta row and commits; for a new file what open_db() began. */
static gboolean begin_session(BhBusSpool *s, gboolean fresh, gboolean *damaged, GError **error) {
        return (fresh || exec(s, "BEGIN IMMEDIATE", "write to", damaged, error)) && write_meta(s, damaged, error) &&
               exec(s, "COMMIT", "write to", damaged, error);
}

static gboolean open_whole(BhBusSpool *s, guint window, guint64 window_bytes, gboolean *damaged, GError **error) {
        gboolean fresh;

        if (!open_db(s, &fresh, damaged, error))
                return FALSE;
        if (fresh) {
                if (!random_id(s->id, error))
                        return FALSE;
        } else if (!read_meta(s, damaged, error) || !read_lost(s, damaged, error) || !measure(s, window, window_bytes, damaged, error)) {
                return FALSE;
        }
        s->session = MAX(s->session, s->last >> BH_BUS_SESSION_SHIFT) + 1;
        return begin_session(s, fresh, damaged, error);
}

BhBusSpool *bh_bus_spool_open(const char *path, guint window, guint64 window_bytes, BhBusSpoolFound *found, GError **error) {
        g_autoptr(BhBusSpool) s = g_new0(BhBusSpool, 1);
        g_autofree char *dir = g_path_get_dirname(path);
        g_autoptr(GError) first = NULL;
        gboolean damaged = FALSE;

        s->path = g_strdup(path);
        s->lost = bh_bus_lost_new();
        if (g_mkdir_with_parents(dir, 0700) < 0) {
                g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_IO, "cannot make the folder %s of the spool: %s", dir, g_strerror(errno));
                return NULL;
        }
        memset(found, 0, sizeof(*found));
        if (!open_whole(s, window, window_bytes, &damaged, &first)) {
                if (!damaged) {
                        g_propagate_error(error, g_steal_pointer(&first));
                        return NULL;
                }
                close_db(s);
                g_autofree char *kept_as = move_away(s, error);
                if (!kept_as)
                        return NULL;
                g_strlcpy(found->damaged_kept_as, kept_as, sizeof(found->damaged_kept_as));
                g_strlcpy(found->damage, first->message, sizeof(found->damage));
                s->session = s->messages = s->bytes = s->last = s->protect = s->told = 0;
                g_array_set_size(s->lost, 0);
                if (!open_whole(s, window, window_bytes, &damaged, error))
                        return NULL;
                bh_bus_lost_add(s->lost, &(BhBusLost) { .topic = "", .reason = BH_BUS_LOST_DAMAGED });
                BhBusCommit note = { .max_bytes = G_MAXUINT64, .max_messages = G_MAXUINT64, .lost = NULL };
                BhBusCommitted done;
                if (!bh_bus_spool_commit(s, &note, &done, &damaged, error))
                        return NULL;
        }
        found->messages = s->messages;
        found->bytes = s->bytes;
        return g_steal_pointer(&s);
}

const guint8 *bh_bus_spool_id(const BhBusSpool *s) {
        return s->id;
}

guint64 bh_bus_spool_first_seq(const BhBusSpool *s) {
        return s->session << BH_BUS_SESSION_SHIFT;
}

guint64 bh_bus_spool_last(const BhBusSpool *s) {
        return s->last;
}

guint64 bh_bus_spool_messages(const BhBusSpool *s) {
        return s->messages;
}

guint64 bh_bus_spool_bytes(const BhBusSpool *s) {
        return s->bytes;
}

guint64 bh_bus_spool_protect(const BhBusSpool *s) {
        return s->protect;
}

guint64 bh_bus_spool_told(const BhBusSpool *s) {
        return s->told;
}

guint64 bh_bus_spool_lost(const BhBusSpool *s) {
        return bh_bus_lost_count(s->lost);
}

/* ---- a commit, in steps inside one transaction */

static gboolean add_row(BhBusSpool *s, guint64 seq, const char *topic, GBytes *body) {
        sqlite3_stmt *st = statement(s, ADD);
        gsize len;
        const void *data = g_bytes_get_data(body, &len);

        if (!st)
                return FALSE;
        sqlite3_bind_int64(st, 1, (gint64) seq);
        sqlite3_bind_text(st, 2, topic, -1, SQLITE_STATIC);
        sqlite3_bind_blob64(st, 3, data ? data : "", len, SQLITE_STATIC);
        if (!run(s, ADD))
                return FALSE;
        s->messages++;
        s->bytes += strlen(topic) + len;
        s->last = seq;
        return TRUE;
}

static gboolean remove_acked(BhBusSpool *s, guint64 acked) {
        sqlite3_stmt *count = statement(s, COUNT_ACKED), *del = statement(s, DELETE_ACKED);

        if (!count || !del)
                return FALSE;
        sqlite3_bind_int64(count, 1, (gint64) acked);
        gboolean ok = sqlite3_step(count) == SQLITE_ROW;
        guint64 messages = ok ? (guint64) sqlite3_column_int64(count, 0) : 0, bytes = ok ? (guint64) sqlite3_column_int64(count, 1) : 0;
        sqlite3_reset(count);
        if (!ok || !messages)
                return ok;
        sqlite3_bind_int64(del, 1, (gint64) acked);
        if (!run(s, DELETE_ACKED))
                return FALSE;
        s->messages -= MIN(messages, s->messages);
        s->bytes -= MIN(bytes, s->bytes);
        return TRUE;
}

static gboolean over(const BhBusSpool *s, const BhBusCommit *c) {
        return s->messages > c->max_messages || s->bytes > c->max_bytes;
}

static gboolean drop_oldest(BhBusSpool *s, const BhBusCommit *c, BhBusCommitted *done, gboolean *damaged) {
        sqlite3_stmt *st = statement(s, OLDEST_LOSABLE), *del = statement(s, DELETE_DROPPED);
        guint64 cut = 0;
        int rc = SQLITE_DONE;

        if (!st || !del)
                return FALSE;
        sqlite3_bind_int64(st, 1, (gint64) c->protect);
        while (over(s, c) && (rc = sqlite3_step(st)) == SQLITE_ROW) {
                const char *topic = (const char *) sqlite3_column_text(st, 1);
                guint64 len = (guint64) sqlite3_column_int64(st, 2), cost = (guint64) sqlite3_column_bytes(st, 1) + len;

                cut = (guint64) sqlite3_column_int64(st, 0);
                if (!topic || !bh_bus_name_valid(topic, -1, FALSE)) {
                        *damaged = TRUE;
                        break;
                }
                bh_bus_lost_add(s->lost, &(BhBusLost) { .topic = g_intern_string(topic), .reason = BH_BUS_LOST_SPOOL_FULL, .count = 1, .bytes = len });
                done->dropped++;
                done->dropped_bytes += len;
                s->messages--;
                s->bytes -= MIN(cost, s->bytes);
        }
        sqlite3_reset(st);
        if (*damaged || (rc != SQLITE_ROW && rc != SQLITE_DONE))
                return FALSE;
        if (!cut)
                return TRUE; /* what is over the bound may all have been sent */
        sqlite3_bind_int64(del, 1, (gint64) c->protect);
        sqlite3_bind_int64(del, 2, (gint64) cut);
        return run(s, DELETE_DROPPED);
}

static gboolean write_lost(BhBusSpool *s) {
        sqlite3_stmt *add = statement(s, ADD_LOST);

        if (!statement(s, CLEAR_LOST) || !add || !run(s, CLEAR_LOST))
                return FALSE;
        for (guint i = 0; i < s->lost->len; i++) {
                const BhBusLost *l = &g_array_index(s->lost, BhBusLost, i);

                sqlite3_bind_text(add, 1, l->topic, -1, SQLITE_STATIC);
                sqlite3_bind_int64(add, 2, l->reason);
                sqlite3_bind_int64(add, 3, (gint64) l->count);
                sqlite3_bind_int64(add, 4, (gint64) l->bytes);
                sqlite3_bind_int64(add, 5, l->first_ns);
                sqlite3_bind_int64(add, 6, l->last_ns);
                if (!run(s, ADD_LOST))
                        return FALSE;
        }
        return TRUE;
}

static gboolean commit_steps(BhBusSpool *s, const BhBusCommit *c, BhBusCommitted *done, gboolean *damaged) {
        guint had_lost = s->lost->len;

        if (!sqlite3_get_autocommit(s->db))
                sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* one that the last failure left */
        if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK || (c->acked && !remove_acked(s, c->acked)))
                return FALSE;
        for (guint i = 0; i < c->n_add; i++)
                if (!add_row(s, c->add[i]->seq, c->add[i]->topic, c->add[i]->body))
                        return FALSE;
        if (over(s, c) && !drop_oldest(s, c, done, damaged))
                return FALSE;
        for (guint i = 0; c->lost && i < c->lost->len; i++)
                bh_bus_lost_add(s->lost, &g_array_index(c->lost, BhBusLost, i));
        if (c->tell_seq && s->lost->len) {
                g_autoptr(GBytes) body = lost_pack(s->lost);

                if (!add_row(s, c->tell_seq, BH_BUS_TOPIC_LOST, body))
                        return FALSE;
                g_array_set_size(s->lost, 0);
                s->told = c->tell_seq;
        }
        if ((had_lost || s->lost->len) && !write_lost(s))
                return FALSE;
        return sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

gboolean bh_bus_spool_commit(BhBusSpool *s, const BhBusCommit *c, BhBusCommitted *done, gboolean *damaged, GError **error) {
        BhBusSpool before = *s;
        g_autoptr(GArray) lost = g_array_copy(s->lost);

        *done = (BhBusCommitted) { 0 };
        *damaged = FALSE;
        if (!commit_steps(s, c, done, damaged)) {
                if (*damaged)
                        spoiled(s, "a message in it is not one", damaged, error);
                else
                        fail(s, "write to", damaged, error);
                sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
                s->messages = before.messages;
                s->bytes = before.bytes;
                s->last = before.last;
                s->told = before.told;
                g_array_unref(s->lost);
                s->lost = g_steal_pointer(&lost);
                *done = (BhBusCommitted) { 0 };
                return FALSE;
        }
        *damaged = FALSE;
        return TRUE;
}

gboolean bh_bus_spool_shrink(BhBusSpool *s) {
        gint64 pages = 0;
        gboolean damaged;

        if (!ask(s, "PRAGMA freelist_count", &pages, NULL, &damaged, NULL) || pages <= VACUUM_PAGES)
                return FALSE;
        g_autofree char *sql = g_strdup_printf("PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
        return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

gboolean bh_bus_spool_read(BhBusSpool *s, guint64 after, guint n, guint64 bytes, GPtrArray *out, gboolean *damaged, GError **error) {
        sqlite3_stmt *st = statement(s, READ);
        guint had = out->len;
        guint64 used = 0;
        int rc = SQLITE_DONE;

        *damaged = FALSE;
        if (!st)
                return fail(s, "read", damaged, error);
        sqlite3_bind_int64(st, 1, (gint64) after);
        sqlite3_bind_int64(st, 2, n);
        while (!*damaged && (rc = sqlite3_step(st)) == SQLITE_ROW) {
                const char *topic = (const char *) sqlite3_column_text(st, 1);
                gsize len = (gsize) sqlite3_column_bytes(st, 2);

                used += len + (gsize) sqlite3_column_bytes(st, 1);
                if (out->len > had && used > bytes)
                        break;
                if (!topic || !bh_bus_name_valid(topic, -1, FALSE) || len > BH_BUS_MAX_BODY) {
                        *damaged = TRUE;
                        break;
                }
                g_autoptr(GBytes) body = g_bytes_new(sqlite3_column_blob(st, 2), len);
                BhBusMsg *m = bh_bus_msg_new((guint64) sqlite3_column_int64(st, 0), topic, body);
                m->spooled = TRUE;
                g_ptr_array_add(out, m);
        }
        if (*damaged)
                spoiled(s, "a message in it is not one", damaged, error);
        else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                fail(s, "read", damaged, error);
        sqlite3_reset(st);
        return !*damaged && (rc == SQLITE_ROW || rc == SQLITE_DONE);
}

gboolean bh_bus_spool_renew_id(BhBusSpool *s, gboolean *damaged, GError **error) {
        guint8 old[BH_BUS_ID_LEN];

        *damaged = FALSE;
        memcpy(old, s->id, sizeof(old));
        if (random_id(s->id, error) && write_meta(s, damaged, error))
                return TRUE;
        memcpy(s->id, old, sizeof(old));
        return FALSE;
}

/* A failure on the way leaves no open file; the caller tries again before it does anything else. */
gboolean bh_bus_spool_set_aside(BhBusSpool *s, guint64 spared, char **kept_as, guint64 *lost, GError **error) {
        gboolean fresh, damaged;

        close_db(s);
        if (!s->moved) {
                g_autofree char *to = move_away(s, error);

                if (!to)
                        return FALSE;
                g_free(s->aside);
                s->aside = g_steal_pointer(&to);
                s->moved = TRUE;
        }
        /* The session stays: its numbers go on. */
        if (!open_db(s, &fresh, &damaged, error) || !begin_session(s, fresh, &damaged, error)) {
                close_db(s);
                return FALSE;
        }
        s->moved = FALSE;
        *lost = s->messages > spared ? s->messages - spared : 0;
        s->messages = s->bytes = s->last = s->protect = s->told = 0;
        /* The list of losses is in memory, and written by the next commit. */
        if (*lost)
                bh_bus_lost_add(s->lost, &(BhBusLost) { .topic = "", .reason = BH_BUS_LOST_DAMAGED, .count = *lost });
        *kept_as = g_steal_pointer(&s->aside);
        return TRUE;
}
