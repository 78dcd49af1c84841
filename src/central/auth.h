/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes a call. In this order: an API token in "Authorization: Bearer bh_…"; a session in the cookie __Host-bulkhead; root on the
 * local socket. Each is looked up in the store anew with each call, so a revocation counts at once, and open streams are looked at again
 * when something was revoked and each few seconds (hub.h).
 *
 * A session's writes must carry its CSRF value in X-Bulkhead-CSRF. The value is derived from the session's secret, so it need not be
 * kept, and a cookie alone does not give it away. All functions run on workers unless they say otherwise.
 */
#pragma once
#include "central.h"

#define BH_COOKIE "__Host-bulkhead"
#define BH_TOKEN_PREFIX "bh_"
#define BH_LOCAL_ROOT "root (local)"

/* Whether the request carries anything that could identify it. Event thread. */
gboolean bh_auth_has_credentials(BhHttpRequest *r);
void bh_auth_answer_401(BhHttpRequest *r);

/* Fills in call->who; FALSE: answered 401. */
gboolean bh_auth_identify(BhCall *call);
/* For writes, once identified; FALSE: answered 403. */
gboolean bh_auth_csrf(BhCall *call);
/* FALSE, answered 403, when a browser says that another site made it send this. */
gboolean bh_auth_same_origin(BhCall *call);

/* Whether the identity is still good, for streams. Updates who->role. Any thread that may ask the store. */
gboolean bh_auth_still(BhCentral *c, BhIdentity *who);

/* Idle and absolute end of a session, from the settings. */
void bh_auth_session_bounds(BhCentral *c, gint64 *idle_ns, gint64 *absolute_ns);
