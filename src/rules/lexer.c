/* SPDX-License-Identifier: Apache-2.0 */
/* Words of conditions. What ends which word is the public engine's, to the byte: files rely on it. */
#include <string.h>

#include "rules/load.h"

static const char *const op_texts[] = {
#define X(id, text, takes) text,
        BH_OPS(X)
#undef X
};

static const char *const transformer_texts[] = {
#define X(id, text) text,
        BH_TRANSFORMERS(X)
#undef X
};

const char *bh_op_text(enum bh_op op) {
        return (guint) op < BH_OP_COUNT ? op_texts[op] : "?";
}

static gboolean is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\b' || c == '\r' || c == '\n';
}

/* [:space:] */
static gboolean is_space(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

static char peek(const BhParser *p, gsize k) {
        return p->at + k < p->n ? p->s[p->at + k] : '\0';
}

gboolean bh_lex_blank(BhParser *p) {
        gsize from = p->at;

        while (p->at < p->n && is_blank(p->s[p->at]))
                p->at++;
        return p->at > from;
}

gboolean bh_lex_text(BhParser *p, const char *text) {
        gsize n = strlen(text);

        if (p->n - p->at < n || memcmp(p->s + p->at, text, n) != 0)
                return FALSE;
        p->at += n;
        return TRUE;
}

static gsize identifier_at(const BhParser *p, gsize at) {
        gsize k = at;

        if (k >= p->n || !g_ascii_isalpha(p->s[k]))
                return 0;
        while (k < p->n && (g_ascii_isalnum(p->s[k]) || p->s[k] == '_'))
                k++;
        return k - at;
}

gsize bh_lex_identifier(BhParser *p) {
        gsize n = identifier_at(p, p->at);

        p->at += n;
        return n;
}

/* Words of letters, digits and '_' that begin with a letter, two or more, with dots between. */
gsize bh_lex_field_name(BhParser *p) {
        gsize n = identifier_at(p, p->at), more, words = 1;

        while (n && p->at + n < p->n && p->s[p->at + n] == '.' && (more = identifier_at(p, p->at + n + 1))) {
                n += 1 + more;
                words++;
        }
        if (words < 2)
                return 0;
        p->at += n;
        return n;
}

/* 0x1f; or [+-]12[.[5]][e+3] */
gsize bh_lex_number(BhParser *p) {
        gsize from = p->at, k = p->at;
        const char *s = p->s;

        if (peek(p, 0) == '0' && (peek(p, 1) == 'x' || peek(p, 1) == 'X') && g_ascii_isxdigit(peek(p, 2))) {
                for (k += 2; k < p->n && g_ascii_isxdigit(s[k]); k++)
                        ;
                p->at = k;
                return k - from;
        }
        if (k < p->n && (s[k] == '+' || s[k] == '-'))
                k++;
        if (k >= p->n || !g_ascii_isdigit(s[k]))
                return 0;
        while (k < p->n && g_ascii_isdigit(s[k]))
                k++;
        if (k < p->n && s[k] == '.')
                for (k++; k < p->n && g_ascii_isdigit(s[k]); k++)
                        ;
        if (k + 2 < p->n && (s[k] == 'e' || s[k] == 'E') && (s[k + 1] == '+' || s[k + 1] == '-') && g_ascii_isdigit(s[k + 2]))
                for (k += 2; k < p->n && g_ascii_isdigit(s[k]); k++)
                        ;
        p->at = k;
        return k - from;
}

gsize bh_lex_bare(BhParser *p) {
        gsize from = p->at;

        while (p->at < p->n && !is_space(p->s[p->at]) && !strchr("()\"'=,", p->s[p->at] ? p->s[p->at] : ' '))
                p->at++;
        return p->at - from;
}

gsize bh_lex_arg(BhParser *p) {
        gsize from = p->at;

        while (p->at < p->n && !is_space(p->s[p->at]) && !strchr("[]\"'", p->s[p->at] ? p->s[p->at] : ' '))
                p->at++;
        return p->at - from;
}

static int hex(char c) {
        return g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) : -1;
}

char *bh_lex_unescape(BhParser *p, gsize at, gsize n, char quote, gsize *len) {
        g_autoptr(GString) out = g_string_sized_new(n);
        const char *s = p->s + at;

        for (gsize i = 0; i < n; i++) {
                if (s[i] != '\\' || i + 1 == n) {
                        g_string_append_c(out, s[i]);
                        continue;
                }
                switch (s[++i]) {
                case 'b': g_string_append_c(out, '\b'); break;
                case 'f': g_string_append_c(out, '\f'); break;
                case 'n': g_string_append_c(out, '\n'); break;
                case 'r': g_string_append_c(out, '\r'); break;
                case 't': g_string_append_c(out, '\t'); break;
                case ' ': /* so the public engine reads it: the backslash alone */
                case '\\': g_string_append_c(out, '\\'); break;
                case '/': g_string_append_c(out, '/'); break;
                case '"':
                case '\'':
                        if (s[i] != quote) {
                                bh_parser_fail(p, at + i - 1, "\\%c stands in a text in %c quotes: write %c without the backslash", s[i], quote, s[i]);
                                return NULL;
                        }
                        g_string_append_c(out, s[i]);
                        break;
                case 'x':
                        if (i + 2 >= n || hex(s[i + 1]) < 0 || hex(s[i + 2]) < 0) {
                                bh_parser_fail(p, at + i - 1, "\\x needs two hexadecimal digits after it, as in \\x2f");
                                return NULL;
                        }
                        g_string_append_c(out, (char) (hex(s[i + 1]) << 4 | hex(s[i + 2])));
                        i += 2;
                        break;
                default: {
                        g_autofree char *q = bh_load_quote(s + i - 1, 2);

                        bh_parser_fail(p, at + i - 1, "there is no escape %s: known are \\\\ \\/ \\b \\f \\n \\r \\t \\\" \\' \\xHH; write \\\\ for a backslash", q);
                        return NULL;
                }
                }
        }
        *len = out->len;
        return g_string_free(g_steal_pointer(&out), FALSE);
}

char *bh_lex_quoted(BhParser *p, gsize *len) {
        char quote = peek(p, 0);
        gsize k = p->at + 1;

        if (quote != '"' && quote != '\'')
                return NULL;
        while (k < p->n && p->s[k] != quote)
                k += p->s[k] == '\\' ? 2 : 1;
        if (k >= p->n) {
                bh_parser_fail(p, p->at, "the text that begins here has no %c at its end: add it, or write \\%c where one is meant inside", quote, quote);
                return NULL;
        }
        char *text = bh_lex_unescape(p, p->at + 1, k - p->at - 1, quote, len);
        if (text)
                p->at = k + 1;
        return text;
}

/* `text`, and white space after it if it is a word that needs some. */
static gboolean word(BhParser *p, const char *text, gboolean needs_blank) {
        gsize from = p->at;

        if (!bh_lex_text(p, text))
                return FALSE;
        if (!needs_blank || bh_lex_blank(p))
                return TRUE;
        p->at = from;
        return FALSE;
}

gboolean bh_lex_operator(BhParser *p, enum bh_op *op) {
        /* in this order, some are the beginning of others */
        static const struct {
                const char *text;
                enum bh_op op;
                gboolean blank;
        } ops[] = {
                { "exists", BH_OP_EXISTS, FALSE }, { "<=", BH_OP_LE, FALSE }, { "<", BH_OP_LT, FALSE }, { ">=", BH_OP_GE, FALSE }, { ">", BH_OP_GT, FALSE },
                { "==", BH_OP_EQ, FALSE }, { "=", BH_OP_EQ, FALSE }, { "!=", BH_OP_NE, FALSE }, { "glob", BH_OP_GLOB, TRUE }, { "iglob", BH_OP_IGLOB, TRUE },
                { "contains", BH_OP_CONTAINS, TRUE }, { "icontains", BH_OP_ICONTAINS, TRUE }, { "bcontains", BH_OP_BCONTAINS, TRUE },
                { "startswith", BH_OP_STARTSWITH, TRUE }, { "bstartswith", BH_OP_BSTARTSWITH, TRUE }, { "endswith", BH_OP_ENDSWITH, TRUE },
                { "regex", BH_OP_REGEX, TRUE }, { "intersects", BH_OP_INTERSECTS, FALSE }, { "in", BH_OP_IN, FALSE }, { "pmatch", BH_OP_PMATCH, FALSE },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(ops); i++)
                if (word(p, ops[i].text, ops[i].blank)) {
                        *op = ops[i].op;
                        return TRUE;
                }
        return FALSE;
}

static gboolean keyword_follows(const BhParser *p) {
        static const char *const keywords[] = { "and", "or", "not" };

        for (gsize i = 0; i < G_N_ELEMENTS(keywords); i++) {
                gsize n = strlen(keywords[i]);

                if (p->n - p->at >= n && memcmp(p->s + p->at, keywords[i], n) == 0 && !g_ascii_isalnum(peek(p, n)))
                        return TRUE;
        }
        return FALSE;
}

/* A modifier is one only before a list: `proc.name startswith oneof and …` looks for the text "oneof". */
gboolean bh_lex_modifier(BhParser *p, enum bh_op_modifier *modifier) {
        static const char *const modifiers[] = { [BH_MOD_ONEOF] = "oneof", [BH_MOD_ANYOF] = "anyof", [BH_MOD_ALLOF] = "allof" };
        gsize from = p->at;

        for (gsize i = BH_MOD_ONEOF; i <= BH_MOD_ALLOF; i++) {
                if (!word(p, modifiers[i], TRUE))
                        continue;
                if ((peek(p, 0) == '(' || identifier_at(p, p->at)) && !keyword_follows(p)) {
                        *modifier = (enum bh_op_modifier) i;
                        return TRUE;
                }
                p->at = from;
                return FALSE;
        }
        return FALSE;
}

gboolean bh_lex_transformer(BhParser *p, gboolean val, enum bh_transformer *t) {
        for (gsize i = 0; i < BH_TR_COUNT; i++) {
                gsize n = strlen(transformer_texts[i]);

                if ((i == BH_TR_VAL && !val) || p->n - p->at <= n || memcmp(p->s + p->at, transformer_texts[i], n) != 0 || p->s[p->at + n] != '(')
                        continue;
                p->at += n + 1;
                *t = (enum bh_transformer) i;
                return TRUE;
        }
        return FALSE;
}

gboolean bh_parse_comparison(const char *text, gsize len, enum bh_op *op, enum bh_op_modifier *modifier) {
        BhParser p = { .s = text, .n = len };
        const char *rest;
        static const char *const modifiers[] = { [BH_MOD_ONEOF] = "oneof", [BH_MOD_ANYOF] = "anyof", [BH_MOD_ALLOF] = "allof" };

        while (len && is_space(text[len - 1]))
                len--;
        p.n = len;
        while (p.at < p.n && is_space(text[p.at]))
                p.at++;
        *modifier = BH_MOD_NONE;
        for (gsize i = 0; i < BH_OP_COUNT; i++)
                if (p.n - p.at == strlen(op_texts[i]) && memcmp(text + p.at, op_texts[i], p.n - p.at) == 0) {
                        *op = (enum bh_op) i;
                        return TRUE;
                }
        if (p.n - p.at == 2 && memcmp(text + p.at, "==", 2) == 0) {
                *op = BH_OP_EQ;
                return TRUE;
        }
        rest = memchr(text + p.at, ' ', p.n - p.at);
        if (!rest)
                return FALSE;
        gsize first = (gsize) (rest - text) - p.at, at = (gsize) (rest - text) + 1;
        for (gsize m = BH_MOD_ONEOF; m <= BH_MOD_ALLOF; m++) {
                if (p.n - at != strlen(modifiers[m]) || memcmp(text + at, modifiers[m], p.n - at) != 0)
                        continue;
                if (!bh_parse_comparison(text + p.at, first, op, modifier) || *modifier != BH_MOD_NONE)
                        return FALSE;
                *modifier = (enum bh_op_modifier) m;
                switch (*op) {
                case BH_OP_EQ: case BH_OP_NE: case BH_OP_CONTAINS: case BH_OP_ICONTAINS: case BH_OP_BCONTAINS: case BH_OP_STARTSWITH:
                case BH_OP_BSTARTSWITH: case BH_OP_ENDSWITH: case BH_OP_GLOB: case BH_OP_IGLOB: case BH_OP_REGEX: return TRUE;
                default: return FALSE;
                }
        }
        return FALSE;
}
