/* SPDX-License-Identifier: Apache-2.0 */
/* Workers of evidence, and those that a file system of somebody's holds up. */
#include "base/log.h"
#include "evidence_private.h"

/* Whoever owns what is read can make the reader wait; what is the sensor's own is waited for. */
static gboolean may_stall(const BhJob *j) {
        return j->kind == BH_JOB_EXE || j->kind == BH_JOB_FILE || j->kind == BH_JOB_FD || j->kind == BH_JOB_HOLD || j->kind == BH_JOB_PROCESS || j->kind == BH_JOB_DIFF;
}

/* Under the lock: whether the job may be begun, as what it is. */
static gboolean may_begin(BhEvidence *v, BhJob *j) {
        gboolean go = TRUE;

        for (guint i = 0; may_stall(j) && i < v->running->len; i++) {
                const BhJob *other = v->running->pdata[i];

                go &= !other->stalled || !g_str_equal(bh_job_owner(other), bh_job_owner(j));
        }
        v->refused_stalled += !go;
        j->begun_us = g_get_monotonic_time();
        return go;
}

gboolean bh_evidence_begin(BhEvidence *v, BhJob *j) {
        g_mutex_lock(&v->lock);
        gboolean go = may_begin(v, j);
        if (go)
                g_ptr_array_add(v->running, j);
        g_mutex_unlock(&v->lock);
        return go;
}

gboolean bh_evidence_turn(BhEvidence *v, BhJob *j, BhJobKind kind) {
        g_mutex_lock(&v->lock);
        j->kind = kind;
        gboolean go = may_begin(v, j);
        g_mutex_unlock(&v->lock);
        return go;
}

void bh_evidence_end(BhEvidence *v, BhJob *j) {
        g_mutex_lock(&v->lock);
        g_ptr_array_remove_fast(v->running, j);
        if (v->stopping)
                g_cond_broadcast(&v->moved);
        g_mutex_unlock(&v->lock);
}

void bh_evidence_watch_workers(BhEvidence *v, gint64 now_us) {
        guint n = 0;

        for (guint i = 0; i < v->running->len; i++) {
                BhJob *j = v->running->pdata[i];

                j->stalled = may_stall(j) && now_us - j->begun_us > BH_EVIDENCE_STALL_US;
                n += j->stalled;
        }
        if (n != v->stalled)
                g_thread_pool_set_max_threads(v->pool, (gint) (BH_EVIDENCE_THREADS + MIN(n, BH_EVIDENCE_STALLED_MAX)), NULL);
        v->stalled = n;
}

void bh_evidence_end_workers(BhEvidence *v) {
        if (!v->pool)
                return;
        g_mutex_lock(&v->lock);
        for (;;) {
                guint waiting = g_thread_pool_unprocessed(v->pool);

                if (!v->running->len && !waiting)
                        break;
                bh_evidence_watch_workers(v, g_get_monotonic_time());
                if (v->running->len && v->running->len == v->stalled && (!waiting || v->stalled >= BH_EVIDENCE_THREADS + BH_EVIDENCE_STALLED_MAX))
                        break;
                g_cond_wait_until(&v->moved, &v->lock, g_get_monotonic_time() + G_USEC_PER_SEC / 10);
        }
        v->abandoned = v->running->len > 0;
        GThreadPool *pool = g_steal_pointer(&v->pool);
        g_mutex_unlock(&v->lock);
        if (v->abandoned)
                bh_warn("evidence that a file system holds up is given up");
        g_thread_pool_free(pool, v->abandoned, !v->abandoned);
}

BhContainer *bh_evidence_container(BhEvidence *v, const char *id) {
        g_mutex_lock(&v->lock);
        BhContainer *c = id && !v->abandoned ? bh_container_table_get(v->c.containers, id) : NULL;
        g_mutex_unlock(&v->lock);
        return c;
}
