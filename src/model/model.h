/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The behaviour model of a workload: one version for each image digest that it ran with, what each has learned, and what is to be made of each further act.
 *
 * The first version learns until a family has converged (facet.h) or a person locks it. A later one begins in the *shadow* of the one before: it takes over what that had learned,
 * and what is new in it waits for the other replicas (scale.hold_ns). What most of them do is *drift*, told once for the version and to be reviewed; what one does is an
 * anomaly. Acts of high risk do not wait. What is suspicious is never learned by itself, in no state; nothing is once a family is scored.
 *
 * A person may accept or forbid an item, lock a family or all, or let it learn anew.
 *
 * Memory: BH_MODEL_BYTES over all versions of a workload, of which the two latest are kept beside those that still run; items beyond are counted (BhFacet.over).
 *
 * Not thread-safe. Times are the acts' own, so that a replay judges as the living did.
 */
#pragma once
#include "model/facet.h"

#define BH_MODEL_PARAMETERS 256u /* items of this family in a version, */
#define BH_MODEL_PARAMETERS_OF_ONE 32u /* and of these of a program and "METHOD path": whoever invents names at one endpoint makes that one unknown, and not the family untrusted */
#define BH_MODEL_BYTES (256u << 10)
#define BH_MODEL_PENDING (48u << 10) /* of it, for what was not learned: a flood of anomalies takes no room from learning */
#define BH_MODEL_VERSIONS 4u
#define BH_MODEL_PLAIN 0.4 /* calls and names of no more risk say nothing of a program that is new itself, */
#define BH_MODEL_MIDDLE 0.7 /* nor files below this */
#define BH_MODEL_GRAVE 0.75 /* what has such a risk is told whatever was to be expected; of programs: BH_MODEL_HASTE */
#define BH_MODEL_STARTS 20u /* starts of a version, below which what is new in one is only kept */
#define BH_MODEL_HASTE 0.9 /* acts of such a risk do not wait for other replicas */

typedef enum { BH_MODEL_LEARNING, BH_MODEL_SHADOW, BH_MODEL_SCORED, BH_MODEL_ENFORCEABLE } BhModelState;
const char *bh_model_state_name(BhModelState state);

typedef struct {
        char *digest; /* "": not known */
        BhFacets *facets;
        gboolean shadow;              /* began with what another version had learned */
        guint32 locked;               /* by a person: bit by family */
        guint8 states[BH_FAMILIES];   /* BhModelState */
        guint running;                /* replicas now */
        gint64 first_ns, last_ns;
        guint drift;                  /* items that most replicas showed, not yet told */
        guint64 novel, refused, held; /* items, ever; novel: without those that were quiet */
} BhModelVersion;

typedef struct {
        char *application, *workload;
        GPtrArray *versions; /* BhModelVersion, the latest last */
        const BhModelScale *scale; /* borrowed */
        guint64 over;        /* acts beyond a bound */
        guint32 seen;        /* bit by family: some workload has shown such acts, so that silence says something. The caller's to set */
        gboolean dirty;      /* changed since it was stored; the caller's to clear */
} BhModel;

BhModel *bh_model_new(const char *application, const char *workload, const BhModelScale *scale);
void bh_model_free(BhModel *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhModel, bh_model_free)

BhModelVersion *bh_model_version(const BhModel *m, const char *digest); /* NULL: there is none; digest NULL: the latest */
gsize bh_model_bytes(const BhModel *m);

/* ---- acts */

typedef enum {
        BH_VERDICT_KNOWN,
        BH_VERDICT_LEARNED,
        BH_VERDICT_HELD,      /* new in a version that is in shadow, or in one of three replicas or more and not grave: bh_model_settle() decides */
        BH_VERDICT_DRIFT,     /* known to be drift */
        BH_VERDICT_REFUSED,   /* suspicious, and so not learned */
        BH_VERDICT_NOVEL,     /* an anomaly */
        BH_VERDICT_FORBIDDEN, /* by a person */
        BH_VERDICT_FULL,      /* new, and there was no room; of a scored family NOVEL is said, but for parameters of an endpoint that could not be learned whole */
} BhVerdictKind;

typedef struct {
        BhVerdictKind kind;
        BhModelVersion *version;
        BhItem *item;       /* NULL: none was kept */
        gboolean fresh;     /* the first time that this is said of the item */
        gboolean quiet;   /* NOVEL, kept, and no finding of its own: see bh_model_observe() */
        gboolean of_replica; /* the first time that this replica shows it */
        gboolean vouched; /* a person locked the family: whoever does says that it is complete */
        double risk, surprise; /* 0 … 1; natural logarithm of how seldom something new is to be expected */
} BhVerdict;

/*
 * Judges, and learns what is to be learned. What is new and not learned is NOVEL; of that the following is only kept (quiet), to be looked at with what is outstanding, as it would be told too often for
 * what it says:
 *   - what comes with a program that was told itself: its libraries, data, names and ordinary calls;
 *   - a file written that the same program is known, or was told, to create, and the other way round;
 *   - a shared library of the image that a program loads;
 *   - the removal of a file that the same program is known to create, in places that are emptied at a start (/run, /tmp);
 *   - what is below the budget: more new acts of the kind are to be expected a container-day than scale.alert_day (bh_facets_expected());
 *   - what shows in a container's first minute, as long as fewer than BH_MODEL_STARTS starts were seen; but for peers;
 *   - a rate one step above the most that was ever reached, which may be hardly more than that.
 * In a version's shadow, of three replicas or more, only the first and the last of these hold: there the others are the measure.
 * But for the first two, acts are never quiet of risk BH_MODEL_GRAVE or more (programs: BH_MODEL_HASTE), and what is refused or forbidden.
 */
BhVerdict bh_model_observe(BhModel *m, const char *digest, const BhAct *a);

/* So many replicas of the version have run for so long since last told. */
void bh_model_expose(BhModel *m, const char *digest, guint running, double container_ns);
/* One began. */
void bh_model_start(BhModel *m, const char *digest, gint64 now_ns);
/* Families that have converged by now are scored. TRUE: something changed. */
gboolean bh_model_converge(BhModel *m);
/*
 * Held items that have waited for long enough: decided is called for each with DRIFT or NOVEL. May be called at any time; cheap while nothing is held.
 */
void bh_model_settle(BhModel *m, gint64 now_ns, void (*decided)(BhModel *m, const BhVerdict *v, gpointer data), gpointer data);
/* Items that were not seen for scale.age_ns go, but for those that a person set. Returns how many. */
guint bh_model_age(BhModel *m, gint64 now_ns);

/* ---- people */

#define BH_MODEL_ALL 0xffffffffu
#define BH_MODEL_LATE_TRIALS 30 /* five minutes of one container */
/*
 * System calls, patterns and rates show late: they are looked at in turns, and added up over a minute. That they were not seen yet says nothing of a version that has hardly run, so a lock of these is
 * in force from BH_MODEL_LATE_TRIALS trials on; until then they are learned. Where a person accepted or imported some of the family, the lock is in force at once. A version that follows such a one learns them, too, as it has nothing to be judged by.
 */
void bh_model_lock(BhModel *m, BhModelVersion *v, guint32 families);
/* A lock is in force. */
gboolean bh_model_locked(const BhModelVersion *v, guint family);
/* Forgets what was learned and not set by a person, and begins to learn. */
void bh_model_relearn(BhModel *m, BhModelVersion *v, guint32 families);
/* FALSE: there is no such item. */
gboolean bh_model_accept(BhModel *m, BhModelVersion *v, guint64 item);
gboolean bh_model_forbid(BhModel *m, BhModelVersion *v, guint64 item);
/* All drift of the version; returns how many. */
guint bh_model_accept_drift(BhModel *m, BhModelVersion *v);
BhItem *bh_model_item(const BhModelVersion *v, guint64 item);

/* ---- in words */

/* 0 … 7 as priorities of findings go: critical 2 … notice 5. */
guint bh_verdict_priority(const BhVerdict *v);
/* What was seen and what was to be expected, one sentence or two. Caller frees. */
char *bh_verdict_say(const BhModel *m, const BhVerdict *v, const BhAct *a);
/* The drift of a version, one sentence. */
char *bh_model_say_drift(const BhModel *m, const BhModelVersion *v);

/* ---- kept (model_codec.c) */

GBytes *bh_model_pack(const BhModel *m);
/* Hostile bytes. NULL with a sentence. */
BhModel *bh_model_unpack(const void *data, gsize len, const BhModelScale *scale, GError **error);

/* ---- as text (model_text.c): JSON lines, sorted, for people to review */

char *bh_model_export(const BhModel *m, const BhModelVersion *v);
/*
 * Items become accepted ones of the version that the text names (made if need be), `digest` instead if not NULL. Hostile text; all or nothing. Returns how many, -1 with an error
 * that names the line.
 */
#define BH_MODEL_TEXT_MAX (4u << 20)
int bh_model_import(BhModel *m, const char *text, gsize len, const char *digest, gint64 now_ns, GError **error);
/*
 * The programs that the version is known to run, sorted, each once: paths in the container, as an order's exec-only has them (response/deny.h), so with "any:" before those that a person accepted though they were
 * not in the image, or in a place where anybody may write. One file that is many programs is one. NULL-terminated; caller frees.
 */
char **bh_model_programs(const BhModelVersion *v);
/* An allow list (JSON), and what facets give of a NetworkPolicy (YAML). Caller frees. */
char *bh_model_allow_list(const BhModel *m, const BhModelVersion *v);
char *bh_model_network_policy(const BhModel *m, const BhModelVersion *v);
/*
 * A seccomp profile (JSON, for "docker run --security-opt seccomp=FILE" and for linux.seccomp of a runtime's config.json): every learned call of every program of the workload, and
 * what the runtime needs to start it; EPERM for others. NULL with an error where no system calls were learned. Caller frees.
 */
char *bh_model_seccomp(const BhModel *m, const BhModelVersion *v, GError **error);
