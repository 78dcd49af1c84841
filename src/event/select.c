/* SPDX-License-Identifier: Apache-2.0 */
#include "event/select.h"

#include <xxhash.h>

static gboolean text_is(struct bh_str s, const char *text, gboolean prefix) {
        gsize n = strlen(text);

        return (prefix ? s.len >= n : s.len == n) && memcmp(s.p, text, n) == 0;
}

gboolean bh_event_selected(const struct bh_event *e, const guint64 types[BH_TYPE_WORDS], const char *container) {
        guint64 any = 0;

        for (guint i = 0; i < BH_TYPE_WORDS; i++)
                any |= types[i];
        if (any && (e->type >= BH_EV_MAX || !(types[e->type / 64] >> (e->type % 64) & 1)))
                return FALSE;
        if (!container)
                return TRUE;
        if (g_str_equal(container, "host"))
                return !bh_event_has(e, BH_F_container_id) && e->source != BH_SOURCE_RUNTIME;
        if (bh_event_has(e, BH_F_container_name) && text_is(e->container_name, container, FALSE))
                return TRUE;
        if (bh_event_has(e, BH_F_container_id) && text_is(e->container_id, container, TRUE))
                return TRUE;
        /* what left the container is still of interest to who asks for the container */
        if (bh_event_has(e, BH_F_origin_name) && text_is(e->origin_name, container, FALSE))
                return TRUE;
        return bh_event_has(e, BH_F_origin_id) && text_is(e->origin_id, container, TRUE);
}

guint64 bh_container_key(const char *id, gsize len) {
        return len ? XXH3_64bits(id, len) | 1 : 0;
}
