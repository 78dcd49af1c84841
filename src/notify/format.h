/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An alert as the text that an output sends. Pure; any thread.
 *
 *     text      Falco's line: "2026-11-26T19:13:07.123456789Z: Critical what happened"
 *     falco     Falco's JSON alert: time, rule, priority, source, hostname, output, tags, output_fields, in this order and no others; `output` begins
 *               with time and priority as Falco's does. output_fields has the alert's id as "bulkhead.id", and, where it stands for several,
 *               "bulkhead.count" and "bulkhead.last"
 *     bulkhead  everything: the API's Finding with "schema" and "delivery" in front (docs/outputs.md)
 *
 * Whatever a finding's texts hold, the result is one line without control characters: text has them as \xNN, and the direction marks that reorder
 * a line as \u{NNNN}; JSON is ASCII with \uNNNN. An alert that stands for several says so at the end of its text.
 */
#pragma once
#include "notify/alert.h"

typedef enum { BH_FORMAT_TEXT, BH_FORMAT_FALCO, BH_FORMAT_BULKHEAD, BH_FORMATS } BhFormat;

const char *bh_format_name(BhFormat f);
gboolean bh_format_parse(const char *name, BhFormat *f);
/* "application/json", "text/plain; charset=utf-8" */
const char *bh_format_content_type(BhFormat f);

/*
 * Without a newline. `max` (0: no bound, else at least 1024): what is longer is shortened, *cut (may be NULL) says so: JSON loses output_fields
 * and what a finding has beyond Falco's alert, then the end of `output`; it stays JSON. Caller frees.
 */
GString *bh_format(const BhAlert *a, BhFormat f, gsize max, gboolean *cut);

/* Nanoseconds since the epoch as "2026-11-26T19:13:07.123456789Z". Caller frees. */
char *bh_format_time(gint64 ns);

/* Appends `text` (valid UTF-8) as it may stand in a line: see above. */
void bh_format_append_line(GString *out, const char *text);
/* Cuts to at most `max` bytes, at a character's border. */
void bh_format_cut(GString *text, gsize max);
