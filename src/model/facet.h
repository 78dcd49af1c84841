/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one version (image digest) of a workload was seen to do, and how much it has yet to show, family by family.
 *
 * A *trial* is one slot of time (10 s by default) of one running container. An item is counted by the slots of time in which it was seen, in however many containers at once: a job that all
 * replicas begin at the full hour was shown once, and not three times. By Good and Turing the expected number of
 * items that the next trial shows for the first time is q1 / trials, q1 being the items that exactly one trial has shown, q2 those that two have (Robbins 1968; Chao's
 * incidence-based form). Its error has the variance (q1 + 2 q2) / trials^2 (Esty 1983): the 95 % bound is the larger of q1 + 1.645 sqrt(q1 + 2 q2) and the upper
 * limit of a Poisson mean at q1, which holds where both are small, over the trials. Repeats within a slot are one, so that a burst is no evidence, and quiet time is
 * evidence, as it must be: a program that starts nothing for a week says something.
 *
 * What is only seen while a container begins is apart: it has one trial a start and is no part of q1. The first start that is seen is learned from. Of a family that is scored already (containers
 * ran before anybody looked) it is not: what is new in it is drift, to be looked at.
 *
 * A family is *scored* when the 95 % bound is below the scale's and the last doubling of trials brought nothing new; *enforceable* when fewer than 0.1 new items are to be
 * expected in a container-day, at the bound, after at least two starts. Of a version only its own trials count for that, and what was not known before. Too many items for the bound of memory: never either.
 *
 * Many items that differ only in the file name of an insensitive directory (BH_FACET_WILD of one program and operation) become one: "/var/lib/app/" "*" ".dat".
 * A program with so many different arguments has them counted no further, but for shells.
 *
 * Not thread-safe. Nothing fails: what is over a bound is counted.
 */
#pragma once
#include "model/act.h"

#define BH_FACET_WILD 32u      /* equal but for the last part: then they are one */
#define BH_FACET_REPLICAS 6u   /* different containers that are remembered of an item */
#define BH_FACET_CROWD 266u    /* 64 ln 64: no more are told apart */
#define BH_FACET_TEXT 1024u    /* bytes of one text of an item; longer ones are cut */
#define BH_FACET_BEFORE_DAYS 60.0 /* container-days of earlier versions that count beside what is new in one: with alert_day 0.1, four of a kind are told */
#define BH_FACET_SMALL 0.4    /* risk below which what is new says that more of the kind will come, see bh_facets_expected() */
#define BH_FACET_TRIALS 1e15   /* no more are told apart */
#define BH_FACET_ANY "*"       /* object of ARGS: any arguments */

typedef struct {
        double slot_ns;     /* a trial */
        double bound;       /* scored: expected new items a trial, at 95 % */
        double day_bound;   /* enforceable: the same a container-day */
        double alert_day;   /* of a kind of act of which more new is to be expected a container-day, a new one is no finding */
        gint64 starting_ns; /* how long a container begins */
        gint64 hold_ns;     /* how long new items wait for the other replicas */
        gint64 age_ns;      /* unused for so long: gone */
} BhModelScale;

/* 10 s, 1e-3, 0.1, 0.1, 60 s, 20 s, 90 days. */
extern const BhModelScale bh_model_scale_default;

enum {
        BH_ITEM_LEARNED = 1u << 0,
        BH_ITEM_ACCEPTED = 1u << 1,  /* by a person, or imported: does not age */
        BH_ITEM_FORBIDDEN = 1u << 2, /* by a person */
        BH_ITEM_INHERITED = 1u << 3, /* from the version before, and not seen in this one yet */
        BH_ITEM_STARTING = 1u << 4,  /* only seen while a container began */
        BH_ITEM_REFUSED = 1u << 5,   /* never to be learned by itself */
        BH_ITEM_HELD = 1u << 6,      /* waits for other replicas */
        BH_ITEM_DRIFT = 1u << 7,     /* most replicas of a version do it */
        BH_ITEM_NOVEL = 1u << 8,     /* an anomaly */
        BH_ITEM_WILD = 1u << 9,      /* stands for many */
        BH_ITEM_QUIET = 1u << 10,    /* new, and not told: see bh_model_observe() */
        BH_ITEM_BEFORE = 1u << 11,   /* known before this version's trials began: its being seen is nothing new of them. Stays when it is seen */
};

/* Read-only for others. */
typedef struct {
        guint64 hash, count;
        gint64 first_ns, last_ns, slot; /* slot: of the last trial */
        guint64 replica_bits; /* a bit by hash for each replica that showed it: how many, where they are more than `replicas` holds */
        guint32 replicas[BH_FACET_REPLICAS];
        guint32 units; /* trials, with those of versions before; stops at G_MAXUINT16 */
        guint32 uid;
        guint16 flags;
        guint8 family, n_replicas;
        const char *actor, *object, *detail, *example, *why; /* behind the struct; example and why "" for what was learned */
} BhItem;

typedef struct {
        guint items, learned; /* learned: what is normal */
        guint accepted;       /* of those, what people accepted or imported */
        guint singles, doubles; /* q1, q2, of what was not known before */
        guint64 acts;
        double before;        /* trials of earlier versions, which what is known of the family comes from as well */
        double fresh_at;      /* trials when the last new item came */
        guint64 over;         /* acts beyond the bound of memory */
} BhFacet;

typedef struct BhFacets BhFacets;
struct BhFacets {
        GHashTable *items;
        BhFacet families[BH_FAMILIES];
        double trials;
        guint64 starts;
        gsize bytes;
};

BhFacets *bh_facets_new(void);
void bh_facets_free(BhFacets *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhFacets, bh_facets_free)

/* The item of this act, or the one that stands for it. NULL: new. */
BhItem *bh_facets_find(const BhFacets *f, const BhAct *a);
/* It was done again. */
void bh_facets_touch(BhFacets *f, BhItem *item, const BhAct *a, const BhModelScale *scale);
/* A new one with these flags; `room` bytes are left (NULL: over the bound, counted). May return one that stands for many, which is then new or known (*known). */
BhItem *bh_facets_add(BhFacets *f, const BhAct *a, guint flags, gsize room, const BhModelScale *scale, gboolean *known);
void bh_facets_remove(BhFacets *f, BhItem *item);
/* Changes its flags, and the family's numbers with it. */
void bh_facets_flag(BhFacets *f, BhItem *item, guint set, guint clear);
/* Copy of an item of another version; what it has waited for is its own. */
BhItem *bh_facets_inherit(BhFacets *f, const BhItem *from);
/* As read from a stored model: numbers are taken as they are. NULL: there already. */
BhItem *bh_facets_restore(BhFacets *f, const BhItem *like);
/*
 * How many replicas have shown it: exactly up to BH_FACET_REPLICAS, above that estimated by linear counting (Whang 1990) in 64 bits, with an error of some 10 % up to 150. BH_FACET_CROWD
 * when all bits are set: so many or more.
 */
guint bh_item_replicas(const BhItem *item);
/* One of the BH_FACET_REPLICAS that are remembered. */
gboolean bh_item_shown_by(const BhItem *item, guint64 replica);
/* The act that an item is. Borrowed. */
BhAct bh_item_act(const BhItem *item);

/*
 * How many new ones a container-day this act's kind is to be expected to show, at the 95 % bound that rare items give (Esty; no Poisson limit: a kind without any rare item is taken at its word). A kind
 * is what one program does in one family at one risk, of files also with one operation, of rates what is counted. Items that are new and not learned count where risk is small: then each says that more will come (but a
 * rate, whose steps are reached one after the other). A program that was itself started at one time or two counts as one more of each of its kinds, but for peers: it was seen too seldom for its silence to say much.
 *
 * A version goes on where the one before ended: what that has shown, in its time, says what this one is to be expected to show. What was not known before says more of the version itself, over no more time of others than
 * BH_FACET_BEFORE_DAYS: a version that has become various is told of a few times, and then only looked at, however long the others were quiet. The larger of both.
 */
double bh_facets_expected(const BhFacets *f, const BhAct *a, const BhModelScale *scale);

/* It is new, was not learned, and says that more of its kind will come. */
gboolean bh_item_says_more(const BhItem *item, double risk);

/* 95 % upper limit of what is expected of one more trial after so many. 1 for none. */
double bh_facet_upper(guint singles, guint doubles, double trials);
gboolean bh_facet_scored(const BhFacets *f, BhFamily family, const BhModelScale *scale);
gboolean bh_facet_enforceable(const BhFacets *f, BhFamily family, const BhModelScale *scale);
