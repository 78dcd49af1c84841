/* SPDX-License-Identifier: Apache-2.0 */
/* Output formats, compiled to slots, and what they make of an event. The loader (output.c) has checked them already; what is wrong here is text. */
#include "base/escape.h"
#include "rules/load.h"
#include "rules/program.h"

#define OUTPUT_MAX (64u << 10)
#define WIDTH_MAX 9999u

struct token {
        guint32 slot;  /* BH_NONE: text */
        guint32 width; /* 0: as wide as it is */
        char *text;    /* the text, or the field's name as it was written */
        gboolean key;  /* a plain field: part of output_fields */
        gboolean hidden; /* of output_fields only: it stands inside of a transformer */
};

struct BhRuleFormat {
        GArray *tokens; /* of token */
        gboolean raw;   /* an extra field that is shown as the value it is */
        char *name;     /* of an extra field, NULL: the output itself */
};

static void token_clear(gpointer data) {
        g_free(((struct token *) data)->text);
}

static void add_text(BhRuleFormat *f, const char *text, gsize len) {
        struct token t = { .slot = BH_NONE };

        if (!len)
                return;
        if (f->tokens->len) {
                struct token *last = &g_array_index(f->tokens, struct token, f->tokens->len - 1);

                if (last->slot == BH_NONE) {
                        char *both = g_strdup_printf("%s%.*s", last->text, (int) len, text);

                        g_free(last->text);
                        last->text = both;
                        return;
                }
        }
        t.text = g_strndup(text, len);
        g_array_append_val(f->tokens, t);
}

/* The fields inside of a transformer: output_fields has them, not what was made of them. */
static void add_inner(BhRuleFormat *f, const BhOperand *o, BhFormatSlot slot_of, gpointer data) {
        for (guint i = 0; o->args && i < o->args->len; i++) {
                const BhOperand *arg = g_ptr_array_index(o->args, i);

                if (arg->kind == BH_OPERAND_FIELD && arg->field) {
                        struct token t = { .slot = slot_of(arg, data), .key = TRUE, .hidden = TRUE };

                        if (t.slot == BH_NONE)
                                continue;
                        t.text = arg->arg ? g_strdup_printf("%s[%s]", arg->field->name, arg->arg) : g_strdup(arg->field->name);
                        g_array_append_val(f->tokens, t);
                } else {
                        add_inner(f, arg, slot_of, data);
                }
        }
}

/* A field or transformer behind '%' and its width. FALSE: it is none, and nothing was taken. */
static gboolean add_operand(BhRuleFormat *f, BhParser *p, BhFormatSlot slot_of, gpointer data) {
        g_autoptr(BhOperand) o = NULL;
        struct token t = { .slot = BH_NONE };
        gsize at = p->at;

        while (p->at < p->n && g_ascii_isdigit(p->s[p->at]) && t.width <= WIDTH_MAX)
                t.width = t.width * 10 + (guint32) (p->s[p->at++] - '0');
        gsize from = p->at;
        o = bh_parse_output_operand(p);
        if (o && t.width <= WIDTH_MAX)
                t.slot = slot_of(o, data);
        if (t.slot == BH_NONE) {
                bh_parser_clear(p);
                p->at = at;
                return FALSE;
        }
        t.key = o->kind == BH_OPERAND_FIELD;
        t.text = g_strndup(p->s + from, p->at - from);
        g_array_append_val(f->tokens, t);
        if (!t.key && !f->raw)
                add_inner(f, o, slot_of, data);
        return TRUE;
}

BhRuleFormat *bh_rule_format_new(const char *text, const char *name, gboolean raw, BhFormatSlot slot_of, gpointer data) {
        static const char info[] = "%container.info";
        g_autoptr(BhLoader) loader = bh_loader_new(NULL);
        g_autoptr(BhText) whole = NULL;
        g_auto(BhParser) p = { 0 };
        BhRuleFormat *f = g_new0(BhRuleFormat, 1);

        f->tokens = g_array_new(FALSE, FALSE, sizeof(struct token));
        g_array_set_clear_func(f->tokens, token_clear);
        f->raw = raw;
        f->name = g_strdup(name);
        if (text[0] == '*' && !name)
                text++;
        whole = bh_loader_text(loader, text, strlen(text));
        bh_parser_init(&p, loader, whole, 100);
        while (p.at < p.n) {
                const char *percent = memchr(p.s + p.at, '%', p.n - p.at);
                gsize until = percent ? (gsize) (percent - p.s) : p.n;

                add_text(f, p.s + p.at, until - p.at);
                p.at = until;
                p.depth = 0;
                if (!percent)
                        break;
                if (p.at + 1 < p.n && p.s[p.at + 1] == '%') {
                        add_text(f, "%", 1);
                        p.at += 2;
                } else if (p.n - p.at >= strlen(info) && memcmp(p.s + p.at, info, strlen(info)) == 0) {
                        p.at += strlen(info);
                } else {
                        p.at++;
                        if (!add_operand(f, &p, slot_of, data))
                                add_text(f, "%", 1);
                }
        }
        return f;
}

void bh_rule_format_free(BhRuleFormat *f) {
        if (!f)
                return;
        g_array_unref(f->tokens);
        g_free(f->name);
        g_free(f);
}

/* ---- rendering ---- */

static const BhRuleField *row_of(const struct bh_slot *s) {
        guint n;

        if (s->row)
                return s->row;
        return &bh_rule_fields(&n)[s->type == BH_RT_NUMBER ? BH_FLD_EVT_COUNT : BH_FLD_EVT_TYPE]; /* a plain number, a plain text */
}

/* FALSE: missing, and "<NA>" was put. */
static gboolean show(BhRuleRun *r, const BhRuleEngine *e, guint32 slot, GString *out) {
        const struct bh_slot *s = &BH_AT(e->slots, struct bh_slot, slot);
        const struct bh_value *values;
        guint n = bh_run_slot(r, e, slot, &values);

        if (!n) {
                g_string_append(out, "<NA>");
                return FALSE;
        }
        if (s->many == BH_MANY_ANY && values[0].kind != BH_VALUE_STR) /* numbers of ancestors: the nearest */
                n = 1;
        if (s->many == BH_MANY_LIST)
                g_string_append_c(out, '(');
        for (guint i = 0; i < n; i++) {
                if (i)
                        g_string_append_c(out, s->many == BH_MANY_LIST ? ',' : ' ');
                bh_value_show(row_of(s), &values[i], out);
        }
        if (s->many == BH_MANY_LIST)
                g_string_append_c(out, ')');
        return TRUE;
}

/* Cuts what `out` got from `from` on to the bound, and says so. */
static gboolean bounded(GString *out, gsize from) {
        if (out->len - from <= OUTPUT_MAX)
                return TRUE;
        g_string_truncate(out, from + OUTPUT_MAX);
        g_string_append(out, "…");
        return FALSE;
}

static void render(BhRuleRun *r, const BhRuleEngine *e, const BhRuleFormat *f, GString *out) {
        gsize from = out->len;

        for (guint i = 0; i < f->tokens->len; i++) {
                const struct token *t = &g_array_index(f->tokens, struct token, i);
                gsize start = out->len;

                if (t->hidden)
                        continue;
                if (t->slot == BH_NONE)
                        g_string_append(out, t->text);
                else
                        show(r, e, t->slot, out);
                if (t->width && out->len - start > t->width) {
                        g_string_truncate(out, start + t->width);
                } else if (t->width) {
                        while (out->len - start < t->width)
                                g_string_append_c(out, ' ');
                }
                if (!bounded(out, from))
                        return;
        }
}

static void json_value(BhRuleRun *r, const BhRuleEngine *e, guint32 slot, GString *out) {
        const struct bh_slot *s = &BH_AT(e->slots, struct bh_slot, slot);
        const BhRuleField *row = row_of(s);
        const struct bh_value *values;
        guint n = bh_run_slot(r, e, slot, &values);
        GString *text = r->scratch;

        if (!n || values[0].kind == BH_VALUE_SOME) {
                g_string_append(out, "null");
                return;
        }
        if (s->many == BH_MANY_LIST)
                g_string_append_c(out, '[');
        for (guint i = 0; i < (s->many == BH_MANY_LIST ? n : 1); i++) {
                if (i)
                        g_string_append_c(out, ',');
                if (values[i].kind == BH_VALUE_NUM && s->type == BH_RT_BOOL) {
                        g_string_append(out, values[i].n ? "true" : "false");
                } else if (values[i].kind == BH_VALUE_NUM) {
                        g_string_append_printf(out, "%" G_GINT64_FORMAT, values[i].n);
                } else {
                        g_string_truncate(text, 0);
                        bh_value_show(row, &values[i], text);
                        for (guint k = 1; s->many == BH_MANY_ANY && k < n; k++) { /* all ancestors, one text */
                                g_string_append_c(text, ' ');
                                bh_value_show(row, &values[k], text);
                        }
                        bounded(text, 0);
                        bh_escape_append_json(out, text->str, (gssize) text->len);
                }
        }
        if (s->many == BH_MANY_LIST)
                g_string_append_c(out, ']');
}

static gboolean seen_before(const GPtrArray *formats, guint format, guint token) {
        const char *name = g_array_index(((const BhRuleFormat *) g_ptr_array_index(formats, format))->tokens, struct token, token).text;

        for (guint f = 0; f <= format; f++) {
                const BhRuleFormat *x = g_ptr_array_index(formats, f);

                for (guint i = 0; !x->name && i < (f == format ? token : x->tokens->len); i++) {
                        const struct token *t = &g_array_index(x->tokens, struct token, i);

                        if (t->key && strcmp(t->text, name) == 0)
                                return TRUE;
                }
        }
        return FALSE;
}

void bh_rule_run_output(BhRuleRun *r, const BhRuleEngine *e, guint32 rule, GString *output, GString *fields_json) {
        const GPtrArray *formats = rule < e->outputs->len ? g_ptr_array_index(e->outputs, rule) : NULL;
        gsize from = fields_json ? fields_json->len : 0;

        if (output) {
                for (guint i = 0; formats && i < formats->len; i++) {
                        const BhRuleFormat *f = g_ptr_array_index(formats, i);

                        if (!f->name)
                                render(r, e, f, output);
                }
        }
        if (!fields_json)
                return;
        g_string_append_printf(fields_json, "{\"evt.time\":%" G_GUINT64_FORMAT, r->scene.event->time);
        for (guint i = 0; formats && i < formats->len; i++) {
                const BhRuleFormat *f = g_ptr_array_index(formats, i);
                gsize before = fields_json->len;

                if (f->name) {
                        g_string_append_c(fields_json, ',');
                        bh_escape_append_json(fields_json, f->name, -1);
                        g_string_append_c(fields_json, ':');
                        if (f->raw && f->tokens->len == 1 && g_array_index(f->tokens, struct token, 0).slot != BH_NONE) {
                                json_value(r, e, g_array_index(f->tokens, struct token, 0).slot, fields_json);
                        } else {
                                g_autoptr(GString) text = g_string_new(NULL);

                                render(r, e, f, text);
                                bh_escape_append_json(fields_json, text->str, (gssize) text->len);
                        }
                } else {
                        for (guint k = 0; k < f->tokens->len; k++) {
                                const struct token *t = &g_array_index(f->tokens, struct token, k);

                                if (!t->key || g_str_equal(t->text, "evt.time") || seen_before(formats, i, k))
                                        continue;
                                before = fields_json->len;
                                g_string_append_c(fields_json, ',');
                                bh_escape_append_json(fields_json, t->text, -1);
                                g_string_append_c(fields_json, ':');
                                json_value(r, e, t->slot, fields_json);
                                if (fields_json->len - from > OUTPUT_MAX) {
                                        g_string_truncate(fields_json, before);
                                        break;
                                }
                        }
                }
                if (fields_json->len - from > OUTPUT_MAX) {
                        g_string_truncate(fields_json, before);
                        g_string_append(fields_json, ",\"…\":null");
                        break;
                }
        }
        g_string_append_c(fields_json, '}');
}
