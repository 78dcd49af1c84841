/* SPDX-License-Identifier: Apache-2.0 */
/* The spool's thread of a publisher: commits what waits, deletes what is acknowledged, reads back what the window has room for. */
#include <string.h>

#include "bus/publisher_private.h"

/* Under the lock. */
static void disk_refused(BhBusPublisher *p, const GError *error) {
        p->stats.commit_errors++;
        g_strlcpy(p->disk_problem, error->message, sizeof(p->disk_problem));
        p->next_try_us = g_get_monotonic_time() + BH_BUS_RETRY_US;
        g_cond_broadcast(&p->space); /* nobody need wait for the disk now */
}

/* Under the lock. */
static void disk_took(BhBusPublisher *p) {
        *p->disk_problem = '\0';
        p->spool_last = bh_bus_spool_last(p->spool);
        p->spool_messages = bh_bus_spool_messages(p->spool);
        p->spool_bytes = bh_bus_spool_bytes(p->spool);
        p->spool_lost = bh_bus_spool_lost(p->spool);
        p->told = bh_bus_spool_told(p->spool);
}

/*
 * Under the lock, left over the calls of the disk. The file is beyond use: another takes its place, with the same id, so that what the subscriber
 * has of us stays known. What the window holds was in the file and goes back to the queue, before all that is younger.
 */
static void replace_damaged(BhBusPublisher *p) {
        g_autoptr(GError) error = NULL;
        g_autofree char *kept_as = NULL;
        guint64 spared = p->spool_acked, lost = 0;
        gboolean said = *p->disk_problem != '\0';

        for (GList *l = p->window.tail; l; l = l->prev) {
                BhBusMsg *m = l->data;

                if (!m->spooled)
                        continue;
                spared++;
                m->spooled = FALSE;
                g_queue_push_head(&p->fresh, bh_bus_msg_ref(m));
                p->fresh_bytes += bh_bus_msg_cost(m);
        }
        bh_bus_fresh_rewind(p);
        p->spool_last = 0;
        g_mutex_unlock(&p->lock);
        gboolean ok = bh_bus_spool_set_aside(p->spool, spared, &kept_as, &lost, &error);
        if (ok)
                bh_bus_publisher_notice(p, TRUE, "the spool was damaged and is kept as %s; a new one was begun; %" G_GUINT64_FORMAT " messages are lost",
                                        kept_as, lost);
        else if (!said)
                bh_bus_publisher_notice(p, TRUE, "%s", error->message);
        g_mutex_lock(&p->lock);
        p->spool_broken = !ok;
        if (!ok) {
                disk_refused(p, error);
                return;
        }
        p->stats.damaged++;
        p->deleted = 0;
        p->spool_acked = 0;
        p->stats.lost += lost;
        disk_took(p);
        bh_bus_window_load(p);
}

static gboolean commit_due(const BhBusPublisher *p, gint64 now) {
        const BhBusMsg *oldest = p->fresh.head ? p->fresh.head->data : NULL;

        if (oldest && (p->stop || p->flushing || p->fresh.length >= p->options.commit_messages ||
                       now >= oldest->at_us + (gint64) p->options.commit_ms * 1000))
                return TRUE;
        return p->lost_waiting && (p->stop || !oldest);
}

static gboolean delete_due(const BhBusPublisher *p, gint64 now) {
        return p->spool_messages && p->acked > p->deleted && (now >= p->next_delete_us || p->stop);
}

static gboolean tell_due(const BhBusPublisher *p, gint64 now) {
        return p->welcomed && !p->stop && p->told <= p->acked && (p->spool_lost || p->lost_waiting) && now >= p->next_tell_us;
}

static gboolean read_due(const BhBusPublisher *p) {
        /* In large steps, when half is free: a statement for each acknowledgement would be many. */
        return !p->stop && p->welcomed && !p->window_full && p->loaded < p->spool_last && p->window.length <= p->window_limit / 2 &&
               p->window_bytes <= p->window_bytes_limit / 2;
}

static GPtrArray *take_batch(const BhBusPublisher *p, guint64 *bytes) {
        GPtrArray *batch = g_ptr_array_new_with_free_func((GDestroyNotify) bh_bus_msg_unref);

        *bytes = 0;
        for (GList *l = p->fresh.head; l && batch->len < BH_BUS_MAX_COMMIT; l = l->next) {
                g_ptr_array_add(batch, bh_bus_msg_ref(l->data));
                *bytes += bh_bus_msg_cost(l->data);
        }
        return batch;
}

/* Under the lock, left over the transaction. */
static void commit(BhBusPublisher *p, gint64 now) {
        guint64 batch_bytes, acked_before = p->spool_acked;
        g_autoptr(GPtrArray) batch = take_batch(p, &batch_bytes);
        g_autoptr(GArray) lost = g_steal_pointer(&p->lost);
        g_autoptr(GError) error = NULL;
        BhBusCommitted done;
        gboolean damaged, had_problem = *p->disk_problem != '\0';
        guint64 lost_waiting = p->lost_waiting;

        p->lost = bh_bus_lost_new();
        p->lost_waiting = 0;
        /* A telling message is above all of the batch, so it must be all that waits: the number is the next one. */
        if (tell_due(p, now) && batch->len == p->fresh.length)
                p->hold = p->next_seq++;
        p->frozen = p->spool_messages + batch->len > p->options.spool_max_messages || p->spool_bytes + batch_bytes > p->options.spool_max_bytes;
        BhBusCommit c = {
                .add = (BhBusMsg **) batch->pdata, .n_add = batch->len, .acked = p->spool_messages && p->acked > p->deleted ? p->acked : 0,
                .protect = p->protect, .max_bytes = p->options.spool_max_bytes, .max_messages = p->options.spool_max_messages,
                .lost = lost, .tell_seq = p->hold,
        };
        g_mutex_unlock(&p->lock);
        gboolean ok = bh_bus_spool_commit(p->spool, &c, &done, &damaged, &error);
        if (!ok && !had_problem)
                bh_bus_publisher_notice(p, TRUE, "%s", error->message);
        else if (ok && had_problem)
                bh_bus_publisher_notice(p, FALSE, "the spool takes messages again");
        g_mutex_lock(&p->lock);
        p->hold = 0;
        p->frozen = FALSE;
        if (!ok) {
                for (guint i = 0; i < lost->len; i++)
                        bh_bus_lost_add(p->lost, &g_array_index(lost, BhBusLost, i));
                p->lost_waiting += lost_waiting;
                p->spool_broken = damaged;
                disk_refused(p, error);
                bh_bus_window_load(p);
                return;
        }
        p->stats.commits++;
        p->stats.lost += done.dropped;
        p->stats.lost_bytes += done.dropped_bytes;
        if (c.acked) {
                p->deleted = c.acked;
                p->shrink = TRUE;
                p->next_delete_us = now + BH_BUS_DELETE_US;
                p->spool_acked -= MIN(acked_before, p->spool_acked);
        }
        if (c.tell_seq)
                p->next_tell_us = now + BH_BUS_TELL_US;
        for (guint i = 0; i < batch->len; i++) {
                c.add[i]->spooled = TRUE;
                p->spool_acked += c.add[i]->seq <= p->acked;
        }
        disk_took(p);
        bh_bus_fresh_settle(p);
        bh_bus_window_load(p);
}

/* Under the lock, left over the reading. */
static void read_back(BhBusPublisher *p) {
        g_autoptr(GPtrArray) read = g_ptr_array_new_with_free_func((GDestroyNotify) bh_bus_msg_unref);
        g_autoptr(GError) error = NULL;
        guint64 generation = p->generation, after = p->loaded;
        guint room = p->window_limit - p->window.length;
        guint64 bytes = p->window_bytes_limit > p->window_bytes ? p->window_bytes_limit - p->window_bytes : 0;
        gboolean damaged, had_problem = *p->disk_problem != '\0';

        g_mutex_unlock(&p->lock);
        gboolean ok = bh_bus_spool_read(p->spool, after, room, bytes, read, &damaged, &error);
        if (!ok && !had_problem)
                bh_bus_publisher_notice(p, TRUE, "%s", error->message);
        g_mutex_lock(&p->lock);
        if (!ok) {
                p->spool_broken = damaged;
                disk_refused(p, error);
                return;
        }
        *p->disk_problem = '\0';
        if (p->generation != generation)
                return;
        if (!read->len)
                p->loaded = p->spool_last; /* the rest of the file is acknowledged, or was dropped */
        for (guint i = 0; i < read->len && !p->window_full; i++) {
                if (bh_bus_window_has_room(p, bh_bus_msg_cost(read->pdata[i])))
                        bh_bus_window_push(p, bh_bus_msg_ref(read->pdata[i]));
                else
                        p->window_full = TRUE;
        }
        bh_bus_fresh_rewind(p);
        bh_bus_window_load(p);
}

static void renew(BhBusPublisher *p) {
        g_autoptr(GError) error = NULL;
        gboolean damaged;

        g_mutex_unlock(&p->lock);
        gboolean ok = bh_bus_spool_renew_id(p->spool, &damaged, &error);
        g_mutex_lock(&p->lock);
        if (!ok) {
                p->spool_broken = damaged;
                disk_refused(p, error);
                return;
        }
        memcpy(p->id, bh_bus_spool_id(p->spool), sizeof(p->id));
        p->acked = p->deleted = p->spool_acked = 0; /* the numbers go on, but nobody has any of them under this name */
        bh_bus_window_reset(p, FALSE, 0);
        p->renew = FALSE;
        bh_bus_wake(p->wake);
}

/* When something is due that no signal announces; G_MAXINT64: nothing is. */
static gint64 next_due(const BhBusPublisher *p) {
        gint64 due = G_MAXINT64;

        if (p->fresh.head)
                due = ((BhBusMsg *) p->fresh.head->data)->at_us + (gint64) p->options.commit_ms * 1000;
        if (p->spool_messages && p->acked > p->deleted)
                due = MIN(due, p->next_delete_us);
        if (p->welcomed && p->told <= p->acked && (p->spool_lost || p->lost_waiting))
                due = MIN(due, p->next_tell_us);
        return due;
}

gpointer bh_bus_spool_main(gpointer publisher) {
        BhBusPublisher *p = publisher;
        guint tries = 0;

        g_mutex_lock(&p->lock);
        for (;;) {
                gint64 now = g_get_monotonic_time();
                gboolean refused = now < p->next_try_us;

                if (p->stop && (++tries > 100 || (*p->disk_problem && tries > 1)))
                        break; /* the last try was refused: what is only in memory is lost with us, as with a kill */
                if (p->spool_broken && (!refused || p->stop)) {
                        replace_damaged(p);
                } else if (refused && !p->stop) {
                        g_cond_wait_until(&p->work, &p->lock, p->next_try_us);
                } else if (p->renew) {
                        renew(p);
                } else if (read_due(p)) {
                        read_back(p);
                } else if (commit_due(p, now) || delete_due(p, now) || tell_due(p, now)) {
                        commit(p, now);
                } else if (p->stop) {
                        break;
                } else if (p->shrink) { /* when there is nothing else to do */
                        g_mutex_unlock(&p->lock);
                        p->shrink = bh_bus_spool_shrink(p->spool);
                        g_mutex_lock(&p->lock);
                } else {
                        gint64 due = next_due(p);

                        if (due == G_MAXINT64)
                                g_cond_wait(&p->work, &p->lock);
                        else
                                g_cond_wait_until(&p->work, &p->lock, due);
                }
        }
        g_mutex_unlock(&p->lock);
        return NULL;
}
