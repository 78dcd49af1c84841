/* SPDX-License-Identifier: Apache-2.0 */
#include "json_out.h"

#include <string.h>

#include "container/container.h"

static void quote(GString *out, const char *text) {
        g_autofree char *valid = g_utf8_validate(text, -1, NULL) ? NULL : g_utf8_make_valid(text, -1);
        const char *p = valid ? valid : text, *run = p;

        g_string_append_c(out, '"');
        for (; *p; p++) {
                if ((guchar) *p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f)
                        continue;
                g_string_append_len(out, run, p - run);
                run = p + 1;
                if (*p == '"' || *p == '\\')
                        g_string_append_printf(out, "\\%c", *p);
                else if (*p == '\n')
                        g_string_append(out, "\\n");
                else if (*p == '\t')
                        g_string_append(out, "\\t");
                else
                        g_string_append_printf(out, "\\u%04x", (guchar) *p);
        }
        g_string_append_len(out, run, p - run);
        g_string_append_c(out, '"');
}

static void begin(GString *out, const char *key) {
        if (key) {
                quote(out, key);
                g_string_append_c(out, ':');
        }
}

void bh_json_open(GString *out, const char *key, char bracket) {
        begin(out, key);
        g_string_append_c(out, bracket);
}

void bh_json_end(GString *out) {
        if (out->len && out->str[out->len - 1] == ',')
                g_string_truncate(out, out->len - 1);
}

void bh_json_close(GString *out, char bracket) {
        bh_json_end(out);
        g_string_append_c(out, bracket);
        g_string_append_c(out, ',');
}

void bh_json_text(GString *out, const char *key, const char *value) {
        begin(out, key);
        if (value)
                quote(out, value);
        else
                g_string_append(out, "null");
        g_string_append_c(out, ',');
}

void bh_json_uint(GString *out, const char *key, guint64 value) {
        begin(out, key);
        g_string_append_printf(out, "%" G_GUINT64_FORMAT ",", value);
}

void bh_json_int(GString *out, const char *key, gint64 value) {
        begin(out, key);
        g_string_append_printf(out, "%" G_GINT64_FORMAT ",", value);
}

void bh_json_bool(GString *out, const char *key, gboolean value) {
        begin(out, key);
        g_string_append(out, value ? "true," : "false,");
}

void bh_json_time(GString *out, const char *key, gint64 ns) {
        g_autofree char *text = ns > 0 ? bh_time_format(ns) : NULL;

        bh_json_text(out, key, text);
}

void bh_json_raw(GString *out, const char *key, const char *json) {
        begin(out, key);
        g_string_append(out, json && *json ? json : "null");
        g_string_append_c(out, ',');
}
