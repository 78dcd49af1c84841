/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people read: tables and a few colours on standard output.
 *
 * Colours only when standard output is a terminal, NO_COLOR is not set and TERM is not "dumb". Everything foreign must have been escaped by
 * bh_escape_cell(): bh_table_cell() does it itself.
 */
#pragma once
#include <glib.h>
#include <jansson.h>

typedef enum { BH_STYLE_NONE, BH_STYLE_DIM, BH_STYLE_BOLD, BH_STYLE_BAD, BH_STYLE_GOOD } BhStyle;

gboolean bh_out_terminal(void);
/* The sequence that begins the style, or ends any with BH_STYLE_NONE; "" without colours. Static. */
const char *bh_out_style(BhStyle style);

/* Rows of cells, printed with columns as wide as their widest cell. */
typedef struct BhTable BhTable;

/* `headers` is NULL-terminated; the name of a column of numbers, aligned to the right, begins with '>'. */
BhTable *bh_table_new(const char *const headers[]);
/* The next cell, row by row; escaped, and cut after 60 columns with "…" unless it is in the last column. NULL is "". */
void bh_table_cell(BhTable *t, const char *text, BhStyle style);
void bh_table_number(BhTable *t, guint64 n);
/* To standard output. */
void bh_table_print(const BhTable *t);
void bh_table_free(BhTable *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhTable, bh_table_free)

/* "3 s", "12 min 5 s", "2 h 3 min", "4 d 1 h"; "1.5 MiB". Caller frees. */
char *bh_out_span(guint64 seconds);
char *bh_out_bytes(guint64 bytes);

/* Fields of an object; "" and 0 for what is not there. */
const char *bh_json_text(const json_t *object, const char *key);
guint64 bh_json_number(const json_t *object, const char *key);
/* As bh_json_text(), but "-" for what is not there or empty. */
const char *bh_json_dash(const json_t *object, const char *key);

/* The text field escaped for a terminal; caller frees. */
char *bh_json_cell(const json_t *object, const char *key);

/* "2026-11-24 03:08:20" of an RFC 3339 field; "-" where there is no time. Caller frees. */
char *bh_json_when(const json_t *object, const char *key);

/* The object, one line of ASCII. */
void bh_out_json(const json_t *object);

/* To standard output; FALSE: there is no use in going on, bh_out_finish() says why. */
gboolean bh_out_write(const void *data, gsize len);

/* Flushes standard output: the exit status. A reader that went away is no failure; a full disk is, and said. */
int bh_out_finish(void);
