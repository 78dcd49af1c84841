/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence as a node keeps it: a directory with
 *
 *     log, log.old     the chain, one item a line (evidence.h); log.old: the older part
 *     key              the key of the next item, in two places of which one is valid; the one before is overwritten with zeros
 *     objects/ab/ab…   bytes, named by their SHA-256
 *     sent             up to which item the central has been given them
 *
 * What bh_vault_commit() returned TRUE for outlives SIGKILL and power loss, and the keys that signed it are gone. An object is on disk, and synced, before an item names it. Equal bytes are
 * kept once.
 *
 * A log that ends within a line (a crash) loses that line. One that has less than the key knows of, or that does not fit it, was tampered with: it is set aside (log.broken-TIME, beside its key), and a new
 * chain begins with an item that says so.
 *
 * Bounds: max_bytes of objects: the oldest that the central has go first, then the oldest, and an item of kind "dropped" names them first; the log BH_VAULT_LOG_MAX and as much in log.old, beyond which
 * log.old goes, and an item of kind "rotated" says so; items that wait for a disk that takes nothing BH_VAULT_WAITING_MAX, beyond which no more are taken; BH_VAULT_BROKEN_MAX chains that were set aside, the first half of
 * them and the last (the new chain's first item says each time that there was one).
 *
 * Any thread: a lock of the vault's own sees to it that one at a time changes it, and is not held while a file is read. Errors are BH_EVIDENCE_ERROR; what failed is not kept, and the vault goes on.
 */
#pragma once
#include "evidence/evidence.h"

#define BH_VAULT_LOG_MAX (32u << 20)
#define BH_VAULT_DROP_AT_ONCE 64u /* objects that one item names */
#define BH_VAULT_WAITING_MAX (4u << 20)
#define BH_VAULT_BROKEN_MAX 8u

typedef struct {
        char sha256[BH_EVIDENCE_HEX];
        guint64 size; /* kept */
        gboolean cut; /* there was more */
        gboolean known; /* it was kept already */
} BhObject;

typedef struct {
        guint64 items, objects, bytes; /* kept now: items of both logs */
        guint64 added, equal;          /* objects by this process: kept; that were there already */
        guint64 dropped, dropped_unsent, dropped_bytes; /* objects, for the bound */
        guint64 failed;                /* what could not be kept */
        guint64 torn_bytes;            /* of an unfinished line, at the start */
        guint64 seq, sent;             /* last numbers: kept, given to the central */
        char chain[BH_EVIDENCE_HEX], hash[BH_EVIDENCE_HEX], next[BH_EVIDENCE_HEX];
} BhVaultStats;

typedef struct BhVault BhVault;

/* *broken (g_free; may be NULL) is why a chain that was found is not gone on with; NULL: nothing was wrong. */
BhVault *bh_vault_open(const char *dir, const char *node, guint64 max_bytes, char **broken, GError **error);
void bh_vault_free(BhVault *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhVault, bh_vault_free)

/* At most `max` bytes of the file from its beginning. Each put is followed by one bh_vault_add() or bh_vault_let_go() of what it gave: until then it is not dropped for the bound. */
gboolean bh_vault_put_file(BhVault *v, int fd, guint64 max, BhObject *out, GError **error);
gboolean bh_vault_put_bytes(BhVault *v, const void *data, gsize len, BhObject *out, GError **error);
/* Instead of the item that a put is followed by. */
void bh_vault_let_go(BhVault *v, const BhObject *object);
/* An item; `object` NULL: none. It counts once it is committed. The reference on `facts` is taken. *seq may be NULL. */
gboolean bh_vault_add(BhVault *v, const char *kind, gint64 time_ns, json_t *facts, const BhObject *object, guint64 *seq, GError **error);
gboolean bh_vault_commit(BhVault *v, GError **error);

/* The first committed line behind item `after`, without its end; NULL: none. */
char *bh_vault_next(BhVault *v, guint64 after, guint64 *seq);
/* The central was given everything up to it. */
gboolean bh_vault_sent(BhVault *v, guint64 seq, GError **error);
int bh_vault_object(BhVault *v, const char *sha256);
void bh_vault_stats(BhVault *v, BhVaultStats *out);
/* The head as JSON (docs/evidence.md). New reference; NULL: there is no item. */
json_t *bh_vault_head(BhVault *v);
/* Looks at everything, against the key and these heads (NULL: none). New reference. */
json_t *bh_vault_verify(BhVault *v, const char *heads, gsize len);
