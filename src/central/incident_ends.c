/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_ends.h"

#define ENDS_LOOKED_FOR 32u /* containers of an incident */

gboolean bh_incident_container_ended(const BhStoreContainer *c) {
        static const char *const states[] = { "exited", "dead", "removed", NULL };

        return g_strv_contains(states, c->state);
}

GArray *bh_incident_ends(BhStore *store, const BhIncident *i, GPtrArray *rows) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        GArray *ends = g_array_new(FALSE, FALSE, sizeof(BhStoryEnd));

        for (guint n = 0; n < i->lines->len && g_hash_table_size(seen) < ENDS_LOOKED_FOR; n++) {
                const BhIncidentLine *l = i->lines->pdata[n];

                if (!*l->container_id || !g_hash_table_add(seen, g_strconcat(l->node, "/", l->container_id, NULL)))
                        continue;
                BhStoreContainer *c = bh_store_container(store, l->node, l->container_id, NULL);
                if (!c)
                        continue;
                g_ptr_array_add(rows, c);
                /* one that went while nobody looked was found gone, and what is known of an end is of a run before */
                const gboolean told = c->finished_ns && c->finished_ns >= c->started_ns;
                const gint64 ended_ns = told ? c->finished_ns : c->ended_ns;
                if (!bh_incident_container_ended(c) || ended_ns < i->first_ns)
                        continue;
                const BhStoryEnd end = { *c->name ? c->name : c->id, ended_ns, told ? c->exit_code : -1, !told, g_str_equal(c->state, "removed"), told ? c->ended_by : "" };
                g_array_append_val(ends, end);
        }
        return ends;
}
