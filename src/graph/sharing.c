/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that share a network namespace (docker's --network container:X, the containers of a pod): one address for several. What goes to the address is meant for the one that
 * serves the port, as its own half says; what comes from it is of the one whose own half says that it went there. Until one of them says so it is the one that has the address.
 */
#include "graph/graph_private.h"

#define MEMBERS_MAX 16 /* looked at; of more the rest is taken for the one that has the address */
#define EDGES_LOOKED_AT 256
#define TIMES_MAX 2 /* that a half is placed anew because of one edge, and of what that brings about */

/* Under whose id those are that share with `b`. */
static char *group_of(const Box *b) {
        return *b->network_of ? b->network_of : b->id;
}

void bh_graph_index_sharing(BhGraph *g, Box *b, gboolean enter) {
        const Place key = { .node = b->node, .network = b->network_of };
        GPtrArray *boxes;

        if (!*b->network_of || b->network_of == b->id)
                return;
        boxes = g_hash_table_lookup(g->sharing, &key);
        if (!enter) {
                if (boxes)
                        g_ptr_array_remove_fast(boxes, b);
                if (boxes && !boxes->len)
                        g_hash_table_remove(g->sharing, &key);
                return;
        }
        if (!boxes) {
                Place *owned = g_memdup2(&key, sizeof(key));

                g_ref_string_acquire(owned->node);
                g_ref_string_acquire(owned->network);
                boxes = g_ptr_array_new();
                g_hash_table_insert(g->sharing, owned, boxes);
        }
        g_ptr_array_add(boxes, b);
}

/* `b` first. How many; 1: it shares with nobody. */
static guint members_of(const BhGraph *g, const Box *b, const Box **out) {
        const Place key = { .node = b->node, .network = group_of(b) };
        const GPtrArray *sharing = g_hash_table_size(g->sharing) ? g_hash_table_lookup(g->sharing, &key) : NULL;
        guint n = 0;

        out[n++] = b;
        if (!sharing)
                return n;
        if (*b->network_of) {
                const Box owner = { .node = b->node, .id = b->network_of };

                if ((out[n] = g_hash_table_lookup(g->boxes, &owner)))
                        n++;
        }
        for (guint i = 0; i < sharing->len && n < MEMBERS_MAX; i++)
                if (sharing->pdata[i] != b)
                        out[n++] = sharing->pdata[i];
        return n;
}

const Box *bh_graph_network_owner(const BhGraph *g, const Box *b) {
        const Box key = { .node = b->node, .id = b->network_of };

        return *b->network_of ? g_hash_table_lookup(g->boxes, &key) : NULL;
}

/* A half is sure of its own side, whoever its peer is. */
static gboolean says(const Edge *e, guint role) {
        for (const Half *h = e ? e->halves : NULL; h; h = h->next)
                if (h->role == role)
                        return TRUE;
        return FALSE;
}

/* By its own word. */
static gboolean serves(const Box *b, const Half *h) {
        guint n = 0;

        for (const Edge *e = b->end ? b->end->in : NULL; e && n++ < EDGES_LOOKED_AT; e = e->next_in)
                if (e->proto == h->proto && e->port == h->port && says(e, BH_HALF_SERVER))
                        return TRUE;
        return FALSE;
}

static gboolean lived(const Box *b, const Half *h) {
        return b->since_ns <= h->last_ns && (!b->ended_ns || b->ended_ns >= h->first_ns);
}

static const Box *that_serves(const BhGraph *g, const Half *h, const End *local, const Box *const *members, guint n) {
        for (guint i = 0; local && i < n; i++)
                if (members[i]->end && says(bh_graph_find_edge(g, local, members[i]->end, h->proto, h->port, h->path), BH_HALF_SERVER))
                        return members[i];
        for (guint i = 0; i < n; i++)
                if ((i == 0 || lived(members[i], h)) && serves(members[i], h))
                        return members[i];
        return NULL;
}

const Box *bh_graph_among_sharing(const BhGraph *g, const Half *h, const Box *b, Peer *out) {
        const Box *members[MEMBERS_MAX + 1], *found = NULL;
        guint n = members_of(g, b, members), many = 0;
        const End *local;

        if (n == 1)
                return b;
        out->shared = TRUE;
        local = bh_graph_find_local(g, h);
        if (h->role == BH_HALF_CLIENT) {
                found = that_serves(g, h, local, members, n);
                return found ? found : b;
        }
        for (guint i = 0; local && i < n; i++) {
                if (!members[i]->end || !says(bh_graph_find_edge(g, members[i]->end, local, h->proto, h->port, h->path), BH_HALF_CLIENT))
                        continue;
                if (!found)
                        found = members[i];
                many++;
        }
        /* several went there: the half is of all of them, and what they say themselves counts */
        out->imprecise = many > 1;
        return found ? found : b;
}

static void collect_shared(BhGraph *g, const Edge *e) {
        for (Half *h = e ? e->halves : NULL; h; h = h->next) {
                guint times = h->shared ? GPOINTER_TO_UINT(g_hash_table_lookup(g->explained, h)) : TIMES_MAX;

                if (times >= TIMES_MAX)
                        continue;
                g_hash_table_insert(g->explained, h, GUINT_TO_POINTER(times + 1));
                g_ptr_array_add(g->to_explain, h);
        }
}

void bh_graph_explain_sharing(BhGraph *g, const Edge *e) {
        const Box *from[MEMBERS_MAX + 1], *to[MEMBERS_MAX + 1];
        guint n_from = e->from->box ? members_of(g, e->from->box, from) : 0, n_to = e->to->box ? members_of(g, e->to->box, to) : 0;

        if (n_from < 2 && n_to < 2)
                return;
        for (guint i = 0; i < MAX(n_from, 1); i++)
                for (guint k = 0; k < MAX(n_to, 1); k++) {
                        const End *a = n_from ? from[i]->end : e->from, *b = n_to ? to[k]->end : e->to;

                        /* this one too: another member may have gone there before */
                        if (a && b)
                                collect_shared(g, bh_graph_find_edge(g, a, b, e->proto, e->port, e->path));
                }
        /* one edge explains another, which explains a third: by a list, for there is no end to how deep that goes */
        if (g->explaining)
                return;
        g->explaining = TRUE;
        while (g->to_explain->len)
                bh_graph_place(g, g_ptr_array_steal_index_fast(g->to_explain, g->to_explain->len - 1));
        g->explaining = FALSE;
        g_hash_table_remove_all(g->explained);
}
