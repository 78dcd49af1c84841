/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <math.h>
#include <string.h>

#define NO_SLOT 0xffu
#define NO_ITEM 0xffffu

typedef struct {
        guint16 call;
        guint32 windows; /* in which it was made */
        guint32 max;
        double sum, squares; /* of log(1 + count), over all windows */
        guint16 item[BH_CALLS_LEVELS];
} Slot;

struct BhCallModel {
        gboolean levels; /* items are kept */
        guint8 slot_of[BH_CALLS_NUMBERS]; /* index in `slots`, NO_SLOT */
        Slot *slots;
        guint n, room;
        guint32 *together; /* [a * (a - 1) / 2 + b], b < a: windows with both */
        guint32 *items;    /* windows with the item */
        guint n_items, item_room;
        guint8 *pairs;     /* a bit for each pair of items, triangular like `together` */
        guint64 windows, refused;
        guint64 pairs_once; /* pairs of calls that were together in one window only */
};

static gsize triangle(guint n) {
        return (gsize) n * (n - (n > 0)) / 2;
}

static gsize place(guint a, guint b) {
        return a > b ? triangle(a) + b : triangle(b) + a;
}

/* floor(log2(count + 1)) */
static guint level_of(guint32 count) {
        guint64 x = (guint64) count + 1;
        guint level = 63u - (guint) __builtin_clzll(x);

        return MIN(level, BH_CALLS_LEVELS - 1);
}

BhCallModel *bh_calls_new(gboolean levels) {
        BhCallModel *m = g_new0(BhCallModel, 1);

        m->levels = levels;
        memset(m->slot_of, NO_SLOT, sizeof(m->slot_of));
        return m;
}

void bh_calls_free(BhCallModel *m) {
        if (!m)
                return;
        g_free(m->slots);
        g_free(m->together);
        g_free(m->items);
        g_free(m->pairs);
        g_free(m);
}

static gpointer grown(gpointer at, gsize was, gsize is) {
        at = g_realloc(at, is);
        memset((char *) at + was, 0, is - was);
        return at;
}

static gsize bits(guint items) {
        return (triangle(items) + 7) / 8;
}

static void mark(BhCallModel *m, guint a, guint b) {
        gsize at = place(a, b);

        m->pairs[at / 8] |= (guint8) (1u << (at % 8));
}

static gboolean marked(const BhCallModel *m, guint a, guint b) {
        gsize at = place(a, b);

        return m->pairs[at / 8] >> (at % 8) & 1;
}

/* The item of a slot's level, made if need be; NO_ITEM beyond the bound. */
static guint item_of(BhCallModel *m, Slot *s, guint level) {
        if (s->item[level] != NO_ITEM || m->n_items == BH_CALLS_ITEMS)
                return s->item[level];
        if (m->n_items == m->item_room) {
                guint room = m->item_room ? MIN(m->item_room * 3 / 2, BH_CALLS_ITEMS) : 64;

                m->items = grown(m->items, m->item_room * sizeof(guint32), room * sizeof(guint32));
                m->pairs = grown(m->pairs, bits(m->item_room), bits(room));
                m->item_room = room;
        }
        return s->item[level] = (guint16) m->n_items++;
}

static Slot *slot_of(const BhCallModel *m, guint16 call) {
        guint i = call < BH_CALLS_NUMBERS ? m->slot_of[call] : NO_SLOT;

        return i == NO_SLOT ? NULL : &m->slots[i];
}

/* NULL beyond the bound. */
static Slot *slot_made(BhCallModel *m, guint16 call) {
        Slot *s = slot_of(m, call);

        if (s || call >= BH_CALLS_NUMBERS || m->n == BH_CALLS_MAX)
                return s;
        if (m->n == m->room) {
                guint room = m->room ? MIN(m->room * 2, BH_CALLS_MAX) : 16;

                m->slots = grown(m->slots, m->room * sizeof(Slot), room * sizeof(Slot));
                m->together = grown(m->together, triangle(m->room) * sizeof(guint32), triangle(room) * sizeof(guint32));
                m->room = room;
        }
        m->slot_of[call] = (guint8) m->n;
        s = &m->slots[m->n++];
        s->call = call;
        memset(s->item, 0xff, sizeof(s->item));
        /* until now it was absent, beside whatever there was */
        if (m->windows && m->levels) {
                guint absent = item_of(m, s, 0);

                if (absent != NO_ITEM) {
                        m->items[absent] = (guint32) MIN(m->windows, G_MAXUINT32);
                        for (guint i = 0; i < m->n_items; i++)
                                if (i != absent)
                                        mark(m, i, absent);
                }
        }
        return s;
}

/* Items of all slots as they are in a window whose counts stand by slot; returns how many. */
static guint items_of(const BhCallModel *m, const guint32 *counts, guint16 *items) {
        guint n = 0;

        for (guint i = 0; i < m->n; i++) {
                guint16 item = m->slots[i].item[level_of(counts[i])];

                if (item != NO_ITEM)
                        items[n++] = item;
        }
        return n;
}

void bh_calls_learn(BhCallModel *m, const BhCallCount *window, guint n) {
        guint32 counts[BH_CALLS_MAX] = { 0 };
        guint16 items[BH_CALLS_MAX];
        guint8 present[BH_CALLS_MAX];
        guint n_present = 0, n_items;

        for (guint i = 0; i < n; i++) {
                Slot *s = window[i].count ? slot_made(m, window[i].call) : NULL;

                if (!s) {
                        m->refused += window[i].count > 0;
                        continue;
                }
                guint at = (guint) (s - m->slots);
                if (!counts[at])
                        present[n_present++] = (guint8) at;
                counts[at] = window[i].count;
        }
        m->windows++;
        for (guint i = 0; i < n_present; i++) {
                Slot *s = &m->slots[present[i]];
                double log_count = log1p(counts[present[i]]);

                s->windows++;
                s->max = MAX(s->max, counts[present[i]]);
                s->sum += log_count;
                s->squares += log_count * log_count;
                for (guint k = 0; k < i; k++) {
                        guint32 *t = &m->together[place(present[i], present[k])];

                        *t += *t < G_MAXUINT32;
                        m->pairs_once += *t == 1;
                        m->pairs_once -= *t == 2;
                }
        }
        if (!m->levels)
                return;
        for (guint i = 0; i < m->n; i++)
                if (item_of(m, &m->slots[i], level_of(counts[i])) == NO_ITEM)
                        m->refused++;
        n_items = items_of(m, counts, items);
        for (guint i = 0; i < n_items; i++) {
                m->items[items[i]] += m->items[items[i]] < G_MAXUINT32;
                for (guint k = 0; k < i; k++)
                        mark(m, items[i], items[k]);
        }
}

/* Keeps the greatest of each kind when there is no more room: the least of those of its kind goes. */
static void put(BhCallScore *out, BhCallEvidence e) {
        guint least = BH_CALLS_EVIDENCE, most_of_kind[4] = { 0 };

        if (out->n < BH_CALLS_EVIDENCE) {
                out->evidence[out->n++] = e;
                return;
        }
        for (guint i = 0; i < out->n; i++)
                most_of_kind[out->evidence[i].kind]++;
        for (guint i = 0; i < out->n; i++) {
                const BhCallEvidence *o = &out->evidence[i];
                /* a kind that has one place keeps it against the others */
                gboolean may = o->kind == e.kind || (!most_of_kind[e.kind] && most_of_kind[o->kind] > 1);

                if (may && (least == BH_CALLS_EVIDENCE || o->weight < out->evidence[least].weight))
                        least = i;
        }
        if (least < BH_CALLS_EVIDENCE && (out->evidence[least].kind != e.kind || out->evidence[least].weight < e.weight))
                out->evidence[least] = e;
}

static double spread_of(const BhCallModel *m, const Slot *s) {
        double mean = s->sum / (double) m->windows, variance = s->squares / (double) m->windows - mean * mean;

        return sqrt(MAX(variance, 0));
}

static void score_novelty(const BhCallModel *m, const BhCallCount *window, guint n, BhCallScore *out) {
        guint once = 0, never = 0;
        double heaviest = 0, each;

        for (guint i = 0; i < m->n; i++)
                once += m->slots[i].windows == 1;
        each = log((double) (m->windows + 1) / (once + 1));
        for (guint i = 0; i < n; i++) {
                const Slot *s = slot_of(m, window[i].call);

                if (!s) {
                        never++;
                        put(out, (BhCallEvidence){ .kind = BH_CALLS_NEVER, .a = window[i].call, .count_a = window[i].count, .weight = each });
                        continue;
                }
                for (guint k = 0; k < i; k++) {
                        const Slot *o = slot_of(m, window[k].call);
                        guint32 rarer;
                        double weight;

                        if (!o || m->together[place((guint) (s - m->slots), (guint) (o - m->slots))])
                                continue;
                        rarer = MIN(s->windows, o->windows);
                        weight = log(2.0 * (rarer + 1.0));
                        heaviest = MAX(heaviest, weight);
                        put(out, (BhCallEvidence){ BH_CALLS_PAIR, s->call, o->call, window[i].count, window[k].count, rarer, weight });
                }
        }
        out->novelty = heaviest + never * each;
}

static void score_excess(const BhCallModel *m, const BhCallCount *window, guint n, BhCallScore *out) {
        for (guint i = 0; i < n; i++) {
                const Slot *s = slot_of(m, window[i].call);
                double above = log1p(window[i].count) - (s ? log1p(s->max) : 0), weight = above / ((s ? spread_of(m, s) : 0) + 0.1);

                if (s && window[i].count > s->max)
                        put(out, (BhCallEvidence){ .kind = BH_CALLS_EXCESS, .a = s->call, .count_a = window[i].count, .expected = s->max, .weight = weight });
                out->excess = MAX(out->excess, weight);
        }
}

static void score_level(const BhCallModel *m, const BhCallCount *window, guint n, BhCallScore *out) {
        guint32 counts[BH_CALLS_MAX] = { 0 };
        guint16 item[BH_CALLS_MAX];

        for (guint i = 0; i < n; i++) {
                const Slot *s = slot_of(m, window[i].call);

                if (s)
                        counts[s - m->slots] = window[i].count;
        }
        for (guint i = 0; i < m->n; i++) {
                item[i] = m->slots[i].item[level_of(counts[i])];
                if (item[i] == NO_ITEM || m->items[item[i]] < BH_CALLS_LEVEL_MIN) {
                        item[i] = NO_ITEM;
                        continue;
                }
                for (guint k = 0; k < i; k++) {
                        guint32 rarer;
                        double weight;

                        if (item[k] == NO_ITEM || marked(m, item[i], item[k]))
                                continue;
                        rarer = MIN(m->items[item[i]], m->items[item[k]]);
                        weight = log(rarer + 1.0);
                        out->level += weight;
                        put(out, (BhCallEvidence){ BH_CALLS_LEVEL, m->slots[i].call, m->slots[k].call, counts[i], counts[k], rarer, weight });
                }
        }
}

void bh_calls_score(const BhCallModel *m, const BhCallCount *window, guint n, BhCallScore *out) {
        *out = (BhCallScore){ 0 };
        if (!m->windows)
                return;
        score_novelty(m, window, n, out);
        score_excess(m, window, n, out);
        if (m->levels)
                score_level(m, window, n, out);
}

guint64 bh_calls_windows(const BhCallModel *m) {
        return m->windows;
}

guint64 bh_calls_refused(const BhCallModel *m) {
        return m->refused;
}

gsize bh_calls_bytes(const BhCallModel *m) {
        return sizeof(*m) + m->room * sizeof(Slot) + triangle(m->room) * sizeof(guint32) + m->item_room * sizeof(guint32) + bits(m->item_room);
}

guint64 bh_calls_seen(const BhCallModel *m, guint16 call) {
        const Slot *s = slot_of(m, call);

        return s ? s->windows : 0;
}

double bh_calls_unseen(const BhCallModel *m, double *bound) {
        double once = (double) m->pairs_once;

        if (!m->windows) {
                if (bound)
                        *bound = 1;
                return 1;
        }
        for (guint i = 0; i < m->n; i++)
                once += m->slots[i].windows == 1;
        /* Poisson, by the normal approximation of its square root (Anscombe), exact enough from 0 on: 3.0 for none */
        if (bound)
                *bound = MIN(1, (once + 1.96 * sqrt(once + 0.75) + 1.3) / (double) m->windows);
        return MIN(1, once / (double) m->windows);
}

static int by_value(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

double bh_calls_limit(double *scores, gsize n, double q) {
        double at = q * (double) (n - (n > 0));
        gsize below = (gsize) at;

        if (!n)
                return 0;
        qsort(scores, n, sizeof(*scores), by_value);
        return below + 1 >= n ? scores[n - 1] : scores[below] + (scores[below + 1] - scores[below]) * (at - (double) below);
}

void bh_calls_limits(double *novelty, double *excess, double *level, gsize n, BhCallLimits *out) {
        out->novelty = bh_calls_limit(novelty, n, BH_CALLS_NOVELTY_QUANTILE);
        out->excess = bh_calls_limit(excess, n, BH_CALLS_EXCESS_QUANTILE);
        out->level = bh_calls_limit(level, n, BH_CALLS_LEVEL_QUANTILE);
}

gboolean bh_calls_is_alarm(const BhCallScore *score, const BhCallLimits *limits) {
        return score->novelty > limits->novelty || score->excess > limits->excess || score->level > limits->level;
}
