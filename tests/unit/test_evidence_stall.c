/* SPDX-License-Identifier: Apache-2.0 */
/* Workers of evidence that what they read holds up: others take their place, the end does not wait, and what comes back late touches nothing of the sensor. */
#include "sensor/evidence_private.h"

typedef struct {
        BhEvidence v;
        GMutex lock;
        GCond moved;
        gboolean open; /* those that are held up may go on */
        guint done;
} Case;

const char *bh_job_owner(const BhJob *j) {
        return j->container;
}

/* What "a" gave to read makes the reader wait. */
static void work(gpointer job, gpointer data) {
        BhJob *j = job;
        Case *c = data;

        if (bh_evidence_begin(&c->v, j)) {
                g_mutex_lock(&c->lock);
                while (g_str_equal(j->container, "a") && !c->open)
                        g_cond_wait(&c->moved, &c->lock);
                c->done++;
                g_cond_broadcast(&c->moved);
                g_mutex_unlock(&c->lock);
                bh_evidence_end(&c->v, j);
        }
        g_free(j->container);
        g_free(j);
}

static void push(Case *c, const char *container) {
        BhJob *j = g_new0(BhJob, 1);

        j->kind = BH_JOB_FILE;
        j->container = g_strdup(container);
        g_thread_pool_push(c->v.pool, j, NULL);
}

static guint running(Case *c) {
        g_mutex_lock(&c->v.lock);
        guint n = c->v.running->len;
        g_mutex_unlock(&c->v.lock);
        return n;
}

static void until_running(Case *c, guint wanted) {
        for (guint i = 0; running(c) != wanted; i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
        }
}

static void those_held_up_hold_up_nobody_else(void) {
        static Case *c; /* stays: who was left alone may still be on the way out of it */
        c = g_new0(Case, 1);
        BhEvidence *v = &c->v;

        g_mutex_init(&v->lock);
        g_cond_init(&v->moved);
        g_mutex_init(&c->lock);
        g_cond_init(&c->moved);
        v->running = g_ptr_array_new();
        v->pool = g_thread_pool_new(work, c, BH_EVIDENCE_THREADS, FALSE, NULL);
        push(c, "a");
        push(c, "a");
        until_running(c, 2);

        /* nobody is late yet, and then both are: what waits is read by others, but nothing more of theirs */
        g_mutex_lock(&v->lock);
        bh_evidence_watch_workers(v, g_get_monotonic_time());
        g_assert_cmpint(g_thread_pool_get_max_threads(v->pool), ==, 2);
        bh_evidence_watch_workers(v, g_get_monotonic_time() + BH_EVIDENCE_STALL_US + 1);
        g_assert_cmpint(g_thread_pool_get_max_threads(v->pool), ==, 4);
        g_mutex_unlock(&v->lock);
        push(c, "a");
        push(c, "b");
        g_mutex_lock(&c->lock);
        while (!c->done)
                g_cond_wait(&c->moved, &c->lock);
        g_mutex_unlock(&c->lock);
        until_running(c, 2);
        for (guint i = 0, refused = 0; !refused; i++) {
                g_assert_cmpuint(i, <, 60000);
                g_usleep(1000);
                g_mutex_lock(&v->lock);
                refused = (guint) v->refused_stalled;
                g_mutex_unlock(&v->lock);
        }

        /* the end */
        g_mutex_lock(&v->lock);
        v->stopping = TRUE;
        for (guint i = 0; i < v->running->len; i++)
                ((BhJob *) v->running->pdata[i])->begun_us -= 2 * BH_EVIDENCE_STALL_US;
        g_mutex_unlock(&v->lock);
        bh_evidence_end_workers(v);
        g_assert_true(v->abandoned);
        g_assert_null(v->pool);
        g_assert_null(bh_evidence_container(v, "a")); /* there is no table to ask */
        g_mutex_lock(&c->lock);
        c->open = TRUE;
        g_cond_broadcast(&c->moved);
        g_mutex_unlock(&c->lock);
        until_running(c, 0);
        g_ptr_array_unref(v->running);
}

/* The events around a finding are the sensor's own to read; what the container changed, which is looked at by the same job, is not. */
static void a_job_that_goes_on_with_a_diff_may_be_held_up(void) {
        g_autofree Case *c = g_new0(Case, 1);
        BhEvidence *v = &c->v;
        BhJob jobs[] = { { .kind = BH_JOB_WINDOW, .container = (char *) "a" }, { .kind = BH_JOB_WINDOW, .container = (char *) "a" }, { .kind = BH_JOB_WINDOW, .container = (char *) "b" } };

        g_mutex_init(&v->lock);
        v->running = g_ptr_array_new();
        v->pool = g_thread_pool_new(work, c, BH_EVIDENCE_THREADS, FALSE, NULL);
        for (guint i = 0; i < G_N_ELEMENTS(jobs); i++) {
                g_assert_true(bh_evidence_begin(v, &jobs[i]));
                jobs[i].begun_us -= 2 * BH_EVIDENCE_STALL_US;
        }
        bh_evidence_watch_workers(v, g_get_monotonic_time());
        g_assert_cmpuint(v->stalled, ==, 0);
        /* the time before is the window's */
        g_assert_true(bh_evidence_turn(v, &jobs[0], BH_JOB_DIFF));
        bh_evidence_watch_workers(v, g_get_monotonic_time());
        g_assert_cmpuint(v->stalled, ==, 0);
        bh_evidence_watch_workers(v, g_get_monotonic_time() + BH_EVIDENCE_STALL_US + G_USEC_PER_SEC);
        g_assert_cmpuint(v->stalled, ==, 1);
        g_assert_cmpint(g_thread_pool_get_max_threads(v->pool), ==, BH_EVIDENCE_THREADS + 1);
        /* no second one of the same container, but others' */
        g_assert_false(bh_evidence_turn(v, &jobs[1], BH_JOB_DIFF));
        g_assert_cmpuint(v->refused_stalled, ==, 1);
        g_assert_true(bh_evidence_turn(v, &jobs[2], BH_JOB_DIFF));
        for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
                bh_evidence_end(v, &jobs[i]);
        g_assert_cmpuint(v->running->len, ==, 0);
        g_thread_pool_free(v->pool, FALSE, TRUE);
        g_ptr_array_unref(v->running);
        g_mutex_clear(&v->lock);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/evidence_stall/those_held_up_hold_up_nobody_else", those_held_up_hold_up_nobody_else);
        g_test_add_func("/evidence_stall/a_job_that_goes_on_with_a_diff_may_be_held_up", a_job_that_goes_on_with_a_diff_may_be_held_up);
        return g_test_run();
}
