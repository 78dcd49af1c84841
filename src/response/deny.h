/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a block refuses to a container: one text each, in the order's list `deny`.
 *
 *      exec:/usr/bin/nc          this file run as a program, under whatever name: the file that is at that place now, and whatever is at that place later
 *      exec-not-in-image         programs that no layer of the image brought: written since, from memory, from a volume
 *      exec-hash:sha256:1f…      programs whose content this is, wherever they are
 *      file:/etc/shadow          all of: read, write, create, delete (bh_deny_ops)
 *      file:wd:/srv/www/         some of them, by their letters; with a slash at the end it is all below that folder
 *      exec-only:/usr/sbin/nginx nothing runs but this and what else is named so: the image's file at that place, as long as nobody changed it; on a volume whatever is there
 *      exec-only:any:/srv/tool   the same of whatever file is at that place
 *      observe                   beside exec-only alone: it is told what would be refused, and lets it run
 *      cap:net_raw               the use of a capability, by its name with or without "CAP_"
 *      mount, ptrace, module     mounting; looking into and steering other processes; loading a kernel module
 *      10.0.0.0/8, peer:NAME …   whatever else is a peer: response.h
 *
 * Paths are absolute, as the container sees them, and meant as they are: no patterns, no "." or "..", no line breaks.
 *
 * Pure functions, any thread. Texts come from outside the process: errors are sentences, and leave the output alone.
 */
#pragma once
#include <glib.h>

#define BH_DENY_MAX 1024u      /* of one response, peers apart */
#define BH_DENY_HASH 32u       /* bytes */
#define BH_DENY_PATH_MAX 4095u /* bytes */

/* BH_DENY(NAME, word, has something behind it, what it is, for people) */
#define BH_DENY_KINDS(X)                                                        \
        X(EXEC, "exec", TRUE, "a program, by its file")                           \
        X(EXEC_NOT_IN_IMAGE, "exec-not-in-image", FALSE, "programs that are not from the image") \
        X(EXEC_HASH, "exec-hash", TRUE, "a program, by its content")                                 \
        X(EXEC_ONLY, "exec-only", TRUE, "programs that are not named")                               \
        X(OBSERVE, "observe", FALSE, "nothing: what would be refused is told")                       \
        X(FILE, "file", TRUE, "a file or folder")                                 \
        X(CAP, "cap", TRUE, "a capability")                                       \
        X(MOUNT, "mount", FALSE, "mounting")                                      \
        X(PTRACE, "ptrace", FALSE, "tracing other processes")                     \
        X(MODULE, "module", FALSE, "loading kernel modules")

typedef enum {
#define X(name, word, argument, what) BH_DENY_##name,
        BH_DENY_KINDS(X)
#undef X
        BH_DENY_N_KINDS,
} BhDenyKind;

typedef enum { BH_DENY_READ = 1, BH_DENY_WRITE = 2, BH_DENY_CREATE = 4, BH_DENY_DELETE = 8 } BhDenyOps;

typedef struct {
        BhDenyKind kind;
        char *path;    /* EXEC, EXEC_ONLY, FILE; without a slash at the end */
        gboolean any;  /* EXEC_ONLY: whatever is there */
        guint ops;     /* FILE: BhDenyOps */
        gboolean tree; /* FILE: and all below it */
        guint cap;     /* CAP: its number */
        guint8 hash[BH_DENY_HASH]; /* EXEC_HASH: SHA-256 */
        char *text;    /* as it was given */
} BhDeny;

void bh_deny_free(BhDeny *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhDeny, bh_deny_free)

const char *bh_deny_word(BhDenyKind k);
const char *bh_deny_what(BhDenyKind k);

/* Whether the text begins like one of these, so that it is no peer, whatever is wrong with it. */
gboolean bh_deny_is(const char *text);
/* NULL with *error. */
BhDeny *bh_deny_parse(const char *text, GError **error);

/*
 * Splits what a block refuses: GPtrArray of BhDeny, and in *peers a GArray of BhPeer (response.h), either possibly empty. NULL with *error that names the text; also
 * beyond the bounds of each, and where "observe" is beside anything but exec-only.
 */
GPtrArray *bh_denies_parse(const char *const *texts, gsize n, GArray **peers, GError **error);
