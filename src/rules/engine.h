/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: rules compiled to a flat program, by kind of event, and run on events.
 *
 * A BhRuleEngine is made from a set or from one condition and never changes: compile a new one and swap. It holds a reference to its set. Evaluation keeps its scratch
 * memory in a BhRuleRun, one for each thread; no allocation for an event that matches nothing.
 *
 * Per event: bh_rule_run_event(). Conditions are two-valued: a missing field makes any comparison false, != too. A pattern that hits its match limit is
 * false, counted (bh_rule_run_stats).
 */
#pragma once
#include "event/event.h"
#include "event/lineage.h"
#include "rules/ruleset.h"

typedef struct BhRuleEngine BhRuleEngine;
typedef struct BhRuleRun BhRuleRun;

/* What compiling found besides what loading did: fields that this node cannot give, patterns that are refused, rules that can match no event. */
typedef struct {
        guint rule;  /* index in bh_rule_set_rules() */
        gboolean error;
        struct bh_pos pos;
        char *what;
} BhEngineProblem;

typedef struct {
        /* kinds of events (bit = enum bh_event_type below 128) that this node can see; NULL: all. A rule that needs another is said, per rule */
        const guint64 *available;
        /* of these, what this node tells of processes outside of containers; NULL: all. A rule about those alone that needs another is said */
        const guint64 *host;
        /* only the rules that this file of the set defines or gives their condition, and all of them that match an event: to try a file out. NULL: the set as it is */
        const char *file;
} BhEngineOptions;

/* NULL with an error only if the set has errors. `problems` (of BhEngineProblem) may be NULL. */
BhRuleEngine *bh_rule_engine_new(BhRuleSet *set, const BhEngineOptions *options, GPtrArray *problems, GError **error);

/* One condition; it counts as a rule with no output. Takes the tree. */
BhRuleEngine *bh_rule_engine_new_filter(BhCond *condition, GError **error);
BhRuleEngine *bh_rule_engine_ref(BhRuleEngine *e);
void bh_rule_engine_unref(BhRuleEngine *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRuleEngine, bh_rule_engine_unref)

/* Kinds of events below 128 that some enabled rule can match: what must be hooked. 128 bits. */
void bh_rule_engine_needs(const BhRuleEngine *e, guint64 needs[2]);

BhRuleRun *bh_rule_run_new(void);
void bh_rule_run_free(BhRuleRun *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRuleRun, bh_rule_run_free)

/*
 * Rules that the event matches, in order of definition: at most one (rule_matching: first) or all. Returns their number; *matches points to their indexes, good until
 * the next call. `lineage` may be NULL: then ancestors are what the event carries.
 */
guint bh_rule_run_event(BhRuleRun *r, const BhRuleEngine *e, const struct bh_event *event, const struct bh_lineage *lineage, const guint32 **matches);

/*
 * The alert of a match, of the event that was run last: output text without the "time: Priority " in front, and as JSON the object of output_fields (field → value or null, evt.time
 * included). Both are cut at 64 KiB, and flagged in the text with "…".
 */
void bh_rule_run_output(BhRuleRun *r, const BhRuleEngine *e, guint32 rule, GString *output, GString *fields_json);

/* Value of one field as output shows it; FALSE: missing. For `rules fields`, tests and filters' columns. */
gboolean bh_rule_run_field(BhRuleRun *r, const struct bh_event *event, const struct bh_lineage *lineage, const BhOperand *field, GString *out);

typedef struct {
        guint64 events, evaluated /* conditions begun */, matches, limits /* patterns that hit a limit */, cut /* values that did not fit in an event's scratch memory */;
} BhRuleRunStats;
void bh_rule_run_stats(const BhRuleRun *r, BhRuleRunStats *stats);

/*
 * Whether bounds were hit since the last call, of patterns or of the scratch memory: TRUE calls `tell` for each pattern of which it was not told since the engine is
 * run, with the first rule that has it (NULL: none has any more). Cheap where nothing was hit; ask after each event, with its engine.
 */
typedef void (*BhRuleLimit)(const char *rule, const char *pattern, gpointer data);
gboolean bh_rule_run_hit(const BhRuleRun *r); /* the question alone */
gboolean bh_rule_run_limited(BhRuleRun *r, const BhRuleEngine *e, BhRuleLimit tell, gpointer data);
