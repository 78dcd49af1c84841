/* SPDX-License-Identifier: Apache-2.0 */
/* Damage, killed writers, full disks, old and new schemas, many readers. */
#include <sched.h>

#include "store/sqlite_private.h"
#include "store_rows.h"

static gboolean copy(const char *from, const char *to) {
        g_autofree char *data = NULL;
        gsize len;

        return g_file_get_contents(from, &data, &len, NULL) && g_file_set_contents(to, data, (gssize) len, NULL);
}

static void overwrite(const char *path, gint64 offset, const void *data, gsize len) {
        g_auto(BhFd) fd = open(path, O_RDWR | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(pwrite(fd, data, len, offset), ==, (gssize) len);
}

static gint64 size_of(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 ? st.st_size : -1;
}

static guint count_files(const char *dir, const char *part) {
        GDir *d = g_dir_open(dir, 0, NULL);
        guint n = 0;

        for (const char *name; d && (name = g_dir_read_name(d));)
                n += strstr(name, part) != NULL;
        if (d)
                g_dir_close(d);
        return n;
}

/* ---- killed writers */

/* Ingests small batches for ever, and says after each into the pipe what is durable. */
static void ingest_until_killed(const char *dir, int out) {
        g_autofree char *uri = db_uri(dir);
        BhStore *s = bh_store_open(uri, NULL, NULL);
        guint64 next = s ? position_of(s, PUBLISHER) + 1 : 0;

        while (s) {
                /* What the bus does after a lost acknowledgement: some of it again. */
                guint64 first = next > 5 ? next - (guint64) g_test_rand_int_range(0, 5) : next, last = next + (guint64) g_test_rand_int_range(0, 60);

                if (!ingest_range(s, PUBLISHER, first, last, NULL) || write(out, &last, sizeof(last)) != sizeof(last))
                        break;
                next = last + 1;
        }
        _exit(3);
}

static void killed_in_mid_ingest_nothing_is_lost_or_doubled(void) {
        g_autoptr(TempDir) dir = temp_dir();
        guint64 before = 0, moved = 0;

        for (guint round = 0; round < 20; round++) {
                guint64 said = before, last;
                int fds[2], status;

                g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
                pid_t pid = fork();
                g_assert_cmpint(pid, >=, 0);
                if (pid == 0)
                        ingest_until_killed(dir, fds[1]);
                close(fds[1]);
                /* In the first rounds perhaps before there is a database at all. */
                g_usleep((gulong) g_test_rand_int_range(0, round < 3 ? 30000 : 150000));
                if (round >= 3 && read(fds[0], &last, sizeof(last)) == sizeof(last))
                        said = last;
                kill(pid, SIGKILL);
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_true(WIFSIGNALED(status));
                while (read(fds[0], &last, sizeof(last)) == sizeof(last))
                        said = last;
                close(fds[0]);

                g_auto(BhStoreOpened) opened = { 0 };
                gint64 begin = g_get_monotonic_time();
                BhStore *s = must_open(dir, &opened);
                g_assert_cmpint(g_get_monotonic_time() - begin, <, 5 * G_USEC_PER_SEC);
                g_assert_null(opened.restored_from);
                guint64 now = position_of(s, PUBLISHER);
                g_assert_cmpuint(now, >=, said); /* what was acknowledged is there */
                assert_exactly(s, now);
                moved += now > before;
                before = now;
                bh_store_close(s);
        }
        g_assert_cmpuint(moved, >=, 10);
        g_test_message("%" G_GUINT64_FORMAT " messages over 20 kills", before);
}

/* ---- damage */

static void make_store(const char *dir, guint64 messages, gboolean backup) {
        BhStore *s = must_open(dir, NULL);
        g_autoptr(GError) error = NULL;
        BhStoreAuditEntry e = { .actor = "admin", .action = "test" };

        g_assert_true(bh_store_user_create(s, "admin", BH_STORE_ROLE_ADMIN, "h", FALSE, &e, NULL));
        g_assert_true(bh_store_session_create(s, &(BhStoreSession) { .hash = "s", .user = "admin", .csrf_hash = "c", .expires_ns = G_MAXINT64 }, NULL, &e, NULL));
        must_ingest(s, 1, messages);
        if (backup) {
                bh_store_backup_rotate(s, 3, NULL, &error);
                g_assert_no_error(error);
        }
        bh_store_close(s);
}

static void damage_is_answered_by_the_newest_sound_backup(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *backups = g_build_filename(dir, "backup", NULL), *older = NULL, *newer = NULL;
        g_autofree char *bad = g_build_filename(backups, "bulkhead-99991231T000000Z.db", NULL);
        g_auto(BhStoreOpened) opened = { 0 };
        guint8 rubbish[4096];
        guint64 last;
        gboolean gap;

        memset(rubbish, 0xa5, sizeof(rubbish));
        make_store(dir, 300, TRUE);
        BhStore *s = must_open(dir, NULL);
        must_ingest(s, 301, 600);
        older = g_build_filename(backups, "bulkhead-20000101T000000Z.db", NULL);
        g_assert_true(bh_store_backup(s, older, NULL));
        g_assert_true(bh_store_backup_time(s) > 0);
        must_ingest(s, 601, 900);
        newer = g_build_filename(backups, "mine.db", NULL); /* by whatever name */
        g_assert_true(bh_store_backup(s, newer, NULL));
        must_ingest(s, 901, 930);
        g_assert_true(bh_store_changes_last(s, &last, NULL));
        bh_store_close(s);
        /* The newest one is damaged itself. */
        g_assert_true(copy(newer, bad));
        overwrite(bad, 4096, rubbish, sizeof(rubbish));
        overwrite(path, 4096 * 3, rubbish, sizeof(rubbish));
        overwrite(path, 4096 * 1, rubbish, sizeof(rubbish));

        s = must_open(dir, &opened);
        g_assert_cmpstr(opened.restored_from, ==, newer);
        g_assert_true(g_file_test(opened.damaged_kept_as, G_FILE_TEST_EXISTS));
        g_assert_nonnull(opened.damage);
        g_assert_cmpint(opened.age_ns, >=, 0);
        g_assert_cmpint(opened.age_ns, <, 60 * G_GINT64_CONSTANT(1000000000));
        assert_exactly(s, 900);
        /* Sessions end, the audit log tells, readers of the change log notice. */
        g_assert_null(bh_store_session_by_hash(s, "s", 0, NULL));
        g_autoptr(BhStorePage) told = bh_store_audit_rows(s, &(BhStoreAuditFilter) { .action = "store.restored" }, NULL, 0, NULL);
        g_assert_cmpuint(told->rows->len, ==, 1);
        g_assert_nonnull(strstr(((BhStoreAuditRow *) told->rows->pdata[0])->detail, "mine.db"));
        g_autoptr(GPtrArray) changes = bh_store_changes_after(s, last, 0, &gap, NULL);
        g_assert_true(gap);
        g_assert_cmpuint(changes->len, ==, 2);
        g_assert_cmpint(((BhStoreChange *) changes->pdata[0])->kind, ==, BH_STORE_CHANGE_STORE);
        must_ingest(s, 901, 930);
        bh_store_close(s);

        /* It is done once. */
        bh_store_opened_clear(&opened);
        s = must_open(dir, &opened);
        g_assert_null(opened.restored_from);
        assert_exactly(s, 930);
        bh_store_close(s);
}

static void without_a_backup_damage_is_refused_and_nothing_touched(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *before = NULL, *after = NULL;
        guint8 rubbish[8192] = { 1, 2, 3 };
        gsize len, now;

        make_store(dir, 300, FALSE);
        overwrite(path, 0, rubbish, sizeof(rubbish));
        g_assert_true(g_file_get_contents(path, &before, &len, NULL));
        for (guint i = 0; i < 2; i++) {
                g_autofree char *why = must_refuse(dir, BH_STORE_ERROR_DAMAGED);

                g_assert_nonnull(strstr(why, "no sound backup"));
                g_assert_nonnull(strstr(why, "move"));
        }
        g_assert_true(g_file_get_contents(path, &after, &now, NULL));
        g_assert_cmpmem(before, len, after, now);
        g_assert_cmpuint(count_files(dir, "damaged"), ==, 0);
}

static void a_database_that_vanished_or_was_emptied_is_damage(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *backup = g_build_filename(dir, "backup", NULL), *away = g_build_filename(dir, "away", NULL);
        g_auto(BhStoreOpened) opened = { 0 };

        make_store(dir, 300, TRUE);
        for (guint how = 0; how < 3; how++) {
                if (how == 0)
                        g_assert_cmpint(g_unlink(path), ==, 0);
                else if (how == 1)
                        g_assert_cmpint(truncate(path, 0), ==, 0);
                else
                        g_assert_cmpint(truncate(path, 5000), ==, 0);
                g_assert_cmpint(g_rename(backup, away), ==, 0);
                g_free(must_refuse(dir, BH_STORE_ERROR_DAMAGED));
                g_assert_cmpint(g_rename(away, backup), ==, 0);
                BhStore *s = must_open(dir, &opened);
                g_assert_nonnull(opened.restored_from);
                g_assert_cmpint(opened.damaged_kept_as != NULL, ==, how != 0);
                g_assert_false(opened.created);
                assert_exactly(s, 300);
                bh_store_close(s);
                bh_store_opened_clear(&opened);
        }
}

/* Whatever bytes are hit: what is stored is there, or comes from the backup, or it is refused. */
static void damage_at_random_places_never_empties_the_store(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *good = g_build_filename(dir, "good", NULL), *backup = g_build_filename(dir, "backup", NULL),
                        *away = g_build_filename(dir, "away", NULL), *uri = db_uri(dir);
        guint restored = 0, refused = 0, unnoticed = 0, later = 0;

        make_store(dir, 3000, TRUE);
        g_assert_true(copy(path, good));
        gint64 size = size_of(good);
        for (guint round = 0; round < 60; round++) {
                g_auto(BhStoreOpened) opened = { 0 };
                g_autoptr(GError) error = NULL;
                guint len = round % 3 == 0 ? 1 : round % 3 == 1 ? 64 : 4096;
                guint8 bytes[4096];
                gboolean has_backup = round % 2;

                for (guint i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (guint8) g_test_rand_int();
                g_assert_true(copy(good, path));
                if (!has_backup)
                        g_assert_cmpint(g_rename(backup, away), ==, 0);
                /* The first page, where the most depends on each byte, often. */
                gint64 range = round % 4 ? size - (gint64) len : 4096 - (gint64) MIN(len, 4000);
                overwrite(path, (gint64) (g_test_rand_double() * (double) range), bytes, len);
                BhStore *s = bh_store_open(uri, &opened, &error);
                if (!has_backup)
                        g_assert_cmpint(g_rename(away, backup), ==, 0);
                if (!s) {
                        g_assert_true(error->code == BH_STORE_ERROR_DAMAGED || error->code == BH_STORE_ERROR_NEWER || error->code == BH_STORE_ERROR_FAILED);
                        g_assert_false(has_backup && error->code == BH_STORE_ERROR_DAMAGED);
                        refused++;
                        continue;
                }
                g_assert_false(opened.created);
                if (opened.restored_from) {
                        assert_exactly(s, 3000);
                        restored++;
                } else {
                        /* Damage that the check cannot see (within a text, or a page that is free) or that shows when it is read. */
                        BhStoreOverview o = { 0 };

                        if (bh_store_overview(s, &o, &error)) {
                                g_assert_cmpuint(o.findings, >=, 900);
                                g_assert_cmpuint(o.containers, >=, 900);
                                unnoticed++;
                        } else {
                                g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_DAMAGED);
                                later++;
                        }
                }
                bh_store_close(s);
        }
        g_test_message("restored %u, refused %u, harmless or within texts %u, seen later %u", restored, refused, unnoticed, later);
        g_assert_cmpuint(restored, >, 5);
        g_assert_cmpuint(refused, >, 5);
        g_assert_cmpuint(count_files(dir, "damaged"), <=, 3 * 4); /* the last four, each with -wal and -shm at most */
}

/* A log that is damaged is good up to there: what is left is a moment of the past, whole in itself, and the positions say which. */
static void a_damaged_log_leaves_an_earlier_moment(void) {
        for (guint round = 0; round < 8; round++) {
                g_autoptr(TempDir) dir = temp_dir();
                g_autofree char *path = db_path(dir), *wal = g_strconcat(path, "-wal", NULL);
                guint8 rubbish[64] = { 3 };
                int status;

                make_store(dir, 30, FALSE);
                pid_t pid = fork();
                if (pid == 0) {
                        g_autofree char *uri = db_uri(dir);
                        BhStore *s = bh_store_open(uri, NULL, NULL);

                        for (guint64 seq = 31; s && seq < 300; seq += 30)
                                if (!ingest_range(s, PUBLISHER, seq, seq + 29, NULL))
                                        _exit(1);
                        _exit(s ? 0 : 1); /* without closing, which would write the log back */
                }
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_cmpint(status, ==, 0);
                g_assert_cmpint(size_of(wal), >, 8192);
                overwrite(wal, g_test_rand_int_range(32, (gint32) size_of(wal) - 64), rubbish, sizeof(rubbish));
                BhStore *s = must_open(dir, NULL);
                g_assert_cmpuint(position_of(s, PUBLISHER), <, 300);
                assert_exactly(s, position_of(s, PUBLISHER));
                bh_store_close(s);
        }
}

/* An index that disagrees with its table passes the quick check. Once a statement has met damage, the next start looks at indexes, too. */
static void damage_met_in_use_is_mended_at_the_next_start(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *suspect = g_strconcat(path, ".suspect", NULL);
        g_auto(BhStoreOpened) opened = { 0 };
        sqlite3 *raw;

        make_store(dir, 300, TRUE);
        g_assert_cmpint(sqlite3_open(path, &raw), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_exec(raw, "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = 'CREATE INDEX containers_name ON "
                                     "containers (image)' WHERE name = 'containers_name'", NULL, NULL, NULL), ==, SQLITE_OK);
        sqlite3_close(raw);
        BhStore *s = must_open(dir, &opened);
        g_assert_null(opened.restored_from);
        bh_sqlite_suspect(s->site);
        g_assert_true(g_file_test(suspect, G_FILE_TEST_EXISTS));
        bh_store_close(s);
        s = must_open(dir, &opened);
        g_assert_nonnull(opened.restored_from);
        assert_exactly(s, 300);
        g_assert_false(g_file_test(suspect, G_FILE_TEST_EXISTS));

        /* And it is what a statement that meets damage leaves: the tables' pages are overwritten under an open store. */
        guint8 rubbish[4096] = { 7 };
        bh_store_close(s);
        s = must_open(dir, NULL); /* whose readers have nothing in memory yet */
        for (gint64 at = 4096 * 2; at + 4096 <= size_of(path); at += 4096)
                overwrite(path, at, rubbish, sizeof(rubbish));
        g_autoptr(GError) error = NULL;
        BhStoreOverview o;
        g_assert_false(bh_store_overview(s, &o, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_DAMAGED);
        g_assert_nonnull(strstr(error->message, "start the central anew"));
        g_assert_true(g_file_test(suspect, G_FILE_TEST_EXISTS));
        bh_store_close(s);
        bh_store_opened_clear(&opened);
        s = must_open(dir, &opened);
        g_assert_nonnull(opened.restored_from);
        assert_exactly(s, 300);
        bh_store_close(s);
}

static void a_crash_while_restoring_is_made_good(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *restoring = g_strconcat(path, ".restoring", NULL), *kept = g_strconcat(path, ".damaged-x", NULL);
        g_auto(BhStoreOpened) opened = { 0 };

        make_store(dir, 300, TRUE);
        /* Killed after the damaged one was put aside, with half a copy there. */
        g_assert_cmpint(g_rename(path, kept), ==, 0);
        g_assert_true(g_file_set_contents(restoring, "half", 4, NULL));
        BhStore *s = must_open(dir, &opened);
        g_assert_nonnull(opened.restored_from);
        assert_exactly(s, 300);
        g_assert_false(g_file_test(restoring, G_FILE_TEST_EXISTS));
        bh_store_close(s);
}

static void killed_in_the_first_start_it_begins_again(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir);

        /* An empty file, and one with a header and no tables: neither had been a store yet. */
        g_assert_true(g_file_set_contents(path, "", 0, NULL));
        g_auto(BhStoreOpened) opened = { 0 };
        BhStore *s = must_open(dir, &opened);
        g_assert_true(opened.created);
        bh_store_close(s);
}

/* A data directory on another disk, by a symbolic link. */
static void a_directory_may_be_reached_by_a_link(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *real = g_build_filename(dir, "real", NULL), *via = g_build_filename(dir, "link", NULL);

        g_assert_cmpint(g_mkdir(real, 0700), ==, 0);
        g_assert_cmpint(symlink("real", via), ==, 0);
        BhStore *s = must_open(via, NULL);
        must_ingest(s, 1, 30);
        g_assert_true(bh_store_backup_rotate(s, 1, NULL, NULL));
        bh_store_close(s);
        s = must_open(real, NULL);
        assert_exactly(s, 30);
        bh_store_close(s);
}

static void another_programs_database_is_left_alone(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *path = db_path(dir), *marker = g_strconcat(path, ".created", NULL);
        guint8 mark[4] = { 1, 2, 3, 4 };

        make_store(dir, 30, FALSE);
        overwrite(path, 68, mark, 4); /* the application's number in the header */
        g_unlink(marker);
        g_free(must_refuse(dir, BH_STORE_ERROR_FOREIGN));
        g_assert_true(g_file_set_contents(marker, "", 0, NULL));
        g_free(must_refuse(dir, BH_STORE_ERROR_DAMAGED));
}

/* ---- backups */

static void backups_rotate_and_restore_by_hand(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *uri = db_uri(dir), *backups = g_build_filename(dir, "backup", NULL), *mine = g_build_filename(dir, "mine", NULL), *name = NULL;
        g_autofree char *nowhere = g_build_filename(dir, "none", "x.db", NULL);
        g_auto(BhStoreOpened) opened = { 0 };
        g_autoptr(GError) error = NULL;
        struct stat st;

        BhStore *s = must_open(dir, NULL);
        g_assert_cmpint(bh_store_backup_time(s), ==, 0);
        must_ingest(s, 1, 30);
        g_assert_true(bh_store_backup(s, mine, NULL));
        g_assert_cmpint(stat(mine, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
        for (guint i = 0; i < 4; i++) {
                g_autofree char *old = g_strdup_printf("%s/bulkhead-200%u0101T000000Z.db", backups, i);

                if (i == 0)
                        g_assert_cmpint(g_mkdir(backups, 0700), ==, 0);
                g_assert_true(g_file_set_contents(old, "x", 1, NULL));
        }
        g_assert_true(bh_store_backup_rotate(s, 3, &name, NULL));
        g_assert_cmpuint(count_files(backups, "bulkhead-"), ==, 3);
        g_assert_true(g_file_test(name, G_FILE_TEST_EXISTS));
        must_ingest(s, 31, 60);
        g_assert_false(bh_store_backup(s, nowhere, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FAILED);
        g_clear_error(&error);

        g_assert_false(bh_store_restore(uri, mine, &opened, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_BUSY);
        g_clear_error(&error);
        bh_store_close(s);
        g_assert_false(bh_store_restore(uri, nowhere, &opened, &error));
        g_clear_error(&error);
        s = must_open(dir, NULL);
        assert_exactly(s, 60);
        bh_store_close(s);
        g_assert_true(bh_store_restore(uri, mine, &opened, NULL));
        g_assert_nonnull(opened.damaged_kept_as);
        s = must_open(dir, NULL);
        assert_exactly(s, 30);
        bh_store_close(s);
}

typedef struct {
        BhStore *s;
        gint stop; /* atomic */
        guint64 rounds;
} Load;

static gpointer keep_ingesting(gpointer data) {
        Load *l = data;

        for (guint64 seq = 1; !g_atomic_int_get(&l->stop); seq += 30) {
                g_assert_true(ingest_range(l->s, PUBLISHER, seq, seq + 29, NULL));
                l->rounds++;
        }
        return NULL;
}

static void a_backup_under_load_is_of_one_moment(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *copy_dir = g_build_filename(dir, "copy", NULL), *to = g_build_filename(copy_dir, "bulkhead.db", NULL);
        Load l = { .s = must_open(dir, NULL) };

        g_assert_cmpint(g_mkdir(copy_dir, 0700), ==, 0);
        GThread *t = g_thread_new("load", keep_ingesting, &l);
        for (guint i = 0; i < 5; i++) {
                g_autoptr(GError) error = NULL;

                g_usleep(30000);
                bh_store_backup(l.s, to, &error);
                g_assert_no_error(error);
        }
        g_atomic_int_set(&l.stop, 1);
        g_thread_join(t);
        bh_store_close(l.s);
        BhStore *s = must_open(copy_dir, NULL);
        assert_exactly(s, position_of(s, PUBLISHER));
        bh_store_close(s);
}

/* ---- schema */

static void older_schemas_are_brought_up_step_by_step(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *uri = db_uri(dir);
        const char *steps[BH_SCHEMA_VERSION + 2];
        g_autoptr(GError) error = NULL;
        BhStoreOpened opened = { 0 };
        guint was = 99;
        gint64 n;

        for (guint i = 0; i < BH_SCHEMA_VERSION; i++)
                steps[i] = bh_schema_steps[i];
        steps[BH_SCHEMA_VERSION] = "ALTER TABLE findings ADD COLUMN incident TEXT NOT NULL DEFAULT ''; UPDATE findings SET incident = rule";
        steps[BH_SCHEMA_VERSION + 1] = "CREATE TABLE later (x INTEGER); INSERT INTO nothing VALUES (1)";
        make_store(dir, 300, TRUE);
        BhDbSite *site = bh_db_site_open(uri, &opened, &error);
        g_assert_no_error(error);
        BhDb *db = bh_db_connect(site, BH_DB_WRITER, &error);
        g_assert_no_error(error);
        g_assert_true(bh_schema_migrate(db, steps, BH_SCHEMA_VERSION + 1, &was, &error));
        g_assert_cmpuint(was, ==, BH_SCHEMA_VERSION);
        g_assert_true(bh_db_get_int(db, &n, NULL, NULL, "SELECT count(*) FROM findings WHERE incident = rule", ""));
        g_assert_cmpint(n, ==, 100);
        /* A step that fails leaves the step before. */
        g_assert_false(bh_schema_migrate(db, steps, BH_SCHEMA_VERSION + 2, &was, &error));
        g_clear_error(&error);
        g_assert_true(bh_schema_read_version(db, &was, NULL));
        g_assert_cmpuint(was, ==, BH_SCHEMA_VERSION + 1);
        g_assert_false(bh_db_get_int(db, &n, NULL, NULL, "SELECT count(*) FROM later", ""));
        bh_db_disconnect(db);
        bh_db_site_close(site);

        /* Now it is newer than the program: refused, also with a backup there, and not touched. */
        g_autofree char *why = must_refuse(dir, BH_STORE_ERROR_NEWER);
        g_assert_nonnull(strstr(why, "newer"));
        g_assert_cmpuint(count_files(dir, "damaged"), ==, 0);
        site = bh_db_site_open(uri, &opened, NULL);
        db = bh_db_connect(site, BH_DB_READER, NULL);
        g_assert_true(bh_db_get_int(db, &n, NULL, NULL, "SELECT count(*) FROM findings", ""));
        g_assert_cmpint(n, ==, 100);
        bh_db_disconnect(db);
        bh_db_site_close(site);
        bh_store_opened_clear(&opened);
}

static void every_field_has_its_column(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        BhDb *db = bh_store_read(s, NULL);

#define BH_STORE_FIELD(kind, member) g_assert_true(bh_db_run(db, NULL, "SELECT \"" #member "\" FROM containers", ""));
#include "store/container.tbl.h"
#undef BH_STORE_FIELD
        bh_store_read_done(s, db);
}

/* ---- full disk */

static gboolean own_mounts;

static gboolean small_disk(const char *dir, const char *size, unsigned long flags) {
        g_autofree char *options = g_strconcat("size=", size, NULL);

        if (own_mounts && mount("bulkhead-test", dir, "tmpfs", MS_NOSUID | MS_NODEV | flags, options) == 0)
                return TRUE;
        g_test_skip("cannot mount a small disk (needs root)");
        return FALSE;
}

static void a_full_disk_loses_nothing_and_storing_goes_on(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autofree char *backup = g_build_filename(dir, "copy.db", NULL);
        g_autoptr(GError) error = NULL;
        guint64 seq = 0;

        if (!small_disk(dir, "3m", 0))
                return;
        BhStore *s = must_open(dir, NULL);
        while (ingest_range(s, PUBLISHER, seq + 1, seq + 90, &error))
                seq += 90;
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FULL);
        g_assert_nonnull(strstr(error->message, "no room"));
        g_assert_cmpuint(seq, >, 500);
        /* Where the log could be written back there was room for some more. */
        for (guint failed = 0; failed < 20;) {
                g_clear_error(&error);
                if (ingest_range(s, PUBLISHER, seq + 1, seq + 90, &error)) {
                        seq += 90;
                        continue;
                }
                g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FULL);
                failed++;
        }
        assert_exactly(s, seq); /* readers go on */
        g_clear_error(&error);
        g_assert_false(bh_store_backup(s, backup, &error));
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FULL);
        g_assert_false(g_file_test(backup, G_FILE_TEST_EXISTS));
        g_assert_cmpuint(count_files(dir, "partial"), ==, 0);
        bh_store_close(s);

        /* Opened again on the full disk, and with room again. */
        s = must_open(dir, NULL);
        assert_exactly(s, seq);
        g_assert_true(small_disk(dir, "16m", MS_REMOUNT));
        must_ingest(s, seq + 1, seq + 90);
        assert_exactly(s, seq + 90);
        bh_store_close(s);
        g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
}

/* Not without any room: to delete is to write. Little is enough, as much as the log takes between two checkpoints. */
static void on_a_disk_that_was_full_what_is_old_can_be_deleted(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(GError) error = NULL;
        BhStoreExpired gone = { 0 };
        guint64 seq = 0;

        if (!small_disk(dir, "12m", 0))
                return;
        BhStore *s = must_open(dir, NULL);
        for (guint failed = 0; failed < 5;) {
                g_clear_error(&error);
                if (ingest_range(s, PUBLISHER, seq + 1, seq + 900, &error))
                        seq += 900;
                else
                        failed++;
        }
        g_assert_error(error, BH_STORE_ERROR, BH_STORE_ERROR_FULL);
        g_clear_error(&error);
        g_assert_true(small_disk(dir, "20m", MS_REMOUNT));
        bh_store_expire(s, 0, 4 << 20, &gone, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(gone.findings, >, 0);
        g_assert_cmpuint(position_of(s, PUBLISHER), ==, seq);
        must_ingest(s, seq + 1, seq + 90);
        bh_store_close(s);
        g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
}

static void a_first_start_without_room_says_so(void) {
        g_autoptr(TempDir) dir = temp_dir();

        if (!small_disk(dir, "40k", 0))
                return;
        g_autofree char *why = must_refuse(dir, BH_STORE_ERROR_FULL);
        g_assert_nonnull(strstr(why, "room"));
        /* With room the same place is good. */
        g_assert_true(small_disk(dir, "16m", MS_REMOUNT));
        BhStore *s = must_open(dir, NULL);
        must_ingest(s, 1, 30);
        assert_exactly(s, 30);
        bh_store_close(s);
        g_assert_cmpint(umount2(dir, MNT_DETACH), ==, 0);
}

/* ---- many at once */

static gpointer keep_reading(gpointer data) {
        Load *l = data;

        while (!g_atomic_int_get(&l->stop)) {
                g_autoptr(GError) error = NULL;
                BhStoreOverview o;
                guint64 position;

                /* Each look is of one moment: three messages come with each batch's ten of each kind. */
                g_assert_true(bh_store_overview(l->s, &o, &error));
                g_assert_cmpuint(o.findings, ==, o.containers);
                g_assert_true(bh_store_position(l->s, PUBLISHER, &position, &error));
                g_assert_cmpuint(position, >=, o.findings * 3);
                g_autoptr(BhStorePage) page = bh_store_containers(l->s, NULL, NULL, 20, &error);
                g_assert_no_error(error);
                g_assert_cmpuint(page->rows->len, <=, 20);
                l->rounds++;
        }
        return NULL;
}

static void readers_and_a_writer_do_not_hinder_each_other(void) {
        g_autoptr(TempDir) dir = temp_dir();
        Load w = { .s = must_open(dir, NULL) }, r[BH_STORE_READERS + 4];
        GThread *writer, *readers[G_N_ELEMENTS(r)];
        BhStoreStats stats;

        writer = g_thread_new("writer", keep_ingesting, &w);
        for (guint i = 0; i < G_N_ELEMENTS(r); i++) { /* more than there are connections */
                r[i] = (Load) { .s = w.s };
                readers[i] = g_thread_new("reader", keep_reading, &r[i]);
        }
        for (guint i = 0; i < 20; i++) {
                g_usleep(50000);
                g_assert_true(bh_store_node_set_status(w.s, NODE, "{}", i, NULL));
        }
        for (guint i = 0; i < G_N_ELEMENTS(r); i++) {
                g_atomic_int_set(&r[i].stop, 1);
                g_thread_join(readers[i]);
                g_assert_cmpuint(r[i].rounds, >, 0);
        }
        g_atomic_int_set(&w.stop, 1);
        g_thread_join(writer);
        assert_exactly(w.s, w.rounds * 30);
        g_assert_cmpuint(w.rounds, >, 5);
        bh_store_stats(w.s, &stats);
        g_assert_cmpuint(stats.failed, ==, 0);
        bh_store_close(w.s);
}

static void ingest_is_fast_enough(void) {
        g_autoptr(TempDir) dir = temp_dir();
        g_autoptr(BhStore) s = must_open(dir, NULL);
        gint64 begin = g_get_monotonic_time();

        for (guint64 seq = 0; seq < 30720; seq += 1024)
                must_ingest(s, seq + 1, seq + 1024);
        gint64 took = g_get_monotonic_time() - begin;
        g_test_message("%.0f messages/s in batches of 1,024", 30720.0 * G_USEC_PER_SEC / (double) took);
        g_assert_cmpint(took, <, 30 * G_USEC_PER_SEC); /* no measurement on a busy machine: a sign of life */
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        /* A place of our own for mounts, so that a test that dies leaves none. */
        own_mounts = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
        g_test_add_func("/store/faults/killed_in_mid_ingest_nothing_is_lost_or_doubled", killed_in_mid_ingest_nothing_is_lost_or_doubled);
        g_test_add_func("/store/faults/damage_is_answered_by_the_newest_sound_backup", damage_is_answered_by_the_newest_sound_backup);
        g_test_add_func("/store/faults/without_a_backup_damage_is_refused_and_nothing_touched", without_a_backup_damage_is_refused_and_nothing_touched);
        g_test_add_func("/store/faults/a_database_that_vanished_or_was_emptied_is_damage", a_database_that_vanished_or_was_emptied_is_damage);
        g_test_add_func("/store/faults/damage_at_random_places_never_empties_the_store", damage_at_random_places_never_empties_the_store);
        g_test_add_func("/store/faults/a_damaged_log_leaves_an_earlier_moment", a_damaged_log_leaves_an_earlier_moment);
        g_test_add_func("/store/faults/damage_met_in_use_is_mended_at_the_next_start", damage_met_in_use_is_mended_at_the_next_start);
        g_test_add_func("/store/faults/a_crash_while_restoring_is_made_good", a_crash_while_restoring_is_made_good);
        g_test_add_func("/store/faults/killed_in_the_first_start_it_begins_again", killed_in_the_first_start_it_begins_again);
        g_test_add_func("/store/faults/a_directory_may_be_reached_by_a_link", a_directory_may_be_reached_by_a_link);
        g_test_add_func("/store/faults/another_programs_database_is_left_alone", another_programs_database_is_left_alone);
        g_test_add_func("/store/faults/backups_rotate_and_restore_by_hand", backups_rotate_and_restore_by_hand);
        g_test_add_func("/store/faults/a_backup_under_load_is_of_one_moment", a_backup_under_load_is_of_one_moment);
        g_test_add_func("/store/faults/older_schemas_are_brought_up_step_by_step", older_schemas_are_brought_up_step_by_step);
        g_test_add_func("/store/faults/every_field_has_its_column", every_field_has_its_column);
        g_test_add_func("/store/faults/a_full_disk_loses_nothing_and_storing_goes_on", a_full_disk_loses_nothing_and_storing_goes_on);
        g_test_add_func("/store/faults/on_a_disk_that_was_full_what_is_old_can_be_deleted", on_a_disk_that_was_full_what_is_old_can_be_deleted);
        g_test_add_func("/store/faults/a_first_start_without_room_says_so", a_first_start_without_room_says_so);
        g_test_add_func("/store/faults/readers_and_a_writer_do_not_hinder_each_other", readers_and_a_writer_do_not_hinder_each_other);
        g_test_add_func("/store/faults/ingest_is_fast_enough", ingest_is_fast_enough);
        return g_test_run();
}
