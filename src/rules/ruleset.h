/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule files, loaded: lists and macros put in, overrides, appends and exceptions applied, in the order in which the files were given.
 *
 * A set is built once and then only read (any thread, by reference). Loading never stops at the first problem: every error and warning of all
 * files is in the report, with file, line and column. A set with errors has no rules that one should run; what could be understood is still there for
 * people to look at. Rule files are hostile input: sizes, depths, numbers of items and expansions are bounded (limits below); what is over a bound is an error
 * like any other.
 */
#pragma once
#include <glib.h>

#include "rules/ast.h"

enum bh_priority {
        BH_PRIO_EMERGENCY, BH_PRIO_ALERT, BH_PRIO_CRITICAL, BH_PRIO_ERROR, BH_PRIO_WARNING, BH_PRIO_NOTICE, BH_PRIO_INFO, BH_PRIO_DEBUG, BH_PRIO_COUNT,
};

/* "Emergency" … "Informational", "Debug"; reading is case-insensitive and takes "info". -1: no such priority. */
const char *bh_priority_name(enum bh_priority p);
int bh_priority_from_name(const char *name, gsize len);

/* Bounds of loading. Beyond: an error with the bound in it. */
#define BH_RULES_FILE_MAX (16u << 20)    /* bytes of a file */
#define BH_RULES_TOTAL_MAX (32u << 20)   /* bytes of all files */
#define BH_RULES_ITEMS_MAX 1000000u      /* items of a list, and of all lists put in one condition */
#define BH_RULES_NODES_MAX 200000u       /* nodes of one condition, macros put in */
#define BH_RULES_DEPTH_MAX 1000u         /* of a rule's condition; of a macro or filter by itself 100 in the public engine */
#define BH_RULES_FILTER_MAX (64u << 10)  /* bytes of a condition by itself */
#define BH_RULES_YAML_DEPTH_MAX 64u
#define BH_RULES_RULES_MAX 20000u
#define BH_RULES_TAGS_MAX 100u           /* of a rule */
#define BH_RULES_EXCEPTIONS_MAX 200u     /* of a rule */
#define BH_RULES_OUTPUT_MAX 8192u        /* bytes of a format, with what is appended */
#define BH_RULES_DESC_MAX (64u << 10)    /* bytes */
#define BH_RULES_EXTRA_MAX 100u          /* extra fields of a rule */
#define BH_RULES_PROBLEMS_MAX 1000u      /* kept; more are counted */

typedef struct BhRule {
        char *name, *desc, *source, *output;
        BhCond *condition;  /* exceptions are in it. NULL: skipped, or there is an error */
        enum bh_priority priority;
        GPtrArray *tags;    /* of char* */
        gboolean enabled, warn_evttypes, skip_if_unknown_filter;
        gboolean skipped;   /* unknown source or filter: loaded, never run; a warning says why */
        GPtrArray *extra_fields; /* of append_output: BhRuleExtra, owned */
        struct bh_pos pos;  /* of `- rule:` */
        struct bh_pos condition_pos, output_pos;
} BhRule;

typedef struct {
        char *name, *format; /* extra field "name": formatted text, or the raw value where `raw` */
        gboolean raw;
} BhRuleExtra;

typedef struct {
        gboolean error; /* else a warning */
        struct bh_pos pos;
        char *code;     /* LOAD_ERR_YAML_VALIDATE, …: the public engine's own names, where it has one */
        char *what;     /* what is wrong, and what to do */
        char *object;   /* rule "Terminal shell in container"; NULL: of the file */
} BhRuleProblem;

typedef struct BhRuleSet BhRuleSet;

typedef struct {
        const char *name;   /* for messages */
        const char *text;   /* NULL: the file of that name is read */
        gsize len;
} BhRuleSource;

typedef struct {
        /* sources besides "syscall" that rules may name: NULL-terminated; NULL: { "container", "sensor" } */
        const char *const *sources;
        gboolean rule_matching_all; /* kept with the set for the engine; default: first */
} BhRuleLoadOptions;

/* Never NULL: see bh_rule_set_errors(). */
BhRuleSet *bh_rule_set_load(const BhRuleSource *files, guint n_files, const BhRuleLoadOptions *options);
BhRuleSet *bh_rule_set_ref(BhRuleSet *s);
void bh_rule_set_unref(BhRuleSet *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhRuleSet, bh_rule_set_unref)

/* Rules in the order of their first definition, of BhRule; macros and lists by name for counts. */
const GPtrArray *bh_rule_set_rules(const BhRuleSet *s);
guint bh_rule_set_macros(const BhRuleSet *s);
guint bh_rule_set_lists(const BhRuleSet *s);
const char *bh_rule_set_file(const BhRuleSet *s, guint file);
gboolean bh_rule_set_matching_all(const BhRuleSet *s);
/* Whether a file of that name defines the rule or gives it the condition that it has. */
gboolean bh_rule_of_file(const BhRuleSet *s, const BhRule *rule, const char *file);

/* Problems in order of file and place, of BhRuleProblem; how many are errors, warnings (also those not kept). */
const GPtrArray *bh_rule_set_problems(const BhRuleSet *s);
guint64 bh_rule_set_errors(const BhRuleSet *s);
guint64 bh_rule_set_warnings(const BhRuleSet *s);

/* file:line:column: error: what (rule "…"). Free with g_free(). */
char *bh_rule_problem_text(const BhRuleSet *s, const BhRuleProblem *p);

/*
 * One condition by itself, as `events --filter` has it: no macros, no lists. NULL with an error that says line:column.
 * The error's domain is the module's; its message is a sentence for the user.
 */
BhCond *bh_condition_parse(const char *text, gsize len, GError **error);

/*
 * The longest field or transformer that stands at the beginning of the text ("proc.name is" → proc.name), as output formats have it: *used bytes. Checked. NULL with an
 * error that says why there is none.
 */
BhOperand *bh_operand_parse(const char *text, gsize len, gsize *used, GError **error);

#define BH_RULES_ERROR (bh_rules_error_quark())
GQuark bh_rules_error_quark(void);
