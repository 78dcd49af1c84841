/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what, and who did: users, API tokens, sessions, the audit log.
 *
 * The store keeps hashes as it is given them and never sees a password, a token or a session id. Whoever calls has hashed.
 *
 * Every change takes an audit entry that is written in the same transaction (NULL: none): there is no act without its row and no row
 * without its act. Refused acts are put down with bh_store_audit().
 *
 * Threads, errors, ownership: store.h. A revocation counts from the moment that the function returns.
 */
#pragma once
#include "store/store.h"

#define BH_STORE_USERS_MAX 1000
#define BH_STORE_NAME_MAX 64            /* bytes of a user's name: [a-z0-9][a-z0-9._@-]* */
#define BH_STORE_HASH_MAX 256           /* bytes of a hash as text */
#define BH_STORE_TOKENS_PER_USER 100    /* not revoked and not expired */
#define BH_STORE_TOKENS_DEAD 400        /* of a user, revoked or expired, that are still listed; the oldest goes */
#define BH_STORE_SESSIONS_PER_USER 32   /* the one that was idle longest ends */

typedef enum {
        BH_STORE_ROLE_NONE, /* nobody; never stored */
        BH_STORE_ROLE_VIEWER,
        BH_STORE_ROLE_ANALYST,
        BH_STORE_ROLE_ADMIN,
} BhStoreRole; /* may be compared: a higher one may all that a lower one may */

const char *bh_store_role_name(BhStoreRole role); /* "viewer", …; "none" */
BhStoreRole bh_store_role_parse(const char *name); /* BH_STORE_ROLE_NONE for anything else */

/* ---- audit log: append-only; each row's hash covers the row and the hash before, so a row that is changed or taken out shows */

typedef struct BhStoreAuditEntry {
        const char *actor;   /* user's name, "root (local)", "system"; NULL = "" as for all of these */
        const char *role;
        const char *address;
        const char *action;  /* "user.create", "session.login", … */
        const char *object;  /* what was acted on */
        const char *outcome; /* "ok", "denied", "failed" */
        const char *detail;  /* text or JSON */
} BhStoreAuditEntry;

typedef struct {
        gint64 id, time_ns;
        char *actor, *role, *address, *action, *object, *outcome, *detail;
        char *hash; /* SHA-256, hex */
} BhStoreAuditRow;

void bh_store_audit_row_free(BhStoreAuditRow *r);

typedef struct {
        const char *actor, *action, *object, *outcome; /* exactly; an action that ends in ".*": all that begin so */
        const char *search;        /* somewhere in actor, object or detail */
        gint64 since_ns, until_ns;
} BhStoreAuditFilter;

gboolean bh_store_audit(BhStore *s, const BhStoreAuditEntry *entry, GError **error);
/* Page of BhStoreAuditRow, latest first. */
BhStorePage *bh_store_audit_rows(BhStore *s, const BhStoreAuditFilter *filter, const char *cursor, guint limit, GError **error);

/*
 * Reckons the chain over all rows. *rows = how many were looked at, *broken = id of the first that does not fit, 0 = all do (then the log is
 * as it was written, save that rows may be missing at its end). Retention moves the beginning and keeps the chain. FALSE: cannot read.
 */
gboolean bh_store_audit_verify(BhStore *s, guint64 *rows, gint64 *broken, GError **error);

/* ---- users */

typedef struct {
        char *name;
        BhStoreRole role;
        char *password; /* hash with its parameters, as text; "" = cannot log in with one */
        gboolean disabled, must_change;
        gint64 created_ns, changed_ns; /* changed: the password */
        gint64 last_login_ns;          /* of the last session that was created */
} BhStoreUser;

void bh_store_user_free(BhStoreUser *u);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreUser, bh_store_user_free)

/* BH_STORE_ERROR_EXISTS, _INVALID (name, hash), _CONFLICT (too many). */
gboolean bh_store_user_create(BhStore *s, const char *name, BhStoreRole role, const char *password_hash, gboolean must_change,
                              const BhStoreAuditEntry *audit, GError **error);
/* The first user of an empty store: as above, role admin, but FALSE with BH_STORE_ERROR_EXISTS as soon as there is any user. */
gboolean bh_store_user_create_first(BhStore *s, const char *name, const char *password_hash, gboolean must_change,
                                    const BhStoreAuditEntry *audit, GError **error);
BhStoreUser *bh_store_user(BhStore *s, const char *name, GError **error); /* NOT_FOUND */
GPtrArray *bh_store_users(BhStore *s, GError **error); /* of BhStoreUser, by name; not paged: BH_STORE_USERS_MAX */

/*
 * Ends all sessions of the user but `keep_session` (a session's hash, may be NULL). With must_change, which says that somebody else gave the
 * password, also all tokens. NOT_FOUND, INVALID.
 */
gboolean bh_store_user_set_password(BhStore *s, const char *name, const char *password_hash, gboolean must_change,
                                    const char *keep_session, const BhStoreAuditEntry *audit, GError **error);
/* Same hash, other parameters: nothing else changes, no session ends. `was` must still be the hash, else BH_STORE_ERROR_CONFLICT. */
gboolean bh_store_user_rehash(BhStore *s, const char *name, const char *was, const char *password_hash, GError **error);
/*
 * Disabling ends all sessions and makes tokens useless (until it is enabled again). Sessions go on with the new role. All three:
 * NOT_FOUND, and CONFLICT when no enabled admin would be left.
 */
gboolean bh_store_user_set_role(BhStore *s, const char *name, BhStoreRole role, const BhStoreAuditEntry *audit, GError **error);
gboolean bh_store_user_set_disabled(BhStore *s, const char *name, gboolean disabled, const BhStoreAuditEntry *audit, GError **error);
/* With its sessions and tokens. */
gboolean bh_store_user_delete(BhStore *s, const char *name, const BhStoreAuditEntry *audit, GError **error);

/* ---- API tokens */

typedef struct {
        char *id;   /* public, made by the caller, unique */
        char *hash; /* of the secret; not filled in by lists */
        char *user;
        BhStoreRole role; /* as given */
        BhStoreRole effective; /* the lower of its own and its user's; NONE when it is revoked, expired, or the user disabled */
        char *name;
        gint64 created_ns, expires_ns, last_used_ns, revoked_ns; /* expires 0 = never; revoked 0 = not */
} BhStoreToken;

void bh_store_token_free(BhStoreToken *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreToken, bh_store_token_free)

/* EXISTS (id or hash), NOT_FOUND (user), CONFLICT (too many), INVALID (id, hash; role NONE). `effective` and times but expires are ignored. */
gboolean bh_store_token_create(BhStore *s, const BhStoreToken *token, const BhStoreAuditEntry *audit, GError **error);
/* Only a token that is good now, so `effective` is never NONE. Everything else is BH_STORE_ERROR_NOT_FOUND. */
BhStoreToken *bh_store_token_by_hash(BhStore *s, const char *hash, GError **error);
/* Puts down the use; writes at most once a minute for each token. */
gboolean bh_store_token_used(BhStore *s, const char *id, GError **error);
BhStoreToken *bh_store_token(BhStore *s, const char *id, GError **error); /* also a revoked one; NOT_FOUND */
/* GPtrArray of BhStoreToken, newest first, at most 10,000; `user` NULL = of all. Revoked and expired ones included, for 90 days and BH_STORE_TOKENS_DEAD. */
GPtrArray *bh_store_tokens(BhStore *s, const char *user, GError **error);
/* NOT_FOUND; TRUE when it is revoked already (then without an audit row). */
gboolean bh_store_token_revoke(BhStore *s, const char *id, const BhStoreAuditEntry *audit, GError **error);

/* ---- sessions */

typedef struct {
        char *hash; /* of the session's id: its key */
        char *user;
        char *csrf_hash;
        char *address, *agent;
        gint64 created_ns, last_seen_ns;
        gint64 expires_ns; /* the absolute end */
        /* Of the user, as it is now; ignored by create. */
        BhStoreRole role;
        gboolean must_change;
} BhStoreSession;

void bh_store_session_free(BhStoreSession *x);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhStoreSession, bh_store_session_free)

/*
 * created and last_seen are now. `replaces` (may be NULL) is the hash of a session that ends in the same moment (a new id at login).
 * NOT_FOUND when there is no such user or it is disabled.
 */
gboolean bh_store_session_create(BhStore *s, const BhStoreSession *session, const char *replaces, const BhStoreAuditEntry *audit,
                                 GError **error);
/* Only one that has not ended: not past expires, seen within `idle_ns` (0 = no bound), its user enabled. Else BH_STORE_ERROR_NOT_FOUND. */
BhStoreSession *bh_store_session_by_hash(BhStore *s, const char *hash, gint64 idle_ns, GError **error);
/* last_seen = now; writes at most once in 30 s for each session. */
gboolean bh_store_session_touch(BhStore *s, const char *hash, GError **error);
/* GPtrArray of BhStoreSession that have not expired, last seen first; `user` NULL = of all. */
GPtrArray *bh_store_sessions(BhStore *s, const char *user, GError **error);
/* TRUE also when there was none (then without an audit row). */
gboolean bh_store_session_delete(BhStore *s, const char *hash, const BhStoreAuditEntry *audit, GError **error);
/* All of the user but `keep` (a hash, may be NULL). *ended (may be NULL) = how many. */
gboolean bh_store_sessions_delete(BhStore *s, const char *user, const char *keep, guint *ended, const BhStoreAuditEntry *audit,
                                  GError **error);
