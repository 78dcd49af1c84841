/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The users or groups of a container: its own /etc/passwd or /etc/group, which whoever builds or breaks into it writes.
 *
 * Lines are taken as the C library takes them: the first line with an id or a name wins. A line is skipped and counted when it has too
 * few fields, an empty name, a name with a control byte or a space or longer than BH_PASSWD_NAME_MAX, or an id that is not decimal or
 * above 4294967294. Comments, empty lines and lines of NIS (+ and -) are passed over. Names may be any other bytes: escape them.
 *
 * A table is immutable once it is made; any thread may read it.
 */
#pragma once
#include <glib.h>

#define BH_PASSWD_FILE_MAX (1u << 20)
#define BH_PASSWD_ENTRIES_MAX 4096u
#define BH_PASSWD_NAME_MAX 255u
#define BH_PASSWD_TEXT_MAX (128u << 10) /* of all names with their NULs */

typedef enum {
        BH_PASSWD_USERS,  /* name:password:uid:gid:comment:home:shell */
        BH_PASSWD_GROUPS, /* name:password:gid:members */
} BhPasswdFormat;

typedef struct {
        guint32 id;
        guint32 group; /* a user's first group; of a group its own id */
        const char *name;
} BhPasswdEntry;

typedef struct BhPasswd BhPasswd;

/* `len` up to BH_PASSWD_FILE_MAX (more: NULL with G_FILE_ERROR_INVAL). An empty file is an empty table. */
BhPasswd *bh_passwd_parse(BhPasswdFormat format, const char *bytes, gsize len, GError **error);
/*
 * A table of entries that are known already, copied, in the order of the file. NULL when one of them breaks a rule above or there are
 * too many; `skipped` and `dropped` are taken over.
 */
BhPasswd *bh_passwd_new(const BhPasswdEntry *entries, guint n, guint32 skipped, guint32 dropped);
BhPasswd *bh_passwd_ref(BhPasswd *p);
/* NULL is allowed. */
void bh_passwd_unref(BhPasswd *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhPasswd, bh_passwd_unref)

/* The name of an id, or NULL. */
const char *bh_passwd_name(const BhPasswd *p, guint32 id);
/* FALSE and nothing touched when there is no such name. `group` may be NULL. */
gboolean bh_passwd_id(const BhPasswd *p, const char *name, guint32 *id, guint32 *group);
/* All entries in the order of the file. */
const BhPasswdEntry *bh_passwd_entries(const BhPasswd *p, guint *n);
/* Lines that were not understood; well-formed lines beyond the bounds. */
guint32 bh_passwd_skipped(const BhPasswd *p);
guint32 bh_passwd_dropped(const BhPasswd *p);
