/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/tiers.h"

#define NONE G_MAXUINT

/* Tarjan's strongly connected components, with a stack of its own. They come out last first: whatever an edge leads to is done before where it comes from. */
typedef struct {
        const guint *first, *targets; /* edges of node v: targets[first[v]] … targets[first[v + 1] - 1] */
        guint *index, *low, *part, *stack, *path, *next;
        guint n_stack, n_path, counter, parts;
} Walk;

static void enter(Walk *w, guint v) {
        w->index[v] = w->low[v] = w->counter++;
        w->next[v] = w->first[v];
        w->stack[w->n_stack++] = v;
        w->path[w->n_path++] = v;
}

static void leave(Walk *w, guint v) {
        w->n_path--;
        if (w->low[v] == w->index[v]) {
                guint u;

                do {
                        u = w->stack[--w->n_stack];
                        w->part[u] = w->parts;
                } while (u != v);
                w->parts++;
        }
        if (w->n_path) {
                guint above = w->path[w->n_path - 1];

                w->low[above] = MIN(w->low[above], w->low[v]);
        }
}

static void walk(Walk *w, guint n) {
        for (guint root = 0; root < n; root++) {
                if (w->index[root] != NONE)
                        continue;
                enter(w, root);
                while (w->n_path) {
                        guint v = w->path[w->n_path - 1];

                        if (w->next[v] == w->first[v + 1]) {
                                leave(w, v);
                                continue;
                        }
                        guint u = w->targets[w->next[v]++];
                        if (w->index[u] == NONE)
                                enter(w, u);
                        else if (w->part[u] == NONE)
                                w->low[v] = MIN(w->low[v], w->index[u]);
                }
        }
}

void bh_tiers(guint n, const guint *from, const guint *to, guint n_edges, guint *tiers) {
        g_autofree guint *first = g_new0(guint, n + 2), *targets = g_new(guint, n_edges + 1), *numbers = g_new(guint, 6 * (gsize) n + 1), *best = g_new0(guint, n + 1),
                         *order = g_new(guint, n + 1), *begin = g_new0(guint, n + 2);

        for (guint i = 0; i < n_edges; i++)
                first[from[i] + 2]++;
        for (guint v = 2; v < n + 2; v++)
                first[v] += first[v - 1];
        for (guint i = 0; i < n_edges; i++)
                targets[first[from[i] + 1]++] = to[i];

        Walk w = { .first = first, .targets = targets };
        guint **const arrays[] = { &w.index, &w.low, &w.part, &w.stack, &w.path, &w.next };
        for (guint i = 0; i < G_N_ELEMENTS(arrays); i++)
                *arrays[i] = numbers + i * (gsize) n;
        for (guint v = 0; v < n; v++)
                w.index[v] = w.part[v] = NONE;
        walk(&w, n);

        /* nodes by their component, those that nothing leads to from elsewhere first */
        for (guint v = 0; v < n; v++)
                begin[w.parts - 1 - w.part[v] + 1]++;
        for (guint p = 1; p <= w.parts; p++)
                begin[p] += begin[p - 1];
        for (guint v = 0; v < n; v++)
                order[begin[w.parts - 1 - w.part[v]]++] = v;
        for (guint i = 0, k; i < n; i = k) {
                guint part = w.part[order[i]];

                for (k = i; k < n && w.part[order[k]] == part; k++)
                        best[part] = MAX(best[part], tiers[order[k]]);
                for (guint m = i; m < k; m++) {
                        guint v = order[m];

                        tiers[v] = best[part];
                        for (guint e = first[v]; e < first[v + 1]; e++)
                                if (w.part[targets[e]] != part)
                                        best[w.part[targets[e]]] = MAX(best[w.part[targets[e]]], best[part] + 1);
                }
        }
}
