/* SPDX-License-Identifier: Apache-2.0 */
#include "lists.h"

#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"

void bh_list_show(const json_t *list, gboolean json, BhListTable table, const char *nothing) {
        json_t *row;
        size_t i;

        if (json) {
                json_array_foreach(list, i, row)
                        bh_out_json(row);
        } else if (json_array_size(list)) {
                table(list);
        } else {
                puts(nothing);
        }
}

int bh_list_print(BhApi *api, const char *target, const char *member, guint max, gboolean json, BhListTable table, const char *nothing) {
        g_autoptr(GError) error = NULL;
        gboolean more = FALSE;
        json_auto_t *list = bh_api_list(api, target, member, max, &more, &error);

        if (!list)
                return bh_cli_fail(error);
        bh_list_show(list, json, table, nothing);
        int code = bh_out_finish();
        if (more)
                fprintf(stderr, "bulkhead: these are the last %zu; --limit gives more\n", json_array_size(list));
        return code;
}

int bh_list_text(json_t *answer, gboolean json) {
        const char *text = bh_json_text(answer, "text");

        if (json)
                bh_out_json(answer);
        else
                bh_out_write(text, strlen(text));
        return bh_out_finish();
}

void bh_list_nodes(const json_t *answer, gboolean all) {
        json_t *one;
        size_t i;

        json_array_foreach(json_object_get(answer, "nodes"), i, one) {
                g_autofree char *node = bh_json_cell(one, "node"), *state = bh_json_cell(one, "state"), *why = bh_json_cell(one, "error");

                if (all || !g_str_equal(state, "current"))
                        printf("node %s: %s%s%s\n", node, state, *why ? ": " : "", why);
        }
}

gboolean bh_list_since(GString *target, const char *since) {
        guint64 ago = since ? bh_cli_duration(since) : 0, now = (guint64) g_get_real_time() * 1000;
        g_autofree char *from = NULL;

        if (!since)
                return TRUE;
        if (!ago) {
                bh_cli_usage("--since takes a number with s, m, h or d, like 10m, not \"%s\"", since);
                return FALSE;
        }
        from = g_strdup_printf("%" G_GUINT64_FORMAT, now > ago ? now - ago : 1);
        bh_api_param(target, "since", from);
        return TRUE;
}
