/* SPDX-License-Identifier: Apache-2.0 */
/* Formats of output: %field[arg], %transformer(field), %<width>field; a '*' in front of all; %% is a percent sign. */
#include <string.h>

#include "rules/load.h"

#define OUT "LOAD_ERR_COMPILE_OUTPUT"

BhOperand *bh_parse_output_operand(BhParser *p) {
        gsize at = p->at, n = bh_lex_field_name(p), used;
        enum bh_transformer t;
        BhOperand *o;

        p->at = at;
        if (!n)
                return bh_lex_transformer(p, FALSE, &t) ? (p->at = at, bh_parse_field_or_transformer(p)) : NULL;
        /* "%proc.name.", "%proc.names": the name may go on as text */
        for (gsize k = n; k > 0; k--) {
                if (!g_ascii_isalnum(p->s[at + k - 1]) && p->s[at + k - 1] != '_')
                        continue;
                if (!bh_rule_field_find(p->s + at, k, &used))
                        continue;
                gsize whole = p->n;
                if (k < n) {
                        p->n = at + k; /* brackets belong to the whole name only */
                        o = bh_parse_field_or_transformer(p);
                        p->n = whole;
                } else {
                        o = bh_parse_field_or_transformer(p);
                }
                return o;
        }
        return NULL;
}

static void relabel(GPtrArray *faults, guint from) {
        for (guint i = from; i < faults->len; i++) {
                BhFault *f = g_ptr_array_index(faults, i);

                if (f->error)
                        f->code = OUT;
        }
}

static void deprecated(const BhOperand *o, GPtrArray *faults) {
        if (o->kind == BH_OPERAND_FIELD && o->field && o->field->flags & BH_FF_DEPRECATED)
                bh_fault(faults, BH_WARN, FALSE, "LOAD_DEPRECATED_ITEM", o->pos, "the field %s in the output is deprecated: take it away", o->field->name);
        for (guint i = 0; o->args && i < o->args->len; i++)
                deprecated(g_ptr_array_index(o->args, i), faults);
}

/* What begins after a '%'. FALSE: no use in going on. */
static gboolean token(BhParser *p, gsize percent, GPtrArray *faults) {
        g_autoptr(BhOperand) o = NULL;
        BhValueType type;
        guint from = faults->len;
        gsize digits = p->at, at;

        while (p->at < p->n && g_ascii_isdigit(p->s[p->at]))
                p->at++;
        if (p->at - digits > 4) {
                bh_fault(faults, BH_ERROR, FALSE, OUT, bh_parser_pos(p, digits), "a width of more than 9999: write a smaller one");
                return TRUE;
        }
        if (p->at >= p->n) {
                bh_fault(faults, BH_ERROR, FALSE, OUT, bh_parser_pos(p, percent), "the output ends with a \"%%\" that no field follows: write %%%% for a percent sign");
                return FALSE;
        }
        at = p->at;
        o = bh_parse_output_operand(p);
        if (!o && p->what) {
                bh_fault(faults, BH_ERROR, FALSE, OUT, bh_parser_pos(p, p->bad), "%s", p->what);
                bh_parser_clear(p);
                p->at = MAX(p->at, at + 1);
                return TRUE;
        }
        if (!o) {
                gsize name = bh_lex_field_name(p), n = name ? name : MIN((gsize) 20, p->n - at);

                p->at = at;
                if (name) {
                        bh_fault_unknown(faults, OUT, bh_parser_pos(p, at), p->s + at, n, "%s is no field (write %% for a percent sign)");
                } else {
                        g_autofree char *q = bh_load_quote(p->s + at, n);

                        bh_fault(faults, BH_ERROR, FALSE, OUT, bh_parser_pos(p, at), "%s after \"%%\" is no field: write %%%% for a percent sign", q);
                }
                p->at = MAX(p->at, at + 1);
                return TRUE;
        }
        bh_check_operand(o, TRUE, &type, faults);
        relabel(faults, from);
        deprecated(o, faults);
        return TRUE;
}

void bh_output_check(BhLoader *l, const BhText *format, GPtrArray *faults) {
        static const char info[] = "%container.info";
        g_auto(BhParser) p = { 0 };

        bh_parser_init(&p, l, format, 100);
        const char *nul = memchr(p.s, '\0', p.n);
        if (nul) {
                bh_fault(faults, BH_ERROR, FALSE, OUT, bh_parser_pos(&p, (gsize) (nul - p.s)), "an output cannot hold a NUL byte");
                return;
        }
        while (p.at < p.n && faults->len < BH_RULES_FAULTS_MAX) {
                gsize percent = p.at;

                p.depth = 0;
                if (p.s[p.at] != '%') {
                        p.at++;
                } else if (p.at + 1 < p.n && p.s[p.at + 1] == '%') {
                        p.at += 2;
                } else if (p.n - p.at >= strlen(info) && memcmp(p.s + p.at, info, strlen(info)) == 0) {
                        bh_fault(faults, BH_WARN, FALSE, "LOAD_DEPRECATED_ITEM", bh_parser_pos(&p, percent), "%%container.info is deprecated and is taken away: each finding has its container anyhow");
                        p.at += strlen(info);
                } else {
                        p.at++;
                        if (!token(&p, percent, faults))
                                return;
                }
        }
}
