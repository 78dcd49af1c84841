/* SPDX-License-Identifier: Apache-2.0 */
/* login, logout, who am I, and the own password */
#include <string.h>

#include "auth.h"
#include "hub.h"
#include "json_out.h"
#include "password.h"
#include "routes.h"

static void who_json(BhCall *call, guint status, const char *name, BhStoreRole role, gboolean must_change, const char *csrf) {
        GString *out = g_string_new(NULL);

        bh_json_open(out, NULL, '{');
        bh_json_text(out, "user", name);
        bh_json_text(out, "role", bh_store_role_name(role));
        bh_json_bool(out, "must_change_password", must_change);
        bh_json_text(out, "csrf", csrf);
        bh_json_text(out, "by", call->who.local_root ? "local" : call->who.token_id ? "token" : "session");
        bh_json_close(out, '}');
        bh_call_json(call, status, out);
}

static void set_cookie(BhCall *call, const char *name, const char *secret, gint64 seconds) {
        g_autofree char *value = g_strdup_printf("%s=%s; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=%" G_GINT64_FORMAT, name, secret, seconds);

        bh_http_add_header(call->http, "Set-Cookie", value);
}

static void answer_wait(BhCall *call, guint seconds) {
        g_autofree char *text = g_strdup_printf("%u", seconds);

        bh_http_add_header(call->http, "Retry-After", text);
        bh_call_error(call, 429, "too_many_attempts", "too many failed attempts; try again in %u seconds", seconds);
}

static gint64 seconds_now(void) {
        return g_get_real_time() / G_USEC_PER_SEC;
}

static void give_device_cookie(BhCall *call) {
        g_autofree char *cookie = bh_device_new(call->central->devices, call->who.name, seconds_now());

        set_cookie(call, BH_DEVICE_COOKIE, cookie, (gint64) BH_DEVICE_DAYS * 86400);
}

static void login_failed(BhCall *call, const BhLimitWho *who) {
        const char *user = who->user;
        g_autofree char *shown = g_strndup(user, BH_STORE_NAME_MAX);

        g_atomic_int_inc(&call->central->logins_failed);
        gboolean closed = bh_limit_failed(call->central->limit, who, g_get_monotonic_time());
        bh_call_audit_write(call, shown, "failed", closed ? "further attempts must wait" : NULL);
        /* the same for an unknown user, a wrong password and a disabled user */
        bh_call_error(call, 401, "wrong_login", "user or password is wrong");
}

/* The session that the login's cookie names ends with it: an id from before a login is never one after it. */
static char *previous(BhCall *call) {
        g_autofree char *secret = bh_http_cookie(bh_http_header(call->http, "Cookie"), BH_COOKIE);

        return secret ? bh_secret_hash(secret, NULL) : NULL;
}

/* From here on the call is the user's. */
static gboolean knows(BhCall *call, const BhStoreUser *u) {
        call->who.name = g_strdup(u->name);
        call->who.role = u->role;
        return TRUE;
}

void bh_api_login(BhCall *call) {
        static const BhBodyField fields[] = {
                { "user", BH_BODY_TEXT, TRUE, BH_STORE_NAME_MAX },
                { "password", BH_BODY_TEXT, TRUE, BH_PASSWORD_MAX },
        };
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        const char *user = bh_body_text(body, "user"), *agent = bh_http_header(call->http, "User-Agent");
        g_autoptr(GError) error = NULL;

        if (!body)
                return;
        g_autofree char *cookie = bh_http_cookie(bh_http_header(call->http, "Cookie"), BH_DEVICE_COOKIE);
        g_autofree char *device = bh_device_known(call->central->devices, user, cookie, seconds_now());
        const BhLimitWho who = { call->http->address, device, user };
        guint wait = bh_limit_wait(call->central->limit, &who, g_get_monotonic_time());
        if (wait) {
                g_atomic_int_inc(&call->central->logins_limited);
                answer_wait(call, wait);
                json_decref(body);
                return;
        }

        g_autoptr(BhStoreUser) u = bh_store_user(call->central->store, user, &error);
        if (!u && !g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND)) {
                bh_call_store_error(call, g_steal_pointer(&error));
                json_decref(body);
                return;
        }
        BhPasswordResult result = bh_password_verify(u && *u->password ? u->password : NULL, bh_body_text(body, "password"));
        if (result == BH_PASSWORD_BUSY) {
                answer_wait(call, 1);
        } else if (result == BH_PASSWORD_WRONG || u->disabled) {
                login_failed(call, &who);
        } else if (knows(call, u) && bh_call_pace(call)) {
                g_autofree char *secret = bh_secret_new(""), *hash = bh_secret_hash(secret, NULL), *before = previous(call);
                char *csrf = bh_secret_hash("csrf", secret);
                g_autofree char *csrf_hash = bh_secret_hash(csrf, NULL);
                gint64 idle, absolute;

                bh_auth_session_bounds(call->central, &idle, &absolute);
                BhStoreAuditEntry audit = bh_call_audit(call, u->name, "ok", NULL);
                BhStoreSession session = {
                        .hash = hash,
                        .user = u->name,
                        .csrf_hash = csrf_hash,
                        .address = (char *) (gsize) call->http->address,
                        .agent = (char *) (gsize) (agent ? agent : ""),
                        .expires_ns = g_get_real_time() * 1000 + absolute,
                };
                if (bh_store_session_create(call->central->store, &session, before, &audit, &error)) {
                        bh_limit_succeeded(call->central->limit, &who);
                        g_atomic_int_inc(&call->central->logins_ok);
                        set_cookie(call, BH_COOKIE, secret, absolute / 1000000000);
                        give_device_cookie(call);
                        who_json(call, 200, u->name, u->role, u->must_change, csrf);
                        bh_hub_recheck(call->central->hub);
                } else {
                        bh_call_store_error(call, g_steal_pointer(&error));
                }
                bh_secret_free(csrf);
        }
        json_decref(body);
}

void bh_api_logout(BhCall *call) {
        BhStoreAuditEntry audit = bh_call_audit(call, call->who.name, "ok", NULL);
        GError *error = NULL;

        if (!call->who.session) {
                bh_call_error(call, 400, "no_session", "this call is not made with a session; a token is revoked with DELETE /api/v1/tokens/ID");
                return;
        }
        if (!bh_store_session_delete(call->central->store, call->who.session, &audit, &error)) {
                bh_call_store_error(call, error);
                return;
        }
        set_cookie(call, BH_COOKIE, "", 0);
        bh_hub_recheck(call->central->hub);
        bh_call_no_content(call);
}

void bh_api_me(BhCall *call) {
        who_json(call, 200, call->who.name, call->who.role, call->who.must_change, call->who.csrf);
}

void bh_api_own_password(BhCall *call) {
        static const BhBodyField fields[] = {
                { "current", BH_BODY_TEXT, TRUE, BH_PASSWORD_MAX },
                { "new", BH_BODY_TEXT, TRUE, BH_PASSWORD_MAX },
        };
        BhCentral *c = call->central;
        g_autoptr(GError) error = NULL;

        /* a token that leaks must not be enough to take the account over */
        if (!call->who.session) {
                bh_call_error(call, 403, "session_needed", "a password is changed in a session: log in with it first");
                return;
        }
        json_t *body = bh_call_body(call, fields, G_N_ELEMENTS(fields));
        if (!body)
                return;

        const char *current = bh_body_text(body, "current"), *fresh = bh_body_text(body, "new");
        const char *objection = bh_password_objection(call->who.name, fresh);
        /* guesses of who has the session, and of nobody else */
        const BhLimitWho who = { call->http->address, call->who.session, call->who.name };
        guint wait = bh_limit_wait(c->limit, &who, g_get_monotonic_time());
        if (wait) {
                answer_wait(call, wait);
        } else if (objection || g_str_equal(current, fresh)) {
                bh_call_error(call, 400, "bad_password", "%s", objection ? objection : "the new password is the old one");
        } else {
                g_autoptr(BhStoreUser) u = bh_store_user(c->store, call->who.name, &error);
                BhPasswordResult result = u ? bh_password_verify(u->password, current) : BH_PASSWORD_WRONG;
                g_autofree char *hash = result == BH_PASSWORD_RIGHT ? bh_password_hash(fresh) : NULL;
                BhStoreAuditEntry audit = bh_call_audit(call, call->who.name, "ok", NULL);

                if (!u) {
                        bh_call_store_error(call, g_steal_pointer(&error));
                } else if (result == BH_PASSWORD_WRONG) {
                        bh_limit_failed(c->limit, &who, g_get_monotonic_time());
                        bh_call_audit_write(call, call->who.name, "failed", "the current password was wrong");
                        bh_call_error(call, 403, "wrong_password", "the current password is wrong");
                } else if (!hash) {
                        answer_wait(call, 1);
                } else if (!bh_store_user_set_password(c->store, u->name, hash, FALSE, call->who.session, &audit, &error)) {
                        bh_call_store_error(call, g_steal_pointer(&error));
                } else {
                        bh_limit_succeeded(c->limit, &who);
                        bh_hub_recheck(c->hub);
                        bh_call_no_content(call);
                }
        }
        json_decref(body);
}
