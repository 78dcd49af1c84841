/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's API, its queue and its window. See publisher_private.h for the order of things. */
#include <string.h>
#include <unistd.h>

#include "bus/publisher_private.h"

void bh_bus_publisher_options_init(BhBusPublisherOptions *options) {
        *options = (BhBusPublisherOptions) {
                .spool_max_bytes = 256u << 20,
                .spool_max_messages = 1000000,
                .queue_max_bytes = 32u << 20,
                .queue_max_messages = 16384,
                .wait_ms = 100,
                .commit_ms = 50,
                .commit_messages = 256,
                .window_messages = 1024,
                .window_bytes = 4u << 20,
                .stream_wait_ms = 60000,
                .ping_ms = 5000,
                .dead_ms = 15000,
                .backoff_min_ms = 50,
                .backoff_max_ms = 1000,
        };
}

static void options_normalise(BhBusPublisherOptions *o) {
        o->spool_max_bytes = CLAMP(o->spool_max_bytes, 64u << 10, (guint64) G_MAXINT64);
        o->spool_max_messages = CLAMP(o->spool_max_messages, 64, (guint64) G_MAXINT64);
        o->queue_max_bytes = MAX(o->queue_max_bytes, 64u << 10);
        o->queue_max_messages = MAX(o->queue_max_messages, 16);
        o->commit_ms = CLAMP(o->commit_ms, 1, 10000);
        o->commit_messages = CLAMP(o->commit_messages, 1, BH_BUS_MAX_COMMIT);
        o->window_messages = (guint) CLAMP(o->window_messages, 1, MIN(o->spool_max_messages / 4, 65536));
        o->window_bytes = CLAMP(o->window_bytes, 1, o->spool_max_bytes / 4);
        o->ping_ms = MAX(o->ping_ms, 10);
        o->dead_ms = MAX(o->dead_ms, 2 * o->ping_ms);
        o->backoff_min_ms = MAX(o->backoff_min_ms, 1);
        o->backoff_max_ms = MAX(o->backoff_max_ms, o->backoff_min_ms);
        o->node = o->version = NULL;
}

static void latest_free(gpointer data) {
        BhBusLatest *l = data;

        g_bytes_unref(l->body);
        g_free(l);
}

BhBusPublisher *bh_bus_publisher_new(const char *address, const char *spool_path, const BhBusPublisherOptions *options, BhBusSpoolFound *found,
                                     GError **error) {
        struct sockaddr_un parsed;
        BhBusSpoolFound here;
        BhBusPublisherOptions o = *options;

        if (!bh_bus_address_parse(address, &parsed, error))
                return NULL;
        options_normalise(&o);
        BhBusSpool *spool = bh_bus_spool_open(spool_path, o.window_messages, o.window_bytes, &here, error);
        if (!spool)
                return NULL;
        if (found)
                *found = here;

        BhBusPublisher *p = g_new0(BhBusPublisher, 1);
        p->address = parsed;
        p->options = o;
        p->node = options->node && bh_bus_name_valid(options->node, -1, TRUE) ? g_strdup(options->node) : bh_bus_host_name();
        p->version = g_strndup(options->version ? options->version : "", 64);
        p->wake = bh_bus_wake_new();
        p->spool = spool;
        g_mutex_init(&p->lock);
        g_cond_init(&p->work);
        g_cond_init(&p->space);
        g_cond_init(&p->flow);
        memcpy(p->id, bh_bus_spool_id(spool), sizeof(p->id));
        p->next_seq = bh_bus_spool_first_seq(spool);
        p->protect = bh_bus_spool_protect(spool);
        p->spool_last = bh_bus_spool_last(spool);
        p->spool_messages = bh_bus_spool_messages(spool);
        p->spool_bytes = bh_bus_spool_bytes(spool);
        p->spool_lost = bh_bus_spool_lost(spool);
        p->told = bh_bus_spool_told(spool);
        p->stats.damaged = *here.damaged_kept_as != '\0';
        p->window_limit = o.window_messages;
        p->window_bytes_limit = o.window_bytes;
        p->lost = bh_bus_lost_new();
        p->topics = g_hash_table_new(g_str_hash, g_str_equal);
        p->latest = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, latest_free);
        p->services = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        p->streams = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, (GDestroyNotify) bh_bus_stream_unref);
        return p;
}

void bh_bus_publisher_start(BhBusPublisher *p) {
        g_return_if_fail(!p->started);

        g_mutex_lock(&p->lock);
        p->started = TRUE;
        g_mutex_unlock(&p->lock);
        p->spool_thread = g_thread_new("bh-bus-spool", bh_bus_spool_main, p);
        p->net_thread = g_thread_new("bh-bus-net", bh_bus_net_main, p);
}

void bh_bus_publisher_free(BhBusPublisher *p) {
        if (!p)
                return;
        g_mutex_lock(&p->lock);
        p->stop = TRUE;
        g_cond_broadcast(&p->work);
        g_cond_broadcast(&p->space);
        g_mutex_unlock(&p->lock);
        bh_bus_wake(p->wake);
        if (p->net_thread)
                g_thread_join(p->net_thread); /* which ends all streams */
        g_mutex_lock(&p->lock);
        while (p->handlers)
                g_cond_wait(&p->flow, &p->lock);
        g_mutex_unlock(&p->lock);
        if (p->spool_thread)
                g_thread_join(p->spool_thread);
        else
                bh_bus_spool_main(p); /* stop is set: writes what waits */

        g_assert(g_queue_is_empty(&p->window) && g_queue_is_empty(&p->pieces));
        g_queue_clear_full(&p->fresh, (GDestroyNotify) bh_bus_msg_unref);
        bh_bus_spool_free(p->spool);
        g_array_unref(p->lost);
        g_hash_table_unref(p->topics);
        g_hash_table_unref(p->latest);
        g_hash_table_unref(p->services);
        g_hash_table_unref(p->streams);
        close(p->wake);
        g_mutex_clear(&p->lock);
        g_cond_clear(&p->work);
        g_cond_clear(&p->space);
        g_cond_clear(&p->flow);
        g_free(p->node);
        g_free(p->version);
        g_free(p);
}

const char *bh_bus_publisher_node(const BhBusPublisher *p) {
        return p->node;
}

void bh_bus_publisher_notice(BhBusPublisher *p, gboolean trouble, const char *format, ...) {
        va_list ap;

        if (!p->options.notice)
                return;
        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        p->options.notice(trouble, text, p->options.notice_data);
}

/* ---- the window and the queue, under the lock */

void bh_bus_wake_net(BhBusPublisher *p) {
        if (p->net_sleeps) {
                p->net_sleeps = FALSE;
                bh_bus_wake(p->wake);
        }
}

gboolean bh_bus_window_has_room(const BhBusPublisher *p, gsize cost) {
        return p->welcomed && p->window.length < p->window_limit && (!p->window.length || p->window_bytes + cost <= p->window_bytes_limit);
}

void bh_bus_window_push(BhBusPublisher *p, BhBusMsg *m) {
        g_queue_push_tail(&p->window, m);
        p->window_bytes += bh_bus_msg_cost(m);
        p->loaded = m->seq;
        p->protect = MAX(p->protect, m->seq);
        if (!p->unsent)
                p->unsent = p->window.tail;
        bh_bus_wake_net(p);
}

void bh_bus_window_load(BhBusPublisher *p) {
        while (p->fresh_next && p->loaded >= p->spool_last) {
                BhBusMsg *m = p->fresh_next->data;

                if (p->frozen || (p->hold && m->seq > p->hold) || !bh_bus_window_has_room(p, bh_bus_msg_cost(m)))
                        return;
                p->fresh_next = p->fresh_next->next;
                bh_bus_window_push(p, bh_bus_msg_ref(m));
        }
}

void bh_bus_fresh_rewind(BhBusPublisher *p) {
        p->fresh_next = p->fresh.head;
        while (p->fresh_next && ((BhBusMsg *) p->fresh_next->data)->seq <= p->loaded)
                p->fresh_next = p->fresh_next->next;
}

void bh_bus_fresh_settle(BhBusPublisher *p) {
        for (GList *l; (l = p->fresh.head);) {
                BhBusMsg *m = l->data;

                if (!m->spooled && m->seq > p->acked)
                        break;
                if (p->fresh_next == l)
                        p->fresh_next = l->next;
                p->fresh_bytes -= bh_bus_msg_cost(m);
                g_queue_delete_link(&p->fresh, l);
                bh_bus_msg_unref(m);
        }
        if (p->fresh.length <= p->options.queue_max_messages / 2 && p->fresh_bytes <= p->options.queue_max_bytes / 2)
                p->stalled = FALSE;
        g_cond_broadcast(&p->space);
}

void bh_bus_window_acked(BhBusPublisher *p, guint64 seq) {
        for (BhBusMsg *m; p->window.head && p->window.head != p->unsent && (m = p->window.head->data)->seq <= seq;) {
                g_queue_pop_head(&p->window);
                p->window_bytes -= bh_bus_msg_cost(m);
                p->spool_acked += m->spooled;
                p->stats.acknowledged++;
                bh_bus_msg_unref(m);
        }
        if (seq > p->acked)
                p->acked = seq;
        p->window_full = FALSE;
        bh_bus_fresh_settle(p);
        bh_bus_window_load(p);
        g_cond_broadcast(&p->work);
}

void bh_bus_window_reset(BhBusPublisher *p, gboolean welcomed, guint64 acked) {
        g_queue_clear_full(&p->window, (GDestroyNotify) bh_bus_msg_unref);
        p->unsent = NULL;
        p->window_bytes = 0;
        p->window_full = FALSE;
        p->generation++;
        p->welcomed = welcomed;
        p->loaded = p->acked = acked;
        bh_bus_fresh_settle(p);
        bh_bus_fresh_rewind(p);
        bh_bus_window_load(p);
        g_cond_broadcast(&p->work);
}

/* ---- publishing */

static void lose(BhBusPublisher *p, const char *topic, BhBusLostReason reason, gsize bytes) {
        bh_bus_lost_add(p->lost, &(BhBusLost) { .topic = g_intern_string(topic), .reason = reason, .count = 1, .bytes = bytes });
        p->lost_waiting++;
        p->stats.lost++;
        p->stats.lost_bytes += bytes;
        if (p->lost_waiting == 1)
                g_cond_broadcast(&p->work);
}

/* Whether one more topic may be used. */
static gboolean topic_known(BhBusPublisher *p, const char *topic) {
        if (g_hash_table_contains(p->topics, topic))
                return TRUE;
        if (g_hash_table_size(p->topics) >= BH_BUS_MAX_TOPICS)
                return FALSE;
        g_hash_table_add(p->topics, (gpointer) g_intern_string(topic));
        return TRUE;
}

static gboolean queue_has_room(const BhBusPublisher *p, gsize cost) {
        return p->fresh.length < p->options.queue_max_messages && (!p->fresh.length || p->fresh_bytes + cost <= p->options.queue_max_bytes);
}

static gboolean wait_for_room(BhBusPublisher *p, gsize cost) {
        gint64 deadline = g_get_monotonic_time() + (gint64) p->options.wait_ms * 1000;

        while (!queue_has_room(p, cost)) {
                /* One wait for each time that it fills up: a publisher that waits for every message stands still. */
                if (p->stalled || p->stop || !p->started || *p->disk_problem || !g_cond_wait_until(&p->space, &p->lock, deadline)) {
                        p->stalled = TRUE;
                        return queue_has_room(p, cost);
                }
        }
        return TRUE;
}

guint64 bh_bus_publish(BhBusPublisher *p, const char *topic, GBytes *body) {
        gsize len = g_bytes_get_size(body);
        guint64 seq = 0;

        g_return_val_if_fail(bh_bus_name_valid(topic, -1, FALSE) && strcmp(topic, BH_BUS_TOPIC_LOST) != 0, 0);
        g_mutex_lock(&p->lock);
        if (!topic_known(p, topic)) {
                lose(p, "", BH_BUS_LOST_QUEUE_FULL, len);
        } else if (len > BH_BUS_MAX_BODY) {
                lose(p, topic, BH_BUS_LOST_TOO_LARGE, len);
        } else if (!wait_for_room(p, strlen(topic) + len)) {
                lose(p, topic, BH_BUS_LOST_QUEUE_FULL, len);
        } else {
                BhBusMsg *m = bh_bus_msg_new(seq = p->next_seq++, topic, body);

                g_queue_push_tail(&p->fresh, m);
                p->fresh_bytes += bh_bus_msg_cost(m);
                p->stats.published++;
                p->stats.published_bytes += len;
                if (!p->fresh_next)
                        p->fresh_next = p->fresh.tail;
                bh_bus_window_load(p);
                if (p->fresh.length == 1 || p->fresh.length == p->options.commit_messages)
                        g_cond_broadcast(&p->work);
        }
        g_mutex_unlock(&p->lock);
        return seq;
}

gboolean bh_bus_publish_latest(BhBusPublisher *p, const char *topic, GBytes *body) {
        gboolean ok = FALSE;

        g_return_val_if_fail(bh_bus_name_valid(topic, -1, FALSE) && strcmp(topic, BH_BUS_TOPIC_LOST) != 0, FALSE);
        g_mutex_lock(&p->lock);
        if (g_bytes_get_size(body) <= BH_BUS_MAX_LATEST && topic_known(p, topic)) {
                BhBusLatest *l = g_new(BhBusLatest, 1);

                *l = (BhBusLatest) { .body = g_bytes_ref(body), .dirty = TRUE };
                g_hash_table_replace(p->latest, (gpointer) g_intern_string(topic), l);
                p->latest_dirty = TRUE;
                bh_bus_wake_net(p);
                ok = TRUE;
        }
        g_mutex_unlock(&p->lock);
        return ok;
}

gboolean bh_bus_publisher_flush(BhBusPublisher *p, guint timeout_ms) {
        gint64 deadline = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
        gboolean done;

        g_mutex_lock(&p->lock);
        guint64 target = p->next_seq;
        p->flushing++;
        g_cond_broadcast(&p->work);
        for (;;) {
                done = g_queue_is_empty(&p->fresh) || ((BhBusMsg *) p->fresh.head->data)->seq >= target;
                if (done || p->stop || !g_cond_wait_until(&p->space, &p->lock, deadline))
                        break;
        }
        p->flushing--;
        g_mutex_unlock(&p->lock);
        return done;
}

void bh_bus_serve(BhBusPublisher *p, const char *request, BhBusHandler handler, gpointer data) {
        BhBusService *service = g_new(BhBusService, 1);

        g_return_if_fail(bh_bus_name_valid(request, -1, FALSE));
        *service = (BhBusService) { handler, data };
        g_mutex_lock(&p->lock);
        g_hash_table_replace(p->services, g_strdup(request), service);
        g_mutex_unlock(&p->lock);
}

void bh_bus_publisher_stats(BhBusPublisher *p, BhBusPublisherStats *out) {
        g_mutex_lock(&p->lock);
        p->stats.connected = p->welcomed;
        p->stats.queued = p->fresh.length;
        p->stats.queued_bytes = p->fresh_bytes;
        p->stats.spooled = p->spool_messages;
        p->stats.spooled_bytes = p->spool_bytes;
        p->stats.lost_pending = p->lost_waiting + p->spool_lost;
        p->stats.last_seq = p->next_seq - 1;
        p->stats.acked_seq = p->acked;
        g_strlcpy(p->stats.problem, *p->disk_problem ? p->disk_problem : p->net_problem, sizeof(p->stats.problem));
        *out = p->stats;
        g_mutex_unlock(&p->lock);
}
