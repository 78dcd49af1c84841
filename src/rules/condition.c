/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions to trees. The functions follow the public engine's grammar one by one, and count depth where it does: 100 for a filter, 1,000 for a rule.
 *
 *     or := and ("or" (blank and | "(" or ")"))*          and := not ("and" (blank not | "(" or ")"))*
 *     not := ("not" blank)* ("not(" or ")" | check)       check := "(" or ")" | left operator | identifier
 */
#include <string.h>

#include "rules/load.h"

#define NODES "a condition of more than 200,000 parts is refused: split the rule"

void bh_parser_init(BhParser *p, BhLoader *l, const BhText *text, guint depth_max) {
        *p = (BhParser) { .l = l, .text = text, .s = text->s->str, .n = text->s->len, .depth_max = depth_max, .budget = BH_RULES_NODES_MAX };
}

void bh_parser_init_item(BhParser *p, BhLoader *l, const BhItem *item) {
        *p = (BhParser) { .l = l, .s = item->text, .n = item->len, .off_file = item->file, .off = item->off, .depth_max = 100, .budget = BH_RULES_NODES_MAX };
}

void bh_parser_clear(BhParser *p) {
        g_clear_pointer(&p->what, g_free);
}

struct bh_pos bh_parser_pos(const BhParser *p, gsize at) {
        return p->text ? bh_text_pos(p->l, p->text, at) : bh_load_pos_at(p->l, p->off_file, p->off);
}

gboolean bh_parser_fail(BhParser *p, gsize at, const char *format, ...) {
        va_list args;

        if (p->what)
                return FALSE;
        va_start(args, format);
        p->what = g_strdup_vprintf(format, args);
        va_end(args);
        p->bad = at;
        return FALSE;
}

gboolean bh_parser_enter(BhParser *p) {
        if (++p->depth < p->depth_max)
                return TRUE;
        return bh_parser_fail(p, p->at, "nested deeper than the limit of %u: take parentheses away, or make macros of what is inside", p->depth_max);
}

/* What stands at the cursor, for messages. */
static char *here(const BhParser *p) {
        gsize n = 0;

        if (p->at >= p->n)
                return g_strdup("the end");
        while (p->at + n < p->n && n < 40 && !strchr(" \t\r\n", p->s[p->at + n] ? p->s[p->at + n] : ' '))
                n++;
        return bh_load_quote(p->s + p->at, MAX(n, 1));
}

static BhCond *cond_at(BhParser *p, enum bh_cond_kind kind, gsize at) {
        if (!p->budget) {
                bh_parser_fail(p, at, NODES);
                return NULL;
        }
        p->budget--;
        return bh_cond_new(kind, bh_parser_pos(p, at));
}

static BhOperand *literal(const BhParser *p, gsize at, const char *text, gsize len, gboolean quoted) {
        BhOperand *o = bh_operand_new(BH_OPERAND_LITERAL, bh_parser_pos(p, at));

        o->text = g_malloc(len + 1);
        memcpy(o->text, text, len);
        o->text[len] = '\0';
        o->len = len;
        o->quoted = quoted;
        return o;
}

/* A quoted text: NULL if there is none, or it is bad (p->what). */
static BhOperand *quoted(BhParser *p) {
        gsize at = p->at, len = 0;
        g_autofree char *text = bh_lex_quoted(p, &len);

        return text ? literal(p, at, text, len, TRUE) : NULL;
}

/* --- fields and transformers ------------------------------------------------------------------------------------- */

/* [text] or ["text"]; TRUE with *arg NULL: none. */
static gboolean bracket(BhParser *p, char **arg) {
        gsize at, len = 0;

        *arg = NULL;
        if (!bh_lex_text(p, "["))
                return TRUE;
        at = p->at;
        g_autofree char *text = bh_lex_quoted(p, &len);
        if (p->what)
                return FALSE;
        if (!text && bh_lex_arg(p))
                text = g_strndup(p->s + at, p->at - at);
        if (!text)
                return bh_parser_fail(p, at, "a field's argument is missing: write a word or a quoted text between [ and ], without blanks around it");
        if (memchr(text, '\0', len))
                return bh_parser_fail(p, at, "a field's argument cannot hold a NUL byte");
        if (!bh_lex_text(p, "]"))
                return bh_parser_fail(p, p->at, "a ']' is missing after the field's argument");
        *arg = g_steal_pointer(&text);
        return TRUE;
}

static void set_index(BhOperand *o) {
        guint64 n;

        if (o->arg && g_ascii_string_to_unsigned(o->arg, 10, 0, G_MAXINT32, &n, NULL)) {
                o->has_index = TRUE;
                o->index = (guint32) n;
        }
}

/* The name was taken: `len` bytes from `at`. */
static BhOperand *field_rest(BhParser *p, gsize at, gsize len) {
        g_autoptr(BhOperand) o = bh_operand_new(BH_OPERAND_FIELD, bh_parser_pos(p, at));
        gsize used = 0, arg_at;

        if (!bh_parser_enter(p))
                return NULL;
        o->text = g_strndup(p->s + at, len);
        o->len = len;
        o->field = bh_rule_field_find(o->text, len, &used);
        if (o->field && used < len)
                o->arg = g_strdup(o->text + used + 1);
        g_autofree char *arg = NULL;
        arg_at = p->at;
        if (!bracket(p, &arg))
                return NULL;
        if (arg && o->arg) {
                bh_parser_fail(p, arg_at, "\"%s\" has its argument after the dot already: take the brackets away", o->text);
                return NULL;
        }
        if (arg)
                o->arg = g_steal_pointer(&arg);
        set_index(o);
        p->depth--;
        return g_steal_pointer(&o);
}

static BhOperand *transformer_rest(BhParser *p, gsize at, enum bh_transformer t);

static BhOperand *take_literal_number(BhParser *p) {
        gsize at = p->at, n = bh_lex_number(p);

        return n ? literal(p, at, p->s + at, n, FALSE) : NULL;
}

/* An argument of a transformer, or in a list of arguments (`listed`). */
static BhOperand *transformer_arg(BhParser *p, gboolean listed) {
        enum bh_transformer t;
        BhOperand *o;
        gsize at, n;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        at = p->at;
        if ((o = take_literal_number(p)) || (o = quoted(p))) {
                p->depth--;
                return o;
        }
        if (p->what)
                return NULL;
        if (!listed && bh_lex_text(p, "(")) {
                g_autoptr(BhOperand) list = bh_operand_new(BH_OPERAND_LIST, bh_parser_pos(p, at));

                list->args = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
                bh_lex_blank(p);
                if (!bh_lex_text(p, ")")) {
                        do {
                                bh_lex_blank(p);
                                if (!(o = transformer_arg(p, TRUE)))
                                        return NULL;
                                g_ptr_array_add(list->args, o);
                                bh_lex_blank(p);
                        } while (bh_lex_text(p, ","));
                        if (!bh_lex_text(p, ")")) {
                                bh_parser_fail(p, p->at, "a ',' or ')' is missing in the list");
                                return NULL;
                        }
                }
                p->depth--;
                return g_steal_pointer(&list);
        }
        if (bh_lex_transformer(p, FALSE, &t))
                o = transformer_rest(p, at, t);
        else if ((n = bh_lex_field_name(p)))
                o = field_rest(p, at, n);
        else {
                g_autofree char *found = here(p);

                bh_parser_fail(p, at, "a transformer takes a field, another transformer, a quoted text, a number%s, not %s", listed ? "" : " or a list in parentheses", found);
                return NULL;
        }
        if (o)
                p->depth--;
        return o;
}

/* "name(" was taken. */
static BhOperand *transformer_rest(BhParser *p, gsize at, enum bh_transformer t) {
        g_autoptr(BhOperand) o = bh_operand_new(BH_OPERAND_TRANSFORM, bh_parser_pos(p, at));

        if (!bh_parser_enter(p))
                return NULL;
        o->transformer = t;
        o->args = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
        do {
                BhOperand *arg = transformer_arg(p, FALSE);

                if (!arg)
                        return NULL;
                if (!p->budget) {
                        bh_operand_free(arg);
                        bh_parser_fail(p, at, NODES);
                        return NULL;
                }
                p->budget--;
                g_ptr_array_add(o->args, arg);
                bh_lex_blank(p);
        } while (bh_lex_text(p, ","));
        if (!bh_lex_text(p, ")")) {
                bh_parser_fail(p, p->at, "a ')' is missing at the end of the transformer");
                return NULL;
        }
        if (!bracket(p, &o->arg))
                return NULL;
        p->depth--;
        return g_steal_pointer(&o);
}

BhOperand *bh_parse_field_or_transformer(BhParser *p) {
        gsize at = p->at, n = bh_lex_field_name(p);
        enum bh_transformer t;

        if (n)
                return field_rest(p, at, n);
        if (bh_lex_transformer(p, FALSE, &t)) {
                bh_lex_blank(p);
                return transformer_rest(p, at, t);
        }
        return NULL;
}

/* val(field) or a transformer; NULL with nothing failed: neither. */
static BhOperand *right_field(BhParser *p) {
        enum bh_transformer t;
        gsize at = p->at;

        if (!bh_lex_transformer(p, TRUE, &t))
                return NULL;
        bh_lex_blank(p);
        if (t != BH_TR_VAL)
                return transformer_rest(p, at, t);
        gsize field_at = p->at, n = bh_lex_field_name(p);
        if (!n) {
                bh_parser_fail(p, field_at, "val() takes the name of a field, as in val(proc.pname)");
                return NULL;
        }
        BhOperand *field = field_rest(p, field_at, n);
        if (!field)
                return NULL;
        g_autoptr(BhOperand) o = bh_operand_new(BH_OPERAND_TRANSFORM, bh_parser_pos(p, at));
        o->transformer = BH_TR_VAL;
        o->args = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
        g_ptr_array_add(o->args, field);
        bh_lex_blank(p);
        if (!bh_lex_text(p, ")")) {
                bh_parser_fail(p, p->at, "a ')' is missing after the field of val()");
                return NULL;
        }
        return bracket(p, &o->arg) ? g_steal_pointer(&o) : NULL;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

/* The list whose name stands here as a whole word; its bytes in *n. Does not move. */
static BhListDef *list_here(const BhParser *p, gsize *n) {
        BhParser look = *p;

        for (guint i = 0; i < p->l->odd_lists->len; i++) {
                BhListDef *d = g_ptr_array_index(p->l->odd_lists, i);
                gsize len = strlen(d->name);

                if (len && p->n - p->at >= len && memcmp(p->s + p->at, d->name, len) == 0 && (p->at + len == p->n || strchr(" \t\r\n(),=", p->s[p->at + len]))) {
                        *n = len;
                        return d;
                }
        }
        *n = bh_lex_bare(&look);
        if (!*n || *n > 1000)
                return NULL;
        g_autofree char *name = g_strndup(p->s + p->at, *n);
        return g_hash_table_lookup(p->l->lists_by, name);
}

/* Values of the list; what it takes is counted. NULL: failed. */
static GPtrArray *list_values(BhParser *p, BhListDef *d, gsize at) {
        d->used = TRUE;
        if (!bh_list_values(p->l, d)) {
                g_autofree char *q = bh_load_quote(d->name, strlen(d->name));

                bh_parser_fail(p, at, "the list %s cannot be used: see what is wrong with it", q);
                return NULL;
        }
        return d->values;
}

/* A list where one value is expected: its only value. */
static BhOperand *single_of(BhParser *p, BhListDef *d, gsize at, const char *op) {
        GPtrArray *values = list_values(p, d, at);

        if (!values)
                return NULL;
        if (values->len == 1)
                return bh_operand_ref(g_ptr_array_index(values, 0));
        g_autofree char *q = bh_load_quote(d->name, strlen(d->name));
        bh_parser_fail(p, at, "%s is a list of %u values, and %s takes one: use \"in (…)\", or a modifier as in \"startswith oneof (…)\"", q, values->len, op);
        return NULL;
}

BhOperand *bh_parse_value(BhParser *p, enum bh_op op) {
        gboolean number = op == BH_OP_LT || op == BH_OP_LE || op == BH_OP_GT || op == BH_OP_GE;
        BhListDef *list;
        BhOperand *o;
        gsize at, n;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        at = p->at;
        if (!(o = right_field(p)) && !p->what) {
                if ((list = list_here(p, &n))) {
                        p->at += n;
                        o = single_of(p, list, at, bh_op_text(op));
                } else if (number) {
                        o = take_literal_number(p);
                } else if (!(o = quoted(p)) && !p->what && (n = bh_lex_bare(p))) {
                        o = literal(p, at, p->s + at, n, FALSE);
                }
        }
        if (!o && !p->what) {
                g_autofree char *found = here(p);

                bh_parser_fail(p, at, number ? "after \"%s\" a number is missing, or val(field): found %s" : "after \"%s\" a value is missing, or val(field): found %s; a text with blanks or one of ()\"'=, in it needs quotes",
                               bh_op_text(op), found);
        }
        if (o)
                p->depth--;
        return o;
}

static gboolean add_value(BhParser *p, GPtrArray *values, BhOperand *o, gsize at) {
        g_ptr_array_add(values, o);
        if (values->len > BH_RULES_ITEMS_MAX)
                return bh_parser_fail(p, at, "more than 1,000,000 values in one place: split the list");
        if (o->refs == 1 && ++p->l->literals > BH_RULES_LITERALS_MAX)
                return bh_parser_fail(p, at, "all lists, conditions and exceptions together hold more than 3,000,000 values: use lists by name, or fewer");
        if (++p->l->put_in > BH_RULES_PUT_IN_MAX)
                return bh_parser_fail(p, at, "all conditions together hold more than 8,000,000 values: use lists by themselves, as in \"in (list)\", or fewer");
        return TRUE;
}

/* A word that is nearly the name of a list is probably meant to be. Looked at only so often. */
static void warn_like_list(BhParser *p, const BhOperand *o) {
        if (o->len < 5 || o->len > 40 || !memchr(o->text, '_', o->len) || p->l->likes > 2000000)
                return;
        for (guint i = 0; i < p->l->lists->len; i++) {
                const BhListDef *d = g_ptr_array_index(p->l->lists, i);

                p->l->likes++;
                if (bh_load_one_off(o->text, d->name)) {
                        g_autofree char *q = bh_load_quote(o->text, o->len), *ql = bh_load_quote(d->name, strlen(d->name));

                        bh_load_problem(p->l, BH_WARN, "LOAD_COMPILE_CONDITION", o->pos, p->l->object, "%s is compared as a text: there is no list of that name; is the list %s meant? Else put it in quotes", q, ql);
                        return;
                }
        }
}

/* One value of a list, or a list's name. FALSE with nothing failed: there is none. */
static gboolean listed_value(BhParser *p, GPtrArray *values) {
        gsize at = p->at, n;
        BhListDef *list = list_here(p, &n);
        BhOperand *o;

        if (list) {
                GPtrArray *more = list_values(p, list, at);

                if (!more)
                        return FALSE;
                p->at += n;
                for (guint i = 0; i < more->len; i++)
                        if (!add_value(p, values, bh_operand_ref(g_ptr_array_index(more, i)), at))
                                return FALSE;
                return TRUE;
        }
        if ((o = quoted(p)))
                return add_value(p, values, o, at);
        if (p->what || !(n = bh_lex_bare(p)))
                return FALSE;
        o = literal(p, at, p->s + at, n, FALSE);
        warn_like_list(p, o);
        return add_value(p, values, o, at);
}

/* "(" was taken. */
static GPtrArray *parenthesised(BhParser *p) {
        g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
        gsize n, at;
        BhListDef *only;

        bh_lex_blank(p);
        at = p->at;
        /* a list by itself is shared, not copied */
        if ((only = list_here(p, &n))) {
                p->at += n;
                bh_lex_blank(p);
                if (bh_lex_text(p, ")")) {
                        GPtrArray *shared = list_values(p, only, at);

                        return shared ? g_ptr_array_ref(shared) : NULL;
                }
                p->at = at;
        }
        if (listed_value(p, values)) {
                bh_lex_blank(p);
                while (bh_lex_text(p, ",")) {
                        bh_lex_blank(p);
                        if (!listed_value(p, values)) {
                                bh_parser_fail(p, p->at, "after this ',' a value is missing: take the comma away, or add one");
                                return NULL;
                        }
                        bh_lex_blank(p);
                }
        }
        if (p->what)
                return NULL;
        if (!bh_lex_text(p, ")")) {
                g_autofree char *found = here(p);

                bh_parser_fail(p, p->at, "a ',' or ')' is missing in the list before %s; a value with blanks or one of ()\"'=, in it needs quotes", found);
                return NULL;
        }
        return g_steal_pointer(&values);
}

GPtrArray *bh_parse_values(BhParser *p, gboolean transformers) {
        GPtrArray *values = NULL;
        BhListDef *list;
        BhOperand *o;
        gsize at, n;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        at = p->at;
        if (bh_lex_text(p, "(")) {
                values = parenthesised(p);
        } else if (transformers && (o = right_field(p))) {
                values = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
                g_ptr_array_add(values, o);
        } else if (!p->what && (list = list_here(p, &n))) {
                GPtrArray *shared = list_values(p, list, at);

                p->at += n;
                values = shared ? g_ptr_array_ref(shared) : NULL;
        } else if (!p->what && (n = bh_lex_identifier(p))) {
                values = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
                g_ptr_array_add(values, literal(p, at, p->s + at, n, FALSE));
        } else {
                g_autofree char *found = here(p);

                bh_parser_fail(p, at, "a list in parentheses or a list's name is missing: found %s", found);
        }
        if (values)
                p->depth--;
        return values;
}

gboolean bh_parse_item(BhParser *p, GPtrArray *values) {
        gboolean spaced = memchr(p->s, ' ', p->n) && p->s[0] != '"' && p->s[0] != '\'';

        if (memchr(p->s, '\0', p->n))
                return bh_parser_fail(p, 0, "a value cannot hold a NUL byte");
        if (spaced) {
                gsize len = 0, k = 0;

                while (k < p->n && p->s[k] != '"')
                        k += p->s[k] == '\\' ? 2 : 1;
                if (k < p->n)
                        return bh_parser_fail(p, 0, "a \" inside of a value with blanks ends it: write \\\" there");
                g_autofree char *text = bh_lex_unescape(p, 0, p->n, '"', &len);
                return text && add_value(p, values, literal(p, 0, text, len, TRUE), 0);
        }
        do {
                bh_lex_blank(p);
                gsize at = p->at, n;
                BhOperand *o = quoted(p);

                if (!o && !p->what && (n = bh_lex_bare(p)))
                        o = literal(p, at, p->s + at, n, FALSE);
                if (!o || !add_value(p, values, o, at))
                        break;
                bh_lex_blank(p);
        } while (bh_lex_text(p, ","));
        if (p->what)
                return FALSE;
        if (p->at < p->n) {
                g_autofree char *q = bh_load_quote(p->s, p->n);

                return bh_parser_fail(p, p->at, "the value %s holds one of ()\"'=, : put it in quotes of its own, as in '\"a=b\"'", q);
        }
        return TRUE;
}

/* --- conditions -------------------------------------------------------------------------------------------------- */

static BhCond *parse_or(BhParser *p);

/* "(" was taken. */
static BhCond *embedded(BhParser *p) {
        gsize at = p->at;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        g_autoptr(BhCond) c = parse_or(p);
        if (!c)
                return NULL;
        bh_lex_blank(p);
        if (!bh_lex_text(p, ")")) {
                g_autofree char *found = here(p);
                struct bh_pos open = bh_parser_pos(p, at ? at - 1 : 0);

                bh_parser_fail(p, p->at, "a ')' is missing before %s: the '(' is at line %u, column %u", found, open.line, open.column);
                return NULL;
        }
        p->depth--;
        return g_steal_pointer(&c);
}

static BhCond *check_rest(BhParser *p, BhOperand *left, gsize at) {
        g_autoptr(BhOperand) owned = left;
        enum bh_op_modifier modifier = BH_MOD_NONE;
        gboolean had_blank;
        enum bh_op op;

        if (!left || !bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        if (!bh_lex_operator(p, &op)) {
                static const char *const words[] = {
#define X(id, text, takes) text,
                        BH_OPS(X)
#undef X
                };
                gsize n = 0;

                while (p->at + n < p->n && n < 20 && !strchr(" \t\r\n('\"", p->s[p->at + n] ? p->s[p->at + n] : ' '))
                        n++;
                g_autofree char *found = here(p), *like = bh_load_like_words(p->l, words, G_N_ELEMENTS(words), p->s + p->at, n);
                bh_parser_fail(p, p->at, "after a field an operator is missing: found %s%s There are exists = != < <= > >= in intersects contains startswith endswith glob regex pmatch and more", found,
                               *like ? like : ".");
                return NULL;
        }
        had_blank = g_ascii_isalpha(bh_op_text(op)[0]);
        g_autoptr(BhCond) c = cond_at(p, BH_COND_CHECK, at);
        if (!c)
                return NULL;
        c->op = op;
        c->left = g_steal_pointer(&owned);
        if (op == BH_OP_EXISTS) {
                /* nothing follows */
        } else if (op >= BH_OP_IN) {
                c->values = bh_parse_values(p, TRUE);
        } else {
                gboolean textual = op != BH_OP_LT && op != BH_OP_LE && op != BH_OP_GT && op != BH_OP_GE;
                gsize before = p->at;

                if (textual && (bh_lex_blank(p) || had_blank) && bh_lex_modifier(p, &modifier)) {
                        c->modifier = modifier;
                        c->values = bh_parse_values(p, FALSE);
                } else {
                        p->at = before;
                        BhOperand *value = bh_parse_value(p, op);

                        if (value) {
                                c->values = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
                                g_ptr_array_add(c->values, value);
                        }
                }
        }
        if (p->what)
                return NULL;
        p->depth--;
        return g_steal_pointer(&c);
}

static BhCond *parse_check(BhParser *p) {
        enum bh_transformer t;
        BhCond *c = NULL;
        gsize at, n;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        at = p->at;
        if (bh_lex_text(p, "(")) {
                c = embedded(p);
        } else if ((n = bh_lex_field_name(p))) {
                c = check_rest(p, field_rest(p, at, n), at);
        } else if (bh_lex_transformer(p, FALSE, &t)) {
                bh_lex_blank(p);
                c = check_rest(p, transformer_rest(p, at, t), at);
        } else if ((n = bh_lex_identifier(p))) {
                if ((c = cond_at(p, BH_COND_MACRO, at)))
                        c->left = literal(p, at, p->s + at, n, FALSE);
        } else {
                g_autofree char *found = here(p);

                bh_parser_fail(p, at, "a field, a macro's name or a '(' is missing: found %s", found);
        }
        if (c)
                p->depth--;
        return c;
}

static BhCond *parse_not(BhParser *p) {
        gboolean negate = FALSE;
        gsize at, from;
        g_autoptr(BhCond) child = NULL;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        at = p->at;
        for (;;) {
                from = p->at;
                if (!bh_lex_text(p, "not"))
                        break;
                if (bh_lex_blank(p)) {
                        negate = !negate;
                        continue;
                }
                if (bh_lex_text(p, "(")) {
                        negate = !negate;
                        if (!(child = embedded(p)))
                                return NULL;
                } else {
                        p->at = from; /* a macro whose name begins with "not" */
                }
                break;
        }
        if (!child && !(child = parse_check(p)))
                return NULL;
        if (negate) {
                BhCond *n = cond_at(p, BH_COND_NOT, at);

                if (!n)
                        return NULL;
                g_ptr_array_add(n->kids, g_steal_pointer(&child));
                child = n;
        }
        p->depth--;
        return g_steal_pointer(&child);
}

static BhCond *parse_sequence(BhParser *p, const char *word, enum bh_cond_kind kind, BhCond *(*one)(BhParser *)) {
        g_autoptr(BhCond) c = NULL;
        BhCond *kid;
        gsize at;

        if (!bh_parser_enter(p))
                return NULL;
        bh_lex_blank(p);
        at = p->at;
        if (!(kid = one(p)))
                return NULL;
        bh_lex_blank(p);
        while (bh_lex_text(p, word)) {
                if (!c) {
                        if (!(c = cond_at(p, kind, at))) {
                                bh_cond_free(kid);
                                return NULL;
                        }
                        g_ptr_array_add(c->kids, kid);
                }
                if (bh_lex_blank(p)) {
                        kid = one(p);
                } else if (bh_lex_text(p, "(")) {
                        kid = embedded(p);
                } else {
                        g_autofree char *found = here(p);

                        bh_parser_fail(p, p->at, "after \"%s\" a blank or a '(' is missing: found %s", word, found);
                        kid = NULL;
                }
                if (!kid)
                        return NULL;
                g_ptr_array_add(c->kids, kid);
                bh_lex_blank(p);
        }
        p->depth--;
        return c ? g_steal_pointer(&c) : kid;
}

static BhCond *parse_and(BhParser *p) {
        return parse_sequence(p, "and", BH_COND_AND, parse_not);
}

static BhCond *parse_or(BhParser *p) {
        return parse_sequence(p, "or", BH_COND_OR, parse_and);
}

BhCond *bh_parse_condition(BhParser *p) {
        const char *nul = memchr(p->s, '\0', p->n);

        if (!p->n) {
                bh_parser_fail(p, 0, "the condition is empty");
                return NULL;
        }
        if (nul) {
                bh_parser_fail(p, (gsize) (nul - p->s), "a condition cannot hold a NUL byte");
                return NULL;
        }
        g_autoptr(BhCond) c = parse_or(p);
        if (!c)
                return NULL;
        if (p->at < p->n) {
                g_autofree char *found = here(p);

                if (p->s[p->at] == ')')
                        bh_parser_fail(p, p->at, "this ')' has no '(' before it: take it away");
                else
                        bh_parser_fail(p, p->at, "\"and\", \"or\" or the end is missing before %s; a value with blanks or one of ()\"'=, in it needs quotes", found);
                return NULL;
        }
        return g_steal_pointer(&c);
}
