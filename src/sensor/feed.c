/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include <string.h>
#include <time.h>

#include "event/codec.h"

#define QUEUE_DEFAULT (16u << 20)
#define CREDIT_NS (100 * 1000000ll) /* of the publisher's time, that conditions may take at once */

struct BhSubscriber {
        BhFeed *feed;
        BhFeedFilter filter;
        GByteArray *queue;
        GArray *marks; /* Mark of each queued event, until bh_subscriber_after() has been called */
        gboolean settled;
        guint64 dropped;
        GCond ready;
};

typedef struct {
        guint64 id;
        guint32 len;
} Mark;

struct BhFeed {
        GMutex lock;
        GPtrArray *subscribers;
        gint count; /* read without the lock to skip all work when nobody listens */
        guint64 dropped;
        gboolean closed;
        GString *form[3];
        BhRuleRun *run; /* the publisher's */
        gint64 credit_ns, credit_us; /* what conditions may still take, and since when */
        void (*changed)(gpointer data);
        gpointer data;
};

void bh_feed_tell_kinds(BhFeed *f, void (*changed)(gpointer data), gpointer data) {
        f->changed = changed;
        f->data = data;
}

BhKinds bh_feed_kinds(BhFeed *f) {
        BhKinds k = { 0 };

        g_mutex_lock(&f->lock);
        for (guint i = 0; i < f->subscribers->len; i++)
                for (guint w = 0; w < BH_TYPE_WORDS; w++)
                        k.of[w] |= ((BhSubscriber *) g_ptr_array_index(f->subscribers, i))->filter.types[w];
        g_mutex_unlock(&f->lock);
        return k;
}

/* Lock not held. */
static void tell_kinds(BhFeed *f, gboolean by_name) {
        if (by_name && f->changed)
                f->changed(f->data);
}

static gboolean by_name(const BhFeedFilter *filter) {
        for (guint i = 0; i < BH_TYPE_WORDS; i++)
                if (filter->types[i])
                        return TRUE;
        return FALSE;
}

BhFeed *bh_feed_new(void) {
        BhFeed *f = g_new0(BhFeed, 1);

        g_mutex_init(&f->lock);
        f->subscribers = g_ptr_array_new();
        f->run = bh_rule_run_new();
        f->credit_ns = CREDIT_NS;
        f->credit_us = g_get_monotonic_time();
        for (guint i = 0; i < G_N_ELEMENTS(f->form); i++)
                f->form[i] = g_string_sized_new(4096);
        return f;
}

void bh_feed_free(BhFeed *f) {
        if (!f)
                return;
        g_assert(!f->subscribers->len);
        g_ptr_array_unref(f->subscribers);
        bh_rule_run_free(f->run);
        for (guint i = 0; i < G_N_ELEMENTS(f->form); i++)
                g_string_free(f->form[i], TRUE);
        g_mutex_clear(&f->lock);
        g_free(f);
}

gboolean bh_feed_matches(const BhFeedFilter *filter, const struct bh_event *e, BhRuleRun *run, const struct bh_lineage *lineage) {
        const guint32 *matches;

        return bh_event_selected(e, filter->types, filter->container) && (!filter->where || bh_rule_run_event(run, filter->where, e, lineage, &matches) > 0);
}

void bh_feed_format(GString *out, BhFeedForm form, const struct bh_event *e, const guint8 *wire, guint32 wire_len) {
        guint32 head = GUINT32_TO_LE(wire_len);

        switch (form) {
        case BH_FEED_JSON:
                bh_event_to_json(e, out);
                g_string_append_c(out, '\n');
                break;
        case BH_FEED_TEXT:
                bh_event_to_text(e, out);
                g_string_append_c(out, '\n');
                break;
        case BH_FEED_WIRE:
                g_string_append_len(out, (const char *) &head, sizeof(head));
                g_string_append_len(out, (const char *) wire, wire_len);
                break;
        }
}

/* Time that this thread has worked, so that others' work on a busy machine is not held against a condition. */
static gint64 worked_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (gint64) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whoever may look at events may ask for a condition that takes long: it must not hold up the publisher, who would lose events for all. FALSE: no time is left for it. */
static gboolean matches(BhFeed *f, const BhFeedFilter *filter, const struct bh_event *e, const struct bh_lineage *lineage, gboolean *match) {
        if (!filter->where) {
                *match = bh_feed_matches(filter, e, f->run, lineage);
                return TRUE;
        }
        *match = FALSE;
        if (!bh_event_selected(e, filter->types, filter->container))
                return TRUE;

        gint64 now_us = g_get_monotonic_time(), begin;
        f->credit_ns = MIN(CREDIT_NS, f->credit_ns + (now_us - f->credit_us) * 1000 / BH_FEED_SHARE);
        f->credit_us = now_us;
        if (f->credit_ns <= 0)
                return FALSE;
        begin = worked_ns();
        *match = bh_feed_matches(filter, e, f->run, lineage);
        f->credit_ns -= worked_ns() - begin;
        return TRUE;
}

void bh_feed_publish(BhFeed *f, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage) {
        if (!g_atomic_int_get(&f->count))
                return;

        g_mutex_lock(&f->lock);
        for (guint i = 0; i < G_N_ELEMENTS(f->form); i++)
                g_string_truncate(f->form[i], 0);
        for (guint i = 0; i < f->subscribers->len; i++) {
                BhSubscriber *s = g_ptr_array_index(f->subscribers, i);
                GString *bytes = f->form[s->filter.form];
                gboolean match;

                if (!matches(f, &s->filter, e, lineage, &match)) {
                        s->dropped++;
                        f->dropped++;
                        continue;
                }
                if (!match)
                        continue;
                if (!bytes->len)
                        bh_feed_format(bytes, s->filter.form, e, wire, wire_len);
                if (s->queue->len + bytes->len > s->filter.max_bytes) {
                        s->dropped++;
                        f->dropped++;
                        continue;
                }
                g_byte_array_append(s->queue, (const guint8 *) bytes->str, (guint) bytes->len);
                if (!s->settled) {
                        Mark m = { e->id, (guint32) bytes->len };

                        g_array_append_val(s->marks, m);
                }
                g_cond_signal(&s->ready);
        }
        g_mutex_unlock(&f->lock);
}

void bh_subscriber_after(BhSubscriber *s, guint64 id) {
        guint drop = 0;

        g_mutex_lock(&s->feed->lock);
        for (guint i = 0; i < s->marks->len && g_array_index(s->marks, Mark, i).id <= id; i++)
                drop += g_array_index(s->marks, Mark, i).len;
        if (drop)
                g_byte_array_remove_range(s->queue, 0, drop);
        g_array_set_size(s->marks, 0);
        s->settled = TRUE;
        g_mutex_unlock(&s->feed->lock);
}

void bh_feed_close(BhFeed *f) {
        g_mutex_lock(&f->lock);
        f->closed = TRUE;
        for (guint i = 0; i < f->subscribers->len; i++)
                g_cond_signal(&((BhSubscriber *) g_ptr_array_index(f->subscribers, i))->ready);
        g_mutex_unlock(&f->lock);
}

BhSubscriber *bh_feed_subscribe(BhFeed *f, const BhFeedFilter *filter) {
        BhSubscriber *s = g_new0(BhSubscriber, 1);

        s->feed = f;
        s->filter = *filter;
        s->filter.container = g_strdup(filter->container);
        if (filter->where)
                bh_rule_engine_ref(filter->where);
        if (!s->filter.max_bytes)
                s->filter.max_bytes = QUEUE_DEFAULT;
        s->queue = g_byte_array_new();
        s->marks = g_array_new(FALSE, FALSE, sizeof(Mark));
        g_cond_init(&s->ready);
        g_mutex_lock(&f->lock);
        g_ptr_array_add(f->subscribers, s);
        g_atomic_int_inc(&f->count);
        g_mutex_unlock(&f->lock);
        tell_kinds(f, by_name(filter));
        return s;
}

void bh_feed_unsubscribe(BhFeed *f, BhSubscriber *s) {
        g_mutex_lock(&f->lock);
        g_ptr_array_remove(f->subscribers, s);
        g_atomic_int_add(&f->count, -1);
        g_mutex_unlock(&f->lock);
        tell_kinds(f, by_name(&s->filter));
        g_byte_array_unref(s->queue);
        g_array_unref(s->marks);
        g_cond_clear(&s->ready);
        g_free(s->filter.container);
        bh_rule_engine_unref(s->filter.where);
        g_free(s);
}

GBytes *bh_subscriber_take(BhSubscriber *s, int timeout_ms, guint64 *dropped, gboolean *ended) {
        BhFeed *f = s->feed;
        gint64 until = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
        GBytes *out = NULL;

        g_mutex_lock(&f->lock);
        while (!s->queue->len && !f->closed && g_cond_wait_until(&s->ready, &f->lock, until))
                ;
        *dropped = s->dropped;
        s->dropped = 0;
        *ended = f->closed;
        if (s->queue->len) {
                out = g_byte_array_free_to_bytes(s->queue);
                s->queue = g_byte_array_new();
        }
        g_mutex_unlock(&f->lock);
        return out;
}

guint bh_feed_subscribers(BhFeed *f) {
        return (guint) g_atomic_int_get(&f->count);
}

guint64 bh_feed_dropped(BhFeed *f) {
        g_mutex_lock(&f->lock);
        guint64 n = f->dropped;
        g_mutex_unlock(&f->lock);
        return n;
}
