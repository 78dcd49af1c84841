/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as JSON text, written in one go without objects in between. Each member is written with a comma behind it, which
 * bh_json_close() takes back, so the order of calls is the order of the text.
 *
 *     bh_json_open(out, NULL, '{');
 *     bh_json_text(out, "name", name);
 *     bh_json_close(out, '}');            and bh_json_end() takes the last comma away
 *
 * Text must be valid UTF-8, as the store's is; what is not is replaced by U+FFFD. Never fails. A NULL key writes an element of a list.
 */
#pragma once
#include <glib.h>

void bh_json_open(GString *out, const char *key, char bracket);
void bh_json_close(GString *out, char bracket);
void bh_json_text(GString *out, const char *key, const char *value); /* NULL: null */
void bh_json_uint(GString *out, const char *key, guint64 value);
void bh_json_int(GString *out, const char *key, gint64 value);
void bh_json_bool(GString *out, const char *key, gboolean value);
/* RFC 3339 with nanoseconds, UTC; null for 0. */
void bh_json_time(GString *out, const char *key, gint64 ns);
/* A value that is JSON already. NULL or "": null. */
void bh_json_raw(GString *out, const char *key, const char *json);
/* Takes the comma behind the outermost value. */
void bh_json_end(GString *out);
