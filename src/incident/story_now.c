/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the story that is true when it is looked at: which containers go on, who holds them, and what there is of what was planted. */
#include "incident/story_parts.h"

static void append_time(GString *out, gint64 ns) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(ns / 1000000000);
        g_autofree char *text = t ? g_date_time_format(t, "%Y-%m-%d %H:%M:%S UTC") : g_strdup("?");

        g_string_append(out, text);
}

static void append_container(GString *out, const BhStoryContainer *c) {
        g_string_append(out, out->len ? " Container " : "Container ");
        bh_story_append_text(out, c->name);
        g_string_append(out, c->heard_ns ? " was " : " is ");
        if (*c->held) {
                g_string_append(out, c->held);
                g_string_append(out, " since ");
                append_time(out, c->since_ns);
                g_string_append(out, " by ");
                bh_story_append_asker(out, c->by);
        } else {
                g_string_append_printf(out, "%s and not isolated", c->state);
                if (c->ordered && *c->ordered) {
                        g_string_append_printf(out, " (%s was ordered ", c->ordered);
                        append_time(out, c->since_ns);
                        g_string_append(out, " by ");
                        bh_story_append_asker(out, c->by);
                        g_string_append(out, ", and waits for its node)");
                }
        }
        if (c->heard_ns) {
                g_string_append(out, " when its node was last heard of, ");
                append_time(out, c->heard_ns);
        }
        g_string_append_c(out, '.');
}

char *bh_story_now(const BhStoryContainer *containers, guint n, guint unseen, guint planted, guint kept) {
        GString *out = g_string_new(NULL);

        for (guint k = 0; k < MIN(n, BH_STORY_NOW_SHOWN); k++)
                append_container(out, &containers[k]);
        if (n > BH_STORY_NOW_SHOWN)
                g_string_append_printf(out, " %u more of its containers are not gone.", n - BH_STORY_NOW_SHOWN);
        if (unseen)
                g_string_append_printf(out, "%s%u of its containers %s not looked at.", out->len ? " " : "", unseen, unseen == 1 ? "was" : "were");
        if (!planted)
                return g_string_free(out, FALSE);
        g_string_append(out, out->len ? " " : "");
        if (planted == 1)
                g_string_append_printf(out, "The bytes of the file that was planted or changed are %sin evidence.", kept ? "" : "not ");
        else if (!kept)
                g_string_append_printf(out, "The bytes of the %u files that were planted or changed are not in evidence.", planted);
        else
                g_string_append_printf(out, "The bytes of %u of the %u files that were planted or changed are in evidence.", MIN(kept, planted), planted);
        return g_string_free(out, FALSE);
}
