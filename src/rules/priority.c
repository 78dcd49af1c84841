/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/ruleset.h"

#include <string.h>

static const char *const names[BH_PRIO_COUNT] = { "Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug" };

const char *bh_priority_name(enum bh_priority p) {
        return (guint) p < BH_PRIO_COUNT ? names[p] : "?";
}

int bh_priority_from_name(const char *name, gsize len) {
        for (int i = 0; i < BH_PRIO_COUNT; i++)
                if (len == strlen(names[i]) && g_ascii_strncasecmp(name, names[i], len) == 0)
                        return i;
        return len == 4 && g_ascii_strncasecmp(name, "info", 4) == 0 ? BH_PRIO_INFO : -1;
}
