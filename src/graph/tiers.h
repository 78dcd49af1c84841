/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far each node of a directed graph is from where things begin: the length of the longest path to it, where nodes that reach each other count as one. The same graph gives the
 * same numbers, in whatever order its edges come. Pure; time and memory are linear, nothing recurses.
 */
#pragma once
#include <glib.h>

/* `tiers` has n numbers: given, the least of each; out, its tier. Edges from a node to itself do not count. */
void bh_tiers(guint n, const guint *from, const guint *to, guint n_edges, guint *tiers);
