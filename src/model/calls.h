/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls of one executable of a workload, as counts in windows of 100 ms: what was learned, and how surprising a window is.
 *
 * Three scores, each of which sees something that the others do not:
 *
 *   novelty   calls that were never made, and pairs of calls that were never made within one window although the rarer of them was made often.
 *             A call never seen weighs log((n + 1) / (singletons + 1)): the Good-Turing estimate of how rarely anything new is to be expected. A pair never
 *             seen weighs log(2 (m + 1)), m windows of the rarer call: the surprise of its first time under the Krichevsky-Trofimov estimate. The heaviest pair
 *             counts, and the calls add up.
 *   excess    how far a call's logarithm of the count lies above the greatest learned, in standard deviations of that logarithm (plus 0.1)
 *   level     pairs of (call, power of two of its count; absent is a level too) that never were in one window although each of them was in BH_CALLS_LEVEL_MIN:
 *             proportions between calls that were always kept. log(m + 1) each, added up
 *
 * What score is an alarm is not for this module to guess: limits are quantiles of scores of windows that the model did not learn from (bh_calls_limit()).
 * Counts tell of neither paths nor queries: traversals and SQL injections that make a program do what it always does are for other facets.
 *
 * Memory: grows with the calls in use, bounded by BH_CALLS_MAX and BH_CALLS_ITEMS; what is beyond is not learned, and counted in `refused`. A typical service
 * (60 calls, 250 levels) takes 16 KiB, the bound is 80 KiB, without levels 42 KiB: bh_calls_bytes().
 *
 * Not thread-safe. Nothing fails. Windows are lists of (call, count) with counts above 0, each call once; call numbers are the caller's own.
 */
#pragma once
#include <glib.h>

#define BH_CALLS_MAX 128u   /* different calls of a model */
#define BH_CALLS_ITEMS 768u /* different (call, level) */
#define BH_CALLS_NUMBERS 1024u /* call numbers are below; others are counted as refused */
#define BH_CALLS_LEVELS 12u
#define BH_CALLS_LEVEL_MIN 30u
#define BH_CALLS_EVIDENCE 16u

/* What is an alarm: a score above this quantile of scores from outside. The greatest of a few thousand, but for excess, whose tail has freaks in it. */
#define BH_CALLS_NOVELTY_QUANTILE 1.0
#define BH_CALLS_EXCESS_QUANTILE 0.9995
#define BH_CALLS_LEVEL_QUANTILE 1.0

typedef struct {
        guint16 call;
        guint32 count;
} BhCallCount;

typedef enum {
        BH_CALLS_NEVER,  /* a was never made before */
        BH_CALLS_PAIR,   /* a and b were never made within one window */
        BH_CALLS_EXCESS, /* a was made more often in a window than ever */
        BH_CALLS_LEVEL,  /* a so often together with b so often (0: not at all) was never */
} BhCallEvidenceKind;

/* One thing that made a window surprising. */
typedef struct {
        BhCallEvidenceKind kind;
        guint16 a, b;
        guint32 count_a, count_b; /* observed in this window */
        guint32 expected;         /* EXCESS: the greatest learned; else in how many windows the rarer of both was */
        double weight;
} BhCallEvidence;

typedef struct {
        double novelty, excess, level;
        BhCallEvidence evidence[BH_CALLS_EVIDENCE]; /* those of the greatest weight of each kind are among them; no order */
        guint n;
} BhCallScore;

typedef struct BhCallModel BhCallModel;

/* levels FALSE: proportions are not learned and `level` stays 0; that is half of the memory at the bound, and more than half of the time. */
BhCallModel *bh_calls_new(gboolean levels);
/* NULL is allowed. */
void bh_calls_free(BhCallModel *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCallModel, bh_calls_free)

/* Adds a window. An empty one counts as well: the program was there and called nothing. */
void bh_calls_learn(BhCallModel *m, const BhCallCount *window, guint n);

/* How surprising a window is; learns nothing. A model that learned nothing finds nothing surprising. */
void bh_calls_score(const BhCallModel *m, const BhCallCount *window, guint n, BhCallScore *out);

guint64 bh_calls_windows(const BhCallModel *m);
/* Calls and counts beyond the bounds, each time that they were seen. */
guint64 bh_calls_refused(const BhCallModel *m);
gsize bh_calls_bytes(const BhCallModel *m);
/* In how many windows the call was. */
guint64 bh_calls_seen(const BhCallModel *m, guint16 call);

/*
 * Good-Turing: the probability that the next window has a call, or a pair of calls, that none had: singletons by windows; *bound is its upper 95 % bound (Poisson).
 * 1 before anything was learned.
 */
double bh_calls_unseen(const BhCallModel *m, double *bound);

typedef struct {
        double novelty, excess, level;
} BhCallLimits;

/* Sorts the three lists of n scores each. */
void bh_calls_limits(double *novelty, double *excess, double *level, gsize n, BhCallLimits *out);
gboolean bh_calls_is_alarm(const BhCallScore *score, const BhCallLimits *limits);

/* The quantile q (0 … 1) of scores of windows from outside what was learned, by linear interpolation; sorts them. 0 of none. */
double bh_calls_limit(double *scores, gsize n, double q);
