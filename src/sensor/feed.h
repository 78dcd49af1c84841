/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live events to whoever listens: each subscriber has a filter and a bounded queue; what does not fit is dropped for that subscriber alone and
 * counted in its stream. The drain thread publishes and is never held up by a slow listener.
 *
 * Conditions together take at most one part in BH_FEED_SHARE of the publisher's time: who may look at events must not be able to make the sensor lose some. An event
 * for which no time is left is dropped for those subscribers that have a condition, and counted, whether it would have passed or not.
 *
 * Publishing from one thread; subscribers live in threads of their own. An event is encoded once for all of a form, and not at all when nobody
 * listens.
 */
#pragma once
#include "event/kinds.h"
#include "event/lineage.h"
#include "rules/engine.h"

#define BH_FEED_SHARE 5

typedef enum {
        BH_FEED_JSON, /* one JSON object and a newline */
        BH_FEED_TEXT, /* one line for people */
        BH_FEED_WIRE, /* u32 little-endian length and the protobuf message */
} BhFeedForm;

typedef struct {
        BhFeedForm form;
        guint64 types[BH_TYPE_WORDS];          /* all zero: every kind */
        char *container;                      /* name, id or beginning of the id; NULL: every container and the host */
        BhRuleEngine *where;                  /* a condition in the language of rules; NULL: none */
        guint64 max_bytes;                    /* of the queue; 0: 16 MiB */
} BhFeedFilter;

typedef struct BhFeed BhFeed;
typedef struct BhSubscriber BhSubscriber;

BhFeed *bh_feed_new(void);
void bh_feed_free(BhFeed *f);

/*
 * `changed` is called when a listener who asked for kinds by name came or went, in that listener's thread, before it hears or after it has heard anything.
 * Once, before there are listeners.
 */
void bh_feed_tell_kinds(BhFeed *f, void (*changed)(gpointer data), gpointer data);

/* The kinds that listeners asked for by name; who asked for every kind takes what there is. */
BhKinds bh_feed_kinds(BhFeed *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFeed, bh_feed_free)

/* Appends the event in that form. `wire` is its protobuf form, used for BH_FEED_WIRE only. */
void bh_feed_format(GString *out, BhFeedForm form, const struct bh_event *e, const guint8 *wire, guint32 wire_len);

/* Whether the event passes. `run`: the calling thread's; `lineage` may be NULL. */
gboolean bh_feed_matches(const BhFeedFilter *filter, const struct bh_event *e, BhRuleRun *run, const struct bh_lineage *lineage);

/* `wire` is the event's protobuf form, which the publisher has already; `lineage` for conditions that ask for ancestors, may be NULL. */
void bh_feed_publish(BhFeed *f, const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage);

/* Ends all streams: waiting subscribers get what is queued and then the end. */
void bh_feed_close(BhFeed *f);

/* *filter is copied; it takes a reference of `where`. */
BhSubscriber *bh_feed_subscribe(BhFeed *f, const BhFeedFilter *filter);
void bh_feed_unsubscribe(BhFeed *f, BhSubscriber *s);

/*
 * Waits up to `timeout_ms` for events and takes all that are queued, as ready bytes. *dropped is how many were dropped before these since the
 * last call. NULL when there was nothing in time; *ended then says whether the feed is closed.
 */
GBytes *bh_subscriber_take(BhSubscriber *s, int timeout_ms, guint64 *dropped, gboolean *ended);

/* Leaves out events with an id up to `id`, also queued ones. */
void bh_subscriber_after(BhSubscriber *s, guint64 id);

guint bh_feed_subscribers(BhFeed *f);
guint64 bh_feed_dropped(BhFeed *f);
