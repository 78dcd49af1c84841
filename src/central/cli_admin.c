/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_admin.h"

#include <stdio.h>

#include "auth.h"
#include "json_out.h"
#include "password.h"

#define FIRST "admin"

static BhStoreAuditEntry entry(const char *action, const char *user, const char *detail) {
        return (BhStoreAuditEntry){ .actor = BH_LOCAL_ROOT, .role = "admin", .address = "command line", .action = action, .object = user, .outcome = "ok", .detail = detail };
}

gboolean bh_admin_first(BhStore *s, char **password, GError **error) {
        BhStoreAuditEntry audit = { .actor = "system", .action = "user.create", .object = FIRST, .outcome = "ok", .detail = "first start" };
        g_autoptr(GPtrArray) users = bh_store_users(s, error);
        g_autoptr(GError) e = NULL;

        *password = NULL;
        if (!users)
                return FALSE;
        if (users->len)
                return TRUE;

        char *fresh = bh_password_random();
        g_autofree char *hash = bh_password_hash(fresh);
        if (hash && bh_store_user_create_first(s, FIRST, hash, TRUE, &audit, &e)) {
                *password = fresh;
                return TRUE;
        }
        bh_secret_free(fresh);
        if (g_error_matches(e, BH_STORE_ERROR, BH_STORE_ERROR_EXISTS))
                return TRUE; /* another process was first */
        if (e)
                g_propagate_error(error, g_steal_pointer(&e));
        else
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "cannot hash a password: no memory");
        return FALSE;
}

gboolean bh_admin_set_password(BhStore *s, const char *user, GError **error) {
        BhStoreAuditEntry reset = entry("user.reset", user, "--set-password"), create = entry("user.create", user, "--set-password"),
                          enable = entry("user.change", user, "enabled");
        g_autoptr(GError) e = NULL;
        g_autoptr(BhStoreUser) u = bh_store_user(s, user, &e);
        gboolean missing = !u && g_error_matches(e, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND), ok;

        if (!u && !missing) {
                g_propagate_error(error, g_steal_pointer(&e));
                return FALSE;
        }
        if (missing && !g_str_equal(user, FIRST)) {
                g_set_error(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND, "there is no user \"%s\"; \"bulkhead user\" lists them", user);
                return FALSE;
        }

        char *password = bh_password_random();
        g_autofree char *hash = bh_password_hash(password);
        if (!hash) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "cannot hash a password: no memory");
                ok = FALSE;
        } else if (missing) {
                ok = bh_store_user_create(s, user, BH_STORE_ROLE_ADMIN, hash, TRUE, &create, error);
        } else {
                ok = bh_store_user_set_password(s, user, hash, TRUE, NULL, &reset, error) &&
                     (!u->disabled || bh_store_user_set_disabled(s, user, FALSE, &enable, error));
        }
        if (ok) {
                g_autoptr(GString) out = g_string_new(NULL);

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "user", user);
                bh_json_text(out, "password", password);
                bh_json_close(out, '}');
                bh_json_end(out);
                printf("%s\n", out->str);
                fflush(stdout);
        }
        bh_secret_free(password);
        return ok;
}
