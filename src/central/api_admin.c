/* SPDX-License-Identifier: Apache-2.0 */
/* users, tokens, settings, the audit log */
#include <string.h>

#include "auth.h"
#include "graph.h"
#include "hub.h"
#include "json_out.h"
#include "password.h"
#include "routes.h"
#include "views.h"

#define VERIFY_SECONDS 120

#define DAY_NS ((gint64) 86400 * 1000000000)
#define TOKEN_DAYS_DEFAULT 90
#define TOKEN_DAYS_MAX 3650

/* ---- users ---- */

/* A role of the body; FALSE: answered. */
static gboolean role_of(BhCall *call, json_t *body, BhStoreRole *role) {
        const char *name = bh_body_text(body, "role");

        if (!name)
                return TRUE;
        *role = bh_store_role_parse(name);
        if (*role == BH_STORE_ROLE_NONE)
                bh_call_error(call, 400, "bad_role", "a role is admin, analyst or viewer");
        return *role != BH_STORE_ROLE_NONE;
}

/* A given password, checked, or a random one; *hash of it. NULL: answered. The result is bh_secret_free()d. */
static char *password_of(BhCall *call, json_t *body, const char *user, char **hash) {
        const char *given = bh_body_text(body, "password");
        const char *objection = given ? bh_password_objection(user, given) : NULL;
        char *password;

        if (objection) {
                bh_call_error(call, 400, "bad_password", "%s", objection);
                return NULL;
        }
        password = given ? g_strdup(given) : bh_password_random();
        if (!(*hash = bh_password_hash(password))) {
                bh_http_add_header(call->http, "Retry-After", "1");
                bh_call_error(call, 503, "busy", "too many passwords are being hashed; try again");
                bh_secret_free(password);
                return NULL;
        }
        return password;
}

/* The user as it is now, and the random password, which is shown this once. */
static void answer_user(BhCall *call, guint status, const char *name, const char *password) {
        GError *error = NULL;
        g_autoptr(BhStoreUser) u = bh_store_user(call->central->store, name, &error);
        GString *out;

        if (!u) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_view_user(out, "user", u);
        if (password)
                bh_json_text(out, "password", password);
        bh_json_close(out, '}');
        bh_call_json(call, status, out);
}

void bh_api_users(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GPtrArray) users = bh_store_users(call->central->store, &error);
        GString *out;

        if (!users) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "users", '[');
        for (guint i = 0; i < users->len; i++)
                bh_view_user(out, NULL, users->pdata[i]);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

void bh_api_user(BhCall *call) {
        answer_user(call, 200, call->captures[0], NULL);
}

void bh_api_user_create(BhCall *call) {
        static const BhBodyField fields[] = {
                { "name", BH_BODY_TEXT, TRUE, BH_STORE_NAME_MAX },
                { "role", BH_BODY_TEXT, TRUE, 16 },
                { "password", BH_BODY_TEXT, FALSE, BH_PASSWORD_MAX },
        };
        BhStoreRole role = BH_STORE_ROLE_NONE;
        g_autofree char *hash = NULL;
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *name = bh_body_text(body, "name");
        char *password = NULL;
        GError *error = NULL;

        if (body && role_of(call, body, &role) && (password = password_of(call, body, name, &hash))) {
                g_autofree char *detail = g_strdup_printf("role %s", bh_store_role_name(role));
                BhStoreAuditEntry audit = bh_call_audit(call, name, "ok", detail);

                /* whoever set it knows it: the user chooses another at the first login */
                if (bh_store_user_create(call->central->store, name, role, hash, TRUE, &audit, &error))
                        answer_user(call, 201, name, bh_body_text(body, "password") ? NULL : password);
                else
                        bh_call_store_error(call, error);
        }
        bh_secret_free(password);
        json_decref(body);
}

void bh_api_user_change(BhCall *call) {
        static const BhBodyField fields[] = {
                { "role", BH_BODY_TEXT, FALSE, 16 },
                { "disabled", BH_BODY_BOOL, FALSE, 0 },
        };
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields)), *disabled = json_object_get(body, "disabled");
        const char *name = call->captures[0];
        BhStoreRole role = BH_STORE_ROLE_NONE;
        gboolean ok = body && role_of(call, body, &role);
        GError *error = NULL;

        if (ok && role == BH_STORE_ROLE_NONE && !disabled) {
                bh_call_error(call, 400, "bad_body", "\"role\" or \"disabled\" is expected");
                ok = FALSE;
        }
        if (ok && g_strcmp0(name, call->who.name) == 0) {
                bh_call_error(call, 409, "conflict", "nobody changes the own role or disables the own account: ask another administrator");
                ok = FALSE;
        }
        if (ok) {
                g_autofree char *detail = role ? g_strdup_printf("role %s", bh_store_role_name(role)) : NULL;
                BhStoreAuditEntry as_role = bh_call_audit(call, name, "ok", detail);
                BhStoreAuditEntry as_disabled = bh_call_audit(call, name, "ok", json_is_true(disabled) ? "disabled" : "enabled");

                ok = (!role || bh_store_user_set_role(call->central->store, name, role, &as_role, &error)) &&
                     (!disabled || bh_store_user_set_disabled(call->central->store, name, json_is_true(disabled), &as_disabled, &error));
                bh_hub_recheck(call->central->hub);
                if (ok)
                        answer_user(call, 200, name, NULL);
                else
                        bh_call_store_error(call, error);
        }
        json_decref(body);
}

void bh_api_user_delete(BhCall *call) {
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", NULL);
        GError *error = NULL;

        if (g_strcmp0(call->captures[0], call->who.name) == 0) {
                bh_call_error(call, 409, "conflict", "nobody deletes the own account: ask another administrator");
                return;
        }
        if (!bh_store_user_delete(call->central->store, call->captures[0], &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_hub_recheck(call->central->hub);
        bh_call_no_content(call);
}

void bh_api_user_reset(BhCall *call) {
        static const BhBodyField fields[] = { { "password", BH_BODY_TEXT, FALSE, BH_PASSWORD_MAX } };
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *name = call->captures[0];
        g_autofree char *hash = NULL;
        char *password = NULL;
        GError *error = NULL;

        if (body && g_strcmp0(name, call->who.name) == 0) {
                bh_call_error(call, 409, "conflict", "the own password is changed with POST /api/v1/me/password, which asks for the current one");
        } else if (body && (password = password_of(call, body, name, &hash))) {
                BhStoreAuditEntry audit = bh_call_audit(call, name, "ok", NULL);

                if (bh_store_user_set_password(call->central->store, name, hash, TRUE, NULL, &audit, &error)) {
                        bh_hub_recheck(call->central->hub);
                        answer_user(call, 200, name, bh_body_text(body, "password") ? NULL : password);
                } else {
                        bh_call_store_error(call, error);
                }
        }
        bh_secret_free(password);
        json_decref(body);
}

/* ---- tokens ---- */

void bh_api_tokens(BhCall *call) {
        gboolean all = FALSE;
        GError *error = NULL;
        GString *out;

        if (!bh_call_flag(call, "all", &all))
                return;
        if (all && call->who.role < BH_STORE_ROLE_ADMIN) {
                bh_call_error(call, 403, "forbidden", "only an administrator sees everybody's tokens");
                return;
        }
        g_autoptr(GPtrArray) tokens = bh_store_tokens(call->central->store, all || call->who.local_root ? NULL : call->who.name, &error);
        if (!tokens) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "tokens", '[');
        for (guint i = 0; i < tokens->len; i++)
                bh_view_token(out, NULL, tokens->pdata[i]);
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

void bh_api_token_create(BhCall *call) {
        static const BhBodyField fields[] = {
                { "name", BH_BODY_TEXT, TRUE, 128 },
                { "role", BH_BODY_TEXT, FALSE, 16 },
                { "days", BH_BODY_INT, FALSE, TOKEN_DAYS_MAX },
                { "user", BH_BODY_TEXT, FALSE, BH_STORE_NAME_MAX },
        };
        json_t *body;
        GError *error = NULL;

        /* a token that leaks must not outlive its revocation through others that it made */
        if (call->who.token_id) {
                bh_call_error(call, 403, "session_needed", "a token cannot make tokens: log in with a password");
                return;
        }
        if (!(body = bh_call_body(call, fields, G_N_ELEMENTS(fields))))
                return;

        json_t *days = json_object_get(body, "days");
        const char *user = bh_body_text(body, "user");
        BhStoreRole role = call->who.role;
        gboolean ok = role_of(call, body, &role);
        if (ok && !user && call->who.local_root) {
                bh_call_error(call, 400, "bad_body", "root has no account here: \"user\" must say whose token it is to be");
                ok = FALSE;
        }
        if (ok && user && !call->who.local_root && strcmp(user, call->who.name)) {
                bh_call_error(call, 403, "forbidden", "a token is made by the user whose it is, or by root on the machine");
                ok = FALSE;
        }
        if (ok && role > call->who.role) {
                bh_call_error(call, 403, "forbidden", "a token's role is at most the user's own");
                ok = FALSE;
        }
        if (ok) {
                g_autofree char *hash = NULL, *id_secret = bh_secret_new(""), *id = bh_secret_hash(id_secret, NULL);
                char *secret = bh_secret_new(BH_TOKEN_PREFIX);
                gint64 n = days ? (gint64) json_integer_value(days) : TOKEN_DAYS_DEFAULT;

                id[16] = '\0'; /* public, and short enough to type */
                BhStoreToken token = {
                        .id = id,
                        .hash = hash = bh_secret_hash(secret, NULL),
                        .user = (char *) (gsize) (user ? user : call->who.name),
                        .role = role,
                        .name = (char *) (gsize) bh_body_text(body, "name"),
                        .expires_ns = n ? g_get_real_time() * 1000 + n * DAY_NS : 0,
                };
                g_autofree char *detail = g_strdup_printf("for %s, role %s, \"%s\"", token.user, bh_store_role_name(role), token.name);
                BhStoreAuditEntry audit = bh_call_audit(call, id, "ok", detail);
                g_autoptr(BhStoreToken) made = NULL;

                if (bh_store_token_create(call->central->store, &token, &audit, &error) && (made = bh_store_token(call->central->store, id, &error))) {
                        GString *out = g_string_new(NULL);

                        bh_json_open(out, NULL, '{');
                        bh_json_text(out, "secret", secret);
                        bh_view_token(out, "token", made);
                        bh_json_close(out, '}');
                        bh_call_json(call, 201, out);
                } else {
                        bh_call_store_error(call, error);
                }
                bh_secret_free(secret);
        }
        json_decref(body);
}

void bh_api_token_revoke(BhCall *call) {
        GError *error = NULL;
        g_autoptr(BhStoreToken) token = bh_store_token(call->central->store, call->captures[0], &error);
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", NULL);

        /* somebody else's is as good as none, for who is not an administrator */
        if (token && call->who.role < BH_STORE_ROLE_ADMIN && strcmp(token->user, call->who.name)) {
                bh_call_audit_write(call, call->captures[0], "denied", NULL);
                bh_call_error(call, 404, "not_found", "there is no such token");
                return;
        }
        if (!token || !bh_store_token_revoke(call->central->store, token->id, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        bh_hub_recheck(call->central->hub);
        bh_call_no_content(call);
}

/* ---- settings ---- */

static const struct {
        const char *key, *doc;
        gint64 min, max, fallback;
} known_settings[] = {
        { "retention.days", "how long findings, ended containers, observations and audit rows are kept", 1, 3650, 30 },
        { "retention.mib", "bound of the database in MiB; the oldest goes", 64, 1048576, 4096 },
        { "evidence.mib", "bound of the bytes of evidence in MiB; the oldest goes, that of open incidents last", 16, 16777216, 4096 },
        { "backup.keep", "how many daily backups are kept", 1, 100, 7 },
        { "session.idle_minutes", "after so long without a call a session ends", 5, 1440, 60 },
        { "session.hours", "after so long a session ends in any case", 1, 168, 12 },
        { "graph.minute_hours", "how many hours connections are kept by the minute", 1, 168, 24 },
        { "graph.hour_days", "how many days connections are kept by the hour, and at all", 1, 365, 30 },
        { "models.slot_ms", "a trial of behaviour models, in milliseconds: how finely repeats are told apart, and what convergence is counted in", 50, 600000, 10000 },
        { "models.bound_ppm", "a family of a behaviour model is scored when fewer new things than this in a million trials are to be expected", 10, 500000, 1000 },
        { "models.starting_seconds", "for so long a container counts as starting, for behaviour models", 0, 3600, 60 },
        { "models.hold_seconds", "for so long new behaviour of a new image waits for the other replicas", 1, 3600, 20 },
        { "query.seconds", "after so long a question to the database is given up (504)", 1, 600, BH_QUERY_SECONDS },
};

/* Those that are texts. */
static const struct {
        const char *key, *doc;
        gsize max;
} text_settings[] = {
        { "graph.networks", "names of networks outside, for the map: a JSON array of {\"name\",\"cidr\"}", 3500 },
};

void bh_api_settings(BhCall *call) {
        GError *error = NULL;
        g_autoptr(GHashTable) settings = bh_store_settings(call->central->store, &error);
        GString *out;

        if (!settings) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_open(out, "settings", '[');
        for (guint i = 0; i < G_N_ELEMENTS(known_settings); i++) {
                const char *value = g_hash_table_lookup(settings, known_settings[i].key);

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "key", known_settings[i].key);
                bh_json_int(out, "value", value ? g_ascii_strtoll(value, NULL, 10) : known_settings[i].fallback);
                bh_json_int(out, "default", known_settings[i].fallback);
                bh_json_int(out, "min", known_settings[i].min);
                bh_json_int(out, "max", known_settings[i].max);
                bh_json_text(out, "description", known_settings[i].doc);
                bh_json_close(out, '}');
        }
        for (guint i = 0; i < G_N_ELEMENTS(text_settings); i++) {
                const char *value = g_hash_table_lookup(settings, text_settings[i].key);

                bh_json_open(out, NULL, '{');
                bh_json_text(out, "key", text_settings[i].key);
                bh_json_text(out, "value", value ? value : "");
                bh_json_text(out, "default", "");
                bh_json_int(out, "min", 0);
                bh_json_uint(out, "max", text_settings[i].max);
                bh_json_text(out, "description", text_settings[i].doc);
                bh_json_close(out, '}');
        }
        bh_json_close(out, ']');
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}

/* "" takes it away. */
static void set_networks(BhCall *call) {
        static const BhBodyField fields[] = { { "value", BH_BODY_LINES, TRUE, 3500 } };
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *value = body ? bh_body_text(body, "value") : NULL;
        BhStoreAuditEntry audit = bh_call_audit(call, call->captures[0], "ok", value);
        g_autoptr(GArray) cidrs = NULL;
        g_autoptr(GError) bad = NULL;
        GError *error = NULL;

        if (!body)
                return;
        if (!bh_graph_parse_networks(value, &cidrs, &bad)) {
                bh_call_error(call, 400, "bad_networks", "%s", bad->message);
        } else if (!bh_store_setting_set(call->central->store, call->captures[0], *value ? value : NULL, &audit, &error)) {
                bh_call_store_error(call, error);
        } else {
                bh_map_read_settings(call->central->map);
                bh_call_no_content(call);
        }
        json_decref(body);
}

void bh_api_setting_set(BhCall *call) {
        static const BhBodyField fields[] = { { "value", BH_BODY_INT, TRUE, G_MAXINT32 } };

        if (g_str_equal(call->captures[0], text_settings[0].key)) {
                set_networks(call);
                return;
        }
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *key = call->captures[0];
        gint64 value = json_integer_value(json_object_get(body, "value"));
        GError *error = NULL;
        guint i;

        if (!body)
                return;
        json_decref(body);
        for (i = 0; i < G_N_ELEMENTS(known_settings) && strcmp(known_settings[i].key, key); i++)
                ;
        if (i == G_N_ELEMENTS(known_settings)) {
                bh_call_error(call, 404, "not_found", "there is no such setting; GET /api/v1/settings lists them");
        } else if (value < known_settings[i].min || value > known_settings[i].max) {
                bh_call_error(call, 400, "out_of_range", "%s must be from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, key, known_settings[i].min, known_settings[i].max);
        } else {
                g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, value);
                BhStoreAuditEntry audit = bh_call_audit(call, key, "ok", text);

                if (!bh_store_setting_set(call->central->store, key, text, &audit, &error)) {
                        bh_call_store_error(call, error);
                } else {
                        bh_central_read_settings(call->central);
                        bh_call_no_content(call);
                }
        }
}

/* ---- the audit log ---- */

static void view_audit(GString *out, gconstpointer row, G_GNUC_UNUSED gpointer data) {
        bh_view_audit(out, NULL, row);
}

void bh_api_audit(BhCall *call) {
        BhStoreAuditFilter f = {
                .actor = bh_call_param(call, "actor"),
                .action = bh_call_param(call, "action"),
                .object = bh_call_param(call, "object"),
                .outcome = bh_call_param(call, "outcome"),
                .search = bh_call_param(call, "search"),
        };
        GError *error = NULL;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_time(call, "since", &f.since_ns) || !bh_call_time(call, "until", &f.until_ns))
                return;
        BhStorePage *page = bh_store_audit_rows(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        bh_call_page(call, "audit", page, view_audit, NULL, NULL, error);
}

void bh_api_audit_verify(BhCall *call) {
        GError *error = NULL;
        guint64 rows = 0;
        gint64 broken = 0;
        GString *out;

        /* each row counts, and there is no smaller question */
        bh_store_limit_reads(VERIFY_SECONDS * G_USEC_PER_SEC);
        if (!bh_store_audit_verify(call->central->store, &rows, &broken, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        out = g_string_new(NULL);
        bh_json_open(out, NULL, '{');
        bh_json_bool(out, "intact", broken == 0);
        bh_json_uint(out, "rows", rows);
        bh_json_int(out, "first_broken", broken);
        bh_json_close(out, '}');
        bh_call_json(call, 200, out);
}
