/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publisher and subscriber as processes of their own under load, killed at random moments. The subscriber keeps messages and position in one
 * transaction of SQLite, as the store does. A message is (incarnation of the publisher, number in it); what the publisher says is spooled must
 * arrive, nothing twice, nothing out of order.
 */
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>

#include "bus_env.h"

#define KILLS 20

/* ---- the subscriber's process */

static void must(sqlite3 *db, int rc, int expected) {
        if (rc != expected) {
                fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(db));
                _exit(10);
        }
}

static sqlite3 *open_store(const char *dir) {
        g_autofree char *path = g_build_filename(dir, "store.db", NULL);
        sqlite3 *db;

        must(NULL, sqlite3_open(path, &db), SQLITE_OK);
        sqlite3_busy_timeout(db, 5000);
        /* A killed process loses nothing that write(2) took: no need to wait for the disk here. */
        must(db, sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
                              "CREATE TABLE IF NOT EXISTS got (n INTEGER PRIMARY KEY, number INTEGER NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL);"
                              "CREATE TABLE IF NOT EXISTS position (id BLOB PRIMARY KEY, seq INTEGER NOT NULL);", NULL, NULL, NULL), SQLITE_OK);
        return db;
}

static gboolean store_position(const BhBusPeer *peer, guint64 *seq, gpointer db) {
        sqlite3_stmt *st;

        must(db, sqlite3_prepare_v2(db, "SELECT seq FROM position WHERE id = ?", -1, &st, NULL), SQLITE_OK);
        sqlite3_bind_blob(st, 1, peer->id, BH_BUS_ID_LEN, SQLITE_STATIC);
        *seq = sqlite3_step(st) == SQLITE_ROW ? (guint64) sqlite3_column_int64(st, 0) : 0;
        sqlite3_finalize(st);
        return TRUE;
}

static gboolean store_messages(const BhBusPeer *peer, const BhBusMessage *messages, guint n, gpointer db) {
        sqlite3_stmt *add, *position;

        must(db, sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
        must(db, sqlite3_prepare_v2(db, "INSERT INTO got (number, seq, topic) VALUES (?, ?, ?)", -1, &add, NULL), SQLITE_OK);
        must(db, sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO position (id, seq) VALUES (?, ?)", -1, &position, NULL), SQLITE_OK);
        for (guint i = 0; i < n; i++) {
                sqlite3_bind_int64(add, 1, strcmp(messages[i].topic, BH_BUS_TOPIC_LOST) == 0 ? 0 : (gint64) number_of(messages[i].body));
                sqlite3_bind_int64(add, 2, (gint64) messages[i].seq);
                sqlite3_bind_text(add, 3, messages[i].topic, -1, SQLITE_STATIC);
                must(db, sqlite3_step(add), SQLITE_DONE);
                sqlite3_reset(add);
        }
        sqlite3_bind_blob(position, 1, peer->id, BH_BUS_ID_LEN, SQLITE_STATIC);
        sqlite3_bind_int64(position, 2, (gint64) messages[n - 1].seq);
        must(db, sqlite3_step(position), SQLITE_DONE);
        sqlite3_finalize(add);
        sqlite3_finalize(position);
        must(db, sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
        return TRUE;
}

static G_GNUC_NORETURN void subscriber_process(const char *dir, int ready) {
        g_autofree char *address = address_in(dir);
        BhBusCallbacks callbacks = { .positions = store_position, .deliver = store_messages, .data = open_store(dir) };
        g_autoptr(GError) error = NULL;
        int fd = bh_bus_bind(address, &error);

        if (fd < 0 || !bh_bus_listen(fd, &callbacks, NULL, &error) || write(ready, "r", 1) != 1) {
                fprintf(stderr, "subscriber: %s\n", error ? error->message : "pipe");
                _exit(11);
        }
        for (;;)
                pause();
}

/* ---- the publisher's process */

/* Publishes until killed; writes how many are spooled or acknowledged for sure each time that it knows. `drain`: waits till all is gone. */
static G_GNUC_NORETURN void publisher_process(const char *dir, guint64 incarnation, gboolean drain, int told) {
        BhBusPublisherOptions options;

        bh_bus_publisher_options_init(&options);
        options.wait_ms = 60000; /* this load is more than any disk takes, and none of it may be lost */
        BhBusPublisher *p = publisher_with(dir, &options, NULL);
        bh_bus_publisher_start(p);
        if (drain) {
                for (BhBusPublisherStats st = stats_of(p); !st.connected || st.spooled; st = stats_of(p))
                        g_usleep(1000);
                _exit(0);
        }
        for (guint64 n = 1;; n++) {
                if (!publish(p, n % 2 ? "finding" : "observation", incarnation << 32 | n, n % 500))
                        _exit(12);
                if (g_random_int_range(0, 2000) == 0 && (!bh_bus_publisher_flush(p, 60000) || write(told, &n, sizeof(n)) != sizeof(n)))
                        _exit(13);
                while (stats_of(p).spooled > 20000) /* lets the test end in its time */
                        g_usleep(1000);
        }
}

/* ---- the test */

typedef struct {
        pid_t pid;
        int pipe;
} Child;

static Child start(const char *dir, guint64 incarnation, gboolean drain) {
        Child c;
        int fds[2];

        g_assert_cmpint(pipe(fds), ==, 0);
        c.pid = fork();
        g_assert_cmpint(c.pid, >=, 0);
        if (c.pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(fds[0]);
                if (incarnation)
                        publisher_process(dir, incarnation, drain, fds[1]);
                subscriber_process(dir, fds[1]);
        }
        close(fds[1]);
        c.pipe = fds[0];
        return c;
}

static void must_end(Child *c, int sig) {
        int status;

        if (sig)
                kill(c->pid, sig);
        g_assert_cmpint(waitpid(c->pid, &status, 0), ==, c->pid);
        if (sig)
                g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == sig);
        else
                g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The last number that the publisher said is safe, of what is in the pipe; with `wait`, waits for one. */
static void hear(Child *c, gboolean wait, guint64 *safe) {
        guint64 n;

        if (wait) {
                struct pollfd p = { .fd = c->pipe, .events = POLLIN };

                g_assert_cmpint(poll(&p, 1, DEADLINE_S * 1000), ==, 1);
                g_assert_cmpint(read(c->pipe, &n, sizeof(n)), ==, sizeof(n));
                *safe = n;
                return;
        }
        while (read(c->pipe, &n, sizeof(n)) == sizeof(n))
                *safe = n;
}

static gint64 ask_store(sqlite3 *db, const char *sql, gint64 argument) {
        sqlite3_stmt *st;

        must(db, sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
        sqlite3_bind_int64(st, 1, argument);
        must(db, sqlite3_step(st), SQLITE_ROW);
        gint64 n = sqlite3_column_int64(st, 0);
        sqlite3_finalize(st);
        return n;
}

static void killed_sides_lose_and_repeat_nothing(void) {
        g_autoptr(TempDir) dir = temp_dir();
        guint64 incarnation = 1, safe[2 * KILLS + 4] = { 0 };
        guint publisher_kills = 0, subscriber_kills = 0;
        Child subscriber = start(dir, 0, FALSE), publisher = start(dir, 1, FALSE);
        char ready;

        while (publisher_kills < KILLS || subscriber_kills < KILLS) {
                guint which = (guint) g_random_int_range(1, 4); /* one, the other, or both */

                if (publisher_kills >= KILLS)
                        which = 2;
                if (subscriber_kills >= KILLS)
                        which = 1;
                hear(&publisher, TRUE, &safe[incarnation]); /* it is at work */
                g_usleep((gulong) g_random_int_range(0, 80000));
                if (which & 1) {
                        must_end(&publisher, SIGKILL);
                        hear(&publisher, FALSE, &safe[incarnation]);
                        close(publisher.pipe);
                        publisher_kills++;
                }
                if (which & 2) {
                        must_end(&subscriber, SIGKILL);
                        close(subscriber.pipe);
                        subscriber_kills++;
                }
                if (which & 1)
                        publisher = start(dir, ++incarnation, FALSE);
                if (which & 2) {
                        if (g_random_boolean()) /* the spool fills up, and may have to outlive another publisher */
                                g_usleep((gulong) g_random_int_range(0, 60000));
                        if (publisher_kills < KILLS && g_random_boolean()) {
                                must_end(&publisher, SIGKILL);
                                hear(&publisher, FALSE, &safe[incarnation]);
                                close(publisher.pipe);
                                publisher_kills++;
                                publisher = start(dir, ++incarnation, FALSE);
                        }
                        subscriber = start(dir, 0, FALSE);
                }
        }
        must_end(&publisher, SIGKILL);
        hear(&publisher, FALSE, &safe[incarnation]);
        close(publisher.pipe);
        g_assert_cmpint(read(subscriber.pipe, &ready, 1), ==, 1);
        publisher = start(dir, incarnation + 1, TRUE);
        must_end(&publisher, 0);
        close(publisher.pipe);
        must_end(&subscriber, SIGKILL);
        close(subscriber.pipe);

        sqlite3 *db = open_store(dir);
        gint64 total = ask_store(db, "SELECT count(*) FROM got", 0);
        g_assert_cmpint(ask_store(db, "SELECT count(*) FROM got WHERE topic = 'lost'", 0), ==, 0);
        g_assert_cmpint(ask_store(db, "SELECT count(DISTINCT number) FROM got", 0), ==, total);
        g_assert_cmpint(ask_store(db, "SELECT count(*) FROM position", 0), ==, 1);
        g_assert_cmpint(ask_store(db, "SELECT count(*) FROM got AS a JOIN got AS b ON b.n = a.n + 1 WHERE b.number <= a.number OR b.seq <= a.seq", 0), ==, 0);
        guint64 all_safe = 0;
        for (guint64 i = 1; i <= incarnation; i++) {
                gint64 n = ask_store(db, "SELECT count(*) FROM got WHERE number >> 32 = ?", (gint64) i);
                gint64 highest = ask_store(db, "SELECT coalesce(max(number & 0xffffffff), 0) FROM got WHERE number >> 32 = ?", (gint64) i);

                g_assert_cmpint(n, ==, highest); /* without a gap */
                g_assert_cmpint(n, >=, (gint64) safe[i]);
                all_safe += safe[i];
        }
        sqlite3_close(db);
        g_test_message("%u and %u kills; %" G_GINT64_FORMAT " messages, %" G_GUINT64_FORMAT " of them known to be spooled before their publisher was killed",
                       publisher_kills, subscriber_kills, total, all_safe);
        g_assert_cmpuint(all_safe, >, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/bus/killed_sides_lose_and_repeat_nothing", killed_sides_lose_and_repeat_nothing);
        return g_test_run();
}
