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
        BH_RT_ANY,     /* a number where both sides are one, else text (evt.rawarg) */
};

enum bh_rule_arg {
        BH_RA_NONE,     /* field */
        BH_RA_INDEX,    /* field[N], required */
        BH_RA_INDEX_OPT,/* field or field[N] */
        BH_RA_NAME,     /* field[text] (a number is a text too), or field.text where `dotted` */
        BH_RA_NAME_OPT,
};

/* Which events a field belongs to. */
enum bh_rule_source { BH_RS_SYSCALL = 1, BH_RS_RUNTIME = 2, BH_RS_SENSOR = 4, BH_RS_ALL = 7 };

/* Bits of BhRuleField.flags. */
enum {
        BH_FF_DOTTED = 1u << 0,       /* name.ARG is name[ARG] */
        BH_FF_LIST = 1u << 1,         /* several values: `in` = all of them are in the list, intersects = any */
        BH_FF_ANCESTORS = 1u << 2,    /* without an index: any ancestor (index 1 and up) that the check is true of */
        BH_FF_EITHER = 1u << 3,       /* two values, of client and server: a check is true if it is of one; != if it is of both */
        BH_FF_NO_VAL = 1u << 4,       /* not on the right side, in val() */
        BH_FF_NO_TRANSFORM = 1u << 5, /* not inside of a transformer */
        BH_FF_FILTER_ONLY = 1u << 6,  /* in conditions, not in output formats */
        BH_FF_OUTPUT_ONLY = 1u << 7,  /* in output formats, not in conditions */
        BH_FF_DEPRECATED = 1u << 8,   /* still works; a warning may say so */
        BH_FF_HEX = 1u << 9,          /* shown in hexadecimal */
};

/* Kinds of events that can have a field at all: bh_rule_when_kinds(). */
enum bh_rule_when {
        BH_RW_ANY,
        BH_RW_NEVER,
        BH_RW_SYSCALL, /* acts: what the kernel tells */
        BH_RW_PROC,    /* events with an acting process: the same, and processes found at start */
        BH_RW_RUNTIME, /* events of the container runtime and of the sensor */
        BH_RW_FD,      /* about a file or socket with a descriptor */
        BH_RW_FILE,
        BH_RW_SOCK,
        BH_RW_FSPATH,  /* calls that take a path */
        BH_RW_FSPATH2, /* calls that take two */
        BH_RW_IO,      /* bytes moved */
        BH_RW_BUFFER,  /* with the bytes kept */
        BH_RW_EXEC,
        BH_RW_MAP,     /* memory became executable */
        BH_RW_TARGET,  /* another process is acted on */
        BH_RW_DNS,
        BH_RW_CGROUP,
        BH_RW_CREDS,
        BH_RW_COUNT
};

typedef struct BhRuleField {
        const char *name; /* "proc.aname", "evt.arg" */
        enum bh_rule_type type;
        enum bh_rule_arg arg;
        guint flags;      /* BH_FF_… */
        gboolean dotted;  /* the flags' bit: evt.arg.NAME = evt.arg[NAME] */
        gboolean list;    /* the flags' bit */
        guint sources;    /* enum bh_rule_source bits */
        guint id;         /* enum bh_rule_field_id: what the evaluator switches on */
        enum bh_rule_when when;
        const char *why_not; /* why no event has it; NULL: some have. Accepted in rules, always missing; the compiler says so per rule */
        const char *doc;
} BhRuleField;

enum bh_rule_field_id {
#define BH_RULE_FIELD(ID, name, type, arg, flags, sources, when, why, doc) BH_FLD_##ID,
#include "rules/fields.tbl.h"
        BH_FLD_COUNT
};

/* Longest field whose name begins the text and ends there, at '[' or (dotted) at '.': NULL if there is none. *used: bytes of the name. */
const BhRuleField *bh_rule_field_find(const char *text, gsize len, gsize *used);

/* All rows in table order; *n their number. */
const BhRuleField *bh_rule_fields(guint *n);

const char *bh_rule_type_name(enum bh_rule_type type);

/* "fieldname[N]", "fieldname[N?]", …: how the field is written, for people. Static per row, never freed. */
const char *bh_rule_arg_form(enum bh_rule_arg arg);

/* Kinds of events as a bit set, bit = enum bh_event_type (BH_EV_MAX bits, three words). */
#define BH_KIND_WORDS 3
void bh_rule_when_kinds(enum bh_rule_when when, guint64 kinds[BH_KIND_WORDS]);

/* Names that an unknown field was probably meant to be, nearest first, at most three; NULL-terminated, static strings. Free the array with g_free(). */
const char **bh_rule_field_like(const char *text, gsize len);
