/* SPDX-License-Identifier: Apache-2.0 */
#include "kinds.h"

#include <string.h>

static const guint32 every[] = {
#define BH_EVENT_TYPE(num, id, name, ring, folds, doc) BH_EV_##id,
#include "event_types.tbl.h"
};

BhKinds bh_kinds_all(void) {
        BhKinds k = { 0 };

        for (guint i = 0; i < G_N_ELEMENTS(every); i++)
                bh_kinds_add(&k, every[i]);
        return k;
}

static guint32 kind_named(const char *name) {
        for (guint i = 0; i < G_N_ELEMENTS(every); i++)
                if (g_str_equal(bh_event_type_name(every[i]), name))
                        return every[i];
        return BH_EV_MAX;
}

static gboolean unknown(const char *name, GError **error) {
        g_autoptr(GString) names = g_string_new(NULL);

        for (guint i = 0; i < G_N_ELEMENTS(every); i++)
                g_string_append_printf(names, ", %s", bh_event_type_name(every[i]));
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "there is no kind of event \"%s\"; there are all, default, none%s", name, names->str);
        return FALSE;
}

gboolean bh_kinds_parse(const char *text, BhKinds *out, GError **error) {
        g_auto(GStrv) parts = g_strsplit(text, ",", -1);
        BhKinds k = { 0 };

        for (guint i = 0; parts[i]; i++) {
                const char *name = g_strstrip(parts[i]);
                gboolean without = *name == '-';
                guint32 type;

                if (!*name)
                        return unknown(name, error);
                if (g_str_equal(name, "all") || g_str_equal(name, "default")) {
                        k = bh_kinds_all();
                        continue;
                }
                if (g_str_equal(name, "none")) {
                        memset(&k, 0, sizeof(k));
                        continue;
                }
                type = kind_named(name + without);
                if (type == BH_EV_MAX)
                        return unknown(name + without, error);
                if (without && i == 0)
                        k = bh_kinds_all();
                if (without)
                        bh_kinds_remove(&k, type);
                else
                        bh_kinds_add(&k, type);
        }
        if (!parts[0])
                return unknown("", error);
        *out = k;
        return TRUE;
}

char *bh_kinds_format(const BhKinds *k) {
        BhKinds all = bh_kinds_all();
        g_autoptr(GString) out = g_string_new(NULL);

        if (bh_kinds_equal(k, &all))
                return g_strdup("all");
        for (guint i = 0; i < G_N_ELEMENTS(every); i++)
                if (bh_kinds_has(k, every[i]))
                        g_string_append_printf(out, "%s%s", out->len ? "," : "", bh_event_type_name(every[i]));
        return out->len ? g_string_free(g_steal_pointer(&out), FALSE) : g_strdup("none");
}
