/* SPDX-License-Identifier: Apache-2.0 */
#include "privileges.h"

#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

static const cap_value_t of_sensor[] = {
#define BH_KEEP(capability, why) capability,
#include "privileges.tbl.h"
#undef BH_KEEP
};

static gboolean refused(GError **error, const char *what) {
        g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(errno), "cannot give up privileges: %s: %s", what, g_strerror(errno));
        return FALSE;
}

static gboolean is_kept(cap_value_t c, const cap_value_t *keep, gsize n) {
        for (gsize i = 0; i < n; i++)
                if (keep[i] == c)
                        return TRUE;
        return FALSE;
}

/* Of those that are kept, the ones that there are. */
static cap_t wanted_of(cap_t now, const cap_value_t *keep, gsize n) {
        cap_t wanted = cap_init();

        for (gsize i = 0; wanted && i < n; i++) {
                cap_flag_value_t has = CAP_CLEAR;

                if (cap_get_flag(now, keep[i], CAP_PERMITTED, &has) || has == CAP_CLEAR)
                        continue;
                cap_set_flag(wanted, CAP_PERMITTED, 1, &keep[i], CAP_SET);
                cap_set_flag(wanted, CAP_EFFECTIVE, 1, &keep[i], CAP_SET);
        }
        return wanted;
}

gboolean bh_privileges_keep(const int *keep, gsize n, GError **error) {
        gboolean ok = TRUE;

        /* the bounding set first: for it CAP_SETPCAP must be effective */
        for (cap_value_t c = 0; ok && c < cap_max_bits(); c++)
                if (!is_kept(c, keep, n) && cap_get_bound(c) == 1 && cap_drop_bound(c))
                        ok = refused(error, "the bounding set");
        if (!ok)
                return FALSE;
        if (cap_reset_ambient() && errno != EINVAL)
                return refused(error, "the ambient set");

        cap_t now = cap_get_proc(), wanted = now ? wanted_of(now, keep, n) : NULL;
        if (!wanted || cap_set_proc(wanted))
                ok = refused(error, "the permitted set");
        if (wanted)
                cap_free(wanted);
        if (now)
                cap_free(now);
        if (ok && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
                ok = refused(error, "no_new_privs");
        return ok;
}

gboolean bh_privileges_drop(GError **error) {
        return bh_privileges_keep(of_sensor, G_N_ELEMENTS(of_sensor), error);
}
