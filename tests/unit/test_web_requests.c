/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "parse/web_trace.h"
#include "sensor/web_requests.h"

#define MS G_GINT64_CONSTANT(1000000)

static BhWebRequest *begin(BhWebRequests *t, guint32 pid, guint32 tid, gint64 ms, const char *bytes) {
        return bh_web_requests_begin(t, pid, tid, 7, ms * MS, bytes ? bh_web_trace_keep((const guint8 *) bytes, strlen(bytes)) : NULL);
}

static BhWebCause *cause(BhWebRequests *t, guint32 pid, guint32 tid, gint64 ms) {
        return bh_web_requests_cause(t, pid, tid, ms * MS);
}

/* n requests, among them (if r is given) that one, the join based on that. */
static void assert_cause(BhWebCause *c, guint n, BhWebRequest *r, BhWebBasis basis) {
        gboolean found = !r;

        g_assert_nonnull(c);
        g_assert_cmpuint(c->requests->len, ==, n);
        for (guint i = 0; i < n; i++)
                found |= c->requests->pdata[i] == r;
        g_assert_true(found);
        g_assert_cmpint(c->basis, ==, basis);
        bh_web_cause_free(c);
}

static void request_is_open_from_its_first_bytes_to_its_end(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *r = begin(t, 10, 10, 100, NULL);

        g_assert_null(cause(t, 10, 10, 99));
        assert_cause(cause(t, 10, 10, 100), 1, r, BH_WEB_BASIS_PROCESS);
        assert_cause(cause(t, 10, 11, 150), 1, r, BH_WEB_BASIS_PROCESS); /* another thread of it */
        g_assert_null(cause(t, 12, 12, 150));
        bh_web_requests_end(t, r, 200 * MS);
        assert_cause(cause(t, 10, 10, 200), 1, r, BH_WEB_BASIS_PROCESS);
        g_assert_null(cause(t, 10, 10, 201));
        bh_web_request_unref(r);
}

static void threads_and_loops_and_workers(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *all[51];

        /* threads: each reads its own */
        for (guint i = 0; i < 51; i++)
                all[i] = begin(t, 10, 100 + i, 10, NULL);
        assert_cause(cause(t, 10, 117, 20), 1, all[17], BH_WEB_BASIS_THREAD);
        /* a pool's thread that reads nothing */
        assert_cause(cause(t, 10, 10, 20), 51, all[0], BH_WEB_BASIS_OTHER);
        for (guint i = 0; i < 51; i++)
                bh_web_request_unref(all[i]);
        /* an event loop: one thread reads all */
        for (guint i = 0; i < 51; i++)
                all[i] = begin(t, 20, 20, 10, NULL);
        assert_cause(cause(t, 20, 20, 20), 51, all[50], BH_WEB_BASIS_OTHER);
        for (guint i = 0; i < 51; i++)
                bh_web_request_unref(all[i]);
        /* workers: a process each */
        for (guint i = 0; i < 51; i++)
                all[i] = begin(t, 1000 + i, 1000 + i, 10, NULL);
        assert_cause(cause(t, 1033, 1033, 20), 1, all[33], BH_WEB_BASIS_PROCESS);
        for (guint i = 0; i < 51; i++)
                bh_web_request_unref(all[i]);
}

/* Two threads take turns with one connection: what one has read of it hides nothing that the other has. */
static void connection_is_one_whoever_reads_it(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *first = begin(t, 10, 101, 10, NULL), *second = begin(t, 10, 102, 11, NULL), *other = begin(t, 10, 103, 12, NULL);

        first->connection = second->connection = 5;
        other->connection = 6;
        assert_cause(cause(t, 10, 102, 20), 2, first, BH_WEB_BASIS_OTHER);
        assert_cause(cause(t, 10, 103, 20), 1, other, BH_WEB_BASIS_THREAD);
        bh_web_request_unref(first);
        bh_web_request_unref(second);
        bh_web_request_unref(other);
}

/* One thread reads, another that has a request of its own carries out. */
static void bytes_tell_a_request_of_another_thread(void) {
        static const char attack[] = "GET /ping?host=127.0.0.1;cat+/etc/passwd HTTP/1.1\r\n\r\n";
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *own = begin(t, 10, 101, 10, "GET /harmless HTTP/1.1\r\n\r\n"), *of_other = begin(t, 10, 102, 11, attack);
        const char *did = "sh -c ping -c1 127.0.0.1;cat /etc/passwd";
        BhWebText text = { { did, (guint32) strlen(did) }, FALSE };
        g_autoptr(BhWebCause) c = cause(t, 10, 101, 20);

        g_assert_cmpuint(c->requests->len, ==, 1);
        g_assert_true(c->requests->pdata[0] == own);
        g_assert_true(bh_web_requests_narrow(t, c, 10, &text, 1));
        g_assert_cmpuint(c->requests->len, ==, 1);
        g_assert_true(c->requests->pdata[0] == of_other);
        g_assert_cmpint(c->basis, ==, BH_WEB_BASIS_BYTES);
        bh_web_request_unref(own);
        bh_web_request_unref(of_other);
}

/* Children that live for ever do not keep all requests that were open when they were made. */
static void what_children_keep_is_bounded(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequestsStats stats;

        for (guint i = 0; i < BH_WEB_CANDIDATES_MAX; i++)
                bh_web_request_unref(begin(t, 10, 10, 10, NULL));
        for (guint i = 0; i < 300; i++) {
                bh_web_requests_fork(t, 10, 10, 1000 + i, 20 * MS);
                assert_cause(cause(t, 1000 + i, 1000 + i, 30), BH_WEB_CANDIDATES_MAX, NULL, BH_WEB_BASIS_OTHER);
        }
        bh_web_requests_stats(t, &stats);
        g_assert_cmpuint(stats.pinned, ==, BH_WEB_PINNED_MAX);
        g_assert_cmpuint(stats.causes_refused, ==, 300 - BH_WEB_PINNED_MAX / BH_WEB_CANDIDATES_MAX);
        for (guint i = 0; i < 300; i++)
                bh_web_requests_exit(t, 1000 + i, 40 * MS);
        bh_web_requests_sweep(t, 40 * MS + BH_WEB_GONE_NS);
        bh_web_requests_stats(t, &stats);
        g_assert_cmpuint(stats.pinned, ==, 0);
}

static void children_are_due_to_what_was_open_when_they_were_made(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *a = begin(t, 10, 10, 100, NULL), *b;

        bh_web_requests_fork(t, 10, 10, 11, 110 * MS);
        bh_web_requests_end(t, a, 120 * MS);
        b = begin(t, 10, 10, 130, NULL);
        bh_web_requests_fork(t, 11, 11, 12, 140 * MS); /* of the first child, while the second request is served */
        bh_web_requests_fork(t, 10, 10, 13, 150 * MS);
        bh_web_requests_exit(t, 11, 155 * MS);
        assert_cause(cause(t, 12, 12, 5000), 1, a, BH_WEB_BASIS_PROCESS);
        assert_cause(cause(t, 13, 13, 5000), 1, b, BH_WEB_BASIS_PROCESS);
        g_assert_null(cause(t, 11, 11, 160)); /* it is gone */
        /* long after the requests are forgotten, a shell that was opened is still theirs */
        bh_web_requests_end(t, b, 160 * MS);
        bh_web_requests_sweep(t, 100000 * MS);
        assert_cause(cause(t, 12, 12, 100000), 1, a, BH_WEB_BASIS_PROCESS);
        /* the pid is another's */
        bh_web_requests_exit(t, 12, 100000 * MS);
        bh_web_requests_fork(t, 1, 1, 12, 100001 * MS);
        g_assert_null(cause(t, 12, 12, 100002));
        /* a child that serves requests of its own is a worker, not a consequence */
        bh_web_request_unref(begin(t, 13, 13, 100000, NULL));
        g_assert_null(cause(t, 13, 13, 99000));
        bh_web_request_unref(a);
        bh_web_request_unref(b);
}

static gboolean narrow(BhWebRequests *t, BhWebCause *c, guint32 pid, const char *text) {
        BhWebText s = { { text, (guint32) strlen(text) }, FALSE };

        return bh_web_requests_narrow(t, c, pid, &s, 1);
}

static void bytes_tell_one_of_many(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *attack = NULL;

        for (guint i = 0; i < 51; i++) {
                g_autofree char *plain = g_strdup_printf("GET /ping?host=127.0.0.%u HTTP/1.1\r\nHost: h\r\n\r\n", i);
                BhWebRequest *r = begin(t, 10, 10, 10, i == 31 ? "GET /ping?host=127.0.0.1%3bcat%20/etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n" : plain);

                if (i == 31)
                        attack = bh_web_request_ref(r);
                bh_web_request_unref(r);
        }
        bh_web_requests_fork(t, 10, 10, 11, 20 * MS);
        g_autoptr(BhWebCause) sh = cause(t, 11, 11, 21);
        g_assert_cmpuint(sh->requests->len, ==, 51);
        g_assert_true(narrow(t, sh, 11, "sh -c ping -c1 127.0.0.1;cat /etc/passwd"));
        g_assert_cmpuint(sh->requests->len, ==, 1);
        g_assert_true(sh->requests->pdata[0] == attack);
        /* what it does next, and its children, although nothing of the request is in that */
        bh_web_requests_fork(t, 11, 11, 12, 22 * MS);
        assert_cause(cause(t, 12, 12, 23), 1, attack, BH_WEB_BASIS_BYTES);
        assert_cause(cause(t, 11, 11, 23), 1, attack, BH_WEB_BASIS_BYTES);
        /* equal parts of two prove neither */
        g_autoptr(BhWebCause) other = cause(t, 10, 10, 30);
        g_assert_false(narrow(t, other, 10, "127.0.0."));
        g_assert_cmpuint(other->requests->len, ==, 51);
        bh_web_request_unref(attack);
}

static void bounds_hold(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequestsStats s;

        for (guint i = 0; i < BH_WEB_REQUESTS_WORKER + 5; i++)
                bh_web_request_unref(begin(t, 10, 10, i + 1, "GET / HTTP/1.1\r\n\r\n"));
        bh_web_requests_stats(t, &s);
        g_assert_cmpuint(s.requests, ==, BH_WEB_REQUESTS_WORKER);
        g_assert_cmpuint(s.forgotten, ==, 5);
        g_assert_cmpuint(s.bytes, ==, BH_WEB_REQUESTS_WORKER * strlen("GET / HTTP/1.1\r\n\r\n"));
        g_autoptr(BhWebCause) c = cause(t, 10, 10, 100000);
        g_assert_cmpuint(c->requests->len, ==, BH_WEB_CANDIDATES_MAX);
        g_assert_cmpuint(c->more, ==, BH_WEB_REQUESTS_WORKER - BH_WEB_CANDIDATES_MAX);
        g_assert_cmpint(((BhWebRequest *) c->requests->pdata[BH_WEB_CANDIDATES_MAX - 1])->begin_ns, ==, (BH_WEB_REQUESTS_WORKER + 5) * MS); /* the newest among them */
        for (guint i = 0; i < 2 * BH_WEB_REQUESTS_MAX / BH_WEB_REQUESTS_WORKER; i++)
                for (guint k = 0; k < BH_WEB_REQUESTS_WORKER; k++)
                        bh_web_request_unref(begin(t, 100 + i, 1, 1, NULL));
        bh_web_requests_stats(t, &s);
        g_assert_cmpuint(s.requests, ==, BH_WEB_REQUESTS_MAX);
        g_assert_cmpuint(s.refused, >, 0);
        for (guint i = 0; i < BH_WEB_FORKS_MAX + 100; i++)
                bh_web_requests_fork(t, 1 + i, 1, 1000000 + i, i);
        bh_web_requests_stats(t, &s);
        g_assert_cmpuint(s.forks, ==, BH_WEB_FORKS_MAX);
        g_assert_cmpuint(s.forks_forgotten, ==, 100);
        /* all goes when its time has come */
        for (guint i = 0; i < BH_WEB_FORKS_MAX + 100; i++)
                bh_web_requests_exit(t, 1000000 + i, 1);
        bh_web_requests_sweep(t, BH_WEB_OPEN_NS * 3);
        bh_web_requests_stats(t, &s);
        g_assert_true(!s.requests && !s.workers && !s.forks && !s.bytes);
}

/* Looking for what an act has of requests is work that whoever acts can make as much of as he likes. */
static void work_is_bounded(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        g_autofree char *body = g_strnfill(BH_WEB_TRACE_MAX, 'a');
        BhWebRequest *r = begin(t, 1, 1, 1, body);
        BhWebRequestsStats s = { 0 };
        gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

        g_assert_cmpuint(bh_web_requests_common(t, r, "aaaaaaaa", 8), ==, 8);
        while (!s.not_looked && g_get_monotonic_time() < until) {
                for (guint i = 0; i < 2 * BH_WEB_LOOK_SECOND / BH_WEB_TRACE_MAX; i++)
                        bh_web_requests_common(t, r, "bbbbbbbb", 8);
                bh_web_requests_stats(t, &s);
        }
        g_assert_cmpuint(s.not_looked, >, 0);
        /* a second later it goes on */
        while (!bh_web_requests_common(t, r, "aaaaaaaa", 8) && g_get_monotonic_time() < until)
                g_usleep(10000);
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        bh_web_request_unref(r);
}

/* What a request started is not forgotten because of many others that came and went since. */
static void what_ended_is_forgotten_first(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *r = begin(t, 1, 1, 1, NULL);

        bh_web_requests_fork(t, 1, 1, 2, 2 * MS);
        for (guint i = 0; i < 2 * BH_WEB_FORKS_MAX; i++) {
                bh_web_requests_fork(t, 2, 2, 1000 + i, 3 * MS);
                bh_web_requests_exit(t, 1000 + i, 4 * MS);
        }
        assert_cause(cause(t, 2, 2, 5), 1, r, BH_WEB_BASIS_PROCESS);
        bh_web_request_unref(r);
}

/* A chain of a hundred thousand children, each made by the one before, is let go of without recursion. */
static void long_chains_are_let_go(void) {
        g_autoptr(BhWebRequests) t = bh_web_requests_new();
        BhWebRequest *r = begin(t, 1, 1, 1, NULL);

        for (guint32 i = 1; i < 100000; i++) {
                bh_web_requests_fork(t, i, i, i + 1, (2 + i) * MS);
                if (i > 1)
                        bh_web_requests_exit(t, i, (3 + i) * MS);
        }
        assert_cause(cause(t, 100000, 100000, 200000), 1, r, BH_WEB_BASIS_PROCESS); /* however long */
        bh_web_requests_exit(t, 100000, 1);
        bh_web_request_unref(r);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/web_requests/request-is-open-from-its-first-bytes-to-its-end", request_is_open_from_its_first_bytes_to_its_end);
        g_test_add_func("/web_requests/threads-and-loops-and-workers", threads_and_loops_and_workers);
        g_test_add_func("/web_requests/children-are-due-to-what-was-open-when-they-were-made", children_are_due_to_what_was_open_when_they_were_made);
        g_test_add_func("/web_requests/bytes-tell-one-of-many", bytes_tell_one_of_many);
        g_test_add_func("/web_requests/connection-is-one-whoever-reads-it", connection_is_one_whoever_reads_it);
        g_test_add_func("/web_requests/bytes-tell-a-request-of-another-thread", bytes_tell_a_request_of_another_thread);
        g_test_add_func("/web_requests/what-children-keep-is-bounded", what_children_keep_is_bounded);
        g_test_add_func("/web_requests/bounds-hold", bounds_hold);
        g_test_add_func("/web_requests/work-is-bounded", work_is_bounded);
        g_test_add_func("/web_requests/what-ended-is-forgotten-first", what_ended_is_forgotten_first);
        g_test_add_func("/web_requests/long-chains-are-let-go", long_chains_are_let_go);
        return g_test_run();
}
