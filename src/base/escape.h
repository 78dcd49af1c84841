/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escaping of foreign bytes (names, paths, arguments: attackers write them) for JSON and for terminals.
 *
 * JSON strings must be valid UTF-8. Valid sequences are kept, control characters become \u00XX, and each byte that is
 * not part of a valid sequence becomes the two characters \xXX written as "\\xXX" (a literal backslash in the input is
 * "\\\\"), so that different inputs stay different. Terminal text additionally escapes C1 controls and bidirectional
 * overrides. No function here fails; all are thread-safe.
 */
#pragma once
#include <glib.h>

/* Appends `text` as a JSON string with its quotes. `len` in bytes, -1 = up to the NUL; a NULL text is the empty string. */
void bh_escape_append_json(GString *out, const char *text, gssize len);

/* Appends `text` in double quotes for a log line or a terminal: nothing but printable UTF-8 remains. */
void bh_escape_append_quoted(GString *out, const char *text, gssize len);

/* The same without the quotes, for a table's cell: control bytes as \xXX, backslash as \\. Caller frees. */
char *bh_escape_cell(const char *text, gssize len);
