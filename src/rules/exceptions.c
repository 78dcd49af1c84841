/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions of rules: (condition) and not ((f1 op v1 and f2 op v2) or …), once for each exception that has values.
 *
 * One field (fields: proc.name): comps defaults to `in`, and all values are one list. Several (fields: [proc.name, fd.name]): comps default to `=`; each value is a
 * list with one entry a field, and an entry is a value, or where the operator takes a list, a list or a list's name with or without parentheses.
 */
#include <string.h>

#include "rules/load.h"

void bh_exception_free(gpointer p) {
        BhExceptionDef *e = p;

        g_free(e->name);
        g_ptr_array_unref(e->values);
        g_ptr_array_unref(e->value_files);
        g_free(e);
}

static gboolean bad(BhLoader *l, const BhYamlFile *f, const BhYaml *at, const char *code, const char *format, ...) G_GNUC_PRINTF(5, 6);
static gboolean bad(BhLoader *l, const BhYamlFile *f, const BhYaml *at, const char *code, const char *format, ...) {
        g_autofree char *what = NULL;
        va_list args;

        va_start(args, format);
        what = g_strdup_vprintf(format, args);
        va_end(args);
        bh_load_problem(l, BH_ERROR, code, bh_load_pos_at(l, bh_yaml_file_number(f), at->start), l->object, "%s", what);
        return FALSE;
}
#define SHAPE "LOAD_ERR_YAML_VALIDATE"
#define WRONG "LOAD_ERR_VALIDATE"

/* A scalar, or a list of scalars; or where `deep`, of lists of scalars. */
static gboolean shape(BhLoader *l, const BhYaml *v, guint deep, const char *what) {
        if (v->kind == BH_YAML_SCALAR && v->n)
                return TRUE;
        if (v->kind != BH_YAML_SEQUENCE || !deep)
                return bad(l, l->file, v, SHAPE, "\"%s\" must hold texts%s", what, deep ? " or lists of texts" : "");
        for (guint i = 0; i < v->n; i++)
                if (!shape(l, v->nodes[i], deep - 1, what))
                        return FALSE;
        return TRUE;
}

static gboolean load_one(BhLoader *l, const BhYaml *ex, gboolean append, GPtrArray *all) {
        static const char *const known[] = { "name", "fields", "comps", "values" };
        const BhYaml *name, *values, *k = NULL;
        gboolean good = TRUE;

        if (ex->kind != BH_YAML_MAP)
                return bad(l, l->file, ex, SHAPE, "an exception must be a map of \"name\", \"fields\", \"comps\" and \"values\"");
        if (!bh_load_unknown_keys(l, ex, known, G_N_ELEMENTS(known)))
                return FALSE;
        if (!bh_load_scalar(l, ex, "name", BH_KEY_NEEDED, &name))
                return FALSE;
        BhExceptionDef *e = g_new0(BhExceptionDef, 1);
        e->name = g_strdup(name->text);
        e->pos = bh_load_pos(l, ex);
        e->file = l->file;
        e->values = g_ptr_array_new();
        e->value_files = g_ptr_array_new();
        g_autofree char *q = bh_load_quote(name->text, name->n);
        for (guint i = 0; i < all->len; i++)
                if (g_str_equal(((BhExceptionDef *) g_ptr_array_index(all, i))->name, e->name)) {
                        bh_load_problem(l, BH_WARN, "LOAD_EXCEPTION_NAME_NOT_UNIQUE", e->pos, l->object, "the exception %s is defined twice in one rule: give it another name", q);
                        break;
                }
        g_ptr_array_add(all, e);
        e->fields = bh_yaml_get(ex, "fields", &k);
        if (!e->fields && !append)
                good = bad(l, l->file, ex, SHAPE, "the exception %s needs \"fields\": a field, or a list of fields", q);
        if (e->fields && e->fields->kind == BH_YAML_NULL) {
                e->fields = NULL;
                good = bad(l, l->file, k, SHAPE, "\"fields\" of the exception %s has no value", q);
        }
        if (e->fields)
                good = shape(l, e->fields, 1, "fields") && good;
        e->comps = bh_yaml_get(ex, "comps", &k);
        if (e->comps && e->comps->kind == BH_YAML_NULL)
                e->comps = NULL;
        if (e->comps)
                good = shape(l, e->comps, 1, "comps") && good;
        values = bh_yaml_get(ex, "values", &k);
        if (values && values->kind != BH_YAML_SEQUENCE)
                return bad(l, l->file, k, SHAPE, "\"values\" of the exception %s must be a list", q);
        if (!values && append)
                bh_load_problem(l, BH_WARN, "LOAD_APPEND_NO_VALUES", e->pos, l->object, "the exception %s is appended to without values: that changes nothing", q);
        for (guint i = 0; values && i < values->n; i++) {
                if (!shape(l, values->nodes[i], 2, "values")) {
                        good = FALSE;
                        continue;
                }
                g_ptr_array_add(e->values, values->nodes[i]);
                g_ptr_array_add(e->value_files, (gpointer) l->file);
        }
        return good;
}

gboolean bh_load_exceptions(BhLoader *l, const BhYaml *rule, gboolean append, GPtrArray **out) {
        const BhYaml *k = NULL, *list = bh_yaml_get(rule, "exceptions", &k);
        gboolean good = TRUE;

        *out = g_ptr_array_new_with_free_func(bh_exception_free);
        if (!list || list->kind == BH_YAML_NULL)
                return TRUE;
        if (list->kind != BH_YAML_SEQUENCE)
                return bad(l, l->file, k, SHAPE, "\"exceptions\" must be a list of maps");
        for (guint i = 0; i < list->n; i++) {
                if (i >= BH_RULES_EXCEPTIONS_MAX)
                        return bad(l, l->file, list->nodes[i], WRONG, "a rule can have 200 exceptions at most: add values to the others");
                good = load_one(l, list->nodes[i], append, *out) && good;
        }
        return good;
}

/* --- checks ------------------------------------------------------------------------------------------------------ */

static const char *default_comp(const BhExceptionDef *e) {
        return e->fields->kind == BH_YAML_SEQUENCE ? "=" : "in";
}

static gboolean comparison(const BhExceptionDef *e, guint i, enum bh_op *op, enum bh_op_modifier *modifier) {
        const BhYaml *c = e->comps && e->comps->kind == BH_YAML_SEQUENCE ? e->comps->nodes[i] : e->comps;
        const char *text = c ? c->text : default_comp(e);

        return bh_parse_comparison(text, c ? c->n : strlen(text), op, modifier);
}

static gboolean takes_list(enum bh_op op, enum bh_op_modifier modifier) {
        return modifier != BH_MOD_NONE || op >= BH_OP_IN;
}

/* Left side of a check from the exception's own text. NULL: told. */
static BhOperand *field_of(BhLoader *l, const BhExceptionDef *e, const BhYaml *v) {
        g_autoptr(BhText) t = bh_text_new();
        g_auto(BhParser) p = { 0 };

        bh_text_add(t, e->file, v);
        bh_parser_init(&p, l, t, 100);
        bh_lex_blank(&p);
        BhOperand *o = bh_parse_field_or_transformer(&p);
        bh_lex_blank(&p);
        if (o && p.at == p.n)
                return o;
        bh_operand_free(o);
        g_autofree char *q = bh_load_quote(v->text, v->n);
        bh_load_problem(l, BH_ERROR, WRONG, bh_parser_pos(&p, p.what ? p.bad : p.at), l->object, "%s is neither a field nor a transformer of one%s%s", q, p.what ? ": " : "", p.what ? p.what : "");
        return NULL;
}

static gboolean field_known(BhLoader *l, const BhExceptionDef *e, const BhYaml *v) {
        g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func(bh_fault_free);
        g_autoptr(BhOperand) o = field_of(l, e, v);
        BhValueType type;

        if (!o)
                return FALSE;
        if (bh_check_operand(o, FALSE, &type, faults))
                return TRUE;
        for (guint i = 0; i < faults->len; i++) {
                const BhFault *f = g_ptr_array_index(faults, i);

                g_autofree char *what = bh_fault_say(l, f);
                bh_load_problem(l, BH_ERROR, WRONG, f->pos, l->object, "%s", what);
        }
        return FALSE;
}

gboolean bh_exceptions_check(BhLoader *l, const BhExceptionDef *e, gboolean known_source) {
        gboolean many = e->fields->kind == BH_YAML_SEQUENCE, good = TRUE;
        guint n = many ? e->fields->n : 1;
        enum bh_op_modifier modifier;
        enum bh_op op;

        if (e->comps && (e->comps->kind == BH_YAML_SEQUENCE) != many)
                return bad(l, e->file, e->comps, WRONG, many ? "\"comps\" must be a list with an operator for each of the %u fields" : "\"fields\" is %u field, so \"comps\" must be one operator, no list", n);
        if (many && e->comps && e->comps->n != n)
                return bad(l, e->file, e->comps, WRONG, "there are %u fields and %u comps: give each field one", n, e->comps->n);
        for (guint i = 0; i < n; i++) {
                const BhYaml *c = e->comps && many ? e->comps->nodes[i] : e->comps;

                if (!comparison(e, i, &op, &modifier)) {
                        g_autofree char *q = bh_load_quote(c->text, c->n);

                        good = bad(l, e->file, c, WRONG, "%s is no operator that an exception can have", q);
                } else if (!many && !takes_list(op, modifier)) {
                        good = bad(l, e->file, c, WRONG, "the operator of a single field must take a list: in, intersects, pmatch, or one with a modifier as in \"startswith oneof\"; for others write \"fields\" as a list");
                }
                if (known_source)
                        good = field_known(l, e, many ? e->fields->nodes[i] : e->fields) && good;
        }
        return good;
}

gboolean bh_exceptions_merge(BhLoader *l, BhRuleDef *d, GPtrArray *more, gboolean replace) {
        gboolean good = TRUE;

        if (replace)
                g_ptr_array_set_size(d->exceptions, 0);

        while (more->len) {
                BhExceptionDef *e = g_ptr_array_steal_index(more, 0), *old = NULL;

                for (guint i = 0; i < d->exceptions->len && !old && !replace; i++) {
                        BhExceptionDef *x = g_ptr_array_index(d->exceptions, i);

                        if (g_str_equal(x->name, e->name))
                                old = x;
                }
                g_autofree char *q = bh_load_quote(e->name, strlen(e->name));
                if (old && (e->fields || e->comps)) {
                        good = bad(l, e->file, e->fields ? e->fields : e->comps, WRONG, "the exception %s is there already: only values can be appended to it, neither fields nor comps", q);
                } else if (old) {
                        for (guint i = 0; i < e->values->len; i++) {
                                g_ptr_array_add(old->values, g_ptr_array_index(e->values, i));
                                g_ptr_array_add(old->value_files, g_ptr_array_index(e->value_files, i));
                        }
                } else if (!e->fields) {
                        bh_load_problem(l, BH_ERROR, WRONG, e->pos, l->object, "the rule has no exception %s, so a new one needs \"fields\"", q);
                        good = FALSE;
                } else if (!e->values->len && !replace) {
                        bh_load_problem(l, BH_ERROR, WRONG, e->pos, l->object, "the new exception %s needs \"values\"", q);
                        good = FALSE;
                } else if (d->exceptions->len >= BH_RULES_EXCEPTIONS_MAX) {
                        bh_load_problem(l, BH_ERROR, WRONG, e->pos, l->object, "a rule can have 200 exceptions at most: add values to the others");
                        good = FALSE;
                } else if (bh_exceptions_check(l, e, !d->rule->skipped)) {
                        g_ptr_array_add(d->exceptions, g_steal_pointer(&e));
                } else {
                        good = FALSE;
                }
                if (e)
                        bh_exception_free(e);
        }
        return good;
}

/* --- into the condition ------------------------------------------------------------------------------------------ */

static GPtrArray *values_new(void) {
        return g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
}

/* One text of a list of values: a list's name, or what it would be between the commas of a list. FALSE: told. */
static gboolean add_item(BhLoader *l, const BhYamlFile *f, const BhYaml *v, GPtrArray *values) {
        BhItem item = { .text = v->text, .len = v->n, .file = bh_yaml_file_number(f), .off = v->start };
        BhListDef *list = g_hash_table_lookup(l->lists_by, v->text);
        g_auto(BhParser) p = { 0 };

        if (list && strlen(v->text) == v->n) {
                list->used = TRUE;
                if (!bh_list_values(l, list))
                        return FALSE;
                l->put_in += list->values->len;
                if (l->put_in > BH_RULES_PUT_IN_MAX || values->len + list->values->len > BH_RULES_ITEMS_MAX)
                        return bad(l, f, v, WRONG, "more than 1,000,000 values in one exception, or 8,000,000 in all conditions: use fewer");
                for (guint i = 0; i < list->values->len; i++)
                        g_ptr_array_add(values, bh_operand_ref(g_ptr_array_index(list->values, i)));
                return TRUE;
        }
        bh_parser_init_item(&p, l, &item);
        if (bh_parse_item(&p, values))
                return TRUE;
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_COMPILE_CONDITION", bh_parser_pos(&p, p.bad), l->object, "%s", p.what);
        return FALSE;
}

/* A text where the operator takes a list: "(a, b)", "list", "a". NULL: told. */
static GPtrArray *list_of_text(BhLoader *l, const BhYamlFile *f, const BhYaml *v) {
        g_autoptr(BhText) t = bh_text_new();
        g_auto(BhParser) p = { 0 };
        gboolean wrap = v->text[0] != '(';

        bh_text_add(t, f, v);
        if (wrap) { /* the places stay those of the text, one before and one after */
                g_string_prepend_c(t->s, '(');
                g_string_append_c(t->s, ')');
                for (guint i = 0; i < t->runs->len; i++)
                        g_array_index(t->runs, BhTextRun, i).at++;
        }
        bh_parser_init(&p, l, t, 100);
        GPtrArray *values = bh_parse_values(&p, FALSE);
        bh_lex_blank(&p);
        if (values && p.at == p.n)
                return values;
        g_clear_pointer(&values, g_ptr_array_unref);
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_COMPILE_CONDITION", bh_parser_pos(&p, p.what ? p.bad : p.at), l->object, "%s", p.what ? p.what : "something stands behind the list: take it away");
        return NULL;
}

/* A text where the operator takes one value. NULL: told. */
static GPtrArray *value_of_text(BhLoader *l, const BhYamlFile *f, const BhYaml *v, enum bh_op op) {
        g_autoptr(GPtrArray) values = values_new();
        g_autoptr(BhText) t = bh_text_new();
        g_auto(BhParser) p = { 0 };

        if (memchr(v->text, ' ', v->n) && v->text[0] != '"' && v->text[0] != '\'')
                return add_item(l, f, v, values) && values->len == 1 ? g_steal_pointer(&values) : NULL;
        bh_text_add(t, f, v);
        bh_parser_init(&p, l, t, 100);
        BhOperand *o = bh_parse_value(&p, op);
        bh_lex_blank(&p);
        if (o && p.at == p.n) {
                g_ptr_array_add(values, o);
                return g_steal_pointer(&values);
        }
        bh_operand_free(o);
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_COMPILE_CONDITION", bh_parser_pos(&p, p.what ? p.bad : p.at), l->object, "%s",
                        p.what ? p.what : "the value holds one of ()\"'=, : put it in quotes of its own, as in '\"a=b\"'");
        return NULL;
}

static GPtrArray *values_of(BhLoader *l, const BhYamlFile *f, const BhYaml *v, enum bh_op op, enum bh_op_modifier modifier) {
        if (v->kind == BH_YAML_SCALAR)
                return takes_list(op, modifier) ? list_of_text(l, f, v) : value_of_text(l, f, v, op);
        if (!takes_list(op, modifier)) {
                bad(l, f, v, WRONG, "this operator takes one value, not a list: use in, or a modifier as in \"startswith oneof\"");
                return NULL;
        }
        g_autoptr(GPtrArray) values = values_new();
        for (guint i = 0; i < v->n; i++) {
                if (v->nodes[i]->kind != BH_YAML_SCALAR) {
                        bad(l, f, v->nodes[i], SHAPE, "lists in lists in lists: \"values\" is a list of values, or of lists with one entry a field");
                        return NULL;
                }
                if (!add_item(l, f, v->nodes[i], values))
                        return NULL;
        }
        return g_steal_pointer(&values);
}

/* field op values; takes the values. NULL: told. */
static BhCond *check_new(BhLoader *l, const BhExceptionDef *e, const BhYaml *field, struct bh_pos pos, enum bh_op op, enum bh_op_modifier modifier, GPtrArray *values) {
        BhOperand *left = values ? field_of(l, e, field) : NULL;

        if (!left) {
                g_clear_pointer(&values, g_ptr_array_unref);
                return NULL;
        }
        BhCond *c = bh_cond_new(BH_COND_CHECK, pos);
        c->op = op;
        c->modifier = modifier;
        c->left = left;
        c->values = values;
        return c;
}

static BhCond *single(BhLoader *l, const BhExceptionDef *e) {
        g_autoptr(GPtrArray) values = values_new();
        enum bh_op_modifier modifier;
        enum bh_op op;

        comparison(e, 0, &op, &modifier);
        for (guint i = 0; i < e->values->len; i++) {
                const BhYaml *v = g_ptr_array_index(e->values, i);
                const BhYamlFile *f = g_ptr_array_index(e->value_files, i);

                if (v->kind != BH_YAML_SCALAR) {
                        bad(l, f, v, WRONG, "\"fields\" is one field, so each value must be a text, no list");
                        return NULL;
                }
                if (!add_item(l, f, v, values))
                        return NULL;
        }
        return check_new(l, e, e->fields, e->pos, op, modifier, g_steal_pointer(&values));
}

/* One of the values of several fields. */
static BhCond *row(BhLoader *l, const BhExceptionDef *e, const BhYamlFile *f, const BhYaml *v) {
        struct bh_pos pos = bh_load_pos_at(l, bh_yaml_file_number(f), v->start);
        guint n = e->fields->n;

        if (v->kind != BH_YAML_SEQUENCE || v->n != n) {
                bad(l, f, v, WRONG, "there are %u fields, so each value must be a list of %u", n, n);
                return NULL;
        }
        g_autoptr(BhCond) all = bh_cond_new(BH_COND_AND, pos);
        for (guint i = 0; i < n; i++) {
                enum bh_op_modifier modifier;
                enum bh_op op;

                comparison(e, i, &op, &modifier);
                if (op == BH_OP_EXISTS) { /* takes no value; the text is not looked at */
                        BhCond *c = check_new(l, e, e->fields->nodes[i], pos, op, modifier, values_new());

                        if (!c)
                                return NULL;
                        g_clear_pointer(&c->values, g_ptr_array_unref);
                        g_ptr_array_add(all->kids, c);
                        continue;
                }
                BhCond *c = check_new(l, e, e->fields->nodes[i], pos, op, modifier, values_of(l, f, v->nodes[i], op, modifier));
                if (!c)
                        return NULL;
                g_ptr_array_add(all->kids, c);
        }
        return g_steal_pointer(&all);
}

static BhCond *several(BhLoader *l, const BhExceptionDef *e) {
        g_autoptr(BhCond) any = bh_cond_new(BH_COND_OR, e->pos);
        gboolean good = TRUE;

        for (guint i = 0; i < e->values->len; i++) {
                BhCond *c = row(l, e, g_ptr_array_index(e->value_files, i), g_ptr_array_index(e->values, i));

                if (c)
                        g_ptr_array_add(any->kids, c);
                good = good && c;
        }
        return good ? g_steal_pointer(&any) : NULL;
}

/* AND and OR have two kids or more. */
static BhCond *simplify(BhCond *c) {
        if (c->kind != BH_COND_AND && c->kind != BH_COND_OR)
                return c;
        for (guint i = 0; i < c->kids->len; i++)
                c->kids->pdata[i] = simplify(c->kids->pdata[i]);
        if (c->kids->len != 1)
                return c;
        BhCond *only = g_ptr_array_steal_index(c->kids, 0);
        bh_cond_free(c);
        return only;
}

BhCond *bh_exceptions_apply(BhLoader *l, const BhRuleDef *d, BhCond *condition) {
        gboolean good = TRUE;
        g_autoptr(BhCond) all = bh_cond_new(BH_COND_AND, condition->pos);

        g_ptr_array_add(all->kids, condition);
        for (guint i = 0; i < d->exceptions->len; i++) {
                const BhExceptionDef *e = g_ptr_array_index(d->exceptions, i);

                if (!e->values->len || (e->fields->kind == BH_YAML_SEQUENCE && !e->fields->n))
                        continue;
                BhCond *c = e->fields->kind == BH_YAML_SEQUENCE ? several(l, e) : single(l, e), *n;
                if (!c) {
                        good = FALSE;
                        continue;
                }
                n = bh_cond_new(BH_COND_NOT, e->pos);
                g_ptr_array_add(n->kids, simplify(c));
                g_ptr_array_add(all->kids, n);
        }
        if (!good)
                return NULL;
        if (all->kids->len == 1)
                return g_ptr_array_steal_index(all->kids, 0);
        return g_steal_pointer(&all);
}
