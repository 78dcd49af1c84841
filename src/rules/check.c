/* SPDX-License-Identifier: Apache-2.0 */
/* Does what stands in a condition fit together: fields and their arguments, transformers, operators and types, values and types. */
#include <arpa/inet.h>
#include <string.h>

#include "rules/load.h"
#include "rules/names.h"

#define COND "LOAD_ERR_COMPILE_CONDITION"
#define WARN "LOAD_COMPILE_CONDITION"

void bh_fault_free(gpointer p) {
        BhFault *f = p;

        g_free(f->what);
        g_free(f->field);
        g_free(f);
}

char *bh_fault_say(BhLoader *l, const BhFault *f) {
        g_autofree char *like = !f->field ? NULL : f->evt_type ? bh_load_like_evt_name(l, f->field, strlen(f->field)) : bh_load_like_field(l, f->field, strlen(f->field));

        return g_strconcat(f->what, like, NULL);
}

void bh_fault(GPtrArray *faults, gboolean error, gboolean unknown, const char *code, struct bh_pos pos, const char *format, ...) {
        va_list args;
        BhFault *f;

        if (faults->len >= BH_RULES_FAULTS_MAX) {
                f = g_ptr_array_index(faults, faults->len - 1);
                if (error && !f->error) { /* a warning gives way */
                        f->error = TRUE;
                        f->unknown = FALSE;
                        f->code = code;
                        g_free(f->what);
                        f->what = g_strdup("there is more wrong in here: mend the rest first");
                }
                return;
        }
        f = g_new0(BhFault, 1);
        f->error = error;
        f->unknown = unknown;
        f->code = code;
        f->pos = pos;
        va_start(args, format);
        f->what = g_strdup_vprintf(format, args);
        va_end(args);
        g_ptr_array_add(faults, f);
}

void bh_fault_unknown(GPtrArray *faults, const char *code, struct bh_pos pos, const char *name, gsize len, const char *what) {
        guint before = faults->len;
        g_autofree char *q = before < BH_RULES_FAULTS_MAX ? bh_load_quote(name, len) : NULL;
        g_auto(GStrv) parts = g_strsplit(what, "%s", 2);

        bh_fault(faults, BH_ERROR, TRUE, code, pos, "%s%s%s", parts[0], q, parts[1]);
        if (faults->len > before)
                ((BhFault *) g_ptr_array_index(faults, before))->field = g_strndup(name, MIN(len, 100));
}

/* --- fields and transformers ------------------------------------------------------------------------------------- */

static gboolean check_field(const BhOperand *o, gboolean output, GPtrArray *faults) {
        const BhRuleField *f = o->field;

        if (!f) {
                bh_fault_unknown(faults, COND, o->pos, o->text, o->len, "there is no field %s (\"bulkhead rules fields\" lists them)");
                return FALSE;
        }
        if (f->flags & (output ? BH_FF_FILTER_ONLY : BH_FF_OUTPUT_ONLY)) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, output ? "the field %s can be used in conditions only" : "the field %s can be used in outputs only", f->name);
                return FALSE;
        }
        switch (f->arg) {
        case BH_RA_NONE:
                if (!o->arg)
                        return TRUE;
                bh_fault(faults, BH_ERROR, TRUE, COND, o->pos, "the field %s has no argument: take the brackets away", f->name);
                return FALSE;
        case BH_RA_INDEX:
        case BH_RA_INDEX_OPT:
                if (o->has_index || (!o->arg && f->arg == BH_RA_INDEX_OPT))
                        return TRUE;
                bh_fault(faults, BH_ERROR, TRUE, COND, o->pos, "the field %s %s a number, as in %s[1]", f->name, o->arg ? "takes" : "needs", f->name);
                return FALSE;
        case BH_RA_NAME:
        case BH_RA_NAME_OPT:
                if ((o->arg && *o->arg) || (!o->arg && f->arg == BH_RA_NAME_OPT))
                        return TRUE;
                bh_fault(faults, BH_ERROR, TRUE, COND, o->pos, "the field %s needs an argument, as in %s[name]", f->name, f->name);
                return FALSE;
        }
        return TRUE;
}

static gboolean textual(enum bh_rule_type t) {
        return t == BH_RT_STRING || t == BH_RT_FLAGS || t == BH_RT_ANY;
}

static gboolean check_transform(const BhOperand *o, gboolean output, BhValueType *type, GPtrArray *faults) {
        static const char *const names[] = {
#define X(id, text) text,
                BH_TRANSFORMERS(X)
#undef X
        };
        const char *name = names[o->transformer];
        BhValueType args[3] = { 0 };
        gboolean good = TRUE;

        for (guint i = 0; i < o->args->len; i++) {
                const BhOperand *a = g_ptr_array_index(o->args, i);
                BhValueType t;

                if (!bh_check_operand(a, output, &t, faults)) {
                        good = FALSE;
                        continue;
                }
                if (a->kind == BH_OPERAND_FIELD && a->field->flags & (o->transformer == BH_TR_VAL ? BH_FF_NO_VAL : BH_FF_NO_TRANSFORM)) {
                        bh_fault(faults, BH_ERROR, FALSE, COND, a->pos, "the field %s cannot stand in %s()", a->field->name, name);
                        good = FALSE;
                }
                if (o->transformer == BH_TR_CONCAT && (!textual(t.type) || t.list)) {
                        bh_fault(faults, BH_ERROR, FALSE, COND, a->pos, "concat() joins texts: this is %s%s", t.list ? "a list of " : "a ", bh_rule_type_name(t.type));
                        good = FALSE;
                }
                args[MIN(i, 2)] = t;
        }
        if (o->arg && o->transformer != BH_TR_GETOPT) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "%s() has no argument in brackets: take them away", name);
                good = FALSE;
        }
        guint n = o->args->len, least = o->transformer == BH_TR_JOIN || o->transformer == BH_TR_GETOPT || o->transformer == BH_TR_CONCAT ? 2 : 1;
        if (n < least || (n > least && o->transformer != BH_TR_CONCAT)) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "%s() takes %s%u argument%s, not %u%s", name, o->transformer == BH_TR_CONCAT ? "at least " : "", least, least > 1 ? "s" : "", n,
                         o->transformer == BH_TR_JOIN ? ": the text between, and a list" : o->transformer == BH_TR_GETOPT ? ": a list of arguments, and the options" : "");
                return FALSE;
        }
        if (!good)
                return FALSE;
        switch (o->transformer) {
        case BH_TR_VAL: *type = args[0]; return TRUE;
        case BH_TR_TOLOWER:
        case BH_TR_TOUPPER:
        case BH_TR_BASENAME:
                *type = (BhValueType) { args[0].type == BH_RT_ANY ? BH_RT_STRING : args[0].type, args[0].list };
                if (textual(args[0].type))
                        return TRUE;
                break;
        case BH_TR_B64:
                *type = args[0];
                if (textual(args[0].type) || args[0].type == BH_RT_BYTES)
                        return TRUE;
                break;
        case BH_TR_LEN:
                *type = (BhValueType) { BH_RT_NUMBER, FALSE };
                if (args[0].list || textual(args[0].type) || args[0].type == BH_RT_BYTES)
                        return TRUE;
                break;
        case BH_TR_JOIN:
                *type = (BhValueType) { BH_RT_STRING, FALSE };
                if (!args[0].list && args[1].list)
                        return TRUE;
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "join() takes a text and then a list, as in join(\",\", (proc.name, proc.pname))");
                return FALSE;
        case BH_TR_CONCAT: *type = (BhValueType) { BH_RT_STRING, FALSE }; return TRUE;
        case BH_TR_GETOPT:
                *type = (BhValueType) { BH_RT_STRING, !o->arg };
                if (!args[0].list || args[1].list || !textual(args[0].type) || !textual(args[1].type)) {
                        bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "getopt() takes a list of texts and then a text of options, as in getopt(list, \"ab:\")");
                        return FALSE;
                }
                if (o->arg && strlen(o->arg) != 1) {
                        bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "the argument of getopt() in brackets is the letter of one option");
                        return FALSE;
                }
                return TRUE;
        case BH_TR_COUNT: break;
        }
        bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "%s() takes a text%s, and this is %s%s", name, o->transformer == BH_TR_B64 || o->transformer == BH_TR_LEN ? " or bytes" : "",
                 args[0].list ? "a list of type " : "of type ", bh_rule_type_name(args[0].type));
        return FALSE;
}

gboolean bh_check_operand(const BhOperand *o, gboolean output, BhValueType *type, GPtrArray *faults) {
        gboolean good = TRUE;

        switch (o->kind) {
        case BH_OPERAND_LITERAL: *type = (BhValueType) { BH_RT_STRING, FALSE }; return TRUE;
        case BH_OPERAND_FIELD:
                if (!check_field(o, output, faults))
                        return FALSE;
                *type = (BhValueType) { o->field->type, o->field->list };
                return TRUE;
        case BH_OPERAND_TRANSFORM: return check_transform(o, output, type, faults);
        case BH_OPERAND_LIST:
                for (guint i = 0; i < o->args->len; i++)
                        good = bh_check_operand(g_ptr_array_index(o->args, i), output, type, faults) && good;
                *type = (BhValueType) { BH_RT_STRING, TRUE };
                return good;
        }
        return FALSE;
}

/* --- operators --------------------------------------------------------------------------------------------------- */

#define B(op) (1u << BH_OP_##op)
#define EQUAL (B(EXISTS) | B(EQ) | B(NE) | B(IN) | B(INTERSECTS))
#define ORDER (EQUAL | B(LT) | B(LE) | B(GT) | B(GE))

static guint32 operators_of(BhValueType t) {
        if (t.list)
                return B(EXISTS) | B(IN) | B(INTERSECTS);
        switch (t.type) {
        case BH_RT_NUMBER:
        case BH_RT_TIME:
        case BH_RT_DURATION:
        case BH_RT_PORT: return ORDER;
        case BH_RT_BOOL:
        case BH_RT_IP:
        case BH_RT_NET: return EQUAL;
        case BH_RT_BYTES: return EQUAL | B(CONTAINS) | B(STARTSWITH) | B(ENDSWITH) | B(BCONTAINS) | B(BSTARTSWITH);
        case BH_RT_STRING:
        case BH_RT_FLAGS:
        case BH_RT_ANY: break;
        }
        return ((1u << BH_OP_COUNT) - 1) & ~(B(BCONTAINS) | B(BSTARTSWITH));
}

static gboolean check_operator(const BhCond *c, BhValueType t, GPtrArray *faults) {
        guint32 may = operators_of(t);
        g_autoptr(GString) others = g_string_new(NULL);

        if (may & 1u << c->op)
                return TRUE;
        for (guint i = 0; i < BH_OP_COUNT; i++)
                if (may & 1u << i)
                        g_string_append_printf(others, "%s%s", others->len ? " " : "", bh_op_text((enum bh_op) i));
        bh_fault(faults, BH_ERROR, FALSE, COND, c->pos, "the operator \"%s\" cannot compare %s%s: use one of %s", bh_op_text(c->op), t.list ? "a list of type " : "the type ",
                 bh_rule_type_name(t.type), others->str);
        return FALSE;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static gboolean number(const char *text) {
        gboolean negative = *text == '-';
        const char *p = text + (*text == '-' || *text == '+');
        guint64 n = 0;

        if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
                gsize digits = strspn(p + 2, "0123456789abcdefABCDEF");

                return p == text && digits > 0 && digits <= 16 && !p[2 + digits];
        }
        return g_ascii_isdigit(*p) && g_ascii_string_to_unsigned(p, 10, 0, negative ? (guint64) G_MAXINT64 + 1 : G_MAXUINT64, &n, NULL);
}

static gboolean address(const char *text) {
        guint8 bytes[16];

        return inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, bytes) == 1;
}

static gboolean network(const char *text) {
        const char *slash = strchr(text, '/');
        guint64 bits;

        if (!slash)
                return FALSE;
        g_autofree char *net = g_strndup(text, (gsize) (slash - text));
        return address(net) && g_ascii_string_to_unsigned(slash + 1, 10, 0, strchr(net, ':') ? 128 : 32, &bits, NULL);
}

static gboolean port(const char *text) {
        guint64 n;

        if (g_ascii_isdigit(*text))
                return g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT16, &n, NULL) || (number(text) && strlen(text) <= 6 && text[1] == 'x');
        return bh_rule_port_number(text, strlen(text)) >= 0;
}

/* NULL: it fits; else what is wanted. */
static const char *wanted(enum bh_rule_type type, const BhOperand *o) {
        if (memchr(o->text, '\0', o->len))
                return type == BH_RT_BYTES ? NULL : "a text without NUL bytes";
        switch (type) {
        case BH_RT_NUMBER: return number(o->text) ? NULL : "a whole number, as in 42, -1 or 0x2a";
        case BH_RT_TIME:
        case BH_RT_DURATION: return number(o->text) ? NULL : "a whole number of nanoseconds";
        case BH_RT_PORT: return port(o->text) ? NULL : "a port from 0 to 65535, or the name of a service";
        case BH_RT_BOOL: return g_str_equal(o->text, "true") || g_str_equal(o->text, "false") ? NULL : "true or false";
        case BH_RT_IP: return address(o->text) || network(o->text) ? NULL : "an address, as in 10.0.0.1 or fd00::1, or a network, as in 10.0.0.0/8";
        case BH_RT_NET: return network(o->text) ? NULL : "a network, as in 10.0.0.0/8 or fd00::/8";
        case BH_RT_STRING:
        case BH_RT_FLAGS:
        case BH_RT_BYTES:
        case BH_RT_ANY: break;
        }
        return NULL;
}

static BhOperand *unhex(const BhOperand *o, GPtrArray *faults) {
        g_autoptr(BhOperand) n = bh_operand_new(BH_OPERAND_LITERAL, o->pos);
        gsize len = o->len / 2;

        if (o->len % 2 || !o->len || strspn(o->text, "0123456789abcdefABCDEF") != o->len) {
                g_autofree char *q = bh_load_quote(o->text, o->len);

                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "bcontains and bstartswith take bytes in hexadecimal, two digits each, as in 7f454c46: %s is none", q);
                return NULL;
        }
        n->text = g_malloc(len + 1);
        for (gsize i = 0; i < len; i++)
                n->text[i] = (char) (g_ascii_xdigit_value(o->text[2 * i]) << 4 | g_ascii_xdigit_value(o->text[2 * i + 1]));
        n->text[len] = '\0';
        n->len = len;
        n->quoted = o->quoted;
        return g_steal_pointer(&n);
}

static gboolean compares_event_types(const BhCond *c) {
        const char *name = c->left->kind == BH_OPERAND_FIELD ? c->left->field->name : "";

        return (c->op == BH_OP_EQ || c->op == BH_OP_NE || c->op == BH_OP_IN) && (g_str_equal(name, "evt.type") || g_str_equal(name, "syscall.type"));
}

/* FALSE: it is compared with a type of event that there is nowhere. */
static gboolean event_type(const BhOperand *o, GPtrArray *faults) {
        guint before = faults->len;

        if (bh_evt_name_known(o->text))
                return TRUE;
        bh_fault_unknown(faults, COND, o->pos, o->text, o->len, "there is no type of event %s");
        if (faults->len > before)
                ((BhFault *) g_ptr_array_index(faults, before))->evt_type = TRUE;
        return FALSE;
}

/* Values that look like something else than text. */
static void warn_value(const BhCond *c, const BhOperand *o, GPtrArray *faults) {
        static const char *const transformers[] = {
#define X(id, text) text "(",
                BH_TRANSFORMERS(X)
#undef X
        };
        char text[256];
        gsize n = 0, used;

        if (o->len >= sizeof text)
                return;
        for (gsize i = 0; i < o->len; i++)
                if (!g_ascii_isspace(o->text[i]))
                        text[n++] = o->text[i];
        text[n] = '\0';
        if (c->op == BH_OP_REGEX) {
                gsize special = strcspn(text, ".+*?^$()[]{}|\\");

                if (n && special == n)
                        bh_fault(faults, BH_WARN, FALSE, WARN, o->pos, "this regular expression has no special character: \"=\" does the same and is faster");
        }
        if (memchr(text, '.', n) && bh_rule_field_find(text, n, &used) && used == n)
                bh_fault(faults, BH_WARN, FALSE, WARN, o->pos, "\"%s\" is compared as a text, though it is the name of a field: write val(%s) if the field is meant", text, text);
        for (gsize i = 0; i < G_N_ELEMENTS(transformers); i++)
                if (g_str_has_prefix(text, transformers[i]) && text[n - 1] == ')') {
                        g_autofree char *q = bh_load_quote(o->text, o->len);

                        bh_fault(faults, BH_WARN, FALSE, WARN, o->pos, "%s is compared as a text, though it looks like a transformer: write it without quotes and blanks", q);
                }
        if (g_str_equal(text, "<NA>") && (c->op == BH_OP_EQ || c->op == BH_OP_NE || c->op == BH_OP_IN) && c->left->kind == BH_OPERAND_FIELD &&
            !g_str_has_prefix(c->left->field->name, "user.") && !g_str_has_prefix(c->left->field->name, "group."))
                bh_fault(faults, BH_WARN, FALSE, "LOAD_UNSAFE_NA_CHECK", o->pos, "a missing field equals nothing, not \"<NA>\" either: use \"exists\", or \"not … exists\"");
}

static gboolean right_side(const BhCond *c, const BhOperand *o, BhValueType left, GPtrArray *faults) {
        BhValueType right;

        if (!bh_check_operand(o, FALSE, &right, faults))
                return FALSE;
        if (c->op == BH_OP_REGEX || c->op == BH_OP_PMATCH) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "the operator \"%s\" takes texts that are fixed, no field on its right side", bh_op_text(c->op));
                return FALSE;
        }
        if (left.type == BH_RT_NET) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "a network is compared with fixed networks, not with a field");
                return FALSE;
        }
        if (c->left->kind == BH_OPERAND_FIELD && c->left->field->flags & BH_FF_NO_VAL) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "the field %s cannot be compared with another field", c->left->field->name);
                return FALSE;
        }
        gboolean any = left.type == BH_RT_ANY || right.type == BH_RT_ANY || (textual(left.type) && textual(right.type));
        if (!any && left.type != right.type) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "the left side is of type %s and the right side of type %s: they cannot be compared", bh_rule_type_name(left.type),
                         bh_rule_type_name(right.type));
                return FALSE;
        }
        if (left.list != right.list && c->op != BH_OP_IN && c->op != BH_OP_INTERSECTS) {
                bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "a list is compared with a list: use in or intersects");
                return FALSE;
        }
        return TRUE;
}

static void check_values(BhLoader *l, BhCond *c, BhValueType t, GPtrArray *faults) {
        gboolean bytes = c->op == BH_OP_BCONTAINS || c->op == BH_OP_BSTARTSWITH, types = compares_event_types(c);
        g_autoptr(GPtrArray) converted = bytes ? g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free) : NULL;
        BhListDef *shared = g_hash_table_lookup(l->lists_of, c->values); /* a list by itself, perhaps looked at before for this type */
        guint told = 0;

        if (shared && !bytes && !types && shared->fit & 1u << t.type)
                return;
        for (guint i = 0; i < c->values->len; i++) {
                const BhOperand *o = g_ptr_array_index(c->values, i);

                if (o->kind != BH_OPERAND_LITERAL) {
                        right_side(c, o, t, faults);
                        continue;
                }
                if (bytes) {
                        BhOperand *n = unhex(o, faults);

                        if (n)
                                g_ptr_array_add(converted, n);
                        else if (++told >= 10)
                                break;
                        continue;
                }
                const char *want = wanted(t.type, o);
                if (want) {
                        g_autofree char *q = bh_load_quote(o->text, o->len);
                        gboolean far = o->pos.file != c->pos.file || o->pos.line < c->pos.line;

                        bh_fault(faults, BH_ERROR, FALSE, COND, o->pos, "%s cannot be compared with the type %s: write %s", q, bh_rule_type_name(t.type), want);
                        if (far)
                                bh_fault(faults, BH_ERROR, FALSE, COND, c->pos, "a list that is put in here holds %s, and the type %s needs %s", q, bh_rule_type_name(t.type), want);
                        if (++told >= 10)
                                break;
                } else if (types && !event_type(o, faults)) {
                        if (++told >= 10)
                                break;
                } else if (!shared || !shared->warned) {
                        warn_value(c, o, faults);
                }
        }
        if (shared) {
                shared->warned = TRUE;
                if (!told && !types)
                        shared->fit |= 1u << t.type;
        }
        if (bytes) {
                g_ptr_array_unref(c->values);
                c->values = g_steal_pointer(&converted);
        }
}

static void check_one(BhLoader *l, BhCond *c, GPtrArray *faults) {
        BhValueType t;

        if (!bh_check_operand(c->left, FALSE, &t, faults))
                return;
        if (c->left->kind == BH_OPERAND_FIELD && c->left->field->flags & BH_FF_DEPRECATED)
                bh_fault(faults, BH_WARN, FALSE, "LOAD_DEPRECATED_ITEM", c->left->pos,
                         g_str_equal(c->left->field->name, "evt.dir") ? "the field evt.dir is deprecated: it is always \"<\" for an event tells the act when it is done; take the check away"
                                                                      : "the field %s is deprecated: it never has a value; take the check away",
                         c->left->field->name);
        if (check_operator(c, t, faults) && c->values)
                check_values(l, c, t, faults);
}

void bh_check_tree(BhLoader *l, BhCond *c, GPtrArray *faults) {
        for (guint i = 0; c->kids && i < c->kids->len; i++)
                bh_check_tree(l, g_ptr_array_index(c->kids, i), faults);
        if (c->kind == BH_COND_CHECK)
                check_one(l, c, faults);
}
