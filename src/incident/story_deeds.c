/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the story that says what the attack planted, and what it took: the deeds of its lines (deed.h), each once, in the order of time. */
#include "incident/story_parts.h"

#define SHOWN 6u

static gboolean on_node(const BhIncidentLine *l) {
        return !*l->container_id || *l->origin;
}

static gboolean same_place(const BhIncidentLine *a, const BhIncidentLine *b) {
        if (on_node(a) != on_node(b) || !g_str_equal(a->node, b->node))
                return FALSE;
        return on_node(a) ? g_str_equal(a->origin, b->origin) : g_str_equal(a->container_id, b->container_id);
}

/* What it is, and where: from which container it came, or by way of whose root, does not make it another one. */
static char *key_of(const BhIncidentLine *l) {
        return g_strjoin("\1", bh_deed_name(l->deed), l->node, on_node(l) ? "" : l->container_id, bh_deed_path(l->thing), NULL);
}

static GPtrArray *deeds_of(const BhIncident *i, gboolean (*which)(BhDeed d)) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL); /* → 1 + where it is in `out` */
        GPtrArray *out = g_ptr_array_new();

        for (guint n = 0; n < i->lines->len; n++) {
                BhIncidentLine *l = g_ptr_array_index(i->lines, n);
                g_autofree char *key = which(l->deed) ? key_of(l) : NULL;
                guint at = key ? GPOINTER_TO_UINT(g_hash_table_lookup(seen, key)) : 0;

                if (at && bh_deed_path(l->thing) != l->thing) {
                        out->pdata[at - 1] = l; /* the other name hides that it may be another's file */
                } else if (key && !at) {
                        g_ptr_array_add(out, l);
                        g_hash_table_insert(seen, g_steal_pointer(&key), GUINT_TO_POINTER(out->len));
                }
        }
        return out;
}

static void append_thing(GString *out, const BhIncidentLine *l) {
        static const char *const words[BH_DEEDS] = { [BH_DEED_MODULE] = "kernel module", [BH_DEED_KERNEL] = "another kernel", [BH_DEED_BPF] = "a BPF program" };

        if (words[l->deed])
                g_string_append(out, l->deed == BH_DEED_MODULE && !*l->thing ? "a kernel module" : words[l->deed]);
        if (l->deed == BH_DEED_MODULE && *l->thing)
                g_string_append_c(out, ' ');
        if (l->deed != BH_DEED_KERNEL && l->deed != BH_DEED_BPF)
                bh_story_append_text(out, l->thing);
}

static void append_place(GString *out, const BhIncidentLine *l) {
        static const char *const joints[2][2] = { { " in container ", " on node " }, { " from container ", " from node " } };
        gboolean node = on_node(l);

        g_string_append(out, joints[l->deed == BH_DEED_SENT][node]);
        bh_story_append_text(out, node ? l->node : *l->container_name ? l->container_name : l->container_id);
        if (node && *l->origin) {
                g_string_append(out, " (from container ");
                bh_story_append_text(out, l->origin);
                g_string_append_c(out, ')');
        }
}

/* "A, B on node n (from container web); C in container web; and 3 more" */
static void append_deeds(GString *out, const GPtrArray *deeds) {
        guint shown = MIN(deeds->len, SHOWN);

        for (guint n = 0; n < shown; n++) {
                const BhIncidentLine *l = deeds->pdata[n], *next = n + 1 < shown ? deeds->pdata[n + 1] : NULL;

                append_thing(out, l);
                if (next && same_place(l, next)) {
                        g_string_append(out, ", ");
                        continue;
                }
                append_place(out, l);
                if (next)
                        g_string_append(out, "; ");
        }
        if (deeds->len > shown)
                g_string_append_printf(out, "; and %u more", deeds->len - shown);
}

static gboolean is_read(BhDeed d) {
        return d == BH_DEED_READ;
}

static gboolean is_sent(BhDeed d) {
        return d == BH_DEED_SENT;
}

void bh_story_append_planted(GString *out, const BhIncident *i) {
        g_autoptr(GPtrArray) deeds = deeds_of(i, bh_deed_plants);

        if (!deeds->len)
                return;
        g_string_append(out, " Planted or changed: ");
        append_deeds(out, deeds);
        g_string_append_c(out, '.');
}

void bh_story_append_taken(GString *out, const BhIncident *i) {
        g_autoptr(GPtrArray) read = deeds_of(i, is_read), sent = deeds_of(i, is_sent);

        if (read->len) {
                g_string_append(out, " Secrets read: ");
                append_deeds(out, read);
        }
        if (sent->len) {
                g_string_append(out, read->len ? "; sent out: " : " Sent out: ");
                append_deeds(out, sent);
        }
        if (read->len || sent->len)
                g_string_append_c(out, '.');
}
