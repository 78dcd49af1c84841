/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of one SQLite store, and what is done about damage.
 *
 *     <path>             the database; -wal and -shm are SQLite's
 *     <path>.lock        flock(2): exclusive while it is checked, restored, migrated; shared by each process that has it open
 *     <path>.created     there once it was made: with it, a database that is missing or empty is damage, not a first start
 *     <path>.suspect     damage was met in use: the next start checks everything, not only what is quick to check
 *     <path>.restoring   a backup on its way into the database's place; worthless after a crash
 *     <path>.damaged-<time>  (and -wal, -shm) what was replaced; the last BH_SQLITE_DAMAGED_KEPT
 *     backup/            beside it
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "store/schema.h"
#include "store/sqlite_private.h"

#define WAIT_US (60 * G_USEC_PER_SEC) /* for a process that checks or migrates */

static const char *const satellites[] = { "", "-wal", "-shm", "-journal" };

typedef struct {
        BhDbSite base;
        char *marker, *suspect;
        BhFd lock;
        GMutex backup_lock;
} Site;

static gboolean fail_errno(GError **error, int code, const char *doing, const char *path) {
        g_set_error(error, BH_STORE_ERROR, code == ENOSPC || code == EDQUOT ? BH_STORE_ERROR_FULL : BH_STORE_ERROR_FAILED, "cannot %s %s: %s",
                    doing, path, g_strerror(code));
        return FALSE;
}

static guint64 file_size(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 ? (guint64) st.st_size : 0;
}

static void remove_with_satellites(const char *path) {
        for (guint i = 0; i < G_N_ELEMENTS(satellites); i++) {
                g_autofree char *name = g_strconcat(path, satellites[i], NULL);

                g_unlink(name);
        }
}

static gboolean sync_dir_of(const char *path, GError **error) {
        g_autofree char *dir = g_path_get_dirname(path);
        g_auto(BhFd) fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return (fd >= 0 && fsync(fd) == 0) || fail_errno(error, errno, "write", dir);
}

/* When root makes a file for a store that belongs to another user, that user must be able to use it. */
static void give_to_owner(int fd, const char *path) {
        g_autofree char *dir = g_path_get_dirname(path);
        struct stat st;

        if (geteuid() == 0 && stat(dir, &st) == 0 && st.st_uid != 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
                return;
}

static int create_file(const char *path, GError **error) {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                fail_errno(error, errno, "create", path);
        else
                give_to_owner(fd, path);
        return fd;
}

static char *utc_name(gint64 ns) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(ns / 1000000000);

        return g_date_time_format(t, "%Y%m%dT%H%M%SZ");
}

/* ---- checking */

typedef enum {
        CHECK_SOUND,
        CHECK_BLANK,   /* no tables at all: a first start that did not get far, or a database that was emptied */
        CHECK_DAMAGED, /* *damage */
        CHECK_FOREIGN, /* has tables, and not our mark */
        CHECK_FAILED,  /* *error: FAILED, FULL, BUSY */
} Check;

/* First column of the first row as text; FALSE with SQLite's error in *rc, or no row (*rc = SQLITE_DONE). */
static gboolean ask(sqlite3 *db, const char *sql, char **text, int *rc) {
        sqlite3_stmt *st = NULL;

        *rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
        if (*rc == SQLITE_OK && (*rc = sqlite3_step(st)) == SQLITE_ROW)
                *text = g_strdup((const char *) sqlite3_column_text(st, 0));
        sqlite3_finalize(st);
        return *rc == SQLITE_ROW && *text;
}

static Check check_tables(sqlite3 *db, const char *path, gboolean whole, char **damage, guint *schema, GError **error) {
        g_autofree char *application = NULL, *tables = NULL, *found = NULL, *version = NULL;
        int rc;

        if (!ask(db, "PRAGMA application_id", &application, &rc) || !ask(db, "SELECT count(*) FROM sqlite_master", &tables, &rc)) {
                bh_sqlite_fail(db, rc, "read", path, error);
                return CHECK_FAILED;
        }
        if (strcmp(tables, "0") == 0)
                return CHECK_BLANK;
        if (atoi(application) != BH_SQLITE_APPLICATION)
                return CHECK_FOREIGN;
        if (!ask(db, whole ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)", &found, &rc)) {
                bh_sqlite_fail(db, rc, "read", path, error);
                return CHECK_FAILED;
        }
        if (strcmp(found, "ok") != 0) {
                *damage = g_steal_pointer(&found);
                return CHECK_DAMAGED;
        }
        if (!ask(db, "SELECT value FROM meta WHERE \"key\" = 'schema'", &version, &rc))
                return CHECK_BLANK; /* the crash of a first start, between its first steps */
        *schema = (guint) g_ascii_strtoull(version, NULL, 10);
        return CHECK_SOUND;
}

/*
 * Looks at a database without leaving a trace in it: what is in its log is neither written back nor thrown away. `whole`: also whether the
 * indexes agree with their tables, which takes several times as long.
 */
static Check check_file(const char *path, gboolean whole, char **damage, guint *schema, GError **error) {
        g_autoptr(GError) e = NULL;
        sqlite3 *db = bh_sqlite_open(path, BH_DB_READER, &e);
        Check result = CHECK_FAILED;

        if (db) {
                sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
                result = check_tables(db, path, whole, damage, schema, &e);
                if (e && e->code == BH_STORE_ERROR_DAMAGED) /* before the next statement changes what SQLite says */
                        *damage = g_strdup(sqlite3_errmsg(db));
                sqlite3_close(db);
        }
        if (e && e->code == BH_STORE_ERROR_DAMAGED) {
                if (!*damage)
                        *damage = g_strdup("it cannot be read");
                return CHECK_DAMAGED;
        }
        if (e)
                g_propagate_error(error, g_steal_pointer(&e));
        return result;
}

/* ---- backups */

static void free_names(GPtrArray *names) {
        if (names)
                g_ptr_array_unref(names);
}
typedef GPtrArray Names;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Names, free_names)

static gint64 mtime_ns(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 ? (gint64) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
}

static gint newest_first(gconstpointer a, gconstpointer b) {
        gint64 x = mtime_ns(*(char *const *) a), y = mtime_ns(*(char *const *) b);

        return x > y ? -1 : x < y ? 1 : -strcmp(*(char *const *) a, *(char *const *) b);
}

/* Paths of all files of the directory whose names begin and end so. */
static GPtrArray *list_files(const char *dir, const char *prefix, const char *suffix) {
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
        DIR *d = opendir(dir);

        for (struct dirent *e; d && (e = readdir(d));)
                if (e->d_name[0] != '.' && g_str_has_prefix(e->d_name, prefix) && g_str_has_suffix(e->d_name, suffix))
                        g_ptr_array_add(names, g_build_filename(dir, e->d_name, NULL));
        if (d)
                closedir(d);
        g_ptr_array_sort(names, newest_first);
        return names;
}

static gboolean copy_file(const char *from, const char *to, GError **error) {
        g_auto(BhFd) in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out = -1;
        g_autofree char *buf = g_malloc(1 << 20);
        ssize_t n;

        if (in < 0)
                return fail_errno(error, errno, "read", from);
        out = create_file(to, error);
        if (out < 0)
                return FALSE;
        while ((n = read(in, buf, 1 << 20)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return fail_errno(error, errno, "read", from);
                for (ssize_t done = 0, w; done < n; done += w)
                        if ((w = write(out, buf + done, (size_t) (n - done))) <= 0)
                                return fail_errno(error, w < 0 ? errno : ENOSPC, "write", to);
        }
        return TRUE;
}

static gboolean sync_file(const char *path, GError **error) {
        g_auto(BhFd) fd = open(path, O_RDONLY | O_CLOEXEC);

        return (fd >= 0 && fsync(fd) == 0) || fail_errno(error, errno, "write", path);
}

/* Sets a row of "meta" and makes the file whole by itself, without a log beside it. */
static gboolean finish_copy(const char *path, const char *key, const char *value, gint64 *backup_ns, GError **error) {
        sqlite3 *db = bh_sqlite_open(path, BH_DB_WRITER, error);
        sqlite3_stmt *st = NULL;
        g_autofree char *when = NULL;
        int rc;

        if (!db)
                return FALSE;
        if (backup_ns)
                *backup_ns = ask(db, "SELECT value FROM meta WHERE \"key\" = 'backup_ns'", &when, &rc) ? g_ascii_strtoll(when, NULL, 10) : 0;
        rc = sqlite3_exec(db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
                rc = sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO meta (\"key\", value) VALUES (?, ?)", -1, &st, NULL);
        if (rc == SQLITE_OK) {
                sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
                sqlite3_bind_text(st, 2, value, -1, SQLITE_STATIC);
                rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_extended_errcode(db);
        }
        if (rc != SQLITE_OK)
                bh_sqlite_fail(db, rc, "write to", path, error);
        sqlite3_finalize(st);
        sqlite3_close(db);
        return rc == SQLITE_OK && sync_file(path, error);
}

static gboolean copy_database(const char *from, const char *to, GError **error) {
        g_auto(BhFd) fd = create_file(to, error);
        sqlite3 *in, *out;
        int rc = SQLITE_OK;

        if (fd < 0 || !(in = bh_sqlite_open(from, BH_DB_READER, error)))
                return FALSE;
        out = bh_sqlite_open(to, BH_DB_WRITER, error);
        if (out) {
                sqlite3_backup *b = sqlite3_backup_init(out, "main", in, "main");

                /* All in one step: a snapshot, which no writer can make begin again. */
                while (b && ((rc = sqlite3_backup_step(b, -1)) == SQLITE_BUSY || rc == SQLITE_LOCKED))
                        sqlite3_sleep(20);
                rc = b ? sqlite3_backup_finish(b) : sqlite3_extended_errcode(out);
                if (rc != SQLITE_OK) /* what cannot be read is `from`, what cannot be written is `to` */
                        bh_sqlite_fail(out, rc, "copy", (rc & 0xff) == SQLITE_CORRUPT ? from : to, error);
        }
        sqlite3_close(out);
        sqlite3_close(in);
        return out && rc == SQLITE_OK;
}

gboolean bh_sqlite_site_backup(BhDbSite *site, const char *path, GError **error) {
        Site *s = (Site *) site;
        g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&s->backup_lock);
        g_autofree char *partial = g_strconcat(path, ".partial", NULL), *damage = NULL;
        g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT, g_get_real_time() * 1000);
        guint schema = 0;

        remove_with_satellites(partial);
        if (!copy_database(site->path, partial, error) || !finish_copy(partial, "backup_ns", now, NULL, error)) {
                remove_with_satellites(partial);
                return FALSE;
        }
        Check check = check_file(partial, FALSE, &damage, &schema, error);
        if (check != CHECK_SOUND) {
                if (check != CHECK_FAILED)
                        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_DAMAGED,
                                    "the backup %s was not made, for the copy is damaged (%s): so is the database, or the disk fails", path,
                                    damage ? damage : "it is empty");
                remove_with_satellites(partial);
                return FALSE;
        }
        if (g_rename(partial, path) < 0) {
                fail_errno(error, errno, "write", path);
                remove_with_satellites(partial);
                return FALSE;
        }
        return sync_dir_of(path, error);
}

/* ---- restoring */

/* A name beside the database that is not taken. */
static char *name_for_damaged(const char *path) {
        g_autofree char *time = utc_name(g_get_real_time() * 1000);

        for (guint i = 1;; i++) {
                g_autofree char *name = i == 1 ? g_strdup_printf("%s.damaged-%s", path, time)
                                               : g_strdup_printf("%s.damaged-%s-%u", path, time, i);
                if (!g_file_test(name, G_FILE_TEST_EXISTS))
                        return g_steal_pointer(&name);
        }
}

static void drop_oldest_damaged(const char *path) {
        g_autofree char *dir = g_path_get_dirname(path), *base = g_path_get_basename(path);
        g_autofree char *prefix = g_strconcat(base, ".damaged-", NULL);
        g_autoptr(Names) kept = list_files(dir, prefix, "");
        guint n = 0;

        for (guint i = 0; i < kept->len; i++) {
                const char *name = g_ptr_array_index(kept, i);

                if (!g_str_has_suffix(name, "-wal") && !g_str_has_suffix(name, "-shm") && !g_str_has_suffix(name, "-journal") && ++n > BH_SQLITE_DAMAGED_KEPT)
                        remove_with_satellites(name);
        }
}

/*
 * Prepares <path>.restoring from the backup. FALSE with an error when the backup is not good (which is no disaster: there may be others), or
 * the disk is full. The row "restored" makes the next one who opens the store finish the work (sessions, audit, change log), in however
 * many tries.
 */
static gboolean prepare_restore(const char *path, const char *backup, const char *damage, const char *kept, gint64 *age_ns,
                                GError **error) {
        g_autofree char *restoring = g_strconcat(path, ".restoring", NULL), *wrong = NULL;
        gint64 made = 0;
        guint schema = 0;

        remove_with_satellites(restoring);
        if (!copy_file(backup, restoring, error))
                return FALSE;
        Check check = check_file(restoring, TRUE, &wrong, &schema, error);
        if (check == CHECK_FAILED)
                return FALSE;
        if (check != CHECK_SOUND) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_DAMAGED, "the backup %s is damaged (%s)", backup,
                            wrong ? wrong : check == CHECK_BLANK ? "it is empty" : "it is not of this program");
                return FALSE;
        }
        if (schema > BH_SCHEMA_VERSION) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NEWER, "the backup %s was made by a newer Bulkhead (schema %u, this program knows %u)",
                            backup, schema, BH_SCHEMA_VERSION);
                return FALSE;
        }
        g_autofree char *note = g_strdup_printf("the database was %s; %s was put in its place%s%s", damage, backup, kept ? ", it is kept as " : "",
                                                kept ? kept : "");
        if (!finish_copy(restoring, "restored", note, &made, error))
                return FALSE;
        *age_ns = MAX(g_get_real_time() * 1000 - (made ? made : mtime_ns(backup)), 0);
        return TRUE;
}

/* The database goes first: after a crash in between it is missing, which the next start takes for what it is. */
static gboolean swap_in(const char *path, const char *kept, GError **error) {
        g_autofree char *restoring = g_strconcat(path, ".restoring", NULL);

        for (guint i = 0; i < G_N_ELEMENTS(satellites); i++) {
                g_autofree char *from = g_strconcat(path, satellites[i], NULL), *to = g_strconcat(kept, satellites[i], NULL);

                if (g_rename(from, to) < 0 && errno != ENOENT)
                        return fail_errno(error, errno, "rename", from);
        }
        if (g_rename(restoring, path) < 0)
                return fail_errno(error, errno, "rename", restoring);
        drop_oldest_damaged(path);
        return sync_dir_of(path, error);
}

static gboolean restore_from(const char *path, const char *backup, const char *damage, BhStoreOpened *opened, GError **error) {
        g_autofree char *kept = name_for_damaged(path);
        gboolean there = g_file_test(path, G_FILE_TEST_EXISTS);
        gint64 age_ns;

        if (!prepare_restore(path, backup, damage, there ? kept : NULL, &age_ns, error) || !swap_in(path, kept, error)) {
                g_autofree char *restoring = g_strconcat(path, ".restoring", NULL);

                remove_with_satellites(restoring);
                return FALSE;
        }
        bh_store_opened_clear(opened);
        opened->restored_from = g_strdup(backup);
        opened->damaged_kept_as = there ? g_steal_pointer(&kept) : NULL;
        opened->damage = g_strdup(damage);
        opened->age_ns = age_ns;
        return TRUE;
}

void bh_sqlite_suspect(BhDbSite *site) {
        g_auto(BhFd) fd = open(((Site *) site)->suspect, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd >= 0)
                give_to_owner(fd, site->path);
}

static gboolean restore_newest(Site *s, const char *damage, BhStoreOpened *opened, GError **error) {
        const char *path = s->base.path;
        g_autoptr(Names) backups = list_files(s->base.backup_dir, "", ".db");
        g_autoptr(GString) tried = g_string_new(NULL);

        for (guint i = 0; i < backups->len; i++) {
                g_autoptr(GError) e = NULL;

                if (restore_from(path, g_ptr_array_index(backups, i), damage, opened, &e)) {
                        g_unlink(s->suspect);
                        return TRUE;
                }
                /* Not the backup's fault: another one would fare no better, or be needlessly old. */
                if (e->code == BH_STORE_ERROR_FULL || e->code == BH_STORE_ERROR_FAILED) {
                        g_prefix_error(&e, "the database %s is damaged (%s), and its newest backup cannot be put in its place: ", path, damage);
                        g_propagate_error(error, g_steal_pointer(&e));
                        return FALSE;
                }
                if (i < 3)
                        g_string_append_printf(tried, "%s%s", i ? "; " : ": ", e->message);
        }
        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_DAMAGED,
                    "the database %s is damaged (%s), and there is no sound backup in %s%s. Nothing was changed. Put a backup of yours there "
                    "(NAME.db) and start again; or, to begin with an empty store, move %s, %s-wal, %s and %s to another place",
                    path, damage, s->base.backup_dir, tried->str, path, path, s->marker, s->base.backup_dir);
        return FALSE;
}

/* ---- opening and closing */

static gboolean create_database(const char *path, GError **error) {
        g_autofree char *application = g_strdup_printf("PRAGMA application_id=%d", BH_SQLITE_APPLICATION);

        remove_with_satellites(path);
        g_auto(BhFd) fd = create_file(path, error);
        if (fd < 0)
                return FALSE;
        sqlite3 *db = bh_sqlite_open(path, BH_DB_WRITER, error);
        /* Free pages can only be given back if that is said before the first table. */
        gboolean ok = db && bh_sqlite_exec(db, "PRAGMA auto_vacuum=INCREMENTAL", path, error) && bh_sqlite_exec(db, application, path, error) &&
                      bh_sqlite_exec(db, "PRAGMA journal_mode=WAL", path, error);
        sqlite3_close(db);
        return ok && sync_dir_of(path, error);
}

static gboolean check_and_mend(Site *s, BhStoreOpened *opened, GError **error) {
        const char *path = s->base.path;
        g_autofree char *wal = g_strconcat(path, "-wal", NULL), *restoring = g_strconcat(path, ".restoring", NULL), *damage = NULL;
        g_autoptr(Names) backups = list_files(s->base.backup_dir, "", ".db");
        gboolean was = g_file_test(s->marker, G_FILE_TEST_EXISTS) || backups->len || file_size(wal) > 0;
        struct stat st;
        guint schema;

        remove_with_satellites(restoring);
        if (stat(path, &st) < 0 && errno != ENOENT)
                return fail_errno(error, errno, "open", path);
        if (!g_file_test(path, G_FILE_TEST_EXISTS) || st.st_size == 0) {
                if (was)
                        return restore_newest(s, g_file_test(path, G_FILE_TEST_EXISTS) ? "empty" : "missing", opened, error);
                opened->created = TRUE;
                return create_database(path, error);
        }
        switch (check_file(path, g_file_test(s->suspect, G_FILE_TEST_EXISTS), &damage, &schema, error)) {
        case CHECK_SOUND:
                g_unlink(s->suspect);
                return TRUE;
        case CHECK_BLANK:
                if (g_file_test(s->marker, G_FILE_TEST_EXISTS) || backups->len)
                        return restore_newest(s, "without its tables", opened, error);
                opened->created = TRUE;
                return create_database(path, error);
        case CHECK_DAMAGED:
                return restore_newest(s, damage, opened, error);
        case CHECK_FOREIGN:
                if (g_file_test(s->marker, G_FILE_TEST_EXISTS))
                        return restore_newest(s, "without the mark of this program", opened, error);
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FOREIGN,
                            "%s is a database of another program: give the store a path of its own", path);
                return FALSE;
        default:
                return FALSE;
        }
}

static gboolean take_lock(Site *s, gint64 wait_us, gboolean may_share, GError **error) {
        g_autofree char *path = g_strconcat(s->base.path, ".lock", NULL);
        gint64 begin = g_get_monotonic_time();

        s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->lock < 0)
                return fail_errno(error, errno, "open", path);
        give_to_owner(s->lock, path);
        for (;;) {
                if (flock(s->lock, LOCK_EX | LOCK_NB) == 0) {
                        s->base.alone = TRUE;
                        return TRUE;
                }
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return fail_errno(error, errno, "lock", path);
                if (may_share && flock(s->lock, LOCK_SH | LOCK_NB) == 0)
                        return TRUE;
                if (g_get_monotonic_time() - begin >= wait_us) {
                        g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_BUSY, "%s is in use by another process; `fuser %s` tells which: stop it first",
                                    s->base.path, path);
                        return FALSE;
                }
                g_usleep(20000);
        }
}

static Site *site_new(const char *place, GError **error) {
        if (place[0] != '/') {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_INVALID, "cannot open the store \"sqlite:%s\": write sqlite:/absolute/path", place);
                return NULL;
        }
        g_autofree char *dir = g_path_get_dirname(place);
        Site *s = g_new0(Site, 1);

        s->base.driver = &bh_db_sqlite;
        s->base.path = g_strdup(place);
        s->base.backup_dir = g_build_filename(dir, "backup", NULL);
        s->marker = g_strconcat(place, ".created", NULL);
        s->suspect = g_strconcat(place, ".suspect", NULL);
        s->lock = -1;
        g_mutex_init(&s->backup_lock);
        return s;
}

BhDbSite *bh_sqlite_site_open(const char *place, BhStoreOpened *opened, GError **error) {
        Site *s = site_new(place, error);

        if (!s)
                return NULL;
        if (!take_lock(s, WAIT_US, TRUE, error) || (s->base.alone && !check_and_mend(s, opened, error))) {
                bh_sqlite_site_close(&s->base);
                return NULL;
        }
        return &s->base;
}

gboolean bh_sqlite_site_settle(BhDbSite *site, GError **error) {
        static const char text[] = "A store was made here. While this file is there, a database that is missing or empty is taken for damage.\n";
        Site *s = (Site *) site;

        if (!site->alone)
                return TRUE;
        if (!g_file_test(s->marker, G_FILE_TEST_EXISTS)) {
                g_auto(BhFd) fd = create_file(s->marker, error);

                if (fd < 0)
                        return FALSE;
                if (write(fd, text, sizeof(text) - 1) < 0 || fsync(fd) < 0)
                        return fail_errno(error, errno, "write", s->marker);
                if (!sync_dir_of(s->marker, error))
                        return FALSE;
        }
        /* Not atomic, so another one may come in between and check: no harm, the database is sound and stays where it is. */
        while (flock(s->lock, LOCK_SH) < 0)
                if (errno != EINTR)
                        return fail_errno(error, errno, "lock", site->path);
        site->alone = FALSE;
        return TRUE;
}

gboolean bh_sqlite_site_restore(const char *place, const char *backup, BhStoreOpened *opened, GError **error) {
        Site *s = site_new(place, error);

        if (!s)
                return FALSE;
        gboolean ok = take_lock(s, G_USEC_PER_SEC, FALSE, error) && restore_from(place, backup, "replaced by hand", opened, error);
        bh_sqlite_site_close(&s->base);
        return ok;
}

void bh_sqlite_site_close(BhDbSite *site) {
        Site *s = (Site *) site;

        bh_fd_clear(&s->lock);
        g_mutex_clear(&s->backup_lock);
        g_free(s->marker);
        g_free(s->suspect);
        g_free(site->path);
        g_free(site->backup_dir);
        g_free(s);
}
