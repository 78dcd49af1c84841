/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "inspect_env.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_WRITE)

static const guint8 query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07" "example\x03" "com\x00\x00\x01\x00\x01";

static int memfd_of(const void *bytes, gsize len, int seals) {
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        g_assert_true(bh_fd_write_all(fd, bytes, len, "memfd", NULL));
        g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
        return fd;
}

static int memfd_of_this_program(void) {
        g_autofree char *self = NULL;
        gsize len;

        g_assert_true(g_file_get_contents("/proc/self/exe", &self, &len, NULL));
        return memfd_of(self, len, SEALS);
}

/* ---- what is asked is answered */

static void each_kind_is_answered(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_autoptr(GError) error = NULL;
        static const char stream[] = "\0\x1d\x12\x34\x01\0\0\1\0\0\0\0\0\0\x07" "example\x03" "com\0\0\1\0\1more";
        g_autoptr(GBytes) dns = g_bytes_new_static(query, sizeof(query) - 1), tcp = g_bytes_new_static(stream, sizeof(stream) - 1);
        g_autoptr(GBytes) users = bytes_of("root:x:0:0:root:/root:/bin/sh\n"), groups = bytes_of("wheel:x:10:\n");
        g_auto(BhInspectAnswer) a = { 0 };

        g_assert_true(bh_inspect_ask(c, BH_INSPECT_DNS, dns, -1, 0, &a, &error));
        g_assert_cmpstr(a.dns->questions[0].name, ==, "example.com");
        g_assert_cmphex(a.dns->id, ==, 0x1234);
        bh_inspect_answer_clear(&a);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_DNS_TCP, tcp, -1, 0, &a, &error));
        g_assert_cmpstr(a.dns->questions[0].name, ==, "example.com");
        g_assert_cmpuint(a.dns->trailing, ==, 4);
        bh_inspect_answer_clear(&a);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_USERS, users, -1, 0, &a, &error));
        g_assert_cmpstr(bh_passwd_name(a.names, 0), ==, "root");
        bh_inspect_answer_clear(&a);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_GROUPS, groups, -1, 0, &a, &error));
        g_assert_cmpstr(bh_passwd_name(a.names, 10), ==, "wheel");
        bh_inspect_answer_clear(&a);

        g_auto(BhFd) file = memfd_of_this_program();
        g_autoptr(GByteArray) wanted = g_byte_array_new();
        bh_inspect_pack_wanted(wanted, &(BhElfWanted) { .names = (const char *[]) { "main" }, .n_names = 1 });
        g_autoptr(GBytes) body = g_bytes_new(wanted->data, wanted->len);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_ELF, body, file, 0, &a, &error));
        g_assert_nonnull(bh_elf_symbol(a.elf, "main"));
        g_assert_cmpuint(a.elf->n_needed, >, 0);
        bh_inspect_answer_clear(&a);
}

static void what_is_malformed_is_said_and_ends_nothing(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_autoptr(GBytes) rubbish = bytes_of("short"), none = g_bytes_new_static("\0\0\0\0\0\0\0\0", 8);
        g_auto(BhFd) text = memfd_of("#!/bin/sh\n", 10, SEALS), empty = memfd_of("", 0, SEALS);
        g_auto(BhInspectAnswer) a = { 0 };
        BhInspectStats stats;

        static const struct {
                guint kind;
                const char *why;
        } cases[] = { { BH_INSPECT_DNS, "12 to 65535" }, { BH_INSPECT_DNS_TCP, "12 to 65535" }, { BH_INSPECT_ELF, "not an ELF file" } };
        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;

                gboolean file = cases[i].kind == BH_INSPECT_ELF;

                g_assert_false(bh_inspect_ask(c, cases[i].kind, file ? none : rubbish, file ? text : -1, 0, &a, &error));
                g_assert_nonnull(strstr(error->message, cases[i].why));
        }
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_ELF, none, empty, 0, &a, NULL));
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_ELF, rubbish, text, 0, &a, NULL));
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpuint(stats.malformed, ==, 5);
        g_assert_cmpuint(stats.starts, ==, 1);
}

static void largest_request_and_answer_pass(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_autofree char *large = g_malloc(BH_INSPECT_REQUEST_MAX + 1);
        g_auto(BhInspectAnswer) a = { 0 };
        g_autoptr(GError) error = NULL;

        memset(large, 'x', BH_INSPECT_REQUEST_MAX + 1);
        g_autoptr(GBytes) most = g_bytes_new_static(large, BH_INSPECT_ANSWER_MAX), file = g_bytes_new_static(large, BH_INSPECT_REQUEST_MAX);
        g_autoptr(GBytes) more = g_bytes_new_static(large, BH_INSPECT_REQUEST_MAX + 1);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_PING, most, -1, 0, &a, &error));
        g_assert_cmpmem(a.body, a.len, large, BH_INSPECT_ANSWER_MAX);
        bh_inspect_answer_clear(&a);
        g_assert_true(bh_inspect_ask(c, BH_INSPECT_USERS, file, -1, 0, &a, &error));
        g_assert_cmpuint(bh_passwd_skipped(a.names), ==, 1);
        bh_inspect_answer_clear(&a);
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_USERS, more, -1, 0, &a, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN);
}

static void largest_file_is_taken(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_autoptr(GBytes) none = g_bytes_new_static("\0\0\0\0\0\0\0\0", 8);
        g_auto(BhInspectAnswer) a = { 0 };
        g_autoptr(GError) error = NULL;

        for (guint more = 0; more < 2; more++) {
                g_auto(BhFd) file = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

                /* mostly a hole */
                g_assert_cmpint(pwrite(file, "\x7f" "ELF\2\1\1", 7, 0), ==, 7);
                g_assert_cmpint(ftruncate(file, (off_t) (BH_INSPECT_FILE_MAX + more)), ==, 0);
                g_assert_cmpint(fcntl(file, F_ADD_SEALS, SEALS), ==, 0);
                g_assert_cmpint(bh_inspect_ask(c, BH_INSPECT_ELF, none, file, 0, &a, more ? NULL : &error), ==, !more);
                g_assert_no_error(error);
                bh_inspect_answer_clear(&a);
        }
}

static void requests_against_the_rules_are_not_taken(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_auto(BhFd) open_file = memfd_of("x", 1, F_SEAL_SHRINK), plain = open("/dev/null", O_RDONLY | O_CLOEXEC), sealed = memfd_of("x", 1, SEALS);
        g_autoptr(GBytes) none = g_bytes_new_static("\0\0\0\0\0\0\0\0", 8);
        g_auto(BhInspectAnswer) a = { 0 };
        BhInspectStats stats;

        g_assert_false(bh_inspect_ask(c, BH_INSPECT_ELF, none, open_file, 0, &a, NULL));
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_ELF, none, plain, 0, &a, NULL));
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_ELF, none, -1, 0, &a, NULL));
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_DNS, none, sealed, 0, &a, NULL));
        g_assert_false(bh_inspect_ask(c, BH_INSPECT_GREETING, none, -1, 0, &a, NULL));
        g_assert_false(bh_inspect_ask(c, 999, none, -1, 0, &a, NULL));
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpuint(stats.refused, ==, 6);
        g_assert_cmpuint(stats.submitted, ==, 0);
}

/* ---- counting answers of many requests */

typedef struct {
        GMutex lock;
        GCond changed;
        guint64 answers, ok, malformed, lost[BH_INSPECT_LOST_REASONS];
        guint64 last; /* place of the last one, to see the order */
        gboolean in_order;
        gint64 last_ok_us;
} Tally;

typedef struct {
        Tally *tally;
        guint64 place;
} Asked;

static void count(BhInspectAnswer *a, gpointer data) {
        Asked *asked = data;
        Tally *t = asked->tally;

        g_mutex_lock(&t->lock);
        t->answers++;
        if (a->status == BH_INSPECT_OK) {
                t->ok++;
                t->last_ok_us = g_get_monotonic_time();
                if (asked->place && asked->place < t->last)
                        t->in_order = FALSE;
                t->last = MAX(t->last, asked->place);
        } else if (a->status == BH_INSPECT_LOST) {
                g_assert_cmpstr(a->problem, !=, "");
                t->lost[a->lost]++;
        } else {
                t->malformed++;
        }
        g_cond_signal(&t->changed);
        g_mutex_unlock(&t->lock);
        g_free(asked);
}

static gboolean submit(BhInspectClient *c, Tally *t, guint kind, GBytes *body, int file, guint wait_ms, guint64 place) {
        Asked *asked = g_new(Asked, 1);

        *asked = (Asked) { t, place };
        if (bh_inspect_submit(c, kind, body, file, wait_ms, count, asked))
                return TRUE;
        g_free(asked);
        return FALSE;
}

static void wait_for(Tally *t, guint64 answers) {
        gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

        g_mutex_lock(&t->lock);
        while (t->answers < answers)
                if (!g_cond_wait_until(&t->changed, &t->lock, until))
                        g_error("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " answers came", t->answers, answers);
        g_mutex_unlock(&t->lock);
}

static guint64 lost_in_all(const guint64 lost[BH_INSPECT_LOST_REASONS]) {
        guint64 n = 0;

        for (guint i = 0; i < BH_INSPECT_LOST_REASONS; i++)
                n += lost[i];
        return n;
}

static void submit_all(BhInspectClient *c, Tally *t, GBytes *body, guint64 n) {
        for (guint64 i = 1; i <= n; i++)
                while (!submit(c, t, BH_INSPECT_DNS, body, -1, 60000, i))
                        g_usleep(200);
}

static void many_requests_are_answered_in_order(void) {
        const guint64 n = SANITIZER ? 10000 : 50000;
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_autoptr(GBytes) dns = g_bytes_new_static(query, sizeof(query) - 1);
        Tally t = { .in_order = TRUE };
        BhInspectStats stats;

        gint64 began = g_get_monotonic_time();
        submit_all(c, &t, dns, n);
        wait_for(&t, n);
        gint64 took = g_get_monotonic_time() - began;
        g_test_message("%" G_GUINT64_FORMAT " DNS requests a second, %" G_GUINT64_FORMAT " in all", n * G_USEC_PER_SEC / (guint64) MAX(took, 1), n);
        g_assert_true(t.in_order);
        g_assert_cmpuint(t.ok, ==, n);

        const guint rounds = 2000;
        began = g_get_monotonic_time();
        for (guint i = 0; i < rounds; i++) {
                g_auto(BhInspectAnswer) a = { 0 };

                g_assert_true(bh_inspect_ask(c, BH_INSPECT_DNS, dns, -1, 0, &a, NULL));
        }
        g_test_message("%.1f us for one request there and back", (double) (g_get_monotonic_time() - began) / rounds);
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpuint(stats.answered, ==, n + rounds);
        g_assert_cmpuint(stats.submitted, ==, n + rounds);
        g_assert_cmpuint(stats.starts, ==, 1);
        g_assert_cmpuint(stats.waiting + stats.sent, ==, 0);
}

/* ---- deaths */

typedef struct {
        BhInspectClient *client;
        Tally *tally;
        gboolean stop;
        guint64 accepted;
} Load;

static gpointer load(gpointer data) {
        Load *l = data;
        g_autoptr(GBytes) dns = g_bytes_new_static(query, sizeof(query) - 1), users = bytes_of("root:x:0:0:root:/root:/bin/sh\n");
        g_autoptr(GBytes) none = g_bytes_new_static("\0\0\0\0\0\0\0\0", 8);
        g_auto(BhFd) file = memfd_of_this_program();

        for (guint i = 0; !g_atomic_int_get(&l->stop); i++) {
                gboolean ok = i % 500 == 0 ? submit(l->client, l->tally, BH_INSPECT_ELF, none, file, 60000, 0)
                            : i % 10 == 0  ? submit(l->client, l->tally, BH_INSPECT_USERS, users, -1, 60000, 0)
                                           : submit(l->client, l->tally, BH_INSPECT_DNS, dns, -1, 60000, 0);

                if (ok)
                        l->accepted++;
                else
                        g_usleep(500);
        }
        return NULL;
}

static void wait_for_one_after(Tally *t, gint64 since_us, gint64 *took_us) {
        gint64 until = since_us + 10 * G_USEC_PER_SEC;

        g_mutex_lock(&t->lock);
        while (t->last_ok_us <= since_us)
                if (!g_cond_wait_until(&t->changed, &t->lock, until))
                        g_error("no answer for ten seconds after a kill");
        *took_us = t->last_ok_us - since_us;
        g_mutex_unlock(&t->lock);
}

static void kills_under_load_lose_only_what_is_counted(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        Tally t = { .in_order = TRUE };
        Load l = { .client = c, .tally = &t };
        GThread *thread = g_thread_new("load", load, &l);
        gint64 worst = 0;
        BhInspectStats stats;

        for (int i = 0; i < 20; i++) {
                gint64 took, dead = 0;
                pid_t pid = 0;

                g_usleep((gulong) g_random_int_range(1000, 60000));
                for (int tries = 0; !pid && tries < 5000; tries++) {
                        bh_inspect_client_stats(c, &stats);
                        pid = stats.ready ? stats.pid : 0;
                        g_usleep(pid ? 0 : 1000);
                }
                g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
                /* what the killed one had said already does not count: its successor must speak */
                do {
                        g_usleep(200);
                        bh_inspect_client_stats(c, &stats);
                } while (!stats.ready || stats.pid == pid);
                dead = g_get_monotonic_time();
                wait_for_one_after(&t, dead, &took);
                worst = MAX(worst, took);
        }
        g_atomic_int_set(&l.stop, TRUE);
        g_thread_join(thread);
        wait_for(&t, l.accepted);
        bh_inspect_client_stats(c, &stats);
        g_test_message("%" G_GUINT64_FORMAT " accepted, %" G_GUINT64_FORMAT " answered, %" G_GUINT64_FORMAT " lost in 20 kills; first answer after at most %" G_GINT64_FORMAT " ms",
                       l.accepted, t.ok, lost_in_all(t.lost), worst / 1000);
        g_assert_cmpuint(t.ok + lost_in_all(t.lost), ==, l.accepted);
        g_assert_cmpuint(t.answers, ==, l.accepted);
        g_assert_cmpuint(t.lost[BH_INSPECT_LOST_DIED], ==, stats.lost[BH_INSPECT_LOST_DIED]);
        g_assert_cmpuint(lost_in_all(stats.lost), <=, 20 * BH_INSPECT_WINDOW);
        g_assert_cmpuint(stats.submitted, ==, stats.answered + stats.malformed + lost_in_all(stats.lost));
        g_assert_cmpuint(stats.starts, ==, 21);
        g_assert_cmpint(worst, <, G_USEC_PER_SEC);
}

static void time_from_kill_to_answer_is_short(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        gint64 worst = 0;

        for (int i = 0; i < 8; i++) {
                gint64 began = g_get_monotonic_time();
                g_autofree char *problem = NULL;
                BhInspectStats stats;

                bh_inspect_client_stats(c, &stats);
                g_assert_cmpint(kill(stats.pid, SIGKILL), ==, 0);
                do {
                        g_clear_pointer(&problem, g_free);
                        problem = ping(c, "hello", NULL);
                } while (*problem);
                worst = MAX(worst, g_get_monotonic_time() - began);
        }
        g_test_message("%" G_GINT64_FORMAT " ms from the kill to an answer, at worst", worst / 1000);
        g_assert_cmpint(worst, <, G_USEC_PER_SEC);
}

static void misbehaviour_is_told_and_survived(void) {
        static const struct {
                const char *how, *why;
                BhInspectLostReason reason;
                guint kind;
        } cases[] = {
                { "crash", SANITIZER ? "ended with status" : "was killed by signal 11", BH_INSPECT_LOST_DIED, BH_INSPECT_PING },
                { "leave", "ended with status 7", BH_INSPECT_LOST_DIED, BH_INSPECT_PING },
                { "foreign answer", "said what no inspector says", BH_INSPECT_LOST_RUBBISH, BH_INSPECT_PING },
                { "unknown status", "said what no inspector says", BH_INSPECT_LOST_RUBBISH, BH_INSPECT_PING },
                { "long answer", "too long", BH_INSPECT_LOST_RUBBISH, BH_INSPECT_PING },
                { "false answer", "said what no inspector says", BH_INSPECT_LOST_RUBBISH, BH_INSPECT_DNS },
                { "hang", "did not answer a request of kind ping within", BH_INSPECT_LOST_HUNG, BH_INSPECT_PING },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_ATTACK);
                g_autoptr(GBytes) body = bytes_of(cases[i].how);
                g_auto(BhInspectAnswer) a = { 0 };
                g_autoptr(GError) error = NULL;
                g_autofree char *after = NULL;
                BhInspectStats stats;

                if (bh_inspect_ask(c, cases[i].kind, body, -1, 0, &a, &error))
                        g_error("%s: answered", cases[i].how);
                if (!strstr(error->message, cases[i].why))
                        g_error("%s: %s", cases[i].how, error->message);
                bh_inspect_client_stats(c, &stats);
                g_assert_cmpuint(stats.lost[cases[i].reason], ==, 1);
                g_assert_cmpuint(lost_in_all(stats.lost), ==, 1);
                after = ping(c, "hello", NULL);
                g_assert_cmpstr(after, ==, "");
        }
}

static void sentence_of_the_inspector_is_made_harmless(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_ATTACK);
        g_autofree char *problem = ping(c, "controls", NULL);

        g_assert_cmpstr(problem, ==, "?[31mred?[0m");
}

/* A stopped process uses no time: the clock must do. Waiting requests run out meanwhile, without blame. */
static void waiting_requests_expire(void) {
        g_autoptr(BhInspectClient) c = start_inspector(BH_INSPECT_PROGRAM);
        g_autoptr(GBytes) dns = g_bytes_new_static(query, sizeof(query) - 1);
        Tally t = { 0 };
        BhInspectStats stats;

        bh_inspect_client_stats(c, &stats);
        g_assert_cmpint(kill(stats.pid, SIGSTOP), ==, 0);
        for (guint i = 0; i < BH_INSPECT_WINDOW + 10; i++)
                g_assert_true(submit(c, &t, BH_INSPECT_DNS, dns, -1, 1000, 0));
        wait_for(&t, 10);
        g_assert_cmpuint(t.lost[BH_INSPECT_LOST_EXPIRED], ==, 10);
        g_assert_cmpint(kill(stats.pid, SIGCONT), ==, 0);
        wait_for(&t, BH_INSPECT_WINDOW + 10);
        g_assert_cmpuint(t.ok, ==, BH_INSPECT_WINDOW);
}

static void bounds_of_what_waits_hold(void) {
        BhInspectConfig config = { .program = BH_INSPECT_PROGRAM, .max_requests = 10, .max_bytes = 4000 };
        g_autoptr(BhInspectClient) c = bh_inspect_client_new(&config, NULL);
        g_autoptr(GBytes) dns = g_bytes_new_static(query, sizeof(query) - 1), none = g_bytes_new_static("\0\0\0\0\0\0\0\0", 8);
        g_autoptr(GBytes) kilo = g_bytes_new_take(g_malloc0(1000), 1000);
        g_auto(BhFd) file = memfd_of("x", 1, SEALS);
        guint taken = 0, files = 0;
        Tally t = { 0 };
        BhInspectStats stats;

        g_assert_true(bh_inspect_client_wait(c, 20000, NULL));
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpint(kill(stats.pid, SIGSTOP), ==, 0);
        /* until the window is full and then the queue */
        for (gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC; taken < BH_INSPECT_WINDOW + 10 && g_get_monotonic_time() < until;)
                taken += submit(c, &t, BH_INSPECT_DNS, dns, -1, 60000, 0);
        g_assert_cmpuint(taken, ==, BH_INSPECT_WINDOW + 10);
        g_assert_false(submit(c, &t, BH_INSPECT_DNS, dns, -1, 60000, 0));
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpuint(stats.waiting, ==, 10);
        g_assert_cmpuint(stats.sent, ==, BH_INSPECT_WINDOW);
        kill(stats.pid, SIGKILL);
        wait_for(&t, taken);
        g_assert_cmpuint(t.lost[BH_INSPECT_LOST_DIED], ==, BH_INSPECT_WINDOW);
        g_assert_cmpuint(t.ok, ==, 10);

        g_assert_true(bh_inspect_client_wait(c, 20000, NULL));
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpint(kill(stats.pid, SIGSTOP), ==, 0);
        for (int i = 0; i < 50; i++)
                files += submit(c, &t, BH_INSPECT_ELF, none, file, 60000, 0);
        g_assert_cmpuint(files, >=, BH_INSPECT_FILES_WAITING);
        g_assert_cmpuint(files, <=, BH_INSPECT_FILES_WAITING + BH_INSPECT_FILES_MAX);
        taken = 0;
        while (taken < 10 && submit(c, &t, BH_INSPECT_USERS, kilo, -1, 60000, 0))
                taken++;
        g_assert_cmpuint(taken, <, 10);
        kill(stats.pid, SIGCONT);
        wait_for(&t, BH_INSPECT_WINDOW + 10 + files + taken);
        g_assert_cmpuint(t.malformed, ==, files);
}

static void freeing_answers_everything(void) {
        Tally t = { 0 };
        g_autoptr(GBytes) dns = g_bytes_new_static(query, sizeof(query) - 1);
        BhInspectClient *c = start_inspector(BH_INSPECT_PROGRAM);
        BhInspectStats stats;

        bh_inspect_client_stats(c, &stats);
        g_assert_cmpint(kill(stats.pid, SIGSTOP), ==, 0);
        for (guint i = 0; i < 200; i++)
                g_assert_true(submit(c, &t, BH_INSPECT_DNS, dns, -1, 60000, 0));
        bh_inspect_client_free(c);
        g_assert_cmpuint(t.lost[BH_INSPECT_LOST_STOPPED], ==, 200);
        g_assert_cmpint(kill(stats.pid, 0), ==, -1);
        g_assert_cmpint(errno, ==, ESRCH);
}

/* ---- starting */

static void note(const char *problem, gpointer data) {
        g_atomic_int_inc((gint *) data);
}

static void program_that_cannot_start_is_told(void) {
        gint problems = 0;
        BhInspectConfig missing = { .program = "/nonexistent/bulkhead-inspect" }, wrong = { .program = "/bin/false", .on_problem = note, .data = &problems };
        g_autoptr(GError) error = NULL, later = NULL;
        g_autoptr(BhInspectClient) none = bh_inspect_client_new(&missing, &error), c = bh_inspect_client_new(&wrong, NULL);
        BhInspectStats stats;

        g_assert_null(none);
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        g_assert_false(bh_inspect_client_wait(c, 300, &later));
        g_assert_nonnull(strstr(later->message, "ended with status 1"));
        bh_inspect_client_stats(c, &stats);
        g_assert_cmpuint(stats.start_failures, >=, 2);
        /* 0, 10, 20, 40, 80, 160 ms: it is not started in a circle */
        g_assert_cmpuint(stats.starts, <=, 8);
        g_assert_cmpint(g_atomic_int_get(&problems), >=, 2);
}

static void shipped_program_refuses_to_be_started_by_hand(void) {
        g_autofree char *err = NULL;
        const char *argv[] = { BH_INSPECT_PROGRAM, NULL };
        int status;

        g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &err, &status, NULL));
        g_assert_cmpint(WEXITSTATUS(status), ==, 2);
        g_assert_nonnull(strstr(err, "not meant to be started by hand"));
}

/* A parent that is killed takes its inspector with it, even one that is busy. */
static void parent_that_dies_takes_it_along(void) {
        if (g_test_subprocess()) {
                BhInspectClient *c = start_inspector(BH_INSPECT_ATTACK);
                g_autoptr(GBytes) hang = bytes_of("hang");
                BhInspectStats stats;
                Tally t = { 0 };

                bh_inspect_client_stats(c, &stats);
                g_assert_true(submit(c, &t, BH_INSPECT_PING, hang, -1, 0, 0));
                do
                        bh_inspect_client_stats(c, &stats);
                while (!stats.sent);
                g_print("inspector=%d\n", (int) stats.pid);
                fflush(stdout);
                kill(getpid(), SIGKILL);
        }
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *out = NULL;
        const char *argv[] = { self, "-p", "/inspect_client/parent_that_dies_takes_it_along/subprocess/child", "--GTestSubprocess", "-q", NULL };
        g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &out, NULL, NULL, NULL));
        const char *found = strstr(out, "inspector=");
        g_assert_nonnull(found);
        pid_t pid = (pid_t) g_ascii_strtoll(found + 10, NULL, 10);
        g_assert_cmpint(pid, >, 1);
        for (int i = 0; i < 5000; i++) {
                g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid), *stat = NULL;

                /* gone, or a zombie that its new parent has not reaped */
                if (!g_file_get_contents(path, &stat, NULL, NULL) || strstr(stat, ") Z "))
                        return;
                g_usleep(1000);
        }
        g_error("the inspector %d outlives its parent", (int) pid);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/inspect_client/" #name, name)
        TEST(each_kind_is_answered);
        TEST(what_is_malformed_is_said_and_ends_nothing);
        TEST(largest_request_and_answer_pass);
        TEST(largest_file_is_taken);
        TEST(requests_against_the_rules_are_not_taken);
        TEST(many_requests_are_answered_in_order);
        TEST(kills_under_load_lose_only_what_is_counted);
        TEST(time_from_kill_to_answer_is_short);
        TEST(misbehaviour_is_told_and_survived);
        TEST(sentence_of_the_inspector_is_made_harmless);
        TEST(waiting_requests_expire);
        TEST(bounds_of_what_waits_hold);
        TEST(freeing_answers_everything);
        TEST(program_that_cannot_start_is_told);
        TEST(shipped_program_refuses_to_be_started_by_hand);
        TEST(parent_that_dies_takes_it_along);
#undef TEST
        g_test_add_func("/inspect_client/parent_that_dies_takes_it_along/subprocess/child", parent_that_dies_takes_it_along);
        return g_test_run();
}
