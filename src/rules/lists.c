/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: their items as values. A list's name among the items of another that was changed later stands for its values. */
#include <string.h>

#include "rules/load.h"

static gboolean expand(BhLoader *l, BhListDef *list, guint depth);

static gboolean put_in(BhLoader *l, BhListDef *list, BhListDef *inner, guint depth) {
        g_autofree char *object = NULL;

        if (!expand(l, inner, depth + 1))
                return FALSE;
        inner->used_in_list = TRUE;
        l->put_in += inner->values->len;
        if (list->values->len + inner->values->len <= BH_RULES_ITEMS_MAX && l->put_in <= BH_RULES_PUT_IN_MAX) {
                for (guint i = 0; i < inner->values->len; i++)
                        g_ptr_array_add(list->values, bh_operand_ref(g_ptr_array_index(inner->values, i)));
                return TRUE;
        }
        object = g_strdup_printf("list \"%s\"", list->name);
        bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", list->pos, object,
                        "with the lists that it names it has more than 1,000,000 values, or all lists together more than 8,000,000: name fewer lists");
        return FALSE;
}

static gboolean expand(BhLoader *l, BhListDef *list, guint depth) {
        gboolean good = TRUE;

        if (list->state)
                return list->values != NULL;
        list->state = 1;
        g_autofree char *object = g_strdup_printf("list \"%s\"", list->name);
        if (depth > BH_RULES_LIST_DEPTH_MAX) {
                bh_load_problem(l, BH_ERROR, "LOAD_ERR_VALIDATE", list->pos, object, "lists in lists in lists, deeper than 200: write the items out");
                return FALSE;
        }
        list->values = g_ptr_array_new_with_free_func((GDestroyNotify) bh_operand_free);
        for (guint i = 0; i < list->items->len && good; i++) {
                const BhItem *item = &g_array_index(list->items, BhItem, i);
                BhListDef *inner = item->len && item->len < 1000 ? g_hash_table_lookup(l->lists_by, item->text) : NULL;

                if (inner && inner->index < list->visibility && inner->state != 1) {
                        good = put_in(l, list, inner, depth);
                        continue;
                }
                if (!item->len) {
                        bh_load_problem(l, BH_WARN, "LOAD_EMPTY_ITEM", bh_load_pos_at(l, item->file, item->off), object,
                                        "an item is empty and is left out: write '\"\"' for the empty text");
                        continue;
                }
                g_auto(BhParser) p = { 0 };
                bh_parser_init_item(&p, l, item);
                if (!bh_parse_item(&p, list->values)) {
                        bh_load_problem(l, BH_ERROR, "LOAD_ERR_COMPILE_CONDITION", bh_parser_pos(&p, p.bad), object, "%s", p.what);
                        good = l->put_in <= BH_RULES_PUT_IN_MAX && l->literals <= BH_RULES_LITERALS_MAX;
                }
        }
        list->state = 2;
        if (good)
                g_hash_table_insert(l->lists_of, list->values, list);
        else
                g_clear_pointer(&list->values, g_ptr_array_unref);
        return good;
}

gboolean bh_list_values(BhLoader *l, BhListDef *list) {
        return expand(l, list, 0);
}
