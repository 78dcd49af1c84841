/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that list something have in common. One thread; each says its errors itself.
 */
#pragma once
#include "api.h"

typedef void (*BhListTable)(const json_t *list);

/* A row a line as JSON, or as `table` prints them; `nothing` where there are none. */
void bh_list_show(const json_t *list, gboolean json, BhListTable table, const char *nothing);
/* Gets the list `member` at `target`, at most `max` rows (0: all), shows it, and says if there are more. The exit status. */
int bh_list_print(BhApi *api, const char *target, const char *member, guint max, gboolean json, BhListTable table, const char *nothing);

/* The member "text" of what was got, or all of it as JSON. The exit status. */
int bh_list_text(json_t *answer, gboolean json);
/* Which nodes have taken what they were sent: the member "nodes". `all`: also those that have. */
void bh_list_nodes(const json_t *answer, gboolean all);

/* The table of `bulkhead evidence list`, the first of the list at the bottom. */
void bh_cli_print_evidence(const json_t *list);

/* --since: 90s, 10m, 2h, 1d as the parameter "since"; NULL is none. FALSE: it is none of these, which was said. */
gboolean bh_list_since(GString *target, const char *since);
