/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers "which events?": recorded ones, then live ones, for whoever asks and however it reads them. The control socket (control.c) and the
 * bus (requests.c) differ only in the question's form and in where the bytes go.
 *
 * A live part is subscribed to before the recorded part is read, so that nothing falls between; what is in both is given once. Runs in the
 * caller's thread and takes as long as the caller reads; the drain thread is never held up.
 */
#pragma once
#include "feed.h"

#define BH_ANSWER_BATCH_EVENTS 256u
#define BH_ANSWER_BATCH_BYTES (256u << 10)
#define BH_ANSWER_TAIL_BYTES (64u << 20) /* of the last `limit` events, kept until all have been seen */

typedef struct {
        BhFeedFilter filter;
        guint64 since_ns, until_ns; /* 0: no bound */
        guint64 limit;              /* the last so many recorded ones; 0: all */
        gboolean past, follow;      /* recorded ones; live ones */
} BhAnswerQuestion;

typedef struct {
        BhFeed *feed;
        const char *recorder_dir;
        void (*flush)(gpointer data); /* what happened until now is to be readable from the recorder */
        gpointer data;
} BhAnswerSource;

typedef struct {
        /*
         * Whole events in the form asked for, at most BH_ANSWER_BATCH_EVENTS and (but for one that is larger) BH_ANSWER_BATCH_BYTES; none of
         * them when only `dropped` is to be told: that many were left out before these. FALSE: nobody reads any more.
         */
        gboolean (*put)(const char *bytes, gsize len, guint64 dropped, gpointer data);
        /* Looked at while there is nothing to give. FALSE ends the answer. */
        gboolean (*alive)(gpointer data);
        gpointer data;
} BhAnswerSink;

/* TRUE when all was given or nobody reads any more; FALSE with *error when the recorder cannot be read. */
gboolean bh_answer_events(const BhAnswerSource *source, const BhAnswerQuestion *question, const BhAnswerSink *sink, GError **error);

/*
 * Sets the condition from its text (the language of rules, no macros and lists). FALSE with line:column and what is wrong. The caller unrefs filter->where.
 * Ancestors of the process are known to it for live events, and for recorded ones as far as the event has them.
 */
gboolean bh_answer_where(BhFeedFilter *filter, const char *condition, gsize len, GError **error);

/* Sets the kinds from their names. The name that is none, or NULL. */
const char *bh_answer_types(BhFeedFilter *filter, const char *const *names, gsize n);
