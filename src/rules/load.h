/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the loader: what its files share. A load has three steps: files are read item by item (load.c, load_rule.c, exceptions.c, config.c), so that later items change
 * earlier ones; then lists are put in and conditions parsed (lists.c, lexer.c, condition.c); then macros are put in, fields and values checked
 * (check.c, output.c), and rules made. One thread.
 */
#pragma once
#include "rules/ruleset.h"
#include "rules/yamltree.h"

#define BH_RULES_ENGINE_VERSION "0.63.0"
#define BH_RULES_CONTAINER_VERSION "0.7.0" /* the container plugin, whose fields are native here */
#define BH_RULES_PUT_IN_MAX (8u * BH_RULES_ITEMS_MAX) /* values of all lists in all conditions, and of lists in lists */
#define BH_RULES_ALL_NODES_MAX (20u * BH_RULES_NODES_MAX)
#define BH_RULES_LITERALS_MAX (3u * BH_RULES_ITEMS_MAX) /* values with bytes of their own */
#define BH_RULES_FAULTS_MAX 100u /* of one condition with its output */
#define BH_RULES_LIST_DEPTH_MAX 200u
#define BH_RULES_FILES_MAX 1024u
#define BH_RULES_KEYS_MAX 100u            /* of a map */
#define BH_RULES_APPENDS_MAX 100u         /* items of append_output */
#define BH_RULES_EXTRA_BYTES_MAX (64u << 20) /* of extra fields of all rules */
#define BH_RULES_ODD_LISTS_MAX 64u

/* Kinds of nodes that are there only while loading: `left` is a literal, the macro's name; `values` is NULL. */
#define BH_COND_MACRO ((enum bh_cond_kind) 100)

/* --- problems ---------------------------------------------------------------------------------------------------- */

#define BH_WARN FALSE
#define BH_ERROR TRUE

typedef struct BhLoader BhLoader;

/* `code` is static. A problem that was told already, at the same place with the same words, is not told again. */
void bh_load_problem(BhLoader *l, gboolean error, const char *code, struct bh_pos pos, const char *object, const char *format, ...) G_GNUC_PRINTF(6, 7);

/* The text in quotes for a message: escaped, and cut after 100 bytes. Caller frees. */
char *bh_load_quote(const char *text, gsize len);

/* Names that were probably meant, as `: is "a" or "b" meant?`; "" if there is none. `names`: keys are the names. A load guesses only so often. Caller frees. */
gboolean bh_load_one_off(const char *a, const char *b); /* a swap, or one character more, less or other */
char *bh_load_like(BhLoader *l, GHashTable *names, const char *text, gsize len);
char *bh_load_like_field(BhLoader *l, const char *text, gsize len);
char *bh_load_like_words(BhLoader *l, const char *const words[], guint n, const char *text, gsize len);

/* --- texts put together of pieces -------------------------------------------------------------------------------- */

typedef struct {
        guint32 at, file, off;
} BhTextRun;

typedef struct {
        GString *s;
        GArray *runs; /* of BhTextRun */
} BhText;

BhText *bh_text_new(void);
void bh_text_free(BhText *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhText, bh_text_free)
/* A space goes before it unless it is the first. */
void bh_text_add(BhText *t, const BhYamlFile *f, const BhYaml *scalar);
void bh_text_clear(BhText *t);

/* --- what was read ----------------------------------------------------------------------------------------------- */

typedef struct {
        const char *text; /* the file's */
        guint32 len, file, off;
} BhItem;

typedef struct {
        char *name;
        GArray *items; /* of BhItem */
        guint32 index, visibility;
        struct bh_pos pos;
        gboolean used, used_in_list;
        guint8 state; /* 0, 1 being put together, 2 done */
        guint32 fit;  /* bit: enum bh_rule_type that all values are good for, once asked */
        gboolean warned;
        GPtrArray *values; /* of BhOperand, with earlier lists put in */
} BhListDef;

/* What is wrong with a macro, told when a rule uses it: another source's fields may stand in macros that nobody uses. */
typedef struct {
        struct bh_pos pos;
        gboolean error, unknown; /* unknown: a field that skip-if-unknown-filter excuses */
        const char *code;
        char *what;
        char *field;           /* an unknown name: those that it may have meant are said with it */
        gboolean evt_type;     /* it is no field, but a type of event */
        const char *macro;     /* the macro that it stands in; NULL: the rule itself */
        struct bh_pos put_in;  /* where the rule, or what the rule uses, names it */
} BhFault;

typedef struct {
        char *name;
        BhText *condition;
        guint32 index, visibility;
        struct bh_pos pos;
        gboolean used;
        guint8 state;     /* 0, 1 being put together, 2 done */
        gboolean broken;  /* does not parse, or uses one that does not: told */
        gboolean undefined;
        BhCond *tree;     /* with macros put in */
        GPtrArray *faults; /* of BhFault, also those of macros in it */
        guint32 nodes, depth;
} BhMacroDef;

typedef struct {
        char *name;
        struct bh_pos pos;
        const BhYaml *fields, *comps; /* NULL: not given */
        const BhYamlFile *file;
        GPtrArray *values;  /* of BhYaml */
        GPtrArray *value_files; /* of BhYamlFile, one a value */
} BhExceptionDef;

typedef struct {
        BhRule *rule;
        BhText *condition;
        BhText *output;
        GPtrArray *exceptions; /* of BhExceptionDef */
        guint32 index;
} BhRuleDef;

/* An item of append_output. */
typedef struct {
        char *rule, *source;
        GPtrArray *tags;
        BhText *output;     /* NULL: none */
        GPtrArray *fields;  /* of BhRuleExtra */
        GPtrArray *fields_text; /* of BhText, one a field */
        gboolean suggested;
} BhAppendDef;

struct BhLoader {
        BhRuleSet *set;
        const BhRuleLoadOptions *options;
        GPtrArray *files;        /* of BhYamlFile */
        GPtrArray *lists, *macros, *rules, *appends; /* in order of first definition */
        GHashTable *lists_by, *macros_by, *rules_by; /* name → definition */
        GHashTable *lists_of;    /* values of a list → it */
        GPtrArray *odd_lists;    /* whose names are no bare words */
        GHashTable *told;        /* of problems */
        GHashTable *macros_told; /* faults of macros, which many rules may use */
        guint64 likes;           /* comparisons of words with names of lists */
        guint like_calls;        /* guesses at what was meant */
        guint64 literals;        /* values with bytes of their own */
        gsize bytes;             /* of all files */
        gsize extra_bytes;       /* of extra fields */
        guint32 next_index;
        guint64 put_in, nodes;
        gboolean put_in_told, nodes_told;
        /* of the file being read */
        const BhYamlFile *file;
        const char *object;      /* for problems that the helpers below tell */
};

struct bh_pos bh_load_pos(const BhLoader *l, const BhYaml *node);
struct bh_pos bh_load_pos_at(const BhLoader *l, guint32 file, guint32 off);
struct bh_pos bh_text_pos(const BhLoader *l, const BhText *t, gsize at);

/* --- reading items (load.c) -------------------------------------------------------------------------------------- */

/* Values of a map's keys. FALSE: told. `empty`: what has no text is as if it were not there. *out is the file's text. */
typedef enum { BH_KEY_NEEDED, BH_KEY_OPTIONAL, BH_KEY_OPTIONAL_EMPTY } BhKeyNeed;
gboolean bh_load_scalar(BhLoader *l, const BhYaml *map, const char *key, BhKeyNeed need, const BhYaml **out);
gboolean bh_load_bool(BhLoader *l, const BhYaml *map, const char *key, gboolean *out);
gboolean bh_load_count(BhLoader *l, const BhYaml *map, const char *key, guint32 *out);
gboolean bh_load_sequence(BhLoader *l, const BhYaml *map, const char *key, BhKeyNeed need, const BhYaml **out);
/* Warns of them; FALSE: too many keys, told. */
gboolean bh_load_unknown_keys(BhLoader *l, const BhYaml *map, const char *const known[], guint n);

/*
 * override: { key: append | replace } of keys; bits of `append` and `replace` by place in `keys`. `may_append`, `may_replace`: bits of what is allowed.
 * FALSE: told. *any: there is something.
 */
gboolean bh_load_override(BhLoader *l, const BhYaml *item, const char *const keys[], guint n, guint32 may_append, guint32 may_replace, guint32 *append,
                          guint32 *replace);

void bh_load_rule(BhLoader *l, const BhYaml *item);                  /* load_rule.c */
void bh_load_requirements(BhLoader *l, const BhYaml *item);          /* versions.c: required_engine_version, required_plugin_versions */
gboolean bh_load_is_config(const BhYaml *document);                  /* config.c */
void bh_load_config(BhLoader *l, const BhYaml *document);
void bh_load_appends(BhLoader *l, BhRuleDef *d, GPtrArray *faults); /* append_output that matches: onto its output and extra fields */

/* exceptions.c. `append`: fields may be missing. FALSE: told; *out is what could be read. Takes nothing. */
gboolean bh_load_exceptions(BhLoader *l, const BhYaml *rule, gboolean append, GPtrArray **out);
gboolean bh_exceptions_check(BhLoader *l, const BhExceptionDef *e, gboolean known_source);
/* `replace`: the rule's own are gone, new ones need no values. Takes what is in `more`. FALSE: told. */
gboolean bh_exceptions_merge(BhLoader *l, BhRuleDef *d, GPtrArray *more, gboolean replace);
/* (condition) and not (…) for each exception that has values. Takes and returns the tree; NULL: told. */
BhCond *bh_exceptions_apply(BhLoader *l, const BhRuleDef *d, BhCond *condition);
void bh_exception_free(gpointer e);

/* --- conditions -------------------------------------------------------------------------------------------------- */

/* lists.c */
gboolean bh_list_values(BhLoader *l, BhListDef *list);

/* A parse of one text. After a failure `what` says why, at byte `bad`. */
typedef struct {
        BhLoader *l;
        const BhText *text;
        const char *s;
        gsize n, at;
        guint32 off_file, off; /* text NULL: all stands there (BhItem) */
        guint depth, depth_max;
        gsize bad;
        char *what;
        guint64 budget; /* nodes left */
} BhParser;

void bh_parser_init(BhParser *p, BhLoader *l, const BhText *text, guint depth_max);
void bh_parser_init_item(BhParser *p, BhLoader *l, const BhItem *item);
void bh_parser_clear(BhParser *p);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BhParser, bh_parser_clear)
struct bh_pos bh_parser_pos(const BhParser *p, gsize at);
/* Says why once; always FALSE. */
gboolean bh_parser_fail(BhParser *p, gsize at, const char *format, ...) G_GNUC_PRINTF(3, 4);
gboolean bh_parser_enter(BhParser *p);

/* lexer.c: each takes its token and the state goes behind it, or nothing changes and the result is FALSE (0). */
gboolean bh_lex_blank(BhParser *p);
gboolean bh_lex_text(BhParser *p, const char *text);
gsize bh_lex_identifier(BhParser *p);
gsize bh_lex_field_name(BhParser *p);
gsize bh_lex_number(BhParser *p);
gsize bh_lex_bare(BhParser *p);
gsize bh_lex_arg(BhParser *p);
/* Unquoted; NULL with nothing failed: no quote here. */
char *bh_lex_quoted(BhParser *p, gsize *len);
gboolean bh_lex_operator(BhParser *p, enum bh_op *op);
gboolean bh_lex_modifier(BhParser *p, enum bh_op_modifier *modifier);
gboolean bh_lex_transformer(BhParser *p, gboolean val, enum bh_transformer *t);
/* `text` as a quoted text would be read, without quotes around it. NULL: failed. */
char *bh_lex_unescape(BhParser *p, gsize at, gsize n, char quote, gsize *len);

BhCond *bh_parse_condition(BhParser *p);
BhOperand *bh_parse_field_or_transformer(BhParser *p);
/* Right side of an operator without a modifier that takes one value. NULL: failed. */
BhOperand *bh_parse_value(BhParser *p, enum bh_op op);
/* The values of an operator that takes a list. NULL: failed. */
GPtrArray *bh_parse_values(BhParser *p, gboolean transformers);
/* One item of a list as it would stand between commas, or several if it holds commas; onto `values`. */
gboolean bh_parse_item(BhParser *p, GPtrArray *values);
/* "in", "startswith oneof"; FALSE: it is none */
gboolean bh_parse_comparison(const char *text, gsize len, enum bh_op *op, enum bh_op_modifier *modifier);

BhOperand *bh_operand_new(enum bh_operand_kind kind, struct bh_pos pos);
BhOperand *bh_operand_ref(BhOperand *o);
BhCond *bh_cond_new(enum bh_cond_kind kind, struct bh_pos pos);
BhCond *bh_cond_share(const BhCond *c);
void bh_cond_measure(const BhCond *c, guint32 *nodes, guint32 *depth);

/* --- checks ------------------------------------------------------------------------------------------------------ */

typedef struct {
        enum bh_rule_type type;
        gboolean list;
} BhValueType;

/* Type of an operand; FALSE: a fault was added */
gboolean bh_check_operand(const BhOperand *o, gboolean output, BhValueType *type, GPtrArray *faults);
/* All checks of a tree without macros. Faults are added; literals of bcontains become bytes. */
void bh_check_tree(BhLoader *l, BhCond *c, GPtrArray *faults);
void bh_fault_free(gpointer f);
/* Its words. Caller frees. */
char *bh_fault_say(BhLoader *l, const BhFault *f);
/* A name that is no field; `what` has %s once, for it. */
void bh_fault_unknown(GPtrArray *faults, const char *code, struct bh_pos pos, const char *name, gsize len, const char *what);
void bh_fault(GPtrArray *faults, gboolean error, gboolean unknown, const char *code, struct bh_pos pos, const char *format, ...) G_GNUC_PRINTF(6, 7);

/* macros.c */
void bh_macros_resolve(BhLoader *l);
/* A rule's tree with macros put in; takes it. Faults of the rule and of its macros are added. NULL: told. */
BhCond *bh_macros_put_in(BhLoader *l, BhCond *c, const char *object, GPtrArray *faults);

/* make.c: all that was read becomes lists' values, macros' trees and the set's rules. */
void bh_rules_make(BhLoader *l);

/* output.c: fields of a format; faults with their places. */
/* The longest beginning of what stands at the cursor that is a field or a transformer. NULL: none (`what` may say why). */
BhOperand *bh_parse_output_operand(BhParser *p);
void bh_output_check(BhLoader *l, const BhText *format, GPtrArray *faults);

/* evtnames.c: is there such a type of event anywhere? */
gboolean bh_evt_name_known(const char *name);
char *bh_load_like_evt_name(BhLoader *l, const char *name, gsize len);

/* evttypes.c: does the condition look at evt.type in a way that leaves most kinds of events out? */
gboolean bh_cond_narrow(const BhCond *c);

/* ruleset.c */
struct BhRuleSet {
        gint refs;
        GPtrArray *files; /* names */
        GPtrArray *rules;
        guint n_macros, n_lists;
        gboolean matching_all;
        GPtrArray *problems;
        guint64 errors, warnings;
};
BhLoader *bh_loader_new(const BhRuleLoadOptions *options);
void bh_loader_free(BhLoader *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhLoader, bh_loader_free)
/* A text by itself as the loader's only file. */
BhText *bh_loader_text(BhLoader *l, const char *text, gsize len);
BhRuleSet *bh_rule_set_new(void);
void bh_rule_free(gpointer rule);
BhRule *bh_rule_new(const char *name);
void bh_rule_extra_free(gpointer extra);
void bh_rule_set_sort(BhRuleSet *s);
