/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <string.h>

#include "base/log.h"
#include "password.h"

#define MINUTE_NS ((gint64) 60 * 1000000000)

void bh_identity_clear(BhIdentity *who) {
        g_free(who->name);
        g_free(who->session);
        bh_secret_free(who->csrf);
        g_free(who->token_id);
        g_free(who->token_hash);
        *who = (BhIdentity){ 0 };
}

void bh_identity_copy(BhIdentity *to, const BhIdentity *from) {
        *to = *from;
        to->name = g_strdup(from->name);
        to->session = g_strdup(from->session);
        to->csrf = NULL; /* streams do not write */
        to->token_id = g_strdup(from->token_id);
        to->token_hash = g_strdup(from->token_hash);
}

static gint64 setting(BhCentral *c, const char *key, gint64 fallback) {
        g_autofree char *text = bh_store_setting_get(c->store, key, NULL);
        gint64 n = text ? g_ascii_strtoll(text, NULL, 10) : 0;

        return n > 0 ? n : fallback;
}

void bh_auth_session_bounds(BhCentral *c, gint64 *idle_ns, gint64 *absolute_ns) {
        *idle_ns = setting(c, "session.idle_minutes", 60) * MINUTE_NS;
        *absolute_ns = setting(c, "session.hours", 12) * 60 * MINUTE_NS;
}

gboolean bh_auth_has_credentials(BhHttpRequest *r) {
        const char *cookies = bh_http_header(r, "Cookie");

        return bh_http_header(r, "Authorization") || (cookies && strstr(cookies, BH_COOKIE "=")) || (r->local && r->peer_uid == 0);
}

void bh_auth_answer_401(BhHttpRequest *r) {
        bh_http_add_header(r, "WWW-Authenticate", "Bearer realm=\"bulkhead\"");
        bh_http_answer_error(r, 401, "unauthorized", "log in first, or send a token that is valid: Authorization: Bearer bh_…");
}

/* A secret of ours: prefix and 43 characters. Anything else is not worth asking the store. */
static gboolean is_secret(const char *text, const char *prefix) {
        gsize n = strlen(prefix);

        if (strncmp(text, prefix, n) || strlen(text) != n + BH_SECRET_LEN)
                return FALSE;
        for (const char *p = text + n; *p; p++)
                if (!g_ascii_isalnum(*p) && *p != '-' && *p != '_')
                        return FALSE;
        return TRUE;
}

static gboolean by_token(BhCall *call, const char *header, GError **trouble) {
        g_autoptr(GError) error = NULL;

        if (g_ascii_strncasecmp(header, "Bearer ", 7) || !is_secret(header + 7, BH_TOKEN_PREFIX))
                return FALSE;
        call->who.token_hash = bh_secret_hash(header + 7, NULL);
        g_autoptr(BhStoreToken) token = bh_store_token_by_hash(call->central->store, call->who.token_hash, &error);
        if (!token) {
                if (!g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND))
                        g_propagate_error(trouble, g_steal_pointer(&error));
                return FALSE;
        }
        call->who.role = token->effective;
        call->who.name = g_strdup(token->user);
        call->who.token_id = g_strdup(token->id);
        if (!bh_store_token_used(call->central->store, token->id, &error))
                bh_warn("cannot put down that a token was used", "error", error->message);
        return TRUE;
}

static gboolean by_cookie(BhCall *call, const char *header, GError **trouble) {
        g_autofree char *secret = bh_http_cookie(header, BH_COOKIE);
        g_autoptr(GError) error = NULL;
        gint64 idle, absolute;

        if (!secret || !is_secret(secret, ""))
                return FALSE;
        call->who.session = bh_secret_hash(secret, NULL);
        bh_auth_session_bounds(call->central, &idle, &absolute);
        g_autoptr(BhStoreSession) session = bh_store_session_by_hash(call->central->store, call->who.session, idle, &error);
        if (!session) {
                if (!g_error_matches(error, BH_STORE_ERROR, BH_STORE_ERROR_NOT_FOUND))
                        g_propagate_error(trouble, g_steal_pointer(&error));
                return FALSE;
        }
        call->who.csrf = bh_secret_hash("csrf", secret);
        call->who.role = session->role;
        call->who.name = g_strdup(session->user);
        call->who.must_change = session->must_change;
        if (!bh_store_session_touch(call->central->store, call->who.session, &error))
                bh_warn("cannot put down that a session was used", "error", error->message);
        return TRUE;
}

gboolean bh_auth_identify(BhCall *call) {
        const char *authorization = bh_http_header(call->http, "Authorization"), *cookies = bh_http_header(call->http, "Cookie");
        GError *trouble = NULL;
        gboolean ok = FALSE;

        if (authorization) {
                ok = by_token(call, authorization, &trouble);
        } else if (cookies && strstr(cookies, BH_COOKIE "=")) {
                ok = by_cookie(call, cookies, &trouble);
        } else if (call->http->local && call->http->peer_uid == 0) {
                call->who.name = g_strdup(BH_LOCAL_ROOT);
                call->who.role = BH_STORE_ROLE_ADMIN;
                call->who.local_root = TRUE;
                ok = TRUE;
        }
        if (trouble) { /* who it is cannot be told now: that is no reason to log in anew */
                bh_identity_clear(&call->who);
                bh_call_store_error(call, trouble);
                return FALSE;
        }
        if (!ok) {
                g_atomic_int_inc(&call->central->denied);
                bh_identity_clear(&call->who);
                bh_auth_answer_401(call->http);
        }
        return ok;
}

gboolean bh_auth_same_origin(BhCall *call) {
        const char *site = bh_http_header(call->http, "Sec-Fetch-Site"), *origin = bh_http_header(call->http, "Origin"), *host = bh_http_header(call->http, "Host");
        g_autofree char *own = g_strdup_printf("https://%s", host ? host : "");

        /* a browser sends at least one of them with each write; programs send neither */
        if ((site && strcmp(site, "same-origin") && strcmp(site, "none")) || (origin && g_ascii_strcasecmp(origin, own))) {
                bh_call_error(call, 403, "cross_site", "this was sent from another site");
                return FALSE;
        }
        return TRUE;
}

gboolean bh_auth_csrf(BhCall *call) {
        const char *given = bh_http_header(call->http, "X-Bulkhead-CSRF");

        if (!bh_auth_same_origin(call))
                return FALSE;
        if (!call->who.session) /* a token, and root, are not sent by a browser by itself */
                return TRUE;
        if (given && bh_secret_equal(given, call->who.csrf))
                return TRUE;
        bh_call_error(call, 403, "csrf", "a session's writes must carry the value of \"csrf\" from /api/v1/me in X-Bulkhead-CSRF");
        return FALSE;
}

gboolean bh_auth_still(BhCentral *c, BhIdentity *who) {
        gint64 idle, absolute;

        if (who->local_root)
                return TRUE;
        if (who->token_hash) {
                g_autoptr(BhStoreToken) token = bh_store_token_by_hash(c->store, who->token_hash, NULL);

                who->role = token ? token->effective : BH_STORE_ROLE_NONE;
                return token != NULL;
        }
        bh_auth_session_bounds(c, &idle, &absolute);
        g_autoptr(BhStoreSession) session = bh_store_session_by_hash(c->store, who->session, idle, NULL);
        who->role = session ? session->role : BH_STORE_ROLE_NONE;
        /* not touched: watching alone does not keep a session */
        return session != NULL && !session->must_change;
}
