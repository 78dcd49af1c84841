/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/store_private.h"

/* Bytes that are not UTF-8 become \xNN, so that different inputs stay different and every database takes them. */
static char *escape_invalid(const char *text, gsize len, gsize max) {
        GString *out = g_string_sized_new(len + 16);
        const char *end;

        while (len && out->len <= max) {
                gboolean valid = g_utf8_validate_len(text, len, &end);
                gsize good = (gsize) (end - text);

                g_string_append_len(out, text, (gssize) good);
                text += good;
                len -= good;
                if (!valid) {
                        g_string_append_printf(out, "\\x%02x", (guint8) *text);
                        text++;
                        len--;
                }
        }
        return g_string_free(out, FALSE);
}

/* The longest beginning of a valid text that has at most `max` bytes and ends with a whole character. */
static gsize cut_length(const char *text, gsize max) {
        while (max && ((guint8) text[max] & 0xc0) == 0x80)
                max--;
        return max;
}

char *bh_text_clean(const char *text, gsize max, guint64 *cut) {
        gsize len = strlen(text);

        if (len <= max && g_utf8_validate_len(text, len, NULL))
                return NULL;
        /* Not more than can be kept, even if each byte stays one. */
        char *clean = escape_invalid(text, MIN(len, max + 8), max);
        if (len > max || strlen(clean) > max) {
                if (strlen(clean) > max)
                        clean[cut_length(clean, max)] = '\0';
                (*cut)++;
        }
        return clean;
}

const char *bh_store_clean(BhStore *s, const char *text, gsize max) {
        if (!text)
                return "";
        char *clean = bh_text_clean(text, max, &s->tx_cut);
        if (!clean)
                return text;
        g_ptr_array_add(s->scratch, clean);
        return clean;
}

const char *bh_store_clean_json(BhStore *s, const char *text, const char *otherwise) {
        gsize len = text ? strlen(text) : 0;

        if (!len)
                return otherwise;
        if (len <= BH_STORE_JSON_MAX && g_utf8_validate_len(text, len, NULL))
                return text;
        s->tx_cut++;
        return otherwise;
}
