/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the JSON of an event, as the command line reads it from the API. What is accepted must give JSON that is accepted again and
 * gives the same JSON and the same line; what is refused must say why. Where one member of an object stands twice under different escapes
 * (labels), the first reading may settle that, the second may not change a thing.
 */
#include <string.h>

#include "event/codec.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static char *json_of(const struct bh_event *e) {
        GString *s = g_string_new(NULL);

        bh_event_to_json(e, s);
        return g_string_free(s, FALSE);
}

static char *text_of(const struct bh_event *e) {
        GString *s = g_string_new(NULL);

        bh_event_to_text(e, s);
        if (!g_utf8_validate_len(s->str, s->len, NULL))
                g_error("not UTF-8: %s", s->str);
        for (gsize i = 0; i < s->len; i++)
                if ((guchar) s->str[i] < 0x20 || s->str[i] == 0x7f)
                        g_error("control byte at %zu: %s", (size_t) i, s->str);
        return g_string_free(s, FALSE);
}

static gboolean has_pairs(const struct bh_event *e) {
        for (guint i = 0; i < BH_F_COUNT; i++)
                if (bh_fields[i].kind == BH_KIND_PAIRS && bh_event_has(e, i))
                        return TRUE;
        return FALSE;
}

static struct bh_event *read_own(const char *json) {
        g_autoptr(GError) error = NULL;
        struct bh_event *e = bh_event_from_json(json, strlen(json), &error);

        if (!e)
                g_error("own JSON refused: %s: %s", error->message, json);
        return e;
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size) {
        g_autoptr(GError) error = NULL;
        g_autofree char *exact = g_memdup2(data, size); /* no NUL behind it */
        g_autofree struct bh_event *e = bh_event_from_json(size ? exact : "", size, &error);

        if (!e) {
                if (!error || !g_utf8_validate(error->message, -1, NULL))
                        g_error("refused without a reason");
                return 0;
        }

        g_autofree char *first = json_of(e), *first_text = text_of(e);
        g_autofree struct bh_event *again = read_own(first);
        g_autofree char *second = json_of(again), *second_text = text_of(again);
        g_autofree struct bh_event *once_more = read_own(second);
        g_autofree char *third = json_of(once_more);

        if (!has_pairs(e) && (strcmp(first, second) != 0 || strcmp(first_text, second_text) != 0))
                g_error("read as something else: %s, then %s", first, second);
        if (strcmp(second, third) != 0)
                g_error("never settles: %s, then %s", second, third);
        return 0;
}
