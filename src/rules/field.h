/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields that rules can speak of. One table, src/rules/fields.tbl.h, is read by the parser (names, types, arguments), the evaluator
 * (values), `bulkhead rules fields` and the documentation. This header is what the parser needs to know.
 */
#pragma once
#include <glib.h>

/* What a value of the field is compared as. */
enum bh_rule_type {
        BH_RT_STRING,
        BH_RT_NUMBER,  /* signed 64-bit */
        BH_RT_BOOL,
        BH_RT_TIME,    /* ns since the epoch */
        BH_RT_DURATION,/* ns */
        BH_RT_IP,      /* an address; compares with addresses and, by `in` and =, with networks 10.0.0.0/8 */
        BH_RT_NET,     /* the same */
        BH_RT_PORT,    /* number; compares with numbers and names of services */
        BH_RT_FLAGS,   /* names joined by '|'; compared as text */
        BH_RT_BYTES,
        BH_RT_NONE,    /* in output only (evt.args …) */
};

enum bh_rule_arg {
        BH_RA_NONE,     /* field */
        BH_RA_INDEX,    /* field[N], required */
        BH_RA_INDEX_OPT,/* field or field[N] */
        BH_RA_NAME,     /* field[text], or field.text where `dotted` */
        BH_RA_NAME_OPT,
};

/* Which events a field belongs to. */
enum bh_rule_source { BH_RS_SYSCALL = 1, BH_RS_RUNTIME = 2, BH_RS_SENSOR = 4, BH_RS_ALL = 7 };

typedef struct BhRuleField {
        const char *name; /* "proc.aname", "evt.arg" */
        enum bh_rule_type type;
        enum bh_rule_arg arg;
        gboolean dotted;  /* evt.arg.NAME = evt.arg[NAME] */
        gboolean list;    /* several values: `in` = all of them are in the list, intersects = any; others: any value suffices where the doc says so */
        guint sources;    /* enum bh_rule_source bits */
        guint id;         /* dense number of the row: what the evaluator switches on */
        const char *doc;
} BhRuleField;

/* Longest field whose name begins the text and ends there, at '[' or (dotted) at '.': NULL if there is none. *used: bytes of the name. */
const BhRuleField *bh_rule_field_find(const char *text, gsize len, gsize *used);

/* All rows in table order; *n their number. */
const BhRuleField *bh_rule_fields(guint *n);

const char *bh_rule_type_name(enum bh_rule_type type);

/* Names that an unknown field was probably meant to be, nearest first, at most three; NULL-terminated, static strings. Free with g_free(). */
const char **bh_rule_field_like(const char *text, gsize len);
