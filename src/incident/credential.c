/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/credential.h"

#include "incident/deed.h"

#define BH_LIST(...) { __VA_ARGS__ }

static const struct {
        const char *title, *paths[5];
        guint16 ports[12];
} kinds[BH_CREDENTIALS] = {
        { "", { NULL }, { 0 } },
#define BH_CREDENTIAL(id, title, paths, ports) { title, paths, ports },
#include "incident/credential.tbl.h"
};

BhCredential bh_credential_of_path(const char *path) {
        const char *inside = bh_deed_path(path);

        if (g_str_has_suffix(inside, ".pub"))
                return BH_CREDENTIAL_NONE;
        for (BhCredential c = BH_CREDENTIAL_NONE + 1; c < BH_CREDENTIALS; c++)
                for (guint n = 0; kinds[c].paths[n]; n++)
                        if (g_pattern_match_simple(kinds[c].paths[n], inside))
                                return c;
        return BH_CREDENTIAL_NONE;
}

gboolean bh_credential_opens(BhCredential c, guint port) {
        for (guint n = 0; c < BH_CREDENTIALS && n < G_N_ELEMENTS(kinds[c].ports) && kinds[c].ports[n]; n++)
                if (kinds[c].ports[n] == port)
                        return TRUE;
        return FALSE;
}

gboolean bh_credential_is_asked_for(guint port) {
        for (BhCredential c = BH_CREDENTIAL_NONE + 1; c < BH_CREDENTIALS; c++)
                if (bh_credential_opens(c, port))
                        return TRUE;
        return FALSE;
}

const char *bh_credential_title(BhCredential c) {
        return c < BH_CREDENTIALS ? kinds[c].title : "";
}
