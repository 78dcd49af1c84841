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

#define PATHS G_N_ELEMENTS(kinds->paths)

/* Compiled once, for good. */
static GPatternSpec *const *patterns(void) {
        static GPatternSpec *all[BH_CREDENTIALS * PATHS];
        static gsize done;

        if (g_once_init_enter(&done)) {
                for (guint n = 0; n < G_N_ELEMENTS(all); n++)
                        all[n] = kinds[n / PATHS].paths[n % PATHS] ? g_pattern_spec_new(kinds[n / PATHS].paths[n % PATHS]) : NULL;
                g_once_init_leave(&done, 1);
        }
        return all;
}

BhCredential bh_credential_of_path(const char *path) {
        const char *inside = bh_deed_path(path);
        GPatternSpec *const *all = patterns();

        if (g_str_has_suffix(inside, ".pub"))
                return BH_CREDENTIAL_NONE;
        for (guint n = 0; n < BH_CREDENTIALS * PATHS; n++)
                if (all[n] && g_pattern_spec_match_string(all[n], inside))
                        return (BhCredential) (n / PATHS);
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
