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

static void append_planted(GString *out, guint planted, guint kept) {
        if (!planted)
                return;
        g_string_append(out, out->len ? " " : "");
        if (planted == 1)
                g_string_append_printf(out, "The bytes of the file that was planted or changed are %sin evidence.", kept ? "" : "not ");
        else if (!kept)
                g_string_append_printf(out, "The bytes of the %u files that were planted or changed are not in evidence.", planted);
        else
                g_string_append_printf(out, "The bytes of %u of the %u files that were planted or changed are in evidence.", MIN(kept, planted), planted);
}

static void append_program(GString *out, const BhStoryProgram *p) {
        g_string_append(out, out->len ? " " : "");
        g_string_append(out, p->life == BH_STORY_NOT_KNOWN ? "Whether " : "Program ");
        bh_story_append_text(out, p->path);
        if (p->life == BH_STORY_RUNS) {
                g_string_append_printf(out, " still runs as pid %u", p->pid);
                if (p->more)
                        g_string_append_printf(out, " and %u more", p->more);
        } else {
                g_string_append(out, p->life == BH_STORY_ENDED ? " has ended" : " still runs");
        }
        g_string_append(out, g_str_has_prefix(p->place, "node ") ? " on " : " in ");
        bh_story_append_text(out, p->place);
        if (p->life == BH_STORY_NOT_KNOWN) {
                g_string_append(out, " is not known: ");
                bh_story_append_text(out, p->why);
        }
        g_string_append_c(out, '.');
}

static void append_bytes(GString *out, guint64 bytes) {
        static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
        double n = (double) bytes;
        guint unit = 0;

        if (bytes < 1000) {
                g_string_append_printf(out, "%" G_GUINT64_FORMAT " byte%s", bytes, bytes == 1 ? "" : "s");
                return;
        }
        for (n /= 1000; n >= 999.95 && unit + 1 < G_N_ELEMENTS(units); n /= 1000)
                unit++;
        g_string_append_printf(out, "%.1f %s", n, units[unit]);
}

/* "Since 12:03 container web sent 12.3 MB to a (and got 4.1 kB), 3 bytes to b (and got none); container db sent …" */
static void append_sent(GString *out, const BhStoryNow *now) {
        for (guint k = 0; k < MIN(now->n_sent, BH_STORY_SENT_SHOWN); k++) {
                const BhStorySent *s = &now->sent[k], *before = k ? &now->sent[k - 1] : NULL;

                if (!before) {
                        g_string_append(out, out->len ? " Since " : "Since ");
                        append_time(out, now->sent_since_ns);
                        g_string_append_c(out, ' ');
                }
                if (before && g_str_equal(before->place, s->place)) {
                        g_string_append(out, ", ");
                } else {
                        g_string_append(out, before ? "; " : "");
                        bh_story_append_text(out, s->place);
                        g_string_append(out, " sent ");
                }
                g_string_append(out, s->more ? "at least " : "");
                append_bytes(out, s->sent);
                g_string_append(out, " to ");
                bh_story_append_text(out, s->peer);
                g_string_append(out, " (and got ");
                g_string_append(out, s->more ? "at least " : "");
                if (s->got || s->more)
                        append_bytes(out, s->got);
                else
                        g_string_append(out, "none");
                g_string_append_c(out, ')');
        }
        if (now->n_sent > BH_STORY_SENT_SHOWN)
                g_string_append_printf(out, "; less to %u more", now->n_sent - BH_STORY_SENT_SHOWN);
        if (now->n_sent)
                g_string_append_c(out, '.');
        if (now->sent_unseen)
                g_string_append_printf(out, "%sWhat went over %u of its connections was not looked at.", out->len ? " " : "", now->sent_unseen);
}

char *bh_story_now(const BhStoryNow *now) {
        GString *out = g_string_new(NULL);

        for (guint k = 0; k < MIN(now->n, BH_STORY_NOW_SHOWN); k++)
                append_container(out, &now->containers[k]);
        if (now->n > BH_STORY_NOW_SHOWN)
                g_string_append_printf(out, " %u more of its containers are not gone.", now->n - BH_STORY_NOW_SHOWN);
        if (now->unseen)
                g_string_append_printf(out, "%s%u of its containers %s not looked at.", out->len ? " " : "", now->unseen, now->unseen == 1 ? "was" : "were");
        for (guint k = 0; k < MIN(now->n_programs, BH_STORY_PROGRAMS_SHOWN); k++)
                append_program(out, &now->programs[k]);
        append_planted(out, now->planted, now->kept);
        append_sent(out, now);
        return g_string_free(out, FALSE);
}
