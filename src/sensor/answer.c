/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <string.h>

#include "event/codec.h"
#include "recorder/query.h"

typedef struct {
        const BhAnswerSink *sink;
        GString *bytes;
        guint events;
        guint64 dropped;
} Batch;

static gboolean put_batch(Batch *b) {
        gboolean ok = TRUE;

        if (b->bytes->len || b->dropped)
                ok = b->sink->put(b->bytes->str, b->bytes->len, b->dropped, b->sink->data);
        g_string_truncate(b->bytes, 0);
        b->events = 0;
        b->dropped = 0;
        return ok;
}

static gboolean add(Batch *b, const char *bytes, gsize len) {
        if ((b->events >= BH_ANSWER_BATCH_EVENTS || b->bytes->len + len > BH_ANSWER_BATCH_BYTES) && b->events && !put_batch(b))
                return FALSE;
        g_string_append_len(b->bytes, bytes, (gssize) len);
        b->events++;
        return TRUE;
}

/* The last `limit` events, until it is known that they are the last. */
typedef struct {
        GQueue events; /* GString */
        gsize bytes;
} Tail;

static void tail_add(Tail *t, Batch *b, const GString *event, guint64 limit) {
        g_queue_push_tail(&t->events, g_string_new_len(event->str, (gssize) event->len));
        t->bytes += event->len;
        while (t->events.length > limit || t->bytes > BH_ANSWER_TAIL_BYTES) {
                GString *first = g_queue_pop_head(&t->events);

                if (t->events.length + 1 <= limit)
                        b->dropped++;
                t->bytes -= first->len;
                g_string_free(first, TRUE);
        }
}

static gboolean tail_put(Tail *t, Batch *b) {
        gboolean ok = TRUE;

        for (GString *one; (one = g_queue_pop_head(&t->events)); g_string_free(one, TRUE))
                ok = ok && add(b, one->str, one->len);
        return ok;
}

/* *last becomes the highest id there. *gone: nobody reads any more. */
static gboolean past(const BhAnswerSource *source, const BhAnswerQuestion *q, Batch *b, guint64 *last, gboolean *gone, GError **error) {
        g_autoptr(GString) one = g_string_sized_new(4096);
        Tail tail = { 0 };
        g_autoptr(BhRuleRun) run = q->filter.where ? bh_rule_run_new() : NULL;
        BhRecord rec;
        guint n = 0;

        source->flush(source->data);

        g_autoptr(BhRecorderQuery) records = bh_recorder_query(source->recorder_dir, q->since_ns, q->until_ns, BH_RECORDER_ANY, 0, error);
        if (!records)
                return FALSE;
        g_queue_init(&tail.events);
        while (!*gone && bh_recorder_query_next(records, &rec)) {
                struct bh_event e;

                *last = MAX(*last, rec.seq);
                if (++n % 4096 == 0 && !b->sink->alive(b->sink->data))
                        *gone = TRUE;
                if (!bh_event_decode(&e, rec.data, rec.len, NULL) || !bh_feed_matches(&q->filter, &e, run, NULL))
                        continue;
                g_string_truncate(one, 0);
                bh_feed_format(one, q->filter.form, &e, rec.data, rec.len);
                if (q->limit)
                        tail_add(&tail, b, one, q->limit);
                else if (!add(b, one->str, one->len))
                        *gone = TRUE;
        }
        *gone = !tail_put(&tail, b) || *gone || !put_batch(b);
        return TRUE;
}

/* Events of one form lie one after the other: the length of the first. */
static gsize first_event(const char *bytes, gsize len, BhFeedForm form) {
        guint32 size;

        if (form != BH_FEED_WIRE) {
                const char *end = memchr(bytes, '\n', len);

                return end ? (gsize) (end - bytes) + 1 : len;
        }
        memcpy(&size, bytes, sizeof(size));
        return sizeof(size) + GUINT32_FROM_LE(size);
}

static void live(BhSubscriber *s, BhFeedForm form, Batch *b) {
        for (;;) {
                gboolean ended;
                g_autoptr(GBytes) bytes = bh_subscriber_take(s, 200, &b->dropped, &ended);
                gsize len = 0;
                const char *data = bytes ? g_bytes_get_data(bytes, &len) : NULL;

                while (len) {
                        gsize size = MIN(first_event(data, len, form), len);

                        if (!add(b, data, size))
                                return;
                        data += size;
                        len -= size;
                }
                if (!put_batch(b) || (!bytes && (ended || !b->sink->alive(b->sink->data))))
                        return;
        }
}

gboolean bh_answer_events(const BhAnswerSource *source, const BhAnswerQuestion *q, const BhAnswerSink *sink, GError **error) {
        BhSubscriber *s = q->follow ? bh_feed_subscribe(source->feed, &q->filter) : NULL;
        g_autoptr(GString) bytes = g_string_sized_new(65536);
        Batch b = { .sink = sink, .bytes = bytes };
        gboolean ok = TRUE, gone = FALSE;
        guint64 last = 0;

        if (q->past)
                ok = past(source, q, &b, &last, &gone, error);
        if (s && ok && !gone) {
                bh_subscriber_after(s, last);
                live(s, q->filter.form, &b);
        }
        if (s)
                bh_feed_unsubscribe(source->feed, s);
        return ok;
}

gboolean bh_answer_where(BhFeedFilter *filter, const char *condition, gsize len, GError **error) {
        BhCond *tree = bh_condition_parse(condition, len, error);

        return tree && (filter->where = bh_rule_engine_new_filter(tree, error));
}

const char *bh_answer_types(BhFeedFilter *filter, const char *const *names, gsize n) {
        for (gsize i = 0; i < n; i++) {
                int type = bh_event_type_from_name(names[i]);

                if (type < 0)
                        return names[i];
                filter->types[type / 64] |= 1ull << (type % 64);
        }
        return NULL;
}
