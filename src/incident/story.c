/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/story_parts.h"

#include <string.h>

#include "base/escape.h"
#include "incident/credential.h"

#define TEXT_SHOWN 120u
#define ASKERS_SHOWN 400u
#define ENDS_SHOWN 4u

static void append_some(GString *out, const char *text, gsize most) {
        g_autofree char *safe = bh_escape_cell(text, -1);

        if (strlen(safe) <= most) {
                g_string_append(out, safe);
                return;
        }
        const char *end = g_utf8_find_prev_char(safe, safe + most);
        g_string_append_len(out, safe, end ? end - safe : (gssize) most);
        g_string_append(out, "…");
}

static void append_text(GString *out, const char *text) {
        append_some(out, text, TEXT_SHOWN);
}

void bh_story_append_text(GString *out, const char *text) {
        append_text(out, text);
}

void bh_story_append_asker(GString *out, const char *text) {
        append_some(out, text, ASKERS_SHOWN);
}

/* "container web-1", "node a" */
static void append_place(GString *out, const BhIncidentLine *l) {
        if (*l->container_id || *l->container_name) {
                g_string_append(out, "container ");
                append_text(out, *l->container_name ? l->container_name : l->container_id);
        } else {
                g_string_append(out, "node ");
                append_text(out, *l->node ? l->node : "(not known)");
        }
}

static gboolean same_place(const BhIncidentLine *a, const BhIncidentLine *b) {
        return g_str_equal(a->container_id, b->container_id) && g_str_equal(a->node, b->node);
}

/* "After 3 min", "over 2 h"; `short_of` for less than a second. */
static void append_span(GString *out, const char *word, const char *short_of, gint64 ns) {
        gint64 s = ns / 1000000000;

        if (s < 1)
                g_string_append(out, short_of);
        else if (s < 120)
                g_string_append_printf(out, "%s %" G_GINT64_FORMAT " s", word, s);
        else if (s < 7200)
                g_string_append_printf(out, "%s %" G_GINT64_FORMAT " min", word, s / 60);
        else
                g_string_append_printf(out, "%s %" G_GINT64_FORMAT " h", word, s / 3600);
}

/* " (sh -c id, pid 7, started by nginx, on /etc/shadow, 3 times)" */
static void append_act(GString *out, const BhIncidentLine *l) {
        gboolean any = FALSE;

        if (!*l->exe && !*l->parent && !*l->object && l->count <= 1)
                return;
        g_string_append(out, " (");
        if (*l->exe) {
                append_text(out, *l->command ? l->command : l->exe);
                if (l->pid)
                        g_string_append_printf(out, ", pid %u", l->pid);
                any = TRUE;
        }
        if (*l->parent) {
                g_string_append(out, any ? ", started by " : "started by ");
                append_text(out, l->parent);
                any = TRUE;
        }
        if (*l->object && !g_str_equal(l->object, l->exe)) {
                g_string_append(out, any ? ", on " : "");
                append_text(out, l->object);
                any = TRUE;
        }
        if (l->count > 1)
                g_string_append_printf(out, "%s%" G_GUINT64_FORMAT " times", any ? ", " : "", l->count);
        g_string_append_c(out, ')');
}

static const BhIncidentLine *line(const BhIncident *i, guint n) {
        return g_ptr_array_index(i->lines, n);
}

static guint containers_of(const BhIncident *i) {
        g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint n = 0; n < i->lines->len; n++)
                if (*line(i, n)->container_id)
                        g_hash_table_add(ids, line(i, n)->container_id);
        return g_hash_table_size(ids);
}

#define SAME_MOMENT_NS G_GINT64_CONSTANT(1000000000)

/* Where it began: the first line that is not merely a note; of several at that moment the one that says how they came in. */
static const BhIncidentLine *entry_of(const BhIncident *i) {
        const BhIncidentLine *first = NULL;

        for (guint n = 0; n < i->lines->len; n++) {
                const BhIncidentLine *l = line(i, n);

                if (l->rank > BH_INCIDENT_RANK)
                        continue;
                if (!first)
                        first = l;
                if (l->time_ns - first->time_ns > SAME_MOMENT_NS)
                        break;
                if (l->tactics >> BH_TACTIC_INITIAL_ACCESS & 1 && same_place(l, first))
                        return l;
        }
        if (first)
                return first;
        return i->lines->len ? line(i, 0) : NULL;
}

static const BhIncidentLine *worst_of(const BhIncident *i, gboolean (*which)(const BhIncidentLine *l)) {
        const BhIncidentLine *worst = NULL;

        for (guint n = 0; n < i->lines->len; n++)
                if (which(line(i, n)) && (!worst || line(i, n)->rank < worst->rank))
                        worst = line(i, n);
        return worst;
}

static gboolean leads_out(const BhIncidentLine *l) {
        return l->rank <= BH_INCIDENT_RANK_ALONE && (l->escape || (l->of_host && l->basis != BH_BASIS_NONE));
}

static gboolean any_line(const BhIncidentLine *l) {
        (void) l;
        return TRUE;
}

/* "Network tool run in a container" says that much already: which one takes the place of "a container". */
static void append_rule_at(GString *out, const BhIncidentLine *l) {
        static const char *const some[] = { " a container", " a running container" };
        g_autofree char *rule = g_strdup(l->rule);
        gboolean inside = *l->container_id || *l->container_name;
        const char *joint = inside ? " in " : " on ";

        for (guint n = 0; inside && n < G_N_ELEMENTS(some); n++)
                if (g_str_has_suffix(rule, some[n])) {
                        rule[strlen(rule) - strlen(some[n])] = '\0';
                        joint = " ";
                        break;
                }
        append_text(out, rule);
        g_string_append(out, joint);
        append_place(out, l);
}

char *bh_story_title(const BhIncident *i) {
        const BhIncidentLine *entry = entry_of(i), *worst = worst_of(i, any_line), *out_of = worst_of(i, leads_out);
        GString *text = g_string_new(NULL);
        guint others = containers_of(i);

        if (!entry)
                return g_string_free(text, FALSE);
        if (out_of && *entry->container_id) {
                g_string_append(text, "Way out of ");
                append_place(text, entry);
                g_string_append(text, " to node ");
                append_text(text, out_of->node);
        } else if (i->tactics & (1u << BH_TACTIC_INITIAL_ACCESS) && *entry->container_id) {
                append_place(text, entry);
                text->str[0] = g_ascii_toupper(text->str[0]);
                g_string_append(text, " taken over");
        } else {
                append_rule_at(text, worst);
        }
        if (others > 1)
                g_string_append_printf(text, ", %u containers", others);
        return g_string_free(text, FALSE);
}

static void append_begin(GString *out, const BhIncident *i, const BhIncidentLine *first) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(first->time_ns / 1000000000);
        g_autofree char *when = t ? g_date_time_format(t, "%Y-%m-%d %H:%M:%S") : g_strdup("?");

        (void) i;
        g_string_append_printf(out, "It began at %s UTC %s ", when, *first->container_id ? "in" : "on");
        append_place(out, first);
        if (*first->workload || *first->application) {
                g_string_append(out, " (");
                append_text(out, *first->workload ? first->workload : first->application);
                if (*first->workload && *first->application) {
                        g_string_append(out, " of ");
                        append_text(out, first->application);
                }
                g_string_append(out, *first->node ? ", node " : "");
                append_text(out, first->node);
                g_string_append_c(out, ')');
        }
        g_string_append(out, ": ");
        append_text(out, first->rule);
        append_act(out, first);
        g_string_append(out, ".");
}

/* How the two are tied, where it is not the container that both are in. */
static void append_tie(GString *out, const BhIncidentLine *l) {
        static const char *const words[BH_BASES] = {
                [BH_BASIS_PROCESS] = " by a process below the one before",
                [BH_BASIS_FILE] = " with a file that was written before",
                [BH_BASIS_TARGET] = " in what was acted on before",
                [BH_BASIS_ASKED] = " in a container that was asked for before",
                [BH_BASIS_REACHED] = " reached by a connection",
        };

        if (l->basis < BH_BASES && words[l->basis])
                g_string_append(out, words[l->basis]);
        /* that it was used for this nobody saw: it opens what was connected to next */
        if (l->basis == BH_BASIS_CREDENTIAL) {
                g_string_append_printf(out, " reached after the %s ", bh_credential_title(bh_credential_of_path(l->used)));
                append_text(out, l->used);
                g_string_append(out, " was read");
        }
}

/* What an attacker who kills the container leaves nothing of elsewhere. */
static void append_ends(GString *out, const BhIncident *i, const BhStoryEnd *ends, guint n) {
        for (guint k = 0; k < MIN(n, ENDS_SHOWN); k++) {
                g_string_append(out, " Container ");
                append_text(out, ends[k].name);
                g_string_append(out, ends[k].found ? " was found gone" : ends[k].removed ? " ended and was removed" : " ended");
                append_span(out, "", " at once", MAX(ends[k].ended_ns - i->first_ns, 0));
                g_string_append(out, ends[k].ended_ns - i->first_ns >= 1000000000 ? " after the beginning" : "");
                if (ends[k].exit_code >= 0)
                        g_string_append_printf(out, " (exit code %" G_GINT64_FORMAT ")", ends[k].exit_code);
                if (*ends[k].by) {
                        g_string_append(out, "; its end was asked for by ");
                        bh_story_append_asker(out, ends[k].by);
                }
                g_string_append_c(out, '.');
        }
        if (n > ENDS_SHOWN)
                g_string_append_printf(out, " %u more of its containers ended.", n - ENDS_SHOWN);
}

static void append_end(GString *out, const BhIncident *i, guint untold) {
        gboolean first = TRUE;

        if (untold || i->lines_dropped)
                g_string_append_printf(out, " %" G_GUINT64_FORMAT " more of its findings are in the timeline.", untold + i->lines_dropped);
        g_string_append_printf(out, " In all %" G_GUINT64_FORMAT " finding%s in %u container%s ", i->findings, i->findings == 1 ? "" : "s", containers_of(i), containers_of(i) == 1 ? "" : "s");
        append_span(out, "over", "within a second", i->last_ns - i->first_ns);
        g_string_append(out, i->tactics ? "; stages: " : ".");
        for (guint t = 0; t < BH_TACTICS; t++)
                if (i->tactics >> t & 1) {
                        g_string_append(out, first ? "" : ", ");
                        g_string_append(out, bh_tactic_title(t));
                        first = FALSE;
                }
        if (!first)
                g_string_append_c(out, '.');
}

/* The worst of each tactic and place first, then what room is left, told in the order of time. */
static guint choose(const BhIncident *i, const BhIncidentLine *first, gboolean *told) {
        guint n_told = 0;

        for (guint rank = 0; rank <= 8; rank++)
                for (guint n = 0; n < i->lines->len && n_told < BH_STORY_SENTENCES_MAX - 2; n++) {
                        const BhIncidentLine *l = line(i, n);
                        gboolean new_kind = TRUE;

                        if (l == first || told[n] || l->rank != rank)
                                continue;
                        for (guint m = 0; m < i->lines->len && new_kind; m++)
                                new_kind = !(told[m] && g_str_equal(line(i, m)->rule, l->rule) && same_place(line(i, m), l));
                        if (new_kind)
                                told[n] = TRUE, n_told++;
                }
        for (guint n = 0; n < i->lines->len && n_told < BH_STORY_SENTENCES_MAX - 2; n++)
                if (line(i, n) != first && !told[n] && line(i, n)->rank <= BH_INCIDENT_RANK)
                        told[n] = TRUE, n_told++;
        return n_told;
}

char *bh_story_text(const BhIncident *i, const BhStoryEnd *ends, guint n_ends) {
        const BhIncidentLine *first = entry_of(i), *before = first;
        g_autofree gboolean *told = g_new0(gboolean, i->lines->len + 1);
        GString *out = g_string_new(NULL);
        guint n_told;

        if (!first)
                return g_string_free(out, FALSE);
        append_begin(out, i, first);
        n_told = choose(i, first, told);
        for (guint n = 0; n < i->lines->len; n++) {
                const BhIncidentLine *l = line(i, n);

                if (!told[n])
                        continue;
                g_string_append_c(out, ' ');
                if (l->time_ns < first->time_ns)
                        g_string_append(out, "Before it");
                else
                        append_span(out, "After", "At once", l->time_ns - first->time_ns);
                if (!same_place(l, before)) {
                        g_string_append(out, *l->container_id ? ", in " : ", on ");
                        append_place(out, l);
                        append_tie(out, l);
                }
                g_string_append(out, ": ");
                append_text(out, l->rule);
                append_act(out, l);
                g_string_append_c(out, '.');
                before = l;
        }
        bh_story_append_planted(out, i);
        bh_story_append_taken(out, i);
        append_ends(out, i, ends, n_ends);
        append_end(out, i, i->lines->len - 1 - n_told);
        return g_string_free(out, FALSE);
}
